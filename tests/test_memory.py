"""Questions with weights: what is refused, what the judge finds, and what stays in memory."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.cli import main
from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.questions import answer_from_file, question_from_file
from leo_runtime.errors import DocumentError, InputError, SolverError
from leo_runtime.judge.files import check_files
from leo_runtime.judge.frame import CheckReport, check
from leo_runtime.judge.memory import check_memory, resident_after
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.testing import random_problem
from leo_runtime.testing.memories import random_memory_problem

PAGE = Path(__file__).parent.parent / "docs" / "memory-problem.md"
(EXAMPLE,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def mode(resource: str, us: int, *weights: str, **more: Any) -> dict[str, Any]:
    return {"resource": resource, "duration_us": us, "energy_nj": us, "weights": [*weights], **more}


QUESTION: dict[str, Any] = {
    "format": "leo-problem/3",
    "name": "q",
    "weights": [{"label": "a", "bytes": 60}, {"label": "b", "bytes": 50}, {"label": "c", "bytes": 30}],
    "loaders": [{"target": "npu", "resource": "flash", "bytes_per_s": 1_000_000, "latency_us": 2, "energy_nj": 7}],
    "resources": [{"name": "npu", "memory_bytes": 100, "resident": ["b"]}, {"name": "flash"}, {"name": "cpu"}],
    "stages": [
        {"name": "first", "modes": [mode("npu", 10, "a", memory_bytes=4), mode("cpu", 500)]},
        {"name": "second", "modes": [mode("npu", 10, "b"), mode("cpu", 900)]},
    ],
    "objective": ["makespan", "energy"],
}
ANSWER: dict[str, Any] = {
    "format": "leo-placement/3",
    "problem": "q",
    "solver": "me",
    "status": "feasible",
    "criteria": {"tardiness": 0, "energy": 27, "makespan": 82, "accuracy_loss": 0},
    "bounds": [],
    "stages": [
        {"stage": "first", "resource": "npu", "lane": 0, "start_us": 72, "end_us": 82},
        {"stage": "second", "resource": "npu", "lane": 0, "start_us": 0, "end_us": 10},
    ],
    "loads": [{"label": "a", "target": "npu", "lane": 0, "start_us": 10, "arrive_us": 72}],
}
"""`second` runs at once, on what is resident; when it has ended there is room for what `first` needs."""


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    copy = json.loads(json.dumps(document))
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    part = copy
    for step in way:
        part = part[step]
    part[last] = value
    return dict(copy)


def judged(answer: dict[str, Any], question: dict[str, Any] = QUESTION) -> CheckReport:
    return check_memory(MemoryProblem.from_dict(question), MemoryPlacement.from_dict(answer))


# The documents.


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("weights.1.label", "a", 'the label "a" is given twice, at $.weights[1].label'),
        ("weights.0.bytes", 0, "expected at least 1, got 0, at $.weights[0].bytes"),
        ("loaders.0.target", "gpu", 'no resource is called "gpu", at $.loaders[0].target'),
        ("loaders.0.resource", "disk", 'no resource is called "disk", at $.loaders[0].resource'),
        ("loaders.0.bytes_per_s", 0, "expected at least 1, got 0, at $.loaders[0].bytes_per_s"),
        ("loaders.0.resource", "cpu", 'weights are not loaded over "cpu": stages run on it, at $.loaders[0].resource'),
        ("links", [{"source": "npu", "target": "flash"}], "a link begins or ends there, at $.loaders[0].resource"),
        ("resources.0.resident", ["x"], 'no weights are called "x", at $.resources[0].resident[0]'),
        ("resources.0.resident", ["b", "b"], 'the label "b" is given twice, at $.resources[0].resident[1]'),
        (
            "resources.0.resident",
            ["b", "a"],
            "expected what fits into memory_bytes (100), got 110 bytes, at $.resources[0].resident",
        ),
        ("stages.0.modes.0.weights", ["z"], 'no weights are called "z", at $.stages[0].modes[0].weights[0]'),
        ("stages.0.modes.0.weights", "a", "$.stages[0].modes[0].weights"),
        ("stages.0.modes.0.wieghts", ["a"], 'the key "wieghts" is unknown (its value is ["a"])'),
        ("format", "leo-problem/1", "expected 'leo-problem/3', got"),
    ],
)
def test_what_is_wrong_with_a_question_is_named_with_its_place(path: str, value: object, says: str) -> None:
    with pytest.raises(DocumentError) as error:
        MemoryProblem.from_dict(changed(QUESTION, path, value))
    assert says in str(error.value)


def test_two_loaders_to_one_target_are_refused() -> None:
    with pytest.raises(DocumentError, match=re.escape('the target "npu" is given twice, at $.loaders[1].target')):
        MemoryProblem.from_dict({**QUESTION, "loaders": QUESTION["loaders"] * 2})


def test_documents_are_written_and_read_again_by_their_format(tmp_path: Path) -> None:
    question, answer = MemoryProblem.from_dict(QUESTION), MemoryPlacement.from_dict(ANSWER)
    question.to_file(tmp_path / "q.json")
    answer.to_file(tmp_path / "a.json")
    assert question_from_file(tmp_path / "q.json") == question
    assert answer_from_file(tmp_path / "a.json") == answer
    report, read = check_files(tmp_path / "q.json", tmp_path / "a.json")
    assert report.ok
    assert read == answer


def test_an_answer_of_another_format_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text(json.dumps(QUESTION))
    frame = random_problem(3, stages=3, features=())
    frame.to_file(tmp_path / "frame.json")
    solve(frame, "heft").to_file(tmp_path / "a1.json")
    MemoryPlacement.from_dict(ANSWER).to_file(tmp_path / "a3.json")
    for question, answer, wanted in (("q", "a1", 3), ("frame", "a3", 1)):
        says = rf"{answer}.json: expected 'leo-placement/{wanted}'.*at \$.format"
        with pytest.raises(DocumentError, match=says):
            check_files(tmp_path / f"{question}.json", tmp_path / f"{answer}.json")


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 40), at=st.integers(0, 10**6), byte=st.integers(0, 255), placed=st.booleans())
def test_a_changed_byte_loads_or_is_refused_with_its_place(seed: int, at: int, byte: int, placed: bool) -> None:
    problem = random_memory_problem(seed, stages=3)
    document = solve(problem) if placed else problem
    raw = bytearray(document.to_json().encode())
    raw[at % len(raw)] = byte
    try:
        read = type(document).from_json(bytes(raw), "changed.json")
    except DocumentError as error:
        assert str(error).startswith("changed.json: ")
        assert error.path.startswith("$")
        return
    assert type(document).from_json(read.to_json()) == read
    # Whatever it is now, nothing that takes it raises what is no error of ours.
    if isinstance(read, MemoryPlacement):
        check_memory(problem, read)
    elif isinstance(read, MemoryProblem):
        with contextlib.suppress(SolverError):
            assert check_memory(read, solve(read, limit_nodes=20)).ok


# The judge.


def test_the_example_of_the_page_waits_for_the_weights() -> None:
    problem = MemoryProblem.from_dict(json.loads(EXAMPLE))
    answer = solve(problem)
    assert check_memory(problem, answer).ok
    assert answer.status == "optimal"
    # `faces` cannot be beside `eyes`, which is loaded again when `find` has ended.
    assert [(load.label, load.start_us, load.arrive_us) for load in answer.loads] == [
        ("faces", 0, 4000),
        ("eyes", 9000, 12000),
    ]
    assert answer.criteria is not None
    assert answer.criteria.energy == 300_000 + 120_000 + 200_000 + 150_000 + 40 * 12_000


def test_an_answer_within_the_rules_is_one() -> None:
    report = judged(ANSWER)
    assert report.ok, report
    assert report.criteria is not None
    assert report.criteria.energy == 27


@pytest.mark.parametrize(
    ("path", "value", "rule", "says"),
    [
        ("loads", [], 3, "first starts at 72, a is not on npu by then"),
        ("loads.0.start_us", 11, 8, "the load of a to npu arrives 61 us after its start, it takes 62"),
        ("loads.0.label", "z", 8, "no weights are called z"),
        ("loads.0.target", "cpu", 8, "a is loaded to cpu, where no loader leads"),
        ("loads.0.lane", 1, 1, "the load of a to npu is on lane 1 of flash, which has 1"),
        ("criteria.energy", 20, 0, "energy is given as 20, the rules make it 27"),
        ("stages.0.start_us", 71, 3, "first starts at 71, a is not on npu by then"),
    ],
)
def test_a_broken_rule_is_named(path: str, value: object, rule: int, says: str) -> None:
    violations = judged(changed(ANSWER, path, value)).violations
    assert (rule, says) in [(violation.rule, violation.text) for violation in violations]


def load(label: str, start: int, lane: int = 0) -> dict[str, Any]:
    lasts = {"a": 60, "b": 50, "c": 30}[label] + 2
    return {"label": label, "target": "npu", "lane": lane, "start_us": start, "arrive_us": start + lasts}


def run(stage: str, start: int) -> dict[str, Any]:
    return {"stage": stage, "resource": "npu", "lane": 0, "start_us": start, "end_us": start + 10}


def test_what_is_held_fits_beside_the_working_memory() -> None:
    early = {**ANSWER, "loads": [load("a", 9)], "stages": [run("first", 71), run("second", 0)], "criteria": None}
    (violation,) = judged(early).violations
    assert violation.rule == 5
    assert violation.text == "4 bytes and 110 of weights (b, a) on npu at 9, which has 100"
    roomy = changed(QUESTION, "resources.0.memory_bytes", 114)
    assert judged(early, roomy).ok
    assert not judged(early, changed(roomy, "resources.0.memory_bytes", 113)).ok


def test_what_serves_nobody_makes_way() -> None:
    """`b` is resident, and nothing runs on it: `a` may be loaded at once."""
    cpu = {"stage": "second", "resource": "cpu", "lane": 0, "start_us": 0, "end_us": 900}
    answer = {**ANSWER, "loads": [load("a", 0)], "stages": [run("first", 62), cpu], "criteria": None}
    assert judged(answer).ok


def test_a_load_serves_at_least_one_run_and_a_label_is_never_held_twice() -> None:
    twice = {**ANSWER, "loads": [load("a", 10), load("c", 82)], "criteria": None}
    assert [(v.rule, v.text) for v in judged(twice).violations] == [(8, "the load of c to npu at 82 serves nothing")]
    question = changed(QUESTION, "stages.1.modes.0.weights", ["a"])
    again = {
        **ANSWER,
        "loads": [load("a", 0), load("a", 60)],
        "stages": [run("first", 62), run("second", 122)],
        "criteria": None,
    }
    says = "the load of a to npu at 60 starts before what it is there for already has ended, at 72"
    assert (8, says) in [(v.rule, v.text) for v in judged(again, question).violations]
    shared = {**again, "loads": [load("a", 0)]}
    assert judged(shared, question).ok
    apart = {**again, "loads": [load("a", 0), load("a", 72)], "stages": [run("first", 62), run("second", 134)]}
    assert judged(apart, question).ok


def test_an_answer_that_says_too_much_claims_it_falsely() -> None:
    nothing = {"criteria": None, "stages": [], "status": "infeasible", "reason": "rule 5"}
    assert [str(claim) for claim in judged({**ANSWER, **nothing}).false_claims] == [
        "the status is infeasible, yet it loads something"
    ]
    assert judged({**ANSWER, **nothing, "loads": []}).ok
    assert not judged({**ANSWER, "status": "optimal", "bounds": [82, 26]}).ok


def test_what_is_no_question_with_weights_is_refused() -> None:
    with pytest.raises(InputError, match="the question is a MemoryProblem, got Problem"):
        check_memory(random_problem(0), MemoryPlacement.from_dict(ANSWER))  # type: ignore[arg-type]
    question, answer = MemoryProblem.from_dict(QUESTION), MemoryPlacement.from_dict(ANSWER)
    for judge in (check, check_window):
        with pytest.raises(InputError, match="got MemoryProblem") as no:
            judge(question, answer)  # type: ignore[arg-type]
        assert "`check_memory`" in no.value.hint
    assert not check_memory(MemoryProblem.from_dict(QUESTION), None).ok  # type: ignore[arg-type]


NAMES = st.sampled_from(["first", "second", "a", "b", "c", "npu", "flash", "cpu", "x"])
NUMBERS = st.integers(-(10**16), 10**16) | st.integers(-3, 150)
RUNS = st.fixed_dictionaries(
    {"stage": NAMES, "resource": NAMES, "lane": NUMBERS, "start_us": NUMBERS, "end_us": NUMBERS}
)
LOADS = st.fixed_dictionaries(
    {"label": NAMES, "target": NAMES, "lane": NUMBERS, "start_us": NUMBERS, "arrive_us": NUMBERS}
)


@settings(max_examples=200, deadline=None)
@given(
    loads=st.lists(LOADS | st.builds(load, st.sampled_from("abc"), st.integers(-3, 150)), max_size=4),
    runs=st.lists(RUNS | st.builds(run, st.sampled_from(["first", "second"]), st.integers(-3, 150)), max_size=3),
)
def test_no_answer_makes_the_judge_fail(loads: list[dict[str, Any]], runs: list[dict[str, Any]]) -> None:
    report = judged({**ANSWER, "criteria": None, "loads": loads, "stages": runs})
    if report.ok:
        assert report.criteria is not None


# What stays.


def stays(question: dict[str, Any], answer: dict[str, Any]) -> tuple[str, ...]:
    problem, placement = MemoryProblem.from_dict(question), MemoryPlacement.from_dict({**answer, "criteria": None})
    return resident_after(problem, placement)["npu"]


def test_what_made_way_is_gone_and_what_fits_stays() -> None:
    assert stays(QUESTION, ANSWER) == ("a",)
    assert stays(changed(QUESTION, "resources.0.memory_bytes", 114), ANSWER) == ("a", "b")
    assert stays(changed(QUESTION, "resources.0.memory_bytes", 113), ANSWER) == ("a",)
    without_cap = changed(QUESTION, "resources.0", {"name": "npu", "resident": ["b", "c"]})
    assert stays(without_cap, ANSWER) == ("a", "b", "c")


def cold(resident: list[str], cap: int, **loader: int) -> dict[str, Any]:
    """`first` has to be loaded, and what is resident serves nobody."""
    question = changed(QUESTION, "resources.0", {"name": "npu", "memory_bytes": cap, "resident": resident})
    question = changed(question, "stages.1.modes", [mode("cpu", 900)])
    return changed(question, "loaders.0", {"target": "npu", "resource": "flash", "bytes_per_s": 1_000_000, **loader})


def test_what_costs_least_to_load_again_for_each_byte_goes_first() -> None:
    alone = {
        **ANSWER,
        "stages": [run("first", 60), {"stage": "second", "resource": "cpu", "lane": 0, "start_us": 0, "end_us": 900}],
        "loads": [{**load("a", 0), "arrive_us": 60}],
    }
    # 7 nJ a load: 7/50 for each byte of b, 7/30 for each of c.
    assert stays(cold(["b", "c"], 143, energy_nj=7), alone) == ("a", "c")
    assert stays(cold(["b", "c"], 94, energy_nj=7), alone) == ("a", "c")
    assert stays(cold(["b", "c"], 93, energy_nj=7), alone) == ("a",)
    # Nothing costs energy: time counts, which is the same for each byte, but for the latency.
    slow = {**alone, "stages": [run("first", 62), alone["stages"][1]], "loads": [load("a", 0)]}
    assert stays(cold(["b", "c"], 94, latency_us=2), slow) == ("a", "c")
    # All is equal: the label that is last in `weights` goes first.
    assert stays(cold(["b", "c"], 115), alone) == ("a", "b")


def test_what_stays_follows_from_an_answer_within_the_rules_alone() -> None:
    problem = MemoryProblem.from_dict(QUESTION)
    with pytest.raises(InputError, match="the answer to `q` is none: rule 3: first starts at 72"):
        resident_after(problem, MemoryPlacement.from_dict({**ANSWER, "loads": [], "criteria": None}))
    nothing = {**ANSWER, "criteria": None, "stages": [], "loads": [], "status": "infeasible", "reason": "rule 5"}
    assert resident_after(problem, MemoryPlacement.from_dict(nothing)) == {"npu": ("b",), "flash": (), "cpu": ()}


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), stages=st.integers(1, 5))
def test_what_stays_fits_and_was_there(seed: int, stages: int) -> None:
    problem = random_memory_problem(seed, stages=stages)
    answer = solve(problem)
    sizes = {weights.label: weights.bytes for weights in problem.weights}
    for resource in problem.resources:
        after = resident_after(problem, answer)[resource.name]
        loaded = {load.label for load in answer.loads if load.target == resource.name}
        assert set(after) <= loaded | {*resource.resident}
        assert resource.memory_bytes is None or sum(sizes[label] for label in after) <= resource.memory_bytes
        # The next frame can be asked about with it.
        found = resource.model_copy(update={"resident": after})
        others = tuple(found if one.name == found.name else one for one in problem.resources)
        MemoryProblem.from_json(problem.model_copy(update={"resources": others}).to_json())


# The command line.


def test_a_file_is_solved_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question, answer = tmp_path / "q.json", tmp_path / "a.json"
    question.write_text(json.dumps(QUESTION))
    assert main(["solve", str(question), "--out", str(answer)]) == 0
    assert main(["check", str(question), str(answer)]) == 0
    assert json.loads(capsys.readouterr().out)["makespan"] == 82
    wrong = json.loads(answer.read_text())
    wrong["loads"][0]["lane"] = 7
    answer.write_text(json.dumps(wrong))
    assert main(["check", str(question), str(answer)]) == 1
    assert "on lane 7 of flash" in capsys.readouterr().out
    assert main(["explain", str(question), str(answer)]) == 2
    assert "the placement breaks a rule" in capsys.readouterr().err
    assert main(["solve", str(question), "--solver", "heft"]) == 2
    assert 'no solver of questions with weights is called "heft"' in capsys.readouterr().err


@pytest.mark.parametrize("name", ["memory", "memory-placement"])
def test_its_schemas_say_what_each_key_means(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", name]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["weights" if name == "memory" else "loads"]["type"] == "array"
