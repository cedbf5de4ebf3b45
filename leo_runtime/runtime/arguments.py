"""What a caller hands to the runtime, checked at the door: what is wrong is said, and the way out.

All raise `InputError`, and none keeps or changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import numpy as np

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.frozen import dataclass
from leo_runtime.runtime.drift import MAX_SLOWED_PPM, ONE
from leo_runtime.values import several_names, whole

if TYPE_CHECKING:
    from leo_runtime.backend import Backend
    from leo_runtime.dispatch.simulator import Noise
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.profile import Profile
    from leo_runtime.documents.workload import Workload
    from leo_runtime.frame.conditions import LinkNow
    from leo_runtime.frame.lower import MergedStage

    Windows = Mapping[str, np.ndarray]
    """The raw samples of a frame, by source stage."""

MAX_NOISE_PPM = 1_000_000
"""The most that the logarithm of a duration may spread."""
MAX_RELEASE_US = 10**16
"""The latest release: three hundred years, of which traces still tell the nanosecond in 64 bits."""
MAX_AHEAD_US = 24 * 3600 * 1_000_000
"""How far ahead of now a frame may be released that is waited for in real time."""
SAID = 3
"""How many graphs that are due next are named."""

_TOO_GREAT = 2.0**128 - 2.0**103
"""The least number that is infinity as float32, which is what stages read."""

_LINKS = "links={(source, target): (latency_us, bytes_per_s)}, with None in place of both where a link is down"
_MICROSECONDS = "releases are in microseconds: divide one in nanoseconds by 1000"
_AUDIO = (np.dtype(np.int16), np.dtype(np.float32), np.dtype(np.float64))
_SWAPPED = "turn its bytes: samples.astype(samples.dtype.newbyteorder('='))"
_CONVERSIONS = {
    "int16": _SWAPPED,
    "float32": _SWAPPED,
    "float64": _SWAPPED,
    "int8": "samples / 128.0",
    "uint8": "(samples - 128.0) / 128.0",
    "int32": "16 bits in 32: samples.astype(numpy.int16); full scale: samples / 2.0**31",
    "int64": "16 bits in 64: samples.astype(numpy.int16)",
    "float16": "samples.astype(numpy.float32)",
}
"""How audio of another kind becomes what is taken, by the name of its dtype."""


@dataclass(frozen=True, slots=True)
class SourceWindow:
    """What a source stage reads: the last `samples` samples of a stream before a frame's release."""

    stage: str
    """The merged stage: the key of its array in `Runtime.submit`."""
    stream: str
    samples: int
    shape: tuple[int, ...]
    """Of its array: (samples,), or (samples, channels)."""
    kind: str = "other"
    """Of its stream. Audio is int16, or float32 or float64 from -1 to 1; anything else any real numbers, all finite."""

    def at_its_value(self, samples: np.ndarray) -> np.ndarray:
        """Samples as kernels take them, which know no kinds: to them int16 is audio, and 32768 its full scale."""
        is_other = self.kind != "audio" and samples.dtype.kind == "i" and samples.dtype.itemsize == 2
        return samples.astype(np.float32) if is_other else samples


def source_window(stage: MergedStage, workload: Workload) -> SourceWindow:
    """What a source stage reads."""
    params = next(iter(stage.bound.params.values()))
    kind = workload.stream(params.stream).kind
    return SourceWindow(stage.name, params.stream, params.samples, stage.bound.input_shapes[0], kind)


# What a runtime is made of.


def require_parts(workload: object, hardware: object, profile: object) -> None:
    """Each is the document it should be."""
    # Who has one of each has them loaded: `Runtime` itself needs none.
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.profile import Profile
    from leo_runtime.documents.workload import Workload

    for name, part, kind in (
        ("workload", workload, Workload),
        ("hardware", hardware, Hardware),
        ("profile", profile, Profile),
    ):
        if not isinstance(part, kind):
            raise InputError(
                f"`{name}` is a {kind.__name__}, got {type(part).__name__}",
                hint=f"read it with {kind.__name__}.from_file(path), or take one of `leo_runtime.shipped`",
            )


def require_same_contention(before: Profile, after: Profile) -> None:
    """In virtual time, runs that are at work slow each other as they did when they began."""
    if before.contention.slowdowns_ppm() != after.contention.slowdowns_ppm():
        raise InputError(
            f"profile `{after.name}` tells of other contention than `{before.name}`, which cannot change in a run",
            hint="make another runtime for it",
        )


def require_flags(**flags: object) -> None:
    """Each is True or False."""
    for name, flag in flags.items():
        require_flag(flag, name)


def require_flag(flag: object, name: str) -> None:
    """It is True or False."""
    if flag is not True and flag is not False:
        raise InputError(f"`{name}` is True or False, got {flag!r}")


def require_function(call: object) -> None:
    """One that is called with a result, and does not have to be awaited."""
    if not callable(call):
        raise InputError(f"results are given to a function, got {type(call).__name__}")
    if iscoroutinefunction(call) or iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004  # Its own.
        raise InputError(
            "results are given to a function, got a coroutine function, which nobody would await",
            hint="`async for result in runtime.answers()` has them in an event loop",
        )


def named_processors(hardware: Hardware, names: object, argument: str) -> tuple[str, ...]:
    """The processors of these names; every one is there."""
    wanted = several_names(names, argument)
    for name in wanted:
        require_processor(hardware, name, f"`{argument}` names `{name}`")
    return wanted


def require_processor(hardware: Hardware, name: object, what: str | None = None) -> None:
    """A processor of that name is there."""
    known = [processor.name for processor in hardware.processors]
    if name not in known:
        raise InputError(
            f"{f'{what}, and' if what else f'no processor is called `{name}`:'} hardware `{hardware.name}` has no such "
            "processor",
            hint=did_you_mean(name, known, "it has"),
        )


def require_backends(hardware: Hardware, backends: Mapping[str, Backend] | None) -> None:
    """By processor, each of them there; None: those installed."""
    if backends is None:
        return
    if not isinstance(backends, Mapping):
        raise InputError(
            f"`backends` are given by processor, got {type(backends).__name__}", hint="{processor: backend, ...}"
        )
    named_processors(hardware, tuple(backends), "backends")
    for name, backend in backends.items():
        for method in ("supports", "load", "close"):
            if not callable(getattr(backend, method, None)):
                raise InputError(
                    f"the backend for `{name}` has no `{method}`: it is of type {type(backend).__name__}",
                    hint="`leo_runtime.backend.Backend` says what a backend has",
                )


def require_clock(clock: object) -> None:
    """One that tells the time and waits; None: the runtime makes one."""
    for method in ("now_us", "wait_until_us"):
        if clock is not None and not callable(getattr(clock, method, None)):
            raise InputError(
                f"`clock` has no `{method}`: it is of type {type(clock).__name__}",
                hint="`leo_runtime.clock.Clock` says what a clock has",
            )


def plain_noise(noise: Noise | int | None) -> Noise | int | None:
    """A function, a spread in ppm, or None."""
    return noise if noise is None or callable(noise) else whole(noise, "noise", most=MAX_NOISE_PPM)


# What comes with a frame.


def batch_frames(frames: Sequence[tuple[int, Windows]]) -> tuple[tuple[int, ...], tuple[Windows, ...]]:
    """The releases and the windows of a batch: at least one frame, one after the other."""
    if not isinstance(frames, Sequence) or isinstance(frames, str | bytes):
        raise InputError(
            f"the frames of a batch are a list of releases with their windows, got {type(frames).__name__}",
            hint="submit_batch([(release_us, {source: samples}), ...])",
        )
    if not frames:
        raise InputError("a batch of no frames", hint="collect one at least")
    for one in frames:
        if not isinstance(one, tuple) or len(one) != 2:
            raise InputError(
                f"a frame of a batch is a release with its windows, got {type(one).__name__}",
                hint="submit_batch([(release_us, {source: samples}), ...])",
            )
    releases_us = tuple([plain_release(release_us) for release_us, _ in frames])
    if len(releases_us) > 1 and list(releases_us) != sorted(set(releases_us)):
        raise InputError(
            f"the frames of a batch are released one after the other, got {', '.join(map(str, releases_us))} us",
            hint="submit them in the order in which they were recorded, each once",
        )
    return releases_us, tuple([windows for _, windows in frames])


def plain_release(release_us: object) -> int:
    """When a frame is released, in us from any time on, such as 1970: at most `MAX_RELEASE_US`."""
    at_us = whole(release_us, "release_us")
    if at_us > MAX_RELEASE_US:
        raise InputError(f"a frame is released at {at_us} us, which is after {MAX_RELEASE_US:.0e}", hint=_MICROSECONDS)
    return at_us


def require_near(release_us: int, now_us: int) -> None:
    """No frame is waited for in real time for longer than `MAX_AHEAD_US`."""
    if release_us - now_us > MAX_AHEAD_US:
        raise InputError(
            f"a frame is released at {release_us} us, {release_us - now_us} us from now, which is more than a day",
            hint=_MICROSECONDS,
        )


def require_order(release_us: int, last_release_us: int) -> None:
    """No frame is released before the last one."""
    if release_us < last_release_us:
        raise InputError(
            f"a frame is released at {release_us} us, and the last one was at {last_release_us} us",
            hint="submit frames in the order of their releases; a batch counts as its last frame",
        )


def named_graphs(workload: Workload, graphs: object) -> tuple[str, ...]:
    """The graphs of these names, in the workload's order: at least one, each once, and every one is there."""
    wanted = several_names(graphs, "graphs")
    known = [graph.name for graph in workload.graphs]
    if not wanted:
        raise InputError("`graphs` names none", hint="leave it out for those that are due")
    for number, name in enumerate(wanted):
        if name not in known:
            raise InputError(
                f"no graph of workload `{workload.name}` is called `{name}`",
                hint=did_you_mean(name, known, "it has"),
            )
        if name in wanted[:number]:
            raise InputError(f"`graphs` names `{name}` twice", hint="a frame answers each graph once")
    return tuple(name for name in known if name in wanted)


def due_graphs(
    workload: Workload, releases_us: tuple[int, ...], triggered: Callable[[int], tuple[str, ...]]
) -> tuple[str, ...]:
    """The graphs that are due at every release: at least one, and the same for all frames of a batch."""
    names = triggered(releases_us[0])
    for release_us in releases_us[1:]:
        if (others := triggered(release_us)) != names:
            raise InputError(
                f"the frames of a batch are of the same graphs, got {', '.join(names) or 'none'} at "
                f"{releases_us[0]} us and {', '.join(others) or 'none'} at {release_us} us",
                hint="say which with `graphs`",
            )
    if not names:
        at_us, graphs = releases_us[0], [graph for graph in workload.graphs if not graph.trigger.is_drawn]
        if not graphs:
            name = workload.graphs[0].name
            raise InputError(
                f"no graph is due at {at_us} us: none of workload `{workload.name}` goes by its period alone",
                hint=f'say which graphs it is for: graphs=["{name}"]',
            )
        soon = sorted((graph.next_release_us(at_us), number) for number, graph in enumerate(graphs))[:SAID]
        next_due = ", ".join(f"`{graphs[number].name}` at {next_us}" for next_us, number in soon)
        raise InputError(
            f"no graph is due at {at_us} us; due next are, in us, {next_due}",
            hint=f'release it then, or say which graphs it is for: graphs=["{graphs[soon[0][1]].name}"]',
        )
    return names


def known_links(hardware: Hardware, links: object) -> dict[tuple[str, str], LinkNow]:
    """What links can do now, in plain numbers; every one is a link of the hardware."""
    if not isinstance(links, Mapping):
        raise InputError(f"`links` are given by (source, target), got {type(links).__name__}", hint=_LINKS)
    known = [(link.source, link.target) for link in hardware.links]
    now: dict[tuple[str, str], LinkNow] = {}
    for pair, value in links.items():
        if pair not in known:
            shown = " -> ".join(map(str, pair)) if isinstance(pair, tuple) else repr(pair)
            has = ", ".join(f"({source!r}, {target!r})" for source, target in known)
            raise InputError(f"hardware `{hardware.name}` has no link {shown}", hint=f"it has {has or 'none'}")
        now[pair] = None if value is None else _link_now(" -> ".join(pair), value)
    return now


def require_network(hardware: Hardware, network: object) -> None:
    """Raise `InputError` for what is no network, or has a link that the hardware has not."""
    from leo_runtime.frame.link_course import Network  # For virtual time alone.

    if network is None:
        return
    if not isinstance(network, Network):
        raise InputError(
            f"`network` is a Network, got {type(network).__name__}",
            hint="leo_runtime.frame.link_course has it; what links do from a frame on is `submit`'s `links`",
        )
    for course in network.courses.values():
        if len(course.times_us) != len(course.nows) or list(course.times_us) != sorted(set(course.times_us)):
            raise InputError(
                f"`network`: the course of a link has times that do not rise, or not one for each of what it does: "
                f"{course.times_us[:8]}",
                hint="such as LinkCourse((0, 5_000_000), ((10_000, 1_000_000), None))",
            )
    known_links(hardware, {ends: course.nows[0] for ends, course in network.courses.items()})


def known_slowed(hardware: Hardware, slowed_ppm: object) -> dict[str, int]:
    """How many times as slow as their profile processors are, in millionths; every one is one of the hardware."""
    if not isinstance(slowed_ppm, Mapping):
        raise InputError(
            f"`slowed_ppm` are given by processor, got {type(slowed_ppm).__name__}", hint='such as {"cpu": 1_500_000}'
        )
    for name in slowed_ppm:
        require_processor(hardware, name)
    return {
        name: whole(factor, f"slowed_ppm of {name}", least=ONE, most=MAX_SLOWED_PPM)
        for name, factor in slowed_ppm.items()
    }


def _link_now(name: str, value: Any) -> tuple[int, int | None]:
    from leo_runtime.schema import MAX_QUANTITY  # As documents: `Runtime` itself needs it not.

    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError(f"the link {name} is (latency_us, bytes_per_s) or None, got {value!r}", hint=_LINKS)
    latency_us = whole(value[0], f"latency_us of {name}", most=MAX_QUANTITY)
    if value[1] is None:
        return latency_us, None
    bytes_per_s = whole(value[1], f"bytes_per_s of {name}", most=MAX_QUANTITY)
    if bytes_per_s == 0:
        raise InputError(f"the link {name} carries 0 bytes_per_s", hint=f"say None where it is down: {_LINKS}")
    return latency_us, bytes_per_s


def require_windows(wanted: Sequence[SourceWindow], known: Collection[str], windows: Windows) -> None:
    """Samples of the right shape and kind for every source that is wanted, and none for a source that is not known."""
    if type(windows) is not dict and not isinstance(windows, Mapping):  # Asking that is slow.
        raise InputError(f"windows are given by source stage, got {type(windows).__name__}", hint="{source: samples}")
    for name in windows:
        if name not in known:
            raise InputError(f"no source is called `{name}`", hint=f"windows are given for {', '.join(known)}")
    for source in wanted:
        given = windows.get(source.stage)
        shape = given.shape if isinstance(given, np.ndarray) else None
        if shape != source.shape:
            other = "nothing" if given is None else f"a {type(given).__name__}"
            raise InputError(
                f"source `{source.stage}` needs {source.samples} samples of stream `{source.stream}` as an array "
                f"of shape {source.shape}, got {other if shape is None else f'shape {shape}'}",
                hint="one channel is an array without that of channels: samples[:, 0]"
                if shape == (*source.shape, 1)
                else "they are the last samples before the frame's release; `sources` says what a frame needs",
            )
        assert given is not None
        require_samples(f"source `{source.stage}`", source.kind, given)


def known_unbroken(
    sources: Collection[SourceWindow], unbroken: Sequence[object], frames: int
) -> tuple[dict[str, int], ...]:
    """Of each frame, how many samples at the end of a source's window came, none lost between, in plain numbers."""
    if not isinstance(unbroken, Sequence) or len(unbroken) != frames:
        raise InputError(
            f"`unbroken` is of {frames} frames, got {_counted(unbroken)}",
            hint="[{source: samples}, ...], with {} for a frame that has lost none",
        )
    known = {source.stage: source for source in sources}
    return tuple([_unbroken(known, one) for one in unbroken])


def _unbroken(known: Mapping[str, SourceWindow], told: object) -> dict[str, int]:
    if not isinstance(told, Mapping):
        raise InputError(
            f"`unbroken` is given by source stage, got {type(told).__name__}",
            hint="{source: how many samples came after the last that was lost}",
        )
    for name in told:
        if name not in known:
            raise InputError(
                f"`unbroken` names `{name}`, and no source is called so",
                hint=did_you_mean(str(name), list(known), "there are"),
            )
    return {name: whole(many, f"unbroken of {name}", most=known[name].samples) for name, many in told.items()}


def _counted(given: object) -> str:
    return f"{len(given)}" if isinstance(given, Sequence) else type(given).__name__


def require_samples(where: str, kind: str, samples: np.ndarray) -> None:
    """Samples of a stream of this kind that are taken at their value: nobody guesses a scale."""
    if kind == "audio" and samples.dtype not in _AUDIO:
        raise InputError(
            f"{where} takes audio as int16, or as float32 or float64 from -1 to 1, got {samples.dtype}",
            hint=_CONVERSIONS.get(samples.dtype.name, "bring it to floats from -1 to 1"),
        )
    if type(samples) is not np.ndarray and np.ma.is_masked(samples):  # Naming `np.ma` imports it.
        raise InputError(
            f"{where} takes numbers, and {_sample(_first(np.ma.getmaskarray(samples)))} is masked",
            hint="put a number where nothing was recorded: samples.filled(0)",
        )
    if samples.dtype.kind not in "iuf":
        raise InputError(f"{where} takes real numbers, got {samples.dtype}", hint="samples.astype(numpy.float32)")
    if samples.dtype.kind != "f" or samples.size == 0:
        return
    if kind != "audio" and samples.dtype.itemsize <= 4 and all_finite(samples):  # None of these is too great.
        return
    # NaN and infinity come through both, so that samples are looked at twice and not three times.
    least, greatest = np.minimum.reduce(samples, axis=None), np.maximum.reduce(samples, axis=None)
    if not -_TOO_GREAT < float(least) <= float(greatest) < _TOO_GREAT:
        place = _first(~_finite(samples))
        too_great = ", more than float32 has room for" if np.isfinite(samples[place]) else ""
        raise InputError(
            f"{where} takes numbers, and {_sample(place)} is {samples[place]}{too_great}",
            hint="put a number, such as 0, where nothing was recorded, or leave the frame out",
        )
    if kind == "audio" and (least < -1 or greatest > 1):
        raise InputError(
            f"{where} takes floats from -1 to 1 as audio, got {least:g} to {greatest:g}",
            hint="divide them by the largest value they can have; 16-bit samples are taken as they are, as int16",
        )


def all_finite(array: np.ndarray) -> bool:
    """Whether no number of it is NaN or infinite."""
    return b"\0" not in np.isfinite(array).tobytes()  # In a third of the time that `all()` takes where it is small.


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    """Where the first one is."""
    return tuple(int(at) for at in np.argwhere(wrong)[0])


def _sample(place: tuple[int, ...]) -> str:
    """A place in a window, in words; of a stream with one channel that is not named."""
    return f"sample {place[0]}{f' of channel {place[1]}' if len(place) > 1 else ''}"


def _finite(samples: np.ndarray) -> np.ndarray:
    """Which of them are finite numbers as float32, which is what stages read."""
    with np.errstate(over="ignore"):
        found: np.ndarray = np.isfinite(samples.astype(np.float32, copy=False))
    return found
