"""What policies make of a machine, with numbers: marks at which they turn, and that nothing flaps."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.daemon.machine_state import Battery, ClockCap, MachineState, Network, ThermalZone
from leo_runtime.daemon.policies import (
    ONE,
    Memory,
    Seen,
    Settings,
    Site,
    affordable_mw,
    decide,
    energy_level,
    lightest,
    whose_turn,
    with_turn,
)
from leo_runtime.daemon.policy_config import Acting, MeetDeadlines, PowerBudget, SaveEnergy
from leo_runtime.errors import DocumentError

S = 1_000_000
SITE = Site(
    graphs=(("alarm", 4), ("speech", 2), ("steps", 1)), cpu=("cpu",), gpu=("gpu",), networks=(("wifi", "wlan0"),)
)
MEET = MeetDeadlines(kind="meet-deadlines")
SAVE = SaveEnergy(kind="save-energy")


def battery(percent: int, *, charging: bool | None = False) -> MachineState:
    return MachineState(battery=Battery(percent, charging, None))


def heat(millicelsius: int) -> MachineState:
    return MachineState(zones=(ThermalZone("thermal_zone0", "cpu", millicelsius, 80_000),))


def clocks(*allowed_khz: int) -> MachineState:
    return MachineState(clocks=tuple(ClockCap(f"policy{i}", khz, 2_000_000) for i, khz in enumerate(allowed_khz)))


def settings_of(policy: Acting, *seen: Seen, site: Site = SITE) -> list[Settings]:
    """What each step in a row decides."""
    memory, found = Memory(), []
    for one in seen:
        settings, memory = decide(policy, site, one, memory)
        found.append(settings)
    return found


@pytest.mark.parametrize("policy", [MEET, SAVE, PowerBudget(kind="power-budget", power_mw=1000)])
def test_a_machine_of_which_nothing_is_known_changes_nothing(policy: Acting) -> None:
    for settings in settings_of(policy, Seen(0), Seen(10 * S)):
        assert settings == Settings(keeps_deadlines=policy is MEET)


# What is so.


def test_capped_clocks_slow_the_cpu_down_by_the_slowest() -> None:
    machines = [clocks(2_000_000), clocks(2_000_000, 1_000_000), clocks(1_800_000), clocks(1_000), clocks(2_100_000)]
    found = settings_of(SAVE, *(Seen(i * S, one) for i, one in enumerate(machines)))
    # 10 % slower is as fast as ever; what hardly runs is four times as slow.
    assert [dict(one.slowed_ppm) for one in found] == [{}, {"cpu": 2 * ONE}, {}, {"cpu": 4 * ONE}, {}]


def test_a_speed_that_wavers_makes_plans_anew_once() -> None:
    khz = [1_400_000, 1_300_000, 1_500_000, 1_350_000, 1_450_000]
    found = settings_of(SAVE, *(Seen(i * S, clocks(one)) for i, one in enumerate(khz)))
    assert {one.slowed_ppm for one in found} == {(("cpu", 1_428_571),)}


def test_pressure_counts_where_deadlines_are_to_be_met() -> None:
    busy = Seen(0, MachineState(cpu_pressure_ppm=500_000))
    assert settings_of(MEET, busy)[0].slowed_ppm == (("cpu", 2 * ONE),)
    assert settings_of(SAVE, busy)[0].slowed_ppm == ()
    assert settings_of(MEET, Seen(0, MachineState(cpu_pressure_ppm=ONE)))[0].slowed_ppm == (("cpu", 4 * ONE),)


def test_a_gpu_that_others_keep_busy_is_taken_until_they_let_go_of_it() -> None:
    busy = [100_000, 510_000, 300_000, 210_000, 200_000, 400_000, None]
    found = settings_of(MEET, *(Seen(i * S, gpu_others_ppm=one) for i, one in enumerate(busy)))
    assert [one.unavailable for one in found] == [(), ("gpu",), ("gpu",), ("gpu",), (), (), ()]


def test_what_somebody_says_is_his_is_not_used() -> None:
    found = settings_of(MEET, Seen(0, taken=("gpu",)), Seen(S), Seen(2 * S, taken=("cpu",)))
    assert [one.unavailable for one in found] == [("gpu",), (), ("cpu",)]


def test_a_radio_is_down_with_its_network_and_of_one_that_is_not_there_nothing_is_known() -> None:
    down, up = MachineState(networks=(Network("wlan0", False),)), MachineState(networks=(Network("wlan0", True),))
    found = settings_of(MEET, Seen(0, down), Seen(S, up), Seen(2 * S))
    assert [one.radios_down for one in found] == [("wifi",), (), ()]


# Saving energy.


def test_a_battery_saves_below_its_marks_and_until_it_is_well_above() -> None:
    percents = [31, 30, 29, 34, 35, 29, 14, 19, 20, 14]
    levels, level = [], 0
    for percent in percents:
        level = energy_level(SAVE, battery(percent), level)
        levels.append(level)
    assert levels == [0, 0, 1, 1, 0, 1, 2, 2, 1, 2]
    assert energy_level(SAVE, battery(5, charging=True), 2) == 0
    assert energy_level(SAVE, battery(5, charging=None), 0) == 2


def test_heat_saves_from_where_the_machine_throttles_until_it_is_five_degrees_below() -> None:
    levels, level = [], 0
    for millicelsius in (79_999, 80_000, 75_000, 74_999, 75_000):
        level = energy_level(SAVE, heat(millicelsius), level)
        levels.append(level)
    assert levels == [0, 1, 1, 0, 0]


def test_a_critical_battery_runs_only_what_weighs_most() -> None:
    found = settings_of(SAVE, Seen(0, battery(50)), Seen(S, battery(20)), Seen(2 * S, battery(10)))
    assert [(one.saves_energy, one.paused) for one in found] == [
        (False, ()),
        (True, ()),
        (True, ("speech", "steps")),
    ]
    assert lightest({"a": 3, "b": 3}) == () and lightest({}) == ()


def test_marks_that_cross_are_refused_with_their_place() -> None:
    with pytest.raises(DocumentError, match=r"at most `low_percent` \(30\), got 40, at \$.critical_percent"):
        SaveEnergy(kind="save-energy", critical_percent=40)


# A power budget.


def test_what_is_affordable_is_what_the_window_has_left() -> None:
    # 100 mW over 100 s are 10 J; 6 J of the last 90 s leave 4 J for the next 10 s.
    spent = [(0, 0), (90 * S, 6_000_000_000)]
    assert affordable_mw(spent, 100, 100 * S, 10 * S) == 400
    # Ten seconds on, what was spent in the first ten of them is out of the window.
    assert affordable_mw([*spent, (100 * S, 10_000_000_000)], 100, 100 * S, 10 * S) == 66
    assert affordable_mw([(0, 0), (100 * S, 20_000_000_000)], 100, 100 * S, 10 * S) == 0


class Plant:
    """A machine that draws what its graphs do, and 20 mW that are nobody's."""

    def __init__(self, draws_mw: Mapping[str, int], standing_mw: int = 20) -> None:
        self.draws_mw, self.standing_mw = dict(draws_mw), standing_mw
        self.nj, self.total_nj, self.at_us = dict.fromkeys(draws_mw, 0), 0, 0
        self.answers, self.shed = dict.fromkeys(draws_mw, 0), dict.fromkeys(draws_mw, 0)
        self.spent = [(0, 0)]

    def seen(self) -> Seen:
        return Seen(
            self.at_us,
            spent_nj=self.total_nj,
            graphs_nj=dict(self.nj),
            answers=dict(self.answers),
            shed=dict(self.shed),
        )

    def run(self, us: int, paused: tuple[str, ...]) -> None:
        self.at_us += us
        self.total_nj += self.standing_mw * us
        for name, mw in self.draws_mw.items():
            if name in paused:
                self.shed[name] += 1
            else:
                self.answers[name] += 1
                self.nj[name] += mw * us
                self.total_nj += mw * us
        self.spent.append((self.at_us, self.total_nj))

    def most_mw(self, window_us: int, after_us: int = 0) -> int:
        """The most that a window of that length drew, of those that begin after a time."""
        found = 0
        for i, (from_us, from_nj) in enumerate(self.spent):
            for to_us, to_nj in self.spent[i + 1 :]:
                if from_us >= after_us and to_us - from_us == window_us:
                    found = max(found, (to_nj - from_nj) // window_us)
        return found


def played(policy: PowerBudget, plant: Plant, steps: int, site: Site = SITE) -> list[tuple[str, ...]]:
    """Who pauses after each step of `every_s`."""
    memory, found = Memory(), []
    for _ in range(steps):
        settings, memory = decide(policy, site, plant.seen(), memory)
        found.append(settings.paused)
        plant.run(policy.every_s * S, settings.paused)
    return found


DRAWS = {"alarm": 100, "speech": 200, "steps": 50}


@pytest.mark.parametrize(
    ("power_mw", "pauses"),
    [
        (400, ()),  # 370 are drawn.
        (300, ("speech",)),  # 170, where 370 are too much, and 270 without steps would not leave a tenth.
        (171, ("speech", "steps")),  # 120 + 50 fit, and steps comes back only with a tenth to spare.
        (100, ("alarm", "speech")),  # 70 of the lightest, rather than nothing.
        (10, ("alarm", "speech", "steps")),
    ],
)
def test_a_budget_leaves_out_what_does_not_fit_and_settles(power_mw: int, pauses: tuple[str, ...]) -> None:
    policy, plant = PowerBudget(kind="power-budget", power_mw=power_mw, window_s=100), Plant(DRAWS)
    found = played(policy, plant, 60)
    assert found[-1] == pauses and len({*found[-20:]}) == 1
    changes = sum(before != after for before, after in pairwise(found))
    assert changes <= 4
    if power_mw >= 20:
        assert plant.most_mw(100 * S) <= power_mw


def test_a_budget_makes_up_for_a_burst_that_nobody_could_foresee() -> None:
    policy, plant = PowerBudget(kind="power-budget", power_mw=400, window_s=100), Plant(DRAWS)
    memory = Memory()
    for step in range(40):
        plant.standing_mw = 800 if step == 20 else 20
        settings, memory = decide(policy, SITE, plant.seen(), memory)
        plant.run(10 * S, settings.paused)
    # One step drew 1.15 W: the window with it was over by that, those that begin after it are not.
    assert 400 < plant.most_mw(100 * S) <= 400 + 80
    assert plant.most_mw(100 * S, after_us=220 * S) <= 400
    assert settings.paused == ()


@given(
    power_mw=st.integers(50, 800),
    draws=st.lists(st.integers(0, 300), min_size=3, max_size=3),
    standing_mw=st.integers(0, 50),
    aging_s=st.sampled_from([0, 60]),
)
def test_no_window_draws_more_than_its_budget_once_draws_are_known(
    power_mw: int, draws: list[int], standing_mw: int, aging_s: int
) -> None:
    """Draws that do not change: the first step, of which nothing is known, is the only one that may be too much."""
    policy = PowerBudget(kind="power-budget", power_mw=power_mw, window_s=100, aging_s=aging_s)
    plant = Plant(dict(zip(DRAWS, draws, strict=True)), standing_mw)
    played(policy, plant, 40)
    assert plant.most_mw(100 * S, after_us=10 * S) <= power_mw + 2


# Priorities without starvation.


def test_a_turn_comes_after_waiting_by_weight_and_lasts_until_that_is_worked_off() -> None:
    graphs = (("alarm", 4), ("speech", 2), ("steps", 1))
    assert whose_turn(graphs, {"steps": 239 * S}, 60, None) is None
    assert whose_turn(graphs, {"steps": 240 * S}, 60, None) == "steps"
    assert whose_turn(graphs, {"steps": 240 * S, "speech": 121 * S}, 60, None) == "speech"
    assert whose_turn(graphs, {"steps": 1, "speech": 999 * S}, 60, "steps") == "steps"
    assert whose_turn(graphs, {"steps": 0, "speech": 999 * S}, 60, "steps") == "speech"
    assert whose_turn(graphs, {"steps": 999 * S}, 0, None) is None
    assert with_turn(graphs, "steps") == {"alarm": 4, "speech": 2, "steps": 8} and with_turn((), None) == {}


def test_the_lightest_has_its_turn_and_without_aging_waits_forever() -> None:
    site, draws = Site(graphs=(("heavy", 4), ("light", 1))), {"heavy": 100, "light": 100}
    plant = Plant(draws)
    played(PowerBudget(kind="power-budget", power_mw=150, window_s=100), plant, 100, site)
    assert plant.answers["light"] == 1  # The first step, of which nothing is known.
    plant = Plant(draws)
    found = played(PowerBudget(kind="power-budget", power_mw=150, window_s=100, aging_s=60), plant, 400, site)
    # 240 s without, and 60 s with it, in steps of 10 s.
    paused = "".join("x" if "light" in out else "." for out in found).strip(".").split(".")
    assert {len(one) for one in paused[:-1] if one} == {24}
    assert 0.15 < plant.answers["light"] / 400 < 0.25
    assert plant.most_mw(100 * S, after_us=10 * S) <= 150


def test_a_critical_battery_gives_no_turns() -> None:
    policy, memory = SaveEnergy(kind="save-energy", aging_s=1), Memory()
    for step in range(50):
        seen = Seen(10 * S * step, battery(10), shed={"steps": step}, answers={"alarm": step})
        settings, memory = decide(policy, SITE, seen, memory)
        assert settings.paused == ("speech", "steps") and settings.weights == ()


def test_what_the_runtime_sheds_weighs_more_in_the_end_and_is_let_in() -> None:
    policy = MeetDeadlines(kind="meet-deadlines", aging_s=60)
    site, memory, weights = Site(graphs=(("heavy", 4), ("light", 1))), Memory(), []
    answers, shed = {"heavy": 0, "light": 0}, {"heavy": 0, "light": 0}
    for step in range(60):
        settings, memory = decide(policy, site, Seen(10 * S * step, answers=dict(answers), shed=dict(shed)), memory)
        now = {"heavy": 4, "light": 1} | dict(settings.weights)
        weights.append(now["light"])
        heavier = max(now, key=lambda name: now[name])
        answers[heavier] += 1
        shed["light" if heavier == "heavy" else "heavy"] += 1
    assert "".join("x" if weight == 8 else "." for weight in weights) == "." * 24 + "x" * 6 + "." * 24 + "x" * 6


def test_what_is_not_due_does_not_wait() -> None:
    policy, memory = MeetDeadlines(kind="meet-deadlines", aging_s=1), Memory()
    for at_s in (0, 1000):
        settings, memory = decide(policy, SITE, Seen(at_s * S), memory)
    assert settings.weights == ()


@given(
    percent=st.integers(0, 100),
    charging=st.sampled_from([None, True, False]),
    khz=st.integers(1, 3_000_000),
    pressure=st.none() | st.integers(0, ONE),
    busy=st.none() | st.integers(0, ONE),
    at_us=st.lists(st.integers(0, 10**12), min_size=1, max_size=5),
)
def test_whatever_is_seen_is_decided(
    percent: int, charging: bool | None, khz: int, pressure: int | None, busy: int | None, at_us: list[int]
) -> None:
    """Also where time stands still or goes back."""
    machine = MachineState(Battery(percent, charging, None), (), (ClockCap("p", khz, 2_000_000),), pressure)
    for policy in (MEET, SAVE, PowerBudget(kind="power-budget", power_mw=10, window_s=1, aging_s=1)):
        for one in settings_of(policy, *(Seen(at, machine, busy, spent_nj=at * 7) for at in at_us)):
            assert all(ONE <= factor <= 4 * ONE for _, factor in one.slowed_ppm)
            assert {*one.paused} <= {name for name, _ in SITE.graphs}
