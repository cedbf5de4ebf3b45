"""The border to code of other packages: whatever it raises becomes an error in words, and ends nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from leo_runtime.backend import Backend, Holding, Kernel, ProcessEnds, driver_of, ends_of, is_simulated, lacks_of
from leo_runtime.backend.keeping import Keeping, KeptValue, Passed
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import KernelError, MissingExtraError, in_words

if TYPE_CHECKING:
    import numpy as np


class GuardedBackend:
    """A backend that raises nothing but `LeoError`s, and answers for its optional parts. As thread-safe as its own."""

    def __init__(self, backend: Backend, package: str = "") -> None:
        """Raises `BackendError` where the backend does not say what it is."""
        named = getattr(type(backend), "__name__", "backend")
        with in_words(f"backend `{named}` does not say what it is", hint=_blame(package)):
            self.name = backend.name
            self.simulated = is_simulated(backend)
            self.driver = driver_of(backend)
            self.lacks: tuple[MissingExtraError, ...] = lacks_of(backend)
        self._backend = backend
        self._who = f"backend `{self.name}`" + (f" of package `{package}`" if package else "")
        self._hint = _blame(package)

    @property
    def process_ends(self) -> ProcessEnds:
        """What the backend says of its processes. Raises `BackendError` where it raises anything."""
        with in_words(f"{self._who} cannot say how its processes ended", hint=self._hint):
            return ends_of(self._backend)

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """What the backend answers. Raises `BackendError` where it raises anything."""
        with in_words(f"{self._who} cannot say whether it supports stage `{stage.name}`", hint=self._hint):
            return self._backend.supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        """The backend's kernel, as it is. Raises `KernelError` where loading raises anything."""
        with in_words(f"{self._who} failed to load stage `{stage.name}`", KernelError, hint=self._hint):
            return self._backend.load(stage, variant)

    def close(self) -> None:
        """Close the backend. Raises `BackendError` where it raises anything."""
        with in_words(f"{self._who} failed to close", hint=self._hint):
            self._backend.close()


class GuardedHoldingBackend(GuardedBackend):
    """One that can keep its device awake."""

    def __init__(self, backend: Backend, package: str = "") -> None:
        """As `GuardedBackend`."""
        super().__init__(backend, package)
        assert isinstance(backend, Holding)
        self._device: Holding = backend

    def hold(self) -> None:
        """Keep the device awake. Raises `BackendError` where the backend raises anything."""
        with in_words(f"{self._who} failed to hold its device", hint=self._hint):
            self._device.hold()

    def release(self) -> None:
        """Let the device sleep. Raises `BackendError` where the backend raises anything."""
        with in_words(f"{self._who} failed to release its device", hint=self._hint):
            self._device.release()


class GuardedKeepingBackend(GuardedBackend):
    """One whose device keeps what its stages give each other."""

    def __init__(self, backend: Backend, package: str = "") -> None:
        """As `GuardedBackend`."""
        super().__init__(backend, package)
        self._keeper = cast("Keeping", backend)
        with in_words(f"{self._who} does not say whether it keeps values", hint=self._hint):
            self.keeps = bool(self._keeper.keeps)

    def put(self, arrays: Sequence[np.ndarray], most_us: int | None, /) -> tuple[KeptValue, Passed]:
        """Send the arrays of a value. Raises `KernelError` where the backend raises anything that is no `LeoError`."""
        with in_words(f"{self._who} failed to send a value", KernelError, hint=self._hint):
            return self._keeper.put(arrays, most_us)

    def fetch(self, kept: KeptValue, most_us: int | None, /) -> tuple[list[np.ndarray], Passed]:
        """The arrays of a value. Raises as `put`."""
        with in_words(f"{self._who} failed to fetch a value", KernelError, hint=self._hint):
            return self._keeper.fetch(kept, most_us)

    def forget(self, kept: Sequence[KeptValue], /) -> None:
        """Nobody needs these any more. Raises `BackendError` where the backend raises anything."""
        with in_words(f"{self._who} failed to forget a value", hint=self._hint):
            self._keeper.forget(kept)


class GuardedHoldingKeepingBackend(GuardedHoldingBackend, GuardedKeepingBackend):
    """One that does both."""


def guarded(backend: Backend, package: str = "") -> GuardedBackend:
    """The backend behind the border; `package` is where it comes from. Raises as `GuardedBackend` does."""
    if isinstance(backend, GuardedBackend):
        return backend
    kinds = {
        (False, False): GuardedBackend,
        (True, False): GuardedHoldingBackend,
        (False, True): GuardedKeepingBackend,
        (True, True): GuardedHoldingKeepingBackend,
    }
    return kinds[isinstance(backend, Holding), _is_keeping(backend)](backend, package)


def _is_keeping(backend: Backend) -> bool:
    """Whether it has all of that: its `keeps` is asked later, behind the border."""
    return all(hasattr(type(backend), name) for name in ("put", "fetch", "forget"))


def _blame(package: str) -> str:
    whose = f"package `{package}`" if package else "that backend"
    return f"it is a mistake of {whose}: tell its authors, or give the processor another backend"
