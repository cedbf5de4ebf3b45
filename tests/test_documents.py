"""What all documents share: strictness, and messages that name the place."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.documents.binding import bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.problem import Deadline, Placement, Problem, Resource
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import DocumentError, GraphError, InputError
from leo_runtime.recordings.recording import RecordingManifest
from leo_runtime.schema import find_cycle, require_writable

PROBLEM: dict[str, Any] = {
    "format": "leo-problem/1",
    "name": "tiny",
    "resources": [{"name": "cpu"}, {"name": "dsp", "lanes": 2, "ready_us": [0, 5]}],
    "links": [{"source": "cpu", "target": "dsp"}],
    "stages": [
        {"name": "a", "modes": [{"resource": "cpu", "duration_us": 3, "energy_nj": 4}]},
        {"name": "b", "inputs": ["a"], "modes": [{"resource": "dsp", "duration_us": 3, "energy_nj": 4}]},
    ],
    "deadlines": [{"stage": "b", "deadline_us": 9}],
    "accuracy_budgets": [{"stages": ["a", "b"], "loss_ppm_max": 1}],
    "limits": {"energy": 100},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The problem with the value at a dotted path replaced."""
    data = json.loads(json.dumps(PROBLEM))
    place: Any = data
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    place[last] = value
    return data  # type: ignore[no-any-return]  # json.loads is untyped


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            "stages.0.modes.0.duration_us",
            "12ms",
            'expected an integer, got "12ms", at $.stages[0].modes[0].duration_us',
        ),
        ("stages.0.modes.0.duration_us", True, "expected an integer, got true, at $.stages[0].modes[0].duration_us"),
        ("stages.0.modes.0.duration_us", 1.0, "expected an integer, got 1.0"),
        ("stages.0.modes.0.duration_us", 0, "expected at least 1, got 0"),
        ("stages.0.modes.0.energy_nj", 10**15 + 1, "expected at most 1000000000000000, got 1000000000000001"),
        ("stages.0.modes.0.energy_nj", -1, "expected at least 0, got -1"),
        ("stages.0.modes", [], "at least one"),
        ("stages.0.modes.0.watts", 1, 'the key "watts" is unknown'),
        ("stages.0.modes.0.resource", "npu", 'no resource is called "npu", at $.stages[0].modes[0].resource'),
        ("stages.0.inputs", ["b"], "the stages wait for each other: a <- b <- a, at $.stages[0].inputs"),
        ("stages.0.inputs", ["a"], "the stages wait for each other: a <- a"),
        ("stages.1.inputs", ["a", "a"], 'the input "a" is given twice, at $.stages[1].inputs[1]'),
        ("stages.1.inputs", ["c"], 'no stage is called "c", at $.stages[1].inputs[0]'),
        ("stages.1.name", "a", 'the name "a" is given twice, at $.stages[1].name'),
        ("stages.1.name", "", "at $.stages[1].name"),
        ("resources.1.ready_us", [0], "expected a number a lane (2), got 1, at $.resources[1].ready_us"),
        ("resources.1.lanes", 0, "expected at least 1, got 0, at $.resources[1].lanes"),
        ("resources.1.name", "cpu", 'the name "cpu" is given twice'),
        ("links.0.target", "cpu", 'a link needs two resources, got "cpu" twice'),
        ("links.0.bytes_per_s", 0, "expected at least 1, got 0"),
        ("deadlines.0.weight", 0, "expected at least 1, got 0"),
        ("deadlines.0.stage", "z", 'no stage is called "z", at $.deadlines[0].stage'),
        ("accuracy_budgets.0.stages", ["a", "a"], 'the stage "a" is given twice'),
        ("accuracy_budgets.0.stages", ["a\n\x1b[2J"], 'no stage is called "a\\n\\x1b[2J", at $.acc'),
        ("limits.power", 3, 'got "power", at $.limits.power'),
        ("limits.energy", None, "expected an integer, got null, at $.limits.energy"),
        ("objective", ["energy", "energy"], 'the criterion "energy" is given twice'),
        ("objective", [], "at least one"),
        ("format", "leo-problem/2", "expected 'leo-problem/1', got \"leo-problem/2\", at $.format"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path: str, value: object, says: str) -> None:
    with pytest.raises(DocumentError) as error:
        Problem.from_dict(changed(path, value), "p.json")
    assert str(error.value).startswith("p.json: ")
    assert says in str(error.value)


def test_a_missing_key_is_named() -> None:
    data = dict(PROBLEM)
    del data["name"]
    with pytest.raises(DocumentError, match=r'p.json: the key "name" is missing, at \$.name'):
        Problem.from_dict(data, "p.json")


def test_a_key_given_twice_is_refused() -> None:
    text = json.dumps(PROBLEM).replace('"name": "tiny"', '"name": "tiny", "name": "other"')
    with pytest.raises(DocumentError, match='the key "name" is given twice'):
        Problem.from_json(text)


def test_a_second_link_between_two_places_is_told_of_the_way_out() -> None:
    twice = [{"source": "cpu", "target": "dsp"}, {"source": "cpu", "target": "dsp", "latency_us": 4}]
    with pytest.raises(DocumentError, match=r'"cpu" -> "dsp" is given twice, at \$\.links\[1\]') as no:
        Problem.from_dict({**PROBLEM, "links": twice})
    assert "such as `dsp-2`" in no.value.hint
    processors = [{"name": "cpu", "backend": "cpu"}, {"name": "dsp", "backend": "dsp"}]
    machine = {"format": "leo-hardware/1", "name": "m", "processors": processors, "links": twice}
    with pytest.raises(DocumentError, match=r'"cpu -> dsp" is given twice, at \$\.links\[1\]') as no:
        Hardware.from_dict(machine)
    assert "such as `dsp-2`" in no.value.hint


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        Problem.from_file(tmp_path / "none.json")
    for name in ("bytes.json", "bytes.toml"):
        (tmp_path / name).write_bytes(json.dumps(PROBLEM).encode("utf-16"))
        with pytest.raises(DocumentError, match="not UTF-8") as error:
            Problem.from_file(tmp_path / name)
        assert error.value.hint == "save it as UTF-8"


@pytest.mark.parametrize("name", ["frame.json", "frame.toml"])
def test_a_byte_order_mark_is_no_part_of_a_document(tmp_path: Path, name: str) -> None:
    text = (
        json.dumps(PROBLEM)
        if name == "frame.json"
        else 'format = "leo-problem/1"\nname = "tiny"\nresources = []\nstages = []\n'
    )
    read = Problem.from_json if name == "frame.json" else Problem.from_toml
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert Problem.from_file(tmp_path / name) == read(text) == read("\ufeff" + text)
    assert name != "frame.json" or Problem.from_json(text.encode("utf-8-sig")) == read(text)
    with pytest.raises(DocumentError, match=r"not (JSON|TOML)"):
        read("\ufeff\ufeff" + text)


def test_half_a_character_is_refused_without_showing_the_whole_text() -> None:
    # Python's own reader takes half of a surrogate pair; the text that holds it is no value to show.
    text = json.dumps(PROBLEM).replace('"tiny"', '"\\ud800"')
    with pytest.raises(DocumentError, match=r"p.json: not JSON \(.* at line 1 column \d+\), at \$$") as error:
        Problem.from_json(text, "p.json")
    assert error.value.value == ""


def test_deep_nesting_is_refused_and_does_not_overflow() -> None:
    with pytest.raises(DocumentError):
        Problem.from_json("[" * 200_000)
    with pytest.raises(DocumentError):
        Problem.from_toml("a=" + "[" * 20_000)
    with pytest.raises(DocumentError):
        Problem.from_toml(".".join("a" * 3_000) + "=1")


def test_toml_and_json_give_equal_values(tmp_path: Path) -> None:
    toml = """
        format = "leo-problem/1"
        name = "tiny"
        resources = [{ name = "cpu" }]
        [[stages]]
        name = "a"
        modes = [{ resource = "cpu", duration_us = 3, energy_nj = 4 }]
    """
    problem = Problem.from_toml(toml)
    problem.to_file(tmp_path / "p.json")
    assert Problem.from_file(tmp_path / "p.json") == problem
    (tmp_path / "p.toml").write_text(toml)
    assert Problem.from_file(tmp_path / "p.toml") == problem


FULL = """
import resource, signal, sys
from leo_runtime.documents.problem import Problem
from leo_runtime.errors import DocumentError
problem = Problem.from_file(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
try:
    problem.to_file(sys.argv[1])
except DocumentError as error:
    print(error)
"""


def test_a_document_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path = tmp_path / "p.json"
    Problem.from_dict(PROBLEM).to_file(path)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be written (File too large)" in done.stdout
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_document_keeps_its_link_and_its_permissions(tmp_path: Path) -> None:
    path, link = tmp_path / "p.json", tmp_path / "link.json"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    Problem.from_dict(PROBLEM).to_file(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert Problem.from_file(path) == Problem.from_dict(PROBLEM)


def test_json_is_not_written_into_a_toml_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"p\.toml: documents are written as JSON: name it \.json"):
        Problem.from_dict(PROBLEM).to_file(tmp_path / "p.toml")
    with pytest.raises(InputError, match=r"p\.toml: documents are written as JSON: name it \.json"):
        require_writable(tmp_path / "p.toml")
    assert not (tmp_path / "p.toml").exists()


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(raw: bytes) -> None:
    with pytest.raises(DocumentError):
        Problem.from_json(raw)
    with pytest.raises(DocumentError):
        Placement.from_json(raw)


@given(st.integers(0, len(json.dumps(PROBLEM)) - 1), st.integers(0, 255))
def test_a_changed_byte_loads_equal_to_itself_or_is_refused(place: int, byte: int) -> None:
    raw = bytearray(json.dumps(PROBLEM).encode())
    raw[place] = byte
    try:
        problem = Problem.from_json(bytes(raw))
    except DocumentError as error:
        assert "document: " in str(error)
    else:
        assert Problem.from_json(problem.to_json()) == problem


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=4), max_size=9))
def test_a_found_cycle_is_one(edges: dict[int, list[int]]) -> None:
    graph = {str(node): [str(step) for step in steps if step in edges] for node, steps in edges.items()}
    cycle = find_cycle(graph)
    if cycle:
        assert all(after in graph[before] for before, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    else:
        done: set[str] = set()
        while len(done) < len(graph):
            ready = {node for node, steps in graph.items() if node not in done and done.issuperset(steps)}
            assert ready
            done |= ready


def test_a_part_built_in_python_is_refused_as_one_that_is_read() -> None:
    with pytest.raises(DocumentError, match=r"Resource: expected at least 1, got 0, at \$\.lanes"):
        Resource(name="cpu", lanes=0)
    with pytest.raises(DocumentError, match=r'Problem: no stage is called "z", at \$\.deadlines\[0\]\.stage'):
        Problem(
            format="leo-problem/1",
            name="p",
            resources=(),
            stages=(),
            deadlines=(Deadline(stage="z", deadline_us=1),),
        )


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: Problem.from_json(None), "JSON text is a str or bytes, got NoneType"),  # type: ignore[arg-type]
        (lambda: Problem.from_toml(b"x"), "TOML text is a str, got bytes"),  # type: ignore[arg-type]
        (lambda: Problem.from_dict([]), "got \\[\\]"),  # type: ignore[arg-type]
        (lambda: Problem.from_file(5), "a file is named by a str or a Path, got int"),  # type: ignore[arg-type]
        (lambda: Problem.from_file("a\0b"), "cannot be read \\(embedded null byte\\)"),
    ],
)
def test_what_is_no_text_and_no_file_is_refused(read: Callable[[], Problem], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read()


@pytest.mark.parametrize(
    ("change", "place", "hint"),
    [
        ({"licens": "mine"}, "$.licens", 'did you mean "licence"?'),
        ({"streams": [{"name": "a", "file": "a.csv", "rate": 50}]}, "$.streams[0].rate", 'did you mean "rate_hz"?'),
        (
            {"labels": [{"start_us": 0, "end_us": 1, "label": "a", "q": 1}]},
            "$.labels[0].q",
            "known are stream, start_us, ",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_what_may_be_meant(change, place, hint):
    manifest = {"format": "leo-recording/1", "name": "r", "streams": [{"name": "a", "file": "a.csv", "rate_hz": 50}]}
    with pytest.raises(DocumentError, match="is unknown") as error:
        RecordingManifest.from_dict(manifest | change)
    assert error.value.path == place
    assert error.value.hint.startswith(hint)


def test_an_unknown_parameter_of_an_operator_is_refused_with_what_may_be_meant():
    graph = GraphBuilder("ears", period_us=1_000_000, deadline_us=400_000)
    graph.stage("mel", "log_mel", graph.stage("sound", "window", stream="mic", samples=16_000), band=80)
    mic = Stream(name="mic", kind="audio", rate_hz=16_000)
    workload = Workload(format="leo-workload/1", name="w", streams=(mic,), graphs=(graph.build(),))
    with pytest.raises(GraphError, match='operator `log_mel`: the key "band" is unknown') as error:
        bind(workload.graphs[0], workload)
    assert error.value.hint == 'did you mean "bands"?'


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_no_document_holds_a_number_that_json_has_not(number: float) -> None:
    told = rf"expected a finite number, got {number}, at \$\."
    with pytest.raises(DocumentError, match=told + "options"):
        Processor(name="p", backend="none", options={"at": [1.0, {"most": number}]})
    graph = GraphBuilder("g", period_us=1, deadline_us=1)
    with pytest.raises(GraphError, match=f"expected a finite number, got {number}"):
        graph.stage("loud", "energy_gate", "sound", threshold_dbfs=number)
    with pytest.raises(GraphError, match=f"expected a finite number, got {number}"):
        graph.decide("loud", ("a", "b"), threshold=number)
    text = 'format = "leo-hardware/1"\nname = "m"\n[[processors]]\nname = "p"\nbackend = "none"\noptions = {x = %s}'
    with pytest.raises(DocumentError, match=told + r"processors\[0\]\.options\.x") as error:
        Hardware.from_toml(text % number)
    assert error.value.hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_only_python_takes_for_json_is_refused(number: str) -> None:
    with pytest.raises(DocumentError, match=rf"tiny.json: not JSON \({number} is no number there\)"):
        Problem.from_json(
            json.dumps(changed("limits.energy", 1)).replace('"energy": 1}', f'"energy": {number}}}'), "tiny.json"
        )
    with pytest.raises(DocumentError, match=r"expected an integer, got .*, at \$\.limits\.energy"):
        Problem.from_dict(changed("limits.energy", float(number)))
