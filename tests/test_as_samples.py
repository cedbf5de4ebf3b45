"""Windows go to a server as they were recorded, and are there what they were here, bit by bit."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from leo_runtime.backend.as_samples import as_samples, from_samples
from leo_runtime.backend.open_inference import Tensor, read_request, request_message
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.frame.lower import merge
from servers import Serving, remote, serving, write_workload

SOUND = np.arange(-32768, 32768, 7, dtype=np.int16)
PICTURE = (np.arange(48 * 48 * 3) % 256).astype(np.uint8).reshape(48, 48, 3)


@pytest.mark.parametrize(
    ("recorded", "window"), [(SOUND, SOUND / np.float32(32768)), (PICTURE, PICTURE.astype(np.float32))]
)
def test_windows_are_what_was_recorded(recorded: np.ndarray, window: np.ndarray) -> None:
    found = as_samples(window)
    assert found is not None and found.dtype == recorded.dtype and np.array_equal(found, recorded)
    assert from_samples(found).tobytes() == window.tobytes()

    sent = request_message([Tensor("a", window)], samples=True)
    assert sum(map(len, sent.tensors)) == recorded.nbytes
    (read,) = read_request(b"".join((sent.json, *sent.tensors)), len(sent.json)).inputs
    assert isinstance(read, Tensor) and read.array.dtype == np.float32 and read.array.tobytes() == window.tobytes()
    assert sum(map(len, request_message([Tensor("a", window)]).tensors)) == window.nbytes


@pytest.mark.parametrize("number", [0.5, -1.0, 256.0, -0.0, np.nan, np.inf, 1e30, 1 / 65536])
@pytest.mark.parametrize("place", [0, 5_000])
def test_what_is_more_than_that_goes_as_it_is(number: float, place: int) -> None:
    window = PICTURE.astype(np.float32)
    window.reshape(-1)[place] = number
    assert as_samples(window) is None
    assert as_samples(PICTURE[:2].astype(np.float32)) is None, "it is small"
    assert as_samples(PICTURE.astype(np.float64)) is None


@pytest.mark.parametrize(("datatype", "said"), [("FP32", "true"), ("UINT8", "1"), ("UINT8", "null"), ("INT32", "true")])
def test_what_are_no_samples_is_refused(datatype: str, said: str) -> None:
    tensor = f'"name":"a","datatype":"{datatype}","shape":[1],"data":[1],"parameters":{{"leo_samples":{said}}}'
    text = f'{{"inputs":[{{{tensor}}}]}}'
    with pytest.raises(InputError, match="is no samples"):
        read_request(text.encode(), None)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workload, Serving]]:
    workload = Workload.from_file(write_workload(tmp_path_factory.mktemp("samples"), samples=len(SOUND)))
    with serving(workload) as one:
        yield workload, one


def test_a_server_has_the_window_that_was_here(served: tuple[Workload, Serving]) -> None:
    workload, one = served
    window = SOUND / np.float32(32768)
    with closing(remote(one.url)) as backend:
        louder = backend.load(merge(workload).stage("louder").bound, "twice")
        assert np.asarray(louder([window])).tobytes() == (window * np.float32(2)).tobytes()
        kept, passed = backend.put([window], None)  # type: ignore[attr-defined]  # it keeps values
        assert SOUND.nbytes < passed.sent_bytes < SOUND.nbytes + 1_000
        ((back,), _) = backend.fetch(kept, None)  # type: ignore[attr-defined]  # it keeps values
        assert back.dtype == np.float32 and back.tobytes() == window.tobytes()
