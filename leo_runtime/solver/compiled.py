"""A problem flattened to integers for the search kernel, and the kernel's answer turned back into a placement.

The kernel (`kernel.py`) is one source. Where it was compiled at install it works on 64-bit integers; where it was not,
or where the numbers of a problem could overflow 64 bits, the same source runs interpreted on Python's own integers.
"""

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from leo_runtime.documents import Value
from leo_runtime.problem import CRITERIA, Criteria, Placement, Problem, StageModes, StageRun, TransferRun
from leo_runtime.solver import kernel as _kernel

SAFE = 10**18
"""What no number may reach in the compiled kernel: its own mark for "never", several of which still add up."""

Status = Literal["optimal", "feasible", "infeasible"]


def interpreted_kernel() -> ModuleType:
    """The kernel's source run by the interpreter, whether or not it was compiled as well."""
    if not _kernel.COMPILED:
        return _kernel
    name = "leo_runtime.solver._interpreted_kernel"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("kernel.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


class Compiled:
    """A `Problem` as flat integers. Stages are in topological order (ties: the problem's order); modes, links and lanes
    are numbered in the problem's order. `stages[i]` is the problem's stage at topological position `i`.
    """

    __slots__ = (
        *("data", "lane_numbers", "mode_first", "names", "problem", "resources", "stages", "tail", "tops", "wide"),
    )

    stages: list[StageModes]
    names: list[str]
    mode_first: list[int]
    tail: list[int]
    tops: dict[str, int]

    def __init__(self, problem: Problem, like: "Compiled | None" = None) -> None:
        """Flatten a problem; `like` is one that differs from it in nothing but its resources' and links' numbers."""
        self.problem = problem
        self.resources = [resource.name for resource in problem.resources]
        number = {name: r for r, name in enumerate(self.resources)}
        if like is None:
            self._flatten_stages(number)
        else:
            self.stages, self.names, self.mode_first = like.stages, like.names, like.mode_first
            self.tail, self.tops = like.tail, like.tops
        count = len(self.stages)
        resource_at = 2 * (count + 1) + count + self.tops["inputs"]
        mode_resource = self.tail[resource_at : resource_at + self.mode_first[-1]]
        links = self._links(number)
        lanes, ready = self._lanes(mode_resource, links[5::6])
        resources = problem.resources
        self.data = [
            *(count, len(number), self.mode_first[-1], self.tops["inputs"], len(ready)),
            *(len(problem.deadlines), len(problem.accuracy_budgets), self.tops["members"]),
            *lanes,
            *(0 if r.awake else 1 for r in resources),
            *(r.wake_latency_us for r in resources),
            *(r.wake_energy_nj for r in resources),
            *(r.awake_mw for r in resources),
            *(-1 if r.memory_bytes is None else r.memory_bytes for r in resources),
            *ready,
            *links,
            *self.tail,
        ]
        self.wide = self._worst_case(ready) >= SAFE

    def _flatten_stages(self, number: dict[str, int]) -> None:
        """What resources and links do not change: `tail` as the kernel reads it, `tops` for `_worst_case`."""
        problem = self.problem
        stages = topological(problem)
        self.stages = stages
        self.names = [stage.name for stage in stages]
        position = {name: i for i, name in enumerate(self.names)}
        modes = [mode for stage in stages for mode in stage.modes]
        self.mode_first = [0, *accumulate(len(stage.modes) for stage in stages)]
        inputs = [position[name] for stage in stages for name in stage.inputs]
        budgets = problem.accuracy_budgets
        members = [position[name] for budget in budgets for name in budget.stages]
        columns = (
            [mode.duration_us for mode in modes],
            [mode.energy_nj for mode in modes],
            [mode.output_bytes for mode in modes],
            [mode.memory_bytes for mode in modes],
            [mode.accuracy_loss_ppm for mode in modes],
        )
        release = [stage.release_us for stage in stages]
        objective = [CRITERIA.index(name) for name in problem.objective]
        self.tail = [
            *release,
            *accumulate((len(stage.inputs) for stage in stages), initial=0),
            *inputs,
            *self.mode_first,
            *(number[mode.resource] for mode in modes),
            *(value for column in columns for value in column),
            *(position[deadline.stage] for deadline in problem.deadlines),
            *(deadline.deadline_us for deadline in problem.deadlines),
            *(deadline.weight for deadline in problem.deadlines),
            *accumulate((len(budget.stages) for budget in budgets), initial=0),
            *members,
            *(budget.loss_ppm_max for budget in budgets),
            *(problem.limits.get(name, -1) for name in CRITERIA),
            len(objective),
            *objective,
            *[-1] * (4 - len(objective)),
        ]
        names = ("duration", "energy", "output", "memory", "loss")
        self.tops = {name: max(column, default=0) for name, column in zip(names, columns, strict=True)}
        self.tops |= {"inputs": len(inputs), "members": len(members), "release": max(release, default=0)}

    def _links(self, number: dict[str, int]) -> list[int]:
        """Six numbers an ordered pair of resources: exists, latency, bytes/s, nJ, pJ/byte, occupied resource or -1."""
        count = len(number)
        links = [0, 0, 0, 0, 0, -1] * (count * count)
        for link in self.problem.links:
            at = 6 * (number[link.source] * count + number[link.target])
            on = -1 if link.resource is None else number[link.resource]
            rate = 0 if link.bytes_per_s is None else link.bytes_per_s
            links[at : at + 6] = 1, link.latency_us, rate, link.energy_nj, link.energy_pj_per_byte, on
        return links

    def _lanes(self, mode_resource: list[int], occupied: list[int]) -> tuple[list[int], list[int]]:
        """First lane of each resource, and each lane's ready time; lanes that nothing could ever use are left out.

        Of a resource with more lanes than users only the lanes ready first are kept (ties: the lowest number).
        """
        resources = self.problem.resources
        users = [0] * len(resources)
        for r in mode_resource:
            users[r] += 1
        sends = len(self.stages) * max(len(resources) - 1, 0)
        for r in set(occupied) - {-1}:
            users[r] += sends
        lanes, ready = [0], list[int]()
        self.lane_numbers: list[int] = []
        for resource, used in zip(resources, users, strict=True):
            kept: Iterable[int] = range(min(resource.lanes, used))
            if resource.ready_us:
                times = resource.ready_us
                if len(times) > used:
                    kept = sorted(sorted(range(len(times)), key=times.__getitem__)[:used])
                ready += [times[lane] for lane in kept]
            else:
                ready += [0] * len(range(min(resource.lanes, used)))
            self.lane_numbers += kept
            lanes.append(len(ready))
        return lanes, ready

    def _worst_case(self, ready: list[int]) -> int:
        """An upper bound on the size of any number the kernel could form from this problem."""
        problem, tops = self.problem, self.tops
        count = len(self.stages)
        top_us, top_nj, top_out = tops["duration"], tops["energy"], tops["output"]
        top_memory, top_loss = tops["memory"], tops["loss"]
        sends = count * len(self.resources)
        sending = max((link.sending_us(top_out) + link.latency_us for link in problem.links), default=0)
        sent_nj = max((link.sending_nj(top_out) for link in problem.links), default=0)
        product = top_out * max(1_000_000, max((link.energy_pj_per_byte for link in problem.links), default=0))
        wake = max((r.wake_latency_us for r in problem.resources), default=0)
        horizon = max(ready, default=0) + tops["release"] + wake + count * top_us + sends * sending
        awake = sum(r.awake_mw * horizon + r.wake_energy_nj for r in problem.resources)
        energy = count * top_nj + sends * sent_nj + awake
        due = max((deadline.deadline_us for deadline in problem.deadlines), default=0)
        lateness = sum(deadline.weight for deadline in problem.deadlines) * (horizon + due)
        load = max((r.memory_bytes or 0 for r in problem.resources), default=0) + count * top_memory
        loss = count * top_loss + max((budget.loss_ppm_max for budget in problem.accuracy_budgets), default=0)
        limit = sum(problem.limits.values())
        pairs = 2 * max((len(stage.modes) for stage in self.stages), default=0) ** 2
        return max(product, horizon * max(pairs, 1), energy + lateness + load + loss + limit) * SCALE

    def kernel(self, *, interpreted: bool = False) -> Any:
        """A search kernel holding this problem; compiled where that is possible and the numbers fit."""
        if interpreted or self.wide or not _kernel.COMPILED:
            module = interpreted_kernel()
            return module.Kernel(self.data, [0] * module.block_size(self.data))
        block: Any = memoryview(bytearray(8 * _kernel.block_size(self.data))).cast("q")
        return _kernel.Kernel(self.data, block)

    def placement(
        self,
        answer: Sequence[int],
        solver: str,
        status: Status,
        bounds: tuple[int, ...],
        began_ns: int,
    ) -> Placement:
        """The document of an answer as `Kernel.answer()` gives it (see there); `solve_us` runs from `began_ns`."""
        resources, numbers, first = self.resources, self.lane_numbers, self.mode_first
        names = self.names
        runs: list[StageRun] = [None] * len(names)  # type: ignore[list-item]  # each is filled below
        at = 4
        for i, stage in enumerate(self.stages):
            g, lane, start = answer[at : at + 3]
            at += 3
            mode = stage.modes[g - first[i]]
            values = {
                "stage": stage.name,
                "resource": mode.resource,
                "variant": mode.variant,
                "lane": numbers[lane],
                "start_us": start,
                "end_us": start + mode.duration_us,
            }
            runs[i] = _made(StageRun, _RUN_KEYS, values)
        transfers = []
        while at < len(answer):
            i, target, lane, start, arrive = answer[at : at + 5]
            at += 5
            values = {
                "stage": names[i],
                "source": runs[i].resource,
                "target": resources[target],
                "lane": None if lane < 0 else numbers[lane],
                "start_us": start,
                "arrive_us": arrive,
            }
            transfers.append(_made(TransferRun, _TRANSFER_KEYS, values))
        tardiness, energy, makespan, loss = answer[:4]
        criteria = Criteria.model_construct(tardiness=tardiness, energy=energy, makespan=makespan, accuracy_loss=loss)
        return Placement.model_construct(
            format="leo-placement/1",
            problem=self.problem.name,
            solver=solver,
            status=status,
            criteria=criteria,
            bounds=bounds,
            stages=tuple(runs),
            transfers=tuple(transfers),
            solve_us=(perf_counter_ns() - began_ns) // 1000,
            reason=None,
        )

    def infeasible(self, solver: str, reason: str, began_ns: int) -> Placement:
        """The document that says that no answer exists, and why."""
        return Placement(
            format="leo-placement/1",
            problem=self.problem.name,
            solver=solver,
            status="infeasible",
            solve_us=(perf_counter_ns() - began_ns) // 1000,
            reason=reason,
        )


SCALE = 1 << 6
"""The kernel's bounds count energy in 1/64 nJ, and need room for it."""


V = TypeVar("V", bound=Value)

_RUN_KEYS = set(StageRun.model_fields)
_TRANSFER_KEYS = set(TransferRun.model_fields)


_PUT_VALUES, _PUT_KEYS, _PUT_EXTRA, _PUT_PRIVATE = (
    BaseModel.__dict__[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def _made(kind: type[V], keys: set[str], values: dict[str, Any]) -> V:
    """A part of a document from values known to be right, with every key given.

    What pydantic's `model_construct` does at a fraction of its cost: most of an answer's time was spent there.
    """
    made: V = object.__new__(kind)
    _PUT_VALUES(made, values)
    _PUT_KEYS(made, keys)
    _PUT_EXTRA(made, None)
    _PUT_PRIVATE(made, None)
    return made


def topological(problem: Problem) -> list[StageModes]:
    """The problem's stages with every input before its readers; otherwise in the problem's order."""
    done: set[str] = set()
    for stage in problem.stages:
        if not done.issuperset(stage.inputs):
            break
        done.add(stage.name)
    else:
        return list(problem.stages)
    done.clear()
    ordered, waiting = [], list(problem.stages)
    while waiting:
        later = []
        for stage in waiting:
            if done.issuperset(stage.inputs):
                ordered.append(stage)
                done.add(stage.name)
            else:
                later.append(stage)
        waiting = later
    return ordered
