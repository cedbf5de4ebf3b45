"""Until when a server is waited for: as long as what is computed there can still be computed here, in time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from leo_runtime.dispatch.inflight import Stage

if TYPE_CHECKING:
    from leo_runtime.dispatch.plan import Plan, PlannedStage


RESERVE_PERCENT = 10
"""Of what is computed here, in case it takes longer than planned."""


def latest_us(plan: Plan, due_us: Mapping[str, int], remote: Collection[str]) -> dict[str, int]:
    """Of a plan, by stage, when what it reads from servers has to be here; of one that is due and runs on a server,
    when it has to have ended. Later it would be late if all of it were then computed here, each stage in its fastest
    mode.

    Stages that the plan itself has later than that have none, nor have those that could not be computed here: there is
    nothing to turn back to. Times are from the release, as those in `due_us`, of stages that are due.
    """
    stages = plan.stages
    here_us = {name: _here_us(stage, remote) for name, stage in stages.items()}
    end_us: dict[str, int] = {}
    """When each has to have ended, of those that a deadline hangs on."""
    for name, stage in reversed(tuple(stages.items())):
        limits = [due_us[name]] if name in due_us else []
        for reader in stage.readers:
            lasts_us = here_us.get(reader)
            if reader in end_us and lasts_us is not None:
                limits.append(end_us[reader] - lasts_us)
        if limits:
            end_us[name] = min(limits)
    away_us: dict[str, int | None] = {}
    """How long it takes here to have what each stage on a server gives, all that it needs from there included."""
    found: dict[str, int] = {}
    for name, stage in stages.items():
        there = [away_us[read] for read in stage.waits if read in away_us]
        before_us = None if None in there else max([us for us in there if us is not None], default=0)
        lasts_us = here_us[name]
        is_remote = stage.resource in remote
        if is_remote:
            away_us[name] = None if before_us is None or lasts_us is None else before_us + lasts_us
        if name not in end_us or before_us is None or lasts_us is None:
            continue
        if is_remote and name in due_us and not any(reader in stages for reader in stage.readers):
            at_us, planned_us = end_us[name] - before_us - lasts_us, stage.end_us
        elif there and not is_remote:
            at_us, planned_us = end_us[name] - lasts_us - before_us, stage.start_us
        else:
            continue
        if at_us >= planned_us:
            found[name] = at_us
    return found


def _here_us(stage: PlannedStage, remote: Collection[str]) -> int | None:
    """How long a stage takes on this side, with what is kept free; as planned where it is planned here."""
    lasts_us: int | None = stage.duration_us
    if stage.resource in remote:
        lasts_us = min([mode.duration_us for mode in stage.others if mode.resource not in remote], default=None)
    return None if lasts_us is None else lasts_us + lasts_us * RESERVE_PERCENT // 100


def awaited(stage: Stage, remote: Collection[str]) -> list[Stage]:
    """What is not here yet of what a stage is to have from servers: itself, where it is to run on one."""
    if stage.state in ("waiting", "running") and stage.resource in remote:
        return [stage]
    if stage.state != "waiting":
        return []
    frame, found = stage.frame, []
    for name in stage.planned.waits:
        source, send = frame.stages[name], frame.sends.get((name, stage.resource))
        is_over = source.state in ("cancelled", "failed") or (send is not None and send.state == "arrived")
        if source.resource in remote and not is_over:
            found.append(source)
    return found
