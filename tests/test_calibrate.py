"""Calibration against backends whose times are known, on a clock that only they move."""

import threading
from collections import namedtuple
from collections.abc import Sequence

import numpy as np
import psutil
import pytest

from leo_runtime.backend import DeviceRun, Kernel
from leo_runtime.clock import VirtualClock
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.profile import ClockMhz, Measurement, Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import BackendError, KernelError, ProfileError, RecordingError
from leo_runtime.measure import calibrate as calibration
from leo_runtime.measure.calibrate import calibrate, require_device, this_device
from leo_runtime.measure.energy import Counter
from leo_runtime.measure.measure import QUICK, BusyNeighbours, Effort, fit_line
from leo_runtime.recordings.recording import RecordedStream, Recording, RecordingManifest
from leo_runtime.report import tables

WATCH = calibration.busy_percent


class SteppedBackend:
    """Each run of a stage moves the clock by the next of `times_us`, and loading it by 1000 us."""

    name = "stepped"

    def __init__(self, clock: VirtualClock, times_us: Sequence[int], operators: Sequence[str] = ()) -> None:
        self.clock = clock
        self.times_us = times_us
        self.operators = operators
        self.closed = 0
        self.runs_in_all = 0

    def supports(self, stage: BoundStage, variant: str) -> bool:
        return not self.operators or stage.operator.name in self.operators

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        self.clock.wait_until_us(self.clock.now_us() + 1000)
        return SteppedKernel(self, stage)

    def close(self) -> None:
        self.closed += 1


class SteppedKernel:
    def __init__(self, backend: SteppedBackend, stage: BoundStage) -> None:
        self.backend = backend
        self.stage = stage
        self.runs = 0

    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        assert tuple(array.shape for array in inputs) == self.stage.input_shapes
        times_us = self.backend.times_us
        self.backend.clock.wait_until_us(self.backend.clock.now_us() + times_us[min(self.runs, len(times_us) - 1)])
        self.runs += 1
        self.backend.runs_in_all += 1
        return np.ones(self.stage.output_shape, np.float32)


class OwnTimeBackend(SteppedBackend):
    """A device that times itself: 400 us and 20,000 nJ a run, whatever the clock says."""

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        return OwnTimeKernel(self, stage)


class OwnTimeKernel(SteppedKernel):
    def timed(self, inputs: Sequence[np.ndarray]) -> DeviceRun:
        return DeviceRun(self(inputs), 400, 20_000)


class BrokenBackend(SteppedBackend):
    def load(self, stage: BoundStage, variant: str) -> Kernel:
        raise KernelError(f"stage `{stage.name}` does not fit")


@pytest.fixture(autouse=True)
def idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does is no matter to these tests."""
    monkeypatch.setattr(calibration, "busy_percent", lambda clock: 0.0)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def workload() -> Workload:
    graph = GraphBuilder("loudness", period_us=100_000, deadline_us=50_000)
    sound = graph.stage("sound", "window", stream="mic", samples=1600)
    graph.stage("loud", "energy_gate", sound, threshold_dbfs=-40.0)
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    return Workload(format="leo-workload/1", name="w", streams=streams, graphs=(graph.build(),))


def recording() -> Recording:
    streams = (RecordedStream(name="mic", kind="audio", file="mic.wav", rate_hz=16_000),)
    manifest = RecordingManifest(format="leo-recording/1", name="r", licence="none", source="made", streams=streams)
    return Recording(manifest, {"mic": np.arange(16_000, dtype=np.int16)})


HARDWARE = Hardware(
    format="leo-hardware/1",
    name="bench",
    processors=(Processor(name="cpu", backend="stepped"), Processor(name="dsp", backend="own")),
)


def test_the_cold_start_is_kept_apart_and_the_median_is_of_warm_runs(clock):
    effort = Effort(warm_up_runs=2, least_runs=5, most_us=10_000, steady_percent=5)
    backend = SteppedBackend(clock, [9000, 500, 300, 100])
    found = calibrate(workload(), HARDWARE, recording(), effort=effort, backends={"cpu": backend}, clock=clock)
    assert [reading.stage.name for reading in found.readings] == ["sound", "loud"]
    assert {reading.measurement for reading in found.readings} == {
        Measurement(runs=5, median_us=100, p95_us=100, cold_us=10_000)
    }
    assert found.missing == ()


def test_an_outlier_does_not_move_the_median_and_shows_in_p95(clock):
    effort = Effort(warm_up_runs=0, least_runs=20, most_us=10**9, steady_percent=5)
    backend = SteppedBackend(clock, [0, *[100] * 18, 90_000, 100])
    found = calibrate(workload(), HARDWARE, recording(), effort=effort, backends={"cpu": backend}, clock=clock)
    measurement = found.readings[0].measurement
    assert (measurement.runs, measurement.median_us) == (20, 100)
    assert measurement.p95_us > 100


def test_runs_go_on_until_the_median_is_steady_or_the_time_is_up(clock):
    effort = Effort(warm_up_runs=0, least_runs=4, most_us=10**6, steady_percent=1)
    unsteady = SteppedBackend(clock, [1, *range(1000, 100, -10), *[100] * 200])
    steady = calibrate(workload(), HARDWARE, recording(), effort=effort, backends={"cpu": unsteady}, clock=clock)
    assert steady.readings[0].measurement.runs > 100
    short = Effort(warm_up_runs=0, least_runs=4, most_us=5000, steady_percent=1)
    cut = calibrate(workload(), HARDWARE, recording(), effort=short, backends={"cpu": unsteady}, clock=clock)
    assert cut.readings[0].measurement.runs == 6


def test_a_device_that_is_slower_by_its_own_clock_is_believed(clock):
    own = OwnTimeBackend(clock, [10])
    found = calibrate(workload(), HARDWARE, recording(), effort=QUICK, backends={"dsp": own}, clock=clock)
    cost = found.profile.cost(found.readings[1].stage, "default", "dsp")
    assert (cost.fixed_us, cost.power_mw) == (400, 50)
    assert {cost.energy_from for cost in found.profile.costs} == {"modelled"}


def test_the_profile_prices_what_was_measured_and_only_that(clock):
    backends = {"cpu": SteppedBackend(clock, [70]), "dsp": OwnTimeBackend(clock, [10], operators=["window"])}
    found = calibrate(workload(), HARDWARE, recording(), effort=QUICK, backends=backends, clock=clock)
    sound, loud = found.readings[0].stage, found.readings[-1].stage
    assert Profile.from_json(found.profile.to_json()) == found.profile
    assert found.profile.cost(sound, "default", "dsp").fixed_us == 400
    assert found.profile.cost(loud, "default", "cpu").fixed_us == 70
    assert found.profile.cost(loud, "default", "dsp") is None
    assert all(backend.closed == 0 for backend in backends.values())


def test_what_fails_is_named_and_the_rest_is_measured(clock):
    backends = {"dsp": BrokenBackend(clock, [1]), "cpu": SteppedBackend(clock, [70])}
    found = calibrate(workload(), HARDWARE, recording(), effort=QUICK, backends=backends, clock=clock)
    assert [what for what, _ in found.missing] == ["sound on dsp", "loud on dsp"]
    assert {reading.processor for reading in found.readings} == {"cpu"}


class LineBackend(SteppedBackend):
    """A run takes 40 us and 1 us for every 100 samples."""

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        self.times_us = [40 + stage.input_shapes[0][0] // 100]
        return SteppedKernel(self, stage)


def test_batches_tell_the_fixed_part_from_what_grows(clock):
    effort = Effort(least_runs=3, neighbours=False)
    backend = LineBackend(clock, [])
    found = calibrate(workload(), HARDWARE, recording(), effort=effort, backends={"cpu": backend}, clock=clock)
    loud = found.readings[1]
    cost = found.profile.cost(loud.stage, "default", "cpu")
    assert loud.batch_points == ((3200, 72), (6400, 104), (12_800, 168))
    assert (cost.fixed_us, cost.ps_per_mac) == (40, 10_000)
    assert cost.duration_us(loud.stage.work("default")) == loud.measurement.median_us == 56
    assert cost.duration_us(loud.stage.work("default"), frames=10) == 40 + 160


class RestlessBackend(SteppedBackend):
    """Raises a flag whenever it runs, and takes none of the clock's time."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, [0])
        self.running = threading.Event()

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        return RestlessKernel(self, stage)


class RestlessKernel(SteppedKernel):
    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        if threading.current_thread() is not threading.main_thread():
            self.backend.running.set()
        return np.ones(self.stage.output_shape, np.float32)


class DisturbedKernel(SteppedKernel):
    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        slow = self.backend.neighbour.running.is_set()
        self.backend.times_us = [150 if slow else 100]
        return super().__call__(inputs)


class DisturbedBackend(SteppedBackend):
    """Takes 100 us, and half as much again once its neighbour has run beside it."""

    def __init__(self, clock: VirtualClock, neighbour: RestlessBackend) -> None:
        super().__init__(clock, [100])
        self.neighbour = neighbour

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        return DisturbedKernel(self, stage)


def test_a_busy_neighbour_slows_a_stage_down_and_the_profile_keeps_by_how_much(clock, monkeypatch):
    neighbour = RestlessBackend(clock)
    entered = BusyNeighbours.__enter__

    def enter(self: BusyNeighbours) -> BusyNeighbours:
        entered(self)
        assert neighbour.running.wait(10)
        return self

    monkeypatch.setattr(BusyNeighbours, "__enter__", enter)
    backends = {"cpu": DisturbedBackend(clock, neighbour), "dsp": neighbour}
    effort = Effort(least_runs=3, batches=())
    only_loud = {"cpu": backends["cpu"], "dsp": neighbour}
    found = calibrate(workload(), HARDWARE, recording(), effort=effort, backends=only_loud, clock=clock)
    on_cpu = [reading for reading in found.readings if reading.processor == "cpu"]
    assert {reading.measurement.median_us for reading in on_cpu} == {100}
    assert {reading.measurement.beside_us for reading in on_cpu} == {150}
    slowed = found.profile.beside_neighbours().cost(on_cpu[0].stage, "default", "cpu")
    assert slowed.duration_us(on_cpu[0].stage.work("default")) == 150


class LanesBackend(SteppedBackend):
    """A stage's second kernel, on another lane, makes the first take half as much again."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, [100])
        self.loaded: dict[str, RestlessBackend] = {}

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        if stage.name in self.loaded:
            return RestlessKernel(self.loaded[stage.name], stage)
        self.loaded[stage.name] = RestlessBackend(self.clock)
        return DisturbedKernel(DisturbedBackend(self.clock, self.loaded[stage.name]), stage)


def test_a_stage_is_measured_on_all_lanes_at_once(clock, monkeypatch):
    backend = LanesBackend(clock)
    entered = BusyNeighbours.__enter__

    def enter(self: BusyNeighbours) -> BusyNeighbours:
        entered(self)
        assert list(backend.loaded.values())[-1].running.wait(10)
        return self

    monkeypatch.setattr(BusyNeighbours, "__enter__", enter)
    two_lanes = HARDWARE.model_copy(update={"processors": (Processor(name="cpu", backend="stepped", lanes=2),)})
    effort = Effort(least_runs=3, batches=())
    found = calibrate(workload(), two_lanes, recording(), effort=effort, backends={"cpu": backend}, clock=clock)
    assert [(r.measurement.median_us, r.measurement.lanes_us) for r in found.readings] == [(100, 150)] * 2
    assert tables.measurements(found.profile).splitlines()[0].endswith("cold ms  on all lanes")
    assert Profile.from_json(found.profile.to_json()) == found.profile


class FailingNeighbour(SteppedBackend):
    """Runs where it is measured, and raises what no kernel should on a neighbour's thread."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, [100])
        self.tried = threading.Event()

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        return FailingNeighbourKernel(self, stage)


class FailingNeighbourKernel(SteppedKernel):
    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        if threading.current_thread() is threading.main_thread():
            return super().__call__(inputs)
        self.backend.tried.set()
        raise SystemExit("too hot")


def wait_for(neighbour: FailingNeighbour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no stage be measured beside others before they have run."""
    entered = BusyNeighbours.__enter__

    def enter(self: BusyNeighbours) -> BusyNeighbours:
        entered(self)
        assert neighbour.tried.wait(10)
        return self

    monkeypatch.setattr(BusyNeighbours, "__enter__", enter)


def test_a_neighbour_that_fails_costs_what_was_measured_beside_it_and_no_more(clock, monkeypatch):
    backends = {"cpu": RestlessBackend(clock), "dsp": FailingNeighbour(clock)}
    wait_for(backends["dsp"], monkeypatch)
    effort = Effort(least_runs=3, batches=())
    found = calibrate(workload(), HARDWARE, recording(), effort=effort, backends=backends, clock=clock)
    assert [what for what, _ in found.missing] == [f"{s} on cpu, beside busy neighbours" for s in ("sound", "loud")]
    assert all("failed on `dsp` (SystemExit: too hot)" in str(error) for _, error in found.missing)
    on_dsp = [reading.measurement for reading in found.readings if reading.processor == "dsp"]
    assert [measurement.beside_us for measurement in on_dsp] == [100, 100]
    on_cpu = [reading.measurement for reading in found.readings if reading.processor == "cpu"]
    assert [(m.median_us, m.beside_us) for m in on_cpu] == [(0, None), (0, None)]


def test_a_lane_that_fails_beside_others_costs_what_was_measured_there_and_no_more(clock, monkeypatch):
    backend = FailingNeighbour(clock)
    wait_for(backend, monkeypatch)
    two_lanes = HARDWARE.model_copy(update={"processors": (Processor(name="cpu", backend="stepped", lanes=2),)})
    effort = Effort(least_runs=3, batches=())
    found = calibrate(workload(), two_lanes, recording(), effort=effort, backends={"cpu": backend}, clock=clock)
    assert [what for what, _ in found.missing] == [f"{s} on cpu, on all lanes at once" for s in ("sound", "loud")]
    assert [(r.measurement.median_us, r.measurement.lanes_us) for r in found.readings] == [(100, None)] * 2


class BiggerBackend(SteppedBackend):
    """Takes every size, and runs none but the stage's own."""

    def load(self, stage: BoundStage, variant: str) -> Kernel:
        return BiggerKernel(self, stage)


class BiggerKernel(SteppedKernel):
    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        if len(inputs[0]) > 1600 and self.runs:
            raise ValueError("too much")
        return super().__call__(inputs)


def test_a_run_on_more_input_that_fails_leaves_the_rest(clock):
    effort = Effort(least_runs=3, neighbours=False)
    backends = {"cpu": BiggerBackend(clock, [100])}
    found = calibrate(workload(), HARDWARE, recording(), effort=effort, backends=backends, clock=clock)
    assert [what for what, _ in found.missing] == [
        "loud on cpu, with more input",
        "loud on cpu, with half and twice the input",
    ]
    assert [(r.measurement.median_us, r.batch_points) for r in found.readings] == [(100, ())] * 2


@pytest.mark.parametrize("readings", [0, 1, 4], ids=["at once", "after one reading", "in the middle"])
def test_energy_that_can_no_longer_be_read_leaves_the_times(clock, readings):
    reads = iter(range(1000))

    def read_nj() -> int:
        if (count := next(reads)) >= readings:
            raise BackendError("the sensor was pulled out")
        return count

    found = calibrate(
        workload(),
        HARDWARE,
        recording(),
        effort=Effort(least_runs=3, batches=(), neighbours=False),
        backends={"cpu": SteppedBackend(clock, [100])},
        clock=clock,
        sources=(Counter("rapl", read_nj),),
    )
    assert [(what, str(error)) for what, error in found.missing] == [("energy", "the sensor was pulled out")]
    assert [reading.measurement.median_us for reading in found.readings] == [100, 100]


SHOWN_IN_HASTE = ["processor", "stage", "variant", "runs", "median", "ms", "p95", "ms", "cold", "ms"]


@pytest.mark.parametrize("effort", [QUICK, Effort(least_runs=3, batches=())], ids=["quick", "one lane"])
def test_lanes_are_left_out_in_haste_and_where_there_is_one(clock, effort):
    lanes = 2 if effort is QUICK else 1
    hardware = HARDWARE.model_copy(update={"processors": (Processor(name="cpu", backend="stepped", lanes=lanes),)})
    backend = SteppedBackend(clock, [100])
    found = calibrate(workload(), hardware, recording(), effort=effort, backends={"cpu": backend}, clock=clock)
    assert [reading.measurement.lanes_us for reading in found.readings] == [None, None]
    assert tables.measurements(found.profile).splitlines()[0].split() == SHOWN_IN_HASTE, "and no empty columns"


@pytest.mark.parametrize(("percent", "warned"), [(30.0, False), (84.2, True)])
def test_a_machine_that_was_busy_is_reported(clock, monkeypatch, percent, warned):
    monkeypatch.setattr(calibration, "busy_percent", lambda clock: percent)
    backend = SteppedBackend(clock, [100])
    found = calibrate(workload(), HARDWARE, recording(), effort=QUICK, backends={"cpu": backend}, clock=clock)
    assert [f"{what}: {error}" for what, error in found.missing] == warned * [
        "an idle machine: its CPU was 84 % busy before measuring began, so times may be too long"
    ]
    assert len(found.readings) == 2


def test_how_busy_the_machine_is_is_watched_for_half_a_second(clock, monkeypatch):
    asked_us = []
    monkeypatch.setattr(psutil, "cpu_percent", lambda: asked_us.append(clock.now_us()) or 12.5)
    assert WATCH(clock) == 12.5
    assert asked_us == [0, 500_000]


Frequency = namedtuple("Frequency", "current min max")


@pytest.mark.parametrize(
    ("frequency", "known"),
    [
        (Frequency(1497.6, 300.0, 2265.6), ClockMhz(least=300, now=1498, most=2266)),
        (Frequency(2445.4, 0.0, 0.0), ClockMhz(now=2445)),
        (None, None),
    ],
)
def test_the_device_records_its_clock_as_far_as_it_is_known(monkeypatch, frequency, known):
    monkeypatch.setattr(psutil, "cpu_freq", lambda: frequency)
    assert this_device().clock_mhz == known


def test_another_clock_makes_no_other_device(monkeypatch):
    def untold():
        raise NotImplementedError

    monkeypatch.setattr(psutil, "cpu_freq", untold)
    here = this_device()
    assert here.clock_mhz is None
    throttled = here.model_copy(update={"clock_mhz": ClockMhz(now=600)})
    before, after = (
        Profile(format="leo-profile/1", name="p", hardware="host", device=device, costs=())
        for device in (here, throttled)
    )
    require_device(before, throttled)
    assert before.merged_with(after, "both").device == here
    assert not here.is_same_as(throttled.model_copy(update={"blas": "another"}))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "imu"}, "recording `r` has no stream `imu`"),
        ({"rate_hz": 8_000}, "recording `r` has stream `mic` with rate_hz 16000, workload `w` reads 8000"),
    ],
)
def test_a_recording_of_other_streams_is_refused_before_anything_is_measured(clock, changed, says):
    streams = tuple(stream.model_copy(update=changed) for stream in workload().streams)
    other = workload().model_copy(update={"streams": streams})
    backend = SteppedBackend(clock, [1])
    with pytest.raises(RecordingError, match=says) as error:
        calibrate(other, HARDWARE, recording(), backends={"cpu": backend}, clock=clock)
    assert error.value.hint
    assert clock.now_us() == 0


def test_energy_is_read_where_the_machine_offers_it(clock):
    backend = SteppedBackend(clock, [1000])
    drawn_nj = Counter("rapl package-0", lambda: clock.now_us() * 700 + 5 * backend.runs_in_all * 1000 * 100)
    found = calibrate(
        workload(),
        HARDWARE,
        recording(),
        effort=Effort(least_runs=3, batches=(), neighbours=False),
        backends={"cpu": backend},
        clock=clock,
        sources=(drawn_nj,),
    )
    cost = found.profile.cost(found.readings[0].stage, "default", "cpu")
    assert (cost.power_mw, cost.energy_from) == (500, "measured")
    line = next(cost for cost in found.profile.costs if cost.signature is None)
    assert (line.power_mw, line.energy_from) == (500, "measured")


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ([(1000, 50)], (0, 50_000)),
        ([(0, 50)], (50, 0)),
        ([(1000, 30), (2000, 50), (3000, 70)], (10, 20_000)),
        ([(1000, 30), (2000, 50), (3000, 70), (4000, 90), (5000, 9000)], (10, 20_000)),
        ([(1000, 70), (2000, 30)], (50, 0)),
    ],
)
def test_a_line_is_fitted_that_one_bad_reading_does_not_turn(points, line):
    assert fit_line(points) == line


def test_a_profile_of_another_device_is_refused():
    here = this_device()
    profile = Profile(format="leo-profile/1", name="p", hardware="host", device=here, costs=())
    require_device(profile, here)
    elsewhere = here.model_copy(update={"cpu": "Another CPU"})
    with pytest.raises(ProfileError, match="of another device: its cpu is"):
        require_device(profile, elsewhere)
    other_driver = here.model_copy(update={"drivers": {"gpu": "PoCL 3"}})
    require_device(profile.model_copy(update={"device": other_driver}), other_driver)
    for then, now in ((here, other_driver), (other_driver, here)):
        with pytest.raises(ProfileError, match="of another device: its driver of gpu is"):
            require_device(profile.model_copy(update={"device": then}), now)
    with pytest.raises(ProfileError, match="was made from figures"):
        require_device(profile.model_copy(update={"device": None}), here)
