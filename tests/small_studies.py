"""A small study in a folder of its own: two stages on a machine of two processors, for tests of studies."""

from __future__ import annotations

from pathlib import Path

WORKLOAD = """format = "leo-workload/1"
name = "blinks"

[[graphs]]
name = "eyes"
period_us = 20_000
deadline_us = 20_000
stages = [
    { name = "look", operator = "cost", params = { output_bytes = 1_000 } },
    { name = "moved", operator = "cost", inputs = ["look"], chance_ppm = 300_000, params = { output_bytes = 1 } },
    { name = "gaze", operator = "cost", inputs = ["look"], gate = "moved", params = { output_bytes = 12 } },
]
"""
HARDWARE = """format = "leo-hardware/1"
name = "band"
battery_nj = 1_000_000_000_000
[[processors]]
name = "cpu"
backend = "none"
active_mw = 400
awake_mw = 20
asleep_mw = 1
wake_latency_us = 500
wake_energy_nj = 100_000
idle_timeout_us = 5_000
[[processors]]
name = "dsp"
backend = "none"
active_mw = 20
awake_mw = 2
[[links]]
source = "cpu"
target = "dsp"
latency_us = 100
bytes_per_s = 10_000_000
[[links]]
source = "dsp"
target = "cpu"
latency_us = 100
bytes_per_s = 10_000_000
"""
PROFILE = """format = "leo-profile/1"
name = "band"
hardware = "band"
costs = [
    { stage = "look", processor = "dsp", fixed_us = 300, source = "modelled" },
    { stage = "look", processor = "cpu", fixed_us = 100, source = "modelled" },
    { stage = "moved", processor = "dsp", fixed_us = 500, source = "modelled" },
    { stage = "moved", processor = "cpu", fixed_us = 100, source = "modelled" },
    { stage = "gaze", processor = "dsp", fixed_us = 9_000, source = "modelled" },
    { stage = "gaze", processor = "cpu", fixed_us = 1_500, source = "modelled" },
]
"""
STUDY = """format = "leo-study/1"
name = "blinks"
repetitions = 2

[base]
workload = "blinks.workload.toml"
hardware = "band.hardware.toml"
profile = "band.profile.toml"
seconds = 1
noise_percent = 5
window = 0

[[axes]]
vary = "solver"
values = ["exact", "greedy"]

[[axes]]
name = "deadline"
vary = "graphs.eyes.deadline_us"
values = [4_000, 20_000]
"""


def write_study(folder: Path, text: str = STUDY, name: str = "blinks.study.toml") -> Path:
    """The study's file, beside what it is of."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (
        ("blinks.workload.toml", WORKLOAD),
        ("band.hardware.toml", HARDWARE),
        ("band.profile.toml", PROFILE),
        (name, text),
    ):
        (folder / file).write_text(content)
    return folder / name
