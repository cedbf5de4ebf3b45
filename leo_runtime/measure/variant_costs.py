"""What forms of a model cost on each processor, which of them a placement may need, and the workload made of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from leo_runtime.backend import Backend
from leo_runtime.backend.machine import Machine, open_backends
from leo_runtime.clock import Clock
from leo_runtime.compress.forms import INT8
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.dominance import undominated
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.model_workload import model_workload
from leo_runtime.documents.problem import Mode
from leo_runtime.documents.profile import ANY_OPERATOR, Cost, Profile
from leo_runtime.documents.workload import DEFAULT_VARIANT, Stage, TaskGraph, Variant, Workload
from leo_runtime.errors import LeoError
from leo_runtime.frame.lower import merge, price
from leo_runtime.measure import calibrate
from leo_runtime.measure.energy import whole_machine
from leo_runtime.measure.measure import QUICK, Effort
from leo_runtime.measure.model_data import ModelRuns
from leo_runtime.measure.variants import Made, Variants
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream


@dataclass(frozen=True, slots=True)
class Priced:
    """Forms with their costs."""

    profile: Profile
    modes: Mapping[tuple[int, str], tuple[Mode, ...]]
    """Of each form, by piece and name, a mode for each processor that can run it."""
    kept: frozenset[tuple[int, str]]
    """Those that a best placement within the budget may need."""
    missing: tuple[tuple[str, LeoError], ...]
    """What could not be measured, and why."""


def workload_of(
    variants: Variants, *, name: str, rate_hz: float, loss_ppm_max: int, kept: frozenset[tuple[int, str]] | None = None
) -> Workload:
    """The workload that runs the model, each of its pieces in any of its forms; None: in all that were made.

    Files are named by their paths.
    """
    workload = model_workload(
        variants.model, name=name, cut="whole" if variants.pieces == 1 else "blocks", rate_hz=rate_hz
    )
    (graph,) = workload.graphs
    stages, piece = list[Stage](), 0
    for stage in graph.stages:
        if stage.operator == "model":
            made = [one for one in variants.of(piece) if kept is None or (piece, one.name) in kept]
            forms = tuple(_variant(variants, one) for one in made)
            stage = stage.model_copy(update={"params": {}, "variants": forms})
            piece += 1
        stages.append(stage)
    changed = graph.model_copy(update={"stages": tuple(stages), "accuracy_loss_ppm_max": loss_ppm_max})
    # Built anew, so that all is checked.
    return Workload.from_dict({**workload.model_dump(mode="json", exclude_defaults=True), "graphs": [_plain(changed)]})


def _plain(graph: TaskGraph) -> dict[str, Any]:
    return graph.model_dump(mode="json", exclude_defaults=True)


def _variant(variants: Variants, made: Made) -> Variant:
    params = {**made.params, "model": str(variants.model.with_name(made.params["model"]))}
    return Variant(name=made.name, params=params, accuracy_loss_ppm=made.loss.ppm)


def measured(
    variants: Variants,
    workload: Workload,
    hardware: Hardware,
    runs: ModelRuns,
    loss_ppm_max: int,
    *,
    effort: Effort = QUICK,
    backends: Mapping[str, Backend] | None = None,
    clock: Clock | None = None,
    progress: Progress = lambda *_: None,
) -> Priced:
    """The costs of forms as they are on this machine's processors, each given the first of the runs.

    Forms that are the same layers on other constants have one time: the median of what each of them took. `backends`
    and `clock` as of `calibrate`. Raises what that raises, and `ProfileError` where a piece could be measured nowhere.
    """
    found = calibrate.calibrate(
        workload,
        hardware,
        _recording(workload, runs),
        effort=effort,
        backends=backends,
        clock=clock,
        sources=() if backends else whole_machine(),
        progress=progress,
    )
    profile = _alike(found.profile, workload, variants)
    with open_backends(hardware, backends) as machine:
        return _priced(variants, workload, hardware, profile, machine, loss_ppm_max, found.missing)


def estimated(
    variants: Variants, workload: Workload, hardware: Hardware, profile: Profile, loss_ppm_max: int
) -> Priced:
    """The costs of forms by a profile of another machine: what it has for models, and for those of int8 by the variant
    `int8`, times the work of each form.

    Raises `ProfileError` where it has nothing for a piece.
    """
    costs = [
        _for_form(entry, stage.signature(one.name), one.name)
        for number, stage in enumerate(_model_stages(workload))
        for processor in hardware.processors
        for one in variants.of(number)
        if (entry := _entry(profile, one.name, processor.name)) is not None
    ]
    extended = profile.model_copy(update={"costs": (*profile.costs, *costs)})
    with open_backends(hardware) as machine:
        return _priced(variants, workload, hardware, extended, machine, loss_ppm_max, ())


def _entry(profile: Profile, form: str, processor: str) -> Cost | None:
    """What a profile has for models of a form on a processor: for that of int8 by its name, else for any."""
    entries = {
        (one.operator, one.variant): one
        for one in profile.costs
        if (one.processor, one.signature, one.family) == (processor, None, None)
    }
    kinds = [INT8] * (INT8 in form.split("+")) + [DEFAULT_VARIANT]
    known = ((operator, kind) for kind in kinds for operator in ("model", ANY_OPERATOR))
    return next((entries[key] for key in known if key in entries), None)


def _for_form(entry: Cost, signature: str, name: str) -> Cost:
    source = f"modelled: `{entry.variant}` of `{entry.operator}`, by work ({entry.source})"
    changed = {"operator": "model", "variant": name, "signature": signature, "measurement": None, "source": source}
    return entry.model_copy(update=changed)


def _model_stages(workload: Workload) -> list[BoundStage]:
    return [stage.bound for stage in merge(workload).stages if stage.bound.operator.name == "model"]


def _priced(
    variants: Variants,
    workload: Workload,
    hardware: Hardware,
    profile: Profile,
    machine: Machine,
    loss_ppm_max: int,
    missing: Sequence[tuple[str, LeoError]],
) -> Priced:
    merged = merge(workload)
    modes = price(merged, hardware, profile, machine.supports)
    models = [modes[stage.name] for stage in merged.stages if stage.bound.operator.name == "model"]
    kept = {
        (number, mode.variant)
        for number, found in enumerate(models)
        for mode in undominated([mode for mode in found if mode.accuracy_loss_ppm <= loss_ppm_max])
    }
    by_form = {
        (one.piece, one.name): tuple(mode for mode in models[one.piece] if mode.variant == one.name)
        for one in variants.made
    }
    return Priced(profile, by_form, frozenset(kept), tuple(missing))


def _alike(profile: Profile, workload: Workload, variants: Variants) -> Profile:
    """The profile with one time for forms that are the same program, on each processor."""
    signatures = {
        (number, name): stage.signature(name)
        for number, stage in enumerate(_model_stages(workload))
        for name in stage.params
    }
    programs = {signatures[one.piece, one.name]: one.program for one in variants.made}
    groups: dict[tuple[str, int], list[int]] = {}
    for cost in profile.costs:
        if cost.signature in programs:
            groups.setdefault((cost.processor, programs[cost.signature]), []).append(cost.fixed_us)
    costs = tuple(
        cost.model_copy(update={"fixed_us": round(median(groups[cost.processor, programs[cost.signature]]))})
        if cost.signature in programs
        else cost
        for cost in profile.costs
    )
    return profile.model_copy(update={"costs": costs})


def _recording(workload: Workload, runs: ModelRuns) -> Recording:
    """The first run, twice, as streams of the workload: measuring reads the window in the middle."""
    recorded, samples = [], {}
    for number, (stream, values) in enumerate(zip(workload.streams, runs.inputs[0], strict=True)):
        recorded.append(RecordedStream.of(stream, f"{number}.npy"))
        array = values.reshape(-1, *stream.sample_shape).astype(np.float32)
        samples[stream.name] = np.concatenate([array, array])
    manifest = RecordingManifest(
        format="leo-recording/1", name="runs", licence="none", source="runs of a model", streams=tuple(recorded)
    )
    return Recording(manifest, samples)


def written_names(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A workload's document with the files of this folder by their names alone."""
    for graph in document["graphs"]:
        for stage in graph["stages"]:
            for variant in stage.get("variants", ()):
                path = Path(variant.get("params", {}).get("model", ""))
                if path.parent == folder:
                    variant["params"]["model"] = path.name
    return document
