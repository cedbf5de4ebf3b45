"""Policies side by side compute each value once, by the reference, where their own backends could run it."""

from dataclasses import replace

import numpy as np
import pytest

import recorded
from leo_backends.cpu import CpuBackend
from leo_runtime.documents.binding import bind
from leo_runtime.documents.hardware import Processor
from leo_runtime.replay import shared_kernels
from leo_runtime.replay.shared_kernels import SharedKernels


class OddBackend(CpuBackend):
    """Supports energy gates alone, and must never compute."""

    name = "odd"

    def __init__(self, _processor: Processor) -> None:
        super().__init__(Processor(name="odd", backend="odd"))

    def supports(self, stage, variant, /):
        return stage.operator.name == "energy_gate"

    def load(self, stage, variant, /):
        raise AssertionError("the reference computes")


@pytest.fixture
def once(tmp_path, monkeypatch):
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "leo_runtime.backend.registry.create", lambda p: (OddBackend if p.backend == "dsp" else CpuBackend)(p)
    )
    made = SharedKernels(recorded.load_all(tmp_path)[1])
    yield made
    made.close()


def test_values_are_shared_kernels_wherever_they_are_asked_for(once, tmp_path):
    workload = recorded.load_all(tmp_path)[0]
    stages = bind(workload.graphs[0], workload)
    gate = stages["any"]
    sound = np.linspace(-1, 1, recorded.RATE_HZ // 2, dtype=np.float32)
    on_cpu = once.backends["cpu"].load(gate, "default")([sound])
    on_dsp = once.backends["dsp"].load(gate, "default")([sound.copy()])
    assert on_dsp is on_cpu
    assert once.backends["dsp"].load(gate, "default")([sound * 0.5]) is not on_cpu


def test_stages_of_one_name_in_two_graphs_compute_what_is_theirs(once, tmp_path):
    """The second gave what the first computes: policies that were compared failed, or had other gates."""
    workload = recorded.load_all(tmp_path)[0]
    gate = bind(workload.graphs[0], workload)["any"]
    sound = np.linspace(-1, 1, recorded.RATE_HZ // 2, dtype=np.float32)
    stricter = gate.params["default"].model_copy(update={"threshold_dbfs": 100.0})
    namesake = replace(gate, params={"default": stricter})
    first = once.backends["cpu"].load(gate, "default")([sound])
    second = once.backends["cpu"].load(namesake, "default")([sound])
    assert (first > 0, second > 0) == (True, False)


def test_where_a_stage_may_run_is_asked_of_the_backend_itself(once, tmp_path):
    workload = recorded.load_all(tmp_path)[0]
    stages = bind(workload.graphs[0], workload)
    assert once.backends["dsp"].supports(stages["any"], "default")
    assert not once.backends["dsp"].supports(stages["features"], "default")
    assert once.backends["cpu"].supports(stages["features"], "default")


def test_a_reader_cannot_spoil_what_is_remembered(once, tmp_path):
    workload = recorded.load_all(tmp_path)[0]
    gate = bind(workload.graphs[0], workload)["any"]
    sound = np.linspace(-1, 1, recorded.RATE_HZ // 2, dtype=np.float32)
    kernel = once.backends["cpu"].load(gate, "default")
    with pytest.raises(ValueError, match="read-only"):
        kernel([sound])[...] = 7
    assert kernel([sound]) != 7


def test_what_is_remembered_is_bounded_and_what_is_not_is_right_all_the_same(once, tmp_path, monkeypatch):
    """Ten minutes of the demo kept 300 MB."""
    monkeypatch.setattr(shared_kernels, "REMEMBERED_BYTES", 3 * 4)
    workload = recorded.load_all(tmp_path)[0]
    kernel = once.backends["cpu"].load(bind(workload.graphs[0], workload)["any"], "default")
    sounds = [np.full(recorded.RATE_HZ // 2, level, np.float32) for level in (0.1, 0.2, 0.3, 0.4)]
    first = [kernel([sound]) for sound in sounds]
    again = [kernel([sound]) for sound in sounds]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, True, False]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_windows_are_made_anew_and_not_remembered(once, tmp_path):
    workload = recorded.load_all(tmp_path)[0]
    window = bind(workload.graphs[0], workload)["sound"]
    sound = np.arange(recorded.RATE_HZ // 2, dtype=np.int16)
    kernel = once.backends["cpu"].load(window, "default")
    assert kernel([sound]) is not kernel([sound])
