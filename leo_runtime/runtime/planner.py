"""From what a frame finds to a plan: the question is made, asked once, and its answer kept.

All of a question but its numbers of the moment (free lanes, sleeping processors, what links carry) is kept from frame
to frame, and so is every plan, up to `MAX_PLANS` of each. The exact solver starts from what it learned of questions of
the same kind: of the same graphs, on the same processors, over the same links.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from leo_runtime.dispatch.memory_plan import make_memory_plan
from leo_runtime.dispatch.open_plan import open_plan
from leo_runtime.dispatch.plan import Needs, make_plan
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import InputError, LeoError, SolverError
from leo_runtime.frame.batch import Job, Modes, solve_batch, worth_batching
from leo_runtime.frame.conditions import Conditions, LinkNow
from leo_runtime.frame.event_driven import EventPolicy
from leo_runtime.frame.lower import MergedWorkload, active_stages, frame_problem
from leo_runtime.frame.nowhere import gone
from leo_runtime.frame.records import Solved
from leo_runtime.frame.running_ledger import linger_us
from leo_runtime.frame.steps import StepPrices
from leo_runtime.frame.weights import Named, memory_problem, named_weights, require_same_bytes
from leo_runtime.frame.window import Found, Releases, Window, window_problem, window_releases
from leo_runtime.frozen import dataclass
from leo_runtime.operators.own import failure
from leo_runtime.runtime.kept_answers import KeptAnswer, KeptAnswers
from leo_runtime.runtime.planned import Planned
from leo_runtime.schema import MAX_QUANTITY
from leo_runtime.solver import SOLVERS, named, plain_limits
from leo_runtime.solver.context import Context, Past, takes_context
from leo_runtime.solver.event_policies import EVENT_POLICIES
from leo_runtime.solver.memory import MEMORY_NODES, solve_memory
from leo_runtime.values import whole

if TYPE_CHECKING:
    from leo_runtime.judge import CheckReport
    from leo_runtime.solver.replan import Replanner

OwnSolver = Callable[..., Any]
"""A function from a frame's question to its placement (`Problem` to `Placement`); from a window's, where there are
windows (`WindowProblem` to `WindowPlacement`, or to a `Placement`, which is completed). With a second argument it is
given the `Context`, and with a keyword `limit_ms` the milliseconds that a window's answer may take, or None."""

Solver = OwnSolver | EventPolicy
"""A solver of one's own, or an event-driven policy, which is asked as stages become ready
(`leo_runtime.frame.event_driven`)."""

LinksNow = Mapping[tuple[str, str], LinkNow]
"""Links that are not now as the hardware says, by (source, target)."""

MAX_PLANS = 256
"""How many plans are kept, and how many problems to make others from. One of 24 stages takes some 60 kB."""
MAX_RELEASES = 64
"""How many windows' releases are kept: plans of windows share them."""
VIOLATIONS_SAID = 3
"""How many broken rules of an answer are named."""
MAX_KINDS = 16
"""Of how many kinds of question the solver remembers what it learned."""
BATCH_NODES = 500
"""How far a named solver without a limit searches for each choice of what runs together: a batch is often too large for
a proof, and the same limit gives the same answer."""

NOT_TOLD = Context(0)
"""The context of a question that has none."""

NO_ANSWER = "the solver found no placement ("
"""How a reason begins where a solver raised, or its answer is wrong; what was said of it follows, and `)`."""
UNPLACED_BY = "runtime"
"""The solver that is named where none has answered."""

_Question = tuple[Conditions, int, tuple[str, ...] | None]
"""What is found, how many frames are placed as one, and which stages may run them together (None: any)."""


@dataclass(frozen=True, slots=True)
class FrameSolver:
    """Who answers the questions of frames and of batches."""

    frame: Callable[[Problem, Context], Placement]
    batch: Callable[[Problem, Context, int], Placement]
    """Answers one choice of what runs together, of so many; a limit is for all of them."""
    replanner: Callable[[Problem], Replanner] | None
    """Answers in place of `frame` where there is one: of the exact solver without a clock. Made for every kind."""
    at_once: Callable[[Problem], Placement] | None = None
    """A heuristic's answer, where that of `frame` would come too late; None: there is none. The exact solver has one;
    what others are asked for is their own answer."""
    memory: Callable[[MemoryProblem, Context], MemoryPlacement] | None = None
    """Answers questions with weights; None: this solver cannot."""
    slow: bool = False
    """Whether it is interpreted: then it takes too long for a release that waits, until it was seen not to."""
    past: Past | None = None
    """Where the frames that end are to be added, for a solver of one's own that takes a context and is asked for every
    release; None: equal questions have the same answer."""
    policy: EventPolicy | None = None
    """Decides as stages become ready, and is asked nothing before: nobody asks `frame` and `batch`."""


class Planner:
    """Answers the questions of one workload on one machine. One thread at a time may use it."""

    def __init__(
        self,
        merged: MergedWorkload,
        hardware: Hardware,
        modes: Modes,
        solver: FrameSolver,
        steps: StepPrices | None = None,
    ) -> None:
        """`steps` say what stages cost that keep state; None: there are none."""
        self.merged = merged
        self.steps = steps
        self._hardware = hardware
        self._named = named_weights(merged.stages, hardware)
        self._known_bytes = self.label_bytes
        """The bytes of all weights that may be in memory, also of workloads before this one."""
        self._with_weights: dict[Conditions, MemoryProblem] = {}
        """Questions as `_usual` has them, where weights are loaded."""
        self._solver = solver
        self._replanners: dict[Conditions, Replanner] = {}
        self._needs: dict[tuple[str, ...], dict[str, Needs]] = {}
        self._usual: dict[Conditions, Problem] = {}
        self._releases: dict[Hashable, Releases] = {}
        self._plans: KeptAnswers[_Question, Planned | Placement] = KeptAnswers()
        self._answered = False
        self._labels: dict[tuple[str, ...], Mapping[str, frozenset[str]]] = {}
        self.modes = modes

    def use(self, modes: Modes) -> None:
        """Plan with these modes from now on."""
        self.modes = modes
        self._plans.clear()
        self._labels.clear()
        self._usual.clear()
        self._with_weights.clear()
        self._releases.clear()
        self._replanners.clear()

    def follow(self, before: Planner) -> None:
        """Plan on the same machine after that one. Raises `GraphError` where a label is of other weights there."""
        require_same_bytes(self._known_bytes, before._known_bytes)
        self._known_bytes = {**before._known_bytes, **self._known_bytes}

    def take_over(self, before: Planner, graphs: frozenset[str]) -> None:
        """Go on with what another has answered of these graphs, which ask the same there in the same modes."""
        self._answered = before._answered
        self._plans.take_over(before._plans, lambda asked: graphs.issuperset(asked[0].graphs))
        self._usual.update({kind: one for kind, one in before._usual.items() if graphs.issuperset(kind.graphs)})
        replanners = {kind: one for kind, one in before._replanners.items() if graphs.issuperset(kind.graphs)}
        self._replanners.update(replanners)

    def plan(
        self,
        conditions: Conditions,
        *,
        frames: int = 1,
        together: tuple[str, ...] | None = None,
        batched: Modes | None = None,
        context: Context = NOT_TOLD,
    ) -> Planned | Placement:
        """The answer to a question, or a placement that says why there is none. Equal questions are asked once,
        unless the solver takes a context.

        Of a batch, `frames` are placed as one, `batched` are the modes for all of them at once, and `together` are the
        stages that may run so (None: those that could save most). Raises what the solver raises, mostly `SolverError`,
        where it never had an answer before; later that fails the frame. An equal question is asked again then.
        """
        if self._solver.policy is not None:
            return self._open(conditions, self._solver.policy, batched is None)
        question = (conditions, frames, together)
        known = None if self.asks_always else self._plans.get(question)
        if known is not None:
            answer = known.answer
            replanner = self._replanners.get(conditions.kind()) if frames == 1 and self._replanners else None
            if isinstance(answer, Planned) and replanner is not None:
                replanner.remember(answer.plan.placement)
            return answer
        if self._named is not None:
            return self._plan_with_weights(question, self._named, context)
        problem = self.question(conditions)
        if problem is None:
            return self._nowhere(conditions)
        kind = conditions.kind()
        jobs: Mapping[str, Job] | None = None
        try:
            if batched is None:
                placement = self._solve(conditions, kind, problem, context)
            else:
                problem, placement, jobs = self._solve_batch(conditions, frames, together, batched, context)
        except LeoError as error:
            if not self._answered:
                raise
            return no_placement(f"{NO_ANSWER}{error})")
        # The next frame that asks the same will not have waited for a solver.
        again = placement.model_copy(update={"solve_us": 0})
        if placement.status == "infeasible":
            self._keep(question, again)
            return placement
        self._answered = True
        needs = self.needs(conditions.graphs) if jobs is None else self._batch_needs(conditions.graphs, jobs)
        planned = Planned(make_plan(problem, placement, needs, jobs), Solved(problem, again))
        self._keep(question, planned.looked_up())
        return planned

    def kept(self, conditions: Conditions) -> KeptAnswer[Planned | Placement] | None:
        """The answer to the question of a frame that is kept, for who asks it again instead of `plan`.

        None where there is none yet, and where something is to be learned of each that asks.
        """
        if self._solver.replanner is not None or self._solver.policy is not None or self.asks_always:
            return None
        return self._plans.get((conditions, 1, None))

    def _open(self, conditions: Conditions, policy: EventPolicy, alone: bool) -> Planned | Placement:
        """The plan of a frame about which is decided as it runs. Who is busy or asleep is seen then."""
        if not alone:
            raise SolverError(
                f"the event-driven policy `{policy.name}` decides stage by stage, and places no batches",
                hint="submit the frames one by one",
            )
        question = (replace(conditions, ready_us=(), asleep=()), 1, None)
        known = self._plans.get(question)
        if known is not None:
            return known.answer
        problem = self.question(question[0])
        if problem is None:
            return self._nowhere(conditions)
        lingers = linger_us(self._hardware)
        planned = Planned(open_plan(problem, policy.name, lingers, self.needs(conditions.graphs)), None)
        self._keep(question, planned)
        return planned

    def _nowhere(self, conditions: Conditions) -> Placement:
        """Says which stage has no processor left."""
        usable = _usable(self.modes, conditions)
        stages = active_stages(self.merged, conditions)
        return no_placement(gone(next(one.name for one in stages if not usable[one.name]), self.modes))

    @property
    def plans_ahead(self) -> bool:
        """Whether all of a frame is placed at its release, by the links as they are then."""
        return self._solver.policy is None

    @property
    def label_bytes(self) -> Mapping[str, int]:
        """The bytes of all weights by label; empty where nothing is loaded."""
        return {} if self._named is None else self._named.bytes

    def labels(self, graphs: tuple[str, ...]) -> Mapping[str, frozenset[str]]:
        """The weights that stages of these graphs may load, by processor; empty where nothing is loaded."""
        known = self._labels.get(graphs)
        if known is None:
            found: dict[str, set[str]] = {}
            for stage in self.merged.stages if self._named is not None else ():
                for mode in self.modes[stage.name] if set(stage.graphs).intersection(graphs) else ():
                    if self._named is not None and mode.resource in self._named.targets:
                        found.setdefault(mode.resource, set()).update(self._named.of[stage.name, mode.variant])
            known = self._labels[graphs] = {name: frozenset(labels) for name, labels in found.items()}
        return known

    def _plan_with_weights(self, question: _Question, named: Named, context: Context) -> Planned | Placement:
        """As `plan`, on a machine that loads weights."""
        conditions, frames, _ = question
        kind = conditions.kind()
        if frames != 1:
            raise InputError("a batch is not placed where weights are loaded", hint="submit its frames one by one")
        usual = self._with_weights.get(kind)
        if usual is None:
            usable = _usable(self.modes, kind)
            wanted = [stage.name for stage in active_stages(self.merged, kind)]
            if any(not usable[name] for name in wanted):
                return self._nowhere(kind)
            if self.steps is not None:
                usable = self.steps.at_hand(usable, kind)
            if len(self._with_weights) >= MAX_PLANS:
                del self._with_weights[next(iter(self._with_weights))]
            name = " + ".join(kind.graphs) or "nothing"
            usual = memory_problem(self.merged, usable, self._hardware, named, kind, name)
            self._with_weights[kind] = usual
        problem = conditions.applied(usual)
        assert self._solver.memory is not None, "it was asked for when the planner was made"
        try:
            answer = self._solver.memory(problem, context)
        except LeoError as error:
            if not self._answered:
                raise
            return no_placement(f"{NO_ANSWER}{error})")
        placement = without_loads(answer)
        again = placement.model_copy(update={"solve_us": 0})
        if answer.status == "infeasible":
            self._keep(question, again)
            return placement
        self._answered = True
        plan = make_memory_plan(problem, answer, placement, self.needs(conditions.graphs))
        planned = Planned(plan, Solved(problem, answer.model_copy(update={"solve_us": 0})))
        self._keep(question, planned.looked_up())
        return planned

    @property
    def asks_always(self) -> bool:
        """Whether the solver is asked for every release, since its answers may depend on when it is asked."""
        return self._solver.past is not None

    def context(self, release_us: int, releases_us: tuple[int, ...] = ()) -> Context:
        """What a solver is told at a release: these are known to follow."""
        past = self._solver.past
        return Context(release_us, releases_us, () if past is None else past.frames)

    @property
    def slow(self) -> bool:
        """Whether an answer takes too long for a release that waits, as far as is known beforehand."""
        return self._solver.slow

    def at_once(self, conditions: Conditions) -> Planned | None:
        """A heuristic's answer to the question of a frame, which is not kept: the solver may still be asked.

        None where the solver's own is known, and where there is no heuristic or it finds no answer: ask `plan`.
        """
        problem = self.question(conditions)
        if self._solver.at_once is None or problem is None or (conditions, 1, None) in self._plans:
            return None
        try:
            placement = self._solver.at_once(problem)
        except LeoError:  # It broke a rule with all that it tried, which says nothing of the solver.
            return None
        if placement.status == "infeasible":
            return None
        self._answered = True
        again = placement.model_copy(update={"solve_us": 0})
        return Planned(make_plan(problem, placement, self.needs(conditions.graphs)), Solved(problem, again))

    def question(self, conditions: Conditions) -> Problem | None:
        """The question of a frame by itself; None where a stage has no processor left that could run it."""
        usual = self._usual_problem(conditions.kind())
        return None if usual is None else conditions.applied(usual)

    def window(self, found: Found, usual: Problem) -> Window:
        """The question of a window, of whose release at hand `usual` is the question."""
        usable = later = _usable(self.modes, found.now)
        if self.steps is not None:
            usable, later = self.steps.at_hand(usable, found.now), self.steps.later(usable, found.now)
        key = Releases.key(found)
        releases = self._releases.get(key)
        if releases is None:
            if len(self._releases) >= MAX_RELEASES:
                del self._releases[next(iter(self._releases))]
            releases = self._releases[key] = window_releases(self.merged, usable, self._hardware, found, usual, later)
        return window_problem(self.merged, usable, self._hardware, found, usual, usual.name, releases)

    def _keep(self, question: _Question, answer: Planned | Placement) -> None:
        self._plans.keep(question, answer, MAX_PLANS)

    def _solve(self, conditions: Conditions, kind: Conditions, problem: Problem, context: Context) -> Placement:
        """Answer a question that is new; the exact solver starts from what it learned of its kind."""
        if self._solver.replanner is None:
            return self._solver.frame(problem, context)
        replanner = self._replanners.pop(kind, None)
        if replanner is None:
            replanner = self._solver.replanner(self._usual[kind])
            if len(self._replanners) == MAX_KINDS:
                del self._replanners[next(iter(self._replanners))]
        self._replanners[kind] = replanner
        return replanner.frame(conditions, problem)

    def _solve_batch(
        self,
        conditions: Conditions,
        frames: int,
        together: tuple[str, ...] | None,
        batched: Modes,
        context: Context,
    ) -> tuple[Problem, Placement, Mapping[str, Job]]:
        """Place a batch whose frames have all been collected, and decide what of it runs together."""
        graphs = conditions.graphs
        alone = following = _usable(self.modes, conditions)
        at_once = _usable(batched, conditions)
        if self.steps is not None:
            alone, following = self.steps.at_hand(alone, conditions), self.steps.later(alone, conditions)
            at_once = self.steps.together(at_once, alone, following, frames)
        if together is None:
            together = worth_batching(self.merged, graphs, alone, at_once, frames)
        candidates = [name for name in together if set(self.merged.stage(name).graphs).intersection(graphs)]
        answer = solve_batch(
            self.merged,
            alone,
            at_once,
            self._hardware,
            conditions,
            frames=frames,
            period_us=None,
            candidates=candidates,
            solver=lambda problem: self._solver.batch(problem, context, 1 << len(candidates)),
            name=" + ".join(graphs),
            following=following,
        )
        return answer.problem, answer.placement, answer.jobs

    def _batch_needs(self, graphs: tuple[str, ...], jobs: Mapping[str, Job]) -> dict[str, Needs]:
        """What each stage of a batch waits for. What runs for all of its frames does if there is anything for one."""
        called = {(job.stage, frame): name for name, job in jobs.items() for frame in job.frames}

        def every(names: tuple[str, ...], frames: tuple[int, ...]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(called[name, frame] for name in names for frame in frames))

        needs: dict[str, Needs] = {}
        for name, job in jobs.items():
            single = self.needs(graphs)[job.stage]
            takes_absent = single.takes_absent or len(job.frames) > 1
            needs[name] = Needs(every(single.reads, job.frames), every(single.gates, job.frames), takes_absent)
        return needs

    def needs(self, graphs: tuple[str, ...]) -> dict[str, Needs]:
        """What each stage waits for in a frame of these graphs."""
        if graphs not in self._needs:
            self._needs[graphs] = {
                stage.name: Needs(stage.inputs, stage.gates(graphs), stage.bound.operator.takes_absent)
                for stage in self.merged.stages
            }
        return self._needs[graphs]

    def _usual_problem(self, kind: Conditions) -> Problem | None:
        """The problem of a kind of question, or None where a stage runs nowhere; it is kept from frame to frame."""
        usual = self._usual.get(kind)
        if usual is None:
            usable = _usable(self.modes, kind)
            wanted = [stage.name for stage in active_stages(self.merged, kind)]
            if any(not usable[name] for name in wanted):
                return None
            if self.steps is not None:
                usable = self.steps.at_hand(usable, kind)
            if kind.aside:  # What is out of service differs from fault to fault: of others nothing is kept.
                self._usual = {known: one for known, one in self._usual.items() if known.aside in ((), kind.aside)}
            if len(self._usual) >= MAX_PLANS:
                del self._usual[next(iter(self._usual))]
            name = " + ".join(kind.graphs) or "nothing"
            usual = self._usual[kind] = frame_problem(self.merged, usable, self._hardware, kind, name)
        return usual


def _usable(modes: Modes, now: Conditions) -> Modes:
    """The modes on processors that are there, without those that are out of service where a stage has others."""
    lost, aside = now.lost, now.aside
    there = {name: tuple(mode for mode in known if mode.resource not in lost) for name, known in modes.items()}
    for stage in dict.fromkeys([stage for stage, _, _ in aside if stage in there]):
        well = tuple([mode for mode in there[stage] if (stage, mode.resource, mode.variant) not in aside])
        there[stage] = well or there[stage]
    return there


def frame_solver(
    solver: str | Solver, limit_ms: int | None, limit_nodes: int | None, switching_nj: int, seed: int
) -> FrameSolver:
    """A named solver with its limits, or the caller's own, whose answers are judged before they are believed.

    Raises `SolverError` for an unknown name, and `InputError` for a number out of range or an argument that would do
    nothing.
    """
    policy = EVENT_POLICIES.get(solver) if isinstance(solver, str) else None
    if isinstance(solver, EventPolicy):
        policy = solver
    elif not isinstance(solver, str) and not callable(solver):
        raise InputError(
            "`solver` is a solver's name, a function from Problem to Placement, or an event-driven policy, "
            f"got {type(solver).__name__}",
            hint=f"there are {', '.join((*SOLVERS, *EVENT_POLICIES))}",
        )
    limit_ms, limit_nodes, seed = plain_limits(limit_ms, limit_nodes, seed)
    switching_nj = whole(switching_nj, "switching_nj", most=MAX_QUANTITY)
    if policy is not None:
        _require_none(policy, limit_ms=limit_ms, limit_nodes=limit_nodes, switching_nj=switching_nj or None)
        return _asked_as_it_runs(policy)
    replans = solver == "exact" and limit_ms is None
    if switching_nj and not replans:
        which = f"`{solver}`" if isinstance(solver, str) else "of your own"
        raise InputError(
            f"`switching_nj` does nothing with the solver {which}{' and `limit_ms`' if solver == 'exact' else ''}",
            hint="the solver `exact` without `limit_ms` looks at it; `limit_nodes` limits it all the same",
        )
    if not isinstance(solver, str | EventPolicy):
        for name, limit in (("limit_ms", limit_ms), ("limit_nodes", limit_nodes)):
            if limit is not None:
                raise InputError(
                    f"`{name}` does nothing with a solver of your own", hint="give the limit to your solver yourself"
                )
        own = judged(solver)
        return FrameSolver(
            own,
            lambda problem, context, _: own(problem, context),
            None,
            memory=judged(solver, with_weights=True),
            past=Past() if takes_context(solver) else None,
        )
    assert isinstance(solver, str), "it has a name, as it is no event-driven policy"
    solve = named(solver)

    def batch(problem: Problem, _: Context, choices: int) -> Placement:
        nodes = BATCH_NODES if limit_ms is None else None
        if limit_nodes is not None:
            nodes = limit_nodes // choices
        left_ms = None if limit_ms is None else limit_ms // choices
        return solve(problem, limit_ms=left_ms, limit_nodes=nodes, seed=seed)

    replanner = None
    if replans:
        from leo_runtime.solver.replan import Replanner  # For this alone.

        replanner = partial(Replanner, switching_nj=switching_nj, limit_nodes=limit_nodes, seed=seed)
    at_once, slow = _heuristic() if solver == "exact" else (None, False)
    return FrameSolver(
        lambda problem, _: solve(problem, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed),
        batch,
        replanner,
        at_once,
        memory_solver(solver, limit_ms, limit_nodes, seed),
        slow,
    )


def memory_solver(
    solver: str, limit_ms: int | None, limit_nodes: int | None, seed: int
) -> Callable[[MemoryProblem, Context], MemoryPlacement]:
    """A named solver's answers to questions with weights. `exact` asks at most `MEMORY_NODES` questions of frames."""

    def solve(problem: MemoryProblem, _: Context) -> MemoryPlacement:
        nodes = limit_nodes
        if solver == "exact" and limit_ms is None:
            nodes = MEMORY_NODES if limit_nodes is None else min(limit_nodes, MEMORY_NODES)
        return solve_memory(problem, solver, limit_ms=limit_ms, limit_nodes=nodes, seed=seed)

    return solve


def _require_none(policy: EventPolicy, **given: int | None) -> None:
    """Raise `InputError` for an argument that an event-driven policy has no use for."""
    for name, value in given.items():
        if value is not None:
            raise InputError(
                f"`{name}` does nothing with the event-driven policy `{policy.name}`, got {value}",
                hint="it searches nothing, and no plan comes before another: leave it out",
            )


def _asked_as_it_runs(policy: EventPolicy) -> FrameSolver:
    """Who plans nothing: the dispatcher asks the policy."""

    def nobody(*_: object) -> NoReturn:
        raise SolverError(f"the event-driven policy `{policy.name}` answers no question beforehand")

    return FrameSolver(nobody, nobody, None, policy=policy)


def _heuristic() -> tuple[Callable[[Problem], Placement], bool]:
    """`FrameSolver.at_once` and `slow` of the exact solver; imported now, and not as the first release waits for it.

    That is HEFT and simple schedules of each processor: without time left nothing else is searched, or proved.
    """
    from leo_runtime.solver import compiled

    if not compiled.COMPILED:
        compiled.interpreted("windows")  # All that it is made of, too.
    return partial(named("heft"), limit_ms=0), not compiled.COMPILED


def judged(solver: OwnSolver, *, with_weights: bool = False) -> Callable[[Any, Context], Any]:
    """A solver that is not ours: whatever goes wrong in it, and whatever its answer breaks, is a `SolverError`.

    It is asked about frames (`Problem`), or `with_weights` about those of machines that load them (`MemoryProblem`).
    """
    from leo_runtime.judge import check  # For solvers of others alone.
    from leo_runtime.judge.memory import check_memory

    judge: Callable[[Any, Any], CheckReport] = check_memory if with_weights else check

    called = getattr(solver, "__qualname__", type(solver).__name__)
    with_context = takes_context(solver)

    def solve(problem: Any, context: Context) -> Any:
        try:
            placement = solver(problem, context) if with_context else solver(problem)
        except LeoError:
            raise
        except Exception as error:  # Foreign code: whatever it raises means that it has no answer.
            raise SolverError(f"the solver `{called}` raised {failure(error, solver)}") from error
        report = judge(problem, placement)
        if report.ok:
            return placement.model_copy(update={"criteria": report.criteria})
        wrong = (*report.violations, *report.false_claims)
        more = f"; and {len(wrong) - VIOLATIONS_SAID} more" if len(wrong) > VIOLATIONS_SAID else ""
        raise SolverError(
            f"the answer of the solver `{called}` is wrong: {'; '.join(map(str, wrong[:VIOLATIONS_SAID]))}{more}",
            hint="`leo_runtime.check(problem, placement)` finds all of it; docs/placement-problem.md has the rules",
        )

    return solve


def without_loads(answer: MemoryPlacement) -> Placement:
    """All of an answer but its loads."""
    kept = {name: value for name, value in answer if name not in ("format", "loads")}
    return Placement(format="leo-placement/1", **kept)


def no_placement(reason: str) -> Placement:
    """Says why a frame is not placed."""
    return Placement(format="leo-placement/1", problem="frame", solver=UNPLACED_BY, status="infeasible", reason=reason)
