"""Learning in plain numpy: Gaussian mixtures by expectation maximisation, networks by stochastic gradient descent.

Everything is deterministic for a seed, apart from what the matrix product's own order of additions does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

VARIANCE_FLOOR = 0.01
"""Of the data's own variance: no component becomes narrower."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Gaussians with diagonal covariances: `log_weights` (components,), the others (components, dimensions)."""

    log_weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray


def responsibilities(mixture: Mixture, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Each component's share in each row, (rows, components), and the mean log-likelihood of a row."""
    inverse = 1 / mixture.variances
    constant = mixture.log_weights - 0.5 * (
        np.log(2 * np.pi * mixture.variances).sum(axis=1) + (mixture.means**2 * inverse).sum(axis=1)
    )
    scores = rows @ (mixture.means * inverse).T - 0.5 * (rows**2 @ inverse.T) + constant
    greatest = scores.max(axis=1, keepdims=True)
    shares = np.exp(scores - greatest)
    total = shares.sum(axis=1, keepdims=True)
    return shares / total, float((greatest + np.log(total)).mean())


def fit_mixture(rows: np.ndarray, components: int, *, iterations: int, seed: int) -> Mixture:
    """Expectation maximisation from means drawn among the rows."""
    rng = np.random.default_rng(seed)
    rows = rows.astype(np.float64)
    spread = rows.var(axis=0)
    mixture = Mixture(
        np.full(components, -np.log(components)),
        rows[rng.choice(len(rows), components, replace=False)],
        np.tile(spread, (components, 1)),
    )
    for _ in range(iterations):
        shares, _likelihood = responsibilities(mixture, rows)
        counts = shares.sum(axis=0) + 1e-3
        means = (shares.T @ rows + 1e-3 * mixture.means) / counts[:, None]
        squares = (shares.T @ rows**2 + 1e-3 * (mixture.means**2 + mixture.variances)) / counts[:, None]
        variances = np.maximum(squares - means**2, VARIANCE_FLOOR * spread)
        mixture = Mixture(np.log(counts / counts.sum()), means, variances)
    return mixture


def adapt_means(mixture: Mixture, rows: np.ndarray, *, relevance: float = 16.0) -> Mixture:
    """The mixture with its means moved towards the rows, as far as there is evidence.

    Maximum a posteriori, as in D. A. Reynolds, T. F. Quatieri, R. B. Dunn, Digital Signal Processing 10 (2000).
    """
    shares, _likelihood = responsibilities(mixture, rows.astype(np.float64))
    counts = shares.sum(axis=0)[:, None]
    return Mixture(
        mixture.log_weights,
        (shares.T @ rows + relevance * mixture.means) / (counts + relevance),
        mixture.variances,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A fully connected network as the operator `dense` reads it, with relu between its layers."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    mean: np.ndarray
    scale: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """What its `.npz` file holds."""
        found = {"mean": self.mean, "scale": self.scale}
        for i, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            found |= {f"weights_{i}": weights, f"bias_{i}": bias}
        return {name: array.astype(np.float32) for name, array in found.items()}


def fit_network(
    rows: np.ndarray,
    classes: np.ndarray,
    hidden: tuple[int, ...],
    *,
    epochs: int,
    seed: int,
    rate: float = 1e-3,
    decay: float = 1e-4,
    dropout: float = 0.2,
    batch: int = 256,
) -> Network:
    """Cross-entropy by Adam with decoupled weight decay and dropout of hidden units."""
    rng = np.random.default_rng(seed)
    count = int(classes.max()) + 1
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    inputs = ((rows - mean) / scale).astype(np.float32)
    sizes = (inputs.shape[1], *hidden, count)
    params = [rng.normal(0, np.sqrt(2 / a), (a, b)).astype(np.float32) for a, b in pairwise(sizes)]
    params += [np.zeros(size, np.float32) for size in sizes[1:]]
    layers = len(sizes) - 1
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
    step, steps = 0, epochs * -(-len(inputs) // batch)
    for _ in range(epochs):
        order = rng.permutation(len(inputs))
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            gradients = _gradients(params, layers, inputs[chosen], classes[chosen], dropout, rng)
            step += 1
            pace = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            for i, gradient in enumerate(gradients):
                change = adam(gradient, moments[i], step)
                params[i] -= np.float32(pace) * (change + (decay * params[i] if i < layers else 0))
    return Network(tuple(params[:layers]), tuple(params[layers:]), mean, scale)


def adam(gradient: np.ndarray, moments: tuple[np.ndarray, np.ndarray], step: int) -> np.ndarray:
    """The direction of Adam's next step, of which 1 is the first (D. Kingma, J. Ba, ICLR 2015); moves the moments."""
    first, second = moments
    first += 0.1 * (gradient - first)
    second += 0.001 * (gradient**2 - second)
    found: np.ndarray = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return found


def _gradients(
    params: list[np.ndarray],
    layers: int,
    inputs: np.ndarray,
    classes: np.ndarray,
    dropout: float,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    values, masks = [inputs], []
    for i in range(layers):
        output = values[-1] @ params[i] + params[layers + i]
        if i < layers - 1:
            keep = (output > 0) * (rng.random(output.shape, np.float32) >= dropout) / np.float32(1 - dropout)
            masks.append(keep.astype(np.float32))
            output = output * masks[-1]
        values.append(output)
    shares = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
    error = shares / shares.sum(axis=1, keepdims=True)
    error[np.arange(len(classes)), classes] -= 1
    error /= len(classes)
    weights: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    for i in reversed(range(layers)):
        weights.insert(0, values[i].T @ error)
        biases.insert(0, error.sum(axis=0))
        if i:
            error = (error @ params[i].T) * masks[i - 1]
    return [*weights, *biases]
