"""A study as people write it, `leo-study/1`: what is run, what of it is varied, how cells are chosen, what is measured.

Paths in it are relative to its own folder.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.errors import did_you_mean
from leo_runtime.schema import (
    Document,
    FileName,
    Finite,
    Name,
    PathName,
    Plain,
    Positive,
    Quantity,
    Value,
    reject,
    unique,
)

Seconds = Annotated[float, Field(gt=0, le=1e9)]
Percent = Annotated[float, Field(ge=0, le=100)]

MOST_CELLS = 1_000_000
"""Of one study, repetitions counted."""

GAP, REGRET, XRBENCH = "gap", "regret", "xrbench"
DERIVED = "derived"
"""What columns of derived figures begin with."""


class Settings(Value):
    """What is run and how it is placed; what is left out is as `leo-runtime replay --virtual` has it."""

    workload: PathName | None = None
    """The name of one that ships, or a file; left out, the demo's."""
    hardware: PathName | None = None
    """The name of a machine that ships, or a file; left out, snapdragon-800."""
    profile: PathName | None = None
    """The name of a profile that ships, or a file; left out, that of the machine's name."""
    recording: PathName | None = None
    """A name or folder. None is needed where the workload reads no stream, or is named and not computed: releases are
    then made by its periods and triggers. One may be named for its links alone."""
    start_seconds: Annotated[float, Field(ge=0, le=1e9)] | None = None
    seconds: Seconds | None = None
    """How much is run; left out, all of the recording, or 60 s where there is none."""
    solver: Name | None = None
    """Who places: a solver's name, `prefer:npu,big` (the first of these processors), the name of an installed policy,
    or `module:function`; left out, exact."""
    prefer: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """In place of a solver: each stage on the first of these processors, or patterns such as `npu*`, that runs it."""
    limit_nodes: Quantity | None = None
    """How far a solver may search for a question, in decisions and dead ends, or schedules made. A solver that makes
    no such steps is refused. Left out: 20,000; 500 for a batch."""
    window: Quantity | None = None
    """How many stages a window has at most; 0: each release is placed as if it were alone. Left out: 30 with exact, 0
    with others."""
    batch: Positive | None = None
    """How many frames are collected and placed as one."""
    reserve_percent: Annotated[int, Field(ge=0, le=99)] | None = None
    """Of every deadline, kept free in plans."""
    network_known: Literal["estimated", "truth"] | None = None
    """What plans know of links that a recording or a `network` tells of: `estimated`, what transfers have shown so far,
    or `truth`, what each does as a frame is released. Left out: estimated."""
    noise_percent: Percent | None = None
    """The spread of durations."""
    seed: Quantity | None = None
    """Of noise, drawn gates and solvers that draw, in the first repetition; each further one has the next."""

    @model_validator(mode="after")
    def _one_places(self) -> Self:
        if self.solver is not None and self.prefer is not None:
            reject("`solver` and `prefer` both say who places", "$.prefer", self.prefer, hint="leave out one of them")
        return self


class Base(Settings):
    """What all cells have in common."""

    changes: tuple[Name, ...] = ()
    """Made to the documents, in the words of `leo-runtime replay --set`, before those of the axes."""


class Choice(Base):
    """One of several settings that go together, such as a machine and its profile."""

    name: Name
    numbers: dict[Name, Finite] = Field(default_factory=dict)
    """What `derived` figures are reckoned with, where it is chosen."""


class Range(Value):
    """Numbers between two, for cells that are drawn."""

    low: Finite
    high: Finite
    logarithmic: bool = False
    """Whether each factor is as likely as any other, and not each difference."""
    integer: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.low < self.high:
            reject(f"it ends at {self.high:g}, which is not above {self.low:g}", "$.high", self.high)
        if self.logarithmic and self.low <= 0:
            reject(f"a logarithmic range begins above 0, got {self.low:g}", "$.low", self.low)
        if self.integer and math.ceil(self.low) > math.floor(self.high):
            reject(f"no integer is between {self.low:g} and {self.high:g}", "$.low", self.low)
        return self


class Axis(Value):
    """Something that is varied: a setting or any field of the documents, over values, a range, or named choices."""

    name: Name | None = None
    """What its column is called; left out, as what it varies."""
    vary: Name | None = None
    """A key of `base`, such as `solver`, or what a change of the documents begins with: a path
    (`graphs.speech.deadline_us`), a path that is multiplied (`links.*.bytes_per_s*`), `scale-deadlines`, `slow dsp`,
    `network lte`."""
    values: tuple[Any, ...] | None = None
    range: Range | None = None
    choices: tuple[Choice, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [key for key in ("values", "range", "choices") if getattr(self, key) is not None]
        if len(given) != 1:
            reject(f"an axis has one of values, range and choices, got {' and '.join(given) or 'none'}", "$", given)
        if (self.choices is None) == (self.vary is None):
            says = "choices say themselves what they vary" if self.vary else "nothing says what is varied"
            reject(says, "$.vary", self.vary, hint="`vary` goes with values or a range")
        if self.choices is not None and self.name is None:
            reject("an axis of choices has a name", "$.name", None)
        if not self.called:
            reject("expected at least one", f"$.{given[0]}", [])
        if self.choices is not None:
            unique([choice.name for choice in self.choices], "$.choices[{}].name")
        for at, value in enumerate(self.values or ()):
            if not isinstance(value, bool | int | float | str | list | tuple):
                reject("a value is a number, a text, true, false, or a list", f"$.values[{at}]", value)
        if self.range is not None and self.vary in _TEXTS:
            reject(f"`{self.vary}` is no number", "$.range", self.vary)
        return self

    @property
    def column(self) -> str:
        """What its column is called."""
        return self.name or self.vary or ""

    @property
    def called(self) -> tuple[str, ...]:
        """What its values are called; of a range one, which stands for all."""
        if self.choices is not None:
            return tuple(choice.name for choice in self.choices)
        return ("",) if self.range is not None else tuple(map(str, self.values or ()))


class Term(Value):
    """A number times others: axes of numbers, numbers of choices, and columns of a row, by name."""

    times: Finite = 1.0
    of: tuple[Name, ...] = ()


class Derived(Value):
    """A figure that is reckoned from others, such as what a chip's area would be: the sum of its terms.

    Its column is `derived.NAME`, an integer. It is no part of what a cell is run with: where it is changed, nothing is
    run again.
    """

    name: Name
    """With its unit last, such as `area_um2`."""
    source: Name
    """Where its numbers come from: a citation, or a text that begins with `assumed`."""
    sum: Annotated[tuple[Term, ...], Field(min_length=1)]
    better: Literal["lower", "higher"] = "lower"

    @property
    def column(self) -> str:
        """What its column is called."""
        return f"{DERIVED}.{self.name}"


class Search(Value):
    """What is searched for among the cells of a grid: those than which no other is better in all objectives."""

    minimise: tuple[Name, ...] = ()
    """Columns; of several repetitions their mean."""
    maximise: tuple[Name, ...] = ()
    at_most: dict[Name, Finite] = Field(default_factory=dict)
    """Columns, and what they may be: a cell that is above is on no front."""
    budget: Positive | None = None
    """How many cells are run, repetitions not counted; left out, a tenth of all."""
    seed: Quantity = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.objectives) < 2:
            says = f"a front is of two objectives at least, got {len(self.objectives)}"
            reject(says, "$.minimise", list(self.minimise), hint="of one, sort its column")
        unique(list(self.objectives), "$.maximise", "objective")
        return self

    @property
    def objectives(self) -> tuple[str, ...]:
        """All of them, those first that are to be small."""
        return (*self.minimise, *self.maximise)


class Sampling(Value):
    """Which cells there are."""

    kind: Literal["grid", "list", "random", "latin"] = "grid"
    """`grid`: every value of each axis with every one of the others. `list`: the first of each, the second of each, and
    so on. `random`: each axis drawn by itself. `latin`: a Latin hypercube, in which each axis is cut into as many parts
    as there are cells, and each part is met once (McKay, Beckman and Conover, Technometrics 1979)."""
    cells: Positive | None = None
    """How many are drawn."""
    seed: Quantity | None = None
    """What they are drawn with."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in ("cells", "seed"):
            given = getattr(self, key) is not None
            if self.kind in ("random", "latin") and not given:
                reject(f'the key "{key}" is missing', f"$.{key}", None, hint="cells are drawn the same every time")
            if self.kind in ("grid", "list") and given:
                reject(f"nothing is drawn for a {self.kind}", f"$.{key}", getattr(self, key))
        return self


class Study(Document):
    """A study. Raises what `Document` raises, with the place, on anything that breaks the format."""

    format: Literal["leo-study/1"]
    name: FileName
    title: str = ""
    """The question in a sentence."""
    base: Base = Field(default_factory=Base)
    axes: tuple[Axis, ...] = ()
    sampling: Sampling = Field(default_factory=Sampling)
    repetitions: Positive = 1
    """Each cell is run so often, with other seeds; all cells of one repetition meet the same noise,
    gates and releases."""
    measure: tuple[Literal["gap", "regret", "xrbench"], ...] = ()
    """What is told besides. `xrbench`: the score of that benchmark (`leo_runtime.study.xr_score`). What takes longer:
    `gap`, how far each answer is from the exact one to its question; `regret`, how far the whole run is from the best
    plan that was found with everything known beforehand."""
    compute: bool = False
    """Whether kernels are run. Else stages cost what the profile says, and gates open but those with a `chance_ppm`."""
    logs: bool = False
    """Whether each cell leaves the log of its run."""
    limit_seconds: Seconds | None = None
    """How long a cell may take here, before it is given up as failed."""
    show: tuple[Name, ...] = ("energy_nj",)
    """The columns that the question is about: `run` prints them when all is done, and `show` where none is named."""
    derived: tuple[Derived, ...] = ()
    """Figures that are reckoned from the others of a row."""
    search: Search | None = None
    """What is searched for: `study search` runs a part of the grid to find it, and pages show it."""
    published: Plain = Field(default_factory=dict)
    """What is known of the question from elsewhere: references and figures, for people and pages."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique([axis.column for axis in self.axes], "$.axes[{}].name")
        _require_apart([axis.column for axis in self.axes], "$.axes[{}].name")
        unique([axis.vary for axis in self.axes if axis.vary is not None], "$.axes[{}].vary")
        for at, axis in enumerate(self.axes):
            if axis.vary is not None and "." not in axis.vary and axis.vary not in SETTINGS:
                words = axis.vary.split(" ")[0]
                if words not in _WORDS and not axis.vary.startswith(("battery_nj", "objective")):
                    hint = f"{did_you_mean(axis.vary, [*SETTINGS, *_WORDS])}, or a path"
                    reject(f'nothing is called "{axis.vary}"', f"$.axes[{at}].vary", axis.vary, hint=hint)
            if axis.range is not None and self.sampling.kind in ("grid", "list"):
                hint = 'give values, or draw cells: [sampling] with kind = "latin"'
                reject(f"a {self.sampling.kind} has no end of a range", f"$.axes[{at}].range", axis.column, hint=hint)
        self._check_numbers()
        unique([one.name for one in self.derived], "$.derived[{}].name")
        _require_apart([one.name for one in self.derived], "$.derived[{}].name")
        if self.sampling.kind == "grid":
            self._check_values()
        if self.search is not None and self.sampling.kind != "grid":
            hint = "leave out `sampling`, and give each axis its values"
            reject(f"a grid is searched, and no {self.sampling.kind}", "$.search", self.sampling.kind, hint=hint)
        lengths = {axis.column: len(axis.called) for axis in self.axes}
        if self.sampling.kind == "list" and len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            reject(f"the axes of a list are of one length, got {told}", "$.axes", lengths)
        if self.count > MOST_CELLS:
            reject(f"it has {self.count} cells, at most {MOST_CELLS} can be", "$", self.count, hint="draw some of them")
        return self

    def _check_values(self) -> None:
        """Refuse a value that an axis of a grid has twice, however it is written: its cells would be one in all but
        their number, and count twice in every mean."""
        for at, axis in enumerate(self.axes):
            seen: dict[object, Any] = {}
            for k, value in enumerate(axis.values or ()):
                first = seen.setdefault(_meant(value), k)
                if first != k:
                    says = f"the axis has this value already, at {first}, got {json.dumps(value)}"
                    reject(says, f"$.axes[{at}].values[{k}]", value, hint="`repetitions` run each cell several times")

    def _check_numbers(self) -> None:
        """Refuse numbers that not all choices of an axis have, or that another axis has, too."""
        numbers = {axis.column: axis.column for axis in self.axes if axis.choices is None}
        for at, axis in enumerate(self.axes):
            given = [set(choice.numbers) for choice in axis.choices or ()]
            for name in sorted(set().union(*given)):
                for k, has in enumerate(given):
                    if name not in has:
                        reject(f'the number "{name}" of other choices is missing', f"$.axes[{at}].choices[{k}]", name)
                if numbers.setdefault(name, axis.column) != axis.column:
                    reject(f'axis "{numbers[name]}" has a number "{name}", too', f"$.axes[{at}].choices", name)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers that figures may be derived from, besides columns of rows: of axes, and of their choices."""
        of_choices = [name for axis in self.axes for choice in axis.choices or () for name in choice.numbers]
        return tuple(dict.fromkeys([*(axis.column for axis in self.axes if axis.choices is None), *of_choices]))

    @property
    def points(self) -> int:
        """How many cells there are, repetitions not counted."""
        if self.sampling.cells is not None:
            return self.sampling.cells
        sizes = [len(axis.called) for axis in self.axes]
        if self.sampling.kind == "list":
            return sizes[0] if sizes else 1
        points = 1
        for size in sizes:
            points *= size
        return points

    @property
    def count(self) -> int:
        """How many cells there are."""
        return self.points * self.repetitions


WHO_PLACES = ("solver", "prefer")
SETTINGS = tuple(Settings.model_fields)
_TEXTS = ("workload", "hardware", "profile", "recording", *WHO_PLACES)
_WORDS = ("without", "scale-deadlines", "slow", "network", "fault")


def _require_apart(names: list[str], path: str) -> None:
    """Refuse names that are equal but for their capitals: to SQL, as DuckDB has it, their columns are one."""
    seen: dict[str, str] = {}
    for index, name in enumerate(names):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            says = f'the names "{other}" and "{name}" differ in their capitals alone'
            reject(says, path.format(index), name, hint="where rows are read by SQL they would be one column")


def _meant(value: Any) -> object:
    """A value as it is told from others: 3 is also 3.0 and "3"; true is no 1."""
    if isinstance(value, str):
        for number in (int, float):
            with suppress(ValueError):
                return number(value)
        return value
    return value if isinstance(value, int | float) and not isinstance(value, bool) else json.dumps(value)
