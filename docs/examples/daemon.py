"""A daemon in miniature: two sources, each in a thread, feed three pipelines in real time on the machine at hand.

`python docs/examples/daemon.py`, four seconds: a line of JSON for each answer, at the end one for each source. The
recording stands for a microphone and a watch: feed what your devices give, as it comes.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Thread

from leo_runtime import FrameResult, Runtime, Workload, shipped

WORKLOAD = Workload.from_file(Path(__file__).with_name("listening.toml"))
# Of your own machine they are what `leo-runtime calibrate` writes.
MACHINE = shipped.hardware("arm-board"), shipped.profile("arm-board")


def listen(lasts_s: float = 4.0, sleep: Callable[[float], None] = time.sleep) -> None:
    """Feed so much of both sources, and print every answer when it is there."""
    with Runtime.live(WORKLOAD, *MACHINE) as runtime:
        sources = [Thread(target=play, args=(runtime, one.name, lasts_s, sleep)) for one in WORKLOAD.streams]
        for source in sources:
            source.start()
        while any(source.is_alive() for source in sources):
            sleep(0.05)
            report(runtime.results())
        report(runtime.drain())
        for stream in runtime.streams():
            print(json.dumps(asdict(stream)))


def play(runtime: Runtime, stream: str, lasts_s: float, sleep: Callable[[float], None]) -> None:
    """A device that gives a tenth of a second of its samples at a time."""
    recording = shipped.recording("demo")
    rate_hz, samples = int(recording.stream(stream).rate_hz), recording.samples[stream]
    for first in range(5 * rate_hz, int((5 + lasts_s) * rate_hz), rate_hz // 10):
        sleep(0.1)
        runtime.feed(stream, samples[first : first + rate_hz // 10])


def report(results: tuple[FrameResult, ...]) -> None:
    """Print what each graph found."""
    for one in (graph for result in results for graph in result.graphs):
        found = {"at_us": one.release_us, "graph": one.graph, "outcome": one.outcome, "late": one.missed}
        print(json.dumps({**found, "gap_us": one.gap_us, "outputs": [*one.outputs]}))


if __name__ == "__main__":
    listen()
