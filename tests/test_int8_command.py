"""`leo-runtime model int8`: from a model and recorded inputs to a file that the DSP takes."""

import json
import random
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from leo_backends.dsp.layers import lacks
from leo_runtime import shipped
from leo_runtime.backend.machine import open_backends
from leo_runtime.cli import main
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.lower import merge, price
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import read_layers
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.measure.input_files import read_runs
from leo_runtime.measure.model_inputs import model_inputs
from leo_runtime.operators import operator
from leo_runtime.recordings.noise import noise
from small_networks import Net, saved, two_heads

WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a model, and `data.npy` for it, in the folder to stand in."""
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", np.random.default_rng(0).normal(size=(20, 8, 8, 3)).astype(np.float32))
    return saved(two_heads(), Path("net.tflite"))


def two_inputs() -> LayerGraph:
    net = Net(0)
    left, right = net.value(1, 4, name="left"), net.value(1, 4, name="right")
    return net.graph((left, right), (net.layer("ADD", [left, right], (1, 4)),), "two inputs")


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["model", "int8", *map(str, words)])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_a_model_becomes_one_that_the_dsp_takes(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, net, "--data", "data.npy", "--out", "small.tflite", "--width", 100)
    assert status == 0 and "written: small.tflite" in err
    form = read_layers(parse_tflite(Path("small.tflite").read_bytes(), "small"))
    assert lacks(form) is None
    size, now = net.stat().st_size, Path("small.tflite").stat().st_size
    assert f"{size:,} bytes become {now:,}, those of weights 2,364 become" in out
    assert "calibrated on 10 runs of data.npy," in out and "measured on 10 others" in " ".join(out.split())
    assert all(one in out for one in ("output", "late", "early", "change", "mean error", "changed", " of 10"))


def test_its_loss_as_json(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (net, "--data", "data.npy", "--out", "small.tflite", "--json", "--threshold", 0.5, "--most", 3)
    status, out, _ = told(capsys, *words)
    found = json.loads(out)
    assert status == 0 and found["calibrated_on"] == 3 and found["file_bytes"][0] == net.stat().st_size
    late, early = found["outputs"]
    assert (late["name"], early["name"], late["runs"]) == ("late", "early", 3)
    assert 0 < late["mean"] < 0.05 and late["mean"] <= late["greatest"] and 0 <= late["decisions"] <= 3


def test_it_can_be_placed_and_read_but_not_calibrated_again(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, net, "--data", "data.npy", "--out", "small.tflite")
    assert main(["model", "info", "small.tflite"]) == 0
    assert "CONV_2D            int8" in capsys.readouterr().out
    status, _, err = told(capsys, "small.tflite", "--data", "data.npy", "--out", "smaller.tflite")
    assert status == 2 and "small.tflite: is quantised already\nhint: give the model of float32" in err


@pytest.mark.parametrize(
    ("shape", "dtype", "says"),
    [
        ((7, 8, 8, 3), np.float32, "has 7 runs, 8 are needed at least"),
        ((20, 8, 8), np.float32, "for the input `image` has the shape 20 x 8 x 8, expected runs x 8 x 8 x 3"),
        ((20, 1, 8, 8, 4), np.float32, "has the shape 20 x 1 x 8 x 8 x 4, expected runs x 8 x 8 x 3"),
        ((), np.float32, "has the shape none, expected"),
        ((20, 8, 8, 3), np.complex64, "for the input `image` is of complex64, no numbers"),
    ],
)
def test_data_that_does_not_fit_is_said(
    net: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...], dtype: type, says: str
) -> None:
    np.save("other.npy", np.zeros(shape, dtype))
    status, _, err = told(capsys, net, "--data", "other.npy", "--out", "small.tflite")
    assert status == 2 and says in err and not Path("small.tflite").exists()


def test_mistakes_are_said(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.npy").write_text("no array")
    nan = np.zeros((20, 8, 8, 3), np.float32)
    nan[3, 2, 1, 0] = np.nan
    np.save("nan.npy", nan)
    for data, says in (
        ("none.npy", "none.npy: cannot be read as arrays (No such file or directory)\nhint: there is no such file"),
        ("text.npy", "text.npy: cannot be read as arrays"),
        ("nan.npy", "nan.npy: run 3 of the input `image` has NaN or infinity"),
        ("demo", "recording `demo` has no stream"),
    ):
        status, _, err = told(capsys, net, "--data", data, "--out", "small.tflite")
        assert status == 2 and says in err, err
    status, _, err = told(capsys, net, "--data", "data.npy", "--out", "data.npy")
    assert status == 2 and "data.npy: is what is read, and would be lost" in err
    status, _, err = told(capsys, WAKE_WORD, "--data", "data.npy", "--out", "small.tflite")
    assert status == 2 and "is quantised already" in err


@pytest.mark.parametrize("text", ["nan", "inf", "much"])
def test_a_threshold_is_a_number(net: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit):
        told(capsys, net, "--data", "data.npy", "--out", "small.tflite", "--threshold", text)
    assert f'expected a number, got "{text}"' in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="needs ai-edge-litert")
@pytest.mark.parametrize(("words", "task"), [((), "argmax"), (("--threshold", "0.5"), "threshold=0.5")])
def test_its_loss_is_that_of_the_variant(
    net: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], task: str
) -> None:
    _, out, _ = told(capsys, net, "--data", "data.npy", "--out", "small.tflite", "--json", *words)
    late = json.loads(out)["outputs"][0]
    asked = ("--data", "data.npy", "--form", "int8", "--task", task, "--output", "late", "--no-costs", "--json")
    main(["variants", str(net), *asked, "--loss-max", "1000000"])
    variant = json.loads(capsys.readouterr().out)["forms"][1]
    assert variant["form"] == "int8" and variant["change"] == pytest.approx(late["change"], rel=1e-3)
    assert (variant["runs"], variant["decisions"]) == (late["runs"], late["decisions"])


def test_inputs_of_several_are_read_by_their_names(tmp_path: Path) -> None:
    graph = two_inputs()
    left, right = np.ones((9, 4), np.float32), np.full((9, 1, 4), 2, np.int16)
    np.savez(tmp_path / "data.npz", right=right, left=left)
    runs = read_runs(tmp_path / "data.npz", graph)
    assert len(runs) == 9
    for given, expected in zip(next(runs.of(range(1))), (1, 2), strict=True):
        assert given.dtype == np.float32 and given.shape == (1, 4) and (given == expected).all()
    np.savez(tmp_path / "short.npz", right=right[:8], left=left)
    with pytest.raises(InputError, match="of different numbers of runs: 9 of `left`, 8 of `right`"):
        read_runs(tmp_path / "short.npz", graph)
    np.savez(tmp_path / "named.npz", rigth=right, left=left)
    with pytest.raises(InputError, match="has no array `right`, which the model reads") as raised:
        read_runs(tmp_path / "named.npz", graph)
    assert "rigth" in raised.value.hint
    np.save(tmp_path / "one.npy", left)
    with pytest.raises(InputError, match="has one array, the model has 2 inputs: `left`, `right`"):
        read_runs(tmp_path / "one.npy", graph)


def test_the_only_array_is_that_of_the_only_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", frames=np.zeros((8, 8, 8, 3)))
    assert len(read_runs(tmp_path / "data.npz", two_heads())) == 8


@pytest.mark.parametrize("name", ["data.npy", "data.npz"])
def test_no_damaged_file_of_arrays_gives_a_traceback(tmp_path: Path, name: str) -> None:
    graph = two_heads()
    path = tmp_path / name
    (np.save if name.endswith("npy") else np.savez)(path, np.ones((8, 8, 8, 3), np.float32))
    good, draw = path.read_bytes(), random.Random(1)
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(draw.choice((1, 2, 8))):
            damaged[draw.choice((draw.randrange(len(good)), draw.randrange(128)))] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice((len(good), draw.randrange(len(good))))])
        try:
            runs = read_runs(path, graph)
            list(runs.of(range(len(runs))))
        except InputError as error:
            assert str(path) in str(error)


@operator(output_shape=lambda _: (1,), gate=True)
def loud(x):
    """Whether a window's first value is above 0."""
    return x.reshape(-1)[:1]


@operator(output_shape=lambda _: (4,))
def doubled(x):
    """Twice the values."""
    return 2 * x.reshape(4)


def listening(model: Path) -> Workload:
    """A model behind an operator, and behind a gate."""
    graph = GraphBuilder("ears", period_us=100_000, deadline_us=100_000)
    window = graph.stage("window", "window", stream="mic", samples=4)
    gate = graph.stage("loud", loud, window)
    twice = graph.stage("doubled", doubled, window)
    graph.stage("net", "model", twice, gate=gate, model=str(model))
    streams = (Stream(name="mic", kind="motion", rate_hz=40),)
    return Workload(format="leo-workload/1", name="ears", streams=streams, graphs=(graph.build(),))


def test_a_recording_gives_what_the_stage_reads_where_its_gate_is_open(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra `tflite` is not installed")
    net = Net(0)
    source = net.value(1, 4, name="in")
    path = saved(net.graph((source,), (net.layer("RELU", [source], (1, 4)),)), tmp_path / "net.tflite")
    graph = read_layers(parse_tflite(path.read_bytes(), "net"))
    workload = listening(path)
    recording = noise([(workload.streams[0], -1.0, 1.0, 400)], "noise")
    runs = model_inputs(workload, recording, path, graph, 1000)
    samples = np.asarray(recording.window("mic", 10_000_000, 400)).reshape(100, 4)
    expected = 2 * samples[samples[:, 0] > 0]
    np.testing.assert_array_equal(np.stack([one for (one,) in runs.of(range(len(runs)))]).reshape(-1, 4), expected)
    assert runs.source == "noise, stage `net`"
    with pytest.raises(InputError, match=r"noise, stage `net`: has . runs, 8 are needed"):
        model_inputs(workload, recording, path, graph, 10)
    # The same file elsewhere is the same model; another one is not.
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(path.read_bytes())
    assert len(model_inputs(workload, recording, copy, graph, 1000)) == len(runs)
    other = saved(two_inputs(), tmp_path / "other.tflite")
    with pytest.raises(InputError, match="workload `ears` has no stage that reads the model"):
        model_inputs(workload, recording, other, graph, 10)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_what_has_no_room_is_told(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys, net, "--data", "data.npy", "--out", "/dev/full")
    assert (status, err) == (2, "/dev/full: cannot be written (No space left on device)\nhint: write elsewhere\n")
    assert main(["model", "graph", str(net), "--out", "/dev/full"]) == 2
    assert "/dev/full: cannot be written" in capsys.readouterr().err


def test_the_command_takes_a_recording_and_a_workload(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "graph", str(net), "--out", "net.toml", "--noise", "noise"]) == 0
    words = (net, "--data", "noise", "--workload", "net.toml", "--out", "small.tflite")
    status, out, _ = told(capsys, *words)
    assert status == 0 and "calibrated on 5 runs of noise, stage `block 0" in " ".join(out.split())
    status, out, _ = told(capsys, net, "--data", "noise", "--out", "small.tflite")
    assert status == 0 and "calibrated on 5 runs of noise" in " ".join(out.split())


def test_it_ends_with_what_places_it(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys, net, "--data", "data.npy", "--out", "my small.tflite")
    (step,) = (line for line in err.splitlines() if line.startswith("place it: leo-runtime "))
    assert status == 0 and main(shlex.split(step)[3:]) == 0 and Path("my small.toml").exists()


@pytest.mark.parametrize("cut", ["blocks", "whole"])
def test_every_stage_of_it_reaches_the_phones_dsp(
    net: Path, cut: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word about variants: that is priced by what the model computes in."""
    pytest.importorskip("ai_edge_litert", reason="the extra `tflite` is not installed")
    assert told(capsys, net, "--data", "data.npy", "--out", "small.tflite")[0] == 0
    assert main(["model", "graph", "small.tflite", "--cut", cut, "--out", "small.toml", "--noise", "noise"]) == 0
    merged = merge(Workload.from_file("small.toml"))
    phone, profile = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    with open_backends(phone) as machine:
        modes = price(merged, phone, profile, machine.supports)
    models = [stage for stage in merged.stages if stage.bound.operator.name == "model"]
    assert models and all("dsp" in {mode.resource for mode in modes[stage.name]} for stage in models)
    for stage in models:
        assert stage.bound.work("default").is_int8
        (cpu,) = (mode.duration_us for mode in modes[stage.name] if mode.resource == "cpu")
        assert cpu == 200 + -(-stage.bound.work("default").macs // 1_000)  # 1 ns each, half of single precision
    # A profile that has nothing for int8 has it as any model.
    watch = shipped.profile("watch")
    assert all(watch.cost(stage.bound, "default", "cpu").operator == "model" for stage in models)
