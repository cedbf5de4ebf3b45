"""The judge of windows: every rule is broken by hand once, and the judge names exactly that rule."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Criteria, Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import DocumentError, InputError
from leo_runtime.judge import CheckReport, check
from leo_runtime.judge.files import check_files
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.testing import random_problem

EXAMPLES = sorted((Path(__file__).parent / "problems" / "window").glob("*.placement.json"))

# Release 0: sense and gate on the dsp; model reads both on the gpu, if the gate opens. Release 40: log reads sense on
# the cpu, which has slept by then; second is sent over the radio to ask.
QUESTION: dict[str, Any] = {
    "format": "leo-problem/2",
    "name": "by hand",
    "horizon_us": 80,
    "releases_us": [0, 40],
    "resources": [
        {"name": "dsp", "awake_mw": 2, "linger_us": None, "memory_bytes": 60},
        {
            "name": "cpu",
            "awake_mw": 10,
            "wake_latency_us": 3,
            "wake_energy_nj": 700,
            "linger_us": 5,
            "linger_mw": 4,
            "awake_until_us": 8,
        },
        {"name": "gpu", "awake": False, "awake_mw": 20, "wake_latency_us": 4, "wake_energy_nj": 900, "linger_us": 6},
        {
            "name": "radio",
            "lanes": 2,
            "ready_us": [50, 70],
            "awake": False,
            "awake_mw": 7,
            "wake_latency_us": 2,
            "wake_energy_nj": 300,
            "linger_us": 50,
            "linger_mw": 6,
        },
        {"name": "cloud", "lanes": 2, "linger_us": None},
    ],
    "links": [
        {"source": "dsp", "target": "gpu", "latency_us": 1, "bytes_per_s": 1_000_000, "energy_nj": 7},
        {"source": "dsp", "target": "cpu", "latency_us": 2, "energy_nj": 11},
        {
            "source": "dsp",
            "target": "cloud",
            "latency_us": 9,
            "bytes_per_s": 3_000_000,
            "energy_nj": 40,
            "energy_pj_per_byte": 1500,
            "resource": "radio",
        },
    ],
    "stages": [
        {
            "name": "sense",
            "modes": [{"resource": "dsp", "duration_us": 10, "energy_nj": 100, "output_bytes": 4, "memory_bytes": 50}],
        },
        {
            "name": "gate",
            "inputs": ["sense"],
            "modes": [
                {"resource": "dsp", "duration_us": 5, "energy_nj": 50, "output_bytes": 1, "accuracy_loss_ppm": 30},
                {"resource": "dsp", "variant": "int8", "duration_us": 2, "energy_nj": 20, "accuracy_loss_ppm": 80},
            ],
        },
        {
            "name": "model",
            "inputs": ["gate", "sense"],
            "gates": ["gate"],
            "chance_ppm": 300_000,
            "modes": [{"resource": "gpu", "duration_us": 8, "energy_nj": 400}],
        },
        {
            "name": "log",
            "release_us": 40,
            "inputs": ["sense"],
            "modes": [{"resource": "cpu", "duration_us": 4, "energy_nj": 60}],
        },
        {
            "name": "second",
            "release_us": 40,
            "modes": [{"resource": "dsp", "duration_us": 10, "energy_nj": 100, "output_bytes": 6, "memory_bytes": 9}],
        },
        {
            "name": "ask",
            "release_us": 40,
            "inputs": ["second"],
            "modes": [{"resource": "cloud", "duration_us": 3, "energy_nj": 0}],
        },
    ],
    "deadlines": [{"stage": "ask", "deadline_us": 60, "weight": 3}, {"stage": "log", "deadline_us": 100}],
    "accuracy_budgets": [{"stages": ["gate", "model"], "loss_ppm_max": 90}],
    "limits": {"makespan": 70},
}

STAGES = 100 + 50 + 120 + 60 + 100  # the model's 400 nJ, three times in ten
TRANSFERS = 3 + 7 + 11 + (40 + 9)  # sense -> gpu waits for the gate: 7 nJ, three times in ten, rounded up
SPANS = (
    2 * 80  # the dsp never sleeps
    + 4 * 8  # the cpu lingers until 8, unused
    + (700 + 10 * 7 + 4 * 5)  # then wakes at 40
    + 474  # the gpu: 900 + 20 * 28 + 20 * 6, three times in ten
    + (300 + 7 * 12 + 6 * 28)  # the radio lingers until 102, of which what is before 80 is charged
)
ENERGY = STAGES + TRANSFERS + SPANS
ANSWER: dict[str, Any] = {
    "format": "leo-placement/2",
    "problem": "by hand",
    "solver": "hand",
    "status": "feasible",
    "criteria": {"tardiness": 12, "energy": ENERGY, "makespan": 64, "accuracy_loss": 30},
    "bounds": [12, 100],
    "stages": [
        {"stage": "sense", "resource": "dsp", "lane": 0, "start_us": 0, "end_us": 10},
        {"stage": "gate", "resource": "dsp", "lane": 0, "start_us": 10, "end_us": 15},
        {"stage": "model", "resource": "gpu", "lane": 0, "start_us": 20, "end_us": 28},
        {"stage": "log", "resource": "cpu", "lane": 0, "start_us": 43, "end_us": 47},
        {"stage": "second", "resource": "dsp", "lane": 0, "start_us": 40, "end_us": 50},
        {"stage": "ask", "resource": "cloud", "lane": 1, "start_us": 61, "end_us": 64},
    ],
    "transfers": [
        {"stage": "sense", "source": "dsp", "target": "gpu", "start_us": 15, "arrive_us": 20, "after": ["gate"]},
        {"stage": "gate", "source": "dsp", "target": "gpu", "start_us": 15, "arrive_us": 17, "after": []},
        {"stage": "sense", "source": "dsp", "target": "cpu", "start_us": 10, "arrive_us": 12, "after": []},
        {
            "stage": "second",
            "source": "dsp",
            "target": "cloud",
            "lane": 0,
            "start_us": 50,
            "arrive_us": 61,
            "after": [],
        },
    ],
    "spans": [
        {"resource": "dsp", "from_us": 0, "until_us": 50, "after": []},
        {"resource": "cpu", "from_us": 0, "until_us": 0, "after": []},
        {"resource": "cpu", "from_us": 40, "until_us": 47, "after": []},
        {"resource": "gpu", "from_us": 0, "until_us": 28, "after": ["gate"]},
        {"resource": "radio", "from_us": 40, "until_us": 52, "after": []},
        {"resource": "cloud", "from_us": 0, "until_us": 64, "after": []},
    ],
}
SENSE, GATE, MODEL, LOG, SECOND, ASK = range(6)
DSP, CPU, GPU, RADIO, CLOUD = range(5)
UNUSED, WOKEN, GATED, SENT = 1, 2, 3, 4
"""Spans: the cpu's first and second, the gpu's, the radio's."""

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def judged(*changes: Change) -> CheckReport:
    """The report on the hand-made answer after changes to the question or the answer."""
    question, answer = json.loads(json.dumps(QUESTION)), json.loads(json.dumps(ANSWER))
    for change in changes:
        change(question, answer)
    return check_window(WindowProblem.from_dict(question), WindowPlacement.from_dict(answer))


def ask(part: str, index: int, **values: object) -> Change:
    return lambda question, _: question[part][index].update(values)


def mode(stage: int, **values: object) -> Change:
    return lambda question, _: question["stages"][stage]["modes"][0].update(values)


def says(**values: object) -> Change:
    return lambda _, answer: answer.update(values)


def row(part: str, index: int, **values: object) -> Change:
    return lambda _, answer: answer[part][index].update(values)


def drop(part: str, index: int) -> Change:
    return lambda _, answer: answer[part].pop(index)


def again(part: str, index: int, **values: object) -> Change:
    return lambda _, answer: answer[part].insert(index + 1, {**answer[part][index], **values})


def both(*changes: Change) -> Change:
    def change(question: dict[str, Any], answer: dict[str, Any]) -> None:
        for each in changes:
            each(question, answer)

    return change


def energy(*changes: Change) -> int:
    """What the changed answer costs, which breaks no rule."""
    report = judged(*changes)
    assert {violation.rule for violation in report.violations} <= {0}, report
    assert report.criteria is not None
    return report.criteria.energy


def test_the_hand_made_answer_is_right() -> None:
    report = judged()
    assert report.ok, report
    assert report.criteria == Criteria(tardiness=12, energy=ENERGY, makespan=64, accuracy_loss=30)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem.removesuffix(".placement"))
def test_the_proved_answers_are_right(path: Path) -> None:
    report, answer = check_files(path.with_name(path.name.replace(".placement", "")), path)
    assert report.ok, report
    assert report.criteria == answer.criteria


BROKEN: list[tuple[int, Change]] = [
    (1, drop("stages", LOG)),
    (1, again("stages", LOG)),
    (1, row("stages", LOG, stage="nobody")),
    (1, row("stages", LOG, resource="gpu")),
    (1, row("stages", SENSE, variant="int8")),
    (1, row("stages", LOG, end_us=48)),
    (1, row("stages", ASK, lane=2)),
    (1, row("stages", ASK, lane=-1)),
    (1, row("stages", GATE, start_us=9, end_us=14)),
    (1, row("transfers", 3, lane=1)),  # ready at 70
    (1, row("transfers", 3, lane=None)),
    (3, row("stages", SECOND, start_us=39, end_us=49)),
    (3, ask("stages", ASK, release_us=62)),
    (3, row("stages", MODEL, start_us=19, end_us=27)),
    (3, both(row("stages", GATE, start_us=9, end_us=14))),
    (4, drop("transfers", 2)),
    (4, again("transfers", 2)),
    (4, row("transfers", 2, source="cpu")),
    (4, row("transfers", 2, target="gpu")),
    (4, row("transfers", 2, stage="nobody")),
    (4, row("transfers", 2, start_us=9, arrive_us=11)),
    (4, row("transfers", 2, arrive_us=11)),
    (4, row("transfers", 2, arrive_us=13)),  # it arrives exactly then, not later
    (4, row("transfers", 2, lane=0)),
    (4, row("transfers", 0, start_us=14, arrive_us=19)),  # the gate has not decided
    (4, row("transfers", 2, start_us=15, arrive_us=17, after=["gate"])),  # log is not behind it
    (4, row("transfers", 0, after=["gate", "gate"])),
    (4, row("transfers", 0, after=["sense"])),  # no gate
    (4, row("transfers", 0, after=["nobody"])),
    (4, lambda question, _: question["links"].pop(1)),
    (2, drop("spans", UNUSED)),
    (2, drop("spans", WOKEN)),
    (2, drop("spans", GATED)),
    (2, drop("spans", 0)),
    (2, again("spans", 0)),
    (2, again("spans", UNUSED)),
    (2, again("spans", WOKEN)),
    (2, again("spans", WOKEN, from_us=60, until_us=60)),  # no release
    (2, again("spans", UNUSED, from_us=8, until_us=9)),
    (2, row("spans", 0, from_us=1)),
    (2, row("spans", 0, until_us=49)),
    (2, row("spans", 0, after=["gate"])),
    (2, row("spans", UNUSED, until_us=1)),
    (2, row("spans", UNUSED, from_us=-1)),
    (2, row("spans", UNUSED, after=["gate"])),
    (2, row("spans", WOKEN, from_us=41)),
    (2, row("spans", WOKEN, until_us=46)),
    (2, row("spans", WOKEN, until_us=48)),
    (2, row("spans", WOKEN, until_us=39)),
    (2, row("spans", WOKEN, after=["gate"])),  # log is not behind it
    (2, row("spans", WOKEN, resource="tpu")),
    (2, row("spans", GATED, after=["gate", "gate"])),
    (2, row("spans", GATED, after=["model"])),
    (2, row("spans", SENT, after=["gate"])),
    (2, row("spans", GATED, resource="cpu")),
    (2, lambda _, answer: answer["spans"].insert(UNUSED, answer["spans"].pop(WOKEN))),
    (2, ask("resources", CPU, awake_until_us=41)),  # it has not lingered when the second span begins
    (2, ask("resources", CPU, wake_latency_us=4)),
    (2, ask("resources", GPU, wake_latency_us=6)),  # it wakes after the gate, at 15
    (2, ask("resources", RADIO, wake_latency_us=11)),
    (2, lambda question, _: question.update(releases_us=[0])),
    (5, ask("resources", DSP, memory_bytes=58)),
    (7, lambda question, _: question["accuracy_budgets"][0].update(loss_ppm_max=29)),
    (7, lambda question, _: question.update(limits={"makespan": 63})),
    (7, lambda question, _: question.update(limits={"energy": ENERGY - 1})),
    (7, lambda question, _: question.update(limits={"tardiness": 11})),
    (7, lambda question, _: question.update(limits={"accuracy_loss": 29})),
    (0, says(criteria={"tardiness": 11, "energy": ENERGY, "makespan": 64, "accuracy_loss": 30})),
    (0, says(criteria={"tardiness": 12, "energy": ENERGY + 1, "makespan": 64, "accuracy_loss": 30})),
    (0, lambda question, _: question.update(horizon_us=81)),
    (0, row("transfers", 0, after=[])),
    (0, row("spans", GATED, after=[])),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN)
def test_each_broken_rule_is_named(rule: int, change: Change) -> None:
    report = judged(change)
    assert rule in {violation.rule for violation in report.violations}, report
    assert (report.criteria is None) == any(violation.rule for violation in report.violations)
    for violation in report.violations:
        assert str(violation) == (f"rule {violation.rule}: {violation.text}" if violation.rule else violation.text)


def test_what_is_behind_a_gate_costs_as_often_as_it_opens() -> None:
    assert energy(row("transfers", 0, after=[])) == ENERGY + 7 - 3
    assert energy(row("transfers", 1, after=["gate"])) == ENERGY + 3 - 7
    assert energy(row("spans", GATED, after=[])) == ENERGY + 1580 - 474
    assert energy(ask("stages", MODEL, chance_ppm=0)) == ENERGY - 120 - 3 - 474
    assert energy(ask("stages", MODEL, chance_ppm=1)) == ENERGY - 119 - 2 - 473  # each rounded up to 1


def test_a_span_may_wait_without_its_transfers_and_transfers_without_their_span() -> None:
    early = both(row("transfers", 0, start_us=10, arrive_us=15, after=[]), row("transfers", 1, after=[]))
    assert energy(early) == ENERGY + 7 - 3


def test_lingering_ends_where_the_window_does() -> None:
    assert energy(lambda question, _: question.update(horizon_us=90)) == ENERGY + 10 * (2 + 6)
    assert energy(lambda question, _: question.update(horizon_us=200)) == ENERGY + 120 * 2 + (102 - 80) * 6
    assert energy(lambda question, _: question.update(horizon_us=50)) == ENERGY - 30 * 2 - 28 * 6 - 2 * 4


def test_a_hold_is_charged_like_use_and_the_rest_of_an_earlier_lingering_like_lingering() -> None:
    held = both(
        drop("spans", UNUSED),
        row("spans", UNUSED, from_us=0),
        row("stages", LOG, start_us=40, end_us=44),
        row("spans", UNUSED, until_us=44),
    )
    assert energy(held) == ENERGY - 4 * 8 - 790 + 10 * 44 + 4 * 5
    assert energy(ask("resources", CPU, awake_until_us=0)) == ENERGY - 4 * 8
    assert energy(held, ask("resources", CPU, awake_until_us=60)) == energy(held) + 4 * 11


def test_chances_nest_behind_one_gate_and_add_up_across_gates() -> None:
    """`late` is behind two gates that are behind a third; a list of both counts them twice, up to certainty."""

    def stage(name: str, inputs: list[str], chance: int = 1_000_000, resource: str = "dsp") -> dict[str, Any]:
        gates = {"gates": inputs, "chance_ppm": chance} if chance < 1_000_000 else {}
        modes = [{"resource": resource, "duration_us": 1, "energy_nj": 0}]
        return {"name": name, "inputs": inputs, "modes": modes, **gates}

    question = {
        "format": "leo-problem/2",
        "name": "w",
        "horizon_us": 50,
        "resources": [
            {"name": "dsp", "linger_us": None},
            {"name": "gpu", "awake": False, "awake_mw": 100, "wake_latency_us": 1},
        ],
        "links": [{"source": "dsp", "target": "gpu", "energy_nj": 1000}],
        "stages": [
            stage("root", []),
            stage("one", ["root"], 800_000),
            stage("two", ["root"], 500_000),
            stage("late", ["one", "two"], 600_000, "gpu"),
        ],
    }
    starts = [("root", 0, "dsp"), ("one", 1, "dsp"), ("two", 2, "dsp"), ("late", 10, "gpu")]

    def cost(sent: list[str], woken: list[str], begins: int = 10) -> int | None:
        runs = [
            {"stage": s, "resource": r, "lane": 0, "start_us": t, "end_us": t + 1}
            for s, t, r in [*starts[:3], ("late", begins, "gpu")]
        ]
        sends = [
            {"stage": s, "source": "dsp", "target": "gpu", "start_us": 3, "arrive_us": 3, "after": sent}
            for s in ("one", "two")
        ]
        spans = [
            {"resource": "dsp", "from_us": 0, "until_us": 3, "after": []},
            {"resource": "gpu", "from_us": 0, "until_us": begins + 1, "after": woken},
        ]
        answer = {"format": "leo-placement/2", "problem": "w", "solver": "x", "status": "feasible"}
        report = check_window(
            WindowProblem.from_dict(question),
            WindowPlacement.from_dict({**answer, "stages": runs, "transfers": sends, "spans": spans}),
        )
        return None if report.criteria is None else report.criteria.energy

    assert cost([], []) == 800 + 500 + 1100
    assert cost(["root"], []) == 2 * 800 + 1100  # root opens as often as the likeliest stage behind it
    assert cost(["one"], []) is None  # late is not behind it, with the other as an alternative
    assert cost([], ["root"]) == 800 + 500 + 880
    assert cost(["root"], ["root"]) == 2 * 800 + 880
    assert cost([], ["one"]) is None
    assert cost([], ["root"], begins=3) == 800 + 500 + 320  # the gpu wakes after root alone


def instant(question: dict[str, Any], answer: dict[str, Any], *, spans: list[tuple[int, int]]) -> None:
    """Two stages of 20 us each whose outputs are sent in no time, over a radio that sleeps at once."""
    modes = [{"resource": "dsp", "duration_us": 20, "energy_nj": 0}]
    question.clear()
    question.update(
        format="leo-problem/2",
        name="by hand",
        horizon_us=80,
        releases_us=[0, 20, 40],
        resources=[
            {"name": "dsp", "lanes": 2, "linger_us": None},
            {"name": "cloud", "linger_us": None, "lanes": 9},
            {"name": "radio", "awake": False, "lanes": 2},
        ],
        links=[{"source": "dsp", "target": "cloud", "resource": "radio"}],
        stages=[
            {"name": "a", "modes": modes},
            {"name": "b", "modes": modes},
            *(
                {"name": f"{s}2", "inputs": [s], "modes": [{"resource": "cloud", "duration_us": 5, "energy_nj": 0}]}
                for s in "ab"
            ),
        ],
    )
    runs = [("a", "dsp", 0, 0, 20), ("b", "dsp", 1, 0, 20), ("a2", "cloud", 0, 20, 25), ("b2", "cloud", 1, 20, 25)]
    keys = ("stage", "resource", "lane", "start_us", "end_us")
    answer.update(
        criteria={"tardiness": 0, "energy": 0, "makespan": 25, "accuracy_loss": 0},
        bounds=[0, 0],
        stages=[dict(zip(keys, run, strict=True)) for run in runs],
        transfers=[
            {"stage": s, "source": "dsp", "target": "cloud", "lane": 0, "start_us": 20, "arrive_us": 20, "after": []}
            for s in "ab"
        ],
        spans=[
            {"resource": "dsp", "from_us": 0, "until_us": 20, "after": []},
            {"resource": "cloud", "from_us": 0, "until_us": 25, "after": []},
            *({"resource": "radio", "from_us": begin, "until_us": end, "after": []} for begin, end in spans),
        ],
    )


@pytest.mark.parametrize(
    ("spans", "right"),
    [
        ([(0, 20)], True),
        ([(20, 20)], True),
        ([(0, 20), (20, 20)], True),  # one sending each, whichever it is
        ([(0, 20), (20, 20), (40, 40)], False),
        ([(20, 20), (20, 20)], False),
        ([(0, 20), (20, 21)], False),
    ],
)
def test_a_sending_of_no_time_counts_to_whichever_span_needs_it(spans: list[tuple[int, int]], right: bool) -> None:
    report = judged(lambda question, answer: instant(question, answer, spans=spans))
    assert report.ok == right, report


@pytest.mark.parametrize(
    "change",
    [
        says(problem="another"),
        says(status="optimal"),
        says(bounds=[13, 0]),
        says(bounds=[12]),
        says(bounds=[12, ENERGY, 64]),
        says(bounds=[12, ENERGY + 1]),
        says(criteria=None),
        says(reason="none"),
        says(status="infeasible", reason="because"),
        says(status="infeasible", stages=[], transfers=[], spans=[], criteria=None, bounds=[]),
        says(status="infeasible", stages=[], transfers=[], criteria=None, bounds=[], reason="rule 5"),
    ],
)
def test_claims_that_cannot_be_are_named(change: Change) -> None:
    report = judged(change)
    assert report.false_claims
    assert not report.ok


def test_a_proof_and_a_reasoned_infeasible_are_taken_at_their_word() -> None:
    assert judged(says(status="optimal", bounds=[12, ENERGY])).ok
    report = judged(
        says(status="infeasible", stages=[], transfers=[], spans=[], criteria=None, bounds=[], reason="rule 5")
    )
    assert report.ok
    assert report.criteria is None


def test_files_of_both_formats_are_judged_and_never_mixed(tmp_path: Path) -> None:
    problem = random_problem(3, stages=4, features=())
    problem.to_file(tmp_path / "p1.json")
    solve(problem, "heft").to_file(tmp_path / "a1.json")
    (tmp_path / "p2.json").write_text(json.dumps(QUESTION))
    (tmp_path / "a2.json").write_text(json.dumps(ANSWER))
    for number, kind in ((1, Placement), (2, WindowPlacement)):
        report, answer = check_files(tmp_path / f"p{number}.json", tmp_path / f"a{number}.json")
        assert report.ok
        assert isinstance(answer, kind)
    for one, other in ((1, 2), (2, 1)):
        with pytest.raises(DocumentError, match=rf"a{other}.json: expected 'leo-placement/{one}'.*at \$.format"):
            check_files(tmp_path / f"p{one}.json", tmp_path / f"a{other}.json")


NAMES = st.sampled_from([stage["name"] for stage in QUESTION["stages"]] + ["dsp", "cpu", "gpu", "radio", "x"])
NUMBERS = st.integers(-(10**16), 10**16) | st.integers(-3, 70)
AFTER = st.lists(NAMES, max_size=2)
RUNS = st.fixed_dictionaries(
    {"stage": NAMES, "resource": NAMES, "variant": NAMES, "lane": NUMBERS, "start_us": NUMBERS, "end_us": NUMBERS}
)
SENDS = st.fixed_dictionaries(
    {
        "stage": NAMES,
        "source": NAMES,
        "target": NAMES,
        "lane": st.none() | NUMBERS,
        "start_us": NUMBERS,
        "arrive_us": NUMBERS,
        "after": AFTER,
    }
)
PLACES = st.fixed_dictionaries({"resource": NAMES, "from_us": NUMBERS, "until_us": NUMBERS, "after": AFTER})


@settings(max_examples=200, deadline=None)
@given(
    runs=st.lists(RUNS, max_size=5),
    sends=st.lists(SENDS, max_size=4),
    spans=st.lists(PLACES, max_size=6),
    kept=st.booleans(),
    status=st.sampled_from(["optimal", "feasible", "infeasible"]),
    bounds=st.lists(st.integers(0, 100), max_size=3),
)
def test_nonsense_is_judged_without_failing(
    runs: list[Any], sends: list[Any], spans: list[Any], kept: bool, status: str, bounds: list[int]
) -> None:
    answer = {**ANSWER, "status": status, "bounds": bounds, "transfers": sends, "spans": spans}
    if not kept:
        answer["stages"] = runs
    assert not check_window(WindowProblem.from_dict(QUESTION), WindowPlacement.from_dict(answer)).ok
    mixed = {**ANSWER, "transfers": [*ANSWER["transfers"], *sends], "spans": [*ANSWER["spans"], *spans]}
    report = check_window(WindowProblem.from_dict(QUESTION), WindowPlacement.from_dict(mixed))
    assert report.ok == (not sends and not spans)


JUNK = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2) | st.floats()


@settings(max_examples=100, deadline=None)
@given(part=st.sampled_from(["answer", "stages", "transfers", "spans"]), junk=JUNK, data=st.data())
def test_an_answer_built_past_its_checks_is_judged_without_failing(part: str, junk: Any, data: st.DataObject) -> None:
    answer = WindowPlacement.from_dict(ANSWER)
    if part == "answer":
        answer = answer.model_copy(update={data.draw(st.sampled_from(sorted(WindowPlacement.model_fields))): junk})
    else:
        first, *rest = getattr(answer, part)
        changed = first.model_copy(update={data.draw(st.sampled_from(sorted(type(first).model_fields))): junk})
        answer = answer.model_copy(update={part: (data.draw(st.sampled_from([changed, junk])), *rest)})
    check_window(WindowProblem.from_dict(QUESTION), answer)


def test_what_is_no_answer_breaks_the_rules_and_what_is_no_question_cannot_be_judged() -> None:
    report = check_window(WindowProblem.from_dict(QUESTION), None)  # type: ignore[arg-type]
    assert str(report.violations[0]) == "the answer is no WindowPlacement, but of type NoneType"
    with pytest.raises(InputError, match="the question is a WindowProblem, got dict"):
        check_window(QUESTION, WindowPlacement.from_dict(ANSWER))  # type: ignore[arg-type]


def test_each_judge_names_the_other_for_the_other_s_questions() -> None:
    window, answer = WindowProblem.from_dict(QUESTION), WindowPlacement.from_dict(ANSWER)
    with pytest.raises(InputError, match="the question is a Problem, got WindowProblem") as no:
        check(window, answer)  # type: ignore[arg-type]
    assert "`check_window`" in no.value.hint
    frame = Problem(format="leo-problem/1", name="nothing", resources=(), stages=())
    with pytest.raises(InputError, match="the question is a WindowProblem, got Problem") as no:
        check_window(frame, answer)  # type: ignore[arg-type]
    assert "`check`" in no.value.hint


def test_an_empty_window_has_an_empty_answer() -> None:
    problem = WindowProblem(format="leo-problem/2", name="nothing", horizon_us=1, resources=(), stages=())
    answer = {
        "format": "leo-placement/2",
        "problem": "nothing",
        "solver": "hand",
        "status": "optimal",
        "bounds": [0, 0],
    }
    zero = Criteria(tardiness=0, energy=0, makespan=0, accuracy_loss=0)
    assert check_window(problem, WindowPlacement.from_dict({**answer, "criteria": zero.model_dump()})) == CheckReport(
        zero
    )
