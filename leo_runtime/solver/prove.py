"""A kernel's problem searched to the end: a short branch and bound, and if that does not do, the search that learns.

Branch and bound keeps no books and bounds the root: many frames are proved by a few dozen nodes of it. What it would
not end in seconds, the search that learns mostly ends in milliseconds (see `docs/solver.md`).
"""

from dataclasses import dataclass
from typing import Any

from leo_runtime.solver.compiled import clause_search

UNLIMITED = 1 << 60
TREE_NODES_PER_STAGE = 2
"""How long branch and bound may take before the search that learns takes over: twice the way down its tree."""
LEARNING_NODES = 2000
"""After so many nodes without a proof even of the first criterion, branch and bound has as many for another try."""


@dataclass(slots=True)
class Learned:
    """What the search that learns knows of problems of one shape (see `ClauseSearch.turn_to`)."""

    search: Any = None

    def of(self, kernel: Any) -> Any:
        """The search, turned to this kernel's problem."""
        if self.search is None:
            self.search = clause_search(kernel, lasting=True)
        else:
            self.search.turn_to(kernel)
        return self.search


def prove(kernel: Any, limit_nodes: int = UNLIMITED, learned: Learned | None = None) -> tuple[bool, int]:
    """Search until the kernel's best answer (or that there is none) is proved, or for so many nodes; how many it took.

    A node is a decision or a dead end. The kernel then has the best answer found, and its bounds. What is `learned` is
    made use of and added to; where something is, it does better than branch and bound.
    """
    proved, nodes = False, 0
    if learned is None or learned.search is None:
        proved = kernel.search(min(limit_nodes, TREE_NODES_PER_STAGE * kernel.stages)) == 2
        nodes = kernel.nodes
        if proved or nodes >= limit_nodes or kernel.halting:
            return proved, nodes
    elif (learned.of(kernel).recall() if kernel.found else kernel.search(0)) == 2:
        return True, nodes
    clauses = clause_search(kernel) if learned is None else learned.of(kernel)
    if clauses.too_large:
        proved = kernel.search(limit_nodes - nodes) == 2
        return proved, nodes + kernel.nodes
    proved = clauses.search(min(limit_nodes - nodes, LEARNING_NODES)) == 2
    nodes += clauses.nodes
    if proved or nodes >= limit_nodes or kernel.halting:
        return proved, nodes
    if not kernel.found or kernel.bounds[0] < kernel.value:
        proved = kernel.search(min(limit_nodes - nodes, LEARNING_NODES)) == 2
        nodes += kernel.nodes
    if not proved and nodes < limit_nodes and not kernel.halting:
        proved = clauses.search(limit_nodes - nodes) == 2
        nodes += clauses.nodes
    return proved, nodes
