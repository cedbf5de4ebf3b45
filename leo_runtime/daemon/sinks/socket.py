"""Answers as lines of JSON on a Unix socket, to whoever of the same user connects."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from leo_runtime.clock import WallClock
from leo_runtime.daemon.answer import Answer, as_line
from leo_runtime.daemon.kinds import SinkConfig, Site
from leo_runtime.daemon.unix_socket import Listening, check, is_own, listen, own_place, place
from leo_runtime.daemon.waking import Waker
from leo_runtime.schema import PathName

MOST_SUBSCRIBERS = 64
LOOKS_MS = 100
"""How often it is looked, where nothing would wake it."""
LAST_WORDS_S = 1.0
"""How long subscribers may take for what they have not read yet when the daemon ends."""


class SocketSink(SinkConfig):
    """A Unix socket that anybody of the daemon's user may listen on."""

    kind: Literal["socket"]
    path: PathName = "answers.sock"
    """Where it is: a name alone is in the runtime directory; `systemd:NAME` is a socket that systemd opened."""
    behind_bytes: Annotated[int, Field(ge=4096, le=1 << 30)] = 1 << 20
    """A subscriber that has so much still to read is hung up on, and counted."""

    def own_place(self, folder: Path) -> str:
        """The socket."""
        return own_place(self.path, folder)

    def check(self, site: Site) -> None:
        """Whether a socket can be there."""
        check(self.path, place(self.path, site.folder, site.runtime_dir))

    def open(self, site: Site) -> Subscribers:
        """Listen. Raises `InputError`."""
        listening = listen(self.path, place(self.path, site.folder, site.runtime_dir), site.sockets)
        return Subscribers(listening, self.behind_bytes, site.counts.other)


class Subscribers:
    """Those who are connected. `publish` never waits for any of them."""

    def __init__(self, listening: Listening, behind_bytes: int, count: Callable[[str], None]) -> None:
        """`count` is told of `subscribers`, `subscribers_dropped` (who was too slow) and `peers_refused`."""
        self._listening = listening
        self._behind_bytes = behind_bytes
        self._count = count
        self._lock = threading.Lock()
        self._behind: dict[socket.socket, bytearray] = {}
        """What each has still to be sent."""
        self._silent: set[socket.socket] = set()
        """Those who have shut down their own side, and only read."""
        self._left: list[socket.socket] = []
        self._waker = Waker()
        self._closing = False
        self._full = False
        """Whether nobody could be let in just now, for want of files."""
        listening.socket.setblocking(False)
        self._thread = threading.Thread(target=self._go, name="leo socket sink", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> int:
        """How many subscribers there are."""
        return len(self._behind)

    def publish(self, answer: Answer) -> None:
        """Send it to all who are connected."""
        line = as_line(answer)
        with self._lock:
            while not self._closing and self._accept():  # Who had connected before it gets it.
                pass
            for one in tuple(self._behind):
                self._behind[one] += line
                self._send(one)
                if one in self._behind and len(self._behind[one]) > self._behind_bytes:
                    self._count("subscribers_dropped")
                    self._hang_up(one)
        self._waker.wake()

    def close(self) -> None:
        """Send what is left, for a moment, and hang up. Closing twice is fine."""
        if self._closing:
            return
        self._closing = True
        self._waker.wake()
        self._thread.join(2 * LAST_WORDS_S)
        self._listening.close()

    def _go(self) -> None:
        began: WallClock | None = None
        while True:
            if self._closing:
                began = began or WallClock()
                if began.now_us() > LAST_WORDS_S * 1e6 or not any(self._behind.values()):
                    break
            poll = select.poll()
            poll.register(self._waker, select.POLLIN)
            waits_ms = LOOKS_MS if self._closing or self._full else None
            if not self._closing and not self._full:
                poll.register(self._listening.socket, select.POLLIN)
            self._full = False
            with self._lock:
                known = {one.fileno(): one for one in self._behind}
                for fd, one in known.items():
                    hears = 0 if one in self._silent else select.POLLIN  # That it is gone is told in any case.
                    poll.register(fd, hears | (select.POLLOUT if self._behind[one] else 0))
            ready = poll.poll(waits_ms)
            with self._lock:
                for fd, events in ready:
                    if fd == self._waker.fileno():
                        self._waker.wait(0.0)
                    elif fd not in known:
                        self._accept()
                    elif events & (select.POLLHUP | select.POLLERR):
                        self._hang_up(known[fd])
                    elif events & select.POLLOUT:
                        self._send(known[fd])
                    else:
                        self._hear(known[fd])
                self._close_left()
        with self._lock:
            for one in tuple(self._behind):
                self._hang_up(one)
            self._close_left()

    # Behind the lock.

    def _accept(self) -> bool:
        """Let in who is next, or refuse him; whether there was anybody."""
        try:
            one, _ = self._listening.socket.accept()
        except (BlockingIOError, ConnectionError):  # It is gone again.
            return False
        except OSError:  # There are too many files: it waits until there are fewer.
            self._full = True
            return False
        if not is_own(one) or len(self._behind) >= MOST_SUBSCRIBERS:
            self._count("peers_refused")
            one.close()
            return True
        one.setblocking(False)
        self._behind[one] = bytearray()
        self._count("subscribers")
        return True

    def _hear(self, one: socket.socket) -> None:
        """A subscriber has nothing to say: what it says is ignored."""
        try:
            if not one.recv(4096):
                self._silent.add(one)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(one)

    def _send(self, one: socket.socket) -> None:
        behind = self._behind.get(one)
        while behind:
            try:
                del behind[: one.send(behind, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)]
            except BlockingIOError:
                return
            except OSError:
                self._hang_up(one)
                return

    def _hang_up(self, one: socket.socket) -> None:
        """It gets no more; closed on this socket's own thread alone, which may be waiting for it."""
        self._silent.discard(one)
        if self._behind.pop(one, None) is not None:
            self._left.append(one)

    def _close_left(self) -> None:
        for one in self._left:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._left.clear()
