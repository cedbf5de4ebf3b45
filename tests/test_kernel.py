"""The kernel's list scheduling: by hand, compiled against interpreted, and beyond 64 bits."""

from time import perf_counter_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.documents.problem import Problem
from leo_runtime.solver import solve
from leo_runtime.solver.compiled import Compiled, clause_search


def problem(**changes: object) -> Problem:
    """Two stages, a processor with two lanes, one that sleeps, and a radio between them."""
    big = {"duration_us": 10, "energy_nj": 100, "output_bytes": 50}
    return Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "small",
            "resources": [
                {"name": "dsp", "lanes": 2, "ready_us": [7, 3], "awake_mw": 2},
                {"name": "cpu", "awake": False, "wake_latency_us": 4, "wake_energy_nj": 1000},
                {"name": "wifi", "awake": False, "wake_latency_us": 20, "wake_energy_nj": 5},
            ],
            "links": [
                {
                    "source": "dsp",
                    "target": "cpu",
                    "latency_us": 2,
                    "bytes_per_s": 10_000_000,
                    "energy_nj": 6,
                    "energy_pj_per_byte": 30,
                    "resource": "wifi",
                }
            ],
            "stages": [
                {"name": "last", "inputs": ["first"], "modes": [big | {"resource": "dsp"}, big | {"resource": "cpu"}]},
                {"name": "first", "release_us": 1, "modes": [big | {"resource": "dsp"}, big | {"resource": "cpu"}]},
            ],
            "deadlines": [{"stage": "last", "deadline_us": 20, "weight": 3}],
            **changes,
        }
    )


def test_a_schedule_is_what_the_rules_say() -> None:
    compiled = Compiled(problem())
    kernel = compiled.kernel()
    # first on dsp lane 1 from 3 to 13, sent from 20 (wifi wakes) for 5, arrives at 27, last on cpu from 27 to 37.
    criteria = (3 * 17, 100 + 100 + 6 + 2 + 5 + 1000 + 2 * 13, 37, 0)
    assert kernel.evaluate([0, 1], [0, 1]) == (*criteria, 0)
    assert kernel.answer() == [*criteria, 0, 1, 3, 3, 2, 27, 0, 1, 3, 20, 27]
    placement = compiled.placement(kernel.answer(), "hand", "feasible", (), perf_counter_ns())
    assert [(run.stage, run.resource, run.lane, run.start_us, run.end_us) for run in placement.stages] == [
        ("first", "dsp", 1, 3, 13),
        ("last", "cpu", 0, 27, 37),
    ]
    (sent,) = placement.transfers
    assert (sent.stage, sent.source, sent.target, sent.lane, sent.start_us, sent.arrive_us) == (
        ("first", "dsp", "cpu", 0, 20, 27)
    )


def test_a_missing_link_and_a_broken_cap_are_counted() -> None:
    kernel = Compiled(problem()).kernel()
    assert kernel.evaluate([1, 0], [0, 1])[4] > 0
    assert Compiled(problem(limits={"makespan": 36})).kernel().evaluate([0, 1], [0, 1])[4] == 1


def test_the_earliest_mode_is_chosen_where_none_is_given() -> None:
    kernel = Compiled(problem()).kernel()
    assert kernel.evaluate([-1, -1], [0, 1])[:3] == (9, 200 + 2 * 23, 23)


def test_lanes_that_nothing_could_use_are_left_out() -> None:
    many = [
        {"name": "dsp", "lanes": 10**15},
        {"name": "cpu", "lanes": 5, "ready_us": [9, 8, 1, 8, 2]},
        {"name": "wifi"},
    ]
    compiled = Compiled(problem(resources=many))
    assert compiled.lane_numbers == [0, 1, 2, 4, 0]


@given(st.lists(st.integers(-1, 1), min_size=2, max_size=2), st.sampled_from([1, 10**9, 10**13]))
def test_compiled_and_interpreted_schedule_alike_and_numbers_have_no_limit(modes: list[int], weight: int) -> None:
    compiled = Compiled(problem(deadlines=[{"stage": "last", "deadline_us": 20, "weight": weight}]))
    kernels = [compiled.kernel(), compiled.kernel(by_interpreter=True)]
    first, second = (kernel.evaluate(modes, [0, 1]) for kernel in kernels)
    assert first == second
    assert kernels[0].answer() == kernels[1].answer()


def test_products_beyond_64_bits_are_exact() -> None:
    huge = 10**15
    compiled = Compiled(problem(deadlines=[{"stage": "last", "deadline_us": 0, "weight": huge}] * 1000))
    assert compiled.wide
    assert compiled.kernel().evaluate([0, 0], [0, 1])[0] == 1000 * huge * 23


def test_interpreted_arrays_are_kept_once() -> None:
    kernel = Compiled(problem()).kernel(by_interpreter=True)
    search = clause_search(kernel)
    own = {name: array for name, array in vars(kernel).items() if isinstance(array, list) and name != "data"}
    # The first eight numbers of the data and that of the criteria are kept by themselves.
    assert sum(len(array) for array in own.values()) == kernel.at + kernel.given - 8 - 1
    shared = {id(array) for array in own.values()}
    found = [array for array in vars(search).values() if isinstance(array, list) and id(array) not in shared]
    assert sum(len(array) for array in found) == search.at


@pytest.mark.parametrize("resources", [1, 12, 40])
@pytest.mark.parametrize("stages", [1, 7, 100])
@pytest.mark.parametrize("lanes", [1, 4])
def test_a_kernel_has_the_room_it_needs(resources: int, stages: int, lanes: int) -> None:
    """Of many resources and few modes most goes to where each output could be sent."""
    modes = [{"resource": f"r{k}", "duration_us": 1, "energy_nj": 1} for k in range(resources)]
    problem = Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "room",
            "resources": [{"name": f"r{k}", "lanes": lanes} for k in range(resources)],
            "stages": [{"name": f"s{i}", "modes": [modes[i % resources]]} for i in range(stages)],
            "deadlines": [{"stage": f"s{i}", "deadline_us": 5} for i in range(stages)],
            "objective": ["energy"],
        }
    )
    assert Compiled(problem).kernel().root() == 1
    assert solve(problem).status == "optimal"
