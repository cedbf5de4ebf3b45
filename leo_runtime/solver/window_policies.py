"""Answers of windows without a search for modes: the fixed policies, HEFT, and everything on one processor.

A fixed policy keeps the modes that it has for a frame (`baselines`); HEFT's are those of the frame in which every stage
runs. What is waited for and when resources sleep is chosen for these modes as for any others, by the whole bill, so
that a policy is compared with at its best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns

from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.solver.baselines import POLICIES, preferred
from leo_runtime.solver.limits import limited
from leo_runtime.solver.preferences import matching
from leo_runtime.solver.window_lists import WindowLists, single_modes


def single(
    problem: WindowProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,  # noqa: ARG001  # a fixed number of schedules is made
    seed: int = 0,  # noqa: ARG001  # nothing is drawn
) -> WindowPlacement:
    """The best found of everything on one processor, as far as it can be elsewhere (`window_lists.single_modes`).

    Raises `SolverError` where no processor can run it all.
    """
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = WindowLists(problem, stop)
        for modes in single_modes(lists.window):
            for order in lists.orders:
                lists.polished(modes, order)
        return lists.placement("single", began)


def heft(
    problem: WindowProblem,
    *,
    limit_ms: int | None = None,
    limit_nodes: int | None = None,  # noqa: ARG001  # a fixed number of schedules is made
    seed: int = 0,  # noqa: ARG001  # nothing is drawn
) -> WindowPlacement:
    """HEFT's modes and order; or everything on one processor, where that is better.

    Raises `SolverError` where both break a rule.
    """
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = WindowLists(problem, stop)
        lists.begin()
        return lists.placement("heft", began)


def preferring(name: str, preferences: Sequence[str]) -> Callable[..., WindowPlacement]:
    """The policy of that name, which prefers these processors, or all whose names are like these patterns."""

    def solve(
        problem: WindowProblem,
        *,
        limit_ms: int | None = None,
        limit_nodes: int | None = None,  # noqa: ARG001  # a policy searches no nodes
        seed: int = 0,  # noqa: ARG001  # nothing is drawn
    ) -> WindowPlacement:
        return _prefer(problem, matching(preferences, [one.name for one in problem.resources]), name, limit_ms)

    return solve


def _prefer(problem: WindowProblem, preferences: Sequence[str], name: str, limit_ms: int | None) -> WindowPlacement:
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = WindowLists(problem, stop)
        for accurate in (False, True):
            modes = preferred(lists.window, preferences, accurate)
            for order in lists.orders:
                lists.polished(modes, order)
            if lists.best is not None and lists.best[0] == 0:
                break
        return lists.placement(name, began)


def _policy(name: str) -> Callable[..., WindowPlacement]:
    def solve(
        problem: WindowProblem,
        *,
        limit_ms: int | None = None,
        limit_nodes: int | None = None,  # noqa: ARG001  # a policy searches no nodes
        seed: int = 0,  # noqa: ARG001  # nothing is drawn
    ) -> WindowPlacement:
        return _prefer(problem, POLICIES[name], name, limit_ms)

    solve.__doc__ = (
        f"The policy `{name}`: {' before '.join(POLICIES[name])}. Raises `SolverError` where it breaks a rule."
    )
    return solve


cpu_only = _policy("cpu-only")
dsp_first = _policy("dsp-first")
gpu_first = _policy("gpu-first")
