"""Answers that are kept by their questions; what was asked for longest ago is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import count
from typing import Generic, TypeVar

_Question = TypeVar("_Question", bound=Hashable)
_Answer = TypeVar("_Answer")


class KeptAnswer(Generic[_Answer]):
    """One of them."""

    __slots__ = ("_turns", "answer", "asked", "is_kept")

    def __init__(self, answer: _Answer, turns: Iterator[int]) -> None:
        """It is asked for as it is kept, in the next of these turns."""
        self.answer = answer
        self.asked = next(turns)
        """In which turn it was asked for last."""
        self.is_kept = True
        """Whether it is not forgotten: who has it need not look for it again."""
        self._turns = turns

    def ask(self) -> None:
        """Ask for it once more, as who has it."""
        self.asked = next(self._turns)


class KeptAnswers(Generic[_Question, _Answer]):
    """All of them. For one thread at a time."""

    def __init__(self) -> None:
        """There is none yet."""
        self._known: dict[_Question, KeptAnswer[_Answer]] = {}
        self._turns = count()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._known)

    def __contains__(self, question: _Question) -> bool:
        """Whether the answer to a question is kept."""
        return question in self._known

    def get(self, question: _Question) -> KeptAnswer[_Answer] | None:
        """The answer to a question, which is then asked for; None where it is not kept."""
        known = self._known.get(question)
        if known is not None:
            known.ask()
        return known

    def keep(self, question: _Question, answer: _Answer, most: int) -> None:
        """Keep an answer, and so no more than so many."""
        if len(self._known) >= most:
            self._forget(min(self._known, key=lambda known: self._known[known].asked))
        self._put(question, answer)

    def take_over(self, before: KeptAnswers[_Question, _Answer], is_kept: Callable[[_Question], bool]) -> None:
        """Keep as well what another keeps of these questions, as if it were asked for now in the same order."""
        for question, known in sorted(before._known.items(), key=lambda item: item[1].asked):
            if is_kept(question):
                self._put(question, known.answer)

    def clear(self) -> None:
        """Forget all."""
        for question in tuple(self._known):
            self._forget(question)

    def _put(self, question: _Question, answer: _Answer) -> None:
        if question in self._known:
            self._forget(question)
        self._known[question] = KeptAnswer(answer, self._turns)

    def _forget(self, question: _Question) -> None:
        self._known.pop(question).is_kept = False
