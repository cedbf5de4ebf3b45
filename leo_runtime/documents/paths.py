"""Paths into documents: `graphs.knock.deadline_us` and what follows it, the value or factor that it is to have.

A path goes by names: a graph's, a stage's, a processor's, `source->target` of a link (or `source:target`, which no
shell takes for anything else), and `*` for all of them. A name may itself have dots: the longest that fits is taken.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from fractions import Fraction
from typing import Any, Literal

from leo_runtime.documents.hardware import Hardware, Link, StoreLoader
from leo_runtime.documents.workload import Stage, Variant
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.operators import find_operator
from leo_runtime.schema import Value

FIXED = ("format", "name", "source", "target", "sources", "store")
"""Fields that no path leads to: other parts of the documents go by them, or they cite."""

ALL = "*"

_EXPONENT = re.compile(r"e[+-]?([\d_]+)", re.IGNORECASE)

HELP = "`leo-runtime replay --set help` lists all paths"

KINDS = {
    "graphs": "graph",
    "stages": "stage",
    "variants": "variant",
    "streams": "stream",
    "processors": "processor",
    "radios": "radio",
    "links": "link",
    "stores": "store",
    "loaders": "loader",
}
"""What one of a list is called."""


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a document that a path leads to."""

    keys: tuple[str | int, ...]
    """Where it is in the document as JSON."""
    value: Any
    """What it is now; where it is left out, what is meant then."""
    owner: object
    """The part of the document that has it as a field; of a parameter, the stage or variant."""
    rest: str
    """What follows the path: `=` or `*=`, and what follows that."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a value is to be: another, or so many times what it is."""

    kind: Literal["set", "scale"]
    value: Any = None
    factor: Fraction = Fraction(1)
    text: str = ""
    """The value as it was written."""


def operation(rest: str, change: str) -> Operation:
    """What stands behind a path. Raises `InputError`."""
    if rest.startswith("*="):
        return Operation("scale", factor=factor(rest[2:], change))
    if rest.startswith("="):
        return Operation("set", value=parsed(rest[1:]), text=rest[1:].strip())
    raise InputError(f"`{change}`: no value is given", hint="write `PATH=VALUE`, or `PATH*=FACTOR`")


def factor(text: str, change: str) -> Fraction:
    """A factor as it is written, such as 0.5 or 1/3. Raises `InputError` for one that is no number, or below 0.

    Nor has it a thousand zeros, which no number in a document has, and a fraction of a million takes long to make.
    """
    exponent = _EXPONENT.search(text)
    try:
        found = Fraction(text.strip()) if len(text) <= 40 and (exponent is None or len(exponent[1]) <= 2) else None
    except (ValueError, ZeroDivisionError):
        found = None
    if found is None or found < 0:
        raise InputError(f"`{change}`: expected a factor of at least 0, got {json.dumps(text)}", hint="such as 0.5")
    return found


def parsed(text: str) -> Any:
    """A value as TOML writes it; `none` is what a field that may be left out then is; any other word is a text.

    So are dates and times, which no document has, and what TOML would take for a value and a comment.
    """
    text = text.strip()
    if text in ("none", "null"):
        return None
    try:
        found = tomllib.loads(f"value = {text}")
        tomllib.loads(f"value = [{text}]")  # Behind a comment there is no end of the list.
    except (ValueError, RecursionError):
        return text
    value = found["value"]
    return text if len(found) > 1 or isinstance(value, date | time) else value  # A `datetime` is a `date`.


def whole(value: Any) -> Any:
    """The value; an integer where it is one written as TOML writes floats, such as 4e5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def meant(done: Operation, place: Place) -> Any:
    """The value that is set at a place: of a field that is a text all that was written, and of no float an integer."""
    if isinstance(place.value, str) and isinstance(done.value, bool | int | float):
        return done.text
    if isinstance(place.value, float) or "options" in place.keys:  # What an option is to be, its backend knows.
        return done.value
    return whole(done.value)


def scaled(value: Any, by: Fraction, change: str) -> Any:
    """So many times a number; a whole one is rounded, half up. Raises `InputError` for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"`{change}`: {json.dumps(value, default=str)} is no number to multiply", hint="set it by `=`")
    if isinstance(value, float):
        try:
            return float(value * by)
        except OverflowError:
            raise InputError(f"`{change}`: so many times {value:g} is too great", hint="such as *=0.5") from None
    return (2 * value * by.numerator + by.denominator) // (2 * by.denominator)


def places(root: Mapping[str, Any], text: str, change: str) -> list[Place]:
    """All that a path leads to from these fields, in the order of the document; at least one.

    Where `*` stands for several, those that have not what follows are left out, unless none has. Raises `InputError`.
    """
    return list(_into({name: [(name, value)] for name, value in root.items()}, "field", text, change, _At((), None)))


@dataclass(frozen=True, slots=True)
class _At:
    """Where a path has come to."""

    keys: tuple[str | int, ...]
    owner: object
    stage: Stage | None = None
    """The stage that it is in."""


_Children = Mapping[str, Sequence[tuple[str | int, Any]]]
"""What a name may stand for: keys, and what they lead to."""


def _into(children: _Children, kind: str, text: str, change: str, at: _At) -> Iterator[Place]:
    """The places behind the name that a text begins with."""
    name = first_name(children, text)
    if name is None or not children[name]:
        raise unknown(children, kind, text, change)
    rest = text[len(name) :]
    wrong: InputError | None = None
    found = False
    for key, value in children[name]:
        try:
            for place in _of(key, value, rest, change, at):
                found = True
                yield place
        except InputError as error:
            wrong = wrong or error
    if wrong is not None and not found:
        raise wrong


def first_name(names: Mapping[str, object] | Sequence[str], text: str) -> str | None:
    """The longest of the names that a path begins with; None: with none of them."""
    fits = [name for name in names if text.startswith(name) and text[len(name) :].startswith((".", "=", "*="))]
    return max(fits or [name for name in names if text == name], key=len, default=None)


def unknown(names: Mapping[str, object] | Sequence[str], kind: str, text: str, change: str) -> InputError:
    """What is wrong with a path that begins with none of the names, and what there is."""
    given = re.split(r"\.|\*?=", text, maxsplit=1)[0]
    known = [name for name in names if name != ALL and ":" not in name and ALL not in name]
    has_all = ALL in names
    hint = f"{did_you_mean(given, known)}{' (`*`: all)' if has_all and known else ''}; {HELP}"
    if kind == "link" and text.endswith("-"):
        hint = f"quote it: a shell takes `>` for itself; or write `source:target`. {hint}"
    return InputError(f"`{change}`: no {kind} is called `{given}`", hint=hint)


def _of(key: str | int, value: Any, rest: str, change: str, at: _At) -> Iterator[Place]:
    """The places in what a name stands for."""
    here = _At((*at.keys, key), at.owner, value if isinstance(value, Stage) else at.stage)
    if not rest.startswith("."):
        _require_value(key, value, rest, change)
        yield Place(here.keys, value, at.owner, rest)
        return
    rest = rest[1:]
    if isinstance(value, tuple) and key in KINDS:
        yield from _into(_listed(value), KINDS[str(key)], rest, change, here)
    elif isinstance(value, Value):
        inner = _At(here.keys, value, here.stage)
        yield from _into(_fields(value), f"field of {_what(value)}", rest, change, inner)
    elif key == "params" and here.stage is not None and isinstance(at.owner, Stage | Variant):
        kind = f"parameter of operator `{here.stage.operator}`"
        yield from _into(_parameters(here.stage, at.owner), kind, rest, change, here)
    elif isinstance(value, dict):
        name = rest.partition("=")[0].removesuffix("*")
        yield Place((*here.keys, name), value.get(name), at.owner, rest[len(name) :])
    else:
        raise InputError(f"`{change}`: nothing is in `{key}` but its value", hint=f"leave out `.{rest}`; {HELP}")


def _require_value(key: str | int, value: Any, rest: str, change: str) -> None:
    """A value is given, to a field, and not to a list of parts or one of them."""
    children: _Children = {}
    if isinstance(value, tuple) and key in KINDS:
        children, what = _listed(value), f"one of `{key}`"
    elif isinstance(value, Value) and (isinstance(key, int) or not rest.startswith("=")):
        children, what = _fields(value), f"a field of {_what(value)}"
    if children:
        names = ", ".join(name for name in children if ":" not in name)
        raise InputError(f"`{change}` does not name {what}", hint=f"go on with `.` and one of {names}; {HELP}")
    if not rest:
        raise InputError(f"`{change}`: no value is given", hint="write `PATH=VALUE`, or `PATH*=FACTOR`")


def _listed(parts: Sequence[Any]) -> _Children:
    """The parts of a list by name."""
    found: dict[str, list[tuple[str | int, Any]]] = {}
    for number, part in enumerate(parts):
        for name in _names(part):
            found.setdefault(name, []).append((number, part))
    return {**found, ALL: list(enumerate(parts))}


def _names(part: Any) -> tuple[str, ...]:
    """All that a path may call a part; a loader by where it leads."""
    if isinstance(part, Link):
        return link_names(part.source, part.target)
    return (part.target,) if isinstance(part, StoreLoader) else (part.name,)


def link_names(source: str, target: str) -> tuple[str, ...]:
    """All that a path may call a link."""
    return tuple(f"{a}{mark}{b}" for a in (source, ALL) for b in (target, ALL) for mark in ("->", ":"))


def over_network(hardware: Hardware, name: str) -> list[Link]:
    """The links over a radio of that name, or that a path may call so; `*`: all."""
    return [
        link for link in hardware.links if name in (ALL, link.radio) or name in link_names(link.source, link.target)
    ]


def _fields(part: Value) -> _Children:
    return {name: [(name, getattr(part, name))] for name in type(part).model_fields if name not in FIXED}


def _what(part: Value) -> str:
    """What a part is called in a sentence."""
    name = getattr(part, "name", None)
    if isinstance(part, Link):
        name = f"{part.source}->{part.target}"
    if isinstance(part, StoreLoader):
        name = part.target
    kind = {"TaskGraph": "graph", "StoreLoader": "loader"}.get(type(part).__name__, type(part).__name__.lower())
    return f"{kind} `{name}`" if name else kind


def _parameters(stage: Stage, owner: Stage | Variant) -> _Children:
    """The parameters of a stage's operator with what they are, for the stage or for one of its variants."""
    given = {**stage.params, **owner.params}
    fields = find_operator(stage.operator).parameters.model_fields
    return {
        name: [(name, given.get(name, field.get_default(call_default_factory=True)))] for name, field in fields.items()
    }
