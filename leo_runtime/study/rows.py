"""What a row says of a cell: plain values by column, in this order, all integers with their unit last.

A column that there is one of for each pipeline, processor, cause or axis is called `KIND.NAME`, such as
`energy_nj.speech`; what stands before the first dot is the kind. `COLUMNS` says what each means. A row is the same, to
the byte, wherever and whenever its cell is run with the same versions; how long that took is in a table of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from leo_runtime.study.cells import Cell
from leo_runtime.study.document import DERIVED, Study

Value = int | float | str | bool | None
Row = Mapping[str, Any]
Better = Literal["lower", "higher"]
"""Which figures of a column are the better ones."""

COLUMNS: Mapping[str, str] = {
    "study": "the study's name",
    "cell": "the cell's number in the study, from 0",
    "repetition": "which repetition, from 0",
    "axis.AXIS": "the value of each axis, or the name of its choice",
    "inputs": "a digest of all that the cell is made from: documents after changes, recording, settings, own solver",
    "version.PACKAGE": "of leo-runtime, Python, numpy and, where kernels are run, what else computes",
    "workload": "the workload's name",
    "hardware": "the machine's name",
    "profile": "the profile's name",
    "recording": "the recording's name",
    "length_us": "how long a part of it was run",
    "solver": "who placed",
    "window_stages": "how many stages a window had at most; 0: each release was placed as if it were alone",
    "batch": "how many frames were placed as one",
    "reserve_percent": "how much of every deadline was kept free in plans",
    "noise_ppm": "the spread of durations",
    "seed": "of noise, gates and the solver",
    "frames": "how many ended, each batch as one",
    "answers": "how many answers were due: pipelines times their frames",
    "answered": "how many there were; the others were ended by a gate, or failed",
    "late": "how many came after their deadline",
    "failed": "how many never came",
    "misses": "late or failed",
    "in_time_ppm": "how many of a million answers that were due were not missed",
    "end_us": "when all had ended and fallen asleep",
    "energy_nj": "all energy",
    "cause_nj.CAUSE": "energy by what it was used for: run, transfer, wake-up, awake, idle tail, radio tail, asleep, "
    "...",
    "graph_nj.GRAPH": "energy by pipeline; with nothing behind the dot, what belongs to none",
    "resource_nj.RESOURCE": "energy by processor, radio, or link (`a -> b`)",
    "graph_answers.GRAPH": "how many answers were due of a pipeline",
    "graph_answered.GRAPH": "how many there were",
    "graph_late.GRAPH": "how many came after their deadline",
    "graph_failed.GRAPH": "how many never came",
    "graph_misses.GRAPH": "late or failed",
    "graph_p50_us.GRAPH": "from release to answer, of half of those answered at most; nothing where none was",
    "graph_p95_us.GRAPH": "of 95 %",
    "graph_p99_us.GRAPH": "of 99 %",
    "busy_us.RESOURCE": "how long its lanes ran or sent, together",
    "runs.RESOURCE": "how many stages ran there, or sendings",
    "wake_ups.RESOURCE": "how often it was woken",
    "solver_nodes": "what the search for answers took, in decisions and dead ends; 0 of solvers that do not search so",
    "questions": "how many questions were asked; other frames found what an earlier one had",
    "questions_proved": "how many answers were proved the best",
    "waits_given_up": "how many waits for a gate were ended so as not to be late",
    "gap_ppm": "of `gap`: how much more energy the answers promise than the exact ones to the same questions, where "
    "both are as little late, all frames together; nothing where none is",
    "gap_most_ppm": "that of the worst frame",
    "gap_frames": "how many frames that is of",
    "gap_later_frames": "how many answers are later than the exact ones",
    "gap_unproved_frames": "how many exact answers are the best found, and not proved",
    "xrbench_ppm": "of `xrbench`: that benchmark's score, in parts per million of the best there could be",
    "graph_xrbench_ppm.GRAPH": "that of a pipeline",
    "regret_ppm": "of `regret`: how much more the run took than the best plan found with everything known beforehand, "
    "by what stages are expected to take; below 0 where it took less, as noise or a better order may have it",
    "regret_best_nj": "what that plan takes, until all has lingered, which is later than `end_us`: the run is charged "
    "for as long, so `regret_ppm` is not `energy_nj` over this",
    "regret_tardiness_us": "by how much answers were late, each as often as its pipeline weighs",
    "regret_best_tardiness_us": "the same of that plan",
    "battery_s": "how long the machine's battery lasts at this power, where it says what that holds",
    "derived.NAME": "a figure that the study reckons from others (`derived`); nothing where one of those is missing",
}
"""What each column means. `docs/study-document.md` has it, too."""

LOWER_IS_BETTER = (
    *("late", "failed", "misses", "graph_late", "graph_failed", "graph_misses"),
    *("energy_nj", "cause_nj", "graph_nj", "resource_nj"),
    *("graph_p50_us", "graph_p95_us", "graph_p99_us"),
    *("solver_nodes", "waits_given_up"),
    *("gap_ppm", "gap_most_ppm", "gap_later_frames", "gap_unproved_frames", "regret_ppm", "regret_tardiness_us"),
)
"""Kinds of columns."""
HIGHER_IS_BETTER = (
    *("answered", "graph_answered", "in_time_ppm", "questions_proved"),
    *("xrbench_ppm", "graph_xrbench_ppm", "battery_s"),
)
"""Kinds of columns. Of those in neither nobody can say which figures are better."""

TIMES: Mapping[str, str] = {
    "cell": "the cell's number in the study",
    "inputs": "as in the row",
    "wall_us": "how long the cell took, loading left out",
    "solve_us": "how long its solver took",
    "worker": "where: the host and the process",
}
"""The columns of the table of times, which differ from run to run."""


def whole_row(study: Study, cell: Cell, inputs: str, measured: Row) -> dict[str, Any]:
    """The row of a cell: which one it is, what was measured, and what is derived from that."""
    return {
        "study": study.name,
        "cell": cell.number,
        "repetition": cell.repetition,
        **{f"axis.{name}": value for name, value in cell.values.items()},
        "inputs": inputs,
        **measured,
        **derived(study, cell.numbers, measured),
    }


def derived(study: Study, numbers: Mapping[str, float], measured: Row) -> dict[str, int | None]:
    """The figures that a study reckons from the numbers of a cell and its row; None where one of them is missing."""
    known = {name: value for name, value in (*measured.items(), *numbers.items()) if _is_number(value)}
    found: dict[str, int | None] = {}
    for one in study.derived:
        is_known = all(name in known for term in one.sum for name in term.of)
        terms = [math.prod((known[name] for name in term.of), start=term.times) for term in one.sum if is_known]
        total = sum(terms, start=0.0)
        found[one.column] = round(total) if is_known and math.isfinite(total) else None
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def row_bytes(measured: Row) -> bytes:
    """A row as it is kept: one line of JSON, in the order of its columns."""
    return json.dumps(measured, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def kind_of(column: str) -> str:
    """What stands before a column's first dot."""
    return column.partition(".")[0]


def is_of_energy(column: str) -> bool:
    """Whether a column says how much was used: whoever answers nothing in time uses the least."""
    return kind_of(column).endswith("_nj") or column == "battery_s"


def better(column: str, study: Study | None = None) -> Better | None:
    """Which figures of a column are the better ones; None: nobody can say, as of a column that is not ours.

    Of a figure that a study derives, and of an objective of its search, the study says so.
    """
    if study is not None:
        if study.search is not None and column in study.search.objectives:
            return "lower" if column in study.search.minimise else "higher"
        if kind_of(column) == DERIVED:
            return next((one.better for one in study.derived if one.column == column), None)
    kind = kind_of(column)
    if kind in LOWER_IS_BETTER:
        return "lower"
    return "higher" if kind in HIGHER_IS_BETTER else None


def windows_of(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """By solver, how many stages a window had at most."""
    windows: dict[str, dict[str, None]] = {}
    for row in rows:
        windows.setdefault(str(row.get("solver")), {})[str(row.get("window_stages", "-"))] = None
    return {solver: tuple(stages) for solver, stages in windows.items()}


def windows_text(rows: Sequence[Row]) -> str:
    """The same as text."""
    told = ", ".join(f"{solver} {' and '.join(stages)}" for solver, stages in windows_of(rows).items())
    return f"{told} (0: each release alone)"


def columns_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """All columns of these rows, in the order of `COLUMNS`; within a kind as they come first."""
    rank = {kind_of(name): number for number, name in enumerate(COLUMNS)}
    found = dict.fromkeys(name for row in rows for name in row)
    return tuple(sorted(found, key=lambda name: rank.get(kind_of(name), len(rank))))


def members_of(kind: str, rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns that there are of a kind, such as `cause_nj`; none where that is a column itself, or no kind."""
    known = columns_of(rows)
    return () if kind in known else tuple(column for column in known if column.startswith(f"{kind}."))
