"""What all list-scheduling solvers share: orders of stages, everything on one processor, the answer.

A list schedule is made by the kernel from a mode for every stage and an order of the stages (inputs first): each
stage, with the transfers it needs, takes the earliest gap on a lane. Two schedules are compared by how far they break
caps and limits, then by the criteria of the objective in order; the first one tried wins a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from leo_runtime.documents.problem import CRITERIA, Mode, Placement, StageModes
from leo_runtime.errors import SolverError
from leo_runtime.frozen import dataclass
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.infeasible import reason
from leo_runtime.solver.limits import Stop
from leo_runtime.solver.protocols import Ordered, Schedules, SearchKernel, Value
from leo_runtime.solver.prove import prove

SINGLE_NODES = 20_000
"""How far the best use of a single processor is searched for, each; less where a node is of many stages."""

ALONE_FROM = 16
"""Beyond so many stages local search comes first: in `SINGLE_NODES` the best of a processor may not be found."""
ALONE_MOVES_PER_STAGE = 300

_NO_DEADLINE_US = 10**30


@dataclass(slots=True)
class Lists:
    """A compiled problem with the orders in which its stages are tried."""

    compiled: Compiled
    kernel: SearchKernel
    """A `kernel.Kernel`, compiled or interpreted."""
    criteria: tuple[int, ...]
    """Positions of the objective's criteria in `CRITERIA`."""
    by_rank: list[int]
    by_due: list[int]
    stop: Stop
    """Whether the wall-time limit has passed."""
    best: Value | None = None
    best_modes: tuple[int, ...] = ()
    best_order: tuple[int, ...] = ()
    moves: int = 0
    """How many schedules were made."""

    @classmethod
    def of(cls, compiled: Compiled, stop: Stop | None = None) -> Lists:
        """Compile nothing anew; order the stages by upward rank and by how soon something after them is due."""
        kernel = compiled.kernel()
        stop = Stop() if stop is None else stop
        stop.watch(kernel)
        by_rank = kernel.rank_order()
        problem = compiled.problem
        timely = "tardiness" in problem.objective or "tardiness" in problem.limits
        by_due = due_order(compiled, by_rank) if timely and problem.deadlines else by_rank
        criteria = tuple(CRITERIA.index(name) for name in problem.objective)
        return cls(compiled, kernel, criteria, by_rank, by_due, stop)

    @property
    def question(self) -> Compiled:
        """The compiled problem."""
        return self.compiled

    @property
    def stopped(self) -> bool:
        """Whether the wall-time limit has passed."""
        return self.stop.passed

    def value(self, modes: Sequence[int], order: Sequence[int]) -> Value:
        """Schedule; a negative mode is chosen as HEFT does (see `Kernel.evaluate`)."""
        self.moves += 1
        made = self.kernel.evaluate(modes, order)
        return (made[4], *[made[k] for k in self.criteria])

    def consider(self, modes: Sequence[int], order: Sequence[int]) -> Value:
        """Schedule, and keep it if it is better than everything before. Returns its value."""
        value = self.value(modes, order)
        if self.best is None or value < self.best:
            self.best, self.best_order = value, tuple(order)
            self.best_modes = self.chosen() if min(modes, default=0) < 0 else tuple(modes)
        return value

    def chosen(self) -> tuple[int, ...]:
        """The modes of the schedule made last, as numbers within each stage."""
        return tuple(self.kernel.modes)

    def placement(self, solver: str, began_ns: int, *, whole: bool = True) -> Placement:
        """The best schedule as an answer, or (with `whole`) everything on one processor where that is better.

        Past the wall limit no processor is searched any more. The bounds are what the exact solver's root proves given
        the answer's values. Where every schedule considered breaks a rule, and so does everything on one processor, the
        answer is `infeasible` if the root proves as much; raises `SolverError` if it does not.
        """
        kernel = self.kernel
        if self.best is not None and self.best[0] == 0:
            kernel.evaluate(self.best_modes, self.best_order)
            kernel.keep()
        if whole:
            search_single_processors(self.compiled, kernel, self.stop)
        proved = kernel.root() == 2
        if not kernel.found:
            if proved:
                return self.compiled.infeasible(solver, reason(self.compiled.problem, self.stop), began_ns)
            raise SolverError(
                f"{self.compiled.problem.name}: the solver `{solver}` found no placement that keeps every rule",
                hint="the solver `exact` finds one, or proves that there is none",
            )
        answer, bounds = kernel.best(), tuple(kernel.bounds)
        return self.compiled.placement(answer, solver, "optimal" if proved else "feasible", bounds, began_ns)


def search_single_processors(compiled: Compiled, kernel: SearchKernel, stop: Stop) -> None:
    """Make sure that the kernel's answer is no worse than the best one on a single processor, as far as is searched.

    Past the wall limit nothing is searched: simple answers on each processor were tried before any search.
    """
    for k in kernel.rivals():
        if stop.passed:
            break
        if len(compiled.stages) > ALONE_FROM:
            _climb_alone(compiled, kernel, compiled.resources[k], stop)
        kernel.confine(k)
        prove(kernel, min(SINGLE_NODES, 16 * SINGLE_NODES // len(compiled.stages)))
    kernel.confine(-1)


def _climb_alone(compiled: Compiled, kernel: SearchKernel, resource: str, stop: Stop) -> None:
    """Local search with everything on one processor; the kernel takes the answer if it is better than its own.

    It is of a problem without the other modes: in the whole one nearly every change would leave the processor.
    """
    there = [[g for g, mode in enumerate(stage.modes) if mode.resource == resource] for stage in compiled.stages]
    stages = tuple(
        stage.model_copy(update={"modes": tuple(stage.modes[g] for g in numbers)})
        for stage, numbers in zip(compiled.stages, there, strict=True)
    )
    alone = Compiled(compiled.problem.model_copy(update={"stages": stages})).kernel()
    stop.watch(alone)
    alone.climb(ALONE_MOVES_PER_STAGE * len(stages), 0)
    if not alone.found:
        return
    starts = alone.best()[6::3]
    order = sorted(range(len(stages)), key=lambda i: starts[i])
    kernel.evaluate([numbers[g] for numbers, g in zip(there, alone.modes, strict=True)], order)
    kernel.keep()


def due_order(question: Ordered, by_rank: list[int]) -> list[int]:
    """The stages by when each must end so that what follows it can be in time (ties: by rank). Inputs come first."""
    position = {stage.name: i for i, stage in enumerate(question.stages)}
    due = [_NO_DEADLINE_US] * len(position)
    for deadline in question.problem.deadlines:
        i = position[deadline.stage]
        due[i] = min(due[i], deadline.deadline_us)
    for i in reversed(range(len(due))):
        stage = question.stages[i]
        begin = due[i] - min(mode.duration_us for mode in stage.modes)
        for name in stage.inputs:
            due[position[name]] = min(due[position[name]], begin)
    return sorted(by_rank, key=due.__getitem__)


def single_processor_modes(question: Ordered) -> Iterator[list[int]]:
    """Everything on one processor, for each one on which every stage has a mode.

    Where a stage has several variants there, the first in the problem, the fastest, the cheapest and the most accurate
    are each tried for all.
    """
    stages = question.stages
    there: dict[str, list[list[int]]] = {resource.name: [] for resource in question.problem.resources}
    for i, stage in enumerate(stages):
        for g, mode in enumerate(stage.modes):
            numbers = there[mode.resource]
            if len(numbers) == i:
                numbers.append([g])
            elif len(numbers) > i:
                numbers[i].append(g)
    for choices in there.values():
        if len(choices) == len(stages):
            yield from alike(stages, choices)


def alike(stages: Sequence[StageModes], choices: Sequence[list[int]]) -> Iterator[list[int]]:
    """Of the modes that each stage may have, the first of all, the fastest, the cheapest and the most accurate."""
    first = [numbers[0] for numbers in choices]
    yield first
    if any(len(numbers) > 1 for numbers in choices):
        tried = [first]
        for cost in (_duration, _energy, _loss):
            modes = [_least(stage.modes, numbers, cost) for stage, numbers in zip(stages, choices, strict=True)]
            if modes not in tried:
                tried.append(modes)
                yield modes


def _least(modes: Sequence[Mode], numbers: list[int], cost: Callable[[Mode], int]) -> int:
    return numbers[0] if len(numbers) == 1 else min(numbers, key=lambda g: cost(modes[g]))


def _duration(mode: Mode) -> int:
    return mode.duration_us


def _energy(mode: Mode) -> int:
    return mode.energy_nj


def _loss(mode: Mode) -> int:
    return mode.accuracy_loss_ppm


def consider_single_processors(lists: Schedules) -> None:
    """Consider everything on one processor, as places to start from."""
    for modes in single_processor_modes(lists.question):
        if lists.stopped and lists.best is not None:
            return
        lists.consider(modes, lists.by_rank)
        if lists.by_due != lists.by_rank:
            lists.consider(modes, lists.by_due)
