"""Tensors that a server keeps for its clients between requests, so that what stays here is not sent twice.

What is kept is bounded: the oldest go when there is no room, or no id left, and each after a while. So nothing is
promised to a client: where what it names is not there any more, it is told so before anything runs, and sends it again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from leo_runtime.clock import Clock
from leo_runtime.frozen import dataclass

MOST_KEPT = 16_384
"""Tensors, however small."""
BESIDE_BYTES = 512
"""What a tensor takes beside its numbers."""


@dataclass(frozen=True, slots=True)
class KeptNow:
    """What is kept, and what became of the rest."""

    tensors: int
    bytes: int
    dropped: Mapping[str, int]
    """Tensors that nobody had forgotten, by the reason: `room`, `age`, `size` (it is larger than all room there is)."""


class KeptTensors:
    """By id. For any thread."""

    def __init__(self, most_bytes: int, most_age_us: int, clock: Clock) -> None:
        self._most_bytes, self._most_age_us, self._clock = most_bytes, most_age_us, clock
        self._kept: dict[str, tuple[np.ndarray, int]] = {}
        """With when each came, the oldest first."""
        self._bytes = 0
        self._dropped: Counter[str] = Counter()
        self._lock = threading.Lock()

    def fits(self, arrays: Collection[np.ndarray]) -> bool:
        """Whether there is ever room for all of these at once; where there is not, it is counted."""
        size = sum(array.nbytes + BESIDE_BYTES for array in arrays)
        if size <= self._most_bytes:
            return True
        with self._lock:
            self._dropped["size"] += len(arrays)
        return False

    def keep(self, name: str, array: np.ndarray) -> bool:
        """Keep a copy, in place of what had this id; False: it is too large."""
        size = array.nbytes + BESIDE_BYTES
        with self._lock:
            self._drop(name)
            if size > self._most_bytes:
                self._dropped["size"] += 1
                return False
        own = np.array(array)  # A view would keep all of the request that it came with.
        own.flags.writeable = False
        with self._lock:
            self._drop(name)  # Somebody else may have been as fast.
            self._drop_old()
            while self._kept and (self._bytes + size > self._most_bytes or len(self._kept) >= MOST_KEPT):
                self._drop(next(iter(self._kept)))
                self._dropped["room"] += 1
            self._kept[name] = own, self._clock.now_us()
            self._bytes += size
        return True

    def get(self, name: str) -> np.ndarray | None:
        """What has this id; None: nothing any more."""
        with self._lock:
            self._drop_old()
            found = self._kept.get(name)
        return None if found is None else found[0]

    def forget(self, names: Iterable[str]) -> None:
        """Nobody needs these any more; ids that are not known are as well forgotten."""
        with self._lock:
            for name in names:
                self._drop(name)

    def forget_old(self) -> None:
        """What has been here for too long goes, also where nobody asks."""
        with self._lock:
            self._drop_old()

    def now(self) -> KeptNow:
        """What there is."""
        with self._lock:
            return KeptNow(len(self._kept), self._bytes, dict(self._dropped))

    def _drop_old(self) -> None:
        before_us = self._clock.now_us() - self._most_age_us
        while self._kept:
            name, (_, came_us) = next(iter(self._kept.items()))
            if came_us >= before_us:
                return
            self._drop(name)
            self._dropped["age"] += 1

    def _drop(self, name: str) -> None:
        found = self._kept.pop(name, None)
        if found is not None:
            self._bytes -= found[0].nbytes + BESIDE_BYTES
