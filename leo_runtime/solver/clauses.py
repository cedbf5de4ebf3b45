"""Branch and bound that learns: every dead end leaves a clause, so no reason for failing is met twice.

Lazy clause generation (Ohrimenko, Stuckey and Codish, 2009). An *atom* says that a variable is at least, or at most,
some value (`formulation.py`); rules of the placement problem deduce atoms from atoms and say why (`propagation.py`); a
contradiction is traced back through those reasons to a clause that forbids it (the first unique implication point;
Marques-Silva and Sakallah, 1999). One source, compiled (types in `clauses.pxd`) or interpreted, as `schedule.py` is.
"""

from typing import Any

try:
    import cython
except ImportError:
    from leo_runtime.solver import uncompiled as cython

from leo_runtime.solver.propagation import Propagation
from leo_runtime.solver.schedule import Ints

if not cython.compiled:
    from leo_runtime.solver.formulation import CRITERIA, HEADER
    from leo_runtime.solver.schedule import FAR

COMPILED: bool = cython.compiled

VARIABLES = 1 << 20
"""A problem of more, as a thousand stages have for their orders, is too large to be searched here."""
LASTING = 1 << 15
"""Room for the learned clauses that last from one problem to the next."""
STORE = 1 << 20
"""Room for learned clauses, in integers."""
RESTART = 64
"""Dead ends in one unit of Luby's series."""
BUMP = 1 << 10
"""What having part in a dead end adds to a variable's activity at first; a thirty-second more each time."""
HIGH = 1 << 50
"""Where what is added is scaled down, and all activities with it."""
RUNS = 1 << 10
"""How many sets of prices are remembered; all that is learned is forgotten when there are more."""
SPARE_RUNS = 1 << 7
"""For how many more there should be room as a problem begins."""
STATES = 1 << 8
"""How many states of the links are remembered."""
LINK = 4
"""The numbers of a link: latency, rate, and what it costs a time and a byte."""
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


class ClauseSearch(Propagation):
    """The search of a `Kernel`'s problem. It begins from the kernel's answer, and leaves its own there."""

    def __init__(self, kernel: Any, lasting: bool = False) -> None:
        """Search one problem; with `lasting` also others of the same shape (see `turn_to`)."""
        super().__init__(lasting)
        self._share_all(kernel)
        self._count()
        self._count_trail()
        self.store_max = self.static_max + STORE
        self.room: Any = None
        self.visited = 0
        self.failures = 0
        self.stamp = 0
        self.crowded = 0
        self.recalled = -1
        self.heat = 0
        self._charge(0)
        if self.vars_max > VARIABLES:
            return
        # Once to see how much room everything takes, once to have it.
        self._carve_all()
        # As it came, and as it is worked on: of a view made anew each time, every search would leave one more.
        self.room = _room(self.at)
        self.block = self.room
        self.measuring = 0
        self.at = 0
        self._carve_all()
        with cython.nogil:
            self._begin()
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
        self._share_all(kernel)
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

    def _share_all(self, kernel: Any) -> None:
        self._share(kernel)
        self._share_caps()
        self.criteria = self.kernel.criteria
        self.limit = self.kernel.limit
        self.objective = self.kernel.objective
        self.proved = self.kernel.bound
        self.halted = self.kernel.halted
        self.alive = self.kernel.alive
        self.best_mode = self.kernel.best_mode
        self.best_result = self.kernel.best_result
        self.answer_mode = self.kernel.mode
        self.answer_start = self.kernel.by

    def _carve_all(self) -> None:
        r, g, v = self.r, self.g, self.vars_max
        halves = 2 * v
        self._carve()
        self._carve_trail()
        self.base_bound = self._take(halves)
        self.need = self._take(halves)
        self.place = self._take(halves)
        self.inside = self._take(halves)
        self.given = self._take(halves)
        self.given_need = self._take(halves)
        self.given_list = self._take(halves)
        self.activity = self._take(v)
        self.phase = self._take(v)
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
        self.set_list = self._take(2 * v + self.trail_max)
        self.cause = self._take(max(2 * halves, self.arena_max - self.reasons_max))
        self.level_seen = self._take(v + 1)

    def _begin(self) -> None:
        """Nothing is learned."""
        for v in range(self.vars_max):
            self.phase[v] = 0
            self.level_seen[v] = 0
            self.activity[v] = 0
        self.level_seen[self.vars_max] = 0
        self.bump = BUMP
        for c in range(CRITERIA):
            self.kept_run[c] = 0

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
                    self.proved[m] = max(self.proved[m], min(self._bound_at_root(c), self.best_result[c]))
                    ended = 1 if self.proved[m] == self.best_result[c] else 0
                if self.best_result[c] != before:
                    # The later bounds were for other values of the criteria before them.
                    self.cap[c] = self.best_result[c]
                    self.kernel._bound_from(m + 1)
                if ended == 0:
                    return 1
            self.cap[c] = self.best_result[c]
        return 2

    def _bound_at_root(self, c: int) -> int:
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
                    # Rounded alike, compiled or not, also where it is negative.
                    least = max(least, self.cap[1] - left // self.scale if left >= 0 else self.cap[1] + 1)
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
                # The search for this criterion may go on from here.
                self.recalled = c if possible and self.full == 0 else -1
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
        watched = 1 if self.recalled == c else 0
        if watched == 0 and self._start() == 0:
            return 1
        self.recalled = -1
        self.crowded = 0
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
                self._decide(chosen, self.aim)
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
            self.kept_prices[first + g] = self.penalty[g]
            self.kept_prices[first + self.g + g] = self.alive[g]
        first += 2 * self.g
        for t in range(self.r):
            self.kept_prices[first + t] = self.awake_price[t]
        self.kept_prices[first + self.r] = self.kernel.row_credit
        self.kept_prices[first + self.r + 1] = self.kernel.rows

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

    def _number_holds(self, h: int, number: int) -> int:
        """Whether what is said of prices, or of a link, by their number is true of this problem."""
        if h == 2 * self.priced_in + 1:
            return self._prices_hold(number)
        return self._link_holds((h >> 1) - self.slow, number)

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

    def _link_holds(self, link: int, state: int) -> int:
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

    def _cap_all(self) -> int:
        """Let every rule see the caps as they are now. Returns 0 if they are below what is possible."""
        self._wake_caps()
        for c in range(CRITERIA):
            # At the root, from whatever level: the caps stay as they are when decisions are undone.
            self.bound[2 * self.total[c] + 1] = -self.cap[c]
            self.root[2 * self.total[c] + 1] = -self.cap[c]
            if self.root[2 * self.total[c]] > self.cap[c]:
                return 0
        if self.cap[2] < FAR:
            for i in range(self.n):
                if self._set(2 * self.end[i] + 1, -self.cap[2], -1) == 0:
                    return 0
        return 1

    def _follow(self) -> None:
        """Prefer what the kernel's best answer does."""
        for v in range(self.vars):
            self.phase[v] = 0
        for i in range(self.n):
            self.phase[self.best_mode[i]] = 1

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

    # Decisions

    def _choose_end(self) -> int:
        """Of a stage that could use up half of the lateness left: that it ends in the first half of that time.

        Refuting that is what raises the bound: otherwise every answer would be looked at in which one stage is early
        and another late, and one in which the other is early.
        """
        # A mode and an order are decided once, an end may be more often: there is to be a level for each.
        if self.cap[0] >= FAR or self.level >= self.vars_max - self.g - self.orders_max:
            return -1
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
                self.certain[there] = a
                there += 1
        for m in range(there):
            a = self.certain[m]
            time = self.bound[2 * self.act_start[a]]
            over = 0
            for o in range(there):
                if self._under_way(self.certain[o], time):
                    self.group[over] = self.certain[o]
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
                b = self.group[o]
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
        """Of one activity too many at a time (in `group`), two of which one is to wait for the other.

        -2, with `conflict` set, if no two of them may.
        """
        best = -1
        open_orders = 0
        soonest = FAR
        for m in range(size):
            a = self.group[m]
            end = self.bound[2 * self.act_start[a]] + self.bound[2 * self.act_took[a]]
            for o in range(size):
                b = self.group[o]
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
                self._because_present(self.group[m])
                for o in range(size):
                    if m != o and self.act_on[self.group[o]] >= 0:
                        first = self._before(self.group[m], self.group[o])
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
