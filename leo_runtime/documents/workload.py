"""What to compute: task graphs of stages over sensor streams, and the workload of graphs that are placed together.

The document is `leo-workload/1`, written as a TOML or JSON file, or built in Python (`documents.graph_builder`); both
give equal values. What a graph means, `documents.binding` settles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from leo_runtime.documents.problem import Criterion
from leo_runtime.documents.trigger import Trigger
from leo_runtime.errors import GraphError, did_you_mean
from leo_runtime.operators import DataType, Operator, Shape, beside, find_operator, refresh
from leo_runtime.schema import (
    Document,
    Finite,
    Name,
    Plain,
    Positive,
    Quantity,
    Rate,
    Value,
    document_error,
    find_cycle,
    reject,
    require_rate,
    unique,
)

DEFAULT_VARIANT = "default"


class Variant(Value):
    """One implementation of a stage: parameters that differ from the stage's, and what it loses in accuracy."""

    name: Name
    params: Plain = Field(default_factory=dict)
    accuracy_loss_ppm: Quantity = 0
    sent_bytes: Positive | None = None
    """Of a stage that packs: how many bytes of its output are sent, as measured; None: as many as its form takes at the
    most."""


# Not checked: that would have pydantic build the model as it is imported.
DEFAULT_VARIANTS = (Variant.model_construct(name=DEFAULT_VARIANT),)


class Packing(Value):
    """One form in which a stage's output may be sent, and what it takes and loses, as measured."""

    form: Name
    """By its name (`operators.packing.form_params`), such as `int8+zstd`."""
    accuracy_loss_ppm: Quantity = 0
    sent_bytes: Positive | None = None
    """None: as many as it takes at the most."""


class Stage(Value):
    """One operator in a task graph."""

    name: Name
    operator: Name
    inputs: tuple[Name, ...] = ()
    params: Plain = Field(default_factory=dict)
    gate: Name | None = None
    """The stage whose output decides whether this one runs, and with it all that reads it."""
    chance_ppm: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Of a gate: how often it opens. It is drawn from the run's seed where nothing computes it; None: it then opens."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)] = DEFAULT_VARIANTS
    parts: Positive = 1
    """Cut into so many parts, each placed by itself; `name` is then where they are put together again."""
    pack: tuple[Packing, ...] = ()
    """The forms in which its output may go to those that read it: they read it from stages `name.packed` and
    `name.unpacked`, which are placed like any other."""


class Decision(Value):
    """How an output is read: the label of its greatest entry, where that is at least `threshold`."""

    stage: Name
    labels: Annotated[tuple[Name, ...], Field(min_length=1)]
    threshold: Finite = 0.5
    background: Name | None = None
    """The label that means nothing was detected."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique(list(self.labels), "$.labels[{}]", "label")
        if self.background is not None and self.background not in self.labels:
            reject(
                f'no label is called "{self.background}", there are {", ".join(self.labels)}',
                "$.background",
                self.background,
            )
        return self


class TaskGraph(Value):
    """One sensing pipeline: stages, how often it runs, and by when it must have answered."""

    name: Name
    period_us: Positive = 0  # Where it stays 0, the graph is refused below.
    """How often it runs; of one with a `rate_hz`, about: that rounded."""
    rate_hz: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How often a second it runs, in place of `period_us`: each release is rounded to a microsecond by itself, so that
    rates meet where they should."""
    offset_us: Quantity = 0
    trigger: Trigger = Field(default_factory=Trigger)
    """What replays and studies trigger it by besides its period, such as jitter."""
    deadline_us: Positive
    """Each output is due so long after the frame's release."""
    weight: Positive = 1
    """What a microsecond of tardiness weighs against other graphs'."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    decision: Decision | None = None
    exits: tuple[Name, ...] = ()
    """Stages that answer in place of what comes after them, where that has nothing to do, fails, or is not there by the
    deadline: the last of these that is. What has not come by then is given up."""
    accuracy_loss_ppm_max: Quantity | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rate_hz is not None and not self.period_us:
            object.__setattr__(self, "period_us", _rounded(1_000_000, self.rate_hz))
        if not self.period_us:
            reject('the key "period_us" is missing, or "rate_hz" in its place', "$.period_us", None)
        if self.rate_hz is not None and self.period_us != _rounded(1_000_000, self.rate_hz):
            says = f"rate_hz {self.rate_hz} is not a period of {self.period_us} us"
            reject(f"{says}: a graph has one of them", "$.period_us", self.period_us)
        # Of a rate that is rounded some periods are a microsecond shorter than others.
        least_us = self.period_us if self.rate_hz is None else 1_000_000 // self.rate_hz
        if self.trigger.jitter_us >= least_us:
            says = f"a jitter of {self.trigger.jitter_us} us is not less than a period of {least_us} us"
            reject(says, "$.trigger.jitter_us", self.trigger.jitter_us)
        unique([stage.name for stage in self.stages], "$.stages[{}].name")
        names = [stage.name for stage in self.stages]
        for s, stage in enumerate(self.stages):
            unique([variant.name for variant in stage.variants], f"$.stages[{s}].variants[{{}}].name")
            unique([packing.form for packing in stage.pack], f"$.stages[{s}].pack[{{}}].form", "form")
            for i, name in enumerate(stage.inputs):
                if name not in names:
                    says = f'no stage of graph "{self.name}" is called "{name}"'
                    reject(says, f"$.stages[{s}].inputs[{i}]", name, hint=did_you_mean(name, names))
            if stage.gate is not None and stage.gate not in names:
                says = f'no stage of graph "{self.name}" is called "{stage.gate}"'
                reject(says, f"$.stages[{s}].gate", stage.gate, hint=did_you_mean(stage.gate, names))
        waits = {s.name: [*s.inputs, *([s.gate] if s.gate else [])] for s in self.stages}
        if cycle := find_cycle(waits):
            where = f"$.stages[{names.index(cycle[0])}].inputs"
            reject(f"the stages wait for each other: {' <- '.join([*cycle, cycle[0]])}", where, cycle[0])
        if self.decision is not None and self.decision.stage not in names:
            says = f'no stage of graph "{self.name}" is called "{self.decision.stage}"'
            reject(says, "$.decision.stage", "", hint=did_you_mean(self.decision.stage, names))
        unique(list(self.exits), "$.exits[{}]")
        for e, name in enumerate(self.exits):
            if name not in names:
                says = f'no stage of graph "{self.name}" is called "{name}"'
                reject(says, f"$.exits[{e}]", name, hint=did_you_mean(name, names))
            if name in self.outputs():
                reject(f'nothing comes after stage "{name}", which is due anyway', f"$.exits[{e}]", name)
        return self

    @property
    def timing(self) -> tuple[int, int, int | None]:
        """What graphs that always run at the same times have in common."""
        exact = self.rate_hz is None or 1_000_000 % self.rate_hz == 0
        return self.period_us, self.offset_us, None if exact else self.rate_hz

    def release_us(self, number: int) -> int:
        """When it runs for the time of that number, from 0."""
        if self.rate_hz is None:
            return self.offset_us + number * self.period_us
        return self.offset_us + _rounded(number * 1_000_000, self.rate_hz)

    def releases_us(self, until_us: int, seed: int = 0) -> Iterator[int]:
        """Whenever it runs, up to and at that time; what its trigger draws goes by the seed."""
        periodic_us: Iterator[int]
        if self.rate_hz is None:
            periodic_us = iter(range(self.offset_us, until_us + 1, self.period_us))
        else:
            periodic_us = takewhile(lambda at_us: at_us <= until_us, map(self.release_us, count()))
        if not self.trigger.is_drawn:
            return periodic_us
        return self.trigger.releases_us(self.name, periodic_us, until_us, seed)

    def next_release_us(self, at_us: int) -> int:
        """When it runs next by its period, at that time or after it."""
        since_us = at_us - self.offset_us
        if self.rate_hz is None:
            number = -(-since_us // self.period_us)
        else:
            number = -(-(2 * since_us - 1) * self.rate_hz // 2_000_000)
        return self.release_us(max(0, number))

    def runs_at(self, at_us: int) -> bool:
        """Whether its period and offset make it run at that time."""
        if self.rate_hz is None:
            since_us = at_us - self.offset_us
            return since_us >= 0 and since_us % self.period_us == 0
        return self.next_release_us(at_us) == at_us

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises `KeyError`."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def outputs(self) -> tuple[str, ...]:
        """The stages that nothing reads and that gate nothing, in the order they are written: what is due."""
        read = {name for stage in self.stages for name in (*stage.inputs, stage.gate)}
        return tuple(stage.name for stage in self.stages if stage.name not in read)


def _rounded(number: int, by: int) -> int:
    """number / by, rounded half up."""
    return (2 * number + by) // (2 * by)


class Stream(Value):
    """What a sensor gives: `channels` values `rate_hz` times a second; of a camera, so many for every pixel."""

    name: Name
    kind: Literal["audio", "motion", "camera", "other", "events"] = "other"
    """`events`: what comes when it comes. A window of them has one column more, behind the channels: their ages in
    seconds, -1 where there was none yet."""
    rate_hz: Rate = 0
    """0, and left out, of `events` alone."""
    channels: Positive = 1
    height_px: Positive | None = None
    """Of a camera, and of nothing else: the rows of a frame."""
    width_px: Positive | None = None
    """Of a camera, and of nothing else: the columns of a frame."""
    on: Name | None = None
    """The processor whose sensor it is, where alone its windows are taken; None: every one that is not `remote`."""
    data_type: DataType | None = None
    """What each value is on a link and in a processor's memory; None: int16 of audio, uint8 of a camera, float32 of
    anything else."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sizes = [size for size in (self.height_px, self.width_px) if size is not None]
        if len(sizes) != (2 if self.kind == "camera" else 0):
            reject("a camera has `height_px` and `width_px`, and nothing else has them", "$.kind", self.kind)
        require_rate(self.kind, self.rate_hz)
        return self

    def item_type(self) -> DataType:
        """What each value is where it is sent or held."""
        own: dict[str, DataType] = {"audio": "int16", "camera": "uint8"}
        return self.data_type or own.get(self.kind, "float32")

    @property
    def sample_shape(self) -> Shape:
        """Of one sample: () of one channel, (channels,) of more, (height, width, channels) of a camera.

        Of events (channels + 1,).
        """
        if self.kind == "events":
            return (self.channels + 1,)
        if self.height_px is not None and self.width_px is not None:
            return (self.height_px, self.width_px, self.channels)
        return () if self.channels == 1 else (self.channels,)


class Workload(Document):
    """The graphs that are placed together, and the streams they read."""

    format: Literal["leo-workload/1"]
    name: Name
    streams: tuple[Stream, ...] = ()
    """None where no stage reads any."""
    graphs: Annotated[tuple[TaskGraph, ...], Field(min_length=1)]
    objective: Annotated[tuple[Criterion, ...], Field(min_length=1)] = ("tardiness", "energy")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique([stream.name for stream in self.streams], "$.streams[{}].name")
        unique([graph.name for graph in self.graphs], "$.graphs[{}].name")
        unique(list(self.objective), "$.objective[{}]", "criterion")
        return self

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a file; what it names is found beside it (`with_files_in`). Raises `DocumentError`, `GraphError`."""
        return super().from_file(path).with_files_in(Path(path).parent)

    def with_files_in(self, folder: Path) -> Self:
        """The same workload with every relative file among its parameters taken as relative to `folder`.

        An operator whose module lies in the folder is that one, whatever else is installed under its name. One that
        was edited since it was imported is imported anew; those of before are then used where they are in use.
        """

        def placed(graph: TaskGraph, stage: Stage) -> Stage:
            stage = stage.model_copy(update={"operator": beside(folder, stage.operator)})
            files = file_parameters(operator_of(graph, stage))
            return stage.model_copy(
                update={
                    "params": _resolve(stage.params, files, folder),
                    "variants": tuple(
                        variant.model_copy(update={"params": _resolve(variant.params, files, folder)})
                        for variant in stage.variants
                    ),
                }
            )

        refresh(beside(folder, stage.operator) for graph in self.graphs for stage in graph.stages)
        graphs = tuple(g.model_copy(update={"stages": tuple(placed(g, s) for s in g.stages)}) for g in self.graphs)
        return self.model_copy(update={"graphs": graphs})

    def with_graphs(self, *graphs: TaskGraph, streams: Sequence[Stream] = ()) -> Self:
        """The same workload with these graphs, and streams: in the place of those of the same names, or behind them.

        Raises `GraphError` where two of them have one name.
        """
        return self._changed(streams=_placed(self.streams, streams), graphs=_placed(self.graphs, graphs))

    def without(self, *names: str) -> Self:
        """The same workload without the graphs of these names.

        Raises `GraphError` where one is not there, or none would be left.
        """
        known = [graph.name for graph in self.graphs]
        for name in names:
            if name not in known:
                raise GraphError(
                    f"no graph of workload `{self.name}` is called `{name}`", hint=did_you_mean(name, known, "it has")
                )
        return self._changed(graphs=tuple(graph for graph in self.graphs if graph.name not in names))

    def _changed(self, **fields: Any) -> Self:
        try:
            return type(self).model_validate({**dict(self), **fields})
        except ValidationError as error:
            told = document_error(f"workload `{self.name}`", error, type(self))
            raise GraphError(str(told), hint=told.hint) from None

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises `GraphError`."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise GraphError(
            f"no stream of workload `{self.name}` is called `{name}`",
            hint=did_you_mean(name, [stream.name for stream in self.streams], "it has"),
        )


_Named = TypeVar("_Named", Stream, TaskGraph)


def _placed(before: Sequence[_Named], new: Sequence[_Named]) -> tuple[_Named, ...]:
    """The new ones in the place of those of the same names, or behind; where two have one name, both are there."""
    named: dict[str, _Named] = {one.name: one for one in new}
    known = [one.name for one in before]
    behind = [one for one in new if one.name not in known or named[one.name] is not one]
    return tuple([named.get(one.name, one) for one in before] + behind)


def file_parameters(operator: Operator) -> tuple[str, ...]:
    """The parameters of an operator that name files: those annotated as `Path`."""
    return tuple(
        name for name, field in operator.parameters.model_fields.items() if field.annotation in (Path, Path | None)
    )


def place_of(graph: TaskGraph, stage: Stage) -> str:
    """What messages call a stage."""
    return f"stage `{stage.name}` of graph `{graph.name}`"


def operator_of(graph: TaskGraph, stage: Stage) -> Operator:
    """The operator that a stage names. Raises `GraphError`."""
    try:
        return find_operator(stage.operator)
    except GraphError as error:
        raise GraphError(f"{place_of(graph, stage)}: {error}", hint=error.hint) from None


def _resolve(params: dict[str, Any], files: tuple[str, ...], folder: Path) -> dict[str, Any]:
    return {
        key: str(folder / value) if key in files and isinstance(value, str) else value for key, value in params.items()
    }
