"""Frames of cameras: arrays, folders of pictures and video, read one at a time, and windows of them in a workload."""

import importlib.util
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime import GraphBuilder, Runtime, Stream, Workload
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.errors import DocumentError, LeoError, MissingExtraError, RecordingError
from leo_runtime.recordings import cameras
from leo_runtime.recordings.recording import Recording, RecordingManifest, check_streams, read_stream
from leo_runtime.recordings.stream import RecordedStream

needs_pillow = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="needs the extra `recordings`")
needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs the extra `recordings`")


def camera(file: str, rate_hz: float = 10, height: int = 6, width: int = 8, channels: int = 3, **more: Any) -> Any:
    return RecordedStream(
        name="eye",
        kind="camera",
        file=file,
        rate_hz=rate_hz,
        height_px=height,
        width_px=width,
        channels=channels,
        **more,
    )


def frames(count: int, height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels)).astype(np.uint8)


def greys(count: int, size: int = 32) -> np.ndarray:
    """Frame k is of one grey, 5 * k: what a lossy video keeps."""
    return np.repeat(5 * np.arange(count, dtype=np.uint8), size * size * 3).reshape(count, size, size, 3)


def write_video(
    path: Path, shown: np.ndarray, pts: list[int], rate: Fraction = Fraction(30), codec: str = "mpeg4"
) -> None:
    import av

    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = shown.shape[2], shown.shape[1], "yuv420p"
        video.codec_context.time_base = 1 / rate
        video.codec_context.gop_size = 12
        video.codec_context.bit_rate = 20_000_000
        video.codec_context.qmin = video.codec_context.qmax = 1
        for array, time in zip(shown, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = time, 1 / rate
            out.mux(video.encode(frame))
        out.mux(video.encode(None))


def write_pictures(folder: Path, shown: np.ndarray, names: list[str]) -> None:
    from PIL import Image

    folder.mkdir()
    for array, name in zip(shown, names, strict=True):
        Image.fromarray(array.squeeze()).save(folder / name)


def test_a_camera_has_a_size_and_nothing_else_has() -> None:
    sizes: tuple[dict[str, int], ...] = ({}, {"height_px": 2}, {"width_px": 2})
    for more in sizes:
        with pytest.raises(DocumentError, match="a camera has `height_px` and `width_px`"):
            RecordedStream(name="eye", kind="camera", file="x", rate_hz=1, **more)
    with pytest.raises(DocumentError, match="nothing else has them"):
        Stream(name="mic", kind="audio", rate_hz=16_000, height_px=2, width_px=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_frames_of_an_array_are_read_a_window_at_a_time(tmp_path: Path, dtype: type) -> None:
    shown = frames(20).astype(dtype)
    np.save(tmp_path / "eye.npy", shown)
    stream = camera("eye.npy", rate_hz=29.97)
    found = read_stream(tmp_path / "eye.npy", stream)
    assert (found.samples.shape, found.repairs) == ((20, 6, 8, 3), ())
    assert found.samples.dtype == (np.uint8 if dtype is np.uint8 else np.float32)
    manifest = RecordingManifest(format="leo-recording/1", name="r", licence="none", source="a test", streams=(stream,))
    recording = Recording(manifest, {"eye": found.samples})
    assert recording.duration_us == 667_334
    window = recording.window("eye", 400_400, 4)  # 12 frames of 29.97 Hz are 400,400.4 us long.
    assert (window == shown[7:11]).all()
    assert (recording.window("eye", 66_734, 4) == np.concatenate([np.zeros_like(shown[:2]), shown[:2]])).all()


def test_a_long_array_is_not_held_in_memory(tmp_path: Path) -> None:
    rows, shape = 2_000, (64, 64, 3)
    with (tmp_path / "eye.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (rows, *shape)})
        file.truncate(file.tell() + rows * 64 * 64 * 3)
    tracemalloc.start()
    found = read_stream(tmp_path / "eye.npy", camera("eye.npy", 30, 64, 64))
    for last in range(8, rows, 4):
        assert not found.samples[last - 8 : last].any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # 8 frames are 98,304 bytes, all of them 24,576,000.


def test_grey_frames_may_be_without_their_one_channel(tmp_path: Path) -> None:
    np.save(tmp_path / "eye.npy", frames(5)[..., 0])
    assert read_stream(tmp_path / "eye.npy", camera("eye.npy", channels=1)).samples.shape == (5, 6, 8, 1)


def test_other_samples_may_be_an_array_too(tmp_path: Path) -> None:
    values = np.arange(30, dtype=np.float32).reshape(10, 3)
    np.save(tmp_path / "wrist.npy", values)
    stream = RecordedStream(name="wrist", kind="motion", file="wrist.npy", rate_hz=10, channels=3)
    assert (np.asarray(read_stream(tmp_path / "wrist.npy", stream).samples) == values).all()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "cannot be read as npy"),
        (b"RIFF" * 20, "cannot be read as npy"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}"), "holds object, not real numbers"),
        (header("{'descr': '<c8', 'fortran_order': False, 'shape': (3,)}"), "holds complex64, not real numbers"),
        (header("{'descr': '|u1', 'fortran_order': True, 'shape': (3, 6, 8, 3)}"), "column by column"),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': ()}"), r"its shape is \(\)"),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (-3, 6, 8, 3)}"), "its shape is"),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 0, 8, 3)}"), "holds no samples"),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 6, 8, 3)}"), "holds no samples"),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 6, 8, 3)}"),
            "promises 3 samples and it holds 0",
        ),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 6, 9, 3)}") + bytes(200),
            "declared with frames",
        ),
        (header("(" * 300), "cannot be read as npy"),
    ],
)
def test_an_array_that_is_not_one_of_frames_is_refused(tmp_path: Path, raw: bytes, says: str) -> None:
    (tmp_path / "eye.npy").write_bytes(raw)
    with pytest.raises(RecordingError, match=says):
        read_stream(tmp_path / "eye.npy", camera("eye.npy"))


def test_an_array_whose_recorder_was_killed_goes_on_to_its_end(tmp_path: Path) -> None:
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 6, 8, 3)}"
    (tmp_path / "eye.npy").write_bytes(header(text) + frames(3).tobytes() + b"torn")
    found = read_stream(tmp_path / "eye.npy", camera("eye.npy"))
    assert found.repairs == (
        "its header says 0 samples; the 3 up to the end of the file are read, but the last 4 bytes",
    )
    assert (found.samples[:] == frames(3)).all()


@pytest.mark.parametrize("more", [b"x", bytes(6 * 8 * 3 * 2)])
def test_what_an_array_holds_beyond_what_it_says_is_told(tmp_path: Path, more: bytes) -> None:
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 6, 8, 3)}"
    (tmp_path / "eye.npy").write_bytes(header(text) + frames(3).tobytes() + more)
    found = read_stream(tmp_path / "eye.npy", camera("eye.npy"))
    assert found.repairs == (f"{len(more)} bytes behind its last sample are left out",)
    assert (found.samples[:] == frames(3)).all()


def write_panned(path: Path, **arrays: Any) -> None:
    still = np.random.default_rng(1).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    np.savez(path, **{"still": still, "corners": np.array([[0, 0], [1, 4], [3, 2]]), **arrays})


def test_a_still_and_a_path_are_frames(tmp_path: Path) -> None:
    write_panned(tmp_path / "eye.npz")
    still = np.load(tmp_path / "eye.npz")["still"]
    found = read_stream(tmp_path / "eye.npz", camera("eye.npz"))
    assert found.samples.shape == (3, 6, 8, 3)
    assert (found.samples[:] == np.stack([still[:6, :8], still[1:7, 4:], still[3:, 2:10]])).all()
    assert (found.samples[1:2] == still[1:7, 4:]).all()
    write_panned(tmp_path / "grey.npz", still=still[..., 0])
    assert read_stream(tmp_path / "grey.npz", camera("grey.npz", channels=1)).samples.shape == (3, 6, 8, 1)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"corners": np.array([[0, 0], [4, 0]])}, "frame 1 of 8 x 6 pixels begins at row 4, column 0"),
        ({"corners": np.array([[0, -1]])}, "frame 0 of 8 x 6 pixels begins at row 0, column -1"),
        ({"corners": np.zeros((0, 2), int)}, "`corners` is int64 of shape"),
        ({"corners": np.zeros((3, 2))}, "`corners` is float64 of shape"),
        ({"corners": np.zeros(3, int)}, "`corners` is int64 of shape"),
        ({"still": np.zeros((9, 12, 3))}, "`still` is float64 of shape"),
        ({"still": np.zeros((9, 12, 3, 1), np.uint8)}, "`still` is uint8 of shape"),
        ({"still": np.zeros((9, 12, 0), np.uint8)}, "`still` is uint8 of shape"),
        ({"still": np.array([None])}, "it holds object"),
    ],
)
def test_a_still_and_a_path_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    write_panned(tmp_path / "eye.npz", **arrays)
    with pytest.raises(RecordingError, match=says):
        read_stream(tmp_path / "eye.npz", camera("eye.npz"))


def test_a_still_is_a_camera_s_and_has_a_path(tmp_path: Path) -> None:
    write_panned(tmp_path / "eye.npz")
    with pytest.raises(RecordingError, match='declared as motion\nhint: give it kind = "camera"'):
        read_stream(tmp_path / "eye.npz", RecordedStream(name="eye", kind="motion", file="eye.npz", rate_hz=1))
    np.savez(tmp_path / "still.npz", still=np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(RecordingError, match="holds no array `corners`"):
        read_stream(tmp_path / "still.npz", camera("still.npz"))


def test_damaged_stills_are_refused_in_words(tmp_path: Path) -> None:
    write_panned(tmp_path / "eye.npz")
    whole = (tmp_path / "eye.npz").read_bytes()
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(0, len(whole), 4)] = random.integers(0, 256, 4)
        cut = random.integers(0, len(whole)) if random.random() < 0.2 else len(whole)
        (tmp_path / "eye.npz").write_bytes(damaged[:cut].tobytes())
        try:
            read_stream(tmp_path / "eye.npz", camera("eye.npz"))
        except RecordingError as error:
            refused += 1
            assert str(tmp_path / "eye.npz") in str(error)
    assert refused > 200


def test_a_value_that_is_no_number_is_told_where_it_is(tmp_path: Path) -> None:
    shown = frames(5).astype(np.float32)
    shown[3, 2, 1, 0] = np.nan
    np.save(tmp_path / "eye.npy", shown)
    found = read_stream(tmp_path / "eye.npy", camera("eye.npy"))
    assert len(found.samples[:3]) == 3
    with pytest.raises(RecordingError, match="frame 3, at row 2, column 1"):
        found.samples[2:5]


@needs_pillow
def test_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    shown = frames(12)
    write_pictures(tmp_path / "eye", shown, [f"frame{k}.png" for k in range(12)])
    (tmp_path / "eye" / "notes.txt").write_text("no picture")
    found = read_stream(tmp_path / "eye", camera("eye"))
    assert (found.samples[:] == shown).all()
    assert found.repairs == ()


@needs_pillow
def test_pictures_named_by_their_times_have_them(tmp_path: Path) -> None:
    shown = frames(6)
    times = [1_403_636_579_763_555_584 + k * 100_000_000 for k in (0, 1, 2, 5, 6, 7)]
    write_pictures(tmp_path / "eye", shown, [f"{time}.png" for time in times])
    found = read_stream(tmp_path / "eye", camera("eye"))
    assert (found.samples[:] == np.concatenate([shown[:3], np.zeros_like(shown[:2]), shown[3:]])).all()
    assert [(gap.start_us, gap.end_us) for gap in found.gaps] == [(250_000, 450_000)]
    assert found.repairs[0].startswith("the names of its files are times since 1970")


@needs_pillow
def test_pictures_of_another_size_or_colour_are_converted_and_that_is_told(tmp_path: Path) -> None:
    write_pictures(tmp_path / "eye", np.full((3, 12, 16, 3), 100, np.uint8), ["1.png", "2.png", "3.png"])
    found = read_stream(tmp_path / "eye", camera("eye", channels=1))
    assert found.samples.shape == (3, 6, 8, 1)
    assert (found.samples[:] == 100).all()
    assert found.repairs == (
        "frames of 16 x 12 pixels are scaled to 8 x 6",
        "frames of 3 channels are converted to 1",
    )


@needs_pillow
def test_pictures_of_depths_are_real_numbers(tmp_path: Path) -> None:
    depths = np.arange(96, dtype=np.uint16).reshape(2, 6, 8) * 600
    write_pictures(tmp_path / "eye", depths, ["1.png", "2.png"])
    found = read_stream(tmp_path / "eye", camera("eye", channels=1))
    assert found.samples.dtype == np.float32
    assert (found.samples[:][..., 0] == depths).all()


@needs_pillow
def test_a_folder_without_pictures_and_a_damaged_picture_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "eye", frames(3), ["1.png", "2.png", "3.png"])
    whole = (tmp_path / "eye" / "2.png").read_bytes()
    (tmp_path / "eye" / "2.png").write_bytes(whole[:80])
    found = read_stream(tmp_path / "eye", camera("eye"))
    with pytest.raises(RecordingError, match=r"2\.png: cannot be read as a picture"):
        found.samples[:]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="empty: holds no pictures"):
        read_stream(tmp_path / "empty", camera("empty"))
    with pytest.raises(RecordingError, match="gone: cannot be read as video"):
        read_stream(tmp_path / "gone", camera("gone"))
    with pytest.raises(RecordingError, match="declared with 2 channels"):
        read_stream(tmp_path / "eye", camera("eye", channels=2))


@needs_av
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30_000, 1001)])
def test_any_frames_of_a_video_are_those_that_it_shows(tmp_path: Path, rate: Fraction) -> None:
    write_video(tmp_path / "eye.mp4", greys(45), list(range(45)), rate)
    found = read_stream(tmp_path / "eye.mp4", camera("eye.mp4", round(float(rate), 2), 32, 32))
    assert found.samples.shape == (45, 32, 32, 3)
    assert found.repairs == ()
    for first, last in ((0, 4), (2, 6), (40, 45), (3, 5), (20, 30), (0, 45)):
        seen = found.samples[first:last].astype(int).mean(axis=(1, 2, 3))
        assert np.abs(seen - 5 * np.arange(first, last)).max() < 3


@needs_av
def test_a_video_whose_rate_varies_is_put_on_the_grid(tmp_path: Path) -> None:
    times = [1000 + time for time in (0, 1, 2, 3, 4, 10, 11, 12, 14, 15)]  # Also, its clock does not begin at 0.
    write_video(tmp_path / "eye.mkv", greys(10), times)
    found = read_stream(tmp_path / "eye.mkv", camera("eye.mkv", 30, 32, 32))
    seen = np.rint(found.samples[:].astype(int).mean(axis=(1, 2, 3)) / 5)
    assert seen.tolist() == [0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 5, 6, 7, 0, 8, 9]
    assert [gap.start_us for gap in found.gaps] == [150_000, 416_667]


@needs_av
def test_fewer_frames_than_the_video_has_may_be_asked_for_and_not_more(tmp_path: Path) -> None:
    write_video(tmp_path / "eye.mp4", greys(40), list(range(40)))
    found = read_stream(tmp_path / "eye.mp4", camera("eye.mp4", 10, 16, 16, 1))
    seen = np.rint(found.samples[:].astype(int).mean(axis=(1, 2, 3)) / 5)
    assert np.abs(seen - np.arange(0, 40, 3)).max() <= 1
    assert len(found.repairs) == 3
    with pytest.raises(RecordingError, match=r"holds 40 frames up to 1\.3 s, where 651 are due at 500 Hz"):
        read_stream(tmp_path / "eye.mp4", camera("eye.mp4", 500, 32, 32))


@needs_av
def test_a_video_of_a_phone_held_upright_is_turned(tmp_path: Path) -> None:
    shown = np.zeros((12, 32, 64, 3), np.uint8)
    shown[:, :, :32] = 200  # The left half.
    write_video(tmp_path / "lying.mp4", shown, list(range(12)))
    raw = (tmp_path / "lying.mp4").read_bytes()
    at = raw.index(b"tkhd") + 40  # The matrix by which it is shown, which says to turn it by the clock.
    turned = b"".join(
        number.to_bytes(4, "big", signed=True) for number in (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    )
    (tmp_path / "upright.mp4").write_bytes(raw[:at] + turned + raw[at + 36 :])
    found = read_stream(tmp_path / "upright.mp4", camera("upright.mp4", 30, 64, 32, 1))
    assert found.repairs == ("frames of 3 channels are converted to 1",)
    frame = found.samples[3:4][0, ..., 0].astype(int)
    assert frame[:28].mean() > 150
    assert frame[36:].mean() < 50


@needs_pillow
def test_pictures_are_upright_and_what_a_mac_puts_beside_them_is_none(tmp_path: Path) -> None:
    from PIL import Image

    lying = np.zeros((4, 6, 3), np.uint8)
    lying[:, :3] = 200
    (tmp_path / "eye").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by the clock.
    for name in ("1.png", "2.png"):
        Image.fromarray(lying).save(tmp_path / "eye" / name, exif=exif)
        (tmp_path / "eye" / f"._{name}").write_bytes(b"\0\5\x16\7")
    found = read_stream(tmp_path / "eye", camera("eye", 10, 6, 4))
    assert found.repairs == ()
    assert (found.samples[:] == np.rot90(lying, -1)).all()


@needs_av
def test_a_video_cut_short_is_read_or_refused_in_words(tmp_path: Path) -> None:
    write_video(tmp_path / "whole.mkv", greys(45), list(range(45)))
    whole = (tmp_path / "whole.mkv").read_bytes()
    for length in (0, 20, 600, len(whole) // 2, len(whole) - 1):
        (tmp_path / "eye.mkv").write_bytes(whole[:length])
        try:
            found = read_stream(tmp_path / "eye.mkv", camera("eye.mkv", 30, 32, 32))
            assert found.samples[:].shape[1:] == (32, 32, 3)
        except RecordingError as error:
            assert "eye.mkv" in str(error)


@needs_av
def test_a_video_that_goes_while_it_is_read_is_told_and_read_again_when_it_is_back(tmp_path: Path) -> None:
    shown = greys(30)
    write_video(tmp_path / "v.mp4", shown, list(range(30)))
    raw = (tmp_path / "v.mp4").read_bytes()
    found = read_stream(tmp_path / "v.mp4", camera("v.mp4", rate_hz=30, height=32, width=32)).samples
    assert np.allclose(found[20:21], shown[20:21], atol=3)
    for gone in (None, raw[: len(raw) // 3]):
        (tmp_path / "v.mp4").unlink()
        if gone is not None:
            (tmp_path / "v.mp4").write_bytes(gone)
        for _ in range(2):
            with pytest.raises(RecordingError, match="cannot be read as video"):
                found[3:4]
        (tmp_path / "v.mp4").write_bytes(raw)
        assert np.allclose(found[4:6], shown[4:6], atol=3)
        assert np.allclose(found[25:26], shown[25:26], atol=3)


def test_without_the_extra_its_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    (tmp_path / "eye").mkdir()
    for reader in (cameras.read_video, cameras.read_folder):
        with pytest.raises(MissingExtraError) as told:
            reader(tmp_path / "eye", camera("eye"))
        assert told.value.hint == "pip install 'leo-runtime[recordings]'"


@pytest.mark.parametrize("backend", ["cpu", "dsp"])
def test_a_stage_reads_a_window_of_frames(tmp_path: Path, backend: str) -> None:
    shown = frames(20)
    np.save(tmp_path / "eye.npy", shown)
    recorded = camera("eye.npy")
    manifest = RecordingManifest(
        format="leo-recording/1", name="r", licence="none", source="a test", streams=(recorded,)
    )
    recording = Recording(manifest, {"eye": read_stream(tmp_path / "eye.npy", recorded).samples})
    graph = GraphBuilder("sight", period_us=500_000, deadline_us=100_000)
    graph.stage("last", "rows", graph.stage("seen", "window", stream="eye", samples=3), first=2, count=1)
    workload = Workload(
        format="leo-workload/1",
        name="eyes",
        streams=(Stream(name="eye", kind="camera", rate_hz=10, height_px=6, width_px=8, channels=3),),
        graphs=(graph.build(),),
    )
    check_streams(workload, recording)
    assert workload.streams[0].item_type() == "uint8"
    hardware = Hardware.model_validate_json(
        '{"format": "leo-hardware/1", "name": "desk", "processors": '
        '[{"name": "cpu", "backend": "cpu", "active_mw": 1000, "awake_mw": 10}, '
        '{"name": "dsp", "backend": "dsp", "active_mw": 10, "awake_mw": 1}], "links": ['
        '{"source": "dsp", "target": "cpu", "latency_us": 1}]}'
    )
    costs = [{"processor": "cpu", "fixed_us": 1000, "source": "modelled: for a test"}]
    costs.append({"processor": backend, "operator": "window", "fixed_us": 10, "source": "modelled: for a test"})
    profile = Profile.from_dict({"format": "leo-profile/1", "name": "desk", "hardware": "desk", "costs": costs})
    with Runtime.simulated(workload, hardware, profile) as runtime:
        runtime.submit(1_500_000, {"seen": recording.window("eye", 1_500_000, 3)})
        (frame,) = runtime.drain()
    assert {run.stage: run.resource for run in frame.stages}["seen"] == backend
    assert (frame.graphs[0].outputs["last"] == shown[14:15]).all()


def test_a_workload_reads_frames_of_the_size_that_was_recorded() -> None:
    recorded = camera("eye.npy")
    manifest = RecordingManifest(
        format="leo-recording/1", name="r", licence="none", source="a test", streams=(recorded,)
    )
    graph = GraphBuilder("sight", period_us=500_000, deadline_us=100_000)
    graph.stage("seen", "window", stream="eye", samples=3)
    workload = Workload(
        format="leo-workload/1",
        name="eyes",
        streams=(Stream(name="eye", kind="camera", rate_hz=10, height_px=6, width_px=9, channels=3),),
        graphs=(graph.build(),),
    )
    with pytest.raises(LeoError, match="with width_px 8, workload `eyes` reads 9"):
        check_streams(workload, Recording(manifest, {"eye": frames(3)}))
