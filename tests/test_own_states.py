"""Users' own operators that keep state: classes, of which every instance is one state."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend import News
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import GraphError
from leo_runtime.operators import Operator, operator
from leo_runtime.runtime.runtime import Runtime

DOCS = Path(__file__).parent.parent / "docs"
HARDWARE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "bench",
        "processors": [{"name": "cpu", "backend": "cpu", "active_mw": 100}],
    }
)
COSTS = Profile.from_dict(
    {
        "format": "leo-profile/1",
        "name": "costs",
        "hardware": "bench",
        "costs": [{"operator": "*", "processor": "cpu", "fixed_us": 10, "source": "made up"}],
    }
)


@operator(output_shape=lambda signal: (2,))
class Counted:
    """How many runs there were, and the first entry of the last one."""

    runs = 0

    def step(self, signal: np.ndarray) -> np.ndarray:
        self.runs += 1
        return np.array([self.runs, signal[0]])


@operator(output_shape=lambda signal: (2,))
class Resetting:
    def __init__(self) -> None:
        self.runs = self.resets = 0

    def reset(self, news: News) -> None:
        assert news.missed
        self.resets += 1
        self.runs = 0

    def step(self, signal: np.ndarray) -> np.ndarray:
        self.runs += 1
        return np.array([self.runs, self.resets])


@operator(output_shape=lambda signal: (1,))
class ResetsInVain:
    """Its `reset` raises: whoever was told of a gap once would be so for ever."""

    runs = 0

    def reset(self, news: News) -> None:
        raise ValueError(f"no way over {news.missed}")

    def step(self, signal: np.ndarray) -> np.ndarray:
        self.runs += 1
        return np.array([self.runs])


@operator(output_shape=lambda signal: (1,), on_gap="tell")
class StepsInVain:
    """Its `step` raises where it is told of a gap."""

    runs = 0

    def step(self, signal: np.ndarray, *, news: News) -> np.ndarray:
        if news.fresh is not None and news.missed:
            raise ValueError(f"no way over {news.missed}")
        self.runs += 1
        return np.array([self.runs])


@operator(output_shape=lambda signal: (1,), on_gap="tell")
class Telling:
    runs = 0

    def step(self, signal: np.ndarray) -> np.ndarray:
        self.runs += 1
        return np.array([self.runs])


@operator(output_shape=lambda signal: (2,))
class Locked:
    """Cannot be copied."""

    def start(self, shape: tuple[int, ...]) -> None:
        self.lock = threading.Lock()
        self.runs = 0

    def step(self, signal: np.ndarray) -> np.ndarray:
        with self.lock:
            self.runs += 1
            if signal[0] < 0:
                raise ValueError("below 0")
            return np.array([self.runs, 0])


def workload(mine: Operator, samples: int = 4, **params: Any) -> Workload:
    graph = GraphBuilder("g", period_us=1_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="wrist", samples=samples)
    graph.stage("mine", mine, sound, **params)
    stream = Stream(name="wrist", kind="motion", rate_hz=1_000)
    return Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))


def outputs(mine: Operator, windows: dict[int, list[float]], **params: Any) -> tuple[list[Any], Runtime]:
    samples = len(next(iter(windows.values())))
    with Runtime.simulated(workload(mine, samples, **params), HARDWARE, COSTS) as runtime:
        for release_us, window in windows.items():
            runtime.submit(release_us, {"sound": np.array(window, np.float32)})
        found = [result.graphs[0].outputs.get("mine") for result in runtime.drain()]
    return [None if one is None else one.tolist() for one in found], runtime


def stepped(mine: Operator, *runs: tuple[np.ndarray, News]) -> list[float]:
    """What one instance gives, weighing what is new by half."""
    instance: Any = mine.step_class.kind()  # type: ignore[union-attr]  # it has one
    return [float(instance.step(rows, news=news, weight=0.5)) for rows, news in runs]


def test_an_instance_is_the_state() -> None:
    found, runtime = outputs(Counted, {1_000 * n: [n, 0, 0, 0] for n in range(4, 8)})
    assert found == [[1, 4], [2, 5], [3, 6], [4, 7]]
    assert [state.anew for state in runtime.states()] == [{"first": 1}]


def test_a_class_begins_anew_after_a_gap_or_resets_itself() -> None:
    windows = {1_000 * n: [n, 0, 0, 0] for n in (4, 5, 6, 20, 21)}
    assert outputs(Counted, windows)[0] == [[1, 4], [2, 5], [3, 6], [1, 20], [2, 21]]
    found, runtime = outputs(Resetting, windows)
    assert found == [[1, 0], [2, 0], [3, 0], [1, 1], [2, 1]]
    assert [state.anew for state in runtime.states()] == [{"first": 1}]


@pytest.mark.parametrize("mine", [ResetsInVain, StepsInVain])
def test_a_run_that_fails_over_a_gap_takes_its_state_with_it(mine: Operator) -> None:
    """Once, and seen: the next one begins anew, and does not fail over the same gap again."""
    with Runtime.simulated(workload(mine), HARDWARE, COSTS) as runtime:
        for n in (4, 5, 20, 21, 40, 41):
            runtime.submit(1_000 * n, {"sound": np.zeros(4, np.float32)})
        frames = runtime.drain()
        (state,) = runtime.states()
    assert [frame.graphs[0].outcome for frame in frames] == ["done", "done", "failed", "done", "failed", "done"]
    assert [int(f.graphs[0].outputs["mine"][0]) for f in frames if f.graphs[0].outcome == "done"] == [1, 2, 1, 1]
    assert "no way over 11" in frames[2].stages[-1].error
    assert state.anew == {"failed": 2, "first": 1}


def test_a_run_that_fails_over_a_gap_begins_anew_elsewhere() -> None:
    """No answer is lost where another processor tries it; in a batch the frames behind it go on from there."""
    hardware = Hardware.from_dict(
        HARDWARE.model_dump()
        | {
            "processors": [{"name": name, "backend": "cpu", "active_mw": 100} for name in ("cpu", "other")],
            "links": [
                {"source": a, "target": b, "latency_us": 1, "bytes_per_s": None}
                for a, b in (("cpu", "other"), ("other", "cpu"))
            ],
        }
    )
    costs = Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": "costs",
            "hardware": "bench",
            "costs": [
                {"operator": "*", "processor": name, "fixed_us": 10, "source": "made up"} for name in ("cpu", "other")
            ],
        }
    )
    with Runtime.simulated(workload(ResetsInVain), hardware, costs) as runtime:
        for n in (4, 5, 20, 21):
            runtime.submit(1_000 * n, {"sound": np.zeros(4, np.float32)})
        frames = runtime.drain()
        (state,) = runtime.states()
    assert [int(frame.graphs[0].outputs["mine"][0]) for frame in frames] == [1, 2, 1, 2]
    assert [run.outcome for run in frames[2].stages if run.stage == "mine"] == ["failed", "done"]
    assert state.anew == {"failed": 1, "first": 1}
    with Runtime.simulated(workload(ResetsInVain), HARDWARE, COSTS) as runtime:
        runtime.submit(4_000, {"sound": np.zeros(4, np.float32)})
        runtime.submit_batch([(1_000 * n, {"sound": np.zeros(4, np.float32)}) for n in (20, 21, 22)])
        (_, batch) = runtime.drain()
        (state,) = runtime.states()
    assert [graph.outcome for graph in batch.graphs] == ["failed", "done", "done"]
    assert state.anew == {"failed": 1, "first": 1}


def test_what_an_instance_holds_is_seen_where_nobody_says_it() -> None:
    @operator(output_shape=lambda signal: (1,))
    class Holds:
        def start(self, shape: tuple[int, ...]) -> None:
            self.rows = [np.zeros(10), {"last": np.zeros((5, 2), np.float32)}]
            self.same = self.rows[0]
            self.me = self
            self.name = b"abc"

        def step(self, signal: np.ndarray) -> np.ndarray:
            return signal[:1]

    _, runtime = outputs(Holds, {1_000 * n: [n, 0, 0, 0] for n in range(4, 8)})
    (state,) = runtime.states()
    # With the output of the last run, which is kept as well: a float32.
    assert state.bytes == 80 + 40 + 3 + 4


@operator(output_shape=lambda signal: signal)
class Unsteady:
    """Its state is used up by each run, and gone with one that fails."""

    def start(self, shape: tuple[int, ...]) -> None:
        self.lock = threading.Lock()

    def step(self, signal: np.ndarray) -> np.ndarray:
        if signal[0] < 0:
            raise ValueError("below 0")
        return signal


def test_a_class_that_resets_itself_begins_anew_with_what_it_reads() -> None:
    """No entry is missing, so that there is nothing to tell it: its input is of another beginning."""
    graph = GraphBuilder("g", period_us=10_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="wrist", samples=16)
    unsteady = graph.stage("unsteady", Unsteady, sound)
    graph.stage("mine", Resetting, unsteady)
    graph.stage("told", Telling, unsteady)
    stream = Stream(name="wrist", kind="motion", rate_hz=1_000)
    asked = Workload(format="leo-workload/1", name="w", streams=(stream,), graphs=(graph.build(),))
    with Runtime.simulated(asked, HARDWARE, COSTS) as runtime:
        for release_us in (20_000, 30_000, 34_000, 40_000, 50_000):
            fails = release_us == 34_000
            runtime.submit(release_us, {"sound": np.full(16, -1.0 if fails else 1.0, np.float32)}, graphs=("g",))
        answers = [result.graphs[0].outputs for result in runtime.drain()]
        anew = {state.stage: state.anew for state in runtime.states()}
    assert [one["mine"].tolist() for one in answers if "mine" in one] == [[1, 0], [2, 0], [1, 0], [2, 0]]
    assert [one["told"][0] for one in answers if "told" in one] == [1, 2, 3, 4]
    assert anew == {"unsteady": {"first": 2}, "mine": {"first": 1, "upstream": 1}, "told": {"first": 1}}


def test_what_cannot_be_copied_is_used_up_by_its_run() -> None:
    found, runtime = outputs(Locked, {1_000 * n: [-1.0 if n == 6 else 1.0, 0] for n in (4, 5, 6, 7, 8)})
    assert found == [[1, 0], [2, 0], None, [1, 0], [2, 0]]
    assert [state.anew for state in runtime.states()] == [{"first": 2}]


def test_the_examples_on_the_page_do_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (DOCS / "backends.md").read_text().split("<!-- test: own_state -->")[1].split("```python\n")[1]
    (tmp_path / "kept.py").write_text(code.split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    import kept  # type: ignore[import-not-found]  # it was just written

    scores = {1_000 * n: [n % 4, n] for n in range(2, 9)}
    found, _ = outputs(kept.Debounce, scores, runs=3)
    assert found == [[0, 0], [0, 0], [0, 2], [0, 3], [0, 4], [1, 5], [0, 6]]
    mean = kept.ExponentialMean
    found, _ = outputs(mean, {1_000 * n: [n - 1, n] for n in (2, 3, 9)}, weight=0.5)
    assert found == [1.5, 2.25, 7.0625]
    whole = stepped(
        mean, (np.array([4.0, 8.0]), News(1, 0, whole=True)), (np.array([8.0, 8.0]), News(0, 0, whole=True))
    )
    assert whole == [6.0, 6.0]
    silence = np.array([0.0, 0.0, 4.0])
    assert stepped(mean, (silence, News(None, 0, 2)), (silence, News(1, 0, 2)), (silence, News(0, 0, 9))) == [4.0] * 3


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: operator(output_shape=lambda a: a)(type("Empty", (), {})), "has no method `step`"),
        (lambda: operator(output_shape=lambda a: a, on_gap="tell")(lambda a: a), "keeps no state"),
        (lambda: operator(output_shape=lambda a: a, state_bytes=lambda a: 1)(lambda a: a), "keeps no state"),
        (lambda: operator(output_shape=lambda a: a, on_gap="wait"), "`on_gap` of an operator is `reset` or `tell`"),  # type: ignore[arg-type]
        (lambda: operator(output_shape=lambda a: a, state_bytes=3), "`state_bytes` of an operator is a function"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_an_operator_is_said(made: Any, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        made()


def test_what_a_class_says_of_its_state_is_checked_where_it_is_used() -> None:
    @operator(output_shape=lambda a: a, state_bytes=lambda a: -1)
    class Wrong:
        def step(self, a: np.ndarray) -> np.ndarray:
            return a

    with pytest.raises(GraphError, match=r"`state_bytes` of operator .* gave -1"):
        Runtime.simulated(workload(Wrong), HARDWARE, COSTS)
