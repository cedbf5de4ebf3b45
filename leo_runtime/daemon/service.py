"""The daemon itself: opens a runtime, feeds it from sources, gives its answers to sinks, until it is told to stop.

`run` blocks on the thread that calls it. `stop` and `reload` may be called from any thread and from handlers of
signals: they only note what is asked, and wake that thread.

**Ends.** When it is told to stop, or when all sources have given all that they have, or nobody takes its answers any
more: sources stop, frames in flight end and answers are published, for at most `drain_s` altogether; a second `stop`
ends that at once.

**Reload.** Config, workload and profile are read again. Whatever is wrong with them leaves what runs as it is. Sources
and sinks whose part of the config is the same stay open, and no frame is lost (`Runtime.change`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.clock import WallClock
from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.companions import Companions
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.delivering import Delivering
from leo_runtime.daemon.feeding import Feeding
from leo_runtime.daemon.kinds import Site
from leo_runtime.daemon.loading import Loaded, load, require_changeable, wrong_parts
from leo_runtime.daemon.outstanding import Outstanding
from leo_runtime.daemon.parts import Opened, Parts
from leo_runtime.daemon.places import runtime_dir, state_dir
from leo_runtime.daemon.run_state import RunState
from leo_runtime.daemon.systemd import Notifier, handed_over
from leo_runtime.daemon.tally import Tally
from leo_runtime.daemon.telling import Teller, frame_outcome
from leo_runtime.daemon.waking import Waker
from leo_runtime.daemon.watchdog import Progress, Watchdog
from leo_runtime.errors import ClosedError, DrainTimeoutError, InputError, failure_text
from leo_runtime.frame.lower import merge, price
from leo_runtime.runtime.runtime import Runtime

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Workload
    from leo_runtime.frame.records import FrameResult

MOST_RESULTS = 10_000
"""So many results may wait to be told; they only do where the machine is far behind."""
TURN_S = 1.0
"""How often it looks around at least."""
LAST_ANSWERS_S = 1.0
"""Of the time in which it drains so much is kept, or a fifth of it, for answers that have still to be published."""
LOOKS_S = 0.05
"""How often it is looked, while it drains, whether it is to end at once."""

log = logging.getLogger(__name__)

Observer = Callable[[Answer], None]
Follower = Callable[[DaemonConfig], None]


class Daemon:
    """One daemon. `run` is called once; all else may be called from any thread."""

    runtime: Runtime
    """There from when `run` has opened it."""

    def __init__(
        self,
        read: Callable[[], DaemonConfig],
        folder: Path,
        *,
        name: str = "daemon",
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """`read` gives the config, whose relative paths begin in `folder`, now and at each reload.

        What it keeps from run to run is in a file of that name. Raises `LeoError` for whatever is wrong with the
        config, or what it names.
        """
        self._read = read
        self._folder = folder
        self._name = name
        self._environment = environment
        self.loaded: Loaded = load(read(), folder)
        """What it runs by now."""
        self.counts = Counts()
        self.tally = Tally(self.loaded.hardware)
        self.change_lock = threading.Lock()
        """Held while the workload is changed."""
        self.notifier = Notifier(environment, lambda: self.counts.other("systemd_not_told"))
        self._teller = Teller(merge(self.loaded.running), self.loaded.decisions)
        self._sockets = handed_over(environment)
        self._waker = Waker()
        self._stops = self._reloads = 0
        self._observers: list[Observer] = []
        self._followers: list[Follower] = []
        self._companions = Companions(self)
        self._lock = threading.Lock()
        self._taken = self._ended = self._dropped = 0
        self._turns, self._changing = 0, False
        self._all_answered = False
        """Whether the run has ended, and all that it had taken was answered."""
        self._state = RunState(None)
        self._parts = Parts(self.counts, Outstanding(lambda answered: self._state.note(answered=answered)))

    @property
    def config(self) -> DaemonConfig:
        """What it runs by now."""
        return self.loaded.config

    @property
    def workload(self) -> Workload:
        """What it runs by now, as the config has it."""
        return self.loaded.running

    @property
    def sources(self) -> Mapping[str, Feeding]:
        """Those that run, by name."""
        return self._parts.sources

    @property
    def sinks(self) -> Mapping[str, Delivering]:
        """Those that run, by name."""
        return self._parts.sinks

    @property
    def in_flight(self) -> int:
        """Frames that were taken and have not ended."""
        return max(0, self._taken - self._ended)

    @property
    def state(self) -> RunState:
        """What is known of the run before."""
        return self._state

    def observe(self, observer: Observer) -> None:
        """Have a function called with every answer, on the thread that makes them: it must not block or raise."""
        self._observers.append(observer)

    def follow(self, follower: Follower) -> None:
        """Have a function called with each config that holds from a reload on, on the thread of `run`."""
        self._followers.append(follower)

    def stop(self) -> None:
        """End; a second time, at once."""
        self._stops += 1
        self._waker.wake()

    def reload(self) -> None:
        """Read config and workload again."""
        self._reloads += 1
        self._waker.wake()

    def check(self) -> str:
        """What it would run, in a line; it opens no device, and listens to nobody.

        Raises `LeoError` where the profile does not know it all, and for what would go wrong with a part of the config.
        """
        loaded = self.loaded
        graphs, sources, sinks = loaded.workload.graphs, ", ".join(loaded.sources), ", ".join(loaded.sinks)
        price(merge(loaded.running), loaded.hardware, loaded.profile, lambda *_: True)
        for part, error in wrong_parts(loaded, self._site(loaded)).items():
            kind, _, name = part.partition(" ")
            where = f"{kind} `{name}`" if name else f"[{kind}]"
            raise InputError(f"{where}: {error}", hint=error.hint)
        named = ", ".join(graph.name for graph in graphs)
        return f"{named} on {loaded.hardware.name}; sources: {sources}; sinks: {sinks}"

    def status(self) -> str:
        """How it is doing, in a line."""
        counted = self.counts.now()
        frames = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counted.frames.items()))
        parts = f"{_counted(len(self.sources), 'source')}, {_counted(len(self.sinks), 'sink')}"
        return f"{parts}; frames: {frames or 'none yet'}"

    def run(self) -> None:
        """Run until it is told to stop, or all sources have ended. Raises `LeoError` where it cannot begin."""
        site = self._site(self.loaded)
        self._state = RunState(site.state_dir / f"{self._name}.run")
        try:
            self._tell_of_last_run()
            self.runtime = self._new_runtime()
            self._run(site)
        finally:
            self._state.close(clean=self._all_answered)

    def _run(self, site: Site) -> None:
        """Open everything, serve, and end."""
        watchdog: Watchdog | None = None
        try:
            self._subscription = self.runtime.subscribe(self._tell, max_results=MOST_RESULTS)
            self._parts.use(self._opened(self.loaded, site))
            self._companions.use(self._companions.prepare(self.config, site))
            if self.notifier.watchdog_s is not None:
                watchdog = Watchdog(self.notifier.watchdog_s / 4, self._progress, self.notifier.alive)
                watchdog.start()
            self._state.note()
            self.notifier.ready(self.status())
            self._serve()
        finally:
            self._changing = True
            self.notifier.stopping("draining")
            self._all_answered = self._drain()
            self._companions.close()
            if watchdog is not None:
                watchdog.close()
            self.notifier.status(f"ended; {self.status()}")
            log.info("ended; %s", self.status())

    def _new_runtime(self) -> Runtime:
        loaded, options = self.loaded, self.config.runtime
        return Runtime.live(
            loaded.running,
            loaded.hardware,
            loaded.profile,
            clock=WallClock(time.monotonic_ns() // 1000),  # The run's clock is the system's monotonic one.
            solver=options.solver,
            limit_ms=options.limit_ms,
            max_in_flight=options.max_in_flight,
            adapt=options.adapt,
            max_results=1,  # Nobody asks for them: the subscriber has them all.
        )

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
            counts=self.counts,
            restart=lambda stream: self.runtime.restart(stream),
            decisions={decision.graph: decision for decision in loaded.decisions},
        )

    def _tell_of_last_run(self) -> None:
        if self._state.failure:
            log.warning("what becomes of frames when the daemon is killed is not kept: %s", self._state.failure)
        last = self._state.last
        if last is None:
            return
        self.counts.other("last_run_lost_frames", last.lost_frames)
        self.counts.other("last_run_down_us", last.down_us)
        how = "was stopped" if last.clean else "was cut short"
        log.log(
            logging.INFO if last.clean else logging.WARNING,
            "the last run %s: of %d frames the answers of %d at most are missing; it was down for %.3f s",
            how,
            last.frames,
            last.lost_frames,
            last.down_us / 1e6,
        )

    # Frames.

    def _took(self, frames: tuple[int, ...]) -> None:
        """Frames were taken. On a source's thread, or that of answers."""
        if frames:
            with self._lock:
                self._taken = max(self._taken, frames[-1] + 1)
                self._state.note(taken=self._taken)

    def _tell(self, result: FrameResult) -> None:
        """A frame has ended. On the runtime's thread for that."""
        self._took((result.frame,))
        self.counts.frame(frame_outcome(result))
        try:
            self.tally.add(result, self.runtime.merged)
            answers = self._teller.answers(result, time.time_ns() - time.monotonic_ns())
            self._parts.give(result.frame, answers, self._observed)
        finally:
            with self._lock:
                self._ended += 1

    def _observed(self, answer: Answer) -> None:
        self.counts.answer(answer.graph, answer.outcome, late=answer.late, fired=answer.fired)
        for observer in self._observers:
            observer(answer)

    # The main thread's.

    def _serve(self) -> None:
        """Until it is told to stop, or there is nothing left to do. Reloads, and tells systemd how it is doing."""
        watchdog_s = self.notifier.watchdog_s
        turn_s = TURN_S if watchdog_s is None else min(TURN_S, watchdog_s / 8)
        while not self._stops and not self._parts.over:
            self._waker.wait(turn_s)
            self._turns += 1
            self._state.note()
            self._count_dropped()
            self._parts.forget_retired()
            if self._reloads:
                self._reloads = 0
                self._changing = True
                self._reload()
                self._changing = False
            self.notifier.status(self.status())

    def _count_dropped(self) -> None:
        """Frames that have ended, and could not be told since too many were waiting for that."""
        dropped = self._subscription.dropped - self._dropped
        if dropped:
            self._dropped += dropped
            self.counts.other("results_dropped", dropped)
            log.warning("%d frames have ended untold: the machine is too far behind", dropped)
            with self._lock:
                self._ended += dropped

    def _progress(self) -> Progress:
        sources = self.sources.values()
        return Progress(
            fed=sum(source.fed for source in sources),
            feeding=sum(source.is_within for source in sources),
            ended=self._ended,
            in_flight=self.in_flight,
            turns=self._turns,
            changing=self._changing,
        )

    def _reload(self) -> None:
        self.notifier.reloading()
        try:
            loaded = load(self._read(), self._folder)
            require_changeable(self.loaded, loaded)
            self._change(loaded)
        except Exception as error:  # Operators and backends may be anybody's; whatever they raise ends nothing.
            self.counts.other("reloads_refused")
            log.error("reload refused, what ran goes on: %s", failure_text(error))
            self.notifier.ready(f"reload refused: {error}")
        else:
            self.counts.other("reloads")
            for follower in self._followers:
                follower(self.config)
            log.info("reloaded")
            self.notifier.ready(self.status())

    def _change(self, loaded: Loaded) -> None:
        """Run by another config. Raises `LeoError`, and nothing has changed then."""
        teller = Teller(merge(loaded.running), loaded.decisions)
        site = self._site(loaded)
        opened = self._opened(loaded, site)
        try:
            prepared = self._companions.prepare(loaded.config, site)
            try:
                with self.change_lock:
                    self.runtime.change(loaded.running, profile=loaded.profile)
                    self.loaded = loaded
            except BaseException:
                self._companions.abandon(prepared)
                raise
        except BaseException:
            self._parts.abandon(opened)
            raise
        teller.take_over(self._teller)
        self._teller = teller
        before = self._parts.following()
        self._parts.use(opened)
        for key, one in self._parts.following().items():
            if key in before:
                try:
                    one.change(site)
                except Exception as error:  # It may be anybody's code, and the rest has changed by now.
                    log.error("the workload has changed, and not all goes along with it: %s", failure_text(error))
        self._companions.use(prepared)

    def _opened(self, loaded: Loaded, site: Site) -> Opened:
        return self._parts.open(loaded, site, self.runtime.feed, self._took)

    def _drain(self) -> bool:
        """Stop sources, wait for what is in flight, close the runtime, and publish the last answers.

        Whether all of them were.
        """
        began, drain_s = WallClock(), self.config.drain_s
        keeps_s = min(LAST_ANSWERS_S, drain_s / 5)

        def left_s(keeps_s: float = 0.0) -> float:
            return 0.0 if self._stops > 1 else max(0.0, drain_s - keeps_s - began.now_us() / 1e6)

        def until(ended: Callable[[float], bool], keeps_s: float = 0.0) -> bool:
            while not ended(min(LOOKS_S, left_s(keeps_s))):
                if not left_s(keeps_s):
                    return False
            return True

        def frames_end(timeout_s: float) -> bool:
            with suppress(DrainTimeoutError):
                self.runtime.drain(timeout_s)
                return True
            return False

        self._parts.stop_sources(lambda ended: until(ended, keeps_s))
        with suppress(ClosedError):
            if not until(frames_end, keeps_s):
                log.warning("%d frames were given up as the daemon ended", self.in_flight)
        self.runtime.close(max(0.1, left_s(keeps_s)))
        unpublished = self._parts.end_sinks(until)
        if unpublished:
            log.warning("answers of %d frames were not published as the daemon ended", unpublished)
        return not unpublished and not self.in_flight


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
