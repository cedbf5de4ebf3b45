"""Frames of a camera, read one at a time: arrays of `.npy`, folders of pictures, and video.

A frame is (height, width, channels), uint8 or float32. Frames are put on the even grid of the stream's rate: a point
has the frame that is nearest in time, within half a period, else it is a gap, and zero. A frame is scaled, or made grey
or colour, where the manifest says another size or number of channels than the file has; that is told as a repair.
"""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.errors import MissingExtraError, RecordingError, words
from leo_runtime.recordings.grid import Nearest, UnevenError, nearest
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.samples import StoredSamples
from leo_runtime.recordings.stream import RecordedStream

EXTRA = "recordings"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""Ends of the names of files in a folder that are frames; others are passed over."""
_PILLOW_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_AV_FORMATS = {1: "gray", 3: "rgb24", 4: "rgba"}
_DEEP = ("I;16", "I;16B", "I", "F")
"""Modes of pictures whose values are no bytes, such as depths."""
_FAR_FRAMES = 64
"""Farther ahead than this a video is entered anew at a key frame, if there is one on the way."""
_MOST_PIXELS = 1 << 26
"""Of one picture or video frame."""


def read_folder(path: Path, stream: RecordedStream) -> StreamData:
    """The pictures of a folder, in the order of the numbers in their names, one each 1 / rate.

    Where all names are times since 1970, as in `1403636579763555584.png`, those are their times. Raises
    `RecordingError`, and `MissingExtraError` without Pillow.
    """
    _pillow()
    try:
        # What begins with a dot is put beside each file by a Mac, under the same end of the name.
        found = (file for file in path.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != ".")
        files = sorted(found, key=_numbered)
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"{path}: cannot be read as a folder of pictures ({without_path(error)})",
            hint="name a folder of PNG or JPEG files, a video, or an .npy file",
        ) from None
    if not files:
        raise RecordingError(f"{path}: holds no pictures", hint=f"their names end in {', '.join(PICTURES)}")
    show, repairs = _picture_reader(files, stream)
    times_us = _times_of_names(files)
    if times_us is None:
        even = Nearest(np.arange(len(files)), (), ())
        return gathered(lambda at: show(files[at]), even, stream, show.dtype, repairs)
    try:
        put = nearest(times_us, stream.rate_hz)
    except UnevenError as error:
        where = path if error.row is None else files[error.row]
        raise RecordingError(f"{where}: {error}", hint=error.hint) from None
    told = ("the names of its files are times since 1970: the first is taken for the start",)
    return gathered(lambda at: show(files[at]), put, stream, show.dtype, (*repairs, *told))


def read_video(path: Path, stream: RecordedStream) -> StreamData:
    """The frames of the first video stream of a file, each at its own time after the first.

    They are decoded as they are asked for, in whatever order. Raises `RecordingError`, and `MissingExtraError` without
    the package `av`.
    """
    video = _Video(path, stream)
    try:
        put = nearest(video.times_us, stream.rate_hz)
    except UnevenError as error:
        raise RecordingError(f"{path}: stream `{stream.name}` {error}", hint=error.hint) from None
    return gathered(video.frame, put, stream, np.dtype(np.uint8), video.repairs)


def gathered(
    show: Callable[[int], np.ndarray],
    put: Nearest,
    stream: RecordedStream,
    dtype: np.dtype[Any],
    repairs: Iterable[str] = (),
) -> StreamData:
    """Frames that are shown by their number, on the points of the grid that they are put on."""
    rows, shape = put.rows, stream.sample_shape
    recent: OrderedDict[int, np.ndarray] = OrderedDict()
    longest = 1

    def read(first: int, last: int) -> np.ndarray:
        nonlocal longest
        longest = max(longest, last - first)
        frames = np.zeros((max(0, last - first), *shape), dtype)
        for place, row in enumerate(rows[first:last].tolist()):
            if row < 0:
                continue
            if row not in recent:
                recent[row] = show(row)
            recent.move_to_end(row)
            frames[place] = recent[row]
        # Windows of a replay overlap: what the last one held is not decoded again.
        while len(recent) > min(longest, max(2, _MOST_PIXELS // max(1, int(np.prod(shape))))):
            recent.popitem(last=False)
        return frames

    samples = StoredSamples((len(rows), *shape), dtype, read)
    return StreamData(samples, stream.rate_hz, (*repairs, *put.repairs), put.gaps, put.timing)


# Pictures.


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("reading pictures", EXTRA) from None
    return Image


def upright(picture: Any) -> Any:
    """A picture as it is shown: cameras that were held otherwise say so, and turn nothing (EXIF orientation)."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture) if picture.getexif().get(0x0112, 1) != 1 else picture


def _numbered(file: Path) -> tuple[Any, ...]:
    """As people count: frame 2 goes before frame 10."""
    parts = re.split(r"([0-9]+)", file.name)
    return tuple((int(part), part) if i % 2 else part for i, part in enumerate(parts))


def _times_of_names(files: list[Path]) -> np.ndarray | None:
    """In us after the first; None where the names are no times."""
    if not all(re.fullmatch(r"[0-9]{16,19}", file.stem) for file in files):
        return None
    times = [int(file.stem) for file in files]
    scale = 1.0 if times[0] < 10**17 else 1e-3  # us have 16 digits, ns 19.
    return np.array([(time - times[0]) * scale for time in times])


class _PictureReader:
    """Reads pictures as the frames of a stream."""

    def __init__(self, stream: RecordedStream, dtype: np.dtype[Any]) -> None:
        self._stream = stream
        self.dtype = dtype

    def __call__(self, file: Path | Any, name: str | None = None) -> np.ndarray:
        """The frame in a file (or what is open as one, called `name`). Raises `RecordingError`."""
        Image = _pillow()  # noqa: N806  # a module's name
        where = name or str(file)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with Image.open(file) as picture:
                    require_pixels(where, picture.width, picture.height)
                    return self._frame(where, upright(picture))
        except (RecordingError, MissingExtraError):
            raise
        except Exception as error:  # Pillow raises whatever its decoders do.
            raise RecordingError(
                f"{where}: cannot be read as a picture ({words(error)})", hint="copy it again"
            ) from None

    def of_array(self, where: str, pixels: np.ndarray) -> np.ndarray:
        """The frame from pixels of bytes, (height, width, channels)."""
        return self._frame(where, _pillow().fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))

    def _frame(self, where: str, picture: Any) -> np.ndarray:
        height, width, channels = self._stream.sample_shape
        deep = picture.mode in _DEEP
        if deep != (self.dtype == np.float32):
            raise RecordingError(f"{where}: has values of mode {picture.mode}, unlike the first", hint="convert it")
        if deep:
            if channels != 1 or (picture.height, picture.width) != (height, width):
                raise RecordingError(
                    f"{where}: is {picture.width} x {picture.height} of one value of mode {picture.mode} each, stream "
                    f"`{self._stream.name}` is declared {width} x {height} of {channels}",
                    hint="correct the recording.toml: such pictures are not scaled",
                )
            return np.asarray(picture, np.float32).reshape(height, width, 1)
        made = picture if picture.mode == _PILLOW_MODES[channels] else picture.convert(_PILLOW_MODES[channels])
        if made.size != (width, height):
            made = made.resize((width, height), _pillow().Resampling.BILINEAR)
        return np.asarray(made, np.uint8).reshape(height, width, channels)


def require_pixels(where: str, width: int, height: int) -> None:
    """Raise `RecordingError` for a frame that is too great to be one."""
    if width < 1 or height < 1 or width * height > _MOST_PIXELS:
        raise RecordingError(f"{where}: is {width} x {height} pixels, at most {_MOST_PIXELS} are read", hint="damaged?")


def require_channels(where: str, stream: RecordedStream) -> None:
    """Raise `RecordingError` for a number of channels that no picture has."""
    if stream.channels not in _PILLOW_MODES:
        raise RecordingError(
            f"{where}: stream `{stream.name}` is declared with {stream.channels} channels",
            hint="pictures have 1 (grey), 3 (red, green, blue) or 4 (and how opaque)",
        )


def converting(stream: RecordedStream, width: int, height: int, channels: int) -> list[str]:
    """What is done to frames of another form than the manifest says, in words."""
    told = []
    if (height, width) != stream.sample_shape[:2]:
        told.append(f"frames of {width} x {height} pixels are scaled to {stream.width_px} x {stream.height_px}")
    if channels != stream.channels:
        told.append(f"frames of {channels} channels are converted to {stream.channels}")
    return told


def _picture_reader(files: list[Path], stream: RecordedStream) -> tuple[_PictureReader, list[str]]:
    """Made for what the first picture holds."""
    require_channels(str(files[0].parent), stream)
    Image = _pillow()  # noqa: N806  # a module's name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(files[0]) as first:
                mode, size, bands = first.mode, upright(first).size, len(first.getbands())
    except Exception as error:  # Pillow raises whatever its decoders do.
        raise RecordingError(
            f"{files[0]}: cannot be read as a picture ({words(error)})", hint="copy it again"
        ) from None
    deep = mode in _DEEP
    show = _PictureReader(stream, np.dtype(np.float32 if deep else np.uint8))
    show(files[0])
    return show, converting(stream, size[0], size[1], 3 if mode == "P" else bands)


def form_of(where: str, file: Any) -> tuple[int, int, int]:
    """Width, height and channels (1, 3 or 4) of the picture in a file. Raises `RecordingError`, `MissingExtraError`."""
    Image = _pillow()  # noqa: N806  # a module's name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(file) as picture:
                bands = 3 if picture.mode == "P" else len(picture.getbands())
                width, height = upright(picture).size
                return width, height, bands if bands in _PILLOW_MODES else 3
    except Exception as error:  # Pillow raises whatever its decoders do.
        raise RecordingError(f"{where}: cannot be read as a picture ({words(error)})", hint="copy it again") from None


def picture_reader(stream: RecordedStream) -> _PictureReader:
    """Reads pictures of bytes that lie in no folder, such as those in messages."""
    require_channels(f"stream `{stream.name}`", stream)
    _pillow()
    return _PictureReader(stream, np.dtype(np.uint8))


# Video.


class _Video:
    """A video file, whose frames are found by their number in the order they are shown."""

    def __init__(self, path: Path, stream: RecordedStream) -> None:
        """Finds out when its frames are, and decodes the first."""
        self._container: Any = None
        self._width = self._height = self._channels = self._turns = self._next = 0
        try:
            import av
        except ImportError:
            raise MissingExtraError("reading video", EXTRA) from None
        self._av = av
        self._path = path
        self._stream = stream
        require_channels(str(path), stream)
        try:
            self._open()
            self._pts, self._keys, base = self._index()
            self._open()
            if len(self._pts):
                self._turn_to_show()
        except RecordingError:
            raise
        except Exception as error:  # FFmpeg's errors are of many kinds.
            raise self._unreadable(error) from None
        if not len(self._pts):
            raise RecordingError(f"{path}: holds no frames with a time", hint="copy it again, or record it again")
        self.times_us = (self._pts - self._pts[0]) * (base * 1e6)
        require_pixels(str(path), self._width, self._height)
        self.repairs = tuple(converting(stream, self._width, self._height, self._channels))

    def _turn_to_show(self) -> None:
        """Phones that are held upright record frames that lie, and say by how much they are to be turned."""
        found = self._decode_up_to(0)
        self._turns = 0 if found is None else _quarter_turns(found)
        if self._turns % 2:
            self._width, self._height = self._height, self._width

    def _unreadable(self, error: Exception) -> RecordingError:
        said = without_path(error) if isinstance(error, OSError) else words(error)
        return RecordingError(f"{self._path}: cannot be read as video ({said})", hint="copy it again, or convert it")

    def _open(self) -> None:
        self.close()
        self._container = self._av.open(str(self._path), metadata_errors="replace")
        videos = self._container.streams.video
        if not videos:
            raise RecordingError(f"{self._path}: holds no video", hint="name the file that does")
        self._video = videos[0]
        context = self._video.codec_context
        if context is None:
            raise RecordingError(f"{self._path}: its video is of a kind that nothing here decodes", hint="convert it")
        self._width, self._height = context.width, context.height
        self._channels = 1 if str(context.pix_fmt).startswith("gray") else 3
        self._frames: Any = None
        self._next = 0  # At this number, or before it, is the frame that comes next.

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def __del__(self) -> None:
        self.close()

    def _index(self) -> tuple[np.ndarray, np.ndarray, float]:
        """When frames are shown, in order, in the file's units; which of them are key frames; the unit in seconds."""
        found = [
            (packet.pts, packet.is_keyframe)
            for packet in self._container.demux(self._video)
            if packet.pts is not None and not packet.is_corrupt and packet.size
        ]
        times = dict(sorted(found))
        pts = np.fromiter(times, np.int64, len(times))
        keys = np.flatnonzero(np.fromiter(times.values(), bool, len(times)))
        return pts, keys, float(self._video.time_base or 0) or 1e-6

    def frame(self, number: int) -> np.ndarray:
        """The frame of that number. Raises `RecordingError` where it cannot be decoded."""
        try:
            if self._container is None:  # After a failure.
                self._open()
            self._go_to(number)
            found = self._decode_up_to(number)
            if found is None:  # Frames before a key frame may need one before it.
                self._open()
                found = self._decode_up_to(number)
            if found is not None:
                return self._converted(found)
        except Exception as error:  # FFmpeg's errors are of many kinds.
            self.close()
            raise (error if isinstance(error, RecordingError) else self._unreadable(error)) from None
        raise RecordingError(
            f"{self._path}: the frame at {self.times_us[number] / 1e6:g} s cannot be decoded",
            hint="the file is damaged there: cut it, or copy it again",
        )

    def _go_to(self, number: int) -> None:
        key = int(self._keys[max(0, int(np.searchsorted(self._keys, number, "right")) - 1)]) if len(self._keys) else 0
        is_ahead = self._frames is not None and self._next <= number
        if is_ahead and not (key > self._next and number - self._next > _FAR_FRAMES):
            return
        if self._frames is None and number <= _FAR_FRAMES:
            return
        self._open()
        self._container.seek(int(self._pts[key]), stream=self._video, backward=True, any_frame=False)

    def _decode_up_to(self, number: int) -> Any:
        if self._frames is None:
            self._frames = self._container.decode(self._video)
        wanted = int(self._pts[number])
        for frame in self._frames:
            if frame.pts is None:
                continue
            self._next = int(np.searchsorted(self._pts, frame.pts)) + 1
            if frame.pts == wanted:
                return frame
            if frame.pts > wanted:
                break
        return None

    def _converted(self, frame: Any) -> np.ndarray:
        height, width, channels = self._stream.sample_shape
        require_pixels(str(self._path), frame.width, frame.height)
        lying = _quarter_turns(frame) % 2 == 1
        size = {"width": height, "height": width} if lying else {"width": width, "height": height}
        made = frame.reformat(**size, format=_AV_FORMATS[channels], interpolation="AREA")
        array: np.ndarray = made.to_ndarray()
        array = np.rot90(array.reshape(size["height"], size["width"], channels), _quarter_turns(frame))
        return np.ascontiguousarray(array)


def _quarter_turns(frame: Any) -> int:
    """By how many quarters, against the clock, a frame is to be turned."""
    return round(getattr(frame, "rotation", 0) / 90) % 4
