"""Rows and steps that are computed once, although windows overlap: what is new in a run, and what is kept for the next.

A state is a tuple of arrays that nobody writes to: a run gives another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from leo_runtime.backend import News

Arrays = tuple[np.ndarray, ...]
"""A state."""

NewRows = Callable[[np.ndarray, Arrays], tuple[np.ndarray, Arrays]]
"""From samples, the first of which comes before the first frame, and what rows before left, to rows, one or more, and
what they leave."""


class StatefulProgram(Protocol):
    """A program whose runs go on from each other."""

    def start(self) -> Arrays:
        """The state before the first run."""
        ...

    def step(self, inputs: Sequence[np.ndarray], state: Arrays, news: News) -> tuple[np.ndarray, Arrays]:
        """The output, and the state behind it."""
        ...


@dataclass(frozen=True, slots=True)
class RowStream:
    """Which frames of a signal are new. They lie every hop from the first sample that it ever saw.

    A state is the newest rows, the samples from the one before the next frame on, how many samples are to be left out
    before that (where frames do not touch), and what else rows leave.
    """

    frames: int
    columns: int
    frame_samples: int
    hop_samples: int
    leave: Arrays = ()
    """What rows that were never computed leave."""

    def start(self) -> Arrays:
        """The state before the first sample; the one before it is 0."""
        return (*_unwritable(np.zeros((0, self.columns), np.float32), np.zeros(1, np.float32), _count(0)), *self.leave)

    def step(
        self, signal: np.ndarray, state: Arrays, fresh: int | None, new_rows: NewRows
    ) -> tuple[np.ndarray, Arrays]:
        """The rows of the whole window, (frames, columns), and the state behind them.

        Only those of `fresh` samples at the window's end are computed, or all where that is None.
        """
        rows, tail, skip, *left = state if fresh is not None else self.start()
        new = signal if fresh is None else signal[len(signal) - fresh :]
        skipped = min(int(skip[0]), len(new))
        samples = np.concatenate([tail, new[skipped:]])
        after = tuple(left)
        count = self.complete(len(samples) - 1)
        if count:
            computed, after = new_rows(samples[: 1 + self.reach(count)], after)
            rows = np.concatenate([rows, computed])[-self.frames :]
        begin = count * self.hop_samples
        kept = samples[begin:].copy()
        still = int(skip[0]) - skipped + max(0, begin - len(samples))
        return rows.copy(), (*_unwritable(rows, kept, _count(still)), *after)

    def reach(self, frames: int) -> int:
        """How many samples so many frames, one or more, lie in."""
        return (frames - 1) * self.hop_samples + self.frame_samples

    def complete(self, samples: int) -> int:
        """How many frames so many samples complete."""
        return 0 if samples < self.frame_samples else 1 + (samples - self.frame_samples) // self.hop_samples


@dataclass(frozen=True, slots=True)
class FeatureStream:
    """A stage whose output are the rows of a stream."""

    stream: RowStream
    new_rows: NewRows

    def start(self) -> Arrays:
        """The state before the first run."""
        return self.stream.start()

    def step(self, inputs: Sequence[np.ndarray], state: Arrays, news: News) -> tuple[np.ndarray, Arrays]:
        """The output, and the state behind it."""
        return self.stream.step(inputs[0], state, None if news.whole else news.fresh, self.new_rows)


Steps = Callable[[np.ndarray, Arrays], tuple[np.ndarray, Arrays]]
"""From the inputs of calls that follow each other, (calls, rows, ...), and the state before them to their outputs,
(calls, ...), and the state behind them."""


@dataclass(frozen=True, slots=True)
class StepStream:
    """A streaming model that is called on rows that are new.

    A state is the rows that wait for more, the outputs of the last calls, and what the model keeps.
    """

    rows_per_step: int
    keep: int
    """The outputs of so many last calls are kept."""
    row_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    advance: Steps
    finish: Callable[[np.ndarray, int], np.ndarray]
    """From the outputs of the calls that are kept and that are new, and how many of them are new, to the stage's."""
    first: Arrays
    """What the model's first call takes."""

    def start(self) -> Arrays:
        """The state before the first run."""
        waiting = np.zeros((0, *self.row_shape), np.float32)
        return (*_unwritable(waiting, np.zeros((0, *self.output_shape), np.float32)), *self.first)

    def step(self, inputs: Sequence[np.ndarray], state: Arrays, news: News) -> tuple[np.ndarray, Arrays]:
        """The output, and the state behind it."""
        given = inputs[0]
        waiting, outputs, *kept = state if news.fresh is not None else self.start()
        new = given if news.fresh is None else news.new(given)
        rows = np.concatenate([waiting, new])
        calls = len(rows) // self.rows_per_step
        after = tuple(kept)
        if calls:
            whole = rows[: calls * self.rows_per_step]
            some, after = self.advance(whole.reshape(calls, self.rows_per_step, *self.row_shape), after)
            outputs = np.concatenate([outputs, some])
        rest = rows[calls * self.rows_per_step :].copy()
        return self.finish(outputs, calls), (*_unwritable(rest, outputs[-self.keep :].copy()), *after)


def _count(value: int) -> np.ndarray:
    return np.array([value], np.int64)


def _unwritable(*arrays: np.ndarray) -> Arrays:
    for array in arrays:
        array.flags.writeable = False
    return arrays
