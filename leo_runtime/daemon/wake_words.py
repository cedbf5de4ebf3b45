"""Which wake words a workload knows, and their graphs once more for every connection that may speak. Pure.

Each place for a connection is a copy of the graphs, which reads a stream of its own. A copy that nobody feeds is never
due, and never foreseen; all of them are graphs of one workload, placed together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from leo_runtime.daemon.kinds import GraphCopy
from leo_runtime.documents.binding import bind
from leo_runtime.documents.workload import Stage, Stream, TaskGraph, Workload
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one connection is heard with."""

    graphs: tuple[TaskGraph, ...]
    """As the workload has them."""
    stream: Stream
    """The one that all of them read."""
    window_samples: int
    """How many samples of it the longest of their windows is of."""

    @property
    def words(self) -> tuple[str, ...]:
        """The wake words by name: the labels of the graphs' decisions."""
        return tuple(label for graph in self.graphs for label in words_of(graph))

    @property
    def period_us(self) -> int:
        """The longest of the graphs: within it all of them are due."""
        return max(graph.period_us for graph in self.graphs)


def words_of(graph: TaskGraph) -> tuple[str, ...]:
    """The labels that a graph may find, but the background."""
    decision = graph.decision
    return () if decision is None else tuple(label for label in decision.labels if label != decision.background)


def spoken(word: str) -> str:
    """A wake word as it is said, whichever way it is written: `okay nabu` of `okay_nabu` and `Okay-Nabu`."""
    return re.sub(r"[\s_-]+", " ", word).strip().casefold()


def hearing(workload: Workload, names: Sequence[str]) -> Hearing:
    """What is heard with; `names` empty: the only graph that decides by sound alone. Raises `InputError`."""
    fitting = {graph.name: graph for graph in workload.graphs if _hears(graph, workload)}
    if not names and len(fitting) != 1:
        raise InputError(
            f"it is not said which graph of workload `{workload.name}` is the wake word",
            hint=f'name it: graphs = ["..."], of {", ".join(fitting)}' if fitting else "none decides by sound alone",
        )
    for name in names:
        if name not in fitting:
            raise InputError(
                f"no graph of workload `{workload.name}` decides by sound of one channel alone and is called `{name}`",
                hint=did_you_mean(name, fitting),
            )
    graphs = tuple([fitting[name] for name in names] if names else fitting.values())
    streams = {name for graph in graphs for name in _streams(graph)}
    if len(streams) > 1:
        raise InputError(
            f"the wake words read several streams: {', '.join(sorted(streams))}",
            hint="a connection brings one: have the graphs read the same",
        )
    found = Hearing(graphs, workload.stream(streams.pop()), max(_window(graph, workload) for graph in graphs))
    twice = sorted({word for word in found.words if found.words.count(word) > 1})
    if twice:
        raise InputError(f"two of the graphs find the same wake word: {', '.join(twice)}")
    return found


def place_name(name: str, place: int) -> str:
    """What a graph or stream is called for a place, counted from 1."""
    return f"{name}@{place}"


def copies(found: Hearing, places: int) -> tuple[GraphCopy, ...]:
    """The graphs once more for every place, each with its own stream."""
    return tuple(
        GraphCopy(graph.name, _copied(graph, place), _renamed(found.stream, place))
        for place in range(1, places + 1)
        for graph in found.graphs
    )


def _hears(graph: TaskGraph, workload: Workload) -> bool:
    """Whether it decides by one stream of sound of one channel."""
    streams = [workload.stream(name) for name in _streams(graph)]
    return (
        graph.decision is not None
        and len(streams) == 1
        and streams[0].kind == "audio"
        and streams[0].channels == 1
        and float(streams[0].rate_hz).is_integer()
    )


def _params(stage: Stage) -> list[dict[str, Any]]:
    return [stage.params, *(variant.params for variant in stage.variants)]


def _streams(graph: TaskGraph) -> list[str]:
    read = [params["stream"] for stage in graph.stages for params in _params(stage) if "stream" in params]
    return list(dict.fromkeys(read))


def _window(graph: TaskGraph, workload: Workload) -> int:
    """How many samples the longest window is of that it reads."""
    sources = [stage for stage in bind(graph, workload).values() if stage.operator.is_source]
    return max(int(params.samples) for stage in sources for params in stage.params.values())


def _renamed(stream: Stream, place: int) -> Stream:
    return stream.model_copy(update={"name": place_name(stream.name, place)})


def _copied(graph: TaskGraph, place: int) -> TaskGraph:
    def moved(params: dict[str, Any]) -> dict[str, Any]:
        return params | {"stream": place_name(params["stream"], place)} if "stream" in params else params

    stages = tuple(
        stage.model_copy(
            update={
                "params": moved(stage.params),
                "variants": tuple(one.model_copy(update={"params": moved(one.params)}) for one in stage.variants),
            }
        )
        for stage in graph.stages
    )
    return graph.model_copy(update={"name": place_name(graph.name, place), "stages": stages})
