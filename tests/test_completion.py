"""Shell completion: the scripts are sourced by the shells themselves, and asked what they complete."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leo_runtime import cli
from leo_runtime.errors import MissingExtraError

WORDS = [
    ("leo-runtime repl", "replay"),
    ("leo-runtime replay --sol", "--solver"),
    ("leo-runtime replay --solver gr", "greedy"),
    ("leo-runtime replay --dsp n", "numpy"),
    ("leo-runtime replay --hardware snap", "snapdragon-800"),
    ("leo-runtime replay --workload fil", "file.toml"),
    ("leo-runtime replay --workload fac", "faces"),
    ("leo-runtime hardware show wat", "watch"),
    ("leo-runtime recording inf", "info"),
    ("leo-runtime recording info fil", "file.toml"),
    ("leo-runtime schema prob", "problem"),
    ("leo-runtime completion fi", "fish"),
]
"""What is typed, and what its last word becomes: commands, options, choices, names and files."""


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file.toml").touch()
    (tmp_path / "my runs").mkdir()
    (tmp_path / "my runs" / "o$x.jsonl").touch()
    (tmp_path / "it's.toml").touch()
    return tmp_path


@pytest.fixture
def script(folder: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Path:
    """The script of the shell that the test is about, `bash` of `test_bash_...`."""
    pytest.importorskip("shtab", reason="needs the extra `completion`")
    shell = request.node.originalname.split("_")[1]
    assert cli.main(["completion", shell]) == 0
    path = folder / f".{shell}"
    path.write_text(capsys.readouterr().out)
    return path


QUOTED = [
    ("leo-runtime explain my\\ ru", "my runs/"),
    ("leo-runtime explain 'my ru", "my runs/"),
    ("leo-runtime replay --resume my\\ runs/o", "my runs/o$x.jsonl"),
    ("leo-runtime replay --resume my\\ runs/o\\$", "my runs/o$x.jsonl"),
    ("leo-runtime replay --workload it", "it's.toml"),
    ("leo-runtime replay --workload ~/it", "~/it's.toml"),
    ("leo-runtime replay --hardware my\\ ru", "my runs/"),
]
"""What is typed of names that a shell needs quotes for, and the name that is meant."""


@needs("fish")
@pytest.mark.parametrize(("typed", "meant"), QUOTED)
def test_fish_completes_names_that_need_quotes(script: Path, typed: str, meant: str) -> None:
    code = f"source '{script}'; complete -C $argv[1]"
    done = subprocess.run(["fish", "--no-config", "-c", code, typed], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [meant]


@needs("bash")
@pytest.mark.parametrize(("typed", "meant"), WORDS)
def test_bash_completes(script: Path, typed: str, meant: str) -> None:
    code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_leo_runtime; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", *typed.split()], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (f"{meant}\n", "")


@needs("fish")
@pytest.mark.parametrize(("typed", "meant"), WORDS)
def test_fish_completes(script: Path, typed: str, meant: str) -> None:
    code = f"source {script}; complete -C '{typed}'"
    done = subprocess.run(["fish", "--no-config", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [meant]


@needs("zsh")
@pytest.mark.parametrize(("typed", "meant"), WORDS)
def test_zsh_completes(script: Path, typed: str, meant: str) -> None:
    before, _, _ = typed.rpartition(" ")
    assert zsh_completed(script, typed) == f"{before} {meant} "


def zsh_completed(script: Path, typed: str) -> str:
    """What the line becomes where it is typed, and tab is pressed, in a terminal of its own."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb"})
    try:
        setup = (
            "unset zle_bracketed_paste; PROMPT=''; autoload -Uz compinit; compinit -u -D; "
            f'eval "$(cat {script})"; '
            "tell() { print -r -- \"[[$BUFFER]]\" }; zle -N tell; bindkey '^X' tell; bindkey '^I' complete-word; "
            "print RE''ADY\n"
        )
        os.write(terminal, setup.encode())
        read_until(terminal, b"READY")
        os.write(terminal, f"{typed}\t\x18".encode())
        said = read_until(terminal, b"]]")
        return said.rpartition(b"]]")[0].rpartition(b"[[")[2].decode()
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def read_until(terminal: int, mark: bytes) -> bytes:
    said = b""
    while mark not in said:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"nothing more after {said!r}"
        said += os.read(terminal, 4096)
    return said


def test_without_its_extra_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert (
        said.err
        == f"completion in a shell needs the extra `completion`\nhint: {MissingExtraError('', 'completion').hint}\n"
    )


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["completion", "bahs"])
    assert "did you mean `bash`? one of bash, zsh, fish" in capsys.readouterr().err
