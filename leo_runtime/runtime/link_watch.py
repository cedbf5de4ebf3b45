"""What is known of the links to servers while a run goes on: what transfers tell, and what plans make of it.

Whoever sends tells of each transfer (`heard`), in virtual time also of one whose end is to come: it is known when that
has come, and no earlier. A frame is planned with what `now` says. That stays what it is while it is likely all the
same: until the estimate has moved away from it by its own width, and by a tenth at least. So plans do not change to and
fro with every transfer, and equal questions are asked once.

In real time a way on which something was lost, was not answered, or was answered by somebody else, as where a network
asks for a login first, is not used for a while, and ever longer where that happens again and again
(`leo_runtime.dispatch.links`, which virtual time has from its dispatcher).

Of what is likely plans take the middle. By its bad end somewhat fewer answers would be late, for more energy: who plans
so leaves a link sooner, sees nothing of it any more, and comes back later (`tests/bench/estimates.py` has both).
"""

from __future__ import annotations

import heapq
import threading
from dataclasses import field
from math import exp, log

from leo_runtime.backend.transfers import TransferSeen
from leo_runtime.dispatch.links import Links
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.hardware import Link as HardwareLink
from leo_runtime.frame.conditions import LinkNow
from leo_runtime.frame.link_course import Network
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.link_estimate import PathEstimate, observe

LEAST_STEP = 0.1
"""What plans go by changes by a tenth at least."""
WIDTH = 0.67
"""And by so many standard deviations: within them an estimate is as likely right as wrong."""
CAUTION = 0.0
"""By how many standard deviations plans take a rate to be lower than the middle of what is likely."""
GRAIN = 0.05
"""What plans go by is one of so many values, a twentieth apart, so that plans that were made once can be used again."""
QUEUE_GAIN = 0.5
"""How much of a change in a server's queue is believed at once."""
QUEUE_LASTS_US = 10_000_000
TELLING_SHARE = 10
"""Of a transfer whose bytes took less than a tenth of its time nobody asks what the rate was."""
LEAST_QUEUE_US = 500
"""Less is not worth another plan. What waits there is planned as a longer way to the server: its lanes are others'."""
LEAST_TRIP_US = 1_000
"""Of a link for which the document says none: no network is faster."""

Ends = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LinkKnown:
    """What is known of one link, and how good that was."""

    source: str
    target: str
    transfers: int
    """How many were seen."""
    failed: int
    """Of them, those that did not get there."""
    bytes_per_s: int
    """As it is thought to be now."""
    least_bytes_per_s: int
    most_bytes_per_s: int
    """Within these four times of five."""
    latency_us: int
    rate_off_ppm: tuple[int, int] | None
    """By how much the rate that was thought was off what the link then did, in the median and in nine of ten transfers,
    to 1 %, of those whose bytes took a tenth of their time at least. None: what it did is not known, or there were no
    such transfers after the first."""
    time_off_ppm: tuple[int, int] | None
    """The same of how long transfers took, with their round trip."""


@dataclass(slots=True)
class _Way:
    """One direction of a path, as the document has it."""

    link: HardwareLink
    number: int
    """0 or 1."""
    path: _Path
    transfers: int = 0
    failed: int = 0
    rate_off: _Off = field(default_factory=lambda: _Off())
    time_off: _Off = field(default_factory=lambda: _Off())
    used: tuple[float, float] | None = None
    """The round trip and the rate that plans go by, as logarithms; None: what the document says."""


@dataclass(slots=True)
class _Path:
    """The way to a server and back."""

    estimate: PathEstimate
    outward_share: float
    """Of the round trip, how much of it the first way takes."""
    to_server: int
    """The way that goes to the server."""
    queue_us: float = 0.0
    """How long requests waited there for their turn, of late."""
    queue_at_us: int = 0

    def queue_at(self, now_us: int) -> float:
        """The same now: a queue that nobody tells of is over soon."""
        return self.queue_us * exp(-max(0, now_us - self.queue_at_us) / QUEUE_LASTS_US)

    def note_queue(self, queued_us: int, now_us: int) -> None:
        """A request has waited so long."""
        before_us = self.queue_at(now_us)
        self.queue_us, self.queue_at_us = before_us + QUEUE_GAIN * (queued_us - before_us), now_us


class LinkWatch:
    """All links of which something may be known. From any thread."""

    def __init__(self, hardware: Hardware, network: Network | None = None) -> None:
        """Of a `network` all links are watched that it tells of; without, those to and from servers. A link for which
        the hardware says no rate has no time of its own: nothing is made of what is seen there.
        """
        self._network = network
        self._lock = threading.Lock()
        self._ways: dict[Ends, _Way] = {}
        self._avoided = Links()
        self._failed_us: dict[Ends, int] = {}
        """When it was last known that a transfer had failed there."""
        self._to_come: list[tuple[int, int, TransferSeen]] = []
        self._count = 0
        servers = {processor.name for processor in hardware.processors if processor.remote}
        links = {(link.source, link.target): link for link in hardware.links}
        for ends, link in links.items():
            wanted = ends in network.courses if network is not None else not servers.isdisjoint(ends)
            if wanted and link.bytes_per_s is not None and ends not in self._ways:
                self._add(link, links.get((ends[1], ends[0])), 0 if ends[1] in servers else 1)

    def _add(self, out: HardwareLink, back: HardwareLink | None, to_server: int) -> None:
        """A path, by its first way; without a way back that is thought to be the same."""
        assert out.bytes_per_s is not None
        back_us = out.latency_us if back is None else back.latency_us
        rate_back = out.bytes_per_s if back is None or back.bytes_per_s is None else back.bytes_per_s
        trip_us = max(LEAST_TRIP_US, out.latency_us + back_us)
        share = out.latency_us / (out.latency_us + back_us) if out.latency_us + back_us else 0.5
        path = _Path(PathEstimate(trip_us, (out.bytes_per_s, rate_back), 0), share, to_server)
        self._ways[out.source, out.target] = _Way(out, 0, path)
        if back is not None and back.bytes_per_s is not None:
            self._ways[back.source, back.target] = _Way(back, 1, path)

    @property
    def has_network(self) -> bool:
        """Whether it is told what any link really does."""
        return self._network is not None and bool(self._network.courses)

    def heard(self, seen: TransferSeen) -> None:
        """A transfer has ended, or has begun and is to end then. Of a link that is not watched nothing is known."""
        with self._lock:
            way = self._ways.get((seen.source, seen.target))
            if way is None:
                return
            self._learn(seen.began_us)
            if seen.fate == "there":
                self._compare(way, seen)
            self._count += 1
            heapq.heappush(self._to_come, (seen.began_us + seen.took_us, self._count, seen))

    def now(self, now_us: int) -> dict[Ends, LinkNow]:
        """What plans go by, of the links of which something else is known than the hardware says."""
        with self._lock:
            courses = {} if self._network is None else self._network.courses
            if not self._ways and not courses:
                return {}
            self._learn(now_us)
            found: dict[Ends, LinkNow] = {}
            for ends, way in self._ways.items():
                course = courses.get(ends)
                really = (0, None) if course is None else course.at(now_us)
                if really is None or (course is not None and self._network is not None and self._network.is_known):
                    found[ends] = really
                elif way.path.estimate.seen:
                    found[ends] = self._planned(way, now_us)
            found |= dict.fromkeys(self._avoided.out(now_us))
            for ends, course in courses.items():
                if ends not in self._ways:  # It has no rate by the hardware; what it does is told as it is.
                    found[ends] = course.at(now_us)
            return found

    def avoided(self, now_us: int) -> dict[Ends, str]:
        """The links that are not used for now, and what became of the last transfer that failed there."""
        with self._lock:
            self._learn(now_us)
            return self._avoided.out(now_us)

    def known(self, now_us: int) -> tuple[LinkKnown, ...]:
        """What is known of each link that was used, in the hardware's order."""
        with self._lock:
            self._learn(now_us)
            return tuple([_known(way, now_us) for way in self._ways.values() if way.transfers])

    def _learn(self, now_us: int) -> None:
        """Take note of what has ended by now."""
        while self._to_come and self._to_come[0][0] <= now_us:
            seen = heapq.heappop(self._to_come)[2]
            way = self._ways[seen.source, seen.target]
            way.transfers += 1
            if seen.fate == "there":
                way.path.estimate = observe(way.path.estimate, way.number, seen)
                if seen.server_us:
                    # Whatever a server says, nothing waited there for longer than all of it took.
                    way.path.note_queue(min(seen.queued_us, seen.took_us), seen.began_us + seen.took_us)
            else:
                way.failed += 1
                if self._network is None:
                    self._avoid(seen)

    def _avoid(self, seen: TransferSeen) -> None:
        """Leave both ways alone. Whatever was under way as that was known has failed with it, and counts no more."""
        for ends in ((seen.source, seen.target), (seen.target, seen.source)):
            if ends in self._ways and seen.began_us >= self._failed_us.get(ends, seen.began_us):
                self._failed_us[ends] = seen.began_us + seen.took_us
                self._avoided.fall(ends, seen.fate, self._failed_us[ends], is_down=False)

    def _compare(self, way: _Way, seen: TransferSeen) -> None:
        """Note how far off was what is thought, as a transfer begins, unless nothing was ever seen."""
        thought = way.path.estimate.at(seen.began_us)
        if not thought.seen:
            return
        took_us = max(1, seen.took_us - seen.server_us)
        way.time_off.note(thought.took_us(way.number, seen.bytes) / took_us)
        course = None if self._network is None else self._network.courses.get((seen.source, seen.target))
        if course is not None and seen.bytes:
            sent_us = course.sent(seen.bytes, seen.began_us).over_us - seen.began_us
            if sent_us * TELLING_SHARE >= took_us:
                way.rate_off.note(thought.bytes_per_s(way.number) * sent_us / (seen.bytes * 1e6))

    def _planned(self, way: _Way, now_us: int) -> LinkNow:
        """What plans go by: as before, while that is likely."""
        thought = way.path.estimate.at(now_us)
        spread = thought.rate_spread(way.number)
        trip, rate = log(thought.trip_us), log(thought.bytes_per_s(way.number)) - CAUTION * spread
        if way.used is None:
            way.used = trip, rate
        trip = _kept(way.used[0], trip, thought.trip_spread)
        rate = _kept(way.used[1], rate, spread)
        way.used = trip, rate
        share = way.path.outward_share if way.number == 0 else 1.0 - way.path.outward_share
        queue_us = way.path.queue_at(now_us) if way.number == way.path.to_server else 0.0
        queue_us = exp(_grained(log(queue_us))) if queue_us >= LEAST_QUEUE_US else 0.0
        return round(share * exp(_grained(trip)) + queue_us), max(1, round(exp(_grained(rate))))


def _kept(used: float, thought: float, spread: float) -> float:
    """What plans went by, unless that has become unlikely."""
    return used if abs(thought - used) <= max(LEAST_STEP, WIDTH * spread) else thought


def _grained(logarithm: float) -> float:
    return round(logarithm / GRAIN) * GRAIN


def _known(way: _Way, now_us: int) -> LinkKnown:
    thought = way.path.estimate.at(now_us)
    least, most = thought.rate_within(way.number, 1.28)
    share = way.path.outward_share if way.number == 0 else 1.0 - way.path.outward_share
    return LinkKnown(
        way.link.source,
        way.link.target,
        way.transfers,
        way.failed,
        round(thought.bytes_per_s(way.number)),
        round(least),
        round(most),
        round(share * thought.trip_us),
        way.rate_off.parts_ppm(),
        way.time_off.parts_ppm(),
    )


class _Off:
    """By how much something was off, counted by percent: of any number of them no more is kept."""

    __slots__ = ("_counts", "_many")

    _MOST = 1_000
    """Percent: what is further off counts as this."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._many = 0

    def note(self, ratio: float) -> None:
        """What was thought over what was."""
        percent = min(self._MOST, round(abs(ratio - 1.0) * 100))
        self._counts[percent] = self._counts.get(percent, 0) + 1
        self._many += 1

    def parts_ppm(self) -> tuple[int, int] | None:
        """The median, and what nine of ten are within."""
        return (self._part_ppm(500), self._part_ppm(900)) if self._many else None

    def _part_ppm(self, of_thousand: int) -> int:
        wanted, below = -(-self._many * of_thousand // 1000), 0
        for percent, count in sorted(self._counts.items()):
            below += count
            if below >= wanted:
                return percent * 10_000
        return self._MOST * 10_000
