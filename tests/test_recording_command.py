"""`leo-runtime recording`: what is in a recording; converted there and back, cut, recorded from a pipe."""

import importlib.util
import json
import os
import resource
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime.cli import main
from leo_runtime.errors import InputError, RecordingError
from leo_runtime.recordings import samples as lazily
from leo_runtime.recordings import writer
from leo_runtime.recordings.cutting import cut
from leo_runtime.recordings.figures import figures
from leo_runtime.recordings.grid import evenly
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.opening import open_recording
from leo_runtime.recordings.recorder import FORMATS, Pipe, record
from leo_runtime.recordings.recording import Label, Recording, RecordingManifest
from leo_runtime.recordings.stream import Gap, RecordedStream
from leo_runtime.recordings.writer import RecordingWriter, write_folder

needs_mcap = pytest.mark.skipif(
    importlib.util.find_spec("mcap") is None or importlib.util.find_spec("zstandard") is None,
    reason="needs the extra `recordings`",
)


def everything() -> Recording:
    """A stream of every kind, labels, links, a gap, names that no file can have."""
    rng = np.random.default_rng(5)
    streams = (
        RecordedStream(name="mic/left", kind="audio", file="a.wav", rate_hz=8_000),
        RecordedStream(name="both", kind="audio", file="b.flac", rate_hz=16_000, channels=2),
        RecordedStream(name="odd", kind="audio", file="c", rate_hz=8_000.5),
        RecordedStream(name="wrist", kind="motion", file="w.csv", rate_hz=100.44, channels=3, time_unit="ms"),
        RecordedStream(name="WRIST", file="h.csv", rate_hz=0.5),
        RecordedStream(name="eye", kind="camera", file="v.mp4", rate_hz=29.97, channels=3, height_px=6, width_px=8),
        RecordedStream(name="beats", kind="events", file="b.csv", channels=2, columns=("bpm", "a, b"), unit="1/min"),
        RecordedStream(name="depth", kind="camera", file="d", rate_hz=5, channels=1, height_px=3, width_px=2),
    )
    samples: dict[str, Any] = {
        "mic/left": rng.integers(-32_768, 32_768, 32_000).astype(np.int16),
        "both": rng.integers(-32_768, 32_768, (64_001, 2)).astype(np.int16),
        "odd": rng.integers(-9, 9, 32_002).astype(np.int16),
        "wrist": rng.normal(0, 1, (402, 3)).astype(np.float32),
        "WRIST": np.array([1e-30, 3e38], np.float32),
        "eye": rng.integers(0, 256, (120, 6, 8, 3)).astype(np.uint8),
        "beats": rng.normal(60, 1, (7, 2)).astype(np.float32),
        "depth": rng.normal(0, 1, (20, 3, 2, 1)).astype(np.float32),
    }
    samples["mic/left"][8_000:16_000] = 0
    manifest = RecordingManifest(
        format="leo-recording/1",
        name='all "kinds" \u007f ü',
        licence="CC0-1.0",
        source="made by\na \\ test",
        streams=streams,
        labels=(
            Label(stream="mic/left", start_us=0, end_us=10, label="first"),
            Label(stream="eye", start_us=1_500_000, end_us=2_500_000, label="later"),
            Label(start_us=3_000_000, end_us=3_000_001, label="everywhere"),
        ),
        links=(
            LinkSample(time_us=0, source="a", target="b", latency_us=5, bytes_per_s=1_000),
            LinkSample(time_us=2_000_000, source="a", target="b", latency_us=5),
        ),
    )
    times_us = {"beats": np.array([-250_000, 3, 3, 900_000, 1_600_000, 3_499_999, 3_500_000])}
    return Recording(manifest, samples, gaps={"mic/left": (Gap(1_000_000, 2_000_000),)}, times_us=times_us)


def plain(manifest: RecordingManifest) -> RecordingManifest:
    """Without what says in which files the streams are."""
    streams = tuple(writer.bare_stream(stream, "-") for stream in manifest.streams)
    return manifest.model_copy(update={"streams": streams})


def expect_same(found: Recording, wanted: Recording) -> None:
    assert plain(found.manifest) == plain(writer.with_gaps(wanted))
    assert dict(found.gaps) == dict(wanted.gaps)
    assert {name: times.tolist() for name, times in found.times_us.items()} == {
        name: times.tolist() for name, times in wanted.times_us.items()
    }
    for name, samples in wanted.samples.items():
        assert found.samples[name].dtype == samples.dtype, name
        assert np.array_equal(found.samples[name][:], samples[:]), name
    assert found.repairs == ()


@pytest.mark.parametrize("in_memory_bytes", [0, lazily.IN_MEMORY_BYTES])
def test_a_folder_that_was_written_reads_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    monkeypatch.setattr(lazily, "IN_MEMORY_BYTES", in_memory_bytes)
    monkeypatch.setattr(lazily, "BLOCK_BYTES", 1_000)
    write_folder(everything(), tmp_path / "new")
    found = Recording.from_file(tmp_path / "new")
    expect_same(found, everything())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]
    files = {stream.name: stream.file for stream in found.manifest.streams}
    assert files["mic/left"] == "mic_left.wav"
    assert files["odd"] == "odd.npy"  # WAV has whole rates.
    assert files["wrist"].lower() != files["WRIST"].lower()
    write_folder(found, tmp_path / "again")
    for path in (tmp_path / "new").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@needs_mcap
def test_an_mcap_that_was_written_reads_equal_and_becomes_the_same_folder(tmp_path: Path) -> None:
    write_folder(everything(), tmp_path / "one")
    assert main(["recording", "convert", str(tmp_path / "one"), "--out", str(tmp_path / "x.mcap")]) == 0
    expect_same(open_recording(tmp_path / "x.mcap"), everything())
    (tmp_path / "x.mcap").rename(tmp_path / "y.mcap")  # Its name is not in it.
    assert main(["recording", "convert", str(tmp_path / "y.mcap"), "--out", str(tmp_path / "two")]) == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path
    assert main(["recording", "convert", str(tmp_path / "two"), "--out", str(tmp_path / "z.mcap")]) == 0
    assert (tmp_path / "z.mcap").stat().st_size == (tmp_path / "y.mcap").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two", "y.mcap", "z.mcap"]


@needs_mcap
def test_an_mcap_of_ours_that_lost_its_beginning_begins_where_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leo_runtime.recordings import mcap_writer

    monkeypatch.setattr(mcap_writer, "_CHUNK_BYTES", 20_000)
    mcap_writer.write_mcap(everything(), tmp_path / "x.mcap")
    raw = bytearray((tmp_path / "x.mcap").read_bytes())
    at = raw.index(b"zstd") + 200  # Of the first chunk.
    raw[at : at + 8] = bytes(8)
    (tmp_path / "x.mcap").write_bytes(raw)
    found = open_recording(tmp_path / "x.mcap")
    assert any("is damaged" in told for told in found.repairs)
    heard, wanted = found.samples["both"][:], everything().samples["both"][:]
    assert len(heard) == len(wanted)
    assert (heard[-50_000:] == wanted[-50_000:]).all()
    assert found.gaps["both"][0].start_us == 0


@needs_mcap
def test_a_stream_called_labels_has_a_topic_of_its_own(tmp_path: Path) -> None:
    from leo_runtime.recordings.mcap_writer import write_mcap

    streams = tuple(RecordedStream(name=name, file=name, rate_hz=10) for name in ("labels", "labels_2"))
    noted = (Label(start_us=300_000, end_us=400_000, label="knock"),)
    manifest = everything().manifest.model_copy(update={"streams": streams, "labels": noted, "links": ()})
    values = np.arange(20, dtype=np.float32)
    write_mcap(Recording(manifest, {"labels": values, "labels_2": -values}), tmp_path / "x.mcap")
    found = open_recording(tmp_path / "x.mcap")
    assert found.repairs == ()
    assert found.manifest.labels == noted
    assert found.samples["labels"][:].tolist() == values.tolist()


@needs_mcap
def test_an_mcap_of_ours_whose_manifest_is_damaged_is_read_as_any_other(tmp_path: Path) -> None:
    from leo_runtime.recordings.mcap_writer import write_mcap

    write_mcap(everything(), tmp_path / "x.mcap")
    raw = (tmp_path / "x.mcap").read_bytes()
    (tmp_path / "x.mcap").write_bytes(raw.replace(b'"leo-recording/1"', b'"leo-recordinG/1"'))
    found = open_recording(tmp_path / "x.mcap")
    assert "its manifest is damaged" in found.repairs[0]
    assert np.array_equal(found.samples["both"][:], everything().samples["both"])


@needs_mcap
def test_an_mcap_of_ours_that_was_cut_has_what_is_before_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leo_runtime.recordings import mcap_writer

    monkeypatch.setattr(mcap_writer, "_CHUNK_BYTES", 10_000)
    mcap_writer.write_mcap(everything(), tmp_path / "x.mcap")
    raw = (tmp_path / "x.mcap").read_bytes()
    (tmp_path / "x.mcap").write_bytes(raw[: len(raw) // 4])
    found = open_recording(tmp_path / "x.mcap")
    heard = found.samples["both"][:]
    assert 10_000 < len(heard) < 20_000
    assert np.array_equal(heard, everything().samples["both"][: len(heard)])
    assert [label.label for label in found.manifest.labels] == ["first"]
    assert "labels outside of what can be read are left out: 2" in found.repairs


def test_what_is_there_already_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(everything(), tmp_path / "one")
    (tmp_path / "there").mkdir()
    (tmp_path / "there.mcap").write_text("mine")
    for action in (["convert"], ["cut", "--to", "1"]):
        for out in ("there", "there.mcap"):
            command = ["recording", action[0], str(tmp_path / "one"), *action[1:], "--out", str(tmp_path / out)]
            assert main(command) == 2
            assert f"{out}: is there already\nhint: name another, or remove it" in capsys.readouterr().err
    assert (tmp_path / "there.mcap").read_text() == "mine"
    assert not list((tmp_path / "there").iterdir())


@needs_mcap
@pytest.mark.parametrize("out", ["new", "new.mcap"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, error: BaseException
) -> None:
    def read(first: int, _last: int) -> np.ndarray:
        if first:
            raise error
        return np.zeros(1_000, np.float32)

    whole = everything()
    long = {"WRIST": lazily.StoredSamples((9_000,), np.float32, read)}
    recording = Recording(whole.manifest, whole.samples | long, times_us=whole.times_us)
    from leo_runtime.recordings import mcap_writer

    for module in (lazily, mcap_writer):
        monkeypatch.setattr(module, "BLOCK_BYTES", 4_000)
    write = mcap_writer.write_mcap if out.endswith("mcap") else write_folder
    with pytest.raises((KeyboardInterrupt, InputError, OSError)):
        write(recording, tmp_path / out)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="new: cannot be written"):
        write_folder(everything(), tmp_path / "file" / "new")


def test_a_part_that_is_left_by_another_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "new.part").mkdir()
    with pytest.raises(InputError, match=r"new\.part: is there already") as told:
        write_folder(everything(), tmp_path / "new")
    assert "was killed" in told.value.hint


def test_sound_of_more_than_4_gib_has_lengths_of_64_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_MOST_32", 10_000)
    one = everything()
    kept = RecordingManifest.model_validate(
        one.manifest.model_copy(update={"streams": one.manifest.streams[:1], "labels": ()})
    )
    write_folder(Recording(kept, {"mic/left": one.samples["mic/left"]}), tmp_path / "new")
    raw = (tmp_path / "new" / "mic_left.wav").read_bytes()
    assert raw[:4] == b"RF64"
    (data,) = (int.from_bytes(raw[28:36], "little"),)
    assert data == 64_000
    assert raw[12:16] == b"ds64"


def test_a_span_is_cut_with_its_labels_gaps_and_links(tmp_path: Path) -> None:
    one = everything()
    part = cut(one, 1_500_000, 3_500_000)
    assert part.duration_us <= 2_000_000
    assert np.array_equal(part.samples["mic/left"], one.samples["mic/left"][12_000:28_000])
    assert np.array_equal(part.samples["wrist"], one.samples["wrist"][150:351])
    assert np.array_equal(part.samples["eye"], one.samples["eye"][44:104])
    assert part.gaps == {"mic/left": (Gap(0, 500_000),)}
    assert part.times_us["beats"].tolist() == [100_000, 1_999_999]
    assert np.array_equal(part.samples["beats"], one.samples["beats"][4:6])
    assert part.manifest.labels == (
        Label(stream="eye", start_us=0, end_us=1_000_000, label="later"),
        Label(start_us=1_500_000, end_us=1_500_001, label="everywhere"),
    )
    assert [(link.time_us, link.bytes_per_s) for link in part.manifest.links] == [(0, 1_000), (500_000, None)]
    write_folder(part, tmp_path / "new")
    expect_same(Recording.from_file(tmp_path / "new"), part)


def of_two_lengths(*labels: Label) -> Recording:
    """A stream of a second and one of ten."""
    streams = tuple(RecordedStream(name=name, file=name, rate_hz=10) for name in ("short", "long"))
    manifest = everything().manifest.model_copy(update={"streams": streams, "labels": labels, "links": ()})
    return Recording(manifest, {"short": np.ones(10, np.float32), "long": np.ones(100, np.float32)})


def test_a_label_of_all_streams_is_cut_as_long_as_the_longest_of_them() -> None:
    part = cut(of_two_lengths(Label(start_us=5_000_000, end_us=6_000_000, label="late")), 4_000_000, 10_000_000)
    assert part.manifest.labels == (Label(start_us=1_000_000, end_us=2_000_000, label="late"),)


@pytest.mark.parametrize("start_us", range(0, 960_000, 37_000))
def test_gaps_stay_at_their_samples_wherever_a_recording_is_cut(start_us: int) -> None:
    step_us = 80_000
    there = np.arange(60) % 7 != 3
    even = evenly(np.flatnonzero(there) * float(step_us), np.ones((there.sum(), 1)), 12.5)
    streams = (RecordedStream(name="s", file="s", rate_hz=12.5),)
    manifest = everything().manifest.model_copy(update={"streams": streams, "labels": (), "links": ()})
    part = cut(Recording(manifest, {"s": even.values[:, 0]}, gaps={"s": even.gaps}), start_us, 3_000_000)
    values = part.samples["s"][:]
    marked = [part.window_gap_us("s", (k + 1) * step_us, 1) > 0 for k in range(len(values))]
    assert marked == (values == 0).tolist()


@pytest.mark.parametrize("stream", [None, "long"])
def test_a_label_that_begins_behind_the_last_sample_of_a_span_is_not_in_it(stream: str | None) -> None:
    whole = of_two_lengths(Label(stream=stream, start_us=1_950_001, end_us=3_000_000, label="next"))
    assert cut(whole, 1_000_000, 1_999_999).manifest.labels == ()
    assert len(cut(whole, 1_000_000, 2_000_000).manifest.labels) == 1


def test_a_cut_by_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(everything(), tmp_path / "one")
    where, out = str(tmp_path / "one"), ["--out", str(tmp_path / "new")]
    assert main(["recording", "cut", where, "--from", "2", "--to", "1", *out]) == 2
    assert "holds nothing" in capsys.readouterr().err
    assert main(["recording", "cut", where, "--from", "100", "--to", "101", *out]) == 2
    assert "has nothing from 100 to 101 s" in capsys.readouterr().err
    assert main(["recording", "cut", where, "--from", "1", "--to", "1.5", *out]) == 0
    assert "written: " in capsys.readouterr().err
    assert main(["recording", "info", str(tmp_path / "new"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {stream["name"]: stream["lasts_us"] for stream in data["streams"]}["mic/left"] == 500_000
    assert [link["down"] for link in data["links"]] == [0]


def test_figures_tell_clipping_silence_gaps_and_jitter(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    heard = rng.normal(0, 5_000, 80_000)
    heard[16_000:32_000] = rng.normal(0, 5, 16_000)
    heard[100], heard[200], heard[300] = 32_767, -32_768, -32_767
    times = np.arange(500) * 10_040 + rng.integers(-2_000, 2_000, 500)
    times[0] = 0
    rows = "".join(f"{at},{k}\n" for k, at in enumerate(times) if not 100 <= k < 150)
    (tmp_path / "w.csv").write_text("time_us,x\n" + rows)
    np.save(tmp_path / "m.npy", np.clip(heard, -32_768, 32_767).astype(np.int16))
    (tmp_path / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "a test"\nstreams = ['
        '{ name = "mic", kind = "audio", file = "m.npy", rate_hz = 16000 },'
        '{ name = "wrist", kind = "motion", file = "w.csv", rate_hz = 100 }]\n'
    )
    found = figures(Recording.from_file(tmp_path))
    mic, wrist = found.streams
    assert mic.clipped == 3
    assert mic.silent_us == 1_000_000
    assert (mic.measured_hz, mic.jitter_us) == (None, None)
    assert wrist.measured_hz == pytest.approx(99.6, abs=0.1)
    assert wrist.jitter_us == pytest.approx(1_633, rel=0.1)  # The difference of two even distributions of 4 ms.
    assert (wrist.gaps, wrist.gap_us) == (1, pytest.approx(500_000, abs=25_000))


def test_info_fits_80_columns_whatever_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(everything(), tmp_path / "one")
    assert main(["recording", "info", str(tmp_path / "one")]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 80
    for part in ("mic/left", "camera 8x6", "29.97", "first", "a -> b", "clipped"):
        assert part in shown


def test_a_recording_is_written_as_its_samples_come(tmp_path: Path) -> None:
    one = everything()
    dtypes = {name: samples.dtype for name, samples in one.samples.items()}
    with RecordingWriter(tmp_path / "new", one.manifest, dtypes) as written:
        for name, samples in one.samples.items():
            for first in range(0, len(samples), 777):
                times_us = one.times_us[name][first : first + 777] if name in one.times_us else None
                written.add(name, samples[first : first + 777], times_us)
    for name, samples in one.samples.items():
        assert np.array_equal(Recording.from_file(tmp_path / "new").samples[name][:], samples[:])


def test_a_recorder_that_is_killed_leaves_what_can_be_read(tmp_path: Path) -> None:
    one = everything()
    dtypes = {name: samples.dtype for name, samples in one.samples.items()}
    killed = RecordingWriter(tmp_path / "new", one.manifest, dtypes)
    for name, samples in one.samples.items():
        killed.add(name, samples[:], one.times_us.get(name))
    found = Recording.from_file(tmp_path / "new.part")
    for name, samples in one.samples.items():
        assert np.array_equal(found.samples[name][:], samples[:])
    assert len(found.repairs) == len(one.samples) - 1  # A table is whole at any time.
    killed.discard()
    assert list(tmp_path.iterdir()) == []


MIC = FORMATS["s16le"].stream(name="mic", kind="other", rate_hz=8_000, channels=1, width_px=None, height_px=None)


def test_samples_are_recorded_however_they_are_cut(tmp_path: Path) -> None:
    heard = everything().samples["mic/left"][:]
    raw = heard.tobytes()
    pieces = [raw[at : at + 1_001] for at in range(0, len(raw), 1_001)]
    done = record(pieces, MIC, tmp_path / "new", now_us=lambda: 1_760_000_000_000_000)
    assert (done.samples, done.told) == (32_000, ())
    found = Recording.from_file(tmp_path / "new")
    assert np.array_equal(found.samples["mic"][:], heard)
    assert found.manifest.streams[0].file == "mic.wav"
    assert found.manifest.start_epoch_us == 1_760_000_000_000_000 - round(1_001 / 2 / 8_000 * 1e6)
    done = record([raw[:3], raw[3:999]], MIC, tmp_path / "odd")
    assert done.told == ("the last 1 bytes are no whole sample of 2: left out",)
    assert record([raw], MIC, tmp_path / "short", seconds=0.25).samples == 2_000


@pytest.mark.parametrize(
    ("form", "more", "dtype"),
    [
        ("f32le", {"channels": 3}, "<f4"),
        ("rgb24", {"width_px": 4, "height_px": 2}, np.uint8),
        ("gray", {"width_px": 4, "height_px": 2}, np.uint8),
    ],
)
def test_motion_and_frames_are_recorded_too(tmp_path: Path, form: str, more: dict[str, int], dtype: Any) -> None:
    asked: dict[str, Any] = {"channels": 1, "width_px": None, "height_px": None} | more
    stream = FORMATS[form].stream(name="s", kind="motion", rate_hz=10, **asked)
    values = np.random.default_rng(0).integers(0, 256, (20, *stream.sample_shape)).astype(dtype)
    assert record([values.tobytes()], stream, tmp_path / "new").samples == 20
    assert np.array_equal(Recording.from_file(tmp_path / "new").samples["s"][:], values)


def test_values_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    stream = FORMATS["f32le"].stream(name="s", kind="other", rate_hz=10, channels=1, width_px=None, height_px=None)
    done = record([np.array([1, np.nan, np.inf, 2], "<f4").tobytes()], stream, tmp_path / "new")
    assert done.told == ("values that are not finite are recorded as 0: 2",)
    assert Recording.from_file(tmp_path / "new").samples["s"][:].tolist() == [1, 0, 0, 2]


def test_nothing_recorded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no samples came"):
        record([], MIC, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_what_comes_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = everything().samples["mic/left"][:].tobytes()
    add = writer._Wav.add

    def full(self: Any, samples: np.ndarray, times_us: None) -> None:
        if self._samples:
            raise OSError(28, "No space left on device")
        add(self, samples, times_us)

    monkeypatch.setattr(writer._Wav, "add", full)
    done = record([raw[:4_000], raw[4_000:]], MIC, tmp_path / "new")
    assert done.samples == 2_000
    assert "No space left on device" in done.told[0]
    assert len(Recording.from_file(tmp_path / "new").samples["mic"]) == 2_000


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_ends_a_writer_as_it_begins_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    begin = writer._sink

    def failing(path: Path, *rest: Any) -> Any:
        if path.name == "both.wav":
            raise error
        return begin(path, *rest)

    monkeypatch.setattr(writer, "_sink", failing)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        write_folder(everything(), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def no_room_beyond(length: int) -> Iterator[None]:
    """No file may be longer, as on a disk that is full: writing fails in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("kind", "dtype"), [("audio", np.int16), ("other", np.float32)])
def test_a_disk_that_fills_within_a_piece_costs_that_piece_and_what_follows(
    tmp_path: Path, kind: Any, dtype: type
) -> None:
    values = np.arange(4_000, dtype=dtype)
    raw = values.tobytes()
    stream = RecordedStream(name="s", kind=kind, file="-", rate_hz=8_000)
    with no_room_beyond(6_001):
        done = record([raw[at : at + 400] for at in range(0, len(raw), 400)], stream, tmp_path / "new")
    assert done.told == (f"{tmp_path / 'new'}: cannot be written (File too large): what came before is kept",)
    assert done.samples in range(1_400, 3_000)
    recording = Recording.from_file(tmp_path / "new")
    assert recording.repairs == ()
    assert recording.samples["s"][:].tolist() == values[: done.samples].tolist()


@pytest.mark.parametrize("kind", ["audio", "other", "events"])
def test_a_disk_that_fills_leaves_nothing_half_written(tmp_path: Path, kind: Any) -> None:
    rate = {} if kind == "events" else {"rate_hz": 8_000}
    stream = RecordedStream(name="s", kind=kind, file="-", **rate)
    manifest = everything().manifest.model_copy(update={"streams": (stream,), "labels": (), "links": ()})
    dtype = np.dtype(np.int16 if kind == "audio" else np.float32)
    with (
        no_room_beyond(6_001),
        pytest.raises(InputError, match="File too large"),
        RecordingWriter(tmp_path / "new", manifest, {"s": dtype}) as opened,
    ):
        for first in range(0, 10_000, 100):
            times_us = np.arange(first, first + 100) if kind == "events" else None
            opened.add("s", np.zeros(100, dtype), times_us)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_loses_nothing_that_came(tmp_path: Path, number: signal.Signals) -> None:
    raw = everything().samples["mic/left"][:].tobytes()
    reading, writing = os.pipe()
    before = signal.getsignal(number)

    def interrupting(pipe: Pipe) -> Iterator[bytes]:
        for count, piece in enumerate(pipe):
            yield piece
            if count == 0:
                os.write(writing, raw[6_001:9_000])
                os.kill(os.getpid(), number)
                os.close(writing)

    os.write(writing, raw[:6_001])
    with Pipe(reading) as pipe:
        done = record(interrupting(pipe), MIC, tmp_path / "new")
    os.close(reading)
    assert pipe.interrupted == 1
    assert signal.getsignal(number) is before
    assert done.samples == 4_500
    assert Recording.from_file(tmp_path / "new").samples["mic"][:].tobytes() == raw[:9_000]


def test_the_command_records_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = everything().samples["mic/left"][:].tobytes()
    (tmp_path / "raw").write_bytes(raw)
    command = ["recording", "record", "--from-stdin", "--format", "s16le", "--rate", "8000", "--out"]
    with (tmp_path / "raw").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main([*command, str(tmp_path / "new")]) == 0
    assert "(32000 samples, 4 s)" in capsys.readouterr().err
    assert Recording.from_file(tmp_path / "new").samples["mic"][:].tobytes() == raw
    for more, says in (
        (["--width", "3"], "only frames have a width and a height"),
        (["--channels", "70000000000000000"], "channels"),
        (["--rate", "0"], "rate_hz"),
    ):
        with (tmp_path / "raw").open() as file:
            monkeypatch.setattr("sys.stdin", file)
            assert main([*command, str(tmp_path / "other"), *more]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_file_of_sound_is_a_recording_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(everything(), tmp_path / "one")
    for name, channels, rate_hz in (("mic_left", 1, 8_000), ("both", 2, 16_000)):
        found = open_recording(tmp_path / "one" / f"{name}.wav")
        (stream,) = found.manifest.streams
        assert (stream.name, stream.channels, stream.rate_hz) == ("mic", channels, rate_hz)
        assert np.array_equal(found.samples["mic"][:], everything().samples[name.replace("_", "/")])
    assert main(["recording", "info", str(tmp_path / "one" / "both.wav")]) == 0
    assert "both, 4.00006 s; source: both.wav" in capsys.readouterr().out
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    assert main(["recording", "info", str(tmp_path / "torn.wav")]) == 2
    assert "torn.wav: cannot be read as WAV" in capsys.readouterr().err


@needs_mcap
def test_long_recordings_are_written_and_read_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from leo_runtime.recordings.mcap_writer import write_mcap

    monkeypatch.setattr(lazily, "IN_MEMORY_BYTES", 100_000)
    monkeypatch.setattr(lazily, "BLOCK_BYTES", 100_000)
    manifest = RecordingManifest(
        format="leo-recording/1",
        name="long",
        licence="none",
        source="a test",
        streams=(RecordedStream(name="mic", kind="audio", file="-", rate_hz=16_000),),
    )
    length = 3_000_000
    samples = lazily.StoredSamples((length,), np.int16, lambda first, last: np.arange(first, last).astype(np.int16))
    tracemalloc.start()
    write_folder(Recording(manifest, {"mic": samples}), tmp_path / "one")
    write_mcap(Recording.from_file(tmp_path / "one"), tmp_path / "one.mcap")
    write_folder(open_recording(tmp_path / "one.mcap"), tmp_path / "two")
    figures(Recording.from_file(tmp_path / "two"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # The samples are 6,000,000 bytes, as text 8,000,000.
    assert (tmp_path / "one" / "mic.wav").read_bytes() == (tmp_path / "two" / "mic.wav").read_bytes()


@pytest.mark.parametrize("action", ["convert", "cut", "record"])
def test_a_folder_is_not_called_as_a_file_of_another_form(
    tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {
        "convert": ("demo", "--out"),
        "cut": ("demo", "--to", "1", "--out"),
        "record": ("--from-stdin", "--format", "s16le", "--rate", "8000", "--out"),
    }[action]
    for end in (".wav", ".CSV", ".zip", ".bag", *([".mcap"] if action == "record" else [])):
        out = tmp_path / f"new{end}"
        assert main(["recording", action, *asked, str(out)]) == 2
        said = capsys.readouterr().err
        assert f"{out}: no {end.lower()} file is written, but a folder" in said
        assert f"hint: `--out {tmp_path / 'new'}` is a folder with a file of each stream" in said
        assert not out.exists()
