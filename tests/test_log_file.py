"""A log that is written once more adds what is missing, and tells of what differs."""

from pathlib import Path

import pytest

from leo_runtime.appending import last_line
from leo_runtime.errors import DocumentError
from leo_runtime.replay.log_file import ContinuedFile, LogFile

PIECES = [b"first\n", b"two\nlines\n", b"\n", b"l" * 70 + b"\n", b"last\n"]
WHOLE = b"".join(PIECES)


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_a_file_cut_anywhere_is_made_whole(tmp_path: Path, length: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(WHOLE[:length])
    file = ContinuedFile(path)
    file.start()
    for piece in PIECES:
        before = path.read_bytes()
        file.write(piece)
        assert file.is_ahead or path.read_bytes() == before
    file.require_there()
    file.close()
    file.close()
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize("length", range(1, len(WHOLE) + 1))
def test_what_differs_is_told_with_its_line_and_nothing_is_lost(tmp_path: Path, length: int) -> None:
    path = tmp_path / "log"
    there = WHOLE[: length - 1] + b"#" + WHOLE[length:]
    path.write_bytes(there)
    file = ContinuedFile(path)
    file.start()
    line = WHOLE[: length - 1].count(b"\n") + 1
    if length == len(WHOLE):  # That was the newline, so the last line is not whole.
        for piece in PIECES:
            file.write(piece)
        assert path.read_bytes() == WHOLE
    else:
        with pytest.raises(DocumentError, match=rf"log:{line}: the line is damaged") as raised:
            for piece in PIECES:
                file.write(piece)
        assert raised.value.hint
        assert path.read_bytes() == there
    file.close()


@pytest.mark.parametrize(
    ("there", "says", "hint"),
    [
        (b'{"a":1}\n{"b":3}\n{"c":1}\n', "the run now comes to something else", "has changed since"),
        (b'{"a":1}\n{"b":\0\0\0\n{"c":1}\n', "the line is damaged", "`head -n 1 LOG > PART`"),
        (b'{"a":1}\n{"b":{"b":2}\n{"c":1}\n', "the line is damaged", "`head -n 1 LOG > PART`"),
        (b'{"a":1}\n\xff\n{"c":1}\n', "the line is damaged", "`head -n 1 LOG > PART`"),
    ],
)
def test_a_line_that_was_damaged_is_told_from_one_that_differs(
    tmp_path: Path, there: bytes, says: str, hint: str
) -> None:
    path = tmp_path / "log"
    path.write_bytes(there)
    file = ContinuedFile(path)
    file.start()
    with pytest.raises(DocumentError, match=rf"log:2: {says}") as raised:
        for piece in (b'{"a":1}\n', b'{"b":2}\n', b'{"c":1}\n'):
            file.write(piece)
    file.close()
    assert hint in raised.value.hint
    assert path.read_bytes() == there


def test_a_file_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="files cannot be locked here")
    first, second = LogFile(tmp_path / "log"), ContinuedFile(tmp_path / "log")
    first.start()
    first.write(b"first\n")
    for other in (second, LogFile(tmp_path / "log")):
        with pytest.raises(DocumentError, match="is being written by a run that goes on"):
            other.start()
    first.write(b"second\n")
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n", "what the run has written stays"
    first.close()
    again = ContinuedFile(tmp_path / "log")
    again.start()
    again.close()


def test_a_file_that_is_nobodys_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"an earlier run\n")
    file = LogFile(tmp_path / "log")
    file.start()
    file.write(b"another\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"another\n"


def test_a_file_that_has_gone_or_been_replaced_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "log"
    file = LogFile(path)
    file.start()
    file.write(b"first\n")
    file.require_there()
    path.unlink()
    with pytest.raises(DocumentError, match="log: was removed while it was written"):
        file.require_there()
    path.write_bytes(b"another\n")
    with pytest.raises(DocumentError, match="was removed while it was written"):
        file.require_there()
    file.close()


def test_a_file_that_cannot_be_written_again_is_told_in_words(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DocumentError, match="cannot be written"):
            ContinuedFile(path).start()


def test_the_last_line_of_a_file_is_found_whatever_its_length(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for content, last in (
        (b"", b""),
        (b"half", b""),
        (b"one\n", b"one"),
        (b"\n", b""),
        (b"one\ntwo\nhalf", b"two"),
        (b"a" * 200_000 + b"\n", b"a" * 200_000),
        (b"one\n" + b"a" * 200_000 + b"\n" + b"b" * 100_000, b"a" * 200_000),
        (b"one\n\n", b""),
    ):
        path.write_bytes(content)
        with path.open("rb") as file:
            begin, found = last_line(file)
        assert found == last
        assert content[begin : begin + len(last)] == last


def test_a_question_without_its_frame_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'first\n{"kind":"question",1}\n{"kind":"fr')
    file = ContinuedFile(path)
    file.start()
    file.write(b"first\n")
    file.write(b"another\n")
    file.close()
    assert path.read_bytes() == b"first\nanother\n"
