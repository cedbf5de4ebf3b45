"""Backends are found by entry points; whatever is wrong with one is said, and does not hide the others."""

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from leo_runtime import cli
from leo_runtime.backend import ENTRY_POINTS, Kernel, registry
from leo_runtime.backend.guard import guarded
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import BackendError, DeviceUnavailableError, KernelError, MissingExtraError, in_words
from leo_runtime.measure import tune
from leo_runtime.testing import FakeBackend, example


def fake(_processor: Processor) -> FakeBackend:
    return FakeBackend()


def no_device(_processor: Processor) -> FakeBackend:
    raise DeviceUnavailableError("there is no such device", hint="plug it in")


def no_package(_processor: Processor) -> FakeBackend:
    raise MissingExtraError("the backend", "opencl")


def exits(_processor: Processor) -> FakeBackend:
    raise SystemExit(7)


def broken(_processor: Processor) -> FakeBackend:
    raise ValueError("a mistake of theirs")


def nothing(_processor: Processor) -> None:
    return None


class Odd(FakeBackend):
    """Fails wherever it can once it is made."""

    closings = 0

    @property
    def lacks(self) -> tuple[MissingExtraError, ...]:
        raise ValueError("no idea")

    def close(self) -> None:
        Odd.closings += 1
        raise ValueError("and stuck")


class Stuck(FakeBackend):
    def close(self) -> None:
        raise SystemExit("stuck")


class Incomplete(FakeBackend):
    """Is here, and lacks two extras, one of them for two operators."""

    @property
    def lacks(self) -> tuple[MissingExtraError, ...]:
        return tuple(MissingExtraError(what, what[0]) for what in ("beeps", "clicks", "bells"))


@pytest.fixture
def plugins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extra = getattr(request, "param", {})
    module: Any = ModuleType("leo_test_plugins")
    module.fake, module.no_device, module.no_package = fake, no_device, no_package
    module.exits, module.broken, module.nothing = exits, broken, nothing
    module.Odd, module.Stuck, module.Incomplete = lambda _: Odd(), lambda _: Stuck(), lambda _: Incomplete()
    monkeypatch.setitem(sys.modules, "leo_test_plugins", module)
    (tmp_path / "leo_test_exiting.py").write_text("raise SystemExit('at import')")
    (tmp_path / "leo_test_syntax.py").write_text("def :")
    monkeypatch.syspath_prepend(tmp_path)
    targets = {
        "works": "leo_test_plugins:fake",
        "absent": "leo_test_plugins:no_device",
        "lacking": "leo_test_plugins:no_package",
        "torn": "leo_test_no_such_module:fake",
        "renamed": "leo_test_plugins:gone",
    } | extra
    points = tuple(EntryPoint(name, target, ENTRY_POINTS) for name, target in targets.items())
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == ENTRY_POINTS else ())


def processor(backend: str) -> Processor:
    return Processor(name="mine", backend=backend)


@pytest.mark.usefixtures("plugins")
def test_status_tells_what_is_missing_and_how_to_get_it() -> None:
    status = {one.name: one for one in registry.available()}
    assert list(status) == ["absent", "lacking", "renamed", "torn", "works"]
    assert [one.name for one in status.values() if one.available] == ["works"]
    assert (status["absent"].missing, status["absent"].hint) == ("there is no such device", "plug it in")
    assert status["lacking"].hint == "pip install 'leo-runtime[opencl]'"
    assert "cannot be imported" in status["torn"].missing


@pytest.mark.usefixtures("plugins")
def test_create_gives_the_backend_or_its_own_error() -> None:
    assert registry.create(processor("works")).name == "fake"
    with pytest.raises(DeviceUnavailableError, match="there is no such device"):
        registry.create(processor("absent"))
    with pytest.raises(MissingExtraError):
        registry.create(processor("lacking"))
    for broken in ("torn", "renamed"):
        with pytest.raises(BackendError, match="cannot be imported"):
            registry.create(processor(broken))


FAULTY = {
    "exits": ("leo_test_plugins:exits", r"cannot be opened \(SystemExit: 7\)"),
    "broken": ("leo_test_plugins:broken", r"cannot be opened \(ValueError: a mistake of theirs\)"),
    "nothing": ("leo_test_plugins:nothing", "is no backend: its entry point gives NoneType"),
    "exiting": ("leo_test_exiting:fake", r"cannot be imported \(SystemExit: at import\)"),
    "syntax": ("leo_test_syntax:fake", r"cannot be imported \(SyntaxError: "),
    "odd": ("leo_test_plugins:Odd", r"does not say what it is \(ValueError: no idea\)"),
}


@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.parametrize("plugins", [{n: target for n, (target, _) in FAULTY.items()}], indirect=True, ids=["faulty"])
def test_a_backend_that_raises_anything_is_unavailable_and_the_others_are_there(name: str, plugins: None) -> None:
    says = FAULTY[name][1]
    with pytest.raises(BackendError, match=says):
        registry.create(processor(name))
    status = {one.name: one for one in registry.available()}
    assert [one.name for one in status.values() if one.available] == ["works"]
    assert re.search(says, status[name].missing) and status[name].hint


@pytest.mark.parametrize("plugins", [{"odd": FAULTY["odd"][0]}], indirect=True, ids=["odd"])
def test_a_backend_that_does_not_say_what_it_is_is_closed(plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "closings", 0)
    with pytest.raises(BackendError, match="does not say what it is"):
        registry.create(processor("odd"))
    assert Odd.closings == 1


@pytest.mark.parametrize("plugins", [{"stuck": "leo_test_plugins:Stuck"}], indirect=True, ids=["stuck"])
def test_a_backend_that_fails_to_close_is_listed_with_that(plugins: None) -> None:
    status = {one.name: one for one in registry.available()}
    assert "backend `fake` of package" not in status["stuck"].missing  # This entry point is of no package.
    assert "failed to close (SystemExit: stuck)" in status["stuck"].missing


@pytest.mark.parametrize("plugins", [{"broken": FAULTY["broken"][0]}], indirect=True, ids=["broken"])
def test_the_command_lists_what_a_broken_backend_raised(plugins: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["backends"]) == 0
    assert "a mistake of theirs" in capsys.readouterr().out


@pytest.mark.parametrize("plugins", [{"less": "leo_test_plugins:Incomplete"}], indirect=True, ids=["less"])
def test_all_that_a_backend_lacks_is_installed_by_one_command(plugins: None) -> None:
    status = {one.name: one for one in registry.available()}["less"]
    assert status.available and status.missing.count("needs the extra `b`") == 2
    assert status.hint == "pip install 'leo-runtime[b,c]'"


class Raising(FakeBackend):
    def supports(self, stage: BoundStage, variant: str, /) -> bool:
        raise SystemExit("cannot say")

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        raise RuntimeError("cannot load")


def test_what_a_backend_raises_when_it_is_used_names_it_and_its_package() -> None:
    tried = example("sum", "fuse", [np.ones(3, np.float32)])
    made = guarded(Raising(), "kit")
    with pytest.raises(BackendError, match=r"`fake` of package `kit` cannot say whether .* \(SystemExit: cannot say\)"):
        made.supports(tried.stage, "default")
    with pytest.raises(
        KernelError, match=r"`fake` of package `kit` failed to load stage `sum` \(RuntimeError: "
    ) as raised:
        made.load(tried.stage, "default")
    assert "package `kit`" in raised.value.hint


def test_the_users_interrupt_is_no_fault_of_a_backend() -> None:
    with pytest.raises(KeyboardInterrupt), in_words("it failed"):
        raise KeyboardInterrupt


def test_a_tuner_that_raises_anything_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "leo_test_tuner.py").write_text("def tune(*_, **__):\n    raise SystemExit('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for target, says in (("leo_test_tuner:tune", r"failed \(SystemExit: no\)"), ("leo_test_tuner:gone", "imported")):
        points = (EntryPoint("npu", target, tune.ENTRY_POINTS),)
        monkeypatch.setattr(tune, "entry_points", lambda group, points=points: points)
        with pytest.raises(BackendError, match=says):
            tune.tune(processor("npu"), [], tries=1)


@pytest.mark.usefixtures("plugins")
def test_unknown_backends_are_named_with_those_there_are() -> None:
    with pytest.raises(DeviceUnavailableError, match="`mine` wants backend `npu`") as raised:
        registry.create(processor("npu"))
    assert raised.value.hint == "installed backends: absent, lacking, renamed, torn, works"


def test_nothing_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: ())
    with pytest.raises(DeviceUnavailableError) as raised:
        registry.create(processor("cpu"))
    assert "pip install -e ." in raised.value.hint
    assert registry.available() == ()


def test_what_ships_is_found() -> None:
    status = {one.name: one for one in registry.available()}
    assert status["cpu"].available and status["dsp"].available
    assert status["cpu"].package == "leo-runtime"


def test_what_some_operators_lack_is_told_of_a_backend_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_backends.tflite_package.PACKAGES", ("no_such_interpreter",))
    cpu = next(one for one in registry.available() if one.name == "cpu")
    assert cpu.available
    assert "the operator `tflite` needs the extra `tflite`" in cpu.missing
    # The first of what it lacks: there may be more.
    assert cpu.hint.startswith("pip install 'leo-runtime[tflite")
