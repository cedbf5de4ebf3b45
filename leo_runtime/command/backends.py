"""`leo-runtime backends`: which processors can be used here."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from leo_runtime.command.shared import DONE, add_width, look, put, say

if TYPE_CHECKING:
    from leo_runtime.backend.registry import BackendStatus

EXAMPLE = "backends --json"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    json: bool
    columns: int | None
    """Of its table, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Print them. Returns the exit status."""
    from leo_runtime.backend import registry
    from leo_runtime.report import tables as report

    found = registry.available()
    if request.json:
        put(json.dumps([asdict(status) for status in found], indent=1) + "\n")
        return DONE
    rows = [
        (status.name, status.package, "yes" if status.available else "no", _holds(status), status.missing)
        for status in found
    ]
    header = ("backend", "package", "here", "holds", "missing")
    put(report.table(header, rows, look(request.columns), wrapped=True))
    for status in found:
        if status.hint:
            say(f"hint: {status.name}: {status.hint}")
    return DONE


def _holds(status: BackendStatus) -> str:
    """Whether it keeps its device awake when a plan wants that."""
    if not status.available:
        return ""
    return "yes" if status.holds else "modelled"
