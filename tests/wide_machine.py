"""A made-up machine that is hard to show in 80 columns: 5 processors, 2 radios, 12 links, 10 pipelines, nJ to MJ."""

import json
from pathlib import Path
from typing import Any

PROCESSORS = (
    "application_processor",
    "signal_processor_of_the_left_ear",
    "signal_processor_of_the_right_ear",
    "脳",
    "npu",
)
RADIOS = ("bluetooth_low_energy", "wifi")
LINKS = (
    *((0, 1, None), (1, 0, None), (0, 2, None), (2, 0, None), (0, 3, None), (3, 0, None)),
    *((1, 2, RADIOS[0]), (2, 1, RADIOS[0]), (0, 4, RADIOS[1]), (4, 0, RADIOS[1]), (3, 4, None), (4, 3, None)),
)
"""From where to where, and by which radio."""
PIPELINES = (
    "conversation_partner_on_the_left",
    "conversation_partner_on_the_right",
    "話者認識_台所のマイク",
    "話者認識_居間のマイク",
    "wind_noise_suppression_for_hearing_aids_outdoors",
    "wind_noise_suppression_for_hearing_aids_indoors",
    "fall",
    "e\u0301tude_d_une_e\u0301chelle",
    "heart_rate_variability_from_optical_sensor_1",
    "heart_rate_variability_from_optical_sensor_2",
)
RUN_NJ = (1, 900_000_000_000_000, 40, 5_000, 600_000, 7_000_000, 800, 90_000_000_000, 1, 2)
"""What the second stage of each costs."""


def write(folder: Path) -> None:
    """`many.workload.json`, `many.hardware.json` and `many.profile.json`."""
    for name, data in (("workload", _workload()), ("hardware", _hardware()), ("profile", _profile())):
        (folder / f"many.{name}.json").write_text(json.dumps(data), encoding="utf-8")


def _route(k: int) -> tuple[int, int]:
    """From where to where the output of a pipeline's first stage goes."""
    source, target, _ = LINKS[k]
    return source, target


def _workload() -> dict[str, Any]:
    graphs = []
    for k, name in enumerate(PIPELINES):
        first = {"name": f"sense {k}", "operator": "cost", "params": {"output_bytes": 1_000}}
        last = {"name": f"judge {k}", "operator": "cost", "inputs": [first["name"]], "params": {"output_bytes": 1}}
        graphs.append({"name": name, "period_us": 500_000, "deadline_us": 3_000 + 20_000 * k, "stages": [first, last]})
    return {"format": "leo-workload/1", "name": "ears_eyes_and_hearts_of_a_whole_household", "graphs": graphs}


def _hardware() -> dict[str, Any]:
    processors = [
        {
            "name": name,
            "backend": "cpu",
            "lanes": 2,
            "active_mw": 10 * (k + 1),
            "awake_mw": k,
            "asleep_mw": int(k == 0),
            "wake_latency_us": 100,
            "wake_energy_nj": 10**k,
            "idle_timeout_us": 10_000,
        }
        for k, name in enumerate(PROCESSORS)
    ]
    radios = [{"name": name, "awake_mw": 5, "wake_energy_nj": 70, "tail_us": 2_000, "tail_mw": 1} for name in RADIOS]
    links = [
        {
            "source": PROCESSORS[source],
            "target": PROCESSORS[target],
            "latency_us": 50,
            "bytes_per_s": 10_000_000,
            "energy_nj": 3 * 10 ** (k % 7),
            **({} if radio is None else {"radio": radio}),
        }
        for k, (source, target, radio) in enumerate(LINKS)
    ]
    return {
        "format": "leo-hardware/1",
        "name": "a_household_of_many_machines",
        "processors": processors,
        "radios": radios,
        "links": links,
    }


def _profile() -> dict[str, Any]:
    costs = []
    for k, nj in enumerate(RUN_NJ):
        for stage, where, energy_nj in ((f"sense {k}", _route(k)[0], 10), (f"judge {k}", _route(k)[1], nj)):
            entry = {
                "stage": stage,
                "processor": PROCESSORS[where],
                "fixed_us": 1_000 * (k + 1),
                "energy_nj": energy_nj,
            }
            costs.append({**entry, "source": "modelled: for a test"})
    return {
        "format": "leo-profile/1",
        "name": "of_the_household",
        "hardware": "a_household_of_many_machines",
        "costs": costs,
    }
