"""Outputs packed here and unpacked on a server: its answers are the local ones, within what the form loses."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_backends import packing
from leo_runtime.backend import registry
from leo_runtime.backend.open_inference import JSON_LENGTH, Tensor, request_message
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.lower import merge
from leo_runtime.operators.packing import PackParameters
from leo_runtime.runtime.runtime import Runtime
from servers import PATIENCE_S, Serving, serving, serving_process

WORKLOAD = """
format = "leo-workload/1"
name = "ears"
streams = [{ name = "mic", kind = "audio", rate_hz = 16000 }]

[[graphs]]
name = "ears"
period_us = 1_000_000
deadline_us = 10_000_000
stages = [
    { name = "sound", operator = "window", params = { stream = "mic", samples = 16000 } },
    { name = "mel", operator = "log_mel", inputs = ["sound"], pack = [
        { form = "float16" }, { form = "int8+zlib" }, { form = "int4" }
    ] },
    { name = "few", operator = "rows", inputs = ["mel"], params = { first = 20, count = 8 } },
]
"""
BOUNDS = {"float16": 0.01, "int8+zlib": 0.05, "int4": 0.8}
"""How far a log energy may be off: half a step of the sound's span."""
SOUND = np.cumsum(np.random.default_rng(4).normal(size=16_000)).astype(np.float32)
SOUND = (8_000 * SOUND / np.abs(SOUND).max()).astype(np.int16)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ears") / "ears.toml"
    path.write_text(WORKLOAD)
    return path


def machine(url: str) -> Hardware:
    pairs = (("cpu", "cloud"), ("cloud", "cpu"))
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "split",
            "processors": [
                {"name": "cpu", "backend": "cpu", "active_mw": 1_000},
                {"name": "cloud", "backend": "remote", "remote": True, "options": {"url": url}},
            ],
            "links": [{"source": source, "target": target} for source, target in pairs],
        }
    )


def profile(form: str) -> Profile:
    """What packs does so in this form alone, here; what unpacks and reads is there."""
    here = {"window": "default", "log_mel": "default", "pack": form}
    there = {"unpack": "default", "rows": "default"}
    costs = [
        {"processor": processor, "operator": name, "variant": variant, "fixed_us": 10, "source": "modelled: a test"}
        for processor, operators in (("cpu", here), ("cloud", there))
        for name, variant in operators.items()
    ]
    return Profile.from_dict({"format": "leo-profile/1", "name": "split", "hardware": "split", "costs": costs})


def test_answers_of_a_server_are_the_local_ones_within_the_forms_error(path: Path) -> None:
    workload = Workload.from_file(path)
    backend = registry.create(Processor(name="cpu", backend="cpu"))
    stages = {stage.name: stage.bound for stage in merge(workload).stages}
    samples = backend.load(stages["sound"], "default")([SOUND])
    local = backend.load(stages["mel"], "default")([samples])[20:28]  # type: ignore[index]  # an array
    with serving_process(str(path), "--bind", "127.0.0.1:0") as (_, url):
        for form, bound in BOUNDS.items():
            with Runtime.live(workload, machine(url), profile(form)) as runtime:
                runtime.submit(runtime.now_us, {"sound": SOUND})
                (result,) = runtime.drain(PATIENCE_S)
                (graph,) = result.graphs
                assert graph.outcome == "done"
                ran = {run.stage: (run.resource, run.variant) for run in result.stages}
                assert ran["mel.packed"] == ("cpu", form)
                assert ran["mel.unpacked"][0] == ran["few"][0] == "cloud"
                assert np.abs(graph.outputs["few"] - local).max() <= bound, form
    backend.close()


@pytest.fixture(scope="module")
def served(path: Path) -> Iterator[Serving]:
    with serving(Workload.from_file(path)) as one:
        yield one


def ask(one: Serving, model: str, name: str, array: np.ndarray) -> tuple[int, str]:
    """The status, and what is said where it is no answer."""
    message = request_message([Tensor(name, array)])
    connection = HTTPConnection(*one.address, timeout=PATIENCE_S)
    try:
        headers = {JSON_LENGTH: str(len(message.json))}
        body = b"".join((message.json, *message.tensors))
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, "" if answer.status == 200 else json.loads(text)["error"]
    finally:
        connection.close()


def described(one: Serving, model: str) -> dict[str, Any]:
    connection = HTTPConnection(*one.address, timeout=PATIENCE_S)
    try:
        connection.request("GET", f"/v2/models/{model}")
        said: dict[str, Any] = json.loads(connection.getresponse().read())
        return said
    finally:
        connection.close()


def packed(values: np.ndarray, **params: Any) -> np.ndarray:
    return packing.pack(PackParameters.model_validate(params), [values.shape])([values])


def test_only_as_many_bytes_are_sent_as_there_are(served: Serving) -> None:
    values = np.add.outer(np.arange(98), np.arange(40)).astype(np.float32)
    sent = packed(values, form="int8", compress="zlib")
    assert len(sent) < values.nbytes / 8
    assert ask(served, "mel.unpacked", "input_0", sent) == (200, "")
    assert ask(served, "graph:ears", "mel.packed", sent) == (200, ""), "as the start of a cut, too"


def test_packed_bytes_may_be_of_any_length_up_to_the_longest(served: Serving) -> None:
    assert described(served, "mel.unpacked")["inputs"] == [{"name": "input_0", "datatype": "UINT8", "shape": [-1]}]
    assert described(served, "mel.packed")["outputs"] == [{"name": "packed", "datatype": "UINT8", "shape": [-1]}]
    status, says = ask(served, "mel.unpacked", "input_0", np.zeros(15_701, np.uint8))
    assert status == 400 and "(15700,), got (15701,)" in says


@pytest.mark.parametrize("wrong", ["damaged", "truncated", "empty", "zeros", "numbers", "of another shape"])
def test_a_server_refuses_bytes_that_are_none_in_words(served: Serving, wrong: str) -> None:
    values = np.random.default_rng(0).normal(size=(98, 40)).astype(np.float32)
    sent = packed(values, form="int8").copy()
    if wrong == "damaged":
        sent[500] ^= 1
    given = {
        "damaged": sent,
        "truncated": sent[:-1],
        "empty": sent[:0],
        "zeros": np.zeros(9_000, np.uint8),
        "numbers": np.zeros(3_925, np.float32),
        "of another shape": packed(values[:50], form="int8"),
    }[wrong]
    for model, name in (("mel.unpacked", "input_0"), ("graph:ears", "mel.packed")):
        status, says = ask(served, model, name, given)
        assert status in (400, 500) and says, (model, status)
        assert status == 400 or "packed bytes" in says
    good = packed(values, form="float16")
    assert ask(served, "mel.unpacked", "input_0", good) == (200, ""), "and it goes on"


def crossed(served: Serving, workload: Workload, form: str) -> tuple[int, int]:
    """How many bytes came to the server for a frame in this form, and went back."""
    with Runtime.live(workload, machine(served.url), profile(form)) as runtime:
        before = served.service.counts.now()
        runtime.submit(runtime.now_us, {"sound": SOUND})
        (result,) = runtime.drain(PATIENCE_S)
        assert [graph.outcome for graph in result.graphs] == ["done"]
        now = served.service.counts.now()
    return now.bytes_in - before.bytes_in, now.bytes_out - before.bytes_out


def test_what_crosses_is_as_small_as_it_was_packed(served: Serving, path: Path) -> None:
    workload = Workload.from_file(path)
    whole_in, _ = crossed(served, workload, "float32")
    for form, sent in (("float16", 7_860), ("int8+zlib", 3_928), ("int4", 1_988)):
        came, went = crossed(served, workload, form)
        assert came <= sent + 1_500 < whole_in, "what is unpacked stays there for who reads it"
        assert went < 8 * 40 * 4 + 1_500
