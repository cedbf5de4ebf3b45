"""How far a run is from the best that somebody could have done who knew all of it beforehand: its regret.

Such a one knows every release, and of every gate whether it opened: what did not run is left out, the rest is certain.
All of it is one question of a window (`known_window`), answered part by part (`solver.rolling`), of which the answer is
a plan that could be played: its bill is what its spans cost when everything is woken just in time. No better plan than
the one found is claimed not to exist. How much better one there could be is told by the largest part, whose bound is
proved; at its ends it knows as little as any window.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import AccuracyBudget, Deadline, Mode
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.window import WindowPlacement, WindowProblem, WindowStage
from leo_runtime.errors import InputError, SolverError
from leo_runtime.frame.conditions import Conditions, StateFound
from leo_runtime.frame.ledger import linger_us, run_ledger
from leo_runtime.frame.lower import MergedWorkload, frame_problem
from leo_runtime.frame.records import FrameResult
from leo_runtime.frame.steps import StepPrices
from leo_runtime.frame.window import Found, window_problem
from leo_runtime.solver.baselines import POLICIES, preferred
from leo_runtime.solver.greedy import improve
from leo_runtime.solver.groups import Groups
from leo_runtime.solver.protocols import Value
from leo_runtime.solver.rolling import roll
from leo_runtime.solver.window import solve_window
from leo_runtime.solver.window_lists import UNLINKED
from leo_runtime.solver.window_schedule import Choice, Schedule, Window

Modes = Mapping[str, tuple[Mode, ...]]
"""Of each merged stage."""

MOST_STAGES = 24
"""How many stages a part has at most."""
NODES = 20_000
"""How far the exact solver searches for the answer to a part, where a proof takes longer."""
SAMPLE_STAGES = 500
"""On how many of the first stages modes that a stage always has are tried."""
MOVES = 2_000
"""How many schedules local search makes where the exact solver finds no answer so far."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best plan that was found for a run of which everything is known."""

    nj: int
    """What it would be charged, of `lasts_us`."""
    tardiness_us: int
    """By how much its answers would be late, each as often as its graph weighs."""
    lasts_us: int
    """From the start of the run until all has lingered that could."""
    parts: int
    asked: int
    """How many parts were different, and so were solved."""
    part_stages: int
    """How many stages the largest part had."""
    part_nj: int
    """What that part costs as it was answered, above what is drawn asleep."""
    part_bound_nj: int
    """What it costs at least, by proof; 0 where it is not proved to be as little late as can be."""
    solve_us: int
    """What the answers to the parts took."""


@dataclass(frozen=True, slots=True)
class Regret:
    """A run beside the best plan that was found with everything known."""

    nj: int
    """What the run was charged in `best.lasts_us`, what solving cost left out."""
    tardiness_us: int
    """By how much its answers were late, as in `best`."""
    best: Best

    @property
    def percent(self) -> float:
        """How much more the run was charged than the plan would be; below 0 where it was charged less."""
        return 100 * (self.nj / self.best.nj - 1) if self.best.nj else 0.0


def regret(
    frames: Iterable[FrameResult],
    merged: MergedWorkload,
    modes: Modes,
    hardware: Hardware,
    *,
    end_us: int = 0,
    best: Best | None = None,
    profile: Profile | None = None,
) -> Regret:
    """The regret of a run: of all its frames, none of them a batch (`Runtime.merged`, `Runtime.modes`).

    The run lasts to `end_us`, or until everything has lingered that could. `best` is the best plan where it is known,
    as from another run of the same frames; None: it is looked for (`best_plan`). `profile` is that of the run, and is
    asked where stages keep state. Raises `InputError` where nothing ran, for a batch, and where that is missing.
    """
    frames = _in_order(frames)
    if best is None:
        best = best_plan(frames, merged, modes, hardware, end_us=end_us, profile=profile)
    problem = known_window(frames, merged, modes, hardware, end_us=end_us, profile=profile)
    bill = run_ledger(frames, hardware, end_us=best.lasts_us)
    return Regret(bill.total_nj, _tardiness_us(frames, problem), best)


def best_plan(
    frames: Iterable[FrameResult],
    merged: MergedWorkload,
    modes: Modes,
    hardware: Hardware,
    *,
    end_us: int = 0,
    most_stages: int = MOST_STAGES,
    limit_nodes: int = NODES,
    profile: Profile | None = None,
) -> Best:
    """The best plan found for what ran in these frames; the arguments are those of `regret`.

    It is made by what stages are expected to take and to cost, so that a run with noise can be above or below it for
    that alone. `most_stages` and `limit_nodes` say how large a part is, and how far its answer is searched for.
    """
    problem = known_window(tuple(frames), merged, modes, hardware, end_us=end_us, profile=profile)
    window = Window(problem)

    def ask(part: WindowProblem) -> WindowPlacement:
        try:
            return solve_window(part, "exact", limit_nodes=limit_nodes)
        except SolverError:
            return solve_window(part, "lns", limit_nodes=MOVES)

    lingers_us = max((resource.linger_us or 0 for resource in problem.resources), default=0)
    # No way to see the end of a part is always the best one, and larger parts are not always better.
    rolls = [
        roll(problem, ask, most_stages=most, beyond_us=us)
        for most in (most_stages, 2 * most_stages)
        for us in dict.fromkeys((0, lingers_us))
    ]
    rolled = rolls[0]
    plans = [*(one.schedule for one in rolls), *_policies(window)]
    always = _Always(window, min(plans, key=_value), [stage.name.partition(" ")[2] for stage in window.stages])
    improve(always, Groups(always.question), None)
    if (schedule := always.whole()) is not None:
        plans.append(schedule)
    best = min(plans, key=_value)
    lasts_us = problem.horizon_us
    asleep_nj = sum(p.asleep_mw for p in hardware.processors if p.idle_timeout_us is not None) * lasts_us
    largest = rolled.largest
    assert largest.criteria is not None, "it has an answer"
    proved = dict(zip(problem.objective, largest.bounds, strict=True))
    on_time = proved.get("tardiness", 0) == largest.criteria.tardiness
    return Best(
        nj=best.criteria[1] - _just_in_time_nj(window, best) + asleep_nj,
        tardiness_us=best.criteria[0],
        lasts_us=lasts_us,
        parts=sum(one.parts for one in rolls),
        asked=sum(one.asked for one in rolls),
        part_stages=len(largest.stages),
        part_nj=largest.criteria.energy,
        part_bound_nj=proved.get("energy", 0) if on_time else 0,
        solve_us=sum(one.solve_us for one in rolls),
    )


def _in_order(frames: Iterable[FrameResult]) -> tuple[FrameResult, ...]:
    return tuple(sorted(frames, key=lambda frame: (frame.release_us, frame.frame)))


def require_best_plan(hardware: Hardware) -> None:
    """Raise `InputError` for a machine of whose runs there is none."""
    if hardware.loaders:
        raise InputError(
            f"there is no best plan of a run where weights are loaded, as on `{hardware.name}`",
            hint="windows of time, of which such a plan is one, know nothing of weights",
        )


def known_window(
    frames: Collection[FrameResult],
    merged: MergedWorkload,
    modes: Modes,
    hardware: Hardware,
    *,
    end_us: int = 0,
    profile: Profile | None = None,
) -> WindowProblem:
    """All that ran as one question in which everything is certain. Time 0 is the run's; a stage `s` is `NUMBER s`.

    It begins asleep. What keeps state finds as much new as it did, where it was: a plan that has it elsewhere all the
    time is charged for having it there each time, so it would cost less. Raises `InputError` where nothing ran, for a
    batch, for a run of stages with state without its `profile`, and where weights are loaded.
    """
    require_best_plan(hardware)
    steps = None if profile is None else StepPrices(merged, hardware, profile)
    stages: list[WindowStage] = []
    deadlines: list[Deadline] = []
    budgets: list[AccuracyBudget] = []
    releases: set[int] = {0}
    sleeps = tuple(name for name, linger in linger_us(hardware).items() if linger is not None)
    alone: dict[tuple[tuple[str, ...], tuple[StateFound, ...]], WindowProblem] = {}
    problem: WindowProblem | None = None
    for number, frame in enumerate(_in_order(frames)):
        if any(graph.number for graph in frame.graphs):
            raise InputError(f"frame {frame.frame} is a batch, of which no regret is known")
        ran = {_stage_of(frame, run.stage) for run in frame.stages if run.outcome != "cancelled"}
        graphs = frame.let_in
        if not ran:
            continue
        states = _states(frame)
        if (graphs, states) not in alone:
            now = Conditions(graphs, asleep=sleeps, states=states)
            if states and steps is None:
                raise InputError("the run has stages that keep state", hint="give its profile: profile=runtime.profile")
            costs = modes if steps is None else steps.at_hand(modes, now)
            usual = now.applied(frame_problem(merged, costs, hardware, now, "frame"))
            alone[graphs, states] = window_problem(merged, costs, hardware, Found(now), usual, "frame").problem
        problem = alone[graphs, states]
        names = {stage.name: f"{number} {stage.name}" for stage in problem.stages if stage.name in ran}
        releases.add(frame.release_us)
        stages += [
            WindowStage(
                name=names[stage.name],
                release_us=frame.release_us,
                inputs=tuple(names[name] for name in stage.inputs if name in names),
                # The weights of a stage that comes again are there already; what a run needs more than that is little.
                modes=tuple(mode.model_copy(update={"memory_bytes": 0}) for mode in stage.modes),
            )
            for stage in problem.stages
            if stage.name in names
        ]
        deadlines += [
            Deadline(stage=names[due.stage], deadline_us=frame.release_us + due.deadline_us, weight=due.weight)
            for due in problem.deadlines
            if due.stage in names
        ]
        budgets += [
            budget.model_copy(update={"stages": tuple(names[name] for name in budget.stages if name in names)})
            for budget in problem.accuracy_budgets
            if any(name in names for name in budget.stages)
        ]
    if problem is None:
        raise InputError("nothing ran, so there is no regret", hint="give the frames of a run, such as runtime.drain()")
    last_us = max(
        end_us,
        *(run.end_us for frame in frames for run in frame.stages),
        *(due.deadline_us for due in deadlines),
    )
    return WindowProblem(
        format="leo-problem/2",
        name=merged.workload.name,
        horizon_us=1 + last_us + max((resource.linger_us or 0 for resource in problem.resources), default=0),
        releases_us=tuple(sorted(releases)),
        resources=problem.resources,
        links=problem.links,
        stages=tuple(stages),
        deadlines=tuple(deadlines),
        accuracy_budgets=tuple(budgets),
        objective=problem.objective,
    )


def _states(frame: FrameResult) -> tuple[StateFound, ...]:
    """What the stages of a frame went on from; of several attempts the last one says so."""
    found = {
        run.stage: StateFound(run.stage, run.state.home, run.variant, run.state.fresh)
        for run in frame.stages
        if run.state is not None and run.state.home is not None
    }
    return tuple(found.values())


def _stage_of(frame: FrameResult, run: str) -> str:
    """The merged stage that a run computes."""
    return frame.jobs[run].stage if run in frame.jobs else run


def _tardiness_us(frames: Collection[FrameResult], problem: WindowProblem) -> int:
    """How late the answers of a run were, by the deadlines of its question."""
    ends = {
        f"{number} {_stage_of(frame, run.stage)}": run.end_us
        for number, frame in enumerate(frames)
        for run in frame.stages
    }
    return sum(due.weight * max(0, ends[due.stage] - due.deadline_us) for due in problem.deadlines)


def _value(schedule: Schedule) -> Value:
    return schedule.value


def _policies(window: Window) -> Iterator[Schedule]:
    """What the fixed policies come to on the whole run: what costs nothing to try."""
    for preferences in POLICIES.values():
        modes = preferred(window, preferences, accurate=False)
        schedule = window.schedule(Choice(tuple(modes), tuple(range(len(modes)))))
        if schedule is not None:
            yield schedule


class _Always:
    """Each stage in the same mode whenever it comes: what pays only after many releases, which no part sees.

    It is searched for (`greedy.improve`) on a `Schedules` of one stage of each kind; a try is valued on the first part
    of the run. The first releases, before anything that sleeps can have woken, keep the modes that they had.
    """

    def __init__(self, window: Window, before: Schedule, kinds: Sequence[str]) -> None:
        """`kinds` says for each stage of the window what it is one of; `before` is what the run does otherwise."""
        self.moves = 0
        self.best: Value | None = None
        self.best_modes: tuple[int, ...] = ()
        self._window = window
        self._before = before
        problem = window.problem
        one = dict(reversed(list(zip(kinds, window.stages, strict=True))))
        called = {stage.name: one[kind].name for kind, stage in zip(kinds, window.stages, strict=True)}
        stages = tuple(
            stage.model_copy(update={"inputs": tuple(dict.fromkeys(called[name] for name in stage.inputs))})
            for stage in one.values()
        )
        names = {stage.name for stage in stages}
        due = tuple(due for due in problem.deadlines if due.stage in names)
        self._question = Window(problem.model_copy(update={"stages": stages, "deadlines": due, "accuracy_budgets": ()}))
        self._kinds = [self._question.position[called[stage.name]] for stage in window.stages]
        self.by_rank = self.by_due = list(range(len(stages)))
        self.best_order = tuple(self.by_rank)
        wake_us = max((resource.wake_latency_us for resource in window.resources), default=0)
        self._from_us = next((time for time in problem.releases_us if time >= wake_us), problem.horizon_us)
        self._sample = Window(_first_stages(window, SAMPLE_STAGES))
        # What each kind does most often is where it starts.
        counts = [Counter[int]() for _ in stages]
        for kind, g in zip(self._kinds, before.choice.modes, strict=True):
            counts[kind][g] += 1
        self.consider([count.most_common(1)[0][0] for count in counts], self.by_rank)

    @property
    def question(self) -> Window:
        """One stage of each kind."""
        return self._question

    @property
    def stopped(self) -> bool:
        """It makes as many moves as it takes."""
        return False

    def consider(self, modes: Sequence[int], order: Sequence[int]) -> Value:  # noqa: ARG002  # releases keep theirs
        """Value such modes on the first part of the run."""
        self.moves += 1
        schedule = self._sample.schedule(self._choice(modes, len(self._sample.stages)))
        if schedule is None:
            return UNLINKED
        if self.best is None or schedule.value < self.best:
            self.best, self.best_modes = schedule.value, tuple(modes)
        return schedule.value

    def whole(self) -> Schedule | None:
        """The best one on all of the run."""
        return self._window.schedule(self._choice(self.best_modes, len(self._window.stages)))

    def _choice(self, modes: Sequence[int], count: int) -> Choice:
        """The modes of so many of the first stages of the window, which come in the order of releases."""
        before = self._before.choice.modes
        chosen = [
            modes[self._kinds[i]] if self._window.stages[i].release_us >= self._from_us else before[i]
            for i in range(count)
        ]
        return Choice(tuple(chosen), tuple(range(count)))


def _first_stages(window: Window, count: int) -> WindowProblem:
    """The question of so many of the first stages."""
    problem, stages = window.problem, tuple(window.stages[:count])
    names = {stage.name for stage in stages}
    due = tuple(due for due in problem.deadlines if due.stage in names)
    return problem.model_copy(update={"stages": stages, "deadlines": due, "accuracy_budgets": ()})


def _just_in_time_nj(window: Window, schedule: Schedule) -> int:
    """What waking just before the first use saves, of what is charged from the release on."""
    modes = schedule.choice.modes
    uses = [(window.places[i][g], schedule.starts[i]) for i, g in enumerate(modes)]
    uses += [
        (window.links[window.places[j][modes[j]], target][1], send.start_us)
        for (j, target), send in schedule.sends.items()
    ]
    starts: dict[int, list[int]] = {}
    for r, start_us in uses:
        starts.setdefault(r, []).append(start_us)
    saved = 0
    for r, spans in enumerate(schedule.spans):
        resource = window.resources[r]
        if resource.linger_us is None:
            continue
        times = sorted(starts.get(r, ()))
        for k, span in enumerate(spans):
            if resource.awake and k == 0:
                continue
            first_us = times[bisect_left(times, span.from_us)]
            saved += resource.awake_mw * (first_us - resource.wake_latency_us - span.from_us)
    return saved
