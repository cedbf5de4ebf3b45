"""What a request to a server costs beside its stage: 98 x 40 floats there and back on loopback, and others beside it.

    python tests/bench/remote.py [RUNS]

Rows: our client and server (each a process), tritonclient on our server, our client on MLServer and on KServe where
`.ci/peer` has made them; the same by gRPC, where that is installed. All in turns within one run, so that a busy machine
is so for all. The stage multiplies by two (some microseconds). Exits with 1 where the median of ours is above 0.5 ms:
measure when the machine is quiet.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from peer_servers import PEERS, peer_server, python_of
from servers import PATIENCE_S, free_port, remote, serving_process, write_workload

SHAPE = (98, 40)
MOST_MS = 0.5
ROUND = 20
"""Requests of one row before the next has its turn."""


def main(runs: int) -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = write_workload(Path(folder), samples=SHAPE[0], channels=SHAPE[1])
        louder = merge(Workload.from_file(path)).stage("louder").bound
        array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
        has_grpc = find_spec("grpc") is not None
        port = free_port()
        more = ("--grpc", f"127.0.0.1:{port}") if has_grpc else ()
        _, url = stack.enter_context(serving_process(str(path), "--bind", "127.0.0.1:0", *more))
        rows: dict[str, Callable[[], Any]] = {}
        ours = stack.enter_context(closing(remote(url))).load(louder, "twice")
        rows["ours on ours"] = lambda: ours([array])
        plain = stack.enter_context(closing(remote(url, binary=False))).load(louder, "twice")
        rows["ours on ours, as JSON"] = lambda: plain([array])
        if (triton := _triton(url, array, stack)) is not None:
            rows["tritonclient on ours"] = triton
        if has_grpc:
            by_grpc = stack.enter_context(closing(remote(f"grpc://127.0.0.1:{port}"))).load(louder, "twice")
            rows["ours on ours, gRPC"] = lambda: by_grpc([array])
            if (triton := _triton(f"grpc://127.0.0.1:{port}", array, stack)) is not None:
                rows["tritonclient on ours, gRPC"] = triton
        for peer in PEERS:
            if python_of(peer) is None:
                print(f"not here: {peer} (`.ci/peer {peer}`)")
                continue
            there = stack.enter_context(peer_server(peer, SHAPE))
            for binary in (False, True) if peer == "kserve" else (False,):
                kernel = stack.enter_context(closing(remote(there.url, binary=binary))).load(louder, "twice")
                rows[f"ours on {peer}{'' if binary else ', as JSON'}"] = lambda kernel=kernel: kernel([array])
            if has_grpc:
                opened = stack.enter_context(closing(remote(there.grpc_url, wait_s=PATIENCE_S)))
                kernel = opened.load(louder, "twice")
                rows[f"ours on {peer}, gRPC"] = lambda kernel=kernel: kernel([array])
        times_us: dict[str, list[float]] = {name: [] for name in rows}
        for call in rows.values():
            for _ in range(ROUND):
                call()
        for _ in range(max(1, runs // ROUND)):
            for name, call in rows.items():
                for _ in range(ROUND):
                    began_ns = perf_counter_ns()
                    call()
                    times_us[name].append((perf_counter_ns() - began_ns) / 1e3)
        print(f"\n{SHAPE[0]} x {SHAPE[1]} floats there and back, {len(times_us['ours on ours'])} times, in ms")
        print(f"{'':28}{'p50':>8}{'p90':>8}{'p99':>8}")
        for name, found in times_us.items():
            p50, p90, p99 = (float(np.percentile(found, p)) / 1e3 for p in (50, 90, 99))
            print(f"{name:28}{p50:8.3f}{p90:8.3f}{p99:8.3f}")
        median_ms = float(np.median(times_us["ours on ours"])) / 1e3
        print(f"\nours: {median_ms:.3f} ms of at most {MOST_MS} ms")
        return int(median_ms > MOST_MS)


def _triton(url: str, array: np.ndarray, stack: ExitStack) -> Callable[[], Any] | None:
    try:
        triton = import_module(f"tritonclient.{url.partition(':')[0]}")
    except ImportError:
        print("not here: tritonclient (the extra `peers`)")
        return None
    client = stack.enter_context(closing(triton.InferenceServerClient(url.partition("//")[2])))

    def call() -> Any:
        given = triton.InferInput("input_0", list(array.shape), "FP32")
        given.set_data_from_numpy(array)
        return client.infer("louder", [given]).as_numpy("louder")

    return call


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
