"""The event-driven policies that ship: those of Band, a runtime for several networks on one phone.

After Jeong and others, "Band: coordinated multi-DNN inference on heterogeneous mobile processors" (MobiSys 2022), and
the schedulers that its authors publish (github.com/mrsnu/band, `band/scheduler`). What is the same for all, and where
ours differ from theirs:

- Theirs place a network, or the next piece of one that was cut beforehand into what each processor supports; ours place
  a stage. Where theirs look for the shortest way through what is left of a network, ours add the longest path of what
  follows, each in its fastest mode and without transfers.
- A worker of theirs is a lane of ours; a processor of several lanes runs as much side by side. What is sent between
  processors, and waking up, is part of when a stage would end here.
- Expected durations follow what runs lasted with a factor of 0.1, as theirs do.
- Their queues are looked at as far as a window reaches; ours whole.
- What has not begun by its last deadline is given up by the runtime, whoever places. Theirs run it all the same, but
  for `LeastSlackFirst`, which gives it up as soon as it could not be in time; so does `least-slack`.

Their `FixedWorker` is the policy `prefer:PROCESSOR`: each stage has its processor, whatever happens.
"""

from __future__ import annotations

from collections.abc import Mapping

from leo_runtime.frame.event_driven import Answer, Decide, EventPolicy, GiveUp, Moment, Option, Ready, Start

FACTOR_PPM = 100_000
"""How much of what an expected duration was off is taken over with each run."""


def least_slack(now: Moment) -> Answer:
    """What has the least time left beyond what it takes goes first, to where it ends first, if a lane is idle there.

    The others wait; what could be in time nowhere is given up. As Band's `LeastSlackFirst`.
    """
    found = [(stage, _first_end(stage)) for stage in now.ready]
    urgent = sorted(found, key=lambda one: _slack_us(*one))
    for stage, best in urgent:
        if _slack_us(stage, best) < 0:
            return GiveUp(stage)
        if _is_idle(best, now):
            return Start(stage, best)
    return None


def event_heft(now: Moment) -> Answer:
    """What takes longest to the end of its frame goes first, to where it ends first, if a lane is idle there.

    If none is it waits, and counts as the next work of that processor for what is looked at after it. As Band's `HEFT`
    without `reserve`: HEFT's order (Topcuoglu and others, 2002), of what is ready alone.
    """
    left, later_us = list(now.ready), dict.fromkeys(now.free_us, 0)
    while left:
        found = [(stage, _first_end(stage, later_us)) for stage in left]
        stage, best = max(found, key=lambda one: _end_us(one[1], later_us) + one[0].after_us)
        if _is_idle(best, now):
            return Start(stage, best)
        later_us[best.resource] += best.expected_us
        left.remove(stage)
    return None


def round_robin(now: Moment) -> Answer:
    """Each processor that has an idle lane, in the order of the machine, takes what is ready for longest and fits it.

    As Band's `RoundRobin`.
    """
    for resource in now.free_us:
        for stage in now.ready:
            for option in stage.options:
                if option.resource == resource and _is_idle(option, now):
                    return Start(stage, option)
    return None


def shortest_expected_latency(now: Moment) -> Answer:
    """Everything goes at once to the queue of the lane where it ends first, what takes longest to its end before.

    As Band's `ShortestExpectedLatency`.
    """
    found = [(stage, _first_end(stage)) for stage in now.ready]
    stage, best = max(found, key=lambda one: one[1].end_us + one[0].after_us)
    return Start(stage, best)


def _policy(name: str, decide: Decide) -> EventPolicy:
    def make() -> Decide:
        return decide

    return EventPolicy(name, make, FACTOR_PPM)


EVENT_POLICIES: Mapping[str, EventPolicy] = {
    policy.name: policy
    for policy in (
        _policy("least-slack", least_slack),
        _policy("event-heft", event_heft),
        _policy("round-robin", round_robin),
        _policy("shortest-expected-latency", shortest_expected_latency),
    )
}
"""By name. `event-heft` is not the solver `heft`, which plans a whole frame."""


def _first_end(stage: Ready, later_us: Mapping[str, int] | None = None) -> Option:
    """The first of the options that end first; `later_us` is what else each processor has to do before."""
    return min(stage.options, key=lambda option: _end_us(option, later_us or {}))


def _end_us(option: Option, later_us: Mapping[str, int]) -> int:
    return option.end_us + later_us.get(option.resource, 0)


def _slack_us(stage: Ready, best: Option) -> float:
    """How much earlier than it has to it would end; what has no deadline is never urgent."""
    return float("inf") if stage.end_by_us is None else stage.end_by_us - best.end_us


def _is_idle(option: Option, now: Moment) -> bool:
    return option.free_us <= now.time_us
