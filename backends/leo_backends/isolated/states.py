"""States as they cross between the runtime and the process of isolated stages, either way."""

from __future__ import annotations

from typing import Any

import numpy as np

from leo_backends.own_states import PickledState, closed
from leo_runtime.documents.binding import BoundStage


def sendable(state: Any, stage: BoundStage) -> Any:
    """Arrays, and what is closed already, as they are; anything else closed. Raises `KernelError`."""
    if isinstance(state, PickledState):
        return state
    if isinstance(state, tuple) and all(type(array) is np.ndarray and not array.dtype.hasobject for array in state):
        return state
    steps = stage.operator.step_class
    return closed(state, None if steps is None else steps.kind, stage.name)
