"""The search kernel: one source, compiled where there is a C compiler (types in `kernel.pxd`), else interpreted.

Everything is an integer in a flat array. Compiled, the arrays are pointers into one block of 64-bit integers;
interpreted, they are lists of Python's integers, which have no limit. Both give the same answers, byte for byte.
`compiled.py` builds the data.

Numbering: stage i in topological order; mode g, those of stage i from `mode_first[i]` to `mode_first[i + 1]`; resource
r; lane l, those of r from `lane_first[r]`; activity i = stage i,
activity n + i * R + t = the sending of i's output to t.
"""

from collections.abc import MutableSequence, Sequence

try:
    import cython
except ImportError:
    from leo_runtime.solver import uncompiled as cython

COMPILED: bool = cython.compiled

Ints = MutableSequence[int]

FAR = int("1" + "0" * (18 if COMPILED else 60))
"""Later, dearer and larger than anything of a problem; where numbers are 64-bit, several of them still add up."""

STEP = 64
SAMPLES = 64
"""Of how many changes the median says by how much a change usually makes things worse."""
HEAT = 4
"""What is worse by more than this part of the usual is never accepted."""
CEILING = 1 << 44
FORBIDDEN = CEILING * 256
"""More than four criteria, each at most `CEILING`, make together."""
SCALE = 64
ROWS = 24
CUTS = 6
STEPS = 30
ROOM = 1 << 20
DUES = 9
"""Of how many deadlines every order is looked at."""
LONGEST = 1 << 38
BROKEN = 1 << 40
"""What one missing link or lane adds to how far a schedule breaks the rules."""


def block_size(data: Sequence[int]) -> int:
    """How many integers the kernel needs room for, to hold a problem's `data` and to work."""
    n, resources, modes, _, lanes = data[:5]
    pairs = n * resources
    return (
        len(data)
        + 28 * (n + pairs)
        + (ROWS + resources) * (modes + 5)
        + 2 * modes * resources
        + 32 * (n + modes)
        + 20 * (resources + lanes)
        + data[3]
        + 5 * data[5]
        + (2 << min(data[5], DUES))
        + 2 * SAMPLES
    )


class Kernel:
    """A problem and the working space to search it. Not for two threads at once."""

    def __init__(self, data: Sequence[int], block: Ints) -> None:
        """Hold the problem of `data` in `block`: zeros, `block_size` of them, 64-bit ones where this is compiled."""
        self.block = block
        self._load(data)
        self.at = 0
        self._carve()
        self._carve_scratch()
        assert self.at <= len(block)
        self.confined = -1
        self._expand()

    def _load(self, data: Sequence[int]) -> None:
        for at in range(len(data)):
            self.block[at] = data[at]

    def _take(self, count: int) -> Ints:
        self.at += count
        if cython.compiled:
            first: Ints = cython.address(self.block[self.at - count])
            return first
        return self.block[self.at - count : self.at]

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
        self.before = self._take(activities)
        self.arrive = self._take(n * r)
        self.head = self._take(self.lane_first[r])
        self.tail = self._take(self.lane_first[r])
        self.sent = self._take(n * r)
        self.made = self._take(n * r)
        self.rank = self._take(n)
        self.send_list = self._take(n * r)
        self.held = self._take(r)
        self.unit = self._take(4)
        self.position = self._take(n)
        self.last = self._take(r)
        self.result = self._take(5)
        self.best_mode = self._take(n)
        self.best_start = self._take(activities)
        self.best_lane = self._take(activities)
        self.best_sent = self._take(n * r)
        self.best_arrive = self._take(n * r)
        self.best_result = self._take(5)
        self.climb_mode = self._take(n)
        self.alive = self._take(g)
        self.count = self._take(n)
        self.stage_of = self._take(g)
        self.trail = self._take(g)
        self.cap = self._take(4)
        self.bound = self._take(4)
        self.node_bound = self._take(4)
        self.halted = self._take(1)
        self.cost = self._take(max(g, n))
        self.early = self._take(g)
        self.latest = self._take(g)
        self.floor = self._take(n)
        self.ceiling = self._take(n)
        self.soonest = self._take(n)
        self.limit_end = self._take(n)
        self.least = self._take(n)
        self.only = self._take(n)
        self.reach = self._take(n * r)
        self.last_start = self._take(n * r)
        self.surely = self._take(n * r)
        self.opening = self._take(r)
        self.reader_first = self._take(n + 1)
        self.readers = self._take(self.input_first[n])
        self.work_from = self._take(activities)
        self.work_to = self._take(activities)
        self.work_us = self._take(activities)
        self.work_of = self._take(activities)
        self.work_sorted = self._take(activities)
        self.done = self._take(activities)
        self.by = self._take(activities)
        self.penalty = self._take(g)
        self.least_priced = self._take(n)
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
        self.acts = self._take(activities)
        self.least_late = self._take(1 << min(self.deadlines, DUES))
        self.met_last = self._take(1 << min(self.deadlines, DUES))
        self.due_of = self._take(n)
        self.due_next = self._take(self.deadlines)
        self.wanted = self._take(n * r)
        self.users = self._take(r)
        self.changed = self._take(n)
        self.former = self._take(n)
        self.renewed = self._take(n)
        self.log = self._take(activities)
        self.log_at = self._take(n + 1)
        self.late_at = self._take(n + 1)
        self.awake_at = self._take(n + 1)
        self.broken_at = self._take(n + 1)
        self.last_at = self._take((n + 1) * r)
        self.sample = self._take(SAMPLES)
        self.renewing = 0
        self.standing = 0
        self.sure = 0
        self.has_best = 0
        self.target = 0
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
                if source == target or self.links[link] == 0:
                    self.send_us[x] = 0 if source == target else -1
                    continue
                rate = self.links[link + 2]
                self.send_us[x] = 0 if rate == 0 else (size * 1000000 + rate - 1) // rate
                self.send_nj[x] = self.links[link + 3] + (size * self.links[link + 4] + 999) // 1000

    # List scheduling: stages in a given order, each and its transfers as early as a gap on a lane allows.

    def evaluate(self, modes: list[int], order: list[int]) -> tuple[int, int, int, int, int]:
        """Schedule the stages in `order` (inputs first), each in its mode of `modes` (a number within the stage).

        Where a stage's mode is negative the one that ends first is taken (HEFT's rule; of equal ends the first mode,
        or the last where it is -2). Returns the
        four criteria and how far rules 4 (missing links), 5 and 7 are broken in sum (0: a valid placement), which
        `answer` then gives in full.
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

    # The root: what can be said before anything is decided. `cap` holds what each criterion may be at most; for the
    # criterion at hand that is one less than the best answer. A mode is alive that no cap has ruled out.

    def root(self, turns: int = 0) -> int:
        """Bound the criteria in order, given the answer kept, if any; with `turns` 1, look for a less late one as well.

        Returns 2 if that proves the answer the best, or that there is none (see `found`), else 1; `bounds` holds them.
        """
        with cython.nogil:
            return self._root(turns)

    def confine(self, resource: int) -> None:
        """From now on every stage is on one resource (on which each must have a mode); -1: on any."""
        self.confined = resource

    @property
    def processors(self) -> list[int]:
        """The resources on which every stage has a mode; none where there is no stage."""
        return [k for k in range(self.r) if self.n > 0 and self._alone(k)]

    def rivals(self) -> list[int]:
        """The resources which alone might do better than the answer kept, as far as their roots can tell.

        That is asked once more after simple schedules on a resource. None any more where the search was halted.
        """
        found = [k for k in self.processors if self.halted[0] == 0 and self._rivals(k)]
        self.confined = -1
        return found

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
    def bounds(self) -> list[int]:
        """A proved lower bound for each criterion of the objective, given the ones before it at their value."""
        return [self.bound[k] for k in range(self.criteria)]

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

    # Local search. A change is judged by scheduling again what comes after it in the order, and no further than it is
    # clear that it will not be accepted: most changes cost a fraction of a schedule.

    def climb(self, moves: int, seed: int) -> None:
        """Look for good answers: the simple ones first, then `moves` seeded random changes from the best of them."""
        with cython.nogil:
            self._climb(moves, seed)

    def _climb(self, moves: int, seed: int) -> None:
        """Threshold accepting (Dueck and Scheuer, 1990) over modes and order, from the best of the simple answers.

        Half the moves cool down from there, half once more, from less heat, from the best answer found.
        """
        n = self.n
        self.random = 1 + seed % 2147483646
        self._order()
        self._units()
        current = FAR
        for start in range(self.r + 2):
            for i in range(n):
                self.mode[i] = -1 if start == 0 else self._simple_mode(i, start - 2)
            self._schedule()
            self._keep()
            cost = self._scalar()
            if cost < current:
                current = cost
                for i in range(n):
                    self.climb_mode[i] = self.mode[i]
        for k in range(self.r):
            if self._alone(k):
                self._try_alone(k)
        if n == 0 or moves == 0:
            return
        self._stand()
        hot = self._usual(min(SAMPLES, moves // 8)) // HEAT
        self._cool(moves - moves // 2, hot)
        if self.has_best:
            self._by_start()
            self._stand()
        self._cool(moves // 2, hot // 2)

    def _by_start(self) -> None:
        """The best answer's modes into `climb_mode`, its stages in the order of their starts into `made`."""
        for i in range(self.n):
            self.climb_mode[i] = self.best_mode[i]
            at = i
            while at > 0 and self.best_start[self.made[at - 1]] > self.best_start[i]:
                self.made[at] = self.made[at - 1]
                at -= 1
            self.made[at] = i

    def _stand(self) -> None:
        """Take the modes in `climb_mode` and the order in `made` as what the next change is made to."""
        n, r = self.n, self.r
        for i in range(n):
            self.position[self.made[i]] = i
            self.due_of[i] = -1
            self.renewed[i] = 0
        for d in range(self.deadlines):
            self.due_next[d] = self.due_of[self.due_stage[d]]
            self.due_of[self.due_stage[d]] = d
        for x in range(n * r):
            self.wanted[x] = 0
        self.powered = 0
        for k in range(r):
            self.users[k] = 0
            self.last_at[k] = 0
            self.powered += self.awake_mw[k]
        self.charged = 0
        self.lost = 0
        for i in range(n):
            # Inputs come first, readers later: what is sent to a reader is counted with the reader.
            g = self.mode[i] = self.climb_mode[i]
            self.charged += self.energy[g]
            self.lost += self.loss[g]
            self._enter(self.resource[g])
            for p in range(self.input_first[i], self.input_first[i + 1]):
                self._want(self.inputs[p], self.resource[g], 1)
        self._clear()
        self.renewing = 0
        self.logged = 0
        self.log_at[0] = 0
        self.late_at[0] = 0
        self.awake_at[0] = 0
        self.broken_at[0] = 0
        self.standing = 0

    def _cost(self) -> int:
        """`_scalar` of what stands, of which a change made and undone may have left only a part scheduled."""
        self._schedule_from(self.standing, FAR, FAR)
        self._measure()
        return self._scalar()

    def _cool(self, moves: int, hot: int) -> None:
        """Make changes, accepting what is worse by less and less."""
        current = self._cost()
        for move in range(moves):
            if self.halted[0]:
                return
            left = 1024 * (moves - move) // moves
            most = current + hot * left // 1024 * left // 1024
            first = self._change()
            if first < self.n:
                cost = self._cost_from(first, most)
                if cost <= most:
                    current = cost
                else:
                    self._change_back(first)

    def _usual(self, samples: int) -> int:
        """By how much changes make what stands worse: the median of so many, without what breaks other rules."""
        current = self._cost()
        broken = self.result[4]
        size = 0
        for _ in range(samples):
            first = self._change()
            if first < self.n:
                worse = self._cost_from(first, FAR // 2) - current
                if self.result[4] != broken:
                    worse = 0
                self._change_back(first)
                if worse > 0:
                    at = size
                    size += 1
                    while at > 0 and self.sample[at - 1] > worse:
                        self.sample[at] = self.sample[at - 1]
                        at -= 1
                    self.sample[at] = worse
        return self.sample[size // 2] if size else STEP

    def _change(self) -> int:
        """Change something at random. Returns the position in the order before which nothing differs; n: nothing."""
        n = self.n
        self.changes = 0
        i = self._roll(n)
        at = self.position[i]
        self.shifted_from = at
        self.shifted_to = at
        what = self._roll(16)
        if what < 3:
            self._shift(at, self._place_near(i, at))
            return n if self.shifted_to == at else min(at, self.shifted_to)
        if what < 6:
            return self._renew(i)
        modes = self.mode_first[i + 1] - self.mode_first[i]
        if modes < 2:
            return n
        source = self.resource[self.mode[i]]
        g = self.mode_first[i] + self._roll(modes - 1)
        self._change_mode(i, g if g < self.mode[i] else g + 1)
        if what < 10:
            self._draw_near(i)
        elif what < 13:
            self._trade(i, source)
        for m in range(self.changes):
            at = min(at, self.position[self.changed[m]])
        return at

    def _change_back(self, first: int) -> None:
        """Undo the last change, which began to differ at position `first`."""
        for m in range(self.changes - 1, -1, -1):
            self._give(self.changed[m], self.former[m])
        self._shift(self.shifted_to, self.shifted_from)
        if self.renewing:
            self.renewing = 0
            for i in range(self.n):
                self.renewed[i] = 0
        self.standing = min(self.standing, first)

    def _cost_from(self, first: int, most: int) -> int:
        """`_scalar` of what stands, changed from position `first` on, or more than `most`. Kept if it is the best."""
        left = most - self._least_scalar()
        if left < 0 or self._schedule_from(min(first, self.standing), self._more(0, left), self._more(1, left)) == 0:
            return most + 1
        self.renewing = 0
        self._measure()
        self._keep()
        return self._scalar()

    def _least_scalar(self) -> int:
        """What `_scalar` is at least, whenever the stages start: what their modes and sendings alone amount to."""
        if self.renewing:
            return 0
        total = 0
        for k in range(self.criteria):
            c = self.objective[k]
            total = total * 4
            if c == 1:
                total += min(self.charged * STEP // self.unit[1], CEILING)
            elif c == 3:
                total += min(self.lost * STEP // self.unit[3], CEILING)
        return total

    def _more(self, c: int, left: int) -> int:
        """By how much criterion c may exceed what it is at least, for `_scalar` to do so by no more than `left`."""
        weight = 0
        for k in range(self.criteria):
            weight = weight * 4
            if self.objective[k] == c:
                weight = 1
        if weight == 0 or left // weight >= FAR // self.unit[c]:
            return FAR
        return (left // weight + 1) * self.unit[c] // STEP + 1

    def _schedule_from(self, first: int, late: int, awake: int) -> int:
        """Schedule the stages from position `first` of the order on, what comes before being as it was.

        Returns 0 where it was given up: more tardiness than `late`, or more energy for staying awake than `awake`.
        """
        n, r = self.n, self.r
        while self.logged > self.log_at[first]:
            self.logged -= 1
            a = self.log[self.logged]
            self._remove(a)
            if a >= n:
                self.sent[a - n] = 0
                self.sends -= 1
        self.result[4] = self.broken_at[first]
        for k in range(first, n):
            if self.late_at[k] > late or self.awake_at[k] > awake:
                self.standing = k
                return 0
            i = self.made[k]
            if self.renewed[i]:
                self.renewed[i] = 0
                self._change_mode(i, self._earliest_mode(i, 0))
            g = self.mode[i]
            on = self.resource[g]
            sends = self.sends
            end = self._place(i, on, self._inputs_at(i, on, 0), self.duration[g])
            for t in range(r if self.powered else 0):
                self.last_at[(k + 1) * r + t] = self.last_at[k * r + t]
            self.awake_at[k + 1] = self.awake_at[k]
            for m in range(sends, self.sends):
                x = self.send_list[m]
                self._log(n + x, k, self.links[6 * (self.resource[self.mode[x // r]] * r + x % r) + 5])
            self._log(i, k, on)
            self.log_at[k + 1] = self.logged
            self.broken_at[k + 1] = self.result[4]
            self.late_at[k + 1] = self.late_at[k]
            d = self.due_of[i]
            while d >= 0:
                self.late_at[k + 1] += self.weight[d] * max(end - self.due[d], 0)
                d = self.due_next[d]
        self.standing = n
        return 1 if self.late_at[n] <= late and self.awake_at[n] <= awake else 0

    def _log(self, a: int, k: int, on: int) -> None:
        """Note that activity a was placed with the stage at position k, and until when that keeps a resource awake."""
        self.log[self.logged] = a
        self.logged += 1
        if on >= 0 and self.awake_mw[on] > 0:
            x = (k + 1) * self.r + on
            longer = self.end[a] - self.last_at[x]
            if longer > 0:
                self.awake_at[k + 1] += self.awake_mw[on] * longer
                self.last_at[x] = self.end[a]

    def _change_mode(self, i: int, g: int) -> None:
        """Give stage i mode g, so that it can be undone."""
        self.changed[self.changes] = i
        self.former[self.changes] = self.mode[i]
        self.changes += 1
        self._give(i, g)

    def _give(self, i: int, g: int) -> None:
        """Give stage i mode g instead of its own, and count what that adds to energy and loss."""
        before = self.mode[i]
        source = self.resource[before]
        target = self.resource[g]
        self.charged += self.energy[g] - self.energy[before]
        self.lost += self.loss[g] - self.loss[before]
        for t in range(self.r):
            if self.wanted[i * self.r + t]:
                self._send(i, t, -1)
        self.mode[i] = g
        for t in range(self.r):
            if self.wanted[i * self.r + t]:
                self._send(i, t, 1)
        if source != target:
            self._leave(source)
            self._enter(target)
            for p in range(self.input_first[i], self.input_first[i + 1]):
                self._want(self.inputs[p], source, -1)
                self._want(self.inputs[p], target, 1)

    def _want(self, i: int, t: int, more: int) -> None:
        """Count one reader of stage i more (1) or less (-1) on resource t."""
        x = i * self.r + t
        self.wanted[x] += more
        if self.wanted[x] == (1 if more > 0 else 0):
            self._send(i, t, more)

    def _send(self, i: int, t: int, more: int) -> None:
        """Count (1) or discount (-1) the sending of what stage i puts out to resource t, if that takes one."""
        g = self.mode[i]
        x = g * self.r + t
        if self.resource[g] == t or self.send_us[x] < 0:
            return
        self.charged += more * self.send_nj[x]
        on = self.links[6 * (self.resource[g] * self.r + t) + 5]
        if on >= 0:
            if more > 0:
                self._enter(on)
            else:
                self._leave(on)

    def _enter(self, k: int) -> None:
        """Count one activity more on resource k, which wakes it if it is the first."""
        if self.users[k] == 0:
            self.charged += self.asleep[k] * self.wake_nj[k]
        self.users[k] += 1

    def _leave(self, k: int) -> None:
        self.users[k] -= 1
        if self.users[k] == 0:
            self.charged -= self.asleep[k] * self.wake_nj[k]

    def _units(self) -> None:
        """What is a usual difference in each criterion, into `unit`: a stage's mean duration, energy, loss."""
        took = 0
        energy = 0
        loss = 0
        for g in range(self.g):
            took += self.duration[g]
            energy += self.energy[g]
            loss += self.loss[g]
        self.unit[0] = took // max(self.g, 1) + 1
        self.unit[1] = energy // max(self.g, 1) + 1
        self.unit[2] = self.unit[0]
        self.unit[3] = loss // max(self.g, 1) + 1

    def _scalar(self) -> int:
        """The schedule made last as one number: criteria in units of `STEP`, each four times as heavy as the next.

        What breaks a rule is dearer than all of that.
        """
        total = 0
        for k in range(self.criteria):
            c = self.objective[k]
            total = total * 4 + min(self.result[c] * STEP // self.unit[c], CEILING)
        if self.result[4]:
            total += FORBIDDEN + min(self.result[4], 16 * CEILING) * 1024
        return total

    def _renew(self, i: int) -> int:
        """Choose the modes of some stages anew: of connected ones, or of ones that follow each other in the order.

        Each gets the mode that ends first (ruin and recreate, Schrimpf and others, 2000), one in eight being overlooked
        (as Christiaens and Vanden Berghe do, 2020) and mostly all of one resource: so whole groups leave a resource,
        which would not pay for one stage alone where sending is slow. Returns as `_change` does.
        """
        at = self.position[i]
        first = at
        size = 2 + self._roll(min(12, self.n // 4 + 1))
        if self._roll(2):
            for k in range(at, min(at + size, self.n)):
                self.renewed[self.made[k]] = 1
        else:
            for _ in range(size):
                self.renewed[i] = 1
                first = min(first, self.position[i])
                i = self._neighbour(i)
        self.renewing = 1
        self.shunned = self._roll(self.r + 1)
        return first

    def _overlooked(self, i: int, g: int) -> int:
        """Whether mode g is left out where stage i gets a mode anew: what ends first must not use up a budget."""
        if self.resource[g] == self.shunned or self._roll(8) == 0:
            return 1
        return 1 if self.budgets and self.loss[g] > self.loss[self.mode[i]] else 0

    def _draw_near(self, i: int) -> None:
        """Give a few stages connected with stage i modes on its resource."""
        k = self.resource[self.mode[i]]
        for _ in range(1 + self._roll(4)):
            i = self._neighbour(i)
            g = self._any_there(i, k)
            if g >= 0 and self.resource[self.mode[i]] != k:
                self._change_mode(i, g)

    def _trade(self, i: int, source: int) -> None:
        """Let another stage on the resource that stage i came to go to `source`, where it came from.

        If that is the same resource, the other stage changes its variant there. Where there are budgets, what is traded
        may be accuracy: every other time any other stage changes as it likes.
        """
        if self.budgets and self._roll(2):
            j = self._roll(self.n)
            if j != i:
                self._change_mode(j, self.mode_first[j] + self._roll(self.mode_first[j + 1] - self.mode_first[j]))
            return
        k = self.resource[self.mode[i]]
        first = self._roll(self.n)
        for m in range(self.n):
            j = (first + m) % self.n
            if j != i and self.resource[self.mode[j]] == k:
                g = self._any_there(j, source)
                if g >= 0 and g != self.mode[j]:
                    self._change_mode(j, g)
                    return

    def _any_there(self, i: int, k: int) -> int:
        """One of stage i's modes on resource k, or -1."""
        modes = self.mode_first[i + 1] - self.mode_first[i]
        first = self._roll(modes)
        for m in range(modes):
            g = self.mode_first[i] + (first + m) % modes
            if self.resource[g] == k:
                return g
        return -1

    def _neighbour(self, i: int) -> int:
        """One of the inputs and readers of stage i; itself if it has none."""
        readers = self.reader_first[i + 1] - self.reader_first[i]
        inputs = self.input_first[i + 1] - self.input_first[i]
        if readers + inputs == 0:
            return i
        which = self._roll(readers + inputs)
        if which < readers:
            return self.readers[self.reader_first[i] + which]
        return self.inputs[self.input_first[i] + which - readers]

    def _place_near(self, i: int, at: int) -> int:
        """A position in the order a few places from `at` for stage i, as far as its inputs and readers let it."""
        to = at + self._roll(9) - 4
        low = 0
        high = self.n - 1
        for p in range(self.input_first[i], self.input_first[i + 1]):
            low = max(low, self.position[self.inputs[p]] + 1)
        for c in range(self.reader_first[i], self.reader_first[i + 1]):
            high = min(high, self.position[self.readers[c]] - 1)
        return min(max(to, low), high)

    def _shift(self, at: int, to: int) -> None:
        """Move the stage at position `at` of the order to position `to`."""
        i = self.made[at]
        self.shifted_to = to
        while at < to:
            self.made[at] = self.made[at + 1]
            self.position[self.made[at]] = at
            at += 1
        while at > to:
            self.made[at] = self.made[at - 1]
            self.position[self.made[at]] = at
            at -= 1
        self.made[at] = i
        self.position[i] = at

    def _try_alone(self, k: int) -> None:
        """Schedule everything on resource k in a few simple ways, and keep what is good."""
        for order in range(2):
            if order == 0:
                self._rank(0)
            else:
                self._order()
            for what in range(4):
                for i in range(self.n):
                    self.mode[i] = self._mode_there(i, k, what)
                self._schedule()
                self._keep()

    def _alone(self, k: int) -> int:
        """Whether every stage has a mode on resource k."""
        for i in range(self.n):
            if self._mode_there(i, k, 0) < 0:
                return 0
        return 1

    def _mode_there(self, i: int, k: int, what: int) -> int:
        """Of stage i's modes on resource k the first (0), fastest (1), most accurate (2) or cheapest (3); -1: none."""
        best = -1
        least = FAR
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.resource[g] == k:
                value = self.energy[g]
                if what == 0:
                    return g
                if what == 1:
                    value = self.duration[g]
                elif what == 2:
                    value = self.loss[g]
                if value < least:
                    least = value
                    best = g
        return best

    def _simple_mode(self, i: int, k: int) -> int:
        """The cheapest mode of stage i on resource k, or anywhere if it has none there (or k is -1)."""
        best = self.mode_first[i]
        for g in range(self.mode_first[i] + 1, self.mode_first[i + 1]):
            here = 0 if self.resource[g] == k else 1
            there = 0 if self.resource[best] == k else 1
            if here < there or (here == there and self.energy[g] < self.energy[best]):
                best = g
        return best

    def _roll(self, sides: int) -> int:
        """A number from 0 to `sides` - 1 (Lehmer's generator with Park and Miller's modulus)."""
        self.random = self.random * 48271 % 2147483647
        return self.random % sides

    def _order(self) -> None:
        """The stages in the order in which they should start for every deadline's sake, into `made`; inputs first."""
        n = self.n
        horizon = 0
        for i in range(n):
            self.least[i] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                self.least[i] = min(self.least[i], self.duration[g])
            horizon += self.least[i]
        for d in range(self.deadlines):
            horizon = max(horizon, self.due[d])
        for i in range(n):
            self.limit_end[i] = horizon
        for d in range(self.deadlines):
            self.limit_end[self.due_stage[d]] = min(self.limit_end[self.due_stage[d]], self.due[d])
        for i in range(n - 1, -1, -1):
            for p in range(self.input_first[i], self.input_first[i + 1]):
                producer = self.inputs[p]
                self.limit_end[producer] = min(self.limit_end[producer], self.limit_end[i] - self.least[i])
        for i in range(n):
            key = self.limit_end[i] - self.least[i]
            self.cost[i] = key
            at = i
            while at > 0 and self.cost[self.made[at - 1]] > key:
                self.made[at] = self.made[at - 1]
                at -= 1
            self.made[at] = i

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
            if self.rows == 0:
                # Nothing has changed since domains and times were bounded last.
                return 1
            before = self.trail_size
            if self._propagate() == 0:
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
            if to >= FAR:
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
