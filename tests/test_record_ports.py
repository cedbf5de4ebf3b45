"""`recording record --from`: what comes to a port, in the test's own thread."""

import socket
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.cli import main
from leo_runtime.errors import InputError
from leo_runtime.recordings.recorder import Pipe, open_port, record
from leo_runtime.recordings.recording import Recording
from leo_runtime.recordings.stream import RecordedStream

MIC = RecordedStream(name="mic", kind="audio", file="-", rate_hz=8_000)
RAW = np.arange(4_000, dtype="<i2").tobytes()


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_what_a_server_sends_is_recorded_to_its_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with open_port(url) as port, Pipe(port.fileno(), url) as pipe:
            sending, _ = server.accept()
            with sending:
                sending.sendall(RAW)
            assert record(pipe, MIC, tmp_path / "new").samples == 4_000
    assert Recording.from_file(tmp_path / "new").samples["mic"][:].tobytes() == RAW


def test_datagrams_are_recorded_and_an_empty_one_ends_nothing(tmp_path: Path) -> None:
    url = f"udp://127.0.0.1:{free_udp_port()}"
    with (
        open_port(url) as port,
        Pipe(port.fileno(), url, of_datagrams=True) as pipe,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
    ):
        for piece in (RAW[:3_000], b"", RAW[3_000:]):
            sending.sendto(piece, port.getsockname())
        assert record(pipe, MIC, tmp_path / "new", seconds=0.5).samples == 4_000
    assert Recording.from_file(tmp_path / "new").samples["mic"][:].tobytes() == RAW


@pytest.mark.parametrize("url", ["", "tcp://", "tcp://a", "udp://a:0", "udp://a:70000", "http://a:1", "tcp://a:1/b"])
def test_what_is_no_source_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no source"):
        open_port(url)


def test_the_command_says_who_does_not_listen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # Bound, and nobody listens.
        taken.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        command = ["recording", "record", "--from", url, "--format", "s16le", "--rate", "8000"]
        assert main([*command, "--out", str(tmp_path / "new")]) == 2
    assert f"`{url}` cannot be opened (Connection refused)" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
