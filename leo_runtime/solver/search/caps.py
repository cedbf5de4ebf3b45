"""The rules of the caps: late, dear, large and inaccurate at most as far as they allow.

One source, compiled (types in `caps.pxd`) or interpreted, as `schedule.py` is; methods are `final` as in
`propagation.py`. A call into another file cannot be made directly: what loops ask of a half is read from `bound`, not
asked of `_holds`.
"""

from typing import TYPE_CHECKING

from leo_runtime.solver.search.lanes import Lanes

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
    from leo_runtime.solver.search.schedule import FAR


class Caps(Lanes):
    """That tardiness, memory, budgets, loss and energy are at most their caps, and what follows from it."""

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
                if self.bound[2 * g + 1] < 0:
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
            if self.bound[2 * g + 1] < 0 and self.cost[g] - self.least[i] > left:
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
            if y >= 0 and t != self.resource[g] and self.send_us[g * r + t] >= 0 and self.bound[2 * y] >= 1:
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
                if self.bound[2 * g + 1] >= 0:
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
                if u >= 0 and self.bound[2 * u] < 1:
                    more += self._waking(t)
                if more > left:
                    self._why()
                    self._because_sendings(i, g)
                    if u >= 0 and self.bound[2 * u] < 1:
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
                if self.bound[2 * g + 1] < 0:
                    self.cost[g] = self._with_sendings(i, g)
                    self.least[i] = min(self.least[i], self.cost[g])
            if self.least[i] == FAR:
                return FAR
            left -= self.least[i]
        for t in range(self.r):
            if self.used[t] >= 0 and self.bound[2 * self.used[t]] >= 1:
                left -= self._waking(t)
            if self.awake[t] >= 0:
                left -= self._staying(t, self.bound[2 * self.awake[t]])
        return left

    @cython.final
    def _cap_resource(self, t: int, left: int) -> int:
        """Whether resource t may be used, and until when be awake, with so much energy left."""
        u = self.used[t]
        wake = self._waking(t)
        if u >= 0 and wake > left and self.bound[2 * u] < 1 and self.bound[2 * u + 1] < 0:
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
            if y < 0 or self.bound[2 * y] >= 1 or self.bound[2 * y + 1] >= 0:
                continue
            least = FAR
            for g in range(self.mode_first[i], self.mode_first[i + 1]):
                if self.bound[2 * g + 1] < 0 and self.send_us[g * r + t] >= 0:
                    with_it = self.cost[g]
                    if self.resource[g] != t:
                        with_it += self.scale * self.send_nj[g * r + t]
                    least = min(least, with_it)
            if least < FAR and least - self.least[i] > left:
                self._why()
                for g in range(self.mode_first[i], self.mode_first[i + 1]):
                    if self.bound[2 * g + 1] >= 0:
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
            if y >= 0 and t != self.resource[g] and self.send_nj[g * r + t] > 0 and self.bound[2 * y] >= 1:
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
            if u >= 0 and self._waking(t) > 0 and self.bound[2 * u] >= 1:
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
                elif self.bound[2 * g + 1] >= 0 and self._with_sendings(i, g) < self.least[i]:
                    self._because(2 * g + 1, 0, 0)
                else:
                    self._because_sendings(i, g)
            spare -= self.least[i] - enough
        self._because_cap(1, spare // self.scale, 0)
        if self.charged:
            self._because(2 * self.priced_in, self.runs, 0)
