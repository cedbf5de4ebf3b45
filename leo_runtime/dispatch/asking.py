"""Asks an event-driven policy: what is ready, how it could run, and whether what the policy says is one of these.

It decides nothing and starts nothing: `dispatcher` does, as the policy says.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from operator import index
from pathlib import Path
from types import MappingProxyType

from leo_runtime.dispatch.inflight import OVER, Frame, Lane, Stage
from leo_runtime.dispatch.reach import NOTHING_CUT, Cut, could_run
from leo_runtime.documents.problem import Link, Mode
from leo_runtime.errors import SolverError, words
from leo_runtime.frame.event_driven import WRONG, Answer, EventPolicy, GiveUp, Moment, Option, Ready, Start

ONE = 1_000_000
FINE = 1_000
"""Expected durations are kept in so many parts of a microsecond, lest rounding makes them ever shorter."""

UNDER_WAY = ("waiting", "sending", "travelling")
"""What a transfer is that will arrive."""

Target = tuple[str, str, str]
"""A mode by processor, stage of the workload, and variant."""


class Machine:
    """What a stage finds now. Times are on the run's clock."""

    __slots__ = ("aside", "awake_us", "cut", "free_us", "lost", "now_us")

    def __init__(
        self,
        now_us: int,
        free_us: Mapping[str, tuple[int, ...]],
        awake_us: Callable[[str, int], int],
        lost: Collection[str],
        aside: Collection[Target],
        cut: Cut = NOTHING_CUT,
    ) -> None:
        """`awake_us` says when a resource would be awake that takes so long to wake; `aside` is out of service, `cut`
        cannot be had."""
        self.now_us = now_us
        self.free_us = MappingProxyType(free_us)  # The policy is told of it, and is to change nothing.
        self.awake_us = awake_us
        self.lost = lost
        self.aside = aside
        self.cut = cut


class Asking:
    """A policy and the stages that it has to decide about. For one thread at a time."""

    def __init__(self, policy: EventPolicy) -> None:
        """Nothing has happened yet. Raises `SolverError` where there is none to be asked."""
        self.name = policy.name
        self.undecided: list[Stage] = []
        """What may become ready, in the order of the frames; also what has ended since without it."""
        try:
            self._decide = policy.make()
        except Exception as error:  # Foreign code: whatever it raises means that it cannot be used.
            raise SolverError(
                f"{WRONG}`{policy.name}` cannot be made for a run: it raised {_raised(error)}",
                hint="a class that is decorated is called without arguments",
            ) from error
        self._learns_ppm = policy.learns_ppm
        self._lasts: dict[Target, int] = {}
        """How long runs are expected to last, in parts of a microsecond, where that is not what the profile says."""
        self._since_us: dict[tuple[int, str], int] = {}
        """When stages became ready, by frame and stage."""

    def observe(self, stage: Stage, lasted_us: int) -> None:
        """A stage has run to its end."""
        if self._learns_ppm:
            mode = stage.in_mode(stage.mode)
            expected = self._lasts.get(mode, FINE * stage.duration_us)
            self._lasts[mode] = expected + (FINE * lasted_us - expected) * self._learns_ppm // ONE

    def keep(self, known: Callable[[Target], bool]) -> None:
        """Another workload has taken over: of modes that are not `known`, what they lasted is forgotten."""
        self._lasts = {mode: lasts for mode, lasts in self._lasts.items() if known(mode)}

    def ready(self, now_us: int) -> list[Stage]:
        """The stages that could run, what has been ready for longest first."""
        self.undecided = [stage for stage in self.undecided if stage.state == "waiting" and not stage.resource]
        found = [stage for stage in self.undecided if _is_ready(stage, now_us)]
        known, self._since_us = self._since_us, {}
        for stage in found:
            key = (stage.frame.number, stage.name)
            self._since_us[key] = known.get(key, now_us)
        return sorted(found, key=lambda stage: self._since_us[stage.frame.number, stage.name])

    def told(self, stage: Stage, machine: Machine) -> Ready | None:
        """What the policy is told of a stage that is ready; None: nothing that is there could run it."""
        frame = stage.frame
        outlook = frame.plan.undecided[stage.name]
        modes = [
            mode
            for mode in outlook.modes
            if could_run(stage, mode, machine.lost, machine.cut) and _can_be_read(stage, mode)
        ]
        well = [mode for mode in modes if stage.in_mode(mode) not in machine.aside] if machine.aside else modes
        if not modes:
            return None
        release_us = frame.release_us
        return Ready(
            frame=frame.number,
            stage=stage.name,
            ready_us=self._since_us[frame.number, stage.name],
            release_us=release_us,
            due_us=None if outlook.due_us is None else release_us + outlook.due_us,
            end_by_us=None if outlook.end_by_us is None else release_us + outlook.end_by_us,
            after_us=outlook.after_us,
            options=tuple([self._option(stage, mode, machine) for mode in well or modes]),
        )

    def ask(self, moment: Moment) -> Answer:
        """What the policy says. Of what it does wrong it is as if it gave up the stage, and `why` says what that is."""
        try:
            return self._checked(self._decide(moment), moment)
        except Exception as error:  # Foreign code, as what it gives may be: whatever is raised means it has no answer.
            return self._wrong(moment.ready[0], f"raised {_raised(error)}")

    def _checked(self, answer: object, moment: Moment) -> Answer:
        """The same as what the moment had, so that nothing of the policy's own is gone by."""
        if answer is None:
            return None
        if not isinstance(answer, Start | GiveUp):
            gave = f"gave a {type(answer).__name__}, which is no Start, no GiveUp and not None"
            return self._wrong(moment.ready[0], gave)
        stage = answer.stage
        if not isinstance(stage, Ready) or stage not in moment.ready:
            named = f"`{stage.stage}` of frame {stage.frame}" if isinstance(stage, Ready) else type(stage).__name__
            return self._wrong(moment.ready[0], f"decided about {named}, which is not among what is ready")
        if isinstance(answer, GiveUp):
            return GiveUp(stage, f"given up by the policy `{self.name}`: {answer.why}")
        one = answer.option
        chosen = _chosen(one, stage, moment)
        if chosen is not None:
            return Start(stage, chosen)
        is_option = isinstance(one, Option) and isinstance(one.mode, Mode)
        where = f"`{one.resource}`, lane {one.lane}," if is_option else _kind(one)
        there = ", ".join(dict.fromkeys(f"`{option.resource}`" for option in stage.options))
        return self._wrong(
            stage, f"chose {where} for stage `{stage.stage}` of frame {stage.frame}, which could run on {there}"
        )

    def goes_on(self, lanes: Iterable[Lane], frames: Iterable[Frame], now_us: int) -> bool:
        """Whether anything will happen by itself."""
        return (
            any(lane.busy is not None or lane.given_up is not None or len(lane.queue) > 0 for lane in lanes)
            or any(send.state in UNDER_WAY for frame in frames for send in frame.sends.values())
            or any(stage.release_us > now_us for stage in self.undecided)
        )

    def left(self, stage: Ready) -> GiveUp:
        """What comes of a stage that waits though nothing runs any more."""
        return self._wrong(stage, "lets it wait though nothing runs any more")

    def _wrong(self, stage: Ready, what: str) -> GiveUp:
        return GiveUp(stage, f"{WRONG}`{self.name}` {what}")

    def _option(self, stage: Stage, mode: Mode, machine: Machine) -> Option:
        plan, target, now_us = stage.frame.plan, mode.resource, machine.now_us
        lanes_us = machine.free_us[target]
        free_us = min(lanes_us)
        start_us = max(free_us, machine.awake_us(target, plan.wake_us[target]))
        for name in stage.planned.waits:
            source = stage.frame.stages[name]
            send = stage.frame.sends.get((name, target))
            if source.state == "done" and source.resource != target and (send is None or send.state != "arrived"):
                start_us = max(start_us, _there_us(source, plan.links[source.resource, target], machine))
        lasts = self._lasts.get(stage.in_mode(mode), FINE * mode.duration_us)
        return Option(mode, lanes_us.index(free_us), max(1, lasts // FINE), max(free_us, now_us), start_us)


def _is_ready(stage: Stage, now_us: int) -> bool:
    stages = stage.frame.stages
    return now_us >= stage.release_us and all(stages[name].state in OVER for name in stage.planned.waits)


def _can_be_read(stage: Stage, mode: Mode) -> bool:
    """Whether each reader, about which nobody has decided either, could get its output."""
    plan, here = stage.frame.plan, mode.resource
    return all(
        any(one.resource == here or (here, one.resource) in plan.links for one in plan.undecided[name].modes)
        for name in stage.planned.readers
        if stage.frame.stages[name].state == "waiting"
    )


def _there_us(source: Stage, link: Link, machine: Machine) -> int:
    """When an output would be at the end of a link."""
    sent_us = machine.now_us if link.resource is None else min(machine.free_us[link.resource])
    return sent_us + link.sending_us(source.mode.output_bytes) + link.latency_us


def _chosen(option: object, stage: Ready, moment: Moment) -> Option | None:
    """The option of a stage that is meant, on the lane that is meant; None: there is no such option, or lane."""
    if not isinstance(option, Option) or not isinstance(option.mode, Mode):
        return None
    try:
        lane = index(option.lane)
    except TypeError:
        return None
    one = next((one for one in stage.options if one.mode == option.mode), None)
    if one is None or lane not in range(len(moment.free_us[one.resource])):
        return None
    free_us = moment.free_us[one.resource][lane]
    return replace(one, lane=lane, free_us=max(free_us, moment.time_us), start_us=max(free_us, one.start_us))


def _kind(value: object) -> str:
    """What it is, with its article."""
    return "an Option of no mode" if isinstance(value, Option) else f"a {type(value).__name__}"


def _raised(error: Exception) -> str:
    """What was raised, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{words(error)} ({Path(last.filename).name}:{last.lineno})"
