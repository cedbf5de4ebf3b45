"""Answers in the form of one frame are completed to answers of a window, or refused with what is wrong."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowProblem, as_window
from leo_runtime.errors import SolverError
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.solver.complete import complete
from leo_runtime.solver.context import Context, takes_context
from leo_runtime.testing import problems
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window

HELLO = WindowProblem.from_dict(
    {
        "format": "leo-problem/2",
        "name": "hello",
        "horizon_us": 100,
        "releases_us": [0, 50],
        "resources": [
            {"name": "dsp", "linger_us": None, "awake_mw": 1},
            {"name": "gpu", "awake": False, "wake_latency_us": 5, "awake_mw": 2, "linger_us": 4},
        ],
        "links": [{"source": "dsp", "target": "gpu", "latency_us": 3}, {"source": "gpu", "target": "dsp"}],
        "stages": [
            {"name": "gate", "modes": [{"resource": "dsp", "duration_us": 7, "energy_nj": 1}]},
            {
                "name": "model",
                "inputs": ["gate"],
                "gates": ["gate"],
                "chance_ppm": 1,
                "modes": [{"resource": "gpu", "duration_us": 2, "energy_nj": 1}],
            },
            {
                "name": "late",
                "release_us": 60,
                "modes": [
                    {"resource": "gpu", "duration_us": 2, "energy_nj": 1},
                    {"resource": "dsp", "duration_us": 2, "energy_nj": 1, "variant": "small"},
                ],
            },
        ],
    }
)
ANSWER: dict[str, Any] = {
    "format": "leo-placement/1",
    "problem": "hello",
    "solver": "mine",
    "status": "optimal",
    "criteria": {"tardiness": 9, "energy": 9, "makespan": 9, "accuracy_loss": 9},
    "bounds": [9, 9],
    "stages": [
        {"stage": "gate", "resource": "dsp", "lane": 0, "start_us": 70, "end_us": 77},
        {"stage": "model", "resource": "gpu", "lane": 0, "start_us": 3, "end_us": 5},
        {"stage": "late", "resource": "gpu", "lane": 0, "start_us": 80, "end_us": 90},
    ],
}


def answer(**changes: object) -> Placement:
    return Placement.from_dict({**json.loads(json.dumps(ANSWER)), **changes})


def frame(problem: WindowProblem) -> Problem:
    """The question of the window as if it were one frame."""
    data = json.loads(problem.to_json())
    for key in ("horizon_us", "releases_us"):
        data.pop(key, None)
    for resource in data["resources"]:
        for key in ("linger_us", "linger_mw", "awake_until_us"):
            resource.pop(key, None)
    for stage in data["stages"]:
        for key in ("gates", "chance_ppm"):
            stage.pop(key, None)
    return Problem.from_dict({**data, "format": "leo-problem/1"})


def test_times_are_made_anew_and_everything_is_held() -> None:
    completed = complete(HELLO, answer())
    assert [(run.start_us, run.end_us) for run in completed.stages] == [(0, 7), (10, 12), (60, 62)]
    assert [(span.resource, span.from_us, span.until_us, span.after) for span in completed.spans] == [
        ("dsp", 0, 7, ()),
        ("gpu", 0, 62, ()),
    ]
    assert [(row.start_us, row.arrive_us, row.after) for row in completed.transfers] == [(7, 10, ())]
    assert completed.criteria is not None
    assert completed.criteria.energy == 1 * 100 + (62 + 4) * 2 + 1 + 1 + 1
    assert (completed.solver, completed.status) == ("mine", "feasible")
    assert check_window(HELLO, completed).ok


def test_an_answer_that_places_nothing_stays_one() -> None:
    none = Placement(
        format="leo-placement/1",
        problem="hello",
        solver="mine",
        status="infeasible",
        reason="rule 5: too little memory",
    )
    completed = complete(HELLO, none)
    assert (completed.status, completed.reason) == ("infeasible", none.reason)
    assert complete(HELLO, none.model_copy(update={"reason": None})).reason == "the solver gives no reason"


STAGES = ANSWER["stages"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"stages": STAGES[:2]}, "does not place `late`"),
        ({"stages": [*STAGES[:2], {**STAGES[2], "resource": "tpu"}]}, "`late` on tpu as default, which it cannot"),
        ({"stages": [*STAGES[:2], {**STAGES[2], "variant": "small"}]}, "`late` on gpu as small, which it cannot"),
        ({"stages": [*STAGES[:2], {**STAGES[2], "lane": 1}]}, "`late` on lane 1 of gpu, which has 1"),
        ({"stages": [*STAGES, {**STAGES[2], "stage": "more"}]}, "places `more`, which is no stage"),
        ({"stages": [*STAGES, STAGES[2]]}, "places `late`, which it does twice"),
        ({"problem": "another"}, 'it answers "another"'),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(changed: dict[str, object], says: str) -> None:
    with pytest.raises(SolverError) as error:
        complete(HELLO, answer(**changed))
    assert says in str(error.value)
    assert error.value.hint


def test_what_is_no_answer_is_refused() -> None:
    with pytest.raises(SolverError, match="the answer is no Placement"):
        complete(HELLO, "nothing")  # type: ignore[arg-type]
    without = HELLO.model_copy(update={"links": ()})
    with pytest.raises(SolverError, match="`gate` from dsp to gpu, where no link leads"):
        complete(without, answer())


@settings(max_examples=60, deadline=None)
@given(problem=problems(6))
def test_a_proved_frame_stays_as_good_as_it_is(problem: Problem) -> None:
    """Of a frame asked as a window nothing is lost, and nothing can be won of what comes first in the objective."""
    solved = solve(problem)
    if solved.status != "optimal":
        return
    completed = complete(as_window(problem), solved)
    assert completed.criteria is not None
    assert solved.criteria is not None
    for name in problem.objective:
        assert getattr(completed.criteria, name) == getattr(solved.criteria, name)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_order_and_lanes_an_answer_has_are_kept(seed: int) -> None:
    """Times drawn at random say nothing but an order, which may be one that inputs do not allow."""
    problem = sensing_window(seed) if seed % 2 else random_window(seed, stages=1 + seed % 12)
    try:
        solved = solve(frame(problem), "greedy")
    except SolverError:
        return
    rng = Random(seed)
    runs = tuple(run.model_copy(update={"start_us": rng.randrange(100)}) for run in solved.stages)
    kept = rng.sample(solved.transfers, len(solved.transfers) // 2)
    shuffled = solved.model_copy(update={"stages": runs, "transfers": tuple(kept)})
    completed = complete(problem, shuffled)
    assert check_window(problem, completed).ok
    kept_places = {(run.stage, run.resource, run.variant, run.lane) for run in completed.stages}
    assert kept_places == {(run.stage, run.resource, run.variant, run.lane) for run in solved.stages}
    assert len({span.resource for span in completed.spans}) == len(completed.spans)


def test_of_very_many_lanes_those_used_are_enough() -> None:
    data = json.loads(HELLO.to_json())
    data["resources"][1]["lanes"] = 10**12
    runs = [*STAGES[:2], {**STAGES[2], "lane": 10**12 - 1}]
    assert complete(WindowProblem.from_dict(data), answer(stages=runs)).status == "feasible"


def test_a_solver_may_ask_for_the_context() -> None:
    def plain(problem: object) -> None: ...

    def knowing(problem: object, context: Context) -> None: ...

    def keeping(problem: object, seed: int = 0, *, limit: int = 1) -> None: ...

    class Mine:
        def __call__(self, problem: object, context: Context, /) -> None: ...

    assert [takes_context(solver) for solver in (plain, knowing, keeping, Mine(), print)] == [
        False,
        True,
        False,
        True,
        False,
    ]
