"""What importing `Runtime` leaves for later, so that it takes about what numpy does; no first frame waits for it."""

import json
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest

from leo_runtime.schema import BUILT_WHEN_USED, Positive, Value, field_docs

ROOT = Path(__file__).parent.parent

NOT_YET = (
    "email",
    "importlib.metadata",
    "leo_runtime.dispatch.dispatcher",
    "leo_runtime.documents",
    "leo_runtime.judge",
    "leo_runtime.operators",
    "leo_runtime.recordings",
    "leo_runtime.replay",
    "leo_runtime.runtime.deployment",
    "leo_runtime.runtime.feed",
    "leo_runtime.schema",
    "leo_runtime.solver",
    "psutil",
    "pydantic",
    "tomllib",
)
"""Modules that the runtime imports when it first needs them, if it does."""

NOT_FOR_IT = ("asyncio", "concurrent.futures", "leo_backends.tflite", "leo_runtime.importers", "multiprocessing")
"""Modules that operators by numpy never need."""

LOOK = """
import json, sys
import leo_runtime
leo_runtime.Runtime
modules = list(sys.modules)
leo_runtime.Workload, leo_runtime.Hardware, leo_runtime.Profile, leo_runtime.WindowProblem
from leo_runtime.schema import Value

def kinds(kind):
    for one in kind.__subclasses__():
        yield one
        yield from kinds(one)

built = [one.__name__ for one in kinds(Value) if one.__pydantic_complete__]
print(json.dumps({"modules": modules, "built": built}))
"""

FIRST_FRAME = """
import json, sys
import numpy as np
from leo_runtime import Runtime, Workload, shipped

workload = Workload.from_file("docs/examples/listening.toml")
make = getattr(Runtime, sys.argv[1])
with make(workload, shipped.hardware("arm-board"), shipped.profile("arm-board")) as runtime:
    names = [graph.name for graph in workload.graphs]
    windows = {
        source.stage: np.zeros(source.shape, np.int16 if source.kind == "audio" else np.float32)
        for source in runtime.sources(names)
    }
    made = set(sys.modules)
    runtime.submit(0, windows, graphs=names)
    runtime.drain()
    late = [name for name in sorted(set(sys.modules) - made) if name.startswith("leo_")]
    print(json.dumps({"made": list(made), "late": late}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    said = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True).stdout
    found: dict[str, list[str]] = json.loads(said)
    return found


def test_what_is_not_needed_yet_is_not_imported(imported: dict[str, list[str]]) -> None:
    assert [name for name in NOT_YET if name in imported["modules"]] == []


@pytest.mark.parametrize("how", ["simulated", "live"])
def test_a_first_frame_waits_for_no_import_of_ours(how: str) -> None:
    command = [sys.executable, "-c", FIRST_FRAME, how]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    assert found["late"] == []
    assert [name for name in NOT_FOR_IT if name in found["made"]] == []


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
