"""`leo-runtime study`: a placement study checked, run, looked at, and exported."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
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
from leo_runtime.command.study_shown import MOST_TOLD, Wanted, complain_of, front, show_all
from leo_runtime.errors import DocumentError, InputError

if TYPE_CHECKING:
    from leo_runtime.study.cells import Cell
    from leo_runtime.study.document import Study
    from leo_runtime.study.running import Planned, Runner, Status
    from leo_runtime.study.store import Failure, Store

EXAMPLE = "study run deadlines.study.toml"

LIST = "List the studies that ship, and those that have rows here."
OUT = "where rows are kept (default: the folder `out` where you are)"


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
    complain_of(status(planned, None).failed.values())
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
    complain_of(running.status(planned, None).failed.values())
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
            show_all(planned, store, _wanted(request))
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
    put(front(judging.planned, search, found_rows, request.columns))
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
            complain_of([failure])

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
            show_all(planned, store, _wanted(request))
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
        complain_of(found.failed.values())
    return ANSWERED_NO if found.failed else DONE


def _wanted(request: Request) -> Wanted:
    return Wanted(request.column, request.over, request.where, request.file, request.columns)
