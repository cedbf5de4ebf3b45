"""What a result carries of its question and answer: the pair is valid, and one for all frames of a plan."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cost_workloads import profile_of, random_machine, random_profile, random_workload, workload_of
from leo_runtime import shipped
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.frame.records import FrameResult
from leo_runtime.frame.window import window_problem
from leo_runtime.judge import check
from leo_runtime.judge.window import check_window
from leo_runtime.runtime.planner import MAX_PLANS
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve
from leo_runtime.solver.reserve import solve_with_reserve, window_with_reserve
from leo_runtime.solver.window import solve_window
from test_windows import COSTS, FOUR, HYPERPERIOD_US, four, of_short_windows_only, periodic, two_processors


def require_solved(frames: Collection[FrameResult], *, windows: bool) -> None:
    """Every placed frame carries a pair that the judges find nothing wrong with, and that its plan is made from.

    With `windows` it is that of a window, unless that had no answer.
    """
    judged: set[int] = set()
    for frame in frames:
        solved = frame.solved
        assert (solved is None) == (not frame.stages and not frame.skipped), frame.reason
        if solved is None:
            continue
        question, answer = solved.question, solved.answer
        assert answer.solve_us == 0
        in_window = isinstance(question, WindowProblem)
        assert windows or not in_window
        placed = {(run.stage, run.resource, run.variant, run.lane, run.start_us) for run in answer.stages}
        planned = {(r.stage, r.resource, r.variant, r.lane, r.start_us) for r in frame.placement.stages}
        assert planned <= placed if in_window else planned == placed
        assert frame.placement.criteria == answer.criteria
        assert set(frame.jobs) == {run.stage for run in frame.placement.stages}
        assert frame.spans is not None or not in_window  # One that was asked alone may be placed again in a window.
        if id(solved) not in judged:
            judged.add(id(solved))
            if isinstance(question, WindowProblem):
                assert isinstance(answer, WindowPlacement)
                report = check_window(question, answer)
            else:
                assert isinstance(answer, Placement)
                report = check(question, answer)
            assert report.ok, (report.violations, report.false_claims)
    assert judged, "something was placed"


@pytest.mark.parametrize("window_stages", [0, None])
def test_of_the_demo_every_frame_carries_a_valid_answer(window_stages: int | None) -> None:
    with Runtime.simulated(
        shipped.workload(),
        shipped.hardware("snapdragon-800"),
        shipped.profile("snapdragon-800"),
        compute=False,
        window_stages=window_stages,
    ) as runtime:
        frames = periodic(runtime, 20_000_000, 1)
    require_solved(frames, windows=window_stages is None)


@given(st.integers(0, 2**32), st.sampled_from((0, 1, 4, 12)), st.booleans())
@example(1045, 20, False)  # A frame that is too large for a window is placed again in that of the next one.
@settings(max_examples=40, deadline=None)
def test_whatever_is_run_what_a_frame_carries_is_valid(seed: int, window_stages: int, adapt: bool) -> None:
    """With noise, processors that are lost, and links that change."""
    rng = Random(seed)
    workload, hardware = random_workload(rng), random_machine(rng)
    with Runtime.simulated(
        workload,
        hardware,
        random_profile(rng, workload),
        solver="greedy",
        compute=False,
        window_stages=window_stages,
        noise=200_000,
        adapt=adapt,
    ) as runtime:
        at_us = 0
        for _ in range(12):
            at_us += rng.randrange(1, 90_000)
            wanted = rng.sample([graph.name for graph in workload.graphs], rng.randint(1, len(workload.graphs)))
            link = rng.choice(hardware.links)
            now = rng.choice((None, (rng.randrange(500), rng.choice((None, 500_000)))))
            links = rng.choice((None, {}, {(link.source, link.target): now}))
            runtime.submit(at_us, {}, graphs=wanted, links=links)
            if rng.randrange(6) == 0:
                rng.choice((runtime.lose, runtime.restore))("gpu")
        require_solved(runtime.drain(), windows=window_stages > 0)


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_what_is_kept_of_a_window_changes_no_question(seed: int) -> None:
    """Each question made alone is as it was asked, though its releases came from another one."""
    rng = Random(seed)
    workload, hardware = random_workload(rng), random_machine(rng)
    options: dict[str, Any] = {"solver": "greedy", "compute": False, "window_stages": 12, "noise": 200_000}
    with Runtime.simulated(workload, hardware, random_profile(rng, workload), **options) as runtime:
        at_us = 0
        for _ in range(20):
            at_us += rng.choice((5_000, 20_000, rng.randrange(1, 90_000)))
            wanted = [graph.name for graph in workload.graphs[: rng.randint(1, len(workload.graphs))]]
            runtime.submit(at_us, {}, graphs=wanted)
        runtime.drain()
        planner = runtime._now.placer._planner
        plans = runtime._now.horizon._windows._plans  # type: ignore[union-attr]
        for found, planned in plans.items():
            usual = planner.question(found.now)
            assert usual is not None
            alone = window_problem(runtime.merged, runtime.modes, hardware, found, usual, usual.name)
            if len(alone.problem.stages) == len(planned.solved.question.stages):  # It was not shortened.
                assert planned.solved.question == alone.problem


@pytest.mark.parametrize("together", [(), ("a",), None])
def test_a_batch_carries_the_question_of_all_its_frames(together: tuple[str, ...] | None) -> None:
    with four() as runtime:
        runtime.submit_batch([(at_us, {}) for at_us in (0, 100_000)], graphs=("a",), together=together)
        frames = runtime.drain()
    require_solved(frames, windows=False)
    (frame,) = frames
    assert frame.solved is not None
    assert [stage.name for stage in frame.solved.question.stages] == list(frame.jobs)


def test_frames_whose_plan_is_used_again_carry_the_same_object() -> None:
    with four() as runtime:
        frames = periodic(runtime, 12 * HYPERPERIOD_US)
        asked = runtime.planning.asked
    require_solved(frames, windows=True)
    assert len({id(frame.solved) for frame in frames}) == asked < len(frames)
    steady = frames[4 * 8 :]
    assert [frame.solved for frame in steady[8:16]] == [frame.solved for frame in steady[16:24]]


def test_frames_planned_alone_carry_the_same_object_too() -> None:
    with four(window_stages=0) as runtime:
        frames = periodic(runtime, 6 * HYPERPERIOD_US)
    require_solved(frames, windows=False)
    assert len({id(frame.solved) for frame in frames}) < 2 * 8


def test_a_shortened_window_is_carried_as_it_was_asked() -> None:
    with four(solver=of_short_windows_only) as runtime:
        frames = periodic(runtime, HYPERPERIOD_US)
        assert runtime.planning.shortened == 8
    require_solved(frames, windows=True)
    assert {stage.release_us for f in frames if f.solved for stage in f.solved.question.stages} == {0}


def of_frames_only(problem: WindowProblem | Problem) -> Placement:
    if isinstance(problem, WindowProblem):
        raise SolverError("no window")
    return solve(problem, "heft")


def of_both(problem: WindowProblem | Problem) -> Placement | WindowPlacement:
    return solve_window(problem, "greedy") if isinstance(problem, WindowProblem) else solve(problem, "heft")


def with_reserve(problem: WindowProblem | Problem) -> Placement | WindowPlacement:
    if isinstance(problem, WindowProblem):
        return window_with_reserve(problem, 50, solve_window)
    return solve_with_reserve(problem, 50, solve)


@pytest.mark.parametrize(("solver", "windows"), [(of_frames_only, False), (of_both, True), (with_reserve, True)])
def test_answers_of_a_solver_of_ones_own_are_carried_too(solver: Any, windows: bool) -> None:
    with four(solver=solver) as runtime:
        require_solved(periodic(runtime, HYPERPERIOD_US), windows=windows)


def test_an_answer_that_moves_nothing_is_one_to_the_question_as_it_was_asked() -> None:
    with four(switching_nj=10_000_000_000, noise=100_000) as runtime:
        frames = periodic(runtime, 6 * HYPERPERIOD_US)
    require_solved(frames, windows=True)


def test_what_was_not_placed_carries_nothing() -> None:
    def mine(problem: Problem) -> Placement:
        if runtime.now_us:
            raise SolverError("no more")
        return solve(problem, "heft")

    with Runtime.simulated(
        workload_of(*FOUR), two_processors(), profile_of(COSTS), compute=False, solver=mine, window_stages=0
    ) as runtime:
        runtime.submit(0, {}, graphs=("a",))
        runtime.submit(50_000, {}, graphs=("b",))
        first, second = runtime.drain()
    assert first.solved is not None
    assert second.solved is None and second.reason


def test_what_is_carried_is_kept_with_plans_alone() -> None:
    """As many pairs as plans: no more than `MAX_PLANS`."""
    with four(noise=300_000, window_stages=3, solver="greedy") as runtime:
        periodic(runtime, 8 * HYPERPERIOD_US)
        windows = runtime._now.horizon._windows  # type: ignore[union-attr]
        assert 0 < len(windows._plans) <= MAX_PLANS
        assert not runtime._in_flight
