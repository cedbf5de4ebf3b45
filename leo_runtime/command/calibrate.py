"""`leo-runtime calibrate`: what every stage of a workload costs on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import ANSWERED_NO, DONE, add_machine, add_width, bar, complain, look, put
from leo_runtime.errors import InputError

EXAMPLE = "calibrate --out host.profile.json"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    workload: Sequence[str] | None
    hardware: str
    recording: str
    quick: bool
    out: Path | None
    hardware_out: Path | None
    json: bool
    columns: int | None
    """Of its table, as `look` takes it."""


NOTHING_KEPT = (
    "hint: `leo-runtime serve` does, asked by HTTP; else each stage was measured with all that crosses for it, "
    "and links take no time in plans"
)


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_machine(parser, hardware="host")
    parser.add_argument("--recording", default="demo", help="whose samples the stages get (default: demo)")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of a second a stage, alone and in one size, not a second and more"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the profile here, and print what was measured")
    parser.add_argument(
        "--hardware-out",
        type=Path,
        metavar="FILE",
        help="measure the links to servers, too, apart from stages there, and write the hardware with them here",
    )
    parser.add_argument("--json", action="store_true", help="with --out: what was measured as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Measure, and print the profile or what was measured. Returns the exit status."""
    from leo_runtime import shipped
    from leo_runtime.measure import calibrate, measure
    from leo_runtime.measure.energy import whole_machine
    from leo_runtime.measure.far import with_links
    from leo_runtime.report import tables as report
    from leo_runtime.schema import require_writable

    workload, hardware = shipped.workload(*request.workload or ()), shipped.hardware(request.hardware)
    recording = shipped.recording(request.recording)
    for path in (request.out, request.hardware_out):
        if path is not None:
            require_writable(path, *request.workload or (), request.hardware)
    if request.out is not None and request.out == request.hardware_out:
        raise InputError(f"the profile and the hardware cannot both be written to {request.out}")
    with bar("calibrating") as progress:
        found = calibrate.calibrate(
            workload,
            hardware,
            recording,
            effort=measure.QUICK if request.quick else measure.FULL,
            sources=whole_machine(),
            links=request.hardware_out is not None,
            progress=progress,
        )
    for what, error in found.missing:
        complain(f"not measured: {what}: {error}")
        if error.hint:
            complain(f"hint: {error.hint}")
    for stage in found.unmeasured:
        complain(f"stage `{stage}` could be measured on no processor: the workload cannot run with this profile")
    status = ANSWERED_NO if found.unmeasured else DONE
    if request.hardware_out is not None:
        with_links(hardware, found.links).to_file(request.hardware_out)
        if not found.links:
            complain("no link was measured: no processor is a server that keeps values")
            complain(NOTHING_KEPT)
    if request.out is None:
        put(found.profile.to_json())
        return status
    found.profile.to_file(request.out)
    put(report.measurements(found.profile, look(request.columns), as_json=request.json))
    return status
