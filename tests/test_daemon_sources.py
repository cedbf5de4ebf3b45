"""Sources: what other programs send, a recording, standard input; started anew where they go wrong."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons import WORKLOAD, Sender, a_site
from leo_runtime import shipped
from leo_runtime.clock import VirtualClock
from leo_runtime.daemon import feeding
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.feeding import Feeding
from leo_runtime.daemon.kinds import Feed, Site
from leo_runtime.daemon.raw import RawSamples
from leo_runtime.daemon.sources.recording import Player, RecordingSource
from leo_runtime.daemon.sources.socket import LONGEST_HEADER_BYTES, SocketSource
from leo_runtime.daemon.sources.stdin import Stdin, StdinSource
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import ClosedError, InputError, LeoError, SolverError


class Fed:
    """What a source gave, as a `Feed`."""

    def __init__(self) -> None:
        self.chunks: list[tuple[str | None, np.ndarray, int | None]] = []

    def __call__(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        self.chunks.append((stream, samples, at_us))

    def of(self, stream: str | None) -> np.ndarray:
        return np.concatenate([samples for name, samples, _ in self.chunks if name == stream])


# Bytes.


@given(st.binary(max_size=200), st.lists(st.integers(0, 20), max_size=20), st.sampled_from([(), (2,), (3, 2)]))
def test_bytes_in_any_pieces_are_the_same_samples(data: bytes, cuts: list[int], shape: tuple[int, ...]) -> None:
    whole, pieces = RawSamples(shape, "int16"), RawSamples(shape, "int16")
    expected = whole.take(data)
    found, at = [], 0
    for length in (*cuts, len(data)):
        found.append(pieces.take(data[at : at + length]))
        at += length
    assert np.array_equal(np.concatenate(found), expected) and pieces.rest == whole.rest
    assert expected.shape[1:] == shape and expected.dtype == np.int16


# A recording.


def player(rate: float, loop: bool) -> tuple[Player, VirtualClock]:
    clock = VirtualClock()
    streams = {"mic": (1000.0, np.arange(2500, dtype=np.int16)), "watch": (10.0, np.arange(30, dtype=np.float32))}
    return Player(streams, rate=rate, loop=loop, clock=clock), clock


def test_a_recording_is_played_once_as_long_as_its_shortest_stream() -> None:
    one, clock = player(1.0, loop=False)
    fed = Fed()
    one.run(fed, threading.Event())
    assert np.array_equal(fed.of("mic"), np.arange(2500)) and np.array_equal(fed.of("watch"), np.arange(25))
    assert clock.now_us() == 2_500_000


def test_a_recording_is_played_faster() -> None:
    one, clock = player(10.0, loop=False)
    one.run(Fed(), threading.Event())
    assert clock.now_us() == 250_000


def test_a_recording_is_played_again_and_again() -> None:
    one, _ = player(1.0, loop=True)
    fed, stop = Fed(), threading.Event()

    def feed(samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        fed(samples, at_us, stream=stream)
        if len(fed.chunks) == 120:
            stop.set()

    one.run(feed, stop)
    assert np.array_equal(fed.of("mic"), np.arange(6000) % 2500)
    assert np.array_equal(fed.of("watch"), np.arange(60) % 25)


def test_the_shipped_recording_is_opened_for_all_streams_or_one(tmp_path: Path) -> None:
    site = Site(**{**_fields(a_site(tmp_path)), "workload": shipped.workload()})
    for stream, names in ((None, ["mic", "watch"]), ("watch", ["watch"])):
        config = RecordingSource(kind="recording", recording="demo", stream=stream)
        assert [one.name for one in config.fed(site.workload)] == names
        config.open(site)


def _fields(site: Site) -> dict[str, Any]:
    return {name: getattr(site, name) for name in Site.__slots__}


@pytest.mark.parametrize("recording", ["nothing", "demo"])
def test_a_recording_that_does_not_fit_is_refused(tmp_path: Path, recording: str) -> None:
    with pytest.raises(LeoError) as refused:
        RecordingSource(kind="recording", recording=recording).open(a_site(tmp_path))
    assert refused.value.hint


# Standard input.


def test_standard_input_is_read_to_its_end() -> None:
    read, write = os.pipe()
    fed = Fed()
    data = np.arange(500, dtype="<i2")
    with os.fdopen(write, "wb") as out:
        out.write(data.tobytes() + b"\x01")
    Stdin(RawSamples((), "int16"), read).run(fed, threading.Event())
    os.close(read)
    assert np.array_equal(fed.of(None), data)


def test_standard_input_is_of_one_stream_at_a_rate(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    events = site.workload.model_copy(update={"streams": (Stream(name="bell", kind="events"),)})
    with pytest.raises(InputError, match="raw samples have no times"):
        StdinSource(kind="stdin").open(Site(**{**_fields(site), "workload": events}))
    two = site.workload.model_copy(update={"streams": site.workload.streams * 2})
    with pytest.raises(InputError, match="not said which stream") as refused:
        StdinSource(kind="stdin").fed(two)
    assert "stream =" in refused.value.hint


# A socket.


class Receiving:
    """A socket source that runs on a thread."""

    def __init__(self, folder: Path, workload: Workload | None = None) -> None:
        self.counts, self.fed, self.stop = Counts(), Fed(), threading.Event()
        site = a_site(folder, self.counts)
        if workload is not None:
            site = Site(**{**_fields(site), "workload": workload})
        self.source = SocketSource(kind="socket", path="a.sock").open(site)
        self.path = folder / "run" / "a.sock"
        self.thread = threading.Thread(target=self.source.run, args=(self.fed, self.stop))
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(30.0)
        self.source.close()
        assert not self.thread.is_alive() and not self.path.exists()


@pytest.fixture
def receiving(tmp_path: Path) -> Any:
    one = Receiving(tmp_path)
    yield one
    one.end()


def test_samples_of_several_senders_are_taken(receiving: Receiving) -> None:
    first, second = Sender(receiving.path), Sender(receiving.path)
    first.send(np.arange(10, dtype=np.float32))
    assert first.end() == {"samples": 10}
    second.send(np.arange(5, dtype=np.int16), stream="s", at_us=123)
    second.send(np.zeros(0, np.uint8))
    second.send(np.arange(7, dtype=np.int16))
    assert second.end() == {"samples": 12}
    chunks = receiving.fed.chunks
    assert [(name, len(samples), at_us) for name, samples, at_us in chunks] == [
        ("s", 10, None),
        ("s", 5, 123),
        ("s", 7, None),
    ]
    assert receiving.counts.now().others == {"senders": 2}


@pytest.mark.parametrize(
    ("sent", "says", "hint"),
    [
        (b"hello\n", "not JSON", ""),
        (b'{"type": "int16"}\n', 'the key "bytes" is missing', ""),
        (b'{"type": "int8", "bytes": 2}\n', "expected 'int16', 'float32', 'uint8', 'int24' or 'int32'", ""),
        (b'{"type": "int16", "bytes": 2, "rate": 3}\n', 'the key "rate" is unknown', "known are"),
        (b'{"type": "int16", "bytes": -2}\n', "expected at least 0", ""),
        (b'{"type": "int16", "bytes": 17000000}\n', "expected at most", ""),
        (b'{"type": "int16", "bytes": 2, "stream": "t"}\n', "no stream is called `t`", "s"),
        (b'{"type": "int16", "bytes": 3}\nabc', "3 bytes are no whole number of samples", "2 bytes"),
        (b"x" * (LONGEST_HEADER_BYTES + 5000), "more than", ""),
        (b"\xff\xfe\n", "not UTF-8", ""),
    ],
)
def test_what_cannot_be_taken_is_said_and_hung_up_on(receiving: Receiving, sent: bytes, says: str, hint: str) -> None:
    one = Sender(receiving.path)
    one.raw(sent)
    told = one.told()
    assert says in told["error"] and hint in told["hint"]
    assert receiving.fed.chunks == [] and receiving.counts.now().others["senders_refused"] == 1


def test_one_that_vanishes_within_samples_is_forgotten(receiving: Receiving) -> None:
    gone, other = Sender(receiving.path), Sender(receiving.path)
    gone.raw(b'{"type": "int16", "bytes": 100}\nabc')
    gone.close()
    other.send(np.zeros(3, np.int16))
    assert other.end() == {"samples": 3}
    assert "senders_refused" not in receiving.counts.now().others


def test_any_bytes_are_taken_or_refused(receiving: Receiving) -> None:
    drawn = random.Random(3)
    right = json.dumps({"type": "int16", "bytes": 6, "stream": "s"}).encode() + b"\n" + bytes(6)
    for _ in range(100):
        sent = bytearray(right * 3)
        for _ in range(drawn.randint(0, 4)):
            sent[drawn.randrange(len(sent))] = drawn.randrange(256)
        one = Sender(receiving.path)
        one.raw(bytes(sent[: drawn.randint(1, len(sent))]))
        told = one.end()
        assert told == {} or told.keys() in ({"samples"}, {"error", "hint"})


def test_of_several_streams_the_line_says_which(tmp_path: Path) -> None:
    text = WORKLOAD.replace(
        "streams = [", 'streams = [{ name = "other", kind = "other", rate_hz = 10, channels = 2 }, '
    )
    one = Receiving(tmp_path, Workload.from_toml(text))
    sender = Sender(one.path)
    sender.send(np.zeros(8, np.float32), stream="other")
    sender.raw(b'{"type": "int16", "bytes": 2}\nab')
    assert "does not say of which stream" in sender.told()["error"]
    assert one.fed.chunks[0][1].shape == (4, 2)
    one.end()


# A source on its thread.


class Scripted:
    """A source that gives so many chunks, then raises, again and again."""

    def __init__(self, *runs: BaseException | None) -> None:
        self.runs = list(runs)
        self.closed = False

    def run(self, feed: Feed, _stop: threading.Event) -> None:
        feed(np.zeros(3, np.float32))
        if (error := self.runs.pop(0)) is not None:
            raise error

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "FIRST_WAIT_US", 1000)
    monkeypatch.setattr("leo_runtime.daemon.sources.socket.LOOKS_S", 0.02)


def fed_by(source: Any, give: Any) -> tuple[Feeding, Counts, list[int]]:
    counts, frames = Counts(), list[int]()
    one = Feeding("a", source, {"s": Stream(name="s", rate_hz=1000)}, give, frames.extend, counts)
    one.start()
    assert one.join(30.0) and one.ended
    return one, counts, frames


def test_a_source_is_started_anew_whatever_it_raises(caplog: pytest.LogCaptureFixture) -> None:
    source = Scripted(OSError("gone"), SystemExit(3), MemoryError(), None)
    _, counts, frames = fed_by(source, lambda *_, **__: (1, 2))
    counted = counts.now().sources["a"]
    assert (counted.restarts, counted.errors, counted.samples, counted.chunks) == (3, 3, 12, 4)
    assert counted.ended and source.closed and frames == [1, 2] * 4 and "MemoryError" in counted.last_error
    assert caplog.text.count("went wrong") == 3


def test_it_waits_for_longer_each_time_that_it_gave_no_more_than_one_chunk() -> None:
    class Given:
        def __init__(self) -> None:
            self.chunks = [0, 1, 0, 2, 1, 0]

        def run(self, feed: Feed, _stop: threading.Event) -> None:
            if not self.chunks:
                return
            for _ in range(self.chunks.pop(0)):
                feed(np.zeros(3, np.float32))
            raise OSError("gone")

    class Waited(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits_s.append(timeout)
            return False

    waits_s: list[float | None] = []
    one = Feeding("a", Given(), {"s": Stream(name="s", rate_hz=1000)}, lambda *_, **__: (), lambda _: None, Counts())
    one._stop = Waited()
    one._go()
    assert waits_s == [0.001, 0.002, 0.004, 0.001, 0.002, 0.004]


def test_the_first_samples_time_becomes_that_of_the_last() -> None:
    given: list[Any] = []

    class Timed:
        def run(self, feed: Feed, _stop: threading.Event) -> None:
            feed(np.zeros(11, np.float32), 5_000_000)

    fed_by(Timed(), lambda stream, chunk, at_us: given.append((stream, len(chunk), at_us)) or ())
    assert given == [("s", 11, 5_010_000)]


def test_what_the_solver_has_no_answer_for_is_none_of_the_sources_business() -> None:
    def give(*_: Any, **__: Any) -> tuple[int, ...]:
        raise SolverError("too large")

    one, counts, _ = fed_by(Scripted(None), give)
    counted = counts.now()
    assert counted.sources["a"].errors == 0 and counted.sources["a"].samples == 3
    assert counted.others == {"frames_refused": 1} and one.fed == 1 and not one.is_within


def test_samples_that_are_refused_are_the_sources_mistake() -> None:
    answers: list[Any] = [InputError("another dtype"), ()]

    def give(*_: Any, **__: Any) -> Any:
        if isinstance(found := answers.pop(0), Exception):
            raise found
        return found

    _, counts, _ = fed_by(Scripted(None, None), give)
    counted = counts.now().sources["a"]
    assert (counted.errors, counted.samples, counted.restarts) == (1, 3, 1)


def test_it_ends_with_the_runtime() -> None:
    def give(*_: Any, **__: Any) -> Any:
        raise ClosedError("closed")

    _, counts, _ = fed_by(Scripted(None), give)
    assert counts.now().sources["a"].errors == 0
