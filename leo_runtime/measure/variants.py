"""Makes forms of a model, and measures what each loses on given runs, and what it costs on each processor here.

A form is made of the whole model, or of each of its blocks: it is then a file of its own, and a variant of that
block's stage. What a form of a block loses is measured at the model's outputs, all other blocks being the model's own;
what the forms of several blocks lose together is taken for the sum of that, as accuracy budgets have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from leo_runtime.backend import Backend
from leo_runtime.compress import CompressError
from leo_runtime.compress.binary import generated_bytes
from leo_runtime.compress.forms import form_of, require_float
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import InputError, KernelError
from leo_runtime.importers.model_file import ModelFile, ends_of, open_model
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import count, cut, reference
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.measure.model_data import ModelRuns
from leo_runtime.measure.task_loss import Loss, Task, loss_of
from leo_runtime.operators import find_operator
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.model_pieces import piece_of
from leo_runtime.operators.outputs import arrays_of, as_value
from leo_runtime.progress import Progress
from leo_runtime.schema import write_content

Arrays = Sequence[np.ndarray]
Run = Callable[[Arrays], Arrays]
Cut = Literal["whole", "blocks"]


@dataclass(frozen=True, slots=True)
class Made:
    """A form of a piece of a model, or the piece as it is."""

    piece: int
    name: str
    """Of the form; of the piece as it is `default`."""
    params: Mapping[str, Any]
    """Of a stage of operator `model` that runs it; the file is in the folder of the forms, by its name alone."""
    weight_bytes: int
    generated_bytes: int
    """How many of those are codes that a device could make itself."""
    macs: int
    loss: Loss
    program: int
    """Forms of a piece with equal numbers are the same layers on other constants: they take the same time."""

    @property
    def sha256(self) -> str:
        """How the SHA-256 of its file begins."""
        return str(self.params["sha256"])


@dataclass(frozen=True, slots=True)
class NotMade:
    """A form that a piece does not have, and why."""

    piece: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Variants:
    """All forms of a model that could be made."""

    model: Path
    """The copy of its file, in the folder of the forms."""
    pieces: int
    runs: int
    made: tuple[Made, ...]
    """By piece, each as it is first."""
    not_made: tuple[NotMade, ...]
    outputs: tuple[str, ...]
    """The names of the model's outputs, in their order."""

    def of(self, piece: int) -> tuple[Made, ...]:
        """The forms of a piece, as it is first."""
        return tuple(one for one in self.made if one.piece == piece)


def make_variants(
    model: Path,
    runs: ModelRuns,
    forms: Sequence[str],
    task: Task,
    folder: Path,
    *,
    by: Cut = "whole",
    backend: Backend | None = None,
    progress: Progress = lambda *_: None,
) -> Variants:
    """Make the forms of these names of a model, write each into a folder, beside a copy of the model, and measure what
    it loses on runs that it was not calibrated on.

    `backend` computes them; None: the reference of numpy does, slowly. `progress` is told of each form of each piece.

    Raises `InputError` for a model that has no such forms at all, and what cannot be written.
    """
    makers = {name: form_of(name) for name in dict.fromkeys(forms)}
    file = open_model(model)
    graph = _layers(file)
    pieces = cut.pieces(graph, ends_of(file, "blocks") if by == "blocks" else (len(graph.layers),))
    making = _Making(model, file, folder, backend, pieces)
    write_content(making.copy, file.file.content)
    steps = len(pieces) * len(makers)
    made, not_made = list[Made](), list[NotMade]()
    with np.errstate(all="ignore"):  # A form may give anything; what comes of it is its loss.
        crossing: list[Arrays] = list(runs.inputs)
        calibrating: list[Arrays] = list(runs.calibrating)
        expected = [making.behind(-1)(inputs) for inputs in crossing]
        _require_numbers(graph, task, expected)
        for number, piece in enumerate(pieces):
            made.append(making.as_it_is(number, loss_of(task, expected, expected)))
            behind = making.behind(number)
            for done, (name, form) in enumerate(makers.items(), start=number * len(makers)):
                progress(name if len(pieces) == 1 else f"{name} of block {number}", done, steps)
                try:
                    changed = form(piece, calibrating)
                    params, run = making.form(number, name, changed)
                    if twin := next((o for o in made if o.piece == number and o.sha256 == params["sha256"]), None):
                        not_made.append(NotMade(number, name, f"is the same as {twin.name}"))
                        continue
                    loss = loss_of(task, expected, [behind(run(inputs)) for inputs in crossing])
                    made.append(making.told(number, name, params, changed, loss))
                except (CompressError, KernelError) as error:
                    not_made.append(NotMade(number, name, str(error).removeprefix(f"{graph.name}: ")))
            crossing, calibrating = (
                [making.piece(number)(inputs) for inputs in some] for some in (crossing, calibrating)
            )
        progress("", steps, steps)
    outputs = tuple(one.name for one in piece_of(ModelParameters(model=making.copy)).gives)
    return Variants(making.copy, len(pieces), len(runs.inputs), tuple(made), tuple(not_made), outputs)


def require_forms(model: Path) -> None:
    """Raise `InputError` for a model's file that has no layers of which a form could be made."""
    _layers(open_model(model))


def _layers(file: ModelFile) -> LayerGraph:
    if file.graph is None:
        assert file.why is not None
        raise InputError(str(file.why), hint="forms are made of a model's layers: there are none of one that is opaque")
    require_float(file.graph)
    return file.graph


def _require_numbers(graph: LayerGraph, task: Task, expected: Sequence[Arrays]) -> None:
    """Raise `InputError` where the model itself gives NaN or infinity: nothing is lost of that, or everything."""
    for run, outputs in enumerate(expected):
        for number, values in enumerate(outputs):
            if task.output in (None, number) and not np.isfinite(values).all():
                name = graph.tensors[graph.outputs[number]].name
                raise InputError(
                    f"{graph.name}: gives NaN or infinity at `{name}` in run {run} of those measured on",
                    hint="look at the data: they may have another range than it was trained on",
                )


class _Making:
    """Writes forms of one model, and runs them."""

    def __init__(
        self, model: Path, file: ModelFile, folder: Path, backend: Backend | None, pieces: Sequence[LayerGraph]
    ) -> None:
        self.copy = folder / model.name
        self._file = file
        self._backend = backend
        self._pieces = pieces
        self._programs: dict[tuple[object, ...], int] = {}
        self._runs: dict[int, Run] = {}

    def piece(self, number: int) -> Run:
        """A piece as it is."""
        if number not in self._runs:
            self._runs[number] = self._runner(self._params(number), self._pieces[number])
        return self._runs[number]

    def behind(self, number: int) -> Run:
        """All that comes behind a piece; -1: the whole model."""

        def run(values: Arrays) -> Arrays:
            for one in range(number + 1, len(self._pieces)):
                values = self.piece(one)(values)
            return values

        return run

    def as_it_is(self, number: int, loss: Loss) -> Made:
        """A piece beside its forms."""
        return self.told(number, DEFAULT_VARIANT, self._params(number), self._pieces[number], loss)

    def form(self, number: int, name: str, graph: LayerGraph) -> tuple[dict[str, Any], Run]:
        """A form of a piece, written: the parameters of its stage, and a function that runs it."""
        where = f".{number:02}" if len(self._pieces) > 1 else ""
        path = self.copy.with_name(f"{self.copy.stem}{where}.{name}.tflite")
        write_content(path, write_model(graph))
        params = {"model": str(path), "sha256": open_model(path).sha256[:16]}
        return params, self._runner(params, graph)

    def told(self, number: int, name: str, params: Mapping[str, Any], graph: LayerGraph, loss: Loss) -> Made:
        """What there is to know of a form."""
        layers = tuple(
            (layer.kind, tuple(layer.options.items()), tuple(n < 0 or graph.tensors[n].shape for n in layer.inputs))
            for layer in graph.layers
        )
        return Made(
            number,
            name,
            {**params, "model": Path(params["model"]).name},
            count.weight_bytes(graph),
            generated_bytes(graph),
            count.macs(graph),
            loss,
            self._programs.setdefault((number, *layers), len(self._programs)),
        )

    def _params(self, number: int) -> dict[str, Any]:
        params: dict[str, Any] = {"model": str(self.copy), "sha256": self._file.sha256[:16]}
        return params if len(self._pieces) == 1 else {**params, "first": number}

    def _runner(self, params: Mapping[str, Any], graph: LayerGraph) -> Run:
        if self._backend is None:
            return lambda inputs: reference.run(graph, inputs)
        kernel = self._backend.load(bound_stage("form", params), DEFAULT_VARIANT)
        return lambda inputs: arrays_of(as_value(kernel(inputs)))


def bound_stage(name: str, params: Mapping[str, Any]) -> BoundStage:
    """A stage of operator `model` with these parameters, which reads what its piece takes."""
    operator = find_operator("model")
    checked = ModelParameters.model_validate({**params, "model": Path(params["model"])})
    takes = piece_of(checked).takes
    shapes = tuple(one.shape for one in takes)
    assert operator.outputs is not None
    return BoundStage(
        name,
        operator,
        {DEFAULT_VARIANT: checked},
        shapes,
        operator.output_shape(checked, shapes),
        {DEFAULT_VARIANT: 0},
        several=operator.outputs(checked, shapes),
        takes=takes,
    )
