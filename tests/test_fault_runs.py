"""Faults that are asked for, in virtual time: links that fall and flap, servers that die, are silent and slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cut_runs import CutRun, overlaps
from leo_runtime import Runtime
from leo_runtime.dispatch.faults import FaultPlan
from leo_runtime.dispatch.plan import make_plan
from leo_runtime.dispatch.turning_back import latest_us
from leo_runtime.documents.changes import changed
from leo_runtime.documents.faults import Fault, faults_of
from leo_runtime.errors import InputError
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult
from reference_ledger import reference_ledger
from split_machine import PERIOD_US, hardware, profile, workload
from test_cut_off import problem, split

SECOND_US = 1_000_000


def results(
    *faults: str, frames: int = 30, radios: int = 1, seed: int = 0, **options: object
) -> tuple[FrameResult, ...]:
    """What becomes of frames, one every 100 ms from 0.1 s on, with these faults."""
    machine, asked = hardware(radios=radios), [f"fault {one}" for one in faults]
    with Runtime.simulated(
        workload(),
        machine,
        profile(radios=radios),
        compute=False,
        seed=seed,
        faults=faults_of(asked, machine, frames * PERIOD_US, seed),
        **options,  # type: ignore[arg-type]  # those of a runtime
    ) as runtime:
        for number in range(1, frames + 1):
            runtime.submit(number * PERIOD_US, {})
        return runtime.drain()


def ran(result: FrameResult) -> list[tuple[str, str, str]]:
    return [(one.stage, one.resource, one.outcome) for one in result.stages]


def in_time(found: Sequence[FrameResult]) -> bool:
    return not any(graph.missed for result in found for graph in result.graphs)


def test_without_faults_the_server_is_used() -> None:
    found = results(frames=3)
    assert {one.resource for result in found for one in result.stages if one.stage == "net"} == {"cloud"}
    assert in_time(found)


def test_a_link_that_falls_while_a_frame_is_sent_costs_it_no_answer() -> None:
    found = results("radio-cloud@0.5008-1.2")
    hit = found[4]
    (sent,) = hit.transfers
    assert sent.error == "link `cpu` -> `cloud` fell"
    assert (sent.start_us, sent.sent_us, sent.arrive_us, sent.nj) == (500_500, 500_800, 500_800, 30_000)
    assert ran(hit) == [(name, "cpu", "done") for name in ("sound", "mel", "net", "say")]
    assert in_time(found)
    by_place = [dict(Counter(one.resource for one in result.stages)) for result in found]
    assert by_place[5:11] == [{"cpu": 4}] * 6, "while it is down nothing is placed there"
    assert by_place[11:] == [{"cpu": 2, "cloud": 2}] * 19, "and then again"


def test_a_server_that_dies_is_probed_and_used_again() -> None:
    found = results("cloud@0.504-1.2")
    assert ran(found[4]) == [
        ("sound", "cpu", "done"),
        ("mel", "cloud", "failed"),
        ("mel", "cpu", "done"),
        ("net", "cpu", "done"),
        ("say", "cpu", "done"),
    ]
    assert in_time(found)
    used = [number for number, result in enumerate(found) if any(one.resource == "cloud" for one in result.stages)]
    assert used == [0, 1, 2, 3, 4, *range(12, 30)], "it is tried 0.25 s after its end, 0.5 s and 1 s after that"


def test_a_server_that_is_slow_is_waited_for() -> None:
    found = results("cloud@0.5-0.6,slow=4")
    assert [one.end_us - one.start_us for one in found[4].stages if one.resource == "cloud"] == [4000, 12_000]
    assert [one.end_us - one.start_us for one in found[5].stages if one.resource == "cloud"] == [1000, 3000]


def test_another_radio_takes_over() -> None:
    found = results("radio-cloud@0.5008-1.2", radios=2)
    assert in_time(found)
    assert {one.resource for one in found[4].stages} == {"cpu", "cloud1"}
    assert found[4].transfers[-1].error
    assert {one.resource for one in found[8].stages} == {"cpu", "cloud1"}
    assert {one.resource for one in found[20].stages} == {"cpu", "cloud"}


@pytest.mark.parametrize("windows", [0, 16])
def test_a_link_that_flaps_costs_no_frame_and_no_placement_each_time(windows: int) -> None:
    """Up and down every 100 ms for 6 s, as every frame begins: it is tried a few times, and not sixty."""
    faults = [f"radio-cloud@{0.1008 + k * 0.2:.4f}-{0.2008 + k * 0.2:.4f}" for k in range(30)]
    found = results(*faults, frames=170, window_stages=windows)
    assert in_time(found)
    places = [frozenset(one.resource for one in result.stages if one.outcome == "done") for result in found]
    changes = sum(before != after for before, after in pairwise(places))
    assert changes <= 4
    assert sum(bool(sent.error) for result in found for sent in result.transfers) <= 3
    assert places[-1] == {"cpu", "cloud"}, "it is used again when it has been up for a while"


# Any faults.

_PLACES = ("cloud", "cloud1", "radio-cloud", "radio-cloud1", "cpu->cloud", "cloud->cpu", "cloud1->cpu")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    windows=st.sampled_from([0, 8]),
    faults=st.lists(
        st.builds(
            lambda place, one, lasts, how: (
                f"{place}@{one / 1e4:.4f}-{(one + lasts) / 1e4:.4f}"
                + (how if place.startswith("cloud") and "->" not in place else "")
            ),
            st.sampled_from(_PLACES),
            st.integers(1000, 10_000),
            st.integers(1, 5000),
            st.sampled_from(["", "", ",silent", ",slow=7"]),
        ),
        max_size=9,
    ),
)
def test_every_frame_has_an_outcome_and_the_ledger_adds_up(seed: int, windows: int, faults: list[str]) -> None:
    options = {"window_stages": windows, "limit_nodes": 200} if windows else {"solver": "greedy", "noise": 300_000}
    found = results(*faults, "cpu->cloud@0.4/0.1", radios=2, seed=seed, frames=10, **options)
    assert [result.frame for result in found] == list(range(10))
    machine = hardware(radios=2)
    for result in found:
        assert {one.stage for one in result.stages} in ({"sound", "mel", "net", "say"}, set())
        for graph in result.graphs:
            assert graph.outcome in ("done", "failed")
            assert bool(result.reason) == (graph.outcome == "failed")
    assert overlaps(found) == []
    graphs = dict.fromkeys(("sound", "mel", "net", "say"), ("ears",))
    whole, reference = run_ledger(found, machine, graphs), reference_ledger(found, machine, graphs)
    assert sorted(whole.entries, key=str) == sorted(reference.entries, key=str)


def test_no_frame_of_a_long_run_is_lost_or_late() -> None:
    run = CutRun(0, 400)
    assert run.problems == []
    assert run.faults > 60
    assert run.lost
    assert run.again > 3
    assert 100 < run.placed_there < 400


# In words.


def test_faults_are_asked_for_in_words() -> None:
    machine = hardware()
    up, down = ("cpu", "cloud"), ("cloud", "cpu")
    assert faults_of(["slow cpu=2", "fault cloud@12-20", "fault radio-cloud@1.5s-2s"], machine, 0, 0) == (
        Fault("cloud", (), 12 * SECOND_US, 20 * SECOND_US),
        Fault("radio-cloud", (up, down), 1_500_000, 2 * SECOND_US),
    )
    assert faults_of(["fault cpu->cloud@1-2"], machine, 0, 0)[0].links == (up,)
    assert faults_of(["fault cpu->cloud=1-2"], machine, 0, 0)[0].links == (up,), "as an axis of a study says it"
    (slow, silent) = faults_of(["fault cloud@1-2,slow=8", "fault cloud@1-2,silent"], machine, 0, 0)
    assert (slow.how, slow.times, silent.how) == ("slow", 8, "silent")


def test_drawn_faults_go_by_the_seed() -> None:
    drawn = [faults_of(["fault cloud@30/5"], hardware(), 3600 * SECOND_US, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 60 < len(drawn[0]) < 160
    assert all(one.until_us <= other.from_us for one, other in pairwise(drawn[0]))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("cloud", "is no fault and its time"),
        ("cloud@5", "is no fault and its time"),
        ("clod@1-2", "has no processor, radio or link `clod`"),
        ("cloud@2-1", "is over before it begins"),
        ("cloud@0/5", "is no time"),
        ("cloud@1-2,slow=1", "is no way to fail"),
        ("cloud@1-2,broken", "is no way to fail"),
        ("radio-cloud@1-2,silent", "can only fall"),
    ],
)
def test_what_is_no_fault_is_refused(words: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        changed(workload(), hardware(), profile(), [f"fault {words}"])


def test_runs_go_on_at_the_pace_of_their_processor() -> None:
    plan = FaultPlan(
        (
            Fault("a", (), 100, 200, "silent"),
            Fault("a", (), 150, 400, "slow", 10),
            Fault("b", (), 0, 10, "gone"),
        )
    )
    assert plan.end_us("a", 0, 100) == 100
    assert plan.end_us("a", 0, 101) == 210, "it stands still from 100 to 200, and is slow from there"
    assert plan.end_us("a", 50, 80) == 410, "and is done with 20 of the rest by 400"
    assert plan.end_us("b", 0, 5) == 5
    assert [plan.is_dead("b", at_us) for at_us in (0, 9, 10)] == [True, True, False]


# Until when a server is waited for.


def test_a_server_that_does_not_answer_is_waited_for_as_long_as_it_can_be_done_here_in_time() -> None:
    found = results("cloud@0.5045-1.2,silent")
    assert in_time(found), "not a frame is late for it"
    hit = found[4]
    # Due at 580 ms: 40 ms for two networks and 0.5 to say it, and a tenth of that.
    assert [(one.stage, one.resource, one.outcome, one.start_us) for one in hit.stages if one.resource == "cpu"] == [
        ("sound", "cpu", "done", 500_000),
        ("mel", "cpu", "done", 535_450),
        ("net", "cpu", "done", 545_450),
        ("say", "cpu", "done", 575_450),
    ]
    given_up = [one for one in hit.stages if one.outcome == "failed"]
    assert {one.error for one in given_up} == {"`cloud` has not answered in time to be waited for longer"}
    assert hit.graphs[0].latency_us == 75_950


def test_a_server_that_is_slow_is_turned_back_from_only_where_it_would_be_late() -> None:
    found = results("cloud@0.5-0.6,slow=6", "cloud@0.7-0.8,slow=40")
    assert in_time(found)
    assert {one.resource for one in found[4].stages if one.outcome == "done"} == {"cpu", "cloud"}
    assert {one.resource for one in found[6].stages if one.outcome == "done"} == {"cpu"}


def test_a_server_is_waited_for_where_there_is_nothing_to_turn_back_to() -> None:
    plan = make_plan(problem(), split())
    assert latest_us(plan, {"say": 80_000}, ["cloud"]) == {"say": 80_000 - 6010 - 601}
    assert latest_us(plan, {"say": 6_000}, ["cloud"]) == {}, "it could not be in time here"
    assert latest_us(plan, {}, ["cloud"]) == {}
    assert latest_us(plan, {"say": 80_000}, []) == {}
