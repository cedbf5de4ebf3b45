"""Protocol Buffers as bytes, for messages that a table describes: what a schema compiler would write, in one file.

So neither a compiler nor a runtime of it is needed, and no version of one has to fit another's. What comes from outside
is read strictly, and bounded: fields that nobody knows are skipped, nothing is repeated without end. A field that is
there once by its table, and twice in the bytes, is what it was last.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

Value: TypeAlias = "bool | int | float | str"
Bytes: TypeAlias = "bytes | memoryview"

MOST_REPEATED = 4_096
"""Of one field in one message: each takes a hundred times its bytes in memory."""
LONGEST_VARINT = 10
VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
"""How what follows a field's number is written."""
_WRITTEN = {"flag": VARINT, "int": VARINT, "double": EIGHT_BYTES}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message."""

    number: int
    kind: str | Message
    """`text`, `bytes`, `flag`, `int` (of 64 bits), `double`, or the table of a message in it."""
    is_list: bool = False


Message: TypeAlias = Mapping[str, Field]
"""The table of a message: its fields by name."""


def encode(said: Mapping[str, Any], message: Message) -> bytes:
    """The bytes of what is said; names that the table has not are a mistake of the caller's."""
    return b"".join(_encoded(said, message))


def decode(data: Bytes, message: Message) -> dict[str, Any]:
    """What the bytes say, of the table's fields those that are there. Bytes are views. Raises `InputError`."""
    by_number = {field.number: (name, field) for name, field in message.items()}
    found: dict[str, Any] = {}
    for number, wire, value in _fields(memoryview(data)):
        if number not in by_number:
            continue
        name, field = by_number[number]
        if not field.is_list:
            found[name] = _decoded(name, field, wire, value)
            continue
        listed = found.setdefault(name, [])
        if field.kind == "int" and wire == COUNTED:  # Numbers go together, unless an old sender sends them one by one.
            listed += _packed(name, value, MOST_REPEATED - len(listed))
        else:
            listed.append(_decoded(name, field, wire, value))
        if len(listed) > MOST_REPEATED:
            raise InputError(f"`{name}` is there more than {MOST_REPEATED} times")
    return found


def _encoded(said: Mapping[str, Any], message: Message) -> Iterator[Bytes]:
    for name, value in said.items():
        field = message[name]
        if field.is_list and field.kind == "int":
            yield from _counted(field.number, b"".join(map(_varint, value)))
            continue
        for one in value if field.is_list else (value,):
            if isinstance(field.kind, Mapping):
                yield from _counted(field.number, encode(one, field.kind))
            elif field.kind == "text":
                yield from _counted(field.number, one.encode())
            elif field.kind == "bytes":
                yield from _counted(field.number, one)
            elif field.kind == "double":
                yield _varint(field.number << 3 | EIGHT_BYTES) + struct.pack("<d", one)
            else:
                yield _varint(field.number << 3 | VARINT) + _varint(int(one))


def _counted(number: int, value: Bytes) -> Sequence[Bytes]:
    return _varint(number << 3 | COUNTED) + _varint(len(value)), value


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # Negative ones are as of 64 bits.
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Each field's number, how it is written, and its value: a number, or a view. Raises `InputError`."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise InputError(f"field {number} is none of Protocol Buffers")
        if wire == VARINT:
            value, at = _read_varint(data, at)
            yield number, wire, value
            continue
        if wire == COUNTED:
            length, at = _read_varint(data, at)
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if wire == EIGHT_BYTES else 4
        else:
            raise InputError(f"field {number} is written as nothing of today (wire type {wire})")
        if length > len(data) - at:
            raise InputError(f"field {number} has {length} bytes, and {len(data) - at} follow")
        yield number, wire, data[at : at + length]
        at += length


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number, and where it ends. Raises `InputError`."""
    number = 0
    for shift, byte in enumerate(data[at : at + LONGEST_VARINT]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number & (1 << 64) - 1, at + shift + 1
    raise InputError("a number ends in the middle, or never")


def _decoded(name: str, field: Field, wire: int, value: Any) -> Any:
    kind = field.kind
    if wire != _WRITTEN.get(kind if isinstance(kind, str) else "message", COUNTED):
        raise InputError(f"`{name}` is written as another type (wire type {wire})")
    if isinstance(kind, Mapping):
        return decode(value, kind)
    if kind == "text":
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise InputError(f"`{name}` is no text in UTF-8") from None
    if kind == "flag":
        return value != 0
    if kind == "int":
        return _signed(value)
    return struct.unpack("<d", value)[0] if kind == "double" else value


def _packed(name: str, data: memoryview, most: int) -> list[int]:
    found: list[int] = []
    at = 0
    while at < len(data):
        number, at = _read_varint(data, at)
        found.append(_signed(number))
        if len(found) > most:
            raise InputError(f"`{name}` is there more than {MOST_REPEATED} times")
    return found


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
