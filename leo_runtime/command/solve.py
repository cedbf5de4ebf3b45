"""`leo-runtime solve`: the answer to the question of a frame, with weights or without, or of a window."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from leo_runtime.command.shared import ANSWERED_NO, DONE, count, put, say

EXAMPLE = "solve frame.json --out answer.json"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    problem: Path
    solver: str
    limit_ms: int | None
    limit_nodes: int | None
    seed: int
    active_mw: int | None
    out: Path | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("problem", metavar="PROBLEM", type=Path, help="the question, JSON or TOML")
    parser.add_argument("--solver", default="exact", help="which solver answers (default: exact)")
    parser.add_argument("--limit-ms", type=count, metavar="N", help="wall time to search for (default: until proved)")
    parser.add_argument("--limit-nodes", type=count, metavar="N", help="nodes to search, which repeats exactly")
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="for solvers that draw (default: 0)")
    parser.add_argument(
        "--active-mw", type=count, metavar="MW", help="power of the processor that solves: also say what solving cost"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the answer here, not to standard output")


def run(request: Request) -> int:
    """Write the answer. Returns the exit status."""
    from leo_runtime.documents.questions import question_from_file
    from leo_runtime.schema import require_writable
    from leo_runtime.solver import solve

    problem = question_from_file(request.problem)
    if request.out is not None:
        require_writable(request.out, request.problem)
    placement = solve(
        problem, request.solver, limit_ms=request.limit_ms, limit_nodes=request.limit_nodes, seed=request.seed
    )
    if request.out is None:
        put(placement.to_json())
    else:
        placement.to_file(request.out)
    if request.active_mw is not None:
        from leo_runtime.solver.replan import solving_nj

        nj = solving_nj(placement, request.active_mw)
        say(f"solved in {placement.solve_us} us, which cost {nj} nJ at {request.active_mw} mW")
    if placement.status == "infeasible":
        say(f"infeasible: {placement.reason}")
        return ANSWERED_NO
    return DONE
