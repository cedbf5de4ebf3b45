"""One frame's question and answer: the documents `leo-problem/1` and `leo-placement/1`.

Every quantity is an integer with its unit in its name: `_us` microseconds from the start of the frame, `_nj`
nanojoules, `_pj` picojoules, `_bytes`, `_ppm`. `docs/placement-problem.md` states the rules.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.schema import Document, Name, Positive, Quantity, Value, find_cycle, reject, unique

Criterion = Literal["tardiness", "energy", "makespan", "accuracy_loss"]
CRITERIA: tuple[Criterion, ...] = ("tardiness", "energy", "makespan", "accuracy_loss")


class Resource(Value):
    """What can be occupied: a processor, a radio, flash."""

    name: Name
    lanes: Positive = 1
    ready_us: tuple[Quantity, ...] = ()
    """When each lane becomes free; empty means all at 0."""
    awake: bool = True
    wake_latency_us: Quantity = 0
    wake_energy_nj: Quantity = 0
    awake_mw: Quantity = 0
    memory_bytes: Quantity | None = None


class Link(Value):
    """How the output of a stage on `source` reaches `target`."""

    source: Name
    target: Name
    latency_us: Quantity = 0
    bytes_per_s: Positive | None = None
    energy_nj: Quantity = 0
    energy_pj_per_byte: Quantity = 0
    resource: Name | None = None

    def sending_us(self, output_bytes: int) -> int:
        """How long the sending of so many bytes takes (and occupies `resource`)."""
        return 0 if self.bytes_per_s is None else -(-output_bytes * 1_000_000 // self.bytes_per_s)

    def sending_nj(self, output_bytes: int) -> int:
        """What the sending of so many bytes costs."""
        return self.energy_nj + -(-output_bytes * self.energy_pj_per_byte // 1000)


class Mode(Value):
    """One way to run a stage: a variant on a resource, with its cost."""

    resource: Name
    variant: Name = "default"
    duration_us: Positive
    energy_nj: Quantity
    output_bytes: Quantity = 0
    memory_bytes: Quantity = 0
    accuracy_loss_ppm: Quantity = 0


class StageModes(Value):
    """A stage of the question: what it waits for, and every way to run it."""

    name: Name
    release_us: Quantity = 0
    inputs: tuple[Name, ...] = ()
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)]


class Deadline(Value):
    """When the end of a stage is late, and how much each microsecond of lateness weighs."""

    stage: Name
    deadline_us: Quantity
    weight: Positive = 1


class AccuracyBudget(Value):
    """What the modes chosen for these stages may lose together."""

    stages: tuple[Name, ...]
    loss_ppm_max: Quantity


class Question(Document):
    """What the questions of a frame and of a window (`leo_runtime.documents.window`) have in common."""

    format: str
    name: Name
    resources: tuple[Resource, ...]
    links: tuple[Link, ...] = ()
    stages: tuple[StageModes, ...]
    deadlines: tuple[Deadline, ...] = ()
    accuracy_budgets: tuple[AccuracyBudget, ...] = ()
    limits: dict[Criterion, Quantity] = Field(default_factory=dict)
    """Hard caps on criteria."""
    objective: Annotated[tuple[Criterion, ...], Field(min_length=1)] = ("tardiness", "energy")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_resources(self)
        _check_stages(self)
        stages = {stage.name for stage in self.stages}
        for d, deadline in enumerate(self.deadlines):
            _known(deadline.stage, stages, "stage", f"$.deadlines[{d}].stage")
        for b, budget in enumerate(self.accuracy_budgets):
            unique(list(budget.stages), f"$.accuracy_budgets[{b}].stages[{{}}]", "stage")
            for s, stage in enumerate(budget.stages):
                _known(stage, stages, "stage", f"$.accuracy_budgets[{b}].stages[{s}]")
        unique(list(self.objective), "$.objective[{}]", "criterion")
        return self


class Problem(Question):
    """The question of one frame. Raises what `Document` raises, with the place, on anything that breaks the format."""

    format: Literal["leo-problem/1"]


def _check_resources(problem: Question) -> None:
    unique([resource.name for resource in problem.resources], "$.resources[{}].name")
    resources = {resource.name for resource in problem.resources}
    for r, resource in enumerate(problem.resources):
        if "ready_us" in resource.model_fields_set and len(resource.ready_us) != resource.lanes:
            reject(
                f"expected a number a lane ({resource.lanes}), got {len(resource.ready_us)}",
                f"$.resources[{r}].ready_us",
                resource.ready_us,
            )
    pairs: set[tuple[str, str]] = set()
    for k, link in enumerate(problem.links):
        _known(link.source, resources, "resource", f"$.links[{k}].source")
        _known(link.target, resources, "resource", f"$.links[{k}].target")
        if link.resource is not None:
            _known(link.resource, resources, "resource", f"$.links[{k}].resource")
        if link.source == link.target:
            reject(f'a link needs two resources, got "{link.source}" twice', f"$.links[{k}].target", link.target)
        if (link.source, link.target) in pairs:
            reject(
                f'the link "{link.source}" -> "{link.target}" is given twice',
                f"$.links[{k}]",
                link.target,
                hint=f"for a second way to the same place give it a second name, such as `{link.target}-2`",
            )
        pairs.add((link.source, link.target))


def _check_stages(problem: Question) -> None:
    unique([stage.name for stage in problem.stages], "$.stages[{}].name")
    stages = {stage.name for stage in problem.stages}
    resources = {resource.name for resource in problem.resources}
    for s, stage in enumerate(problem.stages):
        unique(list(stage.inputs), f"$.stages[{s}].inputs[{{}}]", "input")
        for i, name in enumerate(stage.inputs):
            _known(name, stages, "stage", f"$.stages[{s}].inputs[{i}]")
        seen: set[tuple[str, str]] = set()
        for m, mode in enumerate(stage.modes):
            _known(mode.resource, resources, "resource", f"$.stages[{s}].modes[{m}].resource")
            if (mode.resource, mode.variant) in seen:
                reject(
                    f'the mode "{mode.resource}" / "{mode.variant}" is given twice',
                    f"$.stages[{s}].modes[{m}]",
                    mode.variant,
                )
            seen.add((mode.resource, mode.variant))
    cycle = find_cycle({stage.name: list(stage.inputs) for stage in problem.stages})
    if cycle:
        s = next(i for i, stage in enumerate(problem.stages) if stage.name == cycle[0])
        reject(f"the stages wait for each other: {' <- '.join([*cycle, cycle[0]])}", f"$.stages[{s}].inputs", cycle[0])


def _known(name: str, names: set[str], what: str, path: str) -> None:
    if name not in names:
        reject(f'no {what} is called "{name}"', path, name)


class Criteria(Value):
    """All four values of an answer."""

    tardiness: int
    energy: int
    makespan: int
    accuracy_loss: int


class StageRun(Value):
    """Where and when a stage runs."""

    stage: Name
    resource: Name
    variant: Name = "default"
    lane: int
    start_us: int
    end_us: int


class TransferRun(Value):
    """When the output of a stage is sent from one resource to another; `lane` is None where no resource is occupied."""

    stage: Name
    source: Name
    target: Name
    lane: int | None = None
    start_us: int
    arrive_us: int


class Answer(Document):
    """What the answers for one frame and for a window (`leo_runtime.documents.window`) have in common."""

    format: str
    problem: Name
    solver: Name
    status: Literal["optimal", "feasible", "infeasible"]
    criteria: Criteria | None = None
    """None where the status is `infeasible`."""
    bounds: tuple[int, ...] = ()
    """For each criterion of the objective, a proved lower bound given that the ones before are at their value."""
    stages: tuple[StageRun, ...] = ()
    transfers: tuple[TransferRun, ...] = ()
    solve_us: int = 0
    """Wall time of the solve alone."""
    reason: str | None = None
    """For `infeasible`: which rule, and the names that clash."""

    def to_json(self) -> str:
        """The document as JSON text with every key, so that a reader needs to know no default."""
        return self.model_dump_json(indent=1) + "\n"


class Placement(Answer):
    """The answer: a mode, a lane and a time for every stage, or the proof that there is none."""

    format: Literal["leo-placement/1"]
