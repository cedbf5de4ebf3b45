"""What a window's schedule waits for, chosen for modes and an order that are given: greedy, by the whole bill.

It starts from nothing waiting, or from everything waiting for gates, whichever is better, and changes one thing at a
time as long as that improves the value: the gates that a transfer waits for, alone or together with what it wakes; the
gates that the uses of a resource wait for, or those of a span; the release for which the uses of a span, or those after
that release, are held back. What then falls into which span is for the schedule to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from random import Random

from leo_runtime.frozen import dataclass
from leo_runtime.solver.limits import Stop
from leo_runtime.solver.window_schedule import Choice, Schedule, Send, Window

CHANGES_PER_STAGE = 40
"""How many changes are tried for each stage of the window, where no other number is given."""
RELEASES_AHEAD = 3
"""For how many of the next releases a span's uses may be held back."""

Pairs = frozenset[tuple[int, int]]
NOT_HELD = -1
"""In place of a release: no longer held back for one."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a choice has otherwise; see `Choice`."""

    lists: Mapping[Send, tuple[int, ...]] = field(default_factory=dict)
    on: Pairs = frozenset()
    """Of `wakes_after`."""
    off: Pairs = frozenset()
    holds: Mapping[Send, int] = field(default_factory=dict)

    def applied(self, choice: Choice) -> Choice:
        """The choice with this change."""
        lists = {**choice.lists, **self.lists} if self.lists else choice.lists
        wakes_after = (choice.wakes_after | self.on) - self.off if self.on or self.off else choice.wakes_after
        holds = choice.holds_back
        if self.holds:
            holds = {key: k for key, k in {**holds, **self.holds}.items() if k != NOT_HELD}
        return replace(choice, lists=lists, wakes_after=wakes_after, holds_back=holds)


def simple(window: Window, modes: Sequence[int], order: Sequence[int]) -> Schedule | None:
    """The best of few schedules: nothing waits, or all wakings up to some depth of gates, with all transfers or none.

    None where a link is missing.
    """
    best = window.schedule(Choice(tuple(modes), tuple(order)))
    if best is None or not window.opens_ppm:
        return best
    plain = best
    lists = {send: lists for send in plain.sends if (lists := _lists(window, plain.choice, send))}
    sleepers = _sleepers(window)
    for depth in range(max(len(chain) for chain in window.chain)):
        after = {send: known[min(depth, len(known) - 1)] for send, known in lists.items()}
        gates = [gate for gate in window.opens_ppm if len(window.behind[gate]) <= depth]
        every = frozenset((r, gate) for r in sleepers for gate in gates)
        for waits in (after, {}) if after else ({},):
            found = window.schedule(replace(plain.choice, lists=waits, wakes_after=every))
            if found is not None and found.value < best.value:
                best = found
    return best


def improved(window: Window, schedule: Schedule, most: int | None = None, stop: Stop | None = None) -> Schedule:
    """The schedule with what it waits for changed until no change improves it, or until so many were tried."""
    left = CHANGES_PER_STAGE * len(window.stages) if most is None else most
    better = True
    while better:
        better = False
        for change in _changes(window, schedule):
            if left <= 0 or (stop is not None and stop.passed):
                return schedule
            choice = change.applied(schedule.choice)
            if choice == schedule.choice:
                continue
            left -= 1
            found = window.schedule(choice)
            if found is not None and found.value < schedule.value:
                schedule, better = found, True
    return schedule


def drawn(window: Window, choice: Choice, rng: Random) -> Change:
    """One change at random: of a transfer's list, of who wakes after a gate, or of who is held back for a release."""
    i = rng.randrange(len(window.stages))
    r = window.places[i][choice.modes[i]]
    kind = rng.randrange(3)
    if kind == 0 and window.readers[i]:
        send = (i, window.places[j := rng.choice(window.readers[i])][choice.modes[j]])
        return Change({send: rng.choice([(), *_lists(window, choice, send)])})
    if kind == 1 and window.chain[i]:
        pair = frozenset({(rng.choice(_sleepers(window) or [r]), rng.choice(window.chain[i]))})
        return Change(off=pair) if pair <= choice.wakes_after else Change(on=pair)
    releases = len(window.problem.releases_us)
    return Change(holds={(i, r): rng.randrange(1, releases) if releases > 1 and rng.randrange(2) else NOT_HELD})


def _changes(window: Window, schedule: Schedule) -> Iterator[Change]:
    """What may be worth changing about a schedule, the largest changes first."""
    yield from _gate_by_gate(window, schedule)
    yield from _transfers(window, schedule)
    yield from _wakings(window, schedule)
    yield from _releases(window, schedule)


def _sleepers(window: Window) -> list[int]:
    """The resources that can sleep."""
    return [r for r, resource in enumerate(window.resources) if resource.linger_us is not None]


def _lists(window: Window, choice: Choice, send: Send) -> list[tuple[int, ...]]:
    """The lists that a transfer may wait for, deeper ones later; empty where a reader is behind no gate."""
    j, target = send
    modes = choice.modes
    chains = [window.chain[i] for i in window.readers[j] if window.places[i][modes[i]] == target]
    if not all(chains):
        return []
    found: dict[tuple[int, ...], None] = {}
    for depth in range(max(len(chain) for chain in chains)):
        gates = 0
        for chain in chains:
            gates |= 1 << chain[min(depth, len(chain) - 1)]
        found[window.best_list(gates)[1]] = None
    return [after for after in found if after]


def _gate_by_gate(window: Window, schedule: Schedule) -> Iterator[Change]:
    """All that can wait for a gate does, or nothing."""
    sends = {send: lists for send in schedule.sends if (lists := _lists(window, schedule.choice, send))}
    sleepers = _sleepers(window)
    for gate in window.opens_ppm:
        waits = {send: after for send, lists in sends.items() for after in lists if gate in after}
        every = frozenset((r, gate) for r in sleepers)
        yield Change(waits, on=every)
        yield Change(dict.fromkeys(waits, ()), off=every)


def _transfers(window: Window, schedule: Schedule) -> Iterator[Change]:
    """Each transfer with each list, alone and with what it wakes."""
    modes = schedule.choice.modes
    for send in schedule.sends:
        j, target = send
        radio = window.links[window.places[j][modes[j]], target][1]
        woken = [r for r in (radio, target) if r >= 0 and window.resources[r].linger_us is not None]
        for after in _lists(window, schedule.choice, send):
            yield Change({send: after})
            if woken:
                yield Change({send: after}, on=frozenset((r, gate) for r in woken for gate in after))
        yield Change({send: ()})


def _wakings(window: Window, schedule: Schedule) -> Iterator[Change]:
    """All uses of a span wait for the gates they are behind, up to each depth; or of a resource those behind a gate."""
    modes, wakes_after = schedule.choice.modes, schedule.choice.wakes_after
    chains: dict[int, list[tuple[int, tuple[int, ...]]]] = {r: [] for r in _sleepers(window)}
    """Resource -> of each use its start and the gates it can wait for, deeper ones later."""
    for i, g in enumerate(modes):
        chains.get(window.places[i][g], []).append((schedule.starts[i], window.chain[i]))
    for (j, target), send in schedule.sends.items():
        radio = window.links[window.places[j][modes[j]], target][1]
        own = {known for gate in send.after for known in (gate, *window.behind[gate])}
        chain = tuple(sorted(own, key=lambda gate: len(window.behind[gate]))) or window.chain[j]
        chains.get(radio, []).append((send.start_us, chain))
    for r, known in chains.items():
        for span in schedule.spans[r]:
            inside = [chain for start, chain in known if span.from_us <= start <= span.until_us]
            for depth in range(max((len(chain) for chain in inside), default=0)):
                on = frozenset((r, gate) for chain in inside for gate in chain[: depth + 1])
                off = frozenset((r, gate) for chain in inside for gate in chain[depth + 1 :])
                yield Change(on=on, off=off - on)
        for gate in dict.fromkeys(gate for _, chain in known for gate in chain):
            pair = frozenset({(r, gate)})
            yield Change(off=pair) if (r, gate) in wakes_after else Change(on=pair)


def _releases(window: Window, schedule: Schedule) -> Iterator[Change]:
    """The uses of a span, or those of them after a release, are held back for that release; or none of them is."""
    releases = window.problem.releases_us
    modes = schedule.choice.modes
    uses: dict[int, list[tuple[int, int]]] = {r: [] for r in _sleepers(window)}
    """Resource -> (start, stage) of what uses it."""
    for i, g in enumerate(modes):
        uses.get(window.places[i][g], []).append((schedule.starts[i], i))
    for (j, target), send in schedule.sends.items():
        uses.get(window.links[window.places[j][modes[j]], target][1], []).append((send.start_us, j))
    for r, used in uses.items():
        wake = window.resources[r].wake_latency_us
        for span in schedule.spans[r]:
            inside = [(start, i) for start, i in used if span.from_us <= start <= span.until_us]
            held = {(i, r): NOT_HELD for _, i in inside if (i, r) in schedule.choice.holds_back}
            if held:
                yield Change(holds=held)
            ahead = [k for k, time in enumerate(releases) if time > span.from_us and k > 0]
            for k in ahead[:RELEASES_AHEAD]:
                for since in (span.from_us, releases[k]):
                    back = {(i, r): k for start, i in inside if since <= start < releases[k] + wake}
                    if back:
                        yield Change(holds=back)
