"""The process that runs cells for another one, which asks by a socket: one after the other, until that has ended."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from leo_runtime.study.cell_run import outcome
from leo_runtime.study.cells import cells
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from leo_runtime.study.outcome import Outcome
from leo_runtime.study.shared import Shared
from leo_runtime.study.workers import READY

GARBAGE = 70_000
"""After so many more values than were let go of it is looked which of them hold each other."""


def main(asked: int, life: int) -> None:
    """Answer what is asked on the socket of that descriptor; end when the other end of the pipe `life` has closed."""
    threading.Thread(target=_ends_with, args=(life,), daemon=True).start()
    # What a policy prints is not to get among the data of the command.
    sys.stdout = sys.stderr
    connection = Connection(asked)
    try:
        given = json.loads(connection.recv_bytes())
        study = Study.from_json(given["study"])
        loader, shared = Loader(study, Path(given["folder"])), Shared()
        logs = None if given["logs"] is None else Path(given["logs"])
        all_cells = cells(study)
        _collect_seldom()
        connection.send_bytes(READY)
        while True:
            cell = all_cells[int(connection.recv_bytes())]
            try:
                found = outcome(study, loader, cell, shared, logs)
            except SystemExit as error:  # A policy's.
                found = Outcome(cell.number, cause=f"it ended its process (SystemExit: {error.code})")
            connection.send_bytes(found.to_json().encode())
    except (EOFError, ConnectionError):
        return


def _collect_seldom() -> None:
    """Look for garbage a hundredth as often as is usual, and not among what is there for good.

    A run makes millions of values, and hardly any that hold each other: looking for those is a fifteenth of a cell.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, *gc.get_threshold()[1:])


def _ends_with(life: int) -> None:
    os.read(life, 1)
    if os.getpgrp() == os.getpid():  # With what policies have started.
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
