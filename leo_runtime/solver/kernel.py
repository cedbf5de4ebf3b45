"""The search kernel: what the root proves, bounds and prices, on top of schedules and local search.

One source, compiled where there is a C compiler (types in `kernel.pxd`), else interpreted (see `schedule.py`).
"""

from collections.abc import Sequence

try:
    import cython
except ImportError:
    from leo_runtime.solver import uncompiled as cython

from leo_runtime.solver.local_search import LocalSearch
from leo_runtime.solver.schedule import Ints

if not cython.compiled:
    from leo_runtime.solver.local_search import SAMPLES
    from leo_runtime.solver.schedule import FAR

COMPILED: bool = cython.compiled

SCALE = 64
"""Prices count energy in 1/64 nJ."""
ROWS = 24
"""How many rows may have a price, besides those of resources that are awake."""
CUTS = 6
"""How often rows are made for what the prices so far leave broken."""
STEPS = 30
"""How many subgradient steps raise the prices each time."""
ROOM = 1 << 20
"""A row's numbers are scaled down to this."""
DUES = 9
"""Of how many deadlines every order is looked at."""
SWEEPS = 4
"""How often what sendings cost is shared out anew between the stages that send and those that read."""
ABSENT = 4 * FAR
"""What it costs a stage to be where it has no mode: more than being anywhere else, with all that it was charged for."""
LONGEST = 1 << 38
"""The longest subgradient step: several of them, times a row's numbers, are to fit into 64 bits."""


def block_size(data: Sequence[int]) -> int:
    """How many integers the kernel needs room for, to hold a problem's `data` and to work."""
    n, resources, modes, _, lanes = data[:5]
    pairs = n * resources
    return (
        len(data)
        + 28 * (n + pairs)
        + (ROWS + resources) * (modes + 5)
        + 2 * modes * resources
        + resources * (resources + 1) * n
        + 2 * resources * data[3]
        + 32 * (n + modes)
        + 20 * (resources + lanes)
        + data[3]
        + 5 * data[5]
        + (2 << min(data[5], DUES))
        + 2 * SAMPLES
    )


class Kernel(LocalSearch):
    """A problem and the working space to search it. Not for two threads at once."""

    def __init__(self, data: Sequence[int], block: Ints) -> None:
        """Hold the problem of `data` in `block`: zeros, `block_size` of them, 64-bit ones where this is compiled."""
        self._hold(data, block)
        self._carve_changes()
        self._carve_bounds()
        assert self.at <= len(block)

    def _carve_bounds(self) -> None:
        n, r, g = self.n, self.r, self.g
        activities = n + n * r
        self.alive = self._take(g)
        self.count = self._take(n)
        self.stage_of = self._take(g)
        self.trail = self._take(g)
        self.cap = self._take(4)
        self.bound = self._take(4)
        self.node_bound = self._take(4)
        self.early = self._take(g)
        self.latest = self._take(g)
        self.floor = self._take(n)
        self.ceiling = self._take(n)
        self.soonest = self._take(n)
        self.only = self._take(n)
        self.reach = self._take(n * r)
        self.last_start = self._take(n * r)
        self.surely = self._take(n * r)
        self.work_from = self._take(activities)
        self.work_to = self._take(activities)
        self.work_us = self._take(activities)
        self.work_of = self._take(activities)
        self.work_sorted = self._take(activities)
        self.done = self._take(activities)
        self.cost = self._take(g)
        self.penalty = self._take(g)
        self.least_priced = self._take(n)
        self.least_share = self._take(n * r * r)
        self.there = self._take(n * r)
        self.sent_by = self._take(self.input_first[n] * r)
        self.read_by = self._take(self.input_first[n] * r)
        self.sure_list = self._take(n * r)
        self.awake_price = self._take(r)
        self.row_take = self._take((ROWS + r) * g)
        self.row_room = self._take(ROWS + r)
        self.row_price = self._take(ROWS + r)
        self.row_best = self._take(ROWS + r)
        self.row_over = self._take(ROWS + r)
        self.row_awake = self._take(ROWS + r)
        self.pick = self._take(n)
        self.parent = self._take(n)
        self.path_end = self._take(n)
        self.price_top = (1 << 35) // (n + 1)
        self.late_from = self._take(self.deadlines)
        self.least_late = self._take(1 << min(self.deadlines, DUES))
        self.met_last = self._take(1 << min(self.deadlines, DUES))
        self.sure = 0
        self.target = 0

    # The root: what can be said before anything is decided. `cap` holds what each criterion may be at most; for the
    # criterion at hand that is one less than the best answer. A mode is alive that no cap has ruled out.

    def root(self, turns: int = 0) -> int:
        """Bound the criteria in order, given the answer kept, if any; with `turns` 1, look for a less late one as well.

        Returns 2 if that proves the answer the best, or that there is none (see `found`), else 1; `bounds` holds them.
        """
        with cython.nogil:
            return self._root(turns)

    def rivals(self) -> list[int]:
        """The resources which alone might do better than the answer kept, as far as their roots can tell.

        That is asked once more after simple schedules on a resource. None any more where the search was halted.
        """
        found = [k for k in self.processors if self.halted[0] == 0 and self._rivals(k)]
        self.confined = -1
        return found

    @property
    def bounds(self) -> list[int]:
        """A proved lower bound for each criterion of the objective, given the ones before it at their value."""
        return [self.bound[k] for k in range(self.criteria)]

    def _begin(self) -> None:
        """Set caps and domains as they are at the root."""
        self._reset_domains()
        for c in range(4):
            self.cap[c] = self.limit[c] if self.limit[c] >= 0 else FAR
        self._units()

    def _rivals(self, k: int) -> int:
        """Whether resource k may win, also after simple schedules on it (see `_may_win`)."""
        if self._may_win(k) == 0:
            return 0
        self._try_alone(k)
        return self._may_win(k)

    def _may_win(self, k: int) -> int:
        """Whether the root leaves open that everything on resource k alone is better than the answer kept."""
        self.confined = k
        return 1 if self._root(0) == 1 else 0

    def _root(self, turns: int) -> int:
        self._begin()
        for k in range(self.criteria):
            self.bound[k] = 0
        for k in range(self.criteria):
            c = self.objective[k]
            self.target = c
            if self._may_be_less(k, turns):
                if self.has_best:
                    self.cap[c] = self.best_result[c]
                    self._bound_from(k + 1)
                return 1
            if self.has_best == 0:
                return 2
            self.cap[c] = self.best_result[c]
        return 2

    def _may_be_less(self, k: int, turns: int) -> int:
        """Whether the root leaves open that criterion k of the objective is less, those before it at their caps.

        A low cap on a time rules out most. So the first cap tried is the root's bound; where nothing is within it, the
        bound rises and the next cap lies further up, the last one just below the best answer.
        """
        c = self.target
        top = self.cap[c]
        if self.has_best:
            top = min(top, self.best_result[c] - 1)
        if self._within(k, top, 1 + turns) == 0:
            return 0
        if self.has_best and self.best_result[c] <= top:
            # An answer was found on the way.
            top = self.best_result[c] - 1
            if self.bound[k] > top:
                return 0
        if c == 1 or c == 3:
            return 1
        share = 16
        guess = self.bound[k]
        while self._within(k, guess, 0) == 0:
            if guess == top:
                return 0
            guess = top
            if self.has_best:
                guess = self.bound[k] + (top - self.bound[k]) // share
            share = max(share // 2, 1)
        return 1

    def _within(self, k: int, cap: int, turns: int) -> int:
        """Whether the root leaves open that criterion k is at most `cap`; its bound rises accordingly.

        With `turns` 1 the order of deadlines is looked at, with 2 an answer is made from it.
        """
        c = self.target
        mark = self.trail_size
        self.cap[c] = cap
        self._clear_prices()
        possible = self._propagate()
        if possible and turns and c == 0:
            # It is of what the cap leaves alive: where it is more, nothing is within the cap.
            late = self._in_turn()
            self.bound[k] = max(self.bound[k], min(late, cap + 1))
            possible = 1 if late <= cap else 0
            if turns == 2 and possible and late > 0:
                self._take_turns()
        if possible:
            possible = self._price_alive()
        self.bound[k] = max(self.bound[k], min(self.node_bound[c], cap + 1) if possible else cap + 1)
        if self.has_best:
            self.bound[k] = min(self.bound[k], self.best_result[c])
        self._undo(mark)
        return possible

    def _price_alive(self) -> int:
        """Set prices, and what follows from them; once more if that rules something out. 0: there is no answer."""
        for _ in range(2):
            self._set_prices()
            before = self.trail_size
            # Without rows nothing has changed since domains and times were bounded last.
            if self.rows > 0 and self._propagate() == 0:
                return 0
            if self.cap[1] < FAR:
                now = self.trail_size
                if self._share_sendings() == 0 or (self.trail_size != now and self._propagate() == 0):
                    return 0
            if self.trail_size == before:
                return 1
        return 1

    def _price_root(self) -> int:
        """Domains, times and prices at the root, for the caps as they are. 0: there is no answer within them."""
        self._reset_domains()
        self._clear_prices()
        return 1 if self._propagate() and self._price_alive() else 0

    def _bound_from(self, m: int) -> None:
        """What the root proves of criterion m of the objective and each after it, given the best answer's values."""
        self._reset_domains()
        for k in range(m, self.criteria):
            self.bound[k] = self._root_bound(self.objective[k])
        for k in range(m, self.criteria):
            c = self.objective[k]
            self.cap[c] = self.limit[c] if self.limit[c] >= 0 else FAR

    def _root_bound(self, c: int) -> int:
        self.cap[c] = self.best_result[c]
        self._clear_prices()
        mark = self.trail_size
        value = self.best_result[c]
        if self._propagate():
            if c == 1:
                self._share_sendings()
            least = self.node_bound[c]
            if c == 0:
                least = max(least, self._in_turn())
            value = min(least, value)
        self._undo(mark)
        return value

    def _reset_domains(self) -> None:
        self.trail_size = 0
        for i in range(self.n):
            self.count[i] = self.mode_first[i + 1] - self.mode_first[i]
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                self.alive[g] = 1
                self.stage_of[g] = i
                if self.confined >= 0 and self.resource[g] != self.confined:
                    self.alive[g] = 0
                    self.count[i] -= 1

    def _kill(self, g: int) -> None:
        self.alive[g] = 0
        self.count[self.stage_of[g]] -= 1
        self.trail[self.trail_size] = g
        self.trail_size += 1

    def _undo(self, mark: int) -> None:
        while self.trail_size > mark:
            self.trail_size -= 1
            g = self.trail[self.trail_size]
            self.alive[g] = 1
            self.count[self.stage_of[g]] += 1

    def _propagate(self) -> int:
        """Kill modes that no answer within the caps can use, and bound every criterion. 0: there is no such answer."""
        for i in range(self.n):
            self.floor[i] = 0
            self.ceiling[i] = FAR
        while True:
            before = self.trail_size
            self.tightened = 0
            if self._forward() == 0 or self._backward() == 0:
                return 0
            if self.trail_size != before:
                continue
            if self._sums() == 0 or self._spend() == 0 or self._loads() == 0:
                return 0
            if self.trail_size == before and self.tightened == 0:
                return 1

    def _forward(self) -> int:
        """Earliest ends, over what is still alive, with every lane free; bounds tardiness and makespan."""
        r = self.r
        tardiness = 0
        makespan = 0
        for i in range(self.n):
            soonest = FAR
            for t in range(r):
                self.reach[i * r + t] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g] == 0:
                    continue
                t = self.resource[g]
                start = max(max(self.release[i], self.floor[i]), self.opening[t])
                for p in range(self.input_first[i], self.input_first[i + 1]):
                    start = max(start, self.reach[self.inputs[p] * r + t])
                if start >= FAR:
                    self._kill(g)
                    continue
                end = start + self.duration[g]
                self.early[g] = end
                soonest = min(soonest, end)
                for target in range(r):
                    arrive = end
                    if target != t:
                        took = self.send_us[g * r + target]
                        if took < 0:
                            continue
                        link = 6 * (t * r + target)
                        on = self.links[link + 5]
                        if on >= 0:
                            arrive = max(arrive, self.opening[on])
                        if arrive >= FAR:
                            continue
                        arrive += took + self.links[link + 1]
                    if arrive < self.reach[i * r + target]:
                        self.reach[i * r + target] = arrive
            if self.count[i] == 0:
                return 0
            self.soonest[i] = soonest
            makespan = max(makespan, soonest)
        for d in range(self.deadlines):
            self.late_from[d] = max(self.soonest[self.due_stage[d]] - self.due[d], 0)
            tardiness += self.weight[d] * self.late_from[d]
        self.node_bound[0] = tardiness
        self.node_bound[2] = makespan
        return 1 if tardiness <= self.cap[0] and makespan <= self.cap[2] else 0

    def _in_turn(self) -> int:
        """The least tardiness of the first `DUES` deadlines if the work for them that only one resource can do is done
        there in turn; of the resource for which that is most.

        Held and Karp's recurrence (1962) over sets of deadlines met: whatever the order in which the work for each is
        completed, the last of a set is not before the lanes can have done all that the set needs.
        """
        n = self.n
        dues = min(self.deadlines, DUES)
        for i in range(n):
            self.work_of[i] = 0
        for d in range(dues):
            self.work_of[self.due_stage[d]] |= 1 << d
        for i in range(n - 1, -1, -1):
            for p in range(self.input_first[i], self.input_first[i + 1]):
                self.work_of[self.inputs[p]] |= self.work_of[i]
        most = 0
        self.busiest = -1
        for k in range(self.r):
            late = self._in_turn_on(k, dues)
            if late > most:
                most = late
                self.busiest = k
        return most

    def _take_turns(self) -> None:
        """Schedule everything in the order in which the busiest resource is least late, and keep it if it is good.

        Each stage comes with the first deadline that needs it, in its shortest mode there or wherever it ends first.
        """
        dues = min(self.deadlines, DUES)
        k = self.busiest
        self._in_turn_on(k, dues)
        for i in range(self.n):
            self.done[i] = dues
        met = (1 << dues) - 1
        for turn in range(dues - 1, -1, -1):
            d = self.met_last[met]
            met ^= 1 << d
            for i in range(self.n):
                if self.work_of[i] >> d & 1:
                    self.done[i] = turn
        at = 0
        for turn in range(dues + 1):
            for i in range(self.n):
                if self.done[i] == turn:
                    self.made[at] = i
                    at += 1
        for i in range(self.n):
            self.mode[i] = -1
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g] and self.resource[g] == k and self.duration[g] == self.work_us[i]:
                    self.mode[i] = g
                    break
        self._schedule()
        self._keep()

    def _in_turn_on(self, k: int, dues: int) -> int:
        lanes = self.lane_first[k + 1] - self.lane_first[k]
        if lanes == 0:
            return 0
        begin = FAR
        needing = 0
        for i in range(self.n):
            took = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g]:
                    if self.resource[g] != k:
                        took = 0
                        break
                    took = min(took, self.duration[g])
                    begin = min(begin, self.early[g] - self.duration[g])
            self.work_us[i] = took
            if took > 0:
                needing |= self.work_of[i]
        if needing == 0:
            return 0
        self.least_late[0] = 0
        for met in range(1, 1 << dues):
            work = 0
            for i in range(self.n):
                if self.work_of[i] & met:
                    work += self.work_us[i]
            end = begin + (work + lanes - 1) // lanes if work > 0 else 0
            least = FAR
            for d in range(dues):
                if met >> d & 1:
                    late = self.soonest[self.due_stage[d]] - self.due[d]
                    if needing >> d & 1:
                        late = max(late, end - self.due[d])
                    late = self.least_late[met ^ (1 << d)] + self.weight[d] * max(late, 0)
                    if late < least:
                        least = late
                        self.met_last[met] = d
            self.least_late[met] = least
        return self.least_late[(1 << dues) - 1]

    def _backward(self) -> int:
        """Latest ends within the caps, given the earliest ends; kills modes that cannot end in time."""
        r = self.r
        slack = self.cap[0] - self.node_bound[0]
        for i in range(self.n):
            self.limit_end[i] = min(self.cap[2], self.ceiling[i])
        if slack < FAR // 2:
            for d in range(self.deadlines):
                i = self.due_stage[d]
                late = self.late_from[d] + slack // self.weight[d]
                self.limit_end[i] = min(self.limit_end[i], self.due[d] + late)
        for i in range(self.n - 1, -1, -1):
            for t in range(r):
                self.last_start[i * r + t] = -1
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g] == 0:
                    continue
                t = self.resource[g]
                latest = self.limit_end[i]
                for c in range(self.reader_first[i], self.reader_first[i + 1]):
                    reader = self.readers[c]
                    best = -1
                    for target in range(r):
                        by = self.last_start[reader * r + target]
                        if by > best:
                            if target != t:
                                took = self.send_us[g * r + target]
                                if took < 0:
                                    continue
                                by -= took + self.links[6 * (t * r + target) + 1]
                            best = max(best, by)
                    latest = min(latest, best)
                if self.early[g] > latest:
                    self._kill(g)
                    continue
                self.latest[g] = latest
                self.last_start[i * r + t] = max(self.last_start[i * r + t], latest - self.duration[g])
            if self.count[i] == 0:
                return 0
        return 1

    def _sums(self) -> int:
        """Memory caps, accuracy budgets and the loss in sum, each from the least that every stage adds."""
        for k in range(self.r):
            if self.memory_cap[k] >= 0:
                held = 0
                for i in range(self.n):
                    self.least[i] = FAR
                    for g in range(self.mode_first[i], self.mode_first[i + 1]):
                        if self.alive[g]:
                            here = self.memory[g] if self.resource[g] == k else 0
                            self.least[i] = min(self.least[i], here)
                    if self.count[i] == 0:
                        return 0
                    held += self.least[i]
                if held > self.memory_cap[k]:
                    return 0
                spare = self.memory_cap[k] - held
                for i in range(self.n):
                    for g in range(self.mode_first[i], self.mode_first[i + 1]):
                        if self.alive[g] and self.resource[g] == k and self.memory[g] - self.least[i] > spare:
                            self._kill(g)
        lost = 0
        for i in range(self.n):
            self.least[i] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g]:
                    self.least[i] = min(self.least[i], self.loss[g])
            if self.count[i] == 0:
                return 0
            lost += self.least[i]
        self.node_bound[3] = lost
        if lost > self.cap[3]:
            return 0
        if self.cap[3] < FAR:
            spare = self.cap[3] - lost
            for i in range(self.n):
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self.alive[g] and self.loss[g] - self.least[i] > spare:
                        self._kill(g)
        for b in range(self.budgets):
            spare = self.budget_max[b]
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                spare -= self.least[self.budget_stage[m]]
            if spare < 0:
                return 0
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                i = self.budget_stage[m]
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self.alive[g] and self.loss[g] - self.least[i] > spare:
                        self._kill(g)
        return 1

    def _decided(self, i: int) -> int:
        """The one mode left of stage i, or -1."""
        if self.count[i] != 1:
            return -1
        g = self.mode_first[i]
        while self.alive[g] == 0:
            g += 1
        return g

    def _spend(self) -> int:
        """Bound the energy: cheapest modes, the transfers and wake-ups that are certain, and staying awake for them.

        Twice: by the energies themselves, and with what each mode takes of what is scarce charged at the prices of
        the rows (see `_set_prices`). Either bound kills the modes that would exceed the cap.
        """
        n, r = self.n, self.r
        for k in range(r):
            self.last[k] = -1
        self._unsure()
        energy = 0
        priced = 0
        for i in range(n):
            g = self._decided(i)
            self.only[i] = g
            if g < 0:
                continue
            t = self.resource[g]
            self.cost[g] = self.energy[g]
            energy += self.energy[g]
            priced += self.penalty[g]
            self.last[t] = max(self.last[t], self.early[g])
            for p in range(self.input_first[i], self.input_first[i + 1]):
                h = self.only[self.inputs[p]]
                if h >= 0 and self.resource[h] != t:
                    x = self.inputs[p] * r + t
                    if self.surely[x] == 0:
                        self.surely[x] = 1
                        self.sure_list[self.sure] = x
                        self.sure += 1
                        energy += self.send_nj[h * r + t]
                        on = self.links[6 * (self.resource[h] * r + t) + 5]
                        if on >= 0:
                            sent = max(self.early[h], self.opening[on]) + self.send_us[h * r + t]
                            self.last[on] = max(self.last[on], sent)
        if self.cap[1] >= FAR and self.target != 1:
            # Nobody asks what it costs.
            return 1
        priced += energy * SCALE
        for i in range(n):
            if self.only[i] >= 0:
                continue
            low = FAR
            low_priced = FAR
            k = -2
            soonest = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g] == 0:
                    continue
                cost = self.energy[g] + self._sending(i, g)
                self.cost[g] = cost
                low = min(low, cost)
                low_priced = min(low_priced, cost * SCALE + self.penalty[g])
                k = self.resource[g] if k == -2 or k == self.resource[g] else -1
                soonest = min(soonest, self.early[g])
            if low == FAR:
                return 0
            if k >= 0:
                self.last[k] = max(self.last[k], soonest)
            self.least[i] = low
            self.least_priced[i] = low_priced
            energy += low
            priced += low_priced
        self.price_rest = -priced
        priced -= self.row_credit
        for k in range(r):
            if self.awake_mw[k] > 0 and self.last[k] >= 0:
                size = 0
                for i in range(n):
                    g = self.only[i]
                    if g >= 0 and self.resource[g] == k:
                        self.work_from[size] = self.early[g] - self.duration[g]
                        self.work_us[size] = self.duration[g]
                        size += 1
                self.last[k] = max(self.last[k], self._work_end(k, size))
            if self.last[k] >= 0:
                wake = self.asleep[k] * self.wake_nj[k]
                energy += self.awake_mw[k] * self.last[k] + wake
                lanes = self.lane_first[k + 1] - self.lane_first[k]
                priced += (self.awake_mw[k] * self.last[k] + wake) * SCALE
                priced -= self.awake_price[k] * lanes * (self.last[k] - self.opening[k])
        self.price_rest += priced
        bound = max(energy, (priced + SCALE - 1) // SCALE if priced > 0 else 0)
        self.node_bound[1] = bound
        if bound > self.cap[1]:
            return 0
        if self.cap[1] >= FAR:
            return 1
        spare = self.cap[1] - energy
        spare_priced = self.cap[1] * SCALE - priced
        for i in range(n):
            fixed = self.only[i]
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g]:
                    k = self.resource[g]
                    more = 0
                    more_priced = 0
                    if fixed < 0:
                        more = self.cost[g] - self.least[i]
                        more_priced = self.cost[g] * SCALE + self.penalty[g] - self.least_priced[i]
                    if self.last[k] < 0:
                        awake = self.awake_mw[k] * self.early[g] + self.asleep[k] * self.wake_nj[k]
                        lanes = self.lane_first[k + 1] - self.lane_first[k]
                        more += awake
                        more_priced += awake * SCALE
                        more_priced -= self.awake_price[k] * lanes * (self.early[g] - self.opening[k])
                    elif self.early[g] > self.last[k]:
                        longer = self.early[g] - self.last[k]
                        lanes = self.lane_first[k + 1] - self.lane_first[k]
                        more += self.awake_mw[k] * longer
                        more_priced += (self.awake_mw[k] * SCALE - self.awake_price[k] * lanes) * longer
                    if more > spare or more_priced > spare_priced:
                        self._kill(g)
            if self.count[i] == 0:
                return 0
        return 1

    def _unsure(self) -> None:
        for m in range(self.sure):
            self.surely[self.sure_list[m]] = 0
        self.sure = 0

    def _sending(self, i: int, g: int) -> int:
        """The least that mode g of the undecided stage i adds in transfers from and to stages that are decided."""
        r = self.r
        t = self.resource[g]
        cost = 0
        for p in range(self.input_first[i], self.input_first[i + 1]):
            producer = self.inputs[p]
            h = self.only[producer]
            if h >= 0 and self.resource[h] != t and self.surely[producer * r + t] == 0:
                # Sent once however many read it: each possible reader bears its share.
                cost += self.send_nj[h * r + t] // (self.reader_first[producer + 1] - self.reader_first[producer])
        seen = -1
        for c in range(self.reader_first[i], self.reader_first[i + 1]):
            h = self.only[self.readers[c]]
            if h >= 0:
                target = self.resource[h]
                if target != t and target != seen:
                    repeated = 0
                    for e in range(self.reader_first[i], c):
                        other = self.only[self.readers[e]]
                        if other >= 0 and self.resource[other] == target:
                            repeated = 1
                    if repeated == 0:
                        cost += self.send_nj[g * r + target]
                    seen = target
        return cost

    # Prices. The least energy of stages that share scarce lanes, time on a path, memory or a budget is bounded by
    # Lagrangian relaxation: a row says that what the chosen modes take of something adds up to at most so much, and
    # a price (at least 0) on it charges every mode for what it takes. For any prices
    #     sum over stages of the least (energy + charges)  -  sum over rows of price * room
    # is at most the energy of every placement within the caps (Geoffrion, 1974). Rows are made where the cheapest
    # modes at the prices so far ask for too much; prices are raised by subgradient steps (Polyak, 1969).

    def _set_prices(self) -> None:
        """Make rows for what is alive, and price them."""
        self._clear_prices()
        self.price_base = self.node_bound[1] * SCALE
        if self.cap[1] >= FAR:
            return
        for i in range(self.n):
            low = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g]:
                    low = min(low, self.cost[g])
            self.price_base -= low * SCALE
        for k in range(self.r):
            lanes = self.lane_first[k + 1] - self.lane_first[k]
            if self.awake_mw[k] > 0 and lanes > 0:
                # Staying awake lasts at least as long as the lanes need for the work, so work is charged for it.
                row = self._new_row(k)
                self.row_price[row] = 0
        best = -FAR
        for cut in range(CUTS):
            added = self._cut()
            if cut > 0 and added == 0:
                break
            for step in range(STEPS):
                value = self._relaxed(self.row_price)
                if value > best:
                    best = value
                    for row in range(self.rows):
                        self.row_best[row] = self.row_price[row]
                if self._raise_prices(value, STEPS - step) == 0:
                    break
            for row in range(self.rows):
                self.row_price[row] = self.row_best[row]
        self._relaxed(self.row_best)
        self.row_credit = 0
        for row in range(self.rows):
            if self.row_awake[row] >= 0:
                self.awake_price[self.row_awake[row]] = self.row_best[row]
            else:
                self.row_credit += self.row_best[row] * self.row_room[row]

    def _clear_prices(self) -> None:
        self.rows = 0
        self.row_credit = 0
        for g in range(self.g):
            self.penalty[g] = 0
        for k in range(self.r):
            self.awake_price[k] = 0

    def _new_row(self, awake: int) -> int:
        row = self.rows
        self.rows += 1
        self.row_awake[row] = awake
        self.row_price[row] = 0
        self.row_best[row] = 0
        for g in range(self.g):
            self.row_take[row * self.g + g] = self.duration[g] if awake >= 0 and self.resource[g] == awake else 0
        return row

    def _relaxed(self, prices: Ints) -> int:
        """The bound at these prices, less what does not depend on them; sets `penalty`, `pick` and `row_over`."""
        n = self.n
        value = 0
        for g in range(self.g):
            if self.alive[g]:
                charge = 0
                for row in range(self.rows):
                    if prices[row]:
                        charge += prices[row] * self.row_take[row * self.g + g]
                self.penalty[g] = charge
        for row in range(self.rows):
            room = self.row_room[row]
            k = self.row_awake[row]
            if k >= 0:
                lanes = self.lane_first[k + 1] - self.lane_first[k]
                room = lanes * (self.last[k] - self.opening[k]) if self.last[k] >= 0 else 0
            value -= prices[row] * room
            self.row_over[row] = -room
        for i in range(n):
            low = FAR
            best = -1
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g] and self.cost[g] * SCALE + self.penalty[g] < low:
                    low = self.cost[g] * SCALE + self.penalty[g]
                    best = g
            self.pick[i] = best
            value += low
            for row in range(self.rows):
                self.row_over[row] += self.row_take[row * self.g + best]
        return value

    def _raise_prices(self, value: int, left: int) -> int:
        """One subgradient step, as long as its place in the series (`left` to go) allows. 0: nothing to change."""
        norm = 0
        for row in range(self.rows):
            over = self.row_over[row]
            if over < 0 and self.row_price[row] == 0:
                over = 0
            over = min(max(over, -ROOM), ROOM)
            self.row_over[row] = over
            norm += over * over
        if norm == 0:
            return 0
        gap = min(max(self.cap[1] * SCALE - value - self.price_base, SCALE), FAR)
        length = min(gap // max(norm // 1024, 1), LONGEST) * left // STEPS
        for row in range(self.rows):
            price = self.row_price[row]
            if self.row_over[row] > 0:
                price += length * self.row_over[row] // 1024
            else:
                price -= length * -self.row_over[row] // 1024
            top = self.price_top
            k = self.row_awake[row]
            if k >= 0:
                top = self.awake_mw[k] * SCALE // (self.lane_first[k + 1] - self.lane_first[k])
            self.row_price[row] = min(max(price, 0), top)
        return 1

    # A sending costs energy because of what two stages chose. For any x of where a stage is and y of where its reader
    # is, whose sum is at most the reader's share of what that sending costs (0 on one resource), charging the one x and
    # the other y leaves a lower bound. They are found by going over the pairs, each time letting one stage have all
    # that the other can spare (as tree-reweighted message passing does, Kolmogorov, 2006). Then what one place costs
    # that stage more than another is known with its neighbours' costs, and the bound does not fall.

    def _share_sendings(self) -> int:
        """Bound the energy of modes and sendings together, and kill the modes that would exceed the cap. 0: all do."""
        n, r = self.n, self.r
        total = self.price_rest
        self._least_shares()
        for p in range(self.input_first[n] * r):
            self.sent_by[p] = 0
            self.read_by[p] = 0
        for i in range(n):
            self._charge_places(i)
            total += self._least_place(i)
        bound = total
        for sweep in range(SWEEPS):
            for k in range(n):
                i = k if sweep % 2 else n - 1 - k
                for p in range(self.input_first[i], self.input_first[i + 1]):
                    total += self._pull(p, self.inputs[p], i, 0)
                for c in range(self.reader_first[i], self.reader_first[i + 1]):
                    j = self.readers[c]
                    for p in range(self.input_first[j], self.input_first[j + 1]):
                        if self.inputs[p] == i:
                            total += self._pull(p, i, j, 1)
                if total > self.cap[1] * SCALE:
                    self.node_bound[1] = self.cap[1] + 1
                    return 0
                spare = self.cap[1] * SCALE - total + self._least_place(i)
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self.alive[g] and self.there[i * r + self.resource[g]] > spare:
                        self._kill(g)
        if total > bound:
            self.node_bound[1] = max(self.node_bound[1], (total + SCALE - 1) // SCALE if total > 0 else 0)
        return 1

    def _least_shares(self) -> None:
        """What sending costs each reader at least, from resource to resource, into `least_share`."""
        r = self.r
        for x in range(self.n * r * r):
            self.least_share[x] = FAR
        for g in range(self.g):
            i = self.stage_of[g]
            readers = self.reader_first[i + 1] - self.reader_first[i]
            if self.alive[g] == 0 or readers == 0:
                continue
            for t in range(r):
                x = (i * r + self.resource[g]) * r + t
                share = 0
                if t != self.resource[g] and self.send_us[g * r + t] >= 0:
                    share = SCALE * self.send_nj[g * r + t] // readers
                self.least_share[x] = min(self.least_share[x], share)

    def _charge_places(self, i: int) -> None:
        """The least that stage i costs on each resource at the prices, into `there`; `ABSENT` where it cannot be."""
        for t in range(self.r):
            self.there[i * self.r + t] = ABSENT
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.alive[g]:
                x = i * self.r + self.resource[g]
                self.there[x] = min(self.there[x], SCALE * self.energy[g] + self.penalty[g])

    def _least_place(self, i: int) -> int:
        low = ABSENT
        for t in range(self.r):
            low = min(low, self.there[i * self.r + t])
        return low

    def _pull(self, p: int, i: int, j: int, first: int) -> int:
        """Let stage i (`first` 1) or its reader j have all that the other can spare; by how much the bound rises."""
        r = self.r
        risen = -self._least_place(i) - self._least_place(j)
        for t in range(r):
            if self.there[i * r + t] < ABSENT:
                self.there[i * r + t] -= self.sent_by[p * r + t]
            if self.there[j * r + t] < ABSENT:
                self.there[j * r + t] -= self.read_by[p * r + t]
        for side in range(2):
            for s in range(r):
                low = ABSENT
                if side != first:
                    if self.there[i * r + s] == ABSENT:
                        continue
                    for t in range(r):
                        if self.there[j * r + t] < ABSENT:
                            cost = self.there[j * r + t] if side == 0 else -self.read_by[p * r + t]
                            low = min(low, self.least_share[(i * r + s) * r + t] + cost)
                    self.sent_by[p * r + s] = low
                else:
                    if self.there[j * r + s] == ABSENT:
                        continue
                    for t in range(r):
                        if self.there[i * r + t] < ABSENT:
                            cost = self.there[i * r + t] if side == 0 else -self.sent_by[p * r + t]
                            low = min(low, self.least_share[(i * r + t) * r + s] + cost)
                    self.read_by[p * r + s] = low
        for t in range(r):
            if self.there[i * r + t] < ABSENT:
                self.there[i * r + t] += self.sent_by[p * r + t]
            if self.there[j * r + t] < ABSENT:
                self.there[j * r + t] += self.read_by[p * r + t]
        return risen + self._least_place(i) + self._least_place(j)

    def _cut(self) -> int:
        """Make rows that the modes picked last break: full lanes, long paths, memory, budgets. Says how many."""
        added = 0
        if self.rows == 0:
            self._relaxed(self.row_price)
        for k in range(self.r):
            if self.rows < ROWS:
                added += self._cut_lanes(k)
            if self.rows < ROWS and self.memory_cap[k] >= 0:
                added += self._cut_memory(k)
        if self.rows < ROWS:
            added += self._cut_path()
        for b in range(self.budgets + 1):
            if self.rows < ROWS:
                added += self._cut_loss(b)
        return added

    def _fit_row(self, row: int, room: int) -> None:
        """Scale a row down so that its numbers are at most `ROOM`; rounding down keeps it true."""
        shift = 0
        while room >> shift > ROOM:
            shift += 1
        self.row_room[row] = room >> shift
        for g in range(self.g):
            x = row * self.g + g
            # What takes more than there is cannot be chosen anyway.
            self.row_take[x] = min(self.row_take[x], room + 1) >> shift

    def _cut_lanes(self, k: int) -> int:
        """The window in which the picked modes overload the lanes of resource k most, as a row."""
        size = 0
        for i in range(self.n):
            g = self.pick[i]
            if self.resource[g] == k and self.latest[g] < FAR // 2:
                self.work_from[size] = self.early[g] - self.duration[g]
                self.work_to[size] = self.latest[g]
                self.work_us[size] = self.duration[g]
                size += 1
        self._sort_work(size)
        most = 0
        start = 0
        stop = 0
        for e in range(size):
            need = 0
            for b in range(size):
                a = self.work_sorted[b]
                if self.work_to[a] <= self.work_to[e]:
                    need += self.work_us[a]
                    over = need - self._room(k, self.work_from[a], self.work_to[e])
                    if over > most:
                        most = over
                        start = self.work_from[a]
                        stop = self.work_to[e]
        if most == 0:
            return 0
        row = self._new_row(-1)
        for g in range(self.g):
            if self.alive[g] and self.resource[g] == k:
                # What lies in the window wherever within its own times the mode runs.
                least = min(self.early[g] - start, stop - self.latest[g] + self.duration[g])
                self.row_take[row * self.g + g] = max(min(least, min(self.duration[g], stop - start)), 0)
        self._fit_row(row, self._room(k, start, stop))
        return 1

    def _room(self, k: int, start: int, stop: int) -> int:
        """What the lanes of resource k offer between two times."""
        room = 0
        for lane in range(self.lane_first[k], self.lane_first[k + 1]):
            room += max(stop - max(start, self.open[lane]), 0)
        return room

    def _cut_memory(self, k: int) -> int:
        held = 0
        for i in range(self.n):
            if self.resource[self.pick[i]] == k:
                held += self.memory[self.pick[i]]
        if held <= self.memory_cap[k]:
            return 0
        row = self._new_row(-1)
        for g in range(self.g):
            if self.resource[g] == k:
                self.row_take[row * self.g + g] = self.memory[g]
        self._fit_row(row, self.memory_cap[k])
        return 1

    def _cut_loss(self, b: int) -> int:
        """Accuracy budget b, or the cap on all loss, as a row if it is broken."""
        room = self.cap[3]
        if b < self.budgets:
            room = self.budget_max[b]
        lost = 0
        if b < self.budgets:
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                lost += self.loss[self.pick[self.budget_stage[m]]]
        else:
            for i in range(self.n):
                lost += self.loss[self.pick[i]]
        if lost <= room:
            return 0
        row = self._new_row(-1)
        if b < self.budgets:
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                i = self.budget_stage[m]
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    self.row_take[row * self.g + g] = self.loss[g]
        else:
            for g in range(self.g):
                self.row_take[row * self.g + g] = self.loss[g]
        self._fit_row(row, room)
        return 1

    def _cut_path(self) -> int:
        """The path on which the picked modes end too late by most, as a row."""
        most = 0
        last = -1
        for i in range(self.n):
            g = self.pick[i]
            t = self.resource[g]
            start = max(self.release[i], self.opening[t])
            self.parent[i] = -1
            for p in range(self.input_first[i], self.input_first[i + 1]):
                producer = self.inputs[p]
                ready = self.path_end[producer] + self._delay(self.pick[producer], t)
                if ready > start:
                    start = ready
                    self.parent[i] = producer
            self.path_end[i] = min(start + self.duration[g], FAR)
            if self.limit_end[i] < FAR // 2 and self.path_end[i] - self.limit_end[i] > most:
                most = self.path_end[i] - self.limit_end[i]
                last = i
        if last < 0:
            return 0
        row = self._new_row(-1)
        i = last
        while i >= 0:
            producer = self.parent[i]
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.alive[g]:
                    takes = self.early[g]
                    if producer >= 0:
                        soonest = FAR
                        for h in range(self.mode_first[producer], self.mode_first[producer + 1]):
                            if self.alive[h]:
                                soonest = min(soonest, self._delay(h, self.resource[g]))
                        takes = min(soonest, self.limit_end[last]) + self.duration[g]
                    self.row_take[row * self.g + g] = takes
            i = producer
        self._fit_row(row, self.limit_end[last])
        return 1

    def _delay(self, g: int, target: int) -> int:
        """The least time from the end of mode g to its output's arrival at a resource; `FAR` without a link."""
        t = self.resource[g]
        if t == target:
            return 0
        took = self.send_us[g * self.r + target]
        return FAR if took < 0 else took + self.links[6 * (t * self.r + target) + 1]

    def _loads(self) -> int:
        """Refuse what has to be on a resource but does not fit into its lanes between earliest start and latest end."""
        n, r = self.n, self.r
        for k in range(r):
            size = 0
            for i in range(n):
                self.work_from[size] = FAR
                self.work_to[size] = 0
                self.work_us[size] = FAR
                self.work_of[size] = i
                elsewhere = 0
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self.alive[g]:
                        if self.resource[g] != k:
                            elsewhere = 1
                            break
                        self.work_from[size] = min(self.work_from[size], self.early[g] - self.duration[g])
                        self.work_to[size] = max(self.work_to[size], self.latest[g])
                        self.work_us[size] = min(self.work_us[size], self.duration[g])
                if elsewhere == 0:
                    size += 1
            fixed = size
            for m in range(self.sure):
                x = self.sure_list[m]
                if self.surely[x]:
                    i = x // r
                    h = self.only[i]
                    target = x % r
                    link = 6 * (self.resource[h] * r + target)
                    took = self.send_us[h * r + target]
                    if self.links[link + 5] == k and took > 0:
                        by = FAR
                        for c in range(self.reader_first[i], self.reader_first[i + 1]):
                            g = self.only[self.readers[c]]
                            if g >= 0 and self.resource[g] == target:
                                by = min(by, self.latest[g] - self.duration[g])
                        self.work_from[size] = max(self.early[h], self.opening[k])
                        self.work_to[size] = by - self.links[link + 1]
                        self.work_us[size] = took
                        self.work_of[size] = -1
                        size += 1
            if self._overloaded(k, size):
                return 0
            if self.lane_first[k + 1] - self.lane_first[k] == 1:
                self._order_pairs(fixed)
        return 1

    def _order_pairs(self, size: int) -> None:
        """On a single lane: where one of two stages cannot go first, the other does."""
        for a in range(size):
            for b in range(size):
                if a == b or self.work_from[a] + self.work_us[a] + self.work_us[b] <= self.work_to[b]:
                    continue
                # a before b would end b too late, so b goes first.
                i = self.work_of[a]
                j = self.work_of[b]
                after = self.work_from[b] + self.work_us[b]
                if after > self.work_from[a]:
                    self.floor[i] = max(self.floor[i], after)
                    self.work_from[a] = after
                    self.tightened = 1
                before = self.work_to[a] - self.work_us[a]
                if before < self.work_to[b]:
                    self.ceiling[j] = min(self.ceiling[j], before)
                    self.work_to[b] = before
                    self.tightened = 1

    def _overloaded(self, k: int, size: int) -> int:
        """1 if, of `size` pieces of work on resource k, those of some window need more than its lanes have there.

        The pieces are in `work_from`, `work_to`, `work_us`; `open` says when each lane is free at the earliest.
        """
        self._sort_work(size)
        for e in range(size):
            to = self.work_to[e]
            if to >= FAR // 2:
                # Whenever; and the lanes together would have more room than fits into 64 bits.
                continue
            need = 0
            for b in range(size):
                a = self.work_sorted[b]
                if self.work_to[a] > to:
                    continue
                need += self.work_us[a]
                room = self._room(k, self.work_from[a], to)
                if need > room:
                    return 1
        return 0

    def _work_end(self, k: int, size: int) -> int:
        """When resource k can be done with `size` pieces of work at the earliest (`work_from`, `work_us`)."""
        self._sort_work(size)
        lanes = self.lane_first[k + 1] - self.lane_first[k]
        end = 0
        total = 0
        for b in range(size):
            # From the last start back: all that starts no earlier than this one, and what lanes need for it.
            a = self.work_sorted[b]
            total += self.work_us[a]
            end = max(end, self.work_from[a] + (total + lanes - 1) // lanes)
        return end

    def _sort_work(self, size: int) -> None:
        """Order the pieces of work by falling earliest start, into `work_sorted`."""
        for a in range(size):
            b = a
            while b > 0 and self.work_from[self.work_sorted[b - 1]] < self.work_from[a]:
                self.work_sorted[b] = self.work_sorted[b - 1]
                b -= 1
            self.work_sorted[b] = a
