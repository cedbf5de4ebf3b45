"""What a transfer takes over a link whose rate changes, in virtual time: the sum of what each moment could carry."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames import dispatcher_for, planned
from leo_runtime.backend.transfers import TransferSeen
from leo_runtime.dispatch.events import FrameAdmitted, FrameDone
from leo_runtime.dispatch.simulator import Simulator
from leo_runtime.documents.problem import Link, Mode, Problem, Resource, StageModes
from leo_runtime.frame.link_course import LinkCourse, Sent

STEADY = LinkCourse((0,), ((5_000, 1_000_000),))
SLOWER = LinkCourse((0, 4_000), ((5_000, 1_000_000), (7_000, 500_000)))


def test_a_steady_link_takes_what_the_document_says() -> None:
    link = Link(source="a", target="b", bytes_per_s=777_777)
    course = LinkCourse((0,), ((0, 777_777),))
    for many in (0, 1, 2, 999, 1_000_003):
        assert course.sent(many, 123).over_us == 123 + link.sending_us(many)


def test_a_rate_that_falls_within_a_transfer_makes_it_longer() -> None:
    # 4,000 bytes in the first 4 ms, and as many in the next 8.
    assert SLOWER.sent(8_000, 0) == Sent(12_000, 7_000)
    assert STEADY.sent(8_000, 0) == Sent(8_000, 5_000)


def test_where_the_size_does_not_matter_nothing_does() -> None:
    assert LinkCourse((0,), ((9, None),)).sent(10**9, 50) == Sent(50, 9)


def test_a_link_that_falls_loses_what_it_was_sending() -> None:
    course = LinkCourse((0, 4_000, 9_000), ((5_000, 1_000_000), None, (5_000, 1_000_000)))
    assert course.sent(4_000, 0) == Sent(4_000, 5_000)
    assert course.sent(4_001, 0) == Sent(4_000, 0, fell=True)
    assert course.sent(1, 4_000) == Sent(4_000, 0, fell=True)
    assert (course.next_us(0), course.next_us(4_000), course.next_us(9_000)) == (4_000, 9_000, None)
    assert (course.at(-1), course.at(4_000), course.at(10**9)) == ((5_000, 1_000_000), None, (5_000, 1_000_000))


@given(
    steps=st.lists(st.tuples(st.integers(1, 50_000), st.integers(1, 3_000_000)), min_size=1, max_size=8),
    parts=st.lists(st.integers(0, 60_000), min_size=1, max_size=5),
    from_us=st.integers(0, 100_000),
)
def test_no_byte_is_sent_twice_or_for_nothing(steps: list[tuple[int, int]], parts: list[int], from_us: int) -> None:
    """What has been carried by the end is what was sent, and a microsecond earlier it was not."""
    times = [0]
    for lasts_us, _ in steps[:-1]:
        times.append(times[-1] + lasts_us)
    course = LinkCourse(tuple(times), tuple((0, rate) for _, rate in steps))

    def carried(until_us: int) -> int:
        edges = [*times, max(times[-1], until_us) + 1]
        return sum(
            max(0, min(after, until_us) - max(before, from_us)) * rate
            for (before, after), (_, rate) in zip(pairwise(edges), steps, strict=True)
        )

    many = sum(parts)
    over_us = course.sent(many, from_us).over_us
    assert carried(over_us) >= many * 1_000_000
    assert many == 0 or carried(over_us - 1) < many * 1_000_000


def _there_and_back() -> Problem:
    """One stage on the device, one on the server that reads it, by a radio."""

    def one(name: str, where: str, inputs: tuple[str, ...] = ()) -> StageModes:
        mode = Mode(resource=where, duration_us=1_000, energy_nj=1, output_bytes=8_000)
        return StageModes(name=name, inputs=inputs, modes=(mode,))

    link = Link(source="here", target="there", latency_us=5_000, bytes_per_s=1_000_000, resource="radio")
    return Problem(
        format="leo-problem/1",
        name="one crossing",
        resources=tuple(Resource(name=name) for name in ("here", "there", "radio")),
        links=(link,),
        stages=(one("first", "here"), one("second", "there", ("first",))),
    )


def _run(simulator: Simulator, problem: Problem) -> FrameDone:
    simulator.post(FrameAdmitted(0, 0, 0, planned(problem)))
    simulator.drain()
    (done,) = simulator.finished()
    return done


def test_the_simulator_sends_by_what_the_link_really_does() -> None:
    problem = _there_and_back()
    slow = LinkCourse((0, 5_000), ((5_000, 1_000_000), (6_000, 500_000)))
    back = LinkCourse((0,), ((2_000, 1_000_000),))
    heard: list[TransferSeen] = []
    courses = {("here", "there"): slow, ("there", "here"): back}
    done = _run(Simulator(dispatcher_for(problem), courses=courses, heard=heard.append), problem)
    (send,) = done.sends
    # From 1 ms on 4,000 bytes in 4 ms, and as many in 8.
    assert (send.start_us, send.sent_us, send.arrive_us) == (1_000, 13_000, 19_000)
    assert done.at_us == 20_000
    assert heard == [TransferSeen("here", "there", 8_000, 1_000, 12_000 + 6_000 + 2_000)]


def test_other_links_do_as_planned_and_nobody_is_told() -> None:
    problem, heard = _there_and_back(), list[TransferSeen]()
    done = _run(Simulator(dispatcher_for(problem), courses={}, heard=heard.append), problem)
    assert [(send.sent_us, send.arrive_us) for send in done.sends] == [(9_000, 14_000)]
    assert not heard


@pytest.mark.parametrize("up_us", [50_000, None])
def test_nothing_hangs_where_a_link_falls(up_us: int | None) -> None:
    """What was being sent is lost, whether or not the link is back later; and there is no other place to run."""
    problem = _there_and_back()
    course = LinkCourse((0, 2_000), ((5_000, 1_000_000), None))
    if up_us is not None:
        course = LinkCourse((*course.times_us, up_us), (*course.nows, (5_000, 1_000_000)))
    heard: list[TransferSeen] = []
    courses = {("here", "there"): course}
    done = _run(Simulator(dispatcher_for(problem), courses=courses, heard=heard.append), problem)
    assert [stage.outcome for stage in done.stages] == ["done", "failed"]
    assert "cannot get from `here` to `there`" in done.stages[1].error
    assert [(send.sent_us, send.error) for send in done.sends] == [(2_000, "link `here` -> `there` fell")]
    assert heard == [TransferSeen("here", "there", 8_000, 1_000, 1_000, fate="lost")]
    assert done.at_us == 2_000
