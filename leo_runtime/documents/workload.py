"""What to compute: task graphs of stages over sensor streams, and the workload of graphs that are placed together.

The document is `leo-workload/1`, written as a TOML or JSON file or built in Python (`GraphBuilder`); both give equal
values. `bind` checks a graph's meaning (operators, parameters, shapes) and gives each stage what a backend needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from leo_runtime.documents.problem import Criterion
from leo_runtime.errors import GraphError, did_you_mean
from leo_runtime.frozen import dataclass
from leo_runtime.operators import DataType, Operator, Output, Shape, Work, beside, find_operator, refresh
from leo_runtime.operators.definition import Keeping
from leo_runtime.operators.own import failure
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

_Part = TypeVar("_Part", bound=Value)


class Variant(Value):
    """One implementation of a stage: parameters that differ from the stage's, and what it loses in accuracy."""

    name: Name
    params: Plain = Field(default_factory=dict)
    accuracy_loss_ppm: Quantity = 0


# Not checked: that would have pydantic build the model as it is imported.
_DEFAULT_VARIANTS = (Variant.model_construct(name=DEFAULT_VARIANT),)


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
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)] = _DEFAULT_VARIANTS
    parts: Positive = 1
    """Cut into so many parts, each placed by itself; `name` is then where they are put together again."""


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
    deadline_us: Positive
    """Each output is due so long after the frame's release."""
    weight: Positive = 1
    """What a microsecond of tardiness weighs against other graphs'."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    decision: Decision | None = None
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
        unique([stage.name for stage in self.stages], "$.stages[{}].name")
        names = [stage.name for stage in self.stages]
        for s, stage in enumerate(self.stages):
            unique([variant.name for variant in stage.variants], f"$.stages[{s}].variants[{{}}].name")
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

    def releases_us(self, until_us: int) -> Iterator[int]:
        """Whenever it runs, up to and at that time."""
        return takewhile(lambda at_us: at_us <= until_us, map(self.release_us, count()))

    def next_release_us(self, at_us: int) -> int:
        """When it runs next, at that time or after it."""
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
            files = file_parameters(_operator(graph, stage))
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


class GraphBuilder:
    """Writes a task graph in Python:

    graph = GraphBuilder("loudness", period_us=1_000_000, deadline_us=200_000)
    sound = graph.stage("sound", "window", stream="mic", samples=16_000)
    graph.stage("loud", "energy_gate", sound, threshold_dbfs=-40.0)
    workload = Workload(..., graphs=(graph.build(),))
    """

    def __init__(
        self,
        name: str,
        *,
        period_us: int | None = None,
        rate_hz: int | None = None,
        deadline_us: int,
        offset_us: int = 0,
        weight: int = 1,
        accuracy_loss_ppm_max: int | None = None,
    ) -> None:
        """`period_us` or `rate_hz`; the others as in `TaskGraph`."""
        self._graph: dict[str, Any] = {
            "name": name,
            **({} if period_us is None else {"period_us": period_us}),
            "rate_hz": rate_hz,
            "deadline_us": deadline_us,
            "offset_us": offset_us,
            "weight": weight,
            "accuracy_loss_ppm_max": accuracy_loss_ppm_max,
        }
        self._stages: list[Stage] = []
        self._decision: Decision | None = None

    def stage(
        self,
        name: str,
        operator: str | Operator,
        *inputs: str,
        gate: str | None = None,
        chance_ppm: int | None = None,
        variants: Sequence[Variant] = _DEFAULT_VARIANTS,
        parts: int = 1,
        **params: Any,
    ) -> str:
        """Add a stage that reads the stages `inputs`; the keywords are its parameters. Returns its name.

        Raises `GraphError` for a name, a chance, variants or parts that cannot be, and for an operator that is not
        there; one of a module of yours, by its name, is looked for when the graph is used.
        """
        if callable(operator) and not isinstance(operator, Operator):
            raise GraphError(
                f"stage `{name}` of graph `{self._graph['name']}`: {_called(operator)} is no operator",
                hint="`@operator(output_shape=...)` above a function makes it one: from leo_runtime import operator",
            )
        if isinstance(operator, str) and operator and ":" not in operator:
            try:
                find_operator(operator)
            except GraphError as error:
                where = f"stage `{name}` of graph `{self._graph['name']}`"
                raise GraphError(f"{where}: {error}", hint=error.hint) from None
        self._stages.append(
            self._checked(
                f"stage `{name}` of graph `{self._graph['name']}`",
                Stage,
                name=name,
                operator=operator.name if isinstance(operator, Operator) else operator,
                inputs=inputs,
                params=params,
                gate=gate,
                chance_ppm=chance_ppm,
                variants=_as_tuple(variants),
                parts=parts,
            )
        )
        return name

    def decide(
        self, stage: str, labels: Sequence[str], *, threshold: float = 0.5, background: str | None = None
    ) -> None:
        """Say how the output of `stage` is read. Raises `GraphError` for labels or a threshold that cannot be."""
        self._decision = self._checked(
            f"decision of graph `{self._graph['name']}`",
            Decision,
            stage=stage,
            labels=_as_tuple(labels),
            threshold=threshold,
            background=background,
        )

    def build(self) -> TaskGraph:
        """The finished graph. Raises `GraphError` when it cannot mean anything."""
        return self._checked(
            f"graph `{self._graph['name']}`",
            TaskGraph,
            **self._graph,
            stages=tuple(self._stages),
            decision=self._decision,
        )

    @staticmethod
    def _checked(where: str, kind: type[_Part], **fields: Any) -> _Part:
        """A part of the graph; what is wrong with it is told with its place."""
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            told = document_error(where, error, kind)
            raise GraphError(str(told), hint=told.hint) from None


def _called(function: Any) -> str:
    return f"the function `{getattr(function, '__qualname__', type(function).__name__)}`"


def _as_tuple(values: Any) -> Any:
    """A list as a tuple, which is what documents hold; anything else is theirs to judge."""
    return tuple(values) if isinstance(values, list) else values


@dataclass(frozen=True, slots=True)
class BoundStage:
    """A stage whose meaning is settled: what a backend needs to load it."""

    name: str
    operator: Operator
    params: Mapping[str, Any]
    """The checked parameters (`Operator.parameters`) of each variant."""
    input_shapes: tuple[Shape, ...]
    """Of each array that its kernel is given: of an input stage that gives several, of all of them."""
    output_shape: Shape
    """Of the one array that it gives; () where it gives several."""
    accuracy_loss_ppm: Mapping[str, int]
    data_type: DataType = "float32"
    """What each value of the output is where it is sent or held: a window is as its stream is."""
    chance_ppm: int | None = None
    """How often this gate opens, as the workload states it; None: it does not."""
    several: tuple[Output, ...] = ()
    """What it gives, where that is several arrays, or of a type of its own: `outputs` in any case."""
    takes: tuple[Output, ...] = ()
    """What it reads as it is stored, an array each (`Operator.takes`); (): nothing, or not the same in all variants."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The arrays that it gives, as they cross."""
        return self.several or (Output(self.name, self.output_shape, self.data_type),)

    @property
    def is_gate(self) -> bool:
        """Whether it decides if others run."""
        return self.operator.is_gate or (self.operator.only_costs and self.chance_ppm is not None)

    def work(self, variant: str) -> Work:
        """Multiply-accumulates and bytes of one run."""
        work: Work = self.operator.work(self.params[variant], self.input_shapes)
        return work

    def output_bytes(self) -> int:
        """The size of what it gives where that is sent or held, by its data type: of several arrays together."""
        return sum(output.bytes for output in self.outputs)

    def weight_bytes(self, variant: str) -> int:
        """What the stage holds in memory from run to run."""
        account = self.operator.weight_bytes
        return 0 if account is None else account(self.params[variant], self.input_shapes)

    def keeping(self, variant: str) -> Keeping | None:
        """How the stage keeps state; None: every run stands alone."""
        keeps = self.operator.keeps
        return None if keeps is None else keeps(self.params[variant])

    @property
    def keeps_state(self) -> bool:
        """Whether it does in any variant."""
        return any(self.keeping(variant) is not None for variant in self.params)

    def state_bytes(self, variant: str) -> int:
        """What it keeps from run to run, and moves where it moves."""
        keeping = self.keeping(variant)
        return 0 if keeping is None else keeping.state_bytes(self.params[variant], self.input_shapes)

    def signature(self, variant: str) -> str:
        """What a profile knows the stage by: operator, shapes, and a digest of the parameters, no path in it."""
        params = self.params[variant].model_dump(mode="json")
        for key in file_parameters(self.operator):
            if params.get(key) is not None:
                params[key] = Path(params[key]).name
        digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:8]
        shapes = ",".join("x".join(map(str, shape)) for shape in self.input_shapes)
        return f"{self.operator.name}({shapes})#{digest}"


def bind(graph: TaskGraph, workload: Workload) -> dict[str, BoundStage]:
    """Settle the meaning of every stage of a graph, inputs before their readers.

    Raises `GraphError` for an unknown operator or stream, a wrong parameter, a wrong number of inputs, or shapes or
    sample rates that do not fit.
    """
    bound: dict[str, BoundStage] = {}
    for stage in in_order(graph):
        bound[stage.name] = _bind(graph, stage, bound, workload)
    return bound


def in_order(graph: TaskGraph) -> list[Stage]:
    """The stages, each after those it reads or is gated by; otherwise as written."""
    done: list[Stage] = []
    names: set[str] = set()
    waiting = list(graph.stages)
    while waiting:
        stage = next(s for s in waiting if all(n in names for n in (*s.inputs, *([s.gate] if s.gate else []))))
        waiting.remove(stage)
        done.append(stage)
        names.add(stage.name)
    return done


def file_parameters(operator: Operator) -> tuple[str, ...]:
    """The parameters of an operator that name files: those annotated as `Path`."""
    return tuple(
        name for name, field in operator.parameters.model_fields.items() if field.annotation in (Path, Path | None)
    )


def _where(graph: TaskGraph, stage: Stage) -> str:
    return f"stage `{stage.name}` of graph `{graph.name}`"


def _operator(graph: TaskGraph, stage: Stage) -> Operator:
    try:
        return find_operator(stage.operator)
    except GraphError as error:
        raise GraphError(f"{_where(graph, stage)}: {error}", hint=error.hint) from None


def _bind(graph: TaskGraph, stage: Stage, bound: dict[str, BoundStage], workload: Workload) -> BoundStage:
    where = _where(graph, stage)
    operator = _operator(graph, stage)
    least, most = operator.inputs
    if not operator.is_source and not (least <= len(stage.inputs) and (most is None or len(stage.inputs) <= most)):
        wanted = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        raise GraphError(f"{where} has {len(stage.inputs)} inputs, `{operator.name}` takes {wanted}")
    if operator.is_source and stage.inputs:
        raise GraphError(f"{where} reads a sensor stream and can have no inputs, got {', '.join(stage.inputs)}")
    if stage.gate is not None and not bound[stage.gate].is_gate:
        gate = bound[stage.gate].operator
        raise GraphError(
            f"{where} is gated by `{stage.gate}`, whose operator `{gate.name}` is no gate",
            hint=f"give `{stage.gate}` a chance_ppm"
            if gate.only_costs
            else "an operator of your own is one by @operator(gate=True, ...)"
            if gate.function is not None
            else "gates that ship end in `_gate`; one of your own is an @operator(gate=True, ...)",
        )
    if stage.chance_ppm is not None and not (operator.is_gate or operator.only_costs):
        raise GraphError(f"{where} has chance_ppm {stage.chance_ppm}, and its operator `{operator.name}` is no gate")
    params = {v.name: _params(operator, {**stage.params, **v.params}, where) for v in stage.variants}
    shapes: set[Shape] = set()
    given: set[tuple[Output, ...]] = set()
    inputs: tuple[Shape, ...] = ()
    for checked in params.values():
        try:
            if operator.is_source:
                stream = workload.stream(checked.stream)
                inputs = ((checked.samples, *stream.sample_shape),)
            else:
                inputs = tuple(output.shape for name in stage.inputs for output in bound[name].outputs)
            shapes.add(operator.output_shape(checked, inputs))
            given.add(() if operator.outputs is None else operator.outputs(checked, inputs))
            # Asked for when the stage is priced; what is wrong with them is told here, where the stage is known.
            operator.work(checked, inputs)
            if operator.weight_bytes is not None:
                operator.weight_bytes(checked, inputs)
            if operator.keeps is not None and (keeping := operator.keeps(checked)) is not None:
                keeping.state_bytes(checked, inputs)
        except GraphError as error:
            raise GraphError(f"{where}: {error}", hint=error.hint) from None
        except (Exception, SystemExit) as error:  # An operator may be anyone's.
            raise GraphError(f"{where}: `{operator.name}` failed: {failure(error, operator.output_shape)}") from None
    if len(shapes) != 1:
        raise GraphError(f"{where} has variants of different output shapes: {sorted(shapes)}")
    if len(given) != 1:
        raise GraphError(f"{where} has variants that give arrays of different types or scales")
    for checked in params.values():
        _check_rate(where, operator, checked, [bound[name] for name in stage.inputs], workload)
    losses = {v.name: v.accuracy_loss_ppm for v in stage.variants}
    (several,) = given
    data_type = several[0].data_type if len(several) == 1 else _data_type(where, operator, params, workload)
    takes = set() if operator.takes is None else {operator.takes(checked) for checked in params.values()}
    return BoundStage(
        stage.name,
        operator,
        params,
        inputs,
        shapes.pop(),
        losses,
        data_type,
        stage.chance_ppm,
        several,
        takes.pop() if len(takes) == 1 else (),
    )


def _data_type(where: str, operator: Operator, params: Mapping[str, Any], workload: Workload) -> DataType:
    """What a stage's output is made of; the same of every variant."""
    if not operator.is_source and not operator.only_costs:
        return "float32"
    found: dict[str, DataType] = {
        name: checked.data_type if operator.only_costs else workload.stream(checked.stream).item_type()
        for name, checked in params.items()
    }
    if len(set(found.values())) != 1:
        raise GraphError(
            f"{where} has variants of different data types: {', '.join(f'{n} {t}' for n, t in found.items())}",
            hint="all of them send one `data_type`",
        )
    return next(iter(found.values()))


def _check_rate(where: str, operator: Operator, params: Any, inputs: list[BoundStage], workload: Workload) -> None:
    """A stage that reads a stream's own samples, and goes by their rate, must go by the rate they have."""
    rate_hz = getattr(params, "sample_rate_hz", operator.sample_rate_hz)
    if rate_hz is None:
        return
    for source in (stage for stage in inputs if stage.operator.is_source):
        for name in dict.fromkeys(checked.stream for checked in source.params.values()):
            stream = workload.stream(name)
            if stream.rate_hz == rate_hz:
                continue
            if operator.sample_rate_hz is None:
                problem = f"sample_rate_hz is {rate_hz}, its stream `{name}` has {stream.rate_hz}"
                raise GraphError(f"{where}: {problem}", hint=f"give it sample_rate_hz = {stream.rate_hz}")
            problem = f"`{operator.name}` reads {rate_hz} Hz, its stream `{name}` has {stream.rate_hz}"
            raise GraphError(f"{where}: {problem}", hint="resample the stream, or take another operator")


def _params(operator: Operator, params: dict[str, Any], where: str) -> Any:
    try:
        return operator.parameters.model_validate_json(json.dumps(params, default=str))
    except ValidationError as error:
        told = document_error(f"{where}, operator `{operator.name}`", error, operator.parameters)
        raise GraphError(str(told), hint=told.hint) from None


def _resolve(params: dict[str, Any], files: tuple[str, ...], folder: Path) -> dict[str, Any]:
    return {
        key: str(folder / value) if key in files and isinstance(value, str) else value for key, value in params.items()
    }
