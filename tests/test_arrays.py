"""Arrays of one frame are nobody else's: not of its other stages, of other frames, of callers, or of stale runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend import DeviceRun
from leo_runtime.dispatch.events import RunStage
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import BackendError
from leo_runtime.frame.batch import FramePrices, Job
from leo_runtime.frame.lower import merge
from leo_runtime.runtime.kernels import Kernels
from leo_runtime.runtime.runtime import Runtime
from test_runtime import LOUD, QUIET, SAMPLES, FakeBackend, loud_graph, one, profile, workload

Function = Callable[[Sequence[np.ndarray]], np.ndarray]


class Functions(FakeBackend):
    """Computes some stages by functions made anew for every kernel, all others as its parent."""

    def __init__(self, **made: Callable[[], Function]) -> None:
        super().__init__()
        self.made = made
        self.loads: list[tuple[str, Any]] = []

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        make = self.made.get(stage.name)
        kernel = super().load(stage, variant) if make is None else make()
        self.loads.append((stage.name, kernel))
        return kernel


def readers_graph(deadline_us: int = 10_000_000) -> TaskGraph:
    """`first` and `second` read the same `sound`."""
    graph = GraphBuilder("readers", period_us=1000, deadline_us=deadline_us)
    sound = graph.stage("sound", "test_source", stream="mic", samples=SAMPLES)
    first = graph.stage("first", "test_fuse", sound)
    graph.stage("second", "test_scores", first)
    graph.stage("third", "test_scores", sound)
    return graph.build()


def cpu_alone(lanes: int = 1) -> Hardware:
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "bench",
            "processors": [
                {"name": "cpu", "backend": "fake", "active_mw": 100, "lanes": lanes},
                {"name": "fast", "backend": "fake", "active_mw": 100, "lanes": lanes},
            ],
        }
    )


def runtime_of(kind: str, backend: FakeBackend, *graphs: TaskGraph, **options: Any) -> Runtime:
    """A runtime whose one usable processor is `cpu`."""
    make = Runtime.simulated if kind == "virtual" else Runtime.live
    hardware = options.pop("hardware", cpu_alone())
    given = {"cpu": backend, "fast": Functions()} | options.pop("backends", {})
    return make(workload(*graphs), hardware, profile(), solver="cpu-only", backends=given, **options)


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_an_operator_that_writes_into_its_input_fails_and_spoils_nothing(kind: str) -> None:
    def scribbler() -> Function:
        def scribble(inputs: Sequence[np.ndarray]) -> np.ndarray:
            if inputs[0].any():  # Not while it is warmed up.
                inputs[0][...] = -1
            return inputs[0]

        return scribble

    with runtime_of(kind, Functions(first=scribbler), readers_graph()) as runtime:
        runtime.submit(0, {"sound": LOUD})
        result = one(runtime.drain())
    errors = {run.stage: run.error for run in result.stages}
    assert errors["first"] == "ValueError: assignment destination is read-only"
    assert errors["sound"] == errors["third"] == ""
    (graph,) = result.graphs
    assert np.array_equal(graph.outputs["third"], [9, -9])
    assert result.reason == errors["first"]


def test_an_operator_that_always_writes_into_its_input_is_found_before_the_first_frame() -> None:
    def scribbler() -> Function:
        def scribble(inputs: Sequence[np.ndarray]) -> np.ndarray:
            inputs[0][...] = -1
            return inputs[0]

        return scribble

    with pytest.raises(BackendError, match=r"stage `first` runs on no processor .*read-only"):
        runtime_of("real", Functions(first=scribbler), readers_graph(), backends={"fast": Functions(first=scribbler)})


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_a_kernel_may_use_its_buffer_again(kind: str) -> None:
    def reusing() -> Function:
        buffer = np.zeros(SAMPLES, np.float32)

        def kernel(inputs: Sequence[np.ndarray]) -> np.ndarray:
            buffer[...] = inputs[0]
            return buffer

        return kernel

    with runtime_of(kind, Functions(sound=reusing, first=reusing), readers_graph()) as runtime:
        for value in (9, 5, 0):
            runtime.submit(0, {"sound": np.full(SAMPLES, value, np.int16)}, graphs=("readers",))
        results = runtime.drain()
    found = [[graph.outputs[name][0] for name in ("second", "third")] for r in results for graph in r.graphs]
    assert found == [[9, 9], [5, 5], [0, 0]]


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_a_kernel_may_give_its_input(kind: str) -> None:
    window = LOUD.astype(np.float32) / 16
    with runtime_of(kind, Functions(sound=lambda: lambda inputs: inputs[0]), readers_graph()) as runtime:
        runtime.submit(0, {"sound": window}, copy=False)
        result = one(runtime.drain())
    window[...] = 0
    assert np.array_equal(result.graphs[0].outputs["third"], [9 / 16, -9 / 16])


def test_what_was_found_cannot_be_changed_under_others() -> None:
    with runtime_of("virtual", Functions(), readers_graph()) as runtime:
        runtime.submit(0, {"sound": LOUD})
        outputs = one(runtime.drain()).graphs[0].outputs
    with pytest.raises(ValueError, match="read-only"):
        outputs["third"][0] = 1


@pytest.mark.parametrize("batch", [False, True])
def test_a_ring_buffer_may_go_on_once_its_window_was_submitted(batch: bool) -> None:
    """The second frame is read when the first has left the processor."""
    ring = np.array(LOUD)
    with runtime_of("virtual", FakeBackend(), loud_graph(deadline_us=100_000)) as runtime:
        runtime.submit(0, {"sound": ring}, graphs=("loud",))
        if batch:
            runtime.submit_batch([(1, {"sound": ring}), (2, {"sound": ring})], graphs=("loud",))
        else:
            runtime.submit(2, {"sound": ring}, graphs=("loud",))
        ring[...] = QUIET
        results = runtime.drain()
    assert {graph.label for result in results for graph in result.graphs} == {"loud"}


@pytest.mark.parametrize("copied", [True, False])
def test_a_window_is_copied_unless_it_is_given_away(copied: bool) -> None:
    given = np.array(LOUD)
    shared: list[bool] = []

    def looks() -> Function:
        def look(inputs: Sequence[np.ndarray]) -> np.ndarray:
            shared.append(np.shares_memory(inputs[0], given))
            assert not inputs[0].flags.writeable
            return inputs[0].astype(np.float32)

        return look

    with runtime_of("virtual", Functions(sound=looks), loud_graph(deadline_us=100_000)) as runtime:
        runtime.submit(0, {"sound": given}, copy=copied)
        assert one(runtime.drain()).graphs[0].label == "loud"
    assert shared == [not copied]
    assert given.flags.writeable


def kernels_of(backends: Mapping[str, FakeBackend], **options: Any) -> Kernels:
    merged = merge(workload(loud_graph()))
    kernels = Kernels(merged, backends, FramePrices(lambda _: {}), **options)
    kernels.begin(0, [{"sound": LOUD}], ("loud",), {name: Job(name, (0,)) for name in ("sound", "gate", "scores")})
    return kernels


def order(stage: str, resource: str = "cpu", attempt: int = 0, lane: int = 0) -> RunStage:
    return RunStage(0, stage, resource, "default", lane, attempt, 1)


def test_a_run_is_known_once_it_is_published_and_not_before() -> None:
    """Of two attempts the one whose end was accepted counts, whichever came back last."""
    kernels = kernels_of({"cpu": FakeBackend(), "fast": Functions(sound=lambda: lambda inputs: -inputs[0])})
    stale = order("sound", "fast")
    late = kernels.run(stale)
    kernels.publish(order("sound", "cpu", 1), kernels.run(order("sound", "cpu", 1)).outputs)
    assert np.array_equal(late.outputs[0], -LOUD)
    assert kernels.run(order("scores")).outputs[0][0] == 9
    kernels.hand_over(0, "sound", "fast")
    assert kernels.run(order("scores", "fast")).outputs[0][0] == 9
    assert np.array_equal(kernels.outputs(0)[0]["sound"], LOUD)


def test_a_frame_that_has_ended_takes_nothing_more() -> None:
    kernels = kernels_of({"cpu": FakeBackend()})
    ran = kernels.run(order("sound"))
    kernels.end(0)
    kernels.publish(order("sound"), ran.outputs)
    kernels.hand_over(0, "sound", "fast")
    assert kernels.run(order("gate")).outputs == {}


@pytest.mark.parametrize("failure", [MemoryError("no room"), SystemExit(1)])
def test_what_cannot_be_handed_over_fails_who_reads_it(failure: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_copy(_array: np.ndarray) -> np.ndarray:
        raise failure

    kernels = kernels_of({"cpu": FakeBackend(), "fast": FakeBackend()})
    kernels.publish(order("sound"), kernels.run(order("sound")).outputs)
    with monkeypatch.context() as patch:
        patch.setattr("leo_runtime.runtime.kernels.frozen_copy", no_copy)
        kernels.hand_over(0, "sound", "fast")
    what = type(failure).__name__
    with pytest.raises(BackendError, match=f"input `sound` could not be handed over to `fast` \\({what}: "):
        kernels.run(order("scores", "fast"))
    assert kernels.run(order("scores", "cpu")).outputs[0][0] == 9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_an_output_that_is_not_finite_fails_its_stage_unless_it_may_pass(kind: str, bad: float) -> None:
    given = {"scores": lambda: lambda _: np.array([0, bad], np.float32)}
    graph = loud_graph(deadline_us=10_000_000)
    for allowed in (False, True):
        with runtime_of(kind, Functions(**given), graph, allow_nonfinite=allowed) as runtime:
            runtime.submit(0, {"sound": LOUD})
            result = one(runtime.drain())
        assert (result.graphs[0].outcome == "done") == allowed
        if not allowed:
            assert result.reason == (
                f"KernelError: stage `scores` gave {bad} on `cpu`, at [1] of its output; "
                "`allow_nonfinite=True` lets it pass"
            )


def test_a_masked_output_is_not_taken_for_what_is_below_its_mask() -> None:
    masked = np.ma.masked_array(np.array([1, 2], np.float32), mask=[False, True])
    with runtime_of("virtual", Functions(scores=lambda: lambda _: masked), loud_graph()) as runtime:
        runtime.submit(0, {"sound": LOUD})
        assert "stage `scores` gave an array with masked numbers on `cpu`" in one(runtime.drain()).reason


@pytest.mark.parametrize(("output", "gave"), [([1.0, 2.0], "a list"), (None, "nothing (None)"), (1.5, "a float")])
def test_an_output_that_is_no_array_is_said_to_be_none(output: Any, gave: str) -> None:
    with runtime_of("virtual", Functions(scores=lambda: lambda _: output), loud_graph()) as runtime:
        runtime.submit(0, {"sound": LOUD})
        assert one(runtime.drain()).reason == f"KernelError: stage `scores` gave {gave} on `cpu`, expected (2,)"


def test_every_lane_has_a_kernel_of_its_own() -> None:
    """Two frames on two lanes are in their kernels at the same time; with one for both, nobody would come."""
    both = threading.Barrier(2)

    def meeting() -> Function:
        mine = threading.Lock()

        def meet(inputs: Sequence[np.ndarray]) -> np.ndarray:
            assert mine.acquire(blocking=False), "a kernel is called in two threads at once"
            try:
                if inputs[0].any():
                    both.wait(60)
                return np.array([1, -1], np.float32)
            finally:
                mine.release()

        return meet

    backend = Functions(scores=meeting)
    graph = loud_graph(deadline_us=100_000_000)
    with runtime_of("real", backend, graph, hardware=cpu_alone(2)) as runtime:
        kernels = [kernel for name, kernel in backend.loads if name == "scores"]
        assert len(kernels) == 2, "every lane is warmed up"
        for _ in range(2):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        results = runtime.drain()
    assert [result.graphs[0].outcome for result in results] == ["done", "done"]
    assert {run.lane for result in results for run in result.stages if run.stage == "scores"} == {0, 1}
    assert len(backend.loads) == 6


def test_in_virtual_time_one_kernel_does_for_all_lanes() -> None:
    backend = Functions()
    with runtime_of("virtual", backend, loud_graph(deadline_us=100_000), hardware=cpu_alone(2)) as runtime:
        for _ in range(2):
            runtime.submit(0, {"sound": LOUD}, graphs=("loud",))
        results = runtime.drain()
    assert {run.lane for result in results for run in result.stages} == {0, 1}
    assert [name for name, _ in backend.loads] == ["sound", "gate", "scores"]


@pytest.mark.parametrize("kind", ["virtual", "real"])
@pytest.mark.parametrize("allow_nonfinite", [False, True])
@pytest.mark.parametrize("dtype", ["complex64", "object", "U5", "M8[s]", "S3"])
def test_an_output_of_no_real_numbers_fails_its_stage(kind: str, allow_nonfinite: bool, dtype: str) -> None:
    """It came as far as the graph's label, whose TypeError lost the results of every frame that had ended."""
    backend = Functions(scores=lambda: lambda _: np.array([1, -1]).astype(dtype))
    with runtime_of(kind, backend, loud_graph(deadline_us=10_000_000), allow_nonfinite=allow_nonfinite) as runtime:
        runtime.submit(0, {"sound": LOUD})
        why = one(runtime.drain()).reason
    assert why.startswith("KernelError: stage `scores` gave an array of "), why
    assert why.endswith("on `cpu`, expected real numbers; a kernel gives float32"), why


class Odd:
    """Has a shape, and is no array."""

    shape = (2,)


def test_an_output_that_only_looks_like_an_array_fails_its_stage() -> None:
    backend = Functions(scores=lambda: lambda _: Odd())  # type: ignore[arg-type,return-value]  # what it is about
    with runtime_of("virtual", backend, loud_graph(), allow_nonfinite=True) as runtime:
        runtime.submit(0, {"sound": LOUD})
        assert "gave an array of object" in one(runtime.drain()).reason


class Measuring:
    """A kernel that tells what it was given as its device's time and energy, but not as it is warmed up."""

    def __init__(self, device_us: Any, device_nj: Any) -> None:
        self.measured = (device_us, device_nj)

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        return self.timed(inputs).output

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        measured = self.measured if inputs[0].any() else (5, 7)
        return DeviceRun(np.array([1, -1], np.float32), *measured)


@pytest.mark.parametrize("kind", ["virtual", "real"])
@pytest.mark.parametrize(
    ("device_us", "device_nj", "says"),
    [
        (1.5, None, "`device_us` is a whole number, got 1.5 (float)"),
        (float("nan"), None, "`device_us` is a whole number, got nan (float)"),
        ("5", None, "`device_us` is a whole number, got '5' (str)"),
        (-5, None, "`device_us` is at least 0, got -5"),
        (10**22, None, "`device_us` is at most 1000000000000000, got 10000000000000000000000"),
        (5, 2.5, "`device_nj` is a whole number, got 2.5 (float)"),
        (5, -7, "`device_nj` is at least 0, got -7"),
    ],
)
def test_a_measurement_that_cannot_be_fails_its_stage(kind: str, device_us: Any, device_nj: Any, says: str) -> None:
    """It made times, or energies, of no whole number, and one of centuries ended its lane's thread."""
    backend = Functions(scores=lambda: Measuring(device_us, device_nj))
    backend.simulated = True
    given = {"device_times": ("cpu",)} if kind == "virtual" else {}
    with runtime_of(kind, backend, loud_graph(deadline_us=10_000_000), **given) as runtime:
        runtime.submit(0, {"sound": LOUD})
        why = one(runtime.drain()).reason
    assert why.startswith(f"KernelError: its kernel told a wrong measurement ({says})"), why


@pytest.mark.parametrize("kind", ["virtual", "real"])
def test_numpys_integers_are_measurements_and_results_hold_plain_ones(kind: str) -> None:
    backend = Functions(scores=lambda: Measuring(np.int64(5), np.uint8(7)))
    given = {"device_times": ("cpu",)} if kind == "virtual" else {}
    with runtime_of(kind, backend, loud_graph(deadline_us=10_000_000), **given) as runtime:
        runtime.submit(0, {"sound": LOUD})
        result = one(runtime.drain())
    (run,) = [run for run in result.stages if run.stage == "scores"]
    assert run.device_us == 5
    assert {type(number) for number in (run.device_us, run.nj, run.start_us, run.end_us)} == {int}
