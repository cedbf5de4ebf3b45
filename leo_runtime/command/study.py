"""`leo-runtime study`: a placement study checked, run, looked at, and exported."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.shared import (
    ANSWERED_NO,
    DONE,
    add_width,
    bar,
    complain,
    count,
    look,
    names_of,
    positive,
    put,
    say,
)
from leo_runtime.errors import DocumentError, InputError, did_you_mean

if TYPE_CHECKING:
    from leo_runtime.study.cells import Cell
    from leo_runtime.study.document import Search, Study
    from leo_runtime.study.rows import Row
    from leo_runtime.study.running import Planned, Runner, Status
    from leo_runtime.study.slices import Held
    from leo_runtime.study.store import Failure, Store

EXAMPLE = "study run deadlines.study.toml"

LIST = "List the studies that ship, and those that have rows here."
OUT = "where rows are kept (default: the folder `out` where you are)"
MOST_TOLD = 20
"""How many failed cells are told of one by one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    action: Literal["check", "run", "search", "status", "show", "export", "list"]
    study: str
    """Empty: of a list."""
    out: Path
    solvers: tuple[str, ...]
    scheduler: str | None
    jobs: int | None
    again: bool
    budget: int | None
    """None: as the study has it."""
    seed: int | None
    """Of a search; None: as the study has it."""
    column: str | None
    """None: those that the study shows."""
    over: tuple[str, ...]
    where: list[str]
    """Of axes that are held, `AXIS=VALUE` each."""
    file: Path | None
    json: bool
    columns: int | None
    """Of tables, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments, of each action its own."""
    parser.set_defaults(
        solvers=(),
        scheduler=None,
        jobs=None,
        again=False,
        budget=None,
        seed=None,
        column=None,
        over=(),
        where=[],
        file=None,
        json=False,
        columns=None,
        study="",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    listed = actions.add_parser("list", help=LIST, description=LIST)
    listed.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER", help=OUT)
    add_width(listed)

    _action(actions.add_parser, "check", "Read a study and all that its cells need, and say what there is to run.")

    run = _action(actions.add_parser, "run", "Run the cells that have no row yet; each row is kept as it comes.")
    _add_where(run)

    search = _action(actions.add_parser, "search", "Run a part of a study's grid to find what none is better than.")
    search.add_argument(
        "--budget", type=positive, metavar="N", help="how many points (default: the study's, or a tenth)"
    )
    search.add_argument("--seed", type=count, metavar="N", help="of the search (default: the study's, or 0)")
    _add_where(search)

    status = _action(actions.add_parser, "status", "Say how many cells are done, failed and missing, and what failed.")
    status.add_argument("--json", action="store_true", help="as JSON")

    show = _action(actions.add_parser, "show", "Print a column over one or two axes, the mean of all repetitions.")
    show.add_argument(
        "--column",
        metavar="NAME",
        help="which (default: those that the study names); a kind, such as cause_nj: all of it, over one axis",
    )
    show.add_argument("--over", type=names_of, default=(), metavar="A,B", help="which axes (default: the first two)")
    show.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="AXIS=VALUE",
        help="only cells where that axis has this value; may be repeated",
    )
    show.add_argument("--csv", dest="file", type=Path, metavar="FILE", help="write it as CSV, too")
    add_width(show)

    export = _action(actions.add_parser, "export", "Write all rows as a table, and what took how long beside it.")
    export.add_argument("--to", dest="file", type=Path, required=True, metavar="FILE", help=".csv, or .parquet")


def _action(adding: Callable[..., argparse.ArgumentParser], name: str, says: str) -> argparse.ArgumentParser:
    added = adding(name, help=says, description=says)
    added.add_argument("study", metavar="STUDY", help="a leo-study/1, or the name of one that ships")
    added.add_argument(
        "--solver",
        dest="solvers",
        type=names_of,
        default=(),
        metavar="A,B",
        help="in place of the study's: solvers by name, or `module:function` of your own",
    )
    added.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER", help=OUT)
    return added


def _add_where(parser: argparse.ArgumentParser) -> None:
    """The arguments of what runs cells."""
    parser.add_argument("--jobs", type=count, metavar="N", help="processes (default: one a core; 0: in this one)")
    parser.add_argument("--scheduler", metavar="URL", help="a Dask cluster's, such as tcp://host:8786 (extra `study`)")
    parser.add_argument("--again", action="store_true", help="run those again that have failed, too")
    add_width(parser)


def run(request: Request) -> int:
    """Do it. Returns the exit status."""
    from leo_runtime.study.running import chosen, plan
    from leo_runtime.study.shipped_studies import study_file

    if request.action == "list":
        return _list(request)
    path = study_file(request.study)
    study = chosen(path, request.solvers)
    if request.action == "search":
        return _search(study, path.resolve().parent, request)
    with bar(f"reading {study.name}") as progress:
        planned = plan(study, path.resolve().parent, progress)
    if request.action == "check":
        return _check(planned)
    if request.action == "run":
        return _run(planned, request)
    return _look(planned, request)


def _list(request: Request) -> int:
    from leo_runtime.report.layout import table
    from leo_runtime.study.document import Study
    from leo_runtime.study.shipped_studies import names, study_file
    from leo_runtime.study.store import Store, kept_studies
    from leo_runtime.terminal import fill

    wide = look(request.columns)
    put("studies that ship: `leo-runtime study run NAME`\n")
    for name in names():
        study = Study.from_file(study_file(name))
        put(f"\n{name}, {study.count:,} cells\n")
        for text in filter(None, (study.title, str(study.published.get("source", "")))):
            put(f"{fill(f'    {text}', wide.columns, '    ')}\n")
    lines = []
    for name, path in kept_studies(request.out).items():
        try:
            with Store(path, writes=False) as store:
                lines.append((name, *store.counts()))
        except DocumentError as error:  # The others are there all the same.
            complain(f"{error}\nhint: {error.hint}")
    folder = request.out.resolve()
    put(f"\nrows are kept in {folder}:\n\n" if lines else f"\nno rows are kept in {folder} (`--out` names another)\n")
    if lines:
        put(table(("study", "rows", "failed"), lines, wide))
    return DONE


def _check(planned: Planned) -> int:
    from leo_runtime.study.running import status

    study, different = planned.study, len({inputs for inputs in planned.inputs if inputs})
    axes = " x ".join(f"{axis.column} ({len(axis.called)})" for axis in study.axes) or "no axes"
    wrong = f", {len(planned.wrong)} cannot be run" if planned.wrong else ""
    put(f"{study.name}: {study.count} cells, {different} of them different{wrong}\n")
    put(f"axes: {axes}; {study.sampling.kind}; {study.repetitions} repetitions\n")
    for note in planned.notes:
        say(f"note: {note}")
    _complain_of(status(planned, None).failed.values())
    return ANSWERED_NO if planned.wrong else DONE


def _run(planned: Planned, request: Request) -> int:
    from functools import partial

    from leo_runtime.study import running
    from leo_runtime.study.cluster import run_on_cluster
    from leo_runtime.study.store import Store, kept_in

    study, told = planned.study, _Told(planned.wrong)
    run_cells = running.runner(request.jobs)
    if request.scheduler is not None:
        run_cells = partial(run_on_cluster, request.scheduler)
    _complain_of(running.status(planned, None).failed.values())
    logs = request.out.resolve() / f"{study.name}.logs" if study.logs else None
    with Store(kept_in(request.out, study.name)) as store:
        try:
            with bar(study.name) as progress:
                running.run(planned, store, run_cells, again=request.again, logs=logs, progress=progress, failed=told)
        except KeyboardInterrupt:
            _tell(running.status(planned, store), store)
            raise
        told.end()
        found = running.status(planned, store)
        _tell(found, store)
        if found.done and study.axes:
            _show_all(planned, store, request)
    return ANSWERED_NO if found.failed else DONE


def _search(study: Study, folder: Path, request: Request) -> int:
    from leo_runtime.report.study_text import beside_text
    from leo_runtime.study.fronts import judged
    from leo_runtime.study.running import plan, rows
    from leo_runtime.study.search import Judging, asked_of, searched
    from leo_runtime.study.store import Store, kept_in

    search = asked_of(study)
    given = {"budget": request.budget, "seed": request.seed}
    search = search.model_copy(update={name: value for name, value in given.items() if value is not None})
    study, told = study.model_copy(update={"search": search}), _Told()
    with Store(kept_in(request.out, study.name)) as store, _staying_runner(request) as run_cells:
        try:
            with bar(study.name) as progress:
                judging = Judging(
                    *(study, folder, store, run_cells), again=request.again, progress=progress, failed=told
                )
                found = searched(study, search, judging)
        finally:
            say(f"kept in {store.path}")
        found_rows = rows(judging.planned, store)
        beside = ""
        if store.counts()[0] > len(found_rows):  # As of a grid that was run: what of its front was found?
            with bar(f"reading {study.name}") as progress:
                beside = beside_text(found, judged(study, search, rows(plan(study, folder, progress), store)))
    told.end()
    put(f"{len(judging.asked)} of {study.points} points were asked for, from seed {search.seed}\n")
    if len(found) < len(judging.asked):
        without = len(judging.asked) - len(found)
        complain(f"{without} of them have not all that is searched by: they failed, or gave no answer")
    put(_front(judging.planned, search, found_rows, request))
    put(beside)
    return DONE if found else ANSWERED_NO


@contextmanager
def _staying_runner(request: Request) -> Iterator[Runner]:
    """Who runs cells, generation after generation: processes here, or a cluster."""
    from functools import partial

    from leo_runtime.study import running
    from leo_runtime.study.cluster import run_on_cluster

    if request.scheduler is not None:
        yield partial(run_on_cluster, request.scheduler)
        return
    with running.staying_runner(request.jobs) as run_cells:
        yield run_cells


class _Told:
    """Tells of each cause of failures as it is met, and in the end how often that was."""

    def __init__(self, wrong: Collection[int] = ()) -> None:
        """Of `wrong` cells it was told before."""
        self._wrong = wrong
        self._counts: Counter[str] = Counter()

    def __call__(self, cell: Cell, failure: Failure) -> None:
        if cell.number in self._wrong:
            return
        self._counts[failure.cause] += 1
        if self._counts[failure.cause] == 1 and len(self._counts) <= MOST_TOLD:
            _complain_of([failure])

    def end(self) -> None:
        """Tell how often each was."""
        for cause, times in self._counts.most_common(MOST_TOLD):
            if times > 1:
                complain(f"{times} cells in all failed so: {cause}")


def _tell(found: Status, store: Store) -> None:
    say(f"{found.done} of {found.cells} cells are done, {len(found.failed)} failed, {found.missing} are missing")
    say(f"kept in {store.path}")


def _look(planned: Planned, request: Request) -> int:
    from leo_runtime.report.study_tables import write_rows
    from leo_runtime.study import running
    from leo_runtime.study.store import Store, kept_in

    path = kept_in(request.out, planned.study.name)
    if request.action == "status" and not path.is_file():
        return _status(running.status(planned, None), request)
    with Store(path, writes=False) as store:
        if request.action == "status":
            return _status(running.status(planned, store), request)
        if not running.rows(planned, store):
            raise InputError(
                f"{path}: has no row of the study as it is now", hint="`leo-runtime study status` says what there is"
            )
        if request.action == "show":
            _show_all(planned, store, request)
            return DONE
        assert request.file is not None, "it is required"
        beside = request.file.with_name(f"{request.file.stem}.times{request.file.suffix}")
        write_rows(request.file, running.rows(planned, store))
        write_rows(beside, running.times(planned, store))
        put(f"written: {request.file}\nwritten: {beside}\n")
    return DONE


def _status(found: Status, request: Request) -> int:
    if request.json:
        failed = {number: {"cause": one.cause, "hint": one.hint} for number, one in found.failed.items()}
        figures = {"cells": found.cells, "done": found.done, "missing": found.missing, "failed": failed}
        put(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    else:
        put(f"{found.cells} cells: {found.done} done, {len(found.failed)} failed, {found.missing} missing\n")
        _complain_of(found.failed.values())
    return ANSWERED_NO if found.failed else DONE


def _complain_of(failures: Iterable[Failure]) -> None:
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


def _show_all(planned: Planned, store: Store, request: Request) -> None:
    from leo_runtime.report.page.study_points import points
    from leo_runtime.report.study_published import published
    from leo_runtime.schema import require_writable
    from leo_runtime.study.rows import is_of_energy, windows_of, windows_text
    from leo_runtime.study.running import rows
    from leo_runtime.terminal import fill

    columns = planned.study.show if request.column is None else (request.column,)
    if request.file is not None:
        require_writable(request.file, store.path)
    if request.file is not None and len(columns) > 1:
        raise InputError(f"several columns are shown, {', '.join(columns)}", hint="name one: `--column NAME`")
    every = rows(planned, store)
    if planned.study.search is not None and request.column is None and not request.where:
        put(_front(planned, planned.study.search, every, request) + "\n")
    table = _table_of(planned, store, request)
    found = table.rows
    for number, column in enumerate(columns):
        put("\n" * bool(number))
        _show(table, column, request)
    wide = look(request.columns).columns
    if any(map(is_of_energy, columns)) and "misses" not in columns:
        _show_misses(table, request)
    put(f"\n{fill(f'windows, in stages at most: {windows_text(found)}', wide, '    ')}\n")
    if len({frozenset(stages) for stages in windows_of(found).values()}) > 1:
        say("note: not all solvers had the same windows; with `window = 0` in `base` they are asked alike")
    if planned.study.published:
        of_all = points(every, [axis.column for axis in planned.study.axes])
        told = [f"published {name}: {text}" for name, text in published(planned.study, of_all)]
        put("\n" + "".join(f"{fill(line, wide, '    ')}\n" for line in told))


def _front(planned: Planned, search: Search, found: Sequence[Row], request: Request) -> str:
    from leo_runtime.report.study_text import front_text
    from leo_runtime.study.fronts import judged

    study = planned.study
    return front_text(search, judged(study, search, found), planned.cells, study.points, look(request.columns))


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


def _table_of(planned: Planned, store: Store, request: Request) -> _Table:
    """What is asked to be shown. Raises `InputError` for axes that are none."""
    from leo_runtime.study.running import failed_cells, rows
    from leo_runtime.study.slices import held_at, sliced

    names = [axis.column for axis in planned.study.axes]
    for name in request.over:
        if name not in names:
            raise InputError(f"no axis is called `{name}`", hint=did_you_mean(name, names))
    if len(request.over) > 2:
        raise InputError(
            f"a table is over two axes at most, got {len(request.over)}",
            hint=f"hold the others, as by `--where {request.over[-1]}=VALUE`; `study export` writes all rows",
        )
    found, failed = rows(planned, store), failed_cells(planned, store)
    held = held_at(request.where, [*found, *failed], names)
    # An axis that is held at one value is no axis any more.
    axes = request.over or tuple([name for name in names if len(held.get(name, ())) != 1] or names)[:2]
    if not axes:
        raise InputError(f"study `{planned.study.name}` varies nothing", hint="`study export` writes its row")
    left = sliced(found, held)
    if not left:
        raise InputError(
            f"no cell where {', '.join(request.where)} has a row", hint="`study status` says what there is"
        )
    return _Table(planned.study, left, sliced(failed, held), axes, held)


def _show_misses(table: _Table, request: Request) -> None:
    """Who answers nothing in time takes the least energy: beside energy it is told how many answers were missed."""
    misses = [row["misses"] for row in table.rows]
    if not any(misses):
        put("\nmisses: 0 in all cells\n")
    elif request.column is None and request.file is None:
        put("\n")
        _show(table, "misses", request)
    else:
        put(f"\nmisses: {min(misses)} to {max(misses)} in a cell\n")


def _show(shown: _Table, column: str, request: Request) -> None:
    from leo_runtime.report.layout import table
    from leo_runtime.report.study_tables import csv_text
    from leo_runtime.report.study_text import drawn_text
    from leo_runtime.schema import write_content
    from leo_runtime.study.heat_map import heat_map, kind_map
    from leo_runtime.study.rows import members_of

    is_drawn = shown.study.sampling.cells is not None
    members = members_of(column, shown.rows)
    if is_drawn and not request.over and not members:
        if request.file is not None:
            raise InputError(
                "cells that were drawn are no table over two axes",
                hint="name them, `--over A,B`, and they are cut into parts; `study export` writes all rows",
            )
        put(drawn_text(shown.study, shown.rows, column, look(request.columns)))
        return
    axes = shown.axes
    if members:
        if len(request.over) > 1:
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
    put(f"{shown.said(column, axes)}\n\n{table(head, cells, look(request.columns))}")
    if request.file is not None:
        write_content(request.file, csv_text(head, [dict(zip(head, line, strict=True)) for line in lines]).encode())
        put(f"written: {request.file}\n")


def _cell(column: str, mean: float | None, failed: int) -> str:
    """A cell of a map; what has failed there is in no mean."""
    from leo_runtime.report.study_text import figure_text

    if mean is None:
        return "failed" if failed else "-"
    return f"{figure_text(column, mean)} ({failed} failed)" if failed else figure_text(column, mean)
