"""The requests to one server that are under way, whatever they go by."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from leo_backends.remote.options import Place, with_token_of_now
from leo_runtime.errors import KernelError

SPARE_BYTES = 1 << 16
"""More than the outputs that an answer may have, for its JSON."""
LONGEST_IDLE_US = 60_000_000
"""Routers and balancers on the way forget a connection that is silent, the hastiest within minutes, as they do while
this machine sleeps; nobody is told, and what is sent by it is waited for in vain."""


class Call:
    """A request that may be given up from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hang_up: Callable[[], object] | None = None
        self.is_given_up = False

    def begin(self, hang_up: Callable[[], object]) -> None:
        """It is under way, and this ends it; from any thread."""
        with self._lock:
            self._hang_up = hang_up
            if self.is_given_up:
                hang_up()

    def end(self) -> None:
        """It is under way no more."""
        with self._lock:
            self._hang_up = None

    def give_up(self) -> None:
        """Hang up. Waits for nothing, raises nothing."""
        with self._lock:
            self.is_given_up = True
            if self._hang_up is not None:
                self._hang_up()


class Calls:
    """Those to one server, and what all of them say. From any thread."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._under_way: set[Call] = set()
        self._lock = threading.Lock()
        self.is_closed = False

    @property
    def url(self) -> str:
        """Where the server is."""
        return self.place.url

    @property
    def headers(self) -> Mapping[str, str]:
        """What is sent with every request."""
        return self.place.headers

    def renew_token(self, asked: Mapping[str, str]) -> bool:
        """Whether the token is another one now than the one that was sent with these headers."""
        self.place = with_token_of_now(self.place)
        return self.place.headers != asked

    @contextmanager
    def under_way(self, call: Call) -> Iterator[None]:
        """It is one of them meanwhile. Raises `KernelError` where there are to be no more."""
        with self._lock:
            self.require_open()
            self._under_way.add(call)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(call)

    def until_us(self, now_us: int, most_us: int | None) -> int:
        """Until when a request may take that is made now, and is to take so long at most."""
        timeout_us = round(self.place.timeout_s * 1e6)
        return now_us + (timeout_us if most_us is None else min(timeout_us, most_us))

    def require_open(self) -> None:
        """Raise `KernelError` where there are to be no more."""
        if self.is_closed:
            raise KernelError(f"the connections to {self.url} are closed")

    def close(self) -> None:
        """Hang up on all, and let no more come. Closing twice is fine."""
        with self._lock:
            self.is_closed = True
            calls = list(self._under_way)
        for call in calls:
            call.give_up()
