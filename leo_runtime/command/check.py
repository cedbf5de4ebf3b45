"""`leo-runtime check`: an answer, judged by the rules alone."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from leo_runtime.command.shared import ANSWERED_NO, DONE, put

EXAMPLE = "check frame.json answer.json"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    problem: Path
    placement: Path
    json: bool


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("problem", metavar="PROBLEM", type=Path, help="the question")
    parser.add_argument("placement", metavar="PLACEMENT", type=Path, help="the answer")
    parser.add_argument("--json", action="store_true", help="also what is wrong, or that nothing is placed, as JSON")


def run(request: Request) -> int:
    """Print the criteria, or what is wrong. Returns the exit status."""
    from leo_runtime.judge.files import check_files

    report, placement = check_files(request.problem, request.placement)
    if not report.ok:
        if request.json:
            wrong = [asdict(violation) for violation in (*report.violations, *report.false_claims)]
            put(json.dumps(wrong, indent=1) + "\n")
            return ANSWERED_NO
        for violation in report.violations:
            put(f"{violation}\n")
        for claim in report.false_claims:
            put(f"false claim: {claim}\n")
        return ANSWERED_NO
    if report.criteria is None:
        if request.json:
            put(json.dumps({"status": placement.status, "reason": placement.reason}, indent=1) + "\n")
        else:
            put(f"the answer places nothing: infeasible, {placement.reason or 'no reason given'}\n")
        return ANSWERED_NO
    put(f"{report.criteria.model_dump_json()}\n")
    return DONE
