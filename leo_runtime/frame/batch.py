"""Several frames as one problem, where a stage may run its frames one by one or all together.

Together a stage pays its fixed cost (a launch) once, but waits for the last frame's data: this is how ten
seconds of buffered audio reach a GPU. Which stages run together is decided by trying every choice and solving each, so
the answer is as well proved as its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import combinations

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import AccuracyBudget, Deadline, Mode, Placement, Problem, StageModes
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import InputError, SolverError
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.due import collected_deadline_us
from leo_runtime.frame.lower import (
    MergedStage,
    MergedWorkload,
    active_stages,
    share_weights,
    usual_links,
    usual_resources,
)
from leo_runtime.frozen import dataclass
from leo_runtime.values import several_names

MAX_CANDIDATES = 6
"""Every candidate doubles the number of problems to solve."""
FEW_CANDIDATES = 4
"""How many `worth_batching` names."""
PROVABLE = 30
"""Up to so many stages a batch is mostly proved."""
LEAST_SAVING_PPM = 1_000
"""What of a batch's least energy a stage must be able to save to be named."""
LEAST_SAVING_UNPROVED_PPM = 10_000
"""The same beyond `PROVABLE` stages, where answers differ by as much anyhow."""

Modes = Mapping[str, tuple[Mode, ...]]


@dataclass(frozen=True, slots=True)
class Job:
    """What one run of a batch computes: a merged stage, for one of the batch's frames or for all."""

    stage: str
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The best choice of what runs together, and its placement."""

    together: tuple[str, ...]
    problem: Problem
    placement: Placement
    jobs: Mapping[str, Job]
    """What each stage of the problem is."""
    alternatives: Mapping[tuple[str, ...], Placement]
    """The answer to every choice tried, this one included."""


class FramePrices:
    """The modes of every merged stage for any number of frames at a time."""

    def __init__(self, price: Callable[[int], Modes], *, unbatched: Collection[str] = ()) -> None:
        """`price` gives them for a number of frames.

        On the processors of `unbatched` several frames cost as much as one after the other: kernels take one at a
        time, and there a run lasts as long as they do.
        """
        self._price = price
        self._unbatched = frozenset(unbatched)
        self._of = {1: price(1)}
        self._modes: dict[tuple[str, str, str, int], Mode] = {}

    def of(self, frames: int) -> Modes:
        """All modes for so many frames."""
        if frames not in self._of:
            together = {
                (name, mode.variant, mode.resource): mode
                for name, modes in self._price(frames).items()
                for mode in modes
            }
            self._of[frames] = {
                name: tuple(
                    _repeated(mode, frames)
                    if mode.resource in self._unbatched
                    else together[name, mode.variant, mode.resource]
                    for mode in modes
                )
                for name, modes in self._of[1].items()
            }
        return self._of[frames]

    def keep(self, modes: Modes) -> None:
        """Leave out all but these, which are of one frame."""
        self._of = {1: modes}
        self._modes.clear()

    def mode(self, stage: str, variant: str, resource: str, frames: int) -> Mode:
        """One mode for so many frames. Raises `KeyError`."""
        key = (stage, variant, resource, frames)
        if key not in self._modes:
            self._modes |= {
                (name, mode.variant, mode.resource, frames): mode
                for name, modes in self.of(frames).items()
                for mode in modes
            }
        return self._modes[key]


def _repeated(mode: Mode, times: int) -> Mode:
    costs = {
        "duration_us": times * mode.duration_us,
        "energy_nj": times * mode.energy_nj,
        "output_bytes": times * mode.output_bytes,
        "memory_bytes": mode.memory_bytes + (times - 1) * mode.output_bytes,
    }
    return mode.model_copy(update=costs)


def _without_weights(mode: Mode, room_bytes: int | None) -> Mode:
    """The mode of a batch's second frame and all after it: the first one's weights are there already.

    Where there is no room for them they never are, and nothing runs without.
    """
    fits = room_bytes is None or mode.memory_bytes <= room_bytes
    if mode.memory_bytes <= mode.output_bytes or not fits:
        return mode
    return mode.model_copy(update={"memory_bytes": mode.output_bytes})


def batch_jobs(active: Sequence[MergedStage], frames: int, together: Collection[str]) -> dict[str, Job]:
    """The stages of a batch: `stage#frame` for each frame, and `stage#all` where they run together."""
    jobs: dict[str, Job] = {}
    for stage in active:
        if stage.name in together:
            jobs[f"{stage.name}#all"] = Job(stage.name, tuple(range(frames)))
        else:
            jobs |= {f"{stage.name}#{frame}": Job(stage.name, (frame,)) for frame in range(frames)}
    return jobs


def batch_problem(
    merged: MergedWorkload,
    alone: Modes,
    batched: Modes,
    hardware: Hardware,
    conditions: Conditions,
    *,
    frames: int,
    period_us: int | None,
    together: Sequence[str],
    name: str,
    following: Modes | None = None,
) -> Problem:
    """The question of `frames` frames in which the stages `together` run once for all.

    With `period_us` it is asked as the first frame is released, and the others are to come, one every `period_us`; each
    has its own deadlines. Without, it is asked when all have been collected: whoever waits for that waits as many times
    as long for the answers (`collected_deadline_us`).

    `alone` are the modes of a frame by itself and `batched` those of all frames at once, both from `lower.price`;
    `following` those of any frame but the first, where they are others. Stages are called as `batch_jobs` does.
    Accuracy budgets hold for each frame; what a stage loses together counts once in the problem's `accuracy_loss`.
    """
    active = {stage.name: stage for stage in active_stages(merged, conditions)}
    jobs = batch_jobs(tuple(active.values()), frames, together)
    called = {(job.stage, frame): name for name, job in jobs.items() for frame in job.frames}

    def inputs(job: Job) -> tuple[str, ...]:
        stage = active[job.stage]
        reads = [name for name in (*stage.inputs, *stage.gates(conditions.graphs)) if name in active]
        return tuple(dict.fromkeys(called[read, frame] for read in reads for frame in job.frames))

    counted = [share_weights(tuple(active.values()), modes, hardware) for modes in (alone, batched, following or alone)]
    alone, batched, following = counted
    room = {processor.name: processor.memory_bytes for processor in hardware.processors}
    later = {name: tuple(_without_weights(mode, room[mode.resource]) for mode in following[name]) for name in active}

    def modes(job: Job) -> tuple[Mode, ...]:
        if job.stage in together:
            return batched[job.stage]
        return (later if job.frames[0] else alone)[job.stage]

    stages = tuple(
        StageModes(
            name=name,
            release_us=job.frames[-1] * (period_us or 0),
            inputs=inputs(job),
            modes=modes(job),
        )
        for name, job in jobs.items()
    )
    triggered = [graph for graph in merged.workload.graphs if graph.name in conditions.graphs]

    def due_us(graph: TaskGraph, frame: int) -> int:
        if period_us is None:
            return collected_deadline_us(graph, frames)
        return frame * period_us + graph.deadline_us

    deadlines = tuple(
        Deadline(stage=called[stage, frame], deadline_us=due_us(graph, frame), weight=graph.weight)
        for graph in triggered
        for stage in merged.outputs(graph)
        if stage in active
        for frame in range(frames)
    )
    budgets = tuple(
        AccuracyBudget(
            stages=tuple(called[stage, frame] for stage in merged.stages_of(graph) if stage in active),
            loss_ppm_max=graph.accuracy_loss_ppm_max,
        )
        for graph in triggered
        if graph.accuracy_loss_ppm_max is not None
        for frame in range(frames)
    )
    usual = Problem(
        format="leo-problem/1",
        name=name,
        resources=usual_resources(hardware, conditions),
        links=usual_links(hardware, conditions),
        stages=stages,
        deadlines=deadlines,
        accuracy_budgets=budgets,
        objective=merged.workload.objective,
    )
    return conditions.applied(usual)


def solve_batch(
    merged: MergedWorkload,
    alone: Modes,
    batched: Modes,
    hardware: Hardware,
    conditions: Conditions,
    *,
    frames: int,
    period_us: int | None,
    candidates: Sequence[str],
    solver: Callable[[Problem], Placement],
    name: str = "batch",
    following: Modes | None = None,
) -> BatchAnswer:
    """Decide which of the `candidates` run their frames together, and place the whole batch (see `batch_problem`).

    The best of all choices, the first found among equals (fewer together first, then as `candidates` are ordered). It
    is `optimal` when every choice was solved to its optimum. Raises as `require_candidates` does, and `SolverError`
    where `solver` raises it for every choice; those for which it does are left out.
    """
    candidates = require_candidates(merged, candidates, alone)
    active = active_stages(merged, conditions)
    problems: dict[tuple[str, ...], Problem] = {}
    answers: dict[tuple[str, ...], Placement] = {}
    failed = SolverError("nothing was tried")
    for size in range(len(candidates) + 1):
        for together in combinations(candidates, size):
            problems[together] = batch_problem(
                merged,
                alone,
                batched,
                hardware,
                conditions,
                frames=frames,
                period_us=period_us,
                together=together,
                name=name,
                following=following,
            )
            try:
                answers[together] = solver(problems[together])
            except SolverError as error:
                failed = error
    if not answers:
        raise failed
    objective = merged.workload.objective
    best = min(answers, key=lambda together: _value(answers[together], objective))
    placement = _with_common_claim(answers[best], list(answers.values()), objective)
    placement = placement.model_copy(update={"solve_us": sum(answer.solve_us for answer in answers.values())})
    return BatchAnswer(best, problems[best], placement, batch_jobs(active, frames, best), answers)


def may_batch(merged: MergedWorkload, name: str, modes: Modes) -> bool:
    """Whether a stage may run its frames together.

    A source has nothing to gain, a gate decides for each frame, and what is lost together would count once.
    """
    gates = any(gate == name for stage in merged.stages for _, gate in stage.asked)
    loses = "accuracy_loss" in merged.workload.objective and any(mode.accuracy_loss_ppm for mode in modes[name])
    return not (merged.stage(name).bound.operator.is_source or gates or loses)


def require_candidates(merged: MergedWorkload, names: Collection[str], modes: Modes) -> tuple[str, ...]:
    """The stages of these names, each once. Raises `InputError` where they are too many, or one may not be batched."""
    wanted = tuple(dict.fromkeys(several_names(names, "together")))
    if len(wanted) > MAX_CANDIDATES:
        raise InputError(
            f"{len(wanted)} stages may run together, at most {MAX_CANDIDATES} can be tried",
            hint="name those whose fixed cost is large",
        )
    known = [stage.name for stage in merged.stages]
    for name in wanted:
        if name not in known or not may_batch(merged, name, modes):
            able = [other for other in known if may_batch(merged, other, modes)]
            wrong = (
                f"stage `{name}` cannot run its frames together: it is a source, gates others, or loses accuracy where "
                "that is a criterion"
            )
            raise InputError(
                wrong if name in known else f"no stage is called `{name}`",
                hint=f"these can: {', '.join(able)}" if able else "none can",
            )
    return wanted


def worth_batching(
    merged: MergedWorkload, graphs: Collection[str], alone: Modes, batched: Modes, frames: int
) -> tuple[str, ...]:
    """The stages whose frames are worth trying together: those that could save most of the batch's energy.

    They are `FEW_CANDIDATES` at most, of those that save enough on some processor (`LEAST_SAVING_PPM`): every one
    doubles the number of problems.
    """
    saves: dict[str, int] = {}
    least_nj = 0
    stages = [stage.name for stage in merged.stages if set(stage.graphs).intersection(graphs)]
    for name in stages:
        single = {(mode.variant, mode.resource): mode.energy_nj for mode in alone[name]}
        least_nj += frames * min(single.values())
        if may_batch(merged, name, alone):
            saves[name] = max(frames * single[mode.variant, mode.resource] - mode.energy_nj for mode in batched[name])
    least_ppm = LEAST_SAVING_PPM if frames * len(stages) <= PROVABLE else LEAST_SAVING_UNPROVED_PPM
    enough_nj = least_nj * least_ppm // 1_000_000
    most = sorted((name for name in saves if saves[name] > enough_nj), key=lambda name: -saves[name])
    return tuple(most[:FEW_CANDIDATES])


def _value(answer: Placement, objective: Sequence[str]) -> tuple[int, ...]:
    """For comparison: infeasible answers come last."""
    if answer.criteria is None:
        return (1,)
    return (0, *(getattr(answer.criteria, criterion) for criterion in objective))


def _with_common_claim(best: Placement, answers: Sequence[Placement], objective: Sequence[str]) -> Placement:
    """The best answer, with the claim that holds for all choices together."""
    if all(answer.status != "feasible" for answer in answers):
        return best
    # What a choice that was not solved to its end could still reach is known for the first criterion alone.
    first = min(answer.bounds[0] for answer in answers if answer.criteria is not None)
    bounds = (first, *(0 for _ in objective[1:]))
    return best.model_copy(update={"status": "feasible", "bounds": bounds})
