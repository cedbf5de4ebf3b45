"""Imports go down or stay in their room, never up, and never in a circle."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.once
ROOT = Path(__file__).parent.parent
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "terminal", "clock"),
    ("schema", "values", "back_off", "frozen", "progress", "appending", "version", "event_windows"),
    ("layers",),
    ("importers",),
    ("compress",),
    ("operators",),
    ("documents.problem", "documents.hardware"),
    ("documents",),
    ("backend", "recordings", "judge"),
    ("frame",),
    ("solver.search",),
    ("solver",),
    ("dispatch",),
    ("runtime",),
    ("testing", "measure", "demo"),
    ("replay", "shipped"),
    ("study",),
    ("report", "daemon", "serving"),
    ("leo_runtime", "problem", "hardware", "graph"),
    ("command",),
    ("cli",),
    ("__main__",),
)
"""Rooms by dotted prefix, the ground first; the longest prefix counts. Rooms of one floor do not know each other."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
BACKENDS_KNOW = (
    "errors",
    "schema",
    "values",
    "back_off",
    "clock",
    "layers",
    "importers",
    "operators",
    "documents",
    "backend",
)
"""All that a backend may import: the words that it shares with the runtime, and the readers of models that it runs."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; the package itself is `leo_runtime`."""
    paths = {}
    for path in sorted((ROOT / "leo_runtime").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


MODULES = modules()


def public_names(source: str) -> dict[str, str]:
    """The module that each name of `leo_runtime` comes from: what `_HOMES` in its source says."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            homes = ast.literal_eval(node.value)
            return {name: f"leo_runtime.{home}" for home, names in homes.items() for name in names}
    raise AssertionError("leo_runtime/__init__.py has no `_HOMES`")


PUBLIC = public_names(MODULES["leo_runtime"].read_text())


@cache
def imported(source: str) -> tuple[str, ...]:
    """The modules that a file imports, also inside functions; of a name, the module it is from."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it goes"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if node.module == "leo_runtime" and alias.name in PUBLIC:
                    found.append(PUBLIC[alias.name])
                else:
                    found.append(name if name in MODULES else str(node.module))
    return tuple(found)


def named(source: str) -> Iterator[str]:
    """The modules that a file names in a text, as it does for `import_module`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0].rstrip(".")
            if name in MODULES or name.split(".")[0] == "leo_backends":
                yield name


def room(module: str) -> str:
    """The longest prefix in the table."""
    parts = module.split(".")[1:] or ["leo_runtime"]
    for length in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:length])) in FLOOR:
            return prefix
    raise AssertionError(f"{module} is in no room: say in this test where it belongs")


def wrong_imports(module: str, source: str) -> list[str]:
    """What a file imports and may not."""
    here, wrong = room(module), []
    for other in (*imported(source), *named(source)):
        if other.split(".")[0] == "leo_backends":
            wrong.append(f"{module} imports {other}: backends are found by entry point")
        if other.split(".")[0] != "leo_runtime" or other == module:
            continue
        there = room(other)
        if there != here and FLOOR[there] >= FLOOR[here]:
            wrong.append(f"{module} imports {other}, which is not below it")
    return wrong


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """The names that import each other, in order; empty where there are none."""
    left = dict(arrows)
    while left:
        ends = [name for name, others in left.items() if not others & left.keys()]
        if not ends:
            path = [next(iter(left))]
            while path[-1] not in path[:-1]:
                path.append(min(left[path[-1]] & left.keys()))
            return path[path.index(path[-1]) :]
        for name in ends:
            del left[name]
    return []


@pytest.mark.parametrize("module", [name for name in MODULES if name != "leo_runtime"])
def test_no_import_goes_up(module: str) -> None:
    assert wrong_imports(module, MODULES[module].read_text()) == []


def test_no_modules_import_each_other() -> None:
    arrows = {
        name: {other for other in imported(path.read_text()) if other in MODULES and other != name}
        for name, path in MODULES.items()
        if name != "leo_runtime"
    }
    assert circle(arrows) == []


def test_rooms_are_few_and_know_few() -> None:
    """Some thirty rooms with less than a hundred and forty-five arrows between them; the ground is one room."""
    ground = {name for names in FLOORS[:2] for name in names}

    def folder(module: str) -> str:
        return "ground" if room(module) in ground else room(module).removesuffix(".problem").removesuffix(".hardware")

    arrows = {
        (folder(name), folder(other))
        for name, path in MODULES.items()
        for other in imported(path.read_text())
        if name != "leo_runtime" and other in MODULES and folder(other) != folder(name)
    }
    assert len(arrows) < 145, sorted(arrows)
    assert len({folder(name) for name in MODULES}) < 32


@pytest.mark.parametrize("path", sorted((ROOT / "backends").rglob("*.py")), ids=lambda path: path.stem)
def test_backends_know_the_words_alone(path: Path) -> None:
    for other in imported(path.read_text()):
        if other.split(".")[0] == "leo_runtime":
            assert room(other).split(".")[0] in BACKENDS_KNOW, f"{path.name} imports {other}"


@pytest.mark.parametrize(
    "line",
    [
        "from leo_runtime import Runtime",
        "import leo_runtime",
        "import leo_runtime.runtime.runtime",
        "from leo_runtime.schema import Value",
        "def late():\n    from leo_runtime.solver import solve",
        "from leo_backends.cpu import CpuBackend",
        'import_module("leo_runtime.runtime.runtime")',
        'import_module(f"leo_runtime.command.{name}")',
        'SOLVER = "leo_runtime.solver.exact:solve"',
        'importlib.import_module("leo_backends.cpu")',
    ],
)
def test_an_import_that_goes_up_is_seen(line: str) -> None:
    assert wrong_imports("leo_runtime.errors", line)


def test_a_room_beside_is_not_below() -> None:
    assert wrong_imports("leo_runtime.judge", "from leo_runtime.recordings.recording import Recording")


def test_the_order_inside_a_folder_is_held() -> None:
    assert wrong_imports("leo_runtime.solver.search.kernel", "from leo_runtime.solver.exact import exact")


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert circle({"a": {"b"}, "b": set()}) == []


def test_every_room_of_the_table_is_there() -> None:
    assert {room(name) for name in MODULES} == FLOOR.keys()
