"""Whose code and models a workload may use."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from daemons import CONFIG, STEPS, WORKLOAD, write
from leo_runtime.daemon import permissions, trust
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.loading import Loaded, load
from leo_runtime.daemon.service import Daemon
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


# A command.

RECORDS = "#!/bin/sh\nexec cat /dev/zero\n"


def with_command(folder: Path, command: str, trusted: str = 'folder = "."') -> Path:
    """A config whose source is a command beside it, `recorder`, which is there."""
    config = CONFIG.replace('kind = "socket"\npath = "./in.sock"', f'kind = "pipe"\ncommand = ["{command}"]', 1)
    assert "pipe" in config
    write(folder, config.replace('folder = "."', trusted))
    program = folder / "recorder"
    program.write_text(RECORDS)
    program.chmod(0o755)
    return program


def test_a_command_that_others_could_exchange_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.mkdir()
    program = with_command(own, "./recorder")
    assert read(own).workload.name == "levels"
    program.chmod(0o777)
    assert f"source `pipe`: it uses {program}, which everybody may write" in str(refused(own))
    program.chmod(0o755)
    with_command(own, "recorder")  # As it is found in PATH, in a folder that everybody may write to.
    shared = tmp_path / "shared"
    shared.mkdir()
    program = program.rename(shared / "recorder")
    shared.chmod(0o777)
    monkeypatch.setenv("PATH", str(shared), prepend=os.pathsep)
    assert f"uses {program}, which everybody may exchange in {shared}" in str(refused(own))
    shared.chmod(0o1777)  # As /tmp: only who owns it may exchange it.
    read(own)


@pytest.mark.parametrize("link", [False, True])
def test_a_command_of_another_user_is_not_run(tmp_path: Path, link: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    program = with_command(tmp_path, "./recorder")
    if link:
        program = program.rename(tmp_path / "other")
        (tmp_path / "recorder").symlink_to(program)
    uid = program.stat().st_uid
    monkeypatch.setattr(trust, "trusted_users", lambda _: frozenset({uid + 1}))
    error = refused(tmp_path)
    assert f"recorder as the daemon's user, and it is of user {uid}, who may put anything there" in str(error)
    assert "chown root" in error.hint


def test_whose_config_it_is_may_have_his_programs_run(tmp_path: Path) -> None:
    assert permissions.trusted_users(tmp_path) == {0, Path("/").stat().st_uid, os.geteuid(), tmp_path.stat().st_uid}


def test_a_command_is_checked_by_its_hash(tmp_path: Path) -> None:
    hashes = {"steps.py": STEPS, "recorder": RECORDS}
    table = ", ".join(f'"{name}" = "{hashlib.sha256(held.encode()).hexdigest()}"' for name, held in hashes.items())
    program = with_command(tmp_path, "./recorder", f'folder = "."\nsha256 = {{ {table} }}')
    read(tmp_path)
    program.write_text(RECORDS + "#\n")
    with pytest.raises(InputError, match="recorder, which does not hold what the config says"):
        read(tmp_path)


def test_the_check_finds_a_command_that_is_not_there(tmp_path: Path) -> None:
    with_command(tmp_path, "./no-recorder")
    with pytest.raises(InputError, match=r"source `pipe`: there is no program `\./no-recorder` to run"):
        Daemon(lambda: DaemonConfig.from_file(tmp_path / "leo.toml"), tmp_path).check()
