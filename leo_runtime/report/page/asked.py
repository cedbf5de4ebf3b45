"""What was asked of a run, and what of its figures was modelled and what measured: pairs of a name and a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.trigger import ALWAYS_PPM
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.replay.log_lines import RunLine, RunLine1
from leo_runtime.report.layout import Energies
from leo_runtime.report.page.run_sums import RunSums
from leo_runtime.report.page.scales import milliseconds, seconds

Pairs = tuple[tuple[str, str], ...]


_NETWORK = {
    "estimated": "what transfers had shown by then",
    "truth": "what each did as a frame was released",
}


def asked(head: RunLine | RunLine1) -> Pairs:
    """What was run, and how."""
    part = f"{seconds(head.end_us - head.start_us)} s, from second {seconds(head.start_us)} on"
    if isinstance(head, RunLine1):
        return (
            ("workload", head.workload),
            ("machine", head.hardware),
            ("profile", head.profile),
            ("recording", f"{head.recording}, {part}"),
            ("placed by", head.policy),
            ("time", head.time),
            ("frames placed as one", str(head.batch)),
        )
    given = [
        ("workload", f"{head.workload.name}: {_pipelines(head)}"),
        ("machine", f"{head.hardware.name}: {_machine(head.hardware)}"),
        ("profile", head.profile.name),
        ("recording", f"{head.recording.name} ({head.recording.digest}), {part}"),
        ("placed by", f"{head.policy}, {_window(head)}"),
        ("time", "virtual" if head.time == "virtual" else "real"),
        ("noise of durations", "none" if not head.noise_ppm else f"{head.noise_ppm / 10_000:g} %"),
        ("seed", str(head.seed)),
        ("reserve of deadlines", _reserve(head)),
    ]
    if head.network_known is not None:
        given.append(("plans know of links", _NETWORK[head.network_known]))
    if head.charge_solver is not None:
        given.append(("solving charged to", head.charge_solver))
    given.append(("changed", ", ".join(head.changes) or "nothing"))
    if head.models:
        models = ", ".join(f"{PurePath(path).name} ({digest})" for path, digest in head.models.items())
        given.append(("model files", models))
    given.append(("leo-runtime", f"{head.version}, log {head.format}"))
    return tuple(given)


def _pipelines(head: RunLine) -> str:
    return ", ".join(
        f"{graph.name} every {milliseconds(graph.period_us)} ms{_trigger(graph)} within "
        f"{milliseconds(graph.deadline_us)} ms"
        for graph in head.workload.graphs
    )


def _trigger(graph: TaskGraph) -> str:
    """What it is triggered by besides its period."""
    trigger, said = graph.trigger, []
    if trigger.jitter_us:
        said.append(f"up to {milliseconds(trigger.jitter_us)} ms late")
    if trigger.extra_us:
        said.append(f"sporadic, {milliseconds(trigger.extra_us)} ms more in the mean")
    if trigger.chance_ppm < ALWAYS_PPM:
        said.append(f"in {trigger.chance_ppm / 10_000:g} % of cases")
    return f" ({', '.join(said)})" if said else ""


def _machine(hardware: Hardware) -> str:
    lanes = [one.name if one.lanes == 1 else f"{one.name} with {one.lanes} lanes" for one in hardware.processors]
    return ", ".join(
        [
            *lanes,
            *(f"radio {radio.name}" for radio in hardware.radios),
            *(f"store {store.name}" for store in hardware.stores),
        ]
    )


def _window(head: RunLine) -> str:
    if head.batch > 1:
        return f"{head.batch} frames at a time"
    if not head.window_stages:
        return "each frame as if it were alone"
    return f"in windows of up to {head.window_stages} stages"


def _reserve(head: RunLine) -> str:
    if head.reserve_percent is None:
        return "none" if head.time == "virtual" else "as usual in real time"
    return f"{head.reserve_percent} %"


def origins(head: RunLine | RunLine1, sums: RunSums, energies: Energies) -> Pairs:
    """What was modelled, and what measured."""
    found: list[tuple[str, str]] = []
    if head.time == "real":
        clocks = f"; of {sums.own_clocks} also the device's own clock" if sums.own_clocks else ""
        simulated = "a processor that is simulated runs for as long as its model says"
        found.append(("how long runs took", f"measured, as they ran{clocks}; {simulated}"))
    elif isinstance(head, RunLine) and head.noise_ppm:
        noise = f"{head.noise_ppm / 10_000:g} %"
        found.append(("how long runs took", f"modelled: as the profile says, spread by {noise} from seed {head.seed}"))
    else:
        found.append(("how long runs took", "modelled: exactly as the profile says"))
    runs = [
        f"{kind} for {number:,} ({energies.text(nj)} {energies.unit})"
        for kind, (number, nj) in sorted(sums.from_nj.items())
    ]
    found.append(("energy of runs", ", ".join(runs) or "there were none"))
    found.append(("energy of all else", "modelled by the machine's figures: transfers, waking up, being awake, asleep"))
    if isinstance(head, RunLine):
        found.append(("figures of the machine", _sources(_machine_sources(head.hardware))))
        found.append(("figures of the profile", _profile(head.profile)))
    return tuple(found)


def _profile(profile: Profile) -> str:
    where = f"of {profile.device.cpu or profile.device.machine}" if profile.device else "of no device that was measured"
    return f"{_sources(cost.source for cost in profile.costs)}; {where}"


def _machine_sources(hardware: Hardware) -> Iterable[str]:
    parts: list[Mapping[str, str]] = [hardware.sources]
    parts += [processor.sources for processor in hardware.processors]
    parts += [radio.sources for radio in hardware.radios]
    parts += [link.sources for link in hardware.links]
    parts += [store.sources for store in hardware.stores]
    parts += [loader.sources for loader in hardware.loaders]
    return (source for part in parts for source in part.values())


def _sources(sources: Iterable[str]) -> str:
    """How many figures have which kind of source."""
    counts: dict[str, int] = {}
    for source in sources:
        kind = next((kind for kind in ("measured", "modelled") if source.startswith(kind)), "from a cited source")
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{counts[kind]} {kind}" for kind in sorted(counts)) or "none has a source"
