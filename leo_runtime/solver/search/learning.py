"""From a dead end to a clause that forbids it, and which of the learned clauses are kept.

A contradiction is traced back through the reasons of what led to it, from the last deduction to the first, until of the
last decision a single atom is left (the first unique implication point; Marques-Silva and Sakallah, 1999). One source,
compiled (types in `learning.pxd`) or interpreted, as `schedule.py` is; methods are `final` as in `propagation.py`.
"""

from typing import TYPE_CHECKING

from leo_runtime.solver.search.caps import Caps

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

STORE = 1 << 20
"""Room for learned clauses, in integers."""
BUMP = 1 << 10
"""What having part in a dead end adds to a variable's activity at first; a thirty-second more each time."""
HIGH = 1 << 50
"""Where what is added is scaled down, and all activities with it."""
KEPT = 2
"""Clauses whose atoms are of this many levels or fewer are kept while a problem is searched."""


class Learning(Caps):
    """What is learned from contradictions."""

    def __init__(self, lasting: bool) -> None:
        super().__init__(lasting)
        self.failures = 0
        self.stamp = 0
        self.crowded = 0

    def _count_learning(self) -> None:
        self.store_max = self.static_max + STORE

    def _carve_learning(self) -> None:
        halves = 2 * self.vars_max
        self.need = self._take(halves)
        self.place = self._take(halves)
        self.inside = self._take(halves)
        self.given = self._take(halves)
        self.given_need = self._take(halves)
        self.given_list = self._take(halves)
        self.activity = self._take(self.vars_max)
        self.set_list = self._take(halves + self.trail_max)
        self.cause = self._take(max(2 * halves, self.arena_max - self.reasons_max))
        self.level_seen = self._take(self.vars_max + 1)

    @cython.final
    def _learn_nothing(self) -> None:
        """Nothing is learned."""
        for v in range(self.vars_max):
            self.activity[v] = 0
            self.level_seen[v] = 0
        self.level_seen[self.vars_max] = 0
        self.bump = BUMP

    @cython.final
    def _entry(self, h: int, value: int) -> int:
        """Where on the trail half h reached a value."""
        e = self.newest[h]
        while self.trail_before[e] >= value:
            e = self.trail_last[e]
        return e

    @cython.final
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

    @cython.final
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

    @cython.final
    def _unfold(self, reason: int, h: int, less: int) -> int:
        """Write into `cause` the atoms that a reason gives for half h's reaching what it proved, or `less` short of it.

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

    @cython.final
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

    @cython.final
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
                if h < 2 * self.g or h >= 2 * self.window_start:
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

    @cython.final
    def _cool(self) -> None:
        for v in range(self.vars):
            self.activity[v] = self.activity[v] >> 30
        self.bump = max(self.bump >> 30, 16)

    @cython.final
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

    @cython.final
    def _implied(self, h: int) -> int:
        """Whether all that half h's atom was deduced from is among the atoms, each from an earlier time."""
        e = self.place[h]
        if self.trail_reason[e] < 0:
            return 0
        for m in range(self._unfold(self.trail_reason[e], h, self.trail_value[e] - self.need[h])):
            if self._covered(self.cause[2 * m], self.cause[2 * m + 1], e) == 0:
                return 0
        return 1

    @cython.final
    def _covered(self, h: int, value: int, e: int) -> int:
        if value <= self.root[h]:
            return 1
        return 1 if self.inside[h] and self.need[h] >= value and self.place[h] < e else 0

    @cython.final
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

    @cython.final
    def _has_much(self) -> int:
        """Whether half of the room for learned clauses is taken."""
        return 1 if self.store_size - self.static_size > STORE // 2 else 0

    @cython.final
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

    @cython.final
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
