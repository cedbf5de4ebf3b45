"""`leo-runtime replay`: a recording in virtual time on a phone, then in real time on this machine."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.given import note_given
from leo_runtime.command.shared import (
    ANSWERED_NO,
    DONE,
    add_width,
    add_workload,
    amount,
    bar,
    count,
    look,
    names_of,
    positive,
    put,
    say,
)
from leo_runtime.command.what_if import add_changes
from leo_runtime.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.profile import Profile
    from leo_runtime.documents.workload import Workload
    from leo_runtime.recordings.recording import Recording
    from leo_runtime.replay.compare import Compared, Placing
    from leo_runtime.replay.log_text import Settings
    from leo_runtime.replay.network import NetworkKnown
    from leo_runtime.replay.replay import Span, Time
    from leo_runtime.report.replay_figures import ReplayFigures

EXAMPLE = "replay demo --virtual --seconds 20"

LIVE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    recording: str | None
    virtual: bool
    live: bool
    workload: Sequence[str] | None
    hardware: str | None
    profile: str | None
    dsp: Literal["numpy", "hexagon"] | None
    start: float
    seconds: float | None
    solver: str
    noise: float
    """In percent."""
    seed: int
    reserve: int | None
    """In percent."""
    charge_solver: str | None
    batch: int
    window: int | None
    network_known: NetworkKnown
    no_compare: bool
    policies: tuple[str, ...] | None
    changes: tuple[str, ...]
    """Of the documents, as `documents.changes` takes them; `help` among them: to list the paths."""
    no_questions: bool
    no_trace: bool
    out: Path
    plot: Path | None
    json: bool
    columns: int | None
    """Of its tables, as `look` takes it."""
    resume: Path | None
    given: tuple[str, ...]
    """The arguments that were given, as they were spelled."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    note_given(parser)
    parser.add_argument(
        "recording",
        metavar="RECORDING",
        nargs="?",
        help="a name or folder (default: demo; none is needed where the workload reads no stream)",
    )
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--virtual", action="store_true", help="in virtual time only")
    when.add_argument("--live", action="store_true", help="in real time on this machine only")
    add_workload(parser)
    parser.add_argument("--hardware", metavar="NAME", help="the machine (default: snapdragon-800; live: host)")
    parser.add_argument("--profile", metavar="NAME", help="its profile (default: of that name; live: measured first)")
    parser.add_argument(
        "--dsp",
        choices=("numpy", "hexagon"),
        help="what computes a DSP's stages: numpy, or programs of its own instructions under qemu-hexagon",
    )
    parser.add_argument("--start", type=amount, default=0.0, metavar="S", help="second to start at (default: 0)")
    parser.add_argument("--seconds", type=amount, metavar="S", help="how much (default: all; live: 20; of none: 60)")
    parser.add_argument("--solver", default="exact", help="who places the frames (default: exact)")
    parser.add_argument("--noise", type=amount, default=0.0, metavar="PERCENT", help="spread of virtual durations")
    parser.add_argument(
        "--seed",
        type=count,
        default=0,
        metavar="N",
        help="of noise, gates and triggers that are drawn, solvers that draw",
    )
    parser.add_argument(
        "--reserve", type=count, metavar="PERCENT", help="of every deadline, kept free in plans (default: 0; live: 50)"
    )
    parser.add_argument(
        "--charge-solver",
        metavar="PROCESSOR",
        help="charge the time that placing each frame took, as measured here, at this processor's active power; "
        "a virtual run then no longer repeats byte for byte (default: not charged)",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=1,
        metavar="N",
        help="collect N frames and place them as one, with N times their deadlines from the last one on (default: 1)",
    )
    parser.add_argument(
        "--window",
        type=count,
        metavar="N",
        help="place each frame with the releases known to follow, of up to N stages in all; 0: as if it were alone "
        "(default: 30 with `exact`, else 0)",
    )
    parser.add_argument(
        "--network-known",
        choices=("estimated", "truth"),
        default="estimated",
        help="what virtual plans know of links that a recording or `--network` tells of: what transfers have shown so "
        "far, or what each link does as a frame is released (default: estimated)",
    )
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--no-compare", action="store_true", help="leave out the other policies")
    others.add_argument(
        "--policies",
        type=names_of,
        metavar="A,B",
        help="which solvers to set beside it (default: cpu-only,dsp-first,gpu-first,greedy)",
    )
    parser.add_argument(
        "--no-questions", action="store_true", help="leave what was asked for each frame out of the log, for `explain`"
    )
    parser.add_argument("--no-trace", action="store_true", help="leave out the trace, as of a day of many stages")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out"),
        metavar="FOLDER",
        help="each run has a folder in it, with its log and trace (default: out)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the virtual run and the policies: .png, .svg, .pdf"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with a run that was interrupted, by its folder or log: as it began, which no other option changes",
    )
    add_width(parser)
    add_changes(parser)


def run(request: Request) -> int:
    """Replay as asked, print tables or JSON, and write logs and traces. Returns the exit status."""
    from dataclasses import replace

    from leo_runtime import shipped
    from leo_runtime.command import what_if
    from leo_runtime.command.run_files import RunFiles
    from leo_runtime.replay import compare

    if request.resume is not None:
        return _resume(request, request.resume)
    given = shipped.workload(*request.workload or ())
    machines = list(_machines(request))
    if what_if.HELP in request.changes:
        what_if.show_paths(given, machines[0][1], request.columns)
        return DONE
    recording = _recording(request, given)
    placing = _placing(request)
    for name in (request.solver, *(request.policies or ())):
        for _, machine in machines:
            compare.require_placing(replace(placing, policy=name), machine)
            placing = compare.placing_on(placing, machine)
    others = () if request.no_compare else request.policies
    asked = [(time, machine, _checked(request, given, machine, recording, time)) for time, machine in machines]
    _check_outputs(request)
    ran: list[compare.Compared] = []
    figures: list[ReplayFigures] = []
    for time, machine, span in asked:
        profile = _profile(request, time, *what_if.measured_for(given, machine, request.changes), recording)
        documents = what_if.make_changes(given, machine, profile, recording, request.changes, time)
        case = compare.Case(*documents, span, request.changes)
        name = f"{recording.manifest.name}.{time}"
        with RunFiles(_settings(request, placing), request.out, name, traced=not request.no_trace) as files:
            one = compare.compare(case, time, placing, others=others, bar=bar, sinks=[files])
        figures.append(_told(one, placing, request, files.paths))
        ran.append(one)
    return _ended(ran, figures, request)


def _resume(request: Request, run: Path) -> int:
    """Go on with a run, and print what all of it came to. Returns the exit status."""
    from contextlib import ExitStack, closing

    from leo_runtime.command.resume import interrupted
    from leo_runtime.command.run_files import RunFiles
    from leo_runtime.recordings.recording import check_streams
    from leo_runtime.replay import compare
    from leo_runtime.replay.earlier_part import EarlierPart
    from leo_runtime.replay.known_frames import KnownFrames
    from leo_runtime.replay.replay import check_files
    from leo_runtime.replay.run_folder import TIMES

    found = interrupted(run, request.recording, request.given)
    if found is None:
        say(f"{run}: the run is whole, there is nothing to go on with")
        return DONE
    case, placing, others = found.case, found.placing, () if request.no_compare else request.policies
    check_streams(case.workload, case.recording)
    check_files(case.workload)
    times, time, known, earlier = found.log.parent / TIMES, found.head.time, None, None
    with ExitStack() as stack:
        files = stack.enter_context(RunFiles(found.settings, log=found.log, traced=not request.no_trace))
        if time == "virtual":
            known = KnownFrames(found.log, times if found.head.charge_solver else None)
        else:
            earlier = stack.enter_context(
                closing(EarlierPart(found.log, found.head.policy, times, resumed=files.resumed))
            )
        one = compare.compare(case, time, placing, others=others, bar=bar, sinks=[files], known=known, earlier=earlier)
    return _ended([one], [_told(one, placing, request, files.paths)], request)


def _told(one: Compared, placing: Placing, request: Request, paths: Sequence[Path]) -> ReplayFigures:
    """Print what a replay came to, unless all are to be printed at the end as JSON, and draw it."""
    from leo_runtime.backend.versions import versions
    from leo_runtime.report import replay_figures, replay_text

    if not request.json:
        put(replay_text.text(one, look(request.columns), paths))
    if request.plot is not None and one.replayed.time == "virtual":
        from leo_runtime.report.plots import plot_replay

        plot_replay(one.replayed, one.totals, request.plot)
    return replay_figures.figures(one, placing, versions(), paths)


def _ended(ran: Sequence[Compared], figures: Sequence[ReplayFigures], request: Request) -> int:
    """The exit status of these replays, whose figures are printed as JSON if that is asked for."""
    from leo_runtime.report.replay_figures import Replays

    if request.json:
        put(json.dumps(Replays(tuple(figures)).model_dump(mode="json"), indent=1) + "\n")
    broken = [failure for one in ran for failure in one.replayed.summary.failures if not failure.is_overload]
    return ANSWERED_NO if broken else DONE


def _checked(request: Request, given: Workload, machine: Hardware, recording: Recording, time: Time) -> Span:
    """What of the recording is to be replayed. Raises `InputError` for what could only fail later."""
    from leo_runtime.command.what_if import check_changes
    from leo_runtime.frame.lower import merge, require_computed
    from leo_runtime.recordings.recording import check_streams
    from leo_runtime.replay.replay import check_files

    workload, hardware = check_changes(given, machine, request.changes)
    _check_charged(request, hardware)
    check_streams(workload, recording)
    check_files(workload)
    if time == "real":
        require_computed(merge(workload))
    return _span(request, workload, recording, time)


def _placing(request: Request) -> Placing:
    """How frames are placed. Raises `InputError` for a percentage that means nothing."""
    from leo_runtime.replay.compare import Placing

    if request.noise > 100:
        raise InputError(f"expected a noise of at most 100 percent, got {request.noise:g}")
    if request.window and request.batch > 1:
        raise InputError(
            f"`--window {request.window}` does nothing with `--batch {request.batch}`",
            hint="a batch is placed as if nothing followed: leave out one of them",
        )
    if request.reserve is not None and request.reserve > 99:
        raise InputError(f"expected a reserve of at most 99 percent, got {request.reserve}")
    return Placing(
        policy=request.solver,
        reserve_percent=request.reserve,
        batch=request.batch,
        solver_on=request.charge_solver,
        noise_ppm=round(request.noise * 10_000) or None,
        seed=request.seed,
        window_stages=request.window,
        network_known=request.network_known,
    )


def _settings(request: Request, placing: Placing) -> Settings:
    """What the log says of the run besides its machine."""
    from leo_runtime.replay.log_text import Settings

    return Settings(
        seed=placing.seed,
        noise_ppm=placing.noise_ppm,
        reserve_percent=placing.reserve_percent,
        window_stages=placing.stages_of_windows,
        network_known=placing.network_known,
        recording=request.recording,
        questions=not request.no_questions,
    )


def _check_outputs(request: Request) -> None:
    """Raise `InputError` where something could not be written, before anything runs."""
    from leo_runtime.schema import require_writable

    if request.plot is not None:
        if request.live:
            raise InputError("`--plot` draws the run in virtual time, and there is none with `--live`")
        from leo_runtime.report.plots import require_format

        require_writable(request.plot)
        require_format(request.plot)
    if request.out.exists() and not request.out.is_dir():
        raise InputError(
            f"`--out {request.out}`: a file is in its place, and logs and traces go into a folder", hint="name a folder"
        )
    require_writable(request.out / "log.jsonl")


def _machines(request: Request) -> Iterator[tuple[Time, Hardware]]:
    """In which times to run, and on which machines."""
    from leo_runtime import shipped

    if not request.live:
        yield "virtual", _machine(request, shipped.PHONE if request.hardware is None else request.hardware)
    if not request.virtual:
        named = request.hardware if request.live else None
        yield "real", _machine(request, shipped.HOST if named is None else named)


def _machine(request: Request, name: str) -> Hardware:
    """The machine of that name, with the DSP asked for."""
    from leo_runtime import shipped

    return _with_dsp(request.dsp, shipped.hardware(name))


def _check_charged(request: Request, hardware: Hardware) -> None:
    """Raise `InputError` where the machine has nowhere to charge solving."""
    charged = request.charge_solver
    powers_mw = {processor.name: processor.active_mw for processor in hardware.processors}
    if charged is None or powers_mw.get(charged, 0):
        return
    known = [name for name, active_mw in powers_mw.items() if active_mw]
    wrong = f"no power (`active_mw`) of `{charged}`" if charged in powers_mw else f"no processor `{charged}`"
    raise InputError(
        f"`--charge-solver {charged}`: `{hardware.name}` has {wrong}",
        hint=did_you_mean(charged, known) if known else "give one of its processors an `active_mw`",
    )


def _with_dsp(arithmetic: str | None, hardware: Hardware) -> Hardware:
    """The machine with its DSP's stages computed as asked for.

    Raises `InputError` when it has no DSP, and what making the backend raises: asked for by name, it must be there.
    """
    from leo_runtime.backend import registry

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


def _recording(request: Request, workload: Workload) -> Recording:
    """What is replayed. A workload that reads no stream needs none: it is then its name that runs go by."""
    from leo_runtime import shipped
    from leo_runtime.recordings.recording import NOTHING_SECONDS, Recording

    if request.recording is None and not workload.streams:
        seconds = NOTHING_SECONDS if request.seconds is None else request.seconds
        return Recording.of_nothing(workload.name, round((request.start + seconds) * 1e6))
    return shipped.recording("demo" if request.recording is None else request.recording)


def _span(request: Request, workload: Workload, recording: Recording, time: Time) -> Span:
    from leo_runtime.replay.replay import Span, streams_read

    seconds = LIVE_SECONDS if request.seconds is None and time == "real" else request.seconds
    length_us = None if seconds is None else round(seconds * 1e6)
    if length_us == 0:
        raise InputError("expected a length above 0 s", hint="see `leo-runtime replay --help`")
    return Span.of(recording, round(request.start * 1e6), length_us, streams_read(workload))


def _profile(request: Request, time: Time, workload: Workload, hardware: Hardware, recording: Recording) -> Profile:
    """The profile asked for by name; in real time else this machine's own, measured unless that has been done."""
    from leo_runtime import shipped

    if time == "virtual":
        if request.profile is not None:
            return shipped.profile(request.profile)
        name = shipped.PHONE if request.hardware is None else request.hardware
        if name not in shipped.names("profile"):
            raise InputError(
                f"no profile ships for the hardware `{name}`",
                hint="name one: add `--profile FILE`; `leo-runtime calibrate --hardware NAME --out FILE` writes one",
            )
        return shipped.profile(name)
    if request.live and request.profile is not None:
        return shipped.profile(request.profile)
    from leo_runtime.measure.kept_profile import kept_or_measured
    from leo_runtime.schema import require_writable

    path = request.out / f"{hardware.name}.profile.json"
    require_writable(path)
    with bar("calibrating") as progress:
        return kept_or_measured(path, workload, hardware, recording, tell=say, progress=progress)
