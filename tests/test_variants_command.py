"""`leo-runtime variants`: from a model and data to a workload that chooses of its forms."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from leo_runtime import shipped
from leo_runtime.cli import main
from leo_runtime.documents.binding import bind
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.recordings.noise import noise
from leo_runtime.recordings.writer import write_folder
from small_networks import classifier, saved, two_heads

needs_litert = pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="needs ai-edge-litert")
loads_int8 = pytest.mark.skipif(
    find_spec("ai_edge_litert") is None and find_spec("tflite_runtime") is not None,
    reason="tflite-runtime is older than the fully connected layers of the int8 form",
)
PHONE = ("--hardware", "snapdragon-800", "--profile", "snapdragon-800")
FEW = ("--form", "int8w", "--form", "rank40", "--form", "prune50+f16")


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and data for it, in the folder to stand in."""
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", image=np.random.default_rng(0).normal(size=(12, 9, 12, 3)))
    return saved(classifier(), Path("net.tflite"))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["variants", "net.tflite", "--data", "data.npz", *FEW, *words])
    told = capsys.readouterr()
    return status, told.out, told.err


def dsp_alone() -> None:
    """Writes a machine and a profile of a phone's DSP, and of nothing beside it."""
    phone, profile = shipped.hardware(PHONE[1]), shipped.profile(PHONE[3])
    alone = [one for one in phone.processors if one.name == "dsp"]
    phone.model_copy(update={"processors": tuple(alone), "links": ()}).to_file("dsp.json")
    costs = tuple(one for one in profile.costs if one.processor == "dsp")
    profile.model_copy(update={"costs": costs}).to_file("dsp.profile.json")


@pytest.mark.usefixtures("net")
def test_forms_are_told_in_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown, _ = run(capsys, "--no-costs", "--loss-max", "50000")
    assert status == 0 and all(len(line) <= 80 for line in shown.splitlines())
    assert "net.tflite: 4 forms over 12 runs; 2 of them are left for placement" in shown.replace("\n", " ")
    rows = {
        line.split()[0]: line.split() for line in shown.splitlines() if line[:7] in ("default", "rank40 ", "int8w  ")
    }
    assert rows["default"][1:3] == ["0", "0"] and rows["rank40"][-1] == "loss"
    assert (rows["default"][4], rows["int8w"][4]) == ("110.0", "27.8")


@needs_litert
@pytest.mark.usefixtures("net")
def test_costs_are_estimated_by_a_phones_profile(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown, _ = run(capsys, *PHONE, "--task", "argmax", "--loss-max", "1000000", "--json")
    told = json.loads(shown)
    assert status == 0 and told["costs"].startswith("estimated: what profile snapdragon-800 has")
    forms = {one["form"]: one for one in told["forms"]}
    assert set(forms) == {"default", "int8w", "rank40", "prune50+f16"}
    took = {name: one["costs"]["cpu"]["duration_us"] for name, one in forms.items()}
    assert took["rank40"] < took["default"] >= took["int8w"] and forms["rank40"]["macs"] < forms["default"]["macs"]
    assert forms["default"]["decisions"] == 0 and forms["int8w"]["runs"] == 12
    assert [name for name, one in forms.items() if not one["verdict"]] == ["int8w", "rank40"]


@needs_litert
@pytest.mark.usefixtures("net")
@pytest.mark.parametrize("cut", ["whole", "blocks"])
def test_what_is_written_is_a_workload_that_chooses(cut: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, talk = run(capsys, *PHONE, "--cut", cut, "--out", "made", "--loss-max", "50000", "--rate", "5")
    assert status == 0 and "written: made/net.toml" in talk
    workload = Workload.from_file("made/net.toml")
    (graph,) = workload.graphs
    assert (graph.accuracy_loss_ppm_max, graph.period_us) == (50_000, 200_000)
    bound = bind(graph, workload)
    models = [stage for stage in graph.stages if stage.operator == "model"]
    assert len(models) == (1 if cut == "whole" else 5)
    for stage in models:
        assert {one.accuracy_loss_ppm for one in stage.variants} and len(stage.variants) < 4
        for one in stage.variants:
            assert Path(str(one.params["model"])).parent == Path("made")
            assert bound[stage.name].weight_bytes(one.name) > 0
    assert "/" not in Path("made/net.toml").read_text().split("model = ")[1].splitlines()[0].split(",")[0]
    profile = Profile.from_file("made/snapdragon-800.profile.json")
    ours = [cost for cost in profile.costs if cost.signature is not None and cost.operator == "model"]
    assert ours and all(cost.source.startswith("modelled") for cost in ours)


@needs_litert
@pytest.mark.usefixtures("net")
def test_the_workload_runs_in_the_form_that_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *PHONE, "--out", "made", "--loss-max", "2000000")[0] == 0
    (stream,) = Workload.from_file("made/net.toml").streams
    write_folder(noise([(stream, -1.0, 1.0, 18)], "noise"), Path("noise"))
    given = ["--workload", "made/net.toml", *PHONE[:2], "--profile", "made/snapdragon-800.profile.json"]
    assert main(["replay", "noise", *given, "--virtual", "--no-compare", "--no-trace", "--out", "out"]) == 0
    (log,) = Path("out").rglob("log.jsonl")
    frames = [json.loads(line) for line in log.read_text().splitlines() if '"stage"' in line]
    ran = [one["variant"] for frame in frames for one in frame.get("stages", ()) if one["stage"] == "model"]
    assert set(ran) == {"rank40"}


@pytest.mark.usefixtures("net")
def test_where_nothing_may_be_lost_the_model_itself_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown, _ = run(capsys, "--no-costs", "--loss-max", "0")
    assert status == 0 and "1 of them are left" in shown.replace("\n", " ")


@pytest.mark.usefixtures("net")
def test_what_was_found_out_is_told_where_nothing_runs_on_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """A DSP alone, and no form of int8."""
    dsp_alone()
    status, shown, talk = run(capsys, "--hardware", "dsp.json", "--profile", "dsp.profile.json", "--out", "made")
    assert status == 2 and "has no mode on any processor" in talk
    assert "rank40" in shown and "Costs were not measured." in shown and not Path("made").exists()


@loads_int8
@pytest.mark.usefixtures("net")
@pytest.mark.parametrize(("cut", "where"), [("whole", ""), ("blocks", " of block 0")])
def test_none_that_is_left_is_an_answer(cut: str, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A DSP runs the form of int8 alone, and that loses something."""
    dsp_alone()
    machine = ("--hardware", "dsp.json", "--profile", "dsp.profile.json")
    status, shown, talk = run(
        capsys, *machine, "--form", "int8", "--loss-max", "0", "--cut", cut, "--out", "made", "--json"
    )
    assert status == 1 and f"no form{where} is left for placement" in talk
    assert {one["verdict"] for one in json.loads(shown)["forms"]} == {"loss", "runs nowhere"}
    assert not Path("made/net.toml").exists() and Path("made/snapdragon-800.profile.json").exists()


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--form", "svd"), 'no form is called "svd"'),
        (("--task", "best"), 'no measure is called "best"'),
        (("--output", "label"), "has no output `label`"),
        (("--task", "points=3"), "an output of 10 values has no points of 3 coordinates each"),
        (("--data", "missing.npz"), "missing.npz: cannot be read"),
        (("--data", "missing"), "missing"),
        (("--out", "."), ".: there is something in it"),
        (("--out", "net.tflite"), "net.tflite: cannot be a folder to write to"),
        (("--hardware", "nothing"), "nothing"),
        (("--hardware", "host", "--profile", "snapdragon-800"), "snapdragon-800"),
        (("--rate", "0"), "cannot run 0 times a second"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    costs = () if words[0] in ("--hardware", "--rate") else ("--no-costs",)
    phone = PHONE if words[0] == "--rate" else ()
    status, shown, complaint = run(capsys, *costs, *phone, *words)
    assert status == 2 and said in complaint and "Traceback" not in complaint
    assert not shown or "--profile" in words  # Found out when forms were made, and what they lose is told.


@needs_litert
@pytest.mark.usefixtures("net")
@pytest.mark.parametrize("there", [False, True])
def test_a_call_that_failed_leaves_nothing_in_its_folder(there: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if there:
        Path("made").mkdir()
    assert run(capsys, *PHONE, "--out", "made", "--rate", "0")[0] == 2
    assert Path("made").exists() == there and (not there or not list(Path("made").iterdir()))
    assert run(capsys, *PHONE, "--out", "made", "--rate", "1", "--loss-max", "50000")[0] == 0


def test_of_several_outputs_the_worst_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(two_heads(), Path("net.tflite"))
    np.savez("data.npz", image=np.random.default_rng(0).normal(size=(8, 8, 8, 3)))
    _, shown, _ = run(capsys, "--no-costs", "--json")
    forms = json.loads(shown)["forms"]
    assert forms[0]["output"] is None and {one["output"] for one in forms[1:]} <= {"late", "early"}
    _, shown, _ = run(capsys, "--no-costs")
    said = " ".join(shown.split())
    assert f"The output that changes most is told: `{forms[1]['output']}` in {forms[1]['form']}" in said
    assert "`--output NAME` reads one alone" in said
    assert "changes most" not in " ".join(run(capsys, "--no-costs", "--output", "late")[1].split())
    status, _, complaint = run(capsys, "--no-costs", "--task", "argmax")
    assert status == 2 and "net.tflite: has 2 outputs, and argmax reads one" in complaint
    assert "name it with `--output`: it has late, early" in " ".join(complaint.split())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("int8.tflite", "has no layer of float weights"),
        ("no.tflite", "is no TensorFlow Lite model"),
        ("missing.tflite", "cannot be read"),
    ],
)
def test_models_without_forms_are_told(net: Path, model: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    saved(two_heads(int8=True), Path("int8.tflite"))
    Path("no.tflite").write_bytes(b"none at all")
    np.savez("two.npz", image=np.zeros((1, 8, 8, 3)))
    assert main(["variants", model, "--data", "two.npz"]) == 2
    assert said in capsys.readouterr().err
