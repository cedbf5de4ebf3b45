"""Outputs that may be packed on their way: the stages that do it, what is sent of them, and where they are placed."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_backends.cpu import CpuBackend
from leo_runtime import shipped
from leo_runtime.backend import Kernel
from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.problem import Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DocumentError, GraphError
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import frame_problem, merge, price
from leo_runtime.frame.packing import with_packing
from leo_runtime.judge import check
from leo_runtime.measure.calibrate import calibrate
from leo_runtime.measure.measure import Effort
from leo_runtime.operators.packing import form_params, read_head
from leo_runtime.solver import solve

FORMS = [
    {"form": "float16"},
    {"form": "int8", "accuracy_loss_ppm": 100},
    {"form": "int8+zlib", "accuracy_loss_ppm": 100, "sent_bytes": 2_000},
    {"form": "int4", "accuracy_loss_ppm": 5_000},
]


def workload(pack: list[dict[str, Any]], stages: list[dict[str, Any]] | None = None, **more: Any) -> Workload:
    """Sound, its log-mel spectrum, which may be packed, and what of it is loud."""
    own = [
        {"name": "sound", "operator": "window", "params": {"stream": "mic", "samples": 16_000}},
        {"name": "mel", "operator": "log_mel", "inputs": ["sound"], "pack": pack},
        {"name": "top", "operator": "energy_gate", "inputs": ["mel"], "params": {"threshold_dbfs": 0.0}},
    ]
    graph = {"name": "ears", "period_us": 1_000_000, "deadline_us": 400_000, "stages": stages or own, **more}
    streams = [{"name": "mic", "kind": "audio", "rate_hz": 16_000}]
    return Workload.from_dict({"format": "leo-workload/1", "name": "w", "streams": streams, "graphs": [graph]})


def hardware(bytes_per_s: int) -> Hardware:
    link = {"bytes_per_s": bytes_per_s, "latency_us": 2_000, "energy_pj_per_byte": 100_000, "radio": "wifi"}
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "phone",
            "processors": [
                {"name": "cpu", "backend": "cpu", "active_mw": 1000},
                {"name": "cloud", "backend": "remote", "remote": True},
            ],
            "radios": [{"name": "wifi", "awake_mw": 300}],
            "links": [{"source": "cpu", "target": "cloud", **link}, {"source": "cloud", "target": "cpu", **link}],
        }
    )


def profile(top_us: int = 300_000, pack_us: int = 30) -> Profile:
    def cost(processor: str, operator: str, fixed_us: int) -> dict[str, Any]:
        return {"processor": processor, "operator": operator, "fixed_us": fixed_us, "source": "modelled: a test"}

    operators = {"window": 10, "log_mel": 2_000, "energy_gate": top_us, "pack": pack_us, "unpack": 20}
    costs = [cost("cpu", operator, us) for operator, us in operators.items()]
    costs += [cost("cloud", operator, us) for operator, us in {**operators, "energy_gate": 200}.items()]
    return Profile.from_dict({"format": "leo-profile/1", "name": "phone", "hardware": "phone", "costs": costs})


def question(asked: Workload, bytes_per_s: int, **costs: int) -> Problem:
    merged, machine = merge(asked), hardware(bytes_per_s)
    modes = price(merged, machine, profile(**costs), lambda *_: True)
    return frame_problem(merged, modes, machine, Conditions(("ears",)), "frame")


def chosen(problem: Problem) -> dict[str, tuple[str, str]]:
    """Where each stage runs, and in which variant."""
    placement = solve(problem)
    assert check(problem, placement).ok
    return {run.stage: (run.resource, run.variant) for run in placement.stages}


def bound_stages(asked: Workload) -> dict[str, BoundStage]:
    return {stage.name: stage.bound for stage in merge(asked).stages}


def test_one_line_about_an_output_makes_the_stages_that_pack_it() -> None:
    graph = with_packing((asked := workload(FORMS)).graphs[0], asked)
    assert [stage.name for stage in graph.stages] == ["sound", "mel", "mel.packed", "mel.unpacked", "top"]
    assert graph.stage("top").inputs == ("mel.unpacked",)
    bound = bind(graph, asked)
    assert list(bound["mel.packed"].params) == ["float32", "float16", "int8", "int8+zlib", "int4"]
    assert bound["mel.unpacked"].output_shape == bound["mel"].output_shape == (98, 40)
    assert bound["mel.unpacked"].params["default"].reads == ("none", "zlib")
    assert with_packing(graph, asked) is graph


def test_what_is_sent_is_that_of_the_form_or_what_was_measured() -> None:
    packed = bound_stages(workload(FORMS))["mel.packed"]
    assert packed.output_bytes() == 15_700
    assert {variant: packed.sent_bytes(variant) for variant in packed.params} == {
        "float32": 15_700,
        "float16": 7_860,
        "int8": 3_948,
        "int8+zlib": 2_000,
        "int4": 1_988,
    }
    assert packed.accuracy_loss_ppm["int4"] == 5_000
    modes = {mode.variant: mode.output_bytes for mode in question(workload(FORMS), 10**6).stages[2].modes}
    assert modes == {variant: packed.sent_bytes(variant) for variant in packed.params}


def test_a_window_is_sent_as_it_was_recorded() -> None:
    stages = [
        {"name": "sound", "operator": "window", "params": {"stream": "mic", "samples": 100}},
        {"name": "top", "operator": "energy_gate", "inputs": ["sound"], "params": {"threshold_dbfs": 0.0}},
    ]
    stages[0]["pack"] = [{"form": "int8"}]
    packed = bound_stages(workload([], stages))["sound.packed"]
    assert {variant: packed.sent_bytes(variant) for variant in packed.params} == {"pcm16": 220, "int8": 128}


def test_packing_runs_for_whom_it_is_made() -> None:
    asked = workload(FORMS)
    (graph,) = asked.graphs
    loud = graph.stage("top").model_copy(update={"name": "loud", "inputs": ("sound",)})
    gated = graph.stage("top").model_copy(update={"gate": "loud"})
    both = graph.model_copy(update={"stages": (*graph.stages[:2], loud, gated)})
    assert {stage.name: stage.gate for stage in with_packing(both, asked).stages} == {
        "sound": None,
        "mel": None,
        "mel.packed": "loud",
        "mel.unpacked": "loud",
        "loud": None,
        "top": "loud",
    }
    other = gated.model_copy(update={"name": "other", "gate": None})
    more = both.model_copy(update={"stages": (*both.stages, other)})
    assert with_packing(more, asked).stage("mel.packed").gate is None


def test_a_slow_link_is_sent_less() -> None:
    free, tight = workload(FORMS), workload(FORMS, accuracy_loss_ppm_max=200)
    assert chosen(question(free, 100_000))["mel.packed"] == ("cpu", "int4")
    assert chosen(question(tight, 100_000))["mel.packed"] == ("cpu", "int8+zlib")
    assert chosen(question(workload(FORMS, accuracy_loss_ppm_max=0), 100_000))["mel.packed"] == ("cpu", "float16")
    there = chosen(question(tight, 100_000))
    assert there["mel.unpacked"][0] == there["top"][0] == "cloud"


def test_what_stays_on_a_processor_is_left_as_it_is() -> None:
    """Nothing crosses, and the first form has the least loss of equal ones."""
    here = chosen(question(workload(FORMS), 100_000, top_us=100))
    assert {resource for resource, _ in here.values()} == {"cpu"}


def require_agreement(problem: Problem, name: str) -> None:
    """The judge counts what both solvers count: of each form its own bytes, time and loss."""
    exact, other = solve(problem), solve(problem, name)
    assert exact.status == other.status == "optimal"
    assert exact.criteria is not None and other.criteria is not None
    assert [getattr(exact.criteria, one) for one in problem.objective] == [
        getattr(other.criteria, one) for one in problem.objective
    ]
    for placement in (exact, other):
        assert check(problem, placement).ok


@settings(max_examples=20)
@given(
    st.sampled_from([0, 100, 5_000]),
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=3, unique_by=lambda one: one["form"]),
    st.sampled_from([5_000, 100_000, 3_000_000]),
    st.sampled_from([100, 40_000, 500_000]),
    st.integers(1, 5_000),
)
def test_the_best_placement_is_the_best_of_all(
    budget: int, forms: list[dict[str, Any]], rate: int, top_us: int, pack_us: int
) -> None:
    asked = workload(forms, accuracy_loss_ppm_max=budget)
    require_agreement(question(asked, rate, top_us=top_us, pack_us=pack_us), "exhaustive")


@pytest.mark.skipif(find_spec("ortools") is None, reason="needs the extra `oracle`")
@pytest.mark.parametrize("rate", [5_000, 100_000])
def test_others_find_the_same_placement(rate: int) -> None:
    require_agreement(question(workload(FORMS, accuracy_loss_ppm_max=200), rate), "oracle")


def test_choosing_forms_as_well_costs_no_more_than_passing_them() -> None:
    """Beside the cut alone: what the two stages take where nothing is packed, at 1000 mW of the CPU."""
    passing_nj = 1000 * (30 + 20)
    for rate in (2_000, 50_000, 400_000, 10_000_000):
        both, cut = solve(question(workload(FORMS), rate)).criteria, solve(question(workload([]), rate)).criteria
        assert both is not None and cut is not None
        assert (both.tardiness, both.energy) <= (cut.tardiness, cut.energy + passing_nj)


SOUND = {"name": "sound", "operator": "window", "params": {"stream": "mic", "samples": 16_000}}
MEL = {"name": "mel", "operator": "log_mel", "inputs": ["sound"]}
TOP = {"name": "top", "operator": "energy_gate", "inputs": ["mel"], "params": {"threshold_dbfs": 0.0}}
PACK = {"name": "p", "operator": "pack", "inputs": ["mel"]}


def unpacking(name: str, reads: str) -> dict[str, Any]:
    return {"name": name, "operator": "unpack", "inputs": [reads], "params": {"shape": [98, 40]}}


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([SOUND, MEL, PACK, {**TOP, "inputs": ["p"]}], "reads packed bytes, and `energy_gate` takes numbers"),
        ([SOUND, MEL, unpacking("u", "mel"), {**TOP, "inputs": ["u"]}], r"takes 15700 packed bytes, got \(98, 40\)"),
        ([SOUND, {**MEL, "pack": [{"form": "int7"}]}, TOP], "`int7` is no form of packing"),
        ([SOUND, {**MEL, "pack": [{"form": "int8", "sent_bytes": 4_000}]}, TOP], "sent_bytes is 4000, and its form"),
        ([SOUND, {**MEL, "variants": [{"name": "a", "sent_bytes": 9}]}, TOP], "all of what `log_mel` gives is sent"),
        ([SOUND, MEL, {**TOP, "pack": [{"form": "int8"}]}], "cannot be packed: nothing reads it"),
        ([{**SOUND, "pack": FORMS}, {**MEL, "params": {"streaming": True}}, TOP], "`mel` goes on from what it kept"),
        ([SOUND, {**MEL, "pack": FORMS}, {**TOP, "name": "mel.packed"}], "another stage has the name `mel.packed`"),
        ([SOUND, {**MEL, "pack": [{"form": "jpeg"}]}, TOP], "jpeg is of images"),
        ([SOUND, {**MEL, "pack": [{"form": "jpeg99"}]}, TOP], "quality"),
    ],
)
def test_what_cannot_be_is_said_plainly(stages: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        merge(workload([], stages))


def test_a_form_is_named_once() -> None:
    with pytest.raises(DocumentError, match="form"):
        workload([{"form": "int8"}, {"form": "int8"}])


def test_names_of_forms() -> None:
    assert form_params("float32") == {"form": "float32"}
    assert form_params("int8x256+zstd") == {"form": "int8", "compress": "zstd", "block_values": 256}
    assert form_params("int8_band+zlib") == {"form": "int8_band", "compress": "zlib"}
    assert form_params("jpeg") == {"form": "uint8", "compress": "jpeg"}
    assert form_params("jpeg70") == {"form": "uint8", "compress": "jpeg", "quality": 70}
    for wrong in ("", "int8+", "int8+jpeg", "int8_bandx16", "float16x16", "jpeg+zstd", "jpeg100", "int8x0"):
        with pytest.raises(GraphError, match="is no form of packing"):
            form_params(wrong)


def test_every_form_is_measured_and_what_unpacks_on_the_hardest() -> None:
    """So that no form takes longer on the other side than a plan says."""
    asked = workload(FORMS)
    cpu = Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "phone", "processors": [{"name": "cpu", "backend": "cpu"}]}
    )
    once = Effort(0, 2, 1, batches=(), nearby=(), neighbours=False, lanes=False)
    watched = Watched(Processor(name="cpu", backend="cpu"))
    try:
        found = calibrate(asked, cpu, shipped.recording("demo"), effort=once, backends={"cpu": watched})
    finally:
        watched.close()
    assert not [what for what, _ in found.missing if "pack" in what]
    measured = [(one.stage.name, one.variant) for one in found.readings]
    forms = ["float32", "float16", "int8", "int8+zlib", "int4"]
    assert sorted(measured) == sorted(
        [("sound", "default"), ("mel", "default"), ("top", "default"), ("mel.unpacked", "default")]
        + [("mel.packed", form) for form in forms]
    )
    assert set(watched.unpacked) == {"zlib"}
    modes = price(merge(asked), cpu, found.profile, lambda *_: True)
    assert [mode.variant for mode in modes["mel.packed"]] == forms


class Watched(CpuBackend):
    """The CPU, which notes how what it unpacks is compressed."""

    def __init__(self, processor: Processor) -> None:
        super().__init__(processor)
        self.unpacked: list[str] = []

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        kernel = super().load(stage, variant)
        if stage.operator.name != "unpack":
            return kernel

        def noted(inputs: Sequence[np.ndarray]) -> np.ndarray:
            self.unpacked.append(read_head(inputs[0]).compress)
            return np.asarray(kernel(inputs))

        return noted
