"""A cell run, whatever comes of it."""

from __future__ import annotations

import traceback
from pathlib import Path

from leo_runtime.errors import LeoError
from leo_runtime.study.cells import Cell
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from leo_runtime.study.measure import measure
from leo_runtime.study.outcome import Outcome
from leo_runtime.study.rows import row_bytes
from leo_runtime.study.shared import Shared

MOST_TOLD = 2_000
"""How many characters of a cause are kept."""


def outcome(study: Study, loader: Loader, cell: Cell, shared: Shared, logs: Path | None) -> Outcome:
    """Run a cell; what it raises is its cause. Raises what asks the process to end."""
    try:
        ready = loader.ready(cell)
        measured = measure(study, ready, shared, logs)
    except LeoError as error:
        return Outcome(cell.number, cause=_plain(str(error)), hint=_plain(error.hint))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Whatever it is, it is this cell's, and the others go on.
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return Outcome(cell.number, cause=_plain(f"{type(error).__name__}: {error} (in {where})"))
    return Outcome(cell.number, row_bytes(measured.row).decode(), ready.inputs, dict(measured.times))


def _plain(text: str) -> str:
    """A text that can be kept: what stands for the bytes of a file's name that are none is written out, and one that
    goes on for ever, as where an array is in it, is cut."""
    told = text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}... ({len(text):,} characters)"
    return told.encode("utf-8", "backslashreplace").decode()
