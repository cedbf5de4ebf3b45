"""A workload made of a model: a stage for each of its pieces, and a stream for each of its inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import Output
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.model_pieces import Piece, count_of, piece_of

IMAGE_CHANNELS = (1, 3, 4)
_RATES_HZ = (0.001, 1e6)
_LEAST_IMAGE = 16
"""Rows and columns that an image has at least; what is smaller is taken for rows of features."""
_FIXED = "convert the model again with an input of fixed sizes"


def model_workload(
    path: Path,
    *,
    name: str,
    cut: Literal["blocks", "layers", "whole"] = "blocks",
    rate_hz: float = 1.0,
    signature: str | None = None,
) -> Workload:
    """The workload that runs a model `rate_hz` times a second, each time on new samples of its streams.

    One that keeps a state goes on from it. `path` is written into the stages as it is. What a camera may give, (1,
    height, width, channels), is one; any other input is a stream of so many samples a run as its second axis has.
    Raises `GraphError` for a file that is not there, is damaged, has no inputs, or cannot be cut as asked, and for a
    rate that no graph has.
    """
    if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
        least, most = (f"{rate:g}" for rate in _RATES_HZ)
        raise GraphError(f"a model cannot run {rate_hz:g} times a second", hint=f"a rate is from {least} to {most} Hz")
    whole = piece_of(ModelParameters(model=path, signature=signature))
    if not whole.takes:
        raise GraphError(f"{path}: has no inputs, so nothing asks it anything")
    for output in whole.takes:
        if not output.bytes:
            raise GraphError(f"{path}: input `{output.name}` of shape {output.shape} has no values", hint=_FIXED)
    if cut != "whole" and whole.file.why is not None:
        why = whole.file.why
        raise GraphError(str(why), hint=f"{why.hint}: `--cut whole`")
    period_us = round(1_000_000 / rate_hz)
    graph = GraphBuilder(name, period_us=period_us, deadline_us=period_us)
    streams, read = [], []
    for stream_name, output in zip(_stream_names(whole.takes), whole.takes, strict=True):
        stream, samples = _stream(stream_name, output, 1_000_000 / period_us)
        streams.append(stream)
        read.append(graph.stage(f"window {stream_name}", "window", stream=stream_name, samples=samples))
    params: dict[str, Any] = {"model": str(path), "sha256": whole.file.sha256[:16]}
    if signature is not None:
        params["signature"] = signature
    if cut == "whole":
        graph.stage("model", "model", *read, **params, **_streaming(whole))
    else:
        _add_pieces(graph, whole, read, {**params, **({"cut": cut} if cut != "blocks" else {})}, cut)
    return Workload(format="leo-workload/1", name=name, streams=tuple(streams), graphs=(graph.build(),))


def _add_pieces(
    graph: GraphBuilder, whole: Piece, read: Sequence[str], params: dict[str, Any], cut: Literal["blocks", "layers"]
) -> None:
    count = count_of(whole.file, cut)
    width = len(str(count - 1))
    for number in range(count):
        name = f"{cut.removesuffix('s')} {number:0{width}}"
        own = {**params, "first": number}
        keeps = _streaming(piece_of(ModelParameters.model_validate({**own, "model": Path(own["model"])})))
        read = [graph.stage(name, "model", *read, **own, **keeps)]


def _streaming(piece: Piece) -> dict[str, Any]:
    """The parameter of a piece that keeps a state."""
    return {"streaming": True} if piece.graph is not None and piece.graph.states else {}


def _stream_names(takes: Sequence[Output]) -> list[str]:
    """What streams are called: as the inputs, without what names of tensors have behind a colon."""
    short = [output.name.split(":")[0] or "input" for output in takes]
    return short if len(set(short)) == len(short) else [output.name for output in takes]


def _stream(name: str, output: Output, rate_hz: float) -> tuple[Stream, int]:
    """The stream of an input, and how many of its samples a run reads."""
    shape = output.shape
    # A float model is given what a sensor has, made into floats where it is read.
    own = None if output.data_type == "float32" else output.data_type
    if len(shape) == 4 and shape[0] == 1 and min(shape[1:3]) >= _LEAST_IMAGE and shape[3] in IMAGE_CHANNELS:
        _, height, width, depth = shape
        camera = Stream(
            name=name,
            kind="camera",
            rate_hz=rate_hz,
            channels=depth,
            height_px=height,
            width_px=width,
            data_type=own,
        )
        return camera, 1
    samples = shape[1] if len(shape) > 2 and shape[0] == 1 else math.prod(shape)
    channels = max(1, math.prod(shape) // max(1, samples))
    # Rounded up, so that a period brings the whole of what a run reads.
    whole_hz = math.ceil(rate_hz * samples * 1e6 - 1e-3) / 1e6
    return Stream(name=name, rate_hz=whole_hz, channels=channels, data_type=own), max(1, samples)
