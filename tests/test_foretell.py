"""What calibration learns beyond the stages it measures: other lengths of them, and how processors slow each other."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest

from leo_runtime.backend import Kernel
from leo_runtime.clock import VirtualClock
from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.changes import changed
from leo_runtime.documents.contention import SlowdownMeasured
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Cost, Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import DocumentError, KernelError
from leo_runtime.measure import calibrate as calibration
from leo_runtime.measure import measure
from leo_runtime.measure.calibrate import calibrate
from leo_runtime.measure.measure import Effort, Loaded
from leo_runtime.recordings.recording import Recording
from leo_runtime.report.tables import profile_table

HARDWARE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "bench",
        "processors": [{"name": name, "backend": "none", "active_mw": 10} for name in ("cpu", "gpu")],
    }
)
EFFORT = Effort(least_runs=3, most_us=1_000_000, batches=(), neighbours=False)
MIC = Stream(name="mic", kind="audio", rate_hz=16_000)


@pytest.fixture(autouse=True)
def idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "busy_percent", lambda clock: 0.0)


def workload(samples: int) -> Workload:
    """Two stages of one operator on the same sound, of which one is ten times as much work."""
    graph = GraphBuilder("g", period_us=2_000_000, deadline_us=1_000_000)
    sound = graph.stage("sound", "window", stream="mic", samples=samples)
    few = graph.stage("few", "log_mel", sound, bands=10)
    graph.stage("many", "log_mel", sound, bands=100, fft_samples=2048)
    graph.stage("loud", "energy_gate", sound, threshold_dbfs=-40.0)
    graph.stage("more", "log_mel", sound, bands=10, hop_samples=320)
    assert few == "few"
    return Workload(format="leo-workload/1", name="w", streams=(MIC,), graphs=(graph.build(),))


class Lines:
    """A run takes a fixed time for each stage, and so much for each sample; the machine is slowed from run to run."""

    name = "lines"

    def __init__(self, clock: VirtualClock, slow: Sequence[int] = (1,)) -> None:
        self.clock, self.slow, self.runs = clock, slow, 0
        self.slowed_times = 1.0

    def supports(self, stage: BoundStage, variant: str) -> bool:
        return True

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        if stage.input_shapes[0][0] < 100:
            raise KernelError("too short for this one")
        return _Line(self, stage)

    def close(self) -> None:
        """Nothing is held."""


FIXED_US = {"sound": 10, "few": 200, "many": 1_000, "loud": 30, "more": 100}
SAMPLES_US = {"sound": 1_000, "few": 100, "many": 10, "loud": 500, "more": 250}
"""Samples in a microsecond."""


class _Line:
    def __init__(self, backend: Lines, stage: BoundStage) -> None:
        self._backend, self._stage = backend, stage

    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        backend, name = self._backend, self._stage.name
        took_us = FIXED_US[name] + self._stage.input_shapes[0][0] // SAMPLES_US[name]
        took_us = round(took_us * backend.slow[backend.runs % len(backend.slow)] * backend.slowed_times)
        backend.runs += 1
        backend.clock.wait_until_us(backend.clock.now_us() + took_us)
        return np.ones(self._stage.output_shape, np.float32)


def calibrated(backend: Lines, effort: Effort = EFFORT, samples: int = 32_000) -> Profile:
    recording = Recording.of_nothing("r", 10_000_000, (MIC,))
    backends = {"cpu": backend}
    found = calibrate(workload(samples), HARDWARE, recording, effort=effort, backends=backends, clock=backend.clock)
    assert found.missing == ()
    return found.profile


def stage(name: str, samples: int) -> BoundStage:
    made = workload(samples)
    return bind(made.graphs[0], made)[name]


@pytest.mark.parametrize("samples", [16_000, 24_000, 48_000, 64_000])
@pytest.mark.parametrize("slow", [(1,), (1, 1, 3, 2, 1, 5)])
def test_a_stage_of_another_length_is_foretold_by_its_own_line(samples: int, slow: tuple[int, ...]) -> None:
    profile = calibrated(Lines(VirtualClock(), slow))
    for name in ("few", "many", "more", "loud"):
        own, asked = stage(name, 32_000), stage(name, samples)
        cost = profile.cost(asked, "default", "cpu")
        assert cost is not None and cost.family == asked.family("default") and cost.signature is None
        found = cost.duration_us(asked.work("default"))
        known = profile.cost(own, "default", "cpu")
        assert known is not None and known.measurement is not None
        # As slow as the machine was when the stage's own length was measured.
        times = known.measurement.median_us / (FIXED_US[name] + 32_000 // SAMPLES_US[name])
        assert found == pytest.approx(times * (FIXED_US[name] + samples // SAMPLES_US[name]), rel=0.02)


def test_what_was_measured_goes_before_its_family_and_that_before_its_operator() -> None:
    profile = calibrated(Lines(VirtualClock()))
    own = profile.cost(stage("few", 32_000), "default", "cpu")
    assert own is not None and own.measurement is not None and own.measurement.median_us == 520
    of = workload(48_000).graphs[0]
    coarse = of.stage("few").model_copy(update={"params": {"bands": 11}})
    graph = of.model_copy(update={"stages": tuple(coarse if one.name == "few" else one for one in of.stages)})
    unknown = bind(graph, workload(48_000))["few"]
    general = profile.cost(unknown, "default", "cpu")
    assert general is not None and (general.signature, general.family) == (None, None)


def test_lengths_of_one_family_that_were_all_measured_are_one_line() -> None:
    graph = workload(32_000).graphs[0]
    short = GraphBuilder("short", period_us=2_000_000, deadline_us=1_000_000)
    short.stage("few", "log_mel", short.stage("sound", "window", stream="mic", samples=8_000), bands=10)
    both = workload(32_000).model_copy(update={"graphs": (graph, short.build())})
    backend = Lines(VirtualClock())
    recording = Recording.of_nothing("r", 10_000_000, (MIC,))
    found = calibrate(both, HARDWARE, recording, effort=EFFORT, backends={"cpu": backend}, clock=backend.clock)
    families = [cost for cost in found.profile.costs if cost.family == stage("few", 8_000).family("default")]
    assert len(families) == 1
    asked = stage("few", 100_000)
    cost = found.profile.cost(asked, "default", "cpu")
    assert cost == families[0]
    assert cost.duration_us(asked.work("default")) == pytest.approx(1_200, rel=0.02)


def test_a_family_is_what_differs_in_length_alone() -> None:
    few, longer = stage("few", 32_000), stage("few", 48_000)
    assert few.signature("default") != longer.signature("default")
    assert few.family("default") == longer.family("default") == few.family("default")
    assert few.family("default").startswith("log_mel(*)#")
    assert few.family("default") != stage("many", 32_000).family("default")
    assert stage("sound", 1_000).family("default") == stage("sound", 2_000).family("default")


def test_a_length_that_a_stage_does_not_take_is_left_out() -> None:
    profile = calibrated(Lines(VirtualClock()), Effort(3, 3, 50_000, 2, (), (Fraction(1, 400), Fraction(2)), False))
    found = profile.cost(stage("few", 64_000), "default", "cpu")
    assert found is not None and found.duration_us(stage("few", 64_000).work("default")) == pytest.approx(840, rel=0.01)
    none = calibrated(Lines(VirtualClock()), Effort(3, 3, 50_000, 2, (), (Fraction(1, 400),), False))
    assert not any(cost.family for cost in none.costs)


def test_an_entry_of_a_family_is_written_read_shown_and_changed_for_one_stage_alone(tmp_path: Path) -> None:
    profile = calibrated(Lines(VirtualClock()))
    profile.to_file(tmp_path / "p.json")
    assert Profile.from_file(tmp_path / "p.json") == profile
    assert stage("few", 32_000).family("default") in profile_table(profile)
    done = changed(workload(48_000), HARDWARE, profile, ["profile.few.cpu.duration_us*=2"]).profile
    costs = [one.cost(stage("few", 48_000), "default", "cpu") for one in (profile, done)]
    assert costs[0] is not None and costs[0].family is not None
    assert costs[1] is not None and (costs[1].family, costs[1].signature) == (
        None,
        stage("few", 48_000).signature("default"),
    )
    assert done.cost(stage("few", 40_000), "default", "cpu") == profile.cost(stage("few", 40_000), "default", "cpu")
    with pytest.raises(DocumentError, match=r"for one stage or for its family, not for both, at \$.family"):
        Cost(processor="cpu", operator="log_mel", signature="a", family="b", source="measured")


class Beside:
    """In the place of busy neighbours: what is measured beside them is slowed by a factor of each."""

    backends: dict[str, Lines]
    slows: dict[tuple[str, str], float]

    def __init__(self, stages: Sequence[Loaded]) -> None:
        self.errors: list[KernelError] = []
        self._processors = [stage.processor for stage in stages]

    def __enter__(self) -> Beside:
        for name, backend in self.backends.items():
            backend.slowed_times = 1 + sum(self.slows.get((name, other), 0) for other in self._processors)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for backend in self.backends.values():
            backend.slowed_times = 1.0


def test_how_much_processors_slow_each_other_is_measured_for_each_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    Beside.backends = {"cpu": Lines(clock), "gpu": Lines(clock)}
    Beside.slows = {("cpu", "gpu"): 0.5, ("gpu", "cpu"): -0.1}
    monkeypatch.setattr(measure, "BusyNeighbours", Beside)
    effort = Effort(least_runs=3, most_us=50_000, batches=(), nearby=())
    recording = Recording.of_nothing("r", 10_000_000, (MIC,))
    found = calibrate(workload(32_000), HARDWARE, recording, effort=effort, backends=Beside.backends, clock=clock)
    assert found.missing == ()
    pairs = {(pair.victim, pair.aggressor): pair for pair in found.profile.contention.pairs}
    assert list(pairs) == [("cpu", "gpu"), ("gpu", "cpu")]
    slowed, faster = pairs["cpu", "gpu"], pairs["gpu", "cpu"]
    assert slowed.slowdown_ppm == 500_000 and slowed.source == "measured"
    assert slowed.measurement == SlowdownMeasured(
        stages=3, runs=slowed.measurement.runs, low_ppm=500_000, high_ppm=500_000
    )
    assert slowed.measurement.runs >= 9
    # One that is none: it is kept as it was measured, and slows nothing.
    assert faster.slowdown_ppm == 0 and faster.measurement is not None and faster.measurement.low_ppm < 0
    assert found.profile.contention.expected_percent == 0
    assert Profile.from_json(found.profile.to_json()) == found.profile


def test_a_neighbour_that_fails_leaves_its_pairs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Beside):
        def __exit__(self, *of: object) -> None:
            super().__exit__(None, None, None)
            if self._processors == ["gpu"]:
                self.errors.append(KernelError("too hot"))

    clock = VirtualClock()
    Beside.backends, Beside.slows = {"cpu": Lines(clock), "gpu": Lines(clock)}, {}
    monkeypatch.setattr(measure, "BusyNeighbours", Failing)
    effort = Effort(least_runs=3, most_us=50_000, batches=(), nearby=())
    recording = Recording.of_nothing("r", 10_000_000, (MIC,))
    found = calibrate(workload(32_000), HARDWARE, recording, effort=effort, backends=Beside.backends, clock=clock)
    assert [(pair.victim, pair.aggressor) for pair in found.profile.contention.pairs] == [("gpu", "cpu")]
    assert "how much `gpu` slows `cpu`" in [what for what, _ in found.missing]
