"""A trunk that four tasks share is counted, stored and run once."""

from pathlib import Path

import numpy as np
import pytest

from leo_runtime import Runtime, shipped
from leo_runtime.documents.workload import Workload
from trunks import INPUTS, LABELS, PUBLISHED_MB, TASKS, counted, workload, write_models


@pytest.mark.parametrize(("nodes", "ratio"), [(256, 3.65), (512, 3.85), (1024, 3.91)])
def test_the_published_ratios_follow_from_the_published_sizes(nodes: int, ratio: float) -> None:
    _, shared, separate = PUBLISHED_MB[nodes]
    assert round(separate / shared, 2) == ratio


@pytest.mark.parametrize("nodes", PUBLISHED_MB)
def test_it_is_counted_once(nodes: int) -> None:
    shared, separate = (counted(workload(nodes, one)) for one in (True, False))
    trunk = (INPUTS + 1) * nodes + 2 * (nodes + 1) * nodes
    heads = 4 * (nodes + 1) * LABELS
    assert (shared.trunks, shared.weight_bytes) == (1, 4 * (trunk + heads))
    assert (separate.trunks, separate.weight_bytes) == (4, 4 * (4 * trunk + heads))
    assert separate.macs / shared.macs == pytest.approx(separate.weight_bytes / shared.weight_bytes, rel=0.01)
    # With the assumed input and heads, within 3 % of what was published.
    for ours, published in zip((shared, separate), PUBLISHED_MB[nodes][1:], strict=True):
        assert ours.weight_bytes / 1e6 == pytest.approx(published, rel=0.03)


def test_it_runs_once_for_all_four(tmp_path: Path) -> None:
    write_models(tmp_path, 256)
    (tmp_path / "four.json").write_text(workload(256, shared=True).to_json())
    tasks = Workload.from_file(tmp_path / "four.json")
    phone, costs = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    with Runtime.simulated(tasks, phone, costs) as runtime:
        runtime.submit(1_000_000, {"features": np.random.default_rng(0).normal(size=INPUTS).astype(np.float32)})
        (frame,) = runtime.drain()
    ran = [run.stage for run in frame.stages if run.outcome == "done"]
    assert sum("trunk" in name for name in ran) == 1 and sum("head" in name for name in ran) == 4
    assert [graph.graph for graph in frame.graphs] == list(TASKS)
    outputs = [next(iter(graph.outputs.values())) for graph in frame.graphs]
    assert all(one.shape == (LABELS,) for one in outputs)
    assert len({one.tobytes() for one in outputs}) == 4
