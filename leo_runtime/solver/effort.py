"""How much a search took, in nodes: what a study tells beside wall time, since it is the same on every machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Effort:
    """Nodes that were searched: decisions and dead ends."""

    __slots__ = ("nodes",)

    def __init__(self) -> None:
        """None yet."""
        self.nodes = 0


class _Here(threading.local):
    effort: Effort | None = None


_here = _Here()


@contextmanager
def counted() -> Iterator[Effort]:
    """Within the block all searches of this thread are counted. Blocks may be in each other: each counts its own."""
    before, effort = _here.effort, Effort()
    _here.effort = effort
    try:
        yield effort
    finally:
        _here.effort = before
        if before is not None:
            before.nodes += effort.nodes


def spent(nodes: int) -> None:
    """A search took so many."""
    if _here.effort is not None:
        _here.effort.nodes += nodes
