"""`leo-runtime doctor`: what is here, what is missing, and the way out of each."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.command.shared import ANSWERED_NO, DONE, add_width, look, put, say

if TYPE_CHECKING:
    from leo_runtime.daemon.doctor import Finding
    from leo_runtime.terminal import Look

EXAMPLE = "doctor leo.toml"
ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    config: Path | None
    json: bool
    columns: int | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", metavar="CONFIG", nargs="?", type=Path, help="a daemon's config: is all of it here?")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Look, and tell. Returns the exit status: 1 where something is missing that is needed."""
    from leo_runtime.daemon.doctor import Patient, examine

    found = examine(Patient(ROOT, os.environ, request.config))
    wrong = [one for one in found if one.state == "wrong"]
    if request.json:
        put(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    else:
        put(text(found, look(request.columns)))
        if wrong:
            say(f"{len(wrong)} of {len(found)} are wrong: {', '.join(f'{one.area} {one.what}' for one in wrong)}")
        else:
            say("nothing that is needed is missing")
    return ANSWERED_NO if wrong else DONE


def text(found: tuple[Finding, ...], look: Look) -> str:
    """A table, and the ways out below it."""
    from leo_runtime.report.tables import table
    from leo_runtime.terminal import fill

    shown = {"ok": "ok", "absent": "-", "wrong": "WRONG"}
    rows = [(one.area, one.what, shown[one.state], one.says) for one in found]
    hints = [one for one in found if one.hint and one.state != "ok"]
    below = "".join(f"{fill(f'{one.area} {one.what}: {one.hint}', look.columns, '  ')}\n" for one in hints)
    page = table(("area", "what", "", "says"), rows, look, wrapped=True, keys=3)
    return f"{page}\n{below}" if below else page
