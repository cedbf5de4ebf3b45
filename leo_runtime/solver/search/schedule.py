"""A frame's problem in integers, and list scheduling: one source, compiled (types in `schedule.pxd`) or interpreted.

Everything is an integer in a flat array (`arrays.py`). Compiled and interpreted give the same answers, byte for byte.
`compiled.py` builds the data; `local_search.py`, `bounds.py`, `prices.py` and `kernel.py` each add to what is here.

Numbering: stage i in topological order; mode g, those of stage i from `mode_first[i]` to `mode_first[i + 1]`; resource
r; lane l, those of r from `lane_first[r]`; activity i = stage i, activity n + i * R + t = the sending of i's output to
t.
"""

from collections.abc import Sequence

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.arrays import Arrays, Ints

COMPILED: bool = cython.compiled

FAR = int("1" + "0" * (18 if COMPILED else 60))
"""Later, dearer and larger than anything of a problem; where numbers are 64-bit, several of them still add up."""
BROKEN = 1 << 40
"""What one missing link or lane adds to how far a schedule breaks the rules."""


class Schedule(Arrays):
    """A problem, the schedule made last, and the best one so far."""

    def _read(self, data: Sequence[int]) -> None:
        """Find the arrays of a problem in `data`, which nothing writes to."""
        self.data = data
        self.given = 0
        head = self._given(8)
        n = self.n = head[0]
        r = self.r = head[1]
        g = self.g = head[2]
        self.deadlines = head[5]
        self.budgets = head[6]
        self.lane_first = self._given(r + 1)
        self.asleep = self._given(r)
        self.wake_us = self._given(r)
        self.wake_nj = self._given(r)
        self.awake_mw = self._given(r)
        self.memory_cap = self._given(r)
        self.ready = self._given(head[4])
        self.links = self._given(6 * r * r)
        self.release = self._given(n)
        self.input_first = self._given(n + 1)
        self.inputs = self._given(head[3])
        self.mode_first = self._given(n + 1)
        self.resource = self._given(g)
        self.duration = self._given(g)
        self.energy = self._given(g)
        self.output = self._given(g)
        self.memory = self._given(g)
        self.loss = self._given(g)
        self.due_stage = self._given(head[5])
        self.due = self._given(head[5])
        self.weight = self._given(head[5])
        self.budget_first = self._given(head[6] + 1)
        self.budget_stage = self._given(head[7])
        self.budget_max = self._given(head[6])
        self.limit = self._given(4)
        self.criteria = self._given(1)[0]
        self.objective = self._given(4)

    def _given(self, count: int) -> Ints:
        """The next array of the problem's."""
        self.given += count
        if cython.compiled:
            array: Ints = cython.address(self.data[self.given - count])
            return array
        return list(self.data[self.given - count : self.given])

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
        self.before = self._take(activities)
        self.arrive = self._take(n * r)
        self.head = self._take(self.lane_first[r])
        self.tail = self._take(self.lane_first[r])
        self.sent = self._take(n * r)
        self.made = self._take(n * r)
        self.rank = self._take(n)
        self.send_list = self._take(n * r)
        self.held = self._take(r)
        self.last = self._take(r)
        self.result = self._take(5)
        self.best_mode = self._take(n)
        self.best_start = self._take(activities)
        self.best_lane = self._take(activities)
        self.best_sent = self._take(n * r)
        self.best_arrive = self._take(n * r)
        self.best_result = self._take(5)
        self.halted = self._take(1)
        self.least = self._take(n)
        self.opening = self._take(r)
        self.reader_first = self._take(n + 1)
        self.readers = self._take(self.input_first[n])
        self.by = self._take(activities)
        self.acts = self._take(activities)
        self.confined = -1
        self.renewing = 0
        self.has_best = 0
        self.ties = 0
        self.sends = 0

    def _expand(self) -> None:
        """What follows from the data alone: when lanes open, what each sending takes (-1: there is no link)."""
        n, r = self.n, self.r
        for k in range(r):
            wake = self.wake_us[k] if self.asleep[k] else 0
            self.opening[k] = FAR
            for lane in range(self.lane_first[k], self.lane_first[k + 1]):
                self.open[lane] = max(self.ready[lane], wake)
                if self.open[lane] < self.opening[k]:
                    self.opening[k] = self.open[lane]
        for p in range(self.input_first[n]):
            self.reader_first[self.inputs[p] + 1] += 1
        for i in range(n):
            self.reader_first[i + 1] += self.reader_first[i]
            self.least[i] = self.reader_first[i]
        for i in range(n):
            for p in range(self.input_first[i], self.input_first[i + 1]):
                producer = self.inputs[p]
                self.readers[self.least[producer]] = i
                self.least[producer] += 1
        for g in range(self.g):
            source = self.resource[g]
            size = self.output[g]
            for target in range(r):
                link = 6 * (source * r + target)
                x = g * r + target
                over = self.links[link + 5]
                sends = 1 if self.links[link] else 0
                if over >= 0 and self.lane_first[over + 1] == self.lane_first[over]:
                    sends = 0
                if source == target or sends == 0:
                    self.send_us[x] = 0 if source == target else -1
                    continue
                rate = self.links[link + 2]
                self.send_us[x] = 0 if rate == 0 else (size * 1000000 + rate - 1) // rate
                self.send_nj[x] = self.links[link + 3] + (size * self.links[link + 4] + 999) // 1000

    # List scheduling: stages in a given order, each and its transfers as early as a gap on a lane allows.

    def evaluate(self, modes: Sequence[int], order: Sequence[int]) -> tuple[int, int, int, int, int]:
        """Schedule the stages in `order` (inputs first), each in its mode of `modes` (a number within the stage).

        Where a stage's mode is negative the one that ends first is taken (HEFT's rule; of equal ends the first mode,
        or the last where it is -2). Returns the four criteria and how far rules 4 (missing links), 5 and 7 are
        broken in sum (0: a valid placement), which `answer` then gives in full.
        """
        for i in range(self.n):
            self.mode[i] = modes[i] if modes[i] < 0 else self.mode_first[i] + modes[i]
        for i in range(self.n):
            self.made[i] = order[i]
        self._schedule()
        out = self.result
        return out[0], out[1], out[2], out[3], out[4]

    def rank_order(self, backward: bool = False) -> list[int]:
        """The stages by falling upward rank, an order in which inputs come first (ties: topological position).

        With `backward` ties are broken the other way: never between a stage and its input, whose rank is larger.

        After Topcuoglu, Hariri and Wu (2002): a stage's mean duration over its modes, plus the most that any reader's
        rank and the mean time to reach it add up to. That mean is over the unordered pairs of resources on which the
        two may run, a resource with itself included; forbidden pairs of modes are left out. Counted in 1/64 us.
        """
        self._rank(1 if backward else 0)
        return [self.made[i] for i in range(self.n)]

    def _rank(self, backward: int) -> None:
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
            while here > 0 and self.rank[self.made[here - 1]] < self.rank[k] + backward:
                self.made[here] = self.made[here - 1]
                here -= 1
            self.made[here] = k

    def follow(self, modes: Sequence[int], by: Sequence[int]) -> None:
        """Schedule in these modes, everything in the order in which it started elsewhere; keep that if it is better.

        `by` has a time for each stage, then one for each stage's sending to each resource: later than that of the stage
        whose output is sent, and sooner than that of any stage that waits for it.
        """
        for i in range(self.n):
            self.mode[i] = self.mode_first[i] + modes[i]
        for a in range(self.n + self.n * self.r):
            self.by[a] = by[a]
        self._adopt()

    def course(self) -> tuple[list[int], list[int]]:
        """The best answer as `follow` takes it."""
        self._restore()
        n = self.n
        modes = [self.mode[i] - self.mode_first[i] for i in range(n)]
        starts = [self.start[i] for i in range(n)]
        return modes, starts + [self.start[n + x] if self.sent[x] else 0 for x in range(n * self.r)]

    def answer(self) -> list[int]:
        """The last schedule: criteria; mode, lane, start a stage; stage, target, lane, start, arrival a transfer."""
        r = self.r
        out = [self.result[k] for k in range(4)]
        for i in range(self.n):
            out.append(self.mode[i])
            out.append(self.lane[i])
            out.append(self.start[i])
        for i in range(self.n):
            for target in range(r):
                x = i * r + target
                if self.sent[x]:
                    out += [i, target, self.lane[self.n + x], self.start[self.n + x], self.arrive[x]]
        return out

    def _schedule(self) -> None:
        self._clear()
        self.ties = 0
        for k in range(self.n):
            i = self.made[k]
            if self.mode[i] < 0:
                self.mode[i] = self._earliest_mode(i, 0 if self.mode[i] == -1 else 1)
            g = self.mode[i]
            self._place(i, self.resource[g], self._inputs_at(i, self.resource[g], 0), self.duration[g])
        self._measure()

    def _unsend(self) -> None:
        for x in range(self.sends):
            self.sent[self.send_list[x]] = 0
        self.sends = 0

    def _earliest_mode(self, i: int, last: int) -> int:
        best = self.mode_first[i]
        best_end = FAR
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            target = self.resource[g]
            if self.lane_first[target] == self.lane_first[target + 1]:
                continue
            if self.renewing and self._overlooked(i, g):
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
            if end == best_end:
                self.ties = 1
            if end < best_end + last:
                best_end = end
                best = g
        return best

    # What overrides it asks about the stage and the mode.
    def _overlooked(self, i: int, g: int) -> int:  # noqa: ARG002
        """Whether mode g is left out where stage i gets a mode anew: never, but local search does at times."""
        return 0

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
                    self.result[4] += BROKEN
                    latest = max(latest, self.end[producer])
                    continue
                self.sent[x] = 1 + trial
                if trial == 0:
                    self.send_list[self.sends] = x
                    self.sends += 1
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
                # What ends before it could start is in nobody's way, and that is most of what the lane holds.
                before = self.tail[lane]
                while before >= 0 and self.end[before] > start:
                    before = self.before[before]
                here = self.head[lane] if before < 0 else self.after[before]
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
            self.result[4] += BROKEN
        self.start[a] = best
        self.end[a] = best + took
        self.lane[a] = best_lane
        if took > 0 and best_lane >= 0:
            self.before[a] = best_before
            if best_before < 0:
                here = self.head[best_lane]
                self.head[best_lane] = a
            else:
                here = self.after[best_before]
                self.after[best_before] = a
            self.after[a] = here
            if here < 0:
                self.tail[best_lane] = a
            else:
                self.before[here] = a
        return best + took

    def _remove(self, a: int) -> None:
        lane = self.lane[a]
        if lane < 0 or self.start[a] == self.end[a]:
            return
        before = self.before[a]
        after = self.after[a]
        if before < 0:
            self.head[lane] = after
        else:
            self.after[before] = after
        if after < 0:
            self.tail[lane] = before
        else:
            self.before[after] = before

    def _clear(self) -> None:
        """Take everything off the lanes."""
        for lane in range(self.lane_first[self.r]):
            self.head[lane] = -1
            self.tail[lane] = -1
        self._unsend()
        self.result[4] = 0

    def _adopt(self) -> int:
        """Keep the schedule with the modes in `mode` and starts no later than those in `by`, if it is better.

        Everything is placed in the order of those starts, each into the earliest gap, which is no later than its own.
        """
        n, r = self.n, self.r
        self._clear()
        acts = 0
        for i in range(n):
            self.acts[acts] = i
            acts += 1
            for t in range(r):
                x = i * r + t
                for c in range(self.reader_first[i], self.reader_first[i + 1]):
                    if self.resource[self.mode[self.readers[c]]] == t and self.resource[self.mode[i]] != t:
                        self.sent[x] = 1
                if self.sent[x]:
                    self.send_list[self.sends] = x
                    self.sends += 1
                    self.acts[acts] = n + x
                    acts += 1
        for m in range(1, acts):
            a = self.acts[m]
            at = m
            # What is sent comes before what starts at the same time: it may be waited for.
            while at > 0 and (
                self.by[self.acts[at - 1]] > self.by[a]
                or (self.by[self.acts[at - 1]] == self.by[a] and a >= n > self.acts[at - 1])
            ):
                self.acts[at] = self.acts[at - 1]
                at -= 1
            self.acts[at] = a
        for m in range(acts):
            a = self.acts[m]
            if a < n:
                t = self.resource[self.mode[a]]
                self._place(a, t, self._inputs_at(a, t, 0), self.duration[self.mode[a]])
                continue
            x = a - n
            g = self.mode[x // r]
            link = 6 * (self.resource[g] * r + x % r)
            took = self.send_us[g * r + x % r]
            if took < 0:
                self.result[4] += BROKEN
                took = 0
            if self.links[link + 5] < 0:
                self.start[a] = self.end[x // r]
                self.end[a] = self.start[a] + took
                self.lane[a] = -1
            else:
                self._place(a, self.links[link + 5], self.end[x // r], took)
            self.arrive[x] = self.end[a] + self.links[link + 1]
        self._measure()
        return self._keep()

    def _measure(self) -> None:
        """The criteria of the schedule made last, and by how much it breaks caps and limits, into `result`."""
        n, r = self.n, self.r
        for k in range(r):
            self.last[k] = -1
            self.held[k] = 0
        energy = 0
        loss = 0
        makespan = 0
        broken = self.result[4]
        for i in range(n):
            g = self.mode[i]
            k = self.resource[g]
            energy += self.energy[g]
            loss += self.loss[g]
            self.held[k] += self.memory[g]
            end = self.end[i]
            makespan = max(makespan, end)
            self.last[k] = max(self.last[k], end)
        for m in range(self.sends):
            x = self.send_list[m]
            g = self.mode[x // r]
            target = x % r
            energy += self.send_nj[g * r + target]
            on = self.links[6 * (self.resource[g] * r + target) + 5]
            if on >= 0:
                self.last[on] = max(self.last[on], self.end[n + x])
        for k in range(r):
            if self.last[k] >= 0:
                energy += self.awake_mw[k] * self.last[k] + self.asleep[k] * self.wake_nj[k]
                if self.memory_cap[k] >= 0:
                    broken += max(self.held[k] - self.memory_cap[k], 0)
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

    def confine(self, resource: int) -> None:
        """From now on every stage is on one resource (on which each must have a mode); -1: on any."""
        self.confined = resource

    def keep(self) -> bool:
        """Take the schedule made last as the best answer if it is valid and better than the one kept. Says whether."""
        return self._keep() != 0

    def best(self) -> list[int]:
        """The best answer, as `answer` gives one."""
        self._restore()
        return self.answer()

    @property
    def found(self) -> bool:
        """Whether there is an answer."""
        return self.has_best != 0

    @property
    def modes(self) -> list[int]:
        """The modes of the schedule made last, as numbers within each stage."""
        return [self.mode[i] - self.mode_first[i] for i in range(self.n)]

    @property
    def tied(self) -> bool:
        """Whether, in the schedule made last, a stage may have had two modes that end first."""
        return self.ties != 0

    @property
    def stages(self) -> int:
        """How many stages the problem has."""
        return self.n

    @property
    def resources(self) -> int:
        """How many resources the problem has."""
        return self.r

    @property
    def choices(self) -> int:
        """How many modes all stages have together."""
        return self.g

    @property
    def halting(self) -> bool:
        """Whether `halt` was called."""
        return self.halted[0] != 0

    def halt(self) -> None:
        """Stop local search at its next move and the search at its next node; may be called from another thread."""
        self.halted[0] = 1

    def _keep(self) -> int:
        """Copy the last schedule over the best answer if it is valid and precedes it in the objective's order."""
        if self.result[4] != 0:
            return 0
        if self.has_best:
            for k in range(self.criteria):
                c = self.objective[k]
                if self.result[c] > self.best_result[c]:
                    return 0
                if self.result[c] < self.best_result[c]:
                    break
            else:
                return 0
        self.has_best = 1
        n = self.n
        for i in range(n):
            self.best_mode[i] = self.mode[i]
        for a in range(n + n * self.r):
            self.best_start[a] = self.start[a]
            self.best_lane[a] = self.lane[a]
        for x in range(n * self.r):
            self.best_sent[x] = self.sent[x]
            self.best_arrive[x] = self.arrive[x]
        for c in range(5):
            self.best_result[c] = self.result[c]
        return 1

    def _restore(self) -> None:
        n = self.n
        for i in range(n):
            self.mode[i] = self.best_mode[i]
        for a in range(n + n * self.r):
            self.start[a] = self.best_start[a]
            self.lane[a] = self.best_lane[a]
        self._unsend()
        for x in range(n * self.r):
            self.sent[x] = self.best_sent[x]
            self.arrive[x] = self.best_arrive[x]
            if self.sent[x]:
                self.send_list[self.sends] = x
                self.sends += 1
        for c in range(5):
            self.result[c] = self.best_result[c]
