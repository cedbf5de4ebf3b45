"""The documents of a window: what is refused with which place, what a default is, and what a `/1` means as one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.questions import answer_from_file, question_from_file
from leo_runtime.documents.window import (
    WindowPlacement,
    WindowProblem,
    as_window,
)
from leo_runtime.errors import DocumentError
from leo_runtime.testing import problems

EXAMPLES = Path(__file__).parent / "problems" / "window"
WINDOW: dict[str, Any] = {
    "format": "leo-problem/2",
    "name": "tiny",
    "horizon_us": 100,
    "releases_us": [0, 40],
    "resources": [
        {"name": "dsp", "awake_mw": 2, "linger_us": None},
        {"name": "cpu", "awake_mw": 5, "linger_us": 9, "linger_mw": 3, "awake_until_us": 4},
        {"name": "gpu", "awake": False, "wake_latency_us": 3},
    ],
    "links": [{"source": "dsp", "target": "cpu"}],
    "stages": [
        {"name": "gate", "modes": [{"resource": "dsp", "duration_us": 3, "energy_nj": 4}]},
        {
            "name": "model",
            "inputs": ["gate"],
            "gates": ["gate"],
            "chance_ppm": 250000,
            "modes": [{"resource": "cpu", "duration_us": 3, "energy_nj": 4}],
        },
        {
            "name": "head",
            "inputs": ["model"],
            "gates": ["model"],
            "chance_ppm": 250000,
            "modes": [{"resource": "cpu", "duration_us": 3, "energy_nj": 4}],
        },
    ],
}
ANSWER: dict[str, Any] = {
    "format": "leo-placement/2",
    "problem": "tiny",
    "solver": "hand",
    "status": "feasible",
    "transfers": [
        {"stage": "gate", "source": "dsp", "target": "cpu", "start_us": 3, "arrive_us": 3, "after": ["gate"]}
    ],
    "spans": [{"resource": "dsp", "from_us": 0, "until_us": 3, "after": []}],
}


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The document with the value at a dotted path replaced, or added."""
    data = json.loads(json.dumps(document))
    place: Any = data
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    place[last] = value
    return data  # type: ignore[no-any-return]  # json.loads is untyped


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("format", "leo-problem/1", "expected 'leo-problem/2', got \"leo-problem/1\", at $.format"),
        ("horizon_us", 0, "expected at least 1, got 0, at $.horizon_us"),
        ("horizon_us", 40, "a release is before horizon_us (40), got 40, at $.releases_us[1]"),
        ("horizon_us", 40.0, "expected an integer, got 40.0, at $.horizon_us"),
        ("horizon_us", None, "expected an integer, got null, at $.horizon_us"),
        ("releases_us", [], "expected at least one, got [], at $.releases_us"),
        ("releases_us", [1, 40], "the first release is at 0, got 1, at $.releases_us[0]"),
        ("releases_us", [0, 40, 40], "releases increase, got 40 after 40, at $.releases_us[2]"),
        ("releases_us", [0, -1], "expected at least 0, got -1, at $.releases_us[1]"),
        (
            "resources.0.awake",
            False,
            "what never sleeps (linger_us is null) is awake, got false, at $.resources[0].awake",
        ),
        (
            "resources.0.awake_until_us",
            1,
            "expected 0, since dsp never sleeps, got 1, at $.resources[0].awake_until_us",
        ),
        ("resources.2.awake_until_us", 1, "expected 0, since gpu sleeps at the start, got 1, at $.resources[2]."),
        ("resources.1.linger_us", -1, "expected at least 0, got -1, at $.resources[1].linger_us"),
        ("resources.1.linger_mw", 6, "expected at most awake_mw (5), got 6, at $.resources[1].linger_mw"),
        ("resources.2.linger_mw", 1, "expected at most awake_mw (0), got 1, at $.resources[2].linger_mw"),
        ("resources.1.linger_mw", None, "expected an integer, got null, at $.resources[1].linger_mw"),
        ("resources.1.linger_mw", True, "expected an integer, got true, at $.resources[1].linger_mw"),
        ("resources.1.tail_us", 1, 'the key "tail_us" is unknown'),
        (
            "stages.0.chance_ppm",
            999999,
            "expected 1000000, since gate has no gates, got 999999, at $.stages[0].chance_ppm",
        ),
        ("stages.1.chance_ppm", 1000001, "expected at most 1000000, got 1000001, at $.stages[1].chance_ppm"),
        (
            "stages.2.chance_ppm",
            250001,
            "expected at most 250000, the sum of its gates' chances, got 250001, at $.stages[2]",
        ),
        ("stages.2.gates", ["gate"], 'a gate is an input of the stage, "gate" is none, at $.stages[2].gates[0]'),
        ("stages.2.gates", ["head"], 'a gate is an input of the stage, "head" is none, at $.stages[2].gates[0]'),
        ("stages.2.gates", ["model", "model"], 'the gate "model" is given twice, at $.stages[2].gates[1]'),
        ("stages.2.gates", [""], "at $.stages[2].gates[0]"),
        ("stages.0.inputs", ["head"], "the stages wait for each other: gate <- head <- model <- gate"),
        ("links.0.target", "npu", 'no resource is called "npu", at $.links[0].target'),
    ],
)
def test_what_is_wrong_with_a_question_is_named_with_its_place(path: str, value: object, says: str) -> None:
    with pytest.raises(DocumentError) as error:
        WindowProblem.from_dict(changed(WINDOW, path, value), "w.json")
    assert str(error.value).startswith("w.json: ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("format", "leo-placement/1", "expected 'leo-placement/2', got \"leo-placement/1\", at $.format"),
        (
            "spans.0",
            {"resource": "dsp", "from_us": 0, "until_us": 3},
            'the key "after" is missing, at $.spans[0].after',
        ),
        ("spans.0.from_us", "0", 'expected an integer, got "0", at $.spans[0].from_us'),
        ("transfers.0.after", [1], "at $.transfers[0].after[0]"),
        ("bounds", [-1], "expected at least 0, got -1, at $.bounds[0]"),
        ("solve_us", -1, "expected at least 0, got -1, at $.solve_us"),
    ],
)
def test_what_is_wrong_with_an_answer_is_named_with_its_place(path: str, value: object, says: str) -> None:
    with pytest.raises(DocumentError) as error:
        WindowPlacement.from_dict(changed(ANSWER, path, value))
    assert says in str(error.value)


def test_what_is_left_out_has_its_default() -> None:
    window = WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "w",
            "horizon_us": 1,
            "resources": [{"name": "cpu", "awake_mw": 7}],
            "stages": [{"name": "s", "modes": [{"resource": "cpu", "duration_us": 1, "energy_nj": 0}]}],
        }
    )
    cpu, stage = window.resources[0], window.stages[0]
    assert window.releases_us == (0,)
    assert (cpu.linger_us, cpu.linger_mw, cpu.lingering_mw, cpu.awake_until_us) == (0, None, 7, 0)
    assert (stage.gates, stage.chance_ppm) == ((), 1_000_000)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_examples_are_read_by_their_format_and_written_again(path: Path, tmp_path: Path) -> None:
    read = answer_from_file if path.stem.endswith(".placement") else question_from_file
    document = read(path)
    assert isinstance(document, WindowProblem | WindowPlacement)
    document.to_file(tmp_path / "again.json")
    assert read(tmp_path / "again.json") == document


def test_a_file_of_the_first_format_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('format = "leo-problem/1"\nname = "p"\nresources = []\nstages = []\n')
    assert isinstance(question_from_file(path), Problem)
    (tmp_path / "a.json").write_text(
        '{"format": "leo-placement/1", "problem": "p", "solver": "x", "status": "feasible"}'
    )
    assert isinstance(answer_from_file(tmp_path / "a.json"), Placement)


@pytest.mark.parametrize("text", ["", "[]", "{", "\ufeff{}", "[" * 100_000, '{"format": ["leo-problem/2"]}'])
def test_a_file_that_is_no_document_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(text)
    for read in (question_from_file, answer_from_file):
        with pytest.raises(DocumentError):
            read(tmp_path / "f.json")
        with pytest.raises(DocumentError, match="cannot be read"):
            read(tmp_path / "none.json")


@pytest.mark.parametrize("named", ["leo-problem/4", "leo-placement/0", "", "x" * 1000])
def test_a_file_of_an_unknown_format_is_told_of_all(named: str, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps({"format": named}))
    for read, kind in ((question_from_file, "leo-problem"), (answer_from_file, "leo-placement")):
        says = rf"expected '{kind}/1', '{kind}/2' or '{kind}/3', got \"{named[:80]}\", at"
        with pytest.raises(DocumentError, match=says) as no:
            read(tmp_path / "f.json")
        assert no.value.path == "$.format"


@settings(max_examples=300, deadline=None)
@given(data=st.data(), model=st.sampled_from([(WindowProblem, WINDOW), (WindowPlacement, ANSWER)]))
def test_a_changed_byte_loads_equal_to_itself_or_is_refused(data: st.DataObject, model: Any) -> None:
    kind, document = model
    raw = bytearray(json.dumps(document).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = kind.from_json(bytes(raw))
    except DocumentError as error:
        assert "document: " in str(error)
        assert ", at $" in str(error)
    else:
        assert kind.from_json(read.to_json()) == read


@settings(max_examples=50, deadline=None)
@given(problem=problems(5))
def test_a_problem_is_a_window_in_which_nothing_lingers(problem: Problem) -> None:
    window = as_window(problem)
    assert WindowProblem.from_json(window.to_json()) == window
    for name in ("name", "links", "deadlines", "accuracy_budgets", "limits", "objective"):
        assert getattr(window, name) == getattr(problem, name)
    assert [stage.name for stage in window.stages] == [stage.name for stage in problem.stages]
    assert {resource.linger_us for resource in window.resources} <= {0}
