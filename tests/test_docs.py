"""What the pages show is true: their links lead somewhere, and their examples run."""

import importlib
import importlib.util
import json
import re
import runpy
import shutil
import textwrap
import tomllib
from code import InteractiveConsole
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from leo_backends import tflite
from leo_runtime.backend import registry
from leo_runtime.cli import main
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.doctor import OF_DEVELOPERS
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge, price
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.measure import measure
from leo_runtime.operators import BUILT_IN, Operator
from leo_runtime.recordings.recording import RecordingManifest
from leo_runtime.replay.log_lines import LogLine
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.schema import Document
from leo_runtime.solver import SOLVERS, solve
from leo_runtime.solver.baselines import POLICIES
from leo_runtime.study.document import Study

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "leo_runtime").rglob("*.md")])
MODELS: dict[str, type[Document]] = {
    "leo-problem/1": Problem,
    "leo-placement/1": Placement,
    "leo-problem/2": WindowProblem,
    "leo-placement/2": WindowPlacement,
    "leo-problem/3": MemoryProblem,
    "leo-placement/3": MemoryPlacement,
    "leo-workload/1": Workload,
    "leo-hardware/1": Hardware,
    "leo-profile/1": Profile,
    "leo-recording/1": RecordingManifest,
    "leo-daemon/1": DaemonConfig,
    "leo-study/1": Study,
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def documents() -> list[Any]:
    """Every JSON or TOML block of a page that is a whole document."""
    found = []
    for page in PAGES:
        parsed = [*map(json.loads, blocks(page, "json")), *map(tomllib.loads, blocks(page, "toml"))]
        found += [pytest.param(data, id=f"{page.name}-{data['format']}") for data in parsed if "format" in data]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_found_from_the_readme(page: Path) -> None:
    more = (ROOT / "README.md").read_text().split("## More")[1]
    assert f"](docs/{page.name})" in more or f"]({page.name})" in (ROOT / "docs" / "README.md").read_text()


def test_no_page_has_marks_of_a_merge() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        assert not re.findall(r"^(?:<{7} |>{7} |={7}$)", page.read_text(), re.M), page


def test_every_extra_is_on_its_page() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    table = (ROOT / "docs" / "install.md").read_text()
    assert set(OF_DEVELOPERS) <= extras
    assert [extra for extra in sorted(extras - set(OF_DEVELOPERS)) if f"`{extra}`" not in table] == []


@pytest.mark.parametrize("data", documents())
def test_documents_on_a_page_are_valid(data: dict[str, Any]) -> None:
    MODELS[data["format"]].from_dict(data)


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
def test_the_tables_on_their_page_are_what_is_printed(capsys, tmp_path, monkeypatch) -> None:
    pytest.importorskip("pymicro_features", reason="needs the extra `audio`")
    page = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    command, shown = re.search(
        r"^    leo-runtime (replay .*)\n\nprints\n\n((?:    .*\n|\n)+)", page, re.MULTILINE
    ).groups()
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 0
    printed = capsys.readouterr().out.partition("\nwritten: ")[0]
    here = re.sub(r"^not here: .*\n(?:  .*\n)*", "", printed, flags=re.MULTILINE)
    assert here.strip() == textwrap.dedent(shown).strip()


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
def test_the_log_on_its_page_sums_as_the_page_says(capsys, tmp_path, monkeypatch) -> None:
    pytest.importorskip("pymicro_features", reason="needs the extra `audio`")
    page = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(re.search(r"^    leo-runtime (replay demo .*)$", page, re.MULTILINE)[1].split()) == 0
    capsys.readouterr()
    command, shown = re.search(r"^```console\n\$ python ([^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL).groups()
    monkeypatch.setattr("sys.argv", command.split())
    runpy.run_path(str(ROOT / "docs" / "examples" / "sum_log.py"), run_name="__main__")
    assert capsys.readouterr().out == shown
    named = re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE)
    assert sorted(named) == sorted(LogLine.model_json_schema()["discriminator"]["mapping"])


def test_the_problem_on_its_page_is_answered() -> None:
    page = ROOT / "docs" / "placement-problem.md"
    problem = Problem.from_json(blocks(page, "json")[0])
    answer = solve(problem)
    assert answer.status == "optimal"
    assert {run.stage: run.resource for run in answer.stages} == {"features": "dsp", "model": "gpu"}


def test_the_problem_on_its_page_is_also_a_file() -> None:
    page = ROOT / "docs" / "placement-problem.md"
    assert Problem.from_file(ROOT / "docs" / "examples" / "frame.json") == Problem.from_json(blocks(page, "json")[0])


def test_every_solver_is_in_the_table_of_solvers() -> None:
    table = (ROOT / "docs" / "placement-problem.md").read_text().split("## Solvers and policies")[1]
    named = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(SOLVERS)
    for policy, preferences in POLICIES.items():
        order = ", then ".join(f"`{name}`" for name in preferences)
        assert f"| `{policy}` | the policy {order} |" in table


def test_a_policy_takes_what_is_there_where_its_own_processors_are_not() -> None:
    text = (ROOT / "docs" / "examples" / "frame.json").read_text()
    renamed = Problem.from_json(text.replace('"dsp"', '"left"').replace('"gpu"', '"right"'))
    for policy in POLICIES:
        assert {run.resource for run in solve(renamed, policy).stages} == {"left"}


def examples(page: Path) -> list[tuple[str, str]]:
    """Every piece of Python of a page, and what the page says that it prints: the indented lines below "prints"."""
    found = []
    for code, after in re.findall(
        r"^```python\n(.*?)^```$(.*?)(?=^```|\Z)", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        paragraph, *rest = after.strip("\n").split("\n\n")
        says = re.search(r"\bprints?\b", paragraph) is not None
        found.append((code, textwrap.dedent(rest[0]).strip("\n") if says else ""))
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.name)
def test_python_on_a_page_runs_and_prints_what_the_page_says(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    assert len(examples(page)) == len(blocks(page, "python"))
    for code, says in examples(page):
        exec(compile(code, page.name, "exec"), {"__name__": "page"})
        assert capsys.readouterr().out.strip("\n") == says


def operator_row(operator: Operator) -> tuple[str, str, str]:
    """What the table of operators shows of one: its name, how many inputs, and its parameters with their defaults."""
    least, most = operator.inputs
    several = f"{least} or more" if most is None else f"{least} or {most}"
    inputs = "a stream" if operator.is_source else f"{least}" if least == most else several
    base = operator.parameters.__mro__[1]
    inherited = [f"those of `{one.name}`" for one in BUILT_IN if one.parameters is base]
    shown = list(inherited)
    for name, field in operator.parameters.model_fields.items():
        if inherited and name in base.model_fields:
            continue
        default = json.dumps(field.default, default=str) if field.default is not None else "none"
        shown.append(f"`{name}`!" if field.is_required() else f"`{name} = {default}`")
    return f"`{operator.name}`", inputs, ", ".join(shown) or "none"


def test_the_table_of_operators_is_that_of_the_code() -> None:
    table = (ROOT / "docs" / "operators.md").read_text().split("## All of them")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    assert [(name, inputs, parameters) for name, inputs, _says, parameters in rows] == [*map(operator_row, BUILT_IN)]
    assert [one.name for one in BUILT_IN if one.cut] == ["dense", "gmm"]  # which the page says of `parts`


def test_the_kinds_of_layers_on_their_page_are_all_that_are_read() -> None:
    read = (ROOT / "docs" / "models.md").read_text().split("## What is read")[1].split("beside those")[0]
    assert re.findall(r"`(\w+)`", read) == list(KINDS)


def test_blocks_about_ones_own_documents_can_be_pasted_into_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Line by line, as the interpreter reads what is pasted."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(ROOT / "docs" / "documents.md", "python"):
        console = InteractiveConsole()
        for line in [*block.splitlines(), ""]:
            console.push(line)
    assert "Error" not in capsys.readouterr().err
    assert {path.name for path in tmp_path.rglob("*.*")} == {"mic.wav", "wrist.csv", "knock.npz"}


@pytest.fixture
def own_documents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with every file that docs/documents.md tells to write."""
    page = ROOT / "docs" / "documents.md"
    recording, workload, hardware, profile, *_ = blocks(page, "toml")
    samples, operator, network = blocks(page, "python")
    monkeypatch.chdir(tmp_path)
    for code in (samples, network):
        exec(compile(code, page.name, "exec"), {"__name__": "page"})
    for name, text in {
        "hallway/recording.toml": recording,
        "knocks.toml": workload,
        "knocks.py": operator,
        "band.hardware.toml": hardware,
        "band.profile.toml": profile,
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_documents_of_ones_own_price_together(own_documents: Path) -> None:
    workload = Workload.from_file(own_documents / "knocks.toml")
    hardware = Hardware.from_file(own_documents / "band.hardware.toml")
    profile = Profile.from_file(own_documents / "band.profile.toml")
    backends = {processor.name: registry.create(processor) for processor in hardware.processors}
    modes = price(merge(workload), hardware, profile, lambda name, *asked: backends[name].supports(*asked))
    assert {mode.variant for mode in modes["mel"]} == {"default", "coarse"}
    assert {mode.resource for mode in modes["mel"]} == {"cpu", "dsp"}
    assert {mode.resource for mode in modes["answer"]} == {"cpu"}
    assert len([name for name in modes if re.fullmatch(r"scores\[\d\]", name)]) == 2, list(modes)


def test_the_study_of_stages_that_only_cost_runs_as_the_page_has_it() -> None:
    _, _, hardware, _, workload, profile = blocks(ROOT / "docs" / "documents.md", "toml")
    documents = Workload.from_toml(workload), Hardware.from_toml(hardware), Profile.from_toml(profile)
    with Runtime.simulated(*documents, compute=False) as runtime:
        for number in range(1, 101):
            runtime.submit(documents[0].graphs[0].release_us(number), {})
        frames = runtime.drain()
    ran = Counter(run.stage for frame in frames for run in frame.stages if run.outcome == "done")
    assert ran["frame"] == ran["moved"] == 100
    assert 10 < ran["gaze"] < 50  # 30 in 100 on average
    assert {run.resource for frame in frames for run in frame.stages if run.stage == "frame"} == {"dsp"}


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `leo-runtime` command that stands on a line of its own."""
    return [line.split() for line in re.findall(r"^    leo-runtime (.*?)(?: +#.*)?$", page.read_text(), re.MULTILINE)]


def test_every_command_about_ones_own_documents_works_as_it_stands(
    own_documents: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the page, in the folder that it tells to make; measuring is as short as it can be."""
    monkeypatch.setattr(measure, "FULL", measure.QUICK)
    own = [command for command in commands(ROOT / "docs" / "documents.md") if "demo" not in command]
    assert [command[0] for command in own] == ["calibrate", "replay"]
    for command in own:
        assert main(command) == 0
        assert capsys.readouterr().out
    measured = Profile.from_file(own_documents / "band.profile.json")
    assert "knocks:loudest" in {cost.operator for cost in measured.costs}
    assert main([*own[-1], "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    (knock,) = figures[0]["pipelines"]
    assert (knock["frames"], knock["labels"], knock["missed"], knock["false"]) == (8, 1, 0, 0)
    assert knock["right"] >= 1
    assert figures[0]["missing"] == {}


@pytest.mark.skipif(
    importlib.util.find_spec("pymicro_features") is None or not tflite.is_available(), reason="needs the extra `demo`"
)
def test_every_command_about_the_demo_works_as_it_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In virtual time; of the recording a part, and without the other policies, which take most of the time."""
    monkeypatch.chdir(tmp_path)
    pages = (ROOT / "docs" / "replay.md", ROOT / "README.md")
    about = {" ".join(command) for page in pages for command in commands(page) if "demo" in command}
    tables = "replay demo --virtual --seconds 20 --no-compare"
    assert about == {"replay demo", "replay demo --virtual --batch 10", "replay demo --virtual --without gpu", tables}
    for command in sorted(about):
        assert main([*dict.fromkeys([*command.split(), "--virtual"]), "--seconds", "12", "--no-compare"]) == 0
        assert capsys.readouterr().out.startswith("== demo, 12 s, on snapdragon-800, in virtual time")


def test_every_command_from_a_phones_zip_to_the_trace_works_as_it_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    own = [command for command in commands(ROOT / "docs" / "recordings.md") if "exports/" in " ".join(command)]
    assert [command[:2] for command in own] == [
        ["recording", "info"],
        ["replay", "exports/sensor-logger.zip"],
        ["recording", "convert"],
    ]
    info, replay, convert = own
    assert main(info) == 0
    assert "Sensor Logger" in capsys.readouterr().out
    assert main(replay) == 0
    assert capsys.readouterr().out.startswith("== sensor-logger, 12 s, on snapdragon-800, in virtual time")
    assert (tmp_path / "examples" / "out" / "sensor-logger.virtual" / "log.jsonl").is_file()
    assert main([*replay, "--json", "--no-compare"]) == 0
    (walking,) = json.loads(capsys.readouterr().out)[0]["pipelines"]
    assert (walking["frames"], walking["labels"], walking["missed"], walking["right"]) == (24, 1, 0, 8)
    assert main(convert) == 0
    assert (tmp_path / "examples" / convert[-1] / "recording.toml").is_file()


@pytest.mark.skipif(
    importlib.util.find_spec("mcap") is None or importlib.util.find_spec("zstandard") is None,
    reason="needs the extra `recordings`",
)
def test_every_command_about_recordings_works_as_it_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the order of the page."""
    monkeypatch.chdir(tmp_path)
    page = commands(ROOT / "docs" / "recordings.md")
    own = [command for command in page if command[0] == "recording" and "exports/" not in " ".join(command)]
    assert [command[1] for command in own] == ["info", "cut", "convert", "convert"]
    for command in own:
        assert main(command) == 0
    assert (tmp_path / "part" / "mic.wav").read_bytes() == (tmp_path / "again" / "mic.wav").read_bytes()
    assert capsys.readouterr().out.startswith("demo, 80 s")


def test_the_readme_and_the_make_file_say_how_the_command_gets_on_the_path() -> None:
    for name in ("README.md", "Makefile", "docs/documents.md"):
        assert re.search(r"source (\.venv|\$\(VENV\))/bin/activate", (ROOT / name).read_text()), name


def test_the_buffer_is_heard_as_one_batch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    buffered = importlib.import_module("buffered")
    buffered.report(buffered.hear(frames=4))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [f"frame {n}, {31 + n} s: {'cancelled' if n < 2 else 'speech'}" for n in range(4)]
    assert {line.partition(" on ")[0] for line in lines[4:]} == {"sound", "loud", "log_mel", "heard"}


def test_the_commands_of_the_readme_about_its_question_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs" / "examples" / "frame.json", tmp_path)
    commands = re.findall(r"^    leo-runtime (.*frame\.json.*?) +#", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["solve", "check", "explain"]
    for command in commands:
        assert main(command.split()) == 0
