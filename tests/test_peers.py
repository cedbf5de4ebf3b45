"""Others speak to our server, and ours to others': tritonclient, MLServer and KServe."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend.open_inference import TYPES
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import KernelError
from leo_runtime.frame.lower import merge
from peer_servers import PEERS, Peer, peer_server, python_of
from servers import PATIENCE_S, Serving, remote, serving, write_workload

SIGNAL = np.linspace(-1, 1, 100, dtype=np.float32)
TOKEN = "c" * 32


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return Workload.from_file(write_workload(tmp_path_factory.mktemp("served")))


@pytest.fixture(scope="module")
def triton() -> Any:
    return pytest.importorskip("tritonclient.http", reason="the extra `peers` is not installed")


@pytest.fixture
def client(triton: Any, workload: Workload) -> Iterator[tuple[Any, Serving]]:
    with serving(workload, token=TOKEN) as one, closing(triton.InferenceServerClient(one.url[7:])) as made:
        yield made, one


def token() -> dict[str, str]:
    """A new dictionary each time: the client writes into what it is given."""
    return {"Authorization": f"Bearer {TOKEN}"}


def test_tritonclient_learns_what_is_here(client: tuple[Any, Serving]) -> None:
    made, _ = client
    assert made.is_server_live() and made.is_server_ready()
    assert made.get_server_metadata(headers=token())["name"] == "levels"
    assert made.is_model_ready("louder", "thrice", headers=token())
    assert made.get_model_metadata("louder", headers=token())["versions"] == ["twice", "thrice"]
    assert len(made.get_model_repository_index(headers=token())) == 5


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_tritonclient_has_a_stage_run(triton: Any, client: tuple[Any, Serving], binary: bool, named: bool) -> None:
    made, _ = client
    given = triton.InferInput("input_0", [100], "FP32")
    given.set_data_from_numpy(SIGNAL, binary_data=binary)
    outputs = [triton.InferRequestedOutput("louder", binary_data=binary)] if named else None
    answer = made.infer("louder", [given], "thrice", outputs, request_id="7", headers=token())
    assert np.array_equal(answer.as_numpy("louder"), SIGNAL * 3)
    assert answer.get_response()["id"] == "7"


def test_tritonclient_has_every_type_it_knows_read(triton: Any, client: tuple[Any, Serving]) -> None:
    made, _ = client
    for name, dtype in TYPES.items():
        given = triton.InferInput("input_0", [100], name)
        given.set_data_from_numpy(np.ones(100, dtype))
        answer = made.infer("signal", [given], headers=token())
        one = 1 / 32_768 if name == "INT16" else 1  # Samples of sound, which are from -1 to 1 behind the window.
        assert np.array_equal(answer.as_numpy("signal"), np.full(100, one, np.float32)), name


def test_tritonclient_is_told_what_is_wrong(triton: Any, client: tuple[Any, Serving]) -> None:
    made, one = client
    given = triton.InferInput("input_0", [100], "FP32")
    given.set_data_from_numpy(SIGNAL)
    with pytest.raises(triton.InferenceServerException, match=r"\[404\] no model is called 'other' here"):
        made.infer("other", [given], headers=token())
    with pytest.raises(triton.InferenceServerException, match=r"\[401\] the token is missing or wrong"):
        made.infer("louder", [given])
    given.set_data_from_numpy(SIGNAL * 1_000)
    with pytest.raises(triton.InferenceServerException, match=r"\[500\] .*much too loud"):
        made.infer("level", [given], headers=token())
    assert one.refused() == {"unknown": 1, "token": 1}


# By gRPC.


@pytest.fixture(scope="module")
def triton_grpc() -> Any:
    pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
    return pytest.importorskip("tritonclient.grpc", reason="the extra `peers` is not installed")


@pytest.fixture
def grpc_client(triton_grpc: Any, workload: Workload) -> Iterator[tuple[Any, Serving]]:
    with (
        serving(workload, token=TOKEN, grpc_port=0) as one,
        closing(triton_grpc.InferenceServerClient(one.grpc_url[7:])) as made,
    ):
        yield made, one


def grpc_token() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


def test_tritonclient_learns_what_is_here_by_grpc(grpc_client: tuple[Any, Serving]) -> None:
    made, _ = grpc_client
    assert made.is_server_live() and made.is_server_ready()
    assert made.get_server_metadata(headers=grpc_token()).name == "levels"
    assert made.is_model_ready("louder", "thrice", headers=grpc_token())
    said = made.get_model_metadata("louder", headers=grpc_token())
    assert list(said.versions) == ["twice", "thrice"] and list(said.inputs[0].shape) == [100]
    assert len(made.get_model_repository_index(headers=grpc_token()).models) == 5


@pytest.mark.parametrize("named", [True, False])
def test_tritonclient_has_a_stage_run_by_grpc(triton_grpc: Any, grpc_client: tuple[Any, Serving], named: bool) -> None:
    made, _ = grpc_client
    given = triton_grpc.InferInput("input_0", [100], "FP32")
    given.set_data_from_numpy(SIGNAL)
    outputs = [triton_grpc.InferRequestedOutput("louder")] if named else None
    answer = made.infer("louder", [given], "thrice", outputs, request_id="7", headers=grpc_token())
    assert np.array_equal(answer.as_numpy("louder"), SIGNAL * 3)
    assert answer.get_response().id == "7" and answer.get_response().model_version == "thrice"


def test_tritonclient_has_every_type_it_knows_read_by_grpc(triton_grpc: Any, grpc_client: tuple[Any, Serving]) -> None:
    made, _ = grpc_client
    for name, dtype in TYPES.items():
        given = triton_grpc.InferInput("input_0", [100], name)
        given.set_data_from_numpy(np.ones(100, dtype))
        answer = made.infer("signal", [given], headers=grpc_token())
        one = 1 / 32_768 if name == "INT16" else 1  # Samples of sound, which are from -1 to 1 behind the window.
        assert np.array_equal(answer.as_numpy("signal"), np.full(100, one, np.float32)), name


def test_tritonclient_is_told_what_is_wrong_by_grpc(triton_grpc: Any, grpc_client: tuple[Any, Serving]) -> None:
    made, one = grpc_client
    given = triton_grpc.InferInput("input_0", [100], "FP32")
    given.set_data_from_numpy(SIGNAL)
    refused = triton_grpc.InferenceServerException
    with pytest.raises(refused, match=r"NOT_FOUND\] no model is called 'other' here"):
        made.infer("other", [given], headers=grpc_token())
    with pytest.raises(refused, match=r"UNAUTHENTICATED\] the token is missing or wrong"):
        made.infer("louder", [given])
    given.set_data_from_numpy(SIGNAL * 1_000)
    with pytest.raises(refused, match=r"INTERNAL\] .*much too loud"):
        made.infer("level", [given], headers=grpc_token())
    assert one.refused() == {"unknown": 1, "token": 1}


# Servers of other makes.


@pytest.fixture(scope="module", params=PEERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """A server of another make."""
    name = str(request.param)
    if python_of(name) is None:
        pytest.skip(f"{name} is not here: `.ci/peer {name}` installs it in an environment of its own")
    with peer_server(name, (100,)) as one:
        yield one


def test_a_server_of_another_make_runs_a_stage(workload: Workload, peer: Peer) -> None:
    louder = merge(workload).stage("louder").bound
    for binary in (None, False) if peer.name == "mlserver" else (None, True):
        with closing(remote(peer.url, binary=binary)) as backend:
            kernel = backend.load(louder, "twice")
            for _ in range(3):
                assert np.array_equal(kernel([SIGNAL]), SIGNAL * 2)


def test_a_server_of_another_make_runs_a_stage_by_grpc(workload: Workload, peer: Peer) -> None:
    pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
    with closing(remote(peer.grpc_url, wait_s=PATIENCE_S)) as backend:
        kernel = backend.load(merge(workload).stage("louder").bound, "twice")
        for _ in range(3):
            assert np.array_equal(kernel([SIGNAL]), SIGNAL * 2)


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_what_a_server_of_another_make_has_not_is_said(workload: Workload, peer: Peer, way: str) -> None:
    if way == "grpc":
        pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
    url = peer.url if way == "http" else peer.grpc_url
    says = pytest.raises(KernelError, match=r"stage `level`: .* answered 404")
    with closing(remote(url, wait_s=PATIENCE_S)) as backend, says:
        backend.load(merge(workload).stage("level").bound, "default")
