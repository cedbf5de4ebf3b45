"""How long something waits for gates: until what hangs on it could be late.

A transfer or wake-up with a list goes on as soon as a gate of it has opened, and never if all have closed. A gate that
is late is waited for as long as what hangs on it can still meet its deadlines, also if it takes somewhat longer than
planned (`window_plan.RESERVE_PERCENT`): with the last moment by the plan itself, some windows would miss deadlines that
they meet without lists. Then it goes on without the gate, as if it had no list, which is counted. Where that moment has
passed already, the wait is never begun.

As long as all runs have lasted just as planned, a gate is waited for until it is due, however little slack there is:
then waiting is known to be safe.
"""

from __future__ import annotations

from leo_runtime.dispatch.inflight import Frame, Stage, has_decided
from leo_runtime.dispatch.plan import Wait


class Patience:
    """Until when it is safe to wait, from how long runs have lasted so far."""

    def __init__(self) -> None:
        self._as_planned = True

    def see(self, stage: Stage) -> bool:
        """Take note of a run that has ended; whether that changes how long it is safe to wait."""
        if not self._as_planned:
            return False
        expected_us = stage.report.expected_us if stage.report is not None else None
        planned_us = stage.duration_us if expected_us is None else expected_us
        self._as_planned = stage.end_us - stage.start_us == planned_us
        return not self._as_planned

    def latest_us(self, frame: Frame, wait: Wait) -> int | None:
        """When to go on without the gates, on the run's clock; None: never."""
        if wait.latest_us is None:
            return None
        # At `due_us` itself a gate may still decide.
        on_time_us = wait.due_us + 1 if self._as_planned else 0
        return frame.release_us + max(wait.latest_us, on_time_us)

    def is_over(self, frame: Frame, wait: Wait, now_us: int) -> bool:
        """Whether there is nothing to wait for any more."""
        return has_decided(frame, wait.gates) or self.has_run_out(frame, wait, now_us)

    def has_run_out(self, frame: Frame, wait: Wait, now_us: int) -> bool:
        """Whether it cannot be waited any longer."""
        latest_us = self.latest_us(frame, wait)
        return latest_us is not None and now_us >= latest_us
