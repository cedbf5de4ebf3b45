"""What runs in windows are charged besides what runs and is sent, counted again from who was awake when."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from cost_workloads import random_machine, random_profile, random_workload
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import Event, Instruction, Wake
from leo_runtime.documents.hardware import Hardware
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.runtime import Runtime

RUN_US = 60_000


class Meter:
    """Looks at the dispatcher after everything that happens, and charges what every resource draws until the next."""

    def __init__(self, hardware: Hardware) -> None:
        self._draws: dict[str, tuple[int, int, int, int | None]] = {
            **{p.name: (p.awake_mw, p.awake_mw, p.asleep_mw, p.idle_timeout_us) for p in hardware.processors},
            **{r.name: (r.awake_mw, r.tail_mw, 0, r.tail_us) for r in hardware.radios},
        }
        self._wake_nj = {p.name: p.wake_energy_nj for p in hardware.processors}
        self._wake_nj |= {r.name: r.wake_energy_nj for r in hardware.radios}
        self._is_needed = dict.fromkeys(self._draws, False)
        self._awake_until_us = dict.fromkeys(self._draws, 0)
        self._now_us = 0
        self.nj: Counter[str] = Counter(dict.fromkeys(self._draws, 0))

    def until(self, at_us: int) -> None:
        for name, (awake_mw, linger_mw, asleep_mw, linger_us) in self._draws.items():
            if linger_us is None or self._is_needed[name]:
                self.nj[name] += awake_mw * (at_us - self._now_us)
                continue
            over_us = min(max(self._awake_until_us[name], self._now_us), at_us)
            self.nj[name] += linger_mw * (over_us - self._now_us) + asleep_mw * (at_us - over_us)
        self._now_us = at_us

    def look(self, dispatcher: Dispatcher, told: tuple[Instruction, ...]) -> None:
        for name, (_, _, _, linger_us) in self._draws.items():
            waking = dispatcher.waking_until_us(name) is not None
            self._is_needed[name] = waking or (dispatcher.in_use(name) and not dispatcher.sleeps(name))
            used_us = dispatcher.used_until_us(name)
            lingers = used_us is not None and not dispatcher.sleeps(name)
            self._awake_until_us[name] = (used_us or 0) + (linger_us or 0) if lingers else 0
        for order in told:
            if isinstance(order, Wake):
                self.nj[order.resource] += self._wake_nj[order.resource]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("part", range(4))
def test_every_resource_is_charged_for_as_long_as_it_was_awake(
    part: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`late`: some frames are submitted when the run's clock is past their release."""
    for seed in range(part, 60, 4):
        rng = Random(seed)
        hardware, workload = random_machine(rng), random_workload(rng)
        meter = Meter(hardware)

        class Metered(Dispatcher):
            def handle(self, event: Event, meter: Meter = meter) -> tuple[Instruction, ...]:
                meter.until(max(meter._now_us, event.at_us))
                told = super().handle(event)
                meter.look(self, told)
                return told

        monkeypatch.setattr("leo_runtime.runtime.parts.Dispatcher", Metered)
        with Runtime.simulated(
            workload,
            hardware,
            random_profile(rng, workload),
            compute=False,
            window_stages=rng.choice((1, 6, 14)),
            solver="greedy",
            limit_nodes=50,
            max_in_flight=1_000,
            noise=rng.choice((None, 100_000)),
        ) as runtime:
            times = sorted({at_us for graph in workload.graphs for at_us in graph.releases_us(RUN_US)})
            frames: list[FrameResult] = []
            for at_us in times:
                runtime.submit(at_us, {})
                if late and rng.random() < 0.3:
                    frames += runtime.drain()
            frames += runtime.drain()
            end_us = runtime.now_us + 100_000
        assert all(frame.spans is not None for frame in frames)
        meter.until(end_us)
        charged: Counter[str] = Counter(dict.fromkeys(meter.nj, 0))
        for entry in run_ledger(frames, hardware, end_us=end_us).entries:
            if entry.cause not in ("run", "failed run", "transfer"):
                charged[entry.resource] += entry.nj
        assert charged == meter.nj, f"seed {seed}"
