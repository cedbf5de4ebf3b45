"""Recordings in WISDM's form, with the faults of its published file."""

from pathlib import Path

import numpy as np
import pytest

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.recording import RecordedStream, read_stream

VALUES = np.random.default_rng(5).normal(0, 5, (30, 3)).round(6)
STREAM = RecordedStream(name="phone", kind="motion", file="raw.txt", format="wisdm", rate_hz=20, channels=3)
RECORDS = [
    f"33,Jogging,{49_105_962_326_000 + k * 50_000_000},{x},{y},{z}" for k, (x, y, z) in enumerate(VALUES.tolist())
]


def read(tmp_path: Path, text: str) -> tuple[np.ndarray, tuple[str, ...]]:
    (tmp_path / "raw.txt").write_bytes(text.encode())
    found = read_stream(tmp_path / "raw.txt", STREAM)
    return found.samples, found.repairs


@pytest.mark.parametrize("between", [";\n", ";\r\n", ";\n\n", ";", ",;\n", "\n", " ; \n"])
def test_records_are_read_however_they_are_separated(tmp_path: Path, between: str) -> None:
    samples, repairs = read(tmp_path, between.join(RECORDS) + between)
    assert np.array_equal(samples, VALUES.astype(np.float32))
    assert repairs == ()


def test_records_without_a_time_are_left_out_and_told(tmp_path: Path) -> None:
    samples, repairs = read(tmp_path, ";\n".join([*RECORDS[:7], "33,Jogging,0,1,2,3", *RECORDS[7:]]))
    assert np.array_equal(samples, VALUES.astype(np.float32))
    assert repairs == ("records without a time are left out: 1",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no samples"),
        ("33,Jogging,0,1,2,3;", "holds no samples"),
        ("33,Jogging,5,1,2,3;\n33,Jogging,6,1,2", r"raw\.txt:2: expected `user,activity,time,x,y,z;`, got 5 cells"),
        ("33,Jogging,5,1,2,3;\n33,Jogging,6,1,2,west;", r"raw\.txt:2: cannot be read as WISDM \(.*west"),
        ("33,Jogging,5,1,2,nan;", r"raw\.txt:1: a value is not finite, or too great: 5, 1, 2, nan"),
        ("33,Jogging,-5,1,2,3;", r"raw\.txt:1: a value is not finite, or too great: -5"),
        (
            "33,Jogging,9000000000,1,2,3;\n33,Jogging,9050000000,1,2,3;\n33,Walking,1000000000,1,2,4;",
            r"raw\.txt:3: time goes back by 8\.05 s",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecordingError, match=says) as told:
        read(tmp_path, text)
    assert told.value.hint


def test_any_changed_byte_is_read_or_refused_with_the_file(tmp_path: Path) -> None:
    raw = ";\n".join(RECORDS[:3]).encode()
    refused = 0
    values = (0, 10, ord(";"), ord(","), ord("9"), ord("e"), 0xFF)
    for place in range(len(raw)):
        for value in {*values[place % 2 :: 2], raw[place] ^ 1}:
            (tmp_path / "raw.txt").write_bytes(raw[:place] + bytes([value]) + raw[place + 1 :])
            try:
                found = read_stream(tmp_path / "raw.txt", STREAM)
            except RecordingError as error:
                assert str(error).startswith(f"{tmp_path / 'raw.txt'}:")
                refused += 1
            else:
                assert len(found.samples) < 200
    assert refused > 100


def test_as_csv_it_is_refused_with_the_format_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text(";\n".join(RECORDS))
    stream = RecordedStream(name="phone", kind="motion", file="raw.csv", rate_hz=20, channels=3)
    with pytest.raises(RecordingError, match="must name the columns") as told:
        read_stream(tmp_path / "raw.csv", stream)
    assert '`format = "wisdm"`' in told.value.hint
