"""Several frames as one problem, where a stage may run its frames one by one or all together.

Together a stage pays its fixed cost (a launch, a wake-up) once, but waits for the last frame's data: this is how ten
seconds of buffered audio reach a GPU. Which stages run together is decided by trying every choice and solving each
exactly, so the answer is as well proved as its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from leo_runtime.errors import SolverError
from leo_runtime.hardware import Hardware
from leo_runtime.lower import FrameState, MergedStage, MergedWorkload, active_stages, frame_links, frame_resources
from leo_runtime.problem import Deadline, Mode, Placement, Problem, StageModes

MAX_CANDIDATES = 6
"""Every candidate doubles the number of problems to solve."""

Modes = Mapping[str, tuple[Mode, ...]]


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The best choice of what runs together, and its placement."""

    together: tuple[str, ...]
    problem: Problem
    placement: Placement
    alternatives: Mapping[tuple[str, ...], Placement]
    """The answer to every choice tried, this one included."""


def batch_problem(
    merged: MergedWorkload,
    one_by_one: Modes,
    batched: Modes,
    hardware: Hardware,
    state: FrameState,
    *,
    frames: int,
    period_us: int,
    together: Sequence[str],
    name: str,
) -> Problem:
    """The question of `frames` frames, one released every `period_us`, in which the stages `together` run once for all.

    `one_by_one` are the modes of a frame alone and `batched` those of all frames at once, both from `lower.price`.
    Stages are called `stage#frame`, and `stage#all` where they run together. Deadlines count from each frame's own
    release. Accuracy budgets and gates that are known only later are those of single frames and are not part of it.
    """
    active = active_stages(merged, state)
    alone = {stage.name for stage in active} - set(together)

    def copies(stage_name: str, frame: int) -> str:
        return f"{stage_name}#{frame}" if stage_name in alone else f"{stage_name}#all"

    def waits(stage: MergedStage, frame_numbers: Sequence[int]) -> tuple[str, ...]:
        reads = [name for name in dict.fromkeys((*stage.inputs, *stage.gates(state.graphs))) if name in known]
        return tuple(dict.fromkeys(copies(name, frame) for name in reads for frame in frame_numbers))

    known = {stage.name for stage in active}
    stages: list[StageModes] = []
    for stage in active:
        if stage.name not in alone:
            last_us = (frames - 1) * period_us
            stages.append(
                StageModes(
                    name=f"{stage.name}#all",
                    release_us=last_us,
                    inputs=waits(stage, range(frames)),
                    modes=batched[stage.name],
                )
            )
            continue
        stages += [
            StageModes(
                name=f"{stage.name}#{frame}",
                release_us=frame * period_us,
                inputs=waits(stage, (frame,)),
                modes=one_by_one[stage.name],
            )
            for frame in range(frames)
        ]
    deadlines = tuple(
        Deadline(
            stage=copies(stage_name, frame), deadline_us=frame * period_us + graph.deadline_us, weight=graph.weight
        )
        for graph in merged.workload.graphs
        if graph.name in state.graphs
        for stage_name in merged.outputs(graph)
        if stage_name in known
        for frame in range(frames)
    )
    return Problem(
        format="leo-problem/1",
        name=name,
        resources=frame_resources(hardware, state),
        links=frame_links(hardware, state),
        stages=tuple(stages),
        deadlines=deadlines,
        objective=merged.workload.objective,
    )


def solve_batch(
    merged: MergedWorkload,
    one_by_one: Modes,
    batched: Modes,
    hardware: Hardware,
    state: FrameState,
    *,
    frames: int,
    period_us: int,
    candidates: Sequence[str],
    solver: Callable[[Problem], Placement],
    name: str = "batch",
) -> BatchAnswer:
    """Decide which of the `candidates` run their frames together, and place the whole window.

    The best of all choices, the first found among equals (fewer together first, then as `candidates` are ordered). It
    is `optimal` when every choice was solved to its optimum. Raises `SolverError` for more than `MAX_CANDIDATES`.
    """
    if len(candidates) > MAX_CANDIDATES:
        raise SolverError(
            f"{len(candidates)} stages may run together, at most {MAX_CANDIDATES} can be tried",
            hint="name those whose fixed cost is large",
        )
    problems: dict[tuple[str, ...], Problem] = {}
    answers: dict[tuple[str, ...], Placement] = {}
    for size in range(len(candidates) + 1):
        for together in combinations(candidates, size):
            problems[together] = batch_problem(
                merged,
                one_by_one,
                batched,
                hardware,
                state,
                frames=frames,
                period_us=period_us,
                together=together,
                name=name,
            )
            answers[together] = solver(problems[together])
    objective = merged.workload.objective
    best = min(answers, key=lambda together: _value(answers[together], objective))
    placement = _judged(answers[best], list(answers.values()), objective)
    return BatchAnswer(best, problems[best], placement, answers)


def _value(answer: Placement, objective: Sequence[str]) -> tuple[int, ...]:
    """For comparison: infeasible answers come last."""
    if answer.criteria is None:
        return (1,)
    return (0, *(getattr(answer.criteria, criterion) for criterion in objective))


def _judged(best: Placement, answers: Sequence[Placement], objective: Sequence[str]) -> Placement:
    """The best answer, with the claim that holds for all choices together."""
    if all(answer.status != "feasible" for answer in answers):
        return best
    # What a choice that was not solved to its end could still reach is known for the first criterion alone.
    first = min(answer.bounds[0] for answer in answers if answer.criteria is not None)
    bounds = (min(first, best.bounds[0]), *(0 for _ in objective[1:]))
    return best.model_copy(update={"status": "feasible", "bounds": bounds})
