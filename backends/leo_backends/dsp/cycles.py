"""How long the DSP takes: each loop of an operator, so many times, at so many packets (`packets.py`).

A hardware thread issues at most one packet of instructions in each of its cycles, so packets are cycles wherever no
packet waits; for memory it may wait at each of `passes`. The loops are those of the programs in `hexagon/program`, and
so is how they cut their work; a loop whose name begins with `vector` is there where the vector unit is.
"""

from __future__ import annotations

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

BLOCK_ROWS = 8
"""Rows that go through all layers of a network together (`hexagon/program/dense.c`)."""

Loops = dict[str, int]
"""How often the inside of each loop runs; `call` is what happens once."""


def packets(plan: Plan, table: dict[str, int]) -> int:
    """Packets of one run; `table` gives thousandths of a packet for each loop of the operator."""
    return total(loops(plan), table)


def load_packets(plan: Plan, table: dict[str, int]) -> int:
    """Packets of copying a plan into the DSP's memory and laying out its weights."""
    return total(load_loops(plan), table)


def passes(plan: Plan) -> int:
    """How often a run goes through the plan's weights: for every frame of a mixture, for every block of rows."""
    match plan:
        case GmmPlan():
            return plan.frames
        case DensePlan():
            return -(-plan.rows // BLOCK_ROWS)
        case _:
            return 1


def total(loops: Loops, table: dict[str, int]) -> int:
    """Packets of so many loops."""
    return -(-sum(table.get(loop, 0) * count for loop, count in loops.items()) // 1000)


def load_loops(plan: Plan) -> Loops:
    """How often the loops of loading a plan run: numbers are copied, and weights laid out for the inner loops."""
    match plan:
        case GmmPlan():
            return {
                **_loading(2 * plan.means.size + 2 * plan.constants_q16.size, plan.means.size),
                "vector_load_weight": plan.classes * -(-plan.components // 64) * 64 * plan.dimensions,
            }
        case DensePlan():
            padded = [-(-inputs // 4) * 4 for inputs in plan.sizes[:-1]]
            layers = list(zip(plan.sizes[1:], padded, strict=True))
            return {
                **_loading(sum(weights.size for weights in plan.weights), sum(a * b for a, b in layers)),
                "load_row": sum(plan.sizes[1:]),
                "vector_load_weight": sum(-(-outputs // 32) * 32 * inputs for outputs, inputs in layers),
            }
        case MfccPlan():
            return _loading(_log_mel_numbers(plan.log_mel), plan.transform.size)
        case LogMelPlan():
            return _loading(_log_mel_numbers(plan), 0)
        case VoiceGatePlan():
            return _loading(_spectrum_numbers(plan.spectrum), 0)
        case MotionFeaturesPlan():
            return _loading(2 * plan.samples + 4 * len(plan.band_of), 0)
        case WindowPlan() | EnergyGatePlan() | FusePlan():
            return _loading(0, 0)


def _loading(numbers: int, weights: int) -> Loops:
    return {"load": 1, "load_number": numbers, "load_weight": weights}


def _log_mel_numbers(plan: LogMelPlan) -> int:
    return _spectrum_numbers(plan.spectrum) + len(plan.weights) + 4 * plan.bands


def _spectrum_numbers(plan: SpectrumPlan) -> int:
    return len(plan.window_q15) + 2 * plan.factors_q14.size


def loops(plan: Plan) -> Loops:
    """How often each loop of a plan's operator runs."""
    match plan:
        case WindowPlan():
            return {"call": 1, "value": plan.values}
        case EnergyGatePlan():
            return {"call": 1, "value": plan.values}
        case VoiceGatePlan():
            return {**_spectrum(plan.spectrum), "log2": plan.spectrum.frames * (plan.end - plan.first)}
        case LogMelPlan():
            return _log_mel(plan)
        case MfccPlan():
            cepstra = plan.log_mel.spectrum.frames * plan.cepstra
            return {
                **_log_mel(plan.log_mel),
                "product": cepstra * plan.log_mel.bands,
                "cepstrum": cepstra,
                "mean": cepstra * plan.normalise_mean,
                "division": plan.cepstra * plan.normalise_mean,
                "delta": cepstra * plan.deltas,
            }
        case GmmPlan():
            components = plan.frames * plan.classes * plan.components
            return {
                "call": 1,
                "column": plan.frames * plan.dimensions,
                "distance": components * -(-plan.dimensions // 4),
                "component": components,
                "class": plan.frames * plan.classes,
                "vector_distance": plan.frames * plan.classes * -(-plan.components // 64) * plan.dimensions,
            }
        case DensePlan():
            return _dense(plan)
        case MotionFeaturesPlan():
            points = int((plan.band_of >= 0).sum())
            return {
                "call": 1,
                "value": plan.channels * plan.samples,
                "turn": points * plan.samples,
                "product": plan.channels * points * -(-plan.samples // 4),
                "point": plan.channels * points,
                "band": plan.channels * (2 + plan.bands),
            }
        case FusePlan():
            return {"call": 1, "product": plan.values * len(plan.weights), "value": plan.values}


def _dense(plan: DensePlan) -> Loops:
    """Products are in tiles of two rows by two outputs by four inputs; a single row goes with four outputs.

    The vector unit takes one row by 32 outputs by two inputs, and no more than 256 inputs in a row.
    """
    steps = [-(-inputs // 4) for inputs in plan.sizes[:-1]]
    layers = list(zip(plan.sizes[1:], steps, strict=True))
    pairs, single = divmod(plan.rows, 2)
    return {
        "call": 1,
        "input": 0 if plan.normalises else plan.rows * plan.sizes[0],
        "normalised": plan.rows * plan.sizes[0] if plan.normalises else 0,
        "tile": pairs * sum(-(-outputs // 2) for outputs, _ in layers),
        "tile_step": pairs * sum(-(-outputs // 2) * step for outputs, step in layers),
        "row": single * sum(-(-outputs // 4) for outputs, _ in layers),
        "row_step": single * sum(-(-outputs // 4) * step for outputs, step in layers),
        "vector": plan.rows * sum(-(-outputs // 32) * -(-step // 64) for outputs, step in layers),
        "vector_step": plan.rows * sum(-(-outputs // 32) * step for outputs, step in layers),
        "output": plan.rows * sum(plan.sizes[1:]),
        "layer": plan.rows * len(layers),
        "curve": plan.rows * sum(plan.sizes[1:-1]) if plan.activation in ("sigmoid", "tanh") else 0,
        "share": plan.rows * plan.sizes[-1] if plan.softmax else 0,
        "average": plan.rows * plan.sizes[-1] if plan.average else 0,
    }


def _spectrum(plan: SpectrumPlan) -> Loops:
    half = plan.points // 2
    return {
        "call": 1,
        "sample": (plan.frames - 1) * plan.hop_samples + plan.frame_samples,
        "frame": plan.frames,
        "frame_sample": plan.frames * plan.frame_samples,
        "butterfly": plan.frames * (half // 2) * (plan.points_log2 - 1),
        "point": plan.frames * (half + 1),
    }


def _log_mel(plan: LogMelPlan) -> Loops:
    frames = plan.spectrum.frames
    return {**_spectrum(plan.spectrum), "weight": frames * len(plan.weights), "band": frames * plan.bands}
