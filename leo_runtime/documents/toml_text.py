"""A document as TOML, for people to go on writing. The standard library reads TOML and writes none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def toml_text(document: Mapping[str, Any], comment: str = "") -> str:
    """The text of a document of plain values: lists of tables as such, tables in them on one line.

    Raises `TypeError` for a value that TOML does not have.
    """
    said = "".join(f"# {line}\n" for line in comment.splitlines())
    return said + "\n".join(_table(document, "")).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in table.items():
        if not _is_tables(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if _is_tables(value):
            place = f"{path}.{_key(key)}" if path else _key(key)
            for one in value:
                yield from ("", f"[[{place}]]", *_table(one, place))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return _text(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(one)}' for key, one in value.items())} }}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _key(key: str) -> str:
    return key if key and all(one.isascii() and (one.isalnum() or one in "-_") for one in key) else _text(key)


def _text(value: bool | str) -> str:
    """JSON's own, but for a character that TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
