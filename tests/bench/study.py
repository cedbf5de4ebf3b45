"""How long a sweep of 360 runs takes: a headset of 2023, 60 s each, with 10 % noise. Run by hand.

    python tests/bench/study.py [--jobs N] [--cells N] [--window N] [--most-s S]

Two solvers, four deadlines, three bandwidths, three speeds of an accelerator, five repetitions; 5,399 frames of some
21,000 stages a cell. Releases are placed as if they were alone (`--window 0`), and no regret is measured; `--window 30`
is what is usual with `exact`. `--cells` runs every so many-th cell alone, and says what all would take at that rate.

Prints wall time, process time of all workers, and both a cell. Exits 1 where it took longer than `--most-s`.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from leo_runtime.progress import ProgressBar
from leo_runtime.study import running
from leo_runtime.study.document import Study
from leo_runtime.study.store import Store

FOLDER = Path(__file__).parent / "studies"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, help="processes (default: one a core)")
    parser.add_argument("--cells", type=int, default=0, help="how many (default: all)")
    parser.add_argument("--window", type=int, default=0, help="stages of a window (default: 0)")
    parser.add_argument("--most-s", type=float, default=90.0)
    asked = parser.parse_args()
    study = Study.from_file(FOLDER / "xr.study.toml")
    study = study.model_copy(update={"base": study.base.model_copy(update={"window": asked.window})})
    began_s = perf_counter()
    planned = running.plan(study, FOLDER)
    planned_s = perf_counter() - began_s
    run_cells = running.runner(asked.jobs)
    every = max(1, study.count // asked.cells) if asked.cells else 1
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "rows.sqlite") as store:
        with ProgressBar("cells") as bar:
            running.run(planned, store, lambda job, numbers: run_cells(job, numbers[::every]), progress=bar)
        took_s = perf_counter() - began_s
        done = running.status(planned, store).done
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = used.ru_utime + used.ru_stime
    print(f"{done} of {study.count} cells, window {asked.window}: {took_s:.1f} s, of which planning {planned_s:.1f} s")
    print(f"process time of workers: {used_s:.1f} s, {1000 * used_s / done:.0f} ms a cell")
    if done < study.count:
        print(f"at that rate all of them: {took_s * study.count / done:.0f} s")
    return int(took_s * study.count / done > asked.most_s)


if __name__ == "__main__":
    sys.exit(main())
