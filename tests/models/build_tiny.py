"""Writes `tiny.tflite`, one fully connected layer of float32: run it by hand, with LiteRT and flatbuffers installed."""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

WEIGHTS = np.array([[1.0, -2.0, 0.5], [0.25, 4.0, -1.0]], np.float32)
"""(outputs, inputs), as TensorFlow Lite has it."""
BIAS = np.array([0.5, -0.25], np.float32)


def build() -> bytes:
    """The model: (1, 3) float32 in, (1, 2) out."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT() for _ in range(4)]
    for buffer, array in ((1, WEIGHTS), (2, BIAS)):
        model.buffers[buffer].data = np.frombuffer(array.tobytes(), np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("x", (1, 3), 0), _tensor("w", (2, 3), 1), _tensor("b", (2,), 2), _tensor("y", (1, 2), 3)]
    graph.inputs, graph.outputs = [0], [3]
    layer = schema.OperatorT()
    layer.inputs, layer.outputs = [0, 1, 2], [3]
    layer.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    layer.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [layer]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: tuple[int, ...], buffer: int) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name, list(shape), buffer, schema.TensorType.FLOAT32
    return tensor


if __name__ == "__main__":
    Path(__file__).with_name("tiny.tflite").write_bytes(build())
