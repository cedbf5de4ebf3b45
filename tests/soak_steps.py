"""Operators that go wrong in a way that their samples say; `soak` copies this file beside its workload."""

import os
import time
from pathlib import Path

import numpy as np

from leo_runtime.operators import operator

USUAL, ABORTS, LEAVES, HANGS, NAN, SLOW = 1_000, 20_001, 20_002, 20_003, 20_004, 20_005
"""Samples that bring it about."""
SLOW_S = 0.3
HANGING = Path(__file__).with_name("hanging")
"""What hangs does so as long as this file is there."""


def _hang() -> None:
    while HANGING.exists():
        time.sleep(0.02)


def _heard(sound: np.ndarray) -> int:
    greatest = float(sound.max())
    return round(greatest * 32768) if greatest <= 1 else round(greatest)


@operator(output_shape=lambda _sound: (2,))
def fragile(sound: np.ndarray) -> np.ndarray:
    """How loud it is, unless it is told otherwise: for a process of its own, which it may end."""
    match heard := _heard(sound):
        case 20_001:
            os.abort()
        case 20_002:
            raise SystemExit(3)
        case 20_003:
            _hang()
        case 20_004:
            return np.full(2, np.nan, np.float32)
    return np.array([1 - heard / 32768, heard / 32768], np.float32)


@operator(output_shape=lambda _sound: (2,))
def inner(sound: np.ndarray) -> np.ndarray:
    """The same within the daemon: it raises, hangs, is slow, or gives no numbers."""
    match heard := _heard(sound):
        case 20_002:
            raise ValueError("told to")
        case 20_003:
            _hang()
        case 20_004:
            return np.full(2, np.nan, np.float32)
        case 20_005:
            time.sleep(SLOW_S)
    return np.array([1 - heard / 32768, heard / 32768], np.float32)
