"""Frames of a camera that pans over a picture (`.npz`): a still, and the path that a frame takes over it.

The still takes far less room than the frames. `still` is (height, width, channels) or, grey, (height, width), of uint8;
`corners` is (frames, 2), whole numbers: the row and the column of the still where each frame has its upper left corner.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.cameras import require_pixels
from leo_runtime.recordings.files import Files, open_files
from leo_runtime.recordings.npy import header_of
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.samples import StoredSamples
from leo_runtime.recordings.stream import RecordedStream

_MOST_FRAMES = 1 << 24


def read_panned(path: Path, stream: RecordedStream) -> StreamData:
    """The frames that a still is cut into, each as it is asked for.

    Raises `RecordingError` where the file cannot be read, or a frame is not within the still.
    """
    if stream.kind != "camera":
        raise RecordingError(
            f"{path}: is a still and a path of frames, stream `{stream.name}` is declared as {stream.kind}",
            hint='give it kind = "camera"',
        )
    files = open_files(path)
    still, corners = _array(files, "still"), _array(files, "corners")
    if still.ndim == 2:
        still = still[..., None]
    if still.dtype != np.uint8 or still.ndim != 3 or 0 in still.shape:
        raise RecordingError(
            f"{path}: `still` is {still.dtype} of shape {still.shape}, not uint8 (height, width, channels)"
        )
    require_pixels(f"{path}: `still`", still.shape[1], still.shape[0])
    if corners.dtype.kind not in "iu" or corners.shape != (len(corners), 2) or not 0 < len(corners) <= _MOST_FRAMES:
        raise RecordingError(
            f"{path}: `corners` is {corners.dtype} of shape {corners.shape}, not whole numbers (frames, 2)"
        )
    height, width, _ = stream.sample_shape
    outside = ((corners < 0) | (corners > np.subtract(still.shape[:2], (height, width)))).any(axis=1)
    if outside.any():
        number = int(outside.argmax())
        row, column = (int(one) for one in corners[number])
        raise RecordingError(
            f"{path}: frame {number} of {width} x {height} pixels begins at row {row}, column {column}, and is not "
            f"within the still of {still.shape[1]} x {still.shape[0]}",
            hint="correct height_px and width_px in the recording.toml",
        )
    places = [(int(row), int(column)) for row, column in corners]

    def read(first: int, last: int) -> np.ndarray:
        frames = np.empty((max(0, last - first), height, width, still.shape[2]), np.uint8)
        for frame, (row, column) in zip(frames, places[first:last], strict=True):
            frame[:] = still[row : row + height, column : column + width]
        return frames

    return StreamData(StoredSamples((len(places), height, width, still.shape[2]), np.uint8, read), stream.rate_hz)


def _array(files: Files, name: str) -> np.ndarray:
    if f"{name}.npy" not in files.paths:
        raise RecordingError(
            f"{files.where}: holds no array `{name}`", hint="write it with numpy.savez(file, still=..., corners=...)"
        )
    place, content = files.place(f"{name}.npy"), files.read(f"{name}.npy")
    shape, dtype, start = header_of(place, content)
    if len(content) - start != math.prod(shape) * dtype.itemsize:
        raise RecordingError(
            f"{place}: its header promises {math.prod(shape)} values, and it holds {len(content) - start} bytes",
            hint="copy it again",
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
