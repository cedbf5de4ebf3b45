"""What is in the memories of processors that weights are loaded to: who holds what, and what makes room.

**Stays.** Everything that a frame has in a memory is a stay: a label for the stages that it serves, and what its stages
there work with. A stay is planned to last from one time to another. It begins when its load does, what stages work with
before the first of them or of their loads, and what was resident as the frame is admitted. It is over when the last of
its stages is. A label that nobody holds stays there while there is room, and goes by rule 9 of
`docs/memory-problem.md`.

**No memory is ever exceeded, and nothing waits in a circle,** however long things really last. A stay begins only when
there is room for it. On each memory stays begin in the order in which they are planned to, each when all those are over
that are planned to be over by then: so what is there is at most what was planned to be there at that time, for which
there is room. All waiting is for what is planned earlier. For that, the plans of all frames in flight together must
fit at every planned time: a frame is planned in what the others leave at their worst (`Found.peak_bytes`), or after
all of them are over (`Found.over_us`). A stage that moves goes only where it fits beside all of them; a frame that was
asked about before that, and admitted after it, may no longer fit (`crowded`). What holds on to a memory beside the
plan, such as a run that was given up and goes on, or a load that nobody needs any more, is waited for.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from leo_runtime.dispatch.events import EvictionRecord
from leo_runtime.documents.memory import MemoryMode

if TYPE_CHECKING:
    from leo_runtime.dispatch.plan import PlannedStay
    from leo_runtime.documents.memory import Loader
    from leo_runtime.documents.problem import Mode

Key = tuple[int, int, int, int]
"""As `inflight.Key`."""

_key = attrgetter("key")


@dataclass(frozen=True)
class Room:
    """The memory of a processor that weights are loaded to."""

    bytes: int | None
    """None: there is no limit."""
    loader: Loader


@dataclass(frozen=True)
class Found:
    """A memory as the next frame finds it. Times are on the run's clock."""

    resource: str
    peak_bytes: int
    """What frames in flight may need at one time, from now on."""
    over_us: int
    """When they are planned to be done with it; the time itself where they are."""
    there: tuple[str, ...]
    """The labels that are there, or are being loaded: first what is most costly to load again."""


@dataclass(eq=False)
class Held:
    """A label in a memory."""

    label: str
    bytes: int
    arrived: bool = False
    stays: list[Stay] = field(default_factory=list)

    @property
    def may_go(self) -> bool:
        """Whether it may make room: nobody holds it, and it is not being written any more."""
        return self.arrived and not self.stays


@dataclass(eq=False)
class Stay:
    """Something that a frame has in a memory."""

    of: FrameMemory
    label: str
    """Empty: it is what stages work with."""
    target: str
    bytes: int
    from_us: int
    until_us: int
    key: Key
    open: dict[object, None]
    """Its stages that are not over, and what else keeps it."""
    load: int | None = None
    """Which load of the frame it begins with."""
    state: Literal["waiting", "begun", "over"] = "waiting"
    held: Held | None = None


@dataclass(eq=False)
class FrameMemory:
    """What a frame has in memories."""

    frame: int
    release_us: int
    stays: dict[str, list[Stay]] = field(default_factory=dict)
    """Of each stage."""
    evicted: list[EvictionRecord] = field(default_factory=list)


@dataclass(eq=False)
class _Bank:
    """One memory."""

    room: Room
    there: dict[str, Held] = field(default_factory=dict)
    begun: list[Stay] = field(default_factory=list)
    waiting: list[Stay] = field(default_factory=list)
    """In the order in which they begin."""
    is_unforeseen: bool = False
    """Whether a stage has moved here since it was last asked what a frame finds."""

    def used(self) -> int:
        """What is in it, and what stages work with."""
        working = sum(stay.bytes for stay in self.begun if stay.held is None)
        return working + sum(held.bytes for held in self.there.values())

    def needed(self) -> int:
        """The same without what may go."""
        return self.used() - sum(held.bytes for held in self.there.values() if held.may_go)


def labels_of(mode: Mode) -> tuple[str, ...]:
    """The weights that a mode needs; none where the machine has no loaders."""
    return mode.weights if isinstance(mode, MemoryMode) else ()


class Memory:
    """The memories of a dispatcher. It says what may begin; what loads is the dispatcher's to start."""

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self._banks = {name: _Bank(room) for name, room in rooms.items()}
        self._under_way: dict[tuple[int, int], Held] = {}
        """What is being loaded, by frame and load."""

    # What others may ask.

    def found(self, now_us: int) -> tuple[Found, ...]:
        """What the next frame finds. Frames are admitted in the order in which this is asked for them."""
        for bank in self._banks.values():
            bank.is_unforeseen = False
        return tuple(
            Found(
                name,
                _peak_bytes(bank, now_us),
                max((now_us, *(stay.until_us for stay in (*bank.begun, *bank.waiting)))),
                tuple(sorted(bank.there, key=lambda label: _worth(bank.room.loader, bank.there[label]), reverse=True)),
            )
            for name, bank in self._banks.items()
        )

    def waits(self) -> bool:
        """Whether anything waits to begin."""
        return any(bank.waiting for bank in self._banks.values())

    def broken(self) -> Iterator[str]:
        """What must never be."""
        for name, bank in self._banks.items():
            if bank.room.bytes is not None and bank.used() > bank.room.bytes:
                yield f"{bank.used()} bytes are in the memory of {name}, which has {bank.room.bytes}"
            if [stay.key for stay in bank.waiting] != sorted(stay.key for stay in bank.waiting):
                yield f"what waits for the memory of {name} is out of order"

    def has_room(self, resource: str, bytes_needed: int, now_us: int) -> bool:
        """Whether there is room for more than is planned, from now on, whatever of that happens at one time."""
        bank = self._banks.get(resource)
        if bank is None or bank.room.bytes is None:
            return True
        return _peak_bytes(bank, now_us) + bytes_needed <= bank.room.bytes

    def crowded(self, now_us: int) -> list[str]:
        """The processors whose memory may be too small for all that is planned, as nobody foresaw what moved there."""
        return [
            name
            for name, bank in self._banks.items()
            if bank.is_unforeseen and bank.room.bytes is not None and _peak_bytes(bank, now_us) > bank.room.bytes
        ]

    def manages(self, resource: str) -> bool:
        """Whether weights are loaded to it."""
        return resource in self._banks

    def loader(self, resource: str) -> Loader:
        """How they get there."""
        return self._banks[resource].room.loader

    def is_there(self, resource: str, label: str) -> bool:
        """Whether a label is there, or is being loaded."""
        return label in self._banks[resource].there

    def may_run(self, of: FrameMemory | None, stage: str) -> bool:
        """Whether a stage of a frame has in memory what it needs."""
        for stay in () if of is None else of.stays.get(stage, ()):
            if stay.state == "waiting" or (stay.held is not None and not stay.held.arrived):
                return False
        return True

    def may_load(self, stay: Stay) -> bool:
        """Whether a stay may begin by loading: it is the next one there, and there is room for it."""
        bank = self._banks[stay.target]
        first = bank.waiting[0] if bank.waiting else None
        return first is stay and stay.label not in bank.there and _may_begin(bank, stay)

    # What happens.

    def plan(self, of: FrameMemory, planned: PlannedStay, key: Key, load: int | None) -> Stay:
        """A stay of a frame. It waits to begin; what is there begins at once if it is not to be loaded."""
        release_us = of.release_us
        stay = Stay(
            of,
            planned.label,
            planned.target,
            planned.bytes,
            release_us + planned.from_us,
            release_us + planned.until_us,
            key,
            dict.fromkeys(planned.stages),
            load,
        )
        for name in planned.stages:
            of.stays.setdefault(name, []).append(stay)
        bank = self._banks[planned.target]
        if planned.label and load is None:
            _hold(bank, stay, bank.there[planned.label])
        else:
            insort(bank.waiting, stay, key=_key)
        return stay

    def move(self, resource: str) -> None:
        """A stage that moves is going to have stays there, of which the frame that is asked about now does not know."""
        self._banks[resource].is_unforeseen = True

    def settle(self, now_us: int) -> list[Stay]:
        """Let all begin that may and takes no load; of these the stays that were to be loaded."""
        spared = []
        for name, bank in self._banks.items():
            while bank.waiting and (bank.waiting[0].label in bank.there or not bank.waiting[0].label):
                stay = bank.waiting[0]
                if not _may_begin(bank, stay):
                    break
                self._make_room(name, bank, stay, now_us)
                del bank.waiting[0]
                if stay.label:
                    _hold(bank, stay, bank.there[stay.label])
                else:
                    stay.state = "begun"
                    bank.begun.append(stay)
                if stay.load is not None:
                    spared.append(stay)
        return spared

    def begin(self, stay: Stay, now_us: int) -> tuple[str, ...]:
        """A stay begins by loading; the labels that went for it."""
        bank = self._banks[stay.target]
        assert bank.waiting[0] is stay and stay.load is not None, "`may_load` said so"
        gone = self._make_room(stay.target, bank, stay, now_us)
        del bank.waiting[0]
        held = bank.there[stay.label] = Held(stay.label, stay.bytes)
        self._under_way[stay.of.frame, stay.load] = held
        _hold(bank, stay, held)
        return gone

    def arrived(self, frame: int, number: int) -> None:
        """A load is there, whether or not its frame still is."""
        self._under_way.pop((frame, number)).arrived = True

    def leave(self, of: FrameMemory, stage: str, kept_by: object = None) -> list[Stay]:
        """A stage is over, or elsewhere; the stays that have ended so. `kept_by` keeps what has begun for it."""
        ended = []
        for stay in of.stays.pop(stage, ()):
            if kept_by is not None and stay.state == "begun":
                stay.open[kept_by] = None
            if self._let_go(stay, stage):
                ended.append(stay)
        return ended

    def free(self, kept_by: object) -> None:
        """What kept stays has ended."""
        for bank in self._banks.values():
            for stay in [stay for stay in bank.begun if kept_by in stay.open]:
                self._let_go(stay, kept_by)

    def lose(self, resource: str) -> None:
        """A processor is gone, and with it all that was in its memory."""
        bank = self._banks.get(resource)
        if bank is not None:
            bank.there.clear()

    # Inside.

    def _let_go(self, stay: Stay, name: object) -> bool:
        """One of those that a stay is for is over; True if that ends it."""
        stay.open.pop(name, None)
        if stay.open or stay.state == "over":
            return False
        bank = self._banks[stay.target]
        (bank.waiting if stay.state == "waiting" else bank.begun).remove(stay)
        stay.state = "over"
        if stay.held is not None:
            stay.held.stays.remove(stay)
        return True

    def _make_room(self, name: str, bank: _Bank, stay: Stay, now_us: int) -> tuple[str, ...]:
        """Rule 9: of what nobody holds goes what costs least to load again, until the rest fits."""
        gone: list[str] = []
        more = 0 if stay.label in bank.there else stay.bytes
        while bank.room.bytes is not None and bank.used() + more > bank.room.bytes:
            free = [held for held in bank.there.values() if held.may_go and held.label != stay.label]
            held = min(free, key=lambda held: _worth(bank.room.loader, held))
            del bank.there[held.label]
            gone.append(held.label)
        stay.of.evicted += [EvictionRecord(name, label, now_us) for label in gone]
        return tuple(gone)


def _hold(bank: _Bank, stay: Stay, held: Held) -> None:
    stay.state, stay.held = "begun", held
    held.stays.append(stay)
    bank.begun.append(stay)


def _may_begin(bank: _Bank, stay: Stay) -> bool:
    """Whether all are over that are planned to be by then, and there is room."""
    if any(other.until_us <= stay.from_us for other in bank.begun):
        return False
    held = bank.there.get(stay.label) if stay.label else None
    more = stay.bytes if held is None or held.may_go else 0
    return bank.room.bytes is None or bank.needed() + more <= bank.room.bytes


def _peak_bytes(bank: _Bank, now_us: int) -> int:
    """What all that is planned may need at one time, from now on; a label counts once at a time."""
    spans = [(now_us, max(stay.until_us, now_us + 1), stay) for stay in bank.begun]
    spans += [(max(stay.from_us, now_us), max(stay.until_us, now_us + 1), stay) for stay in bank.waiting]
    peak = 0
    for at_us, _, _ in spans:
        here = [stay for from_us, until_us, stay in spans if from_us <= at_us < until_us]
        labels = {stay.label: stay.bytes for stay in here if stay.label}
        peak = max(peak, sum(labels.values()) + sum(stay.bytes for stay in here if not stay.label))
    return peak


def _worth(loader: Loader, held: Held) -> tuple[Fraction, Fraction, str]:
    """What loading a label again would cost for each byte; the least is the first to go."""
    again_us = loader.loading_us(held.bytes) + loader.latency_us
    return Fraction(loader.loading_nj(held.bytes), held.bytes), Fraction(again_us, held.bytes), held.label
