"""What a study may say, which cells that makes, and what is said of one that is wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.errors import DocumentError, LeoError
from leo_runtime.study.cells import cells, with_solvers
from leo_runtime.study.document import Study
from leo_runtime.study.running import plan
from small_studies import STUDY, write_study


def study(**changed: object) -> Study:
    return Study.from_dict({"format": "leo-study/1", "name": "s", **changed})


def values(made: Study) -> list[tuple[object, ...]]:
    return [(*cell.values.values(), cell.repetition) for cell in cells(made)]


TWO = [{"vary": "solver", "values": ["exact", "heft"]}, {"vary": "window", "values": [0, 30]}]
BETWEEN = [{"vary": "links.*.bytes_per_s", "range": {"low": 1e3, "high": 1e6, "logarithmic": True, "integer": True}}]


def test_a_grid_has_every_cell_once_and_repetitions_come_one_after_the_other() -> None:
    made = study(axes=TWO, repetitions=2, base={"seed": 7})
    grid = [("exact", 0), ("exact", 30), ("heft", 0), ("heft", 30)]
    assert values(made) == [(*point, repetition) for repetition in (0, 1) for point in grid]
    assert [cell.settings.seed for cell in cells(made)] == [7] * 4 + [8] * 4
    assert [cell.number for cell in cells(made)] == list(range(8))
    assert cells(made)[1].name == "1: solver=exact, window=30, repetition 0"
    assert values(study()) == [(0,)]


def test_a_list_takes_axes_side_by_side() -> None:
    assert values(study(axes=TWO, sampling={"kind": "list"})) == [("exact", 0, 0), ("heft", 30, 0)]


def test_choices_set_what_goes_together() -> None:
    phone = {"name": "phone", "hardware": "snapdragon-800", "changes": ["without gpu"]}
    made = study(axes=[{"name": "machine", "choices": [phone, {"name": "own", "hardware": "a.toml", "window": 4}]}])
    first, second = cells(made)
    assert (first.values, first.changes, first.settings.hardware) == (
        *({"machine": "phone"}, ("without gpu",)),
        "snapdragon-800",
    )
    assert (second.settings.hardware, second.settings.window, second.changes) == ("a.toml", 4, ())


def test_changes_are_written_as_the_command_takes_them() -> None:
    axes = [
        {"vary": "scale-deadlines", "values": [2]},
        {"vary": "links.*.bytes_per_s*", "values": [0.5]},
        {"vary": "slow dsp", "values": [3]},
        {"vary": "without", "values": ["gpu"]},
        {"vary": "objective", "values": [["energy", "tardiness"]]},
    ]
    (cell,) = cells(study(axes=axes, base={"changes": ["without wifi"]}))
    assert cell.changes == (
        *("without wifi", "scale-deadlines 2", "links.*.bytes_per_s*=0.5", "slow dsp=3", "without gpu"),
        'objective=["energy", "tardiness"]',
    )


def test_what_is_drawn_is_drawn_again_and_by_each_axis_alone() -> None:
    made = study(axes=BETWEEN, sampling={"kind": "random", "cells": 20, "seed": 1})
    drawn = [cell.values["links.*.bytes_per_s"] for cell in cells(made)]
    assert len(set(drawn)) > 15 and all(isinstance(one, int) and 1e3 <= one <= 1e6 for one in drawn)
    more = study(axes=[*TWO, *BETWEEN], sampling={"kind": "random", "cells": 20, "seed": 1})
    assert [cell.values["links.*.bytes_per_s"] for cell in cells(more)] == drawn
    other = study(axes=BETWEEN, sampling={"kind": "random", "cells": 20, "seed": 2})
    assert [cell.values["links.*.bytes_per_s"] for cell in cells(other)] != drawn


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_a_latin_hypercube_meets_every_part_of_every_axis_once(count: int, seed: int) -> None:
    axes = [{"vary": "noise_percent", "range": {"low": 0.0, "high": 100.0}}, {"vary": "seed", "values": [3, 4]}]
    made = study(axes=axes, sampling={"kind": "latin", "cells": count, "seed": seed})
    found = [cell.values["noise_percent"] for cell in cells(made)]
    # A number of six digits may be rounded up to where its part ends.
    assert sorted(min(int(one / 100 * count - 1e-6), count - 1) for one in found) == list(range(count))
    halves = [cell.values["seed"] for cell in cells(made)]
    assert abs(halves.count(3) - halves.count(4)) <= 1


@pytest.mark.parametrize(
    ("changed", "place", "says"),
    [
        ({"axes": [{"vary": "solver"}]}, "$.axes[0]", "one of values, range and choices"),
        ({"axes": [{"vary": "solver", "values": []}]}, "$.axes[0].values", "at least one"),
        ({"axes": [{"values": [1]}]}, "$.axes[0].vary", "nothing says what is varied"),
        ({"axes": [{"choices": [{"name": "a"}]}]}, "$.axes[0].name", "has a name"),
        ({"axes": [{"vary": "sovler", "values": [1]}]}, "$.axes[0].vary", 'nothing is called "sovler"'),
        ({"axes": [*TWO, *TWO]}, "$.axes[2].name", "given twice"),
        ({"axes": [TWO[0], {**TWO[0], "name": "again"}]}, "$.axes[1].vary", "given twice"),
        ({"axes": BETWEEN}, "$.axes[0].range", "has no end of a range"),
        ({"axes": [{"vary": "a.b", "range": {"low": 2.0, "high": 1.0}}]}, "$.axes[0].range.high", "not above"),
        (
            {"axes": [{"vary": "a.b", "range": {"low": 0.4, "high": 0.6, "integer": True}}]},
            "$.axes[0].range.low",
            "no integer is between",
        ),
        ({"axes": [TWO[0], {"vary": "seed", "values": [1]}], "sampling": {"kind": "list"}}, "$.axes", "one length"),
        ({"sampling": {"kind": "latin", "cells": 3}}, "$.sampling.seed", '"seed" is missing'),
        ({"sampling": {"cells": 3}}, "$.sampling.cells", "nothing is drawn for a grid"),
        ({"repetitions": 10**7}, "$", "at most 1000000"),
        ({"measure": ["speed"]}, "$.measure[0]", "expected 'gap', 'regret' or 'xrbench'"),
        ({"base": {"noise_percent": 101}}, "$.base.noise_percent", "expected at most 100"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changed: dict[str, object], place: str, says: str) -> None:
    with pytest.raises(DocumentError) as raised:
        study(**changed)
    assert says in str(raised.value) and str(raised.value).endswith(f"at {place}")


def test_a_value_that_a_setting_cannot_have_is_told(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY.replace('"exact", "greedy"', '"exact", 3'))
    with pytest.raises(DocumentError, match="an axis gives what a setting cannot be"):
        cells(Study.from_file(path))


def test_cells_that_cannot_be_run_are_told_one_by_one(tmp_path: Path) -> None:
    text = STUDY.replace("4_000, 20_000", "4_000, 99_999_999_999_999_999").replace('"greedy"', '"gready"')
    found = plan(Study.from_file(write_study(tmp_path, text)), tmp_path)
    assert sorted(found.wrong) == [1, 2, 3, 5, 6, 7]
    assert "no solver is called" in str(found.wrong[2]) and "graphs.eyes.deadline_us" in str(found.wrong[1])
    assert [bool(inputs) for inputs in found.inputs] == [number not in found.wrong for number in range(8)]


def test_solvers_may_be_others(tmp_path: Path) -> None:
    made = Study.from_file(write_study(tmp_path))
    other = with_solvers(made, ["heft", "mine:place"])
    assert [cell.settings.solver for cell in cells(other)][:4] == ["heft", "heft", "mine:place", "mine:place"]
    added = with_solvers(study(base={"solver": "exact"}), ["heft"])
    assert [cell.settings.solver for cell in cells(added)] == ["heft"]
    assert with_solvers(made, []) is made


def test_garbage_is_refused_in_words(tmp_path: Path) -> None:
    rng, whole = Random(5), STUDY.encode()
    write_study(tmp_path)
    for _ in range(150):
        at, data = rng.randrange(len(whole)), bytearray(whole)
        data[at : at + rng.randint(0, 3)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 3)))
        (tmp_path / "garbage.toml").write_bytes(data)
        try:
            found = Study.from_file(tmp_path / "garbage.toml")
            if found.count <= 100:
                plan(found, tmp_path)
        except LeoError as error:
            assert str(error)


def test_the_schema_knows_a_study() -> None:
    assert json.dumps(Study.model_json_schema())


def test_integers_of_a_range_are_as_likely_as_each_other_and_within_it() -> None:
    axes = [
        {"vary": "seed", "range": {"low": 1, "high": 3, "integer": True}},
        {"vary": "window", "range": {"low": 0.6, "high": 2.4, "integer": True, "logarithmic": True}},
    ]
    made = study(axes=axes, sampling={"kind": "latin", "cells": 300, "seed": 1}, repetitions=1)
    drawn = [cell.values for cell in cells(made)]
    assert Counter(one["seed"] for one in drawn) == {1: 100, 2: 100, 3: 100}
    assert {one["window"] for one in drawn} == {1, 2}


def test_a_list_is_a_text_in_a_row() -> None:
    made = study(axes=[{"name": "who", "vary": "graphs.a.b", "values": [["x", 1], ["y"]]}])
    assert [cell.values["who"] for cell in cells(made)][:2] == ['["x", 1]', '["y"]']


def test_solvers_that_choices_choose_are_not_passed_over_in_silence() -> None:
    made = study(axes=[{"name": "who", "choices": [{"name": "a", "solver": "exact"}, {"name": "b"}]}])
    with pytest.raises(DocumentError, match="axis `who` chooses solvers"):
        with_solvers(made, ["heft"])


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("nonsense", 'no column is called "nonsense"'),
        ("graph_misses.eye", 'no column is called "graph_misses.eye"'),
        ("graph_misses", 'no column is called "graph_misses"'),
        ("resource_nj.gpu", 'no column is called "resource_nj.gpu"'),
        ("solver", 'column "solver" holds no numbers'),
        ("gap_ppm", 'column "gap_ppm" is not measured'),
        ("graph_xrbench_ppm.eyes", "is not measured"),
    ],
)
def test_what_no_row_will_have_is_not_to_be_shown(tmp_path: Path, column: str, says: str) -> None:
    shown = ["energy_nj", "graph_p95_us.eyes", "runs.dsp", "resource_nj.cpu -> dsp", "cause_nj.wake-up", "battery_s"]
    path = write_study(tmp_path, STUDY.replace("repetitions = 2", f"repetitions = 2\nshow = {json.dumps(shown)}"))
    plan(Study.from_file(path), tmp_path)
    path = write_study(
        tmp_path, STUDY.replace("repetitions = 2", f"repetitions = 2\nshow = {json.dumps([*shown, column])}")
    )
    with pytest.raises(DocumentError, match=re.escape(says)) as caught:
        plan(Study.from_file(path), tmp_path)
    assert "$.show[6]" in str(caught.value)


def test_a_key_of_the_study_in_one_of_its_tables_is_told_where_it_stands() -> None:
    with pytest.raises(DocumentError, match='the key "compute" is unknown') as raised:
        study(base={"compute": True})
    assert raised.value.hint == '"compute" is a key of the document itself: in TOML it stands above all tables'


@pytest.mark.parametrize("values", [(1, 1.0), (1_000, 5, 1e3), (2, "2"), (True, 1, True), ([1, 2], [1, 2]), ("a", "a")])
def test_a_value_that_a_grid_has_twice_is_refused_however_it_is_written(values: tuple[object, ...]) -> None:
    with pytest.raises(DocumentError, match="has this value already, at 0") as told:
        _of_values(values)
    assert told.value.path == f"$.axes[0].values[{len(values) - 1}]"


@pytest.mark.parametrize("values", [(1, 1.5), (2**60, 2**60 + 1), (True, 1), ("a", "A"), ("1", "1.5", 2)])
def test_values_that_are_not_the_same_are_not_taken_for_it(values: tuple[object, ...]) -> None:
    assert _of_values(values).count == len(values)


def test_a_list_may_have_a_value_twice() -> None:
    axis = {"name": "x", "vary": "slow dsp", "values": [1, 1]}
    study = {"format": "leo-study/1", "name": "twice", "axes": [axis], "sampling": {"kind": "list"}}
    assert Study.from_dict(study).count == 2


def test_names_that_sql_takes_for_one_are_refused() -> None:
    axes = [{"name": name, "vary": vary, "values": [1]} for name, vary in (("DSP", "slow dsp"), ("dsp", "seed"))]
    with pytest.raises(DocumentError, match="differ in their capitals alone") as told:
        Study.from_dict({"format": "leo-study/1", "name": "capitals", "axes": axes})
    assert told.value.path == "$.axes[1].name"


def test_a_date_is_told_where_it_stands() -> None:
    text = 'format = "leo-study/1"\nname = "dates"\n[[axes]]\nvary = "slow dsp"\nvalues = [1, 2020-01-01]\n'
    with pytest.raises(DocumentError, match="date is not JSON") as told:
        Study.from_toml(text)
    assert told.value.path == "$.axes[0].values[1]"


def _of_values(values: tuple[object, ...]) -> Study:
    axis = {"name": "x", "vary": "slow dsp", "values": list(values)}
    return Study.from_dict({"format": "leo-study/1", "name": "values", "axes": [axis]})
