"""The numpy program of every built-in operator: what each of them means, as code. All other backends are held to it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from leo_backends import images, patches, tables
from leo_backends.models import read_dense, read_gmm
from leo_backends.streaming import Arrays, FeatureStream, RowStream, StatefulProgram
from leo_runtime.errors import MissingExtraError
from leo_runtime.operators import Shape
from leo_runtime.operators.arrays import FuseParameters, JoinParameters, RowsParameters, WindowParameters
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters, TfliteParameters, dense_inputs
from leo_runtime.operators.motion import MotionFeaturesParameters
from leo_runtime.operators.sound import (
    MICRO_BANDS,
    MICRO_FRAME_SAMPLES,
    MICRO_HOP_SAMPLES,
    EnergyGateParameters,
    LogMelParameters,
    MfccParameters,
    MicroFeaturesParameters,
    SpectrumParameters,
    VoiceGateParameters,
    feature_frames,
    first_sample,
    frame_count,
)

Program = Callable[[Sequence[np.ndarray]], np.ndarray]
Rows = Callable[[np.ndarray], np.ndarray]
MapRows = Callable[[Rows, np.ndarray], np.ndarray]
"""Applies a function to an array's rows, in as many pieces as it likes."""

BLOCK_ROWS = 64
"""Rows computed at once: enough for a fast matrix product, few enough that what lies between stays in the cache."""


@dataclass(frozen=True, slots=True)
class RowProgram:
    """A program whose middle part treats every row of an array alone, so that several threads can share it."""

    rows: Rows
    prepare: Program
    """From the inputs to the array of rows."""
    finish: Rows = lambda rows: rows
    """From the results, row by row, to the output."""

    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Compute on the calling thread."""
        return self.run(inputs, in_blocks)

    def run(self, inputs: Sequence[np.ndarray], map_rows: MapRows) -> np.ndarray:
        """Compute with the rows handed out by `map_rows`."""
        return self.finish(map_rows(self.rows, self.prepare(inputs)))


def in_blocks(rows: Rows, array: np.ndarray) -> np.ndarray:
    """Apply `rows` to an array, some rows at a time."""
    if len(array) <= BLOCK_ROWS:
        return rows(array)
    return np.concatenate([rows(array[i : i + BLOCK_ROWS]) for i in range(0, len(array), BLOCK_ROWS)])


def _window(_params: WindowParameters, _shapes: Sequence[Shape]) -> Program:
    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        samples = inputs[0]
        scale = np.float32(1 / 32768) if samples.dtype == np.int16 else np.float32(1)
        return samples.astype(np.float32) * scale

    return program


def _energy_gate(params: EnergyGateParameters, _shapes: Sequence[Shape]) -> Program:
    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        mean_square = max(float(np.mean(np.square(inputs[0], dtype=np.float64))), 1e-10)
        return np.array([10 * np.log10(mean_square) - params.threshold_dbfs], np.float32)

    return program


def _voice_gate(params: VoiceGateParameters, _shapes: Sequence[Shape]) -> Program:
    first, end = tables.speech_band(params)
    to_mean_square = tables.speech_level_scale(params)
    spectrum = _power_spectrum(params)

    def rows(frames: np.ndarray) -> np.ndarray:
        power = np.maximum(spectrum(frames)[:, first:end], np.float32(1e-12))
        level_dbfs = 10 * np.log10(power.sum(axis=1) * to_mean_square)
        contrast = np.log(power.mean(axis=1)) - np.log(power).mean(axis=1)
        voiced: np.ndarray = (level_dbfs > params.threshold_dbfs) & (contrast > params.threshold_contrast)
        return voiced

    def finish(voiced: np.ndarray) -> np.ndarray:
        return np.array([voiced.mean() - params.fraction], np.float32)

    return RowProgram(rows, _framing(params), finish)


def _log_mel(params: LogMelParameters, shapes: Sequence[Shape]) -> RowProgram:
    front_end = _FrontEnd.of(params)
    return RowProgram(front_end.logs_of, _feature_framing(params, shapes[0][0]), _finish_logs(params))


def _mfcc(params: MfccParameters, shapes: Sequence[Shape]) -> RowProgram:
    front_end = _FrontEnd.of(params)
    transform = tables.cosine_transform(params).astype(np.float32)
    finish_logs = _finish_logs(params)
    # Cepstra are made row by row where nothing else has to be known of the logarithms.
    by_row = params.energy == "none" and not _changes_logs(params)
    bands = params.bands

    def rows(frames: np.ndarray) -> np.ndarray:
        if by_row:
            return row_by_row(front_end.logs_of(frames), transform)
        return front_end.logs_and_energy_of(frames, params.energy, params.energy_floor)

    def finish(rows: np.ndarray) -> np.ndarray:
        cepstra = rows
        if not by_row:
            cepstra = _with_energy(params, row_by_row(finish_logs(rows[:, :bands]), transform), rows[:, bands:])
        if params.normalise_mean:
            cepstra = cepstra - cepstra.mean(axis=0)
        if params.deltas and params.delta_window:
            return _with_regression(cepstra, tables.regression(params).astype(np.float32))
        return _with_deltas(cepstra) if params.deltas else cepstra

    return RowProgram(rows, _feature_framing(params, shapes[0][0]), finish)


def _gmm(params: GmmParameters, _shapes: Sequence[Shape]) -> Program:
    """-0.5 (x - m)^2 / v is written as x^2 (-0.5 / v) + x (m / v) - 0.5 m^2 / v: one matrix product for all mixtures.

    Rows and means are moved by the middle of all means first: it changes nothing but rounding errors.
    """
    model = read_gmm(params)
    variances = model.variances.astype(np.float64).reshape(-1, params.dimensions)
    middle = model.means.mean(axis=(0, 1), dtype=np.float64)
    means = model.means.astype(np.float64).reshape(-1, params.dimensions) - middle
    constants = np.log(2 * np.pi * variances).sum(axis=1) + (means**2 / variances).sum(axis=1)
    constants = (model.log_weights.reshape(-1) - 0.5 * constants).astype(np.float32)
    weights = np.concatenate([-0.5 / variances, means / variances], axis=1).T.astype(np.float32).copy()
    middle = middle.astype(np.float32)
    columns = slice(params.first_column, params.first_column + params.dimensions)

    def rows(features: np.ndarray) -> np.ndarray:
        moved = features[:, columns] - middle
        scores = np.concatenate([moved**2, moved], axis=1) @ weights + constants
        return _log_sum_exp(scores.reshape(len(features), params.classes, params.components))

    return RowProgram(rows, _first, _mean_of_rows if params.average else lambda scores: scores)


def _dense(params: DenseParameters, shapes: Sequence[Shape]) -> Program:
    inputs = dense_inputs(params, shapes[0])
    model = read_dense(params, inputs[1])
    activation = _ACTIVATIONS[params.activation]

    def rows(values: np.ndarray) -> np.ndarray:
        if model.mean is not None:
            values = (values - model.mean) / model.scale
        for i, (weights, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
            values = (activation(values) if i else values) @ weights + bias
        return _softmax(values) if params.softmax else values

    def finish(outputs: np.ndarray) -> np.ndarray:
        one_row = params.average or not params.per_row
        return _mean_of_rows(outputs) if one_row else outputs

    return RowProgram(rows, lambda arrays: arrays[0].reshape(inputs), finish)


def _motion_features(params: MotionFeaturesParameters, shapes: Sequence[Shape]) -> Program:
    samples = shapes[0][0]
    shares = tables.motion_bands(params, samples).astype(np.float32)

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        channels = inputs[0].reshape(samples, -1).T
        mean = channels.mean(axis=1, keepdims=True)
        spectrum = np.fft.rfft(channels - mean)
        energies = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ shares
        spread = np.concatenate([channels.var(axis=1)[:, None], energies], axis=1)
        return np.concatenate([mean, np.log(spread + np.float32(params.floor))], axis=1)

    return program


def _tflite_model(params: TfliteParameters, shapes: Sequence[Shape]) -> Program:
    from leo_backends import tflite  # As a stage that has such a model is loaded: most workloads have none.

    return tflite.model_program(params, shapes)


def _micro_features(_params: MicroFeaturesParameters, shapes: Sequence[Shape]) -> Program:
    try:
        new_front_end = importlib.import_module("pymicro_features").MicroFrontend
    except ImportError:
        raise MissingExtraError("the operator `micro_features`", "audio") from None
    frames = frame_count(shapes[0][0], MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES)

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        front_end = new_front_end()
        samples = _as_int16(inputs[0]).astype("<i2")
        features: list[list[float]] = []
        position = 0
        while len(features) < frames:
            answer = front_end.process_samples(samples[position : position + MICRO_HOP_SAMPLES].tobytes())
            position += answer.samples_read
            if answer.features:
                features.append(answer.features)
        return np.array(features, np.float32).reshape(frames, MICRO_BANDS)

    return program


def _fuse(params: FuseParameters, shapes: Sequence[Shape]) -> Program:
    weights = params.weights or (1 / len(shapes),) * len(shapes)

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        total = np.zeros(shapes[0], np.float32)
        for weight, array in zip(weights, inputs, strict=True):
            total += np.float32(weight) * array
        return total

    return program


def _rows(params: RowsParameters, _shapes: Sequence[Shape]) -> Program:
    return lambda inputs: inputs[0][params.first : params.first + params.count]


def _join(params: JoinParameters, _shapes: Sequence[Shape]) -> Program:
    axis = 0 if params.axis == "rows" else -1
    return lambda inputs: np.concatenate(inputs, axis=axis)


PROGRAMS: dict[str, Callable[..., Program]] = {
    "window": _window,
    "energy_gate": _energy_gate,
    "voice_gate": _voice_gate,
    "log_mel": _log_mel,
    "mfcc": _mfcc,
    "gmm": _gmm,
    "dense": _dense,
    "motion_features": _motion_features,
    "tflite": _tflite_model,
    "micro_features": _micro_features,
    "fuse": _fuse,
    "rows": _rows,
    "join": _join,
    "crop": images.crop,
    "score_gate": images.score_gate,
    "anchor_box": images.anchor_box,
    "landmark_box": images.landmark_box,
    "total_variation": patches.total_variation,
    "patches": patches.patches,
    "hard_patches": patches.hard_patches,
    "patch_gate": patches.patch_gate,
    "stitch": patches.stitch,
}
"""What makes the program of an operator, from its parameters and the shapes of its inputs. May read model files."""


def _log_mel_stream(params: LogMelParameters, shapes: Sequence[Shape]) -> StatefulProgram:
    return _feature_stream(params, _log_mel(params, shapes), feature_frames(params, shapes[0][0]), params.bands)


def _mfcc_stream(params: MfccParameters, shapes: Sequence[Shape]) -> StatefulProgram:
    return _feature_stream(params, _mfcc(params, shapes), feature_frames(params, shapes[0][0]), params.columns)


def _feature_stream(params: LogMelParameters, program: RowProgram, frames: int, columns: int) -> StatefulProgram:
    """Rows of frames that stand alone: what the program does to all of a window's is then done to any of them."""
    preemphasis = np.float32(params.preemphasis if params.preemphasis_in == "signal" else 0)

    def new_rows(samples: np.ndarray, left: Arrays) -> tuple[np.ndarray, Arrays]:
        signal = samples[1:] - preemphasis * samples[:-1] if preemphasis else samples[1:]
        cut = _frames(signal, params.frame_samples, params.hop_samples)
        return program.finish(in_blocks(program.rows, cut)), left

    return FeatureStream(RowStream(frames, columns, params.frame_samples, params.hop_samples), new_rows)


def _micro_features_stream(_params: MicroFeaturesParameters, shapes: Sequence[Shape]) -> StatefulProgram:
    """In numpy, unlike the operator without state: what the package's front end keeps cannot be taken out of it."""
    from leo_backends import micro_front_end  # Its tables take a megabyte, and few workloads have such a stage.

    frames = frame_count(shapes[0][0], MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES)
    leave = (micro_front_end.first_estimate(),)

    def new_rows(samples: np.ndarray, left: Arrays) -> tuple[np.ndarray, Arrays]:
        cut = _frames(_as_int16(samples[1:]), MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES)
        rows, estimate = micro_front_end.features(cut, left[0])
        return rows, (estimate,)

    stream = RowStream(frames, MICRO_BANDS, MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES, leave)
    return FeatureStream(stream, new_rows)


def _tflite_stream(params: TfliteParameters, shapes: Sequence[Shape]) -> StatefulProgram:
    from leo_backends import tflite  # As above.

    return tflite.model_stream(params, shapes)


STREAMS: dict[str, Callable[..., StatefulProgram]] = {
    "log_mel": _log_mel_stream,
    "mfcc": _mfcc_stream,
    "micro_features": _micro_features_stream,
    "tflite": _tflite_stream,
}
"""The same of operators that keep state, where their parameters say so."""


def _as_int16(samples: np.ndarray) -> np.ndarray:
    integers: np.ndarray = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    return integers


def _first(inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0]


def _mean_of_rows(rows: np.ndarray) -> np.ndarray:
    mean: np.ndarray = rows.mean(axis=0, dtype=np.float64)
    return mean


def _frames(signal: np.ndarray, frame_samples: int, hop_samples: int) -> np.ndarray:
    """Whole frames, as a view: (frames, frame_samples).

    Not by `sliding_window_view`: it takes many times as long, and each call of it puts a word into the interpreter's
    table of interned strings and takes it out again, so that the table is twice as large after an hour, or minutes.
    """
    signal = np.ascontiguousarray(signal)
    count, step = (len(signal) - frame_samples) // hop_samples + 1, signal.itemsize
    return np.ndarray((count, frame_samples), signal.dtype, signal, strides=(hop_samples * step, step))


def _framing(params: SpectrumParameters) -> Program:
    def prepare(inputs: Sequence[np.ndarray]) -> np.ndarray:
        signal = inputs[0]
        if params.preemphasis:
            signal = signal - np.float32(params.preemphasis) * np.concatenate([[np.float32(0)], signal[:-1]])
        return _frames(signal, params.frame_samples, params.hop_samples)

    return prepare


def _power_spectrum(params: SpectrumParameters) -> Rows:
    weights = (tables.window(params) * params.scale).astype(np.float32)

    def rows(frames: np.ndarray) -> np.ndarray:
        spectrum = np.fft.rfft(frames * weights, params.fft_samples)
        return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)

    return rows


def _feature_framing(params: LogMelParameters, samples: int) -> Program:
    """Frames of a signal, pre-emphasised as a whole where that is asked for, with what stands beyond its ends."""
    preemphasis = np.float32(params.preemphasis if params.preemphasis_in == "signal" else 0)
    beyond = tables.BEYOND[params.edges]
    sources = tables.sources(first_sample(params), tables.places(params, samples), samples, beyond)
    frames = feature_frames(params, samples)

    def prepare(inputs: Sequence[np.ndarray]) -> np.ndarray:
        signal = inputs[0]
        if preemphasis:
            signal = signal - preemphasis * np.concatenate([[np.float32(0)], signal[:-1]])
        if params.edges != "whole":
            signal = np.where(sources < 0, np.float32(0), signal[sources])
        return _frames(signal, params.frame_samples, params.hop_samples)[:frames]

    return prepare


@dataclass(frozen=True, slots=True)
class _FrontEnd:
    """From frames to the logarithms of bands, and to a frame's energy; each step is that of `LogMelParameters`."""

    params: LogMelParameters
    weights: np.ndarray
    filters: np.ndarray

    @classmethod
    def of(cls, params: LogMelParameters) -> _FrontEnd:
        weights = (tables.window(params) * params.scale).astype(np.float32)
        return cls(params, weights, tables.mel_filters(params).astype(np.float32))

    def logs_of(self, frames: np.ndarray) -> np.ndarray:
        return self._logs(self._spectrum(self._windowed(self._centred(frames))))

    def logs_and_energy_of(self, frames: np.ndarray, energy: str, floor: float) -> np.ndarray:
        """The logarithms of bands, and a last column of the frame's energy, which is zeros for `none`."""
        centred = self._centred(frames)
        windowed = self._windowed(centred)
        spectrum = self._spectrum(windowed)
        match energy:
            case "raw":
                energies = np.square(centred * np.float32(self.params.scale)).sum(axis=1)
            case "windowed":
                energies = np.square(windowed).sum(axis=1)
            case "spectrum":
                energies = spectrum.sum(axis=1)
            case _:
                energies = np.ones(len(frames), np.float32)
        energies = np.log(np.maximum(energies, np.float32(max(floor, tables.LEAST))))
        return np.concatenate([self._logs(spectrum), energies[:, None]], axis=1)

    def _centred(self, frames: np.ndarray) -> np.ndarray:
        return frames - frames.mean(axis=1, keepdims=True) if self.params.remove_mean else frames

    def _windowed(self, frames: np.ndarray) -> np.ndarray:
        params = self.params
        if params.preemphasis and params.preemphasis_in == "frame":
            before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
            frames = frames - np.float32(params.preemphasis) * before
        windowed: np.ndarray = frames * self.weights
        return windowed

    def _spectrum(self, windowed: np.ndarray) -> np.ndarray:
        points = np.fft.rfft(windowed, self.params.fft_samples)
        power = (points.real**2 + points.imag**2).astype(np.float32)
        match self.params.spectrum:
            case "magnitude":
                return np.sqrt(power)
            case "periodogram":
                return power * np.float32(1 / self.params.fft_samples)
        return power

    def _logs(self, spectrum: np.ndarray) -> np.ndarray:
        params = self.params
        energies, floor = row_by_row(spectrum, self.filters), np.float32(max(params.floor, tables.LEAST))
        logs: np.ndarray = np.log(energies + floor if params.floor_by == "adding" else np.maximum(energies, floor))
        return logs if params.log == "ln" else logs * np.float32(tables.log_scale(params))


def row_by_row(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """rows @ weights, of which each row is the same to the bit whatever rows are beside it: (rows, outputs).

    A product of matrices adds up in another order for other numbers of rows.
    """
    products: np.ndarray = np.matmul(rows[:, None, :], weights)[:, 0]
    return products


def _changes_logs(params: LogMelParameters) -> bool:
    return bool(params.log_range or params.log_gain != 1 or params.log_offset)


def _finish_logs(params: LogMelParameters) -> Rows:
    """What is done to logarithms as soon as those of all frames are there."""

    def finish(logs: np.ndarray) -> np.ndarray:
        if params.log_range:
            logs = np.maximum(logs, logs.max() - np.float32(params.log_range))
        if params.log_gain != 1 or params.log_offset:
            logs = logs * np.float32(params.log_gain) + np.float32(params.log_offset)
        return logs

    return finish


def _with_energy(params: MfccParameters, cepstra: np.ndarray, energy: np.ndarray) -> np.ndarray:
    if params.energy == "none":
        return cepstra
    kept = [energy, cepstra[:, 1:]] if params.energy_at == "first" else [cepstra, energy]
    return np.concatenate(kept, axis=1)


def _with_regression(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    first = _regression(rows, weights)
    return np.concatenate([rows, first, _regression(first, weights)], axis=1)


def _regression(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The slope of each column at each row; the first and the last row stand for those beyond."""
    reach = len(weights) // 2
    padded = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    slopes: np.ndarray = np.zeros_like(rows)
    for i, weight in enumerate(weights):
        slopes += weight * padded[i : i + len(rows)]
    return slopes


def _with_deltas(cepstra: np.ndarray) -> np.ndarray:
    padded = np.concatenate([cepstra[:1]] * 3 + [cepstra] + [cepstra[-1:]] * 3)
    first = padded[4:] - padded[:-4]
    return np.concatenate([cepstra, first[1:-1], first[2:] - first[:-2]], axis=1)


def _log_sum_exp(scores: np.ndarray) -> np.ndarray:
    greatest = scores.max(axis=-1)
    sums = np.exp(scores - greatest[..., None]).sum(axis=-1)
    logs: np.ndarray = greatest + np.log(sums)
    return logs


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _sigmoid(values: np.ndarray) -> np.ndarray:
    # By way of tanh, which does not overflow far below zero.
    return np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * values))


_ACTIVATIONS: dict[str, Rows] = {
    "relu": lambda values: np.maximum(values, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "linear": lambda values: values,
}
