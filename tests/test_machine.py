"""A machine's backends: opened together, and closed whatever happens between."""

from collections.abc import Iterator

import numpy as np
import pytest

import recorded
from leo_runtime import Runtime
from leo_runtime.backend import is_simulated, registry
from leo_runtime.backend.guard import guarded
from leo_runtime.backend.machine import open_backends, require_served, usable
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.errors import BackendError, DeviceUnavailableError, KernelError, LeoError, MissingExtraError
from leo_runtime.measure import kept_profile
from leo_runtime.measure.calibrate import calibrate
from leo_runtime.measure.measure import QUICK
from leo_runtime.replay.shared_kernels import SharedKernels
from leo_runtime.testing import FakeBackend


class CountedBackend(FakeBackend):
    """Writes its opening and closing into a journal, and fails where it is told to."""

    def __init__(self, name: str, journal: list[str], faults: dict[str, BaseException]) -> None:
        super().__init__()
        self.name = name
        self.journal = journal
        self.faults = faults
        self._fail("open")
        journal.append(f"open {name}")

    def _fail(self, step: str) -> None:
        if (fault := self.faults.get(f"{step} {self.name}")) is not None:
            raise fault

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        self._fail("supports")
        return super().supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /):  # type: ignore[no-untyped-def]
        self._fail("load")
        kernel = super().load(stage, variant)

        def run(inputs):  # type: ignore[no-untyped-def]
            self._fail("run")
            return kernel(inputs)

        return run

    def close(self) -> None:
        self.journal.append(f"close {self.name}")
        self._fail("close")


class Bench:
    """What `registry.create` makes in a test, what it is to fail with (by step and processor), and what happened."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.faults: dict[str, BaseException] = {}

    @property
    def opened(self) -> list[str]:
        return sorted(line.split()[1] for line in self.journal if line.startswith("open"))

    @property
    def closed(self) -> list[str]:
        return sorted(line.split()[1] for line in self.journal if line.startswith("close"))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench()

    def create(processor: Processor):  # type: ignore[no-untyped-def]
        return guarded(CountedBackend(processor.name, made.journal, made.faults), "kit")

    monkeypatch.setattr(registry, "create", create)
    return made


def hardware(*names: str) -> Hardware:
    return Hardware(
        format="leo-hardware/1", name="bench", processors=tuple(Processor(name=n, backend=n) for n in names)
    )


def test_leaving_closes_in_reverse_order_and_once(bench: Bench) -> None:
    with open_backends(hardware("a", "b", "c")) as machine:
        assert list(machine.backends) == ["a", "b", "c"]
    machine.close()
    assert bench.journal == ["open a", "open b", "open c", "close c", "close b", "close a"]


def test_one_that_fails_to_close_does_not_keep_the_others_open(bench: Bench) -> None:
    bench.faults = {"close b": ValueError("stuck"), "close c": SystemExit(3)}
    machine = open_backends(hardware("a", "b", "c"))
    with pytest.raises(BackendError, match=r"backend `c` of package `kit` failed to close \(SystemExit: 3\)") as raised:
        machine.close()
    assert raised.value.__notes__[-1] == "backend `b` of package `kit` failed to close (ValueError: stuck)"
    assert bench.closed == ["a", "b", "c"]
    machine.close()


def test_a_failure_to_close_does_not_hide_the_error_that_is_under_way(bench: Bench) -> None:
    bench.faults = {"close a": ValueError("stuck")}
    with pytest.raises(KeyError, match="mine") as raised, open_backends(hardware("a")):
        raise KeyError("mine")
    assert "failed to close" in raised.value.__notes__[0]


def test_what_is_not_here_is_missing_and_the_others_are_opened(bench: Bench) -> None:
    bench.faults = {"open b": DeviceUnavailableError("not here", hint="plug it in")}
    with open_backends(hardware("a", "b")) as machine:
        assert list(machine.backends) == ["a"]
        assert machine.reasons() == {"b": "not here; plug it in"}
        require_served(machine, hardware("a", "b"))
        with pytest.raises(DeviceUnavailableError, match="not here"):
            machine.backend("b")
    bench.faults |= {"open a": DeviceUnavailableError("gone")}
    with pytest.raises(DeviceUnavailableError, match="gone"), open_backends(hardware("a", "b")) as machine:
        require_served(machine, hardware("a", "b"))


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("a mistake of ours")])
def test_opening_that_is_broken_off_leaves_nothing_open(bench: Bench, fault: BaseException) -> None:
    bench.faults = {"open c": fault}
    with pytest.raises(type(fault)):
        open_backends(hardware("a", "b", "c"))
    assert bench.journal == ["open a", "open b", "close b", "close a"]


def test_a_stand_in_that_cannot_be_made_leaves_nothing_open(bench: Bench) -> None:
    bench.faults = {"open b": DeviceUnavailableError("not here")}
    with pytest.raises(DeviceUnavailableError):
        open_backends(hardware("a", "b"), stand_in=True)
    assert bench.journal == ["open a", "close a"]


def test_what_is_given_is_not_closed(bench: Bench) -> None:
    given = FakeBackend()
    with open_backends(hardware("a", "b"), {"a": given}) as machine:
        assert machine.reasons() == {"b": "no backend was given"}
    assert not given.closed and bench.journal == []


class Simulated(FakeBackend):
    simulated = True


def test_optional_parts_are_seen_through_the_border() -> None:
    given = {"a": FakeBackend(), "b": Simulated()}
    with open_backends(hardware("a", "b"), given) as machine:
        assert [is_simulated(backend) for backend in machine.backends.values()] == [False, True]


FAULTS = {
    "any exception": ValueError("a mistake of theirs"),
    "SystemExit": SystemExit(1),
    "an error in words": KernelError("no room"),
}


@pytest.fixture
def files(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    return recorded.load_all(tmp_path)


def runtimes(files, live: bool, **options):  # type: ignore[no-untyped-def]
    workload, machine, profile, _ = files
    return (Runtime.live if live else Runtime.simulated)(workload, machine, profile, **options)


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("step", ["supports", "load"])
def test_a_runtime_that_cannot_be_made_leaves_nothing_open(bench, files, step, fault, live) -> None:
    bench.faults = {f"{step} {processor.name}": fault for processor in files[1].processors}
    with pytest.raises(LeoError):
        runtimes(files, live)
    assert bench.closed == bench.opened != []


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
@pytest.mark.parametrize("broken", ["planners", "check_decision", "FramePrices"])
def test_a_mistake_while_a_runtime_is_made_leaves_nothing_open(bench, files, monkeypatch, broken, live) -> None:
    def breaks(*_a: object, **_k: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(f"leo_runtime.runtime.deployment.{broken}", breaks)
    with pytest.raises(RuntimeError, match="a mistake"):
        runtimes(files, live)
    assert bench.closed == bench.opened != []


@pytest.mark.parametrize("fault", [SystemExit("not today"), MissingExtraError("`dsp` of package `kit`", "more")])
def test_one_backend_that_raises_anything_stops_no_other(bench, files, fault) -> None:
    bench.faults = {"supports dsp": fault}
    with runtimes(files, live=True) as runtime:
        assert "`dsp` of package `kit`" in runtime.missing["dsp"] and str(fault) in runtime.missing["dsp"]
        assert {mode.resource for modes in runtime.modes.values() for mode in modes} == {"cpu"}
        assert runtime.lost == ("dsp",)


@pytest.mark.parametrize("live", [False, True], ids=["virtual", "live"])
def test_a_mode_that_cannot_be_loaded_is_left_out_with_the_reason(bench, files, live) -> None:
    bench.faults = {"load dsp": KernelError("no room on the DSP", hint="use a smaller model")}
    with runtimes(files, live) as runtime:
        assert {mode.resource for modes in runtime.modes.values() for mode in modes} == {"cpu"}
        assert set(runtime.left_out.values()) == {"no room on the DSP; use a smaller model"}
        assert {processor for _, processor, _ in runtime.left_out} == {"dsp"}


def test_every_stage_that_runs_nowhere_is_named_before_the_run(bench, files) -> None:
    bench.faults = {"load dsp": KernelError("no room"), "load cpu": ValueError("bad file")}
    with pytest.raises(KernelError) as raised:
        runtimes(files, live=False)
    for stage in ("sound", "any"):
        assert f"stage `{stage}` runs on no processor" in str(raised.value)
    assert "bad file" in str(raised.value) and "dsp: no room" in str(raised.value)


def test_a_stage_without_any_mode_runs_nowhere() -> None:
    with pytest.raises(KernelError, match="stage `s` runs on no processor"):
        usable({"s": ()}, lambda *_: None)


def test_a_comparison_leaves_nothing_open(bench, files) -> None:
    once = SharedKernels(files[1])
    once.close()
    once.close()
    assert bench.closed == bench.opened == ["cpu", "cpu", "dsp"]
    bench.journal.clear()
    bench.faults = {"close dsp": ValueError("stuck")}
    with pytest.raises(BackendError, match="failed to close"):
        SharedKernels(files[1]).close()
    assert bench.closed == bench.opened


@pytest.mark.parametrize("step", ["supports", "load", "run"])
def test_a_calibration_leaves_nothing_open(bench, files, step, monkeypatch) -> None:
    monkeypatch.setattr("leo_runtime.measure.calibrate.busy_percent", lambda clock: 0.0)
    bench.faults = {f"{step} dsp": SystemExit(3)}
    workload, machine, _, recording = files
    found = calibrate(workload, machine, recording, effort=QUICK)
    assert bench.closed == bench.opened == ["cpu", "dsp"]
    assert {reading.processor for reading in found.readings} == {"cpu"}
    assert {what.split()[-1] for what, _ in found.missing} == {"dsp"}
    assert all("SystemExit" in str(error) for _, error in found.missing)


def test_comparing_a_profile_leaves_nothing_open(bench, files) -> None:
    workload, machine, profile, _ = files
    with pytest.raises(LeoError):
        kept_profile._require_ours(profile, workload, machine)
    assert bench.closed == bench.opened == ["cpu", "dsp"]


def test_a_runtime_that_is_closed_has_closed_its_backends_whatever_its_driver_does(bench, files, monkeypatch) -> None:
    runtime = runtimes(files, live=False)
    wanted = runtime.sources(runtime._now.graphs)
    runtime.submit(0, {source.stage: np.zeros(source.shape, np.int16) for source in wanted})

    def breaks(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("leo_runtime.dispatch.simulator.Simulator.close", breaks)
    with pytest.raises(RuntimeError, match="a mistake"):
        runtime.close()
    assert bench.closed == bench.opened
