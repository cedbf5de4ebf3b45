"""Measures what is far away apart from the way there: stages on what is kept there, and the links by two sizes.

Every run there is a request. So what a stage takes is its round trip and the server's own time, with nothing that
crosses; what crosses is the links'. A link's time is taken on two sizes: by what the larger takes longer, a byte is
known, and the rest is the trip, of which each way has half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from leo_runtime.backend import Backend, Kernel
from leo_runtime.backend.keeping import (
    ForgottenError,
    Keeping,
    KeepingKernel,
    KeptArray,
    Passed,
    keeping_kernel,
    keeping_of,
)
from leo_runtime.documents.hardware import Hardware, Link
from leo_runtime.errors import BackendError, LeoError

if TYPE_CHECKING:
    from leo_runtime.documents.binding import BoundStage

SMALL_BYTES = 16_384
SIZES = (65_536, 262_144, 786_432)
"""The larger one is the first of these that takes clearly longer; a server takes a mebibyte in any case."""
CLEARLY_US = 20_000
TURNS = 5
"""Of each size, in turns; the median counts."""
NANO = 1_000_000


@dataclass(frozen=True, slots=True)
class LinkMeasured:
    """What was seen of a link."""

    source: str
    target: str
    latency_us: int
    bytes_per_s: int


class FarBackend:
    """A backend whose kernels are run on what is kept there: for measuring alone."""

    def __init__(self, backend: Backend, keeping: Keeping) -> None:
        self.name = backend.name
        self._backend, self._keeping = backend, keeping

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """What the backend answers."""
        return self._backend.supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        """The backend's kernel, run on what is kept. Raises as that does."""
        kernel = self._backend.load(stage, variant)
        far = keeping_kernel(kernel)
        return kernel if far is None else _FarKernel(far, self._keeping)

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()


class _FarKernel:
    """A kernel whose inputs are sent as they are new, and whose output is brought once."""

    def __init__(self, kernel: KeepingKernel, keeping: Keeping) -> None:
        self._kernel, self._keeping = kernel, keeping
        self._given: Sequence[np.ndarray] = ()
        self._kept: tuple[KeptArray, ...] = ()
        self._output: np.ndarray | None = None

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage. Raises as the kernel does."""
        is_known = len(inputs) == len(self._given) and all(map(_is, inputs, self._given))
        if is_known and self._output is not None:
            try:
                run = self._kernel.run(self._kept, keep=True, bring=False)
            except ForgottenError:  # Somebody else needed the room.
                pass
            else:
                if run.kept is not None:
                    self._keeping.forget([run.kept])
                return self._output
        kept, _ = self._keeping.put(inputs, None)
        self._given, self._kept = tuple(inputs), kept.arrays
        output = self._kernel.run(kept.arrays, keep=False, bring=True).output
        if output is None:
            raise BackendError("a kernel that was to bring its output has brought none")
        self._output = output
        return output


def apart(hardware: Hardware, backends: Mapping[str, Backend], *, measures_links: bool) -> dict[str, Backend]:
    """The backends to measure stages on: far ones on what is kept there, where links have a time of their own."""
    timed = {name for link in hardware.links if link.bytes_per_s is not None for name in (link.source, link.target)}
    found: dict[str, Backend] = {}
    for name, backend in backends.items():
        keeping = keeping_of(backend) if measures_links or name in timed else None
        found[name] = backend if keeping is None else FarBackend(backend, keeping)
    return found


def over_links(
    hardware: Hardware, backends: Mapping[str, Backend], missing: list[tuple[str, LeoError]]
) -> tuple[LinkMeasured, ...]:
    """What each link takes between here and a server that keeps values. What fails is `missing`."""
    found: list[LinkMeasured] = []
    far = {name: keeping for name, backend in backends.items() if (keeping := keeping_of(backend)) is not None}
    known: dict[tuple[str, bool], tuple[int, int]] = {}
    for link in hardware.links:
        is_up = link.target in far
        if is_up == (link.source in far):  # Both ends are here, or none is.
            continue
        name = link.target if is_up else link.source
        try:
            if (name, is_up) not in known:
                known[name, is_up] = _of_link(_up(far[name]) if is_up else _down(far[name]))
        except LeoError as error:
            missing.append((f"the link from {link.source} to {link.target}", error))
            continue
        found.append(LinkMeasured(link.source, link.target, *known[name, is_up]))
    return tuple(found)


def with_links(hardware: Hardware, measured: Sequence[LinkMeasured]) -> Hardware:
    """The hardware with links as they were measured; all else of it stays."""
    by_ends = {(one.source, one.target): one for one in measured}

    def linked(link: Link) -> Link:
        one = by_ends.get((link.source, link.target))
        if one is None:
            return link
        sources = {**link.sources, "latency_us": "measured", "bytes_per_s": "measured"}
        return link.model_copy(
            update={"latency_us": one.latency_us, "bytes_per_s": one.bytes_per_s, "sources": sources}
        )

    return hardware.model_copy(update={"links": tuple([linked(link) for link in hardware.links])})


def _up(far: Keeping) -> Callable[[int], int]:
    """How long it takes to send so many bytes, in us."""

    def took_us(size: int) -> int:
        kept, passed = far.put([_bytes(size)], None)
        far.forget([kept])
        return passed.took_us

    return took_us


def _down(far: Keeping) -> Callable[[int], int]:
    """How long it takes to fetch so many."""

    def took_us(size: int) -> int:
        kept, _ = far.put([_bytes(size)], None)
        passed: Passed
        _, passed = far.fetch(kept, None)
        far.forget([kept])
        return passed.took_us

    return took_us


def _of_link(took_us: Callable[[int], int]) -> tuple[int, int]:
    """The latency, in us, and the bytes a second of a link whose transfers take so long."""
    took_us(SMALL_BYTES)  # The first one may connect.
    for large in SIZES:
        once_us = took_us(large)
        if once_us - took_us(SMALL_BYTES) >= CLEARLY_US or large == SIZES[-1]:
            break
    turns = [(took_us(SMALL_BYTES), took_us(large)) for _ in range(TURNS)]
    small_us, large_us = (round(median(column)) for column in zip(*turns, strict=True))
    more_us = max(1, large_us - small_us)
    bytes_per_s = max(1, (large - SMALL_BYTES) * NANO // more_us)
    trip_us = max(0, small_us - SMALL_BYTES * NANO // bytes_per_s)
    return trip_us // 2, bytes_per_s


def _bytes(size: int) -> np.ndarray:
    """What nobody on the way can make smaller."""
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


def _is(one: object, other: object) -> bool:
    return one is other
