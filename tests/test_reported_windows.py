"""What users of schedulers and of always-on listeners asked for in public, as windows with answers computed by hand."""

from typing import Any

import pytest

from leo_runtime.documents.window import WindowProblem
from leo_runtime.judge.window import check_window
from leo_runtime.solver.window import solve_window


def window(**parts: Any) -> WindowProblem:
    return WindowProblem.from_dict({"format": "leo-problem/2", "name": "reported", **parts})


@pytest.mark.parametrize(("pause_us", "spans"), [(9_999, 1), (10_001, 2)])
@pytest.mark.parametrize("solver", ["exact", "greedy", "lns", "exhaustive"])
def test_what_is_dear_to_start_is_kept_on_while_that_is_cheaper(pause_us: int, spans: int, solver: str) -> None:
    """An oven that costs 1 mJ to heat up and 100 mW to keep hot: worth it for up to 10 ms (google/or-tools#2352)."""
    second_us = 10 + pause_us
    modes = [{"resource": "oven", "duration_us": 10, "energy_nj": 7}]
    problem = window(
        horizon_us=second_us + 1_000,
        releases_us=[0, second_us],
        resources=[{"name": "oven", "awake": False, "wake_energy_nj": 1_000_000, "awake_mw": 100}],
        stages=[{"name": "first", "modes": modes}, {"name": "second", "release_us": second_us, "modes": modes}],
        deadlines=[{"stage": "first", "deadline_us": 10}, {"stage": "second", "deadline_us": second_us + 10}],
    )
    answer = solve_window(problem, solver)
    assert check_window(problem, answer).ok
    assert len(answer.spans) == spans
    assert answer.criteria is not None
    held, twice = 1_000_000 + 100 * (second_us + 10), 2_000_000 + 100 * 20
    assert (answer.criteria.tardiness, answer.criteria.energy) == (0, 14 + min(held, twice))


@pytest.mark.parametrize("solver", ["exact", "greedy", "lns", "exhaustive"])
def test_the_models_of_a_wake_word_wake_nobody_while_it_is_quiet(solver: str) -> None:
    """An energy check of 0.37 ms before 4.05 ms of models every 80 ms, of which a third are quiet
    (samosa-ai-com/Gotcha#39, rhasspy/wyoming-satellite#329): the cores wake once it has opened, not with the frame."""
    problem = window(
        horizon_us=80_000,
        resources=[
            {"name": "dsp", "awake": True, "linger_us": None},
            {"name": "cpu", "awake": False, "wake_latency_us": 500, "wake_energy_nj": 300_000, "awake_mw": 50},
        ],
        links=[{"source": "dsp", "target": "cpu", "energy_nj": 1_000}],
        stages=[
            {"name": "loud", "modes": [{"resource": "dsp", "duration_us": 370, "energy_nj": 3_700}]},
            {
                "name": "models",
                "inputs": ["loud"],
                "gates": ["loud"],
                "chance_ppm": 659_000,
                "modes": [{"resource": "cpu", "duration_us": 4_050, "energy_nj": 2_000_000}],
            },
        ],
        deadlines=[{"stage": "models", "deadline_us": 80_000}],
    )
    answer = solve_window(problem, solver)
    assert check_window(problem, answer).ok
    (span,) = [span for span in answer.spans if span.resource == "cpu"]
    assert span.after == ("loud",)
    assert [send.after for send in answer.transfers] == [("loud",)]
    assert span.until_us == 370 + 500 + 4_050
    assert answer.criteria is not None
    costs = (2_000_000, 1_000, 300_000 + 50 * span.until_us)
    assert answer.criteria.energy == 3_700 + sum(-(-nj * 659_000 // 1_000_000) for nj in costs)
