"""The command `leo-runtime replay`: a recording in virtual time on a phone, then in real time on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from leo_runtime import shipped, solver
from leo_runtime.backend import registry
from leo_runtime.backend.machine import open_backends
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload, file_parameters
from leo_runtime.errors import InputError, MissingExtraError
from leo_runtime.frame.ledger import Ledger
from leo_runtime.measure import calibrate, measure
from leo_runtime.measure.energy import whole_machine
from leo_runtime.operators import find_operator
from leo_runtime.progress import ProgressBar
from leo_runtime.recordings.recording import Recording, check_streams
from leo_runtime.replay import summary
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.replay import FrameSink, Replay, Span, Time, replay, streams_read
from leo_runtime.replay.shared_kernels import ComputedOnce
from leo_runtime.report import tables as report
from leo_runtime.report.perfetto import TraceWriter
from leo_runtime.runtime.planner import BATCH_NODES, Solver
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.schema import require_writable
from leo_runtime.solver.reserve import solve_with_reserve

POLICIES = ("cpu-only", "dsp-first", "gpu-first", "greedy")
"""The simpler policies that are set beside the solver's."""

LIVE_SECONDS = 20
LIVE_RESERVE_PERCENT = 50
"""Of every deadline, in real time: other programs run on this machine, too."""
MAX_NODES = 20_000
"""How long the exact solver may search for one frame: a bound in nodes gives the same answer at every run."""

FAILURES_SHOWN = 10
LONGEST_REASON = 300
"""How many ways to fail are printed, and how many characters of why; the log and `--json` hold them whole."""
DONE, ANSWERED_NO = 0, 1


@dataclass(frozen=True, slots=True)
class _Run:
    """A replay, what of its machine could not be used and why, and the totals of it and of other policies."""

    replayed: Replay
    missing: dict[str, str]
    """Processors that are not here."""
    left_out: dict[str, str]
    """Kernels that cannot be loaded, as "stage (variant) on processor"."""
    totals: tuple[summary.Total, ...]

    def figures(self) -> dict[str, Any]:
        """All figures as plain values."""
        ledger = summary.energy(self.replayed)
        return {
            "time": self.replayed.time,
            "hardware": self.replayed.hardware.name,
            "profile": self.replayed.profile.name,
            "recording": self.replayed.recording.manifest.name,
            "solver_on": self.replayed.solver_on,
            "batch": self.replayed.batch,
            "ran_together": summary.ran_together(self.replayed),
            "missing": self.missing,
            "left_out": self.left_out,
            "failures": [dataclasses.asdict(failure) for failure in summary.failures(self.replayed)],
            "pipelines": [dataclasses.asdict(line) for line in summary.pipelines(self.replayed)],
            "processors": [dataclasses.asdict(line) for line in summary.processors(self.replayed, ledger)],
            "policies": [dataclasses.asdict(line) for line in self.totals],
        }


_ReplayOnce = Callable[[argparse.Namespace, Workload, Hardware, Recording, Sequence[FrameSink]], _Run]


def run(arguments: argparse.Namespace) -> int:
    """Replay as asked, print tables or JSON, and write logs and traces. Returns the exit status."""
    workload = shipped.workload(arguments.workload)
    recording = shipped.recording(arguments.recording)
    check_streams(workload, recording)
    _check_files(workload)
    solver.named(arguments.solver)
    if arguments.plot is not None:
        if arguments.live:
            raise InputError("`--plot` draws the run in virtual time, and there is none with `--live`")
        require_writable(arguments.plot)
    require_writable(arguments.out / f"{recording.manifest.name}.log.jsonl")
    runs = []
    for time, replay_once, hardware in _wanted(arguments):
        with _Files(arguments.out, f"{recording.manifest.name}.{time}") as files:
            one = replay_once(arguments, workload, hardware, recording, files.sinks)
            written = files.paths
        if not arguments.json:
            sys.stdout.write(_text(one, written))
            sys.stdout.flush()
        if arguments.plot is not None and one.replayed.time == "virtual":
            _plot(one, arguments.plot)
        runs.append(one)
    if arguments.json:
        print(json.dumps([one.figures() for one in runs], indent=1))
    broken = [failure for one in runs for failure in summary.failures(one.replayed) if not failure.is_overload]
    return ANSWERED_NO if broken else DONE


def _check_files(workload: Workload) -> None:
    """Raise `InputError` for a model that is not there, before a frame fails for want of it."""
    for graph in workload.graphs:
        for stage in graph.stages:
            for name in file_parameters(find_operator(stage.operator)):
                for params in (stage.params, *(variant.params for variant in stage.variants)):
                    if name in params and not Path(params[name]).is_file():
                        raise InputError(
                            f"{params[name]}: cannot be read, stage `{stage.name}` of graph `{graph.name}` needs it"
                        )


def _wanted(arguments: argparse.Namespace) -> list[tuple[Time, _ReplayOnce, Hardware]]:
    """What to run and on which machines, all of which are looked at before anything runs."""
    wanted: list[tuple[Time, _ReplayOnce, Hardware]] = []
    if not arguments.live:
        wanted.append(("virtual", _virtual, _machine(arguments, arguments.hardware or shipped.PHONE)))
    if not arguments.virtual:
        wanted.append(("real", _live, _machine(arguments, (arguments.live and arguments.hardware) or shipped.HOST)))
    return wanted


def _machine(arguments: argparse.Namespace, name: str) -> Hardware:
    """The machine of that name, with the DSP asked for. Raises `InputError` where it has nowhere to charge solving."""
    hardware = _with_dsp(arguments.dsp, shipped.hardware(name))
    charged: str | None = arguments.charge_solver
    if charged is None:
        return hardware
    powers_mw = {processor.name: processor.active_mw for processor in hardware.processors}
    if powers_mw.get(charged, 0) == 0:
        known = ", ".join(name for name, active_mw in powers_mw.items() if active_mw)
        wrong = f"no power (`active_mw`) of `{charged}`" if charged in powers_mw else f"no processor `{charged}`"
        raise InputError(
            f"`--charge-solver {charged}`: `{hardware.name}` has {wrong}",
            hint=f"one of {known}" if known else "give one of its processors an `active_mw`",
        )
    return hardware


def _virtual(
    arguments: argparse.Namespace,
    workload: Workload,
    hardware: Hardware,
    recording: Recording,
    sinks: Sequence[FrameSink],
) -> _Run:
    profile = shipped.profile(arguments.profile or arguments.hardware or shipped.PHONE)
    span = _span(arguments, workload, recording, arguments.seconds)
    solve, noise = _solver(arguments, arguments.solver, "virtual", arguments.batch), _noise_ppm(arguments)
    with (
        ProgressBar("in virtual time") as progress,
        Runtime.simulated(workload, hardware, profile, solver=solve, noise=noise, seed=arguments.seed) as runtime,
    ):
        replayed = replay(
            runtime,
            recording,
            span,
            policy=arguments.solver,
            time="virtual",
            solver_on=arguments.charge_solver,
            batch=arguments.batch,
            progress=progress,
            sinks=sinks,
        )
        return _Run(replayed, dict(runtime.missing), _left_out(runtime), _beside(arguments, replayed))


def _live(
    arguments: argparse.Namespace,
    workload: Workload,
    hardware: Hardware,
    recording: Recording,
    sinks: Sequence[FrameSink],
) -> _Run:
    span = _span(arguments, workload, recording, LIVE_SECONDS if arguments.seconds is None else arguments.seconds)
    profile = _measured(arguments, workload, hardware, recording)
    solve = _solver(arguments, arguments.solver, "real", arguments.batch)
    with (
        ProgressBar("in real time") as progress,
        Runtime.live(workload, hardware, profile, solver=solve) as runtime,
    ):
        replayed = replay(
            runtime,
            recording,
            span,
            policy=arguments.solver,
            time="real",
            solver_on=arguments.charge_solver,
            batch=arguments.batch,
            progress=progress,
            sinks=sinks,
        )
        missing, left_out = dict(runtime.missing), _left_out(runtime)
    return _Run(replayed, missing, left_out, _beside(arguments, replayed))


def _left_out(runtime: Runtime) -> dict[str, str]:
    return {f"{stage} ({variant}) on {resource}": why for (stage, resource, variant), why in runtime.left_out.items()}


def _with_dsp(arithmetic: str | None, hardware: Hardware) -> Hardware:
    """The machine with its DSP's stages computed as asked for.

    Raises `InputError` when it has no DSP, and what making the backend raises: asked for by name, it must be there.
    """
    if arithmetic is None:
        return hardware
    asked = [
        processor.model_copy(update={"options": {**processor.options, "arithmetic": arithmetic}})
        for processor in hardware.processors
        if processor.backend == "dsp"
    ]
    if not asked:
        raise InputError(f"`--dsp {arithmetic}` is about a simulated DSP, and `{hardware.name}` has none")
    for processor in asked:
        registry.create(processor).close()
    changed = {processor.name: processor for processor in asked}
    processors = tuple(changed.get(processor.name, processor) for processor in hardware.processors)
    return hardware.model_copy(update={"processors": processors})


def _beside(arguments: argparse.Namespace, replayed: Replay) -> tuple[summary.Total, ...]:
    """The replay in a line, and the other policies in virtual time; after a real one also its own.

    Beside a replay in batches there is the same policy frame by frame.
    """
    totals = [summary.total(replayed, summary.energy(replayed))]
    if arguments.no_compare:
        return tuple(totals)
    others = [(policy, replayed.batch) for policy in POLICIES if policy != replayed.policy]
    if replayed.batch > 1:
        others.insert(0, (replayed.policy, 1))
    if replayed.time == "real":
        others.insert(0, (replayed.policy, replayed.batch))
    once = ComputedOnce(replayed.hardware)
    try:
        for policy, batch in others:
            called = policy if batch == replayed.batch else f"{policy}, frame by frame"
            with (
                ProgressBar(f"beside it, {called}") as progress,
                Runtime.simulated(
                    replayed.workload,
                    replayed.hardware,
                    replayed.profile,
                    solver=_solver(arguments, policy, replayed.time, batch),
                    backends=once.backends,
                    noise=_noise_ppm(arguments),
                    seed=arguments.seed,
                ) as runtime,
            ):
                other = replay(
                    runtime,
                    replayed.recording,
                    replayed.span,
                    policy=policy,
                    time="virtual",
                    solver_on=replayed.solver_on,
                    batch=batch,
                    progress=progress,
                )
            totals.append(dataclasses.replace(summary.total(other, summary.energy(other)), policy=called))
    finally:
        once.close()
    return tuple(totals)


def _noise_ppm(arguments: argparse.Namespace) -> int | None:
    if arguments.noise > 100:
        raise InputError(f"expected a noise of at most 100 percent, got {arguments.noise:g}")
    return round(arguments.noise * 10_000) or None


def _solver(arguments: argparse.Namespace, policy: str, time: Time, batch: int) -> Solver:
    reserve_percent = arguments.reserve
    if reserve_percent is None:
        reserve_percent = LIVE_RESERVE_PERCENT if time == "real" else 0
    if reserve_percent > 99:
        raise InputError(f"expected a reserve of at most 99 percent, got {reserve_percent}")
    limit_nodes = MAX_NODES if batch == 1 else BATCH_NODES
    solve = partial(solver.solve, solver=policy, limit_nodes=limit_nodes, seed=arguments.seed)
    return lambda problem: solve_with_reserve(problem, reserve_percent, solve)


def _span(arguments: argparse.Namespace, workload: Workload, recording: Recording, seconds: float | None) -> Span:
    if seconds is not None and seconds <= 0:
        raise InputError("expected a length above 0 s", hint="see `leo-runtime replay --help`")
    length_us = None if seconds is None else round(seconds * 1e6)
    return Span.of(recording, round(arguments.start * 1e6), length_us, streams_read(workload))


def _measured(arguments: argparse.Namespace, workload: Workload, hardware: Hardware, recording: Recording) -> Profile:
    """The profile asked for by name; else this machine's own, measured now unless that has been done."""
    if arguments.live and arguments.profile:
        return shipped.profile(arguments.profile)
    kept = arguments.out / f"{hardware.name}.profile.json"
    if kept.exists():
        try:
            profile = Profile.from_file(kept)
            _require_ours(profile, workload, hardware)
            return profile
        except InputError as error:
            _say(f"{error}; measuring again")
    with ProgressBar("calibrating") as progress:
        found = calibrate.calibrate(
            workload, hardware, recording, effort=measure.QUICK, sources=whole_machine(), progress=progress
        )
    for what, why in found.missing:
        _say(f"not measured: {what}: {why}")
    found.profile.to_file(kept)
    return found.profile


def _require_ours(profile: Profile, workload: Workload, hardware: Hardware) -> None:
    """Raise `ProfileError` for a profile of another device, or one that lacks a stage of the workload."""
    with open_backends(hardware) as machine:
        calibrate.require_device(profile, calibrate.this_device(machine.backends))
        calibrate.require_measured(profile, workload, machine.backends)


class _Files:
    """The log of a replay and, where its extra is there, the trace, both written as it goes on."""

    def __init__(self, folder: Path, name: str) -> None:
        self.paths = [folder / f"{name}.log.jsonl"]
        self.sinks: list[LogWriter | TraceWriter] = [LogWriter(self.paths[0])]
        trace = folder / f"{name}.perfetto-trace"
        try:
            self.sinks.append(TraceWriter(trace))
            self.paths.append(trace)
        except MissingExtraError as error:
            _say(f"no trace: {error}\nhint: {error.hint}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close them, and say what they hold where the replay was interrupted."""
        with ExitStack() as stack:
            for sink in self.sinks:
                stack.push(sink)
        if kind is KeyboardInterrupt:
            for path, sink in zip(self.paths, self.sinks, strict=True):
                if sink.frames is not None:
                    _say(f"written up to here ({sink.frames} frames): {path}")


def _plot(one: _Run, path: Path) -> None:
    """Draw the busiest quarter of a second (for every frame of a batch) of a replay, and the policies."""
    from leo_runtime.report.plots import plot_replay

    quarter_us = 250_000 * one.replayed.batch
    busy_us: dict[int, int] = {}
    for frame in one.replayed.frames:
        for run in frame.stages:
            quarter = run.start_us // quarter_us
            busy_us[quarter] = busy_us.get(quarter, 0) + run.end_us - run.start_us
    busiest = max(busy_us, key=lambda at: (busy_us[at], -at), default=0)
    plot_replay(one.replayed, one.totals, path, from_us=busiest * quarter_us, to_us=(busiest + 1) * quarter_us)


def _text(one: _Run, written: Sequence[Path]) -> str:
    replayed = one.replayed
    ledger = summary.energy(replayed)
    seconds = (replayed.span.end_us - replayed.span.start_us) / 1e6
    collected = f", {replayed.batch} frames at a time" if replayed.batch > 1 else ""
    where = "in virtual time" if replayed.time == "virtual" else "in real time, here"
    parts = [
        f"== {replayed.recording.manifest.name}, {seconds:g} s, on {replayed.hardware.name}, {where}; "
        f"profile {replayed.profile.name}, placed by {replayed.policy}{collected}\n",
        *(f"not here: {name} ({why})\n" for name, why in one.missing.items()),
        *(f"not used: {what} ({_short(why)})\n" for what, why in one.left_out.items()),
        "\n",
        report.pipelines_table(summary.pipelines(replayed)),
        "\n",
        report.processors_table(summary.processors(replayed, ledger)),
    ]
    if ran := summary.ran_together(replayed):
        parts.append(f"ran together: {', '.join(f'{name} ({times} times)' for name, times in ran.items())}\n")
    if replayed.solver_on is not None:
        parts.append(_charged(replayed, ledger))
    parts.append(_failed(summary.failures(replayed)))
    if len(one.totals) > 1:
        parts += ["\n", report.policies_table(one.totals)]
    parts += ["\n", *(f"written: {path}\n" for path in written), "\n"]
    return "".join(parts)


def _failed(failures: Sequence[summary.Failure]) -> str:
    """What failed, a kind of failure a line; of many the most frequent."""
    lines = [f"failed {_times(one.count)}: {one.what}: {_short(one.why)}\n" for one in failures[:FAILURES_SHOWN]]
    if left := failures[FAILURES_SHOWN:]:
        lines.append(f"failed {_times(sum(one.count for one in left))} in {len(left)} other ways: see the log\n")
    return "".join(lines)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _short(text: str) -> str:
    """A text on one line, cut where it is too long to be read in a table."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def _charged(replayed: Replay, ledger: Ledger) -> str:
    """What placing the frames took here and is charged for."""
    solve_us = [frame.placement.solve_us for frame in replayed.frames if frame.placement.solve_us]
    nj = ledger.by_cause().get("solver", 0)
    return (
        f"solver: {report.duration(sum(solve_us))} measured here, frames placed anew: {len(solve_us)}, "
        f"charged to {replayed.solver_on}: {report.millijoules(nj)} mJ\n"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
