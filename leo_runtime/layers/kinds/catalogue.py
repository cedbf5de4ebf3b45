"""Every kind of layer that is computed, and what is to be known of any layer."""

from __future__ import annotations

from leo_runtime.layers.graph import Layer, LayerGraph
from leo_runtime.layers.kinds import activation, convolution, elementwise, pool, quantise, shape
from leo_runtime.layers.kinds.definition import Call, LayerKind, call_of

_FAMILIES = (activation, convolution, elementwise, pool, quantise, shape)
KINDS: dict[str, LayerKind] = {
    kind.name: kind for kind in sorted((one for family in _FAMILIES for one in family.KINDS), key=lambda one: one.name)
}
"""By name."""
BY_CODE: dict[int, LayerKind] = {kind.code: kind for kind in KINDS.values()}
"""By the number that the schema gives the operator."""


def refusal(graph: LayerGraph, layer: Layer) -> str | None:
    """Why nothing of ours computes a layer, as a clause: "it takes int16"; None where it is computed."""
    kind = KINDS.get(layer.kind)
    if kind is None:
        return "it is not computed"
    least, most = kind.inputs
    if len(layer.inputs) < least or (most is not None and len(layer.inputs) > most):
        return f"it has {len(layer.inputs)} inputs"
    if not layer.outputs or any(number < 0 for number in layer.inputs[:least]):
        return "it lacks an input or output"
    return _refused(kind, call_of(graph, layer))


def _refused(kind: LayerKind, call: Call) -> str | None:
    first, out = call.input(0), call.outputs[0]
    if first.dtype.name not in kind.types:
        return f"it takes {first.dtype.name}"
    if first.dtype.kind == "i" and first.dtype.itemsize == 1 and len(first.scale) != 1:
        return "it takes int8 that has not one scale"
    if kind.keeps_type and (out.dtype != first.dtype or bool(out.scale) != bool(first.scale)):
        return f"it takes {first.dtype.name} and gives {out.dtype.name}"
    try:
        why = kind.refuses(call)
        if why is None and (given := kind.shapes(call)) != (said := tuple(one.shape for one in call.outputs)):
            why = f"it is said to give {said}, and gives {given}"
    except (ValueError, LookupError) as error:
        why = str(error)
    return why
