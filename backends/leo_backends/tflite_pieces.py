"""Runs pieces of models by an interpreter, in this process or in that of a trial; nothing here is read from a file.

A piece takes arrays in its tensors' own types, or float32 that stands for them, and gives arrays in its own types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from leo_backends.tflite_session import failing_in_words, keeps_state, new_interpreter, quantised
from leo_runtime.operators.definition import Output

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class PieceModel:
    """A piece of a model as a file of its own, and which of its arrays go into that."""

    name: str
    """The model's file, for messages."""
    content: bytes
    package: str
    """Which brings the interpreter."""
    takes: tuple[Output, ...]
    into: tuple[int, ...]
    """The numbers of those that the interpreter takes, in its order."""
    gives: tuple[int, ...]
    """What the piece gives, in order. A number from 0 on is that of an output of the interpreter, -1 - number that of
    what the piece takes, which goes through it as it came."""

    def run_once(self) -> None:
        """A run on zeros. Raises `KernelError`, where it does not end the process."""
        with failing_in_words(self):
            _Session(self).call([np.zeros(one.shape, np.float32) for one in self.takes])


def piece_program(model: PieceModel) -> Callable[[Sequence[np.ndarray]], Arrays]:
    """A function of the piece's inputs, for any thread, with an interpreter for every run at the same time.

    It raises `KernelError`.
    """
    idle: list[_Session] = []

    def run(inputs: Sequence[np.ndarray]) -> Arrays:
        with failing_in_words(model):
            try:
                session = idle.pop()
            except IndexError:
                session = _Session(model)
            given = session.call(inputs)
            if not session.keeps_state:
                idle.append(session)
            return given

    return run


class _Session:
    """One interpreter with one piece, for one run at a time."""

    def __init__(self, model: PieceModel) -> None:
        self._model = model
        self._interpreter = interpreter = new_interpreter(model)
        interpreter.allocate_tensors()
        self._inputs = interpreter.get_input_details()
        self._outputs = [detail["index"] for detail in interpreter.get_output_details()]
        self.keeps_state = keeps_state(interpreter)
        self._has_run = False

    def call(self, arrays: Sequence[np.ndarray]) -> Arrays:
        model, interpreter = self._model, self._interpreter
        if self._has_run:  # Tensors that are variable begin every run as the first.
            interpreter.reset_all_variables()
        self._has_run = True
        taken = [stored(array, output) for array, output in zip(arrays, model.takes, strict=True)]
        for detail, number in zip(self._inputs, model.into, strict=True):
            interpreter.set_tensor(detail["index"], taken[number])
        interpreter.invoke()
        return tuple(
            taken[-1 - number] if number < 0 else interpreter.get_tensor(self._outputs[number])
            for number in model.gives
        )


def stored(array: np.ndarray, output: Output) -> np.ndarray:
    """An array as a tensor holds it: as it is where it has that type, else the reals in it quantised."""
    shaped = array.reshape(output.shape)
    if shaped.dtype == output.data_type:
        return shaped
    detail: dict[str, Any] = {"dtype": output.data_type, "quantization": (output.scale, output.zero_point)}
    return quantised(shaped, detail)
