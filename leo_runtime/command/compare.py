"""`leo-runtime compare`: what differs between two runs."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import ANSWERED_NO, DONE, add_width, count, look, put

EXAMPLE = "compare out/demo.virtual out/demo.virtual.2"

FRAMES = 10


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    before: Path
    after: Path
    frames: int
    fail_on_change: bool
    json: bool
    columns: int | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("before", metavar="BEFORE", type=Path, help="a run's folder or log")
    parser.add_argument("after", metavar="AFTER", type=Path, help="another run's")
    parser.add_argument(
        "--frames",
        type=count,
        default=FRAMES,
        metavar="N",
        help=f"how many changes to show, the gravest (default: {FRAMES})",
    )
    parser.add_argument("--fail-on-change", action="store_true", help="exit with 1 where anything differs")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Print what differs. Returns the exit status."""
    from leo_runtime.replay.differences import differences
    from leo_runtime.replay.log_reader import read_log
    from leo_runtime.report.differences_text import differences_figures, differences_text, notes_on

    with read_log(request.before) as before, read_log(request.after) as after:
        found = differences(before, after, most=request.frames)
        notes = notes_on((before, after))
    names = str(request.before), str(request.after)
    if request.json:
        put(json.dumps(differences_figures(found, names, notes), indent=1) + "\n")
    else:
        put(differences_text(found, names, look(request.columns), notes))
    return ANSWERED_NO if request.fail_on_change and not found.are_equal else DONE
