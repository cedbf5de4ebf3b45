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

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal

from leo_runtime.dispatch.events import Hold, Instruction, Release, SpanRecord, Wake
from leo_runtime.dispatch.inflight import Frame, FrameSpan, Job, has_decided
from leo_runtime.dispatch.plan import Plan, PlannedHold, PlannedSpan, Use
from leo_runtime.dispatch.waits import Patience


class Power:
    """The resources of a dispatcher: which are awake, and what for."""

    def __init__(
        self,
        resources: Iterable[str],
        patience: Patience,
        *,
        is_busy: Callable[[str], bool],
        tell: Callable[[Instruction], None],
        remind: Callable[[int], None],
        used_us: Mapping[str, int],
    ) -> None:
        """`is_busy` says whether a lane of a resource is occupied; `tell` and `remind` take what is to be done."""
        self._patience = patience
        self._is_busy = is_busy
        self._tell = tell
        self._remind = remind
        self._state: dict[str, Literal["awake", "waking", "asleep"]] = dict.fromkeys(resources, "awake")
        self._used_us = dict(used_us)
        self._woken_us: dict[str, int] = {}
        self._linger_us: dict[str, int | None] = {}
        """Of the resources of windows."""
        self._open: dict[str, list[FrameSpan]] = {name: [] for name in self._state}
        self._to_wake: list[FrameSpan] = []
        """Spans that begin with waking, and open ones whose resources sleep."""
        self._held_until_us: dict[str, int] = {}
        self._may_sleep: tuple[str, ...] = ()
        """The resources of windows that sleep at all."""
        self._told: set[str] = set()
        """What was told to be held."""

    # What others may ask.

    def is_awake(self, resource: str) -> bool:
        """Whether something may start there."""
        return self._state[resource] == "awake"

    def sleeps(self, resource: str) -> bool:
        """Whether it is known to be asleep, and has not been woken."""
        return self._state[resource] == "asleep"

    def waking_until_us(self, resource: str) -> int | None:
        """When a resource that is waking will be awake; None: it is not waking."""
        return self._woken_us[resource] if self._state[resource] == "waking" else None

    def used_until_us(self, resource: str) -> int | None:
        """Until when it was kept awake."""
        return self._used_us.get(resource)

    def is_needed(self, resource: str) -> bool:
        """Whether a span that is open, or a hold, keeps it awake."""
        return bool(self._open[resource]) or resource in self._held_until_us

    def held_until_us(self, resource: str) -> int | None:
        """Until when it is held for a later release; None: it is not."""
        return self._held_until_us.get(resource)

    # Frames.

    def put_to_sleep(self, resources: Iterable[str]) -> None:
        """These are asleep now, as far as nothing needs them."""
        for name in resources:
            if self._state[name] == "awake" and not self.is_needed(name) and not self._is_busy(name):
                self._state[name] = "asleep"

    def plan(self, frame: Frame, plan: Plan, jobs: Iterable[Job], now_us: int) -> None:
        """Take the spans of a frame's plan, for those of its uses that are among `jobs`. They leave other spans."""
        if plan.linger_us:
            self._linger_us.update(plan.linger_us)
            self._may_sleep = tuple(name for name in self._state if self._linger_us.get(name) is not None)
        uses = {job.use: job for job in jobs}
        for planned in plan.spans:
            here = {use: uses[use] for use in planned.uses if use in uses}
            if here and planned.resource in self._state:
                self._begin(frame, planned, here, now_us)

    def move(self, job: Job, resource: str, now_us: int) -> None:
        """A job goes to a resource it was not planned on, which is woken for it at once."""
        self.leave(job, now_us)
        span = FrameSpan(job.frame, resource, due_us=now_us, jobs={job.use: job})
        job.span = span
        job.frame.spans.append(span)
        self._open_up(span, now_us)
        self.wake(job.frame, resource, now_us)

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
        for name in tuple(self._held_until_us):
            if name in kept:
                del self._held_until_us[name]
            else:
                self._end_hold(name, now_us)
        for planned in holds:
            self._hold(frame, planned, now_us)

    def lose(self, resource: str) -> None:
        """A processor is gone: nothing is held there."""
        self._held_until_us.pop(resource, None)

    # What happens.

    def woken(self, resource: str, at_us: int) -> None:
        """It is awake."""
        self._state[resource] = "awake"
        if resource in self._linger_us:
            self.use(resource, at_us)

    def use(self, resource: str, at_us: int) -> None:
        """Something used it until then."""
        if self._state[resource] != "asleep":
            self._used_us[resource] = max(self._used_us.get(resource, at_us), at_us)

    def may_start(self, job: Job, now_us: int) -> bool:
        """Whether what a job runs on is awake for it; if its span is open and it sleeps, it is woken."""
        span = job.span
        if span is None:
            return True
        if not span.is_open:
            return False
        self.wake(span.frame, span.resource, now_us)
        return self._state[span.resource] == "awake"

    def wake(self, frame: Frame, resource: str, now_us: int) -> None:
        """Wake a resource for a frame if it sleeps."""
        if self._state[resource] != "asleep":
            return
        latency_us = frame.plan.wake_us[resource]
        self._state[resource] = "waking"
        self._woken_us[resource] = now_us + latency_us
        self.use(resource, now_us)
        frame.wakes.append((resource, now_us))
        self._tell(Wake(frame.number, resource, latency_us))
        for span in self._open[resource]:
            span.from_us = now_us if span.from_us is None else span.from_us

    def advance(self, now_us: int) -> None:
        """Wake what it is time to wake, and end the holds whose time has come."""
        for name, until_us in tuple(self._held_until_us.items()):
            if until_us <= now_us:
                self._end_hold(name, now_us)
        self._to_wake = [span for span in self._to_wake if not self._wake_due(span, now_us)]

    def settle(self) -> None:
        """Say who is held and who is not, when all that happens now has happened."""
        for name in self._may_sleep:
            if not any(span.frame.windowed for span in self._open[name]) and name not in self._held_until_us:
                if name in self._told:
                    self._told.remove(name)
                    self._tell(Release(name))
            elif name not in self._told and self._state[name] == "awake" and not self._is_busy(name):
                self._told.add(name)
                self._tell(Hold(name))

    # Inside.

    def _begin(self, frame: Frame, planned: PlannedSpan, jobs: dict[Use, Job], now_us: int) -> None:
        starts_us = {use: frame.release_us + start_us for use, start_us in planned.uses.items()}
        begins_us = frame.release_us + planned.from_us
        first_us = next(iter(starts_us.values()))
        span = FrameSpan(
            frame,
            planned.resource,
            wakes=planned.wakes,
            begins_us=begins_us,
            due_us=None if planned.wakes else max(begins_us, first_us - frame.plan.wake_us[planned.resource]),
            starts_us=starts_us,
            waits=dict(planned.waits),
            hold_until_us=None if planned.held_until_us is None else frame.release_us + planned.held_until_us,
        )
        for job in jobs.values():
            self.leave(job, now_us)
            job.span = span
        span.jobs = jobs
        frame.spans.append(span)
        if planned.wakes:
            self._to_wake.append(span)
            return
        self._open_up(span, max(begins_us, now_us))  # Before, nothing kept it awake for this frame.
        if self._state[span.resource] == "asleep":
            self._to_wake.append(span)
            self._remind(span.due_us or 0)
        if not frame.windowed:
            self.use(span.resource, begins_us)

    def _open_up(self, span: FrameSpan, at_us: int) -> None:
        span.is_open = True
        self._open[span.resource].append(span)
        if self._state[span.resource] != "asleep":
            span.from_us = at_us

    def _wake_due(self, span: FrameSpan, now_us: int) -> bool:
        """Wake a span's resource if it is time to and the span still has something to do; True if that is settled."""
        if not span.jobs or (span.is_open and self._state[span.resource] != "asleep"):
            return True
        at_us = span.due_us if span.is_open else self._opens_us(span)
        if at_us is None or at_us > now_us:
            if at_us is not None:
                self._remind(at_us)
            return False
        if not span.is_open:
            self._count_wait(span)
            self._sleep_if_lingered(span.resource, now_us)
            self._open_up(span, now_us)
        self.wake(span.frame, span.resource, now_us)
        return True

    def _opens_us(self, span: FrameSpan) -> int | None:
        """When a span that begins with waking opens, as far as is known now; None: when a gate has opened."""
        latency_us = span.frame.plan.wake_us[span.resource]
        found = []
        for use in span.jobs:
            at_us, wait = span.starts_us[use] - latency_us, span.waits.get(use)
            if wait is not None and not has_decided(span.frame, wait.gates):
                latest_us = self._patience.latest_us(span.frame, wait)
                if latest_us is None:
                    continue
                at_us = max(at_us, latest_us)
            found.append(max(at_us, span.begins_us))
        return min(found, default=None)

    def _count_wait(self, span: FrameSpan) -> None:
        """A span opens: count it where no gate of those that are waited for has opened."""
        waits = [span.waits.get(use) for use in span.jobs]
        if all(wait is not None and not has_decided(span.frame, wait.gates) for wait in waits):
            span.frame.waits_given_up += 1

    def _close(self, span: FrameSpan, now_us: int) -> None:
        span.frame.spans.remove(span)
        if not span.is_open:
            return
        resource = span.resource
        self._open[resource].remove(span)
        if span.from_us is None:
            return
        hold_us = span.hold_until_us
        if hold_us is not None and (hold_us <= now_us or not self._would_sleep(resource, hold_us)):
            hold_us = None
        if hold_us is not None:
            self._held_until_us[resource] = max(hold_us, self._held_until_us.get(resource, 0))
            self._remind(hold_us)
        self._sleep_if_lingered(resource, now_us)
        until_us, used_us = max(now_us, span.from_us), self._used_us.get(resource, span.from_us)
        if (woken_us := self.waking_until_us(resource)) is not None:  # It wakes all the same, and then lingers.
            until_us, used_us = max(until_us, woken_us), max(used_us, woken_us)
        span.frame.awake.append(SpanRecord(resource, span.from_us, until_us, used_us, hold_us))

    def _hold(self, frame: Frame, planned: PlannedHold, now_us: int) -> None:
        """Keep awake, or wake, what only a later release uses."""
        resource = planned.resource
        if planned.wakes:
            self.wake(frame, resource, now_us)
        if self._state[resource] == "asleep":
            return
        awake_us = max(now_us, self.waking_until_us(resource) or 0)
        until_us: int | None = frame.release_us + planned.until_us
        if until_us is not None and (until_us <= awake_us or not self._would_sleep(resource, until_us)):
            until_us = None
        if until_us is not None:
            self._held_until_us[resource] = max(until_us, self._held_until_us.get(resource, 0))
            self._remind(until_us)
        if until_us is not None or planned.wakes:
            used_us = self._used_us.get(resource, now_us)
            frame.awake.append(SpanRecord(resource, now_us, awake_us, used_us, until_us))

    def _end_hold(self, resource: str, now_us: int) -> None:
        del self._held_until_us[resource]
        self._sleep_if_lingered(resource, now_us)

    def _would_sleep(self, resource: str, at_us: int) -> bool:
        """Whether it will have lingered before then, if nothing uses it until then."""
        linger_us, used_us = self._linger_us.get(resource), self._used_us.get(resource)
        return linger_us is not None and (used_us is None or used_us + linger_us < at_us)

    def _sleep_if_lingered(self, resource: str, now_us: int) -> None:
        """It has gone to sleep by itself if it has lingered, as far as it is known how long it does."""
        needed = self._state[resource] != "awake" or self.is_needed(resource) or self._is_busy(resource)
        if not needed and self._would_sleep(resource, now_us + 1):
            self._state[resource] = "asleep"
