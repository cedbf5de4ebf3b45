"""Cameras, with FFmpeg's test picture in the place of one: frames as the stream has them, at its rate."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons import a_site
from leo_runtime.daemon.kinds import SourceFailedError
from leo_runtime.daemon.sources.camera import Camera, CameraSource, Due
from leo_runtime.documents.workload import Stream
from leo_runtime.errors import InputError, MissingExtraError


def eye(channels: int = 3, rate_hz: float = 10) -> Stream:
    return Stream(name="eye", kind="camera", rate_hz=rate_hz, height_px=24, width_px=32, channels=channels)


class Fed:
    """What a camera gave, until that is enough."""

    def __init__(self, most: int = 10**9) -> None:
        self.stop, self._most = threading.Event(), most
        self.pieces: list[tuple[np.ndarray, int | None]] = []

    def __call__(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        self.pieces.append((samples, at_us))
        if len(self.pieces) >= self._most:
            self.stop.set()


def red(stream: Stream, rate_hz: int = 10, seconds: int = 1) -> Camera:
    """A camera that sees nothing but red, larger than the stream."""
    av = pytest.importorskip("av", reason="the extra `recordings` is not installed")
    picture = f"color=c=red:size=64x48:rate={rate_hz}:duration={seconds}"
    return Camera(lambda: av.open(picture, format="lavfi"), "/dev/video0", stream)


@pytest.mark.parametrize(("channels", "pixel"), [(3, [254, 0, 0]), (1, [76]), (4, [254, 0, 0, 255])])
def test_frames_are_scaled_and_converted_to_what_the_stream_has(channels: int, pixel: list[int]) -> None:
    fed = Fed()
    with pytest.raises(SourceFailedError, match="/dev/video0 gives no more frames"):
        red(eye(channels)).run(fed, fed.stop)
    assert len(fed.pieces) == 10
    frame, at_us = fed.pieces[3]
    assert frame.shape == (1, 24, 32, channels) and frame.dtype == np.uint8 and at_us == 300_000
    assert (
        np.abs(frame[0].astype(int) - pixel).max() <= 6
    )  # By which of several formulas colours are converted differs.


def test_a_camera_that_is_faster_is_thinned_out_and_one_that_is_slower_told(caplog: pytest.LogCaptureFixture) -> None:
    fed = Fed(10)
    red(eye(rate_hz=10), rate_hz=30, seconds=2).run(fed, fed.stop)
    assert [at_us for _, at_us in fed.pieces] == [100_000 * number for number in range(10)]
    with caplog.at_level(logging.WARNING), pytest.raises(SourceFailedError):
        red(eye(rate_hz=30)).run(fed, threading.Event())
    assert "gives 10 frames a second, and stream `eye` has 30" in caplog.text


class Spoiling:
    """A camera of motion JPEG that spoils some of its frames: they are empty, or hold rubbish."""

    def __init__(self, file: Path, spoiled: dict[int, bytes]) -> None:
        self._av = pytest.importorskip("av", reason="the extra `recordings` is not installed")
        self._file, self._spoiled = file, spoiled
        with self._av.open(str(file), "w") as written:
            video = written.add_stream("mjpeg", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
            for number in range(40):
                picture = np.full((48, 64, 3), number, np.uint8)
                written.mux(video.encode(self._av.VideoFrame.from_ndarray(picture, format="rgb24")))
            written.mux(video.encode())

    def __call__(self) -> Spoiling:
        self._opened = self._av.open(str(self._file))
        return self

    def __enter__(self) -> Spoiling:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def streams(self) -> Any:
        return self._opened.streams

    def demux(self, video: Any) -> Any:
        for number, packet in enumerate(self._opened.demux(video)):
            if number not in self._spoiled:
                yield packet
                continue
            spoiled = self._av.Packet(self._spoiled[number])
            spoiled.stream, spoiled.pts, spoiled.time_base = packet.stream, packet.pts, packet.time_base
            yield spoiled


def test_frames_that_a_camera_spoiled_are_passed_over_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fed, counted = Fed(), list[str]()
    camera = Spoiling(tmp_path / "eye.avi", {0: b"\0" * 99, 1: b"", 7: b"no picture", 8: b""})
    with pytest.raises(SourceFailedError, match="gives no more frames"):
        Camera(camera, "/dev/video0", eye(), counted.append).run(fed, fed.stop)
    assert [at_us for _, at_us in fed.pieces] == [100_000 * at for at in range(40) if at not in (0, 1, 7, 8)]
    assert counted == ["camera_spoiled_frames"] * 4 and caplog.text.count("passed over") == 4


def test_a_camera_that_spoils_all_frames_is_told(tmp_path: Path) -> None:
    camera, fed = Spoiling(tmp_path / "eye.avi", dict.fromkeys(range(2, 40), b"no picture")), Fed()
    with pytest.raises(SourceFailedError, match="camera /dev/video0: Invalid data"):
        Camera(camera, "/dev/video0", eye()).run(fed, fed.stop)
    assert len(fed.pieces) == 2


@given(st.integers(2, 60), st.integers(1, 60), st.integers(0, 10**12))
def test_as_many_frames_are_taken_as_the_stream_has(camera_hz: int, stream_hz: int, began_us: int) -> None:
    due, wanted = Due(stream_hz), min(camera_hz, stream_hz)
    taken = sum(due.take(began_us + number * 1_000_000 // camera_hz) for number in range(10 * camera_hz))
    assert abs(taken - 10 * wanted) <= 2


def test_a_clock_that_is_set_holds_up_nothing() -> None:
    due = Due(10)
    assert [due.take(at_us) for at_us in (0, 50_000, 100_000, 10**12, 10**12 + 50_000, 5_000)] == [
        True, False, True, True, False, True,
    ]  # fmt: skip


def test_a_camera_that_is_not_there_is_told(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra `recordings` is not installed")
    site = a_site(tmp_path)
    object.__setattr__(site, "workload", site.workload.model_copy(update={"streams": (eye(),)}))
    config = CameraSource(kind="camera", device=str(tmp_path / "video9"), size=(640, 480), input_format="mjpeg")
    with pytest.raises(SourceFailedError, match="video9: ") as told:
        config.open(site).run(Fed(), threading.Event())
    assert "doctor" in told.value.hint


@pytest.mark.parametrize("stream", [Stream(name="s", kind="audio", rate_hz=8000), eye(2)])
def test_a_stream_that_has_no_pictures_is_refused(tmp_path: Path, stream: Stream) -> None:
    site = a_site(tmp_path)
    object.__setattr__(site, "workload", site.workload.model_copy(update={"streams": (stream,)}))
    with pytest.raises(InputError, match="takes no frames"):
        CameraSource(kind="camera").open(site)


def test_without_the_extra_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site: Any = a_site(tmp_path)
    object.__setattr__(site, "workload", site.workload.model_copy(update={"streams": (eye(),)}))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match="recordings"):
        CameraSource(kind="camera").open(site)
