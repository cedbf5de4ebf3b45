"""One frame as a chart: what ran, was sent, woke up and waited, lane by lane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from leo_runtime.documents.hardware import Hardware
from leo_runtime.frame.entries import Entry
from leo_runtime.replay.log_lines import FrameLine, StageLine

BARS = 400
"""How many bars a chart has at most: of more, as of a great batch, it has those that last longest."""

RowKind = Literal["state", "lane", "link"]
BarKind = Literal["run", "failed", "transfer", "planned", "other", "waking", "awake", "lingering", "asleep", "solver"]
_STATES: Mapping[str, BarKind] = {
    "wake-up": "waking",
    "awake": "awake",
    "idle tail": "lingering",
    "radio tail": "lingering",
    "asleep": "asleep",
    "solver": "solver",
}
"""What a resource's energy is used for says in which state it is."""
_ORDER: tuple[BarKind, ...] = ("asleep", "lingering", "awake", "solver", "waking")
"""In which order states are drawn: the last one is seen."""


class Row(NamedTuple):
    """A line of the chart."""

    kind: RowKind
    name: str
    """Of a resource, of a link ("a -> b"), or of a lane its number."""
    resource: str
    lane: int


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasts, in us on the run's clock."""

    row: Row
    kind: BarKind
    name: str
    from_us: int
    until_us: int
    graphs: tuple[str, ...] = ()
    told: str = ""
    """More about it than its name and times."""


class Due(NamedTuple):
    """A time by which pipelines had to answer."""

    at_us: int
    graphs: tuple[str, ...]
    is_missed: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """All that is drawn of a frame, from `from_us` to `until_us`; times of bars may be before and after."""

    frame: FrameLine
    rank: int
    """After how many others it was chosen."""
    why: str
    """Why it was chosen."""
    from_us: int
    until_us: int
    rows: tuple[Row, ...]
    bars: tuple[Bar, ...]
    due: tuple[Due, ...]
    left_out: int
    """How many bars are not drawn, since there are too many."""


def span(frame: FrameLine) -> tuple[int, int]:
    """From when until when a frame is drawn: its work and its deadlines, but not more than four times its work."""
    begun_us = frame.release_us if frame.admitted_us is None else frame.admitted_us
    ends_us = [begun_us + 1]
    ends_us += [run.end_us for run in frame.stages] + [send.arrive_us for send in frame.transfers]
    ends_us += [load.arrive_us for load in frame.loads]
    ends_us += [seen.end_us for seen in frame.graphs if seen.outcome != "failed"]
    from_us, worked_us = frame.release_us, max(ends_us)
    most_us = from_us + 4 * (worked_us - from_us)
    due_us = [seen.deadline_us for seen in frame.graphs if from_us < seen.deadline_us <= most_us]
    until_us = max([worked_us, *due_us])
    return from_us, until_us + max(1, (until_us - from_us) // 40)


def chart(
    frame: FrameLine,
    rank: int,
    why: str,
    others: Sequence[FrameLine],
    entries: Iterable[Entry],
    hardware: Hardware | None,
) -> Chart:
    """The chart of a frame: `others` are frames that were worked on meanwhile, `entries` the energy of that time.

    `hardware` is the machine, where it is known.
    """
    from_us, until_us = span(frame)
    wakes_us = {} if hardware is None else _wake_latencies_us(hardware)
    found = list(_work(frame))
    states = [*_states(entries, from_us, until_us, wakes_us), *_wakes((frame, *others), wakes_us)]
    for other in others:
        found += [
            Bar(bar.row, "other", bar.name, bar.from_us, bar.until_us, (), f"of frame {other.frame}")
            for bar in _work(other)
            if bar.kind != "planned"
        ]
    seen = [bar for bar in found if bar.until_us > from_us and bar.from_us < until_us]
    states = sorted(
        (bar for bar in dict.fromkeys(states) if bar.until_us > from_us and bar.from_us < until_us),
        key=lambda bar: (_ORDER.index(bar.kind), bar.from_us),
    )
    every = [*states, *sorted(seen, key=lambda bar: (bar.kind not in ("planned", "other"), bar.from_us))]
    kept = every
    if len(every) > BARS:
        own = sorted(range(len(every)), key=lambda k: (every[k].kind == "other", every[k].from_us - every[k].until_us))
        kept = [every[k] for k in sorted(own[:BARS])]
    rows = _rows({bar.row for bar in kept}, hardware)
    return Chart(frame, rank, why, from_us, until_us, rows, tuple(kept), _due(frame), len(every) - len(kept))


def _work(frame: FrameLine) -> Iterator[Bar]:
    """What ran and was sent, and beside it where it was planned for another time."""
    for run in frame.stages:
        row = Row("lane", str(run.lane), run.resource, run.lane)
        if run.end_us > run.start_us:
            yield Bar(
                row, "failed" if run.outcome == "failed" else "run", run.stage, run.start_us, run.end_us, run.graphs,
                run_told(run),
            )  # fmt: skip
            planned_us = run.planned_start_us, run.planned_end_us
            lasts_us = max(1, run.planned_end_us - run.planned_start_us)
            off_us = abs(run.start_us - planned_us[0]) + abs(run.end_us - planned_us[1])
            if off_us * 20 > lasts_us and planned_us[1] > planned_us[0]:
                yield Bar(row, "planned", run.stage, *planned_us, run.graphs)
    for send in frame.transfers:
        row = Row("link", f"{send.source} -> {send.target}", f"{send.source} -> {send.target}", 0)
        name = f"output of {send.stage}"
        yield Bar(row, "transfer", name, send.start_us, max(send.arrive_us, send.start_us + 1), send.graphs)
        if send.resource is not None and send.lane is not None and send.sent_us > send.start_us:
            lane = Row("lane", str(send.lane), send.resource, send.lane)
            yield Bar(lane, "transfer", name, send.start_us, send.sent_us, send.graphs)
    for load in frame.loads:
        lane = Row("lane", str(load.lane), load.resource, load.lane)
        name = f"{load.label} to {load.target}"
        told = f"weights of {', '.join(load.stages)}" if load.stages else ""
        yield Bar(lane, "transfer", name, load.start_us, load.loaded_us, load.graphs, told)


def run_told(run: StageLine) -> str:
    """What else there is to tell of a run, in a few words."""
    parts = [f"{run.resource} {run.lane}"]
    if run.variant != "default":
        parts.append(run.variant)
    if run.opened is not None:
        parts.append("gate opened" if run.opened else "gate closed")
    if run.error:
        parts.append(run.error[:200])
    return ", ".join(parts)


def _states(entries: Iterable[Entry], from_us: int, until_us: int, wakes_us: Mapping[str, int]) -> Iterator[Bar]:
    for entry in entries:
        kind = _STATES.get(entry.cause)
        if kind is None:
            continue
        lasts_until_us = entry.until_us
        if lasts_until_us == entry.at_us:
            lasts_until_us += max(1, wakes_us.get(entry.resource, 1) if kind == "waking" else 1)
        bar = Bar(_state_row(entry.resource), kind, _WORDS[kind], entry.at_us, lasts_until_us)
        if bar.until_us > from_us and bar.from_us < until_us:
            yield bar


def _wakes(frames: Sequence[FrameLine], wakes_us: Mapping[str, int]) -> Iterator[Bar]:
    """Wake-ups, also those that cost nothing and have no entry."""
    for frame in frames:
        for wake in frame.wakes:
            until_us = wake.at_us + max(1, wakes_us.get(wake.resource, 1))
            yield Bar(_state_row(wake.resource), "waking", _WORDS["waking"], wake.at_us, until_us)


_WORDS: Mapping[BarKind, str] = {
    "waking": "waking up",
    "awake": "awake",
    "lingering": "idle, not yet asleep",
    "asleep": "asleep",
    "solver": "solving",
}


def _state_row(resource: str) -> Row:
    return Row("state", resource, resource, -1)


def _wake_latencies_us(hardware: Hardware) -> dict[str, int]:
    return {one.name: one.wake_latency_us for one in hardware.resources}


def _rows(used: set[Row], hardware: Hardware | None) -> tuple[Row, ...]:
    """Each resource with its lanes, in the order of the machine's document; links last."""
    named = [] if hardware is None else list(_wake_latencies_us(hardware))
    rank = {name: at for at, name in enumerate(named)}
    used = used | {_state_row(row.resource) for row in used if row.kind == "lane"}
    return tuple(
        sorted(used, key=lambda row: (row.kind == "link", rank.get(row.resource, len(rank)), row.resource, row.lane))
    )


def _due(frame: FrameLine) -> tuple[Due, ...]:
    """Deadlines by time, the pipelines that share one together."""
    found: dict[int, list[tuple[str, bool]]] = {}
    for seen in frame.graphs:
        missed = seen.outcome == "failed" or seen.end_us > seen.deadline_us
        found.setdefault(seen.deadline_us, []).append((seen.graph, missed))
    return tuple(
        Due(at_us, tuple(dict.fromkeys(graph for graph, _ in found[at_us])), any(missed for _, missed in found[at_us]))
        for at_us in sorted(found)
    )
