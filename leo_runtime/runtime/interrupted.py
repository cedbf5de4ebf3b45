"""Whether a call interrupts another one of the same thread, as a signal's handler does."""

from __future__ import annotations

import sys
from types import FrameType


def interrupts(owner: object, file: str) -> bool:
    """Whether who calls the caller was called from within a method of `owner`, defined in that file.

    A signal's handler, or a finalizer, may run between any two steps of a thread: whatever locks that method holds are
    given back only after the handler has returned. Leaving a `with` block is no other call.
    """
    frame: FrameType | None = sys._getframe(1).f_back
    if frame is not None and frame.f_code.co_name == "__exit__":
        frame = frame.f_back
    while frame is not None:
        if frame.f_code.co_filename == file and frame.f_locals.get("self") is owner:
            return True
        frame = frame.f_back
    return False
