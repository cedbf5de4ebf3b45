"""How long the DSP takes: each loop of an operator, so many times, at so many packets (`packets.py`).

A hardware thread issues at most one packet of instructions in each of its cycles, so packets are cycles wherever no
packet waits; waiting for memory is not modelled.
"""

from __future__ import annotations

from itertools import pairwise

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

Loops = dict[str, int]
"""How often the inside of each loop runs; `call` is what happens once."""


def packets(plan: Plan, table: dict[str, int]) -> int:
    """Packets of one run; `table` gives thousandths of a packet for each loop of the operator."""
    return -(-sum(table.get(loop, 0) * count for loop, count in loops(plan).items()) // 1000)


def loops(plan: Plan) -> Loops:
    """How often each loop of a plan's operator runs."""
    match plan:
        case WindowPlan():
            return {"value": plan.values}
        case EnergyGatePlan():
            return {"call": 1, "value": plan.values}
        case VoiceGatePlan():
            return {**_spectrum(plan.spectrum), "log2": plan.spectrum.frames * (plan.end - plan.first)}
        case LogMelPlan():
            return _log_mel(plan)
        case MfccPlan():
            cepstra = plan.log_mel.spectrum.frames * plan.cepstra
            widths = 1 + plan.normalise_mean + 2 * plan.deltas
            return {**_log_mel(plan.log_mel), "product": cepstra * plan.log_mel.bands, "cepstrum": cepstra * widths}
        case GmmPlan():
            components = plan.frames * plan.classes * plan.components
            return {
                "call": 1,
                "column": plan.frames * plan.dimensions,
                "distance": components * plan.dimensions,
                "component": components,
                "class": plan.frames * plan.classes,
            }
        case DensePlan():
            hidden = sum(plan.sizes[1:-1])
            return {
                "call": 1,
                "input": plan.rows * plan.sizes[0],
                "product": plan.rows * sum(a * b for a, b in pairwise(plan.sizes)),
                "output": plan.rows * sum(plan.sizes[1:]),
                "curve": plan.rows * hidden if plan.activation in ("sigmoid", "tanh") else 0,
                "share": plan.rows * plan.sizes[-1] if plan.softmax else 0,
            }
        case MotionFeaturesPlan():
            points = plan.channels * len(plan.band_of)
            return {
                "call": 1,
                "value": plan.channels * plan.samples,
                "product": 2 * points * plan.samples,
                "point": points,
                "band": plan.channels * (2 + plan.bands),
            }
        case FusePlan():
            return {"call": 1, "product": plan.values * len(plan.weights), "value": plan.values}


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
