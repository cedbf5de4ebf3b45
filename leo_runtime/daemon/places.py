"""Where the daemon keeps things: where systemd says, else where XDG does. Only reads the environment it is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

NAME = "leo-runtime"


def state_dir(environment: Mapping[str, str]) -> Path:
    """What is kept from start to start: `STATE_DIRECTORY` of systemd, else below `XDG_STATE_HOME`."""
    return _place(environment, "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state")


def cache_dir(environment: Mapping[str, str]) -> Path:
    """What can be made again: `CACHE_DIRECTORY` of systemd, else below `XDG_CACHE_HOME`."""
    return _place(environment, "CACHE_DIRECTORY", "XDG_CACHE_HOME", ".cache")


def runtime_dir(environment: Mapping[str, str]) -> Path:
    """Sockets: `RUNTIME_DIRECTORY` of systemd, else below `XDG_RUNTIME_DIR`, else with the state."""
    given = environment.get("RUNTIME_DIRECTORY") or environment.get("XDG_RUNTIME_DIR")
    if not given:
        return state_dir(environment)
    return _place(environment, "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "")


def _place(environment: Mapping[str, str], by_systemd: str, by_xdg: str, else_home: str) -> Path:
    if given := environment.get(by_systemd):
        return Path(given.partition(":")[0])
    home = environment.get(by_xdg)
    return Path(home) / NAME if home else Path(environment.get("HOME") or "~").expanduser() / else_home / NAME
