"""A problem flattened to integers for the search kernel, and the kernel's answer turned back into a placement.

The kernel (`kernel.py`) is one source. Where it was compiled at install it works on 64-bit integers; where it was not,
or where the numbers of a problem could overflow 64 bits, the same source runs interpreted on Python's own integers.
"""

import importlib.util
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from leo_runtime.documents import Value
from leo_runtime.problem import CRITERIA, Criteria, Placement, Problem, StageModes, StageRun, TransferRun
from leo_runtime.solver import clauses as _clauses
from leo_runtime.solver import kernel as _kernel

SAFE = 10**18
"""What no number may reach in the compiled kernel: its own mark for "never", several of which still add up."""

Status = Literal["optimal", "feasible", "infeasible"]


COMPILED = _kernel.COMPILED and _clauses.COMPILED
"""Whether both searches were compiled at install."""


def interpreted(source: Literal["kernel", "clauses"]) -> ModuleType:
    """The source of a search run by the interpreter, whether or not it was compiled as well."""
    name = f"leo_runtime.solver._interpreted_{source}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{source}.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


class Compiled:
    """A `Problem` as flat integers. Stages are in topological order (ties: the problem's order); modes, links and lanes
    are numbered in the problem's order. `stages[i]` is the problem's stage at topological position `i`.

    Documents are read past pydantic, as the values they hold: its attributes cost more than all that is done with them.
    """

    __slots__ = (
        *("data", "lane_numbers", "mode_first", "mode_resource", "names", "problem", "resources", "sizes", "stages"),
        *("tail", "tops", "wide"),
    )

    stages: list[StageModes]
    names: list[str]
    mode_first: list[int]
    mode_resource: list[int]
    sizes: tuple[int, int, int, int]
    tail: list[int]
    tops: dict[str, int]

    def __init__(self, problem: Problem, like: "Compiled | None" = None) -> None:
        """Flatten a problem; `like` is one that differs from it in nothing but its resources' and links' numbers."""
        self.problem = problem
        resources = [resource.__dict__ for resource in problem.resources]
        self.resources = [values["name"] for values in resources]
        number = {name: r for r, name in enumerate(self.resources)}
        if like is None:
            self._flatten_stages(number)
        else:
            self.stages, self.names, self.sizes = like.stages, like.names, like.sizes
            self.mode_first, self.mode_resource = like.mode_first, like.mode_resource
            self.tail, self.tops = like.tail, like.tops
        links = self._links(number)
        lanes, ready = self._lanes(resources, links[5::6])
        inputs, deadlines, budgets, members = self.sizes
        self.data = [
            *(len(self.stages), len(number), len(self.mode_resource), inputs, len(ready)),
            *(deadlines, budgets, members),
            *lanes,
            *[0 if values["awake"] else 1 for values in resources],
            *[values["wake_latency_us"] for values in resources],
            *[values["wake_energy_nj"] for values in resources],
            *[values["awake_mw"] for values in resources],
            *[-1 if values["memory_bytes"] is None else values["memory_bytes"] for values in resources],
            *ready,
            *links,
            *self.tail,
        ]
        self.wide = self._worst_case(resources, ready, links) >= SAFE

    def _flatten_stages(self, number: dict[str, int]) -> None:
        """What resources and links do not change: `tail` as the kernel reads it, `tops` for `_worst_case`."""
        problem = self.problem
        self.stages = topological(problem)
        stages = [stage.__dict__ for stage in self.stages]
        self.names = [values["name"] for values in stages]
        position = {name: i for i, name in enumerate(self.names)}
        input_first, mode_first = [0], [0]
        inputs: list[int] = []
        resource: list[int] = []
        duration: list[int] = []
        energy: list[int] = []
        output: list[int] = []
        memory: list[int] = []
        loss: list[int] = []
        for values in stages:
            inputs += [position[name] for name in values["inputs"]]
            input_first.append(len(inputs))
            for mode in values["modes"]:
                cost = mode.__dict__
                resource.append(number[cost["resource"]])
                duration.append(cost["duration_us"])
                energy.append(cost["energy_nj"])
                output.append(cost["output_bytes"])
                memory.append(cost["memory_bytes"])
                loss.append(cost["accuracy_loss_ppm"])
            mode_first.append(len(resource))
        release = [values["release_us"] for values in stages]
        deadlines, budgets, limits = problem.deadlines, problem.accuracy_budgets, problem.limits
        due = [deadline.deadline_us for deadline in deadlines]
        weight = [deadline.weight for deadline in deadlines]
        members = [position[name] for budget in budgets for name in budget.stages]
        budget_max = [budget.loss_ppm_max for budget in budgets]
        objective = [CRITERIA.index(name) for name in problem.objective]
        self.mode_first, self.mode_resource = mode_first, resource
        self.sizes = len(inputs), len(due), len(budget_max), len(members)
        self.tail = [
            *release,
            *input_first,
            *inputs,
            *mode_first,
            *resource,
            *duration,
            *energy,
            *output,
            *memory,
            *loss,
            *[position[deadline.stage] for deadline in deadlines],
            *due,
            *weight,
            *accumulate([len(budget.stages) for budget in budgets], initial=0),
            *members,
            *budget_max,
            *[limits.get(name, -1) for name in CRITERIA],
            len(objective),
            *objective,
            *[-1] * (4 - len(objective)),
        ]
        self.tops = {
            "release": max(release, default=0),
            "output": max(output, default=0),
            "duration": sum(duration),
            "energy": sum(energy),
            "due": max(due, default=0),
            "weight": sum(weight),
            "rest": sum(memory) + sum(loss) + max(budget_max, default=0) + sum(limits.values()),
            "modes": max([len(values["modes"]) for values in stages], default=0),
        }

    def _links(self, number: dict[str, int]) -> list[int]:
        """Six numbers an ordered pair of resources: exists, latency, bytes/s, nJ, pJ/byte, occupied resource or -1."""
        count = len(number)
        links = [0, 0, 0, 0, 0, -1] * (count * count)
        for link in self.problem.links:
            values = link.__dict__
            at = 6 * (number[values["source"]] * count + number[values["target"]])
            links[at] = 1
            links[at + 1] = values["latency_us"]
            links[at + 2] = values["bytes_per_s"] or 0
            links[at + 3] = values["energy_nj"]
            links[at + 4] = values["energy_pj_per_byte"]
            on = values["resource"]
            if on is not None:
                links[at + 5] = number[on]
        return links

    def _lanes(self, resources: list[dict[str, Any]], occupied: list[int]) -> tuple[list[int], list[int]]:
        """First lane of each resource, and each lane's ready time; lanes that nothing could ever use are left out.

        Of a resource with more lanes than users only the lanes ready first are kept (ties: the lowest number).
        """
        lanes = [0]
        ready: list[int] = []
        numbers: list[int] = []
        sends = len(self.stages) * max(len(resources) - 1, 0)
        for r, values in enumerate(resources):
            used = self.mode_resource.count(r) + (sends if r in occupied else 0)
            times = values["ready_us"]
            kept = list(range(min(values["lanes"], used)))
            if times and len(times) > used:
                kept = sorted(sorted(range(len(times)), key=times.__getitem__)[:used])
            for lane in kept:
                numbers.append(lane)
                ready.append(times[lane] if times else 0)
            lanes.append(len(ready))
        self.lane_numbers = numbers
        return lanes, ready

    def _worst_case(self, resources: list[dict[str, Any]], ready: list[int], links: list[int]) -> int:
        """An upper bound on the size of any number the kernel could form from this problem."""
        tops = self.tops
        sends = len(self.stages) * len(resources)
        latency, nj, pj = max(links[1::6], default=0), max(links[3::6], default=0), max(links[4::6], default=0)
        rates = [rate for rate in links[2::6] if rate > 0]
        product = tops["output"] * max(1_000_000, pj)
        sending = latency + (product // min(rates) + 1 if rates else 0)
        wake_us = wake_nj = awake_mw = memory = 0
        for values in resources:
            wake_us = max(wake_us, values["wake_latency_us"])
            wake_nj += values["wake_energy_nj"]
            awake_mw += values["awake_mw"]
            memory = max(memory, values["memory_bytes"] or 0)
        horizon = max(ready, default=0) + tops["release"] + wake_us + tops["duration"] + sends * sending
        energy = tops["energy"] + sends * (nj + product // 1000 + 1) + awake_mw * horizon + wake_nj
        lateness = tops["weight"] * (horizon + tops["due"])
        pairs = 2 * tops["modes"] ** 2
        return max(product, horizon * max(pairs, 1), energy + lateness + memory + tops["rest"]) * SCALE

    def kernel(self, *, by_interpreter: bool = False) -> Any:
        """A search kernel holding this problem; compiled where that is possible and the numbers fit."""
        if by_interpreter or self.wide or not COMPILED:
            module = interpreted("kernel")
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
        resources, numbers, first, stages = self.resources, self.lane_numbers, self.mode_first, self.stages
        runs: list[StageRun] = []
        transfers: list[TransferRun] = []
        places: list[str] = []
        at = 4
        for i, name in enumerate(self.names):
            g, lane, start = answer[at], answer[at + 1], answer[at + 2]
            at += 3
            mode = stages[i].modes[g - first[i]].__dict__
            places.append(mode["resource"])
            values = {
                "stage": name,
                "resource": mode["resource"],
                "variant": mode["variant"],
                "lane": numbers[lane],
                "start_us": start,
                "end_us": start + mode["duration_us"],
            }
            runs.append(_made(StageRun, _RUN_KEYS, values))
        while at < len(answer):
            i, target, lane = answer[at], answer[at + 1], answer[at + 2]
            values = {
                "stage": self.names[i],
                "source": places[i],
                "target": resources[target],
                "lane": None if lane < 0 else numbers[lane],
                "start_us": answer[at + 3],
                "arrive_us": answer[at + 4],
            }
            at += 5
            transfers.append(_made(TransferRun, _TRANSFER_KEYS, values))
        values = {
            "format": "leo-placement/1",
            "problem": self.problem.name,
            "solver": solver,
            "status": status,
            "criteria": _made(Criteria, _CRITERIA_KEYS, dict(zip(CRITERIA, answer[:4], strict=True))),
            "bounds": bounds,
            "stages": tuple(runs),
            "transfers": tuple(transfers),
            "solve_us": (perf_counter_ns() - began_ns) // 1000,
            "reason": None,
        }
        return _made(Placement, _PLACEMENT_KEYS, values)

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


def clause_search(kernel: Any, *, lasting: bool = False) -> Any:
    """The search that learns (`clauses.ClauseSearch`) of a kernel's problem: compiled if the kernel is."""
    compiled = COMPILED and isinstance(kernel, _kernel.Kernel)
    return (_clauses if compiled else interpreted("clauses")).ClauseSearch(kernel, lasting)


V = TypeVar("V", bound=Value)

_RUN_KEYS = set(StageRun.model_fields)
_TRANSFER_KEYS = set(TransferRun.model_fields)
_CRITERIA_KEYS = set(Criteria.model_fields)
_PLACEMENT_KEYS = set(Placement.model_fields)


_PUT_VALUES, _PUT_KEYS, _PUT_EXTRA, _PUT_PRIVATE = (
    BaseModel.__dict__[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def _made(kind: type[V], keys: set[str], values: dict[str, Any]) -> V:
    """A part of a document from values known to be right, with every key given, in the order of the fields.

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
