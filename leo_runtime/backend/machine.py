"""Backends for the processors of a machine, and the modes that they can really run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from leo_runtime.backend import registry
from leo_runtime.backend.guard import guarded
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.problem import Mode
from leo_runtime.errors import BackendError, DeviceUnavailableError, KernelError, LeoError, MissingExtraError, in_words
from leo_runtime.frozen import dataclass

if TYPE_CHECKING:
    from leo_runtime.backend import Backend
    from leo_runtime.documents.binding import BoundStage

STAND_IN = "cpu"
"""The backend that computes in the place of one that is not here."""


class Machine:
    """The backends of a machine's processors; leaving it closes those that were opened for it, the last one first."""

    backends: Mapping[str, Backend]
    """By processor."""
    missing: Mapping[str, LeoError]
    """Why a processor is not served, or not by its own backend."""

    def __init__(
        self, backends: Mapping[str, Backend], missing: Mapping[str, LeoError], own: Sequence[Backend] = ()
    ) -> None:
        """`own` are closed with it, in reverse order."""
        self._missing = dict(missing)
        self._own = list(own)
        self.backends = backends
        self.missing = self._missing

    def backend(self, processor: str) -> Backend:
        """A processor's backend. Raises why there is none; `KeyError` for a processor that is not the machine's."""
        if processor not in self.backends:
            raise self.missing[processor]
        return self.backends[processor]

    def supports(self, processor: str, stage: BoundStage, variant: str) -> bool:
        """Whether a processor can run a stage. A backend that fails to answer cannot, and is `missing` from then on."""
        if processor not in self.backends:
            return False
        try:
            return self.backends[processor].supports(stage, variant)
        except (BackendError, MissingExtraError) as error:
            self._missing[processor] = error
            return False

    def reasons(self) -> dict[str, str]:
        """Why processors are missing, in words, with the way out."""
        return {name: _with_hint(error) for name, error in self.missing.items()}

    def close(self) -> None:
        """Close what was opened for it; all of it, also where one fails to. Closing twice is fine.

        Raises `BackendError`: the first failure, with the others as its notes.
        """
        errors: list[Exception] = []
        while self._own:
            try:
                self._own.pop().close()
            except Exception as error:  # The others are to be closed first.
                errors.append(error)
        if errors:
            for other in errors[1:]:
                errors[0].add_note(str(other))
            raise errors[0]

    def __enter__(self) -> Self:
        """The machine itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it. A failure to does not hide the error that is under way: it is a note of that."""
        try:
            self.close()
        except Exception as failed:  # Whatever it is, the error that is under way goes first.
            if error is None:
                raise
            error.add_note(str(failed))


def open_backends(hardware: Hardware, given: Mapping[str, Backend] | None = None, *, stand_in: bool = False) -> Machine:
    """The backends of a machine, to be used in a `with` block: those that are installed, or those that are given.

    What is given is not closed. With `stand_in` the CPU's backend serves processors whose own is not here. Raises what
    opening that raises; then nothing stays open.
    """
    if given is not None:
        without = {processor.name for processor in hardware.processors} - set(given)
        return Machine(
            {name: guarded(backend) for name, backend in given.items()},
            {p.name: DeviceUnavailableError("no backend was given") for p in hardware.processors if p.name in without},
        )
    opened: dict[str, Backend] = {}
    missing: dict[str, LeoError] = {}
    loaded = {loader.target for loader in hardware.loaders}
    try:
        for processor in hardware.processors:
            try:
                opened[processor.name] = registry.create(_without_cap(processor, processor.name in loaded))
            except LeoError as error:
                missing[processor.name] = error
                if stand_in:
                    opened[processor.name] = registry.create(Processor(name=processor.name, backend=STAND_IN))
    except BaseException as error:
        Machine(opened, missing, tuple(opened.values())).__exit__(type(error), error, error.__traceback__)
        raise
    return Machine(opened, missing, tuple(opened.values()))


def _without_cap(processor: Processor, is_loaded: bool) -> Processor:
    """What its backend is told: no cap where weights are loaded as they are needed, for plans then see that they fit.

    A backend has the kernels of all stages from the start, which together may be larger than the memory.
    """
    return processor.model_copy(update={"memory_bytes": None}) if is_loaded else processor


def require_served(machine: Machine, hardware: Hardware) -> None:
    """Raise why the first processor is not served where none is; `BackendError` where there is none."""
    if not machine.backends:
        raise next(iter(machine.missing.values()), BackendError(f"hardware `{hardware.name}` has no processors"))


@dataclass(frozen=True, slots=True)
class Usable:
    """The modes that can be used, by stage, and why the others cannot (by stage, processor and variant)."""

    modes: dict[str, tuple[Mode, ...]]
    left_out: dict[tuple[str, str, str], str]


def usable(modes: Mapping[str, tuple[Mode, ...]], attempt: Callable[[str, str, str], object]) -> Usable:
    """The modes for which `attempt(stage, processor, variant)` raises nothing.

    `Kernels.load` loads a kernel, `Kernels.warm` also runs it once. Whatever is raised leaves the mode out; raises
    `KernelError`, with every reason, where that leaves some stage no mode at all.
    """
    good: dict[str, tuple[Mode, ...]] = {}
    left_out: dict[tuple[str, str, str], str] = {}
    nowhere: list[str] = []
    for stage, stage_modes in modes.items():
        kept: list[Mode] = []
        reasons: dict[str, list[str]] = {}
        for mode in stage_modes:
            try:
                with in_words(f"stage `{stage}` failed", KernelError):
                    attempt(stage, mode.resource, mode.variant)
            except LeoError as error:
                left_out[stage, mode.resource, mode.variant] = _with_hint(error)
                reasons.setdefault(_with_hint(error), []).append(mode.resource)
            else:
                kept.append(mode)
        if not kept:
            told = "; ".join(f"{', '.join(dict.fromkeys(on))}: {reason}" for reason, on in reasons.items())
            nowhere.append(f"stage `{stage}` runs on no processor ({told})")
        good[stage] = tuple(kept)
    if nowhere:
        raise KernelError("; ".join(nowhere))
    return Usable(good, left_out)


def _with_hint(error: LeoError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)
