"""What solvers may ask of a kernel and of the search that learns: both are there twice, compiled and interpreted."""

from collections.abc import Sequence
from typing import Any, Protocol

from leo_runtime.documents.problem import Question, StageModes

Value = tuple[int, ...]
"""How far rules are broken, then the criteria of the objective: less is better."""


class Ordered(Protocol):
    """A question of either form, whose stages are in an order in which inputs come first."""

    @property
    def problem(self) -> Question:
        """The question."""

    @property
    def stages(self) -> Sequence[StageModes]:
        """Its stages in that order; a stage's number is its place in it."""


class Schedules(Protocol):
    """What local search over modes and orders asks for: schedules made, and the best of them. For one thread."""

    by_rank: list[int]
    """The stages by falling upward rank."""
    by_due: list[int]
    """The stages by when each must end so that what follows it can be in time."""

    @property
    def moves(self) -> int:
        """How many schedules were made."""

    @property
    def question(self) -> Ordered:
        """What is scheduled."""

    @property
    def stopped(self) -> bool:
        """Whether the wall-time limit has passed."""

    @property
    def best(self) -> Value | None:
        """The value of the best schedule so far, if there is one. A better one is another object."""

    @property
    def best_modes(self) -> tuple[int, ...]:
        """Its modes, as numbers within each stage."""

    @property
    def best_order(self) -> tuple[int, ...]:
        """The order in which its stages were placed."""

    def consider(self, modes: Sequence[int], order: Sequence[int]) -> Value:
        """Schedule, and keep it if it is better than everything before. Returns its value."""


class Halting(Protocol):
    """What can be told to stop."""

    def halt(self) -> None:
        """Stop local search at its next move and the search at its next node; may be called from another thread."""


class SearchKernel(Halting, Protocol):
    """A problem, the schedule made last, and the best answer so far: `search/kernel.py`.

    All but `halt` is for one thread at a time.
    """

    @property
    def stages(self) -> int:
        """How many stages the problem has."""

    @property
    def found(self) -> bool:
        """Whether there is an answer."""

    @property
    def bounds(self) -> list[int]:
        """A proved lower bound for each criterion of the objective, given the ones before it at their value."""

    @property
    def modes(self) -> list[int]:
        """The modes of the schedule made last, as numbers within each stage."""

    @property
    def tied(self) -> bool:
        """Whether, in the schedule made last, a stage may have had two modes that end first."""

    @property
    def halting(self) -> bool:
        """Whether `halt` was called."""

    def evaluate(self, modes: Sequence[int], order: Sequence[int]) -> tuple[int, int, int, int, int]:
        """Schedule the stages in this order and these modes. The four criteria, and how far rules are broken."""

    def rank_order(self, backward: bool = False) -> list[int]:
        """The stages by falling upward rank; with `backward` ties are broken the other way."""

    def keep(self) -> bool:
        """Take the schedule made last as the best answer if it is valid and better than the one kept. Says whether."""

    def follow(self, modes: Sequence[int], by: Sequence[int]) -> None:
        """Schedule in these modes and the order of these times (see `course`); keep that if it is better."""

    def course(self) -> tuple[list[int], list[int]]:
        """The best answer as `follow` takes it."""

    def answer(self) -> list[int]:
        """The last schedule: criteria; mode, lane, start a stage; stage, target, lane, start, arrival a transfer."""

    def best(self) -> list[int]:
        """The best answer, as `answer` gives one."""

    def climb(self, moves: int, seed: int) -> None:
        """Look for good answers: the simple ones first, then `moves` seeded random changes from the best of them."""

    def climb_once(self, moves: int, seed: int) -> None:
        """The first half of `climb`: from the best of the simple answers."""

    def climb_again(self, moves: int) -> None:
        """The second half, after the first: from the best answer found, accepting less that is worse."""

    def confine(self, resource: int) -> None:
        """From now on every stage is on one resource (on which each must have a mode); -1: on any."""

    def rivals(self) -> list[int]:
        """The resources which alone might do better than the answer kept, as far as their roots can tell."""

    def root(self, turns: int = 0) -> int:
        """Bound the criteria in order. 2 if that proves the answer the best, or that there is none, else 1."""


class LearningSearch(Protocol):
    """The search that learns, of a kernel's problem: `search/clauses.py`. For one thread at a time."""

    @property
    def too_large(self) -> bool:
        """Whether the problem has too many variables to be searched; then nothing else may be asked."""

    @property
    def nodes(self) -> int:
        """How many nodes the last search took, or takes so far."""

    def turn_to(self, kernel: Any) -> None:
        """Search the problem of another kernel, compiled or interpreted as the first, with all that was learned."""

    def search(self, limit_nodes: int) -> int:
        """Minimise the criteria that the kernel has not proved yet. 2 when proved, 1 when stopped."""

    def recall(self) -> int:
        """See whether what is known already proves the kernel's answer the best. 2 if so, 1 if it does not."""


class WindowSearch(LearningSearch, Protocol):
    """The search of a window whose frame is a kernel's problem: `search/windows.py`. For one thread at a time."""

    def prefer(self) -> None:
        """Try the modes of the kernel's answer first; that is of a frame only, and no answer from now on."""

    def kept(self) -> list[int]:
        """The best answer: criteria; mode and start a stage; transfers and spans with their lists."""
