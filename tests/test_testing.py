"""Problems drawn at random: what is asked for is there, and changes nothing else."""

from leo_runtime.testing import random_problem


def test_processors_and_lanes_are_as_many_as_asked_for() -> None:
    problem = random_problem(3, stages=30, features=("cloud",), processors=5, lanes=4)
    lanes = {resource.name: resource.lanes for resource in problem.resources}
    assert lanes == {"dsp": 4, "cpu": 4, "gpu": 4, "dsp2": 4, "cpu2": 4, "cloud": 4, "wifi": 1}
    assert {mode.resource for stage in problem.stages for mode in stage.modes} == set(lanes) - {"wifi"}


def test_more_lanes_change_nothing_else() -> None:
    narrow, wide = (random_problem(7, stages=12, features=("wake",), lanes=lanes) for lanes in (1, 8))
    resources = tuple(resource.model_copy(update={"lanes": 1}) for resource in wide.resources)
    assert narrow == wide.model_copy(update={"resources": resources})
