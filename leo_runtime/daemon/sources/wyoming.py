"""The daemon as a wake-word service: Home Assistant and its satellites send sound, and are told when a word is heard.

The protocol is Wyoming's. It knows no passwords: whoever can connect can listen for words, so that the daemon listens
on this machine alone unless it is told otherwise.

**A connection** that sends sound has one of a few places, each a copy of the wake word's graphs with a stream of its
own. The stream is restarted with every `detect`, every `audio-start` and every new connection, so that nobody hears the
end of what somebody else said, and begins with a window of silence, so that it answers from its first period on.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections import deque
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.clock import Clock, WallClock
from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.decisions import Decision, DecisionConfig
from leo_runtime.daemon.kinds import LOOKS_S, Feed, GraphCopy, Site, SourceConfig, require_extra
from leo_runtime.daemon.unix_socket import Listening, check, is_own, listen, own_place, place
from leo_runtime.daemon.wake_words import Hearing, copies, hearing, place_name
from leo_runtime.daemon.waking import is_readable
from leo_runtime.daemon.wyoming_connection import SEND_S, Connection
from leo_runtime.errors import MissingExtraError, failure_text
from leo_runtime.schema import Name, PathName, reject
from leo_runtime.version import VERSION

if TYPE_CHECKING:
    from wyoming.event import Eventable

    from leo_runtime.documents.workload import Stream, Workload

LISTEN_TRIES = 8
"""How often it is tried to listen where somebody else does, as long as it is looked whether to stop in between."""
SILENT_CONNECTIONS = 16
"""So many more may be connected than may send sound."""
HOLD_OFF_S = 2.0
"""For so long a word that was heard is not heard again, unless the config has a decision for its graph."""

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
