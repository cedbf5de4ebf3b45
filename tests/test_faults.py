"""Runs through faults that are drawn from a seed: no frame is lost, and all is in time again soon."""

from __future__ import annotations

import pytest

from faults import KINDS, Run
from garbage import left_to_the_collector


@pytest.mark.parametrize(("seed", "feeds"), [(1, True), (2, False)])
def test_every_frame_ends_once_and_in_time_again_within_a_second(seed: int, feeds: bool) -> None:
    run = Run(seed, feeds=feeds)
    run.go(1000)
    assert run.judge.problems == []
    assert run.judge.outcomes.total() > run.frames >= 1000
    assert run.judge.outcomes["done"] > 10 * run.judge.outcomes["failed"]


@pytest.mark.once
@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_one_fault_alone(kind: str) -> None:
    run = Run(0, [kind], feeds=kind not in ("links are down", "a burst of frames"))
    with left_to_the_collector() as left:
        run.go(200)
    assert run.judge.problems == []
    assert run.judge.begun[kind]
    assert left == []
    assert run.kept > 100, "what keeps state has met its samples in order"
