"""The daemon's numbers as Prometheus metrics: read when they are asked for, of what is counted anyway.

Names begin with `leo_`, units are seconds, joules, bytes, ratios and degrees Celsius, counters end in `_total`. Labels
name what documents name (graphs, stages, processors, streams, sources, sinks, radios) or what the code does (outcomes,
causes), never what comes from outside: there are as many series as the config has parts, however long it runs.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from leo_runtime.daemon.tally import BUCKETS_US
from leo_runtime.errors import MissingExtraError
from leo_runtime.frozen import dataclass
from leo_runtime.version import VERSION

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from leo_runtime.daemon.counts import Counted
    from leo_runtime.daemon.machine_state import MachineState
    from leo_runtime.daemon.policies import Settings
    from leo_runtime.daemon.tally import Tallied
    from leo_runtime.runtime.runtime import Runtime

EXTRA = "daemon"


@dataclass(frozen=True, slots=True)
class Scraped:
    """What one scrape shows."""

    counted: Counted
    tallied: Tallied
    waiting: Mapping[str, int]
    """Answers that wait, by sink."""
    in_flight: int
    runtime: Runtime | None = None
    """None: it does not run yet."""
    machine: MachineState | None = None
    """As it was when it was looked at last; None: nobody looks."""
    settings: Settings | None = None


Scrape = Callable[[], Scraped]
"""Gives what there is now. From any thread, quickly."""


def registry(scrape: Scrape) -> CollectorRegistry:
    """A registry of its own, with these metrics and those of the process. Raises `MissingExtraError`."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.registry import Collector
    except ImportError:
        raise MissingExtraError("showing metrics", EXTRA) from None

    class Metrics(Collector):
        def collect(self) -> Iterable[Metric]:
            return families(scrape())

        def describe(self) -> Iterable[Metric]:
            return ()  # Nothing is looked at as it is registered.

    made = CollectorRegistry(auto_describe=False)
    made.register(Metrics())
    ProcessCollector(registry=made)
    return made


def families(now: Scraped) -> Iterator[Metric]:
    """All metrics but those of the process."""
    yield _gauge("leo_build_info", "What runs.", ("version", "python"), [((VERSION, platform.python_version()), 1)])
    yield from _of_frames(now)
    yield from _of_energy(now.tallied)
    yield from _of_sources_and_sinks(now)
    if now.runtime is not None:
        yield from _of_processors(now.runtime, now.tallied)
        yield from _of_streams(now.runtime)
        yield from _of_plans(now.runtime, now.tallied)
    if now.machine is not None:
        yield from _of_machine(now.machine)
    if now.settings is not None:
        yield from _of_policy(now.settings, now.runtime)


def _of_frames(now: Scraped) -> Iterator[Metric]:
    counted, tallied = now.counted, now.tallied
    yield _counter("leo_frames", "Frames that have ended.", ("outcome",), _by_name(counted.frames))
    yield _gauge("leo_frames_in_flight", "Frames that were taken and have not ended.", (), [((), now.in_flight)])
    yield _counter("leo_answers", "Answers.", ("graph", "outcome"), counted.answers.items())
    yield _counter("leo_answers_late", "Answers after their deadline, or never.", ("graph",), _by_name(counted.late))
    yield _counter("leo_answers_fired", "Answers that are acted on.", ("graph",), _by_name(counted.fired))
    yield _latencies(tallied)
    failures = 0 if now.runtime is None else sum(one.failures for one in now.runtime.subscriptions)
    yield _counter("leo_telling_failures", "Frames whose answers could not be made.", (), [((), failures)])
    now_us = 0 if now.runtime is None else now.runtime.now_us
    ages = {graph: max(0, now_us - at_us) / 1e6 for graph, at_us in tallied.last_answer_us.items()}
    yield _gauge("leo_last_answer_age_seconds", "Since a graph has answered last.", ("graph",), _by_name(ages))
    gates = [((stage, "opened" if opened else "closed"), n) for (stage, opened), n in tallied.gates.items()]
    yield _counter("leo_gate_decisions", "Decisions of gates.", ("stage", "decision"), gates)


def _of_energy(tallied: Tallied) -> Iterator[Metric]:
    causes = {cause: nj / 1e9 for cause, nj in tallied.causes_nj.items()}
    yield _counter("leo_energy_joules", "Energy, by the ledger.", ("cause",), _by_name(causes))
    graphs = {graph: nj / 1e9 for graph, nj in tallied.graphs_nj.items() if graph}
    yield _counter("leo_graph_energy_joules", "Energy that a graph is charged.", ("graph",), _by_name(graphs))
    yield _counter("leo_energy_unmetered_frames", "Frames in no sum of energy.", (), [((), tallied.unmetered)])


def _of_sources_and_sinks(now: Scraped) -> Iterator[Metric]:
    sources, sinks = now.counted.sources, now.counted.sinks
    for name, says in (
        ("samples", "Samples that a source gave."),
        ("chunks", "Chunks that a source gave."),
        ("restarts", "How often a source was started anew."),
        ("errors", "How often a source went wrong."),
    ):
        values = {source: getattr(one, name) for source, one in sources.items()}
        yield _counter(f"leo_source_{name}", says, ("source",), _by_name(values))
    runs = {name: int(not one.ended) for name, one in sources.items()}
    yield _gauge("leo_source_running", "1 unless it has given all that it has.", ("source",), _by_name(runs))
    for name, says in (
        ("given", "Answers that a sink was given."),
        ("published", "Answers that a sink has published."),
        ("dropped", "Answers that a sink has lost."),
        ("errors", "How often a sink went wrong."),
    ):
        values = {sink: getattr(one, name) for sink, one in sinks.items()}
        yield _counter(f"leo_sink_{name}", says, ("sink",), _by_name(values))
    yield _gauge("leo_sink_waiting", "Answers that wait for a sink.", ("sink",), _by_name(now.waiting))
    others = now.counted.others
    events = {name: number for name, number in others.items() if not name.endswith("_us")}
    yield _counter("leo_daemon_events", "What else the daemon counts.", ("event",), _by_name(events))
    for name in sorted(others.keys() - events.keys()):
        yield _gauge(f"leo_{name.removesuffix('_us')}_seconds", "Of the daemon.", (), [((), others[name] / 1e6)])


def _of_processors(runtime: Runtime, tallied: Tallied) -> Iterator[Metric]:
    found, label = runtime.processors(), ("processor",)
    lanes = {one.name: one.lanes for one in runtime.hardware.processors}
    yield _gauge("leo_processor_lanes", "Lanes of a processor.", label, _by_name(lanes))
    busy = {name: us / 1e6 for name, us in tallied.busy_us.items()}
    says = "Time in which lanes of a processor or radio did something, all added."
    yield _counter("leo_processor_busy_seconds", says, label, _by_name(busy))
    gauges = {
        "up": ("1 unless it is lost.", {one.processor: int(not one.lost) for one in found}),
        "suspect": ("1 where all its lanes are very late.", {one.processor: int(one.suspect) for one in found}),
        "modes_set_aside": ("Modes out of service.", {one.processor: len(one.set_aside) for one in found}),
        "hung_runs": ("Runs that hang now.", {one.processor: one.abandoned for one in found}),
    }
    for name, (says, values) in gauges.items():
        yield _gauge(f"leo_processor_{name}", says, label, _by_name(values))
    counters = {
        "runs_given_up": ("Runs that took too long.", {one.processor: one.given_up for one in found}),
        "lanes_renewed": ("Lanes that went on without what hung.", {one.processor: one.lanes_renewed for one in found}),
        "probes": ("How often it was tried again.", {one.processor: one.probes for one in found}),
        "process_ends": ("Ends of worker processes.", {one.processor: one.process_ends for one in found}),
    }
    for name, (says, values) in counters.items():
        yield _counter(f"leo_processor_{name}", says, label, _by_name(values))


def _of_streams(runtime: Runtime) -> Iterator[Metric]:
    found, label = runtime.streams(), ("stream",)
    counters = {
        "samples": ("Samples or events that were fed.", {one.stream: one.fed for one in found}),
        "stalls": ("How often samples came too late.", {one.stream: one.stalls for one in found}),
        "clock_jumps": ("How often the device's clock was set.", {one.stream: one.jumps for one in found}),
        "gaps": ("How often samples were lost.", {one.stream: one.gaps for one in found}),
        "samples_lost": ("Samples that were lost.", {one.stream: one.lost for one in found}),
    }
    for name, (says, values) in counters.items():
        yield _counter(f"leo_stream_{name}", says, label, _by_name(values))
    says = "Releases of a graph that were none, since samples were lost."
    yield _counter("leo_releases_left_out", says, ("graph",), _by_name(runtime.unreleased))
    rates = {one.stream: one.rate_hz for one in found if one.rate_hz is not None}
    yield _gauge("leo_stream_rate_hertz", "Its rate, measured.", label, _by_name(rates))
    drift = {one.stream: one.drift_ppm / 1e6 for one in found}
    yield _gauge("leo_stream_drift_ratio", "How much faster than said it comes.", label, _by_name(drift))
    filled = {one.stream: one.held / max(1, one.capacity) for one in found}
    yield _gauge("leo_stream_buffer_ratio", "How full its ring is.", label, _by_name(filled))


def _of_plans(runtime: Runtime, tallied: Tallied) -> Iterator[Metric]:
    planning = runtime.planning
    ways = ("looked_up", "proved", "unproved", "shortened", "alone", "at_once")
    plans = {way: getattr(planning, way) for way in ways}
    yield _counter("leo_plans", "How releases came to their plans.", ("way",), _by_name(plans))
    yield _counter("leo_solver_seconds", "Time in the solver.", (), [((), tallied.solve_us / 1e6)])
    drift = [((one.stage, one.variant, one.resource), one.ratio_ppm / 1e6) for one in runtime.drift()]
    says = "How long runs of a mode last, by the profile."
    yield _gauge("leo_mode_duration_ratio", says, ("stage", "variant", "processor"), drift)


def _of_machine(machine: MachineState) -> Iterator[Metric]:
    if machine.battery is not None:
        yield _gauge("leo_battery_ratio", "What is left.", (), [((), machine.battery.percent / 100)])
        if machine.battery.discharge_mw is not None:
            watts = machine.battery.discharge_mw / 1e3
            yield _gauge("leo_battery_discharge_watts", "Drawn from it.", (), [((), watts)])
    heat = {zone.name: zone.millicelsius / 1e3 for zone in machine.zones}
    yield _gauge("leo_temperature_celsius", "Of a thermal zone.", ("zone",), _by_name(heat))
    caps = {clock.name: clock.allowed_ppm / 1e6 for clock in machine.clocks}
    yield _gauge("leo_clock_allowed_ratio", "How fast cores may run.", ("clock",), _by_name(caps))
    if machine.cpu_pressure_ppm is not None:
        pressure = machine.cpu_pressure_ppm / 1e6
        yield _gauge("leo_cpu_pressure_ratio", "How long something waited for a CPU.", (), [((), pressure)])


def _of_policy(settings: Settings, runtime: Runtime | None) -> Iterator[Metric]:
    yield _gauge("leo_policy_saves_energy", "1: energy before deadlines.", (), [((), int(settings.saves_energy))])
    if runtime is None:
        return
    graphs = {one.name: int(one.name in settings.paused) for one in runtime.merged.workload.graphs}
    yield _gauge("leo_policy_paused", "1: the policy leaves it out.", ("graph",), _by_name(graphs))
    slowed = dict(settings.slowed_ppm)
    factors = {one.name: slowed.get(one.name, 1_000_000) / 1e6 for one in runtime.hardware.processors}
    yield _gauge("leo_policy_slowed_ratio", "How slow plans take it to be.", ("processor",), _by_name(factors))


def _latencies(tallied: Tallied) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    found = HistogramMetricFamily(
        "leo_answer_latency_seconds", "From a frame's release to its answer.", labels=("graph",)
    )
    bounds = [*(str(us / 1e6) for us in BUCKETS_US), "+Inf"]
    for graph, one in tallied.latencies.items():
        found.add_metric([graph], list(zip(bounds, one.counts, strict=True)), one.sum_us / 1e6)
    return found


Values = Iterable[tuple[Sequence[str], float]]


def _by_name(values: Mapping[str, float]) -> Values:
    return (((name,), value) for name, value in values.items())


def _counter(name: str, says: str, labels: Sequence[str], values: Values) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, says, labels=labels), values)


def _gauge(name: str, says: str, labels: Sequence[str], values: Values) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, says, labels=labels), values)


def _filled(family: Metric, values: Values) -> Metric:
    for labels, value in values:
        family.add_metric(labels, value)  # type: ignore[attr-defined]  # both kinds have it
    return family
