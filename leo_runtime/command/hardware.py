"""`leo-runtime hardware`: what machines ship, and what one is."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Literal

from leo_runtime.command.shared import DONE, add_width, look, put
from leo_runtime.errors import InputError, did_you_mean

EXAMPLE = "hardware show snapdragon-800"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    action: Literal["list", "show"]
    name: str | None
    json: bool
    columns: int | None
    """Of its tables, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("action", choices=("list", "show"), nargs="?", default="list", help="default: list")
    parser.add_argument("name", metavar="NAME", nargs="?", help="of show: a shipped machine or a file")
    parser.add_argument("--json", action="store_true", help="as JSON; of show: the document itself")
    add_width(parser)


def run(request: Request) -> int:
    """Print it. Returns the exit status."""
    from leo_runtime import shipped
    from leo_runtime.report import hardware_text

    known = shipped.names("hardware")
    if request.action == "list":
        if request.name is not None:
            raise InputError(
                f"`hardware list` takes no name, got `{request.name}`", hint=f"`hardware show {request.name}` shows it"
            )
        machines = [shipped.hardware(name) for name in known]
        if request.json:
            put(json.dumps([machine.name for machine in machines], indent=1) + "\n")
        else:
            put(hardware_text.listed(machines, look(request.columns)))
        return DONE
    if request.name is None:
        raise InputError("`hardware show` shows one machine", hint=f"{did_you_mean('', known)}, or a file")
    machine = shipped.hardware(request.name)
    put(machine.to_json() if request.json else hardware_text.text(machine, look(request.columns)))
    return DONE
