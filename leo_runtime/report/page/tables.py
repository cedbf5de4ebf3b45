"""Tables of a page: what each cell shows, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    """One cell."""

    text: str
    key: float | None = None
    """What it is sorted by, where that is no text: the number as it is, before it was rounded or given a unit."""
    mark: str = ""
    """`bad` where a reader should look; empty otherwise."""
    link: str = ""
    """The id of what it leads to on the page; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under their columns. A column is of numbers, and to the right, where each of its cells has a key."""

    id: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: tuple[Cell, ...] = ()
    """A row below, which is not sorted; empty: none."""
    note: str = ""
    """Said below it."""

    @property
    def is_number(self) -> tuple[bool, ...]:
        """Of each column."""
        return tuple(
            bool(self.rows) and all(row[column].key is not None for row in self.rows)
            for column in range(len(self.header))
        )


def table(
    table_id: str,
    caption: str,
    header: Sequence[str],
    rows: Iterable[Iterable[Cell | str]],
    totals: Iterable[Cell | str] = (),
    note: str = "",
) -> Table:
    """A table of cells; a text alone is a cell, too."""
    return Table(table_id, caption, tuple(header), tuple(map(_cells, rows)), _cells(totals), note)


def count(number: int, *, is_bad: bool = False) -> Cell:
    """How many there are; `is_bad`: a reader should look where there are any."""
    return Cell(f"{number:,}", number, "bad" if is_bad and number else "")


def _cells(row: Iterable[Cell | str]) -> tuple[Cell, ...]:
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row)
