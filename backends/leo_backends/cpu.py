"""The CPU, by numpy: the reference that all other backends are held to, and the home of users' own operators.

Each lane calls from a thread of its own, so several lanes and several threads (`CpuOptions`) are two ways to use
several cores.
"""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from leo_backends import tflite
from leo_backends.blas import ONE_THREAD
from leo_backends.options import read_options
from leo_backends.reference import BLOCK_ROWS, PROGRAMS, STREAMS, Program, RowProgram, Rows, in_blocks
from leo_backends.streaming import Arrays, StatefulProgram
from leo_runtime.backend import Kernel, News, State, Stepped
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import BoundStage
from leo_runtime.errors import KernelError, LeoError, MissingExtraError
from leo_runtime.operators.own import failure
from leo_runtime.operators.sound import MicroFeaturesParameters
from leo_runtime.schema import Positive, Value


class CpuOptions(Value):
    """What a processor served by the CPU may be told."""

    threads: Positive = 1
    """How many threads share the rows of one stage."""


class CpuBackend:
    """Runs every operator on the machine's own processor."""

    name = "cpu"

    def __init__(self, processor: Processor) -> None:
        self._threads = read_options(processor, CpuOptions).threads
        self._pool = ThreadPoolExecutor(self._threads, "leo-cpu") if self._threads > 1 else None
        token = object()
        ONE_THREAD.hold(token)
        self._let_go = weakref.finalize(self, ONE_THREAD.let_go, token)  # Also where it is forgotten; once.

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """Whether there is a program, and the package that it needs."""
        operator = stage.operator
        if isinstance(params := stage.params[variant], MicroFeaturesParameters) and params.streaming:
            return True  # Numpy does.
        if operator.name in _EXTRAS:
            return _is_there(operator.name)
        return operator.name in PROGRAMS or operator.function is not None

    @property
    def lacks(self) -> tuple[MissingExtraError, ...]:
        """What has to be installed for operators that need more than numpy."""
        missing = [name for name in _EXTRAS if not _is_there(name)]
        return tuple(MissingExtraError(f"the operator `{name}`", _EXTRAS[name]) for name in missing)

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        """Read the stage's model, if it has one. Raises `KernelError`, `MissingExtraError`."""
        params = stage.params[variant]
        keeps = stage.operator.keeps
        if stage.operator.name in STREAMS and keeps is not None and keeps(params) is not None:
            return CpuStream(stage, STREAMS[stage.operator.name](params, stage.input_shapes))
        if stage.operator.name in PROGRAMS:
            program = PROGRAMS[stage.operator.name](params, stage.input_shapes)
        elif stage.operator.function is not None:
            program = _own_operator(stage.operator.function, params.model_dump())
        else:
            raise KernelError(f"the CPU has no program for operator `{stage.operator.name}` of stage `{stage.name}`")
        if isinstance(program, RowProgram) and self._pool is not None:
            program = self._shared_by_threads(program)
        return CpuKernel(stage, program)

    def close(self) -> None:
        """End the threads, and the process that tries models. From any thread; twice is fine.

        The last of several backends gives BLAS its own threads back.
        """
        if self._pool is not None:
            self._pool.shutdown()
        tflite.TRIALS.close()
        self._let_go()

    def _shared_by_threads(self, program: RowProgram) -> Program:
        pool, threads = self._pool, self._threads
        assert pool is not None

        def map_rows(rows: Rows, array: np.ndarray) -> np.ndarray:
            piece = max(BLOCK_ROWS // 4, -(-len(array) // threads))
            pieces = [array[i : i + piece] for i in range(0, len(array), piece)]
            return np.concatenate(list(pool.map(lambda some: in_blocks(rows, some), pieces)))

        return lambda inputs: program.run(inputs, map_rows)


class CpuKernel:
    """A stage's program, which checks what goes in and out."""

    def __init__(self, stage: BoundStage, program: Program) -> None:
        self._stage = stage
        self._program = program

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage. Raises `KernelError`."""
        stage = self._stage
        shapes = tuple(array.shape for array in inputs)
        if shapes != tuple(stage.input_shapes):
            raise KernelError(f"stage `{stage.name}` was given the shapes {shapes}, it reads {stage.input_shapes}")
        try:
            given = self._program(inputs)
            if np.ma.is_masked(given):  # Without its mask it would be whatever is below.
                raise KernelError(
                    f"stage `{stage.name}` gave an array with masked numbers", hint="fill them: output.filled(0)"
                )
            output = np.ascontiguousarray(0 if given is None else given, np.float32)
        except LeoError:
            raise
        except Exception as error:  # A user's own function may raise anything; it must not take the runtime down.
            why = failure(error, stage.operator.function)
            raise KernelError(f"stage `{stage.name}` failed: {why}") from error
        if given is None:
            raise KernelError(
                f"stage `{stage.name}` gave nothing (None), its operator promises an array of shape "
                f"{stage.output_shape}",
                hint=f"the function of `{stage.operator.name}` ends without `return`",
            )
        if output.shape != stage.output_shape:
            if isinstance(given, np.ndarray):
                raise KernelError(
                    f"stage `{stage.name}` gave the shape {output.shape}, its operator promises {stage.output_shape}"
                )
            raise KernelError(
                f"stage `{stage.name}` gave a value of type {type(given).__name__}, its operator promises an array of "
                f"shape {stage.output_shape}"
            )
        return output


class CpuStream:
    """A stage that keeps state, whose program computes what is new."""

    def __init__(self, stage: BoundStage, program: StatefulProgram) -> None:
        self._stage = stage
        self._program = program

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """A run that starts anew, on the whole window. Raises `KernelError`."""
        return self.step(inputs, self.start(), News(None, 0)).output

    def start(self) -> Arrays:
        """The state before the first run."""
        return self._program.start()

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        """Compute the stage. Raises `KernelError`."""
        stage = self._stage
        shapes = tuple(array.shape for array in inputs)
        if shapes != tuple(stage.input_shapes):
            raise KernelError(f"stage `{stage.name}` was given the shapes {shapes}, it reads {stage.input_shapes}")
        assert isinstance(state, tuple)
        output, after = self._program.step(inputs, state, news)
        return Stepped(np.ascontiguousarray(output, np.float32), after)


_EXTRAS = {"tflite": "tflite", "micro_features": "audio"}
"""The operators that need more than numpy, and the extra that brings it."""


def _is_there(operator: str) -> bool:
    return tflite.is_available() if operator == "tflite" else importlib.util.find_spec("pymicro_features") is not None


def _own_operator(function: Callable[..., np.ndarray], params: dict[str, Any]) -> Program:
    return lambda inputs: function(*inputs, **params)
