"""A study run: what is missing of it is run, here or on a cluster, and each row is kept as it comes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leo_runtime.documents.changes import ALREADY
from leo_runtime.errors import LeoError
from leo_runtime.progress import Progress
from leo_runtime.study.cells import Cell, cells, with_solvers
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from leo_runtime.study.outcome import Outcome
from leo_runtime.study.policies import policy
from leo_runtime.study.rows import Row, whole_row
from leo_runtime.study.shown import Names
from leo_runtime.study.store import Failure, Store, log_file
from leo_runtime.study.workers import Crew, Job, python, run_here, run_in_workers


@dataclass(frozen=True, slots=True)
class Planned:
    """The cells of a study, each with a digest of what it is made from."""

    study: Study
    folder: Path
    cells: tuple[Cell, ...]
    inputs: tuple[str, ...]
    """Of each cell."""
    wrong: dict[int, LeoError]
    """Why cells cannot be run at all, by number; their digest is empty."""
    notes: tuple[str, ...]
    """What is to be told of changes, each once."""


def chosen(file: Path, solvers: Sequence[str]) -> Study:
    """The study of a file, for these solvers if there are any. Raises `LeoError`, also where one of them is none."""
    for name in solvers:
        policy(name, file.resolve().parent)
    return with_solvers(Study.from_file(file), solvers)


def plan(study: Study, folder: Path, progress: Progress = lambda *_: None) -> Planned:
    """Read and change all documents, as every cell needs them.

    Raises `DocumentError` for a wrong study, also one that shows columns that no row will have.
    """
    loader, found, wrong = Loader(study, folder), [], {}
    notes: Counter[str] = Counter()
    names = Names()
    all_cells = cells(study)
    for cell in all_cells:
        progress(cell.name, cell.number, len(all_cells))
        try:
            ready = loader.ready(cell)
        except LeoError as error:
            wrong[cell.number] = error
            found.append("")
            continue
        found.append(ready.inputs)
        names.add(ready.documents, ready.case.workload, ready.case.hardware)
        notes.update(dict.fromkeys(ready.notes, 1))
    names.check(study)
    # A value of an axis that is there without the study, too, is what the others are compared with.
    can_run = len(found) - len(wrong)
    told = tuple(note for note, times in notes.items() if times == can_run or not note.endswith(ALREADY))
    return Planned(study, folder, all_cells, tuple(found), wrong, told)


@dataclass(frozen=True, slots=True)
class Status:
    """How far a study is."""

    done: int
    missing: int
    failed: dict[int, Failure]
    """By the cell's number."""

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.done + self.missing + len(self.failed)


def status(planned: Planned, store: Store | None) -> Status:
    """How far it is, by what is kept. Raises `DocumentError`."""
    rows = {} if store is None else store.rows(planned.inputs)
    failures = {} if store is None else store.failures(planned.inputs)
    failed = {number: Failure(planned.cells[number].name, str(e), e.hint) for number, e in planned.wrong.items()}
    done = 0
    for cell, inputs in zip(planned.cells, planned.inputs, strict=True):
        if inputs in rows:
            done += 1
        elif inputs in failures:
            failed[cell.number] = failures[inputs]
    return Status(done, len(planned.cells) - done - len(failed), dict(sorted(failed.items())))


CHANGED = "what it is made from was changed as the study ran, or is another one where it ran"

Runner = Callable[[Job, Sequence[int]], Generator[Outcome, None, None]]
"""Runs cells by their numbers."""


def runner(jobs: int | None = None) -> Runner:
    """Cells in so many processes, as many as there are cores for None; 0: in this process.

    Where this process is no Python that could be started again, they run in it, too.
    """
    executable, count = python(), _processes(jobs)
    if executable is None or count == 0:
        return run_here
    started, many = executable, count
    return lambda job, numbers: run_in_workers(job, numbers, min(many, len(numbers)), started)


@contextmanager
def staying_runner(jobs: int | None = None) -> Iterator[Runner]:
    """The same for several runs of one job: its processes stay from one to the next, until the context ends."""
    executable, count = python(), _processes(jobs)
    if executable is None or count == 0:
        yield run_here
        return
    started: str = executable
    crew: Crew | None = None

    def run_cells(job: Job, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
        nonlocal crew
        if crew is None:
            crew = Crew(job, count, started)
        yield from crew.run(numbers)

    try:
        yield run_cells
    finally:
        if crew is not None:
            crew.close()


def _processes(jobs: int | None) -> int:
    count = len(os.sched_getaffinity(0)) if jobs is None and hasattr(os, "sched_getaffinity") else jobs
    return os.cpu_count() or 1 if count is None else count


def run(
    planned: Planned,
    store: Store,
    run_cells: Runner,
    *,
    again: bool = False,
    logs: Path | None = None,
    progress: Progress = lambda *_: None,
    failed: Callable[[Cell, Failure], None] = lambda *_: None,
) -> None:
    """Run what has no row, or no log where there are to be some; what has failed before only with `again`.

    `failed` is told of each that fails. Rows are kept as they come: whenever this ends, by whatever, they are there.
    Raises `LeoError` where no cell can be run, and where rows cannot be kept.
    """
    kept = set(store.rows(planned.inputs))
    if logs is not None:
        kept = {inputs for inputs in kept if log_file(logs, inputs).is_file()}
    if not again:
        kept |= set(store.failures(planned.inputs))
    # Cells of the same inputs have the same row.
    todo = {inputs: cell.number for cell, inputs in reversed(list(zip(planned.cells, planned.inputs, strict=True)))}
    numbers = sorted(number for inputs, number in todo.items() if inputs and inputs not in kept)
    for number, error in planned.wrong.items():
        failed(planned.cells[number], Failure(planned.cells[number].name, str(error), error.hint))
    if not numbers:
        return
    before = len(todo) - len(numbers)
    progress(planned.cells[numbers[0]].name, before, len(todo))
    with closing(run_cells(Job(planned.study, planned.folder, logs), numbers)) as outcomes:
        for done, ended in enumerate(outcomes, 1):
            cell, inputs = planned.cells[ended.cell], planned.inputs[ended.cell]
            if ended.cause:
                failure = Failure(cell.name, ended.cause, ended.hint)
                store.fail(inputs, failure)
                failed(cell, failure)
            elif ended.inputs != inputs:  # It stays missing.
                failed(cell, Failure(cell.name, CHANGED, "run it again; on a cluster all find the same files"))
            else:
                store.keep(inputs, ended.row, ended.times)
            progress(cell.name, before + done, len(todo))


def rows(planned: Planned, store: Store) -> list[dict[str, Any]]:
    """The rows that are there, in the order of their cells. Raises `DocumentError`."""
    kept = store.rows(planned.inputs)
    return [
        whole_row(planned.study, cell, inputs, json.loads(kept[inputs]))
        for cell, inputs in zip(planned.cells, planned.inputs, strict=True)
        if inputs in kept
    ]


def failed_cells(planned: Planned, store: Store) -> list[Row]:
    """The cells that have failed, each with its number and the values of its axes. Raises `DocumentError`."""
    return [planned.cells[number].place for number in status(planned, store).failed]


def times(planned: Planned, store: Store) -> list[dict[str, Any]]:
    """What took how long, in the order of the cells, of cells that have a row. Raises `DocumentError`."""
    kept = store.times(planned.inputs)
    return [
        {"cell": cell.number, "inputs": inputs, **kept[inputs]}
        for cell, inputs in zip(planned.cells, planned.inputs, strict=True)
        if inputs in kept
    ]
