"""What the runtime itself costs: a stage, the first start, importing, starting, idling, memory; and a thread pool.

    python tests/bench/dispatch.py [--launches N] [--imports N] [--frames N] [--idle-s S] [CHECKOUT ...]

A frame is a chain of 20 stages that do nothing, on the one lane of one processor, through `Runtime.submit` and `drain`
in real time: back to back, so that cores stay awake, and 20 ms apart. Every launch is a process of its own that
measures all of it in turns; with several CHECKOUTs (compiled in place) those are launched in turn, too, so that what
else the machine does meanwhile slows all of them. Importing is timed within a new process, the first answer from before
that is started; both find what is compiled of every module.

The peers are Python's own thread pool of one thread, with the same 20 calls handed over all at once, and each when the
one before has ended; a thread that waits for a lock and is let go on, which is the least that any hand-over takes; and
about as many functions as `submit` calls, each called once and very small, which is what Python alone takes for that.
Beside them the executor alone, which is given the plan of every frame: nothing is asked, looked up, checked or copied.
That is the least that preparing frames beforehand could come to.

Printed is a table a checkout, with what is aimed at, and how many times as long frames apart take as the peers do under
the same condition. Exits with 1 where a median of the last one is above what is aimed at. Of frames apart it is known
to be: there it is so where one is more than `AT_MOST` times its peer's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

HERE = Path(__file__).resolve().parents[2]
STAGES = 20
PERIOD_US = 1_000
APART_S = 0.02
WARM = 200
TURNS = 5
CALLS = 100
"""About as many functions of Python as `submit` calls up to the first start."""

STAGE, START = "a stage, from submit to drained", "from submit to the first start"
TOGETHER, APART = "back to back", "20 ms apart"
RATIO, FIRST_ANSWER, IDLE = (
    "importing `Runtime`, to that",
    "start of the process to the first answer, ms",
    "idle, ms in 10 s",
)

GOALS = {f"{STAGE}, {TOGETHER}, us": 18, f"{START}, {TOGETHER}, us": 100, f"{STAGE}, {APART}, us": 18}
GOALS |= {f"{START}, {APART}, us": 100, RATIO: 2, FIRST_ANSWER: 400, IDLE: 2}
ALONE, POOL = "the executor alone", "thread pool"
PEERS = {
    f"{STAGE}, {APART}, us": (f"{ALONE}, {STAGE}, {APART}, us", f"{POOL}, a call, all at once, {APART}, us"),
    f"{START}, {APART}, us": (f"{ALONE}, {START}, {APART}, us", f"{POOL}, {START}, one by one, {APART}, us"),
}
"""Of what is known to miss its goal: the least that is possible here, and the peer under the same condition."""
AT_MOST = {f"{STAGE}, {APART}, us": 6, f"{START}, {APART}, us": 8}
"""How many times as long as that peer takes."""
IMPORTS = {"numpy and pydantic": "import numpy, pydantic", "`Runtime`": "import leo_runtime; leo_runtime.Runtime"}

FIRST = """
import numpy as np
from leo_runtime import Runtime, Workload, shipped
workload = Workload.from_file("docs/examples/listening.toml")
with Runtime.live(workload, shipped.hardware("arm-board"), shipped.profile("arm-board")) as runtime:
    names = [graph.name for graph in workload.graphs]
    kinds = {"audio": np.int16}
    windows = {s.stage: np.zeros(s.shape, kinds.get(s.kind, np.float32)) for s in runtime.sources(names)}
    for _ in range(10):  # Where others use the machine, the first plan may come after the deadline.
        runtime.submit(runtime.now_us, windows, graphs=names)
        (frame,) = runtime.drain()
        if not frame.skipped:
            break
    assert [graph.outcome for graph in frame.graphs] == ["cancelled", "cancelled", "done"]
    said()
"""
"""A daemon's first answer: three pipelines of built-in operators on the CPU, of which gates cancel two."""


class Empty:
    """A backend whose stages do nothing. It notes when one starts."""

    name = "empty"

    def __init__(self) -> None:
        self.started: list[float] = []

    def supports(self, _stage: Any, _variant: str, /) -> bool:
        """All."""
        return True

    def load(self, stage: Any, _variant: str, /) -> Callable[[Sequence[Any]], Any]:
        """A kernel whose output is always the same array; that of the source notes the time."""
        import numpy as np

        output, started = np.zeros(stage.output_shape, np.float32), self.started

        def first(_inputs: Sequence[Any]) -> Any:
            started.append(time.perf_counter())
            return output

        return first if stage.operator.is_source else lambda _inputs: output

    def close(self) -> None:
        """Nothing to do."""


def runtime(backend: Empty, stages: int = STAGES) -> Any:
    """A chain of so many stages on a machine with one processor."""
    from leo_runtime import GraphBuilder, Hardware, Processor, Profile, Runtime, Stream, Workload

    builder = GraphBuilder("chain", period_us=PERIOD_US, deadline_us=1_000_000)
    last = builder.stage("s0", "window", stream="mic", samples=16)
    for at in range(1, stages):
        last = builder.stage(f"s{at}", "fuse", last)
    workload = Workload(
        format="leo-workload/1",
        name="empty",
        streams=(Stream(name="mic", kind="other", rate_hz=16_000),),
        graphs=(builder.build(),),
    )
    hardware = Hardware(
        format="leo-hardware/1", name="one", processors=(Processor(name="cpu", backend="empty", active_mw=10),)
    )
    cost = {"processor": "cpu", "fixed_us": 10, "source": "modelled"}
    profile = Profile.from_dict({"format": "leo-profile/1", "name": "empty", "hardware": "one", "costs": [cost]})
    return Runtime.live(workload, hardware, profile, backends={"cpu": backend})


Samples = dict[str, list[float]]
"""Of each measure, what was found."""


def through_runtime(frames: int, found: Samples) -> Callable[[float], None]:
    """Frames through a runtime, so far apart: microseconds a stage, and from `submit` to the first start."""
    import numpy as np

    backend = Empty()
    live = runtime(backend)
    windows = {"s0": np.zeros(16, np.float32)}
    live.submit(0, windows)
    live.drain()

    def turn(apart_s: float) -> None:
        for at in range(-(WARM if not apart_s else 5), frames if not apart_s else frames // 10):
            if apart_s:
                time.sleep(apart_s)
            backend.started.clear()
            # Its release has come, and is on the grid, so that its question was answered before.
            release_us = live.now_us // PERIOD_US * PERIOD_US
            began = time.perf_counter()
            live.submit(release_us, windows)
            (frame,) = live.drain()
            ended = time.perf_counter()
            assert frame.graphs[0].outcome == "done"
            if at >= 0:
                how = APART if apart_s else TOGETHER
                found.setdefault(f"{STAGE}, {how}, us", []).append((ended - began) / STAGES * 1e6)
                found.setdefault(f"{START}, {how}, us", []).append((backend.started[0] - began) * 1e6)

    return turn


def through_executor(frames: int, found: Samples) -> Callable[[float], None]:
    """The same frames through the executor alone: its plan is known, and nothing else is needed."""
    import numpy as np

    from leo_runtime.dispatch.dispatcher import Dispatcher
    from leo_runtime.dispatch.driver import Computed
    from leo_runtime.dispatch.events import FrameAdmitted, RunStage
    from leo_runtime.dispatch.executor import Executor

    with runtime(Empty()) as live:
        first = live.submit(0, {"s0": np.zeros(16, np.float32)})
        live.drain()
        (plan,) = [event.plan for _, event in live.history(first) if isinstance(event, FrameAdmitted)]
    started: list[float] = []
    nothing = Computed()

    def compute(run: RunStage) -> Computed:
        if run.stage == "s0":
            started.append(time.perf_counter())
        return nothing

    executor = Executor(Dispatcher({"cpu": 1}), {"cpu": 1}, compute)
    number = 0

    def turn(apart_s: float) -> None:
        nonlocal number
        for at in range(-(WARM if not apart_s else 5), frames if not apart_s else frames // 10):
            if apart_s:
                time.sleep(apart_s)
            started.clear()
            began = time.perf_counter()
            now_us = executor.clock.now_us()
            executor.post(FrameAdmitted(now_us, number, now_us, plan))
            executor.drain()
            ended = time.perf_counter()
            executor.finished()
            number += 1
            if at >= 0:
                how = APART if apart_s else TOGETHER
                found.setdefault(f"{ALONE}, {STAGE}, {how}, us", []).append((ended - began) / STAGES * 1e6)
                found.setdefault(f"{ALONE}, {START}, {how}, us", []).append((started[0] - began) * 1e6)

    return turn


def through_pool(frames: int, found: Samples) -> Callable[[float], None]:
    """The same calls through a thread pool: all handed over at once, and each when the one before has ended."""
    pool = ThreadPoolExecutor(1)
    started: list[float] = []

    def nothing() -> None:
        started.append(time.perf_counter())

    def at_once() -> None:
        for call in [pool.submit(nothing) for _ in range(STAGES)]:
            call.result()

    def one_by_one() -> None:
        for _ in range(STAGES):
            pool.submit(nothing).result()

    def by_callback() -> None:
        over = Event()
        left = STAGES

        def following(_ended: Future[None]) -> None:
            nonlocal left
            left -= 1
            if left:
                pool.submit(nothing).add_done_callback(following)
            else:
                over.set()

        pool.submit(nothing).add_done_callback(following)
        over.wait()

    ways = {"all at once": at_once, "one by one": one_by_one, "each by the one before": by_callback}

    def turn(apart_s: float) -> None:
        for name, run in ways.items():
            for at in range(-(WARM if not apart_s else 5), frames if not apart_s else frames // 10):
                if apart_s:
                    time.sleep(apart_s)
                started.clear()
                began = time.perf_counter()
                run()
                ended = time.perf_counter()
                if at >= 0:
                    how = APART if apart_s else TOGETHER
                    found.setdefault(f"{POOL}, a call, {name}, {how}, us", []).append((ended - began) / STAGES * 1e6)
                    if name != "each by the one before":
                        found.setdefault(f"{POOL}, {START}, {name}, {how}, us", []).append((started[0] - began) * 1e6)

    return turn


def through_python(frames: int, found: Samples) -> Callable[[float], None]:
    """What Python and the machine take by themselves: to let a waiting thread go on, and to call functions."""
    asked, gone_on = Lock(), Lock()
    asked.acquire()
    gone_on.acquire()
    started = 0.0

    def work() -> None:
        nonlocal started
        while True:
            asked.acquire()
            started = time.perf_counter()
            gone_on.release()

    Thread(target=work, daemon=True).start()
    functions = [function(number) for number in range(CALLS)]

    def turn(apart_s: float) -> None:
        how = APART if apart_s else TOGETHER
        for at in range(-(WARM if not apart_s else 5), frames if not apart_s else frames // 10):
            if apart_s:
                time.sleep(apart_s)
            began = time.perf_counter()
            asked.release()
            gone_on.acquire()
            if at >= 0:
                found.setdefault(f"a thread that waits for a lock, to its start, {how}, us", []).append(
                    (started - began) * 1e6
                )
            if apart_s:
                time.sleep(apart_s)
            began = time.perf_counter()
            for call in functions:
                call(at)
            if at >= 0:
                found.setdefault(f"{CALLS} small functions, each called once, {how}, us", []).append(
                    (time.perf_counter() - began) * 1e6
                )

    return turn


def function(number: int) -> Callable[[int], object]:
    """One of many functions: of each Python has the code, names and constants in other places."""
    code = f"""
def called(at):
    known = kept.get(at, {number})
    if known is None or at < -10_000:
        raise ValueError(at)
    kept[0] = (known, at)
    return len(kept) + number
"""
    made: dict[str, Any] = {"kept": {}, "number": number}
    exec(code, made)
    called: Callable[[int], object] = made["called"]
    return called


def measure(frames: int) -> Samples:
    """All that is measured within one process, in turns."""
    found: Samples = {}
    each = frames // TURNS
    ways = (through_runtime, through_executor, through_pool, through_python)
    turns = [way(each, found) for way in ways]
    for _ in range(TURNS):
        for apart_s in (0.0, APART_S):
            for turn in turns:
                turn(apart_s)
    return found


def idle(seconds: float) -> Samples:
    """What a runtime that has nothing to do takes of the CPU, in ms in ten seconds, and its memory, in MB."""
    found = {"resident, Python with what this bench imports, MB": [resident_mb()]}
    import numpy as np
    import pydantic  # noqa: F401

    found["resident, numpy and pydantic imported, MB"] = [resident_mb()]
    live = runtime(Empty())
    found["resident, a runtime made, MB"] = [resident_mb()]
    windows = {"s0": np.zeros(16, np.float32)}
    for _ in range(1_000):
        live.submit(live.now_us // PERIOD_US * PERIOD_US, windows)
        live.drain()
    found["resident, after 1,000 frames, MB"] = [resident_mb()]
    time.sleep(0.5)  # Until what was begun in the background is over.
    before = time.process_time()
    time.sleep(seconds)
    found[IDLE] = [(time.process_time() - before) * 1e3 * 10 / seconds]
    return found


def resident_mb() -> float:
    """The memory that this process has now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def launched(folder: Path, caches: str, *arguments: str) -> str:
    """What a process of a checkout prints. All processes find what is compiled of every module."""
    python = folder / ".venv" / "bin" / "python"
    paths = os.pathsep.join(str(path) for path in (folder, folder / "backends"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [str(python) if python.exists() else sys.executable, *arguments],
        env=environment | {"PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": caches},
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def first_answer_s(folder: Path, caches: str) -> float:
    """From starting the process to its first answer."""
    said = "import time\ndef said(): print(time.clock_gettime(time.CLOCK_MONOTONIC))\n"
    began = time.clock_gettime(time.CLOCK_MONOTONIC)
    return float(launched(folder, caches, "-c", said + FIRST)) - began


def imports_ms(folder: Path, caches: str, what: str) -> float:
    """What importing takes in a new process, in ms."""
    code = f"import time\nbegan = time.perf_counter()\n{what}\nprint((time.perf_counter() - began) * 1e3)"
    return float(launched(folder, caches, "-c", code))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path, nargs="*", default=[HERE])
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--imports", type=int, default=15, help="how often it is imported, and started")
    parser.add_argument("--frames", type=int, default=1_500, help="of each launch, back to back; a tenth apart")
    parser.add_argument("--idle-s", type=float, default=10.0)
    chosen = parser.parse_args()
    checkouts = [folder.resolve() for folder in chosen.checkouts]
    found: list[Samples] = [{} for _ in checkouts]

    def add(into: Samples, name: str, *values: float) -> None:
        into.setdefault(name, []).extend(values)

    with tempfile.TemporaryDirectory() as caches:
        for at in range(-1, chosen.imports):
            for folder, into in zip(checkouts, found, strict=True):
                took = {name: imports_ms(folder, caches, what) for name, what in IMPORTS.items()}
                first_s = first_answer_s(folder, caches)
                if at >= 0:  # The first time modules are compiled.
                    for name, ms in took.items():
                        add(into, f"importing {name}, ms", ms)
                    add(into, RATIO, took["`Runtime`"] / took["numpy and pydantic"])
                    add(into, FIRST_ANSWER, first_s * 1e3)
        for _ in range(chosen.launches):
            for folder, into in zip(checkouts, found, strict=True):
                said = launched(folder, caches, __file__, "--measure", str(chosen.frames))
                for name, values in json.loads(said).items():
                    add(into, name, *values)
        for folder, into in zip(checkouts, found, strict=True):
            for name, values in json.loads(launched(folder, caches, __file__, "--idle", str(chosen.idle_s))).items():
                add(into, name, *values)
    for folder, into in zip(checkouts, found, strict=True):
        print(f"{folder}\n\n| measured | least | median | p95 | goal |\n| --- | --- | --- | --- | --- |")
        for name, values in into.items():
            print(f"| {name} | {' | '.join(shown(values))} | {GOALS.get(name, '-')} |")
        print()
    medians = {name: statistics.median(values) for name, values in found[-1].items()}
    for name, peers in PEERS.items():
        times = [f"{medians[name] / medians[peer]:.1f} times `{peer}`" for peer in peers]
        print(f"{name}: {' and '.join(times)} (medians)")
    missed = [name for name, goal in GOALS.items() if medians[name] > goal]
    known = [name for name in missed if name in PEERS and medians[name] <= AT_MOST[name] * medians[PEERS[name][1]]]
    print(f"missed: {'; '.join(missed) or 'none'}; of these as is known: {'; '.join(known) or 'none'}")
    return 1 if len(known) < len(missed) else 0


def shown(values: Sequence[float]) -> tuple[str, str, str]:
    """Least, median, and what one in twenty exceeds."""
    p95 = sorted(values)[len(values) * 95 // 100]
    return f"{min(values):.3g}", f"{statistics.median(values):.3g}", f"{p95:.3g}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    elif sys.argv[1:2] == ["--idle"]:
        print(json.dumps(idle(float(sys.argv[2]))))
    else:
        sys.exit(main())
