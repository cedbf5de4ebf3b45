"""A problem written down: by hand, compiled against interpreted, and where 64 bits end."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Problem
from leo_runtime.solver.compiled import COMPILED, flattened, interpreted
from leo_runtime.solver.search.flatten import Flat, topological
from leo_runtime.testing import random_problem


def written(flat: Flat) -> tuple[object, ...]:
    """All that others read of a problem written down."""
    stages = flat.stages
    return (
        *(list(flat.page.data), flat.wide, flat.name, flat.resources, flat.lane_numbers),
        *(stages.names, stages.costs, [stage.name for stage in stages.documents]),
    )


def heavy(energy_nj: int) -> Problem:
    """One stage of so much energy, which no document could hold beyond 10^15."""
    problem = random_problem(2, stages=1, features=(), processors=1)
    (stage,) = problem.stages
    modes = tuple(mode.model_copy(update={"energy_nj": energy_nj}) for mode in stage.modes)
    return problem.model_copy(update={"stages": (stage.model_copy(update={"modes": modes}),)})


def test_each_number_is_where_the_kernel_looks_for_it() -> None:
    mode = {"resource": "b", "duration_us": 10, "energy_nj": 11, "output_bytes": 12, "memory_bytes": 13}
    document = {
        "format": "leo-problem/1",
        "name": "two",
        "resources": [
            {"name": "a", "awake": False, "wake_latency_us": 1, "wake_energy_nj": 2},
            {"name": "b", "lanes": 2, "ready_us": [7, 8], "awake_mw": 3, "memory_bytes": 4},
        ],
        "links": [
            {"source": "b", "target": "a", "latency_us": 5, "bytes_per_s": 6, "energy_nj": 7, "energy_pj_per_byte": 8}
        ],
        "stages": [
            {"name": "last", "inputs": ["first"], "modes": [mode | {"resource": "a", "accuracy_loss_ppm": 14}]},
            {"name": "first", "release_us": 9, "modes": [mode, mode | {"variant": "small"}]},
        ],
        "deadlines": [{"stage": "last", "deadline_us": 20, "weight": 3}],
        "accuracy_budgets": [{"stages": ["first", "last"], "loss_ppm_max": 15}],
        "limits": {"makespan": 16},
        "objective": ["energy", "tardiness"],
    }
    flat = flattened(Problem.from_dict(document))
    assert list(flat.page.data) == [
        *(2, 2, 3, 1, 3, 1, 1, 2),  # stages, resources, modes, inputs, lanes, deadlines, budgets, their members
        *(0, 1, 3),  # first lanes
        *(1, 0, 1, 0, 2, 0, 0, 3, -1, 4),  # asleep, wake-up time and energy, power awake, memory
        *(0, 7, 8),  # when lanes are ready
        *(0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, -1, 1, 5, 6, 7, 8, -1, 0, 0, 0, 0, 0, -1),  # a-a, a-b, b-a, b-b
        *(9, 0, 0, 0, 1, 0),  # releases, first inputs, inputs
        *(0, 2, 3, 1, 1, 0),  # first modes, resources
        *(10, 10, 10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 0, 0, 14),
        *(1, 20, 3),
        *(0, 2, 0, 1, 15),
        *(-1, -1, 16, -1, 2, 1, 0, -1, -1),
    ]
    assert (flat.stages.names, flat.resources, flat.lane_numbers) == (["first", "last"], ["a", "b"], [0, 0, 1])


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_compiled_and_interpreted_write_the_same(seed: int, stages: int) -> None:
    problem = random_problem(seed, stages=stages)
    assert written(flattened(problem)) == written(interpreted("flatten").Flat(problem, None))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_stages_are_taken_out_going_through_them_again_and_again(seed: int, stages: int) -> None:
    problem = random_problem(seed, stages=stages)
    waiting = Random(seed).sample(problem.stages, stages)
    taken, done = [], set[str]()
    while waiting:
        for stage in tuple(waiting):
            if done.issuperset(stage.inputs):
                waiting.remove(stage)
                taken.append(stage)
                done.add(stage.name)
    shuffled = Random(seed).sample(problem.stages, stages)
    assert topological(shuffled) == interpreted("flatten").topological(shuffled) == taken


@pytest.mark.parametrize("energy_nj", [10**15, 10**17, 2**63 - 1, 2**63, 10**30])
def test_what_64_bits_cannot_count_is_wide(energy_nj: int) -> None:
    problem = heavy(energy_nj)
    flat = flattened(problem)
    assert flat.wide == (energy_nj > 10**15)
    assert written(flat) == written(interpreted("flatten").Flat(problem, None))


def test_stages_are_written_once_for_problems_alike_but_in_resources() -> None:
    problem = random_problem(5, stages=9, features=("wake", "power"))
    resources = tuple(resource.model_copy(update={"awake": not resource.awake}) for resource in problem.resources)
    other, stages = problem.model_copy(update={"resources": resources}), flattened(problem).stages
    assert flattened(other, stages).stages is stages
    assert written(flattened(other, stages)) == written(flattened(other))


# Two kinds of `Stages` there are only where one is compiled; interpreted, every number fits into the only one.
@pytest.mark.skipif(not COMPILED, reason="there is nothing compiled here")
def test_stages_written_by_the_interpreter_are_written_anew_where_numbers_fit_again() -> None:
    fits = heavy(1)
    stages = flattened(heavy(10**30)).stages
    assert type(stages) is not type(flattened(fits).stages)
    assert written(flattened(fits, stages)) == written(flattened(fits))
