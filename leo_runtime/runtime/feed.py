"""Sources are fed: chunks of samples go in as they come, frames come out as they are due.

Which are due, and whether they wait, is `release_order`'s to say; what a stream's clock shows, `sample_clock`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from leo_runtime.clock import Clock
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import InputError, LeoError, did_you_mean
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.positions import WindowEnd
from leo_runtime.frame.window import grid_us
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.arguments import SourceWindow
from leo_runtime.runtime.fed_streams import FedEvents, FedStream, StreamNow, require_at, require_chunk
from leo_runtime.runtime.release_order import Due, FedGraph, Read, ReleaseOrder
from leo_runtime.runtime.sample_clock import Loss
from leo_runtime.runtime.turns import Turn, Turns

if TYPE_CHECKING:
    import numpy as np


Sources = Callable[[Collection[str]], tuple[SourceWindow, ...]]
"""As `Runtime.sources`."""


@dataclass(frozen=True, slots=True)
class FedFrame:
    """A frame that is due by what was fed."""

    release_us: int
    graphs: tuple[str, ...]
    windows: Mapping[str, np.ndarray]
    gaps_us: Mapping[str, int]
    """Of each graph for how long of a window that it reads there is nothing: of the worst of its windows."""
    shifts_us: Mapping[str, int]
    """How far from its period's grid each graph of the workload is released now."""
    ends: Mapping[str, WindowEnd]
    """Where the windows end in their streams, of those that come at a rate."""


class Feeder:
    """The streams of a runtime. Every method may be called from any thread."""

    def __init__(
        self,
        merged: MergedWorkload,
        sources: Sources,
        begin: Callable[[int], Clock | None],
        take: Callable[[FedFrame], int],
    ) -> None:
        """`sources` as `Runtime.sources`; `take` submits a frame and gives its number.

        `begin` gives the run's clock, which shows that time where it is only begun; None: the run's time is virtual.
        """
        workload = merged.workload
        longest, step_us = _longest(workload, sources), grid_us(workload)
        self._streams = {stream.name: _fed(stream, longest[stream.name], step_us) for stream in workload.streams}
        self._order = ReleaseOrder(_graphs(merged, sources, self._streams))
        self._begin = begin
        self._take = take
        self._begun = False
        # Who feeds, one after the other: what is due is submitted in its order.
        self._turns = Turns()
        # What is fed is changed and read behind this lock, and nobody waits or submits while holding it.
        self._lock = threading.Lock()

    def change(self, merged: MergedWorkload, sources: Sources, now_us: int | None) -> None:
        """Another workload is fed from now on. In the turn of who calls; nothing has changed where it raises.

        Streams that are the same go on, with what they hold and their clocks, and graphs of the same names where they
        are, but for what they now read. `now_us` is the run's time, None where that is virtual.
        """
        workload = merged.workload
        longest, step_us = _longest(workload, sources), grid_us(workload)
        with self._lock:
            streams: dict[str, FedStream | FedEvents] = {}
            changes = []
            for stream in workload.streams:
                known = self._streams.get(stream.name)
                if known is not None and known.stream == stream:
                    streams[stream.name] = known
                    changes.append(known.changed(longest[stream.name], step_us))
                else:
                    streams[stream.name] = _fed(stream, longest[stream.name], step_us)
            order = ReleaseOrder(_graphs(merged, sources, streams))
            if self._begun:
                order.take_over(self._order, self._newest_us() if now_us is None else now_us)
            for change in changes:
                change()
            self._streams, self._order = streams, order

    def turn(self) -> Turn:
        """A turn of the calling thread, in which nobody feeds."""
        return self._turns.turn()

    def mine(self) -> bool:
        """Whether the calling thread feeds."""
        return self._turns.mine()

    def streams(self) -> tuple[StreamNow, ...]:
        """How each stream of the workload is doing, in its order."""
        with self._lock:
            return tuple([stream.now() for stream in self._streams.values()])

    def unreleased(self) -> dict[str, int]:
        """As `Runtime.unreleased`."""
        with self._lock:
            return {graph.graph.name: graph.unreleased for graph in self._order.graphs}

    def feed(self, name: str, chunk: np.ndarray, at_us: int | None) -> tuple[int, ...]:
        """As `Runtime.feed`."""
        stream = self._stream(name)
        samples, at_us = require_chunk(stream.stream, chunk), require_at(at_us)
        self._order.require_periods()
        if self._turns.mine():
            raise InputError(
                f"stream `{name}` is fed by what its own feeding calls (a solver, kernel or noise)",
                hint="feed it from another thread, for which nothing here waits",
            )
        clock = self._begin(0 if at_us is None else at_us)
        if at_us is None and clock is None and isinstance(stream, FedEvents):
            raise InputError(
                f"events `{name}` are fed in virtual time without theirs", hint="say when they were: at_us="
            )
        arrived_us = None if clock is None else clock.now_us()
        with self._turns.turn() as turn:
            turn.queue()
            turn.wait()
            now = self._stream(name)
            if now is not stream:  # The workload was changed meanwhile.
                stream, samples = now, require_chunk(now.stream, chunk)
            return self._fed(clock, stream, samples, at_us, arrived_us)

    def restart(self, name: str) -> None:
        """As `Runtime.restart`."""
        self._stream(name)
        if self._turns.mine():
            raise InputError(
                f"stream `{name}` is restarted by what its own feeding calls (a solver, kernel or noise)",
                hint="restart it from another thread, for which nothing here waits",
            )
        with self._turns.turn() as turn:
            turn.queue()
            turn.wait()
            with self._lock:
                stream = self._stream(name)
                stream.restart(self._newest_us())
                if isinstance(stream, FedStream):
                    self._order.restart(stream)

    def _stream(self, name: str) -> FedStream | FedEvents:
        stream = self._streams.get(name)
        if stream is None:
            raise InputError(
                f"no stream is called `{name}`", hint=did_you_mean(name, tuple(self._streams), "the workload has")
            )
        return stream

    def flush(self) -> None:
        """Release what waits for other streams. It does nothing within what feeding itself calls."""
        if not self._begun or self._turns.mine():
            return
        with self._turns.turn() as turn:
            turn.queue()
            turn.wait()
            self._release(self._begin(0), waits=False)

    # In turn.

    def _fed(
        self,
        clock: Clock | None,
        stream: FedStream | FedEvents,
        samples: np.ndarray,
        at_us: int | None,
        arrived_us: int | None,
    ) -> tuple[int, ...]:
        if isinstance(stream, FedEvents):
            with self._lock:
                if len(samples):
                    stream.append(samples, stream.came(at_us, arrived_us))
            return self._release(clock)
        taken: list[int] = []
        wrong: LeoError | None = None
        with self._lock:
            stream.require_alike(samples)
            lost = self._came(stream, samples, at_us, arrived_us) if len(samples) else None
        if lost is not None:
            if stream.is_much(lost):
                try:
                    taken += self._release(clock, waits=False)
                except LeoError as error:
                    wrong = error
            with self._lock:
                stream.lose(lost)
                self._order.skip(stream, lost.number)
        # In pieces, so that every window is cut before the ring has lost it, and all of them, whatever goes wrong.
        step = max(1, stream.slack // 4)
        for first in range(0, max(1, len(samples)), step):
            with self._lock:
                if len(samples):
                    stream.append(samples[first : first + step])
                    stream.came_us = self._newest_us() if arrived_us is None else arrived_us
            try:
                taken += self._release(clock)
            except LeoError as error:
                wrong = wrong or error
        if wrong is not None:
            raise wrong
        return tuple(taken)

    def _came(self, stream: FedStream, samples: np.ndarray, at_us: int | None, arrived_us: int | None) -> Loss | None:
        first = stream.clock is None
        others = [
            other.shift_us
            for other in self._streams.values()
            if other is not stream and isinstance(other, FedStream) and other.clock is not None
        ]
        lost = stream.came(samples, at_us, arrived_us, others)
        if first:
            self._order.begin(stream)
        return lost

    def _release(self, clock: Clock | None, *, waits: bool = True) -> tuple[int, ...]:
        """Submit what is due."""
        taken: list[int] = []
        while True:
            with self._lock:
                now_us = self._newest_us() if clock is None else clock.now_us()
                if not self._begun:
                    self._begun = True
                    self._order.begin(None, now_us)
                due = self._order.next(now_us, hurries=clock is not None, waits=waits)
                frame = None if due is None else self._cut(due)
            if frame is None:
                return tuple(taken)
            taken.append(self._take(frame))

    def _newest_us(self) -> int:
        """In virtual time it is as late as the newest sample."""
        return max([stream.newest_us or 0 for stream in self._streams.values()])

    def _cut(self, due: Due) -> FedFrame:
        windows: dict[str, np.ndarray] = {}
        gaps_us: dict[str, int] = {}
        ends: dict[str, WindowEnd] = {}
        for graph in due.graphs:
            gap_us = 0
            for read in graph.reads:
                stream, number = read.stream, due.at_us
                if isinstance(stream, FedStream):
                    number = stream.number_at(due.at_us)
                    ends[read.stage] = stream.window_end(number, read.samples)
                    gap_us = max(gap_us, stream.missing_us(number, read.samples))
                if read.stage not in windows:
                    windows[read.stage] = stream.window(number, read.samples)
            gaps_us[graph.graph.name] = gap_us
        return FedFrame(
            due.release_us,
            tuple(graph.graph.name for graph in due.graphs),
            windows,
            gaps_us,
            {graph.graph.name: graph.shift_us for graph in self._order.graphs},
            ends,
        )


def _longest(workload: Workload, sources: Sources) -> dict[str, int]:
    """How many samples, or events, the longest window of each stream is of."""
    longest = {stream.name: 1 for stream in workload.streams}
    for source in sources([graph.name for graph in workload.graphs]):
        longest[source.stream] = max(longest[source.stream], source.samples)
    return longest


def _fed(stream: Stream, longest: int, step_us: int) -> FedStream | FedEvents:
    return FedStream(stream, longest, step_us) if stream.rate_hz else FedEvents(stream, longest)


def _graphs(merged: MergedWorkload, sources: Sources, streams: Mapping[str, FedStream | FedEvents]) -> list[FedGraph]:
    """The graphs that read any stream, and what they read."""
    graphs = []
    for graph in merged.workload.graphs:
        found = {source.stage: source for source in sources([graph.name])}
        named = dict.fromkeys(merged.names[graph.name, stage.name] for stage in graph.stages)
        read = [found[name] for name in named if name in found]
        graphs.append(FedGraph(graph, [Read(one.stage, streams[one.stream], one.samples) for one in read]))
    return [graph for graph in graphs if graph.reads]
