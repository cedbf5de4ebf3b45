"""A file that is written piece by piece holds whole pieces, whatever happens."""

import errno
import io
import os
from pathlib import Path

import pytest

from leo_runtime.appending import Appending
from leo_runtime.errors import DocumentError


class Failing(io.FileIO):
    """Takes three bytes of a piece, then raises."""

    error: BaseException | None = None
    taken = 0

    def write(self, piece: memoryview) -> int:  # type: ignore[override]
        if self.error is None:
            return super().write(piece[:3])
        if self.taken:
            raise self.error
        self.taken = super().write(piece[:3])
        return self.taken


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Failing]:
    """The files that were opened."""
    files: list[Failing] = []

    def open_file(path: Path, mode: str = "r", buffering: int = -1, *others: None) -> object:
        if buffering != 0:
            return plain(path, mode, buffering, *others)
        files.append(Failing(path, mode))
        return files[-1]

    plain = Path.open
    monkeypatch.setattr(Path, "open", open_file)
    return files


def test_pieces_are_there_as_soon_as_they_are_written(tmp_path: Path, opened: list[Failing]) -> None:
    file = Appending(tmp_path / "new" / "log")
    file.start()
    for expected in (b"one line\n", b"one line\none line\n"):
        file.write(b"one line\n")
        assert file.path.read_bytes() == expected
    file.close()
    file.close()


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(errno.ENOSPC, "No space left on device"), DocumentError), (KeyboardInterrupt(), None)],
)
def test_a_piece_that_is_written_in_part_alone_is_taken_back(
    tmp_path: Path, opened: list[Failing], error: BaseException, raised: type[BaseException] | None
) -> None:
    file = Appending(tmp_path / "log")
    file.start()
    file.write(b"first\n")
    opened[0].error = error
    with pytest.raises(raised or type(error)):
        file.write(b"second\n")
    assert file.path.read_bytes() == b"first\n"
    opened[0].error = None
    file.write(b"third\n")
    assert file.path.read_bytes() == b"first\nthird\n"
    file.close()


def test_it_begins_anew_where_an_earlier_run_was_torn(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"frame":1}\n{"fra')
    file = Appending(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() != b""
    file.start()
    file.write(b"{}\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"{}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_without_room_is_told_in_words() -> None:
    file = Appending(Path("/dev/full"))
    file.start()
    with pytest.raises(DocumentError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        file.write(b"one line\n")
    file.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_takes_pieces_and_says_in_words_that_nobody_reads_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    read_end = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    file = Appending(tmp_path / "log")
    file.start()
    file.write(b"one line\n")
    assert os.read(read_end, 100) == b"one line\n"
    os.close(read_end)
    with pytest.raises(DocumentError, match=r"cannot be written \(Broken pipe\)"):
        file.write(b"one line\n")
    file.close()
