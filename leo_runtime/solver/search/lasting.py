"""What was learned of one frame and holds for the next: prices and links under a number, and the roots.

Lanes are ready at other times, processors asleep and links slower from frame to frame. What a clause needs of that is
among its atoms: "priced as in run 3", "this link as slow as in state 2" say that a problem is no easier in any of it
than the one of that number was. One source, compiled (types in `lasting.pxd`) or interpreted, as `schedule.py` is;
methods are `final` as in `propagation.py`.
"""

from typing import TYPE_CHECKING

from leo_runtime.solver.search.arrays import Ints
from leo_runtime.solver.search.learning import Learning

if TYPE_CHECKING:
    # Without types, `final` would take those of the methods away.
    from leo_runtime.solver.search import uncompiled as cython
else:
    try:
        import cython
    except ImportError:
        from leo_runtime.solver.search import uncompiled as cython

if not cython.compiled:
    from leo_runtime.solver.search.formulation import CRITERIA, HEADER
    from leo_runtime.solver.search.schedule import FAR

LASTING = 1 << 15
"""Room for the learned clauses that last from one problem to the next."""
RUNS = 1 << 10
"""How many sets of prices are remembered; all that is learned is forgotten when there are more."""
SPARE_RUNS = 1 << 7
"""For how many more there should be room as a problem begins."""
STATES = 1 << 8
"""How many states of the links are remembered."""
LINK = 4
"""The numbers of a link: latency, rate, and what it costs a time and a byte."""


class Lasting(Learning):
    """What is known at the root: of every problem of this shape, of this one, and of those before it."""

    def __init__(self, lasting: bool) -> None:
        super().__init__(lasting)
        self.recalled = -1
        self.target = 0

    def _carve_lasting(self) -> None:
        r, g = self.r, self.g
        self.base_bound = self._take(2 * self.vars_max)
        self.run_cap = self._take(CRITERIA * RUNS)
        self.run_asleep = self._take(r * RUNS)
        self.run_state = self._take(RUNS)
        self.run_new = self._take(RUNS + 1)
        self.state_link = self._take(LINK * r * r * STATES if self.lasting else 0)
        self.state_new = self._take(STATES + 1)
        self.kept_prices = self._take(CRITERIA * (2 * g + r + 2))
        self.kept_run = self._take(CRITERIA)
        self.lane_opens = self._take(self.lane_first[r])
        self.opens_first = self._take(r)
        self.common_lists = self._take(self.acts_max + 2 * r)
        self.base_lists = self._take(self.acts_max + 2 * r)

    @cython.final
    def _start(self) -> int:
        """Back to the root of this problem. Returns 0 if that alone is impossible."""
        if self.impossible:
            return 0
        self._empty()
        self._restore(self.base_bound, self.base_lists)
        return 1

    @cython.final
    def _base(self) -> None:
        """Deduce what is so in this problem, whatever the caps."""
        self._empty()
        self.recalled = -1
        for c in range(CRITERIA):
            self.cap[c] = FAR
        self._restore(self.common, self.common_lists)
        if self.lasting:
            for q in range(self.mins):
                self._wake(q)
            fine = 1 if self._set_apart() and self._watch_all(self.static_size) and self._propagate() else 0
            self.impossible = 1 if fine == 0 and self.full == 0 else self.never
        self._save(self.base_bound, self.base_lists)

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _see_common(self) -> None:
        """Deduce what is so in every problem of this shape, whatever the caps: that needs no reason."""
        self._empty()
        for h in range(2 * self.vars):
            self.bound[h] = self.initial[h]
            self.root[h] = self.initial[h]
            self.common[h] = self.initial[h]
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _keep_prices(self) -> None:
        """Remember the prices, and the modes that they rule out, for when this criterion is next minimised."""
        first = self.target * (2 * self.g + self.r + 2)
        self.kept_run[self.target] = self.runs
        for g in range(self.g):
            self.kept_prices[first + g] = self.penalty[g]
            self.kept_prices[first + self.g + g] = self.alive[g]
        first += 2 * self.g
        for t in range(self.r):
            self.kept_prices[first + t] = self.awake_price[t]
        self.kept_prices[first + self.r] = self.kernel.row_credit
        self.kept_prices[first + self.r + 1] = self.kernel.rows

    @cython.final
    def _recall_prices(self) -> int:
        """Set the prices kept if they hold, else none. Returns 0 if there is no answer within the caps."""
        self.kernel._clear_prices()
        run = self.kept_run[self.target]
        if run == 0 or self._prices_hold(run) == 0:
            self._note_run()
            return 1
        first = self.target * (2 * self.g + self.r + 2)
        for g in range(self.g):
            self.penalty[g] = self.kept_prices[first + g]
            self.alive[g] = self.kept_prices[first + self.g + g]
        first += 2 * self.g
        for t in range(self.r):
            self.awake_price[t] = self.kept_prices[first + t]
        self.kernel.row_credit = self.kept_prices[first + self.r]
        self.kernel.rows = self.kept_prices[first + self.r + 1]
        self._note_run()
        return self._drop_dead()

    @cython.final
    def _drop_dead(self) -> int:
        """At the root: rule out the modes that the kernel has. Returns 0 if that leaves nothing."""
        for g in range(self.g):
            if self.alive[g] == 0 and self._set(2 * g + 1, 0, -1) == 0:
                return 0
        return 1

    @cython.final
    def _prices_hold(self, run: int) -> int:
        """Whether what was deduced at the prices of a run (from 1) is true of this problem, at its caps."""
        for c in range(CRITERIA):
            if self.cap[c] > self.run_cap[CRITERIA * (run - 1) + c]:
                return 0
        for t in range(self.r):
            if self.run_asleep[self.r * (run - 1) + t] > self.asleep[t]:
                return 0
        if self.lasting:
            for link in range(self.r * self.r):
                if self._link_holds(link, self.run_state[run - 1]) == 0:
                    return 0
        return 1

    @cython.final
    def _link_holds(self, link: int, state: int) -> int:
        """Whether a link is at least as slow and as dear as in a state of the links (from 1)."""
        at = LINK * ((state - 1) * self.r * self.r + link)
        for k in range(LINK):
            if self._link_number(link, k) < self.state_link[at + k]:
                return 0
        return 1

    @cython.final
    def _link_number(self, link: int, k: int) -> int:
        """The k-th of the numbers of a link of which more is slower or dearer."""
        number: int = self.links[6 * link + 1 + k]
        if k == 1:
            number = -number if number > 0 else -FAR
        return number

    @cython.final
    def _number_holds(self, h: int, number: int) -> int:
        """Whether what is said of prices, or of a link, by their number is true of this problem."""
        if h == 2 * self.priced_in + 1:
            return self._prices_hold(number)
        return self._link_holds((h >> 1) - self.slow, number)

    @cython.final
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

    @cython.final
    def _has_a_run_left(self) -> int:
        """Whether there is a number left for the next prices."""
        return 1 if self.runs < RUNS else 0

    @cython.final
    def _make_room(self) -> None:
        """Before another problem: forget what there would be too much of."""
        if self.store_size - self.static_size > LASTING:
            self._forget_unused()
        if self.runs > RUNS - SPARE_RUNS or self.states == STATES:
            self._renumber()

    @cython.final
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

    @cython.final
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

    @cython.final
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

    @cython.final
    def _forget_all(self) -> None:
        """Forget what was learned, and with it the prices and states of the links that it speaks of."""
        self.store_size = self.static_size
        self.runs = 0
        self.states = 0
        for c in range(CRITERIA):
            self.kept_run[c] = 0

    @cython.final
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

    @cython.final
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
                if self._number_holds(h, 1 - value) == 0:
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
