"""Opens whatever holds a recording: our folder, an MCAP or ROS bag, what a logger exported, a file of sound."""

from __future__ import annotations

import re
from pathlib import Path

from leo_runtime.recordings.exports import open_export, recognise
from leo_runtime.recordings.from_messages import is_message_file
from leo_runtime.recordings.message_recording import open_message_file
from leo_runtime.recordings.reader import find_reader
from leo_runtime.recordings.recording import SHIPPED, Recording, RecordingManifest
from leo_runtime.recordings.stream import RecordedStream

SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac")
"""Ends of the names of files that are a recording by themselves."""


def open_recording(path: Path) -> Recording:
    """The recording that a path holds. Raises `DocumentError`, `RecordingError`, `MissingExtraError`."""
    path = path.resolve() if not path.name else path  # `.` has a name, too.
    if is_message_file(path):
        return open_message_file(path)
    if path.suffix == ".toml" or (path / "recording.toml").exists() or (path.suffix == ".json" and not recognise(path)):
        return Recording.from_file(path)
    if path.suffix.lower() in SOUNDS and path.is_file():
        return _open_sound(path)
    return open_export(path)


def _open_sound(path: Path) -> Recording:
    """The recording that a file of sound is by itself, as it is: its one stream is called `mic`."""
    asked = RecordedStream(name="mic", kind="audio", file=path.name, rate_hz=1)
    found = find_reader(path, asked, SHIPPED)(path, asked)
    shape = found.samples.shape
    stream = asked.model_copy(update={"rate_hz": found.rate_hz, "channels": shape[1] if len(shape) > 1 else 1})
    bare = re.sub(r"[\x00-\x1f/\\]", "-", path.stem).lstrip(". ")[:100] or "sound"
    manifest = RecordingManifest(format="leo-recording/1", name=bare, source=path.name, streams=(stream,))
    return Recording.of_manifest(manifest, path.parent)
