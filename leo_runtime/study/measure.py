"""One cell run in virtual time, and what its row says."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from time import perf_counter_ns
from typing import Any, get_args

import numpy as np

from leo_runtime.backend.versions import versions
from leo_runtime.documents.faults import faults_of
from leo_runtime.documents.hardware import Hardware
from leo_runtime.errors import SolverError
from leo_runtime.frame.entries import Cause, Entry
from leo_runtime.frame.event_driven import WRONG, Answer, Decide, EventPolicy, Moment
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.figures import ProcessorUse
from leo_runtime.replay.identity import Replay
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.log_text import Settings as LogSettings
from leo_runtime.replay.network import network_of
from leo_runtime.replay.regret import best_plan, known_window, regret
from leo_runtime.replay.replay import replay
from leo_runtime.replay.sinks import FrameSink, KeptFrames
from leo_runtime.runtime.planner import NO_ANSWER
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver.effort import counted
from leo_runtime.study.document import GAP, REGRET, XRBENCH, Study
from leo_runtime.study.gaps import Gaps
from leo_runtime.study.loading import Ready
from leo_runtime.study.shared import Shared
from leo_runtime.study.store import log_file
from leo_runtime.study.xr_score import XrScore
from leo_runtime.version import VERSION


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a cell."""

    row: Mapping[str, Any]
    """All columns but those that say which cell it is."""
    times: Mapping[str, Any]
    """What differs from run to run."""


def measure(study: Study, ready: Ready, shared: Shared, logs: Path | None = None) -> Measured:
    """Run a cell. Its log goes into the folder `logs`, if there is to be one.

    Raises what making a runtime raises, and `SolverError` where a policy of one's own gives no answer, or a wrong one.
    """
    began_ns = perf_counter_ns()
    case, placing = ready.case, ready.placing
    asked = _Asked()
    kept = KeptFrames() if REGRET in study.measure else None
    gaps = Gaps(shared.exact) if GAP in study.measure else None
    score = XrScore() if XRBENCH in study.measure else None
    sinks: list[FrameSink] = [sink for sink in (kept, gaps, score) if sink is not None]
    if ready.policy.function is not None:
        sinks.append(_Answered())
    log = None if logs is None else LogWriter(log_file(logs, ready.inputs), _log_settings(ready))
    if log is not None:
        sinks.append(log)
    noise = None if placing.noise_ppm is None else shared.noises.of(placing.seed, placing.noise_ppm)
    with (
        log or nullcontext(),
        Runtime.simulated(
            case.workload,
            case.hardware,
            case.profile,
            solver=_solver(ready, shared, asked),
            window_stages=placing.stages_of_windows,
            compute=study.compute,
            noise=noise,
            seed=placing.seed,
            faults=faults_of(case.changes, case.hardware, case.span.end_us - case.span.start_us, placing.seed),
            network=network_of(case.recording, case.hardware, case.span, placing.network_known),
        ) as runtime,
    ):
        try:
            ended = replay(
                *(runtime, case.recording, case.span),
                policy=placing.policy,
                time="virtual",
                batch=placing.batch,
                changes=case.changes,
                sinks=sinks,
                straight=True,
            )
        except SolverError as error:
            # A wrong answer to the first question is told at once, before there is a frame that it is of.
            if not asked.begun or "(frame " in str(error):
                raise
            raise SolverError(f"{error} (question {asked.begun} of the run)", hint=error.hint) from error
        if ready.policy.function is not None and runtime.planning.said:
            raise SolverError(runtime.planning.said)
        row = _row(study, ready, ended, asked)
        for counted_besides in (gaps, score):
            if counted_besides is not None:
                row |= counted_besides.columns()
        if kept is not None:
            row |= _regret(kept, runtime, ended, ready, shared)
    row |= _battery(ended)
    times = {
        "wall_us": (perf_counter_ns() - began_ns) // 1000,
        "solve_us": asked.solve_ns // 1000,
        "worker": f"{platform.node()}/{os.getpid()}",
    }
    return Measured(row, times)


class _Asked:
    """What was asked of a solver."""

    def __init__(self) -> None:
        self.questions = self.proved = self.nodes = self.solve_ns = 0
        self.begun = 0
        """How many questions were asked of a policy of one's own, the one at hand too."""

    def answered(self, status: str, nodes: int) -> None:
        self.questions += 1
        self.proved += status == "optimal"
        self.nodes += nodes


def _solver(ready: Ready, shared: Shared, asked: _Asked) -> Callable[..., Any] | EventPolicy:
    """Who places; what it takes is counted."""
    placing, own = ready.placing, ready.policy.function
    if isinstance(own, EventPolicy):
        return _counted(own, ready.policy.name, asked)
    if own is not None:
        if placing.limit_nodes is not None:
            own = partial(own, limit_nodes=placing.limit_nodes)

        @wraps(own)  # The runtime looks at which arguments it takes.
        def place(*question: Any, **limits: Any) -> Any:
            began_ns = perf_counter_ns()
            asked.begun += 1
            try:
                with counted() as effort:
                    found = own(*question, **limits)
            finally:
                asked.solve_ns += perf_counter_ns() - began_ns
            asked.answered(getattr(found, "status", ""), effort.nodes)
            return found

        place.__qualname__ = ready.policy.name  # What goes wrong is told under the name that was asked for.
        return place
    solve = placing.solver("virtual")
    assert callable(solve), "it is no event-driven policy"
    way = (placing.policy, placing.limit_nodes, placing.reserve_in("virtual"), placing.batch > 1, placing.seed)

    def answer(problem: Any) -> Any:
        def found() -> tuple[Any, int]:
            with counted() as effort:
                placement = solve(problem)
            return placement, effort.nodes

        began_ns = perf_counter_ns()
        placement, nodes = shared.answers.get((*way, problem.model_dump_json()), found)
        asked.solve_ns += perf_counter_ns() - began_ns
        asked.answered(placement.status, nodes)
        return placement

    return answer


def _counted(policy: EventPolicy, name: str, asked: _Asked) -> EventPolicy:
    """The same policy; how often it is asked, and how long that takes, is counted."""

    def make() -> Decide:
        decide = policy.make()

        def timed(now: Moment) -> Answer:
            began_ns = perf_counter_ns()
            try:
                return decide(now)
            finally:
                asked.solve_ns += perf_counter_ns() - began_ns
                asked.questions += 1

        return timed

    return EventPolicy(name, make, policy.learns_ppm)


class _Answered:
    """A sink that ends a run whose policy has no answer to a question, or one that breaks a rule."""

    def begin(self, _begun: Replay, /) -> None:
        """Nothing to do."""

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        """Raise `SolverError` where it was not placed for that."""
        reason = ended.placement.reason or ""
        if ended.placement.status == "infeasible" and reason.startswith(NO_ANSWER):
            where = f"(frame {ended.frame}, released at {ended.release_us:,} us)"
            raise SolverError(f"{reason.removeprefix(NO_ANSWER).removesuffix(')')} {where}")
        for run in ended.stages:
            if run.error.startswith(WRONG):
                raise SolverError(f"{run.error} (stage `{run.stage}`, frame {ended.frame})")

    def energy(self, _entries: Sequence[Entry], _settled_us: int, /) -> None:
        """Nothing to do."""

    def end(self, _ended: Replay, /) -> None:
        """Nothing to do."""


def _row(study: Study, ready: Ready, ended: Replay, asked: _Asked) -> dict[str, Any]:
    placing, summary = ready.placing, ended.summary
    lines, uses, energy = summary.pipelines, summary.processors, summary.energy
    answers, misses = sum(line.frames for line in lines), sum(line.deadline_misses for line in lines)
    row: dict[str, Any] = {f"version.{name}": version for name, version in _versions(study).items()}
    row |= {
        "workload": ended.workload.name,
        "hardware": ended.hardware.name,
        "profile": ended.profile.name,
        "recording": ended.recording.manifest.name,
        "length_us": ended.length_us,
        "solver": ready.policy.name,
        "window_stages": placing.stages_of_windows,
        "batch": placing.batch,
        "reserve_percent": placing.reserve_in("virtual"),
        "noise_ppm": placing.noise_ppm or 0,
        "seed": placing.seed,
        "frames": summary.frames,
        "answers": answers,
        "answered": sum(line.answered for line in lines),
        "late": sum(line.late for line in lines),
        "failed": sum(line.failed for line in lines),
        "misses": misses,
        "in_time_ppm": (answers - misses) * 1_000_000 // answers if answers else None,
        "end_us": summary.end_us,
        "energy_nj": energy.total_nj,
    }
    # What nothing happened of has 0: a mean over rows is of all of them.
    row |= {f"cause_nj.{cause}": energy.by_cause.get(cause, 0) for cause in sorted(get_args(Cause))}
    of_graphs = {graph: sum(causes.values()) for graph, causes in energy.by_graph.items()}
    row |= {f"graph_nj.{graph}": of_graphs.get(graph, 0) for graph in (*(line.graph for line in lines), "")}
    row |= {f"resource_nj.{use.name}": use.total_nj for use in (*uses, *_unused(ended.hardware, uses))}
    for kind, figure in _OF_GRAPHS.items():
        row |= {f"{kind}.{line.graph}": getattr(line, figure) for line in lines}
    for kind, figure in _LATENCIES.items():
        # Of no answer there is none: 0 would be the best.
        row |= {f"{kind}.{line.graph}": getattr(line, figure) if line.answered else None for line in lines}
    for kind in ("busy_us", "runs", "wake_ups"):
        row |= {f"{kind}.{use.name}": getattr(use, kind) for use in uses}
        row |= {f"{kind}.{use.name}": 0 for use in _unused(ended.hardware, uses, of_each=True)}
    return row | {
        "solver_nodes": asked.nodes,
        "questions": asked.questions,
        "questions_proved": asked.proved,
        "waits_given_up": summary.waits_given_up,
    }


def _unused(hardware: Hardware, uses: Sequence[ProcessorUse], *, of_each: bool = False) -> list[ProcessorUse]:
    """Links that cost energy, and are not among the uses: those are named by what they took.

    With `of_each` only those of which each sending takes some, and that have sent nothing, then.
    """
    told = {use.name for use in uses}
    costly = [
        f"{link.source} -> {link.target}"
        for link in hardware.links
        if link.radio is None and (link.energy_nj or (link.energy_pj_per_byte and not of_each))
    ]
    return [ProcessorUse(name, 0, 0, 0, {}) for name in costly if name not in told]


_OF_GRAPHS = {
    "graph_answers": "frames",
    "graph_answered": "answered",
    "graph_late": "late",
    "graph_failed": "failed",
    "graph_misses": "deadline_misses",
}
_LATENCIES = {
    "graph_p50_us": "latency_median_us",
    "graph_p95_us": "latency_p95_us",
    "graph_p99_us": "latency_p99_us",
}


def _versions(study: Study) -> dict[str, str]:
    if study.compute:
        return versions()
    return {"leo-runtime": VERSION, "python": platform.python_version(), "numpy": np.__version__}


def _battery(ended: Replay) -> dict[str, int]:
    battery_nj, energy_nj = ended.hardware.battery_nj, ended.summary.energy.total_nj
    if not battery_nj or not energy_nj:
        return {}
    return {"battery_s": battery_nj * ended.summary.end_us // (energy_nj * 1_000_000)}


def _regret(kept: KeptFrames, runtime: Runtime, ended: Replay, ready: Ready, shared: Shared) -> dict[str, int]:
    told = (kept.frames, runtime.merged, runtime.modes, runtime.hardware)
    end_us, profile = ended.length_us, runtime.profile
    question = known_window(*told, end_us=end_us, profile=profile).model_dump_json().encode()
    key = (ready.documents, hashlib.sha256(question).digest())
    best = shared.bests.get(key, lambda: best_plan(*told, end_us=end_us, profile=profile))
    found = regret(*told, end_us=end_us, best=best, profile=profile)
    best_nj = found.best.nj
    return {
        "regret_ppm": round((found.nj - best_nj) * 1_000_000 / best_nj) if best_nj else 0,
        "regret_best_nj": best_nj,
        "regret_tardiness_us": found.tardiness_us,
        "regret_best_tardiness_us": found.best.tardiness_us,
    }


def _log_settings(ready: Ready) -> LogSettings:
    placing = ready.placing
    return LogSettings(
        seed=placing.seed,
        noise_ppm=placing.noise_ppm,
        reserve_percent=placing.reserve_percent,
        window_stages=placing.stages_of_windows,
        recording=ready.cell.settings.recording,
    )
