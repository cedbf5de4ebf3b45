"""Sinks: files that are rotated, full disks, sockets with several listeners, and the queue before each."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from daemons import Listener, a_site, some_answer
from leo_runtime.daemon import delivering, unix_socket
from leo_runtime.daemon.answer import Answer, as_json, as_line
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.delivering import Delivering
from leo_runtime.daemon.kinds import SinkEndedError
from leo_runtime.daemon.sinks.lines import LinesSink, RotatedFile, StandardOutput
from leo_runtime.daemon.sinks.socket import SocketSink, Subscribers
from leo_runtime.errors import InputError

LINE = len(as_line(some_answer()))


def lines(path: Path) -> list[int]:
    return [json.loads(line)["frame"] for line in path.read_text().splitlines()]


def test_an_answer_as_json_has_all_of_its_fields() -> None:
    said = json.loads(as_line(some_answer(label="grün", reason="a\nb")))
    assert said == json.loads(json.dumps(as_json(some_answer(label="grün", reason="a\nb"))))
    assert list(said) == list(Answer.__slots__) and said["values"] == [0.25, 0.75]
    assert as_line(some_answer(reason="a\nb")).count(b"\n") == 1


# A file.


def test_a_full_file_is_put_aside_and_some_are_kept(tmp_path: Path) -> None:
    sink = LinesSink(kind="lines", path="answers/a.jsonl", max_bytes=2 * LINE + 10, keep=2).open(a_site(tmp_path))
    for frame in range(1, 10):
        sink.publish(some_answer(frame=frame))
    sink.close()
    sink.close()
    folder = tmp_path / "answers"
    assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "a.jsonl.1", "a.jsonl.2"]
    assert [lines(folder / name) for name in ("a.jsonl.2", "a.jsonl.1", "a.jsonl")] == [[5, 6], [7, 8], [9]]
    assert stat.S_IMODE((folder / "a.jsonl").stat().st_mode) == 0o600


def test_without_any_kept_a_full_file_is_begun_anew(tmp_path: Path) -> None:
    sink = RotatedFile(tmp_path / "a", LINE + 10, 0)
    for frame in (1, 2, 3):
        sink.publish(some_answer(frame=frame))
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and lines(tmp_path / "a") == [3]
    sink.close()


def test_a_line_that_is_longer_than_a_file_may_be_is_written_all_the_same(tmp_path: Path) -> None:
    sink = RotatedFile(tmp_path / "a", 10, 1)
    sink.publish(some_answer(frame=1))
    sink.publish(some_answer(frame=2))
    assert lines(tmp_path / "a") == [2] and lines(tmp_path / "a.1") == [1]
    sink.close()


def test_it_goes_on_in_what_is_there_and_cuts_off_half_a_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(as_line(some_answer(frame=1)) + b'{"graph": "lo')
    sink = RotatedFile(tmp_path / "a", 10_000, 1)
    sink.publish(some_answer(frame=2))
    sink.close()
    assert lines(tmp_path / "a") == [1, 2]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    sink = RotatedFile(tmp_path / "a", 10_000, 1)
    sink.publish(some_answer(frame=1))
    (tmp_path / "a").rename(tmp_path / "b")
    sink.publish(some_answer(frame=2))
    sink.close()
    assert lines(tmp_path / "b") == [1] and lines(tmp_path / "a") == [2]


def test_a_file_that_was_copied_and_cut_goes_on_at_its_beginning(tmp_path: Path) -> None:
    """As `logrotate` with `copytruncate` does: no hole is left."""
    sink = RotatedFile(tmp_path / "a", 10_000, 1)
    for frame in range(3):
        sink.publish(some_answer(frame=frame))
    os.truncate(tmp_path / "a", 0)
    sink.publish(some_answer(frame=3))
    sink.close()
    assert lines(tmp_path / "a") == [3] and not (tmp_path / "a.1").exists()


def test_a_file_is_written_by_one_daemon_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first, second = RotatedFile(path, 1_000_000, 3), RotatedFile(path, 1_000_000, 3)
    first.publish(some_answer(frame=0))
    with path.open("ab") as file:
        file.write(b'{"half')  # As where the other one is writing just now.
    with pytest.raises(BlockingIOError, match="another daemon writes there"):
        second.publish(some_answer(frame=1))
    assert path.read_bytes().endswith(b"half")
    first.close()
    second.publish(some_answer(frame=1))
    assert lines(path) == [0, 1]
    for one in (RotatedFile(Path(os.devnull), 100, 1), RotatedFile(Path(os.devnull), 100, 1)):
        one.publish(some_answer())
        one.close()
    second.close()


def test_what_the_disk_takes_half_of_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, write, room = RotatedFile(tmp_path / "a", 10_000, 1), os.write, [LINE + 20]

    def full(fd: int, piece: bytes) -> int:
        taken = min(room[0], len(piece))
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= taken
        return write(fd, piece[:taken])

    monkeypatch.setattr(os, "write", full)
    sink.publish(some_answer(frame=1))
    with pytest.raises(OSError, match="No space left"):
        sink.publish(some_answer(frame=2))
    room[0] = 10_000
    sink.publish(some_answer(frame=2))
    sink.close()
    assert lines(tmp_path / "a") == [1, 2]


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RotatedFile(tmp_path / "file" / "a", 10, 1).publish(some_answer())


def test_standard_output_goes_on_where_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write_to = os.pipe()
    sink, write, fails = StandardOutput(write_to), os.write, [False, True, False, False]

    def some(fd: int, piece: bytes) -> int:
        if fails.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, piece[:100])

    monkeypatch.setattr(os, "write", some)
    with pytest.raises(OSError, match="No space left"):
        sink.publish(some_answer())
    fails += [False] * 10
    sink.publish(some_answer())
    monkeypatch.undo()
    os.close(write_to)
    with os.fdopen(read, "rb") as out:
        assert out.read() == as_line(some_answer())
    sink.close()


def test_standard_output_that_nobody_reads_has_ended() -> None:
    read, write_to = os.pipe()
    os.close(read)
    with pytest.raises(SinkEndedError):
        StandardOutput(write_to).publish(some_answer())
    os.close(write_to)


# The queue before a sink.


class Fake:
    """A sink that does what it is told: publishes, raises, or waits."""

    def __init__(self) -> None:
        self.published: list[int] = []
        self.raises: list[BaseException] = []
        self.may = threading.Event()
        self.may.set()
        self.within = threading.Event()
        self.closed = 0

    def publish(self, answer: Answer) -> None:
        self.within.set()
        self.may.wait()
        if self.raises:
            raise self.raises.pop(0)
        self.published.append(answer.frame)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "FIRST_WAIT_US", 1000)


def delivered(sink: Fake, frames: range, most: int = 100) -> tuple[Counts, Counter[int]]:
    """Give a sink some answers, and wait for its end; what was counted, and how often each was done with."""
    counts, done = Counts(), Counter[int]()
    one = Delivering("a", sink, counts, most=most, done=lambda answer: done.update([answer.frame]))
    for frame in frames:
        one.give(some_answer(frame=frame))
    one.start()
    one.end()
    assert one.join(30.0) and sink.closed == 1
    return counts, done


def test_all_is_published_in_order(tmp_path: Path) -> None:
    sink = Fake()
    counts, done = delivered(sink, range(5))
    assert sink.published == [0, 1, 2, 3, 4] and done == Counter(range(5))
    assert counts.now().sinks["a"].published == 5


def test_the_oldest_are_dropped_where_there_are_too_many(tmp_path: Path) -> None:
    sink = Fake()
    counts, done = delivered(sink, range(5), most=2)
    counted = counts.now().sinks["a"]
    assert sink.published == [3, 4] and done == Counter(range(5))
    assert (counted.given, counted.published, counted.dropped) == (5, 2, 3)


def test_what_the_disk_did_not_take_is_tried_again_and_lost_by_none(caplog: pytest.LogCaptureFixture) -> None:
    sink = Fake()
    sink.raises = [OSError(errno.ENOSPC, "No space left on device")] * 4
    counts, done = delivered(sink, range(3))
    counted = counts.now().sinks["a"]
    assert sink.published == [0, 1, 2] and done == Counter(range(3))
    assert (counted.errors, counted.dropped) == (4, 0) and "No space left" in counted.last_error
    assert caplog.text.count("went wrong") == 1


def test_what_a_sink_cannot_take_at_all_is_dropped_alone() -> None:
    sink = Fake()
    sink.raises = [ValueError("not this")]
    counts, done = delivered(sink, range(3))
    counted = counts.now().sinks["a"]
    assert sink.published == [1, 2] and (counted.errors, counted.dropped) == (1, 1) and done == Counter(range(3))


def test_of_a_sink_that_has_ended_all_is_dropped() -> None:
    sink = Fake()
    sink.raises = [SinkEndedError("nobody reads")]
    counts, done = delivered(sink, range(3))
    assert sink.published == [] and counts.now().sinks["a"].dropped == 3 and done == Counter(range(3))


def test_one_that_hangs_holds_up_nobody() -> None:
    sink, counts, done = Fake(), Counts(), Counter[int]()
    sink.may.clear()
    one = Delivering("a", sink, counts, most=2, done=lambda answer: done.update([answer.frame]))
    one.start()
    for frame in range(5):
        one.give(some_answer(frame=frame))
        sink.within.wait()
    one.end()
    assert not one.join(0.0)
    one.abandon()
    assert done == Counter([1, 2, 3, 4]) and counts.now().sinks["a"].dropped == 4
    sink.may.set()
    assert one.join(30.0) and sink.published == [0]


def test_what_comes_after_its_end_is_dropped() -> None:
    counts, done = Counts(), Counter[int]()
    one = Delivering("a", Fake(), counts, most=2, done=lambda answer: done.update([answer.frame]))
    one.start()
    one.end()
    assert one.join(30.0)
    one.give(some_answer(frame=1))
    assert done == Counter([1]) and counts.now().sinks["a"].dropped == 1 and one.waiting == 0


def test_it_gets_what_it_asks_for() -> None:
    one = Delivering("a", Fake(), Counts(), most=2, graphs=("loud",), only_fired=True)
    assert one.wants(some_answer()) and not one.wants(some_answer(fired=False))
    assert not one.wants(some_answer(graph="other"))
    assert Delivering("b", Fake(), Counts(), most=2).wants(some_answer(fired=False))


# Sockets.


def test_every_listener_hears_and_leaves_as_it_likes(tmp_path: Path) -> None:
    counts = Counts()
    sink = SocketSink(kind="socket", path="a.sock").open(a_site(tmp_path, counts))
    path = tmp_path / "run" / "a.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    first, second = Listener(path), Listener(path)
    while sink.connected < 2:
        sink.publish(some_answer(frame=0))
    sink.publish(some_answer(frame=1))
    for one in (first, second):
        while (said := one.next()) is not None and said["frame"] == 0:
            pass
        assert said is not None and said["frame"] == 1
    first.close()
    while sink.connected > 1:
        sink.publish(some_answer(frame=2))
    sink.publish(some_answer(frame=3))
    sink.close()
    sink.close()
    assert second.rest()[-1]["frame"] == 3
    second.close()
    assert counts.now().others["subscribers"] == 2 and not path.exists()


def test_a_slow_listener_is_hung_up_on_and_counted(tmp_path: Path) -> None:
    counts = Counts()
    sink = SocketSink(kind="socket", path="a.sock", behind_bytes=4096).open(a_site(tmp_path, counts))
    slow = Listener(tmp_path / "run" / "a.sock")
    while not sink.connected:
        sink.publish(some_answer())
    published = 0
    while sink.connected:
        sink.publish(some_answer(frame=published))
        published += 1
    assert counts.now().others["subscribers_dropped"] == 1
    heard = slow.file.read()
    assert heard.count(b"\n") <= published
    sink.close()
    slow.close()


def test_who_only_reads_may_shut_down_its_own_side(tmp_path: Path) -> None:
    sink = Subscribers(unix_socket.listen("./a.sock", tmp_path / "a.sock", {}), 4096, Counts().other)
    reads, leaves = Listener(tmp_path / "a.sock"), Listener(tmp_path / "a.sock")
    heard = 0
    while heard < 2:  # Both are there.
        sink.publish(some_answer(frame=0))
        heard = sum(one.try_next() is not None for one in (reads, leaves))
    reads._socket.shutdown(socket.SHUT_WR)
    leaves.close()
    while sink.connected > 1:
        sink._waker.wake()
    sink.publish(some_answer(frame=1))
    sink.close()
    assert reads.rest()[-1]["frame"] == 1
    reads.close()


def test_who_has_connected_gets_every_answer_from_then_on(tmp_path: Path) -> None:
    sink = Subscribers(unix_socket.listen("./a.sock", tmp_path / "a.sock", {}), 4096, Counts().other)
    for frame in range(100):
        listener = Listener(tmp_path / "a.sock")
        sink.publish(some_answer(frame=frame))
        heard = listener.next()
        assert heard is not None and heard["frame"] == frame
        listener.close()
    sink.close()


def test_who_cannot_be_let_in_for_want_of_files_waits_and_keeps_nothing_busy(tmp_path: Path) -> None:
    counts, listening = Counts(), unix_socket.listen("./a.sock", tmp_path / "a.sock", {})
    tries: list[float] = []
    enough = threading.Event()

    class Full:
        """What accepts nobody until there are files again."""

        fileno, setblocking, close = listening.socket.fileno, listening.socket.setblocking, listening.socket.close

        def accept(self) -> tuple[socket.socket, object]:
            tries.append(time.monotonic())
            if len(tries) < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            enough.set()
            return real.accept()

    real, listening.socket = listening.socket, Full()  # type: ignore[assignment]  # A fake of what it uses.
    sink = Subscribers(listening, 4096, counts.other)
    waits = Listener(tmp_path / "a.sock")
    assert enough.wait(30)
    assert tries[2] - tries[0] > 0.1
    sink.close()
    assert waits.rest() == [] and counts.now().others == {"subscribers": 1}
    waits.close()


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    one = unix_socket.listen("./a.sock", path, {})
    other = unix_socket.listen("./a.sock", path, {})  # By the same process, as in a reload.
    one.close()
    assert path.exists()
    other.close()
    other.close()
    assert not path.exists() and list(tmp_path.iterdir()) == []


def test_sockets_of_one_place_lose_nobody_whichever_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    runs = unix_socket.listen("./a.sock", path, {})
    with socket.socket(socket.AF_UNIX) as waits:
        waits.connect(str(path))
        refused = unix_socket.listen("./a.sock", path, {})  # Of a config that was not to be used after all.
        refused.close()
        assert path.is_socket()
        after = unix_socket.listen("a.sock", tmp_path / "." / "a.sock", {})
        runs.close()
        after.socket.accept()[0].close()
    path.unlink()
    anew = unix_socket.listen("./a.sock", path, {})  # Somebody took its file away.
    after.close()
    with socket.socket(socket.AF_UNIX) as heard:
        heard.connect(str(path))
    anew.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 120, "file", "file/a.sock"])
def test_a_place_where_no_socket_can_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError) as refused:
        unix_socket.listen(name, tmp_path / name, {})
    assert refused.value.hint and (tmp_path / "file").read_text() == "kept"


def test_a_socket_that_another_process_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(InputError, match="another process listens there"):
            unix_socket.listen("./a.sock", path, {})


def test_another_users_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()
    monkeypatch.setattr(unix_socket, "peer", lambda _: (1, os.geteuid() + 1))
    sink = SocketSink(kind="socket", path="a.sock").open(a_site(tmp_path, counts))
    stranger = Listener(tmp_path / "run" / "a.sock")
    assert stranger.rest() == []
    assert counts.now().others == {"peers_refused": 1}
    sink.close()
    stranger.close()


def test_a_socket_of_systemds_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="systemd has opened no socket called `a`"):
        SocketSink(kind="socket", path="systemd:a").open(a_site(tmp_path))
