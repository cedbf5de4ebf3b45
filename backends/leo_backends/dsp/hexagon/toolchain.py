"""Finds clang, ld.lld and qemu-hexagon, and builds the program once for each target, in the user's cache directory."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from leo_backends.dsp.operators import PROGRAMS
from leo_runtime.errors import DeviceUnavailableError

SOURCES = Path(__file__).parent / "program"
BUILD_TIMEOUT_S = 120
INSTALL_HINT = "apt-get install qemu-user clang lld (Debian and Ubuntu), or choose the arithmetic `numpy`"

_FLAGS = (
    "--target=hexagon-unknown-linux-musl",
    "-std=c11",
    "-O3",
    "-ffreestanding",
    "-nostdlib",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    # What program/operators.h declares, and operators.c has in this order.
    f"-DPROGRAMS={' '.join(f'X({name})' for name in PROGRAMS)}",
)

TARGETS: dict[str, tuple[str, ...]] = {
    "v5": ("-mcpu=hexagonv5",),
    "v67": ("-mcpu=hexagonv67",),
    "v67-hvx": ("-mcpu=hexagonv67", "-mhvx", "-mhvx-length=128b", "-mllvm", "-hexagon-autohvx"),
}
"""What the program can be built for: the core of a Snapdragon 800, a later one, and that one's vector unit."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Where the three programs are."""

    clang: str
    linker: str
    qemu: str


def find_toolchain(path: str | None = None) -> Toolchain:
    """Look on `path` (None: the environment's). Raises `DeviceUnavailableError`, which names all that is missing."""
    names = ("clang", "ld.lld", "qemu-hexagon")
    found = {name: shutil.which(name, path=path) for name in names}
    if missing := [name for name in names if found[name] is None]:
        raise DeviceUnavailableError(
            f"the Hexagon instruction set needs {', '.join(missing)}, not found on the path", hint=INSTALL_HINT
        )
    return Toolchain(*(str(found[name]) for name in names))


def cache_directory() -> Path:
    """Where programs are kept: below `XDG_CACHE_HOME`, or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leo-runtime" / "hexagon"


def build(tools: Toolchain, target: str, directory: Path | None = None) -> Path:
    """The program for a target, built unless the same sources, flags and compiler already were.

    Two processes may build at once: each writes a file of its own and moves it into place. Raises
    `DeviceUnavailableError` when the compiler fails or nothing can be written.
    """
    sources = sorted(SOURCES.glob("*.c"))
    flags = (*_FLAGS, *TARGETS[target])
    place = directory if directory is not None else cache_directory()
    program = place / f"{target}-{_digest(tools, flags)}"
    if program.is_file():
        return program
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=place) as work:
            # One call for all: the compiler puts each object where it is run.
            _run([tools.clang, *flags, "-c", *map(str, sources)], work)
            _run([tools.linker, *(f"{source.stem}.o" for source in sources), "-e", "_start", "-o", "program"], work)
            (Path(work) / "program").replace(program)
    except OSError as error:
        raise DeviceUnavailableError(
            f"{place}: the Hexagon program cannot be built there ({error.strerror or error})",
            hint="set XDG_CACHE_HOME to a directory that can be written to",
        ) from None
    return program


def _digest(tools: Toolchain, flags: tuple[str, ...]) -> str:
    """What the program depends on: every source and header, the flags, and the compiler's own version."""
    try:
        version = _run([tools.clang, "--version"])
    except OSError as error:
        raise DeviceUnavailableError(f"{tools.clang} cannot be run ({error})", hint=INSTALL_HINT) from None
    digest = hashlib.sha256("\0".join((version, *flags)).encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _run(command: list[str], place: str | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise DeviceUnavailableError(f"{command[0]} did not end within {BUILD_TIMEOUT_S} s") from None
    if done.returncode != 0:
        says = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
        raise DeviceUnavailableError(
            f"{command[0]} failed on the Hexagon program: {says}", hint="clang 14 and lld 14 are known to build it"
        )
    return done.stdout
