"""What a form of a model loses, by the measure of its task: decisions that change, points that move, or outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from leo_runtime.errors import InputError

Arrays = Sequence[np.ndarray]
Measure = Literal["change", "argmax", "threshold", "points"]


@dataclass(frozen=True, slots=True)
class Task:
    """How the outputs of a model are read."""

    measure: Measure = "change"
    """`change`: how far outputs are from the model's own; `argmax`: the place of the greatest value decides;
    `threshold`: whether the greatest value is above it does; `points`: values are points' coordinates."""
    number: float = 0
    """The threshold, or how many coordinates a point has."""
    output: int | None = None
    """Which output is read; None: the only one, and of several for `change` the one that changes most."""


def parse_task(text: str) -> tuple[Measure, float]:
    """`change`, `argmax`, `threshold=NUMBER` or `points=COORDINATES`. Raises `InputError`."""
    name, _, given = text.partition("=")
    if name in ("change", "argmax") and not given:
        return ("change", 0) if name == "change" else ("argmax", 0)
    try:
        if name == "threshold" and np.isfinite(number := float(given)):
            return "threshold", number
        if name == "points" and 1 <= (count := int(given)) <= 4:
            return "points", count
    except ValueError:
        pass
    raise InputError(
        f'no measure is called "{text}"',
        hint="give change, argmax, threshold=NUMBER, or points=2 (coordinates, 1 to 4)",
    )


@dataclass(frozen=True, slots=True)
class Loss:
    """Over all runs."""

    runs: int
    change: float
    """The length of the difference of outputs as part of that of the model's own, all runs together; of several
    outputs that of the one where it is greatest."""
    decisions: int | None
    """In so many runs another decision; None: the task decides nothing."""
    moved: float | None
    """How far points move in the mean, in the outputs' own unit; None: there are none."""
    span: float | None
    """The diagonal of the box about the model's own points, in the mean over runs."""
    output: int | None = None
    """Of several outputs that are read, the one that changes most; None: there is one, or nothing changes."""

    @property
    def ppm(self) -> int:
        """What a workload states: of runs those that decide otherwise, of the points' span their moves, else the
        change; rounded up."""
        if self.decisions is not None:
            return -(-self.decisions * 1_000_000 // self.runs)
        part = self.change if self.moved is None or self.span is None else self.moved / (self.span or 1)
        return int(min(1e15, np.ceil(part * 1e6)))


def loss_of(task: Task, expected: Sequence[Arrays], found: Sequence[Arrays]) -> Loss:
    """The loss of outputs beside the model's own: for each of the same runs its outputs, float.

    Raises `InputError` for a task that these outputs do not have: several and none is named, or no such points.
    """
    pairs = list(zip(expected, found, strict=True))
    outputs = range(len(expected[0])) if task.output is None else [task.output]
    changes = {output: Change() for output in outputs}
    for own, other in pairs:
        for output, so_far in changes.items():
            so_far.add(own[output], other[output])
    worst = max(changes, key=lambda output: changes[output].part)
    change = changes[worst].part
    if task.measure == "change":
        return Loss(len(pairs), change, None, None, None, worst if len(outputs) > 1 and change else None)
    if len(outputs) > 1:
        raise InputError(
            f"the model has {len(outputs)} outputs, and {task.measure} reads one", hint="name it with `--output`"
        )
    (one,) = outputs
    read = [(own[one].astype(np.float64), other[one].astype(np.float64)) for own, other in pairs]
    if task.measure == "points":
        moved, span = _points(read, int(task.number))
        return Loss(len(pairs), change, None, moved, span)
    if not decides(task, read[0][0].size):
        raise InputError(
            f"the output has {read[0][0].size} values, by {task.measure} it decides nothing",
            hint="give threshold=NUMBER, which is about the greatest of any, or change",
        )
    return Loss(len(pairs), change, sum(decides_otherwise(task, *pair) for pair in read), None, None)


class Change:
    """How far an output is from the model's own, over the runs added so far."""

    def __init__(self) -> None:
        self._off = self._own = 0.0

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Of one more run the model's own values, and those found."""
        self._off += float(((found.astype(np.float64) - expected) ** 2).sum())
        self._own += float((expected.astype(np.float64) ** 2).sum())

    @property
    def part(self) -> float:
        """The length of the difference of all runs, as part of that of the model's own; infinite where it is no number,
        or theirs is 0 and it is not."""
        if self._off == 0:
            return 0.0
        part = float(np.sqrt(self._off / self._own)) if self._own else float("inf")
        return part if part == part else float("inf")


def decides(task: Task, values: int) -> bool:
    """Whether an output of so many values decides something."""
    return (task.measure == "argmax" and values > 1) or (task.measure == "threshold" and values > 0)


def decides_otherwise(task: Task, expected: np.ndarray, found: np.ndarray) -> bool:
    """Whether an output that decides has another decision than the model's own; what is no number has."""
    if not np.isfinite(found).all():
        return True
    if task.measure == "threshold":
        return bool((expected.max() > task.number) != (found.max() > task.number))
    # Of equal values any may be the greatest.
    return bool(found.reshape(-1)[int(expected.argmax())] < found.max())


def _points(pairs: Sequence[tuple[np.ndarray, np.ndarray]], coordinates: int) -> tuple[float, float]:
    if pairs[0][0].size % coordinates or not pairs[0][0].size:
        raise InputError(f"an output of {pairs[0][0].size} values has no points of {coordinates} coordinates each")
    moved, span = [], []
    for expected, found in pairs:
        own, other = expected.reshape(-1, coordinates), found.reshape(-1, coordinates)
        moved.append(float(np.linalg.norm(own - other, axis=1).mean()))
        span.append(float(np.linalg.norm(own.max(axis=0) - own.min(axis=0))))
    return float(np.mean(moved)), float(np.mean(span))
