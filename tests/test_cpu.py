"""The CPU's programs against the operators' formulas, written out slowly."""

import cmath
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leo_backends import reference, tables
from leo_backends.cpu import CpuBackend
from leo_backends.dsp import DspBackend
from leo_runtime import shipped
from leo_runtime.backend import Kernel
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import DocumentError, KernelError
from leo_runtime.operators import operator
from leo_runtime.operators.sound import MfccParameters
from leo_runtime.testing import example

CPU = CpuBackend(Processor(name="cpu", backend="cpu"))


def load(name: str, inputs: list[np.ndarray], **params: Any) -> Kernel:
    return CPU.load(example("stage", name, inputs, **params).stage, DEFAULT_VARIANT)


def run(name: str, *inputs: np.ndarray, **params: Any) -> np.ndarray:
    return load(name, list(inputs), **params)(list(inputs))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def power(frame: list[float], points: int) -> list[float]:
    """|X[k]|^2 by the definition of the Fourier transform."""
    padded = frame + [0.0] * (points - len(frame))
    return [
        abs(sum(x * cmath.exp(-2j * math.pi * k * i / points) for i, x in enumerate(padded))) ** 2
        for k in range(points // 2 + 1)
    ]


def test_a_window_of_audio_is_in_minus_one_to_one() -> None:
    samples = np.array([-32768, 0, 1, 32767], np.int16)
    assert run("window", samples, stream="mic", samples=4).tolist() == [-1, 0, 1 / 32768, 32767 / 32768]
    motion = noise(4, 3)
    assert np.array_equal(run("window", motion, stream="wrist", samples=4), motion)


def test_a_full_scale_sine_is_at_minus_three_dbfs() -> None:
    sine = np.sin(2 * np.pi * np.arange(1600) / 16).astype(np.float32)
    assert run("energy_gate", sine, threshold_dbfs=-10.0)[0] == pytest.approx(10 - 3.0103, abs=1e-3)
    assert run("energy_gate", np.zeros(9, np.float32), threshold_dbfs=-40.0)[0] == pytest.approx(-60)


def test_log_mel_is_its_formula() -> None:
    params = {"frame_samples": 20, "hop_samples": 8, "fft_samples": 32, "bands": 3, "sample_rate_hz": 1000}
    params |= {"low_hz": 10.0, "high_hz": 480.0, "preemphasis": 0.9, "scale": 7.0, "floor": 1e-3}
    signal = noise(40)
    emphasised = [7 * (signal[i] - 0.9 * (signal[i - 1] if i else 0)) for i in range(40)]
    window = [0.5 - 0.5 * math.cos(2 * math.pi * i / 19) for i in range(20)]
    mel = np.linspace(2595 * math.log10(1 + 10 / 700), 2595 * math.log10(1 + 480 / 700), 5)
    corners = [700 * (10 ** (m / 2595) - 1) for m in mel]
    output = run("log_mel", signal, **params)
    assert output.shape == (3, 3)
    for t, start in enumerate((0, 8, 16)):
        spectrum = power([w * x for w, x in zip(window, emphasised[start : start + 20], strict=True)], 32)
        for b in range(3):
            low, peak, high = corners[b : b + 3]
            energy = 0.0
            for k, p in enumerate(spectrum):
                f = k * 1000 / 32
                energy += p * max(0, min((f - low) / (peak - low), (high - f) / (high - peak)))
            assert output[t, b] == pytest.approx(math.log(energy + 1e-3), abs=1e-4)


def test_sphinx_filters_have_unit_area_and_corners_on_points() -> None:
    params = MfccParameters(
        frame_samples=410, bands=25, low_hz=130.0, high_hz=6800.0, round_to_bins=True, unit_area=True
    )
    filters = tables.mel_filters(params)
    step_hz = 16_000 / 512
    assert filters.sum(axis=0) * step_hz == pytest.approx(np.ones(25), rel=1e-9)
    assert all(filters[np.flatnonzero(column)[0] - 1, b] == 0 for b, column in enumerate(filters.T))


def test_cepstra_are_the_cosine_transform_of_log_mel() -> None:
    signal = noise(2000) / 10
    energies = run("log_mel", signal, bands=20)
    cepstra = run("mfcc", signal, bands=20, cepstra=20)
    # An orthonormal transform keeps sums of squares.
    assert (cepstra**2).sum(axis=1) == pytest.approx((energies**2).sum(axis=1), rel=1e-4)
    i, j = np.arange(20)[:, None], np.arange(20)
    slow = (np.cos(np.pi * i * (j + 0.5) / 20) @ energies.T * math.sqrt(2 / 20)).T
    slow[:, 0] /= math.sqrt(2)
    assert cepstra == pytest.approx(slow, abs=1e-3)
    lifted = run("mfcc", signal, bands=20, cepstra=20, lifter=22)
    assert lifted == pytest.approx(slow * (1 + 11 * np.sin(np.pi * np.arange(20) / 22)), abs=1e-2)


def test_deltas_are_differences_with_the_ends_repeated() -> None:
    signal = noise(3000)
    plain = run("mfcc", signal, cepstra=5)
    wide = run("mfcc", signal, cepstra=5, deltas=True, normalise_mean=True)
    rows = len(plain)

    def at(t: int) -> np.ndarray:
        return plain[min(max(t, 0), rows - 1)] - plain.mean(axis=0)

    for t in range(rows):
        assert wide[t, :5] == pytest.approx(at(t), abs=1e-4)
        assert wide[t, 5:10] == pytest.approx(at(t + 2) - at(t - 2), abs=1e-4)
        second = (at(t + 3) - at(t - 1)) - (at(t + 1) - at(t - 3))
        assert wide[t, 10:] == pytest.approx(second, abs=1e-4)


def test_a_mixture_is_a_sum_of_gaussians(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    means, variances = random.normal(size=(2, 3, 4)) * 3, random.uniform(0.3, 4, (2, 3, 4))
    weights = random.dirichlet(np.ones(3), 2)
    np.savez(tmp_path / "m.npz", means=means, variances=variances, log_weights=np.log(weights))
    rows = (noise(150, 6) * 3).astype(np.float32)
    params = {"classes": 2, "components": 3, "dimensions": 4, "first_column": 1, "model": tmp_path / "m.npz"}
    output = run("gmm", rows, average=False, **params)
    for t in (0, 63, 64, 149):
        x = rows[t, 1:5].astype(float)
        density = np.exp(-0.5 * (x - means) ** 2 / variances) / np.sqrt(2 * np.pi * variances)
        assert output[t] == pytest.approx(np.log((weights * density.prod(axis=2)).sum(axis=1)), rel=1e-4)
    assert run("gmm", rows, **params) == pytest.approx(output.mean(axis=0), rel=1e-5)


def test_mixtures_far_from_zero_keep_their_precision(tmp_path: Path) -> None:
    """Written as a matrix product, x^2 / v and its kin are huge here; the result is not."""
    np.savez(
        tmp_path / "m.npz",
        means=np.full((1, 1, 2), 500.0),
        variances=np.full((1, 1, 2), 0.01),
        log_weights=np.zeros((1, 1)),
    )
    rows = np.array([[500.1, 499.9]], np.float32)
    output = run("gmm", rows, classes=1, components=1, dimensions=2, model=tmp_path / "m.npz")
    assert output[0] == pytest.approx(-1 - math.log(2 * math.pi * 0.01), abs=2e-3)


def test_a_component_may_have_no_weight(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "m.npz",
        means=np.zeros((1, 2, 1)),
        variances=np.ones((1, 2, 1)),
        log_weights=np.array([[0.0, -np.inf]]),
    )
    for backend in (CPU, DspBackend(Processor(name="dsp", backend="dsp"))):
        stage = example(
            "m", "gmm", [np.zeros((1, 1), np.float32)], classes=1, components=2, dimensions=1, model=tmp_path / "m.npz"
        )
        output = backend.load(stage.stage, DEFAULT_VARIANT)(stage.inputs)
        assert output[0] == pytest.approx(-0.5 * math.log(2 * math.pi), abs=1e-3)


def network(path: Path, sizes: tuple[int, ...], **more: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    made = {f"weights_{i}": random.normal(size=pair) for i, pair in enumerate(pairwise(sizes))}
    made |= {f"bias_{i}": random.normal(size=size) for i, size in enumerate(sizes[1:])}
    np.savez(path, **made, **more)  # type: ignore[arg-type]  # numpy's stub takes keywords for `allow_pickle`
    return made


CURVES = {
    "relu": lambda y: max(y, 0.0),
    "sigmoid": lambda y: 1 / (1 + math.exp(-y)),
    "tanh": math.tanh,
    "linear": lambda y: y,
}


@pytest.mark.parametrize("activation", CURVES)
def test_a_network_is_its_formula(activation: str, tmp_path: Path) -> None:
    mean, scale = np.array([1.0, 2.0, 3.0]), np.array([0.5, -2.0, 4.0])
    made = network(tmp_path / "n.npz", (3, 4, 2), mean=mean, scale=scale)
    row = np.array([0.3, -1.2, 2.5], np.float32)
    hidden = [
        CURVES[activation](float(((row - mean) / scale) @ made["weights_0"][:, j] + made["bias_0"][j]))
        for j in range(4)
    ]
    outputs = np.array(hidden) @ made["weights_1"] + made["bias_1"]
    params = {"layers": (4, 2), "activation": activation, "model": tmp_path / "n.npz"}
    assert run("dense", row, **params) == pytest.approx(outputs, rel=1e-5)
    shares = np.exp(outputs) / np.exp(outputs).sum()
    assert run("dense", row, softmax=True, **params) == pytest.approx(shares, rel=1e-5)
    rows = np.stack([row, row])
    assert run("dense", rows, per_row=True, **params) == pytest.approx(np.stack([outputs, outputs]), rel=1e-5)
    assert run("dense", rows, per_row=True, average=True, **params) == pytest.approx(outputs, rel=1e-5)


def test_the_energies_of_all_bands_are_the_variance() -> None:
    for samples in (20, 21):
        motion = noise(samples, 2) * 3 + 5
        output = run("motion_features", motion, sample_rate_hz=10, band_edges_hz=(0.0, 1.0, 2.5, 9.0))
        assert output[:, 0] == pytest.approx(motion.mean(axis=0), rel=1e-5)
        assert np.exp(output[:, 1]) == pytest.approx(motion.var(axis=0), rel=1e-4)
        assert np.exp(output[:, 2:]).sum(axis=1) == pytest.approx(motion.var(axis=0), rel=1e-4)


def test_a_rhythm_is_in_the_band_of_its_frequency() -> None:
    rhythm = np.sin(2 * np.pi * 2 * np.arange(100) / 50).astype(np.float32)
    output = run("motion_features", rhythm, sample_rate_hz=50, band_edges_hz=(0.5, 1.5, 2.5, 10.0))
    assert output[0, 3] == pytest.approx(math.log(0.5), abs=1e-4)
    assert output[0, 2] < -10 and output[0, 4] < -10


def voiced(seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(16_000 * seconds)) / 16_000
    return (0.05 * sum(np.sin(2 * np.pi * 130 * n * time) / n for n in range(1, 20))).astype(np.float32)


def test_the_voice_gate_opens_for_harmonics_and_not_for_noise_or_silence() -> None:
    assert run("voice_gate", voiced())[0] > 0.5
    assert run("voice_gate", noise(16_000) * np.float32(0.1))[0] == pytest.approx(-0.1)
    assert run("voice_gate", np.zeros(16_000, np.float32))[0] == pytest.approx(-0.1)
    assert run("voice_gate", voiced() / np.float32(300))[0] == pytest.approx(-0.1)


def test_the_voice_gate_level_is_the_signals_own() -> None:
    """A sine inside the band has the level of its mean square, whatever the window is."""
    time = np.arange(16_000) / 16_000
    sine = (0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    level_dbfs = 10 * math.log10(0.1**2 / 2)
    for window in ("hann", "hamming"):
        for preemphasis in (0.0,):
            shape = {"window": window, "preemphasis": preemphasis, "fraction": 0.5}
            assert run("voice_gate", sine, threshold_dbfs=level_dbfs - 0.1, **shape)[0] == 0.5
            assert run("voice_gate", sine, threshold_dbfs=level_dbfs + 0.1, **shape)[0] == -0.5


def test_fusing_is_a_weighted_sum() -> None:
    a, b = noise(3), noise(3, seed=1)
    assert run("fuse", a, b) == pytest.approx((a + b) / 2, rel=1e-6)
    assert run("fuse", a, b, weights=(2.0, -0.5)) == pytest.approx(2 * a - 0.5 * b, rel=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 300), st.randoms(use_true_random=False))
def test_threads_share_rows_and_change_nothing(threads: int, rows: int, random: Any) -> None:
    features = np.random.default_rng(random.randrange(10**6)).normal(size=(rows, 5)).astype(np.float32)
    backend = CpuBackend(Processor(name="cpu", backend="cpu", options={"threads": threads}))
    # A signal cut into frames without overlap has as many rows.
    stage = example("f", "log_mel", [features.reshape(-1)], frame_samples=5, hop_samples=5, fft_samples=8, bands=1)
    shared = backend.load(stage.stage, DEFAULT_VARIANT)(stage.inputs)
    assert shared == pytest.approx(CPU.load(stage.stage, DEFAULT_VARIANT)(stage.inputs), rel=1e-5, abs=1e-5)
    backend.close()


@pytest.mark.parametrize(
    ("arrays_in_file", "says"),
    [
        ({}, "has no array `means`"),
        ({"means": np.zeros((1, 2, 2))}, r"`means` should have the shape \(1, 2, 3\), it has \(1, 2, 2\)"),
        ({"means": np.full((1, 2, 3), np.nan)}, "`means` holds a value that is not finite"),
        ({"means": np.full((1, 2, 3), "x")}, "should hold numbers"),
        ({"variances": np.zeros((1, 2, 3))}, "a variance is 0"),
        ({"log_weights": np.full((1, 2), np.inf)}, "not finite"),
    ],
)
def test_a_wrong_model_file_is_said_plainly(arrays_in_file: dict[str, np.ndarray], says: str, tmp_path: Path) -> None:
    right = {"means": np.zeros((1, 2, 3)), "variances": np.ones((1, 2, 3)), "log_weights": np.zeros((1, 2))}
    np.savez(tmp_path / "m.npz", **({**right, **arrays_in_file} if arrays_in_file else {"other": np.zeros(1)}))
    with pytest.raises(KernelError, match=says):
        load("gmm", [noise(4, 3)], classes=1, components=2, dimensions=3, model=tmp_path / "m.npz")


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(KernelError, match=r"m.npz: cannot be read as .npz") as error:
        load("dense", [noise(4)], layers=(1,), model=tmp_path / "m.npz")
    assert "pickle" not in str(error.value)
    assert "numpy.savez" in error.value.hint
    np.save(tmp_path / "bare.npy", np.zeros(3))
    with pytest.raises(KernelError, match=r"bare.npy: cannot be read as .npz"):
        load("dense", [noise(4)], layers=(1,), model=tmp_path / "bare.npy")


def test_networks_that_do_not_fit(tmp_path: Path) -> None:
    network(tmp_path / "n.npz", (3, 4, 2))
    with pytest.raises(KernelError, match="more layers than the 1"):
        load("dense", [noise(3)], layers=(4,), model=tmp_path / "n.npz")
    with pytest.raises(KernelError, match=r"`weights_0` should have the shape \(5, 4\)"):
        load("dense", [noise(5)], layers=(4, 2), model=tmp_path / "n.npz")
    network(tmp_path / "z.npz", (3, 2), mean=np.zeros(3), scale=np.array([1.0, 0, 1]))
    with pytest.raises(KernelError, match="`scale` holds a 0"):
        load("dense", [noise(3)], layers=(2,), model=tmp_path / "z.npz")
    network(tmp_path / "h.npz", (3, 2), mean=np.zeros(3))
    with pytest.raises(KernelError, match="no array `scale`"):
        load("dense", [noise(3)], layers=(2,), model=tmp_path / "h.npz")


def test_bands_narrower_than_points() -> None:
    with pytest.raises(KernelError, match="too narrow"):
        load("log_mel", [noise(500)], bands=120, round_to_bins=True)


@operator(output_shape=lambda signal, *, keep: (keep,))
def first_ones(signal: np.ndarray, *, keep: int = 2) -> np.ndarray:
    """The first samples; one fewer when the signal is loud, and none where it is nan."""
    if np.isnan(signal).any():
        raise ZeroDivisionError("what is this?")
    return signal[: keep - int(signal.max() > 1)]


def test_own_operators_run_and_their_failures_are_theirs() -> None:
    assert run(first_ones.name, np.array([0.5, 0.25, 0], np.float32)).tolist() == [0.5, 0.25]
    with pytest.raises(KernelError, match=r"gave the shape \(1,\), its operator promises \(2,\)"):
        run(first_ones.name, np.array([5, 0, 0], np.float32))
    with pytest.raises(
        KernelError, match=r"`stage` failed: ZeroDivisionError: what is this\? \(test_cpu\.py:\d+\)$"
    ) as error:
        run(first_ones.name, np.array([np.nan], np.float32))
    line = int(str(error.value).rpartition(":")[2].rstrip(")"))
    assert "what is this?" in Path(__file__).read_text().splitlines()[line - 1]


@operator(output_shape=lambda signal, *, what: (2,))
def giving(signal: np.ndarray, *, what: str = "nothing") -> np.ndarray:
    """What no operator should give."""
    gives = {"nothing": None, "a float": 1.5, "an int": 3, "a list": [1.0], "numpy": np.float64(2)}
    return gives[what]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("nothing", "gave nothing (None), its operator promises an array of shape (2,)"),
        ("a float", "gave a value of type float, its operator promises an array of shape (2,)"),
        ("an int", "gave a value of type int, its operator promises an array of shape (2,)"),
        ("a list", "gave a value of type list, its operator promises an array of shape (2,)"),
        ("numpy", "gave a value of type float64, its operator promises an array of shape (2,)"),
    ],
)
def test_an_own_operator_that_gives_no_array_is_told_what_it_gave(what: str, says: str) -> None:
    with pytest.raises(KernelError, match=re.escape(says)) as error:
        run(giving.name, np.zeros(3, np.float32), what=what)
    if what == "nothing":
        assert error.value.hint == f"the function of `{giving.name}` ends without `return`"


@operator(output_shape=lambda signal: ())
def none(signal: np.ndarray) -> np.ndarray:
    """Forgets its `return`, where a number without a shape would do."""
    return None  # type: ignore[return-value]


def test_nothing_is_no_number() -> None:
    with pytest.raises(KernelError, match=r"gave nothing \(None\)"):
        run(none.name, np.zeros(3, np.float32))


@operator(output_shape=lambda signal: signal)
def positive(signal: np.ndarray) -> np.ndarray:
    """What is below 0 is masked."""
    masked: np.ndarray = np.ma.masked_less(signal, 0)
    return masked


def test_a_masked_output_fails_and_one_with_nothing_masked_does_not() -> None:
    assert run(positive.name, np.array([1, 0], np.float32)).tolist() == [1, 0]
    with pytest.raises(KernelError, match="stage `stage` gave an array with masked numbers"):
        run(positive.name, np.array([1, -1], np.float32))


@operator(output_shape=lambda signal: (1, *signal))
def turned(signal: np.ndarray) -> np.ndarray:
    """Fails deep in numpy, called from here."""
    return np.concatenate([signal, np.expand_dims(signal, axis=7)])


def test_a_failure_inside_a_package_is_shown_where_the_operator_called_it() -> None:
    with pytest.raises(KernelError, match=r"AxisError: .* \(test_cpu\.py:\d+\)$"):
        run(turned.name, np.zeros(3, np.float32))


@pytest.mark.parametrize(("options", "says"), [({"threads": 0}, "at least 1"), ({"cores": 2}, '"cores" is unknown')])
def test_wrong_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        CpuBackend(Processor(name="cpu", backend="cpu", options=options))


@settings(deadline=None, max_examples=50)
@given(arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32)))
def test_any_signal_has_a_level(signal: np.ndarray) -> None:
    output = run("energy_gate", signal, threshold_dbfs=0.0)
    assert output[0] >= -100.001 and np.isfinite(output[0])


def heard_in(labels: set[str]) -> str:
    return next((kind for kind in ("speech", "music", "noise") if kind in labels), "silence")


def test_the_voice_gate_on_the_shipped_recordings() -> None:
    """docs/backends.md states these shares: windows of a second, four a second, whose middle half is of one kind."""
    windows: Counter[str] = Counter()
    opened: Counter[str] = Counter()
    kernel = load("voice_gate", [np.zeros(16_000, np.float32)])
    for name in shipped.recordings():
        recording = shipped.recording(name)
        if "mic" not in {stream.name for stream in recording.manifest.streams}:
            continue
        labels = [label for label in recording.manifest.labels if label.stream == "mic"]
        for end_us in range(1_000_000, recording.duration_us, 250_000):
            middle = {one.label for one in labels if one.start_us < end_us - 250_000 and one.end_us > end_us - 750_000}
            anywhere = {one.label for one in labels if one.start_us < end_us and one.end_us > end_us - 1_000_000}
            if heard_in(middle) != heard_in(anywhere):
                continue
            windows[heard_in(middle)] += 1
            sound = recording.window("mic", end_us, 16_000).astype(np.float32) / np.float32(32_768)
            opened[heard_in(middle)] += bool(kernel([sound])[0] > 0)
    share = {kind: opened[kind] / count for kind, count in windows.items()}
    assert share["speech"] > 0.95
    assert share["silence"] == 0
    assert windows["speech"] > 200 and windows["silence"] > 50


@pytest.mark.parametrize(
    ("length", "samples", "hop"), [(800, 400, 160), (400, 400, 160), (401, 400, 1), (799, 400, 399)]
)
@pytest.mark.parametrize("step", [1, 2, -1])
def test_sound_is_framed_as_numpy_would_without_its_words(
    length: int, samples: int, hop: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = np.arange(2 * length, dtype=np.float32)[::step][:length]
    expected = np.lib.stride_tricks.sliding_window_view(signal, samples)[::hop].copy()
    # `as_strided` puts words into the table of interned strings and takes them out again: the daemon grew by a MB.
    monkeypatch.delattr("numpy.lib.stride_tricks.as_strided")
    monkeypatch.delattr("numpy.lib.stride_tricks.sliding_window_view")
    found = reference._frames(signal, samples, hop)
    assert np.array_equal(found, expected) and found.dtype == expected.dtype
