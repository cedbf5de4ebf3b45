"""Labels from files, events as windows, and streams whose clocks count from 1970, on one time."""

import json
from pathlib import Path

import numpy as np
import pytest

import exports
from leo_runtime.cli import main
from leo_runtime.errors import DocumentError, RecordingError
from leo_runtime.event_windows import newest
from leo_runtime.recordings.align import on_one_clock
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.recording import Label, Recording
from leo_runtime.recordings.samples import StoredSamples
from leo_runtime.recordings.stream import Gap

HEAD = 'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made by a test"\n'
WRIST = '{ name = "wrist", kind = "motion", file = "wrist.csv", rate_hz = 100, channels = 1 }'
EPOCH_US = 1_764_378_000_000_000


def record(folder: Path, more: str, *, first_us: int = 0, rows: int = 1000) -> Path:
    content = exports.text("time_us,x", ((first_us + k * 10_000, k) for k in range(rows)))
    exports.write(folder, {"wrist.csv": content, "recording.toml": (HEAD + more).encode()})
    return folder


def labels(folder: Path, name: str, text: str, said: str = "", first_us: int = 0) -> list[tuple[int, int, str]]:
    (folder / name).write_text(text, encoding="utf-8")
    manifest = f'streams = [{WRIST}]\nlabel_files = [{{ file = "{name}"{said} }}]\n'
    found = Recording.from_file(record(folder, manifest, first_us=first_us)).manifest.labels
    return [(one.start_us, one.end_us, one.label) for one in found]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "start,end,label\n1,2.5,walking\n4,5,still\n", ""),
        ("a.csv", "label;start (s);end (s)\nwalking;1,0;2,5\nstill;4;5\n", ""),
        ("a.csv", "start_ms,end_ms,activity\n1000,2500,walking\n4000,5000,still\n", ""),
        ("a.csv", "onset,duration,label\n1,1.5,walking\n4,1,still\n", ""),
        ("a.csv", "start,end,label\n1000,2500,walking\n4000,5000,still\n", ', time_unit = "ms"'),
        ("a.txt", "1.000000\t2.500000\twalking\n\\\t100.0\t200.0\n4.0\t5.0\tstill\n", ""),
        ("a.labels", "1.0\t2.5\twalking\n\n4.0\t5.0\tstill\n", ', format = "audacity"'),
    ],
)
def test_labels_are_read_however_they_are_written(tmp_path: Path, name: str, text: str, said: str) -> None:
    wanted = [(1_000_000, 2_500_000, "walking"), (4_000_000, 5_000_000, "still")]
    assert labels(tmp_path, name, text, said) == wanted


def test_labels_since_1970_are_put_on_the_recordings_time(tmp_path: Path) -> None:
    text = f"start,end,label\n{EPOCH_US + 1_000_000},{EPOCH_US + 2_000_000},walking\n"
    assert labels(tmp_path, "a.csv", text, first_us=EPOCH_US) == [(1_000_000, 2_000_000, "walking")]
    with pytest.raises(RecordingError, match=r"a\.csv:2: its times count from 1970, and no stream says when"):
        labels(tmp_path, "a.csv", text)


def test_labels_from_before_the_recording_are_left_out_and_told(tmp_path: Path) -> None:
    """As those of a clock that is an hour off are."""
    text = "start,end,label\n-3600,-3590,walking\n-1,2.5,walking\n-2,0,still\n"
    assert labels(tmp_path, "a.csv", text) == [(0, 2_500_000, "walking")]
    assert Recording.from_file(tmp_path).repairs == (
        "a.csv: labels that end before the recording begins are left out: 2",
    )


def test_a_mark_without_a_length_lasts_a_microsecond(tmp_path: Path) -> None:
    assert labels(tmp_path, "a.txt", "1.5\t1.5\ttap\n") == [(1_500_000, 1_500_001, "tap")]
    assert labels(tmp_path, "a.csv", "time,text\n1.5,tap\n") == [(1_500_000, 1_500_001, "tap")]
    assert labels(tmp_path, "a.csv", "") == []


def test_a_loggers_own_notes_are_read_beside_another_stream(tmp_path: Path) -> None:
    exports.write(tmp_path, {"phone.zip": exports.as_zip(exports.sensor_logger())})
    manifest = f'streams = [{WRIST}]\nlabel_files = [{{ file = "phone.zip", format = "sensor-logger" }}]\n'
    first_us = exports.EPOCH_NS // 1000 + 500_000
    (label,) = Recording.from_file(record(tmp_path, manifest, first_us=first_us)).manifest.labels
    assert (label.label, label.end_us - label.start_us) == ("walking", 4_000_000)
    assert abs(label.start_us - 3_500_000) < 10


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "begin,end,what\n1,2,x\n", "expected columns `start`, `end` and `label`, got begin, end, what"),
        ("a.csv", "start,end,label\n1,west,x\n", r"a\.csv:2: `west` is no time"),
        ("a.csv", "start,end,label\n1,2,x\n3,2,y\n", r"a\.csv:3: `y` ends before it starts"),
        ("a.csv", "start,end,label\n1,2\n", r"a\.csv:2: expected 3 columns, got 2"),
        ("a.txt", "1.0,2.0,x\n", r"a\.txt:1: expected start, end and label, apart by tabs"),
        ("a.txt", "1.0\tnan\tx\n", r"a\.txt:1: `nan` is no time"),
        (
            "a.csv",
            "start,end,label\n11,12,x\n",
            "begins at 11000000 us, and no stream lasts longer than 10000000 us",
        ),
    ],
)
def test_wrong_labels_are_refused_with_their_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(RecordingError, match=says) as told:
        labels(tmp_path, name, text)
    assert told.value.hint


def test_a_label_file_is_of_a_stream_and_of_a_format_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r'no stream is called "ear", at \$\.label_files\[0\]\.stream'):
        labels(tmp_path, "a.csv", "", ', stream = "ear"')
    with pytest.raises(RecordingError, match=r"a\.csv: labels are declared as `elan`") as told:
        labels(tmp_path, "a.csv", "x", ', format = "elan"')
    assert told.value.hint.startswith("one of csv, audacity, sensor-logger, ")


def test_streams_that_begin_at_different_times_are_put_on_one(tmp_path: Path) -> None:
    """Of the same clock, one 0.8 s later than the other: sample k of each is of one moment."""
    late_us = EPOCH_US + 800_000
    exports.write(tmp_path, {"other.csv": exports.text("time_us,y", ((late_us + k * 20_000, k) for k in range(100)))})
    other = '{ name = "other", kind = "motion", file = "other.csv", rate_hz = 50 }'
    recording = Recording.from_file(record(tmp_path, f"streams = [{other}, {WRIST}]\n", first_us=EPOCH_US))
    assert recording.repairs[-1] == "other: begins 0.8 s after wrist, by their clocks, and is put there"
    assert recording.gaps == {"other": (Gap(0, 800_000),)}
    assert recording.window("other", 1_000_000, 12).tolist() == [0, 0, *range(10)]
    assert recording.window("wrist", 1_000_000, 2).tolist() == [98, 99]
    assert recording.manifest.start_epoch_us == EPOCH_US
    assert recording.gap_us("other", 700_000, 1_000_000) == 100_000


def test_a_long_stream_that_begins_later_is_not_held_in_memory() -> None:
    """Eight hours of stereo, and hours of zeros before it, a span at a time."""
    asked = []

    def read(first: int, last: int) -> np.ndarray:
        asked.append(last - first)
        return np.stack([np.arange(first, last) % 1000 + 1] * 2, axis=1).astype(np.int16)

    late = StreamData(StoredSamples((8 * 3600 * 48_000, 2), np.int16, read), 48_000, epoch_us=EPOCH_US + 3_600_000_000)
    first = StreamData(np.ones((10, 1)), 1, epoch_us=EPOCH_US)
    found = on_one_clock({"first": first, "late": late})[0]["late"].samples
    begins = 3600 * 48_000
    assert found.shape == (9 * 3600 * 48_000, 2)
    assert found[begins - 2 : begins + 3][:, 1].tolist() == [0, 0, 1, 2, 3]
    assert found[5:8].tolist() == [[0, 0]] * 3
    assert found[begins + 1000 : begins + 1003][:, 0].tolist() == [1, 2, 3]
    assert found[begins : begins + 1].shape == (1, 2)
    assert max(asked) == 3


def test_streams_of_two_days_are_not_of_one_recording() -> None:
    one = StreamData(np.zeros((3, 1)), 1, epoch_us=EPOCH_US)
    other = StreamData(np.zeros((3, 1)), 1, epoch_us=EPOCH_US + 2 * 86_400_000_000)
    with pytest.raises(RecordingError, match=r"`b` begins at 2025-12-01 01:00:00\.000 UTC, `a` at 2025-11-29") as told:
        on_one_clock({"a": one, "b": other})
    assert '`clock = "own"`' in told.value.hint


def test_events_are_put_on_the_time_of_what_comes_at_a_rate() -> None:
    even = StreamData(np.zeros((30, 1)), 10, epoch_us=EPOCH_US + 500_000)
    events = StreamData(np.ones((2, 1)), 0, times_us=np.array([0, 900_000]), epoch_us=EPOCH_US)
    found, zero_us, told = on_one_clock({"events": events, "even": even})
    assert zero_us == EPOCH_US + 500_000
    assert found["even"] is even
    assert np.asarray(found["events"].times_us).tolist() == [-500_000, 400_000]
    assert told == ("events: begins -0.5 s after even, by their clocks, and is put there",)


def test_a_window_of_events_has_the_newest_with_their_ages() -> None:
    values, times_us = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), np.array([0, 1_000_000, 2_000_000])
    # One that comes at the end of the window is of the next.
    assert newest(values, times_us, 2_000_000, 2).tolist() == [[1, 10, 2], [2, 20, 1]]
    assert newest(values, times_us, 2_500_000, 1).tolist() == [[3, 30, 0.5]]
    assert newest(values, times_us, 0, 2).tolist() == [[0, 0, -1], [0, 0, -1]]
    assert newest(values[:, 0], times_us, 500_000, 2).tolist() == [[0, -1], [1, 0.5]]


HEART = """
format = "leo-workload/1"
name = "heart"
streams = [{ name = "ibi", kind = "events" }]
[[graphs]]
name = "beats"
period_us = 1_000_000
deadline_us = 500_000
[[graphs.stages]]
name = "last"
operator = "window"
params = { stream = "ibi", samples = 2 }
[[graphs.stages]]
name = "scores"
operator = "flat:scores"
inputs = ["last"]
[graphs.decision]
stage = "scores"
labels = ["late", "soon"]
background = "soon"
threshold = 0.0
"""
FLAT = '''
import numpy as np
from leo_runtime.operators import operator


@operator(output_shape=lambda last: (2,))
def scores(last: np.ndarray) -> np.ndarray:
    """Late where the last beat is more than two seconds ago."""
    assert last.shape == (2, 2)
    age_s = last[-1, -1]
    return np.array([age_s > 2, age_s <= 2], np.float32)
'''


def test_events_go_all_the_way_through_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exports.write(tmp_path, {"wrist.zip": exports.as_zip(exports.empatica()), "heart.toml": HEART.encode(),
                             "flat.py": FLAT.encode()})  # fmt: skip
    command = ["replay", str(tmp_path / "wrist.zip"), "--workload", str(tmp_path / "heart.toml"), "--virtual"]
    assert main([*command, "--no-compare", "--json", "--out", str(tmp_path)]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    # Beats end at 1.5, 2.4 and 6.0 s; asked at 1, 2, ... 6: late at 5 and at 6, when the third is not before.
    (line,) = figures["pipelines"]
    assert (line["frames"], line["answered"], line["detections"]) == (6, 6, 2)


def test_a_stream_has_a_rate_unless_it_is_of_events(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r'the key "rate_hz" is missing, at \$\.streams\[0\]'):
        Recording.from_file(record(tmp_path, 'streams = [{ name = "wrist", file = "wrist.csv" }]\n'))
    events = '{ name = "wrist", kind = "events", file = "wrist.csv", rate_hz = 100 }'
    with pytest.raises(DocumentError, match="a stream of events has no rate, got 100"):
        Recording.from_file(record(tmp_path, f"streams = [{events}]\n"))


def test_what_has_no_times_is_no_events(tmp_path: Path) -> None:
    np.save(tmp_path / "beats.npy", np.ones((3, 1), np.float32))
    text = 'streams = [{ name = "beats", kind = "events", file = "beats.npy" }]\n'
    with pytest.raises(RecordingError, match=r"beats\.npy: stream `beats` is declared as events, and the file has no"):
        Recording.from_file(record(tmp_path, text))
    exports.write(tmp_path, {"beats.csv": b"time_s,bpm\n1,60\n", "beats.txt": exports.wisdm()})
    with pytest.raises(RecordingError, match="stream `beats` is declared as events, and is read at a rate"):
        Recording.from_file(record(tmp_path, text.replace('npy"', 'txt", format = "wisdm", channels = 3')))
    read = Recording.from_file(record(tmp_path, text.replace("npy", "csv")))
    with pytest.raises(RecordingError, match="recording `r` has no times of its events `beats`"):
        Recording(read.manifest, read.samples)


def test_a_label_of_all_streams_is_found_by_any_graph() -> None:
    assert Label(start_us=0, end_us=1, label="x").stream is None
