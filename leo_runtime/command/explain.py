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
    plot: Path | None
    trace: Path | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("problem", metavar="PROBLEM", type=Path, help="the question")
    parser.add_argument("placement", metavar="PLACEMENT", type=Path, help="the answer")
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="default: every stage")
    parser.add_argument("--limit-nodes", type=count, metavar="N", help="nodes to search for each other mode")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the answer: .png, .svg, .pdf")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="also write it as a trace for ui.perfetto.dev")


def run(request: Request) -> int:
    """Print the explanation. Returns the exit status."""
    from leo_runtime.documents.window import question_and_answer
    from leo_runtime.schema import require_writable
    from leo_runtime.solver.explain import LIMIT_NODES, explain

    problem, placement = question_and_answer(request.problem, request.placement)
    limit_nodes = LIMIT_NODES if request.limit_nodes is None else request.limit_nodes
    for path in (request.plot, request.trace):
        if path is not None:
            require_writable(path, request.problem, request.placement)
    explanation = explain(problem, placement, request.stage, limit_nodes=limit_nodes)
    if explanation.criteria is not None:
        if request.plot is not None:
            from leo_runtime.report.plots import plot_answer

            plot_answer(problem, placement, request.plot)
        if request.trace is not None:
            from leo_runtime.report.perfetto import write_answer

            write_answer(problem, placement, request.trace)
    if request.json:
        put(json.dumps(asdict(explanation), indent=1, default=lambda value: value.model_dump()) + "\n")
    else:
        put(str(explanation))
    return DONE if explanation.criteria is not None else ANSWERED_NO
