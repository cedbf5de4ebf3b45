"""What the links of a machine do in a replay in virtual time, by what its recording says of them."""

from __future__ import annotations

from typing import Literal

from leo_runtime.documents.hardware import Hardware
from leo_runtime.frame.conditions import LinkNow
from leo_runtime.frame.link_course import LinkCourse, Network
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.identity import Span

NetworkKnown = Literal["estimated", "truth"]
"""What plans know of links of which a recording tells, or a made-up trace."""


def network_of(recording: Recording, hardware: Hardware, span: Span, known: NetworkKnown) -> Network:
    """What the links do of which a recording tells, on the clock of a run of that part of it.

    Up to the first that is told of a link it does what the hardware says.
    """
    usual = {(link.source, link.target): (link.latency_us, link.bytes_per_s) for link in hardware.links}
    courses: dict[tuple[str, str], dict[int, LinkNow]] = {}
    for sample in sorted(recording.manifest.links, key=lambda sample: sample.time_us):
        ends = sample.source, sample.target
        if ends not in usual:  # The replay says so.
            continue
        course = courses.setdefault(ends, {0: usual[ends]})
        now = None if sample.bytes_per_s is None else (sample.latency_us, sample.bytes_per_s)
        course[max(0, sample.time_us - span.start_us)] = now
    return Network({ends: _course(changes) for ends, changes in courses.items()}, known == "truth")


def _course(changes: dict[int, LinkNow]) -> LinkCourse:
    """Without what changes nothing."""
    times_us: list[int] = []
    nows: list[LinkNow] = []
    for time_us, now in changes.items():
        if not nows or now != nows[-1]:
            times_us.append(time_us)
            nows.append(now)
    return LinkCourse(tuple(times_us), tuple(nows))
