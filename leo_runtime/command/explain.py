"""`leo-runtime explain`: why each stage is where it is."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from leo_runtime.command.shared import ANSWERED_NO, DONE, count, put

EXAMPLE = "explain frame.json answer.json model"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    problem: Path
    placement: Path
    stage: str | None
    limit_nodes: int | None
    json: bool


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("problem", metavar="PROBLEM", type=Path, help="the question")
    parser.add_argument("placement", metavar="PLACEMENT", type=Path, help="the answer")
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="default: every stage")
    parser.add_argument("--limit-nodes", type=count, metavar="N", help="nodes to search for each other mode")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(request: Request) -> int:
    """Print the explanation. Returns the exit status."""
    from leo_runtime.documents.problem import Placement, Problem
    from leo_runtime.solver.explain import LIMIT_NODES, explain

    explanation = explain(
        Problem.from_file(request.problem),
        Placement.from_file(request.placement),
        request.stage,
        limit_nodes=LIMIT_NODES if request.limit_nodes is None else request.limit_nodes,
    )
    if request.json:
        put(json.dumps(asdict(explanation), indent=1, default=lambda value: value.model_dump()) + "\n")
    else:
        put(str(explanation))
    return DONE if explanation.criteria is not None else ANSWERED_NO
