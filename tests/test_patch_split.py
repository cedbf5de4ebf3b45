"""Splitting a frame's patches over two networks and processors: the best there is, by trying all and by `exact`."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Criteria, Placement, StageRun
from leo_runtime.errors import InputError, SolverError
from leo_runtime.frame.patch_split import EASY, HARD, Split, Worker, as_problem, split
from leo_runtime.judge import check
from leo_runtime.solver import solve

TIMES = st.one_of(st.none(), st.integers(1, 20))


@st.composite
def questions(draw, patches: int, kinds: int) -> tuple[list[int], list[int], int, list[Worker]]:
    """Errors of either network, a budget, and workers of which the first runs both."""
    count = draw(st.integers(1, patches))
    errors = st.lists(st.integers(0, 12), min_size=count, max_size=count)
    easy, hard = draw(errors), draw(errors)
    number = draw(st.integers(1, kinds))
    workers = [
        Worker(
            f"w{i}",
            draw(TIMES if i else st.integers(1, 20)),
            draw(TIMES if i else st.integers(1, 20)),
            draw(st.integers(0, 9)),
            draw(st.integers(1, 2)),
            *draw(st.tuples(*[st.integers(0, 9)] * 3)),
        )
        for i in range(number)
    ]
    return easy, hard, draw(st.integers(0, sum(easy))), workers


def by_trying(easy: list[int], hard: list[int], error_max: int, workers: list[Worker]) -> int | None:
    """The least makespan of all ways to give each patch a network and a lane; None: no way is within the errors."""
    lanes = [worker for worker in workers for _ in range(worker.lanes)]
    ways = [(i, us, HARD) for i, one in enumerate(lanes) if (us := one.hard_us) is not None]
    ways += [(i, us, EASY) for i, one in enumerate(lanes) if (us := one.easy_us) is not None]
    best = None
    for chosen in product(ways, repeat=len(easy)):
        if sum(hard[p] if way[2] == HARD else easy[p] for p, way in enumerate(chosen)) <= error_max:
            ends = {lane: lanes[lane].start_us for lane, _, _ in chosen}
            for lane, us, _ in chosen:
                ends[lane] += us
            best = max(ends.values()) if best is None else min(best, max(ends.values()))
    return best


def placed(found: Split, easy: list[int], hard: list[int], workers: list[Worker]) -> Placement:
    """A split as the answer to its problem: each lane runs its patches one after the other."""
    by_name = {worker.name: worker for worker in workers}
    ends = {(worker.name, lane): worker.start_us for worker in workers for lane in range(worker.lanes)}
    runs = []
    for number, (network, place) in enumerate(zip(found.networks, found.places, strict=True)):
        worker = by_name[place[0]]
        takes = worker.hard_us if network == HARD else worker.easy_us
        assert takes is not None
        runs.append(StageRun(stage=f"patch {number}", resource=place[0], variant=network, lane=place[1],
                             start_us=ends[place], end_us=ends[place] + takes))  # fmt: skip
        ends[place] += takes
    errors = sum(hard[p] if network == HARD else easy[p] for p, network in enumerate(found.networks))
    criteria = Criteria(tardiness=0, energy=found.energy_nj, makespan=found.makespan_us, accuracy_loss=errors)
    return Placement(format="leo-placement/1", problem="patches", solver="split", status="feasible",
                     criteria=criteria, stages=tuple(runs))  # fmt: skip


@given(questions(4, 2))
@settings(max_examples=60, deadline=None)
def test_a_split_is_the_best_of_all_there_are(question) -> None:
    easy, hard, _, workers = question
    best, found = by_trying(*question), split(*question)
    assert found.within == (best is not None)
    if best is not None:
        assert found.makespan_us == best
        report = check(as_problem(*question), placed(found, easy, hard, workers))
        assert report.violations == report.false_claims == ()


@given(questions(6, 3))
@settings(max_examples=60, deadline=None)
def test_a_split_is_as_good_as_exact_finds(question) -> None:
    answer, found = solve(as_problem(*question)), split(*question)
    assert found.within == (answer.status == "optimal")
    if answer.criteria is not None:
        assert found.makespan_us == answer.criteria.makespan


@given(questions(5, 3), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_a_split_of_the_least_energy_is_as_good_as_exact_finds(question, deadline_us: int) -> None:
    easy, hard, _, workers = question
    if not split(*question).within:
        return
    problem = as_problem(*question, deadline_us)
    answer = solve(problem)
    if answer.criteria is None:
        with pytest.raises(SolverError, match=f"no split ends within {deadline_us} us"):
            split(*question, deadline_us)
        return
    found = split(*question, deadline_us)
    assert found.energy_nj == answer.criteria.energy
    report = check(problem, placed(found, easy, hard, workers))
    assert report.violations == report.false_claims == ()


def test_the_patches_with_the_most_to_gain_go_through_the_better_network() -> None:
    found = split([9, 1, 5, 7], [1, 1, 1, 1], 8, [Worker("cpu", 2, 10, lanes=2)])
    assert found == Split(12, 0, 2, True, (HARD, EASY, EASY, HARD), (("cpu", 0), ("cpu", 1), ("cpu", 0), ("cpu", 1)))


def test_what_no_split_reaches_is_told_and_done_as_well_as_can_be() -> None:
    found = split([9, 9], [5, 5], 9, [Worker("cpu", 1, 3)])
    assert (found.within, found.networks, found.makespan_us) == (False, (HARD, HARD), 6)


def test_a_processor_that_starts_late_is_left_out() -> None:
    workers = [Worker("gpu", 1, 1, start_us=100), Worker("cpu", 4, 20)]
    assert {place[0] for place in split([0] * 3, [0] * 3, 0, workers).places} == {"cpu"}


def test_a_network_that_nobody_runs_is_refused() -> None:
    with pytest.raises(SolverError, match="no worker runs a network"):
        split([5], [1], 2, [Worker("dsp", 3, None)])


def test_errors_are_of_the_same_patches_and_there_may_be_none() -> None:
    worker = Worker("cpu", 1, 2)
    assert split([], [], 0, [worker]) == Split(0, 0, 0, within=True, networks=(), places=())
    with pytest.raises(InputError, match="got 2 and 1 of them"):
        split([5, 6], [1], 9, [worker])


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (1, -1), (1, 1, -1), (1, 1, 0, 0), (1, 1, 0, 1, -1)])
def test_a_worker_takes_some_time(numbers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="worker `cpu` has a number out of range"):
        Worker("cpu", *numbers)


@pytest.mark.parametrize(
    ("easy", "hard", "said"),
    [
        ([5, 5], [1, 0.5], "the hard network's error of patch 1 is 0.5, expected a whole"),
        ([5, -1], [1, 1], "the easy network's error of patch 1 is -1, expected a whole"),
        ([1 << 62] * 4, [1] * 4, "the easy network's errors sum up to 18446744073709551616"),
    ],
)
def test_errors_that_cannot_be_summed_up_are_refused(easy: list, hard: list, said: str) -> None:
    with pytest.raises(InputError, match=said):
        split(easy, hard, 4, [Worker("cpu", 1, 2)])
