"""A stage that is known by what it costs alone, for studies of models that nobody has at hand."""

from __future__ import annotations

from collections.abc import Sequence

from leo_runtime.errors import GraphError
from leo_runtime.operators.definition import DataType, Operator, Shape, Work, item_bytes
from leo_runtime.schema import Name, Positive, Value


class OwnWeights(Value):
    """Weights that a stage says it has."""

    label: Name
    bytes: Positive


class CostParameters(Value):
    """What a stage gives that nothing computes."""

    output_bytes: Positive
    """The size of its output where it is sent or held."""
    data_type: DataType = "uint8"
    """What each value of it is; the size is that of a whole number of them."""
    weights: tuple[OwnWeights, ...] = ()
    """What it has to have in memory, by label: those of one label are the same, of any stage."""


def _cost_shape(params: CostParameters, _shapes: Sequence[Shape]) -> Shape:
    size = item_bytes(params.data_type)
    if params.output_bytes % size:
        raise GraphError(
            f"`cost` gives {params.output_bytes} bytes, which is no whole number of {params.data_type} ({size} each)",
            hint=f"make `output_bytes` a multiple of {size}, or leave `data_type` out",
        )
    return (params.output_bytes // size,)


def _cost_work(_params: CostParameters, _shapes: Sequence[Shape]) -> Work:
    return Work(0, 0)


def _weight_bytes(params: CostParameters, _shapes: Sequence[Shape]) -> int:
    return sum(one.bytes for one in params.weights)


def _weights(params: CostParameters, _shapes: Sequence[Shape]) -> tuple[tuple[str, int], ...]:
    labels = [one.label for one in params.weights]
    if len(set(labels)) != len(labels):
        raise GraphError(f"`cost` names weights twice: {', '.join(labels)}", hint="name each label once")
    return tuple((one.label, one.bytes) for one in params.weights)


def _sent_bytes(params: CostParameters, _shapes: Sequence[Shape]) -> int:
    """All of it, unless a variant says `sent_bytes`: of a model that nobody has, what packing leaves is told, too."""
    return params.output_bytes


COST = Operator(
    name="cost",
    summary="Nothing is computed, in virtual time alone: the profile says by the stage's name what it costs on each "
    "processor. Output: output_bytes / (bytes of data_type) zeros; of a gate, that is a stage with `chance_ppm`, all "
    "are 1 where it opens, which is drawn from the run's seed.",
    parameters=CostParameters,
    output_shape=_cost_shape,
    work=_cost_work,
    inputs=(0, None),
    only_costs=True,
    weight_bytes=_weight_bytes,
    weights=_weights,
    sent_bytes=_sent_bytes,
)


OPERATORS = (COST,)
