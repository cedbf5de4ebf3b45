"""What a task graph means: its operators, parameters and shapes checked, and each stage with what a backend needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from leo_runtime.documents.workload import Stage, TaskGraph, Workload, file_parameters, operator_of, place_of
from leo_runtime.errors import GraphError
from leo_runtime.frozen import dataclass
from leo_runtime.operators import DataType, Operator, Output, Shape, Work
from leo_runtime.operators.definition import Keeping
from leo_runtime.operators.own import failure
from leo_runtime.schema import document_error


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
    sent: Mapping[str, int] = field(default_factory=dict)
    """How many bytes of its output there are, by variant, where that may be fewer than its shape says."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The arrays that it gives, as they cross."""
        return self.several or (Output(self.name, self.output_shape, self.data_type),)

    @property
    def is_gate(self) -> bool:
        """Whether it decides if others run."""
        return self.operator.is_gate or (self.operator.only_costs and self.chance_ppm is not None)

    def takes_shape(self, place: int, shape: Shape) -> bool:
        """Whether its input at that place may have this shape: of packed bytes there may be fewer."""
        wanted = self.input_shapes[place]
        return shape == wanted or (place < len(self.takes) and self.takes[place].allows(shape))

    def work(self, variant: str) -> Work:
        """Multiply-accumulates and bytes of one run."""
        work: Work = self.operator.work(self.params[variant], self.input_shapes)
        return work

    def output_bytes(self) -> int:
        """The size of what it gives where that is sent or held, by its data type: of several arrays together."""
        return sum(output.bytes for output in self.outputs)

    def sent_bytes(self, variant: str) -> int:
        """How much of that there is in a variant: less where the stage packs."""
        return self.sent.get(variant, self.output_bytes())

    def weight_bytes(self, variant: str) -> int:
        """What the stage holds in memory from run to run."""
        account = self.operator.weight_bytes
        return 0 if account is None else account(self.params[variant], self.input_shapes)

    def weights(self, variant: str) -> tuple[tuple[str, int], ...]:
        """The same by label, with the bytes of each: labels that are equal stand for the same weights.

        Reads the files that parameters name. Raises `GraphError` for one that cannot be read.
        """
        params, size = self.params[variant], self.weight_bytes(variant)
        if self.operator.weights is not None:
            labelled: tuple[tuple[str, int], ...] = self.operator.weights(params, self.input_shapes)
            return labelled
        if size == 0:
            return ()
        told = params.model_dump(mode="json")
        for key in file_parameters(self.operator):
            if told.get(key) is not None:
                told[key] = _file_digest(Path(told[key]))
        digest = hashlib.sha256(json.dumps([told, size], sort_keys=True).encode()).hexdigest()[:12]
        return ((f"{self.operator.name} {digest}", size),)

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
        return self._called(self.params[variant].model_dump(mode="json"), self.input_shapes)

    def family(self, variant: str) -> str:
        """What stages have in common that differ in the length of what they read alone: `signature` without that."""
        params = self.params[variant].model_dump(mode="json")
        if self.operator.is_source:
            params.pop("samples", None)
        return self._called(params, [("*", *shape[1:]) for shape in self.input_shapes])

    def _called(self, params: dict[str, Any], shapes: Sequence[Sequence[int | str]]) -> str:
        for key in file_parameters(self.operator):
            if params.get(key) is not None:
                params[key] = Path(params[key]).name
        digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:8]
        shown = ",".join("x".join(map(str, shape)) for shape in shapes)
        return f"{self.operator.name}({shown})#{digest}"


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise GraphError(f"{path}: cannot be read ({error})") from None


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


def _bind(graph: TaskGraph, stage: Stage, bound: dict[str, BoundStage], workload: Workload) -> BoundStage:
    where = place_of(graph, stage)
    operator = operator_of(graph, stage)
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
            if operator.weights is not None:
                operator.weights(checked, inputs)
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
    reads = takes.pop() if len(takes) == 1 else ()
    _require_unpacked(where, operator, [output for name in stage.inputs for output in bound[name].outputs], reads)
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
        reads,
        _sent(where, stage, operator, params, inputs),
    )


def _require_unpacked(where: str, operator: Operator, given: Sequence[Output], reads: Sequence[Output]) -> None:
    """Raise `GraphError` where packed bytes are read as numbers, or numbers as packed bytes."""
    for place, output in enumerate(given):
        wanted = place < len(reads) and reads[place].is_packed
        if output.is_packed and not wanted:
            raise GraphError(
                f"{where} reads packed bytes, and `{operator.name}` takes numbers",
                hint="put a stage of operator `unpack` before it",
            )
        if wanted and not output.is_packed:
            raise GraphError(f"{where} unpacks what is not packed", hint="its input is a stage of operator `pack`")


def _sent(
    where: str, stage: Stage, operator: Operator, params: Mapping[str, Any], inputs: Sequence[Shape]
) -> dict[str, int]:
    """How much of a stage's output is sent, by variant: as stated, or as its operator says. Raises `GraphError`."""
    sent: dict[str, int] = {}
    for variant in stage.variants:
        if operator.sent_bytes is None:
            if variant.sent_bytes is not None:
                raise GraphError(
                    f"{where}, variant `{variant.name}`: sent_bytes is {variant.sent_bytes}, and all of what "
                    f"`{operator.name}` gives is sent",
                    hint="leave it out; what `pack` gives is sent in part",
                )
            continue
        most = operator.sent_bytes(params[variant.name], inputs)
        if variant.sent_bytes is not None and variant.sent_bytes > most:
            raise GraphError(
                f"{where}, variant `{variant.name}`: sent_bytes is {variant.sent_bytes}, and its form takes {most} at "
                "the most",
                hint="measure it anew, or leave it out",
            )
        sent[variant.name] = most if variant.sent_bytes is None else variant.sent_bytes
    return sent


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
