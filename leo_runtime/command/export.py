"""`leo-runtime export`: what a run's log holds as Parquet tables."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import DONE, put

EXAMPLE = "export out/demo.virtual --out tables"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    log: Path
    out: Path


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("log", metavar="RUN", type=Path, help="a run's folder or log")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where frames, graphs, stages, transfers, loads and energy go, each as a .parquet file",
    )


def run(request: Request) -> int:
    """Write the tables. Returns the exit status."""
    from leo_runtime.command.shared import say
    from leo_runtime.replay.log_reader import read_log
    from leo_runtime.report.log_tables import write_tables

    with read_log(request.log) as log:
        paths = write_tables(log, request.out)
        if log.cut:
            say(f"{log.path}: read up to here: {log.cut}")
        if log.missing:
            say(f"{log.path}: does not hold {'; '.join(log.missing)}")
    put("".join(f"written: {path}\n" for path in paths))
    return DONE
