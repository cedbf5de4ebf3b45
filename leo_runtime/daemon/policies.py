"""From the machine, what was counted and the time to how a runtime is to go on: pure functions, tested with numbers.

Each step takes what the last one remembered, and nothing turns back at the mark at which it turned: a battery that is
low is so until it is `BACK_PERCENT` above, a speed changes in plans where it is off by more than `STEP_PPM`, a graph
that is left out for power comes back where it fits with `ROOM_PERCENT` to spare. So nothing flaps.

**Facts**, for all policies: processors of the CPU are slower by how far their clocks are capped, those of the GPU are
not used while somebody has taken them or others keep them busy, links are down whose network is.

**Priorities without starvation.** What is left out waits; after `aging_s` for each time that the heaviest graph weighs
what it does itself, it has a turn: it weighs more than any other until it has run for a part of what it had waited, one
in `TURN`. Nobody's turn begins while another one's lasts, and none begins while a critical battery has graphs pause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from leo_runtime.daemon.machine_state import MachineState
from leo_runtime.daemon.policy_config import Acting, MeetDeadlines, PowerBudget, SaveEnergy
from leo_runtime.frozen import dataclass

ONE = 1_000_000
BACK_PERCENT = 5
"""Of a battery's charge."""
STEP_PPM = 150_000
"""Of a factor; less is no reason to make all plans anew."""
MOST_SLOWED_PPM = 4 * ONE
"""A processor that is slower than that is as if it were just so slow."""
GPU_TAKEN_PPM, GPU_FREE_PPM = 500_000, 200_000
"""How busy others keep it where it is taken, and where it is free again."""
HEAT_BACK_MILLICELSIUS = 5_000
ROOM_PERCENT = 10
"""Of the budget."""
TURN = 4
HISTORY = 64
"""How many times of a window are remembered."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a policy is about, which does not change while it runs."""

    graphs: tuple[tuple[str, int], ...]
    """The task graphs with their weights, as the workload has them."""
    cpu: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    networks: tuple[tuple[str, str], ...] = ()
    """Radios, with the network interface of each."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to know at one time. Sums are since the run began."""

    at_us: int
    machine: MachineState = MachineState()
    gpu_others_ppm: int | None = None
    """How busy others have kept the GPU since the last look."""
    taken: tuple[str, ...] = ()
    """Processors of which somebody has said that they are his."""
    spent_nj: int = 0
    graphs_nj: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)
    """How often each graph has answered."""
    shed: Mapping[str, int] = field(default_factory=dict)
    """How often each was left out, for what weighs more or since it was said."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a runtime is to go on. Empty: as it would by itself."""

    saves_energy: bool = False
    """Energy counts before deadlines."""
    keeps_deadlines: bool = False
    """Deadlines count before all else."""
    paused: tuple[str, ...] = ()
    """Graphs that are not run."""
    weights: tuple[tuple[str, int], ...] = ()
    """Of graphs that weigh more than the workload says."""
    slowed_ppm: tuple[tuple[str, int], ...] = ()
    """How many times as long runs last there."""
    unavailable: tuple[str, ...] = ()
    """Processors that are not to be used."""
    radios_down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What a step remembers for the next."""

    at_us: int | None = None
    level: int = 0
    """Of saving energy: 0 no, 1 low, 2 critical."""
    slowed_ppm: int = ONE
    unavailable: tuple[str, ...] = ()
    waited_us: tuple[tuple[str, int], ...] = ()
    """How long each graph has waited that could not run; when it runs that is worked off."""
    turn: str | None = None
    """Who has a turn."""
    answers: tuple[tuple[str, int], ...] = ()
    shed: tuple[tuple[str, int], ...] = ()
    spent: tuple[tuple[int, int], ...] = ()
    """Times, with what was spent by then."""
    paused: tuple[str, ...] = ()
    graphs_mw: tuple[tuple[str, int], ...] = ()
    """What each graph draws when it runs, as far as that was seen."""
    graphs_nj: tuple[tuple[str, int], ...] = ()


def decide(policy: Acting, site: Site, seen: Seen, before: Memory) -> tuple[Settings, Memory]:
    """One step: how to go on from now, and what to remember."""
    memory = replace(
        before,
        slowed_ppm=_slowed_ppm(policy, seen.machine, before.slowed_ppm),
        unavailable=_unavailable(site, seen, before.unavailable),
        waited_us=_waited_us(site, seen, before),
    )
    settings = Settings(
        slowed_ppm=tuple([(name, memory.slowed_ppm) for name in site.cpu]) if memory.slowed_ppm != ONE else (),
        unavailable=memory.unavailable,
        radios_down=_radios_down(site, seen.machine),
        keeps_deadlines=isinstance(policy, MeetDeadlines),
    )
    if isinstance(policy, SaveEnergy):
        memory = replace(memory, level=energy_level(policy, seen.machine, before.level))
        out = lightest(dict(site.graphs)) if memory.level == 2 else ()
        settings = replace(settings, saves_energy=memory.level > 0, paused=out)
    turn = None
    if memory.level < 2:
        turn = whose_turn(site.graphs, dict(memory.waited_us), policy.aging_s, before.turn)
    memory, weights = replace(memory, turn=turn), with_turn(site.graphs, turn)
    if isinstance(policy, PowerBudget):
        memory = _budgeted(policy, seen, weights, memory)
        settings = replace(settings, paused=memory.paused)
    if turn is not None:
        settings = replace(settings, weights=((turn, weights[turn]),))
    memory = replace(memory, at_us=seen.at_us, answers=tuple(seen.answers.items()), shed=tuple(seen.shed.items()))
    return settings, memory


# What is so.


def _slowed_ppm(policy: Acting, machine: MachineState, before_ppm: int) -> int:
    """How many times as long runs of the CPU last."""
    cap_ppm = min((clock.allowed_ppm for clock in machine.clocks), default=ONE)
    slowed_ppm = ONE * ONE // max(1, cap_ppm)
    if isinstance(policy, MeetDeadlines) and machine.cpu_pressure_ppm is not None:
        # Who waits for a part p of the time and runs for the rest takes 1 / (1 - p) times as long: the worst case,
        # since pressure tells that somebody waited, which need not have been us.
        slowed_ppm = slowed_ppm * ONE // max(1, ONE - machine.cpu_pressure_ppm)
    slowed_ppm = min(slowed_ppm, MOST_SLOWED_PPM)
    if ONE <= slowed_ppm < ONE + STEP_PPM:  # All but as fast as ever.
        slowed_ppm = ONE
    is_far = abs(slowed_ppm - before_ppm) * ONE > STEP_PPM * before_ppm
    return slowed_ppm if is_far else before_ppm


def _unavailable(site: Site, seen: Seen, before: tuple[str, ...]) -> tuple[str, ...]:
    busy_ppm = seen.gpu_others_ppm
    found = list(seen.taken)
    for name in site.gpu:
        was = name in before and name not in seen.taken
        if busy_ppm is not None and name not in found and busy_ppm > (GPU_FREE_PPM if was else GPU_TAKEN_PPM):
            found.append(name)
    return tuple(found)


def _radios_down(site: Site, machine: MachineState) -> tuple[str, ...]:
    """Radios whose network is there, and down. Of one that is not there nothing is known."""
    return tuple(
        [
            radio
            for radio, interface in site.networks
            if (network := machine.network(interface)) is not None and not network.is_up
        ]
    )


# Saving energy.


def energy_level(policy: SaveEnergy, machine: MachineState, before: int) -> int:
    """How much energy is to be saved: 0 not at all, 1 before deadlines, 2 with only what weighs most."""
    level, battery = 0, machine.battery
    if battery is not None and battery.is_charging is not True:
        for at, mark in ((1, policy.low_percent), (2, policy.critical_percent)):
            if battery.percent < (mark + BACK_PERCENT if before >= at else mark):
                level = at
    hottest = machine.hottest
    if hottest is not None and hottest.throttles_at_millicelsius is not None:
        slack = HEAT_BACK_MILLICELSIUS if before else 0
        if hottest.millicelsius >= hottest.throttles_at_millicelsius - slack:
            level = max(1, level)
    return level


def lightest(weights: Mapping[str, int]) -> tuple[str, ...]:
    """All but those that weigh most; where all weigh the same, none."""
    most = max(weights.values(), default=0)
    return tuple([name for name, weight in weights.items() if weight < most])


# Priorities without starvation.


def whose_turn(
    graphs: Sequence[tuple[str, int]], waited_us: Mapping[str, int], aging_s: int, before: str | None
) -> str | None:
    """Who has a turn, if anybody: who had it until that is worked off, else who has waited longest by its weight."""
    if not aging_s:
        return None
    if before is not None and waited_us.get(before, 0) > 0:
        return before
    most = max((weight for _, weight in graphs), default=0)
    found, longest = None, 0
    for name, weight in graphs:
        waited = waited_us.get(name, 0) * weight
        if waited >= aging_s * 1_000_000 * most and waited > longest:
            found, longest = name, waited
    return found


def with_turn(graphs: Sequence[tuple[str, int]], turn: str | None) -> dict[str, int]:
    """What each graph weighs while that one has its turn: twice as much as any other."""
    most = max((weight for _, weight in graphs), default=0)
    return {name: 2 * most if name == turn else weight for name, weight in graphs}


def _waited_us(site: Site, seen: Seen, before: Memory) -> tuple[tuple[str, int], ...]:
    """How long each graph has waited: it does while it is left out and answers nothing."""
    if before.at_us is None:
        return tuple([(name, 0) for name, _ in site.graphs])
    passed_us = max(0, seen.at_us - before.at_us)
    answers, shed, found = dict(before.answers), dict(before.shed), []
    for name, waited_us in before.waited_us:
        if seen.answers.get(name, 0) > answers.get(name, 0):
            waited_us = max(0, waited_us - TURN * passed_us)
        elif seen.shed.get(name, 0) > shed.get(name, 0):
            waited_us += passed_us
        found.append((name, waited_us))
    return tuple(found)


# A power budget.


def _budgeted(policy: PowerBudget, seen: Seen, weights: Mapping[str, int], before: Memory) -> Memory:
    """Who is left out so that what is spent in any window stays within the budget."""
    window_us = policy.window_s * 1_000_000
    graphs_mw = _powers_mw(seen, before, weights)
    if before.at_us is None or seen.at_us <= before.at_us:
        spent = before.spent or ((seen.at_us, seen.spent_nj),)
        return replace(before, spent=spent, graphs_nj=tuple(seen.graphs_nj.items()))
    passed_us = seen.at_us - before.at_us
    drawn_mw = max(0, seen.spent_nj - before.spent[-1][1]) // passed_us
    running_mw = sum(mw for name, mw in graphs_mw.items() if name not in before.paused)
    standing_mw = max(0, drawn_mw - running_mw)
    spent = _remembered(before.spent, (seen.at_us, seen.spent_nj), window_us)
    allowed_mw = min(policy.power_mw, affordable_mw(spent, policy.power_mw, window_us, passed_us))
    left_mw, out = allowed_mw - standing_mw, []
    for name in sorted(weights, key=lambda one: -weights[one]):  # Of equal weight the first one written.
        spare_mw = policy.power_mw * ROOM_PERCENT // 100 if name in before.paused else 0
        if graphs_mw.get(name, 0) + spare_mw > left_mw:
            out.append(name)
        else:
            left_mw -= graphs_mw.get(name, 0)
    return replace(
        before,
        spent=spent,
        paused=tuple([name for name in weights if name in out]),
        graphs_mw=tuple(graphs_mw.items()),
        graphs_nj=tuple(seen.graphs_nj.items()),
    )


def affordable_mw(spent: Sequence[tuple[int, int]], power_mw: int, window_us: int, next_us: int) -> int:
    """What may be drawn for the next so many us, so that the window that then ends is within its budget.

    `spent`: times, in order, with what was spent by then in nJ; the last one is now.
    """
    now_us, now_nj = spent[-1]
    next_us = min(next_us, window_us)
    in_window_nj = now_nj - _spent_by(spent, now_us + next_us - window_us)
    return max(0, power_mw * window_us - in_window_nj) // next_us


def _spent_by(spent: Sequence[tuple[int, int]], at_us: int) -> int:
    """What was spent by a time, evenly between those that are known; before the first it is that."""
    earlier_us, earlier_nj = spent[0]
    for later_us, later_nj in spent:
        if later_us >= at_us:
            if later_us == earlier_us or at_us <= earlier_us:
                return earlier_nj
            return earlier_nj + (later_nj - earlier_nj) * (at_us - earlier_us) // (later_us - earlier_us)
        earlier_us, earlier_nj = later_us, later_nj
    return earlier_nj


def _remembered(spent: Sequence[tuple[int, int]], now: tuple[int, int], window_us: int) -> tuple[tuple[int, int], ...]:
    """Those of the window and the last one before it; of times that are too near, the later goes."""
    kept = list(spent)
    if len(kept) > 1 and now[0] - kept[-2][0] < window_us // HISTORY:
        kept.pop()
    kept.append(now)
    while len(kept) > 2 and kept[1][0] <= now[0] - window_us:
        kept.pop(0)
    return tuple(kept)


def _powers_mw(seen: Seen, before: Memory, weights: Mapping[str, int]) -> dict[str, int]:
    """What each graph draws: as it was since the last step where it ran, else as it was then."""
    known, spent = dict(before.graphs_mw), dict(before.graphs_nj)
    if before.at_us is None or seen.at_us <= before.at_us:
        return known
    passed_us = seen.at_us - before.at_us
    for name in weights:
        drawn = max(0, seen.graphs_nj.get(name, 0) - spent.get(name, 0)) // passed_us
        if name in before.paused:
            continue
        # A graph may run less often than this is looked at: half of what was known stays.
        known[name] = drawn if name not in known else (known[name] + drawn + 1) // 2
    return known
