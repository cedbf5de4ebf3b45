"""A run through faults that are drawn from a seed, in virtual time.

`KINDS` are the kinds of faults: a function with `@fault`, which does something to a `Run`, yields, and undoes it. One
or two are drawn at a time, last a while, and are followed by some seconds without any. Meanwhile frames may be late;
from a second after the fault's end none is (`Judge.problems`), and no frame at all is lost or ends twice.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from random import Random
from typing import Any, Protocol

import numpy as np
import psutil

from leo_runtime import Runtime
from leo_runtime.backend import News, State, Stepped
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DeviceUnavailableError, InputError, KernelError
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators import NoParameters, Operator, Work, define
from leo_runtime.operators.definition import Keeping
from test_runtime import SOURCE

SECOND_US = 1_000_000
STEP_US = 20_000
"""A chunk of every stream is fed so often."""
BEGAN_US = 1_764_374_400 * SECOND_US
"""The run's clock counts from 1970 on."""
QUIET_US = 5 * SECOND_US
BEFORE_US = SECOND_US
"""So long before a fault a frame may be taken that meets it."""
RECOVERED_US = SECOND_US
"""So long after a fault no frame is late any more."""
MIC_HZ, WATCH_HZ = 1000, 50
PROCESSORS = ("cpu", "gpu", "dsp")
OUTLASTS_US = 600_000
"""So long after a fault's end a kernel that hangs returns: of those that never do, only so many are borne."""


define(
    Operator(
        "faults_gate",
        "1 where the first sample is odd.",
        NoParameters,
        lambda _p, _s: (1,),
        lambda _p, _s: Work(9, 9),
        is_gate=True,
    )
)
define(
    Operator(
        "faults_last",
        "The last sample, of which it remembers the one of its last run.",
        NoParameters,
        lambda _p, _s: (1,),
        lambda _p, _s: Work(9, 9),
        keeps=lambda _p: Keeping(lambda _p, _s: 4, lambda _p, _s, _fresh: Work(1, 1)),
    )
)
define(
    Operator(
        "faults_sum", "The sum of all inputs.", NoParameters, lambda _p, _s: (1,), lambda _p, _s: Work(9, 9), (1, None)
    )
)


def pipelines(more: bool = False) -> Workload:
    """Four pipelines, that go by sound, by movement, by both, and by events; with `more`, five and one changed."""
    ears = GraphBuilder("ears", period_us=40_000, deadline_us=80_000, weight=2)
    sound = ears.stage("sound", SOURCE.name, stream="mic", samples=100)
    gate = ears.stage("gate", "faults_gate", sound)
    ears.stage("words", "faults_sum", ears.stage("mel", "faults_sum", sound, gate=gate))
    ears.stage("last", "faults_last", sound)
    hands = GraphBuilder("hands", period_us=100_000, offset_us=20_000, deadline_us=80_000)
    hands.stage("moves", "faults_sum", hands.stage("motion", SOURCE.name, stream="watch", samples=40 if more else 20))
    both = GraphBuilder("both", period_us=200_000, deadline_us=150_000)
    mixed = [
        both.stage("heard", SOURCE.name, stream="mic", samples=100),
        both.stage("felt", SOURCE.name, stream="watch", samples=20),
    ]
    sums = [both.stage(f"{name}-sum", "faults_sum", name) for name in mixed]
    both.stage("fused", "faults_sum", *sums)
    graphs = [ears, hands, both]
    if more:
        extra = GraphBuilder("more", period_us=100_000, deadline_us=80_000)
        extra.stage("louder", "faults_sum", extra.stage("sound", SOURCE.name, stream="mic", samples=100))
        graphs.append(extra)
    door = GraphBuilder("door", period_us=200_000, deadline_us=100_000)
    door.stage("who", "faults_sum", door.stage("rings", SOURCE.name, stream="bell", samples=4))
    graphs.append(door)
    return Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "faults",
            "streams": [
                {"name": "mic", "kind": "audio", "rate_hz": MIC_HZ},
                {"name": "watch", "kind": "motion", "rate_hz": WATCH_HZ, "channels": 3},
                {"name": "bell", "kind": "events"},
            ],
            "graphs": [one.build().model_dump(mode="json") for one in graphs],
        }
    )


def machine() -> Hardware:
    """Three processors, each linked to each."""
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "faulty",
            "processors": [
                {"name": "cpu", "backend": "fake", "lanes": 2, "active_mw": 500, "awake_mw": 3},
                {"name": "gpu", "backend": "fake", "active_mw": 900, "awake_mw": 10, "idle_timeout_us": 30_000},
                {"name": "dsp", "backend": "fake", "active_mw": 20, "awake_mw": 1},
            ],
            "links": [
                {"source": one, "target": other, "latency_us": 20, "energy_nj": 5}
                for one in PROCESSORS
                for other in PROCESSORS
                if one != other
            ],
        }
    )  # fmt: skip


def costs() -> Profile:
    """The GPU is the fastest, the DSP the cheapest."""
    lasts_us = {"cpu": 2000, "gpu": 800, "dsp": 5000}
    return Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": "faulty",
            "hardware": "faulty",
            "costs": [
                {"processor": name, "fixed_us": fixed_us, "source": "modelled: a test"}
                for name, fixed_us in lasts_us.items()
            ],
        }
    )


Broken = Callable[[np.ndarray], Any]
"""What a kernel gives instead of its output."""


class Backend:
    """Computes the operators above, unless `broken` says otherwise for a stage or a processor."""

    name = "fake"
    simulated = False

    def __init__(self, processor: str, broken: dict[str, Broken], broken_promises: list[str], kept: deque[int]) -> None:
        self.processor = processor
        self.broken = broken
        self.broken_promises = broken_promises
        self.kept = kept

    def supports(self, stage: BoundStage, _variant: str, /) -> bool:
        return stage.operator is SOURCE or stage.operator.name.startswith("faults_")

    def load(self, stage: BoundStage, _variant: str, /) -> Kernel:
        return (KeepingKernel if stage.operator.name == "faults_last" else Kernel)(self, stage)

    def close(self) -> None:
        pass


class Kernel:
    """One stage."""

    def __init__(self, backend: Backend, stage: BoundStage) -> None:
        self.backend = backend
        self.stage = stage

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        found = self.computed(inputs)
        broken = self.backend.broken.get(self.stage.name) or self.backend.broken.get(self.backend.processor)
        return found if broken is None else broken(found)

    def computed(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        match self.stage.operator.name:
            case SOURCE.name:
                return inputs[0].astype(np.float32)
            case "faults_gate":
                return np.array([inputs[0].flat[0] % 2], np.float32)
            case "faults_last":
                return inputs[0][-1:]
            case _:
                return np.array([sum(float(one.sum()) for one in inputs)], np.float32)


class KeepingKernel(Kernel):
    """Finds what was fed twice, or never."""

    def start(self) -> State:
        return (np.zeros(1, np.float32),)

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        output = self(inputs)
        assert isinstance(state, tuple)
        (sound,) = inputs
        if news.fresh is not None and news.missed == 0 and news.fresh < len(sound):
            self.backend.kept.append(news.fresh)
            met, last = sound[len(sound) - news.fresh - 1], state[0][0]
            if met != last:
                self.backend.broken_promises.append(f"the sample before {news.fresh} new ones is {met}, and was {last}")
        return Stepped(output, (sound[-1:].copy(),))


class Device:
    """A source of samples, fed in chunks, with its last sample's time by its own clock."""

    def __init__(self, stream: str, rate_hz: float) -> None:
        self.stream = stream
        self.rate_hz = rate_hz
        self.ppm = 0
        """How much faster it is than it says."""
        self.records = True
        self.keeps = False
        """Whether it keeps what it recorded, to hand it over later."""
        self.set_us = 0
        """How far its clock is from the run's."""
        self.will_set_us = 0
        """How far it is set back with a chunk that is as usual: of samples that are lost as a clock is set nobody can
        know in virtual time, where nothing comes late."""
        self.usual = True
        self.taken = 0.0
        self.kept = 0

    def step(self, run: Run) -> None:
        """The samples of a step."""
        if self.records:
            samples = STEP_US * self.rate_hz * (1 + self.ppm / 1e6) / 1e6
            self.kept += int(self.taken + samples) - int(self.taken)
            self.taken += samples
        if self.will_set_us and 0 < self.kept <= 2 * STEP_US * self.rate_hz // SECOND_US and self.usual:
            self.set_us, self.will_set_us = self.set_us - self.will_set_us, 0
        self.usual = self.records and not self.keeps
        if self.kept and not self.keeps:
            run.feed(self.stream, self._samples(self.kept), run.now_us + self.set_us)
            self.kept = 0

    def _samples(self, count: int) -> np.ndarray:
        if self.stream == "mic":
            return (np.arange(count) + int(self.taken)).astype(np.int16)
        return np.full((count, 3), 0.5, np.float32)


@dataclass
class Episode:
    """What happened at a time."""

    kinds: tuple[str, ...]
    touches: frozenset[str] | None
    """The graphs that may be late for it; None: all."""
    begin_us: int
    end_us: int | None = None
    """None as long as it lasts."""


class Judge:
    """Looks at every result: whether it is the only one of its frame, and what may be late. From any thread."""

    def __init__(self, before_us: int, at_us: Callable[[FrameResult], int] = attrgetter("release_us")) -> None:
        """So long before a fault a frame may be taken that meets it; `at_us` says when it was."""
        self.problems: list[str] = []
        """What is not as it should be, in words."""
        self.recovered_us: dict[str, int] = {}
        """By kind of fault, how long after its end a frame was late, at most."""
        self.outcomes = Counter[str]()
        self.begun = Counter[str]()
        self._before_us, self._at_us = before_us, at_us
        self._ended = bytearray()
        self._episodes: tuple[Episode, ...] = ()

    @contextmanager
    def fault(self, kinds: Sequence[Kind], now_us: Callable[[], int]) -> Iterator[None]:
        """They happen within."""
        touches = frozenset(name for kind in kinds for name in kind.touches)
        everything = any(not kind.touches for kind in kinds)
        episode = Episode(
            tuple(kind.name for kind in kinds),
            None if everything else touches,
            now_us(),
        )
        self.begun.update(episode.kinds)
        self._episodes = (*self._episodes[-3:], episode)
        yield
        episode.end_us = now_us()

    def take(self, result: FrameResult) -> None:
        """A frame has ended."""
        try:
            self._judge(result)
        except BaseException as error:
            self.problems.append(repr(error))

    def finish(self, frames: int) -> int:
        """All have ended, of which so many were counted at least; returns how many there were."""
        frames = max(frames, len(self._ended))
        if sum(self._ended) < frames:
            self.problems.append(f"{frames - sum(self._ended)} of {frames} frames have no result")
        return frames

    def _judge(self, result: FrameResult) -> None:
        if len(self._ended) <= result.frame:
            self._ended.extend(bytes(result.frame + 1 - len(self._ended)))
        if self._ended[result.frame]:
            self.problems.append(f"frame {result.frame} has ended twice")
        self._ended[result.frame] = 1
        late = []
        for graph in result.graphs:
            if graph.graph in result.shed:  # For how long, the rule of `overload` says.
                self.outcomes["shed"] += 1
                continue
            self.outcomes["late" if graph.outcome != "failed" and graph.missed else graph.outcome] += 1
            if graph.missed or graph.outcome == "failed":
                late.append(graph.graph)
        if late:
            self._late(result, late)

    def _late(self, result: FrameResult, late: Sequence[str]) -> None:
        at_us = self._at_us(result)
        before = [one for one in self._episodes if one.begin_us - self._before_us <= at_us]
        if not before:
            self._problem(result, late, "without any fault")
            return
        last = before[-1]
        after_us = 0 if last.end_us is None else max(0, at_us - last.end_us)
        kinds = ", ".join(last.kinds)
        if after_us > RECOVERED_US:
            self._problem(result, late, f"{after_us / 1e6:g} s after {kinds}")
        elif last.touches is not None and (others := [name for name in late if name not in last.touches]):
            self._problem(result, others, f"by {kinds}, which is none of its business")
        for name in last.kinds:
            self.recovered_us[name] = max(self.recovered_us.get(name, 0), after_us)

    def _problem(self, result: FrameResult, late: Sequence[str], when: str) -> None:
        where = f"frame {result.frame} at {result.release_us} us"
        self.problems.append(f"{', '.join(late)} of {where} late or failed {when}: {result.reason}")


class Run:
    """A runtime in virtual time, what is fed to it, and what comes of it."""

    def __init__(self, seed: int, kinds: Sequence[str] = (), *, feeds: bool = True) -> None:
        """Only these kinds of faults; none: all. It `feeds` sources, or else submits frames with their windows."""
        self.feeds = feeds
        self.links: dict[tuple[str, str], tuple[int, int | None] | None] = {}
        """What links can do from now on, where frames are submitted."""
        self.kinds = [kind for kind in KINDS if not kinds or kind.name in kinds]
        self.judge = Judge(BEFORE_US, self._taken_us)
        self.resident_bytes: list[int] = []
        """As the frames went by, at regular distances."""
        self.random = Random(seed)
        self.broken: dict[str, Broken] = {}
        self.lasts: dict[str, Callable[[int], int]] = {}
        """By stage or processor, how long a run lasts."""
        self.until_us = 0
        """When the fault ends that lasts now."""
        self.asks = True
        """Whether somebody asks for results."""
        self.now_us = BEGAN_US
        self._taken: deque[tuple[int, int]] = deque(maxlen=20_000)
        """Which frame could be the next one when something was fed, and when that was."""
        self.mic, self.watch = Device("mic", MIC_HZ), Device("watch", WATCH_HZ)
        self.frames = 0
        self._kept: deque[int] = deque(maxlen=1000)
        self._noise = Random(f"{seed} noise")
        self.runtime = Runtime.simulated(
            pipelines(),
            machine(),
            costs(),
            solver="greedy",
            backends={name: Backend(name, self.broken, self.judge.problems, self._kept) for name in PROCESSORS},
            noise=self._lasts_us,
            max_results=1000,
            seed=seed,
        )
        self._told = self.runtime.subscribe(self.judge.take, max_results=100_000)
        self._process = psutil.Process()

    # What happens.

    def go(self, frames: int) -> None:
        """So many frames, and then to the end of the last fault."""
        every, deck = max(1, frames // 200), Deck(self.kinds, self.random)
        self._for(QUIET_US)
        while self.frames < frames:
            several = deck.draw(self.random.choice((1, 1, 2)))
            lasts_us = self.random.randrange(STEP_US, SECOND_US)
            self.until_us = self.now_us + lasts_us
            with self.judge.fault(several, lambda: self.now_us), ExitStack() as stack:
                for kind in several:
                    stack.enter_context(kind.begin(self))
                self._for(lasts_us)
            self._for(QUIET_US)
            while len(self.resident_bytes) * every < self.frames:
                self.resident_bytes.append(self._process.memory_info().rss)
        self.runtime.drain()
        self.runtime.close()
        self.frames = self.judge.finish(self.frames)

    def _taken_us(self, result: FrameResult) -> int:
        """When it was that a frame was fed or submitted, by the run's clock.

        Not its release, which is by its stream's samples: it may wait two seconds for those of others.
        """
        taken = tuple(self._taken)
        return taken[bisect_right(taken, result.frame, key=itemgetter(0)) - 1][1]

    def _for(self, us: int) -> None:
        for _ in range(us // STEP_US):
            self.now_us += STEP_US
            if self.feeds:
                self.mic.step(self)
                self.watch.step(self)
                if self.random.random() < 0.1:
                    self.feed("bell", np.ones((1, 1), np.float32), self.now_us)
            else:
                self.submit()
            if self.asks:
                self.runtime.results()
            while self._told.waiting > 1000:  # The thread that is told may be slower than virtual time.
                threading.Event().wait(0.001)

    def submit(self) -> None:
        """The frame that is due now, if there is one."""
        names = self.runtime.triggered(self.now_us)
        if not names:
            return
        at = self.now_us * MIC_HZ // SECOND_US
        windows = {
            source.stage: (np.arange(at - source.samples, at) % 30_000).astype(np.int16)
            if source.stream == "mic"
            else np.ones(source.shape, np.float32)
            for source in self.runtime.sources(names)
        }
        self._taken.append((self.frames, self.now_us))
        number = self.runtime.submit(self.now_us, windows, graphs=names, links=self.links)
        self.frames = max(self.frames, number + 1)

    def feed(self, stream: str, chunk: np.ndarray, at_us: int) -> None:
        if not self.feeds:
            return
        self._taken.append((self.frames, self.now_us))
        numbers = self.runtime.feed(stream, chunk, at_us=at_us)
        self.frames = max([self.frames, *(number + 1 for number in numbers)])

    @property
    def kept(self) -> int:
        """How many of the last runs of a stage that keeps state have found what they had met before."""
        return len(self._kept)

    def refused(self, stream: str, chunk: np.ndarray) -> None:
        """Feed what cannot be fed."""
        if not self.feeds:
            return
        try:
            self.runtime.feed(stream, chunk, at_us=self.now_us)
        except InputError:
            return
        self.judge.problems.append(f"a chunk of {chunk.dtype} {chunk.shape} was taken")

    def hangs_us(self) -> int:
        """How long a run lasts that begins now and hangs."""
        return max(0, self.until_us - self.runtime.now_us) + OUTLASTS_US

    def _lasts_us(self, _frame: int, stage: str, resource: str, us: int) -> int:
        lasts = self.lasts.get(stage) or self.lasts.get(resource)
        us = round(us * self._noise.uniform(0.9, 1))
        return us if lasts is None else lasts(us)


@dataclass(frozen=True)
class Kind:
    """A kind of fault, of which several may happen at a time."""

    name: str
    begin: Callable[[Any], AbstractContextManager[None]]
    """Of a `Run`."""
    touches: tuple[str, ...] = ()
    """The graphs that may be late for it; none: all."""
    lasts: bool = True
    """False: it is over as soon as it has begun."""


class Deck:
    """Kinds in an order that is drawn: each comes once before any comes again."""

    def __init__(self, kinds: Sequence[Kind], random: Random) -> None:
        self._kinds = kinds
        self._random = random
        self._left: list[Kind] = []

    def draw(self, count: int) -> list[Kind]:
        """So many different ones, or as many as there are."""
        drawn: list[Kind] = []
        while len(drawn) < min(count, len(self._kinds)):
            if not self._left:
                self._left = self._random.sample(list(self._kinds), len(self._kinds))
            kind = self._left.pop()
            if kind not in drawn:
                drawn.append(kind)
        return drawn


class Source(Protocol):
    """What may be wrong with a source of samples, in virtual and in real time."""

    records: bool
    keeps: bool
    """Whether it keeps what it recorded, to hand it over later."""
    ppm: int
    """How much faster it is than it says."""


def loses_samples(source: Source) -> Iterator[None]:
    """Records nothing for a while."""
    source.records = False
    yield
    source.records = True


def stalls(source: Source) -> Iterator[None]:
    """Hands over nothing for a while, and then all at once."""
    source.keeps = True
    yield
    source.keeps = False


def lies_about_its_rate(source: Source, random: Random) -> Iterator[None]:
    """Gives more, or less, than it says."""
    source.ppm = random.choice((-500_000, -10_000, 10_000, 1_000_000))
    yield
    source.ppm = 0


def hanging_subscriber(runtime: Runtime) -> Iterator[None]:
    """Somebody who is told of results does not come back."""
    let_go = threading.Event()
    subscription = runtime.subscribe(lambda _result: let_go.wait(), max_results=4)
    yield
    let_go.set()
    subscription.close()


KINDS: list[Kind] = []
STAGES = ("sound", "gate", "mel", "words", "last", "moves", "heard-sum", "fused", "who")


def fault(does: Callable[[Run], Iterator[None]]) -> Callable[[Run], Iterator[None]]:
    """Make it a kind of fault: it begins, yields, and ends."""
    KINDS.append(Kind(does.__name__.replace("_", " "), contextmanager(does)))
    return does


def _breaks(run: Run, broken: Broken, where: Sequence[str] = STAGES) -> Iterator[None]:
    name = run.random.choice(where)
    run.broken[name] = broken
    yield
    run.broken.pop(name, None)


def _raises(error: type[BaseException], *says: Any) -> Broken:
    def broken(_found: np.ndarray) -> Any:
        raise error(*says)

    return broken


# Kernels.


@fault
def a_kernel_raises(run: Run) -> Iterator[None]:
    yield from _breaks(run, _raises(KernelError, "it is broken"), (*STAGES, *PROCESSORS))


@fault
def a_kernel_exits(run: Run) -> Iterator[None]:
    yield from _breaks(run, _raises(SystemExit, 3))


@fault
def a_kernel_gives_nan(run: Run) -> Iterator[None]:
    yield from _breaks(run, lambda found: np.full_like(found, np.nan))


@fault
def a_kernel_gives_another_shape(run: Run) -> Iterator[None]:
    yield from _breaks(run, lambda found: np.zeros((7, 7), np.float32))


@fault
def a_kernel_gives_nothing(run: Run) -> Iterator[None]:
    yield from _breaks(run, lambda found: None)


@fault
def a_kernel_hangs(run: Run) -> Iterator[None]:
    name = run.random.choice((*STAGES, *PROCESSORS))
    run.lasts[name] = lambda _us: run.hangs_us()
    yield
    run.lasts.pop(name, None)


@fault
def a_kernel_hangs_once_in_a_while(run: Run) -> Iterator[None]:
    name, random = run.random.choice(STAGES), Random(run.random.random())
    run.lasts[name] = lambda us: run.hangs_us() if random.random() < 0.05 else us
    yield
    run.lasts.pop(name, None)


@fault
def all_is_slow(run: Run) -> Iterator[None]:
    """Too slow for everything: an overload."""
    factor = run.random.choice((2, 4, 8, 16))
    for name in PROCESSORS:
        run.lasts[name] = lambda us: us * factor
    yield
    for name in PROCESSORS:
        run.lasts.pop(name, None)


@fault
def durations_are_anyhow(run: Run) -> Iterator[None]:
    random = Random(run.random.random())
    for name in PROCESSORS:
        run.lasts[name] = lambda us: round(us * random.lognormvariate(0, 1.5))
    yield
    for name in PROCESSORS:
        run.lasts.pop(name, None)


# Processors.


@fault
def a_processor_is_lost(run: Run) -> Iterator[None]:
    name = run.random.choice(PROCESSORS)
    run.runtime.lose(name)
    yield
    run.runtime.restore(name)


@fault
def a_processor_says_that_it_is_gone(run: Run) -> Iterator[None]:
    name = run.random.choice(PROCESSORS)
    run.broken[name] = _raises(DeviceUnavailableError, "it is gone")
    yield
    run.broken.pop(name, None)
    run.runtime.restore(name)


@fault
def all_processors_are_lost(run: Run) -> Iterator[None]:
    for name in PROCESSORS:
        run.runtime.lose(name)
    yield
    for name in PROCESSORS:
        run.runtime.restore(name)


@fault
def links_are_down(run: Run) -> Iterator[None]:
    """Where frames are submitted, which say what links can do."""
    down = run.random.sample([(one, other) for one in PROCESSORS for other in PROCESSORS if one != other], 3)
    run.links = dict.fromkeys(down)
    yield
    run.links = dict.fromkeys(down, (20, None))


@fault
def links_fall(run: Run) -> Iterator[None]:
    """Whatever is under way, and for those that are in flight as well."""
    fallen = run.random.sample([(one, other) for one in PROCESSORS for other in PROCESSORS if one != other], 3)
    for ends in fallen:
        run.runtime.lose_link(*ends)
    yield
    for ends in fallen:
        run.runtime.restore_link(*ends)


@fault
def a_burst_of_frames(run: Run) -> Iterator[None]:
    """Far more than there is time for, where frames are submitted."""
    if not run.feeds:
        for _ in range(40):
            run.submit()
    yield


# Sources.


@fault
def a_source_loses_samples(run: Run) -> Iterator[None]:
    yield from loses_samples(run.random.choice((run.mic, run.watch)))


@fault
def a_source_stalls_and_hands_over_all_at_once(run: Run) -> Iterator[None]:
    yield from stalls(run.random.choice((run.mic, run.watch)))


@fault
def a_source_lies_about_its_rate(run: Run) -> Iterator[None]:
    yield from lies_about_its_rate(run.random.choice((run.mic, run.watch)), run.random)


@fault
def a_sources_clock_is_set(run: Run) -> Iterator[None]:
    device = run.random.choice((run.mic, run.watch))
    device.will_set_us = run.random.randrange(10**9)
    yield


@fault
def a_source_gives_what_are_no_samples(run: Run) -> Iterator[None]:
    run.refused("mic", np.full(20, np.nan))
    run.refused("mic", np.zeros(20, np.float64))
    run.refused("watch", np.full((2, 3), np.inf, np.float32))
    run.refused("watch", np.zeros((2, 4), np.float32))
    run.refused("bell", np.full((1, 1), np.nan))
    yield


@fault
def nothing_is_recorded_for_long(run: Run) -> Iterator[None]:
    """As by a machine that was suspended."""
    run.now_us += 20 * SECOND_US
    run.feed("mic", np.zeros(20, np.int16), run.now_us + run.mic.set_us)
    run.feed("watch", np.zeros((1, 3), np.float32), run.now_us + run.watch.set_us)
    yield


# Who uses it.


@fault
def a_subscriber_raises(run: Run) -> Iterator[None]:
    def call(_result: FrameResult) -> None:
        raise SystemExit

    with _quiet():
        subscription = run.runtime.subscribe(call)
        yield
        subscription.close()
        subscription.join(10.0)


@fault
def a_subscriber_hangs(run: Run) -> Iterator[None]:
    yield from hanging_subscriber(run.runtime)


@fault
def nobody_asks_for_results(run: Run) -> Iterator[None]:
    run.asks = False
    answers = run.runtime.answers(max_results=10)
    yield
    answers.close()
    run.asks = True


@fault
def pipelines_change(run: Run) -> Iterator[None]:
    run.runtime.change(pipelines(more=True))
    yield
    run.runtime.change(pipelines())


@contextmanager
def _quiet() -> Iterator[None]:
    """What threads raise is not printed."""
    hook, threading.excepthook = threading.excepthook, lambda _args: None
    try:
        yield
    finally:
        threading.excepthook = hook
