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
    demo = shipped.workload()
    others = {"camera": shipped.workload("demo", "faces"), "stills": shipped.workload("patches")}
    assert "demo" in shipped.recordings()
    for name in shipped.recordings():
        streams = {stream.name: stream.rate_hz for stream in shipped.recording(name).manifest.streams}
        workload = others.get(name, demo)
        assert {stream.name: stream.rate_hz for stream in workload.streams} == streams


def test_several_workloads_are_one_beside_each_other():
    demo, faces = shipped.workload("demo"), shipped.workload("faces")
    assert demo == shipped.workload()
    both = shipped.workload("demo", "faces")
    assert both.name == "demo+faces"
    assert both.graphs == (*demo.graphs, *faces.graphs)
    assert both.streams == (*demo.streams, *faces.streams)


def test_workloads_that_are_not_two_are_refused(tmp_path):
    with pytest.raises(InputError, match="workloads `demo` and `demo` both have a graph `wake_word`"):
        shipped.workload("demo", "demo")
    faces = shipped.workload("faces")
    (stream,), (graph,) = faces.streams, faces.graphs
    other = graph.model_copy(update={"name": "other"})
    same = faces.model_copy(update={"name": "same", "graphs": (other,)})
    same.to_file(tmp_path / "same.json")
    assert [one.name for one in shipped.workload("faces", str(tmp_path / "same.json")).streams] == ["eye"]
    faster = same.model_copy(update={"streams": (stream.model_copy(update={"rate_hz": 2}),)})
    faster.to_file(tmp_path / "faster.json")
    with pytest.raises(InputError, match="workloads `faces` and `same` have streams `eye` that differ"):
        shipped.workload("faces", str(tmp_path / "faster.json"))


def test_a_file_hides_a_workload_that_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("faces").mkdir()
    assert shipped.workload("faces").name == "faces"
    Path("faces").rmdir()
    Path("faces").write_text("")
    with pytest.raises(InputError, match="faces"):
        shipped.workload("faces")


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
