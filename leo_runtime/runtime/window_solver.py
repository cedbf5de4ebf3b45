"""Who answers the questions of windows: a named solver with its limits, or the caller's own, who is judged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from leo_runtime.documents.problem import Placement
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import LeoError, SolverError
from leo_runtime.operators.own import failure
from leo_runtime.runtime.planner import VIOLATIONS_SAID
from leo_runtime.solver.context import Context, takes, takes_context
from leo_runtime.solver.preferences import preferences
from leo_runtime.solver.window import WINDOW_SOLVERS, named

WINDOW_NODES = 20_000
"""How far a named solver without a limit searches for a window in virtual time: it is often too large for a proof, and
the same limit gives the same answer."""

WindowSolver = Callable[[WindowProblem, Context, int | None], WindowPlacement]
"""Answers a window's question, within so many milliseconds at most if that is not None."""


def window_solver(
    solver: str | Callable[..., Any],
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,
    seed: int = 0,
    hurries: bool = False,
) -> WindowSolver:
    """A named solver with its limits, or the caller's own.

    One that `hurries` is limited by the time that it is given, and searches on without limit where it has enough. The
    caller's own is called with the question, with a `Context` if it takes a second argument, and with `limit_ms` if it
    has a keyword of that name: the milliseconds that there are, or None. What it raises, and whatever its answer
    breaks, is a `SolverError`. Raises `SolverError` for a name that answers no windows.
    """
    if not isinstance(solver, str):
        return _judged(solver)
    if solver not in WINDOW_SOLVERS and preferences(solver) is None:
        raise SolverError(
            f"the solver `{solver}` answers no windows",
            hint=f"these do: {', '.join(WINDOW_SOLVERS)}; `window_stages=0` asks about each frame alone",
        )
    answer = named(solver)  # Imported now, and not as the first release waits for it.
    nodes = WINDOW_NODES if limit_nodes is None and limit_ms is None and not hurries else limit_nodes

    def solve(problem: WindowProblem, _: Context, within_ms: int | None) -> WindowPlacement:
        most_ms = min((ms for ms in (limit_ms, within_ms) if ms is not None), default=None)
        return answer(problem, limit_ms=most_ms, limit_nodes=nodes, seed=seed)

    return solve


def _judged(solver: Callable[..., Any]) -> WindowSolver:
    # For solvers of others alone.
    from leo_runtime.judge.window import check_window
    from leo_runtime.solver.complete import complete

    called = getattr(solver, "__qualname__", type(solver).__name__)
    with_context, with_limit = takes_context(solver), takes(solver, "limit_ms")

    def solve(problem: WindowProblem, context: Context, within_ms: int | None) -> WindowPlacement:
        call = partial(solver, limit_ms=within_ms) if with_limit else solver
        try:
            answer = call(problem, context) if with_context else call(problem)
        except LeoError:
            raise
        except Exception as error:  # Foreign code: whatever it raises means that it has no answer.
            raise SolverError(f"the solver `{called}` raised {failure(error, solver)}") from error
        if isinstance(answer, Placement):
            return complete(problem, answer)
        report = check_window(problem, answer)
        if report.ok:
            return cast(WindowPlacement, answer.model_copy(update={"criteria": report.criteria}))
        wrong = (*report.violations, *report.false_claims)
        more = f"; and {len(wrong) - VIOLATIONS_SAID} more" if len(wrong) > VIOLATIONS_SAID else ""
        raise SolverError(
            f"the answer of the solver `{called}` is wrong: {'; '.join(map(str, wrong[:VIOLATIONS_SAID]))}{more}",
            hint="`leo_runtime.check_window(problem, placement)` finds all of it; docs/window-problem.md has the rules",
        )

    return solve
