"""Reads FLAC and OGG (Vorbis and Opus), by libsndfile, block by block.

FLAC is exact. The others are as near as they were encoded, and libsndfile takes off their delay. Of a file that was cut
or damaged, what can be decoded is read, and told. libsndfile stops at what is damaged (FLAC) or leaves it out (OGG):
where FFmpeg is installed, it reads such a file, with zeros for what is lost and the rest at its time. (MP3 libsndfile
reads no farther than it guesses by the file's length.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings.av_sound import read_av_sound
from leo_runtime.recordings.reader import StreamData, without_path
from leo_runtime.recordings.samples import gathered
from leo_runtime.recordings.sound import EXTRA, as_int16, count_outside
from leo_runtime.recordings.stream import RecordedStream

_STEP = 512
"""Samples decoded at a time: so many at the most are lost before what is damaged."""
_STEPS = 16
"""In a block."""
_WIDTHS = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}
"""What a file's samples are decoded to; else to real numbers."""
_MOST = 2**40
"""Samples: where a file says that it has more, it does not know."""
_PAGE_TAIL_BYTES = 65_536
"""An OGG page is shorter, so the last one begins within."""


@dataclass(slots=True)
class _Pass:
    """What was seen on one way through a file."""

    samples: int = 0
    outside: int = 0
    broken: str = ""


def read_sndfile(path: Path, stream: RecordedStream) -> StreamData:
    """The samples of a file as int16, rounded where it has more bits.

    Raises `MissingExtraError`, and `RecordingError` where nothing of it can be read.
    """
    seen = _Pass()
    with _opened(path) as file:
        rate_hz, promised, form = file.samplerate, file.frames, file.format

    def decode() -> Iterator[np.ndarray]:
        nonlocal seen
        seen = _Pass()
        with _opened(path) as file:
            yield from _blocks(file, seen)

    samples = gathered(path, decode)
    if samples is None:
        why = f"cannot be read ({seen.broken})" if seen.broken else "holds no samples"
        raise RecordingError(f"{path}: {why}", hint="copy or record it again")
    found = StreamData(samples, rate_hz, tuple(_told(path, form, promised, seen)))
    is_torn = bool(seen.broken) or _lacks(promised, seen)
    return (_by_ffmpeg(path, stream, found) if is_torn else None) or found


def _by_ffmpeg(path: Path, stream: RecordedStream, found: StreamData) -> StreamData | None:
    """What FFmpeg reads of a damaged file, where that is more at the same rate. (Opus it always gives at 48 kHz.)"""
    try:
        other = read_av_sound(path, stream)
    except (MissingExtraError, RecordingError):
        return None
    return other if other.rate_hz == found.rate_hz and len(other.samples) > len(found.samples) else None


def _opened(path: Path) -> Any:
    """An open `soundfile.SoundFile` that only goes forward."""
    try:
        import soundfile
    except (ImportError, OSError):  # The package is there, and libsndfile is not.
        raise MissingExtraError(f"reading {path.suffix.removeprefix('.').upper() or 'this sound'}", EXTRA) from None

    # A file that can seek is sought in after each read, which damaged FLAC does not bear.
    forward = type("Forward", (soundfile.SoundFile,), {"seekable": lambda _self: False})
    try:
        with path.open("rb"):  # For the system's own words, which libsndfile has not.
            pass
        return forward(str(path))
    except (OSError, ValueError, TypeError) as error:
        raise RecordingError(f"{path}: cannot be read ({without_path(error)})") from None
    except soundfile.SoundFileError as error:
        raise RecordingError(
            f"{path}: cannot be read as sound ({_words(error)})",
            hint="copy it again, or convert it to WAV of 16-bit PCM",
        ) from None


def _blocks(file: Any, seen: _Pass) -> Iterator[np.ndarray]:
    kind = _WIDTHS.get(file.subtype, "float32")
    while not seen.broken:
        found = list(_steps(file, kind, seen))
        if not found:
            return
        block = np.concatenate(found)
        seen.samples += len(block)
        seen.outside += count_outside(block)
        yield as_int16(block if file.channels > 1 else block[:, 0])


def _steps(file: Any, kind: str, seen: _Pass) -> Iterator[np.ndarray]:
    from soundfile import SoundFileError

    for _ in range(_STEPS):
        try:
            found: np.ndarray = file.read(_STEP, kind, always_2d=True)
        except SoundFileError as error:
            seen.broken = _words(error)
            return
        if len(found) == 0:
            return
        yield found


def _words(error: Exception) -> str:
    """libsndfile's words without its manners: "Error opening 'x': Format not recognised." """
    text = getattr(error, "error_string", "") or str(error)
    return text.removeprefix("Error : ").strip().rstrip(".")


def _told(path: Path, form: str, promised: int, seen: _Pass) -> Iterator[str]:
    if seen.broken:
        yield f"damaged after {seen.samples} samples ({seen.broken}); those before it are read"
    elif _lacks(promised, seen):
        yield (
            f"cut or damaged: it says it has {promised} samples, and {seen.samples} can be read; what comes after "
            "something that is lost is heard too early"
        )
    elif form == "OGG" and not _has_its_end(path):
        yield f"cut: its end is missing; the {seen.samples} samples up to there are read"
    if seen.outside:
        yield f"values outside -1 to 1 are cut off there: {seen.outside}"


def _lacks(promised: int, seen: _Pass) -> bool:
    return 0 < promised < _MOST and promised != seen.samples


def _has_its_end(path: Path) -> bool:
    """Whether the last page of an OGG file says that it is the last, and is whole (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _PAGE_TAIL_BYTES))
        tail = file.read()
    at = max(0, tail.rfind(b"OggS"))
    header, lengths = tail[at : at + 27], tail[at + 27 : at + 27 + tail[at + 26]] if len(tail) > at + 26 else b""
    is_last = len(header) == 27 and bool(header[5] & 4)
    return is_last and len(lengths) == header[26] and len(tail) >= at + 27 + len(lengths) + sum(lengths)
