"""`leo-runtime top`: what it makes of a daemon's metrics, and that a daemon may come and go."""

from __future__ import annotations

import json
import os
import pty
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.cli import main
from leo_runtime.command import top as command
from leo_runtime.command.top import default_socket, text
from leo_runtime.daemon.metrics_reader import fetch, quantile, shown
from leo_runtime.errors import InputError, LeoError
from leo_runtime.terminal import Look, room

pytest.importorskip("prometheus_client")
pytest.importorskip("rich")

METRICS = """\
# TYPE leo_build_info gauge
leo_build_info{python="3.11.7",version="0.1.0"} 1.0
# TYPE leo_frames_total counter
leo_frames_total{outcome="done"} 26.0
leo_frames_total{outcome="skipped"} 2.0
# TYPE leo_frames_in_flight gauge
leo_frames_in_flight 2.0
# TYPE leo_answers_total counter
leo_answers_total{graph="wake_word",outcome="done"} 15.0
leo_answers_total{graph="wake_word",outcome="cancelled"} 5.0
leo_answers_total{graph="speech",outcome="shed"} 9.0
# TYPE leo_answers_late_total counter
leo_answers_late_total{graph="wake_word"} 1.0
# TYPE leo_answer_latency_seconds histogram
leo_answer_latency_seconds_bucket{graph="wake_word",le="0.1"} 10.0
leo_answer_latency_seconds_bucket{graph="wake_word",le="0.25"} 14.0
leo_answer_latency_seconds_bucket{graph="wake_word",le="+Inf"} 15.0
leo_answer_latency_seconds_count{graph="wake_word"} 15.0
leo_answer_latency_seconds_sum{graph="wake_word"} 2.5
# TYPE leo_last_answer_age_seconds gauge
leo_last_answer_age_seconds{graph="wake_word"} 130.0
# TYPE leo_energy_joules_total counter
leo_energy_joules_total{cause="awake"} 4.0
leo_energy_joules_total{cause="run"} 6.5
# TYPE leo_graph_energy_joules_total counter
leo_graph_energy_joules_total{graph="wake_word"} 7.0
# TYPE leo_processor_lanes gauge
leo_processor_lanes{processor="cpu"} 4.0
# TYPE leo_processor_busy_seconds_total counter
leo_processor_busy_seconds_total{processor="cpu"} 4.5
leo_processor_busy_seconds_total{processor="wifi"} 0.5
# TYPE leo_processor_up gauge
leo_processor_up{processor="cpu"} 0.0
# TYPE leo_processor_lanes_renewed_total counter
leo_processor_lanes_renewed_total{processor="cpu"} 3.0
# TYPE leo_stream_samples_total counter
leo_stream_samples_total{stream="mic"} 192000.0
# TYPE leo_stream_rate_hertz gauge
leo_stream_rate_hertz{stream="mic"} 16000.2
# TYPE leo_stream_drift_ratio gauge
leo_stream_drift_ratio{stream="mic"} 1e-05
# TYPE leo_source_samples_total counter
leo_source_samples_total{source="a \\"name\\""} 10.0
# TYPE leo_source_running gauge
leo_source_running{source="a \\"name\\""} 1.0
# TYPE leo_sink_given_total counter
leo_sink_given_total{sink="lines"} 5.0
# TYPE leo_sink_published_total counter
leo_sink_published_total{sink="lines"} 5.0
# TYPE leo_gate_decisions_total counter
leo_gate_decisions_total{decision="opened",stage="loud"} 3.0
leo_gate_decisions_total{decision="closed",stage="loud"} 1.0
# TYPE leo_policy_paused gauge
leo_policy_paused{graph="speech"} 1.0
"""

PAGE = """\
leo-runtime 0.1.0: frames: 26 done, 2 skipped; 2 in flight
energy: 2.00 W now; 10.5 J in all: run 6.5 J, awake 4.0 J
gates open: loud 75%
paused by the policy: speech

graph      done  gated  late  fail  shed  fired   p50<=  p95<=   last  energy
---------  ----  -----  ----  ----  ----  -----  ------  -----  -----  ------
wake_word    15      5     1     0     0      0  100 ms  more   2 min   7.0 J
speech        0      0     0     0     9      0                          0 mJ
"""


@contextmanager
def answering(path: Path, answer: Callable[[], bytes | None]) -> Iterator[None]:
    """Something that answers at a Unix socket with these bytes; None: it hangs up."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(8)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(4096)
                if (said := answer()) is not None:
                    connection.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def http(text: str, status: str = "200 OK") -> bytes:
    body = text.encode()
    return f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_page_fits_eighty_columns_and_says_what_was_done_since() -> None:
    now, before = shown(METRICS), shown(METRICS.replace('cause="run"} 6.5', 'cause="run"} 2.5'))
    page = text(now, before, 2.0, look=Look(80))
    assert all(room(line) <= 80 for line in page.splitlines())
    assert page.startswith(PAGE), page
    assert "cpu            4    0%     0        3         0          0  lost" in page
    assert 'a "name"  runs' in page and "mic     16000.2 Hz  +10 ppm" in page


def test_a_page_of_one_look_has_sums_alone() -> None:
    page = text(shown(METRICS), look=Look(80))
    assert "energy: 10.5 J in all" in page and "4.5 s" in page


def test_trouble_is_red_where_there_are_colours() -> None:
    page = text(shown(METRICS), look=Look(80, is_coloured=True))
    assert "\x1b[31m" in page and "\x1b[31m" not in text(shown(METRICS), look=Look(80))


def test_nothing_that_a_terminal_obeys_gets_there() -> None:
    page = text(
        shown(METRICS.replace("loud", "lo\x1b[2Jud").replace('"wake_word"', '"wake\x1b]0;word"')), look=Look(80)
    )
    assert "\x1b" not in page and r"lo\x1b[2Jud" in page


def test_quantiles_are_bounds_of_buckets() -> None:
    buckets = [(0.1, 10.0), (0.25, 14.0), (float("inf"), 15.0)]
    assert [quantile(buckets, share) for share in (0.5, 0.9, 0.95)] == [0.1, 0.25, float("inf")]
    assert quantile([], 0.5) is None and quantile([(1.0, 0.0)], 0.5) is None


def test_it_is_printed_once_where_it_is_piped_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.sock"
    with answering(path, lambda: http(METRICS)):
        assert main(["top", str(path)]) == 0
        assert "leo-runtime 0.1.0" in capsys.readouterr().out
        assert main(["top", "--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["frames"] == {"done": 26, "skipped": 2} and found["graphs"][0]["p95_s"] is None
    assert found["gates"] == {"loud": [3, 1]}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http("leo_build_info 1 2 3 4 {"), "no text of Prometheus"),
        (http("other_metric 1"), "no metrics of leo-runtime"),
        (http("", status="404 Not Found"), "answers 404 Not Found"),
        (b"hello\n", "no daemon answers"),
        (None, "no daemon answers"),
    ],
)
def test_what_is_no_daemon_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: bytes | None, says: str
) -> None:
    path = tmp_path / "m.sock"
    with answering(path, lambda: answer):
        assert main(["top", str(path)]) == 2
    error = capsys.readouterr().err
    assert says in error and "hint: " in error


def test_no_daemon_at_all_is_told_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", str(tmp_path / "none.sock")]) == 2
    assert f"no daemon answers at {tmp_path}/none.sock (No such file or directory)" in capsys.readouterr().err
    with pytest.raises(InputError, match="no daemon answers at"):
        fetch("x" * 200)
    with pytest.raises(InputError, match=r"no daemon answers at 127\.0\.0\.1:99999"):
        fetch("127.0.0.1:99999")


def test_the_socket_is_where_a_daemon_of_this_user_has_it_or_that_of_systemd(tmp_path: Path) -> None:
    unit, own = tmp_path / "unit.sock", tmp_path / "leo-runtime/metrics.sock"
    here = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert default_socket(here, unit) == str(own)
    unit.touch()
    assert default_socket(here, unit) == str(unit)
    own.parent.mkdir()
    own.touch()
    assert default_socket(here, unit) == str(own)


def test_a_daemon_that_goes_away_is_waited_for_and_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal of 80 columns, which is drawn anew at each look."""
    path, looks = tmp_path / "m.sock", 0
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("TERM", "xterm")
    drawn: list[str] = []

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 5:
            raise KeyboardInterrupt

    def answer() -> bytes | None:
        return None if looks in (2, 3) else http(METRICS)

    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: float(looks)))
    monkeypatch.setattr(command, "text", lambda *given, **more: drawn.append("page") or text(*given, **more))
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, answering(path, answer):
        monkeypatch.setattr("sys.stdout", terminal)
        status: list[int] = []
        thread = threading.Thread(target=lambda: status.append(main(["top", str(path)])))
        thread.start()
        shown_there = b""
        while thread.is_alive() or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.05)[0]:
                shown_there += os.read(ours, 65536)
        thread.join()
    os.close(ours)
    assert status == [0] and len(drawn) == 5
    assert b"wake_word" in shown_there and b"no daemon answers" in shown_there
    assert b"Traceback" not in shown_there


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(METRICS.splitlines()), max_size=80).map("\n".join)))
def test_whatever_answers_is_shown_or_refused(said: str) -> None:
    try:
        page = text(shown(said), look=Look(80))
    except LeoError:
        return
    assert "leo-runtime" in page
