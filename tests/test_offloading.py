"""A workload split between this machine and a server, a real process that is killed in the middle."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.runtime.results import FrameResult
from leo_runtime.runtime.runtime import Runtime
from servers import PATIENCE_S, free_port, serving_process, until, write_workload

SILENT, HELD = 0.0, 77.0
WINDOWS = [np.linspace(-loud, loud, 100, dtype=np.float32) for loud in (0.1, 0.9, 0.3, 0.6, 0.2)]
"""Of which some are loud."""


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return Workload.from_file(write_workload(tmp_path / "split"))


def machine(url: str = "") -> Hardware:
    cloud = {"name": "cloud", "backend": "remote", "remote": True, "options": {"url": url, "timeout_s": PATIENCE_S}}
    pairs = (("cpu", "cloud"), ("cloud", "cpu"))
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "split",
            "processors": [{"name": "cpu", "backend": "cpu", "active_mw": 1_000}, *([cloud] if url else [])],
            "links": [{"source": source, "target": target} for source, target in pairs if url],
        }
    )


def profile(machine: Hardware) -> Profile:
    """The server is ten times as fast."""
    source = "modelled: a test"
    costs = [
        {"processor": one.name, "fixed_us": 100 if one.remote else 1_000, "source": source, "variant": variant}
        for one in machine.processors
        for variant in ("default", "twice", "thrice")
    ]
    return Profile.from_dict({"format": "leo-profile/1", "name": "split", "hardware": "split", "costs": costs})


def run(runtime: Runtime, windows: Sequence[np.ndarray]) -> list[FrameResult]:
    """Frames, one after the other."""
    found: list[FrameResult] = []
    for window in windows:
        runtime.submit(runtime.now_us, {"signal": window}, graphs=["loud"])
        found += runtime.drain(PATIENCE_S)
    return found


def answers(results: Sequence[FrameResult]) -> list[tuple[str, str | None, bytes]]:
    return [
        (graph.outcome, graph.label, graph.outputs["level"].tobytes()) for result in results for graph in result.graphs
    ]


def ran_on(results: Sequence[FrameResult], stage: str = "level") -> list[list[str]]:
    """Where a stage ran, attempt by attempt."""
    return [[one.resource for one in result.stages if one.stage == stage] for result in results]


def test_decisions_are_the_local_ones_and_outlive_the_server(workload: Workload, tmp_path: Path) -> None:
    here = machine()
    with Runtime.live(workload, here, profile(here)) as runtime:
        local = answers(run(runtime, WINDOWS))
    assert {label for _, label, _ in local} == {None, "loud"}

    path, address, pipe = str(tmp_path / "split" / "workload.toml"), f"127.0.0.1:{free_port()}", tmp_path / "pipe"
    os.mkfifo(pipe)
    with serving_process(path, "--bind", address, LEO_TEST_HOLDS=str(pipe)) as (process, url):
        split = machine(url)
        runtime = Runtime.live(workload, split, profile(split))
        try:
            away = run(runtime, WINDOWS)
            assert answers(away) == local
            assert ran_on(away) == ran_on(away, "louder") == [["cloud"]] * len(WINDOWS)

            held = np.full(100, HELD / 2, np.float32)
            runtime.submit(runtime.now_us, {"signal": held}, graphs=["loud"])
            opened = opened_when_read(pipe)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)
            os.close(opened)
            (caught,) = runtime.drain(PATIENCE_S)
            assert ran_on([caught]) == [["cloud", "cpu"]], "it is placed anew"
            assert [graph.outcome for graph in caught.graphs] == ["done"]
            assert ran_on([caught], "louder") == [["cloud", "cpu"]], "what it gave has stayed there"
            failed = [one for one in caught.stages if one.outcome == "failed"]
            assert [(one.stage, one.resource) for one in failed] == [("louder", "cloud"), ("level", "cloud")]
            for one in failed:
                assert f"processor `cloud` was lost (the server {url} cannot be reached, or hung up" in one.error
            assert runtime.lost == ("cloud",)

            alone = run(runtime, WINDOWS)
            assert answers(alone) == local and ran_on(alone) == [["cpu"]] * len(WINDOWS)

            with serving_process(path, "--bind", address):
                until(lambda: not runtime.lost)
                again = run(runtime, WINDOWS)
                assert answers(again) == local and ran_on(again) == [["cloud"]] * len(WINDOWS)
            now = runtime.processors()
            (cloud,) = (one for one in now if one.processor == "cloud")
            assert cloud.probes >= 1 and url in cloud.last_reason
            assert runtime.skipped == 0 and runtime.results_dropped == 0
        finally:
            runtime.close()


def opened_when_read(pipe: Path) -> int:
    """The writing end of a pipe, once somebody reads it."""
    opened: list[int] = []

    def is_open() -> bool:
        try:
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # Nobody reads yet.
            return False
        return True

    until(is_open)
    return opened[0]
