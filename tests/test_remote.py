"""Stages on a server elsewhere: the same values, what goes wrong in words, and no stage that runs twice."""

import errno
import json
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leo_backends.remote.answers import Answer, unavailable
from leo_backends.remote.backend import RemoteKernel, _Input
from leo_backends.remote.calls import Call
from leo_backends.remote.http_answer import Incoming
from leo_backends.remote.options import RemoteOptions, place_of
from leo_backends.remote.pool import HERE_US, Pool, _FailedError
from leo_runtime.backend import Abandonable, Backend, TimedKernel, registry
from leo_runtime.backend.open_inference import Tensor, answer_message
from leo_runtime.clock import WallClock
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DeviceUnavailableError, DocumentError, KernelError, LeoError
from leo_runtime.frame.lower import merge
from leo_runtime.operators.definition import Keeping, Output, Work
from servers import PATIENCE_S, Serving, free_port, module_of, remote, serving, until, write_workload

SIGNAL = np.linspace(-1, 1, 100, dtype=np.float32)
LOUD = float(np.abs(SIGNAL).mean())


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return Workload.from_file(write_workload(tmp_path_factory.mktemp("served")))


@pytest.fixture(scope="module")
def served(workload: Workload) -> Iterator[Serving]:
    with serving(workload) as one:
        yield one


def stage(workload: Workload, name: str) -> BoundStage:
    return merge(workload).stage(name).bound


def test_a_stage_gives_what_it_gives_here(workload: Workload, served: Serving) -> None:
    with closing(remote(served.url)) as backend:
        assert backend.driver.startswith("levels ")  # type: ignore[attr-defined]  # one that names its driver
        louder = stage(workload, "louder")
        assert np.array_equal(backend.load(louder, "twice")([SIGNAL]), SIGNAL * 2)
        assert np.array_equal(backend.load(louder, "thrice")([SIGNAL]), SIGNAL * 3)
        kernel = backend.load(stage(workload, "level"), "default")
        assert isinstance(kernel, TimedKernel) and isinstance(kernel, Abandonable)
        run = kernel.timed([SIGNAL])
        assert run.output.tolist() == [pytest.approx(1 - LOUD), pytest.approx(LOUD)]
        assert 0 <= run.device_us < PATIENCE_S * 1e6
        kernel.abandon()
        assert kernel([SIGNAL]).shape == (2,), "nothing was at hand"


def test_json_does_as_well(workload: Workload, served: Serving) -> None:
    with closing(remote(served.url, binary=False)) as backend:
        louder = stage(workload, "louder")
        assert np.array_equal(backend.load(louder, "twice")([SIGNAL]), SIGNAL * 2)
        with pytest.raises(KernelError, match="JSON cannot say"):
            backend.load(louder, "twice")([SIGNAL * np.float32(np.nan)])


def test_stages_are_found_by_what_they_are(workload: Workload, served: Serving, tmp_path: Path) -> None:
    level = stage(workload, "level")
    with closing(remote(served.url)) as backend:
        renamed = replace(level, name="called otherwise")
        assert backend.load(renamed, "default")([SIGNAL]).shape == (2,)
        path = write_workload(tmp_path / "edited")
        edited = path.with_name("steps.py")
        edited.write_text(edited.read_text().replace("1 - loud", "2 - loud"))
        other = stage(Workload.from_file(path), "level")
        with pytest.raises(KernelError, match=r"stage `level`: the server .* answered 404") as caught:
            backend.load(other, "default")
        assert "let the server run the same workload" in caught.value.hint


def test_a_model_may_be_named(workload: Workload, served: Serving) -> None:
    louder = stage(workload, "louder")
    with closing(remote(served.url, models={"louder": "louder/thrice"})) as backend:
        assert np.array_equal(backend.load(louder, "twice")([SIGNAL]), SIGNAL * 3)
    with closing(remote(served.url, models={"louder": "graph:loud"})) as backend:
        assert np.array_equal(backend.load(replace(louder, name="other"), "twice")([SIGNAL]), SIGNAL * 2)
        with pytest.raises(KernelError, match="gives float32 of shape"):
            backend.load(louder, "twice")([SIGNAL])
    with closing(remote(served.url, models={"louder": "other"})) as backend, pytest.raises(KernelError, match="404"):
        backend.load(louder, "twice")
    wrong = replace(louder, input_shapes=((7,),))
    says = r"inputs of the shapes \(7,\), the model on .* is for others"
    with closing(remote(served.url, models={"louder": "louder"})) as backend, pytest.raises(KernelError, match=says):
        backend.load(wrong, "twice")


def test_what_fails_there_is_told_here(workload: Workload, served: Serving) -> None:
    with closing(remote(served.url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        with pytest.raises(KernelError, match=r"stage `level` failed: the server http://\S+ answered 500 .*too loud"):
            kernel([SIGNAL * 1_000])
        assert kernel([SIGNAL]).shape == (2,)


def test_what_keeps_state_stays_here(workload: Workload, served: Serving) -> None:
    level = stage(workload, "level")
    keeping = Keeping(state_bytes=lambda *_: 4, work=lambda *_: Work(0, 0))
    keeps = replace(level, operator=replace(level.operator, keeps=lambda _: keeping))
    with closing(remote(served.url)) as backend:
        assert backend.supports(level, "default") and not backend.supports(keeps, "default")
        with pytest.raises(KernelError, match="no server can run stage `level`"):
            backend.load(keeps, "default")


@pytest.mark.parametrize(
    ("options", "says", "hint"),
    [
        ({}, "processor `cloud` names no server", "url = "),
        ({"url": "ftp://x"}, "that is no URL of a server, at \\$.url", "https://"),
        ({"url": "http://"}, "that is no URL of a server", ""),
        ({"url": "http://x:99999"}, "that is no URL of a server", ""),
        ({"url": "http://x/a b"}, "that is no URL of a server", ""),
        ({"url": "http://x/\x1b[2J"}, "that is no URL of a server", ""),
        ({"url": "http://me:secret@x"}, "that is no URL of a server", ""),
        ({"url": "http://x", "uri": 3}, 'the key "uri" is unknown', ""),
        ({"url": "http://x", "timeout_s": 0}, "timeout_s", ""),
        ({"url": "http://x", "token_file": "/nowhere"}, "the token file /nowhere cannot be read", ""),
        ({"url": "http://x", "token_file": "/dev/null"}, "holds no token", ""),
        ({"url": "https://x", "ca_file": "/dev/null"}, "the certificates /dev/null cannot be used", "PEM"),
        ({"url": "https://x", "ca_file": "/nowhere"}, "the certificates /nowhere cannot be used", "PEM"),
    ],
)
def test_options_that_cannot_be_are_said(options: dict[str, object], says: str, hint: str) -> None:
    with pytest.raises((DocumentError, DeviceUnavailableError), match=says) as caught:
        registry.create(Processor(name="cloud", backend="remote", options=options))
    assert hint in caught.value.hint


# What goes wrong on the way.


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does this with every connection; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                own, _ = listening.accept()
            except OSError:
                return
            with own:
                own.settimeout(PATIENCE_S)
                answer(own)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(PATIENCE_S)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(
        DeviceUnavailableError, match=rf"the server {url} cannot be reached.*Connection refused"
    ) as caught:
        remote(url)
    assert "is `leo-runtime serve` running there" in caught.value.hint


def test_a_server_that_comes_later_is_waited_for(workload: Workload) -> None:
    port, found = free_port(), list[Backend]()
    opening = threading.Thread(target=lambda: found.append(remote(f"http://127.0.0.1:{port}", wait_s=PATIENCE_S)))
    opening.start()
    with serving(workload, port=port):
        opening.join(PATIENCE_S)
        assert found[0].load(stage(workload, "level"), "default")([SIGNAL]).shape == (2,)
        found[0].close()
    with pytest.raises(DeviceUnavailableError):
        remote(f"http://127.0.0.1:{port}", wait_s=0.01)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"", "hung up"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "does not speak the Open Inference Protocol v2"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "hung up"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n", "answered 500000000 bytes, 1048576 at most"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * ((1 << 20) + 9), "answered more than the 1048576 bytes"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x\r\nContent-Length: 0\r\n\r\n", r"answered 302 \(Found\)"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "answered 401"),
    ],
)
def test_what_is_no_answer_is_said(given: bytes, says: str) -> None:
    def answer(own: socket.socket) -> None:
        own.recv(1 << 16)
        own.sendall(given)

    with answering(answer) as url, pytest.raises((DeviceUnavailableError, KernelError), match=says):
        remote(url)


def test_damaged_answers_are_errors_in_words_or_right(workload: Workload) -> None:
    """Whatever a server says: metadata and outputs with some bytes that are others, or cut."""
    rng = random.Random(5)
    said = {
        b"GET /v2 ": b'{"name":"n","version":"1","extensions":["binary_tensor_data","leo_stages"]}',
        b"GET /v2/models/": b'{"name":"louder","inputs":[{"name":"input_0","datatype":"FP32","shape":[100]}]}',
    }
    message = answer_message("louder", "1", [Tensor("louder", SIGNAL)], [True], "")
    outputs = b"".join((message.json, *message.tensors))

    def damaged(whole: bytes) -> bytes:
        text = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            text[rng.randrange(rng.choice([120, len(text)]))] = rng.randrange(256)
        return bytes(text[: rng.choice([len(text), len(text), rng.randrange(len(text))])])

    def answer(own: socket.socket) -> None:
        request = own.recv(1 << 16)
        body = next((body for begin, body in said.items() if request.startswith(begin)), outputs)
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        head += f"Inference-Header-Content-Length: {len(message.json)}\r\n\r\n" if body is outputs else "\r\n"
        whole = head.encode() + body
        own.sendall(damaged(whole) if rng.random() < 0.5 else whole)

    louder, wrong, right = stage(workload, "louder"), 0, 0
    with answering(answer) as url:
        for _ in range(60):
            try:
                with closing(remote(url, timeout_s=1.0)) as backend:
                    output = backend.load(louder, "twice")([SIGNAL])
                    assert output.shape == (100,) and output.dtype == np.float32
                    right += 1
            except (KernelError, DeviceUnavailableError) as error:
                assert str(error).isprintable() and len(str(error)) < 1_000
                wrong += 1
    assert wrong > 12 and right > 4


@contextmanager
def running(run: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[int]]]:
    """A server that has `louder`, and does this where it is to be run; its URL, and an entry for each connection."""
    said = {
        b"GET /v2 ": b'{"name":"a\\u001b[2J","version":"1","extensions":["binary_tensor_data","leo_stages"]}',
        b"GET /v2/models/": b'{"name":"louder","inputs":[{"name":"input_0","datatype":"FP32","shape":[100]}]}',
    }
    connections: list[int] = []

    def answer(own: socket.socket) -> None:
        connections.append(1)
        while request := own.recv(1 << 16):
            body = next((body for begin, body in said.items() if request.startswith(begin)), None)
            if body is None:
                run(own)
            else:
                own.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with answering(answer) as url:
        yield url, connections


def test_an_answer_that_comes_byte_by_byte_takes_no_longer(workload: Workload) -> None:
    sent: list[int] = []
    ended = threading.Event()

    def run(own: socket.socket) -> None:
        with suppress(OSError):
            while len(sent) < 10_000 and not ended.wait(0.005):
                own.sendall(b"H")
                sent.append(1)

    with running(run) as (url, _), closing(remote(url, timeout_s=0.1)) as backend:
        kernel = backend.load(stage(workload, "louder"), "twice")
        with pytest.raises(DeviceUnavailableError, match="was silent for too long"):
            kernel([SIGNAL])
        ended.set()
        assert 0 < len(sent) < 1_000


@pytest.mark.parametrize(
    ("head", "request_id", "says"),
    [
        (b"", "other-1", "it is the answer to 'other-1', not to '[0-9a-f]+-[01]'"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "", "answered 103 before the answer"),
    ],
)
def test_an_answer_to_something_else_is_none(workload: Workload, head: bytes, request_id: str, says: str) -> None:
    message = answer_message("louder", "1", [Tensor("louder", SIGNAL)], [False], request_id)
    whole = head + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % message.size + message.json
    with running(lambda own: own.sendall(whole)) as (url, connections), closing(remote(url)) as backend:
        kernel = backend.load(stage(workload, "louder"), "twice")
        for _ in range(2):
            with pytest.raises(KernelError, match=says):
                kernel([SIGNAL])
        assert len(connections) == 2, "what comes by the first may be of other requests, too"


def test_outputs_go_by_their_names_where_these_are_the_same(workload: Workload, served: Serving) -> None:
    several = replace(stage(workload, "louder"), several=(Output("a", (1,)), Output("b", (1,))))
    one, two = np.ones(1, np.float32), np.full(1, 2, np.float32)
    with closing(remote(served.url)) as backend:
        own = backend._backend  # type: ignore[attr-defined]  # behind the guard
        for names, first in (("ab", 1), ("ba", 2), ("xy", 1), ("aa", 1)):
            value = own.value(several, [Tensor(names[0], one), Tensor(names[1], two)])
            assert (value["a"].item(), value["b"].item()) == (first, 3 - first)


def test_a_request_that_was_not_sent_as_a_whole_is_the_last_of_its_connection() -> None:
    ended = threading.Event()
    connections: list[int] = []

    def answer(own: socket.socket) -> None:
        connections.append(1)
        own.recv(1_000)
        own.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        ended.wait(PATIENCE_S)

    with answering(answer) as url:
        place = place_of(RemoteOptions(url=url, timeout_s=0.1), "cloud")
        with closing(Pool(place)) as pool:
            assert pool.ask("POST", "/", (bytes(20_000_000),), once=True).status == 413
            assert not pool._idle, "to the server what comes next by it would be the rest of the body"
            ended.set()
            assert pool.ask("GET", "/").status == 413
    assert len(connections) == 2


def page(status: int) -> Callable[[socket.socket], None]:
    """What a proxy, or a network that asks for a login, answers to whatever it is asked."""
    body = b"<html>Bad Gateway</html>"

    def answer(own: socket.socket) -> None:
        while own.recv(1 << 16):
            own.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

    return answer


@pytest.mark.parametrize("status", [200, 302, 502, 503, 504, 511, 522])
def test_what_another_answers_is_no_answer_of_the_server(workload: Workload, status: int) -> None:
    says = rf"what answered {status} \(<html>Bad Gateway</html>\) for http://\S+ does not speak the Open Inference"
    with answering(page(status)) as url, pytest.raises(DeviceUnavailableError, match=says):
        remote(url)
    body = b"<html>Bad Gateway</html>"
    whole = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
    with running(lambda own: own.sendall(whole)) as (url, _), closing(remote(url)) as backend:
        kernel = backend.load(stage(workload, "louder"), "twice")
        with pytest.raises(DeviceUnavailableError, match="stage `louder` failed: " + says):
            kernel([SIGNAL])


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503, 504])
def test_what_the_server_itself_refuses_is_no_loss_of_it(workload: Workload, status: int) -> None:
    body = b'{"error": "no"}' if status in (503, 504) else b"Internal Server Error"
    whole = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
    with running(lambda own: own.sendall(whole)) as (url, _), closing(remote(url)) as backend:
        kernel = backend.load(stage(workload, "louder"), "twice")
        with pytest.raises(KernelError, match=f"answered {status}"):
            kernel([SIGNAL])


def test_a_server_behind_a_proxy_that_comes_later_is_waited_for() -> None:
    asked: list[int] = []

    def answer(own: socket.socket) -> None:
        while own.recv(1 << 16):
            asked.append(1)
            status, body = (502, b"<html></html>") if len(asked) < 3 else (200, b'{"name":"n","version":"1"}')
            own.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

    with answering(answer) as url, closing(remote(url, wait_s=PATIENCE_S)) as backend:
        assert backend.driver == "n 1"  # type: ignore[attr-defined]  # one that names its driver


def test_an_address_that_is_silent_keeps_no_other_one_waiting(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a name has an address of IPv6 that leads nowhere."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, socket.socket() as filler:
        filler.connect(silent.getsockname())
        refusing = ("127.0.0.1", free_port())
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
            for address in (silent.getsockname(), refusing, served.address, silent.getsockname())
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(found))
        monkeypatch.setattr("leo_backends.remote.pool.NEXT_ADDRESS_S", 0.01)
        options = RemoteOptions(url="http://cloud.example:80", connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S / 3)
        with closing(Pool(place_of(options, "cloud"))) as pool:
            assert pool.ask("GET", "/v2").status == 200
        found[2:3] = []
        impatient = Pool(replace(place_of(options, "cloud"), connect_timeout_s=0.05))
        with closing(impatient), pytest.raises(DeviceUnavailableError, match="was silent for too long"):
            impatient.ask("GET", "/v2")
        found[:] = found[1:2]
        other = Pool(place_of(options, "cloud"))
        with closing(other), pytest.raises(DeviceUnavailableError, match="Connection refused"):
            other.ask("GET", "/v2")


def test_a_lookup_that_hangs_is_waited_for_no_longer_than_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, asked = threading.Event(), list[str]()

    def hang(host: str, *_: object, flags: int = 0, **__: object) -> list[object]:
        if flags:
            raise socket.gaierror
        asked.append(host)
        ended.wait(PATIENCE_S)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    place = place_of(RemoteOptions(url="http://cloud.example", timeout_s=PATIENCE_S, connect_timeout_s=0.01), "cloud")
    with closing(Pool(place)) as pool:
        for _ in range(3):
            with pytest.raises(DeviceUnavailableError, match="was silent for too long"):
                pool.ask("GET", "/")
        assert len(asked) == 1, "what is under way already is waited for"
        ended.set()
        until(lambda: pool._lookup._under_way is not None and pool._lookup._under_way.done())
        pool._place = replace(place, connect_timeout_s=PATIENCE_S)
        with pytest.raises(DeviceUnavailableError, match="Temporary failure in name resolution"):
            pool.ask("GET", "/")
        assert len(asked) == 2, "what failed is asked anew"
        ended.clear()
        call, errors = Call(), list[LeoError]()

        def ask() -> None:
            try:
                pool.ask("GET", "/", call=call)
            except LeoError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: call._hang_up is not None)
        call.give_up()
        thread.join(PATIENCE_S)
        assert "was given up" in str(errors[0]) and isinstance(errors[0], KernelError)
        ended.set()


@pytest.mark.parametrize("url", ["http://[fe80::1%25eth0]:80", "http://[fe80::1%eth0]:80"])
def test_behind_which_interface_a_server_is_is_not_told_to_it(url: str) -> None:
    place = place_of(RemoteOptions(url=url), "cloud")
    assert (place.host, place.name) == ("fe80::1%eth0", "fe80::1")
    with closing(Pool(place)) as pool:
        assert b"\r\nHost: [fe80::1]:80\r\n" in pool._head("GET", "/", {}, (), 1)


def test_a_connection_that_was_idle_for_long_or_is_anothers_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(lambda _: None) as (url, connections):
        now = [0]
        place = place_of(RemoteOptions(url=url), "cloud")
        with closing(Pool(place, since_boot_us=lambda: now[0])) as pool:
            for now_us, opened in ((0, 1), (60_000_000, 1), (120_000_000, 1), (180_000_001, 2), (180_000_002, 2)):
                now[0] = now_us
                assert pool.ask("GET", "/v2 ").status == 200
                assert len(connections) == opened
            monkeypatch.setattr("os.getpid", lambda: -1)
            for _ in range(2):
                assert pool.ask("GET", "/v2 ").status == 200
                assert len(connections) == 3, "the parent goes on by the one of before"


def test_a_token_that_is_renewed_is_read_again(workload: Workload, tmp_path: Path) -> None:
    token, asked_for = tmp_path / "token", ["b" * 40]
    with serving(workload, token=lambda: asked_for[0]) as one:
        token.write_text("b" * 40)
        with closing(remote(one.url, token_file=str(token))) as backend:
            kernel = backend.load(stage(workload, "louder"), "twice")
            asked_for[0] = "c" * 40
            with pytest.raises(KernelError, match="answered 401"):
                kernel([SIGNAL])
            token.write_text("")
            with pytest.raises(KernelError, match="answered 401"):
                kernel([SIGNAL])
            token.write_text("c" * 40)
            assert np.array_equal(kernel([SIGNAL]), SIGNAL * 2)
            before = one.refused()["token"]
            assert np.array_equal(kernel([SIGNAL]), SIGNAL * 2)
            assert one.refused()["token"] == before == 3


@pytest.mark.parametrize(
    ("datatype", "shape"), [("FP16", [-1, 100]), ("FP64", [100]), ("FP32", [-1]), ("INT8", [100]), ("BF16", [100])]
)
def test_a_model_gets_floats_of_the_type_that_it_takes(workload: Workload, datatype: str, shape: list[int]) -> None:
    asked: list[bytes] = []
    model = {"name": "louder", "inputs": [{"name": "x", "datatype": datatype, "shape": shape}]}
    message = answer_message("louder", "1", [Tensor("louder", SIGNAL)], [False], "")

    def answer(own: socket.socket) -> None:
        while request := own.recv(1 << 16):
            asked.append(request)
            said = {b"GET /v2 ": b'{"extensions":["binary_tensor_data"]}', b"GET /v2/": json.dumps(model).encode()}
            body = next((body for begin, body in said.items() if request.startswith(begin)), message.json)
            own.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with answering(answer) as url, closing(remote(url)) as backend:
        if datatype in ("INT8", "BF16"):
            with pytest.raises(KernelError, match=rf"numbers of float32, which takes {datatype}") as caught:
                backend.load(stage(workload, "louder"), "twice")
            assert "models" in caught.value.hint
            return
        kernel = backend.load(stage(workload, "louder"), "twice")
        kernel([SIGNAL])
        sent = SIGNAL.astype({"FP16": "<f2", "FP64": "<f8", "FP32": "<f4"}[datatype])
        assert f'"datatype":"{datatype}"'.encode() in asked[-1] and asked[-1].endswith(sent.tobytes())


def test_what_keeps_a_connection_from_coming_about_is_said() -> None:
    place = place_of(RemoteOptions(url="https://cloud.example"), "cloud")
    expired = ssl.SSLCertVerificationError(1, "no")
    expired.verify_code, expired.verify_message = 10, "certificate has expired"
    told = unavailable(place, expired)
    assert "does not hold now (certificate has expired)" in str(told) and "clock" in told.hint
    told = unavailable(place, OSError(errno.EMFILE, "Too many open files"))
    assert "can be opened (Too many open files)" in str(told) and "ulimit" in told.hint


def test_what_a_server_calls_itself_is_shown_without_what_a_terminal_obeys() -> None:
    with running(lambda _: None) as (url, _), closing(remote(url)) as backend:
        assert backend.driver == "a\\x1b[2J 1"  # type: ignore[attr-defined]  # one that names its driver


def test_a_server_that_is_silent_is_unavailable() -> None:
    ended = threading.Event()

    with answering(lambda _: ended.wait(PATIENCE_S) and None) as url:
        with pytest.raises(DeviceUnavailableError, match="was silent for too long"):
            remote(url, timeout_s=0.05)
        ended.set()


def test_who_takes_no_more_until_the_time_is_over_is_not_listened_to_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for what has been said already."""
    times, heard_until_us = iter((0,)), []

    class Ended(WallClock):
        def now_us(self) -> int:
            return next(times, 50_000)

    class Heard(Incoming):
        def __init__(self, connection: socket.socket, clock: WallClock, until_us: int) -> None:
            super().__init__(connection, clock, until_us)
            heard_until_us.append(until_us)

    monkeypatch.setattr("leo_backends.remote.pool.Incoming", Heard)
    here, there = socket.socketpair()
    with here, there, closing(Pool(place_of(RemoteOptions(url="http://there"), "cloud"), Ended())) as pool:

        def exchange() -> Answer:
            return pool._exchange(here, "POST", "/", (bytes(8 << 20),), {}, 1_000, 50_000)

        with pytest.raises(_FailedError) as failed:
            exchange()
        assert isinstance(failed.value.cause, TimeoutError) and not failed.value.was_sent
        assert heard_until_us == [50_000 + HERE_US]
        there.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        times = iter((0,))
        answer = exchange()
        assert answer.status == 413 and answer.closes


def test_a_connection_that_does_not_come_about_is_given_up() -> None:
    """As over a link that is silent: whoever waits for it is let go at once."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, socket.socket() as filler:
        filler.connect(listening.getsockname())  # With a queue that is full the system answers nobody.
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        place = place_of(RemoteOptions(url=url, connect_timeout_s=2 * PATIENCE_S, timeout_s=2 * PATIENCE_S), "cloud")
        call, errors = Call(), list[LeoError]()

        def ask() -> None:
            try:
                pool.ask("GET", "/", call=call)
            except LeoError as error:
                errors.append(error)

        with closing(Pool(place)) as pool:
            thread = threading.Thread(target=ask)
            thread.start()
            until(lambda: call._hang_up is not None)
            call.give_up()
            thread.join(PATIENCE_S)
            assert "was given up" in str(errors[0]) and isinstance(errors[0], KernelError)
        impatient = Pool(replace(place, connect_timeout_s=0.05))
        with closing(impatient), pytest.raises(DeviceUnavailableError, match="was silent for too long"):
            impatient.ask("GET", "/")


def test_a_run_that_is_given_up_ends(workload: Workload, served: Serving) -> None:
    with closing(remote(served.url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        module = module_of(workload)
        module.waits.clear()
        errors: list[LeoError] = []

        def run() -> None:
            try:
                kernel([SIGNAL])
            except LeoError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        before = len(module.runs)
        thread.start()
        until(lambda: len(module.runs) > before)
        kernel.abandon()  # type: ignore[attr-defined]  # it can be
        thread.join(PATIENCE_S)
        module.waits.set()
        assert "was given up" in str(errors[0]) and isinstance(errors[0], KernelError)
        assert kernel([SIGNAL]).shape == (2,)


def test_closing_ends_what_runs(workload: Workload, served: Serving) -> None:
    backend = remote(served.url)
    kernel = backend.load(stage(workload, "level"), "default")
    module = module_of(workload)
    module.waits.clear()
    errors: list[LeoError] = []

    def run() -> None:
        try:
            kernel([SIGNAL])
        except LeoError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    before = len(module.runs)
    thread.start()
    until(lambda: len(module.runs) > before)
    backend.close()
    thread.join(PATIENCE_S)
    module.waits.set()
    assert len(errors) == 1
    with pytest.raises(KernelError, match="are closed"):
        kernel([SIGNAL])


def test_a_server_that_takes_less_says_so(workload: Workload) -> None:
    big = replace(stage(workload, "louder"), input_shapes=((1_000_000,),), output_shape=(1_000_000,))
    with serving(workload, max_bytes=10_000) as one, closing(remote(one.url, models={"louder": "louder"})) as backend:
        path = backend.load(stage(workload, "louder"), "twice")._path  # type: ignore[attr-defined]  # of its own
        kernel = RemoteKernel(backend._backend, big, path, [_Input("input_0", (1_000_000,))])  # type: ignore[attr-defined]  # behind the guard
        for _ in range(3):
            with pytest.raises(KernelError, match=r"answered 413 .*4000\d+ bytes is more than 10000") as caught:
                kernel([np.full(1_000_000, 0.1, np.float32)])
            assert "--max-bytes" in caught.value.hint


# A server that went and came back, and requests that are sent again.


def test_a_connection_that_the_server_closed_is_made_anew(workload: Workload) -> None:
    with serving(workload, idle_s=0.01, look_s=0.01) as one, closing(remote(one.url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        for _ in range(3):
            assert kernel([SIGNAL]).shape == (2,)
            until(lambda: one.service.counts.now().connections == 0)


def test_a_server_that_ends_is_unavailable_and_found_again(workload: Workload) -> None:
    with serving(workload) as one:
        address = one.address
        backend = remote(one.url)
        kernel = backend.load(stage(workload, "level"), "default")
        kernel([SIGNAL])
    with pytest.raises(DeviceUnavailableError):
        kernel([SIGNAL])
    with serving(workload, port=address[1]):
        assert kernel([SIGNAL]).shape == (2,)
    backend.close()


class Cutting:
    """A way to a server that cuts connections behind the request, or before its end, as often as it is told to."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.cuts_answers = 0
        self.cuts_requests = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                own, _ = self.listening.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._pass, args=(own,)))
            self.threads[-1].start()

    def _pass(self, own: socket.socket) -> None:
        with own, socket.create_connection(self.target) as other:
            while request := own.recv(1 << 20):
                while b"\r\n\r\n" in request and len(request.partition(b"\r\n\r\n")[2]) < _length(request):
                    request += own.recv(1 << 20)
                is_run = request.startswith(b"POST")
                if is_run and self.cuts_requests:
                    self.cuts_requests -= 1
                    return
                other.sendall(request)
                answer = other.recv(1 << 20)
                if is_run and self.cuts_answers:
                    self.cuts_answers -= 1
                    return
                own.sendall(answer)

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in self.threads:
            thread.join(PATIENCE_S)


def _length(request: bytes) -> int:
    found = [line for line in request.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return int(found[0].split(b":")[1]) if found else 0


def test_an_answer_that_is_lost_is_asked_for_again_and_the_stage_runs_once(workload: Workload, served: Serving) -> None:
    module = module_of(workload)
    with closing(Cutting(served.address)) as way, closing(remote(way.url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        module.runs.clear()
        for cuts in ("cuts_answers", "cuts_requests"):
            setattr(way, cuts, 1)
            assert kernel([SIGNAL]).tolist() == [pytest.approx(1 - LOUD), pytest.approx(LOUD)]
        assert len(module.runs) == 2
        way.cuts_answers = 2
        with pytest.raises(DeviceUnavailableError, match="hung up"):
            kernel([SIGNAL])
        assert len(module.runs) == 3
        backend.close()


def test_a_server_that_does_not_remember_is_asked_once(workload: Workload, served: Serving) -> None:
    module = module_of(workload)
    with closing(Cutting(served.address)) as way, closing(remote(way.url)) as backend:
        kernel = backend.load(stage(workload, "level"), "default")
        backend._backend._pool.remembers = False  # type: ignore[attr-defined]  # as of a server of another make
        module.runs.clear()
        way.cuts_answers = 1
        with pytest.raises(DeviceUnavailableError, match="hung up"):
            kernel([SIGNAL])
        assert len(module.runs) == 1
        backend.close()


# Who is who.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    files = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(folder / "key.pem"),
        "-out",
        str(folder / "c.pem"),
    ]
    try:
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder / "c.pem", folder / "key.pem"


def test_with_tls_and_a_token(workload: Workload, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("b" * 40 + "\n")
    with serving(workload, token="b" * 40, tls=certificate) as one:
        assert one.url.startswith("https://")
        given = {"ca_file": str(certificate[0]), "token_file": str(token)}
        with closing(remote(one.url, **given)) as backend:
            kernel = backend.load(stage(workload, "level"), "default")
            for _ in range(3):
                assert kernel([SIGNAL]).shape == (2,)
            assert one.service.counts.now().connections == 1
        with pytest.raises(KernelError, match="answered 401") as caught:
            remote(one.url, ca_file=str(certificate[0]))
        assert "token_file" in caught.value.hint
        with pytest.raises(DeviceUnavailableError, match="certificate that is not trusted") as untrusted:
            remote(one.url, token_file=str(token))
        assert "ca_file" in untrusted.value.hint
        with pytest.raises(DeviceUnavailableError, match=r"not trusted.*mismatch"):
            remote(one.url.replace("127.0.0.1", "localhost"), **given)
        with pytest.raises(DeviceUnavailableError):
            remote(one.url.replace("https", "http"), timeout_s=5.0)
    with serving(workload) as plain, pytest.raises(DeviceUnavailableError, match="no TLS with the server"):
        remote(plain.url.replace("http", "https"), **given)


def test_who_is_silent_in_the_handshake_is_hung_up_on(workload: Workload, certificate: tuple[Path, Path]) -> None:
    with serving(workload, tls=certificate, patience_s=0.05, look_s=0.01) as one:
        with socket.create_connection(one.address, PATIENCE_S) as silent:
            assert silent.recv(1) == b""
        until(lambda: one.service.counts.now().connections == 0)
    with serving(workload, tls=certificate) as one, socket.create_connection(one.address, PATIENCE_S) as silent:
        until(lambda: one.service.counts.now().connections == 1)
        assert one.server.stop(PATIENCE_S / 2), "there is no request that it would wait for"
        assert silent.recv(1) == b""


def test_lanes_do_not_wait_for_each_other(workload: Workload, served: Serving) -> None:
    module = module_of(workload)
    with closing(remote(served.url)) as backend:
        kernels = [backend.load(stage(workload, "level"), "default") for _ in range(2)]
        module.waits.clear()
        before = len(module.runs)
        threads = [threading.Thread(target=kernel, args=([SIGNAL],)) for kernel in kernels]
        for thread in threads:
            thread.start()
        until(lambda: len(module.runs) == before + 2)
        module.waits.set()
        for thread in threads:
            thread.join(PATIENCE_S)
