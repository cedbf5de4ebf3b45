"""The addresses of a name. The system looks them up for as long as it likes, which neither ends at a time nor can be
given up: so a thread does, and who waits for it goes when he has to.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any


class Lookup:
    """Looks names of one server up, one at a time. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Future[list[Any]] | None = None

    def addresses(
        self, host: str, port: int, most_s: float, waits_until: Callable[[Callable[[], object]], object]
    ) -> list[Any]:
        """What `socket.getaddrinfo` finds. `waits_until` is told how to end the waiting, from any thread.

        Raises `OSError`, also where that was done, and `TimeoutError` when `most_s` has passed.
        """
        with suppress(socket.gaierror):  # It is a name.
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        is_over = threading.Event()
        waits_until(is_over.set)
        found = self._asked(host, port)
        found.add_done_callback(lambda _: is_over.set())
        if most_s <= 0 or not is_over.wait(most_s):
            raise TimeoutError
        if not found.done():
            raise OSError("it was given up")
        return list(found.result())

    def _asked(self, host: str, port: int) -> Future[list[Any]]:
        """What is under way already, if anything is: where names are not found threads would become ever more."""
        with self._lock:
            if self._under_way is None or self._under_way.done():
                self._under_way = Future()
                ask = threading.Thread(
                    target=_look_up, args=(self._under_way, host, port), name="leo lookup", daemon=True
                )
                ask.start()
            return self._under_way


def _look_up(found: Future[list[Any]], host: str, port: int) -> None:
    try:
        found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except BaseException as error:
        found.set_exception(error)
