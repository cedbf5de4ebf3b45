"""Long windows answered part by part: a schedule of the whole, as good as the whole's where one part is enough."""

from functools import partial

import pytest

from leo_runtime.documents.window import WindowProblem
from leo_runtime.errors import InputError
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.solver.rolling import roll
from leo_runtime.solver.window import solve_window
from leo_runtime.solver.window_bounds import least
from leo_runtime.solver.window_schedule import Window, placement
from leo_runtime.testing.sensing_windows import sensing_window

ask = partial(solve_window, solver="exact", limit_nodes=200_000)


def repeated(count: int, period_us: int = 100, due_us: int = 90) -> WindowProblem:
    """As many releases of one stage, cheap on a GPU that is dear to wake, or dear on the CPU."""
    return WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "repeated",
            "horizon_us": count * period_us,
            "releases_us": [k * period_us for k in range(count)],
            "resources": [
                {"name": "cpu", "linger_us": None, "lanes": 10**9},
                {
                    "name": "gpu",
                    "awake": False,
                    "wake_latency_us": 5,
                    "wake_energy_nj": 300,
                    "awake_mw": 1,
                    "linger_us": 20,
                },
            ],
            "stages": [
                {
                    "name": f"s{k}",
                    "release_us": k * period_us,
                    "modes": [
                        {"resource": "cpu", "duration_us": 50, "energy_nj": 250},
                        {"resource": "gpu", "duration_us": 10, "energy_nj": 20},
                    ],
                }
                for k in range(count)
            ],
            "deadlines": [{"stage": f"s{k}", "deadline_us": k * period_us + due_us} for k in range(count)],
        }
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_window_in_one_part_is_as_good_as_its_optimum(seed: int) -> None:
    problem = sensing_window(seed, kind="horizon", stages=9)
    whole, rolled = solve(problem), roll(problem, ask, most_stages=9)
    assert (rolled.parts, rolled.asked, rolled.largest.bounds) == (1, 1, whole.bounds)
    assert rolled.schedule.value == (0, *whole.bounds)


@pytest.mark.parametrize("seed", range(12))
def test_parts_make_a_valid_answer_that_is_no_better_than_the_optimum(seed: int) -> None:
    problem = sensing_window(seed, kind=("horizon", "mixed")[seed % 2], stages=12)
    whole, rolled = solve(problem), roll(problem, ask, most_stages=5)
    window = Window(problem)
    answer = placement(window, rolled.schedule, "rolled", least(window), 0)
    assert check_window(problem, answer).ok
    assert rolled.schedule.value >= (0, *whole.bounds)


def test_what_repeats_is_asked_once_and_costs_what_the_whole_costs() -> None:
    """It pays to hold the GPU, since the next release comes before it is worth to let it sleep."""
    problem = repeated(40)
    rolled = roll(problem, ask, most_stages=8)
    assert rolled.asked < 5 < rolled.parts
    assert len(rolled.largest.stages) == 8
    whole = solve(repeated(12))
    assert whole.criteria is not None
    assert roll(repeated(12), ask, most_stages=6).schedule.criteria == (
        whole.criteria.tardiness,
        whole.criteria.energy,
        whole.criteria.makespan,
        whole.criteria.accuracy_loss,
    )


def test_a_stage_of_another_release_is_refused() -> None:
    problem = repeated(2)
    stages = (problem.stages[0], problem.stages[1].model_copy(update={"inputs": ("s0",)}))
    with pytest.raises(InputError, match="`s1` of `repeated` reads `s0`, which is of another release"):
        roll(problem.model_copy(update={"stages": stages}), ask, most_stages=5)
    with pytest.raises(InputError, match="`repeated` has no stages"):
        roll(problem.model_copy(update={"stages": (), "deadlines": ()}), ask, most_stages=5)


def test_a_part_without_an_answer_is_said() -> None:
    problem = repeated(3)
    cpu = problem.resources[0].model_copy(update={"memory_bytes": 0})
    gpu = problem.resources[1].model_copy(update={"memory_bytes": 0})
    stages = tuple(
        stage.model_copy(update={"modes": tuple(m.model_copy(update={"memory_bytes": 1}) for m in stage.modes)})
        for stage in problem.stages
    )
    with pytest.raises(InputError, match="a part of `repeated` has no answer: rule 5"):
        roll(problem.model_copy(update={"stages": stages, "resources": (cpu, gpu)}), ask, most_stages=2)


def test_what_lingers_after_a_part_is_charged_to_it_where_it_looks_further() -> None:
    """A tail that every part leaves to the next one makes the GPU look cheap, unless the horizon is behind it."""
    problem = repeated(12)
    gpu = problem.resources[1].model_copy(update={"wake_energy_nj": 100, "linger_us": 300})
    problem = problem.model_copy(update={"resources": (problem.resources[0], gpu)})
    near, far = (roll(problem, ask, most_stages=1, beyond_us=us) for us in (0, 300))
    assert near.schedule.choice.modes != far.schedule.choice.modes
    whole = solve(problem, limit_nodes=200_000)
    for rolled in (near, far):
        assert rolled.schedule.value >= (0, *whole.bounds)
