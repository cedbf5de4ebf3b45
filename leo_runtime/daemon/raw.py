"""Bytes as samples: whole ones as they come, the rest of one kept until the next bytes."""

from __future__ import annotations

from typing import Literal

import numpy as np

RawType = Literal["int16", "float32", "uint8"]
"""What values may be, all little-endian."""


class RawSamples:
    """For one thread at a time."""

    def __init__(self, sample_shape: tuple[int, ...], data_type: RawType) -> None:
        """`sample_shape` is of one sample: () of one channel, (channels,) of more."""
        self._shape = sample_shape
        self._type = np.dtype(data_type).newbyteorder("<")
        self.sample_bytes = self._type.itemsize * int(np.prod(sample_shape, dtype=np.int64))
        self._rest = b""

    def take(self, piece: bytes) -> np.ndarray:
        """The samples that are whole now, (samples, *sample_shape)."""
        whole = self._rest + piece
        count = len(whole) // self.sample_bytes
        self._rest = whole[count * self.sample_bytes :]
        found = np.frombuffer(whole, self._type, count * self.sample_bytes // self._type.itemsize)
        return found.astype(self._type.newbyteorder("="), copy=False).reshape(count, *self._shape)

    @property
    def rest(self) -> int:
        """How many bytes wait for the others of their sample."""
        return len(self._rest)
