"""What goes into kernels, and comes out of those of programs that may be anyone's, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import KernelError, LeoError
from leo_runtime.operators.own import failure


def require_inputs(stage: BoundStage, inputs: Sequence[np.ndarray]) -> None:
    """Raise `KernelError` for inputs of other shapes than the stage reads."""
    shapes = tuple(array.shape for array in inputs)
    if shapes == tuple(stage.input_shapes):
        return
    if len(shapes) != len(stage.input_shapes) or not all(map(stage.takes_shape, range(len(shapes)), shapes)):
        raise KernelError(f"stage `{stage.name}` was given the shapes {shapes}, it reads {stage.input_shapes}")


@contextmanager
def failing_in_words(stage: BoundStage, function: Callable[..., Any] | None) -> Iterator[None]:
    """Raise what a user's function raises as a `KernelError` with its line: it must not take the runtime down."""
    try:
        yield
    except LeoError:
        raise
    except Exception as error:  # What users' functions raise may be anything.
        raise KernelError(f"stage `{stage.name}` failed: {failure(error, function)}") from error


def checked_output(stage: BoundStage, given: Any) -> np.ndarray:
    """What a program gave, in the promised shape, and type where there is one, else float32. Raises `KernelError`."""
    if given is None:
        raise KernelError(
            f"stage `{stage.name}` gave nothing (None), its operator promises an array of shape {stage.output_shape}",
            hint=f"the function of `{stage.operator.name}` ends without `return`",
        )
    # Without its mask it would be whatever is below. Naming `np.ma` imports it.
    if type(given) is not np.ndarray and np.ma.is_masked(given):
        raise KernelError(f"stage `{stage.name}` gave an array with masked numbers", hint="fill them: output.filled(0)")
    output = np.asarray(given, stage.several[0].data_type if len(stage.several) == 1 else np.float32, order="C")
    if output.shape != stage.output_shape and not (stage.several and stage.several[0].allows(output.shape)):
        if isinstance(given, np.ndarray):
            raise KernelError(
                f"stage `{stage.name}` gave the shape {output.shape}, its operator promises {stage.output_shape}"
            )
        raise KernelError(
            f"stage `{stage.name}` gave a value of type {type(given).__name__}, its operator promises an array of "
            f"shape {stage.output_shape}"
        )
    return output
