"""What is left to the garbage collector: what holds itself, and so is there until that comes by."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


@contextmanager
def left_to_the_collector() -> Iterator[list[str]]:
    """What there is of it at the end: objects of the package by their types, and functions by their names."""
    found: list[str] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += sorted(filter(None, map(_said, gc.garbage)))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _said(one: object) -> str:
    if isinstance(one, FrameType):
        return f"a call of {one.f_code.co_name}"
    if isinstance(one, TracebackType | BaseException):
        return type(one).__name__
    return type(one).__name__ if type(one).__module__.startswith("leo_runtime.") else ""
