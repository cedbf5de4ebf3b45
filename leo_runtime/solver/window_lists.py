"""What all list-scheduling solvers of windows share: orders of stages, everything on one processor, the answer.

A schedule is made from a mode for every stage and an order of the stages (`window_schedule`); what it waits for is
chosen for it (`window_waits`). Two are compared by how far they break caps and limits, then by the criteria of the
objective in order; the first one tried wins a tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter_ns

from leo_runtime.documents.problem import Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.solver import heft
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.limits import Stop
from leo_runtime.solver.lists import Lists, alike, due_order
from leo_runtime.solver.protocols import Value
from leo_runtime.solver.window_bounds import least
from leo_runtime.solver.window_schedule import Schedule, Window, placement
from leo_runtime.solver.window_waits import CHANGES_PER_STAGE, improved, simple

UNLINKED: Value = (1 << 200,)
"""The value of what cannot be scheduled: a link is missing."""
RANK_UNITS = 1_000
"""Of upward ranks, a microsecond."""


class WindowLists:
    """A window's question with the orders in which its stages are tried, and the best schedule so far."""

    def __init__(self, problem: WindowProblem, stop: Stop | None = None, limit_moves: int | None = None) -> None:
        """Nothing is scheduled yet. `limit_moves` is how many schedules are made, besides the first simple ones."""
        self.window = Window(problem)
        self.stop = Stop() if stop is None else stop
        self.limit_moves = limit_moves
        self.by_rank = _rank_order(self.window)
        timely = "tardiness" in problem.objective or "tardiness" in problem.limits
        self.by_due = due_order(self.window, self.by_rank) if timely and problem.deadlines else self.by_rank
        self.schedule: Schedule | None = None
        """The best one."""

    @property
    def question(self) -> Window:
        """What is scheduled."""
        return self.window

    @property
    def stopped(self) -> bool:
        """Whether a limit has passed."""
        return self.stop.passed or (self.limit_moves is not None and self.moves >= self.limit_moves)

    @property
    def moves(self) -> int:
        """How many schedules were made."""
        return self.window.made

    @property
    def best(self) -> Value | None:
        """The value of the best schedule so far, if there is one."""
        return None if self.schedule is None else self.schedule.value

    @property
    def best_modes(self) -> tuple[int, ...]:
        """Its modes, as numbers within each stage; the first of each where nothing tried so far is linked."""
        return (0,) * len(self.by_rank) if self.schedule is None else self.schedule.choice.modes

    @property
    def best_order(self) -> tuple[int, ...]:
        """The order in which its stages were placed."""
        return tuple(self.by_rank) if self.schedule is None else self.schedule.choice.order

    def consider(self, modes: Sequence[int], order: Sequence[int]) -> Value:
        """Schedule with the simple ways to wait and with the best schedule's; keep it if it is better than that."""
        found = self.made(modes, order)
        return UNLINKED if found is None else found.value

    def made(self, modes: Sequence[int], order: Sequence[int]) -> Schedule | None:
        """As `consider`; the schedule, None where a link is missing."""
        found = simple(self.window, modes, order)
        if found is None:
            return None
        best = self.schedule
        if best is not None and (best.choice.lists or best.choice.wakes_after or best.choice.holds_back):
            waiting = self.window.schedule(replace(best.choice, modes=tuple(modes), order=tuple(order)))
            if waiting is not None and waiting.value < found.value:
                found = waiting
        self.keep(found)
        return found

    def keep(self, schedule: Schedule) -> None:
        """Keep a schedule if it is better than everything before."""
        if self.schedule is None or schedule.value < self.schedule.value:
            self.schedule = schedule

    def polish(self) -> bool:
        """Choose anew what the best schedule waits for, in its order and in others. Says whether that is better."""
        if self.schedule is None:
            return False
        before = self.schedule
        self.keep(self.waiting(before))
        for order in self.orders:
            if tuple(order) != before.choice.order and not self.stopped:
                # An order that was no better before anything waited may leave more room for waiting.
                self.polished(before.choice.modes, order)
        return self.schedule is not before

    def begin(self) -> None:
        """Consider simple answers: HEFT's, and everything on one processor, each waiting for what is best for it."""
        self.polished(*self.heft())
        for modes in single_modes(self.window):
            for order in self.orders:
                if self.stopped and self.schedule is not None:
                    return
                self.polished(modes, order)

    @property
    def orders(self) -> tuple[list[int], ...]:
        """The orders in which simple answers are tried."""
        return (self.by_rank,) if self.by_due == self.by_rank else (self.by_rank, self.by_due)

    def polished(self, modes: Sequence[int], order: Sequence[int]) -> None:
        """Consider a schedule with what it waits for well chosen, which is the same whatever came before it.

        So a solver that considers everything on one processor is never behind another that does.
        """
        found = simple(self.window, modes, order)
        if found is not None:
            self.keep(self.waiting(found))

    def waiting(self, schedule: Schedule) -> Schedule:
        """The schedule with what it waits for well chosen, as far as the limits let it."""
        most = CHANGES_PER_STAGE * len(self.window.stages)
        if self.limit_moves is not None:
            most = min(most, max(0, self.limit_moves - self.moves))
        return improved(self.window, schedule, most, self.stop)

    def heft(self) -> tuple[list[int], list[int]]:
        """The modes and the order of HEFT, which takes every stage to run and looks at nothing but times."""
        problem = self.window.problem
        frame = Problem.model_construct(  # what a window's question holds is consistent already
            format="leo-problem/1",
            name=problem.name,
            resources=problem.resources,
            links=problem.links,
            stages=problem.stages,
            deadlines=problem.deadlines,
            accuracy_budgets=problem.accuracy_budgets,
            objective=problem.objective,
        )
        lists = Lists.of(Compiled(frame), self.stop)
        heft.run(lists)
        numbers = [self.window.position[stage.name] for stage in lists.compiled.stages]
        modes = [0] * len(numbers)
        for i, g in zip(numbers, lists.best_modes, strict=True):
            modes[i] = g
        return modes, [numbers[k] for k in lists.best_order]

    def placement(self, solver: str, began_ns: int) -> WindowPlacement:
        """The best schedule as an answer, with weak bounds. Raises `SolverError` where there is none to the rules."""
        schedule = self.schedule
        if schedule is None or not schedule.keeps_rules:
            raise SolverError(
                f"{self.window.problem.name}: the solver `{solver}` found no placement that keeps every rule",
                hint="the solver `exhaustive` finds one, or proves that there is none, where the window is small",
            )
        solve_us = (perf_counter_ns() - began_ns) // 1000
        return placement(self.window, schedule, solver, least(self.window), solve_us)


def single_modes(window: Window) -> Iterator[list[int]]:
    """Everything that has a choice on one processor, as in `lists.single_processor_modes`.

    What can run on one resource alone, as what is there already can, stays on it.
    """
    fixed = [len(set(places)) == 1 for places in window.places]
    free = [i for i, known in enumerate(fixed) if not known]
    names = [resource.name for resource in window.resources]
    for name in names if free else [""]:
        numbers = [
            [g for g, mode in enumerate(stage.modes) if fixed[i] or mode.resource == name]
            for i, stage in enumerate(window.stages)
        ]
        if all(numbers):
            yield from alike(window.stages, numbers)


def _rank_order(window: Window) -> list[int]:
    """The stages by falling upward rank: what a stage takes on average, and the longest that follows it."""
    rank = [0] * len(window.stages)
    for i in reversed(range(len(rank))):
        stage = window.stages[i]
        # Times the same number for all, so that it stays whole.
        takes = sum(mode.duration_us for mode in stage.modes) * RANK_UNITS // len(stage.modes)
        rank[i] = takes + max((rank[j] for j in window.readers[i]), default=0)
    return sorted(range(len(rank)), key=lambda i: -rank[i])
