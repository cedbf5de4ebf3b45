"""Who is told of a replay as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.identity import Replay


class FrameSink(Protocol):
    """Told of a replay as it goes on, by the thread that calls `replay`: `begin`, all else in turn, and `end`."""

    def begin(self, begun: Replay, /) -> None:
        """Nothing has run yet, so it has no frames."""
        ...

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        """A frame has ended. Nothing of any that ends later begins before `settled_us`, on the run's clock."""
        ...

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """These entries of the ledger are final; none that comes later begins before `settled_us`.

        All of a whole run are its ledger (`run_ledger`), where what one moment after the other is drawn by an idle or
        sleeping resource may be told in several pieces.
        """
        ...

    def end(self, ended: Replay, /) -> None:
        """All has been told. It is not called where the replay is interrupted, or fails."""
        ...


class KeptFrames:
    """Keeps every frame of a replay, for whoever needs them all: its memory grows with the run."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._frames: dict[int, FrameResult] = {}

    @property
    def frames(self) -> tuple[FrameResult, ...]:
        """In the order in which they were submitted."""
        return tuple(frame for _, frame in sorted(self._frames.items()))

    def begin(self, _begun: Replay, /) -> None:
        """Let go of those of an earlier replay."""
        self._frames.clear()

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        """Keep it."""
        self._frames[ended.frame] = ended

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """Nothing of it is kept: `run_ledger` has it of the frames."""

    def end(self, ended: Replay, /) -> None:
        """Nothing is left to be told."""
