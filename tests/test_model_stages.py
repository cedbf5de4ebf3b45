"""Stages that are models, or pieces of one: bound, run, placed and measured."""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layer_graphs import one_layer, real, small
from leo_backends import tflite
from leo_backends.cpu import CpuBackend
from leo_backends.tflite_pieces import stored
from leo_runtime import Runtime
from leo_runtime.backend import Backend, News, StatefulKernel
from leo_runtime.clock import VirtualClock
from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Link, Processor
from leo_runtime.documents.profile import Cost, Profile
from leo_runtime.documents.workload import Stream, TaskGraph, Workload
from leo_runtime.errors import GraphError, KernelError
from leo_runtime.importers.model_file import ends_of, open_model
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.graph import Tensor
from leo_runtime.measure.calibrate import calibrate
from leo_runtime.measure.measure import QUICK
from leo_runtime.operators import operator
from leo_runtime.operators.definition import Output
from leo_runtime.operators.model_pieces import _crossing
from leo_runtime.operators.outputs import arrays_of, as_value, flat, packed
from leo_runtime.recordings.recording import RecordedStream, Recording, RecordingManifest
from leo_runtime.testing import FakeBackend, example
from small_networks import Net, two_heads
from test_tflite_layers import two_signatures

MODELS = Path(__file__).parent / "models"
needs_interpreter = pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"
CPU = CpuBackend(Processor(name="cpu", backend="cpu"))
IMAGE = np.random.default_rng(2).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)


def saved(folder: Path, int8: bool = False) -> Path:
    path = folder / ("int8.tflite" if int8 else "float.tflite")
    path.write_bytes(write_model(two_heads(int8=int8)))
    return path


@operator(output_shape=lambda late, early: (2,))
def greatest(late, early):
    """The greatest value of each of two arrays."""
    return np.array([late.max(), early.max()], np.float32)


def pieces_of(path: Path, **options: object) -> tuple[TaskGraph, Workload]:
    """A graph whose stages are the pieces of a model, and a function behind it that reads both outputs."""
    cut = str(options.get("cut", "blocks"))
    graph = GraphBuilder("net", period_us=100_000, deadline_us=90_000)
    name = graph.stage("image", "window", stream="camera", samples=1)
    count = len(ends_of(open_model(path), "layers" if cut == "layers" else "blocks"))
    for number in range(count):
        name = graph.stage(f"piece {number}", "model", name, model=str(path), first=number, **options)
    graph.stage("greatest", greatest.name, name)
    whole = graph.stage("whole", "model", "image", model=str(path))
    graph.stage("greatest of whole", greatest.name, whole)
    built = graph.build()
    camera = Stream(name="camera", kind="camera", rate_hz=10, channels=3, height_px=8, width_px=8, data_type="float32")
    return built, Workload(format="leo-workload/1", name="nets", streams=(camera,), graphs=(built,))


class Some:
    """A CPU that runs the stages it is told."""

    def __init__(self, name: str, runs, gives=lambda value: value) -> None:
        self.name = name
        self._cpu = CpuBackend(Processor(name=name, backend="cpu"))
        self._runs = runs
        self.gives = gives

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        return self._runs(stage.name) and self._cpu.supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /):
        kernel = self._cpu.load(stage, variant)
        if stage.operator.name != "model" or isinstance(kernel, StatefulKernel):
            return kernel
        return lambda inputs: self.gives(kernel(inputs))

    def close(self) -> None:
        self._cpu.close()


def is_odd(stage: str) -> bool:
    return stage[-1] in "13579"


def even_and_odd() -> dict[str, Backend]:
    return {"even": Some("even", lambda stage: not is_odd(stage)), "odd": Some("odd", is_odd)}


MACHINE = Hardware(
    format="leo-hardware/1",
    name="two",
    processors=tuple(Processor(name=name, backend="cpu", active_mw=1000) for name in ("even", "odd")),
    links=(
        Link(source="even", target="odd", bytes_per_s=1_000_000),
        Link(source="odd", target="even", bytes_per_s=1_000_000),
    ),
)
COSTS = Profile(
    format="leo-profile/1",
    name="two",
    hardware="two",
    costs=tuple(Cost(processor=name, operator="*", fixed_us=100, source="modelled: any") for name in ("even", "odd")),
)


def answers(workload: Workload, backends: dict[str, Backend], image: np.ndarray = IMAGE) -> dict[str, np.ndarray]:
    """What the last stages gave, and the wholes."""
    with Runtime.simulated(workload, MACHINE, COSTS, backends=backends, solver="greedy") as runtime:
        assert runtime.left_out == {}, runtime.left_out
        runtime.submit(0, {"image": image})
        (result,) = runtime.drain()
    (found,) = result.graphs
    assert found.outcome == "done", [(stage.stage, stage.error) for stage in result.stages]
    return dict(found.outputs)


@needs_interpreter
@pytest.mark.parametrize("cut", ["blocks", "layers"])
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_pieces_on_two_processors_compute_what_the_whole_does(tmp_path: Path, int8: bool, cut: str) -> None:
    _, workload = pieces_of(saved(tmp_path, int8), cut=cut)
    found = answers(workload, even_and_odd())
    assert np.array_equal(found["greatest"], found["greatest of whole"])
    assert found["greatest"].dtype == np.float32


@needs_interpreter
def test_pieces_run_in_real_time_as_well(tmp_path: Path) -> None:
    _, workload = pieces_of(saved(tmp_path, int8=True), cut="layers")
    expected = answers(workload, even_and_odd())
    with Runtime.live(workload, MACHINE, COSTS, backends=even_and_odd(), solver="greedy") as runtime:
        runtime.submit(0, {"image": IMAGE})
        (result,) = runtime.drain()
    found = result.graphs[0].outputs
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(found[name], value)


@needs_interpreter
@pytest.mark.parametrize("between", ["int8", "uint8"])
def test_a_model_is_given_reals_of_another_scale_than_its_own(tmp_path: Path, between: str) -> None:
    """Bytes of one model are no bytes of another: their reals cross, and are quantised by who reads them."""
    given = Tensor("given", (), np.dtype(between), (float(np.float32(0.1)),), (5,))
    networks = {
        "first": one_layer("QUANTIZE", [real(1, 4)], given),
        "second": one_layer("DEQUANTIZE", [small((1, 4), 0.5, -100)], real(1, 4)),
    }
    graph = GraphBuilder("net", period_us=100_000, deadline_us=90_000)
    name = graph.stage("image", "window", stream="sensor", samples=4)
    for key, network in networks.items():
        (tmp_path / key).write_bytes(write_model(network))
        name = graph.stage(key, "model", name, model=str(tmp_path / key))
    sensor = Stream(name="sensor", kind="other", rate_hz=40)
    workload = Workload(format="leo-workload/1", name="nets", streams=(sensor,), graphs=(graph.build(),))
    reals = np.float32([0, 1, 2.5, 9])
    assert np.allclose(answers(workload, even_and_odd(), reals)["second"], [[0, 1, 2.5, 9]])


@needs_interpreter
def test_several_outputs_come_as_one_value_in_real_numbers(tmp_path: Path) -> None:
    path = saved(tmp_path, int8=True)
    graph = GraphBuilder("net", period_us=100_000, deadline_us=90_000)
    image = graph.stage("image", "window", stream="camera", samples=1)
    graph.stage("whole", "model", image, model=str(path))
    camera = pieces_of(path)[1].streams
    workload = Workload(format="leo-workload/1", name="nets", streams=camera, graphs=(graph.build(),))
    value = answers(workload, even_and_odd())["whole"]
    assert value.dtype.names == ("late", "early")
    assert (value["late"].shape, value["early"].shape) == ((1, 2, 2, 5), (1, 4, 4, 2))
    assert value["late"].dtype == np.float32
    stored = np.rint(value["late"] / np.float32(0.05)) + 3
    assert np.array_equal((stored - 3).astype(np.float32) * np.float32(0.05), value["late"])
    assert not value["late"].flags.writeable


def test_values_cross_in_the_types_of_the_model_and_all_together(tmp_path: Path) -> None:
    for int8, size in ((False, 4), (True, 1)):
        graph, workload = pieces_of(saved(tmp_path, int8), cut="layers")
        bound = bind(graph, workload)
        assert bound["piece 1"].output_bytes() == size * (4 * 4 * 8 + 4 * 4 * 2)
        assert [output.data_type for output in bound["piece 1"].outputs] == ["int8" if int8 else "float32"] * 2
        assert bound["piece 2"].input_shapes == ((1, 4, 4, 8), (1, 4, 4, 2))
        assert sum(stage.work("default").macs for name, stage in bound.items() if name.startswith("piece")) == (
            bound["whole"].work("default").macs
        )
        assert bound["greatest"].input_shapes == ((1, 2, 2, 5), (1, 4, 4, 2))


def test_a_kernel_may_give_a_tuple(tmp_path: Path) -> None:
    """As those of a backend may that knows nothing of structured arrays."""
    pytest.importorskip("ai_edge_litert")
    _, workload = pieces_of(saved(tmp_path), cut="layers")

    def as_tuple(value):
        return arrays_of(value) if value.dtype.names else (value,)

    expected = answers(workload, even_and_odd())["greatest"]
    backends = {"even": Some("even", lambda s: not is_odd(s), as_tuple), "odd": Some("odd", is_odd, as_tuple)}
    assert np.array_equal(answers(workload, backends)["greatest"], expected)


def test_one_array_in_a_tuple_is_that_array() -> None:
    """Wherever a kernel is called: here calibration and replay's shared kernels, as `Runtime` does."""
    alone, other = np.ones((2, 3), np.float32), np.zeros(4, np.int8)
    assert as_value(alone) is alone and as_value((alone,)) is alone
    assert [array.shape for array in arrays_of(as_value((alone, other)))] == [(2, 3), (4,)]


@needs_interpreter
@pytest.mark.parametrize(
    ("gives", "why"),
    [
        (lambda value: value[None], "gave float32 of shape (1, 1, 4, 4, 8) on `even`, expected float32 of"),
        (lambda value: value.astype(np.int8), "gave int8 of shape (1, 4, 4, 8) on `even`, expected float32"),
        (lambda value: None, "gave nothing on `even`, expected float32 of shape (1, 4, 4, 8)"),
        (lambda value: [1, 2], "gave int of shape None, int of shape None on `even`"),
        (lambda value: (value, value), "gave float32 of shape (1, 4, 4, 8), float32 of shape (1, 4, 4, 8)"),
        (lambda value: value * np.float32("nan"), "gave nan on `even`, at [0, 0, 0, 0] of its output"),
    ],
)
def test_what_is_not_as_the_model_says_fails_its_stage(tmp_path: Path, gives, why: str) -> None:
    _, workload = pieces_of(saved(tmp_path), cut="layers")
    backends = {"even": Some("even", lambda stage: not is_odd(stage)), "odd": Some("odd", is_odd)}
    with Runtime.simulated(workload, MACHINE, COSTS, backends=backends, solver="greedy") as runtime:
        backends["even"].gives = gives
        runtime.submit(0, {"image": IMAGE})
        (result,) = runtime.drain()
    (error,) = {stage.error for stage in result.stages if stage.stage == "piece 0"}
    assert f"stage `piece 0` {why}" in error


@needs_interpreter
def test_a_stage_calls_the_graph_of_its_signature(tmp_path: Path) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(two_signatures())
    arrays = [np.array([[1, 2, 3, 4]], np.float32), np.array([[5, 6, 7, 8]], np.float32)]
    alone = example("alone", "model", arrays, model=MODELS / "two_inputs.tflite").stage
    stage = example("mix", "model", arrays, model=path, signature="mix").stage
    assert [output.name for output in stage.outputs] == ["out0"]
    assert np.array_equal(CPU.load(stage, "default")(arrays), CPU.load(alone, "default")(arrays))


def test_a_graph_that_is_not_the_first_has_to_be_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(two_signatures("any_length"))
    with pytest.raises(GraphError, match=r"signature `mix` calls no first graph: .* cannot be taken apart"):
        example("mix", "model", [np.zeros((1, 1), np.float32)], model=path, signature="mix")


def test_outputs_of_one_name_have_several() -> None:
    """Also where the number that one would get is another's own name."""
    net = Net(1)
    x = net.value(1, 4, name="x")
    given = [net.layer("RELU", [x], (1, 4)) for _ in range(4)]
    tensors = list(net.tensors)
    for number, name in zip(given, ("a", "a:2", "a", ""), strict=True):
        tensors[number] = dataclasses.replace(tensors[number], name=name)
    graph = dataclasses.replace(net.graph((x,), tuple(given)), tensors=tuple(tensors))
    names = [output.name for output in _crossing(graph)[1]]
    assert names == ["a", "a:2", "a:3", "output:3"]


def test_a_model_that_gives_nothing_is_no_stage(tmp_path: Path) -> None:
    graph = dataclasses.replace(one_layer("RELU", [real(1, 4)]), outputs=())
    (tmp_path / "mute.tflite").write_bytes(write_model(graph))
    with pytest.raises(GraphError, match=r"mute.tflite: has no outputs"):
        example("mute", "model", [np.ones((1, 4), np.float32)], model=tmp_path / "mute.tflite")


def test_nan_is_no_integer() -> None:
    bytes_ = Output("image", (2,), "int8", 0.5, 3)
    with pytest.raises(KernelError, match="an input has NaN, which no int8 stands for"):
        stored(np.float32([1, "nan"]), bytes_)
    assert stored(np.float32([np.inf, -np.inf]), bytes_).tolist() == [127, -128]


def test_more_than_can_cross_is_refused(tmp_path: Path) -> None:
    net = Net(1)
    wide = net.value(1, 40_000, 40_000, 3, name="wide")
    path = tmp_path / "wide.tflite"
    path.write_bytes(write_model(net.graph((wide,), (net.layer("RELU", [wide], (1, 40_000, 40_000, 3)),))))
    with pytest.raises(GraphError, match="`wide` has 19,200,000,000 bytes, at most 1,073,741,824 cross"):
        example("wide", "model", [IMAGE], model=path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_a_first_run_has_so_much_memory_and_no_more() -> None:
    code = """
import numpy as np
from leo_backends import tflite_trial
tflite_trial._limit_memory()
assert np.empty(1 << 20, np.uint8).size
try:
    np.empty(tflite_trial.MEMORY_BYTES, np.uint8)
except MemoryError:
    print("none")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "none\n"


def test_a_model_may_be_placed_and_not_computed(tmp_path: Path) -> None:
    _, workload = pieces_of(saved(tmp_path, int8=True), cut="layers")
    with Runtime.simulated(workload, MACHINE, COSTS, compute=False, solver="greedy") as runtime:
        runtime.submit(0, {})
        (result,) = runtime.drain()
    assert result.graphs[0].outcome == "done"


def test_backends_of_fakes_give_what_a_model_does(tmp_path: Path) -> None:
    _, workload = pieces_of(saved(tmp_path, int8=True), cut="layers")
    found = answers(workload, {"even": FakeBackend(), "odd": FakeBackend()})
    assert found["greatest"].tolist() == found["greatest of whole"].tolist() == [0, 0]


def test_a_decision_reads_one_array(tmp_path: Path) -> None:
    graph = GraphBuilder("net", period_us=100_000, deadline_us=90_000)
    image = graph.stage("image", "window", stream="camera", samples=1)
    graph.decide(graph.stage("whole", "model", image, model=str(saved(tmp_path))), ["a", "b"])
    streams = pieces_of(saved(tmp_path))[1].streams
    workload = Workload(format="leo-workload/1", name="nets", streams=streams, graphs=(graph.build(),))
    with pytest.raises(GraphError, match="reads its labels from stage `whole`, which gives 2 arrays"):
        Runtime.simulated(workload, MACHINE, COSTS, backends=even_and_odd())


def test_several_arrays_are_told_one_behind_the_other() -> None:
    arrays = np.array([[1, 2]], np.float32), np.array([3], np.int8)
    assert flat(packed(arrays, ["a", "b"])).tolist() == [1, 2, 3]
    assert flat(arrays[0]).tolist() == [1, 2]


def test_a_file_that_was_not_meant_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    graph, workload = pieces_of(path, sha256=right[:16])
    bind(graph, workload)
    path.write_bytes(write_model(two_heads(seed=2)))
    with pytest.raises(GraphError, match=r"another file than the one meant: its SHA-256 begins with .{16}, not with"):
        bind(graph, workload)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"first": 2}, "has 2 blocks, `first` is 2 and `last` 2"),
        ({"first": 1, "last": 0}, "has 2 blocks, `first` is 1 and `last` 0"),
        ({"last": 0}, "`last` is 0, and no `first` is said"),
        ({"signature": "main"}, "has no signature `main`"),
        ({"first": 1}, r"takes `.*` \(1, 4, 4, 8\), the stage gives it \(1, 8, 8, 3\)"),
    ],
)
def test_pieces_that_are_not_there_are_refused(tmp_path: Path, options: dict[str, object], why: str) -> None:
    with pytest.raises(GraphError, match=why):
        example("piece", "model", [IMAGE], model=saved(tmp_path), **options)


def test_a_model_that_cannot_be_taken_apart_is_one_stage() -> None:
    path = MODELS / "any_length.tflite"
    tried = example("whole", "model", [np.zeros((1, 1), np.float32)], model=path)
    assert tried.stage.work("default").macs == 0
    assert tried.stage.weight_bytes("default") == path.stat().st_size
    with pytest.raises(GraphError, match="cannot be taken apart into layers") as refused:
        example("piece", "model", [np.zeros((1, 1), np.float32)], model=path, first=0)
    assert refused.value.hint.endswith("leave `first` and `last` out")


@needs_interpreter
def test_such_a_model_runs_whole() -> None:
    tried = example("whole", "model", [np.zeros((1, 1), np.float32)], model=MODELS / "any_length.tflite")
    kernel = CpuBackend(Processor(name="cpu", backend="cpu")).load(tried.stage, "default")
    assert kernel([np.array([[-3.5]], np.float32)]).tolist() == [[3.5]]


def wake_word(cut: str, streaming: bool = True, rows: int = 3) -> Workload:
    """A streaming model in pieces, called on three new rows of features a frame."""
    graph = GraphBuilder("word", period_us=30_000, deadline_us=30_000)
    name = graph.stage("rows", "window", stream="features", samples=rows)
    for number in range(len(ends_of(open_model(WAKE_WORD), "layers" if cut == "layers" else "blocks"))):
        name = graph.stage(
            f"piece {number}", "model", name, model=str(WAKE_WORD), cut=cut, first=number, streaming=streaming
        )
    features = Stream(name="features", rate_hz=100, channels=40)
    return Workload(format="leo-workload/1", name="words", streams=(features,), graphs=(graph.build(),))


def every_call(rows: np.ndarray) -> list[float]:
    """What the whole model says on each next three rows, its variables its own."""
    made = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_path=str(WAKE_WORD), num_threads=1)
    made.allocate_tensors()
    (takes,), (gives,) = made.get_input_details(), made.get_output_details()
    scale, zero = takes["quantization"]
    said = []
    for step in rows.reshape(-1, 1, 3, 40):
        stored = np.clip(np.rint(step / scale) + zero, -128, 127).astype(np.int8)
        made.set_tensor(takes["index"], stored)
        made.invoke()
        said.append(float(made.get_tensor(gives["index"])[0, 0] * np.float32(gives["quantization"][0])))
    return said


@pytest.mark.parametrize("cut", ["blocks", "layers"])
def test_pieces_of_a_streaming_model_go_on_from_their_own_states(cut: str) -> None:
    rows = (13 + 13 * np.sin(np.arange(40 * 3 * 40) / 7)).astype(np.float32).reshape(-1, 40)
    expected = every_call(rows)
    found = []
    with Runtime.simulated(wake_word(cut), MACHINE, COSTS, backends=even_and_odd(), solver="greedy") as runtime:
        assert runtime.left_out == {}
        for number, window in enumerate(rows.reshape(-1, 3, 40)):
            runtime.submit(30_000 * (number + 1), {"rows": window})
        for result in runtime.drain():
            (value,) = result.graphs[0].outputs.values()
            found.append(float(value[0, 0]))
    assert found == expected
    assert len(set(expected)) > 3


@needs_interpreter
def test_without_streaming_every_run_begins_in_the_first_state() -> None:
    rows = (13 + 13 * np.sin(np.arange(2 * 3 * 40) / 7)).astype(np.float32).reshape(2, 1, 3, 40)
    kernel = CPU.load(example("whole", "model", [rows[0]], model=WAKE_WORD).stage, "default")
    stream = CPU.load(example("whole", "model", [rows[0]], model=WAKE_WORD, streaming=True).stage, "default")
    assert isinstance(stream, StatefulKernel)
    alone = kernel([rows[0]])
    kernel([rows[1]])
    assert np.array_equal(kernel([rows[0]]), alone)
    first = stream.step([rows[0]], stream.start(), News(None, 0, whole=True))
    assert np.array_equal(first.output, alone)
    same = stream.step([rows[1]], first.state, News(0, 1, whole=True))
    assert np.array_equal(same.output, alone)
    assert example("whole", "model", [rows[0]], model=WAKE_WORD, streaming=True).stage.state_bytes("default") == 3409


@needs_interpreter
def test_a_streaming_model_is_called_on_what_is_new_alone() -> None:
    window = np.zeros((3, 40), np.float32)
    tried = example("whole", "model", [window], model=WAKE_WORD, streaming=True)
    kernel = CPU.load(tried.stage, "default")
    state = kernel.step([window], kernel.start(), News(None, 0)).state
    with pytest.raises(KernelError, match="reads 3 entries, of which 2 are new") as refused:
        kernel.step([window], state, News(2, 1))
    assert "as long as its graph's period" in refused.value.hint


def test_streaming_needs_a_model_that_can_be_taken_apart() -> None:
    with pytest.raises(GraphError, match=r"`streaming` gives it its state: .* cannot be taken apart"):
        example("whole", "model", [np.zeros((1, 1), np.float32)], model=MODELS / "any_length.tflite", streaming=True)


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(GraphError, match=r"nowhere.tflite: cannot be read \(No such file"):
        example("whole", "model", [IMAGE], model=Path("nowhere.tflite"))


@needs_interpreter
def test_pieces_are_calibrated(tmp_path: Path) -> None:
    graph, workload = pieces_of(saved(tmp_path, int8=True), cut="layers")
    clock = VirtualClock()

    class Watched(Some):
        """It takes 10 us a run."""

        def load(self, stage: BoundStage, variant: str, /):
            kernel = super().load(stage, variant)

            def run(inputs):
                clock.wait_until_us(clock.now_us() + 10)
                return kernel(inputs)

            return run

    camera = RecordedStream(
        name="camera", kind="camera", file="camera.npy", rate_hz=10, channels=3, height_px=8, width_px=8
    )
    still = RecordingManifest(format="leo-recording/1", name="r", licence="none", source="made", streams=(camera,))
    recording = Recording(still, {"camera": IMAGE.astype(np.uint8)})
    backends = {"even": Watched("even", lambda stage: True)}
    found = calibrate(workload, MACHINE, recording, effort=QUICK, backends=backends, clock=clock)
    assert not found.unmeasured, found.missing
    bound = bind(graph, workload)
    signatures = {cost.signature for cost in found.profile.costs if cost.operator == "model"}
    assert {stage.signature("default") for name, stage in bound.items() if "piece" in name} <= signatures
