"""Text laid out for people: tables of plain characters that fit a terminal, and figures with their units."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from leo_runtime.errors import printable
from leo_runtime.terminal import WIDE, Look, cut_apart, fill, room
from leo_runtime.terminal import red as red_text

NO_PIPELINE = "(no pipeline)"
"""What energy is used for that belongs to none: sleep, and idling before any frame."""


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    look: Look = WIDE,
    *,
    totals: Sequence[object] | None = None,
    keys: int = 1,
    wrapped: bool = False,
    named: bool = False,
    red: Collection[str] = (),
) -> str:
    """Columns under their names, numbers to the right, texts to the left; one trailing newline.

    Where that is wider than asked for, texts lose their middle, but no two get alike that are not; where that is not
    enough, the other columns follow below, beside the first `keys` again. `totals` stand under a line. With `wrapped`
    the last column goes on in further lines of its row, rather than being cut. With `named` the columns have names
    that may be cut, too. Figures above 0 in a column that is in `red` are red where there are colours.

    Names are their documents' own: what of them cannot be seen, such as a line break, is written as its escape.
    """
    every = [*rows, *([] if totals is None else [totals])]
    columns = [
        _Column(
            printable(name),
            [printable(str(row[c])) for row in every],
            is_key=c < keys,
            is_named=named,
            is_wrapped=wrapped and c == len(header) - 1,
        )
        for c, name in enumerate(header)
    ]
    coloured = red if look.is_coloured else ()
    parts = []
    for block in _blocks(columns, keys, look):
        has_totals = totals is not None
        if has_totals and not any(column.cells[-1] for column in block[keys:]):
            block, has_totals = [replace(column, cells=column.cells[:-1]) for column in block], False
        parts.append(_lines(_fitted(block, look), has_totals, coloured))
    return "\n".join(parts)


_GAP = 2
_SHORTEST, _SHORTEST_NAME, _SHORTEST_WRAPPED = 12, 8, 24
"""In how many columns a text, a column's name, and a text of several lines are still told apart at a glance."""


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    cells: list[str]
    is_key: bool
    """It names its row, also where that looks like a number."""
    is_named: bool
    """Its name may be cut."""
    is_wrapped: bool

    @property
    def is_right(self) -> bool:
        return bool(self.cells) and all(map(_is_figure, self.cells))

    @property
    def widest(self) -> int:
        return max(map(room, (self.name, *self.cells)))

    @property
    def least(self) -> int:
        """Into how many columns it goes at the least."""
        longest = max(map(room, self.cells), default=0)
        if self.is_key or not self.is_right:
            longest = min(longest, _SHORTEST_WRAPPED if self.is_wrapped else _SHORTEST)
        return max(longest, min(room(self.name), _SHORTEST_NAME) if self.is_named else room(self.name))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _blocks(columns: Sequence[_Column], keys: int, look: Look) -> list[list[_Column]]:
    """The columns in as many tables as it takes, of about the same width, each with the first columns."""
    most = look.columns
    if most is None or _total([column.least for column in columns]) <= most:
        return [list(columns)]

    def split(within: int) -> list[list[_Column]]:
        blocks = [list(columns[:keys])]
        for column in columns[keys:]:
            if len(blocks[-1]) > keys and _total([one.least for one in (*blocks[-1], column)]) > within:
                blocks.append(list(columns[:keys]))
            blocks[-1].append(column)
        return blocks

    fewest = len(split(most))
    return next(blocks for within in range(most + 1) if len(blocks := split(within)) == fewest)


def _fitted(columns: Sequence[_Column], look: Look) -> list[tuple[_Column, int]]:
    """The columns with their widths, texts cut where they are longer: the widest ones first."""
    widths = [column.widest for column in columns]
    while look.columns is not None and _total(widths) > look.columns:
        spare = [c for c, column in enumerate(columns) if widths[c] > column.least]
        if not spare:
            break
        widths[max(spare, key=lambda c: widths[c])] -= 1
    names = cut_apart({column.name: width for column, width in zip(columns, widths, strict=True)})
    fitted = []
    for column, width in zip(columns, widths, strict=True):
        short = {} if column.is_wrapped else cut_apart(dict.fromkeys(column.cells, width))
        cells = [short.get(cell, cell) for cell in column.cells]
        fitted.append((replace(column, name=names[column.name], cells=cells), width))
    return fitted


def _lines(columns: Sequence[tuple[_Column, int]], has_totals: bool, red: Collection[str]) -> str:
    rule = "  ".join("-" * width for _, width in columns)
    lines = [_line([(column.name, width, column.is_right, False) for column, width in columns]), rule]
    count = len(columns[0][0].cells)
    for row in range(count):
        if has_totals and row == count - 1:
            lines.append(rule)
        cells = [column.cells[row] for column, _ in columns]
        deep = [
            fill(cell, width).split("\n") if column.is_wrapped else [cell]
            for cell, (column, width) in zip(cells, columns, strict=True)
        ]
        for i in range(max(map(len, deep))):
            parts = [
                (texts[i] if i < len(texts) else "", width, column.is_right, column.name in red)
                for texts, (column, width) in zip(deep, columns, strict=True)
            ]
            lines.append(_line(parts))
    return "\n".join(lines) + "\n"


def _line(parts: Sequence[tuple[str, int, bool, bool]]) -> str:
    padded = []
    for text, width, is_right, is_red in parts:
        space = " " * (width - room(text))
        shown = red_text(text) if is_red and text not in ("", "-", "0") else text
        padded.append(space + shown if is_right else shown + space)
    return "  ".join(padded).rstrip()


def _is_figure(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "+-~" or text == ""


def duration(microseconds: float) -> str:
    """A time with the unit that suits it, three figures."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.3g} us"


def number(value: float, decimals: int) -> str:
    """A number with so many decimals; one that would lose all its digits with these has two, however small it is."""
    if value == 0 or abs(value) >= 10.0 ** (1 - decimals):
        return f"{value:.{decimals if value else 0}f}"
    mantissa, _, exponent = f"{value:.2g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def millijoules(nanojoules: float) -> str:
    """An energy in mJ, to a hundredth; of less than a tenth two digits."""
    return number(nanojoules / 1e6, 2)


_ENERGY_UNITS = (("MJ", 10**15), ("kJ", 10**12), ("J", 10**9), ("mJ", 10**6), ("uJ", 10**3), ("nJ", 1))


@dataclass(frozen=True, slots=True)
class Energies:
    """How the energies of a report are written: all in one unit, so that they can be compared and summed."""

    unit: str
    unit_nj: int
    decimals: int

    @classmethod
    def up_to(cls, greatest_nj: int) -> Energies:
        """In the unit of which the greatest is ten or more, which is then written with five digits."""
        unit, unit_nj = next((one for one in _ENERGY_UNITS if greatest_nj >= 10 * one[1]), _ENERGY_UNITS[-1])
        whole_digits = len(str(greatest_nj // unit_nj))
        return cls(unit, unit_nj, 0 if unit_nj == 1 else max(0, 5 - whole_digits))

    def text(self, nj: int) -> str:
        """An energy without its unit; of none a dash, so that it is told from a little."""
        return number(nj / self.unit_nj, self.decimals) if nj else "-"
