"""Plain values that a caller gives, checked at the door: whole numbers, seconds, names; and counts of samples."""

import operator
import threading
from collections.abc import Collection
from fractions import Fraction
from numbers import Real

from leo_runtime.errors import InputError


def whole(value: object, name: str, *, least: int = 0, most: int | None = None) -> int:
    """The number as a plain int; numpy's integers are converted.

    Raises `InputError`, which calls it `name`, for what is none (floats and bools are none) or out of range.
    """
    number = value if type(value) is int else _plain(value, name)
    if number < least:
        raise InputError(f"`{name}` is at least {least}, got {number}")
    if most is not None and number > most:
        raise InputError(f"`{name}` is at most {most}, got {number}")
    return number


def _plain(value: object, name: str) -> int:
    """Another kind of whole number as a plain int."""
    # numpy's bool has an index too, which older versions only warn of.
    is_bool = isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"
    if is_bool or not hasattr(type(value), "__index__"):
        raise InputError(
            f"`{name}` is a whole number, got {value!r} ({type(value).__name__})",
            hint=f"round it: `{name}=int(...)`" if isinstance(value, float) else "",
        )
    try:
        return operator.index(value)  # type: ignore[arg-type]  # it has one
    except TypeError:  # An array of several, or numpy's bool.
        raise InputError(f"`{name}` is a whole number, got {value!r} ({type(value).__name__})") from None


def seconds(value: object, name: str) -> float:
    """How long to wait, as a plain float: infinity and what no thread can wait for become the longest one can.

    Raises `InputError`, which calls it `name`, for what is no number (bools and NaN are none) or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or value != value:
        raise InputError(f"`{name}` is a number of seconds, got {value!r} ({type(value).__name__})")
    if value < 0:
        raise InputError(f"`{name}` is at least 0, got {value}")
    return float(value) if value < threading.TIMEOUT_MAX else threading.TIMEOUT_MAX


def several_names(names: object, argument: str) -> tuple[str, ...]:
    """The names in their order. Raises `InputError` for one text, or what are no names."""
    if isinstance(names, str):
        raise InputError(f"`{argument}` are several names, got the text `{names}`", hint=f'write ["{names}"]')
    if not isinstance(names, Collection):
        raise InputError(f"`{argument}` are several names, got {type(names).__name__}", hint='such as ["one", "two"]')
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"`{argument}` are names, got {name!r} among them")
    return tuple(names)


def samples_within(rate_hz: float, length_us: int) -> int:
    """How many whole samples a stretch of time holds, exact for decimal rates such as 100.44 Hz."""
    return length_us * _exact(rate_hz) // 1_000_000


def lasting_us(rate_hz: float, samples: int) -> int:
    """How long so many samples last, in whole us."""
    return int(samples * 1_000_000 / _exact(rate_hz))


def _exact(rate_hz: float) -> Fraction:
    """The decimal number that was written, which a float only comes near to."""
    return Fraction(rate_hz) if isinstance(rate_hz, int) else Fraction(repr(rate_hz))
