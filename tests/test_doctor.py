"""What is here and what is missing, on machines of files that have this and that, and on a bare one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from leo_runtime.cli import main
from leo_runtime.command import doctor as command
from leo_runtime.command.doctor import text
from leo_runtime.daemon import doctor, kinds
from leo_runtime.daemon.doctor import Finding, Patient, examine
from leo_runtime.terminal import Look, room


def examined(
    root: Path, environment: Mapping[str, str] | None = None, config: Path | None = None
) -> dict[str, Finding]:
    home = {"HOME": str(root / "home"), "PATH": ""} if environment is None else environment
    (root / "home").mkdir(exist_ok=True)
    return {f"{one.area} {one.what}": one for one in examine(Patient(root, home, config))}


def test_a_machine_with_nothing_has_its_core_and_nothing_is_wrong(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert found["core numpy"].state == found["processors cpu"].state == "ok"
    for what in ("sound recorders", "sound sound cards", "sound servers", "sensors IIO", "sensors cameras"):
        assert found[what].state == "absent", what
    assert found["machine battery"].state == found["service systemd"].state == "absent"
    assert found["folders state"] == Finding("folders", "state", "ok", str(tmp_path / "home/.local/state/leo-runtime"))
    assert [one for one in found.values() if one.state == "wrong"] == []


def test_a_board_with_everything(tmp_path: Path) -> None:
    for folder in ("sys/bus/iio/devices/iio:device0", "dev/snd", "run/systemd/system", "run/user/1000/pulse", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("dev/snd/pcmC0D0c", "dev/video0", "dev/iio:device0", "run/user/1000/pulse/native", "bin/arecord"):
        (tmp_path / file).touch()
    (tmp_path / "bin/arecord").chmod(0o755)
    (tmp_path / "sys/bus/iio/devices/iio:device0/name").write_text("lis3dh\n")
    battery = tmp_path / "sys/class/power_supply/BAT0"
    battery.mkdir(parents=True)
    for name, said in (("type", "Battery"), ("capacity", "63"), ("status", "Discharging")):
        (battery / name).write_text(said)
    home = {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": "/run/user/1000", "PATH": str(tmp_path / "bin")}
    found = examined(tmp_path, home)
    assert found["sensors IIO"].says == "lis3dh (iio:device0)"
    assert found["sensors cameras"].says == "video0" and found["sound sound cards"].says == "pcmC0D0c"
    assert found["sound servers"].says == "PulseAudio" and found["sound recorders"].says == "arecord"
    assert found["machine battery"].says == "63 %" and found["service systemd"].state == "ok"


def test_a_device_that_may_not_be_read_names_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").mkdir()
    camera = tmp_path / "dev/video0"
    camera.touch(mode=0o600)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != camera and real(path, mode))
    found = examined(tmp_path)["sensors cameras"]
    assert found.state == "absent" and found.says == "video0 may not be read"
    assert found.hint.startswith("sudo usermod -aG video $USER") and "SupplementaryGroups=video" in found.hint


def test_a_folder_that_cannot_be_written_is_wrong_and_says_which_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = examined(tmp_path, {"HOME": "/nowhere", "XDG_STATE_HOME": str(tmp_path / "file"), "PATH": ""})
    assert found["folders state"].state == "wrong" and "XDG_STATE_HOME" in found["folders state"].hint


def test_a_check_that_goes_wrong_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faints(_: Patient) -> list[Finding]:
        raise RuntimeError("dizzy\x1b[31m")

    monkeypatch.setattr(doctor, "CHECKS", {"core": faints, "folders": doctor.CHECKS["folders"]})
    found = examined(tmp_path)
    assert found["core check"] == Finding("core", "check", "wrong", r"RuntimeError: dizzy\x1b[31m", "please report it")
    assert found["folders state"].state == "ok"


def test_an_extra_that_is_missing_names_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [
        "numpy<3,>=1.26",
        'numpy>=1; extra == "full"',
        'nobody-has_this<2,>=1; extra == "lacking"',
        'other-board; (platform_machine == "pdp11" and sys_platform == "linux") and extra == "full"',
        'leo-runtime[full,lacking]; extra == "both"',
        'pytest; extra == "test"',
        'playwright; extra == "browser"',
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: wanted)
    found = {name: one for name, one in examined(tmp_path).items() if one.area == "extras"}
    assert found.keys() == {"extras both", "extras full", "extras lacking"}
    assert found["extras full"].state == "ok"
    assert found["extras both"].says == "without nobody-has_this"
    lacking = found["extras lacking"]
    assert lacking.says == "without nobody-has_this" and lacking.hint == "pip install 'leo-runtime[lacking]'"


CONFIG = """\
format = "leo-daemon/1"
machine = "snapdragon-800"
[[sources]]
kind = "stdin"
stream = "mic"
[[sinks]]
kind = "lines"
"""


def test_what_a_config_names_is_needed(tmp_path: Path) -> None:
    (tmp_path / "leo.toml").write_text(CONFIG)
    found = examined(tmp_path, config=tmp_path / "leo.toml")
    assert found["config file"].state == found["config workload"].state == "ok"
    assert found["config source stdin"].says == "stdin for mic"
    (tmp_path / "leo.toml").write_text(CONFIG.replace('"mic"', '"mike"'))
    wrong = examined(tmp_path, config=tmp_path / "leo.toml")["config what it names"]
    assert wrong.state == "wrong" and "mike" in wrong.says
    (tmp_path / "leo.toml").write_text(CONFIG + f'path = "{tmp_path}"\n')
    wrong = examined(tmp_path, config=tmp_path / "leo.toml")["config sink lines"]
    assert wrong.state == "wrong" and "is a folder" in wrong.says and wrong.hint
    missing = examined(tmp_path, config=tmp_path / "not.toml")["config what it names"]
    assert missing.state == "wrong" and "cannot be read" in missing.says


def test_a_config_whose_extra_is_missing_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leo.toml").write_text(f"{CONFIG}[metrics]\n")
    monkeypatch.setattr(kinds, "find_spec", lambda _: None)
    found = examined(tmp_path, config=tmp_path / "leo.toml")["config metrics"]
    assert found.state == "wrong" and found.hint == "pip install 'leo-runtime[daemon]'"


def test_the_command_prints_a_table_or_json_and_its_status_says_whether_anything_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor"]) == 0
    page = capsys.readouterr()
    assert all(room(line) <= 80 for line in page.out.splitlines())
    assert "nothing that is needed is missing" in page.err
    assert main(["doctor", "--json", str(tmp_path / "not.toml")]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"area", "what", "state", "says", "hint"} == found[0].keys() and found[-1]["state"] == "wrong"


def test_hints_stand_below_and_those_of_what_is_here_do_not() -> None:
    found = (
        Finding("sound", "cards", "ok", "pcmC0D0c", "nothing to do"),
        Finding("sound", "servers", "absent", "none", "install one"),
    )
    page = text(found, Look(80))
    assert page.endswith("\nsound servers: install one\n") and "nothing to do" not in page


def test_a_bare_machine_is_examined_with_the_core_alone(tmp_path: Path) -> None:
    """Nothing of an extra is imported, though it is installed."""
    code = (
        "import sys\n"
        "for name in ('pyopencl', 'prometheus_client', 'rich', 'sounddevice', 'paho', 'wyoming', 'matplotlib', 'av'):\n"
        "    sys.modules[name] = None\n"
        "from leo_runtime.cli import main\n"
        "sys.exit(main(['doctor', '--json']))\n"
    )
    env = os.environ | {"HOME": str(tmp_path), "PATH": os.environ.get("PATH", "")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert found["numpy"]["state"] == "ok" and found["cpu"]["state"] == "ok"


@pytest.mark.parametrize("executable", ["", None])
def test_where_python_is_embedded_it_says_what_cannot_be_started(
    executable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "core workers" not in examined(tmp_path)
    monkeypatch.setattr(sys, "executable", executable)
    workers = examined(tmp_path)["core workers"]
    assert workers.state == "absent" and "isolated stage" in workers.says
    assert "set_executable" in workers.hint
