"""A daemon: two sources in threads feed three pipelines in real time; a line of JSON for each answer.

SIGHUP reads workload and operators again, and daemon.prom has counters. The recording stands for microphone and watch.
"""

import json
import signal
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from leo_runtime import FrameResult, LeoError, Runtime, Stream, Workload, shipped

FILE, METRICS = Path(__file__).with_name("listening.toml"), Path("daemon.prom")
MACHINE = shipped.hardware("arm-board"), shipped.profile("arm-board")  # `leo-runtime calibrate` writes your own's.


def main(file: Path = FILE, lasts_s: float = 80.0, every_s: float = 1.0) -> None:
    """Feed so much of both sources; every so often look whether to read again, and write what was counted."""
    counts, hung_up = defaultdict[str, int](int), list[int]()
    signal.signal(signal.SIGHUP, lambda number, _: hung_up.append(number))

    def report(result: FrameResult) -> None:
        for one in result.graphs:
            counts[f'leo_answers{{graph="{one.graph}",outcome="{one.outcome}"}}'] += 1
            print(json.dumps({"us": one.release_us, "graph": one.graph, "outcome": one.outcome, "late": one.missed}))

    def play(stream: Stream) -> None:
        samples, some = shipped.recording("demo").samples[stream.name], int(stream.rate_hz) // 10
        for first in range(0, int(lasts_s * stream.rate_hz), some):
            time.sleep(0.1)
            runtime.feed(stream.name, samples[first : first + some])

    with ThreadPoolExecutor() as pool, Runtime.live(Workload.from_file(file), *MACHINE) as runtime:
        runtime.subscribe(report)
        sources = [pool.submit(play, stream) for stream in runtime.merged.workload.streams]
        while not all(source.done() for source in sources):
            time.sleep(every_s)
            if hung_up and hung_up.pop():
                try:
                    runtime.change(Workload.from_file(file))
                except LeoError as error:  # What runs goes on.
                    print(json.dumps({"refused": str(error)}))
            fed = {f'leo_samples{{stream="{one.stream}"}}': one.fed for one in runtime.streams()}
            METRICS.write_text("".join(f"{name} {number}\n" for name, number in (counts | fed).items()))
        runtime.drain()


if __name__ == "__main__":
    main()
