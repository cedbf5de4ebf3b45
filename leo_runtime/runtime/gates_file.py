"""What the gates of a workload did, kept in a file from run to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from leo_runtime.errors import DocumentError, failure_text
from leo_runtime.frame.chances import GateHistories
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.background import Background
from leo_runtime.schema import require_writable

WRITTEN_EACH = 256
"""After how many frames it is written: whoever is killed loses no more."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What went wrong as the file was written while frames went on; each time it is tried again later."""

    count: int = 0
    last: str = ""
    """What the last failure said."""


class GatesFile:
    """For one thread at a time, but for `close`. What is there is a whole document, whenever the process ends."""

    def __init__(self, path: Path, workload: str) -> None:
        """Raises `DocumentError` for a file that is damaged or of another workload, and `InputError` where it could
        not be written."""
        self._path = path
        self._frames = 0
        # The disk is waited for by nobody who submits frames.
        self._writing = Background("leo-runtime gates", 1)
        self.known = _known(path, workload)
        """What it held; None: it was not there."""

    @property
    def unwritten(self) -> Unwritten:
        """How often it could not be written. From any thread."""
        failures = self._writing.failures
        return Unwritten(self._writing.failed, failure_text(failures[-1]) if failures else "")

    def frame_ended(self, kept: Callable[[], GateHistories]) -> None:
        """Write what is kept by now in the background, if it is time to. What goes wrong there is tried again."""
        self._frames += 1
        if self._frames % WRITTEN_EACH == 0:
            histories = kept()
            self._writing.put(lambda: histories.to_file(self._path), self._path)

    def close(self, histories: GateHistories, timeout_s: float) -> None:
        """Write all. From any thread. Raises `DocumentError` where that cannot be done."""
        self._writing.close(timeout_s)
        histories.to_file(self._path)


def _known(path: Path, workload: str) -> GateHistories | None:
    require_writable(path)
    if not path.exists():
        return None
    known = GateHistories.from_file(path)
    if known.workload != workload:
        raise DocumentError(
            str(path),
            f'expected what the gates of workload "{workload}" did, got those of "{known.workload}"',
            "$.workload",
            known.workload,
            hint="give each workload a `gates_file` of its own, or remove this one",
        )
    return known
