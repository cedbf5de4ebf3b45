"""What a frame in flight has left to do, for the question that places it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leo_runtime.dispatch.inflight import Frame, Stage, expected_end_us
from leo_runtime.frame.window import There
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A frame of which stages wait that may be placed again. Times are from the release of the question."""

    frame: int
    release_us: int
    waiting: tuple[str, ...]
    """Merged stages that have not started, inputs before their readers."""
    there: tuple[There, ...]
    """What they read, and the gates that they wait for."""
    closed: tuple[str, ...]
    """Of these gates those that have closed: others may still open."""
    lost_ppm: Mapping[str, int]
    """What each stage that does not wait loses in accuracy."""


def left_over(frame: Frame, release_us: int, now_us: int) -> LeftOver | None:
    """None where nothing waits; where a stage has moved or a run has failed, since its plan does not hold any more; and
    of a batch, which is placed once."""
    waiting = [stage for stage in frame.stages.values() if stage.state == "waiting"]
    whole = all(job.frames == (0,) and job.stage == name for name, job in frame.plan.jobs.items())
    if not waiting or not whole or frame.past or any(stage.moved for stage in frame.stages.values()):
        return None
    names = dict.fromkeys(name for stage in waiting for name in stage.planned.waits)
    read = [frame.stages[name] for name in names if frame.stages[name].state in ("running", "done")]
    gates = {name for stage in waiting for name in stage.planned.needs.gates}
    return LeftOver(
        frame.number,
        frame.release_us - release_us,
        tuple(stage.name for stage in waiting),
        tuple(_there(stage, release_us, now_us) for stage in read),
        tuple(stage.name for stage in read if stage.name in gates and stage.state == "done" and not stage.opened),
        {stage.name: stage.mode.accuracy_loss_ppm for stage in frame.stages.values() if stage.state != "waiting"},
    )


def latest(left: Sequence[LeftOver], most_stages: int) -> tuple[LeftOver, ...]:
    """The first ones, of which no more stages wait than this together; `left` has the latest frame first.

    What waits of the other frames stays where it is: where many are in flight, a question of all would be of any size,
    and new for every release.
    """
    kept: list[LeftOver] = []
    stages = 0
    for one in left:
        stages += len(one.waiting)
        if stages > most_stages:
            break
        kept.append(one)
    return tuple(kept)


def _there(stage: Stage, release_us: int, now_us: int) -> There:
    """An output that nobody decides about any more: where it is, and when it is there on all of these processors."""
    at_us = 0 if stage.state == "done" else expected_end_us(stage.start_us + stage.lasts_us(), now_us) - release_us
    places = [stage.resource]
    for send in stage.frame.sends.values():
        if send.stage is stage and send.state in ("sending", "travelling", "arrived"):
            places.append(send.link.target)
            if send.state != "arrived":
                arrives_us = send.start_us + send.lasts_us() + send.link.latency_us
                at_us = max(at_us, expected_end_us(arrives_us, now_us) - release_us)
    places = list(dict.fromkeys(places))
    return There(stage.name, tuple(places), max(0, at_us), stage.mode.output_bytes, decides=stage.state == "running")
