"""The arrays of a frame in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

import numpy as np

from leo_runtime.backend.keeping import KeptValue, There
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.dispatch.plan import Plan
    from leo_runtime.frame.batch import Job
    from leo_runtime.frame.positions import Point

Value = np.ndarray | There
"""What a stage gave."""


@dataclass(frozen=True, slots=True)
class FlightArrays:
    """The arrays of a frame, or of the frames of a batch, by stage and number in the batch."""

    windows: Sequence[Mapping[str, np.ndarray]]
    graphs: tuple[str, ...]
    jobs: Mapping[str, Job]
    releases_us: tuple[int, ...] = ()
    plan: Plan | None = None
    values: dict[tuple[str, int], Value] = field(default_factory=dict)
    copies: dict[tuple[str, int, str], np.ndarray | BaseException] = field(default_factory=dict)
    """Outputs that were handed over, also by target; or why that failed."""
    kept: dict[tuple[str, int, str], KeptValue] = field(default_factory=dict)
    """What is kept elsewhere, also by processor."""
    to_forget: list[tuple[str, KeptValue]] = field(default_factory=list)
    """The same, and what a run has left there that failed or was given up: nobody needs any of it behind the frame."""
    points: tuple[Mapping[str, Point], ...] = ()
    """Of each frame, how far the stages have come that keep state."""
    begun: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of the runs of stages that keep state, by stage and number in the batch: `Kept.begun`."""
