"""The demo's wake word on the phone: no row and no step is computed twice, and what that saves."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from leo_backends import micro_front_end, tflite, tflite_session
from leo_runtime import shipped
from leo_runtime.backend import registry
from leo_runtime.demo import RECORDINGS, WORKLOAD
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.records import FrameResult, StageObservation
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.replay import Span, replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime.runtime import Runtime

WINDOW_ROWS, NEW_ROWS, ROWS_A_STEP = 198, 50, 3
LATER = ("streaming", "greatest_of", "state_bytes")

pytestmark = pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")


def listening(*, streaming: bool) -> Workload:
    """The demo's wake word alone: as shipped, or afresh with every window."""
    written = json.loads(Workload.from_file(WORKLOAD).to_json())
    written["graphs"] = [graph for graph in written["graphs"] if graph["name"] == "wake_word"]
    for stage in written["graphs"][0]["stages"]:
        params = stage.get("params", {})
        stage["params"] = {name: value for name, value in params.items() if streaming or name not in LATER}
    return Workload.from_dict(written)


def on_the_phone(workload: Workload, name: str) -> tuple[FrameResult, ...]:
    """The frames of a shipped recording, in virtual time."""
    hardware, profile = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    recording, kept = Recording.from_file(RECORDINGS / name), KeptFrames()
    backends = {one.name: registry.create(one) for one in hardware.processors if one.backend != "opencl"}
    with Runtime.simulated(workload, hardware, profile, backends=backends) as runtime:
        replay(runtime, recording, Span.of(recording), policy="exact", time="virtual", sinks=[kept])
    for backend in backends.values():
        backend.close()
    return kept.frames


def runs(frames: tuple[FrameResult, ...], stage: str) -> list[tuple[int, StageObservation]]:
    """(release, run) of the stage, where it ran."""
    return [
        (frame.release_us, run)
        for frame in frames
        for run in frame.stages
        if run.stage.split(".")[-1] == stage and run.outcome == "done"
    ]


def nj(frames: tuple[FrameResult, ...]) -> int:
    """What features and score took to run."""
    return sum(run.nj for stage in ("features", "score") for _, run in runs(frames, stage))


@pytest.mark.parametrize("name", ["held_out_wake_words", "held_out_speakers"])
def test_every_row_and_every_step_is_computed_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    calls = loads = 0
    features, call, load = micro_front_end.features, tflite_session._Session.call_from, tflite_session.Calls.__init__

    def counted_features(frames: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows.append(len(frames))
        return features(frames, estimate)

    def counted_call(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        return call(*arguments)  # type: ignore[arg-type]

    def counted_load(*arguments: object) -> None:
        nonlocal loads
        loads += 1
        load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(micro_front_end, "features", counted_features)
    monkeypatch.setattr(tflite_session._Session, "call_from", counted_call)
    monkeypatch.setattr(tflite_session.Calls, "__init__", counted_load)
    frames = on_the_phone(listening(streaming=True), name)

    # A stretch begins anew with a whole window, and every later run has what came since, however often it was left out.
    expected_rows, expected_steps, stretch, before_us = [], 0, 0, None
    for release_us, run in runs(frames, "features"):
        periods = 0 if before_us is None else (release_us - before_us) // 500_000
        anew = before_us is None or periods * NEW_ROWS * 160 > 32_000
        assert run.state is not None
        assert (run.state.anew in ("first", "gap")) == anew
        expected_rows.append(WINDOW_ROWS if anew else periods * NEW_ROWS)
        if anew:
            expected_steps, stretch = expected_steps + stretch // ROWS_A_STEP, 0
        stretch, before_us = stretch + expected_rows[-1], release_us
    expected_steps += stretch // ROWS_A_STEP
    assert len(rows) > 20
    assert [count for count in rows if count] == expected_rows, "work repeated is 0"
    assert rows.count(NEW_ROWS) > len(rows) // 2
    # A model is called once when it is loaded.
    assert calls - loads == expected_steps
    seen = [run.state.fresh for _, run in runs(frames, "score") if run.state is not None]
    assert seen == expected_rows


@pytest.mark.skipif(find_spec("pymicro_features") is None, reason="the extra `audio` is not installed")
def test_the_phone_takes_less_for_it() -> None:
    """Features and score take 5.5 ms of the CPU a run, in the place of 21.2 where every window starts them afresh."""
    before, after = (on_the_phone(listening(streaming=on), "held_out_wake_words") for on in (False, True))
    assert len(runs(before, "score")) == len(runs(after, "score")) > 20
    assert nj(after) < 0.4 * nj(before)
    labels = [
        [result.label for frame in frames for result in frame.graphs if result.label] for frames in (before, after)
    ]
    assert len(labels[0]) == 3, "once of them for other words"
    assert len(labels[1]) == 2
