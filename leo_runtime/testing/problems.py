"""Random problems with every feature of `leo-problem/1`: from a seed, and as a hypothesis strategy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from leo_runtime.documents.problem import (
    CRITERIA,
    AccuracyBudget,
    Criterion,
    Deadline,
    Link,
    Mode,
    Problem,
    Resource,
    StageModes,
)
from leo_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Shape = Literal["layered", "forkjoin", "sensing"]
Feature = Literal[
    "lanes", "busy", "wake", "power", "memory", "variants", "budget", "limit", "cloud", "gaps", "release", "small"
]
Urgency = Literal["none", "loose", "medium", "tight", "late", "impossible"]

SHAPES: tuple[Shape, ...] = get_args(Shape)
FEATURES: tuple[Feature, ...] = get_args(Feature)
"""`lanes` several lanes a processor; `busy` lanes not free at once; `wake` sleeping resources; `power` cost of staying
awake; `memory` caps; `variants` several modes on one processor; `budget` accuracy budgets; `limit` caps on criteria;
`cloud` a remote processor behind a radio; `gaps` missing links; `release` stages released late; `small` quantities of
one digit, which brings ties, transfers that take no time and other corners."""
URGENCIES: tuple[Urgency, ...] = get_args(Urgency)

_DEADLINE_PERCENT: dict[Urgency, int] = {"loose": 400, "medium": 190, "tight": 115, "late": 70, "impossible": 15}
_PROCESSORS = ("dsp", "cpu", "gpu")
"""Kinds of processor; of more than three, the fourth is `dsp2`, the fifth `cpu2`, and so on."""
_SPEED = {"dsp": 100, "cpu": 20, "gpu": 9, "cloud": 2}
_POWER_MW = {"dsp": 60, "cpu": 950, "gpu": 1400, "cloud": 0}


@dataclass(frozen=True, slots=True)
class _Dice:
    """Seeded choices, and how large the quantities are."""

    rng: Random
    features: frozenset[str]

    def has(self, feature: Feature) -> bool:
        return feature in self.features

    def size(self, low: int, high: int, small_high: int = 6) -> int:
        """A quantity between the bounds, or one of 0 .. `small_high` where all quantities are small."""
        return self.rng.randint(0, small_high) if self.has("small") else self.rng.randint(low, high)

    def chance(self, percent: int) -> bool:
        return self.rng.randrange(100) < percent


def random_problem(
    seed: int | Random,
    *,
    stages: int = 8,
    shape: Shape | None = None,
    features: Collection[Feature] | None = None,
    urgency: Urgency | None = None,
    objective: tuple[Criterion, ...] | None = None,
    processors: int | None = None,
    lanes: int | None = None,
) -> Problem:
    """A problem of exactly `stages` stages, the same for the same arguments.

    What is None is drawn: the shape of the graph, which features it has (each with a chance of two in five), how
    urgent it is, which criteria are minimised in which order, how many processors there are (one to three) besides
    the cloud, and how many lanes each has (with the feature `lanes`, else one). It may be infeasible.
    """
    rng = seed if isinstance(seed, Random) else Random(seed)
    drawn_shape = rng.choice(SHAPES) if shape is None else shape
    drawn = [feature for feature in FEATURES if rng.randrange(5) < 2]
    dice = _Dice(rng, frozenset(drawn if features is None else features))
    drawn_urgency = rng.choice(URGENCIES) if urgency is None else urgency
    if objective is None:
        objective = tuple(rng.sample(CRITERIA, rng.randint(1, 4))) if rng.randrange(2) else ("tardiness", "energy")
    drawn_processors = 3 if dice.chance(75) else rng.randint(1, 2)
    names = _processors(drawn_processors if processors is None else processors)
    if dice.has("cloud"):
        names += ("cloud",)
    graph = _graph(rng, drawn_shape, stages)
    modes = [_stage(dice, name, inputs, names) for name, inputs in graph]
    deadlines = _deadlines(dice, drawn_urgency, modes)
    if dice.chance(20):
        rng.shuffle(modes)  # A document may name a stage before its inputs.
    return Problem(
        format="leo-problem/1",
        name=f"{drawn_shape}-{stages:03d}-{drawn_urgency}" + "".join(f"+{f}" for f in FEATURES if dice.has(f)),
        resources=_resources(dice, names, modes, lanes),
        links=_links(dice, names),
        stages=tuple(modes),
        deadlines=deadlines,
        accuracy_budgets=_budgets(dice, modes),
        limits=_limits(dice, modes),
        objective=objective,
    )


def _processors(count: int) -> tuple[str, ...]:
    kinds = len(_PROCESSORS)
    return tuple(_PROCESSORS[k % kinds] + (str(k // kinds + 1) if k >= kinds else "") for k in range(count))


def _kind(processor: str) -> str:
    return processor.rstrip("0123456789")


def _graph(rng: Random, shape: Shape, stages: int) -> list[tuple[str, list[str]]]:
    """Names of stages with the names of their inputs, in an order in which every input comes first."""
    match shape:
        case "layered":
            return _layered(rng, stages)
        case "forkjoin":
            return _forkjoin(rng, stages)
        case "sensing":
            return _sensing(rng, stages)


def _layered(rng: Random, stages: int) -> list[tuple[str, list[str]]]:
    graph: list[tuple[str, list[str]]] = []
    above: list[str] = []
    while len(graph) < stages:
        layer = [f"s{len(graph) + i}" for i in range(min(rng.randint(1, 4), stages - len(graph)))]
        graph += [(name, sorted(rng.sample(above, min(len(above), rng.randint(1, 2))))) for name in layer]
        above = layer if rng.randrange(3) else [*above, *layer][-5:]
    return graph


def _forkjoin(rng: Random, stages: int) -> list[tuple[str, list[str]]]:
    graph: list[tuple[str, list[str]]] = []
    last: list[str] = []
    while len(graph) < stages:
        left = stages - len(graph)
        if not last or left < 3:
            name = f"step{len(graph)}"
            graph.append((name, last))
            last = [name]
            continue
        branches = [f"branch{len(graph) + i}" for i in range(rng.randint(2, min(4, left - 1)))]
        graph += [(name, last) for name in branches]
        last = [f"join{len(graph)}"]
        graph.append((last[0], branches))
    return graph


def _sensing(rng: Random, stages: int) -> list[tuple[str, list[str]]]:
    """Pipelines: a sensor, features that several models read, models of one or two stages, sometimes fused."""
    graph: list[tuple[str, list[str]]] = []
    while len(graph) < stages:
        p = len(graph)
        wanted: list[tuple[str, list[str]]] = [(f"sensor{p}", []), (f"features{p}", [f"sensor{p}"])]
        ends: list[str] = []
        for m in range(rng.randint(1, 3)):
            if rng.randrange(2):
                wanted += [(f"model{p}_{m}", [f"features{p}"])]
            else:
                wanted += [(f"trunk{p}_{m}", [f"features{p}"]), (f"model{p}_{m}", [f"trunk{p}_{m}"])]
            ends.append(f"model{p}_{m}")
        if len(ends) > 1 and rng.randrange(2):
            wanted.append((f"fuse{p}", ends))
        graph += wanted[: stages - len(graph)]
    return graph


def _stage(dice: _Dice, name: str, inputs: list[str], processors: tuple[str, ...]) -> StageModes:
    work = dice.rng.randint(5, 900)
    output = dice.size(100, 40_000)
    usable = [p for p in processors if dice.chance(80)] or [dice.rng.choice(processors)]
    if name.startswith("sensor") and dice.chance(70):
        usable = [processors[0]]
    modes = [mode for p in usable for mode in _modes(dice, p, work, output)]
    release = dice.size(0, 8_000) if dice.has("release") and (not inputs or dice.chance(20)) else 0
    return StageModes(name=name, release_us=release, inputs=tuple(inputs), modes=tuple(modes))


def _modes(dice: _Dice, processor: str, work: int, output: int) -> list[Mode]:
    """One to three variants of a stage on a processor: the smaller ones faster, cheaper and less accurate."""
    loss = dice.rng.randint(0, 20) * 100 if dice.has("variants") and dice.chance(20) else 0
    modes = []
    for variant in ("fp32", "int8", "tiny")[: dice.rng.randint(1, 3) if dice.has("variants") else 1]:
        duration = max(1, dice.size(80, 120) * work * _SPEED[_kind(processor)] // 100)
        duration = 1 + dice.rng.randrange(6) if dice.has("small") else duration
        energy = duration * _POWER_MW[_kind(processor)] * dice.rng.randint(80, 120) // 100
        modes.append(
            Mode(
                resource=processor,
                variant=variant,
                duration_us=duration,
                energy_nj=dice.rng.randrange(8) if dice.has("small") else energy,
                output_bytes=output,
                memory_bytes=dice.size(1_000, 900_000) if dice.has("memory") else 0,
                accuracy_loss_ppm=loss,
            )
        )
        work = max(1, work * 45 // 100)
        output = output // 4
        loss += dice.rng.choice((1_000, 2_000, 5_000, 10_000))
    return modes


def _resources(
    dice: _Dice, processors: tuple[str, ...], stages: list[StageModes], lanes: int | None
) -> tuple[Resource, ...]:
    most = {"dsp": 3, "cpu": 2, "gpu": 1, "cloud": 8} if dice.has("lanes") else {}
    resources = []
    for index, name in enumerate(processors):
        drawn = dice.rng.randint(1, most.get(_kind(name), 1))
        resources.append(_resource(dice, name, drawn if lanes is None else lanes, index == 0, stages))
    if "cloud" in processors:
        resources.append(_resource(dice, "wifi", 2 if dice.has("lanes") and dice.chance(30) else 1, False, stages))
    return tuple(resources)


def _resource(dice: _Dice, name: str, lanes: int, first: bool, stages: list[StageModes]) -> Resource:
    held = sum(max((m.memory_bytes for m in s.modes if m.resource == name), default=0) for s in stages)
    asleep = dice.has("wake") and not first and dice.chance(70)
    busy = dice.has("busy") and dice.chance(60)
    return Resource(
        name=name,
        lanes=lanes,
        # The field itself may be left out, which means all 0.
        **({"ready_us": tuple(dice.size(0, 12_000) for _ in range(lanes))} if busy else {}),
        awake=not asleep,
        wake_latency_us=dice.size(0, 20_000) if asleep else 0,
        wake_energy_nj=dice.size(0, 15_000_000) if asleep else 0,
        awake_mw=dice.size(5, 220, 3) if dice.has("power") and name != "cloud" else 0,
        memory_bytes=held * dice.rng.randint(25, 110) // 100 if dice.has("memory") and dice.chance(50) else None,
    )


def _links(dice: _Dice, processors: tuple[str, ...]) -> tuple[Link, ...]:
    links = []
    for source in processors:
        for target in processors:
            if source == target or (dice.has("gaps") and dice.chance(25)):
                continue
            radio = "cloud" in (source, target)
            rate = dice.rng.choice((500_000, 1_000_000, 2_000_000) if radio else (100_000_000, 1_000_000_000))
            rate = dice.rng.choice((700_000, 1_000_000, 3_000_000)) if dice.has("small") else rate
            links.append(
                Link(
                    source=source,
                    target=target,
                    latency_us=dice.size(8_000, 30_000, 2) if radio else dice.size(50, 600, 2),
                    bytes_per_s=None if dice.chance(15) else rate,
                    energy_nj=dice.size(100_000, 600_000, 3) if radio else dice.size(10_000, 60_000, 3),
                    energy_pj_per_byte=dice.rng.choice((0, 300, 900)) * (500 if radio and not dice.has("small") else 1),
                    resource="wifi" if radio else None,
                )
            )
    return tuple(links)


def _deadlines(dice: _Dice, urgency: Urgency, stages: list[StageModes]) -> tuple[Deadline, ...]:
    """Deadlines on some last stages and a few others, as a share of a rough guess at when each could end."""
    if urgency == "none":
        return ()
    ends: dict[str, int] = {}
    for stage in stages:
        ends[stage.name] = max(stage.release_us, max((ends[name] for name in stage.inputs), default=0)) + min(
            mode.duration_us for mode in stage.modes
        )
    read = {name for stage in stages for name in stage.inputs}
    work = sum(min(mode.duration_us for mode in stage.modes) for stage in stages)
    deadlines = []
    for stage in stages:
        if dice.chance(15 if stage.name in read else 75):
            guess = max(ends[stage.name], work // 3) * _DEADLINE_PERCENT[urgency] // 100
            deadlines.append(Deadline(stage=stage.name, deadline_us=guess, weight=dice.rng.randint(1, 3)))
    return tuple(deadlines)


def _budgets(dice: _Dice, stages: list[StageModes]) -> tuple[AccuracyBudget, ...]:
    if not dice.has("budget"):
        return ()
    budgets = []
    for _ in range(dice.rng.randint(1, 2)):
        names = [stage.name for stage in stages if dice.chance(70)]
        budgets.append(AccuracyBudget(stages=tuple(names), loss_ppm_max=dice.rng.randint(0, 25) * 1_000))
    return tuple(budgets)


def _limits(dice: _Dice, stages: list[StageModes]) -> dict[Criterion, int]:
    """Caps a little above what the cheapest or fastest modes alone would need: some bind, some cannot be met."""
    limits: dict[Criterion, int] = {}
    if not dice.has("limit"):
        return limits
    cheapest = sum(min(mode.energy_nj for mode in stage.modes) for stage in stages)
    fastest = sum(min(mode.duration_us for mode in stage.modes) for stage in stages)
    if dice.chance(60):
        limits["energy"] = cheapest * dice.rng.randint(100, 300) // 100 + dice.size(0, 30_000_000, 20)
    if dice.chance(40):
        limits["makespan"] = fastest * dice.rng.randint(50, 400) // 100 + dice.size(0, 20_000, 10)
    if dice.chance(30):
        limits["accuracy_loss"] = dice.rng.randint(0, 40) * 1_000
    if dice.chance(20):
        limits["tardiness"] = dice.size(0, 30_000, 10)
    return limits


def problems(max_stages: int = 6, *, features: Collection[Feature] | None = None) -> SearchStrategy[Problem]:
    """A hypothesis strategy of problems of 1 to `max_stages` stages. Raises `MissingExtraError` without hypothesis."""
    try:
        from hypothesis import strategies
    except ImportError:
        raise MissingExtraError("the strategy `problems`", "test") from None
    return strategies.builds(
        random_problem,
        strategies.integers(0, 2**32 - 1),
        stages=strategies.integers(1, max_stages),
        shape=strategies.sampled_from(SHAPES),
        features=strategies.none() if features is None else strategies.just(features),
    )
