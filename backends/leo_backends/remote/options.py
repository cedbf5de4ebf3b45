"""What a processor that is a server may be told, and what follows from it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from leo_backends.options import read_options
from leo_runtime.documents.hardware import Processor
from leo_runtime.errors import DeviceUnavailableError, DocumentError
from leo_runtime.schema import Name, PathName, Value

AUTHORIZATION = "Authorization"
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class RemoteOptions(Value):
    """What a processor that is a server may be told."""

    url: Name
    """`http://HOST:PORT` or `https://HOST:PORT`, with a path where the server's begins with one; `grpc://HOST:PORT`, or
    `grpcs://HOST:PORT` with TLS."""
    token_file: PathName | None = None
    """Holds the token that is sent as `Authorization: Bearer TOKEN`."""
    ca_file: PathName | None = None
    """Certificates (PEM) that are trusted, in place of the system's."""
    connect_timeout_s: Seconds = 2.0
    """How long a connection may take to come about."""
    wait_s: Annotated[float, Field(ge=0, le=3_600)] = 0.0
    """How long a server that is not there yet is waited for as the backend is opened."""
    timeout_s: Seconds = 10.0
    """How long an answer may take from the request on; the server is told, and runs nothing that comes too late."""
    binary: bool | None = None
    """Whether tensors go as bytes; None: where the server lists that. KServe takes bytes without listing it. By gRPC
    they always do."""
    models: dict[Name, Name] = Field(default_factory=dict)
    """By stage, the model that it is on a server of another make, `name` or `name/version`; others have the stage's
    name. With `leo-runtime serve` stages are found by what they are."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and how it is spoken to."""

    url: str
    host: str
    port: int
    path: str
    """Before that of each request."""
    tls: ssl.SSLContext | None
    headers: dict[str, str]
    """Of every request."""
    connect_timeout_s: float
    timeout_s: float
    is_grpc: bool = False
    roots: bytes = b""
    """The certificates that are trusted, as PEM, for gRPC, which knows no `ssl.SSLContext`."""
    token_file: str | None = None

    @property
    def name(self) -> str:
        """The host as the server knows it: which of our interfaces leads there is no part of that (RFC 6874)."""
        return self.host.partition("%")[0]


def options_of(processor: Processor) -> RemoteOptions:
    """The processor's options. Raises `DocumentError`; `DeviceUnavailableError` where no server is named."""
    if "url" not in processor.options:
        raise DeviceUnavailableError(
            f"processor `{processor.name}` names no server",
            hint='name one in its options: url = "http://HOST:8080"',
        )
    return read_options(processor, RemoteOptions)


def place_of(options: RemoteOptions, processor: str) -> Place:
    """Where the server is. Raises `DocumentError` for a wrong URL, or for files that cannot be used."""
    source = f"options of processor `{processor}`"
    try:
        parts = urlsplit(options.url)
        host, port = parts.hostname, parts.port
        if host is not None and ":" in host:  # As URLs say behind which interface it is; others say it without.
            host = host.replace("%25", "%")
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    is_sent = options.url.isascii() and options.url.isprintable() and " " not in options.url
    is_grpc = parts.scheme in ("grpc", "grpcs")
    is_whole = port is not None and parts.path in ("", "/") if is_grpc else parts.scheme in ("http", "https")
    if not is_whole or not host or not is_plain or not is_sent:
        raise DocumentError(
            source, "that is no URL of a server", "$.url", options.url, hint="such as https://cloud.example:8443"
        )
    if is_grpc and options.binary is False:
        raise DocumentError(source, "by gRPC tensors go as bytes", "$.binary", "false", hint="leave it out")
    headers = {} if is_grpc else {"Accept-Encoding": "identity"}
    if options.token_file is not None:
        headers[AUTHORIZATION] = f"Bearer {_token(options.token_file, source)}"
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return Place(
        url=options.url,
        host=host,
        port=port,
        token_file=options.token_file,
        roots=_roots(options.ca_file, source) if parts.scheme == "grpcs" else b"",
        path=parts.path.rstrip("/"),
        tls=_tls(options.ca_file, source) if parts.scheme in ("https", "grpcs") else None,
        headers=headers,
        connect_timeout_s=options.connect_timeout_s,
        timeout_s=options.timeout_s,
        is_grpc=is_grpc,
    )


def with_token_of_now(place: Place) -> Place:
    """It with the token that the file holds now; as it is where that is the same, or cannot be read."""
    if place.token_file is None:
        return place
    try:
        said = f"Bearer {_token(place.token_file, '')}"
    except DocumentError:  # It is about to be written: the one of before may still do.
        return place
    if said == place.headers.get(AUTHORIZATION):
        return place
    return replace(place, headers={**place.headers, AUTHORIZATION: said})


def _roots(ca_file: str | None, source: str) -> bytes:
    """The certificates in a file, all of them: of those that sign themselves `ssl` lists only such as may sign others.
    Else the system's, of which it lists none before they are needed; nothing where there are none.
    """
    system = ssl.get_default_verify_paths()
    try:
        if ca_file is not None:
            return Path(ca_file).expanduser().read_bytes()
        if system.cafile is not None:
            return Path(system.cafile).read_bytes()
        files = sorted(Path(system.capath).glob("*.[0-9]")) if system.capath is not None else []
        return b"\n".join(file.read_bytes() for file in files)
    except OSError as error:
        raise _unusable(ca_file, source, error) from None


def _token(path: str, source: str) -> str:
    try:
        token = Path(path).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no ASCII"
        raise DocumentError(source, f"the token file {path} cannot be read ({why})", "$.token_file", path) from None
    if not token or not token.isprintable() or " " in token:
        raise DocumentError(source, f"the token file {path} holds no token", "$.token_file", path)
    return token


def _tls(ca_file: str | None, source: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(Path(ca_file).expanduser()))
    except OSError as error:  # Those of ssl are such, too.
        raise _unusable(ca_file, source, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unusable(ca_file: str | None, source: str, error: OSError) -> DocumentError:
    return DocumentError(
        source,
        f"the certificates {ca_file or 'of the system'} cannot be used ({error.strerror or error})",
        "$.ca_file",
        ca_file or "",
        hint="a PEM file with the certificate that signed the server's",
    )
