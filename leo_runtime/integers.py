"""Whole numbers that a caller gives, checked at the door."""

import operator

from leo_runtime.errors import InputError


def whole(value: object, name: str, *, least: int = 0, most: int | None = None) -> int:
    """The number as a plain int; numpy's integers are converted.

    Raises `InputError`, which calls it `name`, for what is none (floats and bools are none) or out of range.
    """
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise InputError(
            f"`{name}` is a whole number, got {value!r} ({type(value).__name__})",
            hint=f"round it: `{name}=int(...)`" if isinstance(value, float) else "",
        )
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # it has one
    except TypeError:  # An array of several, or numpy's bool.
        raise InputError(f"`{name}` is a whole number, got {value!r} ({type(value).__name__})") from None
    if number < least:
        raise InputError(f"`{name}` is at least {least}, got {number}")
    if most is not None and number > most:
        raise InputError(f"`{name}` is at most {most}, got {number}")
    return number
