"""Losses by the measure of a task."""

import numpy as np
import pytest

from leo_runtime.errors import InputError
from leo_runtime.measure.task_loss import Task, loss_of, parse_task


def runs(*values) -> list[tuple[np.ndarray, ...]]:
    return [(np.array(value, np.float32),) for value in values]


def test_a_change_is_the_length_of_the_difference() -> None:
    loss = loss_of(Task(output=0), runs([3, 4], [0, 0]), runs([3, 4], [0, 1]))
    assert (loss.runs, loss.change, loss.ppm) == (2, pytest.approx(0.2), 200_000)
    assert loss_of(Task(output=0), runs([3, 4]), runs([3, 4])).ppm == 0


def test_of_several_outputs_it_is_the_one_that_changes_most() -> None:
    expected = [(np.ones(4), np.full(4, 1000.0))]
    found = [(np.full(4, 1.5), np.full(4, 1001.0))]
    assert loss_of(Task(), expected, found).change == pytest.approx(0.5)
    assert loss_of(Task(output=1), expected, found).change == pytest.approx(0.001)


def test_an_output_of_zeros_has_changed_beyond_measure_or_not_at_all() -> None:
    assert loss_of(Task(output=0), runs([0.0]), runs([0.0])).ppm == 0
    assert loss_of(Task(output=0), runs([0.0]), runs([1.0])).ppm == 10**15


def test_decisions_are_counted() -> None:
    expected, found = runs([1, 3, 2], [5, 1, 1], [0, 0, 1]), runs([1, 3, 3], [1, 5, 1], [0, 0, 9])
    loss = loss_of(Task("argmax", output=0), expected, found)
    assert (loss.decisions, loss.ppm) == (1, 333_334)  # Of two that are equally great either may be meant.
    loss = loss_of(Task("threshold", 4, output=0), expected, found)
    assert (loss.decisions, loss.runs) == (1, 3)


def test_what_is_no_number_decides_otherwise() -> None:
    assert loss_of(Task("argmax", output=0), runs([1, 3]), runs([np.nan, 3])).decisions == 1


def test_what_is_no_number_is_infinitely_far_in_whichever_output() -> None:
    expected = [(np.ones(2), np.ones(2))]
    for found in ((np.ones(2), np.full(2, np.nan)), (np.full(2, np.nan), np.ones(2)), (np.full(2, np.inf), np.ones(2))):
        assert loss_of(Task(), expected, [found]).ppm == 10**15


def test_points_move() -> None:
    expected, found = runs([0, 0, 30, 40]), runs([3, 4, 30, 40])
    loss = loss_of(Task("points", 2, output=0), expected, found)
    assert (loss.moved, loss.span, loss.ppm) == (2.5, 50, 50_000)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Task("points", 3, output=0), "an output of 4 values has no points of 3 coordinates each"),
        (Task("argmax"), "the model has 2 outputs, and argmax reads one"),
    ],
)
def test_what_outputs_do_not_have_is_refused(task: Task, said: str) -> None:
    values = [(np.ones(4), np.ones(4))]
    with pytest.raises(InputError, match=said):
        loss_of(task, values, values)


def test_of_one_value_none_is_the_greatest() -> None:
    with pytest.raises(InputError, match="the output has 1 values, by argmax it decides nothing"):
        loss_of(Task("argmax", output=0), runs([1]), runs([2]))
    assert loss_of(Task("threshold", 1, output=0), runs([1]), runs([2])).decisions == 1


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("change", ("change", 0)),
        ("argmax", ("argmax", 0)),
        ("threshold=-1.5", ("threshold", -1.5)),
        ("points=3", ("points", 3)),
    ],
)
def test_a_measure_is_read(text: str, task: tuple[str, float]) -> None:
    assert parse_task(text) == task


@pytest.mark.parametrize(
    "text", ["", "argmax=2", "threshold", "threshold=nan", "threshold=x", "points=0", "points=2.5", "best"]
)
def test_what_is_no_measure_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no measure is called"):
        parse_task(text)
