"""`leo-runtime report`: a run as a page to look at, in one file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import DONE, count, put

EXAMPLE = "report out/demo.virtual"

PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    shown: Path
    out: Path | None
    frames: list[int] | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("shown", metavar="RUN", type=Path, help="a run's folder or log")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"the page that is written (default: {PAGE} beside what is shown)"
    )
    parser.add_argument(
        "--frame",
        dest="frames",
        type=count,
        action="append",
        metavar="N",
        help="draw this frame of the run; may be repeated (default: the frames worth looking at)",
    )


def run(request: Request) -> int:
    """Write the page. Returns the exit status."""
    from leo_runtime.replay.log_reader import read_log
    from leo_runtime.report.page.render import require_jinja2, write_page
    from leo_runtime.report.page.run_page import run_page
    from leo_runtime.schema import require_writable

    require_jinja2()
    with read_log(request.shown) as log:
        out = log.path.with_name(PAGE) if request.out is None else request.out
        require_writable(out, log.path)
        text = run_page(log, log.path.parent.name or str(log.path), request.frames or ())
    write_page(out, text)
    put(f"written: {out}\n")
    return DONE
