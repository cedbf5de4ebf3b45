"""A server's counts as Prometheus metrics. Labels are models of the workload, statuses and reasons of the code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from leo_runtime.errors import MissingExtraError
from leo_runtime.serving.counts import Counted
from leo_runtime.serving.kept import KeptNow

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

EXTRA = "daemon"


def metrics_of(counted: Callable[[], Counted], kept: Callable[[], KeptNow]) -> tuple[bytes, str]:
    """Their text, with those of the process, and its type. Raises `MissingExtraError`."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
        from prometheus_client.registry import Collector
    except ImportError:
        raise MissingExtraError("showing metrics", EXTRA) from None

    class Metrics(Collector):
        def collect(self) -> Iterable[Metric]:
            return families(counted(), kept())

        def describe(self) -> Iterable[Metric]:
            return ()  # Nothing is looked at as it is registered.

    made = CollectorRegistry(auto_describe=False)
    made.register(Metrics())
    ProcessCollector(registry=made)
    return generate_latest(made), CONTENT_TYPE_LATEST


def families(now: Counted, kept: KeptNow) -> Iterable[Metric]:
    """All metrics but those of the process."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    answers = CounterMetricFamily("leo_serve_answers", "Answers to requests.", labels=("model", "status"))
    for (model, status), number in sorted(now.answers.items()):
        answers.add_metric((model, str(status)), number)
    refused = CounterMetricFamily("leo_serve_refused", "Requests that were not run, by reason.", labels=("reason",))
    for reason, number in sorted(now.refused.items()):
        refused.add_metric((reason,), number)
    ran = CounterMetricFamily("leo_serve_run_seconds", "Time in which models ran.", labels=("model",))
    for model, run_us in sorted(now.run_us.items()):
        ran.add_metric((model,), run_us / 1e6)
    yield from (answers, refused, ran)
    yield CounterMetricFamily(
        "leo_serve_wait_seconds", "Time in which requests waited for their turn.", now.waited_us / 1e6
    )
    yield CounterMetricFamily("leo_serve_received_bytes", "Of bodies of requests.", now.bytes_in)
    yield CounterMetricFamily("leo_serve_sent_bytes", "Of bodies of answers.", now.bytes_out)
    dropped = CounterMetricFamily(
        "leo_serve_kept_dropped", "Kept tensors that went before their client forgot them.", labels=("reason",)
    )
    for reason, number in sorted(kept.dropped.items()):
        dropped.add_metric((reason,), number)
    yield dropped
    yield GaugeMetricFamily("leo_serve_kept_tensors", "Tensors that are kept between requests.", kept.tensors)
    yield GaugeMetricFamily("leo_serve_kept_bytes", "Their bytes.", kept.bytes)
    yield GaugeMetricFamily("leo_serve_connections", "Connections that are open.", now.connections)
    yield GaugeMetricFamily("leo_serve_under_way", "Requests that wait for their turn, or run.", now.under_way)
