"""From what a frame finds to a plan: asked once, kept, and who answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from leo_runtime.dispatch import plan
from leo_runtime.dispatch.plan import Plan
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.errors import InputError, SolverError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime import planner
from leo_runtime.solver import solve
from test_runtime import LOUD, bench, loud_graph, one, other_graph, simulated


@pytest.mark.parametrize("solver", ["exact", "heft"])
def test_a_processor_may_be_lost_in_its_sleep(solver: str) -> None:
    with simulated(solver=solver, hardware=bench(idle_timeout_us=0)) as runtime:
        runtime.lose("fast")
        runtime.submit(0, {"sound": LOUD}, links={("cpu", "fast"): (9, None)})
        result = one(runtime.drain())
    assert result.graphs[0].outcome == "done"
    assert {stage.resource for stage in result.stages} == {"cpu"}


def test_a_plan_is_made_once_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Plan] = []

    def counted(*given: object) -> Plan:
        made.append(plan.make_plan(*given))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(planner, "make_plan", counted)
    with simulated(hardware=bench(idle_timeout_us=None)) as runtime:
        for k in range(3):
            runtime.submit(k * 1000, {"sound": LOUD})
        solve_us = [result.placement.solve_us for result in runtime.drain()]
    assert len(made) == 1
    assert solve_us == [made[0].placement.solve_us, 0, 0]


def test_links_that_change_all_the_time_are_questions_of_one_kind() -> None:
    with simulated(solver="exact", window_stages=0) as runtime:
        for k in range(5):
            runtime.submit(k * 1000, {"sound": LOUD}, links={("cpu", "fast"): (2 + k, None)})
        assert all(result.graphs[0].outcome == "done" for result in runtime.drain())
        assert len(runtime._now.placer._planner._usual) == len(runtime._now.placer._planner._replanners) == 1


def answered_by(solver: Callable[[Problem], object], frames: int = 2, **options: Any) -> tuple[FrameResult, ...]:
    """Frames a millisecond apart; the first is answered by HEFT, so that what goes wrong later fails frames alone."""
    first = True

    def after_the_first(problem: Problem) -> Any:
        nonlocal first
        if first:
            first = False
            return solve(problem, "heft")
        return solver(problem)

    with simulated(loud_graph(), other_graph(), solver=after_the_first, **options) as runtime:
        runtime.submit(0, {"sound": LOUD}, graphs=("other",))
        for k in range(1, frames):
            runtime.submit(k * 100_000, {"sound": LOUD}, graphs=("loud",))
        return runtime.drain()


def test_an_error_is_no_answer_to_keep() -> None:
    """One bad moment of a solver must not make a question unanswerable for ever."""
    asked = 0

    def solver(problem: Problem) -> Placement:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise SolverError("not now")
        return solve(problem, "heft")

    _, bad, good, again = answered_by(solver, frames=4, hardware=bench(idle_timeout_us=None))
    assert bad.placement.reason == "the solver found no placement (not now)"
    assert [graph.outcome for graph in (*bad.graphs, *good.graphs, *again.graphs)] == ["failed", "done", "done"]
    assert asked == 2, "a question that was answered is not asked again"


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("x"), InputError("so"), ZeroDivisionError()])
def test_whatever_a_solver_of_ones_own_raises_fails_its_frame_and_is_told(error: Exception) -> None:
    def solver(_: Problem) -> Placement:
        raise error

    _, bad = answered_by(solver)
    assert [graph.outcome for graph in bad.graphs] == ["failed"]
    assert str(error) in str(bad.placement.reason)


def test_whatever_it_raises_at_first_is_a_solver_error_that_names_it() -> None:
    def mine(_: Problem) -> Placement:
        raise RuntimeError("boom")

    with simulated(solver=mine) as runtime:
        with pytest.raises(
            SolverError, match=r"the solver `.*mine` raised RuntimeError: boom \(test_planner\.py:\d+\)"
        ) as error:
            runtime.submit(0, {"sound": LOUD})
        assert isinstance(error.value.__cause__, RuntimeError)


class Mine:
    """A solver with something to remember."""

    def __call__(self, _: Problem) -> Placement:
        raise RuntimeError("boom")

    def answer(self, _: Problem, seed: int = 0) -> Placement:
        raise RuntimeError(f"boom {seed}")


@pytest.mark.parametrize("solver", [Mine(), Mine().answer, partial(Mine().answer, seed=3)])
def test_whatever_kind_of_function_it_is_its_line_is_told(solver: Any) -> None:
    with simulated(solver=solver) as runtime:
        with pytest.raises(SolverError, match=r"raised RuntimeError: boom.* \(test_planner\.py:\d+\)") as error:
            runtime.submit(0, {"sound": LOUD})
        line = int(str(error.value).rpartition(":")[2].rstrip(")"))
        assert "raise RuntimeError" in Path(__file__).read_text().splitlines()[line - 1]


def without_a_stage(answer: Placement) -> object:
    return answer.model_copy(update={"stages": answer.stages[:-1], "criteria": None})


def with_a_foreign_stage(answer: Placement) -> object:
    stranger = answer.stages[0].model_copy(update={"stage": "nobody"})
    return answer.model_copy(update={"stages": (*answer.stages, stranger)})


def on_a_processor_that_is_not_there(answer: Placement) -> object:
    moved = answer.stages[0].model_copy(update={"resource": "npu"})
    return answer.model_copy(update={"stages": (moved, *answer.stages[1:])})


def without_its_transfers(answer: Placement) -> object:
    assert answer.transfers
    return answer.model_copy(update={"transfers": ()})


def before_its_inputs(answer: Placement) -> object:
    early = tuple(run.model_copy(update={"start_us": 0, "end_us": run.end_us - run.start_us}) for run in answer.stages)
    return answer.model_copy(update={"stages": early, "criteria": None})


def all_on_one_lane_at_once(answer: Placement) -> object:
    return answer.model_copy(update={"stages": tuple(run.model_copy(update={"lane": 7}) for run in answer.stages)})


def claiming_too_much(answer: Placement) -> object:
    return answer.model_copy(update={"status": "optimal", "bounds": ()})


def of_another_question(answer: Placement) -> object:
    return answer.model_copy(update={"problem": "lunch"})


def of_another_format(answer: Placement) -> object:
    return answer.model_copy(update={"format": "leo-placement/99"})


def a_dict(answer: Placement) -> object:
    return answer.model_dump()


WRONG: list[tuple[Callable[[Placement], object], str]] = [
    (without_a_stage, "rule 1: scores is not placed"),
    (with_a_foreign_stage, "rule 1: nobody is no stage of the problem"),
    (on_a_processor_that_is_not_there, "rule 1: sound has no mode npu/default"),
    (without_its_transfers, "rule 4: the output of sound is never sent to fast"),
    (before_its_inputs, "rule 3: scores starts before"),
    (all_on_one_lane_at_once, "rule 1: sound is on lane 7 of cpu, which has 1"),
    (claiming_too_much, "the status is optimal, the bounds do not prove it"),
    (of_another_question, 'it answers "lunch", the question is "loud"'),
    (of_another_format, 'got "leo-placement/99", at $.format'),
    (a_dict, "the answer is no Placement, but of type dict"),
    (lambda _: None, "the answer is no Placement, but of type NoneType"),
    (lambda _: Placement.model_construct(), 'the key "format" is missing'),
]


@pytest.mark.parametrize(("spoil", "says"), WRONG, ids=lambda value: getattr(value, "__name__", "says"))
def test_a_wrong_answer_fails_its_frame_and_says_which_rule_broke(
    spoil: Callable[[Placement], object], says: str
) -> None:
    def mine(problem: Problem) -> object:
        return spoil(solve(problem, "heft"))

    _, bad = answered_by(mine)
    assert [graph.outcome for graph in bad.graphs] == ["failed"]
    assert "the solver `answered_by.<locals>.after_the_first` is wrong: " in str(bad.placement.reason)
    assert says in str(bad.placement.reason)
    with simulated(solver=mine) as runtime, pytest.raises(SolverError, match="mine` is wrong: ") as error:
        runtime.submit(0, {"sound": LOUD})
    assert says in str(error.value) and "leo_runtime.check" in error.value.hint


def test_only_the_first_broken_rules_are_named_and_the_rest_counted() -> None:
    def mine(problem: Problem) -> Placement:
        answer = solve(problem, "heft")
        return answer.model_copy(update={"stages": ()})

    with simulated(loud_graph(), other_graph(), solver=mine) as runtime, pytest.raises(SolverError) as error:
        runtime.submit(0, {"sound": LOUD})
    assert str(error.value).endswith("; and 1 more")


def test_a_wrong_answer_of_a_batch_is_not_believed_either() -> None:
    def mine(problem: Problem) -> object:
        return without_a_stage(solve(problem, "heft"))

    with simulated(solver=mine) as runtime, pytest.raises(SolverError, match="rule 1: scores#"):
        runtime.submit_batch([(0, {"sound": LOUD}), (1000, {"sound": LOUD})])


def test_criteria_that_an_answer_does_not_give_are_the_rules_own() -> None:
    def mine(problem: Problem) -> Placement:
        return solve(problem, "heft").model_copy(update={"criteria": None, "bounds": (), "status": "feasible"})

    with simulated(solver=mine) as runtime:
        runtime.submit(0, {"sound": LOUD})
        result = one(runtime.drain())
    assert result.placement.criteria is not None and result.placement.criteria.makespan > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"solver": solve, "limit_ms": 5}, "`limit_ms` does nothing with a solver of your own"),
        ({"solver": solve, "limit_nodes": 5}, "`limit_nodes` does nothing with a solver of your own"),
        ({"solver": solve, "switching_nj": 5}, "`switching_nj` does nothing with the solver of your own"),
        ({"solver": "greedy", "switching_nj": 5}, "`switching_nj` does nothing with the solver `greedy`"),
        (
            {"solver": "exact", "limit_ms": 5, "switching_nj": 5},
            "`switching_nj` does nothing with the solver `exact` and `limit_ms`",
        ),
        ({"solver": 7}, "a function from Problem to Placement, or an event-driven policy, got int"),
        ({"limit_ms": -1}, "`limit_ms` is at least 0, got -1"),
        ({"limit_nodes": 1.5}, "`limit_nodes` is a whole number, got 1.5"),
        ({"limit_nodes": True}, "`limit_nodes` is a whole number, got True"),
        ({"switching_nj": -1}, "`switching_nj` is at least 0, got -1"),
        ({"seed": "x"}, "`seed` is a whole number, got 'x'"),
    ],
)
def test_an_argument_that_does_nothing_or_cannot_be_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        simulated(**options)
