"""Where four real pipelines are cut between a phone and a server, and what fewer bits are worth, over network traces.

    python tests/bench/cuts.py [FOLDER] [--slower 25] [--frames 12] [--only speech]

First the pieces are measured (`tests/cut_pipelines.py`): sizes, times on one core of this machine in that core's own
time, and what is lost where an output is sent in fewer bits, by the task of each pipeline on the recordings that ship.
The server is this machine; the phone is modelled, so many times slower, with the CPU and the radios of `nexus-5`.

Then Neurosurgeon's sweep over the bandwidth, and a frame every ten seconds over traces: those of a folder, lines of
`seconds Mbit/s` in *.txt, else made-up ones, the same both ways, with 25 ms there and back. Five ways: all on the
device; all in the cloud; the best cut of what is sent as it is; the best bits of what is sent to the cloud; and cut
and bits together, the last two within a loss of 1 % (`--loss-ppm`). Each is to be soonest, and to take the phone's
least. All plan with what the link does as the frame begins, which may change while it sends; `estimated` is cut and
bits together where plans know what earlier frames' transfers have shown.

Exits 1 where speech does not go from the device by way of a cut to the server, where a cut is later than device or
cloud, a plan of cut and bits together is later than one of the others for the same frame, or another way comes to less
than 99 % of what both do in the median over all traces.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from statistics import median

# One core: times are that core's own.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))

from cut_pipelines import MESH, SOUNDS, Pipeline, Wanted, machine, measured, profile_of, workload_of
from leo_runtime import Placement, Problem, Runtime, solve
from leo_runtime.documents.problem import Criterion
from leo_runtime.recordings.links import LinkFile, LinkSample, read_links
from leo_runtime.recordings.made_up import made_up
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.identity import Span
from leo_runtime.replay.network import NetworkKnown, network_of
from leo_runtime.replay.replay import replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.report.layout import table

SERVER = "cloud-wifi"
RATES_MBIT = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
MADE_UP = tuple(f"{kind}:{seed}" for kind in ("lte-like", "outages", "wifi-like") for seed in range(3))
LEAST_PART = 0.99
"""Of what cut and bits together come to, that another way comes to in the median: what runs add to plans is little."""
WINDOW_STAGES = 30
"""Of windows, which know what a radio draws after it has sent; frame by frame nobody does."""
OBJECTIVES: dict[str, tuple[Criterion, ...]] = {"time": ("makespan", "energy"), "energy": ("energy", "makespan")}
Rate = tuple[int, int | None]
"""From when on a link sends so many bytes a second; None: it is down."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the network does."""

    name: str
    rates: tuple[Rate, ...]

    @property
    def group(self) -> str:
        """Traces of one origin."""
        return self.name.replace(":", "_").split("_")[0]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a pipeline came to, frame by frame."""

    latency_us: tuple[int, ...]
    planned: tuple[tuple[int, ...], ...]
    """What each plan promised in what is minimised."""
    there: tuple[int, ...]
    """How many stages ran on the server."""
    energy_nj: int
    """Of the phone, without its sleep; of all frames."""


def cloud_alone(problem: Problem) -> Placement:
    """All on the server that can run there; as there is no way to it, on the device."""
    reached = any(link.target == SERVER for link in problem.links)
    stages = []
    for stage in problem.stages:
        there = tuple(mode for mode in stage.modes if mode.resource == SERVER)
        stages.append(stage.model_copy(update={"modes": there or stage.modes} if reached else {}))
    return solve(problem.model_copy(update={"stages": tuple(stages)}))


WAYS: dict[str, tuple[str | Callable[[Problem], Placement], bool]] = {
    "device": ("cpu-only", False),
    "cloud": (cloud_alone, False),
    "cut": ("exact", False),
    "bits": (cloud_alone, True),
    "both": ("exact", True),
    "estimated": ("exact", True),
}
"""Who places, and whether what is sent may have fewer bits."""
OTHERS = tuple(way for way in WAYS if way != "both")
NETWORK_KNOWN: dict[str, NetworkKnown] = {"estimated": "estimated"}
"""What plans know of links, where that is not what these do as a frame begins."""


def ran(pipeline: Pipeline, way: str, aim: str, trace: Trace, wanted: Wanted, frames: int) -> Ran:
    """A pipeline over a trace."""
    solver, bits = WAYS[way]
    asked = replace(wanted, bits=bits)
    hardware = machine(SERVER)
    workload = workload_of([pipeline], asked).model_copy(update={"objective": OBJECTIVES[aim]})
    lasts_us = (frames + 1) * asked.period_us - 1
    recording = Recording.of_nothing(trace.name, lasts_us)
    samples = tuple(
        LinkSample(time_us=at_us, source=link.source, target=link.target, latency_us=link.latency_us, bytes_per_s=rate)
        for link in hardware.links
        for at_us, rate in trace.rates
    )
    recording = Recording(recording.manifest.model_copy(update={"links": samples}), recording.samples)
    kept = KeptFrames()
    profile = profile_of([pipeline], asked, hardware)
    window_stages = WINDOW_STAGES if aim == "energy" and solver == "exact" else 0
    span, known = Span(0, lasts_us), NETWORK_KNOWN.get(way, "truth")
    with Runtime.simulated(
        workload,
        hardware,
        profile,
        solver=solver,
        window_stages=window_stages,
        compute=False,
        network=network_of(recording, hardware, span, known),
    ) as runtime:
        ended = replay(runtime, recording, span, policy=way, time="virtual", sinks=(kept,))
    assert ended.summary is not None
    energy = ended.summary.energy
    criteria = [frame.placement.criteria for frame in kept.frames]
    return Ran(
        tuple(frame.graphs[0].latency_us for frame in kept.frames),
        tuple(tuple(getattr(one, name) for name in OBJECTIVES[aim]) for one in criteria if one is not None),
        tuple(sum(run.resource == SERVER for run in frame.stages) for frame in kept.frames),
        energy.total_nj - energy.by_cause.get("asleep", 0),
    )


def pieces_told(pipeline: Pipeline) -> str:
    """A table of what was measured."""
    names = tuple(dict.fromkeys(form.name for piece in pipeline.pieces for form in piece.forms))
    rows = []
    for piece in pipeline.pieces:
        forms = {form.name: f"{form.bytes} {form.pack_us} {form.loss_ppm}" for form in piece.forms}
        rows.append((piece.name, piece.took_us, *(forms.get(name, "") for name in names)))
    title = f"{pipeline.name}, {pipeline.runs} runs: us here; of each form bytes, us to pack and unpack, loss in ppm"
    return f"{title}\n\n{table(('piece', 'us', *names), rows)}"


def sweep(pipelines: Sequence[Pipeline], wanted: Wanted) -> list[str]:
    """Print where each pipeline is cut over the bandwidth; returns what was claimed and is not so."""
    wrong = []
    for pipeline in pipelines:
        rows, parts = [], []
        most = len(pipeline.pieces) - 1
        for mbit in RATES_MBIT:
            held = Trace("held", ((0, round(mbit * 125_000)),))
            found = {way: ran(pipeline, way, "time", held, wanted, 1) for way in ("device", "cloud", "cut", "both")}
            ms = {way: one.latency_us[0] / 1000 for way, one in found.items()}
            there = {way: one.there[0] for way, one in found.items()}
            rows.append((mbit, f"{ms['device']:.1f}", f"{ms['cloud']:.1f}", f"{ms['cut']:.1f}", there["cut"],
                         f"{ms['both']:.1f}", there["both"]))  # fmt: skip
            parts.append(0 if not there["cut"] else 2 if there["cut"] == most else 1)
            if found["cut"].planned[0] > min(found["device"].planned[0], found["cloud"].planned[0]):
                wrong.append(f"{pipeline.name} at {mbit} Mbit/s: a cut is later than device or cloud alone")
        header = ("Mbit/s", "device, ms", "cloud", "cut", f"there of {most}", "cut, bits", "there")
        print(f"{pipeline.name}\n\n{table(header, rows)}")
        if parts != sorted(parts):
            wrong.append(f"{pipeline.name}: it comes back to the device as bandwidth grows")
        if pipeline.name == "speech" and {*parts} != {0, 1, 2}:
            wrong.append("speech: is not on the device, then cut, then on the server, as bandwidth grows")
    return wrong


def over_traces(
    pipelines: Sequence[Pipeline], traces: Sequence[Trace], wanted: Wanted, frames: int, aim: str
) -> list[str]:
    """Print what each way comes to beside cut and bits together; returns what was claimed and is not so."""
    wrong, rows = [], []
    groups = [*dict.fromkeys(trace.group for trace in traces), "all"]
    for pipeline in pipelines:
        worth = {}
        for trace in traces:
            found = {way: ran(pipeline, way, aim, trace, wanted, frames) for way in WAYS}
            worth[trace] = {way: _of(one, aim) for way, one in found.items()}
            if aim == "time":
                wrong += _worse(found, f"{pipeline.name} over {trace.name}")
        for group in groups:
            some = [one for trace, one in worth.items() if group in (trace.group, "all")]
            times = {way: sorted(one[way] / one["both"] for one in some) for way in OTHERS}
            shown = [f"{median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})" for each in times.values()]
            rows.append((pipeline.name, group, len(some), f"{median(one['both'] for one in some):.1f}", *shown))
            if group == "all":
                wrong += [
                    f"{pipeline.name}, {aim}: in the median {way} comes to {median(each):.3f} of both"
                    for way, each in times.items()
                    if median(each) < LEAST_PART
                ]
    unit = "ms" if aim == "time" else "mJ"
    print(f"\nTo be least in {aim}: of a frame, in {unit}, and how many times that the others take\n")
    print(table(("pipeline", "traces", "of them", f"both, {unit}", *OTHERS), rows))
    return wrong


def _of(found: Ran, aim: str) -> float:
    """Of a frame in the mean, in ms or mJ."""
    frames = len(found.latency_us)
    return (sum(found.latency_us) / 1e3 if aim == "time" else found.energy_nj / 1e6) / frames


def _worse(found: dict[str, Ran], where: str) -> list[str]:
    """Plans of cut and bits together that are worse than another of the same frame."""
    return [
        f"{where}, frame {frame}: {way} is planned to take {other}, both {both}"
        for way, one in found.items()
        if way not in NETWORK_KNOWN
        for frame, (both, other) in enumerate(zip(found["both"].planned, one.planned, strict=True))
        if both[0] > other[0]
    ]


def traces_of(folder: Path | None, lasts_us: int) -> list[Trace]:
    """The traces of a folder, again and again where they are over sooner, or those that are made up."""
    if folder is None:
        return [Trace(name, tuple(takewhile(lambda one: one[0] < lasts_us, made_up(name)))) for name in MADE_UP]
    found = []
    for path in sorted(folder.glob("*.txt")):
        link = LinkFile.model_validate(
            {"file": path.name, "format": "rates", "source": "a", "target": "b", "latency_us": 0, "repeat": True}
        )
        samples: Iterable[LinkSample] = read_links(path, link, lasts_us).samples
        found.append(Trace(path.stem, tuple((one.time_us, one.bytes_per_s) for one in samples)))
    return found


def main() -> int:
    """Print all tables; 1 where a claim does not hold."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path, nargs="?", help="of traces; none: made-up ones")
    asked.add_argument("--slower", type=int, default=25, help="how many times slower the phone is (25)")
    asked.add_argument("--frames", type=int, default=12, help="of each trace (12)")
    asked.add_argument("--rounds", type=int, default=40, help="timings of each piece (40)")
    asked.add_argument("--loss-ppm", type=int, default=10_000, help="what fewer bits may lose (10000)")
    asked.add_argument("--only", help="one of the pipelines")
    given = asked.parse_args()
    wanted = Wanted(slower=given.slower, server=SERVER, loss_ppm_max=given.loss_ppm)
    names = [name for name in (*SOUNDS, MESH) if given.only in (None, name)]
    pipelines = [measured(name, rounds=given.rounds) for name in names]
    for pipeline in pipelines:
        print(pieces_told(pipeline))
    wrong = sweep(pipelines, wanted)
    traces = traces_of(given.folder, (given.frames + 1) * wanted.period_us)
    for aim in OBJECTIVES:
        wrong += over_traces(pipelines, traces, wanted, given.frames, aim)
    for told in wrong:
        print(told, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
