"""What follows from what: the rules of a formulation deduce atoms from atoms, and say why.

One source, compiled (types in `propagation.pxd`) or interpreted, as `schedule.py` is. What is known is a trail of
atoms; each has its reason, which is a clause or a list of atoms of its own, and what was deduced after a decision is
undone with it. Methods are `final` for the compiler to call them directly, which it can within a file: to look each up
takes a quarter longer. So the rules that ask most of the trail are here; those of lanes are in `lanes.py`, those
of the caps in `caps.py`.
"""

from typing import TYPE_CHECKING

from leo_runtime.solver.search.formulation import Formulation

if TYPE_CHECKING:
    # Without types, `final` would take those of the methods away.
    from leo_runtime.solver.search import uncompiled as cython
else:
    try:
        import cython
    except ImportError:
        from leo_runtime.solver.search import uncompiled as cython

if not cython.compiled:
    from leo_runtime.solver.search.formulation import HEADER
    from leo_runtime.solver.search.schedule import FAR

ARENA = 1 << 20
"""Room for the reasons of what is known at the moment."""


class Propagation(Formulation):
    """What is known of a formulation's variables, and what is deduced from it."""

    def __init__(self, lasting: bool) -> None:
        super().__init__(lasting)
        self.full = 0
        self.runs = 0
        self.states = 0

    def _share_caps(self) -> None:
        self.alive = self.kernel.alive
        self.budget_max = self.kernel.budget_max
        self.send_nj = self.kernel.send_nj
        self.cap = self.kernel.cap
        self.penalty = self.kernel.penalty
        self.awake_price = self.kernel.awake_price

    def _count_trail(self) -> None:
        n, r = self.n, self.r
        self.trail_max = 64 * (self.g + 4 * n * r) + 4 * self.vars_max + 4096
        # What one reason may have, which is looked at before it is begun: stages' modes with their sendings, orders, or
        # what is known of every activity.
        lanes = 0
        for t in range(r):
            lanes = max(lanes, self.lane_first[t + 1] - self.lane_first[t])
        reason = self.g * (2 * r + 2) + 2 * r + self.deadlines + (lanes + 2) * (lanes + 2) + 4 * self.acts_max + 16
        self.reasons_max = ARENA * (1 + n // 32)
        self.arena_max = self.reasons_max + 3 * (reason + self.vars_window)

    def _carve_trail(self) -> None:
        n, r, g, v = self.n, self.r, self.g, self.vars_max
        halves = 2 * v
        rules = self.mins_max + self.sums_max + n + self.acts_max + 3 * r + self.budgets + 6
        self.bound = self._take(halves)
        self.root = self._take(halves)
        self.common = self._take(halves)
        self.newest = self._take(halves)
        self.listed = self._take(self.acts_max)
        self.where = self._take(self.acts_max)
        self.shown = self._take(r)
        self.there = self._take(r)
        self.gone = self._take(2 * self.acts_max)
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
        self.cost = self._take(g)
        self.least = self._take(n)
        self.least_ever = self._take(n)
        self.queue = self._take(rules + 1)
        self.heavy = self._take(rules + 1)
        self.queued = self._take(rules)
        self.group = self._take(self.acts_max)
        self.certain = self._take(self.acts_max)

    @cython.final
    def _empty(self) -> None:
        """Nothing is decided, deduced or waiting to be looked at."""
        self.level = 0
        self.trail = 0
        self.arena_size = 0
        self.reached = 0
        self.full = 0
        self.gone_size = 0
        self.waiting = 0
        self.taken = 0
        self.heavy_waiting = 0
        self.heavy_taken = 0
        for rule in range(self.rules):
            self.queued[rule] = 0

    @cython.final
    def _settle(self) -> None:
        """At the root, what is known needs no reason any more."""
        for e in range(self.trail):
            h = self.trail_half[e]
            self.newest[h] = -1
            self.root[h] = self.bound[h]
        self.trail = 0
        self.reached = 0
        self.arena_size = 0

    @cython.final
    def _decide(self, h: int, value: int) -> None:
        """Let half h reach a value, to see what follows."""
        self.level += 1
        self.level_trail[self.level] = self.trail
        self.level_arena[self.level] = self.arena_size
        self.level_gone[self.level] = self.gone_size
        self._set(h, value, -1)

    @cython.final
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

    @cython.final
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

    @cython.final
    def _why(self) -> None:
        """Begin a reason: the atoms given to `_because` from here on."""
        if self.arena_size > self.reasons_max:
            self.full = 1
        self.reason = self.arena_size
        self.arena_size += 1

    @cython.final
    def _because(self, h: int, value: int, slope: int) -> None:
        """An atom of the reason; it need reach less by `slope` times what what it proves is needed less."""
        if value <= self.common[h]:
            return
        self.arena[self.arena_size] = h
        self.arena[self.arena_size + 1] = value
        self.arena[self.arena_size + 2] = slope
        self.arena_size += 3

    @cython.final
    def _so(self, h: int, value: int) -> int:
        """What follows from the reason given."""
        self.arena[self.reason] = (self.arena_size - self.reason - 1) // 3
        return self._set(h, value, 2 * self.reason + 1)

    @cython.final
    def _so_not(self) -> int:
        """Nothing can be so as the reason given says."""
        self.arena[self.reason] = (self.arena_size - self.reason - 1) // 3
        self.conflict_half = -1
        self.conflict_value = 0
        self.conflict_reason = 2 * self.reason + 1
        return 0

    @cython.final
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

    @cython.final
    def _wake_caps(self) -> None:
        self._wake(self.rule_late)
        self._wake(self.rule_energy)
        self._wake(self.rule_priced)
        self._wake(self.rule_window)
        self._wake(self.rule_loss)

    @cython.final
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

    @cython.final
    def _run_heavy(self, rule: int) -> int:
        if rule == self.rule_late:
            return self._run_late()
        if rule == self.rule_energy:
            return self._run_energy(0)
        if rule == self.rule_priced:
            return self._run_energy(1)
        if rule == self.rule_window:
            return self._run_window()
        if rule >= self.rule_memory:
            return self._run_row(rule)
        if rule >= self.rule_load:
            return self._run_load(rule - self.rule_load)
        if rule >= self.rule_activity:
            return self._run_activity(rule - self.rule_activity)
        return self._run_lanes(rule - self.rule_lanes)

    @cython.final
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

    # A resource's activities are listed: first those that surely take place, then those that may (`shown` in all), then
    # those that do not. Each move is noted in `gone`, and undone with the decision that led to it: the last one moved
    # is still at the edge it was moved across.

    @cython.final
    def _swap(self, m: int, o: int) -> None:
        a = self.listed[m]
        b = self.listed[o]
        self.listed[m] = b
        self.listed[o] = a
        self.where[b] = m
        self.where[a] = o

    @cython.final
    def _drop(self, a: int) -> None:
        """Activity a does not take place."""
        t = self.act_at[a]
        last = self.act_first[t] + self.shown[t] - 1
        if self.where[a] <= last:
            self._swap(self.where[a], last)
            self.shown[t] -= 1
            self.gone[self.gone_size] = 2 * t
            self.gone_size += 1

    @cython.final
    def _admit(self, a: int) -> None:
        """Activity a surely takes place."""
        t = self.act_at[a]
        next_one = self.act_first[t] + self.there[t]
        if self.where[a] >= next_one:
            self._swap(self.where[a], next_one)
            self.there[t] += 1
            self.gone[self.gone_size] = 2 * t + 1
            self.gone_size += 1

    @cython.final
    def _holds(self, h: int) -> int:
        """Whether a variable of 0 or 1 is known to be 1 (its even half) or 0 (its odd half)."""
        return 1 if self.bound[h] + (h & 1) >= 1 else 0

    # Rules

    @cython.final
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

    @cython.final
    def _useless(self, gate: int) -> int:
        """Whether a variable of 0 or 1 was 0 before the last decision: then so it is as long as what is deduced now."""
        if gate < 0 or self._holds(2 * gate + 1) == 0:
            return 0
        e = self.newest[2 * gate + 1]
        return 1 if e < 0 or self.trail_level[e] < self.level else 0

    @cython.final
    def _term_value(self, m: int) -> int:
        value = self.term_us[m]
        if self.term_a[m] >= 0:
            value += self.bound[2 * self.term_a[m]]
        if self.term_b[m] >= 0:
            value = max(value, self.bound[2 * self.term_b[m]] + self.term_more[m])
        return value

    @cython.final
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

    @cython.final
    def _because_link(self, link: int) -> None:
        """A link is as slow and as dear as it is."""
        if self.lasting:
            self._because(2 * (self.slow + link), self.states, 0)

    @cython.final
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

    @cython.final
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

    # What `lanes.py`, `caps.py` and `windows.py` override.

    def _run_late(self) -> int:
        """Tardiness is at most its cap."""
        return 1

    def _run_row(self, rule: int) -> int:  # noqa: ARG002
        """Memory, a budget or loss is at most its cap."""
        return 1

    def _run_energy(self, charged: int) -> int:  # noqa: ARG002
        """Energy is at most its cap."""
        return 1

    def _run_window(self) -> int:
        """A window's energy is at most its cap."""
        return 1

    def _run_lanes(self, t: int) -> int:  # noqa: ARG002
        """What surely runs at a time leaves no lane for others."""
        return 1

    def _run_load(self, t: int) -> int:  # noqa: ARG002
        """What must happen within some window of time is no more than its lanes can do there."""
        return 1

    @cython.final
    def _before(self, a: int, b: int) -> int:
        """The half that holds when activity a ends before b, on the same resource, starts."""
        t = self.act_at[a]
        if a > b or self.lane_first[t + 1] - self.lane_first[t] > 1:
            return 2 * (self.act_row[a] + b)
        return 2 * (self.act_row[b] + a) + 1

    @cython.final
    def _present(self, a: int) -> int:
        return 1 if self.act_on[a] < 0 or self._holds(2 * self.act_on[a]) else 0

    @cython.final
    def _absent(self, a: int) -> int:
        return 1 if self.act_on[a] >= 0 and self._holds(2 * self.act_on[a] + 1) else 0

    @cython.final
    def _because_present(self, a: int) -> None:
        if self.act_on[a] >= 0:
            self._because(2 * self.act_on[a], 1, 0)

    @cython.final
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

    @cython.final
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

    @cython.final
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
