"""What-ifs on the demo, and on the command line: each has its effect on a run, and no other."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace as replaced
from pathlib import Path

import pytest

import recorded
from leo_backends import tflite
from leo_backends.cpu import CpuBackend
from leo_runtime import Runtime, cli, shipped
from leo_runtime.documents.changes import changed
from leo_runtime.documents.hardware import Processor
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.compare import POLICIES
from leo_runtime.replay.figures import Solving
from leo_runtime.replay.identity import Replay
from leo_runtime.replay.replay import Span, replay
from leo_runtime.replay.summary import Summary

DEMO, PHONE, COSTS = shipped.workload(), shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
RECORDING = shipped.recording("demo")
SECONDS = 4
NO_SOLVING = Solving(0, 0, 0)


def run(*changes: str, recording: Recording = RECORDING) -> Replay:
    """The demo's first seconds as they would go, with every gate open."""
    done = changed(DEMO, PHONE, COSTS, changes)
    recording = recording.with_changes(done.hardware, changes)
    with Runtime.simulated(done.workload, done.hardware, done.profile, solver="greedy", compute=False) as runtime:
        span = Span(0, SECONDS * 1_000_000)
        return replay(runtime, recording, span, policy="greedy", time="virtual", changes=changes)


def nj(replayed: Replay, resource: str | None = None, cause: str | None = None) -> int:
    causes = replayed.summary.energy.by_resource
    parts = [causes.get(resource, {})] if resource is not None else causes.values()
    return sum(part for one in parts for name, part in one.items() if cause in (None, name))


def busy_us(replayed: Replay, resource: str) -> int:
    return next((one.busy_us for one in replayed.summary.processors if one.name == resource), 0)


def told(replayed: Replay) -> Summary:
    """All that it comes to but how long solving really took."""
    return replaced(replayed.summary, solving=NO_SOLVING)


@pytest.fixture(scope="module")
def usual() -> Replay:
    return run()


def test_no_change_changes_nothing(usual: Replay) -> None:
    assert told(run()) == told(usual)
    assert told(run("graphs.speech.weight=2")) == told(usual)


def test_an_earlier_deadline_makes_answers_late(usual: Replay) -> None:
    assert usual.total.late == 0
    after = run("graphs.speech.deadline_us=100_000")
    assert {one.graph: one.late for one in after.summary.pipelines} == {
        one.graph: SECONDS if one.graph == "speech" else 0 for one in usual.summary.pipelines
    }


def test_later_deadlines_save_energy_and_earlier_ones_cost_it(usual: Replay) -> None:
    assert nj(run("scale-deadlines 3")) < nj(usual) < nj(run("scale-deadlines 0.5"))


def test_a_wake_up_for_nothing_spares_just_that(usual: Replay) -> None:
    after = run("processors.gpu.wake_energy_nj=0")
    assert nj(usual) - nj(after) == nj(usual, "gpu", "wake-up") > 0


def test_a_power_twice_as_great_costs_what_was_used_once_more(usual: Replay) -> None:
    for change in ("processors.cpu.active_mw*=2", "profile.*.cpu.power_mw*=2"):
        assert nj(run(change)) - nj(usual) == nj(usual, "cpu", "run") > 0


def test_runs_take_longer_on_a_slow_processor_and_its_power_is_the_same(usual: Replay) -> None:
    after = run("slow cpu=2")
    assert busy_us(after, "cpu") == pytest.approx(2 * busy_us(usual, "cpu"), rel=1e-3)
    assert nj(after, "cpu", "run") == busy_us(after, "cpu") * PHONE.processor("cpu").active_mw
    assert busy_us(after, "gpu") == busy_us(usual, "gpu")


def test_one_stage_that_is_faster_on_the_gpu_spares_the_gpu_that_time(usual: Replay) -> None:
    after = run("profile.mixtures.gpu.duration_us*=0.1")
    assert (
        nj(usual) - nj(after) > (busy_us(usual, "gpu") - busy_us(after, "gpu")) * PHONE.processor("gpu").active_mw > 0
    )


def test_half_the_bandwidth_takes_twice_as_long(usual: Replay) -> None:
    """The phone's links share a memory: 64 kB at 500 MB/s."""
    whole, half = (run(f"links.*.bytes_per_s*={factor}") for factor in (0.002, 0.001))
    assert busy_us(half, "dsp -> cpu") == pytest.approx(2 * busy_us(whole, "dsp -> cpu"), rel=0.02)
    assert busy_us(whole, "dsp -> cpu") > 100 * busy_us(usual, "dsp -> cpu")


def test_without_a_processor_nothing_runs_there(usual: Replay) -> None:
    after = run("without gpu")
    assert "gpu" not in {one.name for one in after.summary.processors}
    assert nj(after) > 3 * nj(usual)
    assert after.total.late > 0


def test_without_a_graph_its_answers_are_not_due(usual: Replay) -> None:
    after = run("without speech")
    assert [one.graph for one in after.summary.pipelines] == ["wake_word", "speaker", "scene", "activity"]
    assert after.total.answers == usual.total.answers - SECONDS


def test_half_as_often_is_half_the_answers(usual: Replay) -> None:
    assert 2 * run("graphs.*.period_us*=2").total.answers == usual.total.answers


@pytest.mark.parametrize("field", ["wake_latency_us", "wake_energy_nj", "asleep_mw"])
def test_what_a_processor_that_never_sleeps_would_take_to_wake_up_changes_no_run(usual: Replay, field: str) -> None:
    """As is told of such a change (`test_changes.py`)."""
    assert told(run(f"processors.dsp.{field}=5_000_000")) == told(usual)


def test_a_factor_on_a_link_acts_on_what_the_recording_says_of_it(usual: Replay) -> None:
    """Which goes before what the machine says."""
    said = [
        LinkSample(time_us=0, source=source, target=target, latency_us=200, bytes_per_s=10_000_000)
        for source, target in (("dsp", "cpu"), ("dsp", "gpu"))
    ]
    recording = replaced(RECORDING, manifest=RECORDING.manifest.model_copy(update={"links": tuple(said)}))
    whole, half = run(recording=recording), run("links.*.bytes_per_s*=0.5", recording=recording)
    assert busy_us(half, "dsp -> cpu") == pytest.approx(2 * busy_us(whole, "dsp -> cpu"), rel=0.02)
    same = run(*(f"links.dsp->{target}.bytes_per_s=5_000_000" for target in ("cpu", "gpu")), recording=recording)
    assert busy_us(same, "dsp -> cpu") == busy_us(half, "dsp -> cpu")
    assert "gpu" not in {one.name for one in run("without gpu", recording=recording).summary.processors}


def test_a_replay_carries_what_was_changed() -> None:
    assert run("without gpu", "slow cpu=2").changes == ("without gpu", "slow cpu=2")


OWN = (
    "recording",
    "--workload",
    "workload.json",
    "--hardware",
    "machine.json",
    "--profile",
    "profile.json",
    "--virtual",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, and a machine on which there is a CPU for everything."""
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "leo_runtime.backend.registry.create",
        lambda processor: CpuBackend(Processor(name=processor.name, backend="cpu")),
    )
    return tmp_path


def replay_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["replay", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    status, out, err = replay_command(capsys, *OWN, "--json", "--no-compare", *arguments)
    assert status == 0, err
    (only,) = json.loads(out)
    return only


def test_changes_are_made_in_the_order_of_the_command_line_and_recorded(folder: Path, capsys) -> None:
    graph = shipped.workload("workload.json").graphs[0]
    given = ["--set", f"graphs.{graph.name}.weight=5", "--slow", "cpu=2", "--set", f"graphs.{graph.name}.weight*=2"]
    told = ["slow cpu=2", "scale-deadlines 2"]
    only = figures(capsys, *given, "--scale-deadlines", "2")
    changes = [f"graphs.{graph.name}.weight=5", told[0], f"graphs.{graph.name}.weight*=2", told[1]]
    assert only["changes"] == changes
    head = json.loads(Path("out/beeps.virtual/log.jsonl").read_text().splitlines()[0])
    assert head["changes"] == changes
    assert head["workload"]["graphs"][0]["weight"] == 10
    assert head["workload"]["graphs"][0]["deadline_us"] == 2 * graph.deadline_us


def test_what_was_changed_stands_above_the_tables(folder: Path, capsys) -> None:
    status, out, err = replay_command(capsys, *OWN, "--no-compare", "--slow", "cpu=2", "--scale-deadlines", "1")
    assert status == 0
    assert out.splitlines()[1] == "changed: slow cpu=2, scale-deadlines 1"
    assert "note: `graphs.*.deadline_us*=1` changes nothing: it is so already" in err


def test_a_wrong_path_ends_before_anything_runs(folder: Path, capsys) -> None:
    status, out, err = replay_command(capsys, *OWN, "--set", "graphs.beps.weight=1")
    assert (status, out) == (2, "")
    assert err.startswith("`graphs.beps.weight=1`: no graph is called `beps`\nhint: did you mean `beeps`? one of beeps")
    assert not Path("out").exists() or not any(Path("out").iterdir())


def test_help_lists_the_paths_of_these_documents(folder: Path, capsys) -> None:
    status, out, err = replay_command(capsys, *OWN, "--set", "help")
    assert (status, err) == (0, "")
    assert "graphs.GRAPH: beeps" in out
    assert ".deadline_us" in out
    assert "profile.STAGE.PROCESSOR" in out
    assert max(map(len, out.splitlines())) <= 80


def test_no_command_prints_what_a_terminal_obeys(folder: Path, capsys) -> None:
    """Names are their documents' own."""
    name = "\x1b[31mred\x07\u202e"
    text = (
        Path("workload.json")
        .read_text()
        .replace('"beeps"', json.dumps(name))
        .replace('"loudness"', json.dumps("l" + name))
    )
    Path("workload.json").write_text(text)
    assert replay_command(capsys, *OWN)[0] == 0
    assert replay_command(capsys, *OWN, "--no-compare", "--scale-deadlines", "0.0001")[0] == 0
    runs = ("out/beeps.virtual", "out/beeps.virtual.2")
    for command in (
        ("replay", *OWN, "--virtual"),
        ("replay", *OWN, "--virtual", "--set", "help"),
        ("replay", *OWN, "--virtual", "--set", f"graphs.{name}.weihgt=1"),
        ("explain", runs[0]),
        ("explain", runs[1], "--frame", "2"),
        ("explain", runs[1], "--frame", "2", f"l{name}"),
        ("compare", *runs),
    ):
        cli.main([*command])
        said = capsys.readouterr()
        assert not {"\x1b", "\x07", "\u202e"} & {*said.out, *said.err}, command


def test_a_changed_run_that_was_interrupted_goes_on_as_it_began(folder: Path, capsys) -> None:
    """Its documents are changed already, and are not changed again."""
    manifest = folder / "recording" / "recording.toml"
    links = '[[links]]\ntime_us = 0\nsource = "cpu"\ntarget = "dsp"\nlatency_us = 50\nbytes_per_s = 9_000_000\n'
    manifest.write_text(manifest.read_text() + links)
    changes = ("--slow", "cpu=2", "--set", "links.*.latency_us*=3", "--without", "dsp->cpu")
    assert replay_command(capsys, *OWN, "--no-compare", *changes)[0] == 0
    log = Path("out/beeps.virtual/log.jsonl")
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    assert replay_command(capsys, "--resume", str(log.parent), "--no-compare")[0] == 0
    assert log.read_bytes() == whole


@pytest.mark.parametrize("time", ["--virtual", "--live"])
def test_solving_is_charged_to_a_processor_that_is_left(folder: Path, capsys, time: str) -> None:
    arguments = [*OWN[:-1], time, "--without", "dsp", "--charge-solver", "dsp"]
    status, out, err = replay_command(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "has no processor `dsp`" in err


def test_policies_are_chosen_by_name(folder: Path, capsys) -> None:
    status, out, _ = replay_command(capsys, *OWN, "--json", "--policies", "greedy, single,greedy")
    assert status == 0
    assert [one["policy"] for one in json.loads(out)[0]["policies"]] == ["exact", "greedy", "single"]
    status, out, _ = replay_command(capsys, *OWN, "--json", "--policies", "exact")
    assert [one["policy"] for one in json.loads(out)[0]["policies"]] == ["exact", "exact, frame by frame"]
    status, out, _ = replay_command(capsys, *OWN, "--json")
    names = [one["policy"] for one in json.loads(out)[0]["policies"]]
    assert names == ["exact", "exact, frame by frame", *POLICIES]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policies", "greedy,exat"), 'no solver is called "exat"\nhint: did you mean `exact`?'),
        (("--policies", "greedy,,exact"), 'expected names between commas, got "greedy,,exact"'),
        (("--policies", "greedy", "--no-compare"), "not allowed with argument"),
    ],
)
def test_a_policy_that_is_none_is_refused(folder: Path, capsys, arguments: tuple[str, ...], says: str) -> None:
    try:
        status = cli.main(["replay", *OWN, *arguments])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    assert says in capsys.readouterr().err


def test_a_run_in_real_time_says_what_a_change_does_not_reach(folder: Path, capsys) -> None:
    arguments = (
        *OWN[:-1],
        "--live",
        "--no-compare",
        "--seconds",
        "0.5",
        "--slow",
        "cpu=2",
        "--set",
        "processors.cpu.lanes=2",
    )
    status, _, err = replay_command(capsys, *arguments, "--set", "processors.dsp.awake_mw=5")
    assert status == 0
    says = "changes plans and what they are charged, not how long this machine takes"
    assert f"note: in real time `slow cpu=2` {says}" in err
    assert f"note: in real time `processors.dsp.awake_mw=5` {says}" in err
    assert "lanes" not in err
    head = json.loads(Path("out/beeps.real/log.jsonl").read_text().splitlines()[0])
    assert head["hardware"]["processors"][0]["lanes"] == 2
    assert head["profile"]["costs"][0]["fixed_us"] == 2000


def test_a_profile_that_is_kept_serves_with_and_without_a_processor(folder: Path, capsys) -> None:
    arguments = (*OWN[:-3], "--live", "--no-compare", "--seconds", "0.5")
    for change in ((), ("--without", "dsp"), ("--slow", "cpu=3"), ()):
        status, _, err = replay_command(capsys, *arguments, *change)
        assert status == 0
        kept = Path("out/desk.profile.json").read_text()
        assert "dsp" in kept
        assert "slow" not in kept
        assert "measuring again" not in err


EYES = {
    "format": "leo-workload/1",
    "name": "eyes/left",
    "graphs": [
        {
            "name": "eyes",
            "rate_hz": 4,
            "deadline_us": 50_000,
            "stages": [{"name": "gaze", "operator": "cost", "params": {"output_bytes": 12}}],
        }
    ],
}
COSTS_OF_EYES = {
    "format": "leo-profile/1",
    "name": "eyes",
    "hardware": "desk",
    "costs": [{"stage": "gaze", "processor": "cpu", "fixed_us": 900, "energy_nj": 400_000, "source": "modelled"}],
}


@pytest.fixture
def eyes(folder: Path) -> tuple[str, ...]:
    """The arguments of a run whose stages only cost, which reads no stream."""
    (folder / "eyes.json").write_text(json.dumps(EYES), encoding="utf-8")
    (folder / "eyes.profile.json").write_text(json.dumps(COSTS_OF_EYES), encoding="utf-8")
    return ("--workload", "eyes.json", "--hardware", "machine.json", "--profile", "eyes.profile.json", "--no-compare")


@pytest.mark.parametrize(
    ("given", "seconds"), [((), 60), (("--seconds", "90.5"), 90.5), (("--start", "1.5", "--seconds", "2"), 2)]
)
def test_a_workload_that_reads_no_stream_needs_no_recording(
    eyes: tuple[str, ...], capsys, given: tuple[str, ...], seconds: float
) -> None:
    status, out, err = replay_command(capsys, *eyes, "--virtual", "--json", "--no-trace", *given)
    assert (status, err) == (0, "")
    (only,) = json.loads(out)
    assert only["recording"] == "eyes-left"
    assert only["end_us"] - only["start_us"] == seconds * 1_000_000
    assert only["pipelines"][0]["frames"] == 4 * seconds
    assert Path("out/eyes-left.virtual/log.jsonl").exists()


def test_what_a_stage_that_only_costs_takes_is_changed_by_its_name(eyes: tuple[str, ...], capsys) -> None:
    arguments = (*eyes, "--virtual", "--json", "--seconds", "10")
    for change, per_run_nj in (
        ((), 400_000),
        (("--slow", "cpu=3"), 1_200_000),
        (("--set", "profile.gaze.cpu.duration_us*=3"), 400_000),
        (("--set", "profile.gaze.cpu.energy_nj=7"), 7),
    ):
        _, out, _ = replay_command(capsys, *arguments, *change)
        (only,) = json.loads(out)
        (cpu,) = [one for one in only["processors"] if one["name"] == "cpu"]
        assert cpu["nj"]["run"] == 40 * per_run_nj


def test_such_a_workload_with_a_recording_goes_by_its_name(eyes: tuple[str, ...], capsys) -> None:
    _, out, _ = replay_command(capsys, "recording", *eyes, "--virtual", "--json")
    (only,) = json.loads(out)
    assert (only["recording"], only["end_us"]) == ("beeps", 4_000_000)


def test_such_a_workload_is_refused_in_real_time_before_anything_runs(eyes: tuple[str, ...], capsys) -> None:
    status, out, err = replay_command(capsys, *eyes)
    assert (status, out) == (2, "")
    assert "which nothing computes: it runs in virtual time alone" in err
    assert not Path("out").exists() or not any(Path("out").iterdir())


@pytest.mark.parametrize(
    ("name", "named"), [("a/b\\c", "a-b-c"), (".hidden", "hidden"), ("..", "run"), ("a\nb", "a-b")]
)
def test_a_recording_of_nothing_is_named_as_a_file_can_be(name: str, named: str) -> None:
    recording = Recording.of_nothing(name, 2_500_000)
    assert (recording.manifest.name, recording.duration_us) == (named, 3_000_000)


FIRST_20_S = ("--virtual", "--seconds", "20")


def page_of_questions() -> str:
    return (Path(__file__).parent.parent / "docs" / "questions.md").read_text(encoding="utf-8")


def needs_the_demo() -> pytest.MarkDecorator:
    is_here = importlib.util.find_spec("pymicro_features") is not None and tflite.is_available()
    return pytest.mark.skipif(not is_here, reason="needs the extra `demo`")


@needs_the_demo()
@pytest.mark.parametrize(
    ("options", "energy", "late"),
    re.findall(r"^\| (none|`--.*?`) \| (.*? J) \| (\d+) \|", page_of_questions(), re.MULTILINE),
)
def test_every_what_if_on_its_page_is_as_it_says(
    capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, energy: str, late: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [] if options == "none" else options.strip("`").split()
    status, out, err = replay_command(capsys, "demo", *FIRST_20_S, "--no-compare", "--json", *given)
    assert status == 0, err
    (total,) = json.loads(out)[0]["policies"]
    assert (f"{total['nj'] / 1e9:.2f} J", str(total["late"])) == (energy, late)


@needs_the_demo()
def test_the_command_on_that_page_works_as_it_stands(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = re.findall(r"^    leo-runtime replay (demo .*--set .*)$", page_of_questions(), re.MULTILINE)
    status, out, _ = replay_command(capsys, *line.split(), "--no-compare")
    assert status == 0
    assert "\nchanged: without gpu, graphs.speech.deadline_us=500_000\n" in out


def test_what_wakes_for_nothing_wakes_as_often(usual: Replay) -> None:
    woken = {one.name: one.wake_ups for one in usual.summary.processors}
    assert woken["gpu"] > 0
    free = run("processors.gpu.wake_energy_nj=0")
    assert {one.name: one.wake_ups for one in free.summary.processors} == woken
    assert nj(free, "gpu", "wake-up") == 0
