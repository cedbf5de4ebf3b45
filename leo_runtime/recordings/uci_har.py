"""Reads the inertial signals of UCI HAR (Anguita et al. 2013): folders `train` and `test` with `Inertial Signals/`.

A line is a window of 128 values, 2.56 s at 50 Hz; windows overlap by half where they follow each other. So of a window
whose first half is the last half of the one before, the second half is taken; where they do not agree, something is
missing, and one period is left empty, so that no window of a replay goes unmarked over the seam.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.series import STANDARD_GRAVITY, Export, Logger, Mark, Series

_RATE_HZ = 50.0
_WINDOW = 128
_HALF = _WINDOW // 2
_SIGNALS = {
    "total_acc": ("m/s^2", STANDARD_GRAVITY),
    "body_acc": ("m/s^2", STANDARD_GRAVITY),
    "body_gyro": ("rad/s", 1.0),
}


def _recognises(files: Files) -> bool:
    return any("Inertial Signals/" in path and path.endswith(".txt") for path in files.paths)


def _read(files: Files) -> Export:
    parts = [part for part in ("train", "test") if any(path.endswith(f"_{part}.txt") for path in files.paths)]
    series: list[Series] = []
    marks: list[Mark] = []
    repairs: list[str] = []
    for part in parts:
        prefix = f"{part}_" if len(parts) > 1 else ""
        seams: np.ndarray | None = None
        for signal, (unit, factor) in _SIGNALS.items():
            paths = [_path(files, f"{signal}_{axis}_{part}.txt") for axis in "xyz"]
            if None in paths:
                continue
            axes = [_windows(files, path) for path in paths if path is not None]
            if len({len(axis) for axis in axes}) > 1:
                counts = ", ".join(str(len(axis)) for axis in axes)
                raise RecordingError(
                    f"{files.place(str(paths[0]))}: its axes have different numbers of lines: {counts}",
                    hint="copy it again",
                )
            windows = np.stack(axes, axis=2)
            if seams is None:
                # Of one signal, since the others are of the same windows.
                seams = ~np.isclose(windows[1:, :_HALF], windows[:-1, _HALF:], atol=1e-6).all(axis=(1, 2))
                if seams.any():
                    repairs.append(f"windows of {part} that do not follow the one before: {int(seams.sum())}")
                marks += _labels(files, part, _starts_us(seams))
            if len(windows) != len(seams) + 1:
                raise RecordingError(
                    f"{files.place(str(paths[0]))}: expected {len(seams) + 1} lines as in the other files of {part}, "
                    f"got {len(windows)}",
                    hint="copy it again",
                )
            times_us, values = _joined(windows, seams)
            series.append(
                Series(f"{prefix}{signal}", "motion", files.place(str(paths[0])), times_us, values * factor,
                       ("x", "y", "z"), unit, _RATE_HZ)
            )  # fmt: skip
    if not series:
        raise RecordingError(f"{files.where}: has no signal with its three axes", hint="copy it again")
    return Export(tuple(series), "UCI HAR (Human Activity Recognition Using Smartphones)", tuple(marks),
                  repairs=tuple(repairs))  # fmt: skip


def _path(files: Files, name: str) -> str | None:
    return next((path for path in files.paths if path == name or path.endswith(f"/{name}")), None)


def _windows(files: Files, path: str) -> np.ndarray:
    """(windows, 128), float64."""
    rows = []
    for line, text in enumerate(_text(files, path).splitlines(), 1):
        cells = text.split()
        if not cells:
            continue
        try:
            if len(cells) != _WINDOW or not text.isascii() or "_" in text:
                raise ValueError
            row = np.array(cells, np.float64)
            if not np.isfinite(row).all() or np.abs(row).max() > 1e30:
                raise ValueError
        except ValueError:
            raise RecordingError(
                f"{files.place(path)}:{line}: expected {_WINDOW} numbers, got {len(cells)} cells", hint="copy it again"
            ) from None
        rows.append(row)
    if not rows:
        raise RecordingError(f"{files.place(path)}: holds no samples", hint="copy it again")
    return np.stack(rows)


def _text(files: Files, path: str) -> str:
    return files.read(path).decode("utf-8-sig", "replace")


def _starts(seams: np.ndarray) -> np.ndarray:
    """Where on the grid each window begins."""
    return np.concatenate([[0], np.cumsum(np.where(seams, _WINDOW + 1, _HALF))])


def _starts_us(seams: np.ndarray) -> np.ndarray:
    return _starts(seams) * (1e6 / _RATE_HZ)


def _joined(windows: np.ndarray, seams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The times in us and the values of windows laid over each other where they agree."""
    starts = _starts(seams)
    values = np.zeros((int(starts[-1]) + _WINDOW, windows.shape[2]))
    is_there = np.zeros(len(values), bool)
    for start, window in zip(starts.tolist(), windows, strict=True):
        values[start : start + _WINDOW] = window
        is_there[start : start + _WINDOW] = True
    places = np.flatnonzero(is_there)
    return places * (1e6 / _RATE_HZ), values[places]


def _labels(files: Files, part: str, starts_us: np.ndarray) -> Iterable[Mark]:
    """What was done, of every window; equal ones that follow each other become one."""
    path, names_path = _path(files, f"y_{part}.txt"), _path(files, "activity_labels.txt")
    if path is None:
        return
    names = dict(line.split(maxsplit=1) for line in _text(files, names_path).splitlines() if len(line.split()) > 1) if (
        names_path
    ) else {}  # fmt: skip
    codes = _text(files, path).split()
    if len(codes) != len(starts_us):
        raise RecordingError(
            f"{files.place(path)}: expected {len(starts_us)} lines, one a window, got {len(codes)}",
            hint="copy it again",
        )
    length_us = _WINDOW * 1e6 / _RATE_HZ
    ends_us = np.minimum(starts_us + length_us, np.append(starts_us[1:], np.inf))
    at = 0
    for last in range(len(codes)):
        goes_on = last + 1 < len(codes) and codes[last + 1] == codes[at] and ends_us[last] == starts_us[last + 1]
        if not goes_on:
            yield Mark(round(starts_us[at]), round(ends_us[last]), names.get(codes[at], codes[at]).strip())
            at = last + 1


UCI_HAR = Logger("uci-har", "UCI HAR (folder or zip)", _recognises, _read)
