"""Where a daemon shows its metrics: the table `[metrics]` of `leo-daemon/1`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from leo_runtime.schema import PathName, Value


class MetricsConfig(Value):
    """The table `[metrics]`."""

    path: PathName = "metrics.sock"
    """A Unix socket that only the daemon's user can use: a name alone is in the runtime directory; `systemd:NAME` is a
    socket that systemd opened."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Of 127.0.0.1, for a Prometheus that can use no Unix socket. Whoever is on this machine can read it then."""
