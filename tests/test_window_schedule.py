"""From choices to a window's schedule: what comes out obeys the rules and costs what it says, whatever is chosen."""

from random import Random

import pytest

from leo_runtime.documents.window import WindowProblem
from leo_runtime.judge.window import check_window
from leo_runtime.solver.window_bounds import least
from leo_runtime.solver.window_schedule import Choice, Window, arranged, placement
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window

DRAWN = [random_window(seed, stages=1 + seed % 9) for seed in range(60)]
DRAWN += [sensing_window(seed, stages=4 + seed % 17) for seed in range(60)]


def drawn_choice(rng: Random, window: Window) -> Choice:
    """Anything that can be chosen, sensible or not."""
    stages = range(len(window.stages))
    order = arranged(rng.sample(stages, len(stages)), window.inputs)
    modes = tuple(rng.randrange(len(stage.modes)) for stage in window.stages)
    gates = list(window.opens_ppm)
    lists = {}
    for j in stages:
        for target in {place for i in window.readers[j] for place in window.places[i]}:
            if gates and rng.randrange(2):
                lists[j, target] = tuple(rng.sample(gates, rng.randint(1, min(2, len(gates)))))
    resources = range(len(window.resources))
    return Choice(
        modes,
        tuple(order),
        lists,
        frozenset((r, gate) for r in resources for gate in gates if rng.randrange(2)),
        {(i, r): rng.randrange(len(window.problem.releases_us)) for i in stages for r in resources if rng.randrange(2)},
    )


@pytest.mark.once
@pytest.mark.parametrize("problem", DRAWN, ids=lambda problem: problem.name)
def test_whatever_is_chosen_is_valid_and_costs_what_it_says(problem: WindowProblem) -> None:
    window = Window(problem)
    rng = Random(problem.name)
    bounds = least(window)
    for _ in range(40):
        schedule = window.schedule(drawn_choice(rng, window))
        if schedule is None:
            continue
        answer = placement(window, schedule, "test", bounds, 0)
        report = check_window(problem, answer)
        assert {v.rule for v in report.violations} <= {5, 7}, (report, problem.to_json(), answer.to_json())
        assert schedule.keeps_rules == (not report.violations)
        if report.violations:
            continue
        assert report.ok, (report, problem.to_json(), answer.to_json())
        assert report.criteria == answer.criteria


def test_arranging_keeps_the_order_as_far_as_it_may_and_leaves_circles_out() -> None:
    assert arranged([2, 0, 1], [[], [], []]) == [2, 0, 1]
    assert arranged([2, 0, 1], [[], [], [1]]) == [0, 1, 2]
    assert arranged([0, 1, 2], [[1], [0, 0], []]) == [2]
    assert arranged([], []) == []
