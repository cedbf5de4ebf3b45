"""The rules of lanes: what a resource's lanes have time for.

One source, compiled (types in `lanes.pxd`) or interpreted, as `schedule.py` is; methods are `final` as in
`propagation.py`.
"""

from typing import TYPE_CHECKING

from leo_runtime.solver.search.propagation import Propagation

if TYPE_CHECKING:
    # Without types, `final` would take those of the methods away.
    from leo_runtime.solver.search import uncompiled as cython
else:
    try:
        import cython
    except ImportError:
        from leo_runtime.solver.search import uncompiled as cython

if not cython.compiled:
    from leo_runtime.solver.search.schedule import FAR


class Lanes(Propagation):
    """That no more happens at a time, or within a window of it, than there are lanes for, and what follows from it."""

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
