"""The simulated DSP as a backend: exact fixed-point arithmetic, and a model's time and energy for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import numpy as np

from leo_backends.checked import require_inputs
from leo_backends.device_stream import DeviceStream, can_stream, streams
from leo_backends.dsp import layers
from leo_backends.dsp.cycles import packets
from leo_backends.dsp.hexagon import HexagonMachine, HexagonOperator
from leo_backends.dsp.hexagon import layers as hexagon_layers
from leo_backends.dsp.hexagon import operators as hexagon_operators
from leo_backends.dsp.operators import OPERATORS, Plan, integers, name_of, real
from leo_backends.dsp.packets import PACKETS
from leo_backends.options import read_options
from leo_backends.piece import graph_of, layers_of
from leo_runtime.backend import DeviceRun
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import DeviceUnavailableError, KernelError
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.schema import Positive, Quantity, Value


class DspOptions(Value):
    """What a processor served by the simulated DSP may be told. The defaults are of a Snapdragon 800's Hexagon v5."""

    instructions: str = "v5"
    """Whose packets are counted (`packets.py`)."""
    clock_mhz: Positive = 200
    """Of one hardware thread: 600 MHz are shared by three."""
    threads: Positive = 1
    """Hardware threads that share one stage; with more than one, the processor should have as many lanes fewer."""
    call_us: Quantity = 20
    """What a stage takes to start there, whatever it computes; how a call gets there is the link's. Modelled."""
    cache_bytes: Quantity = 256 * 1024
    """A stage whose numbers fit it waits for them only when it is loaded. Modelled."""
    memory_bytes_per_us: Positive | None = None
    """How fast numbers that do not fit the cache are read, again at every pass through them, while nothing computes:
    an upper bound, for a program may fetch ahead. None: nothing waits for memory."""
    arithmetic: Literal["numpy", "hexagon"] = "numpy"
    """What computes: numpy, or programs of these very instructions under qemu-hexagon. Both give the same bits; the
    programs' packets are counted at every run, where those of numpy are the model's."""
    real_time: bool = False
    """Whether a call takes as long as the device would; otherwise only as long as computing it here takes."""


class DspBackend:
    """Runs the built-in operators in fixed point, as `docs/dsp.md` says."""

    name = "dsp"
    simulated = True
    """Its times and energies are a model's, and not of this machine."""

    def __init__(self, processor: Processor) -> None:
        self.options = read_options(processor, DspOptions)
        if self.options.instructions not in PACKETS:
            raise DeviceUnavailableError(
                f"processor `{processor.name}` has the instructions `{self.options.instructions}`, of which no packets "
                "are known",
                hint=f"one of {', '.join(PACKETS)}",
            )
        self._processor = processor
        self._machine = HexagonMachine(self.options.instructions) if self.options.arithmetic == "hexagon" else None
        computed = "" if self._machine is None else ", its programs run by qemu-hexagon"
        self.driver = f"simulated, {self.options.instructions} at {self.options.clock_mhz} MHz{computed}"
        self._loaded: dict[Any, tuple[Plan, HexagonOperator | None]] = {}
        self._models: dict[str, hexagon_layers.HexagonLayers | None] = {}
        """Models that are in the memory, and their programs."""
        self._loaded_bytes = 0

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """Whether the operator is one of the DSP's, and its numbers fit the formats and the memory."""
        params, memory_bytes = stage.params[variant], self._processor.memory_bytes
        if isinstance(params, ModelParameters):
            return self._lacks(params) is None
        # Weights are 16 bits here, half of what `work` counts.
        if memory_bytes is not None and stage.work(variant).bytes // 2 > memory_bytes:
            return False
        operator = OPERATORS.get(name_of(stage.operator.name, params))
        if streams(stage, variant) and not can_stream(stage, variant):
            return False
        return operator is not None and operator.fits(params, stage.input_shapes)

    def _lacks(self, params: ModelParameters) -> str | None:
        """Why pieces of a model are not run, as a clause; None where they are."""
        try:
            graph = graph_of(params)
        except KernelError as error:
            return str(error)
        memory_bytes = self._processor.memory_bytes
        if memory_bytes is not None and layers.weight_bytes(graph) > memory_bytes:
            return f"its weights of {layers.weight_bytes(graph)} bytes do not fit the memory of {memory_bytes}"
        why = layers.lacks(graph)
        return hexagon_layers.lacks(graph) if why is None and self._machine is not None else why

    def _model(self, stage: BoundStage, params: ModelParameters) -> layers.DspModel:
        piece = layers_of(params)
        if (why := self._lacks(params)) is not None:
            raise KernelError(f"the DSP does not run the layers of stage `{stage.name}`: {why}")
        graph, options = graph_of(params), self.options
        key, size = params.model_dump_json(), layers.weight_bytes(graph)
        if key not in self._models:
            self._take(stage.name, size)
            self._models[key] = None if self._machine is None else hexagon_layers.HexagonLayers(self._machine, graph)
        modelled = layers.packets_of(graph, layers.PACKETS[options.instructions])
        wait_us, active_mw = _wait_us(size, 1, options), self._processor.active_mw

        def time_us(counted: int) -> int:
            return _time_us(counted, options) + wait_us

        return layers.DspModel(stage, piece, self._models[key], time_us, active_mw, options.real_time, modelled)

    def load(self, stage: BoundStage, variant: str, /) -> DspKernel | DeviceStream | layers.DspModel:
        """Quantise the stage's model. Raises `KernelError`, also when the memory is full."""
        params = stage.params[variant]
        if isinstance(params, ModelParameters):
            return self._model(stage, params)
        if not self.supports(stage, variant):
            raise KernelError(f"stage `{stage.name}` cannot run on the DSP")
        if not streams(stage, variant):
            return self._kernel(stage, variant)
        call_us, active_mw = self.options.call_us, self._processor.active_mw
        least = DeviceRun(np.zeros((0, stage.output_shape[1]), np.float32), call_us, call_us * active_mw)

        def kernel(some: BoundStage) -> DspKernel:
            # Stages of fewer rows have the tables of the whole one.
            return self._kernel(some, variant, takes_memory=some.output_shape == stage.output_shape)

        return DeviceStream(stage, variant, kernel, least=least)

    def _kernel(self, stage: BoundStage, variant: str, *, takes_memory: bool = True) -> DspKernel:
        params, shapes = stage.params[variant], tuple(stage.input_shapes)
        # All lanes share one memory, so that a stage loaded for each of them is there once.
        key = (stage.operator.name, params.model_dump_json(), shapes)
        if key not in self._loaded:
            operator = OPERATORS[name_of(stage.operator.name, params)]
            plan = operator.plan(params, shapes)
            if takes_memory:
                self._take(stage.name, plan_bytes(plan))
            machine = self._machine
            self._loaded[key] = plan, None if machine is None else hexagon_operators.load(machine, operator, plan)
        name = name_of(stage.operator.name, params)
        return DspKernel(stage, name, *self._loaded[key], self._processor, self.options)

    def close(self) -> None:
        """Forget all that was loaded, and end the program that ran it."""
        self._loaded.clear()
        self._models.clear()
        self._loaded_bytes = 0
        if self._machine is not None:
            self._machine.close()

    def _take(self, stage: str, size: int) -> None:
        memory_bytes = self._processor.memory_bytes
        if memory_bytes is not None and self._loaded_bytes + size > memory_bytes:
            raise KernelError(
                f"the DSP's memory of {memory_bytes} bytes is full: stage `{stage}` needs {size} bytes and "
                f"{self._loaded_bytes} are taken"
            )
        self._loaded_bytes += size


class DspKernel:
    """A stage on the simulated DSP; it knows its device's time and energy."""

    def __init__(
        self,
        stage: BoundStage,
        name: str,
        plan: Plan,
        program: HexagonOperator | None,
        processor: Processor,
        options: DspOptions,
    ) -> None:
        self._stage = stage
        operator = self._operator = OPERATORS[name]
        table = PACKETS[options.instructions][name]
        self._program = program
        self._options = options
        self._active_mw = processor.active_mw
        self.plan = plan
        self.packets = packets(operator.loops(plan), table)
        """Of one run, on all its threads together, as modelled."""
        self.wait_us = _wait_us(plan_bytes(plan), operator.passes(plan), options)
        """For memory, in one run, as modelled."""
        self.device_us = self._time_us(self.packets) + self.wait_us
        """Of one run, as modelled."""
        self.load_us = self._time_us(packets(operator.load_loops(plan), table))
        """Of loading the stage, once: its numbers are copied and its weights laid out. As modelled."""

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage; in real time it takes as long as the device would, or longer if this machine is slower."""
        return self.timed(inputs).output

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        """Compute the stage, with the time and energy of the packets that were counted, or else of the model's."""
        start = time.perf_counter()
        require_inputs(self._stage, inputs)
        values = [integers(array, self._operator.input_q) for array in inputs]
        if self._program is None:
            output, device_us = self._operator.run(self.plan, values), self.device_us
        else:
            output, counted = self._program.counted(values)
            device_us = self._time_us(counted.packets) + self.wait_us
        if self._options.real_time:
            time.sleep(max(0.0, device_us / 1e6 - (time.perf_counter() - start)))
        return DeviceRun(real(output), device_us, device_us * self._active_mw)

    def _time_us(self, packets: int) -> int:
        return _time_us(packets, self._options)


def _time_us(packets: int, options: DspOptions) -> int:
    return options.call_us - (-packets // (options.threads * options.clock_mhz))


def _wait_us(size: int, passes: int, options: DspOptions) -> int:
    if options.memory_bytes_per_us is None or size <= options.cache_bytes:
        return 0
    return -(-size * passes // options.memory_bytes_per_us)


def plan_bytes(plan: Any) -> int:
    """What a plan takes in the DSP's memory: 2 bytes for each number of an array of 16-bit numbers, 4 for others."""
    if isinstance(plan, np.ndarray):
        wide = plan.size > 0 and (plan.min() < -32768 or plan.max() > 32767)
        return plan.size * (4 if wide else 2)
    if isinstance(plan, tuple):
        return sum(map(plan_bytes, plan))
    if is_dataclass(plan):
        return sum(plan_bytes(getattr(plan, field.name)) for field in fields(plan))
    return 4
