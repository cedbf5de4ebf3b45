"""`leo-runtime check`: an answer, judged by the rules alone."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from leo_runtime.command.shared import ANSWERED_NO, DONE

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
    parser.add_argument("--json", action="store_true", help="also what is wrong as JSON; the criteria always are")


def run(request: Request) -> int:
    """Print the criteria, or what is wrong. Returns the exit status."""
    from leo_runtime.judge.window import check_files

    report, placement = check_files(request.problem, request.placement)
    if not report.ok:
        if request.json:
            wrong = [asdict(violation) for violation in (*report.violations, *report.false_claims)]
            print(json.dumps(wrong, indent=1))
            return ANSWERED_NO
        for violation in report.violations:
            print(violation)
        for claim in report.false_claims:
            print(f"false claim: {claim}")
        return ANSWERED_NO
    if report.criteria is None:
        print(f"the answer places nothing: infeasible, {placement.reason or 'no reason given'}")
        return ANSWERED_NO
    print(report.criteria.model_dump_json())
    return DONE
