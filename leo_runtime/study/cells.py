"""The cells of a study: which values each takes of each axis, and what that makes of its settings.

The order is data: all cells of the first repetition, then all of the second; in a grid the last axis changes fastest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any

from pydantic import ValidationError

from leo_runtime.errors import DocumentError
from leo_runtime.schema import document_error
from leo_runtime.study.document import SETTINGS, WHO_PLACES, Axis, Base, Choice, Range, Settings, Study

DIGITS = 6
"""Significant digits of a number that is drawn: such a number can be written down."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study."""

    number: int
    repetition: int
    values: Mapping[str, Any]
    """By axis: the value, or the name of the choice."""
    settings: Settings
    """With the seed of this repetition."""
    changes: tuple[str, ...]
    """Of the documents."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """By name: of axes of numbers and of what was chosen, for what is derived from them."""

    @property
    def name(self) -> str:
        """What it is called, such as `3: deadline=2, solver=exact, repetition 0`."""
        values = [f"{axis}={_text(value)}" for axis, value in self.values.items()]
        return f"{self.number}: {', '.join([*values, f'repetition {self.repetition}'])}"

    @property
    def place(self) -> Mapping[str, Any]:
        """Its number and its values, as a row has them."""
        return {"cell": self.number, **{f"axis.{axis}": value for axis, value in self.values.items()}}


def cells(study: Study) -> tuple[Cell, ...]:
    """All cells of a study, in order. Raises `DocumentError` for a value that a setting cannot have."""
    made = [_settled(study, point) for point in _points(study)]
    return tuple(
        Cell(
            repetition * len(made) + at,
            repetition,
            values,
            settings.model_copy(update={"seed": (settings.seed or 0) + repetition}),
            changes,
            numbers,
        )
        for repetition in range(study.repetitions)
        for at, (values, settings, changes, numbers) in enumerate(made)
    )


_Picked = tuple[Axis, Any]
"""An axis, and a value or a choice of it."""


def _points(study: Study) -> Iterator[tuple[_Picked, ...]]:
    axes, sampling = study.axes, study.sampling
    if sampling.kind == "grid":
        return product(*([(axis, value) for value in _listed(axis)] for axis in axes))
    if sampling.kind == "list":
        return zip(*([(axis, value) for value in _listed(axis)] for axis in axes), strict=True) if axes else iter([()])
    assert sampling.cells is not None and sampling.seed is not None, "the document was checked"
    drawn = [_drawn(axis, sampling.kind, sampling.cells, sampling.seed) for axis in axes]
    return zip(*drawn, strict=True) if drawn else iter([()] * sampling.cells)


def _listed(axis: Axis) -> Sequence[Any]:
    return axis.choices if axis.choices is not None else axis.values or ()


def _drawn(axis: Axis, kind: str, count: int, seed: int) -> list[_Picked]:
    """So many values of an axis. Each axis draws by itself, so that another one more changes none of them."""
    random = Random(f"{seed}/{axis.column}")
    if kind == "random":
        quantiles = [random.random() for _ in range(count)]
    else:
        parts = list(range(count))
        random.shuffle(parts)
        quantiles = [(part + random.random()) / count for part in parts]
    return [(axis, _at(axis, quantile)) for quantile in quantiles]


def _at(axis: Axis, quantile: float) -> Any:
    if axis.range is None:
        listed = _listed(axis)
        return listed[min(int(quantile * len(listed)), len(listed) - 1)]
    return _between(axis.range, quantile)


def _between(over: Range, quantile: float) -> float | int:
    low, high = over.low, over.high
    if over.integer:  # Each reaches up to the next: the ends are as likely as the others.
        low, high = math.ceil(low), math.floor(high) + 1
    if over.logarithmic:
        found = math.exp(math.log(low) + quantile * (math.log(high) - math.log(low)))
    else:
        found = low + quantile * (high - low)
    if over.integer:
        return min(max(math.floor(found), math.ceil(low)), math.floor(over.high))
    return min(max(float(f"{found:.{DIGITS}g}"), over.low), over.high)


_Settled = tuple[dict[str, Any], Settings, tuple[str, ...], dict[str, float]]
"""Of a cell: its values, settings, changes, and numbers."""


def _settled(study: Study, point: Sequence[_Picked]) -> _Settled:
    values: dict[str, Any] = {}
    numbers: dict[str, float] = {}
    given = {name: getattr(study.base, name) for name in SETTINGS}
    changes = list(study.base.changes)
    for axis, picked in point:
        if isinstance(picked, int | float) and not isinstance(picked, bool):
            numbers[axis.column] = picked
        if isinstance(picked, Choice):
            values[axis.column] = picked.name
            numbers |= picked.numbers
            if picked.solver is not None or picked.prefer is not None:
                given |= dict.fromkeys(WHO_PLACES)
            given |= {name: value for name in SETTINGS if (value := getattr(picked, name)) is not None}
            changes += picked.changes
        elif axis.vary in SETTINGS:
            if axis.vary in WHO_PLACES:
                given |= dict.fromkeys(WHO_PLACES)
            given[str(axis.vary)] = picked
            values[axis.column] = ",".join(map(str, picked)) if isinstance(picked, list | tuple) else picked
        else:
            values[axis.column] = picked if isinstance(picked, bool | int | float | str) else _text(picked)
            changes.append(_change(str(axis.vary), picked))
    try:
        settings = Settings.model_validate_json(json.dumps({k: v for k, v in given.items() if v is not None}))
    except ValidationError as error:
        wrong = document_error(f"study `{study.name}`", error, Settings)
        raise DocumentError(wrong.source, f"an axis gives what a setting cannot be: {wrong}", "$.axes") from None
    return values, settings, tuple(changes), numbers


def _change(vary: str, value: Any) -> str:
    """A change in the words of `documents.changes`."""
    if vary in ("without", "scale-deadlines"):
        return f"{vary} {_text(value)}"
    return f"{vary}={_text(value)}"


def _text(value: Any) -> str:
    """A value as changes are written: texts without their quotes, all else as TOML and JSON have it."""
    return value if isinstance(value, str) else json.dumps(value)


def with_solvers(study: Study, solvers: Sequence[str]) -> Study:
    """The same study for these solvers, in place of those that it names. Raises `DocumentError`."""
    if not solvers:
        return study
    for axis in study.axes:
        if any(choice.solver is not None or choice.prefer is not None for choice in axis.choices or ()):
            raise DocumentError(
                f"study `{study.name}`",
                f"axis `{axis.column}` chooses solvers, and no others can be given in their place",
                "$.axes",
                hint="change its choices",
            )
    axis = Axis(name="solver", vary="solver", values=tuple(solvers))
    axes = [axis if one.vary in WHO_PLACES else one for one in study.axes]
    if axis not in axes:
        axes.insert(0, axis)
    base = Base.model_validate(study.base.model_dump() | dict.fromkeys(WHO_PLACES))
    return Study.from_dict(
        study.model_copy(update={"axes": tuple(axes), "base": base}).model_dump(mode="json", exclude_defaults=True)
    )
