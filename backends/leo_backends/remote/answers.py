"""What a server answered, or why it did not, in words."""

from __future__ import annotations

import errno
import http.client
import ssl
from dataclasses import dataclass

from leo_backends.remote.options import Place
from leo_runtime.backend.open_inference import read_json
from leo_runtime.backend.transfers import SilentError, StrangerError
from leo_runtime.errors import DeviceUnavailableError, InputError, KernelError, LeoError, printable

GATEWAYS = frozenset((407, 502, 503, 504, 511, *range(300, 400), *range(520, 531)))
"""Statuses by which somebody else on the way answers, unless the body is the server's own JSON."""
_OF_ANOTHER_TIME = (9, 10)
"""OpenSSL's codes for a certificate that does not hold yet, or no more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes
    json_length: int | None
    closes: bool
    """The connection ends behind it."""
    run_us: int | None
    """How long the server says that it took."""
    queued_us: int | None = None
    """And how long it waited for its turn."""
    took_us: int = 0
    """From its first byte on until the answer was here: not what a new connection took."""
    answered_us: int = 0
    """Of that, how long it was until the answer began."""


def is_of_another(answer: Answer) -> bool:
    """Whether somebody else on the way answered: a proxy whose server is gone, a network that asks for a login.

    All that a server says where it does what it is asked for is an object of JSON, with or without bytes behind it.
    """
    return answer.status in (200, *GATEWAYS) and answer.body.lstrip()[:1] != b"{"


def refused(url: str, answer: Answer, what: str) -> LeoError:
    """Why the server did not do what it was asked for, in words."""
    try:
        said = str(read_json(answer.body).get("error", ""))
    except InputError:
        said = answer.body[:300].decode("utf-8", "replace")
    reason = printable(said)[:500] or http.client.responses.get(answer.status, "no reason given")
    if is_of_another(answer):
        return StrangerError(
            f"{what}: what answered {answer.status} ({reason}) for {url} does not speak the Open Inference Protocol v2",
            hint="is that the right port? A proxy answers so whose server is gone, and a network that wants a login",
        )
    hint = {
        401: "name the server's token in the processor's options: token_file",
        403: "ask who runs the server whether this machine may use it",
        404: "let the server run the same workload, of the same version, or name the model in `models`",
        413: "let the server take more: --max-bytes",
        429: "let fewer lanes use the server, or give it more workers",
        503: "let fewer lanes use the server, or give it more workers",
        504: "give the processor a longer timeout_s, or the server more workers",
    }.get(answer.status, "")
    return KernelError(f"{what}: the server {url} answered {answer.status} ({reason})", hint=hint)


def too_large(url: str, most_bytes: int, length: int | None = None) -> KernelError:
    """It answered more than was expected: so many bytes, where it said that beforehand."""
    if length is not None:
        return KernelError(f"the server {url} answered {length} bytes, {most_bytes} at most were expected")
    return KernelError(f"the server {url} answered more than the {most_bytes} bytes that were expected")


def unavailable(place: Place, error: BaseException) -> DeviceUnavailableError:
    """Why the server cannot be used now, in words."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return DeviceUnavailableError(
            f"no connection to the server {place.url} can be opened ({error.strerror})",
            hint="let this process have more files: ulimit -n",
        )
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OF_ANOTHER_TIME:
        return DeviceUnavailableError(
            f"the server {place.url} shows a certificate that does not hold now ({error.verify_message})",
            hint="is this machine's clock right? If so, the server needs a new certificate",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return StrangerError(
            f"the server {place.url} shows a certificate that is not trusted ({error.verify_message})",
            hint="name the certificate that signed it in the processor's options: ca_file",
        )
    if isinstance(error, ssl.SSLError):
        return DeviceUnavailableError(
            f"no TLS with the server {place.url} ({error.reason or error})",
            hint="does it speak TLS there? Without, its URL begins with http://",
        )
    if isinstance(error, TimeoutError):
        return SilentError(
            f"the server {place.url} was silent for too long (connect_timeout_s {place.connect_timeout_s:g}, "
            f"timeout_s {place.timeout_s:g})",
            hint="look at the network and at what the server does",
        )
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
        return StrangerError(f"what answers at {place.url} does not speak HTTP", hint="is that the right port?")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DeviceUnavailableError(
        f"the server {place.url} cannot be reached, or hung up ({printable(str(why))[:200]})",
        hint="is `leo-runtime serve` running there, and is the port open?",
    )


def number_of(text: str | None) -> int | None:
    """A number that a server said; None where it is none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None
