"""Machines of which only one processor has a link to the cloud, so that what goes there goes together."""

from random import Random

from leo_runtime.documents.problem import Deadline, Link, Mode, Problem, Resource, StageModes

HUB, CLOUD, RADIO = "cpu", "cloud", "wifi"
SPOKES = ("dsp", "npu", "gpu")
FACTORS = {HUB: (100, 90_000), "dsp": (150, 18_000), "npu": (30, 21_000), "gpu": (40, 60_000), CLOUD: (6, 0)}
"""Of a stage of one unit of work: microseconds, nanojoules."""


def star_problem(seed: int, *, stages: int = 6) -> Problem:
    """A connected graph on a hub, spokes around it, and a cloud that takes no energy but to send to it from the hub.

    The spokes are cheaper than the hub, so that a stage which goes to the cloud by itself costs more than it saves, or
    has no link at all. The first stage reads a sensor: it is small, and not for the cloud.
    """
    rng = Random(seed)
    spokes = SPOKES[: rng.randint(1, 3)]
    graph = _graph(rng, stages)
    read = {j for inputs in graph for j in inputs}
    work = [rng.randint(1, 4), *[rng.randint(5, 200) for _ in range(stages - 1)]]
    due_us = 100 * sum(work) * rng.randint(30, 150) // 100
    return Problem(
        format="leo-problem/1",
        name=f"star-{seed}",
        resources=_resources(rng, spokes),
        links=_links(rng, spokes),
        stages=tuple(
            StageModes(
                name=f"s{i}", inputs=tuple(f"s{j}" for j in inputs), modes=_modes(rng, work[i], spokes, sent=i > 0)
            )
            for i, inputs in enumerate(graph)
        ),
        deadlines=tuple(
            Deadline(stage=f"s{i}", deadline_us=due_us) for i in range(stages) if i not in read and rng.randrange(4)
        ),
    )


def _graph(rng: Random, stages: int) -> list[list[int]]:
    """The inputs of each stage: one or two of the three before it."""
    graph: list[list[int]] = [[]]
    for i in range(1, stages):
        near = range(max(0, i - 3), i)
        graph.append(sorted(rng.sample(near, min(len(near), 1 if rng.randrange(3) else 2))))
    return graph


def _resources(rng: Random, spokes: tuple[str, ...]) -> tuple[Resource, ...]:
    asleep = {"awake": False, "wake_latency_us": 500, "wake_energy_nj": 100_000}
    return (
        Resource(name=HUB, lanes=rng.randint(1, 4)),
        *[Resource(name=name, **(asleep if rng.randrange(3) == 0 else {})) for name in spokes],
        Resource(name=CLOUD, lanes=8),
        Resource(name=RADIO, awake_mw=rng.choice((0, 130))),
    )


def _links(rng: Random, spokes: tuple[str, ...]) -> tuple[Link, ...]:
    """From and to the hub all that there are, between spokes some, and to the cloud from the hub alone."""
    near = [(HUB, spoke) for spoke in spokes]
    near += [(a, b) for k, a in enumerate(spokes) for b in spokes[k + 1 :] if rng.randrange(2)]
    links = [
        Link(source=source, target=target, latency_us=100, bytes_per_s=1_000_000_000, energy_nj=rng.randint(0, 40_000))
        for a, b in near
        for source, target in ((a, b), (b, a))
    ]
    for source, target in ((HUB, CLOUD), (CLOUD, HUB)):
        pj = rng.randint(200_000, 2_000_000)
        links.append(
            Link(
                source=source,
                target=target,
                latency_us=4000,
                bytes_per_s=3_000_000,
                energy_pj_per_byte=pj,
                resource=RADIO,
            )
        )
    return tuple(links)


def _modes(rng: Random, work: int, spokes: tuple[str, ...], *, sent: bool) -> tuple[Mode, ...]:
    size = rng.choice((12, 256, 1_000, 4_000))
    names = [HUB, *[spoke for spoke in spokes if rng.randrange(8)], *([CLOUD] if sent and rng.randrange(8) else [])]
    return tuple(
        Mode(
            resource=name,
            duration_us=max(1, work * FACTORS[name][0] * rng.randint(80, 120) // 100),
            energy_nj=work * FACTORS[name][1] * rng.randint(80, 120) // 100,
            output_bytes=size,
        )
        for name in names
    )
