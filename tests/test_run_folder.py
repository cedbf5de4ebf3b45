"""Folders of runs: none is used twice, and what `RUN` means on a command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from leo_runtime.errors import InputError
from leo_runtime.replay.run_folder import LOG, log_of, next_folder


def test_folders_are_numbered_on(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    made = [next_folder(out, "demo.virtual") for _ in range(3)]
    assert [folder.relative_to(out).name for folder in made] == ["demo.virtual", "demo.virtual.2", "demo.virtual.3"]
    made[1].rmdir()
    assert next_folder(out, "demo.virtual").name == "demo.virtual.4", "numbers grow with time"
    assert next_folder(out, "demo.real").name == "demo.real"
    assert next_folder(out, "demo").name == "demo"
    (out / "demo.virtual.007").mkdir()
    (out / "demo.virtual.old").mkdir()
    (out / "demoXvirtual.9").mkdir()
    (out / "demo.virtual.5").write_text("a file in the way", encoding="utf-8")
    assert next_folder(out, "demo.virtual").name == "demo.virtual.6"


def test_processes_at_once_get_a_folder_each(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from leo_runtime.replay.run_folder import next_folder;"
        "sys.stdin.read(1);"
        "print(*(next_folder(Path(sys.argv[1]), 'a').name for _ in range(50)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        assert process.stdin
        process.stdin.write(".")
        process.stdin.flush()
    names = [name for process in running for name in process.communicate()[0].split()]
    assert len(names) == len(set(names)) == 150


def test_where_no_folder_can_be_made_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"file: no folder can be made there for the run \(File exists\)"):
        next_folder(tmp_path / "file", "a")
    with pytest.raises(InputError, match=r"no folder can be made there for the run \(Not a directory\)"):
        next_folder(tmp_path / "file" / "out", "a")
    with pytest.raises(InputError, match=r"no folder can be made there for the run \(embedded null byte\)"):
        next_folder(tmp_path / "a\0b", "a")


def test_a_run_is_its_folder_or_its_log(tmp_path: Path) -> None:
    folder = next_folder(tmp_path, "a")
    with pytest.raises(InputError, match=r"holds no `log.jsonl`"):
        log_of(folder)
    (folder / LOG).write_text("{}\n", encoding="utf-8")
    assert log_of(folder) == log_of(folder / LOG) == folder / LOG
    with pytest.raises(InputError, match=r"nowhere: no such folder or log") as raised:
        log_of(tmp_path / "nowhere")
    assert raised.value.hint == f"such as {folder}"
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(InputError, match=r"cannot be read|no such folder"):
            log_of(Path(name))
