"""What whole runs cost, placed in windows, against fixed policies and against each frame as if it were alone.

    python tests/bench/runs.py [--window N ...] [--only NAME ...]

Runs are those of `run_cases`: speech over LTE, four graphs on a GPU that is dear to wake, an XR headset without and
with a voice request, a cow's collar, the example of docs/documents.md, the demo, and the demo with half of its sound
silenced. All are in virtual time. Exits with 1 where windows are late, cost more than a run may, cost more than 1 %
above the cheapest fixed policy that answers all and no later than they do (the collar does: docs/performance.md), or
find other labels.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from run_cases import Case, Played, computed_once, cost_cases, demo, half_silent, knocks, play

from leo_runtime.runtime.options import WINDOW_STAGES

FIXED = ("cpu-only", "dsp-first", "gpu-first", "single", "greedy")
LIMIT_NODES = 20_000
"""As `leo-runtime replay` limits the exact solver."""
MOST_ABOVE = 1.01


@contextmanager
def all_cases(only: list[str]) -> Iterator[Iterator[Case]]:
    """Every run, or those of these names."""

    def cases() -> Iterator[Case]:
        wanted = [case for case in cost_cases() if not only or case.name in only]
        yield from wanted
        with knocks() as examples:
            for case in examples:
                if not only or case.name in only:
                    with computed_once(case) as once:
                        yield once
        for make in (demo, half_silent):
            case = make()
            if not only or case.name in only:
                with computed_once(case) as once:
                    yield once

    yield cases()


def shown(case: Case, how: str, played: Played) -> str:
    """A line of the table."""
    plans = played.planning
    asked = f"{plans.asked} asked ({plans.unproved} unproved), {plans.looked_up} looked up" if plans.asked else ""
    wakes = sum(len(frame.wakes) for frame in played.frames)
    return (
        f"{case.name:20s} {how:12s} {played.mj(case):12.2f} mJ {played.late:5d} late {played.failed:5d} failed "
        f"{wakes:5d} wake-ups {played.seconds:6.1f} s  {asked}"
    )


def wrong(case: Case, windows: Played, fixed: Mapping[str, Played], alone: Played) -> list[str]:
    """What is not as it should be."""
    found = []
    mj = windows.mj(case)
    if windows.failed or (windows.late and windows.late > alone.late):
        found.append(f"{windows.late} late, {windows.failed} failed")
    if case.most_mj is not None and mj > case.most_mj:
        found.append(f"{mj:.2f} mJ, at most {case.most_mj:g}")
    fair = {name: one.mj(case) for name, one in fixed.items() if not one.failed and one.late <= windows.late}
    if fair and mj > MOST_ABOVE * min(fair.values()):
        best = min(fair, key=lambda name: fair[name])
        found.append(f"{mj:.2f} mJ, {best} {fair[best]:.2f}")
    if windows.labels != alone.labels:
        found.append("other labels than frame by frame")
    return found


def main() -> int:
    """Play all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", type=int, nargs="*", default=[WINDOW_STAGES], metavar="N")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    asked = parser.parse_args()
    broken: list[str] = []
    headset: dict[str, float] = {}
    with all_cases(asked.only) as cases:
        for case in cases:
            fixed = {name: play(case, solver=name, window_stages=0) for name in FIXED}
            alone = play(case, limit_nodes=LIMIT_NODES, window_stages=0)
            for name, one in (*fixed.items(), ("frames", alone)):
                print(shown(case, name, one), flush=True)
            for stages in asked.window:
                windows = play(case, limit_nodes=LIMIT_NODES, window_stages=stages)
                print(shown(case, f"windows {stages}", windows), flush=True)
                broken += [f"{case.name}, windows of {stages}: {what}" for what in wrong(case, windows, fixed, alone)]
                if case.name.startswith("headset"):
                    headset[f"{case.name} {stages}"] = windows.mj(case)
    for stages in asked.window:
        without, request = (headset.get(f"{name} {stages}") for name in ("headset", "headset one request"))
        if without is not None and request is not None and request < without:
            broken.append(f"headset, windows of {stages}: {without:.1f} mJ, with one request more {request:.1f}")
    print("\n".join(broken) or "all as it should be")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
