"""What importing `Runtime` leaves for later: it takes little more than numpy and pydantic do."""

import json
import subprocess
import sys
from threading import Barrier, Thread

import pytest

from leo_runtime.schema import BUILT_WHEN_USED, Positive, Value, field_docs

NOT_YET = (
    "email",
    "importlib.metadata",
    "leo_runtime.judge",
    "leo_runtime.recordings",
    "leo_runtime.replay",
    "leo_runtime.solver.exact",
    "leo_runtime.solver.window_exact",
    "psutil",
    "tomllib",
)
"""Modules that the runtime imports when it first needs them, if it does."""

LOOK = """
import json, sys
import leo_runtime
leo_runtime.Runtime
from leo_runtime.schema import Value

def kinds(kind):
    for one in kind.__subclasses__():
        yield one
        yield from kinds(one)

built = [one.__name__ for one in kinds(Value) if one.__pydantic_complete__]
print(json.dumps({"modules": list(sys.modules), "built": built}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    said = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True).stdout
    found: dict[str, list[str]] = json.loads(said)
    return found


def test_what_is_not_needed_yet_is_not_imported(imported: dict[str, list[str]]) -> None:
    assert [name for name in NOT_YET if name in imported["modules"]] == []


@pytest.mark.skipif(not BUILT_WHEN_USED, reason="needs pydantic 2.14")
def test_no_model_is_built_as_it_is_imported(imported: dict[str, list[str]]) -> None:
    assert imported["built"] == []


def test_a_model_may_be_used_first_by_several_threads_at_once() -> None:
    for _ in range(20):

        class Part(Value):
            number: Positive

        class Whole(Value):
            parts: tuple[Part, ...]

        start, made = Barrier(4), list[object]()

        def make(start: Barrier = start, made: list[object] = made, whole: type[Whole] = Whole) -> None:
            start.wait()
            made.append(whole.model_validate_json('{"parts": [{"number": 3}]}'))

        threads = [Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [Whole(parts=(Part(number=3),))] * 4


class Documented(Value):
    """A part with words for its fields."""

    one: int
    """The first,
    in two lines."""
    two: int
    three: int = 3
    """The third."""


class Further(Documented):
    """One that has another field, and says nothing of one it has anew."""

    three: int = 4
    four: int = 4
    """The fourth."""


def test_a_schema_says_what_the_docstrings_of_fields_do() -> None:
    assert field_docs(Documented) == {"one": "The first,\nin two lines.", "three": "The third."}
    assert field_docs(Further) == {"one": "The first,\nin two lines.", "four": "The fourth."}
    for kind in (Documented, Further):
        properties = kind.model_json_schema()["properties"].items()
        assert {name: one["description"] for name, one in properties if "description" in one} == field_docs(kind)


def test_a_model_without_a_source_has_no_words() -> None:
    made = type("Made", (Documented,), {"__annotations__": {"five": int}, "__module__": __name__})
    assert field_docs(made) == field_docs(Documented)
