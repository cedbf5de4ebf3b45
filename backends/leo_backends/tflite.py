"""One way to call TensorFlow Lite models, whichever package brings the interpreter.

LiteRT (`ai_edge_litert`) is preferred; `tflite_runtime`, its frozen predecessor, does where that is what there is.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from leo_runtime.errors import KernelError, MissingExtraError
from leo_runtime.operators import Shape
from leo_runtime.operators.classifiers import TfliteParameters, tflite_steps

PACKAGES = ("ai_edge_litert", "tflite_runtime")


def is_available() -> bool:
    """Whether a package with an interpreter is installed."""
    return any(importlib.util.find_spec(package) for package in PACKAGES)


def model_program(params: TfliteParameters, shape: Shape) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """A program that runs the model on one input of that shape, with one interpreter a thread, or a streaming run.

    Raises `MissingExtraError` without a package, `KernelError` for a model that cannot be read or does not fit.
    """
    content = _content(params)
    steps = tflite_steps(params, shape)
    rows = shape[0] if params.rows_per_step is None else params.rows_per_step
    here = threading.local()

    def whole(inputs: Sequence[np.ndarray]) -> np.ndarray:
        found: _Session | None = getattr(here, "session", None)
        if found is None:
            found = here.session = _Session(params, content, shape)
        return found.call(inputs[0])

    def step_by_step(inputs: Sequence[np.ndarray]) -> np.ndarray:
        # A new interpreter, since resetting its variables does not reset what models keep in resource variables.
        session = _Session(params, content, (rows, *shape[1:]))
        outputs = [session.call(step) for step in inputs[0][: steps * rows].reshape(steps, -1)]
        return _greatest_average(np.stack(outputs), params.average_steps)

    program = whole if params.rows_per_step is None else step_by_step
    program([np.zeros(shape, np.float32)])  # A model that does not fit is found now, not in the middle of a frame.
    return program


def _greatest_average(outputs: np.ndarray, steps: int) -> np.ndarray:
    steps = min(steps, len(outputs))
    runs = np.lib.stride_tricks.sliding_window_view(outputs, steps, axis=0)
    greatest: np.ndarray = runs.mean(axis=-1).max(axis=0)
    return greatest


class _Session:
    """One interpreter with one model, for one thread."""

    def __init__(self, params: TfliteParameters, content: bytes, step_shape: Shape) -> None:
        self._params = params
        self._interpreter = _interpreter(params, content)
        (self._input, *others), outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        if others or len(outputs) != 1:
            raise KernelError(f"{params.model}: has {1 + len(others)} inputs and {len(outputs)} outputs, not one each")
        self._output = outputs[0]
        for what, wanted, detail in (("input", step_shape, self._input), ("output", params.output_shape, self._output)):
            if np.prod(wanted) != np.prod(detail["shape"]):
                has = tuple(map(int, detail["shape"]))
                raise KernelError(f"{params.model}: its {what} has the shape {has}, the stage's is {tuple(wanted)}")

    def call(self, array: np.ndarray) -> np.ndarray:
        shaped = array.reshape(self._input["shape"])
        self._interpreter.set_tensor(self._input["index"], _quantised(shaped, self._input))
        self._interpreter.invoke()
        output = _restored(self._interpreter.get_tensor(self._output["index"]), self._output)
        shaped_output: np.ndarray = output.reshape(self._params.output_shape)
        return shaped_output


def _quantised(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(detail["dtype"])
    if dtype.kind not in "iu":
        return array.astype(dtype)
    scale, zero = detail["quantization"]
    limits = np.iinfo(dtype)
    values: np.ndarray = np.clip(np.rint(array / (scale or 1.0)) + zero, limits.min, limits.max).astype(dtype)
    return values


def _restored(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    if array.dtype.kind not in "iu":
        return array.astype(np.float32)
    scale, zero = detail["quantization"]
    values: np.ndarray = ((array.astype(np.float32) - zero) * (scale or 1.0)).astype(np.float32)
    return values


def _content(params: TfliteParameters) -> bytes:
    try:
        return params.model.read_bytes()
    except OSError as error:
        raise KernelError(f"{params.model}: cannot be read ({error.strerror or error})") from None


def _interpreter(params: TfliteParameters, content: bytes) -> Any:
    package = next((package for package in PACKAGES if importlib.util.find_spec(package)), None)
    if package is None:
        raise MissingExtraError("the operator `tflite`", "tflite")
    new = importlib.import_module(f"{package}.interpreter").Interpreter
    try:
        interpreter = new(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    except SystemError as error:
        # What tflite_runtime raises when numpy is newer than it can work with.
        raise KernelError(
            f"{package} cannot work with numpy {np.__version__} ({error})", hint="pip install 'leo-runtime[tflite]'"
        ) from None
    except (ValueError, RuntimeError) as error:
        raise KernelError(f"{params.model}: cannot be loaded ({error})") from None
    return interpreter
