"""What earlier frames have left, and what is kept awake or woken for releases that are to come."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import (
    FrameAdmitted,
    ProcessorFound,
    ProcessorLost,
    RunReport,
    StageEnded,
    TimePassed,
    Wake,
)
from leo_runtime.dispatch.left import LeftOver, latest
from leo_runtime.dispatch.plan import Needs, Plan, PlannedHold, make_plan
from leo_runtime.dispatch.simulator import Simulator
from leo_runtime.dispatch.window_plan import make_window_plan
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowProblem
from leo_runtime.frame.batch import Job
from leo_runtime.frame.window import There
from leo_runtime.solver import solve
from leo_runtime.solver.window import solve_window

MODE = {"duration_us": 10, "energy_nj": 1, "output_bytes": 8}


def chain(**more: Any) -> Problem:
    """sound and gate on `a`, then features and model on `b`; 5 us from one to the other."""
    return Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "chain",
            "resources": [{"name": "a"}, {"name": "b"}],
            "links": [{"source": "a", "target": "b", "latency_us": 5}],
            "stages": [
                {"name": "sound", "modes": [{"resource": "a", **MODE}]},
                {"name": "gate", "inputs": ["sound"], "modes": [{"resource": "a", **MODE}]},
                {"name": "features", "inputs": ["sound", "gate"], "modes": [{"resource": "b", **MODE}]},
                {
                    "name": "model",
                    "inputs": ["features"],
                    "modes": [{"resource": "b", **MODE, "accuracy_loss_ppm": 7}],
                },
            ],
            **more,
        }
    )


NEEDS = {"features": Needs(("sound",), ("gate",))}


def begun(until_us: int, *, opened: bool = True, jobs: dict[str, Job] | None = None) -> Dispatcher:
    """Frame 3, released at 100, as far as it is at that time. Times on the run's clock."""
    dispatcher = Dispatcher({"a": 1, "b": 1})
    plan = make_plan(chain(), solve(chain(), "heft"), NEEDS, jobs)
    dispatcher.handle(FrameAdmitted(100, 3, 100, plan))
    if until_us >= 110:
        dispatcher.handle(StageEnded(110, 3, "sound", 0, RunReport()))
    if until_us >= 120:
        dispatcher.handle(StageEnded(120, 3, "gate", 0, RunReport(opened)))
    dispatcher.handle(TimePassed(until_us))
    return dispatcher


def left(dispatcher: Dispatcher, release_us: int) -> LeftOver:
    (found,) = dispatcher.left_over(release_us, release_us)
    return found


def test_what_runs_is_there_when_it_is_expected_to_end() -> None:
    found = left(begun(104), 104)
    assert (found.frame, found.release_us) == (3, -4)
    assert found.waiting == ("gate", "features", "model")
    assert found.there == (There("sound", ("a",), 6, 8),)
    assert found.lost_ppm == {"sound": 0}


def test_what_is_sent_is_where_it_was_and_where_it_goes() -> None:
    found = left(begun(112), 112)
    assert found.waiting == ("features", "model")
    assert found.there == (There("sound", ("a", "b"), 3, 8, decides=False), There("gate", ("a",), 8, 8))


def test_a_gate_that_is_open_does_not_decide_any_more() -> None:
    assert left(begun(121), 121).there[1] == There("gate", ("a", "b"), 4, 8, decides=False)


def test_what_a_closed_gate_removes_is_not_left() -> None:
    assert begun(121, opened=False).left_over(121, 121) == ()


def test_of_a_batch_nothing_is_placed_again() -> None:
    jobs = {name: Job(name, (0, 1)) for name in ("sound", "gate", "features", "model")}
    assert begun(104, jobs=jobs).left_over(104, 104) == ()


def test_lanes_are_as_free_as_if_what_is_left_were_not_there() -> None:
    dispatcher = begun(104)
    assert dispatcher.lanes_ready_us("a", 104) == (120,)
    assert dispatcher.lanes_ready_us("a", 104, without=(3,)) == (110,)
    assert dispatcher.lanes_ready_us("b", 104, without=(3,)) == (104,)


# Placed again.


def two_stages(*there: str, second: str) -> WindowProblem:
    """`first` on the first processor that is there, `second` on that one or, for less, on `second`."""
    modes = [{"resource": name, **MODE, "energy_nj": 0 if name == second else 9} for name in dict.fromkeys(there)]
    return WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "two",
            "horizon_us": 2_000,
            "resources": [{"name": name} for name in there],
            "links": [{"source": there[0], "target": name, "latency_us": 5} for name in there[1:]],
            "stages": [
                {"name": "first", "modes": [{"resource": there[0], **MODE}]},
                {"name": "second", "inputs": ["first"], "modes": modes},
            ],
        }
    )


def two_plan(problem: WindowProblem, *at_hand: str) -> Plan:
    there = {name: name for name in ("first", "second") if name not in at_hand}
    names = {name: name for name in at_hand}
    return make_window_plan(problem, solve_window(problem, "exhaustive"), at_hand=names, there=there)


def ends(simulator: Simulator) -> dict[str, tuple[str, str]]:
    """Of the stages of the first frame, where each ran and how it ended."""
    simulator.drain()
    (done,) = (done for done in simulator.finished() if done.frame == 0)
    return {record.stage: (record.resource, record.outcome) for record in done.stages}


def test_an_earlier_frame_can_go_where_it_could_not_when_it_was_admitted() -> None:
    """A processor is back; the frame's own question had it not, nor the links to it."""
    simulator = Simulator(Dispatcher({"a": 1, "b": 1}))
    simulator.post(ProcessorLost(0, "b"))
    simulator.post(FrameAdmitted(0, 0, 0, two_plan(two_stages("a", second="a"), "first", "second")))
    simulator.reach(5)
    simulator.post(ProcessorFound(5, "b"))
    again, next_one = (
        two_plan(two_stages("a", "b", second="b"), "second"),
        two_plan(two_stages("a", second="a"), "first"),
    )
    simulator.post(FrameAdmitted(5, 1, 5, next_one, ("b",), again=((0, again),)))
    assert ends(simulator) == {"first": ("a", "done"), "second": ("b", "done")}


def test_what_has_moved_since_the_question_is_not_placed_again() -> None:
    """Else it would be moved back to the processor that was lost, and have to fail there."""
    simulator = Simulator(Dispatcher({"a": 1, "b": 1}))
    question = two_stages("a", "b", second="b")
    simulator.post(FrameAdmitted(0, 0, 0, two_plan(question, "first", "second")))
    simulator.reach(5)
    simulator.post(ProcessorLost(5, "b"))
    next_one = two_plan(two_stages("a", second="a"), "first")
    simulator.post(FrameAdmitted(5, 1, 5, next_one, again=((0, two_plan(question, "second")),)))
    assert ends(simulator) == {"first": ("a", "done"), "second": ("a", "done")}


def test_what_has_begun_elsewhere_since_the_question_is_not_placed_again() -> None:
    """Its output could not be sent to where its readers would be."""
    simulator = Simulator(Dispatcher({"a": 1, "b": 1, "c": 1}))
    simulator.post(FrameAdmitted(0, 0, 0, two_plan(two_stages("a", second="a"), "first", "second")))
    again = two_plan(two_stages("b", "c", second="c"), "first", "second")
    next_one = two_plan(two_stages("a", second="a"), "first")
    simulator.post(FrameAdmitted(0, 1, 0, next_one, again=((0, again),)))
    assert ends(simulator) == {"first": ("a", "done"), "second": ("a", "done")}


# Holds.


def two_releases(*, awake: bool, latency_us: int = 300, **more: Any) -> WindowProblem:
    """`first` on the DSP at 0, `second` on the GPU alone at 100, due when it can just be."""
    gpu = {"name": "gpu", "linger_us": 20, "awake_mw": 3, "awake": awake, "wake_latency_us": latency_us, **more}
    return WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "two",
            "horizon_us": 2_000,
            "releases_us": [0, 100],
            "resources": [{"name": "dsp", "linger_us": None}, gpu],
            "stages": [
                {"name": "first", "modes": [{"resource": "dsp", **MODE}]},
                {"name": "second", "release_us": 100, "modes": [{"resource": "gpu", **MODE}]},
            ],
            "deadlines": [{"stage": "second", "deadline_us": 310}],
        }
    )


def planned(problem: WindowProblem, asked_again_us: int | None = 100) -> Plan:
    answer = solve_window(problem, "exhaustive")
    assert answer.status == "optimal"
    return make_window_plan(problem, answer, at_hand=("first",), asked_again_us=asked_again_us)


def test_what_the_next_question_would_wake_too_late_is_woken_at_once() -> None:
    made = planned(two_releases(awake=False))
    assert made.holds == (PlannedHold("gpu", 300, wakes=True),)
    dispatcher = Dispatcher({"dsp": 1, "gpu": 1})
    orders = dispatcher.handle(FrameAdmitted(50, 0, 50, made, ("gpu",)))
    assert Wake(0, "gpu", 300) in orders
    assert dispatcher.waking_until_us("gpu") == 350


def test_what_can_wait_for_the_next_question_waits_for_it() -> None:
    assert planned(two_releases(awake=False, latency_us=20)).holds == ()


def test_without_a_next_question_nothing_is_woken_for_later_releases() -> None:
    assert planned(two_releases(awake=False), asked_again_us=None).holds == ()


def test_what_is_awake_is_held_for_a_later_release_until_another_frame_is_admitted() -> None:
    made = planned(two_releases(awake=True, wake_energy_nj=10_000))
    assert made.holds == (PlannedHold("gpu", 100),)
    dispatcher = Dispatcher({"dsp": 1, "gpu": 1}, used_us={"gpu": 40})
    dispatcher.handle(FrameAdmitted(50, 0, 50, made))
    assert dispatcher.held_until_us("gpu") == 150 and dispatcher.in_use("gpu")
    alone = planned(two_releases(awake=True, wake_energy_nj=10_000), asked_again_us=None)
    dispatcher.handle(FrameAdmitted(90, 1, 90, alone))
    assert dispatcher.held_until_us("gpu") is None and dispatcher.sleeps("gpu")


def test_what_lingers_until_then_need_not_be_held() -> None:
    made = planned(two_releases(awake=True, wake_energy_nj=10_000))
    dispatcher = Dispatcher({"dsp": 1, "gpu": 1}, used_us={"gpu": 149})
    dispatcher.handle(FrameAdmitted(50, 0, 50, made))
    assert dispatcher.held_until_us("gpu") is None and not dispatcher.sleeps("gpu")


@given(st.integers(0, 250))
@settings(max_examples=30, deadline=None)
def test_what_was_woken_for_later_is_in_the_frames_bill(used_us: int) -> None:
    """The frame ends long before the GPU is awake, and its spans tell that it was woken."""
    made = planned(two_releases(awake=False))
    simulator = Simulator(Dispatcher({"dsp": 1, "gpu": 1}, used_us={"gpu": used_us}))
    simulator.reach(400)
    simulator.post(FrameAdmitted(400, 0, 400, made, ("gpu",)))
    simulator.drain()
    (done,) = simulator.finished()
    assert done.wakes == (("gpu", 400),)
    (span,) = [span for span in done.spans or () if span.resource == "gpu"]
    assert (span.from_us, span.until_us, span.held_until_us) == (400, 700, None)


def test_plans_of_frames_hold_nothing() -> None:
    answer = solve(chain(), "heft")
    assert isinstance(answer, Placement)
    assert make_plan(chain(), answer).holds == ()


def test_of_many_frames_in_flight_only_the_latest_are_placed_again() -> None:
    left = [LeftOver(number, 0, ("gate", "features"), (), (), {}) for number in (9, 8, 7, 6)]
    assert [one.frame for one in latest(left, 5)] == [9, 8]
    assert latest(left, 1) == ()
    assert latest(left, 100) == tuple(left)
