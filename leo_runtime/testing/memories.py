"""Random problems with weights, loads, residents and caps that bind, for tests of the solvers of `leo-problem/3`."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

from leo_runtime.documents.memory import (
    Loader,
    MemoryMode,
    MemoryPlacement,
    MemoryProblem,
    MemoryResource,
    MemoryStage,
    Weights,
)
from leo_runtime.documents.problem import Criterion, Mode, Problem, Resource
from leo_runtime.testing.problems import Feature, random_problem


def random_memory_problem(
    seed: int,
    *,
    stages: int = 4,
    features: Collection[Feature] | None = None,
    processors: int | None = None,
    objective: tuple[Criterion, ...] | None = None,
    tight: bool = False,
) -> MemoryProblem:
    """A problem of exactly `stages` stages, the same for the same arguments: a `random_problem` with weights.

    Some stages share a label, some variants need labels of their own, some need two. Labels are resident here and
    there; most processors can be loaded to, some over a resource of their own. Caps leave room for what each run needs,
    as a rule, and not for all; one processor is as likely as two or three. It may be infeasible. `tight`: two or three
    labels alone, caps that leave no more than that room, and the makespan first, so that labels have to make way.
    """
    rng = Random(seed)
    processors = rng.choice((1, 1, 2, 3)) if processors is None else processors
    objective = ("makespan", "energy") if tight and objective is None else objective
    frame = random_problem(rng, stages=stages, features=features, processors=processors, objective=objective)
    small = max(mode.duration_us for stage in frame.stages for mode in stage.modes) <= 6
    labels = tuple(
        Weights(label=f"w{k}", bytes=rng.randint(1, 6) if small else rng.randint(1_000, 600_000))
        for k in range(rng.randint(2, 3) if tight else rng.randint(1, stages + 1))
    )
    named = tuple(
        MemoryStage(
            name=stage.name,
            release_us=stage.release_us,
            inputs=stage.inputs,
            modes=_modes(rng, stage.modes, [weights.label for weights in labels], tight),
        )
        for stage in frame.stages
    )
    sizes = {weights.label: weights.bytes for weights in labels}
    hosts = sorted({mode.resource for stage in named for mode in stage.modes})
    stores = [_store(rng, name, small) for name in ("flash", "card")[: rng.randint(1, 2)]]
    return MemoryProblem(
        format="leo-problem/3",
        name=f"{frame.name}+weights",
        weights=labels,
        loaders=tuple(
            _loader(rng, name, rng.choice(stores).name, small) for name in hosts if name != "cloud" and rng.randrange(9)
        ),
        resources=(*(_resource(rng, resource, named, sizes, tight) for resource in frame.resources), *stores),
        links=frame.links,
        stages=named,
        deadlines=frame.deadlines,
        accuracy_budgets=frame.accuracy_budgets,
        limits=_looser(rng, frame),
        objective=frame.objective,
    )


def _modes(rng: Random, modes: tuple[Mode, ...], labels: list[str], tight: bool) -> tuple[MemoryMode, ...]:
    """The modes with labels: as a rule the same for all variants, else each variant has its own; none on the cloud."""
    apart = rng.randrange(4) == 0
    common = rng.sample(labels, min(len(labels), 1 if tight else rng.choice((0, 1, 1, 1, 2))))
    own = {mode.variant: rng.sample(labels, min(len(labels), rng.randint(0, 1))) for mode in modes}
    return tuple(
        MemoryMode(
            **mode.model_dump(),
            weights=() if mode.resource == "cloud" else tuple(own[mode.variant] if apart else common),
        )
        for mode in modes
    )


def _store(rng: Random, name: str, small: bool) -> MemoryResource:
    """What weights are loaded over: it may sleep, be busy, or load two labels at once."""
    asleep = rng.randrange(4) == 0
    return MemoryResource(
        name=name,
        lanes=rng.choice((1, 1, 2)),
        awake=not asleep,
        wake_latency_us=rng.randint(0, 3 if small else 2_000) if asleep else 0,
        wake_energy_nj=rng.randint(0, 3 if small else 90_000) if asleep else 0,
        awake_mw=rng.choice((0, 0, rng.randint(1, 3 if small else 60))),
    )


def _loader(rng: Random, target: str, store: str, small: bool) -> Loader:
    return Loader(
        target=target,
        resource=store,
        bytes_per_s=rng.choice((700_000, 1_000_000, 3_000_000) if small else (20_000_000, 90_000_000, 400_000_000)),
        latency_us=rng.randint(0, 1 if small else 300),
        energy_nj=rng.randint(0, 2 if small else 20_000),
        energy_pj_per_byte=rng.choice((0, 300, 900)),
    )


def _resource(
    rng: Random, resource: Resource, stages: tuple[MemoryStage, ...], sizes: dict[str, int], tight: bool
) -> MemoryResource:
    """The resource with a cap, most often, between what its greediest run needs and all that could be there."""
    there = [[mode for mode in stage.modes if mode.resource == resource.name] for stage in stages]
    working = sum(max((mode.memory_bytes for mode in modes), default=0) for modes in there)
    each = [sum(sizes[label] for label in mode.weights) for modes in there for mode in modes]
    used = {label for modes in there for mode in modes for label in mode.weights}
    cap = resource.memory_bytes
    if each and rng.randrange(5):
        least, most = working + max(each), working + sum(sizes[label] for label in used)
        short = least * rng.choice((8, 10, 10, 10, 10)) // 10
        enough = max(least, least + (most - least) * rng.randint(0, 2) // 3)
        cap = least if tight else rng.randint(short, enough)
    resident: list[str] = []
    for label in sizes:
        room = cap is None or sum(sizes[one] for one in (*resident, label)) <= cap
        if rng.randrange(4) == 0 and room:
            resident.append(label)
    return MemoryResource(**{**resource.model_dump(exclude_unset=True), "memory_bytes": cap}, resident=tuple(resident))


def _looser(rng: Random, frame: Problem) -> dict[Criterion, int]:
    """The limits with something added for what is loaded."""
    return {name: limit * rng.randint(100, 200) // 100 for name, limit in frame.limits.items()}


def serial_us(problem: MemoryProblem, answer: MemoryPlacement) -> int:
    """How long an answer could take at most: all that it does in turn, with loads of its own for each run.

    It begins when the last resource can be used and the last stage is released. No best answer takes longer.
    """
    sizes = {weights.label: weights.bytes for weights in problem.weights}
    loaders = {loader.target: loader for loader in problem.loaders}
    links = {(link.source, link.target): link for link in problem.links}
    modes = {(s.name, mode.resource, mode.variant): mode for s in problem.stages for mode in s.modes}
    begin = max(
        [0, *(r.wake_latency_us for r in problem.resources), *(t for r in problem.resources for t in r.ready_us)]
    )
    total = max([begin, *(stage.release_us for stage in problem.stages)])
    runs = {run.stage: run for run in answer.stages}
    for run in answer.stages:
        mode = modes[run.stage, run.resource, run.variant]
        total += mode.duration_us
        if loader := loaders.get(run.resource):
            total += sum(loader.loading_us(sizes[label]) + loader.latency_us for label in mode.weights)
    for row in answer.transfers:
        sender = runs[row.stage]
        link = links[row.source, row.target]
        sent = modes[row.stage, sender.resource, sender.variant].output_bytes
        total += link.sending_us(sent) + link.latency_us
    return total
