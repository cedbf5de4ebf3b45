"""TensorFlow Lite models on the CPU, by whichever interpreter is installed; without one, how that is said."""

import gc
import importlib.util
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from leo_backends import tflite, tflite_package, tflite_session, tflite_trial
from leo_backends.cpu import CpuBackend
from leo_backends.process import Worker
from leo_backends.tflite_pieces import PieceModel
from leo_backends.tflite_trial import Trials
from leo_runtime.documents.binding import bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT, Stream, Workload
from leo_runtime.errors import KernelError, MissingExtraError
from leo_runtime.operators.classifiers import TfliteParameters
from leo_runtime.testing import example

TINY = Path(__file__).parent / "models" / "tiny.tflite"
WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"
CPU = CpuBackend(Processor(name="cpu", backend="cpu"))

needs_interpreter = pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")


def tiny(**changes: object) -> TfliteParameters:
    return TfliteParameters.model_validate({"model": TINY, "output_shape": (2,), **changes})


def features(rows: int = 98) -> np.ndarray:
    """Something like the wake-word model's features: 0 to 26."""
    return (13 + 13 * np.sin(np.arange(rows * 40) / 7)).astype(np.float32).reshape(rows, 40)


@needs_interpreter
def test_a_float_model_is_its_formula() -> None:
    run = tflite.model_program(tiny(), [(3,)])
    assert run([np.array([1, 2, 3], np.float32)]).tolist() == [1 - 4 + 1.5 + 0.5, 0.25 + 8 - 3 - 0.25]


@needs_interpreter
def test_an_interpreter_that_is_well_says_nothing() -> None:
    code = f"""
from pathlib import Path
from leo_backends import tflite
from leo_runtime.operators.classifiers import TfliteParameters
parameters = TfliteParameters.model_validate({{"model": Path({str(TINY)!r}), "output_shape": (2,)}})
tflite.model_program(parameters, [(3,)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@needs_interpreter
def test_steps_are_averaged_and_the_greatest_counts() -> None:
    rows = np.array([[0, 0, 0], [4, 0, 0], [2, 0, 0], [0, 0, 0], [9, 9, 9]], np.float32)[:, :, None]
    for steps, first in ((1, 4.5), (2, 3.5), (4, 2.0), (9, 2.0)):
        params = tiny(rows_per_step=1, average_steps=steps)
        run = tflite.model_program(params, [(4, 3, 1)])
        assert run([rows[:4]])[0] == pytest.approx(first)


@needs_interpreter
def test_a_streaming_model_starts_afresh_with_every_window() -> None:
    window = features()
    tried = example("w", "tflite", [window], model=WAKE_WORD, output_shape=(1,), rows_per_step=3, average_steps=5)
    kernel = CPU.load(tried.stage, DEFAULT_VARIANT)
    alone = kernel([window])
    for other in (features() * 0, window[::-1].copy(), 26 - window):
        kernel([other])
        assert np.array_equal(kernel([window]), alone)


@needs_interpreter
def test_the_rows_of_a_step_go_in_together_and_the_rest_is_left_out() -> None:
    params = {"model": WAKE_WORD, "output_shape": (1,), "rows_per_step": 3}
    longer = tflite.model_program(TfliteParameters(**params), [(98, 40)])
    shorter = tflite.model_program(TfliteParameters(**params), [(96, 40)])
    assert np.array_equal(longer([features()]), shorter([features()[:96]]))


def model(name: str, *output_shape: int) -> TfliteParameters:
    return TfliteParameters(model=TINY.with_name(f"{name}.tflite"), output_shape=output_shape)


@needs_interpreter
@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 2, 1)])
def test_a_model_with_state_starts_every_run_in_its_first(shape: tuple[int, ...]) -> None:
    """`recurrent.tflite` adds half of the last state to each value: 1, 1 gives 1, 1.5 and then goes on."""
    run = tflite.model_program(model("recurrent", 2), [shape])
    for _ in range(4):
        assert run([np.ones(shape, np.float32)]).tolist() == [1.0, 1.5]


@needs_interpreter
def test_steps_share_a_state_and_runs_do_not() -> None:
    params = {"model": TINY.with_name("recurrent.tflite"), "output_shape": (2,), "rows_per_step": 2}
    run = tflite.model_program(TfliteParameters(**params), [(4, 1)])
    for _ in range(3):
        assert run([np.ones((4, 1), np.float32)]).tolist() == [1.75, 1.875]


@needs_interpreter
def test_what_a_model_keeps_in_resource_variables_does_not_leak_either() -> None:
    window = features(3)
    run = tflite.model_program(TfliteParameters(model=WAKE_WORD, output_shape=(1,)), [(3, 40)])
    first = run([window])
    for _ in range(3):
        run([26 - window])
        assert np.array_equal(run([window]), first)


@needs_interpreter
@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 2), (1,), (9,)])
def test_an_open_dimension_takes_the_stages_shape(shape: tuple[int, ...]) -> None:
    """`any_length.tflite` gives the absolute values of (1, ?)."""
    values = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape) * -1
    run = tflite.model_program(model("any_length", *shape), [shape])
    assert np.array_equal(run([values]), -values)
    assert np.array_equal(run([-values]), -values)


@needs_interpreter
@pytest.mark.parametrize("output", ["b", 1])
def test_an_output_is_chosen_by_name_or_number(output: object) -> None:
    """`two_outputs.tflite` is `tiny.tflite` with its bias for a second output."""
    params = TfliteParameters(model=TINY.with_name("two_outputs.tflite"), output_shape=(2,), output=output)
    assert tflite.model_program(params, [(3,)])([np.ones(3, np.float32)]).tolist() == [0.5, -0.25]


@needs_interpreter
def test_several_inputs_are_given_in_the_stages_order() -> None:
    """`two_inputs.tflite` gives a + b of four values each."""
    run = tflite.model_program(model("two_inputs", 4), [(4,), (4,)])
    assert run([np.array([1, 2, 3, 4], np.float32), np.array([10, 20, 30, 40], np.float32)]).tolist() == [
        11,
        22,
        33,
        44,
    ]


@needs_interpreter
def test_a_graph_may_give_a_model_two_inputs() -> None:
    graph = GraphBuilder("g", period_us=1, deadline_us=1)
    left, right = (graph.stage(name, "window", stream="mic", samples=4) for name in ("left", "right"))
    graph.stage("both", "tflite", left, right, model=str(TINY.with_name("two_inputs.tflite")), output_shape=[4])
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    workload = Workload(format="leo-workload/1", name="w", streams=streams, graphs=(graph.build(),))
    both = bind(workload.graphs[0], workload)["both"]
    ones = np.ones(4, np.float32)
    assert CPU.load(both, DEFAULT_VARIANT)([ones, ones * 2]).tolist() == [3, 3, 3, 3]
    assert both.work(DEFAULT_VARIANT).bytes == 4 * (4 + 4 + 4)


@pytest.mark.parametrize(
    ("signature", "shape", "filled"),
    [
        ((1, 3), (3,), (1, 3)),
        ((1, 3), (4,), None),
        ((-1,), (4,), (4,)),
        ((-1, 40), (98, 40), (98, 40)),
        ((1, -1, 40), (98, 40), (1, 98, 40)),
        ((-1, -1, 40), (98, 40), (1, 98, 40)),
        ((-1, -1), (7,), (1, 7)),
        ((-1, 3, 40), (99, 40), (33, 3, 40)),
        ((-1, 3, 40), (98, 40), None),
        ((-1, -1, 3), (8, 2), None),
        ((-1, 0), (4,), None),
        ((), (1,), ()),
    ],
)
def test_open_dimensions_are_filled(signature: tuple[int, ...], shape: tuple[int, ...], filled: object) -> None:
    assert tflite_session._filled(signature, shape) == filled


@pytest.mark.parametrize(
    ("operator", "keeps"),
    [
        ("CONV_2D", False),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", False),
        ("DELEGATE", False),
        ("TfLiteXNNPackDelegate", False),
        ("VAR_HANDLE", True),
        ("CALL_ONCE", True),
        ("RANDOM_UNIFORM", True),
        ("FlexRFFT", True),
        ("my_own_operator", True),
    ],
)
def test_which_operators_may_keep_a_state(operator: str, keeps: bool) -> None:
    class Told:
        def _get_ops_details(self) -> list[dict[str, str]]:
            return [{"op_name": "ADD"}, {"op_name": operator}]

    assert tflite_session.keeps_state(Told()) is keeps
    assert tflite_session.keeps_state(object())


@needs_interpreter
@pytest.mark.parametrize(
    ("name", "shapes", "changes", "says", "hint"),
    [
        ("no_input", [(3,)], {}, "has no input, so no stage can run it", ""),
        ("two_outputs", [(3,)], {}, r"has `y` \(1, 2\), `b` \(2,\), a stage has one", "the parameter `output`"),
        ("two_outputs", [(3,)], {"output": "z"}, r"has `y` .*, not the output 'z'", "the parameter `output`"),
        ("tiny", [(3,)], {"output": 1}, r"has `y` \(1, 2\), not the output 1", "the parameter `output`"),
        ("two_inputs", [(4,)], {}, r"has 2 inputs \(`a` \(1, 4\), `b` \(1, 4\)\), the stage gives it 1", ""),
        ("two_inputs", [(4,), (3,)], {}, r"its input `b` has the shape \(1, 4\), the stage's is \(3,\)", ""),
        ("tiny", [(3,), (3,)], {}, r"has 1 input \(`x` \(1, 3\)\), the stage gives it 2", ""),
        ("tiny", [(9, 3)], {}, r"its input has the shape \(1, 3\), the stage's is \(9, 3\)", "`rows_per_step`"),
        ("tiny", [(9, 4)], {"rows_per_step": 1}, r"its input has the shape \(1, 3\), the stage's is \(1, 4\)", ""),
        ("two_inputs", [(4,), (4,)], {"rows_per_step": 1}, "a streaming run .* reads one input, the stage 2", ""),
    ],
)
def test_what_does_not_fit_is_said_when_it_is_loaded(
    name: str, shapes: list[tuple[int, ...]], changes: dict[str, object], says: str, hint: str
) -> None:
    path = TINY.with_name(f"{name}.tflite")
    params = TfliteParameters.model_validate({"model": path, "output_shape": (2,), **changes})
    with pytest.raises(KernelError, match=f"{name}.tflite: {says}") as raised:
        tflite.model_program(params, shapes)
    assert hint in raised.value.hint


@needs_interpreter
def test_integers_are_quantised_as_the_tensor_says() -> None:
    detail = {"dtype": np.int8, "quantization": (0.5, -3)}
    assert tflite_session.quantised(np.array([0, 1, 1.3, -1000, 1000]), detail).tolist() == [-3, -1, 0, -128, 127]
    restored = tflite_session.restored(np.array([0, 255], np.uint8), {"quantization": (1 / 256, 0)})
    assert restored.dtype == np.float32
    assert restored.tolist() == [0, 255 / 256]


@needs_interpreter
def test_threads_that_run_at_once_share_no_interpreter() -> None:
    run = tflite.model_program(tiny(), [(3,)])
    outputs: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        for _ in range(200):
            outputs[number] = run([np.full(3, number, np.float32)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: output[0] for number, output in outputs.items()} == {n: 0.5 - 0.5 * n for n in range(4)}


@needs_interpreter
def test_who_runs_a_model_need_not_be_who_warmed_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane's first frame made an interpreter anew, since another thread had loaded the stage."""
    run = tflite.model_program(tiny(), [(3,)])
    made: list[object] = []
    monkeypatch.setattr(tflite_session, "new_interpreter", made.append)
    outputs: list[np.ndarray] = []
    for number in range(3):
        window = np.full(3, number, np.float32)
        thread = threading.Thread(target=lambda window=window: outputs.append(run([window])))
        thread.start()
        thread.join()
    assert [output[0] for output in outputs] == [0.5 - 0.5 * n for n in range(3)]
    assert made == []


@needs_interpreter
@pytest.mark.parametrize(
    ("shape", "changes", "says"),
    [
        ((4,), {}, r"its input has the shape \(1, 3\), the stage's is \(4,\)"),
        ((3,), {"output_shape": (3,)}, r"its output has the shape \(1, 2\), the stage's is \(3,\)"),
        ((3,), {"model": TINY.with_name("gone.tflite")}, "gone.tflite: cannot be read"),
        ((3,), {"model": Path(__file__)}, "test_tflite.py: cannot be loaded"),
    ],
)
def test_a_model_that_does_not_fit_is_found_when_it_is_loaded(
    shape: tuple[int], changes: dict[str, object], says: str
) -> None:
    with pytest.raises(KernelError, match=says):
        tflite.model_program(tiny(**changes), [shape])


def test_without_an_interpreter_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite_package, "PACKAGES", ("no_such_interpreter",))
    tried = example("t", "tflite", [np.zeros(3, np.float32)], model=TINY, output_shape=(2,))
    assert not CPU.supports(tried.stage, DEFAULT_VARIANT)
    with pytest.raises(MissingExtraError) as raised:
        CPU.load(tried.stage, DEFAULT_VARIANT)
    assert raised.value.hint == "pip install 'leo-runtime[tflite]'"


def use_interpreter(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have a made-up package bring the interpreter, here and in the processes of first runs."""
    (folder / "old_interpreter").mkdir()
    (folder / "old_interpreter" / "__init__.py").touch()
    (folder / "old_interpreter" / "interpreter.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "old_interpreter", raising=False)
    monkeypatch.delitem(sys.modules, "old_interpreter.interpreter", raising=False)
    monkeypatch.setattr(tflite_package, "PACKAGES", ("no_such_interpreter", "old_interpreter"))
    monkeypatch.setattr(tflite, "TRIALS", Trials())


def test_the_first_package_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a package that numpy is too new for says so, as `tflite_runtime` does."""
    said = "<built-in method CreateWrapperFromBuffer> returned a result with an exception set"
    use_interpreter(tmp_path, monkeypatch, f"def Interpreter(**_):\n    raise SystemError({said!r})\n")
    with pytest.raises(KernelError, match="old_interpreter cannot work with numpy"):
        tflite.model_program(tiny(), [(3,)])


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "import os\ndef Interpreter(**_):\n    os.write(2, b'check failed')\n    os.abort()\n",
            "SIGABRT: check failed",
        ),
        ("import os, signal\ndef Interpreter(**_):\n    os.kill(os.getpid(), signal.SIGKILL)\n", "died of SIGKILL"),
        ("def Interpreter(**_):\n    raise SystemExit(3)\n", "died of exit code 3"),
        ("raise ImportError('libtflite.so is torn')\n", r"cannot be run \(ImportError: libtflite.so is torn\)"),
        ("def Interpreter(**_):\n    raise MemoryError\n", r"cannot be run \(MemoryError: \)"),
    ],
    ids=["abort", "kill", "exit", "import", "memory"],
)
def test_an_interpreter_that_ends_its_process_ends_no_other(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_interpreter(tmp_path, monkeypatch, code)
    for _ in range(2):
        with pytest.raises(KernelError, match=f"tiny.tflite: .*{says}") as raised:
            tflite.model_program(tiny(), [(3,)])
    assert not says.startswith("died") or "old_interpreter does not survive it" in raised.value.hint
    tflite.TRIALS.close()


def test_an_interpreter_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_interpreter(tmp_path, monkeypatch, "import threading\ndef Interpreter(**_):\n    threading.Event().wait()\n")
    monkeypatch.setattr(tflite_trial, "TIMEOUT_S", 0.05)
    with pytest.raises(KernelError, match=r"tiny.tflite: cannot be run, .* did not answer within 0\.05 s"):
        tflite.model_program(tiny(), [(3,)])


def test_of_a_model_that_cannot_be_run_only_that_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is given many damaged models does not keep them all."""
    use_interpreter(tmp_path, monkeypatch, "def Interpreter(**_):\n    raise MemoryError\n")
    content = bytes(1000)
    before = sys.getrefcount(content)
    with suppress(KernelError):
        tflite.TRIALS.require_sound(PieceModel("torn", content, "old_interpreter", (), (), ()))
    gc.collect()
    assert sys.getrefcount(content) == before
    tflite.TRIALS.close()


@needs_interpreter
def test_a_model_is_tried_once_in_one_process_and_closing_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []

    def start(*arguments: str) -> Worker:
        started.append(Worker(*arguments))
        return started[-1]

    monkeypatch.setattr(tflite_trial, "Worker", start)
    monkeypatch.setattr(tflite, "TRIALS", Trials())
    for _ in range(2):
        tflite.model_program(tiny(), [(3,)])
        tflite.model_program(model("any_length", 4), [(4,)])
        tflite.model_program(model("any_length", 5), [(5,)])
        with pytest.raises(KernelError, match="its input has the shape"):
            tflite.model_program(tiny(), [(4,)])
    assert len(started) == 1
    backend = CpuBackend(Processor(name="cpu", backend="cpu"))
    backend.close()
    backend.close()
    assert not started[0].alive
    tflite.model_program(tiny(), [(3,)])
    assert len(started) == 1


@needs_interpreter
def test_where_python_is_embedded_a_model_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite, "TRIALS", Trials())
    monkeypatch.setattr("multiprocessing.spawn._python_exe", None)
    with pytest.raises(KernelError, match="the process of its first run cannot be started") as told:
        tflite.model_program(tiny(), [(3,)])
    assert "multiprocessing.set_executable" in told.value.hint


@needs_interpreter
def test_a_model_that_ends_its_interpreter_fails_alone(tmp_path: Path) -> None:
    """One byte of a header is enough for a segmentation fault, in both packages."""
    content = bytearray((TINY.parent / "two_inputs.tflite").read_bytes())
    content[18] = 0
    (tmp_path / "torn.tflite").write_bytes(content)
    params = TfliteParameters(model=tmp_path / "torn.tflite", output_shape=(4,))
    with pytest.raises(KernelError, match=r"torn.tflite: cannot be (run|loaded)"):
        tflite.model_program(params, [(4,), (4,)])
    assert tflite.model_program(tiny(), [(3,)])([np.zeros(3, np.float32)]).tolist() == [0.5, -0.25]


@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="LiteRT is not installed, and tflite_runtime reads a damaged file unchecked",
)
def test_no_changed_byte_of_a_model_ends_this_process_or_gives_a_traceback(tmp_path: Path) -> None:
    good = (TINY.parent / "two_inputs.tflite").read_bytes()
    random = np.random.default_rng(14)
    outcomes: dict[str, int] = {"runs": 0, "refused": 0}
    for at in sorted({18, *random.choice(len(good), 150, replace=False).tolist()}):
        content = bytearray(good)
        content[at] = 0 if at == 18 else int(random.integers(256))
        (tmp_path / "m.tflite").write_bytes(content)
        params = TfliteParameters(model=tmp_path / "m.tflite", output_shape=(4,))
        try:
            output = tflite.model_program(params, [(4,), (4,)])([np.ones(4, np.float32)] * 2)
        except KernelError as error:
            assert "m.tflite" in str(error)
            outcomes["refused"] += 1
        else:
            assert output.shape == (4,)
            outcomes["runs"] += 1
    assert min(outcomes.values()) > 10


def test_micro_features_are_ten_milliseconds_apart_and_start_afresh() -> None:
    pytest.importorskip("pymicro_features", reason="the extra `audio` is not installed")
    sound = (0.1 * np.sin(np.arange(16_000) / 5)).astype(np.float32)
    tried = example("m", "micro_features", [sound])
    kernel = CPU.load(tried.stage, DEFAULT_VARIANT)
    output = kernel([sound])
    assert output.shape == (98, 40)
    kernel([sound / 3])
    assert np.array_equal(kernel([sound]), output)
    assert len(set(output[10:20].argmax(axis=1))) == 1  # A tone is in one band, until it is taken for noise.
    assert CPU.load(example("m", "micro_features", [sound[:480]]).stage, DEFAULT_VARIANT)([sound[:480]]).shape == (
        1,
        40,
    )
