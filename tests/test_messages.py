"""Streams from files of messages: MCAP, bags of ROS 1 and 2; whole, cut and damaged."""

import importlib.util
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings import from_messages
from leo_runtime.recordings.opening import open_recording
from leo_runtime.recordings.recording import Recording, read_stream
from leo_runtime.recordings.stream import RecordedStream
from message_files import (
    IMU_HZ,
    SOUND_HZ,
    START_NS,
    imu_cdr,
    imu_rows,
    json_messages,
    protobuf_audio,
    raw_audio,
    sound,
    stamp,
    write_mcap,
    write_ros1,
    write_ros2,
)
from sounds import damaged

HAVE = all(importlib.util.find_spec(name) for name in ("mcap", "mcap_protobuf", "rosbags", "zstandard", "lz4"))
needs_extra = pytest.mark.skipif(not HAVE, reason="needs the extra `recordings`")


def stream(kind: str, rate_hz: float, channels: int = 1, **more: Any) -> RecordedStream:
    data = {"name": "s", "kind": kind, "file": "x.mcap", "rate_hz": rate_hz, "channels": channels}
    return RecordedStream.model_validate_json(json.dumps(data | more))


IMU = stream("motion", IMU_HZ, 6)
MIC = stream("audio", SOUND_HZ)


def vectors(rows: np.ndarray, rate_hz: float = IMU_HZ, topic: str = "/acc") -> Any:
    """Somebody's own JSON."""
    messages = [
        (START_NS + round(k * 1e9 / rate_hz), {"acc": {"x": x, "y": y}, "more": [z, 0.5]})
        for k, (x, y, z) in enumerate(rows[:, :3].tolist())
    ]
    return json_messages(topic, "", messages)


@needs_extra
@pytest.mark.parametrize("compression", ["zstd", "lz4", ""])
def test_sound_of_foxglove_is_read_to_the_bit(tmp_path: Path, compression: str) -> None:
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), vectors(imu_rows()), compression=compression)
    found = read_stream(tmp_path / "x.mcap", MIC)
    assert (found.samples[:] == sound()).all()
    assert (found.repairs, found.gaps) == ((), ())
    write_mcap(tmp_path / "p.mcap", protobuf_audio(sound()), compression=compression)
    assert (read_stream(tmp_path / "p.mcap", MIC).samples[:] == sound()).all()


@needs_extra
def test_sound_of_two_channels_is_interleaved(tmp_path: Path) -> None:
    both = sound().reshape(-1, 2)
    write_mcap(tmp_path / "x.mcap", raw_audio(both))
    assert (read_stream(tmp_path / "x.mcap", stream("audio", SOUND_HZ, 2)).samples[:] == both).all()


@needs_extra
def test_numbers_of_anybodys_json_are_read_by_their_paths(tmp_path: Path) -> None:
    write_mcap(tmp_path / "x.mcap", vectors(imu_rows()))
    asked = stream("motion", IMU_HZ, 3, topic="/acc", fields=["acc.x", "acc.y", "more.0"])
    assert (read_stream(tmp_path / "x.mcap", asked).samples[:] == imu_rows()[:, :3]).all()
    everything = read_stream(tmp_path / "x.mcap", stream("motion", IMU_HZ, 4, topic="/acc"))
    assert (everything.samples[:] == np.column_stack([imu_rows()[:, :3], np.full(100, 0.5)])).all()


@needs_extra
@pytest.mark.parametrize("stamped", [True, False])
def test_imu_of_ros_is_read_from_every_container(tmp_path: Path, stamped: bool) -> None:
    write_mcap(tmp_path / "x.mcap", imu_cdr(imu_rows(), stamped=stamped))
    write_ros1(tmp_path / "x.bag", imu_rows())
    write_ros2(tmp_path / "two", imu_rows())
    write_ros2(tmp_path / "three", imu_rows(), "MCAP")
    bare = next((tmp_path / "two").glob("*.db3"))
    for path in (tmp_path / "x.mcap", tmp_path / "x.bag", tmp_path / "two", tmp_path / "three", bare):
        found = read_stream(path, IMU.model_copy(update={"format": "rosbag"}) if path.is_dir() else IMU)
        assert (found.samples[:] == imu_rows()).all(), path
        assert found.repairs == ()


@needs_extra
def test_a_clock_of_its_own_is_put_where_its_first_message_was_logged(tmp_path: Path) -> None:
    rows = [(START_NS + k * 20_000_000, {"stamp": 5.0 + k / IMU_HZ, "v": k}) for k in range(50)]
    write_mcap(tmp_path / "x.mcap", json_messages("/v", "", rows))
    found = read_stream(tmp_path / "x.mcap", stream("other", IMU_HZ, 1, topic="/v", fields=["v"], time_field="stamp"))
    assert found.samples[:].tolist() == list(range(50))
    (told,) = found.repairs
    assert told.endswith("s before those they were logged at: the first is put there")


@needs_extra
def test_a_damaged_chunk_costs_that_chunk(tmp_path: Path) -> None:
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), imu_cdr(imu_rows()), chunk_bytes=8_000)
    raw = bytearray((tmp_path / "x.mcap").read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 20] = bytes(20)
    (tmp_path / "x.mcap").write_bytes(raw)
    heard = read_stream(tmp_path / "x.mcap", MIC)
    assert "is damaged (" in heard.repairs[0]
    (gap,) = heard.gaps
    first, last = (at_us * SOUND_HZ // 1_000_000 for at_us in (gap.start_us, gap.end_us))
    assert last - first in (800, 1_600, 2_400)  # Of a chunk.
    assert len(heard.samples) == 16_000
    for part in (slice(0, first), slice(last, None)):
        assert (heard.samples[part] == sound()[part]).all()
    assert not heard.samples[first:last].any()
    moved = read_stream(tmp_path / "x.mcap", IMU)
    missing = sum(round((gap.end_us - gap.start_us) / 20_000) for gap in moved.gaps)
    assert 1 <= missing <= 10
    assert (moved.samples[:] == imu_rows()).all(axis=1).sum() == 100 - missing


@needs_extra
@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_file_that_was_cut_is_read_up_to_there(tmp_path: Path, share: float) -> None:
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), chunk_bytes=4_000)
    raw = (tmp_path / "x.mcap").read_bytes()
    (tmp_path / "x.mcap").write_bytes(raw[: int(share * len(raw))])
    found = read_stream(tmp_path / "x.mcap", MIC)
    assert len(found.samples) >= (share - 0.2) * 16_000
    assert (found.samples[:] == sound()[: len(found.samples)]).all()
    if share < 0.9:  # Else the index alone was lost.
        assert any("it was cut" in told or "longer than the file" in told for told in found.repairs)


@needs_extra
def test_a_file_that_was_never_closed_is_read(tmp_path: Path) -> None:
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), chunk_bytes=4_000, finish=False)
    found = read_stream(tmp_path / "x.mcap", MIC)
    assert len(found.samples) > 14_000
    assert "it was cut, or not closed" in found.repairs[0]


@needs_extra
def test_a_wrong_length_costs_up_to_the_next_chunk_of_the_index(tmp_path: Path) -> None:
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), chunk_bytes=4_000)
    raw = bytearray((tmp_path / "x.mcap").read_bytes())
    at = raw.index(b"zstd", len(raw) // 3) - 41  # Of a chunk: its kind, then its length.
    assert raw[at] == 6
    raw[at + 1 : at + 9] = b"\xff" * 8
    (tmp_path / "x.mcap").write_bytes(raw)
    found = read_stream(tmp_path / "x.mcap", MIC)
    assert "longer than the file: what is before byte" in found.repairs[0]
    assert len(found.samples) == 16_000
    assert len(found.gaps) == 1


@needs_extra
def test_sound_that_was_delivered_late_is_not_missing_and_what_is_missing_is(tmp_path: Path) -> None:
    topic, type_name, *how, messages = raw_audio(sound())
    rng = Random(1)
    late = [(at + rng.randrange(300_000_000), raw) for at, raw in messages]
    late = [late[0], *((max(at, late[k][0]), raw) for k, (at, raw) in enumerate(late[1:]))]
    stampless = [(at, json.dumps(json.loads(raw) | {"timestamp": None}).encode()) for at, raw in late]
    stampless[0] = (messages[0][0], stampless[0][1])
    stampless[-1] = (max(at for at, _ in stampless), stampless[-1][1])
    write_mcap(tmp_path / "x.mcap", (topic, type_name, *how, stampless[:8] + stampless[12:]))
    found = read_stream(tmp_path / "x.mcap", MIC)
    assert sum(gap.end_us - gap.start_us for gap in found.gaps) == pytest.approx(400_000, abs=300_000)
    write_mcap(tmp_path / "y.mcap", (topic, type_name, *how, messages[:8] + messages[12:]))
    exact = read_stream(tmp_path / "y.mcap", MIC)
    assert [(gap.start_us, gap.end_us) for gap in exact.gaps] == [(800_000, 1_200_000)]
    assert (exact.samples[9_600:] == sound()[9_600:]).all()
    assert exact.repairs == ("sound is missing 1 times, 0.4 s in all; zeros stand there",)


@needs_extra
def test_messages_that_repeat_the_one_before_shift_nothing_and_are_told(tmp_path: Path) -> None:
    *how, messages = raw_audio(sound())
    shown = np.arange(60, dtype=np.uint8)[:, None, None, None] + np.zeros((60, 6, 8, 3), np.uint8)
    *its, pictures = raw_image(shown, "rgb8")
    twice = (*how, [*messages[:4], messages[3], *messages[4:]])
    write_mcap(tmp_path / "x.mcap", twice, (*its, [*pictures[:3], pictures[2], *pictures[3:]]))
    found = open_recording(tmp_path / "x.mcap")
    assert np.array_equal(found.samples["mic"][:], sound())
    assert np.array_equal(found.samples["eye"][:], shown)
    assert found.repairs == (
        "x.mcap: pictures of the same time as the one before are left out: 1",
        "x.mcap: messages that repeat the one before are left out: 1",
    )


def raw_image(frames: np.ndarray, encoding: str) -> Any:
    import base64

    height, width = frames.shape[1:3]
    rows = [
        (
            START_NS + k * 100_000_000,
            {
                "timestamp": stamp(START_NS + k * 100_000_000),
                "width": width,
                "height": height,
                "encoding": encoding,
                "step": frame.nbytes // height,
                "data": base64.b64encode(frame.tobytes()).decode(),
            },
        )
        for k, frame in enumerate(frames)
    ]
    return json_messages("/eye", "foxglove.RawImage", rows)


@needs_extra
def test_pictures_are_read_raw_and_compressed(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    frames = np.random.default_rng(0).integers(0, 256, (10, 6, 8, 3)).astype(np.uint8)
    asked = stream("camera", 10, 3, height_px=6, width_px=8)
    write_mcap(tmp_path / "x.mcap", raw_image(frames, "rgb8"))
    assert (read_stream(tmp_path / "x.mcap", asked).samples[:] == frames).all()
    write_mcap(tmp_path / "b.mcap", raw_image(frames, "bgr8"))
    assert (read_stream(tmp_path / "b.mcap", asked).samples[:] == frames[..., ::-1]).all()
    depths = frames[..., :1].astype("<f4") / 3
    write_mcap(tmp_path / "d.mcap", raw_image(depths, "32FC1"))
    deep = read_stream(tmp_path / "d.mcap", stream("camera", 10, 1, height_px=6, width_px=8))
    assert (deep.samples[:] == depths).all()
    import base64
    from io import BytesIO

    rows = []
    for k, frame in enumerate(frames):
        packed = BytesIO()
        image.fromarray(frame).save(packed, "png")
        rows.append((START_NS + k * 10**8, {"data": base64.b64encode(packed.getvalue()).decode(), "format": "png"}))
    write_mcap(tmp_path / "c.mcap", json_messages("/eye", "foxglove.CompressedImage", rows))
    assert (read_stream(tmp_path / "c.mcap", asked).samples[:] == frames).all()
    small = read_stream(tmp_path / "x.mcap", stream("camera", 10, 1, height_px=3, width_px=4))
    assert small.samples[:].shape == (10, 3, 4, 1)
    assert len(small.repairs) == 2


@needs_extra
@pytest.mark.parametrize(("encoding", "order"), [("yuv422_yuy2", (0, 1, 2, 3)), ("uyvy", (1, 0, 3, 2))])
def test_pictures_of_usb_cameras_are_converted(tmp_path: Path, encoding: str, order: tuple[int, ...]) -> None:
    # White, black, red and blue by BT.601: brightness, blue difference, brightness, red difference.
    pairs = np.array([[235, 128, 16, 128], [81, 90, 81, 240], [41, 240, 41, 110]], np.uint8)[:, list(order)]
    frames = np.tile(pairs.reshape(1, 1, 6, 2), (5, 4, 1, 1))
    write_mcap(tmp_path / "x.mcap", raw_image(frames, encoding))
    found = read_stream(tmp_path / "x.mcap", stream("camera", 10, 3, height_px=4, width_px=6))
    wanted = [[255] * 3, [0] * 3, [255, 0, 0], [255, 0, 0], [0, 0, 255], [0, 0, 255]]
    assert np.abs(found.samples[0:1][0, 0].astype(int) - wanted).max() <= 2


@needs_extra
@pytest.mark.parametrize("storage", ["SQLITE3", "MCAP"])
def test_a_bag_whose_recorder_wrote_no_metadata_is_read(tmp_path: Path, storage: str) -> None:
    write_ros2(tmp_path / "bag", imu_rows(), storage)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert (open_recording(tmp_path / "bag").samples["imu"][:] == imu_rows()).all()


@needs_extra
def test_messages_outside_chunks_and_without_schemas_are_read(tmp_path: Path) -> None:
    from mcap.writer import Writer

    with (tmp_path / "x.mcap").open("wb") as file:
        writer = Writer(file, use_chunking=False)
        writer.start("", "test")
        channel = writer.register_channel("/v", "json", 0)
        for k in range(20):
            writer.add_message(channel, START_NS + k * 10**8, json.dumps({"v": k}).encode(), 0)
        writer.finish()
    found = read_stream(tmp_path / "x.mcap", stream("other", 10, 1, topic="/v"))
    assert found.samples[:].tolist() == list(range(20))


@needs_extra
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (stream("motion", 50, 3, topic="/gone"), r"has no topic `/gone`"),
        (stream("motion", 50, 3), r"does not say which topic it is, and 0 could be"),
        (stream("motion", 50, 3, topic="/acc", fields=["acc.q"]), r"no field `q`|no message that can be read"),
        (
            stream("motion", 50, 2, topic="/acc", fields=["acc.x"]),
            r"has 1 numbers a message, .* with 2 channels: acc.x",
        ),
        (stream("motion", 50, 1, topic="/mic", fields=["format"]), r"no message that can be read \(TypeError: str\)"),
        (stream("audio", 8_000, 1, topic="/acc"), r"which is no sound that is read"),
        (stream("audio", 16_000), r"declared at 16000 Hz, the file is at 8000 Hz"),
        (stream("camera", 10, 1, height_px=2, width_px=2, topic="/acc"), r"which are no pictures that are read"),
        (stream("motion", 20, 3, topic="/acc", fields=["acc.x", "acc.y", "more.0"]), r"at 20 Hz, the file is at 50"),
    ],
)
def test_what_is_asked_for_and_not_there_is_refused(tmp_path: Path, asked: RecordedStream, says: str) -> None:
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), vectors(imu_rows()))
    with pytest.raises(RecordingError, match=says) as told:
        read_stream(tmp_path / "x.mcap", asked)
    assert told.value.hint


@needs_extra
def test_messages_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    *channel, messages = vectors(imu_rows())
    messages[40] = (messages[40][0], b"torn")
    messages[60] = (messages[60][0], b'{"acc": {"x": NaN, "y": 0}, "more": [0]}')
    write_mcap(tmp_path / "x.mcap", (*channel, messages))
    asked = stream("motion", IMU_HZ, 3, topic="/acc", fields=["acc.x", "acc.y", "more.0"])
    found = read_stream(tmp_path / "x.mcap", asked)
    assert found.repairs[0].startswith("messages that cannot be read are left out: 2 (the first: JSONDecodeError")
    assert [gap.start_us for gap in found.gaps] == [790_000, 1_190_000]


@needs_extra
@pytest.mark.parametrize("name", ["x.mcap", "x.bag", "x.db3"])
@pytest.mark.parametrize("raw", [b"", b"\x89MCAP0\r\n", b"#ROSBAG V2.0\n", b"SQLite format 3\0", bytes(100)])
def test_what_is_no_file_of_messages_is_refused(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(RecordingError, match=f"{name}: "):
        read_stream(tmp_path / name, IMU)


def test_without_the_extra_its_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mcap", "rosbags", "rosbags.highlevel"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for begin in from_messages.BEGINS:
        (tmp_path / "x.mcap").write_bytes(begin + bytes(100))
        with pytest.raises(MissingExtraError) as told:
            read_stream(tmp_path / "x.mcap", IMU)
        assert told.value.hint == "pip install 'leo-runtime[recordings]'"


@needs_extra
def test_an_mcap_without_a_manifest_is_a_recording_of_every_topic_that_can_be_read(tmp_path: Path) -> None:
    notes = [(START_NS + 300_000_000, {"text": "knock"}), (START_NS + 10**9, {"text": "gone", "duration": 0.5})]
    beats = [(START_NS + at * 1_000_000, {"bpm": at}) for at in (0, 500, 777, 1_900)]
    strange = [(START_NS, {"text": "no number"})]
    write_mcap(
        tmp_path / "walk.mcap",
        raw_audio(sound()),
        imu_cdr(imu_rows()),
        vectors(imu_rows()),
        json_messages("/labels", "", notes),
        json_messages("/heart", "", beats),
        json_messages("/log", "", strange),
        raw_image(np.zeros((20, 6, 8, 3), np.uint8), "rgb8"),
    )
    found = open_recording(tmp_path / "walk.mcap")
    streams = {stream.name: (stream.kind, stream.rate_hz, stream.channels) for stream in found.manifest.streams}
    assert streams == {
        "acc": ("other", 50, 4),
        "eye": ("camera", 10, 3),
        "heart": ("events", 0, 1),
        "imu": ("motion", 50, 6),
        "mic": ("audio", 8_000, 1),
    }
    assert (found.samples["imu"][:] == imu_rows()).all()
    assert found.times_us["heart"].tolist() == [0, 500_000, 777_000, 1_900_000]
    labels = [(label.label, label.start_us, label.end_us) for label in found.manifest.labels]
    assert labels == [("knock", 300_000, 300_001), ("gone", 1_000_000, 1_500_000)]
    assert found.manifest.start_epoch_us == START_NS // 1000
    assert found.repairs == ("not read: topic `/log` (0 numbers a message)",)
    late = [*notes, (START_NS + 10**12, {"text": "stop"})]
    write_mcap(tmp_path / "late.mcap", imu_cdr(imu_rows()), json_messages("/labels", "", late))
    stopped = open_recording(tmp_path / "late.mcap")
    assert [(label.label, label.start_us, label.end_us) for label in stopped.manifest.labels] == labels
    assert stopped.repairs == ("labels outside of what can be read are left out: 1",)
    write_ros2(tmp_path / "bag", imu_rows())
    assert (open_recording(tmp_path / "bag").samples["imu"][:] == imu_rows()).all()
    write_ros1(tmp_path / "old.bag", imu_rows())
    assert (open_recording(tmp_path / "old.bag").samples["imu"][:] == imu_rows()).all()


@needs_extra
def test_channels_of_one_topic_are_each_read_in_their_own_way(tmp_path: Path) -> None:
    *first, blocks = raw_audio(sound(8_000))
    *second, others = protobuf_audio(sound())
    write_mcap(tmp_path / "x.mcap", (*first, blocks), (*second, others[len(blocks) :]))
    assert (read_stream(tmp_path / "x.mcap", MIC).samples[:] == sound()).all()


@needs_extra
def test_a_topic_of_which_nothing_can_be_decoded_is_refused_in_words(tmp_path: Path) -> None:
    *channel, messages = raw_audio(sound())
    write_mcap(tmp_path / "x.mcap", (*channel, [(at, b"torn") for at, _ in messages]))
    with pytest.raises(RecordingError, match=r"`/mic` has no message that can be read \(JSONDecodeError"):
        read_stream(tmp_path / "x.mcap", MIC)


@needs_extra
def test_a_topic_that_cannot_be_put_on_a_grid_is_left_out_and_told(tmp_path: Path) -> None:
    ticks = [(START_NS + at * 10**6, {"v": at}) for at in (*range(0, 1_000, 10), 3_600_000)]
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), json_messages("/v", "", ticks))
    found = open_recording(tmp_path / "x.mcap")
    assert [stream.name for stream in found.manifest.streams] == ["mic"]
    assert found.repairs[-1].startswith("not read: topic `/v` (")


@needs_extra
@pytest.mark.parametrize("off_s", [10**9, -(10**9), 5_000])
def test_a_time_that_cannot_be_is_not_believed(tmp_path: Path, off_s: int) -> None:
    *channel, messages = raw_audio(sound())
    at, raw = messages[7]
    message = json.loads(raw) | {"timestamp": stamp(at + off_s * 10**9)}
    messages[7] = (at, json.dumps(message).encode())
    write_mcap(tmp_path / "x.mcap", (*channel, messages))
    found = read_stream(tmp_path / "x.mcap", MIC)
    assert (found.samples[:] == sound()).all()
    assert "own times that are hours beside" in found.repairs[0]


@needs_extra
def test_sound_of_a_second_an_hour_is_refused(tmp_path: Path) -> None:
    *channel, messages = raw_audio(sound())
    later = [(at + 3_600 * 10**9, json.dumps(json.loads(raw) | {"timestamp": None}).encode()) for at, raw in messages]
    write_mcap(tmp_path / "x.mcap", (*channel, messages + later))
    with pytest.raises(RecordingError, match="holds 32000 samples of sound up to 3602 s"):
        read_stream(tmp_path / "x.mcap", MIC)


@needs_extra
def test_labels_are_read_from_the_topic_that_is_named(tmp_path: Path) -> None:
    notes = [(START_NS + 10**9, {"what": {"said": "clap"}, "end_time": stamp(START_NS + 2 * 10**9)})]
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), json_messages("/notes", "", notes))
    text = (
        'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "a test"\n'
        'streams = [{ name = "mic", kind = "audio", file = "x.mcap", rate_hz = 8000 }]\n'
        'label_files = [{ file = "x.mcap", topic = "/notes", text = "what.said", stream = "mic" }]\n'
    )
    (tmp_path / "recording.toml").write_text(text)
    (label,) = Recording.from_file(tmp_path).manifest.labels
    assert (label.label, label.stream, label.start_us, label.end_us) == ("clap", "mic", 1_000_000, 2_000_000)
    assert not Recording.from_file(tmp_path).repairs
    notes += [(START_NS + 15 * 10**8, {"what": {"said": 7}})]
    write_mcap(tmp_path / "x.mcap", raw_audio(sound()), json_messages("/notes", "", notes))
    told = ("x.mcap: messages of topic `/notes` without a text, or damaged, are left out: 1",)
    assert Recording.from_file(tmp_path).repairs == told
    (tmp_path / "recording.toml").write_text(text.replace("what.said", "what"))
    with pytest.raises(RecordingError, match="topic `/notes` holds no labels"):
        Recording.from_file(tmp_path)


@needs_extra
@pytest.mark.parametrize("name", ["x.mcap", "x.bag", "x.db3"])
def test_damaged_files_are_read_or_refused_in_words(tmp_path: Path, name: str) -> None:
    """A few: `tests/bench/fuzz_containers.py` does thousands."""
    path = tmp_path / name
    if name == "x.mcap":
        write_mcap(path, raw_audio(sound(4_000)), imu_cdr(imu_rows(30)), vectors(imu_rows(30)), chunk_bytes=3_000)
    elif name == "x.bag":
        write_ros1(path, imu_rows(30))
    else:
        write_ros2(tmp_path / "two", imu_rows(30))
        next((tmp_path / "two").glob("*.db3")).rename(path)
    whole = path.read_bytes()
    acc = stream("motion", IMU_HZ, 2, topic="/acc", fields=["acc.x", "acc.y"])
    for seed in range(150):
        path.write_bytes(damaged(Random(seed), whole))
        for asked in (MIC, IMU, acc) if name == "x.mcap" else (IMU,):
            try:
                found = read_stream(path, asked)
                assert len(found.samples[:]) == len(found.samples)
            except RecordingError as error:
                assert "\n" not in str(error)
