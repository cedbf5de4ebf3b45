"""What every exception of the project keeps: its text, its hint, and both of them in a traceback."""

import copy
import pickle
import traceback

import pytest

from leo_runtime import errors
from leo_runtime.errors import ClosedError, DocumentError, InputError, LeoError, MissingExtraError

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, LeoError)]


def made(kind: type[LeoError]) -> LeoError:
    if kind is MissingExtraError:
        return MissingExtraError("the plot", "plot")
    return (
        kind("it is wrong", "$.name", hint="mend it") if kind is DocumentError else kind("it is wrong", hint="mend it")
    )


@pytest.mark.parametrize("kind", ALL)
def test_a_traceback_shows_the_hint_once(kind: type[LeoError]) -> None:
    error = made(kind)
    assert f"hint: {error.hint}" not in str(error)
    assert "".join(traceback.format_exception(error)).count(f"\nhint: {error.hint}\n") == 1


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
def test_a_copy_is_equal_in_all_it_says(kind: type[LeoError], again) -> None:  # type: ignore[no-untyped-def]
    error = made(kind)
    same = again(error)
    assert (type(same), str(same), same.hint) == (type(error), str(error), error.hint)
    assert vars(same) == vars(error)
    assert traceback.format_exception_only(same) == traceback.format_exception_only(error)


def test_a_hint_that_is_changed_is_told_in_place_of_the_first() -> None:
    error = InputError("it is wrong", hint="mend it")
    error.add_note("while it was tried")
    error.hint = "leave it"
    assert traceback.format_exception_only(error)[1:] == ["hint: leave it\n", "while it was tried\n"]
    error.hint = ""
    assert traceback.format_exception_only(error)[1:] == ["while it was tried\n"]


def test_without_a_hint_nothing_is_added() -> None:
    assert traceback.format_exception_only(LeoError("it is wrong")) == ["leo_runtime.errors.LeoError: it is wrong\n"]


def test_closed_is_an_input_error_of_its_own() -> None:
    assert issubclass(ClosedError, InputError)
