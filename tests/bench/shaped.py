"""The demo and the camera's cascade in real time, split with a server behind a link that is shaped, cut, and lost.

    python tests/bench/shaped.py [--traces FOLDER] [--seconds N] [--seed N] [--only WORKLOAD]

The server is `leo-runtime serve`, a process; the link a proxy (`tests/shaped_link.py`) that keeps to a trace: files of
`seconds Mbit/s` in a folder, or made-up ones where none is given. At times drawn from the seed the server is killed and
started again, and the link is cut, so that connections break or are silent. Each run is set beside the same one on this
machine alone.

Claims: the link is as it should be; no answer is lost, and each is the local one, label by label and, by the same
variants, bit by bit; after a fault the server is in service again within three seconds in the median, and ten at most
(what is lost again and again is asked more and more rarely); the rate of the link is thought to be what it is, within
20 % in the median of a hundred looks or more. Exits with 1 where one fails. Runs last 15 s, as many as make up the
seconds asked for.

On a machine that is busy frames may be skipped, since nothing of them could start in time. That says nothing of the
link; a run of each workload without a server is there to compare with, unless few seconds are asked for.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

from leo_runtime import Runtime, shipped
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.frame.records import FrameResult
from leo_runtime.measure.calibrate import calibrate
from leo_runtime.measure.measure import QUICK
from leo_runtime.recordings.links import LinkFile, LinkSample, changed_links, read_links
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.compare import Placing
from leo_runtime.replay.identity import Replay, Span
from leo_runtime.replay.replay import replay
from leo_runtime.replay.sinks import KeptFrames
from shaped_link import Rates, ShapedLink
from shaped_runs import FAR, KINDS, NEAR, Came, Fault, Faults, ServerProcess, Watch, as_fast_there, beside, split

LATENCY_US = 10_000
"""Each way: no trace tells of it."""
SAID_BYTES_PER_S = 625_000
"""What the hardware document says of the link, whatever it does: plans go by what is seen of it."""
FAST = Rates.steady(12_500_000)
"""Of a link by which all is made ready."""
RUN_S = 15
ENOUGH_RUNS = 4
"""Of fewer there is nothing to compare with."""
CASES = {"demo": ("demo", 20), "faces": ("camera", 3)}
"""Workloads, with their recordings, and the second from which on there is something in these."""
MADE_UP = ("wifi-like", "lte-like", "outages", "lte-like:1")
RATES_MBIT_PER_S = (1, 5, 40)
END = b"!"
RATE_WITHIN, ROUND_TRIP_WITHIN_MS = 0.15, 10.0
"""How far the link may be off, on a machine that is busy."""
RATE_OFF, ENOUGH_RATES = 0.2, 100
"""In the median, whenever something was seen of the link while no fault was about; of fewer it says too little."""
BACK_USUALLY_US, BACK_WITHIN_US, ENOUGH_FAULTS = 3_000_000, 10_000_000, 5
"""After a fault: in the median, where there are enough of its kind, and at most."""


@dataclass(frozen=True)
class Trace:
    """What a link does, both ways."""

    name: str
    rates: Rates

    @property
    def mean_mbit_per_s(self) -> float:
        """Over all of its time."""
        ends = (*self.rates.from_us[1:], self.rates.lasts_us)
        parts = zip(self.rates.from_us, ends, self.rates.bytes_per_s, strict=True)
        return sum((rate or 0) * (end_us - from_us) for from_us, end_us, rate in parts) / self.rates.lasts_us * 8e-6


def traces(folder: Path | None, lasts_us: int) -> list[Trace]:
    """All of a folder, else the made-up ones."""
    if folder is None:
        machine = split("http://a.server", latency_us=LATENCY_US)
        ways = {name: changed_links((), machine, [f"network {NEAR}->{FAR}={name}"], lasts_us) for name in MADE_UP}
    else:
        ways = {path.stem: _measured(path, lasts_us) for path in sorted(folder.glob("*.txt"))}
    return [
        Trace(name, Rates.of(((one.time_us, one.bytes_per_s) for one in samples), lasts_us))
        for name, samples in ways.items()
        if any(one.bytes_per_s for one in samples)
    ]


def _measured(path: Path, lasts_us: int) -> tuple[LinkSample, ...]:
    form = LinkFile(file=path.name, format="rates", source=NEAR, target=FAR, latency_us=LATENCY_US)
    return read_links(path, form, lasts_us).samples


class _Kept(KeptFrames):
    """Keeps all frames, and begins the link's trace with the run: until then the link was fast."""

    def __init__(self, link: ShapedLink, rates: Rates) -> None:
        super().__init__()
        self._link, self._rates = link, rates

    def begin(self, begun: Replay, /) -> None:
        """It begins."""
        super().begin(begun)
        self._link.begin(self._rates)


@dataclass(frozen=True)
class Case:
    """A workload with what it is run on, and what this machine alone makes of it."""

    workload: str
    recording: Recording
    span: Span
    profile: Profile
    """Of this machine alone."""
    local: Sequence[FrameResult]

    @classmethod
    def of(cls, name: str) -> Case:
        """Its stages are measured here, and it is run in virtual time."""
        workload, (called, start_s) = shipped.workload(name), CASES[name]
        recording = shipped.recording(called)
        span = Span.of(recording, start_s * 1_000_000, RUN_S * 1_000_000)
        profile = calibrate(workload, split(), recording, effort=QUICK).profile
        kept = KeptFrames()
        with Runtime.simulated(workload, split(), profile) as runtime:
            replay(runtime, recording, span, policy="exact", time="virtual", sinks=[kept])
        return cls(name, recording, span, profile, kept.frames)

    def run(self, trace: Trace, seed: int) -> tuple[Came, list[Fault], list[float]]:
        """It, split, in real time; with the faults, and how far off the link was from what was thought of it."""
        with (
            ServerProcess(self.workload) as server,
            ShapedLink(server.address, up=FAST, latency_us=LATENCY_US) as link,
        ):
            kept = _Kept(link, trace.rates)
            machine = split(link.url, latency_us=LATENCY_US, bytes_per_s=SAID_BYTES_PER_S)
            runtime = self._live(machine, as_fast_there(self.profile))
            with (
                closing(runtime),
                Watch(runtime, link) as watch,
                Faults(runtime, server, link, Random(seed)) as faults,
            ):
                replay(runtime, self.recording, self.span, policy="exact", time="real", sinks=[kept])
            # While a link is cut its trace is not what it does.
            off = [by for at_us, by in watch.rate_off if not any(one.touches(at_us, at_us) for one in faults.found)]
            return beside(self.local, kept.frames, faults.found), faults.found, off

    def alone(self) -> Came:
        """It, on this machine alone, in real time."""
        kept = KeptFrames()
        with self._live(split(), self.profile) as runtime:
            replay(runtime, self.recording, self.span, policy="exact", time="real", sinks=[kept])
        return beside(self.local, kept.frames)

    def _live(self, machine: Hardware, profile: Profile) -> Runtime:
        placing = Placing()
        return Runtime.live(
            shipped.workload(self.workload),
            machine,
            profile,
            solver=placing.solver("real"),
            window_stages=placing.stages_of_windows,
        )


# The link itself.


def link_itself() -> bool:
    """Print its rate and round trip as measured; whether they are as they should be."""
    good = True
    print(f"the link itself, {LATENCY_US / 1e3:g} ms each way")
    with closing(socket.create_server(("127.0.0.1", 0))) as receiving:
        threading.Thread(target=_receive, args=(receiving,), daemon=True).start()
        for mbit_per_s in RATES_MBIT_PER_S:
            rates = Rates.steady(mbit_per_s * 125_000)
            with ShapedLink(receiving.getsockname(), up=rates, latency_us=LATENCY_US) as link:
                trip_ms, found_mbit_per_s = _measure(link, mbit_per_s * 125_000 // 4)
            good &= abs(found_mbit_per_s / mbit_per_s - 1) <= RATE_WITHIN
            good &= 0 <= trip_ms - 2 * LATENCY_US / 1e3 <= ROUND_TRIP_WITHIN_MS
            print(f"  {mbit_per_s} Mbit/s: {found_mbit_per_s:.2f} Mbit/s, {trip_ms:.1f} ms there and back")
    return good


def _receive(listening: socket.socket) -> None:
    with suppress(OSError):
        while True:
            own, _ = listening.accept()
            threading.Thread(target=_receive_one, args=(own,), daemon=True).start()


def _receive_one(own: socket.socket) -> None:
    """Answer each message when its end has come."""
    with own, suppress(OSError):
        while piece := own.recv(1 << 16):
            if piece.endswith(END):
                own.sendall(END)


def _measure(link: ShapedLink, size_bytes: int) -> tuple[float, float]:
    """A round trip in ms, the least of 20, and the rate in Mbit/s at which so much gets through, the most of three.

    So they say what the link does, and less what else the machine does.
    """
    with socket.create_connection(link.address) as own:
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trip_s = min(_through(own, 1) for _ in range(20))
        return trip_s * 1e3, max(size_bytes * 8e-6 / (_through(own, size_bytes) - trip_s) for _ in range(3))


def _through(own: socket.socket, size_bytes: int) -> float:
    """How many seconds it takes to send so much and be told that it is there."""
    began_s = perf_counter()
    own.sendall(bytes(size_bytes - 1) + END)
    own.recv(1)
    return perf_counter() - began_s


# All of it.


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path, metavar="FOLDER")
    parser.add_argument("--seconds", type=int, default=8 * RUN_S)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=tuple(CASES))
    asked = parser.parse_args()
    good = link_itself()
    cases = [Case.of(name) for name in CASES if asked.only in (None, name)]
    runs = [(case, trace) for trace in traces(asked.traces, RUN_S * 1_000_000) for case in cases]
    count = max(1, round(asked.seconds / RUN_S))
    print(f"\n{count} runs of {RUN_S} s; answers: lost, skipped, late, of them with no fault about, of other labels,")
    print("of other bits; runs of stages: there, failed there and done here; faults")
    columns = ("answers", "lost", "skip", "late", "peace", "label", "bits", "runs", "there", "anew", "faults")
    print(f"{'':6} {'trace':16}{'Mbit/s':>7}  " + "".join(f"{column:>7}" for column in columns))
    faults: list[Fault] = []
    rate_off: list[float] = []
    for case in cases if count >= ENOUGH_RUNS else ():
        row(case.workload, "no server", "", case.alone(), "")
    for number, (case, trace) in enumerate(islice(cycle(runs), count)):
        came, found, off = case.run(trace, asked.seed + number)
        faults += found
        rate_off += off
        good &= not came.lost and not came.other_labels and not came.other_bits
        row(case.workload, trace.name, f"{trace.mean_mbit_per_s:.1f}", came, str(len(found)))
    print()
    for line, is_good in recoveries(faults):
        print(line)
        good &= is_good
    off = median(map(abs, rate_off)) if rate_off else 0.0
    print(f"rates as they were thought to be, with no fault about: {off:.0%} off in the median of {len(rate_off)}")
    good &= off <= RATE_OFF or len(rate_off) < ENOUGH_RATES
    print("all as claimed" if good else "NOT as claimed")
    return int(not good)


def row(workload: str, trace: str, mbit_per_s: str, came: Came, faults: str) -> None:
    """Print what came of a run."""
    counts = (
        *(came.answers, len(came.lost), came.skipped, came.late, came.late_at_peace, came.other_labels),
        *(came.other_bits, came.runs, came.there, came.given_up, faults),
    )
    print(f"{workload:6} {trace:16}{mbit_per_s:>7}  " + "".join(f"{count:>7}" for count in counts), flush=True)
    for lost in came.lost[:5]:
        print(f"    lost: {lost}")


def recoveries(faults: Sequence[Fault]) -> Iterator[tuple[str, bool]]:
    """Of each kind of fault, how long after it the server was in service; whether that is as claimed."""
    for kind in KINDS:
        # The last of a run may have been cut short by its end.
        ended = [fault for fault in faults if fault.kind == kind and fault.back_us is not None]
        if not ended:
            continue
        after_us = sorted((one.back_us or 0) - one.until_us for one in ended)
        yield (
            f"{kind}: {len(ended)} times, for {median(one.lasted_us for one in ended) / 1e6:.1f} s in the median; "
            f"in service again after {median(after_us) / 1e6:.2f} s in the median, {after_us[-1] / 1e6:.2f} s at most",
            after_us[-1] <= BACK_WITHIN_US and (len(ended) < ENOUGH_FAULTS or median(after_us) <= BACK_USUALLY_US),
        )


if __name__ == "__main__":
    sys.exit(main())
