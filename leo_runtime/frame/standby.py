"""What processors and radios draw besides what runs: waking up, staying awake, lingering, sleeping."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from leo_runtime.frame.entries import Cause, Entry
from leo_runtime.frame.records import WakeObservation
from leo_runtime.frozen import dataclass

FOREVER_US = 1 << 62
"""After any time of a run."""
LONGEST_IDLE_US = 10_000_000
"""What is idle or asleep for longer is told of in pieces, so that nothing that is told late begins long ago."""


@dataclass(frozen=True, slots=True)
class Standby:
    """What a processor or radio draws when it does nothing."""

    awake_mw: int
    asleep_mw: int
    wake_energy_nj: int
    linger_us: int | None
    """How long it stays awake after its last use; None: it never sleeps."""
    linger_mw: int
    tail: Cause


@dataclass(slots=True)
class Kept:
    """A frame keeps a resource awake from `from_us`, if it is or gets awake, until `until_us`."""

    frame: int
    release_us: int
    from_us: int
    until_us: int | None
    """None: it is not known yet."""
    used_us: int
    """When its last use ended: lingering counts from there."""
    graphs: tuple[str, ...] = ()
    is_span: bool = False
    """It is known to be awake; otherwise it may have to be woken first."""


def _begins(kept: Kept) -> tuple[int, int, int]:
    return (kept.from_us, kept.release_us, kept.frame)


class StandbyMeter:
    """Charges one resource for staying awake, idling and sleeping: every moment once, as soon as it is known whose.

    What keeps it awake, and who woke it, is told in any order, up to a time that only rises: `settle` says that all
    has been told that begins before. Where several keep it awake, a moment belongs to the one that began first.
    """

    def __init__(self, name: str, standby: Standby, now_us: int, *, awake_until_us: int | None = None) -> None:
        """`awake_until_us`: until when it is awake at the start if nothing uses it; None: it sleeps."""
        self.now_us = now_us
        """Up to where it is charged: no later entry begins before."""
        self.lasts_us = now_us
        """Until when it is awake, if nothing else uses it, as far as it is charged."""
        self._name = name
        self._standby = standby
        self._sleeps = standby.linger_us is not None
        self._linger_us = standby.linger_us or 0
        self._awake_mw = standby.awake_mw
        self._awake_us = (now_us if awake_until_us is None else awake_until_us) if self._sleeps else FOREVER_US
        """Until when it is awake, if nothing uses it; then it sleeps."""
        self._last_frame: int | None = None
        """The frame that used it last..."""
        self._last_graphs: tuple[str, ...] = ()
        """...and its graphs."""
        self._kept: list[Kept] = []
        """What is not charged yet, in the order in which it begins."""
        self._wakes_us: list[int] = []
        """When it was woken, as far as it still matters."""

    @property
    def has_kept(self) -> bool:
        """Whether something keeps it awake that is not charged yet."""
        return bool(self._kept)

    def keep(self, kept: Kept) -> None:
        """Something keeps it awake."""
        if self._kept and _begins(kept) < _begins(self._kept[-1]):
            insort(self._kept, kept, key=_begins)
        else:
            self._kept.append(kept)

    def wake(self, wake: WakeObservation, graphs: tuple[str, ...]) -> Entry:
        """It was woken."""
        insort(self._wakes_us, wake.at_us)
        return Entry(
            wake.at_us, wake.at_us, self._standby.wake_energy_nj, "wake-up", self._name, wake.frame, "", graphs
        )

    def keep_alone(
        self, frame: int, release_us: int, until_us: int, graphs: tuple[str, ...], entries: list[Entry]
    ) -> None:
        """A frame that had the machine to itself keeps it awake from its release until then.

        All has been told that begins before, and that it was woken for this: it is charged at once, to `entries`.
        """
        if self._kept:
            self.settle(release_us, entries)
        if self._kept:  # They come first, and are not certain yet.
            self.keep(Kept(frame, release_us, release_us, until_us, until_us, graphs))
            return
        from_us: int | None = release_us
        if self._sleeps and release_us >= self._awake_us:
            from_us = self._woken_us(release_us)
        if self._wakes_us:
            del self._wakes_us[: bisect_left(self._wakes_us, release_us)]
        self._charge(frame, graphs, from_us, until_us, until_us, entries)

    def settle(self, settled_us: int, entries: list[Entry]) -> None:
        """All has been told that begins before that time: what is certain by that is added to `entries`."""
        charged = 0
        for one in self._kept:
            until_us = one.until_us
            if one.from_us >= settled_us or until_us is None:
                break
            from_us: int | None = one.from_us
            if self._sleeps and not one.is_span and one.from_us >= self._awake_us:
                # It sleeps: nothing to keep awake before somebody wakes it.
                from_us = self._woken_us(one.from_us)
                if until_us >= settled_us and (from_us is None or from_us >= settled_us):
                    break
            charged += 1
            self._charge(one.frame, one.graphs, from_us, until_us, one.used_us, entries)
        del self._kept[:charged]
        known_us = min(settled_us, self._kept[0].from_us) if self._kept else settled_us
        del self._wakes_us[: bisect_left(self._wakes_us, known_us)]
        if known_us - self.now_us > LONGEST_IDLE_US and known_us < FOREVER_US:
            self._idle(known_us, entries, False)

    def end(self, last_us: int, entries: list[Entry]) -> None:
        """All has been told, and settled: the run ends then."""
        if last_us > self.now_us:
            self._idle(last_us, entries, True)

    def _woken_us(self, from_us: int) -> int | None:
        at = bisect_left(self._wakes_us, from_us)
        return self._wakes_us[at] if at < len(self._wakes_us) else None

    def _charge(
        self,
        frame: int,
        graphs: tuple[str, ...],
        from_us: int | None,
        until_us: int,
        used_us: int,
        entries: list[Entry],
    ) -> None:
        """A frame keeps it awake between these, if it is awake at all; its last use ended at `used_us`."""
        over_us = used_us + self._linger_us
        if over_us < until_us:
            over_us = until_us
        if over_us > self.lasts_us:
            self.lasts_us = over_us
        if from_us is None or from_us > until_us:
            return
        if from_us > self.now_us:
            self._idle(from_us, entries, True)
        now_us = self.now_us
        if until_us > now_us:
            if self._awake_mw:
                nj = self._awake_mw * (until_us - now_us)
                entries.append(_entry((now_us, until_us, nj, "awake", self._name, frame, "", graphs)))
            self.now_us = until_us
        if self._sleeps and over_us > self._awake_us:
            self._awake_us = over_us
        self._last_frame, self._last_graphs = frame, graphs

    def _idle(self, until_us: int, entries: list[Entry], is_whole: bool) -> None:
        """Up to then nothing keeps it awake: it lingers for a while, and then sleeps.

        It may go on to linger then, unless `is_whole`. Such a piece is of as many microseconds as its graphs divide, so
        that each is charged the same for all pieces as for the whole.
        """
        now_us, tail_us, graphs = self.now_us, self._awake_us, self._last_graphs
        if tail_us >= until_us:
            tail_us = until_us
            if not is_whole and tail_us > now_us and graphs:
                tail_us -= (tail_us - now_us) % len(graphs)
                until_us = tail_us
        if tail_us > now_us:
            if self._standby.linger_mw:
                nj = self._standby.linger_mw * (tail_us - now_us)
                tail = self._standby.tail
                entries.append(_entry((now_us, tail_us, nj, tail, self._name, self._last_frame, "", graphs)))
            now_us = tail_us
        if until_us > now_us:
            if self._standby.asleep_mw:
                nj = self._standby.asleep_mw * (until_us - now_us)
                entries.append(_entry((now_us, until_us, nj, "asleep", self._name, None, "", ())))
            now_us = until_us
        self.now_us = now_us


def _entry(values: tuple[int, int, int, Cause, str, int | None, str, tuple[str, ...]]) -> Entry:
    """As Entry(*values) does, in half of the time: a run has several for each of its frames."""
    return tuple.__new__(Entry, values)


def standby_entries(
    name: str,
    standby: Standby,
    kept: Iterable[Kept],
    wakes: Iterable[tuple[WakeObservation, tuple[str, ...]]],
    now_us: int,
    last_us: int,
    *,
    awake_until_us: int | None = None,
) -> list[Entry]:
    """What one resource is charged from `now_us` to `last_us`, where all is known; each wake comes with its graphs."""
    meter = StandbyMeter(name, standby, now_us, awake_until_us=awake_until_us)
    entries = [meter.wake(wake, graphs) for wake, graphs in wakes]
    for one in kept:
        meter.keep(one)
    meter.settle(FOREVER_US, entries)
    meter.end(last_us, entries)
    return entries
