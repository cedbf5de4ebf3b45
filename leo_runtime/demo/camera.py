"""The demo's camera: a picture, and the path of a frame over it, as if a hand moved past a face."""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leo_runtime.errors import MissingExtraError

SIZE_PX = 192
SECONDS = 24
"""A frame each second."""
FACE_S = (4, 20)
"""From when until when the face is in the frame, at least most of it."""
LICENCE = "public domain (NASA); sound and motion as in the recording `demo`: see SOURCES.md"
MODELS = {
    "face_detection_short_range.tflite": "face_detection",
    "face_landmark.tflite": "face_landmark",
    "iris_landmark.tflite": "iris_landmark",
}
"""The models of the package mediapipe that look at it, each with the folder it lies in."""


def corners() -> np.ndarray:
    """The row and the column where each frame begins, (SECONDS, 2).

    From the left past the face, which is at column 225 and row 128, and on: slowly over the face, in between faster, so
    that no frame has half a face at its edge.
    """
    columns = [*range(0, 56, 14), *range(62, 206, 9), *range(216, 272, 14)]
    rows = [16 + round(12 * math.sin(2 * math.pi * second / SECONDS)) for second in range(SECONDS)]
    return np.array([*zip(rows, columns, strict=True)], np.int16)


def still(cache: Path) -> np.ndarray:
    """What the frames show of the astronaut Eileen Collins, (height, width, 3).

    Raises `MissingExtraError` without Pillow.
    """
    try:
        image = importlib.import_module("PIL.Image")
    except ImportError:
        raise MissingExtraError("reading packaged pictures", "demo-sources") from None
    picture = np.asarray(image.open(cache / "scikit-image" / "skimage" / "data" / "astronaut.png").convert("RGB"))
    height, width = corners().max(axis=0) + SIZE_PX
    return np.ascontiguousarray(picture[:height, :width])


def write(cache: Path, folder: Path, labels: Sequence[tuple[str, int, int, str]]) -> None:
    """Write the recording: the camera, and beside it sound and motion of the recording `demo`, with these labels."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "eye.npz", still=still(cache), corners=corners())
    (folder / "recording.toml").write_text(manifest(labels))


def manifest(labels: Sequence[tuple[str, int, int, str]]) -> str:
    """The manifest of the recording; of the labels those within it, in order of their starts."""
    end_us = SECONDS * 1_000_000
    begin, end = FACE_S
    face = ("eye", begin * 1_000_000, end * 1_000_000, "face")
    within = [(stream, start, min(stop, end_us), label) for stream, start, stop, label in labels if start < end_us]
    lines = [
        "# A camera that moves past the face of the astronaut Eileen Collins, and sound and motion of the recording",
        "# `demo` beside it.",
        "",
        'format = "leo-recording/1"',
        'name = "camera"',
        f'licence = "{LICENCE}"',
        'source = "frames cut out of a photograph by NASA, along a path of ours; see SOURCES.md"',
        "",
        "[[streams]]",
        'name = "eye"',
        'kind = "camera"',
        'file = "eye.npz"',
        "rate_hz = 1",
        f"height_px = {SIZE_PX}",
        f"width_px = {SIZE_PX}",
        "channels = 3",
        "",
        "[[streams]]",
        'name = "mic"',
        'kind = "audio"',
        'file = "../demo/mic.wav"',
        "rate_hz = 16000",
        "",
        "[[streams]]",
        'name = "watch"',
        'kind = "motion"',
        'file = "../demo/watch.csv"',
        "rate_hz = 10",
        "channels = 6",
    ]
    for stream, start_us, stop_us, label in sorted([*within, face]):
        lines += ["", "[[labels]]", f'stream = "{stream}"', f"start_us = {start_us}", f"end_us = {stop_us}"]
        lines += [f'label = "{label}"']
    return "\n".join(lines) + "\n"


def copy_models(cache: Path, folder: Path) -> None:
    """Copy the models as they were published."""
    for name, module in MODELS.items():
        shutil.copyfile(cache / "mediapipe" / "mediapipe" / "modules" / module / name, folder / name)
