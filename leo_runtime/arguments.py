"""What a caller hands to the runtime with a frame, checked at the door: what is wrong is said, and the way out.

All raise `InputError`, and none keeps or changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leo_runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from leo_runtime.graph import Workload

    Windows = Mapping[str, np.ndarray]
    """The raw samples of a frame, by source stage."""


@dataclass(frozen=True, slots=True)
class SourceWindow:
    """What a source stage reads: the last `samples` samples of a stream before a frame's release."""

    stage: str
    """The merged stage: the key of its array in `Runtime.submit`."""
    stream: str
    samples: int
    shape: tuple[int, ...]
    """Of its array: (samples,), or (samples, channels)."""


def batch_frames(frames: Sequence[tuple[int, Windows]]) -> tuple[tuple[int, ...], tuple[Windows, ...]]:
    """The releases and the windows of a batch: at least one frame, one after the other."""
    if not frames:
        raise InputError("a batch of no frames", hint="collect one at least")
    for one in frames:
        if not isinstance(one, tuple) or len(one) != 2:
            raise InputError(
                f"a frame of a batch is a release with its windows, got {type(one).__name__}",
                hint="submit_batch([(release_us, {source: samples}), ...])",
            )
    releases_us = tuple(release_us for release_us, _ in frames)
    if list(releases_us) != sorted(set(releases_us)):
        raise InputError(
            f"the frames of a batch are released one after the other, got {', '.join(map(str, releases_us))} us",
            hint="submit them in the order in which they were recorded, each once",
        )
    return releases_us, tuple(windows for _, windows in frames)


def require_order(release_us: int, last_release_us: int) -> None:
    """No frame is released before the last one."""
    if release_us < last_release_us:
        raise InputError(
            f"a frame is released at {release_us} us, and the last one was at {last_release_us} us",
            hint="submit frames in the order of their releases; a batch counts as its last frame",
        )


def named_graphs(workload: Workload, graphs: Collection[str]) -> tuple[str, ...]:
    """The graphs of these names, in the workload's order; every one is there."""
    if isinstance(graphs, str):
        raise InputError(f"`graphs` are several names, got the text `{graphs}`", hint=f'write ["{graphs}"]')
    known = [graph.name for graph in workload.graphs]
    for name in graphs:
        if name not in known:
            raise InputError(
                f"no graph of workload `{workload.name}` is called `{name}`", hint=f"it has {', '.join(known)}"
            )
    return tuple(name for name in known if name in graphs)


def triggered_graphs(releases_us: tuple[int, ...], triggered: Callable[[int], tuple[str, ...]]) -> tuple[str, ...]:
    """The graphs that are due at every release, which are the same for all frames of a batch."""
    names = triggered(releases_us[0])
    for release_us in releases_us[1:]:
        if (others := triggered(release_us)) != names:
            raise InputError(
                f"the frames of a batch are of the same graphs, got {', '.join(names) or 'none'} at "
                f"{releases_us[0]} us and {', '.join(others) or 'none'} at {release_us} us",
                hint="say which with `graphs`",
            )
    return names


def require_windows(wanted: Sequence[SourceWindow], known: Sequence[SourceWindow], windows: Windows) -> None:
    """An array of the right shape for every source that is wanted, and none for a source that nobody knows."""
    for source in wanted:
        given = windows.get(source.stage)
        shape = getattr(given, "shape", None)
        if shape != source.shape:
            other = "nothing" if given is None else f"a {type(given).__name__}"
            raise InputError(
                f"source `{source.stage}` needs {source.samples} samples of stream `{source.stream}` as an array "
                f"of shape {source.shape}, got {other if shape is None else f'shape {shape}'}",
                hint="they are the last samples before the frame's release; `sources` says what a frame needs",
            )
    names = [source.stage for source in known]
    for name in windows:
        if name not in names:
            raise InputError(f"no source is called `{name}`", hint=f"windows are given for {', '.join(names)}")
