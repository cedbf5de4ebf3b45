"""The frame's problem written down as variables, and as the clauses and rules that they obey.

One source, compiled (types in `formulation.pxd`) or interpreted, as `schedule.py` is. `propagation.py` deduces what
follows from it, `clauses.py` searches.

Variables. Of variable v, half 2v counts its lower bound up and half 2v + 1 its upper bound, negated, so that both only
ever rise: atom (h, w) is "half h has reached w", and it is false when half h ^ 1 has reached 1 - w. The variables are
    x    for every mode, whether it is chosen
    r, y for a stage and a resource: whether it is there; whether its output is wanted there
    p    whether an activity (a stage on a resource, or a sending over a radio) takes place
    s, d when an activity starts, how long it takes
    a, e when a stage's output is at a resource; when the stage ends
    u, z of a resource: whether it is used, until when it is awake; l: whether it sleeps as the frame begins
    c    of a criterion: what it comes to
    q    the number of the prices that are used
    w    of a link: the number of the state in which the links are
    o    for two activities of a resource: whether the first ends before the second starts
What does not take place may be thought of as infinitely late: lower bounds of s, d and a hold whether or not it does,
and upper bounds only where it does.
"""

from typing import Any

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.arrays import Arrays

if not cython.compiled:
    from leo_runtime.solver.search.schedule import FAR

HEADER = 6
"""What stands before a clause's atoms (see `_clause_begin`)."""
CRITERIA = 4
"""The criteria there are."""
TWINS = 16
"""With how many of the stages that are like it, at most, a stage's turn is fixed."""


class Formulation(Arrays):
    """A `Kernel`'s problem in variables, clauses and rules; `lasting`: what others of its shape have in common."""

    def __init__(self, lasting: bool) -> None:
        self.lasting = 1 if lasting else 0
        self.store_max = 0
        self.turn = 0
        self.vars_window = 0

    def _share(self, kernel: Any) -> None:
        """The kernel's own arrays: the problem, the caps, and what it knows."""
        self.kernel = kernel
        self.n = self.kernel.n
        self.r = self.kernel.r
        self.g = self.kernel.g
        self.deadlines = self.kernel.deadlines
        self.budgets = self.kernel.budgets
        self.lane_first = self.kernel.lane_first
        self.asleep = self.kernel.asleep
        self.wake_nj = self.kernel.wake_nj
        self.awake_mw = self.kernel.awake_mw
        self.memory_cap = self.kernel.memory_cap
        self.links = self.kernel.links
        self.release = self.kernel.release
        self.input_first = self.kernel.input_first
        self.inputs = self.kernel.inputs
        self.reader_first = self.kernel.reader_first
        self.readers = self.kernel.readers
        self.mode_first = self.kernel.mode_first
        self.resource = self.kernel.resource
        self.duration = self.kernel.duration
        self.energy = self.kernel.energy
        self.memory = self.kernel.memory
        self.output = self.kernel.output
        self.loss = self.kernel.loss
        self.due_stage = self.kernel.due_stage
        self.due = self.kernel.due
        self.weight = self.kernel.weight
        self.budget_first = self.kernel.budget_first
        self.budget_stage = self.kernel.budget_stage
        self.open = self.kernel.open
        self.opening = self.kernel.opening
        self.send_us = self.kernel.send_us

    # What there is: counted once, then numbered, then the rules are written down.

    def _count(self) -> None:
        """How many of everything there can be at most, before any array is there."""
        n, r = self.n, self.r
        self.sends_max = 0
        pairs = 0
        for t in range(r):
            radio_users = 0
            for source in range(r):
                for target in range(r):
                    link = 6 * (source * r + target)
                    if source != target and self.links[link] and self.links[link + 5] == t:
                        radio_users += n
            users = 0
            for g in range(self.g):
                if self.resource[g] == t:
                    users += 1
            # No stage is on a resource, or sends to a target, more than once.
            users = min(users, n) + min(radio_users, n * r)
            self.sends_max += min(radio_users, n * r)
            users += self.lane_first[t + 1] - self.lane_first[t]
            pairs += users * users if self.lane_first[t + 1] - self.lane_first[t] > 1 else users * (users - 1) // 2
        self.acts_max = n * r + self.sends_max + self.lane_first[r]
        self.orders_max = pairs
        self.vars_max = self.g + 5 * n * r + n + 3 * r + 3 * self.acts_max + pairs + CRITERIA + 1 + r * r
        self.terms_max = self.g * (3 + 2 * r) + self.g * r
        self.mins_max = n + 3 * n * r + 2 * self.sends_max
        self.sums_max = 2 * n + (n + self.input_first[n]) * (r + 2) + self.acts_max
        # The clauses that say what being somewhere, being wanted there and being sent there have to do with each other.
        self.static_max = (HEADER + 4) * self.acts_max
        self.modes_squared = 0
        for i in range(n):
            modes = self.mode_first[i + 1] - self.mode_first[i]
            readers = self.reader_first[i + 1] - self.reader_first[i]
            self.modes_squared += modes * modes
            self.static_max += r * (modes * (24 + 16 * r) + 12 * readers + 20 * r + 40)
        self.static_max += (HEADER + 4) * self.modes_squared // 2 + TWINS * (HEADER + 6) * self.g

    def _carve(self) -> None:
        """Have room for everything."""
        n, r, g = self.n, self.r, self.g
        halves = 2 * self.vars_max
        self.initial = self._take(halves)
        self.head = self._take(halves)
        self.told_first = self._take(halves + 1)
        self.on = self._take(n * r)
        self.wanted = self._take(n * r)
        self.begin = self._take(n * r)
        self.arrive = self._take(n * r)
        self.end = self._take(n)
        self.twin = self._take(n)
        self.used = self._take(r)
        self.awake = self._take(r)
        self.sleeps = self._take(r)
        self.earliest = self._take(r)
        self.total = self._take(CRITERIA)
        self.act_first = self._take(r + 1)
        self.order_first = self._take(r + 1)
        self.act_on = self._take(self.acts_max)
        self.act_start = self._take(self.acts_max)
        self.act_took = self._take(self.acts_max)
        self.act_of = self._take(self.acts_max)
        self.act_at = self._take(self.acts_max)
        self.act_row = self._take(self.acts_max)
        self.former = self._take(self.orders_max)
        self.latter = self._take(self.orders_max)
        self.min_of = self._take(self.mins_max)
        self.min_gate = self._take(self.mins_max)
        self.min_first = self._take(self.mins_max + 1)
        self.term_mode = self._take(self.terms_max)
        self.term_a = self._take(self.terms_max)
        self.term_us = self._take(self.terms_max)
        self.term_least = self._take(self.terms_max)
        self.term_link = self._take(self.terms_max)
        self.term_b = self._take(self.terms_max)
        self.term_more = self._take(self.terms_max)
        self.sum_if = self._take(self.sums_max)
        self.sum_gate = self._take(self.sums_max)
        self.sum_of = self._take(self.sums_max)
        self.sum_from = self._take(self.sums_max)
        self.sum_plus = self._take(self.sums_max)
        self.sum_us = self._take(self.sums_max)
        self.store = self._take(self.store_max)
        self.stage_of = self._take(g)
        self.told = self._take(
            self.modes_squared
            + 5 * self.terms_max
            + 5 * self.sums_max
            + 13 * self.acts_max
            + 4 * g * (2 * self.budgets + r + 5)
            + 2 * n * r
            + 4 * r
            + 3 * self.vars_window
        )

    def _new(self, low: int, high: int) -> int:
        """A variable between two values."""
        v = self.vars
        self.vars += 1
        self.initial[2 * v] = low
        self.initial[2 * v + 1] = -high
        return v

    def _number(self) -> None:
        """Give every variable, activity and rule its number."""
        n, r = self.n, self.r
        self.vars = 0
        self.store_size = 0
        self.mins = 0
        self.terms = 0
        self.sums = 0
        for h in range(2 * self.vars_max):
            self.head[h] = -1
            self.told_first[h] = 0
        self.told_first[2 * self.vars_max] = 0
        for t in range(r):
            self.earliest[t] = 0 if self.lasting else self.opening[t]
        for _mode in range(self.g):
            self._new(0, 1)
        for i in range(n):
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                self.stage_of[g] = i
            self.end[i] = self._new(0, FAR)
        for i in range(n):
            for t in range(r):
                self._number_place(i, t)
        for i in range(n):
            for t in range(r):
                self._number_arrival(i, t)
        for t in range(r):
            wakes = 1 if self.wake_nj[t] > 0 and (self.asleep[t] or self.lasting) else 0
            self.used[t] = self._new(0, 1) if wakes else -1
            self.sleeps[t] = self._new(0, 1) if wakes and self.lasting else -1
            self.awake[t] = self._new(0, FAR) if self.awake_mw[t] > 0 else -1
        for c in range(CRITERIA):
            self.total[c] = self._new(0, FAR)
        self.priced_in = self._new(0, FAR)
        # Atoms that stand for numbers of prices and of states of the links: together, to be told from others.
        self.slow = self.vars
        if self.lasting:
            for _link in range(r * r):
                self._new(0, FAR)
        self.numbered_end = self.vars
        acts = 0
        for t in range(r):
            self.act_first[t] = acts
            acts = self._number_activities(t, acts)
            for a in range(self.act_first[t], acts):
                self.act_at[a] = t
        self.act_first[r] = acts
        self.window_start = self.vars
        self._number_window()
        for i in range(n):
            self._write_stage(i)
        for i in range(n):
            for t in range(r):
                if self.wanted[i * r + t] >= 0:
                    self._write_arrival(i, t)
        self.min_first[self.mins] = self.terms
        self.order_start = self.vars
        self._find_twins()
        for t in range(r):
            self.order_first[t] = self.vars
            self._number_orders(t)
        self.order_first[r] = self.vars
        self._write_twins()
        self.static_size = self.store_size

    # What a window has besides (`windows.py` overrides these).

    def _number_window(self) -> None:
        """Number and write down what only windows have."""

    def _waiting(self, i: int, target: int) -> int:  # noqa: ARG002
        """The variable before which stage i's output is not sent to `target`, whatever sends it; -1: none."""
        return -1

    # Of stages that could change places without any difference, the first is in no later a mode, and of two in the same
    # mode the second does not end before the first starts: every answer has one like it, as good, of which that is so.

    def _find_twins(self) -> None:
        """For each stage the last one before it that it could change places with (-1: none)."""
        for j in range(self.n):
            self.twin[j] = -1
            for i in range(j):
                if self._alike(i, j, 1):
                    self.twin[j] = i

    def _alike(self, i: int, j: int, last: int) -> int:
        """Whether all is the same for stages i and j, with what is computed for nothing but each of them.

        What reads them is the same with `last` 1, else it is one stage each, not asked about here.
        """
        if self.release[i] != self.release[j] or self._modes_alike(i, j) == 0 or self._duties_alike(i, j) == 0:
            return 0
        read = self.reader_first[i + 1] - self.reader_first[i]
        if read != self.reader_first[j + 1] - self.reader_first[j] or (last == 0 and read != 1):
            return 0
        for k in range(read if last else 0):
            if self.readers[self.reader_first[i] + k] != self.readers[self.reader_first[j] + k]:
                return 0
        count = self.input_first[i + 1] - self.input_first[i]
        if count != self.input_first[j + 1] - self.input_first[j]:
            return 0
        for k in range(count):
            a = self.inputs[self.input_first[i] + k]
            b = self.inputs[self.input_first[j] + k]
            if a != b and self._alike(a, b, 0) == 0:
                return 0
        return 1

    def _modes_alike(self, i: int, j: int) -> int:
        first = self.mode_first[i]
        more = self.mode_first[j] - first
        if self.mode_first[i + 1] - first != self.mode_first[j + 1] - self.mode_first[j]:
            return 0
        for g in range(first, self.mode_first[i + 1]):
            if (
                self.resource[g] != self.resource[g + more]
                or self.duration[g] != self.duration[g + more]
                or self.energy[g] != self.energy[g + more]
                or self.output[g] != self.output[g + more]
                or (self.memory_cap[self.resource[g]] >= 0 and self.memory[g] != self.memory[g + more])
                or self.loss[g] != self.loss[g + more]
            ):
                return 0
        return 1

    def _duties_alike(self, i: int, j: int) -> int:
        """Whether two stages have the same deadline, one or none, and count in the same budgets."""
        mine = -1
        other = -1
        for d in range(self.deadlines):
            if self.due_stage[d] == i:
                if mine >= 0:
                    return 0
                mine = d
            if self.due_stage[d] == j:
                if other >= 0:
                    return 0
                other = d
        if mine < 0 or other < 0:
            if mine != other:
                return 0
        elif self.due[mine] != self.due[other] or self.weight[mine] != self.weight[other]:
            return 0
        for b in range(self.budgets):
            count = 0
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                if self.budget_stage[m] == i:
                    count += 1
                if self.budget_stage[m] == j:
                    count -= 1
            if count != 0:
                return 0
        return 1

    def _write_twins(self) -> None:
        for j in range(self.n):
            i = self.twin[j]
            if i >= 0:
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    for h in range(self.mode_first[j], g + self.mode_first[j] - self.mode_first[i]):
                        self._either(2 * g + 1, 2 * h + 1)
            for _pair in range(TWINS):
                if i >= 0:
                    self._write_turns(i, j)
                    i = self.twin[i]

    def _write_turns(self, i: int, j: int) -> None:
        """In the same mode, stage j does not end before i starts."""
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            t = self.resource[g]
            if self.order_first[t] < self.order_first[t + 1]:
                self._clause_begin()
                self._clause_add(2 * g + 1)
                self._clause_add(2 * (g + self.mode_first[j] - self.mode_first[i]) + 1)
                # Of two activities the order that the later one's row has says whether it comes first.
                self._clause_add(2 * (self.act_row[self._activity_of(j, t)] + self._activity_of(i, t)) + 1)
                self._clause_end()

    def _activity_of(self, i: int, t: int) -> int:
        for a in range(self.act_first[t], self.act_first[t + 1]):
            if self.act_of[a] == i:
                return a
        return -1

    def _number_orders(self, t: int) -> None:
        """An order for every two activities of resource t; two with several lanes: it may be that neither is first."""
        users = self.act_first[t + 1] - self.act_first[t]
        lanes = self.lane_first[t + 1] - self.lane_first[t]
        if lanes == 0 or users <= lanes:
            return
        for a in range(self.act_first[t], self.act_first[t + 1]):
            # So that what is added to it to have the order of two is the number of the other.
            self.act_row[a] = self.vars - self.act_first[t]
            for b in range(self.act_first[t], a if lanes == 1 else self.act_first[t + 1]):
                v = self._new(0, 1)
                self.former[v - self.order_start] = a
                self.latter[v - self.order_start] = b

    def _number_place(self, i: int, t: int) -> None:
        """Whether stage i is on t (`on`: the mode's own variable where there is one only) and when it would start."""
        x = i * self.r + t
        self.on[x] = -1
        self.begin[x] = -1
        modes = 0
        last = -1
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.resource[g] == t:
                modes += 1
                last = g
        if modes == 0:
            return
        self.begin[x] = self._new(max(self.release[i], self.earliest[t]), FAR)
        self.on[x] = last
        if modes > 1:
            self.on[x] = self._new(0, 1)
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.resource[g] == t:
                    self._either(2 * g + 1, 2 * self.on[x])
            self._clause_begin()
            self._clause_add(2 * self.on[x] + 1)
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.resource[g] == t:
                    self._clause_add(2 * g)
            self._clause_end()
            self._clause_begin()
            self._clause_add(2 * self.on[x])
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.resource[g] != t:
                    self._clause_add(2 * g)
            self._clause_end()

    def _number_arrival(self, i: int, t: int) -> None:
        """Whether the output of stage i is wanted at t (`wanted`), and when it is there."""
        r = self.r
        x = i * r + t
        self.wanted[x] = -1
        self.arrive[x] = -1
        readers = 0
        last = -1
        for c in range(self.reader_first[i], self.reader_first[i + 1]):
            if self.on[self.readers[c] * r + t] >= 0:
                readers += 1
                last = self.on[self.readers[c] * r + t]
        if readers == 0:
            return
        self.arrive[x] = self._new(0, FAR)
        self.wanted[x] = last
        if readers > 1:
            self.wanted[x] = self._new(0, 1)
            for c in range(self.reader_first[i], self.reader_first[i + 1]):
                there = self.on[self.readers[c] * r + t]
                if there >= 0:
                    self._either(2 * there + 1, 2 * self.wanted[x])
            self._clause_begin()
            self._clause_add(2 * self.wanted[x] + 1)
            for c in range(self.reader_first[i], self.reader_first[i + 1]):
                there = self.on[self.readers[c] * r + t]
                if there >= 0:
                    self._clause_add(2 * there)
            self._clause_end()
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.send_us[g * r + t] < 0:
                self._either(2 * g + 1, 2 * self.wanted[x] + 1)

    def _number_activities(self, t: int, acts: int) -> int:
        """Everything that could occupy resource t: stages, sendings, and lanes that open later than the first."""
        r = self.r
        for i in range(self.n):
            if self.on[i * r + t] >= 0:
                self.act_on[acts] = self.on[i * r + t]
                self.act_start[acts] = self.begin[i * r + t]
                self.act_of[acts] = i
                self.act_took[acts] = self._length(i, -1, t)
                self._write_used(acts, t)
                acts += 1
        for i in range(self.n):
            for target in range(r):
                if self.wanted[i * r + target] >= 0 and self._sends_over(i, target, t):
                    self.act_on[acts] = self._whether_sent(i, target, t)
                    self.act_start[acts] = self._new(self.earliest[t], FAR)
                    self.act_of[acts] = self.n + i * r + target
                    self.act_took[acts] = self._length(i, target, t)
                    self._write_used(acts, t)
                    acts += 1
        for lane in range(self.lane_first[t], self.lane_first[t + 1]):
            # Which lane is the first to open differs from one problem to the next, but one is.
            if lane > self.lane_first[t] if self.lasting else self.open[lane] > self.opening[t]:
                self.act_on[acts] = -1
                self.act_start[acts] = self._new(0, 0)
                self.act_took[acts] = self._new(0 if self.lasting else self.open[lane], FAR)
                self.act_of[acts] = -1
                acts += 1
        return acts

    def _over(self, g: int, target: int, radio: int) -> int:
        """Whether mode g's output goes to `target` over `radio`; `target` -1: whether the mode runs on it."""
        t: int = self.resource[g]
        if target < 0:
            return 1 if t == radio else 0
        if t == target or self.send_us[g * self.r + target] < 0:
            return 0
        return 1 if self.links[6 * (t * self.r + target) + 5] == radio else 0

    def _sends_over(self, i: int, target: int, radio: int) -> int:
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._over(g, target, radio):
                return 1
        return 0

    def _whether_sent(self, i: int, target: int, radio: int) -> int:
        """The variable for stage i's output going to `target` over `radio`: wanted there, and in such a mode."""
        want: int = self.wanted[i * self.r + target]
        others = 0
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._over(g, target, radio) == 0:
                others += 1
        if others == 0:
            return want
        p = self._new(0, 1)
        self._either(2 * p + 1, 2 * want)
        self._clause_begin()
        self._clause_add(2 * p + 1)
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._over(g, target, radio):
                self._clause_add(2 * g)
        self._clause_end()
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._over(g, target, radio):
                self._clause_begin()
                self._clause_add(2 * want + 1)
                self._clause_add(2 * g + 1)
                self._clause_add(2 * p)
                self._clause_end()
        return p

    def _length(self, i: int, target: int, t: int) -> int:
        """How long an activity on t takes: stage i itself (`target` -1), or the sending of its output."""
        r = self.r
        v = self._new(0, FAR)
        low = FAR
        high = 0
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._over(g, target, t):
                took = self.duration[g] if target < 0 else self.send_us[g * r + target]
                low = min(low, took)
                high = max(high, took)
        changes = 1 if self.lasting and target >= 0 else 0
        self.initial[2 * v] = 0 if changes else low
        if low < high or changes:
            self._min(v, -1)
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self._over(g, target, t):
                    if target < 0:
                        self._term(g, -1, self.duration[g], -1, -1)
                    else:
                        self._term(g, -1, 0, -1, self.resource[g] * r + target)
        return v

    def _write_used(self, act: int, t: int) -> None:
        """What is on resource t uses it, and keeps it awake until it ends."""
        if self.used[t] >= 0:
            self._either(2 * self.act_on[act] + 1, 2 * self.used[t])
        if self.awake[t] >= 0:
            self._sum(2 * self.act_on[act], -1, self.awake[t], self.act_start[act], self.act_took[act], 0)

    def _write_stage(self, i: int) -> None:
        """When stage i ends: in the mode that ends first, and after whatever ends before its inputs are there."""
        r = self.r
        shortest = FAR
        self._min(self.end[i], -1)
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            self._term(g, self.begin[i * r + self.resource[g]], self.duration[g], -1, -1)
            shortest = min(shortest, self.duration[g])
        for p in range(self.input_first[i], self.input_first[i + 1]):
            producer = self.inputs[p]
            self._sum(-1, -1, self.end[i], self.end[producer], -1, shortest)
            for t in range(r):
                if self.on[i * r + t] >= 0:
                    self._sum(-1, self.on[i * r + t], self.begin[i * r + t], self.arrive[producer * r + t], -1, 0)

    def _write_arrival(self, i: int, t: int) -> None:
        """When the output of stage i is at t, and when each radio that could bring it there starts sending."""
        r = self.r
        x = i * r + t
        least = FAR
        self._min(self.arrive[x], self.wanted[x])
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            u = self.resource[g]
            took = self.send_us[g * r + t]
            if took < 0:
                continue
            link = 6 * (u * r + t)
            after = took + self.links[link + 1] if u != t else 0
            least = min(least, after)
            q = -1
            if u != t:
                q = self._sending(i, t, self.links[link + 5]) if self.links[link + 5] >= 0 else self._waiting(i, t)
            self._term(g, self.begin[i * r + u], self.duration[g], q, -1 if u == t else u * r + t)
        if least < FAR:
            self._sum(-1, self.wanted[x], self.arrive[x], self.end[i], -1, 0 if self.lasting else least)
        for radio in range(r):
            if self._sends_over(i, t, radio):
                self._min(self._sending(i, t, radio), self.wanted[x])
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self._over(g, t, radio):
                        self._term(g, self.begin[i * r + self.resource[g]], self.duration[g], -1, -1)

    def _sending(self, i: int, target: int, radio: int) -> int:
        """The variable for when stage i's output starts to be sent to `target` over `radio`."""
        for a in range(self.act_first[radio], self.act_first[radio + 1]):
            if self.act_of[a] == self.n + i * self.r + target:
                return self.act_start[a]
        return -1

    def _min(self, v: int, gate: int) -> None:
        """Begin a rule: v is no less than the least of the terms that follow whose modes are possible.

        It says nothing to anyone where the variable `gate` is 0 (-1: always of use).
        """
        self.min_of[self.mins] = v
        self.min_gate[self.mins] = gate
        self.min_first[self.mins] = self.terms
        self.mins += 1

    def _term(self, g: int, a: int, us: int, b: int, link: int) -> None:
        """In mode g: the later of (variable a) + us and (variable b), and then over a link (-1: none).

        a or b -1: us alone, or no second; us alone is how long it takes to send, without the latency.
        """
        self.term_mode[self.terms] = g
        self.term_a[self.terms] = a
        self.term_least[self.terms] = us
        self.term_us[self.terms] = us
        self.term_b[self.terms] = b
        self.term_more[self.terms] = 0
        self.term_link[self.terms] = link
        self.terms += 1

    def _time_links(self) -> None:
        """Let the terms take as long as the links do."""
        for m in range(self.terms):
            link = self.term_link[m]
            if link >= 0:
                more = self.send_us[self.term_mode[m] * self.r + link % self.r]
                if self.term_a[m] >= 0:
                    more += self.links[6 * link + 1]
                self.term_us[m] = self.term_least[m] + more
                self.term_more[m] = more

    def _sum(self, condition: int, gate: int, v: int, a: int, plus: int, us: int) -> None:
        """A rule: v is no less than a + plus + us (plus -1: none) where the half `condition` holds (-1: always).

        It says nothing to anyone where the variable `gate` is 0 (-1: always of use).
        """
        self.sum_if[self.sums] = condition
        self.sum_gate[self.sums] = gate
        self.sum_of[self.sums] = v
        self.sum_from[self.sums] = a
        self.sum_plus[self.sums] = plus
        self.sum_us[self.sums] = us
        self.sums += 1

    def _fill(self) -> None:
        """Write down whom a change of each half is told to: first how many, then who."""
        # Rules are numbered: mins, sums, stages, resources' lanes, activities, resources' loads, memory caps, budgets,
        # loss, tardiness, energy, a window's energy. What comes from the lanes on is looked at when nothing before it
        # has more to say.
        self.rule_sum = self.mins
        self.rule_stage = self.rule_sum + self.sums
        self.rule_lanes = self.rule_stage + self.n
        self.rule_activity = self.rule_lanes + self.r
        self.rule_load = self.rule_activity + self.act_first[self.r]
        self.rule_memory = self.rule_load + self.r
        self.rule_budget = self.rule_memory + self.r
        self.rule_loss = self.rule_budget + self.budgets
        self.rule_late = self.rule_loss + 1
        self.rule_energy = self.rule_late + 1
        self.rule_priced = self.rule_energy + 1
        self.rule_window = self.rule_priced + 1
        self.rules = self.rule_window + 1
        self.telling = 0
        self._subscribe()
        for h in range(2 * self.vars):
            self.told_first[h + 1] += self.told_first[h]
        self.telling = 1
        self._subscribe()

    def _tell(self, h: int, rule: int) -> None:
        if self.telling:
            self.told_first[h] -= 1
            self.told[self.told_first[h]] = rule
        else:
            self.told_first[h] += 1

    def _subscribe(self) -> None:
        r = self.r
        for q in range(self.mins):
            self._tell(2 * self.min_of[q] + 1, q)
            for m in range(self.min_first[q], self.min_first[q + 1]):
                g = self.term_mode[m]
                self._tell(2 * g, q)
                self._tell(2 * g + 1, q)
                if self.term_a[m] >= 0:
                    self._tell(2 * self.term_a[m], q)
                if self.term_b[m] >= 0:
                    self._tell(2 * self.term_b[m], q)
        for q in range(self.sums):
            rule = self.rule_sum + q
            if self.sum_if[q] >= 0:
                self._tell(self.sum_if[q], rule)
            self._tell(2 * self.sum_from[q], rule)
            if self.sum_plus[q] >= 0:
                self._tell(2 * self.sum_plus[q], rule)
            self._tell(2 * self.sum_of[q] + 1, rule)
        for g in range(self.g):
            self._tell(2 * g, self.rule_stage + self.stage_of[g])
            self._tell(2 * g + 1, self.rule_stage + self.stage_of[g])
            self._tell(2 * g + 1, self.rule_energy)
            self._tell(2 * g + 1, self.rule_priced)
            self._tell(2 * g + 1, self.rule_loss)
            if self.memory_cap[self.resource[g]] >= 0:
                for h in range(self.mode_first[self.stage_of[g]], self.mode_first[self.stage_of[g] + 1]):
                    if h != g:
                        self._tell(2 * h + 1, self.rule_memory + self.resource[g])
        for b in range(self.budgets):
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                i = self.budget_stage[m]
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    self._tell(2 * g + 1, self.rule_budget + b)
        for d in range(self.deadlines):
            self._tell(2 * self.end[self.due_stage[d]], self.rule_late)
        for x in range(self.n * r):
            if self.wanted[x] >= 0:
                self._tell(2 * self.wanted[x], self.rule_energy)
                self._tell(2 * self.wanted[x], self.rule_priced)
        for t in range(r):
            if self.used[t] >= 0:
                self._tell(2 * self.used[t], self.rule_energy)
                self._tell(2 * self.used[t], self.rule_priced)
            if self.awake[t] >= 0:
                self._tell(2 * self.awake[t], self.rule_energy)
                self._tell(2 * self.awake[t], self.rule_priced)
            if self.order_first[t] < self.order_first[t + 1]:
                for a in range(self.act_first[t], self.act_first[t + 1]):
                    self._tell_of_activity(a, self.rule_activity + a)
                    self._tell_of_activity(a, self.rule_load + t)
                    if self.act_on[a] >= 0:
                        self._tell(2 * self.act_on[a] + 1, self.rule_activity + a)
                    if self.lane_first[t + 1] - self.lane_first[t] > 1:
                        self._tell_of_activity(a, self.rule_lanes + t)

    def _tell_of_activity(self, a: int, rule: int) -> None:
        if self.act_on[a] >= 0:
            self._tell(2 * self.act_on[a], rule)
        self._tell(2 * self.act_start[a], rule)
        self._tell(2 * self.act_start[a] + 1, rule)
        self._tell(2 * self.act_took[a], rule)

    # Clauses. In `store`: how many atoms, the next clause of either watched atom's list, how many levels (0: never
    # forgotten), how many of the atoms are open at the root, in which problem it last said something; then the atoms,
    # the two watched ones first, those false at the root last. A list is that of the half that makes its atoms false.

    def _clause_begin(self) -> None:
        self.clause = self.store_size
        self.store_size += HEADER

    def _clause_atom(self, h: int, value: int) -> None:
        self.store[self.store_size] = h
        self.store[self.store_size + 1] = value
        self.store_size += 2

    def _clause_add(self, h: int) -> None:
        """Add the atom that a variable of 0 or 1 is 1 (its even half) or 0 (its odd half)."""
        self._clause_atom(h, 1 - (h & 1))

    def _clause_end(self) -> None:
        c = self.clause
        self.store[c] = (self.store_size - c - HEADER) // 2
        self.store[c + 3] = 0
        self.store[c + 4] = self.store[c]
        self.store[c + 5] = self.turn
        self._watch(c)

    def _either(self, h: int, other: int) -> None:
        """A clause of two such atoms."""
        self._clause_begin()
        self._clause_add(h)
        self._clause_add(other)
        self._clause_end()

    def _watch(self, c: int) -> None:
        if self.store[c + 4] < 2:
            return
        for s in range(2):
            h = self.store[c + HEADER + 2 * s] ^ 1
            self.store[c + 1 + s] = self.head[h]
            self.head[h] = 2 * c + s
