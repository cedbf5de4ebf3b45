"""Which graphs are due by what was fed, and in which order: pure but for what it remembers of each graph.

A graph goes by the clock of the first stream at a rate that it names, its lead: it is due when that has come to the
next time on its period's grid, counted in samples, so that windows of one graph are always as many samples apart. A
graph of events alone goes by the run's clock. Graphs that are due at the same time are one frame.

A frame waits for what should be there by its release: for other graphs that are due no later, and for the other streams
that its graphs read. It does not wait longer than `WAIT_PERCENT` of its shortest deadline, nor for a stream that has
been silent for `MOST_WAIT_US` and two samples. In virtual time, where waiting makes nothing late, it waits
`MOST_WAIT_US`.

Where nothing was fed for long, graphs of events alone leave out what is past its deadline; in virtual time, where
nothing is late, what was due more than a day ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import InputError
from leo_runtime.frame.positions import EARLY_US
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.arguments import MAX_AHEAD_US
from leo_runtime.runtime.fed_streams import FedEvents, FedStream
from leo_runtime.values import lasting_us, samples_within

WAIT_PERCENT = 10
"""Of a frame's shortest deadline, what it may wait for other streams."""
MOST_WAIT_US = 2_000_000


@dataclass(frozen=True, slots=True)
class Read:
    """What a graph reads of a stream: so many samples, for the merged stage of that name."""

    stage: str
    stream: FedStream | FedEvents
    samples: int


class FedGraph:
    """A graph, what it reads, and when it is due next."""

    def __init__(self, graph: TaskGraph, reads: Sequence[Read]) -> None:
        """`reads` in the order in which it names them."""
        self.graph = graph
        self.reads = tuple(reads)
        self.lead = next((read.stream for read in reads if isinstance(read.stream, FedStream)), None)
        self.next_us: int | None = None
        """By its lead's own rate; None: that has not begun."""
        self.has_run = False
        """Whether it was due since its lead began."""
        self.unreleased = 0
        """How often it was not due at its time, since samples were lost."""
        self._number = 0
        self._gone: deque[tuple[int, int]] = deque()
        """Of stretches that were lost while it waited: after which of its lead's numbers, and when it goes on."""

    @property
    def shift_us(self) -> int:
        """How far its releases are from its period's grid."""
        return 0 if self.lead is None else self.lead.shift_us

    @property
    def at_us(self) -> int | None:
        """When it is due next, on the run's clock."""
        return None if self.next_us is None else self.next_us + self.shift_us

    def skip_to(self, after_us: int) -> None:
        """It is due next after that time, by its lead's own rate."""
        self.next_us = self.graph.next_release_us(max(0, after_us) + 1)
        self._number = 0 if self.lead is None else samples_within(self.lead.stream.rate_hz, self.next_us)

    def restart(self) -> None:
        """It is not due before its lead has begun again."""
        self.next_us, self.has_run = None, False
        self._gone.clear()

    def take_over(self, before: FedGraph) -> None:
        """Go on in the place of one that was: what that was due for and has not been given is due here."""
        self.unreleased = before.unreleased
        if self.lead is not before.lead or before.next_us is None:
            return
        self._gone, self.has_run = before._gone, before.has_run
        if self.graph.timing == before.graph.timing:
            self.next_us, self._number = before.next_us, before._number
        elif self.next_us is not None:
            self.skip_to(min(before.next_us - 1, self.next_us - 1))

    def go_on(self) -> None:
        """It is not due any more at the time at which it was."""
        assert self.next_us is not None
        self.skip_to(self.next_us)
        while self._gone and self._number > self._gone[0][0]:
            self._leave_out_to(max(self._gone.popleft()[1], self.next_us - 1))

    def lose(self, number: int, after_us: int) -> None:
        """Samples of its lead were lost after so many: it goes on after that time, once it is due no more by then."""
        self._gone.append((number, after_us))
        if self._number > number:
            self._gone.clear()
            self._leave_out_to(after_us)

    def _leave_out_to(self, after_us: int) -> None:
        """It is due next after that time, and was to be before."""
        before_us = self.next_us
        self.skip_to(after_us)
        if before_us is not None and (self.has_run or self.lead is None):
            self.unreleased += self._releases_between(before_us, self.next_us or before_us)

    def _releases_between(self, first_us: int, last_us: int) -> int:
        rate_hz = self.graph.rate_hz
        between_us = last_us - first_us
        return between_us // self.graph.period_us if rate_hz is None else round(between_us * rate_hz / 1e6)

    def is_not_whole(self) -> None:
        """It is not due at its time, since its windows are not full there."""
        self.unreleased += self.has_run
        self.go_on()

    def leave_out(self, now_us: int, most_us: int) -> None:
        """Of a graph of events alone: what was due more than so long ago is left out."""
        if self.lead is None and self.next_us is not None and now_us - self.next_us > most_us:
            self._leave_out_to(now_us - most_us - 1)

    def has_come(self, now_us: int) -> bool:
        """Whether its lead has come to where it is due."""
        if self.next_us is None:
            return False
        return self.next_us <= now_us if self.lead is None else self.lead.end >= self._number

    def is_full(self) -> bool:
        """Whether all its windows are whole where it is due next."""
        at_us = self.at_us
        return at_us is not None and all(
            read.stream.is_full(read.stream.number_at(at_us), read.samples)
            for read in self.reads
            if isinstance(read.stream, FedStream)
        )


@dataclass(frozen=True, slots=True)
class Due:
    """Graphs that are due."""

    at_us: int
    """When the samples were taken that they read last."""
    release_us: int
    """That, or when the last ones were released."""
    graphs: tuple[FedGraph, ...]


class ReleaseOrder:
    """The releases of the graphs of a workload that is fed. For one thread at a time."""

    def __init__(self, graphs: Sequence[FedGraph]) -> None:
        self.graphs = tuple(graphs)
        self._last_us = 0
        self._drawn = next((one.graph.name for one in self.graphs if one.graph.trigger.is_drawn), None)

    def require_periods(self) -> None:
        """Raise `InputError` where the releases of a graph are drawn: what is fed is released by periods alone."""
        if self._drawn is not None:
            raise InputError(
                f"graph `{self._drawn}` has a `trigger`, which replays and studies draw from; feeding goes by periods",
                hint="leave out its `trigger`, or submit its frames with `graphs`",
            )

    def begin(self, lead: FedStream | None, at_us: int = 0) -> None:
        """Graphs of this lead begin where it is now; those of none, at a time."""
        for graph in self.graphs:
            if graph.lead is lead:
                graph.skip_to(at_us if lead is None else lasting_us(lead.stream.rate_hz, lead.end))

    def restart(self, lead: FedStream) -> None:
        """Graphs of this lead are not due before it has begun again."""
        for graph in self.graphs:
            if graph.lead is lead:
                graph.restart()

    def skip(self, lead: FedStream, number: int) -> None:
        """Samples of this lead were lost after so many: its graphs go on from where it is now.

        What was due before that, and waits for others, is due all the same.
        """
        for graph in self.graphs:
            if graph.lead is lead:
                graph.lose(number, lasting_us(lead.stream.rate_hz, lead.end))

    def take_over(self, before: ReleaseOrder, now_us: int) -> None:
        """Go on in the place of one that was: new graphs begin where their leads are now; those of none, now."""
        self._last_us = before._last_us
        known = {graph.graph.name: graph for graph in before.graphs}
        for graph in self.graphs:
            lead = graph.lead
            if lead is None:
                graph.skip_to(now_us)
            elif lead.clock is not None:
                graph.skip_to(lasting_us(lead.stream.rate_hz, lead.end))
            if graph.graph.name in known:
                graph.take_over(known[graph.graph.name])

    def next(self, now_us: int, *, hurries: bool, waits: bool = True) -> Due | None:
        """What is due next; None: nothing, yet. What it gives is not due any more.

        `hurries`: in real time; then nothing is due that is to come. Without `waits` it waits for nobody.
        """
        come: list[tuple[int, FedGraph]] = []
        for graph in self.graphs:
            graph.leave_out(now_us, graph.graph.deadline_us if hurries else MAX_AHEAD_US)
            while graph.has_come(now_us) and not graph.is_full():
                graph.is_not_whole()
            at_us = graph.at_us
            if at_us is not None and graph.has_come(now_us) and not (hurries and at_us > now_us + EARLY_US):
                come.append((at_us, graph))
        if not come:
            return None
        at_us = min(at_us for at_us, _ in come)
        due = [graph for when_us, graph in come if when_us == at_us]
        if waits and self._waits(at_us, due, [graph for _, graph in come], now_us, hurries):
            return None
        for graph in due:
            graph.has_run = True
            graph.go_on()
        if at_us < self._last_us and not hurries:
            at_least_us = now_us - MOST_WAIT_US  # Nobody has waited for it any longer: it would gather with the last.
            self._last_us = max(self._last_us, at_least_us)
        self._last_us = max(self._last_us, at_us)
        return Due(at_us, self._last_us, tuple(due))

    def _waits(
        self, at_us: int, due: Sequence[FedGraph], come: Collection[FedGraph], now_us: int, hurries: bool
    ) -> bool:
        """Whether there is somebody to wait for, and time to."""
        most_us = MOST_WAIT_US
        if hurries:
            most_us = min(most_us, min(graph.graph.deadline_us for graph in due) * WAIT_PERCENT // 100)
        if now_us - at_us >= most_us:
            return False
        waited = [read.stream for graph in due for read in graph.reads if isinstance(read.stream, FedStream)]
        behind = [stream for stream in waited if stream.end < stream.number_at(at_us)]
        for graph in self.graphs:
            is_expected = graph.at_us is not None and graph.at_us <= at_us and graph not in come
            if graph.lead is not None and is_expected and graph.is_full():
                behind.append(graph.lead)
        if any(_presses(graph) for graph in due):
            return False
        return any(not _is_silent(stream, now_us) for stream in behind)


def _is_silent(stream: FedStream, now_us: int) -> bool:
    """Whether nothing has come of a stream for so long that nothing need come."""
    came_us = stream.came_us
    return came_us is None or now_us - came_us >= MOST_WAIT_US + lasting_us(stream.stream.rate_hz, 2)


def _presses(graph: FedGraph) -> bool:
    """Whether the samples of a graph will soon be held no more."""
    at_us = graph.at_us
    assert at_us is not None
    return any(
        read.stream.end - read.stream.number_at(at_us) > read.stream.slack // 2
        for read in graph.reads
        if isinstance(read.stream, FedStream)
    )
