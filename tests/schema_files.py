"""`.tflite` files by the schema's own classes, for tests: what the writer of this project never writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6, "int16": 7, "int8": 9}


@dataclass
class Net:
    """A graph of a file; the numbers of its tensors are what `value`, `constant` and `op` give."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    ops: list[dict[str, Any]] = field(default_factory=list)
    inputs: Sequence[int] = ()
    outputs: Sequence[int] = ()

    def value(self, shape: Sequence[int] | None, dtype: str = "float32", name: Any = "", **more: Any) -> int:
        """A tensor that is no constant; `more`: `scale`, `zero`, `axis`, `signature`."""
        self.tensors.append({"shape": shape, "dtype": dtype, "name": name or f"t{len(self.tensors)}", **more})
        return len(self.tensors) - 1

    def constant(self, values: Any, **more: Any) -> int:
        """A constant, of the array's type."""
        array = np.asarray(values)
        return self.value(array.shape, array.dtype.name, data=array.tobytes(), **more)

    def op(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, **options: Any) -> None:
        """An operator of the schema, by its name there; a name that it has not is a custom one's."""
        self.ops.append({"kind": kind, "in": inputs, "out": outputs, "version": version, "options": options})


def file_of(*nets: Net, signatures: Mapping[str, int] | None = None) -> bytes:
    """The file of some graphs, and of signatures that call them."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [], [], [schema.BufferT()]
    for net in nets:
        graph = schema.SubGraphT()
        graph.inputs, graph.outputs = np.array(net.inputs, np.int32), np.array(net.outputs, np.int32)
        graph.tensors = [_tensor(schema, model, one) for one in net.tensors]
        graph.operators = [_operator(schema, model, one) for one in net.ops]
        model.subgraphs.append(graph)
    model.signatureDefs = [_signature(schema, name, i, nets[i]) for name, i in (signatures or {}).items()]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_values_behind(content: bytes) -> bytes:
    """The file with the values of its constants behind all tables, as files above 2 GB have them."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    moved = [(buffer, buffer.data.tobytes()) for buffer in model.buffers if buffer.data is not None]
    values, places = bytearray(), []
    for buffer, data in moved:
        values += bytes(-len(values) % 16)
        places.append(len(values))
        values += data
        buffer.data, buffer.size, buffer.offset = None, len(data), 2

    def packed() -> bytes:
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        tables = bytes(builder.Output())
        return tables + bytes(-len(tables) % 16)

    start = len(packed())
    for (buffer, _), place in zip(moved, places, strict=True):
        buffer.offset = start + place
    return packed() + bytes(values)


def _tensor(schema: Any, model: Any, said: dict[str, Any]) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.type = said["name"], TYPES[said["dtype"]]
    tensor.shape = None if said["shape"] is None else np.array(said["shape"], np.int32)
    tensor.buffer = 0
    if "signature" in said:
        tensor.shapeSignature = np.array(said["signature"], np.int32)
    if "data" in said:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(said["data"], np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    if "scale" in said:
        quantised = schema.QuantizationParametersT()
        scale = np.atleast_1d(np.array(said["scale"], np.float32))
        quantised.scale = scale
        quantised.zeroPoint = np.broadcast_to(np.array(said.get("zero", 0), np.int64), scale.shape).copy()
        quantised.quantizedDimension = said.get("axis", 0)
        tensor.quantization = quantised
    return tensor


def _operator(schema: Any, model: Any, said: dict[str, Any]) -> Any:
    number = getattr(schema.BuiltinOperator, said["kind"], schema.BuiltinOperator.CUSTOM)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), said["version"]
    if number == schema.BuiltinOperator.CUSTOM:
        code.customCode = said["kind"]
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = np.array(said["in"], np.int32), np.array(said["out"], np.int32)
    options = dict(said["options"])
    if options:
        table = options.pop("table")
        operator.builtinOptions = getattr(schema, f"{table}T")()
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
        for name, value in options.items():
            assert hasattr(operator.builtinOptions, name), name
            setattr(operator.builtinOptions, name, value)
    return operator


def _signature(schema: Any, name: str, number: int, net: Net) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = name, number
    for attribute, numbers in (("inputs", net.inputs), ("outputs", net.outputs)):
        maps = []
        for one in numbers:
            maps.append(schema.TensorMapT())
            maps[-1].name, maps[-1].tensorIndex = f"{attribute[:-1]} {one}", one
        setattr(signature, attribute, maps)
    return signature
