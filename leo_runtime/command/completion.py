"""`leo-runtime completion`: what makes a shell complete this command's words."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from leo_runtime.command.shared import DONE, put
from leo_runtime.errors import MissingExtraError

EXAMPLE = "completion bash"

SHELLS = ("bash", "zsh", "fish")

FILES = ("FILE", "FOLDER", "PATH", "NEW", "PROBLEM", "PLACEMENT", "RUN")
"""What arguments that name a file are called."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    shell: Literal["bash", "zsh", "fish"]


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    says = "bash, in ~/.bashrc: `source <(leo-runtime completion bash)`; zsh, in ~/.zshrc after compinit: "
    says += '`eval "$(leo-runtime completion zsh)"`; fish: into ~/.config/fish/completions/leo-runtime.fish'
    parser.add_argument("shell", choices=SHELLS, help=says)


def run(request: Request) -> int:
    """Print the script. Returns the exit status."""
    from leo_runtime.command.parser import parser

    try:
        import shtab
    except ImportError:
        raise MissingExtraError("completion in a shell", "completion") from None
    commands = parser(None)
    for command, action in _actions(commands, ""):
        found = _completes(command, action)
        if found is not None:
            action.complete = found  # type: ignore[attr-defined]  # where shtab looks
    put(shtab.complete(commands, shell=request.shell) + "\n")
    return DONE


def _actions(parser: argparse.ArgumentParser, command: str) -> Iterator[tuple[str, argparse.Action]]:
    """The arguments of all commands, each with the name of its command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _actions(inner, command or name)
        else:
            yield command, action


def _completes(command: str, action: argparse.Action) -> dict[str, Any] | None:
    """What shtab completes an argument with: names that are known, files, or both; None: what it does by itself."""
    if action.choices is not None or action.nargs == 0:
        return None
    if (known := _names(command, action)) is not None:
        kind, names, or_file = known
        return _script(kind, names, or_file=or_file)
    return _script("file", (), or_file=True) if action.type is Path or action.metavar in FILES else None


def _names(command: str, action: argparse.Action) -> tuple[str, Sequence[str], bool] | None:
    """What an argument names, the names that are known, and whether a file may stand there, too; None: no names."""
    from leo_runtime import shipped, solver
    from leo_runtime.command.schema import DOCUMENTS
    from leo_runtime.demo import WORKLOADS

    match command, action.dest:
        case _, "solver" | "policies":
            event_driven = () if command in ("solve", "explain") else solver.EVENT_DRIVEN
            return "solver", (*solver.SOLVERS, *event_driven), False
        case (_, "hardware") | ("hardware", "name"):
            return "hardware_or_file", shipped.names("hardware"), True
        case (_, "profile") | ("profiles", "names"):
            return "profile_or_file", shipped.names("profile"), True
        case _, "workload":
            return "workload_or_file", tuple(WORKLOADS), True
        case _, "recording":
            return "recording_or_file", shipped.recordings(), True
        case "schema", "name":
            return "document", tuple(DOCUMENTS), False
    return None


_FISH_FILES = """complete -C "'' "(commandline -ct)"""
"""Files as fish completes them by itself: its own `__fish_complete_path` knows no quotes and no `~`."""


def _script(kind: str, names: Sequence[str], *, or_file: bool) -> dict[str, Any]:
    """A function of each shell that gives the names, and files where they may be meant, too."""
    function, words = f"_leo_runtime_{kind}", " ".join(names)
    bash = [f'compgen -W "{words}" -- "$1"'] * bool(names) + ['compgen -f -- "$1"'] * or_file
    zsh = ["_alternative", f"'names:name:({words})'", *["'files:file:_files'"] * or_file] if names else ["_files"]
    fish = [f"printf '%s\\n' {words}"] * bool(names) + [_FISH_FILES] * or_file
    return {
        "bash": function,
        "zsh": function,
        "fish": f"({function})",
        "preamble": {
            "bash": f"{function}() {{ {'; '.join(bash)}; }}",
            "zsh": f"{function}() {{ {' '.join(zsh)} }}",
            "fish": f"function {function}; {'; '.join(fish)}; end",
        },
    }
