"""The front of a study, found by running all of its grid or a part of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypervolume import hypervolume
from leo_runtime.cli import main
from leo_runtime.errors import DocumentError, SolverError
from leo_runtime.study.document import Study
from leo_runtime.study.fronts import Judged, front, on_front
from leo_runtime.study.loading import Ready
from leo_runtime.study.search import budget_of, searched
from small_studies import STUDY, write_study

OBJECTIVES = ("energy_nj", "misses", "derived.area_um2")


def grid(sizes: Sequence[int], **search: Any) -> Study:
    axes = [
        {"name": f"axis{k}", "vary": f"graphs.g{k}.deadline_us", "values": [*range(1, size + 1)]}
        for k, size in enumerate(sizes)
    ]
    asked = {"minimise": OBJECTIVES[:2], "maximise": OBJECTIVES[2:], **search}
    return Study.from_dict({"format": "leo-study/1", "name": "grid", "axes": axes, "search": asked})


class Table:
    """Figures of every point, drawn, and which of them were asked for."""

    def __init__(self, points: int, seed: int, most: int = 9) -> None:
        random = Random(seed)
        self.costs = [tuple(float(random.randint(0, most)) for _ in OBJECTIVES) for _ in range(points)]
        self.asked: list[int] = []

    def __call__(self, points: Sequence[int]) -> list[Judged]:
        self.asked += points
        return [Judged(point, {}, self.costs[point], ()) for point in points]

    def best(self, among: Sequence[int]) -> set[int]:
        """Those that no other is better than, by the definition."""
        return {a for a in among if not any(self.dominates(b, a) for b in among)}

    def dominates(self, one: int, other: int) -> bool:
        pairs = list(zip(self.costs[one], self.costs[other], strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=40))
def test_a_front_is_what_its_definition_says(costs: list[tuple[int, int, int]]) -> None:
    def beaten(one: tuple[int, ...]) -> bool:
        return any(all(a <= b for a, b in zip(other, one, strict=True)) and other != one for other in costs)

    found = front(costs)
    assert sorted(found) == [k for k, one in enumerate(costs) if not beaten(one)]
    assert [costs[k] for k in found] == sorted(costs[k] for k in found)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 10**6))
def test_a_search_of_all_of_a_small_grid_finds_its_front(sizes: list[int], seed: int) -> None:
    study = grid(sizes, budget=10**6)
    table = Table(study.points, seed)
    assert study.search is not None
    found = searched(study, study.search, table)
    assert table.asked == [*range(study.points)]
    assert {one.point for one in on_front(found)} == table.best(table.asked)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(2, 4), min_size=2, max_size=3), st.integers(0, 10**6), st.data())
def test_a_part_of_a_grid_is_asked_for_once_and_has_its_own_front(sizes: list[int], seed: int, data: Any) -> None:
    pytest.importorskip("optuna", reason="needs the extra `search`")
    points = len([*product(*map(range, sizes))])
    study = grid(sizes, budget=data.draw(st.integers(1, points)), seed=seed)
    table, again = Table(points, seed), Table(points, seed)
    assert study.search is not None
    found = searched(study, study.search, table)
    assert len(table.asked) == len(set(table.asked)) == budget_of(study, study.search)
    assert {one.point for one in on_front(found)} == table.best(table.asked)
    assert searched(study, study.search, again) == found and again.asked == table.asked


SEARCH = """
[search]
minimise = ["energy_nj", "graph_p95_us.eyes"]
at_most = { misses = 0 }
"""


def test_one_command_searches_goes_on_where_it_was_and_tells_the_front(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna", reason="needs the extra `search`")
    monkeypatch.chdir(tmp_path)
    text = STUDY.replace("[4_000, 20_000]", "[1, 4_000, 10_000, 20_000]").replace("seconds = 1\n", "seconds = 0.4\n")
    path = str(write_study(tmp_path, text + SEARCH))
    search = ["study", "search", path, "--budget", "3", "--seed", "1", "--jobs", "0"]
    assert main(search) == 0
    told = capsys.readouterr().out
    assert told.startswith("3 of 8 points were asked for, from seed 1\non the front: ")
    assert "energy_nj, mJ" in told
    with monkeypatch.context() as patched:
        patched.setattr("leo_runtime.study.cell_run.measure", lambda *_: pytest.fail("it has run before"))
        assert main(search) == 0
    assert capsys.readouterr().out == told
    assert main([*search[:-2], "--jobs", "1", "--out", "elsewhere"]) == 0  # In a process that stays.
    assert capsys.readouterr().out == told
    assert main(["study", "status", path]) == 0
    assert "6 done, 0 failed, 10 missing" in capsys.readouterr().out
    assert "asked for" not in told.partition("\n")[2]
    assert main([*search[:3], "--budget", "8", "--jobs", "0"]) == 0
    of_all = capsys.readouterr().out
    assert main(search) == 0
    again = capsys.readouterr().out
    assert again.startswith(told) and re.fullmatch(
        r"\non the front of all 8 points that have rows: \d; the search asked for \d of them\n", again[len(told) :]
    )
    assert main(["study", "show", path]) == 0
    assert capsys.readouterr().out.startswith(of_all.partition("\n")[2])
    rows = {int(line.split()[0]) for line in of_all.splitlines() if line[:5].strip().isdecimal()}
    assert rows and not rows & {0, 4}  # Nothing is answered within a microsecond.


def test_what_fails_is_run_again_once_and_not_for_each_generation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna", reason="needs the extra `search`")
    monkeypatch.chdir(tmp_path)
    text = STUDY.replace("[4_000, 20_000]", str([*range(4_000, 4_020)])).replace("repetitions = 2", "repetitions = 1")
    path = str(write_study(tmp_path, text + SEARCH))
    ran: list[int] = []

    def fails(_: object, ready: Ready, *__: object) -> None:
        ran.append(ready.cell.number)
        raise SolverError("not today")

    monkeypatch.setattr("leo_runtime.study.cell_run.measure", fails)
    for _ in range(2):  # The second time by the same generations, of what has failed before.
        assert main(["study", "search", path, "--budget", "25", "--jobs", "0", "--again"]) == 1
        assert len(ran) == len(set(ran)) == 25
        assert "25 cells in all failed so: not today" in capsys.readouterr().err
        ran.clear()


def needs_optuna(*values: str) -> Any:
    """A case that is found out only where a search begins."""
    no_optuna = find_spec("optuna") is None
    return pytest.param(*values, marks=pytest.mark.skipif(no_optuna, reason="needs the extra `search`"))


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("", "it does not say what is searched for", "minimise"),
        ('[search]\nminimise = ["misses"]', "a front is of two objectives at least, got 1", "sort its column"),
        needs_optuna('[search]\nminimise = ["misses", "energy"]', 'no column is called "energy"', "energy_nj"),
        needs_optuna('[search]\nminimise = ["misses", "solver"]', 'column "solver" holds no numbers', "energy_nj"),
        needs_optuna(
            f'{SEARCH}[[derived]]\nname = "area"\nsource = "assumed"\nsum = [{{ of = ["lanes"] }}]',
            'no number is called "lanes"',
            "deadline",
        ),
        (f'{SEARCH}[sampling]\nkind = "random"\ncells = 3\nseed = 0', "a grid is searched, and no random", "values"),
    ],
)
def test_what_cannot_be_searched_for_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str, hint: str
) -> None:
    path = write_study(tmp_path, f"{STUDY}\n{text}\n")
    assert main(["study", "search", str(path), "--jobs", "0", "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert says in told and hint in told


def test_numbers_of_choices_are_complete_and_of_one_axis() -> None:
    def axis(name: str, *numbers: dict[str, float]) -> dict[str, Any]:
        return {"name": name, "choices": [{"name": f"c{k}", "numbers": one} for k, one in enumerate(numbers)]}

    def study(*axes: dict[str, Any]) -> Study:
        return Study.from_dict({"format": "leo-study/1", "name": "s", "axes": axes})

    assert study(axis("a", {"x": 1}, {"x": 2})).numbers == ("x",)
    with pytest.raises(DocumentError, match='the number "x" of other choices is missing'):
        study(axis("a", {"x": 1}, {}))
    with pytest.raises(DocumentError, match='axis "a" has a number "x", too'):
        study(axis("a", {"x": 1}), axis("b", {"x": 1}))


def test_the_hypervolume_is_what_counting_cells_of_a_grid_gives() -> None:
    random = Random(3)
    for size in (1, 2, 3):
        costs = [tuple(random.randint(0, 5) for _ in range(size)) for _ in range(6)]
        counted = sum(
            any(all(a <= b for a, b in zip(one, at, strict=True)) for one in costs)
            for at in product(range(5), repeat=size)
        )
        assert hypervolume(costs, [5] * size) == counted
