"""Runs whose bill one frame alone does not foresee: tails of radios, wake-ups that could be shared, gates, bursts.

A `Case` is a workload on a machine with what is submitted to it; `play` plays it in virtual time under one way of
placing and gives what the ledger charged.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from leo_runtime import shipped
from leo_runtime.backend import Backend
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.replay import Span, batches, streams_read
from leo_runtime.replay.shared_kernels import SharedKernels
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.runtime.windows import Planning

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = Path(__file__).parent / "documents"
SECOND_US = 1_000_000

Submit = Callable[[Runtime], None]
"""Submits all frames of a case."""


@dataclass(frozen=True)
class Case:
    """What is run, on what, and how long. `most_mj` is what it may cost at most, None: no more than fixed policies."""

    name: str
    workload: Workload
    hardware: Hardware
    profile: Profile
    length_us: int
    submit: Submit
    most_mj: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `Runtime.simulated`."""
    each_us: int | None = None
    """The bill is told of so long a time; None: of the whole run."""


@dataclass(frozen=True)
class Played:
    """What a run came to."""

    nj: int
    late: int
    failed: int
    answers: int
    labels: tuple[tuple[str, int, str | None], ...]
    """Graph, release and label of every answer."""
    planning: Planning
    seconds: float
    causes: Mapping[str, int]
    frames: tuple[FrameResult, ...]

    def mj(self, case: Case) -> float:
        """The bill, of as much time as the case tells it of."""
        share = 1.0 if case.each_us is None else case.each_us / case.length_us
        return self.nj * share / 1e6


def play(case: Case, **options: Any) -> Played:
    """Play a case; options are those of `Runtime.simulated`."""
    begun = perf_counter()
    with Runtime.simulated(case.workload, case.hardware, case.profile, **{**case.options, **options}) as runtime:
        case.submit(runtime)
        frames = runtime.drain()
        planning = runtime.planning
        graphs = {stage.name: stage.graphs for stage in runtime.merged.stages}
    seconds = perf_counter() - begun
    bill = run_ledger(frames, case.hardware, graphs, end_us=case.length_us)
    answers = [graph for frame in frames for graph in frame.graphs]
    return Played(
        bill.total_nj,
        sum(graph.missed and graph.outcome != "failed" for graph in answers),
        sum(graph.outcome == "failed" for graph in answers),
        len(answers),
        tuple(sorted((graph.graph, graph.release_us, graph.label) for graph in answers)),
        planning,
        seconds,
        bill.by_cause(),
        frames,
    )


# Stages that only cost.


def costs(hardware: str, of: Mapping[tuple[str, str], tuple[int, int | None]]) -> Profile:
    """`of` stage and processor: how long a run takes, in us, and its power, in mW; None: the processor's."""
    return Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": hardware,
            "hardware": hardware,
            "costs": [
                {
                    "stage": stage,
                    "processor": processor,
                    "fixed_us": us,
                    "source": "modelled",
                    **({} if mw is None else {"power_mw": mw}),
                }
                for (stage, processor), (us, mw) in of.items()
            ],
        }
    )


def periodic(length_us: int, *, graphs: tuple[str, ...] | None = None) -> Submit:
    """All frames of a run without recordings. `graphs`: the others are left out."""

    def submit(runtime: Runtime) -> None:
        wanted = [g for g in runtime.merged.workload.graphs if graphs is None or g.name in graphs]
        times = sorted({at_us for graph in wanted for at_us in graph.releases_us(length_us - 1)})
        for at_us in times:
            names = tuple(graph.name for graph in wanted if graph.next_release_us(at_us) == at_us)
            runtime.submit(at_us, {}, graphs=names)

    return submit


def speech(every_s: int, most_j: float) -> Case:
    """A second of sound is compressed and understood, on the phone or over LTE (Huang et al., MobiSys 2012)."""
    builder = GraphBuilder("speech", period_us=every_s * SECOND_US, deadline_us=2 * SECOND_US)
    builder.stage("sound", "cost", output_bytes=64_000)
    builder.stage("packed", "cost", "sound", output_bytes=16_000)
    builder.stage("words", "cost", "packed", output_bytes=800)
    hardware = Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "lte",
            "processors": [
                {"name": "cpu", "backend": "none", "active_mw": 2_000},
                {"name": "cloud", "backend": "none", "remote": True, "lanes": 8},
            ],
            "radios": [
                {
                    "name": "lte",
                    "awake_mw": 1_288,
                    "wake_latency_us": 260_100,
                    "wake_energy_nj": 314_903_070,
                    "tail_us": 11_576_000,
                    "tail_mw": 1_060,
                }
            ],
            "links": [
                {
                    "source": source,
                    "target": target,
                    "latency_us": 35_000,
                    "bytes_per_s": bytes_per_s,
                    "energy_pj_per_byte": pj,
                    "radio": "lte",
                }
                for source, target, bytes_per_s, pj in (
                    ("cpu", "cloud", 1_000_000, 3_507_120),
                    ("cloud", "cpu", 4_000_000, 415_760),
                )
            ],
        }
    )
    profile = costs(
        "lte",
        {
            ("sound", "cpu"): (10, None),
            ("packed", "cpu"): (3_000, None),
            ("words", "cpu"): (500_000, None),
            ("words", "cloud"): (6_000, 0),
        },
    )
    length_us = 600 * SECOND_US
    workload = Workload(format="leo-workload/1", name=f"speech-{every_s}s", graphs=(builder.build(),))
    return Case(
        workload.name, workload, hardware, profile, length_us, periodic(length_us), 1.02e3 * most_j, {"compute": False}
    )


def four_graphs(name: str, most_mj: float | None, *, periods_due: int = 1, **gpu: int) -> Case:
    """Four graphs of 100, 100, 200 and 400 ms on a CPU that never sleeps and a GPU that does."""

    def graph(letter: str, period_ms: int, offset_ms: int = 0) -> TaskGraph:
        builder = GraphBuilder(
            letter,
            period_us=1_000 * period_ms,
            offset_us=1_000 * offset_ms,
            deadline_us=1_000 * period_ms * periods_due,
        )
        builder.stage(f"in {letter}", "cost", output_bytes=1)
        builder.stage(letter, "cost", f"in {letter}", output_bytes=1)
        return builder.build()

    graphs = (graph("a", 100), graph("b", 100, 50), graph("c", 200), graph("d", 400))
    hardware = Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "two",
            "processors": [
                {"name": "cpu", "backend": "none", "lanes": 2, "active_mw": 1_200},
                {"name": "gpu", "backend": "none", "active_mw": 3_000, "wake_latency_us": 500, **gpu},
            ],
            "links": [{"source": "cpu", "target": "gpu"}, {"source": "gpu", "target": "cpu"}],
        }
    )
    of: dict[tuple[str, str], tuple[int, int | None]] = {}
    for letter, cpu_us, gpu_us in (
        ("a", 20_000, 3_000),
        ("b", 20_000, 3_000),
        ("c", 30_000, 4_500),
        ("d", 40_000, 6_000),
    ):
        of |= {(f"in {letter}", where): (1, 0) for where in ("cpu", "gpu")}
        of |= {(letter, "cpu"): (cpu_us, None), (letter, "gpu"): (gpu_us, None)}
    length_us = 60 * SECOND_US
    workload = Workload(format="leo-workload/1", name=name, graphs=graphs)
    options = {"compute": False}
    return Case(name, workload, hardware, costs("two", of), length_us, periodic(length_us), most_mj, options, 400_000)


def headset(*, voice: bool) -> Case:
    """Eyes, hands and depth of a headset for 20 s, with 10 % noise; `voice`: and one request in the first second."""
    workload = Workload.from_file(DOCUMENTS / "headset.workload.toml")
    length_us = 20 * SECOND_US
    always = ("eyes", "hands", "depth")
    voice_us = workload.graphs[-1].release_us(1)

    def submit(runtime: Runtime) -> None:
        wanted = [graph for graph in workload.graphs if graph.name in always]
        times = {at_us for graph in wanted for at_us in graph.releases_us(length_us - 1)}
        for at_us in sorted(times | ({voice_us} if voice else set())):
            names = [graph.name for graph in wanted if graph.next_release_us(at_us) == at_us]
            runtime.submit(at_us, {}, graphs=(*names, *(("voice",) if voice and at_us == voice_us else ())))

    return Case(
        "headset one request" if voice else "headset",
        workload,
        Hardware.from_file(DOCUMENTS / "headset.hardware.toml"),
        Profile.from_file(DOCUMENTS / "headset.profile.toml"),
        length_us,
        submit,
        options={"compute": False, "noise": 100_000},
    )


# Recordings.


def collar() -> Case:
    """Gait, coughs, warmth and herd of a cow's collar for two minutes; gates of two of its graphs are drawn."""
    length_us = 120 * SECOND_US
    return Case(
        "collar",
        Workload.from_file(DOCUMENTS / "collar.workload.toml"),
        Hardware.from_file(DOCUMENTS / "collar.hardware.toml"),
        Profile.from_file(DOCUMENTS / "collar.profile.toml"),
        length_us,
        periodic(length_us),
        options={"compute": False},
    )


def recorded(name: str, workload: Workload, hardware: Hardware, profile: Profile, recording: Recording) -> Case:
    """A whole recording, as `leo-runtime replay --virtual` plays it."""
    span = Span.of(recording, streams=streams_read(workload))

    def submit(runtime: Runtime) -> None:
        for releases_us, graphs in batches(runtime, span.end_us, 1):
            windows = {
                source.stage: recording.window(source.stream, releases_us[0], source.samples)
                for source in runtime.sources(graphs)
            }
            runtime.submit(releases_us[0], windows, graphs=graphs)

    return Case(name, workload, hardware, profile, span.end_us, submit)


@contextmanager
def computed_once(case: Case) -> Iterator[Case]:
    """The same case, of which each stage of each frame is computed once for all ways of placing."""
    with ExitStack() as stack:
        shared = SharedKernels(case.hardware)
        stack.callback(shared.close)
        backends: Mapping[str, Backend] = shared.backends
        yield replace(case, options={**case.options, "backends": backends})


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@contextmanager
def knocks() -> Iterator[tuple[Case, Case]]:
    """The example of docs/documents.md on its band, with a profile that was measured once, and on the phone."""
    page = ROOT / "docs" / "documents.md"
    recording, workload, hardware, *_ = blocks(page, "toml")
    samples, operator, network = blocks(page, "python")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = {'Path("hallway")': f'Path("{folder}/hallway")', '"knock.npz"': f'"{folder}/knock.npz"'}
        for code in (samples, network):
            for old, new in places.items():
                code = code.replace(old, new)
            exec(compile(code, page.name, "exec"), {"__name__": "page"})
        for file, text in {"hallway/recording.toml": recording, "knocks.toml": workload, "knocks.py": operator}.items():
            (folder / file).write_text(text)
        whole = Workload.from_file(folder / "knocks.toml")
        sounds = Recording.from_file(folder / "hallway")
        band = recorded(
            "knocks",
            whole,
            Hardware.from_toml(hardware),
            Profile.from_file(DOCUMENTS / "knocks.profile.json"),
            sounds,
        )
        phone = recorded(
            "knocks, phone", whole, shipped.hardware(shipped.PHONE), shipped.profile(shipped.PHONE), sounds
        )
        yield replace(band, most_mj=10.2), phone


def demo() -> Case:
    """The demo on the phone."""
    return replace(on_phone("demo", shipped.recording("demo")), most_mj=46_200.0)


def half_silent() -> Case:
    """The demo with every second five seconds of its sound silenced."""
    recording = shipped.recording("demo")
    sound = np.array(recording.samples["mic"])
    quiet = (np.arange(len(sound)) // (5 * 16_000)) % 2 == 1
    sound[quiet] = 0
    return on_phone("half silent", Recording(recording.manifest, {**recording.samples, "mic": sound}))


def on_phone(name: str, recording: Recording) -> Case:
    """The demo's workload on the phone with another recording."""
    return recorded(
        name, shipped.workload(), shipped.hardware(shipped.PHONE), shipped.profile(shipped.PHONE), recording
    )


def cost_cases() -> tuple[Case, ...]:
    """All of which nothing is computed."""
    a = {"wake_energy_nj": 70_000_000, "idle_timeout_us": 150_000, "awake_mw": 30}
    b = {"wake_energy_nj": 2_000_000, "idle_timeout_us": 80_000, "awake_mw": 600}
    c = {"wake_energy_nj": 12_000_000, "idle_timeout_us": 20_000, "awake_mw": 150}
    return (
        speech(3, 201.2),
        speech(10, 60.4),
        speech(30, 20.1),
        four_graphs("A", 136.0, **a),
        four_graphs("B", None, **b),
        four_graphs("C", 186.0, **c),
        four_graphs("C2", 158.0, periods_due=2, **c),
        headset(voice=False),
        headset(voice=True),
        collar(),
    )
