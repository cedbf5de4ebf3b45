"""`leo-runtime bench`: this machine measured as a published table does."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Literal

from leo_runtime.command.shared import DONE, add_width, bar, complain, look, positive, put

EXAMPLE = "bench audio --json"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    table: Literal["audio"]
    rounds: int
    json: bool
    columns: int | None
    """Of its table, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("table", metavar="TABLE", choices=("audio",), help="audio: GMM and DNN (MobiSys 2017)")
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="runs of each cell (default: 15)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Measure, and print the table. Returns the exit status."""
    from leo_runtime.measure import bench_audio
    from leo_runtime.report import tables as report

    with bar("measuring") as progress:
        rows = bench_audio.bench(request.rounds, progress)
    for row in rows:
        for note in row.notes:
            complain(f"not measured: {row.processor}: {note}")
    if request.json:
        put(json.dumps(bench_audio.as_json(rows), indent=1) + "\n")
    else:
        put(report.audio_bench(rows, bench_audio.PUBLISHED, look(request.columns)))
    return DONE
