"""What pyproject.toml promises is what the folders hold."""

import ast
import importlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import leo_runtime
from leo_runtime.version import VERSION

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOMES = {
    "leo_runtime": ROOT / "leo_runtime",
    "leo_backends": ROOT / "backends" / "leo_backends",
    "leo_profiles": ROOT / "profiles",
}


BUILD = """
import runpy, sys
sys.modules["Cython"] = None  # what is compiled is not of interest here
sys.argv = ["setup.py", "--quiet", "egg_info", "--egg-base", sys.argv[1], "build_py", "--build-lib", sys.argv[1]]
runpy.run_path("setup.py", run_name="__main__")
"""
"""Puts every file that a wheel holds, but for what is compiled, into the folder it is told."""


def test_everything_is_shipped(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")  # As pyproject.toml needs it for a build.
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=ROOT, check=True)
    for name, home in HOMES.items():
        ours = {path.relative_to(home) for path in home.rglob("*") if is_ours(path)}
        shipped = {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*") if is_ours(path)}
        assert shipped == ours, f"{name}: a package needs an `__init__.py`, other files a line in package-data"
        assert len(ours) > 5


def is_ours(path: Path) -> bool:
    """Whether a file is one that is written by hand, or data: not made on the way, as the C of what is compiled is."""
    made = path.suffix in (".pyc", ".so") or (path.suffix == ".c" and path.with_suffix(".pxd").is_file())
    return path.is_file() and not made


def test_the_demos_extra_brings_all_that_its_workload_runs_on():
    extras = PYPROJECT["project"]["optional-dependencies"]
    (brings,) = [text for text in extras["demo"] if text.startswith("leo-runtime[")]
    named = brings.removeprefix("leo-runtime[").removesuffix("]").split(",")
    assert {"tflite", "audio", "opencl", "report"} <= set(named) <= set(extras)


def dry_run(*arguments: str) -> str:
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_demo_installs_what_it_needs_and_setup_says_each_step(tmp_path: Path) -> None:
    demo, setup = dry_run("demo", f"VENV={tmp_path}"), dry_run("setup", f"VENV={tmp_path}")
    assert "--editable '.[demo]'" in demo
    assert "oclgrind" not in demo
    extras = (
        "test,oclgrind,oracle,recordings,completion,daemon,tables-readers,mqtt,wyoming,microphone,study,search,"
        "browser,peers,lint"
    )
    assert f"'leo-runtime[{extras}]'" in setup
    assert setup.count("--editable") == 1
    assert len([line for line in setup.splitlines() if 'echo "== ' in line]) == 4
    assert "pip" in setup
    assert "--quiet" not in setup


def test_the_core_needs_three_packages():
    names = [text.split(">=")[0] for text in PYPROJECT["project"]["dependencies"]]
    assert names == ["numpy", "pydantic", "psutil"]


def test_the_version_is_said_once():
    assert leo_runtime.__version__ == VERSION == PYPROJECT["project"]["version"]


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
