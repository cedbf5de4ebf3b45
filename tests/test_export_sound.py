"""Sound inside a logger's export: a stream beside the others, which leaves no file behind."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import exports
import sounds
from leo_runtime import shipped
from leo_runtime.cli import main
from leo_runtime.errors import RecordingError
from leo_runtime.recordings import samples as held
from leo_runtime.recordings.export_sound import read_sound
from leo_runtime.recordings.exports import open_export
from leo_runtime.recordings.files import open_files
from leo_runtime.recordings.recording import Recording

needs_av = pytest.mark.skipif(find_spec("av") is None, reason="needs the extra `recordings`")


@pytest.fixture(autouse=True)
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are unpacked; nothing is left there after any test."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def with_sound(tmp_path: Path, name: str, content: bytes | None = None) -> exports.Files:
    heard = tmp_path / f"heard{Path(name).suffix}"
    if content is None:
        write = sounds.write_wav if heard.suffix == ".wav" else sounds.write_av
        content = write(heard, sounds.tone_and_clicks()).read_bytes()
    return {**exports.sensor_logger(), name: content}


@needs_av
@pytest.mark.parametrize("name", ["Microphone.mp4", "Microphone.m4a", "Microphone.3gp"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_sound_of_an_export_is_a_stream_from_its_start_on(
    tmp_path: Path, unpacked: Path, name: str, form: str
) -> None:
    files = with_sound(tmp_path, name)
    path = exports.write(tmp_path / "phone", files)
    if form == "zip":
        path = tmp_path / "phone.zip"
        path.write_bytes(exports.as_zip(files))
    recording = open_export(path)
    mic = recording.stream("mic")
    assert (mic.kind, mic.rate_hz, mic.channels) == ("audio", sounds.RATE_HZ, 1)
    found, given = np.asarray(recording.samples["mic"]), sounds.tone_and_clicks()
    length = min(len(found), len(given))
    assert found.dtype == np.int16 and abs(len(found) - len(given)) <= 2048
    assert np.corrcoef(found[:length], given[:length])[0, 1] > 0.95
    assert recording.manifest.start_epoch_us == exports.EPOCH_NS // 1000
    felt = np.asarray(recording.samples["total_acceleration"])[3:150]  # At its time after the sound's start, too.
    assert np.median(np.abs(felt - exports.acceleration(np.arange(3, 150) / 50))) < 0.05
    assert any(told.startswith("mic: ") and "does not say when it began" in told for told in recording.repairs)
    assert list(unpacked.iterdir()) == []


def test_a_wav_in_an_export_is_read_to_the_bit_and_written_again(tmp_path: Path, unpacked: Path) -> None:
    path = tmp_path / "phone.zip"
    path.write_bytes(exports.as_zip(with_sound(tmp_path, "Microphone.wav")))
    assert main(["recording", "convert", str(path), "--out", str(tmp_path / "again")]) == 0
    again = Recording.from_file(tmp_path / "again")
    assert again.stream("mic").file.endswith(".wav")
    assert np.array_equal(again.samples["mic"], sounds.tone_and_clicks())
    assert np.array_equal(again.samples["accelerometer"], shipped.recording(str(path)).samples["accelerometer"])
    assert list(unpacked.iterdir()) == []


def test_a_manifest_beside_the_export_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "phone.zip"
    path.write_bytes(exports.as_zip(with_sound(tmp_path, "Microphone.wav")))
    found = open_export(path)
    again = Recording.of_manifest(found.manifest, tmp_path)
    for name in ("mic", "accelerometer"):
        assert np.array_equal(found.samples[name], again.samples[name])


def test_long_sound_is_read_from_a_file_that_has_no_name(
    tmp_path: Path, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "IN_MEMORY_BYTES", 1000)
    path = tmp_path / "phone.zip"
    path.write_bytes(exports.as_zip(with_sound(tmp_path, "Microphone.wav")))
    found = open_export(path).samples["mic"]
    assert np.array_equal(found[100:2000], sounds.tone_and_clicks()[100:2000])
    assert list(unpacked.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE"])
def test_sound_that_cannot_be_read_is_told_by_its_own_name_and_leaves_no_file(
    tmp_path: Path, unpacked: Path, content: bytes
) -> None:
    path = exports.write(tmp_path / "phone", with_sound(tmp_path, "Microphone.wav", content))
    with pytest.raises(RecordingError, match=r"phone/Microphone\.wav: ") as failed:
        read_sound(open_files(path), "Microphone.wav")
    assert str(unpacked) not in str(failed.value)
    recording = open_export(path)
    assert "mic" not in recording.samples
    assert any(told.startswith("not read: ") and "Microphone.wav" in told for told in recording.repairs)
    assert list(unpacked.iterdir()) == []
