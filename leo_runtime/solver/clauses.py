"""Branch and bound that learns: every dead end leaves a clause, so no reason for failing is met twice.

Lazy clause generation (Ohrimenko, Stuckey and Codish, 2009). An *atom* says that a variable is at least, or at most,
some value; rules of the placement problem deduce atoms from atoms and say why; a contradiction is traced back through
those reasons to a clause that forbids it (the first unique implication point; Marques-Silva and Sakallah, 1999).
One source, compiled (types in `clauses.pxd`) or interpreted, as `kernel.py` is.

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

from collections.abc import MutableSequence
from typing import Any

try:
    import cython
except ImportError:
    from leo_runtime.solver import uncompiled as cython

COMPILED: bool = cython.compiled

Ints = MutableSequence[int]

FAR = int("1" + "0" * (18 if COMPILED else 60))
"""Later and dearer than anything of a problem, as in `kernel.py`."""

SCALE = 1 << 6
"""The kernel's prices count energy in 1/64 nJ."""
HEADER = 6
"""What stands before a clause's atoms (see `_clause_begin`)."""
VARIABLES = 1 << 20
"""A problem of more, as a thousand stages have for their orders, is too large to be searched here."""
LASTING = 1 << 15
"""Room for the learned clauses that last from one problem to the next."""
STORE = 1 << 20
"""Room for learned clauses, in integers."""
ARENA = 1 << 20
"""Room for the reasons of what is known at the moment."""
RESTART = 64
"""Dead ends in one unit of Luby's series."""
BUMP = 1 << 10
"""What having part in a dead end adds to a variable's activity at first; a thirty-second more each time."""
HIGH = 1 << 50
"""Where what is added is scaled down, and all activities with it."""
CRITERIA = 4
"""The criteria there are."""
RUNS = 1 << 10
"""How many sets of prices are remembered; all that is learned is forgotten when there are more."""
SPARE_RUNS = 1 << 7
"""For how many more there should be room as a problem begins."""
STATES = 1 << 8
"""How many states of the links are remembered."""
LINK = 4
"""The numbers of a link: latency, rate, and what it costs a time and a byte."""
TWINS = 16
"""With how many of the stages that are like it, at most, a stage's turn is fixed."""
KEPT = 2
"""Clauses whose atoms are of this many levels or fewer are kept while a problem is searched."""


_spare: list[Any] = []
"""Working space of searches that are over, for the next ones: having the system map it costs more than filling it."""


def _room(size: int) -> Any:
    """Working space for so many integers, of 64 bits where compiled, else of any size; with what was left in it."""
    if not COMPILED:
        return [0] * size
    block = _spare.pop() if _spare else b""
    if len(block) >= size:
        return block
    from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

    # Much of it is never touched, and costs nothing until it is.
    return memoryview(mmap(-1, 8 * size, MAP_PRIVATE | MAP_ANONYMOUS)).cast("q")


class ClauseSearch:
    """The search of a `Kernel`'s problem. It begins from the kernel's answer, and leaves its own there."""

    def __init__(self, kernel: Any, lasting: bool = False) -> None:
        """Search one problem; with `lasting` also others of the same shape (see `turn_to`)."""
        self.lasting = 1 if lasting else 0
        self._share(kernel)
        self._count()
        self.room: Any = None
        self.visited = 0
        self.failures = 0
        self.stamp = 0
        self.full = 0
        self.crowded = 0
        self.runs = 0
        self.states = 0
        self.turn = 0
        self.heat = 0
        self._charge(0)
        if self.vars_max > VARIABLES:
            return
        # Once to see how much room everything takes, once to have it.
        self.measuring = 1
        self.at = 0
        self._carve()
        # As it came, and as it is worked on: of a view made anew each time, every search would leave one more.
        self.room = _room(self.at)
        self.block = self.room
        self.measuring = 0
        self.at = 0
        self._carve()
        with cython.nogil:
            self._number()
            self._fill()
            if self.lasting == 0:
                self._time_links()
            self._see_common()
            if self.lasting:
                self._see_links()
            self._base()

    def turn_to(self, kernel: Any) -> None:
        """Search this kernel's problem from now on, with all that was learned of those before.

        It may differ from them in when lanes are ready, in what sleeps, and in what links take and cost.
        """
        assert (kernel.stages, kernel.resources, kernel.choices) == (self.n, self.r, self.g)
        self._share(kernel)
        self.turn += 1
        with cython.nogil:
            if self.store_size - self.static_size > LASTING:
                self._forget_unused()
            if self.runs > RUNS - SPARE_RUNS or self.states == STATES:
                self._renumber()
            self._see_links()
            self._base()

    @property
    def too_large(self) -> bool:
        """Whether the problem has too many variables to be searched; then nothing else may be asked."""
        return bool(self.vars_max > VARIABLES)

    def __del__(self) -> None:
        """Leave the working space to the next search."""
        if COMPILED and self.room is not None:
            _spare.append(self.room)

    def _share(self, kernel: Any) -> None:
        """The kernel's own arrays: the problem, the caps, and what it knows."""
        self.kernel = kernel
        self.n = self.kernel.n
        self.r = self.kernel.r
        self.g = self.kernel.g
        self.deadlines = self.kernel.deadlines
        self.budgets = self.kernel.budgets
        self.criteria = self.kernel.criteria
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
        self.budget_max = self.kernel.budget_max
        self.limit = self.kernel.limit
        self.objective = self.kernel.objective
        self.open = self.kernel.open
        self.opening = self.kernel.opening
        self.send_us = self.kernel.send_us
        self.send_nj = self.kernel.send_nj
        self.cap = self.kernel.cap
        self.proved = self.kernel.bound
        self.halted = self.kernel.halted
        self.alive = self.kernel.alive
        self.penalty = self.kernel.penalty
        self.awake_price = self.kernel.awake_price
        self.best_mode = self.kernel.best_mode
        self.best_result = self.kernel.best_result
        self.answer_mode = self.kernel.mode
        self.answer_start = self.kernel.by

    def _take(self, count: int) -> Ints:
        self.at += count
        first = self.at - count
        array: Ints = self.lane_first
        if self.measuring == 0:
            array = cython.address(self.block[first]) if cython.compiled else self.block[first : self.at]
        return array

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
        self.store_max = self.static_max + STORE
        self.trail_max = 64 * (self.g + 4 * n * r) + 4 * self.vars_max + 4096
        # What one reason may have, which is looked at before it is begun: stages' modes with their sendings, or orders.
        lanes = 0
        for t in range(r):
            lanes = max(lanes, self.lane_first[t + 1] - self.lane_first[t])
        reason = 3 * (self.g * (2 * r + 2) + 2 * r + self.deadlines + (lanes + 2) * (lanes + 2) + 16)
        self.reasons_max = ARENA * (1 + n // 32)
        self.arena_max = self.reasons_max + reason

    def _carve(self) -> None:
        n, r, g, v = self.n, self.r, self.g, self.vars_max
        halves = 2 * v
        self.bound = self._take(halves)
        self.root = self._take(halves)
        self.common = self._take(halves)
        self.base_bound = self._take(halves)
        self.first = self._take(halves)
        self.newest = self._take(halves)
        self.head = self._take(halves)
        self.need = self._take(halves)
        self.place = self._take(halves)
        self.inside = self._take(halves)
        self.told_first = self._take(halves + 1)
        self.given = self._take(halves)
        self.given_need = self._take(halves)
        self.given_list = self._take(halves)
        self.activity = self._take(v)
        self.phase = self._take(v)
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
        self.most = self._take(CRITERIA)
        self.run_cap = self._take(CRITERIA * RUNS)
        self.run_asleep = self._take(r * RUNS)
        self.run_state = self._take(RUNS)
        self.run_new = self._take(RUNS + 1)
        self.state_link = self._take(LINK * r * r * STATES if self.lasting else 0)
        self.state_new = self._take(STATES + 1)
        self.kept = self._take(CRITERIA * (2 * g + r + 2))
        self.kept_run = self._take(CRITERIA)
        self.lane_opens = self._take(self.lane_first[r])
        self.opens_first = self._take(r)
        self.act_first = self._take(r + 1)
        self.order_first = self._take(r + 1)
        self.act_on = self._take(self.acts_max)
        self.act_start = self._take(self.acts_max)
        self.act_took = self._take(self.acts_max)
        self.act_of = self._take(self.acts_max)
        self.act_at = self._take(self.acts_max)
        self.act_row = self._take(self.acts_max)
        self.listed = self._take(self.acts_max)
        self.where = self._take(self.acts_max)
        self.common_lists = self._take(self.acts_max + 2 * r)
        self.base_lists = self._take(self.acts_max + 2 * r)
        self.shown = self._take(r)
        self.there = self._take(r)
        self.gone = self._take(2 * self.acts_max)
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
        self.trail_half = self._take(self.trail_max)
        self.trail_value = self._take(self.trail_max)
        self.trail_before = self._take(self.trail_max)
        self.trail_last = self._take(self.trail_max)
        self.trail_reason = self._take(self.trail_max)
        self.trail_level = self._take(self.trail_max)
        self.arena = self._take(self.arena_max)
        self.level_trail = self._take(v + 1)
        self.level_arena = self._take(v + 1)
        self.level_gone = self._take(v + 1)
        self.store = self._take(self.store_max)
        self.set_list = self._take(2 * v + self.trail_max)
        self.cause = self._take(max(2 * halves, self.arena_max - self.reasons_max))
        self.stage_of = self._take(g)
        self.cost = self._take(g)
        self.low = self._take(n)
        self.base = self._take(n)
        rules = self.mins_max + self.sums_max + n + self.acts_max + 3 * r + self.budgets + 5
        self.queue = self._take(rules + 1)
        self.heavy = self._take(rules + 1)
        self.queued = self._take(rules)
        self.told = self._take(
            self.modes_squared
            + 5 * self.terms_max
            + 5 * self.sums_max
            + 13 * self.acts_max
            + 4 * g * (2 * self.budgets + r + 5)
            + 2 * n * r
            + 4 * r
        )
        self.over = self._take(self.acts_max)
        self.surely = self._take(self.acts_max)
        self.level_seen = self._take(v + 1)

    def _new(self, low: int, high: int) -> int:
        """A variable between two values."""
        v = self.vars
        self.vars += 1
        self.first[2 * v] = low
        self.first[2 * v + 1] = -high
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
        for v in range(self.vars_max):
            self.phase[v] = 0
            self.level_seen[v] = 0
            self.activity[v] = 0
        self.level_seen[self.vars_max] = 0
        self.bump = BUMP
        for c in range(CRITERIA):
            self.kept_run[c] = 0
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
            self.most[c] = self._new(0, FAR)
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
                or self.memory[g] != self.memory[g + more]
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
                self._clause_add(self._before(self._activity_of(j, t), self._activity_of(i, t)) ^ 1)
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
        if users <= lanes:
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
        self.first[2 * v] = 0 if changes else low
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
            if u != t and self.links[link + 5] >= 0:
                q = self._sending(i, t, self.links[link + 5])
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
        # loss, tardiness, energy. What comes from the lanes on is looked at when nothing before it has anything left to say.
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
        self.rules = self.rule_priced + 1
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

    # A resource's activities are listed: first those that surely take place, then those that may (`shown` in all), then
    # those that do not. Each move is noted in `gone`, and undone with the decision that led to it: the last one moved
    # is still at the edge it was moved across.

    def _swap(self, m: int, o: int) -> None:
        a = self.listed[m]
        b = self.listed[o]
        self.listed[m] = b
        self.listed[o] = a
        self.where[b] = m
        self.where[a] = o

    def _drop(self, a: int) -> None:
        """Activity a does not take place."""
        t = self.act_at[a]
        last = self.act_first[t] + self.shown[t] - 1
        if self.where[a] <= last:
            self._swap(self.where[a], last)
            self.shown[t] -= 1
            self.gone[self.gone_size] = 2 * t
            self.gone_size += 1

    def _admit(self, a: int) -> None:
        """Activity a surely takes place."""
        t = self.act_at[a]
        next_one = self.act_first[t] + self.there[t]
        if self.where[a] >= next_one:
            self._swap(self.where[a], next_one)
            self.there[t] += 1
            self.gone[self.gone_size] = 2 * t + 1
            self.gone_size += 1

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

    def _holds(self, h: int) -> int:
        """Whether a variable of 0 or 1 is known to be 1 (its even half) or 0 (its odd half)."""
        return 1 if self.bound[h] + (h & 1) >= 1 else 0

    # Search

    def search(self, limit_nodes: int) -> int:
        """Minimise the criteria that the kernel has not proved yet. Returns 2 when proved, 1 when stopped.

        A node is a decision or a conflict. What was learned in searches before this one is still known.
        """
        with cython.nogil:
            return self._search(limit_nodes)

    def recall(self) -> int:
        """See whether what is known already proves the kernel's answer the best. Returns 2 if so, 1 if it does not.

        The kernel then has the bounds that this, or its root, proves. It must have an answer.
        """
        with cython.nogil:
            return self._recall()

    @property
    def nodes(self) -> int:
        """How many nodes the last search took, or takes so far."""
        return self.visited

    @property
    def conflicts(self) -> int:
        """How many of them were dead ends."""
        return self.failures

    def _search(self, limit_nodes: int) -> int:
        self.visited = 0
        self.failures = 0
        self.limit_nodes = limit_nodes
        self._limit_caps()
        for m in range(self.criteria):
            c = self.objective[m]
            if self.kernel.has_best == 0 or self.proved[m] < self.best_result[c]:
                before = self.best_result[c] if self.kernel.has_best else -1
                self.target = c
                self.floor = self.proved[m]
                ended = self._minimise(c)
                if self.kernel.has_best == 0:
                    return 2 if ended else 1
                if ended:
                    self.proved[m] = self.best_result[c]
                else:
                    self.proved[m] = max(self.proved[m], min(self._least(c), self.best_result[c]))
                if self.best_result[c] != before:
                    # The later bounds were for other values of the criteria before them.
                    self.cap[c] = self.best_result[c]
                    self.kernel._bound_from(m + 1)
                if ended == 0:
                    return 1
            self.cap[c] = self.best_result[c]
        return 2

    def _least(self, c: int) -> int:
        """What criterion c comes to at least in an answer better than the best, as far as is known at the root."""
        self._cancel(0)
        least = 0
        if c == 0:
            for d in range(self.deadlines):
                late = self.bound[2 * self.end[self.due_stage[d]]] - self.due[d]
                least += self.weight[d] * max(late, 0)
        elif c == 1:
            for charged in range(2 if self.kernel.rows > 0 else 1):
                left = self._energy_left(charged)
                if left < FAR:
                    least = max(least, self.cap[1] - left // self.scale)
        elif c == 2:
            for i in range(self.n):
                least = max(least, self.bound[2 * self.end[i]])
        else:
            for i in range(self.n):
                low = FAR
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self._holds(2 * g + 1) == 0:
                        low = min(low, self.loss[g])
                least += low
        return least

    def _limit_caps(self) -> None:
        for c in range(CRITERIA):
            self.cap[c] = self.limit[c] if self.limit[c] >= 0 else FAR

    def _recall(self) -> int:
        self._limit_caps()
        for m in range(self.criteria):
            c = self.objective[m]
            self.cap[c] = self.best_result[c] - 1
            self.target = c
            self.full = 0
            possible = 1
            if self.runs < RUNS:
                possible = 1 if self._start() and self._recall_prices() and self._see_caps(0) else 0
                # The search may go on from here.
                self.recalled = 1 if possible and self.full == 0 else 0
            if possible or self.full:
                self.kernel._bound_from(m)
                return 1
            self.proved[m] = self.best_result[c]
            self.cap[c] = self.best_result[c]
        return 2

    def _see_caps(self, watched: int) -> int:
        """At the root: all that follows from the caps and from what was learned. Returns 0 for no answer.

        `watched` says whether every clause is watched already.
        """
        if self._cap_all() == 0 or (watched == 0 and self._watch_all(self.store_size) == 0) or self._propagate() == 0:
            return 0
        self._settle()
        return 1

    def _minimise(self, c: int) -> int:
        """Search until no answer is better in criterion c. Returns 0 when stopped."""
        watched = self.recalled
        if watched == 0 and self._start() == 0:
            return 1
        self.recalled = 0
        if self.kernel.has_best:
            self._follow()
            self.cap[c] = self.best_result[c] - 1
        if self._begin_anew(watched) == 0:
            return 0 if self.full else 1
        priced = self.cap[c]
        run = 1
        left = RESTART
        met = self.failures
        while True:
            if self.visited > self.limit_nodes or self.halted[0]:
                return 0
            self.visited += 1
            chosen = self._choose()
            if chosen == -1:
                self._found()
                if self.kernel._adopt() == 0:
                    return 0
                if self.best_result[c] <= self.floor:
                    return 1
                self.cap[c] = self.best_result[c] - 1
                if c == 2:
                    # This cap is known by what it does to every stage's end, which has no reason but at the root.
                    self._cancel(0)
                if self._cap_all() == 0:
                    return 0 if self.full else 1
            if chosen >= 0:
                self._decide(chosen)
            fine = 0 if chosen == -2 else self._propagate()
            while fine == 0:
                if self.full:
                    break
                self.visited += 1
                left -= 1
                if self._learn() == 0:
                    return 1
                # The levels gone back to may not have seen the cap as it is now.
                self._wake_caps()
                fine = self._propagate()
                if self.visited > self.limit_nodes or self.halted[0]:
                    return 0
            if self.full and (self.level == 0 or self.failures == met):
                # No room for what follows at the root, or from decisions without a dead end to learn from.
                return 0
            if left <= 0 or self.full or self.crowded:
                run += 1
                left = RESTART * self._luby(run)
                met = self.failures
                self._cancel(0)
                self.full = 0
                self.crowded = 0
                if self.store_size - self.static_size > STORE // 2:
                    self._forget()
                    if self._watch_all(self.store_size) == 0 or self._propagate() == 0:
                        return 0 if self.full else 1
                if self.cap[c] != priced:
                    priced = self.cap[c]
                    if self._begin_anew(0) == 0:
                        return 0 if self.full else 1
            if self.level == 0:
                self._settle()

    def _begin_anew(self, watched: int) -> int:
        """At the root, for the caps as they are: the kernel's prices, and all that follows. Returns 0 for no answer."""
        if self.runs == RUNS:
            self._forget_all()
            if self.lasting:
                self._see_links()
            if self._watch_all(self.store_size) == 0:
                return 0
        return 1 if self._price() and self._drop_dead() and self._see_caps(watched) else 0

    def _price(self) -> int:
        """Let the kernel set its prices for the caps as they are. Returns 0 if it finds that there is no answer."""
        if self.lasting == 0:
            possible: int = self.kernel._price_root()
            self._note_run()
            return possible
        # Prices for lanes that are all ready at once hold whenever they are.
        for lane in range(self.lane_first[self.r]):
            self.lane_opens[lane] = self.open[lane]
            self.open[lane] = 0
        for t in range(self.r):
            self.opens_first[t] = self.opening[t]
            if self.opening[t] < FAR:
                self.opening[t] = 0
        possible = self.kernel._price_root()
        for lane in range(self.lane_first[self.r]):
            self.open[lane] = self.lane_opens[lane]
        for t in range(self.r):
            self.opening[t] = self.opens_first[t]
        self._note_run()
        if possible and self.kernel.rows > 0:
            self._keep_prices()
        return possible

    def _note_run(self) -> None:
        """Number the kernel's prices, or that there are none, and write down for which problems they hold."""
        for c in range(CRITERIA):
            self.run_cap[CRITERIA * self.runs + c] = self.cap[c]
        for t in range(self.r):
            self.run_asleep[self.r * self.runs + t] = self.asleep[t]
        self.run_state[self.runs] = self.states
        self.runs += 1
        # The last prices hold for no more problems than those before them that hold for this one.
        self.bound[2 * self.priced_in] = self.runs
        self.root[2 * self.priced_in] = self.runs

    def _keep_prices(self) -> None:
        """Remember the prices, and the modes that they rule out, for when this criterion is next minimised."""
        first = self.target * (2 * self.g + self.r + 2)
        self.kept_run[self.target] = self.runs
        for g in range(self.g):
            self.kept[first + g] = self.penalty[g]
            self.kept[first + self.g + g] = self.alive[g]
        first += 2 * self.g
        for t in range(self.r):
            self.kept[first + t] = self.awake_price[t]
        self.kept[first + self.r] = self.kernel.row_credit
        self.kept[first + self.r + 1] = self.kernel.rows

    def _recall_prices(self) -> int:
        """Set the prices kept if they hold, else none. Returns 0 if there is no answer within the caps."""
        self.kernel._clear_prices()
        run = self.kept_run[self.target]
        if run == 0 or self._holds_here(run) == 0:
            self._note_run()
            return 1
        first = self.target * (2 * self.g + self.r + 2)
        for g in range(self.g):
            self.penalty[g] = self.kept[first + g]
            self.alive[g] = self.kept[first + self.g + g]
        first += 2 * self.g
        for t in range(self.r):
            self.awake_price[t] = self.kept[first + t]
        self.kernel.row_credit = self.kept[first + self.r]
        self.kernel.rows = self.kept[first + self.r + 1]
        self._note_run()
        return self._drop_dead()

    def _drop_dead(self) -> int:
        """At the root: rule out the modes that the kernel has. Returns 0 if that leaves nothing."""
        for g in range(self.g):
            if self.alive[g] == 0 and self._set(2 * g + 1, 0, -1) == 0:
                return 0
        return 1

    def _renumber(self) -> None:
        """Number anew the prices, and the states of the links, of which something is known still.

        Where there are too many, everything is forgotten.
        """
        for run in range(RUNS + 1):
            self.run_new[run] = 0
        for state in range(STATES + 1):
            self.state_new[state] = 0
        for c in range(CRITERIA):
            self.run_new[self.kept_run[c]] = 1
        c = self.static_size
        while c < self.store_size:
            for p in range(c + HEADER, c + HEADER + 2 * self.store[c], 2):
                if self.store[p] == 2 * self.priced_in + 1:
                    self.run_new[1 - self.store[p + 1]] = 1
                elif 2 * self.slow < self.store[p] < 2 * self.numbered_end:
                    self.state_new[1 - self.store[p + 1]] = 1
            c += HEADER + 2 * self.store[c]
        self._close_up()
        c = self.static_size
        while c < self.store_size:
            for p in range(c + HEADER, c + HEADER + 2 * self.store[c], 2):
                if self.store[p] == 2 * self.priced_in + 1:
                    self.store[p + 1] = 1 - self.run_new[1 - self.store[p + 1]]
                elif 2 * self.slow < self.store[p] < 2 * self.numbered_end:
                    self.store[p + 1] = 1 - self.state_new[1 - self.store[p + 1]]
            c += HEADER + 2 * self.store[c]
        if self.runs > RUNS - SPARE_RUNS or self.states == STATES:
            self._forget_all()

    def _is_here(self, h: int, number: int) -> int:
        """Whether what is said of prices, or of a link, by their number is true of this problem."""
        if h == 2 * self.priced_in + 1:
            return self._holds_here(number)
        return self._takes_as_much((h >> 1) - self.slow, number)

    def _close_up(self) -> None:
        """Give the runs and states that are marked the lowest numbers, in the order they have."""
        runs = 0
        for run in range(1, RUNS + 1):
            if self.run_new[run] == 0:
                continue
            self.state_new[self.run_state[run - 1]] = 1
            for c in range(CRITERIA):
                self.run_cap[CRITERIA * runs + c] = self.run_cap[CRITERIA * (run - 1) + c]
            for t in range(self.r):
                self.run_asleep[self.r * runs + t] = self.run_asleep[self.r * (run - 1) + t]
            self.run_state[runs] = self.run_state[run - 1]
            runs += 1
            self.run_new[run] = runs
        self.runs = runs
        for c in range(CRITERIA):
            self.kept_run[c] = self.run_new[self.kept_run[c]] if self.kept_run[c] > 0 else 0
        states = 0
        size = LINK * self.r * self.r
        for state in range(1, STATES + 1):
            if self.state_new[state]:
                for x in range(size):
                    self.state_link[size * states + x] = self.state_link[size * (state - 1) + x]
                states += 1
                self.state_new[state] = states
        self.states = states
        for run in range(runs):
            self.run_state[run] = self.state_new[self.run_state[run]]

    def _forget_all(self) -> None:
        """Forget what was learned, and with it the prices and states of the links that it speaks of."""
        self.store_size = self.static_size
        self.runs = 0
        self.states = 0
        for c in range(CRITERIA):
            self.kept_run[c] = 0

    def _holds_here(self, run: int) -> int:
        """Whether what was deduced at the prices of a run (from 1) is true of this problem, at its caps."""
        for c in range(CRITERIA):
            if self.cap[c] > self.run_cap[CRITERIA * (run - 1) + c]:
                return 0
        for t in range(self.r):
            if self.run_asleep[self.r * (run - 1) + t] > self.asleep[t]:
                return 0
        if self.lasting:
            for link in range(self.r * self.r):
                if self._takes_as_much(link, self.run_state[run - 1]) == 0:
                    return 0
        return 1

    def _takes_as_much(self, link: int, state: int) -> int:
        """Whether a link is at least as slow and as dear as in a state of the links (from 1)."""
        at = LINK * ((state - 1) * self.r * self.r + link)
        for k in range(LINK):
            if self._link_number(link, k) < self.state_link[at + k]:
                return 0
        return 1

    def _link_number(self, link: int, k: int) -> int:
        """The k-th of the numbers of a link of which more is slower or dearer."""
        number: int = self.links[6 * link + 1 + k]
        if k == 1:
            number = -number if number > 0 else -FAR
        return number

    def _see_links(self) -> None:
        """Let the links be as they are in this problem, and note it if that is another state than the last."""
        self._time_links()
        count = self.r * self.r
        same = 1 if self.states > 0 else 0
        for x in range(LINK * count):
            if same and self.state_link[LINK * count * (self.states - 1) + x] != self._link_number(x // LINK, x % LINK):
                same = 0
        if same == 0:
            for x in range(LINK * count):
                self.state_link[LINK * count * self.states + x] = self._link_number(x // LINK, x % LINK)
            self.states += 1

    def _luby(self, run: int) -> int:
        """The run-th number (from 1) of 1, 1, 2, 1, 1, 2, 4, ... (Luby, Sinclair and Zuckerman, 1993)."""
        while True:
            size = 1
            while size - 1 < run:
                size = 2 * size
            if size - 1 == run:
                return size // 2
            run = run - size // 2 + 1

    def _start(self) -> int:
        """Back to the root of this problem. Returns 0 if that alone is impossible."""
        if self.impossible:
            return 0
        self._empty()
        self._restore(self.base_bound, self.base_lists)
        return 1

    def _base(self) -> None:
        """Deduce what is so in this problem, whatever the caps."""
        self._empty()
        for c in range(CRITERIA):
            self.cap[c] = FAR
        self._restore(self.common, self.common_lists)
        if self.lasting:
            for q in range(self.mins):
                self._wake(q)
            fine = 1 if self._set_apart() and self._watch_all(self.static_size) and self._propagate() else 0
            self.impossible = 1 if fine == 0 and self.full == 0 else self.never
        self._save(self.base_bound, self.base_lists)

    def _save(self, bounds: Ints, lists: Ints) -> None:
        """Write down the root, and the lists of activities as they are there."""
        r, acts = self.r, self.act_first[self.r]
        for h in range(2 * self.vars):
            bounds[h] = self.bound[h]
        for t in range(r):
            lists[t] = self.there[t]
            lists[r + t] = self.shown[t]
        for a in range(acts):
            lists[2 * r + a] = self.listed[a]

    def _restore(self, bounds: Ints, lists: Ints) -> None:
        """The root as it was saved."""
        r, acts = self.r, self.act_first[self.r]
        for h in range(2 * self.vars):
            self.bound[h] = bounds[h]
            self.root[h] = bounds[h]
            self.newest[h] = -1
            self.inside[h] = 0
        for t in range(r):
            self.there[t] = lists[t]
            self.shown[t] = lists[r + t]
        for a in range(acts):
            self.listed[a] = lists[2 * r + a]
            self.where[self.listed[a]] = a

    def _set_apart(self) -> int:
        """What this problem has that others of its shape may not: when its lanes open, and what sleeps."""
        r = self.r
        for h in range(2 * self.slow, 2 * (self.slow + r * r), 2):
            self.bound[h] = self.states
            self.root[h] = self.states
        for t in range(r):
            if self.sleeps[t] >= 0 and self._set(2 * self.sleeps[t] + 1 - self.asleep[t], self.asleep[t], -1) == 0:
                return 0
            lane = self.lane_first[t]
            for a in range(self.act_first[t], self.act_first[t + 1]):
                if self.act_of[a] >= 0:
                    if self._set(2 * self.act_start[a], self.opening[t], -1) == 0:
                        return 0
                else:
                    lane += 1
                    if self._set(2 * self.act_took[a], self._opens(t, lane), -1) == 0:
                        return 0
        return 1

    def _opens(self, t: int, lane: int) -> int:
        """When lane `lane` of resource t would open if its lanes were numbered in the order in which they do."""
        for a in range(self.lane_first[t], self.lane_first[t + 1]):
            before = self.lane_first[t]
            for b in range(self.lane_first[t], self.lane_first[t + 1]):
                if self.open[b] < self.open[a] or (self.open[b] == self.open[a] and b < a):
                    before += 1
            if before == lane:
                opens: int = self.open[a]
                return opens
        return 0

    def _see_common(self) -> None:
        """Deduce what is so in every problem of this shape, whatever the caps: that needs no reason."""
        self._empty()
        for h in range(2 * self.vars):
            self.bound[h] = self.first[h]
            self.root[h] = self.first[h]
            self.common[h] = self.first[h]
            self.newest[h] = -1
            self.inside[h] = 0
            self.given[h] = 0
        for c in range(CRITERIA):
            self.cap[c] = FAR
        for t in range(self.r):
            self.there[t] = 0
            self.shown[t] = self.act_first[t + 1] - self.act_first[t]
        for a in range(self.act_first[self.r]):
            self.listed[a] = a
            self.where[a] = a
        for rule in range(self.rules):
            self._wake(rule)
        fine = 1 if self._watch_all(self.static_size) and self._propagate() else 0
        # Short of room for the reasons it may just not be known.
        self.never = 1 if fine == 0 and self.full == 0 else 0
        self.impossible = self.never
        self._save(self.common, self.common_lists)

    def _empty(self) -> None:
        """Nothing is decided, deduced or waiting to be looked at."""
        self.level = 0
        self.trail = 0
        self.arena_size = 0
        self.reached = 0
        self.recalled = 0
        self.full = 0
        self.crowded = 0
        self.gone_size = 0
        self.waiting = 0
        self.taken = 0
        self.heavy_waiting = 0
        self.heavy_taken = 0
        for rule in range(self.rules):
            self.queued[rule] = 0

    def _cap_all(self) -> int:
        """Let every rule see the caps as they are now. Returns 0 if they are below what is possible."""
        self._wake_caps()
        for c in range(CRITERIA):
            # At the root, from whatever level: the caps stay as they are when decisions are undone.
            self.bound[2 * self.most[c] + 1] = -self.cap[c]
            self.root[2 * self.most[c] + 1] = -self.cap[c]
            if self.root[2 * self.most[c]] > self.cap[c]:
                return 0
        if self.cap[2] < FAR:
            for i in range(self.n):
                if self._set(2 * self.end[i] + 1, -self.cap[2], -1) == 0:
                    return 0
        return 1

    def _wake_caps(self) -> None:
        self._wake(self.rule_late)
        self._wake(self.rule_energy)
        self._wake(self.rule_priced)
        self._wake(self.rule_loss)

    def _follow(self) -> None:
        """Prefer what the kernel's best answer does."""
        for v in range(self.vars):
            self.phase[v] = 0
        for i in range(self.n):
            self.phase[self.best_mode[i]] = 1

    def _settle(self) -> None:
        """At the root, what is known needs no reason any more."""
        for e in range(self.trail):
            h = self.trail_half[e]
            self.newest[h] = -1
            self.root[h] = self.bound[h]
        self.trail = 0
        self.reached = 0
        self.arena_size = 0

    def _decide(self, h: int) -> None:
        """Let a half reach its `aim`."""
        self.level += 1
        self.level_trail[self.level] = self.trail
        self.level_arena[self.level] = self.arena_size
        self.level_gone[self.level] = self.gone_size
        self._set(h, self.aim, -1)

    def _cancel(self, level: int) -> None:
        """Undo every decision after `level`."""
        while self.waiting != self.taken:
            self.queued[self.queue[self.taken]] = 0
            self.taken = self.taken + 1 if self.taken < self.rules else 0
        while self.heavy_waiting != self.heavy_taken:
            self.queued[self.heavy[self.heavy_taken]] = 0
            self.heavy_taken = self.heavy_taken + 1 if self.heavy_taken < self.rules else 0
        if level >= self.level:
            return
        stop = self.level_trail[level + 1]
        while self.trail > stop:
            self.trail -= 1
            e = self.trail
            h = self.trail_half[e]
            self.bound[h] = self.trail_before[e]
            self.newest[h] = self.trail_last[e]
        self.arena_size = self.level_arena[level + 1]
        # What is put back into a list is where it was taken out, for the last one taken out is put back first.
        while self.gone_size > self.level_gone[level + 1]:
            self.gone_size -= 1
            t = self.gone[self.gone_size]
            if t & 1:
                self.there[t >> 1] -= 1
            else:
                self.shown[t >> 1] += 1
        self.reached = self.trail
        self.level = level

    def _set(self, h: int, value: int, reason: int) -> int:
        """Let half h reach a value. Returns 0, and sets `conflict`, if its other half says that it cannot."""
        if value <= self.bound[h]:
            return 1
        if self.bound[h ^ 1] >= 1 - value:
            self.conflict_half = h
            self.conflict_value = value
            self.conflict_reason = reason
            return 0
        e = self.trail
        if e == self.trail_max or self.full:
            self.full = 1
            return 0
        self.trail += 1
        self.trail_half[e] = h
        self.trail_value[e] = value
        self.trail_before[e] = self.bound[h]
        self.trail_last[e] = self.newest[h]
        self.trail_reason[e] = reason
        self.trail_level[e] = self.level
        self.bound[h] = value
        self.newest[h] = e
        return 1

    def _why(self) -> None:
        """Begin a reason: the atoms given to `_because` from here on."""
        if self.arena_size > self.reasons_max:
            self.full = 1
        self.reason = self.arena_size
        self.arena_size += 1

    def _because(self, h: int, value: int, slope: int) -> None:
        """An atom of the reason; it need reach less by `slope` times what what it proves is needed less."""
        if value <= self.common[h]:
            return
        self.arena[self.arena_size] = h
        self.arena[self.arena_size + 1] = value
        self.arena[self.arena_size + 2] = slope
        self.arena_size += 3

    def _so(self, h: int, value: int) -> int:
        """What follows from the reason given."""
        self.arena[self.reason] = (self.arena_size - self.reason - 1) // 3
        return self._set(h, value, 2 * self.reason + 1)

    def _so_not(self) -> int:
        """Nothing can be so as the reason given says."""
        self.arena[self.reason] = (self.arena_size - self.reason - 1) // 3
        self.conflict_half = -1
        self.conflict_value = 0
        self.conflict_reason = 2 * self.reason + 1
        return 0

    def _wake(self, rule: int) -> None:
        if self.queued[rule]:
            return
        self.queued[rule] = 1
        if rule < self.rule_lanes:
            self.queue[self.waiting] = rule
            self.waiting = self.waiting + 1 if self.waiting < self.rules else 0
        else:
            self.heavy[self.heavy_waiting] = rule
            self.heavy_waiting = self.heavy_waiting + 1 if self.heavy_waiting < self.rules else 0

    def _propagate(self) -> int:
        """Deduce all that follows. Returns 0 on a contradiction."""
        while True:
            while self.reached < self.trail:
                h = self.trail_half[self.reached]
                self.reached += 1
                if self._follow_clauses(h) == 0:
                    return 0
                if h >= 2 * self.order_start:
                    order = (h >> 1) - self.order_start
                    self._wake(self.rule_activity + (self.latter[order] if h & 1 else self.former[order]))
                else:
                    for m in range(self.told_first[h], self.told_first[h + 1]):
                        self._wake(self.told[m])
            if self.waiting != self.taken:
                rule = self.queue[self.taken]
                self.taken = self.taken + 1 if self.taken < self.rules else 0
                self.queued[rule] = 0
                if rule < self.rule_sum:
                    fine = self._run_min(rule)
                elif rule < self.rule_stage:
                    fine = self._run_sum(rule - self.rule_sum)
                else:
                    fine = self._run_stage(rule - self.rule_stage)
            elif self.heavy_waiting != self.heavy_taken:
                rule = self.heavy[self.heavy_taken]
                self.heavy_taken = self.heavy_taken + 1 if self.heavy_taken < self.rules else 0
                self.queued[rule] = 0
                fine = self._run_heavy(rule)
            else:
                return 1
            if fine == 0:
                return 0

    def _run_heavy(self, rule: int) -> int:
        if rule == self.rule_late:
            return self._run_late()
        if rule == self.rule_energy:
            return self._run_energy(0)
        if rule == self.rule_priced:
            return self._run_energy(1)
        if rule >= self.rule_memory:
            return self._run_row(rule)
        if rule >= self.rule_load:
            return self._run_load(rule - self.rule_load)
        if rule >= self.rule_activity:
            return self._run_activity(rule - self.rule_activity)
        return self._run_lanes(rule - self.rule_lanes)

    def _follow_clauses(self, h: int) -> int:
        """Look at every clause that half h may have made false, or all but one atom of it."""
        before = -1
        w = self.head[h]
        while w >= 0:
            c = w >> 1
            s = w & 1
            after = self.store[c + 1 + s]
            mine = c + HEADER + 2 * s
            if self.bound[h] < 1 - self.store[mine + 1]:
                before = w
                w = after
                continue
            other = c + HEADER + 2 - 2 * s
            if self.bound[self.store[other]] >= self.store[other + 1]:
                before = w
                w = after
                continue
            moved = 0
            for p in range(c + HEADER + 4, c + HEADER + 2 * self.store[c + 4], 2):
                new = self.store[p]
                if self.bound[new ^ 1] < 1 - self.store[p + 1]:
                    value = self.store[p + 1]
                    self.store[p] = self.store[mine]
                    self.store[p + 1] = self.store[mine + 1]
                    self.store[mine] = new
                    self.store[mine + 1] = value
                    if before < 0:
                        self.head[h] = after
                    else:
                        self.store[(before >> 1) + 1 + (before & 1)] = after
                    self.store[c + 1 + s] = self.head[new ^ 1]
                    self.head[new ^ 1] = w
                    moved = 1
                    break
            if moved == 0:
                self.store[c + 5] = self.turn
                if self._set(self.store[other], self.store[other + 1], 2 * c) == 0:
                    return 0
                before = w
            w = after
        return 1

    # Learning

    def _entry(self, h: int, value: int) -> int:
        """Where on the trail half h reached a value."""
        e = self.newest[h]
        while self.trail_before[e] >= value:
            e = self.trail_last[e]
        return e

    def _gather(self, h: int, value: int) -> None:
        """Add an atom to what is being explained."""
        if value <= self.root[h]:
            self._give(h, value)
            return
        if self.inside[h] and self.need[h] >= value:
            return
        e = self._entry(h, value)
        if self.inside[h] == 0:
            self.inside[h] = 1
            self.set_list[self.set_size] = h
            self.set_size += 1
            if e >= self.level_trail[self.level]:
                self.current += 1
        elif self.place[h] < self.level_trail[self.level] <= e:
            self.current += 1
        self.need[h] = value
        self.place[h] = e

    def _give(self, h: int, value: int) -> None:
        """Add an atom that holds at the root to those without which the clause would not be true of other problems."""
        if value <= self.common[h]:
            return
        if self.given[h] == 0:
            self.given[h] = 1
            self.given_list[self.given_size] = h
            self.given_size += 1
            self.given_need[h] = value
        elif 2 * self.priced_in <= h < 2 * self.numbered_end:
            if self.given_need[h] != value:
                # Numbers say nothing of each other, but what is so now is at least as much as all that holds now.
                self.given_need[h] = self.runs if h == 2 * self.priced_in else self.states
        elif self.given_need[h] < value:
            self.given_need[h] = value

    def _unfold(self, reason: int, h: int, less: int) -> int:
        """Write the atoms that a reason gives for half h's reaching what it proved, or `less` short of it, into `cause`.

        How many they are: none where it was decided, or is so at the root.
        """
        count = 0
        if reason < 0:
            return 0
        if reason & 1:
            at = reason >> 1
            for p in range(at + 1, at + 1 + 3 * self.arena[at], 3):
                self.cause[count] = self.arena[p]
                self.cause[count + 1] = self.arena[p + 1] - self.arena[p + 2] * less
                count += 2
        else:
            c = reason >> 1
            for p in range(c + HEADER, c + HEADER + 2 * self.store[c], 2):
                if self.store[p] != h:
                    self.cause[count] = self.store[p] ^ 1
                    self.cause[count + 1] = 1 - self.store[p + 1]
                    count += 2
        return count // 2

    def _conflict_place(self) -> int:
        """The last place on the trail of anything the conflict comes from; -1 if it needs none of it."""
        last = -1
        h = self.conflict_half
        if h >= 0 and 1 - self.conflict_value > self.root[h ^ 1]:
            last = self._entry(h ^ 1, 1 - self.conflict_value)
        for m in range(self._unfold(self.conflict_reason, h, 0)):
            if self.cause[2 * m + 1] > self.root[self.cause[2 * m]]:
                last = max(last, self._entry(self.cause[2 * m], self.cause[2 * m + 1]))
        return last

    def _learn(self) -> int:
        """Learn from the conflict, go back to where that helps, and act on it. Returns 0 if nothing is possible."""
        self.failures += 1
        last = self._conflict_place()
        if last < 0:
            return 0
        level = self.trail_level[last]
        if level == 0:
            return 0
        self.current = 0
        self.set_size = 0
        self.given_size = 0
        top = self.level
        # The conflict may be of an earlier level than the last decision's.
        self.level = level
        if self.conflict_half >= 0:
            self._gather(self.conflict_half ^ 1, 1 - self.conflict_value)
        for m in range(self._unfold(self.conflict_reason, self.conflict_half, 0)):
            self._gather(self.cause[2 * m], self.cause[2 * m + 1])
        e = last
        while True:
            h = self.trail_half[e]
            if self.inside[h] and self.place[h] == e:
                if h < 2 * self.g or h >= 2 * self.order_start:
                    self.activity[h >> 1] += self.bump
                if self.current == 1:
                    break
                self.inside[h] = 0
                self.current -= 1
                for m in range(self._unfold(self.trail_reason[e], h, self.trail_value[e] - self.need[h])):
                    self._gather(self.cause[2 * m], self.cause[2 * m + 1])
            e -= 1
        asserted = self.trail_half[e]
        self._shorten(asserted)
        self.level = top
        self._write_learned(asserted)
        self.bump += self.bump >> 5
        if self.bump > HIGH:
            self._cool()
        return 1

    def _cool(self) -> None:
        for v in range(self.vars):
            self.activity[v] = self.activity[v] >> 30
        self.bump = max(self.bump >> 30, 16)

    def _shorten(self, asserted: int) -> None:
        """Leave out atoms that follow from the others."""
        kept = 0
        for m in range(self.set_size):
            h = self.set_list[m]
            if self.inside[h] == 0:
                continue
            self.inside[h] = 1
            if h != asserted and self._implied(h):
                self.inside[h] = 2
        for m in range(self.set_size):
            h = self.set_list[m]
            if self.inside[h] == 1:
                self.set_list[kept] = h
                kept += 1
            elif self.inside[h] == 2:
                e = self.place[h]
                for o in range(self._unfold(self.trail_reason[e], h, self.trail_value[e] - self.need[h])):
                    if self.cause[2 * o + 1] <= self.root[self.cause[2 * o]]:
                        self._give(self.cause[2 * o], self.cause[2 * o + 1])
            self.inside[h] = 0
        self.set_size = kept

    def _implied(self, h: int) -> int:
        """Whether all that half h's atom was deduced from is among the atoms, each from an earlier time."""
        e = self.place[h]
        if self.trail_reason[e] < 0:
            return 0
        for m in range(self._unfold(self.trail_reason[e], h, self.trail_value[e] - self.need[h])):
            if self._covered(self.cause[2 * m], self.cause[2 * m + 1], e) == 0:
                return 0
        return 1

    def _covered(self, h: int, value: int, e: int) -> int:
        if value <= self.root[h]:
            return 1
        return 1 if self.inside[h] and self.need[h] >= value and self.place[h] < e else 0

    def _write_learned(self, asserted: int) -> None:
        """Store the negation of the atoms gathered, go back to the level where one of them is left, and set it."""
        # First the one that will follow, second the last of the others.
        back = 0
        second = -1
        self.stamp += 1
        levels = 1
        for m in range(self.set_size):
            h = self.set_list[m]
            if h != asserted:
                level = self.trail_level[self.place[h]]
                if self.level_seen[level] != self.stamp:
                    self.level_seen[level] = self.stamp
                    levels += 1
                if second < 0 or level > back:
                    back = level
                    second = h
        value = self.need[asserted]
        # Of two atoms of one half the one that holds at the root says less. Twice in a clause, it would explain itself.
        for m in range(self.set_size):
            self.given[self.set_list[m]] = 0
        kept = 0
        for m in range(self.given_size):
            h = self.given_list[m]
            if self.given[h]:
                self.given_list[kept] = h
                kept += 1
        self.given_size = kept
        if self.store_size + HEADER + 2 * (self.set_size + self.given_size) > self.store_max:
            # No room until others are forgotten.
            self.crowded = 1
        else:
            self._clause_begin()
            self._clause_atom(asserted ^ 1, 1 - value)
            if second >= 0:
                self._clause_atom(second ^ 1, 1 - self.need[second])
            for m in range(self.set_size):
                h = self.set_list[m]
                if h != asserted and h != second:
                    self._clause_atom(h ^ 1, 1 - self.need[h])
            for m in range(self.given_size):
                h = self.given_list[m]
                self._clause_atom(h ^ 1, 1 - self.given_need[h])
            c = self.clause
            self.store[c] = self.set_size + self.given_size
            self.store[c + 3] = levels
            self.store[c + 4] = self.set_size
            self.store[c + 5] = self.turn
            self._watch(c)
        for m in range(self.given_size):
            self.given[self.given_list[m]] = 0
        if second < 0:
            self._cancel(0)
            self._set(asserted ^ 1, 1 - value, -1)
        elif self.crowded:
            self._cancel(0)
        else:
            self._cancel(back)
            self._set(asserted ^ 1, 1 - value, 2 * self.clause)

    def _forget(self) -> None:
        """Forget the learned clauses of many levels, about half of all. The others are to be watched anew."""
        levels = KEPT
        while True:
            kept = 0
            c = self.static_size
            while c < self.store_size:
                if self.store[c + 3] <= levels:
                    kept += HEADER + 2 * self.store[c]
                c += HEADER + 2 * self.store[c]
            if kept > STORE // 4:
                break
            levels += 1
        self._keep_clauses(max(levels - 1, KEPT), 0, STORE // 2)

    def _forget_unused(self) -> None:
        """Forget the learned clauses that have said nothing for longest, about half of all (see `_forget`)."""
        age = 1
        since = self.turn
        kept = 0
        while since > 0 and kept < LASTING // 2:
            since = max(self.turn - age, 0)
            age = 2 * age
            kept = 0
            c = self.static_size
            while c < self.store_size:
                if self.store[c + 5] >= since:
                    kept += HEADER + 2 * self.store[c]
                c += HEADER + 2 * self.store[c]
        self._keep_clauses(1 << 60, since, LASTING)

    def _keep_clauses(self, levels: int, since: int, room: int) -> None:
        """Keep the learned clauses of few enough levels that said something late enough; the last ones if too many."""
        size = 0
        for keep in range(2):
            c = self.static_size
            top = c
            while c < self.store_size:
                more = HEADER + 2 * self.store[c]
                if self.store[c + 3] <= levels and self.store[c + 5] >= since:
                    if keep == 0:
                        size += more
                    elif size > room:
                        size -= more
                    else:
                        for p in range(more):
                            self.store[top + p] = self.store[c + p]
                        top += more
                c += more
            if keep:
                self.store_size = top

    def _watch_all(self, size: int) -> int:
        """At the root: watch what is open in every clause before `size`. Returns 0 if one has nothing open."""
        for h in range(2 * self.vars):
            self.head[h] = -1
        c = 0
        while c < size:
            left = self._sort_atoms(c)
            if left == 0 or left == 1:
                self.store[c + 5] = self.turn
            if left == 0 or (left == 1 and self._set(self.store[c + HEADER], self.store[c + HEADER + 1], -1) == 0):
                return 0
            self._watch(c)
            c += HEADER + 2 * self.store[c]
        return 1

    def _sort_atoms(self, c: int) -> int:
        """Put what is open at the root first among the atoms of a clause. How many those are; -1 where one holds."""
        first = c + HEADER
        last = first + 2 * self.store[c] - 2
        self.store[c + 4] = 0
        while first <= last:
            h = self.store[first]
            value = self.store[first + 1]
            if self.bound[h] >= value:
                # First, to be seen at once the next time.
                self.store[first] = self.store[c + HEADER]
                self.store[first + 1] = self.store[c + HEADER + 1]
                self.store[c + HEADER] = h
                self.store[c + HEADER + 1] = value
                return -1
            false = 1 if self.bound[h ^ 1] >= 1 - value else 0
            if 2 * self.priced_in < h < 2 * self.numbered_end:
                if self._is_here(h, 1 - value) == 0:
                    return -1
                false = 1
            if false:
                self.store[first] = self.store[last]
                self.store[first + 1] = self.store[last + 1]
                self.store[last] = h
                self.store[last + 1] = value
                last -= 2
            else:
                first += 2
        self.store[c + 4] = (first - c - HEADER) // 2
        return self.store[c + 4]

    # Rules

    def _run_stage(self, i: int) -> int:
        """Exactly one mode of stage i."""
        chosen = -1
        last = -1
        possible = 0
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._holds(2 * g):
                chosen = g
            if self._holds(2 * g + 1) == 0:
                possible += 1
                last = g
        if chosen >= 0 and possible > 1:
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if g != chosen and self._holds(2 * g + 1) == 0:
                    self._why()
                    self._because(2 * chosen, 1, 0)
                    if self._so(2 * g + 1, 0) == 0:
                        return 0
        elif possible == 1 and chosen < 0:
            self._why()
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if g != last:
                    self._because(2 * g + 1, 0, 0)
            return self._so(2 * last, 1)
        elif possible == 0:
            self._why()
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                self._because(2 * g + 1, 0, 0)
            return self._so_not()
        return 1

    def _useless(self, gate: int) -> int:
        """Whether a variable of 0 or 1 was 0 before the last decision: then so it is as long as what is deduced now."""
        if gate < 0 or self._holds(2 * gate + 1) == 0:
            return 0
        e = self.newest[2 * gate + 1]
        return 1 if e < 0 or self.trail_level[e] < self.level else 0

    def _term_value(self, m: int) -> int:
        value = self.term_us[m]
        if self.term_a[m] >= 0:
            value += self.bound[2 * self.term_a[m]]
        if self.term_b[m] >= 0:
            value = max(value, self.bound[2 * self.term_b[m]] + self.term_more[m])
        return value

    def _because_term(self, m: int, value: int, slope: int) -> None:
        """The atoms that make a term at least `value`."""
        if self.term_link[m] >= 0:
            self._because_link(self.term_link[m])
        a = self.term_a[m]
        if a < 0:
            return
        if self.bound[2 * a] + self.term_us[m] >= value:
            self._because(2 * a, value - self.term_us[m], slope)
        else:
            self._because(2 * self.term_b[m], value - self.term_more[m], slope)

    def _because_link(self, link: int) -> None:
        """A link is as slow and as dear as it is."""
        if self.lasting:
            self._because(2 * (self.slow + link), self.states, 0)

    def _run_min(self, q: int) -> int:
        """A variable is no less than the least of some terms, each of a mode that is possible."""
        if self._useless(self.min_gate[q]):
            return 1
        v = self.min_of[q]
        top = -self.bound[2 * v + 1]
        least = FAR
        possible = 0
        only = -1
        for m in range(self.min_first[q], self.min_first[q + 1]):
            g = self.term_mode[m]
            if self._holds(2 * g + 1):
                continue
            value = self._term_value(m)
            if value > top:
                a = self.term_a[m]
                if a >= 0 and self.common[2 * a] + self.term_us[m] > top:
                    # What holds in every problem is enough.
                    value = self.common[2 * a] + self.term_us[m]
                self._why()
                self._because_term(m, value, 0)
                self._because(2 * v + 1, 1 - value, 0)
                if self._so(2 * g + 1, 0) == 0:
                    return 0
                continue
            possible += 1
            only = m
            least = min(least, value)
        if least > self.bound[2 * v]:
            self._why()
            for m in range(self.min_first[q], self.min_first[q + 1]):
                if self._term_value(m) >= least:
                    self._because_term(m, least, 1)
                else:
                    self._because(2 * self.term_mode[m] + 1, 0, 0)
            if self._so(2 * v, least) == 0:
                return 0
        if possible == 1 and top < FAR and self._holds(2 * self.term_mode[only]):
            for s in range(2):
                a = self.term_a[only] if s == 0 else self.term_b[only]
                if a < 0:
                    continue
                by = top - (self.term_us[only] if s == 0 else self.term_more[only])
                if -by > self.bound[2 * a + 1]:
                    self._why()
                    if self.term_link[only] >= 0:
                        self._because_link(self.term_link[only])
                    self._because(2 * self.term_mode[only], 1, 0)
                    self._because(2 * v + 1, -top, 1)
                    if self._so(2 * a + 1, -by) == 0:
                        return 0
        return 1

    def _run_sum(self, q: int) -> int:
        """A variable is no less than another, plus what may be a third, under a condition."""
        if self._useless(self.sum_gate[q]):
            return 1
        condition = self.sum_if[q]
        v = self.sum_of[q]
        a = self.sum_from[q]
        plus = self.sum_plus[q]
        if condition >= 0 and self._holds(condition ^ 1):
            return 1
        from_low = self.bound[2 * a]
        more = self.sum_us[q]
        plus_low = 0
        if plus >= 0:
            plus_low = self.bound[2 * plus]
            more += plus_low
        least = min(from_low + more, FAR)
        top = -self.bound[2 * v + 1]
        if condition >= 0 and self._holds(condition) == 0:
            if least <= top:
                return 1
            if self.common[2 * a] + more > top:
                from_low = self.common[2 * a]
                least = min(from_low + more, FAR)
            self._why()
            self._because(2 * a, from_low, 0)
            if plus >= 0:
                self._because(2 * plus, plus_low, 0)
            self._because(2 * v + 1, 1 - least, 0)
            return self._so(condition ^ 1, condition & 1)
        if least > self.bound[2 * v]:
            self._why()
            if condition >= 0:
                self._because(condition, 1 - (condition & 1), 0)
            self._because(2 * a, from_low, 1)
            if plus >= 0:
                self._because(2 * plus, plus_low, 0)
            if self._so(2 * v, least) == 0:
                return 0
        if top < FAR and more - top > self.bound[2 * a + 1]:
            self._why()
            if condition >= 0:
                self._because(condition, 1 - (condition & 1), 0)
            self._because(2 * v + 1, -top, 1)
            if plus >= 0:
                self._because(2 * plus, plus_low, 0)
            return self._so(2 * a + 1, more - top)
        return 1

    def _run_late(self) -> int:
        """The sum of weighted lateness, by which each deadline's stage ends no later than what is left allows."""
        if self.cap[0] >= FAR:
            return 1
        left = self.cap[0]
        for d in range(self.deadlines):
            left -= self.weight[d] * max(self.bound[2 * self.end[self.due_stage[d]]] - self.due[d], 0)
        if left < 0:
            self._why()
            self._because_late(-1, -left - 1)
            return self._so_not()
        for d in range(self.deadlines):
            e = self.end[self.due_stage[d]]
            late = max(self.bound[2 * e] - self.due[d], 0)
            top = self.due[d] + late + left // self.weight[d]
            if -top > self.bound[2 * e + 1]:
                self._why()
                self._because_late(d, self.weight[d] * (left // self.weight[d] + 1) - left - 1)
                if self._so(2 * e + 1, -top) == 0:
                    return 0
        return 1

    def _because_late(self, but: int, spare: int) -> None:
        """The stages that are late already, but for deadline `but`; together they may be less late by `spare`."""
        for d in range(self.deadlines):
            e = self.end[self.due_stage[d]]
            late = self.bound[2 * e] - self.due[d]
            if d == but or late <= 0:
                continue
            least = max(self.root[2 * e] - self.due[d], 0)
            less = min(spare // self.weight[d], late - least)
            spare -= less * self.weight[d]
            if late - less > 0:
                self._because(2 * e, self.due[d] + late - less, 0)
        self._because_cap(0, spare, self.weight[but] if but >= 0 else 0)

    def _because_cap(self, c: int, spare: int, slope: int) -> None:
        """The cap on criterion c, which might be higher by `spare`, and by `slope` times what is needed less."""
        self._because(2 * self.most[c] + 1, -self.cap[c] - spare, slope)

    def _run_row(self, rule: int) -> int:
        """Memory of a resource, an accuracy budget, or loss in all: the least that each stage adds."""
        room = self.cap[3]
        for g in range(self.g):
            self.cost[g] = 0
        if rule < self.rule_budget:
            t = rule - self.rule_memory
            room = self.memory_cap[t]
            if room < 0:
                return 1
            for g in range(self.g):
                if self.resource[g] == t:
                    self.cost[g] = self.memory[g]
        elif rule < self.rule_loss:
            b = rule - self.rule_budget
            room = self.budget_max[b]
            for m in range(self.budget_first[b], self.budget_first[b + 1]):
                i = self.budget_stage[m]
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    self.cost[g] = self.loss[g]
        else:
            if room >= FAR:
                return 1
            for g in range(self.g):
                self.cost[g] = self.loss[g]
        left = room
        for i in range(self.n):
            self.low[i] = FAR
            self.base[i] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] < 0:
                    self.base[i] = min(self.base[i], self.cost[g])
                if self._holds(2 * g + 1) == 0:
                    self.low[i] = min(self.low[i], self.cost[g])
            if self.low[i] == FAR:
                return 1
            left -= self.low[i]
        if left < 0:
            self._why()
            self._because_row(rule, -1, -left - 1)
            return self._so_not()
        for g in range(self.g):
            i = self.stage_of[g]
            if self._holds(2 * g + 1) == 0 and self.cost[g] - self.low[i] > left:
                self._why()
                self._because_row(rule, i, self.cost[g] - self.low[i] - left - 1)
                if self._so(2 * g + 1, 0) == 0:
                    return 0
        return 1

    def _because_row(self, rule: int, but: int, spare: int) -> None:
        """The modes ruled out by which stages other than `but` add what they do; it may be less by `spare`."""
        for i in range(self.n):
            if i == but or self.low[i] == self.base[i]:
                continue
            enough = self.low[i]
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] >= 0 or self.cost[g] >= self.low[i]:
                    continue
                if self.root[2 * g + 1] < 0 and self.cost[g] >= self.low[i] - spare:
                    enough = min(enough, self.cost[g])
                else:
                    self._because(2 * g + 1, 0, 0)
            spare -= self.low[i] - enough
        if rule == self.rule_loss:
            self._because_cap(3, spare, 0)

    def _charge(self, charged: int) -> None:
        """Count energy as it is (0), or in the kernel's fractions with charges for what is scarce (1)."""
        self.charged = charged
        self.scale = SCALE if charged else 1

    def _with_sendings(self, i: int, g: int) -> int:
        """What mode g of stage i costs, charges included, with the sendings that are certain to be wanted."""
        r = self.r
        total: int = self.energy[g]
        for t in range(r):
            y = self.wanted[i * r + t]
            if y >= 0 and t != self.resource[g] and self.send_us[g * r + t] >= 0 and self._holds(2 * y):
                total += self.send_nj[g * r + t]
        if self.charged:
            total = SCALE * total + self.penalty[g]
        return total

    def _staying(self, t: int, until: int) -> int:
        """What being awake on resource t until some time costs, less what its work is charged for."""
        if until <= 0:
            return 0
        cost: int = self.scale * self.awake_mw[t] * until
        if self.charged:
            lanes = self.lane_first[t + 1] - self.lane_first[t]
            cost -= self.awake_price[t] * lanes * (until - self.earliest[t])
        return cost

    def _staying_at_most(self, t: int, cost: int) -> int:
        """Until when resource t may be awake for that to cost no more than this."""
        lanes = self.lane_first[t + 1] - self.lane_first[t]
        rate = self.scale * self.awake_mw[t] - self.charged * self.awake_price[t] * lanes
        more = self.charged * self.awake_price[t] * lanes * self.earliest[t]
        if cost < more:
            return 0
        return (cost - more) // rate if rate > 0 else FAR

    def _run_energy(self, charged: int) -> int:
        """The energy: of modes and sendings the least that each stage adds, of resources what is certain.

        With `charged` 1 every mode is charged for what it takes of what is scarce, at the kernel's prices
        (`Kernel._set_prices`): a bound of its own, of the same form.
        """
        r = self.r
        if self.cap[1] >= FAR or (charged and self.kernel.rows == 0):
            return 1
        left = self._energy_left(charged)
        if left == FAR:
            return 1
        if left < 0:
            self._why()
            self._because_energy(-1, -1, -left - 1)
            return self._so_not()
        for t in range(r):
            if self._cap_resource(t, left) == 0:
                return 0
        for i in range(self.n):
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self._holds(2 * g + 1):
                    continue
                t = self.resource[g]
                more = self.cost[g] - self.low[i]
                z = self.awake[t]
                longer = 0
                if z >= 0:
                    end = self.bound[2 * self.begin[i * r + t]] + self.duration[g]
                    if end > self.bound[2 * z]:
                        longer = 1
                        more += self._staying(t, end) - self._staying(t, self.bound[2 * z])
                u = self.used[t]
                if u >= 0 and self._holds(2 * u) == 0:
                    more += self._waking(t)
                if more > left:
                    self._why()
                    self._because_sendings(i, g)
                    if u >= 0 and self._holds(2 * u) == 0:
                        self._because_asleep(t)
                    if longer:
                        self._because(2 * self.begin[i * r + t], self.bound[2 * self.begin[i * r + t]], 0)
                        self._because_energy(i, t, more - left - 1)
                    else:
                        self._because_energy(i, -1, more - left - 1)
                    if self._so(2 * g + 1, 0) == 0:
                        return 0
            if self._cap_sendings(i, left) == 0:
                return 0
        return 1

    def _energy_left(self, charged: int) -> int:
        """What is left of the energy's cap (see `_run_energy`); `FAR` where a stage has no mode any more.

        `low` and `cost` then say what every stage and each of its modes adds, `base` what it always would.
        """
        self._charge(charged)
        left: int = self.scale * self.cap[1]
        if charged:
            left += self.kernel.row_credit
        for i in range(self.n):
            self.low[i] = FAR
            self.base[i] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] < 0:
                    self.base[i] = min(self.base[i], self.scale * self.energy[g] + charged * self.penalty[g])
                if self._holds(2 * g + 1) == 0:
                    self.cost[g] = self._with_sendings(i, g)
                    self.low[i] = min(self.low[i], self.cost[g])
            if self.low[i] == FAR:
                return FAR
            left -= self.low[i]
        for t in range(self.r):
            if self.used[t] >= 0 and self._holds(2 * self.used[t]):
                left -= self._waking(t)
            if self.awake[t] >= 0:
                left -= self._staying(t, self.bound[2 * self.awake[t]])
        return left

    def _cap_resource(self, t: int, left: int) -> int:
        """Whether resource t may be used, and until when be awake, with so much energy left."""
        u = self.used[t]
        wake = self._waking(t)
        if u >= 0 and wake > left and self._holds(2 * u) == 0 and self._holds(2 * u + 1) == 0:
            self._why()
            self._because_asleep(t)
            self._because_energy(-1, -1, wake - left - 1)
            if self._so(2 * u + 1, 0) == 0:
                return 0
        z = self.awake[t]
        if z >= 0:
            now = self._staying(t, self.bound[2 * z])
            top = max(self._staying_at_most(t, left + now), self.bound[2 * z])
            if top < FAR and -top > self.bound[2 * z + 1]:
                self._why()
                self._because_energy(-1, t, self._staying(t, top + 1) - now - left - 1)
                return self._so(2 * z + 1, -top)
        return 1

    def _cap_sendings(self, i: int, left: int) -> int:
        """Where the output of stage i may be wanted, with so much energy left."""
        r = self.r
        for t in range(r):
            y = self.wanted[i * r + t]
            if y < 0 or self._holds(2 * y) or self._holds(2 * y + 1):
                continue
            least = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self._holds(2 * g + 1) == 0 and self.send_us[g * r + t] >= 0:
                    with_it = self.cost[g]
                    if self.resource[g] != t:
                        with_it += self.scale * self.send_nj[g * r + t]
                    least = min(least, with_it)
            if least < FAR and least - self.low[i] > left:
                self._why()
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self._holds(2 * g + 1):
                        self._because(2 * g + 1, 0, 0)
                    else:
                        self._because_sendings(i, g)
                        if self.resource[g] != t and self.send_us[g * r + t] >= 0:
                            self._because_link(self.resource[g] * r + t)
                self._because_energy(i, -1, least - self.low[i] - left - 1)
                if self._so(2 * y + 1, 0) == 0:
                    return 0
        return 1

    def _because_sendings(self, i: int, g: int) -> None:
        r = self.r
        for t in range(r):
            y = self.wanted[i * r + t]
            if y >= 0 and t != self.resource[g] and self.send_nj[g * r + t] > 0 and self._holds(2 * y):
                self._because(2 * y, 1, 0)
                self._because_link(self.resource[g] * r + t)

    def _waking(self, t: int) -> int:
        """What it costs to use resource t at all."""
        return self.scale * self.wake_nj[t] if self.asleep[t] else 0

    def _because_asleep(self, t: int) -> None:
        if self.sleeps[t] >= 0 and self.asleep[t]:
            self._because(2 * self.sleeps[t], 1, 0)

    def _because_energy(self, but: int, but_awake: int, spare: int) -> None:
        """Why all but stage `but` and the waking of `but_awake` costs what it does; it may be less by `spare`.

        The time that `but_awake` was awake before is not part of what is explained: the caller's reason replaces it.
        """
        r = self.r
        for t in range(r):
            z = self.awake[t]
            if z >= 0 and t != but_awake and self.bound[2 * z] > self.common[2 * z]:
                now = self._staying(t, self.bound[2 * z])
                # What it is at the root comes free here.
                enough = self.root[2 * z]
                if now - self._staying(t, enough) > spare:
                    # As short a time as still costs enough; any time at all where it is awake only here.
                    enough = max(self._staying_at_most(t, now - spare - 1) + 1, self.root[2 * z] + 1)
                    enough = min(enough, self.bound[2 * z])
                spare -= now - self._staying(t, enough)
                self._because(2 * z, enough, 0)
            u = self.used[t]
            if u >= 0 and self._waking(t) > 0 and self._holds(2 * u):
                if self.root[2 * u] < 1 and self._waking(t) <= spare:
                    spare -= self._waking(t)
                else:
                    self._because(2 * u, 1, 0)
                    self._because_asleep(t)
        for i in range(self.n):
            if i == but or self.low[i] == self.base[i]:
                continue
            # Modes that are cheaper by no more than may be spared need no reason for being out.
            enough = self.low[i]
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                cost = self.scale * self.energy[g] + self.charged * self.penalty[g]
                if self.common[2 * g + 1] >= 0 or cost >= self.low[i]:
                    continue
                if self.root[2 * g + 1] < 0 and cost >= self.low[i] - spare:
                    enough = min(enough, cost)
                elif self._holds(2 * g + 1) and self._with_sendings(i, g) < self.low[i]:
                    self._because(2 * g + 1, 0, 0)
                else:
                    self._because_sendings(i, g)
            spare -= self.low[i] - enough
        self._because_cap(1, spare // self.scale, 0)
        if self.charged:
            self._because(2 * self.priced_in, self.runs, 0)

    def _before(self, a: int, b: int) -> int:
        """The half that holds when activity a ends before b, on the same resource, starts."""
        t = self.act_at[a]
        if a > b or self.lane_first[t + 1] - self.lane_first[t] > 1:
            return 2 * (self.act_row[a] + b)
        return 2 * (self.act_row[b] + a) + 1

    def _present(self, a: int) -> int:
        return 1 if self.act_on[a] < 0 or self._holds(2 * self.act_on[a]) else 0

    def _absent(self, a: int) -> int:
        return 1 if self.act_on[a] >= 0 and self._holds(2 * self.act_on[a] + 1) else 0

    def _because_present(self, a: int) -> None:
        if self.act_on[a] >= 0:
            self._because(2 * self.act_on[a], 1, 0)

    def _run_activity(self, a: int) -> int:
        """What an activity's times and the decided orders say to the others of its resource, and theirs to it.

        On one lane one of two activities comes first, and which one has to is known from their times.
        """
        if self._absent(a):
            self._drop(a)
            return 1
        t = self.act_at[a]
        if self.bound[2 * self.act_took[a]] == 0 or self.order_first[t] == self.order_first[t + 1]:
            return 1
        one = 1 if self.lane_first[t + 1] - self.lane_first[t] == 1 else 0
        sure = self._present(a)
        if sure:
            self._admit(a)
        # Of two activities that both only may take place nothing follows.
        for m in range(self.act_first[t], self.act_first[t] + (self.shown[t] if sure else self.there[t])):
            b = self.listed[m]
            if a == b or self._absent(b) or self.bound[2 * self.act_took[b]] == 0:
                continue
            if sure:
                first = self._before(a, b)
                if one:
                    if self._run_pair(first, a, b) == 0:
                        return 0
                elif self._holds(first) and self._run_order(first, a, b) == 0:
                    return 0
            if self._present(b):
                first = self._before(b, a)
                if one:
                    if self._run_pair(first, b, a) == 0:
                        return 0
                elif self._holds(first) and self._run_order(first, b, a) == 0:
                    return 0
        return 1

    def _run_pair(self, first: int, a: int, b: int) -> int:
        """Activity a takes place, b may, on one lane; half `first` says that a ends before b starts."""
        sa = self.act_start[a]
        sb = self.act_start[b]
        da = self.act_took[a]
        db = self.act_took[b]
        if self._holds(first) == 0 and self._holds(first ^ 1) == 0:
            end = self.bound[2 * sb] + self.bound[2 * db]
            if end > -self.bound[2 * sa + 1]:
                # b cannot come first.
                if self.common[2 * sb] + self.bound[2 * db] > -self.bound[2 * sa + 1]:
                    end = self.common[2 * sb] + self.bound[2 * db]
                self._why()
                self._because(2 * sb, end - self.bound[2 * db], 0)
                self._because(2 * db, self.bound[2 * db], 0)
                self._because(2 * sa + 1, 1 - end, 0)
                if self._so(first, 1 - (first & 1)) == 0:
                    return 0
            else:
                end = self.bound[2 * sa] + self.bound[2 * da]
                if end > -self.bound[2 * sb + 1]:
                    if self.common[2 * sa] + self.bound[2 * da] > -self.bound[2 * sb + 1]:
                        end = self.common[2 * sa] + self.bound[2 * da]
                    self._why()
                    self._because(2 * sa, end - self.bound[2 * da], 0)
                    self._because(2 * da, self.bound[2 * da], 0)
                    self._because(2 * sb + 1, 1 - end, 0)
                    if self._so(first ^ 1, first & 1) == 0:
                        return 0
        if self._holds(first):
            return self._run_order(first, a, b)
        return 1

    def _run_order(self, first: int, a: int, b: int) -> int:
        """Activity a takes place and ends before b starts."""
        sa = self.act_start[a]
        sb = self.act_start[b]
        da = self.act_took[a]
        took = self.bound[2 * da]
        end = self.bound[2 * sa] + took
        if end > self.bound[2 * sb]:
            self._why()
            self._because_present(a)
            self._because(first, 1 - (first & 1), 0)
            self._because(2 * sa, self.bound[2 * sa], 1)
            self._because(2 * da, took, 0)
            if self._so(2 * sb, end) == 0:
                return 0
        top = -self.bound[2 * sb + 1]
        if top < FAR and took - top > self.bound[2 * sa + 1]:
            self._why()
            self._because_present(a)
            self._because(first, 1 - (first & 1), 0)
            self._because(2 * sb + 1, -top, 1)
            self._because(2 * da, took, 0)
            return self._so(2 * sa + 1, took - top)
        return 1

    def _run_lanes(self, t: int) -> int:
        """Several lanes: what surely runs at a time leaves no lane for others (time-tabling)."""
        lanes = self.lane_first[t + 1] - self.lane_first[t]
        running = 0
        for m in range(self.act_first[t], self.act_first[t] + self.there[t]):
            a = self.listed[m]
            # Surely under way from its latest start to its earliest end, if that is any time at all.
            if self._sure_at(a, -self.bound[2 * self.act_start[a] + 1]):
                self.surely[running] = a
                running += 1
        if running < lanes:
            return 1
        for m in range(running):
            time = -self.bound[2 * self.act_start[self.surely[m]] + 1]
            over = 0
            for o in range(running):
                if self._sure_at(self.surely[o], time):
                    self.over[over] = self.surely[o]
                    over += 1
            if over > lanes:
                self._why()
                for o in range(lanes + 1):
                    self._because_sure(self.over[o], time, time + 1)
                return self._so_not()
            if over == lanes and self._push_out(t, time, over) == 0:
                return 0
        return 1

    def _sure_at(self, a: int, time: int) -> int:
        """Whether activity a is certainly under way at a time."""
        s = self.act_start[a]
        if self._present(a) == 0 or -self.bound[2 * s + 1] > time:
            return 0
        return 1 if self.bound[2 * s] + self.bound[2 * self.act_took[a]] > time else 0

    def _because_sure(self, a: int, time: int, end: int) -> None:
        """Why activity a is under way from `time` to `end`."""
        s = self.act_start[a]
        d = self.act_took[a]
        self._because_present(a)
        self._because(2 * s + 1, -time, 0)
        self._because(2 * d, self.bound[2 * d], 0)
        self._because(2 * s, end - self.bound[2 * d], 0)

    def _push_out(self, t: int, time: int, sure: int) -> int:
        """As many activities as there are lanes are under way at `time`: any other ends before or starts after."""
        for o in range(self.act_first[t], self.act_first[t] + self.shown[t]):
            b = self.listed[o]
            s = self.act_start[b]
            d = self.act_took[b]
            took = self.bound[2 * d]
            if took == 0 or self._absent(b) or self.bound[2 * s] > time or self.bound[2 * s] + took <= time:
                continue
            if self._sure_at(b, time):
                continue
            end = FAR
            for m in range(sure):
                a = self.over[m]
                end = min(end, self.bound[2 * self.act_start[a]] + self.bound[2 * self.act_took[a]])
            self._why()
            for m in range(sure):
                self._because_sure(self.over[m], time, end)
            self._because(2 * d, took, 0)
            self._because(2 * s, time + 1 - took, 0)
            if self._so(2 * s, end) == 0:
                return 0
        return 1

    def _run_load(self, t: int) -> int:
        """What must happen on resource t within some window of time is no more than its lanes can do there."""
        lanes = self.lane_first[t + 1] - self.lane_first[t]
        size = 0
        for m in range(self.act_first[t], self.act_first[t] + self.there[t]):
            a = self.listed[m]
            if self.bound[2 * self.act_took[a]] == 0 or -self.bound[2 * self.act_start[a] + 1] >= FAR // 2:
                continue
            # By falling earliest start.
            start = self.bound[2 * self.act_start[a]]
            at = size
            while at > 0 and self.bound[2 * self.act_start[self.surely[at - 1]]] < start:
                self.surely[at] = self.surely[at - 1]
                at -= 1
            self.surely[at] = a
            size += 1
        for e in range(size):
            stop = self._latest_end(self.surely[e])
            need = 0
            for m in range(size):
                a = self.surely[m]
                if self._latest_end(a) <= stop:
                    need += self.bound[2 * self.act_took[a]]
                    room = lanes * (stop - self.bound[2 * self.act_start[a]])
                    if need > room:
                        self._because_loaded(t, m, stop, need - room - 1)
                        return self._so_not()
        return 1

    def _latest_end(self, a: int) -> int:
        """By when activity a ends if it takes no longer than it has to."""
        return self.bound[2 * self.act_took[a]] - self.bound[2 * self.act_start[a] + 1]

    def _because_loaded(self, t: int, last: int, stop: int, spare: int) -> None:
        """Activities that end by `stop`, of those in `surely` up to `last`; they may take `spare` less in all."""
        start = self.bound[2 * self.act_start[self.surely[last]]]
        size = 0
        for m in range(last + 1):
            a = self.surely[m]
            took = self.bound[2 * self.act_took[a]]
            if self._latest_end(a) > stop:
                continue
            if took <= spare:
                # The others are too much without it.
                spare -= took
            else:
                self.over[size] = a
                size += 1
        start -= spare // (self.lane_first[t + 1] - self.lane_first[t])
        self._why()
        for m in range(size):
            a = self.over[m]
            took = self.bound[2 * self.act_took[a]]
            self._because_present(a)
            self._because(2 * self.act_start[a], start, 0)
            self._because(2 * self.act_start[a] + 1, took - stop, 0)
            self._because(2 * self.act_took[a], took, 0)

    # Decisions

    def _choose_end(self) -> int:
        """Of a stage that could use up half of the lateness left: that it ends in the first half of that time.

        Refuting that is what raises the bound: otherwise every answer would be looked at in which one stage is early
        and another late, and one in which the other is early.
        """
        left = self.cap[0]
        for d in range(self.deadlines):
            left -= self.weight[d] * max(self.bound[2 * self.end[self.due_stage[d]]] - self.due[d], 0)
        most = left // 2
        best = -1
        for d in range(self.deadlines):
            e = self.end[self.due_stage[d]]
            low = max(self.bound[2 * e], self.due[d])
            more = -self.bound[2 * e + 1] - low
            if 0 < more < FAR // 2 and self.weight[d] * more >= most:
                most = self.weight[d] * more
                best = 2 * e + 1
                self.aim = -(low + more // 2)
        return best

    def _choose(self) -> int:
        """The half to reach its `aim` next; -1 where nothing is open and nothing overlaps; -2 on a conflict."""
        chosen = self._choose_end()
        if chosen < 0:
            chosen = self._choose_mode_or_order()
            self.aim = 1 - (chosen & 1)
        return chosen

    def _choose_mode_or_order(self) -> int:
        """A mode or an order to let hold next; as `_choose`."""
        best = -1
        most = -1
        for i in range(self.n):
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.activity[g] > most and self._holds(2 * g) == 0 and self._holds(2 * g + 1) == 0:
                    most = self.activity[g]
                    best = g
        for t in range(self.r):
            if self.order_first[t] < self.order_first[t + 1]:
                chosen = self._overlap(t, most)
                if chosen == -2:
                    return -2
                if chosen >= 0:
                    # The activity that made it the best so far is in `heat`.
                    most = self.heat
                    best = -2 - chosen
        if best == -1:
            return -1
        if best < -1:
            return -2 - best
        return self._mode_choice(best)

    def _mode_choice(self, g: int) -> int:
        """Of the stage of mode g: the mode of the best answer so far, else the one that ends or costs least."""
        i = self.stage_of[g]
        best = -1
        least = FAR
        self._charge(1 if self.kernel.rows > 0 else 0)
        for h in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._holds(2 * h + 1):
                continue
            if self.phase[h]:
                return 2 * h
            if self.target == 1:
                value = self._with_sendings(i, h)
            elif self.target == 3:
                value = self.loss[h]
            else:
                value = self.bound[2 * self.begin[i * self.r + self.resource[h]]] + self.duration[h]
            if value < least:
                least = value
                best = h
        return 2 * best

    def _overlap(self, t: int, most: int) -> int:
        """Of activities that would overlap on resource t if each started as early as it can: an order to decide.

        The order with the highest activity above `most`; -1 if there is none; -2 if no order is left to choose.
        """
        lanes = self.lane_first[t + 1] - self.lane_first[t]
        best = -1
        there = 0
        for m in range(self.act_first[t], self.act_first[t] + self.there[t]):
            a = self.listed[m]
            if self.bound[2 * self.act_took[a]]:
                self.surely[there] = a
                there += 1
        for m in range(there):
            a = self.surely[m]
            time = self.bound[2 * self.act_start[a]]
            over = 0
            for o in range(there):
                if self._under_way(self.surely[o], time):
                    self.over[over] = self.surely[o]
                    over += 1
            if over <= lanes:
                continue
            if lanes > 1:
                chosen = self._untangle(lanes + 1, most)
                if chosen == -2:
                    return -2
                if chosen >= 0:
                    best = chosen
                    most = self.heat
                continue
            for o in range(over):
                b = self.over[o]
                if a == b:
                    continue
                first = self._before(a, b)
                if self._holds(first) or self._holds(first ^ 1):
                    continue
                if self.activity[first >> 1] > most:
                    most = self.activity[first >> 1]
                    # First what starts first; at one time what has to.
                    other = self.bound[2 * self.act_start[b]]
                    if other < time:
                        best = first ^ 1
                    elif self.bound[2 * self.act_start[a] + 1] >= self.bound[2 * self.act_start[b] + 1]:
                        best = first
                    else:
                        best = first ^ 1
        self.heat = most
        return best

    def _under_way(self, b: int, time: int) -> int:
        """Whether activity b would be under way at a time if it started as early as it can."""
        start = self.bound[2 * self.act_start[b]]
        if start > time:
            return 0
        return 1 if start + self.bound[2 * self.act_took[b]] > time else 0

    def _untangle(self, size: int, most: int) -> int:
        """Of one activity too many at a time (in `over`), two of which one is to wait for the other.

        -2, with `conflict` set, if no two of them may.
        """
        best = -1
        open_orders = 0
        soonest = FAR
        for m in range(size):
            a = self.over[m]
            end = self.bound[2 * self.act_start[a]] + self.bound[2 * self.act_took[a]]
            for o in range(size):
                b = self.over[o]
                if a == b or self.act_on[b] < 0:
                    continue
                first = self._before(a, b)
                if self._holds(first ^ 1):
                    continue
                open_orders += 1
                if self.activity[first >> 1] > most or (
                    self.activity[first >> 1] == most and best >= 0 and end < soonest
                ):
                    most = self.activity[first >> 1]
                    soonest = end
                    best = first
        if open_orders == 0:
            self._why()
            for m in range(size):
                self._because_present(self.over[m])
                for o in range(size):
                    if m != o and self.act_on[self.over[o]] >= 0:
                        first = self._before(self.over[m], self.over[o])
                        self._because(first ^ 1, first & 1, 0)
            self._so_not()
            return -2
        self.heat = most
        return best

    def _found(self) -> None:
        """Give the kernel the answer in which everything starts as early as it can."""
        r = self.r
        for i in range(self.n):
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self._holds(2 * g):
                    self.answer_mode[i] = g
                    self.answer_start[i] = self.bound[2 * self.begin[i * r + self.resource[g]]]
                self.phase[g] = self._holds(2 * g)
        for i in range(self.n):
            for t in range(r):
                self.answer_start[self.n + i * r + t] = self.bound[2 * self.end[i]]
        for t in range(r):
            for a in range(self.act_first[t], self.act_first[t + 1]):
                if self.act_of[a] >= self.n and self._present(a):
                    self.answer_start[self.act_of[a]] = self.bound[2 * self.act_start[a]]
