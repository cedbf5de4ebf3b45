"""The operators that ship with leo-runtime. `find_operator` knows them; nobody has to import this module.

Wherever a formula below says `x`, it is the input array; `ln` is the natural logarithm. An array of `n` samples cut
into frames of `frame_samples`, one every `hop_samples`, has `1 + (n - frame_samples) // hop_samples` whole frames; what
is left at the end is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from leo_runtime.documents import Name, Positive, Quantity, Value
from leo_runtime.errors import GraphError
from leo_runtime.operators import NoParameters, Operator, Part, Shape, Work, define

Sizes = Annotated[tuple[Positive, ...], Field(min_length=1)]
NotNegative = Annotated[float, Field(ge=0.0)]
AboveZero = Annotated[float, Field(gt=0.0)]


class WindowParameters(Value):
    """What of a sensor stream one frame reads."""

    stream: Name
    """The stream's name in the workload."""
    samples: Positive
    """The newest so many samples of each channel."""


class EnergyGateParameters(Value):
    """When a signal is loud enough."""

    threshold_dbfs: float
    """Decibels relative to full scale: a mean square of 1 is 0 dBFS, so that a full-scale sine is at -3.01 dBFS."""


class SpectrumParameters(Value):
    """How a signal becomes power spectra: frames, window, discrete Fourier transform."""

    sample_rate_hz: Positive = 16_000
    frame_samples: Positive = 400
    hop_samples: Positive = 160
    fft_samples: Positive = 512
    """Points of the transform, a power of two, at least `frame_samples`; a frame is filled up with zeros."""
    window: Literal["hann", "hamming"] = "hann"
    """Symmetric: `a - (1 - a) cos(2 pi i / (frame_samples - 1))` with a = 0.5 (hann) or 0.54 (hamming)."""
    preemphasis: NotNegative = 0.0
    """y[i] = x[i] - preemphasis * x[i - 1] over the whole signal, x[-1] = 0, before frames are cut."""
    scale: AboveZero = 1.0
    """Samples are multiplied by this first; 32768 gives the integers of 16-bit audio back."""


class VoiceGateParameters(SpectrumParameters):
    """When a signal holds a voice."""

    low_hz: NotNegative = 300.0
    """The speech band: the transform's points from here on,"""
    high_hz: AboveZero = 3400.0
    """up to and including here."""
    threshold_dbfs: float = -50.0
    """A frame whose level in the speech band is not above this holds no voice."""
    threshold_contrast: AboveZero = 1.6
    """A frame whose spectral contrast is not above this holds no voice; white noise has 0.58 (Euler's constant)."""
    fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """The gate opens when more than this part of the frames holds a voice."""


class LogMelParameters(SpectrumParameters):
    """Log energies of mel bands."""

    bands: Positive = 40
    low_hz: NotNegative = 20.0
    """Where the first band begins,"""
    high_hz: AboveZero = 7600.0
    """and where the last one ends; at most half the sample rate."""
    round_to_bins: bool = False
    """Whether the bands' corners are rounded to points of the transform, as Sphinx does (`-round_filters`)."""
    unit_area: bool = False
    """Whether each band's triangle is divided by half its width in Hz, as Sphinx does (`-unit_area`)."""
    floor: AboveZero = 1e-6
    """Added to a band's energy before its logarithm, in the units of `scale` squared."""


class MfccParameters(LogMelParameters):
    """Mel-frequency cepstral coefficients.

    The front end of pocketsphinx's en-us model, but for its noise removal, is: frame_samples 410, hop_samples 160,
    fft_samples 512, window hamming, preemphasis 0.97, scale 32768, bands 25, low_hz 130, high_hz 6800,
    round_to_bins true, unit_area true, floor 1e-4, cepstra 13, lifter 22, deltas true, normalise_mean true.
    """

    cepstra: Positive = 13
    """The first so many coefficients of the cosine transform, the zeroth (the frame's level) included."""
    lifter: Quantity = 0
    """L > 0 multiplies coefficient i by 1 + L / 2 * sin(i pi / L)."""
    normalise_mean: bool = False
    """Whether each coefficient's mean over the window's frames is subtracted (before deltas are taken)."""
    deltas: bool = False
    """Whether first and second differences follow the coefficients, so that a row is 3 x `cepstra` wide."""


class GmmParameters(Value):
    """Gaussian mixtures with diagonal covariances, one a class."""

    classes: Positive
    """How many mixtures there are."""
    components: Positive
    """The Gaussians of each mixture."""
    dimensions: Positive
    """The values of a row that they read."""
    first_column: Quantity = 0
    """The mixtures read the columns `first_column` to `first_column + dimensions - 1` of the input."""
    average: bool = True
    """Whether the result is the mean over frames, (classes,), or every frame's, (frames, classes)."""
    first_class: Quantity = 0
    """The mixtures are the file's from here on."""
    classes_in_model: Positive | None = None
    """How many the file holds; None: `classes`."""
    model: Path
    """An `.npz` file with float32 arrays: `means` and `variances` (classes_in_model, components, dimensions), and
    `log_weights` (classes_in_model, components), natural logarithms of the components' weights."""


class DenseParameters(Value):
    """A fully connected network."""

    layers: Sizes
    """The number of outputs of each layer."""
    activation: Literal["relu", "sigmoid", "tanh", "linear"] = "relu"
    """Follows every layer but the last."""
    softmax: bool = False
    """Whether the last layer's outputs become probabilities: exp(y) / sum(exp(y))."""
    per_row: bool = False
    """Whether the network runs on each row of the input (rows, values), or once on the whole input as one row."""
    average: bool = False
    """With `per_row`: whether the result is the mean over rows (after softmax), (layers[-1],)."""
    model: Path
    """An `.npz` file with float32 arrays: for layer i from 0 on `weights_i` (inputs, outputs) and `bias_i`
    (outputs,); if it holds `mean` and `scale` (inputs,), the network reads (x - mean) / scale."""


class MotionFeaturesParameters(Value):
    """What a window of motion is summed up as."""

    sample_rate_hz: Positive
    band_edges_hz: Annotated[tuple[NotNegative, ...], Field(min_length=2)]
    """Rising; band b holds the frequencies f with edges[b] <= f < edges[b + 1]."""
    floor: AboveZero = 1e-6
    """Added to a variance or an energy before its logarithm."""


class TfliteParameters(Value):
    """A TensorFlow Lite model with one input and one output tensor."""

    model: Path
    """The `.tflite` file."""
    output_shape: Sizes
    """The shape of the result; the model's output is reshaped to it, so the number of values must agree."""
    macs: Quantity = 0
    """Multiply-accumulates of one call of the model, for its cost; 0: not known."""
    rows_per_step: Positive | None = None
    """None: the model is called once, on the whole input. Otherwise the model is a streaming one: its state is reset,
    and it is called on each next `rows_per_step` rows of the input in turn; rows left over are not used."""
    average_steps: Positive = 1
    """For a streaming model: outputs are averaged over each so many consecutive calls, and the result is the
    greatest such average, value by value (all calls' average where there are fewer)."""


class FuseParameters(Value):
    """How decisions are weighed."""

    weights: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    """One number an input; None: each counts 1 / (number of inputs)."""


class RowsParameters(Value):
    """Which rows of an array."""

    first: Quantity = 0
    count: Positive


class JoinParameters(Value):
    """How arrays are put together."""

    axis: Literal["rows", "columns"] = "columns"
    """One after the other along the first axis, or along the last."""


def even_parts(count: int, parts: int, what: str) -> tuple[tuple[int, int], ...]:
    """(first, count) of each of so many parts, as even as can be. Raises `GraphError` when a part would be empty."""
    if parts > count:
        raise GraphError(f"{count} {what} cannot be cut into {parts} parts")
    edges = [count * part // parts for part in range(parts + 1)]
    return tuple((first, end - first) for first, end in pairwise(edges))


def frame_count(samples: int, frame_samples: int, hop_samples: int) -> int:
    """Whole frames in so many samples. Raises `GraphError` when there is none."""
    if samples < frame_samples:
        raise GraphError(f"{samples} samples are less than one frame of {frame_samples}")
    return 1 + (samples - frame_samples) // hop_samples


def _signal(shapes: Sequence[Shape], operator: str) -> int:
    if len(shapes[0]) != 1:
        raise GraphError(f"`{operator}` takes one channel, an array (samples,), got {_shown(shapes[0])}")
    return shapes[0][0]


def _shown(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _values(*shapes: Shape) -> int:
    return sum(math.prod(shape) for shape in shapes)


def _window_shape(params: WindowParameters, shapes: Sequence[Shape]) -> Shape:
    if shapes[0][0] != params.samples:
        raise GraphError(f"a window of {params.samples} samples was given {shapes[0][0]}")
    return shapes[0]


def _window_work(_params: WindowParameters, shapes: Sequence[Shape]) -> Work:
    return Work(_values(shapes[0]), 6 * _values(shapes[0]))


def _energy_gate_shape(_params: EnergyGateParameters, _shapes: Sequence[Shape]) -> Shape:
    return (1,)


def _energy_gate_work(_params: EnergyGateParameters, shapes: Sequence[Shape]) -> Work:
    return Work(_values(shapes[0]), 4 * _values(shapes[0], (1,)))


def _check_spectrum(params: SpectrumParameters) -> None:
    if params.fft_samples < params.frame_samples or params.fft_samples & (params.fft_samples - 1):
        raise GraphError(
            f"fft_samples must be a power of two and at least frame_samples ({params.frame_samples}), "
            f"got {params.fft_samples}"
        )
    if params.frame_samples < 2:
        raise GraphError("frame_samples must be at least 2, got 1")


def _check_band(params: VoiceGateParameters | LogMelParameters) -> None:
    if not params.low_hz < params.high_hz <= params.sample_rate_hz / 2:
        raise GraphError(
            f"expected low_hz < high_hz <= {params.sample_rate_hz / 2:g} (half the sample rate), "
            f"got {params.low_hz:g} and {params.high_hz:g}"
        )


def _spectrum_macs(params: SpectrumParameters, frames: int) -> int:
    """Window and power: 1 and 2 a point; a real transform of N points: about N log2 N."""
    points = params.fft_samples
    return frames * (params.frame_samples + points * (points.bit_length() - 1) + points)


def _voice_gate_shape(params: VoiceGateParameters, shapes: Sequence[Shape]) -> Shape:
    _check_spectrum(params)
    _check_band(params)
    step_hz = params.sample_rate_hz / params.fft_samples
    if math.floor(params.high_hz / step_hz) - math.ceil(params.low_hz / step_hz) < 1:
        raise GraphError(f"fewer than two points of the transform lie from {params.low_hz:g} to {params.high_hz:g} Hz")
    frame_count(_signal(shapes, "voice_gate"), params.frame_samples, params.hop_samples)
    return (1,)


def _voice_gate_work(params: VoiceGateParameters, shapes: Sequence[Shape]) -> Work:
    frames = frame_count(shapes[0][0], params.frame_samples, params.hop_samples)
    band = int((params.high_hz - params.low_hz) * params.fft_samples / params.sample_rate_hz)
    return Work(_spectrum_macs(params, frames) + 2 * frames * band, 4 * _values(shapes[0], (1,)))


def _log_mel_shape(params: LogMelParameters, shapes: Sequence[Shape]) -> Shape:
    _check_spectrum(params)
    _check_band(params)
    frames = frame_count(_signal(shapes, "log_mel"), params.frame_samples, params.hop_samples)
    return (frames, params.bands)


def _log_mel_work(params: LogMelParameters, shapes: Sequence[Shape]) -> Work:
    frames = frame_count(shapes[0][0], params.frame_samples, params.hop_samples)
    # Neighbouring triangles overlap by half: each point of the transform counts in two bands.
    macs = _spectrum_macs(params, frames) + frames * (params.fft_samples + params.bands)
    return Work(macs, 4 * _values(shapes[0], (frames, params.bands), (params.fft_samples,)))


def _mfcc_shape(params: MfccParameters, shapes: Sequence[Shape]) -> Shape:
    _check_spectrum(params)
    _check_band(params)
    if params.cepstra > params.bands:
        raise GraphError(f"{params.cepstra} cepstra cannot come from {params.bands} bands")
    frames = frame_count(_signal(shapes, "mfcc"), params.frame_samples, params.hop_samples)
    return (frames, params.cepstra * (3 if params.deltas else 1))


def _mfcc_work(params: MfccParameters, shapes: Sequence[Shape]) -> Work:
    frames, width = _mfcc_shape(params, shapes)
    mel = _log_mel_work(params, shapes)
    macs = mel.macs + frames * (params.bands * params.cepstra + 3 * width)
    tables = (params.fft_samples + params.bands * params.cepstra,)
    return Work(macs, 4 * _values(shapes[0], (frames, width), tables))


def _gmm_shape(params: GmmParameters, shapes: Sequence[Shape]) -> Shape:
    shape = shapes[0]
    if len(shape) != 2 or shape[1] < params.first_column + params.dimensions:
        needed = params.first_column + params.dimensions
        raise GraphError(f"`gmm` takes (frames, columns) with at least {needed} columns here, got {_shown(shape)}")
    return (params.classes,) if params.average else (shape[0], params.classes)


def _gmm_cut(params: GmmParameters, _shapes: Sequence[Shape], parts: int) -> tuple[Part, ...]:
    """One task a class model, or a group of them (LEO, MobiCom 2016)."""
    in_model = params.classes if params.classes_in_model is None else params.classes_in_model
    return tuple(
        Part({"first_class": params.first_class + first, "classes": count, "classes_in_model": in_model})
        for first, count in even_parts(params.classes, parts, "classes")
    )


def _gmm_weight_bytes(params: GmmParameters, _shapes: Sequence[Shape]) -> int:
    return 4 * params.classes * params.components * (2 * params.dimensions + 1)


def _gmm_work(params: GmmParameters, shapes: Sequence[Shape]) -> Work:
    macs = shapes[0][0] * params.classes * params.components * (2 * params.dimensions + 1)
    moved = 4 * _values((shapes[0][0], params.dimensions), _gmm_shape(params, shapes))
    return Work(macs, moved + _gmm_weight_bytes(params, shapes))


def _dense_shape(params: DenseParameters, shapes: Sequence[Shape]) -> Shape:
    if params.per_row and len(shapes[0]) != 2:
        raise GraphError(f"`dense` with per_row takes an array (rows, values), got {_shown(shapes[0])}")
    if params.average and not params.per_row:
        raise GraphError("`dense` can average over rows only with per_row")
    rows = params.per_row and not params.average
    return (shapes[0][0], params.layers[-1]) if rows else (params.layers[-1],)


def _dense_cut(params: DenseParameters, shapes: Sequence[Shape], parts: int) -> tuple[Part, ...]:
    if not params.per_row or params.average:
        raise GraphError("`dense` can be cut only with per_row and without average")
    return tuple(Part({}, first, count) for first, count in even_parts(shapes[0][0], parts, "rows"))


def dense_inputs(params: DenseParameters, shape: Shape) -> tuple[int, int]:
    """How many rows the network runs on, and how many values are in each, for an input of that shape."""
    return (shape[0], shape[1]) if params.per_row else (1, math.prod(shape))


def _dense_products(params: DenseParameters, inputs: int) -> int:
    return sum(a * b for a, b in pairwise((inputs, *params.layers)))


def _dense_weight_bytes(params: DenseParameters, shapes: Sequence[Shape]) -> int:
    _, inputs = dense_inputs(params, shapes[0])
    return 4 * (_dense_products(params, inputs) + sum(params.layers))


def _dense_work(params: DenseParameters, shapes: Sequence[Shape]) -> Work:
    rows, inputs = dense_inputs(params, shapes[0])
    moved = 4 * _values(shapes[0], _dense_shape(params, shapes))
    return Work(rows * _dense_products(params, inputs), moved + _dense_weight_bytes(params, shapes))


def _motion_channels(shape: Shape) -> int:
    if len(shape) > 2:
        raise GraphError(f"`motion_features` takes (samples,) or (samples, channels), got {_shown(shape)}")
    return shape[1] if len(shape) == 2 else 1


def _motion_features_shape(params: MotionFeaturesParameters, shapes: Sequence[Shape]) -> Shape:
    edges = params.band_edges_hz
    if any(b <= a for a, b in pairwise(edges)):
        raise GraphError(f"the edges of the bands must rise, got {list(edges)}")
    return (_motion_channels(shapes[0]), 1 + len(edges))


def _motion_features_work(params: MotionFeaturesParameters, shapes: Sequence[Shape]) -> Work:
    samples, channels = shapes[0][0], _motion_channels(shapes[0])
    transform = samples * max(1, samples.bit_length() - 1)
    return Work(channels * (3 * samples + transform), 4 * _values(shapes[0], _motion_features_shape(params, shapes)))


def tflite_steps(params: TfliteParameters, shape: Shape) -> int:
    """How many times the model is called for an input of that shape."""
    if params.rows_per_step is None:
        return 1
    if shape[0] < params.rows_per_step:
        raise GraphError(f"{shape[0]} rows are less than one step of {params.rows_per_step}")
    return shape[0] // params.rows_per_step


def _tflite_shape(params: TfliteParameters, shapes: Sequence[Shape]) -> Shape:
    tflite_steps(params, shapes[0])
    return params.output_shape


def _tflite_weight_bytes(params: TfliteParameters, _shapes: Sequence[Shape]) -> int:
    """The size of the file; 0 where it is not there, which whoever loads it will say."""
    return params.model.stat().st_size if params.model.is_file() else 0


def _tflite_work(params: TfliteParameters, shapes: Sequence[Shape]) -> Work:
    return Work(tflite_steps(params, shapes[0]) * params.macs, 4 * _values(shapes[0], params.output_shape))


MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES, MICRO_BANDS = 480, 160, 40


def _micro_features_shape(_params: NoParameters, shapes: Sequence[Shape]) -> Shape:
    return (
        frame_count(_signal(shapes, "micro_features"), MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES),
        MICRO_BANDS,
    )


def _micro_features_work(params: NoParameters, shapes: Sequence[Shape]) -> Work:
    frames, bands = _micro_features_shape(params, shapes)
    return Work(frames * (MICRO_FRAME_SAMPLES + 512 * 9 + 512 + 512), 4 * _values(shapes[0], (frames, bands)))


def _rows_shape(params: RowsParameters, shapes: Sequence[Shape]) -> Shape:
    if params.first + params.count > shapes[0][0]:
        raise GraphError(
            f"`rows` asks for rows {params.first} to {params.first + params.count - 1} of {_shown(shapes[0])}"
        )
    return (params.count, *shapes[0][1:])


def _join_shape(params: JoinParameters, shapes: Sequence[Shape]) -> Shape:
    axis = 0 if params.axis == "rows" else len(shapes[0]) - 1
    if len({(*shape[:axis], 0, *shape[axis + 1 :]) for shape in shapes}) != 1:
        raise GraphError(f"`join` cannot put {', '.join(map(_shown, shapes))} together along their {params.axis}")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _rows_work(params: RowsParameters, shapes: Sequence[Shape]) -> Work:
    return Work(0, 8 * _values(_rows_shape(params, shapes)))


def _join_work(_params: JoinParameters, shapes: Sequence[Shape]) -> Work:
    return Work(0, 8 * _values(*shapes))


def _fuse_shape(params: FuseParameters, shapes: Sequence[Shape]) -> Shape:
    if len(set(shapes)) != 1:
        raise GraphError(f"`fuse` takes inputs of one shape, got {', '.join(map(_shown, shapes))}")
    if params.weights is not None and len(params.weights) != len(shapes):
        raise GraphError(f"`fuse` has {len(shapes)} inputs and {len(params.weights)} weights")
    return shapes[0]


def _fuse_work(_params: FuseParameters, shapes: Sequence[Shape]) -> Work:
    return Work(_values(*shapes), 4 * _values(*shapes, shapes[0]))


define(
    Operator(
        name="window",
        summary="The newest samples of a sensor stream. 16-bit audio is divided by 32768, into [-1, 1); anything else "
        "is given as it is, as float32. Output: (samples,), or (samples, channels) of more than one channel.",
        parameters=WindowParameters,
        output_shape=_window_shape,
        work=_window_work,
        is_source=True,
    )
)

define(
    Operator(
        name="energy_gate",
        summary="A silence filter: 10 log10(max(mean(x^2), 1e-10)) - threshold_dbfs, in decibels, over all samples of "
        "all channels. Output: (1,), above 0 where the signal is louder than the threshold.",
        parameters=EnergyGateParameters,
        output_shape=_energy_gate_shape,
        work=_energy_gate_work,
        is_gate=True,
    )
)

define(
    Operator(
        name="voice_gate",
        summary="A voice detector. With p the power spectrum of a frame at the points of the speech band: its level "
        "is 10 log10(2 sum(p) / (fft_samples sum(w^2))) with w the window (the mean square the band had "
        "before the window), its contrast is ln(mean(p)) - mean(ln(p)), the logarithm of one over the "
        "spectral flatness (J. D. Johnston, IEEE JSAC 6(2), 1988): a voice's harmonics and formants stand "
        "out, noise is flat. Points of no more than 1e-12 of full scale count as 1e-12. A frame holds a voice "
        "when both are above their thresholds. Output: (1,), the part of frames that hold a voice, minus "
        "`fraction`; above 0 where there is a voice.",
        parameters=VoiceGateParameters,
        output_shape=_voice_gate_shape,
        work=_voice_gate_work,
        is_gate=True,
    )
)

define(
    Operator(
        name="log_mel",
        summary="ln(e + floor) of the energies e of mel bands. The power spectrum of a frame is |X[k]|^2, k = 0 to "
        "fft_samples / 2. `bands` triangles of height 1, whose corners lie evenly from low_hz to high_hz in "
        "mel, 2595 log10(1 + f / 700) (D. O'Shaughnessy, Speech Communication, 1987), each reaching from the "
        "peak of the one before to the peak of the one after, weigh the points by their frequency. Output: "
        "(frames, bands).",
        parameters=LogMelParameters,
        output_shape=_log_mel_shape,
        work=_log_mel_work,
    )
)

define(
    Operator(
        name="mfcc",
        summary="The orthonormal cosine transform (DCT-II) of `log_mel`: c[i] = s[i] sum_j m[j] cos(pi i (j + 0.5) / "
        "bands), s[0] = sqrt(1 / bands), s[i] = sqrt(2 / bands) (Davis and Mermelstein, IEEE TASSP 28(4), "
        "1980), then the lifter, mean normalisation, and differences d[t] = c[t + 2] - c[t - 2], dd[t] = d[t "
        "+ 1] - d[t - 1] as Sphinx takes them (`-feat 1s_c_d_dd`), the first and last row standing for those "
        "beyond the window. Output: (frames, cepstra), or (frames, 3 cepstra) with deltas.",
        parameters=MfccParameters,
        output_shape=_mfcc_shape,
        work=_mfcc_work,
    )
)

define(
    Operator(
        name="gmm",
        summary="Log-likelihoods of feature rows x under a Gaussian mixture a class: ln sum_m exp(log_weights[m] - "
        "0.5 sum_d (ln(2 pi variances[m, d]) + (x[d] - means[m, d])^2 / variances[m, d])). Output: "
        "(classes,), the mean over frames, or (frames, classes).",
        parameters=GmmParameters,
        output_shape=_gmm_shape,
        work=_gmm_work,
        weight_bytes=_gmm_weight_bytes,
        cut=_gmm_cut,
    )
)

define(
    Operator(
        name="dense",
        summary="A fully connected network: each layer gives x @ weights + bias, then the activation (relu: max(y, "
        "0); sigmoid: 1 / (1 + exp(-y)); tanh; linear: y), the last layer without; softmax if asked for. "
        "Output: (layers[-1],), or (rows, layers[-1]).",
        parameters=DenseParameters,
        output_shape=_dense_shape,
        work=_dense_work,
        weight_bytes=_dense_weight_bytes,
        cut=_dense_cut,
    )
)

define(
    Operator(
        name="motion_features",
        summary="For each channel of n samples: its mean, the ln of its variance (plus floor), and for each band the "
        "ln of its energy (plus floor). With X the Fourier transform of the channel without its mean, point k "
        "at frequency f = k sample_rate_hz / n, k = 1 to n // 2, has the energy 2 |X[k]|^2 / n^2, half of "
        "that where k = n / 2: the energies of all points add up to the variance. Output: (channels, 2 + "
        "bands).",
        parameters=MotionFeaturesParameters,
        output_shape=_motion_features_shape,
        work=_motion_features_work,
    )
)

define(
    Operator(
        name="tflite",
        summary="A TensorFlow Lite model. The input is reshaped to the model's input tensor; where that is of 8 or 16 "
        "bits, it is quantised with the tensor's scale and zero point, round(x / scale) + zero_point within "
        "the type's range, and the output is brought back. Output: `output_shape`.",
        parameters=TfliteParameters,
        output_shape=_tflite_shape,
        work=_tflite_work,
        weight_bytes=_tflite_weight_bytes,
    )
)

define(
    Operator(
        name="micro_features",
        summary="The features that TensorFlow Lite Micro's audio front end computes and microWakeWord's models read: "
        "40 bands every 10 ms from 30 ms of 16 kHz audio, with its noise reduction and automatic gain started "
        "afresh for every window. They are what the package pymicro-features gives. Output: (frames, 40).",
        parameters=NoParameters,
        output_shape=_micro_features_shape,
        work=_micro_features_work,
        sample_rate_hz=16_000,
    )
)

define(
    Operator(
        name="fuse",
        summary="The weighted sum of its inputs, which have one shape; an input that a closed gate removed counts as "
        "zeros. Output: that shape.",
        parameters=FuseParameters,
        output_shape=_fuse_shape,
        work=_fuse_work,
        inputs=(1, None),
        takes_absent=True,
    )
)

define(
    Operator(
        name="rows",
        summary="The rows `first` to `first + count - 1` of an array. Output: (count, ...).",
        parameters=RowsParameters,
        output_shape=_rows_shape,
        work=_rows_work,
    )
)

define(
    Operator(
        name="join",
        summary="Arrays one after the other, along their rows (first axis) or columns (last axis).",
        parameters=JoinParameters,
        output_shape=_join_shape,
        work=_join_work,
        inputs=(1, None),
    )
)
