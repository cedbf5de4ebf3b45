"""What a replay took on this machine, `times.jsonl` beside its log: a line a frame that was solved.

These are the figures of a run in virtual time that are others each time; its log holds none of them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from leo_runtime.appending import Appending
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.identity import Replay
from leo_runtime.version import VERSION


def now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


class KnownTimes:
    """What solving took in the part of a run that is there, to be asked for in the order in which its frames ended."""

    def __init__(self, path: Path) -> None:
        """Up to the first line that is not whole. Where there is no such file, nothing is known."""
        self._lines = _times(path)
        self._next = next(self._lines, None)

    def of(self, frame: int) -> int | None:
        """How long the solver of a frame took, in us: 0 where it used a plan again; None beyond what is known."""
        if self._next is None:
            return None
        if self._next[0] != frame:
            return 0
        solve_us = self._next[1]
        self._next = next(self._lines, None)
        return solve_us


def _times(path: Path) -> Iterator[tuple[int, int]]:
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError), path.open("rb") as file:
        for line in file:
            data = json.loads(line)
            if "frame" in data:
                yield int(data["frame"]), int(data["solve_us"])


class TimesWriter:
    """Writes the times as the replay goes on.

    The first line is `{"format", "began", "version", "python", "platform"}`, the last of a whole run `{"ended"}`, any
    other `{"frame", "solve_us"}`: how long its solver took. Frames that used a plan again, and waited for no solver,
    have no line. A run that goes on adds a line like the first, with `resumed` in place of `began`.
    """

    def __init__(self, path: Path, *, resumed: bool = False, clock: Callable[[], datetime] = now) -> None:
        """Nothing is written before the replay begins. `resumed`: what is there stays, and is not written again."""
        self._file = Appending(path)
        self._clock = clock
        self._resumed = resumed
        self._known: KnownTimes | None = None

    def begin(self, _begun: Replay, /) -> None:
        """Write the first line. Raises `DocumentError` when it cannot be written."""
        resumed = self._resumed and self._file.path.exists()
        if resumed:
            self._known = KnownTimes(self._file.path)
            self._file.go_on()
        else:
            self._file.start()
        self._write(
            format="leo-times/1",
            **{"resumed" if resumed else "began": self._clock().isoformat(timespec="seconds")},
            version=VERSION,
            python=platform.python_version(),
            platform=platform.platform(),
        )

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        """Write how long its solver took. Raises `DocumentError`."""
        solve_us = ended.placement.solve_us
        if solve_us and (self._known is None or self._known.of(ended.frame) is None):
            self._write(frame=ended.frame, solve_us=solve_us)

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
