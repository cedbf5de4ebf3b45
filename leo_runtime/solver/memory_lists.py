"""List schedules with loads: from a mode for every stage and an order of the stages to times, loads and evictions.

Stage by stage, everything is put behind what its lane has already. A label that is there is shared; one that is not is
loaded as soon as its loader's lane and room are there. Room is made of labels that the stages after it do not need, or
need last. So every choice of modes whose runs fit one by one has a schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leo_runtime.documents.memory import LoadRun, MemoryMode
from leo_runtime.documents.problem import Criteria, Link, StageRun, TransferRun
from leo_runtime.solver.memory_frames import Found, Memory

Value = tuple[int, ...]
"""How far rules are broken, then the criteria of the objective: less is better."""


@dataclass(slots=True)
class _There:
    """A label in a resource's memory: since when it is there, and until when runs placed so far need it."""

    arrive: int
    until: int


class Lists:
    """Schedules of a question with loads, and the best of them. For one thread."""

    def __init__(self, memory: Memory) -> None:
        """Look up what every schedule needs."""
        self.memory = memory
        problem = memory.problem
        self.stages = problem.stages
        self.moves = 0
        """How many schedules were made."""
        self.best: Value | None = None
        self.best_modes: tuple[int, ...] = ()
        self.best_order: tuple[int, ...] = ()
        self._number = {stage.name: i for i, stage in enumerate(problem.stages)}
        self._inputs = [[self._number[name] for name in stage.inputs] for stage in problem.stages]
        self._links = {(link.source, link.target): link for link in problem.links}

    def orders(self) -> list[list[int]]:
        """Stages by falling length of what follows them, and by when they must end. Inputs come first in both."""
        n = len(self.stages)
        readers: list[list[int]] = [[] for _ in range(n)]
        for i, inputs in enumerate(self._inputs):
            for j in inputs:
                readers[j].append(i)
        least = [min(mode.duration_us for mode in stage.modes) for stage in self.stages]
        rank: list[int | None] = [None] * n
        due: list[float] = [float("inf")] * n
        for deadline in self.memory.problem.deadlines:
            i = self._number[deadline.stage]
            due[i] = min(due[i], deadline.deadline_us)
        while None in rank:
            for i in range(n):
                after = [rank[j] for j in readers[i]]
                if rank[i] is None and None not in after:
                    rank[i] = least[i] + max((r for r in after if r is not None), default=0)
                    due[i] = min([due[i], *(due[j] - least[j] for j in readers[i])])
        by_rank = sorted(range(n), key=lambda i: -(rank[i] or 0))
        by_due = sorted(by_rank, key=due.__getitem__)
        return [by_rank] if by_due == by_rank else [by_rank, by_due]

    def consider(self, modes: Sequence[int], order: Sequence[int]) -> None:
        """Schedule, and keep it if it is better than everything before. `order` has inputs first."""
        self.moves += 1
        value = self.schedule(modes, order)[0]
        if self.best is None or value < self.best:
            self.best, self.best_modes, self.best_order = value, tuple(modes), tuple(order)

    def schedule(self, modes: Sequence[int], order: Sequence[int]) -> tuple[Value, Found, Criteria]:
        """The schedule of these modes in this order, and what it comes to."""
        making = _Making(self.memory, [stage.modes[g] for stage, g in zip(self.stages, modes, strict=True)])
        for at, i in enumerate(order):
            making.run(i, self._inputs[i], self._links, order[at + 1 :])
        criteria = making.criteria(self._number)
        problem = self.memory.problem
        broken = making.broken
        for budget in problem.accuracy_budgets:
            lost = sum(making.modes[self._number[name]].accuracy_loss_ppm for name in budget.stages)
            broken += max(0, lost - budget.loss_ppm_max)
        for name, limit in problem.limits.items():
            broken += max(0, getattr(criteria, name) - limit)
        value = (broken, *(getattr(criteria, name) for name in problem.objective))
        return value, making.found(), criteria


class _Making:
    """A schedule as it is made."""

    def __init__(self, memory: Memory, modes: list[MemoryMode]) -> None:
        self._memory = memory
        problem = memory.problem
        self.modes = modes
        self.broken = 0
        self._names = [stage.name for stage in problem.stages]
        self._resources = {resource.name: resource for resource in problem.resources}
        self._lanes: dict[str, list[int]] = {}
        self._ends: dict[str, int] = {}
        """Resource -> when the last thing on it ends, of those that are used."""
        most = len(modes) * (1 + len(modes) + len(problem.weights))  # More lanes are never needed.
        for resource in problem.resources:
            awake = 0 if resource.awake else resource.wake_latency_us
            ready = resource.ready_us or (0,) * min(resource.lanes, most)
            self._lanes[resource.name] = [max(time, awake) for time in ready]
        self._energy = sum(mode.energy_nj for mode in modes)
        self._runs: dict[int, StageRun] = {}
        self._sent: dict[tuple[int, str], TransferRun] = {}
        self._loads: list[LoadRun] = []
        self._there: dict[str, dict[str, _There]] = {
            name: {label: _There(0, 0) for label in labels} for name, labels in memory.resident.items()
        }
        self._room = dict(memory.caps)
        self._loaded_from = dict.fromkeys(self._there, 0)
        """Resource -> before what time no further load begins: room is made in the order of loads."""
        needed: dict[str, set[str]] = {}
        for mode in modes:
            if (room := self._room[mode.resource]) is not None:
                self._room[mode.resource] = room - mode.memory_bytes
            needed.setdefault(mode.resource, set()).update(mode.weights)
        for name, room in self._room.items():
            wanted = needed.get(name, set())
            there = self._there[name]
            for label in sorted(there, key=lambda label: (label in wanted, memory.sizes[label])):
                if room is not None and sum(memory.sizes[one] for one in there) > room:
                    del there[label]
            self.broken += 0 if room is None else max(0, -room)

    def _take(self, resource: str, earliest: int, duration: int) -> tuple[int, int]:
        """A lane of a resource and when it is used, as early as it can be."""
        lanes = self._lanes[resource]
        lane = min(range(len(lanes)), key=lambda k: (max(lanes[k], earliest), k))
        start = max(lanes[lane], earliest)
        if duration:
            lanes[lane] = start + duration
        self._ends[resource] = max(self._ends.get(resource, 0), start + duration)
        return lane, start

    def _send(self, i: int, inputs: list[int], links: dict[tuple[str, str], Link]) -> None:
        """Send stage i what it reads from elsewhere, as far as nobody has."""
        target = self.modes[i].resource
        for j in inputs:
            here = self._runs[j].resource
            if here == target or (j, target) in self._sent:
                continue
            link = links.get((here, target))
            end = self._runs[j].end_us
            lane, start, duration, latency = None, end, 0, 0
            if link is None:
                self.broken += 1
            else:
                duration, latency = link.sending_us(self.modes[j].output_bytes), link.latency_us
                self._energy += link.sending_nj(self.modes[j].output_bytes)
                if link.resource is not None:
                    lane, start = self._take(link.resource, end, duration)
            self._sent[j, target] = TransferRun(
                stage=self._names[j],
                source=here,
                target=target,
                lane=lane,
                start_us=start,
                arrive_us=start + duration + latency,
            )

    def run(self, i: int, inputs: list[int], links: dict[tuple[str, str], Link], later: Sequence[int]) -> None:
        """Run stage i when it has its inputs and weights; `later` are the stages after it, in their order."""
        self._send(i, inputs, links)
        mode = self.modes[i]
        earliest = self._memory.problem.stages[i].release_us
        for j in inputs:
            earliest = max(earliest, self._arrival(j, mode.resource))
        for label in mode.weights:
            there = self._there[mode.resource].get(label)
            if there is None:
                there = self._load(label, mode, later)
            earliest = max(earliest, there.arrive)
        lane, start = self._take(mode.resource, earliest, mode.duration_us)
        end = start + mode.duration_us
        for label in mode.weights:
            there = self._there[mode.resource][label]
            there.until = max(there.until, end)  # On another lane something may still need it.
        self._runs[i] = StageRun(
            stage=self._names[i],
            resource=mode.resource,
            variant=mode.variant,
            lane=lane,
            start_us=start,
            end_us=end,
        )

    def _arrival(self, j: int, target: str) -> int:
        run = self._runs[j]
        return run.end_us if run.resource == target else self._sent[j, target].arrive_us

    def _load(self, label: str, mode: MemoryMode, later: Sequence[int]) -> _There:
        """Load a label that a mode needs, when there is room for it."""
        memory, target = self._memory, mode.resource
        loader = memory.loaders.get(target)
        there = self._there[target]
        size = memory.sizes[label]
        if loader is None:
            self.broken += size
            there[label] = _There(0, 0)
            return there[label]
        earliest = self._loaded_from[target]
        room = self._room[target]
        while room is not None and sum(memory.sizes[one] for one in there) + size > room:
            others = [one for one in there if one not in mode.weights]
            if not others:
                self.broken += sum(memory.sizes[one] for one in there) + size - room
                break
            gone = max(others, key=lambda one: (self._next_use(one, target, later), -there[one].until, one))
            earliest = max(earliest, there.pop(gone).until)
        lasts = loader.loading_us(size)
        lane, start = self._take(loader.resource, earliest, lasts)
        self._energy += loader.loading_nj(size)
        self._loaded_from[target] = start
        arrive = start + lasts + loader.latency_us
        self._loads.append(LoadRun(label=label, target=target, lane=lane, start_us=start, arrive_us=arrive))
        there[label] = _There(arrive, arrive)
        return there[label]

    def _next_use(self, label: str, target: str, later: Sequence[int]) -> int:
        """How many stages later a label is needed next on a resource."""
        for at, j in enumerate(later):
            if self.modes[j].resource == target and label in self.modes[j].weights:
                return at
        return len(later)

    def criteria(self, number: dict[str, int]) -> Criteria:
        """What the schedule comes to."""
        energy = self._energy
        for name, end in self._ends.items():
            resource = self._resources[name]
            energy += resource.awake_mw * end + (0 if resource.awake else resource.wake_energy_nj)
        return Criteria(
            tardiness=sum(
                deadline.weight * max(0, self._runs[number[deadline.stage]].end_us - deadline.deadline_us)
                for deadline in self._memory.problem.deadlines
            ),
            energy=energy,
            makespan=max((run.end_us for run in self._runs.values()), default=0),
            accuracy_loss=sum(mode.accuracy_loss_ppm for mode in self.modes),
        )

    def found(self) -> Found:
        """The schedule as an answer."""
        runs = tuple(self._runs[i] for i in range(len(self._names)))
        loads = sorted(self._loads, key=lambda load: load.start_us)
        return Found(runs, tuple(self._sent.values()), tuple(loads))
