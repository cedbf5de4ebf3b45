"""`leo-runtime pack`: in which forms outputs may be sent, what each takes and loses, and a workload that says so."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leo_runtime.command.shared import ANSWERED_NO, DONE, add_width, bar, complain, count, look, positive, put, say

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Workload
    from leo_runtime.measure.packing import OutputMeasured

EXAMPLE = "pack demo --data demo --stage log_mel --out packed.toml"

_LOSS_PPM_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    workload: str
    data: str
    stages: list[str] | None
    forms: list[str] | None
    task: str | None
    loss_max: int
    runs: int
    out: Path | None
    json: bool
    columns: int | None
    """Of its tables, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("workload", metavar="WORKLOAD", help="a file, or a workload that ships")
    parser.add_argument("--data", required=True, metavar="RECORDING", help="what sizes and losses are measured on")
    parser.add_argument(
        "--stage",
        action="append",
        dest="stages",
        metavar="NAME",
        help="a stage whose output may be packed, or GRAPH.STAGE; may be repeated (default: all of a kibibyte or more)",
    )
    parser.add_argument(
        "--form",
        action="append",
        dest="forms",
        metavar="NAME",
        help="float16, int8, int8_band, int4, pcm16, uint8, with +zlib or +zstd behind it, or jpeg85; int8x256: of "
        "blocks of 256 values; may be repeated (default: some for its kind)",
    )
    parser.add_argument(
        "--task",
        metavar="MEASURE",
        help="what a loss is: change, argmax, threshold=NUMBER, points=COORDINATES (default: the graph's decisions, "
        "else change)",
    )
    parser.add_argument(
        "--loss-max",
        type=count,
        default=_LOSS_PPM_MAX,
        metavar="PPM",
        help=f"what a graph's answers may lose in all (default: {_LOSS_PPM_MAX})",
    )
    parser.add_argument(
        "--runs", type=positive, default=50, metavar="N", help="of each graph, spread over the recording (default: 50)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the workload with what is left of forms")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Measure forms, and write the workload. Returns the exit status: 1 where no form of any output is left."""
    from leo_runtime import shipped
    from leo_runtime.measure.packing import measure_packing, worth_placing
    from leo_runtime.measure.task_loss import Task, parse_task
    from leo_runtime.report import packing_text

    workload = shipped.workload(request.workload)
    with bar("packing") as progress:
        outputs = measure_packing(
            workload,
            shipped.recording(request.data),
            stages=tuple(request.stages or ()),
            forms=tuple(request.forms or ()),
            task=None if request.task is None else Task(*parse_task(request.task)),
            most=request.runs,
            progress=progress,
        )
    told = (outputs, request.loss_max)
    put(packing_text.as_json(*told) if request.json else packing_text.text(*told, look(request.columns)))
    if not any(worth_placing(one, request.loss_max) for one in outputs):
        complain("no form of any output is left for placement: there is no workload to write")
        complain("hint: allow a greater loss by `--loss-max`, or name other forms or stages")
        return ANSWERED_NO
    if request.out is not None:
        _write(request, workload, outputs, request.out)
    return DONE


def _write(request: Request, workload: Workload, outputs: tuple[OutputMeasured, ...], path: Path) -> None:
    from leo_runtime.documents.toml_text import toml_text
    from leo_runtime.measure.packing import with_packs, worth_placing
    from leo_runtime.schema import write_content

    packs = {
        place: tuple(form.packing for form in worth_placing(one, request.loss_max))
        for one in outputs
        for place in one.places
    }
    packed = with_packs(workload, packs, request.loss_max)
    document = _named_from(packed.model_dump(mode="json", exclude_defaults=True), path.absolute().parent)
    said = f"{request.workload}, with the forms in which outputs may be sent, as measured on {request.data}."
    write_content(path, toml_text(document, said).encode())
    say(f"written: {path}")


def _named_from(value: Any, folder: Path) -> Any:
    """The document with what lies in the folder, files and modules of operators, named from there."""
    if isinstance(value, dict):
        return {key: _named_from(one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [_named_from(one, folder) for one in value]
    return value.removeprefix(f"{folder}/") if isinstance(value, str) else value
