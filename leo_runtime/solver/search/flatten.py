"""A problem written down as the integers that the kernel reads: `Schedule._read` says in which order.

One source, as the kernel is. Compiled it writes 64-bit integers, and raises `OverflowError` where one does not fit;
interpreted it writes Python's integers, which have no limit. Both write the same ones.

Documents are read past pydantic, as the values they hold: its attributes cost more than all that is done with them.
"""

from array import array
from collections.abc import MutableSequence, Sequence
from typing import Any

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.documents.problem import CRITERIA, AccuracyBudget, Deadline, Question, StageModes

if cython.compiled:
    from cython.cimports.cpython.object import PyObject_GenericGetDict

COMPILED: bool = cython.compiled

Ints = MutableSequence[int]

SAFE = 10**18
"""What no number may reach in the compiled kernel: its own mark for "never", several of which still add up."""
SCALE = 64
"""The kernel's bounds count energy in 1/64 nJ, and need room for it."""


def values_of(document: Any) -> dict[str, Any]:
    """What a part of a document holds, by the names of its fields."""
    values: dict[str, Any] = PyObject_GenericGetDict(document, cython.NULL) if cython.compiled else document.__dict__
    return values


class Page:
    """Integers, written one after the other."""

    def __init__(self, size: int) -> None:
        """A page of so many zeros."""
        self.size = size
        self.data: Ints = array("q", bytes(8 * size)) if cython.compiled else [0] * size
        self.out = self.data
        self.at = 0

    def put(self, value: int) -> None:
        """Write a number."""
        self.out[self.at] = value
        self.at += 1

    def most(self, count: int) -> int:
        """The largest of the numbers written last."""
        most = 0
        for at in range(self.at - count, self.at):
            most = max(most, self.out[at])
        return most

    def sum(self, count: int) -> int:
        """The sum of the numbers written last, or `SAFE` if it is larger; -1, which stands for none, counts nothing."""
        total = 0
        for at in range(self.at - count, self.at):
            total += max(min(self.out[at], SAFE), 0)
            total = min(total, SAFE)
        return total


class Stages:
    """What is written down of a problem's stages, deadlines, budgets and objective: what no resource or link changes.

    Stages are in topological order (ties: the problem's order); modes are numbered in the problem's order.
    """

    def __init__(self, problem: Question, number: dict[str, int]) -> None:
        """Write it down for resources of these numbers."""
        self.documents: Sequence[StageModes] = problem.stages
        if not self._in_order():
            self.documents = topological(problem.stages)
            self._in_order()
        deadlines, budgets = problem.deadlines, problem.accuracy_budgets
        self.deadlines = len(deadlines)
        self.budgets = len(budgets)
        self.members = sum([len(budget.stages) for budget in budgets])
        rows = 3 * self.n + 3 * self.deadlines + 2 * self.budgets
        self.page = Page(rows + self.inputs + 6 * self.modes + self.members + 12)
        self._put_inputs()
        self._put_modes(number)
        self._put_deadlines(deadlines)
        self._put_budgets(budgets)
        self._put_criteria(problem)

    def _in_order(self) -> bool:
        """Number and count what is in `documents`. Says whether every input comes before its readers."""
        self.position: dict[str, int] = {}
        self.names: list[str] = []
        self.values: list[dict[str, Any]] = []
        self.costs: list[dict[str, Any]] = []
        self.n = 0
        self.inputs = 0
        self.most_modes = 0
        for document in self.documents:
            values = values_of(document)
            for name in values["inputs"]:
                if name not in self.position:
                    return False
                self.inputs += 1
            modes = values["modes"]
            for mode in modes:
                self.costs.append(values_of(mode))
            self.most_modes = max(self.most_modes, len(modes))
            name = values["name"]
            self.position[name] = self.n
            self.names.append(name)
            self.values.append(values)
            self.n += 1
        self.modes = len(self.costs)
        return True

    def _put_inputs(self) -> None:
        for values in self.values:
            self.page.put(values["release_us"])
        self.release = self.page.most(self.n)
        first = 0
        self.page.put(0)
        for values in self.values:
            first += len(values["inputs"])
            self.page.put(first)
        for values in self.values:
            for name in values["inputs"]:
                self.page.put(self.position[name])

    def _put_modes(self, number: dict[str, int]) -> None:
        count = self.modes
        first = 0
        self.page.put(0)
        for values in self.values:
            first += len(values["modes"])
            self.page.put(first)
        at = self.first_mode = self.page.at
        for cost in self.costs:
            self.page.out[at] = number[cost["resource"]]
            self.page.out[at + count] = cost["duration_us"]
            self.page.out[at + 2 * count] = cost["energy_nj"]
            self.page.out[at + 3 * count] = cost["output_bytes"]
            self.page.out[at + 4 * count] = cost["memory_bytes"]
            self.page.out[at + 5 * count] = cost["accuracy_loss_ppm"]
            at += 1
        self.page.at += 2 * count
        self.duration = self.page.sum(count)
        self.page.at += count
        self.energy = self.page.sum(count)
        self.page.at += count
        self.output = self.page.most(count)
        self.page.at += 2 * count
        self.rest = self.page.sum(2 * count)

    def _put_deadlines(self, deadlines: Sequence[Deadline]) -> None:
        for deadline in deadlines:
            self.page.put(self.position[deadline.stage])
        for deadline in deadlines:
            self.page.put(deadline.deadline_us)
        self.due = self.page.most(self.deadlines)
        for deadline in deadlines:
            self.page.put(deadline.weight)
        self.weight = self.page.sum(self.deadlines)

    def _put_budgets(self, budgets: Sequence[AccuracyBudget]) -> None:
        first = 0
        self.page.put(0)
        for budget in budgets:
            first += len(budget.stages)
            self.page.put(first)
        for budget in budgets:
            for name in budget.stages:
                self.page.put(self.position[name])
        for budget in budgets:
            self.page.put(budget.loss_ppm_max)
        self.rest += self.page.most(self.budgets)

    def _put_criteria(self, problem: Question) -> None:
        limits, objective = problem.limits, problem.objective
        for name in CRITERIA:
            self.page.put(limits.get(name, -1))
        self.rest += self.page.sum(4)
        self.page.put(len(objective))
        for name in objective:
            self.page.put(CRITERIA.index(name))
        for _ in range(len(objective), 4):
            self.page.put(-1)

    def users(self, resource: int) -> int:
        """How many modes are on a resource."""
        count = 0
        for at in range(self.first_mode, self.first_mode + self.modes):
            if self.page.out[at] == resource:
                count += 1
        return count


class Flat:
    """A whole problem written down: `data` for the kernel, and what its numbers are called in the problem."""

    def __init__(self, problem: Question, stages: Stages | None) -> None:
        """Write a problem down; `stages` are those of one that differs in nothing but resources' and links' numbers."""
        resources = [values_of(resource) for resource in problem.resources]
        links = [values_of(link) for link in problem.links]
        self.name = problem.name
        self.resources: list[str] = [values["name"] for values in resources]
        self.number: dict[str, int] = {name: r for r, name in enumerate(self.resources)}
        self.stages = Stages(problem, self.number) if stages is None else stages
        self._choose_lanes(resources, {values["resource"] for values in links})
        r = len(resources)
        self.page = Page(9 + 6 * r + len(self.ready) + 6 * r * r + self.stages.page.size)
        self._put_sizes()
        self._put_resources(resources)
        self._put_links(links)
        self._put_stages()
        self.wide: bool = self._worst_case(resources) >= SAFE

    def _choose_lanes(self, resources: list[dict[str, Any]], occupied: set[str | None]) -> None:
        """First lane of each resource, and each lane's ready time; lanes that nothing could ever use are left out.

        Of a resource with more lanes than users only the lanes ready first are kept (ties: the lowest number).
        """
        self.lane_first: list[int] = [0]
        self.lane_numbers: list[int] = []
        self.ready: list[int] = []
        sends = self.stages.n * max(len(resources) - 1, 0)
        for r, values in enumerate(resources):
            used = self.stages.users(r) + (sends if values["name"] in occupied else 0)
            times = values["ready_us"]
            kept: Sequence[int] = range(min(values["lanes"], used))
            if times and len(times) > used:
                kept = sorted(sorted(range(len(times)), key=times.__getitem__)[:used])
            for lane in kept:
                self.lane_numbers.append(lane)
                self.ready.append(times[lane] if times else 0)
            self.lane_first.append(len(self.ready))

    def _put_sizes(self) -> None:
        stages = self.stages
        self.page.put(stages.n)
        self.page.put(len(self.resources))
        self.page.put(stages.modes)
        self.page.put(stages.inputs)
        self.page.put(len(self.ready))
        self.page.put(stages.deadlines)
        self.page.put(stages.budgets)
        self.page.put(stages.members)

    def _put_resources(self, resources: list[dict[str, Any]]) -> None:
        for lane in self.lane_first:
            self.page.put(lane)
        for values in resources:
            self.page.put(0 if values["awake"] else 1)
        for values in resources:
            self.page.put(values["wake_latency_us"])
        for values in resources:
            self.page.put(values["wake_energy_nj"])
        for values in resources:
            self.page.put(values["awake_mw"])
        for values in resources:
            memory = values["memory_bytes"]
            self.page.put(-1 if memory is None else memory)
        for time in self.ready:
            self.page.put(time)

    def _put_links(self, links: list[dict[str, Any]]) -> None:
        """Six numbers an ordered pair of resources: exists, latency, bytes/s, nJ, pJ/byte, occupied resource or -1."""
        r = len(self.resources)
        first = self.page.at
        for pair in range(r * r):
            self.page.out[first + 6 * pair + 5] = -1
        for values in links:
            self.page.at = first + 6 * (self.number[values["source"]] * r + self.number[values["target"]])
            self.page.put(1)
            self.page.put(values["latency_us"])
            self.page.put(values["bytes_per_s"] or 0)
            self.page.put(values["energy_nj"])
            self.page.put(values["energy_pj_per_byte"])
            on = values["resource"]
            self.page.put(-1 if on is None else self.number[on])
        self.page.at = first + 6 * r * r
        self._measure_links(r * r)

    def _measure_links(self, pairs: int) -> None:
        """The largest numbers of any link, and the slowest rate (0: no link has one)."""
        latency = slowest = nj = pj = 0
        for at in range(self.page.at - 6 * pairs, self.page.at, 6):
            latency = max(latency, self.page.out[at + 1])
            rate = self.page.out[at + 2]
            if rate > 0 and (slowest == 0 or rate < slowest):
                slowest = rate
            nj = max(nj, self.page.out[at + 3])
            pj = max(pj, self.page.out[at + 4])
        self.latency, self.slowest, self.nj, self.pj = latency, slowest, nj, pj

    def _put_stages(self) -> None:
        for at in range(self.stages.page.size):
            self.page.put(self.stages.page.out[at])

    def _worst_case(self, resources: list[dict[str, Any]]) -> int:
        """An upper bound on the size of any number the kernel could form from this problem."""
        stages = self.stages
        sends = stages.n * len(resources)
        product = stages.output * max(1_000_000, self.pj)
        sending = self.latency + (product // self.slowest + 1 if self.slowest else 0)
        wake_us = wake_nj = awake_mw = memory = 0
        for values in resources:
            wake_us = max(wake_us, values["wake_latency_us"])
            wake_nj += values["wake_energy_nj"]
            awake_mw += values["awake_mw"]
            memory = max(memory, values["memory_bytes"] or 0)
        horizon = max(self.ready, default=0) + stages.release + wake_us + stages.duration + sends * sending
        energy = stages.energy + sends * (self.nj + product // 1000 + 1) + awake_mw * horizon + wake_nj
        lateness = stages.weight * (horizon + stages.due)
        pairs = 2 * stages.most_modes**2
        return max(product, horizon * max(pairs, 1), energy + lateness + memory + stages.rest) * SCALE


def topological(stages: Sequence[StageModes]) -> list[StageModes]:
    """The stages in turns: each in the first in which all its inputs come before it; in a turn, in their order.

    An input that stands behind its reader comes a turn before it.
    """
    values = [values_of(stage) for stage in stages]
    position = {one["name"]: i for i, one in enumerate(values)}
    missing = [len(one["inputs"]) for one in values]
    readers: list[list[int]] = [[] for _ in values]
    for i, one in enumerate(values):
        for name in one["inputs"]:
            readers[position[name]].append(i)
    turn = [0] * len(values)
    ready = [i for i, inputs in enumerate(missing) if inputs == 0]
    for i in ready:
        for reader in readers[i]:
            turn[reader] = max(turn[reader], turn[i] + (1 if i > reader else 0))
            missing[reader] -= 1
            if missing[reader] == 0:
                ready.append(reader)
    return [stages[i] for i in sorted(range(len(values)), key=turn.__getitem__)]
