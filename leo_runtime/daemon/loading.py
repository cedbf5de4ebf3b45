"""Reads what a config names: the workload, the machine, the profile; and checks that all of it fits together."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from leo_runtime import demo, shipped
from leo_runtime.daemon.config import AnySink, AnySource, DaemonConfig, named
from leo_runtime.daemon.decisions import DecisionConfig
from leo_runtime.daemon.kinds import GraphCopy, Part, Site
from leo_runtime.daemon.metrics_config import MetricsConfig
from leo_runtime.daemon.trust import Trust
from leo_runtime.daemon.unix_socket import own_place
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import InputError, LeoError, RecordingError, did_you_mean
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config and all that it names."""

    config: DaemonConfig
    workload: Workload
    """As the config names it."""
    running: Workload
    """The same, with the copies of graphs that sources ask for."""
    decisions: tuple[DecisionConfig, ...]
    """Those of the config, and the same for copies."""
    hardware: Hardware
    profile: Profile
    sources: Mapping[str, tuple[AnySource, tuple[Stream, ...]]]
    """By name, with the streams that each feeds."""
    sinks: Mapping[str, AnySink]


def load(config: DaemonConfig, folder: Path) -> Loaded:
    """Read it all; relative paths begin in `folder`. Raises `LeoError`."""
    trust = Trust(config.trusted, folder)
    file = demo.WORKLOAD if config.workload is None else folder / Path(config.workload).expanduser()
    workload = _chosen(_workload(file, trust), config.graphs)
    hardware = shipped.hardware(_named_or_file(config.machine, folder))
    profile = _read_profile(config, folder, workload)
    sources: dict[str, tuple[AnySource, tuple[Stream, ...]]] = {}
    copies: list[GraphCopy] = []
    for name, source in named(config.sources).items():
        try:
            copies += source.copies(workload)
            sources[name] = (source, source.fed(workload))
            if (program := source.runs(folder)) is not None:
                trust.require_program(program, "it")
        except LeoError as error:
            raise InputError(f"source `{name}`: {error}", hint=error.hint) from None
    drawn = next((graph.name for graph in workload.graphs if graph.trigger.is_drawn), None)
    if drawn is not None:
        raise InputError(
            f"graph `{drawn}` of workload `{workload.name}` has a `trigger`, which replays and studies draw from; what "
            "is sensed goes by periods",
            hint="leave out its `trigger`",
        )
    graphs = {graph.name for graph in workload.graphs}
    sinks = named(config.sinks)
    for name, sink in sinks.items():
        for graph in sink.graphs:
            if graph not in graphs:
                raise InputError(
                    f"sink `{name}` asks for graph `{graph}`, and workload `{workload.name}` has no such",
                    hint=f"it has {', '.join(sorted(graphs))}",
                )
    _require_own_places(config, sources, sinks, folder)
    running, decisions = _with_copies(workload, config.decisions, copies)
    return Loaded(config, workload, running, decisions, hardware, profile, sources, sinks)


def uses_network(config: DaemonConfig, folder: Path) -> bool:
    """Whether any of it, or a processor that is elsewhere, uses more than Unix sockets. Raises as reading one does."""
    if config.uses_network:
        return True
    hardware = shipped.hardware(_named_or_file(config.machine, folder))
    return any(processor.remote for processor in hardware.processors)


def wrong_parts(loaded: Loaded, site: Site) -> dict[str, LeoError]:
    """What is wrong with a config by what can be seen before it runs; by `source NAME`, `sink NAME` and `metrics`."""
    parts: dict[str, Part | MetricsConfig] = {f"source {name}": source for name, (source, _) in loaded.sources.items()}
    parts |= {f"sink {name}": sink for name, sink in loaded.sinks.items()}
    if loaded.config.metrics is not None:
        parts["metrics"] = loaded.config.metrics
    found: dict[str, LeoError] = {}
    for name, part in parts.items():
        try:
            part.check(site)
        except LeoError as error:
            found[name] = error
    return found


def _require_own_places(
    config: DaemonConfig,
    sources: Mapping[str, tuple[AnySource, tuple[Stream, ...]]],
    sinks: Mapping[str, AnySink],
    folder: Path,
) -> None:
    """Raise `InputError` where two parts of a config use one file, or listen at one place."""
    used = [(f"source `{name}`", source.own_place(folder)) for name, (source, _) in sources.items()]
    used += [(f"sink `{name}`", sink.own_place(folder)) for name, sink in sinks.items()]
    if config.metrics is not None:
        used.append(("[metrics]", own_place(config.metrics.path, folder)))
    whose: dict[str, str] = {}
    for one, at in used:
        if at is not None and whose.setdefault(at, one) != one:
            raise InputError(f"{whose[at]} and {one} both use {at}", hint="give each a place of its own")


def _with_copies(
    workload: Workload, decisions: Sequence[DecisionConfig], copies: Sequence[GraphCopy]
) -> tuple[Workload, tuple[DecisionConfig, ...]]:
    """A workload with copies of its graphs, which are decided as those are. Raises `GraphError`."""
    if not copies:
        return workload, tuple(decisions)
    streams = {copy.stream.name: copy.stream for copy in copies}
    decided = {decision.graph: decision for decision in decisions}
    more = [decided[copy.of].model_copy(update={"graph": copy.graph.name}) for copy in copies if copy.of in decided]
    running = workload.with_graphs(*[copy.graph for copy in copies], streams=tuple(streams.values()))
    return running, (*decisions, *more)


def _workload(file: Path, trust: Trust) -> Workload:
    """A workload, of which nothing is imported or opened that is not trusted. Raises `LeoError`."""
    read = super(Workload, Workload).from_file(file)  # Before anything that it names is looked for.
    trust.require_modules(read, file.parent)
    workload = read.with_files_in(file.parent)
    trust.require_files(workload)
    return workload


def _chosen(workload: Workload, graphs: tuple[str, ...]) -> Workload:
    """The workload with these graphs alone, and the streams that they read. Raises `InputError`."""
    if not graphs:
        return workload
    known = [graph.name for graph in workload.graphs]
    for index, name in enumerate(graphs):
        if name not in known:
            raise InputError(
                f"no graph of workload `{workload.name}` is called `{name}`, at $.graphs[{index}]",
                hint=did_you_mean(name, known),
            )
    chosen = workload.without(*[name for name in known if name not in graphs])
    read = {
        params["stream"]
        for graph in chosen.graphs
        for stage in graph.stages
        for params in (stage.params, *(variant.params for variant in stage.variants))
        if "stream" in params
    }
    return chosen.model_copy(update={"streams": tuple(one for one in chosen.streams if one.name in read)})


def require_changeable(before: Loaded, now: Loaded) -> None:
    """Raise `InputError` where a config asks for what only a new start can give."""
    for what in ("machine", "runtime", "state_dir"):
        if getattr(before.config, what) != getattr(now.config, what):
            raise InputError(f"`{what}` of the config cannot change while the daemon runs", hint="start it anew")
    if before.hardware != now.hardware:
        raise InputError("the machine's document cannot change while the daemon runs", hint="start the daemon anew")


def _named_or_file(given: str, folder: Path) -> str:
    is_file = Path(given).suffix in (".toml", ".json")
    return str(folder / Path(given).expanduser()) if is_file else given


def _read_profile(config: DaemonConfig, folder: Path, workload: Workload) -> Profile:
    given = config.profile
    if given is None:
        if config.machine in shipped.names("profile"):
            return shipped.profile(config.machine)
        raise InputError(
            f"there is no profile of machine `{config.machine}`: what stages cost there is not known",
            hint=_measure_it(config, folder, workload, f"{Path(config.machine).stem}.profile.json"),
        )
    named = _named_or_file(given, folder)
    try:
        return shipped.profile(named)
    except InputError as error:
        if error.hint or Path(named).exists():
            raise
        hint = _measure_it(config, folder, workload, str(Path(given).with_suffix(".json")))
        raise InputError(f"there is no profile {named}", hint=hint) from None


def _measure_it(config: DaemonConfig, folder: Path, workload: Workload, profile: str) -> str:
    """The command by which a profile is measured that the config then names so."""
    words = ["leo-runtime", "calibrate"]
    if config.workload is not None:
        words += ["--workload", _file(config.workload, folder)]
    if config.machine != "host":
        words += ["--hardware", _named_or_file(config.machine, folder)]
    own = [one.name for one in workload.streams if not _is_in_demo(workload, one)]
    if own:
        words += ["--recording", "RECORDING"]
    said = f"measure it by `{shlex.join([*words, '--out', _file(profile, folder)])}`"
    if own:
        said += f", of a recording that has {', '.join(own)}"
    return said if profile == config.profile else f'{said}, and say profile = "{profile}"'


def _file(given: str, folder: Path) -> str:
    return str(folder / Path(given).expanduser())


def _is_in_demo(workload: Workload, stream: Stream) -> bool:
    from leo_runtime.recordings.recording import check_streams  # A daemon that runs needs none of it.

    try:
        check_streams(workload.model_copy(update={"streams": (stream,)}), shipped.recording("demo"))
    except RecordingError:
        return False
    return True
