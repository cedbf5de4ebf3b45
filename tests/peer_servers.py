"""Servers of other makes that speak the Open Inference Protocol, each as a process, for tests and benches.

`.ci/peer` makes the environments that they are in; where one is not made, there is no such server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from servers import PATIENCE_S, free_port, until

ROOT = Path(__file__).parent.parent
MODELS = Path(__file__).parent / "peers"
PEERS = ("mlserver", "kserve")


def python_of(peer: str) -> Path | None:
    """A Python that has this server; None: `.ci/peer` was not asked for it."""
    path = ROOT / "build" / peer / "bin" / "python"
    return path if path.exists() else None


@dataclass(frozen=True)
class Peer:
    """A server of another make, and where it is found."""

    name: str
    url: str
    grpc_url: str


@contextmanager
def peer_server(peer: str, shape: tuple[int, ...]) -> Iterator[Peer]:
    """A server with the model `louder`, which gives twice its input of this shape."""
    python = python_of(peer)
    assert python is not None
    port, grpc_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if peer == "mlserver":
            settings = {"parallel_workers": 0, "host": "127.0.0.1", "http_port": port}
            settings |= {"grpc_port": grpc_port, "metrics_endpoint": None, "debug": False}
            tensor = {"datatype": "FP32", "shape": list(shape)}
            model = {"name": "louder", "implementation": "mlserver_model.Twice"}
            model |= {"inputs": [tensor | {"name": "signal"}], "outputs": [tensor | {"name": "louder"}]}
            (folder / "settings.json").write_text(json.dumps(settings))
            (folder / "model-settings.json").write_text(json.dumps(model))
            shutil.copy(MODELS / "mlserver_model.py", folder)
            command = [str(python.with_name("mlserver")), "start", str(folder)]
        else:
            ports = ["--http_port", str(port), "--grpc_port", str(grpc_port)]
            command = [str(python), str(MODELS / "kserve_model.py"), *ports]
        log = stack.enter_context((folder / "log").open("w"))
        environment = os.environ | {"PYTHONPATH": str(folder)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or _is_ready(url))
            assert process.poll() is None, (folder / "log").read_text()
            yield Peer(peer, url, f"grpc://127.0.0.1:{grpc_port}")
        finally:
            process.kill()
            process.wait(PATIENCE_S)


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/v2/models/louder/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False
