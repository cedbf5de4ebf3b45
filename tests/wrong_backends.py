"""Backends of `test_runtime` whose kernel of `scores` goes wrong on anything that is not zero, as a warm-up is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from leo_runtime.documents.binding import BoundStage
from test_runtime import FakeBackend


def raising(error: BaseException) -> Callable[[], Any]:
    def give() -> Any:
        raise error

    return give


class WrongScores(FakeBackend):
    """Gives something else, or raises, once."""

    def __init__(self, give: Callable[[], Any]) -> None:
        super().__init__()
        self.give: Callable[[], Any] | None = give

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        kernel = super().load(stage, variant)

        def run(inputs: Sequence[np.ndarray]) -> Any:
            if stage.name != "scores" or not inputs[0].any() or self.give is None:
                return kernel(inputs)
            give, self.give = self.give, None
            return give()

        return run


class Unloadable(FakeBackend):
    """Raises as it is loaded."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        if stage.name == "scores":
            raise self.error
        return super().load(stage, variant)


class Hanging(FakeBackend):
    """Hangs so many times, until it is let go."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.times = times
        self.hung = threading.Event()
        self.let_go = threading.Event()
        self.ended = threading.Event()
        self.loads = 0

    def load(self, stage: BoundStage, variant: str, /) -> Any:
        kernel = super().load(stage, variant)
        if stage.name != "scores":
            return kernel
        self.loads += 1
        return self.hanging(kernel)

    def hanging(self, kernel: Any) -> Any:
        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            if inputs[0].any() and self.times:
                self.times -= 1
                self.hang()
            return np.asarray(kernel(inputs))

        return run

    def hang(self) -> None:
        self.hung.set()
        self.let_go.wait()
        self.ended.set()
