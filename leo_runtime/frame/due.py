"""When the answers of a graph are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leo_runtime.documents.workload import TaskGraph


def runs_at(graph: TaskGraph) -> Callable[[int], bool]:
    """As `graph.runs_at`; what every release asks is read once, since a document's own attributes take far longer."""
    if graph.rate_hz is not None:
        return graph.runs_at
    period_us, offset_us = graph.period_us, graph.offset_us
    return lambda at_us: at_us >= offset_us and (at_us - offset_us) % period_us == 0


def collected_deadline_us(graph: TaskGraph, frames: int) -> int:
    """How long after the last of so many collected frames the answers of a graph are due."""
    return frames * graph.deadline_us


def last_due_us(graphs: Sequence[TaskGraph], releases_us: tuple[int, ...]) -> int:
    """When the last of the answers of several graphs is due, on the run's clock."""
    return releases_us[-1] + max([collected_deadline_us(graph, len(releases_us)) for graph in graphs])


def due_us(graph: TaskGraph, releases_us: tuple[int, ...]) -> int:
    """When the answers of a graph are due, on the run's clock."""
    return releases_us[-1] + collected_deadline_us(graph, len(releases_us))
