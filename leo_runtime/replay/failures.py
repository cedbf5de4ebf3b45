"""What failed in a run, by kind."""

from __future__ import annotations

import re

from leo_runtime.frame.records import FrameResult, shed_reason
from leo_runtime.replay.figures import Failure

MOST_KINDS = 100
"""How many are told apart: a message may be another one every time."""
OTHERS = "others"
"""What stands for what failed, of all further kinds together."""


class Failures:
    """Counts failures by what failed and what it said, numbers aside."""

    def __init__(self) -> None:
        """Nothing has failed yet."""
        self._kinds: dict[tuple[str, str, bool], tuple[str, int]] = {}
        """What the first of a kind said, and how many there are."""

    def add(self, frame: FrameResult) -> None:
        """Count what failed in a frame."""
        for what, why, overload in _reasons(frame):
            kind = (what, _NUMBER.sub("#", why), overload)
            if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
                what, why = OTHERS, f"of further kinds than {MOST_KINDS}; the log says what"
                kind = (what, why, overload)
            first, count = self._kinds.get(kind, (why, 0))
            self._kinds[kind] = (first, count + 1)

    def most_frequent(self) -> tuple[Failure, ...]:
        """Every kind once, the most frequent first, and last what is of further kinds."""
        found = [Failure(what, first, count, overload) for (what, _, overload), (first, count) in self._kinds.items()]
        return tuple(sorted(found, key=lambda one: (one.what == OTHERS, -one.count, one.what, one.why)))


_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


def _reasons(frame: FrameResult) -> list[tuple[str, str, bool]]:
    """What failed in a frame, why, and whether nothing is broken, but there was too much to do.

    Of a frame that was skipped, or whose stages do not say, once for all of it; of a graph that alone could not be
    placed by itself."""
    return _reasons_of_all(frame) + [(f"`{name}`", why, False) for name, why in frame.unplaced.items()]


def _reasons_of_all(frame: FrameResult) -> list[tuple[str, str, bool]]:
    """As `_reasons`, but for what could not be placed."""
    if frame.placement.status == "infeasible":
        return [("frame", frame.placement.reason or "no placement", frame.skipped)]
    if frame.skipped:
        return [("frame", frame.reason, True)]
    found = [
        (f"{frame.jobs[run.stage].stage} on {run.resource}", run.error, False) for run in frame.stages if run.error
    ]
    if not found and any(one.outcome == "failed" and one.graph in frame.let_in for one in frame.graphs):
        found = [("frame", "it failed, and no stage says why", False)]
    return found + ([("frame", shed_reason(frame.shed), True)] if frame.shed else [])
