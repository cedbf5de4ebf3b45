"""What training and scoring share: sound as the demo hears it, cut into windows, and a graph run on one window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.backend import Backend, Kernel, StatefulKernel
from leo_runtime.demo import sources
from leo_runtime.demo.fetch import FLOOR_DBFS, LEVEL_DBFS
from leo_runtime.demo.sources import RATE_HZ, SCENES, SPEAKERS, Clip
from leo_runtime.documents.binding import bind, in_order
from leo_runtime.documents.workload import DEFAULT_VARIANT, Workload
from leo_runtime.frame.lower import merge
from leo_runtime.frame.positions import Point, WindowEnd
from leo_runtime.runtime.states import Kept, States
from leo_runtime.values import lasting_us

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
class _Window:
    """One window, and what was computed of it."""

    samples: np.ndarray
    points: Mapping[str, Point]
    """How far each stage has come that keeps state; none has where the window stands alone."""
    outputs: dict[str, np.ndarray]
    begun: dict[str, int]
    """Of those that ran, as `Kept.begun`."""


class Pipeline:
    """One graph of a workload, computed by a backend. Whoever made the backend closes it."""

    def __init__(self, workload: Workload, graph: str, backend: Backend) -> None:
        self.graph = next(g for g in workload.graphs if g.name == graph)
        self._bound = bind(self.graph, workload)
        self._order = [stage.name for stage in in_order(self.graph)]
        self._backend = backend
        self._kernels: dict[str, Kernel] = {}
        self._merged = merge(workload.model_copy(update={"graphs": (self.graph,)}))
        self.start_anew()

    def run(self, samples: np.ndarray, stage: str) -> np.ndarray:
        """The output of `stage` for one window of the graph's sensor stream; gates are not looked at."""
        return self._computed(stage, _Window(samples, {}, {}, {}))

    def decide(self, samples: np.ndarray, end: int | None = None) -> tuple[str | None, Mapping[str, np.ndarray]]:
        """The label the graph decides for one window, None where a gate closed or nothing was sure enough.

        `end` is how many samples the stream had had by the window's end: stages that keep state then go on from the
        windows decided before. None: the window stands alone.
        """
        decision = self.graph.decision
        assert decision is not None
        window = _Window(samples, {} if end is None else self._points(end), {}, {})
        outputs = window.outputs
        removed: set[str] = set()
        for name in self._order:
            stage = self.graph.stage(name)
            closed = stage.gate is not None and (stage.gate in removed or float(outputs[stage.gate][0]) <= 0)
            if closed or any(i in removed for i in stage.inputs):
                removed.add(name)
            else:
                self._computed(name, window)
        if decision.stage in removed:
            return None, outputs
        scores = outputs[decision.stage]
        best = int(np.argmax(scores))
        label = decision.labels[best]
        sure = float(scores[best]) >= decision.threshold and label != decision.background
        return (label if sure else None), outputs

    def start_anew(self) -> None:
        """Forget what stages kept: the next window is of another stream."""
        self._states = States(self._merged, lambda _home, _resource, _kept: True)

    def _points(self, end: int) -> Mapping[str, Point]:
        """How far stages have come when the stream has had so many samples."""
        sources = [stage for stage in self.graph.stages if self._bound[stage.name].operator.is_source]
        ends = {self._merged.names[self.graph.name, stage.name]: WindowEnd(end) for stage in sources}
        release_us = lasting_us(self._merged.workload.stream(sources[0].params["stream"]).rate_hz, end)
        return self._states.readings.points(release_us, ends)

    def _computed(self, name: str, window: _Window) -> np.ndarray:
        outputs = window.outputs
        if name not in outputs:
            if name not in self._kernels:
                self._kernels[name] = self._backend.load(self._bound[name], DEFAULT_VARIANT)
            inputs = self.graph.stage(name).inputs
            arrays = [self._computed(i, window) for i in inputs] if inputs else [window.samples]
            kernel = self._kernels[name]
            merged = self._merged.names[self.graph.name, name]
            if merged in window.points and isinstance(kernel, StatefulKernel):
                outputs[name] = self._stepped(merged, kernel, arrays, window)
            else:
                outputs[name] = kernel(arrays)
        return outputs[name]

    def _stepped(self, name: str, kernel: StatefulKernel, arrays: list[np.ndarray], window: _Window) -> np.ndarray:
        """From where the stage is, as a frame of the runtime goes on."""
        point = window.points[name]
        above = tuple([window.begun.get(up) for up in self._states.readings.of[name].above])
        start = self._states.start(name, DEFAULT_VARIANT, "", point, above)
        run = kernel.step(arrays, kernel.start() if start.kept is None else start.kept.state, start.news)
        kept = Kept(point, start.begun, above, "", DEFAULT_VARIANT, run.state, run.spent)
        self._states.commit(name, kept, [start], [])
        window.begun[name] = start.begun
        return run.output
