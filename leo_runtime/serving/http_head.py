"""The head of a request of HTTP/1.1, read strictly and within bounds; and the head of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from leo_runtime.errors import InputError
from leo_runtime.frozen import dataclass

MOST_HEAD_BYTES, MOST_HEADERS = 16 << 10, 64
LONGEST_KNOWN_PATH = 256

_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])\r?\n")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r?\n")
"""Whitespace about the value is stripped afterwards: a pattern that did would try all ways to share it out."""
_HEADERS = re.compile(rf"(?:{_HEADER.pattern})*")
_ONCE = frozenset(("host", "content-length", "transfer-encoding", "content-encoding", "authorization", "expect"))
"""Of these two would be two meanings, as of what is our own. Any other is a list that goes on in the second, which
proxies on the way make use of: each adds its `X-Forwarded-For`."""
_OUR_OWN = ("leo-", "inference-header-")
_PHRASES = {int(status): status.phrase for status in HTTPStatus}


class HeadTooLargeError(InputError):
    """The head is larger than anybody needs."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a request says before its body."""

    method: str
    path: tuple[str, ...]
    """The parts of its path, unquoted."""
    headers: Mapping[str, str]
    """By names in small letters; what was given in several lines is one list."""
    keeps_alive: bool
    body_bytes: int

    def length(self, name: str) -> int | None:
        """A header that is a number of bytes; None: it is not there. Raises `InputError` for anything else."""
        return _length(self.headers, name)


def read_head(stream: BinaryIO) -> Head | None:
    """The next head; None where the stream ends before one begins. Raises `InputError`, `HeadTooLargeError`."""
    line = _line(stream, MOST_HEAD_BYTES)
    if not line:
        return None
    found = _LINE.fullmatch(line)
    if found is None:
        raise InputError("that is no request of HTTP/1.1")
    headers = _read_headers(_header_lines(stream, MOST_HEAD_BYTES - len(line)))
    try:
        path = found[2].partition(b"?")[0]
        parts = (_known_parts if len(path) <= LONGEST_KNOWN_PATH else _parts)(path)
    except UnicodeDecodeError:
        raise InputError("the path is no text in UTF-8") from None
    connection = [said.strip() for said in headers.get("connection", "").lower().split(",")]
    keeps_alive = found[3] == b"1" and "close" not in connection
    return Head(found[1].decode(), parts, headers, keeps_alive, _length(headers, "content-length") or 0)


def answer_head(status: int, headers: Mapping[str, str | int]) -> bytes:
    """The head of an answer. What headers say is our own, and holds no line breaks."""
    lines = [f"HTTP/1.1 {status} {_PHRASES[status]}", *[f"{name}: {said}" for name, said in headers.items()]]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _parts(path: bytes) -> tuple[str, ...]:
    """Those of a path, unquoted."""
    return tuple([unquote_to_bytes(part).decode() for part in path.split(b"/")[1:]])


_known_parts = lru_cache(maxsize=64)(_parts)
"""The same of one that is mostly one of few. Whoever may not ask anything could fill megabytes with long ones."""


def _header_lines(stream: BinaryIO, left: int) -> list[bytes]:
    """Those up to the empty one, in so many bytes at most. Raises as `read_head` does."""
    lines: list[bytes] = []
    while (line := _line(stream, left)) not in (b"\r\n", b"\n"):
        if not line:
            raise InputError("the head ends in the middle")
        if len(lines) == MOST_HEADERS:
            raise HeadTooLargeError(f"there are more than {MOST_HEADERS} headers")
        left -= len(line)
        lines.append(line)
    return lines


def _read_headers(lines: Sequence[bytes]) -> dict[str, str]:
    """What they say. Raises `InputError`."""
    text = b"".join(lines).decode("latin-1")
    if _HEADERS.fullmatch(text) is None:
        wrong = next(n for n, line in enumerate(lines, 1) if _HEADER.fullmatch(line.decode("latin-1")) is None)
        raise InputError(f"header {wrong} is none")
    headers: dict[str, str] = {}
    for given, value in _HEADER.findall(text):
        name, said = given.lower(), value.strip(" \t")
        if name not in headers:
            headers[name] = said
        elif name in _ONCE or name.startswith(_OUR_OWN):
            raise InputError(f"the header `{name}` is given twice")
        else:
            headers[name] += f", {said}"
    return headers


def _length(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InputError(f"the header `{name}` is no number of bytes: {text[:50]}")
    return int(text)


def _line(stream: BinaryIO, most: int) -> bytes:
    line = stream.readline(most + 1)
    if len(line) > most:
        raise HeadTooLargeError(f"the head has more than {MOST_HEAD_BYTES} bytes")
    return line
