"""What a window promises, and what it is charged when it goes as planned; `tests/bench/promise.py` plays more."""

from __future__ import annotations

import pytest

from leo_runtime.documents.problem import Mode, Placement
from leo_runtime.documents.window import CERTAIN, WindowPlacement, WindowProblem
from leo_runtime.errors import InputError, SolverError
from leo_runtime.frame.ledger import ledger
from leo_runtime.solver.window import solve_window
from leo_runtime.testing.playing import (
    expected_bill_nj,
    opening_chances,
    outcomes,
    play_window,
    with_true_chances,
)
from leo_runtime.testing.windows import random_window

FEATURES = ("gates", "linger", "releases", "tail", "rest", "never", "wake", "power", "cloud")


def solved(problem: WindowProblem) -> WindowPlacement | None:
    """The optimum, where it is found soon and there is one."""
    try:
        answer = solve_window(problem, "exhaustive", limit_nodes=20_000)
    except SolverError:
        return None
    return answer if answer.stages else None


def certain(problem: WindowProblem) -> WindowProblem:
    stages = tuple(stage.model_copy(update={"chance_ppm": CERTAIN}) for stage in problem.stages)
    return problem.model_copy(update={"stages": stages})


@pytest.mark.parametrize("part", range(4))
def test_a_window_in_which_all_runs_costs_no_more_than_it_promised(part: int) -> None:
    played = 0
    for seed in range(part, 120, 4):
        problem = certain(random_window(seed, stages=1 + seed // 4 % 4, processors=1 + seed % 2))
        answer = solved(problem)
        if answer is None or answer.criteria is None:
            continue
        played += 1
        assert ledger(problem, answer).total_nj == answer.criteria.energy
        found = play_window(problem, answer)
        assert found.bill.total_nj <= answer.criteria.energy
        assert found.tardiness(problem) <= answer.criteria.tardiness
        planned = {run.stage: run.start_us for run in answer.stages}
        for run in found.result.stages:
            assert run.outcome == "done"
            assert run.start_us <= planned[run.stage]
    assert played > 20


@pytest.mark.parametrize("part", range(4))
def test_a_window_with_gates_costs_no_more_on_average_than_it_promised(part: int) -> None:
    """Over all outcomes of its gates, however these are."""
    played = waited = 0
    for seed in range(part, 100, 4):
        drawn = random_window(seed, stages=2 + seed // 4 % 3, processors=1 + seed % 2, features=FEATURES)
        opens = opening_chances(drawn)
        problem = with_true_chances(drawn, opens)
        answer = solved(problem) if opens else None
        if answer is None or answer.criteria is None:
            continue
        played += 1
        assert ledger(problem, answer).total_nj == answer.criteria.energy
        assert expected_bill_nj(problem, answer, opens) <= answer.criteria.energy
        ends = {run.stage: run.end_us for run in answer.stages}
        for _, found in outcomes(problem, answer, opens):
            assert all(run.end_us <= ends[run.stage] for run in found.result.stages)
            assert found.result.waits_given_up == 0
        waited += any(row.after for row in (*answer.transfers, *answer.spans))
    assert played > 8
    assert waited


def test_the_ledger_of_a_window_rounds_a_span_as_a_whole() -> None:
    problem = WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "thirds",
            "horizon_us": 100,
            "resources": [
                {"name": "dsp", "awake_mw": 2, "linger_us": None},
                {
                    "name": "gpu",
                    "awake": False,
                    "wake_energy_nj": 10,
                    "wake_latency_us": 1,
                    "awake_mw": 1,
                    "linger_us": 4,
                    "linger_mw": 1,
                },
            ],
            "links": [{"source": "dsp", "target": "gpu", "energy_nj": 1}],
            "stages": [
                {"name": "gate", "modes": [{"resource": "dsp", "duration_us": 3, "energy_nj": 4}]},
                {
                    "name": "model",
                    "inputs": ["gate"],
                    "gates": ["gate"],
                    "chance_ppm": 333_333,
                    "modes": [{"resource": "gpu", "duration_us": 3, "energy_nj": 4}],
                },
            ],
        }
    )
    answer = solve_window(problem, "exhaustive")
    made = ledger(problem, answer, {"gate": ["g"], "model": ["g"]})
    assert answer.criteria is not None
    assert made.total_nj == answer.criteria.energy
    (span,) = [span for span in answer.spans if span.resource == "gpu"]
    assert span.after == ("gate",)
    # 10 to wake up, 7 awake, 4 of lingering: a third of 10, of 17 and of 21, rounded up.
    assert {e.cause: e.nj for e in made.entries if e.resource == "gpu" and e.cause != "run"} == {
        "wake-up": 4,
        "awake": 2,
        "idle tail": 1,
    }
    assert made.by_resource()["dsp"] == 200 + 4
    assert made.by_graph() == {"g": made.total_nj}


def test_an_answer_of_the_other_format_or_a_wrong_one_has_no_ledger() -> None:
    problem = random_window(3, stages=2, processors=1)
    answer = solved(problem)
    assert answer is not None
    wrong = answer.model_copy(update={"spans": ()})
    with pytest.raises(InputError, match="breaks a rule"):
        ledger(problem, wrong)
    with pytest.raises(InputError, match="the answer is no WindowPlacement, but of type Placement"):
        ledger(problem, Placement.model_construct())


def test_true_chances_are_those_of_independent_gates() -> None:
    modes = (Mode(resource="dsp", duration_us=1, energy_nj=1),)
    stages = [
        {"name": "one", "modes": []},
        {"name": "two", "modes": []},
        {"name": "a", "inputs": ["one"], "gates": ["one"], "chance_ppm": 500_000},
        {"name": "b", "inputs": ["two"], "gates": ["two"], "chance_ppm": 100_000},
        {"name": "either", "inputs": ["one", "two"], "gates": ["one", "two"], "chance_ppm": 600_000},
        {"name": "less", "inputs": ["one"], "gates": ["one"], "chance_ppm": 10},
    ]
    data = [{**stage, "modes": [mode.model_dump() for mode in modes]} for stage in stages]
    problem = WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "p",
            "horizon_us": 9,
            "resources": [{"name": "dsp", "linger_us": None}],
            "stages": data,
        }
    )
    made = with_true_chances(problem, opening_chances(problem))
    assert {stage.name: stage.chance_ppm for stage in made.stages if stage.gates} == {
        "a": 500_000,
        "b": 100_000,
        "either": 550_000,
        "less": 500_000,
    }
