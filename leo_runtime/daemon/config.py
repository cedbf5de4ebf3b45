"""The daemon's config: the document `leo-daemon/1`. A kind of source or sink is a file of its own and a name here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from leo_runtime.daemon.decisions import DecisionConfig
from leo_runtime.daemon.logs import LogConfig
from leo_runtime.daemon.metrics_config import MetricsConfig
from leo_runtime.daemon.policy_config import Fixed, Policy
from leo_runtime.daemon.sinks.lines import LinesSink
from leo_runtime.daemon.sinks.mqtt import MqttSink
from leo_runtime.daemon.sinks.socket import SocketSink
from leo_runtime.daemon.sources.camera import CameraSource
from leo_runtime.daemon.sources.iio import IioSource
from leo_runtime.daemon.sources.microphone import MicrophoneSource
from leo_runtime.daemon.sources.pipe import PipeSource
from leo_runtime.daemon.sources.recording import RecordingSource
from leo_runtime.daemon.sources.socket import SocketSource
from leo_runtime.daemon.sources.stdin import StdinSource
from leo_runtime.daemon.sources.wyoming import WyomingSource
from leo_runtime.schema import Document, Name, PathName, Value, reject, unique

AnySource = Annotated[
    RecordingSource
    | SocketSource
    | WyomingSource
    | PipeSource
    | MicrophoneSource
    | CameraSource
    | IioSource
    | StdinSource,
    Field(discriminator="kind"),
]
"""Every kind of source."""
AnySink = Annotated[LinesSink | MqttSink | SocketSink, Field(discriminator="kind")]
"""Every kind of sink."""


def _require_sha256(given: str) -> str:
    if len(given) != 64 or not set(given) <= set("0123456789abcdef"):
        reject("a SHA-256 is 64 of the digits 0 to 9 and a to f", "$", given, hint="`sha256sum FILE` prints it")
    return given


class TrustedFolder(Value):
    """A folder whose operator modules and model files may be used."""

    folder: PathName
    sha256: dict[Name, Annotated[str, AfterValidator(_require_sha256)]] = Field(default_factory=dict)
    """By file, relative to the folder: what it has to hold. Where any is given, no other file is used."""


class RuntimeConfig(Value):
    """How frames are placed: options of the runtime by their names (`leo_runtime.RuntimeOptions`)."""

    solver: Name = "exact"
    limit_ms: Annotated[int, Field(ge=1, le=60_000)] | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=10_000)] = 16
    adapt: bool = False


class DaemonConfig(Document):
    """What a daemon runs. Paths are relative to the config's file."""

    format: Literal["leo-daemon/1"]
    workload: PathName | None = None
    """A file. None: the demo's."""
    graphs: tuple[Name, ...] = ()
    """Which graphs of the workload run; none: all."""
    machine: PathName = "host"
    """A machine that ships, or a file."""
    profile: PathName | None = None
    """A profile that ships, or a file. None: the one that ships under the machine's name."""
    state_dir: PathName | None = None
    """What is kept from start to start. None: where systemd or XDG says."""
    trusted: tuple[TrustedFolder, ...] = ()
    """Where operator modules and model files may lie, beside those that ship. None: there are no others."""
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """How long frames in flight and answers on their way may take when the daemon ends."""
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)
    sources: Annotated[tuple[AnySource, ...], Field(min_length=1)]
    sinks: Annotated[tuple[AnySink, ...], Field(min_length=1)]
    decisions: tuple[DecisionConfig, ...] = ()
    policy: Policy = Field(default_factory=Fixed)
    """What is done about the machine as it is."""
    metrics: MetricsConfig | None = None
    """Where its numbers are shown. None: nowhere."""
    log: LogConfig = Field(default_factory=LogConfig)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind in ("sources", "sinks"):
            given = [one.name for one in getattr(self, kind)]
            unique([name for name in given if name is not None], f"$.{kind}[{{}}].name")
        seen: set[str] = set()
        for index, decision in enumerate(self.decisions):
            if decision.graph in seen:
                reject(f'graph "{decision.graph}" has two decisions', f"$.decisions[{index}].graph", decision.graph)
            seen.add(decision.graph)
        return self

    @property
    def uses_network(self) -> bool:
        """Whether any of it uses more than Unix sockets, be it on this machine alone."""
        shown = self.metrics is not None and self.metrics.port is not None
        return shown or any(one.uses_network for one in (*self.sources, *self.sinks))


_Named = TypeVar("_Named", AnySource, AnySink)


def named(configs: Sequence[_Named]) -> dict[str, _Named]:
    """Sources or sinks by name: their own, else their kind, and a number behind it where that is taken."""
    found: dict[str, _Named] = {}
    given = {one.name for one in configs}
    for one in configs:
        name, number = one.name or one.kind, 2
        while one.name is None and (name in found or name in given):
            name, number = f"{one.kind}-{number}", number + 1
        found[name] = one
    return found
