"""The question of a window of time and its answer: the documents `leo-problem/2` and `leo-placement/2`.

A window holds the stages of one or more releases, how likely gated ones are to run, and when each resource falls
asleep. Quantities are those of `leo_runtime.documents.problem`, in microseconds from the start of the window;
likelihoods are in parts per million (`_ppm`). `docs/window-problem.md` states the rules.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from leo_runtime.documents.problem import Answer, Problem, Question, Resource, StageModes, TransferRun
from leo_runtime.schema import Name, Positive, Quantity, Value, reject, unique

CERTAIN = 1_000_000
"""The likelihood, in parts per million, of what is sure to happen."""

Chance = Annotated[int, Field(ge=0, le=CERTAIN)]
NotNegative = Annotated[int, Field(ge=0)]


class WindowResource(Resource):
    """What can be occupied, and how long it stays awake when nothing uses it."""

    linger_us: Quantity | None = 0
    """How long it stays awake after its last use; None: it never sleeps."""
    linger_mw: Quantity | SkipJsonSchema[None] = None
    """What it draws while it lingers, at most `awake_mw`; left out, `awake_mw`. See `lingering_mw`."""
    awake_until_us: Quantity = 0
    """Of one that is awake at the start: until when it stays so if nothing uses it."""

    @property
    def lingering_mw(self) -> int:
        """What it draws while it lingers, in mW."""
        return self.awake_mw if self.linger_mw is None else self.linger_mw


class WindowStage(StageModes):
    """A stage, the gates that it waits for, and how likely it is to run."""

    gates: tuple[Name, ...] = ()
    """Of these inputs at least one must open (or, where it is no gate itself, run) for the stage to run."""
    chance_ppm: Chance = CERTAIN


class WindowProblem(Question):
    """The question of a window. Raises what `Document` raises, with the place, on anything that breaks the format."""

    format: Literal["leo-problem/2"]
    resources: tuple[WindowResource, ...]
    stages: tuple[WindowStage, ...]
    horizon_us: Positive
    """The end of the window: lingering later than that is not charged."""
    releases_us: Annotated[tuple[Quantity, ...], Field(min_length=1)] = (0,)
    """When a sleeping resource may begin to wake: increasing, the first at 0, all before `horizon_us`."""

    @model_validator(mode="after")
    def _window_is_consistent(self) -> Self:
        _check_releases(self)
        for r, resource in enumerate(self.resources):
            _check_lingering(resource, f"$.resources[{r}]")
        chances = {stage.name: stage.chance_ppm for stage in self.stages}
        for s, stage in enumerate(self.stages):
            _check_gates(stage, chances, f"$.stages[{s}]")
        return self


def _check_releases(problem: WindowProblem) -> None:
    if problem.releases_us[0] != 0:
        reject(f"the first release is at 0, got {problem.releases_us[0]}", "$.releases_us[0]", problem.releases_us[0])
    for i, (before, after) in enumerate(pairwise(problem.releases_us), 1):
        if after <= before:
            reject(f"releases increase, got {after} after {before}", f"$.releases_us[{i}]", after)
    for i, time in enumerate(problem.releases_us):
        if time >= problem.horizon_us:
            text = f"a release is before horizon_us ({problem.horizon_us}), got {time}"
            reject(text, f"$.releases_us[{i}]", time)


def _check_lingering(resource: WindowResource, path: str) -> None:
    never_sleeps = resource.linger_us is None
    if never_sleeps and not resource.awake:
        reject("what never sleeps (linger_us is null) is awake, got false", f"{path}.awake", resource.awake)
    if "linger_mw" in resource.model_fields_set and resource.linger_mw is None:
        reject("expected an integer, got null", f"{path}.linger_mw", resource.linger_mw)
    if resource.lingering_mw > resource.awake_mw:
        text = f"expected at most awake_mw ({resource.awake_mw}), got {resource.linger_mw}"
        reject(text, f"{path}.linger_mw", resource.linger_mw)
    if resource.awake_until_us and (never_sleeps or not resource.awake):
        why = "never sleeps" if never_sleeps else "sleeps at the start"
        text = f"expected 0, since {resource.name} {why}, got {resource.awake_until_us}"
        reject(text, f"{path}.awake_until_us", resource.awake_until_us)


def _check_gates(stage: WindowStage, chances: dict[str, int], path: str) -> None:
    unique(list(stage.gates), f"{path}.gates[{{}}]", "gate")
    for g, gate in enumerate(stage.gates):
        if gate not in stage.inputs:
            reject(f'a gate is an input of the stage, "{gate}" is none', f"{path}.gates[{g}]", gate)
    most = sum(chances[gate] for gate in stage.gates)
    if not stage.gates and stage.chance_ppm != CERTAIN:
        text = f"expected {CERTAIN}, since {stage.name} has no gates, got {stage.chance_ppm}"
        reject(text, f"{path}.chance_ppm", stage.chance_ppm)
    if stage.gates and stage.chance_ppm > most:
        text = f"expected at most {most}, the sum of its gates' chances, got {stage.chance_ppm}"
        reject(text, f"{path}.chance_ppm", stage.chance_ppm)


class Span(Value):
    """A time in which a resource is awake: from its waking (or the window's start) to the end of its last use."""

    resource: Name
    from_us: int
    until_us: int
    after: tuple[Name, ...]
    """The gates it waits for, of which one must open for it to happen; empty: it waits for none."""


class WindowTransfer(TransferRun):
    """When an output is sent, and the gates that are waited for; an empty list waits for nothing."""

    after: tuple[Name, ...]


class WindowPlacement(Answer):
    """The answer: a mode, a lane and a time for every stage, and every span; or the proof that there is none."""

    format: Literal["leo-placement/2"]
    bounds: tuple[NotNegative, ...] = ()
    transfers: tuple[WindowTransfer, ...] = ()
    spans: tuple[Span, ...] = ()
    solve_us: Quantity = 0


def as_window(problem: Problem) -> WindowProblem:
    """The same question, asked of a window: one release, everything certain, nothing lingers.

    Every `leo-problem/1` has this one meaning. The best criteria are the same, whatever the horizon is (nothing
    lingers, so nothing is cut off at it), and it is 1.
    """
    data = problem.model_dump(exclude_unset=True)
    return WindowProblem.model_validate({**data, "format": "leo-problem/2", "horizon_us": 1})
