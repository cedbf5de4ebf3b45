"""What plans go by, of links that are watched: estimates of transfers that are over, which change seldom."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_workloads import profile_of, workload_of
from leo_runtime import Runtime, check, run_ledger, solve
from leo_runtime.backend.transfers import TransferSeen
from leo_runtime.documents import problem as questions
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Link, Processor, Radio
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.ledger import ledger
from leo_runtime.frame.link_course import LinkCourse, Network
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.link_watch import LinkWatch

SECOND = 1_000_000


def machine(**link: Any) -> Hardware:
    """A device with a server behind a radio: 10 ms each way, 1 MB/s."""
    common = {"latency_us": 10_000, "bytes_per_s": 1_000_000, "radio": "wifi", "energy_pj_per_byte": 1_000_000} | link
    return Hardware(
        format="leo-hardware/1",
        name="split",
        processors=(
            Processor(name="cpu", backend="cpu", active_mw=1_000),
            Processor(name="cloud", backend="none", remote=True, lanes=4),
        ),
        radios=(Radio(name="wifi", awake_mw=500, tail_us=100_000, tail_mw=100),),
        links=(
            Link(source="cpu", target="cloud", **common),
            Link(source="cloud", target="cpu", **common),
        ),
    )


def up(began_us: int, took_us: int, many: int = 50_000, **how: Any) -> TransferSeen:
    return TransferSeen("cpu", "cloud", many, began_us, took_us, **how)


def test_until_something_was_seen_plans_go_by_the_hardware() -> None:
    watch = LinkWatch(machine())
    assert watch.now(5 * SECOND) == {}
    assert watch.known(5 * SECOND) == ()


def test_a_transfer_is_known_when_it_is_over_and_no_earlier() -> None:
    watch = LinkWatch(machine())
    watch.heard(up(0, 400_000))
    assert watch.now(399_999) == {}
    there = watch.now(400_000)["cpu", "cloud"]
    assert there is not None
    assert there[1] is not None and there[1] < 600_000, "70 ms were thought"
    (known,) = watch.known(400_000)
    assert (known.transfers, known.failed) == (1, 0)
    assert known.least_bytes_per_s < known.bytes_per_s < known.most_bytes_per_s


def test_plans_do_not_change_with_every_transfer() -> None:
    watch = LinkWatch(machine())
    plans = []
    for number in range(60):
        # A link that is 15 % faster and slower by turns.
        watch.heard(up(number * SECOND, 20_000 + (43_000 if number % 2 else 58_000)))
        plans.append(watch.now((number + 1) * SECOND)["cpu", "cloud"])
    assert len(set(plans)) <= 4
    watch.heard(up(61 * SECOND, 500_000))
    watch.heard(up(62 * SECOND, 500_000))
    assert watch.now(63 * SECOND)["cpu", "cloud"] not in plans, "that is another link"


def test_of_links_without_a_rate_and_of_others_nothing_is_made() -> None:
    watch = LinkWatch(machine(bytes_per_s=None))
    watch.heard(up(0, 400_000))
    watch.heard(TransferSeen("cpu", "gpu", 9, 0, 400_000))
    assert watch.now(SECOND) == {}


def test_what_waits_at_the_server_makes_the_way_there_longer_for_a_while() -> None:
    watch = LinkWatch(machine())
    for number in range(8):
        watch.heard(up(number * SECOND, 70_000 + 250_000, server_us=250_000, queued_us=200_000))
    now = watch.now(8 * SECOND)
    there, back = now["cpu", "cloud"], now["cloud", "cpu"]
    assert there is not None and back is not None
    assert there[0] - back[0] == pytest.approx(180_000, rel=0.2)
    later = watch.now(60 * SECOND)["cpu", "cloud"]
    assert later is not None and later[0] < 20_000


def test_what_did_not_get_there_is_counted_and_says_nothing_of_the_rate() -> None:
    watch = LinkWatch(machine())
    watch.heard(up(0, 9_000_000, fate="silent"))
    (known,) = watch.known(10 * SECOND)
    assert (known.transfers, known.failed, known.bytes_per_s) == (1, 1, 1_000_000)


@pytest.mark.parametrize("fate", ["lost", "silent", "wrong"])
def test_a_way_that_failed_is_left_alone_for_a_while_in_both_directions(fate: Any) -> None:
    watch = LinkWatch(machine())
    watch.heard(up(0, 50_000, fate=fate))
    assert watch.now(60_000) == {("cpu", "cloud"): None, ("cloud", "cpu"): None}
    assert watch.avoided(60_000) == {("cpu", "cloud"): fate, ("cloud", "cpu"): fate}
    assert watch.now(400_000) == {}


def test_one_that_fails_again_and_again_is_tried_ever_more_seldom() -> None:
    """Every second try fails, whenever it is made: a way that flaps, or a network that lets through what it likes."""
    watch, tries, now_us = LinkWatch(machine()), list[int](), 0
    while now_us < 60 * SECOND:
        if ("cpu", "cloud") not in watch.avoided(now_us):
            tries.append(now_us)
            watch.heard(up(now_us, 50_000, fate="lost" if len(tries) % 2 else "there"))
        now_us += 100_000
    gaps_us = [after - before for before, after in pairwise(tries)]
    assert len(tries) < 40, "of 600"
    assert max(gaps_us) >= 8 * SECOND
    assert gaps_us[0] < SECOND


def test_all_that_one_outage_takes_counts_as_one_failure() -> None:
    watch = LinkWatch(machine())
    for number in range(8):
        watch.heard(up(number, 50_000, fate="lost"))
    (known,) = watch.known(60_000)
    assert known.failed == 8
    assert watch.avoided(60_000) and not watch.avoided(400_000), "one of them alone is waited for as long"
    watch.heard(up(400_000, 50_000, fate="lost"))
    assert watch.avoided(800_000), "it was tried again, and failed again"


def test_no_server_can_say_that_longer_was_waited_there_than_all_of_it_took() -> None:
    watch = LinkWatch(machine())
    watch.heard(up(0, 70_000, server_us=10**14, queued_us=10**14))
    now = watch.now(SECOND)["cpu", "cloud"]
    assert now is not None and now[0] < 80_000


def test_in_virtual_time_the_dispatcher_knows_of_falls() -> None:
    watch = LinkWatch(machine(), Network(both(slow_from(0, 1_000_000))))
    watch.heard(up(0, 50_000, fate="lost"))
    assert watch.now(60_000) == {}


# In virtual time: what a link does is charged, what was seen is planned with.


def _workload() -> Workload:
    """What is sensed here is thought about here in 0.3 s, or there in 5 ms."""
    graph = GraphBuilder("ask", period_us=SECOND, deadline_us=400_000)
    sensed = graph.stage("sense", "cost", output_bytes=50_000)
    thought = graph.stage("think", "cost", sensed, output_bytes=16)
    graph.stage("tell", "cost", thought, output_bytes=4)
    return workload_of(graph.build())


WORKLOAD = _workload()
PROFILE = profile_of(
    {
        ("sense", "cpu"): (1_000, 100_000),
        ("think", "cpu"): (300_000, 300_000_000),
        ("think", "cloud"): (5_000, 0),
        ("tell", "cpu"): (1_000, 100_000),
    },
    hardware="split",
)


def run(network: Network | None, frames: int = 12, **link: Any) -> tuple[tuple[FrameResult, ...], Runtime]:
    with Runtime.simulated(
        WORKLOAD, machine(**link), PROFILE, compute=False, network=network, window_stages=0
    ) as runtime:
        for number in range(1, frames + 1):
            runtime.submit(number * SECOND, {})
        return runtime.drain(), runtime


def places(frames: tuple[FrameResult, ...]) -> list[str]:
    return [next(run.resource for run in frame.stages if run.stage == "think") for frame in frames]


def slow_from(at_us: int, bytes_per_s: int) -> LinkCourse:
    if not at_us:
        return LinkCourse((0,), ((10_000, bytes_per_s),))
    return LinkCourse((0, at_us), ((10_000, 1_000_000), (10_000, bytes_per_s)))


def both(course: LinkCourse) -> dict[tuple[str, str], LinkCourse]:
    return {("cpu", "cloud"): course, ("cloud", "cpu"): course}


def test_who_knows_the_truth_leaves_at_once_and_who_estimates_when_it_was_seen() -> None:
    course = slow_from(4_500_000, 100_000)
    knowing, _ = run(Network(both(course), is_known=True))
    seeing, runtime = run(Network(both(course)))
    assert places(knowing) == ["cloud"] * 4 + ["cpu"] * 8
    assert places(seeing)[:4] == ["cloud"] * 4
    first_slow = seeing[4]
    assert places(seeing)[4] == "cloud", "nobody has told"
    (sent,) = [send for send in first_slow.transfers if send.source == "cpu"]
    assert sent.sent_us - sent.start_us == 500_000, "50,000 bytes at what the link then did"
    assert first_slow.graphs[0].latency_us > 400_000
    assert places(seeing)[8:] == ["cpu"] * 4, "one of ten times as long is not believed at once, four are"
    (known, _) = runtime.links()
    assert known.rate_off_ppm is not None and known.time_off_ppm is not None
    assert known.bytes_per_s < 1_000_000


def test_a_link_that_was_slow_once_is_tried_again() -> None:
    course = LinkCourse((0, 2_500_000, 8_500_000), ((10_000, 1_000_000), (10_000, 80_000), (10_000, 1_000_000)))
    seeing, _ = run(Network(both(course)), frames=120)
    where = places(seeing)
    assert "cpu" in where[3:9]
    assert where[-20:] == ["cloud"] * 20


def test_a_link_that_is_down_is_known_to_be_down() -> None:
    course = LinkCourse((0, 3_500_000), ((10_000, 1_000_000), None))
    seeing, _ = run(Network(both(course)), frames=6)
    assert places(seeing) == ["cloud"] * 3 + ["cpu"] * 3


def test_what_is_said_goes_before_what_is_known() -> None:
    with Runtime.simulated(
        WORKLOAD, machine(), PROFILE, compute=False, network=Network(both(slow_from(0, 1_000_000))), window_stages=0
    ) as runtime:
        runtime.submit(SECOND, {}, links={("cpu", "cloud"): None})
        (frame,) = runtime.drain()
    assert places((frame,)) == ["cpu"]


def test_without_a_network_all_goes_as_planned() -> None:
    frames, runtime = run(None)
    assert places(frames) == ["cloud"] * 12
    assert not runtime.has_network
    assert runtime.links() == ()


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({("cpu", "cloud"): slow_from(1, 2)}, "`network` is a Network, got dict"),
        (Network({("cpu", "moon"): slow_from(1, 2)}), "has no link cpu -> moon"),
        (Network(both(LinkCourse((0, 0), ((1, 2), None)))), "times that do not rise"),
        (Network(both(LinkCourse((0,), ()))), "not one for each"),
    ],
)
def test_what_is_no_network_is_refused(network: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(network)


def test_a_slower_rate_costs_more_energy_for_the_same_bytes() -> None:
    """The radio is awake for as long as it sends: 500 mW for 50 ms, or for 100; and as much of the 16 bytes back."""
    used = []
    for rate in (1_000_000, 500_000):
        frames, runtime = run(Network(both(slow_from(0, rate))), frames=1)
        used.append(run_ledger(frames, runtime.hardware).by_resource()["wifi"])
    assert used[1] - used[0] == 500 * 50_016


LINK_NOW = st.one_of(st.none(), st.tuples(st.integers(0, 200_000), st.integers(1, 3_000_000)))


@settings(max_examples=25, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(1, 3 * SECOND), LINK_NOW), min_size=1, max_size=12),
    is_known=st.booleans(),
)
def test_whatever_a_link_does_every_frame_ends_and_every_transfer_took_what_it_did(
    changes: list[tuple[int, tuple[int, int] | None]], is_known: bool
) -> None:
    times = list(accumulate(lasts_us for lasts_us, _ in changes))
    course = LinkCourse((0, *times), ((10_000, 1_000_000), *(now for _, now in changes)))
    frames, runtime = run(Network(both(course), is_known))
    assert [frame.frame for frame in frames] == list(range(12))
    sends = [send for frame in frames for send in frame.transfers]
    for send in sends:
        sent = course.sent(50_000 if send.source == "cpu" else 16, send.start_us)
        if not sent.fell and not send.error:
            assert (send.sent_us, send.arrive_us) == (sent.over_us, sent.over_us + sent.latency_us)
    assert sum(known.transfers for known in runtime.links()) <= len(sends)


def test_a_slower_rate_costs_more_energy_in_plans_and_by_the_judge() -> None:
    """All three say the same: the energy of a byte, and the radio awake for as long as it takes."""
    found = []
    for rate in (1_000_000, 500_000):
        one = {"duration_us": 1_000, "energy_nj": 5, "output_bytes": 50_000}
        radio = {"awake_mw": 500, "awake": True}
        problem = questions.Problem(
            format="leo-problem/1",
            name="crossing",
            resources=(
                questions.Resource(name="here"),
                questions.Resource(name="there"),
                questions.Resource(name="radio", **radio),
            ),
            links=(
                questions.Link(
                    source="here", target="there", bytes_per_s=rate, energy_pj_per_byte=1_000_000, resource="radio"
                ),
            ),
            stages=(
                questions.StageModes(name="a", modes=(questions.Mode(resource="here", **one),)),
                questions.StageModes(name="b", inputs=("a",), modes=(questions.Mode(resource="there", **one),)),
            ),
        )
        placement = solve(problem)
        report = check(problem, placement)
        assert report.ok and placement.criteria is not None and report.criteria == placement.criteria
        assert ledger(problem, placement).total_nj == placement.criteria.energy
        found.append(placement.criteria.energy)
    assert found[1] - found[0] == 500 * 50_000
