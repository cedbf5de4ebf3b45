"""Windows drawn at random, and what their gates mean."""

import pytest
from hypothesis import given, settings

from leo_runtime.documents.window import CERTAIN, WindowProblem
from leo_runtime.solver.gates import Gates, share
from leo_runtime.testing.sensing_windows import KINDS, TRAITS, Kind, sensing_window
from leo_runtime.testing.windows import random_window, windows


def test_drawn_windows_have_every_feature_and_are_drawn_again_alike() -> None:
    drawn = [random_window(seed, stages=5) for seed in range(200)]
    resources = [resource for problem in drawn for resource in problem.resources]
    stages = [stage for problem in drawn for stage in problem.stages]
    assert any(len(problem.releases_us) > 2 for problem in drawn)
    assert any(resource.linger_us is None for resource in resources)
    assert any(resource.linger_us and resource.lingering_mw < resource.awake_mw for resource in resources)
    assert any(resource.awake_until_us for resource in resources)
    assert any(len(stage.gates) > 1 for stage in stages)
    assert any(len(Gates.of(problem).behind[stage.name]) > 1 for problem in drawn for stage in problem.stages)
    assert {0, CERTAIN} < {stage.chance_ppm for stage in stages if stage.gates}
    assert [random_window(seed, stages=5) for seed in range(20)] == drawn[:20]


def test_a_window_loads_again_as_it_was() -> None:
    for seed in range(50):
        problem = random_window(seed)
        assert WindowProblem.from_json(problem.to_json()) == problem


@settings(max_examples=60, deadline=None)
@given(problem=windows(6))
def test_the_gates_a_stage_is_behind_follow_each_other(problem: WindowProblem) -> None:
    """So of a list in which no gate is behind another, a stage is behind one gate at most."""
    behind = Gates.of(problem).behind
    for gates in behind.values():
        assert all(one == other or one in behind[other] or other in behind[one] for one in gates for other in gates)


@settings(max_examples=60, deadline=None)
@given(problem=windows(6))
def test_a_gate_opens_at_least_as_often_as_one_behind_it(problem: WindowProblem) -> None:
    gates = Gates.of(problem)
    for gate, likely in gates.opens_ppm.items():
        assert all(gates.opens_ppm[other] >= likely for other in gates.behind[gate])
    for stage in problem.stages:
        assert all(gates.opens_ppm[gate] >= stage.chance_ppm for gate in gates.behind[stage.name])


def test_lists_that_can_be_worth_it_cover_every_reader_and_have_no_gate_too_many() -> None:
    for seed in range(100):
        problem = random_window(seed, stages=6, features=("gates",))
        gates = Gates.of(problem)
        readers = [stage.name for stage in problem.stages if stage.gates][-2:]
        empty, *lists = gates.lists_for(readers)
        assert empty == ()
        for after in lists:
            assert all(gates.covers(after, reader) for reader in readers)
            for gate in after:
                assert not all(gates.covers([g for g in after if g != gate], reader) for reader in readers)


def test_a_share_is_rounded_up() -> None:
    assert [share(7, 300_000), share(10, 300_000), share(1, 1), share(0, CERTAIN), share(9, 0)] == [3, 3, 1, 0, 0]


def test_sensing_windows_are_of_every_kind_and_drawn_again_alike() -> None:
    drawn = [sensing_window(seed) for seed in range(120)]
    assert {problem.name.split("-")[0] for problem in drawn} == set(KINDS)
    assert {trait for problem in drawn for trait in problem.name.split("-")[2].split("+")} == {*TRAITS, "plain"}
    assert {len(problem.stages) for problem in drawn} == set(range(4, 21))
    assert {len(problem.releases_us) for problem in drawn} >= {1, 2, 3, 4}
    assert any(resource.awake_until_us for problem in drawn for resource in problem.resources)
    assert [sensing_window(seed) for seed in range(20)] == drawn[:20]
    for problem in drawn:
        assert WindowProblem.from_json(problem.to_json()) == problem


@pytest.mark.parametrize("kind", KINDS)
def test_a_sensing_window_is_as_large_as_asked_and_has_what_is_asked(kind: Kind) -> None:
    for traits in ((), ("wifi",), ("lte", "nested"), ("lanes", "late"), ("wifi", "tight")):
        problem = sensing_window(1, kind=kind, stages=7, traits=traits)
        assert len(problem.stages) == 7
        names = {resource.name for resource in problem.resources}
        assert {"wifi", "lte"} & names == {"wifi", "lte"} & set(traits)
