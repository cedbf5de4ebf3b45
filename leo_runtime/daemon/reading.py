"""Lines and bytes of a connection, both bounded by who asks."""

from __future__ import annotations

import socket
import threading

from leo_runtime.errors import DocumentError


class Reading:
    """Lines and bytes of a connection. Raises `OSError` where it ends before its time, or is to be stopped."""

    def __init__(self, one: socket.socket, stop: threading.Event) -> None:
        """`one` has a timeout: that often it is looked whether to stop."""
        self._one = one
        self._stop = stop
        self._kept = bytearray()

    def line(self, most: int, called: str) -> bytes | None:
        """The next line; None where there are no more. Raises `DocumentError` for one of more bytes, which it names."""
        while (at := self._kept.find(b"\n")) < 0:
            if len(self._kept) > most:
                raise DocumentError(called, f"has more than {most} bytes")
            if not self._more(1 << 12):
                if self._kept:
                    raise ConnectionError("it ends within a line")
                return None
        line = bytes(self._kept[:at])
        del self._kept[: at + 1]
        return line

    def bytes(self, count: int) -> bytes:
        """The next bytes, all of them."""
        while len(self._kept) < count:
            if not self._more(min(1 << 16, count - len(self._kept))):
                raise ConnectionError("it ends within samples")
        found = bytes(self._kept[:count])
        del self._kept[:count]
        return found

    def _more(self, most: int) -> bool:
        while True:
            if self._stop.is_set():
                raise ConnectionError("the daemon ends")
            try:
                piece = self._one.recv(most)
            except TimeoutError:
                continue
            self._kept += piece
            return bool(piece)
