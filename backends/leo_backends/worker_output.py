"""What becomes of what a worker process writes to its standard output and error."""

from __future__ import annotations

import codecs
import os
import selectors
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

KEPT_BYTES = 4096
"""How much of the end is kept, to say what a worker died of."""
_PIECE_BYTES = 65536
_PATIENCE_S = 1.0
"""How long the last words of a process that has ended are waited for: who it started may hold its output open."""


class WorkerOutput(Protocol):
    """Where one worker's output goes. Made before the worker is started, in the process that starts it."""

    @property
    def stdout(self) -> int:
        """The descriptor that is the worker's standard output."""
        ...

    @property
    def stderr(self) -> int:
        """The descriptor that is its standard error."""
        ...

    def begin(self) -> None:
        """The worker has been started."""
        ...

    def last(self) -> str:
        """The end of what it wrote, once it has ended. From any thread."""
        ...

    def close(self) -> None:
        """The worker has ended, or was never started. Twice is fine."""
        ...


class KeptOutput:
    """Nobody sees it, unless the worker dies of what it tells."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._last = ""
        self.stdout = self.stderr = self._file.fileno()

    def begin(self) -> None:
        """Nothing more to do."""

    def last(self) -> str:
        """The end of the file."""
        if not self._file.closed:
            size = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(0, size - KEPT_BYTES))
            self._last = self._file.read().decode(errors="replace")
        return self._last

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


class PassedOnOutput:
    """A thread of this process writes it to `sys.stdout` and `sys.stderr` of this moment, where users look for it.

    That is not always where descriptors 1 and 2 lead: in a notebook, for one.
    """

    def __init__(self, when_silent: Callable[[], object] = lambda: None) -> None:
        """`when_silent` is called in that thread when nothing more can come, which is when the worker has ended."""
        self._reading, self._writing = [], []
        try:
            for _ in range(2):
                reading, writing = os.pipe()
                self._reading.append(reading)
                self._writing.append(writing)
        except BaseException:
            self.close()
            raise
        self.stdout, self.stderr = self._writing
        self._owner = os.getpid()
        self._when_silent = when_silent
        self._last = b""
        self._thread = threading.Thread(target=self._pass_on, name="leo worker's output", daemon=True)

    def begin(self) -> None:
        """Start the thread, which ends with the worker."""
        self._close_writing()
        self._thread.start()

    def last(self) -> str:
        """The end of its standard error."""
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE_S)
        return self._last.decode(errors="replace")

    def close(self) -> None:
        """Wait for the last words. The thread closes what it reads."""
        self._close_writing()
        thread = getattr(self, "_thread", None)
        if thread is None or thread.ident is None or self._owner != os.getpid():
            while self._reading:
                os.close(self._reading.pop())
        elif thread is not threading.current_thread():
            thread.join(_PATIENCE_S)

    def _close_writing(self) -> None:
        while self._writing:
            os.close(self._writing.pop())

    def _pass_on(self) -> None:
        stdout, stderr = self._reading
        decoders = {pipe: codecs.getincrementaldecoder("utf-8")("replace") for pipe in self._reading}
        with selectors.DefaultSelector() as selector:
            for pipe in self._reading:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    said = os.read(key.fd, _PIECE_BYTES)
                    if not said:
                        selector.unregister(key.fd)
                    if key.fd == stderr:
                        self._last = (self._last + said)[-KEPT_BYTES:]
                    _write("stdout" if key.fd == stdout else "stderr", decoders[key.fd].decode(said, not said))
        while self._reading:
            os.close(self._reading.pop())
        self._when_silent()


def _write(name: str, text: str) -> None:
    """To `sys.stdout` or `sys.stderr`, which a program may have replaced, closed or never had."""
    stream = getattr(sys, name, None)
    if text and stream is not None:
        with suppress(Exception):  # It may be of any type; what is written is lost then.
            stream.write(text)
            stream.flush()
