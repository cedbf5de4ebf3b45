"""Samples of a stream that may be hours long: an array, or something that reads spans of a file when it is asked.

An array is `Samples` as it is. `StoredSamples` reads any span of a file where it lies; `DecodedSamples` decodes a file
from its beginning on and keeps a little of what it decoded last, since a replay goes forward in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike

from leo_runtime.errors import RecordingError

IN_MEMORY_BYTES = 16 << 20
"""Up to here a stream is read at once, and is an array."""
BLOCK_BYTES = 1 << 20
"""About how much of a longer one is read at a time."""


@runtime_checkable
class Samples(Protocol):
    """Evenly spaced samples, the first at time 0. Used by one thread at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples,) or (samples, channels)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what a span gives."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, span: slice, /) -> np.ndarray:
        """So many of them, as of an array. Raises `RecordingError` where the file can no longer be read."""
        ...


class _Spans:
    """What those that read spans have in common with arrays."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def _read(self, first: int, last: int) -> np.ndarray:
        """The samples from `first` up to, and without, `last`."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, span: slice, /) -> np.ndarray:
        first, last, step = span.indices(len(self))
        if step < 0:
            return self[:][span]
        return self._read(first, max(first, last))[::step]

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> np.ndarray:
        """All of them, for `np.asarray`."""
        if copy is False:
            raise ValueError("samples that are read from a file are always a copy")
        return self[:].astype(dtype or self.dtype, copy=False)


class StoredSamples(_Spans):
    """Samples of which any span can be read as it lies in its file."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, read: Callable[[int, int], np.ndarray]) -> None:
        """`read(first, last)` gives the samples from `first` up to, and without, `last`, of this dtype and shape."""
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._read_span = read

    def _read(self, first: int, last: int) -> np.ndarray:
        return self._read_span(first, last)


class DecodedSamples(_Spans):
    """Samples that can only be decoded from the beginning on.

    What was decoded last is kept, as much as the longest span asked for; one that begins before that decodes the file
    anew, and gives the same samples.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, decode: Callable[[], Iterator[np.ndarray]]
    ) -> None:
        """`decode()` gives all samples of the file in blocks of any length, always the same ones."""
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._path = path
        self._decode = decode
        self._longest = 0
        self._begin()

    def _begin(self) -> None:
        self._coming = self._decode()
        self._blocks: deque[np.ndarray] = deque()
        self._start = self._end = 0
        """Of what `_blocks` hold."""

    def _read(self, first: int, last: int) -> np.ndarray:
        if (last - first) * sample_bytes(self) <= IN_MEMORY_BYTES:  # Else it is read once, and not to be kept.
            self._longest = max(self._longest, last - first)
        if first < self._start:
            self._begin()
        while self._end < last:
            self._forward()
            self._drop_before(min(first, last - self._longest))
        found, at = [np.empty((0, *self.shape[1:]), self.dtype)], self._start
        for block in self._blocks:
            found.append(block[max(0, first - at) : max(0, last - at)])
            at += len(block)
        self._drop_before(last - self._longest)
        return np.concatenate(found)

    def _forward(self) -> None:
        block = next(self._coming, None)
        if block is None:
            raise RecordingError(
                f"{self._path}: ends at sample {self._end}, and had {len(self)} when it was opened",
                hint="leave the files of a recording as they are while it is used",
            )
        self._blocks.append(block)
        self._end += len(block)

    def _drop_before(self, wanted_from: int) -> None:
        while self._blocks and self._start + len(self._blocks[0]) <= wanted_from:
            self._start += len(self._blocks.popleft())


def blocks(samples: Samples) -> Iterator[np.ndarray]:
    """All samples in their order, a block at a time."""
    step = max(1, BLOCK_BYTES // max(1, sample_bytes(samples)))
    for first in range(0, len(samples), step):
        yield samples[first : first + step]


def sample_bytes(samples: Samples) -> int:
    """What one sample of all channels takes in memory."""
    return int(np.prod(samples.shape[1:], dtype=np.int64)) * samples.dtype.itemsize


def converted(
    samples: Samples, shape: tuple[int, ...], dtype: DTypeLike, convert: Callable[[np.ndarray], np.ndarray]
) -> Samples:
    """The samples, each as `convert` makes it of a span; an array of an array."""
    if isinstance(samples, np.ndarray):
        return convert(samples)
    return StoredSamples(shape, dtype, lambda first, last: convert(samples[first:last]))


def kept(samples: Samples) -> Samples:
    """Those of a short stream as an array, so that nothing is read while a replay goes on; else as they are."""
    if isinstance(samples, np.ndarray) or len(samples) * sample_bytes(samples) > IN_MEMORY_BYTES:
        return samples
    return samples[:]


def gathered(path: Path, decode: Callable[[], Iterator[np.ndarray]]) -> Samples | None:
    """What blocks of a file hold together, decoded once: an array of a short stream. None: nothing.

    What `decode` has to say of its file it says on this first pass.
    """
    found: list[np.ndarray] | None = []
    length, held_bytes = 0, 0
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = np.dtype(np.int16)
    for block in decode():
        length, held_bytes = length + len(block), held_bytes + block.nbytes
        shape, dtype = block.shape[1:], block.dtype
        if held_bytes > IN_MEMORY_BYTES:
            found = None
        if found is not None:
            found.append(block)
    if length == 0:
        return None
    return np.concatenate(found) if found is not None else DecodedSamples(path, (length, *shape), dtype, decode)
