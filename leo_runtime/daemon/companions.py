"""What runs beside a daemon's sources and sinks, as its config says: a policy, the metrics. Imported if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from leo_runtime.clock import WallClock
from leo_runtime.daemon.policy_config import Fixed

if TYPE_CHECKING:
    from leo_runtime.daemon.config import DaemonConfig
    from leo_runtime.daemon.counts import Counts
    from leo_runtime.daemon.delivering import Delivering
    from leo_runtime.daemon.governor import Governed, Governor
    from leo_runtime.daemon.kinds import Companion, Site
    from leo_runtime.daemon.metrics import Scraped
    from leo_runtime.daemon.policy_config import Acting
    from leo_runtime.daemon.tally import Tally

    class Watched(Governed, Protocol):
        """A daemon that runs."""

        counts: Counts
        tally: Tally
        sinks: Mapping[str, Delivering]

        @property
        def config(self) -> DaemonConfig:
            """What it runs by."""
            ...

        @property
        def in_flight(self) -> int:
            """Frames that were taken and have not ended."""
            ...


def companions_of(daemon: Watched, site: Site) -> list[Companion]:
    """What its config asks for; nothing has begun yet. Raises `InputError`, `MissingExtraError`."""
    config = daemon.config
    found: list[Companion] = []
    governor = None
    if not isinstance(config.policy, Fixed):
        governor = _governor(config.policy, daemon, site)
        found.append(governor)
    if config.metrics is not None:
        from leo_runtime.daemon.metrics_server import MetricsServer

        found.append(MetricsServer(config.metrics, lambda: scraped(daemon, governor), site))
    return found


def _governor(policy: Acting, daemon: Watched, site: Site) -> Governor:
    from leo_runtime.daemon.governor import TAKEN, Governor, site_of
    from leo_runtime.daemon.machine_state import own_processes, read_machine

    has_gpu = bool(site_of(policy, daemon.workload, daemon.runtime.hardware).gpu)
    return Governor(
        policy,
        daemon,
        daemon.tally,
        daemon.counts,
        read=lambda: read_machine(own=own_processes() if has_gpu else None),
        clock=WallClock(),
        taken=site.runtime_dir / TAKEN,
    )


def scraped(daemon: Watched, governor: Governor | None) -> Scraped:
    """What the metrics show of a daemon now."""
    from leo_runtime.daemon.metrics import Scraped

    return Scraped(
        counted=daemon.counts.now(),
        tallied=daemon.tally.now(),
        waiting={name: sink.waiting for name, sink in daemon.sinks.items()},
        in_flight=daemon.in_flight,
        runtime=daemon.runtime,
        machine=None if governor is None else governor.machine,
        settings=None if governor is None else governor.settings,
    )
