"""`LEO_TEST_SHARE` leaves out examples that are drawn, `LEO_TEST_PASSED` what has passed, and both nothing else."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DRAWING = """
import os
import pytest
from hypothesis import given, settings, strategies as st

SEEN = []

@pytest.mark.parametrize("first", [True, False])
@given(st.integers())
@settings(max_examples=50)
def test_examples(first, drawn):
    SEEN.append(first)

@pytest.mark.parametrize("seed", range(10, 18))
def test_seeds(seed):
    SEEN.append(seed)

@pytest.mark.parametrize("size", ["2", "3\\n"])
def test_sizes(size):
    assert (SEEN.count(True), SEEN.count(False)) == (13, 13)
    assert [seen for seen in SEEN if seen >= 10] == [10, 14]

@pytest.mark.once
def test_hours():
    pass

@pytest.mark.parametrize("extra", ["a", "b"][: int(os.environ["EXTRAS"])])
def test_extras(extra):
    if os.environ["EXTRAS"] == "1":
        pytest.skip("lacks something")
"""


def told(folder: Path, **environ: str) -> str:
    """How a run of these tests ended."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LEO_TEST_")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "conftest",
            "-p",
            "no:cacheprovider",
            "-c",
            ROOT / "pyproject.toml",
            "--rootdir",
            folder,
            folder,
        ],
        env={**clean, "PYTHONPATH": str(Path(__file__).parent), **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()[-1].partition(" in ")[0]


def test_a_share_is_of_examples_and_seeds_alone_and_the_rest_what_has_not_passed(tmp_path: Path) -> None:
    (tmp_path / "test_drawing.py").write_text(DRAWING, encoding="utf-8")
    passed = str(tmp_path / "passed")
    share = told(tmp_path, EXTRAS="1", LEO_TEST_SHARE="4", LEO_TEST_PASSED=passed)
    assert share == "6 passed, 1 skipped, 7 deselected"
    assert told(tmp_path, EXTRAS="2", LEO_TEST_SHARE="4", LEO_TEST_PASSED=passed) == "2 passed, 13 deselected"
