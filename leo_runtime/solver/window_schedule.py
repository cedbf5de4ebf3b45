"""From choices to a window's schedule: every stage in its order as early as it may, then the cheapest spans.

What is chosen beforehand is a `Choice`: modes, an order, and what is waited for. Stages are placed one after the other,
each with the transfers that it needs, into the earliest gap on a lane. With all times known the spans of a resource
depend on no other's, and the cheapest ones are found by dynamic programming over the places where it could sleep.

Stages are numbered in an order in which inputs come first, resources and modes as in the problem; -1 is no lane. A gate
is the number of its stage.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from heapq import heapify, heappop, heappush

from leo_runtime.documents.problem import CRITERIA, Criteria, Link, Mode, StageRun
from leo_runtime.documents.window import CERTAIN, Span, WindowPlacement, WindowProblem, WindowStage, WindowTransfer
from leo_runtime.frozen import dataclass
from leo_runtime.solver.gates import Gates, share

Send = tuple[int, int]
"""The stage that sends, and the resource it sends to."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a schedule is made from. What is not in a mapping or a set waits for nothing."""

    modes: tuple[int, ...]
    order: tuple[int, ...]
    lists: Mapping[Send, tuple[int, ...]] = field(default_factory=dict)
    """Transfer -> the gates it waits for; forgotten where a reader is behind none of them."""
    wakes_after: frozenset[tuple[int, int]] = frozenset()
    """(resource, gate): what uses this resource and is behind this gate starts so late that waking can wait for it."""
    holds_back: Mapping[Send, int] = field(default_factory=dict)
    """(stage, resource) -> the release, as a number, before whose waking the stage and its sending do not use it."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A transfer as it is placed."""

    start_us: int
    sent_us: int
    arrive_us: int
    lane: int
    link: Link
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Awake:
    """A span as it is chosen."""

    from_us: int
    until_us: int
    after: tuple[int, ...]


@dataclass(slots=True)
class Schedule:
    """The times of everything, and what they cost."""

    choice: Choice
    starts: list[int]
    ends: list[int]
    lanes: list[int]
    sends: dict[Send, Sending]
    spans: list[list[Awake]] = field(default_factory=list)
    """A list for each resource."""
    criteria: tuple[int, int, int, int] = (0, 0, 0, 0)
    """In the order of `CRITERIA`."""
    value: tuple[int, ...] = ()
    """How far caps, budgets and limits are broken, then the criteria of the objective: less is better."""

    @property
    def keeps_rules(self) -> bool:
        """Whether it can be the answer."""
        return self.value[0] == 0


@dataclass(frozen=True, slots=True)
class _Use:
    """A time in which a resource is used, and the gates a span may wait for as far as this use goes (0: none)."""

    start_us: int
    end_us: int
    gates: int
    """A bit for each gate."""


class Window:
    """A window's question with everything looked up once. For one thread at a time."""

    def __init__(self, problem: WindowProblem) -> None:
        """Takes what pydantic has found consistent."""
        self.problem = problem
        self.stages = _inputs_first(problem)
        self.position = {stage.name: i for i, stage in enumerate(self.stages)}
        self.resources = problem.resources
        self.number = numbers = {resource.name: r for r, resource in enumerate(problem.resources)}
        self.inputs = [[self.position[name] for name in stage.inputs] for stage in self.stages]
        self.readers: list[list[int]] = [[] for _ in self.stages]
        for i, inputs in enumerate(self.inputs):
            for j in inputs:
                self.readers[j].append(i)
        self.places = [[numbers[mode.resource] for mode in stage.modes] for stage in self.stages]
        """For each stage the resource of each of its modes."""
        self.links: dict[tuple[int, int], tuple[Link, int]] = {
            (numbers[link.source], numbers[link.target]): (
                link,
                -1 if link.resource is None else numbers[link.resource],
            )
            for link in problem.links
        }
        """(source, target) -> the link, and the resource it occupies or -1."""
        gates = Gates.of(problem)
        self.opens_ppm = {self.position[name]: chance for name, chance in gates.opens_ppm.items()}
        self.behind = [frozenset(self.position[name] for name in gates.behind[stage.name]) for stage in self.stages]
        self.chain = [tuple(sorted(behind, key=lambda g: (len(self.behind[g]), g))) for behind in self.behind]
        """For each stage the gates it is behind, each behind those before it."""
        self.chances = [stage.chance_ppm for stage in self.stages]
        self.costs_nj = [[share(mode.energy_nj, stage.chance_ppm) for mode in stage.modes] for stage in self.stages]
        self._ready = [list(r.ready_us) or [0] for r in problem.resources]
        most = 1 + len(self.stages) * (1 + len(self.resources))
        # More lanes than there are things to run are never needed; a document may name very many.
        self._free = [list(r.ready_us) or [0] * min(r.lanes, most) for r in problem.resources]
        self._asleep_us = [0 if r.awake else r.wake_latency_us for r in problem.resources]
        self._due = [(self.position[d.stage], d.deadline_us, d.weight) for d in problem.deadlines]
        self._caps = [(r, x.memory_bytes) for r, x in enumerate(problem.resources) if x.memory_bytes is not None]
        self._budgets = [([self.position[s] for s in b.stages], b.loss_ppm_max) for b in problem.accuracy_budgets]
        self._limits = [(CRITERIA.index(name), limit) for name, limit in problem.limits.items()]
        self._objective = [CRITERIA.index(name) for name in problem.objective]
        self._lists: dict[int, tuple[int, tuple[int, ...]]] = {}
        self.made = 0
        """How many schedules were made."""

    def lanes(self, r: int) -> int:
        """How many lanes of a resource are told apart."""
        return len(self._free[r])

    def mode(self, i: int, modes: Sequence[int]) -> Mode:
        """The mode of stage i."""
        return self.stages[i].modes[modes[i]]

    def schedule(self, choice: Choice) -> Schedule | None:
        """The schedule of a choice; None where a link is missing, or where lists wait for each other."""
        self.made += 1
        order: Sequence[int] = choice.order
        if any(len(after) > 1 for after in choice.lists.values()):
            # Of several gates not all come before each reader anyway.
            waits = [list(inputs) for inputs in self.inputs]
            for (j, target), after in choice.lists.items():
                for i in self.readers[j]:
                    if self.places[i][choice.modes[i]] == target:
                        waits[i] += after
            order = arranged(order, waits)
            if len(order) < len(self.stages):
                return None
        placing = Placing(self, choice)
        return placing.finished() if all(placing.run(i) for i in order) else None

    def value(self, schedule: Schedule, *, held: bool = False) -> None:
        """Find the spans of a schedule whose times are known, and what it costs; with `held` nothing ever sleeps that
        is used later."""
        modes = schedule.choice.modes
        energy = sum(costs[g] for costs, g in zip(self.costs_nj, modes, strict=True))
        uses: list[list[_Use]] = [[] for _ in self.resources]
        for i, g in enumerate(modes):
            r = self.places[i][g]
            uses[r].append(self._use(schedule, r, i, schedule.starts[i], schedule.ends[i], ()))
        for (j, target), send in schedule.sends.items():
            chance = self.likelihood_ppm(send.after) if send.after else self.chances[j]
            energy += share(send.link.sending_nj(self.mode(j, modes).output_bytes), chance)
            radio = self.links[self.places[j][modes[j]], target][1]
            if radio >= 0:
                uses[radio].append(self._use(schedule, radio, j, send.start_us, send.sent_us, send.after))
        schedule.spans = []
        for r in range(len(self.resources)):
            cost, spans = self._spans(r, sorted(uses[r], key=lambda use: (use.start_us, use.end_us)), held)
            energy += cost
            schedule.spans.append(spans)
        ends = schedule.ends
        late = sum(weight * (ends[i] - due) for i, due, weight in self._due if ends[i] > due)
        loss = sum(stage.modes[g].accuracy_loss_ppm for stage, g in zip(self.stages, modes, strict=True))
        schedule.criteria = found = (late, energy, max(ends, default=0), loss)
        over = sum(max(0, found[k] - limit) for k, limit in self._limits) + self._over(modes)
        schedule.value = (over, *(found[k] for k in self._objective))

    def _over(self, modes: Sequence[int]) -> int:
        """By how much caps of memory and accuracy budgets are broken."""
        over = 0
        for r, cap in self._caps:
            held = (
                s.modes[g].memory_bytes for s, g, p in zip(self.stages, modes, self.places, strict=True) if p[g] == r
            )
            over += max(0, sum(held) - cap)
        for stages, most in self._budgets:
            over += max(0, sum(self.mode(i, modes).accuracy_loss_ppm for i in stages) - most)
        return over

    def likelihood_ppm(self, gates: Collection[int]) -> int:
        """How likely one of a list's gates is to open."""
        return min(CERTAIN, sum(self.opens_ppm[gate] for gate in gates))

    def _use(self, schedule: Schedule, r: int, i: int, start: int, end: int, after: tuple[int, ...]) -> _Use:
        """The use of a resource by stage i or by its sending, with the deepest gates that it starts late enough for."""
        latest = start - self.resources[r].wake_latency_us
        gates = 0
        if after:
            if all(schedule.ends[gate] <= latest for gate in after):
                gates = sum(1 << gate for gate in after)
        else:
            for gate in reversed(self.chain[i]):
                if schedule.ends[gate] <= latest:
                    gates = 1 << gate
                    break
        return _Use(start, end, gates)

    def _spans(self, r: int, uses: list[_Use], held: bool) -> tuple[int, list[Awake]]:
        """The cheapest spans that serve these uses, sorted by start, and their cost."""
        resource, horizon = self.resources[r], self.problem.horizon_us
        last = [0]
        """How long the uses before each last."""
        for use in uses:
            last.append(max(last[-1], use.end_us))
        count = len(uses)
        if resource.linger_us is None:
            return resource.awake_mw * horizon, [Awake(0, last[-1], ())]
        releases, wake, linger = self.problem.releases_us, resource.wake_latency_us, resource.linger_us
        awake_mw, linger_mw = resource.awake_mw, resource.lingering_mw
        rest = resource.awake_until_us
        # What is best for the uses before each: cost, and where and with what the last span begins.
        best: list[tuple[int, int, int, Awake | None] | None] = [None] * (count + 1)
        opening = [0] * count
        """The latest release that a span which begins with this use can wake at; -1 where it cannot sleep before."""
        saves = [0] * count
        """What sleeping before this use saves, of what is used before and afterwards in any case."""
        always = all(not use.gates for use in uses)
        for u, use in enumerate(uses):
            k = bisect_right(releases, use.start_us - wake) - 1
            time = releases[k] if k >= 0 else -1
            over = max(rest if resource.awake else 0, last[u] + linger if u else 0)
            opening[u] = time if time >= over and not (held and (u or resource.awake)) else -1
            if opening[u] >= 0 and u:
                tail = linger_mw * max(0, min(last[u] + linger, horizon) - last[u])
                saves[u] = awake_mw * (time - last[u]) - tail - resource.wake_energy_nj
                if always and saves[u] <= 0 and last[u] + linger >= rest:
                    opening[u] = -1
        if resource.awake:
            for e in range(count + 1):
                if e == count or opening[e] >= 0:
                    over = max(last[e] + linger if e else 0, rest)
                    cost = awake_mw * last[e] + linger_mw * max(0, min(over, horizon) - last[e])
                    best[e] = (cost, -1, -1, Awake(0, last[e], ()))
        else:
            best[0] = (0, -1, -1, None)
        for b in range(count):
            before = best[b]
            begins = opening[b]
            if before is None or begins < 0 or begins <= before[2]:
                continue
            until, gates, certain = begins, 0, False
            for e in range(b + 1, count + 1):
                use = uses[e - 1]
                until = max(until, use.end_us)
                gates |= use.gates
                certain |= held or not use.gates
                if e < count and opening[e] < 0:
                    continue
                cost = resource.wake_energy_nj + awake_mw * (until - begins)
                cost += linger_mw * max(0, min(until + linger, horizon) - until)
                chance, after = (CERTAIN, ()) if certain else self.best_list(gates)
                cost = before[0] + share(cost, chance)
                known = best[e]
                if known is None or cost < known[0]:
                    best[e] = (cost, b, begins, Awake(begins, until, after))
                if certain and e < count and saves[e] > 0:
                    break  # Whatever follows, it is better to sleep here.
        found: list[Awake] = []
        at = count
        final = best[count]
        assert final is not None, "one span serves all that starts when the resource is awake"
        while at >= 0:
            step = best[at]
            assert step is not None, "what was reached was reached from somewhere"
            if step[3] is not None:
                found.append(step[3])
            at = step[1]
        return final[0], found[::-1]

    def best_list(self, gates: int) -> tuple[int, tuple[int, ...]]:
        """How likely the best list is that serves what waits for these gates (a bit each), and the list."""
        known = self._lists.get(gates)
        if known is None:
            known = self._lists[gates] = self._best_list([gate for gate in self.opens_ppm if gates >> gate & 1])
        return known

    def _best_list(self, gates: list[int]) -> tuple[int, tuple[int, ...]]:
        """These gates but those behind others, and instead of several one that they are behind, where that is likelier
        to save something."""
        chosen = [gate for gate in gates if self.behind[gate].isdisjoint(gates)]
        for common in sorted(self.opens_ppm, key=lambda g: -len(self.behind[g])):
            served = [gate for gate in chosen if common in self.behind[gate]]
            if len(served) > 1 and sum(self.opens_ppm[gate] for gate in served) > self.opens_ppm[common]:
                chosen = [gate for gate in chosen if gate not in served] + [common]
        after = tuple(chosen)
        chance = self.likelihood_ppm(after)
        return (chance, after) if chance < CERTAIN else (CERTAIN, ())


class Placing:
    """A schedule in the making: each thing that is placed takes the earliest gap."""

    def __init__(self, window: Window, choice: Choice) -> None:
        """Nothing is placed yet."""
        self._window = window
        self._choice = choice
        count = len(window.stages)
        self.schedule = Schedule(choice, [-1] * count, [-1] * count, [-1] * count, {})
        self._here = [window.places[i][g] for i, g in enumerate(choice.modes)]
        self._busy: list[list[list[tuple[int, int]]]] = [[[] for _ in free] for free in window._free]

    def finished(self, *, held: bool = False) -> Schedule:
        """The schedule with its spans and its value (see `Window.value`); everything must have been placed."""
        self._window.value(self.schedule, held=held)
        return self.schedule

    def run(self, i: int, lane: int | None = None) -> bool:
        """Place a stage whose inputs are, and the transfers it needs; behind all on a lane that is given.

        False: a link is missing.
        """
        schedule, window = self.schedule, self._window
        here = self._here[i]
        earliest = window.stages[i].release_us
        for j in window.inputs[i]:
            if self._here[j] == here:
                arrives = schedule.ends[j]
            else:
                if not self.send(j, here):
                    return False
                arrives = schedule.sends[j, here].arrive_us
            earliest = max(earliest, arrives)
        mode = window.mode(i, self._choice.modes)
        earliest = max(earliest, self._awake_us(here, i, ()))
        start, schedule.lanes[i] = self._fit(here, earliest, mode.duration_us, lane)
        schedule.starts[i], schedule.ends[i] = start, start + mode.duration_us
        return True

    def send(self, j: int, target: int, lane: int | None = None) -> bool:
        """Place a transfer, unless it is, of a stage that is placed, as are the gates it waits for. See `run`."""
        schedule, window = self.schedule, self._window
        if (j, target) in schedule.sends:
            return True
        found = window.links.get((self._here[j], target))
        if found is None:
            return False
        link, radio = found
        after = self._list(j, target)
        earliest = schedule.ends[j]
        for gate in after:
            earliest = max(earliest, schedule.ends[gate])
        sending_us = link.sending_us(window.mode(j, self._choice.modes).output_bytes)
        start, number = earliest, -1
        if radio >= 0:
            start, number = self._fit(radio, max(earliest, self._awake_us(radio, j, after)), sending_us, lane)
        sent = start + sending_us
        schedule.sends[j, target] = Sending(start, sent, sent + link.latency_us, number, link, after)
        return True

    def _list(self, j: int, target: int) -> tuple[int, ...]:
        """The gates that a transfer waits for: all readers there are behind one of them."""
        after = self._choice.lists.get((j, target), ())
        if after:
            for i in self._window.readers[j]:
                if self._here[i] == target and self._window.behind[i].isdisjoint(after):
                    return ()
        return after

    def _awake_us(self, r: int, i: int, after: tuple[int, ...]) -> int:
        """When a resource is awake for stage i or for its sending, as far as it can be known and is waited for."""
        window, choice = self._window, self._choice
        wake = window.resources[r].wake_latency_us
        earliest = window._asleep_us[r]
        if choice.holds_back and (k := choice.holds_back.get((i, r))) is not None:
            earliest = max(earliest, window.problem.releases_us[k] + wake)
        if choice.wakes_after:
            ends = self.schedule.ends
            if after:
                if any((r, known) in choice.wakes_after for g in after for known in (g, *window.behind[g])):
                    earliest = max(earliest, *(ends[gate] + wake for gate in after))
            else:
                for gate in window.behind[i]:
                    if (r, gate) in choice.wakes_after:
                        earliest = max(earliest, ends[gate] + wake)
        return earliest

    def _fit(self, r: int, earliest: int, duration: int, lane: int | None) -> tuple[int, int]:
        """The earliest start on a lane of a resource, and the lane; behind all on a lane that is given."""
        free = self._window._free[r]
        busy = self._busy[r]
        if lane is not None:
            queue = busy[lane]
            start = max(earliest, free[lane], queue[-1][1] if queue else 0)
            if duration:
                queue.append((start, start + duration))
            return start, lane
        if duration == 0:
            ready = min(free)
            return max(earliest, ready), free.index(ready)
        best, chosen = -1, 0
        for number, queue in enumerate(busy):
            start = max(earliest, free[number])
            for k in range(max(0, bisect_right(queue, (start, start)) - 1), len(queue)):
                begins, ends = queue[k]
                if start + duration <= begins:
                    break
                if ends > start:
                    start = ends
            if best < 0 or start < best:
                best, chosen = start, number
                if start == earliest:
                    break
            if not queue and not free[number]:
                break  # The other lanes are no better than this empty one.
        insort(busy[chosen], (best, best + duration))
        return best, chosen


def chosen(window: Window, answer: WindowPlacement) -> Choice:
    """What an answer chooses, as far as a `Choice` can say it: its schedule may differ, mostly for the better.

    The answer must be valid for the window's question.
    """
    runs = {run.stage: run for run in answer.stages}
    modes = []
    for stage in window.stages:
        run = runs[stage.name]
        places = [(mode.resource, mode.variant) for mode in stage.modes]
        modes.append(places.index((run.resource, run.variant)))
    by_start = sorted(range(len(modes)), key=lambda i: (runs[window.stages[i].name].start_us, i))
    uses = [(window.number[run.resource], window.position[run.stage], run.start_us) for run in answer.stages]
    lists: dict[Send, tuple[int, ...]] = {}
    for row in answer.transfers:
        j, source, target = window.position[row.stage], window.number[row.source], window.number[row.target]
        if row.after:
            lists[j, target] = tuple(window.position[gate] for gate in row.after)
        radio = window.links[source, target][1]
        if radio >= 0:
            uses.append((radio, j, row.start_us))
    wakes_after: set[tuple[int, int]] = set()
    holds_back: dict[Send, int] = {}
    releases = window.problem.releases_us
    for span in answer.spans:
        r = window.number[span.resource]
        wakes_after.update((r, window.position[gate]) for gate in span.after)
        if span.from_us > 0:
            k = bisect_right(releases, span.from_us) - 1
            for used, i, start_us in uses:
                if used == r and span.from_us <= start_us <= span.until_us:
                    # Of two sendings of a stage over one radio the earlier one counts.
                    holds_back[i, r] = min(k, holds_back.get((i, r), k))
    return Choice(tuple(modes), tuple(arranged(by_start, window.inputs)), lists, frozenset(wakes_after), holds_back)


def placement(
    window: Window, schedule: Schedule, solver: str, bounds: tuple[int, ...], solve_us: int
) -> WindowPlacement:
    """The document of a schedule: `optimal` where its bounds meet its criteria."""
    problem, modes = window.problem, schedule.choice.modes
    names = [stage.name for stage in window.stages]

    def named(gates: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(names[gate] for gate in gates)

    runs = []
    for stage in problem.stages:
        i = window.position[stage.name]
        mode = window.mode(i, modes)
        runs.append(
            StageRun(
                stage=stage.name,
                resource=mode.resource,
                variant=mode.variant,
                lane=schedule.lanes[i],
                start_us=schedule.starts[i],
                end_us=schedule.ends[i],
            )
        )
    transfers = [
        WindowTransfer(
            stage=names[j],
            source=window.mode(j, modes).resource,
            target=window.resources[target].name,
            lane=None if send.lane < 0 else send.lane,
            start_us=send.start_us,
            arrive_us=send.arrive_us,
            after=named(send.after),
        )
        for (j, target), send in schedule.sends.items()
    ]
    spans = [
        Span(resource=resource.name, from_us=span.from_us, until_us=span.until_us, after=named(span.after))
        for resource, spans in zip(window.resources, schedule.spans, strict=True)
        for span in spans
    ]
    criteria = Criteria(**dict(zip(CRITERIA, schedule.criteria, strict=True)))
    reached = tuple(getattr(criteria, name) for name in problem.objective)
    return WindowPlacement(
        format="leo-placement/2",
        problem=problem.name,
        solver=solver,
        status="optimal" if bounds == reached else "feasible",
        criteria=criteria,
        bounds=bounds,
        stages=tuple(runs),
        transfers=tuple(transfers),
        spans=tuple(spans),
        solve_us=solve_us,
    )


def arranged(order: Sequence[int], waits: Sequence[Collection[int]]) -> list[int]:
    """The numbers in this order, as far as each comes after all that it waits for; without those that wait in a circle.

    `waits` holds for each number, from 0, the numbers that it waits for.
    """
    rank = {i: k for k, i in enumerate(order)}
    left = [len(set(before)) for before in waits]
    followers: list[list[int]] = [[] for _ in waits]
    for i, before in enumerate(waits):
        for j in set(before):
            followers[j].append(i)
    free = [rank[i] for i, count in enumerate(left) if count == 0]
    heapify(free)
    found: list[int] = []
    while free:
        i = order[heappop(free)]
        found.append(i)
        for j in followers[i]:
            left[j] -= 1
            if left[j] == 0:
                heappush(free, rank[j])
    return found


def _inputs_first(problem: WindowProblem) -> list[WindowStage]:
    """The stages in the problem's order, as far as inputs come first."""
    position = {stage.name: i for i, stage in enumerate(problem.stages)}
    waits = [[position[name] for name in stage.inputs] for stage in problem.stages]
    return [problem.stages[i] for i in arranged(range(len(waits)), waits)]
