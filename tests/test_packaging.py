"""What pyproject.toml promises is what the folders hold."""

import ast
import importlib
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import leo_runtime

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOMES = {"leo_runtime": ROOT / "leo_runtime", "leo_backends": ROOT / "backends" / "leo_backends"}


def test_every_package_is_shipped():
    found = {"leo_profiles"}
    for name, folder in HOMES.items():
        for init in folder.rglob("__init__.py"):
            found.add(".".join([name, *init.parent.relative_to(folder).parts]))
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found


def test_the_core_needs_three_packages():
    names = [text.split(">=")[0] for text in PYPROJECT["project"]["dependencies"]]
    assert names == ["numpy", "pydantic", "psutil"]


def test_the_version_is_said_once():
    assert leo_runtime.__version__ == PYPROJECT["project"]["version"]


@pytest.mark.parametrize("name", leo_runtime.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(leo_runtime, name).__doc__


def test_the_names_for_type_checkers_are_the_names_at_run_time():
    tree = ast.parse((ROOT / "leo_runtime" / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "importlib"]
    typed = {alias.name: node.module for node in imports for alias in node.names if node.module != "typing"}
    assert sorted(typed) == leo_runtime.__all__
    for name, module in typed.items():
        assert getattr(leo_runtime, name) is getattr(importlib.import_module(module), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="magic"):
        _ = leo_runtime.magic


@pytest.mark.skipif(shutil.which("bash") is None, reason="`.ci/run` is a bash script")
def test_a_full_check_without_its_tools_does_not_pass(tmp_path: Path) -> None:
    for tool in ("bash", "id", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run")], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "could not install " in done.stderr
    assert "== every extra" not in done.stdout
