"""What is read of a machine, from trees of files as Linux has them, whole and damaged."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.daemon.machine_state import (
    MOST_BYTES,
    Battery,
    ClockCap,
    MachineState,
    Network,
    ThermalZone,
    busy_ppm,
    own_processes,
    read_machine,
)

LAPTOP = {
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": "0",
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/capacity": "63",
    "sys/class/power_supply/BAT0/status": "Discharging",
    "sys/class/power_supply/BAT0/power_now": "7450000",
    "sys/class/power_supply/hidpp_battery_0/type": "Battery",
    "sys/class/power_supply/hidpp_battery_0/scope": "Device",
    "sys/class/power_supply/hidpp_battery_0/capacity": "5",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
    "sys/class/thermal/thermal_zone0/temp": "71000",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "95000",
    "sys/class/thermal/thermal_zone0/trip_point_1_type": "critical",
    "sys/class/thermal/thermal_zone0/trip_point_1_temp": "105000",
    "sys/class/thermal/thermal_zone0/cdev0_trip_point": "0",
    "sys/class/thermal/thermal_zone0/cdev0_weight": "1",
    "sys/class/thermal/thermal_zone2/type": "acpitz",
    "sys/class/thermal/thermal_zone2/temp": "-5000",
    "sys/class/thermal/cooling_device0/type": "Processor",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1200000",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "2400000",
    "sys/devices/system/cpu/cpufreq/policy10/scaling_max_freq": "2400000",
    "sys/devices/system/cpu/cpufreq/policy10/cpuinfo_max_freq": "2400000",
    "sys/devices/system/cpu/cpufreq/policy2/scaling_max_freq": "2000000",
    "sys/devices/system/cpu/cpufreq/policy2/cpuinfo_max_freq": "2000000",
    "proc/pressure/cpu": "some avg10=12.34 avg60=7.23 avg300=5.55 total=27843073863\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0",
    "sys/class/net/lo/operstate": "unknown",
    "sys/class/net/lo/carrier": "1",
    "sys/class/net/wlan0/operstate": "down",
    "sys/class/net/eth0/operstate": "up",
    "sys/class/net/tun0/operstate": "unknown",
    "sys/class/net/tun0/carrier": "1",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_a_laptop(tmp_path: Path) -> None:
    state = read_machine(tree(tmp_path, LAPTOP))
    assert state == MachineState(
        battery=Battery(63, False, 7_450),
        zones=(
            ThermalZone("thermal_zone0", "x86_pkg_temp", 71_000, 95_000),
            ThermalZone("thermal_zone2", "acpitz", -5_000, None),
        ),
        clocks=(
            ClockCap("policy0", 1_200_000, 2_400_000),
            ClockCap("policy2", 2_000_000, 2_000_000),
            ClockCap("policy10", 2_400_000, 2_400_000),
        ),
        cpu_pressure_ppm=123_400,
        networks=(Network("eth0", True), Network("tun0", True), Network("wlan0", False)),
    )
    assert state.clocks[0].allowed_ppm == 500_000
    assert state.hottest == state.zones[0]
    assert state.network("wlan0") == Network("wlan0", False) and state.network("wlan1") is None


def test_a_machine_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    assert read_machine(tmp_path, own=[]) == MachineState()
    assert read_machine(tmp_path / "not there") == MachineState()
    assert MachineState().hottest is None


def test_the_machine_at_hand_is_read() -> None:
    state = read_machine(own=own_processes())
    assert all(one.name != "lo" for one in state.networks)


@pytest.mark.parametrize(
    ("files", "battery"),
    [
        ({"status": "Charging", "capacity": "50"}, Battery(50, True, None)),
        ({"status": "Full", "capacity": "100"}, Battery(100, True, None)),
        ({"status": "Unknown", "capacity": "50"}, Battery(50, None, None)),
        ({"status": "Discharging", "capacity": "130"}, Battery(100, False, None)),
        # A phone's: charge and current, which some drivers give a sign.
        (
            {
                "status": "Discharging",
                "charge_now": "1500000",
                "charge_full": "3000000",
                "current_now": "-500000",
                "voltage_now": "4000000",
            },
            Battery(50, False, 2_000),
        ),
        ({"status": "Discharging", "energy_now": "1", "energy_full": "0"}, None),
        ({"status": "Discharging", "capacity": "fifty"}, None),
        ({"status": "Unknown", "capacity": "0", "present": "0"}, None),
        ({"status": "Unknown", "capacity": "0", "energy_now": "0", "energy_full": "0"}, None),
        ({"status": "Discharging", "capacity": "0", "energy_now": "0", "energy_full": "9"}, Battery(0, False, None)),
        ({"status": "Discharging", "capacity": "55", "charge_full": "0"}, Battery(55, False, None)),
    ],
)
def test_batteries(tmp_path: Path, files: dict[str, str], battery: Battery | None) -> None:
    base = "sys/class/power_supply/battery"
    tree(tmp_path, {f"{base}/type": "Battery", **{f"{base}/{name}": text for name, text in files.items()}})
    assert read_machine(tmp_path).battery == battery


def test_two_batteries_are_one_of_their_mean_and_sum(tmp_path: Path) -> None:
    for number, percent in enumerate((10, 60)):
        base = f"sys/class/power_supply/BAT{number}"
        tree(
            tmp_path,
            {
                f"{base}/type": "Battery",
                f"{base}/capacity": str(percent),
                f"{base}/status": "Discharging" if number else "Not charging",
                f"{base}/power_now": "3000000",
            },
        )
    assert read_machine(tmp_path).battery == Battery(35, False, 6_000)


@pytest.mark.parametrize(
    ("first", "second", "percent"),
    [
        ({"energy_full": "24000000"}, {"energy_full": "72000000"}, 25),
        ({"charge_full": "1000000"}, {"charge_full": "4000000"}, 20),
        ({"energy_full": "24000000"}, {"charge_full": "4000000"}, 50),  # In no unit of both.
        ({"energy_full": "24000000"}, {"energy_full": "0", "energy_now": "0"}, 100),  # A place without a battery.
        ({"energy_full": "24000000"}, {"energy_full": "72000000", "present": "0"}, 100),
    ],
)
def test_a_large_battery_counts_for_more_and_one_that_is_not_there_for_nothing(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], percent: int
) -> None:
    for name, files in (("BAT0", {"capacity": "100", **first}), ("BAT1", {"capacity": "0", **second})):
        base = f"sys/class/power_supply/{name}"
        usual = {"type": "Battery", "status": "Discharging"}
        tree(tmp_path, {f"{base}/{what}": text for what, text in (usual | files).items()})
    assert read_machine(tmp_path).battery == Battery(percent, False, None)


def test_a_mark_at_which_nothing_is_slowed_down_is_no_trip(tmp_path: Path) -> None:
    base = "sys/class/thermal/thermal_zone0"
    marks = {f"{base}/trip_point_{number}_type": "passive" for number in range(3)}
    marks |= {f"{base}/trip_point_{number}_temp": text for number, text in enumerate(("48000", "85000", "90000"))}
    tree(tmp_path, {f"{base}/type": "x86_pkg_temp", f"{base}/temp": "50000", **marks})
    assert read_machine(tmp_path).zones == (ThermalZone("thermal_zone0", "x86_pkg_temp", 50_000, None),)
    tree(tmp_path, {f"{base}/cdev0_trip_point": "2", f"{base}/cdev1_trip_point": "1", f"{base}/cdev2_trip_point": "-1"})
    assert read_machine(tmp_path).zones == (ThermalZone("thermal_zone0", "x86_pkg_temp", 50_000, 85_000),)


def test_gpu_time_of_others_is_each_clients_once_and_none_of_ours(tmp_path: Path) -> None:
    def client(process: int, descriptor: int, number: int, target: str = "/dev/dri/renderD128", **more: str) -> None:
        folder = tmp_path / f"proc/{process}"
        (folder / "fd").mkdir(parents=True, exist_ok=True)
        (folder / "fdinfo").mkdir(exist_ok=True)
        (folder / f"fd/{descriptor}").symlink_to(target)
        said = {"drm-driver": "i915", "drm-pdev": "0000:00:02.0", "drm-client-id": str(number), **more}
        (folder / f"fdinfo/{descriptor}").write_text("pos:\t0\n" + "".join(f"{k}:\t{v}\n" for k, v in said.items()))

    busy = {"drm-engine-render": "5000000 ns", "drm-engine-copy": "1000000 ns", "drm-engine-capacity-copy": "2"}
    client(10, 3, 7, **busy)
    client(10, 4, 7, **busy)  # The same client twice.
    client(10, 5, 8, target="/dev/null", **busy)
    client(20, 3, 9, **busy)
    client(30, 3, 10, **busy)
    (tmp_path / "proc/self/fd").mkdir(parents=True)
    assert read_machine(tmp_path, own=[20]).gpu_others_ns == 12_000_000
    assert read_machine(tmp_path, own=[10, 20, 30]).gpu_others_ns == 0
    assert read_machine(tmp_path).gpu_others_ns is None


def test_how_busy_a_counter_says() -> None:
    assert busy_ppm(1_000, 501_000, 1_000) == 500_000
    assert busy_ppm(1_000, 10**9, 1_000) == 1_000_000
    assert busy_ppm(1_000, 0, 1_000) == 0  # Whoever had used it has ended.
    assert busy_ppm(None, 5, 1) is busy_ppm(5, None, 1) is busy_ppm(0, 5, 0) is None


@settings(max_examples=60)
@given(
    texts=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"", b"-", b"99999999999999999999", b"\xb2", b"NaN", b"some avg10=1e999", b"some avg10=nan"]
            ),
            st.integers(-(10**20), 10**20).map(lambda number: str(number).encode()),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_nonsense_is_never_an_error(tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]) -> None:
    root = tmp_path_factory.mktemp("machine")
    for index, name in enumerate(LAPTOP):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        keep = name.endswith(("type", "scope"))
        (root / name).write_bytes(LAPTOP[name].encode() if keep else texts[index % len(texts)])
    state = read_machine(root, own=[])
    assert state.battery is None or 0 <= state.battery.percent <= 100
    assert state.cpu_pressure_ppm is None or 0 <= state.cpu_pressure_ppm <= 1_000_000
    assert all(0 <= one.allowed_ppm <= 1_000_000 for one in state.clocks)


def test_a_long_file_and_a_folder_in_the_place_of_one_are_nothing(tmp_path: Path) -> None:
    tree(tmp_path, LAPTOP)
    (tmp_path / "proc/pressure/cpu").write_bytes(b"x" * (MOST_BYTES + 1) + b"\nsome avg10=5.00")
    (tmp_path / "sys/class/power_supply/BAT0/capacity").unlink()
    (tmp_path / "sys/class/power_supply/BAT0/capacity").mkdir()
    state = read_machine(tmp_path)
    assert state.cpu_pressure_ppm is None and state.battery is None
