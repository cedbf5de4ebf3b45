"""What a replay took on this machine, `times.jsonl` beside its log: a line a frame that was solved.

These are the figures of a run in virtual time that are others each time; its log holds none of them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from leo_runtime.appending import Appending
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.replay import Replay
from leo_runtime.version import VERSION


def now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


class TimesWriter:
    """Writes the times as the replay goes on.

    The first line is `{"format", "began", "version", "python", "platform"}`, the last of a whole run `{"ended"}`, any
    other `{"frame", "solve_us"}`: how long its solver took. Frames that used a plan again, and waited for no solver,
    have no line.
    """

    def __init__(self, file: Path | Appending, clock: Callable[[], datetime] = now) -> None:
        """Nothing is written before the replay begins."""
        self._file = Appending(file) if isinstance(file, Path) else file
        self._clock = clock

    def begin(self, _begun: Replay, /) -> None:
        """Write the first line, in place of what the file held. Raises `DocumentError` when it cannot be written."""
        self._file.start()
        self._write(
            format="leo-times/1",
            began=self._clock().isoformat(timespec="seconds"),
            version=VERSION,
            python=platform.python_version(),
            platform=platform.platform(),
        )

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        """Write how long its solver took. Raises `DocumentError`."""
        if ended.placement.solve_us:
            self._write(frame=ended.frame, solve_us=ended.placement.solve_us)

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """Nothing: energy takes no time here."""

    def end(self, _ended: Replay, /) -> None:
        """Write when it ended. Raises `DocumentError`."""
        self._write(ended=self._clock().isoformat(timespec="seconds"))

    def _write(self, **data: str | int) -> None:
        self._file.write((json.dumps(data) + "\n").encode())

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()
