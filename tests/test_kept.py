"""What a server keeps between requests: found by its id, forgotten, and never more than there is room for."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend.keeping import ForgottenError, keeping_kernel, keeping_of
from leo_runtime.backend.open_inference import (
    JSON_LENGTH,
    Asked,
    KeptTensor,
    Tensor,
    read_answer,
    read_json,
    request_message,
)
from leo_runtime.clock import VirtualClock
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from leo_runtime.serving.kept import BESIDE_BYTES, MOST_KEPT, KeptTensors
from servers import PATIENCE_S, Serving, module_of, remote, serving, until, write_workload

SIGNAL = np.linspace(-1, 1, 100, dtype=np.float32)
FLOATS = np.dtype("float32")


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return Workload.from_file(write_workload(tmp_path_factory.mktemp("kept")))


@pytest.fixture
def served(workload: Workload) -> Iterator[Serving]:
    with serving(workload) as one:
        yield one


def post(
    one: Serving,
    path: str,
    inputs: Sequence[Tensor | KeptTensor] = (),
    outputs: Sequence[Asked] = (),
    *,
    forget: Sequence[str] = (),
) -> tuple[int, Any]:
    """The status, and the tensors by name, or what is said."""
    message = request_message(inputs, outputs, forget=forget)
    connection = HTTPConnection(*one.address, timeout=PATIENCE_S)
    try:
        headers = {JSON_LENGTH: str(len(message.json))}
        connection.request("POST", path, b"".join((message.json, *message.tensors)), headers)
        answer = connection.getresponse()
        body, length = answer.read(), answer.headers.get(JSON_LENGTH)
    finally:
        connection.close()
    if answer.status != 200:
        return answer.status, json.loads(body)["error"]
    if "outputs" not in read_json(body[: None if length is None else int(length)]):
        return 200, {}
    return 200, {tensor.name: tensor for tensor in read_answer(body, None if length is None else int(length))}


def kept(name: str, under: str, shape: tuple[int, ...] = (100,)) -> KeptTensor:
    return KeptTensor(name, under, FLOATS, shape)


def test_stages_in_a_row_need_their_input_once_and_give_one_output(served: Serving) -> None:
    assert post(served, "/v2/kept", [Tensor("a", SIGNAL)]) == (200, {})
    asked = [Asked("louder", keep="b", bring=False)]
    status, found = post(served, "/v2/models/louder/infer", [kept("input_0", "a")], asked)
    assert (status, found) == (200, {"louder": kept("louder", "b")}), "no numbers came back"
    status, found = post(served, "/v2/models/level/infer", [kept("input_0", "b")])
    loud = np.float32(np.abs(SIGNAL * 2).mean())
    assert status == 200 and found["level"].array.tolist() == [np.float32(1 - float(loud)), loud]
    status, found = post(served, "/v2/kept/bring", outputs=[Asked("b")])
    assert status == 200 and np.array_equal(found["b"].array, SIGNAL * 2)
    now = served.service.counts.now()
    assert now.bytes_in < SIGNAL.nbytes + 2_000 and now.bytes_out < SIGNAL.nbytes + 2_000
    assert served.service.kept.now().tensors == 2
    assert post(served, "/v2/kept", forget=["a", "b", "who"]) == (200, {})
    assert served.service.kept.now().tensors == served.service.kept.now().bytes == 0


def test_an_output_that_is_kept_may_come_back_as_well(served: Serving) -> None:
    asked = [Asked("louder", keep="b", bring=True)]
    _, found = post(served, "/v2/models/louder/infer", [Tensor("input_0", SIGNAL)], asked)
    assert np.array_equal(found["louder"].array, SIGNAL * 2)
    assert post(served, "/v2/kept/bring", outputs=[Asked("b")])[0] == 200


def test_what_is_not_there_any_more_is_said_before_anything_runs(served: Serving) -> None:
    status, says = post(served, "/v2/models/louder/infer", [kept("input_0", "gone")])
    assert status == 410 and says.startswith("nothing is kept as 'gone' any more")
    assert post(served, "/v2/kept/bring", outputs=[Asked("gone")])[0] == 410
    assert served.refused() == {"forgotten": 2} and not served.service.counts.now().run_us


def test_a_request_that_waits_does_not_hold_what_it_is_to_work_on(workload: Workload) -> None:
    """Else those that wait would hold many times as much as is kept."""
    steps = module_of(workload)
    with serving(workload, workers=1, kept_bytes=1_500) as one, ThreadPoolExecutor() as pool:
        post(one, "/v2/kept", [Tensor("a", SIGNAL)])
        steps.waits.clear()
        try:
            first = pool.submit(post, one, "/v2/models/level/infer", [Tensor("input_0", SIGNAL)])
            until(lambda: one.service.counts.now().under_way == 1)
            second = pool.submit(post, one, "/v2/models/louder/infer", [kept("input_0", "a")])
            until(lambda: one.service.counts.now().under_way == 2)
            for name in "bcd":
                assert post(one, "/v2/kept", [Tensor(name, SIGNAL)])[0] == 200
            assert one.service.kept.now().dropped["room"] >= 1
        finally:
            steps.waits.set()
        assert first.result()[0] == 200
        assert second.result()[0] == 410


def test_what_is_not_there_any_more_is_not_waited_for(workload: Workload) -> None:
    """Else its sender would learn that it is to be sent again when there is no time left for that."""
    steps = module_of(workload)
    with serving(workload, workers=1) as one, ThreadPoolExecutor() as pool:
        post(one, "/v2/kept", [Tensor("a", SIGNAL)])
        steps.waits.clear()
        try:
            first = pool.submit(post, one, "/v2/models/level/infer", [Tensor("input_0", SIGNAL)])
            until(lambda: one.service.counts.now().under_way == 1)
            for wrong, status in ((kept("input_0", "gone"), 410), (kept("input_0", "a", (99,)), 400)):
                asked = pool.submit(post, one, "/v2/models/louder/infer", [wrong])
                assert asked.result(PATIENCE_S)[0] == status
            assert not first.done()
        finally:
            steps.waits.set()
        assert first.result()[0] == 200


def test_what_is_kept_is_what_it_is_said_to_be(served: Serving) -> None:
    post(served, "/v2/kept", [Tensor("a", SIGNAL)])
    for wrong in (kept("input_0", "a", (99,)), KeptTensor("input_0", "a", np.dtype("int32"), (100,))):
        status, says = post(served, "/v2/models/louder/infer", [wrong])
        assert status == 400 and "is kept as float32 of shape (100,), not as" in says
    assert post(served, "/v2/kept", [kept("b", "a")]) == (400, "the tensor `b` comes without numbers")


def test_an_output_without_room_comes_back_so_that_it_is_not_lost(workload: Workload) -> None:
    with serving(workload, kept_bytes=300) as one:
        asked = [Asked("louder", keep="b", bring=False)]
        status, found = post(one, "/v2/models/louder/infer", [Tensor("input_0", SIGNAL)], asked)
        assert status == 200 and np.array_equal(found["louder"].array, SIGNAL * 2)
        status, says = post(one, "/v2/kept", [Tensor("a", SIGNAL)])
        assert status == 413 and says.startswith("400 bytes are more than is kept (300)")
        assert dict(one.service.kept.now().dropped) == {"size": 2}


def test_what_would_push_each_other_out_is_not_said_to_be_kept(workload: Workload) -> None:
    """There is room for two of them."""
    with serving(workload, kept_bytes=2_000) as one:
        assert post(one, "/v2/kept", [Tensor("before", SIGNAL)])[0] == 200
        status, says = post(one, "/v2/kept", [Tensor(name, SIGNAL) for name in "abc"])
        assert status == 413 and says.startswith("1200 bytes are more than is kept (2000)")
        assert post(one, "/v2/kept/bring", outputs=[Asked("before")])[0] == 200, "what was there has not gone for that"
        assert post(one, "/v2/kept", [Tensor(name, SIGNAL) for name in "ab"])[0] == 200
        assert post(one, "/v2/kept/bring", outputs=[Asked("a"), Asked("b")])[0] == 200


def test_outputs_that_would_push_each_other_out_come_back(workload: Workload) -> None:
    class Pair:
        """Two outputs in one."""

        name, version = "pair", "1"

        def metadata(self) -> dict[str, Any]:
            return {}

        def infer(self, inputs: Sequence[Tensor], outputs: Sequence[str]) -> tuple[Tensor, ...]:
            return tuple(Tensor(name, SIGNAL * number) for number, name in enumerate(outputs))

    with serving(workload, kept_bytes=1_000) as one:
        one.service.add(Pair())
        asked = [Asked(name, keep=f"k{name}", bring=False) for name in "ab"]
        status, found = post(one, "/v2/models/pair/infer", outputs=asked)
        assert status == 200 and np.array_equal(found["b"].array, SIGNAL) and isinstance(found["a"], Tensor)
        status, found = post(one, "/v2/models/pair/infer", outputs=asked[:1])
        assert found == {"a": kept("a", "ka")}


def test_no_id_is_of_two(served: Serving) -> None:
    status, says = post(served, "/v2/kept", [Tensor("a", SIGNAL), Tensor("a", -SIGNAL)])
    assert (status, says) == (400, "two tensors are to be kept as 'a'")
    asked = [Asked(name, keep="k", bring=False) for name in ("louder", "quieter")]
    status, says = post(served, "/v2/models/louder/infer", [Tensor("input_0", SIGNAL)], asked)
    assert (status, says) == (400, "two outputs are to be kept under one id")
    assert served.service.kept.now().tensors == 0


def test_an_output_that_is_not_finite_is_not_kept(served: Serving) -> None:
    asked = [Asked("louder", keep="b", bring=False)]
    _, found = post(served, "/v2/models/louder/infer", [Tensor("input_0", SIGNAL * np.float32(np.nan))], asked)
    assert isinstance(found["louder"], Tensor), "who asked for it says what that means"
    assert served.service.kept.now().tensors == 0


def test_many_that_are_wanted_at_once_are_no_more_than_a_request(workload: Workload) -> None:
    with serving(workload, max_bytes=1_000) as one:
        for name in "abc":
            assert post(one, "/v2/kept", [Tensor(name, SIGNAL)])[0] == 200
        assert post(one, "/v2/kept/bring", outputs=[Asked("a"), Asked("b")])[0] == 200
        status, says = post(one, "/v2/kept/bring", outputs=[Asked("a"), Asked("b"), Asked("c")])
        assert status == 413 and says.startswith("1200 bytes are more than 1000")


def test_a_hostile_client_cannot_fill_the_memory(workload: Workload) -> None:
    with serving(workload, kept_bytes=10_000) as one:
        for number in range(40):
            assert post(one, "/v2/kept", [Tensor(f"x{number}", SIGNAL)])[0] == 200
            assert one.service.kept.now().bytes <= 10_000
        now = one.service.kept.now()
        assert now.tensors == 10 and dict(now.dropped) == {"room": 30}, "the newest are there"
        assert post(one, "/v2/kept/bring", outputs=[Asked("x39")])[0] == 200


def test_ids_are_bounded_however_small_what_they_name_is() -> None:
    store = KeptTensors(1 << 40, 1_000, VirtualClock())
    one = np.zeros(1, np.float32)
    for number in range(MOST_KEPT + 5):
        assert store.keep(str(number), one)
    assert store.now().tensors == MOST_KEPT and store.now().dropped == {"room": 5}
    assert store.get("4") is None and store.get("5") is not None


def test_what_nobody_forgets_goes_by_its_age() -> None:
    clock = VirtualClock()
    store = KeptTensors(10_000, 1_000, clock)
    store.keep("a", SIGNAL)
    clock.wait_until_us(600)
    store.keep("b", SIGNAL)
    store.keep("a", SIGNAL * 2)
    clock.wait_until_us(1_600)
    first = store.get("a")
    assert first is not None and first[0] == -2, "it came anew"
    clock.wait_until_us(1_601)
    store.forget_old()
    assert store.now().tensors == store.now().bytes == 0 and store.now().dropped == {"age": 2}


def test_what_is_kept_is_a_copy_that_nobody_writes_into() -> None:
    store = KeptTensors(10_000, 1_000, VirtualClock())
    own = SIGNAL.copy()
    store.keep("a", own)
    own[:] = 0
    found = store.get("a")
    assert found is not None and np.array_equal(found, SIGNAL) and not found.flags.writeable
    assert store.now().bytes == SIGNAL.nbytes + BESIDE_BYTES


def test_our_client_sends_once_and_brings_what_it_needs(workload: Workload, served: Serving) -> None:
    stages = merge(workload)
    with closing(remote(served.url)) as backend:
        keeping = keeping_of(backend)
        louder = keeping_kernel(backend.load(stages.stage("louder").bound, "twice"))
        level = keeping_kernel(backend.load(stages.stage("level").bound, "default"))
        assert keeping is not None and louder is not None and level is not None
        value, passed = keeping.put([SIGNAL], None)
        assert passed.sent_bytes > SIGNAL.nbytes and 0 < passed.took_us < PATIENCE_S * 1e6
        run = louder.run(value.arrays, keep=True, bring=False)
        assert run.output is None and run.kept is not None and run.passed.got_bytes < 300
        assert run.passed.server_us >= run.device_us and run.passed.took_us >= run.passed.server_us
        last = level.run(run.kept.arrays, keep=False, bring=True)
        assert last.output is not None and last.kept is None
        (louder_here,), _ = keeping.fetch(run.kept, None)
        assert np.array_equal(louder_here, SIGNAL * 2)
        both = louder.run([SIGNAL], keep=True, bring=True)
        assert both.output is not None and np.array_equal(both.output, SIGNAL * 2) and both.kept is not None
        assert np.array_equal(keeping.fetch(both.kept, None)[0][0], SIGNAL * 2)
        keeping.forget([value, run.kept])
        louder.run([SIGNAL], keep=False, bring=True)
        assert served.service.kept.now().tensors == 1, "it was told with the next request"
        with pytest.raises(ForgottenError, match=r"stage `level` failed: .* answered 410 \(nothing is kept as"):
            level.run(run.kept.arrays, keep=False, bring=True)
        with pytest.raises(ForgottenError):
            keeping.fetch(value, None)


def test_our_client_takes_what_could_not_be_kept(workload: Workload) -> None:
    with serving(workload, kept_bytes=300) as one, closing(remote(one.url)) as backend:
        louder = keeping_kernel(backend.load(merge(workload).stage("louder").bound, "twice"))
        assert louder is not None
        run = louder.run([SIGNAL], keep=True, bring=False)
        assert run.kept is None and run.output is not None and np.array_equal(run.output, SIGNAL * 2)


def test_as_json_nothing_is_kept(workload: Workload, served: Serving) -> None:
    with closing(remote(served.url, binary=False)) as backend:
        assert keeping_of(backend) is None
        assert keeping_kernel(backend.load(merge(workload).stage("louder").bound, "twice")) is None
