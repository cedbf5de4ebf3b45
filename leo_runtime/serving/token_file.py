"""The token that clients must send, as its file has it now: it is renewed without the server being started anew."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from leo_runtime.errors import InputError

SHORTEST_TOKEN = 16

log = logging.getLogger(__name__)


class TokenFile:
    """A file that holds a token. From any thread."""

    def __init__(self, path: Path) -> None:
        """Raises `InputError` for a file that holds none."""
        self._path = path
        self._mark = self._marked()
        self._token = read_token(path)

    def __call__(self) -> str:
        """The token of now. A file that has none, as one that is being written, leaves the one of before."""
        mark = self._marked()
        if mark != self._mark:
            self._mark = mark
            try:
                self._token = read_token(self._path)
            except InputError as error:
                log.warning("%s; the one of before holds on", error)
            else:
                log.info("%s holds another token, which is asked for from here on", self._path)
        return self._token

    def all_can_read(self) -> bool:
        """Whether every user of this machine can."""
        return bool(self._path.stat().st_mode & stat.S_IROTH)

    def _marked(self) -> object:
        """Another for another file; the same for none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def read_token(path: Path) -> str:
    """The token in a file. Raises `InputError` where it holds none."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no ASCII"
        raise InputError(f"the token file {path} cannot be read ({why})") from None
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise InputError(
            f"the token in {path} has {len(token)} characters, or some that no header holds",
            hint=f"{SHORTEST_TOKEN} at least, such as by `openssl rand -hex 32`",
        )
    return token
