"""A small recording, a workload that listens to it and a machine to run it on, as files and as values."""

import json
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from leo_backends.cpu import CpuBackend
from leo_runtime.backend import Backend
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.records import FrameResult
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.replay import Replay

RATE_HZ = 16_000
LABELS = ((1.0, 2.0), (3.0, 3.5))
"""In seconds, where `loud` is written down; only the first is to be heard."""
SOUNDS = ((1.0, 2.0), (2.5, 3.0))
"""In seconds, where something is to be heard; only the first is written down."""


def write_all(folder: Path) -> None:
    """`recording/`, `workload.json`, `machine.json` and `profile.json`: four seconds, asked twice a second."""
    (folder / "recording").mkdir()
    write_wav(folder / "recording" / "mic.wav")
    labels = "".join(
        f'[[labels]]\nstream = "mic"\nstart_us = {round(a * 1e6)}\nend_us = {round(b * 1e6)}\nlabel = "loud"\n'
        for a, b in LABELS
    )
    (folder / "recording" / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "beeps"\nlicence = "none"\nsource = "made by a test"\n'
        f'[[streams]]\nname = "mic"\nkind = "audio"\nfile = "mic.wav"\nrate_hz = {RATE_HZ}\n{labels}',
        encoding="utf-8",
    )
    # Loud is a variance above e^-5.
    np.savez(
        folder / "loud.npz",
        weights_0=np.array([[0, 0], [1, 0], [0, 0]], np.float32),
        bias_0=np.array([5, 0], np.float32),
    )
    for name, data in (("workload", WORKLOAD), ("machine", MACHINE), ("profile", PROFILE)):
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")


def write_wav(path: Path, rate_hz: int = RATE_HZ) -> None:
    import wave

    seconds = np.arange(4 * RATE_HZ) / RATE_HZ
    heard = sum(((seconds >= a) & (seconds < b)).astype(float) for a, b in SOUNDS)
    samples = (0.5 * 32767 * heard * np.sin(2 * np.pi * 440 * seconds)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, len(samples), "NONE", "not compressed"))
        file.writeframes(samples.tobytes())


def cpus(hardware: Hardware) -> dict[str, Backend]:
    """The CPU's backend, to compute for every processor of a machine."""
    return {p.name: CpuBackend(Processor(name=p.name, backend="cpu")) for p in hardware.processors}


def load_all(folder: Path) -> tuple[Workload, Hardware, Profile, Recording]:
    return (
        Workload.from_file(folder / "workload.json"),
        Hardware.from_file(folder / "machine.json"),
        Profile.from_file(folder / "profile.json"),
        Recording.from_file(folder / "recording"),
    )


def log_lines(replayed: Replay, frames: Iterable[FrameResult]) -> list[str]:
    """What the log of a replay says of these frames, its first line before them."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        with LogWriter(path) as log:
            log.begin(replayed)
            for frame in frames:
                log.frame(frame, 0)
        return path.read_text(encoding="utf-8").splitlines(keepends=True)


def logged(log: str | Iterable[str], kind: str = "frame") -> list[dict[str, Any]]:
    """The lines of this kind of a log, which is given as text or by lines."""
    lines = log.splitlines() if isinstance(log, str) else log
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


WORKLOAD = {
    "format": "leo-workload/1",
    "name": "ears",
    "streams": [{"name": "mic", "kind": "audio", "rate_hz": RATE_HZ}],
    "graphs": [
        {
            "name": "beeps",
            "period_us": 500_000,
            "deadline_us": 100_000,
            "decision": {"stage": "loudness", "labels": ["loud", "quiet"], "background": "quiet"},
            "stages": [
                {"name": "sound", "operator": "window", "params": {"stream": "mic", "samples": RATE_HZ // 2}},
                {"name": "any", "operator": "energy_gate", "inputs": ["sound"], "params": {"threshold_dbfs": -60.0}},
                {
                    "name": "features",
                    "operator": "motion_features",
                    "inputs": ["sound"],
                    "gate": "any",
                    "params": {"sample_rate_hz": RATE_HZ, "band_edges_hz": [1.0, 8001.0]},
                },
                {
                    "name": "loudness",
                    "operator": "dense",
                    "inputs": ["features"],
                    "params": {"layers": [2], "softmax": True, "model": "loud.npz"},
                },
            ],
        }
    ],
}

MACHINE = {
    "format": "leo-hardware/1",
    "name": "desk",
    "processors": [
        {"name": "cpu", "backend": "cpu", "active_mw": 1000, "awake_mw": 10},
        {"name": "dsp", "backend": "dsp", "lanes": 2, "active_mw": 100, "awake_mw": 1},
    ],
    "links": [
        {"source": "cpu", "target": "dsp", "latency_us": 100},
        {"source": "dsp", "target": "cpu", "latency_us": 100},
    ],
}

PROFILE = {
    "format": "leo-profile/1",
    "name": "desk",
    "hardware": "desk",
    "costs": [
        {"processor": "cpu", "fixed_us": 1000, "source": "modelled: for a test"},
        {"processor": "dsp", "operator": "window", "fixed_us": 2000, "source": "modelled: for a test"},
        {"processor": "dsp", "operator": "energy_gate", "fixed_us": 3000, "source": "modelled: for a test"},
        {"processor": "dsp", "operator": "motion_features", "fixed_us": 200_000, "source": "modelled: for a test"},
    ],
}
