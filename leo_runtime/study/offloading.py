"""The policy of studies that sends everything away that can be: what their published baselines do."""

from __future__ import annotations

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.solver.baselines import prefer

SERVERS = ("cloud-wifi", "cloud-lte", "edge")
"""What the processors that are elsewhere are called on machines that ship, in order of preference."""


def offload(problem: Problem) -> Placement:
    """All that a server can run runs in the cloud, the rest on the CPU. Raises `SolverError` as `prefer` does."""
    return prefer(problem, (*SERVERS, "cpu"), "offload")
