"""The command line: golden transcripts, exit statuses, and which stream says what."""

import argparse
import dataclasses
import importlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leo_runtime import cli, shipped
from leo_runtime.backend.registry import BackendStatus
from leo_runtime.command.parser import parser
from leo_runtime.command.shared import put
from leo_runtime.operators import BUILT_IN

PROBLEM = {
    "format": "leo-problem/1",
    "name": "hello",
    "resources": [{"name": "dsp"}, {"name": "cpu"}],
    "links": [{"source": "dsp", "target": "cpu", "latency_us": 100}],
    "stages": [
        {"name": "features", "modes": [{"resource": "dsp", "duration_us": 9, "energy_nj": 3}]},
        {
            "name": "model",
            "inputs": ["features"],
            "modes": [
                {"resource": "dsp", "duration_us": 400, "energy_nj": 14},
                {"resource": "cpu", "duration_us": 40, "energy_nj": 59},
            ],
        },
    ],
    "deadlines": [{"stage": "model", "deadline_us": 300}],
}


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a problem in it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "frame.json", PROBLEM)
    return tmp_path


def write(path: Path, data: object) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_solve_writes_the_answer_to_standard_output_and_nothing_else(frame, capsys):
    status, out, err = run(capsys, "solve", "frame.json", "--solver", "exhaustive")
    answer = json.loads(out)
    assert (status, err) == (0, "")
    assert answer["format"] == "leo-placement/1"
    assert answer["status"] == "optimal"
    assert answer["criteria"] == {"tardiness": 0, "energy": 62, "makespan": 149, "accuracy_loss": 0}


def test_solve_to_a_file_then_check_it(frame, capsys):
    assert run(capsys, "solve", "frame.json", "--solver", "exhaustive", "--out", "answer.json") == (0, "", "")
    status, out, err = run(capsys, "check", "frame.json", "answer.json")
    assert (status, out, err) == (0, '{"tardiness":0,"energy":62,"makespan":149,"accuracy_loss":0}\n', "")


def test_solve_says_what_solving_cost_where_the_power_is_given(frame, capsys):
    status, out, err = run(capsys, "solve", "frame.json", "--active-mw", "950")
    solve_us = json.loads(out)["solve_us"]
    assert (status, err) == (0, f"solved in {solve_us} us, which cost {950 * solve_us} nJ at 950 mW\n")


def test_an_infeasible_problem_is_answered_no(frame, capsys):
    write(frame / "frame.json", {**PROBLEM, "limits": {"energy": 5}})
    status, out, err = run(capsys, "solve", "frame.json", "--solver", "exhaustive")
    assert status == 1
    assert json.loads(out)["status"] == "infeasible"
    assert err.startswith("infeasible: ")
    (frame / "answer.json").write_text(out, encoding="utf-8")
    status, out, err = run(capsys, "check", "frame.json", "answer.json")
    assert status == 1
    assert out.startswith("the answer places nothing: infeasible, ")
    status, out, _ = run(capsys, "check", "frame.json", "answer.json", "--json")
    assert status == 1
    assert json.loads(out).keys() == {"status", "reason"}


def test_check_names_every_broken_rule(frame, capsys):
    run(capsys, "solve", "frame.json", "--solver", "exhaustive", "--out", "answer.json")
    answer = json.loads((frame / "answer.json").read_text(encoding="utf-8"))
    answer["stages"][1]["start_us"] -= 5
    answer["criteria"]["energy"] += 1
    write(frame / "answer.json", answer)
    status, out, _ = run(capsys, "check", "frame.json", "answer.json")
    assert status == 1
    assert out.splitlines() == [
        "rule 3: model starts before features arrives at cpu",
        "rule 1: model runs 45 us, its mode cpu/default 40",
        "energy is given as 63, the rules make it 62",
    ]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"bounds": []}, "the status is optimal, the bounds do not prove it"),
        ({"bounds": [0, 61]}, "the status is optimal, the bounds do not prove it"),
        ({"problem": "another"}, 'it answers "another", the question is "hello"'),
    ],
)
def test_a_false_claim_is_answered_no(frame, capsys, changed, says):
    run(capsys, "solve", "frame.json", "--solver", "exhaustive", "--out", "answer.json")
    answer = json.loads((frame / "answer.json").read_text(encoding="utf-8"))
    write(frame / "answer.json", {**answer, **changed})
    assert run(capsys, "check", "frame.json", "answer.json") == (1, f"false claim: {says}\n", "")
    status, out, err = run(capsys, "check", "frame.json", "answer.json", "--json")
    assert (status, json.loads(out), err) == (1, [{"rule": 0, "text": says}], "")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"status": "feasible"},
        {"status": "feasible", "bounds": []},
        {"status": "feasible", "bounds": [0, 5]},
        {"solver": "another's", "reason": ""},
        {"criteria": None},
    ],
)
def test_an_honest_answer_of_any_solver_is_right(frame, capsys, changed):
    run(capsys, "solve", "frame.json", "--solver", "exhaustive", "--out", "answer.json")
    answer = json.loads((frame / "answer.json").read_text(encoding="utf-8"))
    write(frame / "answer.json", {**answer, **changed})
    says = '{"tardiness":0,"energy":62,"makespan":149,"accuracy_loss":0}\n'
    assert run(capsys, "check", "frame.json", "answer.json") == (0, says, "")
    assert run(capsys, "check", "frame.json", "answer.json", "--json") == (0, says, "")


def test_an_output_s_folder_is_made_and_one_that_cannot_be_is_refused_first(frame, capsys, monkeypatch):
    assert run(capsys, "solve", "frame.json", "--out", "new/folder/answer.json") == (0, "", "")
    assert (frame / "new/folder/answer.json").exists()
    monkeypatch.setattr("leo_runtime.solver.solve", lambda *_, **__: pytest.fail("solved, with nowhere to write"))
    for out, why in (("frame.json/answer.json", "Not a directory"), ("new", "Is a directory")):
        status, said, err = run(capsys, "solve", "frame.json", "--out", out)
        assert (status, said) == (2, "")
        assert err == f"{out}: cannot be written ({why})\nhint: name a file in a folder you may write to\n"


def test_explain_says_why_and_what_else(frame, capsys):
    run(capsys, "solve", "frame.json", "--out", "answer.json")
    status, out, err = run(capsys, "explain", "frame.json", "answer.json", "model")
    assert (status, err) == (0, "")
    assert out.splitlines()[0].startswith("hello: tardiness 0 us, energy 62 nJ")
    assert "  on dsp as default: worse (tardiness +109 us, energy -45 nJ, makespan +260 us); deadline binds" in out
    status, out, _ = run(capsys, "explain", "frame.json", "answer.json", "--json")
    assert [stage["run"]["stage"] for stage in json.loads(out)["stages"]] == ["features", "model"]
    status, out, err = run(capsys, "explain", "frame.json", "answer.json", "poem")
    assert (status, out) == (2, "")
    assert err == '`hello` has no stage "poem"\nhint: its stages are features, model\n'


def cyclic() -> dict[str, object]:
    first, second = PROBLEM["stages"]
    return {**PROBLEM, "stages": [{**first, "inputs": ["model"]}, second]}


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (
            cyclic(),
            "frame.json: the stages wait for each other: features <- model <- features, at $.stages[0].inputs\n",
        ),
        (
            {**PROBLEM, "deadlines": [{"stage": "model", "deadline_us": "12ms"}]},
            'frame.json: expected an integer, got "12ms", at $.deadlines[0].deadline_us\n',
        ),
        (
            {**PROBLEM, "surprise": 1},
            'frame.json: the key "surprise" is unknown (its value is 1), at $.surprise\n'
            "hint: known are format, name, resources, links, stages, deadlines, accuracy_budgets, limits, objective\n",
        ),
    ],
)
def test_a_wrong_problem_is_bad_input(frame, capsys, problem, says):
    write(frame / "frame.json", problem)
    assert run(capsys, "solve", "frame.json") == (2, "", says)


def test_a_missing_file_is_bad_input(frame, capsys):
    says = "nowhere.json: cannot be read (No such file or directory), at $\n"
    assert run(capsys, "solve", "nowhere.json") == (2, "", says)
    assert run(capsys, "check", "frame.json", "nowhere.json") == (2, "", says)


def test_an_unknown_solver_is_bad_input(frame, capsys):
    status, out, err = run(capsys, "solve", "frame.json", "--solver", "magic")
    assert (status, out) == (2, "")
    assert err.startswith('no solver is called "magic"\nhint: there are ')


def test_schemas_are_listed_and_printed(capsys):
    status, out, _ = run(capsys, "schema")
    assert status == 0
    kinds = ["problem", "placement", "window", "window-placement", "memory", "memory-placement"]
    kinds += ["workload", "hardware", "profile", "recording"]
    assert out.split() == [*kinds, "daemon", "study", "log", "replay"]
    for name in kinds:
        status, text, _ = run(capsys, "schema", name)
        assert status == 0
        assert json.loads(text)["properties"]["format"]["const"].startswith("leo-")


def test_the_schema_of_a_log_is_that_of_its_lines(capsys):
    schema = json.loads(run(capsys, "schema", "log")[1])
    assert set(schema["discriminator"]["mapping"]) == {"run", "question", "frame", "energy", "resumed", "end"}
    assert schema["$defs"]["RunLine"]["properties"]["format"]["const"] == "leo-log/2"


def test_a_schema_accepts_what_the_command_accepts(capsys):
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra `test`")
    schema = json.loads(run(capsys, "schema", "problem")[1])
    jsonschema.validate(PROBLEM, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**PROBLEM, "surprise": 1}, schema)


def test_the_schema_of_workloads_knows_the_parameters_of_every_operator(capsys):
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra `test`")
    schema = json.loads(run(capsys, "schema", "workload")[1])
    workload = json.loads(shipped.workload().to_json())
    jsonschema.validate(workload, schema)
    for operator in BUILT_IN:
        described = schema["$defs"][operator.parameters.__name__]["properties"]
        assert set(described) == set(operator.parameters.model_fields)
    stage = next(s for g in workload["graphs"] for s in g["stages"] if s["operator"] == "mfcc")
    for params in ({"like": "kaldi", "edges": "mirrored", "round_to_bins": "down"}, {"round_to_bins": True}):
        stage["params"] = params
        jsonschema.validate(workload, schema)
    for params in ({"like": "whisper"}, {"edges": "round"}, {"lyke": "kaldi"}, {"delta_window": -1}):
        stage["params"] = params
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(workload, schema)


def test_an_unknown_schema_is_bad_input(capsys):
    status, out, err = run(capsys, "schema", "poem")
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == "no document is called `poem`"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["solve"], ["solve", "frame.json", "--limit-ms", "-3"]])
def test_wrong_use_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.out == ""
    assert "usage: leo-runtime" in said.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("repaly",), "hint: did you mean `replay`?"),
        (("replay", "--vitual"), "hint: did you mean `--virtual`?"),
        (("replay", "demo", "--dsp", "nunpy"), "hint: did you mean `numpy`? one of numpy, hexagon"),
        (("hardware", "shwo"), "hint: did you mean `show`? one of list, show"),
        (("recording", "inof", "x"), "hint: did you mean `info`? one of info, convert, cut, record"),
        (("recording", "cut", "x", "--out", "y", "--form", "1"), "hint: did you mean `--from`?"),
        (("solve", "x.json", "--limit-nods=3"), "hint: did you mean `--limit-nodes`?"),
    ],
)
def test_a_word_that_is_nearly_right_is_answered_with_the_one_that_was_meant(capsys, arguments, hint):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("replay", "demo", "--virtual", "--with", "gpu"), "did you mean `--without`?"),
        (("replay", "demo", "--virt"), "did you mean `--virtual`?"),
        (("replay", "demo", "--no-comp"), "did you mean `--no-compare`?"),
        (("explain", "out/demo.virtual", "--fr", "3"), "did you mean `--frame`?"),
        (("recording", "info", "demo", "--js"), "did you mean `--json`?"),
    ],
)
def test_an_option_that_is_cut_short_is_refused(capsys, arguments, hint):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert hint in capsys.readouterr().err


def test_no_parser_takes_an_option_that_is_cut_short():
    parsers = [parser(None)]
    for one in parsers:
        parsers += [p for a in one._actions if isinstance(a, argparse._SubParsersAction) for p in a.choices.values()]
    assert len(parsers) > len(cli.COMMANDS)
    assert [one.prog for one in parsers if one.allow_abbrev] == []


def test_a_word_that_is_like_none_has_no_hint(capsys):
    for arguments in (("solve", "x.json", "--colour"), ("solve", "x.json", "y.json")):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert capsys.readouterr().err.splitlines()[-1].startswith("leo-runtime: error: unrecognized arguments: ")


def test_every_command_has_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert {"solve", "check", "schema"} <= set(commands)
    for name in commands:
        with pytest.raises(SystemExit) as stopped:
            cli.main([name, "--help"])
        assert stopped.value.code == 0
        assert f"Example: leo-runtime {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_request_has_a_field_for_every_argument(name):
    command = importlib.import_module(f"leo_runtime.command.{name}")
    parser = argparse.ArgumentParser(add_help=False)
    command.add(parser)
    inner = [one.choices.values() for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    parsers = [parser, *(each for group in inner for each in group)]
    given = {one.dest for each in parsers for one in each._actions} - {"help"}
    assert {field.name for field in dataclasses.fields(command.Request)} == given | parser._defaults.keys()
    assert command.Request.__dataclass_params__.frozen


def test_every_file_of_a_command_is_a_command():
    files = {path.stem for path in Path(cli.__file__).parent.joinpath("command").glob("*.py")}
    assert files == {
        *cli.COMMANDS,
        "__init__",
        "given",
        "parser",
        "resume",
        "run_files",
        "shared",
        "study_shown",
        "what_if",
    }


def test_help_imports_nothing_that_takes_long():
    code = (
        "import sys; from leo_runtime.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "own = {m for m in sys.modules if m.startswith('leo_')}\n"
        "print(sorted(own), [m for m in ('numpy', 'pydantic', 'json.tool') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ground = {f"leo_runtime.{name}" for name in ("clock", "errors", "progress", "terminal")}
    commands = {f"leo_runtime.command.{name}" for name in ("parser", "shared")}
    expected = ground | commands | {"leo_runtime", "leo_runtime.cli", "leo_runtime.command"}
    assert done.stdout.splitlines()[-1] == f"{sorted(expected)} []"


def test_a_reader_that_has_enough_is_no_error():
    code = "import sys; from leo_runtime.cli import main; sys.exit(main(['schema', 'problem']))"
    read, write_end = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write_end, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (cli.PIPE_CLOSED, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "arguments", [("profiles",), ("schema", "problem"), ("backends", "--json"), ("solve", "frame.json")]
)
def test_an_output_without_room_is_no_traceback(frame, arguments):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "leo_runtime", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 2
    assert "standard output cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_talk_that_cannot_be_written_changes_nothing(frame):
    with Path("/dev/full").open("w") as full:
        code = (
            "import sys; from leo_runtime.cli import main; from leo_runtime.progress import ProgressBar\n"
            "with ProgressBar('solving') as bar: bar('all', 1, 1)\n"
            "sys.exit(main(['solve', 'frame.json', '--active-mw', '1']))"
        )
        ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, text=True)
    assert (ended.returncode, json.loads(ended.stdout)["status"]) == (0, "optimal")


@pytest.mark.parametrize(("closed", "status"), [(">&-", 2), ("2>&-", 0)])
def test_closed_streams_are_no_traceback_and_talk_stays_out_of_data(frame, closed, status):
    line = f"{sys.executable} -m leo_runtime solve frame.json --active-mw 1 {closed}"
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr
    if status:
        assert ended.stderr == "standard output is closed\nhint: send it to a file, or to /dev/null\n"
    else:
        assert json.loads(ended.stdout)["status"] == "optimal"


def test_what_an_output_has_no_character_for_is_written_as_an_escape(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    put("\udc80 \u00e4\n")
    assert written.getvalue() == b"\\udc80 \\u00e4\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_document_stays_one_in_every_encoding(frame, encoding):
    name = "w\u00e4rme \u03b8 \U0001f525"
    write(frame / "frame.json", {**PROBLEM, "name": name})
    done = subprocess.run(
        [sys.executable, "-m", "leo_runtime", "solve", "frame.json"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode(encoding))["problem"] == name


@pytest.mark.parametrize("name", ["frame.json", "./frame.json", "same.json", "hard.json"])
def test_an_answer_does_not_take_the_place_of_its_question(frame, capsys, name):
    before = Path("frame.json").read_text()
    Path("same.json").symlink_to("frame.json")
    Path("hard.json").hardlink_to("frame.json")
    said = f"{Path(name)}: is what is read, and would be lost\nhint: write to another file\n"
    assert run(capsys, "solve", "frame.json", "--out", name) == (2, "", said)
    assert Path("frame.json").read_text() == before


def test_an_interrupt_is_quiet(frame, capsys, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("leo_runtime.solver.solve", interrupted)
    assert run(capsys, "solve", "frame.json") == (cli.INTERRUPTED, "", "interrupted\n")


def test_an_interrupt_while_a_class_is_made_is_quiet(frame, capsys, monkeypatch):
    """Modules are loaded when they are needed, and Python wraps what comes as a class names its parts."""

    class Named:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    def interrupted(*_: object, **__: object) -> None:
        type("Made", (), {"part": Named()})

    monkeypatch.setattr("leo_runtime.solver.solve", interrupted)
    assert run(capsys, "solve", "frame.json") == (cli.INTERRUPTED, "", "interrupted\n")


def test_solving_needs_no_numpy(frame):
    code = (
        "import sys; from leo_runtime.cli import main; main(['solve', 'frame.json', '--solver', 'exhaustive']);"
        "sys.exit(', '.join(m for m in ('numpy', 'psutil', 'multiprocessing') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_backends_say_what_is_here_and_how_to_get_the_rest(capsys, monkeypatch):
    found = (
        BackendStatus("cpu", "leo-runtime", available=True),
        BackendStatus("npu", "kit", available=True, holds=True),
        BackendStatus("opencl", "leo-runtime", False, "backend `opencl` needs the extra `opencl`", "pip install it"),
    )
    monkeypatch.setattr("leo_runtime.backend.registry.available", lambda: found)
    status, out, err = run(capsys, "backends")
    assert status == 0
    assert out.splitlines() == [
        "backend  package      here  holds     missing",
        "-------  -----------  ----  --------  -----------------------------------------",
        "cpu      leo-runtime  yes   modelled",
        "npu      kit          yes   yes",
        "opencl   leo-runtime  no              backend `opencl` needs the extra `opencl`",
    ]
    assert err == "hint: opencl: pip install it\n"
    status, out, _ = run(capsys, "backends", "--json")
    assert [entry["available"] for entry in json.loads(out)] == [True, True, False]
    assert [entry["holds"] for entry in json.loads(out)] == [False, True, False]


def test_profiles_are_listed_and_shown(capsys):
    status, out, _ = run(capsys, "profiles", "--json")
    assert status == 0
    assert {"kind": "profile", "name": "snapdragon-800"} in json.loads(out)
    status, out, _ = run(capsys, "profiles", "show", "snapdragon-800")
    assert status == 0
    assert "MobiSys 2017: GMM model only, 16.2x" in out
    status, out, _ = run(capsys, "profiles", "show", "snapdragon-800", "--json")
    assert json.loads(out)["format"] == "leo-profile/1"


def test_what_a_run_takes_that_goes_on_is_shown_where_it_was_measured(capsys, tmp_path):
    measured = {"runs": 9, "median_us": 900, "p95_us": 950}
    entry = {"processor": "cpu", "source": "measured", "fixed_us": 900}
    costs = [
        {**entry, "operator": "log_mel", "measurement": {**measured, "step_us": 123, "step_entries": 8000}},
        {**entry, "operator": "mfcc", "measurement": measured},
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"format": "leo-profile/1", "name": "p", "hardware": "h", "costs": costs}))
    status, out, _ = run(capsys, "profiles", "show", str(path), "--wide")
    assert status == 0
    assert "step us" in out
    (line,) = [line for line in out.splitlines() if "log_mel" in line]
    assert "123 by 8000" in line
    status, out, _ = run(capsys, "profiles", "show", "snapdragon-800")
    assert "step us" not in out


@pytest.fixture
def two_profiles(tmp_path):
    """The files of two profiles of one machine, the second with another figure and one entry more."""
    profile = {
        "format": "leo-profile/1",
        "name": "a",
        "hardware": "h",
        "costs": [{"processor": "cpu", "operator": "gmm", "ps_per_mac": 1000, "source": "modelled"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(profile))
    profile["costs"][0]["ps_per_mac"] = 3000
    profile["costs"].append({"processor": "dsp", "source": "modelled"})
    (tmp_path / "b.json").write_text(json.dumps(profile))
    return str(tmp_path / "a.json"), str(tmp_path / "b.json")


def test_profiles_are_compared_and_merged(capsys, tmp_path, two_profiles):
    a, b = two_profiles
    status, out, _ = run(capsys, "profiles", "diff", a, b)
    assert status == 0
    assert "1000 us  3000 us  3.00x" in out
    assert "none" in out
    assert run(capsys, "profiles", "diff", a, a)[1] == "no entry differs\n"
    ratios = [row["ratio"] for row in json.loads(run(capsys, "profiles", "diff", a, b, "--json")[1])]
    assert ratios == [3.0, None]
    assert run(capsys, "profiles", "merge", a, b, "--out", str(tmp_path / "new" / "c.json"))[0] == 0
    assert len(json.loads((tmp_path / "new" / "c.json").read_text())["costs"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["profiles", "list", "--out", "x"], "`profiles list` prints and writes no file\nhint: leave out `--out`"),
        (["profiles", "show", "watch", "--out", "x"], "`profiles show` prints and writes no file\n"),
        (["profiles", "plot", "watch", "--out", "x.svg", "--json"], "`profiles plot` prints nothing, so not as JSON\n"),
        (["calibrate", "--workload", "demo", "--workload", "demo"], "both have a graph `wake_word`\n"),
        (["replay", "--workload", "faces", "--virtual"], "recording `demo` has no stream `eye`\n"),
        (["tune", "--bench", "--workload", "w.json"], "so no workload is read\n"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(frame, capsys, arguments, says):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert says in err


def test_what_tuning_found_is_a_table_or_json(capsys, monkeypatch, tmp_path):
    def tuned(*_: object, out: Path, progress: Callable[[str, int, int], None], **__: object) -> Path:
        progress("dense 16x64", 3000, 2000)
        return out

    monkeypatch.setattr("leo_runtime.measure.tune.tune", tuned)
    out = str(tmp_path / "tuned.json")
    status, said, err = run(capsys, "tune", "--out", out)
    assert (status, said.splitlines()[-1]) == (0, "dense 16x64           3.0       2.0           1.50")
    assert err.endswith(f"written to {out}\n")
    said = run(capsys, "tune", "--out", out, "--json")[1]
    assert json.loads(said) == [{"kernel and shape": "dense 16x64", "rule_ns": 3000, "tuned_ns": 2000}]


def test_a_profile_is_plotted(capsys, tmp_path, two_profiles):
    pytest.importorskip("matplotlib", reason="plots need the extra `report`")
    picture = tmp_path / "a.svg"
    assert run(capsys, "profiles", "plot", two_profiles[0], "--out", str(picture))[0] == 0
    assert "</svg>" in picture.read_text()
    status, _, err = run(capsys, "profiles", "plot", two_profiles[0], "--out", str(tmp_path / "a.docx"))
    assert status == 2
    assert "hint: name a .png, .svg or .pdf" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["profiles", "show"],
        ["profiles", "show", "toaster"],
        ["profiles", "diff", "watch"],
    ],
)
def test_an_unknown_profile_is_bad_input(capsys, arguments):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    hint = err.splitlines()[-1]
    assert hint.startswith("hint: one of ")
    assert "snapdragon-800" in hint


def test_an_answer_for_a_window_is_judged_by_its_own_rules(capsys, tmp_path):
    windows = Path(__file__).parent / "problems" / "window"
    question, answer = windows / "mixed-004-plain-206.json", windows / "mixed-004-plain-206.placement.json"
    status, out, err = run(capsys, "check", str(question), str(answer))
    assert (status, err) == (0, "")
    assert json.loads(out) == {"tardiness": 0, "energy": 10665297, "makespan": 15419, "accuracy_loss": 0}
    broken = json.loads(answer.read_text())
    broken["spans"].pop()
    write(tmp_path / "broken.json", broken)
    status, out, _ = run(capsys, "check", str(question), str(tmp_path / "broken.json"))
    assert status == 1
    assert out.startswith("rule 2: model0_0 uses gpu from 13043 to 15419, outside all its spans")
