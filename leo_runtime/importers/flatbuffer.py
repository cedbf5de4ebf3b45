"""Reads and writes FlatBuffers, the container of `.tflite` files, without their schema's generated code.

A table is read field by field, by the number that the schema gives it; every offset is checked against the length of
the file before it is followed. The format is described at https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from leo_runtime.errors import InputError

_SIZES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8, "d": 8}
"""Bytes of a scalar, by its format of `struct`."""
_READ = {form: struct.Struct(f"<{form}").unpack_from for form in _SIZES}
_T = TypeVar("_T", int, float, bool)


class DamagedError(InputError):
    """The bytes are no such FlatBuffer: an offset leads out of them, or what is there cannot be."""


_SHARED = 8
"""All vectors that are read may have so many times the bytes of the file: parts are seldom shared, but a few bytes that
everything leads to would take all memory."""


@dataclass(eq=False, slots=True)
class Budget:
    """How many bytes of vectors and texts may still be read of a buffer, each as often as it is read."""

    left: int

    def spend(self, count: int) -> None:
        """Raise `DamagedError` where there are not so many left."""
        self.left -= count
        if self.left < 0:
            raise DamagedError("its parts overlap: they have many times the bytes of the file")


@dataclass(frozen=True, slots=True)
class Table:
    """A table in a buffer: fields by number. Methods raise `DamagedError` where an offset leads out of the buffer."""

    buffer: memoryview
    at: int
    budget: Budget

    def _slot(self, field: int) -> int | None:
        """Where the value of a field is; None where it has none."""
        vtable = self.at - self._read("i", self.at)
        size = self._read("H", vtable)
        entry = 4 + 2 * field
        if entry + 2 > size:
            return None
        offset = self._read("H", vtable + entry)
        return self.at + offset if offset else None

    def _read(self, form: str, at: int) -> int:
        if at < 0 or at + _SIZES[form] > len(self.buffer):
            raise DamagedError(f"an offset leads to byte {at} of {len(self.buffer)}")
        value: int = _READ[form](self.buffer, at)[0]
        return value

    def scalar(self, field: int, form: str, default: _T) -> _T:
        """A number, by its format of `struct`."""
        slot = self._slot(field)
        return default if slot is None else type(default)(self._read(form, slot))

    def place(self, field: int) -> int | None:
        """Where the table, vector or text of a field begins; None where it has none."""
        slot = self._slot(field)
        return None if slot is None else slot + self._read("I", slot)

    def table(self, field: int) -> Table | None:
        """A table; None where there is none."""
        place = self.place(field)
        return None if place is None else Table(self.buffer, place, self.budget)

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Where the first of a vector's elements is, and how many there are."""
        place = self.place(field)
        if place is None:
            return 0, 0
        count = self._read("I", place)
        if place + 4 + count * size > len(self.buffer):
            raise DamagedError(f"a vector of {count} at byte {place} leads out of {len(self.buffer)}")
        return place + 4, count

    def bytes(self, field: int) -> memoryview | None:
        """A vector of bytes, as a view; None where there is none."""
        if self.place(field) is None:
            return None
        start, count = self._vector(field, 1)
        return self.buffer[start : start + count]

    def text(self, field: int) -> str:
        """A text; "" where there is none. Bytes that are not UTF-8, which some files have, are shown as `\\xca`."""
        content = self.bytes(field) or b""
        self.budget.spend(len(content))
        return bytes(content).decode(errors="backslashreplace")

    def numbers(self, field: int, form: str) -> tuple[int, ...]:
        """A vector of numbers."""
        start, count = self._vector(field, _SIZES[form])
        self.budget.spend(count * _SIZES[form])
        return struct.unpack_from(f"<{count}{form}", self.buffer, start) if count else ()

    def places(self, field: int) -> tuple[int, ...]:
        """Where each table of a vector begins."""
        start, count = self._vector(field, 4)
        self.budget.spend(4 * count)
        offsets = struct.unpack_from(f"<{count}I", self.buffer, start) if count else ()
        return tuple(start + 4 * index + offset for index, offset in enumerate(offsets))

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector."""
        return (Table(self.buffer, place, self.budget) for place in self.places(field))


def root(content: bytes | memoryview, identifier: bytes) -> Table:
    """The first table of a file that begins as one of that kind does. Raises `DamagedError`."""
    buffer = memoryview(content)
    if bytes(buffer[4:8]) != identifier:
        raise DamagedError(f"it does not begin as such a file does: bytes 4 to 7 are not {identifier.decode()!r}")
    return Table(buffer, struct.unpack_from("<I", buffer)[0], Budget(_SHARED * len(buffer)))


OFFSET = ("I", 0)
"""A field of a new table that leads to something, which is said afterwards."""


@dataclass(frozen=True, slots=True)
class NewTable:
    """Where a new table is, and the value of each of its fields."""

    start: int
    fields: Mapping[int, int]


class Front:
    """New tables: a whole file, or what is put in front of an old one, whose parts they refer to where they lie.

    Offsets of FlatBuffers lead forward only, so what is new goes before what is old, and of the new what refers goes
    before what it refers to.
    """

    ALIGNED = 16
    """Old parts stay where they were, modulo so many bytes: as the largest alignment that a file may ask for."""

    def __init__(self, identifier: bytes) -> None:
        self._new = bytearray(b"\0\0\0\0" + identifier)
        self._old: list[tuple[int, int]] = []
        """Offsets to write once it is known where the old file begins: their places, and where they lead in it."""

    def table(self, fields: Mapping[int, tuple[str, float]]) -> NewTable:
        """A table of numbers, by field: a format of `struct` and the value, or `OFFSET`."""
        count = max(fields, default=-1) + 1
        self._align(2)
        vtable, entries, size = len(self._new), [0] * count, 4
        for field, (form, _) in sorted(fields.items(), key=lambda item: -_SIZES[item[1][0]]):
            size = -(-size // _SIZES[form]) * _SIZES[form]
            entries[field] = size
            size += _SIZES[form]
        self._new += struct.pack(f"<HH{count}H", 4 + 2 * count, size, *entries)
        self._align(8)
        start = len(self._new)
        self._new += bytes(size)
        struct.pack_into("<i", self._new, start, start - vtable)
        for field, (form, value) in fields.items():
            struct.pack_into(f"<{form}", self._new, start + entries[field], value)
        return NewTable(start, {field: start + entries[field] for field in fields})

    def vector(self, at: int, form: str, values: Sequence[float]) -> int:
        """A vector of numbers, which the offset at a place leads to. Returns where its first element is."""
        self._align(max(4, _SIZES[form]), after=4)
        self.lead(at, len(self._new))
        self._new += struct.pack("<I", len(values))
        first = len(self._new)
        self._new += struct.pack(f"<{len(values)}{form}", *values)
        return first

    def data(self, at: int, values: bytes | memoryview) -> None:
        """A vector of bytes, which the offset at a place leads to, as aligned as a file may ask for."""
        self._align(self.ALIGNED, after=4)
        self.lead(at, len(self._new))
        self._new += struct.pack("<I", len(values))
        self._new += values

    def text(self, at: int, text: str) -> None:
        """A text, which the offset at a place leads to."""
        encoded = text.encode()
        self._align(4)
        self.lead(at, len(self._new))
        self._new += struct.pack("<I", len(encoded)) + encoded + b"\0"

    def lead(self, at: int, to: int) -> None:
        """Let the offset at a place lead to something new."""
        struct.pack_into("<I", self._new, at, to - at)

    def lead_to_old(self, at: int, place: int) -> None:
        """Let the offset at a place lead to something of the old file."""
        self._old.append((at, place))

    def before(self, old: bytes | memoryview) -> bytes:
        """The new file."""
        self._align(self.ALIGNED)
        for at, place in self._old:
            self.lead(at, len(self._new) + place)
        return bytes(self._new) + bytes(old)

    def _align(self, to: int, after: int = 0) -> None:
        self._new += bytes(-(len(self._new) + after) % to)
