"""Laws that hold for every problem, whatever its optimum is."""

from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hash_seeds import printed_under_two_hash_seeds
from leo_runtime.documents.problem import Link, Mode, Placement, Problem, Resource
from leo_runtime.errors import DocumentError, SolverError
from leo_runtime.judge import check
from leo_runtime.schema import Document
from leo_runtime.solver import SOLVERS, lists, solve
from leo_runtime.solver.baselines import POLICIES
from leo_runtime.testing import problems, random_problem


def optimum(problem: Problem) -> tuple[int, ...] | None:
    """The proved criteria of the objective; None where there is no answer."""
    answer = solve(problem)
    assert answer.status != "feasible"
    return answer.bounds if answer.status == "optimal" else None


def no_worse(better: tuple[int, ...] | None, than: tuple[int, ...] | None) -> bool:
    return than is None or (better is not None and better <= than)


def renamed(value: Any, names: dict[str, str]) -> Any:
    """A document's values with every name replaced; keys, variants and criteria stay."""
    if isinstance(value, dict):
        return {key: renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


@settings(max_examples=40, deadline=None)
@given(problem=problems(6))
def test_new_names_keep_the_optimum(problem: Problem) -> None:
    old = [stage.name for stage in problem.stages] + [resource.name for resource in problem.resources]
    names = {name: f"z{len(old) - i} \u00e9 {name[::-1]}" for i, name in enumerate(old)}
    data = problem.model_dump(mode="json", exclude_defaults=True)
    assert optimum(Problem.from_dict(renamed(data, names))) == optimum(problem)


@settings(max_examples=60, deadline=None)
@given(problem=problems(7), seed=st.integers(0, 10**6))
def test_another_order_keeps_the_optimum(problem: Problem, seed: int) -> None:
    rng = Random(seed)

    def shuffled(parts: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(rng.sample(parts, len(parts)))

    stages = shuffled(
        tuple(
            stage.model_copy(update={"modes": shuffled(stage.modes), "inputs": shuffled(stage.inputs)})
            for stage in problem.stages
        )
    )
    resources = tuple(
        resource.model_copy(update={"ready_us": shuffled(resource.ready_us)}) if resource.ready_us else resource
        for resource in problem.resources
    )
    other = problem.model_copy(
        update={
            "resources": shuffled(resources),
            "links": shuffled(problem.links),
            "stages": stages,
            "deadlines": shuffled(problem.deadlines),
            "accuracy_budgets": shuffled(problem.accuracy_budgets),
        }
    )
    assert optimum(other) == optimum(problem)


@settings(max_examples=40, deadline=None)
@given(problem=problems(6), by=st.integers(1, 50_000))
def test_a_looser_deadline_never_worsens_the_optimum(problem: Problem, by: int) -> None:
    looser = tuple(d.model_copy(update={"deadline_us": d.deadline_us + by}) for d in problem.deadlines)
    assert no_worse(optimum(problem.model_copy(update={"deadlines": looser})), optimum(problem))


@settings(max_examples=40, deadline=None)
@given(problem=problems(5), seed=st.integers(0, 10**6))
def test_one_more_processor_never_worsens_the_optimum(problem: Problem, seed: int) -> None:
    rng = Random(seed)
    more = Resource(name="npu", lanes=rng.randint(1, 2), awake=False, wake_latency_us=rng.randrange(500))
    links = [
        Link(source=source, target=target, latency_us=rng.randrange(300), energy_nj=rng.randrange(10**5))
        for name in (resource.name for resource in problem.resources)
        for source, target in ((name, "npu"), ("npu", name))
    ]
    stages = tuple(
        stage.model_copy(
            update={
                "modes": (
                    *stage.modes,
                    Mode(resource="npu", duration_us=1 + rng.randrange(9000), energy_nj=rng.randrange(10**6)),
                )
            }
        )
        if rng.randrange(2)
        else stage
        for stage in problem.stages
    )
    richer = problem.model_copy(
        update={"resources": (*problem.resources, more), "links": (*problem.links, *links), "stages": stages}
    )
    assert no_worse(optimum(richer), optimum(problem))


@settings(max_examples=40, deadline=None)
@given(problem=problems(6), data=st.data())
def test_one_more_lane_never_worsens_the_optimum(problem: Problem, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(problem.resources) - 1))
    wide = problem.resources[at]
    ready = (*wide.ready_us, 0) if wide.ready_us else ()
    more = wide.model_copy(update={"lanes": wide.lanes + 1, "ready_us": ready})
    resources = (*problem.resources[:at], more, *problem.resources[at + 1 :])
    assert no_worse(optimum(problem.model_copy(update={"resources": resources})), optimum(problem))


@settings(max_examples=40, deadline=None)
@given(problem=problems(8), nodes=st.integers(0, 40))
def test_bound_exact_heuristic_are_in_order(problem: Problem, nodes: int) -> None:
    best = optimum(problem)
    for name in ("exact", "greedy", "heft"):
        try:
            answer = solve(problem, name, limit_nodes=nodes)
        except SolverError:
            continue
        assert check(problem, answer).ok
        if answer.criteria is not None:
            assert best is not None
            assert answer.bounds[0] <= best[0]
            assert best <= tuple(getattr(answer.criteria, criterion) for criterion in problem.objective)


def best_of_one_processor(problem: Problem) -> tuple[int, ...] | None:
    """The least criteria of everything on one processor, each proved by trying everything (else by `exact`)."""
    found = []
    for resource in problem.resources:
        stages = tuple(
            stage.model_copy(update={"modes": tuple(mode for mode in stage.modes if mode.resource == resource.name)})
            for stage in problem.stages
        )
        if all(stage.modes for stage in stages):
            there = problem.model_copy(update={"stages": stages})
            try:
                answer = solve(there, "exhaustive", limit_nodes=2000)
            except SolverError:
                answer = solve(there)
            if answer.status == "feasible":
                answer = solve(there)
            found += [answer.bounds] if answer.status == "optimal" else []
    return min(found, default=None)


PROMISING = [name for name in SOLVERS if name not in (*POLICIES, "exhaustive", "oracle")]
"""All but the policies, which answer what they say, and what tries everything, which promises nothing when cut short.
"""


@pytest.mark.parametrize("solver", PROMISING)
@settings(max_examples=200, deadline=None)
@given(problem=problems(6), nodes=st.sampled_from((None, 0, 3, 30)))
def test_no_answer_is_worse_than_the_best_of_one_processor(solver: str, problem: Problem, nodes: int | None) -> None:
    best = best_of_one_processor(problem)
    assume(best is not None)
    answer = solve(problem, solver, limit_nodes=nodes)
    assert answer.criteria is not None
    assert tuple(getattr(answer.criteria, name) for name in problem.objective) <= best


def survives(kind: type[Document], raw: bytes) -> None:
    """A document either loads, and then stays itself when written and read, or is refused with its place."""
    try:
        document = kind.from_json(raw, "changed.json")
    except DocumentError as error:
        assert str(error).startswith("changed.json: ")
        assert error.path.startswith("$")
        assert "\n" not in str(error)
        return
    assert kind.from_json(document.to_json()) == document


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 40), at=st.integers(0, 10**6), byte=st.integers(0, 255), placed=st.booleans())
def test_a_changed_byte_loads_or_is_refused_with_its_place(seed: int, at: int, byte: int, placed: bool) -> None:
    problem = random_problem(seed, stages=4)
    document: Document = solve(problem) if placed else problem
    raw = bytearray(document.to_json().encode())
    raw[at % len(raw)] = byte
    survives(Placement if placed else Problem, bytes(raw))


HASHED = """
from leo_runtime.errors import SolverError
from leo_runtime.solver import SOLVERS, solve
from leo_runtime.testing import random_problem

for seed in range(6):
    problem = random_problem(seed, stages=7 if seed else 4)
    print(problem.to_json())
    for name in SOLVERS:
        if name != "oracle":
            try:
                print(solve(problem, name, limit_nodes=2000, seed=7).model_copy(update={"solve_us": 0}).to_json())
            except SolverError as error:
                print(error)
"""


@pytest.mark.once
def test_answers_do_not_depend_on_the_hash_seed() -> None:
    first, second = printed_under_two_hash_seeds(HASHED)
    assert len(first) > 10_000
    assert first == second


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "oracle"])
def test_the_same_seed_gives_the_same_answer(solver: str) -> None:
    problem = random_problem(17, stages=7, features=("lanes", "wake"), urgency="tight")
    first, second = (solve(problem, solver, limit_nodes=3000, seed=5) for _ in range(2))
    assert first.model_copy(update={"solve_us": 0}) == second.model_copy(update={"solve_us": 0})


def test_beyond_what_is_searched_to_the_end_local_search_finds_more_on_one_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = random_problem(
        17, stages=30, features=("lanes", "wake"), urgency="late", objective=("tardiness", "energy"), processors=1
    )
    answer = solve(problem, "single")
    assert not check(problem, answer).violations
    monkeypatch.setattr(lists, "ALONE_FROM", 1000)
    before = solve(problem, "single")
    assert answer.criteria is not None and before.criteria is not None
    assert answer.criteria.tardiness < before.criteria.tardiness
