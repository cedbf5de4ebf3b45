"""Packets of a Perfetto trace: tracks, slices, instants, counters and flows, in parts that make a file.

What a reader checks is kept: packets of a sequence are in the order of time, what begins on a track ends there before
the next begins, a descriptor and the texts that are referred to by number come before what uses them, and a flow has
its first end before all others. https://perfetto.dev/docs/reference/synthetic-track-event tells what is what.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import count
from typing import Any

from leo_runtime.errors import MissingExtraError

MAX_TEXTS = 10_000
"""So many texts of a kind get a number; what there are more are written out, and nothing is kept of them."""
_CLEARED, _NEEDED = 1, 2
"""`SEQ_INCREMENTAL_STATE_CLEARED` and `SEQ_NEEDS_INCREMENTAL_STATE`."""
_END, _COUNTER, _BEGIN = 0, 1, 2
"""What comes first of one time."""


class Form:
    """Events that differ by their time and their numbers alone: such a packet is made once, and filled in."""

    __slots__ = ("event", "notes", "packet", "serialize", "track")

    def __init__(self, trace: Any, track: int, numbers: int) -> None:
        """`trace` holds one packet, whose first annotations are to have that many numbers."""
        self.track = track
        (self.packet,) = trace.packet
        self.event = self.packet.track_event
        self.notes = tuple(self.event.debug_annotations[:numbers])
        self.serialize = trace.SerializeToString


class Packets:
    """One sequence of packets. Tracks get their numbers in the order in which they are named: the same calls give the
    same bytes. Sequences of one file share `numbers`.
    """

    def __init__(self, sequence: int = 1, numbers: Iterator[int] | None = None) -> None:
        """Raises `MissingExtraError` without the extra `report`."""
        try:
            words = import_module("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
        except ImportError:
            raise MissingExtraError("a trace for ui.perfetto.dev", "report") from None
        self._words = words
        self._trace_of: Any = words.Trace
        event = words.TrackEvent
        self._begins, self._ends = event.TYPE_SLICE_BEGIN, event.TYPE_SLICE_END
        self._instant, self._counts = event.TYPE_INSTANT, event.TYPE_COUNTER
        self._sequence = sequence
        self._numbers = count(1) if numbers is None else numbers
        self._head: Any = words.Trace()
        self._texts: dict[str, dict[str, int]] = {}
        self._new_texts: Any = words.InternedData()
        self._forms: dict[object, Form] = {}
        self._closing: dict[int, tuple[Any, Callable[[], bytes]]] = {}
        self._counters: dict[int, Any] = {}
        self._order = 0
        self._waiting: list[tuple[int, int, bytes]] = []
        """Packets by time and kind, and then as they came."""
        first = self._packet(self._head)
        first.sequence_flags, first.first_packet_on_sequence = _CLEARED, True

    # Tracks.

    def sort_as_named(self) -> None:
        """Have processes, and threads of a process, shown in the order in which they are named. Old viewers do not."""
        kind = self._words.TrackDescriptor
        if {"process_ordering", "thread_ordering"} <= set(kind.DESCRIPTOR.fields_by_name):
            root = self._packet(self._head).track_descriptor
            root.uuid = 0
            root.process_ordering = kind.PROCESS_ORDERING_EXPLICIT
            root.thread_ordering = kind.THREAD_ORDERING_EXPLICIT

    def process(self, name: str) -> int:
        """A process, which groups tracks."""
        descriptor = self._descriptor(name)
        descriptor.process.pid = descriptor.sibling_order_rank = descriptor.uuid
        descriptor.process.process_name = descriptor.name
        return int(descriptor.uuid)

    def thread(self, process: int, name: str) -> int:
        """A thread of a process: on its track things happen one after the other."""
        descriptor = self._descriptor(name, process)
        descriptor.thread.pid = process
        # Of no process's number: that would be its main thread.
        descriptor.thread.tid = descriptor.sibling_order_rank = descriptor.uuid
        descriptor.thread.thread_name = descriptor.name
        return int(descriptor.uuid)

    def track(self, name: str, parent: int | None = None, *, sorts: bool = False) -> int:
        """A track. The viewer shows those of one name and parent as one.

        `sorts`: tracks of this one are shown in the order in which they are named.
        """
        descriptor = self._descriptor(name, parent)
        descriptor.sibling_order_rank = descriptor.uuid
        if sorts:
            descriptor.child_ordering = self._words.TrackDescriptor.EXPLICIT
        return int(descriptor.uuid)

    def counter(self, name: str, parent: int, unit: str) -> int:
        """A track of numbers."""
        descriptor = self._descriptor(name, parent)
        descriptor.sibling_order_rank = descriptor.uuid
        descriptor.counter.unit_name = unit
        return int(descriptor.uuid)

    # Events.

    def form(
        self,
        track: int,
        name: str,
        category: str,
        numbers: tuple[str, ...] = (),
        texts: tuple[tuple[str, str], ...] = (),
        *,
        keep: bool = True,
    ) -> Form:
        """Events on a track of that name and category, with these numbers and texts beside them.

        `keep` unless there may be any number of them: it is found again next time, and its texts get numbers.
        """
        key = (track, name, category, numbers, texts)
        if (known := self._forms.get(key)) is not None:
            return known
        trace = self._trace_of()
        packet = self._packet(trace)
        packet.sequence_flags = _NEEDED
        event = packet.track_event
        event.track_uuid = track
        if name:
            if (number := self._number("event_names", name, keep)) is None:
                event.name = _written(name)
            else:
                event.name_iid = number
        event.category_iids.append(self._number("event_categories", category, True) or 0)
        for note in numbers:
            event.debug_annotations.add(name_iid=self._number("debug_annotation_names", note, True))
        for note, text in texts:
            annotation = event.debug_annotations.add(name_iid=self._number("debug_annotation_names", note, True))
            if (number := self._number("debug_annotation_string_values", text, keep)) is None:
                annotation.string_value = _written(text)
            else:
                annotation.string_value_iid = number
        made = Form(trace, track, len(numbers))
        if keep:
            self._forms[key] = made
        return made

    def slice(
        self,
        form: Form,
        start_us: int,
        end_us: int,
        frame: int | None = None,
        numbers: Sequence[int] = (),
        flows: Sequence[int] = (),
        ended: Sequence[int] = (),
        name: str = "",
    ) -> None:
        """Something that lasts; what does not is an instant. `flows` go through it, those of `ended` no further.

        `name` is for a form without one.
        """
        event = form.event
        form.packet.timestamp = start_us * 1000
        event.type = self._begins if end_us > start_us else self._instant
        if frame is not None:
            event.correlation_id = frame + 1  # The viewer shows together what has the same one; 0 would be none.
        for note, number in zip(form.notes, numbers, strict=True):
            note.int_value = number
        if name:
            event.name = name
        if flows or ended:
            event.flow_ids[:] = flows
            event.terminating_flow_ids[:] = ended
        self._order += 1
        self._waiting.append((start_us * 3 + _BEGIN, self._order, form.serialize()))
        if flows or ended:
            del event.flow_ids[:], event.terminating_flow_ids[:]
        if end_us > start_us:
            self.end(form.track, end_us)

    def instant(self, form: Form, at_us: int, frame: int | None = None, numbers: Sequence[int] = ()) -> None:
        """A mark."""
        self.slice(form, at_us, at_us, frame, numbers)

    def begin(self, form: Form, at_us: int) -> None:
        """Something begins that is ended by `end`."""
        form.packet.timestamp, form.event.type = at_us * 1000, self._begins
        self._wait(at_us, _BEGIN, form.serialize())

    def end(self, track: int, at_us: int) -> None:
        """What has begun last on a track ends; of one time that comes before all that begins."""
        if (known := self._closing.get(track)) is None:
            trace = self._trace_of()
            packet = self._packet(trace)
            packet.track_event.track_uuid, packet.track_event.type = track, self._ends
            known = self._closing[track] = packet, trace.SerializeToString
        packet, serialize = known
        packet.timestamp = at_us * 1000
        self._order += 1
        self._waiting.append((at_us * 3 + _END, self._order, serialize()))

    def count(self, track: int, at_us: int, value: float) -> None:
        """From then on a counter has that value."""
        key = track if isinstance(value, int) else -track
        if (trace := self._counters.get(key)) is None:
            trace = self._counters[key] = self._trace_of()
            event = self._packet(trace).track_event
            event.track_uuid, event.type = track, self._counts
        (packet,) = trace.packet
        packet.timestamp = at_us * 1000
        if isinstance(value, int):
            packet.track_event.counter_value = value
        else:
            packet.track_event.double_counter_value = value
        self._wait(at_us, _COUNTER, trace.SerializeToString())

    def packed(self, until_us: float = math.inf) -> bytes:
        """The next part of the file: all before that time, or all that is left. A file is its parts, one by one."""
        waiting = self._waiting
        waiting.sort()
        number = bisect_left(waiting, (until_us * 3,))
        parts = [packet for _, _, packet in waiting[:number]]
        del waiting[:number]
        if self._head.packet or self._new_texts.ByteSize():
            parts.insert(0, self._headed())
        return b"".join(parts)

    def _headed(self) -> bytes:
        """New tracks and texts, which come before what uses them."""
        packet = self._packet(self._head)
        packet.sequence_flags = _NEEDED
        packet.interned_data.CopyFrom(self._new_texts)
        packed: bytes = self._head.SerializeToString()
        self._new_texts.Clear()
        self._head.Clear()
        return packed

    def _packet(self, trace: Any) -> Any:
        return trace.packet.add(trusted_packet_sequence_id=self._sequence)

    def _descriptor(self, name: str, parent: int | None = None) -> Any:
        descriptor = self._packet(self._head).track_descriptor
        descriptor.uuid = next(self._numbers)
        descriptor.name = _written(name)
        if parent is not None:
            descriptor.parent_uuid = parent
        return descriptor

    def _number(self, kind: str, text: str, keep: bool) -> int | None:
        """The number of a text; None: it is to be written out."""
        known = self._texts.setdefault(kind, {})
        if text not in known:
            if not keep or len(known) >= MAX_TEXTS:
                return None
            known[text] = len(known) + 1
            if kind == "debug_annotation_string_values":
                self._new_texts.debug_annotation_string_values.add(iid=known[text], str=_written(text).encode())
            else:
                getattr(self._new_texts, kind).add(iid=known[text], name=_written(text))
        return known[text]

    def _wait(self, at_us: int, kind: int, packet: bytes) -> None:
        self._order += 1
        self._waiting.append((at_us * 3 + kind, self._order, packet))


class Row:
    """What may overlap has tracks of one name, which the viewer shows as one: slices of a track follow each other."""

    def __init__(self, packets: Packets, name: str, parent: int) -> None:
        """It has a track at once."""
        self._packets, self._name, self._parent = packets, name, parent
        self._tracks: list[int] = []
        self._free_us: list[int] = []
        self.first = self._new()

    def track(self, start_us: int, end_us: int) -> int:
        """A track that is free for that time. Its number is taken."""
        for slot, free_us in enumerate(self._free_us):
            if free_us <= start_us:
                self._free_us[slot] = max(start_us, end_us)
                return self._tracks[slot]
        track = self._new()
        self._free_us[-1] = max(start_us, end_us)
        return track

    def _new(self) -> int:
        self._tracks.append(self._packets.track(self._name, self._parent))
        self._free_us.append(0)
        return self._tracks[-1]


def _written(text: str) -> str:
    """The text with half characters, which an error may hold, written as escapes: the format has no others."""
    return text.encode("utf-8", "backslashreplace").decode()
