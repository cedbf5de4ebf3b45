"""What training and scoring share: sound as the demo hears it, cut into windows, and a graph run on one window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.backend import Backend, Kernel, News, State, StatefulKernel
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


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a stage kept of a window."""

    state: State
    position: int
    """How many entries its first input had had, along the first axis."""
    begun: int
    """Where the window with which it started anew ended."""


class Pipeline:
    """One graph of a workload, computed by a backend. Whoever made the backend closes it."""

    def __init__(self, workload: Workload, graph: str, backend: Backend) -> None:
        self.graph = next(g for g in workload.graphs if g.name == graph)
        self._bound = bind(self.graph, workload)
        self._order = [stage.name for stage in in_order(self.graph)]
        self._backend = backend
        self._kernels: dict[str, Kernel] = {}
        self._kept: dict[str, _Kept] = {}

    def run(self, samples: np.ndarray, stage: str) -> np.ndarray:
        """The output of `stage` for one window of the graph's sensor stream; gates are not looked at."""
        return self._computed(stage, samples, {}, None)

    def decide(self, samples: np.ndarray, end: int | None = None) -> tuple[str | None, Mapping[str, np.ndarray]]:
        """The label the graph decides for one window, None where a gate closed or nothing was sure enough.

        `end` is how many samples the stream had had by the window's end: stages that keep state then go on from the
        windows decided before. None: the window stands alone.
        """
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
                self._computed(name, samples, outputs, end)
        if decision.stage in removed:
            return None, outputs
        scores = outputs[decision.stage]
        best = int(np.argmax(scores))
        label = decision.labels[best]
        sure = float(scores[best]) >= decision.threshold and label != decision.background
        return (label if sure else None), outputs

    def start_anew(self) -> None:
        """Forget what stages kept: the next window is of another stream."""
        self._kept.clear()

    def _computed(self, name: str, samples: np.ndarray, outputs: dict[str, np.ndarray], end: int | None) -> np.ndarray:
        if name not in outputs:
            if name not in self._kernels:
                self._kernels[name] = self._backend.load(self._bound[name], DEFAULT_VARIANT)
            inputs = self.graph.stage(name).inputs
            arrays = [self._computed(i, samples, outputs, end) for i in inputs] if inputs else [samples]
            kernel = self._kernels[name]
            if end is not None and isinstance(kernel, StatefulKernel):
                outputs[name] = self._stepped(name, kernel, arrays, end)
            else:
                outputs[name] = kernel(arrays)
        return outputs[name]

    def _stepped(self, name: str, kernel: StatefulKernel, arrays: list[np.ndarray], end: int) -> np.ndarray:
        """As the runtime does: on what is new, or anew where that is more than the input holds, or its giver did so."""
        kept, above = self._kept.get(name), self._kept.get(self.graph.stage(name).inputs[0])
        position = self._entries(self.graph.stage(name).inputs[0], end)
        fresh = None
        if kept is not None and (above is None or above.begun <= kept.begun):
            fresh = position - kept.position
        if fresh is None or fresh > len(arrays[0]):
            kept, fresh = None, None
        run = kernel.step(arrays, kernel.start() if kept is None else kept.state, News(fresh, end))
        self._kept[name] = _Kept(run.state, position, end if kept is None else kept.begun)
        return run.output

    def _entries(self, name: str, samples: int) -> int:
        """How many entries the output of a stage has had when the stream has had so many samples."""
        bound = self._bound[name]
        if bound.operator.is_source:
            return samples
        params = bound.params[DEFAULT_VARIANT]
        keeping = bound.operator.keeps(params) if bound.operator.keeps is not None else None
        assert keeping is not None and keeping.entries is not None, f"`{name}` gives no stream"
        return keeping.entries(params, self._entries(self.graph.stage(name).inputs[0], samples))
