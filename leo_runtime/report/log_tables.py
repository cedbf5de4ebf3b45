"""What the log of a run holds as Parquet tables: frames, graphs, stages, transfers, loads and energy.

They are written by row groups as the log is read, so memory does not grow with it; the same log gives the same bytes
with the same pyarrow. Columns have their units last in their names; times are on the run's clock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from leo_runtime.errors import DocumentError, InputError, MissingExtraError
from leo_runtime.frame.entries import Entry
from leo_runtime.replay.log_lines import FrameLine, GraphLine, LoadLine, StageLine, TransferLine
from leo_runtime.replay.log_reader import RunLog, frame_entries
from leo_runtime.schema import require_writable

FORMAT = "leo-tables/1"
ROWS = 20_000
"""How many rows a row group has."""

_INT, _TEXT, _BOOL, _TEXTS = "int64", "string", "bool", "texts"

TABLES: Mapping[str, Mapping[str, str]] = {
    "frames": {
        "frame": _INT,
        "release_us": _INT,
        "admitted_us": _INT,
        "status": _TEXT,
        "skipped": _BOOL,
        "reason": _TEXT,
        "question": _TEXT,
        "planned_tardiness_us": _INT,
        "planned_energy_nj": _INT,
        "planned_makespan_us": _INT,
        "planned_accuracy_loss_ppm": _INT,
        "waits_given_up": _INT,
    },
    "graphs": {
        "frame": _INT,
        "number": _INT,
        "graph": _TEXT,
        "release_us": _INT,
        "outcome": _TEXT,
        "label": _TEXT,
        "end_us": _INT,
        "deadline_us": _INT,
        "latency_us": _INT,
        "late_us": _INT,
        "gap_us": _INT,
        "exit": _TEXT,
    },
    "stages": {
        "frame": _INT,
        "stage": _TEXT,
        "of": _TEXT,
        "graphs": _TEXTS,
        "resource": _TEXT,
        "variant": _TEXT,
        "lane": _INT,
        "outcome": _TEXT,
        "planned_start_us": _INT,
        "planned_end_us": _INT,
        "start_us": _INT,
        "end_us": _INT,
        "expected_us": _INT,
        "expected_nj": _INT,
        "device_us": _INT,
        "nj": _INT,
        "energy_from": _TEXT,
        "error": _TEXT,
    },
    "transfers": {
        "frame": _INT,
        "stage": _TEXT,
        "graphs": _TEXTS,
        "source": _TEXT,
        "target": _TEXT,
        "resource": _TEXT,
        "lane": _INT,
        "planned_start_us": _INT,
        "start_us": _INT,
        "sent_us": _INT,
        "arrive_us": _INT,
        "nj": _INT,
        "error": _TEXT,
    },
    "loads": {
        "frame": _INT,
        "label": _TEXT,
        "graphs": _TEXTS,
        "stages": _TEXTS,
        "target": _TEXT,
        "resource": _TEXT,
        "lane": _INT,
        "bytes": _INT,
        "planned_start_us": _INT,
        "start_us": _INT,
        "loaded_us": _INT,
        "arrive_us": _INT,
        "nj": _INT,
    },
    "energy": {
        "cause": _TEXT,
        "resource": _TEXT,
        "graph": _TEXT,
        "frame": _INT,
        "stage": _TEXT,
        "at_us": _INT,
        "until_us": _INT,
        "nj": _INT,
    },
}
"""The columns of each table. `energy` has a row for each graph that some energy is shared by, "" where it is nobody's:
its sum over all rows is all that the run used. `late_us` is 0 of what came in time, and null of what never came."""


def write_tables(log: RunLog, folder: Path) -> tuple[Path, ...]:
    """Write the tables into a folder, which is made; files of these names are replaced once all are whole.

    Raises `MissingExtraError` without the extra `tables`, `InputError` where nothing can be written, and
    `DocumentError` where the log is damaged, or the disk is full: what was there before is then still there.
    """
    paths = {name: folder / f"{name}.parquet" for name in TABLES}
    arrow, parquet = pyarrow()
    for path in paths.values():
        require_writable(path, log.path)
    metadata = {"format": FORMAT, "run": log.head.model_dump_json(exclude={"workload", "hardware", "profile"})}
    try:
        with ExitStack() as stack:
            tables = {
                name: stack.enter_context(_Table(arrow, parquet, paths[name], columns, metadata))
                for name, columns in TABLES.items()
            }
            nj = 0
            for frame in log.frames():
                nj += sum([run.nj for run in frame.stages]) + sum([send.nj for send in frame.transfers])
                nj += sum([load.nj for load in frame.loads])
                for name, rows in _rows(frame):
                    tables[name].add(rows)
            for entry in log.standing_entries():
                nj += entry.nj
                tables["energy"].add(_energy(entry))
            log.require_sum(nj)
        for table in tables.values():
            table.put_in_place()
    except OverflowError:
        raise DocumentError(str(log.path), "a number of it is too great for a table", hint=_TOO_GREAT) from None
    except OSError as error:
        raise DocumentError(str(folder), f"cannot be written ({error.strerror or error})") from None
    return tuple(paths.values())


_TOO_GREAT = "a column holds numbers below 2^63: no run that leo-runtime writes has more"


def pyarrow() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet. Raises `MissingExtraError`, and `InputError` for one that does not load here."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise MissingExtraError("writing Parquet tables", "tables") from None
    except ImportError as error:  # pyarrow 26 needs numpy 2, and does not say so to pip.
        raise InputError(
            f"pyarrow cannot be used here ({error})", hint="pip install --upgrade numpy, or 'pyarrow<26' for numpy 1"
        ) from None


class _Table:
    """One file, written beside its place as long as it is not whole."""

    def __init__(
        self, arrow: Any, parquet: Any, path: Path, columns: Mapping[str, str], metadata: Mapping[str, str]
    ) -> None:
        types = {_INT: arrow.int64(), _TEXT: arrow.string(), _BOOL: arrow.bool_(), _TEXTS: arrow.list_(arrow.string())}
        fields = [(name, types[kind]) for name, kind in columns.items()]
        self._arrow = arrow
        self._schema = arrow.schema(fields, metadata=dict(metadata))
        self._path = path
        self._beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._writer = parquet.ParquetWriter(self._beside, self._schema, compression="zstd")
        self._rows: list[Sequence[object]] = []

    def add(self, rows: Iterator[Sequence[object]]) -> None:
        """Some rows more."""
        self._rows.extend(rows)
        while len(self._rows) >= ROWS:
            self._write(self._rows[:ROWS])
            del self._rows[:ROWS]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write(self._rows)
        except BaseException as wrong:
            kind = type(wrong)
            raise
        finally:
            self._writer.close()
            if kind is not None:
                self._beside.unlink(missing_ok=True)

    def put_in_place(self) -> None:
        """The file is whole: it takes the place of what was there."""
        self._beside.replace(self._path)

    def _write(self, rows: Sequence[Sequence[object]]) -> None:
        columns = zip(*rows, strict=True) if rows else ((),) * len(self._schema)
        arrays = [
            self._arrow.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.table(arrays, schema=self._schema), row_group_size=ROWS)


def _rows(frame: FrameLine) -> Iterator[tuple[str, Iterator[Sequence[object]]]]:
    """A frame's rows of each table."""
    yield "frames", iter([_frame(frame)])
    yield "graphs", (_graph(frame, seen) for seen in frame.graphs)
    yield "stages", (_stage(frame, run) for run in frame.stages)
    yield "transfers", (_transfer(frame, send) for send in frame.transfers)
    yield "loads", (_load(frame, load) for load in frame.loads)
    yield "energy", (row for entry in frame_entries(frame) for row in _energy(entry))


def _load(frame: FrameLine, load: LoadLine) -> Sequence[object]:
    return (
        frame.frame,
        load.label,
        load.graphs,
        load.stages,
        load.target,
        load.resource,
        load.lane,
        load.bytes,
        load.planned_start_us,
        load.start_us,
        load.loaded_us,
        load.arrive_us,
        load.nj,
    )


def _frame(frame: FrameLine) -> Sequence[object]:
    criteria = frame.criteria
    planned = (
        (None,) * 4
        if criteria is None
        else (criteria.tardiness, criteria.energy, criteria.makespan, criteria.accuracy_loss)
    )
    begun_us = frame.release_us if frame.admitted_us is None else frame.admitted_us
    return (
        frame.frame,
        frame.release_us,
        begun_us,
        frame.status,
        frame.skipped,
        frame.reason,
        frame.question,
        *planned,
        frame.waits_given_up,
    )


def _graph(frame: FrameLine, seen: GraphLine) -> Sequence[object]:
    late_us = None if seen.outcome == "failed" else max(0, seen.end_us - seen.deadline_us)
    latency_us = seen.end_us - seen.release_us
    when = (seen.end_us, seen.deadline_us, latency_us, late_us, seen.gap_us, seen.exit)
    return (frame.frame, seen.number, seen.graph, seen.release_us, seen.outcome, seen.label, *when)


def _stage(frame: FrameLine, run: StageLine) -> Sequence[object]:
    return (
        frame.frame,
        run.stage,
        run.of or run.stage,
        run.graphs,
        run.resource,
        run.variant,
        run.lane,
        run.outcome,
        run.planned_start_us,
        run.planned_end_us,
        run.start_us,
        run.end_us,
        run.expected_us,
        run.expected_nj,
        run.device_us,
        run.nj,
        run.energy_from,
        run.error,
    )


def _transfer(frame: FrameLine, send: TransferLine) -> Sequence[object]:
    return (
        frame.frame,
        send.stage,
        send.graphs,
        send.source,
        send.target,
        send.resource,
        send.lane,
        send.planned_start_us,
        send.start_us,
        send.sent_us,
        send.arrive_us,
        send.nj,
        send.error,
    )


def _energy(entry: Entry) -> Iterator[Sequence[object]]:
    for graph, nj in entry.shares():
        yield (entry.cause, entry.resource, graph, entry.frame, entry.stage, entry.at_us, entry.until_us, nj)
