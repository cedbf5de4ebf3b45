"""Stages that keep state on the CPU: equal to the bit to the whole sound, and nothing of it computed twice."""

import importlib
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_backends import micro_front_end, tflite, tflite_package
from leo_backends.cpu import CpuBackend
from leo_backends.reference import STREAMS
from leo_backends.streaming import FeatureStream, RowStream
from leo_runtime.backend import News, State, StatefulKernel
from leo_runtime.demo import RECORDINGS
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import GraphError, KernelError
from leo_runtime.operators.classifiers import TFLITE, TfliteParameters
from leo_runtime.operators.sound import LOG_MEL, MFCC, MICRO_FEATURES, LogMelParameters, MfccParameters
from leo_runtime.testing import example

MODELS = Path(__file__).parent / "models"
WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"
CPU = CpuBackend(Processor(name="cpu", backend="cpu"))
WINDOW = 4_000

needs_interpreter = pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")


def voice(samples: int, seed: int = 1) -> np.ndarray:
    """Something with a tone, its harmonics and noise, that never comes again."""
    at = np.arange(samples)
    tone = np.sin(2 * np.pi * np.cumsum(150 + 60 * np.sin(at / 3000)) / 16_000)
    noise = np.random.default_rng(seed).normal(0, 0.01, samples)
    return (0.2 * tone**3 * (np.sin(at / 5000) > -0.3) + noise).astype(np.float32)


def recorded(name: str) -> np.ndarray:
    with wave.open(str(RECORDINGS / name / "mic.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def load(operator: str, window: np.ndarray, **params: Any) -> StatefulKernel:
    kernel = CPU.load(example("stage", operator, [window], **params).stage, DEFAULT_VARIANT)
    assert isinstance(kernel, StatefulKernel)
    return kernel


def outputs(
    kernel: StatefulKernel, entries: np.ndarray, window: int, fresh: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """(end, output) of windows of which so many entries are new: the first one starts anew."""
    end, state = window, kernel.start()
    for number, new in enumerate([0, *fresh]):
        end += new
        run = kernel.step([entries[end - window : end]], state, News(new if number else None, end))
        state = run.state
        yield end, run.output


SOUNDS: dict[str, tuple[str, dict[str, Any]]] = {
    "log-mel": ("log_mel", {}),
    "pre-emphasised": ("log_mel", {"preemphasis": 0.97, "frame_samples": 300, "hop_samples": 77}),
    "like Kaldi's": ("log_mel", {"like": "kaldi", "bands": 23}),
    "frames apart": ("log_mel", {"frame_samples": 200, "hop_samples": 450, "preemphasis": 0.5}),
    "gained": ("log_mel", {"log": "decibels", "floor_by": "clipping", "log_gain": 0.5, "log_offset": 3.0}),
    "cepstra": ("mfcc", {"lifter": 22}),
    "cepstra with energy": ("mfcc", {"like": "htk", "energy": "raw", "energy_at": "last", "scale": 32768.0}),
}


@pytest.mark.parametrize(("operator", "params"), SOUNDS.values(), ids=SOUNDS)
def test_rows_of_a_stream_are_those_of_the_whole_sound_to_the_bit(operator: str, params: dict[str, Any]) -> None:
    random = np.random.default_rng(7)
    fresh = [800, 160, 0, 1, 4_000, 37, *random.integers(0, 3_000, 25).tolist()]
    sound = voice(WINDOW + sum(fresh))
    streaming = load(operator, sound[:WINDOW], streaming=True, **params)
    hop = example("stage", operator, [sound], **params).stage.params[DEFAULT_VARIANT].hop_samples
    whole = CPU.load(example("stage", operator, [sound], **params).stage, DEFAULT_VARIANT)([sound])
    for end, output in outputs(streaming, sound, WINDOW, fresh):
        plain = example("stage", operator, [sound[:end]], **params).stage.output_shape[0]
        assert np.array_equal(output, whole[plain - len(output) : plain]), f"at {end}, hop {hop}"


@pytest.mark.parametrize(("operator", "params"), SOUNDS.values(), ids=SOUNDS)
def test_a_run_that_starts_anew_is_a_window_by_itself(operator: str, params: dict[str, Any]) -> None:
    window = voice(WINDOW)
    alone = CPU.load(example("stage", operator, [window], **params).stage, DEFAULT_VARIANT)([window])
    streaming = load(operator, window, streaming=True, **params)
    used = streaming.step([voice(WINDOW, 2)], streaming.start(), News(None, 0)).state
    assert np.array_equal(streaming([window]), alone)
    assert np.array_equal(streaming.step([window], used, News(None, 0)).output, alone)


def arrays(state: State) -> tuple[np.ndarray, ...]:
    assert isinstance(state, tuple)
    return state


@pytest.mark.parametrize("operator", ["log_mel", "mfcc", "micro_features"])
def test_a_state_is_left_as_it_was_and_is_no_larger_than_is_said(operator: str) -> None:
    sound = voice(WINDOW + 900)
    stage = example("stage", operator, [sound[:WINDOW]], streaming=True).stage
    streaming = load(operator, sound[:WINDOW], streaming=True)
    state = streaming.step([sound[:WINDOW]], streaming.start(), News(None, 0)).state
    before = [array.copy() for array in arrays(state)]
    first, again = (streaming.step([sound[900:]], state, News(900, 0)) for _ in range(2))
    assert np.array_equal(first.output, again.output)
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays(state), strict=True))
    first.output[:] = 7  # Whoever is given an output may write to it.
    assert np.array_equal(streaming.step([sound[900:]], first.state, News(0, 0)).output, again.output)
    params = stage.params[DEFAULT_VARIANT]
    assert stage.operator.keeps is not None
    keeping = stage.operator.keeps(params)
    assert keeping is not None
    held = sum(array.nbytes for array in arrays(first.state))
    assert held <= keeping.state_bytes(params, stage.input_shapes) + 8 < 1.2 * held + 2_000


@pytest.mark.parametrize("operator", ["log_mel", "mfcc", "micro_features"])
def test_every_row_is_computed_once(operator: str) -> None:
    fresh = [50, 800, 801, 3, 2_000, 0, 4_000, 77]
    sound = voice(WINDOW + sum(fresh))
    stage = example("stage", operator, [sound[:WINDOW]], streaming=True).stage
    made = STREAMS[operator](stage.params[DEFAULT_VARIANT], stage.input_shapes)
    assert isinstance(made, FeatureStream)
    counts: list[int] = []

    def counted(samples: np.ndarray, left: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        rows, after = made.new_rows(samples, left)
        counts.append(len(rows))
        return rows, after

    program = FeatureStream(made.stream, counted)
    state, end = program.start(), WINDOW
    for number, new in enumerate([0, *fresh]):
        end += new
        _, state = program.step([sound[end - WINDOW : end]], state, News(new if number else None, 0))
    total = example("stage", operator, [sound]).stage.output_shape[0]
    assert sum(counts) == total
    assert min(counts) > 0, "nothing new, nothing called"


@pytest.mark.parametrize("hop", [1, 7, 10, 13])
def test_a_stream_of_rows_knows_what_is_new(hop: int) -> None:
    """Rows that name their own first sample, in windows of any overlap."""
    stream = RowStream(frames=1 + (40 - 10) // hop, columns=1, frame_samples=10, hop_samples=hop)
    signal = np.arange(1, 4_000, dtype=np.float32)
    random = np.random.default_rng(hop)
    state, end, seen = stream.start(), 40, 0

    def rows(samples: np.ndarray, left: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        nonlocal seen
        found = np.lib.stride_tricks.sliding_window_view(samples[1:], 10)[::hop, :1]
        assert len(samples) == 1 + (len(found) - 1) * hop + 10
        assert samples[0] == samples[1] - 1
        seen += len(found)
        return found, left

    for number in range(200):
        fresh = int(random.integers(0, 41)) if number else None
        end += fresh or 0
        if end > len(signal):
            break
        output, state = stream.step(signal[end - 40 : end], state, fresh, rows)
        total = 1 + (end - 10) // hop
        assert output[:, 0].tolist() == [1 + hop * row for row in range(total - len(output), total)]
        assert seen == total


@pytest.mark.parametrize(
    ("operator", "parameters", "params", "says"),
    [
        (LOG_MEL, LogMelParameters, {"like": "whisper"}, '`edges` = "centred_reflected"'),
        (LOG_MEL, LogMelParameters, {"log_range": 8.0}, "`log_range` = 8.0"),
        (LOG_MEL, LogMelParameters, {"drop_last_frame": True}, "`drop_last_frame` = true"),
        (MFCC, MfccParameters, {"deltas": True}, "`deltas` = true"),
        (MFCC, MfccParameters, {"normalise_mean": True}, "`normalise_mean` = true"),
    ],
)
def test_what_hinders_streaming_is_named(operator: Any, parameters: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=f"`streaming` keeps rows, and {says}") as raised:
        operator.output_shape(parameters(streaming=True, **params), [(16_000,)])
    assert "streaming = false" in raised.value.hint


def test_stages_that_keep_no_state_are_known_as_before() -> None:
    for operator, params in (
        (LOG_MEL, {}),
        (MFCC, {}),
        (MICRO_FEATURES, {}),
        (TFLITE, {"model": WAKE_WORD, "output_shape": (1,)}),
    ):
        written = operator.parameters.model_validate(params).model_dump()
        assert not {"streaming", "greatest_of", "state_bytes"} & written.keys()
        assert operator.keeps is not None
        assert operator.keeps(operator.parameters.model_validate(params)) is None
        streaming = operator.parameters.model_validate({**params, "streaming": True})
        assert streaming.model_dump()["streaming"] is True
        assert operator.keeps(streaming) is not None


def test_work_and_entries_are_those_of_what_is_new() -> None:
    params = LogMelParameters(streaming=True)
    keeping = LOG_MEL.keeps(params) if LOG_MEL.keeps else None
    assert keeping is not None
    assert keeping.entries is not None
    assert [keeping.entries(params, samples) for samples in (0, 399, 400, 559, 560, 32_000)] == [0, 0, 1, 1, 2, 198]
    whole, some = LOG_MEL.work(params, [(32_000,)]), keeping.work(params, [(32_000,)], 8_000)
    assert some.macs * 198 == whole.macs * 50
    assert some.bytes < whole.bytes
    assert keeping.work(params, [(32_000,)], 0).macs == 0
    assert keeping.work(params, [(32_000,)], 32_000).macs == whole.macs


# The front end of TensorFlow Lite Micro


def by_the_package(samples: np.ndarray) -> np.ndarray:
    package = pytest.importorskip("pymicro_features", reason="the extra `audio` is not installed")
    front_end, rows = package.MicroFrontend(), []
    for at in range(0, len(samples) - 159, 160):
        answer = front_end.process_samples(samples[at : at + 160].astype("<i2").tobytes())
        rows += [answer.features] if answer.features else []
    return np.array(rows, np.float32)


def extremes() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {
        "loud noise": random.integers(-32768, 32768, 48_000),
        "quiet noise": random.integers(-2, 3, 48_000),
        "square": np.tile(np.repeat([32767, -32768], 40), 400),
        "lowest": np.full(16_000, -32768),
        "silence": np.zeros(16_000),
        "bursts": random.normal(0, 3000, 64_000) * (np.arange(64_000) % 16_000 < 5_000),
    }


@pytest.mark.parametrize("name", extremes())
def test_the_front_end_is_the_packages_to_the_bit(name: str) -> None:
    samples = extremes()[name].astype(np.int16)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 480)[::160]
    ours, _ = micro_front_end.features(frames, micro_front_end.first_estimate())
    assert np.array_equal(ours, by_the_package(samples))


@pytest.mark.parametrize("name", ["held_out_wake_words", "held_out_speakers", "held_out_music"])
def test_micro_features_of_a_stream_are_those_of_a_recording_to_the_bit(name: str) -> None:
    sound = recorded(name)
    expected = by_the_package(np.rint(sound * 32768).astype(np.int16))
    streaming = load("micro_features", sound[:32_000], streaming=True)
    for end, output in outputs(streaming, sound, 32_000, [8_000] * ((len(sound) - 32_000) // 8_000)):
        total = 1 + (end - 480) // 160
        assert np.array_equal(output, expected[total - 198 : total])


def test_streaming_micro_features_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    sound = voice(16_000)
    stages = [example("m", "micro_features", [sound], **params).stage for params in ({}, {"streaming": True})]
    assert [CPU.supports(stage, DEFAULT_VARIANT) for stage in stages] == [False, True]


# Streaming models


def score(rows: np.ndarray, **changes: Any) -> StatefulKernel:
    params = {"model": WAKE_WORD, "output_shape": (1,), "rows_per_step": 3, "average_steps": 5, "streaming": True}
    return load("tflite", rows, **params | changes)


def speech_features() -> np.ndarray:
    samples = np.rint(recorded("held_out_wake_words") * 32768).astype(np.int16)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 480)[::160]
    return micro_front_end.features(frames, micro_front_end.first_estimate())[0]


def averages(outputs: np.ndarray, steps: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(outputs, steps, axis=0).mean(axis=-1)


@needs_interpreter
def test_a_streaming_model_is_the_whole_model_over_the_whole_sound_to_the_bit() -> None:
    """Its greatest average is that of the last 66 of the calls that the model, run in one go, makes."""
    features, window = speech_features(), 198
    fresh = [50] * 20 + [0, 1, 2, 3, 49, 198, 7]
    features = features[: window + sum(fresh)]
    params = {"model": WAKE_WORD, "output_shape": (1,), "rows_per_step": 3}
    every = every_call(features)
    found = []
    for end, output in outputs(score(features[:window]), features, window, fresh):
        calls = end // 3
        assert np.array_equal(output, averages(every[calls - 66 : calls], 5).max(axis=0)), f"at {end}"
        found.append(float(output[0]))
    whole = tflite.model_program(TfliteParameters(**params, average_steps=5), [features.shape])([features])
    assert max(found) == whole[0] > 0.9


def every_call(features: np.ndarray) -> np.ndarray:
    """What a fresh interpreter gives, call by call, with the model as it is stored."""
    package = tflite_package.installed()
    interpreter = importlib.import_module(f"{package}.interpreter").Interpreter(str(WAKE_WORD), num_threads=1)
    interpreter.allocate_tensors()
    (reads,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero), (out_scale, out_zero) = reads["quantization"], gives["quantization"]
    found = []
    for rows in features[: len(features) // 3 * 3].reshape(-1, 1, 3, 40):
        steps = np.rint(rows.astype(np.float64) / scale) + zero
        interpreter.set_tensor(reads["index"], np.clip(steps, -128, 127).astype(np.int8))
        interpreter.invoke()
        value = interpreter.get_tensor(gives["index"]).astype(np.float64)
        found.append(((value - out_zero) * out_scale).astype(np.float32).reshape(1))
    return np.array(found)


@needs_interpreter
def test_what_was_told_of_old_calls_may_be_left_out() -> None:
    """Every average of the model run in one go counts in one run alone: in that whose new call it ends with."""
    features, window = speech_features(), 198
    fresh = [50] * 14 + [0, 1, 2, 3, 49, 198, 7]
    features = features[: window + sum(fresh)]
    every, calls = averages(every_call(features), 5), 0
    kernel = score(features[:window], greatest_of="new")
    found = []
    for end, output in outputs(kernel, features, window, fresh):
        before, calls = calls, end // 3
        first = max(0, min(before, calls - 1) - 4)
        assert np.array_equal(output, every[first : calls - 4].max(axis=0)), f"at {end}"
        found.append(float(output[0]))
    assert max(found) == every.max() > 0.9
    assert 1 <= sum(value > 0.85 for value in found) <= 3


@needs_interpreter
def test_a_model_is_called_once_on_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    features, window, fresh = speech_features(), 198, [50] * 12 + [1, 1, 1, 198]
    stream = tflite.model_stream(
        TfliteParameters(model=WAKE_WORD, output_shape=(1,), rows_per_step=3, streaming=True), [(window, 40)]
    )
    calls: list[int] = []
    advance = stream.advance

    def counted(inputs: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        calls.append(len(inputs))
        return advance(inputs, state)

    object.__setattr__(stream, "advance", counted)
    state, end = stream.start(), window
    for number, new in enumerate([0, *fresh]):
        end += new
        _, state = stream.step([features[end - window : end]], state, News(new if number else None, 0))
    assert calls[:4] == [66, 16, 17, 17]
    assert sum(calls) == end // 3


@needs_interpreter
def test_a_model_goes_on_from_any_state_that_it_left() -> None:
    """Also twice, from another thread's session, and on a kernel that was loaded anew: a state is all there is."""
    features = speech_features()
    first, second = score(features[:198]), score(features[:198])
    begun = first.step([features[:198]], first.start(), News(None, 0))
    going = first.step([features[50:248]], begun.state, News(50, 0))
    first([features[300:498]])
    for kernel in (first, second):
        again = kernel.step([features[50:248]], begun.state, News(50, 0))
        assert np.array_equal(again.output, going.output)
        assert all(np.array_equal(a, b) for a, b in zip(arrays(again.state), arrays(going.state), strict=True))
    assert not going.spent
    params = TfliteParameters(model=WAKE_WORD, output_shape=(1,), rows_per_step=3, streaming=True, state_bytes=3_408)
    keeping = TFLITE.keeps(params) if TFLITE.keeps else None
    assert keeping is not None
    held = sum(array.nbytes for array in arrays(going.state))
    assert held <= keeping.state_bytes(params, [(198, 40)]) <= held + 4 * 2 * 40
    less = params.model_copy(update={"greatest_of": "new", "average_steps": 5})
    assert keeping.state_bytes(less, [(198, 40)]) == keeping.state_bytes(params, [(198, 40)]) - 4 * 61


@needs_interpreter
def test_variable_tensors_go_on_as_well() -> None:
    """Of a model that sums up half of what was and what is: y = y / 2 + x."""
    params: dict[str, Any] = {"model": MODELS / "recurrent.tflite", "output_shape": (2,), "rows_per_step": 2}
    rows = np.arange(1, 21, dtype=np.float32)[:, None]
    kernel = load("tflite", rows[:8], **params, streaming=True)
    sums = np.zeros(21, np.float32)
    for at, row in enumerate(rows[:, 0]):
        sums[at + 1] = sums[at] / 2 + row
    for end, output in outputs(kernel, rows, 8, [2, 3, 1, 5]):
        assert output.tolist() == pytest.approx(sums[end // 2 * 2 - 1 : end // 2 * 2 + 1].tolist())


@needs_interpreter
def test_a_model_without_state_is_called_on_what_is_new() -> None:
    params: dict[str, Any] = {"model": MODELS / "tiny.tflite", "output_shape": (2,), "rows_per_step": 1}
    rows = np.random.default_rng(5).normal(size=(30, 3)).astype(np.float32)
    kernel = load("tflite", rows[:10], **params, streaming=True)
    for end, output in outputs(kernel, rows, 10, [4, 0, 10, 3]):
        alone = CPU.load(example("t", "tflite", [rows[:10]], **params).stage, DEFAULT_VARIANT)
        assert np.array_equal(output, alone([rows[end - 10 : end]]))


@needs_interpreter
def test_a_streaming_model_that_is_damaged_fails_alone(tmp_path: Path) -> None:
    good = WAKE_WORD.read_bytes()
    random = np.random.default_rng(11)
    window = np.zeros((198, 40), np.float32)
    outcomes = {"runs": 0, "refused": 0}
    for at in (4, *random.choice(3_000, 15, replace=False).tolist(), *random.choice(len(good), 5).tolist()):
        content = bytearray(good)
        content[at] = int(random.integers(256))
        (tmp_path / "m.tflite").write_bytes(content)
        try:
            kernel = score(window, model=tmp_path / "m.tflite")
            kernel.step([window], kernel.start(), News(None, 0))
        except KernelError as error:
            assert "m.tflite" in str(error)
            outcomes["refused"] += 1
        else:
            outcomes["runs"] += 1
    assert min(outcomes.values()) > 0


def test_streaming_takes_the_rows_of_a_step() -> None:
    params = TfliteParameters(model=WAKE_WORD, output_shape=(1,), streaming=True)
    with pytest.raises(GraphError, match="needs `rows_per_step`"):
        TFLITE.output_shape(params, [(198, 40)])


def test_a_missing_streaming_model_is_said_with_its_name(tmp_path: Path) -> None:
    if not tflite.is_available():
        pytest.skip("the extra `tflite` is not installed")
    with pytest.raises(KernelError, match=r"gone.tflite: cannot be read"):
        score(np.zeros((198, 40), np.float32), model=tmp_path / "gone.tflite")
