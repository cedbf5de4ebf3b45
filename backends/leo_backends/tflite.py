"""One way to call TensorFlow Lite models, whichever package brings the interpreter.

LiteRT (`ai_edge_litert`) is preferred; `tflite_runtime`, its frozen predecessor, does where that is what there is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from leo_backends.native_notes import without_notes
from leo_backends.tflite_session import Model, new_program, zeros
from leo_backends.tflite_trial import Trials
from leo_runtime.errors import KernelError, MissingExtraError
from leo_runtime.operators import Shape
from leo_runtime.operators.classifiers import TfliteParameters, tflite_steps

PACKAGES = ("ai_edge_litert", "tflite_runtime")

TRIALS = Trials()
"""Of all backends of this process."""


def is_available() -> bool:
    """Whether a package with an interpreter is installed."""
    return any(importlib.util.find_spec(package) for package in PACKAGES)


def model_program(params: TfliteParameters, shapes: Sequence[Shape]) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """A program that runs the model on inputs of these shapes, with an interpreter for every run at the same time.

    Every run starts in the model's first state. The first run of all is in a process of its own. Raises
    `MissingExtraError` without a package, `KernelError` for a model that cannot be read or run, or does not fit.
    """
    package = next((package for package in PACKAGES if importlib.util.find_spec(package)), None)
    if package is None:
        raise MissingExtraError("the operator `tflite`", "tflite")
    if params.rows_per_step is not None and len(shapes) != 1:
        raise KernelError(f"{params.model}: a streaming run (`rows_per_step`) reads one input, the stage {len(shapes)}")
    model = Model(
        name=str(params.model),
        content=_content(params),
        package=package,
        input_shapes=tuple(tuple(shape) for shape in shapes),
        output_shape=tuple(params.output_shape),
        rows_per_step=params.rows_per_step,
        steps=tflite_steps(params, shapes[0]),
        average_steps=params.average_steps,
        output=params.output,
    )
    TRIALS.require_sound(model)
    program = new_program(model)
    # First runs are slow: that of the first interpreter is over when the stage is loaded. It survives it: it was tried.
    with without_notes():
        program(zeros(model))
    return program


def _content(params: TfliteParameters) -> bytes:
    try:
        return params.model.read_bytes()
    except OSError as error:
        raise KernelError(f"{params.model}: cannot be read ({error.strerror or error})") from None
