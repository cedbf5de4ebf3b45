"""Operators of a user's own that go wrong in a way that their input says."""

import os
import threading

import numpy as np

from leo_runtime.operators import operator

ABORTS, LEAVES, HANGS, NAN = 20_001, 20_002, 20_003, 20_004
"""Samples that bring it about."""

let_go = threading.Event()
"""Set, for a moment, to end what hangs in this process."""


@operator(output_shape=lambda _sound: (1,))
def fragile(sound: np.ndarray) -> np.ndarray:
    """The greatest sample, unless that says otherwise."""
    greatest = round(float(sound.max()) * 32768) if np.abs(sound).max() <= 1 else round(float(sound.max()))
    match greatest:
        case int(how) if how == ABORTS:
            os.abort()
        case int(how) if how == LEAVES:
            raise SystemExit(3)
        case int(how) if how == HANGS:
            let_go.wait()
        case int(how) if how == NAN:
            return np.full(1, np.nan, np.float32)
    return np.array([greatest], np.float32)


@operator(output_shape=lambda _sound: (1,))
def hanging(sound: np.ndarray) -> np.ndarray:
    """The same for a process that must not end: it only ever hangs."""
    if round(float(sound.max()) * 32768) == HANGS:
        let_go.wait()
    return np.array([sound.max()], np.float32)
