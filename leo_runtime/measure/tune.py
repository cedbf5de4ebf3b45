"""Finds who can tune a backend's kernels for the machine at hand, and has them do it.

A package that can names a function under the entry-point group `leo_runtime.tuners`, by its backend's name. It is
called as `tune(options, stages, tries=, out=, progress=)`: the processor's options, (stage, variant) pairs whose shapes
matter, how many configurations to try for a shape, where to write (None: where the backend looks), and what is told
each shape with its nanoseconds before and after. It returns the file it wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import BackendError, in_words

ENTRY_POINTS = "leo_runtime.tuners"


def tune(
    processor: Processor,
    stages: list[tuple[BoundStage, str]],
    *,
    tries: int,
    out: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Path:
    """Tune a processor's kernels for these stages; where the result was written. Raises `BackendError` and its kin."""
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if processor.backend not in found:
        raise BackendError(
            f"backend `{processor.backend}` of processor `{processor.name}` has nothing to tune",
            hint=f"these have: {', '.join(sorted(found)) or 'none'}",
        )
    entry = found[processor.backend]
    with in_words(f"the tuner of backend `{entry.name}` cannot be imported"):
        tuner = entry.load()
    with in_words(f"the tuner of backend `{entry.name}` failed"):
        path: Path = tuner(processor.options, stages, tries=tries, out=out, progress=progress)
    return path


def stages_of(workload: Workload) -> list[tuple[BoundStage, str]]:
    """Every stage and variant of a workload, as written. Raises `GraphError`."""
    return [
        (stage, variant)
        for graph in workload.graphs
        for stage in bind(graph, workload).values()
        for variant in stage.params
    ]
