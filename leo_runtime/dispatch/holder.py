"""Tells devices to stay awake and to sleep again: a thread that calls their backends, which are not ours."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from queue import SimpleQueue

from leo_runtime.backend import Holding
from leo_runtime.errors import failure_text
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class HoldFailure:
    """What went wrong when a device was to be held or released."""

    count: int
    last: str
    """What the last failure said."""


class Holder:
    """Calls `hold` and `release` of backends in turn, so that nobody waits for them. From any thread."""

    def __init__(self, devices: Mapping[str, Holding]) -> None:
        """`devices` by processor: those that can be held. A thread is started where there are any."""
        self._devices = dict(devices)
        self._queue: SimpleQueue[tuple[str, bool] | None] = SimpleQueue()
        self._failures: dict[str, HoldFailure] = {}
        self._thread: threading.Thread | None = None
        if self._devices:
            self._thread = threading.Thread(target=self._work, name="leo holds", daemon=True)
            self._thread.start()

    @property
    def failures(self) -> Mapping[str, HoldFailure]:
        """What went wrong, by processor."""
        return dict(self._failures)

    def hold(self, resource: str) -> None:
        """Keep a device awake, if it can be told to."""
        if resource in self._devices:
            self._queue.put((resource, True))

    def release(self, resource: str) -> None:
        """Let a device sleep again, if it can be told to."""
        if resource in self._devices:
            self._queue.put((resource, False))

    def close(self, timeout_s: float) -> None:
        """Release what is held, and wait for that at most so long. Twice is fine."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout_s)

    def _work(self) -> None:
        held: dict[str, None] = {}
        while (told := self._queue.get()) is not None:
            resource, keep = told
            self._call(resource, keep=keep)
            if keep:
                held[resource] = None
            else:
                held.pop(resource, None)
        for resource in held:
            self._call(resource, keep=False)

    def _call(self, resource: str, *, keep: bool) -> None:
        device = self._devices[resource]
        try:
            if keep:
                device.hold()
            else:
                device.release()
        except BaseException as error:  # Whatever a backend raises: the frame goes on, and the books are as planned.
            before = self._failures.get(resource, HoldFailure(0, ""))
            self._failures[resource] = HoldFailure(before.count + 1, failure_text(error))
