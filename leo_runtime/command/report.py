"""`leo-runtime report`: a run, or a study, as a page to look at, in one file."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import DONE, bar, count, names_of, put, say
from leo_runtime.errors import InputError

EXAMPLE = "report out/demo.virtual"

PAGE = "report.html"
MOST_OF_NAME = 80
"""How many letters of the solvers and of what is held a page's name has."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    shown: Path
    out: Path | None
    frames: list[int] | None
    solvers: tuple[str, ...] | None
    rows: Path | None
    where: list[str] | None
    figures: Path | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("shown", metavar="RUN|STUDY", type=Path, help="a run's folder or log, or a leo-study/1")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the page that is written (default: beside the log, or the rows)"
    )
    parser.add_argument(
        "--frame",
        dest="frames",
        type=count,
        action="append",
        metavar="N",
        help="of a run: draw this frame; may be repeated (default: the frames worth looking at)",
    )
    parser.add_argument(
        "--rows", type=Path, metavar="FOLDER", help="of a study: where its rows are kept (default: out)"
    )
    parser.add_argument(
        "--solver", dest="solvers", type=names_of, metavar="A,B", help="of a study: as it was run with `--solver`"
    )
    parser.add_argument(
        "--where",
        action="append",
        metavar="AXIS=VALUE",
        help="of a study: only cells where that axis has this value; may be repeated",
    )
    parser.add_argument(
        "--figures", type=Path, metavar="FOLDER", help="of a study: figures for papers, too: .png, .svg, and their .csv"
    )


def run(request: Request) -> int:
    """Write the page. Returns the exit status."""
    from leo_runtime.report.page.render import require_jinja2

    is_study = _is_study(request.shown)
    of_studies = {
        "--rows": request.rows,
        "--solver": request.solvers,
        "--where": request.where,
        "--figures": request.figures,
    }
    wrong = {"--frame": request.frames} if is_study else of_studies
    for option, value in wrong.items():
        if value is not None:
            what = "a study, and has no frames" if is_study else "a run, and no study"
            raise InputError(f"`{option}` has nothing to do here: {request.shown} is {what}", hint="leave it out")
    require_jinja2()
    return _study(request) if is_study else _run(request)


def _is_study(shown: Path) -> bool:
    """Whether that is a study: a file of one, or, where no run has that name, the name of one that ships."""
    from leo_runtime.study.shipped_studies import names

    return shown.suffix == ".toml" or (str(shown) in names() and not shown.exists())


def _run(request: Request) -> int:
    from leo_runtime.replay.log_reader import read_log
    from leo_runtime.report.page.run_page import run_page
    from leo_runtime.schema import require_writable

    with read_log(request.shown) as log:
        out = log.path.with_name(PAGE) if request.out is None else request.out
        require_writable(out, log.path)
        text = run_page(log, log.path.parent.name or str(log.path), request.frames or ())
    return _written(out, text)


def _study(request: Request) -> int:
    from leo_runtime.report.page.study_page import StudyRows, study_page
    from leo_runtime.schema import require_writable
    from leo_runtime.study import running
    from leo_runtime.study.shipped_studies import study_file
    from leo_runtime.study.slices import held_at, sliced
    from leo_runtime.study.store import Store, kept_in

    solvers = request.solvers or ()
    file = study_file(str(request.shown))
    study = running.chosen(file, solvers)
    path = kept_in(request.rows or Path("out"), study.name)
    where = request.where or ()
    out = path.with_name(f"{study.name}{_among(solvers, where)}.study.html") if request.out is None else request.out
    with Store(path, writes=False) as store:
        require_writable(out, path, file)
        with bar(f"reading {study.name}") as progress:
            planned = running.plan(study, file.resolve().parent, progress)
        rows, status = running.rows(planned, store), running.status(planned, store)
    cells = [cell.place for cell in planned.cells]
    held = held_at(where, cells, [axis.column for axis in study.axes])
    shown, left = sliced(rows, held), {cell["cell"] for cell in sliced(cells, held)}
    failed = {failure.cell: failure.cause for number, failure in status.failed.items() if number in left}
    text = study_page(StudyRows(study, shown, len(left), failed, held), file.name)
    figures = []
    if request.figures is not None:
        from leo_runtime.report.study_plots import write_figures

        figures = write_figures(study, shown, request.figures)
        if not figures:
            say(f"{request.figures}: nothing is written there: one cell without axes is no figure")
    return _written(out, text, figures)


def _among(solvers: Sequence[str], where: Sequence[str]) -> str:
    """What the name of the page says of the solvers and cells that were asked for: the study's own page is another."""
    asked = [*solvers, *where]
    return f".{re.sub(r'[^A-Za-z0-9_.+=-]', '_', '+'.join(asked))[:MOST_OF_NAME]}" if asked else ""


def _written(out: Path, text: str, others: list[Path] | None = None) -> int:
    from leo_runtime.report.page.render import write_page

    write_page(out, text)
    put("".join(f"written: {path}\n" for path in (out, *(others or ()))))
    return DONE
