"""All that a log tells of one frame, and of a run as a whole: what questions about it are answered from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.frame.records import reason_of
from leo_runtime.replay.log_lines import FrameLine, RunLine, RunLine1
from leo_runtime.replay.log_reader import Question, RunLog, frame_entries
from leo_runtime.replay.tally import Tally
from leo_runtime.replay.why import Why, whys
from leo_runtime.solver.explain import LIMIT_NODES, Explanation, explain

MANY_STAGES, FEW_NODES = 40, 500
"""A question of more stages is searched for so many nodes for each mode."""
WORST = 5
"""How many frames an overview names of a kind."""


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What a log tells of one frame."""

    run: str
    """As the run was named."""
    head: RunLine | RunLine1
    frame: FrameLine
    question: Question | None
    """What was asked for it; None: nothing, or the log does not hold it."""
    explanation: Explanation | None
    """Why its stages are where they are; None without a question, and of one with weights."""
    stage: str | None
    """The stage that was asked about; None: all."""
    whys: tuple[Why, ...]
    """Of each answer that was late or failed, why; with a stage, of what that stage was for."""
    nj: dict[tuple[str, str, str], int]
    """Its energy by cause, resource and the graph it is charged to."""
    missing: tuple[str, ...]
    """What the log does not hold."""


def frame_facts(
    log: RunLog, run: str, number: int, stage: str | None = None, *, limit_nodes: int | None = None
) -> FrameFacts:
    """What a log tells of one frame, or of one of its stages; other modes are searched for `limit_nodes` nodes each.

    None: as many as explanations usually are, or of more than `MANY_STAGES`, of which little is proved, fewer.

    Raises `InputError` where there is no such frame or stage, and `DocumentError` where the log is damaged.
    """
    frame = log.at(log.position(number))
    stages = stages_named(frame, stage)
    question = None if frame.question is None else log.question(frame.question)
    explanation = None
    if question is not None:
        asked = {one.name for one in question.problem.stages}
        if limit_nodes is None:
            limit_nodes = LIMIT_NODES if len(asked) <= MANY_STAGES else FEW_NODES
        explanation = explain(
            question.problem, question.placement, [name for name in stages if name in asked], limit_nodes=limit_nodes
        )
    found = whys(log, number)
    if stage is not None:
        asking = {graph for run in frame.stages if run.stage in stages for graph in run.graphs}
        found = tuple(why for why in found if why.graph in asking or not asking)
    nj: dict[tuple[str, str, str], int] = {}
    for entry in log.entries_of(number):
        for graph, share in entry.shares():
            key = (entry.cause, entry.resource, graph)
            nj[key] = nj.get(key, 0) + share
    return FrameFacts(run, log.head, frame, question, explanation, stage, found, nj, log.missing)


def stages_named(frame: FrameLine, stage: str | None) -> tuple[str, ...]:
    """The stages of a frame, or those that are meant by a name: in a batch `mfcc` means `mfcc#0`, `mfcc#all`...

    Raises `InputError` where it has none of that name.
    """
    names = tuple(dict.fromkeys(run.stage for run in frame.stages))
    if stage is None:
        return names
    meant = tuple(dict.fromkeys(run.stage for run in frame.stages if stage in (run.stage, run.of)))
    if not meant:
        kinds = tuple(dict.fromkeys(run.of or run.stage for run in frame.stages))
        if stage in {seen.graph for seen in frame.graphs}:
            raise InputError(
                f'frame {frame.frame} has no stage "{stage}": that is a pipeline',
                hint=f"leave it out, all pipelines are told; or name a stage: {', '.join(kinds)}",
            )
        raise InputError(
            f'frame {frame.frame} has no stage "{stage}"',
            hint=did_you_mean(stage, kinds, "its stages are")
            if kinds
            else f"it has none: {frame.reason or 'it was not placed'}",
        )
    return meant


@dataclass(frozen=True, slots=True)
class Notable:
    """A frame worth asking about, and for what."""

    frame: int
    release_us: int
    graph: str
    """Empty where it is about the whole frame."""
    amount: int
    """By how many us it was late, or missed being late, or how many nJ it took."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why answers failed, how often, and where for the first time."""

    text: str
    count: int
    frame: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """How often weights were loaded to a processor in a run, and what that took."""

    label: str
    target: str
    bytes: int
    stages: tuple[str, ...]
    """Whose they are, of those that the loads were meant to serve, in the order of their first."""
    loads: int
    nj: int
    """Of the loads themselves, without what kept the store awake."""
    evicted: int
    """How often they made room for something else."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What a run came to, and which of its frames are worth asking about."""

    run: str
    head: RunLine | RunLine1
    cut: str
    """Why the log goes no further; empty: it is whole."""
    tally: Tally
    late: tuple[Notable, ...]
    """The answers that were latest."""
    reasons: tuple[Reason, ...]
    """Why answers failed, the most frequent first."""
    tightest: Notable | None
    """Of the answers in time, the one that was nearest to its deadline."""
    dearest: Notable | None
    """The frame whose runs and transfers took most."""
    loaded: tuple[Loaded, ...]
    """What was loaded, in the order of its first load."""
    missing: tuple[str, ...]


def overview(log: RunLog, run: str) -> Overview:
    """Read a whole log. Memory does not grow with it, but for latencies. Raises `DocumentError`."""
    sums = Tally()
    late: list[Notable] = []
    reasons: dict[str, Reason] = {}
    tightest: Notable | None = None
    dearest: Notable | None = None
    loaded: dict[tuple[str, str], Loaded] = {}
    for frame in log.frames():
        sums.add(frame)
        _count_loads(frame, loaded)
        nj = sum(entry.nj for entry in frame_entries(frame))
        if dearest is None or nj > dearest.amount:
            dearest = Notable(frame.frame, frame.release_us, "", nj)
        for seen in frame.graphs:
            if seen.outcome == "failed":
                continue
            one = Notable(frame.frame, seen.release_us, seen.graph, seen.end_us - seen.deadline_us)
            if one.amount > 0:
                late = _worst([*late, one])
            elif seen.outcome == "done" and (tightest is None or one.amount > -tightest.amount):
                tightest = Notable(one.frame, one.release_us, one.graph, -one.amount)
        for text in whys_failed(frame):
            known = reasons.get(text, Reason(text, 0, frame.frame))
            if text in reasons or len(reasons) < _MOST_REASONS:
                reasons[text] = Reason(text, known.count + 1, known.frame)
    sums.add_energy(log.standing_entries())
    log.require_sum(sums.total_nj)
    sums.close()
    told = sorted(reasons.values(), key=lambda one: (-one.count, one.frame))
    return Overview(
        run, log.head, log.cut, sums, tuple(late), tuple(told), tightest, dearest, tuple(loaded.values()), log.missing
    )


def whys_failed(frame: FrameLine) -> list[str]:
    """Of each graph of a frame that failed, why."""
    failed = [seen.graph for seen in frame.graphs if seen.outcome == "failed"]
    if not failed:
        return []
    error = next((run.error for run in frame.stages if run.error), "no reason is given")
    return [reason_of(frame, graph) or error for graph in failed]


def _count_loads(frame: FrameLine, loaded: dict[tuple[str, str], Loaded]) -> None:
    """Add what was loaded for a frame, and what made room."""
    for load in frame.loads:
        key = (load.label, load.target)
        known = loaded.get(key, Loaded(load.label, load.target, load.bytes, (), 0, 0, 0))
        stages = tuple(dict.fromkeys((*known.stages, *load.stages)))
        loaded[key] = replace(known, stages=stages, loads=known.loads + 1, nj=known.nj + load.nj)
    for gone in frame.evicted:
        key = (gone.label, gone.resource)
        if key in loaded:
            loaded[key] = replace(loaded[key], evicted=loaded[key].evicted + 1)


_MOST_REASONS = 1000


def _worst(found: Iterable[Notable]) -> list[Notable]:
    return sorted(found, key=lambda one: (-one.amount, one.frame, one.graph))[:WORST]
