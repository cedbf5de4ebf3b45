"""What training makes of its sources: windows, levels, and an acoustic model's files."""

import struct
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.demo import features, fetch, train
from leo_runtime.demo.sources import Clip
from leo_runtime.errors import InputError

TONE = Clip("tone", "music", (8000 * np.sin(np.arange(50_000) / 20)).astype(np.int16))


def level_dbfs(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean((samples / 32768) ** 2)))


def test_every_recording_is_brought_to_the_level_of_its_kind() -> None:
    assert level_dbfs(features.levelled(TONE, 0)) == pytest.approx(-26, abs=0.1)
    assert level_dbfs(features.levelled(TONE, 0, gain_db=6)) == pytest.approx(-20, abs=0.1)
    assert level_dbfs(features.levelled(Clip("x", "june", TONE.samples), 0)) == pytest.approx(-23, abs=0.1)


def test_silence_becomes_the_noise_floor() -> None:
    assert level_dbfs(features.levelled(Clip("x", "noise", np.zeros(50_000, np.int16)), 0)) == pytest.approx(
        -75, abs=0.5
    )


def test_windows_are_whole_and_short_recordings_are_repeated() -> None:
    assert [list(w) for w in features.windows(np.arange(7), 4, 2)] == [[0, 1, 2, 3], [2, 3, 4, 5]]
    assert [list(w) for w in features.windows(np.arange(3), 4, 2)] == [[0, 1, 2, 0]]


def test_samples_are_drawn_alike_for_a_seed() -> None:
    clips = [TONE, Clip("short", "noise", TONE.samples[:9000])]
    first, again, other = (train.sample(clips, 6, seed, gain_db=3) for seed in (1, 1, 2))
    assert {len(window) for window in first} == {features.WINDOW}
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def sphinx_file(values: np.ndarray) -> bytes:
    phones, streams, components, length = values.shape
    header = struct.pack("<I7i", 0x11223344, phones, streams, components, *[length] * streams, values.size)
    return b"s3\nversion 1.0\nchksum0 yes\n      endhdr\n" + header + values.astype("<f4").tobytes() + b"\0\0\0\0"


def test_an_acoustic_model_becomes_mixtures(tmp_path: Path) -> None:
    folder = tmp_path / "pocketsphinx" / "en-us" / "en-us"
    folder.mkdir(parents=True)
    means = np.arange(2 * 3 * 128 * 13, dtype=np.float32).reshape(2, 3, 128, 13)
    (folder / "means").write_bytes(sphinx_file(means))
    (folder / "variances").write_bytes(sphinx_file(np.full_like(means, 0.5)))
    codes = np.full((3, 128, 5126), 255, np.uint8)
    codes[1, 7, 3:6] = 0  # In the second stream, all three states of the second phone are the eighth component.
    (folder / "sendump").write_bytes(b"a header" + codes.tobytes())
    streams = train.phone_mixtures(tmp_path)
    assert np.array_equal(streams[2]["means"], means[:, 2])
    assert (streams[0]["variances"] == 0.5).all()
    weights = np.exp(streams[1]["log_weights"])
    assert weights.sum(axis=1) == pytest.approx([1, 1])
    assert weights[0] == pytest.approx(1 / 128)
    assert weights[1, 7] > 0.99


def test_without_the_synthesiser_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="flite cannot say") as caught:
        fetch.synthesise("okay", "rms")
    assert "apt-get install flite" in caught.value.hint


def test_calibrated_scores_are_their_distances_from_each_other() -> None:
    scores = np.random.default_rng(3).normal(-150, 4, (20, 3))
    layer = train._calibration(scores, 2.0)
    values = (scores - layer.mean) / layer.scale
    assert abs(values).max() < 4
    assert np.allclose(values @ layer.weights[0], 2.0 * (scores - scores.mean(axis=1, keepdims=True)))
