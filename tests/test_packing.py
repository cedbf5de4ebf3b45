"""What is packed comes back within its form's error, whatever the values are, and damaged bytes are refused."""

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from leo_backends import packing
from leo_runtime.errors import GraphError, KernelError, MissingExtraError
from leo_runtime.operators import Shape, find_operator
from leo_runtime.operators.packing import (
    COMPRESSIONS,
    FORMS,
    HEADER,
    PackParameters,
    UnpackParameters,
    most_bytes,
    read_head,
    sent_bytes,
)

HERE = tuple(how for how in COMPRESSIONS if not packing.lacks(how) and how != "jpeg")
"""What loses nothing, and can be done here."""
needs_zstd = pytest.mark.skipif(bool(packing.lacks("zstd")), reason="needs the extra `packing`")
needs_jpeg = pytest.mark.skipif(bool(packing.lacks("jpeg")), reason="needs the extra `packing`")


def packed(values: np.ndarray, **params: Any) -> np.ndarray:
    checked = PackParameters.model_validate(params)
    return packing.pack(checked, [values.shape])([values])


def unpacked(array: np.ndarray, shape: Shape, reads: Sequence[str] = HERE) -> np.ndarray:
    params = UnpackParameters.model_validate({"shape": shape, "reads": reads})
    return packing.unpack(params, [(most_bytes(shape),)])([array])


def there_and_back(values: np.ndarray, **params: Any) -> np.ndarray:
    """What arrives of values."""
    sent = packed(values, **params)
    assert sent.dtype == np.uint8 and sent.ndim == 1 and len(sent) <= most_bytes(values.shape)
    checked = PackParameters.model_validate(params)
    if np.isfinite(values).all() and read_head(sent).form == checked.form:
        assert len(sent) <= sent_bytes(checked, values.shape)
    found = unpacked(sent, values.shape)
    assert found.dtype == np.float32 and found.shape == values.shape
    return found


def steps_of(values: np.ndarray, form: str, block_values: int) -> np.ndarray:
    """Of each value, the step of its block or band."""
    steps = 15 if form == "int4" else 255
    if not values.size:
        return np.zeros(values.shape)
    real = values.astype(np.float64)
    if form == "int8_band":
        bands = real.reshape(-1, values.shape[-1])
        span = bands.max(axis=0) - bands.min(axis=0)
        return np.broadcast_to(span / steps, bands.shape).reshape(values.shape)
    flat, found = real.reshape(-1), np.zeros(values.size)
    for at in range(0, flat.size, block_values):
        block = flat[at : at + block_values]
        found[at : at + block_values] = (block.max() - block.min()) / steps
    return found.reshape(values.shape)


shapes = st.sampled_from([(1,), (3,), (33,), (5, 4), (16, 8), (2, 3, 3), (1, 4, 5, 3), (0,), (0, 4), ()])
magnitudes = st.sampled_from([1e-3, 1.0, 300.0, 1e6, 1e30])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays as features are: of one magnitude, constant ones and such with a few that are far from the rest."""
    shape, magnitude = draw(shapes), draw(magnitudes)
    seed = draw(st.integers(0, 2**32 - 1))
    kind = draw(st.sampled_from(["normal", "constant", "outliers", "rising"]))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) if kind != "constant" else np.full(shape, rng.normal())
    if kind == "outliers":
        values = np.where(rng.random(size=shape) < 0.1, values * 1000, values)
    if kind == "rising" and values.size:
        values = np.arange(values.size).reshape(shape) / values.size
    return np.asarray(values * magnitude, np.float32)


@given(arrays(), st.sampled_from(["int8", "int4", "int8_band"]), st.sampled_from(HERE), st.sampled_from([16, 24, 4096]))
def test_numbers_of_steps_are_off_by_half_a_step(values: np.ndarray, form: str, how: str, block_values: int) -> None:
    if form == "int8_band" and values.ndim < 2:
        return
    found = there_and_back(values, form=form, compress=how, block_values=block_values)
    rounding = 1e-4 * steps_of(values, form, block_values) + 2.0**-22 * np.abs(values.astype(np.float64))
    bound = steps_of(values, form, block_values) / 2 + rounding
    assert (np.abs(found.astype(np.float64) - values) <= bound).all()


@given(arrays(), st.sampled_from(HERE))
def test_float32_is_exact(values: np.ndarray, how: str) -> None:
    assert there_and_back(values, form="float32", compress=how).tobytes() == values.tobytes()


@given(arrays(), st.sampled_from(HERE))
def test_float16_is_off_by_a_part_of_each_value(values: np.ndarray, how: str) -> None:
    found = there_and_back(values, form="float16", compress=how)
    bound = np.maximum(2.0**-11 * np.abs(values.astype(np.float64)), 2.0**-25)
    assert (np.abs(found.astype(np.float64) - values) <= bound).all()


@given(drawn.arrays(np.int16, st.sampled_from([(1,), (40,), (7, 2)])), st.sampled_from(HERE))
def test_recorded_sound_is_exact_in_16_bits(samples: np.ndarray, how: str) -> None:
    sound = samples.astype(np.float32) * np.float32(1 / 32768)
    whole = packed(sound, form="pcm16", compress=how)
    assert read_head(whole).form == "pcm16"
    assert unpacked(whole, sound.shape).tobytes() == sound.tobytes()


@given(st.floats(-1, 0.875, width=32))
def test_other_sound_is_off_by_half_a_step_of_16_bits(sample: float) -> None:
    (found,) = there_and_back(np.array([sample], np.float32), form="pcm16")
    assert abs(float(found) - sample) <= 0.5 / 32768 + 1e-9


@given(drawn.arrays(np.uint8, st.sampled_from([(1, 4, 5, 3), (6, 6, 1), (9,)])), st.sampled_from(HERE))
def test_pixels_are_exact_in_8_bits(pixels: np.ndarray, how: str) -> None:
    image = pixels.astype(np.float32)
    whole = packed(image, form="uint8", compress=how)
    assert read_head(whole).form == "uint8"
    assert unpacked(whole, image.shape).tobytes() == image.tobytes()


@given(
    drawn.arrays(np.float32, st.sampled_from([(3,), (40,), (6, 5)]), elements=st.floats(width=32)),
    st.sampled_from(FORMS),
    st.sampled_from(HERE),
)
def test_whatever_the_values_are_something_near_comes_back(values: np.ndarray, form: str, how: str) -> None:
    """Of any bits: not finite ones, and those a form cannot hold, come back as they are."""
    if form == "int8_band" and values.ndim < 2:
        return
    found = there_and_back(values, form=form, compress=how, block_values=16)
    if not np.isfinite(values).all():
        assert found.tobytes() == values.tobytes()
        return
    assert np.isfinite(found).all()
    span = np.abs(values.astype(np.float64)).max() * 2
    allowed = max(span, 1.0) if form in ("pcm16", "uint8") else span
    assert (np.abs(found.astype(np.float64) - values) <= allowed * 0.51 + 1e-7).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_number_is_sent_whole(form: str, value: float) -> None:
    values = np.zeros((4, 16), np.float32)
    values[2, 3] = value
    whole = packed(values, form=form, compress="zlib")
    assert read_head(whole).form == "float32"
    assert unpacked(whole, values.shape).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("float16", [70_000.0] * 8),
        ("int8", [-3e38, 3e38] * 16),
        ("int8", [0.0, 1e-40] * 16),
        ("int4", [0.0, 1e-38] * 16),
        ("pcm16", [1.0] * 8),
        ("uint8", [255.6] * 8),
        ("uint8", [-0.6] * 8),
    ],
)
def test_what_a_form_cannot_hold_is_sent_whole(form: str, values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert read_head(packed(array, form=form)).form == "float32"
    assert there_and_back(array, form=form).tobytes() == array.tobytes()


def test_a_constant_block_is_exact() -> None:
    for form in ("int8", "int4"):
        values = np.full(64, 0.1, np.float32)
        assert there_and_back(values, form=form, block_values=16).tobytes() == values.tobytes()


def test_a_far_value_spoils_its_own_block_alone() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32)
    values[3] = 1000
    found = there_and_back(values, form="int8", block_values=16)
    assert np.abs(found - values)[16:].max() < 1e-3 < np.abs(found - values)[:16].max()


def test_how_many_bytes_forms_take() -> None:
    def size(form: str, shape: Shape, **more: Any) -> int:
        return sent_bytes(PackParameters.model_validate({"form": form, **more}), shape) - HEADER.size

    assert size("float32", (98, 40)) == 15_680
    assert size("float16", (98, 40)) == size("pcm16", (98, 40)) == 7_840
    assert size("int8", (98, 40)) == 3_920 + 8
    assert size("int8", (98, 40), block_values=1000) == 3_920 + 4 * 8
    assert size("int8_band", (98, 40)) == 3_920 + 40 * 8
    assert size("int4", (98, 40)) == 1_960 + 8
    assert size("int8", (1,)) == 4  # It would get longer.
    assert size("float32", (0,)) == 0


@needs_zstd
def test_smooth_features_take_a_fifth() -> None:
    rows = np.add.outer(np.sin(np.arange(98) / 9), np.cos(np.arange(40) / 5)).astype(np.float32)
    plain, short = packed(rows, form="int8"), packed(rows, form="int8", compress="zstd")
    assert len(short) * 5 < rows.nbytes < 4.1 * len(plain)
    assert unpacked(short, rows.shape).tobytes() == unpacked(plain, rows.shape).tobytes()


@needs_jpeg
@pytest.mark.parametrize("channels", [1, 3])
def test_images_go_as_jpeg(channels: int) -> None:
    ramp = np.add.outer(np.arange(48), 2 * np.arange(64)).astype(np.float32)
    image = np.stack([ramp] * channels, axis=-1)[None]
    whole = packed(image, form="uint8", compress="jpeg", quality=90)
    assert read_head(whole).compress == "jpeg" and len(whole) < image.size / 3
    found = unpacked(whole, image.shape, ("jpeg",))
    assert np.abs(found - image).max() < 8


@needs_jpeg
def test_an_image_that_jpeg_makes_longer_goes_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.float32)
    whole = packed(noise, form="uint8", compress="jpeg")
    assert read_head(whole).compress == "none"
    assert unpacked(whole, noise.shape, ("jpeg",)).tobytes() == noise.tobytes()


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from(HERE))
def test_damaged_bytes_are_refused(seed: int, how: str) -> None:
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(size=(20, 8)), axis=0).astype(np.float32)
    whole = packed(values, form="int8", compress=how).copy()
    whole[rng.integers(len(whole))] ^= 1 << rng.integers(8)
    with pytest.raises(KernelError, match=r"packed bytes|LEO1"):
        unpacked(whole, values.shape)


@given(st.integers(0, 200))
def test_truncated_bytes_are_refused(length: int) -> None:
    values = np.arange(160, dtype=np.float32).reshape(20, 8)
    whole = packed(values, form="int8")
    with pytest.raises(KernelError, match="packed bytes"):
        unpacked(whole[: min(length, len(whole) - 1)], values.shape)
    with pytest.raises(KernelError, match="packed bytes"):
        unpacked(np.append(whole, np.zeros(1 + length, np.uint8)), values.shape)


@given(st.binary(max_size=300))
def test_bytes_of_anywhere_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(KernelError, match=r"packed bytes|LEO1"):
        unpacked(np.frombuffer(data, np.uint8), (20, 8))


def forged(content: bytes, form: str, compress: str, block_values: int = 0) -> np.ndarray:
    """Packed bytes of somebody who knows how checksums are made."""
    start = HEADER.pack(b"LEO1", FORMS.index(form), COMPRESSIONS.index(compress), 0, block_values, len(content), 0)[:16]
    checksum = zlib.crc32(content, zlib.crc32(start)).to_bytes(4, "little")
    return np.frombuffer(start + checksum + content, np.uint8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", [b"", b"x", bytes(159), bytes(161), bytes(5000)])
def test_contents_of_another_length_are_refused(form: str, content: bytes) -> None:
    for compress in ("none", "zlib"):
        body = zlib.compress(content) if compress == "zlib" else content
        with pytest.raises(KernelError, match="packed bytes"):
            unpacked(forged(body, form, compress, 16), (20, 8))


def test_blocks_shorter_than_any_are_refused() -> None:
    with pytest.raises(KernelError, match="blocks of 0 values"):
        unpacked(forged(bytes(168), "int8", "none", 0), (20, 8))
    with pytest.raises(KernelError, match="blocks of 1 values"):
        unpacked(forged(bytes(1000), "int8", "none", 1), (20, 8))


def test_what_expands_to_more_is_not_expanded() -> None:
    """A mebibyte of zeros takes a kibibyte; no more is made of it than the array has."""
    bomb = zlib.compress(bytes(1 << 24))
    assert len(bomb) < 1 << 17
    with pytest.raises(KernelError, match="expand to something else than 160 bytes"):
        unpacked(forged(bytes(8) + bomb, "int8", "zlib", 4096), (20, 8))


@needs_zstd
def test_what_expands_to_more_is_not_expanded_by_zstd() -> None:
    import zstandard

    for size in (159, 161, 1 << 24):
        bomb = zstandard.ZstdCompressor().compress(bytes(size))
        with pytest.raises(KernelError, match="expand to something else than 160 bytes"):
            unpacked(forged(bytes(8) + bomb, "int8", "zstd", 4096), (20, 8))
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(160))
    with pytest.raises(KernelError, match="expand to something else"):
        unpacked(forged(bytes(8) + silent, "int8", "zstd", 4096), (20, 8))
    with pytest.raises(KernelError, match="cannot be expanded"):
        unpacked(forged(bytes(8) + b"no frame", "int8", "zstd", 4096), (20, 8))


@needs_jpeg
def test_an_image_of_another_size_is_not_read() -> None:
    from PIL import Image

    def jpeg(mode: str, size: tuple[int, int]) -> bytes:
        import io

        file = io.BytesIO()
        Image.new(mode, size).save(file, "JPEG")
        return file.getvalue()

    shape = (4, 5, 3)
    assert unpacked(forged(jpeg("RGB", (5, 4)), "uint8", "jpeg"), shape, ("jpeg",)).shape == shape
    for image in (jpeg("RGB", (4, 5)), jpeg("L", (5, 4)), jpeg("RGB", (2000, 2000)), b"", jpeg("RGB", (5, 4))[:200]):
        with pytest.raises(KernelError, match="packed bytes"):
            unpacked(forged(image, "uint8", "jpeg"), shape, ("jpeg",))
    with pytest.raises(KernelError, match="cannot be a JPEG image"):
        unpacked(forged(jpeg("RGB", (5, 4)), "int8", "jpeg", 16), shape, ("jpeg",))
    with pytest.raises(KernelError, match="cannot be a JPEG image"):
        unpacked(forged(jpeg("RGB", (5, 4)), "uint8", "jpeg"), (60,), ("jpeg",))


def test_a_stage_reads_what_it_says_alone(rows: np.ndarray) -> None:
    whole = packed(np.zeros_like(rows) + np.arange(8, dtype=np.float32), form="int8", compress="zlib")
    assert read_head(whole).compress == "zlib"
    with pytest.raises(KernelError, match="compressed by zlib, of which this stage reads none"):
        unpacked(whole, rows.shape, ("none",))


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PACKAGES", {"zstd": "no_such_package", "jpeg": "no_such_package"})
    assert packing.lacks(*COMPRESSIONS) == ("zstd", "jpeg")
    with pytest.raises(MissingExtraError, match="packing by zstd needs the extra `packing`"):
        packed(np.zeros(4, np.float32), compress="zstd")
    with pytest.raises(MissingExtraError, match="packing by jpeg"):
        unpacked(np.zeros(4, np.uint8), (4,), ("none", "jpeg"))


@pytest.mark.parametrize(
    ("params", "shape", "says"),
    [
        ({"form": "int8_band"}, (9,), "wants rows and bands"),
        ({"form": "uint8", "compress": "jpeg"}, (9, 9), "jpeg is of images"),
        ({"form": "uint8", "compress": "jpeg"}, (9, 9, 2), "jpeg is of images"),
        ({"form": "uint8", "compress": "jpeg"}, (70_000, 9, 3), "65500 pixels a side"),
        ({}, (1 << 30,), "at most 2048 MiB"),
    ],
)
def test_what_cannot_be_packed_is_said_plainly(params: dict[str, Any], shape: Shape, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        find_operator("pack").output_shape(PackParameters.model_validate(params), [shape])


def test_parameters_that_cannot_be() -> None:
    for params in ({"form": "int8", "compress": "jpeg"}, {"block_values": 15}, {"quality": 0}, {"form": "int2"}):
        with pytest.raises(ValueError):
            PackParameters.model_validate(params)
    with pytest.raises(GraphError, match=r"takes 660 packed bytes, got \(7,\)"):
        find_operator("unpack").output_shape(UnpackParameters(shape=(20, 8)), [(7,)])
    assert math.prod(()) == 1 and most_bytes(()) == 24
