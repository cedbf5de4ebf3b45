"""The CPU, by numpy: the reference that all other backends are held to, and the home of users' own operators.

Each lane calls from a thread of its own, so several lanes and several threads (`CpuOptions`) are two ways to use
several cores. Operators that the option `isolate` names run in processes of their own (`leo_backends.isolated`).
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from leo_backends import packing
from leo_backends.blas import ONE_THREAD
from leo_backends.checked import checked_output, failing_in_words, require_inputs
from leo_backends.options import read_options
from leo_backends.own_kernel import OwnKernel
from leo_backends.reference import BLOCK_ROWS, PROGRAMS, STREAMS, Program, RowProgram, Rows, in_blocks
from leo_backends.streaming import Arrays, StatefulProgram
from leo_backends.tflite_package import is_available
from leo_runtime.backend import Kernel, News, ProcessEnds, State, Stepped
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import DocumentError, KernelError, MissingExtraError, did_you_mean
from leo_runtime.operators.definition import Operator
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.packing import PackParameters, UnpackParameters
from leo_runtime.operators.sound import MicroFeaturesParameters
from leo_runtime.schema import Name, Positive, Value

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from leo_backends.isolated.stages import IsolatedStages


OWN = "own"
"""In the option `isolate`: every operator that is a user's own."""
MODEL = "model"
"""The operator that is a model, or some pieces of one, which has no program of its own."""

Seconds = Annotated[float, Field(gt=0)]


class CpuOptions(Value):
    """What a processor served by the CPU may be told."""

    threads: Positive = 1
    """How many threads share the rows of one stage."""
    isolate: tuple[Name, ...] = ()
    """The operators that run in another process: built-in ones by name, and `own` for all others, in one for all of
    them; `module:name` is one of the others, in a process of its own."""
    isolate_or_here: bool = False
    """Where that cannot be started, since Python is embedded in another program: run them in this one all the same."""
    isolate_spare: bool = True
    """In real time: keep one more of each such process, ready to be the next one when that ends."""
    timeout_s: Seconds = 30.0
    """How long a run in that process may take, whatever the runtime's own limit is."""
    load_timeout_s: Seconds = 120.0
    """The same for making a stage ready."""


class CpuBackend:
    """Runs every operator on the machine's own processor."""

    name = "cpu"

    def __init__(self, processor: Processor) -> None:
        self._options = read_options(processor, CpuOptions)
        self._threads = self._options.threads
        self._pool = _pool(self._threads) if self._threads > 1 else None
        token = object()
        ONE_THREAD.hold(token)
        self._let_go = weakref.finalize(self, ONE_THREAD.let_go, token)  # Also where it is forgotten; once.
        self._isolated = _isolated_stages(processor, self._options)
        """The processes, by the own operator that each is for; "" is the one for all others."""

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """Whether there is a program, and the package that it needs."""
        operator, params = stage.operator, stage.params[variant]
        if isinstance(params, MicroFeaturesParameters) and params.streaming:
            return True  # Numpy does.
        if isinstance(params, PackParameters):
            return not packing.lacks(params.compress)
        if isinstance(params, UnpackParameters):
            return not packing.lacks(*params.reads)
        if operator.name in _EXTRAS:
            return _is_there(operator.name)
        return operator.name in PROGRAMS or operator.function is not None

    @property
    def lacks(self) -> tuple[MissingExtraError, ...]:
        """What has to be installed for operators that need more than numpy."""
        missing = [name for name in _EXTRAS if not _is_there(name)]
        told = [MissingExtraError(f"the operator `{name}`", _EXTRAS[name]) for name in missing]
        told += [MissingExtraError(f"packing by {how}", "packing") for how in packing.lacks("zstd", "jpeg")]
        return tuple(told)

    @property
    def process_ends(self) -> ProcessEnds:
        """How often processes of isolated stages have ended, and how one did the last time."""
        found = sorted(self._isolated.values(), key=lambda isolated: isolated.ended_s)
        told = [isolated.process_ends for isolated in found if isolated.process_ends.count]
        return ProcessEnds(sum(ends.count for ends in told), told[-1].last if told else "")

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        """Read the stage's model, if it has one. Raises `KernelError`, `MissingExtraError`."""
        isolated = self._isolated_of(stage.operator)
        if isolated is not None:
            from leo_backends.isolated.kernel import load
            from leo_backends.process import NoPythonError

            try:
                return load(isolated, stage, variant)
            except NoPythonError as error:
                if not self._options.isolate_or_here:
                    raise
                warnings.warn(f"stage `{stage.name}` runs in this process: {error}", RuntimeWarning, stacklevel=2)
        params = stage.params[variant]
        if isinstance(params, ModelParameters):
            return (CpuModelStream if params.streaming else CpuModel)(stage, params)
        if stage.operator.step_class is not None:
            return OwnKernel(stage, stage.operator.step_class, params.model_dump())
        if stage.operator.name in STREAMS and stage.keeping(variant) is not None:
            return CpuStream(stage, STREAMS[stage.operator.name](params, stage.input_shapes))
        program: Program
        if isinstance(params, PackParameters):
            program = packing.pack(params, stage.input_shapes)
        elif isinstance(params, UnpackParameters):
            program = packing.unpack(params, stage.input_shapes)
        elif stage.operator.name in PROGRAMS:
            program = PROGRAMS[stage.operator.name](params, stage.input_shapes)
        elif stage.operator.function is not None:
            program = _own_operator(stage.operator.function, params.model_dump())
        else:
            raise KernelError(f"the CPU has no program for operator `{stage.operator.name}` of stage `{stage.name}`")
        if isinstance(program, RowProgram) and self._pool is not None:
            program = self._shared_by_threads(program)
        return CpuKernel(stage, program)

    def close(self) -> None:
        """End the threads, and the processes of isolated stages and of trials. From any thread; twice is fine.

        The last of several backends gives BLAS its own threads back.
        """
        for isolated in self._isolated.values():
            isolated.close()
        if self._pool is not None:
            self._pool.shutdown()
        tflite = sys.modules.get("leo_backends.tflite")
        if tflite is not None:  # Otherwise no stage has had a model of that kind, and nothing was tried.
            tflite.TRIALS.close()
        self._let_go()

    def _isolated_of(self, operator: Operator) -> IsolatedStages | None:
        """The process in which it runs; None: this one."""
        if operator.name in self._isolated:
            return self._isolated[operator.name]
        named = OWN if operator.function is not None else operator.name
        return self._isolated[""] if named in self._options.isolate else None

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
        require_inputs(self._stage, inputs)
        with failing_in_words(self._stage, self._stage.operator.function):
            return checked_output(self._stage, self._program(inputs))


class CpuModel:
    """A model, or some pieces of one."""

    def __init__(self, stage: BoundStage, params: ModelParameters) -> None:
        from leo_backends.model_stage import model_program  # Most workloads have no model.

        self._stage = stage
        self._program = model_program(params)

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage, in the model's first state: arrays in its types, several as one value.

        Raises `KernelError`.
        """
        require_inputs(self._stage, inputs)
        return self._program.call(inputs, self._program.first)[0]


class CpuModelStream(CpuModel):
    """The same, which goes on from what the last run left. A state is the last output, and what the model keeps."""

    def start(self) -> Arrays:
        """The state before the first run."""
        return (np.zeros(0, np.float32), *self._program.first)

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News) -> Stepped:
        """Compute the stage. Raises `KernelError`, also for an input of which a part is not new."""
        require_inputs(self._stage, inputs)
        assert isinstance(state, tuple)
        last, *kept = self.start() if news.fresh is None else state
        if news.fresh == 0:
            return Stepped(last, state)
        entries = len(inputs[0])
        if not news.whole and news.fresh is not None and news.fresh < entries:
            raise KernelError(
                f"stage `{self._stage.name}` reads {entries} entries, of which {news.fresh} are new: a model that "
                "keeps a state is called on new ones alone",
                hint="let its window be as long as its graph's period",
            )
        output, after = self._program.call(inputs, tuple(kept))
        return Stepped(output, (output, *after))


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
        require_inputs(self._stage, inputs)
        assert isinstance(state, tuple)
        output, after = self._program.step(inputs, state, news)
        return Stepped(np.ascontiguousarray(output, np.float32), after)


_EXTRAS = {"tflite": "tflite", "model": "tflite", "micro_features": "audio"}
"""The operators that need more than numpy, and the extra that brings it."""


def _is_there(operator: str) -> bool:
    return is_available() if _EXTRAS[operator] == "tflite" else importlib.util.find_spec("pymicro_features") is not None


def _pool(threads: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # Takes `logging` along, and few ask for threads.

    return ThreadPoolExecutor(threads, "leo-cpu")


def _isolated_stages(processor: Processor, options: CpuOptions) -> dict[str, IsolatedStages]:
    """The processes that are asked for. Raises `DocumentError` for an operator that is not known."""
    if not options.isolate:
        return {}
    known = [OWN, *PROGRAMS, MODEL]
    for name in options.isolate:
        if ":" not in name and name not in known:
            raise DocumentError(
                f"options of processor `{processor.name}`",
                f"no operator of the CPU is called `{name}`",
                "$.isolate",
                name,
                hint=did_you_mean(name, known),
            )
    from leo_backends.isolated.stages import IsolatedStages

    return {
        operator: IsolatedStages(
            processor.name,
            operator=operator,
            threads=options.threads,
            timeout_s=options.timeout_s,
            load_timeout_s=options.load_timeout_s,
            has_spare=options.isolate_spare,
        )
        for operator in ["", *(name for name in options.isolate if ":" in name)]
    }


def _own_operator(function: Callable[..., np.ndarray], params: dict[str, Any]) -> Program:
    return lambda inputs: function(*inputs, **params)
