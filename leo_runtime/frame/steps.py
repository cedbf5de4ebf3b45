"""What runs cost of stages that keep state: by how much is new to them, and by where what they keep is.

A run has the work of what is new (`Keeping.work`), one that starts anew that of a stage without state. On another
processor than its state's it lasts longer by what the link takes for the state's bytes, and costs what the link does;
where no link leads there it starts anew.

`calibrate` measures a stage that keeps state also with a period's worth new to it (`Measurement.step_us`); any other
amount is on the line through that and a run that starts anew. Without, a cost that grows with work gives the time of
less work, and one that does not is taken in proportion to the multiply-accumulates, or to the bytes where there are
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Link, Mode
from leo_runtime.documents.profile import Measurement, Profile
from leo_runtime.frame.conditions import Conditions, StateFound, links_now
from leo_runtime.frame.lower import MergedWorkload, usual_links
from leo_runtime.frame.positions import Readings
from leo_runtime.operators.definition import Work

Modes = Mapping[str, tuple[Mode, ...]]
Links = Mapping[tuple[str, str], Link]


class StepPrices:
    """The modes of stages that keep state. What it is given are modes as `price` has them, or as they turned out."""

    def __init__(self, merged: MergedWorkload, hardware: Hardware, profile: Profile) -> None:
        self.readings = Readings(merged)
        self._stages = {stage.name: stage.bound for stage in merged.stages if stage.name in self.readings.of}
        self._profile = profile
        self._hardware = hardware
        self.links: Links = {(link.source, link.target): link for link in usual_links(hardware, Conditions())}
        """Those of the hardware."""
        self._steady = {name: self.readings.steady(name) for name in self._stages}
        self._shares: dict[tuple[str, str, str, int], tuple[int, int]] = {}

    def found(self, one: StateFound) -> StateFound:
        """The same, with as much new as a period brings where rounding alone makes it one entry more or less."""
        steady = self._steady[one.stage]
        return replace(one, fresh=steady) if abs(one.fresh - steady) == 1 else one

    def at_hand(self, modes: Modes, now: Conditions) -> Modes:
        """The modes of a release that finds that."""
        if not now.states:
            return modes
        links = self._links(now)
        return {**modes, **{one.stage: self._step(modes[one.stage], one, links) for one in now.states}}

    def later(self, modes: Modes, now: Conditions) -> Modes:
        """The modes of releases that follow it: a period's worth is new to each, and states are where they are now."""
        links, homes = self._links(now), {one.stage: one for one in now.states}
        changed = {}
        for name, steady in self._steady.items():
            one = homes.get(name)
            changed[name] = tuple(
                [
                    self.mode(mode, StateFound(name, mode.resource, mode.variant, steady), links)
                    if one is None or one.variant != mode.variant
                    else self.mode(mode, replace(one, fresh=steady), links)
                    for mode in modes[name]
                ]
            )
        return {**modes, **changed}

    def together(self, batched: Modes, first: Modes, later: Modes, frames: int) -> Modes:
        """The modes of all frames of a batch at once, of which the first and the others have these: one by one."""
        changed: dict[str, tuple[Mode, ...]] = {}
        for name in self._stages:
            one, other = [{(mode.variant, mode.resource): mode for mode in known[name]} for known in (first, later)]
            found = []
            for mode in batched[name]:
                begins, follows = (known[mode.variant, mode.resource] for known in (one, other))
                duration_us = begins.duration_us + (frames - 1) * follows.duration_us
                energy_nj = begins.energy_nj + (frames - 1) * follows.energy_nj
                found.append(mode.model_copy(update={"duration_us": duration_us, "energy_nj": energy_nj}))
            changed[name] = tuple(found)
        return {**batched, **changed}

    def mode(self, mode: Mode, found: StateFound, links: Links) -> Mode:
        """A mode of a stage that finds that; `links` lead over to where its state is not."""
        if found.variant != mode.variant:
            return mode
        link, state_bytes = None, 0
        if found.home != mode.resource:
            link = links.get((found.home, mode.resource))
            if link is None:
                return mode
            state_bytes = self._stages[found.stage].state_bytes(mode.variant)
        duration_us, energy_nj = self._step_us(mode, found), 0
        if link is not None:
            duration_us += link.latency_us + link.sending_us(state_bytes)
            energy_nj = link.sending_nj(state_bytes)
        energy_nj += mode.energy_nj * duration_us // mode.duration_us
        if duration_us == mode.duration_us and energy_nj == mode.energy_nj:
            return mode
        return mode.model_copy(update={"duration_us": duration_us, "energy_nj": energy_nj})

    def moving_nj(self, stage: str, variant: str, home: str, resource: str) -> int:
        """What a link takes for what a stage keeps; 0 where there is none."""
        link = self.links.get((home, resource))
        return 0 if link is None else link.sending_nj(self._stages[stage].state_bytes(variant))

    def _step(self, modes: tuple[Mode, ...], found: StateFound, links: Links) -> tuple[Mode, ...]:
        return tuple([self.mode(mode, found, links) for mode in modes])

    def _links(self, now: Conditions) -> Links:
        """The links as they are now."""
        if not now.links and not now.lost:
            return self.links
        links = {(link.source, link.target): link for link in usual_links(self._hardware, now)}
        return links_now(links, now.links)

    def _step_us(self, mode: Mode, found: StateFound) -> int:
        """How long so much that is new takes."""
        part, whole = self._share(found.stage, mode.variant, mode.resource, found.fresh)
        return max(1, -(-mode.duration_us * part // whole))

    def _share(self, stage: str, variant: str, resource: str, fresh: int) -> tuple[int, int]:
        """How long that takes of how long a run takes that starts anew."""
        key = (stage, variant, resource, fresh)
        share = self._shares.get(key)
        if share is None:
            if len(self._shares) >= 4096:
                self._shares.clear()
            share = self._shares[key] = self._new_share(*key)
        return share

    def _new_share(self, stage: str, variant: str, resource: str, fresh: int) -> tuple[int, int]:
        bound = self._stages[stage]
        keeping, cost = bound.keeping(variant), self._profile.cost(bound, variant, resource)
        if keeping is None or cost is None:
            return 1, 1
        if (measured := cost.measurement) is not None and measured.step_us is not None:
            return _measured(measured, fresh, self.readings.of[stage].length)
        whole, part = bound.work(variant), keeping.work(bound.params[variant], bound.input_shapes, fresh)
        if cost.ps_per_mac or cost.ps_per_byte:
            return cost.duration_us(part), cost.duration_us(whole)
        return _in_proportion(part, whole)


def _measured(measured: Measurement, fresh: int, length: int) -> tuple[int, int]:
    """On the line through what was measured: with a period's worth new, and with all of it."""
    assert measured.step_us is not None
    assert measured.step_entries is not None
    part_us, whole_us, more = measured.step_us, max(1, measured.median_us), length - measured.step_entries
    if more > 0:
        part_us += (whole_us - part_us) * (fresh - measured.step_entries) // more
    return max(1, part_us), whole_us


def _in_proportion(part: Work, whole: Work) -> tuple[int, int]:
    for some, all_of_it in ((part.macs, whole.macs), (part.bytes, whole.bytes)):
        if all_of_it:
            return some, all_of_it
    return 1, 1
