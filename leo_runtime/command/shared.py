"""What commands share: exit statuses, kinds of arguments, how wide and how loud they are."""

from __future__ import annotations

import argparse
import codecs
import json
import math
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.errors import InputError, printable
from leo_runtime.progress import Pace, Progress, ProgressBar, tell
from leo_runtime.terminal import FEWEST_COLUMNS, Look

if TYPE_CHECKING:
    from leo_runtime.recordings.recording import Recording

DONE, ANSWERED_NO, WRONG_USE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
"""Exit statuses."""
MAX_AMOUNT = 1e9
"""More seconds than any recording has: in microseconds still a number that documents hold."""


def count(text: str) -> int:
    """An argument that is a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {json.dumps(text)}")
    return int(text)


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if count(text) < 1:
        raise argparse.ArgumentTypeError("expected at least 1, got 0")
    return int(text)


def amount(text: str) -> float:
    """An argument that is a number from 0 to `MAX_AMOUNT`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {json.dumps(text)}")
    if number > MAX_AMOUNT:
        raise argparse.ArgumentTypeError(f"expected a number of at most {MAX_AMOUNT:g}, got {json.dumps(text)}")
    return number


def names_of(text: str) -> tuple[str, ...]:
    """An argument that is names between commas, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names between commas, got {json.dumps(text)}")
    return names


def given_data(text: str) -> Path | Recording:
    """A model's inputs as they are named: a file of numpy, or a recording, by its name or folder."""
    from leo_runtime import shipped
    from leo_runtime.measure.input_files import SUFFIXES

    path = Path(text)
    return path if path.suffix in SUFFIXES else shipped.recording(text)


def add_workload(parser: argparse.ArgumentParser) -> None:
    """The argument that names workloads, for `shipped.workload`."""
    parser.add_argument(
        "--workload",
        action="append",
        metavar="FILE",
        help="what to run, a file or a shipped one; given several times: all of them beside each other (default: demo)",
    )


def add_machine(parser: argparse.ArgumentParser, hardware: str) -> None:
    """The arguments of commands that measure a workload on a machine, which is `hardware` unless another is named."""
    add_workload(parser)
    parser.add_argument(
        "--hardware", default=hardware, metavar="NAME", help=f"a shipped machine or a file (default: {hardware})"
    )


def add_width(parser: argparse.ArgumentParser) -> None:
    """The arguments of commands that print tables: how wide, for `look`."""
    wide = parser.add_mutually_exclusive_group()
    wide.add_argument("--wide", dest="columns", action="store_const", const=0, help="tables as wide as they get")
    wide.add_argument(
        "--width",
        dest="columns",
        type=_columns,
        metavar="N",
        help="tables of at most N columns (default: the terminal's, else 80)",
    )


def _columns(text: str) -> int:
    if count(text) < FEWEST_COLUMNS:
        raise argparse.ArgumentTypeError(f"expected at least {FEWEST_COLUMNS}, got {text}")
    return int(text)


def look(asked: int | None) -> Look:
    """How text on standard output is laid out; `asked` is what `add_width` gives as `columns`."""
    return Look.of(sys.stdout, os.environ, asked)


def put(text: str) -> None:
    """Data, which goes to standard output, newline included. Raises `InputError` where that takes no more.

    What its encoding has no character for is written as JSON escapes it, so that a document stays one.
    """
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError as error:
            codecs.register_error("leo-escaped", _escaped)
            sys.stdout.write(text.encode(error.encoding, "leo-escaped").decode(error.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise InputError(
            f"standard output cannot be written ({error.strerror or error})", hint="send it where there is room"
        ) from None


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def discard_output() -> None:
    """Let go of what standard output holds back, which would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Talk:
    """How loud the command is that runs, and when it last told how far it is."""

    def __init__(self) -> None:
        self.is_quiet = False
        self.pace = Pace()


_talk = _Talk()


def begin(*, quiet: bool) -> None:
    """A command begins; `quiet`: it says nothing but data and errors."""
    _talk.is_quiet, _talk.pace = quiet, Pace()


def say(text: str) -> None:
    """Talk, which goes to standard error, unless the command is quiet: standard output is for data."""
    if not _talk.is_quiet:
        complain(text)


def complain(text: str) -> None:
    """What is wrong, which goes to standard error, however quiet the command is."""
    # What it names may be a file's own, and hold what a terminal obeys.
    lines = [printable(line) for line in text.split("\n")]
    tell(sys.stderr, "\n".join(lines) + "\n")


def bar(title: str) -> AbstractContextManager[Progress]:
    """Shows how far something is, under that title, unless the command is quiet."""
    return nullcontext(lambda *_: None) if _talk.is_quiet else ProgressBar(title, pace=_talk.pace)
