"""Where a daemon shows its metrics: the table `[metrics]` of `leo-daemon/1`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from leo_runtime.daemon.kinds import Site, require_extra
from leo_runtime.daemon.unix_socket import check, place
from leo_runtime.schema import PathName, Value


class MetricsConfig(Value):
    """The table `[metrics]`."""

    path: PathName = "metrics.sock"
    """A Unix socket that only the daemon's user can use: a name alone is in the runtime directory; `systemd:NAME` is a
    socket that systemd opened."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Of 127.0.0.1, for a Prometheus that can use no Unix socket. Whoever is on this machine can read it then."""

    def check(self, site: Site) -> None:
        """Raise `LeoError` where its extra is not installed, or no socket can be there."""
        require_extra("prometheus_client", "showing metrics", "daemon")
        check(self.path, place(self.path, site.folder, site.runtime_dir))
