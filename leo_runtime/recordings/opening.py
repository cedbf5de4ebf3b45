"""Opens whatever holds a recording, by what is in it: our folder, an MCAP or a ROS bag."""

from __future__ import annotations

from pathlib import Path

from leo_runtime.recordings.from_messages import is_message_file
from leo_runtime.recordings.message_recording import open_message_file
from leo_runtime.recordings.recording import Recording


def open_recording(path: Path) -> Recording:
    """The recording that a path holds. Raises `DocumentError`, `RecordingError`, `MissingExtraError`."""
    if is_message_file(path):
        return open_message_file(path)
    return Recording.from_file(path)
