"""Writes the log of a replay, `leo-log/2`: `leo_runtime.replay.log_lines` says what its lines hold.

In virtual time the same run gives the same bytes: nothing in it depends on how long anything took here, unless solving
is charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.identity import Replay
from leo_runtime.replay.log_file import LogFile
from leo_runtime.replay.log_text import (
    TOLD_BY_FRAMES,
    Lines,
    Questions,
    Settings,
    as_bytes,
    end_line,
    resumed_line,
    run_line,
)

CHECKED_EVERY = 64
"""After so many frames it is looked whether the file is still in its place."""


class LogWriter:
    """Writes the log as the replay goes on: what is there is whole lines, whenever the process ends."""

    def __init__(self, file: Path | LogFile, settings: Settings | None = None) -> None:
        """Nothing is written before the replay begins."""
        self._file = LogFile(file) if isinstance(file, Path) else file
        self._settings = Settings() if settings is None else settings
        self._questions = Questions() if self._settings.questions else None
        self._lines: Lines | None = None
        self._is_real = False
        self._nj = self._end_us = 0
        self.frames: int | None = None
        """How many frames the file holds; None: it was not begun."""
        self.is_whole = False
        """Whether the run has ended, and the file says so."""

    def begin(self, begun: Replay, /) -> None:
        """Write the run's line, in place of what the file held. Raises `DocumentError` when it cannot be written."""
        self._lines = Lines(begun.merged)
        self._is_real = begun.time == "real"
        self._end_us = begun.span.end_us - begun.span.start_us
        self._file.start()
        self._file.write(as_bytes(run_line(begun, self._settings)))
        self.frames = 0

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        """Write the frame's line, after that of its question where it is a new one. Raises `DocumentError`."""
        assert self._lines is not None and self.frames is not None, "a replay begins before its frames end"
        digest = question = ""
        if self._questions is not None and ended.solved is not None:
            digest, question = self._questions.digest(ended.solved)
        self._file.write(as_bytes(question + self._lines.frame(ended, digest, settled_us if self._is_real else None)))
        self.frames += 1
        if self.frames % CHECKED_EVERY == 0:
            self._file.require_there()
        self._nj += sum([run.nj for run in ended.stages]) + sum([send.nj for send in ended.transfers])
        self._nj += sum([load.nj for load in ended.loads])

    def energy(self, entries: Sequence[Entry], _settled_us: int, /) -> None:
        """Write what no frame's line tells. Raises `DocumentError`."""
        assert self._lines is not None, "a replay begins before it costs energy"
        others = [entry for entry in entries if entry.cause not in TOLD_BY_FRAMES]
        if others:
            self._file.write(as_bytes(self._lines.energy(others)))
            self._nj += sum([entry.nj for entry in others])
            self._end_us = max(self._end_us, max([entry.until_us for entry in others]))

    def resumed(self, at_us: int, lost: int) -> None:
        """Write that the run goes on at that time, by when so many frames had been lost. Raises `DocumentError`."""
        self._file.write(as_bytes(resumed_line(at_us, lost)))

    def end(self, ended: Replay, /) -> None:
        """Write the line that says that the run is whole. Raises `DocumentError`."""
        assert self.frames is not None, "a replay begins before it ends"
        # What draws nothing as it stands by has no entry that lasts until the end.
        end_us = max(self._end_us, ended.summary.end_us)
        self._file.write(as_bytes(end_line(self.frames, end_us, self._nj, ended.summary.links)))
        self._file.require_there()
        self.is_whole = True

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()
