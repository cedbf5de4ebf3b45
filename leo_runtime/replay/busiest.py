"""The part of a run in which most was computed, found as the run goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from leo_runtime.frame.batch import Job
from leo_runtime.frame.records import FrameResult, StageObservation
from leo_runtime.replay.figures import Part


class Busiest:
    """Which of all parts of one length is the busiest: of several alike the first. It keeps what ran in that one."""

    def __init__(self, length_us: int) -> None:
        """Nothing has run yet."""
        self._length_us = length_us
        self._busy_us: dict[int, int] = {}
        """By number of a part: how much began in it, of those parts in which something may still begin."""
        self._recent: deque[tuple[int, Mapping[str, Job], Sequence[StageObservation]]] = deque()
        """Of frames in such parts: when the last of it ended, and what ran."""
        self._whole_before = 0
        """All parts before that one are whole, and were looked at."""
        self._most_us = 0
        self._best = Part(0, length_us)

    def add(self, frame: FrameResult, settled_us: int) -> None:
        """Take a frame that has ended; nothing of later ones begins before `settled_us`."""
        length_us, busy_us, last_us = self._length_us, self._busy_us, 0
        for run in frame.stages:
            end_us = run.end_us
            part = run.start_us // length_us
            busy_us[part] = busy_us.get(part, 0) + end_us - run.start_us
            if end_us > last_us:
                last_us = end_us
        self._recent.append((last_us, frame.jobs, frame.stages))
        before = settled_us // length_us
        if before > self._whole_before:
            self._whole_before = before
            self._settle(before)

    def best(self) -> Part:
        """When all has been told."""
        self._settle(max(self._busy_us, default=0) + 1)
        return self._best

    def _settle(self, before: int) -> None:
        """All parts before that one are whole."""
        over = sorted(part for part in self._busy_us if part < before)
        for part in over:
            busy_us = self._busy_us.pop(part)
            if busy_us > self._most_us:
                self._most_us, self._best = busy_us, self._whole(part)
        while self._recent and self._recent[0][0] <= before * self._length_us:
            self._recent.popleft()

    def _whole(self, number: int) -> Part:
        from_us, until_us = number * self._length_us, (number + 1) * self._length_us
        runs = (
            (jobs[run.stage].stage, run)
            for _, jobs, stages in self._recent
            for run in stages
            if run.end_us > run.start_us and run.start_us < until_us and run.end_us > from_us
        )
        return Part(from_us, until_us, tuple(sorted(runs, key=lambda one: one[1].frame)))
