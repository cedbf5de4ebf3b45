"""Recordings: what is read, and what is refused and why."""

import re
import struct
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime import shipped
from leo_runtime.errors import DocumentError, RecordingError
from leo_runtime.recordings.grid import evenly
from leo_runtime.recordings.recording import RecordedStream, Recording, RecordingManifest, read_stream
from leo_runtime.recordings.stream import Gap
from leo_runtime.recordings.wav import read_wav
from leo_runtime.values import lasting_us, samples_within

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

MIC = RecordedStream(name="mic", kind="audio", file="mic.wav", rate_hz=16_000)


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


def test_a_recording_of_ones_own_needs_no_licence_and_no_source(folder: Path) -> None:
    bare = "".join(line for line in MANIFEST.splitlines(keepends=True) if not line.startswith(("licence", "source")))
    (folder / "recording.toml").write_text(bare)
    manifest = Recording.from_file(folder).manifest
    assert (manifest.licence, manifest.source) == ("not said", "not said")


def test_a_window_ends_where_it_is_asked_and_is_filled_up_with_zeros(folder: Path) -> None:
    recording = Recording.from_file(folder)
    assert recording.window("mic", 500_000, 4).tolist() == [7996, 7997, 7998, 7999]
    assert recording.window("wrist", 200_000, 3)[:, 0].tolist() == [0.0, 0.0, 1.0]
    assert recording.window("mic", 0, 2).tolist() == [0, 0]


@pytest.mark.parametrize("rate_hz", [100, 12.5, 29.97, 100.44, 44_100])
def test_a_window_is_over_a_gap_where_one_of_its_samples_is_missing_and_nowhere_else(rate_hz: float) -> None:
    rng = np.random.default_rng(7)
    there = rng.random(200) > 0.1
    there[[0, -1]] = True
    # As the grid tells of gaps, half a sample to either side; and as sound does, from sample to sample.
    half = evenly(np.flatnonzero(there) * (1e6 / rate_hz), np.ones((there.sum(), 1)), rate_hz)
    edges = np.flatnonzero(np.diff(~there, prepend=False, append=False)) * 1e6 / rate_hz
    for rounded in (np.floor, np.rint):
        whole = tuple(Gap(int(rounded(first)), int(rounded(last))) for first, last in edges.reshape(-1, 2))
        for gaps in (half.gaps, whole):
            recording = Recording(
                RecordingManifest(
                    format="leo-recording/1",
                    name="gaps",
                    licence="CC0-1.0",
                    source="made by a test",
                    streams=(RecordedStream(name="s", file="s", rate_hz=rate_hz),),
                ),
                {"s": half.values[:, 0]},
                gaps={"s": gaps},
            )
            for end_us in rng.integers(0, int(200e6 / rate_hz), 200).tolist():
                for samples in (1, 7):
                    window = recording.window("s", end_us, samples)
                    before = max(0, samples - samples_within(rate_hz, end_us))
                    missing = samples - before - int(window.sum())
                    assert recording.window_gap_us("s", end_us, samples) == lasting_us(rate_hz, missing)
                    gone = np.flatnonzero(window[before:] == 0)
                    unbroken = samples - before - 1 - int(gone[-1]) if len(gone) else samples
                    assert recording.unbroken("s", end_us, samples) == unbroken


@pytest.mark.parametrize(
    ("end_us", "samples", "says"),
    [
        (0.5, 4, "a window's end_us is a whole number, got 0.5"),
        ("1", 4, "a window's end_us is a whole number, got '1'"),
        (500_000, 4.0, "a window's samples is a whole number, got 4.0"),
        (500_000, -4, "a window has at least 0 samples, got -4"),
    ],
)
def test_a_window_of_no_whole_numbers_is_refused(folder: Path, end_us: Any, samples: Any, says: str) -> None:
    recording = Recording.from_file(folder)
    for stream in ("mic", "wrist"):
        with pytest.raises(RecordingError, match=f"^{re.escape(says)}"):
            recording.window(stream, end_us, samples)
    assert recording.window("mic", np.int64(500_000), np.int32(2)).tolist() == [7998, 7999]


def test_a_stream_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    recording = Recording.from_file(folder)
    with pytest.raises(RecordingError, match=rf"^recording `{recording.manifest.name}` has no stream `imu`") as error:
        recording.window("imu", 1_000_000, 10)
    assert error.value.hint == "it has mic, wrist; give another recording, or a workload that reads those"


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
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2,west", r"wrist.csv:3: `west` is no number \(column `z`\)"),
        ("time_us,x,y,z\n0,1,2,3\n100000,,2,3\n", r"wrist.csv:3: a cell is empty \(column `x`\)"),
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2,1e300\n", r"wrist.csv:3: a value is not finite, or too great: 1e300"),
        ("time_us,x,y,z\n0,1,2,3\n1e-320,1,2,3\n", "wrist.csv:3: time does not go on"),
        ("time_us,x,y,z\n-1e308,1,2,3\n1e308,1,2,3\n", r"wrist.csv:2: a value is not finite, or too great"),
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2,nan", r"wrist.csv:3: a value is not finite"),
        ("time_us,x,y,z\n0,1,2,3\n0,1,2,4", r"wrist.csv:3: time does not go on \(0 us after 0 us\)"),
        ("when,x,y,z\n0,1,2,3", "`time_us` first; it names when, x, y, z"),
        ("time_us,x,y,z,\n0,1,2,3,\n100000,1,2,3,", r"wrist.csv:1: column 5 has no name"),
        # What Python alone takes for a number.
        ("time_us,x,y,z\n0,1,2,3\n100000,1_0,2,3", r"wrist.csv:3: `1_0` is no number \(column `x`\)"),
        ("time_us,x,y,z\n0,1,2,3\n100_000,1,2,3", r"wrist.csv:3: `100_000` is no number \(column `time_us`\)"),
        ("time_us,x,y,z\n0,1,2,3\n100000,1,\uff12,3", "wrist.csv:3: `\uff12` is no number \\(column `y`\\)"),
        # What a full disk, or power that went, leaves behind: a message shows none of it raw, and not all of it.
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2,3\n" + "\0" * 600, r"wrist.csv:4: holds bytes of 0"),
        ("time_us,x,y,z\n0,1,2,3\n100000,1,2" + "\0" * 600, r"wrist.csv:3: holds bytes of 0"),
        (
            "time_us,x,y,z\n0,1,2,3\n100000,1,2,\x1b[2J" + "?" * 600,
            r"wrist.csv:3: `\\x1b\[2J\?{36}\.\.\.` is no number",
        ),
        ("time_us,x,y,z\n0,1,2,3\n20000,1,2,3", "declared at 10 Hz, the file is at 50 Hz"),
        ("time_us,x\n0,1\n100000,1", "declared with 3 channels, the file has 1"),
    ],
)
def test_a_wrong_csv_is_refused_with_its_line(folder: Path, text: str, says: str) -> None:
    (folder / "wrist.csv").write_text(text, encoding="utf-8")
    with pytest.raises(RecordingError, match=says):
        Recording.from_file(folder)


def test_the_place_of_what_is_not_utf_8_is_that_in_the_file(folder: Path) -> None:
    rows = b"\xef\xbb\xbftime_us,x,y,z\n" + b"0,1,2,3\n" * 4000
    (folder / "wrist.csv").write_bytes(rows + b"\xb0")
    with pytest.raises(RecordingError, match=rf"it is not UTF-8: byte 0xb0 at {len(rows)}\)"):
        Recording.from_file(folder)


@pytest.mark.parametrize(("encoding", "byte"), [("utf-16", "0xff at 0"), ("latin-1", "0xb0 at 13")])
def test_a_csv_that_is_not_utf_8_says_so(folder: Path, encoding: str, byte: str) -> None:
    (folder / "wrist.csv").write_text("time_us,x,y,z\u00b0\n0,1,2,3\n", encoding=encoding)
    with pytest.raises(RecordingError, match=f"it is not UTF-8: byte {byte}") as refused:
        Recording.from_file(folder)
    assert refused.value.hint == "save it as UTF-8"


@pytest.mark.parametrize("before", ["", "\ufeff"])
@pytest.mark.parametrize("after", ["", "\n", "\n\n", "\r\n", " \n"])
def test_a_byte_order_mark_and_blank_lines_at_the_end_are_no_errors(folder: Path, before: str, after: str) -> None:
    plain = Recording.from_file(folder).samples["wrist"]
    text = (folder / "wrist.csv").read_text(encoding="utf-8")
    (folder / "wrist.csv").write_text(before + text + after, encoding="utf-8", newline="")
    assert np.array_equal(Recording.from_file(folder).samples["wrist"], plain)


def with_chunk(name: bytes, content: bytes, *, padded: bool = True, size: int | None = None) -> bytes:
    """A small WAV file of 64 samples with another chunk before the samples."""
    samples = np.arange(1000, 1064, dtype="<i2").tobytes()
    other = name + (len(content) if size is None else size).to_bytes(4, "little") + content
    other += b"\0" if padded and len(content) % 2 else b""
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    body = b"WAVE" + form + other + b"data" + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("content", [b"INFOICMT\5\0\0\0hello", b"even", b""])
def test_a_chunk_before_the_samples_is_passed_over_with_and_without_its_filling(
    tmp_path: Path, content: bytes, padded: bool
) -> None:
    (tmp_path / "mic.wav").write_bytes(with_chunk(b"LIST", content, padded=padded))
    found = read_wav(tmp_path / "mic.wav", MIC)
    assert found.rate_hz == 16_000
    assert np.asarray(found.samples).tolist() == list(range(1000, 1064))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: raw.replace(b"RIFF", b"RIFX"), "it begins with `RIFX` and `WAVE`, not `RIFF` and `WAVE`"),
        (lambda raw: raw.replace(b"RIFF", b"RF64"), "expected the chunk `ds64` at byte 12, got `fmt `"),
        (lambda raw: raw.replace(b"data", b"dat\xff"), r"expected a chunk at byte 48, got 0x646174ff"),
        (lambda raw: raw.replace(b"data", b"date"), "it has no chunk `data`"),
        (lambda raw: raw.replace(b"fmt ", b"data", 1), "its samples begin at byte 20, before its chunk `fmt `"),
        (lambda raw: raw[:48] + b"data\0\0\0\0", "holds no samples"),
        (lambda raw: raw[:20] + b"\3" + raw[21:], "expected floats of 32 or 64 bits, got 16 bits"),
        (lambda raw: raw[:20] + b"\6" + raw[21:], r"expected PCM or floats, got WAV format 0x0006 \(A-law\)"),
        (lambda raw: raw[:34] + b"\x0c" + raw[35:], "expected PCM of 8, 16, 24 or 32 bits, got 12 bits"),
        (lambda raw: raw[:34] + b"\x20" + raw[35:], "it says at byte 32 that it has 1 x 32 bits in 2 bytes"),
        (lambda raw: raw[:22] + b"\0" + raw[23:], "it says at byte 22 that it has no channels"),
        (lambda raw: raw[:24] + bytes(4) + raw[28:], "it says at byte 24 that its rate is 0"),
        (lambda raw: raw[:48] + b"data\3\0\0\0abc", "its 3 bytes of samples are no whole number of 2"),
    ],
)
def test_a_wav_file_that_cannot_be_read_is_refused_with_the_place(
    tmp_path: Path, spoil: Callable[[bytes], bytes], says: str
) -> None:
    (tmp_path / "mic.wav").write_bytes(spoil(with_chunk(b"LIST", b"info")))
    with pytest.raises(RecordingError, match=says):
        read_wav(tmp_path / "mic.wav", MIC)


@pytest.mark.parametrize("riff_bytes", [0, 4088, 176])
def test_a_wav_that_was_not_closed_is_not_taken_for_an_empty_one(tmp_path: Path, riff_bytes: int) -> None:
    raw = with_chunk(b"LIST", b"info").replace(b"data\x80", b"data\0")
    (tmp_path / "mic.wav").write_bytes(raw[:4] + riff_bytes.to_bytes(4, "little") + raw[8:])
    found = read_wav(tmp_path / "mic.wav", MIC)
    assert np.asarray(found.samples).tolist() == list(range(1000, 1064))
    assert len(found.repairs) == 1


def test_a_wav_without_samples_may_have_other_chunks_behind_them(tmp_path: Path) -> None:
    raw = with_chunk(b"LIST", b"info")
    (tmp_path / "mic.wav").write_bytes(raw[:48] + b"data\0\0\0\0" + b"LIST\4\0\0\0info")
    with pytest.raises(RecordingError, match="holds no samples"):
        read_wav(tmp_path / "mic.wav", MIC)


def changed(raw: bytes, until: int) -> Iterator[bytes]:
    """The file with each of its first bytes changed, to several values."""
    for place in range(min(until, len(raw))):
        for value in {0, 0x20, 0xFF, raw[place] ^ 1, ord("-")}:
            if value != raw[place]:
                yield raw[:place] + bytes([value]) + raw[place + 1 :]


@pytest.mark.parametrize("content", [b"", b"odd", b"info"])
def test_any_changed_byte_of_a_wav_header_reads_equal_or_is_refused(tmp_path: Path, content: bytes) -> None:
    path, raw = tmp_path / "mic.wav", with_chunk(b"LIST", content)
    refused = 0
    for other in changed(raw, raw.index(b"data") + 8):
        path.write_bytes(other)
        try:
            assert read_stream(path, MIC).samples.tolist() == list(range(1000, 1064)), other
        except RecordingError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused > 50


def test_a_wav_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path, raw = tmp_path / "mic.wav", with_chunk(b"LIST", b"odd")
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(RecordingError):
            read_wav(path, MIC)


@pytest.mark.parametrize("name", ["wrist.csv", "recording.toml"])
def test_any_changed_byte_of_a_recording_is_read_or_refused(folder: Path, name: str) -> None:
    write_wav(folder / "mic.wav", 16_000, np.arange(16, dtype=np.int16))
    raw = (folder / name).read_bytes()
    for other in changed(raw, 400):
        (folder / name).write_bytes(other)
        with suppress(RecordingError, DocumentError):
            Recording.from_file(folder)


@pytest.mark.parametrize("value", ["9" * 5000, "0x" + "f" * 5000, "nan", "1e400", "2021-01-01", "[[[[1]]]]"])
def test_a_value_that_is_no_rate_is_refused(folder: Path, value: str) -> None:
    (folder / "recording.toml").write_text(MANIFEST.replace("rate_hz = 10,", f"rate_hz = {value},"))
    with pytest.raises(DocumentError):
        Recording.from_file(folder)


@pytest.mark.parametrize("file", ["\\u0000", "x" * 5000, ".", "..", "/"])
@pytest.mark.parametrize("which", ["mic.wav", "wrist.csv"])
def test_a_file_that_nothing_can_be_called_is_refused(folder: Path, which: str, file: str) -> None:
    (folder / "recording.toml").write_text(MANIFEST.replace(which, file))
    with pytest.raises(RecordingError, match="cannot be read as"):
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
        assert error.value.hint == (
            "give the folder that holds recording.toml; exports, bags and sound are read by `shipped.recording(path)`"
        )
    (folder / "export").mkdir()
    with pytest.raises(DocumentError, match=r"recording\.toml: cannot be read") as missing:
        Recording.from_file(folder / "export")
    assert "`shipped.recording(path)`" in missing.value.hint
    assert shipped.recording(str(folder / "mic.wav")).samples["mic"].shape == (16_000,)


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


def test_a_label_that_begins_where_its_stream_is_over_is_refused(folder: Path) -> None:
    def written(start_us: int, end_us: int) -> None:
        label = f"start_us = {start_us}, end_us = {end_us}"
        (folder / "recording.toml").write_text(MANIFEST.replace("start_us = 0, end_us = 500000", label))

    written(999_999, 2_000_000)  # One that is rounded up ends with its stream.
    Recording.from_file(folder)
    written(1_000_000, 2_000_000)
    with pytest.raises(
        RecordingError,
        match=r"`short`: label 0 \(`silence`\) begins at 1000000 us, and its stream `mic` lasts 1000000 us",
    ) as error:
        Recording.from_file(folder)
    assert "microseconds" in error.value.hint


def test_a_recording_made_in_python_has_the_samples_of_all_its_streams(folder: Path) -> None:
    whole = Recording.from_file(folder)
    with pytest.raises(RecordingError, match="`short` has no samples of its stream `wrist`") as error:
        Recording(whole.manifest, {"mic": whole.samples["mic"]})
    assert error.value.hint == "it has those of mic"
