"""Which releases are known to follow: graphs that keep to their periods."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_workloads import workload_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.due import runs_at
from leo_runtime.frame.foresight import Foresight, Outlook, later_releases, next_due_us, repeats_us
from leo_runtime.frame.lower import merge


def graph(name: str, *, stages: int = 1, **timing: int) -> TaskGraph:
    builder = GraphBuilder(name, deadline_us=10, **timing)
    for k in range(stages):
        builder.stage(f"{name}{k}", "cost", output_bytes=1)
    return builder.build()


A = graph("a", period_us=100)
B = graph("b", period_us=100, offset_us=50)
C = graph("c", period_us=200)


def foresight(*graphs: TaskGraph, most_stages: int = 100) -> Foresight:
    return Foresight(merge(workload_of(*graphs)), most_stages)


def after(seen: Foresight, at_us: int, graphs: Collection[str]) -> list[tuple[int, tuple[str, ...]]]:
    seen.note(at_us, graphs)
    return [(release.after_us, release.graphs) for release in seen.outlook(at_us, tuple(graphs)).later]


def test_a_window_is_whole_hyperperiods_where_they_fit() -> None:
    seen = foresight(A, B, C, most_stages=11)
    assert after(seen, 0, ("a", "c")) == [
        (50, ("b",)),
        (100, ("a",)),
        (150, ("b",)),
        (200, ("a", "c")),
        (250, ("b",)),
        (300, ("a",)),
        (350, ("b",)),
    ]
    assert seen.outlook(0, ("a", "c")).next_us == 400


def test_where_none_fits_it_is_as_many_releases_as_do() -> None:
    seen = foresight(A, B, C, most_stages=4)
    assert after(seen, 0, ("a", "c")) == [(50, ("b",)), (100, ("a",))]
    assert seen.outlook(0, ("a", "c")).next_us == 150


def test_a_release_with_more_stages_than_a_window_may_have_is_alone_in_it() -> None:
    seen = foresight(graph("a", stages=5, period_us=100), most_stages=3)
    seen.note(0, ("a",))
    assert seen.outlook(0, ("a",)) == Outlook((), 100)


def test_windows_repeat_with_the_hyperperiod() -> None:
    seen = foresight(A, B, C)
    seen.note(0, ("a", "c"))
    first = seen.outlook(0, ("a", "c"))
    for k in range(50, 400, 50):
        seen.note(k, ("b",) if k % 100 else ("a", "c") if k % 200 == 0 else ("a",))
    seen.note(400, ("a", "c"))
    later = seen.outlook(400, ("a", "c"))
    assert later == first
    for k in range(450, 800, 50):
        seen.note(k, ("b",) if k % 100 else ("a", "c") if k % 200 == 0 else ("a",))
    seen.note(800, ("a", "c"))
    assert seen.outlook(800, ("a", "c")) is later, "it is looked up"


def test_a_graph_that_was_left_out_is_not_foreseen_until_it_keeps_to_its_period_again() -> None:
    seen = foresight(A, C, most_stages=3)
    assert after(seen, 0, ("a", "c")) == [(100, ("a",))]
    assert after(seen, 100, ("a",)) == [(100, ("a", "c"))]
    assert after(seen, 200, ("a",)) == [(100, ("a",)), (200, ("a",))]
    assert after(seen, 400, ("c",)) == [(200, ("c",)), (400, ("c",))]
    assert after(seen, 500, ("a",)) == [(100, ("a", "c"))]


def test_it_is_steady_since_the_same_graphs_are_foreseen() -> None:
    seen = foresight(A, C)
    for at_us, graphs, since_us in ((0, "ac", 0), (100, "a", 0), (200, "a", 200), (300, "a", 200), (400, "ac", 400)):
        after(seen, at_us, tuple(graphs))
        assert seen.steady_since_us == since_us


def test_graphs_that_leave_the_grid_together_are_foreseen_as_before() -> None:
    seen = foresight(A, B, C, most_stages=7)
    releases = [(0, ("a", "c")), (50, ("b",)), (100, ("a",)), (150, ("b",))]
    before = [after(seen, 1000 + at_us, due) for at_us, due in releases]
    seen.shift({"a": 7, "b": 7, "c": 7})
    assert [after(seen, 1207 + at_us, due) for at_us, due in releases] == before
    steady_us = seen.steady_since_us
    seen.shift({"a": 7, "b": 7, "c": 7})
    assert after(seen, 1407, ("a", "c")) == before[0]
    assert seen.steady_since_us == steady_us


def test_a_graph_whose_device_drifts_alone_is_foreseen_where_it_comes() -> None:
    seen = foresight(A, B, most_stages=3)
    after(seen, 1000, ("a",))
    seen.shift({"a": 0, "b": -20})
    assert after(seen, 1030, ("b",)) == [(70, ("a",))]
    assert after(seen, 1100, ("a",))[0] == (30, ("b",))
    seen.shift({"a": 0, "b": 0})
    assert after(seen, 1150, ("b",))[0] == (50, ("a",))


def test_what_comes_when_it_likes_is_not_foreseen() -> None:
    seen = foresight(A, most_stages=2)
    assert after(seen, 7, ("a",)) == []
    assert seen.outlook(7, ("a",)).next_us is None
    assert after(seen, 100, ("a",)) == [(100, ("a",))]


def test_batches_say_nothing_of_the_next() -> None:
    seen = foresight(A)
    seen.note(300, ("a",), frames=4)
    assert seen.outlook(300, ("a",)) == Outlook()


def test_a_graph_that_begins_later_is_foreseen() -> None:
    assert after(foresight(A, graph("late", period_us=100, offset_us=250), most_stages=4), 0, ("a",)) == [
        (100, ("a",)),
        (200, ("a",)),
        (250, ("late",)),
    ]


@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(0, 200), st.booleans()), min_size=1, max_size=3),
    st.integers(0, 10**6),
)
def test_later_releases_are_those_of_the_graphs(timings: list[tuple[int, int, bool]], at_us: int) -> None:
    graphs = [
        graph(f"g{k}", offset_us=offset_us, **({"rate_hz": timing} if rate else {"period_us": timing}))
        for k, (timing, offset_us, rate) in enumerate(timings)
    ]
    found = list(islice(later_releases(graphs, at_us), 5))
    until_us = at_us + found[-1].after_us
    expected: dict[int, list[str]] = {}
    for one in graphs:
        for time_us in one.releases_us(until_us):
            if time_us > at_us:
                expected.setdefault(time_us - at_us, []).append(one.name)
    assert [(release.after_us, list(release.graphs)) for release in found] == sorted(expected.items())


@given(st.integers(1, 90), st.integers(0, 3_000), st.booleans(), st.integers(0, 10**5))
def test_the_next_time_is_known_of_what_comes_when_it_should(
    timing: int, offset_us: int, rate: bool, at_us: int
) -> None:
    one = graph("a", offset_us=offset_us, **({"rate_hz": timing} if rate else {"period_us": timing * 50}))
    times = list(one.releases_us(one.next_release_us(at_us + 1)))
    assert one.runs_at(at_us) == runs_at(one)(at_us) == (at_us in times)
    assert next_due_us(one, at_us) == (times[-1] if at_us in times else None)
    assert next_due_us(one, one.next_release_us(at_us)) == one.next_release_us(one.next_release_us(at_us) + 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(1, 3)), max_size=12))
def test_a_graph_is_foreseen_as_long_as_it_came_when_it_last_should_have(came: list[tuple[int, bool, int]]) -> None:
    """Against the last time that it should have come."""
    seen, at_us = foresight(A, B, most_stages=1), 0
    last: dict[str, int] = {}
    began_us: int | None = None
    for steps, both, frames in came:
        at_us += 25 * steps
        began_us = at_us if began_us is None else began_us
        graphs = ("a", "b") if both else ("a",)
        seen.note(at_us, graphs, frames=frames)
        last |= dict.fromkeys(graphs, at_us if frames == 1 else -1)
        seen.outlook(at_us, graphs)
        expected = []
        for one in (A, B):
            due_us = max((t for t in one.releases_us(at_us) if t >= began_us), default=None)
            if due_us == last.get(one.name) if due_us is not None else one.name not in last:
                expected.append(one.name)
        assert seen._known == tuple(expected)


@pytest.mark.parametrize("rate_hz", [1, 3, 7, 45, 60, 90, 999_983])
def test_releases_of_a_rate_repeat(rate_hz: int) -> None:
    one = graph("a", rate_hz=rate_hz)
    times = list(islice(one.releases_us(10**7), 50))
    assert all(one.next_release_us(time + repeats_us(one)) == time + repeats_us(one) for time in times)
