"""The search of a window: what is decided of spans and lists, and the best answer. The rest is a frame's.

One source, compiled (types in `windows.pxd`) or interpreted, as `schedule.py` is.
"""

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.solver.search.arrays import Ints
from leo_runtime.solver.search.expected import Expected

COMPILED: bool = cython.compiled


class WindowSearch(Expected):
    """The search of a window whose frame is a `Kernel`'s problem; it keeps the best answer itself (`kept`)."""

    def prefer(self) -> None:
        """Try the modes and orders of the kernel's answer first; it is of a frame only, and no answer from now on."""
        if self.kernel.has_best:
            for i in range(self.n):
                self.phase[self.best_mode[i]] = 1
            for a in range(self.n + self.n * self.r):
                self.guide[a] = self.kernel.best_start[a]
            self.guided = 1
        self.kernel.has_best = 0

    # Decisions

    def _as_guided(self, a: int, b: int, first: int) -> int:
        """Which of two comes first in the frame's schedule, until there is an answer of the window's own."""
        if self.act_of[a] < 0 or self.act_of[b] < 0:
            return first if self.act_of[a] < 0 else first ^ 1
        return first if self.guide[self.act_of[a]] <= self.guide[self.act_of[b]] else first ^ 1

    def _follow(self) -> None:
        """Prefer what the best answer does; but where energy is next, that all waits that can."""
        for v in range(self.vars):
            self.phase[v] = self.kept_phase[v]
        self.phased = 0 if self.target == 1 else 1

    def _choose_mode_or_order(self) -> int:
        best = Expected._choose_mode_or_order(self)
        if best == -2:
            return -2
        most = -1
        if best >= 0:
            # Where nothing speaks for either, orders wait: of what lies in different spans there is none to decide.
            most = self.activity[best >> 1] - (1 if best >= 2 * self.order_start else 0)
        chosen = -1
        for t in range(self.r):
            if self.open_first[t] == self.open_first[t + 1]:
                continue
            for a in range(self.act_first[t], self.act_first[t + 1]):
                if self.within[a] >= 0 and self._present(a):
                    v = self._span_choice(t, a, most)
                    if v >= 0:
                        chosen = 2 * v
                        most = self.heat
            for k in range(self.open_first[t], self.open_first[t + 1]):
                if self.span_certain[k] >= 0 and self._holds(2 * self.span_used[k]):
                    half = self._list_choice(self.span_certain[k], k, self.span_gate, most)
                    if half >= 0:
                        chosen = half
                        most = self.heat
        for x in range(self.n * self.r):
            if self.send_empty[x] >= 0 and self._holds(2 * self.wanted[x]) and self._is_sent(x):
                half = self._list_choice(self.send_empty[x], x, self.send_gate, most)
                if half >= 0:
                    chosen = half
                    most = self.heat
        return chosen if chosen >= 0 else best

    def _is_sent(self, x: int) -> int:
        """Whether the output of a stage is wanted somewhere else than where it is made."""
        i = x // self.r
        for g in range(self.mode_first[i], self.mode_first[i + 1]):
            if self._holds(2 * g):
                return 1 if self.resource[g] != x % self.r else 0
        return 0

    def _span_choice(self, t: int, a: int, most: int) -> int:
        """The variable of a span in which an activity could lie, if that is open and of more than `most` activity."""
        first = self.open_first[t]
        count = self.open_first[t + 1] - first
        heat = -1
        for m in range(count):
            v = self.within[a] + m
            if self._holds(2 * v):
                return -1
            if self._holds(2 * v + 1) == 0:
                heat = max(heat, self.activity[v])
        if heat <= most:
            return -1
        self.heat = heat
        best = -1
        start = self.bound[2 * self.act_start[a]]
        for m in range(count):
            v = self.within[a] + m
            if self._holds(2 * v + 1):
                continue
            if self.phase[v]:
                return v
            ready = self._ready(t, first + m)
            if self._holds(2 * self.span_used[first + m]):
                return v
            if best < 0 or ready <= start:
                best = v
        return best

    def _list_choice(self, empty: int, row: int, listed: Ints, most: int) -> int:
        """A half to decide of a list that is open, if it is of more than `most` activity."""
        if self._holds(2 * empty):
            return -1
        heat = -1
        if self._holds(2 * empty + 1) == 0:
            heat = self.activity[empty]
        best = -1
        known = 0
        for gate in range(self.gates):
            v = listed[row * self.gates + gate]
            if v < 0 or self._holds(2 * v + 1):
                continue
            if self._holds(2 * v):
                known = 1
                continue
            heat = max(heat, self.activity[v])
            if best < 0 or self.gate_opens[gate] < self.gate_opens[best]:
                best = gate
        if heat <= most:
            return -1
        self.heat = heat
        if self._holds(2 * empty + 1) == 0:
            if self.phased:
                return 2 * empty + 1 - self.phase[empty]
            return 2 * empty + (1 if self.target == 1 else 0)
        if best < 0:
            return -1
        v = listed[row * self.gates + best]
        if self.phased:
            return 2 * v + 1 - self.phase[v]
        return 2 * v + known

    # Answers

    def _found(self) -> None:
        """Keep the answer in which everything starts as early as it can."""
        r = self.r
        for v in range(self.vars):
            self.kept_phase[v] = self._holds(2 * v)
            self.phase[v] = self.kept_phase[v]
        self.phased = 1
        self.guided = 0
        energy = self.always
        loss = 0
        makespan = 0
        for i in range(self.n):
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self._holds(2 * g):
                    self.kept_mode[i] = g
            g = self.kept_mode[i]
            self.kept_start[i] = self.bound[2 * self.begin[i * r + self.resource[g]]]
            energy += self._with_lists(i, g)
            loss += self.loss[g]
            makespan = max(makespan, self.kept_start[i] + self.duration[g])
        for i in range(self.n):
            for t in range(r):
                self.kept_send[i * r + t] = self._sent_at(i, t)
        tardiness = 0
        for d in range(self.deadlines):
            i = self.due_stage[d]
            end = self.kept_start[i] + self.duration[self.kept_mode[i]]
            tardiness += self.weight[d] * max(end - self.due[d], 0)
        for t in range(r):
            for k in range(self.open_first[t], self.open_first[t + 1]):
                self.kept_until[k] = -1
                if self._holds(2 * self.span_used[k]):
                    self.kept_until[k] = self.bound[2 * self.span_until[k]]
                    energy += self._span_now(t, k)
                else:
                    energy += self._unused_nj(t, k)
        self.found_result[0] = tardiness
        self.found_result[1] = energy
        self.found_result[2] = makespan
        self.found_result[3] = loss

    def _sent_at(self, i: int, t: int) -> int:
        """When the output of stage i starts to be sent to t; -1 where it is not."""
        r = self.r
        x = i * r + t
        if self.wanted[x] < 0 or self._holds(2 * self.wanted[x]) == 0 or self.resource[self.kept_mode[i]] == t:
            return -1
        radio = self.links[6 * (self.resource[self.kept_mode[i]] * r + t) + 5]
        if radio >= 0:
            at: int = self.bound[2 * self._sending(i, t, radio)]
            return at
        at = self.kept_start[i] + self.duration[self.kept_mode[i]]
        return at if self.send_wait[x] < 0 else max(at, self.bound[2 * self.send_wait[x]])

    def _accept(self) -> int:
        """Take what was found as the best answer."""
        for c in range(4):
            if self.found_result[c] > self.cap[c]:
                return 0
            self.best_result[c] = self.found_result[c]
        for i in range(self.n):
            self.best_mode[i] = self.kept_mode[i]
        self.kernel.has_best = 1
        return 1

    def kept(self) -> list[int]:
        """The best answer: criteria; mode and start of each stage; transfers; spans.

        Of transfers first how many, then of each its stage, target, start and list; of spans likewise, of each its
        resource, start, end (0: not used) and list. A list is how many gates it has, then their stages.
        """
        r = self.r
        out = [self.best_result[c] for c in range(4)]
        for i in range(self.n):
            out += [self.kept_mode[i], self.kept_start[i]]
        sent = [x for x in range(self.n * r) if self.kept_send[x] >= 0]
        out.append(len(sent))
        for x in sent:
            out += [x // r, x % r, self.kept_send[x], *self._kept_list(self.send_empty[x], x, 0)]
        spans = [
            (t, k)
            for t in range(r)
            for k in range(self.open_first[t], self.open_first[t + 1])
            if self.kept_until[k] >= 0 or self.open_wakes[k] == 0
        ]
        out.append(len(spans))
        for t, k in spans:
            out += [t, self.open_from[k], max(self.kept_until[k], 0), *self._kept_list(self.span_certain[k], k, 1)]
        return out

    def _kept_list(self, empty: int, row: int, of_span: int) -> list[int]:
        listed: list[int] = []
        if empty >= 0 and self.kept_phase[empty] == 0:
            for gate in range(self.gates):
                at = row * self.gates + gate
                v = self.span_gate[at] if of_span else self.send_gate[at]
                if v >= 0 and self.kept_phase[v]:
                    listed.append(self.gate_stage[gate])
        return [len(listed), *listed]
