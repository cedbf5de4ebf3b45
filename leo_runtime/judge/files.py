"""Answers in files, judged by the questions in others."""

from pathlib import Path

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.questions import AnyPlacement, question_and_answer
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.judge.frame import CheckReport, check
from leo_runtime.judge.memory import check_memory
from leo_runtime.judge.window import check_window


def check_files(problem: str | Path, placement: str | Path) -> tuple[CheckReport, AnyPlacement]:
    """Judge the answer in a file by the question in another, of any format, as its `format` says.

    Raises `DocumentError` where either cannot be read, or the answer is none to such a question.
    """
    question, answer = question_and_answer(problem, placement)
    if isinstance(question, WindowProblem) and isinstance(answer, WindowPlacement):
        return check_window(question, answer), answer
    if isinstance(question, MemoryProblem) and isinstance(answer, MemoryPlacement):
        return check_memory(question, answer), answer
    assert isinstance(question, Problem) and isinstance(answer, Placement), "they are of one form"
    return check(question, answer), answer
