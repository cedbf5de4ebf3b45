"""Stages of the CPU in a process of their own: whatever ends it, only the runs at hand fail, and nothing is left."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import psutil
import pytest

import risky
from garbage import left_to_the_collector
from leo_backends import tflite
from leo_backends.cpu import OWN, CpuBackend
from leo_backends.isolated.back_off import BackOff
from leo_backends.isolated.kernel import IsolatedKernel, load
from leo_backends.isolated.messages import Open
from leo_backends.isolated.operators import digest
from leo_backends.isolated.stages import IsolatedStages
from leo_backends.process import Worker
from leo_backends.reference import PROGRAMS
from leo_runtime.backend import Abandonable, Backend, Kernel, News, StatefulKernel
from leo_runtime.dispatch.limits import RunLimit
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware, Link, Processor
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import DEFAULT_VARIANT, Stream, Workload
from leo_runtime.errors import DeviceUnavailableError, DocumentError, KernelError
from leo_runtime.frame.records import FrameResult
from leo_runtime.graph import GraphBuilder
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.operators import operator
from leo_runtime.operators.catalogue import refresh
from leo_runtime.operators.outputs import arrays_of
from leo_runtime.runtime.options import OptionChanges
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.testing import BackendContract, Example, example, examples
from small_networks import two_heads
from test_process import is_running, open_files
from told_clock import ToldClock

WAKE_WORD = Path(__file__).parent.parent / "leo_runtime" / "demo" / "models" / "okay_nabu.tflite"
GOOD, BAD = np.arange(5, dtype=np.float32), np.full(5, risky.BAD, np.float32)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks at what only Linux shows")


def processor(**options: Any) -> Processor:
    return Processor(name="cpu", backend="cpu", options={"isolate": [OWN], **options})


def stage(how: str = "", where: Path | str = "", name: str = "") -> BoundStage:
    return example(name or f"s_{how}", "risky:risky", [GOOD], how=how, where=str(where)).stage


@pytest.fixture
def cpu() -> Iterator[CpuBackend]:
    with closing(CpuBackend(processor())) as backend:
        yield backend


def kernel(backend: CpuBackend, how: str = "", where: Path | str = "", name: str = "") -> IsolatedKernel:
    loaded = backend.load(stage(how, where, name), DEFAULT_VARIANT)
    assert isinstance(loaded, IsolatedKernel)
    return loaded


def process_of(backend: CpuBackend) -> int:
    pid = backend._isolated[""].pid
    assert pid is not None
    return pid


def kill(pid: int) -> None:
    """Until it is dead."""
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(process)


def wait_for_end(process: int) -> None:
    ended = select.poll()
    ended.register(process, select.POLLIN)
    assert ended.poll(10_000), "it is still there"
    os.close(process)


def twice(kernel: Kernel) -> bool:
    return bool(np.array_equal(kernel([GOOD]), 2 * GOOD))


class TestIsolated(BackendContract):
    """The contract, with every operator in the other process."""

    def make_backend(self) -> Backend:
        return CpuBackend(processor(isolate=[OWN, *PROGRAMS]))

    def make_examples(self, folder: Path) -> tuple[Example, ...]:
        return (*examples(folder), example("own", "risky:risky", [GOOD]))


def test_a_class_that_leads_back_to_itself_has_a_digest() -> None:
    class Whole:
        class Part:
            whole: type

            def gain(self) -> int:
                return 2

        def step(self, signal: np.ndarray) -> np.ndarray:
            return signal

    Whole.Part.whole = Whole
    one = operator(output_shape=lambda shape: shape)(Whole)
    before = digest(one)
    Whole.Part.gain = lambda _self: 3  # type: ignore[method-assign]
    assert digest(one) != before


def test_it_gives_what_this_process_gives_to_the_bit(tmp_path: Path) -> None:
    with (
        closing(TestIsolated().make_backend()) as there,
        closing(CpuBackend(Processor(name="c", backend="cpu"))) as here,
    ):
        for tried in TestIsolated().make_examples(tmp_path):
            ours, theirs = (backend.load(tried.stage, DEFAULT_VARIANT) for backend in (here, there))
            assert isinstance(theirs, IsolatedKernel)
            assert theirs(tried.inputs).tobytes() == ours(tried.inputs).tobytes(), tried.name


def test_only_what_is_named_runs_there() -> None:
    signal_ = np.ones(400, np.float32)
    loud = example("loud", "energy_gate", [signal_], threshold_dbfs=-50.0).stage
    with closing(CpuBackend(processor(isolate=["energy_gate"]))) as backend:
        assert isinstance(backend.load(loud, DEFAULT_VARIANT), IsolatedKernel)
        assert not isinstance(backend.load(stage(), DEFAULT_VARIANT), IsolatedKernel)


def test_an_own_operator_by_its_name_has_a_process_of_its_own() -> None:
    with closing(CpuBackend(processor(isolate=[OWN, "risky:changed", "steps:Nowhere"]))) as backend:
        alone = backend.load(example("alone", "risky:changed", [GOOD]).stage, DEFAULT_VARIANT)
        bad = kernel(backend, "exit")
        own = backend._isolated["risky:changed"].pid
        with pytest.raises(KernelError, match="died of exit code 3"):
            bad([BAD])
        assert np.array_equal(alone([GOOD]), -GOOD)
        assert own is not None and backend._isolated["risky:changed"].pid == own
        assert backend._isolated["steps:Nowhere"].pid is None, "nobody has it"
    with closing(CpuBackend(processor(isolate=["risky:risky"]))) as backend:
        assert isinstance(kernel(backend), IsolatedKernel)
        other = backend.load(example("other", "risky:changed", [GOOD]).stage, DEFAULT_VARIANT)
        assert not isinstance(other, IsolatedKernel)


def test_a_process_for_one_operator_that_ends_again_and_again_loses_no_processor() -> None:
    with closing(IsolatedStages("cpu", operator="risky:risky", now_s=Clock())) as stages:
        bad = [load(stages, stage("exit", name=f"s{number}"), DEFAULT_VARIANT) for number in range(3)]
        other = load(stages, stage(), DEFAULT_VARIANT)
        for one in bad:
            with pytest.raises(KernelError, match="died of exit code 3"):
                one([BAD])
        with pytest.raises(KernelError, match=r"of operator `risky:risky` of processor `cpu` has ended 3") as told:
            other([GOOD])
        assert not isinstance(told.value, DeviceUnavailableError)


def test_raw_samples_and_nothing_at_all_cross_as_they_are() -> None:
    raw = np.array([-32768, 0, 32767], np.int16)
    window = example("w", "window", [raw], stream="mic", samples=3).stage
    none = np.zeros((0, 3), np.float32)
    with closing(CpuBackend(processor(isolate=[OWN, "window"]))) as backend:
        reading = backend.load(window, DEFAULT_VARIANT)
        for _ in range(2):
            assert reading([raw]).tolist() == [-1, 0, 32767 / 32768]
            assert reading([raw.astype(np.float32)]).tolist() == [-32768, 0, 32767], "already in float32"
        empty = example("none", "risky:risky", [none]).stage
        assert backend.load(empty, DEFAULT_VARIANT)([none]).shape == (0, 3)
        with pytest.raises(KernelError, match="inputs of another process have values of 4 bytes at most, got float64"):
            reading([raw.astype(np.float64)])
        with pytest.raises(KernelError, match=r"stage `w` was given the shapes \(\(2,\),\), it reads \(\(3,\),\)"):
            reading([raw[:2]])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("abort", r"died of SIGABRT \(risky\.py:\d+\)"),
        ("segfault", r"died of SIGSEGV \(risky\.py:\d+\)"),
        ("exit", "died of exit code 3"),
        ("kill", "died of SIGKILL"),
        # It ends by itself where its first thread was not waiting for a socket as that was closed.
        ("close", "(closed its sockets and was ended|died of exit code 0)"),
    ],
)
def test_what_ends_it_fails_its_own_run_and_nothing_else(
    cpu: CpuBackend, how: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "close":
        monkeypatch.setattr("leo_backends.process.GOODBYE_S", 0.2)
    bad, other = kernel(cpu, how), kernel(cpu)
    before = process_of(cpu)
    with pytest.raises(KernelError, match=f"stage `s_{how}` failed: its process {says}") as told:
        bad([BAD])
    assert "the process is started again, and other stages go on" in told.value.hint
    assert not isinstance(told.value, DeviceUnavailableError)
    assert twice(other) and twice(bad)
    assert process_of(cpu) != before and not is_running(before)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", r"stage `s_raise` failed: KeyError: 'nothing there' \(risky\.py:\d+\)"),
        ("leave", r"stage `s_leave` failed: SystemExit: 4 \(risky\.py:\d+\)"),
        ("own", r"stage `s_own` failed: OwnError: mine \(risky\.py:\d+\)"),
    ],
)
def test_what_it_raises_is_said_and_the_process_stays(cpu: CpuBackend, how: str, says: str) -> None:
    bad = kernel(cpu, how)
    before = process_of(cpu)
    with pytest.raises(KernelError, match=says):
        bad([BAD])
    assert twice(bad) and process_of(cpu) == before
    with left_to_the_collector() as left, pytest.raises(KernelError):
        bad([BAD])
    assert left == [], "inputs are gone as soon as nobody has the error"


def test_one_that_ends_while_nobody_asks_is_nobodys_fault(cpu: CpuBackend) -> None:
    good = kernel(cpu)
    for _ in range(2):
        kill(process_of(cpu))
        assert twice(good)


def test_one_that_ends_while_nobody_asks_is_started_again_before_anybody_does(cpu: CpuBackend) -> None:
    good = kernel(cpu)
    first = process_of(cpu)
    kill(first)
    stages = cpu._isolated[""]
    until(lambda: stages.pid not in (None, first))
    assert twice(good)


def spare_of(stages: IsolatedStages) -> int:
    """The process that is kept ready, once there is one."""
    until(lambda: stages._spare._worker is not None and not stages.loads_again)
    assert stages._spare._worker is not None
    return stages._spare._worker.pid


def test_a_lane_that_cannot_wait_has_a_spare_process_ready_to_be_the_next_one() -> None:
    with closing(IsolatedStages("cpu")) as stages:
        good = load(stages, stage(), DEFAULT_VARIANT)
        assert twice(good) and not stages._spare.wanted, "who waits needs none"
        good.fail_while_starting()
        for _ in range(3):
            pid, spare = stages.pid, spare_of(stages)
            assert pid is not None
            kill(pid)
            until(lambda spare=spare: stages.pid == spare)  # type: ignore[misc]
            assert spare_of(stages) != spare, "it has another one by now"
            assert twice(good)
        pid, spare = stages.pid, spare_of(stages)
    assert pid is not None
    assert not is_running(pid) and not is_running(spare)


def test_without_the_option_there_is_no_spare_process() -> None:
    with closing(IsolatedStages("cpu", has_spare=False)) as stages:
        good = load(stages, stage(), DEFAULT_VARIANT)
        good.fail_while_starting()
        assert not stages.loads_again and stages._spare._worker is None
        assert twice(good)


@pytest.mark.parametrize("how", ["died", "is stopped", "has another environment", "has another import path"])
def test_a_spare_process_that_is_not_as_a_new_one_is_not_used(
    how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("leo_backends.isolated.stages._SPARE_ANSWERS_S", 0.1)
    with closing(IsolatedStages("cpu")) as stages:
        good = load(stages, stage(), DEFAULT_VARIANT)
        good.fail_while_starting()
        spare = spare_of(stages)
        match how:
            case "died":
                kill(spare)
            case "is stopped":
                os.kill(spare, signal.SIGSTOP)
            case "has another environment":
                monkeypatch.setenv("LEO_TEST", "1")
            case "has another import path":
                monkeypatch.syspath_prepend(tmp_path)
        pid = stages.pid
        assert pid is not None
        kill(pid)
        until(lambda: stages.pid not in (None, pid))
        assert stages.pid != spare and not is_running(spare)
        assert spare_of(stages) not in (spare, stages.pid)
        assert twice(good)


@LINUX
def test_who_is_forgotten_leaves_no_spare_process() -> None:
    stages = IsolatedStages("cpu")
    good = load(stages, stage(), DEFAULT_VARIANT)
    good.fail_while_starting()
    spare = os.pidfd_open(spare_of(stages))
    with left_to_the_collector() as left:
        del good, stages
        wait_for_end(spare)
    assert left == []


@pytest.mark.parametrize("how", ["hang", "hang with the lock", "stop"])
def test_one_that_does_not_answer_is_ended(how: str, tmp_path: Path) -> None:
    with closing(CpuBackend(processor(timeout_s=0.3))) as backend:
        bad, other = kernel(backend, how, tmp_path / "begun"), kernel(backend)
        before = process_of(backend)
        with pytest.raises(KernelError, match=r"failed: its process did not answer within 0\.3 s and was ended"):
            bad([BAD])
        assert twice(other) and not is_running(before)


def called(kernel: Kernel) -> tuple[threading.Thread, list[object]]:
    """A thread that calls a kernel, and what came of it once the thread has ended."""
    outcome: list[object] = []

    def call() -> None:
        try:
            outcome.append(kernel([BAD]).tolist())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, outcome


def test_a_run_that_is_given_up_ends_and_what_ran_beside_it_runs_once_more(cpu: CpuBackend, tmp_path: Path) -> None:
    begun, going_on = tmp_path / "begun", tmp_path / "going on"
    os.mkfifo(begun)
    os.mkfifo(going_on)
    hanging, beside = kernel(cpu, "hang", begun), kernel(cpu, "wait", going_on)
    assert isinstance(hanging, Abandonable)
    hanging.abandon()  # Nothing is at hand.
    assert twice(hanging)
    first, second = called(hanging), called(beside)
    assert begun.read_text() == "begun"
    hanging.abandon()
    first[0].join()
    assert "failed: its process was ended, since that run was given up" in str(first[1][0])
    going_on.write_text("go on")
    second[0].join()
    assert second[1] == [(2 * BAD).tolist()]
    assert twice(beside)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Processes start once it is set."""
    start = threading.Event()

    def worker(*arguments: Any, **options: Any) -> Worker:
        assert start.wait(60.0)
        return Worker(*arguments, **options)

    monkeypatch.setattr("leo_backends.isolated.stages.Worker", worker)
    yield start
    start.set()


def until(happened: Callable[[], bool]) -> None:
    """Until something that another thread does has happened, of which nobody is told."""
    last_s = time.monotonic() + 60.0
    while not happened():
        assert time.monotonic() < last_s, "it does not happen"


def test_who_is_not_to_wait_is_told_at_once_and_giving_up_ends_no_process_that_starts(
    held: threading.Event, cpu: CpuBackend, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    held.set()
    hanging, bad = kernel(cpu, "wait", begun), kernel(cpu, "abort")
    hanging.fail_while_starting()
    bad.fail_while_starting()
    thread, outcome = called(hanging)
    with begun.open("w"):  # Once it reads.
        held.clear()
        with pytest.raises(KernelError, match="stage `s_abort` failed: its process died of SIGABRT"):
            bad([BAD])
        thread.join()
    assert "stage `s_wait` failed through no fault of its own: its process died of SIGABRT (stage `s_abort`)" in str(
        outcome[0]
    )
    for one in (hanging, bad):
        with pytest.raises(KernelError, match=r"stage `s_\w+` was not run: .* is being started again"):
            one([GOOD])
        one.abandon()
    stages = cpu._isolated[""]
    assert stages.pid is None
    held.set()
    until(lambda: stages.pid is not None)
    first = stages.pid
    while stages.loads_again:
        hanging.abandon()
    assert twice(hanging) and twice(bad)
    assert stages.pid == first


def test_of_two_runs_the_one_whose_thread_died_is_at_fault(cpu: CpuBackend, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    waiting, bad = kernel(cpu, "wait", begun), kernel(cpu, "abort")
    thread, outcome = called(waiting)
    with begun.open("w") as pipe:  # Once it reads.
        with pytest.raises(KernelError, match="stage `s_abort` failed: its process died of SIGABRT"):
            bad([BAD])
        pipe.close()
        begun.write_text("go on")
    thread.join()
    assert outcome == [(2 * BAD).tolist()]


def test_of_two_runs_both_fail_where_it_is_not_known_which_one_it_was(cpu: CpuBackend, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    waiting, bad = kernel(cpu, "wait", begun), kernel(cpu, "exit")
    thread, outcome = called(waiting)
    with begun.open("w"):
        with pytest.raises(KernelError, match="while it ran `s_wait`, too: which of them ended it is not known"):
            bad([BAD])
        thread.join()
    assert "stage `s_wait` failed: its process died of exit code 3 while it ran `s_exit`" in str(outcome[0])


def test_of_two_runs_of_stages_of_one_name_it_is_said_what_computes_them(cpu: CpuBackend, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    waiting = kernel(cpu, "wait", begun, "sums")
    summed = cpu.load(example("sums", "risky:Summed", [GOOD]).stage, DEFAULT_VARIANT)
    life = waiting._stages.life(waiting.key)
    thread, outcome = called(waiting)
    with begun.open("w"):
        assert isinstance(summed, IsolatedKernel) and summed.channel is not None
        life.at_hand[summed.channel] = True  # As if it ran, too.
        kill(process_of(cpu))
        thread.join()
    assert "stage `sums` failed: its process died of SIGKILL while it ran `sums` (risky:Summed), too" in str(outcome[0])
    assert cpu._isolated[""].process_ends.last == "died of SIGKILL (stage `sums` (risky:risky), `sums` (risky:Summed))"


class Clock:
    """A time that goes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_back_off_doubles_from_a_quarter_of_a_second_to_a_minute() -> None:
    ends = BackOff(free=1)
    rests = []
    for _ in range(11):
        ends.ended(100.0, "died")
        rests.append(ends.rest_s(100.0))
    assert rests == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert ends.rest_s(130.0) == 30 and ends.rest_s(160.0) == 0
    ends.ended(162.0, "died")
    assert ends.rest_s(162.0) == 60, "soon after its rest"
    ends.ended(224.1, "died")
    assert (ends.ends, ends.rest_s(224.1)) == (1, 0), "long after it"
    ends.ended(226.0, "died")
    assert (ends.ends, ends.rest_s(226.0)) == (2, 0.25)


@pytest.mark.parametrize("name", ["", "of two graphs"])
def test_a_stage_that_ends_it_again_and_again_rests_and_others_go_on(name: str) -> None:
    """Also one that is called as it is, as stages of another graph may be."""
    clock = Clock()
    with closing(IsolatedStages("cpu", now_s=clock)) as stages:
        bad, other = [load(stages, stage(how, name=name), DEFAULT_VARIANT) for how in ("exit", "")]
        for _ in range(2):
            with pytest.raises(KernelError, match="died of exit code 3"):
                bad([BAD])
            assert twice(other)
        before = stages.pid
        with pytest.raises(
            KernelError, match=r"has ended its process 2 times in a row \(it died of exit code 3\), and is not"
        ):
            bad([GOOD])
        assert twice(other) and stages.pid == before
        clock.now_s = 0.25
        assert twice(bad)
        with pytest.raises(KernelError, match="died of exit code 3"):
            bad([BAD])
        assert twice(bad), "since it ran well in between, it may try again at once"


def test_a_process_that_ends_again_and_again_is_a_processor_that_is_not_there_for_a_while() -> None:
    clock = Clock()
    with closing(IsolatedStages("cpu", now_s=clock)) as stages:
        bad = [load(stages, stage("exit", name=f"s{number}"), DEFAULT_VARIANT) for number in range(3)]
        other = load(stages, stage(), DEFAULT_VARIANT)
        for one in bad:
            with pytest.raises(KernelError, match="died of exit code 3"):
                one([BAD])
        with pytest.raises(
            DeviceUnavailableError,
            match=r"isolated stages of processor `cpu` has ended 3 times in a row \(it died of exit code 3\)",
        ):
            other([GOOD])
        assert stages.pid is None
        clock.now_s = 0.25
        assert twice(other), "a probe finds it again"


def test_a_process_that_rests_is_started_again_when_it_has_though_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_backends.isolated.back_off.SOON_S", 1e9)
    with closing(IsolatedStages("cpu")) as stages:
        good = load(stages, stage(), DEFAULT_VARIANT)
        for ends in (1, 2, 3):
            until(lambda: stages.pid is not None)
            assert stages.pid is not None
            kill(stages.pid)
            until(lambda ends=ends: stages.process_ends.count == ends)  # type: ignore[misc]
        assert stages._ends.ends == 3, "so that it rests, however long the machine took for them"
        until(lambda: stages.pid is not None and not stages.loads_again)
        assert twice(good)


def test_one_that_cannot_be_started_is_a_processor_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(IsolatedStages("cpu")) as stages:
        monkeypatch.setattr("leo_backends.isolated.stages.MODULE", "leo_backends.no_such_module")
        with pytest.raises(DeviceUnavailableError, match=r"died of exit code 1: .*ModuleNotFoundError"):
            load(stages, stage(), DEFAULT_VARIANT)


def test_where_python_is_embedded_it_says_so_or_runs_here_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", "")
    with closing(CpuBackend(processor())) as backend, pytest.raises(KernelError, match="has one embedded") as told:
        backend.load(stage(), DEFAULT_VARIANT)
    assert told.value.hint == "say which Python is to be started: multiprocessing.set_executable(path)"
    with closing(CpuBackend(processor(isolate_or_here=True))) as backend:
        with pytest.warns(RuntimeWarning, match="stage `s_` runs in this process: .* has one embedded"):
            here = backend.load(stage(), DEFAULT_VARIANT)
        assert not isinstance(here, IsolatedKernel) and twice(here)


def test_an_operator_beside_a_workload_is_imported_from_its_folder(cpu: CpuBackend, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(
        "from leo_runtime.operators import operator\n"
        "@operator(output_shape=lambda x, *, by: x)\n"
        "def scaled(x, *, by: tuple[float, ...]):\n    return x * by[0]\n"
    )
    scaled = example("scaled", f"{tmp_path}/beside:scaled", [GOOD], by=(3.0,)).stage
    assert cpu.load(scaled, DEFAULT_VARIANT)([GOOD]).tolist() == (3 * GOOD).tolist()


def test_what_another_process_cannot_import_is_said(
    cpu: CpuBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inner = risky.made()
    within = example("within", inner.name, [GOOD]).stage  # type: ignore[attr-defined]
    with pytest.raises(KernelError, match=r"`risky:made\.<locals>\.inner` is defined within a function") as told:
        cpu.load(within, DEFAULT_VARIANT)
    assert told.value.hint == "define it at the top of its module, or leave it out of the processor's option `isolate`"

    def typed(signal: np.ndarray) -> np.ndarray:
        return signal

    typed.__module__, typed.__qualname__ = "__main__", "typed"
    typed_in = example("typed", operator(output_shape=lambda shape: shape)(typed).name, [GOOD]).stage
    with pytest.raises(KernelError, match=r"`__main__:typed` is defined in the script or notebook itself") as told:
        cpu.load(typed_in, DEFAULT_VARIANT)
    assert told.value.hint.startswith("put it into a module beside the script")

    (tmp_path / "passing.py").write_text(
        "from leo_runtime.operators import operator\n\n"
        "@operator(output_shape=lambda x: x)\ndef same(x):\n    return x\n"
    )
    passing = example("passing", f"{tmp_path}/passing:same", [GOOD]).stage
    (tmp_path / "passing.py").unlink()
    with pytest.raises(KernelError, match=r"has not found its operator: .*no module named `passing`"):
        cpu.load(passing, DEFAULT_VARIANT)

    monkeypatch.setenv("LEO_TEST_CHANGED", "1")
    changed = example("changed", "risky:changed", [GOOD]).stage
    with closing(CpuBackend(processor())) as later:
        with pytest.raises(KernelError, match="operator `risky:changed` is not what it was"):
            later.load(changed, DEFAULT_VARIANT)
        assert twice(kernel(later)), "what loads in vain leaves the others alone"


def test_what_it_writes_is_seen_where_this_process_writes(cpu: CpuBackend, capsys: pytest.CaptureFixture[str]) -> None:
    kernel(cpu, "say")([BAD])
    cpu.close()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("out loud\n", "a warning\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"isolate": ["tflight"]}, "no operator of the CPU is called `tflight`"),
        ({"isolate": "own"}, "isolate"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
)
def test_options_that_are_wrong_are_said(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DocumentError, match=f"options of processor `cpu`.*{says}"):
        CpuBackend(processor(**options))


def test_after_the_end_nothing_starts_again(cpu: CpuBackend) -> None:
    good = kernel(cpu)
    pid = process_of(cpu)
    cpu.close()
    cpu.close()
    assert not is_running(pid)
    with pytest.raises(KernelError, match="the process of isolated stages of processor `cpu` was closed"):
        good([GOOD])


def test_closing_ends_what_hangs(cpu: CpuBackend, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    thread, outcome = called(kernel(cpu, "hang", begun))
    assert begun.read_text() == "begun"
    cpu.close()
    thread.join()
    assert isinstance(outcome[0], KernelError)


@pytest.mark.once
@LINUX
def test_ten_thousand_calls_and_eight_ends_leave_nothing(tmp_path: Path) -> None:
    shared = set(Path("/dev/shm").iterdir())
    gc.collect()
    threads, files = threading.active_count(), open_files()
    clock = Clock()
    with closing(IsolatedStages("cpu", now_s=clock)) as stages:
        long = np.zeros(25_000, np.float32)
        good = load(stages, example("long", "risky:risky", [long]).stage, DEFAULT_VARIANT)
        bad = load(stages, stage("kill"), DEFAULT_VARIANT)

        def resident() -> int:
            assert stages.pid is not None
            return sum(psutil.Process(pid).memory_info().rss for pid in (os.getpid(), stages.pid))

        for _ in range(1_000):
            good([long])
        before = resident()
        for _ in range(9_000):
            good([long])
        assert resident() < before + 4_000_000
        for _ in range(8):
            with suppress(KernelError):
                bad([BAD])
            clock.now_s += 60.0
            good([long])
        del good, bad
    assert set(Path("/dev/shm").iterdir()) == shared
    assert not psutil.Process().children()
    for thread in threading.enumerate():
        if thread.name.startswith("leo"):
            thread.join(10.0)
    assert (threading.active_count(), open_files()) == (threads, files)


@LINUX
def test_a_kernel_that_is_forgotten_is_gone_there_too(cpu: CpuBackend) -> None:
    kept = kernel(cpu)
    there = psutil.Process(process_of(cpu))
    before = there.num_threads()
    for _ in range(20):
        assert twice(kernel(cpu))
    while there.num_threads() > before:  # They go when they see it.
        assert twice(kept)


PROGRAM = """
import sys
import numpy as np
from leo_backends.cpu import CpuBackend
from leo_runtime.documents.hardware import Hardware, Link, Processor
from leo_runtime.documents.profile import Profile
from leo_runtime.testing import example

backend = CpuBackend(Processor(name="cpu", backend="cpu", options={"isolate": ["own"]}))
bad = np.full(5, 13, np.float32)
kernel = backend.load(example("s", "risky:risky", [bad], how=sys.argv[1], where=sys.argv[2]).stage, "default")
print(backend._isolated[""].pid, flush=True)
kernel([bad])
input()
"""


@LINUX
@pytest.mark.parametrize("how", ["", "hang", "hang with the lock"])
def test_a_program_that_is_killed_takes_it_along(how: str, tmp_path: Path) -> None:
    shared = set(Path("/dev/shm").iterdir())
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how, str(begun)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        process = os.pidfd_open(int(program.stdout.readline()))
        if how:
            assert begun.read_text() == "begun"
        program.kill()
        wait_for_end(process)
    assert set(Path("/dev/shm").iterdir()) == shared


def test_a_process_says_nothing_of_a_program_that_has_gone_before_it_could_answer() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with Connection(ours.detach()) as connection:
            connection.send(Open("cpu", 1))
        ended = subprocess.run(
            [sys.executable, "-c", f"from leo_backends.isolated.worker import main; main({theirs.fileno()})"],
            pass_fds=(theirs.fileno(),),
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            capture_output=True,
            text=True,
        )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_program_that_ends_without_closing_says_nothing_of_its_processes() -> None:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("kernel(", "kernel.fail_while_starting(); kernel("), "", ""],
        env=environment,
        input="\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""


@LINUX
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_a_process_of_its_own_and_leaves_this_one_alone(cpu: CpuBackend) -> None:
    pid = kernel(cpu, "pid")
    first = pid([GOOD])[0]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(int(pid([GOOD])[0])).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    others = int(os.read(read, 100))
    os.close(read)
    os.close(write)
    assert others != first
    assert pid([GOOD])[0] == first


def test_a_state_crosses_and_goes_on_to_the_bit() -> None:
    sound = np.random.default_rng(3).normal(0, 0.1, 8_000).astype(np.float32)
    mel = example("mel", "log_mel", [sound[:4_000]], streaming=True).stage
    plain = CpuBackend(Processor(name="cpu", backend="cpu"))
    with closing(CpuBackend(processor(isolate=["log_mel"]))) as there, closing(plain) as here:
        kernels = [backend.load(mel, DEFAULT_VARIANT) for backend in (there, here)]
        outputs = []
        for kernel in kernels:
            assert isinstance(kernel, StatefulKernel)
            first = kernel.step([sound[:4_000]], kernel.start(), News(None, 0))
            if kernel is kernels[0]:
                kill(process_of(there))  # What is kept is kept on this side.
            second = kernel.step([sound[800:4_800]], first.state, News(800, 50_000))
            again = kernel.step([sound[800:4_800]], first.state, News(800, 50_000))
            assert np.array_equal(second.output, again.output), "a state is left as it is"
            assert np.array_equal(kernel([sound[:4_000]]), first.output), "a call starts anew"
            outputs.append([first.output.tobytes(), second.output.tobytes(), *(a.tobytes() for a in second.state)])
        assert outputs[0] == outputs[1]


def test_an_object_of_a_users_own_class_goes_on_in_any_process() -> None:
    summed = example("summed", "risky:Summed", [GOOD]).stage
    plain = CpuBackend(Processor(name="cpu", backend="cpu"))
    with closing(CpuBackend(processor())) as there, closing(plain) as here:
        kernels = [backend.load(summed, DEFAULT_VARIANT) for backend in (there, here)]
        first, second = kernels
        assert isinstance(first, StatefulKernel) and isinstance(second, StatefulKernel)
        begun = first.step([GOOD], first.start(), News(None, 0))
        assert begun.output.tolist() == [10]
        kill(process_of(there))
        for _ in range(2):
            after = first.step([GOOD], begun.state, News(2, 0))
            assert after.output.tolist() == [17], "a state is left as it is, and outlives its process"
            assert not after.spent
        moved = second.step([GOOD], after.state, News(1, 0))
        assert moved.output.tolist() == [21]
        back = first.step([GOOD], moved.state, News(1, 0))
        assert back.output.tolist() == [25]
        assert first.step([GOOD], back.state, News(0, 0)).output.tolist() == [25]
        assert first([GOOD]).tolist() == [10]


def test_an_object_that_cannot_be_pickled_is_refused_with_words(cpu: CpuBackend) -> None:
    locked = cpu.load(example("locked", "risky:Summed", [GOOD], locked=True).stage, DEFAULT_VARIANT)
    assert isinstance(locked, StatefulKernel)
    with pytest.raises(KernelError, match=r"the state of stage `locked` cannot be pickled .*_thread\.lock") as told:
        locked.step([GOOD], locked.start(), News(None, 0))
    assert "give its class `__getstate__`" in told.value.hint


def test_a_module_that_was_edited_and_read_again_is_imported_again_there(cpu: CpuBackend, tmp_path: Path) -> None:
    def written(times: int) -> Kernel:
        (tmp_path / "factor.py").write_text(f"FACTOR = {times}\n")
        (tmp_path / "edited.py").write_text(
            "from leo_runtime.operators import operator\nfrom .factor import FACTOR\n\n"
            "@operator(output_shape=lambda x: x)\ndef times(x):\n    return x * FACTOR\n"
        )
        refresh([f"{tmp_path}/edited:times"])
        return cpu.load(example("times", f"{tmp_path}/edited:times", [GOOD]).stage, DEFAULT_VARIANT)

    before = written(2)
    after = written(3)
    assert before([GOOD]).tolist() == (2 * GOOD).tolist()
    assert after([GOOD]).tolist() == (3 * GOOD).tolist()


def test_a_model_file_that_was_changed_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    model = tmp_path / "m.npz"
    np.savez(model, weights_0=np.eye(5, dtype=np.float32), bias_0=np.zeros(5, np.float32))
    rows = GOOD.reshape(1, 5)
    dense = example("dense", "dense", [rows], model=model, layers=(5,)).stage
    with closing(CpuBackend(processor(isolate=["dense"]))) as backend:
        kernel = backend.load(dense, DEFAULT_VARIANT)
        expected = kernel([rows])
        np.savez(model, weights_0=2 * np.eye(5, dtype=np.float32), bias_0=np.zeros(5, np.float32))
        assert np.array_equal(kernel([rows]), expected), "it was read before"
        kill(process_of(backend))
        with pytest.raises(KernelError, match=r"m\.npz: is not what it was when stage `dense` was loaded first"):
            kernel([rows])
        assert backend.load(dense, DEFAULT_VARIANT)([rows]).shape == expected.shape


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
@pytest.mark.parametrize("streaming", [False, True])
def test_a_model_runs_there_untried(streaming: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the wake word's scores are those of this process, to the bit."""
    rows = np.random.default_rng(5).normal(10, 5, (99, 40)).astype(np.float32)
    params = {"model": WAKE_WORD, "output_shape": (1,), "rows_per_step": 3, "average_steps": 5, "streaming": streaming}
    stage = example("wake", "tflite", [rows], **params).stage
    plain = CpuBackend(Processor(name="cpu", backend="cpu"))
    with closing(plain) as here, closing(CpuBackend(processor(isolate=["tflite"]))) as there:
        expected = here.load(stage, DEFAULT_VARIANT)([rows])
        monkeypatch.setattr(tflite.TRIALS, "require_sound", None)
        assert there.load(stage, DEFAULT_VARIANT)([rows]).tobytes() == expected.tobytes()


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
@pytest.mark.parametrize("int8", [False, True])
def test_pieces_of_a_model_run_there_and_give_what_they_give_here(int8: bool, tmp_path: Path) -> None:
    """Several arrays as one value, in the model's own types, from piece to piece."""
    (tmp_path / "net.tflite").write_bytes(write_model(two_heads(int8=int8)))
    rng = np.random.default_rng(1)
    image = rng.integers(-128, 128, (1, 8, 8, 3)).astype(np.int8) if int8 else rng.normal(size=(1, 8, 8, 3))
    inputs = [image if int8 else image.astype(np.float32)]
    with (
        closing(CpuBackend(processor(isolate=["model"]))) as there,
        closing(CpuBackend(Processor(name="cpu", backend="cpu"))) as here,
    ):
        for first in range(2):
            stage = example("net", "model", inputs, model=tmp_path / "net.tflite", cut="layers", first=first).stage
            expected = here.load(stage, DEFAULT_VARIANT)(inputs)
            got = there.load(stage, DEFAULT_VARIANT)(inputs)
            assert got.dtype == expected.dtype and got.tobytes() == expected.tobytes()
            inputs = list(arrays_of(got))


@pytest.mark.skipif(not tflite.is_available(), reason="the extra `tflite` is not installed")
def test_a_model_that_keeps_a_state_goes_on_from_it_there() -> None:
    rows = np.random.default_rng(5).normal(10, 5, (1, 3, 40)).astype(np.float32)
    stage = example("wake", "model", [rows], model=WAKE_WORD, streaming=True).stage
    with (
        closing(CpuBackend(processor(isolate=["model"]))) as there,
        closing(CpuBackend(Processor(name="cpu", backend="cpu"))) as here,
    ):
        kernels = [backend.load(stage, DEFAULT_VARIANT) for backend in (here, there)]
        states = [kernel.start() for kernel in kernels]
        for _ in range(3):
            stepped = [kernel.step([rows], state, News(3, 0)) for kernel, state in zip(kernels, states, strict=True)]
            assert stepped[0].output.tobytes() == stepped[1].output.tobytes()
            states = [one.state for one in stepped]


SECOND_US = 1_000_000


def live(
    how: str,
    processors: Sequence[str],
    where: Path | str = "",
    clock: ToldClock | None = None,
    spare: bool = True,
    **options: Unpack[OptionChanges],
) -> Runtime:
    """A runtime of two graphs: the stage `twice` of `sums` is risky on a window that begins with 13, `fine` is not."""
    isolated = {"isolate": [OWN], "isolate_spare": spare}
    graphs = []
    for name, stage, way in (("sums", "twice", how), ("others", "fine", "")):
        graph = GraphBuilder(name, period_us=SECOND_US, deadline_us=SECOND_US)
        samples = graph.stage("samples", "window", stream="wrist", samples=5)
        graph.stage(stage, "risky:risky", samples, how=way, where=str(where))
        graphs.append(graph.build())
    streams = (Stream(name="wrist", kind="other", rate_hz=5),)
    workload = Workload(format="leo-workload/1", name="sums", streams=streams, graphs=tuple(graphs))
    hardware = Hardware(
        format="leo-hardware/1",
        name="bench",
        processors=tuple(Processor(name=name, backend="cpu", options=isolated) for name in processors),
        links=tuple(Link(source=a, target=b) for a in processors for b in processors if a != b),
    )
    costs = [{"processor": p, "fixed_us": 100 * i, "source": "modelled: a test"} for i, p in enumerate(processors, 1)]
    profile = Profile.from_dict({"format": "leo-profile/1", "name": "bench", "hardware": "bench", "costs": costs})
    return Runtime.live(workload, hardware, profile, clock=clock, **options)


def frame(runtime: Runtime, number: int, window: np.ndarray, graph: str = "sums") -> FrameResult:
    runtime.submit(number * SECOND_US, {"samples": window}, graphs=(graph,))
    (result,) = runtime.drain()
    return result


def test_a_runtime_goes_on_where_an_operator_ends_its_process() -> None:
    with live("segfault", ["cpu"]) as runtime:
        assert frame(runtime, 1, GOOD).graphs[0].outcome == "done"
        failed = frame(runtime, 2, BAD)
        assert failed.graphs[0].outcome == "failed"
        assert any("its process died of SIGSEGV (risky.py:" in run.error for run in failed.stages)
        later = (frame(runtime, number, GOOD).graphs[0].outcome for number in range(3, 30))
        assert "done" in later


def test_while_it_is_started_again_runs_fail_at_once_and_nothing_is_given_up(held: threading.Event) -> None:
    clock = ToldClock()
    held.set()
    with live("abort", ["cpu"], clock=clock, spare=False) as runtime:
        held.clear()
        clock.to(SECOND_US)
        assert frame(runtime, 1, BAD).graphs[0].outcome == "failed"
        for number in range(2, 40):
            clock.to(number * SECOND_US)
            lost = frame(runtime, number, GOOD, "others")
            assert "the process of isolated stages of processor `cpu` is being started again" in lost.reason
            assert [(run.stage, run.outcome) for run in lost.stages] == [("samples", "done"), ("fine", "failed")]
        (now,) = runtime.processors()
        assert (now.given_up, now.set_aside, now.lost) == (0, (), False)
        assert (now.process_ends, now.last_process_end) == (1, "died of SIGABRT (stage `twice`)")
        held.set()
        until_it_is_there(runtime)
        for number, graph in enumerate(("others", "sums"), 40):
            clock.to(number * SECOND_US)
            assert frame(runtime, number, GOOD, graph).graphs[0].outcome == "done"


def until_it_is_there(runtime: Runtime) -> None:
    """Until what was loaded is loaded again."""
    backend: Any = runtime._site.machine.backends["cpu"]
    until(lambda: not backend._backend._isolated[""].loads_again)


def test_where_another_processor_is_there_the_frame_moves(tmp_path: Path) -> None:
    with live("exit once", ["cpu", "other"], tmp_path / "once") as runtime:
        runs = [run for run in frame(runtime, 1, BAD).stages if run.stage == "twice"]
        assert [(run.resource, run.outcome) for run in runs] == [("cpu", "failed"), ("other", "done")]
        assert "its process died of exit code 3" in runs[0].error
        assert frame(runtime, 2, GOOD).graphs[0].outcome == "done"


def test_a_runtime_that_gives_a_run_up_ends_the_process_and_finds_its_mode_again(tmp_path: Path) -> None:
    limit = RunLimit(least_us=300_000, deadlines=0)
    others = set(threading.enumerate())
    with live("hang", ["cpu"], tmp_path / "begun", run_limit=limit) as runtime:
        assert frame(runtime, 1, GOOD).graphs[0].outcome == "done"
        failed = frame(runtime, 2, BAD)
        assert failed.graphs[0].outcome == "failed"
        assert (tmp_path / "begun").read_text() == "begun"
        later = (frame(runtime, number, GOOD).graphs[0].outcome for number in range(3, 30))
        assert "done" in later
        # The thread of the run that was given up ends with it.
        until(lambda: sum(one.name.startswith("leo cpu[") for one in set(threading.enumerate()) - others) == 1)
