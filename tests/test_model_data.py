"""Runs of a model's inputs from archives and recordings."""

import random
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.documents.workload import Stream
from leo_runtime.errors import InputError, LeoError
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.measure.model_data import model_runs
from leo_runtime.recordings.noise import noise
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream
from small_networks import Net, classifier


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_model(classifier()))
    return path


def images(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None, None, None] + np.zeros((count, 9, 12, 3), np.float32)


def archive(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def test_an_archive_has_a_run_a_row(net: Path, tmp_path: Path) -> None:
    runs = model_runs(archive(tmp_path, whatever=images(5)), net)
    assert (runs.there, len(runs.inputs)) == (5, 5)
    assert [run[0].reshape(-1)[0] for run in runs.inputs] == [0, 1, 2, 3, 4]
    assert all(run[0].shape == (1, 9, 12, 3) and not run[0].flags.writeable for run in runs.inputs)


def test_of_many_runs_the_seed_draws_some_in_order(net: Path, tmp_path: Path) -> None:
    path = archive(tmp_path, image=images(50))
    drawn = [[int(run[0].reshape(-1)[0]) for run in model_runs(path, net, most=9, seed=s).inputs] for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0]) and len(set(drawn[0])) == 9
    assert model_runs(path, net, most=9).there == 50


def test_inputs_are_found_by_name(tmp_path: Path) -> None:
    two = Net(1)
    left, right = two.value(1, 4, name="left"), two.value(1, 4, name="right")
    path = tmp_path / "two.tflite"
    path.write_bytes(write_model(two.graph((left, right), (two.layer("ADD", [left, right], (1, 4)),))))
    data = archive(tmp_path, right=np.ones((3, 4)), left=np.zeros((3, 4)), other=np.ones(2))
    assert [tuple(one.sum() for one in run) for run in model_runs(data, path).inputs] == [(0, 4)] * 3
    with pytest.raises(InputError, match="has no array `left`"):
        model_runs(archive(tmp_path, right=np.ones((3, 4)), lift=np.ones((3, 4))), path)
    with pytest.raises(InputError, match="different numbers of runs for the model's inputs: 3, 2"):
        model_runs(archive(tmp_path, left=np.ones((3, 4)), right=np.ones((2, 4))), path)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((3, 5)), "array `image` is 3x5, the model's input is 1x9x12x3"),
        (np.float32(1), "array `image` is one value"),
        (np.ones((0, 9, 12, 3)), "array `image` is 0x9x12x3"),
        (np.full((1, 9, 12, 3), np.nan), "holds something else than numbers"),
        (np.array(["a"]), "holds something else than numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(net: Path, tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        model_runs(archive(tmp_path, image=array), net)


def test_windows_of_a_recording_do_not_overlap(net: Path) -> None:
    recording = noise([(Stream(name="anything", rate_hz=9, channels=36), 0.0, 1.0, 30)], "noise")
    runs = model_runs(recording, net)
    assert runs.there == 3
    whole = np.asarray(recording.samples["anything"])
    assert np.array_equal(np.concatenate([run[0].reshape(9, 36) for run in runs.inputs]), whole[:27])


def test_audio_is_as_stages_get_it(tmp_path: Path) -> None:
    heard = Net(1)
    sound = heard.value(1, 8, name="sound")
    path = tmp_path / "net.tflite"
    path.write_bytes(write_model(heard.graph((sound,), (heard.layer("RELU", [sound], (1, 8)),))))
    stream = RecordedStream(name="mic", kind="audio", file="mic.wav", rate_hz=16_000)
    manifest = RecordingManifest(format="leo-recording/1", name="r", streams=(stream,))
    recording = Recording(manifest, {"mic": np.full(17, -16384, np.int16)})
    assert [run[0].tolist() for run in model_runs(recording, path).inputs] == [[[-0.5] * 8]] * 2


def test_recordings_that_do_not_fit_are_refused(net: Path) -> None:
    def of(*streams: Stream, count: int = 30) -> Recording:
        return noise([(stream, 0.0, 1.0, count) for stream in streams], "noise")

    for recording, said in (
        (
            of(Stream(name="a", rate_hz=1, channels=7)),
            "stream `a` has 7 values a sample, the model's input is 1x9x12x3",
        ),
        (of(Stream(name="a", rate_hz=1, channels=36), count=8), "stream `a` has 8 samples, one run reads 9"),
        (of(Stream(name="a", rate_hz=1), Stream(name="b", rate_hz=1)), "has no stream `image`"),
    ):
        with pytest.raises(LeoError, match=said):
            model_runs(recording, net)


def test_damaged_archives_are_refused_or_read(net: Path, tmp_path: Path) -> None:
    sound = archive(tmp_path, image=images(2)).read_bytes()
    dice = random.Random(1)
    path = tmp_path / "damaged.npz"
    for _ in range(150):
        changed = bytearray(sound)
        for _ in range(dice.randint(1, 4)):
            # Where the archive says what it holds, not in the values.
            place = dice.choice([dice.randrange(200), len(sound) - 1 - dice.randrange(150)])
            changed[place] = dice.randrange(256)
        path.write_bytes(changed[: dice.choice([len(changed), dice.randrange(len(changed))])])
        try:
            assert model_runs(path, net).there == 2
        except InputError as error:
            assert "damaged.npz" in str(error)


def test_what_is_no_archive_is_refused(net: Path, tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", b"no archive"):
        (tmp_path / "no.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"no\.npz: cannot be read as \.npz"):
            model_runs(tmp_path / "no.npz", net)
    with pytest.raises(InputError, match="cannot be read"):
        model_runs(tmp_path / "missing.npz", net)
