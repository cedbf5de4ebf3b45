"""How a frame, batch or release is placed: its plan, with the question and answer that it was made from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.dispatch.plan import Plan
    from leo_runtime.documents.problem import Placement
    from leo_runtime.frame.records import Solved


@dataclass(frozen=True, slots=True)
class Investment:
    """Resources that sleep, and that it would pay to have awake in a run that goes on like this for long enough."""

    resources: tuple[str, ...]
    repaid_after_us: int
    until_us: int
    """The end of the window."""


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """How a frame is placed, and what earlier frames have left with it."""

    plan: Plan
    solved: Solved | None
    """None: an event-driven policy decides as the frame runs, and is asked nothing before."""
    again: tuple[Plan, ...] = ()
    """Of each of the `Found.earlier` of a window, in its own time."""
    investment: Investment | None = None

    def looked_up(self) -> Planned:
        """The same for the next frame that finds the same, which will not have waited for a solver."""
        plan = self.plan
        return replace(self, plan=replace(plan, placement=plan.placement.model_copy(update={"solve_us": 0})))


@dataclass(frozen=True, slots=True)
class Placed:
    """How a frame or batch is to run."""

    planned: Planned
    asleep: tuple[str, ...] = ()
    """Who sleeps now."""
    again: tuple[tuple[int, Plan], ...] = ()
    """New plans of earlier frames, by number."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A frame or batch that is not placed while too many others have not ended."""

    why: Placement
