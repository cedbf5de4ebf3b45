"""Files of messages, written for tests: MCAP with JSON, protobuf and CDR, bags of ROS 1 and ROS 2."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

START_NS = 1_760_000_000_123_000_000
IMU_HZ, SOUND_HZ = 50, 8_000


def imu_rows(count: int = 100) -> np.ndarray:
    """(count, 6), what float32 holds."""
    return np.random.default_rng(3).normal(0, 1, (count, 6)).astype(np.float32).astype(np.float64)


def sound(count: int = 16_000) -> np.ndarray:
    return np.random.default_rng(4).integers(-20_000, 20_000, count).astype(np.int16)


def stamp(log_ns: int) -> dict[str, int]:
    return {"sec": log_ns // 10**9, "nsec": log_ns % 10**9}


def json_messages(
    topic: str, type_name: str, messages: Sequence[tuple[int, Any]]
) -> tuple[str, str, str, str, bytes, list[tuple[int, bytes]]]:
    """A channel of JSON: topic, type, encodings of messages and schema, schema, and the messages."""
    return topic, type_name, "json", "jsonschema", b"{}", [(at, json.dumps(one).encode()) for at, one in messages]


def raw_audio(samples: np.ndarray, rate_hz: int = SOUND_HZ, block: int = 800, **more: Any) -> Any:
    """The blocks of a Foxglove RawAudio, as JSON."""
    messages = []
    for first in range(0, len(samples), block):
        at_ns = START_NS + first * 10**9 // rate_hz
        message = {
            "timestamp": stamp(at_ns),
            "data": base64.b64encode(samples[first : first + block].astype("<i2").tobytes()).decode(),
            "format": "pcm-s16",
            "sample_rate": rate_hz,
            "number_of_channels": 1 if samples.ndim == 1 else samples.shape[1],
        }
        messages.append((at_ns, message | more))
    return json_messages("/mic", "foxglove.RawAudio", messages)


def imu_store() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def imu_messages(rows: np.ndarray, store: Any, *, rate_hz: float = IMU_HZ, stamped: bool = True) -> list[Any]:
    """Messages of sensor_msgs/Imu with their times, as values of rosbags."""
    t = store.types
    header_of = t["std_msgs/msg/Header"]
    found = []
    for number, row in enumerate(rows):
        at_ns = START_NS + round(number * 1e9 / rate_hz)
        time = t["builtin_interfaces/msg/Time"](*(divmod(at_ns, 10**9) if stamped else (0, 0)))
        keys = {"seq": number} if "seq" in header_of.__dataclass_fields__ else {}
        vector = t["geometry_msgs/msg/Vector3"]
        message = t["sensor_msgs/msg/Imu"](
            header_of(stamp=time, frame_id="imu", **keys),
            t["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
            np.zeros(9),
            vector(*row[3:].tolist()),
            np.zeros(9),
            vector(*row[:3].tolist()),
            np.zeros(9),
        )
        found.append((at_ns, message))
    return found


def imu_cdr(rows: np.ndarray, **more: Any) -> Any:
    store = imu_store()
    name = "sensor_msgs/msg/Imu"
    definition, _ = store.generate_msgdef(name, ros_version=2)
    messages = [(at, bytes(store.serialize_cdr(one, name))) for at, one in imu_messages(rows, store, **more)]
    return "/imu", name, "cdr", "ros2msg", definition.encode(), messages


def protobuf_audio(samples: np.ndarray, rate_hz: int = SOUND_HZ, block: int = 800) -> Any:
    """The same as `raw_audio`, by a descriptor made here."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="RawAudio.proto", package="foxglove", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    message = file.message_type.add(name="RawAudio")
    kinds = {"timestamp": 11, "data": 12, "format": 9, "sample_rate": 13, "number_of_channels": 13}
    for number, (name, kind) in enumerate(kinds.items(), 1):
        added = message.field.add(name=name, number=number, type=kind, label=1)
        if kind == 11:
            added.type_name = ".google.protobuf.Timestamp"
    from google.protobuf import timestamp_pb2

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("foxglove.RawAudio"))
    timestamp = descriptor_pb2.FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb)
    schema = descriptor_pb2.FileDescriptorSet(file=[timestamp, file]).SerializeToString()
    messages = []
    for first in range(0, len(samples), block):
        at_ns = START_NS + first * 10**9 // rate_hz
        one = made(
            data=samples[first : first + block].astype("<i2").tobytes(),
            format="pcm-s16",
            sample_rate=rate_hz,
            number_of_channels=1,
        )
        one.timestamp.seconds, one.timestamp.nanos = divmod(at_ns, 10**9)
        messages.append((at_ns, one.SerializeToString()))
    return "/mic", "foxglove.RawAudio", "protobuf", "protobuf", schema, messages


def write_mcap(
    path: Path, *channels: Any, chunk_bytes: int = 20_000, compression: str = "zstd", finish: bool = True
) -> None:
    """Messages by their times, whatever their channel."""
    from mcap.writer import CompressionType, Writer

    kinds = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "": CompressionType.NONE}
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk_bytes, compression=kinds[compression])
        writer.start("", "test")
        rows = []
        for topic, type_name, encoding, schema_encoding, schema, messages in channels:
            number = writer.register_schema(type_name, schema_encoding, schema)
            channel = writer.register_channel(topic, encoding, number)
            rows += [(at, channel, raw) for at, raw in messages]
        for at, channel, raw in sorted(rows, key=lambda row: row[0]):
            writer.add_message(channel, at, raw, at)
        if finish:
            writer.finish()


def write_ros1(path: Path, rows: np.ndarray) -> None:
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    name = "sensor_msgs/msg/Imu"
    with Writer(path) as writer:
        connection = writer.add_connection("/imu", name, typestore=store)
        for at, message in imu_messages(rows, store):
            writer.write(connection, at, store.serialize_ros1(message, name))


def write_ros2(path: Path, rows: np.ndarray, storage: str = "SQLITE3") -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    store = imu_store()
    name = "sensor_msgs/msg/Imu"
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage]) as writer:
        connection = writer.add_connection("/imu", name, typestore=store)
        for at, message in imu_messages(rows, store):
            writer.write(connection, at, store.serialize_cdr(message, name))
