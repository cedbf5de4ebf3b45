"""What links could do while a recording was made: samples in the manifest, and the network traces that give them.

Three forms of traces are read. `rates`: a line is `seconds Mbit/s`, which holds from then on (Riiser et al., Oboe,
Puffer and others are published so). `mahimahi`: a line is the millisecond at which one packet of 1500 bytes may pass,
given again for each further one; at its end the trace begins anew (Netravali et al., USENIX ATC 2015).
`g-nettrack`: what that logger writes on phones, see `g_nettrack`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.paths import ALL, Operation, first_name, link_names, operation, over_network, scaled, whole
from leo_runtime.errors import InputError, RecordingError
from leo_runtime.recordings.g_nettrack import read_g_nettrack
from leo_runtime.recordings.made_up import made_up
from leo_runtime.recordings.reader import without_path
from leo_runtime.schema import MAX_QUANTITY, Name, Positive, Quantity, Value, reject

_PACKET_BYTES = 1500
_MOST_SECONDS = 1e8
"""Later times are not those of a trace that begins at 0: about three years."""
_TIMES_A_SECOND = {1e17: 1e9, 1e14: 1e6, 1e11: 1e3}
"""Of times that count from 1970, from what number on they are ns, us or ms: as seconds those are of the year 5138."""
_MOST_MBIT_PER_S = 1e5
"""Greater ones are bit/s."""
_MOST_SAMPLES = 1_000_000
"""Of one trace in one recording."""


class LinkSample(Value):
    """What a link could do from `time_us` on."""

    time_us: Quantity
    source: Name
    target: Name
    latency_us: Quantity
    bytes_per_s: Positive | None = None
    """None here: the link is down."""


class LinkFile(Value):
    """A network trace beside the manifest: what a link could do, as samples are read from it."""

    file: Name
    format: Literal["rates", "mahimahi", "g-nettrack"]
    """`rates`: lines of `seconds Mbit/s`; `mahimahi`: lines of the ms at which a packet of 1500 bytes may pass;
    `g-nettrack`: the CSV of that logger, with columns Timestamp, DL_bitrate and UL_bitrate in kbit/s."""
    source: Name
    target: Name
    latency_us: Quantity
    """One way: traces do not tell of it."""
    repeat: bool = False
    """It begins anew at its end; else its last value stays. A `mahimahi` always does."""
    direction: Literal["up", "down"] | None = None
    """Of `g-nettrack`, which has both: the rates that are read, `up` from the phone, `down` to it."""
    step_us: Annotated[int, Field(ge=1_000, le=MAX_QUANTITY)] = 1_000_000
    """Of `mahimahi`: the packets of so long together are a rate; the link is down where there are none."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.direction is None) == (self.format == "g-nettrack"):
            said = "wants a direction" if self.direction is None else "has no direction to choose"
            reject(f"a trace of the format {self.format} {said}", "$.direction", self.direction)
        return self


@dataclass(frozen=True, slots=True)
class LinkData:
    """What a trace holds for a recording, and what had to be mended."""

    samples: tuple[LinkSample, ...]
    repairs: tuple[str, ...] = ()


def read_links(path: Path, link: LinkFile, lasts_us: int) -> LinkData:
    """The samples of a trace for a recording of that length, of which those that change nothing are left out.

    Raises `RecordingError` where it cannot be read, with the line.
    """
    repairs: list[str] = []
    if link.format == "mahimahi":
        changes = _mahimahi(path, link, lasts_us)
    elif link.direction is not None:
        seconds, mbit_per_s, told = read_g_nettrack(path, link.direction)
        repairs += told
        changes = _held(path, link, lasts_us, seconds, mbit_per_s)
    else:
        changes = _held(path, link, lasts_us, *_rates(path, repairs))
    samples: list[LinkSample] = []
    for time_us, bytes_per_s in changes:
        if samples and samples[-1].bytes_per_s == bytes_per_s:
            continue
        if len(samples) >= _MOST_SAMPLES:
            raise RecordingError(f"{path}: more than {_MOST_SAMPLES} samples", hint="cut it, or give a greater step_us")
        samples.append(
            LinkSample(
                time_us=time_us,
                source=link.source,
                target=link.target,
                latency_us=link.latency_us,
                bytes_per_s=bytes_per_s,
            )
        )
    return LinkData(tuple(samples), tuple(repairs))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that say something, from 1."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                said = line.partition("#")[0].strip()
                if said:
                    yield number, said
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read as a network trace ({without_path(error)})") from None


def _rates(path: Path, repairs: list[str]) -> tuple[list[float], list[float]]:
    """Seconds from the start, not falling, and the Mbit/s from then on."""
    times: list[float] = []
    rates: list[float] = []
    first, a_second = 0.0, 1.0
    for number, line in _lines(path):
        cells = re.split(r"[\s,;]+", line.strip(",; \t"))
        try:
            seconds, mbit_per_s = (float(cell) for cell in cells)
        except ValueError:
            if not times and not any(map(_is_number, cells)):
                continue  # The names of the columns.
            raise RecordingError(
                f"{path}:{number}: expected `seconds Mbit/s`, got `{line[:40]}`", hint="one number of each a line"
            ) from None
        if not times and seconds >= _MOST_SECONDS and math.isfinite(seconds):
            first = seconds
            a_second = next((some for least, some in _TIMES_A_SECOND.items() if seconds >= least), 1.0)
            unit = {1e9: " in ns", 1e6: " in us", 1e3: " in ms"}.get(a_second, "")
            repairs.append(f"its times count from 1970{unit}: its first is taken for the start")
        seconds = (seconds - first) / a_second
        if _MOST_MBIT_PER_S < mbit_per_s < math.inf:
            raise RecordingError(
                f"{path}:{number}: is no rate of a link in Mbit/s: `{line[:40]}`", hint="divide bit/s by 1,000,000"
            )
        if not (0 <= seconds < _MOST_SECONDS and 0 <= mbit_per_s <= _MOST_MBIT_PER_S):
            raise RecordingError(f"{path}:{number}: is no time and rate: `{line[:40]}`", hint="seconds, then Mbit/s")
        if times and seconds < times[-1]:
            raise RecordingError(
                f"{path}:{number}: time goes back, to {seconds:g} s after {times[-1]:g} s", hint="sort its lines"
            )
        times.append(seconds)
        rates.append(mbit_per_s)
    if not times:
        raise RecordingError(f"{path}: holds no rates", hint="lines of `seconds Mbit/s`")
    return times, rates


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _held(
    path: Path, link: LinkFile, lasts_us: int, times: Sequence[float], mbit_per_s: Sequence[float]
) -> Iterator[tuple[int, int | None]]:
    """When the rate changes, in us, and to how many bytes a second: each holds until the next, None where it is 0."""
    rates = [max(1, round(rate * 1e6 / 8)) if rate > 0 else None for rate in mbit_per_s]
    whole = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 0.0)
    if link.repeat and whole * 1e6 < 1:
        raise RecordingError(f"{path}: lasts no time, so that it cannot be repeated", hint="leave out `repeat`")
    turn = 0
    while True:
        for at, (seconds, rate) in enumerate(zip(times, rates, strict=True)):
            # The first reaches back to the start.
            time_us = round((turn * whole + (seconds if at else 0.0)) * 1e6)
            if time_us > lasts_us and (turn or at):
                return
            yield time_us, rate
        turn += 1
        if not link.repeat:
            return


def _mahimahi(path: Path, link: LinkFile, lasts_us: int) -> Iterator[tuple[int, int | None]]:
    found: list[int] = []
    for number, line in _lines(path):
        if not (line.isascii() and line.isdigit() and len(line) <= 12):
            raise RecordingError(
                f"{path}:{number}: expected the ms at which a packet may pass, got `{line[:40]}`",
                hint='lines of `seconds Mbit/s` are format = "rates"',
            )
        ms = int(line)
        if found and ms < found[-1]:
            raise RecordingError(
                f"{path}:{number}: time goes back, to {ms} ms after {found[-1]}", hint="sort its lines"
            )
        found.append(ms)
    if not found or found[-1] == 0:
        raise RecordingError(f"{path}: lasts no time", hint="lines of the ms at which a packet of 1500 bytes may pass")
    at_us, period_us = np.array(found, np.int64) * 1000, found[-1] * 1000

    def packets(until_us: int) -> int:
        """Of all turns, up to that time and at it."""
        turns, rest_us = divmod(until_us, period_us)
        # Those at 0 of the first turn are its own; the last of a turn passes as the next one begins.
        return turns * len(found) + int(np.searchsorted(at_us, rest_us, "right")) if rest_us else turns * len(found)

    for start_us in range(0, max(1, lasts_us), link.step_us):
        sent = (packets(start_us + link.step_us) - packets(start_us)) * _PACKET_BYTES
        yield start_us, max(1, sent * 1_000_000 // link.step_us) if sent else None


def changed_links(
    samples: Sequence[LinkSample], hardware: Hardware, changes: Sequence[str], lasts_us: int
) -> tuple[LinkSample, ...]:
    """What `changes` (see `documents.changes`) make of samples of a hardware's links, which has been changed already.

    A value takes the place of every sample's, where the link is up; a factor multiplies it; a link that was taken out
    has none; one that is given a made-up trace has that trace's for so long, with the latency that it has by the
    hardware. Raises `InputError` for what no sample can be, and a trace of another name.
    """
    made: set[tuple[str, str]] = set()
    for change in changes:
        if change.startswith("without "):
            left = {(link.source, link.target) for link in hardware.links}
            samples = [sample for sample in samples if (sample.source, sample.target) in left]
        if change.startswith("network "):
            trace = _made_up(change, hardware, lasts_us)
            made |= (ends := {(sample.source, sample.target) for sample in trace})
            samples = [*(sample for sample in samples if (sample.source, sample.target) not in ends), *trace]
        names = [name for sample in samples for name in link_names(sample.source, sample.target)]
        path = change.removeprefix("links.")
        link = first_name([*dict.fromkeys(names), ALL], path) if path != change else None
        field = None if link is None else first_name(("latency_us", "bytes_per_s"), path[len(link) + 1 :])
        if link is None or field is None:
            continue
        done = operation(path[len(link) + 1 + len(field) :], change)
        # The hardware's latency, which made-up traces have, is changed already.
        meant = [
            (link == ALL or link in link_names(sample.source, sample.target))
            and not (field == "latency_us" and (sample.source, sample.target) in made)
            for sample in samples
        ]
        samples = [
            _changed(sample, field, done, change) if is_meant else sample
            for sample, is_meant in zip(samples, meant, strict=True)
        ]
    return tuple(samples)


def _made_up(change: str, hardware: Hardware, lasts_us: int) -> list[LinkSample]:
    """The samples that `network NAME=TRACE` gives links, from 0 up to that time: both ways alike."""
    name, _, called = change.removeprefix("network ").strip().rpartition("=")
    trace = list(islice(takewhile(lambda one: one[0] < max(1, lasts_us), made_up(called)), _MOST_SAMPLES + 1))
    if len(trace) > _MOST_SAMPLES:
        raise InputError(f"`{change}`: more than {_MOST_SAMPLES} samples in {lasts_us // 1_000_000} s", hint="run less")
    return [
        LinkSample(
            time_us=time_us,
            source=link.source,
            target=link.target,
            latency_us=link.latency_us,
            bytes_per_s=bytes_per_s,
        )
        for link in over_network(hardware, name)
        for time_us, bytes_per_s in trace
    ]


def _changed(sample: LinkSample, field: str, done: Operation, change: str) -> LinkSample:
    if sample.bytes_per_s is None:  # It is down, whatever it could do.
        return sample
    if done.kind == "set" and done.value is None:
        raise InputError(
            f"`{change}`: the recording says what {sample.source}->{sample.target} could do, which is some number",
            hint="give a great one",
        )
    value = scaled(getattr(sample, field), done.factor, change) if done.kind == "scale" else whole(done.value)
    if field == "bytes_per_s" and value < 1:
        raise InputError(
            f"`{change}`: {sample.source}->{sample.target} is left with {value} bytes a second at {sample.time_us} us",
            hint=f"`without {sample.source}->{sample.target}` takes it out",
        )
    return sample.model_copy(update={field: value})
