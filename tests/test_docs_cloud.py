"""The commands of docs/cloud.md, run as they are written: a server as a process, and a device that uses it."""

import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from leo_backends.remote.options import RemoteOptions
from leo_runtime import shipped
from leo_runtime.cli import main
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from servers import free_port, remote, serving_process

PAGE = (Path(__file__).parent.parent / "docs" / "cloud.md").read_text()


def commands(of: str) -> list[list[str]]:
    """Those of a section."""
    section = PAGE.split(f"\n## {of}\n")[1].split("\n## ")[0]
    found = re.findall(r"^    ((?:pip|ssh|openssl|chmod|leo-runtime) .*)$", section, re.MULTILINE)
    return [line.split() for line in found]


@pytest.fixture
def activity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pipeline of the demo that needs no extra, as a workload of its own."""
    monkeypatch.chdir(tmp_path)
    demo = shipped.workload()
    alone = demo.without(*(graph.name for graph in demo.graphs if graph.name != "activity"))
    path = tmp_path / "activity.json"
    path.write_text(alone.to_json())
    return path


def test_six_commands_split_a_workload(activity: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All but `pip` and `ssh`, for one pipeline of the demo and a second, with another port."""
    install, serve, again, tunnel, calibrate, replay = commands("In six commands")
    assert install == again == ["pip", "install", "leo-runtime"] and tunnel[0] == "ssh"
    assert serve[:3] == ["leo-runtime", "serve", "demo"]
    port = str(free_port())
    Path("split.hardware.toml").write_text(PAGE.split("```toml\n")[1].split("```")[0].replace("8080", port))
    with serving_process(str(activity), *(word.replace("8080", port) for word in serve[3:])):
        assert main([*calibrate[1:], "--workload", str(activity)]) == 0
        replay[replay.index("--seconds") + 1] = "1"
        patient = ["--no-compare", "--scale-deadlines", "100"]  # A busy machine is late by seconds.
        assert main([*replay[1:], "--workload", str(activity), *patient]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^cloud +[1-9]\d* +\S+ +0 +-$", said, re.MULTILINE), said


def test_without_a_tunnel_there_are_tls_and_a_token(activity: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, token, own, serve = commands("Without a tunnel")
    for words in (certificate, token, own):
        subprocess.run(words, check=True, capture_output=True)
    assert serve[:3] == ["leo-runtime", "serve", "demo"]
    port = str(free_port())
    (line,) = re.findall(r"^    options = \{ (.*) \}$", PAGE, re.MULTILINE)
    options = dict(re.findall(r'(\w+) = "([^"]*)"', line.replace("8443", port)))
    doing = merge(Workload.from_file(activity)).stage("doing").bound
    process = serving_process(str(activity), *(word.replace("8443", port) for word in serve[3:]))
    with process, closing(remote(**options)) as backend:
        kernel = backend.load(doing, "default")
        assert kernel([np.zeros(shape, np.float32) for shape in doing.input_shapes]).shape == doing.output_shape


def test_every_option_is_on_the_page() -> None:
    assert [name for name in RemoteOptions.model_fields if f"`{name}" not in PAGE] == []
