"""What was really there, from the messages of a topic that somebody or something wrote texts to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.from_messages import messages_of
from leo_runtime.recordings.messages import field, nanoseconds
from leo_runtime.recordings.series import Mark

_TEXTS = ("label", "text", "name", "event", "message", "msg", "data", "value", "activity", "annotation")
"""What the text of such a message is usually called."""
_STARTS, _ENDS = ("start_time", "start"), ("end_time", "end")


def read_message_labels(path: Path, topic: str, text: str | None) -> tuple[list[Mark], tuple[str, ...]]:
    """What a topic notes, in us from the file's start on, in its order; and what is left out of it.

    A message has a text, in the field `text` or one that is usual; a note begins at its `start_time`, or when it was
    logged, and ends at its `end_time`, or after its `duration`, else a microsecond later. Raises `RecordingError`
    where no message has a text, `MissingExtraError`.
    """
    marks: list[Mark] = []
    missing = 0
    for log_ns, start_ns, message in messages_of(path, topic):
        label = None if message is None else _text(message, text)
        if label is None:
            missing += 1
            continue
        begin_us, end_us = _span(message, log_ns, start_ns)
        marks.append(Mark(begin_us, max(begin_us + 1, end_us), label))
    if not marks:
        raise RecordingError(
            f"{path}: topic `{topic}` holds no labels ({missing} messages without a text)",
            hint=f"name the field of the text as `text`; without it, it is one of {', '.join(_TEXTS)}",
        )
    told = (f"messages of topic `{topic}` without a text, or damaged, are left out: {missing}",) if missing else ()
    return marks, told


def text_of(message: Any) -> str | None:
    """The text of a message that notes something. None: it is of another kind."""
    return _text(message, None)


def _text(message: Any, path: str | None) -> str | None:
    for name in (path,) if path else _TEXTS:
        try:
            found = field(message, name)
        except (LookupError, ValueError):
            continue
        if isinstance(found, str) and found.strip():
            return found.strip()
    return None


def _span(message: Any, log_ns: int, file_start_ns: int) -> tuple[int, int]:
    """When it begins and ends, in us from the file's start on."""
    try:  # As leo-runtime writes them.
        return int(field(message, "start_us")), int(field(message, "end_us"))
    except (LookupError, TypeError, ValueError):
        pass
    start_ns = _time(message, _STARTS)
    begin_ns = log_ns if start_ns is None else start_ns - file_start_ns
    end_ns, lasts_ns = _time(message, _ENDS), _time(message, ("duration",))
    if end_ns is not None:
        return begin_ns // 1000, (end_ns - file_start_ns) // 1000
    return begin_ns // 1000, (begin_ns + (lasts_ns or 0)) // 1000


def _time(message: Any, names: tuple[str, ...]) -> int | None:
    for name in names:
        try:
            return nanoseconds(field(message, name))
        except (LookupError, TypeError, ValueError, OverflowError):
            continue
    return None
