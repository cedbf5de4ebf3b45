"""Networks that enlarge patches of a picture to twice their size, trained in plain numpy.

A network adds to the picture enlarged by bicubic interpolation what its convolutions give, four values for each pixel,
which are then its four new ones (W. Shi et al., CVPR 2016: sub-pixel convolution).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from leo_runtime.demo.learning import adam
from leo_runtime.layers.graph import Layer, LayerGraph, Option, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS

PATCH_PX, HALO_PX = 24, 4
"""Sides of a patch before it is enlarged, and the pixels around it that a network is given, too."""
SEEN_PX = PATCH_PX + 2 * HALO_PX
SIZES = {"small": ((3, 4), (3, 4)), "large": ((5, 24), (3, 24), (3, 24), (3, 4))}
"""Of each network's convolutions: the side of the kernel, and channels that come out; RELU between them."""


@dataclass(frozen=True, slots=True, eq=False)
class Enlarger:
    """A network: of each convolution the kernel (side, side, channels in, channels out) and the bias."""

    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]


def bicubic() -> np.ndarray:
    """The convolution that enlarges to twice the size by bicubic interpolation (R. Keys, 1981, a = -1/2): a kernel of
    (5, 5, 1, 4), whose outputs are the new pixels' upper left, upper right, lower left and lower right."""
    offsets = np.abs(np.arange(-2, 3) + 0.25)
    near, far = 1.5 * offsets**3 - 2.5 * offsets**2 + 1, -0.5 * offsets**3 + 2.5 * offsets**2 - 4 * offsets + 2
    taps = np.where(offsets < 1, near, np.where(offsets < 2, far, 0))
    sides = (taps, taps[::-1])
    return np.stack([np.outer(down, across) for down in sides for across in sides], axis=2)[:, :, None].astype(
        np.float32
    )


def convolved(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(runs, height, width, channels) by a kernel (side, side, channels, outputs), beyond the edges zeros."""
    found: np.ndarray = _columns(images, len(kernel)) @ kernel.reshape(-1, kernel.shape[3])
    return found


def enlarged(network: Enlarger, patches: np.ndarray) -> np.ndarray:
    """What a network makes of patches (runs, side, side, 1) with values from 0 to 1: the four pixels that become of
    each, (runs, side, side, 4)."""
    found = patches
    for index, (kernel, bias) in enumerate(zip(network.kernels, network.biases, strict=True)):
        found = convolved(np.maximum(found, 0) if index else found, kernel) + bias
    total: np.ndarray = found + convolved(patches, bicubic())
    return total


def four_of_each(pictures: np.ndarray) -> np.ndarray:
    """Pictures (runs, 2 height, 2 width) as the four pixels that become of each of half their size: DEPTH_TO_SPACE
    undone."""
    runs, height, width = pictures.shape
    parts = pictures.reshape(runs, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 2, 4)
    return parts.reshape(runs, height // 2, width // 2, 4)


def fit_enlarger(
    pictures: Sequence[tuple[np.ndarray, np.ndarray]],
    size: Sequence[tuple[int, int]],
    *,
    steps: int,
    seed: int,
    rate: float = 2e-3,
    batch: int = 16,
) -> Enlarger:
    """Least squares by Adam over random parts of pictures, each (at half its size, itself), of uint8; turned and
    mirrored at random. Only what a patch is without its halo counts."""
    rng = np.random.default_rng(seed)
    kernels, biases, channels = [], [], 1
    for number, (side, outputs) in enumerate(size):
        # The last layer begins with next to nothing, so that the network begins as bicubic interpolation.
        spread = np.sqrt(2 / (side * side * channels)) * (0.01 if number == len(size) - 1 else 1)
        kernels.append(rng.normal(0, spread, (side, side, channels, outputs)).astype(np.float32))
        biases.append(np.zeros(outputs, np.float32))
        channels = outputs
    params = [*kernels, *biases]
    moments = [(np.zeros_like(one), np.zeros_like(one)) for one in params]
    fixed = bicubic()
    shares = np.array([small.size for small, _ in pictures], np.float64)
    for step in range(1, steps + 1):
        small, wanted = _batch(pictures, shares / shares.sum(), batch, rng)
        gradients = _gradients(params, small, wanted - convolved(small, fixed))
        pace = np.float32(rate * 0.5 * (1 + np.cos(np.pi * step / steps)))
        for param, gradient, moment in zip(params, gradients, moments, strict=True):
            param -= pace * adam(gradient, moment, step)
    return Enlarger(tuple(params[: len(size)]), tuple(params[len(size) :]))


def _batch(
    pictures: Sequence[tuple[np.ndarray, np.ndarray]], shares: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random parts as a network is given them, and the four pixels that should become of each."""
    small, large = [], []
    for number in rng.choice(len(pictures), count, p=shares):
        half, whole = pictures[number]
        row, column = (int(rng.integers(length - SEEN_PX + 1)) for length in half.shape)
        parts = half[row:, column:][:SEEN_PX, :SEEN_PX], whole[2 * row :, 2 * column :][: 2 * SEEN_PX, : 2 * SEEN_PX]
        turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
        seen, wanted = (np.rot90(part.T if mirrored else part, turns) for part in parts)
        small.append(seen)
        large.append(wanted)
    scale = np.float32(1 / 255)
    return np.stack(small)[..., None] * scale, four_of_each(np.stack(large)) * scale


def _gradients(params: Sequence[np.ndarray], images: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """Of half the mean square of the error within the halo, by kernels and then by biases."""
    layers = len(params) // 2
    columns, found = [], images
    for index in range(layers):
        columns.append(_columns(np.maximum(found, 0) if index else found, len(params[index])))
        found = columns[-1] @ params[index].reshape(-1, params[index].shape[3]) + params[layers + index]
    error = np.zeros_like(found)
    core = (slice(None), slice(HALO_PX, -HALO_PX), slice(HALO_PX, -HALO_PX))
    error[core] = (found[core] - wanted[core]) / found[core].size
    kernels: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    for index in reversed(range(layers)):
        kernel = params[index]
        rows = error.reshape(-1, kernel.shape[3])
        kernels.insert(0, (columns[index].reshape(len(rows), -1).T @ rows).reshape(kernel.shape))
        biases.insert(0, rows.sum(axis=0))
        if index:
            # A convolution by the kernel turned round, outputs and inputs exchanged; RELU passes on what is above 0.
            middle = kernel.shape[0] ** 2 // 2 * kernel.shape[2]
            above = columns[index][..., middle : middle + kernel.shape[2]] > 0
            error = convolved(error, kernel[::-1, ::-1].swapaxes(2, 3)) * above
    return [*kernels, *biases]


def _columns(images: np.ndarray, side: int) -> np.ndarray:
    """What a kernel of that side sees at each place, (runs, height, width, side x side x channels)."""
    half = side // 2
    _runs, height, width, _channels = images.shape
    padded = np.pad(images, ((0, 0), (half, half), (half, half), (0, 0)))
    return np.concatenate(
        [padded[:, row : row + height, column : column + width] for row in range(side) for column in range(side)],
        axis=3,
    )


def as_graph(name: str, network: Enlarger, patches: int) -> LayerGraph:
    """The model that takes so many patches, one below the other, (1, patches SEEN_PX, SEEN_PX, 1), values from 0 to 1,
    and gives them at twice the size. What is beyond a patch's halo is then the next patch's."""
    made = _Graph([], [])
    height, width = patches * SEEN_PX, SEEN_PX
    source = made.value("patches", (1, height, width, 1))
    plain = made.convolution(source, bicubic(), np.zeros(4, np.float32), "NONE")
    found = source
    for index, (kernel, bias) in enumerate(zip(network.kernels, network.biases, strict=True)):
        last = index == len(network.kernels) - 1
        found = made.convolution(found, kernel, bias, "NONE" if last else "RELU")
    four = made.layer("ADD", (found, plain), "four of each", (1, height, width, 4), {})
    large = made.layer("DEPTH_TO_SPACE", (four,), "enlarged", (1, 2 * height, 2 * width, 1), {"block_size": 2})
    return LayerGraph(name, tuple(made.tensors), tuple(made.layers), (source,), (large,))


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    """Writes a graph, layer by layer."""

    tensors: list[Tensor]
    layers: list[Layer]

    def value(self, name: str, shape: tuple[int, ...], data: np.ndarray | None = None) -> int:
        held = None if data is None else np.ascontiguousarray(data, np.float32)
        if held is not None:
            held.flags.writeable = False
        self.tensors.append(
            Tensor(name, shape, np.dtype(np.float32), data=held, stored_bytes=0 if held is None else held.nbytes)
        )
        return len(self.tensors) - 1

    def layer(
        self, kind: str, inputs: tuple[int, ...], name: str, shape: tuple[int, ...], options: Mapping[str, Option]
    ) -> int:
        output = self.value(name, shape)
        defaults = {field.name: field.default for field in KINDS[kind].options}
        self.layers.append(Layer(kind, {**defaults, **options}, inputs, (output,)))
        return output

    def convolution(self, source: int, kernel: np.ndarray, bias: np.ndarray, activation: str) -> int:
        number, (patches, height, width, _depth) = len(self.layers), self.tensors[source].shape
        side, _side, depth, outputs = kernel.shape
        weights = self.value(f"kernel {number}", (outputs, side, side, depth), kernel.transpose(3, 0, 1, 2))
        biases = self.value(f"bias {number}", (outputs,), bias)
        options: dict[str, Option] = {"stride_w": 1, "stride_h": 1, "fused_activation_function": activation}
        shape = (patches, height, width, outputs)
        return self.layer("CONV_2D", (source, weights, biases), f"convolved {number}", shape, options)
