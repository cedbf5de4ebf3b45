"""A daemon as its metrics show it: the text is fetched, read, and put in order. It knows nothing else of a daemon."""

from __future__ import annotations

import http.client
import math
import socket
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leo_runtime.errors import InputError, MissingExtraError
from leo_runtime.frozen import dataclass

PATIENCE_S = 5.0
MOST_BYTES = 4 << 20
"""More is not read of what answers."""

Samples = Mapping[str, Mapping[tuple[str, ...], float]]
"""By metric, and there by the values of its labels in the order of the labels' names."""


@dataclass(frozen=True, slots=True)
class GraphShown:
    """One graph, since the daemon started."""

    graph: str
    outcomes: Mapping[str, int]
    """Answers by outcome."""
    late: int
    fired: int
    p50_s: float | None
    """Half of the answers took at most that, as far as buckets tell; infinite: more than the last bucket."""
    p95_s: float | None
    age_s: float | None
    """Since its last answer."""
    joules: float
    paused: bool


@dataclass(frozen=True, slots=True)
class ProcessorShown:
    """One processor, or a radio, which has no lanes that could hang."""

    processor: str
    lanes: int | None
    busy_s: float
    up: bool
    suspect: bool
    hung: int
    given_up: int
    renewed: int
    set_aside: int
    slowed: float
    """How many times as slow as its profile plans take it to be."""


@dataclass(frozen=True, slots=True)
class StreamShown:
    """One stream that is fed."""

    stream: str
    samples: int
    rate_hz: float | None
    drift: float
    gaps: int
    lost: int
    stalls: int
    clock_jumps: int


@dataclass(frozen=True, slots=True)
class SourceShown:
    """One source."""

    source: str
    running: bool
    samples: int
    restarts: int
    errors: int


@dataclass(frozen=True, slots=True)
class SinkShown:
    """One sink."""

    sink: str
    published: int
    waiting: int
    dropped: int
    errors: int


@dataclass(frozen=True, slots=True)
class Shown:
    """All of a daemon at one moment. Sums are since it started."""

    version: str
    frames: Mapping[str, int]
    """By outcome."""
    in_flight: int
    graphs: tuple[GraphShown, ...]
    processors: tuple[ProcessorShown, ...]
    streams: tuple[StreamShown, ...]
    sources: tuple[SourceShown, ...]
    sinks: tuple[SinkShown, ...]
    causes_j: Mapping[str, float]
    """Joules by cause, the greatest first."""
    gates: Mapping[str, tuple[int, int]]
    """By stage: how often it opened, and how often it closed."""
    events: Mapping[str, int]
    battery: float | None
    """What is left, from 0 to 1."""
    saves_energy: bool
    memory_bytes: int | None

    @property
    def joules(self) -> float:
        """All energy."""
        return sum(self.causes_j.values())

    def as_json(self) -> dict[str, Any]:
        """As plain values; what is infinite is null there, since JSON has no form for it."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def fetch(where: str) -> str:
    """The text that a daemon shows at a Unix socket, or at 127.0.0.1:PORT. Raises `InputError`."""
    host, _, port = where.rpartition(":")
    is_tcp = host in ("127.0.0.1", "localhost") and port.isdecimal()
    connection = (
        http.client.HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE_S) if is_tcp else _UnixConnection(where)
    )
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES)
    except (OSError, ValueError, http.client.HTTPException, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"no daemon answers at {where} ({why})",
            hint="start one with [metrics] in its config, or name its socket: `leo-runtime top PATH`",
        ) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise InputError(f"{where} answers {answer.status} {answer.reason}", hint="is it a leo-runtime daemon?")
    return body.decode(errors="replace")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(Path(self._path).expanduser()))


def shown(text: str) -> Shown:
    """A daemon by the text of its metrics. Raises `InputError` for text that is none, and `MissingExtraError`."""
    found = _samples(text)
    build = found.get("leo_build_info")
    if not build:
        raise InputError("what answers shows no metrics of leo-runtime", hint="name the socket of a daemon's [metrics]")
    return Shown(
        version=next(iter(build))[-1],
        frames=_counts(found, "leo_frames_total"),
        in_flight=_int(found, "leo_frames_in_flight"),
        graphs=tuple(_graph(found, name) for name in _graphs(found)),
        processors=tuple(_processor(found, name) for name in _names(found, "leo_processor_lanes", _BUSY)),
        streams=tuple(_stream(found, name) for name in _names(found, "leo_stream_samples_total")),
        sources=tuple(_source(found, name) for name in _names(found, "leo_source_samples_total")),
        sinks=tuple(_sink(found, name) for name in _names(found, "leo_sink_given_total")),
        causes_j=dict(
            sorted(
                ((name, joules) for (name,), joules in found.get("leo_energy_joules_total", {}).items()),
                key=lambda one: (-one[1], one[0]),
            )
        ),
        gates=_gates(found),
        events=_counts(found, "leo_daemon_events_total"),
        battery=found.get("leo_battery_ratio", {}).get(()),
        saves_energy=bool(_int(found, "leo_policy_saves_energy")),
        memory_bytes=_int(found, "process_resident_memory_bytes") or None,
    )


_BUSY = "leo_processor_busy_seconds_total"


def _samples(text: str) -> Samples:
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        raise MissingExtraError("showing a daemon's metrics", "daemon") from None
    found: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple([value for _, value in sorted(sample.labels.items())])
                found[sample.name][labels] = float(sample.value)
    except Exception as error:  # The parser raises whatever comes to its mind: ValueError, KeyError, IndexError.
        raise InputError(
            f"what answers is no text of Prometheus ({type(error).__name__})",
            hint="name the socket of a daemon's [metrics]",
        ) from None
    return found


def _graphs(found: Samples) -> list[str]:
    paused = [name for (name,) in found.get("leo_policy_paused", {})]
    answered = [labels[0] for labels in found.get("leo_answers_total", {})]
    return list(dict.fromkeys([*answered, *paused]))


def _graph(found: Samples, name: str) -> GraphShown:
    outcomes = {
        outcome: int(number) for (graph, outcome), number in found["leo_answers_total"].items() if graph == name
    }
    buckets = [
        (math.inf if bound == "+Inf" else float(bound), number)
        for (graph, bound), number in found.get("leo_answer_latency_seconds_bucket", {}).items()
        if graph == name
    ]
    return GraphShown(
        name,
        outcomes,
        _int(found, "leo_answers_late_total", name),
        _int(found, "leo_answers_fired_total", name),
        quantile(buckets, 0.5),
        quantile(buckets, 0.95),
        found.get("leo_last_answer_age_seconds", {}).get((name,)),
        found.get("leo_graph_energy_joules_total", {}).get((name,), 0.0),
        bool(_int(found, "leo_policy_paused", name)),
    )


def quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """The bound of the bucket that such a share of all is not above; None: there are none."""
    buckets = sorted(buckets)
    if not buckets or not buckets[-1][1]:
        return None
    return next(bound for bound, number in buckets if number >= share * buckets[-1][1])


def _processor(found: Samples, name: str) -> ProcessorShown:
    lanes = found.get("leo_processor_lanes", {}).get((name,))
    return ProcessorShown(
        name,
        None if lanes is None else int(lanes),
        found.get(_BUSY, {}).get((name,), 0.0),
        bool(found.get("leo_processor_up", {}).get((name,), 1)),
        bool(_int(found, "leo_processor_suspect", name)),
        _int(found, "leo_processor_hung_runs", name),
        _int(found, "leo_processor_runs_given_up_total", name),
        _int(found, "leo_processor_lanes_renewed_total", name),
        _int(found, "leo_processor_modes_set_aside", name),
        found.get("leo_policy_slowed_ratio", {}).get((name,), 1.0),
    )


def _stream(found: Samples, name: str) -> StreamShown:
    return StreamShown(
        name,
        _int(found, "leo_stream_samples_total", name),
        found.get("leo_stream_rate_hertz", {}).get((name,)),
        found.get("leo_stream_drift_ratio", {}).get((name,), 0.0),
        _int(found, "leo_stream_gaps_total", name),
        _int(found, "leo_stream_samples_lost_total", name),
        _int(found, "leo_stream_stalls_total", name),
        _int(found, "leo_stream_clock_jumps_total", name),
    )


def _source(found: Samples, name: str) -> SourceShown:
    return SourceShown(
        name,
        bool(_int(found, "leo_source_running", name)),
        _int(found, "leo_source_samples_total", name),
        _int(found, "leo_source_restarts_total", name),
        _int(found, "leo_source_errors_total", name),
    )


def _sink(found: Samples, name: str) -> SinkShown:
    return SinkShown(
        name,
        _int(found, "leo_sink_published_total", name),
        _int(found, "leo_sink_waiting", name),
        _int(found, "leo_sink_dropped_total", name),
        _int(found, "leo_sink_errors_total", name),
    )


def _gates(found: Samples) -> dict[str, tuple[int, int]]:
    gates: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (decision, stage), number in found.get("leo_gate_decisions_total", {}).items():
        gates[stage][decision] = int(number)
    return {stage: (one.get("opened", 0), one.get("closed", 0)) for stage, one in gates.items()}


def _names(found: Samples, *metrics: str) -> list[str]:
    return list(dict.fromkeys(name for metric in metrics for (name,) in found.get(metric, {})))


def _counts(found: Samples, metric: str) -> dict[str, int]:
    return {name: int(number) for (name,), number in found.get(metric, {}).items()}


def _int(found: Samples, metric: str, *labels: str) -> int:
    with suppress(ValueError, OverflowError):  # NaN, infinity
        return int(found.get(metric, {}).get(labels, 0))
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
