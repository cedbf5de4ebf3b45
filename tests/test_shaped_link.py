"""The link that tests shape: its arithmetic, and a run through it with a server, a process, while it is cut."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from leo_runtime import RunLimit
from leo_runtime.documents.workload import Workload
from leo_runtime.runtime.runtime import Runtime
from servers import PATIENCE_S, serving_process, until, write_workload
from shaped_link import Cut, Direction, Rates, ShapedLink
from test_offloading import WINDOWS, answers, machine, profile, ran_on, run

SECOND = 1_000_000
CUTS: tuple[Cut, ...] = ("reset", "silent")


def test_pieces_go_one_after_the_other_at_the_rate_of_then() -> None:
    rates = Rates.of([(0, 1_000), (SECOND, None), (3 * SECOND, 500)], 4 * SECOND)
    assert rates.out_us(0, 100) == 100_000
    assert rates.out_us(900_000, 100) == SECOND, "the last that passes before it is down"
    assert rates.out_us(900_000, 200) == 3_200_000, "what does not pass before, passes after"
    assert rates.out_us(2 * SECOND, 50) == 3_100_000
    assert rates.out_us(3_500_000, 350) == 4_100_000, "then it begins anew"
    assert (rates.at(SECOND - 1), rates.at(SECOND), rates.at(7 * SECOND)) == (1_000, None, 500)

    way = Direction(rates, latency_us=20_000)
    assert [way.take(0, 100), way.take(0, 100), way.take(500_000, 100)] == [120_000, 220_000, 620_000]
    assert way.carried_bytes == 300


@pytest.mark.parametrize("changes", [[], [(5, 1_000)], [(0, None), (5, None)]])
def test_a_trace_lets_something_pass(changes: list[tuple[int, int | None]]) -> None:
    with pytest.raises(ValueError, match="begins at 0, and lets something pass"):
        Rates.of(changes, SECOND)


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that gives back what comes, to one after the other."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                own, _ = listening.accept()
                with own, suppress(OSError):
                    while piece := own.recv(1 << 16):
                        own.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(PATIENCE_S)


def echoed(own: socket.socket, sent: bytes) -> bytes:
    own.sendall(sent)
    return heard(own, len(sent))


def heard(own: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := own.recv(1 << 16)):
        found += piece
    return found


def test_what_is_sent_comes_and_is_counted(echo: tuple[str, int]) -> None:
    whole = bytes(range(256)) * 400
    with ShapedLink(echo, up=Rates.steady(50_000_000), latency_us=1_000) as link:
        with socket.create_connection(link.address, PATIENCE_S) as own:
            assert echoed(own, whole) == whole
            own.shutdown(socket.SHUT_WR)
            assert own.recv(1) == b"", "the end comes through as well"
        assert link.up.carried_bytes == link.down.carried_bytes == len(whole)
        assert link.connections == 1


def test_a_cut_breaks_connections_or_is_silent(echo: tuple[str, int]) -> None:
    with ShapedLink(echo, up=Rates.steady(50_000_000)) as link:
        with socket.create_connection(link.address, PATIENCE_S) as own:
            assert echoed(own, b"well") == b"well"
            link.cut("silent")
            own.sendall(b"held")
            own.settimeout(0.05)
            with pytest.raises(TimeoutError):
                own.recv(4)
            with socket.socket() as other:
                other.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    other.connect(link.address)
            own.settimeout(PATIENCE_S)
            link.mend()
            assert heard(own, 4) == b"held"
            link.cut("reset")
            with pytest.raises(ConnectionResetError):
                own.recv(1)
        with socket.create_connection(link.address, PATIENCE_S) as own, suppress(ConnectionResetError):
            assert own.recv(1) == b""
        link.mend()
        with socket.create_connection(link.address, PATIENCE_S) as own:
            assert echoed(own, b"again") == b"again"


def test_a_run_outlives_a_link_that_is_cut(tmp_path: Path) -> None:
    """Every answer is the local one, and the server is used again with the kernels that were there."""
    path = write_workload(tmp_path / "split")
    workload, here = Workload.from_file(path), machine()
    with Runtime.live(workload, here, profile(here)) as runtime:
        local = answers(run(runtime, WINDOWS))
    with serving_process(str(path), "--bind", "127.0.0.1:0") as (_, url):
        host, _, port = url.rpartition("/")[2].rpartition(":")
        with ShapedLink((host, int(port)), up=Rates.steady(5_000_000), latency_us=500) as link:
            split = machine(link.url)
            runtime = Runtime.live(workload, split, profile(split), run_limit=RunLimit(least_us=200_000, deadlines=0))
            with closing(runtime):
                for kind in CUTS:
                    away = run(runtime, WINDOWS)
                    assert answers(away) == local
                    assert ran_on(away) == [["cloud"]] * len(WINDOWS)
                    link.cut(kind)
                    alone = run(runtime, WINDOWS)
                    assert answers(alone) == local
                    assert ran_on(alone)[-1] == ["cpu"]
                    assert not is_well(runtime)
                    carried_bytes = link.up.carried_bytes
                    link.mend()
                    until(lambda: is_well(runtime))
                    if kind == "reset":  # Asked whether it is there, no more: on a slow link the rest would take long.
                        assert link.up.carried_bytes - carried_bytes < 1_000
                assert answers(run(runtime, WINDOWS)) == local
                assert runtime.skipped == 0 and runtime.results_dropped == 0


def is_well(runtime: Runtime) -> bool:
    """Whether the server and all its stages are in service."""
    (cloud,) = (one for one in runtime.processors() if one.processor == "cloud")
    return not (cloud.lost or cloud.suspect or cloud.set_aside)
