"""Finds what ships with leo-runtime, by name: machines, profiles, and the demo's workload and recordings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.schema import require_path

if TYPE_CHECKING:
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.profile import Profile
    from leo_runtime.documents.workload import Workload
    from leo_runtime.recordings.recording import Recording

PHONE = "snapdragon-800"
HOST = "host"


def folder() -> Path:
    """Where machines and profiles are: the installed package `leo_profiles`, or `profiles/` of a checkout."""
    spec = find_spec("leo_profiles")
    if spec is None or spec.origin is None:
        return Path(__file__).parent.parent / "profiles"
    return Path(spec.origin).parent


def names(kind: str) -> tuple[str, ...]:
    """The shipped documents of a kind, `hardware` or `profile`, in alphabetical order. Raises `InputError`."""
    if kind not in ("hardware", "profile"):
        raise InputError(f"no documents of the kind `{kind}` ship", hint="one of hardware, profile")
    return tuple(sorted(path.name.removesuffix(f".{kind}.toml") for path in folder().glob(f"*.{kind}.toml")))


def hardware(name_or_file: str) -> Hardware:
    """A machine, by the name it ships under or from a file. Raises `DocumentError`, `InputError`."""
    from leo_runtime.documents.hardware import Hardware

    return Hardware.from_file(_path(name_or_file, "hardware"))


def profile(name_or_file: str) -> Profile:
    """A profile, by the name it ships under or from a file. Raises `DocumentError`, `InputError`."""
    from leo_runtime.documents.profile import Profile

    return Profile.from_file(_path(name_or_file, "profile"))


def workload(*files: str | None) -> Workload:
    """A workload by the name it ships under or from a file; of several, the graphs of all. None: the demo's.

    A file of such a name goes before what ships. Raises `DocumentError`, `GraphError`, and `InputError` where two of
    them have a graph of one name, or streams of one name that differ.
    """
    first, *others = map(_workload, files or (None,))
    for other in others:
        first = _beside(first, other)
    return first


def _workload(file: str | None) -> Workload:
    from leo_runtime import demo
    from leo_runtime.documents.workload import Workload

    if file is None:
        return Workload.from_file(demo.WORKLOAD)
    ships = isinstance(file, str) and file in demo.WORKLOADS and not Path(file).is_file()
    return Workload.from_file(demo.WORKLOADS[file] if ships else file)


def _beside(one: Workload, other: Workload) -> Workload:
    """Both workloads as one, which has the objective of the first."""
    both = f"workloads `{one.name}` and `{other.name}`"
    graphs = {graph.name for graph in one.graphs}
    for graph in other.graphs:
        if graph.name in graphs:
            raise InputError(f"{both} both have a graph `{graph.name}`", hint="give it another name in one of them")
    streams = {stream.name: stream for stream in one.streams}
    for stream in other.streams:
        if streams.get(stream.name, stream) != stream:
            raise InputError(
                f"{both} have streams `{stream.name}` that differ", hint="give it another name in one of them"
            )
    added = one.with_graphs(*other.graphs, streams=other.streams)
    return added.model_copy(update={"name": f"{one.name}+{other.name}"})


def recordings() -> tuple[str, ...]:
    """The demo's recordings, in alphabetical order."""
    from leo_runtime import demo

    return tuple(sorted(path.parent.name for path in demo.RECORDINGS.glob("*/recording.toml")))


def recording(name_or_folder: str) -> Recording:
    """A recording, by the name it ships under, from a folder, from an MCAP or ROS bag, or from what a logger exported.

    A folder of such a name goes before it if it holds a recording. Raises `DocumentError`, `RecordingError`.
    """
    from leo_runtime import demo
    from leo_runtime.recordings.opening import open_recording
    from leo_runtime.recordings.recording import Recording

    require_path(name_or_folder)
    if name_or_folder in recordings() and not _exists(Path(name_or_folder) / "recording.toml"):
        return Recording.from_file(demo.RECORDINGS / name_or_folder)
    if name_or_folder and (_exists(Path(name_or_folder)) or name_or_folder.endswith(".toml")):
        return open_recording(Path(name_or_folder))
    known = did_you_mean(name_or_folder, recordings())
    raise InputError(
        f"no recording, folder or file is called `{name_or_folder}`",
        hint=f"{known}, or the path of a folder, an export, an MCAP, a bag or sound",
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # A name that no file can have.
        return False


def _path(name_or_file: str, kind: str) -> Path:
    require_path(name_or_file)
    if Path(name_or_file).suffix in (".toml", ".json"):
        return Path(name_or_file)
    if name_or_file in names(kind):
        return folder() / f"{name_or_file}.{kind}.toml"
    raise InputError(
        f"no {kind} is called `{name_or_file}`",
        hint=f"{did_you_mean(name_or_file, names(kind))}, or a file that ends in .toml or .json",
    )
