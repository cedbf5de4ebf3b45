"""Policies, HEFT, greedy and memetic search, on frames small enough to work out by hand."""

import sys
from random import Random
from typing import Any

import pytest

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import MissingExtraError, SolverError
from leo_runtime.judge import check
from leo_runtime.solver import heft, memetic, solve
from leo_runtime.solver.baselines import prefer
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.heft import solve_prepared
from leo_runtime.solver.lists import Lists
from leo_runtime.testing import random_problem


def mode(resource: str, duration_us: int, energy_nj: int = 0, **more: Any) -> dict[str, Any]:
    return {"resource": resource, "duration_us": duration_us, "energy_nj": energy_nj, **more}


def frame(stages: list[dict[str, Any]], **changes: Any) -> Problem:
    """Stages on a cpu and a dsp that reach each other in 5 us."""
    links = [{"source": "cpu", "target": "dsp", "latency_us": 5}, {"source": "dsp", "target": "cpu", "latency_us": 5}]
    data = {
        "format": "leo-problem/1",
        "name": "frame",
        "resources": [{"name": "cpu"}, {"name": "dsp"}],
        "links": links,
        "stages": stages,
        "objective": ["makespan"],
    }
    return Problem.from_dict(data | changes)


def places(answer: Placement) -> dict[str, tuple[str, int]]:
    return {run.stage: (run.resource, run.start_us) for run in answer.stages}


def test_upward_rank_by_hand() -> None:
    # Mean time to reach a reader: of the pairs cpu-cpu, dsp-dsp and cpu-dsp only the last takes its 5 us: 10/6 us.
    problem = frame(
        [
            {"name": "a", "modes": [mode("cpu", 2), mode("dsp", 4)]},  # 3 + 10/6 + rank of c = 12.67
            {"name": "b", "modes": [mode("cpu", 13)]},  # 13
            {"name": "c", "inputs": ["a"], "modes": [mode("cpu", 8), mode("dsp", 8)]},  # 8
            {"name": "d", "modes": [mode("cpu", 8)]},  # 8, later in the problem
        ]
    )
    compiled = Compiled(problem)
    assert [compiled.names[i] for i in compiled.kernel().rank_order()] == ["b", "a", "c", "d"]


def test_heft_fills_a_gap() -> None:
    # `long` goes to the cpu at 0 and `after` to the dsp, whose lane is then idle until 35; `short` fits before it.
    problem = frame(
        [
            {"name": "long", "modes": [mode("cpu", 30)]},
            {"name": "after", "inputs": ["long"], "modes": [mode("dsp", 10)]},
            {"name": "short", "modes": [mode("cpu", 9), mode("dsp", 9)]},
        ]
    )
    answer = solve(problem, "heft")
    assert places(answer) == {"long": ("cpu", 0), "after": ("dsp", 35), "short": ("dsp", 0)}
    assert (answer.status, answer.bounds) == ("optimal", (45,))


def test_heft_takes_the_first_mode_of_a_tie() -> None:
    problem = frame([{"name": "a", "modes": [mode("dsp", 5), mode("cpu", 5)]}])
    assert places(solve(problem, "heft")) == {"a": ("dsp", 0)}


def test_heft_keeps_a_memory_cap() -> None:
    big = [mode("cpu", 1, memory_bytes=6), mode("dsp", 50, memory_bytes=6)]
    problem = frame(
        [{"name": "a", "modes": big}, {"name": "b", "modes": big}],
        resources=[{"name": "cpu", "memory_bytes": 10}, {"name": "dsp"}],
    )
    answer = solve(problem, "heft")
    assert check(problem, answer).ok
    assert {run.resource for run in answer.stages} == {"cpu", "dsp"}


def test_heft_answers_a_prepared_problem_again_and_again() -> None:
    problem = random_problem(5, stages=9, features=("lanes",), urgency="medium")
    lists = Lists.of(Compiled(problem))
    first, second = (solve_prepared(lists, 0).model_copy(update={"solve_us": 0}) for _ in range(2))
    assert first == second == solve(problem, "heft").model_copy(update={"solve_us": 0})


def test_heft_is_the_best_of_all_four_ways_to_break_ties() -> None:
    """Also where it leaves out those that nothing tied could change."""
    ties = 0
    for seed in range(200):
        problem = random_problem(seed, stages=1 + seed % 12, features=("small",) if seed % 2 else None)
        lists, all_four = Lists.of(Compiled(problem)), Lists.of(Compiled(problem))
        heft.run(lists)
        for order in (all_four.by_rank, all_four.kernel.rank_order(True)):
            for tie in (-1, -2):
                all_four.consider([tie] * len(order), order)
                ties += all_four.kernel.tied
        if all_four.best is not None and all_four.best[0] == 0:
            for name in ("best", "best_modes", "best_order", "moves"):
                assert getattr(lists, name) == getattr(all_four, name)
    assert 0 < ties < 800


def test_heft_gives_way_to_one_processor_where_that_is_better() -> None:
    cheap = [mode("cpu", 10, 900), mode("dsp", 90, 1)]
    problem = frame([{"name": "a", "modes": cheap}, {"name": "b", "modes": cheap}], objective=["tardiness", "energy"])
    assert {run.resource for run in solve(problem, "heft").stages} == {"dsp"}


def test_a_policy_takes_its_first_processor_and_else_the_problem_order() -> None:
    problem = frame(
        [
            {"name": "a", "modes": [mode("cpu", 5), mode("dsp", 50)]},
            {"name": "b", "modes": [mode("gpu", 9), mode("cpu", 5)]},
        ],
        resources=[{"name": "cpu"}, {"name": "gpu"}, {"name": "dsp"}],
    )
    assert {run.stage: run.resource for run in solve(problem, "dsp-first").stages} == {"a": "dsp", "b": "cpu"}
    assert {run.stage: run.resource for run in prefer(problem, ("gpu",)).stages} == {"a": "cpu", "b": "gpu"}


def test_a_policy_goes_only_where_its_inputs_can_be_sent() -> None:
    problem = frame(
        [
            {"name": "a", "modes": [mode("cpu", 5)]},
            {"name": "b", "inputs": ["a"], "modes": [mode("cpu", 5), mode("dsp", 50)]},
        ],
        links=[],
    )
    assert {run.resource for run in solve(problem, "dsp-first").stages} == {"cpu"}


def test_a_policy_takes_accurate_variants_where_a_budget_asks_for_them() -> None:
    stage = {"name": "a", "modes": [mode("cpu", 5, accuracy_loss_ppm=9), mode("cpu", 7, variant="fp32")]}
    assert solve(frame([stage]), "cpu-only").stages[0].variant == "default"
    budget = [{"stages": ["a"], "loss_ppm_max": 8}]
    assert solve(frame([stage], accuracy_budgets=budget), "cpu-only").stages[0].variant == "fp32"


def test_a_policy_that_would_break_a_rule_says_so() -> None:
    problem = frame(
        [{"name": "a", "modes": [mode("cpu", 5, memory_bytes=9), mode("dsp", 5)]}],
        resources=[{"name": "cpu", "memory_bytes": 8}, {"name": "dsp"}],
    )
    with pytest.raises(SolverError, match="`cpu-only` found no placement") as refused:
        solve(problem, "cpu-only")
    assert "exact" in refused.value.hint
    assert solve(problem, "heft").stages[0].resource == "dsp"


def test_single_mixes_variants_on_its_processor() -> None:
    """Of four stages two may lose accuracy, so neither all fast nor all accurate is the best of one processor."""
    modes = [mode("cpu", 9, variant="fp32"), mode("cpu", 4, variant="int8", accuracy_loss_ppm=5)]
    stages = [{"name": f"s{i}", "modes": modes} for i in range(4)]
    answer = solve(frame(stages, limits={"accuracy_loss": 10}), "single")
    assert answer.criteria is not None
    assert answer.criteria.makespan == 9 + 9 + 4 + 4


@pytest.mark.parametrize("seed", range(6))
def test_memetic_is_no_worse_than_greedy_and_keeps_its_limit(seed: int) -> None:
    problem = random_problem(seed, stages=14, features=("lanes", "wake", "variants"), urgency="tight")
    greedy, found = solve(problem, "greedy"), solve(problem, "memetic", limit_nodes=4000, seed=seed)
    assert check(problem, found).ok
    assert greedy.criteria is not None
    assert found.criteria is not None
    assert [getattr(found.criteria, name) for name in problem.objective] <= [
        getattr(greedy.criteria, name) for name in problem.objective
    ]


def test_memetic_stops_at_its_limits() -> None:
    problem = random_problem(1, stages=20, features=("lanes", "variants"), urgency="tight")
    lists = Lists.of(Compiled(problem))
    memetic.search(lists, 600, Random(0))
    assert lists.moves <= 600 + memetic.LOCAL_MOVES + 1
    assert check(problem, solve(problem, "memetic", limit_ms=1)).ok


def test_a_missing_oracle_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(MissingExtraError, match="oracle") as missing:
        solve(frame([]), "oracle")
    assert "leo-runtime[oracle]" in missing.value.hint


def test_the_oracle_refuses_numbers_it_cannot_count() -> None:
    pytest.importorskip("ortools", reason="the extra `oracle` is not installed")
    resources = [{"name": "cpu", "awake_mw": 10**15}, {"name": "dsp"}]
    huge = frame([{"name": "a", "modes": [mode("cpu", 10**15)]}], resources=resources)
    with pytest.raises(SolverError, match="too large"):
        solve(huge, "oracle")
    assert solve(huge).status == "optimal"


def test_lns_claims_no_bound_that_does_not_hold() -> None:
    problem = random_problem(175, stages=5, shape="forkjoin")
    best = solve(problem, "exhaustive").bounds
    for limit in (30, 300, 3000):
        answer = solve(problem, "lns", limit_nodes=limit)
        assert answer.bounds <= best
        assert answer.status != "optimal" or answer.bounds == best
