"""What goes wrong in virtual time because somebody asks for it: a server dies, or is slow, or a link falls.

`NAME@WHEN`, or `NAME@WHEN,HOW`; in a study, where what is varied comes before its value, `=` for `@`. `NAME` is a
processor, a radio (all links over it) or a link (`cpu->cloud`). `WHEN` is in seconds from the start of the run:
`12-20`, or `30/5`, which is about every 30 s for about 5 s, drawn from the run's seed. `HOW` is of processors alone:
`silent`, what runs there does not go on meanwhile, and nobody is told; `slow=8`, it takes so many times as long.
Without it, what is named is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.paths import over_network
from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.frozen import dataclass

WORD = "fault "
"""What a change that asks for one begins with."""
MOST_FAULTS = 100_000
_SECOND_US = 1_000_000
_LEAST_US = 1_000
"""What is drawn is no shorter: of faults, and between them."""
_MOST_SECONDS = 1e9
_MOST_TIMES = 1_000_000
_FORM = re.compile(
    r"(?P<name>.+?)[@=](?P<one>\d+(?:\.\d*)?)s?(?P<kind>[-/])(?P<other>\d+(?:\.\d*)?)s?(?:,(?P<how>[^,]*))?"
)
_HINT = "write `cloud@12-20`, `cloud@30/5`, `cloud@12-20,silent` or `cloud@12-20,slow=8`, in seconds"

How = Literal["gone", "silent", "slow"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something is wrong from then on until then, on the run's clock."""

    name: str
    """A processor, or a link by `links`."""
    links: tuple[tuple[str, str], ...]
    """Those that fall; none where it is a processor's."""
    from_us: int
    until_us: int
    how: How = "gone"
    times: int = 1
    """How many times as long runs take, of one that is `slow`."""


def faults_of(changes: Sequence[str], hardware: Hardware, length_us: int, seed: int) -> tuple[Fault, ...]:
    """All that these changes ask for in a run of that length, those of other kinds left out.

    Raises `InputError` for what is no fault, and for a name that the machine has not.
    """
    found: list[Fault] = []
    for change in changes:
        if change.startswith(WORD):
            found += _asked(change, hardware, length_us, seed)
        if len(found) > MOST_FAULTS:
            raise InputError(f"`{change}`: more than {MOST_FAULTS} faults in {length_us // _SECOND_US} s")
    return tuple(found)


def _asked(change: str, hardware: Hardware, length_us: int, seed: int) -> Iterator[Fault]:
    match = _FORM.fullmatch(change.removeprefix(WORD).strip())
    if match is None:
        raise InputError(f"`{change}`: is no fault and its time", hint=_HINT)
    name, one, other = match["name"], float(match["one"]), float(match["other"])
    is_processor = any(processor.name == name for processor in hardware.processors)
    links = () if is_processor else tuple((link.source, link.target) for link in over_network(hardware, name))
    if not (is_processor or links):
        known = [processor.name for processor in hardware.processors]
        known += [radio.name for radio in hardware.radios]
        known += [f"{link.source}->{link.target}" for link in hardware.links]
        raise InputError(
            f"`{change}`: hardware `{hardware.name}` has no processor, radio or link `{name}`",
            hint=did_you_mean(name, known),
        )
    how, times = _how(match["how"], change)
    if links and how != "gone":
        raise InputError(f"`{change}`: a link is no processor, and can only fall", hint=_HINT)
    if max(one, other) > _MOST_SECONDS or not other or (match["kind"] == "-" and other <= one) or not (one or other):
        raise InputError(f"`{change}`: is over before it begins, or never is", hint=_HINT)
    if match["kind"] == "-":
        yield Fault(name, links, round(one * _SECOND_US), round(other * _SECOND_US), how, times)
        return
    if not one:
        raise InputError(f"`{change}`: about every 0 s is no time", hint=_HINT)
    rng, at_us = Random(f"{seed}/{change}"), 0
    for _ in range(MOST_FAULTS + 1):
        at_us += max(_LEAST_US, round(rng.expovariate(1 / one) * _SECOND_US))
        if at_us > length_us:
            return
        until_us = at_us + max(_LEAST_US, round(rng.expovariate(1 / other) * _SECOND_US))
        yield Fault(name, links, at_us, until_us, how, times)
        at_us = until_us


def _how(said: str | None, change: str) -> tuple[How, int]:
    if said is None:
        return "gone", 1
    said = said.strip()
    if said == "silent":
        return "silent", 1
    times = said.removeprefix("slow=")
    if times != said and times.isascii() and times.isdigit() and 1 < int(times) <= _MOST_TIMES:
        return "slow", int(times)
    raise InputError(f"`{change}`: `{said}` is no way to fail", hint=_HINT)
