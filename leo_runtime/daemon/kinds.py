"""What every kind of source and sink has: its part of the config, which opens it, and the protocol it then follows."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

from pydantic import Field

from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.counts import Counts
from leo_runtime.errors import InputError, LeoError, MissingExtraError
from leo_runtime.frozen import dataclass
from leo_runtime.schema import FileName, Name, Value

if TYPE_CHECKING:
    import socket

    import numpy as np

    from leo_runtime.daemon.decisions import DecisionConfig
    from leo_runtime.documents.workload import Stream, TaskGraph, Workload

LOOKS_S = 0.25
"""How often a source looks at least whether to stop."""


class Feed(Protocol):
    """Gives the newest samples of a stream to the runtime. From any thread."""

    def __call__(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        """Feed (samples,) or (samples, channels), of the stream's kind: int16 or floats from -1 to 1 of sound.

        `at_us` is when the *first* of them was taken, on `CLOCK_MONOTONIC` or a clock of the device's own; None: they
        have just come. `stream` None: the source's one stream. It waits while frames are placed that are due. Raises
        `InputError` for samples of another shape or kind, of which nothing is kept.
        """
        ...


class Source(Protocol):
    """Gives samples, on a thread of its own."""

    def run(self, feed: Feed, stop: threading.Event) -> None:
        """Feed until `stop` is set, or until there is no more. To be called again after it returned or raised.

        It looks at `stop` every `LOOKS_S`. Whatever it raises is counted and told, and it is started anew, after
        longer and longer waits. One that returns has given all that it has.
        """
        ...


@runtime_checkable
class Closes(Protocol):
    """A source that has something to let go of beyond what `run` itself opens."""

    def close(self) -> None:
        """It is not run again. On the thread of `run`, or, where it never ran, on whose there is."""
        ...


class SourceFailedError(LeoError):
    """A device or a program that gave samples gives no more, and may again when it is opened anew."""


class SinkEndedError(Exception):
    """A sink that can never publish anything any more, since whoever took it is gone."""


@runtime_checkable
class Sink(Protocol):
    """Takes answers, one after the other, on a thread of its own, with a bounded queue before it.

    A source that has `publish` is given the answers, too.
    """

    def publish(self, answer: Answer, /) -> None:
        """Take one answer. It may block for some seconds.

        Where it raises `OSError`, as when the disk is full, the same answer is tried again later; where it raises
        `SinkEndedError`, this one and all others are dropped; anything else, this one. All of it is counted and told.
        """
        ...

    def close(self) -> None:
        """No more come. Closing twice is fine."""
        ...


@runtime_checkable
class Follows(Protocol):
    """A source or sink that wants to know when another workload runs, and its part of the config is the same."""

    def change(self, site: Site, /) -> None:
        """The workload and the decisions of `site` are those that run now. Raises `LeoError`, which is told."""
        ...


@dataclass(frozen=True, slots=True)
class GraphCopy:
    """A graph of the workload once more, which reads a stream of its own."""

    of: str
    """The graph that it is a copy of; it is decided as that is."""
    graph: TaskGraph
    stream: Stream


@dataclass(frozen=True, slots=True)
class Site:
    """Where sources and sinks are opened."""

    folder: Path
    """That of the config: relative paths in it begin there."""
    state_dir: Path
    """What is to be kept from start to start goes here."""
    runtime_dir: Path
    """Sockets go here, unless the config says otherwise."""
    workload: Workload
    """As the config names it, without copies of graphs."""
    sockets: Mapping[str, socket.socket]
    """Listening sockets that systemd opened, by their names (`FileDescriptorName=`)."""
    counts: Counts
    restart: Callable[[str], None]
    """What a stream gives from now on is of another device (`Runtime.restart`)."""
    decisions: Mapping[str, DecisionConfig] = field(default_factory=dict)
    """By graph."""

    def path(self, given: str) -> Path:
        """A path of the config; `~` is the user's home."""
        return self.folder / Path(given).expanduser()


class Part(Value):
    """What every kind of source and sink has."""

    name: FileName | None = None
    """What counts and messages call it. None: its kind."""

    @property
    def uses_network(self) -> bool:
        """Whether it uses more than Unix sockets, be it on this machine alone."""
        return False

    def own_place(self, folder: Path) -> str | None:  # noqa: ARG002  # Most kinds have none.
        """The file or socket that nothing else of the config may use; relative ones begin in `folder`."""
        return None

    def runs(self, folder: Path) -> Path | None:  # noqa: ARG002  # Most kinds have none.
        """The program that it runs, where it is found; a relative path begins in `folder`."""
        return None

    def check(self, site: Site) -> None:
        """Raise `LeoError` for what would go wrong later, as far as it can be seen without opening a device."""


def require_extra(module: str, what: str, extra: str) -> None:
    """Raise `MissingExtraError` where a module that an extra brings is not installed. Nothing is imported."""
    if find_spec(module) is None:
        raise MissingExtraError(what, extra)


class SourceConfig(Part):
    """What every kind of source may be given. A kind adds `kind`, and its own."""

    stream: Name | None = None
    """The stream of the workload that it feeds. None: the only one that fits."""

    @abstractmethod
    def open(self, site: Site) -> Source:
        """The source; it may read files, and opens devices only in `run`. Raises `LeoError`."""

    def copies(self, workload: Workload) -> tuple[GraphCopy, ...]:  # noqa: ARG002  # Most kinds have none.
        """What is to run besides the workload's own graphs. Raises `InputError`."""
        return ()

    def fed(self, workload: Workload) -> tuple[Stream, ...]:
        """The streams of the workload, or of its copies, that it feeds. Raises `InputError` where it feeds none."""
        if self.stream is not None:
            return (workload.stream(self.stream),)
        if len(workload.streams) != 1:
            names = ", ".join(stream.name for stream in workload.streams) or "none"
            raise InputError(
                f"it is not said which stream the source feeds, and workload `{workload.name}` has {names}",
                hint='name it: stream = "..."',
            )
        return workload.streams


class SinkConfig(Part):
    """What every kind of sink may be given. A kind adds `kind`, and its own."""

    graphs: tuple[Name, ...] = ()
    """Whose answers it gets; none: all graphs'."""
    only_fired: bool = False
    """Whether it gets only answers that are to be acted on."""
    queue: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """How many answers may wait for it; beyond, the oldest are dropped and counted."""

    @abstractmethod
    def open(self, site: Site) -> Sink:
        """The sink. Raises `LeoError`."""
