"""IIO sensors: what their files and buffers say is what an independent reader, and another way of counting, say."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemons import a_site, many_files
from leo_runtime.clock import VirtualClock
from leo_runtime.daemon.iio_format import Element, ElementType, layout, read_matrix, read_type
from leo_runtime.daemon.kinds import SourceFailedError
from leo_runtime.daemon.sources import iio
from leo_runtime.daemon.sources.iio import IioSource
from leo_runtime.documents.workload import Stream
from leo_runtime.errors import InputError, LeoError

WATCH = Stream(name="watch", kind="motion", rate_hz=25, channels=3)
AXES = ("accel_x", "accel_y", "accel_z")

# Types and scans.


@st.composite
def types(draw: st.DrawFn) -> ElementType:
    storage = draw(st.sampled_from([8, 16, 32, 64]))
    shift = draw(st.integers(0, storage - 1))
    bits = draw(st.integers(1, storage - shift))
    return ElementType(
        draw(st.booleans()), draw(st.booleans()), bits, storage, draw(st.sampled_from([1, 1, 2, 4])), shift
    )


def written(kind: ElementType) -> str:
    repeat = f"X{kind.repeat}" if kind.repeat > 1 else ""
    order, sign = "be" if kind.big_endian else "le", "s" if kind.signed else "u"
    return f"{order}:{sign}{kind.bits}/{kind.storage_bits}{repeat}>>{kind.shift}"


@given(types())
@example(ElementType(False, True, 12, 16, 1, 4))
def test_a_type_is_read_as_it_is_written(kind: ElementType) -> None:
    assert read_type(written(kind) + "\n") == kind


@given(st.lists(types(), min_size=1, max_size=6), st.integers(1, 4), st.randoms(use_true_random=False))
def test_scans_hold_what_another_way_of_counting_finds(kinds: list[ElementType], scans: int, random: Any) -> None:
    places = random.sample(range(40), len(kinds))
    elements = [Element(f"e{at}", at, kind) for at, kind in zip(places, kinds, strict=True)]
    found = layout(elements)
    data = bytearray()
    expected: dict[str, list[list[int]]] = {element.name: [] for element in elements}
    for _ in range(scans):
        begin = len(data)
        for element in sorted(elements, key=lambda one: one.index):
            size = element.type.storage_bits // 8 * element.type.repeat
            while (len(data) - begin) % size:
                data.append(random.randrange(256))
            row = []
            for _ in range(element.type.repeat):
                value = random.getrandbits(element.type.bits)
                noise = random.getrandbits(element.type.storage_bits)
                mask = ((1 << element.type.bits) - 1) << element.type.shift
                stored = noise & ~mask | value << element.type.shift
                data += stored.to_bytes(element.type.storage_bits // 8, "big" if element.type.big_endian else "little")
                negative = element.type.signed and value >> (element.type.bits - 1)
                row.append(value - (1 << element.type.bits) if negative else value)
            expected[element.name].append(row)
        while (len(data) - begin) % max(kind.storage_bits // 8 * kind.repeat for kind in kinds):
            data.append(random.randrange(256))
    assert found.scan_bytes * scans == len(data)
    for element in elements:
        values = found.values(bytes(data), element.name)
        assert values.reshape(scans, element.type.repeat).tolist() == expected[element.name]


NO_TYPES = ["", "le:s12/16", "le:f32/32>>0", "le:s12/16>>5", "le:s0/8>>0", "le:s8/24>>0", "le:s8/8X99>>0", "me:s8/8>>0"]


@pytest.mark.parametrize("text", NO_TYPES)
def test_a_type_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        read_type(text)
    assert "buffer = false" in refused.value.hint


@given(st.text(max_size=40))
def test_any_text_is_a_type_or_refused(text: str) -> None:
    for read in (read_type, read_matrix):
        try:
            read(text)
        except InputError:
            continue


def test_elements_of_one_index_and_none_are_refused() -> None:
    kind = read_type("le:s16/16>>0")
    for elements in ([Element("a", 0, kind), Element("b", 0, kind)], []):
        with pytest.raises(InputError):
            layout(elements)


@pytest.mark.parametrize(
    "text", ["", "1,0,0;0,1,0", "1,0;0,1,0;0,0,1", "a,0,0;0,1,0;0,0,1", "nan,0,0;0,1,0;0,0,1", "1e9,0,0;0,1,0;0,0,1"]
)
def test_a_matrix_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_matrix(text)


# A device.


def a_device(root: Path, **files: str) -> Path:
    """An accelerometer of three axes, with these files more; names have `/` as `__`."""
    folder = root / "sys/bus/iio/devices/iio:device0"
    usual = {"name": "lis3dh", "in_accel_scale": "0.01", "in_accel_x_raw": "100", "in_accel_y_raw": "-200"}
    usual |= {"in_accel_z_raw": "981", "sampling_frequency": "25", "sampling_frequency_available": "10 25 50 100"}
    for name, text in (usual | files).items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return folder


def with_buffer(root: Path, scan: str = "scan_elements", buffer: str = "buffer", **files: str) -> Path:
    """The same with a buffer: 3 x 12 bits in the upper ones of 16, and the time."""
    elements = {
        f"{scan}__in_{axis}_{what}": text
        for at, axis in enumerate(AXES)
        for what, text in (("en", "0"), ("index", str(2 - at)), ("type", "le:s12/16>>4"))
    }
    elements |= {f"{scan}__in_timestamp_en": "0", f"{scan}__in_timestamp_index": "3"}
    elements |= {f"{scan}__in_timestamp_type": "le:s64/64>>0", "current_timestamp_clock": "realtime"}
    elements |= {f"{scan}__in_temp_en": "1", f"{scan}__in_temp_index": "4", f"{scan}__in_temp_type": "be:u8/8>>0"}
    elements |= {f"{buffer}__enable": "0", f"{buffer}__length": "2"}
    (root / "dev").mkdir(exist_ok=True)
    os.mkfifo(root / "dev" / "iio:device0")
    return a_device(root, **(elements | files))


class Fed:
    """What a sensor gave, until that is enough."""

    def __init__(self, most: int) -> None:
        self.stop, self._most = threading.Event(), most
        self.pieces: list[tuple[np.ndarray, int | None]] = []

    def __call__(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        self.pieces.append((samples, at_us))
        if sum(len(piece) for piece, _ in self.pieces) >= self._most:
            self.stop.set()

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate([piece for piece, _ in self.pieces])


def run(root: Path, most: int, stream: Stream = WATCH, now_us: int = 5_000_000, **config: Any) -> Fed:
    fed = Fed(most)
    made = IioSource(kind="iio", device=config.pop("device", "lis3dh"), root=str(root), **config)
    site = a_site(root)
    object.__setattr__(site, "workload", site.workload.model_copy(update={"streams": (stream,)}))
    opened = made.open(site)
    opened._clock, opened._realtime_ns = VirtualClock(now_us), lambda: 1_700_000_000_000_000_000
    opened.run(fed, fed.stop)
    return fed


def test_a_sensor_is_polled_at_the_rate_of_the_stream(tmp_path: Path) -> None:
    a_device(tmp_path)
    fed = run(tmp_path, 4)
    assert np.allclose(fed.samples, [[1, -2, 9.81]] * 4) and fed.samples.dtype == np.float32
    assert [at_us for _, at_us in fed.pieces] == [5_000_000, 5_040_000, 5_080_000, 5_120_000]


def test_scale_offset_units_and_mounting(tmp_path: Path) -> None:
    gyro = {f"in_anglvel_{axis}_raw": "10" for axis in "xyz"}
    a_device(
        tmp_path,
        in_accel_x_offset="-50",
        in_accel_x_scale="0.02",
        in_accel_mount_matrix="0, 1, 0; -1, 0, 0; 0, 0, 1",
        in_anglvel_scale="0.1",
        in_anglvel_offset="5",
        **gyro,
    )
    six = Stream(name="watch", kind="motion", rate_hz=25, channels=6)
    fed = run(tmp_path, 1, six, acceleration="g", turning="deg/s")
    x, y, z = (100 - 50) * 0.02, -200 * 0.01, 981 * 0.01
    turn = math.degrees(1.5)
    assert np.allclose(fed.samples, [[y / 9.80665, -x / 9.80665, z / 9.80665, turn, turn, turn]])
    assert np.allclose(run(tmp_path, 1, mount_matrix=False).samples, [[x, y, z]])


def test_values_that_are_processed_already_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = a_device(tmp_path, in_accel_x_input="1.5", in_accel_y_input="2.5", in_accel_z_input="3.5")
    for axis in "xyz":
        (folder / f"in_accel_{axis}_raw").unlink()
    assert run(tmp_path, 1).samples.tolist() == [[1.5, 2.5, 3.5]]


def test_the_rate_is_set_to_one_that_is_offered(tmp_path: Path) -> None:
    folder = a_device(tmp_path, sampling_frequency="10")
    run(tmp_path, 1)
    assert (folder / "sampling_frequency").read_text() == "25"
    run(tmp_path, 1, Stream(name="watch", kind="motion", rate_hz=60, channels=3))
    assert (folder / "sampling_frequency").read_text() == "100"
    with pytest.raises(InputError, match="at most 100 times"):
        run(tmp_path, 1, Stream(name="watch", kind="motion", rate_hz=400, channels=3))


@pytest.mark.parametrize(("rate_hz", "written"), [(119, "119.047619"), (5, "15.620000"), (1500, "2000")])
def test_a_rate_is_written_as_it_is_offered_also_where_it_is_offered_for_all(
    tmp_path: Path, rate_hz: float, written: str
) -> None:
    offered = "15.620000 119.047619 2000"
    folder = a_device(tmp_path, in_accel_sampling_frequency="125.000000", sampling_frequency_available=offered)
    (folder / "sampling_frequency").unlink()
    run(tmp_path, 1, Stream(name="watch", kind="motion", rate_hz=rate_hz, channels=3))
    assert (folder / "in_accel_sampling_frequency").read_text() == written


def test_a_rate_of_a_range_has_no_exponent(tmp_path: Path) -> None:
    folder = a_device(tmp_path, sampling_frequency_available="[1 1 2000000]")
    run(tmp_path, 1, Stream(name="watch", kind="motion", rate_hz=1_000_000, channels=3))
    assert (folder / "sampling_frequency").read_text() == "1000000"


@pytest.mark.parametrize("shared", ["in_voltage_scale", "in_scale", "scale"])
def test_numbered_channels_share_a_scale(tmp_path: Path, shared: str) -> None:
    raw = {"in_voltage0_raw": "100", "in_voltage1_raw": "200", "in_voltage0-voltage1_raw": "300"}
    pairs = {"in_voltage-voltage_scale": "0.25"} if shared == "in_voltage_scale" else {}
    a_device(tmp_path, **raw, **{shared: "0.5"}, **pairs, in_voltage1_scale="2", in_voltage_offset="-50")
    names = ("voltage0", "voltage1", "voltage0-voltage1")
    fed = run(tmp_path, 1, channels=names)
    pair = 300 * 0.25 if pairs else 300 * 0.5
    assert fed.samples.tolist() == [[(100 - 50) * 0.5, (200 - 50) * 2, pair]]


def test_of_two_of_one_name_the_label_tells_which_is_meant(tmp_path: Path) -> None:
    folder = a_device(tmp_path, label="accel-display")
    other = folder.with_name("iio:device10")
    shutil.copytree(folder, other)
    (other / "label").write_text("accel-base\n")
    (other / "in_accel_x_raw").write_text("700\n")
    assert run(tmp_path, 1, device="accel-base").samples[0, 0] == run(tmp_path, 1, device="iio:device10").samples[0, 0]
    assert np.allclose(run(tmp_path, 1, device="accel-display").samples, [[1, -2, 9.81]])
    with pytest.raises(InputError, match=r"several IIO devices are called `lis3dh`: .*accel-display.*accel-base"):
        run(tmp_path, 1)
    with pytest.raises(InputError, match="no IIO device `accel-bas`") as refused:
        run(tmp_path, 1, device="accel-bas")
    assert "accel-base" in refused.value.hint


def scan(x: int, y: int, z: int, at_ns: int) -> bytes:
    """z is first: the order is of the indices."""
    return np.array([z << 4, y << 4, x << 4, 0x7777], "<u2").tobytes() + at_ns.to_bytes(8, "little")


@pytest.mark.parametrize(("elements", "buffer"), [("scan_elements", "buffer"), ("buffer0", "buffer0")])
def test_a_buffer_is_set_up_read_and_let_go(tmp_path: Path, elements: str, buffer: str) -> None:
    folder = with_buffer(tmp_path, elements, buffer)
    fifo = os.open(tmp_path / "dev" / "iio:device0", os.O_RDWR)
    data = b"".join(scan(at, at + 100, 0x7FF - at, 4_000_000_000 + at * 40_000_000) for at in range(5))
    data += scan(5, 105, 0x7FA, 9_000_000_000)  # None were measured for long.
    os.write(fifo, data)
    with many_files():
        fed = run(tmp_path, 6)
    os.close(fifo)
    assert np.allclose(fed.samples, [[at * 0.01, (at + 100) * 0.01, (0x7FF - at) * 0.01] for at in range(6)])
    assert [(len(piece), at_us) for piece, at_us in fed.pieces] == [(5, 4_000_000), (1, 9_000_000)]
    said = {name: (folder / name).read_text().strip() for name in ("current_timestamp_clock", f"{buffer}/enable")}
    assert said == {"current_timestamp_clock": "monotonic", f"{buffer}/enable": "0"}
    on = [axis for axis in (*AXES, "timestamp", "temp") if (folder / elements / f"in_{axis}_en").read_text()[0] == "1"]
    assert on == [*AXES, "timestamp"] and (folder / buffer / "length").read_text() == "128"


def test_times_of_days_are_moved_to_the_monotonic_clock(tmp_path: Path) -> None:
    switched = {f"scan_elements__in_{axis}_en": "1" for axis in (*AXES, "timestamp")}
    folder = with_buffer(tmp_path, buffer__enable="1", scan_elements__in_temp_en="0", **switched)
    fifo = os.open(tmp_path / "dev" / "iio:device0", os.O_RDWR)
    os.write(fifo, scan(1, 2, 3, 1_699_999_999_000_000_000)[:5])
    os.write(fifo, scan(1, 2, 3, 1_699_999_999_000_000_000)[5:])
    fed = run(tmp_path, 1)
    os.close(fifo)
    assert fed.pieces[0][1] == 4_000_000
    # What was on before is not for the daemon to switch off, or to change.
    assert (folder / "buffer/enable").read_text() == "1\n"
    assert (folder / "current_timestamp_clock").read_text() == "realtime\n"


def test_a_buffer_that_cannot_be_set_up_is_polled_unless_it_was_asked_for(tmp_path: Path) -> None:
    folder = with_buffer(tmp_path, trigger__current_trigger="")
    assert np.allclose(run(tmp_path, 1).samples, [[1, -2, 9.81]])
    with pytest.raises(InputError, match="needs a trigger") as refused:
        run(tmp_path, 1, buffer=True)
    assert "hrtimer" in refused.value.hint
    timer = folder.parent / "trigger10"
    for number, name in ((1, "lis3dh-any-motion-dev0"), (10, "lis3dh-dev0"), (2, "dev0"), (3, "lis3dh-dev10")):
        (folder.parent / f"trigger{number}").mkdir()
        (folder.parent / f"trigger{number}" / "name").write_text(f"{name}\n")
    (timer / "sampling_frequency").write_text("100\n")
    fifo = os.open(tmp_path / "dev" / "iio:device0", os.O_RDWR)
    os.write(fifo, scan(1, 2, 3, 1_000_000_000))
    assert np.allclose(run(tmp_path, 1, buffer=True).samples, [[0.01, 0.02, 0.03]])
    os.close(fifo)
    assert (folder / "trigger/current_trigger").read_text() == "lis3dh-dev0"
    assert (timer / "sampling_frequency").read_text() == "25"


def test_where_sys_is_read_only_as_in_the_unit_a_sensor_is_polled_at_the_rate_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_buffer(tmp_path, sampling_frequency="50")
    opens = Path.open

    def read_only(path: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
        if "w" in mode:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opens(path, mode, *args, **named)

    monkeypatch.setattr(Path, "open", read_only)
    assert np.allclose(run(tmp_path, 1).samples, [[1, -2, 9.81]])
    assert (
        "its rate stays as it is" in caplog.text and "iio:device0 is polled: its buffer cannot be used" in caplog.text
    )
    with pytest.raises(SourceFailedError, match="cannot be written: Read-only file system") as refused:
        run(tmp_path, 1, buffer=True)
    assert "ReadWritePaths=/sys/devices" in refused.value.hint and "buffer = false" in refused.value.hint


def test_a_buffer_of_another_rate_than_the_stream_is_polled(tmp_path: Path) -> None:
    with_buffer(tmp_path)
    sixty = Stream(name="watch", kind="motion", rate_hz=60, channels=3)
    assert np.allclose(run(tmp_path, 1, sixty).samples, [[1, -2, 9.81]])
    with pytest.raises(InputError, match="100 times a second, not 60"):
        run(tmp_path, 1, sixty, buffer=True)


def test_a_device_that_vanishes_and_one_that_is_silent_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_buffer(tmp_path)
    file = tmp_path / "dev" / "iio:device0"
    file.unlink()
    file.touch()
    with pytest.raises(OSError, match="gone"):
        run(tmp_path, 1, buffer=True)
    file.unlink()
    os.mkfifo(file)
    fifo = os.open(tmp_path / "dev" / "iio:device0", os.O_RDWR)
    monkeypatch.setattr(iio, "LOOKS_S", 0.01)
    monkeypatch.setattr(iio, "SILENT_S", 0.02)
    fast = Stream(name="watch", kind="motion", rate_hz=100, channels=3)
    with pytest.raises(SourceFailedError, match="nothing for"):
        run(tmp_path, 1, fast, buffer=True)
    os.close(fifo)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="no IIO device `lis3dh`"):
        run(tmp_path, 1)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"device": "lis3d"}, "no IIO device"),
        ({"channels": ("accel_x", "accel_y", "accel_w")}, "no channel `accel_w`"),
        ({"channels": ("accel_x", "accel_y")}, "is asked for accel_x, accel_y"),
        ({"channels": ("accel_x", "accel_x", "accel_z")}, "each once"),
        ({"buffer": True}, "has no buffer"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, config: Any, says: str) -> None:
    a_device(tmp_path)
    with pytest.raises(InputError) as refused:
        run(tmp_path, 1, **config)
    assert says in f"{refused.value}; {refused.value.hint}" and refused.value.hint


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "in_accel_scale",
                "in_accel_x_raw",
                "in_mount_matrix",
                "sampling_frequency",
                "sampling_frequency_available",
                "scan_elements__in_accel_x_type",
                "scan_elements__in_accel_x_index",
                "trigger__current_trigger",
            ]
        ),
        st.text(st.characters(codec="utf-8"), max_size=12),
        max_size=4,
    )
)
@example({"in_accel_scale": "1E100"})
@example({"in_accel_scale": "1e9", "in_accel_x_raw": "1e20", "scan_elements__in_accel_x_type": "none"})
@example({"in_accel_x_raw": "1e60", "scan_elements__in_accel_x_type": "none"})
@settings(max_examples=50)
def test_files_that_say_anything_end_in_samples_or_a_message(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("sensor")
    with_buffer(root, **files)
    fifo = os.open(root / "dev" / "iio:device0", os.O_RDWR)
    os.write(fifo, scan(1, 2, 3, 1_000_000_000) * 4)
    try:
        fed = run(root, 1)
        assert fed.samples.shape[1:] == (3,)
    except LeoError as told:
        assert str(told).isprintable()
    finally:
        os.close(fifo)
        shutil.rmtree(root)


# A referee.

MADE_UP = """\
P: /devices/platform/iio:device0
E: SUBSYSTEM=iio
E: DEVTYPE=iio_device
E: DEVNAME=iio:device0
N: iio:device0
A: name=lis3dh\\n
A: sampling_frequency=25\\n
A: in_accel_scale=0.009576806\\n
A: in_accel_x_raw=12\\n
A: in_accel_y_raw=-1031\\n
A: in_accel_z_raw=512\\n
A: buffer/enable=0\\n
A: buffer/length=128\\n
A: scan_elements/in_accel_x_en=1\\n
A: scan_elements/in_accel_x_index=0\\n
A: scan_elements/in_accel_x_type=le:s12/16>>4\\n
A: scan_elements/in_accel_y_en=1\\n
A: scan_elements/in_accel_y_index=1\\n
A: scan_elements/in_accel_y_type=be:u10/16>>6\\n
A: scan_elements/in_accel_z_en=1\\n
A: scan_elements/in_accel_z_index=2\\n
A: scan_elements/in_accel_z_type=le:s24/32>>8\\n
"""

LOOK = """
import json, threading
from pathlib import Path
from leo_runtime.clock import VirtualClock
from leo_runtime.daemon.iio_device import IioDevice
from leo_runtime.daemon.sources.iio import Iio, IioSource
from leo_runtime.documents.workload import Stream
names, stop, found = ("accel_x", "accel_y", "accel_z"), threading.Event(), {}
device = IioDevice("lis3dh", Path("/"))
for element in device.switch_on(names, None, 25).elements:
    kind = element.type
    found[element.name] = [element.index, kind.big_endian, kind.signed, kind.bits, kind.storage_bits, kind.shift]
def feed(samples, at_us=None):
    found["sample"] = samples[0].tolist()
    stop.set()
stream = Stream(name="s", kind="motion", rate_hz=25, channels=3)
config = IioSource(kind="iio", device="lis3dh", buffer=False)
Iio(config, names, stream, Path("/"), clock=VirtualClock()).run(feed, stop)
print(json.dumps(found))
"""


def test_libiio_sees_the_same_device(tmp_path: Path) -> None:
    for program, package in (("umockdev-run", "umockdev"), ("iio_info", "libiio-utils")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt: {package})")
    (tmp_path / "made.umockdev").write_text(MADE_UP)
    within = ["umockdev-run", "-d", str(tmp_path / "made.umockdev"), "--"]
    referee = subprocess.run([*within, "iio_info"], capture_output=True, text=True, timeout=60, check=True).stdout
    ours = subprocess.run([*within, sys.executable, "-c", LOOK], capture_output=True, text=True, timeout=60)
    assert not ours.returncode, ours.stderr
    found = json.loads(ours.stdout)
    channels = re.findall(
        r"(accel_[xyz]):.*?index: (\d+), format: (le|be):([sSuU])(\d+)/(\d+)>>(\d+)\)(.*?)"
        r"(?=accel_|\d+ device-specific)",
        referee,
        re.DOTALL,
    )
    assert len(channels) == 3, referee
    for at, (name, index, order, sign, bits, storage, shift, attributes) in enumerate(channels):
        form = [int(index), order == "be", sign in "sS", int(bits), int(storage), int(shift)]
        assert found[name] == form
        raw, scale = (float(re.search(rf"{what} value: (\S+)", attributes)[1]) for what in ("raw", "scale"))  # type: ignore[index]  # both are there
        assert found["sample"][at] == pytest.approx(raw * scale, rel=1e-6)
