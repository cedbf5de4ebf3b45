"""Runs a user's own operator that keeps state: a class of which every instance is one state."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from leo_backends.checked import checked_output, failing_in_words, require_inputs
from leo_backends.own_states import PickledState, opened
from leo_runtime.backend import News, State, Stepped
from leo_runtime.documents.binding import BoundStage
from leo_runtime.operators import StepClass


@dataclass(frozen=True, slots=True)
class _Instance:
    """A state, and what the run that left it gave: one to which nothing is new gives the same."""

    own: Any
    output: np.ndarray | None = None
    copied: bool = True
    """Whether it can be."""


class OwnKernel:
    """A stage whose operator is a class. Instances are copied before a run; where that fails, runs use them up."""

    def __init__(self, stage: BoundStage, steps: StepClass, params: dict[str, Any]) -> None:
        self._stage = stage
        self._steps = steps
        self._start_with = {name: params[name] for name in steps.start_takes or ()}
        self._step_with = {name: params[name] for name in steps.step_takes}

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        """A run of a new instance."""
        return self.step(inputs, self.start(), News(None, 0)).output

    def start(self) -> State:
        """A new instance. Raises `KernelError`."""
        kind: Any = self._steps.kind
        with failing_in_words(self._stage, getattr(kind, "start", kind.__init__)):
            instance = kind()
            if self._steps.start_takes is not None:
                instance.start(*self._stage.input_shapes, **self._start_with)
        return _Instance(instance)

    def step(self, inputs: Sequence[np.ndarray], state: State, news: News, /) -> Stepped:
        """Compute the stage. Raises `KernelError`."""
        require_inputs(self._stage, inputs)
        if isinstance(state, PickledState):  # It comes from another process.
            with failing_in_words(self._stage, self._steps.kind):
                state = opened(state, self._steps.kind)
        assert isinstance(state, _Instance)
        if news.fresh == 0 and not news.missed and state.output is not None:
            return Stepped(state.output, state, spent=not state.copied)
        own, spent = _copied(state.own)
        with failing_in_words(self._stage, self._steps.kind.step):  # type: ignore[attr-defined]  # it has one
            if news.missed and news.fresh is not None and self._steps.resets:
                own.reset(news)
            given = own.step(*inputs, **self._step_with, **({"news": news} if self._steps.wants_news else {}))
            output = checked_output(self._stage, given)
        return Stepped(output, _Instance(own, output.copy(), not spent), spent=spent)


def _copied(own: Any) -> tuple[Any, bool]:
    """An instance of its own, and whether it is the same that was given, as it cannot be copied."""
    try:
        return deepcopy(own), False
    except Exception:  # It may hold anything: a file, a lock, a device.
        return own, True
