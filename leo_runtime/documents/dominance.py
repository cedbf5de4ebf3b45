"""Modes of a stage that no best placement needs, since another is no worse in anything that a placement can feel.

A mode a is dominated by b, of the same stage on the same resource, where b has no greater `duration_us`, `energy_nj`,
`output_bytes`, `memory_bytes` and `accuracy_loss_ppm`; of equal ones the first stays. **Without dominated modes a
problem has the same optimum, in every criterion of its objective, or still no answer.** Take any placement with a, and
put b in its place, at the same start on the same lane, and every transfer of its output at the start that it had:

- Lanes and order: the run ends no later, sendings take no longer (`ceil(bytes * 10^6 / rate)` does not fall as bytes
  grow) and arrive no later, so that whatever starts at its old time starts when it may; starts may be later than need
  be. Resource and lane are as before, so links that are missing, releases and wake-ups are, too.
- Memory: the sum of a resource's modes does not grow. Budgets and limits: no sum of losses and no criterion grows.
- Criteria: ends, and so tardiness and makespan, are no later; energy is that of modes and sendings, of the same
  wake-ups, and of staying awake until the last end on a resource, none of which grows; nor does the sum of losses.

So the new placement keeps all rules and is no worse. Repeated, it uses only modes that stay: being no worse is
transitive, and of a circle of equal ones the first stays. What the argument needs, and where it ends:

- All that a placement can feel of a mode is compared. Modes that name weights which are loaded unless they are there
  (`leo-problem/3`) are compared with those of the same labels alone: then loads are as they were.
- Modes of one resource alone. A variant is dropped only where each of its modes is dominated, be it by different ones.
- Memory as the problem counts it. Stages that hold equal weights once are priced together: a mode that is dropped for
  one of them has to be dropped for all.
- The figures compared are those placed by. Measured ones vary: what is dropped by a hair was nearly as good.
"""

from __future__ import annotations

from collections.abc import Sequence

from leo_runtime.documents.memory import MemoryMode
from leo_runtime.documents.problem import Mode, Problem


def dominates(better: Mode, other: Mode) -> bool:
    """Whether a mode of the same stage is on the same resource and in nothing worse; both ways where they are equal."""
    return (
        better.resource == other.resource
        and _weights(better) == _weights(other)
        and all(a <= b for a, b in zip(_felt(better), _felt(other), strict=True))
    )


def undominated(modes: Sequence[Mode]) -> tuple[Mode, ...]:
    """The modes of a stage that no other dominates, in their order; of equal ones the first."""
    return tuple(
        mode
        for number, mode in enumerate(modes)
        if not any(
            dominates(other, mode) and (place < number or not dominates(mode, other))
            for place, other in enumerate(modes)
            if place != number
        )
    )


def without_dominated(problem: Problem) -> Problem:
    """The problem whose stages have their undominated modes alone: of the same optimum."""
    stages = tuple(stage.model_copy(update={"modes": undominated(stage.modes)}) for stage in problem.stages)
    return problem.model_copy(update={"stages": stages})


def _felt(mode: Mode) -> tuple[int, ...]:
    """All quantities of a mode that a rule or a criterion reads."""
    return (mode.duration_us, mode.energy_nj, mode.output_bytes, mode.memory_bytes, mode.accuracy_loss_ppm)


def _weights(mode: Mode) -> tuple[str, ...]:
    """The labels that have to be on its resource."""
    return mode.weights if isinstance(mode, MemoryMode) else ()
