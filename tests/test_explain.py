"""Explanations, on a frame small enough to see why: each rule binds once."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Problem
from leo_runtime.errors import InputError
from leo_runtime.solver import solve
from leo_runtime.solver.explain import Alternative, Explanation, explain, render
from leo_runtime.testing import random_problem

SLOW = {"resource": "dsp", "duration_us": 100, "energy_nj": 10}
FAST = {"resource": "cpu", "duration_us": 20, "energy_nj": 50}


def frame(**changes: Any) -> Problem:
    """One stage, cheap on the dsp and fast on the cpu; nothing forbids either."""
    return Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "frame",
            "resources": [{"name": "dsp"}, {"name": "cpu"}],
            "stages": [{"name": "model", "modes": [SLOW, FAST]}],
            **changes,
        }
    )


def other(problem: Problem, stage: str = "model") -> Alternative:
    """The one other mode of a stage of the best placement."""
    explanation = explain(problem, solve(problem), stage)
    assert [explained.run.stage for explained in explanation.stages] == [stage]
    (alternative,) = explanation.stages[0].alternatives
    return alternative


def test_a_dearer_mode_is_worse_by_what_it_costs() -> None:
    alternative = other(frame())
    assert (alternative.resource, alternative.verdict, alternative.proved) == ("cpu", "worse", True)
    assert dict(alternative.differences) == {"tardiness": 0, "energy": 40, "makespan": -80, "accuracy_loss": 0}
    assert alternative.bounds == (0, 50)
    assert alternative.binds == ()


def test_a_deadline_binds_the_cheaper_mode() -> None:
    alternative = other(frame(deadlines=[{"stage": "model", "deadline_us": 40}]))
    assert (alternative.resource, alternative.verdict) == ("dsp", "worse")
    assert dict(alternative.differences)["tardiness"] == 60
    assert alternative.binds == ("deadline",)


def test_a_memory_cap_makes_a_mode_impossible() -> None:
    resources = [{"name": "dsp", "memory_bytes": 5}, {"name": "cpu"}]
    alternative = other(
        frame(resources=resources, stages=[{"name": "model", "modes": [SLOW | {"memory_bytes": 6}, FAST]}])
    )
    assert (alternative.resource, alternative.verdict, alternative.criteria) == ("dsp", "impossible", None)
    assert alternative.binds == ("memory",)
    assert alternative.reason


def test_a_budget_and_a_limit_bind() -> None:
    lossy = [{"name": "model", "modes": [SLOW | {"accuracy_loss_ppm": 9}, FAST]}]
    budget = [{"stages": ["model"], "loss_ppm_max": 8}]
    assert other(frame(stages=lossy, accuracy_budgets=budget)).binds == ("budget",)
    assert other(frame(limits={"makespan": 99})).binds == ("limit",)


def test_a_wake_up_binds() -> None:
    resources = [{"name": "dsp", "awake": False, "wake_energy_nj": 1000}, {"name": "cpu"}]
    assert other(frame(resources=resources)).binds == ("wake-up",)


def test_a_busy_lane_binds() -> None:
    resources = [{"name": "dsp", "ready_us": [500]}, {"name": "cpu"}]
    alternative = other(frame(resources=resources, deadlines=[{"stage": "model", "deadline_us": 150}]))
    assert alternative.binds == ("deadline", "lane")


def test_more_lanes_than_anybody_could_list_do_not_bind() -> None:
    many = [{"name": "dsp"}, {"name": "cpu", "lanes": 10**15}]
    assert other(frame(resources=many)) == other(frame())


def test_a_link_binds_and_is_waited_for() -> None:
    sense = {"name": "sense", "modes": [{"resource": "dsp", "duration_us": 7, "energy_nj": 1, "output_bytes": 3}]}
    stages = [sense, {"name": "model", "inputs": ["sense"], "modes": [SLOW, FAST | {"energy_nj": 9}]}]
    link = {"source": "dsp", "target": "cpu", "bytes_per_s": 1_000_000, "latency_us": 2, "energy_nj": 400}
    alternative = other(frame(stages=stages, links=[link]))
    assert (alternative.resource, alternative.binds) == ("cpu", ("link",))
    assert other(frame(stages=stages)).verdict == "impossible"

    late = frame(stages=stages, links=[link], deadlines=[{"stage": "model", "deadline_us": 40}])
    (waits,) = (explained.waits for explained in explain(late, solve(late), "model").stages)
    assert [(wait.kind, wait.text) for wait in waits] == [("link", "sense (3 bytes) arrives from dsp at 12 us")]


def test_what_a_start_waits_for() -> None:
    problem = frame(
        resources=[{"name": "dsp", "ready_us": [3]}, {"name": "cpu", "awake": False, "wake_latency_us": 8}],
        stages=[
            {"name": "first", "modes": [SLOW]},
            {"name": "second", "inputs": ["first"], "modes": [SLOW]},
            {"name": "model", "modes": [FAST]},
            {"name": "late", "release_us": 44, "modes": [FAST]},
        ],
        objective=["makespan"],
    )
    stages = explain(problem, solve(problem)).stages
    assert {stage.run.stage: [wait.kind for wait in stage.waits] for stage in stages} == {
        "first": ["lane"],
        "second": ["input"],
        "model": ["wake-up"],
        "late": ["release"],
    }


def test_an_equal_mode_and_a_better_one_are_said_to_be() -> None:
    same = frame(stages=[{"name": "model", "modes": [SLOW, SLOW | {"resource": "cpu"}]}])
    assert other(same).verdict == "equal"
    problem = frame()
    chosen = solve(frame(stages=[{"name": "model", "modes": [FAST]}]))
    (alternative,) = explain(problem, chosen).stages[0].alternatives
    assert (alternative.resource, alternative.verdict) == ("dsp", "better")


def test_text_names_stage_mode_difference_and_rule() -> None:
    problem = frame(deadlines=[{"stage": "model", "deadline_us": 40}])
    assert render(explain(problem, solve(problem))) == (
        "frame: tardiness 0 us, energy 50 nJ, makespan 20 us, accuracy_loss 0 ppm\n"
        "\n"
        "model runs on cpu[0] as default, 0 to 20 us\n"
        "  on dsp as default: worse (tardiness +60 us, energy -40 nJ, makespan +80 us); deadline binds\n"
    )


def test_an_infeasible_frame_is_explained_by_its_reason() -> None:
    problem = frame(limits={"energy": 1})
    explanation = explain(problem, solve(problem))
    assert explanation.criteria is None
    assert explanation.reason in render(explanation)


def test_what_cannot_be_explained_is_refused() -> None:
    problem = frame()
    answer = solve(problem)
    with pytest.raises(InputError, match='no stage "modle"') as refused:
        explain(problem, answer, "modle")
    assert "model" in refused.value.hint
    moved = answer.stages[0].model_copy(update={"lane": 7})
    with pytest.raises(InputError, match="breaks a rule"):
        explain(problem, answer.model_copy(update={"stages": (moved,)}))


def shown(explanation: Explanation) -> list[Alternative]:
    return [alternative for stage in explanation.stages for alternative in stage.alternatives]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_mode_is_better_than_the_optimum(seed: int) -> None:
    problem = random_problem(seed, stages=5)
    answer = solve(problem)
    explanation = explain(problem, answer, limit_nodes=500_000)
    assert render(explanation).startswith(problem.name)
    for alternative in shown(explanation):
        assert alternative.verdict in ("worse", "equal", "impossible")
        assert alternative.proved


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_search_that_stops_claims_nothing(seed: int) -> None:
    problem = random_problem(seed, stages=7, urgency="tight")
    answer = solve(problem)
    for stopped, known in zip(
        shown(explain(problem, answer, limit_nodes=2)), shown(explain(problem, answer)), strict=True
    ):
        assert stopped.verdict in ("open", known.verdict)
        assert known.verdict != "better"
