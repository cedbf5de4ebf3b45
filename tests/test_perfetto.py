"""Traces of replays as the viewer reads them: parsed back, and held to the frames and the ledger they are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import recorded
from cost_workloads import random_machine, random_profile, random_workload
from frames import answered
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.replay.replay import FrameSink, Replay, Span, replay
from leo_runtime.runtime.runtime import Runtime

pytest.importorskip("perfetto", reason="needs the extra `report`")

from leo_runtime.report.answer import bars
from leo_runtime.report.packets import MAX_TEXTS, Packets
from leo_runtime.report.perfetto import TraceWriter, write_answer
from leo_runtime.report.power import Drawn, PowerSteps, Used
from traces import Read, Slice, integral, read

LASTS_US = 200_000
PROBLEMS = Path(__file__).parent / "problems" / "window"


class Told:
    """Keeps what a sink is told."""

    def __init__(self) -> None:
        self.begun: Replay | None = None
        self.frames: list[FrameResult] = []
        self.entries: list[Entry] = []

    def begin(self, begun: Replay, /) -> None:
        self.begun = begun

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        self.frames.append(ended)

    def energy(self, entries: Sequence[Entry], _settled_us: int, /) -> None:
        self.entries += entries

    def end(self, _ended: Replay, /) -> None:
        pass


def still(links: tuple[LinkSample, ...] = ()) -> Recording:
    """A recording of a stream that no stage reads, and of links."""
    stream = RecordedStream(name="motion", kind="motion", file="motion.csv", rate_hz=100, channels=1)
    manifest = RecordingManifest(format="leo-recording/1", name="still", streams=(stream,), links=links)
    return Recording(manifest, {"motion": np.zeros((LASTS_US // 10_000 + 1, 1), np.float32)})


def random_run(seed: int, sinks: Sequence[FrameSink], **options: Any) -> None:
    """A random workload on a random machine, some in windows, some noisy, some in batches."""
    rng = Random(seed)
    hardware, workload = random_machine(rng), random_workload(rng)
    profile = random_profile(rng, workload)
    down = LinkSample(time_us=90_000, source="dsp", target="gpu", latency_us=5)
    slow = LinkSample(time_us=120_000, source="dsp", target="gpu", latency_us=700, bytes_per_s=90_000)
    batch = 2 if seed % 5 == 4 else 1
    options = {"noise": 300_000 if seed % 2 else None, "window_stages": 0 if batch > 1 else 8 * (seed % 3), **options}
    solver = "greedy" if seed % 3 else "exact"
    charged = "cpu" if seed % 4 == 3 else None
    if charged:
        processors = tuple(one.model_copy(update={"active_mw": 700}) for one in hardware.processors)
        hardware = hardware.model_copy(update={"processors": processors})
    with Runtime.simulated(workload, hardware, profile, solver=solver, compute=False, seed=seed, **options) as runtime:
        replay(
            runtime,
            still((down, slow)),
            Span(0, LASTS_US),
            policy=solver,
            time="virtual",
            solver_on=charged,
            batch=batch,
            sinks=sinks,
        )


@cache
def traced(seed: int) -> tuple[Read, Told]:
    """The trace of a random run and what it was written from. Run once; its tests only look at it."""
    told = Told()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        with TraceWriter(path) as writer:
            random_run(seed, [writer, told])
        return read(path), told


SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_stage_frame_and_transfer_is_there_once(seed: int) -> None:
    found, told = traced(seed)
    ran = Counter(
        (
            f"{run.resource}/{run.resource} lane {run.lane}",
            run.stage,
            "stage" if run.outcome == "done" else run.outcome,
            run.start_us,
            max(run.start_us, run.end_us),
            run.frame,
            run.variant,
            run.nj,
            run.expected_us,
            run.planned_start_us,
        )
        for frame in told.frames
        for run in frame.stages
    )
    assert ran and ran == Counter(
        (
            found.where(one),
            one.name,
            one.category,
            one.start_us,
            one.end_us,
            one.frame,
            *(one.notes[name] for name in ("variant", "nJ", "expected us", "planned start us")),
        )
        for one in found.slices
        if one.category in ("stage", "failed", "cancelled") and " lane " in found.where(one)
    )
    sent = Counter(
        (f"transfers/{send.source} -> {send.target}", f"output of {send.stage}", send.start_us, send.arrive_us, send.nj)
        for frame in told.frames
        for send in frame.transfers
    )
    assert sent == Counter(
        (found.where(one), one.name, one.start_us, one.end_us, one.notes["nJ"])
        for one in found.slices
        if one.category == "transfer" and found.where(one).startswith("transfers/")
    )
    answers = Counter(
        (f"pipelines/{graph.graph}", graph.release_us, max(graph.release_us, graph.end_us), graph.missed, graph.frame)
        for frame in told.frames
        for graph in frame.graphs
    )
    assert answers == Counter(
        (found.where(one), one.start_us, one.end_us, one.category != "frame", one.frame)
        for one in found.slices
        if "lateness us" in one.notes
    )
    due = Counter((f"pipelines/{one.graph}", one.deadline_us) for frame in told.frames for one in frame.graphs)
    assert due == Counter((found.where(one), one.start_us) for one in found.slices if one.name == "deadline")


@pytest.mark.parametrize("seed", SEEDS)
def test_counters_integrate_to_the_ledger(seed: int) -> None:
    found, told = traced(seed)
    by_resource: Counter[str] = Counter()
    by_cause: Counter[str] = Counter()
    for entry in told.entries:
        by_resource[entry.resource] += entry.nj
        by_cause[entry.cause] += entry.nj
    powers = {name.removesuffix(" power"): steps for name, steps in found.counters.items() if name.endswith(" power")}
    assert {name: round(integral(steps)) for name, steps in powers.items()} == dict(by_resource)
    used = {name.removesuffix(" energy"): steps for name, steps in found.counters.items() if name.endswith(" energy")}
    assert {cause: steps[-1][1] for cause, steps in used.items()} == dict(by_cause)
    assert all(steps == sorted(steps) for steps in used.values()), "what was used is never given back"
    exact = {name for name, steps in powers.items() if all(isinstance(value, int) for _, value in steps)}
    assert all(integral(powers[name]) == by_resource[name] for name in exact)


@pytest.mark.parametrize("seed", SEEDS)
def test_flows_go_from_who_made_an_output_through_the_transfer_to_who_reads_it(seed: int) -> None:
    found, told = traced(seed)
    assert told.begun is not None
    inputs = {stage.name: {*stage.inputs, *(gate for _, gate in stage.asked)} for stage in told.begun.merged.stages}
    for maker, sent, *readers in found.flows.values():
        made = maker.name.partition("#")[0]
        assert sent.name == f"output of {maker.name}" and found.where(sent).startswith("transfers/")
        source, target = found.where(sent).removeprefix("transfers/").split(" -> ")
        assert found.where(maker).startswith(f"{source}/") and maker.end_us is not None
        assert maker.end_us <= sent.start_us and maker.frame == sent.frame
        for reader in readers:
            assert found.where(reader).startswith(f"{target}/") and reader.frame == maker.frame
            assert sent.end_us is not None and sent.end_us <= reader.start_us
            assert made in inputs[reader.name.partition("#")[0]]
    assert len(found.flows) == sum(len(frame.transfers) for frame in told.frames)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_resource_is_in_one_state_at_any_time(seed: int) -> None:
    found, told = traced(seed)
    end_us = max(entry.until_us for entry in told.entries)
    assert told.begun is not None
    for part in (*told.begun.hardware.processors, *told.begun.hardware.radios):
        states = found.on(f"{part.name}/{part.name} state")
        assert states and states[0].start_us == 0
        for one, after in pairwise(states):
            assert one.end_us == after.start_us and one.name != after.name
        ended_us = states[-1].end_us
        assert ended_us is not None and ended_us >= end_us
        wakes = [wake.at_us for frame in told.frames for wake in frame.wakes if wake.resource == part.name]
        if part.wake_latency_us:
            assert {one.start_us for one in states if one.name == "waking"} == set(wakes)
        for frame in told.frames:
            for run in frame.stages:
                if run.resource == part.name and run.end_us > run.start_us and run.nj:
                    during = [one for one in states if one.start_us < run.end_us and (one.end_us or 0) > run.start_us]
                    woken_at_once = {"waking"} if not part.wake_latency_us else set()
                    assert {one.name for one in during} <= {"awake", "held"} | woken_at_once


@pytest.mark.parametrize("seed", [1, 5])
def test_what_is_held_for_a_later_release_is_shown(seed: int) -> None:
    found, told = traced(seed)
    admitted = sorted((frame.release_us, frame.frame) for frame in told.frames if frame.placement.stages)
    held = [
        (span.resource, span.until_us, min([span.held_until_us, *(at for at, number in admitted if number > of)]))
        for of, span in ((frame.frame, span) for frame in told.frames for span in frame.spans or ())
        if span.held_until_us is not None
    ]
    shown = [
        (found.where(one).split("/")[0], one.start_us, one.end_us or 0) for one in found.slices if one.name == "held"
    ]
    assert shown
    # Holds that follow each other are shown as one.
    assert {(where, start) for where, start, _ in shown} <= {(where, start) for where, start, _ in held}
    for where, start_us, end_us in held:
        if end_us > start_us:
            assert any(name == where and at <= start_us and end_us <= until for name, at, until in shown)


@pytest.fixture
def beeps(tmp_path: Path) -> Path:
    recorded.write_all(tmp_path)
    return tmp_path


def run(folder: Path, sinks: Sequence[FrameSink], stretch: int = 1, **options: Any) -> None:
    """The replay of a small recording, whose frames overlap where it is stretched."""
    workload, hardware, profile, recording = recorded.load_all(folder)
    costs = tuple(cost.model_copy(update={"fixed_us": stretch * cost.fixed_us}) for cost in profile.costs)
    profile = profile.model_copy(update={"costs": costs})
    with Runtime.simulated(workload, hardware, profile, backends=recorded.cpus(hardware), **options) as runtime:
        replay(runtime, recording, Span.of(recording), policy="exact", time="virtual", sinks=sinks)


def test_gates_answers_and_what_was_run_are_told(beeps: Path) -> None:
    with TraceWriter(beeps / "trace") as writer:
        run(beeps, [writer])
    found = read(beeps / "trace")
    (ran,) = [one for one in found.slices if one.category == "run"]
    assert (ran.notes["workload"], ran.notes["recording"], ran.notes["time"]) == ("ears", "beeps", "virtual")
    gates = [one.notes["gate"] for one in found.slices if one.name == "any" and one.category == "stage"]
    assert Counter(gates) == {"open": 3, "closed": 5}
    assert [one.category for one in found.slices if one.name == "features"].count("cancelled") == 5
    answers = [one for one in found.slices if one.category == "answer"]
    assert [one.name for one in answers] == ["loud", "loud", "loud"]
    frames = {one.frame: one for one in found.slices if one.category == "frame"}
    assert all(frames[one.frame].end_us == one.start_us for one in answers)
    assert [one.name for one in frames.values()] == [f"frame {number}" for number in range(8)]


def test_a_late_frame_is_found_by_its_category_and_says_how_late(beeps: Path) -> None:
    told = Told()
    with TraceWriter(beeps / "trace") as writer:
        run(beeps, [writer, told], stretch=400)
    late = [one for one in read(beeps / "trace").slices if one.category == "late"]
    graphs = {graph.frame: graph for frame in told.frames for graph in frame.graphs}
    missed = {number for number, graph in graphs.items() if graph.missed and graph.outcome != "failed"}
    assert late and {one.frame for one in late} == missed
    for one in late:
        assert one.frame is not None
        graph = graphs[one.frame]
        assert one.name == f"late frame {one.frame}"
        assert one.notes["lateness us"] == graph.end_us - graph.deadline_us > 0


class Changed:
    """Hands frames on, changed."""

    def __init__(self, sink: TraceWriter, **changes: Any) -> None:
        self._sink, self._changes = sink, changes
        self.begin, self.energy, self.end = sink.begin, sink.energy, sink.end

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        first, *others = ended.stages
        failed = replace(first, outcome="failed", error=f"half a character \ud83d in frame {first.frame}")
        again = replace(first, start_us=first.end_us, end_us=first.end_us + 7)
        changes = {"stages": (failed, again, *others), **self._changes}
        self._sink.frame(replace(ended, **changes), settled_us)


def test_failures_and_what_was_tried_again_are_told(beeps: Path) -> None:
    with TraceWriter(beeps / "trace") as writer:
        run(beeps, [Changed(writer, waits_given_up=2)])
    found = read(beeps / "trace")
    failed = [one for one in found.slices if one.category == "failed"]
    assert [one.notes["error"] for one in failed] == [f"half a character \\ud83d in frame {n}" for n in range(8)]
    again = [one for one in found.slices if one.notes.get("attempt") == 2]
    assert [(one.frame, one.name) for one in again] == [(one.frame, one.name) for one in failed]
    assert all(one.notes["waits given up"] == 2 for one in found.slices if one.category == "frame")


def test_a_skipped_frame_says_why(beeps: Path) -> None:
    told = Told()
    with TraceWriter(beeps / "trace") as writer:
        # Each frame takes two periods on processors of one lane.
        run(beeps, [writer, told], stretch=400, max_in_flight=1)
    skipped = {frame.frame: frame for frame in told.frames if frame.skipped}
    assert skipped
    found = {one.frame: one for one in read(beeps / "trace").slices if one.category == "skipped"}
    assert found.keys() == skipped.keys()
    for number, one in found.items():
        assert one.name == f"skipped frame {number}" and one.notes["reason"] == skipped[number].reason


def test_changes_of_links_are_marked_where_they_come_into_the_part() -> None:
    found, _ = traced(0)
    changes = [(found.where(one), one.name, one.start_us, one.notes) for one in found.slices if one.category == "link"]
    assert changes == [
        ("transfers/dsp -> gpu", "link is down", 90_000, {}),
        ("transfers/dsp -> gpu", "link changes", 120_000, {"latency us": 700, "bytes per s": 90_000}),
    ]


@pytest.mark.parametrize("seed", [0, 5, 9])
def test_the_same_replay_gives_the_same_bytes(tmp_path: Path, seed: int) -> None:
    paths = tmp_path / "a", tmp_path / "b"
    for path in paths:
        with TraceWriter(path) as writer:
            random_run(seed, [writer])
    assert paths[0].read_bytes() == paths[1].read_bytes()


class Stopping(TraceWriter):
    """Is interrupted after some frames, and reads at each what is there."""

    def __init__(self, path: Path, last: int) -> None:
        super().__init__(path)
        self._path, self._last = path, last
        self.packets: list[int] = []

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        super().frame(ended, settled_us)
        self.packets.append(read(self._path, whole=False).packets)
        if self.frames == self._last:
            raise KeyboardInterrupt


def test_a_trace_can_be_read_at_any_time_and_where_the_replay_was_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Stopping(tmp_path / "trace", 12) as writer:
        random_run(12, [writer])
    assert writer.packets == sorted(writer.packets) and len(writer.packets) >= 12
    found = read(tmp_path / "trace")
    assert found.packets > writer.packets[-1] > writer.packets[0]
    assert len({one.frame for one in found.slices if "lateness us" in one.notes}) == writer.frames


def test_nothing_is_kept_of_what_is_settled(tmp_path: Path) -> None:
    waiting: list[int] = []

    class Looking(TraceWriter):
        def frame(self, ended: FrameResult, settled_us: int, /) -> None:
            super().frame(ended, settled_us)
            assert all(order >= 3 * settled_us for order, _, _ in self._frames._waiting)
            waiting.append(len(self._frames._waiting))

        def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
            super().energy(entries, settled_us)
            assert self._run is not None
            assert all(order >= 3 * settled_us for order, _, _ in self._energy._waiting)
            assert all(change[0] >= settled_us for change in self._run._power._changes)

    with Looking(tmp_path / "trace") as writer:
        random_run(12, [writer])
    assert max(waiting[len(waiting) // 2 :]) <= 2 * max(waiting[: len(waiting) // 2])


def test_steps_of_power_are_kept_for_no_longer_than_they_are_settled() -> None:
    hardware = Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "m", "processors": [{"name": "cpu", "backend": "none", "awake_mw": 3}]}
    )
    power = PowerSteps(hardware)
    for second in range(100):
        at_us = second * 1_000_000
        power.add(
            [
                Entry(at_us, at_us + 1_000_000, 3_000_000, "idle tail", "cpu"),
                Entry(at_us + 10, at_us + 13, 7, "run", "cpu", second, "s"),
            ]
        )
        steps = power.settled(at_us + 1_000_000)
        drawn = [(step.at_us - at_us, step.mw) for step in steps if isinstance(step, Drawn)]
        assert drawn[-2:] == [(10, 3 + 7 / 3), (13, 3)]
        assert Used(at_us + 13, "run", 7 * (second + 1)) in steps
        assert len(power._changes) == 1 and len(power._parts["cpu"].active) == 1
    assert power.settled() == [Drawn(100_000_000, "cpu", 0), Used(100_000_000, "idle tail", 300_000_000)]


def test_what_was_used_lately_is_told_at_the_end_at_no_earlier_time() -> None:
    hardware = Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "m", "processors": [{"name": "cpu", "backend": "none"}]}
    )
    power = PowerSteps(hardware)
    power.add([Entry(at_us, at_us + 1_000, 5_000, "run", "cpu") for at_us in (0, 1_000)])
    assert [step for step in power.settled(7_000) if isinstance(step, Used)] == [Used(1_000, "run", 5_000)]
    assert power.settled() == [Used(2_000, "run", 10_000)]


def test_there_may_be_any_number_of_texts(tmp_path: Path) -> None:
    packets = Packets()
    track = packets.track("t")
    for number in range(MAX_TEXTS + 5):
        packets.instant(packets.form(track, f"n{number}", "c"), number)
    (tmp_path / "trace").write_bytes(packets.packed())
    found = read(tmp_path / "trace")
    assert [one.name for one in found.slices] == [f"n{number}" for number in range(MAX_TEXTS + 5)]


def test_a_deadline_far_beyond_the_run_is_not_marked(beeps: Path) -> None:
    workload, hardware, profile, recording = recorded.load_all(beeps)
    (graph,) = workload.graphs
    for deadline_us, marked in ((4_000_000, 8), (10**15, 0)):
        graphs = (graph.model_copy(update={"deadline_us": deadline_us}),)
        asked = workload.model_copy(update={"graphs": graphs})
        backends = recorded.cpus(hardware)
        runtime = Runtime.simulated(asked, hardware, profile, backends=backends, window_stages=0)
        with TraceWriter(beeps / "trace") as writer, runtime:
            replay(runtime, recording, Span.of(recording), policy="exact", time="virtual", sinks=[writer])
        assert [one.name for one in read(beeps / "trace").slices].count("deadline") == marked


def test_a_writer_that_begins_anew_leaves_nothing_of_the_run_before(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "once") as writer:
        random_run(1, [writer])
    with TraceWriter(tmp_path / "twice") as writer:
        random_run(8, [writer])
        random_run(1, [writer])
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()


def test_what_overlaps_is_shown_on_tracks_of_one_name(beeps: Path) -> None:
    with TraceWriter(beeps / "trace") as writer:
        run(beeps, [writer], stretch=400)
    found = read(beeps / "trace")
    frames: list[Slice] = [one for one in found.slices if "lateness us" in one.notes]
    assert len({one.track for one in frames}) > 1
    assert {found.where(one) for one in frames} == {"pipelines/beeps"}
    rows: dict[int, list[Slice]] = {}
    for one in frames:
        rows.setdefault(one.track, []).append(one)
    for row in rows.values():
        assert all((one.end_us or 0) <= after.start_us for one, after in pairwise(row))


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_is_traced_bar_by_bar(tmp_path: Path, seed: int) -> None:
    problem, placement = answered(seed)
    write_answer(problem, placement, tmp_path / "trace")
    found = read(tmp_path / "trace")
    shown = Counter((found.where(one), one.name, one.category, one.start_us, one.end_us) for one in found.slices)
    drawn = bars(problem, placement)
    assert shown == Counter(
        (f"{problem.name}/{bar.row}", bar.name, bar.kind, bar.start_us, max(bar.start_us, bar.end_us)) for bar in drawn
    )


def test_a_windows_answer_is_traced_bar_by_bar(tmp_path: Path) -> None:
    problem = WindowProblem.from_file(PROBLEMS / "mixed-004-plain-206.json")
    placement = WindowPlacement.from_file(PROBLEMS / "mixed-004-plain-206.placement.json")
    write_answer(problem, placement, tmp_path / "trace")
    found = read(tmp_path / "trace")
    assert len(found.slices) == len(bars(problem, placement))
    assert {"waking", "awake", "lingering"} <= {one.category for one in found.slices}
    assert any(0 < int(one.notes["chance ppm"]) < 1_000_000 for one in found.slices)
