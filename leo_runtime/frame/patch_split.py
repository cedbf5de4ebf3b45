"""Which patch of a frame goes through which of two networks, and where: MobiSR's question (MobiCom 2019).

Patches are alike but for how much either network gets wrong in them. So how long a frame takes depends on how many
patches each lane runs through either network, not on which; and of all choices of n patches for the better network,
those with the most to gain leave the least error (exchange one that is in for one that is out). The threshold follows
from the floor, and lanes are filled by counts: together the best answer. It is one placement problem (`as_problem`), of
a stage for each patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leo_runtime.documents.problem import AccuracyBudget, Mode, Problem, Resource, StageModes
from leo_runtime.errors import InputError, SolverError
from leo_runtime.frozen import dataclass
from leo_runtime.operators.patches import few_enough

EASY, HARD = "easy", "hard"


@dataclass(frozen=True, slots=True)
class Worker:
    """A processor, and what a patch takes on one of its lanes, from 1 us; None: it does not run that network."""

    name: str
    easy_us: int | None
    """Through the network for easy patches."""
    hard_us: int | None
    """Through the better one."""
    start_us: int = 0
    """From the start of the frame until its first patch can run: waking, and what is sent there and back."""
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Split:
    """Where each patch goes."""

    makespan_us: int
    hard: int
    """How many go through the better network."""
    within: bool
    """Whether the errors stay below the most that is allowed; else all go through the better one."""
    networks: tuple[str, ...]
    """Of each patch, in the order in which they were given: `EASY` or `HARD`."""
    places: tuple[tuple[str, int], ...]
    """Of each the worker and its lane."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many patches each lane runs."""

    makespan_us: int
    hard: tuple[int, ...]
    """Of each lane, worker by worker."""
    easy: tuple[int, ...]


def split(easy: Sequence[int], hard: Sequence[int], error_max: int, workers: Sequence[Worker]) -> Split:
    """The split of the least makespan of which the errors sum up to at most `error_max`, in any one unit.

    `easy` and `hard` are what either network gets wrong in each patch. Where even the better one alone gets more wrong
    than is allowed, it gets every patch. Raises `InputError` where one of both is missing of a patch, and what
    `least_makespan` raises. Any thread.
    """
    if len(easy) != len(hard):
        raise InputError(f"a patch has an error of either network, got {len(easy)} and {len(hard)} of them")
    if len(easy) == 0:
        return Split(0, 0, error_max >= 0, (), ())
    gains = np.subtract(easy, hard, dtype=np.int64)
    order = np.argsort(-gains, kind="stable")
    allowed = few_enough(np.asarray(easy, np.int64)[order], np.asarray(hard, np.int64)[order], error_max)
    within = bool(allowed.any())
    allowed[-1] |= not within
    counts = least_makespan(allowed, workers)
    lanes = [(worker.name, lane) for worker in workers for lane in range(worker.lanes)]
    places = [
        place
        for of_each in (counts.hard, counts.easy)
        for place, n in zip(lanes, of_each, strict=True)
        for _ in range(n)
    ]
    through = [HARD] * sum(counts.hard) + [EASY] * sum(counts.easy)
    by_patch = sorted(zip(order.tolist(), through, places, strict=True))
    return Split(
        counts.makespan_us,
        sum(counts.hard),
        within,
        tuple(network for _, network, _ in by_patch),
        tuple(place for _, _, place in by_patch),
    )


def least_makespan(allowed: np.ndarray, workers: Sequence[Worker]) -> Counts:
    """Counts of the least makespan, with the fewest patches through the better network at that.

    `allowed` (patches + 1,) says for each number of patches whether so many may go through the better network. Raises
    `InputError` for a worker's number out of range, `SolverError` where none runs a network that is needed.
    """
    for worker in workers:
        if worker.start_us < 0 or any(
            one is not None and one < 1 for one in (worker.lanes, worker.easy_us, worker.hard_us)
        ):
            raise InputError(
                f"worker `{worker.name}` has a number out of range: {worker}",
                hint="`start_us` is from 0, `lanes` and the times of a patch are from 1; None: it does not run it",
            )
    patches = len(allowed) - 1
    lanes = [worker for worker in workers for _ in range(worker.lanes)]
    low, high = (
        0,
        max((worker.start_us + patches * max(worker.easy_us or 0, worker.hard_us or 0) for worker in lanes), default=0),
    )
    if not _fits(_filled(high, patches, lanes)[-1], allowed).any():
        raise SolverError("no worker runs a network that patches have to go through", hint="give one its time")
    while low < high:
        middle = (low + high) // 2
        if _fits(_filled(middle, patches, lanes)[-1], allowed).any():
            high = middle
        else:
            low = middle + 1
    filled = _filled(high, patches, lanes)
    left_hard = int(_fits(filled[-1], allowed).argmax())
    left_easy = patches - left_hard
    hard, easy = [0] * len(lanes), [0] * len(lanes)
    for index in reversed(range(len(lanes))):
        before, room = filled[index], _room(lanes[index], high, patches)
        # The lanes before this one have to have room for what it leaves them.
        count = next(
            n
            for n in range(left_hard + 1)
            if n < len(room) and before[left_hard - n] + room[n] == filled[index + 1][left_hard]
        )
        hard[index], easy[index] = count, min(int(room[count]), left_easy)
        left_hard -= hard[index]
        left_easy -= easy[index]
    return Counts(high, tuple(hard), tuple(easy))


_NEVER = -(1 << 40)


def _room(worker: Worker, until_us: int, patches: int) -> np.ndarray:
    """How many easy patches a lane has time for beside 0, 1, 2, ... hard ones; as long as it has time for those."""
    left_us = until_us - worker.start_us
    most = 0 if worker.hard_us is None or left_us < 0 else min(patches, left_us // worker.hard_us)
    beside_us = left_us - np.arange(most + 1) * (worker.hard_us or 0)
    if worker.easy_us is None or left_us < 0:
        return np.zeros(most + 1, np.int64)
    return np.minimum(beside_us // worker.easy_us, patches)


def _filled(until_us: int, patches: int, lanes: Sequence[Worker]) -> list[np.ndarray]:
    """Of the first 0, 1, 2, ... lanes: how many easy patches they have time for beside each number of hard ones."""
    filled = [np.full(patches + 1, _NEVER, np.int64)]
    filled[0][0] = 0
    for worker in lanes:
        found = np.full(patches + 1, _NEVER, np.int64)
        for count, easy in enumerate(_room(worker, until_us, patches).tolist()):
            found[count:] = np.maximum(found[count:], filled[-1][: patches + 1 - count] + easy)
        filled.append(found)
    return filled


def _fits(room: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """For which numbers of hard patches, that are allowed, the others are no more than there is time for."""
    return allowed & (room >= np.arange(len(room))[::-1])


def as_problem(easy: Sequence[int], hard: Sequence[int], error_max: int, workers: Sequence[Worker]) -> Problem:
    """The same question as a placement problem: a stage for each patch, the errors as what modes lose."""
    stages = []
    for number, losses in enumerate(zip(easy, hard, strict=True)):
        modes = [
            Mode(resource=worker.name, variant=name, duration_us=time_us, energy_nj=0, accuracy_loss_ppm=loss)
            for worker in workers
            for name, time_us, loss in zip((EASY, HARD), (worker.easy_us, worker.hard_us), losses, strict=True)
            if time_us is not None
        ]
        stages.append(StageModes(name=f"patch {number}", modes=tuple(modes)))
    return Problem(
        format="leo-problem/1",
        name="patches",
        resources=tuple(
            Resource(name=one.name, lanes=one.lanes, awake=one.start_us == 0, wake_latency_us=one.start_us)
            for one in workers
        ),
        stages=tuple(stages),
        accuracy_budgets=(AccuracyBudget(stages=tuple(one.name for one in stages), loss_ppm_max=error_max),),
        objective=("makespan",),
    )
