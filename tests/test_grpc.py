"""Stages on a server that is asked by gRPC: as by HTTP, the same values and refusals, and no stage that runs twice."""

import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_backends.remote.grpc_pool import GrpcPool
from leo_backends.remote.options import RemoteOptions, place_of
from leo_runtime.backend import TimedKernel
from leo_runtime.backend.inference_messages import SERVICE
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DeviceUnavailableError, DocumentError, KernelError, LeoError
from leo_runtime.frame.lower import merge
from leo_runtime.serving.certificate import Certificate
from servers import PATIENCE_S, Serving, free_port, module_of, remote, serving, until, write_workload

grpc = pytest.importorskip("grpc", reason="the extra `grpc` is not installed")

SIGNAL = np.linspace(-1, 1, 100, dtype=np.float32)
LOUD = float(np.abs(SIGNAL).mean())


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return Workload.from_file(write_workload(tmp_path_factory.mktemp("served")))


@pytest.fixture(scope="module")
def served(workload: Workload) -> Iterator[Serving]:
    with serving(workload, grpc_port=0) as one:
        yield one


def stage(workload: Workload, name: str) -> BoundStage:
    return merge(workload).stage(name).bound


def test_a_stage_gives_what_it_gives_here(workload: Workload, served: Serving) -> None:
    with closing(remote(served.grpc_url)) as backend:
        assert backend.driver.startswith("levels ")  # type: ignore[attr-defined]  # one that names its driver
        louder = stage(workload, "louder")
        assert np.array_equal(backend.load(louder, "twice")([SIGNAL]), SIGNAL * 2)
        assert np.array_equal(backend.load(louder, "thrice")([SIGNAL]), SIGNAL * 3)
        kernel = backend.load(stage(workload, "level"), "default")
        assert isinstance(kernel, TimedKernel)
        run = kernel.timed([SIGNAL])
        assert run.output.tolist() == [pytest.approx(1 - LOUD), pytest.approx(LOUD)]
        assert 0 <= run.device_us < PATIENCE_S * 1e6


def test_a_model_may_be_named(workload: Workload, served: Serving) -> None:
    with closing(remote(served.grpc_url, models={"louder": "louder/thrice"})) as backend:
        assert np.array_equal(backend.load(stage(workload, "louder"), "twice")([SIGNAL]), SIGNAL * 3)


def test_what_fails_there_is_told_here(workload: Workload, served: Serving) -> None:
    with closing(remote(served.grpc_url, models={"louder": "other"})) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        with pytest.raises(KernelError, match=r"stage `level` failed: the server grpc://\S+ answered 500 .*too loud"):
            kernel([SIGNAL * 1_000])
        assert kernel([SIGNAL]).shape == (2,)
        with pytest.raises(KernelError, match=r"answered 404 .*no model is called 'other' here"):
            backend.load(stage(workload, "louder"), "twice")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "grpc://x"}, "that is no URL of a server"),
        ({"url": "grpc://x:1/path"}, "that is no URL of a server"),
        ({"url": "grpc://x:1", "binary": False}, r"by gRPC tensors go as bytes, at \$\.binary"),
        ({"url": "grpcs://x:1", "ca_file": "/nowhere"}, "the certificates /nowhere cannot be used"),
    ],
)
def test_options_that_cannot_be_are_said(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        remote(options.pop("url"), **options)


def test_a_server_that_is_not_there_is_unavailable_and_found_again(workload: Workload) -> None:
    port = free_port()
    url = f"grpc://127.0.0.1:{port}"
    with pytest.raises(DeviceUnavailableError, match=f"the server {url} cannot be reached") as caught:
        remote(url)
    assert "is `leo-runtime serve` running there" in caught.value.hint
    with serving(workload, grpc_port=port):
        backend = remote(url)
        kernel = backend.load(stage(workload, "level"), "default")
        kernel([SIGNAL])
    with pytest.raises(DeviceUnavailableError):
        kernel([SIGNAL])
    with serving(workload, grpc_port=port):
        assert kernel([SIGNAL]).shape == (2,)
    backend.close()
    with pytest.raises(KernelError, match="are closed"):
        kernel([SIGNAL])


def test_a_server_of_http_is_said_to_be_none_of_grpc(served: Serving) -> None:
    with pytest.raises(DeviceUnavailableError, match="cannot be reached, or hung up"):
        remote(served.url.replace("http", "grpc"), timeout_s=PATIENCE_S)


@pytest.fixture
def runs(workload: Workload) -> Iterator[list[int]]:
    """An entry for each run of `level`, which goes on when the test has ended at the latest."""
    module = module_of(workload)
    module.runs.clear()
    yield module.runs
    module.waits.set()


def in_thread(kernel: Callable[[list[np.ndarray]], object]) -> tuple[threading.Thread, list[LeoError]]:
    """A run of it, and what it raises."""
    errors: list[LeoError] = []

    def run() -> None:
        try:
            kernel([SIGNAL])
        except LeoError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("closes", [False, True])
def test_a_run_that_is_given_up_ends(workload: Workload, served: Serving, runs: list[int], closes: bool) -> None:
    with closing(remote(served.grpc_url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        module_of(workload).waits.clear()
        thread, errors = in_thread(kernel)
        until(lambda: runs)
        backend.close() if closes else kernel.abandon()  # type: ignore[attr-defined]  # it can be
        thread.join(PATIENCE_S)
        assert "was given up" in str(errors[0]) and isinstance(errors[0], KernelError)
        module_of(workload).waits.set()
        if not closes:
            assert kernel([SIGNAL]).shape == (2,)


def test_a_server_that_is_silent_is_unavailable_and_told_how_long(
    workload: Workload, served: Serving, runs: list[int]
) -> None:
    with closing(remote(served.grpc_url, timeout_s=0.3)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        module_of(workload).waits.clear()
        with pytest.raises(DeviceUnavailableError, match="was silent for too long"):
            kernel([SIGNAL])
        assert len(runs) == 1
        module_of(workload).waits.set()
    with closing(remote(served.grpc_url)) as backend:
        assert backend.load(stage(workload, "level"), "default")([SIGNAL]).shape == (2,)


def test_what_waited_there_for_too_long_is_not_run(workload: Workload, runs: list[int]) -> None:
    with serving(workload, grpc_port=0, workers=1) as one, closing(remote(one.grpc_url, timeout_s=0.3)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        with closing(remote(one.grpc_url)) as other:
            module_of(workload).waits.clear()
            thread, _ = in_thread(other.load(stage(workload, "level"), "default"))
            until(lambda: runs)
            with pytest.raises((DeviceUnavailableError, KernelError), match=r"silent for too long|answered 504"):
                kernel([SIGNAL])
            until(lambda: one.refused().get("late"))
            module_of(workload).waits.set()
            thread.join(PATIENCE_S)
        assert len(runs) == 1


def test_a_server_that_has_no_room_says_so(workload: Workload, runs: list[int]) -> None:
    limits = {"workers": 1, "waiting": 0}
    with serving(workload, grpc_port=0, **limits) as one, closing(remote(one.grpc_url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        module_of(workload).waits.clear()
        thread, _ = in_thread(kernel)
        until(lambda: runs)
        with pytest.raises(KernelError, match="answered 503") as caught:
            kernel([SIGNAL])
        assert "let fewer lanes use the server" in caught.value.hint
        module_of(workload).waits.set()
        thread.join(PATIENCE_S)
        assert one.refused() == {"full": 1} and len(runs) == 1


def test_what_is_too_large_is_refused(workload: Workload) -> None:
    with serving(workload, grpc_port=0, max_bytes=300) as one, closing(remote(one.grpc_url)) as backend:
        with pytest.raises(KernelError, match=r"answered 413 \(a body of \d+ bytes is more than 300") as caught:
            backend.load(stage(workload, "level"), "default")([SIGNAL])
        assert "--max-bytes" in caught.value.hint and one.refused() == {"size": 1}
        with grpc.insecure_channel(one.grpc_url[7:]) as channel:
            asked = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(bytes(1 << 20))
            assert asked.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        until(lambda: one.refused().get("unread"))


# Calls that are lost.


class Way:
    """A way to a server by which, when it is told to, nothing comes back; and which can be cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"grpc://127.0.0.1:{self._listening.getsockname()[1]}"
        self.holds_answers = False
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                own, _ = self._listening.accept()
                other = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [own, other]
            for one, two, answers in ((own, other, False), (other, own, True)):
                self._threads.append(threading.Thread(target=self._pass, args=(one, two, answers)))
                self._threads[-1].start()

    def _pass(self, one: socket.socket, two: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                if not (answers and self.holds_answers):
                    two.sendall(data)
        _hang_up([one, two])  # Not on those that have come since.

    def cut(self) -> None:
        _hang_up(list(self._sockets))  # Who is hung up on comes again while others still are.

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for own in self._sockets:
            own.close()


def _hang_up(sockets: list[socket.socket]) -> None:
    for own in sockets:
        with suppress(OSError):
            own.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("remembers", [True, False])
def test_an_answer_that_is_lost_has_no_stage_run_twice(
    workload: Workload, served: Serving, runs: list[int], remembers: bool
) -> None:
    host, port = served.grpc_url[7:].split(":")
    with closing(Way((host, int(port)))) as way, closing(remote(way.url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        backend._backend._pool.remembers = remembers  # type: ignore[attr-defined]  # False: as of another make
        way.holds_answers = True
        before = served.service.counts.now().run_us.get("level", 0)
        thread, errors = in_thread(kernel)
        until(lambda: served.service.counts.now().run_us.get("level", 0) > before)
        way.holds_answers = False
        way.cut()
        thread.join(PATIENCE_S)
        assert len(runs) == 1
        assert [type(error) for error in errors] == ([] if remembers else [DeviceUnavailableError])


# Who is who.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    return signed_by_itself(tmp_path_factory.mktemp("tls"))


def signed_by_itself(folder: Path, *more: str) -> tuple[Path, Path]:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/c.pem"]
    try:
        subprocess.run([*command.split(), *more, *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder / "c.pem", folder / "key.pem"


def test_with_tls_and_a_token(workload: Workload, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("b" * 40 + "\n")
    with serving(workload, token="b" * 40, tls=certificate, grpc_port=0) as one:
        assert one.grpc_url.startswith("grpcs://")
        given = {"ca_file": str(certificate[0]), "token_file": str(token)}
        with closing(remote(one.grpc_url, **given)) as backend:
            assert backend.load(stage(workload, "level"), "default")([SIGNAL]).shape == (2,)
        with pytest.raises(KernelError, match="answered 401") as caught:
            remote(one.grpc_url, ca_file=str(certificate[0]))
        assert "token_file" in caught.value.hint
        with pytest.raises(DeviceUnavailableError, match="certificate that is not trusted") as untrusted:
            remote(one.grpc_url, token_file=str(token))
        assert "ca_file" in untrusted.value.hint
        with pytest.raises(DeviceUnavailableError):
            remote(one.grpc_url.replace("127.0.0.1", "localhost"), **given)
        with pytest.raises(DeviceUnavailableError):
            remote(one.grpc_url.replace("grpcs", "grpc"), timeout_s=5.0)


def test_a_certificate_that_may_sign_no_other_is_trusted_alone(workload: Workload, tmp_path: Path) -> None:
    """It is no authority, and the system's are not meant in its place."""
    own = signed_by_itself(tmp_path, "-addext", "basicConstraints=critical,CA:FALSE")
    with serving(workload, tls=own, grpc_port=0) as one:
        for url in (one.url, one.grpc_url):
            with closing(remote(url, ca_file=str(own[0]))) as backend:
                assert backend.load(stage(workload, "level"), "default")([SIGNAL]).shape == (2,)


def test_a_certificate_that_is_renewed_is_shown_to_who_connects(
    workload: Workload, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown, other = tmp_path / "shown", tmp_path / "other"
    shown.mkdir()
    other.mkdir()
    own, new = signed_by_itself(shown), signed_by_itself(other)
    before = shutil.copy(own[0], tmp_path / "before.pem")
    with serving(workload, tls=own, grpc_port=0) as one:

        def is_trusted(url: str, ca_file: Path) -> bool:
            try:
                remote(url, ca_file=str(ca_file)).close()
            except DeviceUnavailableError:
                return False
            return True

        for url in (one.url, one.grpc_url):
            assert is_trusted(url, before) and not is_trusted(url, new[0])
        own[0].write_bytes(new[0].read_bytes())
        for url in (one.url, one.grpc_url):
            assert is_trusted(url, before), "the key of the new one is not there yet"
        assert caplog.text.count("cannot be used") == 2
        own[1].write_bytes(new[1].read_bytes())
        for url in (one.url, one.grpc_url):
            assert is_trusted(url, new[0]) and not is_trusted(url, before)


def test_a_certificate_that_can_be_read_only_later_is_shown_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").mkdir()
    own, new = signed_by_itself(tmp_path), signed_by_itself(tmp_path / "other")
    shown = Certificate(*own)
    for one, other in zip(own, new, strict=True):
        one.write_bytes(other.read_bytes())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert not shown.renew() and not shown.renew()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert shown.renew() and not shown.renew()
    assert caplog.text.count("cannot be used") == 1, "it is told of once"


@pytest.mark.parametrize("is_file", [True, False])
def test_without_a_file_of_ones_own_the_systems_certificates_are_trusted(
    workload: Workload, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    (tmp_path / "0a1b2c3d.0").write_bytes(certificate[0].read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]) if is_file else str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with serving(workload, tls=certificate, grpc_port=0) as one, closing(remote(one.grpc_url)) as backend:
        assert backend.load(stage(workload, "level"), "default")([SIGNAL]).shape == (2,)


def test_a_token_that_is_renewed_is_read_again(workload: Workload, tmp_path: Path) -> None:
    token, asked_for = tmp_path / "token", ["b" * 40]
    token.write_text("b" * 40)
    with (
        serving(workload, token=lambda: asked_for[0], grpc_port=0) as one,
        closing(remote(one.grpc_url, token_file=str(token))) as backend,
    ):
        kernel = backend.load(stage(workload, "level"), "default")
        asked_for[0] = "c" * 40
        with pytest.raises(KernelError, match="answered 401"):
            kernel([SIGNAL])
        token.write_text("c" * 40)
        assert kernel([SIGNAL]).shape == (2,)


def test_a_connection_that_was_idle_for_long_is_not_used(served: Serving) -> None:
    now = [0]
    with closing(GrpcPool(place_of(RemoteOptions(url=served.grpc_url), "cloud"), since_boot_us=lambda: now[0])) as pool:
        lines = []
        for now[0] in (0, 60_000_000, 120_000_001, 120_000_002):
            assert pool.ask("GET", "/v2").status == 200
            lines.append(pool._line)
        assert lines[0] is lines[1] is not lines[2] is lines[3]


# Who wants no good.


def test_who_has_no_token_has_nothing_read(workload: Workload) -> None:
    with serving(workload, token="c" * 32, grpc_port=0) as one, grpc.insecure_channel(one.grpc_url[7:]) as channel:
        ends = threading.Event()

        def never_ending() -> Iterator[bytes]:
            ends.wait(PATIENCE_S)
            yield b""

        try:
            asked = channel.stream_unary(f"/{SERVICE}/ModelInfer").future(never_ending())
            assert asked.code() == grpc.StatusCode.UNAUTHENTICATED
        finally:
            ends.set()
        live = channel.unary_unary(f"/{SERVICE}/ServerLive")
        assert live(b"") == b"\x08\x01"
        assert one.refused() == {"token": 1}


def test_nobody_without_a_token_holds_a_place_by_sending_nothing(workload: Workload) -> None:
    with serving(workload, token="c" * 32, grpc_port=0) as one, grpc.insecure_channel(one.grpc_url[7:]) as channel:
        ends = threading.Event()

        def never_ending() -> Iterator[bytes]:
            ends.wait(PATIENCE_S)
            yield b""

        try:
            for method in ("ServerLive", "ServerReady"):
                asked = channel.stream_unary(f"/{SERVICE}/{method}").future(never_ending())
                assert asked.result(PATIENCE_S) == b"\x08\x01"
        finally:
            ends.set()
        assert one.refused() == {}


def test_who_sends_nothing_is_hung_up_on(workload: Workload) -> None:
    limits = {"patience_s": 0.05, "look_s": 0.01}
    with serving(workload, grpc_port=0, **limits) as one, grpc.insecure_channel(one.grpc_url[7:]) as channel:
        ends = threading.Event()

        def never_ending() -> Iterator[bytes]:
            ends.wait(PATIENCE_S)
            yield b""

        try:
            asked = channel.stream_unary(f"/{SERVICE}/ModelInfer").future(never_ending())
            assert asked.code() == grpc.StatusCode.CANCELLED
        finally:
            ends.set()
        assert one.refused()["slow"] == 1


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ModelReady"])
@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x05ab", b"\x08\x01", b"\x0a\x02\xff\xfe"])
def test_what_is_no_message_is_refused(served: Serving, method: str, message: bytes) -> None:
    with grpc.insecure_channel(served.grpc_url[7:]) as channel:
        asked = channel.unary_unary(f"/{SERVICE}/{method}").future(message)
        assert asked.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert dict(asked.trailing_metadata())["leo-status"] == "400"


def test_two_servers_do_not_share_a_port(workload: Workload, served: Serving) -> None:
    port = int(served.grpc_url.rpartition(":")[2])
    with (
        pytest.raises(LeoError, match=f"nothing can listen at 127.0.0.1:{port} for gRPC"),
        serving(workload, grpc_port=port),
    ):
        pass
