"""Unix sockets of the daemon's own user: listening, and asking who has connected."""

from __future__ import annotations

import os
import socket
import struct
import threading
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
    """A socket that listens. `close` takes its file away, unless others here have it, or another one stands there."""

    def __init__(self, socket: socket.socket, place: _Place | None) -> None:
        """`place` None: its file is somebody else's to take away."""
        self.socket = socket
        self._place = place

    def close(self) -> None:
        """Listen no more. Closing twice is fine."""
        self.socket.close()
        if self._place is not None:
            self._place.leave()
            self._place = None


class _Place:
    """A socket's file and how many of this process listen there: one in place of another, as in a reload.

    They share the socket, so that who has connected meanwhile is lost by neither, and who leaves takes nothing away
    from the one that stays.
    """

    def __init__(self, path: Path, own: socket.socket, inode: int) -> None:
        self._path = path
        self._own = own
        self._inode = inode
        self._users = 0

    def join(self) -> Listening:
        """One more. Behind the lock."""
        self._users += 1
        return Listening(self._own.dup(), self)

    def leave(self) -> None:
        """One less."""
        with _lock:
            self._users -= 1
            if self._users:
                return
            if _places.get(self._path) is self:
                del _places[self._path]
            with suppress(OSError):
                if self.is_there():
                    self._path.unlink()
            self._own.close()

    def is_there(self) -> bool:
        """Whether its file is, and no other one stands in its place."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False


_lock = threading.Lock()
_places: dict[Path, _Place] = {}
"""Where this process listens."""


def place(given: str, folder: Path, runtime_dir: Path) -> Path:
    """Where a socket of the config is: a name alone is in the runtime directory, else relative to `folder`."""
    path = Path(given).expanduser()
    return folder / path if "/" in given else runtime_dir / path


def own_place(given: str, folder: Path) -> str:
    """What tells sockets of a config apart: two of the same are one."""
    path = Path(given).expanduser()
    return os.path.normpath(folder / path) if "/" in given else given


def check(given: str, path: Path) -> None:
    """Raise `InputError` for a place where no socket can be; another process may listen there."""
    if not given.startswith(BY_SYSTEMD):
        _require_length(path)
        _require_socket(path)


def listen(given: str, path: Path, sockets: Mapping[str, socket.socket]) -> Listening:
    """Listen at a path, which only the daemon's user may connect to, or on a socket that systemd has opened.

    A socket that a daemon left behind is replaced; one of this process is shared, and not to be used for anything else.
    Raises `InputError`.
    """
    if given.startswith(BY_SYSTEMD):
        name = given.removeprefix(BY_SYSTEMD)
        if name not in sockets:
            raise InputError(
                f"systemd has opened no socket called `{name}`",
                hint=f"it has opened {', '.join(sockets)}" if sockets else "`FileDescriptorName=` of the .socket unit",
            )
        return Listening(sockets[name].dup(), None)
    _require_length(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = path.parent.resolve() / path.name
    except OSError as error:
        raise _unusable(path, error) from None
    with _lock:
        if path not in _places or not _places[path].is_there():
            _places[path] = _Place(path, *_bound(path))
        return _places[path].join()


def _require_length(path: Path) -> None:
    """Raise `InputError` for a path that no socket can have."""
    for one in (path, _beside(path)):
        if len(os.fsencode(one)) > LONGEST_PATH:
            raise InputError(
                f"the path of a socket has at most {LONGEST_PATH} bytes, and {one} is longer", hint="name a shorter one"
            )


def _beside(path: Path) -> Path:
    """Where it is made ready."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def _bound(path: Path) -> tuple[socket.socket, int]:
    """A socket that listens there, and the number of its file. Raises `InputError`."""
    beside = _beside(path)
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _require_free(path)
        beside.unlink(missing_ok=True)
        own.bind(str(beside))
        beside.chmod(0o600)  # Nobody can connect before `listen`.
        own.listen(16)
        inode = beside.stat().st_ino
        beside.replace(path)
    except OSError as error:
        own.close()
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise _unusable(path, error) from None
    except InputError:
        own.close()
        raise
    return own, inode


def _unusable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be listened on ({error.strerror or error})", hint="name a folder you may write to"
    )


def _require_socket(path: Path) -> None:
    if path.exists() and not path.is_socket():
        raise InputError(f"{path}: is no socket, and would be lost", hint="name another place, or take it away")


def _require_free(path: Path) -> None:
    """Raise `InputError` where something stands there that is in use, or is no socket."""
    _require_socket(path)
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:  # Nobody listens any more.
            return
        except OSError:
            pass
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
