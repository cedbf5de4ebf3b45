"""One connection of the wake-word service: what it sends is fed to its place, and what is heard there is said to it.

Sound that comes faster than it was taken, as from a file, is read no faster than real time: the sender waits. Whatever
it sends, what goes wrong ends this connection alone.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections import deque
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

import numpy as np

from leo_runtime.clock import Clock
from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.decisions import Decision
from leo_runtime.daemon.kinds import LOOKS_S, Feed
from leo_runtime.daemon.pace import Pace
from leo_runtime.daemon.pcm import Converter
from leo_runtime.daemon.reading import Reading
from leo_runtime.daemon.wake_words import Hearing, place_name, spoken
from leo_runtime.daemon.wyoming_events import Heard, read_event, sound_format, timestamp_ms, wanted_names
from leo_runtime.errors import ClosedError, InputError, did_you_mean, failure_text, printable
from leo_runtime.values import lasting_us, samples_within

if TYPE_CHECKING:
    from wyoming.event import Eventable

SEND_S = 1.0
"""Who does not take an answer for so long is hung up on."""
PIECE_US = 100_000
"""Sound is fed in pieces of this length at most."""
PATIENCE_US = 2_000_000
"""Beyond a period and a deadline, an answer to the last of the sound is waited for so long."""
REMEMBERED = 64
"""Chunks of which it is known when they came, and when they were taken."""

log = logging.getLogger(__name__)


class Service(Protocol):
    """What a connection is one of. From any thread."""

    clock: Clock
    hearing: Hearing

    def count(self, what: str) -> None:
        """Count what happened."""
        ...

    def take_place(self, connection: Connection) -> int | None:
        """A place to speak from; None: there is none."""
        ...

    def give_back(self, place: int) -> None:
        """It is free again."""
        ...

    def begin(self, place: int) -> tuple[Hearing, dict[str, Decision]]:
        """Restart a place's stream: with what it is heard from now on."""
        ...

    def info(self) -> Eventable:
        """What the service knows, as the protocol has it."""
        ...


class Connection:
    """One client. `serve` is its thread's; `answered` may be called from any."""

    def __init__(self, server: Service, one: socket.socket, feed: Feed) -> None:
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
