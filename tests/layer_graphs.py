"""Graphs of one layer, made for tests, and what LiteRT gives for a graph."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.graph import Layer, LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import Call
from leo_runtime.testing import Example, example


def real(*shape: int) -> Tensor:
    """A tensor of float32."""
    return Tensor("real", shape, np.dtype(np.float32))


def small(shape: tuple[int, ...], scale: float, zero: int) -> Tensor:
    """A tensor of int8."""
    return Tensor("small", shape, np.dtype(np.int8), (float(np.float32(scale)),), (zero,))


def fixed(values: Any, scales: Sequence[float] = (), axis: int = 0) -> Tensor:
    """A constant."""
    array = np.asarray(values)
    array.flags.writeable = False
    scales = tuple(float(np.float32(one)) for one in scales)
    return Tensor("constant", array.shape, array.dtype, scales, (0,) * len(scales), axis, array)


def one_layer(
    kind: str, inputs: Sequence[Tensor | None], output: Tensor | None = None, version: int = 1, **options: Any
) -> LayerGraph:
    """A graph of one layer; options not given are at their defaults. The output is shaped as its kind says, of the
    first input's type and scale unless `output` has others."""
    meaning = KINDS[kind]
    chosen = {field.name: field.default for field in meaning.options} | options
    there = [tensor for tensor in inputs if tensor is not None]
    numbers = tuple(-1 if one is None else next(i for i, t in enumerate(there) if t is one) for one in inputs)
    like = output or dataclasses.replace(there[0], data=None)
    count = len(KINDS[kind].shapes(Call(kind, chosen, tuple(inputs), (like,))))
    shapes = KINDS[kind].shapes(Call(kind, chosen, tuple(inputs), (like,) * count))
    outputs = [dataclasses.replace(like, shape=shape, name=f"out {i}") for i, shape in enumerate(shapes)]
    places = tuple(range(len(there), len(there) + len(outputs)))
    given = dict.fromkeys(number for number in numbers if number >= 0 and there[number].data is None)
    layer = Layer(kind, chosen, numbers, places, version)
    return LayerGraph(kind, (*there, *outputs), (layer,), tuple(given), places)


def alone(graph: LayerGraph, layer: Layer) -> LayerGraph:
    """A layer of a graph as a graph of its own."""
    given = [n for n in dict.fromkeys(layer.inputs) if n >= 0 and graph.tensors[n].data is None]
    used = list(dict.fromkeys([*(n for n in layer.inputs if n >= 0), *layer.outputs]))
    place = {old: new for new, old in enumerate(used)} | {-1: -1}
    moved = dataclasses.replace(
        layer, inputs=tuple(place[n] for n in layer.inputs), outputs=tuple(place[n] for n in layer.outputs)
    )
    tensors = tuple(graph.tensors[n] for n in used)
    return LayerGraph(graph.name, tensors, (moved,), tuple(place[n] for n in given), moved.outputs)


def some_values(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Random values for a tensor: within 2 of 0, or all that an integer can be."""
    if tensor.dtype.kind == "f":
        return rng.uniform(-2, 2, tensor.shape).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.dtype)


def staged(graph: LayerGraph, folder: Path, name: str = "model") -> Example:
    """A stage that is a whole model, and inputs for it."""
    path = folder / f"{name}.tflite"
    path.write_bytes(write_model(graph))
    rng = np.random.default_rng(4)
    return example("stage", "model", [some_values(graph.tensors[number], rng) for number in graph.inputs], model=path)


def litert(graph: LayerGraph, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """What LiteRT gives, with the kernels that it takes itself."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=write_model(graph), num_threads=1)
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return tuple(interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details())
