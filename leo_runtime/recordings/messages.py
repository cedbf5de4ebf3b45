"""Files of messages, such as MCAP and ROS bags: what is on their topics, and how the messages of one are understood."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from leo_runtime.errors import MissingExtraError, RecordingError, words

EXTRA = "recordings"
_TIME_FIELDS = ("header.stamp", "timestamp")
"""Where messages usually have a time of their own."""
_PASSED_OVER = ("header", "stamp", "timestamp", "frame_id", "seq", "sequence")
"""What is no reading of a sensor, where all numbers of a message are taken."""
_AXES = ("x", "y", "z")
_MOST_DEEP = 8

FIELDS: Mapping[str, tuple[str, ...]] = {
    "Imu": tuple(f"{part}.{axis}" for part in ("linear_acceleration", "angular_velocity") for axis in _AXES),
    "MagneticField": tuple(f"magnetic_field.{axis}" for axis in _AXES),
    "Vector3Stamped": tuple(f"vector.{axis}" for axis in _AXES),
    "AccelStamped": tuple(f"accel.{part}.{axis}" for part in ("linear", "angular") for axis in _AXES),
    "FluidPressure": ("fluid_pressure",),
    "Temperature": ("temperature",),
    "RelativeHumidity": ("relative_humidity",),
    "Illuminance": ("illuminance",),
    "Range": ("range",),
    "NavSatFix": ("latitude", "longitude", "altitude"),
    "LocationFix": ("latitude", "longitude", "altitude"),
}
"""The numbers of known kinds of messages that are taken where nobody says which."""
SOUND = ("RawAudio",)
PICTURES = ("RawImage", "Image", "CompressedImage")


@dataclass(frozen=True, slots=True)
class Topic:
    """What is published under one name."""

    name: str
    type: str
    """Of its messages, such as `sensor_msgs/msg/Imu` or `foxglove.RawAudio`; may be empty."""

    @property
    def kind(self) -> str:
        """The last part of its type: `Imu`."""
        return self.type.replace(".", "/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Logged:
    """One message, not decoded yet."""

    topic: str
    log_ns: int
    raw: bytes
    read: Callable[[bytes], Any]

    def decode(self) -> Any:
        """The message as an object or a dictionary. Raises whatever comes of damaged bytes."""
        return self.read(self.raw)


class MessageFile(Protocol):
    """A file of messages that is open. Used by one thread."""

    @property
    def where(self) -> str:
        """As errors call it."""
        ...

    @property
    def start_ns(self) -> int:
        """When its first message was logged."""
        ...

    @property
    def topics(self) -> Mapping[str, Topic]:
        """By name."""
        ...

    @property
    def lost(self) -> Sequence[str]:
        """What of it cannot be read, a sentence each; complete when all messages have been read."""
        ...

    def messages(self, topics: Collection[str]) -> Iterator[Logged]:
        """The messages of these topics, in the order of the file. Raises `RecordingError`."""
        ...


def field(message: Any, path: str) -> Any:
    """What a message has under a path such as `acc.x` or `values.0`. Raises `LookupError`."""
    for part in path.split("."):
        if isinstance(message, Mapping):
            message = message[part]
        elif part.isascii() and part.isdigit() and not isinstance(message, str | bytes) and hasattr(message, "__len__"):
            message = message[int(part)]
        elif not part.startswith("_") and hasattr(message, part):
            message = getattr(message, part)
        else:
            raise LookupError(path)
    return message


def numbers(found: Any) -> list[float]:
    """A number, or all of a list of them. Raises `TypeError` for what is none."""
    if isinstance(found, bool | int | float | np.number | np.bool_):
        return [float(found)]
    if isinstance(found, str | bytes) or not hasattr(found, "__len__"):
        raise TypeError(type(found).__name__)
    return [float(one) if isinstance(one, bool | int | float | np.number) else _no_number(one) for one in found]


def _no_number(one: Any) -> float:
    raise TypeError(type(one).__name__)


def number_fields(message: Any, deep: int = 0) -> tuple[str, ...]:
    """The paths of all numbers of a message, but those of its time."""
    found: list[str] = []
    if deep > _MOST_DEEP:
        return ()
    for name, value in _parts(message):
        if name in _PASSED_OVER:
            continue
        try:
            if numbers(value):
                found.append(name)
        except TypeError:
            found += [f"{name}.{path}" for path in number_fields(value, deep + 1)]
    return tuple(found)


def _parts(message: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(message, Mapping):
        yield from ((str(name), value) for name, value in message.items())
    elif hasattr(message, "DESCRIPTOR"):
        yield from ((each.name, getattr(message, each.name)) for each in message.DESCRIPTOR.fields)
    elif hasattr(message, "__dataclass_fields__"):
        yield from ((name, getattr(message, name)) for name in message.__dataclass_fields__)
    elif isinstance(message, list | tuple) and len(message) <= 64:
        yield from ((str(at), value) for at, value in enumerate(message))


def own_time_ns(message: Any, path: str | None) -> int | None:
    """A message's own time. None: it has none, or it is not set.

    Raises `LookupError`, `TypeError` or `ValueError` where `path` is given, and leads to no time.
    """
    for each in (path,) if path else _TIME_FIELDS:
        try:
            found = nanoseconds(field(message, each))
        except (LookupError, TypeError, ValueError):
            if path:
                raise
            continue
        if found != 0 or path:  # A clock that was never set.
            return found
    return None


_SECONDS, _NANOSECONDS = ("sec", "secs", "seconds"), ("nanosec", "nsec", "nsecs", "nanos")


_FACTORS = ((10**17, 1), (10**14, 10**3), (10**11, 10**6))
"""To ns, of times since 1970 that are at least so great; others are seconds."""


def nanoseconds(time: Any) -> int:
    """A time in the forms of ROS 1, ROS 2, protobuf, Foxglove's JSON; a number by its size, else seconds."""
    if isinstance(time, bool | str | bytes):
        raise TypeError(type(time).__name__)
    if isinstance(time, int | float | np.number):
        number = int(time) if isinstance(time, int | np.integer) else float(np.real(time))
        factor = next((by for least, by in _FACTORS if abs(number) >= least), 10**9)
        return round(number * factor)
    part = {}
    for names in (_SECONDS, _NANOSECONDS):
        for name in names:
            try:
                part[names] = int(field(time, name))
            except LookupError:
                continue
            break
    return part[_SECONDS] * 10**9 + part.get(_NANOSECONDS, 0)


def content(found: Any) -> bytes:
    """The bytes of a field: as they are, a list of them, or base64 in JSON. Raises `TypeError` or `ValueError`."""
    if isinstance(found, str):
        try:
            return base64.b64decode(found, validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from None
    if isinstance(found, np.ndarray):
        return found.tobytes()
    return bytes(found)


def decoder(
    where: str, topic: str, encoding: str, type_name: str, schema_encoding: str, schema: bytes
) -> Callable[[bytes], Any]:
    """Reads the messages of a topic: JSON, protobuf, or those of ROS 1 and 2.

    Raises `RecordingError` for any other encoding or a schema that cannot be read, `MissingExtraError`.
    """
    try:
        if encoding == "json":
            return json.loads
        if encoding == "protobuf":
            return _protobuf(type_name, schema)
        if encoding in ("cdr", "ros1"):
            return _ros(encoding, type_name, schema_encoding, schema)
    except (MissingExtraError, RecordingError):
        raise
    except Exception as error:  # A schema may be damaged in any way.
        raise RecordingError(
            f"{where}: the schema of topic `{topic}` cannot be read ({words(error)})", hint="copy it again"
        ) from None
    raise RecordingError(
        f"{where}: messages of topic `{topic}` are encoded as `{encoding}`",
        hint="json, protobuf, cdr and ros1 are read: convert it",
    )


def _protobuf(type_name: str, schema: bytes) -> Callable[[bytes], Any]:
    try:
        from mcap.records import Schema
        from mcap_protobuf.decoder import DecoderFactory
    except ImportError:
        raise MissingExtraError("reading protobuf messages", EXTRA) from None
    read = DecoderFactory().decoder_for("protobuf", Schema(id=1, data=schema, encoding="protobuf", name=type_name))
    if read is None:
        raise ValueError("it is no descriptor")
    return read


def _ros(encoding: str, type_name: str, schema_encoding: str, schema: bytes) -> Callable[[bytes], Any]:
    try:
        from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
    except ImportError:
        raise MissingExtraError("reading messages of ROS", EXTRA) from None
    name = type_name if "/msg/" in type_name else type_name.replace("/", "/msg/", 1)
    if not schema.strip():  # Bags from before Iron have none.
        store = get_typestore(Stores.ROS2_HUMBLE if encoding == "cdr" else Stores.ROS1_NOETIC)
    else:
        store = get_typestore(Stores.EMPTY)
        text = schema.decode()
        store.register(get_types_from_idl(text) if schema_encoding == "ros2idl" else get_types_from_msg(text, name))
    if name not in store.types:
        raise ValueError(f"it does not say what {name} is")
    read = store.deserialize_cdr if encoding == "cdr" else store.deserialize_ros1
    return lambda raw: read(raw, name)
