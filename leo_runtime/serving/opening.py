"""A workload made ready to be served: every stage in every variant, and every graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from leo_runtime.backend import Backend
from leo_runtime.clock import Clock
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import BackendError, KernelError, LeoError, MissingExtraError
from leo_runtime.frame.lower import merge, require_computed
from leo_runtime.frozen import dataclass
from leo_runtime.serving.cuts import ServedGraph
from leo_runtime.serving.limits import LEAST_BODY_BYTES, Limits
from leo_runtime.serving.metrics import metrics_of
from leo_runtime.serving.service import Service
from leo_runtime.serving.stages import Served, ServedStage

LARGEST_TYPE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Opened:
    """What can be asked, and what cannot."""

    stages: tuple[ServedStage, ...]
    graphs: tuple[ServedGraph, ...]
    left_out: Mapping[str, str]
    """Why a stage (`stage` or `stage/variant`) or a graph cannot be served, in words."""

    def needed_bytes(self) -> int:
        """Room for the largest request of a stage, in numbers of any type, and for its JSON; a mebibyte at least."""
        largest = max((_input_values(one) for one in self.stages), default=0) * LARGEST_TYPE_BYTES
        return max(LEAST_BODY_BYTES, largest + (1 << 16))

    def service(self, limits: Limits, clock: Clock, *, name: str, token: Callable[[], str] | None = None) -> Service:
        """Answers for them."""
        models: list[Served] = [*self.stages, *self.graphs]
        aliases: dict[str, Served] = {one.identity: one for one in self.stages}
        service = Service(
            models,
            limits,
            clock,
            name=name,
            aliases=aliases,
            token=token,
            metrics=lambda: metrics_of(service.counts.now, service.kept.now),
        )
        return service


def open_workload(workload: Workload, backend: Backend) -> Opened:
    """Load all of it. Raises `GraphError`, and `KernelError` where nothing can be served."""
    merged = merge(workload)
    require_computed(merged)
    stages: list[ServedStage] = []
    left_out: dict[str, str] = {}
    for merged_stage in merged.stages:
        bound = merged_stage.bound
        for variant in bound.params:
            try:
                stages.append(ServedStage(bound, variant, backend))
            except (BackendError, MissingExtraError) as error:
                name = bound.name if len(bound.params) == 1 else f"{bound.name}/{variant}"
                left_out[name] = _with_hint(error)
    if not stages:
        raise KernelError(f"no stage of workload `{workload.name}` can be served ({'; '.join(left_out.values())})")
    first = {one.name: one for one in reversed(stages) if one.version == next(iter(one.stage.params))}
    graphs = []
    for graph in workload.graphs:
        missing = [name for name in merged.stages_of(graph) if name not in first]
        if missing:
            left_out[graph.name] = f"it needs {', '.join(missing)}"
        else:
            graphs.append(ServedGraph(graph, merged, first))
    return Opened(tuple(stages), tuple(graphs), left_out)


def _input_values(one: ServedStage) -> int:
    from math import prod

    return sum(prod(shape) for shape in one.stage.input_shapes)


def _with_hint(error: LeoError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)
