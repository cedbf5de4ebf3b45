"""The judge: every rule is broken by hand once, and the judge names exactly that rule."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Criteria, Placement, Problem
from leo_runtime.errors import InputError
from leo_runtime.judge import CheckReport, check
from leo_runtime.solver import solve
from leo_runtime.testing import problems, random_problem

# sense runs on the dsp; mfcc and gmm read it on the cpu (one transfer over the bus); cloud reads mfcc over the radio.
QUESTION: dict[str, Any] = {
    "format": "leo-problem/1",
    "name": "by hand",
    "resources": [
        {"name": "dsp", "lanes": 2, "ready_us": [5, 0], "awake_mw": 2, "memory_bytes": 60},
        {"name": "cpu", "awake": False, "wake_latency_us": 20, "wake_energy_nj": 700, "awake_mw": 10},
        {"name": "cloud", "lanes": 4},
        {"name": "radio", "awake": False, "wake_latency_us": 50, "wake_energy_nj": 3000, "awake_mw": 5},
    ],
    "links": [
        {"source": "dsp", "target": "cpu", "latency_us": 3, "bytes_per_s": 1_000_000, "energy_nj": 11},
        {
            "source": "cpu",
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
            "release_us": 2,
            "modes": [
                {"resource": "dsp", "duration_us": 10, "energy_nj": 100, "output_bytes": 4, "memory_bytes": 50},
                {"resource": "cpu", "duration_us": 1, "energy_nj": 900, "output_bytes": 4, "memory_bytes": 50},
            ],
        },
        {
            "name": "mfcc",
            "inputs": ["sense"],
            "modes": [
                {"resource": "cpu", "duration_us": 12, "energy_nj": 200, "output_bytes": 7, "accuracy_loss_ppm": 30},
                {"resource": "cpu", "variant": "int8", "duration_us": 6, "energy_nj": 90, "accuracy_loss_ppm": 80},
                {"resource": "dsp", "duration_us": 12, "energy_nj": 60, "output_bytes": 7, "memory_bytes": 11},
            ],
        },
        {
            "name": "gmm",
            "inputs": ["sense"],
            "modes": [{"resource": "cpu", "duration_us": 8, "energy_nj": 150, "accuracy_loss_ppm": 20}],
        },
        {
            "name": "score",
            "inputs": ["mfcc"],
            "modes": [{"resource": "cloud", "duration_us": 4, "energy_nj": 0}],
        },
    ],
    "deadlines": [{"stage": "score", "deadline_us": 60, "weight": 3}, {"stage": "gmm", "deadline_us": 100}],
    "accuracy_budgets": [{"stages": ["mfcc", "gmm"], "loss_ppm_max": 90}],
    "limits": {"makespan": 70},
    "objective": ["tardiness", "energy"],
}

# sense 2..12, sent 12..16, arrives 19; mfcc waits for the cpu: 20..32; gmm 32..40; the radio wakes until 50 and sends
# 7 bytes in ceil(7/3) = 3 us, arrives 62; score 62..66, so 6 us late, three times.
ENERGY = (100 + 200 + 150) + (11 + 40 + 11) + (700 + 3000) + (2 * 12 + 10 * 40 + 5 * 53)
ANSWER: dict[str, Any] = {
    "format": "leo-placement/1",
    "problem": "by hand",
    "solver": "hand",
    "status": "feasible",
    "criteria": {"tardiness": 18, "energy": ENERGY, "makespan": 66, "accuracy_loss": 50},
    "bounds": [18, 100],
    "stages": [
        {"stage": "sense", "resource": "dsp", "lane": 1, "start_us": 2, "end_us": 12},
        {"stage": "mfcc", "resource": "cpu", "lane": 0, "start_us": 20, "end_us": 32},
        {"stage": "gmm", "resource": "cpu", "lane": 0, "start_us": 32, "end_us": 40},
        {"stage": "score", "resource": "cloud", "lane": 3, "start_us": 62, "end_us": 66},
    ],
    "transfers": [
        {"stage": "sense", "source": "dsp", "target": "cpu", "start_us": 12, "arrive_us": 19},
        {"stage": "mfcc", "source": "cpu", "target": "cloud", "lane": 0, "start_us": 50, "arrive_us": 62},
    ],
}

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def judged(change: Change | None = None) -> CheckReport:
    """The report on the hand-made answer after a change to the question or the answer."""
    question, answer = Problem.from_dict(QUESTION).model_dump(), Placement.from_dict(ANSWER).model_dump()
    question, answer = _lists(question), _lists(answer)
    if change is not None:
        change(question, answer)
    return check(Problem.from_dict(question), Placement.from_dict(answer))


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lists(v) for k, v in value.items() if not (k == "ready_us" and not v)}
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value


def run(index: int, /, **values: object) -> Change:
    return lambda _, answer: answer["stages"][index].update(values)


def send(index: int, /, **values: object) -> Change:
    return lambda _, answer: answer["transfers"][index].update(values)


def ask(part: str, index: int, /, **values: object) -> Change:
    return lambda question, _: question[part][index].update(values)


def says(**values: object) -> Change:
    return lambda _, answer: answer.update(values)


def both(*changes: Change) -> Change:
    def change(question: dict[str, Any], answer: dict[str, Any]) -> None:
        for one in changes:
            one(question, answer)

    return change


def drop(part: str, index: int) -> Change:
    return lambda _, answer: answer[part].pop(index)


def again(part: str, index: int) -> Change:
    return lambda _, answer: answer[part].append(answer[part][index])


def test_the_hand_made_answer_is_right() -> None:
    report = judged()
    assert report.ok
    assert report.criteria == Criteria(tardiness=18, energy=ENERGY, makespan=66, accuracy_loss=50)


@pytest.mark.parametrize(
    "change",
    [
        lambda _, answer: answer["stages"].reverse(),
        lambda _, answer: answer["transfers"].reverse(),
        says(criteria=None),
        run(3, lane=0),
        send(0, lane=1),  # no lane is asked for there, so none is judged
        both(run(3, start_us=63, end_us=67), says(criteria=None)),
        both(send(0, arrive_us=20), says(criteria=None)),
        ask("resources", 1, memory_bytes=0),
        lambda question, _: question.update(limits={"makespan": 66, "energy": ENERGY}),
    ],
)
def test_what_no_rule_forbids_is_right(change: Change) -> None:
    assert judged(change).violations == ()


BROKEN: list[tuple[int, Change]] = [
    (1, drop("stages", 3)),
    (1, again("stages", 3)),
    (1, run(0, stage="nobody")),
    (1, run(0, resource="nowhere")),
    (1, run(0, variant="fp8")),
    (1, run(2, resource="dsp")),
    (1, run(3, end_us=67)),
    (1, run(3, start_us=61)),
    (1, run(3, lane=4)),
    (1, run(3, lane=-1)),
    (1, run(0, lane=0)),  # ready at 5
    (1, run(2, start_us=31, end_us=39)),  # overlaps mfcc
    (1, both(run(2, start_us=20, end_us=28))),
    (1, send(1, lane=None)),
    (1, send(1, lane=1)),
    (1, ask("resources", 3, ready_us=[51])),
    (1, run(0, start_us=-5, end_us=5)),
    (2, ask("resources", 1, wake_latency_us=21)),
    (2, ask("resources", 3, wake_latency_us=51)),
    (3, ask("stages", 0, release_us=3)),
    (3, send(0, arrive_us=21)),
    (3, run(3, start_us=61, end_us=65)),
    (3, ask("stages", 1, inputs=["sense", "gmm"])),
    (4, drop("transfers", 0)),
    (4, again("transfers", 0)),
    (4, send(0, source="cpu")),
    (4, send(0, target="cloud")),
    (4, send(0, stage="nobody")),
    (4, send(0, start_us=11)),
    (4, send(0, arrive_us=18)),
    (4, send(1, arrive_us=61)),
    (4, lambda question, _: question["links"].pop(0)),
    (4, lambda question, _: question["links"][0].update(bytes_per_s=900_000)),
    (5, ask("resources", 0, memory_bytes=49)),
    (7, lambda question, _: question["accuracy_budgets"][0].update(loss_ppm_max=49)),
    (7, lambda question, _: question.update(limits={"makespan": 65})),
    (7, lambda question, _: question.update(limits={"energy": ENERGY - 1})),
    (7, lambda question, _: question.update(limits={"tardiness": 17})),
    (7, lambda question, _: question.update(limits={"accuracy_loss": 49})),
    (0, says(criteria={"tardiness": 17, "energy": ENERGY, "makespan": 66, "accuracy_loss": 50})),
    (0, says(criteria={"tardiness": 18, "energy": ENERGY + 1, "makespan": 66, "accuracy_loss": 50})),
    (0, ask("resources", 3, awake_mw=6)),
    (0, ask("resources", 3, wake_energy_nj=2999)),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN)
def test_each_broken_rule_is_named(rule: int, change: Change) -> None:
    report = judged(change)
    assert rule in {violation.rule for violation in report.violations}, report.violations
    assert all(
        violation.text and str(violation).startswith("rule ") == (violation.rule > 0) for violation in report.violations
    )


def test_a_transfer_of_no_time_overlaps_nothing_but_uses_its_resource() -> None:
    def instant(question: dict[str, Any], answer: dict[str, Any]) -> None:
        question["links"][1]["bytes_per_s"] = None
        answer["criteria"] = None
        answer["transfers"][1].update(arrive_us=59)

    report = judged(instant)
    assert report.violations == ()
    assert report.criteria is not None
    assert report.criteria.energy == ENERGY - 5 * 3  # the radio is awake until 50, not 53

    asleep = judged(both(instant, ask("resources", 3, wake_latency_us=51)))
    assert [violation.rule for violation in asleep.violations] == [2]


@pytest.mark.parametrize(
    "change",
    [
        says(problem="another"),
        says(status="optimal"),
        says(bounds=[19, 0]),
        says(bounds=[18]),
        says(bounds=[18, ENERGY, 66]),
        says(bounds=[18, ENERGY + 1]),
        says(reason="none"),
        says(status="infeasible", reason="because"),
        says(status="infeasible", stages=[], transfers=[], criteria=None, bounds=[]),
    ],
)
def test_claims_that_cannot_be_are_named(change: Change) -> None:
    report = judged(change)
    assert report.false_claims
    assert not report.ok


def test_a_proof_and_a_reasoned_infeasible_are_taken_at_their_word() -> None:
    assert judged(says(status="optimal", bounds=[18, ENERGY])).ok
    report = judged(says(status="infeasible", stages=[], transfers=[], criteria=None, bounds=[], reason="rule 5"))
    assert report.ok
    assert report.criteria is None


def test_an_empty_question_has_an_empty_answer() -> None:
    problem = Problem(format="leo-problem/1", name="nothing", resources=(), stages=())
    answer = Placement(format="leo-placement/1", problem="nothing", solver="hand", status="optimal", bounds=(0, 0))
    assert check(problem, answer) == CheckReport(Criteria(tardiness=0, energy=0, makespan=0, accuracy_loss=0))


NAMES = st.sampled_from(["s0", "s1", "sensor0", "features0", "step0", "dsp", "cpu", "gpu", "wifi", "x"])
NUMBERS = st.integers(-(10**16), 10**16) | st.integers(-3, 30)
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
    }
)


@settings(max_examples=150, deadline=None)
@given(
    problem=problems(4),
    runs=st.lists(RUNS, max_size=5),
    sends=st.lists(SENDS, max_size=4),
    status=st.sampled_from(["optimal", "feasible", "infeasible"]),
    bounds=st.lists(NUMBERS, max_size=3),
)
def test_nonsense_is_judged_without_failing(
    problem: Problem, runs: list[object], sends: list[object], status: str, bounds: list[int]
) -> None:
    answer = {"format": "leo-placement/1", "problem": "x", "solver": "x", "status": status, "bounds": bounds}
    report = check(problem, Placement.from_dict({**answer, "stages": runs, "transfers": sends}))
    assert not report.ok


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_a_right_answer_moved_by_one_microsecond_is_judged_by_what_follows(seed: int, data: st.DataObject) -> None:
    """Shrinking any stage's run or moving any start alone breaks rule 1: its duration is no longer its mode's."""
    problem = random_problem(seed, stages=5, features=("lanes", "wake", "cloud", "variants"))
    answer = solve(problem, "heft")
    assert check(problem, answer).violations == ()
    index = data.draw(st.integers(0, len(answer.stages) - 1))
    by = data.draw(st.sampled_from([-1, 1]))
    moved = answer.stages[index].model_copy(update={"end_us": answer.stages[index].end_us + by})
    stages = (*answer.stages[:index], moved, *answer.stages[index + 1 :])
    report = check(problem, answer.model_copy(update={"stages": stages}))
    assert 1 in {violation.rule for violation in report.violations}


JUNK = st.sampled_from([None, 1.5, True, "x", -1, object(), (), [1], {"stage": 1}, float("nan"), Placement, b"\xff"])


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_an_answer_built_past_its_checks_is_judged_without_failing(seed: int, data: st.DataObject) -> None:
    """A document's copies and what `model_construct` makes may hold anything."""
    problem = random_problem(seed, stages=3, features=("lanes", "wake", "variants"))
    answer = solve(problem, "heft")
    where = data.draw(st.sampled_from(["answer", "run", "send", "criteria"]))
    junk = data.draw(JUNK)
    if where == "answer":
        field = data.draw(st.sampled_from(sorted(Placement.model_fields)))
        answer = answer.model_copy(update={field: junk})
    elif where == "run":
        field = data.draw(st.sampled_from(["stage", "resource", "variant", "lane", "start_us", "end_us"]))
        answer = answer.model_copy(update={"stages": (answer.stages[0].model_copy(update={field: junk}),)})
    elif where == "send":
        answer = answer.model_copy(update={"transfers": (*answer.transfers, junk)})
    else:
        assert answer.criteria is not None
        answer = answer.model_copy(update={"criteria": answer.criteria.model_copy(update={"energy": junk})})
    assert isinstance(check(problem, answer), CheckReport)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "the answer is no Placement, but of type NoneType"),
        ({"format": "leo-placement/1"}, "the answer is no Placement, but of type dict"),
        (Placement.model_construct(), 'the answer is no placement: the key "format" is missing, at $.format'),
        (Placement.model_construct(stages=7), "the answer is no placement"),
    ],
)
def test_what_is_no_placement_breaks_the_rules_of_an_answer(answer: Any, says: str) -> None:
    report = check(Problem.from_dict(QUESTION), answer)
    assert report.criteria is None and not report.ok
    assert says in str(report.violations[0])


def test_what_is_no_problem_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="the question is a Problem, got dict"):
        check(QUESTION, judged)  # type: ignore[arg-type]
