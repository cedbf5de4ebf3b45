"""Writes `two_outputs.tflite` and `no_input.tflite`: run it by hand, with LiteRT and flatbuffers installed."""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from build_tiny import build


def changed(inputs: list[int], outputs: list[int]) -> bytes:
    """The model of `build_tiny`, whose tensors are x, w, b and y = w x + b, with these for its inputs and outputs."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(build(), 0))
    graph = model.subgraphs[0]
    graph.inputs, graph.outputs = inputs, outputs
    if 0 not in inputs:  # Then x is a constant.
        constant = schema.BufferT()
        constant.data = np.frombuffer(np.array([1, 2, 3], np.float32).tobytes(), np.uint8)
        model.buffers.append(constant)
        graph.tensors[0].buffer = len(model.buffers) - 1
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    here = Path(__file__)
    here.with_name("two_outputs.tflite").write_bytes(changed([0], [3, 2]))
    here.with_name("no_input.tflite").write_bytes(changed([], [3]))
