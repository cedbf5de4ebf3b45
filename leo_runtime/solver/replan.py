"""Frame after frame: a workload is flattened once; a frame changes only numbers and starts from the last answer.

replanner = Replanner(problem)
replanner.precompute([Conditions(), Conditions(asleep=("gpu",))])   # the plan table
placement = replanner.frame(Conditions(ready_us=(("cpu", (1500, 0)),)))
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import field
from time import perf_counter_ns

from leo_runtime.documents.problem import Answer, Placement, Problem
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frozen import dataclass
from leo_runtime.solver.compiled import Compiled, Status
from leo_runtime.solver.exact import answer
from leo_runtime.solver.protocols import SearchKernel
from leo_runtime.solver.prove import Learned, prove

CLIMB_MOVES_PER_STAGE = 5
"""Local search of a frame that starts from the last frame's answer."""
SHAPES = 16
"""For how many sets of stages and links something is kept."""
ANSWERS = 8
"""How many answers of frames before are tried in each frame, each in other modes."""
KEEP_NODES = 200
"""How long to look for an order in which the last answer's modes are still good enough."""


@dataclass(slots=True)
class Shape:
    """What is kept from frame to frame of those with the same stages and links."""

    compiled: Compiled
    """One of them, flattened."""
    answers: deque[tuple[list[int], list[int]]] = field(default_factory=lambda: deque(maxlen=ANSWERS))
    """Modes, and starts as `Kernel.follow` takes them; the latest first."""
    learned: dict[tuple[object, ...], Learned] = field(default_factory=dict)
    """By what the search may not be turned across: compiled or not, and which radio each link occupies."""

    def learned_of(self, compiled: Compiled, kernel: SearchKernel) -> Learned:
        """What was learned of frames from which `ClauseSearch.turn_to` may turn to this one."""
        radios = tuple(link.resource for link in compiled.problem.links)
        return self.learned.setdefault((type(kernel), radios), Learned())

    def note(self, kernel: SearchKernel) -> None:
        """Take the kernel's best answer as the latest."""
        if not kernel.found:
            return
        course = kernel.course()
        for known in self.answers:
            if known[0] == course[0]:
                self.answers.remove(known)
                break
        self.answers.appendleft(course)


@dataclass(slots=True)
class Replanner:
    """Answers frame after frame of one workload.

    An answer that moves stages to other modes than in the last frame costs `switching_nj` a moved stage. The last
    answer's modes are kept where they are as good in every criterion but energy, dearer by at most `margin_ppm`
    millionths, and by no more than the switching would cost. `switching_nj` 0 (the default) never keeps a dearer one.

    `limit_nodes` and `limit_ms` are those of the exact solver, for each frame: where one bites, the frame's answer is
    `feasible` with its bounds.
    """

    problem: Problem
    switching_nj: int = 0
    margin_ppm: int = 20_000
    limit_nodes: int | None = None
    limit_ms: int | None = None
    seed: int = 0
    table: dict[Conditions, Placement] = field(default_factory=dict)
    """Placements computed beforehand."""
    _shapes: dict[tuple[object, ...], Shape] = field(default_factory=dict)
    """By the stages that run and the links that are down, the last ones seen last."""
    _modes: dict[str, tuple[str, str]] = field(default_factory=dict)
    _starts: dict[str, int] = field(default_factory=dict)
    _sent: dict[tuple[str, str], int] = field(default_factory=dict)
    _last: Placement | None = None
    """What was remembered last."""

    def precompute(self, conditions: Iterable[Conditions]) -> None:
        """Solve for each of these conditions, without regard to any last frame, and keep the plans in `table`."""
        for known in conditions:
            compiled, shape = self._flatten(known, known.applied(self.problem))
            kernel = compiled.kernel()
            self.table[known] = answer(
                compiled,
                kernel,
                perf_counter_ns(),
                limit_nodes=self.limit_nodes,
                seed=self.seed,
                learned=shape.learned_of(compiled, kernel),
            )

    def frame(self, conditions: Conditions, problem: Problem | None = None) -> Placement:
        """The placement of one frame: from the plan table if it is known there, else solved from the last answer.

        `problem` is the one of these conditions, where the caller has it already. A plan of the table is as it was
        computed, its `solve_us` included. Raises `InputError` as `Conditions.applied` does, `SolverError` as the exact
        solver does.
        """
        known = self.table.get(conditions)
        if known is not None:
            self.remember(known)
            return known
        began = perf_counter_ns()
        compiled, shape = self._flatten(conditions, conditions.applied(self.problem) if problem is None else problem)
        kernel = compiled.kernel()
        last = self._last_modes(compiled)
        if last is not None and not shape.answers:
            shape.answers.append((last, self._last_starts(compiled, last)))
        for modes, starts in shape.answers:
            kernel.follow(modes, starts)
        best = answer(
            compiled,
            kernel,
            began,
            limit_ms=self.limit_ms,
            limit_nodes=self.limit_nodes,
            seed=self.seed,
            climb_moves=None if last is None else CLIMB_MOVES_PER_STAGE * len(last),
            learned=shape.learned_of(compiled, kernel),
        )
        shape.note(kernel)
        if last is not None and self.switching_nj > 0 and best.criteria is not None:
            best = self._unless_it_pays(compiled, last, best, began)
        self.remember(best)
        return best

    def remember(self, placement: Placement) -> None:
        """Take a placement as the last frame's answer."""
        if placement is self._last:  # As most are: nothing is new in it.
            return
        self._last = placement
        self._modes |= {run.stage: (run.resource, run.variant) for run in placement.stages}
        self._starts |= {run.stage: run.start_us for run in placement.stages}
        self._sent |= {(run.stage, run.target): run.start_us for run in placement.transfers}

    def _flatten(self, conditions: Conditions, problem: Problem) -> tuple[Compiled, Shape]:
        """The frame's problem flattened; what stages are made of only once for each set of stages and links."""
        key = (conditions.stages, conditions.down)
        shape = self._shapes.pop(key, None)
        compiled = Compiled(problem, None if shape is None else shape.compiled)
        if len(self._shapes) == SHAPES:
            del self._shapes[next(iter(self._shapes))]
        self._shapes[key] = shape = shape or Shape(compiled)
        return compiled, shape

    def _last_modes(self, compiled: Compiled) -> list[int] | None:
        """Of each stage the number of the mode it last ran in (the first one if it never ran); None if none did."""
        if not any(name in self._modes for name in compiled.names):
            return None
        modes = []
        for stage in compiled.stages:
            last = self._modes.get(stage.name)
            number = 0
            for m, mode in enumerate(stage.modes):
                if (mode.resource, mode.variant) == last:
                    number = m
            modes.append(number)
        return modes

    def _last_starts(self, compiled: Compiled, modes: list[int]) -> list[int]:
        """When each stage last started, then when its output was sent to each resource (see `Kernel.follow`)."""
        number = {name: r for r, name in enumerate(compiled.resources)}
        starts: dict[str, int] = {}
        sent: list[int] = []
        there: dict[str, list[int]] = {}
        for stage, m in zip(compiled.stages, modes, strict=True):
            on = number[stage.modes[m].resource]
            # What never ran comes right after its inputs.
            at = max([self._starts.get(stage.name, 0), *(there[name][on] + 1 for name in stage.inputs)])
            starts[stage.name] = at
            there[stage.name] = [max(self._sent.get((stage.name, to), 0), at + 1) for to in number]
            sent += there[stage.name]
        return [*starts.values(), *sent]

    def _unless_it_pays(self, compiled: Compiled, last: list[int], best: Placement, began_ns: int) -> Placement:
        """The last answer's modes in this frame where moving away from them does not pay, else `best`."""
        assert best.criteria is not None
        objective = compiled.problem.objective
        here = {run.stage: (run.resource, run.variant) for run in best.stages}
        moved = sum(self._modes.get(stage, mode) != mode for stage, mode in here.items())
        if moved == 0 or "energy" not in objective:
            return best
        margin = best.criteria.energy * self.margin_ppm // 1_000_000
        most = best.criteria.energy + min(moved * self.switching_nj, margin)
        limits = dict(compiled.problem.limits)
        for name in objective:
            value: int = most if name == "energy" else getattr(best.criteria, name)
            limits[name] = min(value, limits.get(name, value))
        # The same modes in the best order for them, within these caps: a problem of one mode a stage.
        stages = tuple(
            stage.model_copy(update={"modes": (stage.modes[m],)})
            for stage, m in zip(compiled.stages, last, strict=True)
        )
        narrow = Compiled(
            compiled.problem.model_copy(update={"stages": stages, "limits": limits, "objective": ("energy",)})
        )
        kept = narrow.kernel()
        kept.climb(0, self.seed)
        prove(kept, KEEP_NODES)
        if not kept.found:
            return best
        status: Status = (
            "optimal" if kept.best()[1] == best.criteria.energy and best.status == "optimal" else "feasible"
        )
        return narrow.placement(kept.best(), "exact", status, best.bounds, began_ns)


def solving_nj(placement: Answer, active_mw: int) -> int:
    """What finding this placement cost on a processor that draws `active_mw` while it computes (mW x us = nJ)."""
    return placement.solve_us * active_mw
