"""The question of a frame whose models' weights are loaded, and its answer: `leo-problem/3` and `leo-placement/3`.

It is the question of `leo_runtime.documents.problem` with weights by label, how they get to processors, and what is in
memory from earlier frames. `docs/memory-problem.md` states the rules.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.documents.problem import Answer, Mode, Question, Resource, StageModes, StageRun
from leo_runtime.frozen import dataclass
from leo_runtime.schema import Name, Positive, Quantity, Value, reject, unique


class Weights(Value):
    """What a model has to have in memory, under a label that modes name."""

    label: Name
    bytes: Positive


class Loader(Value):
    """How weights get to a processor: over a resource such as flash, of which each load occupies a lane."""

    target: Name
    resource: Name
    bytes_per_s: Positive
    latency_us: Quantity = 0
    energy_nj: Quantity = 0
    energy_pj_per_byte: Quantity = 0

    def loading_us(self, weights_bytes: int) -> int:
        """How long so many bytes occupy `resource`; they arrive `latency_us` later."""
        return -(-weights_bytes * 1_000_000 // self.bytes_per_s)

    def loading_nj(self, weights_bytes: int) -> int:
        """What loading so many bytes costs."""
        return self.energy_nj + -(-weights_bytes * self.energy_pj_per_byte // 1000)


class MemoryResource(Resource):
    """What can be occupied, and the labels that are in its memory when the frame begins."""

    resident: tuple[Name, ...] = ()


class MemoryMode(Mode):
    """One way to run a stage, and the labels that have to be on its resource for it."""

    weights: tuple[Name, ...] = ()


class MemoryStage(StageModes):
    """A stage of the question, with modes that name weights."""

    modes: Annotated[tuple[MemoryMode, ...], Field(min_length=1)]


class MemoryProblem(Question):
    """The question of a frame with weights. Raises what `Document` raises, with the place of what breaks the format."""

    format: Literal["leo-problem/3"]
    resources: tuple[MemoryResource, ...]
    stages: tuple[MemoryStage, ...]
    weights: tuple[Weights, ...] = ()
    loaders: tuple[Loader, ...] = ()

    @model_validator(mode="after")
    def _memory_is_consistent(self) -> Self:
        unique([weights.label for weights in self.weights], "$.weights[{}].label", "label")
        _check_loaders(self)
        sizes = {weights.label: weights.bytes for weights in self.weights}
        for r, resource in enumerate(self.resources):
            _check_labels(resource.resident, sizes, f"$.resources[{r}].resident")
            held = sum(sizes[label] for label in resource.resident)
            if resource.memory_bytes is not None and held > resource.memory_bytes:
                text = f"expected what fits into memory_bytes ({resource.memory_bytes}), got {held} bytes"
                reject(text, f"$.resources[{r}].resident", list(resource.resident))
        for s, stage in enumerate(self.stages):
            for m, mode in enumerate(stage.modes):
                _check_labels(mode.weights, sizes, f"$.stages[{s}].modes[{m}].weights")
        return self


def _check_labels(labels: tuple[str, ...], sizes: dict[str, int], path: str) -> None:
    unique(list(labels), f"{path}[{{}}]", "label")
    for i, label in enumerate(labels):
        if label not in sizes:
            reject(f'no weights are called "{label}"', f"{path}[{i}]", label)


def _check_loaders(problem: MemoryProblem) -> None:
    """Each leads from what nothing else starts or ends on to a resource that no other leads to."""
    resources = {resource.name for resource in problem.resources}
    for k, loader in enumerate(problem.loaders):
        for key in ("target", "resource"):
            name = getattr(loader, key)
            if name not in resources:
                reject(f'no resource is called "{name}"', f"$.loaders[{k}].{key}", name)
    unique([loader.target for loader in problem.loaders], "$.loaders[{}].target", "target")
    ends = {end for link in problem.links for end in (link.source, link.target)}
    runs = {mode.resource for stage in problem.stages for mode in stage.modes}
    for k, loader in enumerate(problem.loaders):
        for names, what in ((runs, "stages run on it"), (ends, "a link begins or ends there")):
            if loader.resource in names:
                hint = "give what weights are loaded over, such as flash, a name of its own"
                text = f'weights are not loaded over "{loader.resource}": {what}'
                reject(text, f"$.loaders[{k}].resource", loader.resource, hint=hint)


class LoadRun(Value):
    """When a label is loaded to a processor, on which lane of its loader's resource."""

    label: Name
    target: Name
    lane: int
    start_us: int
    arrive_us: int


class MemoryPlacement(Answer):
    """The answer: a mode, a lane and a time for every stage, and every load; or the proof that there is none."""

    format: Literal["leo-placement/3"]
    loads: tuple[LoadRun, ...] = ()


@dataclass(frozen=True, slots=True)
class Stay:
    """A label in a memory, and the stages that it serves (rule 8)."""

    label: str
    target: str
    load: LoadRun | None
    """None: it was resident."""
    stages: tuple[str, ...]


def stays(problem: MemoryProblem, stages: Sequence[StageRun], loads: Sequence[LoadRun]) -> tuple[Stay, ...]:
    """What serves the stages of a valid answer: a stay for each load, in their order, then for what was resident.

    Of the loads of a label that have arrived when a stage starts, the last one serves it; where there is none, what was
    resident.
    """
    weights = {
        (stage.name, mode.resource, mode.variant): mode.weights for stage in problem.stages for mode in stage.modes
    }
    served: dict[int, list[str]] = {number: [] for number in range(len(loads))}
    resident: dict[tuple[str, str], list[str]] = {}
    for run in stages:
        for label in weights[run.stage, run.resource, run.variant]:
            there = [
                (load.arrive_us, number)
                for number, load in enumerate(loads)
                if (load.label, load.target) == (label, run.resource) and load.arrive_us <= run.start_us
            ]
            if there:
                served[max(there)[1]].append(run.stage)
            else:
                resident.setdefault((label, run.resource), []).append(run.stage)
    return (
        *(Stay(load.label, load.target, load, tuple(served[number])) for number, load in enumerate(loads)),
        *(Stay(label, target, None, tuple(names)) for (label, target), names in resident.items()),
    )
