"""Worker processes: whatever ends one is said, and leaves neither a process nor a file behind."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from garbage import left_to_the_collector
from leo_backends import process
from leo_backends.process import Worker, WorkerEndedError
from leo_backends.worker_output import PassedOnOutput
from leo_runtime.errors import DeviceUnavailableError, KernelError

ECHO = """
import os
from multiprocessing.connection import Connection


def main(descriptor):
    connection = Connection(descriptor)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if request == "hang":
            import ctypes

            connection.send("hanging")
            ctypes.PyDLL(None).pause()  # Keeps Python's lock.
        if request == "say":
            print("said", flush=True)
            os.write(2, "warned\\n".encode())
        if request == "die":
            os.write(2, b"last words")
            os.abort()
        if request != "nothing":
            connection.send(request)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "leo_test_echo.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    return "leo_test_echo"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_answers_until_it_is_closed(module: str) -> None:
    ended: list[str] = []
    worker = Worker("the echo", module, {"LEO_TEST": "1"}, lambda: ended.append("ended"))
    assert [worker.ask(request, 10.0) for request in ("a", ("b", 1))] == ["a", ("b", 1)]
    with pytest.raises(DeviceUnavailableError, match="not there") as raised:
        worker.ask(DeviceUnavailableError("not there", hint="plug it in"), 10.0)
    assert raised.value.hint == "plug it in"
    with left_to_the_collector() as left, pytest.raises(DeviceUnavailableError):
        worker.ask(DeviceUnavailableError("not there"), 10.0)
    assert left == []
    assert worker.alive
    worker.close()
    worker.close()
    assert not worker.alive and not is_running(worker.pid)
    assert ended == ["ended"]


def test_a_forked_process_leaves_it_to_the_one_that_started_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    worker = Worker("the echo", module, None, lambda: ended.append("ended"))
    with monkeypatch.context() as forked:
        forked.setattr("os.getpid", lambda: -1)
        assert not worker.alive, "so that the fork starts one of its own"
    assert worker.alive and worker.ask("a", 10.0) == "a"
    with monkeypatch.context() as forked:
        forked.setattr("os.getpid", lambda: -1)
        worker.close()
    assert ended == [], "what the one that started it keeps for it stays"
    worker._process.wait(10.0)


def test_what_it_died_of_is_said(module: str) -> None:
    worker = Worker("the echo", module)
    with pytest.raises(WorkerEndedError, match="the echo died of SIGABRT: last words"):
        worker.ask("die", 10.0)
    assert not worker.alive and not is_running(worker.pid)


def test_one_that_does_not_answer_is_ended(module: str) -> None:
    worker = Worker("the echo", module)
    worker.ask("a", 10.0)
    with pytest.raises(WorkerEndedError, match=r"the echo did not answer within 0\.01 s"):
        worker.ask("nothing", 0.01)
    assert not worker.alive and not is_running(worker.pid)


def test_one_that_does_not_take_what_it_is_sent_is_ended(module: str) -> None:
    worker = Worker("the echo", module)
    worker.ask("a", 10.0)
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerEndedError, match=r"the echo did not answer within 0\.05 s"):
        worker.ask(bytes(10_000_000), 0.05)
    assert not worker.alive and not is_running(worker.pid)


def test_an_interrupt_ends_it_since_its_answer_would_be_taken_for_the_next(module: str) -> None:
    worker = Worker("the echo", module)
    worker.ask("a", 10.0)

    class Interrupted:
        """Is interrupted as it is sent."""

        def __reduce__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.ask(Interrupted(), 10.0)
    assert not worker.alive and not is_running(worker.pid)


@pytest.mark.parametrize(
    ("fault", "raised", "says"),
    [
        (OSError(11, "no more processes"), KernelError, "the echo cannot be started .*no more processes"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
    ids=["no process", "interrupt"],
)
def test_one_that_cannot_be_started_leaves_nothing_open(
    fault: BaseException, raised: type[BaseException], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def popen(*_a: object, **_k: object) -> None:
        raise fault

    monkeypatch.setattr(process.subprocess, "Popen", popen)
    before = open_files()
    with pytest.raises(raised, match=says):
        Worker("the echo", "no_matter", None, lambda: ended.append("ended"))
    assert ended == ["ended"]
    assert open_files() == before


def test_a_killed_worker_is_named_by_its_signal(module: str) -> None:
    worker = Worker("the echo", module)
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(WorkerEndedError, match="the echo died of SIGKILL"):
        worker.ask("a", 10.0)


def test_a_python_that_is_embedded_has_to_be_told_which_one_to_start(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", "")
    with pytest.raises(KernelError, match="the echo cannot be started, since this program is no Python itself") as told:
        Worker("the echo", module)
    assert "multiprocessing.set_executable" in told.value.hint
    multiprocessing.set_executable(sys.executable)
    worker = Worker("the echo", module)
    assert worker.ask("a", 10.0) == "a"
    worker.close()


@pytest.mark.parametrize("importable", [True, False])
def test_where_there_is_no_executable_at_all_it_says_so(importable: bool) -> None:
    """In a process that never had one, also where `multiprocessing.spawn` cannot be imported for that."""
    code = f"""
import sys
sys.executable = None
if not {importable}:
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "multiprocessing.spawn":
                raise TypeError("expected str, bytes or os.PathLike object, not NoneType")
    sys.meta_path.insert(0, Broken())
from leo_backends.process import NoPythonError, Worker
try:
    Worker("the echo", "echo")
except NoPythonError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the echo cannot be started, since this program is no Python itself" in done.stdout


def test_what_it_writes_is_passed_on_to_where_this_process_writes(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Worker("the echo", module, output=PassedOnOutput)
    worker.ask("say", 10.0)
    with pytest.raises(WorkerEndedError, match="the echo died of SIGABRT: warned last words"):
        worker.ask("die", 10.0)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("said\n", "warned\nlast words")


PARENT = """
import os, sys, time
from leo_backends.process import Worker

worker = Worker("the echo", "leo_test_echo")
worker.ask("a", 10.0)
{forks}
if {hangs}:
    worker.ask("hang", 10.0)
    print(worker.pid, flush=True)
    worker.ask("a", 60.0)
print(worker.pid, flush=True)
time.sleep(60)
"""
FORKS = """
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker that hangs outlives a parent that is killed")
@pytest.mark.parametrize("forks", ["", FORKS], ids=["alone", "with a fork of it that lives on"])
@pytest.mark.parametrize("hangs", [False, True], ids=["idle", "hanging"])
def test_a_parent_that_is_killed_takes_its_worker_along(module: str, forks: str, hangs: bool, tmp_path: Path) -> None:
    assert module == "leo_test_echo"
    script = PARENT.format(forks=forks, hangs=hangs)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], env=environment, stdout=subprocess.PIPE, process_group=0
    ) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        ended = select.poll()
        ended.register(worker, select.POLLIN)
        assert ended.poll(10_000), "it is still there"
        os.close(worker)
        if forks:
            os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Newer Pythons warn where there are threads.
def test_a_fork_that_ends_leaves_the_worker_alone(module: str) -> None:
    worker = Worker("the echo", module, output=PassedOnOutput)
    worker.ask("a", 10.0)
    child = os.fork()
    if child == 0:
        os._exit(int(worker.alive))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "a fork starts one of its own"
    assert worker.ask("b", 10.0) == "b"
    worker.close()
    assert not is_running(worker.pid)
