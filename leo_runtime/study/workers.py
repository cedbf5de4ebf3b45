"""Processes of this machine that run the cells of a study, and what is made of one that dies or takes too long."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic

from leo_runtime.errors import LeoError
from leo_runtime.study.document import Study
from leo_runtime.study.outcome import Outcome

READY = b"ready"
"""What a worker says when it can be asked."""
TRIES = 2
"""How often a cell is tried whose worker dies: somebody else may have ended it."""
START_S = 120.0
"""How long a worker may take until it can be asked."""
NO_WORKER_HINT = "`--jobs 0` runs cells in this process"
_START = "from leo_runtime.study.worker import main; main({asked}, {life})"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""All cores have a worker: libraries that compute are not to start a thread for each core, in each of them."""


@dataclass(frozen=True, slots=True)
class Job:
    """What workers need to know of a study."""

    study: Study
    folder: Path
    """Where its paths begin."""
    logs: Path | None = None

    @property
    def limit_s(self) -> float | None:
        """How long a cell may take."""
        return self.study.limit_seconds


def python() -> str | None:
    """The Python that runs workers; None where this process is none, but has one embedded."""
    try:
        from multiprocessing.spawn import get_executable

        found = os.fsdecode(get_executable() or "")
    except TypeError:  # Of Python 3.11.2, for one, it cannot be imported where `sys.executable` is None.
        found = ""
    return None if not found or getattr(sys, "frozen", False) else found


class Worker:
    """One process. For one thread. Closing it ends it."""

    def __init__(self, job: Job, executable: str) -> None:
        """Start it. Raises `LeoError` where it cannot be, or ends before it can be asked."""
        self.cell: int | None = None
        """What it is at."""
        self.due_s = float("inf")
        """By when it has to be done, on the monotonic clock."""
        environment = dict.fromkeys(_ONE_THREAD, "1") | dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(path or os.curdir for path in sys.path)
        ours, theirs = socket.socketpair()
        life, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [executable, "-P", "-c", _START.format(asked=theirs.fileno(), life=life)],
                pass_fds=(theirs.fileno(), life),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # A Ctrl-C is for the program alone.
            )
        except OSError as error:
            ours.close()
            os.close(self._life)
            raise LeoError(f"a worker cannot be started ({error})", hint=NO_WORKER_HINT) from None
        finally:
            theirs.close()
            os.close(life)
        self.connection = Connection(ours.detach())
        try:
            given = {
                "study": job.study.to_json(),
                "folder": str(job.folder),
                "logs": None if job.logs is None else str(job.logs),
            }
            self.connection.send_bytes(json.dumps(given).encode())
            if not self.connection.poll(START_S) or self.connection.recv_bytes() != READY:
                raise EOFError
        except (EOFError, OSError):
            died = self.died()
            self.close()
            raise LeoError(
                f"a worker ended before it could be asked anything: {died}",
                hint=NO_WORKER_HINT,
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, cell: int, limit_s: float | None) -> None:
        """Have it run a cell. Raises `OSError` where it is not there."""
        self.cell = cell
        self.due_s = float("inf") if limit_s is None else monotonic() + limit_s
        self.connection.send_bytes(str(cell).encode())

    def answer(self) -> Outcome:
        """What came of it. Raises `EOFError` or `OSError` where the process has died."""
        found = Outcome.from_json(self.connection.recv_bytes())
        self.cell, self.due_s = None, float("inf")
        return found

    def died(self) -> str:
        """What it died of; it is ended if it has not."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "it did not answer, and was ended"
        if code < 0:
            with suppress(ValueError):
                return f"it was ended by {signal.Signals(-code).name}"
        return f"its process ended with status {code}"

    def close(self) -> None:
        """End it and what it has started, whatever it is at."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()
        with suppress(OSError):
            os.close(self._life)
        self._life = -1


def run_here(job: Job, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
    """Run cells in this process, one after the other. A cell that kills it ends the study; time limits do nothing."""
    # What a process needs that has others run them is little.
    from leo_runtime.study.cell_run import outcome
    from leo_runtime.study.cells import cells
    from leo_runtime.study.loading import Loader
    from leo_runtime.study.shared import Shared

    loader, shared, all_cells = Loader(job.study, job.folder), Shared(), cells(job.study)
    for number in numbers:
        yield outcome(job.study, loader, all_cells[number], shared, job.logs)


def run_in_workers(job: Job, numbers: Sequence[int], count: int, executable: str) -> Generator[Outcome, None, None]:
    """Run cells in so many processes; outcomes come as they end. Raises `LeoError` where no worker can be started."""
    with closing(Crew(job, count, executable)) as crew:
        yield from crew.run(numbers)


class Crew:
    """So many processes, each started when it is first needed. For one thread. Closing it ends them."""

    def __init__(self, job: Job, count: int, executable: str) -> None:
        """Nothing is started yet."""
        self._job = job
        self._count = count
        self._executable = executable
        self._workers: list[Worker] = []

    def run(self, numbers: Sequence[int]) -> Iterator[Outcome]:
        """Run these cells, one caller at a time; outcomes come as they end.

        Raises `LeoError` where no worker can be started.
        """
        left = deque(numbers)
        tries = dict.fromkeys(numbers, TRIES)
        while left or any(worker.cell is not None for worker in self._workers):
            for worker in self._workers:
                _next(worker, left, self._job)
            while left and len(self._workers) < self._count:
                self._workers.append(Worker(self._job, self._executable))
                _next(self._workers[-1], left, self._job)
            yield from self._ended(left, tries)

    def close(self) -> None:
        """End all of them, whatever they are at."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _ended(self, left: deque[int], tries: dict[int, int]) -> Iterator[Outcome]:
        """Wait for the next workers to end a cell, to die, or to take too long."""
        busy = [worker for worker in self._workers if worker.cell is not None]
        until_s = min(worker.due_s for worker in busy)
        timeout_s = None if until_s == float("inf") else max(0.0, until_s - monotonic())
        ready = wait([worker.connection for worker in busy], timeout_s)
        for worker in busy:
            if worker.connection in ready:
                found = self._answer(worker, left, tries)
            elif worker.due_s <= monotonic():
                found = self._too_late(worker)
            else:
                continue
            # The next one begins before anybody looks at what this one found.
            if worker in self._workers:
                _next(worker, left, self._job)
            if found is not None:
                yield found

    def _answer(self, worker: Worker, left: deque[int], tries: dict[int, int]) -> Outcome | None:
        """What came of a worker's cell; None where it died and the cell is tried once more."""
        cell = worker.cell
        assert cell is not None, "it was asked"
        try:
            return worker.answer()
        except (EOFError, OSError):
            died = worker.died()
            self._workers.remove(worker)
            worker.close()
            tries[cell] -= 1
            if tries[cell]:
                left.appendleft(cell)
                return None
            return Outcome(cell, cause=f"its worker died {TRIES} times: {died}")

    def _too_late(self, worker: Worker) -> Outcome:
        assert worker.cell is not None, "it was asked"
        self._workers.remove(worker)
        worker.close()
        return Outcome(
            worker.cell,
            cause=f"it took longer than {self._job.limit_s:g} s, and was ended",
            hint="`limit_seconds` of the study says how long a cell may take; with `--again` it is run once more",
        )


def _next(worker: Worker, left: deque[int], job: Job) -> None:
    """Have a worker that has nothing to do run the next cell, if there is one."""
    if left and worker.cell is None:
        # Where it has died since, that is seen as it is waited for.
        with suppress(OSError):
            worker.ask(left.popleft(), job.limit_s)
