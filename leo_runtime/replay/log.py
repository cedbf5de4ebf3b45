"""The log of a replay, `leo-log/1`: a line of JSON for the run, then one for each frame, when it has ended.

In virtual time the same run gives the same bytes: nothing of it depends on how long anything took here, except
`solve_us` and `solver_nj`, which are there only where solving is charged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from leo_runtime.appending import Appending
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.replay import Replay
from leo_runtime.runtime.planner import UNPLACED_BY


class LogWriter:
    """Writes the log as the replay goes on: what is there is whole lines, whenever the process ends."""

    def __init__(self, path: Path) -> None:
        """Nothing is written before the replay begins."""
        self._file = Appending(path)
        self._solver_mw: int | None = None
        self.frames: int | None = None
        """How many frames the file holds; None: it was not begun."""

    def begin(self, begun: Replay, /) -> None:
        """Write the run's line, in place of what the file held. Raises `DocumentError` when it cannot be written."""
        self._solver_mw = _solver_mw(begun)
        self._file.start()
        self._file.write(_bytes(_head(begun)))
        self.frames = 0

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        """Write the frame's line. Raises `DocumentError`."""
        assert self.frames is not None, "a replay begins before its frames end"
        self._file.write(_bytes(_frame(ended, self._solver_mw)))
        self.frames += 1

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """Nothing of it is written."""

    def end(self, ended: Replay, /) -> None:
        """Nothing is left to be told."""

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()


def log_lines(replayed: Replay, frames: Iterable[FrameResult]) -> Iterator[str]:
    """The log of a whole replay of these frames, each line with its newline."""
    yield _head(replayed)
    for frame in frames:
        yield _frame(frame, _solver_mw(replayed))


def _solver_mw(replayed: Replay) -> int | None:
    """The power that solving is charged at; None where it is not."""
    return None if replayed.solver_on is None else replayed.hardware.processor(replayed.solver_on).active_mw


def _head(replayed: Replay) -> str:
    return _line(
        {
            "format": "leo-log/1",
            "policy": replayed.policy,
            "time": replayed.time,
            "workload": replayed.workload.name,
            "hardware": replayed.hardware.name,
            "profile": replayed.profile.name,
            "recording": replayed.recording.manifest.name,
            "start_us": replayed.span.start_us,
            "end_us": replayed.span.end_us,
            **({} if replayed.solver_on is None else {"solver_on": replayed.solver_on}),
            **({"batch": replayed.batch} if replayed.batch > 1 else {}),
        }
    )


def _frame(frame: FrameResult, solver_mw: int | None) -> str:
    solve_us = frame.placement.solve_us
    return _line(
        {
            "frame": frame.frame,
            "release_us": frame.release_us,
            "status": "unplaced" if _is_unplaced(frame) else frame.placement.status,
            **({"reason": frame.reason} if frame.reason else {}),
            "criteria": frame.placement.criteria.model_dump() if frame.placement.criteria else None,
            **({} if solver_mw is None else {"solve_us": solve_us, "solver_nj": solve_us * solver_mw}),
            "graphs": [
                {
                    "graph": result.graph,
                    "release_us": result.release_us,
                    "outcome": result.outcome,
                    "label": result.label,
                    "end_us": result.end_us,
                    "deadline_us": result.deadline_us,
                    **({"gap_us": result.gap_us} if result.gap_us else {}),
                }
                for result in frame.graphs
            ],
            "stages": [_without(asdict(stage), "frame") for stage in frame.stages],
            "transfers": [_without(asdict(transfer), "frame") for transfer in frame.transfers],
        }
    )


def _is_unplaced(frame: FrameResult) -> bool:
    """Whether the runtime had no answer to it. That there is none is a solver's word, which proved it."""
    return frame.placement.status == "infeasible" and frame.placement.solver == UNPLACED_BY


def _without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != key}


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def _bytes(line: str) -> bytes:
    """Half a character, which the text of an error may hold, stays the escape that JSON has for it."""
    return line.encode("utf-8", "backslashreplace")
