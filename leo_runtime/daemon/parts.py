"""The sources and sinks of a daemon that are open: opened by a config, and exchanged for those of another one.

Those whose part of the config is the same stay open. One that is exchanged is waited for a moment, if it is a source,
since what takes its place may be of the same device; a sink goes on until it has published what it was given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.delivering import Delivering
from leo_runtime.daemon.feeding import Feeding, Give, Taken
from leo_runtime.daemon.kinds import Follows, Sink, Site
from leo_runtime.daemon.loading import Loaded
from leo_runtime.daemon.outstanding import Outstanding
from leo_runtime.errors import InputError, LeoError
from leo_runtime.frozen import dataclass

LETS_GO_S = 1.0
"""How long a source may take to end, before another one takes its place."""

_Running = TypeVar("_Running", Feeding, Delivering)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """All sources and sinks of a config, by name; what is new among them is not started."""

    loaded: Loaded
    sources: Mapping[str, Feeding]
    sinks: Mapping[str, Delivering]


class Parts:
    """`give` may be called from any thread, and what is open looked at; all else is for one thread at a time."""

    def __init__(self, counts: Counts, outstanding: Outstanding) -> None:
        """Nothing is open. `outstanding` is told of every frame's answers, and when a sink is done with one."""
        self._counts = counts
        self._outstanding = outstanding
        self._loaded: Loaded | None = None
        self.sources: Mapping[str, Feeding] = {}
        self.sinks: Mapping[str, Delivering] = {}
        self._giving = threading.Lock()
        """Held while answers go to sinks: whoever takes their place gets those that come after."""
        self._retired: list[Delivering] = []
        """Sinks of configs of before, which still have answers to publish."""

    def open(self, loaded: Loaded, site: Site, give: Give, taken: Taken) -> Opened:
        """What a config names: what runs and is the same, and the rest anew, to be used or abandoned.

        `give` and `taken` are as of `Feeding`. Raises `LeoError`, and nothing new is open then.
        """
        before = self._loaded
        sources: dict[str, Feeding] = {}
        sinks: dict[str, Delivering] = {}
        try:
            for name, config in loaded.sources.items():
                same = before is not None and before.sources.get(name) == config
                running = self.sources.get(name) if same else None
                sources[name] = running or self._feeding(name, loaded, site, give, taken)
            for name, sink in loaded.sinks.items():
                same = before is not None and before.sinks.get(name) == sink
                running_sink = self.sinks.get(name) if same else None
                sinks[name] = running_sink or self._delivering(name, loaded, site)
        except BaseException:
            self.abandon(Opened(loaded, sources, sinks))
            raise
        for name, source in sources.items():
            if isinstance(source.source, Sink):  # A source that is given answers, too.
                name = f"{name} (source)"
                known = self.sinks.get(name)
                if known is None or known.sink is not source.source:
                    known = self._sink_of(name, source.source)
                sinks[name] = known
        return Opened(loaded, sources, sinks)

    def _feeding(self, name: str, loaded: Loaded, site: Site, give: Give, taken: Taken) -> Feeding:
        config, streams = loaded.sources[name]
        try:
            source = config.open(site)
        except LeoError as error:
            raise InputError(f"source `{name}`: {error}", hint=error.hint) from None
        known = {stream.name: stream for stream in streams}
        return Feeding(name, source, known, give, taken, self._counts)

    def _delivering(self, name: str, loaded: Loaded, site: Site) -> Delivering:
        config = loaded.sinks[name]
        try:
            sink = config.open(site)
        except LeoError as error:
            raise InputError(f"sink `{name}`: {error}", hint=error.hint) from None
        return self._sink_of(name, sink, config.queue, config.graphs, config.only_fired)

    def _sink_of(
        self, name: str, sink: Sink, most: int = 1000, graphs: tuple[str, ...] = (), only_fired: bool = False
    ) -> Delivering:
        return Delivering(
            name,
            sink,
            self._counts,
            most=most,
            graphs=graphs,
            only_fired=only_fired,
            done=lambda answer: self._outstanding.done(answer.frame),
        )

    def abandon(self, opened: Opened) -> None:
        """Let go of those that are new, and are not to be started."""
        for source in _new(opened.sources, self.sources):
            source.abandon()
        for sink in _new(opened.sinks, self.sinks):
            sink.abandon()

    def use(self, opened: Opened) -> None:
        """Have these run in place of those that do. It waits for no sink, and a moment for sources."""
        retired = [one for one in self.sources.values() if one not in opened.sources.values()]
        retired_sinks = [one for one in self.sinks.values() if one not in opened.sinks.values()]
        for source in retired:
            source.stop()
        for sink in _new(opened.sinks, self.sinks):
            sink.start()
        begun = _new(opened.sources, self.sources)
        with self._giving:
            self.sources, self.sinks, self._loaded = opened.sources, opened.sinks, opened.loaded
        for source in retired:  # What takes its place may be of the same device.
            source.join(LETS_GO_S)
        for source in begun:
            source.start()
        for one in retired_sinks:
            one.end()
        self._retired += retired_sinks

    def following(self) -> dict[int, Follows]:
        """The sources and sinks that run and want to know of another workload; one that is both, once."""
        open_ones = (*[one.source for one in self.sources.values()], *[one.sink for one in self.sinks.values()])
        return {id(one): one for one in open_ones if isinstance(one, Follows)}

    def give(self, frame: int, answers: Sequence[Answer], observe: Callable[[Answer], None]) -> None:
        """A frame's answers go to the sinks that want them, after each was observed."""
        with self._giving:
            going = [(sink, answer) for answer in answers for sink in self.sinks.values() if sink.wants(answer)]
            self._outstanding.begin(frame, len(going))
            for answer in answers:
                observe(answer)
            for sink, answer in going:
                sink.give(answer)

    def forget_retired(self) -> None:
        """Sinks of before that have published all of theirs are nobody's any more."""
        self._retired = [sink for sink in self._retired if not sink.join(0.0)]

    @property
    def over(self) -> bool:
        """Whether no source gives anything any more, or no sink takes it."""
        return all(source.ended for source in self.sources.values()) or all(sink.gone for sink in self.sinks.values())

    def stop_sources(self, until: Callable[[Callable[[float], bool]], bool]) -> None:
        """Ask all to end, and wait for each by `until`, which calls what waits for some seconds until it is true."""
        for source in self.sources.values():
            source.stop()
        for source in self.sources.values():
            until(source.join)

    def end_sinks(self, until: Callable[[Callable[[float], bool]], bool]) -> int:
        """Have all publish what waits, and wait for each; of how many frames answers were dropped then."""
        sinks = [*self.sinks.values(), *self._retired]
        for sink in sinks:
            sink.end()
        for sink in sinks:
            until(sink.join)
        unpublished = self._outstanding.frames
        for sink in sinks:
            sink.abandon()
        return unpublished


def _new(these: Mapping[str, _Running], before: Mapping[str, _Running]) -> list[_Running]:
    """Those that are not among the ones before."""
    known = [id(one) for one in before.values()]
    return [one for one in these.values() if id(one) not in known]
