"""Unix sockets of the daemon's own user: listening, and asking who has connected."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from leo_runtime.errors import InputError

BY_SYSTEMD = "systemd:"
"""What the place of a socket begins with that systemd has opened."""
LONGEST_PATH = 107
"""In bytes: the system's own limit."""
_CREDENTIALS = struct.Struct("3i")


class Listening:
    """A socket that listens. `close` takes its file away, unless another one stands in its place by then."""

    def __init__(self, socket: socket.socket, path: Path | None) -> None:
        """`path` None: it is somebody else's to take away."""
        self.socket = socket
        self._path = path
        self._inode = None if path is None else path.stat().st_ino

    def close(self) -> None:
        """Listen no more. Closing twice is fine."""
        self.socket.close()
        if self._path is not None:
            with suppress(OSError):
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()
            self._path = None


def place(given: str, folder: Path, runtime_dir: Path) -> Path:
    """Where a socket of the config is: a name alone is in the runtime directory, else relative to `folder`."""
    path = Path(given).expanduser()
    return folder / path if "/" in given else runtime_dir / path


def listen(given: str, path: Path, sockets: Mapping[str, socket.socket]) -> Listening:
    """Listen at a path, which only the daemon's user may connect to, or on a socket that systemd has opened.

    A socket that a daemon left behind is replaced, and one of this process, too. Raises `InputError`.
    """
    if given.startswith(BY_SYSTEMD):
        name = given.removeprefix(BY_SYSTEMD)
        if name not in sockets:
            raise InputError(
                f"systemd has opened no socket called `{name}`",
                hint=f"it has opened {', '.join(sockets)}" if sockets else "`FileDescriptorName=` of the .socket unit",
            )
        return Listening(sockets[name].dup(), None)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    for one in (path, beside):
        if len(os.fsencode(one)) > LONGEST_PATH:
            raise InputError(
                f"the path of a socket has at most {LONGEST_PATH} bytes, and {one} is longer", hint="name a shorter one"
            )
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_free(path)
        beside.unlink(missing_ok=True)
        own.bind(str(beside))
        beside.chmod(0o600)  # Nobody can connect before `listen`.
        own.listen(16)
        beside.replace(path)
    except OSError as error:
        own.close()
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be listened on ({error.strerror or error})", hint="name a folder you may write to"
        ) from None
    except InputError:
        own.close()
        raise
    return Listening(own, path)


def _require_free(path: Path) -> None:
    """Raise `InputError` where something stands there that is in use, or is no socket."""
    if not path.exists():
        return
    if not path.is_socket():
        raise InputError(f"{path}: is no socket, and would be lost", hint="name another place, or take it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:  # Nobody listens any more.
            return
        except OSError:
            pass
        else:
            if peer(probe)[0] == os.getpid():
                return
    raise InputError(f"{path}: another process listens there", hint="is another daemon running? Name another place")


def peer(connection: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end. Raises `OSError`."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def is_own(connection: socket.socket) -> bool:
    """Whether the other end is of the daemon's user, or root's."""
    try:
        return peer(connection)[1] in (os.geteuid(), 0)
    except OSError:
        return False
