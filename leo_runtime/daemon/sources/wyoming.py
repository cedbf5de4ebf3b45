"""The daemon as a wake-word service: Home Assistant and its satellites send sound, and are told when a word is heard.

The protocol is Wyoming's. It knows no passwords: whoever can connect can listen for words, so that the daemon listens
on this machine alone unless it is told otherwise.

**A connection** that sends sound has one of a few places, each a copy of the wake word's graphs with a stream of its
own. The stream is restarted with every `detect`, every `audio-start` and every new connection, so that nobody hears the
end of what somebody else said, and begins with a window of silence, so that it answers from its first period on. Sound
that comes faster than it was taken, as from a file, is read no faster than real time: the sender waits.

**What goes wrong** with one connection, whatever it sends, ends that connection alone.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from leo_runtime.clock import Clock, WallClock
from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.decisions import Decision, DecisionConfig
from leo_runtime.daemon.kinds import LOOKS_S, Feed, GraphCopy, Site, SourceConfig, require_extra
from leo_runtime.daemon.pace import Pace
from leo_runtime.daemon.pcm import Converter
from leo_runtime.daemon.reading import Reading
from leo_runtime.daemon.unix_socket import Listening, check, is_own, listen, own_place, place
from leo_runtime.daemon.wake_words import Hearing, copies, hearing, place_name, spoken
from leo_runtime.daemon.waking import is_readable
from leo_runtime.daemon.wyoming_events import Heard, read_event, sound_format, timestamp_ms, wanted_names
from leo_runtime.errors import ClosedError, InputError, MissingExtraError, did_you_mean, failure_text, printable
from leo_runtime.schema import Name, PathName, reject
from leo_runtime.values import lasting_us, samples_within
from leo_runtime.version import VERSION

if TYPE_CHECKING:
    from wyoming.event import Eventable

    from leo_runtime.documents.workload import Stream, Workload

LISTEN_TRIES = 8
"""How often it is tried to listen where somebody else does, as long as it is looked whether to stop in between."""
SEND_S = 1.0
"""Who does not take an answer for so long is hung up on."""
SILENT_CONNECTIONS = 16
"""So many more may be connected than may send sound."""
PIECE_US = 100_000
"""Sound is fed in pieces of this length at most."""
PATIENCE_US = 2_000_000
"""Beyond a period and a deadline, an answer to the last of the sound is waited for so long."""
HOLD_OFF_S = 2.0
"""For so long a word that was heard is not heard again, unless the config has a decision for its graph."""
REMEMBERED = 64
"""Chunks of which it is known when they came, and when they were taken."""

log = logging.getLogger(__name__)


class WyomingSource(SourceConfig):
    """A wake-word service."""

    kind: Literal["wyoming"]
    address: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    """Where it listens. There are no passwords: any other than this machine's lets everybody connect who can reach it.
    """
    port: Annotated[int, Field(ge=1, le=65_535)] = 10_400
    socket: PathName | None = None
    """A Unix socket in place of address and port; as of a source of kind `socket`."""
    graphs: tuple[Name, ...] = ()
    """The graphs that are wake words. None: the only one that decides by sound."""
    connections: Annotated[int, Field(ge=1, le=64)] = 4
    """How many may send sound at the same time."""
    languages: tuple[Name, ...] = ("en",)

    @model_validator(mode="after")
    def _of_no_stream(self) -> Self:
        if self.stream is not None:
            reject("it feeds streams of its own, one a connection", "$.stream", self.stream)
        return self

    @property
    def uses_network(self) -> bool:
        """Unless it listens on a Unix socket."""
        return self.socket is None

    def own_place(self, folder: Path) -> str:
        """The socket, or the port."""
        return f"{self.address} port {self.port}" if self.socket is None else own_place(self.socket, folder)

    def check(self, site: Site) -> None:
        """Whether its extra is installed, and a socket can be there."""
        require_extra("wyoming", "a source of kind `wyoming`", "wyoming")
        if self.socket is not None:
            check(self.socket, place(self.socket, site.folder, site.runtime_dir))

    def copies(self, workload: Workload) -> tuple[GraphCopy, ...]:
        """The wake words' graphs for each connection. Raises `InputError`."""
        return copies(hearing(workload, self.graphs), self.connections)

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """Their streams."""
        return tuple({copy.stream.name: copy.stream for copy in self.copies(workload)}.values())

    def open(self, site: Site) -> Wyoming:
        """It listens when it runs. Raises `InputError`, `MissingExtraError`."""
        return Wyoming(self, site)


class Wyoming:
    """A server, with a thread a connection. `run` is for one thread at a time, all else for any."""

    def __init__(self, config: WyomingSource, site: Site, *, clock: Clock | None = None) -> None:
        """`clock` shows the system's monotonic time, in us; None: the system's own. Raises as `WyomingSource.open`."""
        try:
            import wyoming.wake  # noqa: F401  # So that it is known before anybody connects.
        except ImportError:
            raise MissingExtraError("a source of kind `wyoming`", "wyoming") from None
        self._config = config
        self._site = site
        self.clock = WallClock(time.monotonic_ns() // 1000) if clock is None else clock
        self.hearing = hearing(site.workload, config.graphs)
        self._decisions = site.decisions
        self._lock = threading.Condition()
        self._free = deque(range(1, config.connections + 1))
        """Places, those first that have been free for longest."""
        self._speaking: dict[int, Connection] = {}

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Serve whoever connects, until it is stopped. Raises `OSError`, `InputError` where it cannot listen."""
        listening = self._listen(stop)
        own = listening.socket
        own.setblocking(False)
        connections: list[Connection] = []
        try:
            while not stop.is_set():
                if not is_readable(own, LOOKS_S):
                    continue
                try:
                    one, _ = own.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError as error:  # As where too many files are open: who speaks is heard all the same.
                    log.warning("nobody can connect for a while: %s", failure_text(error))
                    stop.wait(LOOKS_S)
                    continue
                connections = [connection for connection in connections if connection.thread.is_alive()]
                if len(connections) >= self._config.connections + SILENT_CONNECTIONS or not self._may(one):
                    self.count("wyoming_refused")
                    one.close()
                    continue
                connection = Connection(self, one, feed)
                try:
                    connection.thread.start()
                except RuntimeError as error:  # The system has no thread left.
                    log.warning("a Wyoming connection was refused: %s", failure_text(error))
                    self.count("wyoming_refused")
                    one.close()
                    continue
                self.count("wyoming_connections")
                connections.append(connection)
        finally:
            listening.close()
            for connection in connections:
                connection.hang_up()
        for connection in connections:
            connection.thread.join(2 * LOOKS_S)

    def publish(self, answer: Answer) -> None:
        """Tell whoever has the place of that graph."""
        graph, _, number = answer.graph.rpartition("@")
        with self._lock:
            connection = self._speaking.get(int(number)) if graph and number.isdecimal() else None
        if connection is not None:
            connection.answered(graph, answer)

    def change(self, site: Site) -> None:
        """Another workload runs: whoever speaks is heard anew, with its graphs. Raises `InputError`."""
        found = hearing(site.workload, self._config.graphs)
        with self._lock:
            self.hearing, self._decisions = found, site.decisions
            speaking = tuple(self._speaking.values())
        for connection in speaking:
            connection.begin_anew()

    def close(self) -> None:
        """No more answers come: `run` itself closes what it has opened."""

    def count(self, what: str) -> None:
        """Count what happened."""
        self._site.counts.other(what)

    # For connections.

    def take_place(self, connection: Connection) -> int | None:
        """A place to speak from; None: there is none, also not of somebody who is gone."""
        with self._lock:
            for other in tuple(self._speaking.values()):
                if not self._free and other.is_gone:
                    other.hang_up()
                    self._lock.wait_for(lambda: bool(self._free), SEND_S)
            if not self._free:
                return None
            place = self._free.popleft()
            self._speaking[place] = connection
            return place

    def give_back(self, place: int) -> None:
        """It is free again."""
        with self._lock:
            del self._speaking[place]
            self._free.append(place)
            self._lock.notify_all()

    def begin(self, place: int) -> tuple[Hearing, dict[str, Decision]]:
        """Restart a place's stream: with what it is heard from now on."""
        with self._lock:
            found, configs = self.hearing, self._decisions
        self._site.restart(place_name(found.stream.name, place))
        usual = {graph.name: DecisionConfig(graph=graph.name, hold_off_s=HOLD_OFF_S) for graph in found.graphs}
        return found, {name: Decision(configs.get(name, config)) for name, config in usual.items()}

    def info(self) -> Eventable:
        """What the service knows, as the protocol has it."""
        from wyoming.info import Attribution, Info, WakeModel, WakeProgram

        with self._lock:
            found = self.hearing
        made_by = Attribution(name="leo-runtime", url="")
        models = [
            WakeModel(
                name=word,
                description=word.replace("_", " "),
                phrase=word.replace("_", " "),
                attribution=made_by,
                installed=True,
                languages=list(self._config.languages),
                version=VERSION,
            )
            for word in found.words
        ]
        program = WakeProgram(
            name="leo-runtime",
            description="Wake words by leo-runtime",
            attribution=made_by,
            installed=True,
            models=models,
            version=VERSION,
        )
        return Info(wake=[program])

    def _listen(self, stop: threading.Event) -> Listening:
        config = self._config
        if config.socket is not None:
            path = place(config.socket, self._site.folder, self._site.runtime_dir)
            return listen(config.socket, path, self._site.sockets)
        found = socket.getaddrinfo(config.address, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        if not ip_address(str(address[0]).partition("%")[0]).is_loopback:
            log.warning("whoever can reach %s port %d can use the wake words: no passwords", address[0], config.port)
        for left in reversed(range(LISTEN_TRIES)):
            try:
                return Listening(socket.create_server(address, family=family, backlog=16), None)
            except OSError as error:
                # Where the config was read again, the one of before may not have ended yet.
                if error.errno != errno.EADDRINUSE or not left or stop.wait(LOOKS_S):
                    raise
        raise AssertionError

    def _may(self, one: socket.socket) -> bool:
        """Whether who connected may: over a Unix socket the daemon's own user, and root."""
        if one.family == socket.AF_UNIX:
            return is_own(one)
        # A satellite that was switched off says no goodbye, and would keep its place for ever.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True


class Connection:
    """One client. `serve` is its thread's; `answered` may be called from any."""

    def __init__(self, server: Wyoming, one: socket.socket, feed: Feed) -> None:
        self._server = server
        self._socket = one
        self._feed = feed
        self._stop = threading.Event()
        self._sending = threading.Lock()
        self.thread = threading.Thread(target=self.serve, name="leo wyoming", daemon=True)
        # Its thread's own.
        self._names: tuple[str, ...] = ()
        self._place: int | None = None
        self._pace = Pace(0)
        self._converter: Converter | None = None
        self._is_first = True
        # Behind the lock.
        self._changed = threading.Condition()
        self._began_us: int | None = None
        """When the stream was restarted; None: it is not heard."""
        self._decide: dict[str, Decision] = {}
        self._wanted: frozenset[str] = frozenset()
        self._heard = False
        """Whether a word was, since it began."""
        self._answered_us: dict[str, int] = {}
        """By graph, the release of the newest answer."""
        self._chunks: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        """When chunks came, and when they were taken by the sender's clock, in ms."""

    def hang_up(self) -> None:
        """Have its thread end."""
        self._stop.set()

    @property
    def is_gone(self) -> bool:
        """Whether the other end will send no more than what is on its way, and most likely listens no more."""
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLRDHUP)
            return bool(poll.poll(0))
        except (OSError, ValueError):  # It has been closed.
            return True

    def serve(self) -> None:
        """Take events until there are no more."""
        with self._socket:
            self._socket.settimeout(LOOKS_S)
            read = Reading(self._socket, self._stop)
            try:
                while (heard := read_event(read)) is not None:
                    self._take(heard)
            except (ClosedError, OSError):  # The daemon ends, or it is gone.
                pass
            except InputError as error:
                self._refuse(str(error), error.hint)
            except Exception as error:  # Whatever somebody sends ends this connection alone.
                self._refuse(failure_text(error), "")
            finally:
                self._leave()

    def _refuse(self, why: str, hint: str) -> None:
        """Say what is wrong, and hang up."""
        from wyoming.error import Error

        self._server.count("wyoming_refused")
        log.warning("a Wyoming connection was ended: %s", why)
        with suppress(OSError):
            self._send(Error(text=f"{why}; {hint}" if hint else why, code="refused"))

    def _take(self, heard: Heard) -> None:
        if heard.type == "audio-chunk":
            self._hear(heard)
        elif heard.type == "audio-start":
            sound_format(heard)
            self.begin_anew()
        elif heard.type == "detect":
            self._names = wanted_names(heard)
            self._tell_unknown()
            self.begin_anew()
        elif heard.type == "audio-stop":
            self._end_sound()
        elif heard.type == "describe":
            self._send(self._server.info())
        elif heard.type == "ping":
            from wyoming.ping import Pong

            text = heard.data.get("text")
            self._send(Pong(text=text if isinstance(text, str) else None))
        else:  # The protocol grows: what is not known is passed over.
            self._server.count("wyoming_unknown_events")

    def _tell_unknown(self) -> None:
        """Say which of the words that are asked for are not there: they are never heard."""
        from wyoming.error import Error

        known = self._server.hearing.words
        for name in self._names:
            if spoken(name) not in map(spoken, known):
                text = f"no wake word is called `{name[:100]}`; {did_you_mean(name, known)}"
                self._server.count("wyoming_unknown_words")
                log.warning("a Wyoming connection listens for what is never heard: %s", printable(text))
                self._send(Error(text=text, code="unknown-wake-word"))

    def begin_anew(self) -> None:
        """What comes next has nothing to do with what came before."""
        with self._changed:
            self._began_us = None

    def _hear(self, heard: Heard) -> None:
        pcm = sound_format(heard)
        if self._place is None:
            self._place = self._server.take_place(self)
            if self._place is None:
                raise InputError(
                    "as many connections as may send sound do so already", hint="`connections` in the daemon's config"
                )
        if self._began_us is None:
            self._begin(self._place)
        rate_hz = int(self._hearing.stream.rate_hz)
        if self._converter is None or self._converter.pcm != pcm:
            self._converter = Converter(pcm, rate_hz)
        samples = self._converter.take(heard.payload)
        taken_ms = timestamp_ms(heard)
        if taken_ms is not None:
            with self._changed:
                self._chunks.append((self._server.clock.now_us(), taken_ms))
        self._feed_paced(samples)

    def _begin(self, place: int) -> None:
        """Restart the stream."""
        self._hearing, decide = self._server.begin(place)
        self._converter, self._is_first = None, True
        now_us = self._server.clock.now_us()
        self._pace = Pace(now_us)
        with self._changed:
            self._decide, self._wanted = decide, frozenset(map(spoken, self._names))
            self._heard, self._answered_us = False, {}
            self._chunks.clear()
            self._began_us = now_us

    def _feed_paced(self, samples: np.ndarray) -> None:
        """Feed in pieces, no faster than they can have been taken."""
        rate_hz = self._hearing.stream.rate_hz
        step = max(1, samples_within(rate_hz, PIECE_US))
        clock = self._server.clock
        for first in range(0, len(samples), step):
            piece = samples[first : first + step]
            if clock.wait_until_us(self._pace.next_us(clock.now_us(), lasting_us(rate_hz, len(piece))), self._stop):
                raise ConnectionError("it is hung up on")
            self._feed_now(piece)

    def _feed_now(self, piece: np.ndarray) -> None:
        """Feed, the first time behind a window of silence."""
        assert self._place is not None
        if self._is_first:
            piece = np.concatenate([np.zeros(self._hearing.window_samples, np.int16), piece])
            self._is_first = False
        self._feed(piece, stream=place_name(self._hearing.stream.name, self._place))

    def _end_sound(self) -> None:
        """Nothing more comes: say so where nothing was heard, once all that came has been answered."""
        from wyoming.wake import NotDetected

        heard = False
        if self._place is not None and self._began_us is not None:
            rate_hz = int(self._hearing.stream.rate_hz)
            rest = np.empty(0, np.int16) if self._converter is None else self._converter.rest()
            self._feed_paced(rest)
            self._let_be_answered(rate_hz)
            with self._changed:
                heard = self._heard
        self._leave()
        if not heard:
            self._send(NotDetected())

    def _let_be_answered(self, rate_hz: int) -> None:
        """Feed silence in real time, until every graph has answered what came before it."""
        clock, hearing = self._server.clock, self._hearing
        ended_us = clock.now_us()
        deadline_us = max(graph.deadline_us for graph in hearing.graphs)
        silence = np.zeros(max(1, samples_within(rate_hz, PIECE_US)), np.int16)
        for number in range(1, (hearing.period_us + deadline_us + PATIENCE_US) // PIECE_US + 1):
            if clock.wait_until_us(ended_us + number * PIECE_US, self._stop) or self._is_answered(ended_us):
                return
            self._feed_now(silence)

    def _is_answered(self, since_us: int) -> bool:
        with self._changed:
            return self._heard or all(self._answered_us.get(name, -1) >= since_us for name in self._decide)

    def _leave(self) -> None:
        """Let another one speak."""
        self.begin_anew()
        if self._place is not None:
            self._server.give_back(self._place)
            self._place = None

    def answered(self, graph: str, answer: Answer) -> None:
        """An answer of the graph that it is heard with."""
        from wyoming.wake import Detection

        with self._changed:
            decide = self._decide.get(graph)
            if self._began_us is None or decide is None or answer.release_us <= self._began_us:
                return  # To what somebody else has said, or it said before.
            self._answered_us[graph] = answer.release_us
            found = answer.label is not None and (not self._wanted or spoken(answer.label) in self._wanted)
            fires = decide.fires(found, answer.release_us)
            self._heard = self._heard or fires
            taken_ms = next((taken for came_us, taken in reversed(self._chunks) if came_us <= answer.release_us), None)
        if not fires:
            return
        self._server.count("wyoming_detections")
        try:
            self._send(Detection(name=answer.label, timestamp=taken_ms))
        except (OSError, ValueError):  # It does not listen, or has just been closed: its thread ends, too.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _send(self, event: Eventable) -> None:
        """Raises `OSError` where it is not taken in time."""
        from wyoming.event import write_event

        text = BytesIO()
        write_event(event.event(), text)
        left = memoryview(text.getvalue())
        until_us = self._server.clock.now_us() + round(SEND_S * 1e6)
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        with self._sending:
            while left:
                if not writable.poll(SEND_S * 1000) or self._server.clock.now_us() > until_us:
                    raise TimeoutError("it does not take what it is told")
                left = left[self._socket.send(left) :]
