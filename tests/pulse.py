"""A real PulseAudio server of a test's own: a sink that nobody hears, and its monitor, which keeps a true rate."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np
import pytest

PATIENCE_S = 30
SINK, MONITOR = "leo", "leo.monitor"
RATE_HZ = 16_000
FORMAT = ("--raw", f"--rate={RATE_HZ}", "--channels=1", "--format=s16le")


class Pulse:
    """One server; skips the test where it is not installed."""

    def __init__(self, folder: Path) -> None:
        for program in ("pulseaudio", "pacat", "parec"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed (apt: pulseaudio, pulseaudio-utils)")
        home = folder / "pulse"
        home.mkdir(mode=0o700)
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "XDG_CONFIG_HOME": str(home),
            "PULSE_SERVER": f"unix:{home}/native",
            "PULSE_COOKIE": str(home / "cookie"),
        }
        self._socket = home / "native"
        self._players: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """It takes sound when this returns."""
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "-v", "--log-target=stderr"]
        command += [f"--load=module-native-protocol-unix socket={self._socket} auth-anonymous=1"]
        command += [f"--load=module-null-sink sink_name={SINK} rate={RATE_HZ} channels=1 format=s16le"]
        self._process = subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "startup complete" in line:
                break
        else:
            self._process.wait(PATIENCE_S)
            pytest.skip(f"pulseaudio does not start here: {said[-1:]}")
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()
        return self

    def play(self, sound: np.ndarray) -> None:
        """Play samples at the rate at which they are taken; returns at once."""
        player = subprocess.Popen(["pacat", "-d", SINK, *FORMAT], env=self.environment, stdin=subprocess.PIPE)
        self._players.append(player)

        def write() -> None:
            assert player.stdin is not None
            with suppress(BrokenPipeError), player.stdin:  # The server may end before the sound does.
                player.stdin.write(sound.astype("<i2").tobytes())

        threading.Thread(target=write, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        for process in (self._process, *self._players):
            process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
