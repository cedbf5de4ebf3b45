"""Arrays of float32 that hold what was recorded, and go to a server as that, in half or a quarter of the bytes.

A window of pictures holds whole numbers from 0 to 255, one of sound so many 32768ths: uint8 and int16 say the same, bit
by bit. Plans count them so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LEAST_BYTES = 4096
"""Of smaller ones nobody notices."""
LOOKED_AT = 64
"""If these are no samples, the others need not be looked at."""
PER_ONE = 32768
"""Samples of either type are whole numbers of such parts of 1."""
STEPS: Mapping[np.dtype[Any], np.float32] = {
    np.dtype("uint8"): np.float32(1),
    np.dtype("int16"): np.float32(1 / PER_ONE),
}
"""How much one of them stands for."""


def as_samples(array: np.ndarray) -> np.ndarray | None:
    """The same as samples, from which `from_samples` has it again bit by bit; None: that is not so."""
    if array.dtype != np.float32 or array.nbytes < LEAST_BYTES:
        return None
    first = array.reshape(-1)[:LOOKED_AT]
    # As numbers of Python's, of which the first one is mostly enough.
    if not all((value * PER_ONE).is_integer() for value in first.tolist()):
        return None
    for dtype in STEPS:
        if _samples(first, dtype) is not None:
            found = _samples(array, dtype)
            if found is not None:
                return found
    return None


def from_samples(samples: np.ndarray) -> np.ndarray:
    """What samples stand for, in float32."""
    array: np.ndarray = samples.astype(np.float32) * STEPS[samples.dtype]
    return array


def _samples(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray | None:
    with np.errstate(invalid="ignore", over="ignore"):  # What is none of them may be any number.
        samples = (array / STEPS[dtype]).astype(dtype)
    again = np.ascontiguousarray(from_samples(samples))
    # As bits: -0.0 is no sample.
    return samples if np.array_equal(again.view(np.uint32), np.ascontiguousarray(array).view(np.uint32)) else None
