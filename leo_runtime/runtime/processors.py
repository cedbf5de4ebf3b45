"""How the processors of a runtime are doing: what hung there, what is out of service, and which processes ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leo_runtime.backend import ProcessEnds
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.dispatch.dispatcher import Dispatcher

_NONE = ProcessEnds()


@dataclass(frozen=True, slots=True)
class SetAside:
    """A mode that is out of service until a probe says that it works."""

    stage: str
    variant: str
    reason: str
    probed: bool = True
    """False: so many runs hang on its processor (`ProcessorNow.abandoned`) that it stays out of service until one of
    them returns, or `Runtime.restore` says that it works."""


@dataclass(frozen=True, slots=True)
class ProcessorNow:
    """A processor, now and so far."""

    processor: str
    lost: bool
    """It cannot be used: somebody said so, its device is gone, or nothing ends there."""
    suspect: bool
    """Every lane of it runs something that is very late; frames are placed there only where nothing else can run."""
    set_aside: tuple[SetAside, ...]
    given_up: int
    """Runs that did not end within their limit (`RuntimeOptions.run_limit`)."""
    abandoned: int
    """Of these, those that still hang: in real time each keeps a thread."""
    lanes_renewed: int
    """Lanes that went on without what hung there."""
    probes: int
    """How often it, or a mode of it, was tried after it was lost by itself, or set aside."""
    last_reason: str
    """Why that was, the last time; empty: it never was."""
    process_ends: int = 0
    """How often a worker process of its backend ended without having been told to."""
    last_process_end: str = ""
    """How, the last time, and at which stages; empty: none did."""


def processor_now(dispatcher: Dispatcher, processor: str, now_us: int, ends: ProcessEnds = _NONE) -> ProcessorNow:
    """How a processor is doing, with the processes of its backend. The driver is locked."""
    health = dispatcher.health
    tally = health.of(processor)
    aside = [
        SetAside(stage, variant, one.why, one.probe is not None)
        for (resource, stage, variant), one in health.aside.items()
        if resource == processor and stage
    ]
    return ProcessorNow(
        processor,
        processor in dispatcher.lost,
        processor in dispatcher.suspects(now_us),
        tuple(aside),
        tally.given_up,
        tally.abandoned,
        tally.renewed,
        tally.probes,
        tally.last_reason,
        ends.count,
        ends.last,
    )
