"""Windows like those of a phone that senses: detectors that let models run, radios with tails, releases that recur.

`leo_runtime.testing.windows` draws small windows with every corner of the format; these are of the kinds and sizes that
a runtime asks about. Powers are those of published phones, rounded; times and sizes are drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from leo_runtime.documents.problem import Deadline, Link, Mode
from leo_runtime.documents.window import CERTAIN, WindowProblem, WindowResource, WindowStage

Kind = Literal["gated", "horizon", "mixed"]
Trait = Literal["lanes", "wifi", "lte", "nested", "tight", "late"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""`gated` one release whose models wait for detectors; `horizon` two to four small releases; `mixed` both, with lanes
that earlier frames still use and resources that are still awake."""
TRAITS: tuple[Trait, ...] = get_args(Trait)
"""`lanes` several lanes a processor; `wifi`, `lte` a cloud behind a radio with a tail (of both, the latter), with `lte`
models so large that it can be worth it; `nested` gates behind gates; `tight` and `late` deadlines."""

_POWER_MW = {"dsp": 60, "cpu": 620, "gpu": 900, "cloud": 0}
_HOLD_MW = {"cpu": (40, 54, 80, 90, 140), "gpu": (40, 54, 80, 150)}
_WAKE_NJ = {"cpu": (280_000, 600_000, 1_600_000, 5_000_000, 9_000_000), "gpu": (1_500_000, 6_000_000, 20_000_000)}
_WAKE_US = {"cpu": (500, 1_000, 2_000, 5_000, 30_000), "gpu": (490, 1_000, 3_000)}
_LINGER_US = {"cpu": (2_000, 5_000, 10_000, 20_000, 50_000), "gpu": (2_000, 5_000, 20_000)}
_CHANCES = (20_000, 50_000, 100_000, 200_000, 300_000, 500_000, 700_000, 900_000)
_PERIODS_US = (50_000, 100_000, 200_000)


@dataclass(frozen=True, slots=True)
class _Node:
    """A stage before it has costs. `role` is what its costs are drawn by, its name up to the first digit."""

    name: str
    release_us: int
    inputs: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    chance_ppm: int = CERTAIN

    @property
    def role(self) -> str:
        return self.name.rstrip("0123456789_@")


def sensing_window(
    seed: int | Random, *, kind: Kind | None = None, stages: int | None = None, traits: Collection[Trait] | None = None
) -> WindowProblem:
    """A window of exactly `stages` stages (4 to 20 where None), the same for the same arguments; all can be answered.

    What is None is drawn: each kind is as likely as the others, each trait with a chance of one in four.
    """
    rng = seed if isinstance(seed, Random) else Random(seed)
    drawn_kind = rng.choice(KINDS)
    drawn_stages = rng.randint(4, 20)
    drawn_traits = tuple(trait for trait in TRAITS if rng.randrange(4) == 0)
    kind, count = kind or drawn_kind, stages or drawn_stages
    has = frozenset(drawn_traits if traits is None else traits)
    period_us = rng.choice(_PERIODS_US)
    # Inputs come before who reads them, so any first part of the nodes is a graph of its own.
    nodes = (_recurring(rng, count, period_us) if kind == "horizon" else _listening(rng, count, kind, has, period_us))[
        :count
    ]
    releases = sorted({0, *(node.release_us for node in nodes)})
    horizon_us = releases[-1] + period_us * rng.choice((1, 1, 2, 5, 10))
    processors = ("dsp", "cpu", "gpu") + (("cloud",) if has & {"wifi", "lte"} else ())
    made = tuple(_stage(rng, node, processors, has) for node in nodes)
    named = "+".join(trait for trait in TRAITS if trait in has) or "plain"
    return WindowProblem(
        format="leo-problem/2",
        name=f"{kind}-{count:03d}-{named}",
        horizon_us=horizon_us,
        releases_us=tuple(releases),
        resources=_resources(rng, processors, kind, has),
        links=_links(rng, processors, has),
        stages=made,
        deadlines=_deadlines(rng, made, has),
    )


def _listening(rng: Random, count: int, kind: Kind, has: Collection[str], period_us: int) -> list[_Node]:
    """Pipelines in which detectors let models run: a few large ones at once, or one a release."""
    nodes: list[_Node] = []
    releases = rng.randint(1, 3) if kind == "mixed" else 1
    while len(nodes) < count:
        p = sum(node.role == "sensor" for node in nodes)
        release_us = period_us * (p % releases)
        nodes.append(_Node(f"sensor{p}", release_us))
        nodes += (_nested if "nested" in has and rng.randrange(3) else _detected)(rng, p, release_us)
    return nodes


def _nested(rng: Random, p: int, release_us: int) -> list[_Node]:
    """A gate, features behind it, and models behind these."""
    sensor, gate, features, chance = f"sensor{p}", f"gate{p}", f"features{p}", rng.choice(_CHANCES)
    nodes = [
        _Node(gate, release_us, (sensor,)),
        _Node(features, release_us, (gate, sensor), (gate,), chance),
    ]
    for m in range(rng.randint(1, 3)):
        if rng.randrange(2):
            nodes.append(_Node(f"model{p}_{m}", release_us, (features,), (features,), chance))
            continue
        trunk = f"trunk{p}_{m}"
        nodes.append(_Node(trunk, release_us, (features,), (features,), chance))
        nodes.append(_Node(f"head{p}_{m}", release_us, (trunk,), (trunk,), chance // rng.randint(1, 2)))
    return nodes


def _detected(rng: Random, p: int, release_us: int) -> list[_Node]:
    """One to three gates with a model each, and what else may follow them."""
    sensor = f"sensor{p}"
    gates = {f"gate{p}_{k}": rng.choice(_CHANCES) for k in range(rng.randint(1, 3))}
    nodes = [_Node(gate, release_us, (sensor,)) for gate in gates]
    nodes += [
        _Node(f"model{p}_{k}", release_us, (gate, sensor), (gate,), chance)
        for k, (gate, chance) in enumerate(gates.items())
    ]
    first, chance = next(iter(gates.items()))
    for k in range(rng.randint(0, 3)):
        match rng.randrange(3):
            case 0 if len(gates) > 1:
                both = tuple(rng.sample(sorted(gates), 2))
                nodes.append(_Node(f"both{p}_{k}", release_us, both, both, min(CERTAIN, sum(gates[g] for g in both))))
            case 1:
                keyword = f"keyword{p}_{k}"
                nodes.append(_Node(keyword, release_us, (first, sensor), (first,), chance))
                nodes.append(_Node(f"recogniser{p}_{k}", release_us, (keyword, sensor), (keyword,), chance // 2))
            case _:
                nodes.append(_Node(f"more{p}_{k}", release_us, (first, sensor), (first,), chance))
    return nodes


def _recurring(rng: Random, count: int, period_us: int) -> list[_Node]:
    """Two to four pipelines of two or three stages, each due at every, or every other, release."""
    pipelines = [(rng.randrange(3) == 0, rng.choice(_CHANCES), rng.randint(1, 2)) for _ in range(rng.randint(2, 4))]
    pipelines[0] = (*pipelines[0][:2], 1)
    nodes: list[_Node] = []
    release = 0
    while len(nodes) < count:
        for p, (gated, chance, every) in enumerate(pipelines):
            if release % every:
                continue
            time = release * period_us
            sense, gate, infer = f"sense{p}@{release}", f"gate{p}@{release}", f"infer{p}@{release}"
            nodes.append(_Node(sense, time))
            if gated:
                nodes.append(_Node(gate, time, (sense,)))
                nodes.append(_Node(infer, time, (sense, gate), (gate,), chance))
            else:
                nodes.append(_Node(infer, time, (sense,)))
        release += 1
    return nodes


def _stage(rng: Random, node: _Node, processors: Collection[str], has: Collection[str]) -> WindowStage:
    """Its modes: what runs where, how long, and what it sends."""
    heavy = 100 if "lte" in has and node.role in ("model", "trunk", "more") else 1
    match node.role:
        case "sensor" | "sense":
            cpu_us, output, usable = rng.randint(80, 400), rng.randint(2_000, 50_000), {"dsp"}
        case "gate" | "keyword":
            cpu_us, output, usable = rng.randint(400, 2_500), 256, {"dsp"} | ({"cpu"} if rng.randrange(2) else set())
        case "features":
            cpu_us, output, usable = rng.randint(2_000, 6_000), rng.randint(2_000, 7_000), {"dsp", "cpu", "gpu"}
        case "both" | "head":
            cpu_us, output, usable = rng.randint(500, 5_000), 500, {"dsp", "cpu", "gpu"}
        case _:
            usable = {"cpu", "gpu", "cloud"} | ({"dsp"} if rng.randrange(3) == 0 else set())
            cpu_us, output = rng.randint(6_000, 120_000) * heavy, rng.randint(1_000, 4_000)
    modes = []
    for processor in processors:
        if processor not in usable or (len(usable) > 1 and processor != "cpu" and rng.randrange(4) == 0):
            continue
        percent = {"dsp": (250, 500), "cpu": (100, 100), "gpu": (8, 30), "cloud": (4, 15)}[processor]
        duration = max(1, cpu_us * rng.randint(*percent) // 100)
        modes.append(
            Mode(
                resource=processor,
                duration_us=duration,
                energy_nj=duration * _POWER_MW[processor],
                output_bytes=output,
            )
        )
    return WindowStage(
        name=node.name,
        release_us=node.release_us,
        inputs=node.inputs,
        modes=tuple(modes),
        gates=node.gates,
        chance_ppm=node.chance_ppm,
    )


def _resources(
    rng: Random, processors: Collection[str], kind: Kind, has: Collection[str]
) -> tuple[WindowResource, ...]:
    def lanes(most: int) -> int:
        return rng.randint(1, most) if "lanes" in has else 1

    def mixed(resource: WindowResource) -> WindowResource:
        """What earlier frames left: lanes that are not free yet, and the rest of their lingering."""
        ready = tuple(rng.randint(0, 12) * 1_000 for _ in range(resource.lanes)) if rng.randrange(2) else ()
        change: dict[str, object] = {"ready_us": ready} if ready else {}
        if resource.linger_us is not None:
            change["awake_until_us"] = max(ready, default=0) + resource.linger_us * rng.randint(0, 2) // 2
        return WindowResource.model_validate({**resource.model_dump(exclude_unset=True), **change})

    hold_mw = rng.choice((3, 6, 8))
    dsp = WindowResource(name="dsp", lanes=lanes(3), awake_mw=hold_mw, linger_us=None)
    if kind == "mixed" and rng.randrange(2):
        dsp = WindowResource(
            name="dsp",
            lanes=dsp.lanes,
            awake_mw=hold_mw,
            linger_us=2_000_000,
            linger_mw=hold_mw // 2,
            wake_latency_us=1_000,
            wake_energy_nj=20_000,
        )
    found = [mixed(dsp) if kind == "mixed" else dsp]
    for name in ("cpu", "gpu"):
        awake = kind == "mixed" and rng.randrange(2) == 0
        processor = WindowResource(
            name=name,
            lanes=lanes(2) if name == "cpu" else 1,
            awake=awake,
            awake_mw=rng.choice(_HOLD_MW[name]),
            wake_latency_us=rng.choice(_WAKE_US[name]),
            wake_energy_nj=rng.choice(_WAKE_NJ[name]),
            linger_us=rng.choice(_LINGER_US[name]),
        )
        found.append(mixed(processor) if awake else processor)
    if "cloud" in processors:
        found.append(WindowResource(name="cloud", lanes=8, linger_us=None))
        found.append(_radio(has))
    return tuple(found)


def _radio(has: Collection[str]) -> WindowResource:
    if "lte" in has:
        return WindowResource(
            name="lte",
            awake=False,
            awake_mw=1_060,
            linger_us=11_000_000,
            wake_latency_us=260_000,
            wake_energy_nj=314_860_000,
        )
    return WindowResource(
        name="wifi",
        awake=False,
        awake_mw=133,
        linger_us=238_000,
        linger_mw=119,
        wake_latency_us=15_000,
        wake_energy_nj=9_900_000,
    )


def _links(rng: Random, processors: Collection[str], has: Collection[str]) -> tuple[Link, ...]:
    radio = "lte" if "lte" in has else "wifi"
    up, down = (
        ((750_000, 3_808_000), (1_600_000, 416_000))
        if radio == "lte"
        else (
            (2_500_000, 2_264_000),
            (4_000_000, 1_096_000),
        )
    )
    links = []
    for source in processors:
        for target in processors:
            if source == target:
                continue
            if "cloud" in (source, target):
                rate, per_byte = up if target == "cloud" else down
                latency_us = rng.choice((15_000, 30_000) if radio == "lte" else (2_500, 10_000))
                links.append(
                    Link(
                        source=source,
                        target=target,
                        latency_us=latency_us,
                        bytes_per_s=rate,
                        energy_pj_per_byte=per_byte,
                        resource=radio,
                    )
                )
                continue
            links.append(
                Link(
                    source=source,
                    target=target,
                    latency_us=rng.choice((200, 500, 1_000, 3_000)),
                    bytes_per_s=rng.choice((100_000_000, 500_000_000)),
                    energy_nj=rng.choice((13_200, 33_000)),
                    energy_pj_per_byte=rng.choice((0, 1_000)),
                )
            )
    return tuple(links)


def _deadlines(rng: Random, stages: tuple[WindowStage, ...], has: Collection[str]) -> tuple[Deadline, ...]:
    """A deadline for all that nothing reads, some percent of what it takes in the fastest modes without transfers."""
    takes: dict[str, int] = {}
    for stage in stages:
        before = max((takes[name] for name in stage.inputs), default=0)
        takes[stage.name] = before + min(mode.duration_us for mode in stage.modes)
    read = {name for stage in stages for name in stage.inputs}
    low, high = (50, 140) if "late" in has else (120, 250) if "tight" in has else (200, 600)
    found = []
    for stage in stages:
        if stage.name not in read:
            within_us = -(-takes[stage.name] * rng.randint(low, high) // 100 // 500) * 500
            found.append(Deadline(stage=stage.name, deadline_us=stage.release_us + within_us, weight=rng.randint(1, 2)))
    return tuple(found)
