"""What a release finds in the memories of processors that weights are loaded to, and what room others leave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leo_runtime.dispatch.memory import Found
from leo_runtime.frame.conditions import MemoryFound
from leo_runtime.frozen import dataclass


@dataclass(frozen=True, slots=True)
class MemoryNow:
    """Two ways for a frame to have room beside those in flight. Times are from the release."""

    beside: tuple[MemoryFound, ...]
    """In what they leave at their worst."""
    after: tuple[MemoryFound, ...] = ()
    """In all of it, when they are over."""
    over_us: Mapping[str, int] | None = None
    """When that is, of processors and of what their weights are loaded from; None: there is nothing to wait for."""


NOTHING_THERE = MemoryNow(())
"""Of a machine that loads nothing."""


def memory_now(
    found: Sequence[Found],
    wanted: Mapping[str, frozenset[str]],
    bytes_of: Mapping[str, int],
    caps: Mapping[str, int | None],
    stores: Mapping[str, str],
    release_us: int,
) -> MemoryNow:
    """`wanted` are the labels that the frame may load, by processor; `stores` what they are loaded from."""
    beside: list[MemoryFound] = []
    after: list[MemoryFound] = []
    over_us: dict[str, int] = {}
    for one in found:
        name, cap = one.resource, caps[one.resource]
        labels = [label for label in one.there if label in wanted.get(name, ())]
        left = None if cap is None else max(0, cap - one.peak_bytes)
        resident = _fitting(labels, bytes_of, left)
        if resident or left != cap:
            beside.append(MemoryFound(name, left, resident))
            # Until then they are there beside what others need.
            after.append(MemoryFound(name, cap, resident))
        if left != cap:
            for resource in (name, stores[name]):
                over_us[resource] = max(over_us.get(resource, 0), one.over_us - release_us)
    return MemoryNow(tuple(beside), tuple(after), over_us or None)


def _fitting(labels: Sequence[str], bytes_of: Mapping[str, int], left: int | None) -> tuple[str, ...]:
    """As many of these as there is room for, the first ones first; by name."""
    kept: list[str] = []
    for label in labels:
        if left is None or sum(bytes_of[one] for one in (*kept, label)) <= left:
            kept.append(label)
    return tuple(sorted(kept))
