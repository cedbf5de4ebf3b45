"""The sound inside an export, which has to lie in a file of its own to be decoded."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.av_sound import read_av_sound
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.samples import Samples, StoredSamples, blocks, sample_bytes
from leo_runtime.recordings.sound import as_int16
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.recordings.wav import read_wav


def read_sound(files: Files, path: str) -> StreamData:
    """The samples of a file of sound of an export, as int16.

    It is unpacked for as long as it is decoded; what is long then lies decoded in a file that the system deletes.
    Raises `RecordingError` and `MissingExtraError`.
    """
    suffix = PurePosixPath(path).suffix.lower()
    read = read_wav if suffix == ".wav" else read_av_sound
    content = files.read(path)
    with tempfile.TemporaryDirectory(prefix="leo-sound-") as folder:
        unpacked = Path(folder) / f"sound{suffix}"
        try:
            unpacked.write_bytes(content)
            found = read(unpacked, RecordedStream(name="mic", kind="audio", file=unpacked.name, rate_hz=1))
            return replace(found, samples=_without_file(found.samples))
        except OSError as error:
            raise RecordingError(
                f"{files.place(path)}: cannot be unpacked ({error.strerror or error})",
                hint="make room where TMPDIR says, or unpack the export",
            ) from None
        except RecordingError as error:
            raise RecordingError(str(error).replace(str(unpacked), files.place(path)), hint=error.hint) from None


def _without_file(samples: Samples) -> Samples:
    """The samples as int16, which need the file that they were read from no longer."""
    if isinstance(samples, np.ndarray):
        return as_int16(samples)
    spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed when nothing reads it any more
    try:
        for block in blocks(samples):
            spool.write(as_int16(block).tobytes())
    except BaseException:
        spool.close()
        raise

    def span(first: int, last: int) -> np.ndarray:
        spool.seek(first * width)
        raw = spool.read((last - first) * width)
        return np.frombuffer(raw, np.int16).reshape(last - first, *samples.shape[1:])

    stored = StoredSamples(samples.shape, np.int16, span)
    width = sample_bytes(stored)
    weakref.finalize(span, spool.close)
    return stored
