"""A kernel's problem searched to the end: what its root proves, and if that does not do, the search that learns.

The root's bounds alone prove many frames, in a fraction of the time (see `docs/solver.md`).
"""

from leo_runtime.frozen import dataclass
from leo_runtime.solver.compiled import clause_search
from leo_runtime.solver.effort import spent
from leo_runtime.solver.protocols import LearningSearch, SearchKernel

UNLIMITED = 1 << 60


@dataclass(slots=True)
class Learned:
    """What the search that learns knows of problems of one shape (see `ClauseSearch.turn_to`)."""

    search: LearningSearch | None = None

    def of(self, kernel: SearchKernel) -> LearningSearch:
        """The search, turned to this kernel's problem."""
        if self.search is not None:
            self.search.turn_to(kernel)
            return self.search
        search = clause_search(kernel, lasting=True)
        self.search = None if search.too_large else search
        return search


def prove(kernel: SearchKernel, limit_nodes: int = UNLIMITED, learned: Learned | None = None) -> tuple[bool, int]:
    """Search until the kernel's best answer (or that there is none) is proved, or for so many nodes; how many it took.

    A node is a decision or a dead end. The kernel then has the best answer found, and its bounds. What is `learned` is
    made use of and added to; it is asked before the root is.
    """
    clauses = None
    if learned is not None and learned.search is not None and kernel.found:
        clauses = learned.of(kernel)
        ended = clauses.recall()
    else:
        ended = kernel.root(1)
    if ended == 2 or limit_nodes <= 0 or kernel.halting:
        return ended == 2, 0
    if clauses is None:
        clauses = clause_search(kernel) if learned is None else learned.of(kernel)
    if clauses.too_large:
        return False, 0
    ended = clauses.search(limit_nodes)
    spent(clauses.nodes)
    return ended == 2, clauses.nodes
