"""What native libraries write to standard error themselves, without their notes that all is well."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NOTE = b"INFO: "
"""How lines begin that tell of nothing wrong. TensorFlow Lite's cannot be turned off from Python."""

_STDERR = 2
_turn = threading.Lock()


@contextmanager
def without_notes() -> Iterator[None]:
    """Hold back what anybody in this process writes to standard error, and then let it through without notes.

    Meant for moments: for so long another thread's words wait, too. Where there is no standard error, or no room for
    what is held back, nothing is. From any thread, one after the other.
    """
    with _turn:
        try:
            kept = os.dup(_STDERR)
        except OSError:
            yield
            return
        try:
            held = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed below, after what it holds was let through
        except OSError:
            os.close(kept)
            yield
            return
        with held:
            os.dup2(held.fileno(), _STDERR)
            try:
                yield
            finally:
                os.dup2(kept, _STDERR)
                os.close(kept)
                held.seek(0)
                for line in held:
                    if not line.startswith(NOTE):
                        os.write(_STDERR, line)
