"""What is written for who begins: a unit of systemd, and a config that runs at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from leo_runtime.errors import InputError

EXAMPLE_FILE = "leo.toml"
STOP_S = 10
"""How much longer than it may drain systemd gives the daemon to end."""

_EXAMPLE = """\
# A daemon that plays the shipped recording as if its sensors were here: `leo-runtime daemon {file}`
format = "leo-daemon/1"

# What runs: the demo's pipelines, as long as no other workload is named.
# workload = "workload.toml"
graphs = {graphs}

# Whose processors, and what stages cost there. For this machine: `leo-runtime calibrate --out host.profile.json`,
# then machine = "host" and profile = "host.profile.json".
machine = "arm-board"

# How long the daemon may take to end what is in flight.
drain_s = 5

[[sources]]
kind = "recording"
recording = "demo"
loop = true

# Answers as lines of JSON on standard output; `path = "answers.jsonl"` writes a file.
[[sinks]]
kind = "lines"

# The same on a Unix socket.
# [[sinks]]
# kind = "socket"

# When an answer is to be acted on (`"fired": true`): found in 3 of the last 4 answers, and not again for 10 s.
[[decisions]]
graph = "activity"
after = 3
of = 4
hold_off_s = 10
"""


def example(has: Callable[[str], bool] = lambda module: find_spec(module) is not None) -> str:
    """A config that runs on the shipped recording with what is installed; `has` says whether a module is."""
    graphs = ["speech", "speaker", "scene", "activity"]
    said = ""
    if has("ai_edge_litert") or has("tflite_runtime"):
        graphs.insert(0, "wake_word")
    else:
        said = '  # and "wake_word" with the extra `tflite`'
    named = ", ".join(f'"{graph}"' for graph in graphs)
    return _EXAMPLE.format(file=EXAMPLE_FILE, graphs=f"[{named}]{said}")


def write_example(folder: Path) -> Path:
    """Write it into a folder, which is made. Raises `InputError`, also where there is a config already."""
    path = folder / EXAMPLE_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(example())
    except FileExistsError:
        raise InputError(f"{path}: is there already, and would be lost", hint="name another folder") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error})", hint="name a folder you may write to"
        ) from None
    return path


def unit(command: str, config: Path, drain_s: float, *, uses_network: bool = False) -> str:
    """A unit of systemd that runs `command` with a config; `uses_network`: not Unix sockets alone."""
    text = files("leo_runtime.daemon").joinpath("leo-runtime.service").read_text()
    for key, value in {
        "COMMAND": _quoted(command),
        "CONFIG": _quoted(str(config)),
        "STOP_S": str(math.ceil(drain_s) + STOP_S),
        "NETWORK": " AF_INET AF_INET6" if uses_network else "",
    }.items():
        text = text.replace(f"@{key}@", value)
    return text


def _quoted(word: str) -> str:
    """A word as systemd reads it in a command."""
    word = word.replace("%", "%%").replace("$", "$$")
    if any(c.isspace() or c in "\"'\\;" for c in word):
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return word
