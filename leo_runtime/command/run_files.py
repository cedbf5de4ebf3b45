"""The files of a replay: its log, its times and, where the extra for it is there, its trace, in a folder of its own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from leo_runtime.command.shared import say
from leo_runtime.errors import DocumentError, MissingExtraError
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.log_file import ContinuedFile, LogFile
from leo_runtime.replay.run_folder import LOG, TIMES, TRACE, next_folder
from leo_runtime.replay.times import TimesWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from leo_runtime.frame.entries import Entry
    from leo_runtime.frame.records import FrameResult
    from leo_runtime.replay.log_text import Settings
    from leo_runtime.replay.replay import FrameSink, Replay
    from leo_runtime.report.perfetto import TraceWriter


class RunFiles:
    """All of them as one sink. The folder is made as the replay begins: one that cannot begin leaves none."""

    def __init__(
        self, settings: Settings, out: Path = Path(), name: str = "", *, log: Path | None = None, traced: bool = True
    ) -> None:
        """The folder is that of a new run of this name in `out`, or of the run that has this `log` and goes on.

        `traced`: with a trace. Nothing is made or written yet.
        """
        self._settings = settings
        self._out = out
        self._name = name
        self._resumed = log
        self._traced = traced
        self._sinks: list[FrameSink] = []
        self._open = ExitStack()
        self._file: LogFile | None = None
        self._log: LogWriter | None = None
        self.folder: Path | None = None
        """Where they are; None: the replay has not begun."""
        self.paths: list[Path] = []

    def begin(self, begun: Replay, /) -> None:
        """Make the folder and the files. Raises `InputError` and `DocumentError` where that cannot be done."""
        resumed = self._resumed is not None
        log = next_folder(self._out, self._name) / LOG if self._resumed is None else self._resumed
        self.folder = log.parent
        self._file = ContinuedFile(log) if resumed else LogFile(log)
        self._log = self._open.enter_context(LogWriter(self._file, self._settings))
        self._sinks = [self._log, self._open.enter_context(TimesWriter(self.folder / TIMES, resumed=resumed))]
        self.paths = [log, self.folder / TIMES]
        if self._traced and (trace := _trace(self.folder / TRACE)) is not None:
            self._sinks.append(self._open.enter_context(trace))
            self.paths.append(self.folder / TRACE)
        for sink in self._sinks:
            sink.begin(begun)

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        """Write what they say of a frame. Raises `DocumentError`."""
        for sink in self._sinks:
            sink.frame(ended, settled_us)

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """Write what they say of energy. Raises `DocumentError`."""
        for sink in self._sinks:
            sink.energy(entries, settled_us)

    def resumed(self, at_us: int, lost: int) -> None:
        """Write that the run goes on at that time, by when so many frames had been lost. Raises `DocumentError`."""
        if self._log is not None:
            self._log.resumed(at_us, lost)

    def end(self, ended: Replay, /) -> None:
        """Write what they say at the end of a run. Raises `DocumentError`."""
        for sink in reversed(self._sinks):  # The log last: where its end is written, all of the run is.
            sink.end(ended)

    def __enter__(self) -> Self:
        """Themselves."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close them, and say what is there where the replay was interrupted, or could not be written to its end."""
        with ExitStack() as stack:
            if isinstance(error, KeyboardInterrupt | DocumentError):
                stack.callback(self._say_what_is_there, is_wrong=isinstance(error, DocumentError))
            stack.callback(self._open.close)

    def _say_what_is_there(self, *, is_wrong: bool) -> None:
        """Say it, and how to go on. `is_wrong`: going on may come to the same again, and the error says what to do."""
        if self._log is None or self._log.frames is None or not self.paths[0].exists():
            return
        where = self.paths[0].parent if self.paths[0].name == LOG else self.paths[0]
        if self._log.is_whole:
            say(f"the run itself is whole: {where}")
            return
        is_as_it_was = isinstance(self._file, ContinuedFile) and not self._file.is_ahead
        say(
            f"nothing was added: {where}"
            if is_as_it_was
            else f"written up to here ({self._log.frames} frames): {where}"
        )
        if not (is_as_it_was and is_wrong):
            say(f"hint: go on with `leo-runtime replay --resume {quote(str(where))}`")


def _trace(path: Path) -> TraceWriter | None:
    """What writes the trace; None, and said, where the extra for it is missing."""
    from leo_runtime.report.perfetto import TraceWriter

    try:
        return TraceWriter(path)
    except MissingExtraError as error:
        say(f"no trace: {error}\nhint: {error.hint}")
        return None
