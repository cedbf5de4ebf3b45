"""What is said of a machine while it runs: slow processors, links, graphs that pause."""

from collections.abc import Mapping

import pytest

from cost_workloads import profile_of, workload_of
from leo_runtime import Runtime
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import InputError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.drift import ONE, SETTLED, Drift
from leo_runtime.runtime.overload import Overload

TWO = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "m",
        "processors": [{"name": "cpu", "backend": "none"}, {"name": "gpu", "backend": "none"}],
        "links": [{"source": "cpu", "target": "gpu", "latency_us": 10}, {"source": "gpu", "target": "cpu"}],
    }
)


def graph(name: str, weight: int = 1) -> TaskGraph:
    builder = GraphBuilder(name, period_us=100_000, deadline_us=50_000, weight=weight)
    builder.stage(f"{name}.work", "cost", output_bytes=4)
    return builder.build()


COSTS: Mapping[tuple[str, str], tuple[int, int]] = {
    ("a.work", "cpu"): (30_000, 1_000),
    ("a.work", "gpu"): (40_000, 5_000),
    ("b.work", "cpu"): (1_000, 1_000),
    ("b.work", "gpu"): (1_000, 1_000),
}


def runtime_of(*graphs: TaskGraph, **options: bool) -> Runtime:
    return Runtime.simulated(workload_of(*graphs), TWO, profile_of(COSTS), compute=False, window_stages=0, **options)  # type: ignore[arg-type]  # options by name


def next_one(runtime: Runtime, release_us: int) -> FrameResult:
    runtime.submit(release_us, {})
    return runtime.drain()[0]


def where(result: FrameResult) -> list[str]:
    return [stage.resource for stage in result.stages]


@pytest.mark.parametrize("adapt", [False, True])
def test_plans_go_round_a_processor_that_is_said_to_be_slow(adapt: bool) -> None:
    with runtime_of(graph("a"), adapt=adapt) as runtime:
        assert where(next_one(runtime, 0)) == ["cpu"]
        runtime.adjust(slowed_ppm={"cpu": 2 * ONE})  # 60 ms: past the deadline.
        slow = next_one(runtime, 100_000)
        assert where(slow) == ["gpu"]
        runtime.adjust(slowed_ppm={"cpu": 1_500_000})  # 45 ms
        assert where(next_one(runtime, 200_000)) == ["cpu"]
        runtime.adjust(slowed_ppm={})
        fast = next_one(runtime, 300_000)
        assert where(fast) == ["cpu"] and fast.stages[0].expected_us == 30_000


def test_what_is_said_outlasts_another_workload() -> None:
    with runtime_of(graph("a")) as runtime:
        runtime.adjust(slowed_ppm={"cpu": 2 * ONE})
        runtime.change(workload_of(graph("a"), graph("b")))
        assert where(next_one(runtime, 0))[0] == "gpu"


def test_a_graph_that_pauses_is_shed_and_counted_until_it_is_not() -> None:
    with runtime_of(graph("a"), graph("b")) as runtime:
        runtime.adjust(paused=["b"])
        result = next_one(runtime, 0)
        assert result.shed == ("b",) and not result.skipped
        assert {one.graph: one.outcome for one in result.graphs} == {"a": "done", "b": "failed"}
        runtime.adjust(slowed_ppm={})  # Says nothing of graphs.
        assert next_one(runtime, 100_000).shed == ("b",)
        runtime.adjust(paused=["a", "b"])
        nothing = next_one(runtime, 200_000)
        assert nothing.shed == ("a", "b") and nothing.skipped
        runtime.adjust(paused=[])
        assert next_one(runtime, 300_000).shed == ()
        assert runtime.shed == {"a": 1, "b": 3}


def test_links_are_said_for_frames_that_are_fed_or_submitted_without_any() -> None:
    builder = GraphBuilder("a", period_us=100_000, deadline_us=50_000)
    builder.stage("read", "cost", output_bytes=4)
    builder.stage("work", "cost", "read", output_bytes=4)
    one = builder.build()
    costs = {("read", "cpu"): (100, 1), ("work", "cpu"): (30_000, 9_000), ("work", "gpu"): (30_000, 1_000)}
    with Runtime.simulated(workload_of(one), TWO, profile_of(costs), compute=False, window_stages=0) as runtime:
        assert where(next_one(runtime, 0)) == ["cpu", "gpu"]
        runtime.adjust(links={("cpu", "gpu"): None})
        assert where(next_one(runtime, 100_000)) == ["cpu", "cpu"]
        assert where(next_one(runtime, 200_000)) == ["cpu", "cpu"]
        runtime.adjust(links={})
        assert where(next_one(runtime, 300_000)) == ["cpu", "gpu"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"slowed_ppm": {"cpu": 999_999}}, "at least 1000000"),
        ({"slowed_ppm": {"cpu": 1.5}}, "a whole number"),
        ({"slowed_ppm": {"npu": ONE}}, "`npu`"),
        ({"slowed_ppm": 2}, "given by processor"),
        ({"paused": ["c"]}, "`c`"),
        ({"paused": "a"}, "several names"),
        ({"links": {("cpu", "npu"): None}}, "no link"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_changes(wrong: dict[str, object], says: str) -> None:
    with runtime_of(graph("a")) as runtime:
        with pytest.raises(InputError, match=says):
            runtime.adjust(**wrong)  # type: ignore[arg-type]  # that is what is tested
        assert next_one(runtime, 0).shed == ()


def test_drift_is_told_relative_to_what_was_said() -> None:
    drift, cpu, gpu = Drift(), ("work", "default", "cpu"), ("work", "default", "gpu")
    for _ in range(SETTLED):
        drift.observe(cpu, 100, 300)
        drift.observe(gpu, 100, 300)
    assert drift.settle() and drift.factor_ppm(cpu) == drift.factor_ppm(gpu) == 3 * ONE
    assert drift.slow({"cpu": 2 * ONE}) and not drift.slow({"cpu": 2 * ONE, "gpu": ONE})
    # What was known of the one processor is not known of it at another speed.
    assert drift.factor_ppm(cpu) == 2 * ONE and drift.factor_ppm(gpu) == 3 * ONE
    for _ in range(SETTLED):
        drift.observe(cpu, 100, 300)
    assert drift.settle() and drift.factor_ppm(cpu) == 3 * ONE
    assert [one.ratio_ppm for one in drift.estimates()] == [1_500_000, 3 * ONE]


def test_a_graph_that_weighs_more_than_before_is_let_in_again() -> None:
    places = {"heavy": ("cpu",), "light": ("cpu",)}
    before = Overload({"heavy": 4, "light": 1}, places)
    assert before.goes(["heavy"], ["heavy", "light"]) == "light" and before.away == ("light",)
    same, raised = Overload({"heavy": 4, "light": 1}, places), Overload({"heavy": 4, "light": 8}, places)
    same.take_over(before)
    raised.take_over(before)
    assert same.away == ("light",) and raised.away == ()
    assert raised.goes(["light"], ["heavy", "light"]) == "heavy"
