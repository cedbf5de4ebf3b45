"""Opens whatever holds a recording, by what is in it: our folder, an MCAP or a ROS bag, what a logger exported."""

from __future__ import annotations

from pathlib import Path

from leo_runtime.recordings.exports import open_export, recognise
from leo_runtime.recordings.from_messages import is_message_file
from leo_runtime.recordings.message_recording import open_message_file
from leo_runtime.recordings.recording import Recording


def open_recording(path: Path) -> Recording:
    """The recording that a path holds. Raises `DocumentError`, `RecordingError`, `MissingExtraError`."""
    path = path.resolve() if not path.name else path  # `.` has a name, too.
    if is_message_file(path):
        return open_message_file(path)
    if path.suffix == ".toml" or (path / "recording.toml").exists() or (path.suffix == ".json" and not recognise(path)):
        return Recording.from_file(path)
    return open_export(path)
