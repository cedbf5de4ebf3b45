"""What was seen of one transfer over a link: the value that whoever sends tells, and estimates are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from leo_runtime.errors import DeviceUnavailableError
from leo_runtime.frozen import dataclass

Fate = Literal["there", "lost", "silent", "wrong"]
"""`there`: the other end said so. `lost`: the connection broke, or there was none. `silent`: no answer came until it
was given up. `wrong`: what answered is not the server, as where a network asks for a login first."""


@dataclass(frozen=True, slots=True)
class TransferSeen:
    """One transfer as the device sees it: it has no clock of the other end's, so each has a round trip in it."""

    source: str
    """Of the link, as the hardware document names it."""
    target: str
    bytes: int
    """That went this way, headers included where they are known; what went the other way is an answer of no size. 0: a
    request alone, such as a run on what the server has already, or a probe of the round trip."""
    began_us: int
    """When the first byte was given away (of one that comes from the server: when it was asked for), on the run's
    clock."""
    took_us: int
    """From then until it was known to be over: the word of the other end was here, or it was given up."""
    server_us: int = 0
    """Of `took_us`, what the server says it needed: a run there, with its wait. It is no time of the link."""
    queued_us: int = 0
    """Of `server_us`, how long the request waited for its turn."""
    fate: Fate = "there"
    is_probe: bool = False
    """It was sent to be seen alone."""


class SilentError(DeviceUnavailableError):
    """No answer came for as long as it was waited for."""


class StrangerError(DeviceUnavailableError):
    """What answered is not the server."""


def fate_of(error: DeviceUnavailableError) -> Fate:
    """What became of a transfer that ended so."""
    match error:
        case SilentError():
            return "silent"
        case StrangerError():
            return "wrong"
    return "lost"


TransferHeard = Callable[[TransferSeen], None]
"""Whoever is to know. It is called from the thread that sent, so it does little, and raises nothing."""
