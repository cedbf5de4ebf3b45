"""Answers by the ids of requests, so that one that is sent again is not run again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

MOST_IDS = 4_096
"""How many ids are known of requests that have run; an answer may be forgotten long before its id."""


class _Entry(Generic[Answer]):
    def __init__(self) -> None:
        self.has_ended = False
        self.ending: threading.Event | None = None
        """Made by who waits for the end, whom others that end are not to wake: mostly nobody does."""
        self.was_run = True
        self.answer: Answer | None = None
        self.size = 0

    def end(self) -> None:
        """It has, and whoever waits is told."""
        self.has_ended = True
        if self.ending is not None:
            self.ending.set()


class Remembered(Generic[Answer]):
    """What was answered to the last requests. For any thread."""

    def __init__(self, most_bytes: int) -> None:
        """Answers are held up to `most_bytes` together, the newest ones."""
        self._most, self._held = most_bytes, 0
        self._entries: dict[Hashable, _Entry[Answer]] = {}
        self._ended: deque[Hashable] = deque()
        """Ids of what has run, the oldest first: what still runs is not forgotten."""
        self._answers: deque[_Entry[Answer]] = deque()
        """Those that hold one, in the same order."""
        self._lock = threading.Lock()

    def begin(self, request: Hashable) -> bool:
        """Take note that it is about to run. False: it was here before, and `again` says what became of it.

        Whoever got True calls `end` or `forget`.
        """
        with self._lock:
            if request in self._entries:
                return False
            self._entries[request] = _Entry()
            return True

    def end(self, request: Hashable, answer: Answer, size: int) -> None:
        """It has run, and that is the answer, of so many bytes."""
        with self._lock:
            entry = self._entries[request]
            entry.answer, entry.size = answer, size
            self._held += size
            self._answers.append(entry)
            while self._held > self._most:
                self._drop_oldest()
            self._ended.append(request)
            if len(self._ended) > MOST_IDS and self._entries.pop(self._ended.popleft()).answer is not None:
                self._drop_oldest()  # It is that one's, and nobody can ask for it.
            entry.end()

    def _drop_oldest(self) -> None:
        old = self._answers.popleft()
        self._held -= old.size
        old.answer, old.size = None, 0

    def forget(self, request: Hashable) -> None:
        """It was not run after all."""
        with self._lock:
            entry = self._entries.pop(request)
            entry.was_run = False
            entry.end()

    def again(self, request: Hashable, most_s: float) -> tuple[bool, Answer | None]:
        """Whether it was run, and the answer, if it is still held. Raises `TimeoutError` where it runs for longer."""
        with self._lock:
            entry = self._entries.get(request)
            if entry is None:
                return False, None
            if entry.has_ended:
                return entry.was_run, entry.answer
            if entry.ending is None:
                entry.ending = threading.Event()
        if not entry.ending.wait(max(0.0, most_s)):
            raise TimeoutError
        return entry.was_run, entry.answer
