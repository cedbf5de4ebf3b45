"""How far runs are from the best that somebody could have done who knew all of them beforehand.

    python tests/bench/regret.py [NAME ...]

Of each run (`runs.py`; those of these names) every way of placing is a line: fixed policies, one frame at a time,
windows of 1, 2 and 4 releases, and of the usual number of stages. It says what the run was charged, how many answers
were late, how far that is from the least bill of any plan found with everything known (`leo_runtime.replay.regret`) or
played in time, and what planning took: how many questions were asked, and how long the whole run took to play. Below
are the least bill, and the largest part of the run with its proved bound.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from run_cases import Case, Played, play
from runs import FIXED, LIMIT_NODES, WINDOW_STAGES, all_cases

from leo_runtime.errors import LeoError
from leo_runtime.replay.regret import Regret, best_plan, regret
from leo_runtime.report.tables import table
from leo_runtime.runtime.runtime import Runtime

RELEASES = (1, 2, 4)


def ways(case: Case) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every way of placing by its name, with the options of `Runtime.simulated`."""
    for policy in FIXED:
        yield policy, {"solver": policy, "window_stages": 0}
    yield "one frame at a time", {"window_stages": 0}
    most = max(1, sum(len(graph.stages) for graph in case.workload.graphs))
    for releases in RELEASES:
        stages = 1 if releases == 1 else releases * most
        yield f"windows of {releases}", {"window_stages": stages, "limit_nodes": LIMIT_NODES}
    yield f"windows of {WINDOW_STAGES} stages", {"window_stages": WINDOW_STAGES, "limit_nodes": LIMIT_NODES}


def told(case: Case) -> list[Regret]:
    """Print what there is to say of a run. Returns the regret of each way of placing."""
    runs: list[tuple[str, Played]] = []
    for name, options in ways(case):
        try:
            runs.append((name, play(case, **options)))
        except LeoError as error:
            print(f"{case.name}, {name}: {error}")
    with Runtime.simulated(case.workload, case.hardware, case.profile, **case.options) as runtime:
        machine = (runtime.merged, runtime.modes, case.hardware)
    whole = min((played for _, played in runs), key=lambda played: played.failed)
    known = {"end_us": case.length_us, "profile": case.profile}
    best = best_plan(whole.frames, *machine, **known)
    found = [regret(played.frames, *machine, **known, best=best) for _, played in runs]
    # What was played is a plan, too.
    least_nj = min([best.nj, *(one.nj for one in found if one.tardiness_us <= best.tardiness_us)])
    found = [replace(one, best=replace(best, nj=least_nj)) for one in found]
    rows = [
        (
            name,
            f"{one.nj / 1e6:,.1f}",
            f"{played.late + played.failed} of {played.answers}",
            f"{one.percent:+.1f} %",
            f"{played.planning.asked}",
            f"{played.seconds:.1f} s",
        )
        for (name, played), one in zip(runs, found, strict=True)
    ]
    print(f"{case.name}\n{table(('placed by', 'mJ', 'late', 'regret', 'questions', 'played in'), rows)}")
    print(
        f"the least bill: {least_nj / 1e6:,.1f} mJ; found with everything known: {best.nj / 1e6:,.1f} mJ, late by "
        f"{best.tardiness_us} us in all, in {best.solve_us / 1e6:.2f} s for {best.asked} of {best.parts} parts\n"
        f"its largest part, of {best.part_stages} stages: {best.part_nj / 1e6:,.3f} mJ, "
        f"at least {best.part_bound_nj / 1e6:,.3f} mJ by proof\n",
        flush=True,
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    wanted = parser.parse_args().names
    last: dict[str, float] = {}
    with all_cases(wanted) as cases:
        for case in cases:
            if found := told(case):
                last[case.name] = found[-1].percent
    if last:
        worst = max(last, key=lambda name: last[name])
        print(
            f"with windows of {WINDOW_STAGES} stages, over {len(last)} runs: regret "
            f"{statistics.median(last.values()):+.1f} % in the median, {last[worst]:+.1f} % at most ({worst})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
