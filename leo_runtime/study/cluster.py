"""The cells of a study on a Dask cluster (extra `study`): one at a time in each thread of its workers.

Each thread has a process of its own that runs them, as on one machine, so that a cell that dies or takes too long ends
no worker of the cluster, and is told in the same words. Workers have to find the study's files at the same paths, and
the same leo-runtime.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from leo_runtime.errors import InputError, LeoError, MissingExtraError
from leo_runtime.study.document import Study
from leo_runtime.study.outcome import Outcome
from leo_runtime.study.workers import Crew, Job, python
from leo_runtime.version import VERSION

CONNECT_S = 20
AHEAD = 2
"""How many cells wait at each thread of a worker, so that none waits for the scheduler."""


def run_on_cluster(scheduler: str, job: Job, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
    """Run cells on the cluster of that scheduler, such as `tcp://host:8786`; outcomes come as they end.

    Raises `MissingExtraError`, and `InputError` where nothing answers there.
    """
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise MissingExtraError("a study on a Dask cluster", "study") from None
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler answers at `{scheduler}` ({error})", hint="`dask scheduler` prints its address"
        ) from None
    try:
        yield from _outcomes(distributed, client, job, numbers)
    finally:
        client.close()


def _outcomes(distributed: Any, client: Any, job: Job, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
    text, folder = job.study.to_json(), str(job.folder)
    logs = None if job.logs is None else str(job.logs)
    left = deque(numbers)
    cells: dict[str, int] = {}
    # What processes there have read for an earlier run may have been changed since.
    run = uuid4().hex

    def submit() -> Any:
        number = left.popleft()
        # Not `pure`: what this cluster may remember of an earlier run is not asked for.
        future = client.submit(run_there, text, folder, logs, number, VERSION, run, pure=False)
        cells[future.key] = number
        return future

    threads = max(1, sum(client.nthreads().values()))
    running = distributed.as_completed([submit() for _ in range(min(len(left), AHEAD * threads))])
    for future in running:
        number = cells.pop(future.key)
        if future.status == "finished":
            yield Outcome.from_json(future.result())
        else:
            yield Outcome(number, cause=f"the cluster has no answer ({future.exception()!r})")
        if left:
            running.add(submit())


class _Here(threading.local):
    """The process that a thread of a worker of the cluster runs cells with, and what it was started for."""

    job: tuple[str, Job] | None = None
    crew: Crew | None = None


_here = _Here()


def run_there(study: str, folder: str, logs: str | None, number: int, version: str, run: str) -> str:
    """On a worker of the cluster: run a cell of that run of the study. Returns its outcome as text."""
    if version != VERSION:
        return Outcome(number, cause=f"leo-runtime is {VERSION} there, and {version} here").to_json()
    executable = python()
    if executable is None:
        return Outcome(number, cause="the worker of the cluster is no Python that can be started again").to_json()
    job = Job(Study.from_json(study), Path(folder), None if logs is None else Path(logs))
    if _here.crew is None or _here.job != (run, job):
        if _here.crew is not None:
            _here.crew.close()
        _here.job, _here.crew = (run, job), Crew(job, 1, executable)
    try:
        (found,) = _here.crew.run([number])
    except LeoError as error:
        return Outcome(number, cause=str(error), hint=error.hint).to_json()
    return found.to_json()
