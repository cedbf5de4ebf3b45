"""Sound features whose steps differ from those of `sound`: what `log_mel` and `mfcc` are like in other programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leo_backends import tables
from leo_backends.dsp.cycles import Loops
from leo_backends.dsp.fixed_point import (
    LN2_Q31,
    Ints,
    bit_length,
    divided,
    log2_q16,
    mantissas,
    product,
    real_transform,
    saturated16,
    saturated32,
    shifted,
    to_q,
    twiddles,
)
from leo_backends.dsp.operators.definition import DspOperator, Message, loading, narrow, q16, wide, word
from leo_backends.dsp.operators.sound import LIMIT, band_energies, mel_bands
from leo_runtime.operators import Shape
from leo_runtime.operators.sound import LogMelParameters, MfccParameters, feature_frames, first_sample

POINTS_MAX = 2048
LIFT_MAX = 15
ENERGY = {"none": 0, "raw": 1, "windowed": 2, "spectrum": 3}
NO_DELTAS, DIFFERENCES, SLOPES = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class FrontEndPlan:
    """Everything of a stage in the order in which it is computed; `cepstra` 0: it is a `log_mel`."""

    samples: int
    first: int
    """Where in the signal the first frame begins."""
    beyond: int
    """What stands beyond the signal: 0 zeros, 1 its samples in reverse order without the last one, 2 with it."""
    frames: int
    frame_samples: int
    hop_samples: int
    points: int
    points_log2: int
    """Rounded up."""
    signal_preemphasis_q15: int
    frame_preemphasis_q15: int
    remove_mean: bool
    lift_max: int
    """By how many bits a quiet frame may be lifted above Q `q`."""
    window_q15: Ints
    factors_q14: Ints
    """`twiddles(points)`, or of points that are no power of two all of them, (points, 2)."""
    end: int
    """The points 0 to this less 1 are computed."""
    magnitude: bool
    bands: int
    band_first: Ints
    band_count: Ints
    weights: Ints
    floor: int
    """What is added to a band's energy; 0: what is below `least_q16` is raised to it."""
    offset_q16: int
    """What turns log2 of a weighed sum into log2 of the band's energy."""
    factor_q29: int
    """From log2 to the logarithm that is asked for."""
    least_q16: int
    range_q16: int
    """0: none."""
    gain_q16: int
    level_q16: int
    cepstra: int
    transform: Ints
    transform_q: int
    energy: int
    """As `ENERGY` numbers it."""
    energy_at: int
    energy_offset_q16: int
    energy_least_q16: int
    columns: int
    normalise_mean: bool
    deltas: int
    """0 none, 1 differences as Sphinx takes them, 2 slopes."""
    reach: int

    @property
    def is_fast(self) -> bool:
        """Whether the points are a power of two, which the transform of other operators takes."""
        return self.points == 1 << self.points_log2

    @property
    def parts(self) -> int:
        """Into how many parts the points are dealt out otherwise, their divisor nearest below the root; fast: 0."""
        return 0 if self.is_fast else max(n for n in range(1, math.isqrt(self.points) + 1) if self.points % n == 0)

    @property
    def q(self) -> int:
        """The Q of samples that fill [-1, 1) as they are weighed, and of their spectrum; power is in twice that."""
        return 30 - self.points_log2


def name_of(operator: str, params: LogMelParameters) -> str:
    """The operator's own name where the steps of `sound` compute it, otherwise that of this file's."""
    points = params.fft_samples
    return operator if params.is_plain and points <= 1024 and not points & (points - 1) else "front_end"


def _plan(params: LogMelParameters, shapes: Sequence[Shape]) -> FrontEndPlan:
    mfcc = params if isinstance(params, MfccParameters) else None
    energy = "none" if mfcc is None else mfcc.energy
    points_log2 = (params.fft_samples - 1).bit_length()
    in_frame = params.preemphasis_in == "frame"
    preemphasis_q15 = min(round(params.preemphasis * 2**15), 32767)
    q = 30 - points_log2
    is_fast = params.fft_samples == 1 << points_log2
    filters = tables.mel_filters(params)
    bands = mel_bands(filters)
    # log2 of what a spectrum's 1 is worth, and the Q of its weighed sums.
    size_log2 = (1 if params.spectrum == "magnitude" else 2) * math.log2(params.scale)
    if params.spectrum == "periodogram":
        size_log2 -= math.log2(params.fft_samples)
    spectrum_q = q if params.spectrum == "magnitude" else 2 * q
    scaled_q = spectrum_q + bands.weights_q
    clips = params.floor_by == "clipping"
    floor = 0 if clips else max(1, min(round(params.floor * 2.0 ** (scaled_q - size_log2)), LIMIT - 1))
    least = q16(math.log(max(params.floor, tables.LEAST)) * tables.log_scale(params)) if clips else -(1 << 31)
    transform, transform_q = mantissas(np.zeros((params.bands, 0)) if mfcc is None else tables.cosine_transform(mfcc))
    energy_offset = {"none": 0.0, "spectrum": size_log2 - spectrum_q}.get(energy, 2 * math.log2(params.scale))
    if energy in ("raw", "windowed"):
        energy_offset -= 40 if energy == "raw" else 2 * q
    deltas = NO_DELTAS
    if mfcc is not None and mfcc.deltas:
        deltas = SLOPES if mfcc.delta_window else DIFFERENCES
    return FrontEndPlan(
        samples=shapes[0][0],
        first=first_sample(params),
        beyond=tables.BEYOND[params.edges],
        frames=feature_frames(params, shapes[0][0]),
        frame_samples=params.frame_samples,
        hop_samples=params.hop_samples,
        points=params.fft_samples,
        points_log2=points_log2,
        signal_preemphasis_q15=0 if in_frame else preemphasis_q15,
        frame_preemphasis_q15=preemphasis_q15 if in_frame else 0,
        remove_mean=params.remove_mean,
        lift_max=min(LIFT_MAX, (62 - floor.bit_length()) // 2),
        window_q15=saturated16(to_q(tables.window(params), 15)),
        factors_q14=twiddles(params.fft_samples) if is_fast else _all_twiddles(params.fft_samples),
        end=len(filters) if energy == "spectrum" else max(1, int((bands.first + bands.count).max())),
        magnitude=params.spectrum == "magnitude",
        bands=params.bands,
        band_first=bands.first,
        band_count=bands.count,
        weights=bands.weights,
        floor=floor,
        offset_q16=q16(size_log2) - (scaled_q << 16),
        factor_q29=round(math.log(2) * tables.log_scale(params) * 2**29),
        least_q16=least,
        range_q16=q16(params.log_range),
        gain_q16=q16(params.log_gain),
        level_q16=q16(params.log_offset),
        cepstra=0 if mfcc is None else mfcc.cepstra,
        transform=transform,
        transform_q=transform_q,
        energy=ENERGY[energy],
        energy_at=0 if mfcc is None or mfcc.energy_at == "first" else mfcc.cepstra,
        energy_offset_q16=q16(energy_offset),
        energy_least_q16=0 if mfcc is None else q16(math.log(max(mfcc.energy_floor, tables.LEAST))),
        columns=params.bands if mfcc is None else mfcc.columns,
        normalise_mean=mfcc is not None and mfcc.normalise_mean,
        deltas=deltas,
        reach=0 if mfcc is None else mfcc.delta_window,
    )


def _all_twiddles(points: int) -> Ints:
    angles = 2 * np.pi * np.arange(points) / points
    return to_q(np.stack([np.cos(angles), -np.sin(angles)], axis=1), 14)


def _fits(params: LogMelParameters, shapes: Sequence[Shape]) -> bool:
    if params.spectrum == "magnitude" and (
        params.floor_by == "adding" or (isinstance(params, MfccParameters) and params.energy == "spectrum")
    ):
        return False
    if isinstance(params, MfccParameters) and params.delta_window > 1024:
        return False
    frames, columns = feature_frames(params, shapes[0][0]), params.bands
    if isinstance(params, MfccParameters):
        columns += 4 * params.columns
    levels = (params.log_range, params.log_gain, abs(params.log_offset))
    return (
        4 <= params.fft_samples <= POINTS_MAX
        and shapes[0][0] <= 2**24
        and frames * columns <= 2**24
        and params.preemphasis < 1
        and 2**-20 <= params.scale <= 2**20
        and max(levels) <= 2**14
    )


def front_end(plan: FrontEndPlan, inputs: Sequence[Ints]) -> Ints:
    """Logarithms of bands, (frames, bands), or cepstra, (frames, columns), three times as wide with deltas."""
    raw = _cut(plan, inputs[0])
    weighed, lifts = _weighed(plan, raw)
    spectrum, roots = _spectrum(plan, weighed)
    logs = _logs(plan, spectrum, lifts + roots if plan.magnitude else 2 * lifts)
    if plan.range_q16:
        logs = np.maximum(logs, logs.max() - plan.range_q16)
    logs = saturated32(shifted(logs * plan.gain_q16, 16) + plan.level_q16)
    if not plan.cepstra:
        return logs
    cepstra = saturated32(shifted(product(logs, plan.transform), plan.transform_q))
    if plan.energy:
        rows = np.zeros((plan.frames, plan.columns), np.int64)
        rows[:, : plan.cepstra] = cepstra
        rows[:, plan.energy_at] = _energy(plan, raw, weighed, spectrum, lifts)
        cepstra = rows
    if plan.normalise_mean:
        cepstra = saturated32(cepstra - divided(cepstra.sum(axis=0), len(cepstra)))
    if plan.deltas == SLOPES:
        first = _slopes(plan, cepstra)
        return np.concatenate([cepstra, first, _slopes(plan, first)], axis=1)
    if plan.deltas == DIFFERENCES:
        padded = np.concatenate([cepstra[:1]] * 3 + [cepstra] + [cepstra[-1:]] * 3)
        first = saturated32(padded[4:] - padded[:-4])
        return np.concatenate([cepstra, first[1:-1], saturated32(first[2:] - first[:-2])], axis=1)
    return cepstra


def _cut(plan: FrontEndPlan, signal: Ints) -> Ints:
    """Frames in Q30, (frames, frame_samples), below 2^32: pre-emphasised as a signal, without their means."""
    places = (plan.frames - 1) * plan.hop_samples + plan.frame_samples
    sources = tables.sources(plan.first, places, plan.samples, plan.beyond)
    before = np.where(sources > 0, signal[np.maximum(sources - 1, 0)], 0)
    here = np.where(sources < 0, 0, (signal[np.maximum(sources, 0)] << 15) - before * plan.signal_preemphasis_q15)
    frames: Ints = here[np.arange(plan.frames)[:, None] * plan.hop_samples + np.arange(plan.frame_samples)]
    if plan.remove_mean:
        frames = frames - divided(frames.sum(axis=1, keepdims=True), plan.frame_samples)
    return frames


def _weighed(plan: FrontEndPlan, frames: Ints) -> tuple[Ints, Ints]:
    """Samples pre-emphasised in their frame, and weighed, (frames, frame_samples), in Q `plan.q` plus (frames,) bits.

    Each frame is shifted just so far that no point of its spectrum can be above 2^30.
    """
    q = 30
    if plan.frame_preemphasis_q15:
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        frames, q = (frames << 15) - before * plan.frame_preemphasis_q15, 45
    lifts = np.minimum(q - bit_length(np.abs(frames).max(axis=1)), plan.lift_max)
    scaled = shifted(frames, (q - plan.q - lifts)[:, None])
    return shifted(scaled * plan.window_q15, 15), lifts


def _spectrum(plan: FrontEndPlan, weighed: Ints) -> tuple[Ints, Ints]:
    """Power, or magnitudes, which are left by so many bits for each frame, (frames, end) and (frames,)."""
    padded = np.zeros((plan.frames, plan.points), np.int64)
    padded[:, : plan.frame_samples] = weighed
    transform = real_transform(padded, plan.factors_q14) if plan.is_fast else _transform_by_parts(plan, padded)
    real, imaginary = (part[:, : plan.end] for part in transform)
    powers: Ints = real * real + imaginary * imaginary
    if not plan.magnitude:
        return powers, np.zeros(plan.frames, np.int64)
    roots = (62 - bit_length(powers.max(axis=1))) // 2
    return root(powers << (2 * roots[:, None])), roots


def _transform_by_parts(plan: FrontEndPlan, x: Ints) -> tuple[Ints, Ints]:
    """The points 0 to `end` - 1 of the transform of real rows x (rows, points), for any number of points.

    Sample i is in part i mod parts. Each part is transformed by itself, as the sum that a transform is, and a point is
    the sum of its points in all parts, each turned by where the part begins.
    """
    parts, points = plan.parts, plan.points
    size = points // parts
    cos, sin = plan.factors_q14.T
    turns = parts * np.outer(np.arange(size), np.arange(size)) % points
    dealt = x.reshape(len(x), size, parts)
    part_real, part_imaginary = (shifted(product(factors[turns], dealt), 14) for factors in (cos, sin))
    k = np.arange(plan.end)
    real, imaginary = np.zeros((2, len(x), plan.end), np.int64)
    for part in range(parts):
        r, i = part_real[:, k % size, part], part_imaginary[:, k % size, part]
        c, s = cos[part * k % points], sin[part * k % points]
        real += r * c - i * s
        imaginary += r * s + i * c
    return shifted(real, 14), shifted(imaginary, 14)


def root(x: Ints) -> Ints:
    """The greatest integers whose squares are not above x, 0 <= x < 2^62."""
    guess = np.sqrt(x.astype(np.float64)).astype(np.int64)
    guess = guess - (guess * guess > x)
    result: Ints = guess + ((guess + 1) * (guess + 1) <= x)
    return result


def _logs(plan: FrontEndPlan, spectrum: Ints, lifts: Ints) -> Ints:
    """Of a spectrum that is so many bits above what it stands for."""
    energies, bits = band_energies(spectrum, plan.band_first, plan.band_count, plan.weights)
    floors = np.where(lifts > 0, plan.floor << np.maximum(lifts, 0), plan.floor >> np.maximum(-lifts, 0))
    energies += floors[:, None] >> bits
    log2 = log2_q16(np.maximum(energies, 1)) + ((bits - lifts[:, None]) << 16)
    logs = np.maximum(saturated32(shifted((log2 + plan.offset_q16) * plan.factor_q29, 29)), plan.least_q16)
    # Nothing at all is at the floor, which may be below what 1 is worth.
    return np.where((energies == 0) & (plan.floor == 0), plan.least_q16, logs)


def _energy(plan: FrontEndPlan, raw: Ints, weighed: Ints, spectrum: Ints, lifts: Ints) -> Ints:
    bits = -2 * lifts
    if plan.energy == ENERGY["raw"]:
        energy, bits = np.square(shifted(raw, 10)).sum(axis=1), np.zeros_like(lifts)
    elif plan.energy == ENERGY["windowed"]:
        energy = np.square(weighed).sum(axis=1)
    else:
        narrower = np.maximum(bit_length(spectrum.max(axis=1)) - 50, 0)
        energy, bits = (spectrum >> narrower[:, None]).sum(axis=1), bits + narrower
    log2 = log2_q16(np.maximum(energy, 1)) + (bits << 16) + plan.energy_offset_q16
    logs = np.maximum(saturated32(shifted(log2 * LN2_Q31, 31)), plan.energy_least_q16)
    return np.where(energy == 0, plan.energy_least_q16, logs)


def _slopes(plan: FrontEndPlan, rows: Ints) -> Ints:
    reach, count = plan.reach, len(rows)
    padded = np.concatenate([rows[:1]] * reach + [rows] + [rows[-1:]] * reach)
    total = np.zeros_like(rows)
    for i in range(1, reach + 1):
        total += i * (padded[reach + i : reach + i + count] - padded[reach - i : reach - i + count])
    return saturated32(divided(total, reach * (reach + 1) * (2 * reach + 1) // 3))


def _loops(plan: FrontEndPlan) -> Loops:
    frames, half, width = plan.frames, plan.points // 2, plan.frames * plan.columns
    samples, points = frames * plan.frame_samples, frames * plan.end
    of_frame = plan.energy in (ENERGY["raw"], ENERGY["windowed"])
    return {
        "call": 1,
        "frame": frames,
        "frame_sample": samples,
        "centred": samples * plan.remove_mean,
        "emphasised": samples * (plan.frame_preemphasis_q15 > 0),
        "butterfly": frames * (half // 2) * (plan.points_log2 - 1) * plan.is_fast,
        "part_sample": frames * plan.points * (plan.points // plan.parts) if plan.parts else 0,
        "part": points * plan.parts,
        "point": points,
        "root": points * plan.magnitude,
        "weight": frames * len(plan.weights),
        "band": frames * plan.bands,
        "energy_sample": samples * of_frame,
        "energy_point": points * (plan.energy == ENERGY["spectrum"]),
        "product": frames * plan.cepstra * plan.bands,
        "cepstrum": width * (plan.cepstra > 0),
        "mean": width * plan.normalise_mean,
        "division": plan.columns * plan.normalise_mean,
        "difference": width * (plan.deltas == DIFFERENCES),
        "slope": width * (plan.deltas == SLOPES),
        "slope_row": width * plan.reach * (plan.deltas == SLOPES),
    }


def _load_loops(plan: FrontEndPlan) -> Loops:
    numbers = len(plan.window_q15) + 2 * plan.factors_q14.size + len(plan.weights) + 4 * plan.bands
    return loading(numbers, plan.transform.size)


def _message(plan: FrontEndPlan) -> Message:
    words = [plan.samples, plan.first, plan.beyond, plan.frames, plan.frame_samples, plan.hop_samples, plan.points]
    words += [plan.points_log2, plan.parts, plan.signal_preemphasis_q15, plan.frame_preemphasis_q15, plan.remove_mean]
    words += [plan.lift_max, plan.end, plan.magnitude, plan.bands, plan.factor_q29, plan.cepstra, plan.transform_q]
    words += [plan.energy, plan.energy_at, plan.columns, plan.normalise_mean, plan.deltas, plan.reach]
    words += wide(plan.floor, plan.offset_q16, plan.least_q16, plan.range_q16, plan.gain_q16, plan.level_q16)
    words += wide(plan.energy_offset_q16, plan.energy_least_q16)
    arrays = [narrow(plan.window_q15), word(plan.factors_q14), word(plan.band_first), word(plan.band_count)]
    return Message(words, [*arrays, narrow(plan.weights), narrow(plan.transform)])


def _shape(plan: FrontEndPlan, _inputs: Sequence[Ints]) -> Shape:
    return (plan.frames, plan.columns * (3 if plan.deltas else 1))


FRONT_END = DspOperator(
    plan=_plan,
    fits=_fits,
    run=front_end,
    input_q=15,
    program="front_end",
    message=_message,
    output_shape=_shape,
    loops=_loops,
    load_loops=_load_loops,
)

OPERATORS = {"front_end": FRONT_END}
