"""How well does a profile foretell stages of a length that nobody has measured?

    python tests/bench/foretell.py [--times 1.5]

Calibrates the demo on this machine, and then asks for its stages on so many times their sound and motion. Each is run
there in turns with the length that was calibrated, and how many times as long it takes, by the least of each, is
compared with what the profile says: so what else the machine does falls out, unless it never lets go. Stages below
50 us are left out, since the clock counts microseconds. Exits with 1 where the median error on the CPU or on OpenCL is
above 5 %. Takes two minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np

from leo_runtime import shipped
from leo_runtime.backend.machine import open_backends
from leo_runtime.clock import WallClock
from leo_runtime.documents.changes import changed_unmeasured
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import LeoError
from leo_runtime.frame.lower import merge
from leo_runtime.measure.calibrate import calibrate, stage_inputs
from leo_runtime.measure.measure import Effort, in_turns, load
from leo_runtime.operators.outputs import as_value

EFFORT = Effort(neighbours=False, lanes=False)
ASKED = Effort(most_us=600_000)
LEAST_US, WITHIN = 50, 0.05
JUDGED = ("cpu", "gpu")


@dataclass(frozen=True, slots=True)
class Told:
    """A stage at the other length: how many times as long as at its own, as the profile says, and really."""

    processor: str
    stage: str
    own_us: int
    foretold: float
    found: float

    @property
    def error(self) -> float:
        return self.foretold / self.found - 1


def asked(own: Workload, other: Workload, hardware: Hardware, profile: Profile) -> Iterator[Told]:
    """All stages that are of another length there."""
    recording, clock = shipped.recording("demo"), WallClock()
    merged = merge(own), merge(other)
    values: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    with open_backends(hardware, None) as machine:
        for both in zip(*(one.stages for one in merged), strict=True):
            inputs = [stage_inputs(both[k], merged[k], values[k], recording) for k in (0, 1)]
            bounds = [stage.bound for stage in both]
            for processor, backend in machine.backends.items():
                if not all(backend.supports(bound, "default") for bound in bounds):
                    continue
                try:
                    loaded = [load(bounds[k], "default", processor, backend, inputs[k], clock)[0] for k in (0, 1)]
                except LeoError as error:
                    print(f"{bounds[0].name} on {processor} is left out: {error}")
                    continue
                costs = [profile.cost(bound, "default", processor) for bound in bounds]
                own_cost, other_cost = costs
                if own_cost is not None and other_cost is not None and bounds[0].input_shapes != bounds[1].input_shapes:
                    own_us = own_cost.duration_us(bounds[0].work("default"))
                    other_us = other_cost.duration_us(bounds[1].work("default"))
                    if own_us >= LEAST_US:
                        found = in_turns(loaded[0], loaded[1], ASKED, clock)
                        yield Told(processor, bounds[0].name, own_us, other_us / own_us, found)
                for k in (0, 1):
                    values[k].setdefault(both[k].name, as_value(loaded[k].kernel(inputs[k])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=1.5)
    given = parser.parse_args()
    hardware, own = shipped.hardware("host"), shipped.workload()
    other, _ = changed_unmeasured(own, hardware, [f"graphs.*.stages.*.params.samples*={given.times}"])
    calibrated = calibrate(own, hardware, shipped.recording("demo"), effort=EFFORT)
    for what, error in calibrated.missing:
        print(f"not measured: {what}: {error}")
    found: dict[str, list[Told]] = {}
    print(f"{'processor':10}{'stage':18}{'own us':>9}{'foretold':>10}{'found':>8}{'error':>9}")
    for told in asked(own, other, hardware, calibrated.profile):
        found.setdefault(told.processor, []).append(told)
        print(
            f"{told.processor:10}{told.stage:18}{told.own_us:9}{told.foretold:9.3f}x{told.found:7.3f}x{told.error:+9.1%}"
        )
    print()
    wrong = False
    for processor, of in found.items():
        middle, worst = median(abs(one.error) for one in of), max(of, key=lambda one: abs(one.error))
        wrong |= processor in JUDGED and middle > WITHIN
        print(f"{processor}: {len(of)} stages, median {middle:.1%}, worst {worst.error:+.1%} ({worst.stage})")
    for processor in JUDGED:
        if processor not in found:
            print(f"{processor}: nothing is here to run it")
    return int(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
