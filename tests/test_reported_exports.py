"""What people report of exports: each in the shape of a public report, made by code."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import exports
from leo_runtime.errors import RecordingError
from leo_runtime.recordings.exports import open_export
from leo_runtime.recordings.recording import Label, RecordedStream, Recording, read_stream

needs_edfio = pytest.mark.skipif(find_spec("edfio") is None, reason="needs the extra `recordings`")


def test_a_light_sensor_whose_time_jumps_back(tmp_path: Path) -> None:
    """phyphox-android#37: after eleven rows its clock begins anew."""
    times = [0.175, 0.475, 0.775, 1.075, 1.385, 1.713, 2.053, 2.554, 2.897, 3.239, 0.0, 0.342]
    rows = [(f"{t:.9E}", f"{100 + k:.9E}") for k, t in enumerate(times)]
    exports.write(tmp_path, {"Light.csv": exports.text('"Time (s)","Illuminance (lx)"', rows)})
    with pytest.raises(RecordingError, match=r"Light\.csv: holds no samples that can be read") as told:
        open_export(tmp_path / "Light.csv")
    assert "time goes back by 3.239 s" in told.value.hint


def test_a_sensor_that_gave_nothing(tmp_path: Path) -> None:
    """awesome-sensor-logger#19: AirPods that have no motion leave a line of names."""
    files = {**exports.sensor_logger("ios"), "Headphone.csv": b"time,seconds_elapsed,z,y,x\n", "Empty.csv": b""}
    recording = open_export(exports.write(tmp_path / "phone", files))
    assert [repair for repair in recording.repairs if "holds no samples" in repair] == [
        "not read: Empty.csv (it holds no samples)",
        "not read: Headphone.csv (it holds no samples)",
    ]


@pytest.mark.parametrize("begun_s", [0, 536_457_600, 62_000_000])
def test_a_polar_whose_clock_is_not_set_and_which_stamps_packets(tmp_path: Path, begun_s: int) -> None:
    """polar-ble-sdk#221, #818: it counts from 2000, from 2019 or from nothing, and 73 samples share a time."""
    count = 73 * 8
    rows = []
    for k in range(count):
        last = k // 73 * 73 + 72
        at_s = 1_700_000_000 + last / 130
        phone = str(np.datetime64(round(at_s * 1000), "ms"))
        rows.append((phone, begun_s * 10**9 + round(last / 130 * 1e9), k))
    content = exports.text("Phone timestamp;sensor timestamp [ns];ecg [uV]", rows, ";")
    exports.write(tmp_path, {"Polar_H10_ECG.txt": content})
    recording = open_export(tmp_path / "Polar_H10_ECG.txt")
    assert (recording.stream("ecg").rate_hz, recording.gaps) == (130, {})
    assert np.allclose(recording.samples["ecg"], np.arange(count), atol=0.05)


@needs_edfio
def test_an_edf_with_a_signal_of_no_range(tmp_path: Path) -> None:
    """pyedflib#113, #14: its least and greatest values are equal; others refuse the whole file."""
    raw = bytearray(exports.edf())
    at = 256 + 3 * (16 + 80 + 8) + 8  # The physical minimum of the second of three signals.
    raw[at : at + 8] = b"1       "
    exports.write(tmp_path, {"night.edf": bytes(raw)})
    recording = open_export(tmp_path / "night.edf")
    assert np.abs(recording.samples["bvp"] - 50 * np.sin(7 * exports.even_s(64))).max() < 0.002
    assert any("Physical minimum equals physical maximum" in repair for repair in recording.repairs)


@needs_edfio
def test_an_edf_that_begins_on_no_day(tmp_path: Path) -> None:
    """edfio#70: its start is damaged in both places."""
    raw = exports.edf().replace(b"29-NOV-2025", b"29-XXX-2025").replace(b"29.11.25", b"99.99.25")
    exports.write(tmp_path, {"night.edf": raw})
    recording = open_export(tmp_path / "night.edf")
    assert recording.manifest.start_epoch_us is None
    assert any(repair.startswith("its start is not known (") for repair in recording.repairs)


@needs_edfio
def test_an_edf_of_annotations_alone_labels_another_recording(tmp_path: Path) -> None:
    """pyedflib#112, and sleep studies: events and stages are in a file of their own."""
    import edfio

    notes = [edfio.EdfAnnotation(2.0, 3.0, "Sleep stage W"), edfio.EdfAnnotation(7.5, 0, "Hypopnea")]
    exports.write(
        tmp_path,
        {
            "stages.edf": edfio.Edf([], annotations=notes).to_bytes(),
            "wrist.csv": exports.text("time_us,x", ((k * 10_000, k) for k in range(1000))),
            "recording.toml": b'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made"\n'
            b'streams = [{ name = "wrist", file = "wrist.csv", rate_hz = 100 }]\n'
            b'label_files = [{ file = "stages.edf", format = "edf" }]\n',
        },
    )
    assert Recording.from_file(tmp_path).manifest.labels == (
        Label(start_us=2_000_000, end_us=5_000_000, label="Sleep stage W"),
        Label(start_us=7_500_000, end_us=7_500_001, label="Hypopnea"),
    )
    with pytest.raises(RecordingError, match=r"stages\.edf: holds no samples that can be read"):
        open_export(tmp_path / "stages.edf")


TS = b"@problemName P\n@classLabel false\n@data\n"


def of_ts(folder: Path, name: str, raw: bytes, channels: int = 1) -> np.ndarray:
    exports.write(folder, {name: raw})
    stream = RecordedStream(name="s", file=name, format="ts", rate_hz=10, channels=channels)
    return np.asarray(read_stream(folder / name, stream).samples)


def test_a_ts_file_by_another_name_and_without_labels(tmp_path: Path) -> None:
    """aeon#1922, sktime#3303, mvts_transformer#15."""
    assert of_ts(tmp_path, "data.txt", TS + b"1,2,3\n4,NaN,?\n").tolist() == [1, 2, 3, 0, 4]


def test_a_ts_file_whose_dimensions_differ_in_length_or_number(tmp_path: Path) -> None:
    """aeon#3085, #3260: what is missing is missing, and a dimension too few is refused with its line."""
    assert of_ts(tmp_path, "a.ts", TS + b"1,2,3,4:1,2\n5,6:5,6\n", 2)[:, 0].tolist() == [1, 2, 0, 0, 0, 5, 6]
    with pytest.raises(RecordingError, match=r"b\.ts:5: expected 2 dimensions as in the first case, got 1"):
        of_ts(tmp_path, "b.ts", TS + b"1,2:1,2\n5,6\n", 2)


def test_a_ts_file_with_times_of_its_own(tmp_path: Path) -> None:
    """aeon#479."""
    raw = b"@problemName P\n@timeStamps true\n@data\n(2013-03-01 00:00:00,3.0),(2013-03-01 01:00:00,4.0)\n"
    with pytest.raises(RecordingError, match=r"a\.ts: has times of its own \(@timeStamps true\)"):
        of_ts(tmp_path, "a.ts", raw)


def test_a_watch_that_runs_slow_keeps_its_own_time(tmp_path: Path) -> None:
    """openmovement#42: at a rate that is off by 30 s an hour, taken for even, video and motion part."""
    times_s = np.arange(6000) / 49.58
    rows = zip(times_s.round(6).tolist(), *exports.acceleration(times_s).T.round(5).tolist(), strict=True)
    exports.write(tmp_path, {"slow.csv": exports.text('"Time (s)","a x (m/s^2)","a y (m/s^2)","a z (m/s^2)"', rows)})
    recording = open_export(tmp_path / "slow.csv")
    assert recording.stream("a").rate_hz == 50
    assert abs(recording.duration_us / 1e6 - times_s[-1]) < 0.03
