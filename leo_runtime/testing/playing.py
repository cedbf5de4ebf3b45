"""One window played in virtual time: its plan, the simulator and the ledger, without a workload or a runtime."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil, prod

from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Computed
from leo_runtime.dispatch.events import FrameAdmitted, FrameDone, RunReport
from leo_runtime.dispatch.plan import Plan
from leo_runtime.dispatch.simulator import Noise, Simulator
from leo_runtime.dispatch.window_plan import make_window_plan
from leo_runtime.documents.problem import Placement
from leo_runtime.documents.window import CERTAIN, WindowPlacement, WindowProblem
from leo_runtime.frame.entries import Ledger
from leo_runtime.frame.ledger import window_ledger
from leo_runtime.frame.records import (
    FrameResult,
    SpanObservation,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.judge.window import gates_of


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a window."""

    result: FrameResult
    bill: Ledger
    """What it cost by the window's own rules (`leo_runtime.frame.ledger.window_ledger`)."""

    @property
    def done(self) -> frozenset[str]:
        """The stages that ran to their end."""
        return frozenset(run.stage for run in self.result.stages if run.outcome == "done")

    def tardiness(self, problem: WindowProblem) -> int:
        """How late stages with a deadline were, those that ran, weighted as the window does."""
        ends = {run.stage: run.end_us for run in self.result.stages if run.outcome == "done"}
        return sum(d.weight * max(0, ends.get(d.stage, 0) - d.deadline_us) for d in problem.deadlines)

    def missed(self, problem: WindowProblem) -> int:
        """How many deadlines were missed by stages that ran."""
        ends = {run.stage: run.end_us for run in self.result.stages if run.outcome == "done"}
        return sum(ends.get(d.stage, 0) > d.deadline_us for d in problem.deadlines)


def window_dispatcher(problem: WindowProblem, kind: type[Dispatcher] = Dispatcher) -> Dispatcher:
    """A dispatcher of the window's machine at its start: lanes as busy, and resources as awake, as it says."""
    used_us = {r.name: r.awake_until_us - r.linger_us for r in problem.resources if r.awake and r.linger_us is not None}
    return kind(
        {resource.name: resource.lanes for resource in problem.resources},
        ready_us={r.name: r.ready_us for r in problem.resources if r.ready_us},
        used_us=used_us,
    )


def play_window(
    problem: WindowProblem,
    placement: WindowPlacement,
    *,
    closed: Collection[str] = (),
    noise: Noise | None = None,
    plan: Plan | None = None,
) -> Played:
    """Play a whole window as one frame that is released at 0. Gates in `closed` close if they run, all others open.

    The answer must be valid for the question, as for `make_window_plan`, which makes the `plan` unless one is given.
    """
    plan = make_window_plan(problem, placement) if plan is None else plan
    simulator = Simulator(
        window_dispatcher(problem),
        compute=lambda order: Computed(RunReport(opened=order.stage not in closed)),
        noise=noise,
    )
    asleep = tuple(resource.name for resource in problem.resources if not resource.awake)
    simulator.post(FrameAdmitted(0, 0, 0, plan, asleep))
    simulator.drain()
    (done,) = simulator.finished()
    result = frame_result(done, 0, plan.placement)
    return Played(result, window_ledger(problem, result))


def without_lists(placement: WindowPlacement) -> WindowPlacement:
    """The same answer, in which nothing waits for gates."""
    transfers = tuple(row.model_copy(update={"after": ()}) for row in placement.transfers)
    spans = tuple(span.model_copy(update={"after": ()}) for span in placement.spans)
    return placement.model_copy(update={"transfers": transfers, "spans": spans})


def has_lists(placement: WindowPlacement) -> bool:
    """Whether anything of an answer waits for gates."""
    return any(row.after for row in placement.transfers) or any(span.after for span in placement.spans)


def opening_chances(problem: WindowProblem) -> dict[str, Fraction]:
    """How likely each gate is to open, given that it runs, as the question's chances have it."""
    chances_ppm = {stage.name: stage.chance_ppm for stage in problem.stages}
    return {
        gate: min(Fraction(1), Fraction(opens_ppm, chances_ppm[gate] or CERTAIN))
        for gate, opens_ppm in gates_of(problem).opens_ppm.items()
    }


def with_true_chances(problem: WindowProblem, opens: Mapping[str, Fraction]) -> WindowProblem:
    """The same question, with each stage as likely as gates that open independently make it, rounded up.

    A question's own chances need not be possible: two stages behind one gate run together or not at all.
    """
    chances: dict[str, Fraction] = dict.fromkeys((stage.name for stage in problem.stages), Fraction(0))
    for outcome in product((True, False), repeat=len(opens)):
        opened = dict(zip(opens, outcome, strict=True))
        likely = prod(
            (opens[gate] if is_open else 1 - opens[gate] for gate, is_open in opened.items()), start=Fraction(1)
        )
        for name in _running(problem, opened):
            chances[name] += likely
    stages = tuple(
        stage.model_copy(update={"chance_ppm": ceil(chances[stage.name] * CERTAIN)}) if stage.gates else stage
        for stage in problem.stages
    )
    return problem.model_copy(update={"stages": stages})


def _running(problem: WindowProblem, opened: Mapping[str, bool]) -> set[str]:
    """The stages that run where gates open so, if none lacks an input."""
    running: set[str] = set()
    left = list(problem.stages)
    while left:
        known = [stage for stage in left if not {other.name for other in left}.intersection(stage.inputs)]
        running |= {s.name for s in known if not s.gates or any(g in running and opened[g] for g in s.gates)}
        left = [stage for stage in left if stage not in known]
    return running


def outcomes(
    problem: WindowProblem, placement: WindowPlacement, opens: Mapping[str, Fraction] | None = None
) -> Iterator[tuple[Fraction, Played]]:
    """Every outcome of a window's gates with how likely it is, played without noise.

    `opens`: how likely each gate is to open, given that it runs; None: as the question has it. They are independent.
    """
    opens = opening_chances(problem) if opens is None else opens
    plan = make_window_plan(problem, placement)

    def follow(
        closed: frozenset[str], fixed: frozenset[str], likely: Fraction, played: Played
    ) -> Iterator[tuple[Fraction, Played]]:
        gate = next((gate for gate in opens if gate in played.done and gate not in fixed), None)
        if gate is None:
            yield likely, played
            return
        if opens[gate]:
            yield from follow(closed, fixed | {gate}, likely * opens[gate], played)
        if opens[gate] < 1:
            without = closed | {gate}
            played = play_window(problem, placement, closed=without, plan=plan)
            yield from follow(without, fixed | {gate}, likely * (1 - opens[gate]), played)

    yield from follow(frozenset(), frozenset(), Fraction(1), play_window(problem, placement, plan=plan))


def expected_bill_nj(
    problem: WindowProblem, placement: WindowPlacement, opens: Mapping[str, Fraction] | None = None
) -> Fraction:
    """What a window costs on average over the outcomes of its gates."""
    return sum((likely * played.bill.total_nj for likely, played in outcomes(problem, placement, opens)), Fraction(0))


def frame_result(done: FrameDone, release_us: int, placement: Placement) -> FrameResult:
    """What is observed of a frame where nothing is measured: runs cost what their modes say."""
    return FrameResult(
        frame=done.frame,
        release_us=release_us,
        placement=placement,
        stages=tuple(
            StageObservation(
                frame=done.frame,
                stage=r.stage,
                resource=r.resource,
                variant=r.variant,
                lane=r.lane,
                outcome=r.outcome,
                planned_start_us=r.planned_start_us,
                planned_end_us=r.planned_end_us,
                start_us=r.start_us,
                end_us=r.end_us,
                expected_us=r.mode.duration_us,
                expected_nj=r.mode.energy_nj,
                device_us=None,
                nj=r.mode.energy_nj if r.outcome == "done" else 0,
                energy_from="modelled",
            )
            for r in done.stages
        ),
        transfers=tuple(
            TransferObservation(
                frame=done.frame,
                stage=s.stage,
                source=s.source,
                target=s.target,
                lane=s.lane,
                planned_start_us=s.planned_start_us,
                start_us=s.start_us,
                arrive_us=s.arrive_us,
                nj=s.nj,
                resource=s.resource,
                sent_us=s.sent_us,
            )
            for s in done.sends
        ),
        graphs=(),
        wakes=tuple(WakeObservation(done.frame, resource, at_us) for resource, at_us in done.wakes),
        spans=None
        if done.spans is None
        else tuple(
            SpanObservation(done.frame, s.resource, s.from_us, s.until_us, s.used_us, s.held_until_us)
            for s in done.spans
        ),
        waits_given_up=done.waits_given_up,
    )
