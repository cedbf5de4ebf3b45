"""The object a daemon embeds: frames go in; where, when and at what cost each stage ran, and what was found, come out.

with Runtime.simulated(workload, hardware, profile) as runtime:
    runtime.submit(release_us, {"sound": samples})
    for result in runtime.drain():
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from leo_runtime.graph import Workload
from leo_runtime.hardware import Hardware
from leo_runtime.lower import MergedWorkload, merge
from leo_runtime.observations import FrameResult
from leo_runtime.problem import Placement, Problem
from leo_runtime.profiles import Profile

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.backend import Backend

Solver = Callable[[Problem], Placement]
"""Answers a frame's question."""

LinksNow = Mapping[tuple[str, str], tuple[int, int | None] | None]
"""Links that are not now as the hardware says, by (source, target): (latency_us, bytes_per_s), or None where down."""


@dataclass(frozen=True, slots=True)
class SourceWindow:
    """What a source stage reads: the last `samples` samples of a stream before a frame's release."""

    stage: str
    """The merged stage: the key of its array in `Runtime.submit`."""
    stream: str
    samples: int


class Runtime:
    """A workload on a machine. Made by `simulated` or `live`; closing it lets go of the backends."""

    merged: MergedWorkload
    hardware: Hardware
    profile: Profile

    def __init__(self, workload: Workload, hardware: Hardware, profile: Profile) -> None:
        self.merged = merge(workload)
        self.hardware = hardware
        self.profile = profile

    @classmethod
    def simulated(
        cls,
        workload: Workload,
        hardware: Hardware,
        profile: Profile,
        *,
        solver: str | Solver = "exact",
        limit_ms: int | None = None,
        backends: Mapping[str, Backend] | None = None,
        compute: bool = True,
        noise: Callable[[int, str, str, int], int] | None = None,
        adapt: bool = False,
        seed: int = 0,
    ) -> Self:
        """A runtime in virtual time: durations are the profile's, values are computed on this machine.

        `backends` by processor; None: those installed. Without `compute` nothing is computed and every gate opens.
        """
        raise NotImplementedError

    @classmethod
    def live(
        cls,
        workload: Workload,
        hardware: Hardware,
        profile: Profile,
        *,
        solver: str | Solver = "exact",
        limit_ms: int | None = None,
        backends: Mapping[str, Backend] | None = None,
        adapt: bool = False,
        seed: int = 0,
    ) -> Self:
        """A runtime in real time, on the machine it runs on."""
        raise NotImplementedError

    def triggered(self, release_us: int) -> tuple[str, ...]:
        """The graphs whose period and offset make them run at that time."""
        return tuple(
            graph.name
            for graph in self.merged.workload.graphs
            if release_us >= graph.offset_us and (release_us - graph.offset_us) % graph.period_us == 0
        )

    def sources(self, graphs: Collection[str]) -> tuple[SourceWindow, ...]:
        """The windows that a frame of these graphs needs."""
        raise NotImplementedError

    def submit(
        self,
        release_us: int,
        windows: Mapping[str, np.ndarray],
        *,
        graphs: Collection[str] | None = None,
        links: LinksNow | None = None,
    ) -> int:
        """Take a frame, place it and start it; returns its number. Releases must not go back in time.

        `graphs` None: those that `triggered` names. `links` holds from now on; None: as before.
        """
        raise NotImplementedError

    def results(self) -> tuple[FrameResult, ...]:
        """The frames that ended since this was last asked, in the order they were submitted."""
        raise NotImplementedError

    def drain(self) -> tuple[FrameResult, ...]:
        """Wait until every submitted frame has ended, then `results`."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the backends. Closing twice is fine."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """The runtime itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
