"""`leo-runtime tune`: the fastest kernel parameters for this machine's device."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import DONE, add_machine, add_width, look, positive, put, say
from leo_runtime.errors import InputError, did_you_mean

EXAMPLE = "tune gpu --bench"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    processor: str
    workload: Sequence[str] | None
    hardware: str
    bench: bool
    tries: int
    out: Path | None
    json: bool
    columns: int | None
    """Of its table, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_machine(parser, hardware="host")
    parser.add_argument(
        "processor", metavar="PROCESSOR", nargs="?", default="gpu", help="of the machine (default: gpu)"
    )
    parser.add_argument("--bench", action="store_true", help="for the shapes of `bench audio`, not of a workload")
    parser.add_argument("--tries", type=positive, default=40, metavar="N", help="for each shape (default: 40)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write here, not where the backend looks")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Search, and print what was gained. Returns the exit status."""
    import tempfile

    from leo_runtime import shipped
    from leo_runtime.measure import bench_audio, tune
    from leo_runtime.report import tables as report
    from leo_runtime.schema import require_writable

    if request.bench and request.workload is not None:
        raise InputError(
            "`--bench` is for the shapes of `bench audio`, so no workload is read", hint="give one of them"
        )
    hardware = shipped.hardware(request.hardware)
    known = [processor.name for processor in hardware.processors]
    if request.processor not in known:
        raise InputError(
            f"`{hardware.name}` has no processor `{request.processor}`",
            hint=did_you_mean(request.processor, known, "it has"),
        )
    if request.out is not None:
        require_writable(request.out, *request.workload or (), request.hardware)
    rows: list[tuple[str, int, int]] = []

    def note(what: str, before_ns: int, after_ns: int) -> None:
        rows.append((what, before_ns, after_ns))
        say(f"{what}: {before_ns / 1000:.1f} -> {after_ns / 1000:.1f} us")

    with tempfile.TemporaryDirectory(prefix="leo-tune-") as folder:
        if request.bench:
            stages = [(stage, "default") for stage in bench_audio.workload_stages(Path(folder)).values()]
        else:
            stages = tune.stages_of(shipped.workload(*request.workload or ()))
        processor = hardware.processor(request.processor)
        path = tune.tune(processor, stages, tries=request.tries, out=request.out, progress=note)
    put(report.tuned(rows, look(request.columns), as_json=request.json))
    say(f"written to {path}")
    return DONE
