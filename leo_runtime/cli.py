"""The command `leo-runtime`: data goes to standard output, talk to standard error.

Exit status: 0 done; 1 answered no (infeasible, rules broken, a replay in which something failed, a stage that could be
measured nowhere); 2 wrong use or bad input; 130 interrupted. The commands are in `leo_runtime.command`, one a file, of
which the one that is given is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from leo_runtime import __version__
from leo_runtime.command.shared import INTERRUPTED, PIPE_CLOSED, WRONG_USE, begin, complain, discard_output
from leo_runtime.errors import LeoError

COMMANDS = {
    "solve": "Answer the question of a frame (leo-problem/1) or of a window (leo-problem/2).",
    "check": "Judge an answer by the rules alone.",
    "explain": "Say why each stage is where it is, what its other modes would cost, and why an answer was late.",
    "schema": "Print the JSON Schema of a document.",
    "backends": "Show which processors can be used here, and how to get the others.",
    "profiles": "List the machines and profiles that ship; show, compare, merge or plot profiles.",
    "calibrate": "Measure every stage of a workload on every processor that is here, and write a profile.",
    "replay": "Run a recording in virtual time on a phone, then in real time here, and compare policies.",
    "compare": "Show what differs between two runs: their set-up, their sums, and answer by answer.",
    "export": "Write what a run's log holds as Parquet tables.",
    "recording": "Show what is in a recording; convert, cut or make one.",
    "bench": "Measure this machine as a published table does, and print both.",
    "tune": "Search the fastest kernel parameters for this machine's device, and keep them in the user's cache.",
}
"""What each command does; its file in `leo_runtime.command` has its name."""


class Command(Protocol):
    """What each file of `leo_runtime.command` has."""

    EXAMPLE: str
    Request: type

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments, one for each field of `Request`."""
        ...

    def run(self, request: Any) -> int:
        """Do what is asked for. Returns the exit status."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    if sys.stderr is None:  # Closed by whoever started this; talk must not go where data does.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # it stays until the process ends
    if sys.stdout is None:
        complain("standard output is closed")
        complain("hint: send it to a file, or to /dev/null")
        return WRONG_USE
    words = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser(words).parse_args(words)
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        status = run(parsed)
        sys.stdout.flush()
        return status
    except LeoError as error:
        complain(str(error))
        if error.hint:
            complain(f"hint: {error.hint}")
        return WRONG_USE
    except BrokenPipeError:
        # Whoever read the output has enough; what is still buffered must not complain at exit.
        discard_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        complain("interrupted")  # As a class was made: Python turns what is raised there into a RuntimeError.
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Every command and action can be quiet, wherever on the line that is said."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Suppressed: an action's default would take the place of what its command was given.
        says = "only data and errors: no progress, no talk"
        self.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=says)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """All commands by name, and the arguments of the one that is given."""
    given = next((word for word in words if not word.startswith("-")), None)
    parser = _Parser(
        prog="leo-runtime",
        description="Decides, frame by frame, which stage of which sensing pipeline runs where, and runs it.",
        epilog="Exit status: 0 done, 1 answered no (infeasible, rules broken, something failed in a replay), "
        "2 wrong use or bad input.",
    )
    parser.add_argument("--version", action="version", version=f"leo-runtime {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, says in COMMANDS.items():
        added = commands.add_parser(name, help=says, description=says)
        if name == given:
            command = cast("Command", import_module(f"leo_runtime.command.{name}"))
            command.add(added)
            added.epilog = f"Example: leo-runtime {command.EXAMPLE}"
            added.set_defaults(run=partial(_run, command))
    return parser


def _run(command: Command, parsed: argparse.Namespace) -> int:
    """Make the command's request of what was parsed, and run it."""
    begin(quiet=getattr(parsed, "quiet", False))
    given = {field.name: getattr(parsed, field.name) for field in fields(command.Request)}
    return command.run(command.Request(**given))
