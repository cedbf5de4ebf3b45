"""Damaged containers, pictures, videos and network traces: each is read, or refused with its name; nothing crashes.

    python tests/bench/fuzz_containers.py [FILES] [SEED]

So many of every format: bytes changed, dropped, repeated or inserted, stretches zeroed, the end cut off. Every batch
runs in a process of its own with bounded memory and time, so that a crash of a decoder would be seen.
"""

import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
import batches

import message_files
from leo_runtime.errors import RecordingError
from leo_runtime.recordings.links import LinkFile, read_links
from leo_runtime.recordings.opening import open_recording
from leo_runtime.recordings.recording import read_stream
from leo_runtime.recordings.samples import blocks
from leo_runtime.recordings.stream import RecordedStream
from sounds import damaged

MOST_BYTES = 2 << 30
"""Of address space, which libraries take some of."""
MOST_S = 300
"""For a batch."""


def write_npy(path: Path) -> None:
    np.save(path, np.arange(20 * 8 * 8 * 3, dtype=np.uint8).reshape(20, 8, 8, 3))


def write_picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(path)


def write_video(path: Path) -> None:
    import av

    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width = video.height = 32
        for number in range(20):
            shown = np.full((32, 32, 3), 10 * number, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        out.mux(video.encode(None))


def write_mcap(path: Path) -> None:
    rows = message_files.imu_rows(30)
    notes = [(message_files.START_NS, {"text": "here"})]
    message_files.write_mcap(
        path,
        message_files.raw_audio(message_files.sound(4_000)),
        message_files.imu_cdr(rows),
        message_files.protobuf_audio(message_files.sound(2_000)),
        message_files.json_messages("/labels", "", notes),
        chunk_bytes=3_000,
    )


def write_own_mcap(path: Path) -> None:
    from leo_runtime import shipped
    from leo_runtime.recordings.cutting import cut
    from leo_runtime.recordings.mcap_writer import write_mcap

    write_mcap(cut(shipped.recording("demo"), 4_000_000, 7_000_000), path)


def write_bag(path: Path) -> None:
    message_files.write_ros1(path, message_files.imu_rows(30))


def write_db3(path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        message_files.write_ros2(Path(name) / "bag", message_files.imu_rows(30))
        path.write_bytes(next((Path(name) / "bag").glob("*.db3")).read_bytes())


def write_rates(path: Path) -> None:
    path.write_text("".join(f"{number / 3:.3f}\t{number % 7}\n" for number in range(60)))


def write_mahimahi(path: Path) -> None:
    path.write_text("".join(f"{number * number // 9}\n" for number in range(200)))


def write_g_nettrack(path: Path) -> None:
    rows = (f"2019.12.16_13.{number // 60:02}.{number % 60:02},D,{number * 9},{number % 7}\n" for number in range(200))
    path.write_text("Timestamp,State,DL_bitrate,UL_bitrate\n" + "".join(rows))


def read_camera(path: Path) -> bool:
    stream = RecordedStream(name="eye", kind="camera", file=path.name, rate_hz=10, channels=3, height_px=8, width_px=8)
    found = read_stream(path.parent if path.suffix == ".png" else path, stream)
    for block in blocks(found.samples):
        assert block.shape[1:] == (8, 8, 3)
    return bool(found.repairs)


def read_messages(path: Path) -> bool:
    found = open_recording(path)
    for samples in found.samples.values():
        assert sum(map(len, blocks(samples))) == len(samples)
    return bool(found.repairs)


def read_trace(path: Path) -> bool:
    form = path.suffix[1:]
    direction = ', "direction": "down"' if form == "g-nettrack" else ""
    link = LinkFile.model_validate_json(
        f'{{"file": "x", "format": "{form}", "source": "a", "target": "b", "latency_us": 1, "repeat": true{direction}}}'
    )
    return bool(read_links(path, link, 60_000_000).repairs)


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], bool], tuple[str, ...]]] = {
    "eye.npy": (write_npy, read_camera, ()),
    "eye.png": (write_picture, read_camera, ("PIL",)),
    "eye.mp4": (write_video, read_camera, ("av",)),
    "eye.mkv": (write_video, read_camera, ("av",)),
    "x.mcap": (write_mcap, read_messages, ("mcap", "rosbags", "mcap_protobuf")),
    "own.mcap": (write_own_mcap, read_messages, ("mcap",)),
    "x.bag": (write_bag, read_messages, ("rosbags",)),
    "x.db3": (write_db3, read_messages, ("rosbags",)),
    "x.rates": (write_rates, read_trace, ()),
    "x.mahimahi": (write_mahimahi, read_trace, ()),
    "x.g-nettrack": (write_g_nettrack, read_trace, ()),
}
"""By a file's name: what writes it, what reads it and says whether something was mended, and the packages it needs."""


def batch(name: str, count: int, seed: int) -> None:
    """So many damaged files of one format, in this process."""
    write, read, _ = FORMATS[name]
    rng = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        whole = path.read_bytes()
        read(path)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        found: Counter[str] = Counter()
        for number in range(count):
            raw = damaged(rng, whole)
            path.write_bytes(raw)
            try:
                found["read, and told" if read(path) else "read"] += 1
            except RecordingError as error:
                assert "\n" not in str(error), error
                found["refused"] += 1
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}-{name}"
                kept.write_bytes(raw)
                print(f"kept as {kept}", file=sys.stderr)
                raise
    print(*(f"{what}={number}" for what, number in sorted(found.items())), sep="; ")


if __name__ == "__main__":
    sys.exit(batches.run([(name, packages) for name, (_, _, packages) in FORMATS.items()], batch, MOST_S))
