"""The published speeds of a Snapdragon 800 beside those that placement gives by the shipped profile. Run by hand.

    python tests/bench/mobisys.py

The profile is calibrated with these very figures: that they agree is arithmetic, and no result.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from leo_runtime.report.tables import table
from published import CPU_MS, PHONE, TABLE, as_published, placed, speedup, speedups

COLUMNS = ("GMM full pipeline", "GMM model only", "DNN full pipeline", "DNN model only")


def main() -> None:
    sys.stdout.write(table(("row", *COLUMNS), [(row, *cells(row)) for row in TABLE]))
    print("\nplaced [published] deviation; times as fast as one CPU thread, negative: as slow\n")
    print(tuned_network())


def cells(row: str) -> list[str]:
    found, paper = ([speed for model in CPU_MS for speed in of(model, row)] for of in (speedups, as_published))
    return [
        f"{ours:+.1f}x [{theirs:+.1f}x] {round(100 * (ours / theirs - 1), 1) + 0.0:+.1f}%"
        for ours, theirs in zip(found, paper, strict=True)
    ]


def tuned_network() -> str:
    """Where the time of the DNN on the tuned GPU goes: its two speeds leave a rest that is no stage's."""
    found = placed("dense", "a-GPU")
    full_ms, _ = CPU_MS["dense"]
    moved_us = found.full_us - found.features_us - found.model_us
    (link,) = (link for link in PHONE.links if (link.source, link.target) == ("cpu", "gpu"))
    paper, _ = as_published("dense", "a-GPU")
    apart = speedup(full_ms, found.features_us + found.model_us)
    return (
        f"DNN on a-GPU: features of {found.features_us / 1000:.1f} ms and a model of {found.model_us / 1000:.1f} ms "
        f"alone would give {apart:.1f}x.\n"
        f"Published are {paper}x, that is {full_ms / paper:.1f} ms. Placement adds {moved_us / 1000:.1f} ms, the "
        f"phone's link from CPU to GPU,\nwhose {link.latency_us / 1000:.1f} ms were taken from this cell."
    )


if __name__ == "__main__":
    main()
