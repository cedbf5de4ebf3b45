"""Forms of a model made, their losses measured, and a workload made of those worth placing."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.backend import Kernel
from leo_runtime.clock import VirtualClock
from leo_runtime.compress import CompressError
from leo_runtime.compress.forms import DEFAULTS, form_of
from leo_runtime.compress.narrow import float16_weights
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.errors import InputError
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import read_layers
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers import reference
from leo_runtime.layers.count import weight_bytes
from leo_runtime.measure import calibrate
from leo_runtime.measure.model_data import ModelRuns
from leo_runtime.measure.task_loss import Task
from leo_runtime.measure.variant_costs import measured, workload_of
from leo_runtime.measure.variants import Variants, make_variants
from leo_runtime.operators.model_pieces import piece_of
from leo_runtime.operators.outputs import one_value
from small_networks import classifier, saved, two_heads

FORMS = ("f16", "int8w", "int8", "rank40", "prune60", "rank30-one+int8w")


def runs(count: int = 6) -> ModelRuns:
    rng = np.random.default_rng(0)
    drawn = tuple((rng.normal(size=(1, 9, 12, 3)).astype(np.float32),) for _ in range(2 * count))
    return ModelRuns(drawn[:count], drawn[count:], 2 * count)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return saved(classifier(), tmp_path / "net.tflite")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "forms").mkdir()
    return tmp_path / "forms"


class ReferenceBackend:
    """Computes models by the reference of layers; a run of each takes as long as it has thousands of MACs."""

    name = "reference"

    def __init__(self, clock: VirtualClock, us_more: Sequence[int] = (0,)) -> None:
        self.clock = clock
        self.us_more = us_more
        self.loaded = 0

    def supports(self, stage: BoundStage, variant: str) -> bool:
        return True

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        params, self.loaded = stage.params[variant], self.loaded + 1
        takes_us = stage.work(variant).macs // 1000 + 1 + self.us_more[self.loaded % len(self.us_more)]

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            self.clock.wait_until_us(self.clock.now_us() + takes_us)
            if stage.operator.is_source:
                return inputs[0]
            piece = piece_of(params)
            assert piece.graph is not None
            shaped = [one.reshape(output.shape) for one, output in zip(inputs, piece.takes, strict=True)]
            return one_value(reference.run(piece.graph, shaped), [one.name for one in piece.gives])

        return run

    def close(self) -> None:
        pass


def made(net: Path, folder: Path, by: str = "whole", task: Task = Task(output=0), backend=None) -> Variants:  # noqa: B008
    return make_variants(net, runs(), FORMS, task, folder, by=by, backend=backend)


def test_each_form_has_its_file_and_what_it_loses(net: Path, folder: Path) -> None:
    variants = made(net, folder)
    assert [one.name for one in variants.made] == ["default", *FORMS] and variants.not_made == ()
    for one in variants.made:
        content = (folder / one.params["model"]).read_bytes()
        graph = read_layers(parse_tflite(content, one.name))
        found = [reference.run(graph, run)[0] for run in runs().inputs]
        expected = [reference.run(classifier(), run)[0] for run in runs().inputs]
        off = np.linalg.norm(np.array(found) - expected) / np.linalg.norm(expected)
        assert one.loss.change == pytest.approx(off, abs=1e-7)
        assert (one.loss.ppm == 0) == (one.name == "default")
    sizes = {one.name: one.weight_bytes for one in variants.made}
    assert sizes["int8w"] < sizes["f16"] < sizes["default"]


def test_what_a_form_of_a_block_loses_is_seen_at_the_models_outputs(net: Path, folder: Path) -> None:
    variants = made(net, folder, by="blocks")
    assert variants.pieces == 5
    whole = read_layers(parse_tflite(net.read_bytes(), "net"))
    assert sum(variants.of(k)[0].weight_bytes for k in range(5)) == weight_bytes(whole)
    (last,) = [one for one in variants.of(4) if one.name == "rank40"]
    (first,) = [one for one in variants.of(0) if one.name == "rank40"]
    assert first.loss.change != last.loss.change and min(first.loss.change, last.loss.change) > 0
    assert {one.why for one in variants.not_made if one.piece == 1} == {
        "a rank of 40 % saves nothing in any of its layers",
        "has no layer of float weights (CONV_2D, FULLY_CONNECTED)",
    }
    assert {one.name for one in variants.of(1)} == {"default", "f16", "int8w", "int8", "prune60"}


def test_a_form_that_is_the_same_as_another_is_not_made_twice(net: Path, folder: Path) -> None:
    variants = make_variants(net, runs(1), ("rank40", "rank40-one"), Task(output=0), folder, by="blocks")
    assert all(one.name != "rank40-one" for one in variants.made)
    assert "is the same as rank40" in {one.why for one in variants.not_made}


def test_a_backend_gives_the_same_losses_as_the_reference(net: Path, folder: Path) -> None:
    task = Task("argmax", output=0)
    ours = made(net, folder, "blocks", task)
    theirs = made(net, folder, "blocks", task, ReferenceBackend(VirtualClock()))
    assert [one.loss for one in ours.made] == [one.loss for one in theirs.made]


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="needs ai-edge-litert")
def test_litert_gives_the_losses_of_the_reference(net: Path, folder: Path) -> None:
    from contextlib import closing

    from leo_runtime.backend import registry

    with closing(registry.create(Processor(name="cpu", backend="cpu"))) as backend:
        theirs = made(net, folder, backend=backend)
    for one, other in zip(made(net, folder).made, theirs.made, strict=True):
        assert one.loss.change == pytest.approx(other.loss.change, abs=1e-4)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "busy_percent", lambda clock: 0.0)


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("by", ["whole", "blocks"])
def test_costs_are_measured_and_dominated_forms_left_out(net: Path, folder: Path, by: str) -> None:
    variants = made(net, folder, by)
    clock = VirtualClock()
    hardware = Hardware(
        format="leo-hardware/1", name="one", processors=(Processor(name="cpu", backend="cpu", active_mw=100),)
    )
    workload = workload_of(variants, name="net", rate_hz=2, loss_ppm_max=300_000)
    priced = measured(
        variants, workload, hardware, runs(), 300_000, backends={"cpu": ReferenceBackend(clock)}, clock=clock
    )
    for one in variants.made:
        ((mode,),) = [priced.modes[one.piece, one.name]]
        assert mode.duration_us == one.macs // 1000 + 1
        assert mode.memory_bytes >= one.weight_bytes and mode.accuracy_loss_ppm == one.loss.ppm
        if (one.piece, one.name) not in priced.kept and one.loss.ppm <= 300_000:
            assert any(
                other.loss.ppm <= one.loss.ppm
                and other.weight_bytes <= one.weight_bytes
                and other.macs // 1000 <= one.macs // 1000
                for other in variants.of(one.piece)
                if (one.piece, other.name) in priced.kept
            )
    assert (0, "int8w") in priced.kept and (0, "f16") in priced.kept
    left = workload_of(variants, name="net", rate_hz=2, loss_ppm_max=300_000, kept=priced.kept)
    stages = [stage for stage in left.graphs[0].stages if stage.operator == "model"]
    assert {(k, one.name) for k, stage in enumerate(stages) for one in stage.variants} == priced.kept
    assert left.graphs[0].accuracy_loss_ppm_max == 300_000


@pytest.mark.usefixtures("idle")
def test_the_same_layers_on_other_constants_have_one_time(net: Path, folder: Path) -> None:
    variants = made(net, folder)
    clock = VirtualClock()
    hardware = Hardware(format="leo-hardware/1", name="one", processors=(Processor(name="cpu", backend="cpu"),))
    workload = workload_of(variants, name="net", rate_hz=1, loss_ppm_max=0)
    noisy = ReferenceBackend(clock, (5, 1, 9, 3))
    priced = measured(variants, workload, hardware, runs(), 0, backends={"cpu": noisy}, clock=clock)
    times = {one.name: priced.modes[0, one.name][0].duration_us for one in variants.made}
    assert times["default"] == times["f16"] == times["int8w"] == times["prune60"]
    assert len({times["default"], times["rank40"], times["rank30-one+int8w"]}) == 3


def test_weights_of_float16_stay_so_in_every_form(tmp_path: Path) -> None:
    half = read_layers(parse_tflite(write_model(float16_weights(classifier())), "half"))
    for name in ("rank40", "prune60", "separable50", "sparse50"):
        graph = form_of(name)(half, ())
        again = read_layers(parse_tflite(write_model(graph), name))
        assert weight_bytes(again) < weight_bytes(half) * 1.01, name
        assert weight_bytes(form_of(name)(classifier(), ())) > 1.3 * weight_bytes(graph)


@pytest.mark.parametrize("name", ["", "rank", "rank0", "rank100", "f16-one", "int9", "rank25+", "rank25 +f16", "svd9"])
def test_what_is_no_form_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no form is called"):
        form_of(name)


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_default_is_a_form(name: str) -> None:
    assert form_of(name)(classifier(), runs(8).calibrating) is not None


def test_a_model_of_integers_is_refused(tmp_path: Path, folder: Path) -> None:
    path = saved(two_heads(int8=True), tmp_path / "int8.tflite")
    with pytest.raises(CompressError, match="has no layer of float weights"):
        make_variants(path, runs(1), FORMS, Task(), folder)


def test_a_model_that_gives_no_numbers_of_these_data_is_told(net: Path, folder: Path) -> None:
    first, second, third, *_ = runs().inputs
    huge = ModelRuns((first, second, (np.sign(third[0]) * np.float32(3e38),)), (), 3)
    with pytest.raises(InputError, match=r"gives NaN or infinity at `.*` in run 2 of those measured on"):
        make_variants(net, huge, ("f16",), Task(output=0), folder)
