"""The names that `leo_runtime` itself exports: each is told to type checkers, and each is imported when it is used."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import leo_runtime


def told_to_type_checkers() -> dict[str, str]:
    """The module of each name in the `TYPE_CHECKING` block."""
    tree = ast.parse(Path(leo_runtime.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found: dict[str, str] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom), "one import a line"
        (alias,) = node.names
        assert alias.name == alias.asname, f"{alias.name} is exported under its own name"
        found[alias.name] = str(node.module)
    return found


def test_both_lists_of_public_names_are_equal() -> None:
    homes = {name: f"leo_runtime.{module}" for module, names in leo_runtime._HOMES.items() for name in names}
    assert homes == told_to_type_checkers()
    assert sorted(homes) == leo_runtime.__all__


@pytest.mark.parametrize("name", leo_runtime.__all__)
def test_every_public_name_is_what_it_says(name: str) -> None:
    value = getattr(leo_runtime, name)
    assert callable(value), f"{name} is a module: another file has its name"
    assert value.__name__ == name


def test_no_module_has_a_public_name() -> None:
    """Importing such a module would put it in the place of the name."""
    folder = Path(leo_runtime.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules.isdisjoint(leo_runtime.__all__)


def test_the_ones_a_reader_of_answers_needs_are_there() -> None:
    assert {"Ledger", "check", "explain", "run_ledger", "solve"} <= set(leo_runtime.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module `leo_runtime` has no name `placement`"):
        _ = leo_runtime.placement  # type: ignore[attr-defined]


def test_importing_the_package_imports_none_of_them() -> None:
    script = "import sys, leo_runtime; print([name for name in sys.modules if name.startswith('leo_runtime.')])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_every_module_that_messages_point_at_is_there_without_an_import_of_its_own() -> None:
    folder = Path(leo_runtime.__file__).parent
    written = "".join(path.read_text() for path in sorted(folder.rglob("*.py")))
    hints = "".join(line for line in written.splitlines() if "hint=" in line)
    named = sorted({*re.findall(r"`leo_runtime\.([A-Za-z_.]+)", hints), *leo_runtime._MODULES})
    assert {"shipped", "backend.Backend", "clock.Clock", "check"} <= set(named)
    script = f"import leo_runtime\nfor name in {named}: eval('leo_runtime.' + name)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("backend", ("Backend", "DeviceRun", "Kernel", "TimedKernel")),
        ("cli", ("main",)),
        ("errors", ("InputError", "KernelError", "LeoError")),
        ("graph", ("BoundStage", "Decision", "Variant", "Workload")),
        ("hardware", ("Hardware", "Processor")),
        ("operators", ("operator",)),
        ("problem", ("Mode", "Placement", "Problem")),
        ("runtime", ("Runtime",)),
        ("solver", ("SOLVERS", "solve")),
        ("testing", ("BackendContract", "FakeBackend", "random_problem")),
    ],
)
def test_what_packages_of_others_import_stays_where_it_is(module: str, names: tuple[str, ...]) -> None:
    found = importlib.import_module(f"leo_runtime.{module}")
    assert [name for name in names if not hasattr(found, name)] == []
