"""Runs of a model's inputs from a file: an archive of numpy's, or windows of a recording."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.documents.model_workload import model_workload
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.operators.definition import Output
from leo_runtime.operators.model_parameters import ModelParameters
from leo_runtime.operators.model_pieces import piece_of
from leo_runtime.recordings.recording import Recording

_Run = Callable[[int], Sequence[np.ndarray]]
_MOST_BYTES = 1 << 31
"""What an archive unfolds to at most."""
_AUDIO_ONE = np.float32(32768)
"""What int16 audio is divided by, as the operator `window` does."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelRuns:
    """What a model is asked, run by run."""

    inputs: tuple[tuple[np.ndarray, ...], ...]
    """Of each run an array for each input, shaped as that is, float32 or of its own type; read-only."""
    there: int
    """How many runs the file has: those taken are some of them."""


def model_runs(
    data: Path | Recording, model: Path, *, most: int = 100, seed: int = 0, signature: str | None = None
) -> ModelRuns:
    """At most so many runs for the model in a file, drawn by the seed where there are more, in their order.

    An `.npz` has an array for each input, by its name, whose first axis is the runs; of a model with one input any
    name will do. A recording has a stream for each input, named as `leo-runtime model graph` names it; of a model with
    one input and a recording with one stream that is it. Its runs are windows that do not overlap.

    Raises `InputError` for a file that cannot be read, or does not fit the model.
    """
    takes = piece_of(ModelParameters(model=model, signature=signature)).takes
    if isinstance(data, Recording):
        there, run = _of_recording(data, model, takes, signature)
    else:
        there, run = _of_archive(data, takes)
    order = range(there) if there <= most else np.sort(np.random.default_rng(seed).choice(there, most, replace=False))
    return ModelRuns(
        tuple(tuple(map(_shaped, run(int(index)), takes)) for index in order),
        there,
    )


def _shaped(values: np.ndarray, output: Output) -> np.ndarray:
    array = np.ascontiguousarray(values, None if output.data_type != "float32" else np.float32).reshape(output.shape)
    array.flags.writeable = False
    return array


def _of_archive(path: Path, takes: Sequence[Output]) -> tuple[int, _Run]:
    """How many runs there are, and each by its number."""
    arrays = _read(path)
    columns = []
    for one in takes:
        name = next(iter(arrays)) if len(takes) == len(arrays) == 1 else one.name
        if name not in arrays:
            raise InputError(f"{path}: has no array `{name}`", hint=did_you_mean(name, list(arrays), "it has"))
        array = arrays[name]
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{path}: array `{name}` of {array.dtype} holds something else than numbers")
        if array.ndim < 1 or not len(array) or array[0].size != math.prod(one.shape):
            shape = "x".join(map(str, array.shape)) or "one value"
            wanted = "x".join(map(str, one.shape))
            raise InputError(
                f"{path}: array `{name}` is {shape}, the model's input is {wanted}",
                hint="its first axis is the runs: numpy.savez(path, name=numpy.stack(inputs))",
            )
        columns.append(array)
    if len({len(array) for array in columns}) > 1:
        counts = ", ".join(str(len(array)) for array in columns)
        raise InputError(f"{path}: has different numbers of runs for the model's inputs: {counts}")
    return len(columns[0]), lambda index: [column[index] for column in columns]


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            with zipfile.ZipFile(file) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > _MOST_BYTES:
                raise InputError(f"{path}: unfolds to {size} bytes, at most {_MOST_BYTES} are read")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            arrays = {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, EOFError, AttributeError, NotImplementedError, RuntimeError, zipfile.BadZipFile, MemoryError):
        # What numpy and zipfile say is about their own ways to read other files.
        raise InputError(
            f"{path}: cannot be read as .npz, it is no archive of plain arrays",
            hint="write it with numpy.savez(path, name=array, ...), or name a recording",
        ) from None
    if not arrays:
        raise InputError(f"{path}: has no arrays")
    return arrays


def _of_recording(
    recording: Recording, model: Path, takes: Sequence[Output], signature: str | None
) -> tuple[int, _Run]:
    """How many runs there are, and each by its number."""
    workload = model_workload(model, name="data", cut="whole", signature=signature)
    windows = [stage.params for stage in workload.graphs[0].stages if stage.operator == "window"]
    streams = recording.manifest.streams
    read: list[tuple[str, int]] = []
    for params, one in zip(windows, takes, strict=True):
        name = streams[0].name if len(windows) == len(streams) == 1 else params["stream"]
        read.append((name, _samples_a_run(recording, name, one)))
    there = min(len(recording.samples[name]) // length for name, length in read)
    if not there:
        shortest, length = min(read, key=lambda one: len(recording.samples[one[0]]) // one[1])
        raise InputError(
            f"recording `{recording.manifest.name}`: stream `{shortest}` has {len(recording.samples[shortest])} "
            f"samples, one run reads {length}"
        )

    def run(index: int) -> list[np.ndarray]:
        return [_window(recording, name, index * length, (index + 1) * length) for name, length in read]

    return there, run


def _samples_a_run(recording: Recording, name: str, takes: Output) -> int:
    if recording.stream(name).kind == "events":
        raise InputError(
            f"recording `{recording.manifest.name}`: stream `{name}` is of events, which models do not read"
        )
    each = math.prod(np.shape(recording.samples[name])[1:])
    if each < 1 or math.prod(takes.shape) % each:
        shape = "x".join(map(str, takes.shape))
        raise InputError(
            f"recording `{recording.manifest.name}`: stream `{name}` has {each} values a sample, the model's input is "
            f"{shape}",
            hint="what has to be computed of samples first goes into an .npz",
        )
    return math.prod(takes.shape) // each


def _window(recording: Recording, name: str, first: int, last: int) -> np.ndarray:
    """Samples as the operator `window` gives them."""
    samples = np.asarray(recording.samples[name][first:last])
    return samples / _AUDIO_ONE if samples.dtype == np.int16 else samples
