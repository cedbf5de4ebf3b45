"""What systemd is told, and hands over: readiness, progress, reloads, and sockets that it has opened."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

from leo_runtime.errors import printable

FIRST_FD = 3
"""Descriptors that are handed over begin here."""
PATIENCE_S = 1.0
"""For so long it is waited with what has to be told, where systemd is behind with hearing it."""


class Notifier:
    """Tells systemd how the daemon is doing; nothing where no systemd asked for it. From any thread; never raises."""

    def __init__(self, environment: Mapping[str, str], failed: Callable[[], None] = lambda: None) -> None:
        """`NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are of systemd. `failed` hears each time that it could
        not be told."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self.watchdog_s = _watchdog_s(environment)
        """How often at least it has to be told that the daemon gets on; None: it does not ask."""
        self._failed = failed

    def ready(self, status: str) -> None:
        """The daemon is up, or has read its config again."""
        self.tell(f"READY=1\nSTATUS={printable(status)}", PATIENCE_S)

    def reloading(self) -> None:
        """It reads its config again; `ready` follows."""
        self.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", PATIENCE_S)

    def stopping(self, status: str) -> None:
        """It ends."""
        self.tell(f"STOPPING=1\nSTATUS={printable(status)}", PATIENCE_S)

    def status(self, status: str) -> None:
        """What `systemctl status` shows."""
        self.tell(f"STATUS={printable(status)}")

    def alive(self) -> None:
        """It got on since this was last told."""
        self.tell("WATCHDOG=1")

    def tell(self, message: str, patience_s: float = 0.0) -> None:
        """Lines of `NAME=value`; it waits at most so long where systemd has too many to hear."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(patience_s)
                out.sendto(message.encode(), self._address)
        except OSError:
            self._failed()


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    given, of = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not given.isdecimal() or int(given) == 0 or (of and of != str(os.getpid())):
        return None
    return int(given) / 1e6


def handed_over(environment: Mapping[str, str]) -> dict[str, socket.socket]:
    """Sockets that systemd has opened for this process, by their names; those without one are `1`, `2` and so on."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = {}
    for index in range(int(count)):
        named = names[index] if index < len(names) and names[index] not in ("", "unknown") else str(index + 1)
        fd = FIRST_FD + index
        os.set_inheritable(fd, False)
        found[named] = socket.socket(fileno=fd)
    return found
