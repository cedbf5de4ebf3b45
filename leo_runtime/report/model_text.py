"""What is in a model, as text for people."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from leo_runtime.errors import printable
from leo_runtime.layers.facts import GraphFacts, PieceFacts, TensorFacts
from leo_runtime.operators.definition import Output
from leo_runtime.operators.model_pieces import Described
from leo_runtime.report.layout import number, table
from leo_runtime.terminal import WIDE, Look, fill


def as_json(found: Described, by: str) -> str:
    """All that is known of it, every place to cut too."""
    told = {**asdict(found), "cut": by}
    for key in ("takes", "gives"):
        told[key] = [{**asdict(one), "bytes": one.bytes} for one in getattr(found, key)]
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def text(found: Described, by: str, look: Look = WIDE) -> str:
    """What goes in and comes out, and its layers, or why it has none."""
    said = f"{found.file}, {found.bytes:,} bytes, SHA-256 {found.sha256[:16]}"
    if len(found.signatures) > 1:
        said += f"; signatures: {', '.join(found.signatures)}"
    tensors = [(way, one) for way, ones in (("in", found.takes), ("out", found.gives)) for one in ones]
    # What integers stand for is a column only where there is anything in it.
    reals = any(one.scale for _, one in tensors)
    rows = [(way, *_tensor(one), *([_reals(one)] if reals else [])) for way, one in tensors]
    header = ("", "tensor", "shape", "type", "bytes", *(["stands for"] if reals else []))
    head = f"{fill(printable(said), look.columns)}\n\n" + table(header, rows, look)
    below = _opaque(found, look) if found.layers is None else _layers(found.layers, by, look)
    return f"{head}\n{below}"


def _opaque(found: Described, look: Look) -> str:
    counts = Counter(found.operators)
    named = ", ".join(one if count == 1 else f"{count} times {one}" for one, count in counts.items())
    parts = (f"It has {named}.", found.why, f"hint: {found.hint}")
    return "\n\n".join(fill(printable(part), look.columns) for part in parts) + "\n"


def _layers(found: GraphFacts, by: str, look: Look) -> str:
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


def _tensor(one: Output) -> tuple[object, ...]:
    return printable(one.name), _shape(one), one.data_type, one.bytes


def _reals(one: Output) -> str:
    """The least and the greatest real that a quantised tensor holds."""
    if not one.scale:
        return ""
    least, greatest = one.limits()
    return f"{least:.5g} to {greatest:.5g}"


def _shape(one: Output | TensorFacts) -> str:
    return "x".join(map(str, one.shape)) or "one"


def _piece(one: PieceFacts) -> tuple[object, ...]:
    kinds = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in one.kinds[:3])
    more = f", {len(one.kinds) - 3} more" if len(one.kinds) > 3 else ""
    gives = " + ".join(_shape(tensor) for tensor in one.gives)
    size = sum(tensor.bytes for tensor in one.gives)
    return one.number, one.layers, kinds + more, _mmac(one.macs), one.weight_bytes, one.activation_bytes, gives, size


def _mmac(macs: int) -> str:
    return number(macs / 1e6, 2)
