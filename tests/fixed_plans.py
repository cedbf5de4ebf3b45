"""Plans of the DSP's operators and inputs for them, made from drawn integers: ordinary, odd and extreme ones.

`draw(low, high)` gives an integer from `low` to `high`: hypothesis or a random generator may stand behind it.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from leo_backends.dsp.fixed_point import Ints, twiddles
from leo_backends.dsp.operators import Plan
from leo_backends.dsp.operators.arrays import FusePlan, WindowPlan
from leo_backends.dsp.operators.classifiers import DensePlan, GmmPlan
from leo_backends.dsp.operators.front_ends import FrontEndPlan
from leo_backends.dsp.operators.motion import MotionFeaturesPlan
from leo_backends.dsp.operators.sound import EnergyGatePlan, LogMelPlan, MfccPlan, SpectrumPlan, VoiceGatePlan

Draw = Callable[[int, int], int]
Case = tuple[Plan, list[Ints]]

NOTHING = np.zeros(0, np.int64)


def values(draw: Draw, shape: tuple[int, ...], bits: int) -> Ints:
    """Signed integers of so many bits: any, small ones, only extremes, or the same extreme everywhere."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    style = draw(0, 6)
    rng = np.random.default_rng(draw(0, 2**32 - 1))
    if style == 0:
        return np.full(shape, low, np.int64)
    if style == 1:
        return np.full(shape, high, np.int64)
    if style == 2:
        return rng.choice(np.array([low, low + 1, -1, 0, 1, high - 1, high], np.int64), shape)
    if style == 3:
        return np.zeros(shape, np.int64)
    if style == 4:
        return rng.integers(low, high, shape, np.int64, endpoint=True)
    return rng.integers(low, high, shape, np.int64, endpoint=True) >> draw(0, bits - 1)


def window(draw: Draw) -> Case:
    count = draw(1, 40)
    return WindowPlan(count), [values(draw, (count,), 32)]


def energy_gate(draw: Draw) -> Case:
    count = draw(1, 300)
    plan = EnergyGatePlan(
        values=count,
        floor=1 << draw(0, 50),
        count_log2_q16=draw(0, 24 << 16),
        decibels_q29=draw(0, 2**31 - 1),
        threshold_q16=draw(-(2**40), 2**40),
    )
    return plan, [values(draw, (count,), 16)]


def spectrum(draw: Draw) -> tuple[SpectrumPlan, Ints]:
    points = 1 << draw(2, 10)
    frame_samples = draw(2, points)
    plan = SpectrumPlan(
        frames=draw(1, 3),
        frame_samples=frame_samples,
        hop_samples=draw(1, 2 * frame_samples),
        points=points,
        preemphasis_q15=draw(0, 1) * draw(0, 32767),
        window_q15=values(draw, (frame_samples,), 16),
        factors_q14=twiddles(points),
    )
    return plan, values(draw, ((plan.frames - 1) * plan.hop_samples + frame_samples + draw(0, 5),), 16)


def voice_gate(draw: Draw) -> Case:
    plan, signal = spectrum(draw)
    first = draw(0, plan.points // 2)
    end = draw(first + 1, plan.points // 2 + 1)
    gate = VoiceGatePlan(
        spectrum=plan,
        first=first,
        end=end,
        floor=min(1 << draw(0, 62), (1 << 62) // (end - first)),
        level_q16=draw(-1, 62) << 16,
        contrast_q16=draw(-(3 << 16), 3 << 16),
        count_log2_q16=draw(0, 9 << 16),
        fraction_q16=draw(0, 1 << 16),
    )
    return gate, [signal]


def mel_bands(draw: Draw) -> tuple[LogMelPlan, Ints]:
    plan, signal = spectrum(draw)
    points, bands = plan.points // 2 + 1, draw(1, 9)
    first = np.array([draw(0, points - 1) for _ in range(bands)], np.int64)
    count = np.array([draw(0, points - int(start)) for start in first], np.int64)
    log_mel = LogMelPlan(
        spectrum=plan,
        bands=bands,
        first=first,
        count=count,
        weights=values(draw, (int(count.sum()),), 16),
        floor=(1 << draw(0, 62)) - 1,
        offset_q16=draw(-(200 << 16), 200 << 16),
    )
    return log_mel, signal


def log_mel(draw: Draw) -> Case:
    plan, signal = mel_bands(draw)
    return plan, [signal]


def mfcc(draw: Draw) -> Case:
    plan, signal = mel_bands(draw)
    cepstra = draw(1, plan.bands)
    transform = values(draw, (plan.bands, cepstra), 16)
    return MfccPlan(plan, cepstra, transform, draw(0, 30), bool(draw(0, 1)), bool(draw(0, 1))), [signal]


def front_end(draw: Draw) -> Case:
    points = draw(4, 130) if draw(0, 1) else 1 << draw(2, 11)
    points_log2 = (points - 1).bit_length()
    frame_samples, frames, hop, samples = draw(2, points), draw(1, 4), draw(1, 2 * points), draw(2, 3 * points)
    factors = twiddles(points)
    if points != 1 << points_log2:
        factors = twiddles(2 * points)[: 2 * points : 2]  # Of any points: extremes are those of the samples.
        factors = np.concatenate([factors, np.roll(factors, 1, axis=0)])[:points]
    remove_mean, in_frame, in_signal = bool(draw(0, 1)), draw(0, 1) * draw(0, 32767), 0
    if not in_frame:
        in_signal = draw(0, 1) * draw(0, 32767)
    end, bands = draw(1, points // 2 + 1), draw(1, 9)
    first = np.array([draw(0, end - 1) for _ in range(bands)], np.int64)
    count = np.array([draw(0, end - int(start)) for start in first], np.int64)
    cepstra = draw(0, bands)
    energy = draw(0, 3) if cepstra else 0
    energy_at = draw(0, cepstra) if energy else 0
    magnitude = bool(draw(0, 1)) and energy != 3
    floor = 0 if magnitude else (1 << draw(0, 61)) - 1
    plan = FrontEndPlan(
        samples=samples,
        first=draw(-points, points // 4),
        beyond=draw(0, 2),
        frames=frames,
        frame_samples=frame_samples,
        hop_samples=hop,
        points=points,
        points_log2=points_log2,
        signal_preemphasis_q15=in_signal,
        frame_preemphasis_q15=in_frame,
        remove_mean=remove_mean,
        lift_max=draw(0, min(15, (62 - floor.bit_length()) // 2)),
        window_q15=values(draw, (frame_samples,), 16),
        factors_q14=factors,
        end=end,
        magnitude=magnitude,
        bands=bands,
        band_first=first,
        band_count=count,
        weights=np.abs(values(draw, (int(count.sum()),), 16)).clip(0, 32767),
        floor=floor,
        offset_q16=draw(-(200 << 16), 200 << 16),
        factor_q29=draw(0, 2**31 - 1),
        least_q16=draw(-(2**31), 2**31 - 1),
        range_q16=draw(0, 1) * draw(0, 2**30),
        gain_q16=draw(1, 2**30),
        level_q16=draw(-(2**30), 2**30),
        cepstra=cepstra,
        transform=values(draw, (bands, cepstra), 16),
        transform_q=draw(0, 30),
        energy=energy,
        energy_at=energy_at,
        energy_offset_q16=draw(-(100 << 16), 100 << 16),
        energy_least_q16=draw(-(2**31), 2**31 - 1),
        columns=max(cepstra, energy_at + 1) if cepstra else bands,
        normalise_mean=bool(draw(0, 1)) and cepstra > 0,
        deltas=draw(0, 2) if cepstra else 0,
        reach=draw(1, 5),
    )
    return plan, [values(draw, (samples,), 16)]


def gmm(draw: Draw) -> Case:
    classes, components, dimensions = draw(1, 3), draw(1, 70), draw(1, 13)
    first, frames = draw(0, 2), draw(1, 4)
    shape = (classes, components, dimensions)
    plan = GmmPlan(
        frames=frames,
        first_column=first,
        classes=classes,
        components=components,
        dimensions=dimensions,
        average=bool(draw(0, 1)),
        middles_q16=values(draw, (dimensions,), 32),
        shifts=np.array([draw(0, 31) for _ in range(dimensions)], np.int64),
        means=values(draw, shape, 16),
        slopes=values(draw, shape, 16),
        slope_shift=draw(0, 30),
        constants_q16=values(draw, (classes, components), 32),
    )
    return plan, [values(draw, (frames, first + dimensions + draw(0, 2)), 32)]


def dense(draw: Draw) -> Case:
    rows, layers = draw(1, 11), draw(1, 4)
    sizes = tuple(draw(1, 70) for _ in range(layers + 1))
    normalises = bool(draw(0, 1))
    inputs = sizes[0]
    plan = DensePlan(
        rows=rows,
        sizes=sizes,
        activation=("relu", "sigmoid", "tanh", "linear")[draw(0, 3)],
        softmax=bool(draw(0, 1)),
        average=bool(draw(0, 1)),
        normalises=normalises,
        means_q16=values(draw, (inputs,), 32) if normalises else NOTHING,
        slopes=values(draw, (inputs,), 16) if normalises else NOTHING,
        slope_shifts=np.array([draw(0, 46) for _ in range(inputs)], np.int64) if normalises else NOTHING,
        weights=tuple(values(draw, pair, 16) for pair in pairwise(sizes)),
        weights_q=tuple(draw(0, 20) for _ in range(layers)),
        biases_q16=tuple(values(draw, (size,), 32) for size in sizes[1:]),
    )
    return plan, [values(draw, (rows, inputs), 32)]


def motion_features(draw: Draw) -> Case:
    samples, channels, bands = draw(1, 130), draw(1, 7), draw(1, 4)
    points = samples // 2 + 1
    plan = MotionFeaturesPlan(
        samples=samples,
        channels=channels,
        bands=bands,
        cosines_q15=values(draw, (samples,), 16),
        sines_q15=values(draw, (samples,), 16),
        band_of=np.array([draw(-1, bands - 1) for _ in range(points)], np.int64),
        energy=np.array([draw(1, 2) for _ in range(points)], np.int64),
        floor_q32=draw(0, 2**40),
        samples_log2_q16=draw(0, 10 << 16),
    )
    return plan, [values(draw, (samples, channels), 32)]


def fuse(draw: Draw) -> Case:
    inputs, count = draw(1, 6), draw(1, 20)
    plan = FusePlan(count, values(draw, (inputs,), 16), draw(0, 30))
    return plan, [values(draw, (count,), 32) for _ in range(inputs)]


CASES: dict[str, Callable[[Draw], Case]] = {
    "window": window,
    "energy_gate": energy_gate,
    "voice_gate": voice_gate,
    "log_mel": log_mel,
    "mfcc": mfcc,
    "front_end": front_end,
    "gmm": gmm,
    "dense": dense,
    "motion_features": motion_features,
    "fuse": fuse,
}
"""By operator: every one that the DSP has."""
