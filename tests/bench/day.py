"""What a day of sensing costs to replay in virtual time, by part.

    python tests/bench/day.py [--frames N] [--by submit|replay|log] [--gates N] [--noise PPM] [--no-parts]

Eight pipelines of three stages, released together every second of a day (86,400 frames), on three processors and a
cloud over a radio whose rate changes every minute, so that some 1,500 questions are new and each is solved. Stages
only cost: nothing is computed. `submit` goes through `Runtime.submit`, `results` and `drain`; `replay` through
`leo_runtime.replay.replay`; `log` writes the log as well.

Prints process time by stage, frames by second of it, resident memory by tenths of the run, and the share of each part,
as sampled every millisecond of process time (`--no-parts`: not sampled, which costs some percent). Exits 1 where it
took longer than `--most-s`, more memory than `--most-mb`, or the last tenth more than `--most-growth` percent above the
second.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random
from time import process_time
from types import FrameType

import numpy as np

from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.records import FrameResult
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.replay import FrameSink, Replay, Span, replay
from leo_runtime.runtime.runtime import Runtime

DAY = 86_400
PIPELINES = 8
SMALL = 6
"""So many have small models, which no cloud has."""
SECOND_US = 1_000_000
TENTHS = 10
SAMPLED_S = 0.001

PARTS: Mapping[str, tuple[str, ...]] = {
    "dispatch": (
        "dispatch/dispatcher.py",
        "dispatch/inflight.py",
        "dispatch/power.py",
        "dispatch/waits.py",
        "dispatch/left.py",
        "dispatch/records.py",
    ),
    "simulate": ("dispatch/simulator.py", "clock.py"),
    "plans": ("dispatch/plan.py", "dispatch/window_plan.py"),
    "results": ("runtime/results.py", "runtime/answers.py", "runtime/drift.py", "frame/records.py"),
    "solving": ("solver/",),
    "ledger": ("frame/ledger.py", "frame/running_ledger.py", "frame/entries.py", "frame/standby.py"),
    "summary": tuple(f"replay/{name}.py" for name in ("summary", "busiest", "failures", "latencies", "truths")),
    "log": ("replay/log", "appending.py", "report/"),
    "asking": ("runtime/", "frame/", "documents/"),
    "replay": ("replay/",),
    "bench": ("bench/",),
}
"""The files of each part, by what their paths hold; the first that fits."""


def workload(gates: int) -> Workload:
    """Eight pipelines: a sensor is read, features are made, a model says what they are; `gates` of them by a gate."""
    graphs = []
    for at in range(PIPELINES):
        builder = GraphBuilder(f"g{at}", period_us=SECOND_US, deadline_us=SECOND_US * (2 + at % 3) // 4)
        builder.stage(f"sense{at}", "cost", output_bytes=8_000, chance_ppm=250_000 if at < gates else None)
        read, gate = (f"sense{at}",), f"sense{at}" if at < gates else None
        builder.stage(f"features{at}", "cost", *read, gate=gate, output_bytes=2_000 + 100 * at)
        builder.stage(f"model{at}", "cost", f"features{at}", output_bytes=8)
        graphs.append(builder.build())
    return Workload(format="leo-workload/1", name="day", graphs=tuple(graphs))


def hardware() -> Hardware:
    """Three processors of a phone, and a cloud over a radio."""
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "phone",
            "processors": [
                {"name": "dsp", "backend": "none", "lanes": 3, "active_mw": 40, "awake_mw": 8},
                {
                    "name": "cpu",
                    "backend": "none",
                    "lanes": 4,
                    "active_mw": 1_468,
                    "awake_mw": 66,
                    "asleep_mw": 12,
                    "wake_latency_us": 30_000,
                    "wake_energy_nj": 2_270_000,
                    "idle_timeout_us": 100_000,
                },
                {
                    "name": "gpu",
                    "backend": "none",
                    "active_mw": 4_844,
                    "awake_mw": 150,
                    "wake_latency_us": 490,
                    "wake_energy_nj": 2_373_560,
                    "idle_timeout_us": 80_000,
                },
                {"name": "cloud", "backend": "none", "remote": True, "lanes": 8},
            ],
            "radios": [{"name": "wifi", "awake_mw": 250, "wake_latency_us": 2_000, "tail_us": 60_000, "tail_mw": 120}],
            "links": [
                {"source": source, "target": target, "latency_us": us, "energy_nj": nj, **more}
                for source, target, us, nj, more in (
                    ("dsp", "cpu", 200, 13_200, {"bytes_per_s": 500_000_000}),
                    ("cpu", "dsp", 200, 13_200, {"bytes_per_s": 500_000_000}),
                    ("cpu", "gpu", 3_000, 198_000, {}),
                    ("gpu", "cpu", 500, 33_000, {}),
                    ("dsp", "cloud", 20_000, 0, {"bytes_per_s": 1_000_000, "radio": "wifi"}),
                    ("cpu", "cloud", 20_000, 0, {"bytes_per_s": 1_000_000, "radio": "wifi"}),
                )
            ],
        }
    )


def profile() -> Profile:
    """Sensors are the DSP's; features are made there or on the CPU; models run anywhere, large ones in the cloud."""
    costs = []
    times: dict[str, dict[str, int]]
    for at in range(PIPELINES):
        times = {
            f"sense{at}": {"dsp": 500},
            f"features{at}": {"dsp": 9_000 + 700 * at, "cpu": 2_500 + 200 * at},
            f"model{at}": {
                "dsp": 40_000 + 10_000 * at if at < SMALL else 300_000,
                "cpu": 12_000 + 7_000 * at,
                "gpu": 1_500 + 400 * at,
                **({} if at < SMALL else {"cloud": 3_000}),
            },
        }
        for stage, modes in times.items():
            costs += [
                {"stage": stage, "processor": where, "fixed_us": us, "source": "modelled"}
                | ({"power_mw": 0} if where == "cloud" else {})
                for where, us in modes.items()
            ]
    return Profile.from_dict({"format": "leo-profile/1", "name": "phone", "hardware": "phone", "costs": costs})


def recording(frames: int) -> Recording:
    """So many seconds of one motion stream, and what the radio could do in each minute."""
    rng = Random(0)
    links = tuple(
        LinkSample(
            time_us=at_us,
            source=source,
            target="cloud",
            latency_us=rng.randrange(5_000, 60_000),
            bytes_per_s=rng.randrange(100_000, 4_000_000),
        )
        for at_us in range(0, frames * SECOND_US, 60 * SECOND_US)
        for source in ("dsp", "cpu")
    )
    stream = RecordedStream(name="motion", kind="motion", file="motion.csv", rate_hz=1, channels=1)
    manifest = RecordingManifest(format="leo-recording/1", name="day", streams=(stream,), links=links)
    return Recording(manifest, {"motion": np.zeros((frames + 1, 1), np.float32)})


class Tenths:
    """Takes the resident memory at each tenth of a run."""

    def __init__(self, frames: int) -> None:
        self.mb: list[float] = []
        self._each = max(1, frames // TENTHS)
        self._frames = 0

    def note(self) -> None:
        """A frame has ended."""
        self._frames += 1
        if self._frames % self._each == 0:
            self.mb.append(resident_mb())

    # As a sink of a replay.

    def begin(self, _begun: Replay, /) -> None:
        """Nothing is to be done."""

    def frame(self, _ended: FrameResult, _settled_us: int, /) -> None:
        """Take note of it."""
        self.note()

    def energy(self, _entries: Sequence[object], _settled_us: int, /) -> None:
        """Nothing is to be done."""

    def end(self, _ended: Replay, /) -> None:
        """Nothing is to be done."""


def resident_mb() -> float:
    """What this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def submitted(runtime: Runtime, day: Recording, frames: int, tenths: Tenths) -> None:
    """Submit every frame as a daemon would, and take the results as they come."""
    changes = iter(day.manifest.links)
    change = next(changes, None)
    now: dict[tuple[str, str], tuple[int, int | None]] = {}
    for at_us in range(SECOND_US, (frames + 1) * SECOND_US, SECOND_US):
        while change is not None and change.time_us <= at_us:
            now[change.source, change.target] = change.latency_us, change.bytes_per_s
            change = next(changes, None)
        runtime.submit(at_us, {}, links=now)
        for _ in runtime.results():
            tenths.note()
    for _ in runtime.drain():
        tenths.note()


@contextmanager
def sampled(counts: Counter[str]) -> Iterator[None]:
    """Count in which part the process is, every `SAMPLED_S` of its time."""
    known: dict[str, str] = {}

    def part_of(file: str) -> str:
        found = [part for part, holds in PARTS.items() if any(text in file for text in holds)]
        return found[0] if found else ""

    def sample(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            file = frame.f_code.co_filename
            part = known.get(file)
            if part is None:
                part = known[file] = part_of(file)
            if part:
                counts[part] += 1
                return
            frame = frame.f_back
        counts["other"] += 1

    before = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SAMPLED_S, SAMPLED_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def main() -> int:
    """Replay it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=DAY)
    parser.add_argument("--by", choices=("submit", "replay", "log"), default="submit")
    parser.add_argument("--gates", type=int, default=0, help="pipelines that a gate may end")
    parser.add_argument("--noise", type=int, default=0, metavar="PPM")
    parser.add_argument("--no-parts", action="store_true")
    parser.add_argument("--most-s", type=float, default=40.0, help="of a whole day")
    parser.add_argument("--most-mb", type=float, default=300.0)
    parser.add_argument("--most-growth", type=float, default=2.0, metavar="PERCENT")
    asked = parser.parse_args()
    day, tenths, counts = recording(asked.frames), Tenths(asked.frames), Counter[str]()
    runtime = Runtime.simulated(
        workload(asked.gates), hardware(), profile(), compute=False, noise=asked.noise or None, limit_nodes=20_000
    )
    watched = nullcontext() if asked.no_parts else sampled(counts)
    with tempfile.TemporaryDirectory() as name, runtime, watched:
        began_s = process_time()
        if asked.by == "submit":
            submitted(runtime, day, asked.frames, tenths)
        else:
            sinks: list[FrameSink] = [tenths, *([LogWriter(Path(name) / "log.jsonl")] if asked.by == "log" else [])]
            replay(runtime, day, Span(0, asked.frames * SECOND_US + 1), policy="exact", time="virtual", sinks=sinks)
        took_s = process_time() - began_s
        planning = runtime.planning
    stages = asked.frames * PIPELINES * 3
    growth = 100 * (tenths.mb[-1] / tenths.mb[1] - 1)
    print(f"{asked.frames} frames by {asked.by}: {took_s:.1f} s, {1e6 * took_s / stages:.2f} us a stage, ", end="")
    print(f"{asked.frames / took_s:.0f} frames/s; a day: {took_s * DAY / asked.frames:.1f} s")
    print(f"{planning}")
    print(f"resident by tenths, MB: {' '.join(f'{mb:.1f}' for mb in tenths.mb)} ({growth:+.1f} %)")
    for part, count in counts.most_common():
        share = count / counts.total()
        print(f"  {part:10s} {100 * share:5.1f} %  {1e6 * took_s * share / stages:6.2f} us a stage")
    slow = took_s * DAY / asked.frames > asked.most_s
    return int(slow or max(tenths.mb) > asked.most_mb or growth > asked.most_growth)


if __name__ == "__main__":
    sys.exit(main())
