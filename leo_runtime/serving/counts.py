"""What a server counts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Counted:
    """What came to a server so far."""

    answers: Mapping[tuple[str, int], int]
    """By model ("" for anything else) and HTTP status."""
    refused: Mapping[str, int]
    """By the reason why a request was not run: `token`, `size`, `full`, `late`, `slow`, `malformed`, `unknown`, ..."""
    run_us: Mapping[str, int]
    """How long stages ran, by model."""
    waited_us: int
    """How long requests waited for their turn, all together."""
    bytes_in: int
    bytes_out: int
    connections: int
    """Open now."""
    under_way: int
    """Requests that are read and not answered now: they wait for their turn, or run."""


class Counts:
    """Counts, from any thread."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._refused: Counter[str] = Counter()
        self._run_us: Counter[str] = Counter()
        self._waited_us = self._in = self._out = self._connections = self._under_way = 0
        self._lock = threading.Lock()

    def answered(self, model: str, status: int, bytes_in: int, bytes_out: int) -> None:
        """A request was answered."""
        with self._lock:
            self._answers[model, status] += 1
            self._in += bytes_in
            self._out += bytes_out

    def refuse(self, reason: str) -> None:
        """A request, or a connection, was refused."""
        with self._lock:
            self._refused[reason] += 1

    def ran(self, model: str, run_us: int, waited_us: int) -> None:
        """A model ran, for which a request had waited."""
        with self._lock:
            self._run_us[model] += run_us
            self._waited_us += waited_us

    def connected(self, by: int) -> None:
        """So many connections more."""
        with self._lock:
            self._connections += by

    def begun(self, by: int) -> None:
        """So many requests more are under way."""
        with self._lock:
            self._under_way += by

    def now(self) -> Counted:
        """What there is."""
        with self._lock:
            return Counted(
                dict(self._answers),
                dict(self._refused),
                dict(self._run_us),
                self._waited_us,
                self._in,
                self._out,
                self._connections,
                self._under_way,
            )
