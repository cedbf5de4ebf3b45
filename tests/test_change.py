"""A runtime's workload is changed while it runs: nothing is lost, what is the same goes on, what is gone is gone."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest

from leo_runtime.dispatch.events import RenewLane
from leo_runtime.dispatch.limits import RunLimit
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Stream, TaskGraph, Workload
from leo_runtime.errors import ClosedError, GraphError, InputError, KernelError, LeoError, ProfileError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.deployment import Deployment
from leo_runtime.runtime.rings import EventRing, SampleRing
from leo_runtime.runtime.runtime import Runtime
from test_feed import Hands, graph, sound, steps
from test_feed import workload as fed_workload
from test_guard import pass_time
from test_runtime import LOUD, SAMPLES, FakeBackend, FakeKernel, bench, loud_graph, other_graph, profile, workload
from test_states import RATE_HZ, Stepping, listening, require_exact, states_of, window_at
from test_states import simulated as keeping
from told_clock import ToldClock

SECOND_US = 1_000_000


class Counting(FakeBackend):
    """Counts what it loads, knows which kernels are still there, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: Counter[str] = Counter()
        self.kernels: list[weakref.ref[FakeKernel]] = []
        self.fails = ""
        self.meets: dict[str, Callable[[], None]] = {}

    def supports(self, stage: BoundStage, _variant: str, /) -> bool:
        if self.fails == "supports":
            raise RuntimeError("cannot say")
        return super().supports(stage, _variant)

    def load(self, stage: BoundStage, _variant: str, /) -> FakeKernel:
        if self.fails == "load":
            raise KernelError("cannot be loaded")
        kernel = Meeting(self, stage)
        self.loaded[stage.name] += 1
        self.kernels.append(weakref.ref(kernel))
        return kernel

    @property
    def held(self) -> int:
        self.kernels = [one for one in self.kernels if one() is not None]
        return len(self.kernels)


class Meeting(FakeKernel):
    backend: Counting

    def __call__(self, inputs: Any, /) -> np.ndarray:
        if self.backend.fails == "run":
            raise KernelError("cannot be run")
        meets = self.backend.meets.get(self.stage.name)
        if meets is not None:
            meets()
        return super().__call__(inputs)


def backends() -> dict[str, Counting]:
    return {"cpu": Counting(), "fast": Counting()}


def made(of: Workload, live: bool, given: dict[str, Counting], **options: Any) -> Runtime:
    kind = Runtime.live if live else Runtime.simulated
    return kind(of, bench(), profile(), backends=given, **{"solver": "heft", **options})


LONG_US = 10_000_000
"""A deadline that nothing misses here, also in real time."""


def mean_graph(name: str, samples: int = SAMPLES, period_us: int = 1000) -> TaskGraph:
    built = GraphBuilder(name, period_us=period_us, deadline_us=LONG_US)
    read = built.stage(f"{name}-sound", "test_source", stream="mic", samples=samples)
    built.stage(f"{name}-scores", "test_scores", read)
    return built.build()


def windows(runtime: Runtime, graphs: list[str], value: int = 9) -> dict[str, np.ndarray]:
    return {one.stage: np.full(one.shape, value, np.int16) for one in runtime.sources(graphs)}


def outcomes(results: tuple[FrameResult, ...]) -> list[tuple[int, str, str]]:
    return [(one.frame, graph.graph, graph.outcome) for one in results for graph in one.graphs]


def reading(*of: tuple[str, int]) -> GraphBuilder:
    """A graph that reads the microphone so many samples at once, and adds them up."""
    built = GraphBuilder("reads", period_us=1000, deadline_us=LONG_US)
    for stage, samples in of:
        built.stage(stage, "test_source", stream="mic", samples=samples)
    return built


# One step.


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
def test_the_next_release_is_of_the_new_workload(live: bool) -> None:
    given = backends()
    loud = loud_graph(deadline_us=LONG_US)
    with made(workload(loud), live, given) as runtime:
        runtime.submit(0, {"sound": LOUD}, graphs=["loud"])
        runtime.change(workload(loud, mean_graph("mean")))
        assert [one.name for one in runtime.merged.workload.graphs] == ["loud", "mean"]
        runtime.submit(2000, windows(runtime, ["loud", "mean"]), graphs=["loud", "mean"])
        runtime.change(workload(mean_graph("mean")))
        with pytest.raises(InputError, match="no graph of workload `test` is called `loud`"):
            runtime.submit(3000, {}, graphs=["loud"])
        runtime.submit(3000, windows(runtime, ["mean"]), graphs=["mean"])
        found = runtime.drain()
    assert outcomes(found) == [
        (0, "loud", "done"),
        (1, "loud", "done"),
        (1, "mean", "done"),
        (2, "mean", "done"),
    ]
    assert sum(one.loaded["mean-scores"] for one in given.values()) <= 2  # Once on each processor.
    assert given["cpu"].loaded["sound"] == 1


def test_frames_in_flight_end_as_what_they_were_submitted_to() -> None:
    """Also where a stage of the same name is another now, and what it ran on is gone."""
    given = backends()
    entered, go_on = threading.Event(), threading.Event()

    def meets() -> None:
        entered.set()
        assert go_on.wait(20)

    with made(workload(mean_graph("a")), True, given, window_stages=0) as runtime:
        given["cpu"].meets["a-sound"] = meets
        runtime.submit(0, windows(runtime, ["a"]), graphs=["a"])
        assert entered.wait(20)
        del given["cpu"].meets["a-sound"]
        runtime.change(workload(mean_graph("a", samples=2 * SAMPLES)))
        assert runtime.sources(["a"])[0].samples == 2 * SAMPLES
        old = sum(one.held for one in given.values())
        go_on.set()
        (first,) = runtime.drain()
        assert outcomes((first,)) == [(0, "a", "done")]
        assert first.graphs[0].outputs["a-scores"][0] == 9
        gc.collect()
        assert sum(one.held for one in given.values()) < old, "nobody uses the old kernels any more"
        runtime.submit(runtime.now_us, windows(runtime, ["a"], 5), graphs=["a"])
        (second,) = runtime.drain()
    assert second.graphs[0].outputs["a-scores"][0] == 5


def test_frames_that_wait_for_their_release_are_of_what_they_were_submitted_to() -> None:
    given, clock = backends(), Hands()
    with made(workload(mean_graph("a")), True, given, clock=clock) as runtime:
        runtime.submit(5000, windows(runtime, ["a"]), graphs=["a"])
        runtime.change(workload(mean_graph("b")))
        runtime.submit(6000, windows(runtime, ["b"]), graphs=["b"])
        assert runtime.results() == ()
        assert runtime.withdraw(0) and runtime.withdraw(1)
        assert outcomes(runtime.drain()) == [(0, "a", "failed"), (1, "b", "failed")]


def test_names_of_sources_stay_whatever_comes_and_goes_before_them() -> None:
    with made(workload(mean_graph("a", samples=99), loud_graph(), other_graph()), False, backends()) as runtime:
        first, second = reading(("sound", 8)).build(), reading(("sound", 24), ("more", 12)).build()
        before = {name: [one.stage for one in runtime.sources([name])] for name in ("loud", "other")}
        runtime.change(workload(first, loud_graph(), other_graph()))
        assert [one.stage for one in runtime.sources(["reads"])] == ["reads.sound"]
        for graphs in ((second, other_graph(), loud_graph()), (loud_graph(), second, other_graph())):
            runtime.change(workload(*graphs))
            assert {name: [one.stage for one in runtime.sources([name])] for name in before} == before
            assert {one.stage: one.samples for one in runtime.sources(["reads"])} == {
                "reads.sound": 24,
                "reads.more": 12,
            }


# What is kept.


def test_what_was_learned_of_what_is_the_same_is_kept() -> None:
    given = backends()
    with made(
        workload(loud_graph(), mean_graph("a")), False, given, solver="exact", noise=200_000, adapt=True
    ) as runtime:
        for release_us in range(0, 20_000, 1000):
            runtime.submit(release_us, windows(runtime, ["loud", "a"]))
        runtime.drain()
        drift = {one.stage: one for one in runtime.drift()}
        asked, planning = runtime.planning.asked, runtime.planning
        horizon = runtime._now.horizon
        assert horizon is not None
        chances = dict(horizon.chances())
        runtime.change(workload(loud_graph(), mean_graph("a", samples=2 * SAMPLES)))
        assert {one.stage: one for one in runtime.drift()} == {k: v for k, v in drift.items() if not k.startswith("a-")}
        horizon = runtime._now.horizon
        assert horizon is not None and dict(horizon.chances()) == chances
        assert runtime.planning == planning
        runtime.change(workload(loud_graph(), mean_graph("a", samples=2 * SAMPLES)))
        for release_us in range(20_000, 22_000, 1000):
            runtime.submit(release_us, windows(runtime, ["loud", "a"]))
        assert runtime.planning.asked > asked
        runtime.drain()


def test_a_workload_that_is_the_same_asks_nothing_anew_and_loads_nothing() -> None:
    given = backends()
    asked = 0

    def solver(problem: Any) -> Any:
        nonlocal asked
        asked += 1
        from leo_runtime.solver import solve

        return solve(problem, "heft")

    with made(workload(loud_graph(), mean_graph("a")), False, given, solver=solver) as runtime:
        for release_us in range(0, 5000, 1000):
            runtime.submit(release_us, windows(runtime, ["a"]), graphs=["a"])
            runtime.drain()
        before, loaded = asked, [dict(one.loaded) for one in given.values()]
        runtime.change(workload(loud_graph(), mean_graph("a")))
        runtime.submit(5000, windows(runtime, ["a"]), graphs=["a"])
        runtime.change(workload(mean_graph("b"), mean_graph("a")))  # As it does of a graph that goes on beside others.
        runtime.submit(6000, windows(runtime, ["a"]), graphs=["a"])
        runtime.drain()
        assert asked == before
        assert [{k: n for k, n in one.loaded.items() if k[0] != "b"} for one in given.values()] == loaded


def test_a_profile_may_change_and_what_was_measured_by_the_old_one_is_forgotten() -> None:
    with made(workload(loud_graph(), other_graph()), False, backends(), noise=100_000) as runtime:
        runtime.submit(0, windows(runtime, ["loud", "other"]))
        runtime.drain()
        on_fast = [one for one in runtime.drift() if one.resource == "fast"]
        assert on_fast
        runtime.change(runtime.merged.workload, profile=profile(fast_us=30))
        assert not [one for one in runtime.drift() if one.resource == "fast"] and runtime.drift()
        runtime.submit(2000, windows(runtime, ["loud", "other"]))
        (result,) = runtime.drain()
        assert {run.expected_us for run in result.stages if run.resource == "fast"} == {30}
        assert runtime.profile == profile(fast_us=30)


def test_who_stays_away_for_overload_goes_on_to() -> None:
    def heavy(name: str, weight: int) -> TaskGraph:
        built = GraphBuilder(name, period_us=100, deadline_us=290, weight=weight)
        read = built.stage("sound", "test_source", stream="mic", samples=SAMPLES)
        built.stage(f"{name}-scores", "test_fuse", read)
        return built.build()

    both = workload(heavy("light", 1), heavy("heavy", 4))
    with made(both, False, backends(), max_in_flight=100) as runtime:
        for number in range(8):
            runtime.submit(100 * number, windows(runtime, ["light", "heavy"]))
        shed = runtime.shed
        assert shed["light"] > 2
        runtime.change(workload(heavy("light", 1), heavy("heavy", 4), mean_graph("new", period_us=10_000)))
        assert runtime.shed == {**shed, "new": 0}
        runtime.submit(800, windows(runtime, ["light", "heavy"]))
        assert runtime.shed["light"] == shed["light"] + 1
        runtime.change(workload(heavy("heavy", 4)))
        assert runtime.shed == {"heavy": shed["heavy"]}
        runtime.drain()


def test_limits_go_by_what_was_seen_of_what_is_the_same() -> None:
    with made(workload(loud_graph(), mean_graph("a", samples=8)), True, backends()) as runtime:
        runtime.submit(0, windows(runtime, ["a"]), graphs=["a"])
        runtime.drain()
        assert runtime._driver is not None
        limits = runtime._driver.dispatcher.limits
        assert limits is not None
        modes = [("cpu", stage, "default") for stage in ("gate", "a-sound")]
        for mode in modes:
            limits.observe(mode, 1, 10_000_000)
        runtime.change(workload(loud_graph(), mean_graph("a", samples=9)))
        assert [limits.expected_us(mode, 1) for mode in modes] == [10_000_000, 1]


def test_gates_go_on_in_their_file(tmp_path: Any) -> None:
    path = tmp_path / "gates.json"
    with made(workload(loud_graph()), False, backends(), solver="exact", gates_file=path) as runtime:
        for release_us in range(0, 9000, 1000):
            runtime.submit(release_us, {"sound": LOUD})
            runtime.drain()
        runtime.change(workload(loud_graph(), mean_graph("a")))
        runtime.submit(9000, windows(runtime, ["loud", "a"]))
        runtime.drain()
    assert '"runs": 9' in path.read_text()


STREAMS = tuple(Stream(name=name, kind="motion", rate_hz=1000) for name in ("wrist", "ankle"))


def adding(name: str, stream: str, **params: Any) -> TaskGraph:
    """A graph of a stage that keeps the sum of a stream so far, and how many samples that is of."""
    built = GraphBuilder(name, period_us=50_000, deadline_us=LONG_US)
    read = built.stage(f"{name}-sound", "window", stream=stream, samples=100)
    built.stage(f"{name}-total", "states:total", read, **params)
    return built.build()


def of_streams(*graphs: TaskGraph) -> Workload:
    return Workload(format="leo-workload/1", name="w", streams=STREAMS, graphs=graphs)


def test_what_a_stage_keeps_is_kept_where_it_is_the_same_down_to_its_stream() -> None:
    """A stage that computes alike, and reads something else, has nothing of it."""
    values = {"wrist": 1.0, "ankle": 1000.0}
    now_us = 50_000

    def heard(runtime: Runtime, times: int) -> dict[str, list[float]]:
        nonlocal now_us
        for _ in range(times):
            now_us += 50_000
            wanted = runtime.sources([one.name for one in runtime.merged.workload.graphs])
            runtime.submit(now_us, {one.stage: np.full(100, values[one.stream], np.float32) for one in wanted})
        return {one.graph: [*one.outputs[f"{one.graph}-total"]] for one in runtime.drain()[-1].graphs}

    with keeping(of_streams(adding("a", "wrist"), adding("b", "ankle")), Stepping()) as runtime:
        assert heard(runtime, 3) == {"a": [200, 200], "b": [200_000, 200]}
        runtime.change(of_streams(adding("c", "ankle", on_gap="tell"), adding("b", "ankle"), adding("a", "wrist")))
        assert heard(runtime, 2) == {"a": [300, 300], "b": [300_000, 300], "c": [150_000, 150]}
        runtime.change(of_streams(adding("a", "ankle"), adding("b", "ankle")))
        assert heard(runtime, 1) == {"a": [350_000, 350], "b": [350_000, 350]}, "both ask for one stage now"
        runtime.change(of_streams(adding("b", "wrist")))
        assert heard(runtime, 1) == {"b": [100, 100]}, "what it kept was of another stream"


def test_frames_that_were_taken_before_go_on_from_what_they_need() -> None:
    """One that comes to a stage after a later frame, of the new workload, finds the state of the one before it."""

    def noise(frame: int, stage: str, *_: Any) -> int:
        return 120_000 if (frame, stage) == (3, "sound") else 10

    times = [50_000 * number for number in range(2, 12)]
    with keeping(listening(deadline_us=LONG_US), Stepping(), lanes=3, noise=noise, max_in_flight=8) as runtime:
        for number, at_us in enumerate(times):
            runtime.submit(at_us, {"sound": window_at(at_us)})
            if number == 3:
                runtime.change(listening(deadline_us=LONG_US - 1))
        counts = require_exact(runtime.drain())
        states = states_of(runtime)
    assert [count["total"] for count in counts.values()] == [at_us * RATE_HZ // SECOND_US for at_us in times]
    assert states["total"].anew == {"first": 1}
    assert states["total"].bytes == 16


# What goes wrong.


class Waiting(Counting):
    """Waits before it has loaded what is told."""

    def __init__(self, loads: dict[str, Callable[[], None]]) -> None:
        super().__init__()
        self.loads = loads

    def load(self, stage: BoundStage, variant: str, /) -> FakeKernel:
        self.loads.get(stage.name, lambda: None)()
        return super().load(stage, variant)


def test_a_kernel_that_hangs_while_the_workload_is_changed_is_not_called_again() -> None:
    """It was taken over before anybody knew."""
    clock, loads = ToldClock(), {}
    hung, let_go, loading, go_on = (threading.Event() for _ in range(4))
    given = {name: Waiting(loads) for name in ("cpu", "fast")}
    limit = RunLimit(least_us=SECOND_US, factor=1, deadlines=0)
    with made(workload(mean_graph("a")), True, given, clock=clock, run_limit=limit) as runtime:

        def hangs() -> None:
            if not hung.is_set():
                hung.set()
                let_go.wait()

        def loads_slowly() -> None:
            loading.set()
            go_on.wait()

        for backend in given.values():
            backend.meets["a-scores"] = hangs
        loads["b-scores"] = loads_slowly
        runtime.submit(0, windows(runtime, ["a"]))
        assert hung.wait(60)
        new = workload(mean_graph("a"), mean_graph("b", 2 * SAMPLES))
        changing = threading.Thread(target=runtime.change, args=(new,))
        changing.start()
        assert loading.wait(60)
        pass_time(runtime, clock, SECOND_US)
        (first,) = runtime.drain(60.0)
        assert outcomes((first,)) == [(0, "a", "done")]
        assert [run.outcome for run in first.stages if run.stage == "a-scores"] == ["failed", "done"]
        held = runtime._now.kernels
        assert held is not None
        ((key, kernel),) = held._hung
        go_on.set()
        changing.join(60)
        now = runtime._now.kernels
        assert now is not None and now is not held
        assert all(loaded.kernel is not kernel for loaded in now._kernels.values())
        assert key not in now._kernels
        let_go.set()


def test_a_kernel_that_returns_is_one_of_those_that_hang_whoever_knows_of_them() -> None:
    """Two of one mode hang, and the workload is changed while a frame of before is in flight."""
    order = RenewLane("fast", 0, "a-scores", "default")
    with made(workload(mean_graph("a")), True, backends(), clock=ToldClock()) as runtime:
        flights, before = runtime._in_flight, runtime._now
        assert before.kernels is not None
        flights.abandon(order)
        flights.probe("fast", "a-scores", "default")
        flights.abandon(order)
        runtime.change(workload(mean_graph("a"), mean_graph("b", 2 * SAMPLES)))
        flights._flights[0] = cast(Any, None), before
        for left in (1, 0):
            flights.returned(order)
            assert len(before.kernels._hung) == left
        flights._flights.clear()


def test_a_mode_that_is_new_is_in_service_whatever_had_its_name() -> None:
    """What hung is mended by a change: nothing of it is waited for, as nobody probes while many runs hang."""
    clock, given = ToldClock(), backends()
    hung, let_go = threading.Event(), threading.Event()

    def hangs() -> None:
        hung.set()
        let_go.wait()

    limit = RunLimit(least_us=SECOND_US, factor=1, deadlines=0)
    with made(workload(mean_graph("a"), mean_graph("b")), True, given, clock=clock, run_limit=limit) as runtime:
        given["fast"].meets["a-scores"] = hangs
        runtime.submit(0, windows(runtime, ["a"]), graphs=["a"])
        assert hung.wait(60)
        pass_time(runtime, clock, SECOND_US)
        assert outcomes(runtime.drain(60.0)) == [(0, "a", "done")]
        given["fast"].meets.clear()
        runtime.change(workload(mean_graph("a"), mean_graph("b", 2 * SAMPLES)))
        assert [len(one.set_aside) for one in runtime.processors()] == [0, 1], "it is the same"
        runtime.change(workload(mean_graph("a", 3 * SAMPLES), mean_graph("b", 2 * SAMPLES)))
        assert [len(one.set_aside) for one in runtime.processors()] == [0, 0]
        runtime.submit(SECOND_US, windows(runtime, ["a"]), graphs=["a"])
        (after,) = runtime.drain(60.0)
        assert [(run.resource, run.outcome) for run in after.stages if run.stage == "a-scores"] == [("fast", "done")]
        let_go.set()


STEPS = ("graph", "file", "profile", "supports", "load", "run", "planners", "rings", "take over")


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
@pytest.mark.parametrize("step", STEPS)
def test_a_change_that_fails_changes_nothing(step: str, live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given = backends()
    ears, more = [graph(name, ("mic", read), deadline_us=LONG_US) for name, read in (("ears", 8000), ("more", 16_000))]
    clock = Hands()

    def hear(runtime: Runtime, until: int) -> None:
        for first in range(runtime.streams()[0].fed, until, 8000):
            clock.set((first + 8000) * SECOND_US // 16_000)
            runtime.feed("mic", sound(8000, first))

    options = {"clock": clock} if live else {}
    with made(fed_workload(ears), live, given, **options) as runtime:
        hear(runtime, 16_000)
        before, held, streams = runtime._now, sum(one.held for one in given.values()), runtime.streams()
        new = fed_workload(ears, more)
        costs = profile()
        fails: type[Exception] = LeoError

        def breaks(*_a: object, **_k: object) -> None:
            raise RuntimeError("a mistake")

        match step:
            case "graph":
                broken = GraphBuilder("g", period_us=1, deadline_us=1)
                broken.stage("s", "no_such:operator")
                new, fails = fed_workload(broken.build()), GraphError
            case "file":
                fails, new = InputError, "workload.toml"  # type: ignore[assignment]
            case "profile":
                costs, fails = costs.model_copy(update={"hardware": "another"}), ProfileError
            case "supports" | "load" | "run":
                for one in given.values():
                    one.fails = step
            case "planners":
                monkeypatch.setattr("leo_runtime.runtime.deployment.planners", breaks)
                fails = RuntimeError
            case "rings":
                monkeypatch.setattr(SampleRing, "resized", breaks)
                fails = RuntimeError
            case "take over":
                monkeypatch.setattr(Deployment, "take_over", breaks)
                fails = RuntimeError
        if step == "run" and not live:  # In virtual time it is only loaded.
            runtime.change(new, profile=costs)
            return
        with pytest.raises(fails):
            runtime.change(new, profile=costs)
        for one in given.values():
            one.fails = ""
        monkeypatch.undo()
        gc.collect()
        assert runtime._now is before and runtime.streams() == streams
        assert sum(one.held for one in given.values()) == held
        hear(runtime, 32_000)
        found = runtime.drain()
        assert [one.release_us for one in found] == [SECOND_US, 2 * SECOND_US]
        runtime.change(fed_workload(ears, more))
        hear(runtime, 48_000)
        assert outcomes(runtime.drain()) == [(2, "ears", "done"), (2, "more", "done")]


def test_a_runtime_that_is_closed_is_not_changed() -> None:
    runtime = made(workload(loud_graph()), False, backends())
    runtime.close()
    with pytest.raises(ClosedError):
        runtime.change(workload(loud_graph()))


def test_one_that_is_closed_meanwhile_is_not_changed() -> None:
    given = backends()
    with made(workload(loud_graph()), True, given) as runtime:
        given["cpu"].meets["a-scores"] = runtime.close
        with pytest.raises(ClosedError):
            runtime.change(workload(mean_graph("a", samples=99)))


def test_what_a_submit_calls_changes_nothing() -> None:
    given, told = backends(), []

    def meets() -> None:
        with pytest.raises(InputError, match="the workload is changed by what a frame that is submitted calls"):
            runtime.change(workload(loud_graph()))
        told.append(1)

    with made(workload(loud_graph()), False, given) as runtime:
        given["cpu"].meets["sound"] = meets
        runtime.submit(0, {"sound": LOUD})
        assert told


# Streams that are fed.


def fed(runtime: Runtime, until_us: int, from_us: int = 0, chunk_us: int = 100_000) -> None:
    for now_us in range(from_us, until_us, chunk_us):
        first, count = now_us * 16_000 // SECOND_US, chunk_us * 16_000 // SECOND_US
        runtime.feed("mic", sound(count, first))
        runtime.feed("watch", steps(chunk_us * 10 // SECOND_US))


def test_a_graph_that_needs_a_longer_window_begins_when_it_is_full() -> None:
    ears, slow = graph("ears", ("mic", 8000)), graph("slow", ("mic", 160_000))
    with made(fed_workload(ears), False, backends()) as runtime:
        fed(runtime, 8 * SECOND_US)
        held = runtime.streams()[0].held
        assert held < 8 * 16_000, "more than it holds is gone"
        runtime.change(fed_workload(ears, slow))
        assert runtime.streams()[0].held == held and runtime.streams()[0].capacity > 160_000
        fed(runtime, 20 * SECOND_US, 8 * SECOND_US)
        runtime.change(fed_workload(ears))
        fed(runtime, 22 * SECOND_US, 20 * SECOND_US)
        found = runtime.drain()
        assert runtime.streams()[0].capacity == 8000 + 64_000
    of = {name: [r.release_us for r in found for one in r.graphs if one.graph == name] for name in ("ears", "slow")}
    assert of["ears"] == [number * SECOND_US for number in range(1, 23)]
    first_us = 8 * SECOND_US - held * SECOND_US // 16_000 + 10 * SECOND_US
    assert of["slow"] == [at_us for at_us in of["ears"] if first_us <= at_us <= 20 * SECOND_US]
    assert not any(one.gap_us for result in found for one in result.graphs)


def test_a_stream_that_is_another_begins_anew_and_one_that_is_gone_takes_nothing() -> None:
    ears, hands = graph("ears", ("mic", 8000)), graph("hands", ("watch", 20))
    of = fed_workload(ears, hands)
    with made(of, False, backends()) as runtime:
        fed(runtime, 3 * SECOND_US)
        mono = tuple(one.model_copy(update={"channels": 1}) if one.name == "watch" else one for one in of.streams)
        runtime.change(of.model_copy(update={"streams": mono}))
        with pytest.raises(InputError, match=r"stream `watch` takes chunks of shape \(samples,\)"):
            runtime.feed("watch", steps(10))
        mic, watch, _ = runtime.streams()
        assert (mic.fed, watch.fed) == (48_000, 0)
        runtime.feed("watch", np.ones(10, np.float32))
        runtime.drain()


def pool(random: random.Random) -> TaskGraph:
    """A graph of a few names, drawn."""
    name = f"g{random.randrange(4)}"
    reads = {
        "mic": random.choice((800, 8000, 24_000)),
        "watch": random.choice((5, 30)),
        "pulse": random.choice((1, 4)),
    }
    named = random.sample(sorted(reads), random.randint(1, 3))
    period_us = random.choice((200_000, 500_000, SECOND_US, 1_500_000))
    return graph(name, *[(one, reads[one]) for one in named], period_us=period_us)


def answers(results: tuple[FrameResult, ...], name: str) -> list[tuple[int, str, dict[str, float]]]:
    return [
        (one.release_us, one.outcome, {stage: float(value.sum()) for stage, value in one.outputs.items()})
        for result in results
        for one in result.graphs
        if one.graph == name
    ]


STAY = (graph("ears", ("mic", 8000), period_us=500_000), graph("hands", ("watch", 20)), graph("beats", ("pulse", 3)))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_changed_every_frame_has_one_result_and_the_same_graphs_the_same_answers(seed: int) -> None:
    draws = random.Random(seed)
    solver = draws.choice(("heft", "exact"))
    still = made(fed_workload(*STAY), False, backends(), solver=solver, max_in_flight=100)
    given = backends()
    moved = made(fed_workload(*STAY), False, given, solver=solver, max_in_flight=100)
    taken: list[int] = []
    now_us, others = 0, dict[str, TaskGraph]()
    with still, moved:
        for _ in range(30):
            until_us = now_us + 100_000 * draws.randint(1, 12)
            for at_us in range(now_us, until_us, 100_000):
                first = at_us * 16_000 // SECOND_US
                for runtime in (still, moved):
                    numbers = [*runtime.feed("mic", sound(1600, first)), *runtime.feed("watch", steps(1))]
                    if at_us % 700_000 == 0:
                        numbers += runtime.feed("pulse", np.full((1, 1), at_us / 1e6), at_us=at_us)
                    taken += numbers if runtime is moved else []
            now_us = until_us
            if draws.randrange(3) == 0 and others:
                del others[draws.choice(sorted(others))]
            else:
                one = pool(draws)
                others[one.name] = one
            graphs = [*STAY, *others.values()]
            draws.shuffle(graphs)
            moved.change(fed_workload(*graphs))
        expected, found = still.drain(), moved.drain()
        assert sorted(one.frame for one in found) == list(range(len(found))) and taken == sorted(taken)
        for name in ("ears", "hands", "beats"):
            assert answers(found, name) == answers(expected, name) != []
        assert {one.outcome for result in found for one in result.graphs} == {"done"}
        gc.collect()
        assert sum(one.held for one in given.values()) <= 2 * len(moved.merged.stages)


def test_frames_of_threads_that_feed_in_real_time_are_neither_lost_nor_repeated() -> None:
    of = [
        graph("ears", ("mic", 800), period_us=50_000, deadline_us=LONG_US),
        graph("hands", ("watch", 1), period_us=100_000, deadline_us=LONG_US),
    ]
    changes = [[], [graph("new", ("mic", 1600), period_us=100_000)], [graph("new", ("watch", 2), period_us=200_000)]]
    found: list[FrameResult] = []
    with made(fed_workload(*of), True, backends(), max_in_flight=1000, window_stages=0) as runtime:
        runtime.subscribe(found.append)
        taken: list[int] = []
        begun = threading.Barrier(3)

        def feeds(stream: str, chunk: Callable[[int], np.ndarray], chunks: int, each_us: int) -> None:
            begun.wait(20)
            for number in range(
                chunks
            ):  # By a clock of the device's own: by ours a machine that is busy loses samples.
                taken.extend(runtime.feed(stream, chunk(number), at_us=(number + 1) * each_us))

        sources = [
            threading.Thread(target=feeds, args=("mic", lambda n: sound(800, 800 * n), 60, 50_000)),
            threading.Thread(target=feeds, args=("watch", lambda _n: steps(1), 30, 100_000)),
        ]
        for source in sources:
            source.start()
        begun.wait(20)
        for number in range(12):
            runtime.change(fed_workload(*of, *changes[number % 3]))
        for source in sources:
            source.join(30)
        runtime.drain(30)  # It also releases what still waits for the other stream, of which no `feed` tells.
    numbers = sorted(one.frame for one in found)
    assert numbers == list(range(len(found))) and len(taken) == len(set(taken)) and set(taken) <= set(numbers)
    heard = [
        int(one.outputs["ears-mic-sum"][0])
        for result in sorted(found, key=lambda one: one.frame)
        for one in result.graphs
        if one.graph == "ears" and one.outcome == "done"
    ]
    assert len(heard) > 50 and {(after - before) % 32_000 for before, after in pairwise(heard)} == {800}


# Memory.


@pytest.mark.once
@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
def test_two_hundred_changes_leave_nothing_behind(live: bool) -> None:
    given = backends()
    deployments: list[weakref.ref[object]] = []
    with made(workload(loud_graph(), mean_graph("a")), live, given, solver="exact" if not live else "heft") as runtime:
        for number in range(200):
            runtime.change(workload(loud_graph(), mean_graph(f"a{number % 3}", samples=SAMPLES + number % 5)))
            deployments.append(weakref.ref(runtime._now.kernels))
            release_us = max(runtime.now_us, 1000 * number)
            runtime.submit(release_us, windows(runtime, ["loud", f"a{number % 3}"]), graphs=["loud", f"a{number % 3}"])
            runtime.drain()
        assert sum(one() is not None for one in deployments) == 1
        assert sum(one.held for one in given.values()) <= 2 * len(runtime.merged.stages)
        assert len(threading.enumerate()) < 12
        assert set(runtime.shed) == {"loud", "a1"}


# Rings.


def test_a_ring_of_another_size_holds_the_same() -> None:
    ring = SampleRing(10, 100, (), np.dtype(np.int16))
    for first in range(100, 130, 5):
        ring.append(np.arange(first, first + 5, dtype=np.int16))
    ring.lose(128, 3)
    greater, less = ring.resized(20), ring.resized(4)
    assert (greater.end, greater.held, greater.begin) == (133, 10, 123)
    assert (less.end, less.held, less.begin) == (133, 4, 129)
    assert list(greater.window(133, 10)) == list(ring.window(133, 10))
    assert (ring.missing(133, 10), greater.missing(133, 10), less.missing(133, 4)) == (3, 3, 2)
    assert not greater.is_full(133, 12)
    greater.append(np.arange(133, 143, dtype=np.int16))
    assert list(greater.window(143, 20)) == [*ring.window(133, 10), *range(133, 143)]
    events = EventRing(3, 1)
    events.append(np.arange(5, dtype=np.float32).reshape(-1, 1), 10)
    assert (events.resized(2).held, events.resized(9).held) == (2, 3)
    assert events.resized(2).newest_us == 10


@pytest.mark.parametrize("ppm", [-9_000, 300, 15_000])
def test_a_device_that_drifts_is_followed_through_changes(ppm: int) -> None:
    """Windows are as many samples apart as without them, whatever else is released on whatever grid."""

    def heard(changes: list[list[TaskGraph]]) -> list[float]:
        clock = Hands()
        ears = graph("ears", ("mic", 8000), period_us=500_000, deadline_us=LONG_US)
        found: list[FrameResult] = []
        with made(fed_workload(ears), True, backends(), clock=clock, solver="cpu-only", max_in_flight=100) as runtime:
            for number in range(200):
                clock.set(round((number + 1) * 100_000 * (1 + ppm / 1e6)))
                runtime.feed("mic", sound(1600, 1600 * number))
                if number % 20 == 19 and changes:
                    runtime.change(fed_workload(ears, *changes[number // 20 % len(changes)]))
                found += runtime.drain()
        firsts = [one.outputs["ears-mic-sum"][0] for result in found for one in result.graphs if one.graph == "ears"]
        return [float(first) for first in firsts]

    others = [
        [graph("quick", ("mic", 160), period_us=30_000, deadline_us=LONG_US)],
        [graph("slow", ("mic", 90_000), period_us=3_000_000, deadline_us=LONG_US)],
        [],
    ]
    assert heard(others) == heard([]) and len(heard([])) > 35
