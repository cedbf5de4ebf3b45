"""Policies carried out: what a machine tells becomes what the runtime does, and is taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cost_workloads import profile_of, workload_of
from leo_runtime import Runtime
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.governor import TAKEN, Governor, adjusted, spared
from leo_runtime.daemon.machine_state import Battery, ClockCap, MachineState, Network
from leo_runtime.daemon.policies import Settings
from leo_runtime.daemon.policy_config import Acting, MeetDeadlines, PowerBudget, SaveEnergy
from leo_runtime.daemon.tally import Tally
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.records import FrameResult
from told_clock import ToldClock

S = 1_000_000
PHONE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "m",
        "processors": [
            {"name": "cpu", "backend": "cpu"},
            {"name": "gpu", "backend": "opencl"},
            {"name": "cloud", "backend": "cpu", "remote": True},
        ],
        "radios": [{"name": "wifi"}],
        "links": [
            {"source": a, "target": b, "radio": "wifi"} if "cloud" in (a, b) else {"source": a, "target": b}
            for a in ("cpu", "gpu", "cloud")
            for b in ("cpu", "gpu", "cloud")
            if a != b
        ],
    }
)
COSTS = {
    ("a.read", "cpu"): (100, 1),
    ("a.work", "cpu"): (30_000, 1_000_000),
    ("a.work", "gpu"): (10_000, 5_000_000),
    ("a.work", "cloud"): (1_000, 100),
    ("b.work", "cpu"): (1_000, 3_000_000),
}


def graph(name: str, *stages: str, weight: int = 1, deadline_us: int = 20_000) -> TaskGraph:
    builder = GraphBuilder(name, period_us=100_000, deadline_us=deadline_us, weight=weight)
    before: tuple[str, ...] = ()
    for stage in stages:
        builder.stage(f"{name}.{stage}", "cost", *before, output_bytes=4)
        before = (f"{name}.{stage}",)
    return builder.build()


WORKLOAD = workload_of(graph("a", "read", "work", weight=2), graph("b", "work"))


class Phone:
    """A runtime in virtual time, with its tally, and a machine that is as it is said to be."""

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self.runtime, self.workload = runtime, WORKLOAD
        self.machine, self.clock, self.change_lock = MachineState(), ToldClock(), threading.Lock()
        self.tally, self.counts, self.taken = Tally(PHONE), Counts(), folder / TAKEN
        self.release_us = 0

    def governor(self, policy: Acting) -> Governor:
        return Governor(
            policy,
            self,
            self.tally,
            self.counts,
            read=lambda: self.machine,
            clock=self.clock,
            taken=self.taken,
        )

    def frame(self) -> FrameResult:
        self.runtime.submit(self.release_us, {})
        self.release_us += 100_000
        (result,) = self.runtime.drain()
        self.tally.add(result, self.runtime.merged)
        return result

    def where(self) -> str:
        """Where `a.work` runs."""
        return next(stage.resource for stage in self.frame().stages if stage.stage == "a.work")

    def tick(self, governor: Governor, machine: MachineState | None = None, seconds: int = 10) -> None:
        self.clock.to(self.clock.now_us() + seconds * S)
        self.machine = self.machine if machine is None else machine
        governor.tick()


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Phone]:
    profile = profile_of(COSTS)
    with Runtime.simulated(WORKLOAD, PHONE, profile, compute=False, window_stages=0, solver="exact") as runtime:
        yield Phone(runtime, tmp_path)


MEET = MeetDeadlines(kind="meet-deadlines", networks={"wifi": "wlan0"})
DOWN, UP = MachineState(networks=(Network("wlan0", False),)), MachineState(networks=(Network("wlan0", True),))


def test_links_go_with_their_network_and_a_gpu_with_who_takes_it(phone: Phone) -> None:
    governor = phone.governor(MEET)
    phone.tick(governor, UP)
    assert phone.where() == "cloud"
    phone.tick(governor, DOWN)
    assert phone.where() == "gpu"
    phone.taken.mkdir()
    (phone.taken / "gpu").touch()
    (phone.taken / "something else").touch()
    phone.tick(governor)
    assert phone.where() == "cpu" and phone.runtime.lost == ("gpu",)
    (phone.taken / "gpu").unlink()
    phone.tick(governor, UP)
    assert phone.where() == "cloud" and phone.runtime.lost == ()
    assert phone.counts.now().others["policy_changes"] == 2


def test_capped_clocks_change_plans(phone: Phone) -> None:
    governor = phone.governor(MEET)
    slow = replace(DOWN, clocks=(ClockCap("policy0", 500, 1000),))
    phone.tick(governor, slow)
    result = phone.frame()
    assert {stage.stage: stage.expected_us for stage in result.stages}["b.work"] == 2_000
    phone.tick(governor, DOWN)
    assert {stage.stage: stage.expected_us for stage in phone.frame().stages}["b.work"] == 1_000


def test_a_low_battery_puts_energy_before_deadlines_and_a_critical_one_pauses_the_lightest(phone: Phone) -> None:
    governor = phone.governor(SaveEnergy(kind="save-energy", networks={"wifi": "wlan0"}))
    phone.tick(governor, replace(DOWN, battery=Battery(80, False, None)))
    assert phone.where() == "gpu"
    phone.tick(governor, replace(DOWN, battery=Battery(20, False, None)))
    late = phone.frame()
    assert {stage.stage: stage.resource for stage in late.stages}["a.work"] == "cpu"
    assert late.graphs[0].missed and late.graphs[0].deadline_us == late.release_us + 20_000
    phone.tick(governor, replace(DOWN, battery=Battery(10, False, None)))
    assert phone.frame().shed == ("b",) and phone.runtime.shed["b"] == 1
    phone.tick(governor, replace(DOWN, battery=Battery(10, True, None)))
    assert phone.where() == "gpu" and governor.settings == Settings(radios_down=("wifi",))


def test_what_a_policy_has_changed_is_taken_back(phone: Phone) -> None:
    governor = phone.governor(SaveEnergy(kind="save-energy", networks={"wifi": "wlan0"}))
    phone.taken.mkdir()
    (phone.taken / "gpu").touch()
    slow = replace(DOWN, battery=Battery(10, False, None), clocks=(ClockCap("policy0", 500, 1000),))
    phone.tick(governor, slow)
    assert phone.where() == "cpu" and phone.runtime.lost == ("gpu",) and phone.frame().shed == ("b",)
    governor.close()
    governor.undo()
    result = phone.frame()
    assert phone.runtime.lost == () and result.shed == ()
    assert phone.where() == "cloud"
    assert {stage.stage: stage.expected_us for stage in result.stages}["b.work"] == 1_000
    assert phone.runtime.merged.workload.objective == WORKLOAD.objective


def test_a_budget_pauses_by_what_the_ledger_says(phone: Phone) -> None:
    governor = phone.governor(PowerBudget(kind="power-budget", power_mw=15, window_s=10, every_s=1))
    phone.machine = DOWN
    paused = []
    for _ in range(12):
        for _ in range(10):
            phone.frame()
        phone.tick(governor, DOWN, seconds=1)
        paused.append(governor.settings.paused)
    # b draws 30 mW, more than there is; a draws 10 mW on the CPU, and 50 mW where it is in time.
    assert "b" in paused[-1] and phone.runtime.shed["b"] > 0


def test_what_cannot_be_done_without_is_not_taken_away(phone: Phone) -> None:
    governor = phone.governor(MEET)
    phone.taken.mkdir()
    for name in ("cpu", "gpu"):
        (phone.taken / name).touch()
    phone.tick(governor, DOWN)
    phone.tick(governor, DOWN)
    assert phone.runtime.lost == ("gpu",)
    assert spared(phone.runtime.modes, ["cpu"]) == () and spared(phone.runtime.modes, ["gpu", "cloud"]) == (
        "gpu",
        "cloud",
    )
    assert phone.counts.now().others["policy_changes"] == 2


def test_what_was_lost_by_itself_is_not_restored_by_a_policy(phone: Phone) -> None:
    governor = phone.governor(MEET)
    phone.frame()
    phone.runtime.lose("gpu")
    phone.taken.mkdir()
    (phone.taken / "gpu").touch()
    phone.tick(governor, DOWN)
    (phone.taken / "gpu").unlink()
    phone.tick(governor, DOWN)
    assert phone.runtime.lost == ("gpu",)


def test_a_workload_that_was_read_again_is_adjusted_again(phone: Phone) -> None:
    governor = phone.governor(SaveEnergy(kind="save-energy"))
    phone.tick(governor, replace(DOWN, battery=Battery(20, False, None)))
    assert phone.runtime.merged.workload.objective == ("energy", "tardiness")
    phone.workload = workload_of(graph("a", "read", "work", weight=3), graph("b", "work"))
    phone.runtime.change(phone.workload)
    phone.tick(governor)
    assert phone.runtime.merged.workload.objective == ("energy", "tardiness")
    assert phone.runtime.merged.workload.graphs[0].weight == 3


def test_nothing_is_changed_where_nothing_has_changed(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    governor = phone.governor(MEET)
    phone.tick(governor, DOWN)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("changed")

    for name in ("change", "adjust", "lose", "restore"):
        monkeypatch.setattr(phone.runtime, name, never)
    phone.tick(governor, DOWN)


def test_what_the_workload_has_is_what_is_adjusted() -> None:
    assert adjusted(WORKLOAD, Settings()) is WORKLOAD
    assert adjusted(WORKLOAD, Settings(keeps_deadlines=True)) is WORKLOAD
    energy = WORKLOAD.model_copy(update={"objective": ("energy", "tardiness")})
    assert adjusted(energy, Settings(keeps_deadlines=True)).objective == ("tardiness", "energy")
    raised = adjusted(WORKLOAD, Settings(weights=(("b", 4),)))
    assert [one.weight for one in raised.graphs] == [2, 4] and isinstance(raised, Workload)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (MeetDeadlines(kind="meet-deadlines", cpu=("npu",)), r"no `npu`, at \$.policy.cpu"),
        (MeetDeadlines(kind="meet-deadlines", networks={"lte": "wwan0"}), r"no `lte`, at \$.policy.networks"),
    ],
)
def test_what_the_machine_has_not_is_refused(phone: Phone, policy: Acting, says: str) -> None:
    with pytest.raises(InputError, match=says):
        phone.governor(policy)


def test_a_policy_that_goes_wrong_is_counted_and_goes_on(phone: Phone) -> None:
    governor = phone.governor(MEET)
    looked: list[int] = []

    def read() -> MachineState:
        looked.append(1)
        if len(looked) == 1:
            raise OSError("no such sensor")
        governor._stop.set()
        return MachineState()

    governor._read = read
    governor._policy = MEET.model_copy(update={"every_s": 0})
    governor.start()
    governor._thread.join()
    governor.close()
    assert phone.counts.now().others["policy_failures"] == 1 and len(looked) == 2
    assert phone.taken.is_dir()  # So that one `touch` is enough.


def test_a_policy_ends_with_its_runtime(phone: Phone) -> None:
    governor = phone.governor(SaveEnergy(kind="save-energy"))
    phone.machine = replace(DOWN, battery=Battery(20, False, None))
    phone.runtime.close()
    governor.start()
    governor._thread.join()
    assert "policy_failures" not in phone.counts.now().others


@pytest.mark.parametrize(("aging_s", "fewest"), [(0, 0), (4, 20)])
def test_what_the_runtime_sheds_has_its_turn_where_weights_age(tmp_path: Path, aging_s: int, fewest: int) -> None:
    """One lane, and 130 ms of work every 100 ms: without aging the light one answers only until it is sent away."""
    lane = Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "m", "processors": [{"name": "cpu", "backend": "cpu"}]}
    )
    both = workload_of(
        graph("heavy", "work", weight=4, deadline_us=100_000), graph("light", "work", deadline_us=100_000)
    )
    costs = profile_of({("heavy.work", "cpu"): (60_000, 1), ("light.work", "cpu"): (70_000, 1)})
    with Runtime.simulated(both, lane, costs, compute=False, window_stages=0) as runtime:
        phone = Phone(runtime, tmp_path)
        phone.workload, phone.tally = both, Tally(lane)
        governor = phone.governor(MeetDeadlines(kind="meet-deadlines", every_s=1, aging_s=aging_s))
        in_time = {"heavy": 0, "light": 0}
        for _ in range(60):
            for _ in range(10):
                runtime.submit(phone.release_us, {})
                phone.release_us += 100_000
                for result in runtime.results():
                    phone.tally.add(result, runtime.merged)
                    for one in result.graphs:
                        in_time[one.graph] += not one.missed
            phone.tick(governor, seconds=1)
    assert in_time["light"] >= fewest and in_time["heavy"] > in_time["light"]
    if not aging_s:
        assert in_time["light"] < 20
