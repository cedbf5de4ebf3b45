"""Windows drawn at random, for tests, benches and authors of solvers: every feature of `leo-problem/2`."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from leo_runtime.documents.problem import CRITERIA, Problem, Resource, StageModes
from leo_runtime.documents.window import CERTAIN, WindowProblem, WindowResource, WindowStage
from leo_runtime.errors import MissingExtraError
from leo_runtime.testing.problems import FEATURES, Feature, random_problem

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

WindowFeature = Literal["gates", "releases", "linger", "tail", "rest", "never"]

WINDOW_FEATURES: tuple[WindowFeature, ...] = get_args(WindowFeature)
"""`gates` stages that may not run; `releases` several releases; `linger` resources that stay awake for a while; `tail`
at less power than in use; `rest` what is awake at the start may be so from an earlier use; `never` some never sleep."""

_CHANCES = (0, 1, 5, 10, 20, 50, 70, 90, 100)
"""How likely a gated stage is to run, in percent of the most it can be."""


def random_window(
    seed: int | Random,
    *,
    stages: int = 5,
    processors: int | None = None,
    features: Collection[Feature | WindowFeature] | None = None,
) -> WindowProblem:
    """A window of exactly `stages` stages, the same for the same arguments. It may be infeasible.

    It is a problem of `leo_runtime.testing.random_problem`, to which gates, releases and lingering are added. Features
    of both kinds that are not given are drawn, as is the number of processors (one to three) besides the cloud.
    """
    rng = seed if isinstance(seed, Random) else Random(seed)
    drawn = [feature for feature in WINDOW_FEATURES if rng.randrange(3)] + [
        f for f in FEATURES if rng.randrange(4) == 0
    ]
    has = frozenset(drawn if features is None else features)
    objective = tuple(rng.sample(CRITERIA, rng.randint(1, 4))) if rng.randrange(4) == 0 else ("tardiness", "energy")
    problem = random_problem(
        rng,
        stages=stages,
        features=[feature for feature in FEATURES if feature in has],
        processors=processors,
        objective=objective,
    )
    work_us = sum(min(mode.duration_us for mode in stage.modes) for stage in problem.stages)
    releases = [0]
    if "releases" in has:
        releases += sorted(rng.sample(range(1, 3 + 2 * work_us), rng.randint(1, min(3, 2 + 2 * work_us))))
    horizon_us = releases[-1] + 1 + rng.randrange(2 + 2 * work_us)
    named = "".join(f"+{feature}" for feature in WINDOW_FEATURES if feature in has)
    return WindowProblem(
        format="leo-problem/2",
        name=problem.name + named,
        horizon_us=horizon_us,
        releases_us=tuple(releases),
        resources=tuple(_resource(rng, has, resource, work_us) for resource in problem.resources),
        links=problem.links,
        stages=_stages(rng, has, problem, releases),
        deadlines=problem.deadlines,
        accuracy_budgets=problem.accuracy_budgets,
        limits=problem.limits,
        objective=problem.objective,
    )


def _resource(rng: Random, has: Collection[str], resource: Resource, work_us: int) -> WindowResource:
    """The resource with its lingering, and what waking it again costs; times are about those of the work."""
    data = resource.model_dump(exclude_unset=True)
    if resource.awake and ("never" in has and rng.randrange(3) == 0):
        return WindowResource.model_validate({**data, "linger_us": None})
    small = "small" in has
    if resource.awake:
        data["wake_latency_us"] = rng.randint(0, 4) if small else rng.randint(0, 2 + work_us // 4)
        data["wake_energy_nj"] = rng.randint(0, 9) if small else rng.randint(0, 3_000_000)
    if resource.awake_mw == 0 and "linger" in has:
        data["awake_mw"] = rng.randint(1, 4) if small else rng.randint(1, 300)
    if "linger" in has and rng.randrange(4):
        data["linger_us"] = rng.randrange(2 + work_us)
    if "tail" in has and rng.randrange(2):
        data["linger_mw"] = rng.randint(0, data.get("awake_mw", 0))
    if "rest" in has and resource.awake and rng.randrange(2):
        data["awake_until_us"] = rng.randrange(2 + work_us)
    return WindowResource.model_validate(data)


def _stages(rng: Random, has: Collection[str], problem: Problem, releases: list[int]) -> tuple[WindowStage, ...]:
    """The stages in the problem's order, each with its gates, chance and release."""
    made: dict[str, WindowStage] = {}
    while len(made) < len(problem.stages):
        for stage in problem.stages:
            if stage.name not in made and all(name in made for name in stage.inputs):
                made[stage.name] = _stage(rng, has, stage, made, releases)
    return tuple(made[stage.name] for stage in problem.stages)


def _stage(
    rng: Random, has: Collection[str], stage: StageModes, made: dict[str, WindowStage], releases: list[int]
) -> WindowStage:
    release = max((made[name].release_us for name in stage.inputs), default=rng.choice(releases))
    gates: tuple[str, ...] = ()
    chance = CERTAIN
    if "gates" in has and stage.inputs and rng.randrange(4):
        gates = tuple(rng.sample(stage.inputs, 1 if rng.randrange(3) else min(2, len(stage.inputs))))
        chance = min(CERTAIN, sum(made[gate].chance_ppm for gate in gates)) * rng.choice(_CHANCES) // 100
    return WindowStage(
        name=stage.name,
        release_us=max(release, stage.release_us),
        inputs=stage.inputs,
        modes=stage.modes,
        gates=gates,
        chance_ppm=chance,
    )


def windows(max_stages: int = 4) -> SearchStrategy[WindowProblem]:
    """A hypothesis strategy of windows of 1 to `max_stages` stages. Raises `MissingExtraError` without hypothesis."""
    try:
        from hypothesis import strategies
    except ImportError:
        raise MissingExtraError("the strategy `windows`", "test") from None
    return strategies.builds(
        random_window,
        strategies.integers(0, 2**32 - 1),
        stages=strategies.integers(1, max_stages),
        processors=strategies.integers(1, 2),
    )
