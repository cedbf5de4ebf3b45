"""The presets of `log_mel` and `mfcc` give the values of the programs they are named after (front_ends/SOURCES.md)."""

import wave
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.dsp_error import measured_presets
from leo_backends import tables
from leo_runtime import shipped
from leo_runtime.backend import Backend, registry
from leo_runtime.documents.binding import bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import DocumentError, GraphError
from leo_runtime.measure import calibrate as calibration
from leo_runtime.measure.measure import Effort
from leo_runtime.operators import find_operator, presets
from leo_runtime.operators.sound import LogMelParameters, MfccParameters, feature_frames, first_sample
from leo_runtime.testing import Example, example

FOLDER = Path(__file__).parent / "front_ends"
REFERENCES: Mapping[str, np.ndarray] = dict(np.load(FOLDER / "references.npz"))


def chirp() -> np.ndarray:
    with wave.open(str(FOLDER / "chirp.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return (samples / 32768).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Case:
    """A stage, and the array of `references.npz` that it is to give."""

    reference: str
    operator: str
    params: dict[str, Any] = field(default_factory=dict)


SHORT = {"frame_samples": 400, "hop_samples": 160, "fft_samples": 512, "bands": 40}
CASES = (
    Case("expected_htk_mfcc", "mfcc", {"like": "htk"}),
    Case("expected_slaney_log_mel", "log_mel", {"mel": "slaney", "unit_area": True}),
    Case("expected_kaldi_log_mel", "log_mel", {"like": "kaldi"}),
    Case("kaldi_log_mel", "log_mel", {"like": "kaldi"}),
    Case("kaldi_log_mel_mirrored", "log_mel", {"like": "kaldi", "edges": "mirrored"}),
    Case("kaldi_mfcc", "mfcc", {"like": "kaldi"}),
    Case("kaldi_mfcc_windowed", "mfcc", {"like": "kaldi", "energy": "windowed"}),
    Case("kaldi_mfcc_zeroth", "mfcc", {"like": "kaldi", "energy": "none"}),
    Case("librosa_log_mel", "log_mel", {"like": "librosa"}),
    Case("librosa_log_mel_short", "log_mel", {"like": "librosa", **SHORT}),
    Case("librosa_mfcc", "mfcc", {"like": "librosa"}),
    Case("python_speech_features_log_mel", "log_mel", {"like": "python_speech_features"}),
    Case("python_speech_features_mfcc_deltas", "mfcc", {"like": "python_speech_features", "deltas": True}),
    Case("torchaudio_log_mel", "log_mel", {"like": "torchaudio"}),
    Case("torchaudio_mfcc_deltas", "mfcc", {"like": "torchaudio", "deltas": True}),
    Case("torchaudio_kaldi_log_mel", "log_mel", {"like": "kaldi"}),
    Case("torchaudio_kaldi_mfcc", "mfcc", {"like": "kaldi"}),
    Case("whisper_log_mel", "log_mel", {"like": "whisper"}),
)
PRESETS = [("log_mel", name) for name in presets.LOG_MEL] + [("mfcc", name) for name in presets.MFCC]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.reference)
each_preset = pytest.mark.parametrize(("operator", "like"), PRESETS)


OPENCL = next(status for status in registry.available() if status.name == "opencl")
needs_opencl = pytest.mark.skipif(not OPENCL.available, reason=f"no OpenCL here: {OPENCL.missing}")


@pytest.fixture(scope="module")
def cpu() -> Iterator[Backend]:
    with closing(registry.create(Processor(name="cpu", backend="cpu"))) as backend:
        yield backend


@pytest.fixture(scope="module")
def opencl() -> Iterator[Backend]:
    with closing(registry.create(Processor(name="gpu", backend="opencl"))) as backend:
        yield backend


@pytest.fixture(scope="module")
def dsp() -> Iterator[Backend]:
    with closing(registry.create(Processor(name="dsp", backend="dsp", active_mw=40))) as backend:
        yield backend


def run(backend: Backend, stage: Example, variant: str = "default") -> np.ndarray:
    bound = replace(stage.stage, params={variant: stage.stage.params["default"]})
    return backend.load(bound, variant)(stage.inputs)


def of_cpu(backend: Backend, operator: str, signal: np.ndarray, **params: Any) -> np.ndarray:
    return run(backend, example("features", operator, [signal.astype(np.float32)], **params))


def test_every_reference_is_used() -> None:
    assert {case.reference for case in CASES} | {"librosa_mfcc_delta"} == set(REFERENCES)


def test_the_chirp_is_sixteen_bits() -> None:
    assert np.array_equal(np.rint(chirp() * 32768), chirp() * 32768)


@each_case
def test_the_cpu_gives_the_programs_values(cpu: Backend, case: Case) -> None:
    reference = REFERENCES[case.reference]
    output = of_cpu(cpu, case.operator, chirp(), **case.params)
    assert output.shape == reference.shape
    assert np.abs(output - reference).max() <= 1e-3 * np.abs(reference).max()
    # Far nearer than asked for: what is left is the rounding of single precision.
    assert np.abs(output - reference).max() <= 1e-5 * np.abs(reference).max()


@needs_opencl
@each_case
@pytest.mark.parametrize("variant", ["default", "naive"])
def test_opencl_gives_the_programs_values(opencl: Backend, case: Case, variant: str) -> None:
    reference = REFERENCES[case.reference]
    output = run(opencl, example("features", case.operator, [chirp()], **case.params), variant)
    assert output.shape == reference.shape
    assert np.abs(output - reference).max() <= 2e-5 * np.abs(reference).max()


@each_case
def test_the_dsp_gives_the_programs_values_to_its_own_error(dsp: Backend, case: Case) -> None:
    reference = REFERENCES[case.reference]
    output = run(dsp, example("features", case.operator, [chirp()], **case.params))
    assert output.shape == reference.shape
    assert np.abs(output - reference).max() <= 2e-3 * np.abs(reference).max()
    # A single band with next to nothing in it may be that far off, all together are not.
    assert np.sqrt(np.square(output - reference).mean()) <= 2e-4 * np.abs(reference).max()


def documented_dsp_errors() -> dict[tuple[str, str], float]:
    """Of docs/dsp.md: the greatest error of each preset."""
    page = (Path(__file__).parent.parent / "docs" / "dsp.md").read_text()
    lines = page.split("| preset |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {(row[2], row[1]): float(row[5]) for row in cells}


def test_the_dsps_errors_on_recorded_sound_are_the_documented_ones() -> None:
    documented = documented_dsp_errors()
    found = measured_presets(shipped.recording("demo"), (8_000_000, 25_000_000, 62_000_000))
    assert [(one.operator, one.preset) for one in found] == PRESETS == list(documented)
    for one in found:
        assert one.greatest <= documented[one.operator, one.preset] * 1.05, one.preset


def test_the_dsp_takes_quiet_sound_as_well_as_loud(cpu: Backend, dsp: Backend) -> None:
    """Each frame is lifted by its own loudness, so that 60 dB less cost no precision but that of 16 bits."""
    quiet = np.rint(chirp() * 32) / 32768
    for operator, like in PRESETS:
        if like == "sphinx":  # Its steps are those of before.
            continue
        stage = example("features", operator, [quiet.astype(np.float32)], like=like)
        expected = run(cpu, stage)
        assert np.abs(run(dsp, stage) - expected).max() <= 4e-3 * np.abs(expected).max(), like


@pytest.mark.parametrize("seed", range(40))
def test_the_dsp_is_near_the_cpu_whatever_the_parameters(cpu: Backend, dsp: Backend, seed: int) -> None:
    params, signal = drawn(seed)
    stage = example("features", "mfcc", [signal.astype(np.float32)], **params)
    if params["spectrum"] == "magnitude" and (params["floor_by"] == "adding" or params["energy"] == "spectrum"):
        assert not dsp.supports(stage.stage, "default")
        return
    expected = run(cpu, stage)
    assert np.abs(run(dsp, stage) - expected).max() <= 1e-2 * max(1, np.abs(expected).max())


def drawn(seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Parameters that nobody has thought of, and a signal for them."""
    random = np.random.default_rng(seed)

    def one_of(*values: Any) -> Any:
        return values[int(random.integers(len(values)))]

    frame_samples = int(random.integers(40, 130))
    bands = int(random.integers(3, 9))
    log = one_of("ln", "log10", "decibels")
    params = {
        "frame_samples": frame_samples,
        "hop_samples": int(random.integers(1, 150)),
        "fft_samples": frame_samples + int(random.integers(0, 30)),
        "window": one_of("hann", "hamming", "povey", "blackman", "rectangular"),
        "periodic_window": one_of(True, False),
        "edges": one_of("whole", "filled", "centred_zeros", "centred_reflected", "mirrored"),
        "remove_mean": one_of(True, False),
        "preemphasis": one_of(0.0, 0.5, 0.97),
        "preemphasis_in": one_of("signal", "frame"),
        "spectrum": one_of("power", "magnitude", "periodogram"),
        "scale": one_of(1.0, 32768.0),
        "bands": bands,
        "low_hz": one_of(0.0, 100.0),
        "mel": one_of("htk", "slaney"),
        "triangles_in": one_of("hz", "mel"),
        "unit_area": one_of(True, False),
        "floor": one_of(1e-3, 1.0),
        "floor_by": one_of("adding", "clipping"),
        "log": log,
        "log_range": one_of(0.0, 1.5),
        "log_gain": one_of(1.0, 0.25),
        "log_offset": one_of(0.0, -3.0),
        "first_cepstrum": (first := int(random.integers(0, 2))),
        "cepstra": int(random.integers(1, bands - first + 1)),
        "dct": one_of("orthonormal", "htk"),
        "lifter": one_of(0, 22),
        "energy": one_of("none", "raw", "windowed", "spectrum"),
        "energy_at": one_of("first", "last"),
        "energy_floor": 1e-2,
        "normalise_mean": one_of(True, False),
        "deltas": one_of(True, False),
        "delta_window": one_of(0, 1, 3),
    }
    signal = random.normal(size=int(random.integers(300, 900))) / 8
    signal[: len(signal) // 3] *= 1e-3
    return params, np.clip(np.rint(signal * 32768), -32768, 32767) / 32768


@needs_opencl
@pytest.mark.parametrize("seed", range(40))
def test_opencl_is_the_cpus_whatever_the_parameters(cpu: Backend, opencl: Backend, seed: int) -> None:
    params, signal = drawn(seed)
    stage = example("features", "mfcc", [signal.astype(np.float32)], **params)
    expected = run(cpu, stage)
    assert np.abs(run(opencl, stage, "naive") - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("seed", range(40))
def test_cepstra_are_the_cosine_transform_of_log_mel_whatever_the_parameters(cpu: Backend, seed: int) -> None:
    params, signal = drawn(seed)
    params |= {"energy": "none", "deltas": False, "normalise_mean": False}
    of_bands = {name: value for name, value in params.items() if name in LogMelParameters.model_fields}
    transform = tables.cosine_transform(MfccParameters(**params))
    expected = of_cpu(cpu, "log_mel", signal, **of_bands).astype(np.float64) @ transform
    assert np.allclose(of_cpu(cpu, "mfcc", signal, **params), expected, atol=1e-4 * max(1, np.abs(expected).max()))


# What a preset is: a table of parameters, which those that are given go before.


@each_preset
def test_a_preset_is_its_table(operator: str, like: str) -> None:
    kind = find_operator(operator).parameters
    by_name = kind(like=like)
    assert by_name.like is None  # type: ignore[attr-defined]
    table = {"sample_rate_hz": 16_000, **(presets.LOG_MEL if operator == "log_mel" else presets.MFCC)[like]}
    for name, value in table.items():
        table[name] = value(table) if callable(value) else value
    written = kind(**table)
    assert by_name == written
    assert by_name.model_dump() == written.model_dump()


@each_preset
def test_a_parameter_that_is_given_goes_before_the_preset(operator: str, like: str) -> None:
    kind = find_operator(operator).parameters
    given = kind(like=like, low_hz=77.0, frame_samples=200, drop_last_frame=True)
    assert (given.low_hz, given.frame_samples, given.drop_last_frame) == (77.0, 200, True)  # type: ignore[attr-defined]


def test_lengths_follow_the_sample_rate() -> None:
    kaldi = LogMelParameters(like="kaldi", sample_rate_hz=44_100)
    assert (kaldi.frame_samples, kaldi.hop_samples, kaldi.fft_samples, kaldi.high_hz) == (1102, 441, 2048, 22_050.0)
    # Where a frame is longer than its 512 points, the program cuts the frame off; here one says how many points.
    other = LogMelParameters(like="python_speech_features", sample_rate_hz=44_100, fft_samples=2048)
    assert (other.frame_samples, other.hop_samples) == (1103, 441)
    with pytest.raises(GraphError, match=r"fft_samples must be at least frame_samples \(1103\), got 512"):
        shape_of = find_operator("log_mel").output_shape
        shape_of(LogMelParameters(like="python_speech_features", sample_rate_hz=44_100), [(44_100,)])
    assert LogMelParameters(like="htk", frame_samples=600).fft_samples == 1024


def test_every_program_has_its_presets() -> None:
    for kind, tables_of in ((LogMelParameters, presets.LOG_MEL), (MfccParameters, presets.MFCC)):
        with pytest.raises(DocumentError) as raised:
            kind(like="hdk")
        assert "$.like" in str(raised.value)
        assert all(f"'{name}'" in str(raised.value) for name in tables_of)


def test_whisper_has_no_cepstra() -> None:
    with pytest.raises(DocumentError, match=r"got \"whisper\", at \$\.like"):
        MfccParameters(like="whisper")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("edges", "padded", "'centred_zeros'"),
        ("window", "kaiser", "'povey'"),
        ("preemphasis_in", "file", "'signal' or 'frame'"),
        ("spectrum", "db", "'magnitude'"),
        ("mel", "bark", "'htk' or 'slaney'"),
        ("floor_by", "hoping", "'adding' or 'clipping'"),
        ("log", "log2", "'decibels'"),
        ("energy", "all", "'windowed'"),
        ("energy_at", "middle", "'first' or 'last'"),
        ("dct", "iii", "'orthonormal' or 'htk'"),
    ],
)
def test_a_wrong_value_is_named_with_those_there_are(name: str, value: str, says: str) -> None:
    with pytest.raises(DocumentError) as raised:
        MfccParameters(**{name: value})
    assert says in str(raised.value) and f'"{value}"' in str(raised.value) and f"$.{name}" in str(raised.value)


@pytest.mark.parametrize(
    "given", [{"like": 3}, {"like": "kaldi", "sample_rate_hz": 0}, {"like": "kaldi", "frame_samples": "400"}]
)
def test_what_is_no_preset_is_refused_as_what_it_is(given: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        LogMelParameters(**given)


def test_the_old_docstring_of_sphinx_is_its_preset() -> None:
    sphinx = MfccParameters(
        frame_samples=410,
        window="hamming",
        preemphasis=0.97,
        scale=32768.0,
        bands=25,
        low_hz=130.0,
        high_hz=6800.0,
        round_to_bins=True,
        unit_area=True,
        floor=1e-4,
        lifter=22,
        normalise_mean=True,
        deltas=True,
    )
    assert MfccParameters(like="sphinx") == sphinx
    assert sphinx.is_plain


# Stages of before.


def bound(operator: str, samples: int = 16_000, rate_hz: int = 16_000, **params: Any) -> Any:
    graph = GraphBuilder("ears", period_us=1_000_000, deadline_us=400_000)
    sound = graph.stage("sound", "window", stream="mic", samples=samples)
    graph.stage("features", operator, sound, **params)
    workload = Workload(
        format="leo-workload/1",
        name="listening",
        streams=(Stream(name="mic", kind="audio", rate_hz=rate_hz),),
        graphs=(graph.build(),),
    )
    return bind(workload.graphs[0], workload)["features"]


def test_profiles_go_on_to_know_the_stages_that_were_measured() -> None:
    """A digest of parameters that did not exist when a profile was written must not hold what they are by default."""
    assert bound("log_mel").signature("default") == "log_mel(16000)#d95fe6f6"
    assert bound("mfcc", deltas=True).signature("default") == "mfcc(16000)#7b387049"


def test_a_preset_is_known_by_what_it_stands_for() -> None:
    table = {name: v for name, v in presets.LOG_MEL["whisper"].items() if not callable(v)}
    assert bound("log_mel", like="whisper").signature("default") == bound("log_mel", **table).signature("default")
    kinds = {bound(operator, like=like).signature("default") for operator, like in PRESETS}
    assert len(kinds) == len(PRESETS)


def test_calibration_measures_a_preset_and_its_profile_prices_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "busy_percent", lambda clock: 0.0)
    stage = {"like": "whisper", "bands": 20}
    graph = GraphBuilder("ears", period_us=1_000_000, deadline_us=400_000)
    graph.stage("mel", "log_mel", graph.stage("sound", "window", stream="mic", samples=4_000), **stage)
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    workload = Workload(format="leo-workload/1", name="w", streams=streams, graphs=(graph.build(),))
    hardware = Hardware(
        format="leo-hardware/1",
        name="here",
        processors=(Processor(name="cpu", backend="cpu"), Processor(name="dsp", backend="dsp", active_mw=40)),
    )
    short = Effort(warm_up_runs=1, least_runs=3, most_us=1, steady_percent=100)
    found = calibration.calibrate(workload, hardware, shipped.recording("demo"), effort=short)
    assert not [name for name, _ in found.missing if "mel" in name]
    measured = bound("log_mel", samples=4_000, **stage)
    for processor in ("cpu", "dsp"):
        cost = found.profile.cost(measured, "default", processor)
        assert cost is not None and cost.signature == measured.signature("default")
        other = found.profile.cost(bound("log_mel", samples=4_000), "default", processor)
        assert other is None or other.signature is None


def test_more_work_costs_more() -> None:
    plain = bound("mfcc", bands=23, high_hz=8000.0, cepstra=12).work("default").macs
    kaldi = bound("mfcc", like="kaldi").work("default").macs
    with_deltas = bound("mfcc", like="kaldi", deltas=True).work("default").macs
    assert plain < kaldi < with_deltas
    whisper, dropped = bound("log_mel", like="whisper", drop_last_frame=False), bound("log_mel", like="whisper")
    assert dropped.work("default").macs < whisper.work("default").macs


# Frames.


@pytest.mark.parametrize(
    ("params", "samples", "frames"),
    [
        ({}, 400, 1),
        ({}, 559, 1),
        ({}, 560, 2),
        ({"edges": "filled"}, 1, 1),
        ({"edges": "filled"}, 400, 1),
        ({"edges": "filled"}, 401, 2),
        ({"edges": "filled"}, 560, 2),
        ({"edges": "filled"}, 561, 3),
        ({"edges": "centred_zeros"}, 1, 1),
        ({"edges": "centred_zeros"}, 160, 2),
        ({"edges": "centred_reflected"}, 257, 2),
        ({"edges": "centred_reflected", "fft_samples": 400}, 480_000, 3001),
        ({"edges": "mirrored"}, 80, 1),
        ({"edges": "mirrored"}, 240, 2),
        ({"like": "whisper"}, 480_000, 3000),
    ],
)
def test_how_many_frames_there_are(cpu: Backend, params: dict[str, Any], samples: int, frames: int) -> None:
    assert feature_frames(LogMelParameters(**params), samples) == frames
    if samples < 1000:
        output = of_cpu(cpu, "log_mel", np.linspace(-0.5, 0.5, samples), **params)
        assert output.shape == (frames, LogMelParameters(**params).bands)


@pytest.mark.parametrize(
    ("params", "samples", "says"),
    [
        ({}, 399, "399 samples are less than one frame of 400"),
        ({"drop_last_frame": True}, 400, "400 samples are less than one frame"),
        ({"edges": "mirrored"}, 79, "79 samples are less than one frame"),
        ({"edges": "centred_reflected"}, 256, "256 samples cannot be reflected at their ends, which takes 257"),
        ({"like": "whisper"}, 200, "200 samples cannot be reflected at their ends, which takes 201"),
        ({"like": "whisper", "sample_rate_hz": 8000}, 8000, r"high_hz <= 4000 \(half the sample rate\)"),
        ({"fft_samples": 399}, 400, r"fft_samples must be at least frame_samples \(400\), got 399"),
    ],
)
def test_what_has_no_frame_is_refused_with_words(params: dict[str, Any], samples: int, says: str) -> None:
    operator = find_operator("log_mel")
    with pytest.raises(GraphError, match=says):
        operator.output_shape(operator.parameters(**params), [(samples,)])


def test_a_stage_that_has_no_frame_is_named() -> None:
    with pytest.raises(GraphError, match="stage `features` of graph `ears`: 256 samples cannot be reflected"):
        bound("log_mel", samples=256, edges="centred_reflected")
    with pytest.raises(GraphError, match="12 cepstra from 1 on cannot come from 12 bands"):
        bound("mfcc", like="htk", bands=12)


def sources_of(params: LogMelParameters, samples: int) -> np.ndarray:
    return tables.sources(first_sample(params), tables.places(params, samples), samples, tables.BEYOND[params.edges])


@pytest.mark.parametrize(("edges", "pad"), [("centred_zeros", "constant"), ("centred_reflected", "reflect")])
@pytest.mark.parametrize("fft_samples", [400, 401, 512])
@pytest.mark.parametrize("frame_samples", [399, 400])
@pytest.mark.parametrize("samples", [600, 641, 799])
def test_centred_frames_are_those_of_a_padded_signal(
    edges: Any, pad: Any, fft_samples: int, frame_samples: int, samples: int
) -> None:
    """librosa and PyTorch pad by half the transform, and put a shorter window into the middle of it."""
    params = LogMelParameters(edges=edges, fft_samples=fft_samples, frame_samples=frame_samples)
    signal = np.arange(1, samples + 1)
    padded = np.pad(signal, fft_samples // 2, mode=pad)
    left = (fft_samples - frame_samples) // 2
    whole = np.lib.stride_tricks.sliding_window_view(padded, fft_samples)[::160]
    frames = whole[:, left : left + frame_samples]
    sources = sources_of(params, samples)
    taken = np.where(sources < 0, 0, signal[sources])
    ours = np.lib.stride_tricks.sliding_window_view(taken, frame_samples)[::160]
    assert np.array_equal(ours, frames)


@pytest.mark.parametrize("samples", [80, 81, 200, 401, 1000])
def test_mirrored_frames_repeat_the_last_sample(samples: int) -> None:
    params = LogMelParameters(edges="mirrored")
    places = np.pad(np.arange(samples), 1000, mode="symmetric")
    first = 1000 + 80 - 200
    count = (feature_frames(params, samples) - 1) * 160 + 400
    assert np.array_equal(sources_of(params, samples), places[first : first + count])


# Silence, one sample, clipping.


@each_preset
@pytest.mark.parametrize("signal", ["silence", "offset", "click", "clipped"])
def test_extremes_have_logarithms(cpu: Backend, operator: str, like: str, signal: str) -> None:
    samples = np.zeros(4000)
    if signal == "offset":
        samples[:] = 0.25
    if signal == "click":
        samples[2000] = 1 / 32768
    if signal == "clipped":
        samples[:] = np.sign(np.sin(np.arange(4000) / 3) + 1e-9)
    output = of_cpu(cpu, operator, samples, like=like)
    assert np.isfinite(output).all()


@each_preset
def test_a_floor_that_single_precision_does_not_know_is_no_zero(cpu: Backend, operator: str, like: str) -> None:
    floors = {"floor": 1e-300} | ({"energy_floor": 1e-300} if operator == "mfcc" else {})
    assert np.isfinite(of_cpu(cpu, operator, np.zeros(4000), like=like, **floors)).all()


@each_preset
def test_extremes_have_logarithms_on_the_dsp(dsp: Backend, operator: str, like: str) -> None:
    for signal in (np.zeros(4000), np.full(4000, 0.25), np.where(np.arange(4000) == 2000, 1 / 32768, 0), np.ones(4000)):
        assert np.isfinite(run(dsp, example("features", operator, [signal.astype(np.float32)], like=like))).all()


@needs_opencl
@each_preset
def test_extremes_have_logarithms_on_opencl(opencl: Backend, cpu: Backend, operator: str, like: str) -> None:
    for signal in (np.zeros(4000), np.full(4000, 0.25)):
        stage = example("features", operator, [signal.astype(np.float32)], like=like)
        assert np.isfinite(run(opencl, stage, "naive")).all()
        if not signal.any():
            assert np.allclose(run(opencl, stage, "naive"), run(cpu, stage), atol=1e-3)


@pytest.mark.parametrize("like", ["htk", "kaldi", "librosa", "python_speech_features", "torchaudio", "whisper"])
def test_silence_is_at_the_floor_on_the_dsp_too(cpu: Backend, dsp: Backend, like: str) -> None:
    stage = example("features", "log_mel", [np.zeros(4000, np.float32)], like=like)
    assert np.allclose(run(dsp, stage), run(cpu, stage), atol=1e-4)


def test_silence_is_at_the_floor(cpu: Backend) -> None:
    silence = np.zeros(4000)
    assert np.allclose(of_cpu(cpu, "log_mel", silence, like="kaldi"), np.log(2.0**-23))
    assert np.allclose(of_cpu(cpu, "log_mel", silence, like="htk"), 0)
    assert np.allclose(of_cpu(cpu, "log_mel", silence, like="librosa"), -100)
    assert np.allclose(of_cpu(cpu, "log_mel", silence, like="whisper"), -1.5)
    assert np.allclose(of_cpu(cpu, "log_mel", silence, like="python_speech_features"), np.log(2.0**-52))
    assert np.allclose(of_cpu(cpu, "mfcc", silence, like="kaldi")[:, 0], np.log(2.0**-23))


def test_one_sample_is_a_frame_where_the_rest_is_filled_up(cpu: Backend) -> None:
    assert of_cpu(cpu, "log_mel", np.array([0.5]), like="python_speech_features").shape == (1, 26)
    assert of_cpu(cpu, "log_mel", np.array([0.5]), like="librosa").shape == (1, 128)


# What no program's array is there for: formulas, written out.


def test_energy_is_htks(cpu: Backend) -> None:
    """The HTK Book, 5.8: the logarithm of the sum of squares of a frame, behind the cepstra."""
    signal = chirp()
    plain = of_cpu(cpu, "mfcc", signal, like="htk")
    with_energy = of_cpu(cpu, "mfcc", signal, like="htk", energy="raw", energy_at="last")
    frames = np.lib.stride_tricks.sliding_window_view(signal.astype(np.float64) * 32768, 400)[::160]
    assert np.array_equal(with_energy[:, :12], plain)
    assert np.allclose(with_energy[:, 12], np.log((frames**2).sum(axis=1)), atol=1e-4)


def test_regression_is_htks(cpu: Backend) -> None:
    """The HTK Book, 5.9, row by row; the energy's column has its slopes, too."""
    rows = of_cpu(cpu, "mfcc", chirp(), like="htk", energy="raw", energy_at="last").astype(np.float64)
    wide = of_cpu(cpu, "mfcc", chirp(), like="htk", energy="raw", energy_at="last", deltas=True)

    def slopes(c: np.ndarray) -> np.ndarray:
        last = len(c) - 1
        terms = [[i * (c[min(t + i, last)] - c[max(t - i, 0)]) for i in (1, 2)] for t in range(len(c))]
        return np.array([np.sum(of_row, axis=0) / (2 * (1 + 4)) for of_row in terms])

    assert wide.shape == (48, 39)
    assert np.allclose(wide, np.hstack([rows, slopes(rows), slopes(slopes(rows))]), atol=1e-4)


def test_regression_is_librosas_where_no_row_is_beyond_the_window(cpu: Backend) -> None:
    """It fits a line to the last rows at the ends, where others repeat them (docs/front-ends.md)."""
    deltas = of_cpu(cpu, "mfcc", chirp(), like="librosa", deltas=True)[:, 20:40]
    differ = np.abs(deltas - REFERENCES["librosa_mfcc_delta"]).max(axis=1) > 1e-4
    assert differ.tolist() == [True] * 4 + [False] * 8 + [True] * 4


def test_the_zeroth_cepstrum_of_htk_is_larger(cpu: Backend) -> None:
    ours = of_cpu(cpu, "mfcc", chirp(), like="htk", first_cepstrum=0, dct="orthonormal")
    htks = of_cpu(cpu, "mfcc", chirp(), like="htk", first_cepstrum=0)
    assert np.allclose(htks[:, 0], ours[:, 0] * np.sqrt(2), rtol=1e-6)
    assert np.array_equal(htks[:, 1:], ours[:, 1:])


def test_magnitude_is_the_root_of_power(cpu: Backend) -> None:
    options = {"like": "htk", "bands": 1, "high_hz": 500.0, "frame_samples": 400, "floor": 1e-3}
    signal = chirp()
    frames = np.lib.stride_tricks.sliding_window_view(signal.astype(np.float64) * 32768, 400)[::160]
    emphasised = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    params = LogMelParameters(**options)  # type: ignore[arg-type]
    magnitude = np.abs(np.fft.rfft(emphasised * tables.window(params), 512))
    expected = np.log(magnitude @ tables.mel_filters(params))
    assert np.allclose(of_cpu(cpu, "log_mel", signal, **options, spectrum="magnitude"), expected, atol=1e-4)


def test_the_range_is_of_the_whole_window(cpu: Backend) -> None:
    signal = np.concatenate([np.zeros(2000), chirp()])
    full = of_cpu(cpu, "log_mel", signal, like="librosa", log_range=0.0)
    ranged = of_cpu(cpu, "log_mel", signal, like="librosa", log_range=20.0)
    assert np.array_equal(ranged, np.maximum(full, full.max() - 20))


def test_a_floor_stands_for_a_greatest_value_that_is_fixed(cpu: Backend) -> None:
    """What docs/front-ends.md advises for Whisper on a stream: its own range, if the greatest value is known."""
    relative = of_cpu(cpu, "log_mel", chirp(), like="whisper")
    greatest = float(relative.max()) * 4 - 4
    fixed = of_cpu(cpu, "log_mel", chirp(), like="whisper", log_range=0.0, floor=10.0 ** (greatest - 8))
    assert np.allclose(fixed, relative, atol=1e-5)


def test_several_threads_give_the_same(cpu: Backend) -> None:
    threads = registry.create(Processor(name="cpu", backend="cpu", options={"threads": 3}))
    try:
        for operator, like in PRESETS:
            stage = example("features", operator, [np.tile(chirp(), 4)], like=like)
            assert np.allclose(run(threads, stage), run(cpu, stage), atol=2e-3)
    finally:
        threads.close()
