"""A run through faults that are drawn from a seed: in virtual time, and in real time with workers killed and stopped.

    python tests/bench/faults.py [--frames N] [--cut N] [--seconds N] [--seed N] [--only NAME]

A tenth of so many frames submitted in virtual time, then so many by sources that are fed (`tests/faults.py` has the
kinds of faults), then so many seconds of real time (`tests/live_faults.py`). Every frame ends once; none is late or
fails but while a fault lasts and a second after it; what is none of a fault's business goes on in time; and from its
second tenth to its last a run of 100,000 frames takes 2 % more memory at most.

Before that `--cut` frames on a device and a server over two radios, whose links fall and flap, and whose server dies,
or is slow or silent (`tests/cut_runs.py`): none may fail or be late, and the ledger is held to the plain one.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parent.parent))

from cut_runs import CutRun
from faults import KINDS, Judge, Run
from live_faults import KINDS as LIVE_KINDS
from live_faults import LiveRun

MEASURED_FRAMES = 100_000
"""Of fewer, what has once been needed is still growing."""
MOST_GROWTH = 0.02


def told(judge: Judge, frames: int, how: str) -> None:
    """What came of a run; ends the program where that is not as it should be."""
    print(f"{frames} frames {how}: " + ", ".join(f"{count} {what}" for what, count in sorted(judge.outcomes.items())))
    for name, times in sorted(judge.begun.items()):
        print(f"  {name}: {times} times, in time again after {judge.recovered_us.get(name, 0) / 1e6:g} s at most")
    if judge.problems:
        print(*judge.problems[:20], sep="\n")
        sys.exit(f"{len(judge.problems)} problems")


def main() -> None:
    """Both runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=MEASURED_FRAMES)
    parser.add_argument("--cut", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[kind.name for kind in (*KINDS, *LIVE_KINDS)], help="one kind of fault")
    asked = parser.parse_args()
    only = [asked.only] if asked.only else []
    if asked.cut and not only:
        cut = CutRun(asked.seed, asked.cut)
        print(f"{asked.cut} frames through {cut.faults} faults of links and servers: {dict(cut.outcomes)}")
        print(f"  {cut.lost} transfers lost, {cut.again} runs given up, {cut.placed_there} frames computed there")
        if cut.problems:
            print(*cut.problems[:20], sep="\n")
            sys.exit(f"{len(cut.problems)} problems")
    if asked.frames and (not only or any(kind.name in only for kind in KINDS)):
        submitted = Run(asked.seed, only, feeds=False)
        submitted.go(asked.frames // 10)
        told(submitted.judge, submitted.frames, "submitted, in virtual time")
        began_s = time.monotonic()
        run = Run(asked.seed, only)
        run.go(asked.frames)
        tenth = max(1, len(run.resident_bytes) // 10)
        second, last = mean(run.resident_bytes[tenth : 2 * tenth]), mean(run.resident_bytes[-tenth:])
        growth = last / second - 1
        print(f"  resident memory: {second / 1e6:.1f} MB in the second tenth, {last / 1e6:.1f} MB in the last")
        told(run.judge, run.frames, f"fed, in virtual time, {time.monotonic() - began_s:.0f} s of real time")
        if asked.frames >= MEASURED_FRAMES and growth > MOST_GROWTH:
            sys.exit(f"resident memory has grown by {growth:.1%}")
    if asked.seconds and (not only or any(kind.name in only for kind in LIVE_KINDS)):
        live = LiveRun(asked.seed, only)
        live.go(asked.seconds)
        print(f"  a process without a spare one took {live.longest_start_us / 1e6:g} s to start, at most")
        print(f"  {live.judge.excused} frames were late with the machine itself, or while it took 0.1 s for that")
        told(live.judge, live.frames, f"in {asked.seconds:g} s of real time")


if __name__ == "__main__":
    main()
