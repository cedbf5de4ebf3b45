"""`leo-runtime explain`: why each stage is where it is, and why an answer of a run was late."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leo_runtime.command.shared import ANSWERED_NO, DONE, add_width, amount, count, look, put
from leo_runtime.errors import InputError

EXAMPLE = "explain out/demo.virtual --frame 12 voice"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    asked: Path
    second: str | None
    third: str | None
    frame: int | None
    at: float | None
    limit_nodes: int | None
    json: bool
    plot: Path | None
    trace: Path | None
    columns: int | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.usage = (
        "leo-runtime explain RUN [--frame N | --at S] [STAGE] [OPTIONS]\n"
        "       leo-runtime explain PROBLEM PLACEMENT [STAGE] [OPTIONS]"
    )
    parser.add_argument("asked", metavar="RUN|PROBLEM", type=Path, help="a run's folder or log, or a question's file")
    parser.add_argument(
        "second", metavar="PLACEMENT", nargs="?", help="the answer to the question; of a run: the stage"
    )
    parser.add_argument("third", metavar="STAGE", nargs="?", help="default: every stage")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--frame", type=count, metavar="N", help="the frame of the run; default: what the run came to")
    which.add_argument("--at", type=amount, metavar="S", help="the last frame released by that second of the run")
    parser.add_argument("--limit-nodes", type=count, metavar="N", help="nodes to search for each other mode")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the answer: .png, .svg, .pdf")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="also write it as a trace for ui.perfetto.dev")
    add_width(parser)
    _take_intermixed(parser)


def _take_intermixed(parser: argparse.ArgumentParser) -> None:
    """Let `RUN --frame 12 STAGE` be parsed: otherwise all that may be left out is, once an option has come."""
    usual = parser.parse_known_args

    def parse(args: Sequence[str], namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        parser.parse_known_args = usual  # type: ignore[method-assign]  # what is called here calls it in turn
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            parser.parse_known_args = parse  # type: ignore[assignment, method-assign]  # as below

    # argparse has no other door for one command among others.
    parser.parse_known_args = parse  # type: ignore[assignment, method-assign]


def run(request: Request) -> int:
    """Print the explanation. Returns the exit status."""
    from leo_runtime.replay.log_reader import is_log

    asks_a_run = request.frame is not None or request.at is not None
    if asks_a_run or is_log(request.asked):
        return _explain_run(request)
    if request.second is None:
        raise InputError(
            f"{request.asked}: is no run, and a question is explained with its answer",
            hint="`leo-runtime explain PROBLEM PLACEMENT`; a run is the folder that `leo-runtime replay` writes",
        )
    return _explain_answer(request, request.asked, Path(request.second))


def _explain_run(request: Request) -> int:
    from leo_runtime.replay.frame_facts import frame_facts, overview
    from leo_runtime.replay.log_reader import read_log
    from leo_runtime.report import frame_text

    for given, option in ((request.plot, "--plot"), (request.trace, "--trace")):
        if given is not None:
            raise InputError(f"`{option}` draws the answer to a question, not a run", hint="`leo-runtime replay` does")
    if request.third is not None:
        raise InputError(f"of a run one stage is named, got `{request.second}` and `{request.third}`")
    with read_log(request.asked) as log:
        number = request.frame
        if request.at is not None:
            number = log.released_at(round(request.at * 1e6))
        if number is None:
            if request.second is not None:
                raise InputError(
                    f"`{request.second}` is asked about without a frame", hint="add `--frame N`, or `--at SECOND`"
                )
            found = overview(log, str(request.asked))
            figures, text = frame_text.overview_figures(found), frame_text.overview_text(found, look(request.columns))
        else:
            facts = frame_facts(log, str(request.asked), number, request.second, limit_nodes=request.limit_nodes)
            figures, text = frame_text.frame_figures(facts), frame_text.frame_text(facts, look(request.columns))
    put(json.dumps(figures, indent=1) + "\n" if request.json else text)
    return DONE


def _explain_answer(request: Request, question: Path, answer: Path) -> int:
    from leo_runtime.documents.questions import question_and_answer
    from leo_runtime.schema import require_writable
    from leo_runtime.solver.explain import LIMIT_NODES, explain

    problem, placement = question_and_answer(question, answer)
    limit_nodes = LIMIT_NODES if request.limit_nodes is None else request.limit_nodes
    for path in (request.plot, request.trace):
        if path is not None:
            require_writable(path, question, answer)
    explanation = explain(problem, placement, request.third, limit_nodes=limit_nodes)
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
