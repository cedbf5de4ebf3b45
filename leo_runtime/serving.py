"""Backends for the processors of a machine, and the modes that they can really run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from leo_runtime import registry
from leo_runtime.batch import Modes
from leo_runtime.computing import Kernels
from leo_runtime.errors import BackendError, LeoError
from leo_runtime.hardware import Hardware, Processor
from leo_runtime.lower import Supports
from leo_runtime.problem import Mode

if TYPE_CHECKING:
    from leo_runtime.backend import Backend


def serve(
    hardware: Hardware, given: Mapping[str, Backend] | None, *, stand_in: bool
) -> tuple[dict[str, Backend], list[Backend], dict[str, str]]:
    """A backend for every processor: (by processor, those made here, processors that none serves with the reason)."""
    if given is not None:
        return dict(given), [], {p.name: "no backend was given" for p in hardware.processors if p.name not in given}
    served: dict[str, Backend] = {}
    own: list[Backend] = []
    missing: dict[str, str] = {}
    errors: list[LeoError] = []
    for processor in hardware.processors:
        try:
            backend = registry.create(processor)
        except LeoError as error:
            errors.append(error)
            missing[processor.name] = f"{error}; {error.hint}" if error.hint else str(error)
            if not stand_in:
                continue
            backend = registry.create(Processor(name=processor.name, backend="cpu"))
        served[processor.name] = backend
        own.append(backend)
    if not served:
        raise errors[0] if errors else BackendError(f"hardware `{hardware.name}` has no processors")
    return served, own, missing


def warmed(kernels: Kernels, modes: Modes) -> dict[str, tuple[Mode, ...]]:
    """The modes whose kernels load and run once. Raises `BackendError` where a stage has none left."""
    good: dict[str, tuple[Mode, ...]] = {}
    for stage, stage_modes in modes.items():
        errors: list[str] = []
        kept: list[Mode] = []
        for mode in stage_modes:
            try:
                kernels.warm(stage, mode.resource, mode.variant)
            except Exception as error:  # Whatever a kernel raises means that this mode cannot be used.
                errors.append(f"{mode.resource}: {error}")
            else:
                kept.append(mode)
        if not kept:
            raise BackendError(f"stage `{stage}` runs on no processor ({'; '.join(errors)})")
        good[stage] = tuple(kept)
    return good


def supported(served: Mapping[str, Backend]) -> Supports:
    """Where each stage can run on these backends, by processor."""
    return lambda processor, stage, variant: processor in served and served[processor].supports(stage, variant)


def anything(_processor: str, _stage: object, _variant: str) -> bool:
    """Every stage anywhere, where nothing is computed."""
    return True
