"""Replays of a small recording whose every detection, time and nanojoule is known beforehand."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recorded
from leo_runtime.documents.workload import Stream
from leo_runtime.errors import RecordingError
from leo_runtime.frame.batch import Job
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.recordings.recording import LinkSample, Recording, RecordingManifest, check_streams
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.replay.compare import Compared, Placing
from leo_runtime.replay.figures import Failure
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.replay import FrameSink, Replay, Span, releases, replay, streams_read
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.replay.summary import RunningSummary
from leo_runtime.report import replay_text
from leo_runtime.report.layout import Energies
from leo_runtime.report.replay_figures import figures
from leo_runtime.report.replay_tables import policies_table
from leo_runtime.runtime.planner import no_placement
from leo_runtime.runtime.runtime import Runtime


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorded.write_all(tmp_path)
    return tmp_path


def run(
    folder: Path,
    *,
    solver: str = "exact",
    span: Span | None = None,
    noise: int | None = None,
    sinks: Sequence[FrameSink] = (),
    stretch: int = 1,
) -> Replay:
    workload, hardware, profile, recording = recorded.load_all(folder)
    costs = tuple(cost.model_copy(update={"fixed_us": stretch * cost.fixed_us}) for cost in profile.costs)
    profile = profile.model_copy(update={"costs": costs})
    backends = recorded.cpus(hardware)
    with Runtime.simulated(workload, hardware, profile, solver=solver, backends=backends, noise=noise) as runtime:
        return replay(runtime, recording, span or Span.of(recording), policy=solver, time="virtual", sinks=sinks)


def run_kept(folder: Path, **options: Any) -> tuple[Replay, tuple[FrameResult, ...]]:
    """A replay and its frames."""
    kept = KeptFrames()
    return run(folder, **options, sinks=[kept]), kept.frames


def of_frames(replayed: Replay, frames: Sequence[FrameResult]) -> Replay:
    """The same replay, had these been its frames."""
    summary = RunningSummary(replayed)
    for frame in frames:
        summary.frame(frame, 0)
    return replace(replayed, summary=summary.whole(replayed.length_us))


def write_log(folder: Path, path: Path, noise: int | None = None) -> None:
    with LogWriter(path) as log:
        run(folder, noise=noise, sinks=[log])


def test_frames_are_released_by_period_after_the_first_sample(folder):
    workload = recorded.load_all(folder)[0]
    assert tuple(releases(workload, 2_000_000)) == (500_000, 1_000_000, 1_500_000, 2_000_000)
    other = workload.graphs[0].model_copy(update={"name": "b", "period_us": 600_000, "offset_us": 100_000})
    both = workload.model_copy(update={"graphs": (*workload.graphs, other)})
    assert tuple(releases(both, 1_300_000)) == (100_000, 500_000, 700_000, 1_000_000, 1_300_000)


def test_what_was_heard_is_held_to_the_labels(folder):
    (line,) = run(folder).summary.pipelines
    assert (line.frames, line.answered, line.detections) == (8, 3, 3)
    assert (line.right, line.false) == (2, 1)
    assert (line.labels, line.missed) == (2, 1)


def test_a_part_is_scored_by_its_own_labels(folder):
    recording = recorded.load_all(folder)[3]
    (line,) = run(folder, span=Span.of(recording, 1_000_000, 1_000_000)).summary.pipelines
    assert (line.frames, line.right, line.false, line.labels, line.missed) == (2, 2, 0, 1, 0)


def test_times_and_energies_are_those_of_the_placement(folder):
    replayed = run(folder)
    (line,) = replayed.summary.pipelines
    # The exact solver leaves window and gate to the DSP: 2 + 3 ms there, two links, then 1 + 1 ms on the CPU.
    assert (line.latency_median_us, line.latency_p95_us, line.deadline_misses) == (7100, 7100, 0)
    used = {use.name: use for use in replayed.summary.processors}
    assert (used["dsp"].runs, used["dsp"].busy_us) == (16, 8 * 5000)
    assert (used["cpu"].runs, used["cpu"].busy_us) == (6, 3 * 2000), "what the gate ended is no run"
    assert sum(use.total_nj for use in used.values()) == replayed.summary.energy.total_nj == replayed.total.nj
    assert used["dsp"].nj["run"] == 8 * 5000 * 100
    assert used["cpu"].nj["run"] == 3 * 2000 * 1000


def test_a_policy_that_is_late_is_shown_to_be(folder):
    exact, late = run(folder), run(folder, solver="dsp-first")
    totals = [exact.total, late.total]
    assert (totals[0].deadline_misses, totals[1].deadline_misses) == (0, 3)
    shown = policies_table(totals, Energies.up_to(totals[0].nj)).splitlines()
    assert shown[0].split()[:2] == ["policy", "time"]
    assert [line.split()[0] for line in shown[2:]] == ["exact", "dsp-first"]


def failures(folder: Path, frames: Sequence[FrameResult]) -> tuple[Failure, ...]:
    return of_frames(run(folder), frames).summary.failures


def failing(folder: Path, errors: list[str], frames: int) -> tuple[FrameResult, ...]:
    """Frames that have these errors, a stage of the batch each."""
    _, (first, *_) = run_kept(folder)
    seen = first.stages[0]
    stages = tuple(replace(seen, stage=f"{seen.stage}#{n}", outcome="failed", error=e) for n, e in enumerate(errors))
    jobs = {stage.stage: Job(seen.stage, (n,)) for n, stage in enumerate(stages)}
    return (replace(first, stages=stages, jobs=jobs),) * frames


def test_a_failure_that_repeats_is_one_with_its_count(folder):
    numbered = [f"KernelError: {n / 7} is no row of {n}" for n in range(16)]
    assert [one.count for one in failures(folder, failing(folder, numbered, 10))] == [160]
    sides = ["KernelError: left", "KernelError: right", "KernelError: left"]
    (first, second) = failures(folder, failing(folder, sides, 2))
    assert (first.why, first.count, second.why, second.count) == ("KernelError: left", 4, "KernelError: right", 2)
    assert not first.is_overload


def test_a_skipped_frame_is_one_failure_for_want_of_time(folder):
    late = failing(folder, ["skipped: its deadline passed before it could start"] * 5, 3)
    graphs = tuple(replace(one, outcome="failed") for one in late[0].graphs)
    late = tuple(replace(one, skipped=True, graphs=graphs) for one in late)
    (skipped,) = failures(folder, late)
    assert (skipped.what, skipped.why, skipped.count) == ("frame", late[0].stages[0].error, 3)
    assert skipped.is_overload


def test_no_words_make_a_failure_an_overload(folder):
    (failed,) = failures(folder, failing(folder, ["skipped: or so it says"], 3))
    assert not failed.is_overload
    _, (frame, *_) = run_kept(folder)
    reason = frame.placement.model_copy(update={"status": "infeasible", "reason": "skipped: by my own solver"})
    (unplaced,) = failures(folder, [replace(frame, placement=reason)])
    assert not unplaced.is_overload


def test_an_answer_that_never_came_is_a_failure_also_where_no_stage_says_why(folder):
    _, (frame, *_) = run_kept(folder)
    silent = replace(frame, graphs=tuple(replace(one, outcome="failed") for one in frame.graphs))
    (failed,) = failures(folder, [silent])
    assert (failed.what, failed.count) == ("frame", 1)


def test_gates_that_could_not_be_waited_for_are_counted_and_said(folder):
    replayed, kept = run_kept(folder)
    assert replayed.summary.waits_given_up == 0
    frames = tuple(replace(frame, waits_given_up=1 + number) for number, frame in enumerate(kept[:2]))
    hurried = Compared(of_frames(replayed, frames), {}, {}, (), not_held={"gpu": "stuck, 2 times"})
    assert "gates that could not be waited for: 3\nnot kept awake: gpu (stuck, 2 times)\n" in replay_text.text(hurried)
    assert figures(hurried, Placing(), {}).waits_given_up == 3
    assert "gates" not in replay_text.text(Compared(replayed, {}, {}, ()))


def test_a_log_has_a_line_a_frame_and_repeats_to_the_byte(folder):
    first, second = (recorded.log_lines(*run_kept(folder, noise=100_000)) for _ in range(2))
    assert first == second
    head, frames = json.loads(first[0]), recorded.logged(first)
    assert (head["format"], head["time"], head["recording"]["name"]) == ("leo-log/2", "virtual", "beeps")
    assert [frame["release_us"] for frame in frames] == [500_000 * n for n in range(1, 9)]
    assert frames[2]["graphs"][0]["label"] == "loud"


def test_a_log_says_of_a_frame_without_an_answer_that_it_is_unplaced_and_why(folder):
    replayed, (frame, *_) = run_kept(folder)
    graphs = tuple(replace(one, outcome="failed") for one in frame.graphs)
    why = {"unplaced": no_placement("skipped: 8 frames are in flight")}
    why["infeasible"] = why["unplaced"].model_copy(update={"solver": "exact", "reason": "no link from a to b"})
    frames = tuple(replace(frame, placement=one, graphs=graphs, stages=()) for one in why.values())
    *logged, fine = recorded.logged(recorded.log_lines(replayed, (*frames, frame)))
    assert [(line["status"], line["reason"]) for line in logged] == [(s, p.reason) for s, p in why.items()]
    assert "reason" not in fine, "nothing failed in it"


def test_frames_that_are_skipped_for_others_are_logged_as_unplaced(folder):
    workload, hardware, profile, recording = recorded.load_all(folder)
    costs = tuple(cost.model_copy(update={"fixed_us": 300 * cost.fixed_us}) for cost in profile.costs)
    profile, backends = profile.model_copy(update={"costs": costs}), recorded.cpus(hardware)
    with Runtime.simulated(workload, hardware, profile, backends=backends, max_in_flight=1) as runtime:
        kept = KeptFrames()
        replayed = replay(runtime, recording, Span.of(recording), policy="exact", time="virtual", sinks=[kept])
        assert runtime.skipped
    lines = recorded.logged(recorded.log_lines(replayed, kept.frames))
    skipped = [line["reason"] for line in lines if line["status"] == "unplaced"]
    assert skipped == ["skipped: 1 frames are in flight"] * runtime.skipped
    assert not any(line["status"] == "infeasible" for line in lines)


@pytest.mark.once
def test_a_log_does_not_depend_on_the_order_of_hashes(folder):
    code = (
        "import sys, recorded; from pathlib import Path; from test_replay import write_log;"
        "write_log(Path('.'), Path(sys.argv[1]), noise=50_000)"
    )
    for seed in ("0", "77"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, [*sys.path]))}
        done = subprocess.run(
            [sys.executable, "-c", code, f"{seed}.jsonl"], cwd=folder, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
    assert (folder / "0.jsonl").read_bytes() == (folder / "77.jsonl").read_bytes()


def test_a_log_that_cannot_be_written_names_the_file(folder):
    with pytest.raises(Exception, match=r"file.txt.*cannot be written"):
        (folder / "file.txt").write_text("", encoding="utf-8")
        write_log(folder, folder / "file.txt" / "log.jsonl")


def test_a_span_is_as_long_as_the_streams_that_are_read(folder):
    workload, _, _, recording = recorded.load_all(folder)
    assert streams_read(workload) == ("mic",)
    manifest = recording.manifest
    short = manifest.streams[0].model_copy(update={"name": "short"})
    recording = Recording(
        manifest.model_copy(update={"streams": (*manifest.streams, short)}),
        {**recording.samples, "short": recording.samples["mic"][:16_000]},
    )
    assert Span.of(recording).end_us == 1_000_000
    assert Span.of(recording, streams=streams_read(workload)).end_us == 4_000_000


class Told:
    """Keeps what a sink is told, and holds it to the promise about what comes later."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.settled_us = 0
        self.entries: list[Entry] = []
        self.drawn_us = 0
        self.ended = False

    def begin(self, begun: Replay) -> None:
        assert begun.summary.frames == 0

    def frame(self, ended: FrameResult, settled_us: int) -> None:
        starts_us = [seen.start_us for seen in (*ended.stages, *ended.transfers)]
        assert min([*starts_us, *(graph.end_us for graph in ended.graphs)]) >= self.settled_us
        assert settled_us >= self.settled_us
        self.numbers.append(ended.frame)
        self.settled_us = settled_us

    def energy(self, entries: Sequence[Entry], settled_us: int) -> None:
        assert min(entry.at_us for entry in entries) >= self.drawn_us
        assert settled_us >= self.drawn_us
        self.entries += entries
        self.drawn_us = settled_us

    def end(self, ended: Replay) -> None:
        assert not self.ended
        self.ended = True


def test_a_sink_is_told_of_each_frame_once_and_what_is_settled_stays_so(folder):
    told, kept = Told(), KeptFrames()
    # Frames take longer than a period here, so that they overlap.
    replayed = run(folder, sinks=[told, kept], stretch=400)
    assert sorted(told.numbers) == [frame.frame for frame in kept.frames] == list(range(8))
    assert any(
        early.graphs[0].end_us > late.release_us for early, late in zip(kept.frames, kept.frames[1:], strict=False)
    )
    assert told.ended
    assert sum(entry.nj for entry in told.entries) == replayed.summary.energy.total_nj
    assert all(entry.at_us <= entry.until_us for entry in told.entries)


def test_a_recording_that_does_not_fit_is_refused(folder):
    workload, _, _, recording = recorded.load_all(folder)
    stream = workload.streams[0]
    slow = workload.model_copy(update={"streams": (stream.model_copy(update={"rate_hz": 8000}),)})
    with pytest.raises(RecordingError, match="has stream `mic` with rate_hz 16000, workload `ears` reads 8000"):
        check_streams(slow, recording)
    other = workload.model_copy(update={"streams": (stream.model_copy(update={"name": "watch"}),)})
    with pytest.raises(RecordingError, match="recording `beeps` has no stream `watch`"):
        check_streams(other, recording)
    with pytest.raises(RecordingError, match="lasts 4000000 us, nothing is left at 5000000") as error:
        Span.of(recording, 5_000_000)
    assert error.value.hint == "begin before 4 s"


@pytest.mark.parametrize(
    ("stream", "hint"),
    [
        ({"rate_hz": 50}, "`rate_hz = 100` of the workload's stream reads it as it is"),
        ({"channels": 2}, "`channels = 3` of the workload's stream reads it as it is"),
        ({"kind": "other"}, '`kind = "motion"` of the workload\'s stream reads it as it is'),
    ],
)
def test_a_stream_that_the_workload_reads_otherwise_is_refused_with_what_to_write(folder, stream, hint):
    workload, _, _, _ = recorded.load_all(folder)
    wrist = RecordedStream(name="wrist", kind="motion", file="w.csv", rate_hz=100, channels=3)
    manifest = RecordingManifest(format="leo-recording/1", name="r", streams=(wrist,))
    recording = Recording(manifest, {"wrist": np.zeros((100, 3), np.float32)})
    asked = Stream(**{"name": "wrist", "kind": "motion", "rate_hz": 100, "channels": 3} | stream)
    with pytest.raises(RecordingError, match="has stream `wrist` with") as error:
        check_streams(workload.model_copy(update={"streams": (asked,)}), recording)
    assert error.value.hint == hint


def test_events_before_the_start_last_nothing_and_say_what_to_do():
    battery = RecordedStream(name="battery", kind="events", file="b.csv")
    manifest = RecordingManifest(format="leo-recording/1", name="r", streams=(battery,))
    recording = Recording(manifest, {"battery": np.ones(1, np.float32)}, times_us={"battery": np.array([-300_094])})
    assert recording.lasts_us(["battery"]) == 0
    with pytest.raises(RecordingError, match="lasts 0 us, nothing is left at 0") as error:
        Span.of(recording, streams=["battery"])
    assert error.value.hint == "events alone last up to the last of them: read a stream with a rate, too"


def test_a_recording_of_a_link_that_the_machine_has_not_is_refused_before_anything_runs(folder):
    workload, hardware, profile, recording = recorded.load_all(folder)
    sample = LinkSample(time_us=900_000, source="cpu", target="cloud", latency_us=5)
    manifest = recording.manifest.model_copy(update={"links": (sample,)})
    with Runtime.simulated(workload, hardware, profile, compute=False) as runtime:
        with pytest.raises(RecordingError, match="tells of a link cpu -> cloud, which hardware"):
            replay(runtime, Recording(manifest, recording.samples), Span(0, 500_000), policy="exact", time="virtual")
        assert runtime.drain() == ()
