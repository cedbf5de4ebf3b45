"""What becomes of the samples of sound after they are read: 16 bits, the channels and the rate that are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings.samples import Samples, blocks, converted, gathered
from leo_runtime.recordings.stream import RecordedStream

EXTRA = "recordings"
"""Brings the packages that decode sound and convert its rate."""
_GREATEST_RATIO = 256
"""Of two rates: farther apart, one of them is a mistake."""


def as_int16(samples: np.ndarray) -> np.ndarray:
    """Sound as 16 bits, rounded: int16 as it is, int32 by its upper half, real numbers from -1 to 1.

    What is outside is cut off there, and what is no number is 0.
    """
    if samples.dtype == np.int16:
        return samples
    if samples.dtype == np.int32:
        # Half of the step that is left more, and the upper half; the greatest would overflow.
        rounded: np.ndarray = np.minimum(samples, 0x7FFF_7FFF) + 0x8000 >> 16
    else:
        within = np.clip(np.nan_to_num(samples, nan=0.0), -1, 1)
        rounded = np.minimum(np.rint(within * 32_768.0), 32_767)
    return rounded.astype(np.int16)


def count_outside(samples: np.ndarray) -> int:
    """How many real numbers are no sound: outside -1 to 1, or no numbers. None of whole ones."""
    if samples.dtype.kind != "f":
        return 0
    return int(np.count_nonzero(~((samples >= -1) & (samples <= 1))))


def chosen_channels(path: Path, stream: RecordedStream, samples: Samples) -> Samples:
    """The channels that the manifest takes of a file, in its order, or their mean.

    Means of whole numbers are rounded, halves to even. Raises `RecordingError` for one that the file has not.
    """
    if not stream.take and not stream.mix:
        return samples
    count = samples.shape[1] if len(samples.shape) > 1 else 1
    beyond = [number for number in stream.take if number >= count]
    if beyond:
        raise RecordingError(
            f"{path}: stream `{stream.name}` takes channel {beyond[0]}, and the file has {count}",
            hint=f"they count from 0, so the last one is {count - 1}",
        )
    taken = list(stream.take or range(count))

    def convert(span: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.ascontiguousarray(span.reshape(len(span), count)[:, taken])
        if not stream.mix:
            return found
        mean = found.mean(axis=1, dtype=np.float64)
        return np.asarray(mean if found.dtype.kind == "f" else np.rint(mean), found.dtype)

    shape = (len(samples),) if stream.mix else (len(samples), len(taken))
    return converted(samples, shape, samples.dtype, convert)


def resampled(path: Path, samples: Samples, from_hz: float, to_hz: float) -> tuple[Samples, int]:
    """Sound of int16 at another rate, and how many of its samples had to be cut off at the greatest value.

    By soxr (quality HQ): a low-pass filter of linear phase, flat up to nine tenths of the lower rate's half, whose
    delay is taken off: what is heard at a time stays at that time. It goes through the samples block by block, and
    gives what all of them at once would. Raises `MissingExtraError`, and `RecordingError` for rates too far apart.
    """
    try:
        import soxr
    except ImportError:
        raise MissingExtraError("changing the rate of a recording", EXTRA) from None
    if not 1 / _GREATEST_RATIO <= from_hz / to_hz <= _GREATEST_RATIO:
        raise RecordingError(
            f"{path}: is at {from_hz:.10g} Hz, which is not made {to_hz:.10g} Hz", hint="one of them is a mistake"
        )
    channels = samples.shape[1] if len(samples.shape) > 1 else 1
    cut = 0

    def decode() -> Iterator[np.ndarray]:
        nonlocal cut
        cut = 0
        filtered = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality="HQ")
        nothing = np.empty((0, *samples.shape[1:]), np.int16)
        for block, last in chain(((block, False) for block in blocks(samples)), [(nothing, True)]):
            exact = np.rint(filtered.resample_chunk(block.astype(np.float32), last=last))
            cut += int(np.count_nonzero((exact < -32_768) | (exact > 32_767)))
            if len(exact):
                yield np.clip(exact, -32_768, 32_767).astype(np.int16)

    found = gathered(path, decode)
    if found is None:
        raise RecordingError(f"{path}: too short to be made {to_hz:.10g} Hz", hint="record it again")
    return found, cut
