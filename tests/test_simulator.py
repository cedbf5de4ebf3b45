"""Virtual time: without noise it is the placement's time."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames import answered, asleep_in, chain_problem, dispatcher_for, planned
from leo_runtime.dispatch.driver import Computed
from leo_runtime.dispatch.events import FrameAdmitted, FrameDone, RunReport, RunStage
from leo_runtime.dispatch.plan import Needs, Plan, make_plan
from leo_runtime.dispatch.simulator import Simulator, seeded_noise
from leo_runtime.errors import DeviceUnavailableError, InputError


def one_frame(simulator: Simulator, made: Plan, asleep: tuple[str, ...] = (), release_us: int = 0) -> FrameDone:
    simulator.reach(release_us)
    simulator.post(FrameAdmitted(release_us, 0, release_us, made, asleep))
    simulator.drain()
    (done,) = simulator.finished()
    return done


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    release_us=st.sampled_from([0, 12_345]),
    solver=st.sampled_from(["greedy", "heft", "single"]),
)
def test_without_noise_its_times_are_the_placements(seed: int, release_us: int, solver: str) -> None:
    problem, placement = answered(seed, stages=1 + seed % 9, solver=solver)
    done = one_frame(
        Simulator(dispatcher_for(problem, release_us)), make_plan(problem, placement), asleep_in(problem), release_us
    )
    expected = {(r.stage, r.resource, r.variant, r.lane, r.start_us, r.end_us) for r in placement.stages}
    assert {
        (r.stage, r.resource, r.variant, r.lane, r.start_us - release_us, r.end_us - release_us) for r in done.stages
    } == expected
    sends = {(t.stage, t.source, t.target, t.start_us, t.arrive_us) for t in placement.transfers}
    assert {
        (s.stage, s.source, s.target, s.start_us - release_us, s.arrive_us - release_us) for s in done.sends
    } == sends


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_noise_keeps_every_stage_and_repeats(seed: int) -> None:
    problem, placement = answered(seed, stages=1 + seed % 9)
    made = make_plan(problem, placement)
    noise = seeded_noise(seed, 300_000)
    first, second = (
        one_frame(Simulator(dispatcher_for(problem), noise=noise), made, asleep_in(problem)) for _ in range(2)
    )
    assert first == second
    assert {record.outcome for record in first.stages} == {"done"}
    for record in first.stages:
        assert record.end_us - record.start_us == noise(0, record.stage, record.resource, record.mode.duration_us)


def test_noise_depends_on_its_seed() -> None:
    assert seeded_noise(1, 100_000)(0, "a", "cpu", 1_000_000) != seeded_noise(2, 100_000)(0, "a", "cpu", 1_000_000)
    assert seeded_noise(1, 0)(0, "a", "cpu", 1234) == 1234


def test_time_goes_to_where_it_is_asked_to_and_no_further() -> None:
    problem = chain_problem()
    simulator = Simulator(dispatcher_for(problem))
    simulator.post(FrameAdmitted(0, 0, 0, planned(problem)))
    simulator.reach(29)
    assert simulator.clock.now_us() == 29
    assert simulator.finished() == ()
    simulator.reach(30)
    assert len(simulator.finished()) == 1


def test_kernels_decide_the_gates() -> None:
    problem = chain_problem(stages={"sound": (), "gate": ("sound",), "model": ("gate",)})
    made = planned(problem, needs={"model": Needs((), ("gate",))})
    done = one_frame(
        Simulator(dispatcher_for(problem), compute=lambda order: Computed(RunReport(opened=order.stage != "gate"))),
        made,
    )
    assert [record.outcome for record in done.stages] == ["done", "done", "cancelled"]
    assert done.stages[2].end_us == done.stages[1].end_us


def test_a_simulated_device_gives_its_own_time() -> None:
    problem = chain_problem()
    simulator = Simulator(
        dispatcher_for(problem), compute=lambda _: Computed(RunReport(device_us=7)), device_times=("a",)
    )
    assert [record.end_us for record in one_frame(simulator, planned(problem)).stages] == [7, 14, 21]
    simulator = Simulator(dispatcher_for(problem), compute=lambda _: Computed(RunReport(device_us=7)))
    assert [record.end_us for record in one_frame(simulator, planned(problem)).stages] == [10, 20, 30]


def test_a_kernel_that_raises_is_a_stage_that_failed() -> None:
    def compute(order: RunStage) -> Computed:
        if order.resource == "a" and order.stage == "second":
            raise ValueError("not today")
        return Computed()

    problem = chain_problem()
    done = one_frame(Simulator(dispatcher_for(problem), compute=compute), planned(problem))
    tries = [(r.resource, r.outcome, r.error) for r in done.stages if r.stage == "second"]
    assert tries == [("a", "failed", "ValueError: not today"), ("b", "done", "")]


def test_a_device_that_goes_away_is_a_lost_processor() -> None:
    def compute(order: RunStage) -> Computed:
        if order.resource == "a":
            raise DeviceUnavailableError("unplugged")
        return Computed()

    problem = chain_problem()
    simulator = Simulator(dispatcher_for(problem), compute=compute)
    done = one_frame(simulator, planned(problem))
    assert simulator.dispatcher.lost == {"a"}
    assert [(r.stage, r.resource) for r in done.stages if r.outcome == "done"] == [
        ("first", "b"),
        ("second", "b"),
        ("third", "b"),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_frames_that_overlap_share_the_lanes(seed: int) -> None:
    """Each lane's work, over all frames, never overlaps."""
    rng = Random(seed)
    problem, placement = answered(seed, stages=8)
    made = make_plan(problem, placement)
    simulator = Simulator(dispatcher_for(problem), noise=seeded_noise(seed, 200_000))
    for frame in range(5):
        release_us = frame * rng.randrange(1, 20_000)
        simulator.reach(release_us)
        simulator.post(FrameAdmitted(simulator.clock.now_us(), frame, release_us, made, asleep_in(problem)))
    simulator.drain()
    found = simulator.finished()
    assert len(found) == 5
    lanes: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for done in found:
        for record in done.stages:
            lanes.setdefault((record.resource, record.lane), []).append((record.start_us, record.end_us))
    for spans in lanes.values():
        spans.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(spans))


@pytest.mark.parametrize(
    ("lasts_us", "says"),
    [
        (1.5, "is a whole number, got 1.5 (float)"),
        (None, "is a whole number, got None (NoneType)"),
        (-5, "is at least 0, got -5"),
    ],
)
def test_a_noise_gives_whole_numbers(lasts_us: Any, says: str) -> None:
    """Results had times of fractions, and ends before their starts."""
    problem = chain_problem()
    simulator = Simulator(dispatcher_for(problem), noise=lambda *_: lasts_us)
    with pytest.raises(InputError, match=re.escape(f"`noise` {says}")):
        simulator.post(FrameAdmitted(0, 0, 0, planned(problem)))
        simulator.drain()


def test_what_cannot_be_published_is_told() -> None:
    """The end that it belonged to was lost, and the frame never ended."""

    def publish(*_: object) -> None:
        raise MemoryError("no room")

    simulator = Simulator(dispatcher_for(chain_problem()), compute=lambda _: Computed(), publish=publish)
    simulator.post(FrameAdmitted(0, 0, 0, planned(chain_problem())))
    for _ in range(2):
        with pytest.raises(MemoryError, match="no room"):
            simulator.drain()
    assert isinstance(simulator.failure, MemoryError)
