"""Which frames of a run have a chart of their own: those that a reader would ask for first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leo_runtime.report.page.run_sums import NOTHING, RunSums

FRAMES = 16
"""How many frames have a chart, unless others are asked for by number."""
WORST, REASONS, DEAREST = 4, 4, 2
"""How many of the latest, of the ways to fail, and of those that took most."""

RULE = (
    f"the {WORST} whose answers were latest, the first that failed for each of the {REASONS} most frequent reasons, "
    f"the {DEAREST} whose runs and transfers took most, the one that came nearest to a deadline; then the first of "
    "each kind, the most frequent kind first: frames are of one kind where the same stages ran in the same places for "
    "the same pipelines"
)
"""Said on the page."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A frame that has a chart, and why."""

    position: int
    why: str


def chosen(sums: RunSums, asked: Sequence[int] = (), most: int = FRAMES) -> tuple[Chosen, ...]:
    """Frames in the order of `RULE`, each once; those that are `asked` for (by position) alone, where there are any."""
    if asked:
        return tuple(Chosen(position, "asked for") for position in dict.fromkeys(asked))
    found: dict[int, str] = {}
    for position, why in _wanted(sums):
        if len(found) >= most:
            break
        found.setdefault(position, why)
    return tuple(Chosen(position, why) for position, why in found.items())


def _wanted(sums: RunSums) -> Iterator[tuple[int, str]]:
    every = range(len(sums.nj))
    late = sorted((at for at in every if sums.late_us[at] > 0), key=lambda at: (-sums.late_us[at], at))
    yield from ((at, "late") for at in late[:WORST])
    reasons = sorted(sums.failures.values(), key=lambda one: (-one.count, one.position))
    yield from ((one.position, "failed") for one in reasons[:REASONS])
    in_time = [at for at in every if NOTHING < sums.late_us[at] <= 0 and not sums.failed[at]]
    dearest = sorted((at for at in every if sums.nj[at]), key=lambda at: (-sums.nj[at], at))
    yield from ((at, "took most energy") for at in dearest[:DEAREST])
    if in_time:
        yield max(in_time, key=lambda at: (sums.late_us[at], -at)), "nearest to a deadline"
    counts: dict[int, int] = {}
    firsts: dict[int, int] = {}
    for at, kind in enumerate(sums.kind):
        counts[kind] = counts.get(kind, 0) + 1
        firsts.setdefault(kind, at)
    for kind in sorted(firsts, key=lambda kind: (-counts[kind], firsts[kind])):
        yield firsts[kind], f"one of {counts[kind]} alike" if counts[kind] > 1 else "the only one of its kind"
