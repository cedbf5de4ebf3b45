"""The rows of a study in one file, each as soon as it is there, by the digest of what it is made from.

It is an SQLite database with a write-ahead log: whoever is killed, and when, what was kept is there. On a file system
of the network, such logs cannot be shared; one program writes at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from leo_runtime.errors import DocumentError
from leo_runtime.schema import require_writable

FORMAT = "leo-study-rows/1"
NOT_RUN_HINT = "`leo-runtime study run STUDY` runs it; where its rows are in another folder, name that"
_END = ".study.sqlite"
BUSY_S = 30
"""How long another program is waited for that writes."""

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS about (format TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (inputs TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (inputs TEXT PRIMARY KEY, cell TEXT, cause TEXT, hint TEXT);
CREATE TABLE IF NOT EXISTS times (inputs TEXT PRIMARY KEY, wall_us INTEGER, solve_us INTEGER, worker TEXT);
INSERT INTO about SELECT '{format}' WHERE NOT EXISTS (SELECT * FROM about);
COMMIT;
"""
"""All or nothing: whoever is killed in the middle leaves no file that is neither empty nor a store."""
_ROOM_HINT = "make room, or name another folder, and run it again: what is kept is not run again"
_HINTS = {
    sqlite3.SQLITE_FULL: _ROOM_HINT,
    sqlite3.SQLITE_IOERR: f"the disk may be full, or gone: {_ROOM_HINT}",
    sqlite3.SQLITE_BUSY: "another program writes to it: let that end, and run it again",
    sqlite3.SQLITE_LOCKED: "another program writes to it: let that end, and run it again",
    sqlite3.SQLITE_READONLY: "it, or its folder, cannot be written to: name another folder",
    sqlite3.SQLITE_CANTOPEN: "it, or its folder, cannot be written to: name another folder",
    sqlite3.SQLITE_PROTOCOL: "its file system cannot lock it, as some of the network: name a folder of another one",
}
"""By what SQLite says in the lower byte of its codes: in all these cases what is kept is sound."""
_DAMAGED_HINT = "if it is damaged, move it away: what it held is then run again"


def kept_in(folder: Path, study: str) -> Path:
    """The file of the rows of a study of that name, in the folder that they are kept in."""
    return folder / f"{study}{_END}"


def log_file(folder: Path, inputs: str) -> Path:
    """The log of the cell of those inputs, in the folder that logs are kept in."""
    return folder / f"{inputs}.jsonl"


def kept_studies(folder: Path) -> dict[str, Path]:
    """The files of rows in that folder, by the study's name."""
    return {path.name.removesuffix(_END): path for path in sorted(folder.glob(f"*{_END}"))}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a cell has no row."""

    cell: str
    """What it was called."""
    cause: str
    hint: str = ""


class Store:
    """The file. For one thread; several programs may read it while one writes."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        """Open it, and make it where it is to be written. Raises `DocumentError`."""
        self.path = path
        if writes:
            require_writable(path)
        elif not path.is_file():
            raise DocumentError(str(path), "nothing has run yet", hint=NOT_RUN_HINT)
        with self._told():
            self._file = sqlite3.connect(_named(path, writes), timeout=BUSY_S, isolation_level=None, uri=True)
        try:
            with self._told():
                if writes:
                    self._file.execute("PRAGMA journal_mode = WAL")
                    self._file.executescript(_TABLES.format(format=FORMAT))
                elif not self._file.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0]:
                    # Whoever began it was ended, or had no room, before there was anything in it.
                    raise DocumentError(str(path), "nothing has run yet", hint=NOT_RUN_HINT)
                found = self._file.execute("SELECT format FROM about").fetchone()
            if found is None or found[0] != FORMAT:
                raise DocumentError(str(path), f"its format is {found and found[0]}, and {FORMAT} is read")
        except BaseException:
            self._file.close()
            raise

    def rows(self, inputs: Collection[str]) -> dict[str, str]:
        """Of these digests, the rows that are there, as text. Raises `DocumentError`."""
        return {key: str(row) for key, row in self._those("SELECT inputs, row FROM rows", inputs)}

    def failures(self, inputs: Collection[str]) -> dict[str, Failure]:
        """Of these digests, what failed and has no row. Raises `DocumentError`."""
        said = self._those("SELECT inputs, cell, cause, hint FROM failures", inputs)
        return {key: Failure(cell, cause, hint) for key, cell, cause, hint in said}

    def times(self, inputs: Collection[str]) -> dict[str, dict[str, Any]]:
        """Of these digests, what took how long, as far as is known. Raises `DocumentError`."""
        said = self._those("SELECT inputs, wall_us, solve_us, worker FROM times", inputs)
        return {key: {"wall_us": wall, "solve_us": solve, "worker": worker} for key, wall, solve, worker in said}

    def counts(self) -> tuple[int, int]:
        """How many rows there are, and how many failures, of this and earlier states of the study."""
        with self._told():
            rows, failures = (
                self._file.execute(query).fetchone()[0]
                for query in ("SELECT COUNT(*) FROM rows", "SELECT COUNT(*) FROM failures")
            )
        return rows, failures

    def keep(self, inputs: str, row: str, times: Mapping[str, Any]) -> None:
        """Keep a row: when this returns, it is on the disk. Raises `DocumentError`."""
        with self._told():
            self._file.execute("BEGIN IMMEDIATE")
            self._file.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (inputs, row))
            self._file.execute("DELETE FROM failures WHERE inputs = ?", (inputs,))
            values = (inputs, times.get("wall_us"), times.get("solve_us"), times.get("worker"))
            self._file.execute("INSERT OR REPLACE INTO times VALUES (?, ?, ?, ?)", values)
            self._file.execute("COMMIT")

    def fail(self, inputs: str, failure: Failure) -> None:
        """Keep why there is no row. Raises `DocumentError`."""
        with self._told():
            values = (inputs, failure.cell, failure.cause, failure.hint)
            self._file.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", values)

    def _those(self, query: str, inputs: Collection[str]) -> Iterator[tuple[Any, ...]]:
        wanted = frozenset(inputs)
        with self._told():
            found = self._file.execute(query).fetchall()
        return (line for line in found if line[0] in wanted)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DocumentError(
                str(self.path),
                f"cannot be used as the rows of a study ({error})",
                hint=_HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, _DAMAGED_HINT),
            ) from None

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        self._file.close()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _named(path: Path, writes: bool) -> str:
    """The file as SQLite is to open it: where nobody can write beside it, and no log is left there, without a log."""
    uri = path.absolute().as_uri()
    alone = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
    return f"{uri}?immutable=1" if alone and not writes else uri
