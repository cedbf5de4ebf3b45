"""Runs OpenCL kernels in a process of its own, so that a driver cannot end the tests.

python opencl_kernels.py check FOLDER    every kernel on Oclgrind, which writes what is wrong to OCLGRIND_LOG
python opencl_kernels.py short FOLDER    a kernel with less memory than it reads, which the checker must notice
python opencl_kernels.py half FOLDER     half-precision weights, which the checker reads at no cost of compiling
python opencl_kernels.py memory FOLDER   one kernel over shared, mapped and copied memory on PoCL: equal outputs
python opencl_kernels.py broken FOLDER   devices that cannot compile: passed over, or refused in words
"""

import mmap
import sys
from pathlib import Path

import numpy as np

from leo_backends.opencl import device as device_module
from leo_backends.opencl.device import OCLGRIND, POCL, Device, LoadedPlan
from leo_backends.opencl.messages import Choice
from leo_backends.opencl.plans import Family, plan_stage
from leo_backends.opencl.tune import single_step
from leo_backends.opencl.tuning import Shape, Tile, Tuning
from leo_runtime.errors import DeviceUnavailableError
from leo_runtime.operators.classifiers import DenseParameters, GmmParameters
from leo_runtime.operators.sound import MfccParameters

TILES = (
    Tile(vec=4, cols=2, rows=3),
    Tile(vec=8, cols=2, rows=2, lx=2, order=0, stage=4),
    Tile(vec=1, cols=2, rows=2, lx=4, order=0),
)
SHAPE = Shape(5, 7, 19)


def check(folder: Path) -> None:
    device = Device.open(Choice(platform=OCLGRIND))
    for kernel in ("affine", "power", "gmm"):
        for tile in TILES:
            one = tile.model_copy(update={"order": 0, "stage": 0}) if kernel == "gmm" else tile
            LoadedPlan(device, single_step(kernel, SHAPE, one)).file.close()
    for naive in (True, False):
        family = Family(Tuning(device.fingerprint), naive=naive)
        for operator, params, shape in stages(folder):
            LoadedPlan(device, plan_stage(operator, params, shape, family)).file.close()


def short(_folder: Path) -> None:
    plan = single_step("affine", SHAPE, TILES[0])
    plan.input.values = 7
    LoadedPlan(Device.open(Choice(platform=OCLGRIND)), plan).file.close()


def half(folder: Path) -> None:
    device = Device.open(Choice(platform=OCLGRIND))
    for operator, params, shape in stages(folder):
        if operator == "mfcc":
            continue
        outputs = []
        for halved in (False, True):
            family = Family(Tuning(device.fingerprint), half=halved)
            plan = LoadedPlan(device, plan_stage(operator, params, shape, family))
            with plan.file, mmap.mmap(plan.file.fileno(), 0) as shared:
                shared[: 4 * values_of(shape)] = np.linspace(-1, 1, values_of(shape), dtype=np.float32).tobytes()
                plan.run()
                y = plan.output
                outputs.append(np.frombuffer(shared[4 * plan.output_first :], np.float32)[: y.rows * y.pitch])
        lost = np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max()
        assert 1e-7 < lost < 5e-3, (operator, lost)


def values_of(shape: tuple[int, int]) -> int:
    return shape[0] * shape[1]


def memory(_folder: Path) -> None:
    device = Device.open(Choice(platform=POCL))
    outputs = []
    for is_cpu, shares in ((True, True), (False, True), (False, False)):
        device.is_cpu = is_cpu
        plan = LoadedPlan(device, single_step("affine", SHAPE, TILES[0]), shares_memory=shares)
        with plan.file, mmap.mmap(plan.file.fileno(), 0) as shared:
            values = np.frombuffer(shared, np.float32).copy()
            values[: SHAPE.rows * SHAPE.inputs] = np.linspace(-1, 1, SHAPE.rows * SHAPE.inputs)
            shared[:] = values.tobytes()
            plan.run()
            outputs.append(np.frombuffer(shared[4 * plan.output_first :], np.float32))
    assert outputs[0].any()
    for other in outputs[1:]:
        np.testing.assert_array_equal(other, outputs[0])


def broken(_folder: Path) -> None:
    """A driver offers devices that it cannot compile for, as PoCL does on a CPU newer than its compiler."""
    device_module.PROBE = "this is not a kernel"
    try:
        Device.open(Choice(platform=POCL))
    except DeviceUnavailableError as error:
        assert "cannot compile for it: " in str(error), error
        assert "pocl-opencl-icd" in error.hint
    else:
        raise AssertionError("a device that compiles nothing was taken")
    find, refused = device_module._find, []

    def twice(choice: Choice):
        return [*find(choice), *find(choice)]

    def refuse_first(self: Device) -> None:
        if not refused:
            refused.append(self)
            raise DeviceUnavailableError("it compiles nothing")

    device_module._find, Device._require_compiler = twice, refuse_first
    assert Device.open(Choice(platform=POCL)) is not refused[0]


def stages(folder: Path):
    """A small stage of each operator."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((2, 5, 3))
    np.savez(folder / "g.npz", means=means, variances=1 + means**2, log_weights=means[:, :, 0])
    np.savez(folder / "d.npz", weights_0=rng.standard_normal((6, 9)), bias_0=np.zeros(9))
    spectrum = {"frame_samples": 30, "hop_samples": 11, "fft_samples": 32, "bands": 4, "cepstra": 3}
    yield "mfcc", MfccParameters(**spectrum, preemphasis=0.9, deltas=True, normalise_mean=True), (85,)
    with_ends = {**spectrum, "remove_mean": True, "preemphasis": 0.9, "preemphasis_in": "frame", "deltas": True}
    ends = (
        {
            "edges": "centred_reflected",
            "energy": "windowed",
            "log_range": 2.0,
            "delta_window": 2,
            "spectrum": "magnitude",
        },
        {"edges": "mirrored", "energy": "raw", "energy_at": "last", "log_offset": 1.0},
        {"edges": "filled", "preemphasis_in": "signal", "energy": "spectrum", "floor_by": "clipping"},
    )
    for end in ends:
        yield "mfcc", MfccParameters(**{**with_ends, **end}), (85,)
    yield "gmm", GmmParameters(classes=2, components=5, dimensions=3, model=folder / "g.npz", first_column=1), (7, 5)
    yield (
        "dense",
        DenseParameters(layers=(9,), per_row=True, average=True, softmax=True, model=folder / "d.npz"),
        (7, 6),
    )


if __name__ == "__main__":
    {"check": check, "short": short, "half": half, "memory": memory, "broken": broken}[sys.argv[1]](Path(sys.argv[2]))
