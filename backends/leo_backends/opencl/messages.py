"""What the runtime and its OpenCL worker process say to each other. An error is answered as itself."""

from __future__ import annotations

from dataclasses import dataclass

from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.schema import Value


@dataclass(frozen=True, slots=True)
class Choice:
    """Which device: parts of the names of its platform and of itself, and how many of its compute units."""

    platform: str | None = None
    device: str | None = None
    units: int | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """Open the device and say what it is. Answered by `Opened`."""

    choice: Choice


@dataclass(frozen=True, slots=True)
class Opened:
    """What the device is."""

    fingerprint: dict[str, str | int]
    has_half: bool


@dataclass(frozen=True, slots=True)
class Load:
    """Make a stage ready. Answered by `Loaded`, then the file's descriptor."""

    operator: str
    params: Value
    input_shape: tuple[int, ...]
    naive: bool
    half: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Where in the shared file, in float32 values, input and output are; `key` is what `Run` asks for."""

    key: int
    input_first: int
    output_first: int
    rows: int
    columns: int
    pitch: int


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Make a model ready, or pieces of one. Answered by `LoadedModel`, then the file's descriptor."""

    params: ModelParameters
    half: bool


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Where in the shared file, in bytes, its inputs are, and then its outputs."""

    key: int
    firsts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Let go of stages that nobody runs any more. Answered by None."""

    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Run a loaded stage on what the shared file holds. Answered by `Ran`."""

    key: int


@dataclass(frozen=True, slots=True)
class Ran:
    """When the device began and ended, in nanoseconds of `time.monotonic_ns`."""

    start_ns: int
    end_ns: int
