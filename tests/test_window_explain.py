"""What an answer of a window is explained by, in numbers that can be worked out by hand; and what is drawn of it."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from leo_runtime import cli
from leo_runtime.documents.problem import Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import InputError
from leo_runtime.frame.ledger import ledger
from leo_runtime.judge.window import check_window
from leo_runtime.report.answer import bars
from leo_runtime.solver import solve
from leo_runtime.solver.explain import Explanation, explain, render
from leo_runtime.solver.window_choices import Worth, choices
from leo_runtime.testing import random_problem
from leo_runtime.testing.sensing_windows import sensing_window
from leo_runtime.testing.windows import random_window

PROBLEMS = Path(__file__).parent / "problems" / "window"
QUESTION, ANSWER = PROBLEMS / "mixed-004-plain-206.json", PROBLEMS / "mixed-004-plain-206.placement.json"

WINDOW = WindowProblem.from_dict(
    {
        "format": "leo-problem/2",
        "name": "window",
        "horizon_us": 100,
        "releases_us": [0, 50],
        "resources": [
            {"name": "dsp", "linger_us": None},
            {"name": "cpu", "awake": True, "awake_mw": 5, "linger_us": 4, "awake_until_us": 8, "linger_mw": 3},
            {"name": "gpu", "awake": False, "wake_latency_us": 5, "wake_energy_nj": 7, "awake_mw": 2, "linger_us": 4},
        ],
        "links": [{"source": "dsp", "target": "gpu", "latency_us": 3, "energy_nj": 100}],
        "stages": [
            {"name": "gate", "modes": [{"resource": "dsp", "duration_us": 10, "energy_nj": 1}]},
            {
                "name": "model",
                "inputs": ["gate"],
                "gates": ["gate"],
                "chance_ppm": 100_000,
                "modes": [
                    {"resource": "gpu", "duration_us": 2, "energy_nj": 50},
                    {"resource": "dsp", "duration_us": 20, "energy_nj": 3000},
                ],
            },
            {"name": "late", "release_us": 70, "modes": [{"resource": "gpu", "duration_us": 2, "energy_nj": 1}]},
        ],
    }
)


def placed(**changes: Any) -> WindowPlacement:
    """An answer of the window, in which the model waits for its gate unless it is changed."""
    return WindowPlacement.from_dict(
        {
            "format": "leo-placement/2",
            "problem": "window",
            "solver": "hand",
            "status": "feasible",
            "bounds": [0, 0],
            "stages": [
                {"stage": "gate", "resource": "dsp", "lane": 0, "start_us": 0, "end_us": 10},
                {"stage": "model", "resource": "gpu", "lane": 0, "start_us": 15, "end_us": 17},
                {"stage": "late", "resource": "gpu", "lane": 0, "start_us": 70, "end_us": 72},
            ],
            "transfers": [
                {
                    "stage": "gate",
                    "source": "dsp",
                    "target": "gpu",
                    "start_us": 10,
                    "arrive_us": 13,
                    "after": ["gate"],
                }
            ],
            "spans": [
                {"resource": "dsp", "from_us": 0, "until_us": 10, "after": []},
                {"resource": "cpu", "from_us": 0, "until_us": 0, "after": []},
                {"resource": "gpu", "from_us": 0, "until_us": 17, "after": ["gate"]},
                {"resource": "gpu", "from_us": 50, "until_us": 72, "after": []},
            ],
            **changes,
        }
    )


HELD = {
    "transfers": [{"stage": "gate", "source": "dsp", "target": "gpu", "start_us": 10, "arrive_us": 13, "after": []}],
    "spans": [
        {"resource": "dsp", "from_us": 0, "until_us": 10, "after": []},
        {"resource": "cpu", "from_us": 0, "until_us": 0, "after": []},
        {"resource": "gpu", "from_us": 0, "until_us": 72, "after": []},
    ],
}


def found(placement: WindowPlacement, kind: str) -> list[Worth]:
    return [worth for worth in choices(WINDOW, placement) if worth.kind == kind]


def test_the_answers_are_valid() -> None:
    for placement in (placed(), placed(**HELD)):
        report = check_window(WINDOW, placement)
        assert report.violations == ()


def test_a_gate_counts_what_is_behind_it_by_its_chance() -> None:
    (gate,) = found(placed(), "gate")
    assert (gate.what, gate.energy_nj, gate.other_nj) == ("gate", 5, 50)
    assert gate.text == "gate opens in 10 % of runs; behind it: model, counted as 5 of 50 nJ"


def test_what_waits_is_compared_with_what_does_not() -> None:
    (transfer,) = found(placed(), "transfer")
    assert (transfer.what, transfer.energy_nj, transfer.other_nj) == ("gate -> gpu", 10, 100)
    assert transfer.text.endswith("only after gate opens, 0 us after it is there: 10 nJ, 100 nJ at once")
    waiting, certain = found(placed(), "span")
    full = 7 + 2 * 17 + 2 * 4
    assert (waiting.energy_nj, waiting.other_nj) == (-(-full // 10), full)
    assert (certain.energy_nj, certain.other_nj) == (7 + 2 * 22 + 2 * 4, None)
    assert certain.stages == ("late",)


def test_what_could_wait_is_said_too() -> None:
    (transfer,) = found(placed(**HELD), "transfer")
    assert (transfer.energy_nj, transfer.other_nj) == (100, 10)
    alone = placed(transfers=HELD["transfers"], spans=[{**span.model_dump(), "after": []} for span in placed().spans])
    first, _ = found(alone, "span")
    assert (first.energy_nj, first.other_nj) == (49, 5)
    assert first.text.endswith("only after gate opens, not before 15 us, 5 nJ")


def test_a_hold_is_compared_with_sleep() -> None:
    (hold,) = found(placed(**HELD), "hold")
    assert (hold.energy_nj, hold.other_nj) == (2 * (70 - 17), 2 * 4 + 7 + 2 * (70 - 50))
    assert hold.text.startswith("gpu is held awake from 17 to 70 us: 106 nJ, counted above; asleep until the release")
    assert hold.text.endswith("at 50 us 55 nJ")
    once = WindowProblem.from_dict({**json.loads(WINDOW.to_json()), "releases_us": [0]})
    (hold,) = [worth for worth in choices(once, placed(**HELD)) if worth.kind == "hold"]
    assert hold.other_nj is None
    assert hold.text.endswith("no release comes in time to wake it again")


def test_a_tail_is_said_up_to_the_horizon() -> None:
    (rest,) = found(placed(), "rest")
    assert (rest.what, rest.energy_nj) == ("cpu", 24)
    first, second = found(placed(), "tail")
    assert (first.energy_nj, second.energy_nj) == (1, 8)
    soon = WindowProblem.from_dict({**json.loads(WINDOW.to_json()), "horizon_us": 73})
    tail = [worth for worth in choices(soon, placed()) if worth.kind == "tail"][-1]
    assert tail.energy_nj == 2
    assert tail.text.endswith("from 72 us for 1 us: 2 nJ, counted above; the 3 us after the horizon are not charged")


def test_spans_and_what_never_sleeps_are_the_bill_beside_stages_and_transfers() -> None:
    compared = 0
    for seed in range(60):
        problem = sensing_window(Random(seed), stages=5)
        placement = solve(problem, limit_nodes=200)
        if any(each.awake and each.linger_us is not None for each in problem.resources):
            continue  # What the window finds awake has no line of its own.
        costs = ledger(problem, placement).by_cause()
        found = choices(problem, placement)
        standing = sum(worth.energy_nj for worth in found if worth.kind in ("span", "always"))
        assert standing == sum(costs.values()) - costs.get("run", 0) - costs.get("transfer", 0)
        assert all(worth.text.find(", counted above") > 0 for worth in found if worth.kind in ("hold", "tail"))
        compared += 1
    assert compared > 10


def test_a_window_is_explained_stage_by_stage_and_choice_by_choice() -> None:
    explanation = explain(WINDOW, placed())
    gate, model, late = explanation.stages
    assert [wait.text for wait in model.waits] == ["gpu wakes up only when gate has opened, until 15 us"]
    assert (gate.chance_ppm, model.chance_ppm) == (1_000_000, 100_000)
    (other,) = model.alternatives
    assert other.resource == "dsp"
    assert dict(other.differences)["energy"] > 0
    assert [wait.kind for wait in late.waits] == ["release"]
    text = str(explanation)
    assert "model runs on gpu[0] as default, 15 to 17 us, in 10 % of runs" in text
    assert text.count("gpu wakes for ") == 2
    only = explain(WINDOW, placed(), "late")
    assert {worth.kind for worth in only.choices} == {"span", "tail"}
    assert render(only) == str(only)


def test_the_waking_that_a_stage_waits_for_is_named() -> None:
    stages = [*json.loads(placed().to_json())["stages"][:2]]
    late = {"stage": "late", "resource": "gpu", "lane": 0, "start_us": 55, "end_us": 57}
    problem = WindowProblem.from_dict(
        {
            **json.loads(WINDOW.to_json()),
            "stages": [
                {**stage, "release_us": min(stage.get("release_us", 0), 40)}
                for stage in json.loads(WINDOW.to_json())["stages"]
            ],
        }
    )
    spans = [
        *json.loads(placed().to_json())["spans"][:3],
        {"resource": "gpu", "from_us": 50, "until_us": 57, "after": []},
    ]
    explanation = explain(problem, placed(stages=[*stages, late], spans=spans), "late")
    assert [wait.text for wait in explanation.stages[0].waits] == ["gpu wakes up from the release at 50 us until 55 us"]


def test_what_breaks_a_rule_is_not_explained() -> None:
    with pytest.raises(InputError, match="breaks a rule"):
        explain(WINDOW, placed(spans=[]))
    with pytest.raises(InputError, match="breaks a rule"):
        explain(WINDOW, solve(Problem(format="leo-problem/1", name="window", resources=(), stages=())))
    none = WindowPlacement(format="leo-placement/2", problem="window", solver="x", status="infeasible", reason="rule 5")
    assert str(explain(WINDOW, none)) == "window is infeasible: rule 5\n"


@pytest.mark.parametrize("seed", range(12))
def test_every_answer_can_be_explained_and_drawn(seed: int) -> None:
    problem = sensing_window(seed, stages=8) if seed % 2 else random_window(seed, stages=4)
    try:
        answer = solve(problem, "greedy")
    except Exception as error:
        assert error.hint  # type: ignore[attr-defined]
        return
    explanation = explain(problem, answer, limit_nodes=3)
    assert isinstance(explanation, Explanation)
    assert all(worth.text in str(explanation) for worth in explanation.choices)
    for worth in explanation.choices:
        if worth.kind in ("gate", "span") and worth.other_nj is not None:
            assert min(worth.energy_nj, worth.other_nj) >= 0
    drawn = bars(problem, answer)
    assert {bar.name for bar in drawn if bar.kind == "stage"} == {stage.name for stage in problem.stages}
    assert all(bar.start_us <= bar.end_us for bar in drawn)


def test_an_answer_is_drawn_and_traced(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    pytest.importorskip("perfetto", reason="the extra `report` is not installed")
    plot, trace = tmp_path / "out" / "answer.svg", tmp_path / "answer.perfetto-trace"
    arguments = [
        "explain",
        str(QUESTION),
        str(ANSWER),
        "--limit-nodes",
        "1",
        "--plot",
        str(plot),
        "--trace",
        str(trace),
    ]
    assert cli.main(arguments) == 0
    assert b"lingering" in plot.read_bytes()
    assert b"the paler, the less likely" in plot.read_bytes()
    before = trace.read_bytes()
    assert b"gpu awake" in before
    assert cli.main(arguments) == 0
    assert trace.read_bytes() == before


def test_a_frame_is_drawn_too() -> None:
    problem = random_problem(3, stages=5)
    answer = solve(problem)
    assert {bar.kind for bar in bars(problem, answer)} <= {"stage", "transfer", "wait"}


def test_the_commands_take_windows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "answer.json"
    assert cli.main(["solve", str(QUESTION), "--solver", "greedy", "--out", str(out), "--active-mw", "2"]) == 0
    assert "which cost" in capsys.readouterr().err
    assert cli.main(["check", str(QUESTION), str(out)]) == 0
    capsys.readouterr()
    assert cli.main(["explain", str(QUESTION), str(out), "--json", "--limit-nodes", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {choice["kind"] for choice in said["choices"]} >= {"gate", "span", "tail"}
    # An answer of the other form is refused with its place.
    assert cli.main(["explain", str(QUESTION), str(QUESTION)]) == 2
    assert "$" in capsys.readouterr().err


def places(value: Any) -> list[tuple[Any, Any]]:
    here = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [(value, key) for key, _ in here] + [place for _, inner in here for place in places(inner)]


WRONG: tuple[Any, ...] = (0, 1, 2, 10**6, 10**15, None, -1, "x", "", [], {}, True, 1.5)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_are_refused_or_answered_never_a_crash(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values replaced, parts left out, bytes changed, in the question and in the answer."""
    rng = Random(seed)
    question, answer = json.loads(QUESTION.read_text()), json.loads(ANSWER.read_text())
    for document in rng.choice([(question,), (answer,), (question, answer)]):
        for _ in range(rng.choice((1, 1, 2, 5))):
            container, key = rng.choice(places(document))
            if isinstance(container, list) and rng.randrange(2):
                container.pop(key)
            else:
                container[key] = rng.choice(WRONG)
    files = [tmp_path / "question.json", tmp_path / "answer.json"]
    for path, document in zip(files, (question, answer), strict=True):
        text = bytearray(json.dumps(document).encode())
        if rng.randrange(4) == 0:
            text[rng.randrange(len(text))] = rng.randrange(256)
        path.write_bytes(bytes(text))
    names = [str(path) for path in files]
    for solver in ("greedy", "lns", "cpu-only", "heft", "single"):
        assert cli.main(["solve", names[0], "--solver", solver, "--limit-nodes", "20"]) in (0, 1, 2)
    assert cli.main(["check", *names]) in (0, 1, 2)
    assert cli.main(["explain", *names, "--limit-nodes", "5"]) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err
