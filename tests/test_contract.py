"""The contract of backends, run over every backend that is installed, and over the example of the documentation."""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hexagon_tools import needs_tools
from leo_backends.tflite_package import installed
from leo_runtime.backend import Backend, registry
from leo_runtime.backend.stage_identity import identity
from leo_runtime.clock import WallClock
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.operators import BUILT_IN
from leo_runtime.serving.limits import Limits
from leo_runtime.serving.server import Server
from leo_runtime.serving.service import Service
from leo_runtime.serving.stages import ServedStage
from leo_runtime.testing import BackendContract, Example, FakeBackend, Tolerance, example, examples
from small_networks import two_heads

DOCS = Path(__file__).parent.parent / "docs"
TINY = Path(__file__).parent / "models" / "tiny.tflite"
STEPS = {"model": TINY, "output_shape": (2,), "rows_per_step": 1, "average_steps": 2}


def documented(name: str) -> ModuleType:
    """A module of the documentation's examples."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def networks(folder: Path) -> tuple[Example, ...]:
    """Stages that are networks with two outputs, of float32 and of int8; none without what runs the reference."""
    if installed() is None:
        return ()
    image = np.random.default_rng(3).uniform(-2, 2, (1, 8, 8, 3)).astype(np.float32)
    found = []
    for name, int8 in (("float network", False), ("int8 network", True)):
        path = folder / f"{name}.tflite"
        path.write_bytes(write_model(two_heads(int8=int8)))
        found.append(example(name, "model", [image], model=path))
    return tuple(found)


INT8 = {"int8 network": Tolerance(0.051, 0)}
"""LiteRT scales sums in float32, which may come to the next integer: one step of the outputs' scale."""


def missing(name: str) -> str:
    """Why a backend is not here, or nothing."""
    status = next(status for status in registry.available() if status.name == name)
    return "" if status.available else status.missing


class TestCpu(BackendContract):
    """Also with the operators that need more than numpy; where that is missing, the CPU does not claim them."""

    def make_backend(self) -> Backend:
        return registry.create(Processor(name="cpu", backend="cpu"))

    def make_examples(self, folder: Path) -> tuple[Example, ...]:
        row = np.array([0.5, -1, 2], np.float32)
        sound = (0.1 * np.sin(np.arange(4_000) / 5)).astype(np.float32)
        return (
            *examples(folder),
            *networks(folder),
            example("small model", "tflite", [row], model=TINY, output_shape=(2,)),
            example("model by steps", "tflite", [np.stack([row, -row])[..., None]], **STEPS),
            example("front end", "micro_features", [sound]),
        )


class TestCpuWithThreads(BackendContract):
    """The same as one thread, but for the last bits: rows meet in other groups."""

    def make_backend(self) -> Backend:
        return registry.create(Processor(name="cpu", backend="cpu", options={"threads": 3}))


class TestDsp(BackendContract):
    """docs/dsp.md says where these come from."""

    tolerances: Mapping[str, Tolerance] = {
        "window": Tolerance(8e-6, 0),
        "energy_gate": Tolerance(2e-4, 0),
        "energy of quiet voice": Tolerance(0.1, 0),
        "voice_gate": Tolerance(2e-5, 0),
        "log_mel": Tolerance(0.05, 0),
        "mfcc": Tolerance(0.5, 0),
        "gmm": Tolerance(0.05, 1e-4),
        "dense": Tolerance(5e-4, 5e-4),
        "motion_features": Tolerance(5e-3, 0),
        "fuse": Tolerance(1e-4, 1e-4),
        **INT8,
    }

    def make_backend(self) -> Backend:
        return registry.create(Processor(name="dsp", backend="dsp", lanes=3, active_mw=40))

    def make_examples(self, folder: Path) -> tuple[Example, ...]:
        return (*examples(folder), *networks(folder))


@needs_tools
class TestDspOnHexagon(TestDsp):
    """The same fixed point, computed by programs of the DSP's own instructions."""

    def make_backend(self) -> Backend:
        options = {"arithmetic": "hexagon"}
        return registry.create(Processor(name="dsp", backend="dsp", lanes=3, active_mw=40, options=options))


@pytest.mark.skipif(bool(missing("opencl")), reason=f"no OpenCL here: {missing('opencl')}")
class TestOpenCl(BackendContract):
    tolerances: Mapping[str, Tolerance] = {
        "log_mel": Tolerance(1e-3, 1e-4),
        "mfcc": Tolerance(1e-2, 1e-4),
        "gmm": Tolerance(1e-3, 1e-4),
        **INT8,
    }

    def make_backend(self) -> Backend:
        return registry.create(Processor(name="gpu", backend="opencl"))

    def make_examples(self, folder: Path) -> tuple[Example, ...]:
        return (*examples(folder), *networks(folder))


class StageServer:
    """A server whose stages are loaded when they are first tried."""

    def __init__(self, cpu: Backend) -> None:
        self.cpu, self.known = cpu, set[str]()
        clock = WallClock()
        self.service = Service([], Limits(workers=2), clock)
        self.server = Server(self.service, ("127.0.0.1", 0), clock)
        self.server.start()

    def require(self, stage: BoundStage) -> None:
        if identity(stage, DEFAULT_VARIANT) not in self.known:
            served = ServedStage(stage, DEFAULT_VARIANT, self.cpu)
            self.service.add(served, served.identity)
            self.known.add(served.identity)


@pytest.fixture(scope="module")
def stage_server() -> Iterator[StageServer]:
    with closing(registry.create(Processor(name="server", backend="cpu"))) as cpu:
        one = StageServer(cpu)
        yield one
        assert one.server.stop()


class TestRemote(BackendContract):
    """Whatever the CPU runs, run by a server: the same bytes."""

    tolerances: Mapping[str, Tolerance] = dict.fromkeys(BUILT_IN, Tolerance(0, 0))

    @pytest.fixture(autouse=True)
    def _served(self, stage_server: StageServer) -> None:
        self.served = stage_server

    def make_backend(self) -> Backend:
        options = {"url": self.served.server.url}
        return registry.create(Processor(name="cloud", backend="remote", remote=True, options=options))

    def make_examples(self, folder: Path) -> tuple[Example, ...]:
        made = (*examples(folder), *networks(folder))
        for one in made:
            self.served.require(one.stage)
        return made


class TestExample(BackendContract):
    tolerances: Mapping[str, Tolerance] = {"dense": Tolerance(0.01, 0.01)}

    def make_backend(self) -> Backend:
        backend: Backend = documented("turbo").TurboBackend(Processor(name="turbo", backend="turbo"))
        return backend


def test_every_backend_that_ships_is_tried_here() -> None:
    assert {status.name for status in registry.available() if status.package == "leo-runtime"} == {
        "cpu",
        "dsp",
        "opencl",
        "remote",
    }


def test_the_contract_tries_every_operator_that_needs_numpy_alone(tmp_path: Path) -> None:
    tried = {one.stage.operator.name for one in examples(tmp_path)}
    assert tried == {
        "window",
        "energy_gate",
        "voice_gate",
        "log_mel",
        "mfcc",
        "gmm",
        "dense",
        "motion_features",
        "fuse",
        "crop",
        "score_gate",
        "anchor_box",
        "landmark_box",
        "total_variation",
        "patches",
        "hard_patches",
        "patch_gate",
        "stitch",
    }


def test_examples_are_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for one, other in zip(examples(tmp_path / "a"), examples(tmp_path / "b"), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(one.inputs, other.inputs, strict=True))


class Broken(FakeBackend):
    """Breaks one law after another."""

    def __init__(self, law: str) -> None:
        super().__init__(operators=["fuse"])
        self.law = law

    def load(self, stage, variant, /):  # type: ignore[no-untyped-def]  # whatever a broken backend may do
        if self.law != "loads anything":
            super().load(stage, variant)
        runs = []
        kept = np.zeros(stage.output_shape, np.float32)

        def kernel(inputs):  # type: ignore[no-untyped-def]
            if self.law != "takes any shape" and tuple(i.shape for i in inputs) != stage.input_shapes:
                return FakeBackend().load(stage, variant)(inputs)
            runs.append(1)
            output = np.mean(inputs, axis=0, dtype=np.float64).astype(np.float32)
            if stage.params[variant].weights:
                output = sum(w * i for w, i in zip(stage.params[variant].weights, inputs, strict=True))
            if self.law == "is wrong":
                output = output + 0.01
            if self.law == "gives float64":
                output = output.astype(np.float64)
            if self.law == "writes to its inputs":
                inputs[0][...] = 0
            if self.law == "remembers":
                output = output + np.float32(1e-7) * len(runs) * np.abs(output)
            if self.law == "overwrites":
                kept[...] = output
                output = kept
            return output

        return kernel


@pytest.mark.parametrize(
    "law",
    [
        "loads anything",
        "takes any shape",
        "is wrong",
        "gives float64",
        "writes to its inputs",
        "remembers",
        "overwrites",
    ],
)
def test_the_contract_finds_what_is_broken(law: str, tmp_path: Path) -> None:
    assert not broken_laws("keeps them all", tmp_path)
    assert broken_laws(law, tmp_path), f"nothing is wrong with a backend that {law}"


def broken_laws(law: str, folder: Path) -> list[str]:
    class Contract(BackendContract):
        def make_backend(self) -> Backend:
            return Broken(law)

        def make_examples(self, _folder: Path) -> tuple[Example, ...]:
            values = np.linspace(-3, 5, 8, dtype=np.float32).reshape(2, 4)
            weighted = example("weighted", "fuse", [values, values * 2], weights=(0.25, -1.0))
            return (example("plain", "fuse", [values, -values * 3]), weighted)

    contract, found = Contract(), []
    for name in dir(contract):
        if name.startswith("test_"):
            arguments = () if name == "test_closing_twice_is_fine" else (folder,)
            try:
                getattr(contract, name)(*arguments)
            except AssertionError:
                found.append(name)
    return found


def test_a_backend_that_claims_no_example_is_told_the_way_out(tmp_path: Path) -> None:
    class Contract(BackendContract):
        def make_backend(self) -> Backend:
            return FakeBackend(operators=["mine"])

    with pytest.raises(AssertionError, match=r"supports none of the examples; override make_examples"):
        Contract().test_it_claims_something(tmp_path)


def test_a_fake_gives_what_it_was_told(tmp_path: Path) -> None:
    one = example("sum", "fuse", [np.ones(3, np.float32)])
    backend = FakeBackend(outputs={"sum": 2.5}, device_us=7)
    kernel = backend.load(one.stage, "default")
    assert kernel(one.inputs).tolist() == [2.5, 2.5, 2.5]
    assert kernel.timed(one.inputs).device_us == 7  # type: ignore[attr-defined]  # a fake with a time is a timed kernel
    assert backend.loaded == ["sum"] and backend.ran == ["sum", "sum"]


def snippet(name: str) -> str:
    """A piece of Python of docs/backends.md, by the comment before it."""
    after = (DOCS / "backends.md").read_text().split(f"<!-- test: {name} -->")[1]
    return after.split("```python\n")[1].split("```")[0]


def test_the_documented_operator_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = snippet("own_operator")
    assert len([line for line in code.splitlines() if line]) <= 10
    (tmp_path / "leo_documented.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    signal = np.array([0, 1, 2, 0, 3, 1, 0], np.float32)
    tried = example("steps", "leo_documented:peaks", [signal], height=0.75)
    backend = registry.create(Processor(name="cpu", backend="cpu"))
    assert backend.load(tried.stage, "default")(tried.inputs).tolist() == [2]
    assert tried.stage.work("default").macs == 7


def test_the_documented_contract_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(DOCS / "examples")
    found: dict[str, type[BackendContract]] = {}
    exec(snippet("contract"), found)
    found["TestTurbo"]().test_it_agrees_with_the_reference(tmp_path)
