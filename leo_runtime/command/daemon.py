"""`leo-runtime daemon`: run a workload as a service, from a config file."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import DONE

EXAMPLE = "daemon leo.toml"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    config: Path


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", metavar="CONFIG", type=Path, help="a config, `leo-daemon/1`")


def run(request: Request) -> int:
    """Run until a signal ends it. Returns the exit status."""
    from leo_runtime.daemon.config import DaemonConfig
    from leo_runtime.daemon.service import Daemon

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s: %(message)s")
    daemon = Daemon(lambda: DaemonConfig.from_file(request.config), request.config.absolute().parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
    daemon.run()
    return DONE
