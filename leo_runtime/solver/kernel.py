"""The search kernel: one source, compiled where there is a C compiler (types in `kernel.pxd`), else interpreted.

Everything is an integer in a flat array. Compiled, the arrays are 64-bit (`array("q")`); interpreted, they are lists of
Python's integers, which have no limit. Both give the same answers, byte for byte. `compiled.py` builds the arrays.

Numbering: stage i in topological order; mode g, those of stage i from `mode_first[i]` to `mode_first[i + 1]`; resource
r; lane l, those of r from `lane_first[r]`; activity i = stage i,
activity n + i * R + t = the sending of i's output to t.
"""

from collections.abc import MutableSequence

try:
    import cython
except ImportError:
    from leo_runtime.solver import uncompiled as cython

COMPILED: bool = cython.compiled

Ints = MutableSequence[int]

FAR = 1 << 61
"""Later, dearer and larger than anything of a problem; two of them still add up in 64 bits."""


def scratch_size(data: Ints) -> int:
    """How many integers of working space the kernel needs for a problem's `data`."""
    n, resources, modes, _, lanes = data[:5]
    pairs = n * resources
    return 8 * (n + pairs) + 4 * modes * resources + 8 * (n + resources + modes + lanes) + 64


class Kernel:
    """A problem and the working space to search it. Not for two threads at once."""

    def __init__(self, data: Ints, scratch: Ints) -> None:
        self.source = data
        self.at = 0
        self._carve()
        self.source = scratch
        self.at = 0
        self._carve_scratch()
        self._expand()

    def _take(self, count: int) -> Ints:
        self.at += count
        return self.source[self.at - count : self.at]

    def _carve(self) -> None:
        head = self._take(8)
        n = self.n = head[0]
        r = self.r = head[1]
        g = self.g = head[2]
        self.deadlines = head[5]
        self.budgets = head[6]
        self.lane_first = self._take(r + 1)
        self.asleep = self._take(r)
        self.wake_us = self._take(r)
        self.wake_nj = self._take(r)
        self.awake_mw = self._take(r)
        self.memory_cap = self._take(r)
        self.ready = self._take(head[4])
        self.links = self._take(6 * r * r)
        self.release = self._take(n)
        self.input_first = self._take(n + 1)
        self.inputs = self._take(head[3])
        self.mode_first = self._take(n + 1)
        self.resource = self._take(g)
        self.duration = self._take(g)
        self.energy = self._take(g)
        self.output = self._take(g)
        self.memory = self._take(g)
        self.loss = self._take(g)
        self.due_stage = self._take(head[5])
        self.due = self._take(head[5])
        self.weight = self._take(head[5])
        self.budget_first = self._take(head[6] + 1)
        self.budget_stage = self._take(head[7])
        self.budget_max = self._take(head[6])
        self.limit = self._take(4)
        self.criteria = self._take(1)[0]
        self.objective = self._take(4)

    def _carve_scratch(self) -> None:
        n, r, g = self.n, self.r, self.g
        activities = n + n * r
        self.open = self._take(self.lane_first[r])
        self.send_us = self._take(g * r)
        self.send_nj = self._take(g * r)
        self.mode = self._take(n)
        self.start = self._take(activities)
        self.end = self._take(activities)
        self.lane = self._take(activities)
        self.after = self._take(activities)
        self.arrive = self._take(n * r)
        self.head = self._take(self.lane_first[r])
        self.sent = self._take(n * r)
        self.made = self._take(n * r)
        self.rank = self._take(n)
        self.last = self._take(r)
        self.result = self._take(5)

    def _expand(self) -> None:
        """What follows from the data alone: when lanes open, what each sending takes (-1: there is no link)."""
        r = self.r
        for k in range(r):
            wake = self.wake_us[k] if self.asleep[k] else 0
            for lane in range(self.lane_first[k], self.lane_first[k + 1]):
                self.open[lane] = max(self.ready[lane], wake)
        for g in range(self.g):
            source = self.resource[g]
            size = self.output[g]
            for target in range(r):
                link = 6 * (source * r + target)
                x = g * r + target
                if source == target or self.links[link] == 0:
                    self.send_us[x] = 0 if source == target else -1
                    continue
                rate = self.links[link + 2]
                self.send_us[x] = 0 if rate == 0 else (size * 1000000 + rate - 1) // rate
                self.send_nj[x] = self.links[link + 3] + (size * self.links[link + 4] + 999) // 1000

    # List scheduling: stages in a given order, each and its transfers as early as a gap on a lane allows.

    def evaluate(self, modes: list[int], order: list[int]) -> tuple[int, int, int, int, int]:
        """Schedule the stages in `order` (inputs first), each in its mode of `modes` (a number within the stage).

        Where a stage's mode is -1 the one that ends first is taken (HEFT's rule; ties: the first mode). Returns the
        four criteria and how far rules 4 (missing links), 5 and 7 are broken in sum (0: a valid placement), which
        `answer` then gives in full.
        """
        for i in range(self.n):
            self.mode[i] = -1 if modes[i] < 0 else self.mode_first[i] + modes[i]
        for i in range(self.n):
            self.made[i] = order[i]
        self._schedule()
        out = self.result
        return out[0], out[1], out[2], out[3], out[4]

    def rank_order(self) -> list[int]:
        """The stages by falling upward rank, an order in which inputs come first (ties: topological position).

        After Topcuoglu, Hariri and Wu (2002): a stage's mean duration over its modes, plus the most that any reader's
        rank and the mean time to reach it add up to. That mean is over the unordered pairs of resources on which the
        two may run, a resource with itself included; forbidden pairs of modes are left out. Counted in 1/64 us.
        """
        self._rank()
        return [self.made[i] for i in range(self.n)]

    def _rank(self) -> None:
        n, r = self.n, self.r
        for i in range(n):
            self.rank[i] = 0
        for k in range(n):
            i = n - 1 - k
            modes = self.mode_first[i + 1] - self.mode_first[i]
            total = 0
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                total += self.duration[g]
            self.rank[i] += 64 * (total // modes) + 64 * (total % modes) // modes
            for p in range(self.input_first[i], self.input_first[i + 1]):
                producer = self.inputs[p]
                pairs = 0
                total = 0
                for g in range(self.mode_first[producer], self.mode_first[producer + 1]):
                    for h in range(self.mode_first[i], self.mode_first[i + 1]):
                        source = self.resource[g]
                        target = self.resource[h]
                        took = self.send_us[g * r + target]
                        if source == target:
                            pairs += 2
                        elif took >= 0:
                            pairs += 1
                            total += took + self.links[6 * (source * r + target) + 1]
                mean = 0 if pairs == 0 else 64 * (total // pairs) + 64 * (total % pairs) // pairs
                # The rank of a producer is complete when its own turn comes: its readers come later in the order.
                self.rank[producer] = max(self.rank[producer], self.rank[i] + mean)
        for k in range(n):
            here = k
            while here > 0 and self.rank[self.made[here - 1]] < self.rank[k]:
                self.made[here] = self.made[here - 1]
                here -= 1
            self.made[here] = k

    def answer(self) -> list[int]:
        """The last schedule: criteria; mode, lane, start a stage; stage, target, lane, start, arrival a transfer."""
        r = self.r
        out = [self.result[k] for k in range(4)]
        for i in range(self.n):
            out += [self.mode[i], self.lane[i], self.start[i]]
        for i in range(self.n):
            for target in range(r):
                x = i * r + target
                if self.sent[x]:
                    out += [i, target, self.lane[self.n + x], self.start[self.n + x], self.arrive[x]]
        return out

    def _schedule(self) -> None:
        n = self.n
        for lane in range(self.lane_first[self.r]):
            self.head[lane] = -1
        for x in range(n * self.r):
            self.sent[x] = 0
        self.result[4] = 0
        for k in range(n):
            i = self.made[k]
            if self.mode[i] < 0:
                self.mode[i] = self._earliest_mode(i)
            g = self.mode[i]
            self._place(i, self.resource[g], self._inputs_at(i, self.resource[g], 0), self.duration[g])
        self._measure()

    def _earliest_mode(self, i: int) -> int:
        best = self.mode_first[i]
        best_end = FAR
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            target = self.resource[g]
            if self.lane_first[target] == self.lane_first[target + 1]:
                continue
            broken = self.result[4]
            ready = self._inputs_at(i, target, 1)
            end = ready + self.duration[g]
            if self.result[4] == broken:
                end = self._place(i, target, ready, self.duration[g])
                self._remove(i)
            else:
                end = end + FAR // 2
            self.result[4] = broken
            for p in range(self.input_first[i], self.input_first[i + 1]):
                x = self.inputs[p] * self.r + target
                if self.sent[x] == 2:
                    self._remove(self.n + x)
                    self.sent[x] = 0
            if end < best_end:
                best_end = end
                best = g
        return best

    def _inputs_at(self, i: int, target: int, trial: int) -> int:
        """When stage i may start at `target`; sends what was not sent yet (marked in a trial)."""
        latest = self.release[i]
        for p in range(self.input_first[i], self.input_first[i + 1]):
            producer = self.inputs[p]
            g = self.mode[producer]
            source = self.resource[g]
            if source == target:
                latest = max(latest, self.end[producer])
                continue
            x = producer * self.r + target
            if self.sent[x] == 0:
                took = self.send_us[g * self.r + target]
                if took < 0:
                    self.result[4] += FAR // (4 * (self.n + 1) * (self.n + 1))
                    latest = max(latest, self.end[producer])
                    continue
                self.sent[x] = 1 + trial
                link = 6 * (source * self.r + target)
                on = self.links[link + 5]
                a = self.n + x
                if on < 0:
                    self.start[a] = self.end[producer]
                    self.end[a] = self.start[a] + took
                    self.lane[a] = -1
                else:
                    self._place(a, on, self.end[producer], took)
                self.arrive[x] = self.end[a] + self.links[link + 1]
            latest = max(latest, self.arrive[x])
        return latest

    def _place(self, a: int, r: int, ready: int, took: int) -> int:
        """Put activity a into the earliest gap of r's lanes (ties: the first lane). Returns when it ends."""
        best = FAR
        best_lane = -1
        best_before = -1
        for lane in range(self.lane_first[r], self.lane_first[r + 1]):
            start = max(ready, self.open[lane])
            before = -1
            if took > 0:
                here = self.head[lane]
                while here >= 0 and start + took > self.start[here]:
                    start = max(start, self.end[here])
                    before = here
                    here = self.after[here]
            if start < best:
                best = start
                best_lane = lane
                best_before = before
                if start == ready:
                    break
        if best_lane < 0:
            best = ready
            self.result[4] += FAR // (4 * (self.n + 1) * (self.n + 1))
        self.start[a] = best
        self.end[a] = best + took
        self.lane[a] = best_lane
        if took > 0 and best_lane >= 0:
            if best_before < 0:
                self.after[a] = self.head[best_lane]
                self.head[best_lane] = a
            else:
                self.after[a] = self.after[best_before]
                self.after[best_before] = a
        return best + took

    def _remove(self, a: int) -> None:
        lane = self.lane[a]
        if lane < 0 or self.start[a] == self.end[a]:
            return
        here = self.head[lane]
        if here == a:
            self.head[lane] = self.after[a]
            return
        while self.after[here] != a:
            here = self.after[here]
        self.after[here] = self.after[a]

    def _measure(self) -> None:
        """The criteria of the schedule made last, and by how much it breaks caps and limits, into `result`."""
        n, r = self.n, self.r
        for k in range(r):
            self.last[k] = -1
        energy = 0
        loss = 0
        makespan = 0
        broken = self.result[4]
        for i in range(n):
            g = self.mode[i]
            energy += self.energy[g]
            loss += self.loss[g]
            makespan = max(makespan, self.end[i])
            k = self.resource[g]
            self.last[k] = max(self.last[k], self.end[i])
            for target in range(r):
                if self.sent[i * r + target]:
                    energy += self.send_nj[g * r + target]
                    on = self.links[6 * (k * r + target) + 5]
                    if on >= 0:
                        self.last[on] = max(self.last[on], self.end[n + i * r + target])
        for k in range(r):
            if self.last[k] >= 0:
                energy += self.awake_mw[k] * self.last[k]
                if self.asleep[k]:
                    energy += self.wake_nj[k]
            if self.memory_cap[k] >= 0:
                held = 0
                for i in range(n):
                    if self.resource[self.mode[i]] == k:
                        held += self.memory[self.mode[i]]
                broken += max(held - self.memory_cap[k], 0)
        for b in range(self.budgets):
            lost = 0
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                lost += self.loss[self.mode[self.budget_stage[m]]]
            broken += max(lost - self.budget_max[b], 0)
        tardiness = 0
        for d in range(self.deadlines):
            tardiness += self.weight[d] * max(self.end[self.due_stage[d]] - self.due[d], 0)
        out = self.result
        out[0] = tardiness
        out[1] = energy
        out[2] = makespan
        out[3] = loss
        for c in range(4):
            if self.limit[c] >= 0:
                broken += max(out[c] - self.limit[c], 0)
        out[4] = broken
