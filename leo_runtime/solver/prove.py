"""A kernel's problem searched to the end: a short branch and bound, and if that does not do, the search that learns.

Branch and bound has the stronger bounds and no bookkeeping: half of all frames are proved by a few dozen nodes of it.
What it would take hours for, the search that learns mostly ends in milliseconds (see `docs/solver.md`).
"""

from typing import Any

from leo_runtime.solver.compiled import clause_search

UNLIMITED = 1 << 60
TREE_NODES_PER_STAGE = 2
"""How long branch and bound may take before the search that learns takes over: a few ways down its tree."""


def prove(kernel: Any, limit_nodes: int = UNLIMITED) -> tuple[bool, int]:
    """Search until the kernel's best answer (or that there is none) is proved, or for so many nodes; how many it took.

    A node is a decision or a dead end. The kernel then has the best answer found, and its bounds.
    """
    proved = kernel.search(min(limit_nodes, TREE_NODES_PER_STAGE * kernel.stages)) == 2
    nodes: int = kernel.nodes
    if not proved and nodes < limit_nodes and not kernel.halting:
        clauses = clause_search(kernel)
        proved = clauses.search(limit_nodes - nodes) == 2
        nodes += clauses.nodes
    return proved, nodes
