"""Which tile each tuned kernel takes: from the user's own tuning, from what ships, or from a rule.

The document `leo-tuned/1` holds the tiles that won on one device, by kernel and shape. `leo-runtime tune` writes the
user's; `tuned.json` beside this file ships. For a shape that was not tuned the nearest tuned one stands in.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.errors import DocumentError
from leo_runtime.schema import Document, Positive, Quantity, Value, reject

KernelName = Literal["affine", "power", "gmm", "conv"]

FAR = 6.0
"""A tuned shape further off than this, in octaves summed over rows, inputs and outputs, says nothing of another."""


class Tile(Value):
    """The parameters of a tuned kernel; `tuned.cl` says what each means."""

    vec: Literal[1, 2, 4, 8, 16] = 8
    cols: Positive = 2
    rows: Positive = 4
    lx: Positive = 1
    order: Literal[0, 1] = 1
    stage: Quantity = 0

    @property
    def width(self) -> int:
        """Outputs that a work-group computes for each row."""
        return self.vec * self.cols * self.lx


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kernel is asked for: `rows` rows of `inputs` values to `outputs` outputs (components, for gmm) each."""

    rows: int
    inputs: int
    outputs: int

    def distance(self, other: Shape) -> float:
        """Octaves between two shapes."""
        pairs = zip((self.rows, self.inputs, self.outputs), (other.rows, other.inputs, other.outputs), strict=True)
        return sum(abs(math.log2(a / b)) for a, b in pairs)


class TunedEntry(Value):
    """The tile that won for one kernel and shape, and what that was worth."""

    kernel: KernelName
    rows: Positive
    inputs: Positive
    outputs: Positive
    tile: Tile
    before_ns: Quantity = 0
    """The lower quartile of times with the rule's tile, in the same run."""
    after_ns: Quantity = 0

    @property
    def shape(self) -> Shape:
        """The shape it was tuned for."""
        return Shape(self.rows, self.inputs, self.outputs)


class TunedTable(Document):
    """Tiles that won on a device. `device` may name fewer properties than a fingerprint has: those must agree."""

    format: Literal["leo-tuned/1"]
    device: dict[str, str | int]
    tuner: Annotated[str, Field(min_length=1)]
    """What searched: `kernel_tuner` with its version and strategy, or `exhaustive`."""
    entries: tuple[TunedEntry, ...]

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for i, entry in enumerate(self.entries):
            if entry.kernel == "power" and entry.tile.cols % 2:
                reject("a `power` tile needs an even number of vectors", f"$.entries[{i}].tile.cols", entry.tile.cols)
        return self

    def fits(self, device: Mapping[str, str | int]) -> bool:
        """Whether it was tuned on such a device."""
        return all(device.get(key) == value for key, value in self.device.items())


@dataclass(frozen=True, slots=True)
class Tuning:
    """Chooses tiles on one device. The first table that has a near enough entry decides."""

    device: Mapping[str, str | int]
    tables: Sequence[TunedTable] = ()

    @classmethod
    def of_device(cls, device: Mapping[str, str | int]) -> Self:
        """The user's own table, then the shipped one. A user's table that cannot be read counts as absent."""
        tables = []
        for path in (user_table_path(device), Path(__file__).with_name("tuned.json")):
            try:
                table = TunedTable.from_file(path)
            except DocumentError:  # Tuning is never needed to run: no table, or one of an older format, is none.
                continue
            if table.fits(device):
                tables.append(table)
        return cls(device, tuple(tables))

    def tile(self, kernel: KernelName, shape: Shape) -> Tile:
        """The tile for a kernel and shape, cut down to the shape."""
        for table in self.tables:
            entries = [e for e in table.entries if e.kernel == kernel and e.shape.distance(shape) <= FAR]
            if entries:
                return cut(min(entries, key=lambda e: e.shape.distance(shape)).tile, kernel, shape)
        return self.rule(kernel, shape)

    def rule(self, kernel: KernelName, shape: Shape) -> Tile:
        """A tile for a device nothing is known of: one wide work-item a group on a CPU, 64 side by side elsewhere."""
        if kernel == "conv":
            return self._conv_rule(shape)
        if self.device.get("type") == "cpu":
            vec = self.device.get("vector_width", 4)
            width = next(v for v in (8, 4, 2, 1) if isinstance(vec, int) and v <= max(vec, 1))
            cols = 8 if shape.rows == 1 and kernel == "affine" else 1 if kernel == "gmm" else 2
            return cut(Tile(vec=width, cols=cols, rows=4 if kernel == "gmm" else 6), kernel, shape)  # type: ignore[arg-type] # one of the literals
        return cut(Tile(vec=1 if kernel == "gmm" else 4, cols=2, rows=4, lx=32, order=0), kernel, shape)

    def _conv_rule(self, shape: Shape) -> Tile:
        """As many sums as a CPU has registers for, in two columns or three where they leave none over."""
        vec = vector_width(self.device)
        vectors = -(-shape.outputs // vec)
        if shape.rows == 1:
            return Tile(vec=vec, cols=next(n for n in (8, 6, 4, 3, 2, 1) if vectors % n == 0), rows=1)
        if self.device.get("type") == "cpu":
            return Tile(vec=vec, cols=next(n for n in (2, 3, 1) if vectors % n == 0), rows=8)
        return Tile(vec=vec, cols=1, rows=4)


def vector_width(device: Mapping[str, str | int]) -> Literal[4, 8, 16]:
    """Lanes of the vectors that layers of networks take: the device's own, of those that there are."""
    width = device.get("vector_width", 4)
    assert isinstance(width, int)
    return 16 if width >= 16 else 8 if width >= 8 else 4


def cut(tile: Tile, kernel: KernelName, shape: Shape) -> Tile:
    """The tile without what would only compute padding: no more rows than there are, no wider than the outputs."""
    cols, lx = tile.cols, tile.lx
    least = 2 if kernel == "power" else 1
    # A tile of `power` has twice as many vectors as it has outputs.
    while lx > 1 and tile.vec * cols * lx >= 2 * least * shape.outputs:
        lx //= 2
    while cols > least and tile.vec * (cols - least) * lx >= least * shape.outputs:
        cols -= least
    return tile.model_copy(update={"rows": min(tile.rows, shape.rows), "cols": cols, "lx": lx})


def cache_folder() -> Path:
    """Where this user's caches of leo-runtime are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leo-runtime" / "opencl"


def user_table_path(device: Mapping[str, str | int]) -> Path:
    """The user's table for a device, by the digest of its fingerprint."""
    digest = hashlib.sha256(json.dumps(dict(device), sort_keys=True).encode()).hexdigest()[:12]
    return cache_folder() / f"tuned-{digest}.json"
