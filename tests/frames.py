"""Small problems, plans and drivers that several tests share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random

from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.plan import Needs, Plan, make_plan
from leo_runtime.documents.problem import Link, Mode, Placement, Problem, Resource, StageModes
from leo_runtime.errors import SolverError
from leo_runtime.solver import solve
from leo_runtime.testing import FEATURES, random_problem

FREE = tuple(feature for feature in FEATURES if feature not in ("memory", "limit", "budget"))
"""Features that leave every problem with an answer."""


def answered(seed: int, *, stages: int = 7, solver: str = "greedy") -> tuple[Problem, Placement]:
    """A random problem and a valid answer to it; problems that the solver finds no answer to are drawn again."""
    rng = Random(seed)
    while True:
        problem = random_problem(
            rng, stages=stages, features=[feature for feature in FREE if rng.randrange(5) < 2], urgency="loose"
        )
        try:
            placement = solve(problem, solver)
        except SolverError:
            continue
        if placement.status != "infeasible":
            return problem, placement


def random_needs(problem: Problem, rng: Random) -> dict[str, Needs]:
    """Some inputs of some stages made gates, and some stages made content with part of their inputs."""
    needs = {}
    for stage in problem.stages:
        gates = tuple(name for name in stage.inputs if rng.randrange(4) == 0)
        reads = tuple(name for name in stage.inputs if name not in gates)
        needs[stage.name] = Needs(reads, gates, takes_absent=rng.randrange(3) == 0)
    return needs


def lanes_of(problem: Problem) -> dict[str, int]:
    return {resource.name: resource.lanes for resource in problem.resources}


def dispatcher_for(
    problem: Problem, release_us: int = 0, kind: type[Dispatcher] = Dispatcher, *, remote: Collection[str] = ()
) -> Dispatcher:
    """A dispatcher of the problem's machine, whose lanes are busy as the problem says; `remote` are servers."""
    ready = {r.name: tuple(release_us + at_us for at_us in r.ready_us) for r in problem.resources if r.ready_us}
    return kind(lanes_of(problem), ready_us=ready, remote=remote)


def asleep_in(problem: Problem) -> tuple[str, ...]:
    return tuple(resource.name for resource in problem.resources if not resource.awake)


def chain_problem(*, lanes: int = 1, stages: Mapping[str, tuple[str, ...]] | None = None) -> Problem:
    """Stages that take 10 us on `a`, 20 on `b` and 30 on `c`; links of 5 us between all of them."""
    graph = stages or {"first": (), "second": ("first",), "third": ("second",)}
    names = ("a", "b", "c")
    return Problem(
        format="leo-problem/1",
        name="chain",
        resources=tuple(Resource(name=name, lanes=lanes) for name in names),
        links=tuple(
            Link(source=source, target=target, latency_us=5) for source in names for target in names if source != target
        ),
        stages=tuple(
            StageModes(
                name=name,
                inputs=inputs,
                modes=tuple(
                    Mode(resource=where, duration_us=10 * (k + 1), energy_nj=100 * (k + 1), output_bytes=8)
                    for k, where in enumerate(names)
                ),
            )
            for name, inputs in graph.items()
        ),
    )


def planned(problem: Problem, solver: str = "heft", needs: Mapping[str, Needs] | None = None) -> Plan:
    return make_plan(problem, solve(problem, solver), needs)
