"""What outputs take and lose in smaller forms, measured on a recording, and the workload that is written of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from leo_backends import packing
from leo_runtime.cli import main
from leo_runtime.documents.workload import Packing, Stream, Workload
from leo_runtime.errors import GraphError, InputError
from leo_runtime.frame.lower import merge
from leo_runtime.measure.packing import FormMeasured, OutputMeasured, measure_packing, with_packs, worth_placing
from leo_runtime.measure.task_loss import Loss, Task
from leo_runtime.operators.packing import PackParameters, UnpackParameters, form_params, most_bytes
from leo_runtime.recordings.recording import Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream
from servers import write_workload

FRAMES = 12
LOUD = np.linspace(0.2495, 0.2505, FRAMES)
"""Twice that is the mean of each frame as it is made louder, which is `loud` from 0.5 on."""


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return Workload.from_file(write_workload(tmp_path_factory.mktemp("pack") / "levels"))


def recorded(stream: Stream, frames: Sequence[np.ndarray]) -> Recording:
    """A recording whose windows, one after the other, are these frames."""
    own = RecordedStream.of(stream, "s.npy")
    manifest = RecordingManifest(
        format="leo-recording/1", name="levels", licence="none", source="made up", streams=(own,)
    )
    return Recording(manifest, {stream.name: np.concatenate(list(frames))})


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    drawn = [rng.exponential(size=100) for _ in range(FRAMES)]
    return [(loud * one / one.mean()).astype(np.float32) for loud, one in zip(LOUD, drawn, strict=True)]


@pytest.fixture(scope="module")
def recording(workload: Workload, frames: list[np.ndarray]) -> Recording:
    return recorded(workload.streams[0], frames)


def back(values: np.ndarray, form: str) -> tuple[int, np.ndarray]:
    """How many bytes values take in a form, and what comes back."""
    packed = packing.pack(PackParameters.model_validate(form_params(form)), [values.shape])([values])
    params = UnpackParameters(shape=values.shape)
    return len(packed), packing.unpack(params, [(most_bytes(values.shape),)])([packed])


def test_sizes_errors_and_decisions_are_those_of_the_forms(
    workload: Workload, recording: Recording, frames: list[np.ndarray]
) -> None:
    forms = ("float16", "int8+zlib", "int4")
    (found,) = measure_packing(workload, recording, stages=["louder"], forms=forms)
    assert found.places == (("loud", "louder"),) and found.shape == (100,)
    assert found.runs == FRAMES and found.plain_bytes == 400
    assert [one.form for one in found.forms] == ["float32", *forms]
    for one in found.forms:
        pairs = [(2 * frame, *back(2 * frame, one.form)) for frame in frames]
        sizes = [size for _, size, _ in pairs]
        assert one.sent_bytes == np.ceil(np.mean(sizes)) and one.most_bytes == max(sizes)
        assert one.error == max(float(np.abs(got.astype(float) - own).max()) for own, _, got in pairs)
        changed = sum((np.abs(own).mean() >= 0.5) != (np.abs(got).mean() >= 0.5) for own, _, got in pairs)
        assert (one.loss.decisions, one.loss.runs) == (changed, FRAMES)
    assert found.forms[0].error == 0 == found.forms[0].loss.ppm
    assert found.forms[-1].loss.ppm > 0, "a step of 4 bits changes a decision here"


def test_a_loss_is_by_the_measure_that_is_asked_for(workload: Workload, recording: Recording) -> None:
    asked = {"stages": ["louder"], "forms": ["int4"]}
    (changed,) = measure_packing(workload, recording, task=Task("change"), **asked)  # type: ignore[arg-type]  # of any type
    assert changed.forms[1].loss.decisions is None and 0 < changed.forms[1].loss.ppm < 100_000
    (greatest,) = measure_packing(workload, recording, task=Task("argmax"), **asked)  # type: ignore[arg-type]  # as above
    assert greatest.forms[1].loss.decisions is not None


def test_frames_whose_gate_is_closed_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "gated.toml"
    path.write_text(GATED)
    workload = Workload.from_file(path)
    loud = (20_000 * np.sin(np.arange(4_000) / 3)).astype(np.int16)
    quiet = np.zeros(4_000, np.int16)
    recording = recorded(workload.streams[0], [loud, quiet, loud, quiet])
    (found,) = measure_packing(workload, recording, stages=["mel"], forms=["float16"])
    assert found.runs == 2
    with pytest.raises(InputError, match="stage `mel` runs in no frame"):
        measure_packing(workload, recorded(workload.streams[0], [quiet] * 4), stages=["mel"])
    assert [one.stage for one in measure_packing(workload, recorded(workload.streams[0], [quiet] * 4))] == ["sound"]


GATED = """
format = "leo-workload/1"
name = "gated"
streams = [{ name = "mic", kind = "audio", rate_hz = 16000 }]

[[graphs]]
name = "ears"
period_us = 250_000
deadline_us = 200_000
stages = [
    { name = "sound", operator = "window", params = { stream = "mic", samples = 4000 } },
    { name = "loud", operator = "energy_gate", inputs = ["sound"], params = { threshold_dbfs = -30.0 } },
    { name = "mel", operator = "log_mel", inputs = ["sound"], gate = "loud" },
    { name = "top", operator = "rows", inputs = ["mel"], params = { count = 3 } },
]
"""


def test_what_cannot_be_measured_is_said_plainly(workload: Workload, recording: Recording) -> None:
    with pytest.raises(InputError, match="no stage is called `lauder`") as told:
        measure_packing(workload, recording, stages=["lauder"])
    assert "`louder`" in told.value.hint
    with pytest.raises(InputError, match="stage `level` of graph `loud` cannot be packed: nothing reads it"):
        measure_packing(workload, recording, stages=["loud.level"])
    with pytest.raises(GraphError, match="`int9` is no form of packing"):
        measure_packing(workload, recording, stages=["louder"], forms=["int9"])
    with pytest.raises(GraphError, match="jpeg is of images"):
        measure_packing(workload, recording, stages=["louder"], forms=["jpeg"])
    assert measure_packing(workload, recording) == (), "all outputs are small"


def form(name: str, sent: int, ppm: int, us: int) -> FormMeasured:
    return FormMeasured(name, sent, sent, 0.1, Loss(1_000_000, 0.1, ppm, None, None), us, us)


def test_forms_that_no_placement_needs_are_left_out() -> None:
    forms = (
        form("whole", 420, 0, 1),
        form("half", 200, 0, 2),
        form("slow half", 200, 0, 3),
        form("same half", 200, 0, 2),
        form("quarter", 100, 500, 4),
        form("bad", 50, 50_000, 4),
    )
    output = OutputMeasured((("g", "s"),), (100,), 10, 400, forms)
    assert [one.form for one in worth_placing(output, 10_000)] == ["half", "quarter"]
    assert [one.form for one in worth_placing(output, 0)] == ["half"]


def test_a_graph_without_a_budget_gets_one(workload: Workload) -> None:
    packs = {("loud", "louder"): [Packing(form="int8", accuracy_loss_ppm=7)]}
    assert with_packs(workload, packs, 5).graphs[0].accuracy_loss_ppm_max == 100_000, "it has one"
    bare = workload.graphs[0].model_copy(update={"accuracy_loss_ppm_max": None})
    packed = with_packs(workload.with_graphs(bare), packs, 5)
    assert packed.graphs[0].accuracy_loss_ppm_max == 5
    assert merge(packed).stage("louder.packed").bound.accuracy_loss_ppm == {"float32": 0, "int8": 7}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gated.toml"
    path.write_text(GATED)
    return path


def test_the_command_writes_a_workload_that_can_be_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = path.parent / "packed.toml"
    given = ["--data", "demo", "--stage", "mel", "--runs", "8", "--form", "float16", "--form", "int8"]
    assert main(["pack", str(path), *given, "--out", str(out), "--wide"]) == 0
    printed = capsys.readouterr()
    assert "ears.mel: (23, 40), 3,680 bytes as it is" in printed.out
    assert "pack = [{ form = " in printed.out and f"written: {out}" in printed.err
    packed = Workload.from_file(out)
    stages = {stage.name: stage.bound for stage in merge(packed).stages}
    assert list(stages["mel.packed"].params) == ["float32", "float16", "int8"]
    assert stages["mel.packed"].sent_bytes("int8") == 948
    assert packed.graphs[0].accuracy_loss_ppm_max == 10_000
    (line,) = (line.strip() for line in printed.out.splitlines() if line.strip().startswith("pack = "))
    path.write_text(GATED.replace('gate = "loud" }', f'gate = "loud", {line} }}'))
    assert Workload.from_file(path).graphs[0].stages == packed.graphs[0].stages, "as pasted from the terminal"


def test_the_command_has_every_figure_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(path), "--data", "demo", "--stage", "ears.mel", "--runs", "4", "--json"]) == 0
    (output,) = json.loads(capsys.readouterr().out)
    assert output["stages"] == ["ears.mel"] and output["plain_bytes"] == 3_680
    assert output["forms"][0]["form"] == "float32" and output["forms"][0]["verdict"] == "as it is"


def test_the_command_says_where_nothing_is_left(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", "demo", "--stage", "mel", "--runs", "4", "--form", "int4", "--loss-max", "0"]
    assert main(["pack", str(path), *given, "--out", str(path.parent / "none.toml")]) == 1
    assert "no form of any output is left" in capsys.readouterr().err
    assert not (path.parent / "none.toml").exists()
    assert main(["pack", str(path), "--data", "demo", "--stage", "nothing"]) == 2
    assert "no stage is called `nothing`" in capsys.readouterr().err
