"""What crosses to a server and back in real runs: each output once, nothing that nobody reads, and none that hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.backend import Backend, Kernel, registry
from leo_runtime.backend.keeping import ForgottenError, KeptArray, KeptRun, KeptValue, Passed
from leo_runtime.backend.transfers import SilentError, StrangerError
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DeviceUnavailableError, KernelError
from leo_runtime.frame.records import FrameResult
from leo_runtime.runtime.runtime import Runtime
from servers import PATIENCE_S, free_port, serving, until, write_workload

SMALL, LARGE = 100, 20_000
"""Samples: 400 bytes go along with their request, 80,000 are a transfer of their own."""


def workload(folder: Path, samples: int) -> Workload:
    return Workload.from_file(write_workload(folder / "crossing", samples=samples))


def machine(**options: object) -> Hardware:
    radio = {"name": "radio", "awake_mw": 100}
    pairs = (("cpu", "cloud"), ("cloud", "cpu"))
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "split",
            "processors": [
                {"name": "cpu", "backend": "cpu", "active_mw": 1_000},
                {"name": "cloud", "backend": "remote", "remote": True, "active_mw": 1_000, "options": options},
            ],
            "radios": [radio],
            "links": [
                {"source": source, "target": target, "radio": "radio", "bytes_per_s": 10**9} for source, target in pairs
            ],
        }
    )


def profile(*there: str, processors: Sequence[str] = ("cpu", "cloud")) -> Profile:
    """These stages are cheap there, and all others here."""
    operators = {"signal": "window", "louder": "steps:times", "level": "steps:level"}
    costs = [
        {
            "operator": operator,
            "variant": variant,
            "processor": processor,
            "fixed_us": 100 if (processor == "cloud") == (stage in there) else 50_000,
            "source": "modelled: a test",
        }
        for stage, operator in operators.items()
        for variant in (("twice", "thrice") if stage == "louder" else ("default",))
        for processor in processors
    ]
    return Profile.from_dict({"format": "leo-profile/1", "name": "split", "hardware": "split", "costs": costs})


def windows(samples: int, count: int = 3) -> list[np.ndarray]:
    return [np.linspace(-loud, loud, samples, dtype=np.float32) for loud in (0.1, 0.9, 0.3, 0.6)[:count]]


def run(runtime: Runtime, given: Sequence[np.ndarray]) -> list[FrameResult]:
    """Frames, one after the other."""
    found: list[FrameResult] = []
    for window in given:
        runtime.submit(runtime.now_us, {"signal": window}, graphs=["loud"])
        found += runtime.drain(PATIENCE_S)
    return found


def levels(results: Sequence[FrameResult]) -> list[bytes]:
    return [graph.outputs["level"].tobytes() for result in results for graph in result.graphs]


def placed(results: Sequence[FrameResult]) -> set[tuple[str, str]]:
    return {(one.stage, one.resource) for result in results for one in result.stages if one.outcome == "done"}


def local(of: Workload, given: Sequence[np.ndarray]) -> list[bytes]:
    here = Hardware.from_dict(
        {"format": "leo-hardware/1", "name": "split", "processors": [{"name": "cpu", "backend": "cpu"}]}
    )
    with Runtime.live(of, here, profile(processors=["cpu"])) as runtime:
        return levels(run(runtime, given))


@pytest.mark.parametrize(
    ("samples", "there", "asked", "sent", "brought"),
    [
        (SMALL, ("louder", "level"), {"louder": 1, "level": 1}, 400, 8),
        (LARGE, ("louder", "level"), {"": 1, "louder": 1, "level": 1}, 80_000, 8),
        (SMALL, ("louder",), {"louder": 1}, 400, 400),
        (LARGE, ("louder",), {"": 2, "louder": 1}, 80_000, 80_000),
    ],
)
def test_each_output_crosses_once_and_none_that_nobody_reads(
    tmp_path: Path, samples: int, there: Sequence[str], asked: dict[str, int], sent: int, brought: int
) -> None:
    of, given = workload(tmp_path, samples), windows(samples)
    with serving(of) as one:
        with Runtime.live(of, machine(url=one.url), profile(*there)) as runtime:
            before = one.service.counts.now()
            results = run(runtime, given)
            now = one.service.counts.now()
            assert levels(results) == local(of, given), "bit by bit"
            assert {stage for stage, resource in placed(results) if resource == "cloud"} == set(there)
        answers = {model: number - before.answers.get((model, 200), 0) for (model, _), number in now.answers.items()}
        frames = len(given)
        assert {model: number for model, number in answers.items() if number} == {
            model: frames * number for model, number in asked.items()
        }
        assert frames * sent < now.bytes_in - before.bytes_in < frames * (sent + 1_500)
        assert frames * brought < now.bytes_out - before.bytes_out < frames * (brought + 1_000)
        assert one.service.kept.now().tensors <= 2, "what was kept for a frame is forgotten with the next one"


class Server:
    """What is far away in these tests: it keeps what it is sent, and fails as it is told to."""

    name = "far"
    keeps = True

    def __init__(self) -> None:
        self._cpu: Backend = registry.create(Processor(name="there", backend="cpu"))
        self.kept: dict[str, np.ndarray] = {}
        self.said: list[str] = []
        self.forgotten: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        """Is told what is about to happen, and may raise."""

    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        return self._cpu.supports(stage, variant)

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        return FarKernel(self, stage.name, self._cpu.load(stage, variant))

    def close(self) -> None:
        self._cpu.close()

    def keep(self, array: np.ndarray) -> KeptArray:
        name = f"k{len(self.kept)}"
        self.kept[name] = array
        return KeptArray(name, array.dtype, array.shape)

    def put(self, arrays: Sequence[np.ndarray], most_us: int | None, /) -> tuple[KeptValue, Passed]:
        assert most_us is not None and most_us >= 500_000, "as long as a run may take"
        self._say("put")
        size = sum(array.nbytes for array in arrays)
        return KeptValue(tuple([self.keep(array) for array in arrays])), Passed(size, 0, 30)

    def fetch(self, kept: KeptValue, most_us: int | None, /) -> tuple[list[np.ndarray], Passed]:
        self._say("fetch")
        arrays = [self.found(one) for one in kept.arrays]
        return arrays, Passed(0, sum(array.nbytes for array in arrays), 20)

    def forget(self, kept: Sequence[KeptValue], /) -> None:
        self.forgotten += [one.id for value in kept for one in value.arrays]

    def found(self, one: KeptArray) -> np.ndarray:
        if one.id not in self.kept:
            raise ForgottenError("it is not kept any more")
        return self.kept[one.id]

    def _say(self, what: str) -> None:
        self.said.append(what)
        self.before(what)


class FarKernel:
    def __init__(self, server: Server, stage: str, kernel: Kernel) -> None:
        self._server, self._stage, self._kernel = server, stage, kernel

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        return self._kernel(inputs)

    def run(self, inputs: Sequence[np.ndarray | KeptArray], /, *, keep: bool, bring: bool) -> KeptRun:
        self._server._say(f"{self._stage} of {''.join('k' if isinstance(one, KeptArray) else 'd' for one in inputs)}")
        arrays = [self._server.found(one) if isinstance(one, KeptArray) else one for one in inputs]
        output = self._kernel(arrays)
        kept = KeptValue((self._server.keep(output),)) if keep else None
        size = sum(one.nbytes for one in inputs if not isinstance(one, KeptArray))
        return KeptRun(output if bring else None, kept, 7, Passed(size, 0, 90, 7, 2, 80))


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as one:
        yield one


def live(of: Workload, server: Server, *there: str) -> Runtime:
    cpu = registry.create(Processor(name="cpu", backend="cpu"))
    return Runtime.live(of, machine(), profile(*there), backends={"cpu": cpu, "cloud": server})


def why_lost(runtime: Runtime) -> str:
    """Why the server was lost, also where it is back."""
    (cloud,) = (one for one in runtime.processors() if one.processor == "cloud")
    return cloud.last_reason


def fates(runtime: Runtime) -> set[str]:
    """What became of the transfers that failed last, also where that is long over."""
    runtime.links()  # So all that is over by now is noted.
    return set(runtime._watch.avoided(0).values())


def test_what_is_there_is_named_and_forgotten_when_the_frame_ends(tmp_path: Path, server: Server) -> None:
    of, given = workload(tmp_path, LARGE), windows(LARGE, 2)
    with live(of, server, "louder", "level") as runtime:
        results = run(runtime, given)
        (up, *back) = [(one.source, one.transfers, one.failed) for one in runtime.links()]
        assert up == ("cpu", 6, 0), "two runs a frame are requests on that link, too"
        assert back in ([], [("cloud", 0, 0)])
    assert server.said == ["put", "louder of k", "level of k"] * 2
    assert levels(results) == local(of, given)
    assert sorted(server.forgotten) == ["k0", "k1", "k2", "k3"], "two a frame: what went there, and what stayed"
    (first, _) = results
    assert [(one.stage, one.target) for one in first.transfers] == [("signal", "cloud")]


def test_what_a_run_leaves_there_that_was_given_up_is_forgotten(tmp_path: Path, server: Server) -> None:
    of, (window,) = workload(tmp_path, LARGE), windows(LARGE, 1)
    reached, goes_on = threading.Event(), threading.Event()

    def lasts(what: str) -> None:
        if what == "louder of k":
            reached.set()
            goes_on.wait(PATIENCE_S)

    server.before = lasts
    with live(of, server, "louder", "level") as runtime:
        try:
            runtime.submit(runtime.now_us, {"signal": window}, graphs=["loud"])
            assert reached.wait(PATIENCE_S)
            runtime.lose("cloud")
            (result,) = runtime.drain(PATIENCE_S)
            assert {resource for _, resource in placed([result])} == {"cpu"}
            assert server.forgotten == ["k0"], "what went there"
        finally:
            goes_on.set()
        until(lambda: server.forgotten == ["k0", "k1"])


def test_what_is_small_goes_along(tmp_path: Path, server: Server) -> None:
    of, given = workload(tmp_path, SMALL), windows(SMALL, 1)
    with live(of, server, "louder") as runtime:
        results = run(runtime, given)
    assert server.said == ["louder of d"] and levels(results) == local(of, given)
    assert server.forgotten == [] == list(server.kept)


def test_what_is_forgotten_goes_there_again_and_nothing_runs_twice(tmp_path: Path, server: Server) -> None:
    """An input that is here as well."""
    of, given = workload(tmp_path, LARGE), windows(LARGE, 2)

    def loses(what: str) -> None:
        if what == "louder of k":
            server.kept.clear()

    server.before = loses
    with live(of, server, "louder") as runtime:
        results = run(runtime, given)
        assert runtime.lost == ()
    assert server.said == ["put", "louder of k", "louder of d", "fetch"] * 2
    assert levels(results) == local(of, given)


@pytest.mark.parametrize(
    ("there", "at"), [(("louder", "level"), "level of k"), (("louder",), "fetch"), (("louder",), "louder of k")]
)
@pytest.mark.parametrize("forgets", [True, False])
def test_what_was_only_there_is_computed_here(
    tmp_path: Path, server: Server, there: Sequence[str], at: str, forgets: bool
) -> None:
    """It is started anew between two requests, and then is there, or is not."""
    of, given = workload(tmp_path, LARGE), windows(LARGE, 1)

    def dies(what: str) -> None:
        if what == at:
            server.kept.clear()
            if not forgets:
                raise DeviceUnavailableError("it hung up")

    server.before = dies
    with live(of, server, *there) as runtime:
        results = run(runtime, given)
        assert levels(results) == local(of, given)
        assert [graph.outcome for graph in results[0].graphs] == ["done"]
        ran_again = at != "louder of k" or not forgets
        assert (("louder", "cpu") in placed(results)) == ran_again
        assert bool(why_lost(runtime)) == ran_again


def test_an_upload_that_breaks_off_moves_what_was_to_read_it(tmp_path: Path, server: Server) -> None:
    of, given = workload(tmp_path, LARGE), windows(LARGE, 1)

    def breaks(what: str) -> None:
        raise DeviceUnavailableError("the network is unreachable")

    server.before = breaks
    with live(of, server, "louder", "level") as runtime:
        results = run(runtime, given)
        assert server.said[0] == "put" and why_lost(runtime) == "the network is unreachable"
    assert levels(results) == local(of, given)
    assert {resource for _, resource in placed(results)} == {"cpu"}


def test_an_upload_that_is_refused_goes_along_with_its_reader(tmp_path: Path, server: Server) -> None:
    of, given = workload(tmp_path, LARGE), windows(LARGE, 1)

    def refuses(what: str) -> None:
        if what == "put":
            raise KernelError("there is no room for it")

    server.before = refuses
    with live(of, server, "louder") as runtime:
        results = run(runtime, given)
        assert server.said == ["put", "louder of d", "fetch"] and runtime.lost == ()
    assert levels(results) == local(of, given)


def test_a_transfer_that_lasts_keeps_nobody_else_waiting(tmp_path: Path, server: Server) -> None:
    """Its end is awaited by a thread of its own: the runtime answers, and closing waits no longer than it says."""
    of, (window,) = workload(tmp_path, LARGE), windows(LARGE, 1)
    reached, goes_on = threading.Event(), threading.Event()

    def lasts(what: str) -> None:
        if what == "put":
            reached.set()
            goes_on.wait(PATIENCE_S)

    server.before = lasts
    with live(of, server, "louder", "level") as runtime:
        frame = runtime.submit(runtime.now_us, {"signal": window}, graphs=["loud"])
        assert reached.wait(PATIENCE_S)
        assert runtime.results() == () and runtime.lost == ()
        goes_on.set()
        (result,) = runtime.drain(PATIENCE_S)
        assert result.frame == frame and result.graphs[0].outcome == "done"


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (DeviceUnavailableError("it fell silent, and hung up"), "lost"),
        (SilentError("nothing came"), "silent"),
        (StrangerError("somebody else"), "wrong"),
    ],
)
def test_what_became_of_a_transfer_is_told_by_the_kind_of_error(
    tmp_path: Path, server: Server, error: DeviceUnavailableError, fate: str
) -> None:
    of, given = workload(tmp_path, LARGE), windows(LARGE, 1)

    def breaks(what: str) -> None:
        raise error

    server.before = breaks
    with live(of, server, "louder", "level") as runtime:
        results = run(runtime, given)
        assert fates(runtime) == {fate}
    assert levels(results) == local(of, given)


@contextmanager
def network_with_a_login(port: int, status: int, page: bytes) -> Iterator[None]:
    """It lets everybody connect, and answers in the place of whom they meant."""

    class Portal(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Location", "http://login.example/")
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_GET  # noqa: N815  # so the library calls it

        def log_message(self, *_: object) -> None:
            """It says nothing."""

    with HTTPServer(("127.0.0.1", port), Portal) as portal:
        thread = threading.Thread(target=portal.serve_forever, args=(0.01,))
        thread.start()
        yield
        portal.shutdown()
        thread.join(PATIENCE_S)


@pytest.mark.parametrize("samples", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("status", "page"),
    [(200, b"\xef\xbb\xbf\n<!doctype html><title>Welcome</title>"), (302, b""), (511, b"<html>log in</html>")],
)
def test_a_network_that_wants_a_login_is_told_from_the_server(
    tmp_path: Path, samples: int, status: int, page: bytes
) -> None:
    of, given, port = workload(tmp_path, samples), windows(samples, 2), free_port()
    with (
        serving(of, port=port) as one,
        Runtime.live(of, machine(url=one.url), profile("louder", "level")) as runtime,
    ):
        results = run(runtime, given[:1])
        assert ("louder", "cloud") in placed(results)
        one.server.stop(PATIENCE_S)
        with network_with_a_login(port, status, page):
            results += run(runtime, given[1:])
        assert fates(runtime) == {"wrong"}
        (up, *_) = runtime.links()
        assert up.failed == 1
        assert "does not speak the Open Inference Protocol" in why_lost(runtime)
    assert levels(results) == local(of, given)
