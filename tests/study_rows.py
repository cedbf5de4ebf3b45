"""Rows of a study, made up: two axes of numbers and one of names, over which everything is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leo_runtime.study.document import Study

DOCUMENT: dict[str, Any] = {
    "format": "leo-study/1",
    "name": "made",
    "title": "What does a made-up question cost?",
    "repetitions": 2,
    "base": {"hardware": "snapdragon-800", "seconds": 20, "noise_percent": 5},
    "axes": [
        {"name": "dsp", "vary": "slow dsp", "values": [1, 2, 4]},
        {"name": "policy", "vary": "solver", "values": ["exact", "greedy"]},
        {"name": "deadlines", "vary": "scale-deadlines", "values": [0.5, 1]},
    ],
    "published": {"reference": "Somebody, 2017", "gain": {"least": 1.6, "most": 3}},
}


def study(**changed: Any) -> Study:
    return Study.from_dict({**DOCUMENT, **changed})


def rows(of: Study | None = None) -> list[dict[str, Any]]:
    """Energy is 100 mJ a DSP's slowness, 10 mJ more by greedy, 1 mJ more in the second repetition; halved deadlines
    are missed once for each slowness, and never otherwise.
    """
    of = of or study()
    found = []
    for repetition in range(of.repetitions):
        for dsp in of.axes[0].values or ():
            for policy in of.axes[1].values or ():
                for deadlines in of.axes[2].values or ():
                    found.append(
                        row(
                            len(found),
                            repetition,
                            [("dsp", dsp), ("policy", policy), ("deadlines", deadlines)],
                            energy_nj=int((100 * dsp + 10 * (policy == "greedy") + repetition) * 10**6),
                            misses=dsp if deadlines == 0.5 else 0,
                            battery_s=36_000 // dsp,
                        )
                    )
    return found


def row(cell: int, repetition: int, values: Sequence[tuple[str, Any]], **measured: Any) -> dict[str, Any]:
    """One row."""
    return {
        "study": "made",
        "cell": cell,
        "repetition": repetition,
        **{f"axis.{axis}": value for axis, value in values},
        "inputs": f"{cell:016x}",
        "version.leo-runtime": "0.1.0",
        "workload": "demo",
        "hardware": "snapdragon-800",
        "length_us": 20_000_000,
        "solver": "exact",
        "seed": repetition,
        "answers": 40,
        **measured,
        "graph_p95_us.speech": 178_000,
    }
