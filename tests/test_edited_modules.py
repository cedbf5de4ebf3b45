"""Modules of own operators that are edited while a program runs: read again they are new, and what runs goes on."""

from __future__ import annotations

import os
import random
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from leo_backends.cpu import OWN, CpuBackend
from leo_runtime import shipped
from leo_runtime.backend import Kernel
from leo_runtime.documents.binding import bind
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.problem import Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import DEFAULT_VARIANT, Workload
from leo_runtime.errors import GraphError, KernelError
from leo_runtime.operators import Operator, all_operators, find_operator
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve
from test_own_operators import workload
from test_own_states import COSTS, HARDWARE

STEP = """
import numpy as np
from leo_runtime.operators import operator
{imports}

@operator(output_shape=lambda signal: (1,))
def {name}(signal: np.ndarray) -> np.ndarray:
    return np.array([{value}], np.float32)
"""


def write(path: Path, value: object, name: str = "step", imports: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STEP.format(value=value, name=name, imports=imports))
    os.utime(path, (1, 1))  # As an edit in the same second: its time, and mostly its size, tell nothing.


def read(folder: Path, asked: str = "steps:step") -> Operator:
    workload(asked).to_file(folder / "w.json")
    found = Workload.from_file(folder / "w.json")
    return bind(found.graphs[0], found)["mine"].operator


def given(operator: Operator) -> float:
    assert operator.function is not None
    return float(operator.function(np.zeros(1))[0])


def test_what_was_edited_is_read_and_what_was_read_before_stays(tmp_path: Path) -> None:
    write(tmp_path / "steps.py", 1)
    first = read(tmp_path)
    assert read(tmp_path) is first
    write(tmp_path / "steps.py", 2)
    second = read(tmp_path)
    assert (given(first), given(second)) == (1, 2)
    assert first != second and first.name == second.name and read(tmp_path) is second


@pytest.mark.parametrize("imports", ["from .other import VALUE", "from . import other\nVALUE = other.VALUE"])
def test_what_imports_an_edited_module_is_new_and_nothing_else(tmp_path: Path, imports: str) -> None:
    (tmp_path / "other.py").write_text("from .deep import VALUE\n")
    (tmp_path / "deep.py").write_text("VALUE = 1\n")
    write(tmp_path / "steps.py", "VALUE", imports=imports)
    write(tmp_path / "apart.py", 7, "apart")
    first, apart = read(tmp_path), read(tmp_path, "apart:apart")
    (tmp_path / "deep.py").write_text("VALUE = 2\n")
    assert read(tmp_path, "apart:apart") is apart
    second = read(tmp_path)
    assert (given(first), given(second)) == (1, 2)
    assert read(tmp_path, "apart:apart") is apart


def test_modules_that_others_import_meanwhile_are_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Importing(str):
        """The name of a module: whoever looks at it meets another thread that imports something."""

        def startswith(self, *found: object) -> bool:
            monkeypatch.setitem(sys.modules, f"meanwhile_{len(sys.modules)}", sys)
            return super().startswith(*found)  # type: ignore[arg-type]

        def partition(self, by: str) -> tuple[str, str, str]:
            monkeypatch.setitem(sys.modules, f"meanwhile_{len(sys.modules)}", sys)
            return super().partition(by)

    write(tmp_path / "steps.py", 1)
    assert given(read(tmp_path)) == 1
    monkeypatch.setitem(sys.modules, Importing("meanwhile"), sys)
    write(tmp_path / "steps.py", 2)
    assert given(read(tmp_path)) == 2
    (tmp_path / "steps.py").write_text("not Python")
    with pytest.raises(GraphError, match="mend the module"):
        read(tmp_path)
    assert given(find_operator(str(tmp_path / "steps:step"))) == 2


def test_a_module_of_a_package_is_new_where_the_package_is(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "steps.py", "VALUE", imports="from . import VALUE")
    (tmp_path / "mine" / "__init__.py").write_text("VALUE = 1\n")
    first = read(tmp_path, "mine.steps:step")
    (tmp_path / "mine" / "__init__.py").write_text("VALUE = 2\n")
    assert (given(first), given(read(tmp_path, "mine.steps:step"))) == (1, 2)


BROKEN = {
    "syntax": "def (",
    "raises": "raise KeyError('no')",
    "ends": "raise SystemExit(2)",
    "null": "a = '\0'",
    "gone": "STEP = 1",
    "import": "from . import nothing_there",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_an_edit_that_is_wrong_is_refused_and_what_was_there_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.py").write_text("VALUE = 1\n")
    write(tmp_path / "steps.py", "other.VALUE", imports="from . import other")
    first = read(tmp_path)
    known, modules = all_operators(), {name: one for name, one in sys.modules.items() if name.startswith("leo_work")}
    (tmp_path / "steps.py").write_text(text)
    (tmp_path / "other.py").write_text("VALUE = 5\n")
    for _ in range(2):
        with pytest.raises(GraphError, match="operator"):
            read(tmp_path)
        assert all_operators() == known
        assert {name: one for name, one in sys.modules.items() if name.startswith("leo_work")} == modules
        assert find_operator(f"{tmp_path}/steps:step") is first
    write(tmp_path / "steps.py", "other.VALUE", imports="from . import other")
    assert given(read(tmp_path)) == 5


def test_a_module_whose_file_is_gone_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "steps.py", 1)
    first = read(tmp_path)
    (tmp_path / "steps.py").unlink()
    with pytest.raises(GraphError, match="no module named `steps`"):
        read(tmp_path)
    assert given(first) == 1
    write(tmp_path / "steps.py", 3)
    assert given(read(tmp_path)) == 3


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_edited_what_is_read_is_what_the_files_say(tmp_path: Path, seed: int) -> None:
    draws = random.Random(seed)
    values = dict.fromkeys(("a", "b", "c"), 0)
    wrong: set[str] = set()

    def put(name: str) -> None:
        after = {"a": "b", "b": "c", "c": ""}[name]
        imports = f"from . import {after}" if after else ""
        value = f"{values[name]}" + (f" + {after}.VALUE" if after else "")
        write(tmp_path / f"{name}.py", "VALUE", imports=f"{imports}\nVALUE = {value}\n" + "1/0" * (name in wrong))

    for name in values:
        put(name)
    for _ in range(30):
        name = draws.choice("abc")
        values[name] = draws.randrange(10)
        wrong.discard(name)
        if draws.randrange(4) == 0:
            wrong.add(name)
        put(name)
        asked = draws.choice("abc")
        reaches = "abc"["abc".index(asked) :]
        if wrong.intersection(reaches):
            with pytest.raises(GraphError, match="ZeroDivisionError"):
                read(tmp_path, f"{asked}:step")
        else:
            assert given(read(tmp_path, f"{asked}:step")) == sum(values[one] for one in reaches)


# In a runtime.


def costs() -> Profile:
    entries = [{"processor": "cpu", "operator": one, "fixed_us": 9, "source": "modelled: a test"} for one in NAMED]
    return Profile.from_dict({"format": "leo-profile/1", "name": "p", "hardware": "arm-board", "costs": entries})


NAMED = ("window", "steps:step", "apart:apart")


def on_cpu(problem: Problem) -> object:
    return solve(problem, "heft")


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
def test_a_runtime_takes_edited_code_and_refuses_broken_code(tmp_path: Path, live: bool) -> None:
    write(tmp_path / "steps.py", 1)
    write(tmp_path / "apart.py", 7, "apart")

    def reloaded() -> Workload:
        both = workload("steps:step")
        other = workload("apart:apart").graphs[0]
        graphs = (*both.graphs, other.model_copy(update={"name": "apart"}))
        both.model_copy(update={"graphs": graphs}).to_file(tmp_path / "w.json")
        return Workload.from_file(tmp_path / "w.json")

    kind = Runtime.live if live else Runtime.simulated
    with kind(reloaded(), shipped.hardware("arm-board"), costs(), solver=on_cpu) as runtime:

        def heard() -> list[float]:
            runtime.submit(runtime.now_us, {"sound": np.zeros(100, np.int16)}, graphs=["g", "apart"])
            (result,) = runtime.drain()
            return [float(value[0]) for graph in result.graphs for value in graph.outputs.values()]

        assert heard() == [1, 7]
        kernels = dict(runtime._now.kernels._kernels)  # type: ignore[union-attr]
        write(tmp_path / "steps.py", 2)
        assert heard() == [1, 7]
        runtime.change(reloaded())
        assert heard() == [2, 7]
        after = runtime._now.kernels._kernels  # type: ignore[union-attr]
        assert {key[0] for key, kernel in after.items() if kernel is not kernels.get(key)} == {"mine"}
        before = runtime.merged.workload
        write(tmp_path / "steps.py", "1/")
        for again in (reloaded, lambda: before):
            with pytest.raises(GraphError, match=r"SyntaxError.*steps\.py"):
                runtime.change(again())
        assert heard() == [2, 7]
        write(tmp_path / "steps.py", 4)
        runtime.change(before)
        assert heard() == [4, 7]


def test_a_process_of_its_own_takes_edited_code_for_new_kernels_alone(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("VALUE = 1\n")
    write(tmp_path / "steps.py", "other.VALUE", imports="from . import other")

    def loaded(cpu: CpuBackend) -> Kernel:
        workload("steps:step").to_file(tmp_path / "w.json")
        found = Workload.from_file(tmp_path / "w.json")
        return cpu.load(bind(found.graphs[0], found)["mine"], DEFAULT_VARIANT)

    own_process = Processor(name="cpu", backend="cpu", options={"isolate": [OWN]})
    with closing(CpuBackend(own_process)) as cpu:
        first = loaded(cpu)
        (tmp_path / "other.py").write_text("VALUE = 2\n")
        second = loaded(cpu)
        zeros = [np.zeros(100, np.float32)]
        assert (first(zeros)[0], second(zeros)[0]) == (1, 2)
        (tmp_path / "other.py").write_text("VALUE = 3\n")
        bound_before = first.stage  # type: ignore[attr-defined]
        with pytest.raises(KernelError, match="operator `steps:step` is not what it was") as told:
            cpu.load(bound_before, DEFAULT_VARIANT)
        assert told.value.hint == "read the workload again, or start the program again"
        assert loaded(cpu)(zeros)[0] == 3


COUNTS = """
import numpy as np
from leo_runtime.operators import operator

@operator(output_shape=lambda signal: (1,), on_gap="tell")
class Counts:
    def start(self, signal: tuple[int, ...]) -> None:
        self.runs = {first}

    def step(self, signal: np.ndarray) -> np.ndarray:
        self.runs += 1
        return np.array([self.runs])
"""


def test_a_change_that_is_refused_loses_no_state_whatever_it_is_refused_for(tmp_path: Path) -> None:
    def reloaded(first: str) -> Workload:
        (tmp_path / "counts.py").write_text(COUNTS.format(first=first))
        workload("counts:Counts").to_file(tmp_path / "w.json")
        return Workload.from_file(tmp_path / "w.json")

    with Runtime.live(reloaded("0"), HARDWARE, COSTS, solver=on_cpu) as runtime:
        ended_us = 0

        def heard() -> float:
            nonlocal ended_us
            ended_us = max(ended_us + 10_000, runtime.now_us)
            runtime.submit(ended_us, {"sound": np.zeros(100, np.int16)}, graphs=["g"], wait=True)
            (result,) = runtime.drain()
            return float(result.graphs[0].outputs["mine"][0])

        def kept() -> dict[str, int]:
            (state,) = runtime.states()
            return {str(why): many for why, many in state.anew.items()}

        assert heard() == 1
        for runs, wrong in enumerate(("1 / 0", "nothing", "("), start=2):
            with pytest.raises((GraphError, KernelError)):
                runtime.change(reloaded(wrong))
            runtime.change(reloaded("0"))
            assert heard() == runs
        assert kept() == {"first": 1}
        runtime.change(reloaded("100"))
        assert heard() == 101
        assert kept() == {"changed": 1}
