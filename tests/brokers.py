"""A real MQTT broker for a test, and `mosquitto_sub` as a referee of what it gives to others."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any, Self

import pytest

PATIENCE_S = 30
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


def broker_program() -> str:
    """The broker; skips the test where it is not installed."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")
    if found is None or shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto and mosquitto-clients are not installed (apt)")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Broker:
    """A broker that can be killed and started again; what is retained goes with it."""

    def __init__(self, folder: Path, *, listener: str = "", more: Sequence[str] = ()) -> None:
        self.program = broker_program()
        self.port = 0 if listener else free_port()
        self.log: list[str] = []
        self._changed = threading.Condition()
        self.config = folder / "broker.conf"
        lines = [listener or f"listener {self.port} 127.0.0.1", "persistence false", *more]
        if not any(line.startswith("allow_anonymous") for line in more):
            lines.append("allow_anonymous true")
        if os.geteuid() == 0:
            lines.append("user root")
        self.config.write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it; returns when it listens."""
        command = [self.program, "-c", str(self.config), "-v"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if line.rstrip().endswith("running"):
                break
        else:
            raise AssertionError("".join(self.log))
        # Read on, or it would wait for who reads.
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def _read(self, stderr: IO[str]) -> None:
        for line in stderr:
            with self._changed:
                self.log.append(line)
                self._changed.notify_all()

    def received(self, client: str, until: str) -> list[str]:
        """The topics of what a client has published, by the broker's own log, once `until` is among them."""

        def topics() -> list[str]:
            found = [re.search(r"Received PUBLISH from (\S+) \(.*, '([^']+)', ", line) for line in self.log]
            return [one[2] for one in found if one is not None and one[1] == client]

        self.wait_for(lambda _: until in topics())
        return topics()

    def wait_for(self, is_there: Callable[[list[str]], bool]) -> None:
        """Wait until that is true of its log."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_there(self.log), PATIENCE_S), self.log

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.stderr is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_S)
            self._reader.join(PATIENCE_S)
            self.process.stderr.close()
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGTERM)


class Referee:
    """`mosquitto_sub`: what any other client of the broker is given."""

    _numbers = count(1)

    def __init__(self, broker: Broker) -> None:
        """It has subscribed to everything when this returns."""
        name = f"referee-{next(self._numbers)}"
        command = ["mosquitto_sub", "-p", str(broker.port), "-i", name, "-t", "#", "-q", "1", "-F", "%j"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.heard: list[tuple[str, str, bool]] = []
        """Topic, payload, and whether it was retained from before."""
        self._changed = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            broker.wait_for(lambda log: any(f"Sending SUBACK to {name}" in line for line in log))
        except BaseException:
            self.process.kill()
            raise

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told: dict[str, Any] = json.loads(line)
            with self._changed:
                self.heard.append((told["topic"], str(told.get("payload") or ""), bool(told.get("retain"))))
                self._changed.notify_all()

    def wait_for(self, is_there: Callable[[list[tuple[str, str, bool]]], Any]) -> Any:
        """What that says of all that was heard, once it says anything."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_there(self.heard), PATIENCE_S), self.heard
            return is_there(self.heard)

    def payload(self, topic: str) -> str:
        """The newest of a topic, waited for."""
        return str(self.wait_for(lambda heard: [one[1:2] for one in heard if one[0] == topic][-1:])[0][0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self._listener.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
