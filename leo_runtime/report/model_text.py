"""What is in a model, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from leo_runtime.errors import printable
from leo_runtime.layers.facts import GraphFacts, PieceFacts, TensorFacts
from leo_runtime.report.layout import number, table
from leo_runtime.terminal import WIDE, Look, fill


def head(
    name: str,
    size: int,
    sha256: str,
    signatures: Sequence[str],
    takes: Sequence[TensorFacts],
    gives: Sequence[TensorFacts],
    look: Look = WIDE,
) -> str:
    """What any file says of itself: what goes in and comes out."""
    said = f"{name}, {size:,} bytes, SHA-256 {sha256[:16]}"
    if len(signatures) > 1:
        said += f"; signatures: {', '.join(signatures)}"
    rows = [("in", *_tensor(one)) for one in takes] + [("out", *_tensor(one)) for one in gives]
    return f"{fill(printable(said), look.columns)}\n\n" + table(("", "tensor", "shape", "type", "bytes"), rows, look)


def opaque_text(operators: Sequence[str], why: str, hint: str, look: Look = WIDE) -> str:
    """The operators of a model that cannot be taken apart, and why not."""
    counted = [f"{operators.count(one)} times {one}" if operators.count(one) > 1 else one for one in operators]
    named = ", ".join(dict.fromkeys(counted))
    return (
        "\n\n".join(fill(printable(text), look.columns) for text in (f"It has {named}.", why, f"hint: {hint}")) + "\n"
    )


def layers_text(found: GraphFacts, by: str, look: Look = WIDE) -> str:
    """Its kinds of layers, where it can be cut, and its pieces."""
    state = f", {found.state_bytes:,} bytes of state" if found.state_bytes else ""
    said = (
        f"{found.layers} layers, {_mmac(found.macs)} million multiply-accumulates; {found.weight_bytes:,} bytes of "
        f"weights, at most {found.activation_bytes:,} of values between layers{state}"
    )
    kinds = [(one.kind, one.data_type, one.layers, _mmac(one.macs), one.weight_bytes) for one in found.kinds]
    parts = [fill(said, look.columns) + "\n", table(("layer", "type", "count", "MMAC", "weight bytes"), kinds, look)]
    single = [one for one in found.borders if len(one.tensors) == 1]
    cuts = f"{len(found.borders)} places to cut, {len(single)} where one tensor crosses"
    if single:
        cuts += f": {min(one.bytes for one in single):,} to {max(one.bytes for one in single):,} bytes"
    parts.append(fill(cuts, look.columns) + "\n")
    header = (by.removesuffix("s"), "layers", "of", "MMAC", "weight bytes", "values", "gives", "bytes")
    parts.append(table(header, [_piece(one) for one in found.pieces], look))
    return "\n".join(parts)


def _tensor(one: TensorFacts) -> tuple[object, ...]:
    return printable(one.name), _shape(one), one.data_type, one.bytes


def _shape(one: TensorFacts) -> str:
    return "x".join(map(str, one.shape)) or "one"


def _piece(one: PieceFacts) -> tuple[object, ...]:
    kinds = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in one.kinds[:3])
    more = f", {len(one.kinds) - 3} more" if len(one.kinds) > 3 else ""
    gives = " + ".join(_shape(tensor) for tensor in one.gives)
    size = sum(tensor.bytes for tensor in one.gives)
    return one.number, one.layers, kinds + more, _mmac(one.macs), one.weight_bytes, one.activation_bytes, gives, size


def _mmac(macs: int) -> str:
    return number(macs / 1e6, 2)
