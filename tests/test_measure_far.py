"""What is measured of servers: links by two sizes, and stages on what is kept there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from leo_runtime.backend import Backend, Kernel
from leo_runtime.backend.keeping import ForgottenError, KeptArray, KeptRun, KeptValue, Passed
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware
from leo_runtime.errors import KernelError, LeoError
from leo_runtime.measure.far import FarBackend, apart, over_links, with_links
from leo_runtime.testing.fakes import FakeBackend

TRIP_US = 3_000


class Server(FakeBackend):
    """Keeps what it is sent, over a link of so many bytes a second each way."""

    keeps = True

    def __init__(self, up: int, down: int, *, refuses: bool = False) -> None:
        super().__init__()
        self._up, self._down, self._refuses = up, down, refuses
        self.kept: dict[str, np.ndarray] = {}
        self.said: list[str] = []
        self._count = 0

    def load(self, stage: BoundStage, variant: str, /) -> Kernel:
        return FarKernel(self, super().load(stage, variant))

    def keep(self, array: np.ndarray) -> KeptArray:
        self._count += 1
        self.kept[f"k{self._count}"] = array
        return KeptArray(f"k{self._count}", array.dtype, array.shape)

    def put(self, arrays: Sequence[np.ndarray], most_us: int | None, /) -> tuple[KeptValue, Passed]:
        if self._refuses:
            raise KernelError("there is no room for it")
        self.said.append("put")
        size = sum(array.nbytes for array in arrays)
        kept = KeptValue(tuple([self.keep(array) for array in arrays]))
        return kept, Passed(size, 0, TRIP_US + size * 1_000_000 // self._up)

    def fetch(self, kept: KeptValue, most_us: int | None, /) -> tuple[list[np.ndarray], Passed]:
        arrays = [self.kept[one.id] for one in kept.arrays]
        size = sum(array.nbytes for array in arrays)
        return arrays, Passed(0, size, TRIP_US + size * 1_000_000 // self._down)

    def forget(self, kept: Sequence[KeptValue], /) -> None:
        for value in kept:
            for one in value.arrays:
                del self.kept[one.id]


class FarKernel:
    def __init__(self, server: Server, kernel: Kernel) -> None:
        self._server, self._kernel = server, kernel

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        raise AssertionError("all of it would cross")

    def run(self, inputs: Sequence[np.ndarray | KeptArray], /, *, keep: bool, bring: bool) -> KeptRun:
        self._server.said.append(f"run{' keep' if keep else ''}{' bring' if bring else ''}")
        arrays = []
        for one in inputs:
            assert isinstance(one, KeptArray)
            if one.id not in self._server.kept:
                raise ForgottenError("it is not there any more")
            arrays.append(self._server.kept[one.id])
        output = self._kernel(arrays)
        kept = KeptValue((self._server.keep(output),)) if keep else None
        return KeptRun(output if bring else None, kept, 5, Passed(0, 0, TRIP_US, 5))


def machine(rate: int | None = None) -> Hardware:
    pairs = (("cpu", "cloud"), ("cloud", "cpu"), ("cpu", "dsp"), ("dsp", "cloud"))
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "split",
            "processors": [
                {"name": "cpu", "backend": "cpu"},
                {"name": "dsp", "backend": "dsp"},
                {"name": "cloud", "backend": "remote", "remote": True},
            ],
            "links": [
                {"source": source, "target": target, "energy_pj_per_byte": 7, **({"bytes_per_s": rate} if rate else {})}
                for source, target in pairs
            ],
        }
    )


@pytest.mark.parametrize(("up", "down"), [(125_000, 1_000_000), (2_000_000, 40_000_000), (10**9, 10**9)])
def test_two_sizes_give_a_link_its_rate_and_its_latency(up: int, down: int) -> None:
    server, missing = Server(up, down), list[tuple[str, LeoError]]()
    found = over_links(machine(), {"cpu": FakeBackend(), "cloud": server}, missing)
    assert missing == [] and server.kept == {}, "nothing stays there"
    by_ends = {(one.source, one.target): one for one in found}
    assert list(by_ends) == [("cpu", "cloud"), ("cloud", "cpu"), ("dsp", "cloud")], "the server's alone"
    for ends, rate in ((("cpu", "cloud"), up), (("cloud", "cpu"), down), (("dsp", "cloud"), up)):
        assert by_ends[ends].bytes_per_s == pytest.approx(rate, rel=0.01)
        assert by_ends[ends].latency_us == pytest.approx(TRIP_US / 2, rel=0.01)
    there = with_links(machine(), found)
    assert [(one.bytes_per_s, one.energy_pj_per_byte) for one in there.links][2] == (None, 7), "as it was"
    assert there.links[0].sources == {"latency_us": "measured", "bytes_per_s": "measured"}
    assert there.links[0].energy_pj_per_byte == 7
    assert Hardware.from_json(there.to_json()) == there


def test_a_link_that_cannot_be_measured_is_missing_and_stays_as_it_is() -> None:
    missing = list[tuple[str, LeoError]]()
    assert over_links(machine(), {"cloud": Server(1, 1, refuses=True)}, missing) == ()
    assert [what for what, _ in missing] == [
        "the link from cpu to cloud",
        "the link from cloud to cpu",
        "the link from dsp to cloud",
    ]
    assert with_links(machine(), ()) == machine()


def test_only_where_links_have_a_time_stages_are_measured_without_what_crosses() -> None:
    backends: dict[str, Backend] = {"cpu": FakeBackend(), "cloud": Server(1, 1)}
    assert apart(machine(), backends, measures_links=False) == backends, "else it is part of what they take"
    for given in (apart(machine(), backends, measures_links=True), apart(machine(9), backends, measures_links=False)):
        assert given["cpu"] is backends["cpu"] and isinstance(given["cloud"], FarBackend)


def test_a_stage_is_sent_its_input_once_and_gives_its_output_once(chain_stage: BoundStage) -> None:
    server = Server(1_000_000, 1_000_000)
    kernel = apart(machine(9), {"cloud": server}, measures_links=False)["cloud"].load(chain_stage, "default")
    inputs = [np.zeros(shape, np.float32) for shape in chain_stage.input_shapes]
    outputs = [kernel(inputs) for _ in range(3)]
    assert server.said == ["put", "run bring", "run keep", "run keep"]
    assert all(output is outputs[0] for output in outputs)
    assert len(server.kept) == 1, "what it gives is forgotten at once"
    server.kept.clear()
    kernel(inputs)
    assert server.said[4:] == ["run keep", "put", "run bring"], "the server needed the room"
    kernel([one + 1 for one in inputs])
    assert server.said[7:] == ["put", "run bring"]


@pytest.fixture
def chain_stage() -> BoundStage:
    from leo_runtime import shipped
    from leo_runtime.frame.lower import merge

    merged = merge(shipped.workload())
    return next(
        stage.bound for stage in merged.stages if not stage.bound.operator.is_source and not stage.bound.several
    )
