"""Bounds on the energy of stages that share what is scarce, by Lagrangian relaxation.

Stages share lanes, time on a path, memory and budgets: a row says that what the chosen modes take of something adds up
to at most so much, and a price (at least 0) on it charges every mode for what it takes. For any prices

    sum over stages of the least (energy + charges)  -  sum over rows of price * room

is at most the energy of every placement within the caps (Geoffrion, 1974). Rows are made where the cheapest modes at
the prices so far ask for too much; prices are raised by subgradient steps (Polyak, 1969).

A sending costs energy because of what two stages chose. For any x of where a stage is and y of where its reader is,
whose sum is at most the reader's share of what that sending costs (0 on one resource), charging the one x and the other
y leaves a lower bound. They are found by going over the pairs, each time letting one stage have all that the other can
spare (as tree-reweighted message passing does, Kolmogorov, 2006). Then what one place costs that stage more than
another is known with its neighbours' costs, and the bound does not fall.

One source, compiled (types in `prices.pxd`) or interpreted, as `schedule.py` is; methods are `final` as in
`propagation.py`.
"""

from typing import TYPE_CHECKING

from leo_runtime.solver.search.arrays import Ints
from leo_runtime.solver.search.bounds import Bounds

if TYPE_CHECKING:
    # Without types, `final` would take those of the methods away.
    from leo_runtime.solver.search import uncompiled as cython
else:
    try:
        import cython
    except ImportError:
        from leo_runtime.solver.search import uncompiled as cython

if not cython.compiled:
    from leo_runtime.solver.search.bounds import SCALE
    from leo_runtime.solver.search.schedule import FAR

ROWS = 24
"""How many rows may have a price, besides those of resources that are awake."""
CUTS = 6
"""How often rows are made for what the prices so far leave broken."""
STEPS = 30
"""How many subgradient steps raise the prices each time."""
ROOM = 1 << 20
"""A row's numbers are scaled down to this."""
LONGEST = 1 << 38
"""The longest subgradient step: several of them, times a row's numbers, are to fit into 64 bits."""
SWEEPS = 4
"""How often what sendings cost is shared out anew between the stages that send and those that read."""
ABSENT = 4 * FAR
"""What it costs a stage to be where it has no mode: more than being anywhere else, with all that it was charged for."""


class Prices(Bounds):
    """What is scarce, at a price; and what sendings cost, shared out among those who may cause them."""

    def _carve_prices(self) -> None:
        n, r, g = self.n, self.r, self.g
        self.least_share = self._take(n * r * r)
        self.there = self._take(n * r)
        self.sent_by = self._take(self.input_first[n] * r)
        self.read_by = self._take(self.input_first[n] * r)
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

    @cython.final
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

    @cython.final
    def _clear_prices(self) -> None:
        self.rows = 0
        self.row_credit = 0
        for g in range(self.g):
            self.penalty[g] = 0
        for k in range(self.r):
            self.awake_price[k] = 0

    @cython.final
    def _new_row(self, awake: int) -> int:
        row = self.rows
        self.rows += 1
        self.row_awake[row] = awake
        self.row_price[row] = 0
        self.row_best[row] = 0
        for g in range(self.g):
            self.row_take[row * self.g + g] = self.duration[g] if awake >= 0 and self.resource[g] == awake else 0
        return row

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _charge_places(self, i: int) -> None:
        """The least that stage i costs on each resource at the prices, into `there`; `ABSENT` where it cannot be."""
        for t in range(self.r):
            self.there[i * self.r + t] = ABSENT
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.alive[g]:
                x = i * self.r + self.resource[g]
                self.there[x] = min(self.there[x], SCALE * self.energy[g] + self.penalty[g])

    @cython.final
    def _least_place(self, i: int) -> int:
        low = ABSENT
        for t in range(self.r):
            low = min(low, self.there[i * self.r + t])
        return low

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _delay(self, g: int, target: int) -> int:
        """The least time from the end of mode g to its output's arrival at a resource; `FAR` without a link."""
        t = self.resource[g]
        if t == target:
            return 0
        took = self.send_us[g * self.r + target]
        return FAR if took < 0 else took + self.links[6 * (t * self.r + target) + 1]
