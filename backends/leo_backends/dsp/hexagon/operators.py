"""Hands the plans of the fixed-point operators to the Hexagon program, whose functions compute the same integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leo_backends.dsp.fixed_point import Ints
from leo_backends.dsp.hexagon.machine import (
    COPY,
    DENSE,
    ENERGY_GATE,
    FUSE,
    GMM,
    LOG_MEL,
    MFCC,
    MOTION_FEATURES,
    VOICE_GATE,
    Counted,
    HexagonMachine,
    LoadedModel,
)
from leo_backends.dsp.operators import (
    DensePlan,
    EnergyGatePlan,
    FusePlan,
    GmmPlan,
    LogMelPlan,
    MfccPlan,
    MotionFeaturesPlan,
    Plan,
    SpectrumPlan,
    VoiceGatePlan,
    WindowPlan,
)

_ACTIVATIONS = ("relu", "sigmoid", "tanh", "linear")

Message = tuple[int, list[int], list[np.ndarray], type[np.signedinteger]]
"""An operator's code, its parameters, its weights, and the type of its inputs."""


@dataclass(slots=True)
class HexagonOperator:
    """A plan in the program: the same function of integers as the plan's own in `leo_backends.dsp.operators`."""

    model: LoadedModel
    input_type: type[np.signedinteger]
    plan: Plan

    def __call__(self, inputs: Sequence[Ints]) -> Ints:
        """Integers in, 32-bit integers out, as int64. Raises `KernelError`."""
        return self.counted(inputs)[0]

    def counted(self, inputs: Sequence[Ints]) -> tuple[Ints, Counted]:
        """The same, and what the processor executed for it."""
        joined = np.concatenate([array.reshape(-1) for array in inputs]).astype(self.input_type)
        run = self.model.run([joined])
        output = np.frombuffer(run.output, "<i4").astype(np.int64)
        return output.reshape(output_shape(self.plan, inputs)), run


def load(machine: HexagonMachine, plan: Plan) -> HexagonOperator:
    """Put a plan into the program. Raises `KernelError`."""
    code, params, weights, input_type = message(plan)
    return HexagonOperator(machine.load(code, params, weights), input_type, plan)


def output_shape(plan: Plan, inputs: Sequence[Ints]) -> tuple[int, ...]:
    """What the operator's output looks like."""
    match plan:
        case EnergyGatePlan() | VoiceGatePlan():
            return (1,)
        case LogMelPlan():
            return (plan.spectrum.frames, plan.bands)
        case MfccPlan():
            return (plan.log_mel.spectrum.frames, plan.cepstra * (3 if plan.deltas else 1))
        case GmmPlan():
            return (plan.classes,) if plan.average else (plan.frames, plan.classes)
        case DensePlan():
            return (plan.sizes[-1],) if plan.average else (plan.rows, plan.sizes[-1])
        case MotionFeaturesPlan():
            return (plan.channels, 2 + plan.bands)
        case WindowPlan() | FusePlan():
            return inputs[0].shape


def message(plan: Plan) -> Message:
    """A plan as the program reads it; the order of words and arrays is told at the top of each of its files."""
    match plan:
        case WindowPlan():
            return COPY, [], [], np.int32
        case EnergyGatePlan():
            words = [plan.values, plan.count_log2_q16, *_wide(plan.floor, plan.decibels_q29, plan.threshold_q16)]
            return ENERGY_GATE, words, [], np.int16
        case VoiceGatePlan():
            words = [*_spectrum_words(plan.spectrum), plan.first, plan.end, plan.count_log2_q16]
            words += _wide(plan.floor, plan.level_q16, plan.contrast_q16, plan.fraction_q16)
            return VOICE_GATE, words, _spectrum_arrays(plan.spectrum), np.int16
        case LogMelPlan():
            return LOG_MEL, _log_mel_words(plan), _log_mel_arrays(plan), np.int16
        case MfccPlan():
            words = [*_log_mel_words(plan.log_mel), plan.cepstra, plan.transform_q, plan.normalise_mean, plan.deltas]
            return MFCC, words, [*_log_mel_arrays(plan.log_mel), _narrow(plan.transform)], np.int16
        case GmmPlan():
            return _gmm(plan)
        case DensePlan():
            words = [plan.rows, plan.sizes[0], len(plan.weights), _ACTIVATIONS.index(plan.activation)]
            words += [plan.softmax, plan.average, plan.normalises]
            arrays = [_word(plan.means_q16), _narrow(plan.slopes), _word(plan.slope_shifts)]
            for outputs, q, weights, bias in zip(
                plan.sizes[1:], plan.weights_q, plan.weights, plan.biases_q16, strict=True
            ):
                words += [outputs, q]
                arrays += [_narrow(weights), _word(bias)]
            return DENSE, words, arrays, np.int32
        case MotionFeaturesPlan():
            words = [plan.samples, plan.channels, plan.bands, plan.samples_log2_q16, *_wide(plan.floor_q32)]
            arrays = [_narrow(plan.cosines_q15), _narrow(plan.sines_q15), _word(plan.band_of), _word(plan.energy)]
            return MOTION_FEATURES, words, arrays, np.int32
        case FusePlan():
            return FUSE, [len(plan.weights), plan.values, plan.weights_q], [_narrow(plan.weights)], np.int32


def _gmm(plan: GmmPlan) -> Message:
    words = [plan.frames, plan.first_column, plan.classes, plan.components, plan.dimensions]
    words += [plan.average, plan.slope_shift]
    arrays = [_word(plan.middles_q16), _word(plan.shifts), _narrow(plan.means), _narrow(plan.slopes)]
    return GMM, words, [*arrays, _word(plan.constants_q16)], np.int32


def _spectrum_words(plan: SpectrumPlan) -> list[int]:
    words = [plan.frames, plan.frame_samples, plan.hop_samples, plan.points, plan.points_log2]
    return [*words, plan.preemphasis_q15]


def _spectrum_arrays(plan: SpectrumPlan) -> list[np.ndarray]:
    return [_narrow(plan.window_q15), _word(plan.factors_q14)]


def _log_mel_words(plan: LogMelPlan) -> list[int]:
    return [*_spectrum_words(plan.spectrum), plan.bands, *_wide(plan.floor, plan.offset_q16)]


def _log_mel_arrays(plan: LogMelPlan) -> list[np.ndarray]:
    return [*_spectrum_arrays(plan.spectrum), _word(plan.first), _word(plan.count), _narrow(plan.weights)]


def _narrow(values: Ints) -> np.ndarray:
    return values.astype("<i2")


def _word(values: Ints) -> np.ndarray:
    return values.astype("<i4")


def _wide(*values: int) -> list[int]:
    """Each value of 64 bits as two words, the low one first."""
    halves: list[int] = np.array(values, "<i8").view("<i4").tolist()
    return halves
