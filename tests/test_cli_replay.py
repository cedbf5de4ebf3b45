"""`leo-runtime replay` and `calibrate`: what they print and write, and what they say to bad input."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import recorded
from leo_backends import tflite
from leo_backends.cpu import CpuBackend
from leo_runtime import cli, solver
from leo_runtime.backend import Kernel
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.problem import Placement
from leo_runtime.documents.profile import Profile
from leo_runtime.errors import DeviceUnavailableError, KernelError
from leo_runtime.measure import calibrate
from leo_runtime.measure.energy import Counter
from leo_runtime.measure.kept_profile import kept_or_measured
from leo_runtime.operators import operator
from leo_runtime.runtime.runtime import Runtime
from small_studies import write_study

MODELS = Path(__file__).parent / "models"
WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"

OWN = ("recording", "--workload", "workload.json", "--hardware", "machine.json")
VIRTUAL = ("replay", *OWN, "--profile", "profile.json", "--virtual")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, and a machine on which the CPU is there and the DSP is not."""

    def create(processor: Processor) -> CpuBackend:
        if processor.backend != "cpu":
            raise DeviceUnavailableError(f"backend `{processor.backend}` is not there", hint="plug it in")
        return CpuBackend(processor)

    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("leo_runtime.backend.registry.create", create)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    said = capsys.readouterr()
    return status, said.out, said.err


def change(file: str, **changed: object) -> None:
    data = json.loads(Path(file).read_text(encoding="utf-8"))
    Path(file).write_text(json.dumps({**data, **changed}), encoding="utf-8")


def graph_with(**changed: object) -> None:
    """Change the last stage of the workload's graph."""
    graph = json.loads(json.dumps(recorded.WORKLOAD["graphs"]))[0]
    graph["stages"][-1].update(changed)
    change("workload.json", graphs=[graph])


def source_with(**params: object) -> None:
    """Change the parameters of the stage that reads the recording."""
    graph = json.loads(json.dumps(recorded.WORKLOAD["graphs"]))[0]
    graph["stages"][0]["params"].update(params)
    change("workload.json", graphs=[graph])


def test_a_replay_in_windows_tells_how_plans_came_about_and_finds_the_same(capsys):
    status, out, _ = run(capsys, *VIRTUAL, "--window", "12")
    assert status == 0
    assert re.search(r"^plans of windows: \d+ looked up, \d+ proved", out, re.MULTILINE)
    assert re.search(r"^exact, frame by frame +virtual", out, re.MULTILINE)
    assert "\nother policies placed each frame as if alone" in out
    for alone in (("--window", "0"), ("--solver", "greedy"), ("--window", "12", "--no-compare")):
        assert "as if alone;" not in run(capsys, *VIRTUAL, *alone)[1]
    _, plain, _ = run(capsys, *VIRTUAL, "--json", "--no-compare", "--window", "0")
    _, windows, _ = run(capsys, *VIRTUAL, "--json", "--no-compare", "--window", "12")
    (alone,), (within,) = json.loads(plain), json.loads(windows)
    assert alone["planning"] is None
    assert within["planning"]["looked_up"] + within["planning"]["proved"] > 0
    assert [line["detections"] for line in within["pipelines"]] == [line["detections"] for line in alone["pipelines"]]


def test_batches_are_not_placed_in_windows(capsys):
    status, _, err = run(capsys, *VIRTUAL, "--window", "12", "--batch", "3")
    assert status == 2
    assert "`--window 12` does nothing with `--batch 3`" in err


def test_a_replay_in_batches_says_so_and_finds_the_same(capsys):
    status, out, _ = run(capsys, *VIRTUAL, "--batch", "3", "--no-compare", "--wide")
    assert status == 0
    assert out.splitlines()[0].endswith("placed by exact, 3 frames at a time")
    assert "beeps          8         3       0     0 " in out
    assert "beeps              3      2      1       2       1\n" in out
    log = Path("out/beeps.virtual/log.jsonl").read_text(encoding="utf-8")
    (head,), frames = recorded.logged(log, "run"), recorded.logged(log)
    assert head["batch"] == 3
    assert [[graph["release_us"] for graph in frame["graphs"]] for frame in frames] == [
        [500_000, 1_000_000, 1_500_000],
        [2_000_000, 2_500_000, 3_000_000],
        [3_500_000, 4_000_000],
    ]
    _, out, _ = run(capsys, *VIRTUAL, "--batch", "3", "--json")
    assert json.loads(out)[0]["batch"] == 3


def test_of_stages_that_only_cost_no_backend_is_missed(capsys, tmp_path):
    write_study(tmp_path)  # Its processors' backend `none` is none.
    words = ("workload", "blinks.workload"), ("hardware", "band.hardware"), ("profile", "band.profile")
    files = [word for key, name in words for word in (f"--{key}", str(tmp_path / f"{name}.toml"))]
    status, out, _ = run(capsys, "replay", "--virtual", *files, "--seconds", "0.1", "--no-compare")
    assert status == 0 and "not here" not in out


def test_a_virtual_replay_prints_its_tables_and_writes_its_log(capsys):
    status, out, err = run(capsys, *VIRTUAL, "--wide")
    assert status == 0
    assert out.splitlines()[0] == "== beeps, 4 s, on desk, in virtual time; profile desk, placed by exact"
    assert "not here: dsp (backend `dsp` is not there; plug it in); the CPU computes what it would\n" in out
    assert "beeps          8         3       0     0       7.10    7.10    7.10\n" in out
    assert "beeps              3      2      1       2       1\n" in out
    assert [line.split()[0] for line in out.splitlines() if " virtual " in line and "==" not in line] == [
        "exact",
        "exact,",  # frame by frame
        "cpu-only",
        "dsp-first",
        "gpu-first",
        "greedy",
    ]
    assert "%" not in err  # It took less than a minute.
    assert len(recorded.logged(Path("out/beeps.virtual/log.jsonl").read_text(encoding="utf-8"))) == 8


def test_a_virtual_replay_repeats_to_the_byte(capsys):
    first = run(capsys, *VIRTUAL, "--noise", "5", "--json", "--out", "first")[1]
    again = run(capsys, *VIRTUAL, "--noise", "5", "--json", "--out", "again")[1]
    assert first.replace('"first/', '"again/') == again
    for path in sorted(Path("first/beeps.virtual").iterdir()):
        if path.name != "times.jsonl":
            assert path.read_bytes() == (Path("again/beeps.virtual") / path.name).read_bytes()


def test_json_holds_the_figures(capsys):
    (figures,) = json.loads(run(capsys, *VIRTUAL, "--json", "--no-compare")[1])
    assert figures["pipelines"][0]["right"] == 2
    assert [policy["policy"] for policy in figures["policies"]] == ["exact"]
    assert {processor["name"] for processor in figures["processors"]} >= {"cpu", "dsp"}
    assert (figures["policy"], figures["workload"]) == ("exact", "ears")
    assert (figures["start_us"], figures["end_us"], figures["solving"]) == (0, 4_000_000, None)
    assert sum(processor["total_nj"] for processor in figures["processors"]) == figures["policies"][0]["nj"]


def test_solving_is_charged_where_asked_for(capsys, monkeypatch):
    """Every frame asks the same, so each policy solves once; here that takes 7000 us on a CPU of 1000 mW."""

    def slow(*arguments: object, **named: object) -> Placement:
        return solve(*arguments, **named).model_copy(update={"solve_us": 7000})

    solve = solver.solve
    monkeypatch.setattr("leo_runtime.solver.solve", slow)
    alone = (*VIRTUAL, "--json", "--window", "0")
    (before,) = json.loads(run(capsys, *alone)[1])
    (after,) = json.loads(run(capsys, *alone, "--charge-solver", "cpu")[1])
    assert (before["solver_on"], after["solver_on"]) == (None, "cpu")
    assert after["solving"] == {"measured_us": 7000, "placed_anew": 1, "nj": 7000 * 1000}
    causes = {processor["name"]: processor["nj"] for processor in after["processors"]}
    assert causes["cpu"].pop("solver") == 7000 * 1000
    assert causes == {processor["name"]: processor["nj"] for processor in before["processors"]}
    rises = [late["nj"] - early["nj"] for early, late in zip(before["policies"], after["policies"], strict=True)]
    assert rises == [7000 * 1000] * 5
    log = Path("out/beeps.virtual.2/log.jsonl").read_text(encoding="utf-8")
    assert recorded.logged(log, "run")[0]["charge_solver"] == "cpu"
    charged = [entry for line in recorded.logged(log, "energy") for entry in line["entries"]]
    assert [(one["frame"], one["nj"]) for one in charged if one["cause"] == "solver"] == [(0, 7_000_000)]
    out = run(capsys, *VIRTUAL, "--no-compare", "--window", "0", "--charge-solver", "dsp")[1]
    assert "solver: 7 ms measured here, frames placed anew: 1, charged to dsp: 0.700 mJ\n" in out
    assert re.search(r"^solver +- +0.700 +0.700$", out, re.MULTILINE)


def test_a_log_says_nothing_of_solving_where_it_is_not_charged(capsys):
    out = run(capsys, *VIRTUAL, "--no-compare")[1]
    assert "solver" not in out.replace("--solver NAME", "")
    log = Path("out/beeps.virtual/log.jsonl").read_text(encoding="utf-8")
    assert "solve_us" not in log
    assert not any(entry["cause"] == "solver" for line in recorded.logged(log, "energy") for entry in line["entries"])


def test_solving_is_charged_only_to_a_processor_with_a_power(capsys):
    status, out, err = run(capsys, *VIRTUAL, "--charge-solver", "gpu")
    assert (status, out) == (2, "")
    assert err == "`--charge-solver gpu`: `desk` has no processor `gpu`\nhint: one of cpu, dsp\n"
    cpu, dsp = recorded.MACHINE["processors"]
    change("machine.json", processors=[{**cpu, "active_mw": 0}, dsp])
    status, out, err = run(capsys, *VIRTUAL, "--charge-solver", "cpu")
    assert (status, out) == (2, "")
    assert err == "`--charge-solver cpu`: `desk` has no power (`active_mw`) of `cpu`\nhint: one of dsp\n"


def test_a_reserve_makes_plans_that_are_early(capsys):
    def median_us(*more: str) -> int:
        (figures,) = json.loads(run(capsys, *VIRTUAL, "--json", "--no-compare", *more)[1])
        return figures["pipelines"][0]["latency_median_us"]

    assert median_us() == 7100
    assert median_us("--reserve", "95") <= 5000
    status, _, err = run(capsys, *VIRTUAL, "--reserve", "100")
    assert (status, err) == (2, "expected a reserve of at most 99 percent, got 100\n")


def test_calibrate_writes_a_profile_that_a_replay_can_use(capsys):
    arguments = ("--recording", *OWN, "--quick", "--out", "desk.json", "--hardware-out", "links.json", "--wide")
    status, out, err = run(capsys, "calibrate", *arguments)
    assert status == 0
    assert "no link was measured: no processor is a server that keeps values\nhint: `leo-runtime serve` does, " in err
    assert "not measured: dsp: backend `dsp` is not there\nhint: plug it in\n" in err
    measured = [line.split()[1].partition("(")[0] for line in out.splitlines()[2:]]
    assert measured == ["window", "energy_gate", "motion_features", "dense"]
    status, out, _ = run(capsys, "replay", *OWN, "--profile", "desk.json", "--virtual", "--no-compare")
    assert status == 0
    assert "profile desk" in out


def test_a_stage_that_was_measured_nowhere_is_answered_no_and_its_profile_says_so_in_a_replay(capsys):
    Path("loud.npz").write_text("weights: none yet")
    arguments = ("--recording", *OWN, "--quick", "--out", "desk.json")
    status, _, err = run(capsys, "calibrate", *arguments)
    assert status == 1
    assert "not measured: loudness on cpu: " in err
    assert "stage `loudness` could be measured on no processor: the workload cannot run with this profile\n" in err
    status, _, err = run(capsys, "replay", *OWN, "--profile", "desk.json", "--virtual", "--no-compare")
    assert status == 2
    assert "hint: `leo-runtime calibrate --workload FILE` measures it or says why not; else " in err


@pytest.mark.parametrize("time", ["--virtual", "--live"])
def test_a_file_in_the_place_of_the_folder_for_output_is_said_to_be_one(capsys, time):
    Path("taken").write_text("mine")
    status, out, err = run(capsys, "replay", *OWN, "--profile", "profile.json", time, "--out", "taken")
    assert (status, out) == (2, "")
    assert err == "`--out taken`: a file is in its place, and logs and traces go into a folder\nhint: name a folder\n"


def test_a_recording_of_other_streams_has_a_hint_that_fits_the_command(capsys):
    for command in ("replay", "calibrate"):
        where = ("recording",) if command == "replay" else ("--recording", "recording")
        status, _, err = run(capsys, command, *where)
        assert status == 2
        assert "hint: it has mic; give another recording, or a workload that reads those\n" in err


def test_a_kept_profile_is_used_again_where_it_speaks_of_this_workload_and_device(capsys, monkeypatch):
    sources = []

    def counted(*arguments: object, **named: object) -> calibrate.Calibration:
        sources.append(named["sources"])
        return measured(*arguments, **named)

    measured = calibrate.calibrate
    counter = Counter("rapl package-0", lambda: 0)
    monkeypatch.setattr("leo_runtime.measure.calibrate.calibrate", counted)
    monkeypatch.setattr("leo_runtime.measure.kept_profile.whole_machine", lambda: (counter,))

    def profile_for(changed: dict[str, object] | None = None) -> tuple[Profile, str]:
        workload, hardware, _, recording = recorded.load_all(Path())
        if changed:
            (graph,) = workload.graphs
            last = graph.stages[-1].model_copy(update={"params": {**graph.stages[-1].params, **changed}})
            graph = graph.model_copy(update={"stages": (*graph.stages[:-1], last)})
            workload = workload.model_copy(update={"graphs": (graph,)})
        said: list[str] = []
        found = kept_or_measured(Path("out/desk.profile.json"), workload, hardware, recording, tell=said.append)
        return found, "\n".join(said)

    first, said = profile_for()
    assert (sources, "measuring again" in said) == ([(counter,)], False)
    assert profile_for() == (first, "")
    _, said = profile_for({"softmax": False})
    assert "profile `desk` has no measurement of stage `loudness` (default) of workload `ears`; measuring again" in said
    assert len(sources) == 2
    kept = json.loads(Path("out/desk.profile.json").read_text(encoding="utf-8"))
    change("out/desk.profile.json", device={**kept["device"], "drivers": {"dsp": "an old one"}})
    _, said = profile_for()
    assert 'its driver of dsp is "an old one", this one\'s ""; measuring again' in said
    assert len(sources) == 3


def test_what_was_measured_is_printed_as_json(capsys):
    status, out, _ = run(capsys, "calibrate", "--recording", *OWN, "--quick", "--out", "new/folder/desk.json", "--json")
    assert status == 0
    rows = json.loads(out)
    assert {(row["processor"], row["variant"]) for row in rows} == {("cpu", "default")}
    assert all(row["runs"] > 0 and row["p95_us"] >= row["median_us"] for row in rows)
    assert Path("new/folder/desk.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("calibrate", "--recording", *OWN, "--quick", "--out", "loud.npz/desk.json"),
        (*VIRTUAL, "--out", "loud.npz/out"),
        (*VIRTUAL, "--plot", "loud.npz/picture.svg"),
        (*VIRTUAL, "--plot", "picture.txt"),
        (*VIRTUAL, "--plot", "picture"),
        ("replay", *OWN, "--live", "--out", "kept"),
        ("replay", *OWN, "--live", "--out", "loud.npz/out"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(capsys, monkeypatch, arguments):
    Path("kept", "desk.profile.json").mkdir(parents=True)
    for place in ("leo_runtime.measure.calibrate.calibrate", "leo_runtime.replay.compare.replay"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("ran, with nowhere to write"))
    if arguments[-1] in ("picture.txt", "picture"):
        pytest.importorskip("matplotlib", reason="plots need the extra `report`")
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "cannot be written (" in err
    assert "hint: name a file in a folder you may write to\n" in err or "hint: name a .png, .svg or .pdf\n" in err


@pytest.mark.parametrize("read", ["workload.json", "machine.json"])
@pytest.mark.parametrize("command", [("calibrate", "--recording"), ("tune", "cpu")])
def test_what_is_measured_does_not_take_the_place_of_what_is_read(capsys, monkeypatch, command, read):
    monkeypatch.setattr("leo_runtime.measure.calibrate.calibrate", lambda *_, **__: pytest.fail("measured"))
    arguments = (*command, *OWN[command[0] == "tune" :])
    before = Path(read).read_text()
    said = f"{read}: is what is read, and would be lost\nhint: write to another file\n"
    assert run(capsys, *arguments, "--out", read) == (2, "", said)
    assert Path(read).read_text() == before


@pytest.mark.parametrize(
    "wrong", [("--start", "nan"), ("--start", "-1"), ("--seconds", "inf"), ("--noise", "-5"), ("--noise", "much")]
)
def test_amounts_are_finite_and_not_negative(capsys, wrong):
    with pytest.raises(SystemExit) as stopped:
        cli.main((*VIRTUAL, *wrong))
    assert stopped.value.code == 2
    assert f'expected a number of at least 0, got "{wrong[1]}"' in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--start", "--seconds"])
def test_amounts_beyond_any_recording_are_refused(capsys, option):
    with pytest.raises(SystemExit) as stopped:
        cli.main((*VIRTUAL, option, "1e305"))
    assert stopped.value.code == 2
    assert 'expected a number of at most 1e+09, got "1e305"' in capsys.readouterr().err


def test_a_noise_beyond_measure_is_refused(capsys):
    status, _, err = run(capsys, *VIRTUAL, "--noise", "1e9")
    assert (status, err) == (2, "expected a noise of at most 100 percent, got 1e+09\n")


def retold(name: str, before: str, after: str) -> None:
    Path(name).write_text(Path(name).read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


NOT_A_NAME = "files are named after it, so it may not begin with a dot or hold a slash, backslash or control character"


def truncate(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:5000])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda: graph_with(inputs=["loudness"]),
            "workload.json: the stages wait for each other: loudness <- loudness, at $.graphs[0].stages[3].inputs\n",
        ),
        (lambda: graph_with(operator="wish"), "no operator is called `wish`\nhint: one of "),
        (
            lambda: change("profile.json", costs=recorded.PROFILE["costs"][1:]),
            "profile `desk` has no entry for stage `loudness` (dense) on cpu, dsp\n"
            "hint: `leo-runtime calibrate --workload FILE` measures it or says why not; else add an entry for its "
            "operator\n",
        ),
        (
            lambda: change("profile.json", hardware="watch"),
            "profile `desk` is of hardware `watch`, not of `desk`\n"
            "hint: give the profile and the hardware of one machine\n",
        ),
        (
            lambda: truncate("recording/mic.wav"),
            "recording/mic.wav: truncated, its header promises 64000 samples and it holds 2478\n"
            "hint: copy it again, or mend its header\n",
        ),
        (
            lambda: recorded.write_wav(Path("recording/mic.wav"), rate_hz=8000),
            "recording/mic.wav: stream `mic` is declared at 16000 Hz, the file is at 8000 Hz\n"
            "hint: in the recording.toml, `resample = true` of the stream converts it; or correct its `rate_hz`\n",
        ),
        (
            lambda: change("workload.json", streams=[{"name": "mic", "kind": "audio", "rate_hz": 8000}]),
            "recording `beeps` has stream `mic` with rate_hz 16000, workload `ears` reads 8000\n"
            "hint: in a recording.toml, `rate_hz = 8000` and `resample = true` of the stream convert it; or change the "
            "workload\n",
        ),
        (
            lambda: retold("recording/recording.toml", '"beeps"', '"../../beeps"'),
            f'recording/recording.toml: {NOT_A_NAME}, got "../../beeps", at $.name\n',
        ),
        (
            lambda: change("machine.json", name="/elsewhere/desk"),
            f'machine.json: {NOT_A_NAME}, got "/elsewhere/desk", at $.name\n',
        ),
        (
            lambda: source_with(stream="nope"),
            "stage `sound` of graph `beeps`: no stream of workload `ears` is called `nope`\nhint: it has mic\n",
        ),
        (lambda: source_with(stream=["mic"]), 'input should be a valid string, got ["mic"], at $.stream\n'),
        (lambda: source_with(stream=5), "input should be a valid string, got 5, at $.stream\n"),
        (lambda: graph_with(params={"model": 5}), "stage `loudness` of graph `beeps`, operator `dense`: "),
        (
            lambda: Path("machine.json").rename("machine.old") and Path("machine.json").mkdir(),
            "machine.json: cannot be read (Is a directory), at $\n",
        ),
        (lambda: Path("loud.npz").unlink(), "loud.npz: cannot be read, stage `loudness` of graph `beeps` needs it\n"),
    ],
)
def test_bad_input_is_named_with_a_way_out(capsys, spoil, says):
    spoil()
    status, out, err = run(capsys, *VIRTUAL)
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


@operator(output_shape=lambda features: (2,))
def breaks(features: np.ndarray) -> np.ndarray:
    """Fails, and says so with a number that is another one each time, and in words that would clear a screen."""
    raise ValueError(f"cannot divide\x1b[2J by {features.sum()}")


def save_weights(weights: list[list[float]], **other: object) -> None:
    np.savez("loud.npz", **{"weights_0": np.array(weights, np.float32), "bias_0": np.zeros(2, np.float32), **other})


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda: save_weights([[0, 1, 0], [0, 0, 0]]), id="transposed"),
        pytest.param(lambda: np.savez("loud.npz", w=np.zeros((3, 2)), b=np.zeros(2)), id="other names"),
        pytest.param(lambda: save_weights([[0, 0]] * 3, weights_1=np.zeros((2, 2))), id="one layer more"),
        pytest.param(lambda: Path("loud.npz").write_bytes(b"PK"), id="no npz"),
    ],
)
@pytest.mark.parametrize("batch", ["1", "3"])
def test_a_model_that_cannot_be_loaded_is_refused_before_anything_runs(capsys, monkeypatch, spoil, batch):
    monkeypatch.setattr("leo_runtime.replay.compare.replay", lambda *_, **__: pytest.fail("ran a broken model"))
    spoil()
    status, out, err = run(capsys, *VIRTUAL, "--batch", batch)
    assert (status, out) == (2, "")
    said = [line for line in err.splitlines(keepends=True) if "report" not in line]  # Where traces need an extra.
    assert said[0].startswith("stage `loudness` runs on no processor (cpu: loud.npz: ")
    assert len(said) == 1
    assert not list(Path("out").iterdir())


class Unloading(CpuBackend):
    """Says that it can run anything, and loads nothing."""

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        raise KernelError(f"{stage.name}.bin: not for this device")


def test_a_kernel_that_cannot_be_loaded_on_one_processor_is_left_out_and_said(capsys, monkeypatch):
    def create(processor: Processor) -> CpuBackend:
        cpu = processor.model_copy(update={"backend": "cpu"})
        return CpuBackend(cpu) if processor.backend == "cpu" else Unloading(cpu)

    monkeypatch.setattr("leo_runtime.backend.registry.create", create)
    status, out, _ = run(capsys, *VIRTUAL, "--no-compare")
    assert status == 0
    assert "not used: sound (default) on dsp (sound.bin: not for this device)\n" in out
    (figures,) = json.loads(run(capsys, *VIRTUAL, "--no-compare", "--json")[1])
    assert set(figures["left_out"]) == {f"{stage} (default) on dsp" for stage in ("sound", "any", "features")}


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
@pytest.mark.parametrize("model", [MODELS / "two_inputs.tflite", WAKE_WORD])
def test_a_tflite_model_that_does_not_fit_is_refused_before_anything_runs(capsys, model):
    graph = json.loads(json.dumps(recorded.WORKLOAD["graphs"]))[0]
    net = {"name": "net", "operator": "tflite", "inputs": ["sound"], "params": {"model": str(model)}}
    net["params"]["output_shape"] = [1]
    del graph["decision"]
    change("workload.json", graphs=[{**graph, "stages": [graph["stages"][0], net]}])
    status, out, err = run(capsys, *VIRTUAL)
    assert (status, out) == (2, "")
    assert f"stage `net` runs on no processor (cpu: {model}: " in err


def test_what_fails_in_a_run_is_counted_and_printed_once_and_the_answer_is_no(capsys):
    graph_with(operator="test_cli_replay:breaks", params={})
    status, out, _ = run(capsys, *VIRTUAL, "--no-compare", "--wide")
    assert status == 1
    assert "beeps          8         0       3     0          -       -       -\n" in out
    assert "beeps              0      0      0       2       2\n" in out
    assert out.count("failed 3 times: loudness on cpu: KernelError: stage `loudness` failed: ValueError: ") == 1
    assert re.search(r"^failed run +3.000 +- +3.000$", out, re.MULTILINE)
    assert "cannot divide\\x1b[2J by " in out
    (figures,) = json.loads(run(capsys, *VIRTUAL, "--json")[1])
    (failure,) = figures["failures"]
    assert (failure["what"], failure["count"]) == ("loudness on cpu", 3)
    assert (figures["pipelines"][0]["failed"], figures["pipelines"][0]["late"]) == (3, 0)
    assert {policy["failed"] for policy in figures["policies"]} == {3}
    cpu = next(processor for processor in figures["processors"] if processor["name"] == "cpu")
    assert cpu["nj"]["failed run"] == 3 * 1000 * 1000
    assert cpu["nj"]["run"] == 3 * 1000 * 1000


def test_what_fails_for_frames_of_a_batch_is_printed_once(capsys):
    graph_with(operator="test_cli_replay:breaks", params={})
    status, out, _ = run(capsys, *VIRTUAL, "--batch", "8", "--no-compare")
    assert status == 1
    assert len([line for line in out.splitlines() if re.match(r"failed (once|\d+ times): ", line)]) == 1


def test_an_interrupted_replay_leaves_the_frames_that_had_ended(capsys, monkeypatch):
    """The fifth frame is never submitted: somebody has pressed Ctrl-C."""

    def submit_batch(self: Runtime, *arguments: object, **named: object) -> int:
        submitted.append(arguments)
        if len(submitted) == 5:
            raise KeyboardInterrupt
        return submit(self, *arguments, **named)

    submitted: list[object] = []
    submit = Runtime.submit_batch
    monkeypatch.setattr(Runtime, "submit_batch", submit_batch)
    status, out, err = run(capsys, *VIRTUAL)
    frames = [line["frame"] for line in recorded.logged(Path("out/beeps.virtual/log.jsonl").read_text())]
    assert (status, out) == (130, "")
    assert frames == [0, 1, 2]
    assert (
        "written up to here (3 frames): out/beeps.virtual\n"
        "hint: go on with `leo-runtime replay --resume out/beeps.virtual`\n"
    ) in err
    assert err.endswith("interrupted\n")


DYING = """
import os, signal
import numpy as np
from leo_runtime.operators import operator

calls = []

@operator(output_shape=lambda features: (2,))
def loudest(features: np.ndarray) -> np.ndarray:
    calls.append(features)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.array([1, 0], np.float32)
"""


def test_a_trace_is_left_out_where_none_is_wanted(capsys):
    assert run(capsys, *VIRTUAL, "--no-compare", "--no-trace")[0] == 0
    assert sorted(path.name for path in Path("out/beeps.virtual").iterdir()) == ["log.jsonl", "times.jsonl"]


def test_a_replay_that_is_killed_leaves_whole_lines_and_the_next_one_begins_anew(folder):
    Path("dying.py").write_text(DYING, encoding="utf-8")
    graph_with(operator="dying:loudest", params={})
    change("machine.json", processors=recorded.MACHINE["processors"][:1], links=[])
    change("profile.json", costs=recorded.PROFILE["costs"][:1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    code = "import sys; from leo_runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = []
    for run_folder in ("beeps.virtual", "beeps.virtual.2"):
        command = [sys.executable, "-c", code, *VIRTUAL]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        text = Path("out", run_folder, "log.jsonl").read_text(encoding="utf-8")
        assert text.endswith("\n")
        ended.append([frame["frame"] for frame in recorded.logged(text)])
    assert ended == [[0, 1, 2, 3, 4]] * 2


def test_a_short_stream_that_nobody_reads_does_not_shorten_a_replay(capsys):
    manifest = Path("recording/recording.toml")
    other = '\n[[streams]]\nname = "wrist"\nkind = "motion"\nfile = "wrist.csv"\nrate_hz = 10\n'
    manifest.write_text(manifest.read_text(encoding="utf-8") + other, encoding="utf-8")
    Path("recording/wrist.csv").write_text("time_us,x\n0,1\n100000,2\n", encoding="utf-8")
    status, out, _ = run(capsys, *VIRTUAL, "--no-compare")
    assert status == 0
    assert out.startswith("== beeps, 4 s, ")


def test_without_labels_no_detection_is_called_right_or_false(capsys):
    manifest = Path("recording/recording.toml")
    manifest.write_text(manifest.read_text(encoding="utf-8").partition("[[labels]]")[0], encoding="utf-8")
    status, out, _ = run(capsys, *VIRTUAL, "--no-compare")
    assert status == 0
    assert "beeps              3      -      -       0       0\n" in out
    (figures,) = json.loads(run(capsys, *VIRTUAL, "--no-compare", "--json")[1])
    assert (figures["pipelines"][0]["right"], figures["pipelines"][0]["false"]) == (None, None)


def test_an_absent_device_is_bad_input(capsys):
    change("machine.json", processors=[{"name": "gpu", "backend": "opencl"}], links=[])
    change("profile.json", costs=[{"processor": "gpu", "fixed_us": 9, "source": "modelled: for a test"}])
    status, out, err = run(capsys, "replay", *OWN, "--profile", "profile.json", "--live")
    assert (status, out) == (2, "")
    assert "backend `opencl` is not there" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("replay", "nowhere", *OWN[1:]), "no recording, folder or file is called `nowhere`\nhint: one of "),
        ((*VIRTUAL, "--start", "9"), "recording `beeps` lasts 4000000 us, nothing is left at 9000000\n"),
        ((*VIRTUAL, "--seconds", "0"), "expected a length above 0 s\n"),
        ((*VIRTUAL, "--seconds", "1e-9"), "expected a length above 0 s\n"),
        (
            (*VIRTUAL, "--seconds", "0.4"),
            "no graph of workload `ears` runs within 400000 us of recording `beeps`, the first one would at 500000\n"
            "hint: replay more of it, or another recording\n",
        ),
        (("replay", *OWN, "--virtual", "--profile", "toaster"), "no profile is called `toaster`\nhint: one of "),
        (("replay", *OWN, "--virtual", "--profile", ""), "no profile is called ``\nhint: one of "),
        (("replay", *OWN, "--live", "--profile", ""), "no profile is called ``\nhint: one of "),
        (("replay", *OWN[:3], "--virtual", "--hardware", ""), "no hardware is called ``\nhint: one of "),
        (("replay", *OWN[:3], "--live", "--hardware", ""), "no hardware is called ``\nhint: one of "),
        (
            ("replay", *OWN, "--virtual"),
            "no profile ships for the hardware `machine.json`\nhint: name one: add `--profile FILE`; "
            "`leo-runtime calibrate --hardware NAME --out FILE` writes one\n",
        ),
        ((*VIRTUAL, "--solver", "magic"), 'no solver is called "magic"'),
    ],
)
def test_wrong_arguments_are_named(capsys, arguments, says):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert says in err
