"""Which reader reads a file; those of other packages are found by entry points and stay behind a border."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings import reader, samples
from leo_runtime.recordings.reader import ENTRY_POINTS, StreamData
from leo_runtime.recordings.recording import RecordedStream, Recording, read_stream
from leo_runtime.recordings.samples import StoredSamples


def tens(_path: Path, _stream: RecordedStream) -> StreamData:
    return StreamData(np.arange(10, dtype=np.float64), 10, ("the last digit was lost",))


def raising(error: BaseException) -> reader.Reader:
    def read(_path: Path, _stream: RecordedStream) -> StreamData:
        raise error

    return read


def giving(answer: Any) -> reader.Reader:
    return lambda _path, _stream: answer


READERS: dict[str, Any] = {
    "tens": tens,
    "wav": raising(ValueError("nobody replaces the reader of WAV")),
    "exits": raising(SystemExit(7)),
    "lacks": raising(MissingExtraError("reading bags", "bags")),
    "none": giving(None),
    "list": giving(StreamData([1, 2], 10)),  # type: ignore[arg-type]
    "empty": giving(StreamData(np.zeros(0), 10)),
    "cube": giving(StreamData(np.zeros((2, 2, 2)), 10)),
    "words": giving(StreamData(np.array(["a"]), 10)),
    "nan": giving(StreamData(np.array([1.0, np.nan]), 10)),
    "slow": giving(StreamData(np.zeros(3), 5)),
    "wide": giving(StreamData(np.zeros((3, 2)), 10)),
    "loud": giving(StreamData(np.array([0.5, -1.0, 1.0, 2.0]), 10)),
}


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("leo_test_readers")
    module.__dict__.update(READERS)
    monkeypatch.setitem(sys.modules, "leo_test_readers", module)
    targets = {name: f"leo_test_readers:{name}" for name in READERS} | {"torn": "leo_test_no_such_module:read"}
    points = tuple(EntryPoint(name, target, ENTRY_POINTS) for name, target in targets.items())
    monkeypatch.setattr(reader, "entry_points", lambda group: points if group == ENTRY_POINTS else ())


def stream(file: str, form: str | None = None, kind: str = "motion") -> RecordedStream:
    return RecordedStream.model_validate({"name": "s", "kind": kind, "file": file, "format": form, "rate_hz": 10})


@pytest.mark.parametrize(("file", "form"), [("x.tens", None), ("x.TENS", None), ("x.csv", "tens"), ("x", "tens")])
def test_a_reader_of_another_package_is_chosen_by_the_format_or_by_the_files_name(file: str, form: str) -> None:
    found = read_stream(Path(file), stream(file, form))
    assert (found.samples.dtype, found.samples.tolist()) == (np.float32, list(range(10)))
    assert found.repairs == ("the last digit was lost",)


def test_the_readers_that_ship_are_not_replaced(tmp_path: Path) -> None:
    for form, kind in ((None, "motion"), ("wav", "audio")):
        with pytest.raises(RecordingError, match="cannot be read as WAV"):
            read_stream(tmp_path / "x.wav", stream("x.wav", form, kind))


@pytest.mark.parametrize(("kind", "read_as"), [("audio", "WAV"), ("other", "CSV")])
def test_a_file_whose_name_says_nothing_is_read_by_its_kind(tmp_path: Path, kind: str, read_as: str) -> None:
    with pytest.raises(RecordingError, match=f"cannot be read as {read_as}"):
        read_stream(tmp_path / "x.dat", stream("x.dat", None, kind))


def test_a_format_that_nothing_reads_is_refused_with_those_that_are_read() -> None:
    with pytest.raises(RecordingError, match="x: stream `s` is declared as `tape`, which no installed package") as told:
        read_stream(Path("x"), stream("x", "tape"))
    assert told.value.hint.startswith("one of wav, csv, ")
    assert ", cube, " in told.value.hint


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("torn", r"x: reader `torn` .* cannot be imported \(ModuleNotFoundError"),
        ("exits", r"x: reader `exits` .* failed \(SystemExit: 7\)"),
        ("none", "x: reader `none` .* gave NoneType, not StreamData"),
        ("list", "gave samples as list, not as an array"),
        ("empty", r"gave samples of shape \(0,\)"),
        ("cube", r"gave samples of shape \(2, 2, 2\)"),
        ("words", "gave samples of type <U1"),
        ("nan", "x: sample 1, channel 0, is not finite, or too great: nan"),
        ("slow", "x: stream `s` is declared at 10 Hz, the file is at 5 Hz"),
        ("wide", "x: stream `s` is declared with 1 channels, the file has 2"),
    ],
)
def test_whatever_a_reader_of_another_package_does_wrong_is_said(form: str, says: str) -> None:
    with pytest.raises(RecordingError, match=says):
        read_stream(Path("x"), stream("x", form))


def test_what_a_reader_of_another_package_gives_span_by_span_stays_behind_the_border_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(samples, "IN_MEMORY_BYTES", 0)

    def span(first: int, last: int) -> np.ndarray:
        if last > 5:
            raise ValueError("no more")
        return np.arange(first, last, dtype=np.float32)

    lazy = giving(StreamData(StoredSamples((10,), np.int16, span), 10))
    monkeypatch.setattr(sys.modules["leo_test_readers"], "tens", lazy)
    found = read_stream(Path("x"), stream("x", "tens"))
    assert (found.samples[2:5].dtype, found.samples[2:5].tolist()) == (np.float32, [2, 3, 4])
    with pytest.raises(RecordingError, match=r"x: reader `tens` .* failed \(ValueError: no more\)"):
        found.samples[2:6]


def test_a_missing_extra_stays_one() -> None:
    with pytest.raises(MissingExtraError):
        read_stream(Path("x"), stream("x", "lacks"))


def test_sound_of_real_numbers_becomes_int16_and_what_is_cut_off_is_said() -> None:
    found = read_stream(Path("x"), stream("x", "loud", "audio"))
    assert (found.samples.dtype, found.samples.tolist()) == (np.int16, [16_384, -32_768, 32_767, 32_767])
    assert found.repairs == ("values outside -1 to 1 are cut off there: 1",)


def test_a_recording_tells_what_was_mended_and_in_which_file(tmp_path: Path) -> None:
    (tmp_path / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "r"\nlicence = "CC0-1.0"\nsource = "made by a test"\n'
        'streams = [{ name = "s", file = "x.tens", rate_hz = 10 }]\n'
    )
    assert Recording.from_file(tmp_path).repairs == ("x.tens: the last digit was lost",)
