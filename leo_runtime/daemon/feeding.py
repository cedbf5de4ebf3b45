"""A source on a thread of its own: what it gives goes to the runtime, and it is started anew where it goes wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from leo_runtime.back_off import wait_us
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.kinds import Closes, Source
from leo_runtime.errors import ClosedError, InputError, LeoError, failure_text
from leo_runtime.values import lasting_us

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.documents.workload import Stream

FIRST_WAIT_US, LONGEST_WAIT_US = 100_000, 30_000_000
"""Before a source is started anew: twice as long each time it gave nothing."""

Taken = Callable[[tuple[int, ...]], None]
"""Is told the numbers of frames that were due."""
Give = Callable[..., tuple[int, ...]]
"""As `Runtime.feed`."""

log = logging.getLogger(__name__)


class Feeding:
    """One source that runs. Every method may be called from any thread."""

    def __init__(
        self, name: str, source: Source, streams: Mapping[str, Stream], give: Give, taken: Taken, counts: Counts
    ) -> None:
        """Nothing runs before `start`. `streams` are those that it feeds."""
        self.name = name
        self.source = source
        self._streams = dict(streams)
        self._give = give
        self._taken = taken
        self._counts = counts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, name=f"leo source {name}", daemon=True)
        self._lock = threading.Lock()
        self._within = 0
        self.fed = 0
        """How often it has fed: what shows that it gets on."""
        counts.source(name)

    def start(self) -> None:
        """Run it."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; `join` waits for that."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait at most so long for its end; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Let go of a source that was never started."""
        self._stop.set()
        if self._thread.ident is None:
            self._close()

    @property
    def ended(self) -> bool:
        """Whether it gives no more."""
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def is_within(self) -> bool:
        """Whether the runtime is just taking what it gave."""
        return self._within > 0

    def _feed(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        known = self._streams.get(next(iter(self._streams)) if stream is None else stream)
        if known is None:
            raise InputError(
                f"source `{self.name}` gives stream `{stream}`, and feeds {', '.join(self._streams)}",
                hint="name it in the source's part of the config: stream = ...",
            )
        if self._stop.is_set():  # The workload may have another stream by that name by now.
            return
        count = len(samples)
        if at_us is not None and known.rate_hz and count:
            at_us += lasting_us(known.rate_hz, count - 1)
        with self._lock:
            self._within += 1
        try:
            self._taken(self._give(known.name, samples, at_us=at_us))
        except InputError:
            raise
        except LeoError as error:  # The samples are taken: it is a frame that nobody could place.
            self._counts.other("frames_refused")
            log.warning("a frame was refused: %s", failure_text(error))
        finally:
            with self._lock:
                self._within -= 1
                self.fed += 1
        self._counts.source(self.name, samples=count, chunks=1)

    def _go(self) -> None:
        in_vain = 0
        while not self._stop.is_set():
            before = self.fed
            try:
                self.source.run(self._feed, self._stop)
                break
            except ClosedError:  # The daemon ends.
                break
            except BaseException as error:  # It may be anybody's code: whatever it raises ends this try alone.
                self._counts.went_wrong("source", self.name, failure_text(error))
                log.warning("source `%s` went wrong: %s", self.name, failure_text(error))
            if self.fed > before + 1:
                in_vain = 0
            if not self._stop.wait(wait_us(in_vain, FIRST_WAIT_US, LONGEST_WAIT_US) / 1e6):
                self._counts.source(self.name, restarts=1)
            in_vain += 1
        self._close()
        if not self._stop.is_set():
            self._counts.source_ended(self.name)
            log.info("source `%s` has given all that it has", self.name)

    def _close(self) -> None:
        if not isinstance(self.source, Closes):
            return
        try:
            self.source.close()
        except Exception as error:  # Nothing hangs on it any more.
            log.warning("source `%s` could not be closed: %s", self.name, failure_text(error))
