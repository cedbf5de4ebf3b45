"""What processors and radios draw besides what runs: waking up, staying awake, lingering, sleeping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from leo_runtime.frame.entries import Cause, Entry
from leo_runtime.frame.records import WakeObservation


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
    from_us: int
    until_us: int
    used_us: int
    """When its last use ended: lingering counts from there."""
    graphs: list[str] = field(default_factory=list)
    is_span: bool = False
    """It is known to be awake; otherwise it may have to be woken first."""

    def lingers_until_us(self, standby: Standby) -> int:
        """Until when it is awake, if nothing else uses it."""
        return max(self.until_us, self.used_us + (standby.linger_us or 0))


def standby_entries(
    name: str,
    standby: Standby,
    kept: Sequence[Kept],
    wakes: Sequence[WakeObservation],
    now_us: int,
    last_us: int,
    *,
    awake_until_us: int | None = None,
) -> Iterator[Entry]:
    """Waking up, staying awake, idling and sleeping of one resource: every moment from `now_us` to `last_us` once.

    `kept` are in the order in which they begin; where they overlap, a moment belongs to the first. `awake_until_us`:
    until when it is awake at the start if nothing uses it; None: it sleeps.
    """
    awake_us = now_us if awake_until_us is None else awake_until_us
    awake_us = last_us if standby.linger_us is None else awake_us
    before: tuple[int | None, tuple[str, ...]] = (None, ())
    users: dict[int, tuple[str, ...]] = {}
    for one in kept:
        users[one.frame] = tuple(dict.fromkeys((*users.get(one.frame, ()), *one.graphs)))
    for wake in wakes:
        nj, shared = standby.wake_energy_nj, users.get(wake.frame, ())
        yield Entry(wake.at_us, wake.at_us, nj, "wake-up", name, wake.frame, "", shared)

    def idle(until_us: int) -> Iterator[Entry]:
        """From `now_us` to `until_us` without a frame: awake for a while, then asleep."""
        tail_us = min(max(awake_us, now_us), until_us)
        tail_nj = standby.linger_mw * (tail_us - now_us)
        yield Entry(now_us, tail_us, tail_nj, standby.tail, name, before[0], "", before[1])
        yield Entry(tail_us, until_us, standby.asleep_mw * (until_us - tail_us), "asleep", name)

    for one in kept:
        from_us: int | None = one.from_us
        if not one.is_span and standby.linger_us is not None and one.from_us >= awake_us:
            # It sleeps: nothing to keep awake before somebody wakes it.
            from_us = min((wake.at_us for wake in wakes if wake.at_us >= one.from_us), default=None)
        if from_us is None or from_us > one.until_us:
            continue
        if from_us > now_us:
            yield from idle(from_us)
            now_us = from_us
        if one.until_us > now_us:
            used_nj = standby.awake_mw * (one.until_us - now_us)
            yield Entry(now_us, one.until_us, used_nj, "awake", name, one.frame, "", users[one.frame])
            now_us = one.until_us
        if standby.linger_us is not None:
            awake_us = max(awake_us, one.lingers_until_us(standby))
        before = (one.frame, users[one.frame])
    yield from idle(max(now_us, last_us))
