"""Users' own operators: their modules are found beside the workload, and what is wrong with one is said in words."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime.cli import main
from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.profile import Cost, Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import GraphError
from leo_runtime.operators import all_operators, define, find_operator, operator
from leo_runtime.runtime.runtime import Runtime

LOUDEST = """
import numpy as np
from leo_runtime.operators import operator


@operator(output_shape=lambda signal, *, keep: (keep,))
def loudest(signal: np.ndarray, *, keep: int = {keep}) -> np.ndarray:
    return np.sort(signal)[-keep:]
"""


def workload(asked: str, **params: Any) -> Workload:
    graph = GraphBuilder("g", period_us=1_000_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="mic", samples=100)
    graph.stage("mine", asked, sound, **params)
    stream = Stream(name="mic", kind="audio", rate_hz=16_000)
    return Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))


def written(folder: Path, code: str, module: str = "steps", asked: str = "steps:loudest") -> Path:
    """A workload file with a module beside it."""
    path = folder.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    workload(asked).to_file(folder / "w.json")
    return folder / "w.json"


def bound(read: Workload) -> BoundStage:
    return bind(read.graphs[0], read)["mine"]


def test_a_module_beside_the_workload_is_found_wherever_python_looks(tmp_path: Path) -> None:
    before, known = list(sys.path), set(sys.modules)
    mine = bound(Workload.from_file(written(tmp_path, LOUDEST.format(keep=3))))
    assert mine.output_shape == (3,)
    assert mine.operator.name == "steps:loudest"
    assert mine.signature("default").startswith("steps:loudest(100)#")
    assert sys.path == before
    assert all(name.startswith(("leo_workload_", "pydantic.")) for name in set(sys.modules) - known)


def test_two_workloads_may_have_modules_of_one_name(tmp_path: Path) -> None:
    read = [Workload.from_file(written(tmp_path / f"{keep}", LOUDEST.format(keep=keep))) for keep in (3, 4, 3)]
    stages = [bound(one) for one in read]
    assert [stage.output_shape for stage in stages] == [(3,), (4,), (3,)]
    assert {stage.operator.name for stage in stages} == {"steps:loudest"}
    assert stages[0].operator is stages[2].operator


def test_a_module_beside_the_workload_goes_before_one_that_is_installed_and_hides_it_from_nobody(
    tmp_path: Path,
) -> None:
    read = Workload.from_file(written(tmp_path, LOUDEST.format(keep=3), "wave", "wave:loudest"))
    assert bound(read).output_shape == (3,)
    assert hasattr(__import__("wave"), "Wave_read")
    with pytest.raises(GraphError, match="no operator is called `wave:loudest`: its module defines none of that name"):
        find_operator("wave:loudest")


def test_what_was_read_can_be_written_and_read_elsewhere(tmp_path: Path) -> None:
    read = Workload.from_file(written(tmp_path / "here", LOUDEST.format(keep=3)))
    (tmp_path / "there").mkdir()
    read.to_file(tmp_path / "there" / "w.json")
    again = Workload.from_file(tmp_path / "there" / "w.json")
    assert again == read
    assert bound(again).operator is bound(read).operator


def test_modules_of_a_package_and_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("KEEP = 5\n")
    code = "from .. import helpers\n" + LOUDEST.format(keep="helpers.KEEP")
    read = Workload.from_file(written(tmp_path, code, "pack.steps", "pack.steps:loudest"))
    assert bound(read).output_shape == (5,)
    assert bound(read).operator.name == "pack.steps:loudest"


def test_what_a_module_imports_from_elsewhere_is_known_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "leo_steps_of_another.py").write_text(LOUDEST.format(keep=7))
    monkeypatch.syspath_prepend(tmp_path / "installed")
    code = "import leo_steps_of_another\n" + LOUDEST.format(keep=3)
    assert bound(Workload.from_file(written(tmp_path / "mine", code))).output_shape == (3,)
    assert bound(workload("leo_steps_of_another:loudest")).output_shape == (7,)


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        ("def broken(:\n", r"SyntaxError: invalid syntax \(steps.py:1\)", "mend the module"),
        ("\n\nundefined\n", r"NameError: name 'undefined' is not defined \(steps.py:3\)", "mend the module"),
        (
            "\nimport no_such_package.x\n",
            r"ModuleNotFoundError: .*'no_such_package' \(steps.py:2\)",
            "install `no_such_p",
        ),
        ("from numpy import nothing\n", r"ImportError: cannot import name 'nothing' .* \(steps.py:1\)", "mend"),
        ("import helpers\n", r"ModuleNotFoundError: .*'helpers' \(steps.py:1\)", "`from . import helpers`"),
        ("from . import faulty\n", r"SyntaxError: .* \(faulty.py:2\)", "mend the module"),
        ("from . import failing\n", r"ZeroDivisionError: .* \(failing.py:2\)", "mend the module"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3 \(steps.py:2\)", "mend the module"),
        ("raise KeyError\n", r"KeyError \(steps.py:1\)", "mend the module"),
        (
            "class E(Exception):\n    def __str__(self):\n        return 1 // 0\n\nraise E\n",
            r"E \(steps.py:5\)",
            "mend the module",
        ),
        ("\0", r"(SyntaxError|ValueError): source code .*", "mend the module"),
        ("loudest = 1\n", None, "@operator"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_place(
    tmp_path: Path, code: str, says: str | None, hint: str
) -> None:
    (tmp_path / "helpers.py").write_text("")
    (tmp_path / "faulty.py").write_text("\nif:\n")
    (tmp_path / "failing.py").write_text("def f():\n    return 1 // 0\n\nf()\n")
    before = all_operators()
    why = f"the module of operator `steps:loudest` cannot be imported [(]{says}[)](?m:$)"
    if says is None:
        why = "no operator is called `steps:loudest`: its module defines none of that name(?m:$)"
    with pytest.raises(GraphError, match=f"^stage `mine` of graph `g`: {why}") as error:
        Workload.from_file(written(tmp_path, code))
    assert hint in error.value.hint
    assert all_operators() == before


def test_a_module_that_fails_leaves_nothing_and_can_be_mended(tmp_path: Path) -> None:
    file = written(tmp_path, LOUDEST.format(keep=3) + "\nundefined\n")
    for _ in range(2):
        with pytest.raises(GraphError, match="NameError"):
            Workload.from_file(file)
    written(tmp_path, LOUDEST.format(keep=3))
    assert bound(Workload.from_file(file)).output_shape == (3,)


def test_a_broken_module_is_no_traceback_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "def broken(:\n")
    assert main(["replay", "demo", "--virtual", "--workload", str(file)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "SyntaxError: invalid syntax (steps.py:1)" in said


def halves(signal: np.ndarray, *, height: float = 0.5) -> np.ndarray:
    return signal[::2]


def shape_without_the_keyword(signal: tuple[int, ...]) -> tuple[int, ...]:
    return (signal[0] // 2,)


def shape_that_raises(signal: tuple[int, ...], *, height: float) -> tuple[int, ...]:
    return (signal[1] // 2,)


def half(signal: tuple[int, ...], *, height: float) -> tuple[int, ...]:
    return (signal[0] // 2,)


def first(signal: tuple[int, ...]) -> int:
    return signal[0]


class SpeechlessError(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def speechless() -> int:
    raise SpeechlessError


LINE = shape_without_the_keyword.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("what", "asked", "says"),
    [
        ("output_shape", shape_without_the_keyword, rf"failed: TypeError: .*keyword argument 'height' .*py:{LINE}\)"),
        ("output_shape", shape_that_raises, rf"failed: IndexError: tuple index .*\(test_own_operators.py:{LINE + 5}\)"),
        ("output_shape", lambda *_, **__: 3, "gave 3"),
        ("output_shape", lambda *_, **__: "three", "gave 'three'"),
        ("output_shape", lambda *_, **__: (2.5,), r"gave \(2.5,\)"),
        ("output_shape", lambda *_, **__: (-1,), r"gave \(-1,\)"),
        ("output_shape", lambda *_, **__: None, "gave None"),
        ("output_shape", lambda *_, **__: (10**9, 10**9), "gave "),
        ("output_shape", lambda *_, **__: sys.exit(0), r"failed: SystemExit: 0 \(test_own_operators.py"),
        ("output_shape", lambda *_, **__: speechless(), r"failed: SpeechlessError \(test_own_operators.py"),
        ("macs", lambda signal, height: 10**16, "gave 10000000000000000"),
        ("macs", lambda signal, height: sys.exit(), r"failed: SystemExit \("),
        ("weight_bytes", lambda signal, height: speechless(), r"failed: SpeechlessError \("),
        ("macs", first, "failed: TypeError: .*'height'"),
        ("macs", lambda signal, height: signal[0] * 1.5, "gave 150.0"),
        ("macs", lambda signal, height: -1, "gave -1"),
        ("weight_bytes", first, "failed: TypeError: .*'height'"),
        ("weight_bytes", lambda signal, height: None, "gave None"),
    ],
)
def test_an_account_that_fails_is_named_with_stage_and_operator(
    what: str, asked: Callable[..., Any], says: str
) -> None:
    accounts: dict[str, Any] = {"output_shape": half, what: asked}
    own = operator(**accounts)(halves)
    with pytest.raises(GraphError, match=f"^stage `mine` of graph `g`: `{what}` of operator `{own.name}` {says}"):
        bound(workload(own.name))


def test_the_hint_tells_how_it_is_called() -> None:
    own = operator(output_shape=shape_without_the_keyword)(halves)
    with pytest.raises(GraphError) as error:
        bound(workload(own.name))
    assert error.value.hint == "it is called with the shape of each input, height=..."


def test_lists_and_numpy_integers_are_shapes() -> None:
    own = operator(output_shape=lambda signal, height: [np.int64(3)], macs=lambda *_, **__: np.int64(9))(halves)
    found = bound(workload(own.name))
    assert (found.output_shape, found.work("default").macs) == ((3,), 9)


@pytest.mark.parametrize(
    "inputs", [2, 0, None, (1,), (1, 2, 3), (2, 1), (-1, 2), ("1", None), (1.0, 2), (True, 2), "12"]
)
def test_how_many_inputs_it_takes_is_said_in_words(inputs: Any) -> None:
    with pytest.raises(GraphError, match=r"^`inputs` of an operator are the least and the greatest number") as error:
        operator(output_shape=half, inputs=inputs)(halves)
    assert repr(inputs) in str(error.value)
    assert "inputs=(1, None)" in error.value.hint


def test_a_list_says_how_many_inputs_too() -> None:
    counts: Any = [1, 2]
    assert operator(output_shape=half, inputs=counts)(halves).inputs == (1, 2)


@pytest.mark.parametrize(
    ("what", "asked"), [("output_shape", (3,)), ("output_shape", None), ("macs", 5), ("weight_bytes", "")]
)
def test_an_account_that_is_no_function_is_refused(what: str, asked: Any) -> None:
    accounts: dict[str, Any] = {"output_shape": half, what: asked}
    with pytest.raises(GraphError, match=f"^`{what}` of an operator is a function of the shapes of its inputs, got"):
        operator(**accounts)(halves)


def test_an_operator_that_is_no_function_may_fail_too() -> None:
    def shape(_params: Any, shapes: Any) -> Any:
        return (shapes[1][0],)

    def ends(_params: Any, shapes: Any) -> Any:
        sys.exit(0)

    ending = define(replace(operator(output_shape=half)(halves), name=f"{__name__}:ending", output_shape=ends))
    with pytest.raises(GraphError, match=r"`.*:ending` failed: SystemExit: 0 \(test_own_operators.py"):
        bound(workload(ending.name))
    raw = define(replace(operator(output_shape=half)(halves), name=f"{__name__}:raw", output_shape=shape))
    with pytest.raises(
        GraphError, match=r"^stage `mine` of graph `g`: `.*:raw` failed: IndexError: .*own_operators.py"
    ):
        bound(workload(raw.name))


GATED = """
import numpy as np
from leo_runtime.operators import operator


@operator(output_shape=lambda signal: (1,), gate=True)
def loud(signal: np.ndarray) -> np.ndarray:
    return np.array([np.abs(signal).max() - 0.5])


@operator(output_shape=lambda signal: (1,), gate=True, on_gap="tell")
class Often:
    runs = 0

    def step(self, signal: np.ndarray) -> np.ndarray:
        self.runs += 1
        return np.array([self.runs % 2])
"""


@pytest.mark.parametrize(("gate", "outcomes"), [("loud", "cancelled done done"), ("Often", "done cancelled done")])
def test_an_operator_of_ones_own_may_be_a_gate(tmp_path: Path, gate: str, outcomes: str) -> None:
    """Stages that it gates run where what it gives is above 0; one that keeps state may be a gate, too."""
    (tmp_path / "gates.py").write_text(GATED)
    graph = GraphBuilder("g", period_us=1_000_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="mic", samples=400)
    opens = graph.stage("opens", f"gates:{gate}", sound)
    graph.stage("mel", "log_mel", sound, gate=opens)
    stream = Stream(name="mic", kind="audio", rate_hz=16_000)
    written = Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))
    written.to_file(tmp_path / "w.json")
    hardware = Hardware(format="leo-hardware/1", name="h", processors=(Processor(name="cpu", backend="cpu"),))
    cost = Cost(processor="cpu", fixed_us=10, source="modelled")
    profile = Profile(format="leo-profile/1", name="p", hardware="h", costs=(cost,))
    with Runtime.simulated(Workload.from_file(tmp_path / "w.json"), hardware, profile) as runtime:
        for second, level in enumerate((0.1, 0.9, 0.6), start=1):
            runtime.submit(second * 1_000_000, {"sound": np.full(400, level, np.float32)})
        assert " ".join(result.graphs[0].outcome for result in runtime.drain()) == outcomes


def test_what_is_no_gate_says_how_to_be_one() -> None:
    graph = GraphBuilder("g", period_us=1_000_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="mic", samples=400)
    plain = graph.stage("plain", operator(output_shape=lambda signal: (1,))(lambda signal: signal[:1]), sound)
    graph.stage("mel", "log_mel", sound, gate=plain)
    stream = Stream(name="mic", kind="audio", rate_hz=16_000)
    asked = Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))
    with pytest.raises(GraphError, match="is no gate") as raised:
        bound(asked)
    assert raised.value.hint == "an operator of your own is one by @operator(gate=True, ...)"


def test_a_gate_gives_one_number() -> None:
    two = operator(output_shape=lambda signal: (2,), gate=True)(lambda signal: signal[:2])
    with pytest.raises(GraphError, match=r"is a gate, and its `output_shape` gave \(2,\)") as raised:
        two.output_shape(two.parameters(), [(100,)])
    assert "one number" in raised.value.hint


async def _awaited(signal: np.ndarray) -> np.ndarray:
    return signal


def _generated(signal: np.ndarray) -> Iterator[np.ndarray]:
    yield signal


class _Awaited:
    async def step(self, signal: np.ndarray) -> np.ndarray:
        return signal


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (_awaited, "`_awaited` is a coroutine function"),
        (_generated, "`_generated` is a generator function"),
        (_Awaited, "`_Awaited.step` is a coroutine function"),
    ],
)
def test_what_would_give_no_array_is_refused_where_it_is_made(function: Any, what: str) -> None:
    with pytest.raises(GraphError, match=what) as raised:
        operator(output_shape=lambda signal: signal)(function)
    assert "plain function" in raised.value.hint
