"""`leo-runtime model`: what is in a model's file, a workload made of it, and the model in int8."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.shared import DONE, add_width, amount, bar, given_data, look, positive, put, say

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Workload
    from leo_runtime.measure.model_data import ModelRuns
    from leo_runtime.operators.definition import Output

EXAMPLE = "model graph face.tflite --out face.toml"
MOST = 100

_RUNS = 10
"""For so many runs there is noise."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    action: Literal["info", "graph", "int8"]
    file: Path
    signature: str | None
    cut: Literal["blocks", "layers", "whole"]
    json: bool
    out: Path | None
    rate: float
    noise: Path | None
    columns: int | None
    """Of tables, as `look` takes it."""
    data: str
    """Of `int8`: a file of numpy, or a recording's name or folder."""
    workload: str | None
    percentile: float
    threshold: float | None
    most: int


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments, of each action its own."""
    parser.set_defaults(json=False, out=None, rate=1.0, noise=None, columns=None, cut="blocks")
    parser.set_defaults(data="", workload=None, percentile=100.0, threshold=None, most=MOST)
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

    int8 = _action(
        actions.add_parser,
        "int8",
        "Write a model of float32 as one of int8, calibrated on data, and say what it loses.",
    )
    int8.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="inputs of runs: an .npy, an .npz by the names of its inputs, or a recording",
    )
    int8.add_argument(
        "--workload",
        metavar="FILE",
        help="of a recording: what reads the model, behind what (default: its own streams)",
    )
    int8.add_argument("--out", type=Path, required=True, metavar="FILE", help="the model of int8, .tflite")
    int8.add_argument(
        "--percentile",
        type=_percentile,
        default=100.0,
        metavar="P",
        help="cut off what is beyond it in a run, at both ends (default: 100, nothing)",
    )
    int8.add_argument(
        "--threshold",
        type=_threshold,
        metavar="X",
        help="a decision is whether an output's greatest value is above it (default: which value is the greatest)",
    )
    int8.add_argument(
        "--most",
        type=positive,
        default=MOST,
        metavar="N",
        help=f"calibrate on so many runs, and measure on so many others, at most (default: {MOST})",
    )
    int8.add_argument("--json", action="store_true", help="as JSON")
    add_width(int8)


def _action(adding: Callable[..., argparse.ArgumentParser], name: str, says: str) -> argparse.ArgumentParser:
    action = adding(name, help=says, description=says)
    action.add_argument("file", type=Path, metavar="FILE", help="a .tflite file")
    action.add_argument("--signature", metavar="NAME", help="which of its signatures (default: its first graph)")
    return action


def run(request: Request) -> int:
    """Do it. Returns the exit status."""
    return {"info": _info, "graph": _graph, "int8": _int8}[request.action](request)


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


def _percentile(text: str) -> float:
    given = amount(text)
    if not 50 < given <= 100:
        raise argparse.ArgumentTypeError(f"expected more than 50 and at most 100, got {text}")
    return given


def _threshold(text: str) -> float:
    try:
        given = float(text)
    except ValueError:
        given = math.nan
    if not math.isfinite(given):
        raise argparse.ArgumentTypeError(f"expected a number, got {json.dumps(text)}")
    return given


def _int8(request: Request) -> int:
    from leo_runtime.compress.int8 import require_int8_form
    from leo_runtime.importers.model_file import open_model
    from leo_runtime.measure.int8_form import int8_form
    from leo_runtime.measure.task_loss import Task
    from leo_runtime.report.loss_text import as_json, text
    from leo_runtime.schema import require_writable, write_content

    assert request.out is not None
    require_writable(request.out, request.file, request.data, request.workload)
    model = open_model(request.file, request.signature)
    if model.graph is None:
        assert model.why is not None
        raise model.why
    require_int8_form(model.graph)
    runs = _runs(request)
    task = Task("argmax") if request.threshold is None else Task("threshold", request.threshold)
    with bar("calibrating") as progress:
        form = int8_form(model.graph, runs, task, request.percentile, progress)
    write_content(request.out, form.content)
    before = len(model.file.content)
    put(as_json(form, before) if request.json else text(form, before, look(request.columns)))
    say(f"written: {request.out}")
    workload = quote(str(request.out.with_suffix(".toml")))
    say(f"place it: leo-runtime model graph {quote(str(request.out))} --out {workload}")
    return DONE


def _runs(request: Request) -> ModelRuns:
    """The inputs that the model is calibrated and measured on."""
    from leo_runtime import shipped
    from leo_runtime.measure.model_data import model_runs

    return model_runs(
        given_data(request.data),
        request.file,
        most=request.most,
        workload=None if request.workload is None else shipped.workload(request.workload),
        holds_back=True,
        signature=request.signature,
    )


def _write(workload: Workload, file: Path, out: Path) -> None:
    """The workload, with the model's file as seen from the workload's folder where it is in there."""
    from leo_runtime.documents.toml_text import toml_text
    from leo_runtime.schema import write_content

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
    write_content(out, text.encode())


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
