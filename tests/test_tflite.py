"""TensorFlow Lite models on the CPU, by whichever interpreter is installed; without one, how that is said."""

import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from leo_backends import tflite
from leo_backends.cpu import CpuBackend
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
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
    run = tflite.model_program(tiny(), (3,))
    assert run([np.array([1, 2, 3], np.float32)]).tolist() == [1 - 4 + 1.5 + 0.5, 0.25 + 8 - 3 - 0.25]


@needs_interpreter
def test_steps_are_averaged_and_the_greatest_counts() -> None:
    rows = np.array([[0, 0, 0], [4, 0, 0], [2, 0, 0], [0, 0, 0], [9, 9, 9]], np.float32)[:, :, None]
    for steps, first in ((1, 4.5), (2, 3.5), (4, 2.0), (9, 2.0)):
        params = tiny(rows_per_step=1, average_steps=steps)
        run = tflite.model_program(params, (4, 3, 1))
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
    longer = tflite.model_program(TfliteParameters(**params), (98, 40))
    shorter = tflite.model_program(TfliteParameters(**params), (96, 40))
    assert np.array_equal(longer([features()]), shorter([features()[:96]]))


@needs_interpreter
def test_integers_are_quantised_as_the_tensor_says() -> None:
    detail = {"dtype": np.int8, "quantization": (0.5, -3)}
    assert tflite._quantised(np.array([0, 1, 1.3, -1000, 1000]), detail).tolist() == [-3, -1, 0, -128, 127]
    restored = tflite._restored(np.array([0, 255], np.uint8), {"quantization": (1 / 256, 0)})
    assert restored.dtype == np.float32
    assert restored.tolist() == [0, 255 / 256]


@needs_interpreter
def test_each_thread_has_its_own_interpreter() -> None:
    run = tflite.model_program(tiny(), (3,))
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
        tflite.model_program(tiny(**changes), shape)


def test_without_an_interpreter_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite, "PACKAGES", ("no_such_interpreter",))
    tried = example("t", "tflite", [np.zeros(3, np.float32)], model=TINY, output_shape=(2,))
    assert not CPU.supports(tried.stage, DEFAULT_VARIANT)
    with pytest.raises(MissingExtraError) as raised:
        CPU.load(tried.stage, DEFAULT_VARIANT)
    assert raised.value.hint == "pip install 'leo-runtime[tflite]'"


def test_the_first_package_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a package that numpy is too new for says so, as `tflite_runtime` does."""
    module = ModuleType("old_interpreter.interpreter")

    def too_old(**_: object) -> None:
        raise SystemError("<built-in method CreateWrapperFromBuffer> returned a result with an exception set")

    module.Interpreter = too_old  # type: ignore[attr-defined]  # a stand-in for the package's module
    package = ModuleType("old_interpreter")
    package.__spec__ = type(sys.__spec__)("old_interpreter", None)  # type: ignore[arg-type, call-arg]
    monkeypatch.setitem(sys.modules, "old_interpreter", package)
    monkeypatch.setitem(sys.modules, "old_interpreter.interpreter", module)
    monkeypatch.setattr(tflite, "PACKAGES", ("no_such_interpreter", "old_interpreter"))
    with pytest.raises(KernelError, match="old_interpreter cannot work with numpy"):
        tflite.model_program(tiny(), (3,))


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
