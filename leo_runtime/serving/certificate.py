"""The certificate of a server, and its key, as their files are as somebody connects: they are renewed every few weeks,
or days, by somebody who does not start the server anew.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.errors import InputError

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)


class Certificate:
    """How a server speaks TLS. From any thread."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises `InputError` for files that cannot be used."""
        self._files = certificate, key
        self._lock = threading.Lock()
        self._marks = self._marked()
        self._failed: tuple[object, ...] | None = None
        """The marks of the files that could not be used last, of which was told."""
        self._context = _context(certificate, key)

    def context(self) -> ssl.SSLContext:
        """Who connects now is answered by this."""
        self.renew()
        return self._context

    def renew(self) -> bool:
        """Whether the files are others than before, and can be used. Others that cannot are told of once, and tried
        again as the next one connects: one may be there before the other, or nobody can read it yet.
        """
        marks = self._marked()
        with self._lock:
            if marks == self._marks:
                return False
            try:
                self._context = _context(*self._files)
            except InputError as error:
                if marks != self._failed:
                    log.warning("%s; the one of before is shown on", error)
                self._failed = marks
                return False
            self._marks, self._failed = marks, None
            log.info("the certificate %s is another one, which is shown from here on", self._files[0])
            return True

    def pems(self) -> tuple[bytes, bytes]:
        """The certificate and the key. Raises `InputError`."""
        try:
            certificate, key = (path.read_bytes() for path in self._files)
        except OSError as error:
            raise _unusable(*self._files, error) from None
        return certificate, key

    def _marked(self) -> tuple[object, ...]:
        """Another for other files; the same for none."""
        try:
            found = [path.stat() for path in self._files]
        except OSError:
            return ()
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    import ssl  # It takes a megabyte, which a server without TLS can do without.

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")  # Without one it would ask the terminal.
    except OSError as error:  # Those of ssl are such, too.
        raise _unusable(certificate, key, error) from None
    return context


def _unusable(certificate: Path, key: Path, error: OSError) -> InputError:
    return InputError(
        f"the certificate {certificate} with the key {key} cannot be used ({error.strerror or error})",
        hint="both are PEM files, and the key is the certificate's and has no password",
    )
