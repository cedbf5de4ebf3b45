"""The policies that are named by what they prefer: `prefer:npu,big` is the first of these that a stage can run on.

A name is that of a processor, or a pattern such as `npu*` for all whose names are like that. On a command line where
commas are between solvers, `+` stands for them: `prefer:npu+big`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from leo_runtime.errors import SolverError

PREFER = "prefer:"


def preferences(solver: object) -> tuple[str, ...] | None:
    """What a policy of that name prefers, first to last; None: it is no name of such a policy.

    Raises `SolverError` where it names nothing.
    """
    if not isinstance(solver, str) or not solver.startswith(PREFER):
        return None
    names = tuple(name.strip() for name in re.split("[,+]", solver.removeprefix(PREFER)))
    if not all(names):
        raise SolverError(
            f"the solver `{solver}` leaves out what it prefers", hint="write processors, such as `prefer:npu,big`"
        )
    return names


def matching(names: Iterable[str], processors: Iterable[str]) -> list[str]:
    """The processors that these names and patterns mean, in the order of preference, each once."""
    there = list(processors)
    return list(dict.fromkeys(one for name in names for one in there if one == name or fnmatchcase(one, name)))


def require_there(solver: object, machine: str, processors: Iterable[str]) -> None:
    """Raise `SolverError` for what a policy prefers and the machine of that name does not have."""
    there = list(processors)
    for name in preferences(solver) or ():
        if not matching([name], there):
            raise SolverError(
                f"the solver `{solver}` prefers `{name}`, and `{machine}` has no such processor",
                hint=f"it has {', '.join(there)}",
            )
