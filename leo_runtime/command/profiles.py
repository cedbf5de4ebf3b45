"""`leo-runtime profiles`: what machines and profiles ship, and what profiles hold."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.shared import DONE, add_width, look, put
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from leo_runtime.documents.profile import Profile

EXAMPLE = "profiles diff before.json after.json"

TAKES = {"list": 0, "show": 1, "diff": 2, "merge": 2, "plot": 1}
"""How many names each action takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    action: Literal["list", "show", "diff", "merge", "plot"]
    names: Sequence[str]
    json: bool
    out: Path | None
    columns: int | None
    """Of its tables, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("action", choices=tuple(TAKES), nargs="?", default="list", help="default: list")
    says = "shipped names or files: none for list, one for show and plot, two for diff and merge"
    parser.add_argument("names", metavar="NAME", nargs="*", help=says)
    parser.add_argument("--json", action="store_true", help="list, show and diff: as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where merge and plot write, and only they")
    add_width(parser)


def run(request: Request) -> int:
    """Do it. Returns the exit status."""
    from leo_runtime import shipped

    if len(request.names) != TAKES[request.action]:
        known = ", ".join(shipped.names("profile"))
        raise InputError(
            f"`profiles {request.action}` takes {TAKES[request.action]} names, got {len(request.names)}",
            hint=f"one of {known}, or a file",
        )
    if request.action in ("merge", "plot"):
        if request.out is None:
            raise InputError(f"`profiles {request.action}` needs to be told where to write", hint="add `--out FILE`")
        if request.json:
            raise InputError(f"`profiles {request.action}` prints nothing, so not as JSON", hint="leave out `--json`")
        _write(request.action, [shipped.profile(name) for name in request.names], request.out)
        return DONE
    if request.out is not None:
        raise InputError(
            f"`profiles {request.action}` prints and writes no file",
            hint="leave out `--out`, and redirect what is printed",
        )
    put(_text(request, [shipped.profile(name) for name in request.names]))
    return DONE


def _write(action: str, found: Sequence[Profile], out: Path) -> None:
    if action == "plot":
        from leo_runtime.report.plots import plot_profile

        plot_profile(found[0], out)
    else:
        found[0].merged_with(found[1], out.name.partition(".")[0]).to_file(out)


def _text(request: Request, found: Sequence[Profile]) -> str:
    from leo_runtime import shipped
    from leo_runtime.report import tables as report

    if request.action == "show":
        return found[0].to_json() if request.json else report.profile_table(found[0], look(request.columns))
    if request.action == "diff":
        return report.differences(found[0], found[1], look(request.columns), as_json=request.json)
    listed = [(kind, name) for kind in ("hardware", "profile") for name in shipped.names(kind)]
    if request.json:
        return json.dumps([{"kind": kind, "name": name} for kind, name in listed], indent=1) + "\n"
    return report.table(("kind", "name"), listed, look(request.columns))
