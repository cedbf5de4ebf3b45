"""What runs beside a daemon's sources and sinks, as its config says: a policy, the metrics. Imported if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from leo_runtime.clock import WallClock
from leo_runtime.daemon.policy_config import Fixed, Policy
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.daemon.config import DaemonConfig
    from leo_runtime.daemon.counts import Counts
    from leo_runtime.daemon.delivering import Delivering
    from leo_runtime.daemon.governor import Governed, Governor
    from leo_runtime.daemon.kinds import Site
    from leo_runtime.daemon.metrics import Scraped
    from leo_runtime.daemon.metrics_config import MetricsConfig
    from leo_runtime.daemon.metrics_server import MetricsServer
    from leo_runtime.daemon.policy_config import Acting
    from leo_runtime.daemon.tally import Tally

    class Watched(Governed, Protocol):
        """A daemon that runs."""

        counts: Counts
        tally: Tally

        @property
        def sinks(self) -> Mapping[str, Delivering]:
            """Those that run, by name."""
            ...

        @property
        def in_flight(self) -> int:
            """Frames that were taken and have not ended."""
            ...


class Companions:
    """The policy and the metrics of a daemon that runs. For one thread at a time."""

    def __init__(self, daemon: Watched) -> None:
        """Nothing runs yet."""
        self._daemon = daemon
        self._policy: Policy = Fixed()
        self._shown: MetricsConfig | None = None
        self._governor: Governor | None = None
        self._metrics: MetricsServer | None = None

    def prepare(self, config: DaemonConfig, site: Site) -> Prepared:
        """Make ready what a config asks for, in place of what runs: `use` or `abandon` it. What stays the same runs on.

        Raises `InputError`, `MissingExtraError`, and nothing has begun then.
        """
        governor, metrics = self._governor, self._metrics
        if config.policy != self._policy:
            governor = None if isinstance(config.policy, Fixed) else _governor(config.policy, self._daemon, site)
        if config.metrics != self._shown:
            metrics = None
            if config.metrics is not None:
                from leo_runtime.daemon.metrics_server import MetricsServer

                metrics = MetricsServer(
                    config.metrics, lambda: scraped(self._daemon, self._governor), site, before=self._metrics
                )
                metrics.start()
        return Prepared(config, governor, metrics)

    def use(self, prepared: Prepared) -> None:
        """Have that run. What a policy of before has changed is taken back; it is waited for, some seconds at most."""
        before, self._governor = self._governor, prepared.governor
        if before is not None and before is not prepared.governor:
            before.close()
            before.undo()
        if prepared.governor is not None and prepared.governor is not before:
            prepared.governor.start()
        if self._metrics is not None and self._metrics is not prepared.metrics:
            self._metrics.close()
        self._metrics = prepared.metrics
        self._policy, self._shown = prepared.config.policy, prepared.config.metrics

    def abandon(self, prepared: Prepared) -> None:
        """Let go of what was made ready."""
        if prepared.metrics is not None and prepared.metrics is not self._metrics:
            prepared.metrics.close()

    def close(self) -> None:
        """End both."""
        if self._governor is not None:
            self._governor.close()
        if self._metrics is not None:
            self._metrics.close()


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a config asks for, made ready."""

    config: DaemonConfig
    governor: Governor | None
    metrics: MetricsServer | None


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
