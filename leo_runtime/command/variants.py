"""`leo-runtime variants`: smaller forms of a model, what each loses and costs, and a workload that chooses of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.shared import (
    ANSWERED_NO,
    DONE,
    add_width,
    amount,
    bar,
    complain,
    count,
    given_data,
    look,
    positive,
    put,
    say,
)
from leo_runtime.errors import InputError, LeoError, ProfileError

if TYPE_CHECKING:
    from leo_runtime.backend import Backend
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.measure.model_data import ModelRuns
    from leo_runtime.measure.task_loss import Task
    from leo_runtime.measure.variant_costs import Priced
    from leo_runtime.measure.variants import Variants

EXAMPLE = "variants face.tflite --data faces.npz --task threshold=0 --out face-variants"

_LOSS_PPM_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    model: Path
    data: str
    workload: str | None
    task: str
    output: str | None
    forms: list[str] | None
    cut: Literal["whole", "blocks"]
    runs: int
    seed: int
    loss_max: int
    hardware: str
    profile: str | None
    no_costs: bool
    rate: float
    out: Path | None
    json: bool
    columns: int | None
    """Of its table, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite file of float weights")
    parser.add_argument(
        "--data", required=True, metavar="DATA", help="an .npy or .npz of the model's inputs, or a recording"
    )
    parser.add_argument(
        "--workload",
        metavar="FILE",
        help="of a recording: what reads the model, behind what (default: its own streams)",
    )
    parser.add_argument(
        "--task",
        default="change",
        metavar="MEASURE",
        help="what a loss is: change of outputs, argmax, threshold=NUMBER, points=COORDINATES (default: change)",
    )
    parser.add_argument("--output", metavar="NAME", help="which of the model's outputs the task reads")
    parser.add_argument(
        "--form",
        action="append",
        dest="forms",
        metavar="NAME",
        help="a form to make, such as rank25, prune50+f16, rank25-one+int8w; may be repeated (default: fifteen)",
    )
    parser.add_argument(
        "--cut", choices=("whole", "blocks"), default="whole", help="of what forms are made (default: whole)"
    )
    parser.add_argument("--runs", type=positive, default=100, metavar="N", help="of the data at most (default: 100)")
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="draws the runs (default: 0)")
    parser.add_argument(
        "--loss-max",
        type=count,
        default=_LOSS_PPM_MAX,
        metavar="PPM",
        help=f"what a placement may lose in all (default: {_LOSS_PPM_MAX})",
    )
    parser.add_argument(
        "--hardware",
        default="host",
        metavar="NAME",
        help="a shipped machine or a file (default: host)",
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="estimate costs by this shipped profile or file, instead of measuring"
    )
    parser.add_argument("--no-costs", action="store_true", help="losses, bytes and work alone")
    parser.add_argument("--rate", type=amount, default=1.0, metavar="HZ", help="of the workload (default: 1)")
    parser.add_argument(
        "--out", type=Path, metavar="NEW", help="a folder for the files, a workload of those that are left, a profile"
    )
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    add_width(parser)


def run(request: Request) -> int:
    """Make forms and measure them. Returns the exit status: 1 where none of the model, or of a block, is left."""
    from leo_runtime import shipped
    from leo_runtime.compress.forms import DEFAULTS, form_of
    from leo_runtime.measure.variants import make_variants, require_forms

    forms = tuple(request.forms or DEFAULTS)
    for name in forms:
        form_of(name)
    hardware = shipped.hardware(request.hardware)
    task = _task(request)
    require_forms(request.model)
    runs = _runs(request, forms)
    with _folder(request) as folder:
        with _cpu() as backend, bar("making forms") as progress:
            variants = make_variants(
                request.model, runs, forms, task, folder, by=request.cut, backend=backend, progress=progress
            )
        try:
            priced = None if request.no_costs else _priced(request, variants, hardware, runs)
        except ProfileError:
            # What forms lose took long to find out, and stays true.
            _tell(request, variants, None, task, "")
            raise
        costs = "not measured" if priced is None else _how(request, hardware, priced)
        kept = frozenset(
            (one.piece, one.name)
            for one in variants.made
            if one.loss.ppm <= request.loss_max and (priced is None or (one.piece, one.name) in priced.kept)
        )
        lacking = sorted(set(range(variants.pieces)) - {piece for piece, _ in kept})
        if request.out is not None:
            if priced is not None:
                priced.profile.to_file(request.out / f"{hardware.name}.profile.json")
            if not lacking:
                _write(request, variants, kept)
    _tell(request, variants, priced, task, costs)
    if lacking:
        where = "" if variants.pieces == 1 else f" of block {lacking[0]}"
        complain(f"no form{where} is left for placement: there is no workload to write")
        complain("hint: allow a greater loss by `--loss-max`, or give other forms or processors")
    return ANSWERED_NO if lacking else DONE


def _tell(request: Request, variants: Variants, priced: Priced | None, task: Task, costs: str) -> None:
    from leo_runtime.report import variants_text

    told = (variants, priced, task, request.loss_max, costs)
    put(variants_text.as_json(*told) if request.json else variants_text.text(*told, look(request.columns)))


def _task(request: Request) -> Task:
    """What losses are, with the number of the output that is named."""
    from leo_runtime.errors import did_you_mean
    from leo_runtime.measure.task_loss import Task, parse_task
    from leo_runtime.operators.model_parameters import ModelParameters
    from leo_runtime.operators.model_pieces import piece_of

    task = Task(*parse_task(request.task))
    gives = [one.name for one in piece_of(ModelParameters(model=request.model)).gives]
    if request.output is None:
        if task.measure != "change" and len(gives) > 1:
            raise InputError(
                f"{request.model}: has {len(gives)} outputs, and {task.measure} reads one",
                hint=f"name it with `--output`: it has {', '.join(gives)}",
            )
        return replace(task, output=0 if len(gives) == 1 else None)
    if request.output not in gives:
        hint = did_you_mean(request.output, gives, "it has")
        raise InputError(f"{request.model}: has no output `{request.output}`", hint=hint)
    return replace(task, output=gives.index(request.output))


def _runs(request: Request, forms: Sequence[str]) -> ModelRuns:
    from leo_runtime import shipped
    from leo_runtime.compress.forms import INT8
    from leo_runtime.measure.model_data import model_runs

    return model_runs(
        given_data(request.data),
        request.model,
        most=request.runs,
        seed=request.seed,
        workload=None if request.workload is None else shipped.workload(request.workload),
        holds_back=any(INT8 in name.split("+") for name in forms),
    )


@contextmanager
def _folder(request: Request) -> Iterator[Path]:
    """Where forms are written: the folder that was asked for, which is new or empty, or one that goes again.

    Of a call that fails nothing is left in it, so that the next one may have it.
    """
    from tempfile import TemporaryDirectory

    if request.out is None:
        with TemporaryDirectory(prefix="leo-variants-") as folder:
            yield Path(folder)
        return
    is_new = not request.out.exists()
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        there = any(request.out.iterdir())
    except OSError as error:
        raise InputError(f"{request.out}: cannot be a folder to write to ({error.strerror or error})") from None
    if there:
        raise InputError(f"{request.out}: there is something in it", hint="name a new folder")
    try:
        yield request.out
    except BaseException:
        for made in request.out.iterdir():  # It was empty: all of it is ours.
            made.unlink()
        if is_new:
            request.out.rmdir()
        raise


@contextmanager
def _cpu() -> Iterator[Backend | None]:
    """The CPU's backend, where it runs models; else the reference computes."""
    from contextlib import closing
    from importlib.util import find_spec

    from leo_runtime.backend import registry
    from leo_runtime.documents.hardware import Processor

    if not any(find_spec(package) for package in ("ai_edge_litert", "tflite_runtime", "tensorflow")):
        say("no package runs models here: the reference of numpy computes, which takes long (extra `tflite`)")
        yield None
        return
    with closing(registry.create(Processor(name="cpu", backend="cpu"))) as backend:
        yield backend


def _priced(request: Request, variants: Variants, hardware: Hardware, runs: ModelRuns) -> Priced:
    from leo_runtime import shipped
    from leo_runtime.measure.variant_costs import estimated, measured, workload_of

    workload = workload_of(variants, name=request.model.stem, rate_hz=request.rate, loss_ppm_max=request.loss_max)
    if request.profile is not None:
        return estimated(variants, workload, hardware, shipped.profile(request.profile), request.loss_max)
    with bar("measuring") as progress:
        priced = measured(variants, workload, hardware, runs, request.loss_max, progress=progress)
    _say_missing(priced.missing)
    return priced


def _say_missing(missing: tuple[tuple[str, LeoError], ...]) -> None:
    """What could not be measured, each reason once."""
    for what, error in {str(error): (what, error) for what, error in reversed(missing)}.values():
        complain(f"not measured: {what}: {error}")
        if error.hint:
            complain(f"hint: {error.hint}")


def _how(request: Request, hardware: Hardware, priced: Priced) -> str:
    if request.profile is not None:
        return f"estimated: what profile {request.profile} has for models, times the work of each form"
    used = {mode.resource for modes in priced.modes.values() for mode in modes}
    simulated = [one.name for one in hardware.processors if one.backend == "dsp" and one.name in used]
    said = "measured here, a median each"
    return f"{said} ({', '.join(simulated)} simulated: modelled)" if simulated else said


def _write(request: Request, variants: Variants, kept: frozenset[tuple[int, str]]) -> None:
    """The workload of what is left."""
    from leo_runtime.documents.toml_text import toml_text
    from leo_runtime.measure.variant_costs import workload_of, written_names
    from leo_runtime.schema import write_content

    assert request.out is not None
    workload = workload_of(
        variants, name=request.model.stem, rate_hz=request.rate, loss_ppm_max=request.loss_max, kept=kept
    )
    document = written_names(workload.model_dump(mode="json", exclude_defaults=True), request.out)
    said = f"{request.model.name}, in the forms that a placement may need. What its streams come from is yours to say."
    path = request.out / f"{request.model.stem}.toml"
    write_content(path, toml_text(document, said).encode())
    say(f"written: {path} (and the files of {len(variants.made)} forms)")
