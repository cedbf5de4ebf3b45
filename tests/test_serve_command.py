"""`leo-runtime serve` as a process: that it answers, ends when it is told to, and says what is wrong."""

import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.cli import main
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from servers import PATIENCE_S, free_port, remote, serving_process, write_workload

MOST_RESIDENT_KB = 70_000
"""It is 53,000 with numpy 2.4 and 60,000 with numpy 1.26, for stages of numpy alone."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    path = write_workload(tmp_path)
    louder = merge(Workload.from_file(path)).stage("louder").bound
    with serving_process(str(path), "--bind", "127.0.0.1:0", "--workers", "1") as (process, url):
        with closing(remote(url)) as backend:
            kernel = backend.load(louder, "thrice")
            assert kernel([np.ones(100, np.float32)]).tolist() == [3.0] * 100
            resident_kb = int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0])
            assert resident_kb < MOST_RESIDENT_KB
            process.send_signal(number)
            said, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0 and said == ""
        assert errors == "stopped: 3 answers; refused: none\n"


def test_it_serves_by_grpc_too(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
    path = write_workload(tmp_path)
    louder = merge(Workload.from_file(path)).stage("louder").bound
    port = free_port()
    with serving_process(str(path), "--bind", "127.0.0.1:0", "--grpc", f"127.0.0.1:{port}") as (process, _):
        with closing(remote(f"grpc://127.0.0.1:{port}")) as backend:
            kernel = backend.load(louder, "thrice")
            assert kernel([np.ones(100, np.float32)]).tolist() == [3.0] * 100
            process.send_signal(signal.SIGTERM)
            said, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0 and said == ""
        assert errors == "stopped: 3 answers; refused: none\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--grpc", "0.0.0.0:0"], "others can reach 0.0.0.0, and no token is asked of them\nhint: --token-file FILE"),
        (["--bind", "0.0.0.0:0"], "others can reach 0.0.0.0, and no token is asked of them\nhint: --token-file FILE"),
        (["--bind", "[::]:0"], "others can reach ::, and no token"),
        (["--bind", "nowhere.invalid:0", "--no-token"], "nothing can listen at nowhere.invalid:0"),
        (["--token-file", "/nowhere"], "the token file /nowhere cannot be read"),
        (["--token-file", "x" * 300], "cannot be read (File name too long)"),
        (["--token-file", "short"], "the token in short has 3 characters"),
        (["--tls-cert", "short"], "TLS needs a certificate and its key\nhint: --tls-cert FILE --tls-key FILE"),
        (["--tls-cert", "short", "--tls-key", "short"], "the certificate short with the key short cannot be used"),
    ],
)
def test_what_cannot_be_served_is_said(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("abc\n")
    path = write_workload(tmp_path / "served")
    assert main(["serve", str(path), *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    """Of a terminal, and where there is none of its input, openssl would ask for the password, and wait."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "c.pem")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=x -passout pass:long"
    )
    try:
        subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    served = [str(write_workload(tmp_path / "served")), "--bind", "127.0.0.1:0"]
    made = subprocess.run(
        [sys.executable, "-m", "leo_runtime", "serve", *served, "--tls-cert", certificate, "--tls-key", key],
        input="wrong\n",
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert made.returncode == 2 and "the key is the certificate's and has no password" in made.stderr
    assert "Enter" not in made.stdout + made.stderr


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_token_that_all_can_read_is_said(mode: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = tmp_path / "token"
    token.write_text("a" * 32)
    token.chmod(mode)
    assert main(["serve", "demo", "--token-file", str(token), "--tls-cert", "x"]) == 2
    said = f"every user of this machine can read the token in {token}; chmod 600 it"
    assert (said in capsys.readouterr().err) == (mode == 0o644)


@pytest.mark.parametrize("bind", ["8080", "x:y", ":8080", "x:99999"])
def test_an_address_is_a_host_and_a_port(bind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "demo", "--bind", bind])
    assert "expected HOST:PORT" in capsys.readouterr().err


def test_what_only_costs_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.toml"
    path.write_text(
        """
format = "leo-workload/1"
name = "costs"
streams = [{ name = "s", kind = "other", rate_hz = 1000 }]
[[graphs]]
name = "g"
period_us = 100_000
deadline_us = 100_000
stages = [
    { name = "signal", operator = "window", params = { stream = "s", samples = 100 } },
    { name = "heavy", operator = "cost", inputs = ["signal"], params = { output_bytes = 4 } },
]
"""
    )
    assert main(["serve", str(path), "--bind", "127.0.0.1:0"]) == 2
    assert "which nothing computes" in capsys.readouterr().err
