"""The part of a study in which some axes are held at values of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.study.rows import Row

Held = Mapping[str, tuple[str, ...]]
"""Of each axis that is held, the values that are left, as they were written."""


def held_at(wanted: Sequence[str], rows: Sequence[Row], axes: Sequence[str]) -> Held:
    """What `AXIS=VALUE` says, each; of one axis that is named more often any of its values is left.

    `rows` are all there are, also the places of cells that failed. Raises `InputError` for an axis or a value that none
    of them has."""
    found: dict[str, tuple[str, ...]] = {}
    for text in wanted:
        axis, given, value = text.partition("=")
        if not given:
            raise InputError(f"`{text}` holds no axis at a value", hint="write `AXIS=VALUE`")
        if axis not in axes:
            raise InputError(f"no axis is called `{axis}`", hint=did_you_mean(axis, axes))
        known = dict.fromkeys(row[f"axis.{axis}"] for row in rows)
        if not any(_is(one, value) for one in known):
            raise InputError(f"axis `{axis}` has no value `{value}`", hint=did_you_mean(value, [*map(str, known)]))
        found[axis] = (*found.get(axis, ()), value)
    return found


def held_text(held: Held) -> str:
    """What is held, to be put after what is told."""
    return "".join(f", {axis}={' or '.join(of)}" for axis, of in held.items())


def sliced(rows: Sequence[Row], held: Held) -> list[Row]:
    """The rows in which every axis that is held has one of its values."""
    return [row for row in rows if all(any(_is(row[f"axis.{axis}"], one) for one in of) for axis, of in held.items())]


def _is(value: Any, text: str) -> bool:
    """Whether a value of an axis is what was written: 0.5 is also .5, and 4000 also 4_000 or 4e3."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value) == text
    try:
        return bool(float(text) == value)
    except ValueError:
        return False
