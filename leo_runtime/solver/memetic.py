"""LEO's memetic search: a population of placements, crossed and improved by local moves.

After Georgiev, Lane, Rachuri and Mascolo (MobiCom 2016), whose scheduler keeps a population of placements and improves
its members by local moves; they do not publish its parameters, so these are ours, chosen on random problems:

- A member is a mode for every stage and an order of the stages (inputs first), list-scheduled and compared as in
  `lists`. The population starts with HEFT's answer, the greedy one, everything on one processor, and random modes.
- A child takes each stage's mode from one of two parents, each chosen as the better of two drawn, and its order from
  the first. In half of the children the modes come from the first parent up to a cut and from the second after it, so
  that pipelines stay together.
- A child is improved by `LOCAL_MOVES` moves, each kept unless it is worse: another mode for a stage, that and the same
  processor for a stage it is connected to, another processor for a group of connected stages (`groups`), or another
  place in the order.
- It replaces the worst member unless it is worse, or equal to a member already there.

The search ends after `moves` schedules, or at a limit; the same seed gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from time import perf_counter_ns

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.solver import greedy, heft
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.groups import Groups
from leo_runtime.solver.limits import limited
from leo_runtime.solver.lists import Lists, consider_single_processors, single_processor_modes
from leo_runtime.solver.protocols import Schedules, Value
from leo_runtime.solver.window_lists import WindowLists

NAME = "memetic"
POPULATION = 16
ORDER, GROUP, PAIR, STAGE = 4, 1, 4, 7
"""Of 16 local moves how many are of each kind, in the order in which they are drawn."""
LOCAL_MOVES = 24
MOVES_PER_STAGE = 400
"""How many schedules are made for each stage of the problem, where no limit is given."""
WINDOW_MOVES_PER_STAGE = 200
"""The same of a window, whose schedules take longer to make."""


@dataclass(slots=True)
class _Member:
    value: Value
    modes: list[int]
    order: list[int]


def solve(problem: Problem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0) -> Placement:
    """A good placement with proved bounds; `limit_nodes` counts schedules made.

    Raises `SolverError` where it finds no placement that keeps every rule.
    """
    moves = MOVES_PER_STAGE * len(problem.stages) if limit_nodes is None else limit_nodes
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = Lists.of(Compiled(problem), stop)
        search(lists, moves, Random(seed))
        return lists.placement(NAME, began)


def solve_window(
    problem: WindowProblem, *, limit_ms: int | None = None, limit_nodes: int | None = None, seed: int = 0
) -> WindowPlacement:
    """The same for a window: each member waits as is best of few ways, the best one in the end as is best for it."""
    moves = WINDOW_MOVES_PER_STAGE * len(problem.stages) if limit_nodes is None else limit_nodes
    began = perf_counter_ns()
    with limited(limit_ms, began) as stop:
        lists = WindowLists(problem, stop, moves)
        lists.begin()
        evolve(lists, moves, Random(seed))
        lists.polish()
        return lists.placement(NAME, began)


def search(lists: Lists, moves: int, rng: Random) -> None:
    """Leave the best schedule found in `lists`."""
    heft.run(lists)
    consider_single_processors(lists)
    evolve(lists, moves, rng)


def evolve(lists: Schedules, moves: int, rng: Random) -> None:
    """Improve the best schedule of `lists` by local search, then look for a better one with a population."""
    groups = Groups(lists.question)
    greedy.improve(lists, groups, moves // 2)
    if not lists.by_rank or lists.stopped:
        return
    population = _first(lists, rng)
    while lists.moves < moves and not lists.stopped:
        child = _child(lists, population, rng)
        for _ in range(LOCAL_MOVES):
            if lists.stopped:
                break
            _improve(lists, child, groups, rng)
        worst = max(range(len(population)), key=lambda k: population[k].value)
        if child.value <= population[worst].value and all(child.modes != other.modes for other in population):
            population[worst] = child


def _first(lists: Schedules, rng: Random) -> list[_Member]:
    """The first population: the best so far in both orders, everything on one processor, and random modes."""
    starts = [list(lists.best_modes), *single_processor_modes(lists.question)]
    while len(starts) < POPULATION:
        starts.append([rng.randrange(len(stage.modes)) for stage in lists.question.stages])
    orders = (lists.by_rank, lists.by_due)
    members = [_member(lists, list(lists.best_modes), list(lists.best_order))]
    members += [_member(lists, modes, list(orders[k % 2])) for k, modes in enumerate(starts)]
    return sorted(members, key=lambda member: member.value)[:POPULATION]


def _member(lists: Schedules, modes: list[int], order: list[int]) -> _Member:
    return _Member(lists.consider(modes, order), modes, order)


def _child(lists: Schedules, population: list[_Member], rng: Random) -> _Member:
    first, second = (min(rng.sample(population, 2), key=lambda member: member.value) for _ in range(2))
    size = len(first.modes)
    if rng.randrange(2):
        cut = rng.randrange(size)
        modes = first.modes[:cut] + second.modes[cut:]
    else:
        modes = [mine if rng.randrange(2) else theirs for mine, theirs in zip(first.modes, second.modes, strict=True)]
    return _member(lists, modes, list(first.order))


def _improve(lists: Schedules, member: _Member, groups: Groups, rng: Random) -> None:
    """One local move, kept unless it is worse."""
    modes, order = varied(member.modes, member.order, groups, rng)
    value = lists.consider(modes, order)
    if value <= member.value:
        member.value, member.modes, member.order = value, modes, order


def varied(modes: list[int], order: list[int], groups: Groups, rng: Random) -> tuple[list[int], list[int]]:
    """Modes and order after one local move."""
    i = rng.randrange(len(modes))
    drawn = rng.randrange(ORDER + GROUP + PAIR + STAGE)
    if drawn < ORDER:
        order = _shifted(order, i, groups.neighbours[i], rng)
    elif drawn < ORDER + GROUP:
        modes = _together(modes, i, groups, rng)
    else:
        modes = list(modes)
        modes[i] = rng.randrange(len(groups.places[i]))
        if drawn < ORDER + GROUP + PAIR and groups.neighbours[i]:
            j = rng.choice(groups.neighbours[i])
            there = groups.places[i][modes[i]]
            same = [g for g, place in enumerate(groups.places[j]) if place == there]
            if same:
                modes[j] = rng.choice(same)
    return modes, order


def _together(modes: list[int], i: int, groups: Groups, rng: Random) -> list[int]:
    """These modes with a group around stage i on one of its resources; unchanged where missing links forbid it."""
    resource = rng.choice(groups.places[i])
    group = groups.near(i, resource, 2 << rng.randrange(len(modes).bit_length()))  # most groups are small
    found = list(groups.moved(modes, group, resource))
    return rng.choice(found) if found else modes


def _shifted(order: list[int], i: int, neighbours: list[int], rng: Random) -> list[int]:
    """The order with stage i at another place between its inputs and its readers."""
    at = order.index(i)
    places = [order.index(j) for j in neighbours]
    low = max((place + 1 for place in places if place < at), default=0)
    high = min((place - 1 for place in places if place > at), default=len(order) - 1)
    to = rng.randint(low, high)
    rest = order[:at] + order[at + 1 :]
    return [*rest[:to], i, *rest[to:]]
