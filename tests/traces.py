"""Reads a Perfetto trace back with the library's own classes, as strictly as the viewer does, and more so."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any


@dataclass
class Slice:
    """A slice or an instant, with all its numbers resolved."""

    track: int
    name: str
    category: str
    start_us: int
    notes: dict[str, int | str]
    flows: tuple[int, ...]
    ended: tuple[int, ...]
    frame: int | None
    end_us: int | None = None
    instant: bool = False


@dataclass
class Track:
    name: str
    kind: str
    """`process`, `thread`, `counter` or `track`."""
    parent: int


@dataclass
class Read:
    """What a trace holds."""

    tracks: dict[int, Track] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)
    counters: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    flows: dict[int, list[Slice]] = field(default_factory=dict)
    packets: int = 0

    def where(self, one: Slice) -> str:
        """The track, behind its parents."""
        return self.path(one.track)

    def path(self, track: int) -> str:
        found = self.tracks[track]
        return f"{self.path(found.parent)}/{found.name}" if found.parent else found.name

    def on(self, path: str) -> list[Slice]:
        return [one for one in self.slices if self.where(one) == path]


def read(path: Path, *, whole: bool = True) -> Read:
    """Read a trace, and hold it to all that trace_processor counts as an error. `whole`: nothing is left open."""
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

    trace = Trace.FromString(path.read_bytes())
    found = Read(packets=len(trace.packet))
    texts: dict[int, dict[tuple[str, int], str]] = {}
    latest: dict[int, int] = {}
    events: list[tuple[int, int, Any, dict[tuple[str, int], str]]] = []
    for number, packet in enumerate(trace.packet):
        sequence = packet.trusted_packet_sequence_id
        assert sequence, "without a sequence events are not read"
        if sequence not in texts:
            assert packet.sequence_flags & packet.SEQ_INCREMENTAL_STATE_CLEARED and packet.first_packet_on_sequence
            texts[sequence] = {}
        else:
            assert not packet.sequence_flags & packet.SEQ_INCREMENTAL_STATE_CLEARED
        for kind, value in packet.interned_data.ListFields():
            assert packet.sequence_flags & packet.SEQ_NEEDS_INCREMENTAL_STATE
            for text in value:
                assert text.iid and (kind.name, text.iid) not in texts[sequence]
                texts[sequence][kind.name, text.iid] = text.str.decode() if hasattr(text, "str") else text.name
        if packet.HasField("track_descriptor"):
            _describe(found, packet.track_descriptor)
        if packet.HasField("track_event"):
            assert packet.HasField("timestamp") and packet.timestamp % 1000 == 0
            assert packet.timestamp >= latest.get(sequence, 0), "a sequence is in the order of time"
            latest[sequence] = packet.timestamp
            assert packet.track_event.track_uuid in found.tracks, "a track is described before it is used"
            events.append((packet.timestamp, number, packet, texts[sequence]))
    _play(found, sorted(events, key=lambda event: event[:2]), whole)
    return found


def _describe(found: Read, descriptor: Any) -> None:
    if not descriptor.uuid:
        assert not descriptor.name, "the root only says how its tracks are sorted"
        return
    assert descriptor.uuid not in found.tracks and descriptor.name
    assert not descriptor.parent_uuid or descriptor.parent_uuid in found.tracks
    kind = next((k for k in ("process", "thread", "counter") if descriptor.HasField(k)), "track")
    if kind == "process":
        assert descriptor.process.pid and descriptor.process.process_name == descriptor.name
    if kind == "thread":
        assert descriptor.thread.tid and descriptor.thread.pid == descriptor.parent_uuid
        assert found.tracks[descriptor.parent_uuid].kind == "process"
        assert descriptor.thread.tid not in found.tracks, "it would be some process's main thread"
    found.tracks[descriptor.uuid] = Track(descriptor.name, kind, descriptor.parent_uuid)


def _play(found: Read, events: list[tuple[int, int, Any, dict[tuple[str, int], str]]], whole: bool) -> None:
    """In the order of time, as trace_processor does."""
    stacks: dict[int, list[Slice]] = {}
    alive: set[int] = set()
    over: set[int] = set()
    for at_ns, _, packet, texts in events:
        event, at_us = packet.track_event, at_ns // 1000
        stack = stacks.setdefault(event.track_uuid, [])
        if event.type == event.TYPE_COUNTER:
            track = found.tracks[event.track_uuid]
            assert track.kind == "counter" and event.WhichOneof("counter_value_field")
            value = event.counter_value if event.HasField("counter_value") else event.double_counter_value
            found.counters.setdefault(track.name, []).append((at_us, value))
            continue
        assert found.tracks[event.track_uuid].kind != "counter"
        if event.type == event.TYPE_SLICE_END:
            assert stack, "an end without a beginning"
            stack.pop().end_us = at_us
            continue
        made = _slice(packet, at_us, texts)
        found.slices.append(made)
        for flow in (*made.flows, *made.ended):
            assert flow not in over, "a flow goes on after its end"
            assert flow in alive or flow in made.flows, "a flow ends that has not begun"
            alive.add(flow)
            found.flows.setdefault(flow, []).append(made)
        over |= set(made.ended)
        if event.type == event.TYPE_SLICE_BEGIN:
            stack.append(made)
        else:
            made.instant, made.end_us = True, at_us
    assert not whole or not any(stacks.values()), "something has begun and not ended"
    assert not whole or alive == over, "a flow has no end"


def _slice(packet: Any, at_us: int, texts: dict[tuple[str, int], str]) -> Slice:
    event = packet.track_event
    interned = event.name_iid or event.category_iids or any(note.name_iid for note in event.debug_annotations)
    assert not interned or packet.sequence_flags & packet.SEQ_NEEDS_INCREMENTAL_STATE
    name = texts["event_names", event.name_iid] if event.name_iid else event.name
    assert name, "a slice has a name"
    notes: dict[str, int | str] = {}
    for note in event.debug_annotations:
        kind = note.WhichOneof("value")
        value = getattr(note, kind)
        if kind == "string_value_iid":
            value = texts["debug_annotation_string_values", value]
        notes[texts["debug_annotation_names", note.name_iid]] = value
    (category,) = (texts["event_categories", number] for number in event.category_iids)
    frame = event.correlation_id - 1 if event.HasField("correlation_id") else None
    flows, ended = tuple(event.flow_ids), tuple(event.terminating_flow_ids)
    return Slice(event.track_uuid, name, category, at_us, notes, flows, ended, frame)


def integral(steps: list[tuple[int, float]]) -> Fraction:
    """Of a counter that ends at zero: its values times how long they lasted, in nJ for mW."""
    assert not steps or steps[-1][1] == 0
    return sum((Fraction(mw) * (until - at) for (at, mw), (until, _) in pairwise(steps)), Fraction(0))
