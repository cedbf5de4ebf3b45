"""A plan's waits as they are kept: who is woken when, held until when, and what goes on without its gate."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Computed
from leo_runtime.dispatch.events import (
    FrameAdmitted,
    FrameDone,
    FrameDropped,
    Hold,
    Instruction,
    ProcessorLost,
    Release,
    RunReport,
    SpanRecord,
    StageEnded,
    StageFailed,
    Wake,
)
from leo_runtime.dispatch.plan import Plan
from leo_runtime.dispatch.simulator import Simulator, seeded_noise
from leo_runtime.dispatch.window_plan import make_window_plan
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.solver.window import solve_window
from leo_runtime.testing.playing import frame_result, has_lists, play_window, window_dispatcher, without_lists
from leo_runtime.testing.sensing_windows import sensing_window
from window_pairs import placed, two_releases

APART = ((0, 35, ("detector0",)), (100, 135, ()))
FIRST = ("detector0", "model0")


class Play:
    """Frames in virtual time, stages that last as they are told, and all that the dispatcher said."""

    def __init__(
        self,
        problem: WindowProblem,
        *,
        closed: tuple[str, ...] = (),
        lasts_us: Mapping[str, int] | None = None,
        fails: tuple[str, ...] = (),
    ) -> None:
        def compute(order: object) -> Computed:
            if getattr(order, "stage", "") in fails:
                raise ValueError("broken")
            return Computed(RunReport(opened=getattr(order, "stage", "") not in closed))

        def noise(_frame: int, stage: str, _resource: str, duration_us: int) -> int:
            return (lasts_us or {}).get(stage, duration_us)

        self.said: list[tuple[int, Instruction]] = []
        self.dispatcher = window_dispatcher(problem)
        self.simulator = Simulator(self.dispatcher, compute=compute, noise=noise)
        self._asleep = tuple(resource.name for resource in problem.resources if not resource.awake)

    def admit(self, frame: int, release_us: int, plan: Plan, again: tuple[tuple[int, Plan], ...] = ()) -> None:
        self.simulator.reach(release_us)
        self.simulator.post(FrameAdmitted(release_us, frame, release_us, plan, self._asleep, again=again))

    def drain(self) -> FrameDone:
        self.simulator.drain()
        assert self.dispatcher.broken_invariants() == ()
        return self.simulator.finished()[-1]

    def told(self, *kinds: type[Instruction]) -> list[tuple[int, str]]:
        """When which resources were told to be woken, held or released."""
        log = self.dispatcher.history(0)
        return [(at_us, type(said).__name__) for at_us, said in log if isinstance(said, kinds)]


def played(play: Play, plan: Plan) -> FrameDone:
    play.admit(0, 0, plan)
    return play.drain()


def starts(done: FrameDone) -> dict[str, int]:
    return {record.stage: record.start_us for record in done.stages if record.outcome == "done"}


def test_what_sleeps_is_woken_just_in_time_and_held_between_its_uses() -> None:
    """Planned at 15 and 115, waking takes 5: awake from 10 on, though the gpu lingers for 10 only.

    The second time it is awake anyway, so the model starts when its input is there.
    """
    play = Play(two_releases())
    done = played(play, make_window_plan(two_releases(), placed()))
    assert starts(done)["model0"] == 15
    assert starts(done)["model1"] == 112
    assert play.told(Wake, Hold, Release) == [(10, "Wake"), (35, "Hold"), (132, "Release")]
    assert done.spans is not None
    assert [span for span in done.spans if span.resource == "gpu"] == [SpanRecord("gpu", 10, 132, 132)]
    assert done.waits_given_up == 0


def test_what_falls_asleep_between_two_spans_is_woken_twice() -> None:
    play = Play(two_releases())
    done = played(play, make_window_plan(two_releases(), placed((), APART)))
    assert play.told(Wake, Hold, Release) == [(10, "Wake"), (110, "Wake")]
    assert [(resource, at_us) for resource, at_us in done.wakes] == [("gpu", 10), ("gpu", 110)]


def test_a_closed_gate_wakes_and_sends_nothing() -> None:
    play = Play(two_releases(), closed=("detector0", "detector1"))
    done = played(play, make_window_plan(two_releases(), placed()))
    assert done.sends == () or {send.stage for send in done.sends} == {"detector1"}
    assert done.wakes == ()
    assert play.told(Hold, Release) == []


def test_one_gate_of_a_list_is_enough() -> None:
    """The first is closed: the gpu wakes for the second alone, just in time."""
    play = Play(two_releases(), closed=("detector0",))
    done = played(play, make_window_plan(two_releases(), placed()))
    assert done.wakes == (("gpu", 110),)
    assert starts(done)["model1"] == 115


def test_nothing_is_woken_before_its_release_however_early_it_could_start() -> None:
    play = Play(two_releases(), lasts_us={"detector0": 1})
    done = played(play, make_window_plan(two_releases(), placed()))
    assert done.wakes[0] == ("gpu", 10)
    assert starts(done)["model0"] == 15


def test_a_hold_ends_with_the_planned_use_or_with_the_next_frame() -> None:
    plan = make_window_plan(two_releases(), placed(), at_hand=FIRST)
    play = Play(two_releases())
    done = played(play, plan)
    assert done.spans is not None
    assert done.spans[-1] == SpanRecord("gpu", 10, 35, 35, 115)
    assert play.told(Hold, Release) == [(35, "Hold"), (115, "Release")]
    assert play.dispatcher.sleeps("gpu")
    asked = Play(two_releases())
    asked.admit(0, 0, plan)
    asked.simulator.reach(60)
    assert asked.dispatcher.held_until_us("gpu") == 115
    assert asked.dispatcher.in_use("gpu")
    asked.admit(1, 60, make_window_plan(two_releases(), placed(), at_hand=("detector0",)))
    assert asked.told(Hold, Release) == [(35, "Hold"), (60, "Release")]
    assert asked.dispatcher.sleeps("gpu"), "it has lingered long ago"


def test_a_hold_is_passed_on_to_a_frame_that_uses_what_is_held() -> None:
    resources = [
        {"name": "dsp", "linger_us": None},
        {"name": "gpu", "wake_latency_us": 5, "awake_mw": 1, "linger_us": 10},
    ]
    awake = two_releases(resources=resources)
    plan = make_window_plan(two_releases(), placed(), at_hand=FIRST)
    play = Play(two_releases())
    play.admit(0, 0, plan)
    play.admit(1, 100, make_window_plan(awake, placed(), at_hand=FIRST))
    done = play.drain()
    assert done.wakes == ()
    assert play.told(Wake) == [(10, "Wake")]
    assert play.told(Hold, Release) == [(35, "Hold"), (215, "Release")]


def test_what_lingers_until_its_next_use_is_not_held() -> None:
    problem = two_releases(
        resources=[
            {"name": "dsp", "linger_us": None},
            {"name": "gpu", "awake": False, "wake_latency_us": 5, "awake_mw": 1, "linger_us": 80},
        ]
    )
    done = played(Play(problem), make_window_plan(problem, placed(), at_hand=FIRST))
    assert done.spans is not None
    assert done.spans[-1].held_until_us is None


def test_what_is_awake_and_not_used_after_all_lingers_since_its_last_use() -> None:
    """The gpu was last used 40 before the release and lingers for 60; its model is cancelled when the gate closes."""
    problem = two_releases(
        resources=[
            {"name": "dsp", "linger_us": None},
            {"name": "gpu", "wake_latency_us": 5, "awake_mw": 2, "linger_us": 60, "linger_mw": 1, "awake_until_us": 20},
        ]
    )
    answer = placed((), ((0, 35, ()), (100, 135, ())))
    found = play_window(problem, answer, closed=("detector0", "detector1"))
    (span,) = [span for span in found.result.spans or () if span.resource == "gpu"]
    assert (span.from_us, span.until_us, span.used_us) == (0, 10, -40)
    costs = {entry.cause: entry.nj for entry in found.bill.entries if entry.resource == "gpu"}
    assert costs == {"awake": 2 * 10, "idle tail": 10}


def test_a_late_gate_is_waited_for_as_long_as_there_is_slack() -> None:
    """Sent by 33 and woken by 30 the model is in time even if it takes a quarter longer."""
    plan = make_window_plan(two_releases(), placed((), APART))
    late = Play(two_releases(), lasts_us={"detector0": 29})
    done = played(late, plan)
    assert done.waits_given_up == 0
    assert done.wakes[0] == ("gpu", 29)
    too_late = Play(two_releases(), lasts_us={"detector0": 32})
    done = played(too_late, plan)
    assert done.wakes[0] == ("gpu", 30)
    assert done.waits_given_up == 1


def test_a_gate_without_a_deadline_behind_it_is_waited_for_however_late() -> None:
    problem = two_releases(deadlines=())
    done = played(Play(problem, lasts_us={"detector0": 95}), make_window_plan(problem, placed((), APART)))
    assert done.wakes[0] == ("gpu", 95)
    assert done.waits_given_up == 0


def with_sensor(deadline_us: int) -> tuple[WindowProblem, WindowPlacement]:
    """A sensor feeds a slow gate and, over a radio that wakes for the gate, the model."""
    problem = WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "far",
            "horizon_us": 300,
            "resources": [
                {"name": "dsp", "linger_us": None, "lanes": 2},
                {"name": "far", "linger_us": None},
                {"name": "radio", "awake": False, "wake_latency_us": 5, "awake_mw": 1, "linger_us": 10},
            ],
            "links": [
                {"source": "dsp", "target": "far", "bytes_per_s": 1_000_000, "resource": "radio"},
                {"source": "far", "target": "dsp"},
            ],
            "stages": [
                {
                    "name": "sensor",
                    "modes": [{"resource": "dsp", "duration_us": 10, "energy_nj": 1, "output_bytes": 20}],
                },
                {"name": "gate", "modes": [{"resource": "dsp", "duration_us": 50, "energy_nj": 1}]},
                {
                    "name": "model",
                    "inputs": ["sensor", "gate"],
                    "gates": ["gate"],
                    "chance_ppm": 100_000,
                    "modes": [
                        {"resource": "far", "duration_us": 20, "energy_nj": 1},
                        {"resource": "dsp", "duration_us": 90, "energy_nj": 1},
                    ],
                },
            ],
            "deadlines": [{"stage": "model", "deadline_us": deadline_us}],
        }
    )
    at = {"lane": 0, "variant": "default"}
    return problem, WindowPlacement.from_dict(
        {
            "format": "leo-placement/2",
            "problem": "far",
            "solver": "hand",
            "status": "feasible",
            "bounds": [0, 0],
            "stages": [
                {"stage": "sensor", "resource": "dsp", "start_us": 0, "end_us": 10} | at,
                {"stage": "gate", "resource": "dsp", "start_us": 0, "end_us": 50} | at | {"lane": 1},
                {"stage": "model", "resource": "far", "start_us": 75, "end_us": 95} | at,
            ],
            "transfers": [
                {
                    "stage": stage,
                    "source": "dsp",
                    "target": "far",
                    "lane": 0,
                    "start_us": 55,
                    "arrive_us": arrive_us,
                    "after": ["gate"],
                }
                for stage, arrive_us in (("sensor", 75), ("gate", 55))
            ],
            "spans": [
                {"resource": "dsp", "from_us": 0, "until_us": 50, "after": []},
                {"resource": "far", "from_us": 0, "until_us": 95, "after": []},
                {"resource": "radio", "from_us": 0, "until_us": 75, "after": ["gate"]},
            ],
        }
    )


def test_a_transfer_is_sent_when_its_gate_has_opened_and_not_before() -> None:
    problem, answer = with_sensor(200)
    plan = make_window_plan(problem, answer)
    play = Play(problem)
    done = played(play, plan)
    assert {send.stage: send.start_us for send in done.sends} == {"sensor": 55, "gate": 55}
    assert done.wakes == (("radio", 50),)
    closed = played(Play(problem, closed=("gate",)), plan)
    assert (closed.sends, closed.wakes) == ((), ())


def test_with_no_slack_left_a_wait_is_not_begun() -> None:
    """The gate is late at 51, so the radio is woken; the sensor is so late that its output waits for nothing else."""
    problem, answer = with_sensor(100)
    lasts_us = {"sensor": 54, "gate": 90}
    done = played(Play(problem, lasts_us=lasts_us), make_window_plan(problem, answer))
    assert {send.stage: send.start_us for send in done.sends}["sensor"] == 56
    assert done.wakes == (("radio", 51),)
    assert done.waits_given_up == 2


def test_as_long_as_all_goes_as_planned_a_gate_on_time_is_waited_for_without_any_slack() -> None:
    problem, answer = with_sensor(95)
    done = played(Play(problem), make_window_plan(problem, answer))
    assert done.waits_given_up == 0
    assert {send.stage: send.start_us for send in done.sends}["sensor"] == 55
    other = played(Play(problem, lasts_us={"sensor": 11}), make_window_plan(problem, answer))
    assert other.waits_given_up > 0, "runs do not last as planned, so slack is needed"


def test_a_gate_that_fails_frees_what_waits_for_it() -> None:
    problem, answer = with_sensor(200)
    done = played(Play(problem, fails=("gate",)), make_window_plan(problem, answer))
    assert {record.stage: record.outcome for record in done.stages} == {
        "sensor": "done",
        "gate": "failed",
        "model": "failed",
    }
    assert done.sends == ()


@pytest.mark.parametrize("at_us", [0, 20, 52, 60])
def test_a_stage_that_moves_waits_for_no_gate_any_more(at_us: int) -> None:
    """The far processor is lost: the model runs here, where its inputs are, and the radio is left alone."""
    problem, answer = with_sensor(200)
    play = Play(problem)
    play.admit(0, 0, make_window_plan(problem, answer))
    play.simulator.reach(at_us)
    play.simulator.post(ProcessorLost(at_us, "far"))
    done = play.drain()
    assert {record.stage: record.outcome for record in done.stages} == dict.fromkeys(
        ("sensor", "gate", "model"), "done"
    )
    assert not done.wakes or at_us > 50


def test_a_frame_that_is_dropped_holds_nothing() -> None:
    play = Play(two_releases())
    play.admit(0, 0, make_window_plan(two_releases(), placed(), at_hand=FIRST))
    play.simulator.reach(5)
    play.simulator.post(FrameDropped(5, 0, "enough"))
    done = play.drain()
    assert done.wakes == ()
    assert play.dispatcher.held_until_us("gpu") is None


def test_a_lost_processor_is_not_held() -> None:
    play = Play(two_releases())
    play.admit(0, 0, make_window_plan(two_releases(), placed(), at_hand=FIRST))
    play.simulator.reach(50)
    play.simulator.post(ProcessorLost(50, "gpu"))
    assert play.dispatcher.held_until_us("gpu") is None
    assert play.told(Hold, Release) == [(35, "Hold"), (50, "Release")]


def test_what_waits_of_an_earlier_frame_is_placed_again() -> None:
    """The first model waits for the second release's; when that comes, it is placed with it, on the dsp."""
    problem = two_releases()
    plan = make_window_plan(problem, placed((), ((100, 135, ()),)).model_copy(update=_late(problem)), at_hand=FIRST)
    play = Play(problem)
    play.admit(0, 0, plan)
    play.simulator.reach(100)
    again = make_window_plan(
        problem,
        placed(("detector0",)),
        at_hand={"model0": "model0"},
        there={"detector0": "detector0"},
        after_us=100,
    )
    play.admit(1, 100, make_window_plan(problem, placed((), APART), at_hand=("detector0",)), again=((0, again),))
    assert play.dispatcher.broken_invariants() == ()
    play.simulator.drain()
    first, second = sorted(play.simulator.finished(), key=lambda done: done.frame)
    assert {r.stage: (r.start_us, r.planned_start_us) for r in first.stages} == {
        "detector0": (0, 0),
        "model0": (115, 115),
    }
    assert second.frame == 1


def _late(problem: WindowProblem) -> dict[str, object]:
    """An answer in which the first model waits for the second release."""
    answer = placed()
    runs = [
        run.model_copy(update={"start_us": 120, "end_us": 140}) if run.stage == "model0" else run
        for run in answer.stages
    ]
    runs = [run.model_copy(update={"start_us": 140, "end_us": 160}) if run.stage == "model1" else run for run in runs]
    spans = [
        span if span.resource == "dsp" else span.model_copy(update={"from_us": 100, "until_us": 160, "after": ()})
        for span in answer.spans
    ]
    assert problem.horizon_us > 160
    return {"stages": tuple(runs), "spans": tuple(spans)}


def noisy_pair(seed: int, spread_ppm: int) -> tuple[int, int, int] | None:
    """How many deadlines a noisy window misses with its lists and without, and how often it gave up a wait."""
    problem = sensing_window(seed, stages=4 + seed % 6)
    try:
        answer = solve_window(problem, "exact", limit_nodes=2_000)
    except SolverError:
        return None
    if not has_lists(answer):
        return None
    noise = seeded_noise(seed, spread_ppm)
    with_lists = play_window(problem, answer, noise=noise)
    without = play_window(problem, without_lists(answer), noise=noise)
    return with_lists.missed(problem), without.missed(problem), with_lists.result.waits_given_up


def test_in_noisy_windows_waiting_misses_no_deadline() -> None:
    """`tests/bench/waits.py` plays 1,000."""
    pairs = [pair for seed in range(60) if (pair := noisy_pair(seed, 250_000)) is not None]
    assert len(pairs) > 20
    assert sum(pair[0] for pair in pairs) <= sum(pair[1] for pair in pairs)
    assert any(pair[2] for pair in pairs), "no gate was ever late: this tests nothing"


def test_a_run_is_charged_until_its_holds_end() -> None:
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.frame.ledger import run_ledger

    hardware = Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "m",
            "processors": [
                {"name": "dsp", "backend": "dsp"},
                {"name": "gpu", "backend": "gpu", "awake_mw": 7, "wake_energy_nj": 1, "idle_timeout_us": 10},
            ],
        }
    )
    plan = make_window_plan(two_releases(), placed(), at_hand=FIRST)
    held = played(Play(two_releases()), plan)
    alone = frame_result(held, 0, plan.placement)
    costs = run_ledger([alone], hardware).by_cause()
    assert costs["awake"] == 7 * (115 - 10), "until the planned use"
    assert "idle tail" not in costs, "it has lingered by then"
    play = Play(two_releases())
    play.admit(0, 0, plan)
    play.admit(1, 80, make_window_plan(two_releases(), placed(), at_hand=("detector0",)))
    play.simulator.drain()
    both = [frame_result(done, 80 * done.frame, plan.placement) for done in play.simulator.finished()]
    assert run_ledger(both, hardware).by_cause()["awake"] == 7 * (80 - 10), "until the next frame came"


def test_old_events_of_a_window_are_ignored() -> None:
    problem, answer = with_sensor(200)
    dispatcher: Dispatcher = window_dispatcher(problem)
    dispatcher.handle(FrameAdmitted(0, 0, 0, make_window_plan(problem, answer), ("radio",)))
    dispatcher.handle(FrameDropped(1, 0, "enough"))
    assert dispatcher.handle(StageEnded(2, 0, "sensor", 0)) == ()
    assert dispatcher.handle(StageFailed(2, 0, "gate", 0, "late")) == ()
