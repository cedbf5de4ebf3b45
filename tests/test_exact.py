"""The exact solver: against trying everything, compiled against interpreted, its limits and its bounds."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Link, Mode, Placement, Problem, Resource, StageModes
from leo_runtime.errors import SolverError
from leo_runtime.judge import check
from leo_runtime.solver import solve
from leo_runtime.solver.compiled import Compiled, clause_search
from leo_runtime.solver.exact import answer
from leo_runtime.testing import problems, random_problem


def values(problem: Problem, placement: Placement) -> list[int] | None:
    """The criteria in the objective's order, or None where there is no answer."""
    criteria = placement.criteria
    return None if criteria is None else [getattr(criteria, name) for name in problem.objective]


def answers(problem: Problem, limit_nodes: int | None = None, seed: int = 0) -> list[Placement]:
    """The exact solver's answers by the compiled (where it is) and by the interpreted kernel, without their times."""
    compiled = Compiled(problem)
    both = []
    for interpreted in (False, True):
        kernel = compiled.kernel(by_interpreter=interpreted)
        found = answer(compiled, kernel, 0, limit_ms=None, limit_nodes=limit_nodes, seed=seed)
        both.append(found.model_copy(update={"solve_us": 0}))
    return both


@settings(max_examples=60, deadline=None)
@given(problems(4))
def test_it_is_as_good_as_trying_everything(problem: Problem) -> None:
    exact, tried = solve(problem), solve(problem, "exhaustive")
    assert exact.status == tried.status
    assert values(problem, exact) == values(problem, tried)
    assert not check(problem, exact).violations


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([1, 5, 50, None]))
def test_compiled_and_interpreted_answers_are_equal_also_where_a_limit_bites(seed, stages, limit) -> None:  # type: ignore[no-untyped-def]
    problem = random_problem(seed, stages=stages)
    try:
        first, second = answers(problem, limit)
    except SolverError:
        return
    assert first == second
    assert not check(problem, first).violations


@pytest.mark.parametrize("seed", range(8))
def test_bounds_hold_at_every_stop_and_meet_the_value_in_the_end(seed: int) -> None:
    features = ("lanes", "wake", "variants", "cloud")
    problem = random_problem(seed, stages=9, features=features, urgency="tight", objective=("tardiness", "energy"))
    best = solve(problem)
    optimum = values(problem, best)
    assert best.status == "optimal" and optimum == list(best.bounds)
    for limit in (1, 3, 10, 30, 100):
        stopped = solve(problem, limit_nodes=limit)
        found = values(problem, stopped)
        assert found is not None and found >= optimum
        assert stopped.bounds[0] <= optimum[0]
        if found[0] == optimum[0]:
            assert stopped.bounds[1] <= optimum[1]
        assert stopped.status == "optimal" or list(stopped.bounds) != found


def test_a_wall_time_limit_gives_an_answer_that_claims_no_more_than_it_knows() -> None:
    problem = random_problem(3, stages=30, urgency="late", features=("lanes",), objective=("tardiness", "energy"))
    placement = solve(problem, limit_ms=0)
    assert placement.status == "feasible"
    assert placement.criteria is not None and placement.bounds[0] < placement.criteria.tardiness
    assert not check(problem, placement).violations


@pytest.mark.parametrize("seed", range(6))
def test_numbers_beyond_64_bits_are_answered_exactly(seed: int) -> None:
    problem = random_problem(seed, stages=5, features=("lanes", "wake", "power"), objective=("tardiness", "energy"))
    heavier = 10**13
    scaled = problem.model_copy(
        update={
            "deadlines": tuple(d.model_copy(update={"weight": d.weight * heavier}) for d in problem.deadlines),
            "resources": tuple(r.model_copy(update={"awake_mw": r.awake_mw * 10**12}) for r in problem.resources),
        }
    )
    assert Compiled(scaled).wide or not problem.deadlines
    placement = solve(scaled)
    assert placement.status == "optimal"
    assert not check(scaled, placement).violations
    assert values(scaled, placement) == values(scaled, solve(scaled, "exhaustive"))
    assert placement.bounds[0] == heavier * solve(problem).bounds[0]


def in_turn(took: list[int], due: list[int]) -> Problem:
    """One lane, a job of so many us for each deadline, and in front of every job but the first one that it shares."""
    stages = [{"name": "shared", "modes": [{"resource": "cpu", "duration_us": 7, "energy_nj": 1}]}]
    stages += [
        {
            "name": f"job{j}",
            "inputs": ["shared"] if j else [],
            "modes": [{"resource": "cpu", "duration_us": us, "energy_nj": 1}],
        }
        for j, us in enumerate(took)
    ]
    return Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "in turn",
            "resources": [{"name": "cpu"}],
            "stages": stages,
            "deadlines": [{"stage": f"job{j}", "deadline_us": us, "weight": 1 + j % 3} for j, us in enumerate(due)],
            "objective": ["tardiness"],
        }
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 60)), min_size=1, max_size=5))
def test_late_work_on_one_lane_is_settled_by_the_order_of_its_deadlines(jobs: list[tuple[int, int]]) -> None:
    problem = in_turn([took for took, _ in jobs], [due for _, due in jobs])
    least = list(solve(problem, "exhaustive").bounds)
    kernel = Compiled(problem).kernel()
    kernel.root()
    assert kernel.bounds <= least
    assert least == [0] or (kernel.root(1) == 2 and kernel.bounds == least)
    assert list(solve(problem).bounds) == least


def test_late_stages_on_one_lane_are_proved_at_the_root() -> None:
    problem = in_turn([5 + 7 * j % 23 for j in range(8)], [13 * j % 41 for j in range(8)])
    kernel = Compiled(problem).kernel()
    assert kernel.root(1) == 2
    assert kernel.best()[0] == kernel.bounds[0] > 0


@settings(max_examples=60, deadline=None)
@given(problems(7))
def test_what_is_proved_is_what_was_found(problem: Problem) -> None:
    best = solve(problem)
    assert best.status == "infeasible" or list(best.bounds) == values(problem, best)


@pytest.mark.parametrize("lanes", [1, 3, 12, 16])
def test_any_number_of_lanes(lanes: int) -> None:
    """With ten and more, all they could ever do does not fit into 64 bits."""
    ways = [
        {"resource": "cpu", "duration_us": 5, "energy_nj": 9},
        {"resource": "cpu", "variant": "small", "duration_us": 7, "energy_nj": 4},
        {"resource": "many", "duration_us": 3, "energy_nj": 2},
        {"resource": "many", "variant": "small", "duration_us": 4, "energy_nj": 1},
    ]
    problem = Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "lanes",
            "resources": [{"name": "cpu"}, {"name": "many", "lanes": lanes, "awake_mw": 1}, {"name": "far"}],
            "links": [
                {"source": "many", "target": "cpu"},
                {"source": "cpu", "target": "many"},
                {"source": "cpu", "target": "far", "resource": "many"},
            ],
            "stages": [{"name": f"s{i}", "modes": ways if i % 3 else ways[:3:2]} for i in range(4)]
            + [{"name": "end", "inputs": ["s0"], "modes": [ways[1], ways[1] | {"resource": "far", "energy_nj": 0}]}],
            "objective": ["energy", "makespan"],
        }
    )
    tried = solve(problem, "exhaustive")
    assert solve(problem).bounds == tried.bounds
    for by_interpreter in (False, True):
        kernel = Compiled(problem).kernel(by_interpreter=by_interpreter)
        kernel.climb(1, 0)
        search = clause_search(kernel, lasting=True)
        assert search.search(1 << 60) == 2
        assert tuple(kernel.bounds) == tried.bounds


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("readers", [1, 3])
def test_the_root_knows_what_modes_and_sendings_cost_together(seed: int, readers: int) -> None:
    rng = Random(seed)
    names = ("dsp", "cpu", "gpu", "npu")
    count = 30 if readers == 1 else 21  # Trees of 30 take seconds to prove.
    energy = [[rng.randrange(1, 1000) for _ in names] for _ in range(count)]
    sending = {(a, b): rng.randrange(1, 800) for a in range(4) for b in range(4) if a != b}
    # A chain; with three readers every stage is read by the next, and by two that end there.
    inputs = {i: [i - 1] if readers == 1 else [(i - 1) // 3 * 3] for i in range(1, count)}
    problem = Problem(
        format="leo-problem/1",
        name="chain",
        resources=tuple(Resource(name=name) for name in names),
        links=tuple(Link(source=names[a], target=names[b], energy_nj=nj) for (a, b), nj in sending.items()),
        stages=tuple(
            StageModes(
                name=f"s{i}",
                inputs=tuple(f"s{j}" for j in inputs.get(i, ())),
                modes=tuple(Mode(resource=name, duration_us=1, energy_nj=energy[i][k]) for k, name in enumerate(names)),
            )
            for i in range(count)
        ),
        objective=("energy",),
    )
    best = solve(problem)
    assert best.status == "optimal" and best.criteria is not None
    bound = solve(problem, limit_nodes=0).bounds[0]
    if readers == 1:
        # The least over the places of each stage in turn is the optimum.
        least = energy[0]
        for own in energy[1:]:
            least = [own[k] + min(least[a] + sending.get((a, k), 0) for a in range(4)) for k in range(4)]
        assert bound == best.criteria.energy == min(least)
    else:
        cheapest = sum(min(own) for own in energy)
        assert cheapest < bound <= best.criteria.energy
