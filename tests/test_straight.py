"""Frames that have the machine to themselves take the short way, and nothing that is counted differs by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import split_machine
from interpreted import interpreted_source
from leo_runtime import shipped
from leo_runtime.dispatch.alone import alone_plan
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import FrameAdmitted
from leo_runtime.dispatch.limits import RunLimit
from leo_runtime.dispatch.plan import make_plan
from leo_runtime.dispatch.simulator import Simulator, seeded_noise
from leo_runtime.documents.changes import changed
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.records import FrameResult
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.figures import Part, Summary
from leo_runtime.replay.replay import Span, replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import named
from leo_runtime.study.cell_run import outcome
from leo_runtime.study.cells import cells
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from leo_runtime.study.shared import Shared
from leo_runtime.testing import random_problem

HEADSET = Path(__file__).parent / "bench" / "studies"
EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
SECOND_US = 1_000_000


def headset(*changes: str) -> tuple[Workload, Hardware, Profile]:
    """Six pipelines of a headset, one of them behind a gate that opens three times in ten."""
    made = changed(
        Workload.from_file(HEADSET / "xr.workload.toml"),
        Hardware.from_file(HEADSET / "xr.hardware.toml"),
        Profile.from_file(HEADSET / "xr.profile.toml"),
        changes,
    )
    return made.workload, made.hardware, made.profile


class Told:
    """Counts what it is told of frames that are taken straight."""

    def __init__(self) -> None:
        self.short = 0
        self.results: list[FrameResult] = []

    def alone(self, *_: object) -> None:
        self.short += 1

    def submitted(self, *_: int) -> None:
        pass

    def ended(self, results: Sequence[FrameResult]) -> None:
        self.results += results


def summaries(
    documents: tuple[Workload, Hardware, Profile], recording: Recording, seconds: int, **options: Any
) -> list[Summary]:
    """What a run comes to straight, and the usual way; without its busiest part, which is not told of the first."""
    found = []
    span = Span.of(recording, 0, seconds * SECOND_US)
    for straight in (True, False):
        with Runtime.simulated(*documents, compute=False, **{"window_stages": 0, **options}) as runtime:
            ended = replay(runtime, recording, span, policy="any", time="virtual", straight=straight)
        found.append(replace(ended.summary, busiest=Part(0, 0), solving=replace(ended.summary.solving, measured_us=0)))
    return found


def frames_of(documents: tuple[Workload, Hardware, Profile], seconds: int) -> list[tuple[int, tuple[str, ...], None]]:
    times: dict[int, list[str]] = {}
    for graph in documents[0].graphs:
        for release_us in graph.releases_us(seconds * SECOND_US, 0):
            times.setdefault(release_us, []).append(graph.name)
    return [(at_us, tuple(names), None) for at_us, names in sorted(times.items()) if at_us]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ((), {"noise": 100_000}),
        ((), {"noise": 100_000, "seed": 3, "solver": "greedy"}),
        (("slow tensor=4", "scale-deadlines 0.75"), {"noise": 300_000, "seed": 1}),
        (("slow *=6",), {"solver": "greedy", "noise": 50_000}),
    ],
)
def test_a_headset_comes_to_the_same(changes: tuple[str, ...], options: dict[str, Any]) -> None:
    documents = headset(*changes)
    straight, usual = summaries(documents, Recording.of_nothing("nothing", 2 * SECOND_US, ()), 2, **options)
    assert straight == usual


def test_compiled_and_interpreted_a_headset_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is compiled of the short way and of what it costs, but the dispatcher, which is tested by itself."""
    documents, nothing = headset(), Recording.of_nothing("nothing", 2 * SECOND_US, ())
    compiled = summaries(documents, nothing, 2, noise=100_000)
    for package, source, name, user in (
        ("leo_runtime.dispatch", "alone", "alone_plan", "leo_runtime.runtime.straight"),
        ("leo_runtime.frame", "standby", "StandbyMeter", "leo_runtime.frame.running_ledger"),
        ("leo_runtime.frame", "energy_sums", "EnergySums", "leo_runtime.replay.summary"),
        ("leo_runtime.replay", "alone_frames", "AloneFrames", "leo_runtime.replay.replay"),
    ):
        module = interpreted_source(package, source)
        assert str(module.__file__).endswith(f"{source}.py")
        monkeypatch.setattr(f"{user}.{name}", getattr(module, name))
    assert summaries(documents, nothing, 2, noise=100_000) == compiled


def test_most_frames_of_a_headset_take_the_short_way() -> None:
    documents, told = headset(), Told()
    frames = frames_of(documents, 4)
    with Runtime.simulated(*documents, compute=False, window_stages=0, noise=100_000) as runtime:
        runtime.submit_straight(frames, told)
        assert runtime.results() == ()
    assert told.short + len(told.results) == len(frames)
    assert told.short > 0.9 * len(frames)
    # Those whose gate closed are among the others.
    assert any(run.outcome == "cancelled" for frame in told.results for run in frame.stages)


@pytest.mark.parametrize("solver", ["exact", "dsp-first", "cpu-only"])
def test_the_demo_comes_to_the_same_with_links_that_change(solver: str) -> None:
    documents = shipped.workload(), shipped.hardware("nexus-5"), shipped.profile("nexus-5")
    recording = shipped.recording("demo")
    link = next(link for link in documents[1].links if link.radio is not None)
    samples = tuple(
        LinkSample(
            time_us=second * SECOND_US,
            source=link.source,
            target=link.target,
            latency_us=1_000 * second,
            bytes_per_s=None if second == 9 else 100_000 * second,
        )
        for second in (1, 4, 9, 12)
    )
    recording = replace(recording, manifest=recording.manifest.model_copy(update={"links": samples}))
    straight, usual = summaries(documents, recording, 20, noise=100_000, solver=solver)
    assert straight == usual


def test_early_exits_and_servers_that_are_turned_back_from_come_to_the_same() -> None:
    """Who is late on a server by chance: the frame does without it, or has it computed here."""
    nothing = Recording.of_nothing("nothing", 10 * SECOND_US, ())
    exits = [
        kind.from_file(EXAMPLES / f"exit.{name}toml")  # type: ignore[attr-defined]  # each has it
        for kind, name in ((Workload, ""), (Hardware, "hardware."), (Profile, "profile."))
    ]
    split = split_machine.workload(), split_machine.hardware(), split_machine.profile()
    for documents, why in ((exits, "`small` answers"), (split, "has not answered in time")):
        made = changed(*documents, ["scale-deadlines 0.8"])
        of = made.workload, made.hardware, made.profile
        straight, usual = summaries(of, nothing, 10, noise=850_000)
        assert straight == usual
        assert any(why in failure.why for failure in usual.failures)


def test_overload_comes_to_the_same() -> None:
    """Frames that are shed or skipped go the usual way."""
    documents = headset("slow *=40")
    nothing = Recording.of_nothing("nothing", SECOND_US, ())
    straight, usual = summaries(documents, nothing, 1, solver="greedy", max_in_flight=3)
    assert straight == usual
    assert straight.failures


def test_who_is_told_of_each_frame_has_each() -> None:
    documents = headset()
    kept = KeptFrames()
    recording = Recording.of_nothing("nothing", SECOND_US, ())
    with Runtime.simulated(*documents, compute=False, window_stages=0) as runtime:
        ended = replay(
            runtime, recording, Span.of(recording), policy="any", time="virtual", sinks=[kept], straight=True
        )
    assert len(kept.frames) == ended.summary.frames > 80


@pytest.mark.parametrize("options", [{"compute": True}, {"window_stages": 30}, {"adapt": True}])
def test_what_looks_at_each_frame_is_not_taken_straight(options: dict[str, Any]) -> None:
    documents = headset()
    with Runtime.simulated(*documents, **{"compute": False, "window_stages": 0, **options}) as runtime:
        assert not runtime.goes_straight
        with pytest.raises(InputError, match="cannot be taken straight"):
            runtime.submit_straight([], Told())


def test_a_row_is_the_same_whether_or_not_somebody_is_told_of_each_frame(tmp_path: Path) -> None:
    """A log is told of each: its cell goes the usual way."""
    study = Study.from_file(HEADSET / "xr.study.toml")
    study = study.model_copy(update={"base": study.base.model_copy(update={"seconds": 2.0})})
    loader, shared, known = Loader(study, HEADSET), Shared(), cells(study)
    for cell in (known[7], known[200]):
        straight, usual = [outcome(study, loader, cell, shared, logs) for logs in (None, tmp_path)]
        assert straight.row == usual.row != ""


def question(seed: int) -> Problem:
    """A random question of a machine that is free; somebody may sleep."""
    features = ("lanes", "cloud", "power", "wake", "small")
    return random_problem(seed, stages=2 + seed % 9, features=features[: 1 + seed % 5])


@pytest.mark.parametrize("seed", range(60))
def test_the_short_way_is_that_of_the_dispatcher(seed: int) -> None:
    """Frame after frame of a random plan: all times, and what is known of the machine afterwards."""
    problem = question(seed)
    placement = named("heft")(problem, limit_ms=0)
    if placement.status == "infeasible":
        pytest.skip("this question has no answer")
    plan = make_plan(problem, placement)
    lanes = {resource.name: resource.lanes for resource in problem.resources}
    limit = RunLimit(least_us=2_000, factor=10)
    usual, short = [Simulator(Dispatcher(lanes, limit=limit), noise=seeded_noise(seed, 400_000)) for _ in range(2)]
    alone = alone_plan(plan)
    assert alone is not None
    asleep = tuple(resource.name for resource in problem.resources if not resource.awake)
    for frame, release_us in enumerate((1_000, 10**9, 2 * 10**9)):
        usual.reach(release_us)
        usual.post(FrameAdmitted(release_us, frame, release_us, plan, asleep))
        usual.drain()
        (done,) = usual.finished()
        short.reach(release_us)
        times = short.run_alone(alone, frame, release_us, None, 0, asleep)
        if times is None:  # Rare: who is woken first is not who was planned to be.
            assert asleep
            return
        starts_us, ends_us, woken = times.starts_us, times.ends_us, times.woken
        assert dict(woken) == dict(done.wakes)
        assert {run.stage: (run.start_us, run.end_us) for run in done.stages} == {
            name: (starts_us[at], ends_us[at]) for at, name, _, _ in alone.runs
        }
        assert {(send.stage, send.target): (send.start_us, send.sent_us, send.nj) for send in done.sends} == {
            (send.stage, send.link.target): (starts_us[send.at], ends_us[send.at], send.nj) for send in alone.sends
        }
        at_us = release_us + 10**8
        for name in lanes:
            assert usual.dispatcher.standing(name, at_us) == short.dispatcher.standing(name, at_us)
        assert usual.dispatcher.limits is not None and short.dispatcher.limits is not None
        assert usual.dispatcher.limits.slower == short.dispatcher.limits.slower
        # Most runs are long enough to be noted, and short enough not to be given up.
        assert short.dispatcher.limits.slower or "small" in problem.name


def test_what_is_not_over_in_time_or_may_not_be_is_left_to_the_dispatcher() -> None:
    problem = question(2)
    plan = make_plan(problem, named("heft")(problem, limit_ms=0))
    alone = alone_plan(plan)
    assert alone is not None
    lanes = {resource.name: resource.lanes for resource in problem.resources}
    simulator = Simulator(Dispatcher(lanes, limit=RunLimit(least_us=1, factor=1)))
    assert simulator.run_alone(alone, 0, 0, 1, 0, ()) is None
    assert simulator.run_alone(alone, 0, 0, None, 0, ()) is not None
    slow = Simulator(Dispatcher(lanes, limit=RunLimit(least_us=1, factor=1)), noise=lambda *asked: 2 * asked[3])
    assert slow.run_alone(alone, 0, 0, None, 0, ()) is None
