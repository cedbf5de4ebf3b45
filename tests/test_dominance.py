"""Dropping dominated modes keeps the optimum; variant and processor chosen together are the best there are."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.dominance import dominates, undominated, without_dominated
from leo_runtime.documents.memory import MemoryMode
from leo_runtime.documents.problem import AccuracyBudget, Mode, Problem, StageModes
from leo_runtime.solver import solve
from leo_runtime.testing import problems, random_problem
from sequential import processor_first, variant_first

FELT = ("duration_us", "energy_nj", "output_bytes", "memory_bytes", "accuracy_loss_ppm")


def with_more_modes(problem: Problem, seed: int) -> Problem:
    """The problem with one or two more variants of each mode that there is, better in some and worse in others."""
    rng = Random(seed)
    stages = []
    for stage in problem.stages:
        modes = list(stage.modes)
        for number, mode in enumerate(stage.modes):
            changed = {key: rng.choice((0, 1, 1, 1, 2)) * getattr(mode, key) for key in FELT}
            changed["duration_us"] = max(1, changed["duration_us"])
            changed["accuracy_loss_ppm"] += rng.choice((0, 0, 1_000))
            modes.append(mode.model_copy(update={**changed, "variant": f"more {number}"}))
        rng.shuffle(modes)
        stages.append(StageModes(name=stage.name, release_us=stage.release_us, inputs=stage.inputs, modes=tuple(modes)))
    return problem.model_copy(update={"stages": tuple(stages)})


def optimum(problem: Problem) -> tuple[int, ...] | None:
    """By trying every placement; None where there is none."""
    answer = solve(problem, "exhaustive")
    assert answer.status in ("optimal", "infeasible")
    return answer.bounds if answer.status == "optimal" else None


@settings(max_examples=80, deadline=None)
@given(
    problem=problems(3, features=("memory", "variants", "budget", "small", "wake", "power", "cloud")),
    seed=st.integers(0, 10**6),
)
def test_without_dominated_modes_the_optimum_is_the_same(problem: Problem, seed: int) -> None:
    more = with_more_modes(problem, seed)
    fewer = without_dominated(more)
    assert optimum(fewer) == optimum(more)


@pytest.mark.parametrize("seed", range(40))
def test_the_same_of_problems_with_every_feature(seed: int) -> None:
    more = with_more_modes(random_problem(seed, stages=3), seed)
    assert optimum(without_dominated(more)) == optimum(more)


def test_many_modes_are_dropped_and_never_all() -> None:
    before = after = 0
    for seed in range(40):
        more = with_more_modes(random_problem(seed, stages=4), seed)
        fewer = without_dominated(more)
        before += sum(len(stage.modes) for stage in more.stages)
        after += sum(len(stage.modes) for stage in fewer.stages)
        for stage, kept in zip(more.stages, fewer.stages, strict=True):
            assert {mode.resource for mode in kept.modes} == {mode.resource for mode in stage.modes}
            for mode in stage.modes:
                assert any(dominates(one, mode) for one in kept.modes)
            assert undominated(kept.modes) == kept.modes
    assert after < 0.8 * before


def test_of_equal_modes_the_first_stays() -> None:
    first, second = (Mode(resource="cpu", variant=name, duration_us=5, energy_nj=5) for name in "ab")
    assert undominated((first, second)) == (first,)
    assert undominated((second, first)) == (second,)


@pytest.mark.parametrize("key", FELT)
def test_whatever_a_placement_feels_is_compared(key: str) -> None:
    plain = Mode(resource="cpu", duration_us=5, energy_nj=5, output_bytes=5, memory_bytes=5, accuracy_loss_ppm=5)
    less = plain.model_copy(update={key: 4, "variant": "less"})
    assert undominated((plain, less)) == (less,)
    other = plain.model_copy(update={"resource": "dsp", key: 4})
    assert undominated((plain, other)) == (plain, other)


def test_modes_of_other_weights_are_not_compared() -> None:
    small, large = (
        MemoryMode(resource="cpu", variant=f"{t}", duration_us=t, energy_nj=5, weights=("a",)) for t in (1, 2)
    )
    other = large.model_copy(update={"weights": ("b",)})
    assert undominated((large, small)) == (small,)
    assert undominated((other, small)) == (other, small)


def test_every_quantity_of_a_mode_is_compared() -> None:
    """One that is new to the document has to be thought of here."""
    assert set(Mode.model_fields) == {"resource", "variant", *FELT}
    assert set(MemoryMode.model_fields) == {"resource", "variant", "weights", *FELT}


def with_budget(problem: Problem, ppm: int) -> Problem:
    names = tuple(stage.name for stage in problem.stages)
    return problem.model_copy(update={"accuracy_budgets": (AccuracyBudget(stages=names, loss_ppm_max=ppm),)})


@pytest.mark.parametrize("seed", range(40))
def test_variant_and_processor_together_are_the_best_and_never_worse_than_one_after_the_other(seed: int) -> None:
    features = ("variants", "wake", "power", "memory")[: 1 + seed % 4]
    problem = with_budget(random_problem(seed, stages=3, features=features), (seed % 5) * 2_000)
    together = solve(problem)
    assert together.status != "feasible"
    assert optimum(problem) == (together.bounds if together.criteria else None)
    for other in (variant_first(problem), processor_first(problem)):
        if other is not None:
            assert together.bounds <= other.bounds


def test_together_it_is_better_than_either_at_times() -> None:
    found = {variant_first: 0, processor_first: 0}
    for seed in range(30):
        problem = with_budget(random_problem(seed, stages=4, features=("variants", "wake")), 6_000)
        together = solve(problem)
        for way in found:
            other = way(problem)
            found[way] += together.criteria is not None and (other is None or together.bounds < other.bounds)
    assert min(found.values()) > 0
