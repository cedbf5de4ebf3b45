"""Writes a replay as a trace that ui.perfetto.dev opens: a track a lane, a slice a stage, a mark a decision."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from leo_runtime.appending import Appending
from leo_runtime.documents.problem import Answer, Question
from leo_runtime.errors import MissingExtraError
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult, StageObservation, TransferObservation
from leo_runtime.replay.replay import Replay
from leo_runtime.report.answer import Bar, bars

_SEQUENCE = 1


class TraceWriter:
    """Writes the trace as the replay goes on: what is there can be opened, whenever the process ends.

    The same replay gives the same bytes.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is written before the replay begins. Raises `MissingExtraError` without the extra `report`."""
        self._trace = _Trace()
        self._file = Appending(path)
        self.frames: int | None = None
        """How many frames the file holds once it is closed; None: it was not begun."""

    def begin(self, begun: Replay, /) -> None:
        """Write the tracks, in place of what the file held. Raises `DocumentError` when it cannot be written."""
        trace = self._trace
        for processor in begun.hardware.processors:
            trace.group(processor.name)
            for lane in range(processor.lanes):
                trace.track((processor.name, lane), f"{processor.name} lane {lane}", processor.name)
        trace.group("transfers")
        trace.group("pipelines")
        for graph in begun.workload.graphs:
            trace.track(("pipelines", graph.name), graph.name, "pipelines")
        self._file.start()
        self._file.write(trace.packed(until_us=0))
        self.frames = 0

    def frame(self, ended: FrameResult, settled_us: int, /) -> None:
        """Take a frame, and write all that comes before anything that is still to be told. Raises `DocumentError`."""
        assert self.frames is not None, "a replay begins before its frames end"
        self.frames += 1
        trace = self._trace
        for stage in ended.stages:
            if stage.outcome != "cancelled":
                trace.stage(stage)
        for transfer in ended.transfers:
            trace.transfer(transfer)
        for result in ended.graphs:
            what = "missed its deadline" if result.missed else result.label
            if what is not None:
                trace.mark(("pipelines", result.graph), what, result.end_us, result.frame)
        self._file.write(trace.packed(until_us=settled_us))

    def energy(self, entries: Sequence[Entry], settled_us: int, /) -> None:
        """Nothing of it is written."""

    def end(self, ended: Replay, /) -> None:
        """Nothing is left to be told."""

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left, and close the file. Raises `DocumentError`."""
        try:
            if self.frames is not None:
                self._file.write(self._trace.packed())
        finally:
            self._file.close()


def write_answer(problem: Question, placement: Answer, path: Path) -> None:
    """Write one answer as a trace: a track a lane, one for when each resource is awake, and one a link.

    The same answer gives the same bytes. Raises `MissingExtraError` without the extra `report`, and `DocumentError`
    where the file cannot be written.
    """
    trace = _Trace()
    free: dict[str, list[int]] = {}
    for bar in bars(problem, placement):
        # What overlaps on a link has tracks of its own: slices of one track nest or follow each other.
        slots = free.setdefault(bar.row, [])
        slot = next((i for i, until_us in enumerate(slots) if until_us <= bar.start_us), len(slots))
        slots[slot : slot + 1] = [max(bar.end_us, bar.start_us)]
        trace.group(bar.row)
        trace.bar(trace.track((bar.row, slot), bar.row, bar.row), bar)
    with closing(Appending(path)) as file:
        file.start()
        file.write(trace.packed())


Notes = Mapping[str, int | str]


@dataclass(frozen=True, slots=True)
class _Event:
    """Something at a time on a track; of two at one time on one track, the one of lower rank comes first."""

    at_us: int
    rank: int
    track: int
    kind: int
    name: str = ""
    frame: int | None = None
    notes: Notes = field(default_factory=dict)


class _Trace:
    """Tracks get their numbers in the order in which they are first named."""

    def __init__(self) -> None:
        try:
            builder = import_module("perfetto.trace_builder.proto_builder")
            self._words = import_module("perfetto.protos.perfetto.trace.perfetto_trace_pb2").TrackEvent
        except ImportError:
            raise MissingExtraError("a trace for ui.perfetto.dev", "report") from None
        self._new_builder: Callable[[], Any] = builder.TraceProtoBuilder
        self._builder = self._new_builder()
        self._events: list[_Event] = []
        self._tracks: dict[object, int] = {}
        self._slots: dict[str, list[int]] = {}
        """Of each link: when each of its tracks becomes free."""

    def group(self, name: str) -> None:
        self.track(name, name)

    def track(self, key: object, name: str, parent: object = None) -> int:
        if key not in self._tracks:
            self._tracks[key] = len(self._tracks) + 1
            descriptor = self._builder.add_packet().track_descriptor
            descriptor.uuid = self._tracks[key]
            descriptor.name = name
            if parent is not None:
                descriptor.parent_uuid = self._tracks[parent]
        return self._tracks[key]

    def stage(self, run: StageObservation) -> None:
        notes: Notes = {
            "frame": run.frame,
            "variant": run.variant,
            "outcome": run.outcome,
            "planned start us": run.planned_start_us,
            "expected us": run.expected_us,
            "took us": run.end_us - run.start_us,
            "nJ": run.nj,
            "energy": run.energy_from,
        }
        self._slice(self._tracks[run.resource, run.lane], run.stage, run.start_us, run.end_us, run.frame, notes)

    def transfer(self, send: TransferObservation) -> None:
        link = f"{send.source} -> {send.target}"
        free = self._slots.setdefault(link, [])
        slot = next((i for i, until_us in enumerate(free) if until_us <= send.start_us), len(free))
        free[slot : slot + 1] = [send.arrive_us]
        track = self.track((link, slot), link, "transfers")
        notes: Notes = {"frame": send.frame, "nJ": send.nj}
        self._slice(track, f"output of {send.stage}", send.start_us, send.arrive_us, send.frame, notes)

    def bar(self, track: int, bar: Bar) -> None:
        notes: Notes = {"kind": bar.kind, "chance ppm": bar.chance_ppm}
        self._slice(track, bar.name, bar.start_us, bar.end_us, None, notes)

    def mark(self, key: object, name: str, at_us: int, frame: int) -> None:
        self._events.append(_Event(at_us, 1, self._tracks[key], self._words.TYPE_INSTANT, name, frame))

    def packed(self, until_us: float = math.inf) -> bytes:
        """The next part of the file: all before that time, or all that is left. A file is its parts, one by one.

        On one track a slice that ends goes before one that begins at that time.
        """
        self._events.sort(key=lambda event: (event.at_us, event.rank))
        count = bisect_left(self._events, until_us, key=lambda event: event.at_us)
        for event in self._events[:count]:
            self._write(event)
        del self._events[:count]
        packed: bytes = self._builder.serialize()
        self._builder = self._new_builder()
        return packed

    def _slice(self, track: int, name: str, start_us: int, end_us: int, frame: int | None, notes: Notes) -> None:
        if end_us <= start_us:
            self._events.append(_Event(start_us, 1, track, self._words.TYPE_INSTANT, name, frame, notes))
            return
        self._events.append(_Event(start_us, 1, track, self._words.TYPE_SLICE_BEGIN, name, frame, notes))
        self._events.append(_Event(end_us, 0, track, self._words.TYPE_SLICE_END))

    def _write(self, event: _Event) -> None:
        packet = self._builder.add_packet()
        packet.timestamp = event.at_us * 1000
        packet.trusted_packet_sequence_id = _SEQUENCE
        written = packet.track_event
        written.type = event.kind
        written.track_uuid = event.track
        if event.name:
            written.name = event.name
        if event.frame is not None:
            written.flow_ids.append(event.frame + 1)  # Arrows through all that belongs to a frame; 0 is no flow.
        for key, value in event.notes.items():
            note = written.debug_annotations.add()
            note.name = key
            if isinstance(value, int):
                note.int_value = value
            else:
                note.string_value = value
