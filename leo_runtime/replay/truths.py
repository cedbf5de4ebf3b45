"""What a recording's labels say, and whether what a pipeline detected agrees with them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.records import GraphResult
from leo_runtime.replay.identity import Replay, window_lengths


@dataclass(frozen=True, slots=True)
class Truth:
    """A label of the recording, on the run's clock."""

    index: int
    stream: str | None
    """None: all of them."""
    label: str
    start_us: int
    end_us: int


def truths_of(begun: Replay) -> tuple[Truth, ...]:
    """All labels of what is replayed."""
    shift_us, recording = begun.span.start_us, begun.recording
    found = []
    for i, one in enumerate(recording.manifest.labels):
        end_us = min(one.end_us, recording.labelled_us(one))  # A label may be rounded up.
        found.append(Truth(i, one.stream, one.label, one.start_us - shift_us, end_us - shift_us))
    return tuple(found)


class Detections:
    """Holds what one graph detects to the labels of what it reads, as it comes."""

    def __init__(self, begun: Replay, graph: TaskGraph, truths: Sequence[Truth]) -> None:
        """`truths` are all labels, in the order of their index."""
        self._windows = window_lengths(begun, graph)
        self._longest_us = max(self._windows.values(), default=0)
        self._background = graph.decision.background if graph.decision else None
        self._truths = [truth for truth in truths if truth.stream is None or truth.stream in self._windows]
        self._by_label: dict[str, _OfLabel] = {}
        for truth in sorted(self._truths, key=lambda truth: truth.start_us):
            self._by_label.setdefault(truth.label, _OfLabel()).append(truth)
        self._wanted = [truth.index for truth in self._truths if _could_find(begun, graph, truth)]
        self._found: set[int] = set()
        self._right = 0
        self.count = 0

    @property
    def right(self) -> int | None:
        """How many were right; None where there are no labels of what the graph reads."""
        return self._right if self._truths else None

    @property
    def labels(self) -> int:
        """How many labels the graph could have found."""
        return len(self._wanted)

    @property
    def missed(self) -> int:
        """How many of those no detection found."""
        return sum(index not in self._found for index in self._wanted)

    def add(self, result: GraphResult) -> None:
        """Take an answer with a label, which is a detection unless it is the background's."""
        if result.label is None or result.label == self._background:
            return
        self.count += 1
        known = self._by_label.get(result.label)
        if known is None:
            return
        hits = [
            truth.index
            for truth in known.within(result.release_us - self._longest_us, result.release_us)
            if _agree(result, truth, self._windows.get(truth.stream or "", self._longest_us))
        ]
        self._right += bool(hits)
        self._found.update(hits)


class _OfLabel:
    """Labels of one name, in the order in which they begin."""

    def __init__(self) -> None:
        self._truths: list[Truth] = []
        self._starts_us: list[int] = []
        self._latest_us: list[int] = []
        """When the last of all up to each one ends."""

    def append(self, truth: Truth) -> None:
        self._truths.append(truth)
        self._starts_us.append(truth.start_us)
        self._latest_us.append(max(truth.end_us, self._latest_us[-1] if self._latest_us else truth.end_us))

    def within(self, from_us: int, until_us: int) -> list[Truth]:
        """Those that may have something in common with that time; they come from its end to its start."""
        found = []
        for at in range(bisect_right(self._starts_us, until_us) - 1, -1, -1):
            if self._latest_us[at] < from_us:
                break
            found.append(self._truths[at])
        return found


def _could_find(begun: Replay, graph: TaskGraph, truth: Truth) -> bool:
    """Whether a graph decides about such a label, and it lies wholly in the part that is replayed."""
    if graph.decision is None or truth.label == graph.decision.background:
        return False
    inside = truth.start_us >= 0 and truth.end_us <= begun.length_us
    return inside and truth.label in graph.decision.labels


def _agree(result: GraphResult, truth: Truth, length_us: int) -> bool:
    """Whether a detection of a label's name finds it: half of the label or the window is in common."""
    common_us = min(result.release_us, truth.end_us) - max(result.release_us - length_us, truth.start_us)
    return 2 * common_us >= min(length_us, truth.end_us - truth.start_us)
