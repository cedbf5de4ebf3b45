"""What follows from what: the rules of a formulation deduce atoms from atoms, and say why.

One source, compiled (types in `propagation.pxd`) or interpreted, as `schedule.py` is. What is known is a trail of
atoms; each has its reason, which is a clause or a list of atoms of its own, and what was deduced after a decision is
undone with it. Methods are `final` for the compiler to call them directly: to look each up takes a quarter longer.
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
    from leo_runtime.solver.search.bounds import SCALE
    from leo_runtime.solver.search.formulation import HEADER
    from leo_runtime.solver.search.schedule import FAR

COMPILED: bool = cython.compiled

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
        self.arena_max = self.reasons_max + 3 * reason

    def _carve_trail(self) -> None:
        n, r, g, v = self.n, self.r, self.g, self.vars_max
        halves = 2 * v
        rules = self.mins_max + self.sums_max + n + self.acts_max + 3 * r + self.budgets + 5
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _because_cap(self, c: int, spare: int, slope: int) -> None:
        """The cap on criterion c, which might be higher by `spare`, and by `slope` times what is needed less."""
        self._because(2 * self.total[c] + 1, -self.cap[c] - spare, slope)

    @cython.final
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
            self.least[i] = FAR
            self.least_ever[i] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] < 0:
                    self.least_ever[i] = min(self.least_ever[i], self.cost[g])
                if self._holds(2 * g + 1) == 0:
                    self.least[i] = min(self.least[i], self.cost[g])
            if self.least[i] == FAR:
                return 1
            left -= self.least[i]
        if left < 0:
            self._why()
            self._because_row(rule, -1, -left - 1)
            return self._so_not()
        for g in range(self.g):
            i = self.stage_of[g]
            if self._holds(2 * g + 1) == 0 and self.cost[g] - self.least[i] > left:
                self._why()
                self._because_row(rule, i, self.cost[g] - self.least[i] - left - 1)
                if self._so(2 * g + 1, 0) == 0:
                    return 0
        return 1

    @cython.final
    def _because_row(self, rule: int, but: int, spare: int) -> None:
        """The modes ruled out by which stages other than `but` add what they do; it may be less by `spare`."""
        for i in range(self.n):
            if i == but or self.least[i] == self.least_ever[i]:
                continue
            enough = self.least[i]
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] >= 0 or self.cost[g] >= self.least[i]:
                    continue
                if self.root[2 * g + 1] < 0 and self.cost[g] >= self.least[i] - spare:
                    enough = min(enough, self.cost[g])
                else:
                    self._because(2 * g + 1, 0, 0)
            spare -= self.least[i] - enough
        if rule == self.rule_loss:
            self._because_cap(3, spare, 0)

    @cython.final
    def _charge(self, charged: int) -> None:
        """Count energy as it is (0), or in the kernel's fractions with charges for what is scarce (1)."""
        self.charged = charged
        self.scale = SCALE if charged else 1

    @cython.final
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

    @cython.final
    def _staying(self, t: int, until: int) -> int:
        """What being awake on resource t until some time costs, less what its work is charged for."""
        if until <= 0:
            return 0
        cost: int = self.scale * self.awake_mw[t] * until
        if self.charged:
            lanes = self.lane_first[t + 1] - self.lane_first[t]
            cost -= self.awake_price[t] * lanes * (until - self.earliest[t])
        return cost

    @cython.final
    def _staying_at_most(self, t: int, cost: int) -> int:
        """Until when resource t may be awake for that to cost no more than this."""
        lanes = self.lane_first[t + 1] - self.lane_first[t]
        rate = self.scale * self.awake_mw[t] - self.charged * self.awake_price[t] * lanes
        more = self.charged * self.awake_price[t] * lanes * self.earliest[t]
        if cost < more:
            return 0
        return (cost - more) // rate if rate > 0 else FAR

    @cython.final
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
                more = self.cost[g] - self.least[i]
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

    @cython.final
    def _energy_left(self, charged: int) -> int:
        """What is left of the energy's cap (see `_run_energy`); `FAR` where a stage has no mode any more.

        `least` and `cost` then say what every stage and each of its modes adds, `least_ever` what it always would.
        """
        self._charge(charged)
        left: int = self.scale * self.cap[1]
        if charged:
            left += self.kernel.row_credit
        for i in range(self.n):
            self.least[i] = FAR
            self.least_ever[i] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] < 0:
                    self.least_ever[i] = min(
                        self.least_ever[i], self.scale * self.energy[g] + charged * self.penalty[g]
                    )
                if self._holds(2 * g + 1) == 0:
                    self.cost[g] = self._with_sendings(i, g)
                    self.least[i] = min(self.least[i], self.cost[g])
            if self.least[i] == FAR:
                return FAR
            left -= self.least[i]
        for t in range(self.r):
            if self.used[t] >= 0 and self._holds(2 * self.used[t]):
                left -= self._waking(t)
            if self.awake[t] >= 0:
                left -= self._staying(t, self.bound[2 * self.awake[t]])
        return left

    @cython.final
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

    @cython.final
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
            if least < FAR and least - self.least[i] > left:
                self._why()
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self._holds(2 * g + 1):
                        self._because(2 * g + 1, 0, 0)
                    else:
                        self._because_sendings(i, g)
                        if self.resource[g] != t and self.send_us[g * r + t] >= 0:
                            self._because_link(self.resource[g] * r + t)
                self._because_energy(i, -1, least - self.least[i] - left - 1)
                if self._so(2 * y + 1, 0) == 0:
                    return 0
        return 1

    @cython.final
    def _because_sendings(self, i: int, g: int) -> None:
        r = self.r
        for t in range(r):
            y = self.wanted[i * r + t]
            if y >= 0 and t != self.resource[g] and self.send_nj[g * r + t] > 0 and self._holds(2 * y):
                self._because(2 * y, 1, 0)
                self._because_link(self.resource[g] * r + t)

    @cython.final
    def _waking(self, t: int) -> int:
        """What it costs to use resource t at all."""
        return self.scale * self.wake_nj[t] if self.asleep[t] else 0

    @cython.final
    def _because_asleep(self, t: int) -> None:
        if self.sleeps[t] >= 0 and self.asleep[t]:
            self._because(2 * self.sleeps[t], 1, 0)

    @cython.final
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
            if i == but or self.least[i] == self.least_ever[i]:
                continue
            # Modes that are cheaper by no more than may be spared need no reason for being out.
            enough = self.least[i]
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                cost = self.scale * self.energy[g] + self.charged * self.penalty[g]
                if self.common[2 * g + 1] >= 0 or cost >= self.least[i]:
                    continue
                if self.root[2 * g + 1] < 0 and cost >= self.least[i] - spare:
                    enough = min(enough, cost)
                elif self._holds(2 * g + 1) and self._with_sendings(i, g) < self.least[i]:
                    self._because(2 * g + 1, 0, 0)
                else:
                    self._because_sendings(i, g)
            spare -= self.least[i] - enough
        self._because_cap(1, spare // self.scale, 0)
        if self.charged:
            self._because(2 * self.priced_in, self.runs, 0)

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

    @cython.final
    def _run_lanes(self, t: int) -> int:
        """Several lanes: what surely runs at a time leaves no lane for others (time-tabling)."""
        lanes = self.lane_first[t + 1] - self.lane_first[t]
        running = 0
        for m in range(self.act_first[t], self.act_first[t] + self.there[t]):
            a = self.listed[m]
            # Surely under way from its latest start to its earliest end, if that is any time at all.
            if self._sure_at(a, -self.bound[2 * self.act_start[a] + 1]):
                self.certain[running] = a
                running += 1
        if running < lanes:
            return 1
        for m in range(running):
            time = -self.bound[2 * self.act_start[self.certain[m]] + 1]
            over = 0
            for o in range(running):
                if self._sure_at(self.certain[o], time):
                    self.group[over] = self.certain[o]
                    over += 1
            if over > lanes:
                self._why()
                for o in range(lanes + 1):
                    self._because_sure(self.group[o], time, time + 1)
                return self._so_not()
            if over == lanes and self._push_out(t, time, over) == 0:
                return 0
        return 1

    @cython.final
    def _sure_at(self, a: int, time: int) -> int:
        """Whether activity a is certainly under way at a time."""
        s = self.act_start[a]
        if self._present(a) == 0 or -self.bound[2 * s + 1] > time:
            return 0
        return 1 if self.bound[2 * s] + self.bound[2 * self.act_took[a]] > time else 0

    @cython.final
    def _because_sure(self, a: int, time: int, end: int) -> None:
        """Why activity a is under way from `time` to `end`."""
        s = self.act_start[a]
        d = self.act_took[a]
        self._because_present(a)
        self._because(2 * s + 1, -time, 0)
        self._because(2 * d, self.bound[2 * d], 0)
        self._because(2 * s, end - self.bound[2 * d], 0)

    @cython.final
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
                a = self.group[m]
                end = min(end, self.bound[2 * self.act_start[a]] + self.bound[2 * self.act_took[a]])
            self._why()
            for m in range(sure):
                self._because_sure(self.group[m], time, end)
            self._because(2 * d, took, 0)
            self._because(2 * s, time + 1 - took, 0)
            if self._so(2 * s, end) == 0:
                return 0
        return 1

    @cython.final
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
            while at > 0 and self.bound[2 * self.act_start[self.certain[at - 1]]] < start:
                self.certain[at] = self.certain[at - 1]
                at -= 1
            self.certain[at] = a
            size += 1
        for e in range(size):
            stop = self._latest_end(self.certain[e])
            need = 0
            for m in range(size):
                a = self.certain[m]
                if self._latest_end(a) <= stop:
                    need += self.bound[2 * self.act_took[a]]
                    room = lanes * (stop - self.bound[2 * self.act_start[a]])
                    if need > room:
                        self._because_loaded(t, m, stop, need - room - 1)
                        return self._so_not()
        return 1

    @cython.final
    def _latest_end(self, a: int) -> int:
        """By when activity a ends if it takes no longer than it has to."""
        return self.bound[2 * self.act_took[a]] - self.bound[2 * self.act_start[a] + 1]

    @cython.final
    def _because_loaded(self, t: int, last: int, stop: int, spare: int) -> None:
        """Activities that end by `stop`, of those in `certain` up to `last`; they may take `spare` less in all."""
        start = self.bound[2 * self.act_start[self.certain[last]]]
        size = 0
        for m in range(last + 1):
            a = self.certain[m]
            took = self.bound[2 * self.act_took[a]]
            if self._latest_end(a) > stop:
                continue
            if took <= spare:
                # The others are too much without it.
                spare -= took
            else:
                self.group[size] = a
                size += 1
        start -= spare // (self.lane_first[t + 1] - self.lane_first[t])
        self._why()
        for m in range(size):
            a = self.group[m]
            took = self.bound[2 * self.act_took[a]]
            self._because_present(a)
            self._because(2 * self.act_start[a], start, 0)
            self._because(2 * self.act_start[a] + 1, took - stop, 0)
            self._because(2 * self.act_took[a], took, 0)
