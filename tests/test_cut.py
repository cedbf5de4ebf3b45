"""Stages cut into parts: the same values, placed one by one."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_backends.cpu import CpuBackend
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Stream, Variant, Workload
from leo_runtime.errors import GraphError
from leo_runtime.frame.lower import MergedWorkload, merge

CLASSES, COMPONENTS, DIMENSIONS = 5, 4, 3


@pytest.fixture
def models(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    np.savez(
        tmp_path / "gmm.npz",
        means=rng.normal(size=(CLASSES, COMPONENTS, DIMENSIONS)).astype(np.float32),
        variances=rng.uniform(0.5, 2, (CLASSES, COMPONENTS, DIMENSIONS)).astype(np.float32),
        log_weights=np.full((CLASSES, COMPONENTS), -np.log(COMPONENTS), np.float32),
    )
    np.savez(
        tmp_path / "dense.npz",
        weights_0=rng.normal(size=(DIMENSIONS, 2)).astype(np.float32),
        bias_0=np.zeros(2, np.float32),
    )
    return tmp_path


def merged(operator: str, parts: int, *, also: str = "", **params: Any) -> MergedWorkload:
    """A stage `model` cut into parts, and one more stage where `also` names one."""
    builder = GraphBuilder("g", period_us=1, deadline_us=1)
    motion = builder.stage("motion", "window", stream="wrist", samples=7)
    variants = (Variant(name="default", accuracy_loss_ppm=10),)
    builder.stage("model", operator, motion, parts=parts, variants=variants, **params)
    if also:
        builder.stage(also, "window", stream="wrist", samples=2)
    streams = (Stream(name="wrist", kind="motion", rate_hz=10, channels=DIMENSIONS),)
    return merge(Workload(format="leo-workload/1", name="w", streams=streams, graphs=(builder.build(),)))


def run(workload: MergedWorkload, window: np.ndarray) -> np.ndarray:
    """Every stage on the CPU; the value of `model`."""
    backend = CpuBackend(Processor(name="cpu", backend="cpu"))
    values: dict[str, np.ndarray] = {}
    for stage in workload.stages:
        inputs = [values[name] for name in stage.inputs] or [window]
        values[stage.name] = backend.load(stage.bound, "default")(inputs)
    backend.close()
    return values["model"]


def gmm(models: Path, parts: int, average: bool = True) -> MergedWorkload:
    sizes = {"classes": CLASSES, "components": COMPONENTS, "dimensions": DIMENSIONS}
    return merged("gmm", parts, model=str(models / "gmm.npz"), average=average, **sizes)


@pytest.mark.parametrize("parts", [2, 5])
@pytest.mark.parametrize("average", [True, False])
def test_mixtures_cut_by_class_give_the_same_likelihoods(models: Path, parts: int, average: bool) -> None:
    window = np.random.default_rng(2).normal(size=(7, DIMENSIONS)).astype(np.float32)
    whole, cut = (run(gmm(models, n, average), window) for n in (1, parts))
    assert cut.shape == whole.shape
    np.testing.assert_allclose(cut, whole, rtol=1e-6)


def test_rows_cut_into_patches_give_the_same_values(models: Path) -> None:
    window = np.random.default_rng(2).normal(size=(7, DIMENSIONS)).astype(np.float32)
    whole, cut = (
        run(merged("dense", n, layers=[2], per_row=True, model=str(models / "dense.npz")), window) for n in (1, 3)
    )
    np.testing.assert_allclose(cut, whole, rtol=1e-6)


def test_parts_are_stages_of_their_own_that_share_the_loss(models: Path) -> None:
    stages = gmm(models, 3).stages
    assert [stage.name for stage in stages] == ["motion", "model[0]", "model[1]", "model[2]", "model"]
    assert [stage.bound.accuracy_loss_ppm["default"] for stage in stages[1:4]] == [4, 4, 4]
    assert stages[-1].inputs == ("model[0]", "model[1]", "model[2]")


def test_what_cannot_be_cut_is_refused(models: Path) -> None:
    with pytest.raises(GraphError, match="5 classes cannot be cut into 6 parts"):
        gmm(models, 6)
    with pytest.raises(GraphError, match=r"stage `model` of graph `g` cannot be cut: its operator is `energy_gate`"):
        merged("energy_gate", 2, threshold_dbfs=0.0)
    with pytest.raises(GraphError, match="only with per_row"):
        merged("dense", 2, layers=[2], model=str(models / "dense.npz"))


@pytest.mark.parametrize("taken", ["model[0]", "model[2]"])
def test_a_part_takes_no_other_stages_name(models: Path, taken: str) -> None:
    """It would be replaced in silence, and all that reads it would read the part."""
    sizes = {"classes": CLASSES, "components": COMPONENTS, "dimensions": DIMENSIONS}
    with pytest.raises(GraphError, match=re.escape(f"another stage already has the name of one, `{taken}`")) as error:
        merged("gmm", 3, also=taken, model=str(models / "gmm.npz"), **sizes)
    assert "leave out `parts`" in error.value.hint


def test_a_name_like_that_of_a_part_that_is_not_there_is_free(models: Path) -> None:
    sizes = {"classes": CLASSES, "components": COMPONENTS, "dimensions": DIMENSIONS}
    stages = merged("gmm", 3, also="model[3]", model=str(models / "gmm.npz"), **sizes).stages
    assert {f"model[{number}]" for number in range(4)} <= {stage.name for stage in stages}
