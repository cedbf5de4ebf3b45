"""The daemon's numbers: what frames came to, as Prometheus reads them, and who may ask for them."""

from __future__ import annotations

import errno
import http.client
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from cost_workloads import profile_of, workload_of
from daemons import CONFIG, LOUD, PROFILE, QUIET, STEPS, Running, Talk, a_site, running, write
from leo_runtime import Runtime, run_ledger, shipped
from leo_runtime.daemon import metrics_server
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.machine_state import Battery, ClockCap, MachineState, ThermalZone
from leo_runtime.daemon.metrics import Scraped, families, registry
from leo_runtime.daemon.metrics_config import MetricsConfig
from leo_runtime.daemon.metrics_reader import fetch
from leo_runtime.daemon.metrics_server import MOST_AT_ONCE, MetricsServer
from leo_runtime.daemon.policies import Settings
from leo_runtime.daemon.tally import BUCKETS_US, MOST_MISSING, Tally
from leo_runtime.daemon.waking import is_readable
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.errors import InputError
from leo_runtime.frame.records import FrameResult

prometheus = pytest.importorskip("prometheus_client")
parser = pytest.importorskip("prometheus_client.parser")

SECONDS = 24


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[Runtime, tuple[FrameResult, ...]]]:
    """Some seconds of the demo on a phone, in virtual time, and its results."""
    workload, phone = shipped.workload(), shipped.hardware("snapdragon-800")
    with Runtime.simulated(workload, phone, shipped.profile("snapdragon-800"), solver="greedy", compute=False) as one:
        results: list[FrameResult] = []
        for release_us in range(0, SECONDS * 1_000_000, 500_000):
            if one.triggered(release_us):
                one.submit(release_us, {})
        results += one.drain()
        yield one, tuple(results)


def tally_of(runtime: Runtime, results: Sequence[FrameResult]) -> Tally:
    tally = Tally(runtime.hardware)
    for result in results:
        tally.add(result, runtime.merged)
    return tally


def scraped(runtime: Runtime, results: Sequence[FrameResult]) -> Scraped:
    counts = Counts()
    counts.source("microphone", samples=16_000, chunks=10, restarts=1)
    counts.went_wrong("sink", "lines", "the disk is full\nat 3 o'clock")
    counts.source_ended("recording")
    counts.other("reloads")
    counts.other("last_run_down_us", 1_500_000)
    for result in results:
        counts.frame("done")
        for one in result.graphs:
            counts.answer(one.graph, one.outcome, late=one.missed, fired=one.label is not None)
    machine = MachineState(
        Battery(42, False, 5_000),
        (ThermalZone("thermal_zone0", "cpu", 61_500, 80_000),),
        (ClockCap("policy0", 1_000_000, 2_000_000),),
        123_400,
    )
    settings = Settings(saves_energy=True, paused=("speaker",), slowed_ppm=(("cpu", 2_000_000),))
    waiting = {"lines": 3}
    return Scraped(counts.now(), tally_of(runtime, results).now(), waiting, 2, runtime, machine, settings)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


# What frames come to.


def test_energy_is_the_ledgers_to_the_nanojoule(demo: tuple[Runtime, tuple[FrameResult, ...]]) -> None:
    """All of it but what is still awake or asleep behind the last release."""
    runtime, results = demo
    tallied = tally_of(runtime, results).now()
    ledger = run_ledger(results, runtime.hardware, runtime.merged.workload)
    ends_us = max(result.release_us for result in results)
    of_runs = {cause: nj for cause, nj in ledger.by_cause().items() if cause in ("run", "transfer", "wake-up")}
    assert {cause: tallied.causes_nj[cause] for cause in of_runs} == of_runs
    settled = sum(entry.nj for entry in ledger.entries if entry.until_us <= ends_us - 1_000_000)
    assert settled <= tallied.spent_nj <= ledger.total_nj
    assert tallied.spent_nj == sum(tallied.graphs_nj.values())
    assert tallied.unmetered == 0


@pytest.mark.parametrize("seed", range(5))
def test_frames_may_end_in_any_order(demo: tuple[Runtime, tuple[FrameResult, ...]], seed: int) -> None:
    """As far as they do: the sums stay those of the runs, and nothing is lost."""
    runtime, results = demo
    rng, shuffled = Random(seed), list(results)
    for at in range(0, len(shuffled), 8):
        part = shuffled[at : at + 8]
        rng.shuffle(part)
        shuffled[at : at + 8] = part
    told, in_order = tally_of(runtime, shuffled).now(), tally_of(runtime, results).now()
    assert told.unmetered == 0
    assert told.causes_nj["run"] == in_order.causes_nj["run"]
    assert told.latencies == in_order.latencies and told.gates == in_order.gates


def test_a_frame_that_never_ends_holds_the_sums_up_for_a_while_only(
    demo: tuple[Runtime, tuple[FrameResult, ...]],
) -> None:
    runtime, results = demo
    tally = Tally(runtime.hardware)
    many = [replace(results[1], frame=number, release_us=number * 1_000_000) for number in range(1, MOST_MISSING + 10)]
    for result in many[:MOST_MISSING]:
        tally.add(result, runtime.merged)
    assert tally.now().spent_nj == 0
    for result in many[MOST_MISSING:]:
        tally.add(result, runtime.merged)
    assert tally.now().spent_nj > 0 and tally.now().unmetered == 0
    tally.add(replace(results[0], frame=0), runtime.merged)
    assert tally.now().unmetered == 1


def test_what_goes_wrong_in_the_ledger_is_counted_and_the_next_frames_are_metered(
    demo: tuple[Runtime, tuple[FrameResult, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    runtime, results = demo
    tally = Tally(runtime.hardware)
    tally.add(results[0], runtime.merged)
    woken = next(result for result in results[1:] if result.wakes)
    tally.add(replace(woken, frame=1, wakes=(replace(woken.wakes[0], resource="npu"),)), runtime.merged)
    for result in results[2:]:
        tally.add(result, runtime.merged)
    assert tally.now().unmetered == 1 and tally.now().causes_nj["run"] > 0
    assert "could not be told" in caplog.text


def test_latencies_are_counted_up_to_each_bound() -> None:
    tally = Tally(shipped.hardware("host"))
    tally._time("g", 0)
    tally._time("g", 1_000)
    tally._time("g", 1_001)
    tally._time("g", 99_000_000)
    one = tally.now().latencies["g"]
    assert one.counts[:3] == (2, 3, 3) and one.counts[-2:] == (3, 4) and one.sum_us == 99_002_001
    assert len(one.counts) == len(BUCKETS_US) + 1


def test_gates_and_shed_answers_are_counted() -> None:
    builder = GraphBuilder("g", period_us=100_000, deadline_us=50_000)
    builder.stage("listen", "cost", output_bytes=4)
    one = builder.build()
    machine = Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "m", "processors": [{"name": "cpu", "backend": "none"}]}
    )
    profile = profile_of({("listen", "cpu"): (1_000, 5_000)})
    with Runtime.simulated(workload_of(one), machine, profile, compute=False) as runtime:
        runtime.submit(0, {})
        runtime.adjust(paused=["g"])
        runtime.submit(100_000, {})
        results = runtime.drain()
        tally = tally_of(
            runtime, [replace(r, stages=tuple(replace(s, opened=True) for s in r.stages)) for r in results]
        )
    now = tally.now()
    assert now.answers == {"g": 1} and now.shed == {"g": 1} and now.gates == {("listen", True): 1}
    assert now.busy_us == {"cpu": 1_000} and now.last_answer_us == {"g": 1_000}


# As Prometheus reads it.


def test_every_metric_is_read_back_as_it_was_counted(demo: tuple[Runtime, tuple[FrameResult, ...]]) -> None:
    runtime, results = demo
    now = scraped(runtime, results)
    found = samples(prometheus.generate_latest(registry(lambda: now)).decode())
    outcomes = Counter((one.graph, one.outcome) for result in results for one in result.graphs)
    for (graph, outcome), number in outcomes.items():
        assert value(found, "leo_answers_total", graph=graph, outcome=outcome) == number
        if outcome == "done":
            assert value(found, "leo_answer_latency_seconds_count", graph=graph) == number
            assert value(found, "leo_answer_latency_seconds_bucket", graph=graph, le="+Inf") == number
    spent = sum(number for (name, _), number in found.items() if name == "leo_energy_joules_total")
    assert spent == pytest.approx(now.tallied.spent_nj / 1e9)
    assert value(found, "leo_source_samples_total", source="microphone") == 16_000
    assert value(found, "leo_source_running", source="recording") == 0
    assert value(found, "leo_sink_errors_total", sink="lines") == 1
    assert value(found, "leo_sink_waiting", sink="lines") == 3
    assert value(found, "leo_daemon_events_total", event="reloads") == 1
    assert value(found, "leo_last_run_down_seconds") == 1.5
    assert value(found, "leo_processor_up", processor="dsp") == 1
    assert value(found, "leo_processor_lanes", processor="cpu") == runtime.hardware.processor("cpu").lanes
    assert value(found, "leo_battery_ratio") == 0.42 and value(found, "leo_temperature_celsius", zone="thermal_zone0")
    assert value(found, "leo_policy_paused", graph="speaker") == 1
    assert value(found, "leo_policy_slowed_ratio", processor="cpu") == 2
    plans = sum(number for (name, _), number in found.items() if name == "leo_plans_total")
    assert plans == runtime.planning.asked + runtime.planning.looked_up


def test_names_units_and_labels_are_as_prometheus_has_them(demo: tuple[Runtime, tuple[FrameResult, ...]]) -> None:
    """What `promtool check metrics` asks for, and that nothing in a label comes from outside."""
    runtime, results = demo
    now = scraped(runtime, results)
    text = prometheus.generate_latest(registry(lambda: now)).decode()
    assert "_created" not in text and "o'clock" not in text
    seen: set[str] = set()
    for family in parser.text_string_to_metric_families(text):
        assert family.name not in seen, "a family that is told twice"
        seen.add(family.name)
        if family.name.startswith("process_"):
            continue
        assert re.fullmatch(r"leo_[a-z_]+", family.name) and family.documentation.endswith(".")
        assert not re.search(r"(milli|micro|nano|_ms|_us|_nj|_mw|percent|_ppm)", family.name), family.name
        assert family.type in ("gauge", "counter", "histogram")
        assert not (family.type == "gauge" and family.name.endswith("_total"))
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith("_total")
            assert sample.labels.keys().isdisjoint({"instance", "job"})


def test_there_are_as_many_series_as_the_config_has_parts_however_long_it_runs(
    demo: tuple[Runtime, tuple[FrameResult, ...]],
) -> None:
    runtime, results = demo

    def series(some: Sequence[FrameResult]) -> int:
        return sum(len(family.samples) for family in families(scraped(runtime, some)))

    assert series(results) == series([*results, *results])


def test_a_daemon_that_does_not_run_yet_shows_what_there_is() -> None:
    tally = Tally(shipped.hardware("host"))
    now = Scraped(Counts().now(), tally.now(), {}, 0)
    assert value(samples(prometheus.generate_latest(registry(lambda: now)).decode()), "leo_frames_in_flight") == 0


def test_scraping_while_frames_end_tells_no_half(demo: tuple[Runtime, tuple[FrameResult, ...]]) -> None:
    """Counts of one scrape belong together, whatever thread adds to them."""
    runtime, results = demo
    tally, done = Tally(runtime.hardware), threading.Event()

    def add() -> None:
        for result in results:
            tally.add(result, runtime.merged)
        done.set()

    thread = threading.Thread(target=add)
    thread.start()
    while not done.is_set():
        for one in tally.now().latencies.values():
            assert list(one.counts) == sorted(one.counts)
    thread.join()


# Who may ask.


def nothing_yet() -> Scraped:
    return Scraped(Counts().now(), Tally(shipped.hardware("host")).now(), {}, 0)


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_socket_is_its_users_alone_and_goes_with_the_daemon(tmp_path: Path) -> None:
    server = MetricsServer(MetricsConfig(), nothing_yet, a_site(tmp_path))
    server.start()
    path = tmp_path / "run/metrics.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "leo_build_info" in fetch(str(path))
    server.close()
    server.close()
    assert not path.exists()
    with pytest.raises(InputError, match="no daemon answers"):
        fetch(str(path))


def test_another_user_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MetricsServer(MetricsConfig(), nothing_yet, a_site(tmp_path))
    server.start()
    try:
        monkeypatch.setattr(metrics_server, "is_own", lambda _: False)
        with pytest.raises(InputError, match="no daemon answers"):
            fetch(str(tmp_path / "run/metrics.sock"))
    finally:
        server.close()


def test_a_port_is_of_this_machine_alone_and_answers_no_page_of_others(tmp_path: Path) -> None:
    port = free_port()
    server = MetricsServer(MetricsConfig(port=port), nothing_yet, a_site(tmp_path))
    server.start()
    try:
        assert "leo_build_info" in fetch(f"127.0.0.1:{port}")
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asking:
            asking.request("GET", "/metrics", headers={"Host": "evil.example:80"})
            assert asking.getresponse().status == 403
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asking:
            asking.request("GET", "/secrets")
            assert asking.getresponse().status == 404
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asking:
            asking.request("GET", "/metrics?name=x")
            answer = asking.getresponse()
            assert answer.getheader("Content-Type", "").startswith("text/plain; version=")
        other = MetricsServer(MetricsConfig(path="other.sock", port=port), nothing_yet, a_site(tmp_path))
        with pytest.raises(InputError, match=f"cannot be shown at 127.0.0.1:{port}"):
            other.start()
        assert not (tmp_path / "run/other.sock").exists()
    finally:
        server.close()


def test_who_says_nothing_takes_a_place_and_no_more(tmp_path: Path) -> None:
    server = MetricsServer(MetricsConfig(), nothing_yet, a_site(tmp_path))
    server.start()
    path = str(tmp_path / "run/metrics.sock")
    silent = []
    try:
        for _ in range(MOST_AT_ONCE):
            one = socket.socket(socket.AF_UNIX)
            one.connect(path)
            silent.append(one)
        with pytest.raises(InputError, match="no daemon answers"):
            fetch(path)
        for one in silent:
            one.close()
        while True:  # Their threads end as they notice.
            try:
                assert "leo_build_info" in fetch(path)
                break
            except InputError:
                continue
    finally:
        for one in silent:
            one.close()
        server.close()


def test_who_cannot_be_let_in_for_want_of_files_waits_and_keeps_nothing_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    accept = socket.socket.accept

    def full(one: socket.socket) -> tuple[socket.socket, object]:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(one)

    server = MetricsServer(MetricsConfig(), nothing_yet, a_site(tmp_path))
    server.start()
    with closing(server):
        monkeypatch.setattr(socket.socket, "accept", full)
        assert "leo_build_info" in fetch(str(tmp_path / "run/metrics.sock"))
    assert tries[2] - tries[0] > metrics_server.PAUSE_S


def test_who_cannot_be_answered_for_want_of_threads_takes_nobodys_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MetricsServer(MetricsConfig(), nothing_yet, a_site(tmp_path))
    server.start()
    path, start = str(tmp_path / "run/metrics.sock"), threading.Thread.start

    def too_many(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def no_timer(one: threading.Thread) -> None:
        too_many(one) if isinstance(one, threading.Timer) else start(one)

    with closing(server):
        monkeypatch.setattr(threading.Thread, "start", too_many)
        for _ in range(MOST_AT_ONCE + 1):
            with pytest.raises(InputError, match="no daemon answers"):
                fetch(path)
        monkeypatch.setattr(threading.Thread, "start", no_timer)
        assert "leo_build_info" in fetch(path)


def test_who_asks_byte_by_byte_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.2)
    server = MetricsServer(MetricsConfig(), nothing_yet, a_site(tmp_path))
    server.start()
    with closing(server), socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(tmp_path / "run/metrics.sock"))
        sent = 0
        while not is_readable(slow, 0.02):  # Each byte comes well before the patience with a silent one is over.
            assert sent < 100
            with suppress(BrokenPipeError):
                slow.send(b"G")
            sent += 1
        assert sent > 1
        with suppress(ConnectionResetError):
            while slow.recv(4096):
                pass


def test_numbers_that_cannot_be_had_end_a_scrape_and_not_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = True

    def scrape() -> Scraped:
        if wrong:
            raise RuntimeError("no numbers today")
        return nothing_yet()

    server = MetricsServer(MetricsConfig(), scrape, a_site(tmp_path))
    server.start()
    try:
        with pytest.raises(InputError, match="no daemon answers"):
            fetch(str(tmp_path / "run/metrics.sock"))
        wrong = False
        assert "leo_build_info" in fetch(str(tmp_path / "run/metrics.sock"))
    finally:
        server.close()
    assert "a scrape of the metrics failed" in caplog.text


# Of a daemon.

WATCHED = f"""{CONFIG}
[metrics]
path = "./metrics.sock"
[policy]
kind = "meet-deadlines"
cpu = []
[log]
form = "json"
"""


def asked(one: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(fetch(str(one.folder / "metrics.sock")))


def test_what_a_daemon_answers_is_what_its_metrics_count(tmp_path: Path) -> None:
    with running(tmp_path, WATCHED) as one:
        talk, heard = Talk(tmp_path), []
        for level in (LOUD, QUIET, LOUD):
            last = talk.ask(level)
            heard += [talk.first, last]
        talk.sender.end()
        one.daemon.runtime.drain()
        while (found := asked(one))["leo_frames_in_flight", ()]:
            pass  # The last frame has ended, and is just being told.
        # By when samples came there may be one release more than was asked for.
        frames = value(found, "leo_frames_total", outcome="done")
        assert frames >= len(heard) == 6
        assert value(found, "leo_answers_total", graph="loud", outcome="done") == frames
        assert value(found, "leo_answers_fired_total", graph="loud") == one.daemon.counts.now().fired["loud"] >= 2
        assert value(found, "leo_answer_latency_seconds_count", graph="loud") == frames
        assert value(found, "leo_sink_given_total", sink="socket") == frames
        assert value(found, "leo_source_samples_total", source="socket") == 699
        assert value(found, "leo_stream_samples_total", stream="s") == 699
        assert value(found, "leo_stream_rate_hertz", stream="s") > 0
        assert value(found, "leo_processor_busy_seconds_total", processor="cpu") > 0
        assert value(found, "leo_energy_joules_total", cause="run") > 0
        assert value(found, "leo_policy_paused", graph="loud") == 0
        assert "process_resident_memory_bytes" in {name for name, _ in found}
    assert not (tmp_path / "metrics.sock").exists()


def test_a_reload_and_a_policy_change_the_workload_in_turn(tmp_path: Path) -> None:
    with running(tmp_path, WATCHED) as one:
        talk = Talk(tmp_path)
        talk.ask(LOUD)
        with one.daemon.change_lock:  # A policy is just changing it.
            one.daemon.reload()
            talk.ask(QUIET)
            assert one.daemon.counts.now().others.get("reloads", 0) == 0
        one.systemd.wait_for("READY=1")
        assert value(asked(one), "leo_daemon_events_total", event="reloads") == 1
        assert talk.ask(LOUD)["label"] == "loud"


def test_a_policy_of_what_the_machine_has_not_begins_no_daemon(tmp_path: Path) -> None:
    config = WATCHED.replace("cpu = []", 'cpu = ["gpu"]')
    with pytest.raises(InputError, match=r"machine `this` has no `gpu`, at \$\.policy\.cpu"):
        Running(tmp_path, write(tmp_path, config)).join()


# Its page.

PAGE = (Path(__file__).parent.parent / "docs/monitoring.md").read_text()


def test_every_metric_is_on_its_page_and_every_one_of_the_page_is_there(
    demo: tuple[Runtime, tuple[FrameResult, ...]],
) -> None:
    runtime, results = demo
    now = scraped(runtime, results)
    there = {name for name, _ in samples(prometheus.generate_latest(registry(lambda: now)).decode())}
    there = {re.sub("_(bucket|count|sum)$", "", name) for name in there}
    told: set[str] = set()
    for line in PAGE.splitlines():
        if line.startswith("| `leo_"):
            names = re.findall(r"`([a-z_*]+)`", line.split("|")[1])
            told |= {"_".join(names[0].split("_")[:2]) + name if name.startswith("_") else name for name in names}
    plain = {name for name in told if not name.endswith("*")}
    begins = tuple(name[:-1] for name in told - plain)
    assert plain - there == {"leo_stream_rate_hertz"}  # Of a stream that is fed.
    assert {name for name in there - plain if not name.startswith(begins)} == set()


def test_the_tables_of_the_page_are_a_config() -> None:
    tables = "\n".join(re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL))
    config = DaemonConfig.from_toml(f"{CONFIG}\n{tables}")
    assert config.metrics is not None and config.metrics.port == 9464
    assert config.policy.kind == "save-energy" and config.log.form == "json"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Prometheus")
def test_promtool_has_nothing_to_say(demo: tuple[Runtime, tuple[FrameResult, ...]]) -> None:
    runtime, results = demo
    now = scraped(runtime, results)
    text = prometheus.generate_latest(registry(lambda: now))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# A reload.


def reload(one: Running) -> str:
    one.daemon.reload()
    one.systemd.wait_for("RELOADING=1")
    return one.systemd.wait_for("READY=1")


def test_a_reload_shows_metrics_where_its_config_says_or_no_more(tmp_path: Path) -> None:
    first, second, port = tmp_path / "run/first.sock", tmp_path / "run/second.sock", free_port()
    table = "[metrics]\npath = '{}'\nport = {}\n[runtime]"
    config = CONFIG.replace("[runtime]", table.format(first, port))
    with running(tmp_path) as one:
        Talk(tmp_path).ask(LOUD)
        with pytest.raises(InputError):
            fetch(f"127.0.0.1:{port}")
        write(tmp_path, config)
        assert "refused" not in reload(one)
        assert 'leo_frames_total{outcome="done"} 2.0' in fetch(str(first))
        assert 'leo_daemon_events_total{event="reloads"} 1.0' in fetch(f"127.0.0.1:{port}")
        write(tmp_path, CONFIG.replace("[runtime]", table.format(second, port)))  # The same port, all the while.
        assert "refused" not in reload(one)
        assert "leo_frames" in fetch(str(second)) and "leo_frames" in fetch(f"127.0.0.1:{port}")
        assert not first.exists()
        write(tmp_path, CONFIG)
        assert "refused" not in reload(one)
        assert not second.exists()
        with pytest.raises(InputError):
            fetch(f"127.0.0.1:{port}")
        one.end()


def test_a_reload_whose_metrics_cannot_be_shown_is_refused_and_those_of_before_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "run/first.sock", tmp_path / "run/second.sock"
    shown = CONFIG.replace("[runtime]", f"[metrics]\npath = '{first}'\n[runtime]")
    elsewhere = shown.replace("first.sock", "second.sock")
    with running(tmp_path, shown) as one, socket.create_server(("127.0.0.1", 0)) as taken:
        write(tmp_path, elsewhere.replace("[runtime]", f"port = {taken.getsockname()[1]}\n[runtime]"))
        assert "refused" in reload(one)
        assert "metrics cannot be shown at 127.0.0.1" in caplog.text
        assert "leo_frames" in fetch(str(first)) and not second.exists()
        write(tmp_path, elsewhere, STEPS.replace("    loud =", "    raise RuntimeError\n    loud ="))
        (tmp_path / "workload.toml").write_text("nonsense")
        assert "refused" in reload(one)
        assert "leo_frames" in fetch(str(first)) and not second.exists()
        write(tmp_path, elsewhere)
        (tmp_path / "profile.toml").write_text(PROFILE.replace("steps:level", "steps:other"))
        assert "refused" in reload(one)  # By the runtime, when all else has been made ready.
        assert "leo_frames" in fetch(str(first)) and not second.exists()
        Talk(tmp_path).ask(LOUD)


def test_a_reload_has_another_policy_and_refuses_one_that_cannot_be(tmp_path: Path) -> None:
    with running(tmp_path, CONFIG.replace("[runtime]", "[metrics]\n[runtime]"), RUNTIME_DIRECTORY=str(tmp_path)) as one:
        shown = str(tmp_path / "metrics.sock")
        assert "leo_policy" not in fetch(shown)
        policy = '[policy]\nkind = "{}"\ncpu = ["{}"]\n[metrics]\n[runtime]'
        write(tmp_path, CONFIG.replace("[runtime]", policy.format("meet-deadlines", "gpu")))
        assert "refused: machine `this` has no `gpu`" in reload(one)
        write(tmp_path, CONFIG.replace("[runtime]", policy.format("save-energy", "cpu")))
        assert "refused" not in reload(one)
        assert "leo_policy_saves_energy" in fetch(shown)
        write(tmp_path, CONFIG.replace("[runtime]", "[metrics]\n[runtime]"))
        assert "refused" not in reload(one)
        assert "leo_policy" not in fetch(shown)
        assert Talk(tmp_path).ask(LOUD)["label"] == "loud"


def test_releases_that_became_no_frames_are_shown() -> None:
    speech = shipped.workload().without("wake_word", "scene", "activity", "speaker")
    phone, costs = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    with Runtime.simulated(speech, phone, costs, solver="greedy", compute=False) as one:
        for begin_s in (0, 60):  # Most of a minute is missing.
            for number in range(1, 5):
                one.feed("mic", np.zeros(16_000, np.int16), at_us=(begin_s + number) * 1_000_000)
        made = len(one.drain())
        scraped = Scraped(Counts().now(), Tally(one.hardware).now(), {}, 0, runtime=one)
        found = {family.name: family.samples for family in families(scraped)}
        period_us = speech.graphs[0].period_us
    (left_out,) = found["leo_releases_left_out"]
    assert left_out.labels == {"graph": "speech"}
    assert made + left_out.value == pytest.approx(64_000_000 / period_us, abs=2) and made < 10_000_000 / period_us
