"""Workloads of stages that only cost, with a machine and a profile: drawn at random, for what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import TaskGraph, Workload

PROCESSORS = ("dsp", "cpu", "gpu")


def workload_of(*graphs: TaskGraph, name: str = "w") -> Workload:
    return Workload(format="leo-workload/1", name=name, graphs=graphs)


def profile_of(costs: Mapping[tuple[str, str], tuple[int, int]], hardware: str = "m") -> Profile:
    """`costs` by stage and processor: how long a run takes, in us, and its energy, in nJ."""
    return Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": hardware,
            "hardware": hardware,
            "costs": [
                {"stage": stage, "processor": where, "fixed_us": us, "energy_nj": nj, "source": "modelled"}
                for (stage, where), (us, nj) in costs.items()
            ],
        }
    )


def random_machine(rng: Random, *, lingers: bool = True) -> Hardware:
    """Three processors, of which some sleep, a radio, and links between all of them."""
    processors = []
    for name in PROCESSORS:
        awake_mw = rng.randrange(50)
        processors.append(
            {
                "name": name,
                "backend": "none",
                "lanes": rng.randint(1, 2),
                "awake_mw": awake_mw,
                "asleep_mw": rng.randrange(awake_mw + 1) if lingers else 0,
                "wake_latency_us": rng.randrange(300),
                "wake_energy_nj": rng.randrange(90_000),
            }
        )
        if not lingers or rng.randrange(3):
            processors[-1]["idle_timeout_us"] = rng.randrange(20_000) if lingers else 0
    radio = {"name": "wifi", "awake_mw": rng.randrange(200), "wake_latency_us": rng.randrange(300)}
    if lingers:
        radio |= {"tail_us": rng.randrange(30_000), "tail_mw": rng.randrange(200)}
    links = [
        {
            "source": a,
            "target": b,
            "latency_us": rng.randrange(90),
            "bytes_per_s": 1_000_000,
            "energy_pj_per_byte": 9000,
        }
        for a in PROCESSORS
        for b in PROCESSORS
        if a != b
    ]
    links[0]["radio"] = "wifi"
    return Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "m", "processors": processors, "radios": [radio], "links": links}
    )


def random_workload(rng: Random) -> Workload:
    """One to three graphs of two to five stages; some gates, with and without a stated chance, and some budgets."""
    graphs = []
    for g in range(rng.randint(1, 3)):
        period_us = rng.choice((5_000, 10_000, 15_000, 20_000))
        builder = GraphBuilder(
            f"g{g}",
            period_us=period_us,
            offset_us=rng.choice((0, 0, 2_500)),
            deadline_us=rng.randint(period_us // 4, 2 * period_us),
            accuracy_loss_ppm_max=1000 if rng.randrange(3) == 0 else None,
        )
        names: list[str] = []
        gates: list[str] = []
        for s in range(rng.randint(2, 5)):
            name = rng.choice((f"s{s}", f"g{g}.s{s}"))  # Stages of one name may be shared.
            inputs = rng.sample(names, min(len(names), rng.randint(1, 2)))
            gate = rng.choice(gates) if gates and rng.randrange(2) else None
            chance_ppm = rng.choice((1, 125_000, 999_999)) if rng.randrange(3) == 0 else None
            builder.stage(name, "cost", *inputs, gate=gate, chance_ppm=chance_ppm, output_bytes=rng.randint(1, 900))
            names.append(name)
            gates += [name] if chance_ppm is not None else []
        graphs.append(builder.build())
    return workload_of(*graphs)


def random_profile(rng: Random, workload: Workload) -> Profile:
    """Every stage on one processor at least."""
    names = dict.fromkeys(stage.name for graph in workload.graphs for stage in graph.stages)
    costs = {}
    for name in names:
        for where in rng.sample(PROCESSORS, rng.randint(1, len(PROCESSORS))):
            costs[name, where] = rng.randint(10, 3000), rng.randint(0, 900_000)
    return profile_of(costs)
