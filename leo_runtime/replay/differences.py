"""Two runs side by side: what differs in how they were set up, in sum, and frame by frame.

Frames are told apart by when a graph was released in the recording, so that runs in other batches, or with other
periods, are compared as far as their releases agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush, heappushpop
from math import inf
from typing import Any, Literal

from leo_runtime.documents.changes import HARDWARE_FIELDS, WORKLOAD_FIELDS
from leo_runtime.replay.log_lines import FrameLine, RunLine, RunLine1
from leo_runtime.replay.log_reader import RunLog, frame_entries
from leo_runtime.replay.tally import Tally

Kind = Literal["outcome", "late", "label", "placement", "latency", "energy", "only before", "only after"]
KINDS: tuple[Kind, ...] = (
    "outcome",
    "late",
    "label",
    "placement",
    "latency",
    "energy",
    "only before",
    "only after",
)
"""What may be another, the gravest first. `late`: it is now in time, or no longer. `energy` is of runs and transfers:
what waking and staying awake cost is compared in sum."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that was set up in another way; "-" where there was no such thing."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a graph answered at one release."""

    frame: int
    release_us: int
    """On its run's clock."""
    outcome: str
    label: str | None
    latency_us: int
    late_us: int
    """By how much it came after its deadline, at least 0; 0 of one that failed, which never came."""
    nj: int
    """What its runs and transfers are charged."""
    modes: Mapping[str, str]
    """Where each of its stages was planned, or ran: "resource as variant"."""


@dataclass(frozen=True, slots=True)
class Change:
    """A graph's answers at one release, and in what they differ."""

    graph: str
    kinds: tuple[Kind, ...]
    before: Answer | None
    after: Answer | None

    @property
    def moved(self) -> tuple[tuple[str, str, str], ...]:
        """The stages that are elsewhere: stage, before, after."""
        if self.before is None or self.after is None:
            return ()
        return tuple(
            (stage, mode, self.after.modes[stage])
            for stage, mode in self.before.modes.items()
            if self.after.modes.get(stage, mode) != mode
        )

    @property
    def release_us(self) -> int:
        """On the clock of the first run, or else on that of the second."""
        one = self.before or self.after
        assert one is not None, "there is something on one side"
        return one.release_us

    def gravity(self) -> tuple[int, ...]:
        """How grave it is: failing first, then lateness, other labels, energy; of equals, for the worse, and early."""
        before, after = self.before, self.after
        if before is None or after is None:
            return (0, 0, 0, 0, 0, 0, 0, -self.release_us)
        failed = (after.outcome == "failed") - (before.outcome == "failed")
        later_us, more_nj = after.late_us - before.late_us, after.nj - before.nj
        label = before.label != after.label
        return (abs(failed), failed, abs(later_us), later_us, label, abs(more_nj), more_nj, -self.release_us)


@dataclass(slots=True)
class Differences:
    """What differs between two runs."""

    settings: tuple[Setting, ...]
    before: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    compared: int = 0
    """How many answers both have."""
    counts: dict[tuple[Kind, str], int] = field(default_factory=dict)
    """How many answers differ in what, by kind and graph."""
    worst: tuple[Change, ...] = ()
    """The gravest changes, of as many as were asked for."""
    changed: int = 0
    """How many answers differ in anything."""

    @property
    def are_equal(self) -> bool:
        """Whether nothing differs: neither the set-up, nor any answer, nor any nanojoule."""
        return not self.settings and not self.changed and self.before.nj == self.after.nj


def differences(before: RunLog, after: RunLog, *, most: int = 10) -> Differences:
    """Compare two runs, and keep the `most` gravest changes. Memory does not grow with the runs' length.

    Raises `DocumentError` where a log is damaged.
    """
    found = Differences(settings(before, after))
    worst: list[tuple[tuple[int, ...], int, Change]] = []
    for number, (graph, one, other) in enumerate(_pairs(before, after, found)):
        kinds = _kinds(one, other)
        found.compared += one is not None and other is not None
        if not kinds:
            continue
        found.changed += 1
        for kind in kinds:
            found.counts[kind, graph] = found.counts.get((kind, graph), 0) + 1
        change = Change(graph, kinds, one, other)
        entry = (change.gravity(), -number, change)
        if len(worst) < most:
            heappush(worst, entry)
        elif most:
            heappushpop(worst, entry)
    found.worst = tuple(entry[2] for entry in sorted(worst, key=lambda entry: entry[:2], reverse=True))
    for log, sums in ((before, found.before), (after, found.after)):
        sums.add_energy(log.standing_entries())
        log.require_sum(sums.total_nj)
        sums.close()
    return found


def _kinds(before: Answer | None, after: Answer | None) -> tuple[Kind, ...]:
    if before is None or after is None:
        return ("only after",) if before is None else ("only before",)
    differs: dict[Kind, bool] = {
        "outcome": before.outcome != after.outcome,
        "late": bool(before.late_us) != bool(after.late_us),
        "label": before.label != after.label,
        "placement": any(after.modes.get(stage, mode) != mode for stage, mode in before.modes.items()),
        "latency": before.latency_us != after.latency_us,
        "energy": before.nj != after.nj,
    }
    return tuple(kind for kind in KINDS if differs.get(kind))


_Key = tuple[int, str]


def _pairs(before: RunLog, after: RunLog, found: Differences) -> Iterator[tuple[str, Answer | None, Answer | None]]:
    """The answers of both runs by release and graph; what is counted on the way goes to `found`."""
    waits_us = _collected_us(before, after)
    sides = (_Side(before, found.before), _Side(after, found.after))
    keys: list[_Key] = []
    while any(side.next_us < inf for side in sides):
        side = min(sides, key=lambda one: one.next_us)
        for key in side.take():
            heappush(keys, key)
        until_us = min(one.next_us for one in sides) - waits_us
        while keys and keys[0][0] < until_us:
            yield from _settled(heappop(keys), sides)
    while keys:
        yield from _settled(heappop(keys), sides)


def _settled(key: _Key, sides: tuple[_Side, _Side]) -> Iterator[tuple[str, Answer | None, Answer | None]]:
    before, after = (side.answers.pop(key, None) for side in sides)
    if before is not None or after is not None:  # Of two equal keys the first one had both.
        yield key[1], before, after


def _collected_us(before: RunLog, after: RunLog) -> float:
    """How much earlier than its batch a frame of it may have been released."""
    if before.batch == after.batch == 1:
        return 0
    found = 0
    for log in (before, after):
        if not isinstance(log.head, RunLine):
            return inf
        periods_us = [graph.period_us for graph in log.head.workload.graphs]
        found = max(found, log.batch * max(periods_us))
    return found


class _Side:
    """One of the two runs, read in the order of releases."""

    def __init__(self, log: RunLog, sums: Tally) -> None:
        self.answers: dict[_Key, Answer] = {}
        """Those that the other run may still have its own of."""
        self.next_us: float = -1
        """When the next frame was released, in the recording; infinity: there is none."""
        self._start_us = log.head.start_us
        self._frames = log.frames_by_release()
        self._sums = sums
        self._next: FrameLine | None = None
        self._read()

    def take(self) -> Iterator[_Key]:
        """The next frame's answers, by their keys."""
        frame = self._next
        assert frame is not None, "there is a next frame"
        self._sums.add(frame)
        for key, answer in _answers(frame, self._start_us):
            self.answers[key] = answer
            yield key
        self._read()

    def _read(self) -> None:
        self._next = next(self._frames, None)
        self.next_us = inf if self._next is None else self._next.release_us + self._start_us


def _answers(frame: FrameLine, start_us: int) -> Iterator[tuple[_Key, Answer]]:
    charged: dict[str, int] = {}
    for entry in frame_entries(frame):
        for graph, nj in entry.shares():
            charged[graph] = charged.get(graph, 0) + nj
    times: dict[str, int] = {}
    for seen in frame.graphs:
        times[seen.graph] = times.get(seen.graph, 0) + 1
    met: dict[str, int] = {}
    for seen in frame.graphs:
        # What a batch is charged for a graph is shared evenly among its frames, the rest by the first ones.
        each, rest = divmod(charged.get(seen.graph, 0), times[seen.graph])
        index = met[seen.graph] = met.get(seen.graph, -1) + 1
        yield (
            (seen.release_us + start_us, seen.graph),
            Answer(
                frame.frame,
                seen.release_us,
                seen.outcome,
                seen.label,
                seen.end_us - seen.release_us,
                0 if seen.outcome == "failed" else max(0, seen.end_us - seen.deadline_us),
                each + (index < rest),
                _modes(frame, seen.graph, seen.number),
            ),
        )


def _modes(frame: FrameLine, graph: str, number: int) -> dict[str, str]:
    """Where the stages of a graph are, the last try of each; of a batch's frame those of that number, or of all."""
    found = {}
    for run in frame.stages:
        if run.graphs and graph not in run.graphs:
            continue
        if run.of is not None and run.stage.rpartition("#")[2] not in (str(number), "all"):
            continue
        found[run.of or run.stage] = f"{run.resource} as {run.variant}"
    return found


# How they were set up.


def settings(before: RunLog, after: RunLog) -> tuple[Setting, ...]:
    """What was set up in another way, value by value, as far as both logs hold it."""
    one, other = _set_up(before), _set_up(after)
    if isinstance(before.head, RunLine1) or isinstance(after.head, RunLine1):
        one, other = _of_both(one, other), _of_both(other, one)
    return tuple(replace(found, what=_as_set(found.what)) for found in _differ("", one, other))


def _as_set(path: str) -> str:
    """A path as `--set` takes it: it tells from a field's name which document has it."""
    document, _, rest = path.partition(".")
    fields = {"workload": WORKLOAD_FIELDS, "hardware": HARDWARE_FIELDS}.get(document, ())
    return rest if rest.partition(".")[0] in fields else path


def _set_up(log: RunLog) -> dict[str, Any]:
    data = log.head.model_dump(mode="json", exclude={"format", "kind"})
    if isinstance(log.head, RunLine1):
        data["charge_solver"] = data.pop("solver_on")
        data |= {part: {"name": data[part]} for part in ("recording", *_DOCUMENTS)}
    return data


def _of_both(data: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What both have: of documents that one of them has not, the names."""
    return {
        key: _of_both(value, other[key]) if isinstance(value, dict) else value
        for key, value in data.items()
        if key in other
    }


def _differ(path: str, before: Any, after: Any) -> Iterator[Setting]:
    if before == after:
        return
    one, other = _parts(before), _parts(after)
    if path in _DOCUMENTS and before.get("name") != after.get("name"):
        one = other = None  # Another machine differs in everything.
    if one is None or other is None:
        yield Setting(path, _shown(before, path), _shown(after, path))
        return
    for name in dict.fromkeys((*one, *other)):
        below = f"{path}.{name}" if path else name
        yield from _differ(below, one.get(name, _NOTHING), other.get(name, _NOTHING))


_DOCUMENTS = ("workload", "hardware", "profile")
_NOTHING = object()


def _parts(value: Any) -> dict[str, Any] | None:
    """The parts of a value by what a path calls them; None: it has none."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        names = [_called(part) for part in value]
        known = [name for name in names if name is not None]
        distinct = len(set(known)) == len(names)
        return {known[i] if distinct else str(i): part for i, part in enumerate(value)}
    return None


def _called(part: dict[str, Any]) -> str | None:
    """What tells a part of a document from its likes."""
    if "name" in part:
        return str(part["name"])
    if "source" in part and "target" in part:
        return f"{part['source']}->{part['target']}"
    if "processor" in part and "operator" in part:
        keys = ("stage", "operator", "processor", "variant", "signature")
        return ".".join(str(part[key]) for key in keys if part.get(key))
    return None


def _shown(value: Any, path: str = "") -> str:
    if value is _NOTHING:
        return "-"
    if isinstance(value, dict):
        # What tells it from its likes stands in the path.
        return str(value["name"]) if path in _DOCUMENTS else "there"
    if isinstance(value, list):
        texts = [_shown(part) for part in value]
        return ", ".join(texts) or "none"
    return "none" if value is None else str(value)
