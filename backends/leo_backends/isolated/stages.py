"""A backend's process of isolated stages, as the runtime sees it: started, ended, started again.

The next one is started at once, in the background, and loads what was loaded; in real time it is a spare one, which has
been started before. What becomes of runs that the process ended under through another's fault (`isolated.life`), and of
those that come meanwhile, is the kernel's: whether it waits. A stage that ends its process twice in a row rests, and
its runs fail for so long; a process that ends three times without a good run in between rests, too, and then its
processor is lost until it is tried again, unless the process is for one operator alone. `BackOff` says for how long.

**Locks.** `_lock` is held for moments, or while a process dies; `_starting` as one starts: who is not to wait for that
does not take it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from leo_backends.isolated.back_off import BackOff
from leo_backends.isolated.life import Life
from leo_backends.isolated.memory import nameless_file
from leo_backends.isolated.messages import Open
from leo_backends.isolated.spare import Spare
from leo_backends.process import Worker, WorkerEndedError
from leo_backends.worker_output import PassedOnOutput
from leo_runtime.backend import ProcessEnds
from leo_runtime.errors import BackendError, DeviceUnavailableError, KernelError

if TYPE_CHECKING:
    from leo_backends.isolated.channel import Channel
    from leo_backends.isolated.kernel import IsolatedKernel

FREE_ENDS_OF_STAGE, FREE_ENDS_OF_PROCESS = 1, 2
MODULE = "leo_backends.isolated.worker"

_DYING_S = 1.0
"""How long a process may take to end that has closed its output."""
_SPARE_ANSWERS_S = 10.0
"""So long a spare process may take to answer before another one is started: on a machine that is busy it may still be
starting, and is there sooner than another."""

Key = tuple[str, str, str]
"""A stage's name, variant and signature: two graphs may have stages of one name."""


class IsolatedStages:
    """The process that runs stages of one processor. From any thread."""

    def __init__(
        self,
        processor: str,
        *,
        operator: str = "",
        threads: int = 1,
        timeout_s: float = 30.0,
        load_timeout_s: float = 120.0,
        has_spare: bool = True,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is started yet. `threads` share the rows of a stage; the limits are for a run, and for loading.

        It `has_spare` processes where somebody cannot wait (`want_spare`).

        Where it is for one `operator` alone, the processor is there without it: what would be `DeviceUnavailableError`
        is `KernelError`.
        """
        self.timeout_s = timeout_s
        self.load_timeout_s = load_timeout_s
        whose = f"operator `{operator}`" if operator else "isolated stages"
        self._name = f"the process of {whose} of processor `{processor}`"
        self._not_there: type[BackendError] = KernelError if operator else DeviceUnavailableError
        self._open = Open(processor, threads)
        self._now_s = now_s
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._life: Life | None = None
        self._has_spare = has_spare
        name = self._name
        noticed = weakref.WeakMethod(self._notice)  # A thread is not to keep what is forgotten.

        def new_worker() -> Worker:
            return Worker(name, MODULE, output=lambda: PassedOnOutput(lambda: (it := noticed()) and it()))

        self._new_worker = new_worker
        self._spare = Spare(new_worker)
        self._ends = BackOff(FREE_ENDS_OF_PROCESS)
        self._ends_of: dict[Key, BackOff] = {}
        """Of stages that ended the process and have not run well since."""
        self._kernels: weakref.WeakSet[IsolatedKernel] = weakref.WeakSet()
        self.process_ends = ProcessEnds()
        """How often it has ended, by itself or since it had to be."""
        self.ended_s = 0.0
        """When it did so last."""
        self._closing = threading.Event()
        self._wanted = False
        """Whether what was loaded is to be loaded again."""
        self.loads_again = False
        """Whether a thread does that now."""
        self._wants_spare = False

    @property
    def pid(self) -> int | None:
        """The process; None where there is none alive."""
        life = self._life
        return life.worker.pid if life is not None and life.alive else None

    def add(self, kernel: IsolatedKernel) -> None:
        """It is loaded again in every process to come, as long as somebody has it."""
        with self._lock:
            self._kernels.add(kernel)

    def want_spare(self) -> None:
        """From now on there is to be a process that can be the next one at once."""
        if self._has_spare and not self._wants_spare:
            self._wants_spare = self._spare.wanted = True
            self._load_all_again()

    def life(self, key: Key, *, waits: bool = True) -> Life:
        """A process that is there, for a stage that does not rest. Raises `DeviceUnavailableError`, `KernelError`.

        Where it has to be started that is waited for, or is seen to in the background, and is a `KernelError` for now.
        """
        if self._ends_of:
            self._require_rested(key)
        life = self._life
        if life is not None and life.alive:
            return life
        if waits:
            return self._started()
        self._require_startable()
        self._load_all_again()
        raise self.starting(key)

    def starting(self, key: Key) -> KernelError:
        """Why a stage is not run now, and does not wait."""
        return KernelError(
            f"stage `{key[0]}` was not run: {self._name} is being started again",
            hint="it takes a second or so; runs that come later work",
        )

    def went_well(self, key: Key) -> None:
        """A stage has run."""
        self._ends.ends = 0
        if self._ends_of:
            self._ends_of.pop(key, None)

    def require_no_fault(self, life: Life, channel: Channel) -> None:
        """Raise `KernelError` for who is at fault that a process ended; else the run is to be asked again."""
        with self._lock:
            if not life.how:
                self._has_ended(life)
        fault = life.fault(channel)
        if fault is not None:
            try:
                raise fault
            finally:
                del fault  # It leads to this frame, and the frame must not lead back.

    def close(self) -> None:
        """End the process, also where it is at work: who waits for that hears of it. Twice is fine."""
        self._closing.set()
        life = self._life
        if life is not None and life.at_hand:
            life.worker.kill()
        with self._starting, self._lock:
            if self._life is not None:
                self._life.worker.close()
                self._life = None
        self._spare.close()

    def _require_rested(self, key: Key) -> None:
        ends = self._ends_of.get(key)
        rest_s = 0.0 if ends is None else ends.rest_s(self._now_s())
        if ends is not None and rest_s > 0:
            raise KernelError(
                f"stage `{key[0]}` has ended its process {ends.ends} times in a row (it {ends.how}), and is not run "
                f"for {rest_s:.1f} s",
                hint="mend its operator or model; other stages go on",
            )

    def _require_startable(self) -> None:
        if self._closing.is_set():
            raise KernelError(f"{self._name} was closed")
        if (rest_s := self._ends.rest_s(self._now_s())) > 0:
            raise self._not_there(
                f"{self._name} has ended {self._ends.ends} times in a row (it {self._ends.how}), and is not "
                f"started for {rest_s:.1f} s",
                hint="mend the operators or models that end it",
            )

    def _started(self) -> Life:
        with self._starting:
            life = self._life
            if life is not None and life.alive:
                return life
            self._require_startable()
            try:
                life = self._life = self._opened()
            except (WorkerEndedError, OSError) as error:
                self._ends.ended(self._now_s(), "could not be started")
                raise self._not_there(str(error)) from None
            if self._spare.wanted:
                self._load_all_again()
            return life

    def _opened(self) -> Life:
        """A process that is there: the spare one, where that answers."""
        spare = self._spare.take()
        if spare is not None:
            with suppress(WorkerEndedError, OSError):
                return self._opened_in(spare, min(_SPARE_ANSWERS_S, self.load_timeout_s))
        return self._opened_in(self._new_worker(), self.load_timeout_s)

    def _opened_in(self, worker: Worker, timeout_s: float) -> Life:
        try:
            life = Life(worker, nameless_file())
            worker.ask(self._open, timeout_s)
            worker.send_files(life.dump_file)
        except BaseException:
            worker.close(now=True)
            raise
        return life

    def _notice(self) -> None:
        """A process has written its last: where nobody waits for it, nobody else would notice before the next run."""
        life = self._life
        if life is None or not life.worker.alive:  # It was ended from here, as where the program ends.
            return
        if not life.worker.ends_within(_DYING_S) or not self._lock.acquire(blocking=False):
            return
        try:
            if life is self._life and not self._closing.is_set() and not life.at_hand:
                self._has_ended(life)
        finally:
            self._lock.release()

    def _has_ended(self, life: Life) -> None:
        """Find out why, and start the next one, after the rest that it may need."""
        at_fault = life.find_out()
        now_s = self._now_s()
        for key in at_fault:
            self._ends_of.setdefault(key, BackOff(FREE_ENDS_OF_STAGE)).ended(now_s, life.how)
        self._ends.ended(now_s, life.how)
        self.process_ends, self.ended_s = ProcessEnds(self.process_ends.count + 1, life.told), now_s
        if self._life is life:
            self._life = None
        if not self._closing.is_set():
            self._load_all_again()

    def _load_all_again(self) -> None:
        """In the background: so that runs to come wait for less, or fail for less long."""
        with self._lock:
            self._wanted = True
            if not self.loads_again:
                thread = threading.Thread(target=self._load_again, name="leo next process", daemon=True)
                with suppress(RuntimeError):  # The system has no thread left: the next run tries again.
                    thread.start()
                    self.loads_again = True

    def _load_again(self) -> None:
        """The thread of that, until nothing has ended meanwhile; then there is time for a spare process."""
        while True:
            self._closing.wait(self._ends.rest_s(self._now_s()))
            kernels = self._kernels_to_load()
            if not kernels:
                break
            for kernel in kernels:
                if self._closing.is_set():
                    break
                with suppress(Exception):  # Its next run says so.
                    kernel.load_again()
            del kernel, kernels
        self._spare.prepare()

    def _kernels_to_load(self) -> tuple[IsolatedKernel, ...]:
        with self._lock:
            kernels = tuple(self._kernels) if self._wanted and not self._closing.is_set() else ()
            self._wanted = False
            self.loads_again = bool(kernels)
            return kernels
