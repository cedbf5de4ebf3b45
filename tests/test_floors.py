"""Imports go down or stay on their floor, never up."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (
    ("errors", "progress"),
    ("documents", "values", "appending"),
    ("problem", "hardware", "operators", "graph", "profiles", "traces", "wav", "backend"),
    ("conditions", "lower", "cut", "batch", "judge", "ledger", "observations"),
    ("solver",),
    (
        "clock",
        "energy",
        "plan",
        "planner",
        "events",
        "dispatch",
        "computing",
        "answers",
        "arguments",
        "serving",
        "drift",
        "turns",
        "driver",
        "simulator",
        "executor",
        "options",
        "results",
        "runtime",
        "registry",
        "guard",
    ),
    (
        "contract",
        "calibrate",
        "measure",
        "replay",
        "replay_log",
        "replay_text",
        "compare",
        "kept_profile",
        "reserve",
        "report",
        "plots",
        "shipped",
        "summary",
        "computed_once",
        "viewer",
        "testing",
        "bench_audio",
        "tune",
        "demo",
    ),
    ("cli", "command", "__main__", "__init__"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it goes"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room(module: str) -> str:
    """The file or folder directly in leo_runtime that a module is part of."""
    return module.split(".")[1]


@pytest.mark.parametrize("path", sorted((ROOT / "leo_runtime").rglob("*.py")), ids=lambda p: p.stem)
def test_no_import_goes_up(path: Path) -> None:
    here = path.relative_to(ROOT / "leo_runtime").parts[0].removesuffix(".py")
    assert here in FLOOR, f"{here} is on no floor: say in this test where it belongs"
    for module in imported(path):
        assert not module.startswith("leo_backends"), f"{path.name} imports a backend: they are found by entry point"
        if module.startswith("leo_runtime.") and room(module) in FLOOR:
            assert FLOOR[room(module)] <= FLOOR[here], f"{path.name} imports {module}, which is above it"


@pytest.mark.parametrize("path", sorted((ROOT / "backends").rglob("*.py")), ids=lambda p: p.stem)
def test_backends_know_the_words_alone(path: Path) -> None:
    for module in imported(path):
        if module.startswith("leo_runtime.") and room(module) in FLOOR:
            assert FLOOR[room(module)] <= FLOOR["backend"], f"{path.name} imports {module}"
