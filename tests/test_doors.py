"""Every public door with what cannot be: refused by name, as an error of ours, and with nothing changed by it.

What documents and builders refuse is in `test_documents.py` and `test_graph.py`, what solvers do in `test_planner.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from leo_backends.cpu import CpuBackend
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.ledger import ledger, run_ledger
from leo_runtime.runtime.arguments import all_finite, require_samples
from leo_runtime.runtime.options import RuntimeOptions
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.shipped import PHONE
from leo_runtime.shipped import hardware as shipped_hardware
from leo_runtime.solver import solve
from leo_runtime.solver.explain import explain
from test_runtime import (
    LOUD,
    SAMPLES,
    FakeBackend,
    bench,
    fake_backends,
    loud_graph,
    one,
    other_graph,
    profile,
    simulated,
    workload,
)

PROBLEM = Problem.from_dict(
    {
        "format": "leo-problem/1",
        "name": "p",
        "resources": [{"name": "cpu"}],
        "stages": [{"name": "s", "modes": [{"resource": "cpu", "duration_us": 1, "energy_nj": 1}]}],
    }
)


def refused(door: Callable[..., object], *given: Any, says: str, **options: Any) -> None:
    with pytest.raises(InputError, match=re.escape(says)) as error:
        door(*given, **options)
    assert not str(error.value).startswith("'"), "a KeyError's text"


# What a runtime is made of.

PARTS = {"workload": "Workload", "hardware": "Hardware", "profile": "Profile"}


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("value", ["file.toml", None, 5])
def test_a_runtime_is_made_of_documents(make: Callable[..., Runtime], name: str, value: object) -> None:
    parts = {"workload": workload(loud_graph()), "hardware": bench(), "profile": profile(), name: value}
    refused(make, *parts.values(), says=f"`{name}` is a {PARTS[name]}, got {type(value).__name__}")


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backends": 5}, "`backends` are given by processor, got int"),
        ({"backends": {"npu": FakeBackend()}}, "`backends` names `npu`, and hardware `bench` has no such processor"),
        ({"backends": {"cpu": 5}}, "the backend for `cpu` has no `supports`: it is of type int"),
        ({"max_in_flight": 0}, "`max_in_flight` is at least 1, got 0"),
        ({"max_in_flight": 1.0}, "`max_in_flight` is a whole number, got 1.0"),
        ({"max_in_flight": True}, "`max_in_flight` is a whole number, got True"),
        ({"adapt": 3}, "`adapt` is True or False, got 3"),
        ({"seed": -1}, "`seed` is at least 0, got -1"),
        ({"seed": 2**70}, "`seed` is at most"),
        ({"limit_ms": -1}, "`limit_ms` is at least 0, got -1"),
    ],
)
def test_an_option_that_cannot_be_is_refused(make: Callable[..., Runtime], options: dict[str, Any], says: str) -> None:
    given = {"backends": fake_backends(), **options}
    refused(make, workload(loud_graph()), bench(), profile(), says=says, **given)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"noise": -1}, "`noise` is at least 0, got -1"),
        ({"noise": 10**7}, "`noise` is at most 1000000, got 10000000"),
        ({"noise": 0.2}, "`noise` is a whole number, got 0.2"),
        ({"noise": True}, "`noise` is a whole number, got True"),
        ({"noise": "much"}, "`noise` is a whole number, got 'much'"),
        ({"device_times": ("npu",)}, "`device_times` names `npu`, and hardware `bench` has no such processor"),
        ({"device_times": "cpu"}, "`device_times` are several names, got the text `cpu`"),
        ({"device_times": 5}, "`device_times` are several names, got int"),
        ({"device_times": [5]}, "`device_times` are names, got 5 among them"),
        ({"compute": "yes"}, "`compute` is True or False, got 'yes'"),
    ],
)
def test_an_option_of_virtual_time_that_cannot_be_is_refused(options: dict[str, Any], says: str) -> None:
    refused(simulated, says=says, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"modelled_delays": 1}, "`modelled_delays` is True or False, got 1"),
        ({"clock": 5}, "`clock` has no `now_us`: it is of type int"),
    ],
)
def test_an_option_of_real_time_that_cannot_be_is_refused(options: dict[str, Any], says: str) -> None:
    refused(Runtime.live, workload(loud_graph()), bench(), profile(), backends=fake_backends(), says=says, **options)


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
@pytest.mark.parametrize("options", [5, {}, 0, "exact", RuntimeOptions])
def test_options_are_runtime_options(make: Callable[..., Runtime], options: Any) -> None:
    says = f"`options` are RuntimeOptions, got {type(options).__name__}"
    refused(make, workload(loud_graph()), bench(), profile(), options, says=says)


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
@pytest.mark.parametrize(
    ("timeout_s", "says"),
    [
        ("x", "`timeout_s` is a number of seconds, got 'x' (str)"),
        ([1], "`timeout_s` is a number of seconds, got [1] (list)"),
        (True, "`timeout_s` is a number of seconds, got True (bool)"),
        (float("nan"), "`timeout_s` is a number of seconds, got nan (float)"),
        (-1, "`timeout_s` is at least 0, got -1"),
    ],
)
def test_a_time_to_wait_is_seconds(make: Callable[..., Runtime], timeout_s: Any, says: str) -> None:
    with make(workload(loud_graph()), bench(), profile(), backends=fake_backends()) as runtime:
        refused(runtime.drain, timeout_s, says=says)
        refused(runtime.close, timeout_s, says=says)
        runtime.submit(0, {"sound": LOUD})
        refused(runtime.drain, timeout_s, says=says)
        assert len(runtime.drain()) == 1, "it is not closed"


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
@pytest.mark.parametrize("timeout_s", [float("inf"), 1e30, 10**30, np.float32(600), np.int64(600), 600])
def test_a_time_to_wait_is_any_number_of_seconds(make: Callable[..., Runtime], timeout_s: Any) -> None:
    runtime = make(workload(loud_graph()), bench(), profile(), backends=fake_backends())
    runtime.submit(0, {"sound": LOUD})
    assert len(runtime.drain(timeout_s)) == 1
    runtime.close(timeout_s)


# A frame.


@pytest.mark.parametrize("copy", ["no", 0, None])
def test_windows_are_copied_or_not(runtime: Runtime, copy: Any) -> None:
    refused(runtime.submit, 0, {"sound": LOUD}, copy=copy, says=f"`copy` is True or False, got {copy!r}")
    refused(runtime.submit_batch, [(0, {"sound": LOUD})], copy=copy, says=f"`copy` is True or False, got {copy!r}")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with simulated(loud_graph(), other_graph()) as made:
        yield made


@pytest.mark.parametrize(
    ("release_us", "says"),
    [
        (1000.0, "`release_us` is a whole number, got 1000.0 (float)"),
        (np.float64(1000), "`release_us` is a whole number, got"),
        (True, "`release_us` is a whole number, got True (bool)"),
        (np.True_, "`release_us` is a whole number"),
        ("1000", "`release_us` is a whole number, got '1000' (str)"),
        (None, "`release_us` is a whole number, got None"),
        (np.array([1, 2]), "`release_us` is a whole number"),
        (-1000, "`release_us` is at least 0, got -1000"),
    ],
)
def test_a_release_is_a_whole_number(runtime: Runtime, release_us: Any, says: str) -> None:
    refused(runtime.submit, release_us, {"sound": LOUD}, says=says)
    refused(runtime.submit_batch, [(release_us, {"sound": LOUD})], says=says)
    refused(runtime.triggered, release_us, says=says)
    assert runtime.drain() == ()


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint16])
def test_numpys_integers_are_numbers_and_results_hold_plain_ones(integer: Callable[[int], Any]) -> None:
    with simulated(max_in_flight=integer(3), seed=integer(1), noise=integer(10)) as runtime:
        runtime.submit(integer(1000), {"sound": LOUD}, links={("cpu", "fast"): (integer(2), integer(9))})
        runtime.submit_batch([(integer(2000), {"sound": LOUD}), (integer(3000), {"sound": LOUD})])
        results = runtime.drain()
    for result in results:
        numbers = [result.release_us, *(graph.deadline_us for graph in result.graphs)]
        numbers += [graph.end_us for graph in result.graphs] + [stage.start_us for stage in result.stages]
        assert {type(number) for number in numbers} == {int}


@pytest.mark.parametrize("off_us", [1, 999])
def test_a_frame_that_no_graph_is_due_for_is_refused_with_what_is_due_next(runtime: Runtime, off_us: int) -> None:
    """It computed nothing, and said that it was infeasible."""
    with pytest.raises(InputError) as error:
        runtime.submit(4000 + off_us, {"sound": LOUD})
    assert (
        str(error.value)
        == f"no graph is due at {4000 + off_us} us; due next are, in us, `loud` at 5000, `other` at 6000"
    )
    assert 'graphs=["loud"]' in error.value.hint
    refused(
        runtime.submit_batch,
        [(4000 + off_us, {"sound": LOUD}), (5000 + off_us, {"sound": LOUD})],
        says=f"no graph is due at {4000 + off_us} us",
    )


def test_which_graphs_are_due_may_be_given_off_the_grid(runtime: Runtime) -> None:
    runtime.submit(4001, {"sound": LOUD}, graphs=["loud"])
    result = one(runtime.drain())
    assert [(graph.graph, graph.outcome, graph.release_us) for graph in result.graphs] == [("loud", "done", 4001)]


def test_what_is_due_next_counts_from_the_offset() -> None:
    graph = loud_graph().model_copy(update={"offset_us": 700})
    with simulated(graph) as runtime:
        refused(runtime.submit, 0, {"sound": LOUD}, says="`loud` at 700")
        refused(runtime.submit, 701, {"sound": LOUD}, says="`loud` at 1700")


@pytest.mark.parametrize(
    ("graphs", "says"),
    [
        ([], "`graphs` names none"),
        (["loud", "loud"], "`graphs` names `loud` twice"),
        (["nobody"], "no graph of workload `test` is called `nobody`"),
        ("loud", "`graphs` are several names, got the text `loud`"),
        (5, "`graphs` are several names, got int"),
        ([5], "`graphs` are names, got 5 among them"),
        ([["loud"]], "`graphs` are names, got ['loud'] among them"),
    ],
)
def test_graphs_that_cannot_be_are_refused(runtime: Runtime, graphs: Any, says: str) -> None:
    refused(runtime.submit, 1000, {"sound": LOUD}, graphs=graphs, says=says)
    refused(runtime.submit_batch, [(1000, {"sound": LOUD})], graphs=graphs, says=says)


@pytest.mark.parametrize("graphs", ["loud", "", ["nobody"], 5, 0, None, [5]])
def test_sources_are_of_graphs_that_are_there(runtime: Runtime, graphs: Any) -> None:
    with pytest.raises(InputError):
        runtime.sources(graphs)
    assert runtime.sources(()) == ()


def test_names_may_be_an_array_of_them(runtime: Runtime) -> None:
    graphs: Any = np.array(["loud", "other"])
    assert [source.stage for source in runtime.sources(graphs)] == ["sound"]
    runtime.submit(2000, {"sound": LOUD}, graphs=graphs)
    assert [graph.graph for graph in one(runtime.drain()).graphs] == ["loud", "other"]


@pytest.mark.parametrize(
    ("links", "says"),
    [
        (5, "`links` are given by (source, target), got int"),
        ({("cpu", "npu"): None}, "hardware `bench` has no link cpu -> npu"),
        ({("cpu", "cpu"): None}, "hardware `bench` has no link cpu -> cpu"),
        ({"cpu": None}, "hardware `bench` has no link 'cpu'"),
        ({("cpu", "fast"): 5}, "the link cpu -> fast is (latency_us, bytes_per_s) or None, got 5"),
        ({("cpu", "fast"): (1,)}, "the link cpu -> fast is (latency_us, bytes_per_s) or None, got (1,)"),
        ({("cpu", "fast"): (1, 0)}, "the link cpu -> fast carries 0 bytes_per_s"),
        ({("cpu", "fast"): (-1, None)}, "`latency_us of cpu -> fast` is at least 0, got -1"),
        ({("cpu", "fast"): (None, 1)}, "`latency_us of cpu -> fast` is a whole number, got None"),
        ({("cpu", "fast"): (1.5, None)}, "`latency_us of cpu -> fast` is a whole number, got 1.5"),
        ({("cpu", "fast"): (1, 1.5)}, "`bytes_per_s of cpu -> fast` is a whole number, got 1.5"),
        ({("cpu", "fast"): (1, -1)}, "`bytes_per_s of cpu -> fast` is at least 0, got -1"),
        ({("cpu", "fast"): (10**16, None)}, "`latency_us of cpu -> fast` is at most 1000000000000000, got"),
        ({("cpu", "fast"): (1, 10**16)}, "`bytes_per_s of cpu -> fast` is at most 1000000000000000, got"),
    ],
)
def test_links_that_cannot_be_are_refused_and_change_nothing(runtime: Runtime, links: Any, says: str) -> None:
    refused(runtime.submit, 1000, {"sound": LOUD}, links=links, says=says)
    refused(runtime.submit_batch, [(1000, {"sound": LOUD})], links=links, says=says)
    runtime.submit(1000, {"sound": LOUD})
    assert one(runtime.drain()).graphs[0].outcome == "done"


def test_a_link_that_carries_nothing_is_told_how_to_be_down(runtime: Runtime) -> None:
    with pytest.raises(InputError) as error:
        runtime.submit(1000, {"sound": LOUD}, links={("cpu", "fast"): (5, 0)})
    assert "None where it is down" in error.value.hint


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (5, "the frames of a batch are a list of releases with their windows, got int"),
        ("ab", "the frames of a batch are a list of releases with their windows, got str"),
        ([5], "a frame of a batch is a release with its windows, got int"),
        ([(1000,)], "a frame of a batch is a release with its windows, got tuple"),
        ([(1000, None)], "windows are given by source stage, got NoneType"),
    ],
)
def test_batches_that_cannot_be_are_refused(runtime: Runtime, frames: Any, says: str) -> None:
    refused(runtime.submit_batch, frames, says=says)


@pytest.mark.parametrize(
    ("together", "says"),
    [
        ("scores", "`together` are several names, got the text `scores`"),
        (5, "`together` are several names, got int"),
        ([5], "`together` are names, got 5 among them"),
        ([["scores"]], "`together` are names, got ['scores'] among them"),
        (["nobody"], "no stage is called `nobody`"),
        (["sound"], "stage `sound` cannot run its frames together"),
    ],
)
def test_what_cannot_run_together_is_refused(runtime: Runtime, together: Any, says: str) -> None:
    frames = [(1000, {"sound": LOUD}), (3000, {"sound": LOUD})]
    refused(runtime.submit_batch, frames, together=together, says=says)


@pytest.mark.parametrize("name", ["npu", 5, None, ["cpu"]])
def test_only_a_processor_that_is_there_is_lost_and_restored(runtime: Runtime, name: Any) -> None:
    says = f"no processor is called `{name}`: hardware `bench` has no such processor"
    refused(runtime.lose, name, says=says)
    refused(runtime.restore, name, says=says)
    assert runtime.lost == ()


# Samples.


def motion() -> Workload:
    graph = GraphBuilder("steps", period_us=1000, deadline_us=800)
    graph.stage("wrist", "test_source", stream="wrist", samples=SAMPLES)
    text = workload(loud_graph()).model_dump(mode="json")
    stream = {"name": "wrist", "kind": "motion", "rate_hz": 50, "channels": 3}
    return Workload.from_dict({**text, "streams": [stream], "graphs": [graph.build().model_dump(mode="json")]})


def moved(samples: np.ndarray) -> None:
    with Runtime.simulated(motion(), bench(), profile(), solver="heft", backends=fake_backends()) as runtime:
        runtime.submit(0, {"wrist": samples})
        assert one(runtime.drain()).graphs[0].outcome == "done"


def heard(samples: Any) -> None:
    with simulated() as runtime:
        runtime.submit(0, {"sound": samples})
        assert one(runtime.drain()).graphs[0].outcome != "failed"


ONES = np.ones(SAMPLES)


@pytest.mark.parametrize(
    "samples", [LOUD, ONES.astype(np.float32), -ONES, np.zeros(SAMPLES), np.full(SAMPLES, -32768, np.int16)]
)
def test_audio_is_16_bit_integers_or_floats_up_to_one(samples: np.ndarray) -> None:
    heard(samples)


@pytest.mark.parametrize(
    ("samples", "says", "way_out"),
    [
        (LOUD.astype(np.int32), "as float32 or float64 from -1 to 1, got int32", "samples / 2.0**31"),
        (LOUD.astype(np.uint8), "got uint8", "(samples - 128.0) / 128.0"),
        (LOUD.astype(np.int8), "got int8", "samples / 128.0"),
        (LOUD.astype(">i2"), "got >i2", "newbyteorder"),
        (ONES.astype(np.float16), "got float16", "astype(numpy.float32)"),
        (ONES.astype(np.complex64), "got complex64", "floats from -1 to 1"),
        (ONES.astype(object), "got object", "floats from -1 to 1"),
        (ONES.astype(str), "got <U", "floats from -1 to 1"),
        (ONES.astype(bool), "got bool", "floats from -1 to 1"),
        (ONES * 9, "takes floats from -1 to 1 as audio, got 9 to 9", "divide them"),
        (ONES * -1.0001, "takes floats from -1 to 1 as audio, got -1.0001 to -1.0001", "divide them"),
        (np.where(np.arange(SAMPLES) == 5, np.nan, 0.0), "takes numbers, and sample 5 is nan", "such as 0"),
        (np.where(np.arange(SAMPLES) == 7, -np.inf, 0.0), "takes numbers, and sample 7 is -inf", "such as 0"),
        (np.ma.masked_array(ONES, mask=np.arange(SAMPLES) == 2), "takes numbers, and sample 2 is masked", "filled(0)"),
    ],
)
def test_audio_of_another_scale_is_refused_with_how_to_convert_it(samples: np.ndarray, says: str, way_out: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)) as error:
        heard(samples)
    assert str(error.value).startswith("source `sound` ")
    assert way_out in error.value.hint


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int16, np.int32, np.uint8, np.int64])
def test_motion_is_any_real_number(dtype: type) -> None:
    moved(np.full((SAMPLES, 3), 100).astype(dtype))


def with_one(sample: int, channel: int, value: float) -> np.ndarray:
    """Samples in which each is its own place, but one."""
    found = np.arange(SAMPLES * 3, dtype=np.float64).reshape(SAMPLES, 3)
    found[sample, channel] = value
    return found


@pytest.mark.parametrize("make", [Runtime.simulated, Runtime.live])
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("dtype", [np.int16, ">i2", np.uint16, np.int32, np.float32, np.float64])
def test_motion_is_taken_at_its_value(make: Callable[..., Runtime], copy: bool, dtype: Any) -> None:
    """As int16 it was divided by 32768, as if it were audio."""
    graph = GraphBuilder("steps", period_us=1000, deadline_us=10_000_000)
    graph.stage("wrist", "window", stream="wrist", samples=SAMPLES)
    text = motion().model_dump(mode="json")
    moving = Workload.from_dict({**text, "graphs": [graph.build().model_dump(mode="json")]})
    given = {"cpu": CpuBackend(Processor(name="cpu", backend="cpu"))}
    samples = np.full((SAMPLES, 3), 100, dtype)
    with make(moving, bench(), profile(), solver="heft", backends=given) as runtime:
        runtime.submit(0, {"wrist": samples}, copy=copy)
        runtime.submit_batch([(1000, {"wrist": samples}), (2000, {"wrist": samples})], copy=copy)
        for result in runtime.drain():
            for answer in result.graphs:
                assert (answer.outputs["wrist"] == 100).all()
    given["cpu"].close()


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.ones((SAMPLES, 3), complex), "source `wrist` takes real numbers, got complex128"),
        (np.ones((SAMPLES, 3), object), "source `wrist` takes real numbers, got object"),
        (np.ones((SAMPLES, 3), bool), "source `wrist` takes real numbers, got bool"),
        (np.ones((SAMPLES, 3)).astype(str), "source `wrist` takes real numbers, got <U"),
        (np.full((SAMPLES, 3), np.nan), "source `wrist` takes numbers, and sample 0 of channel 0 is nan"),
        (with_one(3, 1, np.nan), "source `wrist` takes numbers, and sample 3 of channel 1 is nan"),
        (with_one(15, 2, -np.inf), "source `wrist` takes numbers, and sample 15 of channel 2 is -inf"),
        (with_one(4, 0, 1e300), "sample 4 of channel 0 is 1e+300, more than float32 has room for"),
        (with_one(4, 0, -4e38), "sample 4 of channel 0 is -4e+38, more than float32 has room for"),
        (np.ma.masked_equal(np.arange(SAMPLES * 3.0).reshape(-1, 3), 13), "sample 4 of channel 1 is masked"),
        (np.ones(SAMPLES), "as an array of shape (16, 3), got shape (16,)"),
    ],
)
def test_motion_of_another_kind_is_refused(samples: np.ndarray, says: str) -> None:
    refused(moved, samples, says=says)


def test_motion_that_float32_has_just_room_for_is_taken() -> None:
    greatest = float(np.finfo(np.float32).max)
    half = 2.0**128 - 2.0**103  # Halfway to the next: it is rounded to infinity, and what is below it is not.
    for dtype in (np.float32, np.float64, np.longdouble):
        require_samples("source `wrist`", "other", np.array([[-greatest, greatest]], dtype))
    require_samples("source `wrist`", "other", np.array([[np.nextafter(half, 0.0)]]))
    require_samples("source `wrist`", "other", np.zeros((0, 3)))
    for number in (half, -half):
        refused(
            require_samples, "source `wrist`", "other", np.array([[0.0], [number]]), says="more than float32 has room"
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (7, 3), (70_000,)])
def test_one_number_that_is_none_is_seen_wherever_it_is(shape: tuple[int, ...], dtype: type) -> None:
    values = np.ones(shape, dtype)
    assert all_finite(values) and all_finite(values.T) and all_finite(values[::2]) and all_finite(values[:0])
    for place in (0, values.size // 2, values.size - 1):
        for wrong in (np.nan, np.inf, -np.inf):
            spoilt = values.copy()
            spoilt.flat[place] = wrong
            assert not all_finite(spoilt) and not all_finite(spoilt.T)


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        (None, "windows are given by source stage, got NoneType"),
        ([LOUD], "windows are given by source stage, got list"),
        (LOUD, "windows are given by source stage, got ndarray"),
        ({"sound": None}, "got nothing"),
        ({"sound": 5}, "got a int"),
        ({"sound": LOUD.tolist()}, "got a list"),
    ],
)
def test_windows_that_cannot_be_are_refused(runtime: Runtime, windows: Any, says: str) -> None:
    refused(runtime.submit, 0, windows, says=says)


# Answers, and what they cost.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit_ms": -1}, "`limit_ms` is at least 0, got -1"),
        ({"limit_nodes": 2.0}, "`limit_nodes` is a whole number, got 2.0"),
        ({"limit_nodes": 10**16}, "`limit_nodes` is at most"),
        ({"seed": "x"}, "`seed` is a whole number, got 'x'"),
        ({"seed": 2**70}, "`seed` is at most"),
    ],
)
@pytest.mark.parametrize("solver", ["exact", "greedy", "lns", "memetic"])
def test_a_solver_is_given_numbers(solver: str, options: dict[str, Any], says: str) -> None:
    refused(solve, PROBLEM, solver, says=says, **options)


@pytest.mark.parametrize("problem", ["frame.json", None, {"format": "leo-problem/1"}])
def test_a_question_is_a_problem(problem: Any) -> None:
    says = f"the question is a Problem, got {type(problem).__name__}"
    refused(solve, problem, says=says)
    refused(explain, problem, solve(PROBLEM), says=says)
    refused(ledger, problem, solve(PROBLEM), says=says)


@pytest.mark.parametrize("answer", [None, {}, Placement.model_construct()])
def test_what_breaks_a_rule_has_no_explanation_and_no_ledger(answer: Any) -> None:
    refused(explain, PROBLEM, answer, says="`p`: the placement breaks a rule (the answer is no ")
    refused(ledger, PROBLEM, answer, says="`p`: the placement breaks a rule (the answer is no ")


def test_an_explanation_is_searched_for_so_many_nodes() -> None:
    refused(explain, PROBLEM, solve(PROBLEM), limit_nodes=1.5, says="`limit_nodes` is a whole number, got 1.5")
    refused(explain, PROBLEM, solve(PROBLEM), 5, says='`p` has no stage "5"')


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"results": 5}, "`results` are several frames, got int"),
        ({"results": [5]}, "`results` are frames that ended, got int among them"),
        ({"hardware": None}, "`hardware` is a Hardware, got NoneType"),
        ({"hardware": shipped_hardware(PHONE)}, "frame 0 ran on `fast`, which hardware `snapdragon-800` has not"),
        ({"solver": "npu"}, "`solver` names `npu`, which is no processor of hardware `bench`"),
        ({"begin_us": 1.5}, "`begin_us` is a whole number, got 1.5"),
        ({"end_us": "x"}, "`end_us` is a whole number, got 'x'"),
    ],
)
def test_a_ledger_is_of_frames_of_that_machine(runtime: Runtime, change: dict[str, Any], says: str) -> None:
    runtime.submit(0, {"sound": LOUD})
    given: dict[str, Any] = {"results": runtime.drain(), "hardware": bench(), **change}
    refused(run_ledger, says=says, **given)
