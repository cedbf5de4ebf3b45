"""An infeasible problem is proved so, with the rule and the names that clash."""

from typing import Any

import pytest

from leo_runtime.documents.problem import Problem
from leo_runtime.solver import infeasible, solve, unlinkable
from leo_runtime.solver.limits import Stop


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
            "rule 4: `a` (on `dsp` or `cpu`), `b` (on `dsp`), `c` (on `cpu`) cannot be placed so that each has a link "
            "to those that read it; a link `cpu` -> `dsp` or `dsp` -> `cpu` would do",
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


def unpackable() -> Problem:
    """Stages that need 39 bytes on two processors that hold 19 each; there are no links, and none is needed."""
    stages = [
        {"name": f"s{i}", "modes": [one(r, memory_bytes=6 if i < 3 else 7) for r in ("dsp", "cpu")]} for i in range(6)
    ]
    resources = [{"name": name, "memory_bytes": 19} for name in ("dsp", "cpu")]
    return problem(resources=resources, links=[], stages=stages, limits={"makespan": 10})


def test_no_rule_is_blamed_for_want_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """That no link fits is said only where it was proved, not where the search for another reason ran out."""
    answer = solve(unpackable())
    assert answer.status == "infeasible" and answer.reason is not None and "rule 4" not in answer.reason
    monkeypatch.setattr(infeasible, "_answerable", lambda problem, limit_nodes, stop: (None, limit_nodes))
    answer = solve(unpackable())
    assert answer.status == "infeasible" and answer.reason == infeasible.UNKNOWN


def test_looking_for_a_reason_has_a_budget_of_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule left out is tried with what the ones before it have left, and never with more than its share."""
    given: list[int] = []

    def tried(problem: Problem, limit_nodes: int, stop: Stop) -> tuple[None, int]:
        given.append(limit_nodes)
        return None, limit_nodes

    monkeypatch.setattr(infeasible, "_answerable", tried)
    stages = [{"name": f"s{i}", "modes": [one("cpu", accuracy_loss_ppm=1)]} for i in range(9)]
    budgets = [{"stages": [f"s{i}"], "loss_ppm_max": 0} for i in range(9)]
    assert infeasible.reason(problem(stages=stages, accuracy_budgets=budgets)) == infeasible.UNKNOWN
    assert len(given) > 9 and max(given) == infeasible.NODES_EACH and sum(given) == infeasible.NODES


def test_a_clash_of_links_names_those_that_clash_and_no_others() -> None:
    """Also where no single link helps, and behind many stages that can be anywhere."""
    stages = [
        {"name": f"s{i}", "inputs": [f"s{i - 1}"] if i else [], "modes": [one("dsp"), one("cpu"), one("gpu")]}
        for i in range(60)
    ]
    places = ("dsp", "cpu", "gpu")
    readers = [{"name": f"only {name}", "inputs": ["s40"], "modes": [one(name)]} for name in places]
    resources = [{"name": name} for name in places]
    links = [{"source": a, "target": b} for a, b in (("dsp", "cpu"), ("cpu", "gpu"), ("gpu", "dsp"))]
    answer = solve(problem(resources=resources, links=links, stages=[*stages, *readers]))
    assert answer.reason is not None and answer.reason.startswith(
        "rule 4: `s40` (on `dsp` or `cpu` or `gpu`), `only dsp` (on `dsp`), `only cpu` (on `cpu`), "
        "`only gpu` (on `gpu`) cannot be placed so that each has a link to those that read it; a link "
    )
    assert answer.reason.endswith("would do")
    answer = solve(problem(resources=resources, links=[], stages=[*stages, *readers]))
    assert answer.reason is not None
    assert "`s40`" in answer.reason and "`s39`" not in answer.reason
    assert "more than one is needed of the links `cpu` -> `dsp`, `gpu` -> `dsp`, `dsp` -> `cpu`" in answer.reason


def test_where_it_was_not_found_out_who_clashes_the_rule_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlinkable, "TRIES", 0)
    stages = [
        {"name": "a", "modes": [one("dsp"), one("cpu")]},
        {"name": "b", "modes": [one("dsp")], "inputs": ["a"]},
        {"name": "c", "modes": [one("cpu")], "inputs": ["a"]},
    ]
    answer = solve(problem(links=[], stages=stages))
    assert answer.reason == "rule 4: no choice of places has a link from every input to its reader"
