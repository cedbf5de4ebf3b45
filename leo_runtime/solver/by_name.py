"""The look-up of a solver by its name, the same for every kind of question."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from leo_runtime.errors import SolverError, did_you_mean

EVENT_DRIVEN = ("least-slack", "event-heft", "round-robin", "shortest-expected-latency")
"""The policies of `event_policies`, which are imported where they are asked."""


def by_name(solver: object, places: Mapping[str, str], what: str) -> Callable[..., Any]:
    """The function that is at the solver's place ("module:function"); its module is imported now.

    Raises `SolverError`, which says `what` (such as "solver of windows") has no such name.
    """
    place = places.get(solver) if isinstance(solver, str) else None
    if place is None and solver in EVENT_DRIVEN:
        raise SolverError(
            f"`{solver}` is an event-driven policy, which decides as a run goes on, and no {what}",
            hint="a Runtime, `leo-runtime replay` and studies take it",
        )
    if place is None:
        raise SolverError(f'no {what} is called "{solver}"', hint=did_you_mean(solver, places, "there are"))
    module, function = place.split(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
