"""Models of int8 on the simulated DSP: the law of int8 layers, and a model's time for it.

What is computed is the reference itself (`leo_runtime/layers`), whose int8 arithmetic is in integers throughout, or a
program of the Hexagon instruction set that gives the same bits.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from leo_backends.checked import require_inputs
from leo_backends.dsp.cycles import Loops, packets
from leo_backends.dsp.hexagon.layers import HexagonLayers
from leo_backends.piece import as_one, as_stored
from leo_runtime.backend import DeviceRun
from leo_runtime.documents.binding import BoundStage
from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.layers.kinds import convolution, shape
from leo_runtime.layers.kinds.definition import Call, call_of
from leo_runtime.layers.kinds.padding import Slide
from leo_runtime.operators.model_pieces import Piece

FILE = Path(__file__).with_name("layer_packets.json")
PACKETS: dict[str, dict[str, dict[str, int]]] = json.loads(FILE.read_text())
"""Thousandths of a packet, by instruction set, kind of layer (or `call`) and loop: fitted to packets that the program
was counted to need (`tests/bench/hexagon_layers.py fit`)."""
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
            held = graph.tensors[real[0]].dtype.name
            return f"{layer.kind} is of {held}: quantise the model, by `leo-runtime model int8`"
    return None


def packets_of(graph: LayerGraph, table: dict[str, dict[str, int]]) -> int:
    """Packets of one run, as modelled by a table of costs of an instruction set."""
    total = packets(border_loops(graph), table["call"])
    for layer in graph.layers:
        total += packets(loops(call_of(graph, layer)), table.get(layer.kind, {}))
    return total


def border_loops(graph: LayerGraph) -> Loops:
    """What happens once a run: the call, and bytes copied in and out."""
    return {"call": 1, "border": sum(graph.tensors[number].size for number in (*graph.inputs, *graph.outputs))}


def loops(call: Call) -> Loops:
    """How often the inside of each of a layer's loops runs (`hexagon/program/layers.c`)."""
    return _LOOPS[call.kind](call)


def _values(call: Call) -> int:
    return sum(out.size for out in call.outputs)


def _pairs(call: Call) -> int:
    """Pixels of the output, two at a time."""
    return -(-call.outputs[0].size // call.outputs[0].shape[-1] // 2)


def _product(call: Call) -> Loops:
    """Two pixels by two outputs; of the vector unit four pixels by 32 outputs, a last pixel alone."""
    pairs, outputs, inputs = _pairs(call), call.outputs[0].shape[-1], math.prod(call.input(1).shape[1:])
    blocks, eights = pairs * -(-outputs // 2), -(-inputs // 8)
    pixels = call.outputs[0].size // outputs
    alone = int(pixels % 4 == 1)
    fours, lanes = -(-pixels // 4) - alone, -(-outputs // 32)
    return {
        "layer": 1,
        "pair": pairs,
        "block": blocks,
        "step": blocks * eights,
        "vector_four": fours,
        "vector_block": fours * lanes,
        "vector_step": fours * lanes * 2 * eights,
        "vector_one_block": alone * lanes,
        "vector_one_step": alone * lanes * 2 * eights,
        "vector_eight": (4 * fours + alone) * eights,
        **_scaled(call, pairs),
    }


def _scaled(call: Call, pairs: int) -> Loops:
    """Sums scaled, two pixels at a time; by the vector unit where all are scaled by less than a quarter."""
    outputs = call.outputs[0].shape[-1]
    if any(one.shift < 33 for one in convolution.multipliers(call)):
        return {"scaled_two": pairs * outputs, "vector_slow": pairs * outputs}
    return {
        "scaled_two": pairs * outputs,
        "vector_row": 2 * pairs,
        "vector_lanes": 2 * pairs * -(-outputs // 128),
        **({"vector_byte": 2 * pairs * outputs} if outputs % 8 else {"vector_bytes": pairs * outputs // 4}),
    }


def _dense(call: Call) -> Loops:
    inputs = call.input(1).shape[1]
    rows = 2 * _pairs(call)
    if inputs % 8 == 0:
        return _product(call)
    return _product(call) | {"row": rows, "byte": rows * inputs, "vector_copy": rows * -(-inputs // 128)}


def _conv(call: Call) -> Loops:
    down, across = convolution.conv_slides(call)
    channels, found = call.input(1).shape[3], _product(call)
    if down.taps == across.taps == 1 and channels % 8 == 0 and not (down.before or across.before):
        return found
    # A row of taps that lies in the image is copied at once, any other tap by tap.
    whole = sum(0 <= _first(across, i) <= across.length - across.taps for i in range(across.count))
    inside = sum(
        0 <= _first(down, i) + tap * down.dilation < down.length for i in range(down.count) for tap in range(down.taps)
    )
    rows = whole * inside if across.dilation == 1 else 0
    broken = (down.count * across.count * down.taps - rows) * across.taps
    copied = down.count * across.count * down.taps * across.taps * channels
    moved = {"eight": copied // 8} if channels % 8 == 0 else {"byte": copied}
    vectors = rows * -(-across.taps * channels // 128) + broken * -(-channels // 128)
    return {**found, "row": rows, "tap": broken, **moved, "vector_copy": vectors}


def _first(slide: Slide, window: int) -> int:
    """The place of a window's first tap."""
    return window * slide.stride - slide.before


def _depthwise(call: Call) -> Loops:
    down, across = convolution.conv_slides(call)
    pairs, outputs, taps = _pairs(call), call.outputs[0].shape[-1], down.taps * across.taps
    found = {"layer": 1, "pair": pairs, "tap": 2 * pairs * taps, **_scaled(call, pairs)}
    if outputs == call.input(0).shape[-1] and outputs % 4 == 0:
        return found | {"four": pairs * outputs // 2, "four_tap": pairs * taps * outputs // 2}
    return found | {"one": 2 * pairs * outputs, "one_tap": 2 * pairs * taps * outputs}


def _pool(loop: str) -> Callable[[Call], Loops]:
    def of(call: Call) -> Loops:
        taps, values = call.number("filter_height") * call.number("filter_width"), _values(call)
        places = values // call.input(0).shape[-1]
        return {"layer": 1, "place": places, "tap": places * taps, loop: taps * values, f"{loop}_value": values}

    return of


def _mean(call: Call) -> Loops:
    return {"layer": 1, "mean": _values(call), "mean_step": call.input(0).size}


def _each(loop: str) -> Callable[[Call], Loops]:
    return lambda call: {"layer": 1, loop: _values(call)}


def _runs(*parts: tuple[int, int], aligned: bool) -> Loops:
    """Runs of bytes, so many of so long: eight at a time where both places are aligned."""
    total = sum(count * length for count, length in parts)
    moved = {"eight": total // 8} if aligned else {"byte": total}
    return {"layer": 1, "run": sum(count for count, _ in parts), **moved}


def _joined(axis: Callable[[Call], int]) -> Callable[[Call], Loops]:
    def of(call: Call) -> Loops:
        out = call.outputs[0].shape
        outer, total = math.prod(out[: axis(call)]), math.prod(out[axis(call) :])
        lengths = [call.input(i).size // outer for i in range(len(call.inputs))]
        return _runs(*((outer, length) for length in lengths), aligned=not any(n % 8 for n in (*lengths, total)))

    return of


def _split(call: Call) -> Loops:
    axis, _ = shape.split_parts(call)
    outer = math.prod(call.input(0).shape[:axis])
    lengths = [out.size // outer for out in call.outputs]
    return _runs(*((outer, length) for length in lengths), aligned=not any(n % 8 for n in (sum(lengths), *lengths)))


def _pad(call: Call) -> Loops:
    sizes = call.input(0).shape
    lies = sizes[-1] % 8 or call.outputs[0].shape[-1] % 8 or shape.pads(call)[-1][0] % 8
    return {**_runs((math.prod(sizes[:-1]), sizes[-1]), aligned=not lies), "filled": call.outputs[0].size // 8}


def _slice(call: Call) -> Loops:
    taken = shape.slice_of(call)
    last = taken[-1] if len(taken) == len(call.input(0).shape) else slice(None)
    run = len(range(call.input(0).shape[-1])[last]) if isinstance(last, slice) else 1
    found = _runs((_values(call) // max(1, run), run), aligned=False)
    return {**found, "apart": found.pop("byte")} if isinstance(last, slice) and last.step not in (None, 1) else found


def _deep_to_wide(call: Call) -> Loops:
    run = call.input(0).shape[-1] // call.number("block_size")
    lies = run % 8
    return _runs((call.input(0).size // max(1, run), run), aligned=not lies)


def _resize(call: Call) -> Loops:
    _, lines, columns, channels = call.outputs[0].shape
    return {"layer": 1, "line": lines, "place": lines * columns, "mixed": lines * columns * channels}


def _softmax(call: Call) -> Loops:
    return {"layer": 1, "row": _values(call) // call.input(0).shape[-1], "share": _values(call)}


_LOOPS: dict[str, Callable[[Call], Loops]] = {
    "CONV_2D": _conv,
    "FULLY_CONNECTED": _dense,
    "DEPTHWISE_CONV_2D": _depthwise,
    "ADD": _each("sum"),
    "SUB": _each("sum"),
    "RELU": _each("looked_up"),
    "RELU6": _each("looked_up"),
    "PRELU": _each("sloped"),
    "RESIZE_BILINEAR": _resize,
    "DEPTH_TO_SPACE": _deep_to_wide,
    "AVERAGE_POOL_2D": _pool("average"),
    "MAX_POOL_2D": _pool("greatest"),
    "MEAN": _mean,
    "LOGISTIC": _each("looked_up"),
    "SOFTMAX": _softmax,
    # Of reals at the door, by who hands over.
    "QUANTIZE": lambda call: _each("scaled_one")(call) if call.input(0).scale else {},
    "DEQUANTIZE": lambda _call: {},
    "CONCATENATION": _joined(shape.concat_axis),
    "PACK": _joined(shape.pack_axis),
    "PAD": _pad,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _slice,
    # It lies as it lay.
    "RESHAPE": lambda _call: {},
}


def weight_bytes(graph: LayerGraph) -> int:
    """What a graph takes in the DSP's memory: its constants as they are."""
    read = {number for layer in graph.layers for number in layer.inputs if number >= 0}
    return sum(graph.tensors[number].bytes for number in read if graph.tensors[number].data is not None)


class DspModel:
    """A model, or pieces of one, on the simulated DSP; it knows its device's time and energy."""

    def __init__(
        self,
        stage: BoundStage,
        piece: Piece,
        program: HexagonLayers | None,
        time_us: Callable[[int], int],
        active_mw: int,
        real_time: bool,
        modelled: int,
    ) -> None:
        """`program`: what computes it, or None for the reference; `time_us`: how long so many packets take.

        `modelled`: packets of one run, as modelled.
        """
        assert piece.graph is not None, "the DSP claims what can be taken apart alone"
        self._stage = stage
        self._takes = piece.takes
        self._graph = piece.graph
        self._program = program
        self._time_us = time_us
        self._active_mw = active_mw
        self._real_time = real_time
        self.packets = modelled
        """Of one run, as modelled."""
        self.device_us = time_us(modelled)
        """Of one run, as modelled."""

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage; in real time it takes as long as the device would, or longer if this machine is slower."""
        return self.timed(inputs).output

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        """Compute the stage, with the time and energy of the packets that were counted, or else of the model's."""
        start = time.perf_counter()
        require_inputs(self._stage, inputs)
        arrays = as_stored(inputs, self._takes)
        if self._program is None:
            given, counted = reference.run(self._graph, arrays), self.packets
        else:
            given, run = self._program.counted(arrays)
            counted = run.packets
        # What goes through a piece is copied: outputs are the caller's.
        output = as_one(self._stage, [array.copy() for array in given])
        device_us = self._time_us(counted)
        if self._real_time:
            time.sleep(max(0.0, device_us / 1e6 - (time.perf_counter() - start)))
        return DeviceRun(output, device_us, device_us * self._active_mw)
