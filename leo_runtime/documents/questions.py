"""Questions and answers read from files, of whichever format their `format` names."""

import json
from pathlib import Path
from typing import Any

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import DocumentError

AnyProblem = Problem | WindowProblem | MemoryProblem
AnyPlacement = Placement | WindowPlacement | MemoryPlacement

_PROBLEMS: dict[Any, type[AnyProblem]] = {"leo-problem/2": WindowProblem, "leo-problem/3": MemoryProblem}
"""What is none of these is read as the first format, which says what is wrong with it."""
_PLACEMENTS: dict[Any, type[AnyPlacement]] = {"leo-placement/2": WindowPlacement, "leo-placement/3": MemoryPlacement}
_ANSWERS: dict[type[AnyProblem], type[AnyPlacement]] = {
    Problem: Placement,
    WindowProblem: WindowPlacement,
    MemoryProblem: MemoryPlacement,
}
"""The form of the answers to each form of question."""


def question_from_file(path: str | Path) -> AnyProblem:
    """Read a question of any format, as its `format` says. Raises `DocumentError`."""
    return _PROBLEMS.get(_format(path, "leo-problem"), Problem).from_file(path)


def answer_from_file(path: str | Path) -> AnyPlacement:
    """Read an answer of any format, as its `format` says. Raises `DocumentError`."""
    return _PLACEMENTS.get(_format(path, "leo-placement"), Placement).from_file(path)


def question_and_answer(problem: str | Path, placement: str | Path) -> tuple[AnyProblem, AnyPlacement]:
    """Read a question of any format and the answer to it, of the same. Raises `DocumentError`."""
    question, answer = question_from_file(problem), answer_from_file(placement)
    form = _ANSWERS[type(question)]
    # An answer of another format is refused here, with its place.
    return question, answer if isinstance(answer, form) else form.from_file(placement)


def _format(path: str | Path, kind: str) -> str | None:
    """The text at `format`; None where the file cannot be read or has none, which whoever reads it next reports.

    Raises `DocumentError` where it names something else than the formats of this kind.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        import tomllib  # For documents as TOML alone.

        data = tomllib.loads(text) if Path(path).suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    named = data.get("format") if isinstance(data, dict) else None
    if not isinstance(named, str):
        return None
    if named not in (f"{kind}/1", f"{kind}/2", f"{kind}/3"):
        shown = json.dumps(named[:80], ensure_ascii=False)
        said = f"expected '{kind}/1', '{kind}/2' or '{kind}/3', got {shown}"
        raise DocumentError(str(path), said, "$.format", shown)
    return named
