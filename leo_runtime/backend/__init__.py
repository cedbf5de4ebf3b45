"""What a backend is, and a kernel: two protocols, and the optional parts of both, each a protocol too.

A backend package names a factory under the entry-point group `leo_runtime.backends`:

    [project.entry-points."leo_runtime.backends"]
    mine = "my_package:MyBackend"

The factory is called with the `Processor` it is to serve, and raises `DeviceUnavailableError` or `MissingExtraError`
when there is nothing to serve it with. `leo_runtime.testing.BackendContract` tests the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.documents.binding import BoundStage
    from leo_runtime.documents.hardware import Processor
    from leo_runtime.errors import MissingExtraError

ENTRY_POINTS = "leo_runtime.backends"


class Kernel(Protocol):
    """A stage made ready to run on one processor. It may be called from any thread, one call at a time."""

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage: float32 arrays in (raw samples for a source), one float32 array out.

        A model's pieces (`Operator.outputs`) give and take arrays of their own types: several as one structured array
        (`leo_runtime.operators.outputs.packed`), or as a tuple in their order, which is taken for that.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeviceRun:
    """A run as the device itself timed it: queueing and copies to and fro are not in `device_us`."""

    output: np.ndarray
    device_us: int
    device_nj: int | None = None
    """None where the device has no energy counter; a simulated device gives its model's energy."""


@runtime_checkable
class TimedKernel(Protocol):
    """A kernel that knows its device's own time."""

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage, as any kernel."""
        ...

    def timed(self, inputs: Sequence[np.ndarray], /) -> DeviceRun:
        """Compute the stage and say what the device itself measured."""
        ...


@dataclass(frozen=True, slots=True)
class News:
    """What is new to a stage that keeps state, in one run."""

    fresh: int | None
    """How many of the last entries along the first axis of its first input it is to meet: all of them came, one after
    the other, and it has met none. None: it starts anew, on the whole of its input."""
    release_us: int
    """Of the frame, on the run's clock."""
    missed: int = 0
    """How many entries beside the fresh ones there have been since its last run: they were lost, came and went between
    two runs, or came before the last one that was lost. It never meets them. Of a run that starts anew: the first
    entries of its input, up to the last that was lost. In the input zeros stand for what was lost."""
    whole: bool = False
    """Its first input comes whole with every run, and nothing is known of what it shares with that of the run before,
    as behind an operator of one's own without state. `fresh` and `missed` then count inputs: 1 is this one."""

    def new(self, first: np.ndarray) -> np.ndarray:
        """The entries of the first input that are to be met, none of them lost: of one that comes whole, all."""
        if self.whole:
            return first[len(first) if self.fresh == 0 else 0 :]
        return first[self.missed if self.fresh is None else len(first) - self.fresh :]


State = object
"""What a stage keeps: a tuple of arrays, which anyone can copy and move, or an object of the kernel's own."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A run of a stage that keeps state."""

    output: np.ndarray
    state: State
    """What it keeps from here on."""
    device_us: int | None = None
    """As in `DeviceRun`."""
    device_nj: int | None = None
    spent: bool = False
    """The state that was handed in has been changed, so that no run can start from it again: if this run comes to
    nothing, the next one starts anew."""


@runtime_checkable
class StatefulKernel(Protocol):
    """A stage that keeps state, made ready to run. The runtime holds the state, never the kernel: a run that is tried
    again, is given up or only warms the kernel up changes nothing.

    Of a stage that keeps state a kernel that is none of these is one whose runs all start anew.
    """

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage as any kernel: a run that starts anew, and of which nothing is kept."""
        ...

    def start(self) -> State:
        """The state before the first run."""
        ...

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        """Compute the stage from there. The state is left as it is, unless `Stepped.spent` says otherwise."""
        ...


@runtime_checkable
class Abandonable(Protocol):
    """A kernel whose run can be ended from outside, since it computes in another process.

    One that cannot keeps its thread until it comes back by itself.
    """

    def abandon(self) -> None:
        """End the run at hand, which then raises `KernelError` in its own thread, soon; the next one works.

        Called by whoever gives that run up, once, from any other thread, also with locks of its own held: it does not
        wait, and raises nothing. Where no run is at hand nothing happens.
        """
        ...


@runtime_checkable
class Askable(Protocol):
    """A kernel whose device is elsewhere: it may be out of reach for a while, and the kernel is none the worse for it.

    So a processor that was lost is asked whether it is there, in place of loading all its kernels anew.
    """

    def ask(self) -> None:
        """Whether the device is there, and would run the stage, soon and at little cost.

        Called from any thread, also while the kernel runs. Raises `DeviceUnavailableError`, `KernelError` where not.
        """
        ...


@runtime_checkable
class Restarting(Protocol):
    """A kernel in a process that is started again where it has ended: a call waits for that, unless it is not to."""

    def fail_while_starting(self) -> None:
        """From now on a call that would wait for the process raises `KernelError` at once; it works once that is there.

        Called from any thread, as often as one likes, by a runtime in real time, whose runs have limits and whose lanes
        have other things to do.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """Code that runs stages on one processor. Optional: `SimulatedDevice`, `NamedDriver`, `Lacking`, `Holding`,
    `EndingProcesses`, `leo_runtime.backend.keeping.Keeping`.
    """

    name: str

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        """Whether it can run here: never whether it should."""
        ...

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        """Make a stage ready to run, by a new kernel each time; may be slow. Raises `KernelError`."""
        ...

    def close(self) -> None:
        """Let go of the device. Closing twice is fine."""
        ...


BackendFactory = Callable[["Processor"], Backend]


@runtime_checkable
class SimulatedDevice(Protocol):
    """A backend that says whether its device is real."""

    simulated: bool
    """True: the times and energies that its kernels report are a model's, and in real time a run is made to last as
    long as they say."""


@runtime_checkable
class NamedDriver(Protocol):
    """A backend that says what its device and driver are, for the fingerprint of a profile."""

    driver: str


@runtime_checkable
class Lacking(Protocol):
    """A backend that is here, and lacks what some operators need."""

    @property
    def lacks(self) -> tuple[MissingExtraError, ...]:
        """What has to be installed for them."""
        ...


@runtime_checkable
class Holding(Protocol):
    """A backend that can keep its device awake. Both are called from one thread, in turn, beside running kernels."""

    def hold(self) -> None:
        """Keep the device awake although it has nothing to do, also past its idle timeout."""
        ...

    def release(self) -> None:
        """Let it sleep again when it has nothing to do."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessEnds:
    """What became of the worker processes of a backend so far."""

    count: int = 0
    """How often one ended without having been told to."""
    last: str = ""
    """How, the last time, and at which stages; empty: none did."""


@runtime_checkable
class EndingProcesses(Protocol):
    """A backend whose kernels compute in processes that may end, and are started again."""

    @property
    def process_ends(self) -> ProcessEnds:
        """What became of them so far. From any thread; waits for nothing."""
        ...


def ends_of(backend: Backend) -> ProcessEnds:
    """What the backend says of its worker processes."""
    return backend.process_ends if isinstance(backend, EndingProcesses) else ProcessEnds()


def is_simulated(backend: Backend) -> bool:
    """Whether the backend says that its device is not real."""
    return isinstance(backend, SimulatedDevice) and bool(backend.simulated)


def driver_of(backend: Backend) -> str:
    """The device and driver that the backend names; "" where it names none."""
    return str(backend.driver) if isinstance(backend, NamedDriver) else ""


def lacks_of(backend: Backend) -> tuple[MissingExtraError, ...]:
    """What the backend says it lacks."""
    return tuple(backend.lacks) if isinstance(backend, Lacking) else ()
