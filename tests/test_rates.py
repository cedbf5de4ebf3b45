"""Rates need not be whole numbers: they are exact where samples are counted, and a whole one stays an int."""

import json
from pathlib import Path

import numpy as np
import pytest

from leo_backends.cpu import CpuBackend
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Stream
from leo_runtime.errors import DocumentError
from leo_runtime.recordings.recording import RecordedStream, Recording, RecordingManifest
from leo_runtime.testing import example
from leo_runtime.values import lasting_us, samples_within


@pytest.mark.parametrize(
    ("rate_hz", "length_us", "samples"),
    [
        (16_000, 1_000_000, 16_000),
        (100.44, 25_000_000, 2511),
        (12.5, 80_000, 1),
        (0.2, 5_000_000, 1),
        (0.2, 4_999_999, 0),
    ],
)
def test_samples_are_counted_exactly(rate_hz: float, length_us: int, samples: int) -> None:
    assert samples_within(rate_hz, length_us) == samples
    assert lasting_us(rate_hz, samples) <= length_us < lasting_us(rate_hz, samples + 1)


def test_a_whole_rate_stays_an_int_and_is_written_as_one() -> None:
    for given in (100, 100.0):
        stream = Stream(name="wrist", rate_hz=given)
        assert json.loads(stream.model_dump_json())["rate_hz"] == 100
        assert repr(stream.rate_hz) == "100"
    assert repr(Stream(name="wrist", rate_hz=100.44).rate_hz) == "100.44"


@pytest.mark.parametrize("rate_hz", [0, -1, 0.0009, float("nan"), float("inf"), 1e16, "10", True])
def test_what_is_no_rate_is_refused(rate_hz: float) -> None:
    with pytest.raises(DocumentError, match="rate_hz"):
        Stream(name="wrist", rate_hz=rate_hz)


def test_a_window_of_a_rate_that_is_not_whole_ends_where_it_is_asked() -> None:
    streams = (RecordedStream(name="wrist", file="wrist.csv", rate_hz=12.5),)
    manifest = RecordingManifest(format="leo-recording/1", name="r", licence="none", source="made", streams=streams)
    recording = Recording(manifest, {"wrist": np.arange(1, 26, dtype=np.float32)})
    assert recording.duration_us == 2_000_000
    assert recording.window("wrist", 239_999, 3).tolist() == [0, 1, 2]
    assert recording.window("wrist", 240_000, 3).tolist() == [1, 2, 3]


def test_the_bands_of_motion_go_by_a_rate_that_is_not_whole() -> None:
    """One cycle in eight samples: at 12.5 Hz that is 1.5625 Hz."""
    wave = np.sin(2 * np.pi * np.arange(64) / 8).astype(np.float32)
    edges = (0.5, 1.5, 1.6, 6.0)
    tried = example("steps", "motion_features", [wave], sample_rate_hz=12.5, band_edges_hz=edges)
    found = CpuBackend(Processor(name="cpu", backend="cpu")).load(tried.stage, "default")(tried.inputs)
    assert int(np.argmax(found[0, 2:])) == 1


def test_a_manifest_keeps_a_rate_that_is_not_whole(tmp_path: Path) -> None:
    text = 'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made"\n'
    (tmp_path / "recording.toml").write_text(text + 'streams = [{ name = "s", file = "s.csv", rate_hz = 100.44 }]\n')
    assert RecordingManifest.from_file(tmp_path / "recording.toml").streams[0].rate_hz == 100.44
