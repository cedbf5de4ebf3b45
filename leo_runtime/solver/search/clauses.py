"""Branch and bound that learns: every dead end leaves a clause, so no reason for failing is met twice.

Lazy clause generation (Ohrimenko, Stuckey and Codish, 2009). An *atom* says that a variable is at least, or at most,
some value (`formulation.py`); rules of the placement problem deduce atoms from atoms and say why (`propagation.py`); a
contradiction is traced back through those reasons to a clause that forbids it (`learning.py`), and what was learned of
one frame is used in the next (`lasting.py`). Here is the search itself. One source, compiled (types in `clauses.pxd`)
or interpreted, as `schedule.py` is.
"""

from typing import Any

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.lasting import Lasting

if not cython.compiled:
    from leo_runtime.solver.search.formulation import CRITERIA
    from leo_runtime.solver.search.schedule import FAR

COMPILED: bool = cython.compiled

VARIABLES = 1 << 20
"""A problem of more, as a thousand stages have for their orders, is too large to be searched here."""
RESTART = 64
"""Dead ends in one unit of Luby's series."""


_spare: list[Any] = []
"""Working space of searches that are over, for the next ones: having the system map it costs more than filling it."""


def _room(size: int) -> Any:
    """Working space for so many integers, with what was left in it; where interpreted there is none."""
    if not COMPILED:
        return None
    block = _spare.pop() if _spare else b""
    if len(block) >= size:
        return block
    from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

    # Much of it is never touched, and costs nothing until it is.
    return memoryview(mmap(-1, 8 * size, MAP_PRIVATE | MAP_ANONYMOUS)).cast("q")


class ClauseSearch(Lasting):
    """The search of a `Kernel`'s problem. It begins from the kernel's answer, and leaves its own there."""

    def __init__(self, kernel: Any, lasting: bool = False) -> None:
        """Search one problem; with `lasting` also others of the same shape (see `turn_to`)."""
        super().__init__(lasting)
        self._share_all(kernel)
        self._count()
        self._count_trail()
        self._count_learning()
        self.room: Any = None
        self.visited = 0
        self.heat = 0
        self.guided = 0
        self._charge(0)
        if self.vars_max > VARIABLES:
            return
        # Kept as it came, too: of a view made anew each time, every search would leave one more.
        self.room = _room(self._measure_room())
        self._settle_in(self.room)
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
            self._make_room()
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
        self.best_mode = self.kernel.best_mode
        self.best_result = self.kernel.best_result
        self.answer_mode = self.kernel.mode
        self.answer_start = self.kernel.by

    def _carve_all(self) -> None:
        self._carve()
        self._carve_trail()
        self._carve_learning()
        self._carve_lasting()
        self.phase = self._take(self.vars_max)

    def _begin(self) -> None:
        """Nothing is learned, and no mode preferred."""
        self._learn_nothing()
        for v in range(self.vars_max):
            self.phase[v] = 0
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
            if self._has_a_run_left():
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
                if self._accept() == 0:
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
                if self._has_much():
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
        if self._has_a_run_left() == 0:
            self._forget_all()
            if self.lasting:
                self._see_links()
            if self._watch_all(self.store_size) == 0:
                return 0
        return 1 if self._price() and self._drop_dead() and self._see_caps(watched) else 0

    def _luby(self, run: int) -> int:
        """The run-th number (from 1) of 1, 1, 2, 1, 1, 2, 4, ... (Luby, Sinclair and Zuckerman, 1993)."""
        while True:
            size = 1
            while size - 1 < run:
                size = 2 * size
            if size - 1 == run:
                return size // 2
            run = run - size // 2 + 1

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

    # Decisions

    def _choose_end(self) -> int:
        """Of a stage that could use up half of the lateness left: that it ends in the first half of that time.

        Refuting that is what raises the bound: otherwise every answer would be looked at in which one stage is early
        and another late, and one in which the other is early.
        """
        # A mode and an order are decided once, an end may be more often: there is to be a level for each.
        if self.cap[0] >= FAR or self.level >= self.vars_max - self.g - self.orders_max - self.vars_window:
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
                    if self.guided:
                        best = self._as_guided(a, b, first)
                    elif other < time:
                        best = first ^ 1
                    elif self.bound[2 * self.act_start[a] + 1] >= self.bound[2 * self.act_start[b] + 1]:
                        best = first
                    else:
                        best = first ^ 1
        self.heat = most
        return best

    def _as_guided(self, a: int, b: int, first: int) -> int:  # noqa: ARG002
        """Which of two comes first in the schedule that is followed (`windows.py`); half `first` says that a does."""
        return first

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

    def _accept(self) -> int:
        """Take what `_found` gave as the best answer. Returns 0 if it is none, or no better."""
        adopted: int = self.kernel._adopt()
        return adopted
