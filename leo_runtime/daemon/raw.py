"""Bytes as samples: whole ones as they come, the rest of one kept until the next bytes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

RawType = Literal["int16", "float32", "uint8", "int24", "int32"]
"""What values may be, all little-endian; `int24` in three bytes. Of the last two, as microphones on I2S give them, the
upper 16 bits are taken."""
_WIDE = {"int24": 3, "int32": 4}
"""Bytes of what is taken as int16."""


def taken_as(data_type: RawType) -> Literal["int16", "float32", "uint8"]:
    """The type of the samples that are made of it."""
    return "int16" if data_type == "int24" or data_type == "int32" else data_type


def values_of(piece: bytes, value_bytes: int, data_type: np.dtype[Any]) -> np.ndarray:
    """Little-endian values of so many bytes each, (values,): of each its upper bytes, as `data_type` has them."""
    values = np.frombuffer(piece, np.uint8).reshape(-1, value_bytes)
    found = np.ascontiguousarray(values[:, -data_type.itemsize :]).view(data_type.newbyteorder("<"))[:, 0]
    return found.astype(data_type, copy=False)


class RawSamples:
    """For one thread at a time."""

    def __init__(self, sample_shape: tuple[int, ...], data_type: RawType) -> None:
        """`sample_shape` is of one sample: () of one channel, (channels,) of more."""
        self._shape = sample_shape
        self._type = np.dtype(taken_as(data_type))
        self._value_bytes = _WIDE.get(data_type, self._type.itemsize)
        self.sample_bytes = self._value_bytes * int(np.prod(sample_shape, dtype=np.int64))
        self._rest = b""

    def take(self, piece: bytes) -> np.ndarray:
        """The samples that are whole now, (samples, *sample_shape)."""
        whole = self._rest + piece
        count = len(whole) // self.sample_bytes
        whole, self._rest = whole[: count * self.sample_bytes], whole[count * self.sample_bytes :]
        return values_of(whole, self._value_bytes, self._type).reshape(count, *self._shape)

    @property
    def rest(self) -> int:
        """How many bytes wait for the others of their sample."""
        return len(self._rest)
