"""How much memory a minute of 128 x 128 video takes, replayed in virtual time: below 300 MB at its peak.

    python tests/bench/video_memory.py [SECONDS]

The minute is written once as a video file, as a folder of PNG and as an array; each is replayed in a process of its
own, and so is an empty run of the same kind, which shows what Python, numpy and the runtime take by themselves.
"""

import json
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from leo_runtime import GraphBuilder, Runtime, Stream, Workload, operator
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.replay import Span, replay

SIZE, RATE_HZ, LIMIT_MB = 128, 29.97, 300


@operator(output_shape=lambda frames: (frames[0],))
def brightness(frames: np.ndarray) -> np.ndarray:
    """Of each frame: answers are kept as long as the replay, so they are small."""
    return frames.mean(axis=(1, 2, 3))


def write(folder: Path, seconds: int) -> None:
    """The same moving pattern three times, and a recording of each."""
    import av
    from PIL import Image

    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (SIZE, 2 * SIZE, 3), np.uint8)
    count = round(seconds * RATE_HZ)
    (folder / "pictures").mkdir()
    array = np.lib.format.open_memmap(folder / "array.npy", "w+", np.uint8, (count, SIZE, SIZE, 3))
    with av.open(str(folder / "video.mp4"), "w") as out:
        video = out.add_stream("mpeg4", rate=Fraction(30_000, 1001))
        video.width = video.height = SIZE
        for number in range(count):
            array[number] = scene[:, number % SIZE : number % SIZE + SIZE]
            Image.fromarray(array[number]).save(folder / "pictures" / f"{number}.png", compress_level=1)
            out.mux(video.encode(av.VideoFrame.from_ndarray(array[number], format="rgb24")))
        out.mux(video.encode(None))
    for file in ("array.npy", "pictures", "video.mp4"):
        text = {"format": "leo-recording/1", "name": "eyes", "licence": "none", "source": "made by a bench"}
        stream = {"name": "eye", "kind": "camera", "file": file, "rate_hz": RATE_HZ, "channels": 3}
        stream |= {"height_px": SIZE, "width_px": SIZE}
        (folder / f"{file}.json").write_text(json.dumps(text | {"streams": [stream]}))


def run(manifest: Path) -> None:
    """Replay a recording, four times a second over eight frames each; print the peak in MB."""
    graph = GraphBuilder("sight", period_us=250_000, deadline_us=200_000)
    graph.stage("brightness", brightness, graph.stage("seen", "window", stream="eye", samples=8))
    stream = Stream(name="eye", kind="camera", rate_hz=RATE_HZ, channels=3, height_px=SIZE, width_px=SIZE)
    workload = Workload(format="leo-workload/1", name="eyes", streams=(stream,), graphs=(graph.build(),))
    hardware = Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "desk",
            "processors": [{"name": "cpu", "backend": "cpu", "active_mw": 1000, "awake_mw": 10}],
        }
    )
    costs = [{"processor": "cpu", "fixed_us": 1000, "source": "modelled: for a bench"}]
    profile = Profile.from_dict({"format": "leo-profile/1", "name": "desk", "hardware": "desk", "costs": costs})
    frames = 0
    if manifest.name != "nothing":
        recording = Recording.from_file(manifest)
        with Runtime.simulated(workload, hardware, profile) as runtime:
            ran = replay(runtime, recording, Span.of(recording), policy="greedy", time="virtual")
        frames = ran.summary.frames
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, frames)


def main() -> int:
    """Exit status 1 where any takes more than it may."""
    if sys.argv[1:2] == ["--run"]:
        run(Path(sys.argv[2]))
        return 0
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
        return 0
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    worst = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Not here: a process is told the peak of the one that started it for its own.
        subprocess.run([sys.executable, __file__, "--write", name, str(seconds)], check=True)
        for file in ("nothing", "array.npy.json", "pictures.json", "video.mp4.json"):
            command = [sys.executable, __file__, "--run", str(folder / file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peak_mb, frames = map(int, done.stdout.split())
            print(f"{file.removesuffix('.json'):10} {peak_mb:5} MB at the peak, {frames} windows of 8 frames")
            worst = max(worst, peak_mb)
    return 1 if worst > LIMIT_MB else 0


if __name__ == "__main__":
    sys.exit(main())
