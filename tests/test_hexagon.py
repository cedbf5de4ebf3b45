"""The Hexagon programs: the machine that runs them, and every operator bit for bit as in fixed point."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recorded
from fixed_plans import CASES
from hexagon_tools import needs_tools
from leo_backends.dsp import DspBackend
from leo_backends.dsp.hexagon import HexagonMachine
from leo_backends.dsp.hexagon import machine as hexagon_machine
from leo_backends.dsp.hexagon.machine import MODELS
from leo_backends.dsp.hexagon.operators import load
from leo_backends.dsp.hexagon.toolchain import SOURCES, TARGETS, build, find_toolchain
from leo_backends.dsp.operators import OPERATORS, PROGRAMS, name_of
from leo_backends.dsp.packets import PACKETS
from leo_runtime import cli
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import DeviceUnavailableError, KernelError
from leo_runtime.testing import examples

# The machine is started once for all examples, and it keeps nothing of an example but its weights.
exhaustively = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module", params=sorted(TARGETS))
def machine(request: pytest.FixtureRequest) -> Iterator[HexagonMachine]:
    machine = HexagonMachine(request.param)
    yield machine
    machine.close()


@pytest.fixture
def own_machine() -> Iterator[HexagonMachine]:
    machine = HexagonMachine()
    yield machine
    machine.close()


def test_absent_tools_are_named_with_the_line_that_installs_them(tmp_path: Path) -> None:
    (tmp_path / "clang").write_text("#!/bin/sh\n")
    (tmp_path / "clang").chmod(0o755)
    with pytest.raises(DeviceUnavailableError, match=r"needs ld\.lld, qemu-hexagon, not found") as caught:
        find_toolchain(str(tmp_path))
    assert "apt-get install qemu-user clang lld" in caught.value.hint


def test_the_path_of_the_process_is_what_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceUnavailableError, match=r"needs clang, ld\.lld, qemu-hexagon"):
        HexagonMachine()


@pytest.mark.once
@needs_tools
def test_a_program_is_built_once_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    tools = find_toolchain()
    program = build(tools, "v5", tmp_path)
    made = program.stat().st_mtime_ns
    assert build(tools, "v5", tmp_path) == program
    assert program.stat().st_mtime_ns == made
    assert list(tmp_path.iterdir()) == [program]


@needs_tools
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(DeviceUnavailableError, match="cannot be built there") as caught:
        HexagonMachine(directory=blocked / "below")
    assert "XDG_CACHE_HOME" in caught.value.hint


@needs_tools
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000, 300_001])
def test_what_goes_in_comes_back(machine: HexagonMachine, size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    model = machine.load("copy", [])
    assert model.run([data]).output == data.tobytes()


@needs_tools
def test_counts_are_the_same_at_every_run(own_machine: HexagonMachine) -> None:
    model = own_machine.load("copy", [1, 2, 3])
    runs = [model.run([np.zeros(5, np.int16)]) for _ in range(3)]
    assert runs[0].packets > 0
    assert runs[0].instructions >= runs[0].packets
    assert runs == [runs[0]] * 3


@needs_tools
def test_a_program_that_dies_is_an_error_and_the_next_run_starts_anew(own_machine: HexagonMachine) -> None:
    model = own_machine.load("copy", [])
    other = own_machine.load("copy", [])
    assert own_machine.pid is not None
    os.kill(own_machine.pid, signal.SIGKILL)
    with pytest.raises(KernelError, match="ended with -9"):
        model.run([np.arange(3)])
    assert own_machine.pid is None
    for again in (other, model):
        assert again.run([np.arange(3)]).output == np.arange(3).tobytes()


@needs_tools
def test_a_program_that_hangs_is_ended(own_machine: HexagonMachine) -> None:
    model = own_machine.load("copy", [])
    assert own_machine.pid is not None
    os.kill(own_machine.pid, signal.SIGSTOP)
    own_machine.timeout_s = 0.01
    with pytest.raises(KernelError, match=r"did not answer within 0\.01 s"):
        model.run([np.arange(3)])
    assert own_machine.pid is None


@needs_tools
def test_closing_does_not_wait_for_a_run_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = HexagonMachine(timeout_s=1e6)
    model = machine.load("copy", [])
    assert machine.pid is not None
    os.kill(machine.pid, signal.SIGSTOP)
    asked, ask = threading.Event(), machine._ask

    def told(*request: Any) -> Any:
        asked.set()
        return ask(*request)

    errors: list[str] = []

    def run() -> None:
        with pytest.raises(KernelError) as error:
            model.run([np.arange(3)])
        errors.append(str(error.value))

    monkeypatch.setattr(machine, "_ask", told)
    thread = threading.Thread(target=run)
    thread.start()
    asked.wait()
    machine.close()
    thread.join()
    assert errors == ["the Hexagon program ended with -9 while it ran a stage"]


@needs_tools
def test_closing_ends_the_process_and_further_use_is_refused() -> None:
    machine = HexagonMachine()
    model = machine.load("copy", [])
    pid = machine.pid
    assert pid is not None
    machine.close()
    machine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(KernelError, match="was closed"):
        model.run([np.arange(3)])


@needs_tools
def test_a_request_the_program_cannot_serve_is_refused_and_the_next_one_served(
    own_machine: HexagonMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = own_machine.load("copy", [])
    monkeypatch.setattr(hexagon_machine, "PROGRAMS", (*PROGRAMS, "one more"))
    with pytest.raises(KernelError, match="does not know the operator"):
        own_machine.load("one more", [])
    with pytest.raises(KernelError, match="cannot read the request"):
        good.run([np.arange(3), np.arange(3)])
    with pytest.raises(KernelError, match="no memory left"):
        good.run([np.zeros(40_000_000, np.uint8)])
    assert good.run([np.arange(3)]).output == np.arange(3).tobytes()


@needs_tools
def test_a_full_program_starts_anew_and_loads_again_what_is_used(own_machine: HexagonMachine) -> None:
    models = [own_machine.load("copy", [], [np.zeros(30_000_000, np.uint8)]) for _ in range(4)]
    small = [own_machine.load("copy", []) for _ in range(MODELS)]
    for model in (models[0], small[0], models[3], small[-1]):
        assert model.run([np.arange(3)]).output == np.arange(3).tobytes()


def test_every_operator_of_the_dsp_is_tried() -> None:
    assert set(CASES) == set(OPERATORS)


def test_every_operator_has_its_program_and_its_packets() -> None:
    sources = "".join(path.read_text() for path in SOURCES.glob("*.c"))
    assert sorted(re.findall(r"^u32 (\w+)_run\(", sources, re.MULTILINE)) == sorted(PROGRAMS)
    for target, known in PACKETS.items():
        assert set(known) == set(OPERATORS), target


@needs_tools
@pytest.mark.parametrize("operator", sorted(CASES))
@exhaustively
@given(data=st.data())
def test_the_program_computes_the_same_integers(machine: HexagonMachine, operator: str, data: st.DataObject) -> None:
    plan, inputs = CASES[operator](lambda low, high: data.draw(st.integers(low, high)))
    expected = OPERATORS[operator].run(plan, inputs)
    computed = load(machine, OPERATORS[operator], plan)(inputs)
    assert computed.shape == expected.shape
    np.testing.assert_array_equal(computed, expected)


def dsp(**options: object) -> Processor:
    return Processor(name="dsp", backend="dsp", lanes=3, active_mw=40, options=options)


@needs_tools
def test_the_backend_answers_the_same_floats_with_counted_times(tmp_path: Path) -> None:
    by_numpy, by_programs = DspBackend(dsp()), DspBackend(dsp(arithmetic="hexagon"))
    tried = [one for one in examples(tmp_path) if by_numpy.supports(one.stage, DEFAULT_VARIANT)]
    for one in tried:
        modelled = by_numpy.load(one.stage, DEFAULT_VARIANT).timed(one.inputs)
        counted = by_programs.load(one.stage, DEFAULT_VARIANT).timed(one.inputs)
        np.testing.assert_array_equal(counted.output, modelled.output)
        assert counted.device_us >= by_programs.options.call_us
        assert counted.device_nj == 40 * counted.device_us
    assert {name_of(one.stage.operator.name, one.stage.params[DEFAULT_VARIANT]) for one in tried} == set(OPERATORS)
    by_programs.close()


def test_without_the_tools_only_the_programs_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    DspBackend(dsp()).close()
    with pytest.raises(DeviceUnavailableError, match="the Hexagon instruction set needs clang"):
        DspBackend(dsp(arithmetic="hexagon"))


def replay(*arguments: str) -> int:
    own = ("recording", "--workload", "workload.json", "--hardware", "machine.json", "--profile", "profile.json")
    return cli.main(["replay", *own, "--virtual", "--no-compare", "--solver", "dsp-first", *arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_tools
def test_a_replay_on_the_programs_writes_the_same_log(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arithmetic in ("numpy", "hexagon"):
        assert replay("--dsp", arithmetic, "--out", arithmetic) == 0
        assert "not here" not in capsys.readouterr().out
    logs = [(folder / name / "beeps.virtual" / "log.jsonl").read_bytes() for name in ("numpy", "hexagon")]
    (head, after), (other_head, other_after) = (log.split(b"\n", 1) for log in logs)
    assert after == other_after
    assert head.replace(b'"numpy"', b'"hexagon"') == other_head
    assert b'"resource":"dsp"' in after


def test_a_replay_that_asks_for_the_programs_must_have_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert replay("--dsp", "hexagon") == 2
    assert "needs clang, ld.lld, qemu-hexagon" in capsys.readouterr().err
    assert replay("--dsp", "numpy") == 0


def test_a_replay_on_a_dsp_needs_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = json.loads((folder / "machine.json").read_text())
    machine["processors"], machine["links"] = machine["processors"][:1], []
    (folder / "machine.json").write_text(json.dumps(machine))
    assert replay("--dsp", "hexagon") == 2
    assert "`desk` has none" in capsys.readouterr().err
