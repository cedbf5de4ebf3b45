"""Why an answer came when it did: the chain of waits, from its end back to its frame's release."""

from pathlib import Path
from typing import Any

import pytest

import run_logs
from leo_runtime.errors import InputError
from leo_runtime.replay import why as why_module
from leo_runtime.replay.log_reader import read_log
from leo_runtime.replay.why import Step, Why, whys

S = 1_000_000


def asked(folder: Path, *parts: dict[str, Any], frame: int = 0, everything: bool = False) -> tuple[Why, ...]:
    with read_log(run_logs.write(folder, run_logs.head(), *parts)) as log:
        return whys(log, frame, everything=everything)


def told(steps: tuple[Step, ...]) -> list[tuple[str, str, int]]:
    return [(step.kind, step.stage, step.lasted_us) for step in steps]


def late_frame(number: int, at_us: int, start_us: int, **changed: Any) -> dict[str, Any]:
    """It hears from `start_us` on, and tells on the CPU."""
    hear = run_logs.run("hear", "dsp", start_us, start_us + 400_000)
    tell = run_logs.run("tell", "cpu[0]", start_us + 402_000, start_us + 422_000)
    sent = run_logs.send("hear", "dsp", "cpu", start_us + 400_000, start_us + 402_000)
    return run_logs.frame(number, at_us, [hear, tell], [sent], **changed)


def test_a_backlog_is_summed_since_the_lane_was_free(tmp_path: Path) -> None:
    """Each frame takes 0.4 s of the DSP, and one comes every 0.1 s from 1 s on; at 0.2 s one had been done long ago."""
    parts = [late_frame(0, 200_000, 200_000)]
    parts += [late_frame(n, S + (n - 1) * 100_000, S + (n - 1) * 400_000) for n in range(1, 11)]
    knock, level = asked(tmp_path, *parts, frame=10)
    assert (knock.graph, level.graph) == ("knock", "level")
    assert told(knock.steps) == [
        ("lane", "hear", 2_700_000),
        ("run", "hear", 400_000),
        ("transfer", "hear", 2_000),
        ("run", "tell", 20_000),
    ]
    assert knock.cause is knock.steps[0]
    backlog = knock.steps[0].backlog
    assert backlog is not None
    assert (backlog.ahead_us, backlog.others_us) == (2_700_000, 2_700_000)
    assert (backlog.first_frame, backlog.since_us, backlog.frames, backlog.busy_us) == (1, S, 9, 3_600_000)
    assert [(share.stage, share.runs, share.busy_us) for share in backlog.ahead] == [("hear", 7, 2_700_000)]
    assert backlog.is_all and backlog.longest is None
    assert knock.late_us == 2_622_000


def test_what_ran_longer_than_planned_is_named(tmp_path: Path) -> None:
    frame = late_frame(0, S, S)
    frame["stages"][1] |= {"end_us": frame["stages"][1]["end_us"] + 300_000}
    frame["graphs"][0]["end_us"] += 300_000
    (knock,) = asked(tmp_path, frame)
    assert knock.cause is not None
    assert (knock.cause.stage, knock.cause.needless_us, knock.cause.planned_us) == ("tell", 300_000, 20_000)
    assert knock.planned_end_us == S + 422_000


def test_a_backlog_says_which_run_of_it_took_longest_beyond_its_plan(tmp_path: Path) -> None:
    slow = late_frame(0, S, S)
    slow["stages"][0]["end_us"] = S + 2_000_000
    slow["stages"][1] |= {"start_us": S + 2_002_000, "end_us": S + 2_022_000}
    slow["transfers"][0] |= {"start_us": S + 2_000_000, "sent_us": S + 2_002_000, "arrive_us": S + 2_002_000}
    knock, _ = asked(tmp_path, late_frame(1, S + 1_000_000, S + 2_000_000), slow, frame=1)
    assert knock.cause is not None and knock.cause.backlog is not None
    assert knock.cause.backlog.longest == (0, "hear", 1_600_000)
    assert knock.cause.backlog.over_us == 1_600_000


def test_frames_that_ended_later_were_before_it_too(tmp_path: Path) -> None:
    """What occupies the lane is of a frame whose own end comes after that of the one asked about."""
    long = run_logs.frame(0, S, [run_logs.run("hear", "dsp", S, S + 900_000), run_logs.run("tell", "cpu[1]", S, 9 * S)])
    knock, _ = asked(tmp_path, late_frame(1, S + 100_000, S + 900_000), long, frame=1)
    assert knock.steps[0].kind == "lane"
    assert knock.steps[0].backlog is not None and knock.steps[0].backlog.first_frame == 0


def test_waking_is_a_step_of_its_own(tmp_path: Path) -> None:
    frame = late_frame(0, S, S)
    frame["stages"][1] |= {"start_us": S + 600_000, "end_us": S + 620_000, "planned_start_us": S + 600_000}
    frame["graphs"][0]["end_us"] = S + 620_000
    (knock,) = asked(tmp_path, {**frame, "wakes": [{"resource": "cpu", "at_us": S + 590_000}]})
    assert told(knock.steps) == [
        ("run", "hear", 400_000),
        ("transfer", "hear", 2_000),
        ("planned", "tell", 188_000),
        ("wake-up", "tell", 10_000),
        ("run", "tell", 20_000),
    ]
    assert knock.cause is None


def test_a_transfer_waits_for_the_gate_that_its_plan_names(tmp_path: Path) -> None:
    """`hear` is a gate, and what a third stage made is sent to the CPU when it has opened."""
    stages = [
        {
            "name": name,
            "inputs": inputs,
            "gates": gates,
            "modes": [{"resource": where, "duration_us": 1, "energy_nj": 0}],
        }
        for name, inputs, gates, where in (
            ("first", [], [], "dsp"),
            ("hear", [], [], "dsp"),
            ("tell", ["first", "hear"], ["hear"], "cpu"),
        )
    ]
    problem = {
        "format": "leo-problem/2",
        "name": "p",
        "horizon_us": S,
        "resources": [{"name": "dsp", "linger_us": None}, {"name": "cpu", "linger_us": None}],
        "links": [{"source": "dsp", "target": "cpu"}],
        "stages": stages,
    }
    sent = {"stage": "first", "source": "dsp", "target": "cpu", "lane": None, "start_us": 1, "arrive_us": 1}
    placement = {
        "format": "leo-placement/2",
        "problem": "p",
        "solver": "exact",
        "status": "feasible",
        "transfers": [{**sent, "after": ["hear"]}],
    }
    question = {"kind": "question", "question": "0123456789abcdef", "problem": problem, "placement": placement}
    runs = [
        run_logs.run("first", "dsp", S, S + 100_000, graphs=["knock"]),
        run_logs.run("hear", "dsp", S + 100_000, S + 500_000, graphs=["knock"]),
        run_logs.run("tell", "cpu[0]", S + 502_000, S + 522_000),
    ]
    sends = [
        run_logs.send("first", "dsp", "cpu", S + 500_000, S + 502_000),
        run_logs.send("hear", "dsp", "cpu", S + 500_000, S + 501_000),
    ]
    asks = {"question": "0123456789abcdef", "graphs": [run_logs.seen("knock", S, S + 522_000)]}
    (knock,) = asked(tmp_path, question, run_logs.frame(0, S, runs, sends, **asks))
    assert [(step.kind, step.stage, step.gate, step.lasted_us) for step in knock.steps] == [
        ("run", "first", "", 100_000),
        ("gate", "first", "hear", 400_000),
        ("transfer", "first", "", 2_000),
        ("run", "tell", "", 20_000),
    ]


def test_a_transfer_waits_for_its_radio(tmp_path: Path) -> None:
    over = {"resource": "wifi", "lane": 0}
    one = late_frame(0, S, S)
    one["transfers"][0] |= {**over, "sent_us": S + 900_000, "arrive_us": S + 900_000}
    one["stages"][1] |= {"start_us": S + 900_000, "end_us": S + 920_000}
    one["graphs"][0]["end_us"] = S + 920_000
    two = late_frame(1, S + 1, S + 400_000)
    two["transfers"][0] |= {**over, "start_us": S + 900_000, "sent_us": S + 902_000, "arrive_us": S + 902_000}
    two["stages"][1] |= {"start_us": S + 902_000, "end_us": S + 922_000}
    two["graphs"][0]["end_us"] = S + 922_000
    knock, _ = asked(tmp_path, one, two, frame=1)
    assert told(knock.steps) == [
        ("lane", "hear", 399_999),
        ("run", "hear", 400_000),
        ("lane", "hear", 100_000),
        ("transfer", "hear", 2_000),
        ("run", "tell", 20_000),
    ]
    assert knock.steps[2].resource == "wifi"


def test_a_frame_that_was_submitted_late_says_so(tmp_path: Path) -> None:
    knock, _ = asked(tmp_path, late_frame(0, S, 3 * S, admitted_us=3 * S))
    assert told(knock.steps)[0] == ("late start", "hear", 2_000_000)
    assert knock.cause is knock.steps[0]


def test_a_stage_that_failed_and_was_moved_is_a_step(tmp_path: Path) -> None:
    first = run_logs.run("tell", "cpu[0]", S + 402_000, S + 700_000, outcome="failed", error="KernelError: no")
    frame = late_frame(0, S, S)
    again = run_logs.run("tell", "dsp", S + 700_000, S + 800_000)
    frame["stages"] = [frame["stages"][0], first, again]
    frame["graphs"][0]["end_us"] = S + 800_000
    (knock,) = asked(tmp_path, frame)
    assert told(knock.steps) == [
        ("run", "hear", 400_000),
        ("transfer", "hear", 2_000),
        ("retry", "tell", 298_000),
        ("run", "tell", 100_000),
    ]
    assert knock.cause is not None and knock.cause.kind == "retry"


def test_what_failed_says_what_failed_first(tmp_path: Path) -> None:
    hear = run_logs.run("hear", "dsp", S, S + 100_000, outcome="failed", error="KernelError: broken")
    tell = run_logs.run("tell", "cpu[0]", S + 100_000, S + 100_000, outcome="failed", error="its input hear failed")
    graphs = [run_logs.seen(graph, S, S + 100_000, outcome="failed") for graph in ("knock", "level")]
    for one in asked(tmp_path, run_logs.frame(0, S, [hear, tell], graphs=graphs, reason="KernelError: broken")):
        assert one.reason == "KernelError: broken"
        assert told(one.steps) == [("run", "hear", 100_000)]


def test_a_skipped_frame_waited_for_what_its_lane_had(tmp_path: Path) -> None:
    why = "skipped: its deadline passed before it could start"
    before = run_logs.frame(0, S, [run_logs.run("hear", "dsp", S, S + 3_000_000)])
    stages = [
        run_logs.run(name, where, S + 3_000_000, S + 3_000_000, outcome="failed", error=why, nj=0)
        for name, where in (("hear", "dsp"), ("tell", "cpu[0]"))
    ]
    graphs = [run_logs.seen("knock", S + 100_000, S + 3_000_000, outcome="failed")]
    skipped = run_logs.frame(1, S + 100_000, stages, graphs=graphs, skipped=True, reason=why)
    (knock,) = asked(tmp_path, before, skipped, frame=1)
    assert knock.reason == why
    assert told(knock.steps) == [("lane", "hear", 2_900_000)]
    assert knock.cause is knock.steps[0]


def test_a_frame_that_was_not_placed_says_who_was_in_flight(tmp_path: Path) -> None:
    before = [late_frame(n, S + n, 3 * S + n) for n in range(3)]
    none = {"status": "unplaced", "criteria": None, "skipped": True, "reason": "skipped: 3 frames are in flight"}
    graphs = [run_logs.seen("knock", 2 * S, 2 * S, outcome="failed")]
    (knock,) = asked(tmp_path, *before, run_logs.frame(3, 2 * S, graphs=graphs, **none), frame=3)
    assert knock.steps == () and knock.cause is None
    assert knock.in_flight is not None
    assert (knock.in_flight.frames, knock.in_flight.oldest, knock.in_flight.oldest_release_us) == (3, 0, S)


def test_one_looks_back_no_further_than_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why_module, "MOST_FRAMES_BACK", 4)
    parts = [late_frame(n, S + n * 100_000, S + n * 400_000) for n in range(10)]
    knock, _ = asked(tmp_path, *parts, frame=9)
    assert knock.steps[0].backlog is not None
    assert not knock.steps[0].backlog.is_all
    assert knock.steps[0].backlog.first_frame > 4


def test_a_frame_in_time_has_nothing_to_explain_unless_asked(tmp_path: Path) -> None:
    assert asked(tmp_path, late_frame(0, S, S)) == ()
    assert [one.graph for one in asked(tmp_path, late_frame(0, S, S), everything=True)] == ["knock", "level"]


def test_the_first_format_tells_of_lanes_and_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(run_logs.LOG_1)
    with read_log(tmp_path) as log:
        (knock,) = whys(log, 0, everything=True)
    assert told(knock.steps) == [("run", "hear", 400_000)]


def test_a_frame_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no frame 7"):
        asked(tmp_path, late_frame(0, S, S), frame=7)


@pytest.mark.parametrize("seed", [*range(0, 40, 4), 2, 17])
def test_the_steps_of_every_answer_lead_from_its_release_to_its_end(tmp_path: Path, seed: int) -> None:
    """Of random runs, overloaded ones among them: without a gap, and no step before the release."""
    noisy = {"noise": 300_000, "window_stages": 6}  # Short windows: with noise each is solved anew.
    how: dict[str, Any] = [{}, {"solver": "greedy"}, noisy, {"window_stages": 0}, {"batch": 3}][seed % 5]
    folder, _ = run_logs.random_run(tmp_path, seed, **how)
    with read_log(folder) as log:
        for number in log.numbers:
            frame = log.at(log.position(number))
            for one in whys(log, number, everything=True):
                if one.outcome == "failed":
                    continue
                at_us = frame.release_us
                for step in one.steps:
                    assert step.from_us == at_us, (number, one.graph, one.steps)
                    assert step.needless_us <= step.lasted_us
                    if step.backlog is not None:
                        assert 0 < step.backlog.ahead_us <= step.lasted_us
                        assert step.backlog.since_us <= step.from_us
                    at_us = step.until_us
                assert at_us == one.end_us, (number, one.graph, one.steps)
