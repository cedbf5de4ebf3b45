"""The rule of a window's energy: each cost by its likelihood, in sum at most the cap.

One source, compiled (types in `expected.pxd`) or interpreted, as `schedule.py` is.
"""

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.arrays import Ints
from leo_runtime.solver.search.openings import Openings

if not cython.compiled:
    from leo_runtime.solver.search.openings import CERTAIN
    from leo_runtime.solver.search.schedule import FAR


class Expected(Openings):
    """That the expected energy is at most its cap, and what follows from it."""

    def _listed_chance(self, empty: int, row: int, listed: Ints, otherwise: int) -> int:
        """How likely a list is at least, as far as it is known; `otherwise`: how likely if it is empty."""
        if empty < 0 or self._holds(2 * empty):
            return otherwise
        known = 0
        least = CERTAIN
        if self._holds(2 * empty + 1) == 0:
            least = otherwise
        for gate in range(self.gates):
            v = listed[row * self.gates + gate]
            if v < 0 or self._holds(2 * v + 1):
                continue
            if self._holds(2 * v):
                known += self.gate_opens[gate]
            least = min(least, self.gate_opens[gate])
        if known > 0:
            return min(known, CERTAIN)
        return least

    def _because_listed(self, empty: int, row: int, listed: Ints, otherwise: int) -> None:
        """Why a list is as likely as `_listed_chance` says."""
        if empty < 0:
            return
        if self._holds(2 * empty):
            self._because(2 * empty, 1, 0)
            return
        known = 0
        for gate in range(self.gates):
            v = listed[row * self.gates + gate]
            if v >= 0 and self._holds(2 * v) and self.gate_opens[gate] > 0:
                self._because(2 * v, 1, 0)
                known = 1
        if known:
            return
        least = self._listed_chance(empty, row, listed, otherwise)
        if otherwise < least:
            self._because(2 * empty + 1, 0, 0)
        for gate in range(self.gates):
            v = listed[row * self.gates + gate]
            if v >= 0 and self.gate_opens[gate] < least:
                self._because(2 * v + 1, 0, 0)

    def _send_chance(self, x: int) -> int:
        return self._listed_chance(self.send_empty[x], x, self.send_gate, self.chance[x // self.r])

    def _span_chance(self, k: int) -> int:
        return self._listed_chance(self.span_certain[k], k, self.span_gate, CERTAIN)

    def _span_nj(self, t: int, k: int, until: int) -> int:
        """What a span costs that is used until then, if it happens."""
        linger = until + self.linger_us[t]
        nj = self.span_mw[t] * (until - self.open_from[k])
        if self.open_wakes[k]:
            nj += self.span_wake_nj[t]
        else:
            linger = max(linger, self.awake_until[t])
        over = max(until, min(linger, self.horizon))
        return nj + self.linger_mw[t] * (over - until)

    def _unused_nj(self, t: int, k: int) -> int:
        """What an opening costs that nothing uses."""
        if self.open_wakes[k]:
            return 0
        return self.linger_mw[t] * min(self.awake_until[t], self.horizon)

    def _span_until_low(self, t: int, k: int) -> int:
        low: int = max(self.bound[2 * self.span_until[k]], self._ready(t, k))
        # What never starts ends at `FAR`, until that is a conflict: a cost of such a time would overflow.
        return min(low, max(self.last_us, self._ready(t, k)))

    def _span_now(self, t: int, k: int) -> int:
        """What the span of an opening costs at least, if it is used, by its likelihood."""
        return self._likely(self._span_nj(t, k, self._span_until_low(t, k)), self._span_chance(k))

    def _with_lists(self, i: int, g: int) -> int:
        """What mode g of stage i costs by its likelihood, with the sendings that are certain to be wanted."""
        total = self.mode_nj[g]
        for t in range(self.r):
            y = self.wanted[i * self.r + t]
            if y >= 0 and t != self.resource[g] and self.raw_nj[g * self.r + t] > 0 and self.bound[2 * y] >= 1:
                total += self._likely(self.raw_nj[g * self.r + t], self._send_chance(i * self.r + t))
        return total

    def _because_lists(self, i: int, g: int) -> None:
        for t in range(self.r):
            x = i * self.r + t
            y = self.wanted[x]
            if y >= 0 and t != self.resource[g] and self.raw_nj[g * self.r + t] > 0 and self.bound[2 * y] >= 1:
                self._because(2 * y, 1, 0)
                self._because_listed(self.send_empty[x], x, self.send_gate, self.chance[i])

    def _window_left(self) -> int:
        """What is left of the energy's cap; `FAR` where a stage has no mode any more."""
        left: int = self.cap[1] - self.always
        for i in range(self.n):
            self.window_least[i] = FAR
            self.window_ever[i] = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] < 0:
                    self.window_ever[i] = min(self.window_ever[i], self.mode_nj[g])
                if self.bound[2 * g + 1] < 0:
                    self.window_cost[g] = self._with_lists(i, g)
                    self.window_least[i] = min(self.window_least[i], self.window_cost[g])
            if self.window_least[i] == FAR:
                return FAR
            left -= self.window_least[i]
        for t in range(self.r):
            for k in range(self.open_first[t], self.open_first[t + 1]):
                left -= self._span_now(t, k) if self._holds(2 * self.span_used[k]) else self._unused_nj(t, k)
        return left

    def _run_window(self) -> int:
        """Of modes and sendings the least that each stage adds, of spans what is certain: at most the cap."""
        if self.cap[1] >= FAR:
            return 1
        left = self._window_left()
        if left == FAR:
            return 1
        if left < 0:
            self._why()
            self._because_window(-1, -1, -left - 1)
            return self._so_not()
        for t in range(self.r):
            for k in range(self.open_first[t], self.open_first[t + 1]):
                if self._cap_span(t, k, left) == 0:
                    return 0
        for i in range(self.n):
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.bound[2 * g + 1] < 0 and self.window_cost[g] - self.window_least[i] > left:
                    self._why()
                    self._because_lists(i, g)
                    self._because_window(i, -1, self.window_cost[g] - self.window_least[i] - left - 1)
                    if self._so(2 * g + 1, 0) == 0:
                        return 0
            if self._cap_transfers(i, left) == 0:
                return 0
        return 1

    def _cap_span(self, t: int, k: int, left: int) -> int:
        """Whether a span may be, how long, and how likely, with so much energy left."""
        u = self.span_used[k]
        if self._holds(2 * u + 1):
            return 1
        z = self.span_until[k]
        now = self._span_now(t, k)
        if self._holds(2 * u) == 0:
            more = now - self._unused_nj(t, k)
            if more > left:
                self._why()
                self._because_span(t, k, 0, more - left - 1)
                self._because_window(-1, k, 0)
                return self._so(2 * u + 1, 0)
            return 1
        chance = self._span_chance(k)
        low = self._span_until_low(t, k)
        top = self._latest_until(t, k, low, chance, now + left)
        if top < FAR and -top > self.bound[2 * z + 1]:
            spare = self._likely(self._span_nj(t, k, top + 1), chance) - now - left - 1
            self._why()
            self._because(2 * u, 1, 0)
            self._because_listed(self.span_certain[k], k, self.span_gate, CERTAIN)
            self._because_window(-1, k, spare)
            if self._so(2 * z + 1, -top) == 0:
                return 0
        c = self.span_certain[k]
        if c < 0 or self._holds(2 * c):
            return 1
        nj = self._span_nj(t, k, low)
        if self._holds(2 * c + 1) == 0:
            more = self._likely(nj, CERTAIN) - now
            if more > left:
                self._why()
                self._because_length(k, low, t)
                self._because_window(-1, k, more - left - 1)
                if self._so(2 * c + 1, 0) == 0:
                    return 0
        return self._cap_list(t, k, left, nj, now)

    def _cap_list(self, t: int, k: int, left: int, nj: int, now: int) -> int:
        """For which more gates a span may wait: each makes it likelier."""
        known = 0
        for gate in range(self.gates):
            w = self.span_gate[k * self.gates + gate]
            if w >= 0 and self._holds(2 * w):
                known += self.gate_opens[gate]
        for gate in range(self.gates):
            w = self.span_gate[k * self.gates + gate]
            if w < 0 or self._holds(2 * w) or self._holds(2 * w + 1):
                continue
            more = self._likely(nj, min(known + self.gate_opens[gate], CERTAIN)) - now
            if more > left:
                self._why()
                self._because_length(k, self._span_until_low(t, k), t)
                for other in range(self.gates):
                    o = self.span_gate[k * self.gates + other]
                    if o >= 0 and self._holds(2 * o):
                        self._because(2 * o, 1, 0)
                self._because_window(-1, k, more - left - 1)
                if self._so(2 * w + 1, 0) == 0:
                    return 0
        return 1

    def _latest_until(self, t: int, k: int, low: int, chance: int, room: int) -> int:
        """Until when a span may last for it to cost no more than `room`; `FAR` if as long as it likes."""
        top = self.last_us
        if top <= low:
            return FAR
        if self._likely(self._span_nj(t, k, top), chance) <= room:
            return FAR
        while low < top:
            middle = (low + top + 1) // 2
            if self._likely(self._span_nj(t, k, middle), chance) <= room:
                low = middle
            else:
                top = middle - 1
        return low

    def _because_length(self, k: int, low: int, t: int) -> None:
        """Why a span is used, and lasts until `low`."""
        self._because(2 * self.span_used[k], 1, 0)
        if low > self._ready(t, k):
            self._because(2 * self.span_until[k], low, 0)

    def _because_span(self, t: int, k: int, used: int, spare: int) -> int:
        """Why a span costs what it does, if it is used, or `spare` less. Returns what of that is left."""
        ready = self._ready(t, k)
        low = self._span_until_low(t, k)
        chance = self._span_chance(k)
        if used:
            self._because(2 * self.span_used[k], 1, 0)
        self._because_listed(self.span_certain[k], k, self.span_gate, CERTAIN)
        z = self.span_until[k]
        if low > ready and self.bound[2 * z] > self.common[2 * z]:
            now = self._likely(self._span_nj(t, k, low), chance)
            # What it is at the root comes free here.
            enough = max(ready, self.root[2 * z])
            if now - self._likely(self._span_nj(t, k, enough), chance) > spare:
                # As short as still costs enough.
                short = self._latest_until(t, k, enough, chance, now - spare - 1)
                enough = low if short == FAR else min(short + 1, low)
            spare -= now - self._likely(self._span_nj(t, k, enough), chance)
            if enough > ready:
                self._because(2 * z, enough, 0)
        return spare

    def _cap_transfers(self, i: int, left: int) -> int:
        """Where the output of stage i may be wanted, and for what its transfer waits, with so much energy left."""
        r = self.r
        for t in range(r):
            x = i * r + t
            y = self.wanted[x]
            if y < 0 or self.bound[2 * y + 1] >= 0:
                continue
            if self.bound[2 * y] < 1:
                if self._cap_wanted(i, t, left) == 0:
                    return 0
            elif self.send_empty[x] >= 0 and self._cap_waiting(i, t, left) == 0:
                return 0
        return 1

    def _cap_wanted(self, i: int, t: int, left: int) -> int:
        r = self.r
        x = i * r + t
        chance = self._send_chance(x)
        least = FAR
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.bound[2 * g + 1] < 0 and self.send_us[g * r + t] >= 0:
                with_it = self.window_cost[g]
                if self.resource[g] != t:
                    with_it += self._likely(self.raw_nj[g * r + t], chance)
                least = min(least, with_it)
        if least < FAR and least - self.window_least[i] > left:
            self._why()
            self._because_listed(self.send_empty[x], x, self.send_gate, self.chance[i])
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.bound[2 * g + 1] >= 0:
                    self._because(2 * g + 1, 0, 0)
                else:
                    self._because_lists(i, g)
            self._because_window(i, -1, least - self.window_least[i] - left - 1)
            return self._so(2 * self.wanted[x] + 1, 0)
        return 1

    def _cap_waiting(self, i: int, t: int, left: int) -> int:
        """For what a transfer waits that surely takes place."""
        r = self.r
        x = i * r + t
        g = -1
        for h in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._holds(2 * h):
                g = h
        if g < 0 or self.resource[g] == t or self.raw_nj[g * r + t] == 0 or self._holds(2 * self.send_empty[x]):
            return 1
        nj = self.raw_nj[g * r + t]
        now = self._likely(nj, self._send_chance(x))
        known = 0
        for gate in range(self.gates):
            w = self.send_gate[x * self.gates + gate]
            if w >= 0 and self._holds(2 * w):
                known += self.gate_opens[gate]
        for gate in range(-1, self.gates):
            w = self.send_empty[x] if gate < 0 else self.send_gate[x * self.gates + gate]
            if w < 0 or self._holds(2 * w) or self._holds(2 * w + 1):
                continue
            chance = self.chance[i] if gate < 0 else min(known + self.gate_opens[gate], CERTAIN)
            more = self._likely(nj, chance) - now
            if more > left:
                self._why()
                self._because(2 * g, 1, 0)
                self._because(2 * self.wanted[x], 1, 0)
                for other in range(self.gates if gate >= 0 else 0):
                    o = self.send_gate[x * self.gates + other]
                    if o >= 0 and self._holds(2 * o):
                        self._because(2 * o, 1, 0)
                # All of the stage's cost but this transfer's.
                for target in range(r):
                    o = i * r + target
                    if target in (t, self.resource[g]) or self.raw_nj[g * r + target] == 0 or self.wanted[o] < 0:
                        continue
                    if self.bound[2 * self.wanted[o]] >= 1:
                        self._because(2 * self.wanted[o], 1, 0)
                        self._because_listed(self.send_empty[o], o, self.send_gate, self.chance[i])
                self._because_window(i, -1, more - left - 1)
                if self._so(2 * w + 1, 0) == 0:
                    return 0
        return 1

    def _because_window(self, but: int, but_span: int, spare: int) -> None:
        """Why all but stage `but` and span `but_span` costs what it does; it may be less by `spare`."""
        for t in range(self.r):
            for k in range(self.open_first[t], self.open_first[t + 1]):
                if k != but_span and self._holds(2 * self.span_used[k]):
                    spare = self._because_span(t, k, 1, spare)
        for i in range(self.n):
            if i == but or self.window_least[i] == self.window_ever[i]:
                continue
            # Modes that are cheaper by no more than may be spared need no reason for being out.
            least = self.window_least[i]
            enough = least
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.common[2 * g + 1] >= 0 or self.mode_nj[g] >= least:
                    continue
                if self.root[2 * g + 1] < 0 and self.mode_nj[g] >= least - spare:
                    enough = min(enough, self.mode_nj[g])
                elif self.bound[2 * g + 1] >= 0:
                    self._because(2 * g + 1, 0, 0)
                else:
                    self._because_lists(i, g)
            spare -= least - enough
        self._because_cap(1, spare, 0)

    def _bound_at_root(self, c: int) -> int:
        least = Openings._bound_at_root(self, c)
        if c == 1:
            left = self._window_left()
            if left < FAR:
                least = max(least, self.cap[1] - left)
        return least
