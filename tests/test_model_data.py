"""Which runs of a model's inputs are measured on, and which calibrate."""

from pathlib import Path

import numpy as np
import pytest

from leo_runtime.documents.workload import Stream
from leo_runtime.errors import InputError, LeoError
from leo_runtime.measure.model_data import model_runs
from leo_runtime.recordings.noise import noise
from small_networks import classifier, saved


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return saved(classifier(), tmp_path / "net.tflite")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Fifty runs, each of its number."""
    numbers = np.arange(50, dtype=np.float32)[:, None, None, None]
    np.savez(tmp_path / "data.npz", image=numbers + np.zeros((50, 9, 12, 3), np.float32))
    return tmp_path / "data.npz"


def drawn(inputs) -> list[int]:
    assert all(one.shape == (1, 9, 12, 3) for (one,) in inputs)
    return [int(one.reshape(-1)[0]) for (one,) in inputs]


def test_all_runs_are_measured_on_where_they_are_few(net: Path, data: Path) -> None:
    runs = model_runs(data, net)
    assert (drawn(runs.inputs), runs.calibrating, runs.there) == (list(range(50)), (), 50)


def test_of_many_the_seed_draws_some_in_their_order(net: Path, data: Path) -> None:
    first, again, other = (drawn(model_runs(data, net, most=9, seed=seed).inputs) for seed in (0, 0, 1))
    assert first == again != other
    assert first == sorted(set(first)) and len(first) == 9


def test_what_calibrates_is_not_measured_on(net: Path, data: Path) -> None:
    for most in (9, 100):
        runs = model_runs(data, net, most=most, holds_back=True)
        measured, calibrating = drawn(runs.inputs), drawn(runs.calibrating)
        assert len(measured) == len(calibrating) == min(most, 25)
        assert not set(measured) & set(calibrating)


def test_windows_of_a_recording_do_not_overlap(net: Path) -> None:
    recording = noise([(Stream(name="image", rate_hz=9, channels=36), 0.0, 1.0, 90)], "noise")
    runs = model_runs(recording, net)
    assert runs.there == 10
    whole = np.asarray(recording.samples["image"])
    assert np.array_equal(np.concatenate([one.reshape(9, 36) for (one,) in runs.inputs]), whole)


def test_a_recording_that_does_not_fit_is_refused(net: Path) -> None:
    with pytest.raises(LeoError, match="has no stream `image`"):
        model_runs(noise([(Stream(name="a", rate_hz=1), 0.0, 1.0, 9)], "noise"), net)


def test_a_model_that_has_no_layers_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match="cannot be taken apart into layers"):
        model_runs(data, Path(__file__).parent / "models" / "recurrent.tflite")


def test_one_run_again_and_again_is_refused(net: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "same.npy", np.full((8, 9, 12, 3), 0.5, np.float32))
    with pytest.raises(InputError, match="all its 8 runs are the same"):
        model_runs(tmp_path / "same.npy", net)
