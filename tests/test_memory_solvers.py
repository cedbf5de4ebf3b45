"""Questions with weights: the solvers agree, and laws that hold whatever the optimum is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hash_seeds import printed_under_two_hash_seeds
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Problem
from leo_runtime.errors import InputError, SolverError
from leo_runtime.judge.memory import check_memory
from leo_runtime.report.answer import bars
from leo_runtime.solver import SOLVERS, memory_oracle, solve
from leo_runtime.solver.explain import explain
from leo_runtime.solver.memory import MEMORY_SOLVERS
from leo_runtime.solver.memory_frames import Stay, _ways
from leo_runtime.testing.memories import random_memory_problem, serial_us

SEARCHING = ("exact", "greedy", "exhaustive", "oracle")
"""The solvers that choose the order; policies have a fixed one."""
STEPS = 4_000
"""How far everything is tried; what is not finished then is compared with the others alone."""


def value(problem: MemoryProblem, answer: MemoryPlacement) -> tuple[int, ...]:
    assert answer.criteria is not None
    return tuple(getattr(answer.criteria, name) for name in problem.objective)


def attempt(problem: MemoryProblem, solver: str, limit_nodes: int | None = None) -> MemoryPlacement | None:
    """The solver's checked answer; None where it says that it found none."""
    try:
        answer = solve(problem, solver, limit_nodes=limit_nodes)
    except SolverError as error:
        assert solver not in ("exact", "oracle") or limit_nodes is not None, error
        assert error.hint
        return None
    report = check_memory(problem, answer)
    assert report.ok, (solver, report)
    assert (answer.solver, answer.problem) == (solver, problem.name)
    return answer


def assert_bounds_hold(problem: MemoryProblem, answer: MemoryPlacement, optimum: tuple[int, ...]) -> None:
    """A bound holds for all answers that are no worse in the criteria before it: for the optimum, where it is."""
    for bound, reached, best in zip(answer.bounds, value(problem, answer), optimum, strict=True):
        assert bound <= best
        if best > reached:
            return


@pytest.mark.parametrize("seed", range(60))
def test_exact_and_trying_everything_agree_and_greedy_is_no_better(seed: int) -> None:
    problem = random_memory_problem(seed, stages=1 + seed % 4, tight=seed % 3 == 2)
    exact, tried = attempt(problem, "exact"), attempt(problem, "exhaustive", STEPS)
    assert exact is not None
    assert exact.status != "feasible"
    if tried is not None and tried.status != "feasible":
        assert (exact.status, exact.bounds) == (tried.status, tried.bounds)
    greedy = attempt(problem, "greedy")
    if greedy is not None and "infeasible" in (greedy.status, exact.status):
        assert greedy.status == exact.status
    elif greedy is not None:
        assert value(problem, greedy) >= exact.bounds
        assert_bounds_hold(problem, greedy, exact.bounds)


@pytest.mark.parametrize("presolve", [True, False])
@pytest.mark.parametrize("seed", range(100, 112))
def test_the_oracle_agrees(seed: int, presolve: bool) -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    problem = random_memory_problem(seed, stages=1 + seed % 5, tight=seed % 2 == 1)
    exact, oracle = attempt(problem, "exact"), memory_oracle.solve(problem, presolve=presolve)
    assert exact is not None
    assert check_memory(problem, oracle).ok
    assert (exact.status, exact.bounds) == (oracle.status, oracle.bounds)
    if oracle.status == "infeasible":
        assert oracle.reason is not None
        assert oracle.reason.startswith("rule ")


@pytest.mark.parametrize("seed", range(60))
def test_the_makespan_is_between_its_bound_and_everything_in_turn(seed: int) -> None:
    problem = random_memory_problem(seed, stages=6, objective=("makespan",))
    answer = attempt(problem, "exact", 300)
    if answer is None or answer.status == "infeasible":
        return
    assert answer.criteria is not None
    assert answer.bounds[0] <= answer.criteria.makespan <= serial_us(problem, answer)
    least = max((run.end_us - run.start_us for run in answer.stages), default=0)
    assert least <= answer.criteria.makespan


def test_policies_keep_the_rules_and_their_preferences() -> None:
    """Each with what its modes have to load; never better than the best, and no worse than nothing."""
    answered = 0
    for seed in range(12):
        problem = random_memory_problem(seed)
        best = attempt(problem, "exact")
        for policy in ("single", "cpu-only", "dsp-first", "gpu-first"):
            answer = attempt(problem, policy)
            if answer is None:
                continue
            assert check_memory(problem, answer).ok
            if answer.status == "infeasible":
                assert best is None or best.status == "infeasible"
                continue
            answered += 1
            assert best is not None and value(problem, best) <= value(problem, answer)
    assert answered > 12


def test_a_question_without_weights_has_the_answer_of_a_frame() -> None:
    for seed in range(12):
        problem = random_memory_problem(seed, stages=6)
        plain = {
            key: value for key, value in json.loads(problem.to_json()).items() if key not in ("weights", "loaders")
        }
        for resource in plain["resources"]:
            resource.pop("resident", None)
        for stage in plain["stages"]:
            for mode in stage["modes"]:
                mode.pop("weights", None)
        frame = solve(Problem.from_dict({**plain, "format": "leo-problem/1"}))
        with_none = solve(MemoryProblem.from_dict(plain))
        assert (with_none.status, with_none.bounds) == (frame.status, frame.bounds)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), more=st.integers(1, 10**6))
def test_more_memory_never_worsens_the_optimum(seed: int, more: int) -> None:
    problem = random_memory_problem(seed, stages=4)
    resources = tuple(
        one if one.memory_bytes is None else one.model_copy(update={"memory_bytes": one.memory_bytes + more})
        for one in problem.resources
    )
    before, after = solve(problem), solve(problem.model_copy(update={"resources": resources}))
    if before.status == "optimal":
        assert after.bounds <= before.bounds


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_is_resident_never_worsens_the_optimum(seed: int) -> None:
    problem = random_memory_problem(seed, stages=4)
    resources = tuple(one.model_copy(update={"resident": ()}) for one in problem.resources)
    found, cold = solve(problem), solve(problem.model_copy(update={"resources": resources}))
    if cold.status == "optimal":
        assert found.bounds <= cold.bounds


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), nodes=st.integers(0, 30))
def test_a_limit_leaves_proved_bounds(seed: int, nodes: int) -> None:
    problem = random_memory_problem(seed, stages=5)
    optimum = solve(problem)
    for name in ("exact", "greedy"):
        answer = attempt(problem, name, nodes)
        if answer is not None and answer.status != "infeasible":
            assert optimum.status == "optimal"
            assert value(problem, answer) >= optimum.bounds
            assert_bounds_hold(problem, answer, optimum.bounds)


def test_no_time_is_a_limit_too() -> None:
    for solver in ("exact", "greedy"):
        problem = MemoryProblem.from_dict(QUEUE)
        answer = solve(problem, solver, limit_ms=0)
        assert check_memory(problem, answer).ok
        assert answer.status == "feasible"


QUEUE: dict[str, Any] = {
    "format": "leo-problem/3",
    "name": "queue",
    "weights": [{"label": name, "bytes": 100} for name in "abc"],
    "loaders": [{"target": "npu", "resource": "flash", "bytes_per_s": 1_000_000}],
    "resources": [{"name": "npu", "memory_bytes": 200}, {"name": "flash"}],
    "stages": [
        {"name": f"s{k}", "modes": [{"resource": "npu", "duration_us": 80, "energy_nj": 1, "weights": [label]}]}
        for k, label in enumerate("abca")
    ],
    "objective": ["makespan"],
}


@pytest.mark.parametrize("solver", SEARCHING)
def test_loading_goes_on_while_something_runs_as_far_as_there_is_room(solver: str) -> None:
    if solver == "oracle":
        pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    answer = attempt(MemoryProblem.from_dict(QUEUE), solver)
    assert answer is not None and answer.criteria is not None
    # `a` is there at 100 and is run twice, until 260, while `b` is loaded; then `c`, in its place, while `b` runs.
    assert answer.criteria.makespan == 440
    assert len(answer.loads) == 3


@pytest.mark.parametrize(
    ("resident", "loader", "counts"),
    [(False, True, [1, 3, 13, 75]), (True, True, [2, 6, 26, 150]), (True, False, [1] * 4)],
)
def test_users_are_shared_out_in_every_way_and_in_each_once(resident: bool, loader: bool, counts: list[int]) -> None:
    """The ordered partitions of a set; the first part may be what is resident."""
    ways: list[tuple[Stay, ...]] = [()]
    for user, count in zip("abcd", counts, strict=True):
        ways = [more for way in ways for more in _ways(way, user, resident, loader)]
        seen = {tuple((stay.resident, frozenset(stay.users)) for stay in way) for way in ways}
        assert len(ways) == len(seen) == count
        assert not any(stay.resident for way in ways for stay in way[1:])


def test_many_runs_of_one_label_are_shared_out_a_few_at_a_time() -> None:
    """There are 10^12 ways to share out twelve runs among loads that follow each other; each question decides one."""
    stages = [
        {
            "name": f"s{k}",
            "modes": [{"resource": "npu", "duration_us": 5, "energy_nj": 1, "weights": ["ab"[k % 3 == 2]]}],
        }
        for k in range(18)
    ]
    for k in range(1, 18):
        stages[k]["inputs"] = [f"s{k - 1}"]
    small = [{"name": "npu", "memory_bytes": 150}, {"name": "flash"}]
    problem = MemoryProblem.from_dict({**QUEUE, "resources": small, "stages": stages})
    answer = attempt(problem, "exact", 30)
    assert answer is not None and answer.criteria is not None
    # Each label makes way for the other eleven times: there is no room for both.
    assert answer.bounds[0] <= answer.criteria.makespan == 12 * 100 + 18 * 5
    assert [row.label for row in answer.loads] == ["a", "b"] * 6


PIECES_KB = {"face": (230,), "mesh": (1100, 1400), "iris": (1200, 1300), "words": (300, 20), "visual": (40, 20)}
"""Five models of made-up sizes: a first part that computes for long, and a dense one that is large for its time."""


def several_models(cap: int) -> MemoryProblem:
    pieces = [(f"{name}{k}", k, size) for name, sizes in PIECES_KB.items() for k, size in enumerate(sizes)]
    stages = []
    for name, k, _ in pieces:
        us = (9_000, 1_500)[k]
        mode = {"resource": "cpu", "duration_us": us, "energy_nj": us * 900, "weights": [name]}
        stages.append({"name": name, "inputs": [f"{name[:-1]}0"] if k else [], "modes": [mode]})
    return MemoryProblem.from_dict(
        {
            "format": "leo-problem/3",
            "name": "several models",
            "weights": [{"label": name, "bytes": size * 1000} for name, _, size in pieces],
            "loaders": [{"target": "cpu", "resource": "flash", "bytes_per_s": 60_000_000, "energy_pj_per_byte": 400}],
            "resources": [{"name": "cpu", "memory_bytes": cap}, {"name": "flash", "awake_mw": 50}],
            "stages": stages,
            "objective": ["makespan", "energy"],
        }
    )


def test_several_models_under_a_cap_load_while_others_compute() -> None:
    makespans = []
    for cap in (6_000_000, 3_000_000, 2_000_000):
        problem = several_models(cap)
        exact, greedy = attempt(problem, "exact"), attempt(problem, "greedy")
        assert exact is not None and exact.criteria is not None and greedy is not None and greedy.criteria is not None
        assert exact.status == "optimal"
        assert exact.criteria.makespan <= greedy.criteria.makespan < serial_us(problem, exact)
        makespans.append(exact.criteria.makespan)
    # All weights have to be loaded: for 93.5 ms, and what is loaded last is run after it.
    assert makespans == [95_004, 95_004, 104_335]


def test_infeasible_says_which_rule_and_whose_weights() -> None:
    tight = {**QUEUE, "resources": [{"name": "npu", "memory_bytes": 99}, {"name": "flash"}]}
    says = "rule 5: `s0` and its weights are more than there is memory on `npu` (100 bytes for 99)"
    assert solve(MemoryProblem.from_dict(tight)).reason == says
    assert solve(MemoryProblem.from_dict(tight), "greedy").reason == says
    alone = {**QUEUE, "loaders": []}
    says = "rule 8: no loader brings the weights of `s0` to where it can run (`npu`)"
    assert solve(MemoryProblem.from_dict(alone)).reason == says
    working = json.loads(json.dumps(QUEUE))
    for stage in working["stages"]:
        stage["modes"][0]["memory_bytes"] = 26
    answer = solve(MemoryProblem.from_dict(working))
    assert answer.status == "infeasible"
    assert (
        answer.reason
        == "rule 5: in no choice of modes do the weights of every stage fit beside what all stages work with"
    )


@pytest.mark.parametrize("solver", SEARCHING)
def test_the_largest_quantities_are_counted_or_refused(solver: str) -> None:
    if solver == "oracle":
        pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    most = 10**15
    slow = {**QUEUE["loaders"][0], "bytes_per_s": 1, "latency_us": most, "energy_nj": most, "energy_pj_per_byte": most}
    weights = [{"label": label, "bytes": most} for label in "abc"]
    npu = {"name": "npu", "memory_bytes": most, "resident": ["a"]}
    problem = MemoryProblem.from_dict(
        {**QUEUE, "weights": weights, "loaders": [slow], "resources": [npu, {"name": "flash", "awake_mw": most}]}
    )
    answer = attempt(problem, solver) if solver != "oracle" else None
    if answer is None:
        with pytest.raises(SolverError, match="too large for CP-SAT"):
            solve(problem, solver)
    else:
        assert len(answer.loads) == 2


@pytest.mark.parametrize("solver", ["exact", "greedy", "exhaustive"])
def test_the_same_question_has_the_same_answer(solver: str) -> None:
    problem = random_memory_problem(21, stages=4)
    first, second = (solve(problem, solver, seed=3).model_copy(update={"solve_us": 0}) for _ in range(2))
    assert first == second


HASHED = """
from leo_runtime.solver import solve
from leo_runtime.testing.memories import random_memory_problem

for seed in range(20):
    problem = random_memory_problem(seed, stages=4)
    print(problem.to_json(), solve(problem).model_copy(update={"solve_us": 0}).to_json())
"""


@pytest.mark.once
def test_answers_do_not_depend_on_the_hash_seed() -> None:
    first, second = printed_under_two_hash_seeds(HASHED)
    assert len(first) > 10_000
    assert first == second


def test_a_preference_is_the_policy_of_these_processors() -> None:
    for seed in range(10):
        problem = random_memory_problem(seed, stages=4)
        for name, (first, *rest) in {"cpu-only": ("cpu",), "dsp-first": ("dsp", "cpu", "gpu")}.items():
            answers = []
            for solver in (name, f"prefer:{'+'.join([first, *rest])}"):
                try:
                    answers.append(solve(problem, solver).model_copy(update={"solve_us": 0, "solver": ""}))
                except SolverError as error:
                    answers.append(str(error).replace(solver, ""))
            assert answers[0] == answers[1]
    with pytest.raises(SolverError, match="leaves out what it prefers"):
        solve(random_memory_problem(1, stages=2), "prefer:")


def test_what_stands_in_the_way_of_another_mode_is_told_of_questions_with_weights() -> None:
    """On the NPU both would be cheapest, and both do not fit: one of them is loaded, the other runs on the CPU."""
    question = {
        "format": "leo-problem/3",
        "name": "two",
        "weights": [{"label": "A", "bytes": 1_000_000}, {"label": "B", "bytes": 800_000}],
        "loaders": [{"target": "npu", "resource": "flash", "bytes_per_s": 20_000_000, "energy_pj_per_byte": 1_000}],
        "resources": [{"name": "cpu"}, {"name": "npu", "memory_bytes": 900_000}, {"name": "flash"}],
        "stages": [
            {
                "name": name,
                "modes": [
                    {"resource": "cpu", "duration_us": 9_000, "energy_nj": 5_000_000},
                    {"resource": "npu", "duration_us": 1_000, "energy_nj": 100_000, "weights": [label]},
                ],
            }
            for name, label in (("a", "A"), ("b", "B"))
        ],
    }
    problem = MemoryProblem.from_dict(question)
    explained = explain(problem, solve(problem))
    a, b = explained.stages
    assert (a.run.resource, b.run.resource) == ("cpu", "npu")
    (on_npu,), (on_cpu,) = a.alternatives, b.alternatives
    assert (on_npu.verdict, on_npu.binds) == ("impossible", ("memory", "load"))
    assert (on_cpu.verdict, dict(on_cpu.differences)["energy"]) == ("worse", 5_000_000 - 100_000 - 800_000)
    assert "starts then because its weights B (800,000 bytes) are there at 40000 us" in str(explained)
    drawn = [(bar.row, bar.name, bar.end_us) for bar in bars(problem, solve(problem)) if bar.kind == "load"]
    assert drawn == [("flash 0", "B to npu", 40_000)]


def test_modes_of_random_questions_with_weights_are_explained() -> None:
    for seed in range(6):
        problem = random_memory_problem(seed, stages=4)
        answer = solve(problem)
        for stage in explain(problem, answer).stages:
            for mode in stage.alternatives:
                assert mode.verdict in ("worse", "equal", "impossible"), "it was proved the best"


def test_other_solvers_and_questions_are_refused() -> None:
    problem = random_memory_problem(1, stages=2)
    for name in [*(set(SOLVERS) - set(MEMORY_SOLVERS)), "magic", None]:
        with pytest.raises(SolverError, match="no solver of questions with weights is called") as error:
            solve(problem, name)  # type: ignore[arg-type]
        assert error.value.hint
    with pytest.raises(InputError, match="limit_nodes"):
        solve(problem, limit_nodes=-1)
