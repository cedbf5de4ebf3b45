"""The answer to a request of HTTP/1.1 as it comes by a connection: until a time, and of so many bytes at most.

Most are of one kind, their head is there at once, and says how many bytes follow. These are read here; all others are
left to `http.client`, which knows whatever else a server may say, and takes as long for any head as a small stage runs.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from email.message import Message
from typing import Any, cast

from leo_backends.remote.answers import Answer, number_of, too_large
from leo_runtime.backend.open_inference import JSON_LENGTH
from leo_runtime.clock import WallClock
from leo_runtime.errors import KernelError

BUFFER_BYTES = 1 << 16
"""A small answer is there at once with its head."""

_END = b"\r\n\r\n"
_HEAD = re.compile(r"HTTP/1\.1 200(?: [^\r\n]*)?\r\n((?:[!#-'*+\-.0-9A-Z^-z|~]+:[\t -~]*\r\n)*)\r\n")
_HEADER = re.compile(r"([^:\r\n]+):[\t ]*([^\r\n]*)\r\n")
_OF_OTHERS = ("transfer-encoding", "connection")
"""Who says these may not only mean that so many bytes follow."""


class Incoming(io.RawIOBase):
    """What comes by a connection, all of it until one time: a server that sends byte by byte gains none."""

    def __init__(self, connection: socket.socket, clock: WallClock, until_us: int) -> None:
        super().__init__()
        self._connection, self._clock, self._until_us = connection, clock, until_us
        self.has_ended = False
        """Whether no more of it is read."""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises `TimeoutError` when the time has come."""
        if self.has_ended:
            return 0
        left_us = self._until_us - self._clock.now_us()
        if left_us <= 0:
            raise TimeoutError
        self._connection.settimeout(left_us / 1e6)
        return self._connection.recv_into(buffer)


def read_answer(
    connection: Incoming, method: str, url: str, most_bytes: int, began_us: int, now_us: Callable[[], int]
) -> Answer:
    """The answer to what was asked by that method when it `began_us`.

    By a connection by which more came than the answer, nobody knows what comes next: it `closes`.

    Raises `OSError`, `HTTPException`, and `KernelError` for one of more than `most_bytes`.
    """
    stream = _Stream(connection, BUFFER_BYTES)
    said = _plain_head(stream) if method != "HEAD" else None
    if said is None:
        answer = _any_answer(stream, method, url, most_bytes, began_us, now_us)
    else:
        answer = _plain_answer(stream, said, url, most_bytes, began_us, now_us)
    connection.has_ended = True
    return replace(answer, closes=True) if stream.peek() else answer


def _plain_answer(
    stream: io.BufferedReader,
    said: Mapping[str, str],
    url: str,
    most_bytes: int,
    began_us: int,
    now_us: Callable[[], int],
) -> Answer:
    answered_us = now_us() - began_us
    length = int(said["content-length"])
    if length > most_bytes:
        raise too_large(url, most_bytes, length)
    body = stream.read(length)
    if len(body) < length:
        raise http.client.IncompleteRead(body, length - len(body))
    return _answer(200, body, said.get, False, now_us() - began_us, answered_us)


def _plain_head(stream: io.BufferedReader) -> dict[str, str] | None:
    """What a head says that is of the usual kind, by names in small letters; None, and nothing is read, for another."""
    here = stream.peek()
    end = here.find(_END) + len(_END)
    found = _HEAD.fullmatch(here[:end].decode("latin-1"))
    if found is None:
        return None
    headers = _HEADER.findall(found[1])
    said = {name.lower(): value for name, value in headers}
    if len(said) < len(headers) or number_of(said.get("content-length")) is None or any(map(said.get, _OF_OTHERS)):
        return None
    stream.read(end)
    return said


def _any_answer(
    stream: io.BufferedReader, method: str, url: str, most_bytes: int, began_us: int, now_us: Callable[[], int]
) -> Answer:
    with closing(http.client.HTTPResponse(cast("socket.socket", _AsSocket(stream)), method=method)) as response:
        response.begin()
        answered_us = now_us() - began_us
        if response.status < 200:
            raise KernelError(f"the server {url} answered {response.status} before the answer")
        length = response.length
        if length is not None and length > most_bytes:
            raise too_large(url, most_bytes, length)
        body = response.read(most_bytes + 1) if length is None else response.read()
        if len(body) > most_bytes:
            raise too_large(url, most_bytes)
        said, closes = response.headers.get, response.will_close or not _ends_clearly(response.headers)
        return _answer(response.status, body, said, closes, now_us() - began_us, answered_us)


def _ends_clearly(said: Message) -> bool:
    """Whether a head says in one way alone where the answer ends: of two, somebody on the way may follow the other."""
    lengths, ways = said.get_all("content-length", []), said.get_all("transfer-encoding", [])
    if ways:
        return not lengths and [way.strip().lower() for way in ways] == ["chunked"]
    return len(set(lengths)) <= 1 and all(number_of(one.strip()) is not None for one in lengths)


def _answer(
    status: int, body: bytes, said: Callable[[str], str | None], closes: bool, took_us: int, answered_us: int
) -> Answer:
    json_length, run_us, queued_us = [number_of(said(name)) for name in _NUMBERS]
    return Answer(status, body, json_length, closes, run_us, queued_us, took_us, answered_us)


_NUMBERS = (JSON_LENGTH.lower(), "leo-run-us", "leo-wait-us")


class _Stream(io.BufferedReader):
    """What `http.client` does not close behind an answer: it may hold more than that."""

    def close(self) -> None:
        """Nothing is: the connection is another's."""


class _AsSocket:
    """All that `http.client` asks of one."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream

    def makefile(self, _: str) -> io.BufferedReader:
        return self._stream
