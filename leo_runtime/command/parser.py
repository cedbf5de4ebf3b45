"""The arguments of all commands: which there are, what each takes, and what is said of a word that none of them knows.

Only the command that is given is imported, so that help and mistakes cost no more than they must.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from importlib import import_module
from typing import Any, Protocol, cast

from leo_runtime import __version__
from leo_runtime.command.shared import begin
from leo_runtime.errors import did_you_mean

COMMANDS = {
    "solve": "Answer the question of a frame (leo-problem/1), of a window (/2), or of a frame with weights (/3).",
    "check": "Judge an answer by the rules alone.",
    "explain": "Say why each stage is where it is, what its other modes would cost, and why an answer was late.",
    "schema": "Print the JSON Schema of a document.",
    "backends": "Show which processors can be used here, and how to get the others.",
    "hardware": "List the machines that ship, or show one: processors, radios, links, and where figures are from.",
    "profiles": "List the machines and profiles that ship; show, compare, merge or plot profiles.",
    "calibrate": "Measure every stage of a workload on every processor that is here, and write a profile.",
    "replay": "Run a recording in virtual time on a phone, then in real time here, and compare policies.",
    "daemon": "Run a workload as a service, from a config file: sources in, answers out.",
    "serve": "Run a workload's stages for devices elsewhere, by the Open Inference Protocol v2 over HTTP.",
    "compare": "Show what differs between two runs: their set-up, their sums, and answer by answer.",
    "export": "Write what a run's log holds as Parquet tables.",
    "report": "Write a page of a run or a study to look at, in one file (extra `page`).",
    "recording": "Show what is in a recording; convert, cut or make one.",
    "model": "Show what is in a neural network's file, write a workload whose stages are its pieces, or make it int8.",
    "study": "Run a placement study: a question in one file, a row for each of its cells.",
    "variants": "Make smaller forms of a network, measure what each loses and costs, and keep those worth placing.",
    "pack": "Measure what outputs take and lose in smaller forms, for the way to a server, and write a workload so.",
    "bench": "Measure this machine as a published table does, and print both.",
    "tune": "Search the fastest kernel parameters for this machine's device, and keep them in the user's cache.",
    "top": "Show a daemon as it runs: answers, latencies, energy, lanes, streams (extra `daemon`).",
    "doctor": "Say what is here and what is missing for a daemon, and the way out.",
    "completion": "Print what makes a shell complete these commands: bash, zsh or fish (extra `completion`).",
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


class _Parser(argparse.ArgumentParser):
    """Says of a word that it does not know which one was probably meant. Every command and action can be quiet.

    Options are given in full: `--with gpu` would otherwise be taken for `--without gpu`, and do the opposite.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        # Suppressed: an action's default would take the place of what its command was given.
        says = "only data and errors: no progress, no talk"
        self.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=says)

    def parse_args(  # type: ignore[override]  # argparse tells types of namespaces apart
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse does it."""
        parsed, left = self.parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}{_hint(left[0], _options(self, parsed))}")
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does it, which calls this for every value of an argument with choices."""
        if action.choices is not None and value not in action.choices:
            hint = did_you_mean(value, map(str, action.choices))
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}\nhint: {hint}")


def _hint(word: str, options: Sequence[str]) -> str:
    """What was probably meant by an unknown option; nothing where no option is near."""
    from difflib import get_close_matches

    name = word.partition("=")[0]
    if not name.startswith("--"):
        return ""
    near = [option for option in options if option.startswith(name)]
    near = near or get_close_matches(name, options, n=1, cutoff=0.75)
    return f"\nhint: did you mean {' or '.join(f'`{option}`' for option in near)}?" if near else ""


def _options(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> list[str]:
    """The options of a parser, and of the command and action that are given."""
    found: list[str] = []
    for action in parser._actions:  # There is no other way to learn them; shtab goes it, too.
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            given = getattr(parsed, action.dest, None)
            inner = [one for name, one in action.choices.items() if given in (None, name)]
            found += [option for one in inner for option in _options(one, parsed)]
    return list(dict.fromkeys(found))


def parser(words: Sequence[str] | None) -> argparse.ArgumentParser:
    """All commands by name, and the arguments of the one that is given; with None, the arguments of all."""
    given = None if words is None else next((word for word in words if not word.startswith("-")), None)
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
        if words is None or name == given:
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
