"""Samples of a device as a stream has them: of as many channels, at its rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from leo_runtime.daemon.pcm import mean_of_channels, resampler
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    import soxr

    from leo_runtime.documents.workload import Stream


class Fitting:
    """One stretch of samples that follow each other. For one thread at a time."""

    def __init__(
        self, stream: Stream, channels: int | None, rate_hz: float | None, data_type: str, channel: int | None = None
    ) -> None:
        """`channels` and `rate_hz` of the device; None: the stream's. `channel`: the one of several that a stream of
        one gets, counted from 1; None: their mean. Raises `InputError` for what cannot be fitted."""
        self._stream = stream
        self._channel = channel
        self.sample_shape = stream.sample_shape
        """Of what is given to `take`."""
        self._filter: soxr.ResampleStream | None = None
        if channels is not None and channels != stream.channels:
            if stream.sample_shape:
                raise InputError(
                    f"stream `{stream.name}` has samples of shape {stream.sample_shape}, and its source {channels} "
                    "channels",
                    hint="give both as many channels: only a stream of one gets the mean, or one, of several",
                )
            self.sample_shape = (channels,)
        if channel is not None and channel > (channels or 1):
            raise InputError(
                f"the source of stream `{stream.name}` has no channel {channel} of {channels or 1}",
                hint="`channels` says how many it gives; they are counted from 1",
            )
        if channel is not None and stream.sample_shape:
            raise InputError(
                f"stream `{stream.name}` has {stream.channels} channels, and `channel` is for one of one",
                hint="leave `channel` out",
            )
        if rate_hz is not None and rate_hz != stream.rate_hz:
            if stream.kind != "audio" or data_type not in ("int16", "float32"):
                raise InputError(
                    f"stream `{stream.name}` has {stream.rate_hz} Hz, and its source {rate_hz} Hz",
                    hint="only sound as int16 or float32 is brought to another rate: take both at the same",
                )
            self._filter = resampler(rate_hz, stream.rate_hz, data_type, stream.channels)

    def take(self, samples: np.ndarray) -> np.ndarray:
        """Samples (samples, *sample_shape) as the stream has them, of the same type; of several channels the
        mean, or one, where it has one.

        Brought to another rate, some wait for those that follow.
        """
        if self.sample_shape != self._stream.sample_shape and self._channel is not None:
            samples = np.ascontiguousarray(samples[:, self._channel - 1])
        elif self.sample_shape != self._stream.sample_shape:
            samples = mean_of_channels(samples)
        return samples if self._filter is None else self._filter.resample_chunk(samples)
