"""Where a stage could run, and whether what it reads can be had there, also when links are down or a server is gone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field
from typing import TYPE_CHECKING

from leo_runtime.dispatch.inflight import Stage
from leo_runtime.dispatch.links import Ends
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.documents.problem import Mode

ON_ITS_WAY = ("sending", "travelling", "arrived")
"""What a transfer is whose output is at its target, or will be."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What cannot be had now."""

    links: Collection[Ends] = field(default=())
    """Those that are not used."""
    remote: Collection[str] = field(default=())
    """All processors that are servers: what is placed there comes back over a link."""
    shunned: Collection[str] = field(default=())
    """Those that are not waited for any longer: nothing goes there, and what is there counts as lost."""


NOTHING_CUT = Cut()


def could_run(stage: Stage, mode: Mode, lost: Collection[str], cut: Cut = NOTHING_CUT) -> bool:
    """Whether a stage could move there: what it reads can be had, its readers can be reached, and budgets hold."""
    frame, target = stage.frame, mode.resource
    if target in lost or target == stage.resource or target in cut.shunned:
        return False
    cap = frame.plan.caps.get(target)
    held = sum(other.mode.memory_bytes for other in frame.stages.values() if other.resource == target)
    if cap is not None and held + mode.memory_bytes > cap:
        return False
    for budget in frame.plan.budgets:
        lost_ppm = sum(frame.stages[name].mode.accuracy_loss_ppm for name in budget.stages if name != stage.name)
        if stage.name in budget.stages and lost_ppm + mode.accuracy_loss_ppm > budget.loss_ppm_max:
            return False
    inputs = (frame.stages[name] for name in stage.planned.waits)
    readers = (frame.stages[name] for name in stage.planned.readers)
    return all(can_be_had(one, target, cut) for one in inputs) and all(
        _can_reach(target, one, cut)
        for one in readers
        if one.state == "waiting" and one.resource and one.resource not in lost
    )


def _can_reach(here: str, reader: Stage, cut: Cut) -> bool:
    """Whether a reader could have what is computed here. One whose processor is lost will move as well, or fail: its
    place does not matter, as that of one on a server that cannot be reached. One of which nobody has decided has none.
    """
    there = reader.resource
    if there == here:
        return True
    if (here, there) not in reader.frame.plan.links:
        return False
    return (here, there) not in cut.links or there in cut.remote


def can_be_had(source: Stage, target: str, cut: Cut) -> bool:
    """Whether an output is on that processor, or can get there; of what is to run elsewhere, from where it runs now."""
    if source.state in ("cancelled", "failed"):
        return True  # There is none to be had.
    send = source.frame.sends.get((source.name, target))
    if send is not None and send.state in ON_ITS_WAY and (send.state == "arrived" or not cut.shunned):
        return True
    if source.is_gone or (source.resource in cut.shunned and source.resource != target):
        return False
    here, ends = source.resource, (source.resource, target)
    return here == target or (ends in source.frame.plan.links and ends not in cut.links)


def lacking(stage: Stage, cut: Cut) -> list[Stage]:
    """What a stage waits for, and will never have where it is to run."""
    stages = stage.frame.stages
    found = [stages[name] for name in stage.planned.waits]
    return [one for one in found if one.resource and not can_be_had(one, stage.resource, cut)]


def stuck(stage: Stage, lost: Collection[str], cut: Cut) -> list[Stage]:
    """What a stage waits for that can be had on no other processor that could run the stage."""
    stages = stage.frame.stages
    places = {mode.resource for mode in stage.planned.others} - set(lost)
    if not stage.resource:  # Nobody has decided about it.
        places.add(stage.planned.resource)
    places -= {stage.resource, *cut.shunned}
    found = [stages[name] for name in stage.planned.waits]
    return [
        one for one in found if places and one.resource and not any(can_be_had(one, place, cut) for place in places)
    ]
