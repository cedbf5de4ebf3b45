"""What a release finds on a machine: when lanes are free, who sleeps, and until when what is awake stays so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.frame.conditions import Conditions, LinkNow, MemoryFound, StateFound
from leo_runtime.frozen import dataclass, maker


@dataclass(frozen=True, slots=True)
class MachineNow:
    """A machine as a release finds it. Times are from the release."""

    ready_us: tuple[tuple[str, tuple[int, ...]], ...]
    """When each lane is free, of what has one that is busy."""
    asleep: tuple[str, ...]
    awake_until_us: tuple[tuple[str, int], ...]
    """Until when what may sleep, and does not, stays awake if nothing new uses it; where that is later than now."""

    def conditions(
        self,
        graphs: tuple[str, ...],
        links: Mapping[tuple[str, str], LinkNow],
        without: Collection[str],
        lost: tuple[str, ...],
        states: tuple[StateFound, ...],
        aside: tuple[tuple[str, str, str], ...] = (),
        memory: tuple[MemoryFound, ...] = (),
    ) -> Conditions:
        """What a frame of these graphs finds. What is in `without` is not used; `lost` are the processors of it."""
        ready = tuple([entry for entry in self.ready_us if entry[0] not in without]) if without else self.ready_us
        links_now = tuple(links.items())
        return Conditions(graphs, ready, self.asleep, links_now, lost=lost, states=states, aside=aside, memory=memory)

    def after(self, over_us: Mapping[str, int], lanes: Mapping[str, int]) -> MachineNow:
        """The same with nothing free before these times, of some resources with so many lanes."""
        ready = dict(self.ready_us)
        for name, at_us in over_us.items():
            ready[name] = tuple([max(at_us, free_us) for free_us in ready.get(name, (0,) * lanes[name])])
        return replace(self, ready_us=tuple(ready.items()))


_machine_now = maker(MachineNow)


def machine_now(
    dispatcher: Dispatcher,
    linger_us: Mapping[str, int | None],
    release_us: int,
    now_us: int,
    *,
    again: Collection[int] = (),
    waits_for_waking: bool = True,
) -> MachineNow:
    """Look at the dispatcher, which is locked meanwhile. What waits of the frames `again` is left out.

    `linger_us` of every processor and radio. A lane that is free now is free at 0: a frame that comes late is not
    planned late. With `waits_for_waking`, what is waking is free when it is awake.
    """
    ready: list[tuple[str, tuple[int, ...]]] = []
    asleep: list[str] = []
    awake: list[tuple[str, int]] = []
    for name, lingers_us in linger_us.items():
        lanes, woken_us, used_us, sleeps, in_use = dispatcher.standing(name, now_us, again)
        free_us = lanes
        if woken_us is not None and waits_for_waking:
            free_us = tuple([max(woken_us, at_us) for at_us in lanes])
        if max(free_us) > now_us:
            ready.append((name, tuple([at_us - release_us if at_us > now_us else 0 for at_us in free_us])))
        if lingers_us is None:
            continue
        # It has gone to sleep since its last use (`ledger.run_ledger` has the same rule).
        lingers = used_us is not None and used_us + lingers_us > release_us
        if sleeps or not (lingers or in_use):
            asleep.append(name)
            continue
        busy_us = max(lanes)
        if busy_us > now_us:
            until_us = busy_us + lingers_us
        else:
            until_us = max(0 if used_us is None else used_us + lingers_us, woken_us or 0)
        if until_us > release_us:
            awake.append((name, until_us - release_us))
    return _machine_now(tuple(ready), tuple(asleep), tuple(awake))
