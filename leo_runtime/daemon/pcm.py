"""Sound as others send it, as int16 samples of one channel at a stream's rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from leo_runtime.daemon.raw import values_of
from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    import soxr

LEAST_HZ, MOST_HZ = 4_000, 192_000
MOST_CHANNELS = 32
WIDTHS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Whole numbers with a sign, little-endian; the channels of a sample follow each other."""

    rate_hz: int
    width: int
    """Bytes of a value."""
    channels: int

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.rate_hz} Hz, {8 * self.width} bits, {self.channels} channels"


def require_format(pcm: PcmFormat) -> PcmFormat:
    """The same format. Raises `InputError` for one that nothing gives."""
    known = LEAST_HZ <= pcm.rate_hz <= MOST_HZ and pcm.width in WIDTHS and 1 <= pcm.channels <= MOST_CHANNELS
    if not known:
        raise InputError(
            f"sound of {pcm} is not taken",
            hint=f"{LEAST_HZ} to {MOST_HZ} Hz, 8 to 32 bits, at most {MOST_CHANNELS} channels",
        )
    return pcm


def mono(payload: bytes, pcm: PcmFormat) -> np.ndarray:
    """Bytes as int16, (samples,): the upper 16 bits of each value, and the mean of the channels.

    Raises `InputError` for bytes that are no whole number of samples.
    """
    sample_bytes = pcm.width * pcm.channels
    if len(payload) % sample_bytes:
        raise InputError(
            f"{len(payload)} bytes are no whole number of samples of {pcm}", hint=f"a sample is {sample_bytes} bytes"
        )
    if pcm.width == 1:
        values = values_of(payload, 1, np.dtype(np.int8)).astype(np.int16) << 8
    else:
        values = values_of(payload, pcm.width, np.dtype(np.int16))
    return values if pcm.channels == 1 else mean_of_channels(values.reshape(-1, pcm.channels))


def mean_of_channels(samples: np.ndarray) -> np.ndarray:
    """(samples,) from (samples, channels), of the same type: whole numbers are rounded."""
    mean = samples.mean(axis=1)
    return np.asarray(np.rint(mean) if samples.dtype.kind in "iu" else mean, samples.dtype)


def resampler(from_hz: float, to_hz: float, data_type: str, channels: int = 1) -> soxr.ResampleStream:
    """From one rate to another, chunk by chunk. Raises `InputError` where soxr is not installed."""
    try:
        import soxr
    except ImportError:
        raise InputError(
            f"sound at {from_hz} Hz cannot be made {to_hz} Hz here: soxr is not installed",
            hint=f"send it at {to_hz} Hz, or pip install soxr",
        ) from None
    return soxr.ResampleStream(from_hz, to_hz, channels, dtype=data_type, quality="HQ")


class Converter:
    """One stretch of sound of one format. For one thread at a time."""

    def __init__(self, pcm: PcmFormat, to_hz: int) -> None:
        """Raises `InputError` for a format that is not taken, also one at another rate where soxr is not installed."""
        self.pcm = require_format(pcm)
        self._filter = None if pcm.rate_hz == to_hz else resampler(pcm.rate_hz, to_hz, "int16")

    def take(self, payload: bytes) -> np.ndarray:
        """The samples that are complete with these bytes, int16, (samples,). Raises as `mono` does."""
        samples = mono(payload, self.pcm)
        return samples if self._filter is None else self._filter.resample_chunk(samples)

    def rest(self) -> np.ndarray:
        """The last samples, which waited for others. Nothing is taken behind them."""
        nothing = np.empty(0, np.int16)
        return nothing if self._filter is None else self._filter.resample_chunk(nothing, last=True)
