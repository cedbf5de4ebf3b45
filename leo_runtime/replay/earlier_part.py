"""The part of a run in real time that its log has: what was measured cannot be measured again, so the run goes on.

Its frames are told of as they were, so that the tables, the trace and the ledger are of the whole run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from leo_runtime.appending import whole_lines
from leo_runtime.errors import DocumentError, LeoError
from leo_runtime.frame.records import FrameResult, Solved
from leo_runtime.replay.log_lines import FrameLine, ResumedLine
from leo_runtime.replay.log_reader import RunLog
from leo_runtime.replay.rebuilt import rebuilt
from leo_runtime.replay.times import KnownTimes

KEPT_QUESTIONS = 256
"""How many questions are kept that frames have used."""
_FRAME, _RESUMED = b'{"kind":"frame"', b'{"kind":"resumed"'


class EarlierPart:
    """The frames of a log, in the order in which they ended. For one thread; close it, or use it in a `with` block."""

    def __init__(self, log: Path, policy: str, times: Path, resumed: Callable[[int, int], None]) -> None:
        """`policy` placed its frames, and `times` says what that took. Raises `InputError`, `DocumentError`.

        `resumed` is told when it went on, and how many frames were lost by then, where it had been interrupted before.
        """
        self._log = RunLog(log)
        self._policy = policy
        self._times = KnownTimes(times)
        self._solved: OrderedDict[str, Solved] = OrderedDict()
        self.resumed = resumed
        self.frames_there = len(self._log.numbers)
        """How many frames have a line."""
        self.after_us = max(self._log.releases_us, default=-1)
        """The last release of any of them; -1: there are none."""
        self._offset = max(self._log.numbers, default=-1) + 1

    def tell(self, frame: Callable[[FrameResult, int], None]) -> None:
        """Tell of each frame, and of what was settled when it had ended, in us. Raises `DocumentError`."""
        path = self._log.path
        try:
            with path.open("rb") as file:
                end, at = whole_lines(file), 0
                file.seek(0)
                for number, text in enumerate(file, 1):
                    at += len(text)
                    if at > end:  # The writer may have begun to add to it.
                        return
                    self._tell(text, f"{path}:{number}", frame)
        except OSError as error:
            raise DocumentError(str(path), f"cannot be read ({error.strerror or error})") from None

    def _tell(self, text: bytes, place: str, frame: Callable[[FrameResult, int], None]) -> None:
        if text.startswith(_RESUMED):
            line = ResumedLine.from_json(text, place)
            self.resumed(line.at_us, line.lost)
        if text.startswith(_FRAME):
            found = self._frame(FrameLine.from_json(text, place))
            try:
                frame(*found)
            except (LookupError, TypeError, ValueError, ArithmeticError, AssertionError) as error:
                if isinstance(error, LeoError):
                    raise
                # A line that was changed may name what the machine has not, and anything else.
                raise DocumentError(
                    place, f"is no frame of this run ({type(error).__name__}: {error})", hint="replay it anew"
                ) from None

    def renumbered(self, frame: FrameResult) -> FrameResult:
        """A frame of the part that follows: its runtime counts from 0 again."""
        number = frame.frame + self._offset
        return replace(
            frame,
            frame=number,
            stages=tuple(replace(one, frame=number) for one in frame.stages),
            transfers=tuple(replace(one, frame=number) for one in frame.transfers),
            loads=tuple(replace(one, frame=number) for one in frame.loads),
            evicted=tuple(replace(one, frame=number) for one in frame.evicted),
            graphs=tuple(replace(one, frame=number) for one in frame.graphs),
            wakes=tuple(replace(one, frame=number) for one in frame.wakes),
            spans=None if frame.spans is None else tuple(replace(one, frame=number) for one in frame.spans),
        )

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _frame(self, line: FrameLine) -> tuple[FrameResult, int]:
        solve_us = self._times.of(line.frame) or 0
        frame = rebuilt(line, self._asked(line.question), policy=self._policy, solve_us=solve_us)
        return frame, line.release_us if line.settled_us is None else line.settled_us

    def _asked(self, digest: str | None) -> Solved | None:
        """What was asked and answered; of one digest it is the same object, as it was."""
        if digest is None:
            return None
        solved = self._solved.get(digest)
        if solved is None:
            found = self._log.question(digest)
            if found is None:
                return None
            solved = self._solved[digest] = Solved(found.problem, found.placement)
            if len(self._solved) > KEPT_QUESTIONS:
                self._solved.popitem(last=False)
        return solved
