"""What each search of every answer keeps of its course: its steps, its best values, and why branches were cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter_ns

from leo_runtime.documents.problem import Criterion, Question
from leo_runtime.errors import SolverError


class StoppedError(Exception):
    """A limit bites: the search is given up where it stands."""


@dataclass(slots=True)
class Steps:
    """The course of one search."""

    problem: Question
    limit_nodes: int | None
    stop_ns: int | None
    """Of `perf_counter_ns`: when it ends at the latest."""
    nodes: int = 0
    best: tuple[int, ...] | None = None
    """The best answer's values of the objective."""
    cuts: dict[str, None] = field(default_factory=dict)
    """The rules that cut a branch, in the order they came up."""

    @classmethod
    def begin(cls, problem: Question, limit_ms: int | None, limit_nodes: int | None, began_ns: int) -> Steps:
        """The search begins, with limits as those of a solver."""
        return cls(problem, limit_nodes, None if limit_ms is None else began_ns + limit_ms * 1_000_000)

    def step(self) -> None:
        """Count one more. Raises `StoppedError` where a limit bites."""
        self.nodes += 1
        if self.limit_nodes is not None and self.nodes > self.limit_nodes:
            raise StoppedError
        if self.stop_ns is not None and perf_counter_ns() > self.stop_ns:
            raise StoppedError

    def cut(self, rule: str) -> None:
        """A branch breaks this rule."""
        self.cuts[rule] = None

    def worth(self, bound: dict[Criterion, int]) -> bool:
        """Whether values of at least `bound` can keep every limit and be better than the best answer so far."""
        for name, limit in self.problem.limits.items():
            if bound[name] > limit:
                self.cut(f"rule 7 (limit on {name})")
                return False
        return self.best is None or self._objective(bound) < self.best

    def take(self, values: dict[Criterion, int]) -> None:
        """The values of an answer that is better than all before."""
        self.best = self._objective(values)

    def reason(self) -> str:
        """Why there is no answer, when everything was tried."""
        return "every choice of modes breaks " + "; or ".join(self.cuts)

    def nothing_found(self) -> SolverError:
        """The error where a limit bites before there is an answer."""
        return SolverError(
            f"{self.problem.name}: no answer was found within the limit",
            hint="give it more time, or use the solver `exact`",
        )

    def _objective(self, values: dict[Criterion, int]) -> tuple[int, ...]:
        return tuple(values[name] for name in self.problem.objective)
