"""What a runtime is made of, in virtual and in real time: the machine, its first deployment, and how time goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from leo_runtime.backend import Holding
from leo_runtime.backend.keeping import keeping_of
from leo_runtime.backend.machine import open_backends, require_served
from leo_runtime.clock import Clock, WallClock
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.driver import Driver
from leo_runtime.dispatch.executor import Executor
from leo_runtime.dispatch.faults import NO_FAULTS, FaultPlan
from leo_runtime.dispatch.memory import Room
from leo_runtime.dispatch.simulator import Noise, Simulator, seeded_noise
from leo_runtime.documents.faults import Fault
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.link_course import NO_NETWORK, Network
from leo_runtime.frame.lower import merge, require_computed
from leo_runtime.frame.weights import problem_loaders
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.arguments import (
    named_processors,
    plain_noise,
    require_backends,
    require_clock,
    require_flags,
    require_network,
    require_parts,
)
from leo_runtime.runtime.deployment import Deployment, Site
from leo_runtime.runtime.flights import Flights
from leo_runtime.runtime.kernels import Told
from leo_runtime.runtime.link_watch import LinkWatch
from leo_runtime.runtime.options import RuntimeOptions
from leo_runtime.runtime.planners import chosen_solver


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """All of a runtime that is made before its first frame."""

    site: Site
    deployed: Deployment
    start: Callable[[int, Flights], Driver]
    """Makes the driver, at the release of the first frame."""
    missing: Mapping[str, str]
    """As `Runtime.missing`."""
    watch: LinkWatch
    """What is known of the links."""
    lost: tuple[str, ...] = ()
    """The processors that cannot be used from the beginning."""


def virtual_parts(
    undo: ExitStack,
    workload: Workload,
    hardware: Hardware,
    profile: Profile,
    options: RuntimeOptions,
    *,
    compute: bool,
    noise: Noise | int | None,
    device_times: Collection[str],
    told: Told | None,
    faults: Sequence[Fault],
    network: Network | None,
) -> Parts:
    """Those of `Runtime.simulated`, which `undo` closes. Raises as that does."""
    require_parts(workload, hardware, profile)
    require_flags(compute=compute)
    noise = plain_noise(noise)
    require_network(hardware, network)
    device_times = named_processors(hardware, device_times, "device_times")
    solver = chosen_solver(options)
    require_backends(hardware, options.backends)
    merged = merge(workload)
    machine = undo.enter_context(open_backends(hardware, options.backends if compute else {}, stand_in=True))
    if compute:
        require_served(machine, hardware)
    site = Site(
        hardware=hardware,
        machine=machine,
        options=options,
        solver=solver,
        lanes=None,
        computes=compute,
        device_times=device_times,
        told=told,
    )
    deployed = site.deploy(merged, profile)
    drawn = seeded_noise(options.seed, noise) if isinstance(noise, int) else noise
    watch = LinkWatch(hardware, network or NO_NETWORK)

    def start(_now_us: int, flights: Flights) -> Driver:
        return Simulator(
            Dispatcher(
                lanes_of(hardware),
                limit=options.run_limit,
                rooms=rooms_of(hardware),
                policy=solver.policy,
                # In real time outputs are here as soon as they are computed.
                remote=tuple(processor.name for processor in hardware.processors if processor.remote),
            ),
            compute=flights.run,
            publish=flights.publish,
            noise=drawn,
            device_times=device_times,
            # Plans then go by what was seen; what happens is still the profile's.
            lasts_us=flights.profiled_us if options.adapt or profile.contention.expected_ppm() else None,
            probe=flights.probe,
            slowdowns_ppm=profile.contention.slowdowns_ppm(),
            faults=FaultPlan(faults) if faults else NO_FAULTS,
            courses={} if network is None else network.courses,
            heard=watch.heard,
        )

    return Parts(site, deployed, start, machine.reasons() if compute else {}, watch)


def real_parts(
    undo: ExitStack,
    workload: Workload,
    hardware: Hardware,
    profile: Profile,
    options: RuntimeOptions,
    *,
    clock: Clock | None,
    modelled_delays: bool,
) -> Parts:
    """Those of `Runtime.live`, which `undo` closes. Raises as that does."""
    require_parts(workload, hardware, profile)
    require_flags(modelled_delays=modelled_delays)
    require_clock(clock)
    solver = chosen_solver(options)
    require_backends(hardware, options.backends)
    merged = merge(workload)
    require_computed(merged)
    lanes = {processor.name: processor.lanes for processor in hardware.processors}
    machine = undo.enter_context(open_backends(hardware, options.backends))
    require_served(machine, hardware)
    watch = LinkWatch(hardware)
    site = Site(hardware=hardware, machine=machine, options=options, solver=solver, lanes=lanes, heard=watch.heard)
    deployed = site.deploy(merged, profile)

    def start(now_us: int, flights: Flights) -> Driver:
        started = WallClock(now_us) if clock is None else clock
        dispatcher = Dispatcher(
            lanes_of(hardware),
            limit=options.run_limit,
            rooms=rooms_of(hardware),
            policy=solver.policy,
            # Of those that keep nothing outputs are here at once, and are computed once more all the same where they
            # die: that happens seldom, and being waited for too long does not.
            remote=[
                name
                for name, backend in machine.backends.items()
                if keeping_of(backend) is not None or hardware.processor(name).remote
            ],
        )
        if dispatcher.limits is not None:
            dispatcher.limits.change(bool, flights.newest.warmed())
        return Executor(
            dispatcher,
            lanes,
            partial(flights.run, now_us=started.now_us),
            publish=flights.publish,
            hand_over=flights.hand_over,
            clock=started,
            modelled_delays=modelled_delays,
            device_times=site.simulated,
            devices={name: backend for name, backend in machine.backends.items() if isinstance(backend, Holding)},
            abandon=flights.abandon,
            returned=flights.returned,
            probe=flights.probe,
            far=flights,
        )

    return Parts(site, deployed, start, machine.reasons(), watch, tuple(machine.missing))


def lanes_of(hardware: Hardware) -> dict[str, int]:
    """The lanes of every processor, radio and store."""
    return {one.name: one.lanes for one in hardware.resources}


def rooms_of(hardware: Hardware) -> dict[str, Room]:
    """The memories of the processors that weights are loaded to."""
    caps = {processor.name: processor.memory_bytes for processor in hardware.processors}
    return {loader.target: Room(caps[loader.target], loader) for loader in problem_loaders(hardware)}
