"""What the runtime and the process of isolated stages say to each other.

`Open` comes first, over the process's own socket, with the file that `faulthandler` is to write to. A kernel is then a
pair of files: a socket, over which it has a thread of its own there, and memory that both map. Its first request is
`Load`; requests and answers are pickled, but for a run, which says nothing but `RUN` and `DONE`. An error is answered
as itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leo_backends.isolated.files import File
from leo_runtime.backend import News

RUN, DONE = b"r", b""
"""Compute what is in the memory; its output is there."""


@dataclass(frozen=True, slots=True)
class Open:
    """Be the backend of a processor. Answered by None."""

    processor: str
    threads: int


@dataclass(frozen=True, slots=True)
class Load:
    """Make a stage ready. Answered by `Loaded`."""

    operator: str
    """As the process finds it by itself, with its folder."""
    digest: bytes
    """Of the code of a user's own operator; empty for others."""
    variant: str
    params: bytes
    """The values of the parameters by name, pickled: only the operator's module knows what they are made of."""
    files: tuple[File, ...]
    """Those that the parameters name, as they were when the stage was loaded first."""
    stage: dict[str, Any]
    """Everything else that a `BoundStage` says."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """It is ready."""

    thread: int
    """Which one computes it, as `threading.get_ident` says."""
    keeps_state: bool


@dataclass(frozen=True, slots=True)
class Types:
    """From now on the inputs in the memory are of these types. Answered by None."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Answered by the state before the first run."""


@dataclass(frozen=True, slots=True)
class Step:
    """Compute what is in the memory, from a state. Answered by `Stepped`, whose output is in the memory."""

    state: Any
    """A tuple of arrays, or a `PickledState`."""
    news: News
