"""Four questions about the same sound, by one shared trunk with four heads, or by four networks of their own.

As in shared deep audio sensing (Georgiev, Bhattacharya, Lane and Mascolo, "Low-resource multi-task audio sensing",
UbiComp 2017): 3 layers of 256, 512 or 1024 nodes, and a head each for speaker, emotion, stress and ambient scene.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.frame.lower import merge

TASKS = ("speaker", "emotion", "stress", "scene")
INPUTS = 200
"""Values that a network reads: in no source, so assumed."""
LABELS = 16
"""Of each head: likewise."""
PUBLISHED_MB = {256: (0.73, 0.80, 2.92), 512: (2.6, 2.7, 10.4), 1024: (9.2, 9.4, 36.8)}
"""By nodes of a layer: one network, four tasks shared, four networks."""


def workload(nodes: int, shared: bool) -> Workload:
    """Four graphs that read the same window; models are files `trunk.npz`, or `trunk-TASK.npz`, and `head-TASK.npz`."""
    graphs = []
    for task in TASKS:
        graph = GraphBuilder(task, period_us=1_000_000, deadline_us=500_000)
        features = graph.stage("features", "window", stream="features", samples=INPUTS)
        file = "trunk.npz" if shared else f"trunk-{task}.npz"
        trunk = graph.stage("trunk", "dense", features, layers=[nodes] * 3, model=file)
        graph.stage("head", "dense", trunk, layers=[LABELS], model=f"head-{task}.npz")
        graphs.append(graph.build())
    stream = Stream(name="features", rate_hz=INPUTS)
    return Workload(format="leo-workload/1", name="four tasks", streams=(stream,), graphs=tuple(graphs))


@dataclass(frozen=True)
class Counted:
    """Networks of a workload, each that is shared counted once."""

    weight_bytes: int
    macs: int
    trunks: int


def counted(of: Workload) -> Counted:
    """What the runtime holds and runs in a frame of all graphs."""
    dense = [stage.bound for stage in merge(of).stages if stage.bound.operator.name == "dense"]
    trunks = [stage for stage in dense if len(stage.params["default"].layers) == 3]
    return Counted(
        sum(stage.weight_bytes("default") for stage in dense),
        sum(stage.work("default").macs for stage in dense),
        len(trunks),
    )


def write_models(folder: Path, nodes: int, seed: int = 0) -> None:
    """Random weights for the shared trunk and its heads."""
    rng = np.random.default_rng(seed)
    heads = {f"head-{task}": (nodes, LABELS) for task in TASKS}
    for name, sizes in {"trunk": (INPUTS, nodes, nodes, nodes), **heads}.items():
        arrays = {}
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            arrays[f"weights_{layer}"] = rng.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32)
            arrays[f"bias_{layer}"] = np.zeros(outputs, np.float32)
        np.savez(folder / f"{name}.npz", **arrays)
