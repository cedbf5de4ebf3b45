"""`leo-runtime model`: what is in a model's file, and a workload made of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.shared import DONE, add_width, amount, look, put, say
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Workload
    from leo_runtime.operators.definition import Output

EXAMPLE = "model graph face.tflite --out face.toml"

_RUNS = 10
"""For so many runs there is noise."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    action: Literal["info", "graph"]
    file: Path
    signature: str | None
    cut: Literal["blocks", "layers", "whole"]
    json: bool
    out: Path | None
    rate: float
    noise: Path | None
    columns: int | None
    """Of the tables of `info`, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments, of each action its own."""
    parser.set_defaults(json=False, out=None, rate=1.0, noise=None, columns=None)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    info = _action(actions.add_parser, "info", "Show layers, shapes, cuts and what crosses them, work and memory.")
    info.add_argument("--cut", choices=("blocks", "layers"), default="blocks", help="into what (default: blocks)")
    info.add_argument("--json", action="store_true", help="as JSON, with every place to cut")
    add_width(info)

    graph = _action(actions.add_parser, "graph", "Write a workload whose stages are the model's pieces.")
    graph.add_argument(
        "--cut", choices=("blocks", "layers", "whole"), default="blocks", help="into what (default: blocks)"
    )
    graph.add_argument("--rate", type=amount, default=1.0, metavar="HZ", help="runs a second (default: 1)")
    graph.add_argument("--out", type=Path, required=True, metavar="FILE", help="the workload, .toml or .json")
    graph.add_argument("--noise", type=Path, metavar="NEW", help="write a recording of noise for its inputs, too")


def _action(adding: Callable[..., argparse.ArgumentParser], name: str, says: str) -> argparse.ArgumentParser:
    action = adding(name, help=says, description=says)
    action.add_argument("file", type=Path, metavar="FILE", help="a .tflite file")
    action.add_argument("--signature", metavar="NAME", help="which of its signatures (default: its first graph)")
    return action


def run(request: Request) -> int:
    """Do it. Returns the exit status."""
    return _info(request) if request.action == "info" else _graph(request)


def _info(request: Request) -> int:
    from leo_runtime.operators.model_pieces import described
    from leo_runtime.report.model_text import as_json, text

    cut: Literal["blocks", "layers"] = "layers" if request.cut == "layers" else "blocks"
    found = described(request.file, request.signature, cut)
    put(as_json(found, cut) if request.json else text(found, cut, look(request.columns)))
    return DONE


def _graph(request: Request) -> int:
    from leo_runtime.documents.model_workload import model_workload
    from leo_runtime.schema import require_writable

    assert request.out is not None
    require_writable(request.out, request.file, toml=True)
    workload = model_workload(
        request.file,
        name=request.out.name.split(".")[0],
        cut=request.cut,
        rate_hz=request.rate,
        signature=request.signature,
    )
    if request.noise is not None:  # First: where there is one of that name already, nothing is written.
        _write_noise(workload, request)
        say(f"written: {request.noise}")
    _write(workload, request.file, request.out)
    say(f"written: {request.out} ({len(workload.graphs[0].stages)} stages)")
    return DONE


def _write(workload: Workload, file: Path, out: Path) -> None:
    """The workload, with the model's file as seen from the workload's folder where it is in there."""
    from leo_runtime.documents.toml_text import toml_text
    from leo_runtime.schema import write_whole

    folder, model = out.parent.resolve(), file.resolve()
    named = str(model.relative_to(folder) if model.is_relative_to(folder) else model)
    document = workload.model_dump(mode="json", exclude_defaults=True)
    for stage in document["graphs"][0]["stages"]:
        if "model" in stage.get("params", {}):
            stage["params"]["model"] = named
    said = f"{file.name}, a stage for each of its pieces. What its streams are called and come from is yours to say."
    if any(stream.kind == "camera" for stream in workload.streams):
        said += "\nPixels come as 0 to 255: a model that was trained on others needs an operator of yours in front."
    if out.suffix == ".toml":
        text = toml_text(document, said)
    else:
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    try:
        write_whole(out, text.encode())
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from None


def _write_noise(workload: Workload, request: Request) -> None:
    """Ten runs' samples for every stream, of values that the model's inputs can have."""
    from leo_runtime.operators.model_parameters import ModelParameters
    from leo_runtime.operators.model_pieces import piece_of
    from leo_runtime.recordings.noise import noise
    from leo_runtime.recordings.writer import write_folder

    assert request.noise is not None
    piece = piece_of(ModelParameters(model=request.file, signature=request.signature))
    windows = [stage for stage in workload.graphs[0].stages if stage.operator == "window"]
    streams = [
        (stream, *_range(output), _RUNS * window.params["samples"])
        for stream, output, window in zip(workload.streams, piece.takes, windows, strict=True)
    ]
    write_folder(noise(streams, request.noise.name), request.noise)


def _range(output: Output) -> tuple[float, float]:
    """The least and the greatest real that noise has: all that a quantised input holds, else -1 to 1."""
    if output.scale == 0:
        return (-1.0, 1.0) if output.data_type.startswith("float") else (0.0, 1.0)
    return output.limits()
