"""Reads the model files of the operators `gmm` and `dense`; what is wrong with one is said with its place."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.errors import KernelError
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters


@dataclass(frozen=True, slots=True, eq=False)
class GmmModel:
    """Mixtures in float32: `means` and `variances` (classes, components, dimensions), `log_weights` one less."""

    means: np.ndarray
    variances: np.ndarray
    log_weights: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class DenseModel:
    """A network in float32: a layer's weights (inputs, outputs) and bias (outputs,); `mean` and `scale` (inputs,)."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    mean: np.ndarray | None
    scale: np.ndarray | None


def read_gmm(params: GmmParameters) -> GmmModel:
    """The mixtures of a model file. Raises `KernelError`."""
    classes = params.classes if params.classes_in_model is None else params.classes_in_model
    shape = (classes, params.components, params.dimensions)
    arrays = _Arrays(params.model)
    wanted = slice(params.first_class, params.first_class + params.classes)
    if wanted.stop > classes:
        raise KernelError(f"{params.model}: class {wanted.stop - 1} is asked for, it holds {classes} (from 0 on)")
    model = GmmModel(
        means=arrays.take("means", shape)[wanted],
        variances=arrays.take("variances", shape)[wanted],
        log_weights=arrays.take("log_weights", shape[:2], may_be_minus_infinity=True)[wanted],
    )
    if model.variances.min() <= 0:
        raise KernelError(f"{params.model}: a variance is {model.variances.min():g}, it must be above 0")
    return model


def read_dense(params: DenseParameters, inputs: int) -> DenseModel:
    """The network of a model file, for so many inputs. Raises `KernelError`."""
    arrays = _Arrays(params.model)
    sizes = (inputs, *params.layers)
    normalises = arrays.has("mean") or arrays.has("scale")
    model = DenseModel(
        weights=tuple(arrays.take(f"weights_{i}", (sizes[i], sizes[i + 1])) for i in range(len(params.layers))),
        biases=tuple(arrays.take(f"bias_{i}", (sizes[i + 1],)) for i in range(len(params.layers))),
        mean=arrays.take("mean", (inputs,)) if normalises else None,
        scale=arrays.take("scale", (inputs,)) if normalises else None,
    )
    if arrays.has(f"weights_{len(params.layers)}"):
        raise KernelError(f"{params.model}: has more layers than the {len(params.layers)} of the parameter `layers`")
    if model.scale is not None and not model.scale.all():
        raise KernelError(f"{params.model}: `scale` holds a 0, which nothing can be divided by")
    return model


class _Arrays:
    """The arrays of one `.npz` file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Opened here: numpy leaves a file it cannot read open. A bare array, of an .npy file, has no `files`.
            with path.open("rb") as file:
                archive = np.load(file, allow_pickle=False)
                self._arrays = {name: archive[name] for name in archive.files}
        except OSError as error:
            raise KernelError(f"{path}: cannot be read ({error.strerror or error})") from None
        except (ValueError, EOFError, AttributeError, zipfile.BadZipFile):
            # What numpy says is about its own ways to read other files.
            raise KernelError(
                f"{path}: cannot be read as .npz, it is no archive of plain arrays",
                hint="write it with numpy.savez(path, name=array, ...)",
            ) from None

    def has(self, name: str) -> bool:
        return name in self._arrays

    def take(self, name: str, shape: tuple[int, ...], *, may_be_minus_infinity: bool = False) -> np.ndarray:
        if name not in self._arrays:
            raise KernelError(f"{self._path}: has no array `{name}`", hint=f"it has {', '.join(self._arrays)}")
        array = self._arrays[name]
        if array.shape != shape:
            raise KernelError(f"{self._path}: array `{name}` should have the shape {shape}, it has {array.shape}")
        if array.dtype.kind not in "fiu":
            raise KernelError(f"{self._path}: array `{name}` should hold numbers, it holds {array.dtype}")
        array = np.ascontiguousarray(array, np.float32)
        fine = np.isfinite(array) | np.isneginf(array) if may_be_minus_infinity else np.isfinite(array)
        if not fine.all():
            raise KernelError(f"{self._path}: array `{name}` holds a value that is not finite")
        return array
