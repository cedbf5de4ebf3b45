"""The search kernel: what the root proves, on top of schedules, local search, bounds and prices.

One source, compiled where there is a C compiler (types in `kernel.pxd`), else interpreted (see `schedule.py`).
"""

from collections.abc import Sequence

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.arrays import zeros
from leo_runtime.solver.search.prices import Prices

if not cython.compiled:
    from leo_runtime.solver.search.schedule import FAR

COMPILED: bool = cython.compiled


class Kernel(Prices):
    """A problem and the working space to search it. Not for two threads at once."""

    def __init__(self, data: Sequence[int]) -> None:
        """Hold the problem of `data`, as `Flat` has it: of 64-bit integers where this is compiled."""
        self._read(data)
        self._settle_in(zeros(self._measure_room()))
        self._expand()

    def _carve_all(self) -> None:
        self._carve_scratch()
        self._carve_changes()
        self._carve_domains()
        self._carve_prices()
        self.bound = self._take(4)

    # The root: what can be said before anything is decided. `cap` holds what each criterion may be at most; for the
    # criterion at hand that is one less than the best answer.

    def root(self, turns: int = 0) -> int:
        """Bound the criteria in order, given the answer kept, if any; with `turns` 1, look for a less late one as well.

        Returns 2 if that proves the answer the best, or that there is none (see `found`), else 1; `bounds` holds them.
        """
        with cython.nogil:
            return self._root(turns)

    def rivals(self) -> list[int]:
        """The resources which alone might do better than the answer kept, as far as their roots can tell.

        That is asked once more after simple schedules on a resource. None any more where the search was halted.
        """
        rivals = [k for k in self.processors if self.halted[0] == 0 and self._rivals(k)]
        self.confined = -1
        return rivals

    @property
    def bounds(self) -> list[int]:
        """A proved lower bound for each criterion of the objective, given the ones before it at their value."""
        return [self.bound[k] for k in range(self.criteria)]

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
            before = self.trail_size
            # Without rows nothing has changed since domains and times were bounded last.
            if self.rows > 0 and self._propagate() == 0:
                return 0
            if self.cap[1] < FAR:
                now = self.trail_size
                if self._share_sendings() == 0 or (self.trail_size != now and self._propagate() == 0):
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
            if c == 1:
                self._share_sendings()
            least = self.node_bound[c]
            if c == 0:
                least = max(least, self._in_turn())
            value = min(least, value)
        self._undo(mark)
        return value
