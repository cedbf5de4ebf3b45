"""The daemon in asyncio: sources, answers, counters and SIGHUP are tasks of one event loop."""

import asyncio
import json
import signal
from collections import defaultdict
from pathlib import Path

from daemon import FILE, MACHINE, METRICS

from leo_runtime import LeoError, Runtime, Stream, Workload, shipped


async def main(file: Path = FILE, lasts_s: float = 80.0, every_s: float = 1.0) -> None:
    """Feed so much of both sources."""
    counts, hung_up = defaultdict[str, int](int), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)

    async def report() -> None:
        async for result in runtime.answers():
            for one in result.graphs:
                counts[f'leo_answers{{graph="{one.graph}",outcome="{one.outcome}"}}'] += 1
                print(json.dumps({"us": one.release_us, "graph": one.graph, "outcome": one.outcome}))

    async def count() -> None:
        while True:
            await asyncio.sleep(every_s)
            METRICS.write_text("".join(f"{name} {number}\n" for name, number in counts.items()))

    async def read_again() -> None:
        while await hung_up.wait():
            hung_up.clear()
            try:
                await asyncio.to_thread(lambda: runtime.change(Workload.from_file(file)))
            except LeoError as error:  # What runs goes on.
                print(json.dumps({"refused": str(error)}))

    async def play(stream: Stream) -> None:
        samples, some = shipped.recording("demo").samples[stream.name], int(stream.rate_hz) // 10
        for first in range(0, int(lasts_s * stream.rate_hz), some):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(runtime.feed, stream.name, samples[first : first + some])

    with Runtime.live(Workload.from_file(file), *MACHINE) as runtime:
        tasks = [asyncio.create_task(task()) for task in (report, count, read_again)]
        await asyncio.gather(*map(play, runtime.merged.workload.streams))
        await asyncio.to_thread(runtime.drain)
    await tasks[0]  # It ends as the runtime is closed.


if __name__ == "__main__":
    asyncio.run(main())
