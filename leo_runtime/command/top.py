"""`leo-runtime top`: a daemon as it runs: what its graphs answer, what that takes, and who is in trouble."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.command.shared import DONE, add_width, amount, look, put
from leo_runtime.errors import InputError, MissingExtraError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leo_runtime.daemon.metrics_reader import GraphShown, ProcessorShown, Shown, StreamShown
    from leo_runtime.terminal import Look

EXAMPLE = "top --once"
BY_SYSTEMD = Path("/run/leo-runtime/metrics.sock")
"""Of the unit that `leo-runtime daemon --unit` prints: root may read it."""
LEAST_S = 0.2
"""Between two looks."""
TROUBLE = ("late", "fail", "lost", "hung", "given up", "set aside", "gaps", "stalls", "restarts", "errors", "dropped")
"""Columns whose figures are red above 0."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    socket: str | None
    once: bool
    json: bool
    every: float
    columns: int | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "socket",
        nargs="?",
        metavar="SOCKET",
        help="of the daemon's metrics, or 127.0.0.1:PORT (default: metrics.sock in the runtime directory)",
    )
    parser.add_argument("--once", action="store_true", help="as it is now, and end; so too where it is piped")
    parser.add_argument("--json", action="store_true", help="as it is now, as JSON")
    parser.add_argument("--every", type=amount, default=1.0, metavar="SECONDS", help="how often to look (default: 1)")
    add_width(parser)


def run(request: Request) -> int:
    """Show it, once or until it is interrupted. Returns the exit status."""
    from leo_runtime.daemon.metrics_reader import fetch, shown

    where = request.socket or default_socket(os.environ)
    now = shown(fetch(where))
    if request.json:
        put(json.dumps(now.as_json(), indent=1) + "\n")
    elif request.once or not sys.stdout.isatty():
        put(text(now, look=look(request.columns)))
    else:
        with suppress(KeyboardInterrupt):  # That is how it ends.
            _watch(where, now, max(LEAST_S, request.every), request.columns)
    return DONE


def default_socket(environment: Mapping[str, str], by_systemd: Path = BY_SYSTEMD) -> str:
    """Where a daemon of this user shows its metrics unless its config says otherwise; else one that systemd runs."""
    from leo_runtime.daemon.places import runtime_dir

    own = runtime_dir(environment) / "metrics.sock"
    return str(by_systemd if by_systemd.exists() and not own.exists() else own)


def _watch(where: str, now: Shown, every_s: float, columns: int | None) -> None:
    """Look again and again, until it is interrupted. A daemon that goes away is waited for."""
    try:
        from rich.live import Live
        from rich.text import Text
    except ImportError:
        raise MissingExtraError("watching a daemon", "daemon") from None
    from leo_runtime.daemon.metrics_reader import fetch, shown

    before: Shown | None = None
    elapsed_s: float | None = None
    at_s, says = time.monotonic(), ""
    with Live(auto_refresh=False, screen=True) as live:
        while True:
            page = f"{says}{text(now, before, elapsed_s, look=look(columns))}"
            live.update(Text.from_ansi(page, no_wrap=True), refresh=True)
            time.sleep(every_s)
            try:
                later = shown(fetch(where))
            except InputError as error:
                says = f"{printable(str(error))}; looking again every {every_s:g} s; this is what it was:\n\n"
                continue
            before, now, says = now, later, ""
            elapsed_s, at_s = time.monotonic() - at_s, time.monotonic()


def text(now: Shown, before: Shown | None = None, elapsed_s: float | None = None, *, look: Look) -> str:
    """A page; with one of before, so many seconds earlier, what was drawn and done since."""
    from leo_runtime.report.tables import table

    busy_before = {} if before is None else {one.processor: one.busy_s for one in before.processors}
    tables: dict[tuple[str, ...], list[tuple[object, ...]]] = {
        _GRAPHS: [_graph_row(one) for one in now.graphs],
        _PROCESSORS: [_processor_row(one, busy_before.get(one.processor), elapsed_s) for one in now.processors],
        _STREAMS: [_stream_row(one) for one in now.streams],
        _SOURCES: [
            (one.source, "runs" if one.running else "ended", one.samples, one.restarts, one.errors)
            for one in now.sources
        ],
        _SINKS: [(one.sink, one.published, one.waiting, one.dropped, one.errors) for one in now.sinks],
    }
    parts = [table(header, rows, look, red=TROUBLE) for header, rows in tables.items() if rows]
    return "\n".join([_head(now, before, elapsed_s, look), *parts])


_GRAPHS = ("graph", "done", "gated", "late", "fail", "shed", "fired", "p50<=", "p95<=", "last", "energy")
_PROCESSORS = ("processor", "lanes", "busy", "hung", "renewed", "given up", "set aside", "state")
_STREAMS = ("stream", "rate", "drift", "gaps", "lost", "stalls", "clock set")
_SOURCES = ("source", "state", "samples", "restarts", "errors")
_SINKS = ("sink", "published", "waiting", "dropped", "errors")


def _processor_row(one: ProcessorShown, busy_before_s: float | None, elapsed_s: float | None) -> tuple[object, ...]:
    """How busy it is: since before where that is known, else how long in all."""
    busy = f"{one.busy_s:.1f} s"
    if busy_before_s is not None and elapsed_s:
        busy = f"{max(0.0, one.busy_s - busy_before_s) / elapsed_s / (one.lanes or 1):.0%}"
    state = "lost" if not one.up else "suspect" if one.suspect else f"slow {one.slowed:g}x" if one.slowed > 1 else ""
    lanes = "" if one.lanes is None else one.lanes
    return one.processor, lanes, busy, one.hung, one.renewed, one.given_up, one.set_aside, state


def _stream_row(one: StreamShown) -> tuple[object, ...]:
    rate = "" if one.rate_hz is None else f"{one.rate_hz:.1f} Hz"
    return one.stream, rate, f"{one.drift * 1e6:+.0f} ppm", one.gaps, one.lost, one.stalls, one.clock_jumps


def _head(now: Shown, before: Shown | None, elapsed_s: float | None, look: Look) -> str:
    """A few lines of what is of no table."""
    from leo_runtime.terminal import fill

    frames = ", ".join(f"{number} {outcome}" for outcome, number in sorted(now.frames.items())) or "none yet"
    memory = "" if now.memory_bytes is None else f"; {now.memory_bytes >> 20} MiB"
    battery = "" if now.battery is None else f"; battery {now.battery:.0%}"
    saves = "; saves energy" if now.saves_energy else ""
    lines = [f"leo-runtime {now.version}: frames: {frames}; {now.in_flight} in flight{memory}{battery}{saves}"]
    drawn = ""
    if before is not None and elapsed_s:
        drawn = f"{_watts((now.joules - before.joules) / elapsed_s)} now; "
    causes = ", ".join(f"{cause} {_joules(joules)}" for cause, joules in now.causes_j.items() if joules > 0)
    lines.append(f"energy: {drawn}{_joules(now.joules)} in all{': ' if causes else ''}{causes}")
    gates = [
        f"{stage} {opened / (opened + closed):.0%}" for stage, (opened, closed) in now.gates.items() if opened + closed
    ]
    if gates:
        lines.append(f"gates open: {', '.join(gates)}")
    paused = ", ".join(one.graph for one in now.graphs if one.paused)
    if paused:
        lines.append(f"paused by the policy: {paused}")
    events = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in now.events.items() if number)
    if events:
        lines.append(f"so far: {events}")
    return "".join(f"{fill(printable(line), look.columns, '  ')}\n" for line in lines)


def _graph_row(one: GraphShown) -> tuple[object, ...]:
    failed = one.outcomes.get("failed", 0) + one.outcomes.get("skipped", 0)
    return (
        one.graph,
        one.outcomes.get("done", 0),
        one.outcomes.get("cancelled", 0),
        one.late,
        failed,
        one.outcomes.get("shed", 0),
        one.fired,
        _at_most(one.p50_s),
        _at_most(one.p95_s),
        "" if one.age_s is None else _ago(one.age_s),
        _joules(one.joules),
    )


def _at_most(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds == float("inf"):
        return "more"
    return f"{1000 * seconds:g} ms" if seconds < 1 else f"{seconds:g} s"


def _ago(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def _joules(joules: float) -> str:
    return f"{1000 * joules:.3g} mJ" if joules < 1 else f"{joules:.1f} J"


def _watts(watts: float) -> str:
    return f"{1000 * watts:.3g} mW" if watts < 1 else f"{watts:.2f} W"
