"""The token that clients must send, as its file has it now: it is renewed without the server being started anew."""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path

from leo_runtime.errors import InputError

SHORTEST_TOKEN, LONGEST_TOKEN = 16, 4_096

log = logging.getLogger(__name__)


class TokenFile:
    """A file that holds a token. From any thread.

    It is read for every request. That takes some microseconds, as it would to ask for its time, and misses no change:
    none within one tick of that time, nor that what could not be read can be now. What is no file, such as a pipe, is
    read once.
    """

    def __init__(self, path: Path) -> None:
        """Raises `InputError` for a file that holds none."""
        said = _said(path)
        self._known = said, _token_in(said, path)
        """What the file held last, and the token."""
        self._path, self._is_file = path, path.is_file()
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """The token of now. A file that has none, as one that is being written, leaves the one of before."""
        known, token = self._known
        if not self._is_file or _said(self._path, os.O_NONBLOCK) == known:
            return token
        with self._lock:  # And once more: who read something older waits here no longer.
            said, (known, token) = _said(self._path, os.O_NONBLOCK), self._known
            if said != known:
                self._known = said, self._renewed(said, token)
            return self._known[1]

    def _renewed(self, said: bytes | str, token: str) -> str:
        try:
            found = _token_in(said, self._path)
        except InputError as error:
            log.warning("%s; the one of before holds on", error)
            return token
        if found != token:
            log.info("%s holds another token, which is asked for from here on", self._path)
        return found

    def all_can_read(self) -> bool:
        """Whether every user of this machine can."""
        return bool(self._path.stat().st_mode & stat.S_IROTH)


def _said(path: Path, flags: int = 0) -> bytes | str:
    """What a file holds, no more than is looked at; or why it cannot be read."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | flags)
        try:
            said = b""
            while len(said) <= LONGEST_TOKEN and (more := os.read(number, LONGEST_TOKEN + 1)):
                said += more
            return said
        finally:
            os.close(number)
    except OSError as error:
        return error.strerror or str(error)


def _token_in(said: bytes | str, path: Path) -> str:
    """The token in what a file holds. Raises `InputError` where it holds none."""
    if isinstance(said, bytes) and not said.isascii():
        said = "it is no ASCII"
    if isinstance(said, str):
        raise InputError(f"the token file {path} cannot be read ({said})")
    token = said.decode().strip()
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN or not token.isprintable() or " " in token:
        raise InputError(
            f"the token in {path} has {len(token)} characters, or some that no header holds",
            hint=f"{SHORTEST_TOKEN} at least, such as by `openssl rand -hex 32`",
        )
    return token
