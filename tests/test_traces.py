"""Recordings: what is read, and what is refused and why."""

import wave
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.errors import DocumentError, RecordingError
from leo_runtime.traces import Recording

MANIFEST = """
format = "leo-recording/1"
name = "short"
licence = "CC0-1.0"
source = "made by a test"
streams = [
    { name = "mic", kind = "audio", file = "mic.wav", rate_hz = 16000 },
    { name = "wrist", kind = "motion", file = "wrist.csv", rate_hz = 10, channels = 3 },
]
labels = [{ stream = "mic", start_us = 0, end_us = 500000, label = "silence" }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recording.toml").write_text(MANIFEST)
    write_wav(tmp_path / "mic.wav", 16_000, np.arange(16_000, dtype=np.int16))
    rows = [f"{i * 100_000},{i},{i + 0.5},{-i}" for i in range(12)]
    (tmp_path / "wrist.csv").write_text("\n".join(["time_us,x,y,z", *rows]) + "\n")
    return tmp_path


def write_wav(path: Path, rate_hz: int, samples: np.ndarray, channels: int = 1, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())


def test_a_recording_is_read_by_its_folder_or_its_manifest(folder: Path) -> None:
    by_folder, by_file = Recording.from_file(folder), Recording.from_file(folder / "recording.toml")
    assert by_folder.manifest == by_file.manifest
    assert by_folder.samples["mic"].dtype == np.int16
    assert by_folder.samples["wrist"].shape == (12, 3)
    assert by_folder.duration_us == 1_000_000


def test_a_window_ends_where_it_is_asked_and_is_filled_up_with_zeros(folder: Path) -> None:
    recording = Recording.from_file(folder)
    assert recording.window("mic", 500_000, 4).tolist() == [7996, 7997, 7998, 7999]
    assert recording.window("wrist", 200_000, 3)[:, 0].tolist() == [0.0, 0.0, 1.0]
    assert recording.window("mic", 0, 2).tolist() == [0, 0]


def test_a_stream_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    recording = Recording.from_file(folder)
    with pytest.raises(RecordingError, match=rf"^recording `{recording.manifest.name}` has no stream `imu`$") as error:
        recording.window("imu", 1_000_000, 10)
    for name in (*recording.samples, "--recording"):
        assert name in error.value.hint


def test_a_truncated_wav_is_refused(folder: Path) -> None:
    raw = (folder / "mic.wav").read_bytes()
    (folder / "mic.wav").write_bytes(raw[:-1000])
    with pytest.raises(RecordingError, match=r"mic\.wav: truncated, its header promises 16000 samples and it holds 15"):
        Recording.from_file(folder)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "channels", "width", "says"),
    [
        (np.zeros(8000, np.int16), 8000, 1, 2, "declared at 16000 Hz, the file is at 8000 Hz"),
        (np.zeros(16000, np.int16), 16000, 2, 2, "declared with 1 channels, the file has 2"),
        (np.zeros(16000, np.uint8), 16000, 1, 1, "expected 16-bit PCM, got 8-bit"),
    ],
)
def test_another_wav_than_declared_is_refused(
    folder: Path, samples: np.ndarray, rate_hz: int, channels: int, width: int, says: str
) -> None:
    write_wav(folder / "mic.wav", rate_hz, samples, channels, width)
    with pytest.raises(RecordingError, match=says):
        Recording.from_file(folder)


def rows(*times_us: int) -> str:
    return "".join(["time_us,x,y,z\n", *(f"{time_us},1,2,3\n" for time_us in times_us)])


def test_times_may_tremble_by_less_than_half_a_step(folder: Path) -> None:
    (folder / "wrist.csv").write_text(rows(20_000, 90_000, 240_000, 300_000, 401_000, 500_000, 600_000))
    assert Recording.from_file(folder).samples["wrist"].shape == (7, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must name the columns"),
        ("time_us,x,y,z\n", "holds no samples"),
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2", r"wrist.csv:3: expected 4 columns, got 3"),
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2,west", "a value is no number"),
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2,nan", r"wrist.csv:3: a value is not finite"),
        ("time_us,x,y,z\n0,1,2,3\n0,1,2,3", r"wrist.csv:3: time does not go on"),
        ("time_us,x,y,z\n0,1,2,3\n20000,1,2,3", "declared at 10 Hz, the file is at 50 Hz"),
        # A gap, a clock that runs a little slow, and a late beginning: samples are counted, so times would shift.
        (
            rows(0, 100_000, 200_000, 400_000, 500_000),
            r"wrist.csv:5: this sample is at 400000 us, expected near 300000",
        ),
        (rows(*(i * 102_000 for i in range(60))), r"wrist.csv:28: this sample is at 2652000 us, expected near 2600000"),
        (rows(90_000, 190_000), r"wrist.csv:2: this sample is at 90000 us, expected near 0 us"),
        ("time_us,x\n0,1\n100000,1", "declared with 3 channels, the file has 1"),
    ],
)
def test_a_wrong_csv_is_refused_with_its_line(folder: Path, text: str, says: str) -> None:
    (folder / "wrist.csv").write_text(text)
    with pytest.raises(RecordingError, match=says):
        Recording.from_file(folder)


@pytest.mark.parametrize("length", [0, 3, 30])
def test_a_wav_header_that_is_cut_is_said_plainly(folder: Path, length: int) -> None:
    whole = (folder / "mic.wav").read_bytes()
    (folder / "mic.wav").write_bytes(whole[:length])
    with pytest.raises(RecordingError, match=r"mic\.wav: cannot be read as WAV \(its header is cut short\)"):
        Recording.from_file(folder)


def test_a_streams_file_is_not_taken_for_a_recording(folder: Path) -> None:
    for name in ("mic.wav", "wrist.csv"):
        with pytest.raises(RecordingError, match="is no recording") as error:
            Recording.from_file(folder / name)
        assert error.value.hint == "give the folder that holds recording.toml"


def test_missing_files_are_named(folder: Path) -> None:
    for name, kind in (("wrist.csv", "CSV"), ("mic.wav", "WAV")):
        (folder / name).unlink()
        with pytest.raises(RecordingError) as error:
            Recording.from_file(folder)
        assert str(error.value) == f"{folder / name}: cannot be read as {kind} (No such file or directory)"
        if name == "wrist.csv":
            (folder / name).write_text(rows(0, 100_000))
    with pytest.raises(DocumentError, match=r"recording\.toml: cannot be read"):
        Recording.from_file(folder / "recording.toml.d" / "recording.toml")


def test_a_label_must_be_of_a_stream_and_end_after_it_starts(folder: Path) -> None:
    (folder / "recording.toml").write_text(MANIFEST.replace('stream = "mic", start', 'stream = "radar", start'))
    with pytest.raises(DocumentError, match=r'no stream is called "radar", at \$\.labels\[0\]\.stream'):
        Recording.from_file(folder)
    (folder / "recording.toml").write_text(MANIFEST.replace("end_us = 500000", "end_us = 0"))
    with pytest.raises(DocumentError, match="the label ends at 0, not after its start"):
        Recording.from_file(folder)
