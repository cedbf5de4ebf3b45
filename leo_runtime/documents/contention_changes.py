"""Changes to contention: `contention.VICTIM.AGGRESSOR.slowdown_ppm`, `*` for all, and `contention.expected_percent`.

Between two processors of which the profile says nothing a slowdown is set all the same: that is how it is swept. `*`
means no processor that is `remote`: it shares no memory with any.
"""

from __future__ import annotations

from collections.abc import Sequence

from leo_runtime.documents.contention import Contention, Slowdown
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.paths import ALL, HELP, Operation, first_name, operation, scaled, unknown, whole
from leo_runtime.errors import InputError
from leo_runtime.schema import MAX_QUANTITY

CONTENTION = "contention"
"""What a path begins with."""
SLOWDOWN, EXPECTED = "slowdown_ppm", "expected_percent"


def changed_contention(before: Contention, hardware: Hardware, change: str) -> Contention:
    """The contention with that path changed. Raises `InputError`."""
    text = change[len(CONTENTION) + 1 :]
    processors = [processor.name for processor in hardware.processors]
    if first_name([EXPECTED], text) is not None:
        done = operation(text[len(EXPECTED) :], change)
        return before.model_copy(update={EXPECTED: _value(done, before.expected_percent, 100, change)})
    victim, text = _next([*processors, ALL], text, change)
    aggressor, text = _next([*processors, ALL], text, change)
    if first_name([SLOWDOWN], text) is None:
        raise unknown([SLOWDOWN], "field of a pair", text, change)
    done = operation(text[len(SLOWDOWN) :], change)
    here = [processor.name for processor in hardware.processors if not processor.remote]
    meant = [
        (one, other)
        for one in (here if victim == ALL else [victim])
        for other in (here if aggressor == ALL else [aggressor])
        if one != other or victim == aggressor != ALL
    ]
    known = {(pair.victim, pair.aggressor): pair for pair in before.pairs}
    if done.kind == "scale" and not any(pair in known for pair in meant):
        raise InputError(f"`{change}`: the profile knows no such slowdown", hint="set one: `=`, not `*=`")
    for pair in meant:
        if pair in known:
            old = known[pair]
            value = _value(done, old.slowdown_ppm, MAX_QUANTITY, change)
            known[pair] = Slowdown(
                victim=old.victim,
                aggressor=old.aggressor,
                slowdown_ppm=value,
                source=f"modelled: `{change}` of: {old.source}",
            )
        elif done.kind == "set":
            value = _value(done, 0, MAX_QUANTITY, change)
            known[pair] = Slowdown(
                victim=pair[0], aggressor=pair[1], slowdown_ppm=value, source=f"modelled: `{change}`"
            )
    return before.model_copy(update={"pairs": tuple(known.values())})


def _next(names: Sequence[str], text: str, change: str) -> tuple[str, str]:
    """A processor's name and what follows its dot."""
    name = first_name(names, text)
    if name is None:
        raise unknown(names, "processor", text, change)
    rest = text[len(name) :]
    if not rest.startswith("."):
        raise InputError(
            f"`{change}` names no slowdown", hint=f"write `{CONTENTION}.VICTIM.AGGRESSOR.{SLOWDOWN}=200_000`; {HELP}"
        )
    return name, rest[1:]


def _value(done: Operation, before: int, most: int, change: str) -> int:
    value = whole(scaled(before, done.factor, change) if done.kind == "scale" else done.value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InputError(f"`{change}`: expected an integer from 0 to {most}", hint="the field's name says its unit")
    return value
