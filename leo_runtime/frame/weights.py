"""The question of a frame on a machine that loads weights: `leo-problem/3` (`docs/memory-problem.md`).

What is loaded is known by label: equal weights of several stages are one, whoever reads them. On a processor where no
loader leads, weights are at hand, and count as what a mode holds there, as on a machine without loaders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.memory import (
    Loader,
    MemoryMode,
    MemoryProblem,
    MemoryResource,
    MemoryStage,
    Weights,
)
from leo_runtime.documents.problem import Mode, StageModes
from leo_runtime.errors import GraphError
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import MergedStage, MergedWorkload, frame_problem
from leo_runtime.frozen import dataclass

Modes = Mapping[str, tuple[Mode, ...]]


@dataclass(frozen=True, slots=True)
class Named:
    """What the stages of a workload load, by label."""

    bytes: Mapping[str, int]
    of: Mapping[tuple[str, str], tuple[str, ...]]
    """The labels of each stage's variant."""
    targets: frozenset[str]
    """The processors that weights are loaded to."""

    def mode(self, stage: str, mode: Mode) -> MemoryMode:
        """A mode of a stage with what it has to load, which is no part of its own memory then."""
        labels = self.of[stage, mode.variant] if mode.resource in self.targets else ()
        held = sum(self.bytes[label] for label in labels)
        changes = {"memory_bytes": max(0, mode.memory_bytes - held), "weights": labels}
        return MemoryMode.model_construct(**{**dict(mode), **changes})


def named_weights(stages: Iterable[MergedStage], hardware: Hardware) -> Named | None:
    """What stages load on a machine; None: it has no loaders.

    Raises `GraphError` where two stages mean different weights by one label, or a file cannot be read.
    """
    if not hardware.loaders:
        return None
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    of: dict[tuple[str, str], tuple[str, ...]] = {}
    for stage in stages:
        for variant in stage.bound.params:
            found = stage.bound.weights(variant)
            of[stage.name, variant] = tuple(label for label, _ in found)
            for label, size in found:
                if sizes.setdefault(label, size) != size:
                    raise GraphError(
                        f"stages `{owners[label]}` and `{stage.name}` have weights `{label}` of {sizes[label]} and "
                        f"{size} bytes",
                        hint="weights of one label are the same: give one of them another label",
                    )
                owners.setdefault(label, stage.name)
    return Named(sizes, of, frozenset(loader.target for loader in hardware.loaders))


def require_same_bytes(now: Mapping[str, int], before: Mapping[str, int]) -> None:
    """Raise `GraphError` where a label stands for other weights than before: those may still be in memory."""
    for label, size in now.items():
        if before.get(label, size) != size:
            raise GraphError(
                f"weights `{label}` have {size} bytes, and had {before[label]} in the workload before",
                hint="weights of one label are the same: give the new ones another label",
            )


def memory_problem(
    merged: MergedWorkload,
    modes: Modes,
    hardware: Hardware,
    named: Named,
    conditions: Conditions,
    name: str,
) -> MemoryProblem:
    """The question of one frame that finds nothing in memory; `modes` are those of `lower.price`.

    Weights are in the order in which stages come that may load them.
    """
    # Where nothing is loaded, equal weights are counted once, and by the usual question.
    usual = frame_problem(merged, modes, hardware, conditions, name)
    stages = tuple(
        MemoryStage.model_construct(**{**dict(stage), "modes": _modes(stage, modes[stage.name], named)})
        for stage in usual.stages
    )
    labels = dict.fromkeys(label for stage in stages for mode in stage.modes for label in mode.weights)
    return MemoryProblem(
        format="leo-problem/3",
        name=name,
        resources=tuple(MemoryResource(**one.model_dump(exclude_unset=True)) for one in usual.resources),
        links=usual.links,
        stages=stages,
        deadlines=usual.deadlines,
        accuracy_budgets=usual.accuracy_budgets,
        objective=usual.objective,
        weights=tuple(Weights(label=label, bytes=named.bytes[label]) for label in labels),
        loaders=problem_loaders(hardware, conditions.lost),
    )


def _modes(stage: StageModes, priced: tuple[Mode, ...], named: Named) -> tuple[MemoryMode, ...]:
    """The modes of a stage: as they are priced where weights are loaded, elsewhere as the question counts."""
    alone = {(mode.resource, mode.variant): mode for mode in priced}
    return tuple(
        named.mode(stage.name, alone[mode.resource, mode.variant] if mode.resource in named.targets else mode)
        for mode in stage.modes
    )


def problem_loaders(hardware: Hardware, lost: Sequence[str] = ()) -> tuple[Loader, ...]:
    """The loaders to processors that are there, as questions have them."""
    return tuple(
        Loader(
            target=loader.target,
            resource=loader.store,
            bytes_per_s=loader.bytes_per_s,
            latency_us=loader.latency_us,
            energy_nj=loader.energy_nj,
            energy_pj_per_byte=loader.energy_pj_per_byte,
        )
        for loader in hardware.loaders
        if loader.target not in lost
    )
