"""`leo-runtime replay`: a recording in virtual time on a phone, then in real time on this machine."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.shared import ANSWERED_NO, DONE, amount, bar, count, positive, put, say
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.profile import Profile
    from leo_runtime.documents.workload import Workload
    from leo_runtime.recordings.recording import Recording
    from leo_runtime.replay.compare import Placing
    from leo_runtime.replay.log_text import Settings
    from leo_runtime.replay.replay import Span, Time

EXAMPLE = "replay demo --virtual --seconds 20"

LIVE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    recording: str
    virtual: bool
    live: bool
    workload: str | None
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
    no_compare: bool
    no_questions: bool
    out: Path
    plot: Path | None
    json: bool


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "recording", metavar="RECORDING", nargs="?", default="demo", help="a name or folder (default: demo)"
    )
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--virtual", action="store_true", help="in virtual time only")
    when.add_argument("--live", action="store_true", help="in real time on this machine only")
    parser.add_argument("--workload", metavar="FILE", help="what to run (default: the demo's)")
    parser.add_argument("--hardware", metavar="NAME", help="the machine (default: snapdragon-800; live: host)")
    parser.add_argument("--profile", metavar="NAME", help="its profile (default: of that name; live: measured first)")
    parser.add_argument(
        "--dsp",
        choices=("numpy", "hexagon"),
        help="what computes a DSP's stages: numpy, or programs of its own instructions under qemu-hexagon",
    )
    parser.add_argument("--start", type=amount, default=0.0, metavar="S", help="second to start at (default: 0)")
    parser.add_argument("--seconds", type=amount, metavar="S", help="how much (default: all; live: 20)")
    parser.add_argument("--solver", default="exact", help="who places the frames (default: exact)")
    parser.add_argument("--noise", type=amount, default=0.0, metavar="PERCENT", help="spread of virtual durations")
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="of noise and of solvers that draw")
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
    parser.add_argument("--no-compare", action="store_true", help="leave out the other policies")
    parser.add_argument(
        "--no-questions", action="store_true", help="leave what was asked for each frame out of the log, for `explain`"
    )
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


def run(request: Request) -> int:
    """Replay as asked, print tables or JSON, and write logs and traces. Returns the exit status."""
    from leo_runtime import shipped, solver
    from leo_runtime.command.run_files import RunFiles
    from leo_runtime.recordings.recording import check_streams
    from leo_runtime.replay import compare
    from leo_runtime.replay.replay import check_files
    from leo_runtime.report import replay_text

    workload, recording = shipped.workload(request.workload), shipped.recording(request.recording)
    check_streams(workload, recording)
    check_files(workload)
    solver.named(request.solver)
    placing = _placing(request)
    _check_outputs(request)
    ran: list[compare.Compared] = []
    for time, hardware in list(_machines(request)):
        span = _span(request, workload, recording, time)
        profile = _profile(request, time, workload, hardware, recording)
        case = compare.Case(workload, hardware, profile, recording, span)
        name = f"{recording.manifest.name}.{time}"
        with RunFiles(request.out, name, _settings(request, placing)) as files:
            one = compare.compare(case, time, placing, others=not request.no_compare, bar=bar, sinks=[files])
        if not request.json:
            put(replay_text.text(one, files.paths))
        if request.plot is not None and time == "virtual":
            from leo_runtime.report.plots import plot_replay

            plot_replay(one.replayed, one.totals, request.plot)
        ran.append(one)
    if request.json:
        put(json.dumps([replay_text.figures(one) for one in ran], indent=1) + "\n")
    broken = [failure for one in ran for failure in one.replayed.summary.failures if not failure.is_overload]
    return ANSWERED_NO if broken else DONE


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
    )


def _settings(request: Request, placing: Placing) -> Settings:
    """What the log says of the run besides its machine."""
    from leo_runtime.replay.log_text import Settings

    return Settings(
        seed=placing.seed,
        noise_ppm=placing.noise_ppm,
        reserve_percent=placing.reserve_percent,
        window_stages=placing.stages_of_windows,
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
    """The machine of that name, with the DSP asked for. Raises `InputError` where it has nowhere to charge solving."""
    from leo_runtime import shipped

    hardware = _with_dsp(request.dsp, shipped.hardware(name))
    charged = request.charge_solver
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
