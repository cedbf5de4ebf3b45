"""A sink on a thread of its own, behind a bounded queue: one that is slow, full or broken holds up nobody."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection

from leo_runtime.back_off import wait_us
from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.kinds import Sink, SinkEndedError
from leo_runtime.errors import failure_text

FIRST_WAIT_US, LONGEST_WAIT_US = 100_000, 5_000_000
"""Before an answer that could not be written is tried again: twice as long each time."""

Done = Callable[[Answer], None]
"""Is told of every answer that the sink is done with: published, or dropped."""

log = logging.getLogger(__name__)


class Delivering:
    """One sink that runs. Every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        counts: Counts,
        *,
        most: int,
        graphs: Collection[str] = (),
        only_fired: bool = False,
        done: Done = lambda _: None,
    ) -> None:
        """Up to `most` answers wait; of `graphs`, all where there are none."""
        self.name = name
        self.sink = sink
        self._counts = counts
        self._most = most
        self._graphs = frozenset(graphs)
        self._only_fired = only_fired
        self._done = done
        self._waiting: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._ended = self._at_once = self._over = False
        self.gone = False
        """Whether nobody will ever take anything of it any more."""
        self._thread = threading.Thread(target=self._go, name=f"leo sink {name}", daemon=True)
        counts.sink(name)

    def start(self) -> None:
        """Run it."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many answers wait for it."""
        return len(self._waiting)

    def wants(self, answer: Answer) -> bool:
        """Whether it is to have that answer."""
        return (not self._graphs or answer.graph in self._graphs) and (answer.fired or not self._only_fired)

    def give(self, answer: Answer) -> None:
        """One more answer; it never waits. Whether it is wanted is the caller's to ask. After its end it is dropped."""
        dropped = None
        with self._changed:
            if self._over:
                dropped = answer
            else:
                self._waiting.append(answer)
                if len(self._waiting) > self._most:
                    dropped = self._waiting.popleft()
            self._changed.notify_all()
        self._counts.sink(self.name, given=1)
        if dropped is not None:
            self._drop(dropped)

    def end(self) -> None:
        """No more come: what waits is still published."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """Wait at most so long until all is published and the sink is closed; whether that is so."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Drop what waits, and try nothing again. Waits for nothing."""
        with self._changed:
            self._ended = self._at_once = True
            left, self._waiting = tuple(self._waiting), deque()
            self._changed.notify_all()
        for answer in left:
            self._drop(answer)
        if self._thread.ident is None:
            self._close()

    def _drop(self, answer: Answer) -> None:
        self._counts.sink(self.name, dropped=1)
        self._done(answer)

    def _go(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._ended)
                if not self._waiting:
                    self._over = True
                    break
                answer = self._waiting.popleft()
            self._publish(answer)
        self._close()

    def _publish(self, answer: Answer) -> None:
        if self.gone:
            self._drop(answer)
            return
        in_vain, told = 0, False
        while True:
            try:
                self.sink.publish(answer)
                break
            except SinkEndedError as error:
                self._counts.went_wrong("sink", self.name, str(error))
                log.warning("sink `%s` has ended: %s", self.name, error)
                self.gone = True
                self._drop(answer)
                return
            except Exception as error:  # It may be anybody's code.
                self._counts.went_wrong("sink", self.name, failure_text(error))
                if not told:
                    log.warning("sink `%s` went wrong: %s", self.name, failure_text(error))
                told = True
                waits_s = wait_us(in_vain, FIRST_WAIT_US, LONGEST_WAIT_US) / 1e6
                with self._changed:
                    if isinstance(error, OSError):
                        self._changed.wait_for(lambda: self._at_once, waits_s)
                    if not isinstance(error, OSError) or self._at_once:
                        self._counts.sink(self.name, dropped=1)
                        self._done(answer)
                        return
                in_vain += 1
        if told:
            log.info("sink `%s` goes on", self.name)
        self._counts.sink(self.name, published=1)
        self._done(answer)

    def _close(self) -> None:
        try:
            self.sink.close()
        except Exception as error:  # Nothing hangs on it any more.
            log.warning("sink `%s` could not be closed: %s", self.name, failure_text(error))
