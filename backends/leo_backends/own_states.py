"""A state that is an instance of a user's own class, closed so that another process of the same program can open it.

The class itself goes by no name: where it was defined an operator has that.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

from leo_runtime.errors import KernelError, words


@dataclass(frozen=True, slots=True)
class PickledState:
    """A state, closed."""

    pickled: bytes


def closed(state: Any, kind: type | None, stage: str) -> PickledState:
    """The state of a stage whose class is `kind`. Raises `KernelError`."""
    file = io.BytesIO()
    try:
        _Pickler(file, kind).dump(state)
    except Exception as error:  # What users' classes raise may be anything.
        raise KernelError(
            f"the state of stage `{stage}` cannot be pickled for another process ({words(error)})",
            hint="give its class `__getstate__`, or leave `own` out of the processor's option `isolate`",
        ) from None
    return PickledState(file.getvalue())


def opened(state: PickledState, kind: type | None) -> Any:
    """The state again. Raises what the class raises."""
    return _Unpickler(io.BytesIO(state.pickled), kind).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, kind: type | None) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._kind = kind

    def persistent_id(self, obj: Any) -> str | None:
        return "the class" if obj is self._kind and obj is not None else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, kind: type | None) -> None:
        super().__init__(file)
        self._kind = kind

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002 - there is one
        return self._kind
