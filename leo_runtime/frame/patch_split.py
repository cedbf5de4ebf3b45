"""Which patch of a frame goes through which of two networks, and where: MobiSR's question (MobiCom 2019).

Patches are alike but for how much either network gets wrong in them. So how long a frame takes depends on how many
patches each lane runs through either network, not on which; and of all choices of n patches for the better network,
those with the most to gain leave the least error (exchange one that is in for one that is out). The threshold follows
from the floor, and lanes are filled by counts: together the best answer, of makespan, or of energy by a deadline. It is
one placement problem (`as_problem`), of a stage for each patch.
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
    """A processor, and what a patch takes on one of its lanes, from 1 us; None: it does not run that network.

    Raises `InputError` for a number out of range.
    """

    name: str
    easy_us: int | None
    """Through the network for easy patches."""
    hard_us: int | None
    """Through the better one."""
    start_us: int = 0
    """From the start of the frame until its first patch can run: waking, and what is sent there and back."""
    lanes: int = 1
    easy_nj: int = 0
    """What a patch takes of energy through the network for easy ones."""
    hard_nj: int = 0
    start_nj: int = 0
    """What it takes to start, once a frame, where anything runs on it."""

    def __post_init__(self) -> None:
        """Refuse numbers by which nothing could be split."""
        from_one = [one for one in (self.lanes, self.easy_us, self.hard_us) if one is not None]
        if min(from_one) < 1 or min(self.start_us, self.start_nj, self.easy_nj, self.hard_nj) < 0:
            raise InputError(
                f"worker `{self.name}` has a number out of range: {self}",
                hint="`lanes` and the times of a patch are from 1, all else from 0; None: it does not run that network",
            )


@dataclass(frozen=True, slots=True)
class Split:
    """Where each patch goes."""

    makespan_us: int
    energy_nj: int
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
    energy_nj: int
    hard: tuple[int, ...]
    """Of each lane, worker by worker."""
    easy: tuple[int, ...]


def split(
    easy: Sequence[int],
    hard: Sequence[int],
    error_max: int,
    workers: Sequence[Worker],
    deadline_us: int | None = None,
) -> Split:
    """The split of the least makespan of which the errors sum up to at most `error_max`, in any one unit; with a
    deadline that of the least energy that keeps it.

    `easy` and `hard` are what either network gets wrong in each patch. Where even the better one alone gets more wrong
    than is allowed, it gets every patch. Raises `InputError` where one of both is missing of a patch, or none that
    can be summed up, `SolverError` where no worker runs a network that is needed, or no split keeps the deadline. Any
    thread.
    """
    if len(easy) != len(hard):
        raise InputError(f"a patch has an error of either network, got {len(easy)} and {len(hard)} of them")
    if len(easy) == 0:
        return Split(0, 0, 0, error_max >= 0, (), ())
    _require_errors(EASY, easy)
    _require_errors(HARD, hard)
    gains = np.subtract(easy, hard, dtype=np.int64)
    order = np.argsort(-gains, kind="stable")
    allowed = few_enough(np.asarray(easy, np.int64)[order], np.asarray(hard, np.int64)[order], error_max)
    within = bool(allowed.any())
    allowed[-1] |= not within
    counts = least_makespan(allowed, workers) if deadline_us is None else least_energy(allowed, workers, deadline_us)
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
        counts.energy_nj,
        sum(counts.hard),
        within,
        tuple(network for _, network, _ in by_patch),
        tuple(place for _, _, place in by_patch),
    )


def _require_errors(network: str, errors: Sequence[int]) -> None:
    """Raise `InputError` for errors that cannot be summed up in 64 bits."""
    for patch, error in enumerate(errors):
        if not isinstance(error, int | np.integer) or error < 0:
            raise InputError(
                f"the {network} network's error of patch {patch} is {error}, expected a whole number from 0 on",
                hint="give errors in a unit so small that they are whole numbers",
            )
    if (total := sum(map(int, errors))) > _MOST_ERRORS:
        raise InputError(
            f"the {network} network's errors sum up to {total}, expected at most {_MOST_ERRORS}",
            hint="give errors in a greater unit",
        )


def least_makespan(allowed: np.ndarray, workers: Sequence[Worker]) -> Counts:
    """Counts of the least makespan, with the fewest patches through the better network at that.

    `allowed` (patches + 1,) says for each number of patches whether so many may go through the better network. Raises
    `SolverError` where no worker runs a network that is needed.
    """
    patches = len(allowed) - 1
    lanes = [worker for worker in workers for _ in range(worker.lanes)]
    alone_us = [one.start_us + patches * max(one.easy_us or 0, one.hard_us or 0) for one in workers]
    low, high = 0, max(alone_us, default=0)
    if not _fits(_filled(high, patches, lanes)[-1], allowed).any():
        raise SolverError("no worker runs a network that patches have to go through", hint="give one its time")
    while low < high:
        middle = (low + high) // 2
        if _fits(_filled(middle, patches, lanes)[-1], allowed).any():
            high = middle
        else:
            low = middle + 1
    hard = int(_fits(_filled(high, patches, lanes)[-1], allowed).argmax())
    return _counts(workers, *_dealt(lanes, high, patches, hard, patches - hard))


def least_energy(allowed: np.ndarray, workers: Sequence[Worker], deadline_us: int) -> Counts:
    """Counts of the least energy of which every lane ends by the deadline, with the fewest hard patches at that.

    `allowed` as for `least_makespan`. Raises `SolverError` where there are none.
    """
    patches = len(allowed) - 1
    of_each = [_energies(worker, deadline_us, patches) for worker in workers]
    # Of the first 0, 1, 2, ... workers: the least energy of each number of hard and of easy patches.
    least = [np.full((patches + 1, patches + 1), _BEYOND, np.int64)]
    least[0][0, 0] = 0
    for own in of_each:
        found = np.full_like(least[0], _BEYOND)
        for hard, easy in np.argwhere(own < _BEYOND).tolist():
            part = found[hard:, easy:]
            np.minimum(part, least[-1][: len(part), : part.shape[1]] + own[hard, easy], out=part)
        least.append(found)
    ends = np.where(allowed, least[-1][np.arange(patches + 1), patches - np.arange(patches + 1)], _BEYOND)
    left_hard = int(ends.argmin())
    left_easy = patches - left_hard
    if ends[left_hard] >= _BEYOND:
        raise SolverError(f"no split ends within {deadline_us} us", hint="allow it more time, or more errors")
    hards: list[int] = []
    easies: list[int] = []
    for worker, own, before, after in reversed(list(zip(workers, of_each, least[:-1], least[1:], strict=True))):
        some = before[: left_hard + 1, : left_easy + 1][::-1, ::-1] + own[: left_hard + 1, : left_easy + 1]
        hard, easy = np.argwhere(some == after[left_hard, left_easy])[0].tolist()
        hard_each, easy_each = _dealt([worker] * worker.lanes, deadline_us, patches, hard, easy)
        hards, easies = hard_each + hards, easy_each + easies
        left_hard, left_easy = left_hard - hard, left_easy - easy
    return _counts(workers, hards, easies)


def _energies(worker: Worker, deadline_us: int, patches: int) -> np.ndarray:
    """What each number of hard and of easy patches takes on a worker, (patches + 1, patches + 1).

    Which of its lanes they run on makes no difference to it.
    """
    hard, easy = np.mgrid[0 : patches + 1, 0 : patches + 1]
    room = _filled(deadline_us, patches, [worker] * worker.lanes)[-1]
    energies = worker.start_nj + hard * worker.hard_nj + easy * worker.easy_nj
    energies[0, 0] = 0
    return np.where(easy <= room[:, None], energies, _BEYOND)


def _dealt(lanes: Sequence[Worker], until_us: int, patches: int, hard: int, easy: int) -> tuple[list[int], list[int]]:
    """So many hard and easy patches, of which all lanes are done by that time, on each of the lanes."""
    filled = _filled(until_us, patches, lanes)
    hards, easies = [0] * len(lanes), [0] * len(lanes)
    for index in reversed(range(len(lanes))):
        # The lanes before this one have to have room for what it leaves them.
        room = _room(lanes[index], until_us, patches)[: hard + 1]
        count = int((filled[index][hard - np.arange(len(room))] + room).argmax())
        hards[index], easies[index] = count, min(int(room[count]), easy)
        hard -= hards[index]
        easy -= easies[index]
    return hards, easies


def _counts(workers: Sequence[Worker], hard: Sequence[int], easy: Sequence[int]) -> Counts:
    """What the lanes' patches take together."""
    lanes = [(number, worker) for number, worker in enumerate(workers) for _ in range(worker.lanes)]
    ends, energy_nj, used = [0], 0, set()
    for (number, worker), hards, easies in zip(lanes, hard, easy, strict=True):
        if hards + easies:
            used.add(number)
            ends.append(worker.start_us + hards * (worker.hard_us or 0) + easies * (worker.easy_us or 0))
            energy_nj += hards * worker.hard_nj + easies * worker.easy_nj
    energy_nj += sum(workers[number].start_nj for number in used)
    return Counts(max(ends), energy_nj, tuple(hard), tuple(easy))


_BEYOND = 1 << 60
_MOST_ERRORS = (1 << 62) - 1
"""Both networks' sums are added up in 64 bits."""
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


def as_problem(
    easy: Sequence[int],
    hard: Sequence[int],
    error_max: int,
    workers: Sequence[Worker],
    deadline_us: int | None = None,
) -> Problem:
    """The same question as a placement problem: a stage for each patch, the errors as what modes lose."""
    stages = []
    for number, losses in enumerate(zip(easy, hard, strict=True)):
        modes = []
        for one in workers:
            ways = ((EASY, one.easy_us, one.easy_nj, losses[0]), (HARD, one.hard_us, one.hard_nj, losses[1]))
            modes += [
                Mode(resource=one.name, variant=name, duration_us=us, energy_nj=nj, accuracy_loss_ppm=loss)
                for name, us, nj, loss in ways
                if us is not None
            ]
        stages.append(StageModes(name=f"patch {number}", modes=tuple(modes)))
    return Problem(
        format="leo-problem/1",
        name="patches",
        resources=tuple(
            Resource(
                name=one.name,
                lanes=one.lanes,
                awake=one.start_us == one.start_nj == 0,
                wake_latency_us=one.start_us,
                wake_energy_nj=one.start_nj,
            )
            for one in workers
        ),
        stages=tuple(stages),
        accuracy_budgets=(AccuracyBudget(stages=tuple(one.name for one in stages), loss_ppm_max=error_max),),
        limits={} if deadline_us is None else {"makespan": deadline_us},
        objective=("makespan",) if deadline_us is None else ("energy",),
    )
