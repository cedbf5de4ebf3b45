"""The photographs that the demo's networks enlarge: their luminance, at full and at half size.

Two of five are held out: nothing is trained on them or chosen by them.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np

from leo_runtime.errors import MissingExtraError

FILES = {
    "astronaut": "astronaut.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
}
"""Photographs of the package scikit-image that may be passed on by anybody."""
HELD_OUT = tuple(sorted(FILES, key=lambda name: hashlib.sha256(name.encode()).digest())[:2])
"""The two whose names have the least SHA-256: chelsea and coffee."""
TEXTURES = {"brick": "brick.png", "clock": "clock_motion.png", "grass": "grass.png", "gravel": "gravel.png"}
"""More pictures of it that may be, to train on alone."""
LICENCE = "CC0-1.0: see SOURCES.md"
HEIGHT_PX, WIDTH_PX = 144, 192
"""Of a frame of the recording, which is half as high and wide as the photograph's part that it shows."""


def photographs(cache: Path, *, held_out: bool) -> dict[str, np.ndarray]:
    """The luminance of the photographs that are held out, or of the others, as `luminance` gives it, by name."""
    return {name: luminance(cache, file) for name, file in FILES.items() if (name in HELD_OUT) == held_out}


def luminance(cache: Path, file: str) -> np.ndarray:
    """The luminance of a packaged picture, (height, width) of uint8, cut to even sides.

    ITU-R BT.601: Y = 0.299 R + 0.587 G + 0.114 B, rounded. Raises `MissingExtraError` without Pillow.
    """
    try:
        image = importlib.import_module("PIL.Image")
    except ImportError:
        raise MissingExtraError("reading packaged pictures", "demo-sources") from None
    colours = np.asarray(image.open(cache / "scikit-image" / "skimage" / "data" / file).convert("RGB"), np.float64)
    grey = np.round(colours @ (0.299, 0.587, 0.114)).astype(np.uint8)
    return even(grey)


def even(picture: np.ndarray) -> np.ndarray:
    """A picture (height, width) without the last row and column where their numbers are odd."""
    return picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2]


def halved(picture: np.ndarray) -> np.ndarray:
    """A picture (height, width) of uint8 at half its size: bicubic (R. Keys, 1981, a = -1/2), its kernel twice as wide
    against aliasing, edges repeated."""
    offsets = np.abs(np.arange(-4, 4) + 0.5) / 2
    near, far = 1.5 * offsets**3 - 2.5 * offsets**2 + 1, -0.5 * offsets**3 + 2.5 * offsets**2 - 4 * offsets + 2
    taps = np.where(offsets < 1, near, far)
    taps /= taps.sum()
    found = picture.astype(np.float64)
    for _ in range(2):
        padded = np.pad(found, ((3, 3), (0, 0)), mode="edge")
        found = sum(tap * padded[at : at + len(found) : 2] for at, tap in enumerate(taps)).T
    return np.clip(np.round(found), 0, 255).astype(np.uint8)


def middle(picture: np.ndarray) -> np.ndarray:
    """The part in the middle of a photograph that a frame shows, (2 HEIGHT_PX, 2 WIDTH_PX)."""
    row, column = ((length - 2 * size) // 2 for length, size in zip(picture.shape, (HEIGHT_PX, WIDTH_PX), strict=True))
    return picture[row : row + 2 * HEIGHT_PX, column : column + 2 * WIDTH_PX]


def write(cache: Path, folder: Path) -> None:
    """Write the recording: a frame of each held-out photograph, and beside them what they are at twice the size."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [middle(picture) for _, picture in sorted(photographs(cache, held_out=True).items())]
    np.save(folder / "eye.npy", np.stack([halved(part) for part in parts])[..., None])
    np.savez_compressed(folder / "truth.npz", large=np.stack(parts))
    (folder / "recording.toml").write_text(manifest())


def manifest() -> str:
    """The manifest of the recording."""
    lines = [
        "# Parts of two photographs, grey and at half their size: "
        + ", ".join(HELD_OUT)
        + ". `truth.npz` has what they",
        "# are at full size, (frames, height, width).",
        "",
        'format = "leo-recording/1"',
        'name = "stills"',
        f'licence = "{LICENCE}"',
        'source = "photographs of the package scikit-image; see SOURCES.md"',
        "",
        "[[streams]]",
        'name = "eye"',
        'kind = "camera"',
        'file = "eye.npy"',
        "rate_hz = 1",
        f"height_px = {HEIGHT_PX}",
        f"width_px = {WIDTH_PX}",
        "channels = 1",
    ]
    return "\n".join(lines) + "\n"
