"""WAV as recorders write it: every width, floats, the extensible form, RF64, and headers that were never finished."""

import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import recorded
from leo_runtime import cli
from leo_runtime.errors import RecordingError
from leo_runtime.recordings.recording import RecordedStream, read_stream

PLAIN = np.random.default_rng(7).integers(-32_768, 32_768, 600).astype(np.int16)
GUID_END = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, content: bytes, said: int | None = None) -> bytes:
    size = len(content) if said is None else said
    return name + size.to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def form(tag: int, bits: int, channels: int = 1, *, extensible: bool = False) -> bytes:
    frame_bytes = channels * bits // 8
    head = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else tag, channels, 16_000, 16_000 * frame_bytes, frame_bytes, bits
    )
    return chunk(b"fmt ", head + (struct.pack("<HHIH", 22, bits, 0, tag) + GUID_END if extensible else b""))


def riff(*chunks: bytes, said: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + (len(body) if said is None else said).to_bytes(4, "little") + body


def rf64(name: bytes, data: bytes, said: int) -> bytes:
    sizes = chunk(b"ds64", struct.pack("<QQQI", 64_000, said, said // 2, 0))
    return name + b"\xff" * 4 + b"WAVE" + sizes + form(1, 16) + chunk(b"data", data, 0xFFFF_FFFF)


def encoded(bits: int) -> bytes:
    """The samples in a width of PCM; those of more than 16 bits carry something below."""
    whole = PLAIN.astype(np.int64)
    if bits == 8:
        return (whole // 256 + 128).astype(np.uint8).tobytes()
    below = np.random.default_rng(8).integers(0, 1 << (bits - 16), len(whole)) if bits > 16 else 0
    wide = ((whole << (bits - 16)) + below).astype("<i4").view(np.uint8).reshape(-1, 4)
    return wide[:, : bits // 8].tobytes()


def read(tmp_path: Path, raw: bytes, channels: int = 1) -> tuple[np.ndarray, tuple[str, ...]]:
    path = tmp_path / "mic.wav"
    path.write_bytes(raw)
    stream = RecordedStream(name="mic", kind="audio", file="mic.wav", rate_hz=16_000, channels=channels)
    found = read_stream(path, stream)
    assert found.samples.dtype == np.int16
    return found.samples, found.repairs


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("bits", "off"), [(8, 255), (16, 0), (24, 1), (32, 1)])
def test_pcm_of_every_width_is_the_16_bit_samples(tmp_path: Path, bits: int, off: int, extensible: bool) -> None:
    found, repairs = read(tmp_path, riff(form(1, bits, extensible=extensible), chunk(b"data", encoded(bits))))
    assert np.abs(found.astype(int) - PLAIN).max() <= off
    assert repairs == ()


@pytest.mark.parametrize("width", [3, 4])
def test_wider_samples_are_rounded_and_the_greatest_stays(tmp_path: Path, width: int) -> None:
    values = [0x7FFFFF, 0x7FFF7F, 0x000080, 0x00007F, -0x000080, -0x000081, -0x800000]
    raw = b"".join((value << 8 * (width - 3)).to_bytes(width, "little", signed=True) for value in values)
    found, _ = read(tmp_path, riff(form(1, 8 * width), chunk(b"data", raw)))
    assert found.tolist() == [32_767, 32_767, 1, 0, 0, -1, -32_768]


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [32, 64])
def test_floats_are_the_16_bit_samples(tmp_path: Path, bits: int, extensible: bool) -> None:
    data = (PLAIN / 32_768).astype(f"<f{bits // 8}")
    found, repairs = read(tmp_path, riff(form(3, bits, 2, extensible=extensible), chunk(b"data", data.tobytes())), 2)
    assert np.array_equal(found.ravel(), PLAIN)
    assert repairs == ()


def test_floats_beyond_full_scale_are_cut_off_and_that_is_said(tmp_path: Path) -> None:
    data = np.array([0.5, 1.0, 1.5, -1.0, -1e30], "<f8")
    found, repairs = read(tmp_path, riff(form(3, 64), chunk(b"data", data.tobytes())))
    assert found.tolist() == [16_384, 32_767, 32_767, -32_768, -32_768]
    assert repairs == ("values outside -1 to 1 are cut off there: 2",)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_a_float_that_is_no_number_is_refused_with_its_place(tmp_path: Path, value: float) -> None:
    data = np.array([0.5, 0.5, 0.5, value], "<f8")
    with pytest.raises(RecordingError, match=r"mic\.wav: sample 1, channel 1, is not finite, or too great: "):
        read(tmp_path, riff(form(3, 64, 2), chunk(b"data", data.tobytes())), 2)


DATA = PLAIN.astype("<i2").tobytes()


@pytest.mark.parametrize("said", [0, 0xFFFF_FFFF, 0x7FFF_FFC6, 0x7FFF_F000, 0x8000_0000])
@pytest.mark.parametrize("whole", [0, 0xFFFF_FFFF, 0x7FFF_FFEA, 36])
def test_samples_of_a_killed_or_piped_recorder_are_read_to_the_end(tmp_path: Path, said: int, whole: int) -> None:
    found, repairs = read(tmp_path, riff(form(1, 16), chunk(b"data", DATA, said), said=whole))
    assert np.array_equal(found, PLAIN)
    assert repairs == (f"its header says {said} bytes of samples; the 600 samples up to the end of the file are read",)


def test_a_length_of_the_samples_that_is_too_great_in_a_whole_file_is_mended(tmp_path: Path) -> None:
    found, repairs = read(tmp_path, riff(form(1, 16), chunk(b"data", DATA, len(DATA) + 16)))
    assert np.array_equal(found, PLAIN)
    assert repairs == ("its header says 1216 bytes of samples; the 600 samples up to the end of the file are read",)


def test_half_a_sample_at_the_end_of_a_killed_recorders_file_is_left_out(tmp_path: Path) -> None:
    found, repairs = read(tmp_path, riff(form(1, 16), chunk(b"data", DATA, 0))[:-1])
    assert np.array_equal(found, PLAIN[:-1])
    assert repairs[0].endswith("the 599 samples up to the end of the file are read, but the last 1 bytes")


def test_what_stands_behind_the_end_is_left_out_and_said(tmp_path: Path) -> None:
    whole = riff(form(1, 16), chunk(b"data", DATA))
    found, repairs = read(tmp_path, whole + b"\0\0\0")
    assert np.array_equal(found, PLAIN)
    assert repairs == (f"3 bytes behind its end, from byte {len(whole)} on, are left out",)


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
def test_the_form_of_more_than_4_gib_is_read(tmp_path: Path, name: bytes) -> None:
    found, repairs = read(tmp_path, rf64(name, DATA, len(DATA)))
    assert np.array_equal(found, PLAIN)
    assert repairs == ()


def test_a_recorder_of_rf64_that_was_killed_is_read_to_the_end(tmp_path: Path) -> None:
    found, repairs = read(tmp_path, rf64(b"RF64", DATA, 0))
    assert np.array_equal(found, PLAIN)
    assert repairs == ("its header says 0 bytes of samples; the 600 samples up to the end of the file are read",)


@pytest.mark.parametrize("behind", [b"", chunk(b"LIST", b"INFO"), chunk(b"LIST", b"odd") + chunk(b"id3 ", b"")])
def test_a_file_with_no_samples_is_refused(tmp_path: Path, behind: bytes) -> None:
    with pytest.raises(RecordingError, match=r"mic\.wav: holds no samples") as told:
        read(tmp_path, riff(form(1, 16), chunk(b"data", b""), behind))
    assert told.value.hint == "record it again"


def changed(raw: bytes, until: int) -> Iterator[bytes]:
    """The header with each byte changed, but for the tag: floats of 32 bits might as well be PCM of 32 bits."""
    tag = raw.index(GUID_END) - 2 if GUID_END in raw else -1
    for place in range(until):
        if place == tag:
            continue
        for value in {0, 1, 3, 0x20, 0x7F, 0xFF, raw[place] ^ 1} - {raw[place]}:
            yield raw[:place] + bytes([value]) + raw[place + 1 :]


@pytest.mark.parametrize(
    "raw",
    [
        riff(form(1, 24, 2, extensible=True), chunk(b"LIST", b"odd"), chunk(b"data", encoded(24)[:600])),
        riff(form(3, 32, extensible=True), chunk(b"data", (PLAIN / 32_768).astype("<f4").tobytes()[:600])),
        rf64(b"RF64", DATA[:600], 600),
    ],
    ids=["24 bit", "float", "RF64"],
)
def test_any_changed_byte_of_a_header_reads_or_is_refused_with_the_file(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "mic.wav"
    channels = int.from_bytes(raw[raw.index(b"fmt ") + 10 :][:2], "little")
    stream = RecordedStream(name="mic", kind="audio", file="mic.wav", rate_hz=16_000, channels=channels)
    path.write_bytes(raw)
    plain = read_stream(path, stream).samples
    refused = 0
    for other in changed(raw, raw.index(b"data") + 8):
        path.write_bytes(other)
        try:
            found = read_stream(path, stream)
        except RecordingError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
        else:
            assert np.array_equal(found.samples, plain) or found.repairs, other
    assert refused > 100


def test_replay_tells_what_was_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    mic = tmp_path / "recording" / "mic.wav"
    raw = bytearray(mic.read_bytes())
    raw[40:44] = b"\0\0\0\0"
    mic.write_bytes(raw)
    arguments = ["--workload", "workload.json", "--hardware", "machine.json", "--profile", "profile.json", "--virtual"]
    assert cli.main(["replay", "recording", *arguments, "--no-compare"]) == 0
    out = capsys.readouterr().out
    said = "its header says 0 bytes of samples; the 64000 samples up to the end of the file are read"
    assert f" mended: mic.wav: {said} " in " ".join(out.split())


def test_the_standard_librarys_24_bit_is_read(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "mic.wav"), "wb") as file:
        file.setparams((1, 3, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(encoded(24))
    found, _ = read(tmp_path, (tmp_path / "mic.wav").read_bytes())
    assert np.abs(found.astype(int) - PLAIN).max() <= 1
