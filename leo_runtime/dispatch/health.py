"""What is out of service without anybody having said so, and when it is tried again.

A mode whose kernel hangs is set aside; so is a processor whose device is gone, or on which nothing ends any more. What
is set aside is probed as soon as `back_off` says, and each time in vain it waits for longer. What is set aside again
soon after it came back is waited for as before. A kernel that hung and has returned says that the fault is over: what
waits for that is probed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from leo_runtime.back_off import LONGEST_WAIT_US, wait_us
from leo_runtime.dispatch.events import Probe
from leo_runtime.frozen import dataclass

MOST_ABANDONED = 8
"""While so many runs hang on a processor, no mode of it is probed that could hang again: each keeps a thread."""
STAGES_HUNG = 2
"""A processor is lost when the kernels of so many stages hang there one after the other, and nothing ended between."""

Target = tuple[str, str, str]
"""What is set aside: a processor, a stage of the workload and its variant; of a whole processor the others are ""."""


@dataclass(slots=True)
class Tally:
    """What happened to one processor so far."""

    given_up: int = 0
    """Runs that did not end within their limit."""
    abandoned: int = 0
    """Of these, those that still hang."""
    renewed: int = 0
    """Lanes that went on without them."""
    probes: int = 0
    """How often it, or a mode of it, was tried."""
    last_reason: str = ""
    """Why anything was set aside the last time."""
    hung: set[str] = field(default_factory=set)
    """The stages that hung there since something ended."""


@dataclass(slots=True)
class _Aside:
    """Something that is set aside."""

    why: str
    probe: int | None = None
    """The number of the probe that is awaited."""


class Health:
    """What is set aside, and what happened to each processor."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.aside: dict[Target, _Aside] = {}
        self._tries: dict[Target, tuple[int, int]] = {}
        """How often each was probed in vain in a row, and when it last came back."""
        self._number = 0

    def of(self, resource: str) -> Tally:
        """What happened to a processor."""
        return self.tallies.setdefault(resource, Tally())

    def set_aside(self, target: Target, why: str, now_us: int) -> list[Probe]:
        """It is out of service: when to try it again."""
        self.of(target[0]).last_reason = why
        if target in self.aside:
            return []
        self.aside[target] = _Aside(why)
        tries, back_us = self._tries.get(target, (0, 0))
        if tries and now_us - back_us > LONGEST_WAIT_US:
            self._tries[target] = 0, 0
        return self._probe(target, now_us + self._wait_us(target))

    def forget(self, resource: str) -> None:
        """Somebody says how a processor is: nothing of it is probed any more."""
        for target in [target for target in self.aside if target[0] == resource]:
            del self.aside[target]
            self._tries.pop(target, None)
        self.of(resource).hung.clear()

    def change(self, known: Callable[[Target], bool]) -> None:
        """Another workload runs from now on: modes that are not `known` are new, whatever had their names."""
        for target in [target for target in self.aside if target[1] and not known(target)]:
            del self.aside[target]
        self._tries = {target: tries for target, tries in self._tries.items() if not target[1] or known(target)}

    def awaits(self, target: Target, number: int) -> bool:
        """Whether that probe is still of use."""
        return target in self.aside and self.aside[target].probe == number

    def probed(self, target: Target, error: str, now_us: int) -> list[Probe]:
        """The probe that was awaited has ended. Without an error it is in service again; otherwise, when to try it."""
        tally = self.of(target[0])
        tally.probes += 1
        tries, _ = self._tries.get(target, (0, 0))
        self._tries[target] = tries + 1, now_us
        if not error:
            del self.aside[target]
            tally.hung.clear()
            return []
        self.aside[target].why = tally.last_reason = error
        return self._probe(target, now_us + self._wait_us(target))

    def returned(self, target: Target, now_us: int) -> list[Probe]:
        """A kernel that hung is back: when to try what waits for that."""
        self.of(target[0]).abandoned -= 1
        self._tries.pop(target, None)
        if target in self.aside:
            self.aside[target].probe = None
        waiting = [key for key, aside in self.aside.items() if key[0] == target[0] and aside.probe is None]
        return [probe for key in waiting for probe in self._probe(key, now_us)]

    def _wait_us(self, target: Target) -> int:
        tries, _ = self._tries.get(target, (0, 0))
        return wait_us(tries)

    def _probe(self, target: Target, at_us: int) -> list[Probe]:
        resource, stage, variant = target
        if stage and self.of(resource).abandoned >= MOST_ABANDONED:
            self.aside[target].probe = None
            return []
        self._number += 1
        self.aside[target].probe = self._number
        return [Probe(at_us, resource, stage, variant, self._number)]
