"""A stage whose kernel is in another process: its arrays are in memory that both map, requests go over a socket.

A call waits where the process has to be started again, and is asked once more where that ended through no fault of its
own. After `fail_while_starting` it does neither, but fails: in real time a lane has other things to do, and the time
would count as that of the run.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeVar

import numpy as np

from leo_backends.checked import require_inputs
from leo_backends.isolated.channel import Channel, GoneError
from leo_backends.isolated.files import files_of
from leo_backends.isolated.life import Life
from leo_backends.isolated.messages import Load, Loaded, Start, Step
from leo_backends.isolated.operators import digest, findable_name
from leo_backends.isolated.stages import IsolatedStages
from leo_backends.isolated.states import sendable
from leo_runtime.backend import News, State, Stepped
from leo_runtime.documents.binding import BoundStage
from leo_runtime.errors import KernelError, LeoError, words

Answer = TypeVar("Answer")

_LOOK_S = 0.01
"""Another thread that may be waiting for the process, and has the kernel, is waited for so long."""

_NOT_SENT = ("operator", "params", "accuracy_loss_ppm")
"""What a `BoundStage` says that the other process finds by itself, or does not need."""


def load(stages: IsolatedStages, stage: BoundStage, variant: str) -> IsolatedKernel:
    """The stage made ready in that process. Raises `KernelError`, and what loading it raises there."""
    request = _load_request(stage, variant)
    kernel = IsolatedKernel(stages, stage, variant, request)
    if kernel.load_again().keeps_state:
        kernel = IsolatedStatefulKernel(stages, stage, variant, request, kernel.channel)
    stages.add(kernel)
    return kernel


class IsolatedKernel:
    """A stage in another process. When that has ended, it is loaded again in a new one."""

    def __init__(
        self,
        stages: IsolatedStages,
        stage: BoundStage,
        variant: str,
        request: bytes,
        channel: Channel | None = None,
    ) -> None:
        """`request` is a pickled `Load`; `channel` is one over which that has been answered already."""
        self.stage = stage
        self.key = (stage.name, variant, stage.signature(variant))
        self.channel = channel
        self._stages = stages
        self._request = request
        self._lock = threading.Lock()
        self._waits = True
        self._has_who_waits = False
        """Whether who has the lock may be waiting for the process."""

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """Compute the stage. Raises `KernelError`, and what computing it raises there."""
        require_inputs(self.stage, inputs)
        output: np.ndarray = self._call(lambda channel: channel.run(inputs))
        return output

    def abandon(self) -> None:
        """End the process if it is at a run of this kernel, which then fails."""
        channel = self.channel
        if channel is not None and channel.life.at_hand.get(channel):
            channel.life.end(channel, "was ended, since that run was given up")

    def fail_while_starting(self) -> None:
        """Wait for no process from now on: what would have to raises `KernelError` at once."""
        self._waits = False
        self._stages.want_spare()

    def load_again(self) -> Loaded:
        """Be loaded where that is not so already, and wait for it. Raises `KernelError`, and what it raises there."""
        return self._call(lambda channel: channel.loaded, runs=False, waits=True)

    def _call(self, ask: Callable[[Channel], Answer], *, runs: bool = True, waits: bool | None = None) -> Answer:
        """What it answers; where it waits, asked once more if its process ended through no fault of this kernel."""
        waits = self._waits if waits is None else waits
        while not self._lock.acquire(timeout=-1 if waits else _LOOK_S):
            if self._has_who_waits:
                raise self._stages.starting(self.key)
        self._has_who_waits = waits
        try:
            for _ in range(2 if waits else 1):
                life = self._stages.life(self.key, waits=waits)
                try:
                    channel = self.channel
                    if channel is None or channel.life is not life:
                        if not waits and self._stages.loads_again:
                            raise self._stages.starting(self.key)
                        channel = self._loaded_in(life)
                    answer = ask(channel)
                except GoneError as gone:
                    self.channel = None
                    self._stages.require_no_fault(life, gone.channel)
                except LeoError:
                    raise
                except BaseException:  # Its answer would be taken for that to the next request.
                    self.channel = None
                    raise
                else:
                    if runs:
                        self._stages.went_well(self.key)
                    return answer
        finally:
            self._has_who_waits = False
            self._lock.release()
        raise KernelError(
            f"stage `{self.stage.name}` failed through no fault of its own: its process {life.told}",
            hint="it is started again, and other stages go on",
        )

    def _loaded_in(self, life: Life) -> Channel:
        channel = self.channel = Channel(life, self.stage, self.key, self._stages.timeout_s)
        try:
            channel.load(self._request, self._stages.load_timeout_s)
        except BaseException:
            self.channel = None
            raise
        return channel


class IsolatedStatefulKernel(IsolatedKernel):
    """One that keeps state. An object of the user's own class crosses pickled, and is opened in that process alone."""

    def start(self) -> State:
        """The state before the first run. Raises `KernelError`, and what it raises there."""
        return self._call(lambda channel: channel.asked(Start()), runs=False)

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        """Compute the stage from there. Raises `KernelError`, and what it raises there."""
        require_inputs(self.stage, inputs)
        request = Step(sendable(state, self.stage), news)
        return self._call(lambda channel: channel.step(inputs, request))


def _load_request(stage: BoundStage, variant: str) -> bytes:
    """Raises `KernelError` for an operator that the other process cannot find, or parameters that cannot be sent."""
    name = findable_name(stage.operator)
    params = stage.params[variant]
    try:
        values = {field: getattr(params, field) for field in type(params).model_fields}
        told = pickle.dumps((values, params.model_fields_set))
    except Exception as error:  # What users' own types raise may be anything.
        raise KernelError(
            f"the parameters of stage `{stage.name}` cannot be pickled for another process ({words(error)})",
            hint=f"leave `{stage.operator.name}` out of the processor's option `isolate`",
        ) from None
    rest = {field.name: getattr(stage, field.name) for field in fields(stage) if field.name not in _NOT_SENT}
    return pickle.dumps(Load(name, digest(stage.operator), variant, told, files_of(stage, variant), rest))
