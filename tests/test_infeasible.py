"""An infeasible problem is proved so, with the rule and the names that clash."""

from typing import Any

import pytest

from leo_runtime.problem import Problem
from leo_runtime.solver import solve


def problem(**changes: Any) -> Problem:
    """A sensor on the dsp and a reader that may run on the dsp or the cpu."""
    mode = {"duration_us": 10, "energy_nj": 5, "memory_bytes": 100, "accuracy_loss_ppm": 50}
    return Problem.from_dict(
        {
            "format": "leo-problem/1",
            "name": "clash",
            "resources": [{"name": "dsp", "memory_bytes": 1000}, {"name": "cpu"}],
            "links": [{"source": "dsp", "target": "cpu"}],
            "stages": [
                {"name": "sense", "modes": [mode | {"resource": "dsp"}]},
                {"name": "read", "inputs": ["sense"], "modes": [mode | {"resource": r} for r in ("dsp", "cpu")]},
            ],
            **changes,
        }
    )


def one(resource: str, **changes: int) -> dict[str, Any]:
    """A mode on a resource."""
    return {"resource": resource, "duration_us": 10, "energy_nj": 5, **changes}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"resources": [{"name": "dsp", "lanes": 0}, {"name": "cpu"}]}, "rule 1: `sense` can only run on `dsp`"),
        ({"resources": [{"name": "dsp", "memory_bytes": 99}, {"name": "cpu"}]}, "rule 5: `sense` alone needs"),
        (
            {
                "links": [],
                "stages": [
                    {"name": "sense", "modes": [one("dsp")]},
                    {"name": "read", "inputs": ["sense"], "modes": [one("cpu")]},
                ],
            },
            "rule 4: no link leads from where `sense` can run (`dsp`) to where `read` can (`cpu`)",
        ),
        (
            {
                "links": [],
                "stages": [
                    {"name": "a", "modes": [one("dsp"), one("cpu")]},
                    {"name": "b", "modes": [one("dsp")], "inputs": ["a"]},
                    {"name": "c", "modes": [one("cpu")], "inputs": ["a"]},
                ],
            },
            "rule 4: no choice of places",
        ),
        (
            {"links": [], "resources": [{"name": "dsp", "memory_bytes": 150}, {"name": "cpu"}]},
            "rule 5: the 150 bytes of `dsp`",
        ),
        ({"accuracy_budgets": [{"stages": ["sense", "read"], "loss_ppm_max": 99}]}, "rule 7: `sense`, `read` cannot"),
        ({"limits": {"makespan": 19}}, "rule 7: makespan cannot be as low as its limit of 19"),
        (
            {"limits": {"makespan": 19, "energy": 9}},
            "rule 7: the limits on `energy`, `makespan`",
        ),
    ],
)
def test_the_reason_names_the_rule_and_the_names(changes: dict[str, Any], reason: str) -> None:
    placement = solve(problem(**changes))
    assert placement.status == "infeasible"
    assert placement.reason is not None
    assert reason.replace("`energy`, `makespan`", "") in placement.reason.replace("`energy`, `makespan`", "").replace(
        "`makespan`, `energy`", ""
    )
    assert placement.criteria is None and placement.stages == ()


def test_it_is_feasible_as_it_stands() -> None:
    assert solve(problem()).status == "optimal"
