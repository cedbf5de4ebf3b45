"""What commands share: exit statuses, kinds of arguments, and talk."""

from __future__ import annotations

import argparse
import json
import math
import sys
from contextlib import suppress

DONE, ANSWERED_NO, WRONG_USE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
"""Exit statuses."""


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
    """An argument that is a finite number of at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {json.dumps(text)}")
    return number


def add_machine(parser: argparse.ArgumentParser, hardware: str) -> None:
    """The arguments of commands that measure a workload on a machine, which is `hardware` unless another is named."""
    parser.add_argument("--workload", metavar="FILE", help="what to run (default: the demo's)")
    parser.add_argument(
        "--hardware", default=hardware, metavar="NAME", help=f"a shipped machine or a file (default: {hardware})"
    )


def say(text: str) -> None:
    """Talk, which goes to standard error: standard output is for data. Where nothing can be written, nobody hears."""
    with suppress(OSError):
        print(text, file=sys.stderr)
