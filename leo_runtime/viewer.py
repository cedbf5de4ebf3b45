"""Writes a replay as a trace that ui.perfetto.dev opens: a track a lane, a slice a stage, a mark a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from leo_runtime.errors import DocumentError, MissingExtraError
from leo_runtime.observations import StageObservation, TransferObservation
from leo_runtime.replay import Replay

_SEQUENCE = 1


def write_trace(replayed: Replay, path: Path) -> None:
    """Write the trace; the same replay gives the same bytes.

    Raises `MissingExtraError` without the extra `report`, `DocumentError` when the file cannot be written.
    """
    trace = _Trace()
    for processor in replayed.hardware.processors:
        trace.group(processor.name)
        for lane in range(processor.lanes):
            trace.track((processor.name, lane), f"{processor.name} lane {lane}", processor.name)
    trace.group("transfers")
    trace.group("pipelines")
    for graph in replayed.workload.graphs:
        trace.track(("pipelines", graph.name), graph.name, "pipelines")
    for frame in replayed.frames:
        for stage in frame.stages:
            if stage.outcome != "cancelled":
                trace.stage(stage)
        for transfer in frame.transfers:
            trace.transfer(transfer)
        for result in frame.graphs:
            what = "missed its deadline" if result.missed else result.label
            if what is not None:
                trace.mark(("pipelines", result.graph), what, result.end_us, result.frame)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(trace.packed())
    except OSError as error:
        raise DocumentError(str(path), f"cannot be written ({error.strerror or error})") from None


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
        self._builder: Any = builder.TraceProtoBuilder()
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

    def mark(self, key: object, name: str, at_us: int, frame: int) -> None:
        self._events.append(_Event(at_us, 1, self._tracks[key], self._words.TYPE_INSTANT, name, frame))

    def packed(self) -> bytes:
        """The file. On one track a slice that ends goes before one that begins at that time."""
        for event in sorted(self._events, key=lambda event: (event.at_us, event.rank)):
            self._write(event)
        packed: bytes = self._builder.serialize()
        return packed

    def _slice(self, track: int, name: str, start_us: int, end_us: int, frame: int, notes: Notes) -> None:
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
