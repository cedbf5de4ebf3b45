"""Runs a recording through a workload, in virtual or in real time, and writes its log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from leo_runtime.errors import DocumentError, RecordingError
from leo_runtime.graph import Workload
from leo_runtime.hardware import Hardware
from leo_runtime.lower import MergedWorkload
from leo_runtime.observations import FrameResult
from leo_runtime.profiles import Profile
from leo_runtime.report import Progress
from leo_runtime.runtime import Runtime
from leo_runtime.traces import Recording

Time = Literal["virtual", "real"]


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a recording that is replayed. The run's clock starts at its start."""

    start_us: int
    end_us: int

    @classmethod
    def of(cls, recording: Recording, start_us: int = 0, length_us: int | None = None) -> Span:
        """So much of a recording from `start_us` on; None: all that is left. Raises `RecordingError` for nothing."""
        end_us = recording.duration_us if length_us is None else min(recording.duration_us, start_us + length_us)
        if end_us <= start_us:
            raise RecordingError(
                f"recording `{recording.manifest.name}` lasts {recording.duration_us} us, nothing is left at {start_us}"
            )
        return cls(start_us, end_us)


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording run through a workload on a machine under one policy."""

    policy: str
    time: Time
    workload: Workload
    hardware: Hardware
    profile: Profile
    recording: Recording
    span: Span
    merged: MergedWorkload
    frames: tuple[FrameResult, ...]
    solver_on: str | None = None
    """The processor whose power is charged for the time that placing each frame took; None: it is not charged."""
    batch: int = 1
    """How many frames were collected before they were placed as one."""


def check_streams(workload: Workload, recording: Recording) -> None:
    """Raise `RecordingError` where a recording lacks a stream of the workload, or has it at another rate."""
    for stream in workload.streams:
        found = recording.stream(stream.name)
        for what in ("rate_hz", "channels", "kind"):
            wanted, given = getattr(stream, what), getattr(found, what)
            if wanted != given:
                raise RecordingError(
                    f"recording `{recording.manifest.name}` has stream `{stream.name}` with {what} {given}, "
                    f"workload `{workload.name}` reads {wanted}",
                    hint="resample the recording, or change the workload",
                )


def releases(workload: Workload, length_us: int) -> tuple[int, ...]:
    """When any graph of a workload runs, after the first sample and up to the last, in order."""
    times: set[int] = set()
    for graph in workload.graphs:
        times.update(range(graph.offset_us, length_us + 1, graph.period_us))
    return tuple(sorted(times - {0}))


def batches(runtime: Runtime, length_us: int, size: int) -> tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]:
    """The releases of every batch of so many frames, with their graphs, by the last release; at the end fewer.

    Of size 1 they are the frames themselves. In greater ones each period has batches of its own.
    """
    workload = runtime.merged.workload
    if size == 1:
        return tuple(((at_us,), runtime.triggered(at_us)) for at_us in releases(workload, length_us))
    found: list[tuple[tuple[int, ...], tuple[str, ...]]] = []
    for period_us, offset_us in dict.fromkeys((graph.period_us, graph.offset_us) for graph in workload.graphs):
        alike = [graph for graph in workload.graphs if (graph.period_us, graph.offset_us) == (period_us, offset_us)]
        times = releases(workload.model_copy(update={"graphs": tuple(alike)}), length_us)
        names = tuple(graph.name for graph in alike)
        found += [(times[at : at + size], names) for at in range(0, len(times), size)]
    return tuple(sorted(found, key=lambda batch: batch[0][-1]))


def replay(
    runtime: Runtime,
    recording: Recording,
    span: Span,
    *,
    policy: str,
    time: Time,
    solver_on: str | None = None,
    batch: int = 1,
    progress: Progress = lambda *_: None,
) -> Replay:
    """Submit every frame of a span of a recording to a runtime, and wait for the last answer.

    `solver_on` names the processor that solving is charged to. So many frames as `batch` says are collected and placed
    as one (`Runtime.submit_batch`). Raises `RecordingError` where the recording does not fit the workload.
    """
    workload = runtime.merged.workload
    check_streams(workload, recording)
    length_us = span.end_us - span.start_us
    links = sorted(recording.manifest.links, key=lambda sample: sample.time_us)
    frames: list[FrameResult] = []
    now: dict[tuple[str, str], tuple[int, int | None] | None] = {}
    for releases_us, graphs in batches(runtime, length_us, batch):
        while links and links[0].time_us <= span.start_us + releases_us[-1]:
            sample = links.pop(0)
            up = sample.bytes_per_s is not None
            now[sample.source, sample.target] = (sample.latency_us, sample.bytes_per_s) if up else None
        collected = [
            (
                release_us,
                {
                    source.stage: recording.window(source.stream, span.start_us + release_us, source.samples)
                    for source in runtime.sources(graphs)
                },
            )
            for release_us in releases_us
        ]
        runtime.submit_batch(collected, graphs=graphs, links=dict(now) if now else None)
        frames += runtime.results()
        progress(policy, releases_us[-1], length_us)
    frames += runtime.drain()
    frames.sort(key=lambda frame: frame.frame)
    return Replay(
        policy,
        time,
        workload,
        runtime.hardware,
        runtime.profile,
        recording,
        span,
        runtime.merged,
        tuple(frames),
        solver_on,
        batch,
    )


def log_lines(replayed: Replay) -> Iterator[str]:
    """The log `leo-log/1`: a line of JSON for the run, then one for each frame, each with its newline.

    In virtual time the same run gives the same bytes: nothing of it depends on how long anything took here, except
    `solve_us` and `solver_nj`, which are there only where solving is charged.
    """
    solver_on = replayed.solver_on
    charged = {} if solver_on is None else {"solver_on": solver_on}
    solver_mw = 0 if solver_on is None else replayed.hardware.processor(solver_on).active_mw
    yield _line(
        {
            "format": "leo-log/1",
            "policy": replayed.policy,
            "time": replayed.time,
            "workload": replayed.workload.name,
            "hardware": replayed.hardware.name,
            "profile": replayed.profile.name,
            "recording": replayed.recording.manifest.name,
            "start_us": replayed.span.start_us,
            "end_us": replayed.span.end_us,
            **charged,
            **({"batch": replayed.batch} if replayed.batch > 1 else {}),
        }
    )
    for frame in replayed.frames:
        solve_us = frame.placement.solve_us
        solving = {"solve_us": solve_us, "solver_nj": solve_us * solver_mw} if charged else {}
        yield _line(
            {
                "frame": frame.frame,
                "release_us": frame.release_us,
                "status": frame.placement.status,
                "criteria": frame.placement.criteria.model_dump() if frame.placement.criteria else None,
                **solving,
                "graphs": [
                    {
                        "graph": result.graph,
                        "release_us": result.release_us,
                        "outcome": result.outcome,
                        "label": result.label,
                        "end_us": result.end_us,
                        "deadline_us": result.deadline_us,
                    }
                    for result in frame.graphs
                ],
                "stages": [_without(asdict(stage), "frame") for stage in frame.stages],
                "transfers": [_without(asdict(transfer), "frame") for transfer in frame.transfers],
            }
        )


def write_log(replayed: Replay, path: Path) -> None:
    """Write the log. Raises `DocumentError` when the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(log_lines(replayed))
    except OSError as error:
        raise DocumentError(str(path), f"cannot be written ({error.strerror or error})") from None


def _without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != key}


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
