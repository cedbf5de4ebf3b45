"""Statistics of network traces: those of a folder, lines of `seconds Mbit/s` in *.txt, beside the made-up ones.

    python tests/bench/traces.py FOLDER [SEEDS]

Each as what holds at every tenth of a second: the mean, the coefficient of variation, the autocorrelation at 1 s and at
10 s, and the share of time at 0 ("down") and below a tenth of the mean ("low"). Of the made-up ones the mean over so
many seeds (20) of 300 s each, and the least and greatest; of those of the folder the same over files by the part of
their name before the first `_`.
"""

import sys
from collections import defaultdict
from itertools import takewhile
from pathlib import Path

import numpy as np

from leo_runtime.recordings.links import LinkFile, read_links
from leo_runtime.recordings.made_up import MODELS, made_up

LASTS_US, STEP_US = 300_000_000, 100_000
COLUMNS = ("mean Mbit/s", "variation", "at 1 s", "at 10 s", "down %", "low %")


def on_a_grid(changes: list[tuple[int, int | None]], lasts_us: int) -> np.ndarray:
    """Mbit/s at every step, (steps,)."""
    times, rates = np.array([at for at, _ in changes]), np.array([(rate or 0) * 8e-6 for _, rate in changes])
    return rates[np.searchsorted(times, np.arange(0, lasts_us, STEP_US), "right") - 1]


def statistics(rates: np.ndarray) -> tuple[float, ...]:
    """As `COLUMNS` says, of Mbit/s at every step."""
    mean, off = rates.mean(), rates - rates.mean()
    lags = (float(off[:-lag] @ off[lag:] / (off @ off)) for lag in (1_000_000 // STEP_US, 10_000_000 // STEP_US))
    return (
        float(mean),
        float(rates.std() / mean),
        *lags,
        100 * float((rates == 0).mean()),
        100 * float((rates < mean / 10).mean()),
    )


def of_file(path: Path) -> tuple[float, ...]:
    """Of a trace in a file, from its first line to its last."""
    lines = [float(line.split()[0]) for line in path.read_text().splitlines() if line.strip()]
    link = LinkFile.model_validate(
        {"file": path.name, "format": "rates", "source": "a", "target": "b", "latency_us": 0}
    )
    lasts_us = round(lines[-1] * 1e6)
    found = read_links(path, link, lasts_us)
    return statistics(on_a_grid([(one.time_us, one.bytes_per_s) for one in found.samples], lasts_us))


def of_made_up(name: str) -> tuple[float, ...]:
    """Of a trace by its name."""
    return statistics(on_a_grid(list(takewhile(lambda one: one[0] < LASTS_US, made_up(name))), LASTS_US))


def main(folder: Path, seeds: int) -> None:
    """Print a table."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for name in MODELS:
        found[f"{name} (made up)"] = [of_made_up(f"{name}:{seed}") for seed in range(seeds)]
    for path in sorted(folder.glob("*.txt")):
        found[path.stem.partition("_")[0]].append(of_file(path))
    print(f"| traces | of them | {' | '.join(COLUMNS)} |")
    print("| --- " * (len(COLUMNS) + 2) + "|")
    for name, rows in found.items():
        cells = [
            f"{np.mean(column):.3g} ({min(column):.2g} to {max(column):.2g})" for column in zip(*rows, strict=True)
        ]
        print(f"| {name} | {len(rows)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
