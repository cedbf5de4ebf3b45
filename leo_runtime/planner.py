"""From what a frame finds to a plan: the question is made, asked once, and its answer kept.

All of a question but free lanes and sleeping processors is kept from frame to frame, and so is every plan, up to
`PLANS_KEPT` of each. The exact solver starts from what it learned of questions of the same kind: of the same graphs, on
the same processors, over the same links.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from leo_runtime.batch import Job, Modes, solve_batch, worth_batching
from leo_runtime.errors import SolverError
from leo_runtime.hardware import Hardware
from leo_runtime.lower import FrameState, MergedWorkload, frame_problem
from leo_runtime.plan import Needs, Plan, plan
from leo_runtime.problem import Mode, Placement, Problem
from leo_runtime.solver import named
from leo_runtime.solver.replan import Conditions, Replanner

Solver = Callable[[Problem], Placement]
"""Answers a frame's question."""

LinksNow = Mapping[tuple[str, str], tuple[int, int | None] | None]
"""Links that are not now as the hardware says, by (source, target): (latency_us, bytes_per_s), or None where down."""

PLANS_KEPT = 512
BATCH_NODES = 500
"""How far a named solver without a limit searches for each choice of what runs together: a batch is often too large for
a proof, and the same limit gives the same answer."""
KINDS_KEPT = 16
"""Of how many kinds of question the solver remembers what it learned."""


@dataclass(frozen=True, slots=True)
class Asked:
    """All that a frame's question depends on."""

    graphs: tuple[str, ...]
    ready_us: tuple[tuple[str, tuple[int, ...]], ...]
    asleep: tuple[str, ...]
    links: tuple[tuple[tuple[str, str], tuple[int, int | None] | None], ...]
    lost: tuple[str, ...]
    frames: int = 1
    """How many frames are placed as one batch."""
    together: tuple[str, ...] | None = None
    """Of a batch: which stages may run their frames together; None: those that could save most."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers the questions."""

    frame: Solver
    batch: Callable[[Problem, int], Placement]
    """Answers one choice of what runs together, of so many; a limit is for all of them."""
    replanner: Callable[[Problem], Replanner] | None
    """Answers in place of `frame` where there is one: of the exact solver without a clock. Made for every kind."""


class Planner:
    """Answers the questions of one workload on one machine."""

    def __init__(
        self,
        merged: MergedWorkload,
        hardware: Hardware,
        modes: Modes,
        answering: Answering,
    ) -> None:
        self._merged = merged
        self._hardware = hardware
        self._answering = answering
        self._replanners: dict[Asked, Replanner] = {}
        self._needs: dict[tuple[str, ...], dict[str, Needs]] = {}
        self._skeletons: dict[Asked, Problem] = {}
        self._plans: dict[Asked, Plan | Placement] = {}
        self._answered = False
        self.modes = modes

    def use(self, modes: Modes) -> None:
        """Plan with these modes from now on."""
        self.modes = modes
        self._plans.clear()
        self._skeletons.clear()
        self._replanners.clear()

    def plan(self, asked: Asked, batched: Modes | None = None) -> Plan | Placement:
        """The answer to a question, or a placement that says why there is none. Equal questions are asked once.

        `batched` are a batch's modes for all of its frames at once.
        """
        found = self._plans.pop(asked, None)
        if found is not None:
            self._plans[asked] = found  # What was asked last is forgotten last.
            replanner = self._replanners.get(_kind(asked)) if asked.frames == 1 else None
            if isinstance(found, Plan) and replanner is not None:
                replanner.remember(found.placement)
            return found
        if len(self._plans) >= PLANS_KEPT:
            del self._plans[next(iter(self._plans))]
        problem = self._problem(asked)
        if problem is None:
            return no_placement("a stage has no processor left that could run it")
        jobs: Mapping[str, Job] | None = None
        try:
            if batched is None:
                placement = self._solve(asked, problem)
            else:
                problem, placement, jobs = self._solve_batch(asked, batched)
        except SolverError as error:
            if not self._answered:
                raise
            placement = no_placement(f"the solver found no placement ({error})")
        # The next frame that asks the same will not have waited for a solver.
        again = placement.model_copy(update={"solve_us": 0})
        if placement.status == "infeasible":
            self._plans[asked] = again
            return placement
        self._answered = True
        needs = self._needs_of(asked.graphs) if jobs is None else self._batch_needs(asked.graphs, jobs)
        self._plans[asked] = plan(problem, again, needs, jobs)
        return plan(problem, placement, needs, jobs)

    def _solve(self, asked: Asked, problem: Problem) -> Placement:
        """Answer a question that is new; the exact solver starts from what it learned of its kind."""
        if self._answering.replanner is None:
            return self._answering.frame(problem)
        kind = _kind(asked)
        replanner = self._replanners.pop(kind, None)
        if replanner is None:
            usual = self._problem(kind)
            assert usual is not None
            replanner = self._answering.replanner(usual)
            if len(self._replanners) == KINDS_KEPT:
                del self._replanners[next(iter(self._replanners))]
        self._replanners[kind] = replanner
        changed = {pair for pair, now in asked.links if now is not None}
        links = tuple(link for link in problem.links if (link.source, link.target) in changed)
        return replanner.frame(Conditions(ready_us=asked.ready_us, asleep=asked.asleep, links=links))

    def _solve_batch(self, asked: Asked, batched: Modes) -> tuple[Problem, Placement, Mapping[str, Job]]:
        """Place a batch whose frames have all been collected, and decide what of it runs together."""
        one_by_one = _usable(self.modes, asked.lost)
        together = _usable(batched, asked.lost)
        candidates = asked.together
        if candidates is None:
            candidates = worth_batching(self._merged, asked.graphs, one_by_one, together, asked.frames)
        tried = [name for name in candidates if set(self._merged.stage(name).graphs).intersection(asked.graphs)]
        answer = solve_batch(
            self._merged,
            one_by_one,
            together,
            self._hardware,
            replace(_state(asked), ready_us=dict(asked.ready_us), asleep=frozenset(asked.asleep)),
            frames=asked.frames,
            period_us=None,
            candidates=tried,
            solver=lambda problem: self._answering.batch(problem, 1 << len(tried)),
            name=" + ".join(asked.graphs),
        )
        return answer.problem, answer.placement, answer.jobs

    def _batch_needs(self, graphs: tuple[str, ...], jobs: Mapping[str, Job]) -> dict[str, Needs]:
        """What each stage of a batch waits for. What runs for all of its frames does if there is anything for one."""
        called = {(job.stage, frame): name for name, job in jobs.items() for frame in job.frames}

        def every(names: tuple[str, ...], frames: tuple[int, ...]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(called[name, frame] for name in names for frame in frames))

        found: dict[str, Needs] = {}
        for name, job in jobs.items():
            alone = self._needs_of(graphs)[job.stage]
            takes_absent = alone.takes_absent or len(job.frames) > 1
            found[name] = Needs(every(alone.reads, job.frames), every(alone.gates, job.frames), takes_absent)
        return found

    def _needs_of(self, graphs: tuple[str, ...]) -> dict[str, Needs]:
        """What each stage waits for in a frame of these graphs."""
        if graphs not in self._needs:
            self._needs[graphs] = {
                stage.name: Needs(stage.inputs, stage.gates(graphs), stage.bound.operator.takes_absent)
                for stage in self._merged.stages
            }
        return self._needs[graphs]

    def _problem(self, asked: Asked) -> Problem | None:
        """The question as a document: all but lanes and sleep is kept from frame to frame."""
        kept = _kept(asked)
        skeleton = self._skeletons.get(kept)
        if skeleton is None:
            usable = _usable(self.modes, asked.lost)
            active = {
                stage.name for stage in self._merged.stages if any(graph in asked.graphs for graph in stage.graphs)
            }
            if any(not usable[name] for name in active):
                return None
            name = " + ".join(asked.graphs) or "nothing"
            if len(self._skeletons) >= PLANS_KEPT:
                del self._skeletons[next(iter(self._skeletons))]
            skeleton = self._skeletons[kept] = frame_problem(self._merged, usable, self._hardware, _state(asked), name)
        changed: dict[str, dict[str, object]] = {name: {"ready_us": lanes} for name, lanes in asked.ready_us}
        for name in asked.asleep:
            changed.setdefault(name, {})["awake"] = False
        if not changed:
            return skeleton
        resources = tuple(
            resource.model_copy(update=changed[resource.name]) if resource.name in changed else resource
            for resource in skeleton.resources
        )
        return skeleton.model_copy(update={"resources": resources})


def _usable(modes: Modes, lost: tuple[str, ...]) -> dict[str, tuple[Mode, ...]]:
    """The modes on processors that are there."""
    return {name: tuple(mode for mode in found if mode.resource not in lost) for name, found in modes.items()}


def _state(asked: Asked) -> FrameState:
    """What of a question stays from frame to frame, as `frame_problem` takes it."""
    return FrameState(asked.graphs, links=dict(asked.links), lost=frozenset(asked.lost))


def _kept(asked: Asked) -> Asked:
    """What of a question stays from frame to frame: all but lanes and sleep."""
    return Asked(asked.graphs, (), (), asked.links, asked.lost)


def _kind(asked: Asked) -> Asked:
    """What of a question stays from frame to frame but for what links take: a link that is down is not there."""
    down = tuple((pair, now) for pair, now in asked.links if now is None)
    return Asked(asked.graphs, (), (), down, asked.lost)


def answering(
    solver: str | Solver, limit_ms: int | None, limit_nodes: int | None, switching_nj: int, seed: int
) -> Answering:
    """A named solver with its limits, or the given one. Raises `SolverError` for an unknown name."""
    if not isinstance(solver, str):
        return Answering(solver, lambda problem, _: solver(problem), None)
    found = named(solver)

    def batch(problem: Problem, choices: int) -> Placement:
        nodes = BATCH_NODES if limit_ms is None else None
        if limit_nodes is not None:
            nodes = limit_nodes // choices
        left_ms = None if limit_ms is None else limit_ms // choices
        return found(problem, limit_ms=left_ms, limit_nodes=nodes, seed=seed)

    replans = solver == "exact" and limit_ms is None
    return Answering(
        lambda problem: found(problem, limit_ms=limit_ms, limit_nodes=limit_nodes, seed=seed),
        batch,
        (lambda problem: Replanner(problem, switching_nj=switching_nj, limit_nodes=limit_nodes, seed=seed))
        if replans
        else None,
    )


def no_placement(reason: str) -> Placement:
    """Says why a frame is not placed."""
    return Placement(format="leo-placement/1", problem="frame", solver="runtime", status="infeasible", reason=reason)
