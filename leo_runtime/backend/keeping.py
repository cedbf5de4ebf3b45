"""Backends whose device is far away and keeps what its stages give each other, so that it is sent once at most.

A value that is kept there is known by the ids of its arrays. Nothing is promised of it: the other end may have
forgotten it, or have ended, and who needs it then sends it again or computes it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from leo_runtime.errors import KernelError
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.backend import Backend, Kernel

ALONG_BYTES = 14_000
"""What is no larger goes along with the request or the answer that it belongs to. TCP sends ten segments before it
waits for the other end (RFC 6928): so it takes next to no time, where a transfer of its own would take a round trip."""


class ForgottenError(KernelError):
    """An input is not kept there any more; nothing has run."""


@dataclass(frozen=True, slots=True)
class KeptArray:
    """An array that is kept elsewhere."""

    id: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeptValue:
    """A value that is kept elsewhere: the arrays of a stage's output, by their order."""

    arrays: tuple[KeptArray, ...]


@dataclass(frozen=True, slots=True)
class There:
    """What a stage gave, where that stays where it was made."""

    kept: KeptValue
    resource: str
    """The processor."""
    value: np.ndarray | None = None
    """The same, where it came here as well."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a request took, as it was seen here."""

    sent_bytes: int
    got_bytes: int
    took_us: int
    server_us: int = 0
    """Of that, what the other end says it took: it waited for its turn, and ran."""
    queued_us: int = 0
    """Of that, how long it waited."""
    answered_us: int = 0
    """Of `took_us`, how long it was until the answer began."""


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run on inputs that may be kept there, of which the output may stay there."""

    output: np.ndarray | None
    """None: it stays there."""
    kept: KeptValue | None
    """None: it is not kept."""
    device_us: int
    """As in `DeviceRun`."""
    passed: Passed


@runtime_checkable
class KeepingKernel(Protocol):
    """A kernel of such a backend."""

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage, as any kernel."""
        ...

    def run(self, inputs: Sequence[np.ndarray | KeptArray], /, *, keep: bool, bring: bool) -> KeptRun:
        """Compute the stage. Its output is kept there, brought here, or both; for want of room it is brought.

        Raises `ForgottenError` for an input that is not there any more, before anything runs.
        """
        ...


@runtime_checkable
class Keeping(Protocol):
    """A backend that can keep values there. From any thread."""

    @property
    def keeps(self) -> bool:
        """Whether it does: what it speaks to may not."""
        ...

    def put(self, arrays: Sequence[np.ndarray], most_us: int | None, /) -> tuple[KeptValue, Passed]:
        """Send the arrays of a value; it takes no longer than `most_us`, nor than a request may.

        Raises `DeviceUnavailableError`, and `KernelError` where it is not taken.
        """
        ...

    def fetch(self, kept: KeptValue, most_us: int | None, /) -> tuple[list[np.ndarray], Passed]:
        """The arrays of a value. Raises as `put`, and `ForgottenError`."""
        ...

    def forget(self, kept: Sequence[KeptValue], /) -> None:
        """Nobody needs these any more: the other end is told with the next request. Waits for nothing."""
        ...


def keeping_of(backend: Backend) -> Keeping | None:
    """The backend as one that keeps values; None: it does not."""
    return backend if isinstance(backend, Keeping) and backend.keeps else None


def keeping_kernel(kernel: Kernel) -> KeepingKernel | None:
    """The kernel as one of these."""
    return kernel if isinstance(kernel, KeepingKernel) else None
