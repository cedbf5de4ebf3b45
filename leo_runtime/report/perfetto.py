"""Writes a replay as a trace that ui.perfetto.dev opens: who did what when, for which frame, and what it drew.

| process | its tracks |
| --- | --- |
| `pipelines` | a track a graph: each frame from its release to its answer, with its deadline and what was answered |
| a processor or radio | its state, its power, and a thread a lane with what ran or was sent there |
| `transfers` | a track a link: outputs on their way, and when the link changed |
| `energy` | a counter a cause: all that was used so far |

A flow goes from the stage whose output it is through the transfer to the stages that read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Self

from leo_runtime.appending import Appending
from leo_runtime.documents.problem import Answer, Question
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.replay import Replay
from leo_runtime.report.answer import bars
from leo_runtime.report.packets import Packets, Row
from leo_runtime.report.run_tracks import RunTracks


class TraceWriter:
    """Writes the trace as the replay goes on: what is there can be opened, whenever the process ends.

    The same replay gives the same bytes. What is kept is what is not settled; for one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is written before the replay begins. Raises `MissingExtraError` without the extra `report`."""
        self._frames, self._energy = _sequences()
        self._file = Appending(path)
        self._run: RunTracks | None = None
        self.frames: int | None = None
        """How many frames the file holds once it is closed; None: it was not begun."""

    def begin(self, begun: Replay, /) -> None:
        """Write the tracks, in place of what the file held. Raises `DocumentError` when it cannot be written."""
        self._frames, self._energy = _sequences()
        self._run = RunTracks(begun, self._frames, self._energy)
        self._file.close()
        self._file.start()
        self._file.write(self._frames.packed(0) + self._energy.packed(0))
        self.frames = 0

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        """Take a frame, and write all that comes before anything that is still to be told. Raises `DocumentError`."""
        assert self._run is not None and self.frames is not None, "a replay begins before its frames end"
        self.frames += 1
        self._run.frame(ended, settled_us)
        self._file.write(self._frames.packed(settled_us - self._run.batch_us))

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """Take entries of the ledger, and write what is known of power up to then. Raises `DocumentError`."""
        assert self._run is not None, "a replay begins before it uses energy"
        self._run.energy(entries, settled_us)
        self._file.write(self._energy.packed(settled_us))

    def end(self, _ended: Replay, /) -> None:
        """Write what is left. Raises `DocumentError`."""
        self._finish()

    def _finish(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.end()
            self._file.write(self._frames.packed() + self._energy.packed())

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what an interrupted replay left, and close the file. Raises `DocumentError`."""
        try:
            self._finish()
        finally:
            self._file.close()


def _sequences() -> tuple[Packets, Packets]:
    """For frames and for energy: they are settled at different times, and a sequence is in the order of time."""
    numbers = count(1)
    return Packets(1, numbers), Packets(2, numbers)


def write_answer(problem: Question, placement: Answer, path: Path) -> None:
    """Write one answer as a trace: a track a lane, one for when each resource is awake, and one a link.

    The same answer gives the same bytes. Raises `MissingExtraError` without the extra `report`, and `DocumentError`
    where the file cannot be written.
    """
    packets = Packets()
    answer = packets.track(problem.name, sorts=True)
    rows: dict[str, Row] = {}
    for bar in bars(problem, placement):
        if bar.row not in rows:
            rows[bar.row] = Row(packets, bar.row, answer)
        track = rows[bar.row].track(bar.start_us, bar.end_us)
        form = packets.form(track, bar.name, bar.kind, ("chance ppm",), keep=False)
        packets.slice(form, bar.start_us, bar.end_us, None, (bar.chance_ppm,))
    with closing(Appending(path)) as file:
        file.start()
        file.write(packets.packed())
