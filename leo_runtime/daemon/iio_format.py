"""What the buffer of an IIO device holds: scans of elements, as its files say (Linux's ABI, `sysfs-bus-iio`).

An element's type reads `[be|le]:[s|u]bits/storage[Xrepeat]>>shift`. The elements that are enabled follow each other by
their indices, each aligned to its own size, and a scan is as long as a multiple of the greatest
(`iio_compute_scan_bytes` of the kernel). Pure arithmetic; no device is touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

_TYPE = re.compile(r"(be|le):([su])([0-9]{1,2})/([0-9]{1,2})(?:X([0-9]{1,2}))?>>([0-9]{1,2})")
STORAGE_BITS = (8, 16, 32, 64)
MOST_REPEATS = 16
MOST_TURN = 1000.0
"""Of a number in a mount matrix, which turns, and hardly stretches."""


@dataclass(frozen=True, slots=True)
class ElementType:
    """How one value is kept."""

    big_endian: bool
    signed: bool
    bits: int
    """Of the value itself."""
    storage_bits: int
    """Of the place it has."""
    repeat: int
    """How many such places follow each other."""
    shift: int
    """How far it is to be moved right, into the lowest bits."""

    @property
    def item_bytes(self) -> int:
        """Of one place."""
        return self.storage_bits // 8

    @property
    def size_bytes(self) -> int:
        """Of all places."""
        return self.item_bytes * self.repeat


def read_type(text: str) -> ElementType:
    """An element's type from its file. Raises `InputError`."""
    found = _TYPE.fullmatch(text.strip())
    if found is None:
        raise InputError(
            f"`{text.strip()[:60]}` is no type of a scan's element",
            hint="one reads as le:s12/16>>4; values of other kinds are read by polling: buffer = false",
        )
    order, sign, bits, storage, repeat, shift = found.groups()
    made = ElementType(order == "be", sign == "s", int(bits), int(storage), int(repeat or 1), int(shift))
    fits = made.storage_bits in STORAGE_BITS and 1 <= made.bits <= made.storage_bits - made.shift
    if not fits or not 1 <= made.repeat <= MOST_REPEATS:
        raise InputError(
            f"`{text.strip()}` is a type whose value does not fit its place",
            hint="the driver says so: read it by polling: buffer = false",
        )
    return made


@dataclass(frozen=True, slots=True)
class Element:
    """One channel of a scan."""

    name: str
    """As `accel_x`."""
    index: int
    type: ElementType


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of a scan are."""

    elements: tuple[Element, ...]
    """By index."""
    offsets: tuple[int, ...]
    scan_bytes: int

    def values(self, scans: bytes, name: str) -> np.ndarray:
        """The raw values of an element, (scans,), or (scans, repeat): int64, and uint64 of unsigned ones of 64 bits.

        `scans` are whole ones.
        """
        at = [element.name for element in self.elements].index(name)
        kind, first = self.elements[at].type, self.offsets[at]
        rows = np.frombuffer(scans, np.uint8).reshape(-1, self.scan_bytes)[:, first : first + kind.size_bytes]
        stored = np.ascontiguousarray(rows).view(f"{'>' if kind.big_endian else '<'}u{kind.item_bytes}")
        moved = stored.astype(np.uint64) >> np.uint64(kind.shift)
        moved &= np.uint64((1 << kind.bits) - 1)
        if kind.signed:
            sign = np.uint64(1 << (kind.bits - 1))
            moved = (moved ^ sign) - sign
        values = moved if kind.bits == 64 and not kind.signed else moved.view(np.int64)
        return values[:, 0] if kind.repeat == 1 else values


def layout(elements: Sequence[Element]) -> Layout:
    """Where elements that are enabled are. Raises `InputError` where two have one index, or there are none."""
    ordered = sorted(elements, key=lambda element: element.index)
    if not ordered:
        raise InputError("no element of the scan is enabled", hint="write 1 to the files that end in _en")
    offsets, end = [], 0
    for number, element in enumerate(ordered):
        if number and ordered[number - 1].index == element.index:
            raise InputError(
                f"`{ordered[number - 1].name}` and `{element.name}` have the same index {element.index} in a scan",
                hint="read them by polling: buffer = false",
            )
        offsets.append(_aligned(end, element.type.size_bytes))
        end = offsets[-1] + element.type.size_bytes
    greatest = max(element.type.size_bytes for element in ordered)
    return Layout(tuple(ordered), tuple(offsets), _aligned(end, greatest))


def _aligned(at: int, to: int) -> int:
    return -(-at // to) * to


def read_matrix(text: str) -> np.ndarray:
    """How a sensor is mounted, (3, 3): what its axes are multiplied with. Raises `InputError`."""
    try:
        found = np.array([[float(number) for number in row.split(",")] for row in text.split(";")])
    except ValueError:  # Also rows that are not alike.
        found = np.empty(0)
    if found.shape != (3, 3) or not (np.abs(found) <= MOST_TURN).all():
        raise InputError(
            f"`{text.strip()[:80]}` is no mount matrix",
            hint="one reads as 1, 0, 0; 0, 1, 0; 0, 0, 1; mount_matrix = false leaves it out",
        )
    return found
