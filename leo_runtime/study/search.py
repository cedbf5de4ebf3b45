"""A part of a study's grid run to find its front, by NSGA-II (Deb et al., 2002) of optuna (extra `search`).

What is asked for depends on the seed, the grid and the rows alone, not on how many processes run it or what the store
has already: a search that was killed asks for the same cells again, and runs those that have no row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from leo_runtime.errors import DocumentError, LeoError, MissingExtraError
from leo_runtime.progress import Progress
from leo_runtime.study.cells import Cell, cells
from leo_runtime.study.document import Search, Study
from leo_runtime.study.fronts import Judged, judged
from leo_runtime.study.loading import Loader
from leo_runtime.study.running import Planned, Runner, rows, run
from leo_runtime.study.shown import Names
from leo_runtime.study.store import Failure, Store

PART = 10
"""A search that names no budget runs one cell in so many."""
LEAST_POPULATION, MOST_POPULATION, GENERATIONS = 10, 50, 10
"""About so many generations there are, each of at least and at most so many points."""

Judge = Callable[[Sequence[int]], Sequence[Judged]]
"""What becomes of these points; of those that fail nothing."""


def asked_of(study: Study) -> Search:
    """What a study searches for. Raises `DocumentError` where it says nothing."""
    if study.search is None:
        hint = 'add [search] with minimise = ["energy_nj", "misses"], or other columns'
        raise DocumentError(f"study `{study.name}`", "it does not say what is searched for", "$.search", hint=hint)
    return study.search


def budget_of(study: Study, search: Search) -> int:
    """How many points are run."""
    return min(study.points, search.budget or -(-study.points // PART))


def searched(study: Study, search: Search, judge: Judge) -> tuple[Judged, ...]:
    """The points that a search has judged, as many as its budget, in the order that they were asked for.

    With a budget of the whole grid that is all of it, in its order. Raises `MissingExtraError` where it is less, and
    optuna is missing.
    """
    budget = budget_of(study, search)
    if budget == study.points:
        return tuple(judge(range(budget)))
    return tuple(_Searching(study, search, budget).run(judge))


class _Searching:
    """A search of a part of a grid."""

    def __init__(self, study: Study, search: Search, budget: int) -> None:
        self._sizes = [len(axis.called) for axis in study.axes]
        self._points, self._budget = study.points, budget
        self._population = max(LEAST_POPULATION, min(MOST_POPULATION, budget // GENERATIONS))
        self._optuna = _optuna()
        self._random = Random(search.seed)
        self._choices = {
            axis.column: self._optuna.distributions.CategoricalDistribution(range(size))
            for axis, size in zip(study.axes, self._sizes, strict=True)
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It says of bounds that they are new there, which they were in 2021.
            sampler = self._optuna.samplers.NSGAIISampler(
                population_size=self._population,
                seed=search.seed,
                constraints_func=(lambda trial: trial.user_attrs.get("over", (1.0,))) if search.at_most else None,
            )
        self._study = self._optuna.create_study(directions=["minimize"] * len(search.objectives), sampler=sampler)

    def run(self, judge: Judge) -> Iterator[Judged]:
        """Ask for a generation, have it judged, and so on."""
        known: dict[int, Judged | None] = {}
        while len(known) < self._budget:
            trials = [self._study.ask(self._choices) for _ in range(self._population)]
            points = [self._point(trial.params) for trial in trials]
            new = [point for point in dict.fromkeys(points) if point not in known]
            # Where it has nothing new to ask, it is told of something that it has not asked for.
            new = new[: self._budget - len(known)] or self._unseen(known)
            known |= dict.fromkeys(new)
            found = judge(new)
            known |= {one.point: one for one in found}
            yield from found
            for trial, point in zip(trials, points, strict=True):
                self._tell(trial, known.get(point))
            for point in [point for point in new if point not in points]:
                self._study.enqueue_trial(self._params(point))
                self._tell(self._study.ask(self._choices), known[point])

    def _tell(self, trial: Any, found: Judged | None) -> None:
        if found is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            return
        trial.set_user_attr("over", found.over)
        self._study.tell(trial, found.costs)

    def _unseen(self, known: dict[int, Judged | None]) -> list[int]:
        left = [point for point in range(self._points) if point not in known]
        return self._random.sample(left, min(len(left), self._budget - len(known), self._population))

    def _point(self, params: dict[str, int]) -> int:
        """The number of a point in the grid, of which the last axis changes fastest."""
        number = 0
        for size, at in zip(self._sizes, (params[name] for name in self._choices), strict=True):
            number = number * size + at
        return number

    def _params(self, point: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for size, name in reversed(list(zip(self._sizes, self._choices, strict=True))):
            point, found[name] = divmod(point, size)
        return found


def _optuna() -> Any:
    try:
        optuna = import_module("optuna")
    except ImportError:
        raise MissingExtraError("searching a part of a study", "search") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Judging:
    """Has points run, what of them has no row, and kept. For one thread."""

    def __init__(
        self,
        study: Study,
        folder: Path,
        store: Store,
        run_cells: Runner,
        *,
        again: bool = False,
        progress: Progress = lambda *_: None,
        failed: Callable[[Cell, Failure], None] = lambda *_: None,
    ) -> None:
        """As `running.run` has them."""
        every = cells(study)
        self.planned = Planned(study, folder, every, ("",) * len(every), {}, ())
        self.asked: dict[int, None] = {}
        self._search = asked_of(study)
        self._budget = budget_of(study, self._search)
        self._loader, self._names = Loader(study, folder), Names()
        self._store, self._run_cells, self._again = store, run_cells, again
        self._progress, self._failed = progress, failed

    def __call__(self, points: Sequence[int]) -> tuple[Judged, ...]:
        """The points judged. Raises `LeoError` where none can be run, and where a column is asked for that is none."""
        study = self.planned.study
        before = len(self.asked)
        self.asked |= dict.fromkeys(points)
        inputs, wrong = list(self.planned.inputs), dict(self.planned.wrong)
        # Of this generation alone: what failed in an earlier one is not run again for it.
        new_inputs, new_wrong = [""] * len(inputs), dict[int, LeoError]()
        for number in (point + k * study.points for k in range(study.repetitions) for point in points):
            try:
                ready = self._loader.ready(self.planned.cells[number])
            except LeoError as error:
                new_wrong[number] = error
                continue
            inputs[number] = new_inputs[number] = ready.inputs
            self._names.add(ready.documents, ready.case.workload, ready.case.hardware)
        if not before:
            self._names.check(study)
        self.planned = replace(self.planned, inputs=tuple(inputs), wrong=wrong | new_wrong)
        generation = replace(self.planned, inputs=tuple(new_inputs), wrong=new_wrong)

        def progress(name: str, done: int, steps: int) -> None:
            """A generation's part of the budget."""
            self._progress(name, before + round(len(points) * done / max(1, steps)), self._budget)

        run(
            *(generation, self._store, self._run_cells),
            again=self._again,
            progress=progress,
            failed=self._failed,
        )
        found = {one.point: one for one in judged(study, self._search, rows(self.planned, self._store))}
        return tuple(found[point] for point in points if point in found)
