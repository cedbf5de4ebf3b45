"""Frame after frame: the same answers as solving anew, the plan table, and when the last answer is kept."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Problem
from leo_runtime.errors import InputError
from leo_runtime.frame.conditions import Conditions
from leo_runtime.judge import check
from leo_runtime.solver import compiled, limits, solve
from leo_runtime.solver.replan import Replanner, solving_nj
from leo_runtime.testing import random_problem
from test_limits import PassedTimer


def workload(seed: int = 1) -> Problem:
    """Nine stages on three processors that may sleep, each with one or more lanes."""
    features = ("lanes", "wake", "variants")
    return random_problem(seed, stages=9, features=features, urgency="medium", objective=("tardiness", "energy"))


def conditions(problem: Problem) -> st.SearchStrategy[Conditions]:
    """Any frame: other links, lanes busy, resources asleep, only the first so many stages run."""
    names = [resource.name for resource in problem.resources]
    lanes = {resource.name: resource.lanes for resource in problem.resources}
    busy = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), st.tuples(*[st.integers(0, 20_000)] * lanes[name]))
    )
    pairs = st.sampled_from([(link.source, link.target) for link in problem.links])
    slower = st.tuples(pairs, st.sampled_from([None, (9_000, None), (500, 20_000)]))
    ordered = [stage.name for stage in problem.stages]
    return st.builds(
        Conditions,
        ready_us=st.lists(busy, max_size=2).map(tuple),
        asleep=st.sampled_from(names).map(lambda name: (name,)),
        links=st.lists(slower, max_size=2, unique_by=lambda link: link[0]).map(tuple),
        stages=st.one_of(st.none(), st.integers(1, len(ordered)).map(lambda size: tuple(ordered[:size]))),
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_frame_is_answered_as_if_it_were_solved_anew(data: st.DataObject) -> None:
    problem = workload()
    replanner = Replanner(problem)
    for frame in data.draw(st.lists(conditions(problem), min_size=1, max_size=4)):
        answered, asked = replanner.frame(frame), frame.applied(problem)
        anew = solve(asked)
        assert not check(asked, answered).violations
        assert (answered.status, answered.bounds) == (anew.status, anew.bounds)


def test_frames_of_a_workload_too_large_to_be_searched_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = workload(3)
    monkeypatch.setattr(compiled, "COMPILED", False)
    monkeypatch.setattr(compiled.interpreted("clauses"), "VARIABLES", 10)
    replanner = Replanner(problem)
    for frame in (Conditions(), Conditions(asleep=("cpu",)), Conditions()):
        answer = replanner.frame(frame)
        assert answer.criteria is not None and not check(frame.applied(problem), answer).violations


def test_bounds_hold_where_a_later_frame_is_cut_short() -> None:
    problem = random_problem(4, stages=12, features=("lanes", "wake", "variants"), urgency="late")
    problem = problem.model_copy(update={"objective": ("tardiness", "energy")})
    replanner = Replanner(problem, limit_nodes=3)
    short = 0
    for busy in range(0, 30_000, 3_000):
        lanes = tuple((resource.name, (busy,) * resource.lanes) for resource in problem.resources)
        frame = Conditions(ready_us=lanes)
        answer, best = replanner.frame(frame), solve(frame.applied(problem))
        assert answer.criteria is not None and best.criteria is not None
        assert answer.bounds[0] <= best.criteria.tardiness <= answer.criteria.tardiness
        short += answer.status == "feasible"
    assert short


def test_a_known_frame_comes_from_the_table() -> None:
    replanner = Replanner(workload())
    known = Conditions(asleep=("cpu",))
    replanner.precompute([Conditions(), known])
    assert replanner.frame(Conditions(asleep=("cpu",))) is replanner.table[known]


@pytest.mark.parametrize("margin_ppm", [0, 30_000, 1_000_000])
def test_the_last_answer_is_kept_only_within_the_margin_and_only_if_switching_costs_more(margin_ppm: int) -> None:
    problem = workload(7)
    kept = 0
    for busy in range(0, 40_000, 4_000):
        replanner = Replanner(problem, switching_nj=10**9, margin_ppm=margin_ppm)
        lanes = tuple((resource.name, (busy,) * resource.lanes) for resource in problem.resources)
        first = replanner.frame(Conditions(ready_us=lanes))
        frame = Conditions()
        placement, best = replanner.frame(frame), solve(frame.applied(problem))
        assert placement.criteria is not None and best.criteria is not None
        assert not check(frame.applied(problem), placement).violations
        assert placement.criteria.tardiness == best.criteria.tardiness
        extra = placement.criteria.energy - best.criteria.energy
        assert 0 <= extra <= best.criteria.energy * margin_ppm // 10**6
        if extra:
            kept += 1
            places = [(run.stage, run.resource, run.variant) for run in first.stages]
            assert [(run.stage, run.resource, run.variant) for run in placement.stages] == places
    assert kept > 0 if margin_ppm == 1_000_000 else kept == 0 or margin_ppm > 0


def test_names_that_are_not_in_the_workload_are_refused() -> None:
    problem = workload()
    with pytest.raises(InputError, match="no resource `npu`"):
        Conditions(asleep=("npu",)).applied(problem)
    with pytest.raises(InputError, match="lanes, not the 9"):
        Conditions(ready_us=(("cpu", (0,) * 9),)).applied(problem)
    with pytest.raises(InputError, match="no stage `nothing`"):
        Conditions(stages=("nothing",)).applied(problem)
    reader = next(stage for stage in problem.stages if stage.inputs)
    with pytest.raises(InputError, match=r"its input `\w+` does not"):
        Conditions(stages=(reader.name,)).applied(problem)
    with pytest.raises(InputError, match="no link `cpu` -> `nowhere` to change"):
        Conditions(links=((("cpu", "nowhere"), (1, None)),)).applied(problem)


def test_solving_costs_what_the_processor_draws_while_it_solves() -> None:
    placement = solve(workload())
    assert solving_nj(placement, 300) == 300 * placement.solve_us


def test_a_frame_s_limit_leaves_it_with_bounds_that_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = ("tardiness", "energy")
    problem = random_problem(10, stages=16, features=("wake", "cloud", "variants"), urgency="late", objective=objective)
    least = Replanner(problem).frame(Conditions())
    monkeypatch.setattr(limits, "Timer", PassedTimer)
    hurried = Replanner(problem, limit_ms=1).frame(Conditions())
    assert (least.status, hurried.status) == ("optimal", "feasible")
    assert hurried.criteria is not None and least.criteria is not None
    assert hurried.bounds[0] <= least.criteria.tardiness <= hurried.criteria.tardiness
