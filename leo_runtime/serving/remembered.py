"""Answers by the ids of requests, so that one that is sent again is not run again."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

MOST_IDS = 4_096
"""How many ids are known; an answer may be forgotten long before its id."""


class _Entry(Generic[Answer]):
    def __init__(self) -> None:
        self.ended = threading.Event()
        self.answer: Answer | None = None
        self.size = 0


class Remembered(Generic[Answer]):
    """What was answered to the last requests. For any thread."""

    def __init__(self, most_bytes: int) -> None:
        """Answers are held up to `most_bytes` together, the newest ones."""
        self._most, self._held = most_bytes, 0
        self._entries: OrderedDict[str, _Entry[Answer]] = OrderedDict()
        self._answers: deque[_Entry[Answer]] = deque()
        """Those that hold one, the oldest first; one whose id is not known any more goes in its turn."""
        self._lock = threading.Lock()

    def begin(self, request: str) -> bool:
        """Take note that it is about to run. False: it was here before, and `again` says what became of it."""
        with self._lock:
            if request in self._entries:
                return False
            self._entries[request] = _Entry()
            while len(self._entries) > MOST_IDS:
                self._entries.popitem(last=False)
            return True

    def end(self, request: str, answer: Answer, size: int) -> None:
        """It has run, and that is the answer, of so many bytes."""
        with self._lock:
            entry = self._entries.get(request)
            if entry is None:
                return
            entry.answer, entry.size = answer, size
            self._held += size
            self._answers.append(entry)
            while self._held > self._most:
                old = self._answers.popleft()
                self._held -= old.size
                old.answer, old.size = None, 0
        entry.ended.set()

    def forget(self, request: str) -> None:
        """It was not run after all."""
        with self._lock:
            entry = self._entries.pop(request, None)
        if entry is not None:
            entry.ended.set()

    def again(self, request: str, most_s: float) -> Answer | None:
        """The answer, which is waited for so long at most; None: there is none any more, or none yet."""
        with self._lock:
            entry = self._entries.get(request)
        if entry is None or not entry.ended.wait(max(0.0, most_s)):
            return None
        return entry.answer
