"""The command `leo-runtime`: data goes to standard output, talk to standard error.

Exit status: 0 done; 1 answered no (infeasible, rules broken, a replay in which something failed); 2 wrong use or bad
input; 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime import __version__
from leo_runtime.errors import InputError, LeoError

if TYPE_CHECKING:
    from leo_runtime.schema import Document

Command = Callable[[argparse.Namespace], int]

DONE, ANSWERED_NO, WRONG_USE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"

DOCUMENTS = {
    "problem": ("leo_runtime.documents.problem", "Problem"),
    "placement": ("leo_runtime.documents.problem", "Placement"),
    "workload": ("leo_runtime.documents.workload", "Workload"),
    "hardware": ("leo_runtime.documents.hardware", "Hardware"),
    "profile": ("leo_runtime.documents.profile", "Profile"),
    "recording": ("leo_runtime.recordings.recording", "RecordingManifest"),
}
"""Every kind of document, by the name in its format, and the model that reads it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parsed = _parser().parse_args(arguments)
    run: Command = parsed.run
    try:
        status = run(parsed)
        sys.stdout.flush()
        return status
    except LeoError as error:
        _say(str(error))
        if error.hint:
            _say(f"hint: {error.hint}")
        return WRONG_USE
    except BrokenPipeError:
        # Whoever read the output has enough; what is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leo-runtime",
        description="Decides, frame by frame, which stage of which sensing pipeline runs where, and runs it.",
        epilog="Exit status: 0 done, 1 answered no (infeasible, rules broken, something failed in a replay), "
        "2 wrong use or bad input.",
    )
    parser.add_argument("--version", action="version", version=f"leo-runtime {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], says: str, example: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=says, description=says, epilog=f"Example: leo-runtime {example}")
        made.set_defaults(run=run)
        return made

    solve = command(
        "solve", _solve, "Answer one frame's question (leo-problem/1).", "solve frame.json --out answer.json"
    )
    solve.add_argument("problem", metavar="PROBLEM", type=Path, help="the question, JSON or TOML")
    solve.add_argument("--solver", default="exact", help="which solver answers (default: exact)")
    solve.add_argument("--limit-ms", type=_count, metavar="N", help="wall time to search for (default: until proved)")
    solve.add_argument("--limit-nodes", type=_count, metavar="N", help="nodes to search, which repeats exactly")
    solve.add_argument("--seed", type=_count, default=0, metavar="N", help="for solvers that draw (default: 0)")
    solve.add_argument(
        "--active-mw", type=_count, metavar="MW", help="power of the processor that solves: also say what solving cost"
    )
    solve.add_argument("--out", type=Path, metavar="FILE", help="write the answer here, not to standard output")

    check = command("check", _check, "Judge an answer by the rules alone.", "check frame.json answer.json")
    check.add_argument("problem", metavar="PROBLEM", type=Path, help="the question")
    check.add_argument("placement", metavar="PLACEMENT", type=Path, help="the answer")
    check.add_argument("--json", action="store_true", help="also what is wrong as JSON; the criteria always are")

    says = "Say why each stage is where it is, and what its other modes would cost."
    explain = command("explain", _explain, says, "explain frame.json answer.json model")
    explain.add_argument("problem", metavar="PROBLEM", type=Path, help="the question")
    explain.add_argument("placement", metavar="PLACEMENT", type=Path, help="the answer")
    explain.add_argument("stage", metavar="STAGE", nargs="?", help="default: every stage")
    explain.add_argument("--limit-nodes", type=_count, metavar="N", help="nodes to search for each other mode")
    explain.add_argument("--json", action="store_true", help="as JSON")

    schema = command("schema", _schema, "Print the JSON Schema of a document.", "schema problem")
    schema.add_argument("name", metavar="NAME", nargs="?", help=f"one of {', '.join(DOCUMENTS)}; without it, the list")

    says = "Show which processors can be used here, and how to get the others."
    backends = command("backends", _backends, says, "backends --json")
    backends.add_argument("--json", action="store_true", help="as JSON")

    says = "List the machines and profiles that ship; show, compare, merge or plot profiles."
    profiles = command("profiles", _profiles, says, "profiles diff before.json after.json")
    profiles.add_argument(
        "action", choices=("list", "show", "diff", "merge", "plot"), nargs="?", default="list", help="default: list"
    )
    says = "shipped names or files: none for list, one for show and plot, two for diff and merge"
    profiles.add_argument("names", metavar="NAME", nargs="*", help=says)
    profiles.add_argument("--json", action="store_true", help="list, show and diff: as JSON")
    profiles.add_argument("--out", type=Path, metavar="FILE", help="where merge and plot write, and only they")

    says = "Measure every stage of a workload on every processor that is here, and write a profile."
    calibrate = command("calibrate", _calibrate, says, "calibrate --out host.profile.json")
    _add_machine(calibrate, hardware="host")
    calibrate.add_argument("--recording", default="demo", help="whose samples the stages get (default: demo)")
    calibrate.add_argument(
        "--quick", action="store_true", help="a tenth of a second a stage, alone and in one size, not a second and more"
    )
    calibrate.add_argument(
        "--out", type=Path, metavar="FILE", help="write the profile here, and print what was measured"
    )
    calibrate.add_argument("--json", action="store_true", help="with --out: what was measured as JSON")

    says = "Run a recording in virtual time on a phone, then in real time here, and compare policies."
    _add_replay(command("replay", _replay, says, "replay demo --virtual --seconds 20"))

    says = "Measure this machine as a published table does, and print both."
    bench = command("bench", _bench, says, "bench audio --json")
    bench.add_argument("table", metavar="TABLE", choices=("audio",), help="audio: GMM and DNN (MobiSys 2017)")
    bench.add_argument("--rounds", type=_positive, default=15, metavar="N", help="runs of each cell (default: 15)")
    bench.add_argument("--json", action="store_true", help="as JSON")

    says = "Search the fastest kernel parameters for this machine's device, and keep them in the user's cache."
    tune = command("tune", _tune, says, "tune gpu --bench")
    _add_machine(tune, hardware="host")
    tune.add_argument("processor", metavar="PROCESSOR", nargs="?", default="gpu", help="of the machine (default: gpu)")
    tune.add_argument("--bench", action="store_true", help="for the shapes of `bench audio`, not of a workload")
    tune.add_argument("--tries", type=_positive, default=40, metavar="N", help="for each shape (default: 40)")
    tune.add_argument("--out", type=Path, metavar="FILE", help="write here, not where the backend looks")
    tune.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _add_machine(command: argparse.ArgumentParser, hardware: str) -> None:
    command.add_argument("--workload", metavar="FILE", help="what to run (default: the demo's)")
    command.add_argument(
        "--hardware", default=hardware, metavar="NAME", help=f"a shipped machine or a file (default: {hardware})"
    )


def _add_replay(replay: argparse.ArgumentParser) -> None:
    replay.add_argument(
        "recording", metavar="RECORDING", nargs="?", default="demo", help="a name or folder (default: demo)"
    )
    when = replay.add_mutually_exclusive_group()
    when.add_argument("--virtual", action="store_true", help="in virtual time only")
    when.add_argument("--live", action="store_true", help="in real time on this machine only")
    replay.add_argument("--workload", metavar="FILE", help="what to run (default: the demo's)")
    replay.add_argument("--hardware", metavar="NAME", help="the machine (default: snapdragon-800; live: host)")
    replay.add_argument("--profile", metavar="NAME", help="its profile (default: of that name; live: measured first)")
    replay.add_argument(
        "--dsp",
        choices=("numpy", "hexagon"),
        help="what computes a DSP's stages: numpy, or programs of its own instructions under qemu-hexagon",
    )
    replay.add_argument("--start", type=_amount, default=0.0, metavar="S", help="second to start at (default: 0)")
    replay.add_argument("--seconds", type=_amount, metavar="S", help="how much (default: all; live: 20)")
    replay.add_argument("--solver", default="exact", help="who places the frames (default: exact)")
    replay.add_argument("--noise", type=_amount, default=0.0, metavar="PERCENT", help="spread of virtual durations")
    replay.add_argument("--seed", type=_count, default=0, metavar="N", help="of noise and of solvers that draw")
    replay.add_argument(
        "--reserve", type=_count, metavar="PERCENT", help="of every deadline, kept free in plans (default: 0; live: 50)"
    )
    replay.add_argument(
        "--charge-solver",
        metavar="PROCESSOR",
        help="charge the time that placing each frame took, as measured here, at this processor's active power; "
        "a virtual run then no longer repeats byte for byte (default: not charged)",
    )
    replay.add_argument(
        "--batch",
        type=_positive,
        default=1,
        metavar="N",
        help="collect N frames and place them as one, with N times their deadlines from the last one on (default: 1)",
    )
    replay.add_argument("--no-compare", action="store_true", help="leave out the other policies")
    replay.add_argument(
        "--out", type=Path, default=Path("out"), metavar="FOLDER", help="logs and traces (default: out)"
    )
    replay.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the virtual run and the policies: .png, .svg, .pdf"
    )
    replay.add_argument("--json", action="store_true", help="print the figures as JSON")


def _solve(arguments: argparse.Namespace) -> int:
    from leo_runtime.documents.problem import Problem
    from leo_runtime.schema import require_writable
    from leo_runtime.solver import solve

    problem = Problem.from_file(arguments.problem)
    if arguments.out is not None:
        require_writable(arguments.out)
    placement = solve(
        problem,
        arguments.solver,
        limit_ms=arguments.limit_ms,
        limit_nodes=arguments.limit_nodes,
        seed=arguments.seed,
    )
    if arguments.out is None:
        sys.stdout.write(placement.to_json())
    else:
        placement.to_file(arguments.out)
    if arguments.active_mw is not None:
        from leo_runtime.solver.replan import solving_nj

        nj = solving_nj(placement, arguments.active_mw)
        _say(f"solved in {placement.solve_us} us, which cost {nj} nJ at {arguments.active_mw} mW")
    if placement.status == "infeasible":
        _say(f"infeasible: {placement.reason}")
        return ANSWERED_NO
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    from leo_runtime.documents.problem import Placement, Problem
    from leo_runtime.judge import check

    placement = Placement.from_file(arguments.placement)
    report = check(Problem.from_file(arguments.problem), placement)
    if not report.ok:
        if arguments.json:
            wrong = [dataclasses.asdict(violation) for violation in (*report.violations, *report.false_claims)]
            print(json.dumps(wrong, indent=1))
            return ANSWERED_NO
        for violation in report.violations:
            print(violation)
        for claim in report.false_claims:
            print(f"false claim: {claim}")
        return ANSWERED_NO
    if report.criteria is None:
        print(f"the answer places nothing: infeasible, {placement.reason or 'no reason given'}")
        return ANSWERED_NO
    print(report.criteria.model_dump_json())
    return DONE


def _explain(arguments: argparse.Namespace) -> int:
    from leo_runtime.documents.problem import Placement, Problem
    from leo_runtime.solver.explain import LIMIT_NODES, explain, render

    explanation = explain(
        Problem.from_file(arguments.problem),
        Placement.from_file(arguments.placement),
        arguments.stage,
        limit_nodes=LIMIT_NODES if arguments.limit_nodes is None else arguments.limit_nodes,
    )
    if arguments.json:
        plain = dataclasses.asdict(explanation)
        print(json.dumps(plain, indent=1, default=lambda value: value.model_dump()))
    else:
        sys.stdout.write(render(explanation))
    return DONE if explanation.criteria is not None else ANSWERED_NO


def _schema(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        print("\n".join(DOCUMENTS))
        return DONE
    if arguments.name not in DOCUMENTS:
        raise InputError(f"no document is called `{arguments.name}`", hint=f"one of {', '.join(DOCUMENTS)}")
    schema = {"$schema": JSON_SCHEMA, **document_model(arguments.name).model_json_schema()}
    print(json.dumps(schema, indent=1, ensure_ascii=False))
    return DONE


def _backends(arguments: argparse.Namespace) -> int:
    from leo_runtime.backend import registry
    from leo_runtime.report import tables as report

    found = registry.available()
    if arguments.json:
        print(json.dumps([dataclasses.asdict(status) for status in found], indent=1))
        return DONE
    rows = [(status.name, status.package, "yes" if status.available else "no", status.missing) for status in found]
    sys.stdout.write(report.table(("backend", "package", "here", "missing"), rows))
    for status in found:
        if status.hint:
            _say(f"hint: {status.name}: {status.hint}")
    return DONE


def _profiles(arguments: argparse.Namespace) -> int:
    from leo_runtime import shipped
    from leo_runtime.report import tables as report

    wanted = {"list": 0, "show": 1, "plot": 1, "diff": 2, "merge": 2}[arguments.action]
    if len(arguments.names) != wanted:
        known = ", ".join(shipped.names("profile"))
        raise InputError(
            f"`profiles {arguments.action}` takes {wanted} names, got {len(arguments.names)}",
            hint=f"one of {known}, or a file",
        )
    writes = arguments.action in ("merge", "plot")
    if writes and arguments.out is None:
        raise InputError(f"`profiles {arguments.action}` needs to be told where to write", hint="add `--out FILE`")
    if writes and arguments.json:
        raise InputError(f"`profiles {arguments.action}` prints nothing, so not as JSON", hint="leave out `--json`")
    if not writes and arguments.out is not None:
        raise InputError(
            f"`profiles {arguments.action}` prints and writes no file",
            hint="leave out `--out`, and redirect what is printed",
        )
    found = [shipped.profile(name) for name in arguments.names]
    if arguments.action == "show":
        sys.stdout.write(found[0].to_json() if arguments.json else report.profile_table(found[0]))
        return DONE
    if arguments.action == "plot":
        from leo_runtime.report.plots import plot_profile

        plot_profile(found[0], arguments.out)
        return DONE
    if arguments.action == "merge":
        found[0].merged_with(found[1], arguments.out.name.partition(".")[0]).to_file(arguments.out)
        return DONE
    if arguments.action == "diff":
        sys.stdout.write(report.differences(found[0], found[1], as_json=arguments.json))
        return DONE
    listed = [(kind, name) for kind in ("hardware", "profile") for name in shipped.names(kind)]
    if arguments.json:
        print(json.dumps([{"kind": kind, "name": name} for kind, name in listed], indent=1))
    else:
        sys.stdout.write(report.table(("kind", "name"), listed))
    return DONE


def _calibrate(arguments: argparse.Namespace) -> int:
    from leo_runtime import shipped
    from leo_runtime.measure import calibrate, measure
    from leo_runtime.measure.energy import whole_machine
    from leo_runtime.progress import ProgressBar
    from leo_runtime.report import tables as report
    from leo_runtime.schema import require_writable

    workload, hardware = shipped.workload(arguments.workload), shipped.hardware(arguments.hardware)
    recording = shipped.recording(arguments.recording)
    if arguments.out is not None:
        require_writable(arguments.out)
    with ProgressBar("calibrating") as progress:
        found = calibrate.calibrate(
            workload,
            hardware,
            recording,
            effort=measure.QUICK if arguments.quick else measure.FULL,
            sources=whole_machine(),
            progress=progress,
        )
    for what, error in found.missing:
        _say(f"not measured: {what}: {error}")
        if error.hint:
            _say(f"hint: {error.hint}")
    if arguments.out is None:
        sys.stdout.write(found.profile.to_json())
        return DONE
    found.profile.to_file(arguments.out)
    sys.stdout.write(report.measurements(found.profile, as_json=arguments.json))
    return DONE


def _replay(arguments: argparse.Namespace) -> int:
    from leo_runtime.replay_command import run

    return run(arguments)


def _bench(arguments: argparse.Namespace) -> int:
    from leo_runtime.measure import bench_audio
    from leo_runtime.progress import ProgressBar
    from leo_runtime.report import tables as report

    with ProgressBar("measuring") as progress:
        rows = bench_audio.bench(arguments.rounds, progress)
    for row in rows:
        for note in row.notes:
            _say(f"not measured: {row.processor}: {note}")
    if arguments.json:
        print(json.dumps(bench_audio.as_json(rows), indent=1))
    else:
        sys.stdout.write(report.audio_bench(rows, bench_audio.PUBLISHED))
    return DONE


def _tune(arguments: argparse.Namespace) -> int:
    import tempfile

    from leo_runtime import shipped
    from leo_runtime.measure import bench_audio, tune
    from leo_runtime.report import tables as report
    from leo_runtime.schema import require_writable

    if arguments.bench and arguments.workload is not None:
        raise InputError(
            "`--bench` is for the shapes of `bench audio`, so no workload is read", hint="give one of them"
        )
    hardware = shipped.hardware(arguments.hardware)
    known = [processor.name for processor in hardware.processors]
    if arguments.processor not in known:
        raise InputError(f"`{hardware.name}` has no processor `{arguments.processor}`", hint=f"it has {known}")
    if arguments.out is not None:
        require_writable(arguments.out)
    rows: list[tuple[str, int, int]] = []

    def note(what: str, before_ns: int, after_ns: int) -> None:
        rows.append((what, before_ns, after_ns))
        _say(f"{what}: {before_ns / 1000:.1f} -> {after_ns / 1000:.1f} us")

    with tempfile.TemporaryDirectory(prefix="leo-tune-") as folder:
        if arguments.bench:
            stages = [(stage, "default") for stage in bench_audio.workload_stages(Path(folder)).values()]
        else:
            stages = tune.stages_of(shipped.workload(arguments.workload))
        processor = hardware.processor(arguments.processor)
        path = tune.tune(processor, stages, tries=arguments.tries, out=arguments.out, progress=note)
    sys.stdout.write(report.tuned(rows, as_json=arguments.json))
    _say(f"written to {path}")
    return DONE


def document_model(name: str) -> type[Document]:
    """The model of a kind of document, one of `DOCUMENTS`."""
    from importlib import import_module

    module, model = DOCUMENTS[name]
    found: type[Document] = getattr(import_module(module), model)
    return found


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {json.dumps(text)}")
    return int(text)


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {json.dumps(text)}")
    return number


def _positive(text: str) -> int:
    if _count(text) < 1:
        raise argparse.ArgumentTypeError("expected at least 1, got 0")
    return int(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
