"""Runs of a model's inputs: which of those that there are are measured on, and which calibrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.documents.model_workload import model_workload
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.importers.model_file import open_model
from leo_runtime.measure.input_files import Runs, read_runs
from leo_runtime.measure.model_inputs import model_inputs
from leo_runtime.recordings.recording import Recording


@dataclass(frozen=True, slots=True, eq=False)
class ModelRuns:
    """What a model is asked, run by run."""

    inputs: tuple[tuple[np.ndarray, ...], ...]
    """Of each run that is measured on an array for each input, as that is."""
    calibrating: tuple[tuple[np.ndarray, ...], ...] = ()
    """Of others, which forms may be calibrated on."""
    there: int = 0
    """How many runs the data have: those taken are some of them."""
    source: str = ""
    """Of what the runs are, for messages."""


def model_runs(
    data: Path | Recording,
    model: Path,
    *,
    most: int = 100,
    seed: int = 0,
    workload: Workload | None = None,
    holds_back: bool = False,
    signature: str | None = None,
) -> ModelRuns:
    """At most so many runs for the model in a file, drawn by the seed where there are more, in their order.

    Data are a file of numpy (`measure.input_files.read_runs`) or a recording: then the model is given what a stage of
    `workload` that reads its file is given there, or without one the samples of streams that are named as
    `leo-runtime model graph` names them. `holds_back`: as many others calibrate, in turns with those measured on.
    `signature`: which of the model's is asked, None: its first graph.

    Raises `InputError` for data that cannot be read, or do not fit the model.
    """
    file = open_model(model, signature)
    if file.graph is None:
        raise InputError(str(file.why), hint="forms are made of layers, and it cannot be taken apart into them")
    wanted = 2 * most if holds_back else most
    if isinstance(data, Recording):
        asked = workload or model_workload(model, name="data", cut="whole", signature=signature)
        runs = model_inputs(asked, data, model, file.graph, wanted)
    else:
        runs = read_runs(data, file.graph)
    _require_different(runs)
    there = len(runs)
    order = range(there)
    if there > wanted:
        order = np.sort(np.random.default_rng(seed).choice(there, wanted, replace=False)).tolist()

    def of(numbers: Sequence[int]) -> tuple[tuple[np.ndarray, ...], ...]:
        return tuple(runs.of(numbers))

    measured, calibrating = (order[1::2], order[::2]) if holds_back else (order, order[:0])
    return ModelRuns(of(measured), of(calibrating), there, runs.source)


def _require_different(runs: Runs) -> None:
    """Raise `InputError` where all runs are one, as those of a stub or a silent recording are."""
    (first,) = runs.of([0])
    others = runs.of(range(1, len(runs)))
    if all(np.array_equal(one, other) for inputs in others for one, other in zip(first, inputs, strict=True)):
        raise InputError(
            f"{runs.source}: all its {len(runs)} runs are the same",
            hint="give what the model will see: on one run again and again nearly every form decides as the model does",
        )
