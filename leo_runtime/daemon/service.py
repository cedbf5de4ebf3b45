"""The daemon itself: opens a runtime, feeds it from sources, gives its answers to sinks, until it is told to stop.

`run` blocks on the thread that calls it. `stop` and `reload` may be called from any thread and from handlers of
signals: they only note what is asked, and wake that thread.

**Ends.** When it is told to stop, or when all sources have given all that they have: sources stop, frames in flight end
and answers are published, for at most `drain_s` altogether; a second `stop` ends that at once.

**Reload.** Config, workload and profile are read again. Whatever is wrong with them leaves what runs as it is. Sources
and sinks whose part of the config is the same stay open, and no frame is lost (`Runtime.change`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.clock import WallClock
from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.delivering import Delivering
from leo_runtime.daemon.feeding import Feeding
from leo_runtime.daemon.kinds import Companion, Sink, Site
from leo_runtime.daemon.loading import Loaded, load
from leo_runtime.daemon.places import runtime_dir, state_dir
from leo_runtime.daemon.systemd import Notifier, handed_over
from leo_runtime.daemon.telling import Teller, frame_outcome
from leo_runtime.daemon.waking import Waker
from leo_runtime.errors import DrainTimeoutError, InputError, LeoError
from leo_runtime.runtime.runtime import Runtime

if TYPE_CHECKING:
    from leo_runtime.frame.records import FrameResult

TURN_S = 1.0
"""How often it looks around at least."""

log = logging.getLogger(__name__)

Observer = Callable[[Answer], None]


class Daemon:
    """One daemon. `run` is called once; all else may be called from any thread."""

    runtime: Runtime
    """There from when `run` has opened it."""

    def __init__(
        self, read: Callable[[], DaemonConfig], folder: Path, *, environment: Mapping[str, str] = os.environ
    ) -> None:
        """`read` gives the config, whose relative paths begin in `folder`, now and at each reload.

        Raises `LeoError` for whatever is wrong with it.
        """
        self._read = read
        self._folder = folder
        self._environment = environment
        self.loaded: Loaded = load(read(), folder)
        """What it runs by now."""
        self.counts = Counts()
        self.notifier = Notifier(environment)
        self._sockets = handed_over(environment)
        self._waker = Waker()
        self._stops = self._reloads = 0
        self._lock = threading.Lock()
        self.sources: Mapping[str, Feeding] = {}
        self.sinks: Mapping[str, Delivering] = {}
        self._observers: list[Observer] = []
        self._taken = self._ended = 0
        """Frames."""

    @property
    def config(self) -> DaemonConfig:
        """What it runs by now."""
        return self.loaded.config

    @property
    def in_flight(self) -> int:
        """Frames that were taken and have not ended."""
        return max(0, self._taken - self._ended)

    def observe(self, observer: Observer) -> None:
        """Have a function called with every answer, on the thread that makes them: it must not block or raise."""
        self._observers.append(observer)

    def stop(self) -> None:
        """End; a second time, at once."""
        self._stops += 1
        self._waker.wake()

    def reload(self) -> None:
        """Read config and workload again."""
        self._reloads += 1
        self._waker.wake()

    def run(self) -> None:
        """Run until it is told to stop, or all sources have ended. Raises `LeoError` where it cannot begin."""
        loaded, options = self.loaded, self.config.runtime
        clock = WallClock(time.monotonic_ns() // 1000)  # The run's clock is the system's monotonic one.
        with Runtime.live(
            loaded.workload,
            loaded.hardware,
            loaded.profile,
            clock=clock,
            solver=options.solver,
            limit_ms=options.limit_ms,
            max_in_flight=options.max_in_flight,
            adapt=options.adapt,
        ) as self.runtime:
            self._teller = self._new_teller(loaded)
            self.runtime.subscribe(self._tell)
            site = self._site(loaded)
            try:
                self._open(loaded, site)
                companions = self._companions()
                for companion in companions:
                    companion.start()
                self.notifier.ready(self.status())
                self._serve()
                self.notifier.stopping("draining")
                for companion in companions:
                    companion.close()
            finally:
                self._drain()
                self._waker.close()

    def status(self) -> str:
        """How it is doing, in a line."""
        counted = self.counts.now()
        frames = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counted.frames.items()))
        return f"{len(self.sources)} sources, {len(self.sinks)} sinks; frames: {frames or 'none yet'}"

    def _companions(self) -> list[Companion]:
        """What runs beside, as the config says: metrics, the state of the machine. Each is imported where it is
        asked for."""
        return []

    def _site(self, loaded: Loaded) -> Site:
        kept = state_dir(self._environment)
        if loaded.config.state_dir is not None:
            kept = self._folder / Path(loaded.config.state_dir).expanduser()
        return Site(
            folder=self._folder,
            state_dir=kept,
            runtime_dir=runtime_dir(self._environment),
            workload=loaded.workload,
            sockets=self._sockets,
        )

    def _open(self, loaded: Loaded, site: Site) -> None:
        """Open sources and sinks, and start them. Raises `LeoError`."""
        sources = {name: self._feeding(name, loaded, site) for name in loaded.sources}
        self.sinks = {name: self._delivering(name, loaded, site) for name in loaded.sinks}
        self.sinks |= _sinks_of(sources, self.counts)
        for sink in self.sinks.values():
            sink.start()
        self.sources = sources
        for source in sources.values():
            source.start()

    def _feeding(self, name: str, loaded: Loaded, site: Site) -> Feeding:
        config, streams = loaded.sources[name]
        try:
            source = config.open(site)
        except LeoError as error:
            raise InputError(f"source `{name}`: {error}", hint=error.hint) from None
        known = {stream.name: stream for stream in streams}
        return Feeding(name, source, known, self.runtime.feed, self._took, self.counts)

    def _delivering(self, name: str, loaded: Loaded, site: Site) -> Delivering:
        config = loaded.sinks[name]
        try:
            sink = config.open(site)
        except LeoError as error:
            raise InputError(f"sink `{name}`: {error}", hint=error.hint) from None
        return Delivering(
            name, sink, self.counts, most=config.queue, graphs=config.graphs, only_fired=config.only_fired
        )

    def _new_teller(self, loaded: Loaded) -> Teller:
        def first_stream(graph: str) -> str:
            return next((source.stream for source in self.runtime.sources([graph])), "")

        return Teller(self.runtime.merged, first_stream, loaded.config.decisions)

    def _took(self, frames: tuple[int, ...]) -> None:
        """Frames were taken. On a source's thread."""
        if frames:
            with self._lock:
                self._taken = max(self._taken, frames[-1] + 1)

    def _tell(self, result: FrameResult) -> None:
        """A frame has ended. On the runtime's thread for that."""
        self._took((result.frame,))
        self.counts.frame(frame_outcome(result))
        for answer in self._teller.answers(result, time.time_ns() - time.monotonic_ns()):
            self.counts.answer(answer.graph, answer.outcome, late=answer.late, fired=answer.fired)
            for observer in self._observers:
                observer(answer)
            for sink in self.sinks.values():
                if sink.wants(answer):
                    sink.give(answer)
        with self._lock:
            self._ended += 1

    def _serve(self) -> None:
        """Until it is told to stop, or all sources have ended. Reloads, and tells systemd how it is doing."""
        while not self._stops and not all(source.ended for source in self.sources.values()):
            self._waker.wait(TURN_S)
            if self._reloads:
                self._reloads = 0
                log.warning("reloading is not there yet")

    def _drain(self) -> None:
        """Stop sources, wait for what is in flight, and publish the last answers."""
        began = WallClock()
        drain_s = self.config.drain_s

        def left_s() -> float:
            return 0.0 if self._stops > 1 else max(0.0, drain_s - began.now_us() / 1e6)

        for source in self.sources.values():
            source.stop()
        for source in self.sources.values():
            source.join(left_s())
        try:
            self.runtime.drain(left_s())
        except DrainTimeoutError as error:
            log.warning("%s", error)
        self.runtime.close(max(0.1, left_s()))
        for sink in self.sinks.values():
            sink.end()
        for sink in self.sinks.values():
            sink.join(left_s())


def _sinks_of(sources: Mapping[str, Feeding], counts: Counts) -> dict[str, Delivering]:
    """Sources that are given answers, too."""
    return {
        name: Delivering(name, source.source, counts, most=1000)
        for name, source in sources.items()
        if isinstance(source.source, Sink)
    }
