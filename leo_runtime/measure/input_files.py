"""Inputs of a model, run by run, and how files of numpy are read as those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.errors import InputError, did_you_mean, words
from leo_runtime.layers.graph import LayerGraph, Tensor

LEAST = 8
"""So many runs are needed: half of them are what the loss of a calibrated form is measured on."""
SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Inputs of several runs of a model."""

    source: str
    """For messages."""
    arrays: tuple[np.ndarray, ...]
    """Of each input, in the graph's order, its values along a first axis of runs."""
    inputs: tuple[Tensor, ...]
    """What they are given as."""

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self.arrays[0]) if self.arrays else 0

    def of(self, numbers: Sequence[int]) -> Iterator[tuple[np.ndarray, ...]]:
        """The inputs of runs by their numbers, each as its tensor holds it."""
        pairs = tuple(zip(self.arrays, self.inputs, strict=True))
        return (
            tuple(np.asarray(array[number], one.dtype).reshape(one.shape) for array, one in pairs) for number in numbers
        )

    def require_enough(self) -> Runs:
        """These, where they are enough to calibrate with, and to measure on. Raises `InputError`."""
        if len(self) < LEAST:
            raise InputError(
                f"{self.source}: has {len(self)} runs, {LEAST} are needed at least",
                hint="record more of what the model will see: what is chosen and measured is by that",
            )
        return self


def own_inputs(graph: LayerGraph) -> tuple[Tensor, ...]:
    """The inputs of a graph without its states."""
    return tuple(graph.tensors[number] for number in graph.inputs[: len(graph.inputs) - len(graph.states)])


def read_runs(path: Path, graph: LayerGraph) -> Runs:
    """The inputs in an `.npy` file, of a model with one, or by their names in an `.npz` file.

    Arrays have an axis of runs and then the input's shape, with or without its batch of 1. Raises `InputError`, which
    says what does not fit. The arrays of an `.npz` are held in memory; of an `.npy` it is read what is asked for.
    """
    inputs = own_inputs(graph)
    arrays = tuple(_run_by_run(path, one, array) for one, array in zip(inputs, _arrays(path, inputs), strict=True))
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        told = ", ".join(f"{length} of `{one.name}`" for one, length in zip(inputs, lengths, strict=True))
        raise InputError(f"{path}: its inputs are of different numbers of runs: {told}")
    return Runs(str(path), arrays, inputs).require_enough()


def _arrays(path: Path, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: is neither `.npy` nor `.npz`", hint="save its inputs by numpy.save or numpy.savez")
    try:
        if path.suffix == ".npy":
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
                return [_named(path, loaded, one.name, len(inputs)) for one in inputs]
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: cannot be read as arrays ({error.strerror})", hint="there is no such file: look at its name"
        ) from None
    except Exception as error:  # numpy reads headers as Python, which raises whatever it likes.
        told = error.strerror if isinstance(error, OSError) and error.strerror else words(error).splitlines()[0][:200]
        hint = "save its inputs by numpy.save or numpy.savez"
        raise InputError(f"{path}: cannot be read as arrays ({told})", hint=hint) from None
    if len(inputs) != 1:
        raise InputError(
            f"{path}: has one array, the model has {len(inputs)} inputs: {_names(inputs)}",
            hint="save them by numpy.savez, each by its name",
        )
    return [found]


def _named(path: Path, loaded: Mapping[str, np.ndarray], name: str, count: int) -> np.ndarray:
    """The array of an input; of a model with one, the only array, whatever it is called."""
    known = list(loaded)
    if name in known:
        return loaded[name]
    if count == len(known) == 1:
        return loaded[known[0]]
    raise InputError(f"{path}: has no array `{name}`, which the model reads", hint=did_you_mean(name, known, "it has"))


def _names(inputs: Sequence[Tensor]) -> str:
    return ", ".join(f"`{one.name}`" for one in inputs)


def _run_by_run(path: Path, tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """An array as runs of an input. Raises `InputError`."""
    shape = tensor.shape
    shorter = shape[1:] if shape[:1] == (1,) else shape
    if array.ndim < 1 or array.shape[1:] not in (shape, shorter):
        told = " x ".join(map(str, ("runs", *shorter)))
        given = " x ".join(map(str, array.shape)) or "none"
        raise InputError(f"{path}: its array for the input `{tensor.name}` has the shape {given}, expected {told}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: its array for the input `{tensor.name}` is of {array.dtype}, no numbers")
    for number in range(len(array)):
        if not np.isfinite(array[number]).all():
            raise InputError(f"{path}: run {number} of the input `{tensor.name}` has NaN or infinity")
    return array
