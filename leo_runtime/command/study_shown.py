"""What `leo-runtime study` shows: columns over axes, fronts, and what has failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.command.shared import complain, look, put, say
from leo_runtime.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from leo_runtime.study.document import Search, Study
    from leo_runtime.study.rows import Row
    from leo_runtime.study.running import Planned
    from leo_runtime.study.slices import Held
    from leo_runtime.study.store import Failure, Store

MOST_TOLD = 20
"""How many failed cells are told of one by one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked to be shown, and how."""

    column: str | None
    """None: those that the study shows."""
    over: tuple[str, ...]
    where: list[str]
    """Of axes that are held, `AXIS=VALUE` each."""
    file: Path | None
    """Written as CSV, too."""
    columns: int | None
    """Of tables, as `look` takes it."""


def complain_of(failures: Iterable[Failure]) -> None:
    """Tell of each cause once, with the first of its cells and how many there are."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in failures:
        alike.setdefault((one.cause, one.hint), []).append(one.cell)
    for (cause, hint), names in list(alike.items())[:MOST_TOLD]:
        complain(f"{f'{len(names)} cells, the first of them' if len(names) > 1 else 'cell'} {names[0]}: {cause}")
        if hint:
            complain(f"hint: {hint}")
    if len(alike) > MOST_TOLD:
        complain(f"and {len(alike) - MOST_TOLD} causes more")


def show_all(planned: Planned, store: Store, wanted: Wanted) -> None:
    """The columns that are wanted, with what belongs beside them. Raises `InputError`."""
    from leo_runtime.report.page.study_points import points
    from leo_runtime.report.study_published import published
    from leo_runtime.schema import require_writable
    from leo_runtime.study.rows import is_of_energy, windows_of, windows_text
    from leo_runtime.study.running import rows
    from leo_runtime.terminal import fill

    columns = planned.study.show if wanted.column is None else (wanted.column,)
    if wanted.file is not None:
        require_writable(wanted.file, store.path)
    if wanted.file is not None and len(columns) > 1:
        raise InputError(f"several columns are shown, {', '.join(columns)}", hint="name one: `--column NAME`")
    every = rows(planned, store)
    if planned.study.search is not None and wanted.column is None and not wanted.where:
        put(front(planned, planned.study.search, every, wanted.columns) + "\n")
    table = _table_of(planned, store, wanted)
    found = table.rows
    for number, column in enumerate(columns):
        put("\n" * bool(number))
        _show(table, column, wanted)
    wide = look(wanted.columns).columns
    if any(map(is_of_energy, columns)) and "misses" not in columns:
        _show_misses(table, wanted)
    put(f"\n{fill(f'windows, in stages at most: {windows_text(found)}', wide, '    ')}\n")
    if len({frozenset(stages) for stages in windows_of(found).values()}) > 1:
        say("note: not all solvers had the same windows; with `window = 0` in `base` they are asked alike")
    if planned.study.published:
        of_all = points(every, [axis.column for axis in planned.study.axes])
        told = [f"published {name}: {text}" for name, text in published(planned.study, of_all)]
        put("\n" + "".join(f"{fill(line, wide, '    ')}\n" for line in told))


def front(planned: Planned, search: Search, found: Sequence[Row], columns: int | None) -> str:
    """What none is better than, as text."""
    from leo_runtime.report.study_text import front_text
    from leo_runtime.study.fronts import judged

    study = planned.study
    return front_text(search, judged(study, search, found), planned.cells, study.points, look(columns))


@dataclass(frozen=True, slots=True)
class _Table:
    """What is shown of a study: its rows, those left where axes are held, and over which axes."""

    study: Study
    rows: list[Row]
    failed: list[Row]
    """The places of cells that have failed."""
    axes: tuple[str, ...]
    """One or two."""
    held: Held

    def said(self, column: str, axes: Sequence[str]) -> str:
        """What a table over these axes is of, and the mean of what."""
        from leo_runtime.report.study_text import unit_of
        from leo_runtime.study.slices import held_text

        unit, _ = unit_of(column)
        others = [axis.column for axis in self.study.axes if axis.column not in axes]
        others = [name for name in others if len(self.held.get(name, ("", ""))) > 1]
        others += ["repetitions"] * (self.study.repetitions > 1)
        over = " and ".join(filter(None, (", ".join(others[:-1]), *others[-1:])))
        return f"{column}{', in ' * bool(unit)}{unit}{', the mean over ' * bool(over)}{over}{held_text(self.held)}"


def _table_of(planned: Planned, store: Store, wanted: Wanted) -> _Table:
    """What is asked to be shown. Raises `InputError` for axes that are none."""
    from leo_runtime.study.running import failed_cells, rows
    from leo_runtime.study.slices import held_at, sliced

    names = [axis.column for axis in planned.study.axes]
    for name in wanted.over:
        if name not in names:
            raise InputError(f"no axis is called `{name}`", hint=did_you_mean(name, names))
    if len(wanted.over) > 2:
        raise InputError(
            f"a table is over two axes at most, got {len(wanted.over)}",
            hint=f"hold the others, as by `--where {wanted.over[-1]}=VALUE`; `study export` writes all rows",
        )
    found, failed = rows(planned, store), failed_cells(planned, store)
    held = held_at(wanted.where, [*found, *failed], names)
    # An axis that is held at one value is no axis any more.
    axes = wanted.over or tuple([name for name in names if len(held.get(name, ())) != 1] or names)[:2]
    if not axes:
        raise InputError(f"study `{planned.study.name}` varies nothing", hint="`study export` writes its row")
    left = sliced(found, held)
    if not left:
        raise InputError(f"no cell where {', '.join(wanted.where)} has a row", hint="`study status` says what there is")
    return _Table(planned.study, left, sliced(failed, held), axes, held)


def _show_misses(table: _Table, wanted: Wanted) -> None:
    """Who answers nothing in time takes the least energy: beside energy it is told how many answers were missed."""
    misses = [row["misses"] for row in table.rows]
    if not any(misses):
        put("\nmisses: 0 in all cells\n")
    elif wanted.column is None and wanted.file is None:
        put("\n")
        _show(table, "misses", wanted)
    else:
        put(f"\nmisses: {min(misses)} to {max(misses)} in a cell\n")


def _show(shown: _Table, column: str, wanted: Wanted) -> None:
    from leo_runtime.report.layout import table
    from leo_runtime.report.study_tables import csv_text
    from leo_runtime.report.study_text import drawn_text
    from leo_runtime.schema import write_content
    from leo_runtime.study.heat_map import heat_map, kind_map
    from leo_runtime.study.rows import members_of

    is_drawn = shown.study.sampling.cells is not None
    members = members_of(column, shown.rows)
    if is_drawn and not wanted.over and not members:
        if wanted.file is not None:
            raise InputError(
                "cells that were drawn are no table over two axes",
                hint="name them, `--over A,B`, and they are cut into parts; `study export` writes all rows",
            )
        put(drawn_text(shown.study, shown.rows, column, look(wanted.columns)))
        return
    axes = shown.axes
    if members:
        if len(wanted.over) > 1:
            raise InputError(
                f"`{column}` is a kind of {len(members)} columns, which are told over one axis, got {len(axes)}",
                hint=f"name one axis, or one of them, such as `--column '{members[0]}'`",
            )
        axes = axes[:1]
        found = kind_map(shown.rows, column, members, axes[0], shown.failed, is_drawn=is_drawn)
    else:
        found = heat_map(shown.rows, column, axes, shown.failed, is_drawn=is_drawn)
    head = (found.down, *(f"{found.across}={value}" if found.across else column for value in found.acrosses))
    lines = [(down, *means) for down, means in zip(found.downs, found.means, strict=True)]
    cells = [
        (down, *(_cell(column, mean, count) for mean, count in zip(means, counts, strict=True)))
        for down, means, counts in zip(found.downs, found.means, found.failed, strict=True)
    ]
    put(f"{shown.said(column, axes)}\n\n{table(head, cells, look(wanted.columns))}")
    if wanted.file is not None:
        write_content(wanted.file, csv_text(head, [dict(zip(head, line, strict=True)) for line in lines]).encode())
        put(f"written: {wanted.file}\n")


def _cell(column: str, mean: float | None, failed: int) -> str:
    """A cell of a map; what has failed there is in no mean."""
    from leo_runtime.report.study_text import figure_text

    if mean is None:
        return "failed" if failed else "-"
    return f"{figure_text(column, mean)} ({failed} failed)" if failed else figure_text(column, mean)
