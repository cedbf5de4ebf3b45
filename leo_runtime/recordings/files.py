"""The files of an export: a folder, a zip as it comes from the phone, or one file."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.reader import without_path

MOST_FILES = 10_000
MOST_BYTES = 1 << 30
"""Of one file, unpacked: what is greater is no export of a phone, or is to be converted by itself."""
UNSUSPECTED_BYTES = 1 << 24
"""Of a file in a zip, however small it is packed."""
_MOST_RATIO = 100
"""Of what is greater, to what it takes packed: numbers of sensors come to 20, a zip made to fill a memory to 1000."""
_PIECE_BYTES = 1 << 20
_NO_EXPORT = ("__MACOSX/", ".")
"""What a Mac puts into a zip or a folder besides, by the beginning of a path or a name."""
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, OSError, ValueError, IndexError, OverflowError),
)
"""What `zipfile` raises for a damaged file, one with a password, or one packed in a way it does not know."""


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """Files by their paths, with `/` between folders, in alphabetical order."""

    where: str
    """The export, as messages name it."""
    paths: tuple[str, ...]
    _read: Callable[[str, int | None], bytes]
    """The content of a file, or so many bytes of it at the most."""

    def read(self, path: str) -> bytes:
        """The content of a file. Raises `RecordingError` where it cannot be read, or is too great."""
        return self._read(path, None)

    def place(self, path: str) -> str:
        """A file as messages name it."""
        return self.where if self.paths == (path,) and self.where.endswith(path) else f"{self.where}/{path}"

    def begins(self, path: str, length: int = 4096) -> str:
        """The first characters of a file; empty where it cannot be read."""
        try:
            return self._read(path, length).decode("utf-8-sig", "replace")
        except RecordingError:
            return ""

    def folders(self) -> tuple[str, ...]:
        """The folders that hold files, each with its `/`; the export itself is empty."""
        return tuple(dict.fromkeys(path[: path.rfind("/") + 1] for path in self.paths))

    def inside(self, folder: str) -> Files:
        """What is in a folder of it."""
        paths = tuple(path[len(folder) :] for path in self.paths if path.startswith(folder))
        where = f"{self.where}/{folder.rstrip('/')}" if folder else self.where
        return Files(where, paths, lambda path, most: self._read(folder + path, most))


def open_files(path: Path) -> Files:
    """The files of a folder, of a zip, or the one that the path is.

    A zip that holds nothing but another one is that one. Raises `RecordingError` where nothing can be read.
    """
    try:
        if path.is_dir():
            return _of_folder(path)
        if not path.is_file():
            raise RecordingError(f"{path}: cannot be read (No such file or directory)")
        if not zipfile.is_zipfile(path):
            if path.suffix.lower() == ".zip":
                raise RecordingError(f"{path}: is no zip, or not all of one", hint="copy it again")
            return Files(str(path), (path.name,), lambda _, most: _content(path, most))
        # Opened anew for each file, so that no handle is left open.
        return _of_zip(str(path), lambda: zipfile.ZipFile(path))
    except _ZIP_ERRORS as error:
        raise RecordingError(f"{path}: cannot be read ({without_path(error)})", hint="copy it again") from None


def _of_folder(folder: Path) -> Files:
    found = []
    for path in _walk(folder):
        found.append(path.relative_to(folder).as_posix())
        _expect_few(str(folder), len(found))

    return Files(str(folder), tuple(sorted(found)), lambda name, most: _content(folder / name, most))


def _content(path: Path, most: int | None) -> bytes:
    try:
        return _limited(str(path), path.open("rb"), most)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read ({without_path(error)})") from None


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(_NO_EXPORT):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        elif path.is_file():
            yield path


def _of_zip(where: str, open_zip: Callable[[], zipfile.ZipFile]) -> Files:
    with open_zip() as file:
        names = [name for name in file.namelist() if name and not name.endswith("/")]
    _expect_few(where, len(names))
    names = [name for name in names if not any(part.startswith(_NO_EXPORT) for part in (name, *name.split("/")))]

    def read(name: str, most: int | None) -> bytes:
        try:
            with open_zip() as file, file.open(name) as member:
                packed_bytes = file.getinfo(name).compress_size
                return _limited(f"{where}/{name}", member, most, max(UNSUSPECTED_BYTES, _MOST_RATIO * packed_bytes))
        except KeyError:
            raise RecordingError(f"{where}: has no file `{name}`") from None
        except _ZIP_ERRORS as error:
            raise RecordingError(
                f"{where}/{name}: cannot be unpacked ({without_path(error)})", hint="copy it again, or unzip it"
            ) from None

    if len(names) == 1 and names[0].lower().endswith(".zip"):
        inner = read(names[0], None)
        return _of_zip(f"{where}/{names[0]}", lambda: zipfile.ZipFile(io.BytesIO(inner)))
    return Files(where, tuple(sorted(set(names))), read)


def _expect_few(where: str, count: int) -> None:
    if count > MOST_FILES:
        raise RecordingError(f"{where}: holds more than {MOST_FILES} files", hint="give the folder of one recording")


def _limited(where: str, file: IO[bytes], most: int | None, credible_bytes: int = MOST_BYTES) -> bytes:
    """All of a file, or its first bytes; none of it if that is too much: a zip may say anything of its length."""
    wanted = min(MOST_BYTES, credible_bytes) + 1 if most is None else most
    parts, length = [], 0
    with file:
        # Piece by piece: room is made for as much as is asked for.
        while length < wanted and (part := file.read(min(_PIECE_BYTES, wanted - length))):
            parts.append(part)
            length += len(part)
    if length > MOST_BYTES:
        raise RecordingError(
            f"{where}: is greater than {MOST_BYTES >> 20} MiB", hint="cut it into recordings, or convert it"
        )
    if length > credible_bytes:
        raise RecordingError(
            f"{where}: is more than {_MOST_RATIO} times as great as it is packed", hint="if it is right, unzip it"
        )
    return b"".join(parts)
