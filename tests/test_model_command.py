"""`leo-runtime model`: what is in a model's file, and a workload made of it, to its placement."""

import json
import os
import tomllib
from pathlib import Path

import pytest

from layer_graphs import one_layer, real, small
from leo_backends import tflite
from leo_runtime.cli import main
from leo_runtime.documents.binding import bind
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.toml_text import toml_text
from leo_runtime.documents.workload import Workload
from leo_runtime.importers.tflite_writer import write_model
from small_networks import saved, two_heads

MODELS = Path(__file__).parent / "models"
WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a model, in the folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return saved(two_heads(), Path("net.tflite"))


def test_what_is_in_a_model(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "info", str(net), "--cut", "layers", "--width", "100"]) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 100 for line in shown.splitlines())
    for said in (
        "in   image   1x8x8x3  float32    768",
        "out  early   1x4x4x2  float32    128",
        "10 layers, 0.0085 million multiply-accumulates; 2,364 bytes of weights",
        "9 places to cut, 1 where one tensor crosses: 512 to 512 bytes",
        "    1                      1x4x4x8 + 1x4x4x2    640",
    ):
        assert said in shown, shown


def test_integers_are_told_with_what_they_stand_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = one_layer("DEQUANTIZE", [small((1, 4), 0.5, -128)], real(1, 4))
    (tmp_path / "net.tflite").write_bytes(write_model(layer))
    assert main(["model", "info", str(tmp_path / "net.tflite"), "--width", "100"]) == 0
    assert "in   small     1x4  int8         4  0 to 127.5" in capsys.readouterr().out


def test_what_is_in_a_model_as_json(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "info", str(net), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (takes,) = told["takes"]
    assert (takes["name"], takes["shape"], takes["data_type"], takes["bytes"]) == (
        "image",
        [1, 8, 8, 3],
        "float32",
        768,
    )
    layers = told["layers"]
    assert [border["bytes"] for border in layers["borders"]][:3] == [512, 640, 1152]
    assert sum(piece["macs"] for piece in layers["pieces"]) == layers["macs"]
    assert sum(piece["weight_bytes"] for piece in layers["pieces"]) == layers["weight_bytes"]
    assert [piece["layers"] for piece in layers["pieces"]] == [1, 9]


def test_what_cannot_be_taken_apart_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "info", str(MODELS / "recurrent.tflite"), "--width", "300"]) == 0
    shown = capsys.readouterr().out
    assert "recurrent.tflite: cannot be taken apart into layers: it has the operator" in shown
    assert "hint: if LiteRT runs it, it can still be one stage, whole, on the CPU" in shown
    assert main(["model", "info", str(MODELS / "recurrent.tflite"), "--json"]) == 0
    assert "cannot be taken apart" in json.loads(capsys.readouterr().out)["why"]


@pytest.mark.parametrize("suffix", ["toml", "json"])
@pytest.mark.parametrize(("cut", "stages"), [("blocks", 3), ("layers", 11), ("whole", 2)])
def test_a_workload_is_made_of_a_model(net: Path, cut: str, stages: int, suffix: str) -> None:
    out = Path(f"made/net.{suffix}")
    assert main(["model", "graph", str(net), "--cut", cut, "--rate", "5", "--out", str(out)]) == 0
    workload = Workload.from_file(out)
    (graph,) = workload.graphs
    assert (graph.period_us, graph.deadline_us, len(graph.stages)) == (200_000, 200_000, stages)
    assert (workload.streams[0].rate_hz, workload.streams[0].channels) == (5 * 8, 24)
    last = bind(graph, workload)[graph.stages[-1].name]
    assert [output.name for output in last.outputs] == ["late", "early"]


def test_pixels_are_said_to_come_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that was trained on -1 to 1 answers without an error, and wrongly."""
    monkeypatch.chdir(tmp_path)
    Path("eye.tflite").write_bytes(write_model(one_layer("RELU", [real(1, 96, 96, 3)])))
    assert main(["model", "graph", "eye.tflite", "--out", "eye.toml"]) == 0
    first, second, *_ = Path("eye.toml").read_text().splitlines()
    assert first.startswith("# eye.tflite, a stage for each") and second.startswith("# Pixels come as 0 to 255:")


def test_the_model_is_found_from_the_workloads_folder(net: Path, tmp_path: Path) -> None:
    main(["model", "graph", str(net), "--out", "net.toml"])
    assert 'model = "net.tflite"' in Path("net.toml").read_text()
    main(["model", "graph", str(net), "--out", "elsewhere/net.toml"])
    assert f'model = "{tmp_path / net}"' in Path("elsewhere/net.toml").read_text()


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
def test_three_commands_lead_from_a_file_to_its_placement(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "graph", str(net), "--out", "net.toml", "--noise", "noise"]) == 0
    given = ["--workload", "net.toml"]
    assert main(["calibrate", "--quick", *given, "--recording", "noise", "--out", "host.profile.json"]) == 0
    assert {cost.operator for cost in Profile.from_file("host.profile.json").costs} == {"window", "model"}
    place = ["--virtual", "--hardware", "host", "--profile", "host.profile.json", "--no-compare", "--no-trace"]
    assert main(["replay", "noise", *given, *place]) == 0
    assert "net           10        10       0     0" in capsys.readouterr().out


def test_only_pieces_with_a_state_go_on_from_it(tmp_path: Path) -> None:
    out = tmp_path / "word.toml"
    assert main(["model", "graph", str(WAKE_WORD), "--rate", "33.3", "--out", str(out)]) == 0
    workload = Workload.from_file(out)
    (graph,) = workload.graphs
    bound = bind(graph, workload)
    keeping = [name for name, stage in bound.items() if stage.keeps_state]
    assert 0 < len(keeping) < len(bound)
    outputs = sum(output.bytes for name in keeping for output in bound[name].outputs)
    assert sum(stage.state_bytes("default") for stage in bound.values()) == 3408 + outputs
    # A period brings three rows, also as 1,000,000 / 33.3 is rounded.
    (stream,) = workload.streams
    assert graph.period_us * stream.rate_hz >= 3_000_000


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["graph", "net.tflite", "--out", "net.tflite"], "net.tflite: is what is read, and would be lost"),
        (["graph", "net.tflite", "--out", "x.toml", "--rate", "0"], "a model cannot run 0 times a second"),
        (["graph", "net.tflite", "--out", "x.toml", "--signature", "a"], "net.tflite: has no signature `a`"),
        (["graph", "nowhere.tflite", "--out", "x.toml"], "nowhere.tflite: cannot be read (No such file"),
        (["info", "nowhere.tflite"], "nowhere.tflite: cannot be read (No such file"),
        (["info", "."], ".: cannot be read (Is a directory)"),
        (["graph", "net.tflite", "--out", "x.toml", "--noise", "net.tflite"], "net.tflite: is there already"),
        (["info", os.devnull], "is no file, but a pipe or a device"),
        (["graph", str(MODELS / "recurrent.tflite"), "--out", "x.toml"], "cannot be taken apart into layers"),
        (["graph", str(MODELS / "no_input.tflite"), "--out", "x.toml"], "has no inputs"),
    ],
)
def test_mistakes_are_told_in_words(net: Path, arguments: list[str], why: str, capsys) -> None:
    assert main(["model", *arguments]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert "Traceback" not in told
    assert not Path("x.toml").exists()


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
def test_work_that_is_not_known_is_measured_and_never_modelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted as none it would be almost free, and the plan called the best."""
    monkeypatch.chdir(tmp_path)
    words = [str(MODELS / "recurrent.tflite"), "--cut", "whole", "--out", "net.toml", "--noise", "noise"]
    assert main(["model", "graph", *words]) == 0
    assert main(["replay", "noise", "--workload", "net.toml", "--virtual"]) == 2
    told = capsys.readouterr().err
    assert "has no cost for stage `model` (model): its work is not known" in told and "calibrate" in told
    given = ["--workload", "net.toml", "--hardware", "host"]
    assert main(["calibrate", "--quick", *given, "--recording", "noise", "--out", "host.json"]) == 0
    replay = ["replay", "noise", *given, "--profile", "host.json", "--virtual", "--no-compare", "--no-trace"]
    assert main(replay) == 0


def test_what_is_written_as_toml_is_read_as_it_was() -> None:
    document = {
        "name": 'a "quoted" \\ name\n\x7f é',
        "rate": 1e-7,
        "whole": -3,
        "on": True,
        "empty": [],
        "numbers": [1, 2.5],
        "graphs": [
            {"name": "a", "stages": [{"params": {"a b": [[1], "x"], "n": {"deep": 1}}}, {"name": "s"}]},
            {"b": 1},
        ],
    }
    assert tomllib.loads(toml_text(document, "said\ntwice")) == document
    assert toml_text(document, "said\ntwice").startswith("# said\n# twice\n")
