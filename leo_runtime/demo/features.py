"""What training and scoring share: sound as the demo hears it, cut into windows, and a graph run on one window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from leo_runtime.backend import Backend, Kernel
from leo_runtime.demo import sources
from leo_runtime.demo.fetch import FLOOR_DBFS, LEVEL_DBFS
from leo_runtime.demo.sources import RATE_HZ, SCENES, SPEAKERS, Clip
from leo_runtime.documents.workload import DEFAULT_VARIANT, Workload, bind, in_order

WINDOW = 2 * RATE_HZ
MOTION_WINDOW, MOTION_HOP = 40, 10
VOICES = (*SPEAKERS, "nobody")


def levelled(clip: Clip, seed: int, *, gain_db: float = 0.0) -> np.ndarray:
    """A recording as the demo hears it: at its kind's level, over the noise floor, as int16."""
    kind = clip.label if clip.label in SCENES else "speech"
    sound = clip.samples.astype(np.float64) / 32768
    sound *= 10 ** ((LEVEL_DBFS[kind] + gain_db) / 20) / (np.sqrt(np.mean(sound**2)) + 1e-9)
    sound += np.random.default_rng(seed).normal(0, 10 ** (FLOOR_DBFS / 20), len(sound))
    return np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)


def windows(samples: np.ndarray, length: int, hop: int) -> Iterator[np.ndarray]:
    """Whole windows of a recording; one that is shorter is repeated until it fills one."""
    if len(samples) < length:
        samples = np.resize(samples, (length, *samples.shape[1:]))
    for start in range(0, len(samples) - length + 1, hop):
        yield samples[start : start + length]


def clips(cache: Path, *, held_out: bool) -> tuple[dict[str, list[Clip]], dict[str, list[Clip]]]:
    """By speaker, and by what is to be heard."""
    voices = {speaker: sources.prompts(cache, speaker, held_out=held_out) for speaker in SPEAKERS}
    heard = {
        "speech": [clip for clips in voices.values() for clip in clips],
        "music": sources.music(cache, held_out=held_out),
        "noise": sources.noise(cache, held_out=held_out),
    }
    return voices, heard


class Pipeline:
    """One graph of a workload, computed by a backend. Whoever made the backend closes it."""

    def __init__(self, workload: Workload, graph: str, backend: Backend) -> None:
        self.graph = next(g for g in workload.graphs if g.name == graph)
        self._bound = bind(self.graph, workload)
        self._order = [stage.name for stage in in_order(self.graph)]
        self._backend = backend
        self._kernels: dict[str, Kernel] = {}

    def run(self, samples: np.ndarray, stage: str) -> np.ndarray:
        """The output of `stage` for one window of the graph's sensor stream; gates are not looked at."""
        return self._computed(stage, samples, {})

    def decide(self, samples: np.ndarray) -> tuple[str | None, Mapping[str, np.ndarray]]:
        """The label the graph decides for one window, None where a gate closed or nothing was sure enough."""
        decision = self.graph.decision
        assert decision is not None
        outputs: dict[str, np.ndarray] = {}
        removed: set[str] = set()
        for name in self._order:
            stage = self.graph.stage(name)
            closed = stage.gate is not None and (stage.gate in removed or float(outputs[stage.gate][0]) <= 0)
            if closed or any(i in removed for i in stage.inputs):
                removed.add(name)
            else:
                self._computed(name, samples, outputs)
        if decision.stage in removed:
            return None, outputs
        scores = outputs[decision.stage]
        best = int(np.argmax(scores))
        label = decision.labels[best]
        sure = float(scores[best]) >= decision.threshold and label != decision.background
        return (label if sure else None), outputs

    def _computed(self, name: str, samples: np.ndarray, outputs: dict[str, np.ndarray]) -> np.ndarray:
        if name not in outputs:
            if name not in self._kernels:
                self._kernels[name] = self._backend.load(self._bound[name], DEFAULT_VARIANT)
            inputs = self.graph.stage(name).inputs
            arrays = [self._computed(i, samples, outputs) for i in inputs] if inputs else [samples]
            outputs[name] = self._kernels[name](arrays)
        return outputs[name]
