"""What a frame finds, and the question that it makes of a problem."""

import pytest

from leo_runtime.documents.problem import Problem
from leo_runtime.errors import InputError
from leo_runtime.frame.conditions import Conditions

USUAL = Problem.from_dict(
    {
        "format": "leo-problem/1",
        "name": "usual",
        "resources": [{"name": "cpu", "lanes": 2}, {"name": "dsp"}],
        "links": [
            {"source": "cpu", "target": "dsp", "latency_us": 5, "energy_nj": 7},
            {"source": "dsp", "target": "cpu"},
        ],
        "stages": [
            {"name": "sound", "modes": [{"resource": "cpu", "duration_us": 1, "energy_nj": 1}]},
            {"name": "out", "inputs": ["sound"], "modes": [{"resource": "dsp", "duration_us": 1, "energy_nj": 1}]},
        ],
        "deadlines": [{"stage": "out", "deadline_us": 9}],
        "accuracy_budgets": [{"stages": ["sound", "out"], "loss_ppm_max": 3}],
    }
)


def test_equal_conditions_are_found_equal_in_whatever_order_they_are_said() -> None:
    one = Conditions(
        ("ears",),
        ready_us=(("cpu", (1, 0)), ("dsp", (3,))),
        asleep=("a", "b"),
        links=((("x", "y"), None), (("x", "z"), (4, None))),
        lost=("c", "d"),
    )
    other = Conditions(
        ("ears",),
        ready_us=(("dsp", (3,)), ("cpu", (1, 0))),
        asleep=("b", "a"),
        links=((("x", "z"), (4, None)), (("x", "y"), None)),
        lost=("d", "c"),
    )
    assert one == other and {one: "known"}[other] == "known"


def test_a_kind_keeps_what_decides_which_resources_and_links_there_are() -> None:
    moment = Conditions(
        ("ears",),
        ready_us=(("cpu", (1, 0)),),
        asleep=("dsp",),
        links=((("x", "y"), None), (("x", "z"), (4, None))),
        lost=("gpu",),
        closed_gates=("gate",),
        stages=("sound",),
    )
    assert moment.kind() == Conditions(
        ("ears",), links=((("x", "y"), None),), lost=("gpu",), closed_gates=("gate",), stages=("sound",)
    )


def test_what_is_named_is_changed_and_the_rest_stays() -> None:
    found = Conditions(ready_us=(("cpu", (4, 0)),), asleep=("dsp",), links=((("cpu", "dsp"), (9, 3)),)).applied(USUAL)
    assert [(r.name, r.ready_us, r.awake) for r in found.resources] == [("cpu", (4, 0), True), ("dsp", (), False)]
    assert [(link.latency_us, link.bytes_per_s, link.energy_nj) for link in found.links] == [(9, 3, 7), (0, None, 0)]
    assert Conditions(links=((("dsp", "cpu"), None),)).applied(USUAL).links == USUAL.links[:1]
    assert Conditions().applied(USUAL) is USUAL


def test_only_the_stages_that_run_are_in_the_question() -> None:
    found = Conditions(stages=("sound",)).applied(USUAL)
    assert [stage.name for stage in found.stages] == ["sound"]
    assert (found.deadlines, found.accuracy_budgets[0].stages) == ((), ("sound",))


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        (Conditions(asleep=("npu",)), "`usual` has no resource `npu` to change"),
        (Conditions(ready_us=(("npu", (0,)),)), "`usual` has no resource `npu` to change"),
        (Conditions(ready_us=(("cpu", (0,)),)), "`cpu` has 2 lanes, not the 1 of the frame's ready_us"),
        (Conditions(links=((("cpu", "npu"), (1, None)),)), "`usual` has no link `cpu` -> `npu` to change"),
        (Conditions(stages=("nothing",)), "`usual` has no stage `nothing` to run"),
        (Conditions(stages=("out",)), "`out` runs but its input `sound` does not"),
    ],
)
def test_a_name_that_is_not_there_is_refused(conditions: Conditions, says: str) -> None:
    with pytest.raises(InputError, match=says):
        conditions.applied(USUAL)


def test_what_is_lost_may_be_named_though_it_is_not_there() -> None:
    gone = Conditions(asleep=("gpu",), ready_us=(("gpu", (5,)),), links=((("gpu", "cpu"), (1, None)),), lost=("gpu",))
    assert gone.applied(USUAL) == USUAL
