"""Fuzzes formats in batches, each in a process of its own: what crashes there is told, and the rest goes on."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec

BATCH = 100


def run(formats: Iterable[tuple[str, Sequence[str]]], batch: Callable[[str, int, int], None], most_s: int) -> int:
    """The main program of a bench `FILES SEED`: damages so many files of each format, and prints what became of them.

    `formats` are names with the packages that reading them needs. `batch` is given a name, a count and a seed, prints
    `outcome=count; ...` at last, and may take `most_s`. Returns 1 where one file was neither read nor refused.
    """
    if len(sys.argv) > 3 and sys.argv[1] == "--batch":
        batch(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return 0
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    failed = False
    for name, packages in formats:
        if missing := [package for package in packages if find_spec(package) is None]:
            print(f"{name}: left out, {', '.join(missing)} is not installed")
            continue
        total: Counter[str] = Counter()
        for first in range(0, files, BATCH):
            count = min(BATCH, files - first)
            command = [sys.executable, sys.argv[0], "--batch", name, str(count), str(seed * 1_000_003 + first)]
            environment = {**os.environ, "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
            ended = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=most_s, env=environment, check=False
            )
            if ended.returncode:
                failed = True
                print(f"{name}: exit {ended.returncode} of {' '.join(command[1:])}\n{ended.stderr[-2000:]}")
                continue
            for part in ended.stdout.strip().splitlines()[-1].split("; "):
                what, number = part.split("=")
                total[what] += int(number)
        print(f"{name}: {', '.join(f'{number} {what}' for what, number in sorted(total.items()))}", flush=True)
    return int(failed)
