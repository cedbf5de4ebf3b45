"""The server of stages: what it answers, whom it refuses, and that nothing a client sends ends or fills it."""

import gc
import json
import os
import random
import resource
import socket
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from leo_runtime.backend.open_inference import JSON_LENGTH, Asked, Tensor, read_answer, request_message
from leo_runtime.clock import VirtualClock
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.serving.http_head import read_head
from leo_runtime.serving.remembered import MOST_IDS, Remembered
from leo_runtime.serving.token_file import TokenFile
from servers import PATIENCE_S, Serving, module_of, serving, talk, until, write_workload

SIGNAL = np.linspace(-1, 1, 100, dtype=np.float32)


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return Workload.from_file(write_workload(tmp_path_factory.mktemp("served")))


@pytest.fixture(scope="module")
def served(workload: Workload) -> Iterator[Serving]:
    """For tests that count nothing."""
    with serving(workload) as one:
        yield one


@pytest.fixture
def steps(workload: Workload) -> Iterator[ModuleType]:
    """The module of the workload's operators, which can be told to wait."""
    module = module_of(workload)
    module.waits.set()
    module.runs.clear()
    yield module
    module.waits.set()


def ask(
    one: Serving, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(*one.address, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def tensors_of(answer: bytes, headers: dict[str, str]) -> list[Tensor]:
    found = read_answer(answer, int(headers[JSON_LENGTH]))
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def infer(one: Serving, model: str, *arrays: np.ndarray, **headers: str) -> tuple[int, Any]:
    """The status, and the outputs or what is said."""
    message = request_message([Tensor(f"input_{number}", array) for number, array in enumerate(arrays)])
    body = b"".join((message.json, *message.tensors))
    more = {name.replace("_", "-"): text for name, text in headers.items()}
    status, got, answer = ask(
        one, "POST", f"/v2/models/{model}/infer", body, {JSON_LENGTH: str(len(message.json)), **more}
    )
    if status != 200:
        return status, json.loads(answer)["error"]
    return status, {tensor.name: tensor.array for tensor in tensors_of(answer, got)}


def test_it_says_what_it_is_and_what_it_has(served: Serving) -> None:
    said = json.loads(ask(served, "GET", "/v2")[2])
    assert said["name"] == "levels" and "binary_tensor_data" in said["extensions"]
    assert ask(served, "GET", "/v2/health/live")[0] == ask(served, "GET", "/v2/health/ready")[0] == 200
    listed = json.loads(ask(served, "POST", "/v2/repository/index")[2])
    assert [(one["name"], one["version"]) for one in listed] == [
        ("signal", "default"),
        ("louder", "twice"),
        ("louder", "thrice"),
        ("level", "default"),
        ("graph:loud", "1"),
    ]
    said = json.loads(ask(served, "GET", "/v2/models/louder/versions/thrice")[2])
    assert said["inputs"] == [{"name": "input_0", "datatype": "FP32", "shape": [100]}]
    assert said["outputs"] == [{"name": "louder", "datatype": "FP32", "shape": [100]}]
    assert said["versions"] == ["twice", "thrice"] and said["parameters"]["operator"] == "steps:times"
    assert ask(served, "GET", "/v2/models/louder/ready")[0] == 200


def test_each_variant_is_a_version(served: Serving) -> None:
    assert np.array_equal(infer(served, "louder", SIGNAL)[1]["louder"], SIGNAL * 2)
    assert np.array_equal(infer(served, "louder/versions/twice", SIGNAL)[1]["louder"], SIGNAL * 2)
    assert np.array_equal(infer(served, "louder/versions/thrice", SIGNAL)[1]["louder"], SIGNAL * 3)


def test_numbers_may_come_and_go_as_json(served: Serving) -> None:
    said = {"id": "7", "inputs": [{"name": "input_0", "datatype": "FP32", "shape": [100], "data": SIGNAL.tolist()}]}
    status, _, body = ask(served, "POST", "/v2/models/level/infer", json.dumps(said).encode())
    answer = json.loads(body)
    assert status == 200 and answer["id"] == "7" and answer["model_name"] == "level"
    (output,) = answer["outputs"]
    assert output["datatype"] == "FP32" and output["shape"] == [2]
    assert output["data"][1] == pytest.approx(np.abs(SIGNAL).mean())


def test_other_types_are_taken_where_they_fit(served: Serving) -> None:
    assert np.array_equal(infer(served, "louder", np.ones(100, np.int8))[1]["louder"], np.full(100, 2))
    assert infer(served, "louder", np.ones(100, np.float16))[0] == 200
    assert infer(served, "louder", np.ones(100, np.float64)) == (400, "input_0 of stage `louder` is FP32, got FP64")
    assert infer(served, "signal", np.ones(100, np.int16))[0] == 200, "raw samples are of any type"


def test_a_cut_is_computed_in_one_request(served: Serving) -> None:
    def cut(inputs: dict[str, np.ndarray], *outputs: str) -> tuple[int, Any]:
        message = request_message(
            [Tensor(name, array) for name, array in inputs.items()], [Asked(name) for name in outputs]
        )
        body = b"".join((message.json, *message.tensors))
        status, got, answer = ask(
            served, "POST", "/v2/models/graph:loud/infer", body, {JSON_LENGTH: str(len(message.json))}
        )
        if status != 200:
            return status, json.loads(answer)["error"]
        return status, [tensor.array.tolist() for tensor in tensors_of(answer, got)]

    loud = float(np.abs(SIGNAL * 2).mean())
    whole = cut({"signal.samples": SIGNAL})
    assert whole == (200, [pytest.approx([1 - loud, loud])])
    assert cut({"signal": SIGNAL}) == whole, "from what a stage gave elsewhere"
    assert cut({"louder": SIGNAL * 2}, "level") == whole
    assert cut({"signal": SIGNAL}, "louder", "level")[1][0] == (SIGNAL * 2).tolist()
    assert cut({"level": np.array([1, 2], np.float32)}, "level") == (200, [[1, 2]])
    assert cut({"louder": SIGNAL}, "signal")[0] == 400
    assert "needs `signal` or `signal.samples`" in cut({}, "level")[1]
    assert "has no input 'other'" in cut({"other": SIGNAL})[1]
    assert "has no output 'other'" in cut({"signal": SIGNAL}, "other")[1]
    assert "`louder` is float32 of shape (100,), got float32 of (2,)" in cut({"louder": SIGNAL[:2]})[1]
    assert json.loads(ask(served, "GET", "/v2/models/graph:loud")[2])["inputs"][0]["name"] == "signal.samples"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "says"),
    [
        ("GET", "/v2/models/other", b"", {}, 404, "no model is called 'other' here"),
        ("POST", "/v2/models/level/versions/2/infer", b"{}", {}, 404, "of version '2'"),
        ("GET", "/elsewhere", b"", {}, 404, "there is nothing at /elsewhere"),
        ("GET", "/v2/models/level/infer", b"", {}, 404, "there is nothing"),
        ("PUT", "/v2/models/level", b"", {}, 405, "asked by PUT"),
        ("GET", "/v2/models/%ff", b"", {}, 400, "no text in UTF-8"),
        ("POST", "/v2/models/level/infer", b"{}", {}, 400, "`inputs` is no list"),
        ("POST", "/v2/models/level/infer", b"", {}, 400, "no JSON"),
        ("POST", "/v2/models/level/infer", b"{}", {JSON_LENGTH: "x"}, 400, "is no number of bytes"),
        ("POST", "/v2/models/level/infer", b"{}", {"Content-Encoding": "gzip"}, 415, "without Content-Encoding"),
        ("POST", "/v2/models/level/infer", b"{}", {"Leo-Timeout-Us": "0"}, 504, "has passed already"),
        ("POST", "/v2/models/level/infer", b"{}", {"Leo-Timeout-Us": "-5"}, 504, "has passed already"),
        ("POST", "/v2/models/level/infer", b"{}", {"Leo-Timeout-Us": "soon"}, 400, "no number of microseconds"),
        ("POST", "/v2/models/level/infer", b"{}", {"Leo-Request-Id": "x" * 101}, 400, "longer than 100"),
        ("POST", "/v2/models/level/infer", b"{}", {"Origin": "http://a"}, 403, "pages in a browser"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(
    served: Serving, method: str, path: str, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    got, _, answer = ask(served, method, path, body, headers)
    assert got == status
    assert says in json.loads(answer)["error"]


def test_inputs_that_are_not_the_stages_are_refused(served: Serving) -> None:
    assert infer(served, "level", SIGNAL, SIGNAL) == (
        400,
        "stage `level` has the inputs input_0, got 'input_0', 'input_1'",
    )
    assert infer(served, "level", SIGNAL[:3]) == (400, "input_0 of stage `level` is (100,), got (3,)")
    message = request_message([Tensor("input_0", SIGNAL)], [Asked("other")])
    body = b"".join((message.json, *message.tensors))
    status, _, answer = ask(served, "POST", "/v2/models/level/infer", body, {JSON_LENGTH: str(len(message.json))})
    assert (status, json.loads(answer)["error"]) == (400, "stage `level` has the outputs level, not 'other'")


def test_a_stage_that_fails_is_told_in_words(served: Serving) -> None:
    status, said = infer(served, "level", SIGNAL * 1_000)
    assert status == 500 and "much too loud" in said and "Traceback" not in said and "\n" not in said
    assert infer(served, "level", SIGNAL)[0] == 200


# Who may ask, how much, and how long.


def test_who_has_no_token_learns_only_that_it_runs(workload: Workload) -> None:
    with serving(workload, token="a" * 32) as one:
        assert ask(one, "GET", "/v2/health/live")[0] == 200
        for headers in (
            {},
            {"Authorization": "Bearer " + "a" * 31},
            {"Authorization": "a" * 32},
            {"Authorization": "é"},
        ):
            status, got, _ = ask(one, "GET", "/v2", headers=headers)
            assert status == 401 and got["WWW-Authenticate"] == "Bearer"
        assert infer(one, "level", SIGNAL)[0] == 401
        assert infer(one, "level", SIGNAL, Authorization="Bearer " + "a" * 32)[0] == 200
        assert one.refused() == {"token": 5}


def test_a_token_file_that_is_written_anew_is_asked_for_at_once(workload: Workload, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a" * 32)

    def answers_to(token: str) -> bool:
        return ask(one, "GET", "/v2", headers={"Authorization": f"Bearer {token}"})[0] == 200

    with serving(workload, token=TokenFile(path)) as one:
        assert answers_to("a" * 32)
        path.write_text("b" * 32)
        assert answers_to("b" * 32) and not answers_to("a" * 32)
        for no_token in ("", "too short", "with space" * 4, "é" * 32):  # As it is while somebody writes it.
            path.write_text(no_token)
            assert answers_to("b" * 32) and not answers_to(no_token.strip() or "none")
        path.unlink()
        assert answers_to("b" * 32)
        path.write_text("c" * 32)
        assert answers_to("c" * 32) and not answers_to("b" * 32)


def test_no_change_of_a_token_file_is_missed(tmp_path: Path) -> None:
    path, other = tmp_path / "token", tmp_path / "other"
    path.write_text("a" * 32)
    asked_for, was = TokenFile(path), path.stat()
    path.write_text("b" * 32)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))  # As within one tick of the file system's clock.
    assert asked_for() == "b" * 32
    path.write_text("c" * 32)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert asked_for() == "b" * 32
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert asked_for() == "c" * 32, "it is read where it was not before, though it is the same file"
    other.mkdir()
    (other / "token").write_text("d" * 32)
    path.unlink()
    path.symlink_to(other / "token")
    assert asked_for() == "d" * 32
    other.rename(tmp_path / "before")
    other.mkdir()
    (other / "token").write_text("e" * 32)
    assert asked_for() == "e" * 32


def test_no_token_is_asked_for_that_was_replaced_before(tmp_path: Path) -> None:
    """Whoever else reads the new one meanwhile."""
    path, new = tmp_path / "token", tmp_path / "new"
    path.write_text(f"{0:032}")
    asked_for, written, older = TokenFile(path), [0], list[tuple[int, int]]()

    def ask_on() -> None:
        while written[-1] < 60:
            least = written[-1]
            found = int(asked_for())
            if found < least:
                older.append((found, least))

    readers = [threading.Thread(target=ask_on) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 61):
        new.write_text(f"{number:032}")
        new.replace(path)
        written.append(number)
    for reader in readers:
        reader.join()
    assert not older and int(asked_for()) == 60


def test_a_token_that_comes_by_a_pipe_is_read_once(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.write(writes, b"a" * 32 + b"\n")
    os.close(writes)
    try:
        asked_for = TokenFile(Path(f"/dev/fd/{reads}"))
    finally:
        os.close(reads)
    assert asked_for() == "a" * 32
    path = tmp_path / "token"
    path.write_text("b" * 32)
    asked_for = TokenFile(path)
    path.unlink()
    os.mkfifo(path)
    assert asked_for() == "b" * 32, "nobody waits for who may write to it"


def test_a_file_without_an_end_holds_no_token() -> None:
    with pytest.raises(InputError, match="4097 characters"):
        TokenFile(Path("/dev/zero"))


def test_numbers_that_are_larger_than_what_they_come_as_are_refused(workload: Workload) -> None:
    """Else those that wait would hold many times as much as is taken."""

    def asked(datatype: str, shape: int, more: dict[str, Any]) -> bytes:
        said = {"name": "input_0", "datatype": datatype, "shape": [shape], **more}
        return json.dumps({"inputs": [said]}).encode()

    with serving(workload, max_bytes=4_000) as one:
        for shape, is_taken in ((1_000, True), (1_001, False)):
            text = asked("UINT8", shape, {"parameters": {"binary_data_size": shape, "leo_samples": True}})
            headers = {JSON_LENGTH: str(len(text))}
            for path, status in (("/v2/models/level/infer", 400), ("/v2/kept", 200)):  # No stage takes so many.
                assert ask(one, "POST", path, text + bytes(shape), headers)[0] == (status if is_taken else 413)
        text = asked("FP64", 501, {"data": [0] * 501})
        assert ask(one, "POST", "/v2/models/level/infer", text)[0] == 413


def test_what_is_larger_than_said_is_refused_before_it_is_read(workload: Workload) -> None:
    with serving(workload, max_bytes=1_000) as one:
        head = b"POST /v2/models/level/infer HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n"
        answer = talk(one.address, head, half_close=False)
        assert answer.startswith(b"HTTP/1.1 413 ") and b"Connection: close" in answer
        assert b"a body of 1000000000000 bytes is more than 1000" in answer
        assert infer(one, "level", SIGNAL)[0] == 200
        assert ask(one, "POST", "/v2/repository/index", b"{}")[0] == 200
        status, _, answer = ask(one, "POST", "/v2/repository/index", b" " * 5_000)
        assert status == 413 and b"5000 bytes is more than 4096" in answer, "of which none is held"
        assert one.refused() == {"size": 2}


def test_what_would_come_too_late_is_not_run(workload: Workload, steps: ModuleType) -> None:
    with serving(workload, workers=1) as one:
        steps.waits.clear()
        first: list[Any] = []
        thread = threading.Thread(target=lambda: first.append(infer(one, "level", SIGNAL)))
        thread.start()
        until(lambda: len(steps.runs) == 1)
        status, said = infer(one, "level", SIGNAL, Leo_Timeout_Us="20000")
        assert (status, said) == (504, "the deadline passed while the request waited for its turn")
        steps.waits.set()
        thread.join(PATIENCE_S)
        assert first[0][0] == 200 and len(steps.runs) == 1
        assert one.refused() == {"late": 1}


def test_who_hung_up_while_he_waited_is_not_run_for(workload: Workload, steps: ModuleType) -> None:
    with serving(workload, workers=1) as one:
        steps.waits.clear()
        thread = threading.Thread(target=infer, args=(one, "level", SIGNAL))
        thread.start()
        until(lambda: len(steps.runs) == 1)
        body = json.dumps(
            {"inputs": [{"name": "input_0", "datatype": "FP32", "shape": [100], "data": SIGNAL.tolist()}]}
        )
        with socket.create_connection(one.address, PATIENCE_S) as own:
            head = f"POST /v2/models/level/infer HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
            own.sendall((head + body).encode())
            until(lambda: one.service.counts.now().under_way == 2)
        steps.waits.set()
        thread.join(PATIENCE_S)
        until(lambda: one.refused() == {"gone": 1})
        assert len(steps.runs) == 1


def test_more_than_may_wait_are_refused(workload: Workload, steps: ModuleType) -> None:
    with serving(workload, workers=1, waiting=1) as one:
        steps.waits.clear()
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(infer(one, "level", SIGNAL)[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) == 2)
        steps.waits.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert sorted(answers) == [200, 200, 503, 503]
        assert one.refused() == {"full": 2}


def test_a_request_that_is_sent_again_is_run_once(workload: Workload, steps: ModuleType) -> None:
    with serving(workload) as one:
        first = infer(one, "level", SIGNAL, Leo_Request_Id="mine-1")[1]["level"]
        again = infer(one, "level", SIGNAL, Leo_Request_Id="mine-1")[1]["level"]
        assert np.array_equal(first, again) and len(steps.runs) == 1
        assert infer(one, "level", SIGNAL, Leo_Request_Id="mine-2")[0] == 200 and len(steps.runs) == 2
        assert infer(one, "level", SIGNAL * 1_000, Leo_Request_Id="mine-3")[0] == 500
        assert infer(one, "level", SIGNAL * 1_000, Leo_Request_Id="mine-3")[0] == 500
        assert len(steps.runs) == 3
        assert one.refused() == {"again": 2}


def test_who_has_the_same_id_by_chance_gets_his_own_answer(workload: Workload, steps: ModuleType) -> None:
    with serving(workload) as one:
        first = infer(one, "level", SIGNAL, Leo_Request_Id="1")[1]["level"]
        other = infer(one, "level", SIGNAL / 2, Leo_Request_Id="1")[1]["level"]
        assert first[1] == pytest.approx(2 * other[1])
        assert list(infer(one, "louder", SIGNAL, Leo_Request_Id="1")[1]) == ["louder"]
        assert np.array_equal(infer(one, "louder/versions/thrice", SIGNAL, Leo_Request_Id="1")[1]["louder"], SIGNAL * 3)
        assert one.refused() == {}


def test_a_request_that_is_sent_again_while_it_runs_waits_for_that(workload: Workload, steps: ModuleType) -> None:
    with serving(workload) as one:
        steps.waits.clear()
        answers: list[int] = []

        def send() -> None:
            answers.append(infer(one, "level", SIGNAL, Leo_Request_Id="mine")[0])

        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: one.refused() == {"again": 1})
        steps.waits.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert answers == [200, 200] and len(steps.runs) == 1


def test_a_request_that_was_given_up_before_its_turn_is_run_when_it_is_sent_again(
    workload: Workload, steps: ModuleType
) -> None:
    body = json.dumps({"inputs": [{"name": "input_0", "datatype": "FP32", "shape": [100], "data": SIGNAL.tolist()}]})
    with serving(workload, workers=1) as one:
        steps.waits.clear()
        first = threading.Thread(target=infer, args=(one, "level", SIGNAL))
        first.start()
        until(lambda: len(steps.runs) == 1)
        with socket.create_connection(one.address, PATIENCE_S) as own:
            head = "POST /v2/models/level/infer HTTP/1.1\r\nLeo-Request-Id: mine\r\n"
            own.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            until(lambda: one.service.counts.now().under_way == 2)
        answers: list[int] = []

        def send() -> None:
            answers.append(ask(one, "POST", "/v2/models/level/infer", body.encode(), {"Leo-Request-Id": "mine"})[0])

        again = threading.Thread(target=send)
        again.start()
        until(lambda: one.refused() == {"again": 1})
        steps.waits.set()
        for thread in (first, again):
            thread.join(PATIENCE_S)
        assert answers == [200] and len(steps.runs) == 2
        assert one.refused() == {"again": 1, "gone": 1}


def test_a_request_that_is_sent_again_waits_no_longer_than_it_says(workload: Workload, steps: ModuleType) -> None:
    with serving(workload) as one:
        steps.waits.clear()
        first = threading.Thread(target=infer, args=(one, "level", SIGNAL), kwargs={"Leo_Request_Id": "mine"})
        first.start()
        until(lambda: len(steps.runs) == 1)
        status, said = infer(one, "level", SIGNAL, Leo_Request_Id="mine", Leo_Timeout_Us="20000")
        assert (status, said) == (504, "the deadline passed while the request ran that was sent first")
        steps.waits.set()
        first.join(PATIENCE_S)


def test_what_is_remembered_of_a_view_is_not_all_of_it(workload: Workload) -> None:
    whole = np.zeros(1_000_000, np.uint8)

    class Views:
        name, version = "views", "1"

        def metadata(self) -> dict[str, Any]:
            return {}

        def infer(self, inputs: object, outputs: object) -> tuple[Tensor, ...]:
            return (Tensor("view", whole[:4]),)

    with serving(workload) as one:
        one.service.add(Views())
        before = sys.getrefcount(whole)
        body = b'{"inputs": [], "parameters": {"binary_data_output": true}}'
        assert ask(one, "POST", "/v2/models/views/infer", body, {"Leo-Request-Id": "1"})[0] == 200
        assert sys.getrefcount(whole) == before


def test_of_answers_the_newest_are_remembered() -> None:
    kept: Remembered[str] = Remembered(10)
    for name, size in (("a", 6), ("b", 6), ("c", 4), ("d", 99)):
        assert kept.begin(name)
        kept.end(name, name.upper(), size)
        assert not kept.begin(name)
        assert kept.again(name, 0) == (True, None if name == "d" else name.upper())
        if name == "b":
            assert kept.again("a", 0) == (True, None)
        if name == "c":
            assert kept.again("b", 0) == (True, "B")
    assert [kept.again(name, 0) for name in "abc"] == [(True, None)] * 3
    kept.begin("e")
    with pytest.raises(TimeoutError):
        kept.again("e", 0)
    kept.forget("e")
    assert kept.again("e", 0) == (False, None)
    assert kept.begin("e")


def test_what_still_runs_is_not_forgotten_however_many_come() -> None:
    kept: Remembered[str] = Remembered(10)
    assert kept.begin("slow")
    for number in range(MOST_IDS + 10):
        assert kept.begin(number)
        kept.end(number, "", 0)
    assert kept.again(0, 0) == (False, None) and kept.again(10, 0) == (True, "")
    assert not kept.begin("slow")
    kept.end("slow", "S", 1)
    assert kept.again("slow", 0) == (True, "S")
    assert len(kept._entries) == len(kept._answers) == MOST_IDS, "small answers take more than their size"
    assert kept._held == 1


def test_who_waits_for_a_request_that_runs_is_woken_by_its_end_alone() -> None:
    kept: Remembered[str] = Remembered(10)
    assert kept.begin("slow")
    found: list[tuple[bool, str | None]] = []
    waiters = [threading.Thread(target=lambda: found.append(kept.again("slow", PATIENCE_S))) for _ in range(3)]
    waiting, woken = [], []
    wait, notify_all = threading.Condition.wait, threading.Condition.notify_all

    def waits(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread() in waiters:
            waiting.append(condition)
        return wait(condition, timeout)

    def wakes(condition: threading.Condition) -> None:
        woken.append(condition)
        notify_all(condition)

    with patch.object(threading.Condition, "wait", waits), patch.object(threading.Condition, "notify_all", wakes):
        for waiter in waiters:
            waiter.start()
        until(lambda: len(waiting) == len(waiters))
        for number in range(50):
            assert kept.begin(number)
            kept.end(number, "", 0)
        assert not set(waiting) & set(woken)
        kept.end("slow", "S", 1)
        for waiter in waiters:
            waiter.join()
    assert found == [(True, "S")] * 3


# Nothing ends or fills it.


def test_long_paths_that_anybody_asks_for_are_not_held() -> None:
    def held_bytes() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = held_bytes()
        for number in range(64):
            head = read_head(BytesIO(b"GET /%d" % number + b"/ab" * 5_000 + b" HTTP/1.1\r\n\r\n"))
            assert head is not None and head.path == (str(number), *["ab"] * 5_000)
        del head
        assert held_bytes() - before < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /v2 HTTP/2\r\n\r\n", 400),
        (b"get /v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET http://else/v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nA : 1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n folded\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nA: \x00\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nA: 1\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST /v2/models/level/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /v2 HTTP/1.1\r\n" + b"".join(b"A%d: 1\r\n" % n for n in range(70)) + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
    ],
)
def test_what_is_no_request_is_refused_and_hung_up_on(served: Serving, sent: bytes, status: int) -> None:
    answer = talk(served.address, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in answer and b"Traceback" not in answer


def test_a_header_of_blanks_takes_no_longer_than_another() -> None:
    """With a pattern that could share them out in many ways it was hours."""
    with pytest.raises(InputError, match="header 1 is none"):
        read_head(BytesIO(b"GET / HTTP/1.1\r\nA:" + b" " * 15_000 + b"\x01\r\n\r\n"))
    head = read_head(BytesIO(b"GET / HTTP/1.1\r\nA: \t b c \t\r\nB:\r\nC: " + b" " * 15_000 + b"\n\n"))
    assert head is not None and head.headers == {"a": "b c", "b": "", "c": ""}


def test_a_connection_takes_one_request_after_another(served: Serving) -> None:
    request = b"GET /v2/health/live HTTP/1.1\r\n\r\n"
    assert talk(served.address, request * 3).count(b"HTTP/1.1 200 OK") == 3
    assert talk(served.address, b"GET /v2 HTTP/1.0\r\n\r\n" + request).count(b"HTTP/1.1") == 1
    for said in (b"close", b"Close , TE"):
        closing = b"GET /v2 HTTP/1.1\r\nConnection: " + said + b"\r\n\r\n"
        assert talk(served.address, closing + request).count(b"HTTP/1.1") == 1
    assert talk(served.address, b"HEAD /v2 HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


def test_headers_of_several_lines_are_one_list_as_behind_two_proxies(served: Serving) -> None:
    forwarded = b"X-Forwarded-For: 192.0.2.1\r\nVia: 1.1 a\r\nX-Forwarded-For: 192.0.2.2\r\nvia: 1.1 b\r\n"
    head = read_head(BytesIO(b"GET /v2 HTTP/1.1\r\n" + forwarded + b"\r\n"))
    assert head is not None and head.headers == {"x-forwarded-for": "192.0.2.1, 192.0.2.2", "via": "1.1 a, 1.1 b"}
    request = b"GET /v2 HTTP/1.1\r\n" + forwarded + b"Connection: x\r\nConnection: close\r\n\r\n"
    assert talk(served.address, request * 2).count(b"HTTP/1.1 200 OK") == 1, "one of the list says that it closes"
    for name in (b"Content-Length", b"Authorization", b"Host", b"Leo-Timeout-Us", b"Inference-Header-Content-Length"):
        twice = b"GET /v2 HTTP/1.1\r\n" + (name + b": 0\r\n") * 2 + b"\r\n"
        with pytest.raises(InputError, match=rf"the header `{name.decode().lower()}` is given twice"):
            read_head(BytesIO(twice))


def test_who_waits_to_be_told_to_go_on_is(served: Serving) -> None:
    body = json.dumps({"inputs": []}).encode()
    head = b"POST /v2/models/level/infer HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(served.address, PATIENCE_S) as own:
        own.sendall(head)
        assert own.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        own.sendall(body)
        assert own.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_random_bytes_are_answered_or_hung_up_on(workload: Workload) -> None:
    rng = random.Random(11)
    message = request_message([Tensor("input_0", SIGNAL)])
    body = b"".join((message.json, *message.tensors))
    whole = (
        b"POST /v2/models/level/infer HTTP/1.1\r\nHost: x\r\n"
        b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(message.json), len(body))
    ) + body
    with serving(workload) as one:
        for _ in range(150):
            sent = bytearray(whole)
            for _ in range(rng.randint(1, 5)):
                sent[rng.randrange(rng.choice([120, len(sent)]))] = rng.randrange(256)
            answer = talk(one.address, bytes(sent[: rng.choice([len(sent), rng.randrange(len(sent))])]))
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
            assert b" 500 " not in answer or b"much too loud" in answer, "of what the stage itself raises"
            assert b"Traceback" not in answer
        assert infer(one, "level", SIGNAL)[0] == 200
        until(lambda: one.service.counts.now().connections == 0)


def test_who_sends_byte_by_byte_is_hung_up_on(workload: Workload) -> None:
    with serving(workload, connections=2, look_s=0.01) as one:
        one.server._clock = clock = VirtualClock()
        slow = [socket.create_connection(one.address, PATIENCE_S) for _ in range(2)]
        until(lambda: [c.idle_since_us for c in one.server._connections] == [0, 0])
        clock.wait_until_us(1_000_000)
        slow[0].sendall(b"GET /v2 HT")
        slow[1].sendall(b"POST /v2/models/level/infer HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        until(lambda: [c.until_us for c in one.server._connections] == [11_000_000] * 2)
        clock.wait_until_us(11_000_000)
        assert [own.recv(1) for own in slow] == [b"", b""]
        for own in slow:
            own.close()
        assert ask(one, "GET", "/v2")[0] == 200
        assert one.refused() == {"slow": 2}


def test_patience_is_for_the_whole_request(workload: Workload) -> None:
    with serving(workload) as one:
        one.server._clock = clock = VirtualClock()
        with socket.create_connection(one.address, PATIENCE_S) as own:
            own.sendall(b"POST /v2/models/level/infer HTTP/1.1\r\n")
            until(lambda: [c.until_us for c in one.server._connections] == [10_000_000])
            clock.wait_until_us(9_000_000)
            own.sendall(b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert own.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert [c.until_us for c in one.server._connections] == [10_000_000]


def test_where_too_many_are_connected_the_idle_make_room(workload: Workload) -> None:
    with serving(workload, connections=2) as one:
        idle = [socket.create_connection(one.address, PATIENCE_S) for _ in range(2)]
        until(lambda: one.service.counts.now().connections == 2)
        assert ask(one, "GET", "/v2")[0] == 200
        for own in idle:
            own.close()


def test_it_stops_when_what_runs_has_ended(workload: Workload, steps: ModuleType) -> None:
    with serving(workload) as one:
        steps.waits.clear()
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(infer(one, "level", SIGNAL)[0]))
        thread.start()
        until(lambda: len(steps.runs) == 1)
        idle = socket.create_connection(one.address, PATIENCE_S)
        until(lambda: one.service.counts.now().connections == 2)
        stopping = threading.Thread(target=one.server.stop, args=(PATIENCE_S,))
        stopping.start()
        assert idle.recv(1) == b""
        idle.close()
        steps.waits.set()
        for each in (thread, stopping):
            each.join(PATIENCE_S)
        assert answers == [200]


def test_metrics_are_shown(workload: Workload) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra `daemon`")
    with serving(workload) as one:
        infer(one, "level", SIGNAL)
        infer(one, "level", SIGNAL[:1])
        status, headers, text = ask(one, "GET", "/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain")
        lines = text.decode().splitlines()
        assert 'leo_serve_answers_total{model="level",status="200"} 1.0' in lines
        assert 'leo_serve_refused_total{reason="malformed"} 1.0' in lines
        assert any(line.startswith("leo_serve_connections ") for line in lines)
        assert "leo_serve_kept_bytes 0.0" in lines and "leo_serve_kept_tensors 0.0" in lines
