"""Where tensors of layers lie on the device, and how they get there.

A tensor lies as lines of pixels of channels. *Aligned*, each pixel has its channels padded with zeros to whole vectors,
and an image has a margin of zeros as wide as what reads it needs: so windows need no guard, and a convolution is a
product whose rows overlap, as frames of a signal do. *Dense*, nothing is padded: so tensors are reshaped, and cross a
stage's border. int8 is held as whole numbers in float32, less the zero point, which makes 0 the zero of every padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from leo_backends.opencl.plans import Buffer, Family, Step, constant
from leo_backends.opencl.tuning import vector_width
from leo_runtime.layers.graph import Layer, LayerGraph, Shape, Tensor
from leo_runtime.layers.kinds import convolution, shape
from leo_runtime.layers.kinds.definition import call_of
from leo_runtime.layers.kinds.padding import Slide

FILE = "layers.cl"
_STORED = {"int8": "char", "uint8": "uchar"}


@dataclass(frozen=True, slots=True)
class Border:
    """A tensor as it crosses the stage's border: `tensor.shape` values of `tensor.dtype`, dense, in a buffer."""

    buffer: Buffer
    tensor: Tensor


@dataclass(eq=False, slots=True)
class GraphPlan:
    """All launches of a piece of a model."""

    inputs: list[Border] = field(default_factory=list)
    outputs: list[Border] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def buffers(self) -> list[Buffer]:
        """Every buffer, in the order of first use."""
        seen = {id(border.buffer): border.buffer for border in (*self.inputs, *self.outputs)}
        for step in self.steps:
            seen |= {id(a): a for a in step.arguments if isinstance(a, Buffer)}
        return list(seen.values())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: pixel (i, j) begins at `first + i * line + j * step`, in values of float32."""

    buffer: Buffer
    first: int
    line: int
    step: int

    @property
    def arguments(self) -> tuple[Buffer, int, int, int]:
        """As the kernels take it."""
        return self.buffer, self.first, self.line, self.step


def extent(shape: Shape) -> tuple[int, int, int]:
    """A tensor's lines, their width and its channels. Only one image is more than one line."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    return 1, math.prod(shape[:-1]), shape[-1] if shape else 1


class Layout:
    """Where the tensors of a graph lie, in the plan that is being made. Not for several threads."""

    def __init__(self, graph: LayerGraph, family: Family) -> None:
        self.graph = graph
        self.family = family
        self.vec = vector_width(family.tuning.device)
        self.plan = GraphPlan()
        self._aligned: dict[int, Place] = {}
        self._dense: dict[int, Place] = {}
        self._raw: dict[int, Border] = {}
        """Inputs that nothing has read yet."""
        self._maker = {number: index for index, layer in enumerate(graph.layers) for number in layer.outputs}
        self.readers: dict[int, list[int]] = {}
        for index, layer in enumerate(graph.layers):
            for number in layer.inputs:
                self.readers.setdefault(number, []).append(index)
        self.done: set[int] = set()
        """Layers that are part of an earlier launch."""
        self.none = Buffer(self.vec)
        self._margins = self._needed_margins()
        self._homes: dict[int, tuple[Buffer, int]] = {}
        """Where tensors lie densely that are parts of another: the buffer, and the place in it."""
        for layer in graph.layers:
            self._find_homes(layer)
        for number in graph.inputs:
            tensor = graph.tensors[number]
            border = Border(Buffer(-(-tensor.bytes // 4)), tensor)
            self.plan.inputs.append(border)
            self._raw[number] = border
            if tensor.dtype == np.float32:
                self._dense[number] = self.dense_place(tensor, border.buffer)

    @property
    def is_cpu(self) -> bool:
        """Whether the device is a CPU: a work-item is then worth a loop."""
        return self.family.tuning.device.get("type") == "cpu"

    def _needed_margins(self) -> dict[int, tuple[int, int, int, int]]:
        """Above, below, left and right of tensors that windows without guards read."""
        margins: dict[int, tuple[int, int, int, int]] = {}
        for layer in self.graph.layers:
            if layer.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                continue
            down, across = convolution.conv_slides(call_of(self.graph, layer))
            number = layer.inputs[0]
            needed = (down.before, down.after, across.before, across.after)
            padded = self._spatial_pad(number)
            if padded is not None:
                number, pads = padded
                needed = (needed[0] + pads[0], needed[1] + pads[1], needed[2] + pads[2], needed[3] + pads[3])
            margins[number] = tuple(map(max, margins.get(number, (0, 0, 0, 0)), needed))  # type: ignore[assignment]  # four of four
        return margins

    def _spatial_pad(self, number: int) -> tuple[int, tuple[int, int, int, int]] | None:
        """Of what a PAD of lines and columns alone gives: what it reads, and how wide it pads."""
        layer = self.pad_of(number)
        if layer is None or number in self.graph.outputs:
            return None
        _, (above, below), (left, right), channels = shape.pads(call_of(self.graph, layer))
        return None if any(channels) else (layer.inputs[0], (above, below, left, right))

    def pad_of(self, number: int) -> Layer | None:
        """The PAD that gives a tensor; None where another kind does."""
        made_by = self._maker.get(number)
        layer = None if made_by is None else self.graph.layers[made_by]
        return layer if layer is not None and layer.kind == "PAD" else None

    def new_aligned(self, number: int, step: int | None = None) -> Place:
        """A place for a tensor with its margins."""
        lines, width, channels = extent(self.graph.tensors[number].shape)
        if number in self._homes and step is None and channels % self.vec == 0 and number not in self._with_margins():
            self._aligned[number] = self.new_dense(number)
            return self._aligned[number]
        step = self.vec * -(-channels // self.vec) if step is None else step
        above, below, left, right = self._margins.get(number, (0, 0, 0, 0))
        line = (left + width + right) * step
        place = Place(Buffer((above + lines + below) * line + self.vec), above * line + left * step, line, step)
        self._aligned[number] = place
        return place

    def new_dense(self, number: int) -> Place:
        """A place for a tensor without any padding."""
        self.set_dense(number, *self._homes.get(number, (Buffer(self.graph.tensors[number].size), 0)))
        return self._dense[number]

    def _find_homes(self, layer: Layer) -> None:
        """Let what a CONCATENATION puts one behind the other be made there at once, also through a RESHAPE."""
        out = self.graph.tensors[layer.outputs[0]]
        if layer.kind != "CONCATENATION":
            return
        axis = shape.concat_axis(call_of(self.graph, layer))
        if math.prod(out.shape[:axis]) != 1 or (axis == 3 and len(out.shape) == 4):
            return
        buffer, done = Buffer(out.size), 0
        self._homes[layer.outputs[0]] = buffer, 0
        for number in layer.inputs:
            made: int | None = number
            while made is not None and self._may_lie_elsewhere(made):
                self._homes[made] = buffer, done
                maker = self.graph.layers[self._maker[made]]
                made = maker.inputs[0] if maker.kind == "RESHAPE" else None
            done += self.graph.tensors[number].size

    def _may_lie_elsewhere(self, number: int) -> bool:
        """Whether a tensor is made by a layer, is read by one, and lies nowhere else yet."""
        is_made = number in self._maker and self.pad_of(number) is None
        return is_made and self.only_reader(number) is not None and number not in self._homes

    def set_dense(self, number: int, buffer: Buffer, first: int) -> None:
        """Say that a tensor lies without padding in a buffer that is there."""
        place = self.dense_place(self.graph.tensors[number], buffer)
        self._dense[number] = Place(buffer, first, place.line, place.step)

    @staticmethod
    def dense_place(tensor: Tensor, buffer: Buffer) -> Place:
        """A tensor without padding at the front of a buffer."""
        _, width, channels = extent(tensor.shape)
        return Place(buffer, 0, width * channels, channels)

    def _is_dense(self, number: int, place: Place) -> bool:
        _, width, channels = extent(self.graph.tensors[number].shape)
        return place.step == channels and place.line == width * channels

    def aligned(self, number: int) -> Place:
        """Where a tensor lies aligned, or whatever lies so by itself; it is moved there where it does not."""
        if number in self._aligned:
            return self._aligned[number]
        tensor = self.graph.tensors[number]
        if tensor.data is not None:
            return self._constant_place(number)
        layer = self.pad_of(number)
        if layer is not None and number not in self._dense:
            return self._padded(number, layer)
        lines, width, channels = extent(tensor.shape)
        # An image that only convolutions read keeps its few channels: their rows are then unbroken.
        kinds = {self.graph.layers[index].kind for index in self.readers.get(number, ())}
        packed = number in self._raw and kinds == {"CONV_2D"} and channels < self.vec
        fits = packed or channels % self.vec == 0
        if number in self._dense and fits and number not in self._with_margins():
            self._aligned[number] = self._dense[number]
            return self._dense[number]
        place = self.new_aligned(number, channels if packed else None)
        if number in self._dense:
            self.move_pixels(self._dense[number], place, lines, width, channels)
        else:
            self._widen(self._raw[number], place)
        return place

    def _with_margins(self) -> set[int]:
        return {number for number, margin in self._margins.items() if any(margin)}

    def dense(self, number: int) -> Place:
        """Where a tensor lies without any padding; it is moved there where it does not."""
        if number in self._dense:
            return self._dense[number]
        tensor = self.graph.tensors[number]
        if number not in self._aligned and number in self._raw:
            place = self.new_dense(number)
            self._widen(self._raw[number], place)
            return place
        source = self.aligned(number)
        if self._is_dense(number, source):
            self._dense[number] = source
            return source
        place = self.new_dense(number)
        self.move_pixels(source, place, *extent(tensor.shape))
        return place

    def anywhere(self, number: int) -> Place:
        """Where a tensor lies."""
        return self._dense[number] if number in self._dense and number not in self._aligned else self.aligned(number)

    def _constant_place(self, number: int) -> Place:
        tensor = self.graph.tensors[number]
        assert tensor.data is not None
        values = tensor.data.astype(np.float32) - zero_of(tensor)
        lines, width, channels = extent(tensor.shape)
        step = self.vec * -(-channels // self.vec)
        padded = np.zeros((lines, width, step), np.float32)
        padded[:, :, :channels] = values.reshape(lines, width, channels)
        self._aligned[number] = Place(constant(padded), 0, width * step, step)
        return self._aligned[number]

    def _padded(self, number: int, layer: Layer) -> Place:
        """What a PAD gives, written out."""
        _, (above, _), (left, _), (before, _) = shape.pads(call_of(self.graph, layer))
        source, place = self.aligned(layer.inputs[0]), self.new_aligned(number)
        first = place.first + above * place.line + left * place.step + before
        inside = Place(place.buffer, first, place.line, place.step)
        self.move_pixels(source, inside, *extent(self.graph.tensors[layer.inputs[0]].shape))
        return place

    def windowed(self, number: int, down: Slide, across: Slide) -> Place:
        """Where the first window over a tensor begins, in its margin."""
        padded = self._spatial_pad(number)
        if padded is not None:
            source, (above, _, left, _) = padded
            place = self.aligned(source)
        else:
            place, above, left = self.aligned(number), 0, 0
        first = place.first - (above + down.before) * place.line - (left + across.before) * place.step
        return Place(place.buffer, first, place.line, place.step)

    def only_reader(self, number: int) -> int | None:
        """The one layer that reads a tensor; None where there are others, or it is given."""
        readers = self.readers.get(number, [])
        return readers[0] if len(readers) == 1 and number not in self.graph.outputs else None

    def is_there(self, number: int) -> bool:
        """Whether a tensor has its values by now, or has them as soon as it is asked for."""
        tensor = self.graph.tensors[number]
        layer = self.pad_of(number)
        if layer is not None:
            return self.is_there(layer.inputs[0])
        return tensor.data is not None or any(number in places for places in (self._aligned, self._dense, self._raw))

    def launch(
        self, kernel: str, options: Sequence[str], size: tuple[int, int], *arguments: Buffer | int | float
    ) -> None:
        """Add a launch; `size` in work-items. Options of products that are not named are off."""
        # A work-item is a loop of its own; on a CPU nothing is won by grouping them.
        group = (1, 1) if self.is_cpu else None
        given = dict.fromkeys(("HALF", "WHOLE", "WIDE", "BEFORE", "AFTER", "RESIDUAL"), 0)
        named: dict[str, int | str] = {kernel.upper(): 1, "SINGLE": int(self.is_cpu), "VEC": self.vec, **given}
        named |= dict(option.split("=") for option in options)
        defined = tuple(f"-D{name}={value}" for name, value in named.items())
        self.plan.steps.append(Step(FILE, kernel, defined, size, group, arguments))

    def pixels(self, width: int, lines: int) -> tuple[int, int]:
        """The work-items of a kernel of pixels: on a CPU a line each."""
        return (1 if self.is_cpu else width), lines

    def move_pixels(self, source: Place, to: Place, lines: int, width: int, channels: int) -> None:
        """Each pixel's channels from one place to another."""
        if source.step == to.step == channels:
            self.move(source, to, ((1, 0, 0), (1, 0, 0), (lines, source.line, to.line)), width * channels)
        else:
            runs = ((1, 0, 0), (lines, source.line, to.line), (width, source.step, to.step))
            self.move(source, to, runs, channels)

    def move(
        self,
        source: Place,
        to: Place,
        runs: Sequence[tuple[int, int, int]],
        length: int,
        inner: tuple[int, int] = (1, 1),
    ) -> None:
        """Runs of values, by how many there are along three axes, and how far apart in either place."""
        (size0, x0, y0), (size1, x1, y1), (size2, x2, y2) = runs
        x, y = (source.buffer, source.first, x0, x1, x2, inner[0]), (to.buffer, to.first, y0, y1, y2, inner[1])
        each = size2 if self.is_cpu else 1
        self.launch("move", (), (size0 * size1 * (size2 // each), 1), *x, *y, size1, size2, length, each)

    def _widen(self, border: Border, place: Place) -> None:
        lines, width, channels = extent(border.tensor.shape)
        options = (f"STORED={_STORED[border.tensor.dtype.name]}",)
        zero = zero_of(border.tensor)
        self.launch("widen", options, self.pixels(width, lines), border.buffer, *place.arguments, width, channels, zero)

    def given(self, number: int) -> Border:
        """An output of the graph, as it crosses the border."""
        tensor = self.graph.tensors[number]
        lines, width, channels = extent(tensor.shape)
        if tensor.dtype != np.float32:
            border = Border(Buffer(-(-tensor.bytes // 4)), tensor)
            options = (f"STORED={_STORED[tensor.dtype.name]}",)
            place = self.anywhere(number)
            self.launch(
                "narrow",
                options,
                self.pixels(width, lines),
                *place.arguments,
                border.buffer,
                width,
                channels,
                zero_of(tensor),
            )
            return border
        place = self.dense(number)
        taken = {id(border.buffer) for border in (*self.plan.inputs, *self.plan.outputs)}
        if place.first or id(place.buffer) in taken or place.buffer.data is not None:
            copy = self.dense_place(tensor, Buffer(tensor.size))
            self.move(place, copy, ((1, 0, 0),) * 3, tensor.size)
            place = copy
        return Border(place.buffer, tensor)

    def at_front(self, place: Place, values: int) -> Place:
        """A place whose values are at the front of a buffer."""
        copy = Place(Buffer(values), 0, place.line, place.step)
        self.move(place, copy, ((1, 0, 0),) * 3, values)
        return copy


def zero_of(tensor: Tensor) -> int:
    """The zero point of a tensor; 0 of one that is not quantised."""
    return tensor.zero_point[0] if tensor.scale else 0
