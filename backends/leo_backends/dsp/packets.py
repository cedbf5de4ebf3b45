"""How many packets a DSP's instruction set needs for each of an operator's loops, in thousandths of a packet.

Modelled by hand from the operations in each loop: not yet fitted to counted runs.
"""

PACKETS: dict[str, dict[str, dict[str, int]]] = {
    "v5": {
        "window": {"value": 1_000},
        "energy_gate": {"call": 60_000, "value": 1_000},
        "voice_gate": {
            "call": 100_000,
            "sample": 3_000,
            "frame": 60_000,
            "frame_sample": 4_000,
            "butterfly": 14_000,
            "point": 16_000,
            "log2": 14_000,
        },
        "log_mel": {
            "call": 100_000,
            "sample": 3_000,
            "frame": 60_000,
            "frame_sample": 4_000,
            "butterfly": 14_000,
            "point": 16_000,
            "weight": 5_000,
            "band": 30_000,
        },
        "mfcc": {
            "call": 100_000,
            "sample": 3_000,
            "frame": 60_000,
            "frame_sample": 4_000,
            "butterfly": 14_000,
            "point": 16_000,
            "weight": 5_000,
            "band": 30_000,
            "product": 2_000,
            "cepstrum": 12_000,
        },
        "gmm": {"call": 100_000, "column": 8_000, "distance": 5_000, "component": 24_000, "class": 40_000},
        "dense": {
            "call": 100_000,
            "input": 10_000,
            "product": 2_000,
            "output": 20_000,
            "curve": 20_000,
            "share": 80_000,
        },
        "motion_features": {"call": 100_000, "value": 10_000, "product": 3_000, "point": 10_000, "band": 40_000},
        "fuse": {"call": 40_000, "product": 4_000, "value": 8_000},
    },
}
"""By instruction set, operator, and loop (`cycles.loops`)."""
