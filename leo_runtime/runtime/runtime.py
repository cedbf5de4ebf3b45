"""The object a daemon embeds: frames go in; where, when and at what cost each stage ran, and what was found, come out.

    with Runtime.simulated(workload, hardware, profile) as runtime:
        runtime.submit(release_us, {"sound": samples})
        for result in runtime.drain():
            ...

A frame is lowered to a problem, the problem is solved (`planner`), the answer is dispatched. Frames that can wait are
collected, and placed as one by `submit_batch`. Who has samples and no frames feeds them (`feed`). Another workload may
take the place of the one that runs (`change`): all that hangs together of one is a `deployment`.

**Every frame ends once.** A frame that was taken gives exactly one result: also where it is skipped, where its stages
fail, where the runtime is closed before its end, and where the runtime itself goes wrong.

**Faults.** A kernel that fails, or takes longer than `RuntimeOptions.run_limit`, fails its stage, which is tried once
more on another processor; `processors` says what is out of service (`leo_runtime.dispatch.dispatcher`). A graph that
can run on nothing that is left fails alone (`FrameResult.unplaced`).

**Overload.** A frame is skipped, and counted in `skipped`, when `max_in_flight` frames with one of its graphs have not
ended yet, or when nothing of it has started by the last of its deadlines. Its graphs are then `failed`, and say why.
Where graphs differ in weight, the least weighty go before that (`overload`), and are counted in `shed`. Results that
nobody asks for are kept up to `max_results`; then the oldest are dropped, and counted in `results_dropped`.

**Who gets a result.** Every subscriber (`subscribe`, `answers`) gets that of each frame that ends after it came. It
goes as well to one of those who ask (`results`, `drain`).

**Threads.** Every method may be called from any thread, except where it says otherwise. Frames are taken one after the
other, in the order of the calls: a `submit` waits for those before it and its solver, as does `feed` where frames are
due, and `change` for its turn; for nothing of that does any other method wait. In real time a frame whose release is to
come is taken at once, and placed and started at its release by a thread of the runtime's own (`ahead`).
"""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, Unpack

from leo_runtime.backend import ProcessEnds, ends_of
from leo_runtime.clock import Clock, WallClock
from leo_runtime.dispatch.events import (
    FrameAdmitted,
    FrameDone,
    LinkFound,
    LinkLost,
    ProcessorFound,
    ProcessorLost,
)
from leo_runtime.dispatch.executor import CLOSE_TIMEOUT_S, Executor
from leo_runtime.dispatch.simulator import Noise, Simulator
from leo_runtime.errors import ClosedError, DrainTimeoutError, InputError, once_more
from leo_runtime.frame.due import last_due_us
from leo_runtime.frozen import maker
from leo_runtime.runtime.ahead import CLOSED, Ahead, NotWaiting, Submission
from leo_runtime.runtime.arguments import (
    SourceWindow,
    batch_frames,
    due_graphs,
    known_links,
    known_slowed,
    named_graphs,
    plain_release,
    require_flag,
    require_function,
    require_near,
    require_order,
    require_parts,
    require_processor,
    require_same_contention,
)
from leo_runtime.runtime.delivery import Delivery, Subscription
from leo_runtime.runtime.drift import Drift, Estimate
from leo_runtime.runtime.flights import Flights
from leo_runtime.runtime.interrupted import interrupts
from leo_runtime.runtime.let_go import while_there
from leo_runtime.runtime.planned import Placed, Skipped
from leo_runtime.runtime.processors import ProcessorNow, processor_now
from leo_runtime.runtime.results import Submitted, not_done, unplaced_result
from leo_runtime.runtime.turns import Turns
from leo_runtime.values import seconds, several_names, whole

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.dispatch.driver import Driver
    from leo_runtime.dispatch.holder import HoldFailure
    from leo_runtime.documents.faults import Fault
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.problem import Mode, Placement
    from leo_runtime.documents.profile import Profile
    from leo_runtime.documents.workload import Workload
    from leo_runtime.frame.conditions import StateFound
    from leo_runtime.frame.link_course import Network
    from leo_runtime.frame.lower import MergedWorkload
    from leo_runtime.frame.records import FrameResult
    from leo_runtime.runtime.deployment import Deployment
    from leo_runtime.runtime.event_loops import Answers, AsyncSubmits
    from leo_runtime.runtime.fed_streams import StreamNow
    from leo_runtime.runtime.feed import FedFrame
    from leo_runtime.runtime.gates_file import Unwritten
    from leo_runtime.runtime.kernels import Told
    from leo_runtime.runtime.link_watch import LinkKnown
    from leo_runtime.runtime.options import OptionChanges, RuntimeOptions
    from leo_runtime.runtime.parts import Parts
    from leo_runtime.runtime.planner import LinksNow
    from leo_runtime.runtime.states import StateNow
    from leo_runtime.runtime.straight import KnownFrame, StraightPlan, StraightPlans, StraightTold
    from leo_runtime.runtime.windows import Planning

    Windows = Mapping[str, np.ndarray]

_submission, _submitted = maker(Submission), maker(Submitted)

# What a runtime is made of, and the documents it is made from, are imported as one is made: by the functions here that
# name them. The class itself, and whoever only imports it, needs none of that.


class Runtime:
    """A workload on a machine. Made by `simulated` or `live`; closing it lets go of the backends it made."""

    hardware: Hardware
    missing: Mapping[str, str]
    """Processors that no backend serves here, with the reason. In virtual time the CPU's backend computes in their
    place; in real time they are not used."""
    skipped: int
    """Frames that were skipped for overload."""
    shed: Mapping[str, int]
    """For each graph, how many of its answers were left out: for what weighs more (`overload`), or while it was paused
    (`adjust`)."""

    def __init__(self, parts: Parts) -> None:
        """For `simulated` and `live`."""
        from leo_runtime.runtime.feed import Feeder

        site, deployed = parts.site, parts.deployed
        self.hardware = site.hardware
        self.missing = parts.missing
        self.skipped = 0
        self.shed = dict.fromkeys(deployed.graphs, 0)
        options = site.options
        self._options = options
        self._site = site
        self._now = deployed
        self._start = parts.start
        self._changing = threading.Lock()
        # Who submits, one after the other: what is used in its turn alone.
        self._turns = Turns()
        self._links: LinksNow = {}
        self._watch = parts.watch
        # Everything below is behind this lock, which is never held while anybody waits, solves or computes.
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._closed = False
        self._lost_before = parts.lost
        self._last_release_us = 0
        """Of what waits no longer: of the rest `_ahead` knows it."""
        self._count = 0
        self._in_flight = Flights(deployed)
        self._ended: deque[FrameDone] = deque()
        """Frames whose results are to be made."""
        # None of these keeps it alive: one that nobody has any more closes itself at once.
        self._delivery = Delivery(self._lock, options.max_results, while_there(self._collect, _nothing))
        self._ahead = Ahead(
            self._lock,
            options.max_ahead,
            while_there(self._start_ahead, _not_started),
            while_there(self._fail_ahead, _nothing),
        )
        self._async_submits: AsyncSubmits | None = None
        self._gaps_us: dict[int, Mapping[str, int]] = {}
        """Of frames that were fed and have no result yet, what is missing in each graph's windows."""
        self._drift = Drift(deployed.profile.contention.expected_ppm())
        self._links_said: LinksNow | None = None
        """By `adjust`, for the next frame."""
        self._paused: frozenset[str] = frozenset()
        self._slowed_said = self._drift.is_slowed
        """Whether plans are to be made anew since `adjust` has changed how long runs last, or neighbours are reckoned
        with."""
        self._feeder = Feeder(
            deployed.merged,
            while_there(self.sources, _closed),
            while_there(self._begun_clock, _closed),
            while_there(self._submit_fed, _closed),
        )

    @classmethod
    def simulated(
        cls,
        workload: Workload,
        hardware: Hardware,
        profile: Profile,
        options: RuntimeOptions | None = None,
        *,
        compute: bool = True,
        noise: Noise | int | None = None,
        device_times: Collection[str] = (),
        told: Told | None = None,
        faults: Sequence[Fault] = (),
        network: Network | None = None,
        **changes: Unpack[OptionChanges],
    ) -> Self:
        """A runtime in virtual time: durations are the profile's, values are computed on this machine.

        `options`, or any of them as a keyword, are of `RuntimeOptions`; `backends` None: those installed, and the CPU's
        for processors that none of them serves. Without `compute` nothing is computed, any stage runs wherever the
        profile knows its cost, and every gate opens but those with a `chance_ppm`, which are drawn from `seed`. Stages
        of operator `cost` are never computed: they give zeros. `noise` gives durations, or is the spread of a seeded
        log-normal noise in ppm. `device_times` names processors whose kernels' own time is taken instead of the
        profile's. `told` knows of runs, and these are not computed, unless a stage keeps state: for a run that is done
        again. `faults` go wrong when they say (`leo_runtime.documents.faults`). `network` says what links really do,
        and whether plans know (`leo_runtime.frame.link_course`). Raises `GraphError`, `ProfileError`, `SolverError`,
        what making a backend raises, and `KernelError` where a stage has no kernel that loads: every kernel is loaded
        beforehand, and a mode whose kernel fails then is left out.
        """
        from leo_runtime.runtime.options import chosen_options
        from leo_runtime.runtime.parts import virtual_parts

        chosen = chosen_options(options, changes)
        with ExitStack() as undo:
            parts = virtual_parts(
                undo,
                workload,
                hardware,
                profile,
                chosen,
                compute=compute,
                noise=noise,
                device_times=device_times,
                told=told,
                faults=faults,
                network=network,
            )
            runtime = cls(parts)
            undo.pop_all()
        return runtime

    @classmethod
    def live(
        cls,
        workload: Workload,
        hardware: Hardware,
        profile: Profile,
        options: RuntimeOptions | None = None,
        *,
        clock: Clock | None = None,
        modelled_delays: bool = False,
        **changes: Unpack[OptionChanges],
    ) -> Self:
        """A runtime in real time, on the machine it runs on.

        Its clock starts with the release of the first frame, or of the last one where a batch comes first. Where it is
        fed before, it starts at the chunk's `at_us`, or at 0.

        `options`, or any of them as a keyword, are of `RuntimeOptions`. Every kernel is loaded and run once for each
        lane beforehand; a mode whose kernel fails then is left out. `modelled_delays` waits as long as links and
        wake-ups take by the hardware document. Raises `GraphError`, `ProfileError`, `SolverError`, `BackendError` where
        no processor is served, and what making a backend raises.
        """
        from leo_runtime.runtime.options import chosen_options
        from leo_runtime.runtime.parts import real_parts

        chosen = chosen_options(options, changes)
        with ExitStack() as undo:
            parts = real_parts(undo, workload, hardware, profile, chosen, clock=clock, modelled_delays=modelled_delays)
            runtime = cls(parts)
            undo.pop_all()
        return runtime

    @property
    def merged(self) -> MergedWorkload:
        """What is computed: the stages of the workload, each once. From any thread."""
        return self._now.merged

    @property
    def profile(self) -> Profile:
        """What stages cost. From any thread."""
        return self._now.profile

    @property
    def modes(self) -> Mapping[str, tuple[Mode, ...]]:
        """Every way to run each merged stage, as the profile has it. From any thread."""
        return self._now.modes

    @property
    def left_out(self) -> Mapping[tuple[str, str, str], str]:
        """Modes whose kernels cannot be used, by stage, processor and variant, with the reason. From any thread.

        No frame is planned on them.
        """
        return self._now.left_out

    @property
    def hold_failures(self) -> Mapping[str, HoldFailure]:
        """What went wrong when devices were told to stay awake or to sleep again, by processor. From any thread.

        Frames go on all the same, and are charged as if the device had done so.
        """
        return self._driver.hold_failures if isinstance(self._driver, Executor) else {}

    @property
    def gates_unwritten(self) -> Unwritten:
        """How often `gates_file` could not be written, as where the disk is full, and why. From any thread.

        Frames go on all the same, and it is tried again.
        """
        from leo_runtime.runtime.gates_file import Unwritten

        horizon = self._now.horizon
        return Unwritten() if horizon is None else horizon.gates_unwritten

    @property
    def seed(self) -> int:
        """What is drawn goes by it: gates, triggers, the noise of virtual time, a solver's choices. From any thread."""
        return self._site.options.seed

    def triggered(self, release_us: int) -> tuple[str, ...]:
        """The graphs whose period and offset alone make them run at that time. From any thread.

        Raises `InputError` for what is no whole number.
        """
        release_us = whole(release_us, "release_us")
        return self._now.triggered(release_us)

    def sources(self, graphs: Collection[str]) -> tuple[SourceWindow, ...]:
        """The windows that a frame of these graphs needs. From any thread.

        Raises `InputError` for a graph that is not there.
        """
        return self._now.sources(graphs)

    @property
    def now_us(self) -> int:
        """The run's time. From any thread."""
        driver = self._driver
        return 0 if driver is None else driver.clock.now_us()

    @property
    def lost(self) -> tuple[str, ...]:
        """The processors that cannot be used now. From any thread."""
        with self._lock:
            driver, gone = self._driver, frozenset(self._lost_before)
        if driver is not None:
            with driver.locked():
                gone = driver.dispatcher.lost
        return tuple(processor.name for processor in self.hardware.processors if processor.name in gone)

    def processors(self) -> tuple[ProcessorNow, ...]:
        """How each processor is doing: what hung there, what is out of service, and how often worker processes ended.

        From any thread.
        """
        with self._lock:
            driver, gone = self._driver, self._lost_before
        names = [processor.name for processor in self.hardware.processors]
        if driver is None:
            from leo_runtime.dispatch.dispatcher import Dispatcher
            from leo_runtime.runtime.parts import lanes_of

            unused = Dispatcher(lanes_of(self.hardware))
            for name in gone:
                unused.handle(ProcessorLost(0, name))
            return tuple([processor_now(unused, name, 0) for name in names])
        backends = self._site.machine.backends
        ends = [ends_of(backends[name]) if name in backends else ProcessEnds() for name in names]
        with driver.locked():
            now_us, dispatcher = driver.clock.now_us(), driver.dispatcher
            return tuple([processor_now(dispatcher, name, now_us, one) for name, one in zip(names, ends, strict=True)])

    def drift(self) -> tuple[Estimate, ...]:
        """How far each mode that has run is from its profile. From any thread."""
        with self._lock:
            self._collect()
            return self._drift.estimates()

    def links(self) -> tuple[LinkKnown, ...]:
        """What is known of each link that something was sent over, and how good what was thought of it was.

        From any thread.
        """
        return self._watch.known(self.now_us)

    @property
    def has_network(self) -> bool:
        """Whether `simulated` was told what links really do: then nobody else says it. From any thread."""
        return self._watch.has_network

    def states(self) -> tuple[StateNow, ...]:
        """What each stage that keeps state keeps now, where, and how its runs came to it. From any thread."""
        kernels = self._now.kernels
        return () if kernels is None else kernels.states()

    @property
    def planning(self) -> Planning:
        """How releases came to their plans so far, where they are placed in windows. From any thread."""
        from leo_runtime.runtime.windows import Planning

        horizon = self._now.horizon
        return Planning() if horizon is None else horizon.planning

    def submit(
        self,
        release_us: int,
        windows: Windows,
        *,
        graphs: Collection[str] | None = None,
        links: LinksNow | None = None,
        unbroken: Mapping[str, int] | None = None,
        copy: bool = True,
        wait: bool = False,
    ) -> int:
        """Take a frame, which starts at its release; returns its number.

        A frame whose release has come is placed and started at once. In real time one whose release is to come, or
        which comes after such a one, is so by another thread, at its release; until then `withdraw` takes it back.
        Only where `max_ahead` frames wait for their release does this wait, until there is room. With `wait` it waits
        for the release and starts the frame itself.

        `release_us` is a whole number. `windows`: raw samples by source stage, as `sources` names them: audio as int16,
        or as float32 or float64 from -1 to 1; anything else as real numbers, all finite. They are copied at once;
        without `copy` they are the runtime's from now on, and the caller writes into them no more. `graphs` None: those
        that `triggered` names, of which there has to be one; a release off their periods' grid names them here.
        `links`, copied as well, holds from the frame on, and is None for one that is down; None: as before. `unbroken`
        is for stages that keep state: by source stage, how many samples at the end of its window came, none lost
        between; whoever is not named has lost none.

        From any thread: frames are taken in the order of the calls. Raises `ClosedError` (an `InputError`) where the
        runtime is closed, also while this waits; `InputError` for a release before the last one or out of range
        (`MAX_RELEASE_US`; in real time also `MAX_AHEAD_US` from now), a graph or link that is not there, a window that
        is missing or of another shape or kind, and for a frame that is submitted by what another `submit` calls (its
        solver or, in virtual time, a kernel); `SolverError` when the solver has no answer and never had one, or is the
        caller's own and wrong (`leo_runtime.check` judges it): later, and of a frame that another thread starts,
        that fails the frame and not the run. A frame that is refused gives no result; one that has a number always
        does. Raises what went wrong in the runtime itself: the frames in flight then have their results.
        """
        require_flag(wait, "wait")
        told = None if unbroken is None else (unbroken,)
        return self._submit(self._asked((release_us,), (windows,), graphs, links, None, told, copy), wait)

    async def asubmit(
        self,
        release_us: int,
        windows: Windows,
        *,
        graphs: Collection[str] | None = None,
        links: LinksNow | None = None,
        unbroken: Mapping[str, int] | None = None,
        copy: bool = True,
    ) -> int:
        """Take a frame as `submit` does, and wait until it has started; returns its number.

        What waits, solves or computes does so in other threads. Frames of several tasks are taken in the order of the
        calls. A task that is cancelled withdraws its frame, unless that has started. From any thread with an event
        loop. Raises as `submit` does.
        """
        told = None if unbroken is None else (unbroken,)
        asked = self._asked((release_us,), (windows,), graphs, links, None, told, copy)
        with self._lock:
            self._require_open()
            if self._async_submits is None:
                from leo_runtime.runtime.event_loops import AsyncSubmits

                self._async_submits = AsyncSubmits(
                    while_there(self._submit, _closed), while_there(self.withdraw, _closed)
                )
        return await self._async_submits.submit(asked)

    def withdraw(self, frame: int) -> bool:
        """Take back a frame that waits for its release; False where it has started or ended. From any thread.

        It ends at once, `failed`, and says so; releases then go on from the one before it. Raises `InputError` for a
        number that no frame has.
        """
        with self._lock:
            whole(frame, "frame", most=self._count - 1)
            return self._ahead.end(frame, "it was withdrawn before its release")

    def submit_batch(
        self,
        frames: Sequence[tuple[int, Windows]],
        *,
        graphs: Collection[str] | None = None,
        links: LinksNow | None = None,
        together: Collection[str] | None = None,
        unbroken: Sequence[Mapping[str, int]] | None = None,
        copy: bool = True,
        wait: bool = False,
    ) -> int:
        """Take frames that were collected, place them as one and start them; returns the number they have as one.

        `frames` are pairs of release and windows, in order, all of the same graphs. They are placed at the release of
        the last, and from there have N times a graph's deadline, N being how many they are: whoever collects N frames
        can wait as many times as long. A stage runs its frames one by one or all together, whichever is better
        (`docs/solver.md`): that is tried of the merged stages in `together`, of which there are at most
        `batch.MAX_CANDIDATES`; None: of those that could save most. A limit given for the solver is for all choices.
        `unbroken` is of each frame what `submit` takes.

        Their results come as one `FrameResult` with a graph result for each frame. Copies, waits and raises as `submit`
        does; also raises `InputError` for no frames at all, and for stages that cannot run their frames together. From
        any thread.
        """
        require_flag(wait, "wait")
        with self._lock:
            self._require_open()
        releases_us, windows = batch_frames(frames)
        return self._submit(self._asked(releases_us, windows, graphs, links, together, unbroken, copy), wait)

    @property
    def goes_straight(self) -> bool:
        """Whether `submit_straight` can be used. From any thread."""
        now, site = self._now, self._site
        return (
            site.lanes is None
            and not site.computes
            and (now.kernels is None or now.kernels.only_draws)
            and now.horizon is None
            and site.solver.past is None
            and site.solver.policy is None
            and not self._options.adapt
            and not self._drift.is_slowed
            and not self._delivery.has_subscribers
            and not self._paused
            and self._links_said is None
            and not self.has_network
        )

    def submit_straight(self, frames: Iterable[KnownFrame], told: StraightTold) -> None:
        """Take frames that are all known beforehand, in virtual time where nothing is computed, and let all happen.

        They come in order. `told` gets what comes of each; what has the machine to itself until the next release is
        told of without a result, and nothing is remembered of it: neither `history` nor `drift`. Noise has to go by
        what it is asked alone, since it may be asked twice. From any thread, while nobody else uses the runtime. Raises
        as `submit` does, and `InputError` where frames cannot be taken so (`goes_straight`).
        """
        if not self.goes_straight:
            raise InputError(
                "frames cannot be taken straight: something is computed, or the runtime looks ahead or back",
                hint="submit them one after the other",
            )
        from leo_runtime.runtime.straight import StraightPlans, with_next

        plans = StraightPlans(self._now)
        with self._turns.turn() as turn:
            turn.queue()
            turn.wait()
            for known, next_us in with_next(frames):
                self._take_straight(known, next_us, plans, told)
        told.ended(self.drain())

    def _take_straight(self, known: KnownFrame, next_us: int | None, plans: StraightPlans, told: StraightTold) -> None:
        """Take one of several frames that follow each other at once. In turn."""
        release_us, names, links = known
        driver, now = self._driver or self._begun(release_us), self._now
        assert isinstance(driver, Simulator), "its time is virtual"
        require_order(release_us, self._last_release_us)
        driver.reach(release_us)
        if self._in_flight or self._ended:
            told.ended(self.results())
        if links is not None:
            self._links = known_links(self.hardware, links)
            plans.forget()
        asleep = now.placer.sleepers(driver.dispatcher, release_us)
        plan = None
        if asleep is not None and now.admission.is_calm:
            plan = plans.again(names, asleep)
            if plan is not None and self._went_alone(driver, release_us, next_us, plan, asleep, told):
                return
        is_alone = True

        def place(of: tuple[str, ...]) -> Placed | Placement | Skipped:
            nonlocal is_alone
            found = now.placer.place_alone(driver.dispatcher, release_us, of, self._links)
            if found is None:
                is_alone = False
                return self._place(driver, now, (release_us,), self._links, None, (), of)
            return found

        admitted, placed, unplaced = now.admission.admit(driver, (release_us,), names, self._links, place)
        goes_by = placed.planned if plan is None and is_alone and isinstance(placed, Placed) else None
        if goes_by is not None and asleep is not None and admitted == names and driver.goes_by_plans:
            plan = plans.of(goes_by, names)
            if plan is not None:
                plans.remember(names, asleep, goes_by, plan)
                if self._went_alone(driver, release_us, next_us, plan, asleep, told):
                    return
        asked = _submission((release_us,), ({},), names, None, None, now)
        frame = self._start_placed(driver, asked, self._number, admitted, placed, unplaced)
        told.submitted(frame, release_us)
        told.ended(self.results())

    def _went_alone(
        self,
        driver: Simulator,
        release_us: int,
        next_us: int | None,
        plan: StraightPlan,
        asleep: Collection[str],
        told: StraightTold,
    ) -> bool:
        """Run a frame that has the machine to itself at its release; False where it goes the way of all frames."""
        kernels = self._now.kernels
        if plan.gates and kernels is not None and not kernels.all_open(plan.gates, release_us):
            return False
        over_us = plan.over_us(release_us, next_us)
        times = driver.run_alone(plan.alone, self._count, release_us, over_us, plan.deadline_us, asleep, plan.turns)
        if times is None:
            return False
        self._last_release_us = release_us
        told.alone(self._number(), release_us, plan, times)
        return True

    def feed(self, stream: str, chunk: np.ndarray, *, at_us: int | None = None) -> tuple[int, ...]:
        """The newest samples of a stream: makes and submits the frames that are due by them; returns their numbers.

        `chunk` is any number of samples, (samples,) or (samples, channels) as the stream's windows are, copied at once,
        of the same dtype every time. `at_us` is when the last of them was taken, on the run's clock or one of the
        device's own; None: now, and in virtual time when it is due by the stream's rate. Of events it is when all of
        them were. A graph is released by the first stream at a rate that it names, once its windows are full, on a
        clock that follows the device (`docs/embedding.md`): `streams` shows it, `GraphResult.gap_us` what was lost.

        From any thread: it waits for others that feed, and for placing what is due, never for a release. Raises
        `InputError` for a stream that is not there and samples of another shape or kind, of which nothing is kept, and
        what `submit` raises of the frames that are due, when all of the chunk is kept.
        """
        with self._lock:
            self._require_open()
        return self._feeder.feed(stream, chunk, at_us)

    def restart(self, stream: str) -> None:
        """What a stream gives from now on is of another device, or another recording: nothing of before is used again.

        Its next chunk is the first one: what it holds is in no window any more, its clock is learned anew, its graphs
        begin when their windows are full, and stages that keep state of it start anew. Frames that were due by what
        came before end as they would have; what waited for other streams is not due any more. In virtual time it begins
        now, unless the chunk is told to be later.

        From any thread: it waits for others that feed. Raises `InputError` for a stream that is not there, and within
        what feeding calls.
        """
        with self._lock:
            self._require_open()
        self._feeder.restart(stream)

    def streams(self) -> tuple[StreamNow, ...]:
        """How the streams that are fed are doing. From any thread."""
        return self._feeder.streams()

    @property
    def unreleased(self) -> Mapping[str, int]:
        """By graph, how many releases of what is fed there were none of: samples were lost, or their windows were not
        full again, or they were past their deadline by far. They are no frames. From any thread."""
        return self._feeder.unreleased()

    def change(self, workload: Workload, *, profile: Profile | None = None) -> None:
        """Run another workload from the next release on, with graphs added, removed or changed, while this goes on.

        All that may fail or takes long comes first, beside the frames that run: what it means, what it costs, kernels
        of stages that are new, loaded and run once. Where this raises, nothing has changed. Then it takes one step:
        frames that were taken before, also those that wait for their release, end as what they were submitted to; all
        later ones are of the new workload.

        What is the same is kept, stage by stage and graph by graph: kernels, names of stages, drift, what gates did,
        plans, who stays away for overload, streams with their clocks and what they hold. So graphs that are the same
        miss no release of what is fed and repeat none, and one that is new begins when its windows are full. What a
        stage's operator and files hold counts as well: `Workload.from_file` finds modules that were edited. Kernels
        that nobody uses any more are let go.

        `profile` None: the same. The hardware stays what it is. A replay that is recorded cannot be changed.

        From any thread; one change after the other, and each waits for who submits at the moment, with `wait` until
        that release. Raises what `live` and `simulated` raise for a workload, `ClosedError` where the runtime is
        closed, and `InputError` within what a `submit` calls.
        """
        from leo_runtime.frame.lower import merge
        from leo_runtime.operators import refresh

        require_parts(workload, self.hardware, self.profile if profile is None else profile)
        if self._turns.mine() or self._ahead.mine() or self._feeder.mine():
            raise InputError(
                "the workload is changed by what a frame that is submitted calls (a solver, kernel or noise)",
                hint="change it when that has returned, or from another thread for which nothing here waits",
            )
        with self._changing:
            with self._lock:
                self._require_open()
            before = self._now
            refresh(stage.operator for graph in workload.graphs for stage in graph.stages)
            if profile is not None and self._site.lanes is None:
                require_same_contention(before.profile, profile)
            deployed = self._site.deploy(merge(workload), before.profile if profile is None else profile, before)
            with self._feeder.turn() as feeding, self._turns.turn() as turn:
                feeding.queue()
                feeding.wait()
                turn.queue()
                turn.wait()
                with self._lock:
                    self._ahead.wait_until_none_starts()
                    self._require_open()
                    self._collect()
                    drift = self._drift.kept(
                        lambda mode: deployed.has_mode(mode, before), deployed.profile.contention.expected_ppm()
                    )
                    if self._options.adapt or drift.is_slowed:
                        deployed.placer.use(deployed.adapted(drift))
                        self._slowed_said = False
                    deployed.take_over(before)
                    now_us = self.now_us if isinstance(self._driver, Executor) else None
                    self._feeder.change(deployed.merged, deployed.sources, now_us)
                    # From here on nothing can go wrong.
                    self._now, self._drift = deployed, drift
                    self._in_flight.newest = deployed
                    self.shed = {name: self.shed.get(name, 0) for name in deployed.graphs}
                    before.give_way(deployed)
                    if self._driver is not None:
                        with self._driver.locked():
                            deployed.take_place(before, self._driver.dispatcher)

    def results(self, timeout_s: float | None = 0.0) -> tuple[FrameResult, ...]:
        """The frames that ended since this was last asked, by number. From any thread; each goes to one who asks.

        Where there is none, waits for the next, at most so many seconds of real time; None: as long as that takes. In
        virtual time, where nothing comes by itself, waiting is `drain`. Where nothing can come any more, who would wait
        is told: raises `ClosedError` where the runtime is closed and its last results have been had, what went wrong in
        the runtime itself, and `InputError` within a kernel.
        """
        return self._delivery.next(None if timeout_s is None else seconds(timeout_s, "timeout_s"), self._let_happen)

    def subscribe(self, call: Callable[[FrameResult], object], *, max_results: int | None = None) -> Subscription:
        """Have a function called with the result of every frame that ends from now on. From any thread.

        It is called on a thread of its own, once at a time, in the order in which frames end, and may call anything of
        the runtime. Up to `max_results` results (None: as many as of the runtime) wait for it; beyond, the oldest are
        dropped. One that hangs or raises stops nothing: the `Subscription` counts what it dropped, what was raised,
        says which frame it is called with, and ends it (`close`). Results are kept for `results` as well.

        Closing the runtime waits for its last call, as it does for kernels. Raises `InputError` for what cannot be
        called, and `ClosedError` where the runtime is closed.
        """
        require_function(call)
        most = self._options.max_results if max_results is None else whole(max_results, "max_results", least=1)
        with self._lock:
            self._require_open()
            subscription = Subscription(call, most)
            self._delivery.add(lambda: subscription)
        return subscription

    def answers(self, *, max_results: int | None = None) -> Answers:
        """The result of every frame that ends from now on, for `async for` in any event loop. From any thread.

        Up to `max_results` of them (None: as many as of the runtime) wait to be asked for; beyond, the oldest are
        dropped, and counted in its `dropped`. It ends after the last frame of a runtime that is closed, and raises what
        went wrong in the runtime itself. Results are kept for `results` as well. Raises `ClosedError` where the runtime
        is closed.
        """
        from leo_runtime.runtime.event_loops import Answers

        most = self._options.max_results if max_results is None else whole(max_results, "max_results", least=1)
        answers = Answers(most)
        with self._lock:
            self._require_open()
            self._delivery.add(weakref.ref(answers))
        return answers

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The functions that are called with results. From any thread."""
        with self._lock:
            return self._delivery.subscriptions

    @property
    def results_dropped(self) -> int:
        """Results that nobody had or asked for before there were more than `max_results`. From any thread."""
        return self._delivery.dropped

    def drain(self, timeout_s: float | None = None) -> tuple[FrameResult, ...]:
        """Wait until every submitted frame has ended, then `results`. What was fed and waits for other streams goes on.

        From any thread, but not from within a kernel, which is an `InputError`, as it is in a process that was forked
        since the first live frame: that has none of the threads. Raises `DrainTimeoutError` (a `TimeoutError`) where
        that takes longer than `timeout_s`, in seconds of real time: `results` then still has what ended, and nothing is
        stopped. Raises what went wrong in the runtime itself; the frames have their results then, too.
        """
        timeout_s = None if timeout_s is None else seconds(timeout_s, "timeout_s")
        with suppress(ClosedError):
            self._feeder.flush()
        driver = self._driver
        if driver is not None and not self._drained(driver, timeout_s):
            with self._lock:
                self._collect()
                late = ", ".join(map(str, (*self._in_flight, *self._ahead.frames)))
            waited = "" if timeout_s is None else f" after {timeout_s:g} s"
            raise DrainTimeoutError(
                f"not every frame has ended{waited}, these are in flight: {late or 'none any more'}",
                hint="results() gives those that have ended; close() ends the others",
            )
        return self.results()

    def lose(self, processor: str) -> None:
        """A processor is gone: what it has to do goes elsewhere. From any thread.

        What runs there is given up; its lane is occupied until that has ended all the same, or is over its limit. It is
        not probed: `restore` says when it is back. Raises `InputError` for an unknown one.
        """
        require_processor(self.hardware, processor)
        with self._lock:
            driver = self._driver
            if driver is None:
                self._lost_before = tuple(dict.fromkeys((*self._lost_before, processor)))
                return
        driver.post(ProcessorLost(driver.clock.now_us(), processor, "as was said"))

    def restore(self, processor: str) -> None:
        """A lost processor is back. From any thread. Raises `InputError` for an unknown one."""
        require_processor(self.hardware, processor)
        with self._lock:
            driver = self._driver
            if driver is None:
                self._lost_before = tuple(name for name in self._lost_before if name != processor)
                return
        driver.post(ProcessorFound(driver.clock.now_us(), processor))

    def lose_link(self, source: str, target: str, why: str = "as was said") -> None:
        """A link is down: what is under way over it is lost, and what needs it goes elsewhere. From any thread.

        `restore_link` says when it is back; it is then used again, unless it comes and goes: then only after a while.
        Raises `InputError` for an unknown one. Before the first frame it does nothing: `adjust` says how links are.
        """
        known_links(self.hardware, {(source, target): None})
        driver = self._driver
        if driver is not None:
            driver.post(LinkLost(driver.clock.now_us(), source, target, why))

    def restore_link(self, source: str, target: str) -> None:
        """A link is back. From any thread. Raises `InputError` for an unknown one."""
        known_links(self.hardware, {(source, target): None})
        driver = self._driver
        if driver is not None:
            driver.post(LinkFound(driver.clock.now_us(), source, target))

    def adjust(
        self,
        *,
        links: LinksNow | None = None,
        slowed_ppm: Mapping[str, int] | None = None,
        paused: Collection[str] | None = None,
    ) -> None:
        """Say how the machine is, and which graphs pause, from the next frame on; None: as before.

        `links` are as `submit` takes them. `slowed_ppm`, by processor: how many times as long runs last there as the
        profile says, at the same power, in millionths from `ONE` to `MAX_SLOWED_PPM` (`runtime.drift`); all others are
        as fast as it says. Plans go by it, and `drift` is then told relative to it; what was known of drift on a
        processor whose speed changes is forgotten. In real time, and where `adapt`, runs last as long as they do.
        `paused`: graphs that are shed whenever they are due, counted in `shed`, however much room there is; batches
        are taken whole. A processor that is not to be used at all is told by `lose`.

        From any thread. Raises `InputError` for a link, processor or graph that is not there.
        """
        links = None if links is None else known_links(self.hardware, links)
        slowed = None if slowed_ppm is None else known_slowed(self.hardware, slowed_ppm)
        named = None if paused is None else several_names(paused, "paused")
        with self._lock:
            if named:
                named_graphs(self._now.merged.workload, named)
            if links is not None:
                self._links_said = links
            if slowed is not None and self._drift.slow(slowed):
                self._slowed_said = True
            if named is not None:
                self._paused = frozenset(named)

    def history(self, frame: int) -> tuple[tuple[int, object], ...]:
        """What happened to a frame, as far as it is remembered: times with events and instructions. From any thread."""
        driver = self._driver
        if driver is None:
            return ()
        with driver.locked():
            return driver.dispatcher.history(frame)

    story = history
    """Its former name."""

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop, and let go of the backends the runtime has made. From any thread; closing twice is fine.

        Frames in flight, or not started, end as `failed`, and `results` and subscribers have them. Waits `timeout_s` at
        most for the kernels that are running, what is proved in the background and functions that are called with the
        last results, all together; what hangs longer is left to itself. A runtime that nobody has any more is closed by
        itself, with a `ResourceWarning`. Raises `DocumentError` where `gates_file` cannot be written: all is closed
        then. In a signal's handler that interrupts another call of the runtime it does not wait: that call goes on when
        the handler returns, and is told of the end.
        """
        timeout_s = seconds(timeout_s, "timeout_s")
        if interrupts(self, __file__):  # It may hold any lock.
            threading.Thread(target=self.close, args=(timeout_s,), name="leo close", daemon=True).start()
            return
        patience = WallClock()

        def left_s() -> float:
            return max(0.0, timeout_s - patience.now_us() / 1e6)

        with self._lock:
            self._closed = True
            self._end_ahead(self._ahead.close(), CLOSED)
            driver, submits = self._driver, self._async_submits
        with ExitStack() as stack:
            stack.callback(self._site.machine.close)
            horizon = self._now.horizon
            if horizon is not None:
                stack.callback(lambda: horizon.close(left_s()))
            if driver is not None:
                driver.close(timeout_s, CLOSED)
            with self._lock:
                self._collect()
                self._fail_all(CLOSED)
                self._delivery.end()
            if submits is not None:
                submits.close(left_s())
            self._ahead.join(left_s())
            self._delivery.join(left_s())

    def __enter__(self) -> Self:
        """The runtime itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Close one that was let go of without and has threads, which would wait for ever; and warn."""
        if getattr(self, "_closed", True) or sys.is_finalizing():  # It may not even have begun.
            return
        if not (self._driver.has_threads if isinstance(self._driver, Executor) else self._delivery.has_thread):
            return
        # Whoever lets go of it last, or collects garbage, may hold any lock.
        threading.Thread(target=self.close, name="leo close", daemon=True).start()
        warnings.warn(
            f"a Runtime of workload `{self.merged.workload.name}` was let go of and not closed: frames in flight fail; "
            "use it in a `with` block, or call close()",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )

    # A frame's question and its answer.

    def _asked(
        self,
        releases_us: tuple[int, ...],
        windows: tuple[Windows, ...],
        graphs: Collection[str] | None,
        links: LinksNow | None,
        together: Collection[str] | None,
        unbroken: Sequence[Mapping[str, int]] | None,
        copy: bool,
    ) -> Submission:
        """What is submitted, if it is right; it waits for nothing."""
        with self._lock:
            self._require_open()
            last_us = self._ahead.last_us(self._last_release_us)
        releases_us = tuple(map(plain_release, releases_us))
        require_flag(copy, "copy")
        if self._turns.mine() or self._ahead.mine():
            raise InputError(
                "a frame is submitted while another one is, by what that calls (a solver, kernel or noise)",
                hint="submit it when that has returned, or from another thread for which nothing here waits",
            )
        require_order(releases_us[-1], last_us)  # Before anything else is said of a late one.
        now = self._now
        if graphs is None:
            names = due_graphs(now.merged.workload, releases_us, now.triggered)
        elif isinstance(graphs, tuple) and now.has_had(graphs):
            names = graphs
        else:
            names = named_graphs(now.merged.workload, graphs)
        may = None if together is None else now.candidates(together)
        windows = now.own_windows(names, windows, copy)
        links = None if links is None else known_links(self.hardware, links)
        ends = () if unbroken is None else now.ends(releases_us, unbroken)
        return _submission(releases_us, windows, names, links, may, now, ends)

    def _submit(self, asked: Submission, wait: bool = False) -> int:
        """Take one frame, or several as a batch, and start them when it is their turn, here or at their release."""
        release_us = asked.release_us
        with self._turns.turn() as turn:
            with self._lock:
                self._require_open()
                turn.queue()
            turn.wait()
            driver = self._driver or self._begun(release_us)  # Once there is one, it stays.
            now_us = None
            if isinstance(driver, Executor):
                driver.require_threads()
                now_us = driver.clock.now_us()
            with self._lock:
                self._require_open()
                require_order(release_us, self._ahead.last_us(self._last_release_us))
                if now_us is not None:
                    require_near(release_us, now_us)
                    if not wait and (release_us > now_us or not self._ahead.idle):
                        self._ahead.wait_for_room()
                        self._require_open()
                        frame = self._number()
                        self._ahead.put(frame, asked, driver.clock)
                        return frame
                    if not self._ahead.idle:
                        self._ahead.wait_until_idle()
                        self._require_open()
            if now_us is None or release_us > now_us:
                driver.reach(release_us)
            frame = self._start_frame(driver, asked, self._number)
        asked.left(frame)
        return frame

    def _submit_fed(self, frame: FedFrame) -> int:
        asked = self._asked((frame.release_us,), (frame.windows,), frame.graphs, None, None, None, copy=False)
        return self._submit(replace(asked, ends=(frame.ends,), fed=frame))

    def _start_ahead(self, asked: Submission, take: Callable[[], int]) -> None:
        """Start a frame at its release. On the thread of those that waited for it."""
        driver = self._driver
        assert driver is not None
        self._start_frame(driver, asked, take)

    def _fail_ahead(self, frame: int, asked: Submission, why: str) -> None:
        """End a frame that was never started. Behind the lock."""
        from leo_runtime.runtime.planner import no_placement

        wanted = asked.deployment.wanted(asked.graphs)
        self._give(unplaced_result(frame, asked.releases_us, wanted, 0, no_placement(why)))

    def _start_frame(self, driver: Driver, asked: Submission, take: Callable[[], int]) -> int:
        """Place a frame whose release has come and start it; `take` gives its number, behind the lock. In turn."""
        releases_us, names, now = asked.releases_us, asked.graphs, asked.deployment
        with self._lock:
            said, self._links_said = self._links_said, None
            paused = self._paused
        if said is not None:
            self._links = said
        if asked.links is not None:
            self._links = asked.links
        if now.horizon is not None and asked.fed is not None:
            now.horizon.shift(asked.fed.shifts_us)
        known = self._watch.now(max(releases_us[-1], driver.clock.now_us()))
        links = {**known, **self._links} if known else self._links  # What is said goes before.
        ends = asked.ends
        states = () if now.kernels is None else now.kernels.found(releases_us[0], ends[0] if ends else {})
        admitted, placed, unplaced = now.admission.admit(
            driver,
            releases_us,
            names,
            links,
            partial(self._place, driver, now, releases_us, links, asked.together, states),
            states,
            paused,
        )
        return self._start_placed(driver, asked, take, admitted, placed, unplaced)

    def _start_placed(
        self,
        driver: Driver,
        asked: Submission,
        take: Callable[[], int],
        admitted: tuple[str, ...],
        placed: Placed | Placement | Skipped,
        unplaced: Mapping[str, str],
    ) -> int:
        """Start a frame that is placed, of which these graphs were let in; `take` as of `_start_frame`. In turn.

        `unplaced` are those that can run nowhere, each with the reason.
        """
        releases_us, names, now, ends = asked.releases_us, asked.graphs, asked.deployment, asked.ends
        left_out = tuple([name for name in names if name not in admitted]) if len(admitted) < len(names) else ()
        shed = tuple([name for name in left_out if name not in unplaced])
        wanted = now.wanted(names)
        if shed:
            with self._lock:
                self.shed = {name: count + (name in shed) for name, count in self.shed.items()}
        if not isinstance(placed, Placed):
            skipped = isinstance(placed, Skipped)
            why = placed.why if isinstance(placed, Skipped) else placed
            with self._lock:
                frame = self._take(asked, take)
                self.skipped += len(releases_us) if skipped else 0
                result = unplaced_result(
                    frame, releases_us, wanted, self.now_us, why, skipped=skipped, shed=shed, unplaced=unplaced
                )
                self._give(result)
            return frame
        windows = asked.windows
        if left_out:
            names, wanted = admitted, now.wanted(admitted)
            if windows[0]:
                windows = tuple([{one.stage: own[one.stage] for one in now.sources(names)} for own in windows])
        plan = placed.planned.plan
        with self._lock:
            frame = self._take(asked, take)
            solved, others = placed.planned.solved, now.wanted(left_out)
            submitted = _submitted(frame, releases_us, wanted, plan, solved, others, unplaced)
            self._in_flight.begin(submitted, now, names, windows, ends)
        release_us, give_up_us = releases_us[-1], last_due_us(wanted, releases_us)
        now_us = max(release_us, driver.clock.now_us())
        exits, due_us = now.placer.exits(tuple(names), releases_us), now.placer.due_us(tuple(names), releases_us)
        driver.post(
            FrameAdmitted(now_us, frame, release_us, plan, placed.asleep, give_up_us, placed.again, exits, due_us)
        )
        return frame

    def _let_happen(self, timeout_s: float | None) -> bool:
        """In virtual time let happen what is in flight; False where there is nothing, or it happens by itself."""
        with self._lock:
            driver, flies = self._driver, bool(self._in_flight)
        if isinstance(driver, Simulator) and flies:
            driver.drain(timeout_s)
            return True
        if driver is not None:
            driver.drain(0.0)  # Who is within a kernel would wait for itself.
        return False

    def _drained(self, driver: Driver, timeout_s: float | None) -> bool:
        """Wait for every frame, also those that wait for their release; False where that takes longer."""
        patience = WallClock()
        with self._lock:
            idle = self._ahead.idle
        if not idle:
            driver.drain(0.0)  # Who is within a kernel would wait for itself.
            with self._lock:
                if not self._ahead.wait_until_idle(timeout_s):
                    return False
        return driver.drain(None if timeout_s is None else max(0.0, timeout_s - patience.now_us() / 1e6))

    def _require_open(self) -> None:
        """Raise where no frame can be taken any more. Behind the lock."""
        if self._closed:
            raise ClosedError("the runtime is closed", hint="use it before close(), inside its `with` block")
        if self._driver is not None and self._driver.failure is not None:
            raise once_more(self._driver.failure)

    def _take(self, asked: Submission, take: Callable[[], int]) -> int:
        """The number of a frame that is not refused any more: only such a one moves the last release. Behind the lock.

        In turn.
        """
        self._require_open()
        frame = take()
        self._last_release_us = asked.release_us
        if asked.fed is not None and any(asked.fed.gaps_us.values()):
            self._gaps_us[frame] = asked.fed.gaps_us
        return frame

    def _number(self) -> int:
        """A frame's number. Behind the lock."""
        frame, self._count = self._count, self._count + 1
        return frame

    def _begun(self, release_us: int) -> Driver:
        """The driver, made with the first frame."""
        with self._lock:
            self._require_open()
            if self._driver is None:
                driver = self._start(release_us, self._in_flight)
                driver.on_ended = self._delivery.bell.ring
                for processor in self._lost_before:
                    driver.post(ProcessorLost(release_us, processor))
                self._driver = driver
            return self._driver

    def _begun_clock(self, at_us: int) -> Clock | None:
        """The run's clock, which is `at_us` if it is only begun; None where time is virtual."""
        driver = self._begun(at_us)
        return driver.clock if isinstance(driver, Executor) else None

    def _place(
        self,
        driver: Driver,
        now: Deployment,
        releases_us: tuple[int, ...],
        links: LinksNow,
        together: tuple[str, ...] | None,
        states: tuple[StateFound, ...],
        names: tuple[str, ...],
    ) -> Placed | Placement | Skipped:
        """The plan of a frame or batch, or why there is none. In turn."""
        frames = len(releases_us)
        with self._lock:
            self._collect()
            changed = self._options.adapt and self._drift.settle()
            if changed or self._slowed_said:
                self._slowed_said = False
                now.placer.use(now.adapted(self._drift))
            batched = now.adapted(self._drift, frames) if frames > 1 else None
            chances = () if now.horizon is None else now.horizon.chances()
            in_flight = self._in_flight.graphs_of(now)
        return now.placer.place(
            driver,
            releases_us,
            names,
            links,
            in_flight=in_flight,
            chances=chances,
            together=together,
            batched=batched,
            states=states,
        )

    # A frame's end. All of it behind the lock.

    def _collect(self) -> None:
        """Make the results of the frames that have ended."""
        if self._driver is None:
            return
        failure = self._driver.failure
        self._ended.extend(self._driver.finished())
        while self._ended:
            done = self._ended[0]
            flight = self._in_flight.get(done.frame)
            if flight is not None:  # Otherwise it was given up, and has its result.
                submitted, deployment = flight
                result, lasted = deployment.result(submitted, done)
                # A Ctrl-C that came so far has lost nothing: whoever asks next makes the result again.
                self._give(result)
                if self._site.solver.past is not None:
                    self._site.solver.past.add(result)
                self._in_flight.end(done.frame)
                self.skipped += len(submitted.releases_us) if done.skipped else 0
                now = self._now
                if now.horizon is not None:
                    now.horizon.observe(done, submitted.plan.jobs, now.stages_of(deployment))
                for mode, profiled_us, lasted_us in lasted:
                    if now is deployment or now.has_mode(mode, deployment):
                        self._drift.observe(mode, profiled_us, lasted_us)
            self._ended.popleft()
        if failure is not None:
            self._fail_all(f"the runtime failed ({type(failure).__name__}: {failure})")
            self._delivery.end(failure)

    def _fail_all(self, why: str) -> None:
        """End what is in flight, where the driver does not."""
        from leo_runtime.runtime.planner import no_placement

        self._end_ahead(self._ahead.take_all(), why)
        placement = no_placement(why)
        try:
            now_us = self.now_us
        except Exception:  # It may be the clock that went wrong: then they end with their releases.
            now_us = 0
        for frame in tuple(self._in_flight):
            flight = self._in_flight.get(frame)
            assert flight is not None
            self._in_flight.end(frame)
            self._give(not_done(flight[0], now_us, placement))

    def _end_ahead(self, taken: Mapping[int, Submission], why: str) -> None:
        """End frames that waited for their release and are taken out."""
        for frame, asked in taken.items():
            self._fail_ahead(frame, asked, why)
            asked.left(frame)

    def _give(self, result: FrameResult) -> None:
        self._delivery.give(result.with_gaps(self._gaps_us.pop(result.frame, {})))


# What threads find in the place of a runtime that was let go of, and is about to close itself.


def _nothing() -> None:
    pass


def _not_started() -> NoReturn:
    raise NotWaiting


def _closed() -> NoReturn:
    raise ClosedError("the runtime was let go of")
