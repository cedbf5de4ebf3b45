"""What the daemon counts: each source, each sink, frames and answers by outcome, reloads; read by whoever shows it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """One source, since the daemon started."""

    samples: int = 0
    chunks: int = 0
    restarts: int = 0
    """How often it was started anew after it went wrong."""
    errors: int = 0
    """How often it went wrong, or gave samples that were refused."""
    last_error: str = ""
    ended: bool = False
    """Whether it has given all that it has."""


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """One sink, since the daemon started. What it was given is published, dropped, or waits."""

    given: int = 0
    published: int = 0
    dropped: int = 0
    """Since too many waited for it, or since it could not be published at all."""
    errors: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """All that was counted, as it was at one moment."""

    sources: Mapping[str, SourceCounts]
    sinks: Mapping[str, SinkCounts]
    frames: Mapping[str, int]
    """Of the frames that have ended, by outcome: each in one of `done`, `failed`, `skipped`."""
    answers: Mapping[tuple[str, str], int]
    """By graph and outcome (`answer.AnswerOutcome`)."""
    late: Mapping[str, int]
    """By graph, the answers that came after their deadline, or never."""
    fired: Mapping[str, int]
    """By graph."""
    others: Mapping[str, int]
    """By name: `reloads`, `frames_refused` (the solver had no answer), and what sources, sinks and policies count."""


class Counts:
    """Counts up. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[str, Counter[str]] = {}
        self._sinks: dict[str, Counter[str]] = {}
        self._said: dict[tuple[str, str], str] = {}
        self._ended: set[str] = set()
        self._frames: Counter[str] = Counter()
        self._answers: Counter[tuple[str, str]] = Counter()
        self._late: Counter[str] = Counter()
        self._fired: Counter[str] = Counter()
        self._others: Counter[str] = Counter()

    def source(self, name: str, **more: int) -> None:
        """Add to what a source counts: `samples`, `chunks`, `restarts`, `errors`."""
        with self._lock:
            self._sources.setdefault(name, Counter()).update(more)

    def source_ended(self, name: str) -> None:
        """A source has given all that it has."""
        with self._lock:
            self._sources.setdefault(name, Counter())
            self._ended.add(name)

    def sink(self, name: str, **more: int) -> None:
        """Add to what a sink counts: `given`, `published`, `dropped`, `errors`."""
        with self._lock:
            self._sinks.setdefault(name, Counter()).update(more)

    def went_wrong(self, kind: str, name: str, why: str) -> None:
        """Count an error of a `source` or a `sink`, and keep its words."""
        with self._lock:
            known = self._sources if kind == "source" else self._sinks
            known.setdefault(name, Counter()).update(errors=1)
            self._said[kind, name] = why

    def frame(self, outcome: str) -> None:
        """A frame has ended."""
        with self._lock:
            self._frames[outcome] += 1

    def answer(self, graph: str, outcome: str, *, late: bool, fired: bool) -> None:
        """A graph has answered."""
        with self._lock:
            self._answers[graph, outcome] += 1
            self._late[graph] += late
            self._fired[graph] += fired

    def other(self, name: str, more: int = 1) -> None:
        """Add to a count of the daemon itself, by its name."""
        with self._lock:
            self._others[name] += more

    def now(self) -> Counted:
        """All of it at this moment."""
        with self._lock:
            return Counted(
                sources={
                    name: SourceCounts(
                        **counted, last_error=self._said.get(("source", name), ""), ended=name in self._ended
                    )
                    for name, counted in self._sources.items()
                },
                sinks={
                    name: SinkCounts(**counted, last_error=self._said.get(("sink", name), ""))
                    for name, counted in self._sinks.items()
                },
                frames=MappingProxyType(dict(self._frames)),
                answers=MappingProxyType(dict(self._answers)),
                late=MappingProxyType(dict(self._late)),
                fired=MappingProxyType(dict(self._fired)),
                others=MappingProxyType(dict(self._others)),
            )
