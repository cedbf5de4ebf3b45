"""An OpenCL device: finds it, builds programs for it, runs plans on it. Only the worker process imports this module.

Programs come from the user's binary cache where they can, and go there where they may. Times are those of the device's
events, moved to the clock of `time.monotonic_ns` by a marker.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import mmap
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyopencl as cl

from leo_backends.opencl.messages import Choice
from leo_backends.opencl.plans import Buffer, Plan, Step
from leo_backends.opencl.tuning import cache_folder
from leo_runtime.errors import DeviceUnavailableError, KernelError

POCL = "Portable Computing Language"
OCLGRIND = "Oclgrind"
ALIGN_AGAIN_NS = 1_000_000_000
"""Two clocks drift: markers are repeated after a second."""
MARKERS = 5


PROBE = "__kernel void probe(__global float *values) { values[get_global_id(0)] = 1.0f; }"


class Device:
    """One OpenCL device with one queue. Raises `DeviceUnavailableError` when there is none such."""

    @classmethod
    def open(cls, choice: Choice) -> Device:
        """The first device that fits and can compile a kernel.

        A driver may offer a device that it cannot compile for: PoCL's compiler refuses every program on a CPU newer
        than itself. Raises what the first that fits raises where none can.
        """
        errors: list[DeviceUnavailableError] = []
        for device in _find(choice):
            try:
                return cls(device, choice.units)
            except DeviceUnavailableError as error:
                errors.append(error)
        raise errors[0]

    def __init__(self, device: cl.Device, units: int | None) -> None:
        """`units` None: all of the device."""
        self._device = _part_of(device, units) if units else device
        try:
            self._context = cl.Context([self._device])
            profiling = cl.command_queue_properties.PROFILING_ENABLE
            self.queue = cl.CommandQueue(self._context, properties=profiling)
        except cl.Error as error:
            raise DeviceUnavailableError(f"OpenCL device `{device.name}` cannot be opened ({error})") from None
        self.fingerprint = _fingerprint(device, self._device.max_compute_units)
        self.has_half = "cl_khr_fp16" in device.extensions.split()
        self.shares_memory = bool(device.host_unified_memory)
        self.is_cpu = self.fingerprint["type"] == "cpu"
        self._programs: dict[tuple[str, tuple[str, ...]], cl.Program] = {}
        self._aligned_ns = 0
        self._offset_ns = 0
        self._require_compiler()
        self._align_clock()

    def _require_compiler(self) -> None:
        try:
            self._built(PROBE, ())
        except cl.Error as error:
            raise DeviceUnavailableError(
                f"the driver of OpenCL device `{self.fingerprint['name']}` ({self.fingerprint['driver']}) cannot "
                f"compile for it: {_reason(error)}",
                hint="install a newer driver; for a CPU, the system's PoCL (Debian: apt-get install pocl-opencl-icd)",
            ) from None

    def memory(self, buffer: Buffer, host: np.ndarray | None = None) -> cl.Buffer:
        """Memory for a buffer, filled; over `host` itself where that is given."""
        flags = cl.mem_flags
        if host is not None:
            return cl.Buffer(self._context, flags.READ_WRITE | flags.USE_HOST_PTR, hostbuf=host)
        if buffer.data is not None:
            return cl.Buffer(self._context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=buffer.data)
        zeros = np.zeros(buffer.values, np.float32)
        return cl.Buffer(self._context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=zeros)

    def program(self, file: str, options: tuple[str, ...]) -> cl.Program:
        """A kernel file built with options. Raises `KernelError` with what the compiler says."""
        key = (file, options)
        if key not in self._programs:
            source = Path(__file__).with_name(file).read_text(encoding="utf-8")
            try:
                self._programs[key] = self._built(source, options)
            except cl.Error as error:
                raise KernelError(f"{file} cannot be built for `{self.fingerprint['name']}`: {error}") from None
        return self._programs[key]

    def _built(self, source: str, options: tuple[str, ...]) -> cl.Program:
        described = repr((source, options, sorted(self.fingerprint.items())))
        path = cache_folder() / f"{hashlib.sha256(described.encode()).hexdigest()[:32]}.bin"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Compilers speak even when all is well.
            if binary := read_checked(path):
                try:
                    program = cl.Program(self._context, [self._device], [binary])
                    program.build(list(options))
                    return program
                except cl.Error:  # A driver may refuse a binary it wrote itself; the source is always there.
                    pass
            program = cl.Program(self._context, source)
            program.build(list(options))
            binaries: Any = program.get_info(cl.program_info.BINARIES)
        write_checked(path, binaries[0])
        return program

    def launcher(self, step: Step, memory: dict[int, cl.Buffer]) -> Launch:
        """A step made ready: its kernel with its arguments set."""
        kernel = cl.Kernel(self.program(step.file, step.options), step.kernel)
        kernel.set_args(*(_argument(argument, memory) for argument in step.arguments))
        return Launch(kernel, step.size, step.group)

    def keep_clock(self) -> None:
        """Align the clocks again when that was long ago."""
        if time.monotonic_ns() - self._aligned_ns > ALIGN_AGAIN_NS:
            self._align_clock()

    def on_host_clock(self, start_ns: int, end_ns: int, submitted_ns: int, seen_ns: int) -> tuple[int, int]:
        """A run's device times on the clock of `time.monotonic_ns`: after it was submitted, before its end was seen."""
        self._offset_ns = max(self._offset_ns, submitted_ns - start_ns)
        self._offset_ns = min(self._offset_ns, seen_ns - end_ns)
        return start_ns + self._offset_ns, end_ns + self._offset_ns

    def _align_clock(self) -> None:
        """A marker's end is always seen a little late; the least late of a few is the best guess."""
        self._offset_ns = min(self._marker_offset_ns() for _ in range(MARKERS))
        self._aligned_ns = time.monotonic_ns()

    def _marker_offset_ns(self) -> int:
        marker = cl.enqueue_marker(self.queue)
        marker.wait()
        return time.monotonic_ns() - marker.profile.end


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel with all its arguments, and how many work-items it takes."""

    kernel: cl.Kernel
    size: tuple[int, int]
    group: tuple[int, int] | None

    def enqueue(self, queue: cl.CommandQueue) -> cl.Event:
        """Start it."""
        return cl.enqueue_nd_range_kernel(queue, self.kernel, self.size, self.group)


class LoadedSteps:
    """Launches on a device, with what they read and give in a file that another process can map.

    The file, which is the caller's to close, holds the values of the inputs, then of the outputs; `firsts` says where
    each begins. Where the device shares the host's memory its buffers are that file's pages; elsewhere they are copied,
    outside of what is timed.
    """

    def __init__(
        self,
        device: Device,
        steps: Sequence[Step],
        buffers: Sequence[Buffer],
        inputs: Sequence[Buffer],
        outputs: Sequence[Buffer],
        *,
        shares_memory: bool | None = None,
    ) -> None:
        self._device = device
        self._shares = device.shares_memory if shares_memory is None else shares_memory
        page = mmap.PAGESIZE // 4
        shared, self.firsts, end = (*inputs, *outputs), list[int](), 0
        for buffer in shared:
            self.firsts.append(end)
            end += -(-max(1, buffer.values) // page) * page
        self.file = _shared_file(4 * end)
        self._map = mmap.mmap(self.file.fileno(), 4 * end)
        values = np.frombuffer(self._map, np.float32)
        arrays = [values[first : first + b.values] for first, b in zip(self.firsts, shared, strict=True)]
        hosts = {id(b): array for b, array in zip(shared, arrays, strict=True)} if self._shares else {}
        # A kernel's arguments do not keep their memory alive.
        self._memory = memory = {id(b): device.memory(b, hosts.get(id(b))) for b in buffers}
        pairs = [(memory[id(b)], array) for b, array in zip(shared, arrays, strict=True)]
        self._inputs, self._outputs = pairs[: len(inputs)], pairs[len(inputs) :]
        self._launches = [device.launcher(step, memory) for step in steps]
        self.run()  # The first launch of each kernel compiles it for its work-group size.

    def run(self) -> tuple[int, int]:
        """Compute the output from the input; when the device began and ended, in nanoseconds of the host's clock."""
        device, queue = self._device, self._device.queue
        device.keep_clock()
        try:
            submitted_ns = time.monotonic_ns()
            self._hand_over()
            events = [launch.enqueue(queue) for launch in self._launches]
            queue.flush()
            self._fetch()
            seen_ns = time.monotonic_ns()
            return device.on_host_clock(events[0].profile.start, events[-1].profile.end, submitted_ns, seen_ns)
        except cl.Error as error:
            raise KernelError(f"OpenCL device `{device.fingerprint['name']}` failed: {error}") from None

    def _hand_over(self) -> None:
        queue = self._device.queue
        if not self._shares:
            for memory, values in self._inputs:
                cl.enqueue_copy(queue, memory, values, is_blocking=False)
            return
        # The host wrote before; mapping for writing, and giving back, is what makes that known to the device. To a CPU
        # its own memory needs no introduction, and mapping costs as much as a small kernel.
        if not self._device.is_cpu:
            for memory, values in self._inputs:
                self._mapped(memory, values, cl.map_flags.WRITE_INVALIDATE_REGION)

    def _fetch(self) -> None:
        if not self._shares:
            for memory, values in self._outputs:
                cl.enqueue_copy(self._device.queue, values, memory)
            return
        if not self._device.is_cpu:
            for memory, values in self._outputs:
                self._mapped(memory, values, cl.map_flags.READ)
        self._device.queue.finish()

    def _mapped(self, memory: cl.Buffer, values: np.ndarray, flags: cl.map_flags) -> None:
        array, _ = cl.enqueue_map_buffer(self._device.queue, memory, flags, 0, values.shape, values.dtype)
        array.base.release(self._device.queue)


class LoadedPlan(LoadedSteps):
    """A plan of one input and one output on a device."""

    def __init__(self, device: Device, plan: Plan, *, shares_memory: bool | None = None) -> None:
        assert plan.output is not None
        self.output = plan.output
        self.lead = plan.lead
        out = plan.output.buffer
        super().__init__(device, plan.steps, plan.buffers(), [plan.input], [out], shares_memory=shares_memory)
        self.output_first = self.firsts[1]


def read_checked(path: Path) -> bytes | None:
    """What `write_checked` wrote; None when it is absent or not as it was written."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    digest, content = raw[:32], raw[32:]
    return content if content and hashlib.sha256(content).digest() == digest else None


def write_checked(path: Path, content: bytes) -> None:
    """Write with a digest, all or nothing. A folder that cannot be written is no error: it is only a cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(file.name).replace(path)
    except OSError:
        return


def _reason(error: cl.Error) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), lines[0] if lines else type(error).__name__)


def _find(choice: Choice) -> Sequence[cl.Device]:
    """The devices that fit, those that are not the CPU first."""
    try:
        platforms = cl.get_platforms()
    except cl.Error:
        raise DeviceUnavailableError(
            "no OpenCL driver is installed",
            hint="install the device's own, or one for the CPU: pip install pocl-binary-distribution",
        ) from None
    found = []
    for platform in platforms:
        if choice.platform is not None and choice.platform.lower() not in platform.name.lower():
            continue
        if choice.platform is None and platform.name == OCLGRIND:
            continue  # A checker of kernels, a thousand times slower than a device: only when asked for.
        found += [d for d in _devices(platform) if choice.device is None or choice.device.lower() in d.name.lower()]
    if not found:
        names = ", ".join(f"{p.name}: {d.name}" for p in platforms for d in _devices(p)) or "none"
        raise DeviceUnavailableError(
            f"no OpenCL device matches platform `{choice.platform or 'any'}`, device `{choice.device or 'any'}`",
            hint=f"there are: {names}",
        )
    if all(device.platform.name == POCL for device in found) and shutil.which("ld") is None:
        raise DeviceUnavailableError("PoCL needs the linker `ld`", hint="install binutils")
    usable = [device for device in found if device.platform.name != POCL or shutil.which("ld") is not None]
    return sorted(usable, key=lambda device: bool(device.type & cl.device_type.CPU))


def _devices(platform: cl.Platform) -> Sequence[cl.Device]:
    try:
        return platform.get_devices()
    except cl.Error:  # A platform without a device says so by failing.
        return ()


def _part_of(device: cl.Device, units: int) -> cl.Device:
    """So many compute units of a device, as a device of its own."""
    if units > device.max_compute_units:
        raise DeviceUnavailableError(f"`{device.name}` has {device.max_compute_units} compute units, not {units}")
    if units == device.max_compute_units:
        return device
    try:
        division: list[Any] = [cl.device_partition_property.BY_COUNTS, units, 0]
        return device.create_sub_devices(division)[0]
    except cl.Error as error:
        raise DeviceUnavailableError(f"`{device.name}` cannot be divided ({error})", hint="drop `units`") from None


def _fingerprint(device: cl.Device, units: int) -> dict[str, str | int]:
    kind = "cpu" if device.type & cl.device_type.CPU else "gpu" if device.type & cl.device_type.GPU else "other"
    return {
        "platform": device.platform.name,
        "name": device.name.strip(),
        "driver": device.driver_version,
        "type": kind,
        "units": units,
        "vector_width": device.native_vector_width_float,
        "pyopencl": importlib.metadata.version("pyopencl"),
    }


def _argument(argument: Buffer | int | float, memory: dict[int, cl.Buffer]) -> Any:
    if isinstance(argument, Buffer):
        return memory[id(argument)]
    return np.float32(argument) if isinstance(argument, float) else np.int32(argument)


def _shared_file(size: int) -> IO[bytes]:
    """A file without a name, in memory where the system has such a place."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - whoever sends it closes it
    file.truncate(size)
    return file
