"""A window by hand that several tests share: a detector and a model behind it, twice."""

from __future__ import annotations

from typing import Any

from leo_runtime.documents.window import WindowPlacement, WindowProblem


def two_releases(**changes: Any) -> WindowProblem:
    """A detector and a model that waits for it, now and again 100 us later; the model runs on what sleeps."""
    stages = []
    for number, release_us in enumerate((0, 100)):
        detector = {"name": f"detector{number}", "release_us": release_us}
        detector["modes"] = [{"resource": "dsp", "duration_us": 10, "energy_nj": 1, "output_bytes": 8}]
        model = {"name": f"model{number}", "release_us": release_us, "inputs": [f"detector{number}"]}
        model["modes"] = [{"resource": "gpu", "duration_us": 20, "energy_nj": 1}]
        stages += [detector, model | {"gates": [f"detector{number}"], "chance_ppm": 100_000}]
    return WindowProblem.from_dict(
        {
            "format": "leo-problem/2",
            "name": "twice",
            "horizon_us": 200,
            "releases_us": [0, 100],
            "resources": [
                {"name": "dsp", "linger_us": None},
                {"name": "gpu", "awake": False, "wake_latency_us": 5, "awake_mw": 1, "linger_us": 10},
            ],
            "links": [{"source": "dsp", "target": "gpu", "latency_us": 2}],
            "stages": stages,
            "deadlines": [{"stage": "model0", "deadline_us": 60}, {"stage": "model1", "deadline_us": 160}],
            **changes,
        }
    )


def placed(
    gate: tuple[str, ...] = ("detector0",), spans: tuple[tuple[int, int, tuple[str, ...]], ...] = ()
) -> WindowPlacement:
    """The one way to place it that waits for the gates, and holds the gpu in between unless `spans` say otherwise."""
    runs, rows = [], []
    for number, release_us in enumerate((0, 100)):
        at = {"lane": 0, "variant": "default"}
        runs.append(
            {"stage": f"detector{number}", "resource": "dsp", "start_us": release_us, "end_us": release_us + 10} | at
        )
        runs.append(
            {"stage": f"model{number}", "resource": "gpu", "start_us": release_us + 15, "end_us": release_us + 35} | at
        )
        send = {
            "stage": f"detector{number}",
            "source": "dsp",
            "target": "gpu",
            "lane": None,
            "start_us": release_us + 10,
        }
        rows.append({**send, "arrive_us": release_us + 12, "after": list(gate) if number == 0 else []})
    kept = [{"resource": "dsp", "from_us": 0, "until_us": 110, "after": []}]
    for from_us, until_us, after in spans or ((0, 135, ("detector0", "detector1")),):
        kept.append({"resource": "gpu", "from_us": from_us, "until_us": until_us, "after": list(after)})
    return WindowPlacement.from_dict(
        {
            "format": "leo-placement/2",
            "problem": "twice",
            "solver": "hand",
            "status": "feasible",
            "bounds": [0, 0],
            "stages": runs,
            "transfers": rows,
            "spans": kept,
        }
    )
