"""`leo-runtime daemon`: run a workload as a service, from a config file."""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.command.shared import DONE, put, say
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from leo_runtime.daemon.config import DaemonConfig
    from leo_runtime.daemon.service import Daemon

EXAMPLE = "daemon --example here && leo-runtime daemon here/leo.toml"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    config: Path | None
    check: bool
    example: Path | None
    unit: bool


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", metavar="CONFIG", nargs="?", type=Path, help="a config, `leo-daemon/1`")
    does = parser.add_mutually_exclusive_group()
    does.add_argument(
        "--check",
        action="store_true",
        help="only say whether the config is right, and what it runs; it opens no device and no socket",
    )
    does.add_argument(
        "--example", type=Path, metavar="FOLDER", help="write a config that plays the shipped recording, and end"
    )
    does.add_argument("--unit", action="store_true", help="print a unit of systemd that runs the config, and end")


def run(request: Request) -> int:
    """Run until a signal ends it, or do what else is asked for. Returns the exit status."""
    if request.example is not None:
        return _write_example(request.example)
    if request.config is None:
        raise InputError("no config is named", hint="`leo-runtime daemon --example .` writes one")
    if request.unit:
        return _print_unit(request.config)
    daemon = _daemon(request.config)
    if request.check:
        put(f"{request.config}: {daemon.check()}\n")
        return DONE
    from leo_runtime.daemon.logs import logging_to

    faulthandler.enable()  # A watchdog that ends it leaves the stacks of all threads in the log.
    for_journal = "JOURNAL_STREAM" in os.environ
    with _signals(daemon), logging_to(sys.stderr, daemon.config.log, for_journal=for_journal) as log_by:
        daemon.follow(lambda config: log_by(config.log))
        daemon.run()
    return DONE


def _read(path: Path) -> DaemonConfig:
    from leo_runtime.daemon.config import DaemonConfig

    return DaemonConfig.from_file(path)


def _daemon(config: Path) -> Daemon:
    from leo_runtime.daemon.service import Daemon

    return Daemon(lambda: _read(config), config.absolute().parent, name=config.stem)


def _write_example(folder: Path) -> int:
    from leo_runtime.daemon.templates import write_example

    path = write_example(folder)
    put(f"written: {path}\n")
    say(f"run it: leo-runtime daemon {path}")
    return DONE


def _print_unit(config: Path) -> int:
    from leo_runtime.daemon.loading import uses_network
    from leo_runtime.daemon.templates import unit

    command = Path(sys.argv[0]).absolute()
    if command.suffix == ".py":  # As `python -m leo_runtime` calls itself.
        if not sys.executable:
            raise InputError(
                "a unit starts the command `leo-runtime`, and this Python does not say where it is",
                hint="call `leo-runtime daemon --unit` by the path that it has",
            )
        command = Path(sys.executable).with_name("leo-runtime")
    read, path = _read(config), config.absolute()
    put(unit(str(command), path, read.drain_s, uses_network=uses_network(read, path.parent)))
    return DONE


@contextmanager
def _signals(daemon: Daemon) -> Iterator[None]:
    """Within it SIGTERM and SIGINT end the daemon, and SIGHUP has it read its config again."""
    import signal

    does = {signal.SIGTERM: daemon.stop, signal.SIGINT: daemon.stop, signal.SIGHUP: daemon.reload}
    before = {number: signal.signal(number, lambda *_, act=act: act()) for number, act in does.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
