"""Runs one TensorFlow Lite model, in this process or in that of a trial; nothing here is read from a file.

A model starts every run in its first state: variable tensors are reset, and where a model may keep more than those
(resource variables, random numbers, custom operators) a run has an interpreter of its own. A model whose state is
explicit gets it with every run, and keeps nothing.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from leo_backends.streaming import Arrays
from leo_runtime.errors import KernelError, LeoError

Shape = tuple[int, ...]
Run = Callable[[Sequence[np.ndarray]], np.ndarray]

_KEEPS_STATE = re.compile(
    r"VAR_HANDLE|READ_VARIABLE|ASSIGN_VARIABLE|HASHTABLE.*|RANDOM_.*|MULTINOMIAL|"  # resources, and random numbers
    r"CALL|CALL_ONCE|IF|WHILE|STABLEHLO_.*|"  # what is in their subgraphs is not told
    r"(?!TfLite\w*Delegate$).*[^A-Z0-9_].*"  # custom operators, whose names are not in capitals
)
"""Names of operators that may keep what resetting variable tensors does not reset."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An array that a model takes behind its own inputs, and gives behind its own outputs, for the next call."""

    shape: Shape
    dtype: str
    first: bytes
    """What the first call takes."""


class Content(Protocol):
    """The bytes of a model, and who runs them."""

    @property
    def name(self) -> str:
        """Its file, for messages."""
        ...

    @property
    def content(self) -> bytes:
        """All of it."""
        ...

    @property
    def package(self) -> str:
        """Which brings the interpreter."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A model and how a stage calls it."""

    name: str
    """Its file, for messages."""
    content: bytes
    package: str
    """Which brings the interpreter."""
    input_shapes: tuple[Shape, ...]
    """Of the stage, in its order."""
    output_shape: Shape
    rows_per_step: int | None
    """None: called once, on the whole input. Otherwise called on so many rows of the input at a time."""
    steps: int
    average_steps: int
    output: str | int | None
    """Which one is the stage's, by name or number; None: the only one."""
    streaming: bool = False
    """Whether its state goes on from run to run, and is given with every call: all that it has is in the two below."""
    kept: tuple[Kept, ...] = ()
    variables: tuple[int, ...] = ()
    """The numbers of its variable tensors."""

    def run_once(self) -> None:
        """A run on zeros. Raises `KernelError`, where it does not end the process."""
        if self.streaming:
            Calls(self)
        else:
            new_program(self)(zeros(self))


class Calls:
    """Calls of a streaming model from the state that they are given, for any thread."""

    def __init__(self, model: Model) -> None:
        """Load it, and run it once. Raises `KernelError`."""
        self._model = model
        self._idle: list[_Session] = []
        self._step_shape = (model.rows_per_step or 0, *model.input_shapes[0][1:])
        with failing_in_words(model):
            session = self._session()
            self.first = session.first_state()
            """The state that the first call takes."""
            self._idle.append(session)
        self.advance(np.zeros((1, *self._step_shape), np.float32), self.first)

    def advance(self, inputs: np.ndarray, state: Arrays) -> tuple[np.ndarray, Arrays]:
        """From (calls, rows, ...) and the state before them to (calls, outputs) and that behind them.

        Raises `KernelError`.
        """
        outputs = np.empty((len(inputs), *self._model.output_shape), np.float32)
        with failing_in_words(self._model):
            session = self._session()
            for number, step in enumerate(inputs):
                outputs[number], state = session.call_from([step], state)
            self._idle.append(session)
        return outputs, state

    def _session(self) -> _Session:
        try:
            return self._idle.pop()
        except IndexError:
            return _Session(self._model, (self._step_shape,))


def new_program(model: Model) -> Run:
    """A function of the stage's inputs, for any thread. It raises `KernelError`.

    An interpreter is used by one run at a time, whichever thread that is of: who warms a stage up is another than who
    runs it.
    """
    idle: list[_Session] = []

    def session_for(shapes: Sequence[Shape]) -> _Session:
        try:
            session = idle.pop()
        except IndexError:
            return _Session(model, shapes)
        session.restart()
        return session

    def done_with(session: _Session) -> None:
        if not session.keeps_state:
            idle.append(session)

    def whole(inputs: Sequence[np.ndarray]) -> np.ndarray:
        session = session_for(model.input_shapes)
        output = session.call(inputs)
        done_with(session)
        return output

    def step_by_step(inputs: Sequence[np.ndarray]) -> np.ndarray:
        rows = model.rows_per_step or 0
        step_shape = (rows, *model.input_shapes[0][1:])
        session = session_for((step_shape,))
        outputs = [session.call([step]) for step in inputs[0][: model.steps * rows].reshape(model.steps, *step_shape)]
        done_with(session)
        return greatest_average(np.stack(outputs), model.average_steps)

    program = whole if model.rows_per_step is None else step_by_step

    def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
        with failing_in_words(model):
            return program(inputs)

    return run


@contextmanager
def failing_in_words(model: Content) -> Iterator[None]:
    """Raise whatever an interpreter raises as a `KernelError` that names the model."""
    try:
        yield
    except LeoError:
        raise
    except Exception as error:  # Interpreters raise many kinds, also for a model that is damaged.
        raise KernelError(f"{model.name}: cannot be run ({type(error).__name__}: {error})") from None


def zeros(model: Model) -> list[np.ndarray]:
    """Inputs for a first run."""
    return [np.zeros(shape, np.float32) for shape in model.input_shapes]


class _Session:
    """One interpreter with one model, for one run at a time."""

    def __init__(self, model: Model, shapes: Sequence[Shape]) -> None:
        """`shapes` of the inputs of one call."""
        self._model = model
        self._interpreter = interpreter = new_interpreter(model)
        inputs, outputs = self._own(interpreter.get_input_details()), self._own(interpreter.get_output_details())
        if not inputs:
            raise KernelError(f"{model.name}: has no input, so no stage can run it")
        if len(inputs) != len(shapes):
            has = f"{len(inputs)} input{'s' if len(inputs) > 1 else ''} ({_listed(inputs)})"
            raise KernelError(f"{model.name}: has {has}, the stage gives it {len(shapes)}")
        which = _which_output(model, outputs)
        for detail, shape in zip(inputs, shapes, strict=True):
            fitted = _fitted(model, detail, shape, len(inputs))
            if fitted != _shape(detail):
                interpreter.resize_tensor_input(detail["index"], fitted)
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._inputs, self._output = self._own(inputs), outputs[which]
        own, given = len(self._inputs), len(outputs) - len(model.kept)
        self._takes = (*(detail["index"] for detail in inputs[own:]), *model.variables)
        self._gives = (*(detail["index"] for detail in outputs[given:]), *model.variables)
        self.keeps_state = keeps_state(interpreter)
        if model.streaming and self.keeps_state:
            raise KernelError(
                f"{model.name}: may keep what cannot be given from call to call, beside its resource variables",
                hint="run the whole window each time: streaming = false",
            )

    def _own(self, details: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of inputs or outputs: those that are no state."""
        return details[: len(details) - len(self._model.kept)]

    def restart(self) -> None:
        self._interpreter.reset_all_variables()

    def call_from(self, arrays: Sequence[np.ndarray], state: Arrays) -> tuple[np.ndarray, Arrays]:
        """The output, and the state behind the call."""
        for index, array in zip(self._takes, state, strict=True):
            self._interpreter.set_tensor(index, array)
        return self.call(arrays), tuple(map(self._interpreter.get_tensor, self._gives))

    def first_state(self) -> Arrays:
        """What the first call takes."""
        self.restart()
        kept = (np.frombuffer(kept.first, kept.dtype).reshape(kept.shape) for kept in self._model.kept)
        return (*kept, *map(self._interpreter.get_tensor, self._model.variables))

    def call(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        for detail, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], quantised(array.reshape(detail["shape"]), detail))
        self._interpreter.invoke()
        output = restored(self._interpreter.get_tensor(self._output["index"]), self._output)
        wanted = self._model.output_shape
        if output.size != math.prod(wanted):
            has = tuple(map(int, output.shape))
            raise KernelError(f"{self._model.name}: its output has the shape {has}, the stage's is {tuple(wanted)}")
        shaped: np.ndarray = output.reshape(wanted)
        return shaped


def keeps_state(interpreter: Any) -> bool:
    """Whether resetting variable tensors may not be enough; where the interpreter does not tell, it may not."""
    tell = getattr(interpreter, "_get_ops_details", None)
    return tell is None or any(_KEEPS_STATE.fullmatch(operator["op_name"]) for operator in tell())


def _which_output(model: Model, outputs: Sequence[dict[str, Any]]) -> int:
    """The number of the output that the stage's is."""
    names = [detail["name"] for detail in outputs]
    if model.output is None and len(outputs) == 1:
        return 0
    if isinstance(model.output, int) and model.output < len(outputs):
        return model.output
    if isinstance(model.output, str) and names.count(model.output) == 1:
        return names.index(model.output)
    asked = "a stage has one" if model.output is None else f"not the output {model.output!r}"
    raise KernelError(
        f"{model.name}: has {_listed(outputs) or 'no output'}, {asked}",
        hint="say which output with the parameter `output`, by its name or its number from 0 on",
    )


def _fitted(model: Model, detail: dict[str, Any], shape: Shape, inputs: int) -> Shape:
    """The input tensor's shape for an input of the stage: as it is, or with its open dimensions filled."""
    signature = _shape(detail, "shape_signature") or _shape(detail)
    filled = _filled(signature, shape)
    if filled is None:
        which = f"input `{detail['name']}`" if inputs > 1 else "input"
        has = f"({', '.join('?' if n < 0 else str(n) for n in signature)}{',' if len(signature) == 1 else ''})"
        values = math.prod(signature)
        is_step = model.rows_per_step is None and 0 < values < math.prod(shape) and math.prod(shape[1:]) <= values
        raise KernelError(
            f"{model.name}: its {which} has the shape {has}, the stage's is {tuple(shape)}",
            hint="a streaming model, called on so many rows at a time, needs the parameter `rows_per_step`"
            if is_step
            else "",
        )
    return filled


def _filled(signature: Shape, shape: Shape) -> Shape | None:
    """The signature with its open dimensions (-1) taken from a shape of as many values; None where it cannot be."""
    if -1 not in signature:
        return signature if math.prod(signature) == math.prod(shape) else None
    for candidate in (tuple(shape), (1, *shape)):
        if len(candidate) == len(signature) and all(a in (-1, b) for a, b in zip(signature, candidate, strict=True)):
            return candidate
    known, values = math.prod(n for n in signature if n >= 0), math.prod(shape)
    if signature.count(-1) == 1 and known > 0 and values % known == 0:
        return tuple(values // known if n < 0 else n for n in signature)
    return None


def _shape(detail: dict[str, Any], key: str = "shape") -> Shape:
    return tuple(int(n) for n in detail.get(key, ()))


def _listed(details: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"`{detail['name']}` {_shape(detail)}" for detail in details)


def greatest_average(outputs: np.ndarray, steps: int) -> np.ndarray:
    """The greatest mean of so many consecutive calls' outputs, value by value."""
    steps = min(steps, len(outputs))
    runs = np.lib.stride_tricks.sliding_window_view(outputs, steps, axis=0)
    greatest: np.ndarray = runs.mean(axis=-1).max(axis=0)
    return greatest


def quantised(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """The array as the tensor holds it. Raises `KernelError` for NaN where that holds integers."""
    dtype = np.dtype(detail["dtype"])
    if dtype.kind not in "iu":
        return array.astype(dtype)
    scale, zero = detail["quantization"]
    limits = np.iinfo(dtype)
    values: np.ndarray = np.clip(np.rint(array / (scale or 1.0)) + zero, limits.min, limits.max)
    if np.isnan(values).any():
        raise KernelError(f"an input has NaN, which no {dtype.name} stands for", hint="fill gaps in front of the model")
    return values.astype(dtype)


def restored(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """What the tensor holds, in float32."""
    if array.dtype.kind not in "iu":
        return array.astype(np.float32)
    scale, zero = detail["quantization"]
    values: np.ndarray = ((array.astype(np.float32) - zero) * (scale or 1.0)).astype(np.float32)
    return values


def new_interpreter(model: Content) -> Any:
    """An interpreter of a model, for one run at a time. Raises `KernelError` for what it cannot load."""
    new = importlib.import_module(f"{model.package}.interpreter").Interpreter
    try:
        return new(model_content=model.content, num_threads=1)
    except SystemError as error:
        # What tflite_runtime raises when numpy is newer than it can work with.
        raise KernelError(
            f"{model.package} cannot work with numpy {np.__version__} ({error})",
            hint="pip install 'leo-runtime[tflite]'",
        ) from None
    except (ValueError, RuntimeError) as error:
        raise KernelError(f"{model.name}: cannot be loaded ({error})") from None
