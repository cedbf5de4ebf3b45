"""What a stage's output takes in each form in which it may be sent, and what is lost of its graph's answers by that.

Of each frame of a recording the graph is computed on the CPU as it is; then the output is packed and unpacked, and what
follows from it is computed anew. So a loss is that of the graph's own answers, the output alone being packed: what
several lose together is taken for the sum, as accuracy budgets have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import numpy as np

from leo_runtime.backend import Backend, Kernel
from leo_runtime.backend.registry import create
from leo_runtime.clock import Clock, WallClock
from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT, Packing, TaskGraph, Workload
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.frame.lower import MergedStage, MergedWorkload, merge, require_computed
from leo_runtime.frame.packing import form_as_it_is, why_not_packed
from leo_runtime.measure.model_inputs import given_to, releases_of, runs_with
from leo_runtime.measure.task_loss import Change, Loss, Task, loss_of
from leo_runtime.operators import Shape, find_operator
from leo_runtime.operators.packing import form_params
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording, check_streams

LEAST_BYTES = 1024
"""Smaller outputs are not packed unless they are named: a packet has room for them as they are."""
FEATURES = ("float16", "float16+zstd", "int8", "int8+zstd", "int8_band+zstd", "int4", "int4+zstd")
SOUND = ("pcm16+zstd", "int8", "int8+zstd", "int4+zstd")
PICTURES = ("uint8+zstd", "jpeg85", "jpeg50")
"""The forms that are tried where none is named: of windows of sound and of cameras, and of anything else."""

Values = dict[str, np.ndarray]
Place = tuple[str, str]
"""A graph, and a stage of it."""


@dataclass(frozen=True, slots=True)
class FormMeasured:
    """One form of an output."""

    form: str
    sent_bytes: int
    """In the mean over runs, rounded up."""
    most_bytes: int
    error: float
    """The greatest difference of a value."""
    loss: Loss
    """Of the graph that loses most."""
    pack_us: int
    unpack_us: int
    """Medians, on the CPU of this machine."""

    @property
    def packing(self) -> Packing:
        """As a workload states it."""
        return Packing(form=self.form, accuracy_loss_ppm=self.loss.ppm, sent_bytes=self.sent_bytes)


@dataclass(frozen=True, slots=True)
class OutputMeasured:
    """A stage's output in several forms."""

    places: tuple[Place, ...]
    """The stage, in each graph that has it and where it can be packed."""
    shape: Shape
    runs: int
    plain_bytes: int
    """What it takes where nothing packs it."""
    forms: tuple[FormMeasured, ...]

    @property
    def stage(self) -> str:
        """Its name, in the first of the graphs."""
        return self.places[0][1]


def measure_packing(
    workload: Workload,
    recording: Recording,
    *,
    stages: Sequence[str] = (),
    forms: Sequence[str] = (),
    task: Task | None = None,
    most: int = 100,
    clock: Clock | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[OutputMeasured, ...]:
    """Measure outputs of a workload in these forms, over at most so many frames of each graph, spread over a recording.

    `stages` are names, or `graph.stage`; none: all whose output is of `LEAST_BYTES` and can be packed. No `forms`:
    those of its kind. `task` says what a loss is; None: the decisions of a graph that has some, else the change of what
    it gives.

    Raises `InputError` for a stage that is not there or cannot be packed, or of which no frame is left; `GraphError`
    for a form that there is not, or that cannot hold the output, `MissingExtraError`, `RecordingError`, and what a
    kernel raises.
    """
    check_streams(workload, recording)
    merged = merge(unpacked_workload(workload))
    require_computed(merged)
    found = list[OutputMeasured]()
    backend = create(Processor(name="cpu", backend="cpu"))
    try:
        frames = {
            graph.name: _Frames(graph, merged.workload, recording, backend, most) for graph in merged.workload.graphs
        }
        wanted = _wanted(merged, frames, stages)
        for done, places in enumerate(wanted):
            progress(places[0][1], done, len(wanted))
            measured = _Output(places, frames, backend, task, clock or WallClock()).measured(forms)
            if measured is not None:
                found.append(measured)
            elif stages:
                raise InputError(
                    f"stage `{places[0][1]}` runs in no frame of recording `{recording.manifest.name}`",
                    hint="its gate is closed throughout: take a recording in which there is something to be heard",
                )
    finally:
        backend.close()
    return tuple(found)


def worth_placing(output: OutputMeasured, loss_ppm_max: int) -> tuple[FormMeasured, ...]:
    """The forms that a best placement within the budget may need: smaller than as it is, and no other of them is as
    small, as good and as fast on either side."""
    left = [one for one in output.forms if one.loss.ppm <= loss_ppm_max and one.sent_bytes < output.plain_bytes]

    def felt(one: FormMeasured) -> tuple[int, ...]:
        return one.sent_bytes, one.loss.ppm, one.pack_us, one.unpack_us

    return tuple(
        one
        for number, one in enumerate(left)
        if not any(
            all(a <= b for a, b in zip(felt(other), felt(one), strict=True))
            and (felt(other) != felt(one) or place < number)
            for place, other in enumerate(left)
            if place != number
        )
    )


def with_packs(
    workload: Workload, packs: Mapping[Place, Sequence[Packing]], loss_ppm_max: int | None = None
) -> Workload:
    """The workload whose stages may be packed in these forms; a graph of them that has no accuracy budget gets this."""

    def changed(graph: TaskGraph) -> TaskGraph:
        own = {stage: tuple(forms) for (name, stage), forms in packs.items() if name == graph.name and forms}
        if not own:
            return graph
        stages = tuple(stage.model_copy(update={"pack": own.get(stage.name, stage.pack)}) for stage in graph.stages)
        budget = loss_ppm_max if graph.accuracy_loss_ppm_max is None else graph.accuracy_loss_ppm_max
        return graph.model_copy(update={"stages": stages, "accuracy_loss_ppm_max": budget})

    return workload.with_graphs(*map(changed, workload.graphs))


def unpacked_workload(workload: Workload) -> Workload:
    """The workload without what it says of packing."""

    def plain(graph: TaskGraph) -> TaskGraph:
        stages = tuple(stage.model_copy(update={"pack": ()}) for stage in graph.stages)
        return graph.model_copy(update={"stages": stages})

    return workload.model_copy(update={"graphs": tuple(map(plain, workload.graphs))})


def forms_for(bound: BoundStage, backend: Backend) -> tuple[str, ...]:
    """The forms that are tried of an output where none is named: with zlib where nothing brings zstd, without JPEG."""
    named = {"pcm16": SOUND, "uint8": PICTURES}.get(form_as_it_is(bound), FEATURES)

    def can(form: str) -> bool:
        return backend.supports(_pack_stage(bound.output_shape, form), DEFAULT_VARIANT)

    forms = [form if can(form) else form.replace("+zstd", "+zlib") for form in named]
    return tuple(form for form in forms if can(form))


class _Frames:
    """What the stages of a graph give, frame by frame, each stage in its first variant."""

    def __init__(self, graph: TaskGraph, workload: Workload, recording: Recording, backend: Backend, most: int) -> None:
        self.graph = graph
        self.merged: MergedWorkload = merge(workload.model_copy(update={"graphs": (graph,)}))
        self.bound = bind(graph, workload)
        self._recording, self._backend, self._most = recording, backend, most
        self._kernels: dict[str, Kernel] = {}
        self._frames: list[Values] | None = None

    def all(self) -> list[Values]:
        """By frame what each stage gave that ran."""
        if self._frames is None:
            releases = releases_of(self.graph, self.merged.stages, self._recording, self._most)
            self._frames = [self._computed({}, end_us) for end_us in releases]
        return self._frames

    def with_other(self, frame: Values, stage: str, value: np.ndarray) -> Values:
        """A frame in which what reads a stage is given another value of it."""
        behind = {stage}
        for one in self.merged.stages:
            if behind.intersection((*one.inputs, *one.gates(one.graphs))) and one.name != stage:
                behind.add(one.name)
        kept = {name: known for name, known in frame.items() if name not in behind}
        return self._computed({**kept, stage: value}, None)

    def _computed(self, values: Values, end_us: int | None) -> Values:
        values = dict(values)
        for one in self.merged.stages:
            if one.name in values:
                continue
            if one.bound.operator.is_source:
                if end_us is not None:
                    params = next(iter(one.bound.params.values()))
                    samples = self._recording.window(params.stream, end_us, params.samples)
                    values[one.name] = np.asarray(self._kernel(one)([samples]))
            elif runs_with(one, values):
                values[one.name] = _value(self._kernel(one)(given_to(one, self.merged, values)))
        return values

    def _kernel(self, stage: MergedStage) -> Kernel:
        if stage.name not in self._kernels:
            self._kernels[stage.name] = self._backend.load(stage.bound, next(iter(stage.bound.params)))
        return self._kernels[stage.name]


def _value(given: Any) -> np.ndarray:
    from leo_runtime.operators.outputs import as_value

    return as_value(given)


class _Output:
    """A stage's output, of all graphs that have it."""

    def __init__(
        self,
        places: tuple[Place, ...],
        frames: Mapping[str, _Frames],
        backend: Backend,
        task: Task | None,
        clock: Clock,
    ) -> None:
        self._places, self._frames, self._backend, self._task, self._clock = places, frames, backend, task, clock
        graph, stage = places[0]
        self._bound = frames[graph].bound[stage]

    def measured(self, forms: Sequence[str]) -> OutputMeasured | None:
        """None where it never runs."""
        places = {(graph, self._frames[graph].merged.names[graph, stage]): graph for graph, stage in self._places}
        ran = {
            place: [frame for frame in self._frames[graph].all() if place[1] in frame]
            for place, graph in places.items()
        }
        ran = {place: frames for place, frames in ran.items() if frames}
        if not ran:
            return None
        as_it_is = form_as_it_is(self._bound)
        names = dict.fromkeys((as_it_is, *(forms or forms_for(self._bound, self._backend))))
        found = [self._form(name, ran) for name in names]
        runs = sum(map(len, ran.values()))
        return OutputMeasured(self._places, self._bound.output_shape, runs, self._bound.output_bytes(), tuple(found))

    def _form(self, form: str, ran: Mapping[Place, Sequence[Values]]) -> FormMeasured:
        pack = self._kernel(_pack_stage(self._bound.output_shape, form))
        unpack = self._kernel(_unpack_stage(self._bound.output_shape, form))
        sizes, pack_us, unpack_us, errors = list[int](), list[int](), list[int](), list[float]()
        losses = list[Loss]()
        for (graph, stage), frames in ran.items():
            changed = list[Values]()
            for frame in frames:
                value = frame[stage]
                packed, took_us = self._timed(pack, value)
                found, back_us = self._timed(unpack, packed)
                sizes.append(packed.nbytes)
                pack_us.append(took_us)
                unpack_us.append(back_us)
                with np.errstate(invalid="ignore"):
                    errors.append(float(np.nan_to_num(np.abs(found.astype(np.float64) - value)).max(initial=0)))
                changed.append(self._frames[graph].with_other(frame, stage, found))
            losses.append(_loss(self._frames[graph].graph, frames, changed, self._task))
        return FormMeasured(
            form,
            int(np.ceil(mean(sizes))),
            max(sizes),
            max(errors),
            max(losses, key=lambda loss: loss.ppm),
            round(median(pack_us)),
            round(median(unpack_us)),
        )

    def _timed(self, kernel: Kernel, array: np.ndarray) -> tuple[np.ndarray, int]:
        began_us = self._clock.now_us()
        given = kernel([array])
        return np.asarray(given), self._clock.now_us() - began_us

    def _kernel(self, stage: BoundStage) -> Kernel:
        return self._backend.load(stage, DEFAULT_VARIANT)


def _pack_stage(shape: Shape, form: str) -> BoundStage:
    return _stage("pack", shape, form_params(form))


def _unpack_stage(shape: Shape, form: str) -> BoundStage:
    packed = _pack_stage(shape, form)
    reads = ("none", form_params(form).get("compress", "none"))
    return _stage("unpack", packed.output_shape, {"shape": shape, "reads": reads})


def _stage(name: str, shape: Shape, params: dict[str, Any]) -> BoundStage:
    """A stage by itself. Raises `GraphError` where it cannot have such an input."""
    operator = find_operator(name)
    checked = operator.parameters.model_validate(params)
    return BoundStage(
        name,
        operator,
        {DEFAULT_VARIANT: checked},
        (shape,),
        operator.output_shape(checked, (shape,)),
        {DEFAULT_VARIANT: 0},
        several=() if operator.outputs is None else operator.outputs(checked, (shape,)),
        takes=() if operator.takes is None else operator.takes(checked),
    )


def _loss(graph: TaskGraph, frames: Sequence[Values], changed: Sequence[Values], task: Task | None) -> Loss:
    """What a graph's answers lose. An answer that is missing, as a gate is closed, is zeros, and another decision."""
    names = graph.outputs() if graph.decision is None else (graph.decision.stage,)
    pairs = [
        [_both(own.get(name), other.get(name)) for name in names] for own, other in zip(frames, changed, strict=True)
    ]
    expected = [[own for own, _ in pair] for pair in pairs]
    found = [[other for _, other in pair] for pair in pairs]
    if task is not None or graph.decision is None:
        return loss_of(task or Task(), expected, found)
    change = Change()
    for (own,), (other,) in zip(expected, found, strict=True):
        change.add(own, other)
    (name,) = names
    labels = [
        (_label(graph, one.get(name)), _label(graph, two.get(name))) for one, two in zip(frames, changed, strict=True)
    ]
    return Loss(len(pairs), change.part, sum(own != other for own, other in labels), None, None)


def _both(own: np.ndarray | None, other: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    there = own if own is not None else other
    if there is None:
        return np.zeros(1, np.float32), np.zeros(1, np.float32)
    zeros = np.zeros_like(there)
    return (zeros if own is None else own), (zeros if other is None else other)


def _label(graph: TaskGraph, value: np.ndarray | None) -> str | None:
    """What a graph decides; None: nothing is found, or it did not run."""
    decision = graph.decision
    assert decision is not None
    if value is None or not np.isfinite(value).all() or value.max() < decision.threshold:
        return None
    label = decision.labels[int(value.argmax())]
    return None if label == decision.background else label


def _wanted(merged: MergedWorkload, frames: Mapping[str, _Frames], stages: Sequence[str]) -> list[tuple[Place, ...]]:
    """The outputs to measure, each with all its places. Raises `InputError`."""
    places: dict[str, list[Place]] = {}
    reasons: dict[Place, str] = {}
    for (graph, stage), name in merged.names.items():
        own = frames[graph].graph
        if stage not in {one.name for one in own.stages}:
            continue  # A part of a stage that is cut, which is packed as a whole.
        why = why_not_packed(own.stage(stage), own, frames[graph].bound)
        if why:
            reasons[graph, stage] = why
        else:
            places.setdefault(name, []).append((graph, stage))
    if not stages:
        return [
            tuple(there)
            for there in places.values()
            if frames[there[0][0]].bound[there[0][1]].output_bytes() >= LEAST_BYTES
        ]
    return [tuple(there) for there in (_named(one, places, reasons) for one in stages)]


def _named(name: str, places: Mapping[str, Sequence[Place]], reasons: Mapping[Place, str]) -> Sequence[Place]:
    for there in places.values():
        if any(name in (stage, f"{graph}.{stage}") for graph, stage in there):
            return there
    for (graph, stage), why in reasons.items():
        if name in (stage, f"{graph}.{stage}"):
            raise InputError(f"stage `{stage}` of graph `{graph}` cannot be packed: {why}")
    known = dict.fromkeys(stage for there in places.values() for _, stage in there)
    raise InputError(f"no stage is called `{name}`", hint=did_you_mean(name, known, "these can be packed:"))
