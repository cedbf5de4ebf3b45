"""What is to be known of sound before it is trusted: whether it was clipped, is silent, or has an offset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_SILENT = 33
"""Of 32,768: about -60 dBFS."""
_FULL = 32_767


@dataclass(frozen=True, slots=True)
class SoundMeasures:
    """Of all samples of all channels of a stream, as 16 bits."""

    samples: int
    """Of one channel."""
    clipped: int
    """Values at the greatest or the least there is, where the value before or behind is there, too."""
    silent_share: float
    """Of the samples, how many lie in stretches of a tenth of a second in which nothing is above -60 dBFS. 0 to 1."""
    zero_share: float
    """Of the values, how many are exactly 0: a microphone that was off gives nothing else. 0 to 1."""
    offset: float
    """The mean of all values: near 0 of sound without an offset. -1 to 1."""
    peak: float
    """The greatest value, without its sign. 0 to 1."""


def sound_measures(blocks: Iterable[np.ndarray], rate_hz: float) -> SoundMeasures:
    """Measure sound, given block by block: int16, (samples,) or (samples, channels).

    Any cut into blocks gives the same. Of no samples at all everything is 0.
    """
    step = max(1, round(rate_hz / 10))
    count = values = clipped = zeros = silent = total = peak = 0
    rest: np.ndarray = np.empty(0, np.int32)
    edge: np.ndarray | None = None
    for block in blocks:
        if not len(block):
            continue
        levels = block.reshape(len(block), -1).astype(np.int32)
        count, values = count + len(levels), values + levels.size
        zeros += int(np.count_nonzero(levels == 0))
        total += int(levels.sum(dtype=np.int64))
        peak = max(peak, int(np.abs(levels).max()))
        joined = levels if edge is None else np.concatenate([edge, levels])
        clipped += _clipped(joined, 0 if edge is None else len(edge))
        edge = joined[-2:]
        rest = np.concatenate([rest, levels]) if len(rest) else levels
        whole = len(rest) // step * step
        silent += step * _silent(rest[:whole].reshape(whole // step, step * levels.shape[1]))
        rest = rest[whole:]
    if len(rest):
        silent += len(rest) * _silent(rest.reshape(1, -1))
    if count == 0:
        return SoundMeasures(0, 0, 0.0, 0.0, 0.0, 0.0)
    return SoundMeasures(
        samples=count,
        clipped=clipped,
        silent_share=silent / count,
        zero_share=zeros / values,
        offset=total / values / 32_768,
        peak=min(1.0, peak / _FULL),
    )


def _clipped(levels: np.ndarray, known: int) -> int:
    """Values at a limit beside another one there, but for pairs within the first `known` rows, which were counted."""
    found = 0
    for at_limit in (levels >= _FULL, levels <= -_FULL):
        pairs = at_limit[1:] & at_limit[:-1]
        beside = np.zeros_like(at_limit)
        beside[1:] |= pairs
        beside[:-1] |= pairs
        counted = np.zeros_like(at_limit)
        if known > 1:
            counted[1:known] |= pairs[: known - 1]
            counted[: known - 1] |= pairs[: known - 1]
        found += int(np.count_nonzero(beside & ~counted))
    return found


def _silent(stretches: np.ndarray) -> int:
    return int(np.count_nonzero((np.abs(stretches) < _SILENT).all(axis=1)))
