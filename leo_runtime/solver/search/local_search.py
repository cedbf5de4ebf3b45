"""Local search for good answers: one source, compiled (types in `local_search.pxd`) or interpreted.

A change is judged by scheduling again what comes after it in the order, and no further than it is clear that it will
not be accepted: most changes cost a fraction of a schedule.
"""

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.schedule import Schedule

if not cython.compiled:
    from leo_runtime.solver.search.schedule import FAR

COMPILED: bool = cython.compiled

STEP = 64
"""What a usual stage is worth of each criterion, in the one number that answers are compared by."""
SAMPLES = 64
"""Of how many changes the median says by how much a change usually makes things worse."""
HEAT = 4
"""What is worse by more than this part of the usual is never accepted."""
RELIEF = 4
"""How many times less the first criterion weighs once an answer has nothing of it: it only has to stay so."""
SORTED = 20
"""How many places before and behind a stage with a new mode are put into the order of latest starts at times."""
STROLL = 6
"""Of up to how many bits is the number of steps from stage to stage, those being taken along that are passed."""
CEILING = 1 << 44
FORBIDDEN = CEILING * 8
"""More than four criteria, each at most `CEILING`, make together."""


class LocalSearch(Schedule):
    """The simple answers to a problem, and better ones."""

    def _carve_changes(self) -> None:
        n, r = self.n, self.r
        activities = n + n * r
        self.unit = self._take(4)
        self.position = self._take(n)
        self.climb_mode = self._take(n)
        self.limit_end = self._take(n)
        self.due_of = self._take(n)
        self.due_next = self._take(self.deadlines)
        self.wanted = self._take(n * r)
        self.users = self._take(r)
        self.changed = self._take(2 * n)
        self.mode_before = self._take(2 * n)
        self.renewed = self._take(n)
        self.latest_start = self._take(n)
        self.order_before = self._take(n)
        self.dragged = self._take(n)
        self.log = self._take(activities)
        self.log_at = self._take(n + 1)
        self.late_at = self._take(n + 1)
        self.awake_at = self._take(n + 1)
        self.broken_at = self._take(n + 1)
        self.last_at = self._take((n + 1) * r)
        self.sample = self._take(SAMPLES)
        self.standing = 0
        self.gaps = 0

    def climb(self, moves: int, seed: int) -> None:
        """Look for good answers: the simple ones first, then `moves` seeded random changes from the best of them."""
        self.climb_once(moves - moves // 2, seed)
        self.climb_again(moves // 2)

    def climb_once(self, moves: int, seed: int) -> None:
        """The first half of `climb`: from the best of the simple answers."""
        with cython.nogil:
            self._climb_once(moves, seed)

    def climb_again(self, moves: int) -> None:
        """The second half, after the first: from the best answer found, accepting less that is worse."""
        with cython.nogil:
            self._climb_again(moves)

    @property
    def processors(self) -> list[int]:
        """The resources on which every stage has a mode; none where there is no stage."""
        return [k for k in range(self.r) if self.n > 0 and self._alone(k)]

    def _climb_once(self, moves: int, seed: int) -> None:
        """Threshold accepting (Dueck and Scheuer, 1990) over modes and order, from the best of the simple answers."""
        n = self.n
        self.random = 1 + seed % 2147483646
        self.relieved = 0
        self._order()
        self._units()
        current = FAR
        for start in range(self.r + 2):
            for i in range(n):
                self.mode[i] = -1 if start == 0 else self._simple_mode(i, start - 2)
            current = self._start_from(current)
        self.gaps = self._gaps()
        # As much as can be on one resource, the rest on another that has links to it.
        for pair in range(self.r * self.r if self.gaps else 0):
            for i in range(n):
                g = self._simple_mode(i, pair // self.r)
                if self.resource[g] != pair // self.r:
                    g = self._simple_mode(i, pair % self.r)
                self.mode[i] = g
            current = self._start_from(current)
        for k in range(self.r):
            if self._alone(k):
                self._try_alone(k)
        if n == 0 or moves == 0:
            return
        self._stand()
        self.hot = self._usual(min(SAMPLES, moves // 4)) // HEAT
        self._cool(moves, self.hot)

    def _start_from(self, current: int) -> int:
        """Schedule the modes in `mode`, keep the answer, and begin from them if they cost less than `current`.

        Returns the lesser of both costs.
        """
        self._schedule()
        self._keep()
        cost = self._scalar()
        if cost < current:
            for i in range(self.n):
                self.climb_mode[i] = self.mode[i]
        return min(cost, current)

    def _climb_again(self, moves: int) -> None:
        if self.n == 0 or moves == 0:
            return
        if self.has_best:
            self._by_start()
            self._stand()
        self._cool(moves, self.hot // 2)

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
            if self.relieved == 0 and self.has_best and self.best_result[self.objective[0]] == 0:
                self.relieved = 1
                self.unit[self.objective[0]] *= RELIEF
                current = self._cost()
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
        self.reordered_from = 0
        self.reordered_to = 0
        i = self._roll(n)
        at = self.position[i]
        what = self._roll(16)
        modes = self.mode_first[i + 1] - self.mode_first[i]
        if what < 3 or (modes < 2 and what >= 6):
            return self._drag(at, self._roll(n) if self._roll(2) else min(max(at + self._roll(9) - 4, 0), n - 1))
        if what < 6:
            return self._renew(i)
        source = self.resource[self.mode[i]]
        g = self.mode_first[i] + self._roll(modes - 1)
        self._change_mode(i, g if g < self.mode[i] else g + 1)
        if self.gaps and self._roll(2):
            self._take_along(i)
        elif what < 10:
            self._draw_near(i)
        elif what < 13:
            self._trade(i, source)
        for m in range(self.changes):
            at = min(at, self.position[self.changed[m]])
        if self._roll(8) == 0:
            at = min(at, self._sort(max(at - SORTED, 0), min(at + SORTED, n)))
        return at

    def _change_back(self, first: int) -> None:
        """Undo the last change, which began to differ at position `first`."""
        for m in range(self.changes - 1, -1, -1):
            self._give(self.changed[m], self.mode_before[m])
        for k in range(self.reordered_from, self.reordered_to):
            self.made[k] = self.order_before[k]
            self.position[self.made[k]] = k
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
            if c == 1:
                total += min(self.charged * STEP // self.unit[1], CEILING)
            elif c == 3:
                total += min(self.lost * STEP // self.unit[3], CEILING)
        return total

    def _more(self, c: int, left: int) -> int:
        """By how much criterion c may exceed what it is at least, for `_scalar` to do so by no more than `left`."""
        for k in range(self.criteria):
            if self.objective[k] == c and left < FAR // self.unit[c]:
                return (left + 1) * self.unit[c] // STEP + 1
        return FAR

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
        self.mode_before[self.changes] = self.mode[i]
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
        """The schedule made last as one number: criteria in units of `STEP`, added up; broken rules are dearer still.

        All weigh alike, although what is kept is the best in the objective's order: where the first criterion weighs
        more, too little is tried that would do better in the end. One that has come down to 0 weighs less (`RELIEF`).
        """
        total = 0
        for k in range(self.criteria):
            c = self.objective[k]
            total += min(self.result[c] * STEP // self.unit[c], CEILING)
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

    def _take_along(self, i: int) -> None:
        """Give stages connected with stage i modes on its resource, and whatever that cuts off modes on another one.

        Where links are missing hardly a stage can go anywhere by itself.
        """
        k = self.resource[self.mode[i]]
        for _ in range(self._roll(2 << self._roll(STROLL))):
            i = self._neighbour(i)
            g = self._any_there(i, k)
            if g >= 0 and self.resource[self.mode[i]] != k:
                self._change_mode(i, g)
        k = self._roll(self.r)
        m = 0
        while m < self.changes:
            if self._reconnect(self.changed[m], k) == 0:
                return
            m += 1

    def _reconnect(self, i: int, k: int) -> int:
        """Give every input and reader of stage i that lacks a link a mode on resource k. Returns 0 if one has none."""
        for p in range(self.input_first[i], self.input_first[i + 1]):
            j = self.inputs[p]
            if self._cut_off(j, i) and self._send_to(j, k) == 0:
                return 0
        for c in range(self.reader_first[i], self.reader_first[i + 1]):
            j = self.readers[c]
            if self._cut_off(i, j) and self._send_to(j, k) == 0:
                return 0
        return 1

    def _cut_off(self, i: int, j: int) -> int:
        """Whether there is no link from stage i to its reader j."""
        return 1 if self.send_us[self.mode[i] * self.r + self.resource[self.mode[j]]] < 0 else 0

    def _send_to(self, i: int, k: int) -> int:
        """Give stage i a mode on resource k. Returns 0 if it has none or is there: so no stage goes there twice."""
        g = self._any_there(i, k)
        if g < 0 or self.resource[self.mode[i]] == k:
            return 0
        self._change_mode(i, g)
        return 1

    def _gaps(self) -> int:
        """Whether there are two resources that stages can run on, without a link from one to the other."""
        for k in range(self.r):
            self.held[k] = 0
        for g in range(self.g):
            self.held[self.resource[g]] = 1
        for g in range(self.g):
            for t in range(self.r):
                if self.held[t] and self.send_us[g * self.r + t] < 0:
                    return 1
        return 0

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

    def _drag(self, at: int, to: int) -> int:
        """Move the stage at position `at` of the order to position `to`. Returns as `_change` does.

        Of the stages between, those that read it (or read what reads it) go along to a later place, those that it needs
        to an earlier one. Where single stages move, none passes another that it depends on.
        """
        low = min(at, to)
        high = max(at, to) + 1
        self._save_order(low, high)
        for k in range(low, high):
            self.dragged[self.made[k]] = 0
        self.dragged[self.made[at]] = 1
        for k in range(at + 1, high):
            i = self.made[k]
            for p in range(self.input_first[i], self.input_first[i + 1]):
                if self.position[self.inputs[p]] >= low and self.dragged[self.inputs[p]]:
                    self.dragged[i] = 1
        for k in range(at - 1, low - 1, -1):
            i = self.made[k]
            for c in range(self.reader_first[i], self.reader_first[i + 1]):
                if self.position[self.readers[c]] < high and self.dragged[self.readers[c]]:
                    self.dragged[i] = 1
        put = low
        for second in range(2):
            for k in range(low, high):
                i = self.order_before[k]
                if self.dragged[i] == (second if at < to else 1 - second):
                    self.made[put] = i
                    put += 1
        return self._reordered(low, high)

    def _sort(self, low: int, high: int) -> int:
        """Sort positions `low` to `high` - 1 by the latest start, given the modes there are. Returns as `_change` does.

        A stage that takes longer in its new mode has to start sooner, and so does what it reads.
        """
        self._latest_starts(low)
        self._save_order(low, high)
        self._sort_by_latest_start(low, high)
        return self._reordered(low, high)

    def _latest_starts(self, low: int) -> None:
        """When the stages from position `low` on must start for what follows to be in time, into `latest_start`."""
        for k in range(self.n - 1, low - 1, -1):
            i = self.made[k]
            g = self.mode[i]
            source = self.resource[g]
            latest = self.horizon
            d = self.due_of[i]
            while d >= 0:
                latest = min(latest, self.due[d])
                d = self.due_next[d]
            for c in range(self.reader_first[i], self.reader_first[i + 1]):
                j = self.readers[c]
                target = self.resource[self.mode[j]]
                needed = self.latest_start[j]
                if source != target and self.send_us[g * self.r + target] >= 0:
                    needed -= self.send_us[g * self.r + target] + self.links[6 * (source * self.r + target) + 1]
                latest = min(latest, needed)
            self.latest_start[i] = latest - self.duration[g]

    def _save_order(self, low: int, high: int) -> None:
        """Keep the order of positions `low` to `high` - 1, so that changing it can be undone."""
        self.reordered_from = low
        self.reordered_to = high
        for k in range(low, high):
            self.order_before[k] = self.made[k]

    def _reordered(self, low: int, high: int) -> int:
        """Note where the stages at positions `low` to `high` - 1 are now. Returns the first that differs, or n."""
        while low < high and self.made[low] == self.order_before[low]:
            low += 1
        for k in range(low, high):
            self.position[self.made[k]] = k
        return self.n if low == high else low

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
        self.horizon = horizon
        for i in range(n):
            self.limit_end[i] = horizon
        for d in range(self.deadlines):
            self.limit_end[self.due_stage[d]] = min(self.limit_end[self.due_stage[d]], self.due[d])
        for i in range(n - 1, -1, -1):
            for p in range(self.input_first[i], self.input_first[i + 1]):
                producer = self.inputs[p]
                self.limit_end[producer] = min(self.limit_end[producer], self.limit_end[i] - self.least[i])
        for i in range(n):
            self.latest_start[i] = self.limit_end[i] - self.least[i]
            self.made[i] = i
        self._sort_by_latest_start(0, n)

    def _sort_by_latest_start(self, low: int, high: int) -> None:
        for k in range(low + 1, high):
            i = self.made[k]
            at = k
            while at > low and self.latest_start[self.made[at - 1]] > self.latest_start[i]:
                self.made[at] = self.made[at - 1]
                at -= 1
            self.made[at] = i

    def _roll(self, sides: int) -> int:
        """A number from 0 to `sides` - 1 (Lehmer's generator with Park and Miller's modulus)."""
        self.random = self.random * 48271 % 2147483647
        return self.random % sides
