r"""Events of the Wyoming protocol as they are read from a connection that nobody vouches for.

A line of JSON, `{"type", "data", "data_length", "payload_length"}\n`, then so many bytes of JSON that are merged over
`data`, then the payload. The library's own reader takes any length, and ends without a word where something is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from leo_runtime.daemon.pcm import PcmFormat, require_format
from leo_runtime.daemon.reading import Reading
from leo_runtime.errors import DocumentError, InputError
from leo_runtime.frozen import dataclass

MOST_LINE_BYTES = 1 << 16
MOST_DATA_BYTES = 1 << 16
MOST_PAYLOAD_BYTES = 1 << 20
"""Half a minute of sound in one chunk, and no more."""
MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """One event."""

    type: str
    data: Mapping[str, Any]
    payload: bytes = b""


def read_event(read: Reading) -> Heard | None:
    """The next event; None where there are no more. Raises `InputError` for what is none, `OSError` where it ends."""
    line = read.line(MOST_LINE_BYTES, "a line of the Wyoming protocol")
    if line is None:
        return None
    said = _object(line, "a line of the Wyoming protocol")
    data, named = said.get("data"), said.get("type")
    if not isinstance(named, str):
        raise DocumentError("a line of the Wyoming protocol", "expected the name of an event", "$.type")
    if data is not None and not isinstance(data, dict):
        raise DocumentError("a line of the Wyoming protocol", "expected an object", "$.data")
    data = dict(data or {})
    if more := _length(said, "data_length", MOST_DATA_BYTES):
        data |= _object(read.bytes(more), f"the data of `{named[:40]}`")
    payload = read.bytes(_length(said, "payload_length", MOST_PAYLOAD_BYTES))
    return Heard(named, data, payload)


def _object(text: bytes, called: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise DocumentError(called, "is no JSON") from None
    if not isinstance(found, dict):
        raise DocumentError(called, f"expected an object, got {type(found).__name__}")
    return found


def _length(said: Mapping[str, Any], name: str, most: int) -> int:
    length = said.get(name)
    if length is None:
        return 0
    if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= most:
        raise DocumentError("a line of the Wyoming protocol", f"expected 0 to {most} bytes", f"$.{name}")
    return length


def sound_format(heard: Heard) -> PcmFormat:
    """Of an `audio-start` or `audio-chunk`. Raises `InputError`."""
    values = [heard.data.get(name) for name in ("rate", "width", "channels")]
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6]
    if len(whole) != 3:
        raise InputError(f"`{heard.type}` says neither rate nor width nor channels in whole numbers that can be")
    return require_format(PcmFormat(*whole))


def timestamp_ms(heard: Heard) -> int | None:
    """When a chunk was taken by its sender's clock, where it says so."""
    given = heard.data.get("timestamp")
    return given if isinstance(given, int) and not isinstance(given, bool) and abs(given) < 10**15 else None


def wanted_names(heard: Heard) -> tuple[str, ...]:
    """The wake words that a `detect` asks for; none: any. A name of no letters is an empty setting of a client's, and
    none. Raises `InputError`."""
    names = heard.data.get("names")
    if names is None:
        return ()
    if not isinstance(names, list) or len(names) > MOST_NAMES or not all(isinstance(name, str) for name in names):
        raise InputError("`detect` names wake words by a list of text")
    return tuple(name for name in names if name.strip())
