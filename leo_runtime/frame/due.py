"""When the answers of a graph are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leo_runtime.documents.workload import TaskGraph


def collected_deadline_us(graph: TaskGraph, frames: int) -> int:
    """How long after the last of so many collected frames the answers of a graph are due."""
    return frames * graph.deadline_us


def due_us(graph: TaskGraph, releases_us: tuple[int, ...]) -> int:
    """When the answers of a graph are due, on the run's clock."""
    return releases_us[-1] + collected_deadline_us(graph, len(releases_us))
