"""How long a release waits for its plan, compiled and interpreted: the first one, later ones that are new, the proofs.

    python tests/bench/first_plan.py [--turns N] [--seconds S]

The workloads are the demo on its modelled phone, and the daemon's example on `arm-board`, each released for S seconds
of virtual time; nothing is computed, and gates open as often as the workload says. Questions hurry as in real time.
Each is measured twice: with the exact solver waited for, as if there were nothing else, and as it runs, where a
heuristic answers at once what would come too late, and the exact answer is found before the next release. Every run is
a process of its own; compiled and interpreted take turns. Printed is a table with the median of the turns, and the
least and greatest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import tomllib
from typing import Any

WORKLOADS = {"demo": "snapdragon-800", "example": "arm-board"}
FORMS = ("compiled", "interpreted")


def interpret() -> None:
    """From now on import the sources of leo-runtime, also where they are compiled as well."""
    from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader

    def sources(path: str) -> FileFinder:
        if "leo_runtime" not in path:
            raise ImportError(path)
        return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))

    sys.path_hooks.insert(0, sources)
    sys.path_importer_cache.clear()


def measured(name: str, waits: bool, seconds: int) -> dict[str, Any]:
    """How long each release waited, in ms: the first one, those that were new, and those that found an answer."""
    from leo_runtime import Runtime, shipped
    from leo_runtime.daemon.templates import example
    from leo_runtime.runtime.windows import WindowPlanner

    workload = shipped.workload()
    if name == "example":
        named = tomllib.loads(example())["graphs"]
        workload = workload.model_copy(update={"graphs": tuple(g for g in workload.graphs if g.name in named)})
    waited: dict[str, list[float]] = {"new": [], "known": [], "proofs": []}
    answered = WindowPlanner._new

    def new(planner: WindowPlanner, *asked: Any) -> Any:
        began = time.perf_counter()
        plan = answered(planner, *asked)
        waited["new"].append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
        planner._proofs.wait()
        waited["proofs"].append((time.perf_counter() - began) * 1e3)
        return plan

    WindowPlanner._new = new  # type: ignore[method-assign, assignment]  # Timed.
    if waits:
        WindowPlanner._would_be_late = lambda *_: False  # type: ignore[method-assign]  # As before any was late.
        WindowPlanner._think_on = lambda *_: None  # type: ignore[method-assign]  # Nothing beside.
    hardware, profile = shipped.hardware(WORKLOADS[name]), shipped.profile(WORKLOADS[name])
    with Runtime.simulated(workload, hardware, profile, compute=False) as runtime:
        horizon = runtime._now.horizon
        assert horizon is not None
        horizon._windows._hurries = True
        for at_us in sorted({at for graph in workload.graphs for at in graph.releases_us(seconds * 1_000_000 - 1)}):
            runtime.submit(at_us, {})
        runtime.drain()
        planning = runtime.planning
    return {
        "first": waited["new"][0],
        "later": statistics.median(waited["new"][1:]),
        "longest": max(waited["new"][1:]),
        "proof": max(waited["proofs"]),
        "releases": planning.asked + planning.looked_up,
        "new": planning.asked,
        "at_once": planning.at_once,
    }


def launched(form: str, name: str, waits: bool, seconds: int) -> dict[str, Any]:
    """What a process of its own measured."""
    command = [sys.executable, __file__, "--run", form, name, str(int(waits)), "--seconds", str(seconds)]
    said: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return said


def main() -> int:
    """Measure in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--run", nargs=3, metavar=("FORM", "NAME", "WAITS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        form, name, waits = options.run
        if form == "interpreted":
            interpret()
        print(json.dumps(measured(name, waits == "1", options.seconds)))
        return 0
    shown = ("first", "later", "longest", "proof")
    print(f"{'ms':42}" + "".join(f"{what:>22}" for what in shown) + "   new of releases, at once")
    for name in WORKLOADS:
        for waits in (True, False):
            runs: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
            for _ in range(options.turns):
                for form in FORMS:
                    runs[form].append(launched(form, name, waits, options.seconds))
            for form, found in runs.items():
                row = f"{name}, {form}, {'the exact one waited for' if waits else 'as it runs'}"
                cells = [sorted(one[what] for one in found) for what in shown]
                spread = [f"{statistics.median(each):.1f} ({each[0]:.1f}-{each[-1]:.1f})" for each in cells]
                counts = ", ".join(sorted({f"{one['new']} of {one['releases']}, {one['at_once']}" for one in found}))
                print(f"{row:42}" + "".join(f"{cell:>22}" for cell in spread) + f"   {counts}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
