"""The plan of a window: what is carried out, who is awake for it, and how long it can wait for gates."""

from __future__ import annotations

import pytest

from leo_runtime.dispatch.plan import Needs, PlannedSpan, Use, Wait
from leo_runtime.dispatch.window_plan import latest_starts_us, make_window_plan
from leo_runtime.errors import SolverError
from leo_runtime.judge.window import check_window
from leo_runtime.solver.window import solve_window
from leo_runtime.testing.windows import random_window
from window_pairs import placed, two_releases


def gpu_spans(plan_spans: tuple[PlannedSpan, ...]) -> list[PlannedSpan]:
    return [span for span in plan_spans if span.resource == "gpu"]


def test_the_placements_of_these_tests_are_answers() -> None:
    for answer in (placed(), placed((), ((0, 35, ("detector0",)), (100, 135, ())))):
        assert check_window(two_releases(), answer).violations == ()


def test_what_is_not_at_hand_is_not_carried_out_and_is_held_for() -> None:
    made = make_window_plan(two_releases(), placed(), at_hand=("detector0", "model0"))
    assert list(made.stages) == ["detector0", "model0"]
    assert made.stages["model0"].needs == Needs((), ("detector0",), takes_absent=True)
    assert [(send.stage, send.target) for send in made.sends] == [("detector0", "gpu")]
    assert {run.stage for run in made.placement.stages} == {"detector0", "model0"}
    (span,) = gpu_spans(made.spans)
    assert (span.from_us, span.wakes, span.held_until_us) == (0, True, 115)
    assert dict(span.uses) == {("model0", None): 15}
    assert made.linger_us == {"dsp": None, "gpu": 10}


def test_a_span_that_ends_with_what_is_at_hand_is_not_held() -> None:
    answer = placed((), ((0, 35, ("detector0",)), (100, 135, ())))
    (span,) = gpu_spans(make_window_plan(two_releases(), answer, at_hand=("detector0", "model0")).spans)
    assert span.held_until_us is None
    first, second = gpu_spans(make_window_plan(two_releases(), answer).spans)
    assert (first.from_us, second.from_us, first.held_until_us, second.held_until_us) == (0, 100, None, None)
    assert second.waits == {}


def test_a_wait_ends_when_what_hangs_on_it_could_be_late() -> None:
    """The model must start at 35 to end at 60 even if it takes 25; the sending 2 us before it, the waking 5."""
    made = make_window_plan(two_releases(), placed(), at_hand=("detector0", "model0"))
    assert made.sends[0].wait == Wait(("detector0",), 10, 33)
    (span,) = gpu_spans(made.spans)
    assert dict(span.waits) == {("model0", None): Wait(("detector0",), 10, 30)}


def test_without_a_deadline_a_wait_never_ends_by_itself() -> None:
    made = make_window_plan(two_releases(deadlines=()), placed())
    assert made.sends[0].wait == Wait(("detector0",), 10, None)


def test_a_deadline_that_the_plan_misses_leaves_no_slack() -> None:
    problem = two_releases(deadlines=[{"stage": "model0", "deadline_us": 20}])
    assert latest_starts_us(problem, placed())["model0", None] == 15


def test_what_follows_on_a_lane_counts() -> None:
    """model1 on the same lane must start at 140 at the latest; the first ends before that."""
    problem = two_releases(deadlines=[{"stage": "model1", "deadline_us": 160}])
    latest = latest_starts_us(problem, placed())
    assert latest["model0", None] == 120
    assert latest["detector0", "gpu"] == 118


@pytest.mark.parametrize("seed", range(40))
def test_every_use_lies_in_a_span_and_has_slack(seed: int) -> None:
    problem = random_window(seed, stages=1 + seed % 4, processors=1 + seed % 2)
    try:
        answer = solve_window(problem, "exhaustive", limit_nodes=20_000)
    except SolverError:
        return
    made = make_window_plan(problem, answer) if answer.stages else None
    if made is None:
        return
    seen: list[Use] = []
    for span in made.spans:
        assert list(span.uses.values()) == sorted(span.uses.values())
        assert all(start_us >= span.from_us for start_us in span.uses.values())
        seen += span.uses
    radios = {(link.source, link.target): link.resource for link in problem.links}
    wanted: list[Use] = [(run.stage, None) for run in answer.stages]
    wanted += [(row.stage, row.target) for row in answer.transfers if radios[row.source, row.target] is not None]
    assert sorted(map(str, seen)) == sorted(map(str, wanted))
    starts: dict[Use, int] = {(run.stage, None): run.start_us for run in answer.stages}
    starts |= {(row.stage, row.target): row.start_us for row in answer.transfers}
    for reserve in (0, 50):
        for use, at_us in latest_starts_us(problem, answer, reserve).items():
            assert at_us is None or at_us >= starts[use] or reserve


def test_a_frame_that_is_placed_again_keeps_its_names_and_its_time() -> None:
    made = make_window_plan(
        two_releases(), placed(), at_hand={"model0": "model"}, there={"detector0": "detector"}, after_us=1000
    )
    (stage,) = made.stages.values()
    assert (stage.run.stage, stage.run.start_us, stage.run.end_us) == ("model", 1015, 1035)
    assert stage.needs == Needs((), ("detector",), takes_absent=True)
    (send,) = made.sends
    assert (send.stage, send.start_us, send.wait) == ("detector", 1010, Wait(("detector",), 1010, 1033))
    (span,) = made.spans
    assert (span.resource, span.from_us, span.held_until_us) == ("gpu", 1000, 1115)
    assert dict(span.uses) == {("model", None): 1015}
    assert dict(span.waits) == {("model", None): Wait(("detector",), 1010, 1030)}
