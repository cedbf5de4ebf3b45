"""Logs of runs: written by hand, of two pipelines on a small machine; and of real runs of random pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from cost_workloads import profile_of, random_machine, random_profile, random_workload, workload_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.replay import Replay, Span, replay
from leo_runtime.runtime.runtime import Runtime

MACHINE: dict[str, Any] = {
    "format": "leo-hardware/1",
    "name": "m",
    "processors": [
        {"name": "dsp", "backend": "none", "awake_mw": 5},
        {
            "name": "cpu",
            "backend": "none",
            "lanes": 2,
            "awake_mw": 50,
            "wake_latency_us": 10_000,
            "wake_energy_nj": 7_000,
            "idle_timeout_us": 20_000,
        },
    ],
    "radios": [{"name": "wifi", "awake_mw": 100, "wake_latency_us": 5_000}],
    "links": [
        {"source": "dsp", "target": "cpu", "latency_us": 1_000, "bytes_per_s": 1_000_000, "energy_pj_per_byte": 1000},
        {"source": "cpu", "target": "dsp", "latency_us": 1_000},
    ],
}


def workload(deadline_us: int = 500_000) -> Workload:
    """Two pipelines that both hear; one also tells what it was."""
    knock = GraphBuilder("knock", period_us=1_000_000, deadline_us=deadline_us)
    knock.stage("hear", "cost", output_bytes=1000)
    knock.stage("tell", "cost", "hear", output_bytes=4)
    level = GraphBuilder("level", period_us=1_000_000, deadline_us=deadline_us)
    level.stage("hear", "cost", output_bytes=1000)
    return workload_of(knock.build(), level.build())


COSTS = {("hear", "dsp"): (400_000, 900_000), ("tell", "dsp"): (100_000, 500), ("tell", "cpu"): (20_000, 800_000)}


def hardware() -> Hardware:
    return Hardware.from_dict(MACHINE)


def head(**changed: Any) -> dict[str, Any]:
    """The line of the run."""
    return {
        "format": "leo-log/2",
        "kind": "run",
        "version": "0.1.0",
        "policy": "exact",
        "time": "virtual",
        "seed": 0,
        "noise_ppm": None,
        "reserve_percent": None,
        "window_stages": 0,
        "batch": 1,
        "changes": [],
        "recording": {"name": "none", "given": "none", "digest": "0123456789abcdef"},
        "start_us": 0,
        "end_us": 10_000_000,
        "workload": workload().model_dump(mode="json", exclude_defaults=True),
        "hardware": hardware().model_dump(mode="json", exclude_defaults=True),
        "profile": profile_of(COSTS).model_dump(mode="json", exclude_defaults=True),
        **changed,
    }


def run(stage: str, where: str, start_us: int, end_us: int, **changed: Any) -> dict[str, Any]:
    """A run of a stage on "resource" or "resource[lane]", as it was planned unless something else is said."""
    resource, _, lane = where.partition("[")
    us, nj = COSTS.get((stage.partition("#")[0], resource), (end_us - start_us, 1000))
    return {
        "stage": stage,
        "graphs": ["knock", "level"] if stage == "hear" else ["knock"],
        "resource": resource,
        "variant": "default",
        "lane": int(lane[:-1] or 0) if lane else 0,
        "outcome": "done",
        "planned_start_us": start_us,
        "planned_end_us": end_us,
        "start_us": start_us,
        "end_us": end_us,
        "expected_us": us,
        "expected_nj": nj,
        "nj": nj,
        "energy_from": "modelled",
        **changed,
    }


def send(stage: str, source: str, target: str, start_us: int, arrive_us: int, **changed: Any) -> dict[str, Any]:
    """A transfer that occupies nothing."""
    return {
        "stage": stage,
        "graphs": ["knock"],
        "source": source,
        "target": target,
        "planned_start_us": start_us,
        "start_us": start_us,
        "sent_us": arrive_us,
        "arrive_us": arrive_us,
        "nj": 1000,
        **changed,
    }


def seen(graph: str, release_us: int, end_us: int, **changed: Any) -> dict[str, Any]:
    """What a graph answered."""
    return {
        "graph": graph,
        "release_us": release_us,
        "outcome": "done",
        "label": None,
        "end_us": end_us,
        "deadline_us": release_us + 500_000,
        **changed,
    }


def frame(
    number: int,
    release_us: int,
    stages: Iterable[Mapping[str, Any]] = (),
    transfers: Iterable[Mapping[str, Any]] = (),
    **changed: Any,
) -> dict[str, Any]:
    """A frame of both pipelines: `knock` ends with the last stage, `level` with the first."""
    stages = list(stages)
    ends_us = [run["end_us"] for run in stages] or [release_us]
    return {
        "kind": "frame",
        "frame": number,
        "release_us": release_us,
        "status": "optimal",
        "criteria": {"tardiness": 0, "energy": 1, "makespan": 2, "accuracy_loss": 0},
        "graphs": [seen("knock", release_us, max(ends_us)), seen("level", release_us, ends_us[0])],
        "stages": stages,
        "transfers": list(transfers),
        "wakes": [],
        **changed,
    }


def entry(cause: str, resource: str, at_us: int, until_us: int, nj: int, **changed: Any) -> dict[str, Any]:
    """Some energy."""
    return {
        "cause": cause,
        "resource": resource,
        "at_us": at_us,
        "until_us": until_us,
        "nj": nj,
        "graphs": [],
        **changed,
    }


def energy(*entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "energy", "entries": list(entries)}


def end(frames: int, nj: int, end_us: int = 10_000_000) -> dict[str, Any]:
    return {"kind": "end", "frames": frames, "end_us": end_us, "nj": nj}


def lines(*parts: Mapping[str, Any]) -> str:
    return "".join(json.dumps(part, separators=(",", ":")) + "\n" for part in parts)


def write(folder: Path, *parts: Mapping[str, Any], name: str = "log.jsonl") -> Path:
    """The log of a run in its folder, which is made. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(lines(*summed(parts)), encoding="utf-8")
    return folder


def summed(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same lines, of which the last says what the others come to."""
    costs = [one for part in parts for kind in ("stages", "transfers", "entries") for one in part.get(kind, ())]
    nj = sum(one["nj"] for one in costs)
    return [{**part, "nj": nj} if part.get("kind") == "end" else part for part in parts]


def usual(count: int = 3) -> list[dict[str, Any]]:
    """A whole run of so many frames, each as it was planned, with all its energy."""
    parts, nj = [head()], 0
    for number in range(count):
        at_us = 1_000_000 * (number + 1)
        hear = run("hear", "dsp", at_us, at_us + 400_000)
        tell = run("tell", "cpu[0]", at_us + 402_000, at_us + 422_000)
        sent = send("hear", "dsp", "cpu", at_us + 400_000, at_us + 402_000)
        parts.append(frame(number, at_us, [hear, tell], [sent], wakes=[{"resource": "cpu", "at_us": at_us + 392_000}]))
        woken = entry("wake-up", "cpu", at_us + 392_000, at_us + 392_000, 7_000, frame=number, graphs=["knock"])
        awake = entry(
            "awake", "cpu", at_us + 392_000, at_us + 422_000, 1_500_001, frame=number, graphs=["knock", "level"]
        )
        parts.append(energy(woken, awake))
        nj += hear["nj"] + tell["nj"] + sent["nj"] + woken["nj"] + awake["nj"]
    idle = entry("idle tail", "dsp", 0, 10_000_000, 50_000_000)
    return [*parts, energy(idle), end(count, nj + idle["nj"])]


LOG_1 = (
    '{"format":"leo-log/1","policy":"exact","time":"virtual","workload":"w","hardware":"m","profile":"m",'
    '"recording":"none","start_us":0,"end_us":3000000,"solver_on":"cpu"}\n'
    '{"frame":0,"release_us":1000000,"status":"optimal","criteria":{"tardiness":0,"energy":1,"makespan":2,'
    '"accuracy_loss":0},"solve_us":50,"solver_nj":5000,"graphs":[{"graph":"knock","release_us":1000000,'
    '"outcome":"done","label":"tap","end_us":1420000,"deadline_us":1500000}],"stages":[{"stage":"hear",'
    '"resource":"dsp","variant":"default","lane":0,"outcome":"done","planned_start_us":1000000,'
    '"planned_end_us":1400000,"start_us":1000000,"end_us":1400000,"expected_us":400000,"expected_nj":900000,'
    '"device_us":null,"nj":900000,"energy_from":"modelled","error":""}],"transfers":[{"stage":"hear","source":"dsp",'
    '"target":"cpu","lane":null,"planned_start_us":1400000,"start_us":1400000,"arrive_us":1402000,"nj":1000,'
    '"resource":null,"sent_us":1402000}]}\n'
)
"""As the last version before `leo-log/2` wrote it."""


def random_run(folder: Path, seed: int, **how: Any) -> tuple[Path, Replay]:
    """The log of a real run of random pipelines on a random machine, in virtual time, with its replay.

    `how`: what `Runtime.simulated` takes, and `batch` and `solver_on` as `replay` does.
    """
    rng = Random(seed)
    work, machine = random_workload(rng), random_machine(rng)
    profile = random_profile(rng, work)
    return replayed_into(folder, work, machine, profile, seed=seed, **how)


def replayed_into(
    folder: Path, work: Workload, machine: Hardware, profile: Profile, *, length_us: int = 200_000, **how: Any
) -> tuple[Path, Replay]:
    """The log of a run in its folder, with its replay. Nothing is read: stages only cost."""
    stream = RecordedStream(name="s", kind="motion", file="s.csv", rate_hz=100, channels=1)
    manifest = RecordingManifest(format="leo-recording/1", name="none", streams=(stream,))
    recording = Recording(manifest, {"s": np.zeros((length_us // 10_000 + 2, 1), np.float32)})
    told = {name: how.pop(name) for name in ("batch", "solver_on") if name in how}
    with (
        Runtime.simulated(work, machine, profile, compute=False, **how) as runtime,
        LogWriter(folder / "log.jsonl") as log,
    ):
        ended = replay(
            runtime,
            recording,
            Span(0, length_us),
            policy=how.get("solver", "exact"),
            time="virtual",
            sinks=[log],
            **told,
        )
    return folder, ended
