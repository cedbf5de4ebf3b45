"""When an answer is to be acted on: found often enough among the last ones, and not again too soon. Pure: no clock."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Self

from pydantic import Field, model_validator

from leo_runtime.schema import Finite, Name, Value, reject

MAX_OF = 10_000


class DecisionConfig(Value):
    """When answers of a graph fire. A graph without one fires whenever it finds a label."""

    graph: Name
    label: Name | None = None
    """What has to be found. None: any label but the background."""
    threshold: Finite | None = None
    """What the score has to be at least. None: what the workload's own decision says."""
    after: Annotated[int, Field(ge=1, le=MAX_OF)] = 1
    """It fires where it was found in at least so many ..."""
    of: Annotated[int, Field(ge=1, le=MAX_OF)] | None = None
    """... of the last so many answers. None: in `after` in a row."""
    hold_off_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """For so long after it has fired it does not fire again, by the releases of its answers."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.of is not None and self.after > self.of:
            reject(f"{self.after} of {self.of} answers are never found", "$.after", self.after)
        return self


class Decision:
    """Whether each answer of one graph fires. For one thread."""

    def __init__(self, config: DecisionConfig) -> None:
        self._after = config.after
        self._last: deque[bool] = deque(maxlen=config.after if config.of is None else config.of)
        self._hold_off_us = round(config.hold_off_s * 1e6)
        self._held_until_us: int | None = None

    def fires(self, found: bool, release_us: int) -> bool:
        """Take the next answer: whether it found what is looked for, and its release; whether it fires.

        What fires begins anew: the answers before it do not count for the next time.
        """
        self._last.append(found)
        if not found or sum(self._last) < self._after:
            return False
        if self._held_until_us is not None and release_us < self._held_until_us:
            return False
        self._held_until_us = release_us + self._hold_off_us
        self._last.clear()
        return True
