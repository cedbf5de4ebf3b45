"""The quick constructor of frozen dataclasses: what it makes is what the class makes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest

from leo_runtime.frame.records import (
    FrameResult,
    GraphResult,
    SpanObservation,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.frozen import maker


@dataclass(frozen=True, slots=True)
class Made:
    a: int
    b: str = "b"
    c: Mapping[str, int] = field(default_factory=dict)
    d: int = field(default=4, compare=False)


make = maker(Made)


@pytest.mark.parametrize(
    ("arguments", "named"), [((1,), {}), ((1, "x"), {"d": 5}), ((), {"c": {"k": 1}, "a": 2}), ((1, "x", {}, 3), {})]
)
def test_it_makes_what_the_class_makes(arguments: Any, named: Any) -> None:
    made, usual = make(*arguments, **named), Made(*arguments, **named)
    assert type(made) is Made
    assert made == usual and made.d == usual.d and repr(made) == repr(usual)
    assert asdict(made) == asdict(usual) and fields(made) == fields(usual)
    assert pickle.loads(pickle.dumps(made)) == usual
    assert replace(made, a=9) == replace(usual, a=9)


def test_it_is_frozen_and_has_defaults_of_its_own() -> None:
    made = make(1)
    assert made.c is not make(1).c
    with pytest.raises(FrozenInstanceError):
        made.a = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        made.e = 2  # type: ignore[attr-defined]
    assert hash(maker(WakeObservation)(1, "cpu", 2)) == hash(WakeObservation(1, "cpu", 2))


@pytest.mark.parametrize("arguments", [(), (1, "b", {}, 4, 5)])
def test_it_wants_the_same_arguments(arguments: Any) -> None:
    with pytest.raises(TypeError):
        make(*arguments)


@pytest.mark.parametrize(
    "kind", [FrameResult, GraphResult, SpanObservation, StageObservation, TransferObservation, WakeObservation]
)
def test_records_can_be_made_with_it(kind: Any) -> None:
    values = {known.name: number for number, known in enumerate(fields(kind))}
    assert maker(kind)(**values) == kind(**values)


def test_a_class_that_does_something_as_it_is_made_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        a: int

        def __post_init__(self) -> None:
            """Would be left out."""

    @dataclass(frozen=True)
    class WithoutSlots:
        a: int

    @dataclass(frozen=True, slots=True)
    class Child(Made):
        e: int = 1

    for kind in (Checked, WithoutSlots, Child):
        with pytest.raises(TypeError, match=kind.__name__):
            maker(kind)
