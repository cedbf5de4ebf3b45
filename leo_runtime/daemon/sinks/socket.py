"""Answers as lines of JSON on a Unix socket, to whoever of the same user connects."""

from __future__ import annotations

from typing import Literal

from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.kinds import SinkConfig, Site
from leo_runtime.schema import Name


class SocketSink(SinkConfig):
    """A Unix socket that anybody of the daemon's user may listen on."""

    kind: Literal["socket"]
    path: Name = "answers.sock"
    """Where it is: a name alone is in the runtime directory; `systemd:NAME` is a socket that systemd opened."""

    def open(self, site: Site) -> Subscribers:
        """Listen. Raises `InputError`."""
        raise NotImplementedError


class Subscribers:
    """Those who are connected."""

    def publish(self, answer: Answer) -> None:
        """Send it to all."""
        raise NotImplementedError

    def close(self) -> None:
        """Hang up."""
