"""`leo-runtime daemon` as a process: signals, a kill, a reload, sockets of systemd's, the unit, the example."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import CONFIG, LOUD, PATIENCE_S, Systemd, Talk, write
from leo_runtime.cli import main
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.systemd import FIRST_FD
from leo_runtime.daemon.templates import example, unit

COMMAND = [sys.executable, "-m", "leo_runtime", "daemon"]


class Process:
    """A daemon that is a process of its own, and is ready."""

    def __init__(
        self, folder: Path, config: str = CONFIG, *, command: list[str] | None = None, fds: tuple[int, ...] = ()
    ) -> None:
        self.path = write(folder, config)
        self.systemd = Systemd(folder)
        # XDG's places are where nothing can be written: what the config says is enough.
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self.systemd.path),
            "HOME": "/nonexistent",
            "XDG_STATE_HOME": "/nonexistent",
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CACHE_HOME": "/nonexistent",
        }
        self.process = subprocess.Popen(
            [*(command or COMMAND), str(self.path)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=fds,
        )
        self.ready = self.systemd.wait_for("READY=1")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; the exit status, and what it has said."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        self.systemd.close()
        return self.process.returncode, out, err


@pytest.fixture
def talks() -> Iterator[list[Talk]]:
    found: list[Talk] = []
    yield found
    for one in found:
        one.listener.close()
        one.sender.close()


def test_a_sigterm_drains_and_ends_well_and_a_sighup_reads_again(tmp_path: Path, talks: list[Talk]) -> None:
    lines = '\n[[sinks]]\nkind = "lines"\n'
    one = Process(tmp_path, CONFIG + lines)
    talk = Talk(tmp_path)
    talks.append(talk)
    assert talk.ask(LOUD)["label"] == "loud"
    one.process.send_signal(signal.SIGHUP)
    reloading = one.systemd.wait_for("RELOADING=1")
    assert int(reloading.partition("MONOTONIC_USEC=")[2]) > 0
    one.systemd.wait_for("READY=1")
    assert talk.ask(LOUD)["frame"] == 3
    status, out, err = one.end()
    assert status == 0 and "reloaded" in err and "Traceback" not in err
    assert [json.loads(line)["frame"] for line in out.splitlines()] == [0, 1, 2, 3]
    assert talk.listener.rest() == []


def test_what_was_killed_says_when_it_is_started_anew_what_is_missing(tmp_path: Path, talks: list[Talk]) -> None:
    one = Process(tmp_path)
    talks.append(Talk(tmp_path))
    talks[0].ask(LOUD)
    assert one.end(signal.SIGKILL)[0] == -signal.SIGKILL
    one = Process(tmp_path)
    talks.append(Talk(tmp_path))
    assert talks[1].ask(LOUD)["frame"] == 1
    status, out, err = one.end(signal.SIGINT)
    assert (status, out) == (0, "") and "Traceback" not in err
    # It may have been killed between sending the last answer and noting that.
    said = (
        r"the last run was cut short: of 2 frames the answers of [01] at most are missing; it was down for \d+\.\d{3} s"
    )
    assert re.search(said, err)


def test_systemds_sockets_are_taken_over(tmp_path: Path, talks: list[Talk]) -> None:
    listening = {}
    for name in ("in", "out"):
        listening[name] = socket.socket(socket.AF_UNIX)
        listening[name].bind(str(tmp_path / f"{name}.sock"))
        listening[name].listen()
    fds = tuple(one.fileno() for one in listening.values())
    script = (
        "import os, sys\n"
        f"high = [os.dup(os.open('/dev/null', os.O_RDONLY)) for _ in range(8)]\n"
        f"for number, fd in enumerate({fds}): os.dup2(fd, 40 + number)\n"
        f"for number in range({len(fds)}): os.dup2(40 + number, {FIRST_FD} + number)\n"
        f"os.environ |= {{'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '{len(fds)}', 'LISTEN_FDNAMES': 'in:out'}}\n"
        f"os.execv(sys.executable, [*{COMMAND!r}, sys.argv[1]])\n"
    )
    config = CONFIG.replace("./in.sock", "systemd:in").replace("./out.sock", "systemd:out")
    process = Process(tmp_path, config, command=[sys.executable, "-c", script], fds=fds)
    for one in listening.values():
        one.close()
    talks.append(Talk(tmp_path))
    assert talks[0].ask(LOUD)["label"] == "loud"
    assert process.end()[0] == 0
    assert (tmp_path / "in.sock").exists()  # It is systemd's.


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
"""Runs a command where nothing can be written to but one folder."""


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    asked = [unshare or "", "--mount", "sh", "-c", "mount -o remount,bind,ro /"]
    return unshare is not None and subprocess.run(asked, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="only root may mount a file system read-only")
def test_a_read_only_root_file_system_is_fine(tmp_path: Path, talks: list[Talk]) -> None:
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(tmp_path), *COMMAND]
    one = Process(tmp_path, CONFIG, command=command)
    talks.append(Talk(tmp_path))
    assert talks[0].ask(LOUD)["label"] == "loud"
    status, _, err = one.end()
    assert status == 0 and "WARNING" not in err


def test_it_ends_when_nobody_reads_any_more(tmp_path: Path) -> None:
    source = 'kind = "recording"\nrecording = "demo"\nloop = true\nrate = 20'
    text = example(lambda _: False).replace('kind = "recording"\nrecording = "demo"\nloop = true', source)
    (tmp_path / "leo.toml").write_text(text)
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path)}
    one = subprocess.Popen(
        [*COMMAND, str(tmp_path / "leo.toml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert one.stdout is not None and one.stderr is not None
    assert json.loads(one.stdout.readline())["outcome"] in ("done", "cancelled")
    one.stdout.close()
    assert one.wait(PATIENCE_S) == 0
    with one.stderr:
        assert b"nobody reads standard output any more" in one.stderr.read()


# What else the command does.


@pytest.mark.parametrize("has", [True, False])
def test_the_example_is_short_and_right(tmp_path: Path, capsys: pytest.CaptureFixture[str], has: bool) -> None:
    text = example(lambda _: has)
    assert len(text.splitlines()) <= 40
    assert ("wake_word" in tomllib.loads(text)["graphs"]) is has
    assert main(["daemon", "--example", str(tmp_path / "new")]) == 0
    path = tmp_path / "new" / "leo.toml"
    said = capsys.readouterr()
    assert said.out == f"written: {path}\n" and f"leo-runtime daemon {path}" in said.err
    assert main(["daemon", "--check", str(path)]) == 0
    assert "activity on arm-board; sources: recording; sinks: lines" in capsys.readouterr().out
    assert main(["daemon", "--example", str(tmp_path / "new")]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["daemon"], "hint: `leo-runtime daemon --example .` writes one"),
        (["daemon", "nothing.toml"], "nothing.toml: cannot be read"),
        (["daemon", "--check", "nothing.toml"], "nothing.toml: cannot be read"),
        (["daemon", "--unit", "nothing.toml"], "nothing.toml: cannot be read"),
        (["daemon", "--example", "/proc/nothing"], "cannot be written"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_a_wrong_config_is_told_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, CONFIG + "quue = 3\n")
    assert main(["daemon", "--check", str(path)]) == 2
    said = capsys.readouterr().err
    assert f'{path}: the key "quue" is unknown (its value is 3), at $.sinks[0].quue' in said
    assert 'hint: did you mean "queue"?' in said


def test_a_profile_that_lacks_a_stage_is_told_by_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    profile = tmp_path / "profile.toml"
    profile.write_text(profile.read_text().replace("steps:level", "steps:other"))
    assert main(["daemon", "--check", str(path)]) == 2
    assert "profile `this` has no entry for stage `level`" in capsys.readouterr().err


def test_the_unit_names_command_and_config_and_waits_as_long_as_it_drains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    path = write(folder)
    assert main(["daemon", "--unit", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f'"{path}"' in next(line for line in lines if line.startswith("ExecStart="))
    assert {"Type=notify", "TimeoutStopSec=30", "ProtectSystem=strict", "NoNewPrivileges=yes"} <= set(lines)
    assert unit("/a%b", Path("/c$d"), 0.5).count("ExecStart=/a%%b daemon /c$$d") == 1


@pytest.mark.parametrize("executable", ["", None])
def test_where_python_is_embedded_the_unit_says_that_it_needs_the_command(
    executable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "argv", ["leo_runtime/__main__.py"])
    assert main(["daemon", "--unit", str(write(tmp_path))]) == 2
    said = capsys.readouterr().err
    assert "this Python does not say where it is" in said and "hint: call `leo-runtime daemon --unit`" in said


@pytest.mark.parametrize(
    ("more", "may"),
    [
        ("", False),
        ('[[sinks]]\nkind = "mqtt"\n', True),
        ('[[sinks]]\nkind = "mqtt"\nsocket = "/run/mosquitto/broker"\n', False),
        ('[[sources]]\nkind = "wyoming"\n', True),
        ('[[sources]]\nkind = "wyoming"\nsocket = "wake.sock"\n', False),
        ("[metrics]\n", False),
        ("[metrics]\nport = 9101\n", True),
    ],
)
def test_the_unit_lets_it_use_the_network_where_its_config_does(
    more: str, may: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["daemon", "--unit", str(write(tmp_path, CONFIG + more))]) == 0
    families = "AF_UNIX AF_NETLINK AF_INET AF_INET6" if may else "AF_UNIX AF_NETLINK"
    assert f"RestrictAddressFamilies={families}" in capsys.readouterr().out.splitlines()


def test_the_unit_lets_it_use_the_network_where_a_processor_is_a_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    machine = tmp_path / "machine.toml"
    machine.write_text(
        machine.read_text().replace(
            "processors = [", 'processors = [{ name = "cloud", backend = "remote", remote = true }, '
        )
    )
    assert main(["daemon", "--unit", str(path)]) == 0
    assert "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6" in capsys.readouterr().out.splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("sensors", [False, True])
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path, sensors: bool) -> None:
    command = tmp_path / "leo-runtime"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    text = unit(str(command), tmp_path / "leo.toml", 5.0)
    if sensors:
        text = re.sub(r"^#(?=\w+=)", "", text, flags=re.MULTILINE)
        assert "\nReadWritePaths=/sys/devices\n" in text and "\nSupplementaryGroups=iio\n" in text
    (tmp_path / "leo-runtime.service").write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "leo-runtime.service")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    # It looks at the system's other units as well, which are not ours.
    said = [line for line in (found.stdout + found.stderr).splitlines() if "leo-runtime" in line]
    assert said == [] and found.returncode == 0


def test_its_config_is_read_as_any_document(tmp_path: Path) -> None:
    config = DaemonConfig.from_file(write(tmp_path))
    config.to_file(tmp_path / "leo.json")
    assert DaemonConfig.from_file(tmp_path / "leo.json") == config
