"""Who is awake, and for whom: waking just in time, spans that keep a resource awake, and holds between releases.

**Spans.** What a plan does on a resource lies in spans. While a span is open its resource does not sleep, whatever its
idle timeout; it is open until all that lies in it is over or elsewhere. A span that does not begin with waking is open
from the frame's release. If its resource sleeps all the same, it is woken so that it is awake when the plan first needs
it, or as soon as something could start there.

A span that begins with waking opens just in time: a wake-up latency before the plan first needs it for what is still to
be done, and not before the release at which it begins, however early something could start: waking earlier would have
to be paid. If it waits for gates, it opens for those of its uses whose gate has opened, or cannot be waited for any
longer. What is cancelled by then wakes nobody.

**Holds.** Where the next use of a span is a later release's, the resource is held after its last use here, until that
use is planned or another frame is admitted, whichever is first. A resource that lingers for so long anyway is not held.
What nothing keeps awake any more, and has lingered since its last use, sleeps at once.

What only later releases use is held likewise, and woken at once where the next question would come too late for that.

**Instructions.** `Hold` says that a resource has nothing to do and must not sleep, `Release` that it may again: given
for plans of windows, which know how long resources linger. A driver whose devices do not sleep may ignore them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from leo_runtime.dispatch.events import Hold, Instruction, Release, SpanRecord, Wake
from leo_runtime.dispatch.inflight import Frame, FrameSpan, Job, Lane, Supply, has_decided
from leo_runtime.dispatch.plan import Plan, PlannedHold, PlannedSpan
from leo_runtime.dispatch.waits import Patience


class Power:
    """The resources of a dispatcher: which are awake, and what for."""

    def __init__(
        self,
        lanes: Mapping[str, list[Lane]],
        patience: Patience,
        *,
        tell: Callable[[Instruction], None],
        remind: Callable[[int], None],
        touch: Callable[[Lane], None],
        used_us: Mapping[str, int],
    ) -> None:
        """`lanes` of every resource; `tell` and `remind` take what is to be done, `touch` what may start something."""
        self._patience = patience
        self._tell = tell
        self._remind = remind
        self._touch = touch
        self._supplies = {name: Supply(name, of, used_us.get(name)) for name, of in lanes.items()}
        self._to_wake: list[FrameSpan] = []
        """Spans that begin with waking, and open ones whose resources sleep."""
        self._held: list[Supply] = []
        self._may_sleep: list[Supply] = []
        """The resources of windows that sleep at all."""
        self._unsettled = False
        """Something has changed that decides which of these are told to be held."""

    # What others may ask.

    def sleeps(self, resource: str) -> bool:
        """Whether it is known to be asleep, and has not been woken."""
        supply = self._supplies[resource]
        return supply.state == "asleep"

    def waking_until_us(self, resource: str) -> int | None:
        """When a resource that is waking will be awake; None: it is not waking."""
        supply = self._supplies[resource]
        return supply.woken_us if supply.state == "waking" else None

    def used_until_us(self, resource: str) -> int | None:
        """Until when it was kept awake."""
        supply = self._supplies[resource]
        return supply.used_us

    def in_use(self, resource: str) -> bool:
        """Whether anything runs on it, or a span that is open, or a hold, keeps it awake."""
        return _in_use(self._supplies[resource])

    def held_until_us(self, resource: str) -> int | None:
        """Until when it is held for a later release; None: it is not."""
        return self._supplies[resource].held_until_us

    def awake_us(self, resource: str, wake_us: int, now_us: int) -> int:
        """When it would be awake, if it were woken now and took so long to wake."""
        supply = self._supplies[resource]
        self._sleep_if_lingered(supply, now_us)
        if supply.state == "asleep":
            return now_us + wake_us
        return max(now_us, supply.woken_us) if supply.state == "waking" else now_us

    def sleepers(self, linger_us: Sequence[tuple[str, int | None]], release_us: int) -> tuple[str, ...] | None:
        """Who sleeps at a release, where nothing runs; None where anything is being woken, held or kept awake.

        `linger_us`: how long each stays awake after its last use; None: for ever.
        """
        if self._held or self._may_sleep:
            return None
        for span in self._to_wake:
            if span.jobs:
                return None
        asleep = []
        for name, lingers_us in linger_us:
            supply = self._supplies[name]
            if supply.open or supply.state == "waking":
                return None
            if lingers_us is None:
                continue
            # As a release that finds others in flight sees it (`runtime.machine_now`).
            used_us = supply.used_us
            if supply.state == "asleep" or used_us is None or used_us + lingers_us <= release_us:
                asleep.append(name)
        return tuple(asleep)

    # Frames.

    def put_to_sleep(self, resources: Iterable[str]) -> None:
        """These are asleep now, as far as nothing needs them."""
        for name in resources:
            supply = self._supplies[name]
            if supply.state == "awake" and not _in_use(supply):
                supply.state = "asleep"

    def wake_alone(self, resource: str, at_us: int) -> None:
        """It was woken then, for a frame that had the machine to itself: it is awake by now."""
        supply = self._supplies[resource]
        supply.state = "awake"
        self._use(supply, at_us)

    def plan(self, frame: Frame, plan: Plan, only: Collection[Job] | None, now_us: int) -> None:
        """Take the spans of a frame's plan, for those of its uses that are among `only` (None: all). They leave other
        spans."""
        for name, linger_us in plan.linger_us.items():
            if name in self._supplies:
                self._supplies[name].linger_us = linger_us
                self._supplies[name].is_windowed = True
        if plan.linger_us:
            self._may_sleep = [one for one in self._supplies.values() if one.linger_us is not None]
        self._unsettled = True
        uses = None if only is None else {job.use for job in only}
        for planned in plan.spans:
            here = {use: frame.job(use) for use in planned.uses if uses is None or use in uses}
            if here and planned.resource in self._supplies:
                self._begin(FrameSpan(frame, self._supplies[planned.resource], here, planned), planned, now_us)

    def move(self, job: Job, resource: str, now_us: int) -> None:
        """A job goes to a resource it was not planned on, which is woken for it at once."""
        self.leave(job, now_us)
        self._sleep_if_lingered(self._supplies[resource], now_us)
        span = FrameSpan(job.frame, self._supplies[resource], {job.use: job}, due_us=now_us)
        job.span = span
        job.frame.spans.append(span)
        self._open_up(span, now_us)
        self._wake(job.frame, span.supply, now_us)

    def leave(self, job: Job, now_us: int) -> None:
        """A job is over, or goes elsewhere; the last one closes its span."""
        span, job.span = job.span, None
        if span is None:
            return
        del span.jobs[job.use]
        if not span.jobs:
            self._close(span, now_us)

    def hold_anew(self, frame: Frame, holds: Collection[PlannedHold], now_us: int) -> None:
        """Another frame is admitted: what its plan neither uses nor holds is held no longer."""
        kept = {planned.resource for planned in holds}
        held, self._held = self._held, []
        for supply in held:
            supply.held_until_us = None
            if supply.resource not in kept:
                self._sleep_if_lingered(supply, now_us)
        for planned in holds:
            self._hold(frame, planned, now_us)

    def lose(self, resource: str) -> None:
        """A processor is gone: nothing is held there."""
        self._unsettled = True
        self._supplies[resource].held_until_us = None
        self._held = [supply for supply in self._held if supply.resource != resource]

    # What happens.

    def woken(self, resource: str, at_us: int) -> None:
        """It is awake."""
        supply = self._supplies[resource]
        supply.state = "awake"
        if supply.is_windowed:
            self._use(supply, at_us)

    def use(self, resource: str, at_us: int) -> None:
        """Something used it until then."""
        self._use(self._supplies[resource], at_us)

    def may_start(self, job: Job, now_us: int) -> bool:
        """Whether what a job runs on is awake for it; if its span is open and it sleeps, it is woken."""
        span = job.span
        if span is None:
            return True
        if not span.is_open:
            return False
        supply = span.supply
        if supply.state == "asleep":
            self._wake(span.frame, supply, now_us)
        return supply.state == "awake"

    def advance(self, now_us: int) -> None:
        """Wake what it is time to wake, and end the holds whose time has come."""
        for supply in tuple(self._held):
            if supply.held_until_us is None or supply.held_until_us <= now_us:
                self._held.remove(supply)
                self._unsettled = True
                supply.held_until_us = None
                self._sleep_if_lingered(supply, now_us)
        if self._to_wake:
            self._to_wake = [span for span in self._to_wake if not self._wake_due(span, now_us)]

    def settle(self) -> None:
        """Say who is held and who is not, when all that happens now has happened."""
        if not self._unsettled:
            return
        self._unsettled = False
        for supply in self._may_sleep:
            if supply.held_until_us is None and not _is_windowed(supply):
                if supply.is_told:
                    supply.is_told = False
                    self._tell(Release(supply.resource))
            elif not supply.is_told and supply.state == "awake" and not supply.is_busy():
                supply.is_told = True
                self._tell(Hold(supply.resource))

    # Inside.

    def _use(self, supply: Supply, at_us: int) -> None:
        self._unsettled = self._unsettled or supply.linger_us is not None
        if supply.state != "asleep" and (supply.used_us is None or supply.used_us < at_us):
            supply.used_us = at_us

    def _begin(self, span: FrameSpan, planned: PlannedSpan, now_us: int) -> None:
        frame, supply = span.frame, span.supply
        if planned.held_until_us is not None:
            span.hold_until_us = frame.release_us + planned.held_until_us
        for job in span.jobs.values():
            if job.span is not None:
                self.leave(job, now_us)
            job.span = span
        frame.spans.append(span)
        for wait in planned.waits.values():
            frame.gates.update(wait.gates)
        if planned.wakes:
            self._to_wake.append(span)
            return
        begins_us = frame.release_us + planned.from_us
        first_us = frame.release_us + next(iter(planned.uses.values()))
        span.due_us = max(begins_us, first_us - frame.plan.wake_us[supply.resource])
        self._open_up(span, max(begins_us, now_us))  # Before, nothing kept it awake for this frame.
        if supply.state == "asleep":
            self._to_wake.append(span)
            self._remind(span.due_us)
        if not frame.windowed:
            self._use(supply, begins_us)

    def _open_up(self, span: FrameSpan, at_us: int) -> None:
        span.is_open = True
        span.supply.open.append(span)
        if span.supply.state != "asleep":
            span.from_us = at_us
        self._unsettled = True
        for lane in span.supply.lanes:
            self._touch(lane)

    def _wake(self, frame: Frame, supply: Supply, now_us: int) -> None:
        """Wake a resource for a frame if it sleeps."""
        if supply.state != "asleep":
            return
        latency_us = frame.plan.wake_us[supply.resource]
        supply.state = "waking"
        supply.woken_us = now_us + latency_us
        self._use(supply, now_us)
        frame.wakes.append((supply.resource, now_us))
        self._tell(Wake(frame.number, supply.resource, latency_us))
        for span in supply.open:
            span.from_us = now_us if span.from_us is None else span.from_us

    def _wake_due(self, span: FrameSpan, now_us: int) -> bool:
        """Wake a span's resource if it is time to and the span still has something to do; True if that is settled."""
        if not span.jobs or (span.is_open and span.supply.state != "asleep"):
            return True
        at_us = span.due_us if span.is_open or span.planned is None else self._opens_us(span, span.planned)
        if at_us is None or at_us > now_us:
            if at_us is not None:
                self._remind(at_us)
            return False
        if not span.is_open:
            self._count_wait(span)
            self._sleep_if_lingered(span.supply, now_us)
            self._open_up(span, now_us)
        self._wake(span.frame, span.supply, now_us)
        return True

    def _opens_us(self, span: FrameSpan, planned: PlannedSpan) -> int | None:
        """When a span that begins with waking opens, as far as is known now; None: when a gate has opened."""
        frame = span.frame
        latency_us = frame.plan.wake_us[planned.resource]
        found: int | None = None
        for use in span.jobs:
            at_us, wait = frame.release_us + planned.uses[use] - latency_us, planned.waits.get(use)
            if wait is not None and not has_decided(frame, wait.gates):
                latest_us = self._patience.latest_us(frame, wait)
                if latest_us is None:
                    continue
                at_us = max(at_us, latest_us)
            found = at_us if found is None else min(found, at_us)
        return None if found is None else max(found, frame.release_us + planned.from_us)

    def _count_wait(self, span: FrameSpan) -> None:
        """A span opens: count it where no gate of those that are waited for has opened."""
        waits = [span.planned.waits.get(use) if span.planned is not None else None for use in span.jobs]
        if all(wait is not None and not has_decided(span.frame, wait.gates) for wait in waits):
            span.frame.waits_given_up += 1

    def _close(self, span: FrameSpan, now_us: int) -> None:
        span.frame.spans.remove(span)
        if not span.is_open:
            return
        supply = span.supply
        supply.open.remove(span)
        self._unsettled = True
        if span.from_us is None:
            return
        hold_us = self._held_for(supply, span.hold_until_us, now_us)
        self._sleep_if_lingered(supply, now_us)
        until_us, used_us = max(now_us, span.from_us), span.from_us if supply.used_us is None else supply.used_us
        if supply.state == "waking":  # It wakes all the same, and then lingers.
            until_us, used_us = max(until_us, supply.woken_us), max(used_us, supply.woken_us)
        span.frame.awake.append(SpanRecord(supply.resource, span.from_us, until_us, used_us, hold_us))

    def _hold(self, frame: Frame, planned: PlannedHold, now_us: int) -> None:
        """Keep awake, or wake, what only a later release uses."""
        supply = self._supplies[planned.resource]
        if planned.wakes:
            self._wake(frame, supply, now_us)
        if supply.state == "asleep":
            return
        awake_us = max(now_us, supply.woken_us if supply.state == "waking" else 0)
        until_us = self._held_for(supply, frame.release_us + planned.until_us, awake_us)
        if until_us is not None or planned.wakes:
            used_us = now_us if supply.used_us is None else supply.used_us
            frame.awake.append(SpanRecord(supply.resource, now_us, awake_us, used_us, until_us))

    def _held_for(self, supply: Supply, until_us: int | None, awake_us: int) -> int | None:
        """Hold a resource from when it is awake until then; None where it need not be held for that."""
        if until_us is None or until_us <= awake_us or not _would_sleep(supply, until_us):
            return None
        if supply.held_until_us is None:
            self._held.append(supply)
        supply.held_until_us = max(until_us, supply.held_until_us or 0)
        self._unsettled = True
        self._remind(until_us)
        return until_us

    def _sleep_if_lingered(self, supply: Supply, now_us: int) -> None:
        """It has gone to sleep by itself if it has lingered, as far as it is known how long it does."""
        if supply.state == "awake" and not _in_use(supply) and _would_sleep(supply, now_us + 1):
            supply.state = "asleep"


def _in_use(supply: Supply) -> bool:
    return bool(supply.open) or supply.held_until_us is not None or supply.is_busy()


def _is_windowed(supply: Supply) -> bool:
    """Whether a span that is open is of a window's plan."""
    return any(span.frame.windowed for span in supply.open)


def _would_sleep(supply: Supply, at_us: int) -> bool:
    """Whether it will have lingered before then, if nothing uses it until then."""
    linger_us, used_us = supply.linger_us, supply.used_us
    return linger_us is not None and (used_us is None or used_us + linger_us < at_us)
