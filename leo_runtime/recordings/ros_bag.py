"""Opens bags of ROS 1 (`.bag`) and ROS 2 (a folder with metadata.yaml, or its `.db3` alone), by the package rosbags."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from leo_runtime.errors import MissingExtraError, RecordingError, words
from leo_runtime.recordings.messages import EXTRA, Logged, Topic

_NEVER_NS = (1 << 63) - 1
"""When a bag without messages began, as rosbags has it."""


class RosBag:
    """A bag; `messages` may be called again and again. Times are those at which messages were received."""

    def __init__(self, path: Path) -> None:
        """Reads its index. Raises `RecordingError`, `MissingExtraError`."""
        try:
            import rosbags.highlevel  # noqa: F401  # that it is there
        except ImportError:
            raise MissingExtraError("reading ROS bags", EXTRA) from None
        self.where = str(path)
        self.lost: list[str] = []
        self._path = path
        try:
            with self._open() as reader:
                self.start_ns: int = reader.start_time
                is2, store = reader.is2, reader.typestore
                types = {each.topic: each.msgtype for each in reader.connections}
        except Exception as error:  # Anything may stand in a damaged bag, and SQLite has errors of its own.
            raise self._unreadable(error) from None
        if not types or self.start_ns >= _NEVER_NS:
            raise RecordingError(f"{path}: holds no messages", hint="record it again")
        read = store.deserialize_cdr if is2 else store.deserialize_ros1

        def decoder(name: str) -> Callable[[bytes], Any]:
            return lambda raw: read(raw, name)

        self.topics: Mapping[str, Topic] = {topic: Topic(topic, name) for topic, name in sorted(types.items())}
        self._decoders = {name: decoder(name) for name in types.values()}

    def _open(self) -> Any:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore

        # Bags from before Iron have no definitions of their messages.
        return AnyReader([self._path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))

    def _unreadable(self, error: Exception) -> RecordingError:
        return RecordingError(
            f"{self._path}: cannot be read as a ROS bag ({words(error)[:200]})",
            hint="copy it again; a `.bag` that was not closed is mended by `rosbag reindex`",
        )

    def messages(self, topics: Collection[str]) -> Iterator[Logged]:
        """The messages of these topics by their times; where the bag is damaged, those before that."""
        done_ns = self.start_ns
        try:
            with self._open() as reader:
                wanted = [each for each in reader.connections if each.topic in topics]
                if wanted:
                    for connection, log_ns, raw in reader.messages(wanted):
                        done_ns = log_ns
                        yield Logged(connection.topic, log_ns, bytes(raw), self._decoders[connection.msgtype])
        except Exception as error:  # Anything may stand in a damaged bag.
            what = f"it is damaged ({words(error)[:120]}): what follows {(done_ns - self.start_ns) / 1e9:.6g} s is lost"
            if what not in self.lost:
                self.lost.append(what)
