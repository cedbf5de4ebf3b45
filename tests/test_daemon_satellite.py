"""A real satellite hears the wake word that ships: from PulseAudio through the daemon to the satellite's server."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from brokers import free_port
from pulse import FORMAT, MONITOR, PATIENCE_S, Pulse
from test_daemon_wyoming import a_daemon, demo_sound

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.filterwarnings("ignore:'audioop' is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def satellite() -> str:
    """A Python that has wyoming-satellite."""
    pytest.importorskip("wyoming", reason="the extra `wyoming` is not installed")
    script = ROOT / ".ci" / "satellite"
    if not script.exists():
        pytest.skip("wyoming-satellite is installed by a script of the repository, which is not here")
    try:
        made = subprocess.run(
            [script], env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"wyoming-satellite cannot be installed: {error}")
    if made.returncode:
        pytest.skip(f"wyoming-satellite cannot be installed: {made.stderr.strip().splitlines()[-1:]}")
    return made.stdout.strip()


@contextmanager
def a_satellite(python: str, pulse: Pulse, wake_port: int) -> Iterator[int]:
    """One that listens to PulseAudio; the port where it waits for its server."""
    port = free_port()
    command = [python, "-m", "wyoming_satellite", "--name", "a test", "--no-zeroconf"]
    command += ["--uri", f"tcp://127.0.0.1:{port}", "--wake-uri", f"tcp://127.0.0.1:{wake_port}"]
    command += ["--wake-word-name", "okay_nabu"]
    command += ["--mic-command", shlex.join(["parec", "-d", MONITOR, *FORMAT, "--latency-msec=50"])]
    process = subprocess.Popen(command, env=pulse.environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if "Ready" in line:
                break
        else:
            raise AssertionError("".join(said))
        reader = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        reader.start()
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        reader.join(PATIENCE_S)
        process.stderr.close()


def test_a_satellite_hears_the_word_and_calls_its_server(satellite: str, tmp_path: Path) -> None:
    from wyoming.client import AsyncClient
    from wyoming.info import Describe
    from wyoming.pipeline import PipelineStage, RunPipeline
    from wyoming.satellite import RunSatellite

    async def connected(port: int) -> AsyncClient:
        """The satellite says that it is ready shortly before it is."""
        while True:
            client = AsyncClient.from_uri(f"tcp://127.0.0.1:{port}")
            with suppress(ConnectionRefusedError):
                await client.connect()
                return client

    async def serve(port: int, pulse: Pulse) -> list[str]:
        """As Home Assistant does: what the satellite says from when it is to run until it has heard the word."""
        heard = []
        server = await asyncio.wait_for(connected(port), PATIENCE_S)
        try:
            await server.write_event(Describe().event())
            await server.write_event(RunSatellite().event())
            pulse.play(demo_sound(3.5, 6.5))
            while (event := await asyncio.wait_for(server.read_event(), PATIENCE_S)) is not None:
                heard.append(event.type)
                if event.type == "run-pipeline":
                    # It goes on where the word is known already.
                    assert RunPipeline.from_event(event).start_stage == PipelineStage.ASR
                    break
        finally:
            await server.disconnect()
        return heard

    with Pulse(tmp_path) as pulse, a_daemon(tmp_path) as (wake_port, running):
        with a_satellite(satellite, pulse, wake_port) as port:
            heard = asyncio.run(serve(port, pulse))
        counted = running.daemon.counts.now().others
    assert heard == ["info", "run-pipeline"]
    assert counted["wyoming_detections"] == 1
    assert counted.get("wyoming_refused", 0) == 0
