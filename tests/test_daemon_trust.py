"""Whose code and models a workload may use."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from daemons import CONFIG, STEPS, WORKLOAD, write
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.loading import Loaded, load
from leo_runtime.errors import InputError

UNTRUSTED = CONFIG.replace('[[trusted]]\nfolder = "."\n', "")
TRAP = "raise SystemExit('it was imported')\n"


def read(folder: Path) -> Loaded:
    return load(DaemonConfig.from_file(folder / "leo.toml"), folder)


def refused(folder: Path) -> InputError:
    with pytest.raises(InputError) as error:
        read(folder)
    assert error.value.hint
    return error.value


def test_a_module_beside_the_workload_is_not_imported_unless_its_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path, UNTRUSTED)
    (tmp_path / "steps.py").write_text(TRAP)
    error = refused(tmp_path)
    assert f"uses {tmp_path / 'steps.py'}, which is in no trusted folder" in str(error)
    assert f'folder = "{tmp_path}"' in error.hint


@pytest.mark.parametrize("name", ["{folder}/steps:level", "../other/steps:level", "installed:level"])
def test_no_other_way_leads_to_a_module(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other, own = tmp_path / "other", tmp_path / "own"
    other.mkdir()
    own.mkdir()
    write(own, CONFIG)
    (other / "steps.py").write_text(TRAP)
    (other / "installed.py").write_text(TRAP)
    (own / "steps.py").unlink()
    monkeypatch.syspath_prepend(other)
    monkeypatch.chdir(own)
    (own / "workload.toml").write_text(WORKLOAD.replace("steps:level", name.format(folder=other)))
    assert "which is in no trusted folder" in str(refused(own))
    assert "installed" not in sys.modules


def test_a_link_out_of_a_trusted_folder_is_seen(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    write(own, CONFIG)
    (tmp_path / "elsewhere.py").write_text(TRAP)
    (own / "steps.py").unlink()
    (own / "steps.py").symlink_to(tmp_path / "elsewhere.py")
    assert "elsewhere.py, which is in no trusted folder" in str(refused(own))


def hashed(folder: Path, **files: str) -> None:
    """A config that names what files hold."""
    table = ", ".join(f'"{name}.py" = "{digest}"' for name, digest in files.items())
    write(folder, CONFIG.replace('folder = "."', f'folder = "."\nsha256 = {{ {table} }}'))


def test_a_module_is_checked_by_its_hash(tmp_path: Path) -> None:
    right = hashlib.sha256(STEPS.encode()).hexdigest()
    hashed(tmp_path, steps=right)
    assert read(tmp_path).workload.name == "levels"
    (tmp_path / "steps.py").write_text(TRAP)
    with pytest.raises(InputError, match="does not hold what the config says"):
        read(tmp_path)
    hashed(tmp_path, steps=right)
    (tmp_path / "beside.py").write_text(TRAP)  # It could be imported by the other.
    error = refused(tmp_path)
    assert "beside.py, which has no hash in the config" in str(error)
    assert hashlib.sha256(TRAP.encode()).hexdigest() in error.hint


@pytest.mark.parametrize("what", ["steps.py", "."])
def test_what_everybody_may_write_is_not_trusted(tmp_path: Path, what: str) -> None:
    write(tmp_path, CONFIG)
    (tmp_path / what).chmod(0o777)
    error = refused(tmp_path)
    assert "which everybody may write" in str(error) and "chmod o-w" in error.hint


def test_a_folder_that_everybody_may_exchange_is_not_trusted(tmp_path: Path) -> None:
    own = tmp_path / "shared" / "own"
    own.mkdir(parents=True)
    write(own, CONFIG)
    (tmp_path / "shared").chmod(0o777)
    error = refused(own)
    assert f"which everybody may exchange in {tmp_path / 'shared'}" in str(error) and "chmod o-w" in error.hint
    (tmp_path / "shared").chmod(0o1777)  # As /tmp: only who owns it may rename it.
    assert read(own).workload.name == "levels"


MODEL = """{ name = "net", operator = "dense", inputs = ["signal"], params = { layers = [2], model = "%s" } },
    { name = "level", operator = "steps:level", inputs = ["net"] },"""


def test_models_are_of_trusted_folders_as_well(tmp_path: Path) -> None:
    other = tmp_path / "other"
    own = tmp_path / "own"
    other.mkdir()
    own.mkdir()
    write(own, CONFIG)
    np.savez(other / "net.npz", a=np.zeros(3))
    before = '{ name = "level", operator = "steps:level", inputs = ["signal"] },'
    assert before in WORKLOAD
    (own / "workload.toml").write_text(WORKLOAD.replace(before, MODEL % "../other/net.npz"))
    assert "stage `net` of graph `loud` uses" in str(refused(own))
    write(own, CONFIG.replace('folder = "."', 'folder = "."\n[[trusted]]\nfolder = "../other"'))
    (own / "workload.toml").write_text(WORKLOAD.replace(before, MODEL % "../other/net.npz"))
    read(own)


def test_a_trusted_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    write(tmp_path, CONFIG.replace('folder = "."', 'folder = "nothing"'))
    with pytest.raises(InputError, match=r"nothing is not there, at \$.trusted\[0\].folder"):
        read(tmp_path)
