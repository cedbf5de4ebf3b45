"""Models by the path of their file, read once for all that ask."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from leo_runtime.errors import InputError
from leo_runtime.importers.tflite import TfliteFile, parse_tflite
from leo_runtime.importers.tflite_layers import NotInLayersError, read_layers
from leo_runtime.layers import cut
from leo_runtime.layers.graph import LayerGraph

Cut = Literal["blocks", "layers"]
_REMEMBERED = 16
"""So many files: more than a workload has, few enough that models of before do not stay."""

_MOST_BYTES = 1 << 31
"""As large as a FlatBuffer may be."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """A model as its file has it, and taken apart where that can be."""

    file: TfliteFile
    sha256: str
    """Of the file, in hexadecimal digits."""
    graph: LayerGraph | None
    why: NotInLayersError | None
    """Why it cannot be taken apart; None: it can."""


def open_model(path: Path, signature: str | None = None) -> ModelFile:
    """The model in a file, as a signature calls it. Any thread.

    A file that was changed since is read anew. Raises `InputError` for one that cannot be read, is damaged, or has no
    such signature.
    """
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # A pipe would never end.
            raise InputError(f"{path}: is no file, but a pipe or a device", hint="name a `.tflite` file")
        if status.st_size > _MOST_BYTES:
            raise InputError(f"{path}: has {status.st_size} bytes, a model has {_MOST_BYTES} at most")
        return _opened(path, status.st_mtime_ns, status.st_size, signature)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


@lru_cache(_REMEMBERED)
def _opened(path: Path, _changed_ns: int, _size: int, signature: str | None) -> ModelFile:
    content = path.read_bytes()
    file = parse_tflite(content, str(path))
    digest = hashlib.sha256(content).hexdigest()
    try:
        return ModelFile(file, digest, read_layers(file, signature), None)
    except NotInLayersError as error:
        return ModelFile(file, digest, None, error)


@lru_cache(2 * _REMEMBERED)
def ends_of(model: ModelFile, by: Cut) -> tuple[int, ...]:
    """After how many layers each piece ends, of a model that can be taken apart."""
    assert model.graph is not None
    return cut.blocks(model.graph) if by == "blocks" else cut.layers(model.graph)


@lru_cache(2 * _REMEMBERED)
def _pieces(model: ModelFile, by: Cut) -> tuple[LayerGraph, ...]:
    assert model.graph is not None
    return cut.pieces(model.graph, ends_of(model, by))


@lru_cache(256)
def piece_of(model: ModelFile, by: Cut, first: int, last: int) -> LayerGraph:
    """The pieces of those numbers, from 0 on, as one graph; of a model that can be taken apart and has them."""
    if first == last:
        return _pieces(model, by)[first]
    assert model.graph is not None
    ends = (0, *ends_of(model, by))
    begin, end = ends[first], ends[last + 1]
    *_, piece = cut.pieces(model.graph, [*([begin] if begin else []), end])
    return piece
