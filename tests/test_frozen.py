"""The quick constructor of frozen dataclasses: what it makes is what the class makes."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

import pytest

from leo_runtime.dispatch.events import RunReport, StageEnded
from leo_runtime.frame.records import (
    FrameResult,
    GraphResult,
    SpanObservation,
    StageObservation,
    TransferObservation,
    WakeObservation,
)
from leo_runtime.frozen import dataclass as quick
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


# Dataclasses made quickly: each is the one that Python makes.


class Plain:
    """A point."""

    a: int
    b: str = "b"
    c: Mapping[str, int] = field(default_factory=dict)
    d: int = field(default=4, compare=False)
    e: object = field(default=None, repr=False)

    def twice(self) -> int:
        """Something of its own."""
        return 2 * self.a


class Checked:
    """One that looks at what it is made of."""

    a: int
    b: int = 1

    def __post_init__(self) -> None:
        if self.a < 0:
            raise ValueError(f"{self.a} is below 0")


class One:
    """A field."""

    a: object


class Bare:
    a: int
    b: int = 2


class Nothing:
    """No fields."""


class Unlike:
    """What Python makes."""

    a: int
    known: ClassVar[int] = 3

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


HOWS: tuple[dict[str, Any], ...] = ({"frozen": True}, {"frozen": True, "eq": False}, {})
KINDS = (Plain, Checked, One, Bare, Nothing, Unlike)


def both(kind: type, how: dict[str, Any]) -> tuple[Any, Any]:
    """The class as it is made here, and as Python makes it."""
    namespace = {name: part for name, part in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    mine, pythons = (type(kind.__name__, (), dict(namespace)) for _ in range(2))
    return quick(slots=True, **how)(mine), dataclass(slots=True, **how)(pythons)


def what_comes(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    """What it gives, or raises, as text."""
    try:
        return repr(call(*arguments, **named))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def what_is_done(one: Any, other: Any) -> list[object]:
    """What can be done with two that are made alike, and what comes of it."""
    return [
        (one == other, one == one, one != other, one == 3),
        *(what_comes(act, one) for act in (asdict, copy.copy, copy.deepcopy)),
        what_comes(replace, one, a=7),
        what_comes(setattr, one, "a", 5),
        what_comes(delattr, one, "a"),
    ]


@pytest.mark.parametrize("how", HOWS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_quick_dataclass_is_one(kind: type, how: dict[str, Any]) -> None:
    mine, pythons = both(kind, how)
    assert repr(fields(mine)) == repr(fields(pythons))
    assert repr(mine.__dataclass_params__) == repr(pythons.__dataclass_params__)
    for name in ("__doc__", "__match_args__", "__slots__", "__qualname__", "__module__"):
        assert getattr(mine, name) == getattr(pythons, name)
    assert str(inspect.signature(mine)) == str(inspect.signature(pythons))
    assert set(dir(mine)) ^ set(dir(pythons)) <= {"__annotations__"}  # Empty, where it is.
    assert mine.__init__.__annotations__ == pythons.__init__.__annotations__
    calls: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
        ((), {}),
        ((1,), {}),
        ((1,), {"b": 2}),
        ((1, 2, {}, 5, 6), {}),
        ((-1,), {}),
        ((1,), {"z": 1}),
        ((float("nan"),), {}),
    )
    for arguments, named in calls:
        assert what_comes(mine, *arguments, **named) == what_comes(pythons, *arguments, **named)
        if "Error" in what_comes(mine, *arguments, **named):
            continue
        one, other, usual_one, usual_other = (k(*arguments, **named) for k in (mine, mine, pythons, pythons))
        if how.get("eq", True) or kind is Unlike:
            assert what_comes(hash, one) == what_comes(hash, usual_one)
        assert one != usual_one or kind is Unlike
        if kind is not Nothing:
            assert what_is_done(one, other) == what_is_done(usual_one, usual_other)


def test_quick_dataclasses_that_differ_are_unequal() -> None:
    mine, _ = both(Plain, {"frozen": True})
    assert mine(1, d=5) == mine(1, d=6) and hash(mine(1, c=(), d=5)) == hash(mine(1, c=(), d=6))
    assert mine(1) != mine(2) and mine(1).c is not mine(1).c
    mine, _ = both(One, {"frozen": True})
    whole = mine([])
    whole.a.append(whole)
    assert repr(whole) == "One(a=[...])"


def test_what_is_not_plain_is_made_by_python() -> None:
    @quick(frozen=True, slots=True)
    class Parent:
        """One that has a child."""

        a: int

    @quick(frozen=True, slots=True)
    class Child(Parent):
        b: int = 2

    @quick(frozen=True, slots=True)
    class Named:
        """One whose second field is named."""

        a: int
        b: int = field(default=1, kw_only=True)

    @quick(frozen=True)
    class WithoutSlots:
        a: int

    assert repr(Child(1)).endswith("Child(a=1, b=2)") and Child(1) == Child(1, 2) != Parent(1)
    with pytest.raises(TypeError):
        Named(1, 2)  # type: ignore[call-arg]
    assert vars(WithoutSlots(1)) == {"a": 1}
    assert maker(Parent)(3) == Parent(3)


def test_quick_dataclasses_are_stored() -> None:
    for made in (WakeObservation(1, "cpu", 2), RunReport(opened=False), StageEnded(1, 2, "a", 0)):
        assert pickle.loads(pickle.dumps(made)) == made
