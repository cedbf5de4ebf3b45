"""What phones and watches export, opened as a recording: values, rates, units, signs, clocks, labels."""

import json
import re
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import exports
from exports import EPOCH_NS, Files, G
from leo_runtime import shipped
from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings import files
from leo_runtime.recordings.exports import manifest_of, open_export, recognise
from leo_runtime.recordings.recording import Label, Recording
from leo_runtime.recordings.stream import Gap

needs_edfio = pytest.mark.skipif(find_spec("edfio") is None, reason="needs the extra `recordings`")


def walk(recording: Recording, stream: str, zero_s: float) -> tuple[np.ndarray, np.ndarray]:
    """What a stream of acceleration holds, and what it should, but for the corners of the walk.

    `zero_s` is when the recording begins, after the walk's own time 0.
    """
    samples = np.asarray(recording.samples[stream])
    times_s = zero_s + np.arange(len(samples)) / recording.stream(stream).rate_hz
    inner = slice(3, -3)
    steady = np.abs(times_s - np.round(times_s / 4) * 4) > 0.05
    return samples[inner][steady[inner]], exports.acceleration(times_s)[inner][steady[inner]]


def zero_s(form: str) -> float:
    """When its first sample is."""
    if form.startswith("sensor"):
        return float(exports.trembling_s(50, 0.004, 1)[0])
    return 0.0042 + float(exports.trembling_s(100.44, 0.001, 3)[0]) if form.startswith("phyphox") else 0.0


FORMS: dict[str, tuple[str, Callable[[], Files | bytes]]] = {
    "sensor-logger": ("phone", exports.sensor_logger),
    "sensor-logger-ios": ("phone", lambda: exports.sensor_logger("ios")),
    "sensor-logger-standardised": ("phone", lambda: exports.sensor_logger("ios", standardised=True)),
    "sensor-logger-json": ("phone.json", exports.sensor_logger_json),
    **{
        f"phyphox-{name}": ("phone", lambda name=name: exports.phyphox(name))  # type: ignore[misc]
        for name in exports.DIALECTS
    },
    "phyphox-bare": ("Acceleration with g.csv", lambda: exports.phyphox("semicolon-comma")["Accelerometer.csv"]),
    "physics-toolbox": ("phone.csv", exports.physics_toolbox),
    "physics-toolbox-comma": ("phone.csv", lambda: exports.physics_toolbox(";", ",")),
    "physics-toolbox-clock": ("phone.csv", lambda: exports.physics_toolbox(clock=True)),
    "polar": ("chest", exports.polar),
    "empatica-e4": ("wrist", exports.empatica),
    "uci-har": ("har", exports.uci_har),
    "wisdm": ("wisdm.txt", exports.wisdm),
}
ACCELERATION = {
    "sensor": ("total_acceleration", 50),
    "phyphox": ("acceleration", 100),
    "physics": ("acceleration", 50),
    "polar": ("acceleration", 52),
    "empatica": ("acc", 32),
    "uci": ("total_acc", 50),
    "wisdm": ("acceleration", 20),
}


def made(tmp_path: Path, form: str, *, zipped: bool = False) -> Path:
    name, content = FORMS[form][0], FORMS[form][1]()
    if isinstance(content, bytes):
        exports.write(tmp_path, {name: content})
        return tmp_path / name
    if zipped:
        exports.write(tmp_path, {f"{name}.zip": exports.as_zip(content)})
        return tmp_path / f"{name}.zip"
    return exports.write(tmp_path / name, content)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_an_export_opens_in_meters_per_second_squared_at_its_rate(tmp_path: Path, form: str, zipped: bool) -> None:
    path = made(tmp_path, form, zipped=zipped)
    recording = open_export(path)
    name, rate_hz = ACCELERATION[form.split("-")[0]]
    stream = recording.stream(name)
    assert recognise(path) is not None and form.startswith(recognise(path) or "")
    assert (stream.kind, stream.rate_hz, stream.unit) == ("motion", rate_hz, "m/s^2")
    if form.startswith("uci"):  # A window is left empty between its two runs.
        assert (
            np.abs(np.asarray(recording.samples[name])[:448] - exports.acceleration(np.arange(448) / 50)).max() < 1e-4
        )
        return
    found, wanted = walk(recording, name, zero_s(form))
    # Empatica counts in 1/64 g, Polar in mg; a walk of 2 Hz, interpolated at 50 Hz, is off by a twentieth.
    assert np.abs(found - wanted).max() < (0.16 if rate_hz <= 50 else 0.03)
    assert found.dtype == np.float32


@pytest.mark.parametrize("form", FORMS)
def test_a_manifest_written_beside_an_export_reads_the_same(tmp_path: Path, form: str) -> None:
    path = made(tmp_path, form, zipped=True)
    opened = open_export(path)
    manifest_of(path).to_file(tmp_path / "written.json")
    read = Recording.from_file(tmp_path / "written.json")
    for stream in opened.manifest.streams:
        assert np.array_equal(np.asarray(read.samples[stream.name]), opened.samples[stream.name]), stream.name
    assert read.gaps == opened.gaps
    assert {name: times.tolist() for name, times in read.times_us.items()} == {
        name: times.tolist() for name, times in opened.times_us.items()
    }
    assert read.manifest == opened.manifest


def test_a_rate_of_ones_own_is_read_from_an_export(tmp_path: Path) -> None:
    made(tmp_path, "phyphox-comma", zipped=True)
    (tmp_path / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made by a test"\n'
        '[[streams]]\nname = "wrist"\nsensor = "acceleration"\nkind = "motion"\nfile = "phone.zip"\n'
        'format = "phyphox"\nrate_hz = 100.44\nchannels = 3\n'
    )
    recording = Recording.from_file(tmp_path)
    found, wanted = walk(recording, "wrist", zero_s("phyphox"))
    assert np.abs(found - wanted).max() < 0.03


def test_sensors_that_begin_later_stand_at_their_own_time(tmp_path: Path) -> None:
    recording = open_export(made(tmp_path, "sensor-logger"))
    (gap,) = recording.gaps["gyroscope"]
    assert (gap.start_us, recording.gaps.keys()) == (0, {"gyroscope"})
    assert 780_000 <= gap.end_us <= 810_000
    turned = np.asarray(recording.samples["gyroscope"])
    zero_s = ((recording.manifest.start_epoch_us or 0) - EPOCH_NS / 1000) / 1e6
    wanted = exports.rotation(zero_s + np.arange(len(turned)) / 50)
    assert np.abs(turned - wanted)[210:395].max() < 0.05  # In the middle of the walk, away from its corners.
    assert recording.repairs[0] == (
        "time 0 is that of the first sample (2025-11-29 01:00:00.125 UTC); later begin gyroscope 0.799 s"
    )
    assert recording.manifest.time_zone == "Europe/Berlin"


def test_what_a_person_noted_becomes_labels_of_all_streams(tmp_path: Path) -> None:
    (label,) = open_export(made(tmp_path, "sensor-logger")).manifest.labels
    assert (label.stream, label.label, label.end_us - label.start_us) == (None, "walking", 4_000_000)
    assert abs(label.start_us - 4_000_000) < 5000
    (tag,) = open_export(made(tmp_path, "empatica-e4")).manifest.labels
    assert tag == Label(start_us=4_250_000, end_us=4_250_001, label="tag")
    labels = open_export(made(tmp_path, "uci-har")).manifest.labels
    assert [(one.label, one.start_us, one.end_us) for one in labels] == [
        ("STANDING", 0, 3_840_000),
        ("WALKING", 3_840_000, 8_960_000),
        ("STANDING", 8_980_000, 12_820_000),
    ]
    labels = open_export(made(tmp_path, "wisdm")).manifest.labels
    assert [one.label for one in labels] == ["Standing", "Walking", "Standing"]


def test_events_have_their_times_and_no_rate(tmp_path: Path) -> None:
    recording = open_export(made(tmp_path, "empatica-e4"))
    assert (recording.stream("ibi").kind, recording.stream("ibi").rate_hz) == ("events", 0)
    assert recording.times_us["ibi"].tolist() == [1_500_000, 2_400_000, 6_000_000]
    window = recording.window("ibi", 3_000_000, 3)
    assert window.shape == (3, 2) and window.dtype == np.float32
    assert np.allclose(window, [[0, -1], [0.9, 1.5], [0.9, 0.6]])
    # It lasts as long as what comes at a rate, however early the last event is.
    assert recording.duration_us == 12_000_000
    assert open_export(made(tmp_path, "polar")).samples["heart_rate"].shape == (8, 2)


def test_the_signs_of_a_phone_that_does_not_say_what_it_is_are_told(tmp_path: Path) -> None:
    files = {name: raw for name, raw in exports.sensor_logger().items() if name == "TotalAcceleration.csv"}
    recording = open_export(exports.write(tmp_path / "one", files) / "TotalAcceleration.csv")
    assert [stream.name for stream in recording.manifest.streams] == ["total_acceleration"]
    assert any("no Metadata.csv says which phone it was" in repair for repair in recording.repairs)
    iphone = open_export(made(tmp_path, "sensor-logger-ios"))
    assert "an iPhone's accelerations have the other sign, raw ones in g: brought to Android's, in m/s^2" in (
        iphone.repairs
    )
    for name in ("gravity", "accelerometer_uncalibrated"):
        assert np.allclose(np.asarray(iphone.samples[name])[10], [0, 0, G], atol=1e-4)


def test_a_phones_name_with_a_comma_is_no_other_platform(tmp_path: Path) -> None:
    files = exports.sensor_logger("ios")
    said = files["Metadata.csv"].decode()
    plain = open_export(exports.write(tmp_path / "plain", files))
    for name in ("iPhone13,2", "mine, old, blue"):
        files["Metadata.csv"] = said.replace("3,Phone,", f"3,{name},").encode()
        found = open_export(exports.write(tmp_path / name, files))
        assert found.manifest.time_zone == plain.manifest.time_zone and name in found.manifest.source
        assert np.array_equal(np.asarray(found.samples["gravity"]), np.asarray(plain.samples["gravity"]))
    files["Metadata.csv"] = said.replace(",ios,", ",tizen,").encode()
    found = open_export(exports.write(tmp_path / "other", files))
    assert "Metadata.csv says platform `tizen`: signs and units are taken for Android's" in found.repairs


def sensor_table(columns: str, values: np.ndarray, rate_hz: float = 50) -> bytes:
    """A file of Sensor Logger with these columns behind its times."""
    times_s = exports.even_s(rate_hz)
    rows = (
        (EPOCH_NS + round(t * 1e9), t, *row)
        for t, row in zip(times_s.tolist(), values[: len(times_s)].tolist(), strict=True)
    )
    return exports.text(f"time,seconds_elapsed,{columns}", rows)


@pytest.mark.parametrize("standardised", [False, True])
def test_a_watch_and_what_holds_several_sensors_become_streams_in_the_same_units(
    tmp_path: Path, standardised: bool
) -> None:
    moved = exports.acceleration(exports.even_s(50))
    turned = exports.rotation(exports.even_s(50))
    by = 1.0 if standardised else -1 / G
    wrist = np.hstack([turned, by * (moved - [0, 0, G]), by * np.tile([0, 0, G], (600, 1))])
    names = [f"{name}{axis}" for name in ("rotationRate", "acceleration", "gravity") for axis in "XYZ"]
    files = {
        **exports.sensor_logger("ios", standardised=standardised),
        "WristMotion.csv": sensor_table(",".join(names), wrist),
        "Orientation.csv": sensor_table("yaw,qx,qz,roll,qw,qy,pitch", np.tile(np.arange(7.0), (600, 1))),
        "WatchBarometer.csv": sensor_table("relativeAltitude,pressure", np.tile([0.0, 101.3], (12, 1)), 1),
    }
    recording = open_export(exports.write(tmp_path / "phone", files))
    for name, wanted in (("wrist_rotation", turned), ("wrist_acceleration", moved - [0, 0, G])):
        assert np.abs(np.asarray(recording.samples[name])[10:190] - wanted[10:190]).max() < 0.16, name
    assert np.allclose(np.asarray(recording.samples["wrist_gravity"])[5], [0, 0, G])
    assert np.asarray(recording.samples["orientation"])[5].tolist() == [4, 1, 5, 2]
    assert np.asarray(recording.samples["rotation_angles"])[5].tolist() == [3, 6, 0]
    pressure = np.asarray(recording.samples["watch_barometer"])[5, 1]
    assert pressure == pytest.approx(101.3 if standardised else 1013)


def test_places_of_phyphox_are_one_stream_of_events(tmp_path: Path) -> None:
    names = ("Time (s)", "Latitude (\u00b0)", "Longitude (\u00b0)", "Height (m)")
    columns = [np.array([0.5, 1.4, 9.0, 9.9]), *(np.arange(4.0) + k for k in (52, 13, 30))]
    files = {**exports.phyphox(), "Location.csv": exports.phyphox_set(names, columns)}
    recording = open_export(exports.write(tmp_path / "phone", files))
    assert (recording.stream("location").kind, recording.stream("location").columns) == (
        "events",
        ("Latitude", "Longitude", "Height"),
    )
    assert recording.window("location", 12_000_000, 1)[0, :3].tolist() == [55, 16, 33]


def test_a_sensor_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    files = dict(exports.sensor_logger())
    files["Gyroscope.csv"] = files["Gyroscope.csv"].replace(b"\n", b"\nwest,", 1)
    files["Network.csv"] = f"time,seconds_elapsed,type\n{EPOCH_NS},0.0,wifi\n".encode()
    files["Microphone.mp4"] = b"sound"
    recording = open_export(exports.write(tmp_path / "phone", files))
    assert "gyroscope" not in recording.samples and "accelerometer" in recording.samples
    told = [repair for repair in recording.repairs if repair.startswith("not read: ")]
    assert len(told) == 3
    assert "Gyroscope.csv:2: expected 5 columns, got 6" in told[0]
    assert told[1] == "not read: Network (it holds no numbers)"
    # It is no sound, or the package that reads sound is not here.
    assert (
        "Microphone.mp4: cannot be read as sound" in told[2] or "leo-runtime[recordings]" in told[2] or "MP4" in told[2]
    )


def test_a_row_that_was_cut_and_repeated_ones_are_left_out_and_told(tmp_path: Path) -> None:
    files = dict(exports.sensor_logger())
    lines = files["TotalAcceleration.csv"].splitlines(keepends=True)
    files["TotalAcceleration.csv"] = b"".join([*lines[:50], lines[49], *lines[50:-1], lines[-1][:30]])
    recording = open_export(exports.write(tmp_path / "phone", files))
    told = [repair for repair in recording.repairs if repair.startswith("total_acceleration: rows")]
    assert told[:2] == [
        "total_acceleration: rows with a cell that holds nothing are left out: 1",
        "total_acceleration: rows that repeat the one before are left out: 1",
    ]


def test_samples_before_the_tap_are_left_out_and_told(tmp_path: Path) -> None:
    """A phone may hand out what it measured before, a place found long ago most of all."""
    files = dict(exports.sensor_logger())
    header, *rows = files["TotalAcceleration.csv"].decode().splitlines()
    old = [f"{EPOCH_NS - k * 20_000_000},-{k / 50},9.8,0,0" for k in (3, 2, 1)]
    files["TotalAcceleration.csv"] = "\n".join([header, *old, *rows, ""]).encode()
    files["Location.csv"] = (
        f"time,seconds_elapsed,latitude,longitude\n{EPOCH_NS - 3_600_000_000_000},-3600,52.5,13.4\n"
        f"{EPOCH_NS + 2_000_000_000},2,52.6,13.5\n"
    ).encode()
    recording = open_export(exports.write(tmp_path / "phone", files))
    assert "total_acceleration: rows before time 0 are left out: 3" in recording.repairs
    window = recording.window("location", 1_000_000, 1)
    assert window[0, :2].tolist() == pytest.approx([52.5, 13.4])
    assert window[0, 2] == pytest.approx(3601, abs=0.01)


def test_columns_that_end_before_others_are_as_long_as_they_are(tmp_path: Path) -> None:
    names = ("Time (s)", "Acceleration x (m/s^2)", "Acceleration y (m/s^2)", "Acceleration z (m/s^2)",
             "Time 2 (s)", "'+Pressure (hPa)")  # fmt: skip
    fast, slow = exports.even_s(100, 2), exports.even_s(5, 2)
    content = exports.phyphox_set(names, [fast, *exports.acceleration(fast).T, slow, 1013 + slow])
    exports.write(tmp_path, {"mine.csv": content})
    recording = open_export(tmp_path / "mine.csv")
    assert [(s.name, s.rate_hz, len(recording.samples[s.name])) for s in recording.manifest.streams] == [
        ("acceleration", 100, 200),
        ("pressure", 5, 10),
    ]
    assert recording.repairs == ()


def test_a_pause_of_phyphox_is_told(tmp_path: Path) -> None:
    files = dict(exports.phyphox())
    wall_s = EPOCH_NS // 10**6 / 1000
    events = [("START", 0, wall_s), ("PAUSE", 5, wall_s + 5), ("START", 5, wall_s + 65), ("PAUSE", 12, wall_s + 72)]
    rows = [(f'"{what}"', at, wall, '"2025-11-29 02:00:00.123 UTC+01:00"') for what, at, wall in events]
    files["meta/time.csv"] = exports.text('"event","experiment time","system time","system time text"', rows)
    recording = open_export(exports.write(tmp_path / "phone", files))
    assert recording.repairs[0] == "it was paused once; times go on without the pause"
    assert recording.manifest.source.startswith("phyphox on Maker Phone")
    assert recording.manifest.time_zone == "UTC+01:00"


def test_a_ts_file_is_read_at_the_rate_that_the_manifest_says(tmp_path: Path) -> None:
    exports.write(tmp_path, {"walks.ts": exports.ts()})
    with pytest.raises(RecordingError, match=r"walks\.ts: a \.ts file does not say its rate") as told:
        open_export(tmp_path / "walks.ts")
    assert told.value.hint and '`format = "ts"`' in told.value.hint
    (tmp_path / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made by a test"\n'
        'streams = [{ name = "wrist", kind = "motion", file = "walks.ts", rate_hz = 50, channels = 2 }]\n'
        'label_files = [{ file = "walks.ts", format = "ts" }]\n'
    )
    recording = Recording.from_file(tmp_path)
    assert recording.samples["wrist"].shape == (71, 2)
    # One is missing in the second case, and one period stands between the two.
    assert [(gap.start_us, gap.end_us) for gap in recording.gaps["wrist"]] == [
        (790_000, 810_000),
        (1_010_000, 1_030_000),
    ]
    assert [(label.label, label.start_us, label.end_us) for label in recording.manifest.labels] == [
        ("still", 0, 800_000),
        ("walking", 820_000, 1_420_000),
    ]


@needs_edfio
def test_edf_has_a_stream_a_signal_and_its_annotations(tmp_path: Path) -> None:
    exports.write(tmp_path, {"night.edf": exports.edf()})
    recording = open_export(tmp_path / "night.edf")
    assert [(s.name, s.rate_hz, s.unit) for s in recording.manifest.streams] == [("bvp", 64, "nW"), ("eda", 4, "uS")]
    assert np.abs(recording.samples["bvp"] - 50 * np.sin(7 * exports.even_s(64))).max() < 0.002
    assert recording.manifest.labels == (Label(start_us=4_250_000, end_us=5_750_000, label="walking"),)
    assert recording.manifest.start_epoch_us == 1_764_378_000_000_000
    assert recording.repairs == ("its start says no time zone: it is taken for UTC",)


@needs_edfio
def test_edf_that_was_cut_or_made_anonymous_is_read_and_told(tmp_path: Path) -> None:
    raw = exports.edf(anonymous=True)
    exports.write(tmp_path, {"night.edf": raw[: -len(raw) // 4]})
    recording = open_export(tmp_path / "night.edf")
    assert recording.manifest.start_epoch_us is None
    assert 7 <= recording.duration_us / 1e6 <= 9
    assert any("Updating header" in repair for repair in recording.repairs)


@needs_edfio
def test_parts_of_an_edf_that_do_not_follow_each_other_stand_apart(tmp_path: Path) -> None:
    raw = bytearray(exports.edf())
    raw[192:197] = b"EDF+D"
    for before, after in ((11, 13), (10, 12)):
        raw = raw.replace(f"+{before}\x14\x14".encode(), f"+{after}\x14\x14".encode())
    exports.write(tmp_path, {"night.edf": bytes(raw)})
    recording = open_export(tmp_path / "night.edf")
    assert "it is not continuous: between its parts nothing was recorded" in recording.repairs
    (gap,) = recording.gaps["bvp"]
    assert abs(gap.start_us - 10_000_000) < 10_000 and abs(gap.end_us - 12_000_000) < 10_000
    assert recording.samples["eda"].shape == (56,)


def test_edf_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edfio", None)
    exports.write(tmp_path, {"night.edf": b"0       "})
    with pytest.raises(MissingExtraError, match="reading EDF needs the extra `recordings`"):
        open_export(tmp_path / "night.edf")


def test_a_zip_in_a_zip_and_what_a_mac_adds_are_looked_through(tmp_path: Path) -> None:
    files = {f"2025-11-29/{name}": raw for name, raw in exports.sensor_logger().items()}
    files |= {"__MACOSX/2025-11-29/._Accelerometer.csv": b"\0\5", "2025-11-29/.DS_Store": b"\0"}
    exports.write(tmp_path, {"outer.zip": exports.as_zip({"inner.zip": exports.as_zip(files)})})
    recording = open_export(tmp_path / "outer.zip")
    assert "accelerometer" in recording.samples and len(recording.manifest.labels) == 1


def test_several_recordings_in_one_zip_are_told_apart(tmp_path: Path) -> None:
    files = {f"{day}/{name}": raw for day in ("monday", "tuesday") for name, raw in exports.sensor_logger().items()}
    exports.write(tmp_path, {"week.zip": exports.as_zip(files)})
    with pytest.raises(RecordingError, match=r"week\.zip: holds 2 recordings: monday/, tuesday/") as told:
        open_export(tmp_path / "week.zip")
    assert told.value.hint == "unpack it, and give the folder of one"


def test_what_no_logger_exports_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    exports.write(tmp_path, {"notes.txt": b"nothing\n", "empty.zip": exports.as_zip({}), "table.csv": b"a,b\n1,2\n"})
    for name in ("notes.txt", "empty.zip", "."):
        with pytest.raises(RecordingError, match="is no recording, and no export of a logger that is known") as told:
            open_export(tmp_path / name)
        assert "known are Sensor Logger (zip, folder, CSV or JSON), " in told.value.hint
    with pytest.raises(RecordingError, match=r"nowhere\.zip: cannot be read \(No such file or directory\)"):
        open_export(tmp_path / "nowhere.zip")


def test_a_table_and_pictures_of_ones_own_are_refused_with_a_manifest_that_reads_them(tmp_path: Path) -> None:
    table = "\n".join(["t [ms];ax;ay;az", *(f"{20 * k};0,5;1,5;{k}" for k in range(60))]).encode()
    exports.write(tmp_path, {'my "walk".csv': table, "frames/1.png": b"", "frames/2.png": b""})
    with pytest.raises(RecordingError, match="is no recording") as told:
        open_export(tmp_path / "frames")
    assert 'kind = "camera", file = "frames", rate_hz = 30, ' in told.value.hint
    with pytest.raises(RecordingError, match="is no recording") as told:
        open_export(tmp_path / 'my "walk".csv')
    # As it stands there, it reads what it is told of.
    (tmp_path / "recording.toml").write_text("\n".join(re.findall("`(.*?)`", told.value.hint)))
    assert shipped.recording(str(tmp_path)).duration_us == 1_200_000


def test_a_zip_that_was_cut_is_told_from_what_nobody_exports(tmp_path: Path) -> None:
    whole = exports.as_zip(exports.sensor_logger())
    for length in (0, 3, len(whole) // 2):
        exports.write(tmp_path, {"walk.zip": whole[:length]})
        with pytest.raises(RecordingError, match=r"walk\.zip: is no zip, or not all of one") as told:
            open_export(tmp_path / "walk.zip")
        assert told.value.hint == "copy it again"


def test_a_zip_with_a_password_is_refused_in_words(tmp_path: Path) -> None:
    raw = bytearray(exports.as_zip(exports.sensor_logger()))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.find(mark)
        while place >= 0:
            raw[place + at] |= 1
            place = raw.find(mark, place + 4)
    exports.write(tmp_path, {"locked.zip": bytes(raw)})
    assert zipfile.is_zipfile(tmp_path / "locked.zip")
    with pytest.raises(RecordingError):
        open_export(tmp_path / "locked.zip")


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from leo_runtime.recordings import files

    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    exports.write(
        tmp_path, {"bomb.zip": exports.as_zip({"Accelerometer.csv": b"time,seconds_elapsed,z,y,x\n" * 100_000})}
    )
    with pytest.raises(RecordingError):
        open_export(tmp_path / "bomb.zip")


def test_a_zip_that_is_made_to_fill_the_memory_is_refused_early(tmp_path: Path) -> None:
    """240 kB of JSON would be four GB of empty lists."""
    text = b'[{"seconds_elapsed":"1"},' + b"[]," * (20 << 20) + b"1]"
    exports.write(tmp_path, {"bomb.zip": exports.as_zip({"walk.json": text})})
    del text
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match=r"walk\.json: is more than 100 times as great as it is packed"):
            open_export(tmp_path / "bomb.zip")
        assert tracemalloc.get_traced_memory()[1] < 3 * files.UNSUSPECTED_BYTES
    finally:
        tracemalloc.stop()


def test_total_acceleration_is_not_made_up_where_gravity_has_a_gap(tmp_path: Path) -> None:
    def rows(values: dict[int, float]) -> str:
        lines = (f"{10**18 + k * 10_000_000},{k / 100},{v},{v},{v}\n" for k, v in values.items())
        return "time,seconds_elapsed,z,y,x\n" + "".join(lines)

    gravity = {k: 9.0 if k < 300 else -9.0 for k in range(1, 999) if not 300 <= k < 700}
    (tmp_path / "Accelerometer.csv").write_text(rows(dict.fromkeys(range(1000), 1.0)))
    (tmp_path / "Gravity.csv").write_text(rows(gravity))
    found = open_export(tmp_path)
    total = found.samples["total_acceleration"]
    assert total[[0, 1, 298, 299, 300, 699, 700, 998], 0].tolist() == [0, 10, 10, 10, 0, 0, -8, -8]
    assert len(total) == 999
    assert found.gaps["total_acceleration"] == (Gap(0, 5_000), Gap(2_995_000, 6_995_000))
    assert "total_acceleration: rows for which there is no gravity are left out: 402" in found.repairs


@pytest.mark.parametrize("name", exports.all_exports())
def test_the_example_exports_are_those_that_are_made(tmp_path: Path, name: str) -> None:
    """To a rounding: another numpy may have another last digit."""
    shipped_one = Path(__file__).parent.parent / "docs" / "examples" / "exports" / name
    if name.endswith(".ts"):
        assert shipped_one.read_bytes() == exports.ts()
        return
    made_one = exports.write(tmp_path, {name: exports.all_exports()[name]}) / name
    found, wanted = open_export(shipped_one), open_export(made_one)
    assert found.manifest == wanted.manifest
    for stream in wanted.samples:
        assert np.allclose(found.samples[stream], wanted.samples[stream], atol=1e-5)


def test_what_a_logger_exported_is_replayed_by_its_path(tmp_path: Path) -> None:
    path = made(tmp_path, "sensor-logger", zipped=True)
    assert shipped.recording(str(path)).manifest == open_export(path).manifest
    manifest_of(path).to_file(tmp_path / "beside.json")
    assert shipped.recording(str(tmp_path / "beside.json")).manifest == open_export(path).manifest
    phone = made(tmp_path, "sensor-logger-json")
    assert shipped.recording(str(phone)).stream("gravity").format == "sensor-logger"
    assert json.loads((tmp_path / "beside.json").read_text())["streams"][0]["file"] == "phone.zip"
