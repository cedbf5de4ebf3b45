"""Task graphs written in Python, equal to those that are read from files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from leo_runtime.documents.trigger import Trigger
from leo_runtime.documents.workload import DEFAULT_VARIANTS, Decision, Stage, TaskGraph, Variant
from leo_runtime.errors import GraphError
from leo_runtime.operators import Operator, find_operator
from leo_runtime.schema import Value, document_error

_Part = TypeVar("_Part", bound=Value)


class GraphBuilder:
    """Writes a task graph in Python:

    graph = GraphBuilder("loudness", period_us=1_000_000, deadline_us=200_000)
    sound = graph.stage("sound", "window", stream="mic", samples=16_000)
    graph.stage("loud", "energy_gate", sound, threshold_dbfs=-40.0)
    workload = Workload(..., graphs=(graph.build(),))
    """

    def __init__(
        self,
        name: str,
        *,
        period_us: int | None = None,
        rate_hz: int | None = None,
        deadline_us: int,
        offset_us: int = 0,
        trigger: Trigger | None = None,
        weight: int = 1,
        accuracy_loss_ppm_max: int | None = None,
    ) -> None:
        """`period_us` or `rate_hz`; the others as in `TaskGraph`."""
        self._graph: dict[str, Any] = {
            "name": name,
            **({} if period_us is None else {"period_us": period_us}),
            **({} if trigger is None else {"trigger": trigger}),
            "rate_hz": rate_hz,
            "deadline_us": deadline_us,
            "offset_us": offset_us,
            "weight": weight,
            "accuracy_loss_ppm_max": accuracy_loss_ppm_max,
        }
        self._stages: list[Stage] = []
        self._decision: Decision | None = None
        self._exits: list[str] = []

    def stage(
        self,
        name: str,
        operator: str | Operator,
        *inputs: str,
        gate: str | None = None,
        chance_ppm: int | None = None,
        variants: Sequence[Variant] = DEFAULT_VARIANTS,
        parts: int = 1,
        **params: Any,
    ) -> str:
        """Add a stage that reads the stages `inputs`; the keywords are its parameters. Returns its name.

        Raises `GraphError` for a name, a chance, variants or parts that cannot be, and for an operator that is not
        there; one of a module of yours, by its name, is looked for when the graph is used.
        """
        if callable(operator) and not isinstance(operator, Operator):
            raise GraphError(
                f"stage `{name}` of graph `{self._graph['name']}`: {_called(operator)} is no operator",
                hint="`@operator(output_shape=...)` above a function makes it one: from leo_runtime import operator",
            )
        if isinstance(operator, str) and operator and ":" not in operator:
            try:
                find_operator(operator)
            except GraphError as error:
                where = f"stage `{name}` of graph `{self._graph['name']}`"
                raise GraphError(f"{where}: {error}", hint=error.hint) from None
        self._stages.append(
            self._checked(
                f"stage `{name}` of graph `{self._graph['name']}`",
                Stage,
                name=name,
                operator=operator.name if isinstance(operator, Operator) else operator,
                inputs=inputs,
                params=params,
                gate=gate,
                chance_ppm=chance_ppm,
                variants=_as_tuple(variants),
                parts=parts,
            )
        )
        return name

    def decide(
        self, stage: str, labels: Sequence[str], *, threshold: float = 0.5, background: str | None = None
    ) -> None:
        """Say how the output of `stage` is read. Raises `GraphError` for labels or a threshold that cannot be."""
        self._decision = self._checked(
            f"decision of graph `{self._graph['name']}`",
            Decision,
            stage=stage,
            labels=_as_tuple(labels),
            threshold=threshold,
            background=background,
        )

    def exit(self, stage: str) -> None:
        """A stage answers where what comes after it does not, in time; each later one goes before."""
        self._exits.append(stage)

    def build(self) -> TaskGraph:
        """The finished graph. Raises `GraphError` when it cannot mean anything."""
        return self._checked(
            f"graph `{self._graph['name']}`",
            TaskGraph,
            **self._graph,
            stages=tuple(self._stages),
            decision=self._decision,
            exits=tuple(self._exits),
        )

    @staticmethod
    def _checked(where: str, kind: type[_Part], **fields: Any) -> _Part:
        """A part of the graph; what is wrong with it is told with its place."""
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            told = document_error(where, error, kind)
            raise GraphError(str(told), hint=told.hint) from None


def _called(function: Any) -> str:
    return f"the function `{getattr(function, '__qualname__', type(function).__name__)}`"


def _as_tuple(values: Any) -> Any:
    """A list as a tuple, which is what documents hold; anything else is theirs to judge."""
    return tuple(values) if isinstance(values, list) else values
