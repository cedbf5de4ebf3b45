"""The what-ifs of a command, `--set`, `--without`, `--fault` and the others, in the order they are given."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from leo_runtime.command.shared import look, put, say

if TYPE_CHECKING:
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.profile import Profile
    from leo_runtime.documents.workload import Workload
    from leo_runtime.recordings.recording import Recording
    from leo_runtime.replay.replay import Time

HELP = "help"
"""Given to `--set`, it lists all paths."""


class _Change(argparse.Action):
    """One change more, in the words of `documents.changes`: those of the option (its `const`) and its value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  # argparse's own
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.given = (*getattr(namespace, "given", ()), option_string)
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), f"{self.const}{values}"))


def add_changes(parser: argparse.ArgumentParser) -> None:
    """The arguments of commands that run changed documents, all of them in `changes`."""
    group = parser.add_argument_group("what if", "changes for this run, made in the order given; each may be repeated")

    def option(name: str, metavar: str, word: str, says: str) -> None:
        group.add_argument(name, dest="changes", action=_Change, const=word, default=(), metavar=metavar, help=says)

    option(
        "--set", "PATH=VALUE", "", "such as graphs.speech.deadline_us=200000 or 'links.*.bytes_per_s*=0.5'; help: all"
    )
    option("--without", "NAME", "without ", "a processor, a radio, a link or a graph")
    option("--scale-deadlines", "FACTOR", "scale-deadlines ", "of all graphs")
    option("--slow", "NAME=FACTOR", "slow ", "runs on a processor last so many times as long, at the same power")
    option("--network", "NAME=TRACE", "network ", "links over a radio, or a link, do as a made-up trace: lte-like")
    option("--fault", "NAME@WHEN", "fault ", "gone from 12 s to 20 s: cloud@12-20; or about every 30 s for 5: lte@30/5")


def show_paths(workload: Workload, hardware: Hardware, columns: int | None) -> None:
    """Print every path into these documents."""
    from leo_runtime.documents.path_list import path_forms
    from leo_runtime.report import path_text

    put(path_text.text(path_forms(workload, hardware), look(columns)))


def measured_for(workload: Workload, hardware: Hardware, changes: Sequence[str]) -> tuple[Workload, Hardware]:
    """What a profile is to be measured for, before changes can be made to it: nothing is taken out yet.

    A profile that is kept then serves with and without a processor. Raises `InputError`.
    """
    from leo_runtime.documents.changes import changed_unmeasured

    return changed_unmeasured(workload, hardware, [one for one in changes if not one.startswith("without ")])


def check_changes(workload: Workload, hardware: Hardware, changes: Sequence[str]) -> tuple[Workload, Hardware]:
    """Raise `InputError` for changes that cannot be made, before anything is measured. Returns both, changed."""
    from leo_runtime.documents.changes import changed_unmeasured

    return changed_unmeasured(workload, hardware, changes)


def make_changes(
    workload: Workload, hardware: Hardware, profile: Profile, recording: Recording, changes: Sequence[str], time: Time
) -> tuple[Workload, Hardware, Profile, Recording]:
    """All of them changed; what is to be known of it is said. Raises `InputError`."""
    from leo_runtime.documents.changes import changed

    done = changed(workload, hardware, profile, changes)
    found = recording.with_changes(done.hardware, changes)
    told = (
        done.notes if found is recording else tuple(note for note in done.notes if "no number to multiply" not in note)
    )
    for note in (*told, *(_real(change) for change in changes if time == "real" and _is_modelled(change))):
        say(f"note: {note}")
    return done.workload, done.hardware, done.profile, found


_REAL = ("backend", "options", "lanes", "memory_bytes")
"""What a change of a processor changes of the machine at hand, too."""


def _is_modelled(change: str) -> bool:
    """Whether plans and bills alone know of a change in real time."""
    begin, _, rest = change.partition(".")
    if begin == "processors":
        return not any(f".{field}" in rest for field in _REAL)
    return change.startswith(("slow ", "network ", "fault ", "profile.", "links.", "radios."))


def _real(change: str) -> str:
    if change.startswith("fault "):
        return f"in real time `{change}` changes nothing: what fails there fails by itself"
    return f"in real time `{change}` changes plans and what they are charged, not how long this machine takes"
