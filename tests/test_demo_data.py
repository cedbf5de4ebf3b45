"""The data that ships with the demo: whole, small, and from where it says."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.demo import FOLDER, MODELS, RECORDINGS, camera, sources
from leo_runtime.errors import InputError
from leo_runtime.recordings.recording import Recording

NAMES = sorted(path.name for path in RECORDINGS.iterdir() if (path / "mic.wav").exists())
KNOWN = {*sources.SCENES, *sources.SPEAKERS, *sources.ACTIVITIES, "okay_nabu"}


def listed() -> dict[str, str]:
    files = (FOLDER / "SOURCES.md").read_text().partition("## Files")[2]
    rows = [line.split("|") for line in files.splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): row[-2].strip(" `") for row in rows}


def test_every_file_is_listed_with_its_digest() -> None:
    files = [path for folder in (RECORDINGS, MODELS) for path in folder.rglob("*") if path.is_file()]
    found = {str(p.relative_to(FOLDER)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    assert listed() == found


def test_all_of_it_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 13_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_whole(name: str) -> None:
    recording = Recording.from_file(RECORDINGS / name)
    assert recording.manifest.name == name
    assert recording.duration_us in (20_000_000, 80_000_000)
    assert recording.samples["mic"].dtype == np.int16
    assert recording.samples["watch"].shape == (recording.duration_us // 100_000, 6)
    for label in recording.manifest.labels:
        assert label.label in KNOWN
        assert label.end_us <= recording.duration_us


def test_the_camera_is_a_still_and_a_path_beside_the_demo_s_sound_and_motion() -> None:
    recording, demo = Recording.from_file(RECORDINGS / "camera"), Recording.from_file(RECORDINGS / "demo")
    assert recording.duration_us == camera.SECONDS * 1_000_000
    assert recording.samples["eye"].shape == (camera.SECONDS, camera.SIZE_PX, camera.SIZE_PX, 3)
    with np.load(RECORDINGS / "camera" / "eye.npz") as held:
        assert np.array_equal(held["corners"], camera.corners())
        assert held["still"].shape[:2] == tuple(camera.corners().max(axis=0) + camera.SIZE_PX)
    labels = [(one.stream, one.start_us, one.end_us, one.label) for one in demo.manifest.labels]
    assert camera.manifest(labels) == (RECORDINGS / "camera" / "recording.toml").read_text()
    assert all(label.end_us <= recording.duration_us for label in recording.manifest.labels)
    for stream, seconds in (("mic", 5), ("watch", 24)):
        window = (stream, seconds * 1_000_000, 30)
        assert np.array_equal(recording.window(*window), demo.window(*window))


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="needs the extra `demo-sources`")
def test_the_camera_is_cut_out_of_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.random.default_rng(2).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    folder = tmp_path / "scikit-image" / "skimage" / "data"
    folder.mkdir(parents=True)
    Image.fromarray(picture).save(folder / "astronaut.png")
    for name in ("demo", "camera"):
        (tmp_path / name).mkdir()
    for name in ("mic.wav", "watch.csv"):
        (tmp_path / "demo" / name).symlink_to(RECORDINGS / "demo" / name)
    camera.write(tmp_path, tmp_path / "camera", [("mic", 1_000_000, 99_000_000, "speech")])
    frames = Recording.from_file(tmp_path / "camera").samples["eye"]
    row, column = camera.corners()[9]
    assert np.array_equal(frames[9:10][0], picture[row : row + camera.SIZE_PX, column : column + camera.SIZE_PX])


@pytest.mark.parametrize("name", NAMES)
def test_labelled_sound_is_louder_than_what_is_not_labelled(name: str) -> None:
    recording = Recording.from_file(RECORDINGS / name)
    sound = recording.samples["mic"].astype(float)
    heard = np.zeros(len(sound), bool)
    for label in recording.manifest.labels:
        if label.stream == "mic":
            heard[label.start_us * 16 // 1000 : label.end_us * 16 // 1000] = True
    assert np.abs(sound[~heard]).max() < 50
    assert np.std(sound[heard]) > 1000


def test_the_watch_moves_more_when_its_wearer_does() -> None:
    recording = Recording.from_file(RECORDINGS / "demo")
    spread = {
        label.label: float(recording.window("watch", label.end_us, 100).std(axis=0).mean())
        for label in recording.manifest.labels
        if label.stream == "watch"
    }
    assert spread["standing"] < spread["walking"] < spread["running"]


def test_about_a_quarter_is_held_out() -> None:
    held = [name for name in (f"prompt-{i}.g722" for i in range(400)) if sources.is_held_out(name)]
    assert 60 < len(held) < 140


def test_motion_is_read_as_its_archive_splits_it(tmp_path: Path) -> None:
    text = "# a comment\n@seriesLength 2\n@data\n1,2:3,4:5,6:7,8:9,10:11,12:Standing\n0,0:0,0:0,0:0,0:0,0:0,1:Running\n"
    (tmp_path / "aeon").mkdir()
    (tmp_path / "aeon" / "BasicMotions_TEST.ts").write_text(text)
    found = sources.motions(tmp_path, held_out=True)
    assert [(name, activity) for name, activity, _samples in found] == [("test-00", "standing"), ("test-01", "running")]
    assert found[0][2].tolist() == [[1, 3, 5, 7, 9, 11], [2, 4, 6, 8, 10, 12]]


def test_a_missing_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="`apt-get` is not installed"):
        sources.download(tmp_path)


@pytest.mark.parametrize("executable", ["", None])
def test_where_python_is_embedded_it_says_that_there_is_no_pip(
    executable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in sources.DEBIAN:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(InputError, match=r"is fetched with pip, and this Python, which is embedded") as told:
        sources.download(tmp_path)
    assert "yourself" in str(told.value.hint)
