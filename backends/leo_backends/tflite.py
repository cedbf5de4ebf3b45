"""One way to call TensorFlow Lite models, whichever package brings the interpreter (`tflite_package`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from leo_backends.native_notes import without_notes
from leo_backends.streaming import StepStream
from leo_backends.tflite_package import installed
from leo_backends.tflite_package import is_available as is_available
from leo_backends.tflite_session import Calls, Kept, Model, greatest_average, new_program, zeros
from leo_backends.tflite_trial import Trials
from leo_runtime.errors import InputError, KernelError, MissingExtraError
from leo_runtime.importers.tflite import parse_tflite, with_explicit_state
from leo_runtime.operators import Shape
from leo_runtime.operators.classifiers import TfliteParameters, tflite_kept_outputs, tflite_steps

TRIALS = Trials()
"""Of all backends of this process."""


def model_program(params: TfliteParameters, shapes: Sequence[Shape]) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """A program that runs the model on inputs of these shapes, with an interpreter for every run at the same time.

    Every run starts in the model's first state. The first run of all is in a process of its own. Raises
    `MissingExtraError` without a package, `KernelError` for a model that cannot be read or run, or does not fit.
    """
    model = _model(params, shapes, _content(params))
    TRIALS.require_sound(model)
    program = new_program(model)
    # First runs are slow: that of the first interpreter is over when the stage is loaded. It survives it: it was tried.
    with without_notes():
        program(zeros(model))
    return program


def model_stream(params: TfliteParameters, shapes: Sequence[Shape]) -> StepStream:
    """A program that calls a streaming model on rows that are new, from the state that it is given.

    What it computes is equal to the bit to the model called on all rows in one go. Raises as `model_program`, also for
    a model whose state cannot be given from call to call.
    """
    steps, average = tflite_steps(params, shapes[0]), params.average_steps

    def finish(outputs: np.ndarray, new: int) -> np.ndarray:
        last = steps if params.greatest_of == "window" else max(new, 1) + average - 1
        return greatest_average(outputs[-last:], average)

    file = _explicit(params)
    model = replace(_model(params, shapes, file.content), streaming=True, kept=file.kept, variables=file.variables)
    TRIALS.require_sound(model)
    with without_notes():
        calls = Calls(model)
    return StepStream(
        rows_per_step=params.rows_per_step or 1,
        keep=tflite_kept_outputs(params, shapes[0]),
        row_shape=tuple(shapes[0][1:]),
        output_shape=model.output_shape,
        advance=calls.advance,
        finish=finish,
        first=calls.first,
    )


def _model(params: TfliteParameters, shapes: Sequence[Shape], content: bytes) -> Model:
    package = installed()
    if package is None:
        raise MissingExtraError("the operator `tflite`", "tflite")
    if params.rows_per_step is not None and len(shapes) != 1:
        raise KernelError(f"{params.model}: a streaming run (`rows_per_step`) reads one input, the stage {len(shapes)}")
    return Model(
        name=str(params.model),
        content=content,
        package=package,
        input_shapes=tuple(tuple(shape) for shape in shapes),
        output_shape=tuple(params.output_shape),
        rows_per_step=params.rows_per_step,
        steps=tflite_steps(params, shapes[0]),
        average_steps=params.average_steps,
        output=params.output,
    )


class _Explicit(NamedTuple):
    """A model whose resource variables are inputs and outputs behind its own."""

    content: bytes
    kept: tuple[Kept, ...]
    variables: tuple[int, ...]
    """Tensors that are variable, which an interpreter gives and takes by their numbers."""


def _explicit(params: TfliteParameters) -> _Explicit:
    try:
        file = parse_tflite(_content(params), str(params.model))
        content, states = with_explicit_state(file)
    except InputError as error:
        raise KernelError(str(error), hint=error.hint) from None
    kept = tuple(Kept(state.first.shape, state.first.dtype.str, state.first.tobytes()) for state in states)
    variables = tuple(number for number, tensor in enumerate(file.graphs[0].tensors) if tensor.is_variable)
    return _Explicit(content, kept, variables)


def _content(params: TfliteParameters) -> bytes:
    try:
        return params.model.read_bytes()
    except OSError as error:
        raise KernelError(f"{params.model}: cannot be read ({error.strerror or error})") from None
