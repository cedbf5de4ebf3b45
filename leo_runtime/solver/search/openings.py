"""A window written down as variables, and as the clauses and rules that they obey, on top of those of a frame.

The window's frame, with all of this left out and every cost counted as little as it can be, is a `Kernel`'s problem:
what its root rules out no window can have. Here is the rest. One source, compiled (types in `openings.pxd`) or
interpreted, as `schedule.py` is.

Variables, besides those of `formulation.py`. An *opening* is where a span can begin: at the start, of a resource that
is awake, and at each release.
    u, z of an opening: whether a span begins there, and when it ends
    i    whether an activity lies in an opening's span
    n, w of an opening whose span can wait for gates: that it waits for none; for each gate, that it waits for it
    n, w of a transfer likewise
    f    of a transfer that can wait: when the gates it waits for have ended
    y    that an activity comes after a gate and the waking that follows it
Given these the earliest times are the best ones, as in a frame, and the search goes on as there.
"""

from typing import Any

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.arrays import Ints
from leo_runtime.solver.search.clauses import ClauseSearch

if not cython.compiled:
    from leo_runtime.solver.search.formulation import HEADER
    from leo_runtime.solver.search.schedule import FAR

CERTAIN = 1_000_000
"""The likelihood of what is sure to happen, in ppm."""


class Openings(ClauseSearch):
    """What a window has besides its frame, which is a `Kernel`'s problem."""

    def __init__(self, kernel: Any, page: Any) -> None:
        """Search the window that `page` adds to the kernel's problem: 64-bit integers where this is compiled.

        In this order: horizon, gates, openings, what is charged whatever is done, a time after which nothing ends;
        of each stage its chance; of each gate its stage and its chance; of each stage and gate whether the one is
        behind the other; of each mode its energy, by its chance; of each resource waking time, waking energy, power
        awake, lingering time and power, until when it is awake if nothing uses it, its charge per use in the frame;
        of resources the first opening; of each opening from when, and whether it begins with waking.
        """
        self.page = page
        self.page_at = 0
        super().__init__(kernel)

    def _given(self, count: int) -> Ints:
        """The next array of the page."""
        self.page_at += count
        if cython.compiled:
            array: Ints = cython.address(self.page[self.page_at - count])
            return array
        return list(self.page[self.page_at - count : self.page_at])

    def _read_page(self) -> None:
        n, r = self.n, self.r
        head = self._given(5)
        self.horizon = head[0]
        self.gates = head[1]
        self.openings = head[2]
        self.always = head[3]
        self.last_us = head[4]
        self.chance = self._given(n)
        self.gate_stage = self._given(self.gates)
        self.gate_opens = self._given(self.gates)
        self.behind = self._given(n * self.gates)
        self.mode_nj = self._given(self.g)
        self.span_wake_us = self._given(r)
        self.span_wake_nj = self._given(r)
        self.span_mw = self._given(r)
        self.linger_us = self._given(r)
        self.linger_mw = self._given(r)
        self.awake_until = self._given(r)
        self.busy_mw = self._given(r)
        self.open_first = self._given(r + 1)
        self.open_from = self._given(self.openings)
        self.open_wakes = self._given(self.openings)

    def _count(self) -> None:
        n, r, g = self.n, self.r, self.g
        self._read_page()
        ClauseSearch._count(self)
        most = 0
        for t in range(r):
            most = max(most, self.open_first[t + 1] - self.open_first[t])
        gates = self.gates
        uses = self.acts_max * most
        self.vars_window = self.openings * (3 + gates) + uses * (1 + 2 * gates) + n * r * (2 + gates) + g + n * r
        self.vars_max += self.vars_window
        self.sums_max += uses * (1 + 2 * gates) + n * r * gates + self.acts_max
        lists = gates + 6
        self.static_max += uses * (
            (HEADER + 4) * (most + 4)
            + (1 + gates) * (HEADER + 2 * lists)
            + (1 + gates) * (HEADER + 2 * lists)
            + gates * (HEADER + 8)
        )
        self.static_max += (self.openings + n * r) * ((HEADER + 2 * lists) + gates * (1 + gates) * (HEADER + 4))
        self.static_max += self.openings * most * (HEADER + 4) + self.input_first[n] * r * (HEADER + 2 * lists)
        self.static_max += self.acts_max * (HEADER + 2 * most + 2)

    def _carve(self) -> None:
        ClauseSearch._carve(self)
        n, r = self.n, self.r
        self.raw_nj = self._take(self.g * r)
        self.span_used = self._take(self.openings)
        self.span_until = self._take(self.openings)
        self.span_certain = self._take(self.openings)
        self.span_gate = self._take(self.openings * self.gates)
        self.within = self._take(self.acts_max)
        self.send_empty = self._take(n * r)
        self.send_gate = self._take(n * r * self.gates)
        self.send_wait = self._take(n * r)
        self.window_cost = self._take(self.g)
        self.window_least = self._take(n)
        self.window_ever = self._take(n)
        self.kept_mode = self._take(n)
        self.kept_start = self._take(n)
        self.kept_send = self._take(n * r)
        self.kept_until = self._take(self.openings)
        self.kept_phase = self._take(self.vars_max)
        self.guide = self._take(n + n * r)
        self.found_result = self._take(4)

    def _begin(self) -> None:
        """Nothing is learned and nothing preferred, and the frame's sendings cost what they do at least."""
        ClauseSearch._begin(self)
        self.phased = 0
        for v in range(self.vars_max):
            self.kept_phase[v] = 0
        self._charge_sendings()

    def _charge_sendings(self) -> None:
        """Let the frame's sendings cost no more than they do in any window: as often as both ends run, at least."""
        r = self.r
        for i in range(self.n):
            for t in range(r):
                chance = self.chance[i]
                for c in range(self.reader_first[i], self.reader_first[i + 1]):
                    for g in range(self.mode_first[self.readers[c]], self.mode_first[self.readers[c] + 1]):
                        if self.resource[g] == t:
                            chance = min(chance, self.chance[self.readers[c]])
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    x = g * r + t
                    self.raw_nj[x] = self.send_nj[x]
                    if self.send_us[x] >= 0 and t != self.resource[g]:
                        radio = self.links[6 * (self.resource[g] * r + t) + 5]
                        busy = 0
                        if radio >= 0:
                            lanes = self.lane_first[radio + 1] - self.lane_first[radio]
                            if lanes > 0:
                                busy = self._likely_least(self.busy_mw[radio] * self.send_us[x], chance) // lanes
                        self.send_nj[x] = self._likely(self.send_nj[x], chance) + busy

    def _likely(self, nj: int, ppm: int) -> int:
        """An energy times its likelihood, rounded up."""
        return (nj // CERTAIN) * ppm + ((nj % CERTAIN) * ppm + CERTAIN - 1) // CERTAIN

    def _likely_least(self, nj: int, ppm: int) -> int:
        """An energy times its likelihood, rounded down."""
        return (nj // CERTAIN) * ppm + (nj % CERTAIN) * ppm // CERTAIN

    # The window written down.

    def _gate_behind(self, gate: int, other: int) -> int:
        """Whether a gate is behind another."""
        return self.behind[self.gate_stage[gate] * self.gates + other]

    def _is_behind(self, i: int, gate: int) -> int:
        return self.behind[i * self.gates + gate]

    def _number_window(self) -> None:
        for i in range(self.n):
            for t in range(self.r):
                self._number_list(i, t)
        for t in range(self.r):
            for a in range(self.act_first[t], self.act_first[t + 1]):
                self.within[a] = -1
            for k in range(self.open_first[t], self.open_first[t + 1]):
                self._number_opening(t, k)
            for a in range(self.act_first[t], self.act_first[t + 1]):
                if self.open_first[t] < self.open_first[t + 1] and self.act_of[a] >= 0:
                    self._number_use(t, a)
            self._write_sequence(t)
            self._write_uses(t)
        for i in range(self.n):
            for t in range(self.r):
                self._wait_for_list(i, t)

    def _number_list(self, i: int, t: int) -> None:
        """For which gates the transfer of stage i's output to t can wait, and who must be behind one of them."""
        x = i * self.r + t
        self.send_empty[x] = -1
        self.send_wait[x] = -1
        for gate in range(self.gates):
            self.send_gate[x * self.gates + gate] = -1
        if self.wanted[x] < 0:
            return
        sends = 0
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.resource[g] != t and self.send_us[g * self.r + t] >= 0:
                sends = 1
        candidates = 0
        for gate in range(self.gates):
            if sends and self._may_wait(i, t, gate):
                self.send_gate[x * self.gates + gate] = self._new(0, 1)
                candidates += 1
        if candidates == 0:
            return
        self.send_empty[x] = self._new(0, 1)
        self.send_wait[x] = self._new(0, FAR)
        self._write_list(self.send_empty[x], x, self.send_gate)
        self._clause_begin()
        self._clause_add(2 * self.send_empty[x])
        self._add_gates(x, self.send_gate, -1)
        self._clause_end()
        for c in range(self.reader_first[i], self.reader_first[i + 1]):
            reader = self.readers[c]
            if self.on[reader * self.r + t] >= 0:
                self._clause_begin()
                self._clause_add(2 * self.on[reader * self.r + t] + 1)
                self._clause_add(2 * self.send_empty[x])
                self._add_gates(x, self.send_gate, reader)
                self._clause_end()

    def _may_wait(self, i: int, t: int, gate: int) -> int:
        """Whether the transfer of stage i's output to t could be worth waiting for a gate: a reader is behind it."""
        if self._is_behind(i, gate):
            return 0
        for c in range(self.reader_first[i], self.reader_first[i + 1]):
            reader = self.readers[c]
            if self.on[reader * self.r + t] >= 0 and self._is_behind(reader, gate):
                return 1
        return 0

    def _write_list(self, empty: int, row: int, listed: Ints) -> None:
        """A list is empty or has gates, of which none is behind another: that would only make it likelier."""
        for gate in range(self.gates):
            v = listed[row * self.gates + gate]
            if v < 0:
                continue
            self._either(2 * empty + 1, 2 * v + 1)
            for other in range(self.gates):
                o = listed[row * self.gates + other]
                if o >= 0 and other != gate and self._gate_behind(gate, other):
                    self._either(2 * v + 1, 2 * o + 1)

    def _add_gates(self, row: int, listed: Ints, i: int) -> None:
        """To a clause: that one of the gates is listed, of those that stage i is behind (-1: of all)."""
        for gate in range(self.gates):
            v = listed[row * self.gates + gate]
            if v >= 0 and (i < 0 or self._is_behind(i, gate)):
                self._clause_add(2 * v)

    def _number_opening(self, t: int, k: int) -> None:
        """A span that may begin at opening k, until when it lasts, and for which gates it can wait."""
        wakes = self.open_wakes[k]
        possible = 1
        first = self.open_first[t]
        if wakes and self.open_wakes[first] == 0 and self.open_from[k] < self.awake_until[t]:
            possible = 0
        self.span_used[k] = self._new(0, possible)
        self.span_until[k] = self._new(0, FAR)
        self.span_certain[k] = -1
        candidates = 0
        for gate in range(self.gates):
            self.span_gate[k * self.gates + gate] = -1
            if wakes and possible and self._is_useful(t, gate):
                self.span_gate[k * self.gates + gate] = self._new(0, 1)
                candidates += 1
        if candidates:
            self.span_certain[k] = self._new(0, 1)
            self._write_list(self.span_certain[k], k, self.span_gate)
            self._clause_begin()
            self._clause_add(2 * self.span_used[k] + 1)
            self._clause_add(2 * self.span_certain[k])
            self._add_gates(k, self.span_gate, -1)
            self._clause_end()

    def _is_useful(self, t: int, gate: int) -> int:
        """Whether a span of resource t could wait for a gate: something that may use it is behind the gate."""
        for a in range(self.act_first[t], self.act_first[t + 1]):
            if self.act_of[a] < 0:
                continue
            if self.act_of[a] < self.n:
                if self._is_behind(self.act_of[a], gate):
                    return 1
                continue
            x = self.act_of[a] - self.n
            if self._is_behind(x // self.r, gate):
                return 1
            for own in range(self.gates):
                if self.send_gate[x * self.gates + own] >= 0 and (own == gate or self._gate_behind(own, gate)):
                    return 1
        return 0

    def _ready(self, t: int, k: int) -> int:
        """When the span of an opening is awake."""
        return self.open_from[k] + (self.span_wake_us[t] if self.open_wakes[k] else 0)

    def _number_use(self, t: int, a: int) -> None:
        """In which span an activity lies, and what that asks of it."""
        first = self.open_first[t]
        count = self.open_first[t + 1] - first
        self.within[a] = self.vars
        for _k in range(count):
            self._new(0, 1)
        present = self.act_on[a]
        self._clause_begin()
        self._clause_add(2 * present + 1)
        for m in range(count):
            self._clause_add(2 * (self.within[a] + m))
        self._clause_end()
        for m in range(count):
            k = first + m
            v = self.within[a] + m
            self._either(2 * v + 1, 2 * present)
            self._either(2 * v + 1, 2 * self.span_used[k])
            for o in range(m):
                self._either(2 * v + 1, 2 * (self.within[a] + o) + 1)
            ready = self._ready(t, k)
            if ready > 0:
                self._clause_begin()
                self._clause_add(2 * v + 1)
                self._clause_atom(2 * self.act_start[a], ready)
                self._clause_end()
            self._sum(2 * v, -1, self.span_until[k], self.act_start[a], self.act_took[a], 0)
            if self.span_certain[k] >= 0:
                self._wait_in_span(t, a, k, v)

    def _wait_in_span(self, t: int, a: int, k: int, v: int) -> None:
        """What it takes that an activity lies in a span that waits for gates."""
        i = self.act_of[a]
        empty = -1
        x = -1
        if i >= self.n:
            x = i - self.n
            i = x // self.r
            empty = self.send_empty[x]
        self._clause_begin()
        self._clause_add(2 * v + 1)
        self._clause_add(2 * self.span_certain[k])
        if empty >= 0:
            self._clause_add(2 * empty + 1)
        self._add_gates(k, self.span_gate, i)
        self._clause_end()
        for gate in range(self.gates):
            w = self.span_gate[k * self.gates + gate]
            if w >= 0 and self._is_behind(i, gate):
                y = self._new(0, 1)
                self._clause_begin()
                self._clause_add(2 * v + 1)
                self._clause_add(2 * w + 1)
                if empty >= 0:
                    self._clause_add(2 * empty + 1)
                self._clause_add(2 * y)
                self._clause_end()
                self._sum(2 * y, -1, self.act_start[a], self.end[self.gate_stage[gate]], -1, self.span_wake_us[t])
        if empty < 0:
            return
        for own in range(self.gates):
            w = self.send_gate[x * self.gates + own]
            if w < 0:
                continue
            self._clause_begin()
            self._clause_add(2 * v + 1)
            self._clause_add(2 * self.span_certain[k])
            self._clause_add(2 * w + 1)
            for gate in range(self.gates):
                listed = self.span_gate[k * self.gates + gate]
                if listed >= 0 and (gate == own or self._gate_behind(own, gate)):
                    self._clause_add(2 * listed)
            self._clause_end()
            y = self._new(0, 1)
            self._clause_begin()
            self._clause_add(2 * v + 1)
            self._clause_add(2 * self.span_certain[k])
            self._clause_add(2 * w + 1)
            self._clause_add(2 * y)
            self._clause_end()
            self._sum(2 * y, -1, self.act_start[a], self.end[self.gate_stage[own]], -1, self.span_wake_us[t])

    def _write_sequence(self, t: int) -> None:
        """A span begins when the one before it has lingered."""
        for k in range(self.open_first[t], self.open_first[t + 1]):
            for after in range(k + 1, self.open_first[t + 1]):
                by = self.open_from[after] - self.linger_us[t]
                if by < self._ready(t, k):
                    self._either(2 * self.span_used[k] + 1, 2 * self.span_used[after] + 1)
                else:
                    self._clause_begin()
                    self._clause_add(2 * self.span_used[after] + 1)
                    self._clause_atom(2 * self.span_until[k] + 1, -by)
                    self._clause_end()

    def _write_uses(self, t: int) -> None:
        """A span that is used has something in it."""
        for k in range(self.open_first[t], self.open_first[t + 1]):
            self._clause_begin()
            self._clause_add(2 * self.span_used[k] + 1)
            for a in range(self.act_first[t], self.act_first[t + 1]):
                if self.within[a] >= 0:
                    self._clause_add(2 * (self.within[a] + k - self.open_first[t]))
            self._clause_end()

    def _wait_for_list(self, i: int, t: int) -> None:
        """A transfer starts no earlier than the gates of its list end."""
        x = i * self.r + t
        if self.send_empty[x] < 0:
            return
        for gate in range(self.gates):
            v = self.send_gate[x * self.gates + gate]
            if v >= 0:
                self._sum(2 * v, -1, self.send_wait[x], self.end[self.gate_stage[gate]], -1, 0)
        for radio in range(self.r):
            start = self._sending(i, t, radio)
            if start >= 0:
                self._sum(-1, -1, start, self.send_wait[x], -1, 0)

    def _waiting(self, i: int, target: int) -> int:
        wait: int = self.send_wait[i * self.r + target]
        return wait

    def _alike(self, i: int, j: int, last: int) -> int:
        """Stages can change places only if they are as likely, wait for the same gates, and are none."""
        if self.chance[i] != self.chance[j]:
            return 0
        for gate in range(self.gates):
            if self._is_behind(i, gate) != self._is_behind(j, gate):
                return 0
            if self.gate_stage[gate] == i or self.gate_stage[gate] == j:
                return 0
        return ClauseSearch._alike(self, i, j, last)

    def _modes_alike(self, i: int, j: int) -> int:
        if ClauseSearch._modes_alike(self, i, j) == 0:
            return 0
        more = self.mode_first[j] - self.mode_first[i]
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self.mode_nj[g] != self.mode_nj[g + more]:
                return 0
        return 1

    def _subscribe(self) -> None:
        ClauseSearch._subscribe(self)
        rule = self.rule_window
        for g in range(self.g):
            self._tell(2 * g + 1, rule)
        for x in range(self.n * self.r):
            if self.wanted[x] >= 0:
                self._tell(2 * self.wanted[x], rule)
            if self.send_empty[x] >= 0:
                self._tell(2 * self.send_empty[x], rule)
                self._tell(2 * self.send_empty[x] + 1, rule)
                for gate in range(self.gates):
                    v = self.send_gate[x * self.gates + gate]
                    if v >= 0:
                        self._tell(2 * v, rule)
                        self._tell(2 * v + 1, rule)
        for k in range(self.openings):
            self._tell(2 * self.span_used[k], rule)
            self._tell(2 * self.span_until[k], rule)
            if self.span_certain[k] >= 0:
                self._tell(2 * self.span_certain[k], rule)
                for gate in range(self.gates):
                    v = self.span_gate[k * self.gates + gate]
                    if v >= 0:
                        self._tell(2 * v, rule)
                        self._tell(2 * v + 1, rule)
