"""The threads of matrix products belong to the process: several backends limit them together."""

import itertools
import sys
import threading
from collections.abc import Iterator

import pytest

from leo_backends import blas
from leo_backends.cpu import CpuBackend
from leo_runtime.documents.hardware import Processor

BEFORE = 2


class Limits:
    """A `threadpoolctl` that counts: what the process's one setting is."""

    threads = BEFORE

    def threadpool_limits(self, limits: int, user_api: str) -> "Limits.Limit":
        assert user_api == "blas"
        return Limits.Limit(self, limits)

    class Limit:
        def __init__(self, of: "Limits", threads: int) -> None:
            self.of, self.before = of, of.threads
            of.threads = threads

        def restore_original_limits(self) -> None:
            self.of.threads = self.before


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limits]:
    found = Limits()
    monkeypatch.setattr(blas, "_threadpoolctl", lambda: found)
    monkeypatch.setattr("leo_backends.cpu.ONE_THREAD", blas.OneThread())
    yield found
    assert found.threads == BEFORE


def cpu() -> CpuBackend:
    return CpuBackend(Processor(name="cpu", backend="cpu"))


@pytest.mark.parametrize("order", tuple(itertools.permutations(range(3))))
def test_backends_may_close_in_any_order_and_twice(limits: Limits, order: tuple[int, ...]) -> None:
    backends = [cpu() for _ in order]
    for number in order:
        assert limits.threads == 1
        backends[number].close()
        backends[number].close()


def test_a_forgotten_backend_lets_go(limits: Limits) -> None:
    kept, forgotten = cpu(), cpu()
    del forgotten
    assert limits.threads == 1
    del kept
    assert limits.threads == BEFORE


def test_backends_may_be_opened_and_closed_in_any_thread(limits: Limits) -> None:
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(300):
            backend = cpu()
            if limits.threads != 1:
                wrong.append(limits.threads)
            backend.close()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_the_process_gets_its_own_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_backends.cpu.ONE_THREAD", blas.OneThread())  # Others may hold the process's.
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="the extra `demo` is not installed")

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, "blas"):
        before = threads()
        first, second = cpu(), cpu()
        first.close()
        assert threads() <= {1}
        second.close()
        assert threads() == before
