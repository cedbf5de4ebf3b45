"""What a terminal shows: how wide it is, whether it has colours, and how much room a text takes on it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from typing import TextIO

COLUMNS = 80
"""How wide text is where nobody says otherwise: what is piped looks the same everywhere."""
FEWEST_COLUMNS = 40
"""Nothing is laid out for less."""
_CUT, _ARROW = "..", "->"
_NAMES = 12
"""In fewer columns two names cannot be told apart from others."""


@dataclass(frozen=True, slots=True)
class Look:
    """How text for people is laid out."""

    columns: int | None = None
    """How wide it may be, at least `FEWEST_COLUMNS`; None: as wide as it gets."""
    is_coloured: bool = False

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str], asked: int | None = None) -> Look:
        """As suits a stream: as wide as the terminal, else `COLUMNS`.

        `asked`: so many columns instead; 0: as wide as it gets.
        """
        shown = columns(stream, environ) or COLUMNS if asked is None else asked
        return cls(max(shown, FEWEST_COLUMNS) if shown else None, has_colours(stream, environ))


WIDE = Look()


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at what is written; False of a stream that is closed."""
    with suppress(ValueError):
        return stream.isatty()
    return False


def is_redrawn(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a line of it can be drawn again: it is a terminal, and no dumb one."""
    return is_terminal(stream) and environ.get("TERM") != "dumb"


def has_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to write in colour: where lines can be redrawn, or `FORCE_COLOR` is set, unless `NO_COLOR` is.

    As https://no-color.org and https://force-color.org have it: set to anything but nothing.
    """
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or is_redrawn(stream, environ)


def columns(stream: TextIO, environ: Mapping[str, str]) -> int | None:
    """How wide a terminal is at this moment: what `COLUMNS` says, else the terminal; None where there is none."""
    if not is_terminal(stream):
        return None
    said = environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(stream.fileno()).columns or None
    return None


def red(text: str) -> str:
    """The text in red, for a terminal."""
    return f"\x1b[31m{text}\x1b[0m"


def room(text: str) -> int:
    """How many columns a text of one line takes: East Asian wide characters two, marks upon others none."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    # The vowels and finals of Hangul, from U+1160 on, are written into the syllable before them.
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def start_of(text: str, most: int) -> str:
    """As much of its start as `most` columns take."""
    taken = 0
    for i, character in enumerate(text):
        taken += _columns_of(character)
        if taken > most:
            return text[:i]
    return text


def _end_of(text: str, most: int) -> str:
    """As much of its end, without marks whose character is not there."""
    taken, first = 0, len(text)
    for i in range(len(text) - 1, -1, -1):
        wide = _columns_of(text[i])
        taken += wide
        if taken > most:
            break
        if wide:
            first = i
    return text[first:]


def cut(text: str, most: int, tail: int | None = None) -> str:
    """The text in at most so many columns, without its middle where it is longer; `tail`: columns left of its end.

    Of two names with an arrow between them, each loses its own middle.
    """
    if room(text) <= most:
        return text
    source, arrow, target = text.partition(_ARROW)
    names = most - len(_ARROW)
    if arrow and tail is None and names >= _NAMES:
        first = min(room(source), max(names // 2, names - room(target)))
        return f"{cut(source, first)}{arrow}{cut(target, names - first)}"
    left = most - len(_CUT)
    tail = left // 2 if tail is None else tail
    return start_of(text, left - tail) + _CUT + _end_of(text, tail)


def cut_apart(most: Mapping[str, int]) -> dict[str, str]:
    """Each text in at most the columns given for it, cut in the middle, and no two alike.

    Where two would be, another part of one is cut out; where that does not help, it ends with a number.
    """
    shown = {text: text for text, columns in most.items() if room(text) <= columns}
    taken = set(shown)
    for text, columns in most.items():
        if text not in shown:
            left = columns - len(_CUT)
            tails = (cut(text, columns, tail) for tail in (None, left // 4, 3 * left // 4, 0, left))
            numbered = (cut(text, columns - len(f"~{number}")) + f"~{number}" for number in count(2))
            shown[text] = next(short for short in chain(tails, numbered) if short not in taken)
            taken.add(shown[text])
    return shown


def fill(text: str, most: int | None, indent: str = "") -> str:
    """The text in lines of at most so many columns, broken at spaces, or in words that are longer than a line.

    `indent` stands before every line but the first. No newline follows the last.
    """
    if most is None:
        return text
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line.strip() else f"{line}{word}"
        if room(joined) <= most:
            line = joined
            continue
        if line.strip():
            lines.append(line)
            line = f"{indent}{word}"
        else:
            line = joined
        while room(line) > most:
            first = start_of(line, most)
            lines.append(first)
            line = indent + line[len(first) :]
    return "\n".join([*lines, line])
