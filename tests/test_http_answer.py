"""Answers of HTTP/1.1 that are read at once are read as `http.client` does; all others it reads."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leo_backends.remote import http_answer
from leo_backends.remote.answers import Answer
from leo_backends.remote.http_answer import Incoming, read_answer
from leo_runtime.clock import WallClock
from leo_runtime.errors import KernelError

MOST = 1_000
OURS = b"HTTP/1.1 200 OK\r\nLeo-Run-Us: 12\r\nContent-Type: x\r\nContent-Length: 3\r\n\r\nabc"


def answered(sent: bytes, *, pieces: int = 1, method: str = "POST", most_bytes: int = MOST) -> Answer:
    """What comes of these bytes, behind which the server hangs up."""
    here, there = socket.socketpair()
    with here, there:

        def send() -> None:
            step = -(-len(sent) // pieces) or 1
            for begin in range(0, len(sent), step):
                there.sendall(sent[begin : begin + step])
            there.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        clock = WallClock()
        try:
            return read_answer(
                Incoming(here, clock, clock.now_us() + 5_000_000), method, "http://there", most_bytes, 0, lambda: 0
            )
        finally:
            sender.join()


def by_the_library(read: Callable[[], Answer]) -> Answer:
    with patch.object(http_answer, "_plain_head", lambda _: None):
        return read()


def came_of(read: Callable[[], Answer]) -> Answer | str:
    try:
        return read()
    except (http.client.HTTPException, KernelError) as error:
        return type(error).__name__


HEADERS = st.sampled_from(
    [
        "Content-Length: 3",
        "content-length:3",
        "Content-Length: 03",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 3 3",
        "Content-Length: 2000",
        "Content-Length: 7",
        "Content-Length : 3",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "connection: Keep-Alive",
        "Leo-Run-Us: 12",
        "Leo-Run-Us: 1e3",
        "Leo-Wait-Us:\t8 ",
        "Inference-Header-Content-Length: 2",
        "X: \xe9",
        " folded: 1",
        "no header",
        "",
        "Set-Cookie: a",
        "Set-Cookie: b",
    ]
)
FIRST = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.0 200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 204 No", "HTTP/1.1 503 Full"]
)


@given(FIRST, st.lists(HEADERS, max_size=5), st.sampled_from([b"abc", b"ab", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b""]))
@example("HTTP/1.1 2000 OK", ["Content-Length: 3"], b"abc")
@example("HTTP/1.1 200 OK", ["Content-Length: 3", "Leo-Run-Us: 12"], b"abc")
@example("HTTP/1.1 200 OK", ["Content-Length: 3", "Content-Length: 7"], b"abc")
@example("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked", "Content-Length: 3"], b"3\r\nabc\r\n0\r\n\r\n")
@settings(max_examples=500)
def test_what_is_read_at_once_is_read_as_the_library_does(first, headers, body):
    sent = "\r\n".join([first, *headers, "", ""]).encode("latin-1") + body
    assert came_of(lambda: answered(sent)) == came_of(lambda: by_the_library(lambda: answered(sent)))


def test_answers_of_servers_of_stages_are_read_at_once():
    with patch.object(http.client, "HTTPResponse", side_effect=AssertionError):
        assert answered(OURS) == Answer(200, b"abc", None, False, 12)


@pytest.mark.parametrize("pieces", [2, 5, len(OURS)])
def test_an_answer_in_pieces_is_the_same(pieces):
    assert answered(OURS, pieces=pieces) == Answer(200, b"abc", None, False, 12)


@pytest.mark.parametrize(
    "sent",
    [
        OURS + b"H",
        OURS.replace(b"200 OK", b"503 Full") + OURS,
        OURS.replace(b"200 OK", b"204 No Content"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n0\r\n\r\n",
        OURS.replace(b"th: 3", b"th: 3\r\nContent-Length: 7"),
        OURS.replace(b"th: 3", b"th: +3"),
        OURS.replace(b"th: 3", b"th: 0_3"),
        OURS.replace(b"th: 3", b"th: 3\r\nTransfer-Encoding: gzip, chunked"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_behind_an_answer_of_which_the_end_is_unclear_nothing_more_is_read(sent):
    assert answered(sent).closes


@pytest.mark.parametrize(
    "sent",
    [
        OURS,
        OURS.replace(b"200 OK", b"503 Full"),
        OURS.replace(b"th: 3", b"th: 3 \r\nX: a"),
        OURS.replace(b"th: 3", b"th: 3\r\nContent-Length: 3"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_behind_an_answer_that_ends_clearly_the_connection_stays(sent):
    assert not answered(sent).closes


def test_an_answer_without_a_body_to_a_question_for_its_head():
    assert answered(OURS, method="HEAD").body == b""


def test_more_than_was_expected_is_refused_before_it_is_read():
    with pytest.raises(KernelError, match="answered 3 bytes, 2 at most"):
        answered(OURS, most_bytes=2)


def test_a_server_that_is_silent_in_its_answer_is_waited_for_no_longer():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(OURS[:-1])
        clock = WallClock()
        with pytest.raises(TimeoutError):
            read_answer(Incoming(here, clock, clock.now_us() + 50_000), "POST", "", MOST, 0, lambda: 0)
