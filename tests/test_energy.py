"""Energy sources on made-up trees; on this machine there may be none."""

from pathlib import Path

import pytest

from leo_runtime.errors import BackendError
from leo_runtime.measure.energy import Counter, Gauge, Meter, find_sources


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


RAPL = "sys/class/powercap/intel-rapl:0"


def test_nothing_there_is_no_source(tmp_path: Path) -> None:
    assert find_sources(tmp_path) == ()


def test_rapl_counts_packages_once_and_wraps(tmp_path: Path) -> None:
    files = {
        f"{RAPL}/name": "package-0",
        f"{RAPL}/energy_uj": 990,
        f"{RAPL}/max_energy_range_uj": 1000,
        f"{RAPL}:0/name": "core",
        f"{RAPL}:0/energy_uj": 5,
    }
    (source,) = find_sources(write(tmp_path, files))
    assert isinstance(source, Counter)
    assert source.name == "rapl package-0"
    meter = Meter((source,))
    meter.start(0)
    write(tmp_path, {f"{RAPL}/energy_uj": 20})
    assert meter.stop(10) == {"rapl package-0": 30_000}


def test_a_counter_that_stands_at_zero_is_absent(tmp_path: Path) -> None:
    assert find_sources(write(tmp_path, {f"{RAPL}/name": "package-0", f"{RAPL}/energy_uj": 0})) == ()


def test_a_counter_that_runs_backwards_is_refused() -> None:
    with pytest.raises(BackendError, match="went from 9 nJ back to 3 nJ"):
        Counter("odd", lambda: 0).used_nj(9, 3)


def test_hwmon_energy_power_and_monitors_of_volts_and_amperes(tmp_path: Path) -> None:
    files = {
        "sys/class/hwmon/hwmon0/name": "amd_energy",
        "sys/class/hwmon/hwmon0/energy1_input": 7,
        "sys/class/hwmon/hwmon0/energy1_label": "Esocket0",
        "sys/class/hwmon/hwmon1/name": "ina231",
        "sys/class/hwmon/hwmon1/power1_input": 2_500_000,
        "sys/class/hwmon/hwmon1/in1_input": 5000,
        "sys/class/hwmon/hwmon1/curr1_input": 500,
        "sys/class/hwmon/hwmon2/name": "ina3221",
        "sys/class/hwmon/hwmon2/in1_input": 5000,
        "sys/class/hwmon/hwmon2/curr1_input": -300,
        "sys/class/hwmon/hwmon2/curr2_input": 300,
    }
    energy, power, product = find_sources(write(tmp_path, files))
    assert isinstance(energy, Counter)
    assert (energy.name, energy.read_nj()) == ("amd_energy Esocket0", 7000)
    assert isinstance(power, Gauge)
    assert (power.name, power.read_mw()) == ("ina231 power1", 2500)
    assert isinstance(product, Gauge)
    assert (product.name, product.read_mw()) == ("ina3221 curr1", 1500)


@pytest.mark.parametrize("current", [250_000, -250_000, 250, -250])
def test_a_battery_in_any_vendors_sign_and_unit(tmp_path: Path, current: int) -> None:
    folder = "sys/class/power_supply/bat"
    files = {f"{folder}/type": "Battery", f"{folder}/voltage_now": 4_000_000, f"{folder}/current_now": current}
    (battery,) = find_sources(write(tmp_path, files))
    assert isinstance(battery, Gauge)
    assert battery.read_mw() == 1000


def test_a_charger_is_no_battery(tmp_path: Path) -> None:
    files = {"sys/class/power_supply/usb/type": "USB", "sys/class/power_supply/usb/current_now": 5}
    assert find_sources(write(tmp_path, files)) == ()


def test_android_rails(tmp_path: Path) -> None:
    file = "sys/bus/iio/devices/iio:device0/energy_value"
    write(tmp_path, {file: "t=100\nCH0(T=100)[S10M_VDD_TPU], 0\nCH3(T=100)[S2M_VDD_CPUCL2], 500"})
    (rail,) = find_sources(tmp_path)
    assert rail.name == "rail S2M_VDD_CPUCL2"
    meter = Meter((rail,))
    meter.start(0)
    write(tmp_path, {file: "t=200\nCH3(T=200)[S2M_VDD_CPUCL2], 620"})
    assert meter.stop(1) == {"rail S2M_VDD_CPUCL2": 120_000}
    write(tmp_path, {file: "t=300"})
    with pytest.raises(BackendError, match="no longer there"):
        meter.sample(2)


def test_a_gauge_is_integrated_over_its_samples() -> None:
    readings = iter([1000, 3000, 1000])
    meter = Meter((Gauge("g", lambda: next(readings)),))
    meter.start(0)
    meter.sample(10)
    assert meter.stop(30) == {"g": 2000 * 10 + 2000 * 20}


@pytest.mark.parametrize("text", ["", "12ms", "0x10", "1 2"])
def test_what_is_no_number_is_no_source(tmp_path: Path, text: str) -> None:
    assert find_sources(write(tmp_path, {f"{RAPL}/energy_uj": text})) == ()


def test_a_source_that_goes_away_says_so(tmp_path: Path) -> None:
    (source,) = find_sources(write(tmp_path, {f"{RAPL}/energy_uj": 5}))
    (tmp_path / RAPL / "energy_uj").unlink()
    with pytest.raises(BackendError, match="can no longer be read"):
        Meter((source,)).start(0)
