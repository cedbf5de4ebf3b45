"""The daemon as a wake-word service: Wyoming's own client as referee, hostile bytes, and a real daemon that hears."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import select
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brokers import free_port
from daemons import PATIENCE_S, Running, a_site, some_answer
from leo_backends import tflite
from leo_runtime import shipped
from leo_runtime.clock import VirtualClock
from leo_runtime.daemon import wyoming_connection
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.decisions import DecisionConfig
from leo_runtime.daemon.loading import load
from leo_runtime.daemon.pace import AHEAD_US, Pace
from leo_runtime.daemon.pcm import Converter, PcmFormat, mono
from leo_runtime.daemon.sources import wyoming as service
from leo_runtime.daemon.sources.wyoming import Wyoming, WyomingSource
from leo_runtime.daemon.wake_words import copies, hearing
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import DocumentError, InputError
from leo_runtime.frame.lower import merge

# The library imports it before Python 3.13.
pytestmark = pytest.mark.filterwarnings("ignore:'audioop' is deprecated:DeprecationWarning")

RATE_HZ = 16_000
WINDOW = 32_000
"""Samples of the wake word's window."""
BEGAN_US = 1_000_000_000


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether to stop."""
    monkeypatch.setattr(service, "LOOKS_S", 0.02)


def wake_word() -> Workload:
    return shipped.workload().without("speech", "scene", "activity", "speaker")


def heard_at(release_us: int, place: int = 1, label: str | None = "okay_nabu") -> Any:
    return some_answer(graph=f"wake_word@{place}", release_us=release_us, label=label)


# Which words there are, and their copies.


def test_every_place_has_graphs_and_a_stream_of_its_own() -> None:
    found = hearing(wake_word(), ())
    assert (found.words, found.window_samples, found.period_us) == (("okay_nabu",), WINDOW, 500_000)
    made = copies(found, 3)
    assert [(one.of, one.graph.name, one.stream.name) for one in made] == [
        ("wake_word", f"wake_word@{place}", f"mic@{place}") for place in (1, 2, 3)
    ]
    running = wake_word().with_graphs(*[one.graph for one in made], streams=[one.stream for one in made])
    merged = merge(running)
    # Nothing is computed once for two of them.
    assert all(len(stage.graphs) == 1 for stage in merged.stages)
    assert len(merged.stages) == 4 * len(wake_word().graphs[0].stages)


def test_copies_are_decided_as_what_they_are_copies_of(tmp_path: Path) -> None:
    config = DaemonConfig.from_toml(
        CONFIG.format(port=1, more='[[decisions]]\ngraph = "wake_word"\nthreshold = 0.9\nhold_off_s = 7\n')
    )
    loaded = load(config, tmp_path)
    assert [graph.name for graph in loaded.workload.graphs] == ["wake_word"]
    assert [graph.name for graph in loaded.running.graphs] == ["wake_word", "wake_word@1", "wake_word@2"]
    assert [(one.graph, one.threshold) for one in loaded.decisions] == [
        ("wake_word", 0.9), ("wake_word@1", 0.9), ("wake_word@2", 0.9),
    ]  # fmt: skip


def two_words(second: str) -> Workload:
    """The wake word, and another by a stream and a label."""
    other = wake_word().graphs[0].model_copy(update={"name": "other"})
    decision = other.decision
    assert decision is not None
    other = other.model_copy(update={"decision": decision.model_copy(update={"labels": (second,)})})
    return wake_word().with_graphs(other)


def test_several_words_may_be_heard() -> None:
    found = hearing(two_words("hey"), ["wake_word", "other"])
    assert found.words == ("okay_nabu", "hey")
    assert [one.graph.name for one in copies(found, 2)] == ["wake_word@1", "other@1", "wake_word@2", "other@2"]
    assert {one.stream.name for one in copies(found, 2)} == {"mic@1", "mic@2"}


@pytest.mark.parametrize(
    ("workload", "names", "said"),
    [
        (lambda: two_words("hey"), (), "not said which graph"),
        (lambda: two_words("okay_nabu"), ("wake_word", "other"), "the same wake word: okay_nabu"),
        (wake_word, ("wake_wort",), "is called `wake_wort`"),
        (lambda: shipped.workload().without("wake_word", "speech", "scene", "speaker"), (), "not said which graph"),
        (lambda: shipped.workload(), ("activity",), "is called `activity`"),
    ],
)
def test_what_is_no_wake_word_is_refused(workload: Callable[[], Workload], names: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        hearing(workload(), names)


def test_words_of_several_streams_are_refused() -> None:
    graph = GraphBuilder("ears", period_us=500_000, deadline_us=100_000)
    graph.stage("loud", "energy_gate", graph.stage("sound", "window", stream="door", samples=100), threshold_dbfs=-50.0)
    graph.decide("loud", labels=["loud"], threshold=0.5)
    door = Stream(name="door", kind="audio", rate_hz=RATE_HZ)
    with pytest.raises(InputError, match="several streams: door, mic"):
        hearing(wake_word().with_graphs(graph.build(), streams=[door]), ["wake_word", "ears"])


# Sound as others send it.


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_width_and_number_of_channels_is_the_same_sound(width: int, channels: int) -> None:
    values = np.array([-128, -1, 0, 1, 127]) << 8
    wide = (np.repeat(values, channels).astype(np.int64) << 16 >> 8 * (4 - width)).astype("<i4")
    payload = wide.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    assert mono(payload, PcmFormat(RATE_HZ, width, channels)).tolist() == values.tolist()


def test_channels_are_heard_together() -> None:
    pcm = PcmFormat(RATE_HZ, 2, 2)
    assert mono(np.array([[100, 200], [-3, 0], [32_767, 32_767]], "<i2").tobytes(), pcm).tolist() == [150, -2, 32_767]


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_is_the_same_sound(rate_hz: int) -> None:
    pytest.importorskip("soxr", reason="soxr is not installed (extra `recordings`)")
    tone = np.rint(10_000 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype("<i2")
    converter = Converter(PcmFormat(rate_hz, 2, 1), RATE_HZ)
    parts = [converter.take(tone[first : first + 1_000].tobytes()) for first in range(0, rate_hz, 1_000)]
    found = np.concatenate([*parts, converter.rest()])
    expected = 10_000 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert len(found) == pytest.approx(RATE_HZ, abs=2)
    assert np.abs(found[1_000:15_000] - expected[1_000:15_000]).max() < 20


def test_without_soxr_another_rate_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    with pytest.raises(InputError, match="sound at 44100 Hz cannot be made 16000 Hz here: soxr"):
        Converter(PcmFormat(44_100, 2, 1), RATE_HZ)


@pytest.mark.parametrize("pcm", [(1, 2, 1), (10**6 - 1, 2, 1), (RATE_HZ, 5, 1), (RATE_HZ, 2, 33)])
def test_sound_that_nothing_gives_is_refused(pcm: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="is not taken"):
        Converter(PcmFormat(*pcm), RATE_HZ)


# How fast it is taken.


@pytest.mark.parametrize("ppm", [-2_000, -100, 100, 2_000, 9_000])
def test_a_device_whose_clock_is_off_is_never_held_back(ppm: int) -> None:
    """Not in a day either."""
    pace, now_us = Pace(0), 0
    for _ in range(86_400):
        assert pace.next_us(now_us, 1_000_000) <= now_us
        now_us += 1_000_000 * 10**6 // (10**6 + ppm)


def test_what_was_kept_on_its_way_is_heard_at_once_and_a_file_is_not() -> None:
    pace = Pace(0)
    took_us = 0
    for second in range(60):
        took_us = max(took_us, pace.next_us(took_us, 1_000_000))
        assert 0.98 * second * 1e6 - AHEAD_US <= took_us <= second * 1e6
    for second in range(60, 120):
        pace.next_us(second * 1_000_000, 1_000_000)
    # It stalled for four seconds, and four seconds come at once.
    assert max(pace.next_us(124_000_000, 100_000) for _ in range(40)) <= 124_000_000
    # Nobody saves more than that up, however long it took.
    assert max(pace.next_us(10**10, 100_000) for _ in range(120)) > 10**10


# The service, with a runtime that only notes what it is fed.


class Served:
    """A service on a Unix socket, what it feeds and restarts, and answers to it by hand."""

    def __init__(self, folder: Path, workload: Workload | None = None, **config: Any) -> None:
        self.path = folder / "wake.sock"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.path))
        self.socket.listen(64)
        self.counts = Counts()
        self.clock = VirtualClock(BEGAN_US)
        self.changed = threading.Condition()
        self.fed: list[tuple[str, np.ndarray]] = []
        self.restarted: list[str] = []
        self.answers: Callable[[str], None] = lambda _: None
        """Is called with the stream that was fed."""
        self.stop = threading.Event()
        usual: dict[str, Any] = {"kind": "wyoming", "socket": "systemd:wake", "connections": 2}
        self.site = replace(
            a_site(folder, self.counts),
            workload=workload or wake_word(),
            sockets={"wake": self.socket},
            restart=self._restart,
        )
        self.server = Wyoming(WyomingSource(**(usual | config)), self.site, clock=self.clock)
        self.thread = threading.Thread(target=self.server.run, args=(self._feed, self.stop), daemon=True)

    def _restart(self, stream: str) -> None:
        with self.changed:
            self.restarted.append(stream)

    def _feed(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        assert stream is not None
        with self.changed:
            self.fed.append((stream, samples.copy()))
            self.changed.notify_all()
        self.answers(stream)

    def sound(self, stream: str) -> np.ndarray:
        """All that one stream was fed."""
        return np.concatenate([np.empty(0, np.int16), *[chunk for name, chunk in self.fed if name == stream]])

    async def until_fed(self, stream: str, samples: int) -> np.ndarray:
        """Wait until a stream was fed so many samples."""

        def wait() -> None:
            with self.changed:
                is_there = self.changed.wait_for(lambda: len(self.sound(stream)) >= samples, PATIENCE_S)
                assert is_there, len(self.sound(stream))

        await asyncio.to_thread(wait)
        return self.sound(stream)

    def count(self, name: str) -> int:
        return self.counts.now().others.get(name, 0)

    def raw(self) -> socket.socket:
        """A connection of bytes."""
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(PATIENCE_S)
        one.connect(str(self.path))
        return one


@contextmanager
def served(folder: Path, workload: Workload | None = None, **config: Any) -> Iterator[Served]:
    pytest.importorskip("wyoming", reason="the extra `wyoming` is not installed")
    one = Served(folder, workload, **config)
    one.thread.start()
    try:
        yield one
    finally:
        one.stop.set()
        one.thread.join(PATIENCE_S)
        one.socket.close()
        assert not one.thread.is_alive()


def chunk(samples: np.ndarray, *, rate: int = RATE_HZ, timestamp: int | None = None) -> Any:
    from wyoming.audio import AudioChunk

    return AudioChunk(rate, 2, 1, samples.astype("<i2").tobytes(), timestamp=timestamp).event()


def client(path: Path) -> Any:
    from wyoming.client import AsyncClient

    return AsyncClient.from_uri(f"unix://{path}")


async def told(one: Any) -> Any:
    """The next event of the service; None: it hung up."""
    return await asyncio.wait_for(one.read_event(), PATIENCE_S)


def asked(talk: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(talk, 2 * PATIENCE_S))


SOME = np.arange(1, 1_025, dtype=np.int16)


def test_it_says_what_it_knows_as_home_assistant_reads_it(tmp_path: Path) -> None:
    async def talk() -> None:
        from wyoming.info import Describe, Info

        async with client(serving.path) as one:
            for _ in range(2):  # It keeps answering on an open connection.
                await one.write_event(Describe().event())
                info = Info.from_event(await told(one))
        (program,) = info.wake
        assert program.installed
        assert [(model.name, model.description, model.languages) for model in program.models] == [
            ("okay_nabu", "okay nabu", ["en"]), ("hey", "hey", ["en"]),
        ]  # fmt: skip
        assert info.asr == info.tts == []

    with served(tmp_path, two_words("hey"), graphs=("wake_word", "other")) as serving:
        asked(talk())


def test_chunks_without_a_start_are_heard_and_a_word_is_told_at_once(tmp_path: Path) -> None:
    """As of wyoming-satellite: `detect`, and then nothing but chunks, also behind a detection."""

    async def talk() -> None:
        from wyoming.wake import Detect, Detection

        async with client(serving.path) as one:
            await one.write_event(Detect(names=["okay_nabu"]).event())
            await one.write_event(chunk(SOME, timestamp=5_000))
            sound = await serving.until_fed("mic@1", WINDOW + len(SOME))
            assert not sound[:WINDOW].any()
            assert sound[WINDOW:].tolist() == SOME.tolist()
            serving.server.publish(heard_at(BEGAN_US + 1, label=None))
            serving.server.publish(heard_at(BEGAN_US + 2))
            first = Detection.from_event(await told(one))
            assert (first.name, first.timestamp) == ("okay_nabu", 5_000)
            # The same word in the next window is no other; two seconds later it is, on the same connection.
            serving.server.publish(heard_at(BEGAN_US + 500_002))
            await one.write_event(chunk(SOME, timestamp=6_000))
            await serving.until_fed("mic@1", WINDOW + 2 * len(SOME))
            serving.server.publish(heard_at(BEGAN_US + 2_000_002))
            assert Detection.from_event(await told(one)).timestamp == 6_000
        assert serving.restarted == ["mic@1"]
        assert serving.count("wyoming_detections") == 2

    with served(tmp_path) as serving:
        asked(talk())


def test_only_words_that_are_asked_for_are_told_and_unknown_ones_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk() -> None:
        from wyoming.error import Error
        from wyoming.wake import Detect, Detection

        async with client(serving.path) as one:
            await one.write_event(Detect(names=["hei", "hey"]).event())
            error = Error.from_event(await told(one))
            assert "no wake word is called `hei`" in error.text
            assert error.code == "unknown-wake-word"
            await one.write_event(chunk(SOME))
            await serving.until_fed("mic@1", WINDOW)
            serving.server.publish(heard_at(BEGAN_US + 1))
            serving.server.publish(replace(heard_at(BEGAN_US + 2, label="hey"), graph="other@1"))
            assert Detection.from_event(await told(one)).name == "hey"

    with served(tmp_path, two_words("hey"), graphs=("wake_word", "other")) as serving:
        asked(talk())
        assert serving.count("wyoming_unknown_words") == 1
    assert (
        "listens for what is never heard: no wake word is called `hei`" in caplog.text
    )  # Satellites pass over errors.


@pytest.mark.parametrize("written", ["okay_nabu", "okay nabu", "Okay Nabu", "okay-nabu ", "", " "])
def test_a_word_may_be_asked_for_as_it_is_said_or_by_nothing(tmp_path: Path, written: str) -> None:
    async def talk() -> None:
        from wyoming.wake import Detect, Detection

        async with client(serving.path) as one:
            await one.write_event(Detect(names=[written]).event())
            await one.write_event(chunk(SOME))
            await serving.until_fed("mic@1", WINDOW)
            serving.server.publish(heard_at(BEGAN_US + 1))
            assert Detection.from_event(await told(one)).name == "okay_nabu"

    with served(tmp_path) as serving:
        asked(talk())


@pytest.mark.parametrize("found", [False, True])
def test_a_stop_is_answered_when_all_that_came_is(tmp_path: Path, found: bool) -> None:
    async def talk() -> None:
        from wyoming.audio import AudioStart, AudioStop
        from wyoming.wake import Detect

        def answers(stream: str) -> None:
            """As the daemon's graphs do, once in a while; what is said at the end is heard at the end."""
            fed = len(serving.sound(stream))
            if fed // 8_000 > (fed - 1_600) // 8_000:
                label = "okay_nabu" if found and fed >= WINDOW + 8_000 else None
                serving.server.publish(heard_at(serving.clock.now_us() + 1, int(stream[-1]), label))

        serving.answers = answers
        async with client(serving.path) as one:
            await one.write_event(Detect(names=None).event())
            for utterance in range(2):
                await one.write_event(AudioStart(RATE_HZ, 2, 1).event())
                await one.write_event(chunk(np.ones(4_000)))
                await one.write_event(AudioStop().event())
                assert (await told(one)).type == ("detection" if found else "not-detected")
                assert serving.restarted == [f"mic@{1 + number}" for number in range(utterance + 1)]
                serving.fed.clear()
            # Where there was no sound there was no word.
            await one.write_event(AudioStop().event())
            assert (await told(one)).type == "not-detected"

    with served(tmp_path) as serving:
        asked(talk())


def test_each_connection_is_heard_alone_and_one_too_many_is_told(tmp_path: Path) -> None:
    async def talk() -> None:
        from wyoming.info import Describe
        from wyoming.wake import Detection

        async with client(serving.path) as first, client(serving.path) as second:
            await first.write_event(chunk(SOME))
            await serving.until_fed("mic@1", WINDOW + 1)
            await second.write_event(chunk(-SOME))
            await serving.until_fed("mic@2", WINDOW + 1)
            assert (serving.sound("mic@1")[WINDOW:] > 0).all()
            assert (serving.sound("mic@2")[WINDOW:] < 0).all()
            serving.server.publish(heard_at(BEGAN_US + 1, place=2))
            assert Detection.from_event(await told(second)).name == "okay_nabu"
            async with client(serving.path) as third:
                # Who asks what there is needs no place.
                await third.write_event(Describe().event())
                assert (await told(third)).type == "info"
                await third.write_event(chunk(SOME))
                assert "as many connections as may send sound" in (await told(third)).data["text"]
                assert await told(third) is None
            await first.write_event(Describe().event())
            assert (await told(first)).type == "info"
        # Who hangs up without a word leaves a place, whose stream then forgets what was said.
        for number in range(4):
            async with client(serving.path) as one:
                await one.write_event(chunk(SOME))
                await one.write_event(Describe().event())
                assert (await told(one)).type == "info"
            assert len(serving.restarted) == 3 + number
        assert set(serving.restarted) == {"mic@1", "mic@2"}

    with served(tmp_path) as serving:
        asked(talk())


def test_an_answer_to_what_was_said_before_is_nobodys(tmp_path: Path) -> None:
    async def talk() -> None:
        from wyoming.audio import AudioStart
        from wyoming.wake import Detection

        async with client(serving.path) as one:
            await one.write_event(chunk(SOME))
            await serving.until_fed("mic@1", WINDOW + len(SOME))
            serving.clock.wait_until_us(BEGAN_US + 5_000_000)
            await one.write_event(AudioStart(RATE_HZ, 2, 1).event())
            await one.write_event(chunk(SOME, timestamp=7))
            await serving.until_fed("mic@1", 2 * (WINDOW + len(SOME)))
            assert serving.restarted == ["mic@1", "mic@1"]
            serving.server.publish(heard_at(BEGAN_US + 4_999_999))
            serving.server.publish(heard_at(BEGAN_US + 5_000_000))
            serving.server.publish(some_answer(graph="wake_word", release_us=BEGAN_US + 5_000_001))
            serving.server.publish(some_answer(graph="wake_word@9", release_us=BEGAN_US + 5_000_001))
            serving.server.publish(some_answer(graph="wake_word@x", release_us=BEGAN_US + 5_000_001))
            serving.server.publish(heard_at(BEGAN_US + 5_000_001))
            assert Detection.from_event(await told(one)).timestamp == 7
        assert serving.count("wyoming_detections") == 1

    with served(tmp_path) as serving:
        asked(talk())


def test_a_decision_of_the_config_counts_for_every_connection(tmp_path: Path) -> None:
    async def talk() -> None:
        async with client(serving.path) as one:
            await one.write_event(chunk(SOME))
            await serving.until_fed("mic@1", WINDOW + len(SOME))
            for number in range(1, 4):
                serving.server.publish(heard_at(BEGAN_US + number))
            assert (await told(one)).type == "detection"
        assert serving.count("wyoming_detections") == 1

    with served(tmp_path) as serving:
        # Three in a row; and a reload says so.
        decided = {"wake_word": DecisionConfig(graph="wake_word", after=3)}
        serving.server.change(replace(serving.site, decisions=decided))
        asked(talk())


def test_a_reload_with_other_words_is_heard_anew(tmp_path: Path) -> None:
    async def talk() -> None:
        from wyoming.info import Describe, Info

        async with client(serving.path) as one:
            await one.write_event(chunk(SOME))
            await serving.until_fed("mic@1", WINDOW + len(SOME))
            renamed = two_words("hey").without("wake_word")
            name = renamed.graphs[0].model_copy(update={"name": "wake_word"})
            serving.server.change(replace(serving.site, workload=renamed.with_graphs(name).without("other")))
            await one.write_event(Describe().event())
            assert [model.name for model in Info.from_event(await told(one)).wake[0].models] == ["hey"]
            await one.write_event(chunk(SOME))
            await serving.until_fed("mic@1", 2 * (WINDOW + len(SOME)))
        assert serving.restarted == ["mic@1", "mic@1"]

    with served(tmp_path) as serving:
        asked(talk())


def test_sound_that_comes_faster_than_it_was_taken_is_heard_in_real_time(tmp_path: Path) -> None:
    async def talk() -> None:
        async with client(serving.path) as one:
            for first in range(0, 10 * RATE_HZ, 8_000):
                await one.write_event(chunk(np.full(8_000, first // 8_000)))
            await serving.until_fed("mic@1", WINDOW + 10 * RATE_HZ)
        took_us = serving.clock.now_us() - BEGAN_US
        assert 9_200_000 <= took_us <= 9_500_000
        assert max(len(piece) for _, piece in serving.fed[1:]) <= 1_600

    with served(tmp_path) as serving:
        asked(talk())


def test_other_rates_are_converted_on_their_way(tmp_path: Path) -> None:
    pytest.importorskip("soxr", reason="soxr is not installed (extra `recordings`)")

    async def talk() -> None:
        async with client(serving.path) as one:
            for _ in range(10):
                await one.write_event(chunk(np.full(4_410, 1_000), rate=44_100))
            sound = await serving.until_fed("mic@1", WINDOW + 14_000)
        assert np.median(sound[WINDOW + 2_000 :]) == pytest.approx(1_000, abs=20)

    with served(tmp_path) as serving:
        asked(talk())


# Whoever connects may send anything.


def event(kind: str, data: Any = None, payload: bytes = b"", **more: Any) -> bytes:
    said = {"type": kind, "data": data, "payload_length": len(payload)} | more
    return json.dumps(said).encode() + b"\n" + payload


FORMAT = {"rate": RATE_HZ, "width": 2, "channels": 1}
HOSTILE = {
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "no text": b"\xff\xfe\n",
    "no object": b"[]\n",
    "a number": b"1" * 5_000 + b"\n",
    "no type": b"{}\n",
    "a type that is no text": b'{"type": 1}\n',
    "deep": b"[" * 60_000 + b"\n",
    "an endless line": b"a" * (1 << 17),
    "data that is no object": event("detect", [1]),
    "a length that is no number": event("describe", data_length="1"),
    "a length that is no whole number": event("describe", data_length=1.5),
    "a length below 0": event("describe", payload_length=-1),
    "a length beyond all": event("audio-chunk", FORMAT, payload_length=10**18),
    "a length that is too great": event("audio-chunk", FORMAT, payload_length=(1 << 20) + 1),
    "a length that is true": event("audio-chunk", FORMAT, payload_length=True),
    "more data that is no JSON": event("detect", data_length=3) + b"abc",
    "more data than is taken": event("detect", data_length=1 << 20),
    "no format": event("audio-chunk", {}, b"12"),
    "a format that is no number": event("audio-chunk", FORMAT | {"rate": "16000"}, b"12"),
    "a rate that is infinite": event("audio-chunk", FORMAT | {"rate": float("inf")}, b"12"),
    "a rate of nothing": event("audio-chunk", FORMAT | {"rate": 0}, b"12"),
    "a rate beyond all": event("audio-chunk", FORMAT | {"rate": 10**30}, b"12"),
    "a width of nothing": event("audio-start", FORMAT | {"width": 0}),
    "half a sample": event("audio-chunk", FORMAT, b"123"),
    "names that are none": event("detect", {"names": "okay_nabu"}),
    "names that are numbers": event("detect", {"names": [1]}),
    "names without end": event("detect", {"names": ["a"] * 1_000}),
}


@pytest.mark.parametrize("bytes_", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_ends_that_connection_alone(tmp_path: Path, bytes_: bytes) -> None:
    async def talk() -> None:
        from wyoming.info import Describe

        async with client(serving.path) as other:
            await other.write_event(chunk(SOME))
            await serving.until_fed("mic@1", WINDOW)
            with serving.raw() as one, suppress(BrokenPipeError, ConnectionResetError):
                one.sendall(bytes_)
                said = await asyncio.to_thread(_all, one)
                assert b'"error"' in said
                assert b"Traceback" not in said
            await other.write_event(Describe().event())
            assert (await told(other)).type == "info"
        assert serving.count("wyoming_refused") == 1

    with served(tmp_path) as serving:
        asked(talk())


def _all(one: socket.socket) -> bytes:
    """Whatever comes until it hangs up."""
    found = b""
    while piece := one.recv(1 << 16):
        found += piece
    return found


def test_what_is_not_known_is_passed_over(tmp_path: Path) -> None:
    """The protocol grows: its servers are to drop events that they do not know."""
    with served(tmp_path) as serving, serving.raw() as one:
        one.sendall(event("select-program", {"name": "x"}) + event("\x00", {}, b"123") + event("ping", {"text": "a"}))
        one.shutdown(socket.SHUT_WR)
        lines = _all(one).splitlines()
    assert len(lines) == 1 or b"pong" in lines[0]
    assert serving.count("wyoming_unknown_events") == 2


def test_bytes_at_random_end_no_thread_and_keep_no_place(tmp_path: Path) -> None:
    rng = random.Random(7)
    good = [event("describe"), event("detect", {"names": None}), event("audio-chunk", FORMAT, bytes(320))]
    good += [event("audio-start", FORMAT), event("ping", {"text": "x"})]
    with served(tmp_path) as serving:
        for _ in range(150):
            text = bytearray(b"".join(rng.choices(good, k=4)))
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(text))
                text[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            with serving.raw() as one, suppress(BrokenPipeError, ConnectionResetError):
                one.sendall(text[: rng.randrange(len(text)) + 1])
                one.shutdown(socket.SHUT_WR)
                _all(one)
        serving.stop.set()
        serving.thread.join(PATIENCE_S)
        assert not serving.server._speaking
        assert sorted(serving.server._free) == [1, 2]
        assert serving.count("wyoming_connections") == 150


def test_who_does_not_listen_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wyoming_connection, "SEND_S", 0.05)
    with served(tmp_path) as serving, serving.raw() as one:
        one.setblocking(False)
        ask = event("describe") * 100
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                _, writable, _ = select.select([], [one], [], PATIENCE_S)
                assert writable
                one.send(ask)


def test_no_more_may_connect_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SILENT_CONNECTIONS", 1)
    with served(tmp_path) as serving:
        there = [serving.raw() for _ in range(3)]
        try:
            for one in there:
                one.sendall(event("ping", {}))
                assert one.recv(1)
            with serving.raw() as one:
                assert _all(one) == b""
        finally:
            for one in there:
                one.close()


def test_a_system_without_a_thread_costs_nobody_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is connected goes on, and others may come again later."""

    class Threadless(service.Connection):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.thread.start = no_thread  # type: ignore[method-assign]

    def no_thread() -> None:
        raise RuntimeError("can't start new thread")

    ask = event("ping", {})
    with served(tmp_path) as serving, serving.raw() as first:
        first.sendall(ask)
        assert first.recv(1 << 16)
        with monkeypatch.context() as patch:
            patch.setattr(service, "Connection", Threadless)
            with serving.raw() as one:
                assert _all(one) == b""
        with serving.raw() as one:
            one.sendall(ask)
            assert one.recv(1 << 16)
        assert serving.count("wyoming_refused") == 1
        assert "can't start new thread" in caplog.text
        first.sendall(ask)
        assert first.recv(1 << 16)


# Its config.


def test_one_that_is_read_again_takes_over_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of before ends a little later."""
    monkeypatch.setattr(service, "LISTEN_TRIES", 1_000)
    pytest.importorskip("wyoming", reason="the extra `wyoming` is not installed")
    config = WyomingSource(kind="wyoming", port=free_port())
    stops = threading.Event(), threading.Event()
    servers = [Wyoming(config, replace(a_site(tmp_path), workload=wake_word())) for _ in stops]
    failed: list[BaseException] = []

    def run(server: Wyoming, stop: threading.Event) -> None:
        try:
            server.run(lambda *_args, **_kwargs: None, stop)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=one) for one in zip(servers, stops, strict=True)]
    threads[0].start()
    while not _connects(config.port):
        pass
    threads[1].start()
    stops[0].set()
    threads[0].join(PATIENCE_S)
    while not failed and not _connects(config.port):
        pass
    stops[1].set()
    threads[1].join(PATIENCE_S)
    assert not failed


def _connects(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_an_address_that_somebody_else_has_is_told(tmp_path: Path) -> None:
    pytest.importorskip("wyoming", reason="the extra `wyoming` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = WyomingSource(kind="wyoming", port=other.getsockname()[1])
        server = Wyoming(config, replace(a_site(tmp_path), workload=wake_word()))
        with pytest.raises(OSError, match="Address already in use"):
            server.run(lambda *_args, **_kwargs: None, threading.Event())


def test_it_listens_on_this_machine_alone_unless_another_address_is_given() -> None:
    assert WyomingSource(kind="wyoming").address == "127.0.0.1"
    with pytest.raises(DocumentError, match="it feeds streams of its own"):
        WyomingSource(kind="wyoming", stream="mic")


@pytest.mark.parametrize(("address", "warns"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_an_address_that_others_reach_is_told_of(
    address: str, warns: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("wyoming", reason="the extra `wyoming` is not installed")
    server = Wyoming(
        WyomingSource(kind="wyoming", address=address, port=free_port()),
        replace(a_site(tmp_path), workload=wake_word()),
    )
    stop = threading.Event()
    stop.set()
    with caplog.at_level(logging.WARNING):
        server.run(lambda *_args, **_kwargs: None, stop)
    assert ("no passwords" in caplog.text) is warns


def test_configs_of_the_page_are_such_as_it_says(tmp_path: Path) -> None:
    """They name a profile that is measured first."""
    page = (Path(__file__).parent.parent / "docs" / "home-assistant.md").read_text()
    first, second = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    config = DaemonConfig.from_toml(first)
    assert [one.kind for one in (*config.sources, *config.sinks)] == ["wyoming", "mqtt"]
    DaemonConfig.from_toml(first.partition("[[sinks]]")[0] + second)
    loaded = load(config.model_copy(update={"machine": "arm-board", "profile": None}), tmp_path)
    assert len(loaded.running.graphs) == 5


# A daemon that hears the word that ships.

CONFIG = """
format = "leo-daemon/1"
graphs = ["wake_word"]
machine = "arm-board"
state_dir = "state"

[[sources]]
kind = "wyoming"
port = {port}
connections = 2

[[sinks]]
kind = "lines"
path = "answers.jsonl"

{more}
"""


@contextmanager
def a_daemon(folder: Path) -> Iterator[tuple[int, Running]]:
    """One that hears the wake word that ships; its port."""
    pytest.importorskip("wyoming", reason="the extra `wyoming` is not installed")
    if not tflite.is_available():
        pytest.skip("the extra `tflite` is not installed")
    port = free_port()
    (folder / "wake.toml").write_text(CONFIG.format(port=port, more=""))
    one = Running(folder, folder / "wake.toml")
    one.systemd.wait_for("READY=1")
    try:
        yield port, one
    finally:
        one.daemon.stop()
        one.join()


def demo_sound(from_s: float, to_s: float) -> np.ndarray:
    """Of the demo's recording, in which `okay nabu` begins at 4 s and at 66.5 s."""
    return np.asarray(shipped.recording("demo").samples["mic"][round(from_s * RATE_HZ) : round(to_s * RATE_HZ)])


def test_a_daemon_hears_the_word_of_one_connection_and_not_of_the_others(tmp_path: Path) -> None:
    async def say(port: int, sound: np.ndarray, *, stops: bool = True) -> list[str]:
        """What a connection is told of sound that comes as fast as it is taken."""
        from wyoming.audio import AudioStart, AudioStop
        from wyoming.client import AsyncClient
        from wyoming.wake import Detect

        heard = []
        async with AsyncClient.from_uri(f"tcp://127.0.0.1:{port}") as one:
            await one.write_event(Detect(names=["okay_nabu"]).event())
            await one.write_event(AudioStart(RATE_HZ, 2, 1).event())
            sending = asyncio.create_task(_send(one, sound, AudioStop().event()))
            while (found := await told(one)) is not None:
                heard.append(found.type)
                if stops:
                    break
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        return heard

    async def _send(one: Any, sound: np.ndarray, last: Any) -> None:
        for first in range(0, len(sound), 1_024):
            await one.write_event(chunk(sound[first : first + 1_024]))
        await one.write_event(last)

    async def talk(port: int) -> None:
        # Two at a time, in all places. Then those places are taken again, while the sound of who was told of the word,
        # and hung up, is still on its way: nobody hears its end.
        word, quiet = await asyncio.gather(say(port, demo_sound(3.7, 6)), say(port, demo_sound(5.4, 6.4)))
        assert (word, quiet) == (["detection"], ["not-detected"])
        again, quiet = await asyncio.gather(say(port, demo_sound(5.4, 6.4)), say(port, demo_sound(5.4, 6.4)))
        assert (again, quiet) == (["not-detected"], ["not-detected"])

    with a_daemon(tmp_path) as (port, _):
        asked(talk(port))
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert {one["graph"] for one in answers} == {"wake_word@1", "wake_word@2"}
    # A machine that is busy may have skipped some: what was new to them is met by the next.
    assert {one["outcome"] for one in answers} <= {"done", "cancelled", "skipped"}
