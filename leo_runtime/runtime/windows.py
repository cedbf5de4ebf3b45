"""From what a release finds and foresees to a plan: the question of its window, asked once, and its answer kept.

Where no answer can be had, or there is too little time, a window of the release alone is asked about, and then the
frame alone. In real time a question may take `THINK_PERCENT` of the release's slack: the best answer so far is carried
out, and the proof goes on in the background for the next release that finds the same. Where even that would come late,
going by how long after their time answers have come so far, a heuristic places the frame alone, at once.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import field, replace
from time import perf_counter_ns

from leo_runtime.dispatch.plan import Needs, Plan, PlannedHold
from leo_runtime.dispatch.window_plan import make_window_plan
from leo_runtime.documents.problem import Mode, Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import LeoError, SolverError
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.foresight import Outlook
from leo_runtime.frame.records import Solved
from leo_runtime.frame.window import Found, Window
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.background import Background
from leo_runtime.runtime.planned import Investment, Planned
from leo_runtime.runtime.planner import MAX_PLANS, Planner
from leo_runtime.runtime.window_solver import WindowSolver
from leo_runtime.solver.context import Context

THINK_PERCENT = 10
"""Of a release's slack, what a question may take in real time."""
WAIT_PERCENT = 30
"""Of a release's slack, how long it may wait for its answer in all: an answer takes longer than it is given, by what
cannot be cut short. On a small board, or where the solver is interpreted, that may be most of it."""
OVERRUNS_KEPT = 8
"""By how many of the last answers it is told how long the next one takes."""
LEAST_THINK_US = 2_000
"""With less time than this the frame alone is asked about."""
PROOF_MS = 2_000
"""How long a proof in the background may take."""
PROOFS_WAITING = 32
CUT_PERCENT = 80
"""An answer that took less of its time was not cut short by it, proved or not: a reserve, for one, unmakes proofs."""


@dataclass(frozen=True, slots=True)
class Planning:
    """How releases came to their plans: each in one of the first five ways, or `at_once`. Batches are not counted."""

    looked_up: int = 0
    """A release before had found the same."""
    proved: int = 0
    """Their window's answer was proved the best."""
    unproved: int = 0
    """It was the best that was found in time."""
    shortened: int = 0
    """There was an answer for a window of the release alone."""
    alone: int = 0
    """The frame was placed as if nothing followed, or not at all."""
    proved_later: int = 0
    """Answers that were proved, or bettered, in the background, for those who find the same."""
    proofs_failed: int = 0
    """Proofs in the background that went wrong."""
    said: str = field(default="", compare=False)
    """What the solver said when it last had no answer for a window."""
    at_once: int = 0
    """In real time: the solver would have kept them waiting for too long, and a heuristic placed the frame alone."""

    @property
    def asked(self) -> int:
        """Releases for which a question was asked."""
        return self.proved + self.unproved + self.shortened + self.alone + self.at_once


class WindowPlanner:
    """Answers the questions of windows of one workload on one machine.

    `plan` and `use` are for one thread at a time, `planning` and `close` for any.
    """

    def __init__(
        self,
        planner: Planner,
        solver: WindowSolver,
        *,
        hurries: bool = False,
        switching_nj: int = 0,
        invests: bool = True,
    ) -> None:
        """`planner` answers where the frame alone is asked about; `hurries`: time passes while a question is asked.

        `invests`: questions are asked twice where something sleeps, to find what it would pay to have awake.
        """
        self._planner = planner
        self._solver = solver
        self._hurries = hurries
        self._switching_nj = switching_nj
        self._invests = invests
        self._woken: dict[tuple[str, ...], tuple[int, int]] = {}
        """When an investment was made last, and how often."""
        self._last_modes: dict[str, tuple[str, str]] = {}
        self._slack_us: dict[Hashable, int] = {}
        self._overruns_us: deque[int] = deque(maxlen=OVERRUNS_KEPT)
        """Of the last answers, how long after the time that they were given they came. Behind the lock."""
        self._proofs = Background("leo-runtime proofs", PROOFS_WAITING)
        # Plans are also put in by proofs in the background.
        self._lock = threading.Lock()
        self._plans: dict[Found, Planned] = {}
        self._counts: Counter[str] = Counter()
        self._failed_before = 0
        """Of the proofs of those that this one has taken over."""
        self._modes_used = 0
        self._in_vain: dict[Found, None] = {}
        """What has no proof in the background."""
        self._said = ""

    def take_over(self, before: WindowPlanner, graphs: frozenset[str], stages: Collection[str]) -> None:
        """Go on with what another has answered of these graphs, and count on.

        They ask the same there in the same modes. `stages` are those that are the same.
        """
        with before._lock:
            plans = {found: one for found, one in before._plans.items() if graphs.issuperset(_graphs(found))}
            self._overruns_us.extend(before._overruns_us)
        self._lock, self._counts, self._said = before._lock, before._counts, before._said
        self._failed_before = before._failed_before + before._proofs.failed
        self._plans.update(plans)
        self._woken.update(before._woken)
        self._last_modes.update({name: mode for name, mode in before._last_modes.items() if name in stages})

    @property
    def planning(self) -> Planning:
        """How releases came to their plans so far."""
        with self._lock:
            failed = self._failed_before + self._proofs.failed
            return Planning(**self._counts, proofs_failed=failed, said=self._said)

    def use(self) -> None:
        """Forget all plans: the planner's modes have changed."""
        with self._lock:
            self._plans.clear()
            self._in_vain.clear()
            self._modes_used += 1
        self._slack_us.clear()

    def close(self, timeout_s: float) -> None:
        """End the proofs in the background; what is being proved is waited for at most so long."""
        self._proofs.close(timeout_s)

    def plan(
        self, found: Found, alone: Conditions, release_us: int, steady_since_us: int | None = None
    ) -> Planned | Placement:
        """The plan of a release, or a placement that says why there is none. Equal questions are asked once.

        `alone` is what the frame finds if nothing of earlier frames is placed again. `steady_since_us`: since when the
        run is as it is; None: nothing is invested. Raises as `Planner.plan` does.
        """
        planned = self._known(found) or self._new(found, alone, release_us)
        if steady_since_us is None or not isinstance(planned, Planned) or planned.investment is None:
            return planned
        return self._invested(planned, planned.investment, release_us, steady_since_us)

    def _new(self, found: Found, alone: Conditions, release_us: int) -> Planned | Placement:
        """The answer to a question that is asked for the first time."""
        usual = self._planner.question(found.now)
        if usual is None:
            return self._alone(alone, release_us)
        asked = self._asked(found, usual, release_us)
        if asked is None:
            return self._alone(alone, release_us)
        limit_ms = None
        if self._hurries:
            think_us = self._think_us(found, usual)
            if self._would_be_late(think_us):
                planned = self._at_once(alone, release_us)
                self._think_on(found, asked)  # Not before: an interpreted search would take half of its time.
                return planned
            if think_us < LEAST_THINK_US:
                self._think_on(found, asked)
                return self._alone(alone, release_us)
            limit_ms = think_us // 1000
        began_ns = perf_counter_ns()
        answer = self._answer(asked, limit_ms)
        if limit_ms is not None:
            self._note_overrun(began_ns, limit_ms)
        if answer is None and found.outlook.later:
            short = replace(found, outlook=Outlook((), found.outlook.later[0].after_us))
            shorter = self._asked(short, usual, release_us)
            answer = None if shorter is None else self._answer(shorter, limit_ms)
            if shorter is not None and answer is not None:
                return self._keep(found, shorter.plan(answer), "shortened")
        if answer is None:
            if limit_ms is not None and self._planner.slow:
                return self._at_once(alone, release_us)
            return self._alone(alone, release_us)
        planned = asked.plan(answer)
        if limit_ms is None:
            planned = replace(planned, investment=self._investment(asked, answer))
        else:
            was_cut = answer.status != "optimal" and not 0 < answer.solve_us < limit_ms * 1000 * CUT_PERCENT // 100
            self._think_on(found, asked, None if was_cut else answer)
        return self._keep(found, planned, "proved" if answer.status == "optimal" else "unproved")

    def _known(self, found: Found) -> Planned | None:
        if self._planner.asks_always and not self._hurries:
            return None
        with self._lock:
            # Often a release asks what the one before it did: to compare takes far less than to look up.
            last = next(reversed(self._plans.items()), None)
            if last is not None and last[0] == found:
                known: Planned | None = last[1]
            else:
                known = self._plans.pop(found, None)
                if known is not None:
                    self._plans[found] = known  # What was asked last is forgotten last.
            self._counts["looked_up"] += known is not None
        if known is not None:
            self._remember(known.plan)
        return known

    def _asked(self, found: Found, usual: Problem, release_us: int) -> _Asked | None:
        """The question; None where there is none, as where a number is too great for a document."""
        outlook = found.outlook
        after_us = (*(r.after_us for r in outlook.later), *(() if outlook.next_us is None else (outlook.next_us,)))
        context = self._planner.context(release_us, tuple(release_us + us for us in after_us))
        try:
            window = self._planner.window(found, usual)
        except LeoError:
            return None
        needs = tuple(self._planner.needs(graphs) for graphs in (found.now.graphs, *(e.graphs for e in found.earlier)))
        return _Asked(found, window, needs, context)

    def _answer(self, asked: _Asked, limit_ms: int | None) -> WindowPlacement | None:
        """An answer; None where the solver found none."""
        placement = self._solved(asked.window.problem, asked.context, limit_ms)
        if placement is not None and self._switching_nj:
            return self._unless_it_pays(asked, placement, limit_ms)
        return placement

    def _solved(self, problem: WindowProblem, context: Context, limit_ms: int | None) -> WindowPlacement | None:
        try:
            placement = self._solver(problem, context, limit_ms)
        except LeoError as error:
            why = str(error)
        else:
            if placement.status != "infeasible":
                return placement
            why = placement.reason or "no answer keeps the rules"
        with self._lock:
            self._said = why
        return None

    def _alone(self, alone: Conditions, release_us: int) -> Planned | Placement:
        with self._lock:
            self._counts["alone"] += 1
        planned = self._planner.plan(alone, context=self._planner.context(release_us))
        if isinstance(planned, Planned):
            self._remember(planned.plan)
        return planned

    def _keep(self, found: Found, planned: Planned, counted: str) -> Planned:
        with self._lock:
            self._counts[counted] += 1
            self._put(found, planned)
        self._remember(planned.plan)
        return planned

    def _put(self, found: Found, planned: Planned) -> None:
        """Keep an answer for the next release that finds the same. Behind the lock."""
        self._plans.pop(found, None)
        if len(self._plans) >= MAX_PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[found] = planned.looked_up()

    # What several windows repay.

    def _investment(self, asked: _Asked, placement: WindowPlacement, limit_ms: int | None = None) -> Investment | None:
        """What it would pay to have awake, and how soon."""
        problem = asked.window.problem
        used = {span.resource for span in placement.spans}
        sleeping = [r for r in problem.resources if not r.awake and r.name not in used]
        if (
            not self._invests
            or not sleeping
            or "energy" not in problem.objective
            or placement.criteria is None
            or not asked.found.outlook.later
        ):
            return None
        names = {resource.name for resource in sleeping}
        resources = tuple(r.model_copy(update={"awake": True}) if r.name in names else r for r in problem.resources)
        awake = self._solved(problem.model_copy(update={"resources": resources}), asked.context, limit_ms)
        if awake is None or awake.criteria is None:
            return None
        before = problem.objective[: problem.objective.index("energy")]
        worse = any(getattr(awake.criteria, name) > getattr(placement.criteria, name) for name in before)
        saved_nj = placement.criteria.energy - awake.criteria.energy
        # Those that are in use until nothing follows, or stay awake until then.
        lasting = [
            resource
            for resource in sleeping
            for span in awake.spans
            if span.resource == resource.name
            and span.until_us
            and span.until_us + max(resource.linger_us or 0, resource.wake_latency_us) >= problem.horizon_us
        ]
        if worse or saved_nj <= 0 or not lasting:
            return None
        cost_nj = sum(r.wake_energy_nj + r.awake_mw * r.wake_latency_us for r in lasting)
        return Investment(
            tuple(resource.name for resource in lasting), cost_nj * problem.horizon_us // saved_nj, problem.horizon_us
        )

    def _invested(self, planned: Planned, investment: Investment, release_us: int, steady_since_us: int) -> Planned:
        """The same plan, which also wakes what it pays to have awake, if it is time to."""
        last_us, times = self._woken.get(investment.resources, (steady_since_us, 0))
        if release_us - max(last_us, steady_since_us) < investment.repaid_after_us << times:
            return planned
        self._woken[investment.resources] = release_us, times + 1
        held = {hold.resource for hold in planned.plan.holds}
        holds = tuple(
            PlannedHold(name, investment.until_us, wakes=True) for name in investment.resources if name not in held
        )
        return replace(planned, plan=replace(planned.plan, holds=(*planned.plan.holds, *holds)))

    # In real time.

    def _think_us(self, found: Found, usual: Problem) -> int:
        """How long a question may take: a share of the time that is left when each stage runs as soon as it can."""
        key = (found.now.graphs, found.now.lost, found.now.aside)
        if key not in self._slack_us:
            self._slack_us[key] = slack_us(usual)
        return self._slack_us[key] * THINK_PERCENT // 100

    def _would_be_late(self, think_us: int) -> bool:
        """Whether the solver's answer would keep a release waiting for too long that has so long to think."""
        with self._lock:
            if not self._overruns_us:
                return self._planner.slow
            return think_us + max(self._overruns_us) > think_us * WAIT_PERCENT // THINK_PERCENT

    def _at_once(self, alone: Conditions, release_us: int) -> Planned | Placement:
        """A heuristic's plan of the frame alone, or the solver's where there is none."""
        planned = self._planner.at_once(alone)
        if planned is None:
            return self._alone(alone, release_us)
        with self._lock:
            self._counts["at_once"] += 1
        self._remember(planned.plan)
        return planned

    def _note_overrun(self, began_ns: int, limit_ms: int, *, hurried: bool = True) -> None:
        """Take note of how long an answer took that was to take so long at most.

        One that was not `hurried` and came in time says no more than that another takes no longer than that.
        """
        took_us = (perf_counter_ns() - began_ns) // 1000
        over_us = max(0, took_us - limit_ms * 1000)
        with self._lock:
            if not hurried and not over_us:
                over_us = min(took_us, max(self._overruns_us, default=took_us))
            self._overruns_us.append(over_us)

    def _think_on(self, found: Found, asked: _Asked, answer: WindowPlacement | None = None) -> None:
        """Have the question answered in the background, for the next release that finds the same.

        With an `answer` that time did not cut short it is only asked what it would pay to have awake.
        """
        with self._lock:
            modes_used = self._modes_used
            if found in self._in_vain:
                return

        def think() -> None:
            if self._modes_used != modes_used:
                return
            placement = answer
            if placement is None:
                began_ns = perf_counter_ns()
                placement = self._solved(asked.window.problem, asked.context, PROOF_MS)
                self._note_overrun(began_ns, PROOF_MS, hurried=False)
            if placement is None:
                self._give_up(found, modes_used)
                raise SolverError("the solver found no answer")
            investment = self._investment(asked, placement, PROOF_MS)
            if answer is not None and investment is None:
                return
            planned = replace(asked.plan(placement), investment=investment)
            with self._lock:
                if self._modes_used == modes_used:
                    self._put(found, planned)
                    self._counts["proved_later"] += answer is None

        self._proofs.put(think, found)

    def _give_up(self, found: Found, modes_used: int) -> None:
        """Have no question answered in the background again that has no answer there."""
        with self._lock:
            if self._modes_used == modes_used:
                if len(self._in_vain) >= MAX_PLANS:
                    del self._in_vain[next(iter(self._in_vain))]
                self._in_vain[found] = None

    # What moving a stage costs.

    def _remember(self, plan: Plan) -> None:
        if self._switching_nj:
            self._last_modes |= {run.stage: (run.resource, run.variant) for run in plan.placement.stages}

    def _unless_it_pays(self, asked: _Asked, best: WindowPlacement, limit_ms: int | None) -> WindowPlacement:
        """The release at hand in the modes of the last one like it, where moving away from them does not pay."""
        problem, at_hand = asked.window.problem, frozenset(asked.window.at_hand)
        here = {run.stage: (run.resource, run.variant) for run in best.stages if run.stage in at_hand}
        moved = sum(self._last_modes.get(stage, mode) != mode for stage, mode in here.items())
        if not moved or best.criteria is None:
            return best
        stages = tuple(
            stage.model_copy(update={"modes": _kept(stage.modes, self._last_modes.get(stage.name))})
            if stage.name in at_hand
            else stage
            for stage in problem.stages
        )
        kept = self._solved(problem.model_copy(update={"stages": stages}), asked.context, limit_ms)
        if kept is None or kept.criteria is None:
            return best
        most = {name: getattr(best.criteria, name) for name in problem.objective}
        most["energy"] = best.criteria.energy + moved * self._switching_nj
        if any(getattr(kept.criteria, name) > value for name, value in most.items()):
            return best
        return kept.model_copy(update={"status": "feasible", "bounds": best.bounds})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, when it is asked, and what its release at hand waits for."""

    found: Found
    window: Window
    needs: tuple[Mapping[str, Needs], ...]
    """Of the release at hand, then of each of `Found.earlier`."""
    context: Context

    def plan(self, placement: WindowPlacement) -> Planned:
        """What of an answer is carried out."""
        problem, window = self.window.problem, self.window
        outlook = self.found.outlook
        plan = make_window_plan(
            problem,
            placement,
            self.needs[0],
            at_hand=window.at_hand,
            elsewhere={name for left in window.earlier for name in (*left.waiting, *left.there)},
            asked_again_us=outlook.later[0].after_us if outlook.later else outlook.next_us,
        )
        again = tuple(
            make_window_plan(
                problem, placement, needs, at_hand=left.waiting, there=left.there, after_us=-earlier.release_us
            )
            for needs, left, earlier in zip(self.needs[1:], window.earlier, self.found.earlier, strict=True)
        )
        return Planned(plan, Solved(problem, placement.model_copy(update={"solve_us": 0})), again)


def _graphs(found: Found) -> set[str]:
    """The graphs of all releases of a window."""
    later = [one.graphs for one in found.outlook.later]
    earlier = [one.graphs for one in found.earlier]
    return {name for graphs in (found.now.graphs, *later, *earlier) for name in graphs}


def _kept(modes: Sequence[Mode], last: tuple[str, str] | None) -> tuple[Mode, ...]:
    """The mode of the last time, where there still is one; else all."""
    return tuple(mode for mode in modes if (mode.resource, mode.variant) == last) or tuple(modes)


def slack_us(problem: Problem) -> int:
    """How long the first deadline can wait, if each stage runs in its fastest mode as soon as its inputs are there."""
    ends: dict[str, int] = {}
    waiting = list(problem.stages)
    while waiting:
        stage = next(s for s in waiting if all(name in ends for name in s.inputs))
        waiting.remove(stage)
        start_us = max([stage.release_us, *(ends[name] for name in stage.inputs)])
        ends[stage.name] = start_us + min(mode.duration_us for mode in stage.modes)
    return max(0, min((due.deadline_us - ends[due.stage] for due in problem.deadlines), default=0))
