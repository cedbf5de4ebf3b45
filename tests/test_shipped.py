"""What ships is found by name, and a wrong name says which there are."""

from pathlib import Path

import pytest

import recorded
from leo_runtime import shipped
from leo_runtime.errors import InputError


def test_every_shipped_document_is_valid_and_of_its_name():
    for name in shipped.names("hardware"):
        assert shipped.hardware(name).name == name
    for name in shipped.names("profile"):
        assert shipped.profile(name).hardware in shipped.names("hardware")
    assert {shipped.PHONE, shipped.HOST} <= set(shipped.names("hardware"))


def test_the_demo_reads_streams_that_its_recordings_have():
    workload = shipped.workload()
    assert "demo" in shipped.recordings()
    for name in shipped.recordings():
        streams = {stream.name: stream.rate_hz for stream in shipped.recording(name).manifest.streams}
        assert {stream.name: stream.rate_hz for stream in workload.streams} == streams


@pytest.mark.parametrize("find", [shipped.hardware, shipped.profile, shipped.recording])
def test_an_unknown_name_is_refused_with_the_known_ones(find):
    with pytest.raises(InputError, match="is called `toaster`") as refused:
        find("toaster")
    assert refused.value.hint.startswith("one of ")


@pytest.mark.parametrize("find", [shipped.hardware, shipped.profile, shipped.recording, shipped.workload])
@pytest.mark.parametrize("name", [5, b"demo", "a\0b.toml", ""])
def test_what_is_no_name_is_refused(find, name):
    with pytest.raises(InputError):
        find(name)


def test_a_kind_of_which_nothing_ships_is_refused():
    with pytest.raises(InputError, match="no documents of the kind `recording` ship"):
        shipped.names("recording")


def test_a_folder_hides_a_recording_that_ships_only_if_it_holds_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorded.write_all(tmp_path)
    Path("demo").mkdir()
    assert shipped.recording("demo").manifest.name == "demo"
    Path("recording").rename("demo/recording")
    for path in Path("demo/recording").iterdir():
        path.rename(Path("demo") / path.name)
    assert shipped.recording("demo").manifest.name == "beeps"
