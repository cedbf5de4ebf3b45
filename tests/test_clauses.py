"""The search that learns, on its own: against trying everything, compiled against interpreted, short of room."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Problem
from leo_runtime.judge import check
from leo_runtime.solver import solve
from leo_runtime.solver.compiled import Compiled, clause_search, interpreted
from leo_runtime.solver.replan import Shape
from leo_runtime.solver.search import clauses
from leo_runtime.testing import Urgency, problems, random_problem


def searched(problem: Problem, *, by_interpreter: bool, moves: int = 0, limit: int = 1 << 60) -> tuple[Any, Any, int]:
    """A kernel with what local search of so many moves finds, the search that began from it, and how that ended."""
    kernel = Compiled(problem).kernel(by_interpreter=by_interpreter)
    if moves:
        kernel.climb(moves, 0)
    search = clause_search(kernel)
    return kernel, search, search.search(limit)


def values(problem: Problem, kernel: Any) -> list[int] | None:
    """The criteria of the kernel's answer in the objective's order, or None where there is no answer."""
    if not kernel.found:
        return None
    result = dict(zip(("tardiness", "energy", "makespan", "accuracy_loss"), kernel.best()[:4], strict=True))
    return [result[name] for name in problem.objective]


@settings(max_examples=60, deadline=None)
@given(problems(4), st.booleans())
def test_it_is_as_good_as_trying_everything(problem: Problem, by_interpreter: bool) -> None:
    kernel, _, ended = searched(problem, by_interpreter=by_interpreter)
    tried = solve(problem, "exhaustive")
    assert ended == 2
    assert kernel.found == (tried.criteria is not None)
    if tried.criteria is not None:
        assert values(problem, kernel) == [getattr(tried.criteria, name) for name in problem.objective]
        assert values(problem, kernel) == kernel.bounds


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0, 100]), st.sampled_from([3, 40, 1 << 60]))
def test_compiled_and_interpreted_do_the_same(seed: int, stages: int, moves: int, limit: int) -> None:
    problem = random_problem(seed, stages=stages)
    ends = []
    for by_interpreter in (False, True):
        kernel, search, ended = searched(problem, by_interpreter=by_interpreter, moves=moves, limit=limit)
        ends.append((ended, search.nodes, search.conflicts, kernel.bounds, kernel.best() if kernel.found else None))
    assert ends[0] == ends[1]


def hard(stages: int, urgency: Urgency) -> Problem:
    """One of the few random problems so small that take it hundreds of conflicts."""
    objective = ("tardiness", "energy")
    return random_problem(
        22, stages=stages, features=("lanes", "wake", "variants"), urgency=urgency, objective=objective
    )


def test_a_limit_stops_it_and_more_nodes_go_on_to_the_proof() -> None:
    problem = hard(10, "impossible")
    kernel, search, ended = searched(problem, by_interpreter=False, moves=10, limit=20)
    assert ended == 1 and search.nodes <= 22
    assert search.search(1 << 60) == 2 and search.nodes > 22
    assert values(problem, kernel) == list(solve(problem).bounds)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 10), st.integers(0, 120))
def test_the_bound_at_a_stop_is_true(seed: int, stages: int, limit: int) -> None:
    problem = random_problem(seed, stages=stages)
    kernel, _, ended = searched(problem, by_interpreter=False, moves=20, limit=limit)
    best = values(problem, kernel)
    if ended == 1 and best is not None:
        for found, bound, least in zip(best, kernel.bounds, solve(problem).bounds, strict=True):
            assert bound <= least <= found
            if bound < found:
                # What comes after is of answers as good as this one, not of the best.
                break


def test_what_lanes_cannot_carry_needs_no_search() -> None:
    """Ten stages on one lane, most with several modes there: their shortest durations add up to the makespan."""
    problem = random_problem(177, stages=10)
    kernel, search, ended = searched(problem, by_interpreter=False, moves=120)
    assert problem.objective[0] == "makespan" and len(problem.resources) == 1
    assert ended == 2 and search.conflicts < 30
    assert kernel.root() == 1 and kernel.bounds[0] == kernel.best()[2] == 33


def test_a_stop_leaves_a_better_bound_than_the_root_has() -> None:
    features = ("lanes", "wake", "variants")
    problem = random_problem(3, stages=10, features=features, urgency="tight", objective=("tardiness", "energy"))
    kernel = Compiled(problem).kernel()
    kernel.climb(100, 0)
    assert kernel.root(1) == 1
    root = kernel.bounds[0]
    assert clause_search(kernel).search(40) == 1
    assert root < kernel.bounds[0] < kernel.best()[0]


@pytest.mark.parametrize(("stages", "urgency"), [(10, "impossible"), (12, "impossible")])
def test_short_of_room_it_forgets_and_still_proves_the_same(
    stages: int, urgency: Urgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = hard(stages, urgency)
    expected = values(problem, searched(problem, by_interpreter=False)[0])
    forgotten = []
    source = interpreted("clauses")
    forget = source.ClauseSearch._forget

    def noted(search: Any) -> None:
        before = search.store_size
        forget(search)
        forgotten.append(before - search.store_size)

    monkeypatch.setattr(source.ClauseSearch, "_forget", noted)
    monkeypatch.setattr(interpreted("learning"), "STORE", 3000)
    assert values(problem, searched(problem, by_interpreter=True)[0]) == expected
    assert max(forgotten) > 0


def test_without_room_for_reasons_it_stops_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = hard(10, "impossible")
    monkeypatch.setattr(interpreted("propagation"), "ARENA", 100)
    kernel, _, ended = searched(problem, by_interpreter=True, moves=10)
    assert ended == 1 and kernel.found


def test_confined_it_finds_the_best_of_one_processor() -> None:
    problem = random_problem(9, stages=6, features=("lanes", "wake", "variants"), urgency="late")
    compiled = Compiled(problem)
    kernel = compiled.kernel()
    whole = kernel.processors[0]
    kernel.confine(whole)
    assert clause_search(kernel).search(1 << 60) == 2
    name = compiled.resources[whole]
    stages = tuple(
        stage.model_copy(update={"modes": tuple(mode for mode in stage.modes if mode.resource == name)})
        for stage in problem.stages
    )
    assert values(problem, kernel) == list(solve(problem.model_copy(update={"stages": stages})).bounds)


def test_stopped_and_asked_again_it_goes_on_with_what_it_learned() -> None:
    problem = hard(12, "impossible")
    kernel, search, _ = searched(problem, by_interpreter=False)
    in_one_go, least = search.conflicts, kernel.bounds
    kernel = Compiled(problem).kernel()
    search, taken, ended = clause_search(kernel), 0, 1
    while ended == 1:
        ended = search.search(100)
        taken += search.conflicts
        assert taken < 4 * in_one_go
    assert kernel.bounds == least


def test_searches_one_after_the_other_share_one_block_of_memory() -> None:
    kernel = Compiled(hard(10, "late")).kernel()
    clause_search(kernel)
    spare = list(clauses._spare)
    for _ in range(20):
        clause_search(kernel)
    assert len(clauses._spare) == len(spare)
    # None at all where the search is interpreted: lists are made anew.
    assert all(any(block is before for before in spare) for block in clauses._spare)


def wide_open(modes: int) -> Problem:
    """One stage with very many modes under a memory cap, and one that reads it."""
    costs = [
        {"resource": "cpu", "variant": f"v{m}", "duration_us": 1 + m, "energy_nj": 1 + m % 7} for m in range(modes)
    ]
    return Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "wide open",
            "resources": [{"name": "cpu", "memory_bytes": 10}, {"name": "dsp", "lanes": 2}],
            "links": [{"source": "cpu", "target": "dsp"}],
            "stages": [
                {"name": "first", "modes": costs},
                {
                    "name": "second",
                    "inputs": ["first"],
                    "modes": [{"resource": "dsp", "duration_us": 5, "energy_nj": 3}],
                },
            ],
            "deadlines": [{"stage": "second", "deadline_us": 3}],
            "objective": ["energy", "tardiness"],
        }
    )


@pytest.mark.parametrize("by_interpreter", [False, True])
def test_a_stage_may_have_hundreds_of_modes(by_interpreter: bool) -> None:
    problem = wide_open(300)
    kernel, _, ended = searched(problem, by_interpreter=by_interpreter)
    assert ended == 2 and values(problem, kernel) == [4, 3]


def test_what_is_too_large_for_it_is_left_to_branch_and_bound() -> None:
    problem = random_problem(
        1, stages=1200, features=("lanes", "wake"), urgency="loose", objective=("tardiness", "energy")
    )
    compiled = Compiled(problem)
    assert clause_search(compiled.kernel()).too_large
    answer = solve(problem, "lns", limit_ms=200)
    assert answer.criteria is not None and not check(problem, answer).violations


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.booleans())
def test_what_is_written_down_has_the_room_it_needs(seed: int, stages: int, lasting: bool) -> None:
    """Compiled, nothing would say so."""
    kernel = Compiled(random_problem(seed, stages=stages)).kernel(by_interpreter=True)
    search = clause_search(kernel, lasting=lasting)
    for counted in ("vars", "mins", "sums", "terms"):
        assert getattr(search, counted) <= getattr(search, f"{counted}_max"), counted
    assert search.static_size <= search.static_max
    assert search.act_first[kernel.r] <= search.acts_max
    assert search.vars - search.order_start <= search.orders_max
    assert search.told_first[2 * search.vars] <= len(search.told)
    assert search.rules <= len(search.queued)


def changed(problem: Problem, rng: Random) -> Problem:
    """The same stages with lanes ready at other times, others asleep, and links that take and cost otherwise."""
    factor = (0, 0.5, 1, 1, 3)
    resources = tuple(
        resource.model_copy(
            update={
                "ready_us": tuple(rng.choice((0, rng.randrange(20_000))) for _ in range(resource.lanes)),
                "awake": rng.random() < 0.7,
            }
        )
        for resource in problem.resources
    )
    links = tuple(
        link.model_copy(
            update={
                "latency_us": int(link.latency_us * rng.choice(factor)),
                "bytes_per_s": rng.choice((None, link.bytes_per_s, 10_000, 10_000_000)),
                "energy_nj": int(link.energy_nj * rng.choice(factor)),
                "energy_pj_per_byte": int(link.energy_pj_per_byte * rng.choice(factor)),
            }
        )
        for link in problem.links
    )
    return problem.model_copy(update={"resources": resources, "links": links})


def in_turn(problems: list[Problem], *, by_interpreter: bool) -> list[tuple[Any, ...]]:
    """How a search that goes from problem to problem ends in each: what it proves, and after how many nodes."""
    search, ends = None, []
    for problem in problems:
        kernel = Compiled(problem).kernel(by_interpreter=by_interpreter)
        kernel.climb(20, 0)
        if search is None:
            search = clause_search(kernel, lasting=True)
        else:
            search.turn_to(kernel)
        known = search.recall() if kernel.found else 1
        ended = known if known == 2 else search.search(1 << 60)
        ends.append((ended, known, search.nodes, values(problem, kernel), kernel.bounds))
    return ends


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(2, 9))
def test_what_was_learned_of_one_problem_is_true_of_the_next(seed: int, stages: int, count: int) -> None:
    rng = Random(seed)
    first = random_problem(rng, stages=stages)
    problems = [changed(first, rng) for _ in range(count)]
    ends = in_turn(problems, by_interpreter=False)
    assert ends == in_turn(problems, by_interpreter=True)
    for problem, (ended, _, _, found, bounds) in zip(problems, ends, strict=True):
        anew = solve(problem, "exact")
        assert ended == 2
        assert found == (None if anew.criteria is None else list(anew.bounds))
        assert found is None or found == bounds


def test_the_same_problem_again_needs_no_search() -> None:
    compiled = Compiled(hard(10, "impossible"))
    first, again = compiled.kernel(), compiled.kernel()
    search = clause_search(first, lasting=True)
    assert search.search(1 << 60) == 2 and search.conflicts > 50
    shape = Shape(compiled)
    shape.note(first)
    again.follow(*shape.answers[0])
    search.turn_to(again)
    assert again.found and again.best() == first.best()
    assert search.recall() == 2 and again.bounds == first.bounds


@pytest.mark.parametrize("seed", range(6))
def test_states_that_come_and_go_are_not_taken_for_each_other(seed: int) -> None:
    """What was learned in two of them holds where both do, which is not where the later of them does."""
    rng = Random(seed)
    features = ("lanes", "wake", "variants", "cloud")
    first = random_problem(rng, stages=9, features=features, urgency="late", objective=("tardiness", "energy"))
    states = [changed(first, rng) for _ in range(4)]
    problems = [rng.choice(states) if rng.random() < 0.7 else changed(first, rng) for _ in range(40)]
    for problem, (ended, _, _, found, _) in zip(problems, in_turn(problems, by_interpreter=False), strict=True):
        assert ended == 2 and found == list(solve(problem).bounds)


def test_what_recalling_saw_of_one_criterion_is_not_taken_for_another() -> None:
    """Here nothing is known of tardiness, but the root proves it: the search begins with energy."""
    features = ("lanes", "wake", "variants", "cloud")
    problem = random_problem(405, stages=7, features=features, urgency="late", objective=("tardiness", "energy"))
    ((ended, known, _, found, _),) = in_turn([problem], by_interpreter=False)
    assert (ended, known) == (2, 1)
    assert found == list(solve(problem).bounds)


def test_without_room_nothing_is_recalled() -> None:
    kernel = Compiled(hard(10, "impossible")).kernel(by_interpreter=True)
    search = clause_search(kernel, lasting=True)
    assert search.search(1 << 60) == 2 and search.recall() == 2
    search.reasons_max = 0
    assert search.recall() == 1


@pytest.mark.parametrize("short", [{"LASTING": 300}, {"STATES": 3}, {"RUNS": 12, "SPARE_RUNS": 6}])
def test_what_is_forgotten_between_problems_is_learned_again(
    short: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in short.items():
        monkeypatch.setattr(interpreted("lasting"), name, value)
    rng = Random(3)
    first = random_problem(rng, stages=6, features=("lanes", "wake", "variants", "cloud"), urgency="medium")
    problems = [changed(first, rng) for _ in range(12)]
    for problem, (ended, _, _, found, _) in zip(problems, in_turn(problems, by_interpreter=True), strict=True):
        assert ended == 2 and found == list(solve(problem).bounds)


def with_twins(rng: Random, problem: Problem) -> Problem:
    """The problem with one stage, and what is computed for it alone, there two or three times over."""
    twin = rng.choice(problem.stages)
    private = {
        name for name in twin.inputs if [stage.name for stage in problem.stages if name in stage.inputs] == [twin.name]
    }
    stages, deadlines, budgets = list(problem.stages), list(problem.deadlines), list(problem.accuracy_budgets)
    for number in range(rng.randint(1, 2)):
        renamed = {name: f"{name} again {number}" for name in (twin.name, *private)}
        stages = [
            stage.model_copy(update={"inputs": (*stage.inputs, renamed[twin.name])})
            if twin.name in stage.inputs
            else stage
            for stage in stages
        ]
        stages += [
            stage.model_copy(
                update={
                    "name": renamed[stage.name],
                    "inputs": tuple(renamed.get(name, name) for name in stage.inputs),
                }
            )
            for stage in problem.stages
            if stage.name in renamed
        ]
        deadlines += [
            deadline.model_copy(update={"stage": renamed[deadline.stage]})
            for deadline in problem.deadlines
            if deadline.stage in renamed
        ]
        budgets = [
            budget.model_copy(update={"stages": (*budget.stages, *(renamed[n] for n in budget.stages if n in renamed))})
            for budget in budgets
        ]
    changes = {"stages": tuple(stages), "deadlines": tuple(deadlines), "accuracy_budgets": tuple(budgets)}
    return problem.model_copy(update=changes)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans())
def test_one_order_of_equal_stages_is_enough(seed: int, stages: int, by_interpreter: bool) -> None:
    rng = Random(seed)
    problem = with_twins(rng, random_problem(rng, stages=stages))
    kernel, _, ended = searched(problem, by_interpreter=by_interpreter)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreted("clauses").ClauseSearch, "_alike", lambda *_: 0)
        unaware, _, also = searched(problem, by_interpreter=True)
    assert ended == also == 2
    assert values(problem, kernel) == values(problem, unaware)


def test_the_parts_of_a_cut_stage_are_not_permuted() -> None:
    parts = [f"part{number}" for number in range(10)]
    modes = {"dsp": 21_000, "cpu": 5_300, "gpu": 2_700}
    problem = Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "cut",
            "resources": [{"name": "dsp"}, {"name": "cpu", "lanes": 2}, {"name": "gpu"}],
            "links": [{"source": a, "target": b, "latency_us": 120} for a in modes for b in modes if a != b],
            "stages": [
                {
                    "name": name,
                    "inputs": inputs,
                    "modes": [
                        {"resource": resource, "duration_us": took, "energy_nj": 10**9 // took, "output_bytes": 500}
                        for resource, took in modes.items()
                    ],
                }
                for name, inputs in (("whole", []), *((part, ["whole"]) for part in parts), ("join", parts))
            ],
            "deadlines": [{"stage": "join", "deadline_us": 24_000}],
            "objective": ["tardiness", "energy"],
        }
    )
    kernel, search, ended = searched(problem, by_interpreter=False, moves=200)
    assert ended == 2 and search.nodes < 5_000
    assert values(problem, kernel) == kernel.bounds
    # The first of them holds the weights of all: without a cap, memory tells no stages apart.
    first = problem.stages[1]
    holder = first.model_copy(update={"modes": tuple(m.model_copy(update={"memory_bytes": 9}) for m in first.modes)})
    uneven = problem.model_copy(update={"stages": (problem.stages[0], holder, *problem.stages[2:])})
    assert searched(uneven, by_interpreter=False, moves=200)[1].nodes == search.nodes
