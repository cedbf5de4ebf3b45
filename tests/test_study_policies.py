"""Who may place in a study: policies by a list of processors, event-driven ones, and how far a search may go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from frames import chain_problem
from leo_runtime.errors import DocumentError, InputError, LeoError, SolverError
from leo_runtime.solver import COUNT_NODES, SOLVERS, solve
from leo_runtime.solver.preferences import matching, preferences
from leo_runtime.solver.window import solve_window
from leo_runtime.study.cells import cells, with_solvers
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from leo_runtime.study.measure import Measured, measure
from leo_runtime.study.policies import policy
from leo_runtime.study.shared import Shared
from leo_runtime.testing import random_problem
from leo_runtime.testing.windows import random_window
from small_studies import write_study

OWN = """from leo_runtime import Start, event_driven


@event_driven
def soonest(now):
    stage = now.ready[0]
    return Start(stage, min(stage.options, key=lambda option: option.end_us))


@event_driven
def wrong(now):
    return Start(now.ready[0], None)


def limited(problem, limit_nodes=None):
    from leo_runtime import solve

    assert limit_nodes == 7
    return solve(problem, "exact", limit_nodes=limit_nodes)


def unlimited(problem):
    raise AssertionError
"""


def measured(folder: Path, **changed: Any) -> Measured:
    """The first cell of the small study, with other settings."""
    (folder / "mine.py").write_text(OWN)
    study = Study.from_file(write_study(folder))
    first = cells(study)[0]
    cell = replace(first, settings=first.settings.model_copy(update={"solver": None, **changed}))
    return measure(study, Loader(study, folder).ready(cell), Shared())


# A list of processors.


def test_what_is_preferred_is_read_from_the_name() -> None:
    assert preferences("exact") is None
    assert preferences("prefer:npu,big") == preferences("prefer: npu + big") == ("npu", "big")
    assert matching(["n*", "big", "npu"], ["big", "npu", "nsp"]) == ["npu", "nsp", "big"]
    for name in ("prefer:", "prefer:a,", "prefer:,a"):
        with pytest.raises(SolverError, match="leaves out what it prefers"):
            solve(chain_problem(), name)


def test_each_stage_goes_to_the_first_that_runs_it() -> None:
    problem = chain_problem()
    assert {run.resource for run in solve(problem, "prefer:c,a").stages} == {"c"}
    only = problem.stages[0].model_copy(update={"modes": problem.stages[0].modes[:2]})
    mixed = problem.model_copy(update={"stages": (only, *problem.stages[1:])})
    answer = solve(mixed, "prefer:c,b")
    assert [run.resource for run in answer.stages] == ["b", "c", "c"]
    assert answer.solver == "prefer:c,b"


def test_the_fixed_policies_are_lists_of_that_kind() -> None:
    for seed in range(8):
        problem = random_problem(Random(seed), stages=5, features=["lanes", "busy", "wake"])
        fixed, listed = solve(problem, "dsp-first"), solve(problem, "prefer:dsp,cpu,gpu")
        assert (fixed.stages, fixed.criteria) == (listed.stages, listed.criteria)
    window = random_window(Random(1))
    assert solve_window(window, "prefer:cpu").spans == solve_window(window, "cpu-only").spans


def test_a_study_says_who_is_preferred(tmp_path: Path) -> None:
    cpu, dsp = (measured(tmp_path, prefer=names).row for names in (("cpu",), ("dsp", "cpu")))
    assert (cpu["solver"], cpu["runs.dsp"]) == ("prefer:cpu", 0)
    assert (dsp["solver"], dsp["runs.cpu"]) == ("prefer:dsp,cpu", 0)
    plus = measured(tmp_path, solver="prefer:dsp+cpu").row
    assert {**plus, "solver": dsp["solver"]} == dsp
    with pytest.raises(SolverError, match="prefers `gpu`, and `band` has no such processor") as raised:
        measured(tmp_path, prefer=("gpu",))
    assert raised.value.hint == "it has cpu, dsp"


def test_the_last_word_about_who_places_counts() -> None:
    document = {
        "format": "leo-study/1",
        "name": "s",
        "base": {"solver": "heft"},
        "axes": [{"vary": "prefer", "values": [["dsp", "cpu"], ["cpu"]]}],
    }
    made = cells(Study.from_dict(document))
    assert [(cell.settings.solver, cell.settings.prefer) for cell in made] == [(None, ("dsp", "cpu")), (None, ("cpu",))]
    assert [cell.values for cell in made] == [{"prefer": "dsp,cpu"}, {"prefer": "cpu"}]
    others = cells(with_solvers(Study.from_dict(document), ["exact"]))
    assert [(cell.settings.solver, cell.settings.prefer) for cell in others] == [("exact", None)]
    choices = [{"name": "fixed", "prefer": ["cpu"]}, {"name": "best", "solver": "exact"}, {"name": "base"}]
    chosen = cells(Study.from_dict({**document, "axes": [{"name": "who", "choices": choices}]}))
    assert [(one.settings.solver, one.settings.prefer) for one in chosen] == [
        (None, ("cpu",)),
        ("exact", None),
        ("heft", None),
    ]
    with pytest.raises(DocumentError, match="both say who places"):
        Study.from_dict({**document, "base": {"solver": "heft", "prefer": ["cpu"]}})


# Event-driven policies.


@pytest.mark.parametrize("name", ["least-slack", "event-heft", "round-robin", "shortest-expected-latency"])
def test_an_event_driven_policy_has_a_row_of_its_own(tmp_path: Path, name: str) -> None:
    row = measured(tmp_path, solver=name).row
    assert (row["solver"], row["solver_nodes"], row["window_stages"]) == (name, 0, 0)
    assert row["answers"] == 50 and row["answered"] > 5
    assert row["questions"] >= row["frames"]  # It is asked about each stage.
    assert row == measured(tmp_path, solver=name).row


def test_an_event_driven_policy_of_ones_own_is_judged(tmp_path: Path) -> None:
    row = measured(tmp_path, solver="mine:soonest").row
    assert (row["solver"], row["misses"]) == ("mine:soonest", 0)
    assert policy("mine:soonest", tmp_path).digest
    with pytest.raises(SolverError, match=r"policy `mine:wrong` chose a NoneType .* \(stage `look`, frame 0\)"):
        measured(tmp_path, solver="mine:wrong")


@pytest.mark.parametrize(
    "changed", [{"window": 5}, {"batch": 2, "window": None}, {"reserve_percent": 5}, {"limit_nodes": 5}], ids=str
)
def test_what_an_event_driven_policy_has_no_use_for_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(LeoError, match="does nothing with the event-driven policy `mine:soonest`"):
        measured(tmp_path, solver="mine:soonest", **changed)


def test_what_knows_nothing_of_weights_is_refused_before_a_cell_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    study = Study.from_file(write_study(tmp_path))
    file = tmp_path / "band.hardware.toml"
    loads = """[[stores]]
name = "flash"
[[loaders]]
target = "dsp"
store = "flash"
bytes_per_s = 1_000_000
"""
    file.write_text(file.read_text() + loads)
    first = cells(study)[0]
    Loader(study, tmp_path).ready(first)
    with pytest.raises(InputError, match="there is no best plan of a run where weights are loaded, as on `band`"):
        Loader(study.model_copy(update={"measure": ("regret",)}), tmp_path).ready(first)
    for solver, says in (
        ("heft", "no solver of questions with weights is called"),
        ("least-slack", "the event-driven policy `least-slack` loads no weights"),
        ("mine:soonest", "loads no weights, which are loaded on `band`"),
    ):
        cell = replace(first, settings=first.settings.model_copy(update={"solver": solver}))
        with pytest.raises(LeoError, match=says):
            Loader(study, tmp_path).ready(cell)


# How far a search may go.


def test_a_limit_is_that_of_the_solver_or_refused(tmp_path: Path) -> None:
    few, many = (measured(tmp_path, solver="exact", limit_nodes=limit) for limit in (0, None))
    assert few.row["questions_proved"] <= many.row["questions_proved"]
    for name in SOLVERS:
        if name in COUNT_NODES:
            continue
        with pytest.raises(LeoError, match=f"the solver `{name}` searches no nodes that could be limited, got a limit"):
            measured(tmp_path, solver=name, limit_nodes=5)
    assert measured(tmp_path, solver="mine:limited", limit_nodes=7).row["misses"] == 0
    with pytest.raises(LeoError, match="the solver `mine:unlimited` takes no `limit_nodes`, got 5"):
        measured(tmp_path, solver="mine:unlimited", limit_nodes=5)
