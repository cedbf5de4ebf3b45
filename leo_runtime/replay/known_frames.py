"""What the log of an interrupted run tells of its frames, so that none is computed again as the run is done once more.

In virtual time a run is continued by doing it again: its solver learns the same, its dispatcher does the same. What its
kernels found is in the log: what gates decided and what was found in the end. That is all that the rest depends on,
unless a stage keeps state, which no log has: then everything is computed (`runtime.kernels`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.times import KnownTimes

_FRAME = b'{"kind":"frame",'


@dataclass(frozen=True, slots=True)
class _Frame:
    """What is known of a frame. It is computed nevertheless where something failed in it, or it is a batch."""

    closed: frozenset[str]
    """The gates that did not open."""
    labels: tuple[str | None, ...]
    """Of each of its graphs."""
    needs_kernels: bool


class KnownFrames:
    """The frames of a log, read as they are needed: they stand there in the order in which they ended.

    Kept are those that were read and have not ended yet. For one thread.
    """

    def __init__(self, log: Path, times: Path | None = None) -> None:
        """`times` of the run (`leo_runtime.replay.times`), where what solving took is charged.

        Nothing is opened yet.
        """
        self._lines = _frames(log)
        self._solved = KnownTimes(times) if times is not None else None
        self._found: dict[int, _Frame] = {}

    def told(self, number: int, stage: str) -> bool | None:
        """Whether a gate opened in that frame, True of any other stage; None where that is not known."""
        frame = self._frame(number)
        return None if frame is None or frame.needs_kernels else stage not in frame.closed

    def amended(self, ended: FrameResult) -> FrameResult:
        """A frame that has ended with what it had found the first time."""
        frame = self._frame(ended.frame)
        self._found.pop(ended.frame, None)
        if self._solved is not None and (solve_us := self._solved.of(ended.frame)) is not None:
            ended = replace(ended, placement=ended.placement.model_copy(update={"solve_us": solve_us}))
        if frame is None or frame.needs_kernels:
            return ended
        labelled = zip(ended.graphs, frame.labels, strict=False)
        return replace(ended, graphs=tuple(replace(graph, label=label) for graph, label in labelled))

    def _frame(self, number: int) -> _Frame | None:
        while number not in self._found:
            following = next(self._lines, None)
            if following is None:
                return None
            self._found[following[0]] = following[1]
        return self._found[number]


def _frames(log: Path) -> Iterator[tuple[int, _Frame]]:
    """The frames of a log by number, up to what cannot be read: whoever writes it again is told of that."""
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError), log.open("rb") as file:
        for line in file:
            if line.startswith(_FRAME):
                data = json.loads(line)
                yield int(data["frame"]), _known(data)


def _known(data: Mapping[str, Any]) -> _Frame:
    stages, graphs = data["stages"], data["graphs"]
    failed = any(run["outcome"] == "failed" or "error" in run for run in stages)
    batched = any("of" in run for run in stages) or any("number" in graph for graph in graphs)
    closed = frozenset(str(run["stage"]) for run in stages if run.get("opened") is False)
    return _Frame(closed, tuple(graph["label"] for graph in graphs), failed or batched)
