"""What a run is given becomes a recording: replayed it gives the same log, and what nobody submitted is a gap."""

from pathlib import Path

import numpy as np
import pytest

import recorded
from leo_runtime.errors import InputError
from leo_runtime.recordings.recording import Recording
from leo_runtime.recordings.stream import Gap
from leo_runtime.replay.replay import Span, replay
from leo_runtime.replay.run_recorder import RunRecorder
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.values import lasting_us


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorded.write_all(tmp_path)
    return tmp_path


def simulated(folder: Path) -> Runtime:
    workload, hardware, profile, _ = recorded.load_all(folder)
    return Runtime.simulated(workload, hardware, profile, backends=recorded.cpus(hardware))


def replayed(folder: Path, recording: Recording, out: Path | None = None) -> list[str]:
    """The log of a replay but for its head; what it was given is recorded to `out`."""
    with simulated(folder) as runtime:
        if out is not None:
            recorder, submit = RunRecorder(out, runtime), runtime.submit_batch

            def submit_batch(frames, **more):  # type: ignore[no-untyped-def]
                for release_us, windows in frames:
                    recorder.add(release_us, windows)
                return submit(frames, **more)

            runtime.submit_batch = submit_batch  # type: ignore[method-assign]
        kept = KeptFrames()
        played = replay(runtime, recording, Span.of(recording), policy="exact", time="virtual", sinks=[kept])
        if out is not None:
            recorder.finish()
    return recorded.log_lines(played, kept.frames)[1:]


def test_a_replay_that_was_recorded_replays_to_the_same_log(folder: Path) -> None:
    recording = recorded.load_all(folder)[3]
    log = replayed(folder, recording, folder / "again")
    again = Recording.from_file(folder / "again")
    assert not again.gaps
    for name, samples in again.samples.items():
        assert np.array_equal(samples, recording.samples[name][: len(samples)])
    assert replayed(folder, again) == log


def test_what_no_window_held_is_a_gap_and_what_two_held_is_written_once(folder: Path) -> None:
    with simulated(folder) as runtime:
        (source, *_) = runtime.sources([graph.name for graph in runtime.merged.workload.graphs])
        stream = next(one for one in runtime.merged.workload.streams if one.name == source.stream)
        with RunRecorder(folder / "run", runtime) as recorder:
            for end, first in ((4, -2), (6, 2), (12, 10), (11, 9)):
                release_us = -(-end * 1_000_000 // int(stream.rate_hz))
                recorder.add(release_us, {source.stage: np.arange(first, end).astype(np.int16)})
            with pytest.raises(InputError, match="`nothing` is no stage that reads a stream"):
                recorder.add(0, {"nothing": np.zeros(1)})
    written = Recording.from_file(folder / "run")
    assert list(written.samples) == [source.stream]
    assert written.samples[source.stream].tolist() == [0, 1, 2, 3, 4, 5, 0, 0, 0, 0, 10, 11]
    assert written.gaps[source.stream] == (Gap(lasting_us(stream.rate_hz, 6), lasting_us(stream.rate_hz, 10)),)


def test_a_run_of_nothing_leaves_nothing(folder: Path) -> None:
    with simulated(folder) as runtime:
        recorder = RunRecorder(folder / "run", runtime)
        with pytest.raises(InputError, match="nothing was recorded"):
            recorder.finish()
    assert not [path for path in folder.iterdir() if path.name.startswith("run")]
