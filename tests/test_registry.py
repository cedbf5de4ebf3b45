"""Backends are found by entry points; whatever is wrong with one is said, and does not hide the others."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from leo_runtime import registry
from leo_runtime.backend import ENTRY_POINTS
from leo_runtime.errors import BackendError, DeviceUnavailableError, MissingExtraError
from leo_runtime.hardware import Processor
from leo_runtime.testing import FakeBackend


def fake(_processor: Processor) -> FakeBackend:
    return FakeBackend()


def no_device(_processor: Processor) -> FakeBackend:
    raise DeviceUnavailableError("there is no such device", hint="plug it in")


def no_package(_processor: Processor) -> FakeBackend:
    raise MissingExtraError("the backend", "opencl")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("leo_test_plugins")
    module.fake, module.no_device, module.no_package = fake, no_device, no_package
    monkeypatch.setitem(sys.modules, "leo_test_plugins", module)
    targets = {
        "works": "leo_test_plugins:fake",
        "absent": "leo_test_plugins:no_device",
        "lacking": "leo_test_plugins:no_package",
        "torn": "leo_test_no_such_module:fake",
        "renamed": "leo_test_plugins:gone",
    }
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
    assert isinstance(registry.create(processor("works")), FakeBackend)
    with pytest.raises(DeviceUnavailableError, match="there is no such device"):
        registry.create(processor("absent"))
    with pytest.raises(MissingExtraError):
        registry.create(processor("lacking"))
    for broken in ("torn", "renamed"):
        with pytest.raises(BackendError, match="cannot be imported"):
            registry.create(processor(broken))


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
    monkeypatch.setattr("leo_backends.tflite.PACKAGES", ("no_such_interpreter",))
    cpu = next(one for one in registry.available() if one.name == "cpu")
    assert cpu.available
    assert "the operator `tflite` needs the extra `tflite`" in cpu.missing
    assert "pip install 'leo-runtime[tflite]'" in cpu.hint
