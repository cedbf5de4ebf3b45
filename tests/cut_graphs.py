"""Networks that may be cut between a device and a server, what each cut costs, and DADS's min-cut: referees.

DADS (Hu, Bao, Wang, Liu, INFOCOM 2019) cuts a graph of layers so that, under light load, one frame takes the least
time: the sum of what the device computes, of what is sent, an output once for all its readers, and of what the server
computes. Nothing of that overlaps, and the answer's way back is not counted. As a flow network: the source (device)
has an edge to every layer with its time on the server, every layer one to the sink (server) with its time on the
device, and one to a copy of itself with the time of sending its output, from which edges that are never cut lead to its
readers. What is on the sink's side runs on the server.

A cut counts edges from source to sink alone, so drawn as above an output of the server comes back to the device for
nothing. Edges that are never cut, from each reader to what it reads, forbid that, as DADS's problem does: what reads
an output of the server runs there, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from random import Random

from leo_runtime.documents.problem import (
    AccuracyBudget,
    Criterion,
    Link,
    Mode,
    Problem,
    Resource,
    StageModes,
)
from leo_runtime.layers.count import macs
from leo_runtime.layers.graph import LayerGraph

RATES = (50_000, 125_000, 250_000, 500_000, 1_250_000, 2_500_000, 6_250_000, 12_500_000)
"""Bytes a second. Each divides 10^9, so that the energy of a byte at one milliwatt is a whole number of picojoules."""
FORMS = ("float32", "float16", "int8", "int4")


@dataclass(frozen=True, slots=True)
class Form:
    """What an output is sent as: how large it is then, how long packing takes, and what is lost."""

    name: str
    bytes: int
    pack_us: int = 0
    loss_ppm: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: which others it reads, how long it takes, and what its output may be sent as; first as it is."""

    inputs: tuple[int, ...]
    device_us: int
    server_us: int
    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Layers, inputs before their readers, and the rate of the link. The first is what a sensor gives: it stays."""

    layers: tuple[Layer, ...]
    bytes_per_s: int

    def sending_us(self, form: Form) -> int:
        """How long sending so much takes."""
        return -(-form.bytes * 1_000_000 // self.bytes_per_s)

    def readers(self, layer: int) -> tuple[int, ...]:
        """The layers that read its output."""
        return tuple(number for number, one in enumerate(self.layers) if layer in one.inputs)

    def as_it_is(self) -> Network:
        """The same with every output sent as it is, in its first form."""
        return replace(self, layers=tuple(replace(one, forms=one.forms[:1]) for one in self.layers))

    def cuts(self) -> Iterator[frozenset[int]]:
        """Every set of layers that may be the server's: what reads an output of the server is there, too."""
        for chosen in product((False, True), repeat=len(self.layers) - 1):
            server = frozenset(number for number, there in enumerate(chosen, 1) if there)
            if all(reader in server for number in server for reader in self.readers(number)):
                yield server

    def crossing(self, server: frozenset[int]) -> tuple[int, ...]:
        """The layers of the device whose output the server reads."""
        return tuple(
            number
            for number in range(len(self.layers))
            if number not in server and any(reader in server for reader in self.readers(number))
        )

    def computing_us(self, server: frozenset[int]) -> int:
        """What device and server take together."""
        return sum(one.server_us if number in server else one.device_us for number, one in enumerate(self.layers))


def random_network(rng: Random, layers: int, *, chain: bool = False, forms: int = 1) -> Network:
    """A network whose outputs mostly shrink, on a server that is mostly faster. A chain: each layer reads the last."""
    made: list[Layer] = []
    size = rng.randint(10_000, 400_000)
    faster = rng.choice((1, 2, 5, 20))
    for number in range(layers):
        last = range(max(0, number - 3), number)
        inputs = (
            (number - 1,) if chain and number else tuple(sorted(rng.sample(last, min(number, rng.choice((1, 1, 2))))))
        )
        device_us = rng.randint(200, 60_000)
        server_us = rng.randint(1, 2 * device_us // faster + 1)
        size = max(1, size * rng.randint(10, 120) // 100)
        made.append(Layer(inputs, device_us, server_us, _forms(rng, size)[:forms]))
    return Network(tuple(made), rng.choice(RATES))


def _forms(rng: Random, size: int) -> tuple[Form, ...]:
    """As it is, and packed: fewer bytes take longer to pack and lose more, but how much is drawn."""
    found = [Form(FORMS[0], size)]
    for part, name in zip((2, 4, 8), FORMS[1:], strict=True):
        loss_ppm = found[-1].loss_ppm + rng.randint(0, 4_000) * part
        found.append(Form(name, -(-size // part) + 4, found[-1].pack_us + rng.randint(0, 500), loss_ppm))
    return tuple(found)


def network_of(graph: LayerGraph, bytes_per_s: int, *, faster: int = 25, smaller: int = 1) -> Network:
    """The layers of a model, each with its own work: 50 us a million multiply-accumulates, and 1 us besides, on the
    server, `faster` times as long on the device. An image comes in eight bits a channel; all else is sent `smaller`.
    """
    given = dict.fromkeys(graph.inputs, 0)
    layers = [Layer((), 1, 1, (Form(FORMS[0], sum(graph.tensors[one].bytes for one in graph.inputs) // 4),))]
    for layer in graph.layers:
        server_us = 1 + 50 * macs(replace(graph, layers=(layer,))) // 1_000_000
        size = sum(graph.tensors[one].bytes for one in layer.outputs) // smaller
        inputs = tuple(dict.fromkeys(given[one] for one in layer.inputs if one in given))
        given |= dict.fromkeys(layer.outputs, len(layers))
        layers.append(Layer(inputs, faster * server_us, server_us, (Form(FORMS[0], size),)))
    return Network(tuple(layers), bytes_per_s)


def min_cut_us(network: Network, *, comes_back: bool = False) -> int:
    """DADS's least time of one frame, where every output is sent in the form that takes the least.

    With `comes_back` as the flow network is drawn without the edges that forbid it: for nothing.
    """
    count = len(network.layers)
    device, server = 2 * count, 2 * count + 1
    never = 1 + sum(one.device_us + one.server_us + _least_us(network, one) for one in network.layers)
    edges: dict[tuple[int, int], int] = {}
    for number, layer in enumerate(network.layers):
        edges[device, number] = layer.server_us if number else never
        edges[number, server] = layer.device_us
        edges[number, count + number] = _least_us(network, layer)
        for reader in network.readers(number):
            edges[count + number, reader] = never
            if not comes_back:
                edges[reader, number] = never
    return max_flow(edges, device, server)


def _least_us(network: Network, layer: Layer) -> int:
    return min(form.pack_us + network.sending_us(form) for form in layer.forms)


def max_flow(edges: dict[tuple[int, int], int], source: int, sink: int) -> int:
    """The greatest flow, which is the least cut: along a shortest path with room, until there is none."""
    left = dict.fromkeys(((end, start) for start, end in edges), 0) | edges
    beside: dict[int, list[int]] = {}
    for start, end in left:
        beside.setdefault(start, []).append(end)
    flow = 0
    while True:
        came: dict[int, int] = {source: source}
        reached = deque([source])
        while reached and sink not in came:
            node = reached.popleft()
            for end in beside[node]:
                if end not in came and left[node, end]:
                    came[end] = node
                    reached.append(end)
        if sink not in came:
            return flow
        path = [sink]
        while path[-1] != source:
            path.append(came[path[-1]])
        steps = list(zip(path[1:], path, strict=False))
        room = min(left[step] for step in steps)
        for start, end in steps:
            left[start, end] -= room
            left[end, start] += room
        flow += room


def least_us(network: Network, loss_ppm_max: int | None = None) -> int:
    """The least time of one frame over every cut and all forms of what crosses it, tried one after the other."""
    return min(_cut_us(network, server, loss_ppm_max) for server in network.cuts())


def _cut_us(network: Network, server: frozenset[int], loss_ppm_max: int | None) -> int:
    forms = product(*(network.layers[number].forms for number in network.crossing(server)))
    return network.computing_us(server) + min(
        sum(form.pack_us + network.sending_us(form) for form in chosen)
        for chosen in forms
        if loss_ppm_max is None or sum(form.loss_ppm for form in chosen) <= loss_ppm_max
    )


def problem_of(
    network: Network,
    objective: Criterion = "energy",
    *,
    packs: bool = False,
    loss_ppm_max: int | None = None,
    comes_back: bool = False,
) -> Problem:
    """One frame of it: device, server and radio have a lane each, and draw a milliwatt while they do something.

    So energy in nanojoules is the sum of all times in microseconds, which is what DADS minimises; where layers are a
    chain, makespan is that sum, too. With `packs` there is a stage behind every layer that packs its output, a variant
    a form; on the server it does nothing.
    """
    stages: list[StageModes] = []
    for number, layer in enumerate(network.layers):
        read = tuple(_output_name(one, packs) for one in layer.inputs)
        modes = [_mode("device", layer.device_us, layer.forms[0])]
        if number:
            modes.append(_mode("server", layer.server_us, layer.forms[0]))
        stages.append(StageModes(name=_output_name(number, False), inputs=read, modes=tuple(modes)))
        if packs:
            packed = [_mode("device", 1 + form.pack_us, form) for form in layer.forms]
            packed += [_mode("server", 1, layer.forms[0])] if number else []
            inputs = (_output_name(number, False),)
            stages.append(StageModes(name=_output_name(number, True), inputs=inputs, modes=tuple(packed)))
    way = {"bytes_per_s": network.bytes_per_s, "energy_pj_per_byte": 1_000_000_000 // network.bytes_per_s}
    links = [Link(source="device", target="server", resource="radio", **way)]
    if comes_back:
        links.append(Link(source="server", target="device"))
    budget = (AccuracyBudget(stages=tuple(one.name for one in stages), loss_ppm_max=loss_ppm_max or 0),)
    return Problem(
        format="leo-problem/1",
        name="cut",
        resources=tuple(Resource(name=name) for name in ("device", "server", "radio")),
        links=tuple(links),
        stages=tuple(stages),
        accuracy_budgets=() if loss_ppm_max is None else budget,
        objective=(objective,),
    )


def _output_name(layer: int, packed: bool) -> str:
    return f"{layer} packed" if packed else str(layer)


def _mode(resource: str, duration_us: int, form: Form) -> Mode:
    return Mode(
        resource=resource,
        variant=form.name,
        duration_us=duration_us,
        energy_nj=duration_us,
        output_bytes=form.bytes,
        accuracy_loss_ppm=form.loss_ppm,
    )
