"""The daemon as a process, with four pipelines and faults that are drawn from a seed; then it is killed, several times.

    python tests/soak.py [--seconds N] [--seed N] [--only KIND] [--kills N] [--period-us N]

Four devices, threads of this process, send sound to the daemon's socket. One fault at a time: kernels that crash, hang,
are slow or give NaN; devices that vanish, keep what they record, stall, or whose clocks jump; a full disk; listeners
that hang and vanish; a daemon that is stopped for a while; reloads, right and wrong. Held to: every frame has exactly
one outcome, heard by the listener as it is in the file and as the daemon counts it, and every sample that was sent is
counted; the watchdog is told all the time; resident memory's last tenth is at most 2 % above its second. After each
`kill -9` the next start says of how many frames the answers are missing, and no more are.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import psutil

import soak_steps
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import Workload

PIPELINES = {"fragile": "soak_steps:fragile", "inner": "soak_steps:inner", "loud": "energy_gate", "bands": "log_mel"}
MIC_HZ = 16_000
CHUNK_US = 20_000
PERIOD_US = 20_000
"""Of each pipeline, which leaves a daemon room."""
FULL_LOAD_US = 10_000
"""The same where two cores have about as much to do as they can; at half of it they skip every other frame."""
DEADLINE_US = 400_000
QUIET_S = 2.5
"""Between two faults."""
WATCHDOG_S = 10.0
OVER = "OVER=1"
"""Ends the thread that stands for systemd."""
PATIENCE_S = 60.0
MOST_IN_FLIGHT = 64
"""So many frames of four pipelines may be in flight at once: `max_in_flight` of each."""
MOST_GROWTH = 0.02
MEASURED_S = 300.0
"""In a shorter run, what has once been needed is still growing."""

CONFIG = """
format = "leo-daemon/1"
workload = "workload.json"
machine = "machine.toml"
profile = "profile.toml"
state_dir = "state"
drain_s = 30

[runtime]
solver = "greedy"

[[trusted]]
folder = "."

[[sources]]
kind = "socket"
path = "./in.sock"

[[sinks]]
kind = "socket"
path = "./out.sock"
behind_bytes = 65_536
queue = 100_000

[[sinks]]
kind = "lines"
path = "answers.jsonl"
max_bytes = 1_000_000_000
queue = 100_000
"""
MACHINE = """
format = "leo-hardware/1"
name = "this"
processors = [
    { name = "first", backend = "cpu", active_mw = 100, options = { isolate = ["own"] } },
    { name = "second", backend = "cpu", active_mw = 100, options = { isolate = ["own"] } },
    { name = "inner", backend = "cpu", active_mw = 100 },
    { name = "rest", backend = "cpu", active_mw = 100 },
]
links = [
    { source = "first", target = "second", latency_us = 1 },
    { source = "second", target = "first", latency_us = 1 },
]
"""


def workload(period_us: int = PERIOD_US) -> Workload:
    """Four pipelines, each by a device of its own."""
    graphs = []
    for number, (name, operator) in enumerate(PIPELINES.items()):
        graph = GraphBuilder(name, period_us=period_us, offset_us=period_us // 5 * number, deadline_us=DEADLINE_US)
        sound = graph.stage(f"{name}-sound", "window", stream=name, samples=MIC_HZ // 20)
        params: dict[str, Any] = {"threshold_dbfs": -99.0} if operator == "energy_gate" else {}
        graph.stage(name, operator, sound, **params)
        graphs.append(graph.build().model_dump(mode="json"))
    streams = [{"name": name, "kind": "audio", "rate_hz": MIC_HZ} for name in PIPELINES]
    return Workload.from_dict({"format": "leo-workload/1", "name": "soak", "streams": streams, "graphs": graphs})


def profile() -> str:
    """What stages cost: each pipeline has processors of its own."""
    where = {"first": "fragile", "second": "fragile", "inner": "inner", "rest": "loud"}
    costs = [(name, operator) for name, graph in where.items() for operator in ("window", PIPELINES[graph])]
    costs.append(("rest", PIPELINES["bands"]))
    lines = [
        f'    {{ processor = "{name}", operator = "{operator}", fixed_us = 1000, source = "modelled: a test" }},\n'
        for name, operator in costs
    ]
    return f'format = "leo-profile/1"\nname = "this"\nhardware = "this"\ncosts = [\n{"".join(lines)}]\n'


def unit_environment() -> dict[str, str]:
    """What the unit that ships sets."""
    text = files("leo_runtime.daemon").joinpath("leo-runtime.service").read_text()
    lines = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    return dict(word.split("=", 1) for line in lines for word in line.split())


class Device(threading.Thread):
    """Records sound, and sends it as it comes; and what may be wrong with it."""

    def __init__(self, soak: Soak, stream: str) -> None:
        super().__init__(name=f"device {stream}", daemon=True)
        self.soak = soak
        self.stream = stream
        self.value = soak_steps.USUAL
        self.records = True
        self.keeps = False
        self.ahead_us = 0
        """How far its clock is ahead."""
        self.sent = self.taken = 0
        """Samples, on connections that were ended in order, and what the daemon said of them."""
        self._on_this = 0
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self.start()

    def run(self) -> None:
        last_us = time.monotonic_ns() // 1000
        kept: list[tuple[int, np.ndarray]] = []
        while not self.soak.ends.wait(CHUNK_US / 1e6):
            now_us = time.monotonic_ns() // 1000
            count = (now_us - last_us) * MIC_HZ // 1_000_000
            if self.records and count:
                kept.append((last_us + self.ahead_us, np.full(count, self.value, np.int16)))
            last_us += count * 1_000_000 // MIC_HZ
            if not self.keeps:
                for at_us, samples in kept:
                    self._send(at_us, samples)
                kept.clear()
        self.end()

    def _send(self, at_us: int, samples: np.ndarray) -> None:
        with self._lock:
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.settimeout(PATIENCE_S)
                    self._socket.connect(str(self.soak.folder / "in.sock"))
                    self._on_this = 0
                said = {"stream": self.stream, "type": "int16", "bytes": samples.nbytes, "at_us": at_us}
                self._socket.sendall(json.dumps(said).encode() + b"\n" + samples.tobytes())
                self._on_this += len(samples)
            except OSError:  # The daemon was killed: the next chunk tries again.
                self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def vanish(self) -> None:
        """Be gone in the middle of a chunk."""
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.sendall(b'{"type": "int16", "bytes": 1000}\nabc')
            self._hang_up()

    def end(self) -> None:
        """End the connection in order, and hear how many samples were taken."""
        with self._lock:
            if self._socket is None:
                return
            self._socket.shutdown(socket.SHUT_WR)
            with self._socket.makefile("rb") as file:
                said = json.loads(file.read())
            self.sent, self.taken = self.sent + self._on_this, self.taken + said.get("samples", -1)
            self._hang_up()


@dataclass
class Heard:
    """What was heard of one run of the daemon."""

    answers: dict[tuple[int, str], str] = field(default_factory=dict)
    """The outcome of each, by frame and graph."""
    bad: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By graph, the releases of answers that failed or were late."""
    late: int = 0
    problems: list[str] = field(default_factory=list)

    def take(self, answer: dict[str, Any]) -> None:
        """One more."""
        key = (answer["frame"], answer["graph"])
        if key in self.answers:
            self.problems.append(f"frame {key[0]} of {key[1]} has answered twice")
        self.answers[key] = answer["outcome"]
        if answer["late"]:
            self.late += 1
            self.bad[answer["graph"]].append(answer["release_us"])

    def frames(self) -> Counter[str]:
        """How many frames had which outcome, as the daemon counts them."""
        found: dict[int, set[str]] = defaultdict(set)
        for (frame, _), outcome in self.answers.items():
            found[frame].add(outcome)
        if missing := set(range(max(found, default=-1) + 1)) - found.keys():
            self.problems.append(f"{len(missing)} frames were never heard, such as {min(missing)}")
        return Counter(
            "skipped" if "skipped" in outcomes else "failed" if outcomes & {"failed", "shed"} else "done"
            for outcomes in found.values()
        )


class Soak:
    """A daemon, its devices and its listener."""

    def __init__(self, folder: Path, seed: int, only: str = "", period_us: int = PERIOD_US) -> None:
        self.folder = folder
        self.period_us = period_us
        self.random = random.Random(seed)
        self.kinds = [kind for kind in KINDS if only in ("", kind.name)]
        self.ends = threading.Event()
        self.heard = Heard()
        self.problems: list[str] = []
        self.resident_bytes: list[int] = []
        self.cores = 0.0
        """How many it kept busy, its workers included."""
        self.tried: Counter[str] = Counter()
        self.recovered_us: dict[str, int] = {}
        self.watchdog_s = 0.0
        """The longest time in which the watchdog was not told."""
        self.kills: list[tuple[int, int, int]] = []
        """Of each kill: frames taken, heard, and how many are missing at most as the next start says."""
        self.frames: Counter[str] = Counter()
        self.file = folder / "answers.jsonl"
        for name, text in {"leo.toml": CONFIG, "machine.toml": MACHINE, "profile.toml": profile()}.items():
            (folder / name).write_text(text)
        shutil.copy(soak_steps.__file__, folder)
        workload(period_us).to_file(folder / "workload.json")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._told = threading.Condition()
        self.status, self.ready, self._readies = "", "", 0
        threading.Thread(target=self._hear_systemd, name="systemd", daemon=True).start()

    # The daemon.

    def start(self) -> None:
        """Start it, and listen to it."""
        with self._told:
            before = self._readies
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
        }
        environment |= unit_environment()
        self._log = (self.folder / "log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "leo_runtime", "daemon", str(self.folder / "leo.toml")],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        self.wait_for_ready(before)
        self.heard = Heard()
        self._listener = threading.Thread(target=self._listen, args=(self.heard,), daemon=True)
        self._connected = threading.Event()
        self._listener.start()
        self._connected.wait(PATIENCE_S)

    def ended(self) -> int:
        """Its exit status, once it and what it has said have come to their end."""
        status = self.process.wait(PATIENCE_S)
        self._log.close()
        self._listener.join(PATIENCE_S)
        return status

    def wait_for_ready(self, before: int) -> None:
        """Until it was ready more often than that."""
        with self._told:
            if not self._told.wait_for(lambda: self._readies > before, PATIENCE_S):
                raise TimeoutError(f"the daemon is not ready: {(self.folder / 'log').read_text()[-2000:]}")

    def reload(self) -> str:
        """Have it read its config again; what it says of that."""
        with self._told:
            before = self._readies
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_ready(before)
        return self.ready

    def _hear_systemd(self) -> None:
        alive_s = time.monotonic()
        while (said := self._notify.recv(65536).decode()) != OVER:
            with self._told:
                if said.startswith(("READY=1", "WATCHDOG=1")):
                    now_s = time.monotonic()
                    if said.startswith("WATCHDOG=1"):
                        self.watchdog_s = max(self.watchdog_s, now_s - alive_s)
                    else:
                        self._readies += 1
                        self.ready = said.partition("STATUS=")[2]
                    alive_s = now_s
                if "STATUS=" in said:
                    self.status = said.partition("STATUS=")[2]
                self._told.notify_all()
        self._notify.close()

    def _listen(self, heard: Heard) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(self.folder / "out.sock"))
            self._connected.set()
            with one.makefile("rb") as file, suppress(ConnectionResetError):
                for line in file:
                    if line.endswith(b"\n"):
                        heard.take(json.loads(line))

    # A run.

    def go(self, seconds: float, kills: int) -> None:
        """So long with faults; then anew, with so many kills."""
        self.start()
        self.devices = {name: Device(self, name) for name in PIPELINES}
        try:
            self._faults(seconds)
            self._end()
            self.frames = self._judge()
            if kills:
                self.ends.clear()
                self.start()
                self.devices = {name: Device(self, name) for name in PIPELINES}
                for _ in range(kills):
                    self._kill()
                self._end()
                self._judge_kills()
        finally:
            self.ends.set()
            if self.process.poll() is None:
                self.process.kill()
                self.ended()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.sendto(OVER.encode(), str(self.folder / "notify"))

    def _end(self) -> None:
        """In order: the devices first."""
        self.ends.set()
        for device in self.devices.values():
            device.join(PATIENCE_S)
        self.process.send_signal(signal.SIGTERM)
        if (status := self.ended()) != 0:
            self.problems.append(f"the daemon has ended with {status}")
        with self._told:
            self._told.wait_for(lambda: self.status.startswith("ended"), PATIENCE_S)

    def _faults(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        process, deck = psutil.Process(self.process.pid), list[Kind]()
        quiet_s = min(QUIET_S, seconds / 10)
        time.sleep(quiet_s)
        began_s, before_s = time.monotonic(), _cpu_s(process)
        while time.monotonic() < until_s:
            if not deck:
                deck = list(self.kinds)
                self.random.shuffle(deck)
            kind = deck.pop()
            with kind.begin(self):
                time.sleep(self.random.uniform(0.1, 1.0) * min(1.0, quiet_s))
            ended_us = time.monotonic_ns() // 1000
            time.sleep(quiet_s)
            self.tried[kind.name] += 1
            bad_us = [max(releases) for releases in tuple(self.heard.bad.values())]
            self.recovered_us[kind.name] = max(
                self.recovered_us.get(kind.name, 0), *(us - ended_us for us in bad_us), 0
            )
            self.resident_bytes.append(process.memory_info().rss)
            if self.process.poll() is not None:
                raise ChildProcessError(f"the daemon has ended: {(self.folder / 'log').read_text()[-2000:]}")
        self.cores = (_cpu_s(process) - before_s) / (time.monotonic() - began_s)

    def _kill(self) -> None:
        time.sleep(self.random.uniform(0.5, 1.0))
        self.process.kill()
        self.ended()
        heard = len({frame for frame, _ in self.heard.answers})
        self.problems += self.heard.problems
        self.start()
        said = re.findall(
            r"the last run was cut short: of (\d+) frames the answers of (\d+) at most are missing; it was down for",
            (self.folder / "log").read_text(),
        )
        taken, missing = map(int, said[-1]) if said else (-1, -1)
        self.kills.append((taken, heard, missing))

    def _judge(self) -> Counter[str]:
        """Whether all agree on all frames; how many had which outcome."""
        frames = self.heard.frames()
        self.problems += self.heard.problems
        counted = {what: int(number) for number, what in re.findall(r"(\d+) (done|failed|skipped)", self.status)}
        if counted != dict(frames):
            self.problems.append(f"the daemon has counted {counted}, and {dict(frames)} were heard")
        lines = self.file.read_text().splitlines()
        written = Counter((one["frame"], one["graph"]) for one in map(json.loads, lines))
        if written != Counter(self.heard.answers.keys()):
            self.problems.append(f"{written.total()} answers were written, {len(self.heard.answers)} heard")
        for device in self.devices.values():
            if device.sent != device.taken:
                self.problems.append(f"{device.stream}: {device.sent} samples sent, {device.taken} taken")
        if self.watchdog_s > WATCHDOG_S:
            self.problems.append(f"the watchdog was not told for {self.watchdog_s:.1f} s")
        return frames

    def _judge_kills(self) -> None:
        self.heard.frames()
        self.problems += self.heard.problems
        for taken, heard, missing in self.kills:
            if taken - heard > missing or missing > MOST_IN_FLIGHT:
                self.problems.append(f"of {taken} frames {heard} were heard, and {missing} are said to be missing")


def _cpu_s(process: psutil.Process) -> float:
    """What a process and those it has started have computed so far."""
    times = process.cpu_times()
    spent_s = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            spent_s += child.cpu_times().user + child.cpu_times().system
    return spent_s


# Faults.


@dataclass(frozen=True)
class Kind:
    """A kind of fault, which lasts as long as the block that it is begun for."""

    name: str
    begin: Callable[[Soak], Any]


KINDS: list[Kind] = []


def fault(does: Callable[[Soak], Iterator[None]]) -> Callable[[Soak], Iterator[None]]:
    """Make it a kind of fault."""
    KINDS.append(Kind(does.__name__.replace("_", " "), contextmanager(does)))
    return does


@contextmanager
def _says(soak: Soak, stream: str, value: int) -> Iterator[None]:
    """A device's samples bring it about, until they are in no window any more."""
    soak.devices[stream].value = value
    yield
    soak.devices[stream].value = soak_steps.USUAL
    time.sleep(0.1)


@fault
def a_kernel_crashes(soak: Soak) -> Iterator[None]:
    with _says(soak, "fragile", soak_steps.ABORTS):
        yield


@fault
def a_kernel_leaves(soak: Soak) -> Iterator[None]:
    with _says(soak, soak.random.choice(("fragile", "inner")), soak_steps.LEAVES):
        yield


@fault
def a_worker_is_killed(soak: Soak) -> Iterator[None]:
    for one in psutil.Process(soak.process.pid).children():
        with suppress(psutil.NoSuchProcess):
            one.kill()
    yield


@fault
def a_kernel_hangs(soak: Soak) -> Iterator[None]:
    hanging = soak.folder / soak_steps.HANGING.name
    hanging.touch()
    with _says(soak, soak.random.choice(("fragile", "inner")), soak_steps.HANGS):
        yield
    hanging.unlink()


@fault
def a_kernel_gives_nan(soak: Soak) -> Iterator[None]:
    with _says(soak, soak.random.choice(("fragile", "inner")), soak_steps.NAN):
        yield


@fault
def a_kernel_is_slow(soak: Soak) -> Iterator[None]:
    with _says(soak, "inner", soak_steps.SLOW):
        yield


def _any(soak: Soak) -> Device:
    return soak.random.choice(list(soak.devices.values()))


@fault
def a_device_vanishes(soak: Soak) -> Iterator[None]:
    device = _any(soak)
    device.records = False
    device.vanish()
    yield
    device.records = True


@fault
def a_device_hands_over_all_at_once(soak: Soak) -> Iterator[None]:
    device = _any(soak)
    device.keeps = True
    yield
    device.keeps = False


@fault
def a_device_stalls(soak: Soak) -> Iterator[None]:
    device = _any(soak)
    device.records = False
    yield
    device.records = True


@fault
def a_devices_clock_jumps(soak: Soak) -> Iterator[None]:
    _any(soak).ahead_us += soak.random.choice((-10_000_000, -500_000, 500_000, 10_000_000))
    yield


@fault
def the_disk_is_full(soak: Soak) -> Iterator[None]:
    path, aside, full = soak.file, soak.folder / "aside.jsonl", soak.folder / "full"
    aside.hardlink_to(path)
    full.symlink_to("/dev/full")
    full.rename(path)
    yield
    aside.rename(path)


@fault
def a_listener_hangs(soak: Soak) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(soak.folder / "out.sock"))
        yield


@fault
def the_daemon_is_stopped_for_a_while(soak: Soak) -> Iterator[None]:
    soak.process.send_signal(signal.SIGSTOP)
    yield
    soak.process.send_signal(signal.SIGCONT)


@fault
def the_config_is_read_again(soak: Soak) -> Iterator[None]:
    for deadline_us in (2 * DEADLINE_US, DEADLINE_US):
        text = re.sub(r'"deadline_us": \d+', f'"deadline_us": {deadline_us}', workload(soak.period_us).to_json())
        (soak.folder / "workload.json").write_text(text)
        if "refused" in (said := soak.reload()):
            soak.problems.append(said)
    yield


@fault
def a_wrong_config_is_read(soak: Soak) -> Iterator[None]:
    (soak.folder / "leo.toml").write_text(CONFIG.replace('kind = "lines"', 'kind = "line"'))
    if "refused" not in (said := soak.reload()):
        soak.problems.append(said)
    (soak.folder / "leo.toml").write_text(CONFIG)
    yield


def growth(resident_bytes: list[int]) -> float:
    """How far the last tenth is above the second."""
    tenth = max(1, len(resident_bytes) // 10)
    return mean(resident_bytes[-tenth:]) / mean(resident_bytes[tenth : 2 * tenth]) - 1


def tenths(resident_bytes: list[int]) -> list[float]:
    """The mean of each tenth; of fewer than ten, each."""
    count = min(10, len(resident_bytes))
    bounds = [len(resident_bytes) * number // count for number in range(count + 1)]
    return [mean(resident_bytes[first:last]) for first, last in pairwise(bounds)]


def _ended_by_signal(number: int, _: object) -> None:
    """What is started here ends with it, also where it is told to end."""
    sys.exit(128 + number)


def main() -> None:
    """A run, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--only", choices=[kind.name for kind in KINDS], default="", help="one kind of fault")
    parser.add_argument(
        "--period-us", type=int, default=FULL_LOAD_US, help="of each of four pipelines: less is more load"
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _ended_by_signal)
    with tempfile.TemporaryDirectory(prefix="leo-soak-") as folder:
        soak = Soak(Path(folder), asked.seed, asked.only, asked.period_us)
        soak.go(asked.seconds, asked.kills)
        for name, times in sorted(soak.tried.items()):
            print(f"  {name}: {times} times, in time again after {soak.recovered_us[name] / 1e6:.2f} s at most")
        for taken, heard, missing in soak.kills:
            print(f"  killed: {taken} frames taken, {heard} heard, {missing} said to be missing at most")
        frames = ", ".join(f"{count} {what}" for what, count in sorted(soak.frames.items()))
        print(f"{sum(soak.frames.values())} frames: {frames}; {soak.cores:.2f} cores busy")
        print(f"the watchdog was told every {soak.watchdog_s:.1f} s at least")
        found = growth(soak.resident_bytes)
        print(
            f"resident memory: {soak.resident_bytes[-1] / 1e6:.1f} MB, {found:+.2%} from its second tenth to its last"
        )
        print(f"  by tenths, in MB: {', '.join(f'{one / 1e6:.1f}' for one in tenths(soak.resident_bytes))}")
    if asked.seconds >= MEASURED_S and found > MOST_GROWTH:
        soak.problems.append(f"resident memory has grown by {found:.1%}")
    if soak.problems:
        print(*soak.problems[:20], sep="\n")
        sys.exit(f"{len(soak.problems)} problems")


if __name__ == "__main__":
    main()
