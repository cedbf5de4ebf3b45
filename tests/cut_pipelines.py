"""Real pipelines in pieces: what each takes on this machine, what it gives, and what is lost where that is sent in
fewer bits.

Of the demo: what is said (three mixtures beside each other), who speaks, what is to be heard, each without its gates,
since what a gate closes is sent nowhere; and the mesh of a face, block by block. Each is given what the recordings that
ship give it. From times, sizes and losses come documents of stages that only cost, for a phone that is some times
slower than this machine and a server that is this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import thread_time_ns
from typing import Any

import numpy as np

from leo_backends.packing import pack, unpack
from leo_runtime import demo, shipped
from leo_runtime.backend import Backend, Kernel, registry
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.profile import Cost, Profile
from leo_runtime.documents.workload import DEFAULT_VARIANT, Stage, TaskGraph, Variant, Workload
from leo_runtime.frame.lower import merge
from leo_runtime.importers.model_file import ends_of, open_model
from leo_runtime.measure.model_data import model_runs
from leo_runtime.measure.task_loss import Task, loss_of
from leo_runtime.measure.variants import bound_stage
from leo_runtime.operators.outputs import arrays_of, as_value
from leo_runtime.operators.packing import PackParameters, UnpackParameters, form_params

Arrays = Sequence[np.ndarray]
Run = Callable[[Arrays], Arrays]
SOUNDS = {"speech": "spoken", "speaker": "who", "scene": "heard"}
"""Pipelines of the demo, each with the stage that decides."""
MESH = "mesh"
PHONE = "cpu"


@dataclass(frozen=True, slots=True)
class Form:
    """What an output is sent as."""

    name: str
    bytes: int
    pack_us: int = 0
    """For packing and unpacking, on this machine."""
    loss_ppm: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a pipeline. The first is what the sensor gives, which is there."""

    name: str
    inputs: tuple[str, ...]
    took_us: int
    forms: tuple[Form, ...]
    """As it is first."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline in pieces, inputs before their readers; the last one answers."""

    name: str
    pieces: tuple[Piece, ...]
    runs: int
    """That losses were measured on."""


def measured(name: str, *, most: int = 24, rounds: int = 20) -> Pipeline:
    """A pipeline by its name, measured now: of each piece the least of so many timings, so that other work counts
    little."""
    with closing(registry.create(Processor(name=PHONE, backend="cpu"))) as backend:
        given, steps, task = _mesh(backend) if name == MESH else _sound(backend, name)
        every = given[:: max(1, len(given) // most)][:most]
        took_us = _timed(steps, every[0], rounds)
        return Pipeline(name, tuple(_pieces(steps, every, task, took_us)), len(every))


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    inputs: tuple[str, ...]
    run: Run


def _ran(kernel: Kernel, inputs: Arrays) -> Arrays:
    return arrays_of(kernel(list(inputs)))


def _sound(backend: Backend, name: str) -> tuple[list[Arrays], list[_Step], Task]:
    """A pipeline of the demo, on its recording."""
    merged, recording = merge(shipped.workload()), shipped.recording("demo")
    wanted = {SOUNDS[name]}
    for stage in reversed(merged.stages):
        if stage.name in wanted:
            wanted.update(stage.inputs)
    (source,) = (one for one in merged.stages if one.name in wanted and one.bound.operator.is_source)
    params = next(iter(source.bound.params.values()))
    given: list[Arrays] = [
        (recording.window(params.stream, end_us, params.samples),)
        for end_us in range(2_000_000, recording.duration_us + 1, 1_000_000)
    ]
    steps = [_Step(source.name, (), lambda inputs: inputs)]
    for stage in merged.stages:
        if stage.name in wanted and stage is not source:
            kernel = backend.load(stage.bound, DEFAULT_VARIANT)
            steps.append(_Step(stage.name, stage.inputs, partial(_ran, kernel)))
    return given, steps, Task("argmax")


def _mesh(backend: Backend) -> tuple[list[Arrays], list[_Step], Task]:
    """The mesh of a face, on crops of the shipped camera's frames in eight bits a channel."""
    path = Path(demo.__file__).parent / "models" / "face_landmark.tflite"
    runs = model_runs(shipped.recording("camera"), path, workload=shipped.workload("faces"))
    given: list[Arrays] = [(np.rint(255 * inputs[0]).astype(np.uint8),) for inputs in runs.inputs]
    steps = [_Step("face", (), lambda inputs: inputs)]
    for number in range(len(ends_of(open_model(path), "blocks"))):
        kernel = backend.load(bound_stage("block", {"model": str(path), "first": number}), DEFAULT_VARIANT)

        def run(inputs: Arrays, kernel: Any = kernel, first: bool = not number) -> Arrays:
            own = [inputs[0].astype(np.float32) / 255] if first else list(inputs)
            return arrays_of(as_value(kernel(own)))

        steps.append(_Step(f"block {number:02}", (steps[-1].name,), run))
    return given, steps, Task("points", 3, 0)


def _through(steps: Sequence[_Step], values: dict[str, Arrays]) -> dict[str, Arrays]:
    """The values of all steps, of which some are there."""
    found = dict(values)
    for step in steps:
        if step.name not in found:
            found[step.name] = step.run([one for name in step.inputs for one in found[name]])
    return found


def _timed(steps: Sequence[_Step], given: Arrays, rounds: int) -> dict[str, int]:
    values = _through(steps, {steps[0].name: given})
    took: dict[str, list[int]] = {step.name: [] for step in steps}
    for _ in range(rounds):
        for step in steps[1:]:
            inputs = [one for name in step.inputs for one in values[name]]
            began_ns = thread_time_ns()
            step.run(inputs)
            took[step.name].append(thread_time_ns() - began_ns)
    return {name: max(1, min(each, default=0) // 1000) for name, each in took.items()}


def _pieces(steps: Sequence[_Step], given: Sequence[Arrays], task: Task, took_us: Mapping[str, int]) -> list[Piece]:
    source, answer = steps[0].name, steps[-1].name
    runs = [_through(steps, {source: one}) for one in given]
    expected = [values[answer] for values in runs]
    found = []
    for at, step in enumerate(steps):
        forms = [Form("as it is", _bytes_of(runs[0][step.name]))]
        for name in _FORMS[str(runs[0][step.name][0].dtype)] if step.name != answer else ():
            sent = [_sent(name, values[step.name]) for values in runs]
            if max(packed.bytes for packed in sent) >= forms[0].bytes:
                continue
            after = [
                _through(steps, {one: values[one] for one in _before(steps, at)} | {step.name: packed.arrays})
                for values, packed in zip(runs, sent, strict=True)
            ]
            loss = loss_of(task, expected, [values[answer] for values in after])
            pack_us = round(min(packed.took_us for packed in sent))
            forms.append(Form(name, max(packed.bytes for packed in sent), pack_us, loss.ppm))
        found.append(Piece(step.name, step.inputs, took_us[step.name], tuple(forms)))
    return found


def _before(steps: Sequence[_Step], at: int) -> list[str]:
    """The steps that do not read the one at hand, directly or not, and itself not either."""
    behind = {steps[at].name}
    for step in steps[at + 1 :]:
        if behind.intersection(step.inputs):
            behind.add(step.name)
    return [step.name for step in steps if step.name not in behind]


_FORMS = {
    "float32": ("float16", "int8", "int8+zstd", "int4", "int4+zstd"),
    "int16": ("pcm16+zstd", "int8", "int8+zstd", "int4"),
    "uint8": ("uint8+zstd", "jpeg85"),
}
"""By the type of what is sent, what is tried beside it as it is."""


@dataclass(frozen=True, slots=True)
class _Sent:
    arrays: Arrays
    bytes: int
    took_us: float


def _sent(form: str, arrays: Arrays) -> _Sent:
    """What comes out of what was packed by the programs of `pack` and `unpack`, how large that was, and how long both
    took."""
    back, size, took_ns = [], 0, 0
    for array in arrays:
        params = PackParameters.model_validate(form_params(form))
        values = np.ascontiguousarray(array, np.float32) / (32768 if array.dtype == np.int16 else 1)
        shape = values.shape[1:] if values.ndim == 4 and len(values) == 1 else values.shape  # An image is no batch.
        packing = pack(params, (shape,))
        unpacking = unpack(UnpackParameters(shape=shape, reads=("none", "zlib", "zstd", "jpeg")), ())
        began_ns = thread_time_ns()
        packed = packing([values.reshape(shape)])
        found = unpacking([packed])
        took_ns += thread_time_ns() - began_ns
        size += len(packed)
        values = found.reshape(array.shape)
        if array.dtype == np.int16:
            values = np.clip(np.rint(32768 * values), -32768, 32767)
        back.append(values.astype(array.dtype))
    return _Sent(back, size, took_ns / 1000)


def _bytes_of(arrays: Arrays) -> int:
    return sum(one.nbytes for one in arrays)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is made of a pipeline."""

    slower: int = 25
    """How many times slower the phone is than this machine."""
    server: str = "cloud-wifi"
    bits: bool = False
    """Whether outputs may be packed."""
    loss_ppm_max: int = 0
    period_us: int = 10_000_000


def workload_of(pipelines: Sequence[Pipeline], wanted: Wanted) -> Workload:
    """A graph for each pipeline, of stages that only cost. The answer is wanted on the phone."""
    graphs = []
    for pipeline in pipelines:
        stages = [_stage(pipeline, piece, wanted) for piece in pipeline.pieces]
        last = Stage(
            name=_name(pipeline, "answer"),
            operator="cost",
            inputs=(stages[-1].name,),
            params={"output_bytes": 1},
        )
        graphs.append(
            TaskGraph(
                name=pipeline.name,
                period_us=wanted.period_us,
                deadline_us=wanted.period_us,
                stages=(*stages, last),
                accuracy_loss_ppm_max=wanted.loss_ppm_max if wanted.bits else None,
            )
        )
    return Workload(format="leo-workload/1", name="cuts", graphs=tuple(graphs))


def profile_of(pipelines: Sequence[Pipeline], wanted: Wanted, hardware: Hardware) -> Profile:
    """What stages cost: as measured on the server, so many times that on the phone."""
    costs = []
    for pipeline in pipelines:
        source = pipeline.pieces[0].name
        for piece in pipeline.pieces:
            name = _name(pipeline, piece.name)
            for form in _forms(pipeline, piece, wanted):
                took_us = wanted.slower * (piece.took_us + form.pack_us)
                told = f"modelled: {wanted.slower} times what was measured"
                costs.append(_cost(name, PHONE, form, took_us, told))
            if piece.name != source:
                costs.append(_cost(name, wanted.server, piece.forms[0], piece.took_us, "measured"))
        costs.append(_cost(_name(pipeline, "answer"), PHONE, Form("as it is", 1), 1, "modelled: it is there"))
    return Profile(format="leo-profile/1", name="cuts", hardware=hardware.name, costs=tuple(costs))


def machine(server: str = "cloud-wifi") -> Hardware:
    """The CPU of a phone of 2013 and one server, over one radio, of the machine that ships."""
    whole = shipped.hardware("nexus-5")
    links = tuple(link for link in whole.links if {link.source, link.target} == {PHONE, server})
    return whole.model_copy(
        update={
            "processors": tuple(one for one in whole.processors if one.name in (PHONE, server)),
            "radios": tuple(one for one in whole.radios if one.name == links[0].radio),
            "links": links,
        }
    )


def _name(pipeline: Pipeline, piece: str) -> str:
    return f"{pipeline.name} {piece}"


def _forms(pipeline: Pipeline, piece: Piece, wanted: Wanted) -> tuple[Form, ...]:
    """What it may be sent as. What comes back from the server is as it is: it is a few bytes."""
    return piece.forms if wanted.bits and piece is not pipeline.pieces[-1] else piece.forms[:1]


def _stage(pipeline: Pipeline, piece: Piece, wanted: Wanted) -> Stage:
    forms = _forms(pipeline, piece, wanted)
    variants = tuple(
        Variant.model_validate(
            {"name": _variant(form), "accuracy_loss_ppm": form.loss_ppm}
            | ({"sent_bytes": form.bytes} if len(forms) > 1 else {})
        )
        for form in forms
    )
    return Stage(
        name=_name(pipeline, piece.name),
        operator="cost",
        inputs=tuple(_name(pipeline, one) for one in piece.inputs),
        params={"output_bytes": piece.forms[0].bytes},
        variants=variants,
    )


def _variant(form: Form) -> str:
    return DEFAULT_VARIANT if form.name == "as it is" else form.name


def _cost(stage: str, processor: str, form: Form, took_us: int, source: str) -> Cost:
    return Cost(stage=stage, processor=processor, variant=_variant(form), fixed_us=took_us, source=source)
