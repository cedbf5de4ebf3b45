"""What follows from the caps while nothing is decided: which modes are left, from when to when, and at what cost.

A mode is alive that no cap has ruled out. One source, compiled (types in `bounds.pxd`) or interpreted, as `schedule.py`
is; methods are `final` as in `propagation.py`.
"""

from typing import TYPE_CHECKING

from leo_runtime.solver.search.local_search import LocalSearch

if TYPE_CHECKING:
    # Without types, `final` would take those of the methods away.
    from leo_runtime.solver.search import uncompiled as cython
else:
    try:
        import cython
    except ImportError:
        from leo_runtime.solver.search import uncompiled as cython

if not cython.compiled:
    from leo_runtime.solver.search.schedule import FAR

SCALE = 64
"""Prices count energy in 1/64 nJ."""
DUES = 9
"""Of how many deadlines every order is looked at."""


class Bounds(LocalSearch):
    """Domains of modes and times, and lower bounds on the criteria from them; in `cap` what each may be at most."""

    def _carve_domains(self) -> None:
        n, r, g = self.n, self.r, self.g
        activities = n + n * r
        self.alive = self._take(g)
        self.count = self._take(n)
        self.stage_of = self._take(g)
        self.trail = self._take(g)
        self.cap = self._take(4)
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
        self.sure_list = self._take(n * r)
        self.awake_price = self._take(r)
        self.late_from = self._take(self.deadlines)
        self.least_late = self._take(1 << min(self.deadlines, DUES))
        self.met_last = self._take(1 << min(self.deadlines, DUES))
        self.sure = 0
        self.target = 0
        self.row_credit = 0

    @cython.final
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

    @cython.final
    def _kill(self, g: int) -> None:
        self.alive[g] = 0
        self.count[self.stage_of[g]] -= 1
        self.trail[self.trail_size] = g
        self.trail_size += 1

    @cython.final
    def _undo(self, mark: int) -> None:
        while self.trail_size > mark:
            self.trail_size -= 1
            g = self.trail[self.trail_size]
            self.alive[g] = 1
            self.count[self.stage_of[g]] += 1

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _decided(self, i: int) -> int:
        """The one mode left of stage i, or -1."""
        if self.count[i] != 1:
            return -1
        g = self.mode_first[i]
        while self.alive[g] == 0:
            g += 1
        return g

    @cython.final
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

    @cython.final
    def _unsure(self) -> None:
        for m in range(self.sure):
            self.surely[self.sure_list[m]] = 0
        self.sure = 0

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _sort_work(self, size: int) -> None:
        """Order the pieces of work by falling earliest start, into `work_sorted`."""
        for a in range(size):
            b = a
            while b > 0 and self.work_from[self.work_sorted[b - 1]] < self.work_from[a]:
                self.work_sorted[b] = self.work_sorted[b - 1]
                b -= 1
            self.work_sorted[b] = a

    @cython.final
    def _room(self, k: int, start: int, stop: int) -> int:
        """What the lanes of resource k offer between two times."""
        room = 0
        for lane in range(self.lane_first[k], self.lane_first[k + 1]):
            room += max(stop - max(start, self.open[lane]), 0)
        return room
