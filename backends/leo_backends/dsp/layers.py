"""Models of int8 on the simulated DSP: the law of int8 layers, and a model's time for it.

What is computed is the reference itself (`leo_runtime/layers`), whose int8 arithmetic is in integers throughout. There
are no programs of the Hexagon instruction set for it yet, so packets are those of inner loops alone, as compiled.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from leo_backends.checked import require_inputs
from leo_backends.dsp.cycles import Loops
from leo_backends.piece import as_one, as_stored
from leo_runtime.backend import DeviceRun
from leo_runtime.documents.workload import BoundStage
from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import Call, call_of
from leo_runtime.operators.model_pieces import Piece

PACKETS: dict[str, dict[str, int]] = {
    "v5": {"product": 83, "tap": 350, "scaled": 3750, "sum": 3000, "greatest": 1500, "average": 1125},
    "v67": {"product": 87, "tap": 480, "scaled": 3750, "sum": 3250, "greatest": 1500, "average": 1125},
    "v67-hvx": {"product": 6, "tap": 86, "scaled": 3750, "sum": 3250, "greatest": 1500, "average": 1125},
}
"""Thousandths of a packet for each loop, by instruction set. Counted in what clang 14 makes of each loop, at its
greatest unrolling: products of 8 bytes a step (`M5_vrmacbsu`; HVX `V6_vrmpybus_acc`, of 128) over 256 x 256, taps of a
depthwise 3 x 3 in 16 bits in pairs (HVX: as vectorised), a sum scaled by a product of 64 bits, two values added by the
law, the greater of two, one added to a sum. Nothing is counted for what lies between the loops."""
for _table in PACKETS.values():
    # A byte copied, or looked up; a share of a softmax divides, which is modelled as a loop of 32 steps.
    _table.update({"call": 0, "moved": 1000, "looked_up": 1500, "share": 64_000})

_BYTES = ("int8", "uint8")


def lacks(graph: LayerGraph) -> str | None:
    """What of a graph the DSP does not compute, as a clause; None where it computes all of it.

    Reals it knows at its door alone: as what a graph takes and quantises first, or dequantises last and gives.
    """
    taken, given = set(graph.inputs), set(graph.outputs)
    for layer in graph.layers:
        call = call_of(graph, layer)
        if layer.kind not in _LOOPS:
            return f"{layer.kind} is not computed there"
        moving = [number for number in (*layer.inputs, *layer.outputs) if number >= 0]
        real = [n for n in moving if graph.tensors[n].data is None and graph.tensors[n].dtype.name not in _BYTES]
        at_door = (layer.kind == "QUANTIZE" and set(real) <= taken) or (
            layer.kind == "DEQUANTIZE" and set(real) <= given and call.input(0).dtype.name in _BYTES
        )
        if real and not at_door:
            return f"{layer.kind} is of {graph.tensors[real[0]].dtype.name}: quantise the model to int8"
    return None


def loops(graph: LayerGraph) -> Loops:
    """How often the inside of each loop runs, in one run."""
    total: Counter[str] = Counter({"call": 1})
    for layer in graph.layers:
        total.update(_LOOPS[layer.kind](call_of(graph, layer)))
    return dict(total)


def _values(call: Call) -> int:
    return sum(math.prod(out.shape) for out in call.outputs)


def _product(call: Call) -> Loops:
    return {"product": KINDS[call.kind].macs(call), "scaled": _values(call)}


def _depthwise(call: Call) -> Loops:
    return {"tap": KINDS[call.kind].macs(call), "scaled": _values(call)}


def _pool(loop: str) -> Callable[[Call], Loops]:
    def of(call: Call) -> Loops:
        window = call.number("filter_height") * call.number("filter_width")
        return {loop: window * _values(call), "moved": _values(call)}

    return of


def _mean(call: Call) -> Loops:
    return {"average": math.prod(call.input(0).shape), "scaled": _values(call)}


def _each(loop: str) -> Callable[[Call], Loops]:
    return lambda call: {loop: _values(call)}


_LOOPS: dict[str, Callable[[Call], Loops]] = {
    "CONV_2D": _product,
    "FULLY_CONNECTED": _product,
    "DEPTHWISE_CONV_2D": _depthwise,
    "ADD": _each("sum"),
    "AVERAGE_POOL_2D": _pool("average"),
    "MAX_POOL_2D": _pool("greatest"),
    "MEAN": _mean,
    "LOGISTIC": _each("looked_up"),
    "SOFTMAX": _each("share"),
    "QUANTIZE": _each("scaled"),
    "DEQUANTIZE": _each("moved"),
    **dict.fromkeys(("CONCATENATION", "PACK", "PAD", "SPLIT_V", "STRIDED_SLICE"), _each("moved")),
    # It lies as it lay.
    "RESHAPE": lambda _call: {},
}


def weight_bytes(graph: LayerGraph) -> int:
    """What a graph takes in the DSP's memory: its constants as they are."""
    read = {number for layer in graph.layers for number in layer.inputs if number >= 0}
    return sum(graph.tensors[number].bytes for number in read if graph.tensors[number].data is not None)


class DspModel:
    """A model, or pieces of one, on the simulated DSP; it knows its device's time and energy."""

    def __init__(self, stage: BoundStage, piece: Piece, device_us: int, device_nj: int, real_time: bool) -> None:
        assert piece.graph is not None, "the DSP claims what can be taken apart alone"
        self._stage = stage
        self._takes = piece.takes
        self._graph = piece.graph
        self.device_us = device_us
        """Of one run, as modelled."""
        self._device_nj = device_nj
        self._real_time = real_time

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage; in real time it takes as long as the device would, or longer if this machine is slower."""
        return self.timed(inputs).output

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        """Compute the stage, with the model's time and energy."""
        start = time.perf_counter()
        require_inputs(self._stage, inputs)
        output = as_one(self._stage, reference.run(self._graph, as_stored(inputs, self._takes)))
        if self._real_time:
            time.sleep(max(0.0, self.device_us / 1e6 - (time.perf_counter() - start)))
        # What goes through a piece is copied: outputs are the caller's.
        return DeviceRun(
            output.copy() if any(output is one for one in inputs) else output, self.device_us, self._device_nj
        )
