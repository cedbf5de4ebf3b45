"""Reads what a config names: the workload, the machine, the profile; and checks that all of it fits together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from leo_runtime import shipped
from leo_runtime.daemon.config import AnySink, AnySource, DaemonConfig, named
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import InputError, LeoError
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config and all that it names."""

    config: DaemonConfig
    workload: Workload
    hardware: Hardware
    profile: Profile
    sources: Mapping[str, tuple[AnySource, tuple[Stream, ...]]]
    """By name, with the streams that each feeds."""
    sinks: Mapping[str, AnySink]


def load(config: DaemonConfig, folder: Path) -> Loaded:
    """Read it all; relative paths begin in `folder`. Raises `LeoError`."""
    workload = shipped.workload(None if config.workload is None else str(folder / Path(config.workload).expanduser()))
    hardware = shipped.hardware(_named_or_file(config.machine, folder))
    profile = shipped.profile(_named_or_file(_profile(config), folder))
    sources: dict[str, tuple[AnySource, tuple[Stream, ...]]] = {}
    for name, source in named(config.sources).items():
        try:
            sources[name] = (source, source.fed(workload))
        except LeoError as error:
            raise InputError(f"source `{name}`: {error}", hint=error.hint) from None
    graphs = {graph.name for graph in workload.graphs}
    sinks = named(config.sinks)
    for name, sink in sinks.items():
        for graph in sink.graphs:
            if graph not in graphs:
                raise InputError(
                    f"sink `{name}` asks for graph `{graph}`, and workload `{workload.name}` has no such",
                    hint=f"it has {', '.join(sorted(graphs))}",
                )
    return Loaded(config, workload, hardware, profile, sources, sinks)


def _profile(config: DaemonConfig) -> str:
    if config.profile is not None:
        return config.profile
    if config.machine in shipped.names("profile"):
        return config.machine
    raise InputError(
        f"there is no profile of machine `{config.machine}`: what stages cost there is not known",
        hint='measure it by `leo-runtime calibrate --out host.profile.json`, and say profile = "host.profile.json"',
    )


def _named_or_file(given: str, folder: Path) -> str:
    is_file = Path(given).suffix in (".toml", ".json")
    return str(folder / Path(given).expanduser()) if is_file else given
